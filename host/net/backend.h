/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* What net.c and the backends of networks have between them; for host/net/ alone. */
#ifndef HOST_NET_BACKEND_H
#define HOST_NET_BACKEND_H

#include <pthread.h>

#include "host/event.h"
#include "host/limit.h"
#include "host/net/net.h"

struct net_backend {
	const char *name; /* of "type" and, if nothing else matches, of "backend" */
	/* Whether "backend" means this one although it is not its name. May be NULL. */
	bool (*matches)(const char *spec);
	/* Sets net->state, net->offers and net->queues. On failure nothing is left open. */
	int (*open)(struct net *net, const struct net_args *args, char *why, size_t why_size);
	void (*close)(struct net *net);
	/* `size` is that of all pieces, and at least that of a header and an Ethernet header. */
	void (*send)(
		struct net *net, unsigned queue, const struct iovec *iov, size_t n, size_t size);
	/* These may be NULL. */
	void (*flush)(struct net *net, unsigned queue);
	void (*resume)(struct net *net, unsigned queue);
	void (*configure)(struct net *net, unsigned queues);
};

extern const struct net_backend net_slirp, net_tap, net_null;

/* One direction's limit. */
struct net_rate {
	pthread_mutex_t lock; /* guards limit */
	struct limit limit;
	struct event_timer *timer; /* NULL: no limit */
};

struct net_tally {
	_Atomic uint64_t packets, bytes, dropped;
};

struct net {
	const struct net_backend *backend;
	void *state; /* the backend's */
	struct net_user user;
	struct event_loop *loop;
	uint8_t mac[6];
	unsigned mtu;	 /* 0: not set */
	unsigned queues; /* what was asked for; a backend may lower it */
	unsigned offers;
	_Atomic unsigned takes;
	_Atomic size_t header_size;
	struct net_rate sent_rate, received_rate;
	struct net_tally sent, received;
	struct net_dump *dump; /* NULL: none */
};

/*
 * Hands a frame of at most `size` bytes to the user, through `fill` as net_user.receive() has it,
 * and counts it.
 */
enum net_result net_deliver(struct net *net, unsigned queue, size_t size,
	size_t (*fill)(void *ctx, const struct iovec *iov, size_t n), void *ctx);
/* Whether the rate allows a frame; if not, backend->resume() will be called for every queue. */
bool net_may_deliver(struct net *net);

/* "on", "off" and their like; true where nothing is wrong with it. */
bool net_boolean(const char *text, bool *value);
/* Copies `n` pieces into one, from byte `skip` on, at most `room` bytes; returns how many. */
size_t net_gather(const struct iovec *iov, size_t n, size_t skip, void *to, size_t room);
/* Copies one into `n` pieces and returns how much fitted. */
size_t net_scatter(const struct iovec *iov, size_t n, size_t skip, const void *from, size_t size);

/* A file of frames for tcpdump and its like. */
int net_dump_open(const char *path, struct net_dump **dump, char *why, size_t why_size);
void net_dump_close(struct net_dump *dump);
/* The frame that stands in the pieces from byte `skip` to `size`. Any thread. */
void net_dump_frame(
	struct net_dump *dump, const struct iovec *iov, size_t n, size_t skip, size_t size);

/* The address that bhyve would give to a card of that identity. */
void net_mac_derive(const char *identity, uint8_t mac[6]);

#endif
