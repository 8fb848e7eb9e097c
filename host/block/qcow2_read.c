/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "host/block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

/* No cluster needs a larger window; a hostile frame may ask for more. */
enum { ZSTD_WINDOW_LOG = 23 };

static bool inflate_cluster(void *to, uint32_t size, const void *from, uint32_t length)
{
	z_stream z = {
		.next_in = (Bytef *)from,
		.avail_in = length,
		.next_out = to,
		.avail_out = size,
	};

	if (inflateInit2(&z, -12) != Z_OK)
		return false;
	int r = inflate(&z, Z_FINISH);

	inflateEnd(&z);
	/* The input ends with the sector, not with the stream. */
	return (r == Z_STREAM_END || r == Z_BUF_ERROR) && z.avail_out == 0;
}

static bool unzstd_cluster(void *to, uint32_t size, const void *from, uint32_t length)
{
	ZSTD_DCtx *ctx = ZSTD_createDCtx();
	ZSTD_inBuffer in = {from, length, 0};
	ZSTD_outBuffer out = {to, size, 0};
	size_t r = 1;

	if (!ctx)
		return false;
	ZSTD_DCtx_setParameter(ctx, ZSTD_d_windowLogMax, ZSTD_WINDOW_LOG);
	while (out.pos < size && !ZSTD_isError(r)) {
		size_t was_in = in.pos, was_out = out.pos;

		r = ZSTD_decompressStream(ctx, &out, &in);
		if (in.pos == was_in && out.pos == was_out)
			break;
	}
	ZSTD_freeDCtx(ctx);
	return !ZSTD_isError(r) && out.pos == size;
}

/* The whole cluster, into a buffer of its own. */
static int unpack(struct qcow2 *q, uint64_t entry, void *to)
{
	uint64_t offset;
	uint32_t length;
	void *packed;
	int error;

	qcow2_packed_range(q, entry, &offset, &length);
	packed = malloc(length);
	if (!packed)
		return ENOMEM;
	error = block_file_read(q->file, packed, length, offset);
	if (!error &&
		!(q->zstd ? unzstd_cluster : inflate_cluster)(to, q->cluster_size, packed, length))
		error = EIO;
	free(packed);
	return error;
}

/* Readers come for a cluster in many pieces: the last one is kept. */
int qcow2_read_packed(
	struct qcow2 *q, uint64_t entry, const struct iovec *iov, int niov, uint64_t within)
{
	size_t size = block_iov_size(iov, niov);
	void *data, *old;
	int error;

	pthread_mutex_lock(&q->unpacked_lock);
	bool hit = q->unpacked_entry == entry;

	if (hit)
		block_iov_write(iov, niov, (char *)q->unpacked + within, size);
	pthread_mutex_unlock(&q->unpacked_lock);
	if (hit)
		return 0;
	data = malloc(q->cluster_size);
	if (!data)
		return ENOMEM;
	error = unpack(q, entry, data);
	if (error) {
		free(data);
		return error;
	}
	block_iov_write(iov, niov, (char *)data + within, size);
	pthread_mutex_lock(&q->unpacked_lock);
	old = q->unpacked;
	q->unpacked = data;
	q->unpacked_entry = entry;
	pthread_mutex_unlock(&q->unpacked_lock);
	free(old);
	return 0;
}

static int read_stretch(struct qcow2 *q, const struct qcow2_stretch *s, const struct iovec *iov,
	int niov, uint64_t offset)
{
	switch (s->kind) {
	case QCOW2_PLACED:
		return block_file_readv(q->file, iov, niov, s->host);
	case QCOW2_PACKED:
		return qcow2_read_packed(q, s->entry, iov, niov, offset & (q->cluster_size - 1));
	case QCOW2_NOWHERE:
		if (q->image->backing)
			return block_image_read(q->image->backing, iov, niov, offset);
		break;
	default:
		break;
	}
	block_iov_zero(iov, niov);
	return 0;
}

int qcow2_read(struct qcow2 *q, const struct iovec *iov, int niov, uint64_t offset)
{
	uint64_t length = block_iov_size(iov, niov);
	struct iovec *part = malloc(((size_t)niov + 1) * sizeof(*part));
	struct qcow2_stretch s;
	int error = part ? 0 : ENOMEM;

	for (uint64_t done = 0; done < length && !error; done += s.length) {
		pthread_mutex_lock(&q->lock);
		error = qcow2_find(q, offset + done, length - done, true, &s);
		pthread_mutex_unlock(&q->lock);
		if (error)
			break;
		int n = block_iov_slice(iov, niov, done, s.length, part);

		error = read_stretch(q, &s, part, n, offset + done);
	}
	free(part);
	return error;
}
