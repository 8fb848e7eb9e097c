/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * For the tests of host/net/: the user of a network, with a little IP stack, which looks at each
 * bit of what it gets.
 */
#ifndef TEST_HOST_NET_PEER_H
#define TEST_HOST_NET_PEER_H

#include <pthread.h>

#include "host/host.h"
#include "host/net/packet.h"

#define PEER_FRAMES 512

struct peer_frame {
	unsigned queue;
	struct net_header header;
	size_t size; /* without header */
	uint8_t *bytes;
};

struct peer {
	struct event_loop *loop;
	struct net *net;
	pthread_mutex_t lock; /* guards what follows */
	struct peer_frame frames[PEER_FRAMES];
	unsigned first, count;
	bool full; /* there is no room */
	_Atomic int told, sendable;

	/* Addresses: ours, the other end's. */
	uint8_t mac[6], other_mac[6];
	uint8_t ip[4], other_ip[4];
	/* The connection. */
	uint16_t port, other_port;
	uint32_t seq, ack;
};

/* Opens; returns what net_open() does. Settings are pairs of key and value, a NULL at the end. */
int peer_try(struct peer *p, const char *const *pairs, char *why, size_t why_size);
/* The same, and it has to work; the user takes these offloads. */
void peer_open(struct peer *p, const char *const *pairs, unsigned takes);
void peer_close(struct peer *p);

/* The next frame that comes within some seconds; size 0 if none. Its bytes are to be freed. */
struct peer_frame peer_next(struct peer *p, int timeout_ms);
/* The next TCP frame for our connection, in packet, all checksums looked at. ARP is answered. */
struct peer_frame peer_next_tcp(struct peer *p, struct packet *packet);
void peer_send(struct peer *p, const struct net_header *header, const void *frame, size_t size);

/* Sends a TCP segment; with gso_size it is one to be cut. The checksum is left to the network. */
void peer_send_tcp(
	struct peer *p, uint8_t flags, const void *payload, size_t size, unsigned gso_size);
/* An ARP request for the other end's address, and its answer becomes other_mac. */
void peer_resolve(struct peer *p);
/* Answers the SYN that comes, with an MSS; afterwards the connection stands. */
void peer_accept(struct peer *p, unsigned mss);
/* Receives that many bytes of the pattern from the connection, and acknowledges; counts frames. */
unsigned peer_receive(struct peer *p, size_t size, unsigned *large);
/* A byte of what both ends send. */
uint8_t peer_pattern(size_t at);

#define PEER_FIN 0x01
#define PEER_SYN 0x02
#define PEER_PSH 0x08
#define PEER_ACK 0x10

#endif
