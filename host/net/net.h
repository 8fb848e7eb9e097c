/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The door of host/net/: a network card's cable.  Behind one is a network in user space (slirp), a
 * tap interface of the host, or nothing (null).  Packets are Ethernet frames without a checksum,
 * and before each stands a struct net_header that says what is left to do: that is how a frame of
 * 64 KiB travels where the wire would want fifty.
 *
 * A network calls its user on threads of its own, and from within net_send().
 */
#ifndef HOST_NET_NET_H
#define HOST_NET_NET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct event_loop;
struct net;

/* What stands before a frame, little-endian; the layout is virtio's (virtio 1.2, 5.1.6). */
struct net_header {
	uint8_t flags;
	uint8_t gso_type;
	uint16_t header_size; /* of what is before the payload; a hint */
	uint16_t gso_size;    /* payload of each segment, bytes */
	uint16_t csum_start;  /* from the start of the frame */
	uint16_t csum_offset; /* from csum_start */
	uint16_t buffers;     /* the user's own business; left out if the header has 10 bytes */
};

#define NET_HEADER_NEEDS_CSUM 1 /* the checksum's place holds that of the pseudo-header only */
#define NET_HEADER_DATA_VALID 2 /* no need to look at the checksum */

#define NET_GSO_NONE  0
#define NET_GSO_TCPV4 1
#define NET_GSO_UDP   3
#define NET_GSO_TCPV6 4
#define NET_GSO_ECN   0x80 /* or'ed to a TCP type: the segments carry CWR */

/* What may be left to the receiver of a frame. */
enum net_offload {
	NET_CSUM = 1 << 0,
	NET_TSO4 = 1 << 1,
	NET_TSO6 = 1 << 2,
	NET_TSO_ECN = 1 << 3,
	NET_UFO = 1 << 4,
};

#define NET_MAX_QUEUES 16
/* No frame with its header is longer: 64 KiB of IP with an Ethernet header and two VLAN tags. */
#define NET_MAX_FRAME (65535 + 22 + sizeof(struct net_header))

enum net_result {
	NET_DONE,    /* `fill` has brought a frame, and the user has it */
	NET_EMPTY,   /* `fill` had none after all */
	NET_NO_ROOM, /* not now: net_resume() tells when */
	NET_TOO_BIG, /* never */
};

/* Who has the other end. `arg` goes to each. */
struct net_user {
	/*
	 * A frame of at most `size` bytes, header included, can be had on that queue.  The user
	 * calls fill(ctx, iov, n) at once and from here, with buffers for so many bytes or without
	 * calling it says why not.  `fill` returns how many bytes it has written, 0: there is none.
	 * No call into this network from here.
	 */
	enum net_result (*receive)(void *arg, unsigned queue, size_t size,
		size_t (*fill)(void *ctx, const struct iovec *iov, size_t n), void *ctx);
	/* No more frames for the moment: time for an interrupt. */
	void (*received)(void *arg, unsigned queue);
	/* Some net_send() said EAGAIN, and it is worth to try again. Event loop's thread. */
	void (*sendable)(void *arg);
	void *arg;
};

struct net_args {
	/* The settings; the value of a key or NULL. net.c and the backends have the keys. */
	const char *(*option)(const void *config, const char *key);
	const void *config;
	/* Names this card among all others: its MAC address comes from it. */
	const char *identity;
	/* For timers. */
	struct event_loop *loop;
	struct net_user user; /* copied */
};

/*
 * Opens the network that the setting "backend" names.  0, or an errno and in `why` a line for the
 * user.  Nothing is received before the first net_resume().
 */
int net_open(const struct net_args *args, struct net **net, char *why, size_t why_size);
/* Afterwards the user is not called any more. It holds no lock that its functions take. */
void net_close(struct net *net);

/* What does not change: the card's address, and the "mtu" setting or 0. */
const uint8_t *net_mac(const struct net *net);
unsigned net_mtu(const struct net *net);
/* How many pairs of queues there are, from the setting "queues": 1 to NET_MAX_QUEUES. */
unsigned net_queues(const struct net *net);
/* Sum of enum net_offload: what it takes from the user, and could give to it. */
unsigned net_offers(const struct net *net);

/*
 * What the user takes (a sum of enum net_offload, nothing at first), how long the headers are (10
 * or 12 bytes; 12 at first) both ways, and with how many pairs of queues it works (1 at first).
 * Between frames; any thread.
 */
void net_configure(struct net *net, unsigned takes, size_t header_size, unsigned queues);

/*
 * Sends a frame: header first, in any number of pieces, which may change under our hands.  What is
 * wrong with it is dropped, as a wire would.  EAGAIN: over the rate, user->sendable() will tell.
 * Any thread; the user holds no lock that its receive() takes.
 */
int net_send(struct net *net, unsigned queue, const struct iovec *iov, size_t n);
/* No more frames for the moment. After one or more net_send(), by the same thread. */
void net_flush(struct net *net, unsigned queue);
/* There is room for frames on that queue. Any thread; as net_send(). */
void net_resume(struct net *net, unsigned queue);

struct net_counters {
	uint64_t packets, bytes; /* frames that passed, without headers */
	uint64_t dropped;
};
/* What the user sent and received so far. Any thread. */
void net_count(const struct net *net, struct net_counters *sent, struct net_counters *received);

#endif
