/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Who looks at a name, takes it or removes it holds a lock on the folder meanwhile.  A name whose
 * socket nobody listens on is a dead machine's, and free.
 *
 * The socket is removed by a child process that waits for our end: so it goes also when we are
 * killed, and we need no right to remove files.
 */
#include "cmd/control/place.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/control/protocol.h"

enum { BACKLOG = 16, GUARD_DIR_FD = 3, GUARD_PIPE_FD = 4, GUARD_FIRST_FREE_FD = 5 };

struct folder {
	int fd;
	const char *path;
	char *why;
	size_t why_size;
};

static int say(const struct folder *f, int code, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

static int say(const struct folder *f, int code, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(f->why, f->why_size, format, args);
	va_end(args);
	return code;
}

/* One that others can write to is none: they could put a socket of theirs in our place. */
static int open_folder(struct folder *f)
{
	struct stat st;

	if (mkdir(f->path, 0700) != 0 && errno != EEXIST)
		return say(f, errno, "%.150s: %s", f->path, strerror(errno));
	f->fd = open(f->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (f->fd < 0 || fstat(f->fd, &st) != 0)
		return say(f, errno, "%.150s: %s", f->path, strerror(errno));
	if (st.st_uid != geteuid())
		return say(f, EACCES, "%.150s belongs to somebody else", f->path);
	if (st.st_mode & (S_IWGRP | S_IWOTH))
		return say(f, EACCES, "%.150s can be written by others; chmod 700 it", f->path);
	if (flock(f->fd, LOCK_EX) != 0)
		return say(f, errno, "%.150s: %s", f->path, strerror(errno));
	return 0;
}

/* Does somebody listen there? Full queues are a sign of life, too. */
static bool lives(const struct sockaddr_un *address, pid_t *pid)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct ucred peer = {0};
	socklen_t size = sizeof(peer);
	bool alive =
		fd >= 0 && (connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
				   errno == EAGAIN);

	if (alive && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0)
		peer.pid = 0;
	*pid = peer.pid;
	if (fd >= 0)
		close(fd);
	return alive;
}

static int make_room(const struct folder *f, const char *name, const struct sockaddr_un *address)
{
	struct stat st;
	pid_t pid;

	if (fstatat(f->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return errno == ENOENT ? 0 : say(f, errno, "%.150s: %s", f->path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return say(f, EEXIST, "%.120s/%s is there and no socket; remove it", f->path, name);
	if (!lives(address, &pid))
		return unlinkat(f->fd, name, 0) == 0
			       ? 0
			       : say(f, errno, "%.120s/%s: %s", f->path, name, strerror(errno));
	return pid ? say(f, EBUSY, "%s is running already (pid %d)", name, (int)pid)
		   : say(f, EBUSY, "%s is running already", name);
}

static int listen_there(const struct folder *f, const char *name, const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	/* Linux makes the file with the mode of the socket. */
	if (fd < 0 || fchmod(fd, 0600) != 0 ||
		bind(fd, (const struct sockaddr *)address, sizeof(*address)) != 0 ||
		listen(fd, BACKLOG) != 0) {
		say(f, errno, "%.120s/%s: %s", f->path, name, strerror(errno));
		if (fd >= 0)
			close(fd);
		return -1;
	}
	return fd;
}

/* ---- the guard ---- */

/* Async-signal-safe calls only. */
__attribute__((noreturn)) static void guard_child(
	int dir, int pipe_fd, const char *name, ino_t inode)
{
	struct stat st;
	char byte;
	ssize_t n;

	/* What ends the parent's group spares us. */
	setsid();
	prctl(PR_SET_NAME, "hyve-socket");
	(void)!chdir("/");
	int d = fcntl(dir, F_DUPFD, GUARD_FIRST_FREE_FD);
	int p = fcntl(pipe_fd, F_DUPFD, GUARD_FIRST_FREE_FD);

	if (d < 0 || p < 0 || dup2(d, GUARD_DIR_FD) < 0 || dup2(p, GUARD_PIPE_FD) < 0)
		_exit(1);
	for (int fd = 0; fd < GUARD_DIR_FD; fd++)
		close(fd);
	if (close_range(GUARD_FIRST_FREE_FD, ~0u, 0) != 0)
		for (int fd = GUARD_FIRST_FREE_FD; fd < 1024; fd++)
			close(fd);
	do
		n = read(GUARD_PIPE_FD, &byte, 1);
	while (n < 0 && errno == EINTR);
	flock(GUARD_DIR_FD, LOCK_EX);
	if (fstatat(GUARD_DIR_FD, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && st.st_ino == inode)
		unlinkat(GUARD_DIR_FD, name, 0);
	_exit(0);
}

static int spawn_guard(const struct folder *f, const char *name, struct control_place *place)
{
	struct stat st;
	sigset_t all, old;
	int fds[2];

	if (fstatat(f->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || pipe2(fds, O_CLOEXEC) != 0)
		return errno;
	/* A copy of the folder's lock would be held as long as the guard lives. */
	int dir = openat(f->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0) {
		close(fds[0]);
		close(fds[1]);
		return errno;
	}
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &old);
	place->guard = fork();
	if (place->guard == 0)
		guard_child(dir, fds[0], name, st.st_ino);
	int error = place->guard < 0 ? errno : 0;

	sigprocmask(SIG_SETMASK, &old, NULL);
	close(dir);
	close(fds[0]);
	if (error)
		close(fds[1]);
	else
		place->guard_fd = fds[1];
	return error;
}

/* ---- both ---- */

static int take(struct folder *f, const char *name, struct control_place *place)
{
	struct sockaddr_un address;
	int error = open_folder(f);

	if (error)
		return error;
	error = control_address(f->fd, f->path, name, &address);
	if (error)
		return say(f, error, "\"%.40s\" is no name for a socket; use another one", name);
	error = make_room(f, name, &address);
	if (error)
		return error;
	place->fd = listen_there(f, name, &address);
	if (place->fd < 0)
		return EIO;
	error = spawn_guard(f, name, place);
	if (error) {
		unlinkat(f->fd, name, 0);
		close(place->fd);
		say(f, error, "%.120s/%s: %s", f->path, name, strerror(error));
	}
	return error;
}

int control_place_take(
	const char *path, const char *name, struct control_place *place, char *why, size_t why_size)
{
	struct folder f = {.fd = -1, .path = path, .why = why, .why_size = why_size};

	*place = (struct control_place){-1, -1, -1};
	int error = take(&f, name, place);

	if (f.fd >= 0)
		close(f.fd); /* with the lock */
	return error;
}

void control_place_leave(struct control_place *place)
{
	close(place->fd);
	close(place->guard_fd);
	while (waitpid(place->guard, NULL, 0) < 0 && errno == EINTR)
		;
}
