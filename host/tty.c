/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * One ring each way.
 *
 *	tty_write() --> out ring --(event loop, 1 ms later)--> fd
 *	fd --(event loop)--> Ctrl-A filter --> in ring --(as the user has room)--> input()
 *
 * The millisecond gathers what a guest writes byte by byte into one write().  Locks: the user may
 *hold its own when it calls in; the loop's thread holds none of ours when it calls the user.
 */
#include "host/tty.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "host/event.h"
#include "host/tty_guard.h"

enum {
	RING_SIZE = 1 << 16,
	FLUSH_DELAY_NS = 1000000,
	CLOSE_TIMEOUT_MS = 1000,
	ESCAPE_KEY = 1,	  /* Ctrl-A */
	SAFE_WRITE = 512, /* POSIX's PIPE_BUF: does not block after POLLOUT */
};

struct ring {
	uint8_t bytes[RING_SIZE];
	size_t head, tail; /* free-running; head - tail bytes are held */
};

struct tty {
	struct event_loop *loop;
	struct tty_user user;
	char name[128];
	int in_fd, out_fd; /* -1: none */
	int slave_fd;	   /* a pty's other side, held so that the master never hangs up */
	bool out_nonblock; /* out_fd is a description of our own, with O_NONBLOCK */
	bool keys;	   /* Ctrl-A is ours */
	struct tty_guard guard;
	struct event_source *resize_source; /* NULL: nobody wants to know */
	struct event_source *in_source, *out_source; /* NULL: a plain file, always ready */
	struct event_timer *flush_timer, *deliver_timer;

	pthread_mutex_t lock; /* guards what follows */
	struct ring out, in;
	bool flush_set;	 /* the timer or EPOLLOUT will flush */
	bool refused;	 /* tty_write took less than offered */
	bool out_broken; /* nobody reads: output is thrown away */
	bool in_paused;	 /* in ring full: EPOLLIN is off */
	bool in_ended;
	bool escape; /* the last key was Ctrl-A */
};

static size_t ring_used(const struct ring *r)
{
	return r->head - r->tail;
}

static size_t ring_room(const struct ring *r)
{
	return RING_SIZE - ring_used(r);
}

static size_t ring_put(struct ring *r, const uint8_t *bytes, size_t count)
{
	size_t n = count < ring_room(r) ? count : ring_room(r);

	for (size_t i = 0; i < n; i++)
		r->bytes[r->head++ % RING_SIZE] = bytes[i];
	return n;
}

/* The oldest bytes that lie in one piece. */
static size_t ring_piece(const struct ring *r, const uint8_t **bytes)
{
	size_t start = r->tail % RING_SIZE, used = ring_used(r);

	*bytes = r->bytes + start;
	return used < RING_SIZE - start ? used : RING_SIZE - start;
}

/* ---- output ---- */

static bool out_ready(struct tty *tty)
{
	struct pollfd p = {.fd = tty->out_fd, .events = POLLOUT};

	return tty->out_nonblock || (poll(&p, 1, 0) == 1 && (p.revents & (POLLOUT | POLLERR)));
}

/* Writes what can be written. True if all is out. Loop's thread, or the only one left. */
static bool out_flush(struct tty *tty)
{
	const uint8_t *bytes;
	size_t n;

	pthread_mutex_lock(&tty->lock);
	while ((n = ring_piece(&tty->out, &bytes)) > 0) {
		/* Nobody but us moves the tail, so the piece stays while the lock is dropped. */
		pthread_mutex_unlock(&tty->lock);
		if (!tty->out_nonblock && n > SAFE_WRITE)
			n = SAFE_WRITE;
		ssize_t done = -1;
		int error = EAGAIN;

		if (out_ready(tty)) {
			done = write(tty->out_fd, bytes, n);
			error = errno;
		}
		pthread_mutex_lock(&tty->lock);
		if (done >= 0) {
			tty->out.tail += (size_t)done;
		} else if (error == EAGAIN) {
			break;
		} else if (error != EINTR) {
			tty->out_broken = true;
			tty->out.tail = tty->out.head;
		}
	}
	bool empty = n == 0;

	pthread_mutex_unlock(&tty->lock);
	return empty;
}

static void out_event(struct tty *tty)
{
	bool empty = out_flush(tty);

	if (tty->out_source && !tty->out_broken)
		event_source_set(tty->out_source, empty ? 0 : EPOLLOUT);
	pthread_mutex_lock(&tty->lock);
	/* More may have come since; with the flag down its writer would have set the timer. */
	tty->flush_set = ring_used(&tty->out) > 0;
	if (tty->flush_set && (empty || !tty->out_source))
		event_timer_set(tty->flush_timer, FLUSH_DELAY_NS);
	bool tell = tty->refused && ring_room(&tty->out) > 0;

	if (tell)
		tty->refused = false;
	pthread_mutex_unlock(&tty->lock);
	if (tell)
		tty->user.writable(tty->user.arg);
}

static void out_timer_fn(void *arg)
{
	out_event(arg);
}

static void out_source_fn(void *arg, uint32_t events)
{
	struct tty *tty = arg;

	if (!(events & EPOLLOUT)) {
		/* An error condition is reported whatever was asked for, again and again: nobody
		 * reads. */
		pthread_mutex_lock(&tty->lock);
		tty->out_broken = true;
		tty->out.tail = tty->out.head;
		pthread_mutex_unlock(&tty->lock);
		struct event_source *source = tty->out_source;

		tty->out_source = NULL;
		event_source_remove(source);
	}
	out_event(tty);
}

size_t tty_write(struct tty *tty, const uint8_t *bytes, size_t count)
{
	size_t n = count;

	pthread_mutex_lock(&tty->lock);
	if (!tty->out_broken && tty->out_fd >= 0) {
		n = ring_put(&tty->out, bytes, count);
		if (n < count)
			tty->refused = true;
		if (!tty->flush_set && ring_used(&tty->out) > 0) {
			tty->flush_set = true;
			event_timer_set(tty->flush_timer, FLUSH_DELAY_NS);
		}
	}
	pthread_mutex_unlock(&tty->lock);
	return n;
}

/* ---- input ---- */

/* Ctrl-A x and Ctrl-A Ctrl-A; any other key after Ctrl-A passes with it. Returns how many stay. */
static size_t filter_keys(
	struct tty *tty, const uint8_t *from, size_t count, uint8_t *to, bool *quit)
{
	size_t n = 0;

	for (size_t i = 0; i < count; i++) {
		uint8_t key = from[i];

		if (!tty->escape && key == ESCAPE_KEY) {
			tty->escape = true;
			continue;
		}
		if (tty->escape) {
			tty->escape = false;
			if (key == 'x') {
				*quit = true;
				continue;
			}
			to[n++] = ESCAPE_KEY;
			if (key == ESCAPE_KEY)
				continue;
		}
		to[n++] = key;
	}
	return n;
}

/* Stops waiting for input: at its end, or (a pipe whose writer has gone) to read it as a plain
 * file. */
static void in_unwatch(struct tty *tty, bool ended)
{
	struct event_source *source = tty->in_source;

	pthread_mutex_lock(&tty->lock);
	tty->in_ended = ended;
	tty->in_source = NULL;
	pthread_mutex_unlock(&tty->lock);
	event_source_remove(source);
}

/*
 * One read into the ring.  False if there was nothing.  From a keyboard we read even with a full
 * ring, and drop: Ctrl-A x must work when the guest does not listen.
 */
static bool in_fill(struct tty *tty)
{
	uint8_t raw[512], cooked[2 * sizeof(raw)];
	bool quit = false;

	pthread_mutex_lock(&tty->lock);
	bool full = ring_room(&tty->in) < sizeof(cooked);

	pthread_mutex_unlock(&tty->lock);
	if (full && !tty->keys) {
		tty->in_paused = true;
		if (tty->in_source)
			event_source_set(tty->in_source, 0);
		return false;
	}
	ssize_t n = read(tty->in_fd, raw, sizeof(raw));

	if (n <= 0) {
		/* A hung-up terminal is EIO: no more input, as at the end of a file. */
		if (n == 0 || (errno != EAGAIN && errno != EINTR))
			in_unwatch(tty, true);
		return false;
	}
	pthread_mutex_lock(&tty->lock);
	if (tty->keys)
		ring_put(&tty->in, cooked, filter_keys(tty, raw, (size_t)n, cooked, &quit));
	else
		ring_put(&tty->in, raw, (size_t)n);
	pthread_mutex_unlock(&tty->lock);
	if (quit)
		tty->user.quit(tty->user.arg);
	return true;
}

/* Hands the user what it has room for. */
static void in_deliver(struct tty *tty)
{
	const uint8_t *bytes;

	for (;;) {
		pthread_mutex_lock(&tty->lock);
		size_t n = ring_piece(&tty->in, &bytes);

		pthread_mutex_unlock(&tty->lock);
		size_t room = n > 0 ? tty->user.room(tty->user.arg) : 0;

		if (room == 0)
			break;
		if (n > room)
			n = room;
		tty->user.input(tty->user.arg, bytes, n);
		pthread_mutex_lock(&tty->lock);
		tty->in.tail += n;
		pthread_mutex_unlock(&tty->lock);
	}
	if (tty->in_paused && tty->in_source && ring_used(&tty->in) == 0) {
		tty->in_paused = false;
		event_source_set(tty->in_source, EPOLLIN);
	}
}

static bool in_is_plain(const struct tty *tty)
{
	return !tty->in_source && !tty->in_ended && tty->in_fd >= 0;
}

static void in_timer_fn(void *arg)
{
	struct tty *tty = arg;

	/* A plain file is never reported ready: it is read as the guest takes it. */
	bool more = in_is_plain(tty) && ring_used(&tty->in) == 0 && in_fill(tty);

	in_deliver(tty);
	if (more && ring_used(&tty->in) == 0)
		event_timer_set(tty->deliver_timer, 0);
}

static void in_source_fn(void *arg, uint32_t events)
{
	struct tty *tty = arg;

	/* With input paused a hang-up would be reported without end. */
	if (tty->in_paused && (events & (EPOLLHUP | EPOLLERR)))
		in_unwatch(tty, false);
	else if (in_fill(tty))
		in_deliver(tty);
}

void tty_input_resume(struct tty *tty)
{
	pthread_mutex_lock(&tty->lock);
	bool more = ring_used(&tty->in) > 0 || in_is_plain(tty);

	pthread_mutex_unlock(&tty->lock);
	if (more)
		event_timer_set(tty->deliver_timer, 0);
}

/* ---- the window ---- */

bool tty_size(const struct tty *tty, unsigned *columns, unsigned *rows)
{
	struct winsize size;

	if (!tty->keys || ioctl(tty->in_fd, TIOCGWINSZ, &size) != 0 || !size.ws_col || !size.ws_row)
		return false;
	*columns = size.ws_col;
	*rows = size.ws_row;
	return true;
}

static void resize_fn(void *arg, int signo)
{
	struct tty *tty = arg;

	(void)signo;
	tty->user.resized(tty->user.arg);
}

static int watch_size(struct tty *tty)
{
	static const int signals[] = {SIGWINCH, 0};

	if (!tty->keys || !tty->user.resized)
		return 0;
	return event_signals_add(tty->loop, signals, resize_fn, tty, &tty->resize_source);
}

/* ---- the kinds ---- */

/*
 * A description of our own for the file behind `fd`, because O_NONBLOCK on the shared one would
 * stay behind in the shell.  Where that is refused (sockets, another user's terminal) a plain
 * duplicate.
 */
static int own_description(int fd, int flags, bool *nonblock)
{
	char path[32];
	struct stat st;

	*nonblock = false;
	if (fstat(fd, &st) != 0)
		return -1;
	/*
	 * A file keeps its offset and O_APPEND only in the shared description, and does not block.
	 */
	if (S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode)) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		int own = open(path, flags | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

		if (own >= 0) {
			*nonblock = true;
			return own;
		}
	}
	return fcntl(fd, F_DUPFD_CLOEXEC, 3);
}

static int open_stdio(struct tty *tty, const char *arg, char *why, size_t why_size)
{
	bool in_nonblock;

	(void)arg;
	tty->in_fd = own_description(STDIN_FILENO, O_RDONLY, &in_nonblock);
	tty->out_fd = own_description(STDOUT_FILENO, O_WRONLY, &tty->out_nonblock);
	if (tty->in_fd < 0 || !isatty(tty->in_fd))
		return 0;
	tty->keys = true;
	int error = tty_guard_enter(&tty->guard, tty->in_fd);

	if (error)
		snprintf(why, why_size, "stdio: cannot set the terminal's mode: %s",
			strerror(error));
	return error;
}

static int set_raw(int fd)
{
	struct termios raw;

	if (tcgetattr(fd, &raw) != 0)
		return errno;
	cfmakeraw(&raw);
	raw.c_cflag |= CLOCAL;
	return tcsetattr(fd, TCSANOW, &raw) != 0 ? errno : 0;
}

static int open_pty(struct tty *tty, const char *arg, char *why, size_t why_size)
{
	(void)arg;
	tty->in_fd = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (tty->in_fd < 0 || grantpt(tty->in_fd) != 0 || unlockpt(tty->in_fd) != 0 ||
		ptsname_r(tty->in_fd, tty->name, sizeof(tty->name)) != 0)
		goto fail;
	tty->slave_fd = open(tty->name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (tty->slave_fd < 0 || set_raw(tty->slave_fd) != 0)
		goto fail;
	tty->out_fd = fcntl(tty->in_fd, F_DUPFD_CLOEXEC, 3);
	tty->out_nonblock = true;
	if (tty->out_fd >= 0)
		return 0;
fail:
	snprintf(why, why_size, "pty: cannot make a pseudo-terminal: %s", strerror(errno));
	return errno ? errno : EIO;
}

static int open_file(struct tty *tty, const char *path, char *why, size_t why_size)
{
	tty->out_fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NONBLOCK, 0666);
	tty->out_nonblock = true;
	if (tty->out_fd >= 0)
		return 0;
	snprintf(why, why_size, "cannot write to %s: %s", path, strerror(errno));
	return errno;
}

static int open_device(struct tty *tty, const char *path, char *why, size_t why_size)
{
	tty->in_fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
	if (tty->in_fd < 0) {
		snprintf(why, why_size, "cannot open %s: %s", path, strerror(errno));
		return errno;
	}
	if (set_raw(tty->in_fd) != 0) {
		snprintf(why, why_size, "%s is no terminal; for a file use file=%s", path, path);
		return ENOTTY;
	}
	tty->out_fd = fcntl(tty->in_fd, F_DUPFD_CLOEXEC, 3);
	tty->out_nonblock = true;
	return tty->out_fd < 0 ? errno : 0;
}

static const struct {
	const char *prefix;
	bool whole; /* the spec is exactly this */
	int (*open)(struct tty *tty, const char *arg, char *why, size_t why_size);
} kinds[] = {
	{"stdio", true, open_stdio},
	{"pty", true, open_pty},
	{"file=", false, open_file},
	{"/dev/", false, open_device},
};

static int open_kind(struct tty *tty, const char *spec, char *why, size_t why_size)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		size_t len = strlen(kinds[i].prefix);

		if (kinds[i].whole ? strcmp(spec, kinds[i].prefix) == 0
				   : strncmp(spec, kinds[i].prefix, len) == 0)
			/* A device's path includes its prefix. */
			return kinds[i].open(tty, *spec == '/' ? spec : spec + len, why, why_size);
	}
	snprintf(why, why_size, "unknown terminal \"%s\"; use stdio, pty, file=PATH or /dev/...",
		spec);
	return EINVAL;
}

static int add_source(struct tty *tty, int fd, uint32_t events, void (*fn)(void *, uint32_t),
	struct event_source **source)
{
	int error = fd < 0 ? 0 : event_source_add(tty->loop, fd, events, fn, tty, source);

	return error == EPERM ? 0 : error; /* a plain file: always ready */
}

static int tty_connect(struct tty *tty)
{
	int error = event_timer_create(tty->loop, out_timer_fn, tty, &tty->flush_timer);

	if (!error)
		error = event_timer_create(tty->loop, in_timer_fn, tty, &tty->deliver_timer);
	if (!error)
		error = add_source(tty, tty->out_fd, 0, out_source_fn, &tty->out_source);
	if (!error)
		error = watch_size(tty);
	if (!error)
		error = add_source(tty, tty->in_fd, EPOLLIN, in_source_fn, &tty->in_source);
	if (!error && !tty->in_source && tty->in_fd >= 0)
		event_timer_set(tty->deliver_timer, 0);
	return error;
}

int tty_open(struct event_loop *loop, const char *spec, const struct tty_user *user,
	struct tty **out, char *why, size_t why_size)
{
	struct tty *tty = calloc(1, sizeof(*tty));
	int error;

	if (!tty) {
		snprintf(why, why_size, "%s: %s", spec, strerror(ENOMEM));
		return ENOMEM;
	}
	tty->loop = loop;
	tty->user = *user;
	tty->in_fd = tty->out_fd = tty->slave_fd = tty->guard.fd = -1;
	pthread_mutex_init(&tty->lock, NULL);
	snprintf(tty->name, sizeof(tty->name), "%s", spec);
	error = open_kind(tty, spec, why, why_size);
	if (!error) {
		error = tty_connect(tty);
		if (error)
			snprintf(why, why_size, "%s: %s", spec, strerror(error));
	}
	if (error) {
		tty_close(tty);
		return error;
	}
	*out = tty;
	return 0;
}

static void out_drain(struct tty *tty)
{
	struct timespec pause = {.tv_nsec = 5000000};

	if (tty->out_fd < 0)
		return;
	for (int ms = 0; ms < CLOSE_TIMEOUT_MS && !out_flush(tty); ms += 5)
		nanosleep(&pause, NULL);
}

void tty_close(struct tty *tty)
{
	if (!tty)
		return;
	event_source_remove(tty->resize_source);
	event_source_remove(tty->in_source);
	event_source_remove(tty->out_source);
	event_timer_remove(tty->deliver_timer);
	event_timer_remove(tty->flush_timer);
	out_drain(tty);
	tty_guard_leave(&tty->guard);
	int fds[] = {tty->in_fd, tty->out_fd, tty->slave_fd};

	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		if (fds[i] >= 0)
			close(fds[i]);
	pthread_mutex_destroy(&tty->lock);
	free(tty);
}

const char *tty_name(const struct tty *tty)
{
	return tty->name;
}
