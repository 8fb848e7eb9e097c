/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A qcow2 image that somebody has prepared: opened, read, written to, discarded, closed.  The first
 * OPS bytes of an input say what is done, the rest is the file.
 */
#include <endian.h>
#include <pthread.h>
#include <unistd.h>
#include <zlib.h>

#include "fuzz/fuzz.h"
#include "host/host.h"

enum { OPS = 24, CLUSTER = 512, CLUSTERS = 10, LENGTH_MAX = 8 << 10, FILE_MAX = 1 << 24 };

struct waiter {
	struct block_request request; /* first */
	pthread_mutex_t lock;
	pthread_cond_t cond;
	bool done;
};

static void wake(struct block_request *request, int error)
{
	struct waiter *w = (struct waiter *)request;

	(void)error;
	pthread_mutex_lock(&w->lock);
	FUZZ_CHECK(!w->done);
	w->done = true;
	pthread_cond_signal(&w->cond);
	pthread_mutex_unlock(&w->lock);
}

static void one_request(struct block *block, struct fuzz_input *in)
{
	static const uint64_t places[] = {0, 512, 1024, 4096, 32768, 65536, 1 << 20, 1 << 30};
	uint8_t data[LENGTH_MAX], what = (uint8_t)fuzz_take(in, 1);
	uint64_t place = fuzz_take(in, 1), length = (1 + fuzz_take(in, 1) % 16) * 512;
	uint64_t offset = place & 8 ? block_facts(block)->size - length : places[place & 7];
	struct iovec iov = {data, length};
	struct waiter w = {
		.request = {.op = what % BLOCK_OPS,
			.offset = offset,
			.length = length,
			.iov = &iov,
			.niov = 1,
			.done = wake},
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.cond = PTHREAD_COND_INITIALIZER,
	};

	memset(data, what, length);
	if (w.request.op == BLOCK_DISCARD || w.request.op == BLOCK_WRITE_ZEROES)
		w.request.length = length << (what >> 4);
	block_submit(block, &w.request);
	pthread_mutex_lock(&w.lock);
	while (!w.done)
		pthread_cond_wait(&w.cond, &w.lock);
	pthread_mutex_unlock(&w.lock);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input ops = {data, OPS};
	struct event_loop *loop;
	struct fuzz_file file;
	struct block *block;
	char why[256] = "";

	if (size < OPS)
		return 0;
	fuzz_file_create(&file);
	fuzz_file_write(&file, data + OPS, size - OPS);
	FUZZ_CHECK(event_loop_create(&loop) == 0);
	const struct block_settings settings = {.path = file.path,
		.format = "qcow2",
		.engine = BLOCK_ENGINE_THREADS,
		.read_only = size % 8 == 1};

	if (block_open(loop, &settings, &block, why, sizeof(why)) != 0) {
		FUZZ_CHECK(why[0] != '\0');
	} else {
		while (ops.left > 0)
			one_request(block, &ops);
		block_close(block);
	}
	event_loop_destroy(loop);
	close(file.fd);
	return 0;
}

/* ---- seeds: small images with everything in them ---- */

static void put64(uint8_t *at, uint64_t value)
{
	value = htobe64(value);
	memcpy(at, &value, 8);
}

static void put32(uint8_t *at, uint32_t value)
{
	value = htobe32(value);
	memcpy(at, &value, 4);
}

/* A cluster of text, deflated; its length. */
static unsigned long pack(uint8_t *to, size_t room)
{
	uint8_t text[CLUSTER];
	z_stream z = {.next_out = to, .avail_out = (unsigned)room};

	for (unsigned i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)('a' + i % 19);
	z.next_in = text;
	z.avail_in = sizeof(text);
	FUZZ_CHECK(deflateInit2(&z, 9, Z_DEFLATED, -12, 9, Z_DEFAULT_STRATEGY) == Z_OK);
	FUZZ_CHECK(deflate(&z, Z_FINISH) == Z_STREAM_END);
	deflateEnd(&z);
	return z.total_out;
}

/* Clusters: header, refcount table, refcount block, L1, L2, data, packed data, shared L2. */
static void make_image(uint8_t *image, unsigned version, bool shared)
{
	uint64_t copied = 1ull << 63;

	memcpy(image, "QFI\xfb", 4);
	put32(image + 4, version);
	put32(image + 20, 9);
	put64(image + 24, 128 * CLUSTER);
	put32(image + 36, 2);
	put64(image + 40, 3 * CLUSTER);
	put64(image + 48, 1 * CLUSTER);
	put32(image + 56, 1);
	put32(image + 96, 4);
	put32(image + 100, version == 3 ? 104 : 0);
	put64(image + CLUSTER, 2 * CLUSTER);
	for (unsigned i = 0; i < CLUSTERS; i++)
		image[2 * CLUSTER + 2 * i + 1] = shared && i >= 4 ? 2 : 1;
	put64(image + 3 * CLUSTER, 4 * CLUSTER | (shared ? 0 : copied));
	put64(image + 3 * CLUSTER + 8, 0);
	put64(image + 4 * CLUSTER, 5 * CLUSTER | (shared ? 0 : copied));
	put64(image + 4 * CLUSTER + 8, 1ull << 62 | (6 * CLUSTER + 3));
	if (version == 3) {
		put64(image + 4 * CLUSTER + 16, 1);
		put64(image + 4 * CLUSTER + 24, 8 * CLUSTER | 1 | (shared ? 0 : copied));
	}
	memset(image + 5 * CLUSTER, 0x5a, CLUSTER);
	pack(image + 6 * CLUSTER + 3, CLUSTER - 3);
}

size_t fuzz_seed(unsigned n, uint8_t *to, size_t room)
{
	static const uint8_t ops[OPS] = {BLOCK_READ, 0, 7, BLOCK_WRITE, 1, 2, BLOCK_WRITE, 4, 9,
		BLOCK_DISCARD, 0, 1, BLOCK_WRITE_ZEROES, 8, 3, BLOCK_FLUSH, 0, 0, BLOCK_WRITE, 0,
		15, BLOCK_READ, 8, 15};

	if (n > 3 || room < OPS + CLUSTERS * CLUSTER)
		return 0;
	memset(to, 0, OPS + CLUSTERS * CLUSTER);
	memcpy(to, ops, OPS);
	make_image(to + OPS, n & 1 ? 2 : 3, n & 2);
	return OPS + CLUSTERS * CLUSTER;
}
