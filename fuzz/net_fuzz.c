/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Frames taken apart: whatever their bytes say, nothing beyond them is touched, and segments and
 * fragments put together again are what was cut.
 */
#include "fuzz/fuzz.h"
#include "host/net/packet.h"

struct parts {
	const struct packet *whole;
	bool fragments;
	size_t most, done;
};

static void take_part(void *arg, uint8_t *frame, size_t size)
{
	struct parts *parts = arg;
	const struct packet *whole = parts->whole;
	const size_t start = parts->fragments ? whole->l4 : whole->payload;

	FUZZ_CHECK(size >= start && size - start <= parts->most);
	FUZZ_CHECK(parts->done + (size - start) <= whole->size - start);
	FUZZ_CHECK(memcmp(frame + start, whole->frame + start + parts->done, size - start) == 0);
	parts->done += size - start;
	if (!whole->v6)
		FUZZ_CHECK(
			packet_fold(packet_sum(frame + whole->l3, whole->l4 - whole->l3, 0)) == 0);
}

static void cut(const struct packet *p, struct fuzz_input *in, uint8_t *scratch)
{
	struct parts parts = {.whole = p, .most = 1 + fuzz_take(in, 2)};

	if (p->protocol == PACKET_TCP && !p->fragmented && p->size - p->l3 <= 65535) {
		packet_segment(p, parts.most, scratch, take_part, &parts);
		FUZZ_CHECK(parts.done == p->size - p->payload);
	}
	if (p->v6 || p->size - p->l3 > 65535)
		return;
	parts = (struct parts){.whole = p, .fragments = true, .most = 68 + fuzz_take(in, 2)};
	packet_fragment(p, parts.most, scratch, take_part, &parts);
	FUZZ_CHECK(parts.done == p->size - p->l4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	const unsigned how = (unsigned)fuzz_take(&in, 1);
	const size_t start = fuzz_take(&in, 2), offset = fuzz_take(&in, 2);
	uint8_t *frame = malloc(in.left + 1), *scratch;
	struct packet p;

	/* Of its own size, so that the sanitizer sees each byte beyond. */
	frame = realloc(frame, in.left ? in.left : 1);
	memcpy(frame, in.at, in.left);
	const size_t n = in.left;

	if (how & 1)
		packet_complete(frame, n, start, offset);
	if (packet_parse(frame, n, how & 2, &p)) {
		FUZZ_CHECK(p.l3 < p.l4 && p.l4 <= p.payload && p.payload <= p.size && p.size <= n);
		scratch = malloc(p.size);
		if (!p.fragmented && p.size - p.l3 <= 65535) {
			packet_set_mss(&p, (unsigned)start, (unsigned)offset);
			packet_finish(&p);
			FUZZ_CHECK(packet_parse(frame, n, false, &p));
			packet_finish_partial(&p);
		}
		cut(&p, &in, scratch);
		free(scratch);
	}
	free(frame);
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *to, size_t room)
{
	static const uint8_t tcp[] = {0, 20, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 8, 0,
		0x45, 0, 0, 48, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2, 0, 80, 1, 0,
		0, 0, 0, 1, 0, 0, 0, 2, 0x70, 2, 0xff, 0xff, 0, 0, 0, 0, 2, 4, 5, 0xb4, 1, 1, 1, 0};
	static const uint8_t udp6[] = {2, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x81,
		0, 0, 5, 0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 0, 64, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
		12, 13, 14, 15, 16, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 0, 1,
		4, 0, 0, 0, 0, 0, 53, 0, 53, 0, 16, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8};

	if (n > 1 || room < sizeof(udp6))
		return 0;
	memcpy(to, n ? udp6 : tcp, n ? sizeof(udp6) : sizeof(tcp));
	return n ? sizeof(udp6) : sizeof(tcp);
}
