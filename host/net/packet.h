/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Frames taken apart: checksums, segments, fragments.  What a network card with offloads does, for
 * backends whose other end is none.  Pure functions over hostile bytes; for host/net/ alone.
 */
#ifndef HOST_NET_PACKET_H
#define HOST_NET_PACKET_H

#include "host/net/net.h"

enum {
	PACKET_TCP = 6,
	PACKET_UDP = 17,
};

/* Where things are in a frame, in bytes from its start. */
struct packet {
	uint8_t *frame;
	size_t size; /* up to the end of the IP packet, or of the frame if that is earlier */
	bool v6;
	uint8_t protocol; /* PACKET_TCP or PACKET_UDP */
	size_t l3;	  /* IP header */
	size_t l4;	  /* TCP or UDP header */
	size_t payload;
	bool fragmented; /* an IP fragment: nothing above l4 is known */
};

/*
 * Finds TCP or UDP over IP in a frame.  With `big` the IP length is not believed, as senders of
 * segments-to-be may leave it.  False: it is something else, or its headers are not all there; then
 * l4 is not 0 if it is IP at all.
 */
bool packet_parse(uint8_t *frame, size_t size, bool big, struct packet *packet);

/* The ones' complement sum of bytes, added to `sum`; not folded. */
uint64_t packet_sum(const uint8_t *bytes, size_t size, uint64_t sum);
uint16_t packet_fold(uint64_t sum);

/* Sets all lengths and checksums by packet->size. It is at most 65535 bytes of IP. */
void packet_finish(const struct packet *packet);
/* Only the pseudo-header's checksum in its place, for a receiver that completes it. */
void packet_finish_partial(const struct packet *packet);
/* Sums up what a header with NEEDS_CSUM left open. False: that is not inside the frame. */
bool packet_complete(uint8_t *frame, size_t size, size_t start, size_t offset);

/*
 * Cuts a TCP packet into segments with at most `payload` bytes each (not 0), complete with their
 * checksums, into `scratch`, which has room for the longest; emit() gets one after the other.
 */
void packet_segment(const struct packet *packet, size_t payload, uint8_t *scratch,
	void (*emit)(void *arg, uint8_t *frame, size_t size), void *arg);
/* The same with an IPv4 packet and fragments of at most `mtu` bytes of IP, 68 or more. */
void packet_fragment(const struct packet *packet, size_t mtu, uint8_t *scratch,
	void (*emit)(void *arg, uint8_t *frame, size_t size), void *arg);

/*
 * In a SYN whose MSS option has `least` or more, puts `mss` there, and corrects the checksum.
 * True: it did.
 */
bool packet_set_mss(const struct packet *packet, unsigned least, unsigned mss);

#endif
