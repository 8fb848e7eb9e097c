/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Terminals: the host's end of a serial line.  Behind one is this process's stdin and stdout, a new
 * pseudo-terminal, or a file.  Writing never blocks; input is handed out as the user has room for
 * it.
 */
#ifndef HOST_TTY_H
#define HOST_TTY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_loop;
struct tty;

/*
 * Who uses the terminal. All are called on the event loop's thread, without a lock of the terminal.
 */
struct tty_user {
	/* How many bytes `input` would take now; after 0, tty_input_resume() asks again. */
	size_t (*room)(void *arg);
	void (*input)(void *arg, const uint8_t *bytes, size_t count);
	/* Output is accepted again after tty_write() refused some. */
	void (*writable)(void *arg);
	/* Ctrl-A x was typed. */
	void (*quit)(void *arg);
	/* The terminal's window has another size: tty_size(). May be NULL. */
	void (*resized)(void *arg);
	void *arg;
};

/*
 * Opens "stdio", "pty", "file=PATH" (output only, created) or the path of a terminal device.  On
 * failure an errno, and in `why` what is wrong, for the user.  `user` is copied.
 *
 * stdio: a terminal on stdin is put into raw mode, and restored by tty_close() or, should the
 * process end in any other way, by a small guardian process.  Typed there, Ctrl-A x calls quit,
 * Ctrl-A Ctrl-A is one Ctrl-A.  An stdin that is closed, at its end or /dev/null simply gives no
 * input.
 */
int tty_open(struct event_loop *loop, const char *spec, const struct tty_user *user,
	struct tty **tty, char *why, size_t why_size);
/* Writes out what is buffered, for at most a second; restores and frees. NULL is allowed. */
void tty_close(struct tty *tty);

/* Buffers output and returns how much was accepted. Any thread; never calls the user. */
size_t tty_write(struct tty *tty, const uint8_t *bytes, size_t count);
/* The user has room for input again. Any thread; never calls the user. */
void tty_input_resume(struct tty *tty);
/*
 * Columns and rows of the terminal on stdio; false: it has none, as all others.  That they change is
 * noticed where every thread of the process has SIGWINCH blocked.  Any thread.
 */
bool tty_size(const struct tty *tty, unsigned *columns, unsigned *rows);
/* "stdio", the name of a new pseudo-terminal, or the path. */
const char *tty_name(const struct tty *tty);

#endif
