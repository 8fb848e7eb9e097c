/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Raw mode of the terminal on stdin, undone however the process ends.  Only host/ includes this.
 */
#ifndef HOST_TTY_GUARD_H
#define HOST_TTY_GUARD_H

#include <sys/types.h>
#include <termios.h>

struct tty_guard {
	int fd; /* the terminal; -1: nothing to undo */
	struct termios saved;
	pid_t child; /* -1: none could be had */
	int pipe_fd;
};

/* Puts the terminal `fd` into raw mode. 0 or an errno. */
int tty_guard_enter(struct tty_guard *guard, int fd);
void tty_guard_leave(struct tty_guard *guard);

#endif
