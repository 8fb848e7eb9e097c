/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * What the parts of host/block/ share: files of the host, formats, and the engine.  Only this
 * folder includes it, and its tests.
 */
#ifndef HOST_BLOCK_IMAGE_H
#define HOST_BLOCK_IMAGE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "host/block/block.h"

/* ---- iovecs ---- */

/* Writes to `out` (room for `niov`) the part of an iovec list; returns its number of pieces. */
int block_iov_slice(
	const struct iovec *iov, int niov, uint64_t skip, uint64_t length, struct iovec *out);
void block_iov_zero(const struct iovec *iov, int niov);
void block_iov_read(const struct iovec *iov, int niov, void *to, size_t size);
void block_iov_write(const struct iovec *iov, int niov, const void *from, size_t size);
uint64_t block_iov_size(const struct iovec *iov, int niov);
/* Moves the start of the list `count` bytes on. */
void block_iov_advance(struct iovec **iov, int *niov, size_t count);

/* ---- files ---- */

struct block_file {
	int fd;
	bool is_device, read_only;
	unsigned align;		    /* O_DIRECT: of offsets, lengths and memory; 1 otherwise */
	unsigned logical, physical; /* of the device; 512 for files */
	_Atomic uint64_t size;	    /* bytes; grows as the file is written */
	dev_t dev;
	ino_t ino;
	const struct block_io *io;
	bool plain; /* the host's own calls: the engine may make them in its way */
	pthread_mutex_t partial_lock; /* writes of parts of what is aligned come one at a time */
	char path[];
};

struct block_file_args {
	const char *path;
	bool nocache, sync, read_only;
	const struct block_io *io;
	char *why;
	size_t why_size;
};

/* Opens and locks. EBUSY: somebody else has it. */
int block_file_open(const struct block_file_args *args, struct block_file **file);
void block_file_close(struct block_file *file);
/* Which file it would be. 0 or an errno. */
int block_file_identify(const char *path, dev_t *dev, ino_t *ino);

/* All bytes or an errno; what is beyond the end reads as zeros. They wait. */
int block_file_readv(struct block_file *file, const struct iovec *iov, int niov, uint64_t offset);
int block_file_writev(struct block_file *file, const struct iovec *iov, int niov, uint64_t offset);
int block_file_read(struct block_file *file, void *to, size_t size, uint64_t offset);
int block_file_write(struct block_file *file, const void *from, size_t size, uint64_t offset);
int block_file_sync(struct block_file *file);
/* The range reads as zeros; its space may be given back if `unmap`. */
int block_file_zero(struct block_file *file, uint64_t offset, uint64_t length, bool unmap);
/* Gives space back, if the host can. EOPNOTSUPP: it cannot. */
int block_file_punch(struct block_file *file, uint64_t offset, uint64_t length);
/* Bytes up to `end` are there. */
void block_file_grown(struct block_file *file, uint64_t end);
/* Whether O_DIRECT takes it as it is. */
bool block_file_is_aligned(
	const struct block_file *file, const struct iovec *iov, int niov, uint64_t offset);

extern const struct block_io block_host_io;

/* ---- formats ---- */

struct block_image;

/* Where a part of an image lies. */
struct block_extent {
	struct block_file *file; /* NULL: it reads as zeros */
	uint64_t offset;	 /* in the file */
	uint64_t length;
};

struct block_format {
	const char *name;
	/* `head` is the file's first bytes. NULL: whatever no other format knows. */
	bool (*probe)(const uint8_t *head, size_t size);
	/* Takes over the file on success. */
	int (*open)(struct block_image *image);
	void (*close)(struct block_image *image);
	/*
	 * Where the range at `offset` begins to lie, without waiting.  For a write, only what may
	 * be overwritten where it is.  EAGAIN: perform() has to do it.
	 */
	int (*map)(struct block_image *image, bool write, uint64_t offset, uint64_t length,
		struct block_extent *extent);
	/* Between both, what map() said stays true. May be NULL. enter() does not wait, and may
	 * fail. */
	bool (*enter)(struct block_image *image);
	void (*leave)(struct block_image *image);
	/* The whole operation, at once, on a thread that may wait. */
	int (*read)(struct block_image *image, const struct iovec *iov, int niov, uint64_t offset);
	int (*write)(struct block_image *image, const struct iovec *iov, int niov, uint64_t offset);
	int (*flush)(struct block_image *image);
	int (*discard)(struct block_image *image, uint64_t offset, uint64_t length);
	int (*zero)(struct block_image *image, uint64_t offset, uint64_t length);
};

extern const struct block_format block_raw, block_qcow2;

struct block_image {
	const struct block_format *format;
	struct block_file *file;
	struct block_image *backing; /* NULL: none */
	uint64_t size;		     /* bytes */
	unsigned granularity;	     /* bytes of a cluster */
	bool read_only;
	bool flush_is_sync; /* a flush is nothing but a sync of the file */
	bool probed;	    /* nobody named the format */
	bool unmap;	    /* space may be given back to the host */
	void *state;	    /* the format's */
	struct log *log;
	/* For open() alone. */
	const struct block_settings *settings;
	const struct block_image *above; /* whose backing file this is */
	unsigned depth;
	char *why;
	size_t why_size;
};

/* `settings` holds path, format and how to open; `above` is NULL for the guest's own image. */
int block_image_open(const struct block_settings *settings, const struct block_image *above,
	struct block_image **image, char *why, size_t why_size);
void block_image_close(struct block_image *image);
/* As the format's, but beyond the end are zeros. */
int block_image_read(struct block_image *image, const struct iovec *iov, int niov, uint64_t offset);
/* Whether these bytes are some format's beginning. */
bool block_has_magic(const uint8_t *head, size_t size);

/* ---- engine ---- */

enum block_engine_kind { BLOCK_DO_READ, BLOCK_DO_WRITE, BLOCK_DO_SYNC, BLOCK_DO_CALL };

/* A piece of work; `file` is plain and the range aligned for it. */
struct block_work {
	enum block_engine_kind kind;
	struct block_file *file;
	uint64_t offset;
	struct iovec *iov; /* changed on the way */
	int niov;
	/* Once, on a thread of the engine. For CALL this is the work, and error is 0. */
	void (*done)(struct block_work *work, int error);
	struct block_work *next;
};

struct block_engine_state;

/* `kind` as asked for by the user. */
int block_engine_create(
	enum block_engine kind, struct block_engine_state **engine, char *why, size_t why_size);
/* Nothing is in flight. */
void block_engine_destroy(struct block_engine_state *engine);
void block_engine_submit(struct block_engine_state *engine, struct block_work *list);
const char *block_engine_name(const struct block_engine_state *engine);

/* io_uring alone. NULL: the host does not have or allow it. */
struct block_uring;
int block_uring_create(struct block_uring **uring);
void block_uring_destroy(struct block_uring *uring);
void block_uring_submit(struct block_uring *uring, struct block_work *list);

#endif
