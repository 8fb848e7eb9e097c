/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include <lz4.h>
#include <lzma.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include "fuzz/packers.h"

static size_t pack_gzip(const uint8_t *in, size_t size, uint8_t *to, size_t room)
{
	z_stream z = {.next_in = (uint8_t *)in,
		.avail_in = (uInt)size,
		.next_out = to,
		.avail_out = (uInt)room};

	if (deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY) != Z_OK)
		return 0;
	int result = deflate(&z, Z_FINISH);

	deflateEnd(&z);
	return result == Z_STREAM_END ? z.total_out : 0;
}

/* As scripts/xz_wrap.sh: an x86 branch filter, then LZMA2. */
static size_t pack_xz(const uint8_t *in, size_t size, uint8_t *to, size_t room)
{
	lzma_options_lzma options;
	size_t at = 0;

	if (lzma_lzma_preset(&options, 0))
		return 0;
	lzma_filter filters[] = {
		{LZMA_FILTER_X86, NULL}, {LZMA_FILTER_LZMA2, &options}, {LZMA_VLI_UNKNOWN, NULL}};

	return lzma_stream_buffer_encode(
		       filters, LZMA_CHECK_CRC32, NULL, in, size, to, &at, room) == LZMA_OK
		       ? at
		       : 0;
}

static size_t pack_lzma(const uint8_t *in, size_t size, uint8_t *to, size_t room)
{
	lzma_options_lzma options;
	lzma_stream z = LZMA_STREAM_INIT;

	if (lzma_lzma_preset(&options, 0) || lzma_alone_encoder(&z, &options) != LZMA_OK)
		return 0;
	z.next_in = in;
	z.avail_in = size;
	z.next_out = to;
	z.avail_out = room;
	lzma_ret result = lzma_code(&z, LZMA_FINISH);
	size_t n = z.total_out;

	lzma_end(&z);
	return result == LZMA_STREAM_END ? n : 0;
}

/* lz4's legacy frame with one block. */
static size_t pack_lz4(const uint8_t *in, size_t size, uint8_t *to, size_t room)
{
	int got;

	if (room < 8)
		return 0;
	got = LZ4_compress_default(
		(const char *)in, (char *)to + 8, (int)size, (int)(room - 8));
	if (got <= 0)
		return 0;
	memcpy(to, "\x02\x21\x4c\x18", 4);
	for (unsigned i = 0; i < 4; i++)
		to[4 + i] = (uint8_t)(got >> (8 * i));
	return 8 + (size_t)got;
}

static size_t pack_zstd(const uint8_t *in, size_t size, uint8_t *to, size_t room)
{
	size_t n = ZSTD_compress(to, room, in, size, 3);

	return ZSTD_isError(n) ? 0 : n;
}

size_t fuzz_pack(unsigned n, const uint8_t *in, size_t size, uint8_t *to, size_t room)
{
	static size_t (*const packers[FUZZ_PACKERS])(const uint8_t *, size_t, uint8_t *,
		size_t) = {pack_gzip, pack_xz, pack_lzma, pack_lz4, pack_zstd};
	size_t packed = packers[n](in, size, to, room);

	/* gzip's own trailer ends in the size. */
	if (n == 0 || packed == 0)
		return packed;
	if (room - packed < 4)
		return 0;
	for (unsigned i = 0; i < 4; i++)
		to[packed++] = (uint8_t)(size >> (8 * i));
	return packed;
}
