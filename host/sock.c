/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The listening socket stays; the client's comes and goes.  Only the loop's thread opens and closes
 * a client, and only under the lock, so that a writer on another thread has the right one.
 */
#include "host/sock.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/event.h"

enum { BACKLOG = 4, CHUNK = 1 << 16 };

struct sock {
	struct event_loop *loop;
	struct sock_user user;
	struct sockaddr_un address;
	int listen_fd;
	struct event_source *listen_source;
	struct event_timer *resume_timer;
	uint8_t chunk[CHUNK]; /* the loop's thread's */

	pthread_cond_t idle;  /* not busy */
	pthread_mutex_t lock; /* guards what follows, but for reading on the loop's thread */
	struct event_source *client_source;
	int client_fd; /* -1: nobody */
	bool busy;     /* client_event() is running, its source perhaps gone already */
	bool closing;  /* ... and does so no more */
	bool paused;   /* the user had no room: nothing is read */
	bool refused;  /* the client had none: EPOLLOUT is awaited */
};

/* ---- the client ---- */

/* What to wait for. Caller holds the lock. */
static void watch(struct sock *s)
{
	if (s->client_source)
		event_source_set(
			s->client_source, (s->paused ? 0 : EPOLLIN) | (s->refused ? EPOLLOUT : 0));
}

/* Stops waiting for the client. Who finds the source here removes it. */
static void unwatch(struct sock *s)
{
	pthread_mutex_lock(&s->lock);
	struct event_source *source = s->client_source;

	s->client_source = NULL;
	pthread_mutex_unlock(&s->lock);
	event_source_remove(source);
}

static void hang_up(struct sock *s)
{
	unwatch(s);
	pthread_mutex_lock(&s->lock);
	int fd = s->client_fd;

	s->client_fd = -1;
	s->paused = s->refused = false;
	pthread_mutex_unlock(&s->lock);
	close(fd);
	s->user.connected(s->user.arg, false);
}

static bool is_for_now(int error)
{
	return error == EAGAIN || error == EINTR;
}

/* The user has no room. A client that has left nothing behind it is gone all the same. */
static void pause_input(struct sock *s)
{
	ssize_t n = recv(s->client_fd, s->chunk, 1, MSG_DONTWAIT | MSG_PEEK);

	if (n == 0 || (n < 0 && !is_for_now(errno))) {
		hang_up(s);
		return;
	}
	pthread_mutex_lock(&s->lock);
	s->paused = true;
	watch(s);
	pthread_mutex_unlock(&s->lock);
	/* Room may have come since; then nobody else asks again. */
	if (s->user.room(s->user.arg) > 0)
		sock_input_resume(s);
}

/* One read of what the user has room for. False: nothing more for now, or for good. */
static bool read_some(struct sock *s)
{
	size_t room = s->user.room(s->user.arg);

	if (room == 0) {
		pause_input(s);
		return false;
	}
	ssize_t n = recv(s->client_fd, s->chunk, room < CHUNK ? room : CHUNK, MSG_DONTWAIT);

	if (n > 0)
		s->user.input(s->user.arg, s->chunk, (size_t)n);
	else if (n == 0 || !is_for_now(errno))
		hang_up(s);
	return n > 0;
}

static void tell_writable(struct sock *s)
{
	pthread_mutex_lock(&s->lock);
	bool tell = s->refused;

	s->refused = false;
	watch(s);
	pthread_mutex_unlock(&s->lock);
	if (tell)
		s->user.writable(s->user.arg);
}

static void serve(struct sock *s, uint32_t events)
{
	/* Output for one that has hung up is dropped, and may not wait for its queue to empty. */
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		tell_writable(s);
	if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
		return;
	/*
	 * One read for each event: other devices wait for this thread, too.  A client that has hung
	 * up is reported again and again, so what it has left is read when there is room for it.
	 */
	if (!read_some(s) && s->paused && events & (EPOLLHUP | EPOLLERR))
		unwatch(s);
}

static void client_event(void *arg, uint32_t events)
{
	struct sock *s = arg;

	pthread_mutex_lock(&s->lock);
	s->busy = !s->closing;
	pthread_mutex_unlock(&s->lock);
	if (!s->busy)
		return;
	serve(s, events);
	pthread_mutex_lock(&s->lock);
	s->busy = false;
	pthread_cond_broadcast(&s->idle);
	pthread_mutex_unlock(&s->lock);
}

static void resume(void *arg)
{
	struct sock *s = arg;

	pthread_mutex_lock(&s->lock);
	bool there = s->client_fd >= 0;

	s->paused = false;
	watch(s);
	pthread_mutex_unlock(&s->lock);
	/* Without a source nobody else reads the rest. */
	while (there && !s->client_source && s->client_fd >= 0 && read_some(s))
		;
}

static void accept_client(void *arg, uint32_t events)
{
	struct sock *s = arg;
	int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct event_source *source = NULL;

	(void)events;
	if (fd < 0)
		return;
	/* A second one is told at once, instead of being left to wait. */
	if (s->client_fd >= 0 || event_source_add(s->loop, fd, 0, client_event, s, &source) != 0) {
		close(fd);
		return;
	}
	pthread_mutex_lock(&s->lock);
	s->client_fd = fd;
	s->client_source = source;
	pthread_mutex_unlock(&s->lock);
	s->user.connected(s->user.arg, true);
	pthread_mutex_lock(&s->lock);
	watch(s);
	pthread_mutex_unlock(&s->lock);
}

/* ---- for the user ---- */

size_t sock_write(struct sock *s, const struct iovec *pieces, unsigned count)
{
	const struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = count};
	size_t size = 0, sent = 0;

	for (unsigned i = 0; i < count; i++)
		size += pieces[i].iov_len;
	if (size == 0)
		return 0;
	pthread_mutex_lock(&s->lock);
	ssize_t n = s->client_fd < 0 ? -1
				     : sendmsg(s->client_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (n >= 0)
		sent = (size_t)n;
	else if (s->client_fd < 0 || !is_for_now(errno))
		sent = size; /* it is gone, and the loop will see that */
	if (sent < size) {
		s->refused = true;
		watch(s);
	}
	pthread_mutex_unlock(&s->lock);
	return sent;
}

void sock_input_resume(struct sock *s)
{
	pthread_mutex_lock(&s->lock);
	bool waits = s->paused;

	pthread_mutex_unlock(&s->lock);
	if (waits)
		event_timer_set(s->resume_timer, 0);
}

/* ---- the file ---- */

static int new_socket(void)
{
	return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* Somebody answers there, or what is there is no socket: not to be replaced. */
static int may_replace(const struct sockaddr_un *address, char *why, size_t why_size)
{
	struct stat st;

	if (lstat(address->sun_path, &st) != 0)
		return errno == ENOENT ? 0 : errno;
	if (!S_ISSOCK(st.st_mode)) {
		snprintf(why, why_size, "%s: there is a file that is no socket", address->sun_path);
		return EEXIST;
	}
	int fd = new_socket();

	if (fd < 0)
		return errno;
	int error =
		connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ? 0 : errno;

	close(fd);
	if (error == ECONNREFUSED)
		return unlink(address->sun_path) == 0 || errno == ENOENT ? 0 : errno;
	snprintf(why, why_size, "%s: another process listens there", address->sun_path);
	return EADDRINUSE;
}

/* The mode of the socket is the one its file gets, less the umask. */
static int bind_file(struct sock *s)
{
	if (fchmod(s->listen_fd, 0600) != 0 ||
		bind(s->listen_fd, (struct sockaddr *)&s->address, sizeof(s->address)) != 0)
		return errno;
	return listen(s->listen_fd, BACKLOG) == 0 ? 0 : errno;
}

static int open_listener(struct sock *s, const char *path, char *why, size_t why_size)
{
	s->address.sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(s->address.sun_path)) {
		snprintf(why, why_size, "%.40s...: a socket's path has %zu bytes at most", path,
			sizeof(s->address.sun_path) - 1);
		return ENAMETOOLONG;
	}
	strcpy(s->address.sun_path, path);
	int error = may_replace(&s->address, why, why_size);

	if (error)
		return error;
	s->listen_fd = new_socket();
	error = s->listen_fd < 0 ? errno : bind_file(s);
	if (!error)
		error = event_timer_create(s->loop, resume, s, &s->resume_timer);
	return error ? error
		     : event_source_add(
			       s->loop, s->listen_fd, EPOLLIN, accept_client, s, &s->listen_source);
}

int sock_listen(struct event_loop *loop, const char *path, const struct sock_user *user,
	struct sock **out, char *why, size_t why_size)
{
	struct sock *s = calloc(1, sizeof(*s));

	if (!s) {
		snprintf(why, why_size, "%s", strerror(ENOMEM));
		return ENOMEM;
	}
	s->loop = loop;
	s->user = *user;
	s->listen_fd = s->client_fd = -1;
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->idle, NULL);
	*why = '\0';
	*out = s;
	int error = open_listener(s, path, why, why_size);

	if (error) {
		if (!*why)
			snprintf(why, why_size, "cannot listen at %s: %s", path, strerror(error));
		sock_close(s);
		*out = NULL;
	}
	return error;
}

void sock_close(struct sock *s)
{
	if (!s)
		return;
	event_source_remove(s->listen_source); /* nobody comes any more */
	/* Who serves the client may hang up: its source and descriptor are ours only then. */
	pthread_mutex_lock(&s->lock);
	s->closing = true;
	while (s->busy)
		pthread_cond_wait(&s->idle, &s->lock);
	pthread_mutex_unlock(&s->lock);
	event_timer_remove(s->resume_timer);
	unwatch(s);
	if (s->client_fd >= 0)
		close(s->client_fd);
	if (s->listen_fd >= 0)
		close(s->listen_fd);
	pthread_cond_destroy(&s->idle);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
