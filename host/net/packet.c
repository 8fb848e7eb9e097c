/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "host/net/packet.h"

#include <string.h>

#define ETH_SIZE     14
#define TYPE_IPV4    0x0800
#define TYPE_IPV6    0x86dd
#define TYPE_VLAN    0x8100
#define TYPE_QINQ    0x88a8
#define IPV6_SIZE    40
#define IPV4_MF	     0x2000
#define IPV4_OFFSET  0x1fff
#define TCP_FIN	     0x01
#define TCP_SYN	     0x02
#define TCP_PSH	     0x08
#define TCP_CWR	     0x80
#define TCP_CHECKSUM 16
#define UDP_CHECKSUM 6
#define EXTENSIONS   8 /* more IPv6 extension headers than that nobody sends */

static unsigned get16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}

static void put16(uint8_t *p, size_t value)
{
	p[0] = (uint8_t)(value >> 8);
	p[1] = (uint8_t)value;
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}

static void put32(uint8_t *p, uint32_t value)
{
	put16(p, value >> 16);
	put16(p + 2, value & 0xffff);
}

/*
 * Sums 32-bit words in host order into 64 bits, which 2^32 of them cannot overflow: the carries are
 * folded at the end, and byte order does not matter to a ones' complement sum (RFC 1071).
 */
uint64_t packet_sum(const uint8_t *bytes, size_t size, uint64_t sum)
{
	uint64_t lanes[4] = {0};
	uint32_t words[8];

	for (; size >= sizeof(words); bytes += sizeof(words), size -= sizeof(words)) {
		memcpy(words, bytes, sizeof(words));
		for (unsigned i = 0; i < 4; i++)
			lanes[i] += (uint64_t)words[i] + words[i + 4];
	}
	sum += lanes[0] + lanes[1] + lanes[2] + lanes[3];
	for (; size >= 2; bytes += 2, size -= 2)
		sum += (unsigned)bytes[0] | (unsigned)bytes[1] << 8;
	return size ? sum + bytes[0] : sum;
}

/* As it goes into the packet, still in the order of its bytes there. */
uint16_t packet_fold(uint64_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void put_checksum(uint8_t *p, uint16_t checksum)
{
	memcpy(p, &checksum, sizeof(checksum));
}

static bool parse_v4(struct packet *p, bool big)
{
	const uint8_t *ip = p->frame + p->l3;

	if (p->size - p->l3 < 20 || ip[0] >> 4 != 4)
		return false;
	size_t header = (size_t)(ip[0] & 15) * 4, length = get16(ip + 2);

	if (header < 20 || header > p->size - p->l3)
		return false;
	if (!big && (length < header || length > p->size - p->l3))
		return false;
	if (!big)
		p->size = p->l3 + length;
	p->protocol = ip[9];
	p->l4 = p->l3 + header;
	p->fragmented = (get16(ip + 6) & (IPV4_MF | IPV4_OFFSET)) != 0;
	return true;
}

/* Hop-by-hop options, routing, destination options: each names the next. */
static bool skip_extensions(struct packet *p)
{
	for (unsigned i = 0; i < EXTENSIONS; i++) {
		if (p->protocol != 0 && p->protocol != 43 && p->protocol != 60)
			return true;
		if (p->size - p->l4 < 8)
			return false;
		size_t length = ((size_t)p->frame[p->l4 + 1] + 1) * 8;

		if (length > p->size - p->l4)
			return false;
		p->protocol = p->frame[p->l4];
		p->l4 += length;
	}
	return false;
}

static bool parse_v6(struct packet *p, bool big)
{
	const uint8_t *ip = p->frame + p->l3;

	if (p->size - p->l3 < IPV6_SIZE || ip[0] >> 4 != 6)
		return false;
	size_t length = IPV6_SIZE + get16(ip + 4);

	if (!big && length > p->size - p->l3)
		return false;
	if (!big)
		p->size = p->l3 + length;
	p->v6 = true;
	p->protocol = ip[6];
	p->l4 = p->l3 + IPV6_SIZE;
	return skip_extensions(p);
}

static bool parse_l4(struct packet *p)
{
	size_t left = p->size - p->l4, header = 8;

	if (p->protocol == PACKET_TCP && left >= 20)
		header = (size_t)(p->frame[p->l4 + 12] >> 4) * 4;
	else if (p->protocol != PACKET_UDP || left < 8)
		return false;
	if (header > left || (p->protocol == PACKET_TCP && header < 20))
		return false;
	p->payload = p->l4 + header;
	return true;
}

bool packet_parse(uint8_t *frame, size_t size, bool big, struct packet *p)
{
	size_t at = 12;

	*p = (struct packet){.frame = frame, .size = size};
	if (size < ETH_SIZE)
		return false;
	unsigned type = get16(frame + at);

	while ((type == TYPE_VLAN || type == TYPE_QINQ) && at < 20 && size >= at + 6) {
		at += 4;
		type = get16(frame + at);
	}
	p->l3 = at + 2;
	if (type == TYPE_IPV4 ? !parse_v4(p, big) : type != TYPE_IPV6 || !parse_v6(p, big))
		return false;
	if (p->fragmented) {
		p->payload = p->l4;
		return true;
	}
	return parse_l4(p);
}

/* Addresses, protocol and length, as TCP and UDP have them in their checksums. */
static uint64_t pseudo_sum(const struct packet *p)
{
	const uint8_t *ip = p->frame + p->l3;
	uint8_t tail[4] = {0, p->protocol};

	put16(tail + 2, p->size - p->l4);
	return packet_sum(tail, sizeof(tail), packet_sum(ip + (p->v6 ? 8 : 12), p->v6 ? 32 : 8, 0));
}

static uint8_t *checksum_place(const struct packet *p)
{
	return p->frame + p->l4 + (p->protocol == PACKET_TCP ? TCP_CHECKSUM : UDP_CHECKSUM);
}

static void finish_v4_header(const struct packet *p)
{
	uint8_t *ip = p->frame + p->l3;

	put16(ip + 2, p->size - p->l3);
	put16(ip + 10, 0);
	put_checksum(ip + 10, packet_fold(packet_sum(ip, p->l4 - p->l3, 0)));
}

static void finish_lengths(const struct packet *p)
{
	if (p->v6)
		put16(p->frame + p->l3 + 4, p->size - p->l3 - IPV6_SIZE);
	else
		finish_v4_header(p);
	if (p->protocol == PACKET_UDP)
		put16(p->frame + p->l4 + 4, p->size - p->l4);
}

void packet_finish(const struct packet *p)
{
	uint8_t *place = checksum_place(p);

	finish_lengths(p);
	put16(place, 0);
	uint16_t sum = packet_fold(packet_sum(p->frame + p->l4, p->size - p->l4, pseudo_sum(p)));

	/* 0 would mean that there is none. */
	put_checksum(place, p->protocol == PACKET_UDP && sum == 0 ? 0xffff : sum);
}

void packet_finish_partial(const struct packet *p)
{
	finish_lengths(p);
	put_checksum(checksum_place(p), (uint16_t)~packet_fold(pseudo_sum(p)));
}

bool packet_complete(uint8_t *frame, size_t size, size_t start, size_t offset)
{
	if (start >= size || offset + 2 > size - start)
		return false;
	uint16_t sum = packet_fold(packet_sum(frame + start, size - start, 0));

	/* The same number to TCP; to UDP 0 would mean that there is none. */
	put_checksum(frame + start + offset, sum ? sum : 0xffff);
	return true;
}

/* The flags of one segment of several: what ends stands in the last, what begins in the first. */
static uint8_t segment_flags(uint8_t flags, bool first, bool last)
{
	if (!last)
		flags &= (uint8_t) ~(TCP_FIN | TCP_PSH);
	if (!first)
		flags &= (uint8_t)~TCP_CWR;
	return flags;
}

void packet_segment(const struct packet *whole, size_t payload, uint8_t *scratch,
	void (*emit)(void *arg, uint8_t *frame, size_t size), void *arg)
{
	const size_t total = whole->size - whole->payload;
	const uint32_t seq = get32(whole->frame + whole->l4 + 4);
	const uint8_t flags = whole->frame[whole->l4 + 13];
	unsigned id = whole->v6 ? 0 : get16(whole->frame + whole->l3 + 4);
	struct packet part = *whole;
	size_t done = 0;

	part.frame = scratch;
	do {
		size_t n = total - done < payload ? total - done : payload;

		memcpy(scratch, whole->frame, whole->payload);
		memcpy(scratch + whole->payload, whole->frame + whole->payload + done, n);
		part.size = whole->payload + n;
		if (!whole->v6)
			put16(scratch + whole->l3 + 4, id++ & 0xffff);
		put32(scratch + whole->l4 + 4, seq + (uint32_t)done);
		scratch[whole->l4 + 13] = segment_flags(flags, done == 0, done + n == total);
		packet_finish(&part);
		done += n;
		emit(arg, scratch, part.size);
	} while (done < total);
}

void packet_fragment(const struct packet *whole, size_t mtu, uint8_t *scratch,
	void (*emit)(void *arg, uint8_t *frame, size_t size), void *arg)
{
	const size_t total = whole->size - whole->l4;
	const size_t most = (mtu - (whole->l4 - whole->l3)) & ~(size_t)7;
	const unsigned old = get16(whole->frame + whole->l3 + 6);
	struct packet part = *whole;
	size_t done = 0;

	part.frame = scratch;
	do {
		size_t n = total - done < most ? total - done : most;
		unsigned more = done + n < total ? IPV4_MF : old & IPV4_MF;

		memcpy(scratch, whole->frame, whole->l4);
		memcpy(scratch + whole->l4, whole->frame + whole->l4 + done, n);
		part.size = whole->l4 + n;
		put16(scratch + whole->l3 + 6,
			more | (((old & IPV4_OFFSET) + done / 8) & IPV4_OFFSET));
		finish_v4_header(&part);
		done += n;
		emit(arg, scratch, part.size);
	} while (done < total);
}

/* The value of the MSS option, NULL if there is none. */
static uint8_t *find_mss(const struct packet *p)
{
	uint8_t *at = p->frame + p->l4 + 20, *end = p->frame + p->payload;

	while (at < end && *at != 0) {
		if (*at == 1) {
			at++;
			continue;
		}
		if (end - at < 2 || at[1] < 2 || at[1] > end - at)
			return NULL;
		if (at[0] == 2 && at[1] == 4)
			return at + 2;
		at += at[1];
	}
	return NULL;
}

bool packet_set_mss(const struct packet *p, unsigned least, unsigned mss)
{
	if (p->fragmented || p->protocol != PACKET_TCP || !(p->frame[p->l4 + 13] & TCP_SYN))
		return false;
	uint8_t *option = find_mss(p);

	if (!option || get16(option) < least)
		return false;
	put16(option, mss);
	packet_finish(p);
	return true;
}
