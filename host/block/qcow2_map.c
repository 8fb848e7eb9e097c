/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* From the guest's clusters to those of the file. */
#include "host/block/qcow2.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

enum qcow2_kind qcow2_kind_of(const struct qcow2 *q, uint64_t entry)
{
	(void)q;
	if (entry & QCOW2_COMPRESSED)
		return QCOW2_PACKED;
	if (entry & QCOW2_ZERO)
		return entry & QCOW2_OFFSET ? QCOW2_ZEROS_PLACED : QCOW2_ZEROS;
	return entry & QCOW2_OFFSET ? QCOW2_PLACED : QCOW2_NOWHERE;
}

uint64_t qcow2_l2_get(const struct qcow2_block *block, unsigned index)
{
	return be64toh(((const uint64_t *)block->data)[index]);
}

void qcow2_l2_set(struct qcow2 *q, struct qcow2_block *block, unsigned index, uint64_t entry)
{
	((uint64_t *)block->data)[index] = htobe64(entry);
	qcow2_cache_dirty(q, &q->l2_cache, block, index * 8);
}

void qcow2_packed_range(const struct qcow2 *q, uint64_t entry, uint64_t *offset, uint32_t *length)
{
	unsigned bits = 62 - (q->cluster_bits - 8);
	uint32_t sectors = (uint32_t)(entry >> bits & ((1u << (q->cluster_bits - 8)) - 1)) + 1;

	*offset = entry & ((1ull << bits) - 1);
	*length = sectors * 512 - (uint32_t)(*offset & 511);
}

/* Whether an entry can be what it says; a hostile image need not make sense. */
static bool is_sound(struct qcow2 *q, uint64_t entry, enum qcow2_kind kind)
{
	uint64_t offset = entry & QCOW2_OFFSET;
	uint32_t length;

	switch (kind) {
	case QCOW2_NOWHERE:
		return true;
	case QCOW2_ZEROS:
		return q->version >= 3;
	case QCOW2_PACKED:
		qcow2_packed_range(q, entry, &offset, &length);
		return qcow2_is_inside(q, offset, 1) && !(entry & QCOW2_COPIED);
	default:
		return (kind == QCOW2_PLACED || q->version >= 3) &&
		       (offset & (q->cluster_size - 1)) == 0 &&
		       (kind == QCOW2_ZEROS_PLACED || qcow2_is_inside(q, offset, 1)) &&
		       !qcow2_is_metadata(q, offset);
	}
}

static int find_table(struct qcow2 *q, uint64_t cluster, bool load, struct qcow2_block **block)
{
	uint64_t index = cluster >> q->l2_bits, offset;

	*block = NULL;
	if (index >= q->l1.size)
		return 0;
	offset = q->l1.entry[index] & QCOW2_OFFSET;
	if (offset == 0)
		return 0;
	if (!load) {
		*block = qcow2_cache_find(&q->l2_cache, offset);
		return *block ? 0 : EAGAIN;
	}
	return qcow2_cache_get(q, &q->l2_cache, offset, false, block);
}

/* Whether the cluster after `n` others goes on where they end. */
static bool goes_on(struct qcow2 *q, const struct qcow2_stretch *s, uint64_t entry, uint64_t n)
{
	if (qcow2_kind_of(q, entry) != s->kind || ((entry ^ s->entry) & QCOW2_COPIED))
		return false;
	if (s->kind == QCOW2_PLACED)
		return (entry & QCOW2_OFFSET) ==
			       (s->entry & QCOW2_OFFSET) + (n << q->cluster_bits) &&
		       is_sound(q, entry, s->kind);
	return s->kind == QCOW2_NOWHERE || s->kind == QCOW2_ZEROS;
}

int qcow2_find(
	struct qcow2 *q, uint64_t offset, uint64_t length, bool load, struct qcow2_stretch *s)
{
	uint64_t cluster = offset >> q->cluster_bits, within = offset & (q->cluster_size - 1);
	uint64_t mask = (1ull << q->l2_bits) - 1, index = cluster & mask, n = 1;
	struct qcow2_block *block;
	int error = find_table(q, cluster, load, &block);

	*s = (struct qcow2_stretch){.kind = QCOW2_NOWHERE};
	if (error)
		return error;
	if (block) {
		s->entry = qcow2_l2_get(block, (unsigned)index);
		s->kind = qcow2_kind_of(q, s->entry);
		if (!is_sound(q, s->entry, s->kind))
			return qcow2_broken(q, "a cluster lies where none can be");
		s->host = (s->entry & QCOW2_OFFSET) + within;
	}
	while ((n << q->cluster_bits) - within < length && index + n <= mask &&
		(!block || goes_on(q, s, qcow2_l2_get(block, (unsigned)(index + n)), n)))
		n++;
	s->length = (n << q->cluster_bits) - within;
	if (s->length > length)
		s->length = length;
	return 0;
}

static void l1_set(struct qcow2 *q, uint64_t index, uint64_t entry)
{
	struct qcow2_table *l1 = &q->l1;

	l1->entry[index] = entry;
	if (l1->dirty_from == l1->dirty_to) {
		l1->dirty_from = (uint32_t)index;
		l1->dirty_to = (uint32_t)index + 1;
	}
	if (index < l1->dirty_from)
		l1->dirty_from = (uint32_t)index;
	if (index >= l1->dirty_to)
		l1->dirty_to = (uint32_t)index + 1;
}

/* A new table in place of none, or of one that a snapshot has too. */
static int new_table(struct qcow2 *q, uint64_t index, struct qcow2_block **block)
{
	uint64_t old = q->l1.entry[index] & QCOW2_OFFSET, cluster, got;
	struct qcow2_block *from;
	int error = qcow2_allocate(q, 1, &cluster, &got);

	if (error)
		return error;
	error = qcow2_cache_get(q, &q->l2_cache, cluster << q->cluster_bits, true, block);
	if (error) {
		qcow2_unallocate(q, cluster, 1);
		return error;
	}
	if (old) {
		/* The new one is dirty, so it stays. */
		error = qcow2_cache_get(q, &q->l2_cache, old, false, &from);
		if (error) {
			qcow2_cache_clean(&q->l2_cache, *block);
			qcow2_unallocate(q, cluster, 1);
			return error;
		}
		memcpy((*block)->data, from->data, q->cluster_size);
		qcow2_free_later(q, &q->pending, old >> q->cluster_bits, 1);
	}
	l1_set(q, index, cluster << q->cluster_bits | QCOW2_COPIED);
	return 0;
}

int qcow2_l2_for_write(
	struct qcow2 *q, uint64_t cluster, struct qcow2_block **block, unsigned *index)
{
	uint64_t l1_index = cluster >> q->l2_bits;

	*index = (unsigned)(cluster & ((1u << q->l2_bits) - 1));
	if (l1_index >= q->l1.size)
		return qcow2_broken(q, "its L1 table is too short");
	if (!(q->l1.entry[l1_index] & QCOW2_COPIED) || !(q->l1.entry[l1_index] & QCOW2_OFFSET))
		return new_table(q, l1_index, block);
	return find_table(q, cluster, true, block);
}
