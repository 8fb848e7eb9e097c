/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Writes changed metadata in the order that qcow2.h shows. */
#include "host/block/qcow2.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Part of an L2 table, as it was when the counts were written. */
struct copy {
	struct qcow2_block *block;
	void *data;
	unsigned from, to;
};

struct pass {
	struct copy *copies;
	unsigned ncopies;
	uint64_t *l1; /* the part that has changed, big-endian */
	uint32_t l1_from, l1_to;
	struct qcow2_ranges freed;
};

/*
 * The host may have dropped what it could not write, and would not say so again: what was written
 * before cannot be relied on.
 */
int qcow2_sync_file(struct qcow2 *q)
{
	int error = block_file_sync(q->file);

	if (error)
		qcow2_broken(q, "the host could not write it out");
	return error;
}

/* One entry or more of a table in memory, into the file. */
static int write_entries(
	struct qcow2 *q, const struct qcow2_table *table, uint32_t from, uint32_t to)
{
	uint64_t *raw = malloc((to - from) * 8ull);
	int error;

	if (!raw)
		return ENOMEM;
	for (uint32_t i = from; i < to; i++)
		raw[i - from] = htobe64(table->entry[i]);
	error = block_file_write(q->file, raw, (to - from) * 8ull, table->offset + from * 8ull);
	free(raw);
	return error;
}

/* The counts, and then the table that leads to new ones. */
static int write_counts(struct qcow2 *q)
{
	struct qcow2_table *table = &q->refcounts;
	int error = qcow2_cache_write(q, &q->count_cache);

	if (error || table->dirty_from == table->dirty_to)
		return error;
	error = qcow2_sync_file(q);
	if (!error)
		error = write_entries(q, table, table->dirty_from, table->dirty_to);
	if (!error)
		table->dirty_from = table->dirty_to = 0;
	return error;
}

static int copy_block(struct pass *pass, struct qcow2_cache *cache, struct qcow2_block *block)
{
	unsigned size = block->dirty_to - block->dirty_from;
	struct copy *copy = &pass->copies[pass->ncopies];

	*copy = (struct copy){block, malloc(size), block->dirty_from, block->dirty_to};
	if (!copy->data)
		return ENOMEM;
	memcpy(copy->data, (char *)block->data + block->dirty_from, size);
	block->busy = true;
	qcow2_cache_clean(cache, block);
	pass->ncopies++;
	return 0;
}

/* What shall be written after the counts: it may change again meanwhile. */
static int copy_tables(struct qcow2 *q, struct pass *pass)
{
	struct qcow2_table *l1 = &q->l1;
	int error = 0;

	pass->copies = calloc(q->l2_cache.unclean + 1, sizeof(pass->copies[0]));
	if (!pass->copies)
		return ENOMEM;
	for (struct qcow2_block *b = q->l2_cache.newest; b && !error; b = b->older)
		if (b->dirty_from != b->dirty_to)
			error = copy_block(pass, &q->l2_cache, b);
	if (error || l1->dirty_from == l1->dirty_to)
		return error;
	pass->l1 = malloc((l1->dirty_to - l1->dirty_from) * 8ull);
	if (!pass->l1)
		return ENOMEM;
	pass->l1_from = l1->dirty_from;
	pass->l1_to = l1->dirty_to;
	for (uint32_t i = pass->l1_from; i < pass->l1_to; i++)
		pass->l1[i - pass->l1_from] = htobe64(l1->entry[i]);
	l1->dirty_from = l1->dirty_to = 0;
	return 0;
}

/* Not to be tried again, whatever the host says: see qcow2_sync_file(). */
static int barrier(struct qcow2 *q)
{
	return block_file_sync(q->file) == 0 ? 0 : EIO;
}

/* Without the lock: q->syncing keeps others out, `busy` the blocks in. */
static int write_tables(struct qcow2 *q, const struct pass *pass)
{
	int error = barrier(q);

	for (unsigned i = 0; i < pass->ncopies && !error; i++) {
		const struct copy *copy = &pass->copies[i];

		error = block_file_write(q->file, copy->data, copy->to - copy->from,
			copy->block->offset + copy->from);
	}
	if (!error && pass->l1) {
		error = barrier(q);
		if (!error)
			error = block_file_write(q->file, pass->l1,
				(pass->l1_to - pass->l1_from) * 8ull,
				q->l1.offset + pass->l1_from * 8ull);
	}
	if (error || (!pass->ncopies && !pass->l1))
		return error;
	return barrier(q);
}

static void table_dirty(struct qcow2_table *table, uint32_t from, uint32_t to)
{
	if (table->dirty_from == table->dirty_to || from < table->dirty_from)
		table->dirty_from = from;
	if (to > table->dirty_to)
		table->dirty_to = to;
}

/* It has to be written once more. */
static void take_back(struct qcow2 *q, struct pass *pass)
{
	for (unsigned i = 0; i < pass->ncopies; i++) {
		struct qcow2_block *block = pass->copies[i].block;

		qcow2_cache_dirty(q, &q->l2_cache, block, pass->copies[i].from);
		qcow2_cache_dirty(q, &q->l2_cache, block, pass->copies[i].to - 1);
	}
	if (pass->l1)
		table_dirty(&q->l1, pass->l1_from, pass->l1_to);
}

static void move_ranges(struct qcow2 *q, struct qcow2_ranges *from, struct qcow2_ranges *to)
{
	for (size_t i = 0; i < from->count; i++)
		qcow2_free_later(q, to, from->at[i].first, from->at[i].count);
	free(from->at);
	*from = (struct qcow2_ranges){0};
}

static void finish(struct qcow2 *q, struct pass *pass, int error)
{
	if (error)
		take_back(q, pass);
	move_ranges(q, &pass->freed, error ? &q->pending : &q->ready);
	for (unsigned i = 0; i < pass->ncopies; i++) {
		struct qcow2_block *block = pass->copies[i].block;

		block->busy = false;
		if (block->dirty_from == block->dirty_to)
			q->l2_cache.unclean--;
		free(pass->copies[i].data);
	}
	free(pass->copies);
	free(pass->l1);
}

static bool is_changed(const struct qcow2 *q)
{
	return q->count_cache.unclean || q->l2_cache.unclean || q->pending.count ||
	       q->l1.dirty_from != q->l1.dirty_to ||
	       q->refcounts.dirty_from != q->refcounts.dirty_to;
}

static int sync_pass(struct qcow2 *q)
{
	struct pass pass = {.freed = q->pending};
	int error;

	q->pending = (struct qcow2_ranges){0};
	error = write_counts(q);
	if (!error)
		error = copy_tables(q, &pass);
	if (!error) {
		pthread_mutex_unlock(&q->lock);
		error = write_tables(q, &pass);
		pthread_mutex_lock(&q->lock);
	}
	finish(q, &pass, error);
	return error;
}

int qcow2_sync(struct qcow2 *q, bool *synced)
{
	int error = 0;

	while (q->syncing)
		pthread_cond_wait(&q->changed, &q->lock);
	if (q->broken)
		return EIO;
	if (synced)
		*synced = is_changed(q);
	if (!is_changed(q))
		return 0;
	q->syncing = true;
	error = sync_pass(q);
	if (error && error != ENOSPC && error != EDQUOT && error != ENOMEM)
		qcow2_broken(q, "its metadata could not be written");
	q->syncing = false;
	pthread_cond_broadcast(&q->changed);
	return error;
}

/* More than this many stretches to be counted down are not kept. */
enum { PENDING_MAX = 4096 };

int qcow2_make_room(struct qcow2 *q)
{
	int error = 0;

	while (!error &&
		(!qcow2_cache_has_room(&q->l2_cache) || !qcow2_cache_has_room(&q->count_cache) ||
			q->pending.count > PENDING_MAX))
		error = qcow2_sync(q, NULL);
	return error;
}
