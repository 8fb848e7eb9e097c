/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The compressors that Linux is packed with.  Each reads one stream and fills a buffer of the size
 * that the payload claims; one byte more or less and the payload is damaged.
 */
#include "machine/boot/boot.h"

#include <errno.h>
#include <limits.h>
#include <lz4.h>
#include <lzma.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

struct stream {
	const uint8_t *in;
	size_t in_size;
	uint8_t *out;
	size_t out_size;
};

static int unpack_gzip(const struct stream *s)
{
	z_stream z = {
		.next_in = (uint8_t *)s->in,
		.avail_in = (uInt)s->in_size,
		.next_out = s->out,
		.avail_out = (uInt)s->out_size,
	};

	if (inflateInit2(&z, 15 + 16) != Z_OK) /* 16: a gzip header */
		return ENOMEM;
	int result = inflate(&z, Z_FINISH);

	inflateEnd(&z);
	return result == Z_STREAM_END && z.avail_out == 0 ? 0 : EILSEQ;
}

enum { LZMA_MEMORY_LIMIT = 256 << 20 };

static int run_lzma(const struct stream *s, lzma_stream *z, lzma_ret started)
{
	if (started != LZMA_OK)
		return ENOMEM;
	z->next_in = s->in;
	z->avail_in = s->in_size;
	z->next_out = s->out;
	z->avail_out = s->out_size;
	lzma_ret result;

	/* lzma_code hands out what it has and wants to be asked again for the end mark. */
	do
		result = lzma_code(z, LZMA_RUN);
	while (result == LZMA_OK && z->avail_out > 0 && z->avail_in > 0);
	if (result == LZMA_OK)
		result = lzma_code(z, LZMA_RUN);
	bool whole = result == LZMA_STREAM_END && z->avail_out == 0;

	lzma_end(z);
	return whole ? 0 : result == LZMA_MEM_ERROR ? ENOMEM : EILSEQ;
}

/* The kernel's xz has an x86 branch filter in front, which liblzma knows. */
static int unpack_xz(const struct stream *s)
{
	lzma_stream z = LZMA_STREAM_INIT;

	return run_lzma(s, &z, lzma_stream_decoder(&z, LZMA_MEMORY_LIMIT, 0));
}

static int unpack_lzma(const struct stream *s)
{
	lzma_stream z = LZMA_STREAM_INIT;

	return run_lzma(s, &z, lzma_alone_decoder(&z, LZMA_MEMORY_LIMIT));
}

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/*
 * lz4's legacy frame: a magic, then blocks of at most 8 MiB unpacked, each behind its packed size.
 */
static int unpack_lz4(const struct stream *s)
{
	enum { MAGIC_SIZE = 4, BLOCK_MAX = 8 << 20 };
	size_t in = MAGIC_SIZE, out = 0;

	while (out < s->out_size) {
		if (s->in_size - in < 4)
			return EILSEQ;
		uint32_t packed = get32(s->in + in);
		size_t room = s->out_size - out;

		in += 4;
		if (packed > s->in_size - in || packed > INT_MAX)
			return EILSEQ;
		int got = LZ4_decompress_safe((const char *)s->in + in, (char *)s->out + out,
			(int)packed, (int)(room < BLOCK_MAX ? room : BLOCK_MAX));

		if (got <= 0)
			return EILSEQ;
		in += packed;
		out += (size_t)got;
	}
	return 0;
}

static int unpack_zstd(const struct stream *s)
{
	ZSTD_DStream *z = ZSTD_createDStream();
	ZSTD_inBuffer in = {.src = s->in, .size = s->in_size};
	ZSTD_outBuffer out = {.dst = s->out, .size = s->out_size};
	size_t left, before;

	if (!z)
		return ENOMEM;
	do {
		before = in.pos + out.pos;
		left = ZSTD_decompressStream(z, &out, &in);
	} while (left != 0 && !ZSTD_isError(left) && in.pos + out.pos > before);
	ZSTD_freeDStream(z);
	return left == 0 && out.pos == out.size ? 0 : EILSEQ;
}

enum { SIZE_FIELD = 4, MAGIC_MAX = 6 };

static const struct {
	uint8_t magic[MAGIC_MAX];
	uint8_t magic_size;
	uint8_t behind; /* bytes of the size field behind the stream; gzip's lie in its own trailer
			 */
	int (*unpack)(const struct stream *s);
} formats[] = {
	{{0x1f, 0x8b}, 2, 0, unpack_gzip},
	{{0xfd, '7', 'z', 'X', 'Z', 0x00}, 6, SIZE_FIELD, unpack_xz},
	{{0x5d, 0x00, 0x00}, 3, SIZE_FIELD, unpack_lzma},
	{{0x02, 0x21, 0x4c, 0x18}, 4, SIZE_FIELD, unpack_lz4},
	{{0x28, 0xb5, 0x2f, 0xfd}, 4, SIZE_FIELD, unpack_zstd},
};

int boot_unpack(const uint8_t *bytes, size_t size, size_t limit, uint8_t **out, size_t *out_size)
{
	size_t i = 0, n = sizeof(formats) / sizeof(formats[0]);

	if (size < MAGIC_MAX + SIZE_FIELD || size > INT_MAX)
		return EILSEQ;
	while (i < n && memcmp(bytes, formats[i].magic, formats[i].magic_size) != 0)
		i++;
	if (i == n)
		return ENOTSUP;
	struct stream s = {
		.in = bytes,
		.in_size = size - formats[i].behind,
		.out_size = get32(bytes + size - SIZE_FIELD),
	};

	if (s.out_size == 0)
		return EILSEQ;
	if (s.out_size > limit || s.out_size > INT_MAX)
		return E2BIG;
	s.out = malloc(s.out_size);
	if (!s.out)
		return ENOMEM;
	int error = formats[i].unpack(&s);

	if (error) {
		free(s.out);
		return error;
	}
	*out = s.out;
	*out_size = s.out_size;
	return 0;
}
