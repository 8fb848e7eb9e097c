/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A Unix socket that somebody may connect to: a stream of bytes each way, one client at a time.
 * When it goes, the next one may come.
 */
#ifndef HOST_SOCK_H
#define HOST_SOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_loop;
struct iovec;
struct sock;

/* Who uses the socket. All are called on the event loop's thread, without a lock of the socket. */
struct sock_user {
	/* A client is there, or is gone. */
	void (*connected)(void *arg, bool there);
	/* How many bytes `input` would take now; after 0, sock_input_resume() asks again. */
	size_t (*room)(void *arg);
	void (*input)(void *arg, const uint8_t *bytes, size_t count);
	/* Output is accepted again after sock_write() took less than offered. */
	void (*writable)(void *arg);
	void *arg;
};

/*
 * Listens at `path`, mode 0600.  What a process that is gone has left there is replaced; a file
 * that is no socket, or one with somebody behind it, is not.  On failure an errno, and a line for
 * the user in `why`.  `user` is copied; it may be called before this returns.
 */
int sock_listen(struct event_loop *loop, const char *path, const struct sock_user *user,
	struct sock **sock, char *why, size_t why_size);
/*
 * Hangs up. The file stays, as bhyve's does: who may remove files is no longer let into the sandbox.
 * NULL is allowed. The caller holds no lock that the user takes.
 */
void sock_close(struct sock *sock);

/*
 * Sends from these pieces what goes without waiting, and returns how many bytes that is.  Without a
 * client all of them are accepted, for nobody.  Any thread; never calls the user, whose lock may be
 * held.
 */
size_t sock_write(struct sock *sock, const struct iovec *pieces, unsigned count);
/* The user has room for input again. As sock_write. */
void sock_input_resume(struct sock *sock);

#endif
