/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A child process holds the terminal and one end of a pipe, and waits.  If the pipe closes without
 * a word, its parent has died, by whatever signal, and the child puts the terminal back.  So there
 * is no handler for fatal signals (the backends have uses of their own for SIGSEGV), no atexit, and
 * SIGKILL is covered too.
 */
#include "host/tty_guard.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum { GUARD_TTY_FD = 3, GUARD_PIPE_FD = 4, GUARD_FIRST_FREE_FD = 5 };

/* Async-signal-safe calls only: the parent may have threads. */
__attribute__((noreturn)) static void guard_child(
	int tty_fd, int pipe_fd, const struct termios *saved)
{
	char word;
	ssize_t n;

	/* Out of the process group: what kills the parent's group must spare us. */
	setsid();
	prctl(PR_SET_NAME, "hyve-tty");
	/* Keep no file of the parent open: its readers wait for end of file. */
	int t = fcntl(tty_fd, F_DUPFD, GUARD_FIRST_FREE_FD);
	int p = fcntl(pipe_fd, F_DUPFD, GUARD_FIRST_FREE_FD);

	if (t < 0 || p < 0 || dup2(t, GUARD_TTY_FD) < 0 || dup2(p, GUARD_PIPE_FD) < 0)
		_exit(1);
	for (int fd = 0; fd < GUARD_TTY_FD; fd++)
		close(fd);
	if (close_range(GUARD_FIRST_FREE_FD, ~0u, 0) != 0)
		for (int fd = GUARD_FIRST_FREE_FD; fd < 1024; fd++)
			close(fd);
	do
		n = read(GUARD_PIPE_FD, &word, 1);
	while (n < 0 && errno == EINTR);
	if (n == 0)
		tcsetattr(GUARD_TTY_FD, TCSANOW, saved);
	_exit(0);
}

static void guard_spawn(struct tty_guard *guard)
{
	sigset_t all, old;
	int fds[2];

	guard->child = guard->pipe_fd = -1;
	if (pipe2(fds, O_CLOEXEC) != 0)
		return;
	/*
	 * Inherited: there is no instant at which a signal to the group ends the guardian as well.
	 */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	guard->child = fork();
	if (guard->child == 0)
		guard_child(guard->fd, fds[0], &guard->saved);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	close(fds[0]);
	if (guard->child < 0)
		close(fds[1]);
	else
		guard->pipe_fd = fds[1];
}

int tty_guard_enter(struct tty_guard *guard, int fd)
{
	struct termios raw;

	guard->fd = -1;
	if (tcgetattr(fd, &guard->saved) != 0)
		return errno;
	guard->fd = fd;
	guard_spawn(guard);
	raw = guard->saved;
	cfmakeraw(&raw);
	raw.c_cflag |= CLOCAL;
	if (tcsetattr(fd, TCSANOW, &raw) != 0) {
		int error = errno;

		tty_guard_leave(guard);
		return error;
	}
	return 0;
}

void tty_guard_leave(struct tty_guard *guard)
{
	if (guard->fd < 0)
		return;
	tcsetattr(guard->fd, TCSANOW, &guard->saved);
	guard->fd = -1;
	if (guard->child < 0)
		return;
	(void)!write(guard->pipe_fd, "q", 1);
	close(guard->pipe_fd);
	while (waitpid(guard->child, NULL, 0) < 0 && errno == EINTR)
		;
	guard->child = -1;
}
