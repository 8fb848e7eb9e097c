/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * qcow2, versions 2 and 3.  Only the qcow2_*.c include this.  Names are those of QEMU's
 * docs/interop/qcow2: the L1 table points to L2 tables, whose entries say where each cluster of the
 * guest lies; the refcount table points to refcount blocks, which say how often each cluster of the
 * file is used.
 *
 * What is on the medium is right at any moment, apart from clusters that are counted but not used
 * (leaks).  For that, changes of metadata wait in caches, and qcow2_sync() writes them in this
 * order, with a sync of the file wherever there is an arrow:
 *
 *	data, refcount blocks -> refcount table -> L2 tables -> L1 table -> counts that go down
 *
 * A cluster is thus counted before it is pointed to, its data is there before, and it is counted
 * down, and may be used for something else, after the last pointer to it is gone.
 */
#ifndef HOST_BLOCK_QCOW2_H
#define HOST_BLOCK_QCOW2_H

#include "host/block/image.h"

#define QCOW2_COPIED	 (1ull << 63) /* refcount 1: may be written where it is */
#define QCOW2_COMPRESSED (1ull << 62)
#define QCOW2_ZERO	 1ull
#define QCOW2_OFFSET	 0x00fffffffffffe00ull

/* A block of metadata in memory: an L2 table or a refcount block, as in the file. */
struct qcow2_block {
	uint64_t offset;
	void *data;
	unsigned dirty_from, dirty_to; /* bytes; equal: none */
	bool busy;		       /* on its way into the file */
	struct qcow2_block *next;      /* of the same hash */
	struct qcow2_block *newer, *older;
};

struct qcow2_cache {
	unsigned max, count, unclean; /* blocks */
	unsigned nbuckets;
	struct qcow2_block **buckets;
	struct qcow2_block *newest, *oldest;
};

/* Clusters of the file. */
struct qcow2_range {
	uint64_t first, count;
};

struct qcow2_ranges {
	struct qcow2_range *at;
	size_t count, room;
};

/* Clusters of the guest that somebody is giving a place. */
struct qcow2_placing {
	uint64_t first, count;
	struct qcow2_placing *next;
};

/* A table that is in memory as a whole. */
struct qcow2_table {
	uint64_t offset; /* in the file */
	uint32_t size;	 /* entries */
	uint64_t *entry; /* in the host's order */
	uint32_t dirty_from, dirty_to;
};

struct qcow2 {
	struct block_image *image;
	struct block_file *file;
	unsigned version, cluster_bits, refcount_order;
	uint32_t cluster_size;
	unsigned l2_bits;    /* log2 of the entries of an L2 table */
	unsigned count_bits; /* log2 of the entries of a refcount block */
	bool zstd;
	uint64_t snapshots_offset; /* 0: none */

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t changed;
	struct qcow2_table l1, refcounts;
	struct qcow2_cache l2_cache, count_cache;
	uint64_t free_hint; /* no cluster before this one is free */
	struct qcow2_placing *placing;
	bool syncing;
	/* To be counted down: when the next sync is done; now. */
	struct qcow2_ranges pending, ready;
	bool broken; /* nothing is written any more */

	/* Who uses clusters without the lock; while it is closed, clusters change their owner. */
	pthread_mutex_t gate_lock;
	pthread_cond_t gate_changed;
	unsigned gate_users;
	bool gate_closed;

	/* The compressed cluster that was read last. */
	pthread_mutex_t unpacked_lock;
	uint64_t unpacked_entry; /* 0: none */
	void *unpacked;
};

enum qcow2_kind {
	QCOW2_NOWHERE, /* as the backing file has it */
	QCOW2_ZEROS,
	QCOW2_ZEROS_PLACED, /* but there is a cluster for it */
	QCOW2_PLACED,
	QCOW2_PACKED,
};

/* What the image says about a stretch of the guest's disk. */
struct qcow2_stretch {
	enum qcow2_kind kind;
	uint64_t entry;	 /* of its first cluster */
	uint64_t host;	 /* PLACED: where it begins in the file */
	uint64_t length; /* bytes for which that holds */
};

/* ---- header: qcow2_header.c ---- */
int qcow2_read_header(struct qcow2 *q);

/* ---- qcow2_cache.c; the lock is held ---- */
int qcow2_cache_init(struct qcow2_cache *cache, unsigned max);
void qcow2_cache_free(struct qcow2_cache *cache);
struct qcow2_block *qcow2_cache_find(struct qcow2_cache *cache, uint64_t offset);
/* Reads it if need be; `fresh`: zeros, and all of it dirty. Stays until the next call for it. */
int qcow2_cache_get(struct qcow2 *q, struct qcow2_cache *cache, uint64_t offset, bool fresh,
	struct qcow2_block **block);
void qcow2_cache_dirty(
	struct qcow2 *q, struct qcow2_cache *cache, struct qcow2_block *block, unsigned offset);
void qcow2_cache_clean(struct qcow2_cache *cache, struct qcow2_block *block);
void qcow2_cache_drop(struct qcow2_cache *cache, uint64_t offset);
/* Room for what one step may change. False: sync first. */
bool qcow2_cache_has_room(const struct qcow2_cache *cache);
int qcow2_cache_write(struct qcow2 *q, struct qcow2_cache *cache);

/* ---- qcow2_refcount.c; the lock is held ---- */
/* Up to `want` clusters in a row, counted once each. */
int qcow2_allocate(struct qcow2 *q, uint64_t want, uint64_t *first, uint64_t *got);
/* Gives back what has never been pointed to. */
void qcow2_unallocate(struct qcow2 *q, uint64_t first, uint64_t count);
/* Counts down, after qcow2_sync(), what an entry has pointed to. */
void qcow2_free_entry(struct qcow2 *q, uint64_t entry);
void qcow2_free_later(struct qcow2 *q, struct qcow2_ranges *list, uint64_t first, uint64_t count);
/* Counts down what is ready. Neither the lock is held nor the gate entered. */
void qcow2_release(struct qcow2 *q);
/* Whether a cluster of the file is known to be metadata. */
bool qcow2_is_metadata(struct qcow2 *q, uint64_t offset);
/* Whether it lies inside the file. */
bool qcow2_is_inside(const struct qcow2 *q, uint64_t offset, uint64_t length);
/* Something does not fit together: the image is not written to any more. EIO. */
int qcow2_broken(struct qcow2 *q, const char *what);

/* ---- qcow2_sync.c; the lock is held, and given up meanwhile ---- */
/* `synced`, if not NULL: whether the file has been synced, with all that was done before. */
int qcow2_sync(struct qcow2 *q, bool *synced);
/* Makes room in the caches. */
int qcow2_make_room(struct qcow2 *q);
int qcow2_sync_file(struct qcow2 *q);

/* ---- qcow2_map.c; the lock is held ---- */
/* EAGAIN without `load`: not in memory. */
int qcow2_find(struct qcow2 *q, uint64_t offset, uint64_t length, bool load,
	struct qcow2_stretch *stretch);
enum qcow2_kind qcow2_kind_of(const struct qcow2 *q, uint64_t entry);
/* The L2 table of a cluster of the guest, to be changed; `index` of its entry. */
int qcow2_l2_for_write(
	struct qcow2 *q, uint64_t cluster, struct qcow2_block **block, unsigned *index);
uint64_t qcow2_l2_get(const struct qcow2_block *block, unsigned index);
void qcow2_l2_set(struct qcow2 *q, struct qcow2_block *block, unsigned index, uint64_t entry);
/* Where the data of a compressed cluster lies, in bytes. */
void qcow2_packed_range(const struct qcow2 *q, uint64_t entry, uint64_t *offset, uint32_t *length);

/* ---- qcow2_read.c ---- */
int qcow2_read(struct qcow2 *q, const struct iovec *iov, int niov, uint64_t offset);
/* A part of one compressed cluster. */
int qcow2_read_packed(struct qcow2 *q, uint64_t entry, const struct iovec *iov, int niov,
	uint64_t offset_in_cluster);

/* ---- qcow2_write.c ---- */
int qcow2_write(struct qcow2 *q, const struct iovec *iov, int niov, uint64_t offset);
int qcow2_discard(struct qcow2 *q, uint64_t offset, uint64_t length);
int qcow2_zero(struct qcow2 *q, uint64_t offset, uint64_t length);

#endif
