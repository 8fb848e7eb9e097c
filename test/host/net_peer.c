/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "test/host/net_peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "host/net/backend.h"

static enum net_result peer_receive_frame(void *arg, unsigned queue, size_t size,
	size_t (*fill)(void *ctx, const struct iovec *iov, size_t n), void *ctx)
{
	struct peer *p = arg;
	/* In odd pieces, and not a byte more than asked for. */
	uint8_t *buffer = malloc(size);
	struct iovec iov[3] = {{buffer, 5}, {buffer + 5, 20}, {buffer + 25, size - 25}};

	pthread_mutex_lock(&p->lock);
	if (p->full || p->count == PEER_FRAMES) {
		pthread_mutex_unlock(&p->lock);
		free(buffer);
		return NET_NO_ROOM;
	}
	size_t got = fill(ctx, iov, 3);
	struct peer_frame *f = &p->frames[(p->first + p->count) % PEER_FRAMES];

	assert_true(got <= size);
	if (got > 0) {
		assert_true(got > sizeof(f->header));
		*f = (struct peer_frame){.queue = queue, .size = got - sizeof(f->header)};
		memcpy(&f->header, buffer, sizeof(f->header));
		f->bytes = malloc(f->size);
		memcpy(f->bytes, buffer + sizeof(f->header), f->size);
		p->count++;
	}
	pthread_mutex_unlock(&p->lock);
	free(buffer);
	return got > 0 ? NET_DONE : NET_EMPTY;
}

static void peer_told(void *arg, unsigned queue)
{
	struct peer *p = arg;

	(void)queue;
	pthread_mutex_lock(&p->lock);
	p->told++;
	pthread_mutex_unlock(&p->lock);
}

static void peer_sendable(void *arg)
{
	struct peer *p = arg;

	pthread_mutex_lock(&p->lock);
	p->sendable++;
	pthread_mutex_unlock(&p->lock);
}

static const char *setting(const void *config, const char *key)
{
	for (const char *const *pair = config; *pair; pair += 2)
		if (!strcmp(pair[0], key))
			return pair[1];
	return NULL;
}

int peer_try(struct peer *p, const char *const *pairs, char *why, size_t why_size)
{
	*p = (struct peer){.ip = {10, 0, 2, 15}, .other_ip = {10, 0, 2, 2}};
	pthread_mutex_init(&p->lock, NULL);
	assert_int_equal(event_loop_create(&p->loop), 0);
	const struct net_args args = {
		.option = setting,
		.config = pairs,
		.identity = "4-0-test",
		.loop = p->loop,
		.user = {peer_receive_frame, peer_told, peer_sendable, p},
	};
	int error = net_open(&args, &p->net, why, why_size);

	if (error) {
		p->net = NULL;
		peer_close(p);
	} else {
		memcpy(p->mac, net_mac(p->net), 6);
	}
	return error;
}

void peer_open(struct peer *p, const char *const *pairs, unsigned takes)
{
	char why[200] = "";

	if (peer_try(p, pairs, why, sizeof(why)) != 0)
		fail_msg("%s", why);
	net_configure(p->net, takes, sizeof(struct net_header), 1);
	net_resume(p->net, 0);
}

void peer_close(struct peer *p)
{
	net_close(p->net);
	event_loop_destroy(p->loop);
	while (p->count > 0) {
		free(p->frames[p->first++ % PEER_FRAMES].bytes);
		p->count--;
	}
	pthread_mutex_destroy(&p->lock);
}

struct peer_frame peer_next(struct peer *p, int timeout_ms)
{
	struct peer_frame f = {0};

	for (int i = 0; i <= timeout_ms && !f.bytes; i++) {
		pthread_mutex_lock(&p->lock);
		if (p->count > 0) {
			f = p->frames[p->first];
			p->first = (p->first + 1) % PEER_FRAMES;
			p->count--;
		}
		pthread_mutex_unlock(&p->lock);
		if (!f.bytes)
			usleep(1000);
	}
	return f;
}

void peer_send(struct peer *p, const struct net_header *header, const void *frame, size_t size)
{
	const struct net_header none = {0};
	const size_t cut = size > 30 ? 30 : 14;
	struct iovec iov[] = {
		{(void *)(header ? header : &none), sizeof(none)},
		{(void *)frame, cut},
		{(uint8_t *)(uintptr_t)frame + cut, size - cut},
	};

	assert_int_equal(net_send(p->net, 0, iov, 3), 0);
	net_flush(p->net, 0);
}

uint8_t peer_pattern(size_t at)
{
	return (uint8_t)(at * 7 + at / 251);
}

static void put16(uint8_t *to, size_t value)
{
	to[0] = (uint8_t)(value >> 8);
	to[1] = (uint8_t)value;
}

static void put32(uint8_t *to, uint32_t value)
{
	put16(to, value >> 16);
	put16(to + 2, value & 0xffff);
}

static uint32_t get32(const uint8_t *from)
{
	uint32_t value;

	memcpy(&value, from, 4);
	return ntohl(value);
}

static void put_ethernet(const struct peer *p, uint8_t *frame, unsigned type)
{
	memcpy(frame, p->other_mac, 6);
	memcpy(frame + 6, p->mac, 6);
	put16(frame + 12, type);
}

/* Operation 1 asks who has other_ip, 2 says that we have ours. */
static void send_arp(struct peer *p, unsigned operation)
{
	uint8_t frame[42] = {0};

	put_ethernet(p, frame, 0x0806);
	memcpy(frame + 14, (const uint8_t[]){0, 1, 8, 0, 6, 4, 0, (uint8_t)operation}, 8);
	memcpy(frame + 22, p->mac, 6);
	memcpy(frame + 28, p->ip, 4);
	memcpy(frame + 32, p->other_mac, 6);
	memcpy(frame + 38, p->other_ip, 4);
	peer_send(p, NULL, frame, sizeof(frame));
}

static bool is_arp(const struct peer_frame *f, unsigned operation)
{
	return f->size >= 42 && f->bytes[12] == 8 && f->bytes[13] == 6 && f->bytes[21] == operation;
}

void peer_resolve(struct peer *p)
{
	memset(p->other_mac, 0xff, 6);
	send_arp(p, 1);
	for (;;) {
		struct peer_frame f = peer_next(p, 5000);
		bool found = is_arp(&f, 2) && !memcmp(f.bytes + 28, p->other_ip, 4);

		assert_non_null(f.bytes);
		if (found)
			memcpy(p->other_mac, f.bytes + 22, 6);
		free(f.bytes);
		if (found)
			return;
	}
}

/* What virtio says of a header and its frame (1.2, 5.1.6.4.1), and the checksums themselves. */
static void check_frame(const struct peer_frame *f, const struct packet *packet)
{
	const size_t place = packet->l4 + (packet->protocol == PACKET_TCP ? 16 : 6);
	uint8_t *copy = malloc(f->size);
	struct packet other;
	uint16_t have, want;

	memcpy(copy, f->bytes, f->size);
	assert_true(packet_parse(copy, f->size, false, &other));
	if (f->header.gso_type != NET_GSO_NONE) {
		assert_true(f->header.flags & NET_HEADER_NEEDS_CSUM);
		assert_true(f->header.gso_size > 0);
		assert_true(f->size - packet->payload > f->header.gso_size);
	}
	if (f->header.flags & NET_HEADER_NEEDS_CSUM) {
		assert_int_equal(f->header.csum_start, packet->l4);
		assert_int_equal(f->header.csum_start + f->header.csum_offset, place);
		assert_true(packet_complete(
			f->bytes, packet->size, f->header.csum_start, f->header.csum_offset));
	}
	memcpy(&have, f->bytes + place, 2);
	packet_finish(&other);
	memcpy(&want, copy + place, 2);
	assert_int_equal(have, want);
	if (!packet->v6)
		assert_memory_equal(f->bytes + packet->l3, copy + packet->l3, 20);
	free(copy);
}

struct peer_frame peer_next_tcp(struct peer *p, struct packet *packet)
{
	for (;;) {
		struct peer_frame f = peer_next(p, 5000);

		assert_non_null(f.bytes);
		if (is_arp(&f, 1)) {
			memcpy(p->other_mac, f.bytes + 22, 6);
			memcpy(p->other_ip, f.bytes + 28, 4);
			send_arp(p, 2);
		} else if (packet_parse(f.bytes, f.size, false, packet) &&
			   packet->protocol == PACKET_TCP && !packet->v6) {
			check_frame(&f, packet);
			return f;
		}
		free(f.bytes);
	}
}

void peer_send_tcp(
	struct peer *p, uint8_t flags, const void *payload, size_t size, unsigned gso_size)
{
	const size_t options = flags & PEER_SYN ? 4 : 0, l4 = 34, start = l4 + 20 + options;
	uint8_t *frame = calloc(1, start + size);
	struct packet packet = {.frame = frame,
		.size = start + size,
		.protocol = PACKET_TCP,
		.l3 = 14,
		.l4 = l4,
		.payload = start};
	const struct net_header header = {
		.flags = NET_HEADER_NEEDS_CSUM,
		.gso_type = gso_size ? NET_GSO_TCPV4 : NET_GSO_NONE,
		.header_size = (uint16_t)start,
		.gso_size = (uint16_t)gso_size,
		.csum_start = (uint16_t)l4,
		.csum_offset = 16,
	};

	put_ethernet(p, frame, 0x0800);
	memcpy(frame + 14, (const uint8_t[]){0x45, 0, 0, 0, 0, 1, 0x40, 0, 64, PACKET_TCP}, 10);
	memcpy(frame + 26, p->ip, 4);
	memcpy(frame + 30, p->other_ip, 4);
	put16(frame + l4, p->port);
	put16(frame + l4 + 2, p->other_port);
	put32(frame + l4 + 4, p->seq);
	put32(frame + l4 + 8, p->ack);
	frame[l4 + 12] = (uint8_t)((5 + options / 4) << 4);
	frame[l4 + 13] = flags;
	put16(frame + l4 + 14, 65535);
	if (options)
		memcpy(frame + l4 + 20, payload, options);
	else if (size)
		memcpy(frame + start, payload, size);
	packet_finish_partial(&packet);
	peer_send(p, &header, frame, start + size);
	p->seq += (uint32_t)size + !!(flags & (PEER_SYN | PEER_FIN));
	free(frame);
}

void peer_accept(struct peer *p, unsigned mss)
{
	const uint8_t option[4] = {2, 4, (uint8_t)(mss >> 8), (uint8_t)mss};
	struct packet packet;
	struct peer_frame f = peer_next_tcp(p, &packet);
	const uint8_t *tcp = f.bytes + packet.l4;

	assert_int_equal(tcp[13], PEER_SYN);
	memcpy(p->other_ip, f.bytes + packet.l3 + 12, 4);
	memcpy(p->other_mac, f.bytes + 6, 6);
	p->other_port = (uint16_t)(tcp[0] << 8 | tcp[1]);
	p->port = (uint16_t)(tcp[2] << 8 | tcp[3]);
	p->ack = get32(tcp + 4) + 1;
	p->seq = 0xfffffff0; /* soon wraps */
	free(f.bytes);
	peer_send_tcp(p, PEER_SYN | PEER_ACK, option, 0, 0);
	f = peer_next_tcp(p, &packet);
	assert_int_equal(f.bytes[packet.l4 + 13], PEER_ACK);
	assert_int_equal(get32(f.bytes + packet.l4 + 8), p->seq);
	free(f.bytes);
}

unsigned peer_receive(struct peer *p, size_t size, unsigned *large)
{
	size_t done = 0;
	unsigned frames = 0;

	*large = 0;
	while (done < size) {
		struct packet packet;
		struct peer_frame f = peer_next_tcp(p, &packet);
		const size_t n = packet.size - packet.payload;

		if (n > 0) {
			assert_int_equal(get32(f.bytes + packet.l4 + 4), p->ack);
			for (size_t i = 0; i < n; i++)
				if (f.bytes[packet.payload + i] != peer_pattern(done + i))
					fail_msg("byte %zu is wrong", done + i);
			done += n;
			p->ack += (uint32_t)n;
			frames++;
			*large += f.header.gso_type != NET_GSO_NONE;
			if (f.header.gso_type == NET_GSO_NONE)
				assert_true(f.size <= 1514);
			peer_send_tcp(p, PEER_ACK, NULL, 0, 0);
		}
		free(f.bytes);
	}
	return frames;
}
