/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* qcow2 as a format: opening, closing, and what needs no waiting. */
#include "host/block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { L2_CACHE_BYTES = 32 << 20, COUNT_CACHE_BYTES = 8 << 20, CACHE_MIN = 16 };

static bool probe(const uint8_t *head, size_t size)
{
	return size >= 4 && memcmp(head, "QFI\xfb", 4) == 0;
}

static unsigned cache_size(const struct qcow2 *q, unsigned bytes)
{
	unsigned blocks = bytes / q->cluster_size;

	return blocks < CACHE_MIN ? CACHE_MIN : blocks;
}

static void destroy(struct qcow2 *q)
{
	qcow2_cache_free(&q->l2_cache);
	qcow2_cache_free(&q->count_cache);
	free(q->l1.entry);
	free(q->refcounts.entry);
	free(q->pending.at);
	free(q->ready.at);
	free(q->unpacked);
	pthread_mutex_destroy(&q->lock);
	pthread_cond_destroy(&q->changed);
	pthread_mutex_destroy(&q->gate_lock);
	pthread_cond_destroy(&q->gate_changed);
	pthread_mutex_destroy(&q->unpacked_lock);
	free(q);
}

static int qcow2_open(struct block_image *image)
{
	struct qcow2 *q = calloc(1, sizeof(*q));
	int error;

	if (!q)
		return ENOMEM;
	q->image = image;
	q->file = image->file;
	pthread_mutex_init(&q->lock, NULL);
	pthread_cond_init(&q->changed, NULL);
	pthread_mutex_init(&q->gate_lock, NULL);
	pthread_cond_init(&q->gate_changed, NULL);
	pthread_mutex_init(&q->unpacked_lock, NULL);
	error = qcow2_read_header(q);
	if (!error)
		error = qcow2_cache_init(&q->l2_cache, cache_size(q, L2_CACHE_BYTES));
	if (!error)
		error = qcow2_cache_init(&q->count_cache, cache_size(q, COUNT_CACHE_BYTES));
	if (error) {
		block_image_close(image->backing);
		destroy(q);
		return error;
	}
	image->state = q;
	return 0;
}

static int flush(struct block_image *image)
{
	struct qcow2 *q = image->state;
	bool synced = false;
	int error;

	if (image->read_only)
		return 0;
	pthread_mutex_lock(&q->lock);
	error = qcow2_sync(q, &synced);
	pthread_mutex_unlock(&q->lock);
	if (!error && !synced)
		error = block_file_sync(q->file);
	if (!error)
		qcow2_release(q);
	return error;
}

static void qcow2_close(struct block_image *image)
{
	/* Once more for what the first one has made ready to be counted down. */
	if (flush(image) == 0)
		(void)flush(image);
	destroy(image->state);
}

/* ---- the gate ---- */

static bool try_enter(struct block_image *image)
{
	struct qcow2 *q = image->state;
	bool open;

	pthread_mutex_lock(&q->gate_lock);
	open = !q->gate_closed;
	q->gate_users += open;
	pthread_mutex_unlock(&q->gate_lock);
	return open;
}

static void enter(struct qcow2 *q)
{
	pthread_mutex_lock(&q->gate_lock);
	while (q->gate_closed)
		pthread_cond_wait(&q->gate_changed, &q->gate_lock);
	q->gate_users++;
	pthread_mutex_unlock(&q->gate_lock);
}

static void leave(struct block_image *image)
{
	struct qcow2 *q = image->state;

	pthread_mutex_lock(&q->gate_lock);
	if (--q->gate_users == 0)
		pthread_cond_broadcast(&q->gate_changed);
	pthread_mutex_unlock(&q->gate_lock);
}

/* ---- operations ---- */

static int map_backing(
	struct block_image *backing, uint64_t offset, uint64_t length, struct block_extent *extent)
{
	*extent = (struct block_extent){.length = length};
	if (!backing || offset >= backing->size)
		return 0;
	if (length > backing->size - offset)
		length = backing->size - offset;
	return backing->format->map(backing, false, offset, length, extent);
}

static int map(struct block_image *image, bool write, uint64_t offset, uint64_t length,
	struct block_extent *extent)
{
	struct qcow2 *q = image->state;
	struct qcow2_stretch s;
	int error;

	/* Held while somebody reads metadata: not to be waited for. */
	if (pthread_mutex_trylock(&q->lock) != 0)
		return EAGAIN;
	error = write && q->broken ? EIO : qcow2_find(q, offset, length, false, &s);
	pthread_mutex_unlock(&q->lock);
	if (error)
		return error;
	*extent = (struct block_extent){.length = s.length};
	switch (s.kind) {
	case QCOW2_PLACED:
		extent->file = q->file;
		extent->offset = s.host;
		return write && !(s.entry & QCOW2_COPIED) ? EAGAIN : 0;
	case QCOW2_NOWHERE:
		return write ? EAGAIN : map_backing(image->backing, offset, s.length, extent);
	case QCOW2_PACKED:
		return EAGAIN;
	default:
		return write ? EAGAIN : 0;
	}
}

static int do_read(struct block_image *image, const struct iovec *iov, int niov, uint64_t offset)
{
	enter(image->state);
	int error = qcow2_read(image->state, iov, niov, offset);

	leave(image);
	return error;
}

static int do_write(struct block_image *image, const struct iovec *iov, int niov, uint64_t offset)
{
	enter(image->state);
	int error = qcow2_write(image->state, iov, niov, offset);

	leave(image);
	qcow2_release(image->state);
	return error;
}

static int do_discard(struct block_image *image, uint64_t offset, uint64_t length)
{
	enter(image->state);
	int error = qcow2_discard(image->state, offset, length);

	leave(image);
	qcow2_release(image->state);
	return error;
}

static int do_zero(struct block_image *image, uint64_t offset, uint64_t length)
{
	enter(image->state);
	int error = qcow2_zero(image->state, offset, length);

	leave(image);
	qcow2_release(image->state);
	return error;
}

const struct block_format block_qcow2 = {
	.name = "qcow2",
	.probe = probe,
	.open = qcow2_open,
	.close = qcow2_close,
	.map = map,
	.enter = try_enter,
	.leave = leave,
	.read = do_read,
	.write = do_write,
	.flush = flush,
	.discard = do_discard,
	.zero = do_zero,
};
