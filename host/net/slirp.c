/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A network in user space: libslirp ends the guest's connections and opens the host's sockets in
 *its place. No privilege, no interface, and nothing comes in but what hostfwd lets in.
 *
 * libslirp knows no offloads, but takes any size of packet, which makes us the card between it and
 * the guest:
 *
 *	guest to host	a TCP packet of 64 KiB goes in as one, with its checksum made here
 *	host to guest	the MSS in the guest's SYN is replaced by a large one, so that libslirp
 *sends packets of 32 KiB; the guest gets each as one that is yet to be segmented
 *
 * All calls into libslirp are made under one lock: by the thread that polls its sockets, and by
 * net_send(), in which the answers are delivered at once, so that on the way of a stream of data
 * nobody waits for another thread.
 */
#include "host/net/backend.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <slirp/libslirp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "host/net/packet.h"
#include "host/net/slirp_settings.h"
#include "host/thread.h"

#define MTU_DEFAULT 1500
#define IP_MAX	    65535
/* Frames that wait for room in the guest; libslirp does not read from its sockets meanwhile. */
#define WAITING_MAX (1u << 20)
#define MAX_TIMERS  4
#define FLOWS	    256

/*
 * libslirp keeps fragments of incomplete packets for half a minute, as many as there come.  This
 * bounds what a guest can make it keep to some hundred megabytes.
 */
static const struct limit_rate fragment_bytes = {1 << 20, 16 << 20};
static const struct limit_rate fragment_packets = {256, 2048};

struct waiting {
	struct waiting *next;
	unsigned queue;
	size_t size; /* of header and frame */
	uint8_t bytes[];
};

struct slirp_timer {
	bool used;
	SlirpTimerCb fn;
	void *arg;
	int64_t expires_ms; /* INT64_MAX: not armed */
};

struct slirp_net {
	struct net *net;
	pthread_t thread;
	int wake_fd;

	pthread_mutex_t lock; /* guards what follows, and libslirp */
	Slirp *slirp;
	bool stop;
	bool polling;		  /* the thread is in poll(), or will be with what it has */
	bool must_wake;		  /* and has to look again */
	unsigned sending;	  /* the queue whose net_send() this is */
	bool answered;		  /* libslirp has sent something since */
	bool got[NET_MAX_QUEUES]; /* the user has got frames on that queue, but not been told yet */
	struct waiting *first, **last;
	size_t nwaiting; /* bytes */
	struct slirp_timer timers[MAX_TIMERS];
	struct limit fragments;
	/* What poll() gets, the first being wake_fd, and what libslirp had asked for. */
	struct pollfd *fds;
	int *asked;
	size_t nfds, room;
	/* The queue that a flow was last sent on, by a hash: answers go there. */
	uint8_t flows[FLOWS];
	uint8_t frame[NET_MAX_FRAME], scratch[NET_MAX_FRAME];
};

static int64_t clock_ns(void *arg)
{
	struct timespec now;

	(void)arg;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- to the guest ---- */

static size_t fill_from_waiting(void *ctx, const struct iovec *iov, size_t n)
{
	const struct waiting *w = ctx;

	return net_scatter(iov, n, 0, w->bytes, w->size);
}

/* False: there is no room. */
static bool deliver_first(struct slirp_net *s)
{
	struct waiting *w = s->first;

	if (!net_may_deliver(s->net))
		return false;
	switch (net_deliver(s->net, w->queue, w->size, fill_from_waiting, w)) {
	case NET_NO_ROOM:
		return false;
	case NET_TOO_BIG:
		s->net->received.dropped++;
		break;
	default:
		s->got[w->queue] = true;
	}
	s->first = w->next;
	if (!s->first)
		s->last = &s->first;
	s->nwaiting -= w->size;
	free(w);
	return true;
}

static void deliver_waiting(struct slirp_net *s)
{
	while (s->first && deliver_first(s))
		;
}

struct outgoing {
	const struct net_header *header;
	size_t header_size;
	const uint8_t *frame;
	size_t size;
};

static size_t fill_from_outgoing(void *ctx, const struct iovec *iov, size_t n)
{
	const struct outgoing *o = ctx;
	size_t done = net_scatter(iov, n, 0, o->header, o->header_size);

	return done + net_scatter(iov, n, done, o->frame, o->size);
}

static void keep_waiting(struct slirp_net *s, unsigned queue, const struct outgoing *o)
{
	const size_t size = o->header_size + o->size;
	struct waiting *w = s->nwaiting + size > WAITING_MAX ? NULL : malloc(sizeof(*w) + size);

	if (!w) {
		s->net->received.dropped++;
		return;
	}
	*w = (struct waiting){.queue = queue, .size = size};
	memcpy(w->bytes, o->header, o->header_size);
	memcpy(w->bytes + o->header_size, o->frame, o->size);
	*s->last = w;
	s->last = &w->next;
	s->nwaiting += size;
}

static void deliver(struct slirp_net *s, unsigned queue, const struct net_header *header,
	const uint8_t *frame, size_t size)
{
	struct outgoing o = {header, s->net->header_size, frame, size};
	enum net_result result = NET_NO_ROOM;

	if (!s->first && net_may_deliver(s->net))
		result = net_deliver(s->net, queue, o.header_size + size, fill_from_outgoing, &o);
	if (result == NET_NO_ROOM)
		keep_waiting(s, queue, &o);
	else if (result == NET_TOO_BIG)
		s->net->received.dropped++;
	else
		s->got[queue] = true;
}

/* The same number for both directions of a flow. */
static unsigned flow_of(const struct packet *p)
{
	const uint8_t *ip = p->frame + p->l3, *l4 = p->frame + p->l4;
	uint32_t hash = (uint32_t)(l4[0] + l4[2]) << 8 | (uint8_t)(l4[1] + l4[3]);

	for (unsigned i = p->v6 ? 8 : 12, end = p->v6 ? 40 : 20; i < end; i++)
		hash += ip[i] * 37u;
	return (hash * 2654435761u) >> 24;
}

/*
 * Answers of libslirp to what is being sent go where it came from, whole, and for the rest the flow
 * decides, so that frames of one do not overtake each other.
 */
static unsigned queue_for(struct slirp_net *s, const struct packet *p)
{
	return p && !p->fragmented ? s->flows[flow_of(p)] : 0;
}

struct emission {
	struct slirp_net *slirp;
	unsigned queue;
	struct net_header header;
};

static void emit_to_guest(void *arg, uint8_t *frame, size_t size)
{
	struct emission *e = arg;

	deliver(e->slirp, e->queue, &e->header, frame, size);
}

/* What makes one frame of a packet that is longer than the guest's MTU. */
static void describe(const struct packet *p, size_t mtu, struct net_header *header)
{
	const bool tcp = p->protocol == PACKET_TCP;
	/* UDP's fragments carry its header, and multiples of eight bytes. */
	const size_t overhead = (tcp ? p->payload : p->l4 + (p->v6 ? 8 : 0)) - p->l3;

	header->flags = NET_HEADER_NEEDS_CSUM;
	header->gso_type = !tcp ? NET_GSO_UDP : p->v6 ? NET_GSO_TCPV6 : NET_GSO_TCPV4;
	header->header_size = (uint16_t)p->payload;
	header->gso_size = (uint16_t)(tcp ? mtu - overhead : (mtu - overhead) & ~(size_t)7);
	header->csum_start = (uint16_t)p->l4;
	header->csum_offset = tcp ? 16 : 6;
}

static void deliver_large(struct slirp_net *s, const struct packet *p, size_t mtu)
{
	const unsigned takes = s->net->takes;
	const bool tcp = p->protocol == PACKET_TCP;
	const unsigned needed = !tcp ? NET_UFO : p->v6 ? NET_TSO6 : NET_TSO4;
	struct emission e = {s, queue_for(s, p), {0}};

	if (!p->fragmented && (takes & NET_CSUM) && (takes & needed)) {
		describe(p, mtu, &e.header);
		packet_finish_partial(p);
		deliver(s, e.queue, &e.header, p->frame, p->size);
	} else if (tcp && !p->fragmented) {
		packet_segment(p, mtu - (p->payload - p->l3), s->scratch, emit_to_guest, &e);
	} else if (!p->v6) {
		packet_fragment(p, mtu, s->scratch, emit_to_guest, &e);
	} else {
		/* Whoever sends by IPv6 has to know the MTU. */
		s->net->received.dropped++;
	}
}

static size_t guest_mtu(const struct slirp_net *s)
{
	return s->net->mtu ? s->net->mtu : MTU_DEFAULT;
}

static ssize_t from_slirp(const void *bytes, size_t size, void *arg)
{
	struct slirp_net *s = arg;
	struct net_header header = {0};
	const size_t mtu = guest_mtu(s);
	struct packet p;

	s->answered = true;
	/* The frame is on libslirp's stack, in a buffer of bytes: nobody minds what we change. */
	const bool known = packet_parse((uint8_t *)bytes, size, false, &p);

	if (known && p.size - p.l3 > mtu) {
		deliver_large(s, &p, mtu);
		return (ssize_t)size;
	}
	if (!known && p.l4 && !p.v6 && p.size - p.l3 > mtu) {
		/* An answer to a large ping, say. */
		struct emission e = {s, 0, {0}};

		packet_fragment(&p, mtu, s->scratch, emit_to_guest, &e);
		return (ssize_t)size;
	}
	/* libslirp has made the checksum, and nothing has touched it since. */
	if (known && !p.fragmented && (s->net->takes & NET_CSUM))
		header.flags = NET_HEADER_DATA_VALID;
	deliver(s, known ? queue_for(s, &p) : 0, &header, bytes, size);
	return (ssize_t)size;
}

static void tell_user(struct slirp_net *s)
{
	for (unsigned q = 0; q < s->net->queues; q++)
		if (s->got[q]) {
			s->got[q] = false;
			s->net->user.received(s->net->user.arg, q);
		}
}

/* ---- from the guest ---- */

/*
 * Data that libslirp does not acknowledge at once it will in 2 ms, if only its timers are looked
 * at.
 */
static void input(struct slirp_net *s, uint8_t *frame, size_t size)
{
	s->answered = false;
	slirp_input(s->slirp, frame, (int)size);
	if (!s->answered && s->polling)
		s->must_wake = true;
}

static void emit_to_slirp(void *arg, uint8_t *frame, size_t size)
{
	input(arg, frame, size);
}

/* A TCP or UDP packet that was meant to be cut: as large as libslirp takes them. */
static bool send_large(struct slirp_net *s, const struct net_header *header, size_t size)
{
	const unsigned type = header->gso_type & ~(unsigned)NET_GSO_ECN;
	struct packet p;

	if (header->gso_size == 0 || !packet_parse(s->frame, size, true, &p) || p.fragmented)
		return false;
	if (type == NET_GSO_UDP ? p.protocol != PACKET_UDP
				: p.protocol != PACKET_TCP ||
					  type != (p.v6 ? NET_GSO_TCPV6 : NET_GSO_TCPV4))
		return false;
	/* libslirp holds IPv6 packets against its MTU, but not IPv4 ones. */
	const size_t most = p.v6 ? SLIRP_MTU : IP_MAX, headers = p.payload - p.l3;

	if (p.size - p.l3 <= most) {
		packet_finish(&p);
		input(s, s->frame, p.size);
		return true;
	}
	if (p.protocol != PACKET_TCP || headers >= most)
		return false;
	packet_segment(&p, most - headers, s->scratch, emit_to_slirp, s);
	return true;
}

static bool send_plain(struct slirp_net *s, const struct net_header *header, size_t size)
{
	const size_t mtu = guest_mtu(s);
	struct packet p;

	if ((header->flags & NET_HEADER_NEEDS_CSUM) &&
		!packet_complete(s->frame, size, header->csum_start, header->csum_offset))
		return false;
	const bool known = packet_parse(s->frame, size, false, &p);

	if (known && p.fragmented && limit_take(&s->fragments, size, 1, (uint64_t)clock_ns(NULL)))
		return false;
	if (known && !p.fragmented) {
		s->flows[flow_of(&p)] = (uint8_t)s->sending;
		/*
		 * A guest that takes segments of its full MTU, and large packets.  One with a
		 * smaller MSS may send them on where only those fit, and so shall get them as they
		 * are.
		 */
		if ((s->net->takes & NET_CSUM) && (s->net->takes & (p.v6 ? NET_TSO6 : NET_TSO4)))
			packet_set_mss(&p, (unsigned)(mtu - (p.v6 ? 60 : 40)), (unsigned)IP_MAX);
	}
	/* A bare acknowledgement needs no answer. */
	if (known && p.protocol == PACKET_TCP && !p.fragmented && p.payload == p.size)
		slirp_input(s->slirp, s->frame, (int)size);
	else
		input(s, s->frame, size);
	return true;
}

static void slirp_send_frame(
	struct net *net, unsigned queue, const struct iovec *iov, size_t n, size_t size)
{
	struct slirp_net *s = net->state;
	const size_t header_size = net->header_size;
	struct net_header header = {0};

	pthread_mutex_lock(&s->lock);
	net_gather(iov, n, 0, &header, header_size);
	size = net_gather(iov, n, header_size, s->frame, size - header_size);
	s->sending = queue;
	if (header.gso_type == NET_GSO_NONE ? !send_plain(s, &header, size)
					    : !send_large(s, &header, size))
		net->sent.dropped++;
	pthread_mutex_unlock(&s->lock);
}

static void wake(struct slirp_net *s)
{
	(void)!write(s->wake_fd, &(uint64_t){1}, sizeof(uint64_t));
}

static void slirp_flush(struct net *net, unsigned queue)
{
	struct slirp_net *s = net->state;

	(void)queue;
	pthread_mutex_lock(&s->lock);
	if (s->must_wake)
		wake(s);
	s->must_wake = false;
	tell_user(s);
	pthread_mutex_unlock(&s->lock);
}

static void slirp_resume(struct net *net, unsigned queue)
{
	struct slirp_net *s = net->state;

	(void)queue;
	pthread_mutex_lock(&s->lock);
	if (s->first) {
		deliver_waiting(s);
		tell_user(s);
		/* libslirp may read from its sockets again. */
		if (!s->first && s->polling)
			wake(s);
	}
	pthread_mutex_unlock(&s->lock);
}

static void slirp_configure(struct net *net, unsigned queues)
{
	struct slirp_net *s = net->state;

	pthread_mutex_lock(&s->lock);
	/* Those that wait have headers as they were. */
	while (s->first) {
		struct waiting *w = s->first;

		s->first = w->next;
		free(w);
	}
	s->last = &s->first;
	s->nwaiting = 0;
	for (unsigned i = 0; i < FLOWS; i++)
		if (s->flows[i] >= queues)
			s->flows[i] = 0;
	if (s->polling)
		wake(s);
	pthread_mutex_unlock(&s->lock);
}

/* ---- what libslirp needs of us ---- */

static void guest_error(const char *message, void *arg)
{
	(void)message, (void)arg;
}

static void *timer_new(SlirpTimerCb fn, void *fn_arg, void *arg)
{
	struct slirp_net *s = arg;

	for (unsigned i = 0; i < MAX_TIMERS; i++)
		if (!s->timers[i].used) {
			s->timers[i] = (struct slirp_timer){true, fn, fn_arg, INT64_MAX};
			return &s->timers[i];
		}
	return NULL;
}

static void timer_free(void *timer, void *arg)
{
	(void)arg;
	if (timer)
		((struct slirp_timer *)timer)->used = false;
}

static void timer_mod(void *timer, int64_t expires_ms, void *arg)
{
	(void)arg;
	if (timer)
		((struct slirp_timer *)timer)->expires_ms = expires_ms;
}

/* There are sockets to look at which the thread in poll() does not know of. */
static void look_again(void *arg)
{
	struct slirp_net *s = arg;

	if (s->polling)
		s->must_wake = true;
}

static void register_fd(int fd, void *arg)
{
	(void)fd;
	look_again(arg);
}

static void unregister_fd(int fd, void *arg)
{
	(void)fd, (void)arg;
}

static const SlirpCb callbacks = {
	.send_packet = from_slirp,
	.guest_error = guest_error,
	.clock_get_ns = clock_ns,
	.timer_new = timer_new,
	.timer_free = timer_free,
	.timer_mod = timer_mod,
	.register_poll_fd = register_fd,
	.unregister_poll_fd = unregister_fd,
	.notify = look_again,
};

/* ---- the thread ---- */

static const struct {
	int slirp;
	short poll;
} event_map[] = {
	{SLIRP_POLL_IN, POLLIN},
	{SLIRP_POLL_OUT, POLLOUT},
	{SLIRP_POLL_PRI, POLLPRI},
	{SLIRP_POLL_ERR, POLLERR},
	{SLIRP_POLL_HUP, POLLHUP},
};
#define NEVENTS (sizeof(event_map) / sizeof(event_map[0]))

static bool grow_fds(struct slirp_net *s)
{
	const size_t room = s->room ? 2 * s->room : 64;
	struct pollfd *fds = realloc(s->fds, room * sizeof(*fds));

	if (fds)
		s->fds = fds;
	int *asked = realloc(s->asked, room * sizeof(*asked));

	if (asked)
		s->asked = asked;
	if (fds && asked)
		s->room = room;
	return fds && asked;
}

/*
 * While frames wait for the guest nothing more is read.  Nor may such a socket be polled for
 * nothing at all, since poll() would still report its end, and at once.
 */
static int add_poll(int fd, int events, void *arg)
{
	struct slirp_net *s = arg;

	if (s->nfds == s->room && !grow_fds(s))
		return -1;
	if (s->first)
		events &= SLIRP_POLL_OUT;
	struct pollfd *p = &s->fds[s->nfds];

	*p = (struct pollfd){.fd = events ? fd : -1};
	for (size_t i = 0; i < NEVENTS; i++)
		if (events & event_map[i].slirp)
			p->events |= event_map[i].poll;
	s->asked[s->nfds] = events;
	return (int)s->nfds++;
}

/*
 * libslirp reads from a socket that is at its end or in error, also where it has not asked to read
 * and has no room to: then it shall find out by writing.
 */
static int get_events(int index, void *arg)
{
	struct slirp_net *s = arg;
	int events = 0;

	if (index < 0)
		return 0;
	for (size_t i = 0; i < NEVENTS; i++)
		if (s->fds[index].revents & event_map[i].poll)
			events |= event_map[i].slirp;
	if (s->asked[index] & SLIRP_POLL_IN)
		return events;
	if (events & (SLIRP_POLL_ERR | SLIRP_POLL_HUP))
		events |= SLIRP_POLL_OUT;
	return events & s->asked[index] & SLIRP_POLL_OUT;
}

static int64_t now_ms(void)
{
	return clock_ns(NULL) / 1000000;
}

static int timeout_ms(const struct slirp_net *s, uint32_t asked)
{
	int64_t least = asked > INT32_MAX ? INT64_MAX : asked;
	const int64_t now = now_ms();

	for (unsigned i = 0; i < MAX_TIMERS; i++) {
		const struct slirp_timer *t = &s->timers[i];

		if (t->used && t->expires_ms != INT64_MAX && t->expires_ms - now < least)
			least = t->expires_ms > now ? t->expires_ms - now : 0;
	}
	return least > 3600000 ? -1 : (int)least;
}

static void run_timers(struct slirp_net *s)
{
	const int64_t now = now_ms();

	for (unsigned i = 0; i < MAX_TIMERS; i++) {
		struct slirp_timer *t = &s->timers[i];

		if (t->used && t->expires_ms <= now) {
			t->expires_ms = INT64_MAX;
			t->fn(t->arg);
		}
	}
}

/* One turn, with the lock held, which is left for the time in poll(). */
static void turn(struct slirp_net *s)
{
	uint32_t asked = UINT32_MAX;

	s->nfds = 1;
	s->fds[0] = (struct pollfd){.fd = s->wake_fd, .events = POLLIN};
	slirp_pollfds_fill(s->slirp, &asked, add_poll, s);
	int timeout = timeout_ms(s, asked);

	s->polling = true;
	pthread_mutex_unlock(&s->lock);
	int n = poll(s->fds, s->nfds, timeout);

	pthread_mutex_lock(&s->lock);
	s->polling = false;
	s->must_wake = false;
	if (n > 0 && s->fds[0].revents)
		(void)!read(s->wake_fd, &(uint64_t){0}, sizeof(uint64_t));
	deliver_waiting(s);
	slirp_pollfds_poll(s->slirp, n < 0, get_events, s);
	run_timers(s);
	tell_user(s);
}

static void *slirp_main(void *arg)
{
	struct slirp_net *s = arg;

	pthread_mutex_lock(&s->lock);
	while (!s->stop)
		turn(s);
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

/* ---- opening and closing ---- */

static void slirp_free(struct slirp_net *s)
{
	if (s->slirp)
		slirp_cleanup(s->slirp);
	if (s->wake_fd >= 0)
		close(s->wake_fd);
	while (s->first) {
		struct waiting *w = s->first;

		s->first = w->next;
		free(w);
	}
	pthread_mutex_destroy(&s->lock);
	free(s->fds);
	free(s->asked);
	free(s);
}

static void slirp_close(struct net *net)
{
	struct slirp_net *s = net->state;

	pthread_mutex_lock(&s->lock);
	s->stop = true;
	wake(s);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	slirp_free(s);
}

/* libslirp writes to sockets that may be closed, and not with MSG_NOSIGNAL. */
static void ignore_sigpipe(void)
{
	struct sigaction now;

	if (sigaction(SIGPIPE, NULL, &now) == 0 && now.sa_handler == SIG_DFL)
		signal(SIGPIPE, SIG_IGN);
}

static int slirp_open(struct net *net, const struct net_args *args, char *why, size_t why_size)
{
	struct slirp_net *s = calloc(1, sizeof(*s));
	SlirpConfig config;
	int error;

	if (!s) {
		snprintf(why, why_size, "out of memory");
		return ENOMEM;
	}
	s->net = net;
	s->last = &s->first;
	limit_init(&s->fragments, &fragment_bytes, &fragment_packets, (uint64_t)clock_ns(NULL));
	pthread_mutex_init(&s->lock, NULL);
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	error = slirp_settings_read(&config, args, why, why_size);
	if (error)
		goto fail;
	error = ENOMEM;
	snprintf(why, why_size, "slirp: %s", strerror(error));
	if (s->wake_fd < 0 || !grow_fds(s))
		goto fail;
	ignore_sigpipe();
	s->slirp = slirp_new(&config, &callbacks, s);
	if (!s->slirp)
		goto fail;
	error = slirp_settings_forward(s->slirp, args, why, why_size);
	if (error)
		goto fail;
	error = host_thread_start(&s->thread, "hyve-slirp", slirp_main, s);
	if (error) {
		snprintf(why, why_size, "slirp: no thread: %s", strerror(error));
		goto fail;
	}
	net->state = s;
	net->offers = NET_CSUM | NET_TSO4 | NET_TSO6 | NET_TSO_ECN | NET_UFO;
	return 0;

fail:
	slirp_free(s);
	return error;
}

const struct net_backend net_slirp = {
	.name = "slirp",
	.open = slirp_open,
	.close = slirp_close,
	.send = slirp_send_frame,
	.flush = slirp_flush,
	.resume = slirp_resume,
	.configure = slirp_configure,
};
