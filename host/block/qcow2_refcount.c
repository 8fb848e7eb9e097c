/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* How often each cluster of the file is used, and finding one that is not. */
#include "host/block/qcow2.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/log.h"

/* As QEMU has it: what a refcount table may be at most. */
enum { TABLE_BYTES_MAX = 8 << 20 };

int qcow2_broken(struct qcow2 *q, const char *what)
{
	if (!q->broken)
		log_err(q->image->log, "block", "%s: %s%s", q->file->path, what,
			q->image->read_only ? "" : "; it is not written to any more");
	q->broken = true;
	return EIO;
}

bool qcow2_is_inside(const struct qcow2 *q, uint64_t offset, uint64_t length)
{
	uint64_t size = atomic_load(&q->file->size), mask = q->cluster_size - 1;

	/* The last cluster need not be there as a whole. */
	size = (size + mask) & ~mask;
	return offset < size && length <= size - offset;
}

static bool is_in_table(const struct qcow2 *q, const struct qcow2_table *table, uint64_t offset)
{
	uint64_t end = table->offset + table->size * 8ull, mask = q->cluster_size - 1;

	return offset >= table->offset && offset < ((end + mask) & ~mask);
}

bool qcow2_is_metadata(struct qcow2 *q, uint64_t offset)
{
	return offset < q->cluster_size || is_in_table(q, &q->l1, offset) ||
	       is_in_table(q, &q->refcounts, offset) ||
	       (q->snapshots_offset &&
		       offset == (q->snapshots_offset & ~(uint64_t)(q->cluster_size - 1))) ||
	       qcow2_cache_find(&q->l2_cache, offset) || qcow2_cache_find(&q->count_cache, offset);
}

/* ---- counts in a block: big-endian, of 1 to 64 bits ---- */

static uint64_t count_get(const struct qcow2 *q, const void *data, uint64_t index)
{
	const uint8_t *bytes = data;
	unsigned order = q->refcount_order, bits = 1u << order;

	switch (order) {
	case 4:
		return be16toh(((const uint16_t *)data)[index]);
	case 5:
		return be32toh(((const uint32_t *)data)[index]);
	case 6:
		return be64toh(((const uint64_t *)data)[index]);
	default:
		return bytes[index >> (3 - order)] >> (index * bits & 7) & ((1u << bits) - 1);
	}
}

static void count_set(const struct qcow2 *q, void *data, uint64_t index, uint64_t count)
{
	unsigned order = q->refcount_order, bits = 1u << order;

	switch (order) {
	case 4:
		((uint16_t *)data)[index] = htobe16((uint16_t)count);
		return;
	case 5:
		((uint32_t *)data)[index] = htobe32((uint32_t)count);
		return;
	case 6:
		((uint64_t *)data)[index] = htobe64(count);
		return;
	default:;
		uint8_t *byte = (uint8_t *)data + (index >> (3 - order));
		unsigned shift = index * bits & 7, mask = ((1u << bits) - 1) << shift;

		*byte = (uint8_t)((*byte & ~mask) | (count << shift & mask));
	}
}

static uint64_t range_of(const struct qcow2 *q, uint64_t cluster)
{
	return cluster >> q->count_bits;
}

static uint64_t index_of(const struct qcow2 *q, uint64_t cluster)
{
	return cluster & ((1ull << q->count_bits) - 1);
}

/* The block that has the count of a cluster; NULL: there is none, and the count is 0. */
static int block_of(struct qcow2 *q, uint64_t cluster, struct qcow2_block **block)
{
	uint64_t range = range_of(q, cluster), offset;

	*block = NULL;
	if (range >= q->refcounts.size)
		return 0;
	offset = q->refcounts.entry[range] & ~511ull;
	if (!offset)
		return 0;
	return qcow2_cache_get(q, &q->count_cache, offset, false, block);
}

static void set_count(struct qcow2 *q, struct qcow2_block *block, uint64_t cluster, uint64_t count)
{
	uint64_t index = index_of(q, cluster);

	count_set(q, block->data, index, count);
	qcow2_cache_dirty(q, &q->count_cache, block, (unsigned)(index << q->refcount_order >> 3));
}

/* ---- more blocks, and a larger table ---- */

static int check_end(const struct qcow2 *q, uint64_t cluster)
{
	if (cluster >= 1ull << (56 - q->cluster_bits))
		return EFBIG;
	if (q->file->is_device && (cluster + 1) << q->cluster_bits > atomic_load(&q->file->size))
		return ENOSPC;
	return 0;
}

/* The new table and the blocks that count it, before the header knows of them. */
struct growth {
	uint64_t range; /* the first that is new */
	uint64_t blocks, clusters, size;
};

static int plan_growth(const struct qcow2 *q, uint64_t range, struct growth *g)
{
	uint64_t per_block = 1ull << q->count_bits, per_cluster = q->cluster_size / 8;

	g->range = range;
	g->size = range + 1 > q->refcounts.size * 2ull ? range + 1 : q->refcounts.size * 2ull;
	do {
		g->clusters = (g->size + per_cluster - 1) / per_cluster;
		g->size = g->clusters * per_cluster;
		g->blocks = (g->clusters + per_block - 2) / (per_block - 1);
	} while (range + g->blocks > g->size && ++g->size);
	if (g->size * 8 > TABLE_BYTES_MAX)
		return EFBIG;
	return check_end(q, (range << q->count_bits) + g->blocks + g->clusters);
}

static int write_counts(struct qcow2 *q, const struct growth *g)
{
	uint64_t first = g->range << q->count_bits, used = g->blocks + g->clusters;
	void *data = malloc(q->cluster_size);
	int error = data ? 0 : ENOMEM;

	for (uint64_t b = 0; b < g->blocks && !error; b++) {
		memset(data, 0, q->cluster_size);
		for (uint64_t i = 0; i < 1ull << q->count_bits; i++)
			if ((b << q->count_bits) + i < used)
				count_set(q, data, i, 1);
		error = block_file_write(
			q->file, data, q->cluster_size, (first + b) << q->cluster_bits);
	}
	free(data);
	return error;
}

static int write_table(struct qcow2 *q, const struct growth *g, uint64_t *entry)
{
	uint64_t first = g->range << q->count_bits;
	uint64_t *raw = calloc(g->size, 8);
	int error;

	if (!raw)
		return ENOMEM;
	memcpy(entry, q->refcounts.entry, q->refcounts.size * 8ull);
	for (uint64_t b = 0; b < g->blocks; b++)
		entry[g->range + b] = (first + b) << q->cluster_bits;
	for (uint64_t i = 0; i < g->size; i++)
		raw[i] = htobe64(entry[i]);
	error = block_file_write(q->file, raw, g->size * 8, (first + g->blocks) << q->cluster_bits);
	free(raw);
	return error;
}

/* The table's place and size lie side by side in the header, in one sector. */
static int write_header(struct qcow2 *q, const struct growth *g, uint64_t offset)
{
	uint8_t field[12];
	uint64_t offset_be = htobe64(offset);
	uint32_t clusters_be = htobe32((uint32_t)g->clusters);

	memcpy(field, &offset_be, 8);
	memcpy(field + 8, &clusters_be, 4);
	return block_file_write(q->file, field, sizeof(field), 48);
}

static int write_growth(struct qcow2 *q, const struct growth *g, uint64_t *entry)
{
	uint64_t place = ((g->range << q->count_bits) + g->blocks) << q->cluster_bits;
	int error = qcow2_cache_write(q, &q->count_cache);

	if (!error)
		error = write_counts(q, g);
	if (!error)
		error = qcow2_sync_file(q);
	if (!error)
		error = write_table(q, g, entry);
	if (!error)
		error = qcow2_sync_file(q);
	if (error)
		return error;
	error = write_header(q, g, place);
	/* Nobody knows now which table counts. */
	if (error)
		qcow2_broken(q, "the header could not be written");
	return error ? error : qcow2_sync_file(q);
}

static bool is_area_free(struct qcow2 *q, const struct growth *g)
{
	uint64_t first = g->range << q->count_bits;

	for (uint64_t i = 0; i < g->blocks + g->clusters; i++)
		if (qcow2_is_metadata(q, (first + i) << q->cluster_bits))
			return false;
	return true;
}

/*
 * Rare, so it is done at once, under the lock.  The new table lies at the beginning of the range
 * that nothing has counted yet, with the blocks that count it before it.
 */
static int grow_table(struct qcow2 *q, uint64_t range)
{
	struct qcow2_table *table = &q->refcounts;
	struct growth g;
	uint64_t *entry;
	int error = plan_growth(q, range, &g);

	if (error)
		return error;
	if (!is_area_free(q, &g))
		return qcow2_broken(q, "a table is not counted");
	entry = calloc(g.size, 8);
	if (!entry)
		return ENOMEM;
	error = write_growth(q, &g, entry);
	if (error) {
		free(entry);
		return error;
	}
	qcow2_free_later(q, &q->pending, table->offset >> q->cluster_bits,
		(table->size * 8ull + q->cluster_size - 1) >> q->cluster_bits);
	free(table->entry);
	*table = (struct qcow2_table){
		.offset = ((range << q->count_bits) + g.blocks) << q->cluster_bits,
		.size = (uint32_t)g.size,
		.entry = entry,
	};
	return 0;
}

/* A block for a range that has none: the first cluster of the range, which it counts itself. */
static int add_block(struct qcow2 *q, uint64_t range)
{
	uint64_t cluster = range << q->count_bits;
	struct qcow2_block *block;
	int error;

	if (range >= q->refcounts.size)
		return grow_table(q, range);
	error = check_end(q, cluster);
	if (error)
		return error;
	if (qcow2_is_metadata(q, cluster << q->cluster_bits))
		return qcow2_broken(q, "a table is not counted");
	error = qcow2_cache_get(q, &q->count_cache, cluster << q->cluster_bits, true, &block);
	if (error)
		return error;
	set_count(q, block, cluster, 1);
	q->refcounts.entry[range] = cluster << q->cluster_bits;
	if (q->refcounts.dirty_from == q->refcounts.dirty_to) {
		q->refcounts.dirty_from = (uint32_t)range;
		q->refcounts.dirty_to = (uint32_t)range + 1;
	}
	if (range < q->refcounts.dirty_from)
		q->refcounts.dirty_from = (uint32_t)range;
	if (range >= q->refcounts.dirty_to)
		q->refcounts.dirty_to = (uint32_t)range + 1;
	return 0;
}

/* ---- taking and giving back ---- */

/* The first cluster from free_hint on whose count is 0, and its block. */
static int find_free(struct qcow2 *q, struct qcow2_block **block, uint64_t *cluster)
{
	uint64_t c = q->free_hint, per_block = 1ull << q->count_bits;

	for (;;) {
		int error = block_of(q, c, block);

		if (!error && !*block)
			error = add_block(q, range_of(q, c));
		else if (!error)
			for (uint64_t i = index_of(q, c); i < per_block; i++, c++)
				if (count_get(q, (*block)->data, i) == 0) {
					*cluster = c;
					return check_end(q, c);
				}
		if (error)
			return error;
	}
}

int qcow2_allocate(struct qcow2 *q, uint64_t want, uint64_t *first, uint64_t *got)
{
	struct qcow2_block *block;
	uint64_t c, end;
	int error = find_free(q, &block, &c);

	if (error)
		return error;
	end = (range_of(q, c) + 1) << q->count_bits;
	*first = c;
	while (c < end && c - *first < want && count_get(q, block->data, index_of(q, c)) == 0 &&
		check_end(q, c) == 0) {
		if (qcow2_is_metadata(q, c << q->cluster_bits))
			return qcow2_broken(q, "a table is not counted");
		set_count(q, block, c, 1);
		c++;
	}
	*got = c - *first;
	q->free_hint = c;
	return 0;
}

/* One count less. */
static void count_down(struct qcow2 *q, uint64_t cluster)
{
	struct qcow2_block *block;
	uint64_t count;

	if (block_of(q, cluster, &block) != 0)
		return;
	count = block ? count_get(q, block->data, index_of(q, cluster)) : 0;
	if (count == 0) {
		qcow2_broken(q, "a cluster that is in use is not counted");
		return;
	}
	set_count(q, block, cluster, count - 1);
	if (count > 1)
		return;
	if (cluster < q->free_hint)
		q->free_hint = cluster;
	qcow2_cache_drop(&q->l2_cache, cluster << q->cluster_bits);
}

void qcow2_unallocate(struct qcow2 *q, uint64_t first, uint64_t count)
{
	while (count-- > 0)
		count_down(q, first + count);
}

void qcow2_free_later(struct qcow2 *q, struct qcow2_ranges *list, uint64_t first, uint64_t count)
{
	struct qcow2_range *last = list->count ? &list->at[list->count - 1] : NULL;

	(void)q;
	if (last && last->first + last->count == first) {
		last->count += count;
		return;
	}
	if (list->count == list->room) {
		size_t room = list->room ? list->room * 2 : 64;
		struct qcow2_range *at = realloc(list->at, room * sizeof(*at));

		/* A leak in the file is all that comes of it. */
		if (!at)
			return;
		list->at = at;
		list->room = room;
	}
	list->at[list->count++] = (struct qcow2_range){first, count};
}

void qcow2_free_entry(struct qcow2 *q, uint64_t entry)
{
	uint64_t offset = entry & QCOW2_OFFSET;
	uint32_t length = 1;

	if (entry & QCOW2_COMPRESSED)
		qcow2_packed_range(q, entry, &offset, &length);
	if (offset == 0)
		return;
	uint64_t first = offset >> q->cluster_bits;
	uint64_t last = (offset + length - 1) >> q->cluster_bits;

	qcow2_free_later(q, &q->pending, first, last - first + 1);
}

/* ---- after a sync ---- */

static void gate_close(struct qcow2 *q)
{
	pthread_mutex_lock(&q->gate_lock);
	while (q->gate_closed)
		pthread_cond_wait(&q->gate_changed, &q->gate_lock);
	q->gate_closed = true;
	while (q->gate_users > 0)
		pthread_cond_wait(&q->gate_changed, &q->gate_lock);
	pthread_mutex_unlock(&q->gate_lock);
}

static void gate_open(struct qcow2 *q)
{
	pthread_mutex_lock(&q->gate_lock);
	q->gate_closed = false;
	pthread_cond_broadcast(&q->gate_changed);
	pthread_mutex_unlock(&q->gate_lock);
}

/* Gives the host the space of clusters that are in use for the last time. Caller holds the lock. */
static void punch(struct qcow2 *q, const struct qcow2_range *range)
{
	uint64_t first = range->first, end = first + range->count, c;

	for (c = first; c < end; c++) {
		struct qcow2_block *block;
		bool last = block_of(q, c, &block) == 0 && block &&
			    count_get(q, block->data, index_of(q, c)) == 1;

		if (last && !qcow2_is_metadata(q, c << q->cluster_bits))
			continue;
		if (c > first)
			block_file_punch(
				q->file, first << q->cluster_bits, (c - first) << q->cluster_bits);
		first = c + 1;
	}
	if (c > first)
		block_file_punch(q->file, first << q->cluster_bits, (c - first) << q->cluster_bits);
}

/*
 * With the gate closed: reads and writes that had found a cluster before it lost its last pointer
 * have ended when it gets another owner.
 */
void qcow2_release(struct qcow2 *q)
{
	struct qcow2_ranges ranges;

	pthread_mutex_lock(&q->lock);
	ranges = q->ready;
	q->ready = (struct qcow2_ranges){0};
	pthread_mutex_unlock(&q->lock);
	if (ranges.count == 0)
		return;
	gate_close(q);
	pthread_mutex_lock(&q->lock);
	for (size_t i = 0; i < ranges.count && !q->broken; i++) {
		if (q->image->unmap)
			punch(q, &ranges.at[i]);
		for (uint64_t n = 0; n < ranges.at[i].count && !q->broken; n++)
			if (qcow2_make_room(q) == 0)
				count_down(q, ranges.at[i].first + n);
	}
	pthread_mutex_unlock(&q->lock);
	gate_open(q);
	free(ranges.at);
}
