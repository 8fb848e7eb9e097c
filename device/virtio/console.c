/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The console device (virtio 1.2, 5.3): a console on a terminal of the host, and ports with names
 * on Unix sockets.
 *
 * Queues 2 and 3 carry control messages, each other pair is a port's.  What the driver has yet to
 * be told is a set of bits for each port, not a list: a guest that makes no buffers available costs
 * nothing.  Output that the host does not take goes back into its queue, with the number of bytes
 * that are out already.
 *
 * A console is different when its terminal takes nothing any more (Ctrl-S): Linux waits for its own
 * output with interrupts off, so after a second the output is dropped.
 *
 * Locks: the device's is held over its calls of the terminal and the sockets, which call us without
 * one of theirs.  So it may not be held when they are closed.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/virtio/virtio.h"
#include "host/host.h"

#define F_SIZE	      (1ull << 0)
#define F_MULTIPORT   (1ull << 1)
#define F_EMERG_WRITE (1ull << 2)

enum {
	PORTS_MAX = 16, /* bhyve's */
	NAME_MAX_LEN = 63,
	QUEUE_SIZE = 128,
	CONTROL_RX = 2, /* to the driver */
	CONTROL_TX = 3,
	STALL_NS = 1000000000,

	/* Control events. */
	DEVICE_READY = 0,
	DEVICE_ADD = 1,
	PORT_READY = 3,
	CONSOLE_PORT = 4,
	RESIZE = 5,
	PORT_OPEN = 6,
	PORT_NAME = 7,
};

struct config {
	uint16_t columns, rows;
	uint32_t max_ports, emergency;
};

struct control {
	uint32_t port;
	uint16_t event, value;
};

/* The largest: with a name, or a size. */
struct control_message {
	struct control head;
	char tail[NAME_MAX_LEN + 1];
};

/* What the driver shall be told, in this order. */
enum { TELL_ADD = 1, TELL_CONSOLE = 2, TELL_NAME = 4, TELL_OPEN = 8, TELL_SIZE = 16 };

struct console;

struct port {
	struct console *console;
	unsigned id;
	char name[NAME_MAX_LEN + 1]; /* "": none */
	struct tty *tty;	     /* one of the two, or neither: output is for nobody */
	struct sock *sock;
	bool host_open, guest_open;
	bool ready;    /* the driver knows it */
	bool dropping; /* the terminal has taken nothing for STALL_NS */
	unsigned tell;
	size_t sent; /* of the first buffer in the output queue */
};

struct console {
	struct virtio *v;
	struct guest *guest;
	pthread_mutex_t lock;
	bool live;	/* there is a driver: the queues are there, too */
	bool multiport; /* with control messages */
	unsigned nports;
	struct port ports[PORTS_MAX];
	struct guest_timer *stall;
	struct iovec iov[VIRTQ_PIECES_MAX];
};

static struct virtq *input_queue(const struct port *p)
{
	return virtio_queue(p->console->v, p->id == 0 ? 0 : 2 * p->id + 2);
}

static struct virtq *output_queue(const struct port *p)
{
	return virtio_queue(p->console->v, p->id == 0 ? 1 : 2 * p->id + 3);
}

/* ---- buffers ---- */

/* Takes the next one. If there is none, the driver will tell of one that comes. */
static bool take(struct virtq *q, struct virtq_chain *chain)
{
	int error;

	do
		error = virtq_pop(q, chain);
	while (error == EAGAIN && virtq_want_notify(q, true));
	return !error;
}

static size_t copy_out(const struct virtq_chain *c, size_t skip, void *to, size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < c->nread && done < len; i++) {
		const struct iovec *piece = &c->iov[i];
		size_t from = skip < piece->iov_len ? skip : piece->iov_len,
		       n = piece->iov_len - from;

		skip -= from;
		if (n > len - done)
			n = len - done;
		memcpy((uint8_t *)to + done, (const uint8_t *)piece->iov_base + from, n);
		done += n;
	}
	return done;
}

static size_t copy_in(const struct virtq_chain *c, const void *from, size_t len)
{
	size_t done = 0;

	for (unsigned i = 0; i < c->nwrite && done < len; i++) {
		const struct iovec *piece = &c->iov[c->nread + i];
		size_t n = piece->iov_len < len - done ? piece->iov_len : len - done;

		memcpy(piece->iov_base, (const uint8_t *)from + done, n);
		done += n;
	}
	return done;
}

/* ---- control messages to the driver ---- */

/* The message for one bit; returns its length. */
static size_t compose(const struct port *p, unsigned what, struct control_message *m)
{
	unsigned columns = 0, rows = 0;
	uint16_t size[2];

	m->head = (struct control){.port = p->id, .value = 1};
	switch (what) {
	case TELL_ADD:
		m->head.event = DEVICE_ADD;
		break;
	case TELL_CONSOLE:
		m->head.event = CONSOLE_PORT;
		break;
	case TELL_OPEN:
		m->head.event = PORT_OPEN;
		m->head.value = p->host_open;
		break;
	case TELL_NAME:
		m->head.event = PORT_NAME;
		memcpy(m->tail, p->name, strlen(p->name));
		return sizeof(m->head) + strlen(p->name);
	case TELL_SIZE:
		/* Rows first, unlike in the specification: so Linux reads it. */
		m->head.event = RESIZE;
		tty_size(p->tty, &columns, &rows);
		size[0] = (uint16_t)rows;
		size[1] = (uint16_t)columns;
		memcpy(m->tail, size, sizeof(size));
		return sizeof(m->head) + sizeof(size);
	}
	return sizeof(m->head);
}

/* False: there is no buffer for it now. */
static bool send_control(struct console *c, const void *message, size_t len)
{
	struct virtq *q = virtio_queue(c->v, CONTROL_RX);
	struct virtq_chain chain = {.iov = c->iov, .max = VIRTQ_PIECES_MAX};

	if (!take(q, &chain))
		return false;
	virtq_push(q, &chain, copy_in(&chain, message, len));
	return true;
}

/* Whatever is due, as far as there are buffers. Caller holds the lock, as for all below. */
static void tell_driver(struct console *c)
{
	struct control_message message;
	bool told = false;

	for (unsigned i = 0; c->multiport && i < c->nports; i++) {
		struct port *p = &c->ports[i];

		while (p->tell) {
			unsigned what = p->tell & -p->tell;

			if (!send_control(c, &message, compose(p, what, &message)))
				goto out;
			p->tell &= ~what;
			told = true;
		}
	}
out:
	if (told)
		virtq_interrupt(virtio_queue(c->v, CONTROL_RX));
}

static void tell(struct port *p, unsigned what)
{
	if (p->ready)
		p->tell |= what;
	tell_driver(p->console);
}

/* ---- to the host ---- */

/* How many of the buffer's bytes behind the first `skip` the host has taken. */
static size_t tty_take(struct tty *tty, const struct virtq_chain *chain, size_t skip)
{
	size_t taken = 0;

	for (unsigned i = 0; i < chain->nread; i++) {
		const struct iovec *piece = &chain->iov[i];
		size_t from = skip < piece->iov_len ? skip : piece->iov_len;
		size_t n = piece->iov_len - from;

		skip -= from;
		size_t done = tty_write(tty, (const uint8_t *)piece->iov_base + from, n);

		taken += done;
		if (done < n)
			break;
	}
	return taken;
}

static size_t sock_take(struct sock *sock, const struct virtq_chain *chain, size_t skip)
{
	struct iovec *iov = chain->iov;
	unsigned n = chain->nread;

	while (n > 0 && skip >= iov->iov_len) {
		skip -= iov->iov_len;
		iov++;
		n--;
	}
	if (n == 0)
		return 0;
	/* The list is ours: a buffer that goes back is made anew when it is taken again. */
	iov->iov_base = (uint8_t *)iov->iov_base + skip;
	iov->iov_len -= skip;
	return sock_write(sock, iov, n);
}

static size_t host_take(struct port *p, const struct virtq_chain *chain)
{
	size_t rest = chain->read_len - p->sent, taken = rest;

	if (p->sock)
		taken = sock_take(p->sock, chain, p->sent);
	else if (p->tty && !p->dropping)
		taken = tty_take(p->tty, chain, p->sent);
	return taken < rest ? taken : rest;
}

static void pump_output(struct port *p)
{
	struct console *c = p->console;
	struct virtq_chain chain = {.iov = c->iov, .max = VIRTQ_PIECES_MAX};
	bool any = false;

	if (!c->live)
		return;
	struct virtq *q = output_queue(p);

	while (take(q, &chain)) {
		if (p->sent > chain.read_len)
			p->sent = chain.read_len; /* the guest has changed the buffer */
		p->sent += host_take(p, &chain);
		if (p->sent < chain.read_len) {
			virtq_unpop(q, &chain, 1);
			if (p->tty)
				guest_timer_set(c->guest, c->stall, STALL_NS);
			break;
		}
		p->sent = 0;
		virtq_push(q, &chain, 0);
		any = true;
	}
	if (any)
		virtq_interrupt(q);
}

/* Timer: the terminal has taken nothing since, or it would have called us. */
static void stalled(void *arg)
{
	struct console *c = arg;
	struct port *p = &c->ports[0];

	pthread_mutex_lock(&c->lock);
	p->dropping = true;
	pump_output(p);
	pthread_mutex_unlock(&c->lock);
}

static void host_writable(void *arg)
{
	struct port *p = arg;
	struct console *c = p->console;

	pthread_mutex_lock(&c->lock);
	p->dropping = false;
	if (p->tty)
		guest_timer_stop(c->guest, c->stall);
	pump_output(p);
	pthread_mutex_unlock(&c->lock);
}

/* ---- from the host ---- */

/* The next buffer with room for something; those without any are given back. */
static bool pop_input(struct port *p, struct virtq_chain *chain)
{
	struct virtq *q = input_queue(p);

	*chain = (struct virtq_chain){.iov = p->console->iov, .max = VIRTQ_PIECES_MAX};
	for (unsigned i = 0; i < QUEUE_SIZE && take(q, chain); i++) {
		if (chain->write_len > 0)
			return true;
		virtq_push(q, chain, 0);
	}
	return false;
}

static size_t host_room(void *arg)
{
	struct port *p = arg;
	struct virtq_chain chain;
	size_t room = 0;

	pthread_mutex_lock(&p->console->lock);
	if (p->guest_open && pop_input(p, &chain)) {
		room = chain.write_len;
		virtq_unpop(input_queue(p), &chain, 1);
	}
	pthread_mutex_unlock(&p->console->lock);
	return room;
}

/* After a reset in between, nobody is there to take it. */
static void host_input(void *arg, const uint8_t *bytes, size_t count)
{
	struct port *p = arg;
	struct virtq *q = input_queue(p);
	struct virtq_chain chain;

	pthread_mutex_lock(&p->console->lock);
	while (count > 0 && pop_input(p, &chain)) {
		size_t n = copy_in(&chain, bytes, count);

		virtq_push(q, &chain, n);
		bytes += n;
		count -= n;
	}
	pthread_mutex_unlock(&p->console->lock);
	virtq_interrupt(q);
}

static void resume_input(struct port *p)
{
	if (!p->guest_open)
		return;
	if (p->tty)
		tty_input_resume(p->tty);
	if (p->sock)
		sock_input_resume(p->sock);
}

static void host_connected(void *arg, bool there)
{
	struct port *p = arg;
	struct console *c = p->console;

	pthread_mutex_lock(&c->lock);
	p->host_open = there;
	tell(p, TELL_OPEN);
	pump_output(p); /* what waited for one that is gone */
	pthread_mutex_unlock(&c->lock);
}

static void host_resized(void *arg)
{
	struct port *p = arg;
	struct console *c = p->console;

	pthread_mutex_lock(&c->lock);
	bool multiport = c->multiport;

	tell(p, TELL_SIZE);
	pthread_mutex_unlock(&c->lock);
	if (!multiport)
		virtio_config_changed(c->v);
}

static void host_quit(void *arg)
{
	guest_end(((struct port *)arg)->console->guest, GUEST_POWEROFF);
}

/* ---- control messages from the driver ---- */

static void port_ready(struct port *p)
{
	unsigned columns, rows;

	p->ready = true;
	p->tell |= TELL_OPEN;
	if (p->name[0])
		p->tell |= TELL_NAME;
	if (p->tty)
		p->tell |= TELL_CONSOLE;
	if (p->tty && tty_size(p->tty, &columns, &rows))
		p->tell |= TELL_SIZE;
}

static void obey(struct console *c, const struct control *m)
{
	struct port *p = m->port < c->nports ? &c->ports[m->port] : NULL;

	if (m->event == DEVICE_READY && m->value == 1) {
		for (unsigned i = 0; i < c->nports; i++)
			c->ports[i].tell = TELL_ADD;
	} else if (m->event == PORT_READY && m->value == 1 && p) {
		port_ready(p);
	} else if (m->event == PORT_OPEN && p) {
		p->guest_open = m->value;
		resume_input(p);
	}
}

static void read_control(struct console *c)
{
	struct virtq *q = virtio_queue(c->v, CONTROL_TX);
	struct virtq_chain chain = {.iov = c->iov, .max = VIRTQ_PIECES_MAX};
	struct control message;

	while (take(q, &chain)) {
		bool whole = copy_out(&chain, 0, &message, sizeof(message)) == sizeof(message);

		virtq_push(q, &chain, 0);
		if (whole && c->multiport)
			obey(c, &message);
	}
	virtq_interrupt(q);
	tell_driver(c);
}

/* ---- the device ---- */

static void console_notify(void *dev, unsigned queue)
{
	struct console *c = dev;
	unsigned port = queue < 2 ? 0 : queue / 2 - 1;

	pthread_mutex_lock(&c->lock);
	if (!c->live)
		; /* console_ready() looks at all of them */
	else if (queue == CONTROL_RX)
		tell_driver(c);
	else if (queue == CONTROL_TX)
		read_control(c);
	else if (port < c->nports && queue & 1)
		pump_output(&c->ports[port]);
	else if (port < c->nports)
		resume_input(&c->ports[port]);
	pthread_mutex_unlock(&c->lock);
}

/* Without control messages the only port is open at once. */
static void console_ready(void *dev, uint64_t features)
{
	struct console *c = dev;

	pthread_mutex_lock(&c->lock);
	c->live = true;
	c->multiport = features & F_MULTIPORT;
	if (c->multiport)
		read_control(c);
	else
		c->ports[0].guest_open = true;
	for (unsigned i = 0; i < c->nports; i++) {
		pump_output(&c->ports[i]);
		resume_input(&c->ports[i]);
	}
	pthread_mutex_unlock(&c->lock);
}

static void console_reset(void *dev)
{
	struct console *c = dev;

	pthread_mutex_lock(&c->lock);
	c->live = c->multiport = false;
	for (unsigned i = 0; i < c->nports; i++) {
		c->ports[i].guest_open = c->ports[i].ready = false;
		c->ports[i].tell = 0;
		c->ports[i].sent = 0;
	}
	pthread_mutex_unlock(&c->lock);
}

static void console_config_read(void *dev, unsigned offset, void *to, unsigned len)
{
	const struct console *c = dev;
	struct config config = {.max_ports = c->nports};
	unsigned columns, rows;

	if (c->ports[0].tty && tty_size(c->ports[0].tty, &columns, &rows)) {
		config.columns = (uint16_t)columns;
		config.rows = (uint16_t)rows;
	}
	memcpy(to, (const uint8_t *)&config + offset, len);
}

/* A character of a kernel that has no driver yet. */
static void console_config_write(void *dev, unsigned offset, const void *from, unsigned len)
{
	const struct console *c = dev;

	if (offset == offsetof(struct config, emergency) && len > 0 && c->ports[0].tty)
		tty_write(c->ports[0].tty, from, 1);
}

/* ---- making and unmaking ---- */

static struct port *add_port(struct console *c, const char *name)
{
	struct port *p = &c->ports[c->nports];

	p->console = c;
	p->id = c->nports++;
	snprintf(p->name, sizeof(p->name), "%s", name);
	return p;
}

/* The terminal may call before it is known here: the lock keeps it waiting. */
static int open_console(struct console *c, const struct pci_args *args, const char *spec)
{
	struct port *p = add_port(c, "");
	const struct tty_user user = {
		.room = host_room,
		.input = host_input,
		.writable = host_writable,
		.quit = host_quit,
		.resized = host_resized,
		.arg = p,
	};

	p->host_open = true;
	int error = guest_timer_create(c->guest, stalled, c, &c->stall);

	if (error) {
		snprintf(args->why, args->why_size, "%s", strerror(error));
		return error;
	}
	pthread_mutex_lock(&c->lock);
	error = tty_open(c->guest->loop, spec, &user, &p->tty, args->why, args->why_size);
	pthread_mutex_unlock(&c->lock);
	if (!error && strcmp(spec, "pty") == 0)
		log_warn(c->guest->log, "console", "%s: console is %s", args->name,
			tty_name(p->tty));
	return error;
}

static int check_name(const struct console *c, const struct pci_args *args, const char *name)
{
	if (!*name || strlen(name) > NAME_MAX_LEN) {
		snprintf(args->why, args->why_size, "port name \"%.70s\": use 1 to %d bytes", name,
			NAME_MAX_LEN);
		return EINVAL;
	}
	for (unsigned i = 0; i < c->nports; i++) {
		if (strcmp(c->ports[i].name, name) == 0) {
			snprintf(args->why, args->why_size, "two ports are named \"%s\"", name);
			return EEXIST;
		}
	}
	if (c->nports == PORTS_MAX) {
		snprintf(args->why, args->why_size, "more than %d ports", PORTS_MAX);
		return E2BIG;
	}
	return 0;
}

static int open_port(
	struct console *c, const struct pci_args *args, const char *name, const char *path)
{
	int error = check_name(c, args, name);

	if (error)
		return error;
	struct port *p = add_port(c, name);
	const struct sock_user user = {
		.connected = host_connected,
		.room = host_room,
		.input = host_input,
		.writable = host_writable,
		.arg = p,
	};

	pthread_mutex_lock(&c->lock);
	error = sock_listen(c->guest->loop, path, &user, &p->sock, args->why, args->why_size);
	pthread_mutex_unlock(&c->lock);
	return error;
}

/* port.N.name and port.N.path, in the order of the numbers, which need not be dense. */
static int open_ports(struct console *c, const struct pci_args *args)
{
	char key[32];
	int error = 0;

	for (unsigned i = 0; i < PORTS_MAX && !error; i++) {
		snprintf(key, sizeof(key), "port.%u.path", i);
		const char *path = args->option(args->config, key);

		snprintf(key, sizeof(key), "port.%u.name", i);
		const char *name = args->option(args->config, key);

		if (path && name) {
			error = open_port(c, args, name, path);
		} else if (path || name) {
			snprintf(args->why, args->why_size, "port.%u needs both name and path", i);
			error = EINVAL;
		}
	}
	return error;
}

static void console_destroy(void *dev)
{
	struct console *c = dev;

	for (unsigned i = 0; i < c->nports; i++) {
		tty_close(c->ports[i].tty);
		sock_close(c->ports[i].sock);
	}
	if (c->stall)
		guest_timer_destroy(c->guest, c->stall);
	pthread_mutex_destroy(&c->lock);
	free(c);
}

static int console_create(
	struct virtio *v, const struct pci_args *args, struct virtio_setup *setup, void **dev)
{
	struct console *c = calloc(1, sizeof(*c));
	const char *spec = args->option(args->config, "console");
	uint64_t features = F_MULTIPORT;
	unsigned columns, rows;
	int error = 0;

	if (!c) {
		snprintf(args->why, args->why_size, "%s", strerror(ENOMEM));
		return ENOMEM;
	}
	c->v = v;
	c->guest = args->guest;
	pthread_mutex_init(&c->lock, NULL);
	if (spec)
		error = open_console(c, args, spec);
	if (!error)
		error = open_ports(c, args);
	if (!error && c->nports == 0)
		add_port(c, ""); /* nothing is behind it; the device has one at least */
	if (error) {
		console_destroy(c);
		return error;
	}
	if (spec)
		features |= F_EMERG_WRITE;
	if (spec && tty_size(c->ports[0].tty, &columns, &rows))
		features |= F_SIZE;
	*setup = (struct virtio_setup){
		.features = features,
		.nqueues = 2 * c->nports + 2,
		.queue_size = QUEUE_SIZE,
		.config_size = sizeof(struct config),
	};
	*dev = c;
	return 0;
}

static const struct virtio_type console_type = {
	.id = VIRTIO_ID_CONSOLE,
	.class = 0x07,	  /* communication */
	.subclass = 0x80, /* other */
	.create = console_create,
	.destroy = console_destroy,
	.notify = console_notify,
	.ready = console_ready,
	.reset = console_reset,
	.config_read = console_config_read,
	.config_write = console_config_write,
};

static const char *const console_keys[] = {"console", "port.[0-9].name", "port.[0-9].path",
	"port.1[0-5].name", "port.1[0-5].path", NULL};

const struct pci_model virtio_console = {
	.name = "virtio-console",
	.about = "a console, and ports on Unix sockets: NAME=PATH",
	.list = "port",
	.keys = console_keys,
	.type = &console_type,
	.create = virtio_pci_create,
	.destroy = virtio_pci_destroy,
	.stats = virtio_pci_stats,
};
