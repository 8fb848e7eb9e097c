/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Disk images: a file or device of the host, in one of several formats, behind requests that are
 * served while the caller goes on.  Nothing here knows of a guest; its memory comes as iovecs.
 */
#ifndef HOST_BLOCK_BLOCK_H
#define HOST_BLOCK_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "host/limit.h"

struct block;
struct event_loop;
struct log;

enum block_op {
	BLOCK_READ,
	BLOCK_WRITE,
	BLOCK_FLUSH,	    /* what was completed before is on the medium afterwards */
	BLOCK_DISCARD,	    /* the content is of no use any more; whole ranges may read as zeros */
	BLOCK_WRITE_ZEROES, /* reads as zeros afterwards */
	BLOCK_OPS,
};

enum block_engine { BLOCK_ENGINE_AUTO, BLOCK_ENGINE_URING, BLOCK_ENGINE_THREADS };

/*
 * The calls that reach the host's file, for tests that look at or break them.  Results are those of
 * the system calls, errno included.
 */
struct block_io {
	ssize_t (*preadv)(void *arg, int fd, const struct iovec *iov, int niov, uint64_t offset);
	ssize_t (*pwritev)(void *arg, int fd, const struct iovec *iov, int niov, uint64_t offset);
	int (*sync)(void *arg, int fd);
	int (*allocate)(void *arg, int fd, int mode, uint64_t offset, uint64_t length);
	void *arg;
};

struct block_settings {
	const char *path;
	const char *format; /* "raw", "qcow2"; NULL: what the file's first bytes say */
	bool nocache;	    /* O_DIRECT */
	bool sync;	    /* every write is on the medium when it is done */
	bool read_only;
	bool nodelete; /* no discard */
	bool pause_when_full;
	unsigned logical, physical; /* bytes of a sector; 0: as the host has it */
	enum block_engine engine;
	struct limit_rate bytes, ops;
	struct log *log;	   /* NULL: silence */
	const struct block_io *io; /* NULL: the host's own calls */
};

/*
 * Fills `settings` from words, those of bhyve(8) where it has them:
 *
 *	path=FILE  nocache  direct or sync  ro  nodelete  sectorsize=LOGICAL[/PHYSICAL]
 *	format=auto|raw|qcow2  engine=auto|io_uring|threads  onfull=error|pause
 *	iops=N[/BURST]  bps=N[KMGT][/BURST]
 *
 * `option(config, key)` is a key's value, or NULL.  The strings stay the caller's and are needed
 * until block_open() has returned.  0, or EINVAL and in `why` a line for the user.
 */
int block_settings_parse(struct block_settings *settings,
	const char *(*option)(const void *config, const char *key), const void *config, char *why,
	size_t why_size);

/* What an image is; constant while it is open. */
struct block_facts {
	uint64_t size;	  /* bytes, a multiple of `logical` */
	unsigned logical; /* bytes: offsets and lengths of requests are multiples of it */
	unsigned physical;
	unsigned granularity; /* bytes that a discard can free */
	bool read_only;
	bool can_discard;
	char serial[21]; /* made of the path: the same at each start */
	const char *format;
	const char *engine; /* "io_uring" or "threads" */
};

/*
 * One request, the caller's until done() is called.  Then it is the caller's again, also inside of
 * done().
 */
struct block_request {
	enum block_op op;
	uint64_t offset, length; /* bytes; both 0 for a flush */
	const struct iovec *iov; /* reads and writes: `length` bytes altogether */
	int niov;
	/*
	 * `error` is 0 or an errno: EINVAL (range or alignment), EROFS, EOPNOTSUPP (discard),
	 * ENOSPC, EIO and whatever the host said.  Any thread, also inside block_submit().
	 */
	void (*done)(struct block_request *request, int error);
	struct block_request *next; /* of a list; the image's while the request is */
};

/*
 * Opens an image and what it is based on.  Images are locked: one that is written to is nobody
 * else's, not even for reading.  On failure an errno, and in `why` a line for the user.
 */
int block_open(struct event_loop *loop, const struct block_settings *settings, struct block **block,
	char *why, size_t why_size);
/* Drains, writes out what is buffered, closes and frees. NULL is allowed. */
void block_close(struct block *block);

const struct block_facts *block_facts(const struct block *block);

/* Starts a list of requests, which may end in any order. Any thread. */
void block_submit(struct block *block, struct block_request *list);
/*
 * Waits until all requests have ended; those that wait for space on the host end in ENOSPC, those
 * that a limit holds back go on at once.  Nobody submits meanwhile.  Not from done().
 */
void block_drain(struct block *block);

/*
 * Whether a write may be done before it is on the medium (true at first, unless opened with
 * `sync`).  It counts for requests that are submitted later.  Any thread.
 */
void block_set_writeback(struct block *block, bool writeback);

struct block_stats {
	struct {
		uint64_t count, bytes, errors, time_ns;
	} op[BLOCK_OPS];
	/* Served by block_submit() itself, out of the host's cache and into it. */
	uint64_t inline_reads, inline_writes;
	uint64_t in_flight;
	uint64_t throttled; /* requests that a limit has held back */
	uint64_t full;	    /* times that the host's disk was full */
};

/* Any thread. */
void block_stats(struct block *block, struct block_stats *stats);

#endif
