/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Blocks of metadata in memory: found by hash, evicted when they have not been used for longest. */
#include "host/block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* What one step changes at most: a table, a new one, and the counts of both. */
enum { STEP = 4, DIRTY_UNIT = 4096 };

static struct qcow2_block **bucket(const struct qcow2_cache *cache, uint64_t offset)
{
	uint64_t hash = (offset >> 9) * 0x9e3779b97f4a7c15;

	return &cache->buckets[(hash >> 32) % cache->nbuckets];
}

int qcow2_cache_init(struct qcow2_cache *cache, unsigned max)
{
	*cache = (struct qcow2_cache){.max = max, .nbuckets = max * 2};
	cache->buckets = calloc(cache->nbuckets, sizeof(cache->buckets[0]));
	return cache->buckets ? 0 : ENOMEM;
}

static void unlink_age(struct qcow2_cache *cache, struct qcow2_block *block)
{
	*(block->newer ? &block->newer->older : &cache->newest) = block->older;
	*(block->older ? &block->older->newer : &cache->oldest) = block->newer;
}

static void link_newest(struct qcow2_cache *cache, struct qcow2_block *block)
{
	block->newer = NULL;
	block->older = cache->newest;
	*(block->older ? &block->older->newer : &cache->oldest) = block;
	cache->newest = block;
}

static void unlink_hash(struct qcow2_cache *cache, struct qcow2_block *block)
{
	struct qcow2_block **at = bucket(cache, block->offset);

	while (*at != block)
		at = &(*at)->next;
	*at = block->next;
}

static void remove_block(struct qcow2_cache *cache, struct qcow2_block *block)
{
	unlink_hash(cache, block);
	unlink_age(cache, block);
	cache->count--;
	free(block->data);
	free(block);
}

void qcow2_cache_free(struct qcow2_cache *cache)
{
	while (cache->newest)
		remove_block(cache, cache->newest);
	free(cache->buckets);
}

static bool is_clean(const struct qcow2_block *block)
{
	return block->dirty_from == block->dirty_to && !block->busy;
}

struct qcow2_block *qcow2_cache_find(struct qcow2_cache *cache, uint64_t offset)
{
	for (struct qcow2_block *block = *bucket(cache, offset); block; block = block->next)
		if (block->offset == offset)
			return block;
	return NULL;
}

void qcow2_cache_drop(struct qcow2_cache *cache, uint64_t offset)
{
	struct qcow2_block *block = qcow2_cache_find(cache, offset);

	if (block && is_clean(block))
		remove_block(cache, block);
}

static void evict(struct qcow2_cache *cache)
{
	struct qcow2_block *block = cache->oldest;

	while (block && !is_clean(block))
		block = block->newer;
	if (block)
		remove_block(cache, block);
}

static struct qcow2_block *new_block(struct qcow2 *q, uint64_t offset)
{
	size_t align = q->cluster_size < 4096 ? q->cluster_size : 4096;
	struct qcow2_block *block = calloc(1, sizeof(*block));

	if (!block)
		return NULL;
	block->offset = offset;
	block->data = aligned_alloc(align, q->cluster_size);
	if (block->data)
		return block;
	free(block);
	return NULL;
}

/* Where a hostile image may not have its tables: in those of another kind. */
static int read_block(struct qcow2 *q, struct qcow2_block *block)
{
	uint64_t offset = block->offset;

	if ((offset & (q->cluster_size - 1)) != 0 || !qcow2_is_inside(q, offset, 1) ||
		qcow2_is_metadata(q, offset))
		return qcow2_broken(q, "a table lies where none can be");
	return block_file_read(q->file, block->data, q->cluster_size, offset);
}

int qcow2_cache_get(struct qcow2 *q, struct qcow2_cache *cache, uint64_t offset, bool fresh,
	struct qcow2_block **out)
{
	struct qcow2_block *block = qcow2_cache_find(cache, offset);
	int error = 0;

	if (block) {
		unlink_age(cache, block);
		link_newest(cache, block);
		*out = block;
		return 0;
	}
	if (cache->count >= cache->max)
		evict(cache);
	block = new_block(q, offset);
	if (!block)
		return ENOMEM;
	if (fresh)
		memset(block->data, 0, q->cluster_size);
	else
		error = read_block(q, block);
	if (error) {
		free(block->data);
		free(block);
		return error;
	}
	block->next = *bucket(cache, offset);
	*bucket(cache, offset) = block;
	link_newest(cache, block);
	cache->count++;
	if (fresh) {
		block->dirty_to = q->cluster_size;
		cache->unclean++;
	}
	*out = block;
	return 0;
}

void qcow2_cache_dirty(
	struct qcow2 *q, struct qcow2_cache *cache, struct qcow2_block *block, unsigned offset)
{
	unsigned unit = q->cluster_size < DIRTY_UNIT ? q->cluster_size : DIRTY_UNIT;
	unsigned from = offset & ~(unit - 1), to = from + unit;

	if (is_clean(block))
		cache->unclean++;
	if (block->dirty_from == block->dirty_to) {
		block->dirty_from = from;
		block->dirty_to = to;
		return;
	}
	if (from < block->dirty_from)
		block->dirty_from = from;
	if (to > block->dirty_to)
		block->dirty_to = to;
}

/* It is in the file now, up to what has changed since. */
void qcow2_cache_clean(struct qcow2_cache *cache, struct qcow2_block *block)
{
	block->dirty_from = block->dirty_to = 0;
	if (!block->busy)
		cache->unclean--;
}

bool qcow2_cache_has_room(const struct qcow2_cache *cache)
{
	return cache->unclean + STEP <= cache->max;
}

int qcow2_cache_write(struct qcow2 *q, struct qcow2_cache *cache)
{
	for (struct qcow2_block *block = cache->newest; block; block = block->older) {
		if (block->dirty_from == block->dirty_to)
			continue;
		int error = block_file_write(q->file, (char *)block->data + block->dirty_from,
			block->dirty_to - block->dirty_from, block->offset + block->dirty_from);

		if (error)
			return error;
		qcow2_cache_clean(cache, block);
	}
	return 0;
}
