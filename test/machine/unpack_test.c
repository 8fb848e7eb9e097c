/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Each compressor that a kernel may be packed with: whole, cut short, damaged, and lying about its
 * size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <lz4.h>
#include <lzma.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "machine/boot/boot.h"

enum { ROOM = 32 << 20, LIMIT = 64 << 20 };

static uint8_t *packed;

static size_t pack_gzip(const uint8_t *in, size_t size)
{
	z_stream z = {.next_in = (uint8_t *)in,
		.avail_in = (uInt)size,
		.next_out = packed,
		.avail_out = ROOM};

	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	return z.total_out; /* its own last four bytes are the size */
}

static size_t with_size(size_t at, size_t size)
{
	for (int i = 0; i < 4; i++, size >>= 8)
		packed[at++] = (uint8_t)size;
	return at;
}

/* As the kernel's scripts/xz_wrap.sh does: x86 branch filter, then LZMA2. */
static size_t pack_xz(const uint8_t *in, size_t size)
{
	lzma_options_lzma options;
	size_t at = 0;

	assert_false(lzma_lzma_preset(&options, 3));
	lzma_filter filters[] = {
		{LZMA_FILTER_X86, NULL}, {LZMA_FILTER_LZMA2, &options}, {LZMA_VLI_UNKNOWN, NULL}};

	assert_int_equal(lzma_stream_buffer_encode(
				 filters, LZMA_CHECK_CRC32, NULL, in, size, packed, &at, ROOM),
		0);
	return with_size(at, size);
}

static size_t pack_lzma(const uint8_t *in, size_t size)
{
	lzma_options_lzma options;
	lzma_stream z = LZMA_STREAM_INIT;

	assert_false(lzma_lzma_preset(&options, 3));
	assert_int_equal(lzma_alone_encoder(&z, &options), LZMA_OK);
	z.next_in = in;
	z.avail_in = size;
	z.next_out = packed;
	z.avail_out = ROOM;
	assert_int_equal(lzma_code(&z, LZMA_FINISH), LZMA_STREAM_END);
	size_t at = z.total_out;

	lzma_end(&z);
	return with_size(at, size);
}

/* "lz4 -l" */
static size_t pack_lz4(const uint8_t *in, size_t size)
{
	enum { BLOCK = 8 << 20 };
	size_t at = 4;

	memcpy(packed, "\x02\x21\x4c\x18", 4);
	for (size_t done = 0; done < size; done += BLOCK) {
		size_t n = size - done < BLOCK ? size - done : BLOCK;
		int got = LZ4_compress_default((const char *)in + done, (char *)packed + at + 4,
			(int)n, (int)(ROOM - at - 4));

		assert_true(got > 0);
		with_size(at, (size_t)got);
		at += 4 + (size_t)got;
	}
	return with_size(at, size);
}

static size_t pack_zstd(const uint8_t *in, size_t size)
{
	size_t n = ZSTD_compress(packed, ROOM, in, size, 3);

	assert_false(ZSTD_isError(n));
	return with_size(n, size);
}

static const struct {
	const char *name;
	size_t (*pack)(const uint8_t *in, size_t size);
} packers[] = {
	{"gzip", pack_gzip},
	{"xz", pack_xz},
	{"lzma", pack_lzma},
	{"lz4", pack_lz4},
	{"zstd", pack_zstd},
};

enum { PACKERS = sizeof(packers) / sizeof(packers[0]) };

static uint32_t seed = 1;

static uint32_t random32(void)
{
	seed = seed * 1664525 + 1013904223;
	return seed >> 8;
}

/* Half noise, half repetition, with x86 calls for the branch filter. */
static uint8_t *sample(size_t size)
{
	uint8_t *bytes = malloc(size);

	for (size_t i = 0; i < size; i++)
		bytes[i] = i % 1000 < 300 ? (uint8_t)random32()
			   : i % 7 == 0	  ? 0xe8
					  : (uint8_t)(i / 512);
	return bytes;
}

static void round_trip(size_t size)
{
	uint8_t *bytes = sample(size);

	for (int i = 0; i < PACKERS; i++) {
		size_t n = packers[i].pack(bytes, size), out_size;
		uint8_t *out;

		assert_int_equal(boot_unpack(packed, n, LIMIT, &out, &out_size), 0);
		assert_int_equal(out_size, size);
		assert_memory_equal(out, bytes, size);
		free(out);
	}
	free(bytes);
}

static void all_come_back(void **state)
{
	(void)state;
	round_trip(1);
	round_trip(1000);
	round_trip(1 << 20);
	round_trip((20 << 20) + 12345); /* several lz4 blocks */
}

static void cut_short(void **state)
{
	uint8_t *bytes = sample(20000), *out;
	size_t out_size;

	(void)state;
	for (int i = 0; i < PACKERS; i++) {
		size_t n = packers[i].pack(bytes, 20000);

		/* A cut that keeps the size field, so that only the stream is at fault. */
		for (size_t cut = 1; cut < n - 12; cut += cut < 200 ? 1 : 97) {
			uint8_t *copy = malloc(n - cut);

			memcpy(copy, packed, n - cut - 4);
			memcpy(copy + n - cut - 4, packed + n - 4, 4);
			int error = boot_unpack(copy, n - cut, LIMIT, &out, &out_size);

			free(copy);
			assert_int_not_equal(error, 0);
		}
	}
	free(bytes);
}

static void wrong_size(void **state)
{
	static const int off[] = {-1, 1, 1000, -19999};
	uint8_t *bytes = sample(20000), *out;
	size_t out_size;

	(void)state;
	for (int i = 0; i < PACKERS; i++) {
		size_t n = packers[i].pack(bytes, 20000);

		for (int k = 0; k < 4; k++) {
			with_size(n - 4, (size_t)(20000 + off[k]));
			assert_int_equal(boot_unpack(packed, n, LIMIT, &out, &out_size), EILSEQ);
		}
		with_size(n - 4, 0);
		assert_int_equal(boot_unpack(packed, n, LIMIT, &out, &out_size), EILSEQ);
		with_size(n - 4, LIMIT + 1);
		assert_int_equal(boot_unpack(packed, n, LIMIT, &out, &out_size), E2BIG);
		with_size(n - 4, 0xffffffff);
		assert_int_equal(boot_unpack(packed, n, SIZE_MAX, &out, &out_size), E2BIG);
	}
	free(bytes);
}

/* Any outcome but a crash, a hang, or bytes past the end (the sanitizers look). */
static void damaged(void **state)
{
	uint8_t *bytes = sample(5000), *out;
	size_t out_size;

	(void)state;
	for (int i = 0; i < PACKERS; i++) {
		size_t n = packers[i].pack(bytes, 5000);
		uint8_t *copy = malloc(n);

		for (int k = 0; k < 2000; k++) {
			memcpy(copy, packed, n);
			for (unsigned flips = 1 + random32() % 4; flips > 0; flips--)
				copy[random32() % (n - 4)] ^= (uint8_t)(1 + random32() % 255);
			if (boot_unpack(copy, n, LIMIT, &out, &out_size) == 0) {
				assert_int_equal(out_size, 5000);
				free(out);
			}
		}
		free(copy);
	}
	free(bytes);
}

static void unknown(void **state)
{
	uint8_t bzip2[100] = "BZh91AY&SY", *out;
	size_t out_size;

	(void)state;
	assert_int_equal(boot_unpack(bzip2, sizeof(bzip2), LIMIT, &out, &out_size), ENOTSUP);
	for (size_t n = 0; n < 10; n++)
		assert_int_equal(boot_unpack(bzip2, n, LIMIT, &out, &out_size), EILSEQ);
}

static int setup(void **state)
{
	(void)state;
	packed = malloc(ROOM);
	return packed ? 0 : -1;
}

static int teardown(void **state)
{
	(void)state;
	free(packed);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_come_back),
		cmocka_unit_test(cut_short),
		cmocka_unit_test(wrong_size),
		cmocka_unit_test(damaged),
		cmocka_unit_test(unknown),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
