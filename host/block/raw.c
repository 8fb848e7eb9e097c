/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The image is the file. */
#include "host/block/image.h"

#include <errno.h>
#include <stdio.h>

static int raw_open(struct block_image *image)
{
	const struct block_file *file = image->file;

	image->size = file->size & ~511ull;
	image->granularity = file->physical;
	image->flush_is_sync = true;
	if (image->size == 0) {
		snprintf(image->why, image->why_size, "%s: is empty", file->path);
		return EINVAL;
	}
	/* A write of the last piece would make it longer. */
	if (!image->read_only && image->size % file->align != 0) {
		snprintf(image->why, image->why_size,
			"%s: nocache wants a size that is a multiple of %u here", file->path,
			file->align);
		return EINVAL;
	}
	return 0;
}

static void raw_close(struct block_image *image)
{
	(void)image;
}

static int raw_map(struct block_image *image, bool write, uint64_t offset, uint64_t length,
	struct block_extent *extent)
{
	(void)write;
	*extent = (struct block_extent){image->file, offset, length};
	return 0;
}

static void raw_leave(struct block_image *image)
{
	(void)image;
}

static int raw_read(struct block_image *image, const struct iovec *iov, int niov, uint64_t offset)
{
	return block_file_readv(image->file, iov, niov, offset);
}

static int raw_write(struct block_image *image, const struct iovec *iov, int niov, uint64_t offset)
{
	return block_file_writev(image->file, iov, niov, offset);
}

static int raw_flush(struct block_image *image)
{
	return block_file_sync(image->file);
}

static int raw_discard(struct block_image *image, uint64_t offset, uint64_t length)
{
	return block_file_punch(image->file, offset, length);
}

static int raw_zero(struct block_image *image, uint64_t offset, uint64_t length)
{
	return block_file_zero(image->file, offset, length, image->unmap);
}

const struct block_format block_raw = {
	.name = "raw",
	.open = raw_open,
	.close = raw_close,
	.map = raw_map,
	.leave = raw_leave,
	.read = raw_read,
	.write = raw_write,
	.flush = raw_flush,
	.discard = raw_discard,
	.zero = raw_zero,
};
