/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Writing: over what is there if it is nobody else's, else into new clusters, which get what the
 * guest does not write from where the old ones have it.
 */
#include "host/block/qcow2.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool is_placing(const struct qcow2 *q, uint64_t first, uint64_t count)
{
	for (const struct qcow2_placing *p = q->placing; p; p = p->next)
		if (first < p->first + p->count && p->first < first + count)
			return true;
	return false;
}

static void placing_begin(struct qcow2 *q, struct qcow2_placing *placing)
{
	placing->next = q->placing;
	q->placing = placing;
}

static void placing_end(struct qcow2 *q, const struct qcow2_placing *placing)
{
	struct qcow2_placing **at = &q->placing;

	while (*at != placing)
		at = &(*at)->next;
	*at = placing->next;
	pthread_cond_broadcast(&q->changed);
}

/* A write of at most one L2 table's clusters into new places. */
struct step {
	struct qcow2_placing placing; /* the guest's clusters */
	uint64_t place;		      /* the first one of the file */
	bool own;		      /* it was this entry's already */
	bool blank;		      /* what is not written there reads as zeros */
	uint64_t offset, length;      /* of the guest's data */
};

/* How many clusters from `first` on need a place, of those that the data reaches. */
static uint64_t count_placeless(
	struct qcow2 *q, struct qcow2_block *block, unsigned index, uint64_t first, uint64_t count)
{
	uint64_t n = 1;

	while (n < count && index + n < 1u << q->l2_bits && !is_placing(q, first + n, 1)) {
		uint64_t entry = qcow2_l2_get(block, (unsigned)(index + n));
		enum qcow2_kind kind = qcow2_kind_of(q, entry);

		if ((kind == QCOW2_PLACED || kind == QCOW2_ZEROS_PLACED) && entry & QCOW2_COPIED)
			break;
		n++;
	}
	return n;
}

/* Plans the step for the data at `offset`. Caller holds the lock. */
static int step_begin(struct qcow2 *q, uint64_t offset, uint64_t length, struct step *step)
{
	uint64_t first = offset >> q->cluster_bits;
	uint64_t last = (offset + length - 1) >> q->cluster_bits, end;
	struct qcow2_block *block;
	unsigned index;
	int error = qcow2_l2_for_write(q, first, &block, &index);

	if (error)
		return error;
	uint64_t entry = qcow2_l2_get(block, index);

	*step = (struct step){.placing = {.first = first, .count = 1}, .offset = offset};
	step->own = qcow2_kind_of(q, entry) == QCOW2_ZEROS_PLACED && entry & QCOW2_COPIED;
	if (step->own) {
		step->place = (entry & QCOW2_OFFSET) >> q->cluster_bits;
	} else {
		uint64_t want = count_placeless(q, block, index, first, last - first + 1);

		error = qcow2_allocate(q, want, &step->place, &step->placing.count);
		if (error)
			return error;
		step->blank = !q->file->is_device &&
			      step->place << q->cluster_bits >= atomic_load(&q->file->size);
	}
	end = (first + step->placing.count) << q->cluster_bits;
	step->length = offset + length < end ? length : end - offset;
	placing_begin(q, &step->placing);
	return 0;
}

/*
 * What stands around the data in its first or last cluster: read into a new buffer, which stays
 * NULL where zeros are there already.
 */
static int read_around(
	struct qcow2 *q, const struct step *step, uint64_t offset, uint64_t length, void **buf)
{
	struct qcow2_stretch s;
	int error;

	*buf = NULL;
	if (length == 0)
		return 0;
	pthread_mutex_lock(&q->lock);
	error = qcow2_find(q, offset, length, true, &s);
	pthread_mutex_unlock(&q->lock);
	if (error)
		return error;
	bool zeros = s.kind == QCOW2_ZEROS || s.kind == QCOW2_ZEROS_PLACED ||
		     (s.kind == QCOW2_NOWHERE && !q->image->backing);

	if (zeros && step->blank)
		return 0;
	*buf = aligned_alloc(4096, (length + 4095) & ~4095ull);
	if (!*buf)
		return ENOMEM;
	if (!zeros)
		return qcow2_read(q, &(struct iovec){*buf, length}, 1, offset);
	memset(*buf, 0, length);
	return 0;
}

/* Data and what stands around it, in one write. */
static int write_around(struct qcow2 *q, const struct step *step, const struct iovec *data, int n,
	uint64_t before, void *head, uint64_t after, void *tail)
{
	uint64_t at = (step->place << q->cluster_bits) + (head ? 0 : before);
	struct iovec *iov = malloc(((size_t)n + 2) * sizeof(*iov));
	int count = 0, error;

	if (!iov)
		return ENOMEM;
	if (head)
		iov[count++] = (struct iovec){head, before};
	memcpy(iov + count, data, (size_t)n * sizeof(*iov));
	count += n;
	if (tail)
		iov[count++] = (struct iovec){tail, after};
	error = block_file_writev(q->file, iov, count, at);
	free(iov);
	return error;
}

static int step_write(struct qcow2 *q, const struct step *step, const struct iovec *iov, int niov)
{
	uint64_t mask = q->cluster_size - 1, end = step->offset + step->length;
	uint64_t before = step->offset & mask, after = -end & mask;
	void *head = NULL, *tail = NULL;
	int error = read_around(q, step, step->offset - before, before, &head);

	if (!error)
		error = read_around(q, step, end, after, &tail);
	if (!error)
		error = write_around(q, step, iov, niov, before, head, after, tail);
	free(head);
	free(tail);
	return error;
}

/* The entries point to the new places now; what they pointed to is free later. */
static int step_point(struct qcow2 *q, const struct step *step)
{
	struct qcow2_block *block;
	unsigned index;
	int error = qcow2_l2_for_write(q, step->placing.first, &block, &index);

	for (uint64_t i = 0; i < step->placing.count && !error; i++) {
		uint64_t old = qcow2_l2_get(block, (unsigned)(index + i));

		if (!step->own)
			qcow2_free_entry(q, old);
		qcow2_l2_set(q, block, (unsigned)(index + i),
			(step->place + i) << q->cluster_bits | QCOW2_COPIED);
	}
	return error;
}

/* Caller holds the lock, which is given up meanwhile. */
static int write_placing(struct qcow2 *q, const struct iovec *iov, int niov, uint64_t offset,
	uint64_t length, uint64_t done, struct iovec *part, uint64_t *advance)
{
	struct step step;
	int error = step_begin(q, offset + done, length - done, &step);

	if (error)
		return error;
	pthread_mutex_unlock(&q->lock);
	error = step_write(q, &step, part, block_iov_slice(iov, niov, done, step.length, part));
	pthread_mutex_lock(&q->lock);
	if (!error)
		error = qcow2_make_room(q);
	if (!error)
		error = step_point(q, &step);
	if (error && !step.own)
		qcow2_unallocate(q, step.place, step.placing.count);
	placing_end(q, &step.placing);
	*advance = step.length;
	return error;
}

static bool may_overwrite(const struct qcow2_stretch *s)
{
	return s->kind == QCOW2_PLACED && s->entry & QCOW2_COPIED;
}

int qcow2_write(struct qcow2 *q, const struct iovec *iov, int niov, uint64_t offset)
{
	uint64_t length = block_iov_size(iov, niov), advance = 0;
	struct iovec *part = malloc(((size_t)niov + 1) * sizeof(*part));
	struct qcow2_stretch s;
	int error = part ? 0 : ENOMEM;

	pthread_mutex_lock(&q->lock);
	for (uint64_t done = 0; done < length && !error; done += advance) {
		while (is_placing(q, (offset + done) >> q->cluster_bits, 1))
			pthread_cond_wait(&q->changed, &q->lock);
		error = q->broken ? EIO : qcow2_make_room(q);
		/* The room was made without the lock. */
		advance = 0;
		if (error || is_placing(q, (offset + done) >> q->cluster_bits, 1))
			continue;
		error = qcow2_find(q, offset + done, length - done, true, &s);
		if (error)
			break;
		if (!may_overwrite(&s)) {
			error = write_placing(q, iov, niov, offset, length, done, part, &advance);
			continue;
		}
		advance = s.length;
		pthread_mutex_unlock(&q->lock);
		error = block_file_writev(
			q->file, part, block_iov_slice(iov, niov, done, s.length, part), s.host);
		pthread_mutex_lock(&q->lock);
	}
	pthread_mutex_unlock(&q->lock);
	free(part);
	return error;
}

/* ---- discard and zeros ---- */

/* What a cluster becomes when its content is dropped; the same as before: nothing is to be done. */
static uint64_t dropped(const struct qcow2 *q, uint64_t entry, bool zero)
{
	bool backing = q->image->backing != NULL;

	switch (qcow2_kind_of(q, entry)) {
	case QCOW2_NOWHERE:
		/* A discard promises nothing. */
		return zero && backing ? QCOW2_ZERO : entry;
	case QCOW2_ZEROS:
		return entry;
	default:
		return backing ? QCOW2_ZERO : 0;
	}
}

/* Whether version 2 has no way to say it. */
static bool is_unspeakable(const struct qcow2 *q)
{
	return q->version < 3 && q->image->backing;
}

static bool has_table(const struct qcow2 *q, uint64_t cluster)
{
	return cluster >> q->l2_bits < q->l1.size &&
	       (q->l1.entry[cluster >> q->l2_bits] & QCOW2_OFFSET) != 0;
}

/* One cluster. Caller holds the lock, which may be given up meanwhile. */
static int drop_cluster(struct qcow2 *q, uint64_t cluster, bool zero)
{
	struct qcow2_block *block;
	struct qcow2_stretch s;
	unsigned index;
	int error;

	do {
		while (is_placing(q, cluster, 1))
			pthread_cond_wait(&q->changed, &q->lock);
		error = q->broken ? EIO : qcow2_make_room(q);
	} while (!error && is_placing(q, cluster, 1));
	if (!error)
		error = qcow2_find(q, cluster << q->cluster_bits, 1, true, &s);
	if (error || dropped(q, s.entry, zero) == s.entry)
		return error;
	error = qcow2_l2_for_write(q, cluster, &block, &index);
	if (error)
		return error;
	qcow2_free_entry(q, s.kind == QCOW2_ZEROS ? 0 : s.entry);
	qcow2_l2_set(q, block, index, dropped(q, s.entry, zero));
	return 0;
}

static int drop_clusters(struct qcow2 *q, uint64_t first, uint64_t end, bool zero)
{
	int error = 0;

	pthread_mutex_lock(&q->lock);
	for (uint64_t c = first; c < end && !error; c++) {
		/* A whole table's worth of nothing. */
		if (!has_table(q, c) && !(zero && q->image->backing)) {
			c |= (1ull << q->l2_bits) - 1;
			continue;
		}
		error = drop_cluster(q, c, zero);
	}
	pthread_mutex_unlock(&q->lock);
	return error;
}

/* The clusters that lie inside a range; the last one of the disk may be cut short. */
static void whole_clusters(
	const struct qcow2 *q, uint64_t offset, uint64_t length, uint64_t *first, uint64_t *end)
{
	uint64_t mask = q->cluster_size - 1, to = offset + length;

	*first = (offset + mask) >> q->cluster_bits;
	*end = to == q->image->size ? (to + mask) >> q->cluster_bits : to >> q->cluster_bits;
}

int qcow2_discard(struct qcow2 *q, uint64_t offset, uint64_t length)
{
	uint64_t first, end;

	whole_clusters(q, offset, length, &first, &end);
	if (first >= end || is_unspeakable(q))
		return 0;
	return drop_clusters(q, first, end, false);
}

/* Less than a cluster, or what version 2 cannot say: zeros are written, where there are none. */
static int write_zeros(struct qcow2 *q, uint64_t offset, uint64_t length)
{
	size_t size = length < q->cluster_size ? length : q->cluster_size;
	void *zeros = aligned_alloc(4096, (size + 4095) & ~(size_t)4095);
	int error = zeros ? 0 : ENOMEM;

	if (zeros)
		memset(zeros, 0, size);
	while (length > 0 && !error) {
		uint64_t rest = q->cluster_size - (offset & (q->cluster_size - 1));
		uint64_t part = length < rest ? length : rest;
		struct qcow2_stretch s;

		pthread_mutex_lock(&q->lock);
		error = qcow2_find(q, offset, part, true, &s);
		pthread_mutex_unlock(&q->lock);
		bool needless = s.kind == QCOW2_ZEROS || s.kind == QCOW2_ZEROS_PLACED ||
				(s.kind == QCOW2_NOWHERE && !q->image->backing);

		if (!error && !needless)
			error = qcow2_write(q, &(struct iovec){zeros, part}, 1, offset);
		offset += part;
		length -= part;
	}
	free(zeros);
	return error;
}

int qcow2_zero(struct qcow2 *q, uint64_t offset, uint64_t length)
{
	uint64_t first, end, to = offset + length;
	int error = 0;

	whole_clusters(q, offset, length, &first, &end);
	if (first >= end || is_unspeakable(q))
		return write_zeros(q, offset, length);
	if (offset < first << q->cluster_bits)
		error = write_zeros(q, offset, (first << q->cluster_bits) - offset);
	if (!error)
		error = drop_clusters(q, first, end, true);
	if (!error && to > end << q->cluster_bits)
		error = write_zeros(q, end << q->cluster_bits, to - (end << q->cluster_bits));
	return error;
}
