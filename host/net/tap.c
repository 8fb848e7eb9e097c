/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A tap interface of the host (Linux's tun(4)).  The kernel's header is virtio's, so frames go
 * between the guest's memory and the kernel as they are, segments-to-be and missing checksums
 * included. Each queue has an fd, and a thread that reads from it.
 */
#include "host/net/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEVICE "/dev/net/tun"
/* Frames that one queue reads before others on its thread, and the interrupt, have their turn. */
#define BATCH 64

struct tap_queue {
	struct net *net;
	unsigned index;
	int fd;
	struct event_loop *loop;
	struct event_source *source;
	pthread_mutex_t lock; /* guards what follows */
	bool paused;	      /* `source` does not look for frames */
	bool detached;	      /* by net_configure() */
	size_t held;	      /* bytes of `frame` that are a frame which found no room */
	uint8_t frame[NET_MAX_FRAME];
};

struct tap {
	char name[IFNAMSIZ];
	unsigned nqueues;
	struct tap_queue *queues[NET_MAX_QUEUES];
};

/* What TUNSETOFFLOAD calls them. */
static unsigned kernel_offloads(unsigned takes)
{
	static const struct {
		unsigned ours, kernels;
	} map[] = {
		{NET_CSUM, TUN_F_CSUM},
		{NET_TSO4, TUN_F_TSO4},
		{NET_TSO6, TUN_F_TSO6},
		{NET_TSO_ECN, TUN_F_TSO_ECN},
		{NET_UFO, TUN_F_UFO},
	};
	unsigned flags = 0;

	/* Nothing goes without the checksum. */
	for (size_t i = 0; (takes & NET_CSUM) && i < sizeof(map) / sizeof(map[0]); i++)
		if (takes & map[i].ours)
			flags |= map[i].kernels;
	return flags;
}

static size_t fill_from_fd(void *ctx, const struct iovec *iov, size_t n)
{
	struct tap_queue *q = ctx;
	ssize_t size = readv(q->fd, iov, n > 1024 ? 1024 : (int)n);

	return size > 0 ? (size_t)size : 0;
}

static size_t fill_from_frame(void *ctx, const struct iovec *iov, size_t n)
{
	struct tap_queue *q = ctx;

	return net_scatter(iov, n, 0, q->frame, q->held);
}

/*
 * The longest frame that may come: by the offloads that the user takes; without them anything may
 * still come whose interface has a larger MTU than the guest's, but then it has no room anyway.
 */
static size_t longest(const struct net *net)
{
	return net->takes & (NET_TSO4 | NET_TSO6 | NET_UFO)
		       ? NET_MAX_FRAME
		       : sizeof(struct net_header) + 22 + (net->mtu ? net->mtu : 1500);
}

/* The frame that was read without knowing where to put it. False: there is still no room. */
static bool deliver_held(struct tap_queue *q)
{
	switch (net_deliver(q->net, q->index, q->held, fill_from_frame, q)) {
	case NET_NO_ROOM:
		return false;
	case NET_TOO_BIG:
		q->net->received.dropped++;
		break;
	default:
		break;
	}
	q->held = 0;
	return true;
}

/* False: no more for now. `*stuck`: because there is no room. */
static bool read_one(struct tap_queue *q, bool *stuck)
{
	*stuck = !net_may_deliver(q->net) || (q->held > 0 && !deliver_held(q));
	if (*stuck)
		return false;
	switch (net_deliver(q->net, q->index, longest(q->net), fill_from_fd, q)) {
	case NET_DONE:
		return true;
	case NET_EMPTY:
		return false;
	default:
		break;
	}
	/* Not enough room for any frame; perhaps for the one that is there. */
	ssize_t size = read(q->fd, q->frame, sizeof(q->frame));

	if (size <= 0)
		return false;
	q->held = (size_t)size;
	*stuck = !deliver_held(q);
	return !*stuck;
}

/*
 * Errors cannot be left out of what epoll looks for, and a queue that is detached, or whose
 * interface has been deleted, is in error for ever: edge-triggered it says so only once.
 */
static void set_paused(struct tap_queue *q, bool paused)
{
	if (q->paused != paused)
		event_source_set(q->source, paused ? EPOLLET : EPOLLIN);
	q->paused = paused;
}

static void queue_readable(void *arg, uint32_t events)
{
	struct tap_queue *q = arg;
	bool stuck = false;

	pthread_mutex_lock(&q->lock);
	for (unsigned i = 0; i < BATCH && !q->paused && read_one(q, &stuck); i++)
		;
	/* Under the lock, so that a resume that comes now comes after it. */
	if (stuck || (events & (EPOLLERR | EPOLLHUP)))
		set_paused(q, true);
	pthread_mutex_unlock(&q->lock);
	q->net->user.received(q->net->user.arg, q->index);
}

static void tap_resume(struct net *net, unsigned queue)
{
	struct tap *tap = net->state;
	struct tap_queue *q = tap->queues[queue];

	pthread_mutex_lock(&q->lock);
	if (!q->detached)
		set_paused(q, false);
	pthread_mutex_unlock(&q->lock);
}

static void tap_send(
	struct net *net, unsigned queue, const struct iovec *iov, size_t n, size_t size)
{
	struct tap *tap = net->state;
	uint8_t *flat = NULL;
	struct iovec one;

	/* More pieces than writev() takes: somebody wants to know. */
	if (n > 1024) {
		flat = malloc(size);
		if (!flat) {
			net->sent.dropped++;
			return;
		}
		one = (struct iovec){flat, net_gather(iov, n, 0, flat, size)};
		iov = &one;
		n = 1;
	}
	/* EINVAL: what the header says is not so; EIO: the interface is down; a wire loses both. */
	if (writev(tap->queues[queue]->fd, iov, (int)n) < 0)
		net->sent.dropped++;
	free(flat);
}

static void set_detached(struct tap_queue *q, bool detached)
{
	struct ifreq request = {.ifr_flags = detached ? IFF_DETACH_QUEUE : IFF_ATTACH_QUEUE};

	if (q->detached != detached && ioctl(q->fd, TUNSETQUEUE, &request) == 0)
		q->detached = detached;
	set_paused(q, q->detached);
}

static void tap_configure(struct net *net, unsigned queues)
{
	struct tap *tap = net->state;
	int header_size = (int)net->header_size;

	for (unsigned i = 0; i < tap->nqueues; i++) {
		struct tap_queue *q = tap->queues[i];

		pthread_mutex_lock(&q->lock);
		q->held = 0;
		ioctl(q->fd, TUNSETVNETHDRSZ, &header_size);
		ioctl(q->fd, TUNSETOFFLOAD, kernel_offloads(net->takes));
		if (tap->nqueues > 1)
			set_detached(q, i >= queues);
		pthread_mutex_unlock(&q->lock);
	}
}

static void queue_close(struct tap_queue *q)
{
	if (!q)
		return;
	event_source_remove(q->source);
	event_loop_destroy(q->loop);
	if (q->fd >= 0)
		close(q->fd);
	pthread_mutex_destroy(&q->lock);
	free(q);
}

static void tap_free(struct tap *tap)
{
	for (unsigned i = 0; i < NET_MAX_QUEUES; i++)
		queue_close(tap->queues[i]);
	free(tap);
}

static void tap_close(struct net *net)
{
	tap_free(net->state);
}

/* What the user can do about it. */
static void explain(const struct tap *tap, const char *what, int error, char *why, size_t why_size)
{
	const char *hint = "";

	if (error == EPERM || error == EACCES)
		hint = ": 'ip tuntap add NAME mode tap user YOU' as root makes one for you";
	else if (error == EBUSY)
		hint = ": another process has it";
	else if (error == EINVAL)
		hint = ": it is no tap, or was made with another number of queues (multi_queue)";
	else if (error == ENOENT || error == ENODEV)
		hint = ": this host has no tun driver";
	snprintf(why, why_size, "%s: %s: %s%s", tap->name, what, strerror(error), hint);
}

static int queue_attach(struct tap_queue *q, struct tap *tap, unsigned queues, const char **what)
{
	struct ifreq request = {
		.ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR |
				     (queues > 1 ? IFF_MULTI_QUEUE : 0)),
	};
	int header_size = sizeof(struct net_header);

	*what = DEVICE;
	q->fd = open(DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (q->fd < 0)
		return errno;
	*what = "cannot be opened";
	memcpy(request.ifr_name, tap->name, sizeof(request.ifr_name));
	if (ioctl(q->fd, TUNSETIFF, &request) != 0)
		return errno;
	*what = "without the headers of virtio";
	return ioctl(q->fd, TUNSETVNETHDRSZ, &header_size) != 0 ? errno : 0;
}

static int queue_open(
	struct net *net, struct tap *tap, unsigned index, unsigned queues, const char **what)
{
	struct tap_queue *q = calloc(1, sizeof(*q));

	*what = "a queue";
	if (!q)
		return ENOMEM;
	*q = (struct tap_queue){.net = net, .index = index, .fd = -1, .paused = true};
	pthread_mutex_init(&q->lock, NULL);
	tap->queues[index] = q;
	int error = queue_attach(q, tap, queues, what);

	if (!error)
		error = event_loop_create(&q->loop);
	/* Not before net_resume(): and the callback may come before this returns. */
	if (!error)
		error = event_source_add(q->loop, q->fd, EPOLLET, queue_readable, q, &q->source);
	return error;
}

/* An interface that we made is of use only when it is up; whoever may make one may do that. */
static void bring_up(const struct net *net, const struct tap *tap)
{
	struct ifreq request = {0};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return;
	memcpy(request.ifr_name, tap->name, sizeof(request.ifr_name));
	if (net->mtu) {
		request.ifr_mtu = (int)net->mtu;
		ioctl(fd, SIOCSIFMTU, &request);
	}
	if (ioctl(fd, SIOCGIFFLAGS, &request) == 0) {
		request.ifr_flags |= IFF_UP;
		ioctl(fd, SIOCSIFFLAGS, &request);
	}
	close(fd);
}

/* UFO has come and gone in Linux. */
static unsigned find_offers(const struct tap *tap)
{
	const unsigned most = NET_CSUM | NET_TSO4 | NET_TSO6 | NET_TSO_ECN;
	const int fd = tap->queues[0]->fd;
	unsigned offers = 0;

	if (ioctl(fd, TUNSETOFFLOAD, kernel_offloads(most | NET_UFO)) == 0)
		offers = most | NET_UFO;
	else if (ioctl(fd, TUNSETOFFLOAD, kernel_offloads(most)) == 0)
		offers = most;
	ioctl(fd, TUNSETOFFLOAD, 0);
	return offers;
}

static int tap_open(struct net *net, const struct net_args *args, char *why, size_t why_size)
{
	const char *name = args->option(args->config, "backend");
	struct tap *tap = calloc(1, sizeof(*tap));
	const char *what = "a tap";
	int error = 0;

	if (!tap) {
		snprintf(why, why_size, "out of memory");
		return ENOMEM;
	}
	if (!name || !*name || strlen(name) >= sizeof(tap->name)) {
		snprintf(why, why_size, "%s: no name of an interface", name ? name : "backend=");
		free(tap);
		return EINVAL;
	}
	memcpy(tap->name, name, strlen(name));
	bool create = if_nametoindex(name) == 0;

	tap->nqueues = net->queues;
	for (unsigned i = 0; i < net->queues && !error; i++)
		error = queue_open(net, tap, i, net->queues, &what);
	if (error) {
		explain(tap, what, error, why, why_size);
		tap_free(tap);
		return error;
	}
	if (create)
		bring_up(net, tap);
	net->offers = find_offers(tap);
	net->state = tap;
	/* One pair works until the user knows of more. */
	for (unsigned i = 1; i < net->queues; i++)
		set_detached(tap->queues[i], true);
	return 0;
}

static bool tap_matches(const char *spec)
{
	return !strncmp(spec, "tap", 3) || !strncmp(spec, "vmnet", 5);
}

const struct net_backend net_tap = {
	.name = "tap",
	.matches = tap_matches,
	.open = tap_open,
	.close = tap_close,
	.send = tap_send,
	.resume = tap_resume,
	.configure = tap_configure,
};
