/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The server: one thread that polls the socket and a bounded number of clients, of which each has a
 * bounded buffer and time limits.  A client is asked for its next request only when it has taken
 * the reply to the last one.  When all places are taken, the newcomer gets that of the one that has
 * been silent for longest, so nobody is kept out.
 */
#include "cmd/control/control.h"

#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "cmd/control/answer.h"
#include "cmd/control/place.h"
#include "cmd/control/protocol.h"
#include "host/host.h"
#include "machine/machine.h"

enum {
	CLIENTS_MAX = 16,
	LINE_MS = 5000,	  /* for a line, once it has begun */
	REPLY_MS = 10000, /* to take a reply */
	IDLE_MS = 60000,
	BREATH_MS = 100, /* when there is no descriptor for a newcomer */
};

struct client {
	int fd;
	char line[CONTROL_REQUEST_MAX];
	size_t have; /* bytes of it */
	char *reply;
	size_t reply_len, sent;
	bool last;	   /* goes when it has the reply */
	int64_t active_ms; /* when it last began or ended something */
	int64_t deadline_ms;
};

struct control {
	struct control_place place;
	struct machine *machine;
	pthread_t thread;
	bool serving;
	int stop_fd;
	int64_t breathe_until_ms;
	struct client *clients[CLIENTS_MAX];
	unsigned count;
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- one client ---- */

static void set_deadline(struct client *c, int64_t delay_ms)
{
	c->active_ms = now_ms();
	c->deadline_ms = c->active_ms + delay_ms;
}

static void set_reply(struct client *c, char *reply)
{
	c->reply = reply;
	c->reply_len = reply ? strlen(reply) : 0;
	c->sent = 0;
	c->last |= !reply; /* no memory */
	set_deadline(c, REPLY_MS);
}

/* Writes what it takes. False: it is gone. */
static bool client_send(struct client *c)
{
	while (c->sent < c->reply_len) {
		ssize_t n = send(c->fd, c->reply + c->sent, c->reply_len - c->sent,
			MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		c->sent += (size_t)n;
	}
	free(c->reply);
	c->reply = NULL;
	set_deadline(c, c->have ? LINE_MS : IDLE_MS);
	return !c->last;
}

/* Answers lines that are complete, as long as the client takes the replies. False: it is gone. */
static bool client_answer(struct control *control, struct client *c)
{
	while (!c->reply) {
		const char *end = memchr(c->line, '\n', c->have);

		if (!end && c->have < sizeof(c->line))
			return true;
		if (end) {
			size_t len = (size_t)(end - c->line);

			set_reply(c, control_answer(control->machine, c->line, len));
			c->have -= len + 1;
			memmove(c->line, end + 1, c->have);
		} else {
			c->last = true;
			set_reply(c, control_refusal(EMSGSIZE, "the request is too long"));
		}
		if (!client_send(c))
			return false;
	}
	return true;
}

static bool client_receive(struct control *control, struct client *c)
{
	ssize_t n = recv(c->fd, c->line + c->have, sizeof(c->line) - c->have, MSG_DONTWAIT);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0)
		return false;
	if (c->have == 0)
		set_deadline(c, LINE_MS);
	c->have += (size_t)n;
	return client_answer(control, c);
}

static bool client_serve(struct control *control, struct client *c, short events)
{
	bool stays = true;

	/* First what it has sent: it may have waited for us, not we for it. */
	if (events & POLLOUT)
		stays = client_send(c) && client_answer(control, c);
	else if (events & POLLIN)
		stays = client_receive(control, c);
	else if (events)
		stays = false;
	return stays && now_ms() < c->deadline_ms;
}

/* ---- all of them ---- */

static void drop(struct control *control, unsigned i)
{
	struct client *c = control->clients[i];

	close(c->fd);
	free(c->reply);
	free(c);
	control->clients[i] = control->clients[--control->count];
}

static void drop_most_silent(struct control *control)
{
	unsigned oldest = 0;

	for (unsigned i = 1; i < control->count; i++)
		if (control->clients[i]->active_ms < control->clients[oldest]->active_ms)
			oldest = i;
	drop(control, oldest);
}

static bool is_welcome(int fd)
{
	struct ucred peer;
	socklen_t size = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
	       (peer.uid == geteuid() || peer.uid == 0);
}

static void take_newcomer(struct control *control)
{
	int fd = accept4(control->place.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *c;

	if (fd < 0) {
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
			control->breathe_until_ms = now_ms() + BREATH_MS;
		return;
	}
	c = is_welcome(fd) ? calloc(1, sizeof(*c)) : NULL;
	if (!c) {
		close(fd);
		return;
	}
	if (control->count == CLIENTS_MAX)
		drop_most_silent(control);
	c->fd = fd;
	set_deadline(c, IDLE_MS);
	control->clients[control->count++] = c;
}

/* Milliseconds for poll(2): until the first client's time is up. */
static int time_left(const struct control *control)
{
	int64_t until = INT64_MAX, now = now_ms();

	for (unsigned i = 0; i < control->count; i++)
		if (control->clients[i]->deadline_ms < until)
			until = control->clients[i]->deadline_ms;
	if (control->breathe_until_ms > now && control->breathe_until_ms < until)
		until = control->breathe_until_ms;
	if (until == INT64_MAX)
		return -1;
	return until <= now ? 0 : (int)(until - now);
}

static void *server_main(void *arg)
{
	enum { STOP, LISTEN, FIXED };
	struct control *control = arg;
	struct pollfd fds[FIXED + CLIENTS_MAX];

	for (;;) {
		bool breathes = control->breathe_until_ms > now_ms();
		unsigned count = control->count;

		fds[STOP] = (struct pollfd){.fd = control->stop_fd, .events = POLLIN};
		fds[LISTEN] =
			(struct pollfd){.fd = breathes ? -1 : control->place.fd, .events = POLLIN};
		for (unsigned i = 0; i < count; i++)
			fds[FIXED + i] = (struct pollfd){
				.fd = control->clients[i]->fd,
				.events = control->clients[i]->reply ? POLLOUT : POLLIN,
			};
		if (poll(fds, FIXED + count, time_left(control)) < 0)
			continue;
		if (fds[STOP].revents)
			return NULL;
		/* Backwards: who goes is replaced by the last, who has been served. */
		for (unsigned i = count; i-- > 0;)
			if (!client_serve(control, control->clients[i], fds[FIXED + i].revents))
				drop(control, i);
		if (fds[LISTEN].revents)
			take_newcomer(control);
	}
}

/* ---- the whole ---- */

static int find_place(
	const struct config *config, char *path, size_t size, struct machine_error *error)
{
	const char *given = config_get(config, "rundir");

	if (given && !*given)
		return config_bad(config, "rundir", error, "name a folder");
	if (!control_rundir(given, path, size))
		return config_bad(config, "rundir", error, "the path is too long");
	return 0;
}

int control_open(const struct config *config, struct control **out, struct machine_error *error,
	char *warning, size_t warning_size)
{
	const char *name = config_get(config, "name");
	bool insists = config_get(config, "rundir") || config_get(config, "control"), wanted;
	struct control *control;
	char path[4096], why[224] = "";
	int code = config_bool(config, "control", true, &wanted, error);

	*out = NULL;
	*warning = '\0';
	/* Without a name machine_create says so. */
	if (code || !wanted || !name || !*name)
		return code;
	code = find_place(config, path, sizeof(path), error);
	if (code)
		return code;
	control = calloc(1, sizeof(*control));
	if (!control)
		return machine_error(error, ENOMEM, "%s", strerror(ENOMEM));
	control->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	code = control->stop_fd < 0
		       ? errno
		       : control_place_take(path, name, &control->place, why, sizeof(why));
	if (!code) {
		*out = control;
		return 0;
	}
	if (control->stop_fd >= 0)
		close(control->stop_fd);
	free(control);
	if (code == EBUSY)
		return machine_error(error, code, "%s", why);
	if (insists)
		return machine_error(error, code, "no control socket: %s; or use -o control=false",
			*why ? why : strerror(code));
	snprintf(warning, warning_size, "no control socket: %s", *why ? why : strerror(code));
	return 0;
}

int control_serve(struct control *control, struct machine *machine)
{
	if (!control)
		return 0;
	control->machine = machine;
	/* Read from a file, which a sandbox may not allow later. */
	json_object_seed(0);
	int error = host_thread_start(&control->thread, "hyve-control", server_main, control);

	control->serving = !error;
	return error;
}

void control_stop(struct control *control)
{
	if (!control || !control->serving)
		return;
	(void)!write(control->stop_fd, &(uint64_t){1}, sizeof(uint64_t));
	pthread_join(control->thread, NULL);
	control->serving = false;
}

void control_close(struct control *control)
{
	if (!control)
		return;
	control_stop(control);
	/* Not before: who waits for our end sees its connection close when the name is free again.
	 */
	control_place_leave(&control->place);
	while (control->count > 0)
		drop(control, 0);
	close(control->stop_fd);
	free(control);
}
