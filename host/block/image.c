/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Opens an image in the format that it has, and what it is based on. */
#include "host/block/image.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/log.h"

enum { HEAD_SIZE = 512, DEPTH_MAX = 64 };

/* The last one takes what no other knows. */
static const struct block_format *const formats[] = {&block_qcow2, &block_raw};
enum { FORMATS = sizeof(formats) / sizeof(formats[0]) };

bool block_has_magic(const uint8_t *head, size_t size)
{
	for (unsigned i = 0; i < FORMATS; i++)
		if (formats[i]->probe && formats[i]->probe(head, size))
			return true;
	return false;
}

static int choose_format(struct block_image *image, const char *name)
{
	uint8_t head[HEAD_SIZE];

	if (!name) {
		int error = block_file_read(image->file, head, sizeof(head), 0);

		if (error) {
			snprintf(image->why, image->why_size, "%s: %s", image->file->path,
				strerror(error));
			return error;
		}
		image->probed = true;
	}
	for (unsigned i = 0; i < FORMATS && !image->format; i++)
		if (name ? strcmp(formats[i]->name, name) == 0
			 : !formats[i]->probe || formats[i]->probe(head, sizeof(head)))
			image->format = formats[i];
	if (image->format)
		return 0;
	snprintf(image->why, image->why_size, "%s: the format \"%.32s\" is not known",
		image->file->path, name);
	return ENOTSUP;
}

/*
 * A chain that bites its own tail, or has no end.  Asked before the file is opened, which its own
 * lock would not allow.
 */
static int check_chain(const struct block_image *image)
{
	const char *path = image->settings->path;
	dev_t dev;
	ino_t ino;

	if (image->depth > DEPTH_MAX) {
		snprintf(image->why, image->why_size, "%s: more than %d images in a chain", path,
			DEPTH_MAX);
		return ELOOP;
	}
	if (block_file_identify(path, &dev, &ino) != 0)
		return 0; /* opening it says why */
	for (const struct block_image *above = image->above; above; above = above->above) {
		if (above->file->dev == dev && above->file->ino == ino) {
			snprintf(image->why, image->why_size,
				"%s: is based on itself, by way of backing files", path);
			return ELOOP;
		}
	}
	return 0;
}

/* As bhyve does it: what cannot be written is opened for reading, and the guest sees that. */
static int open_file(struct block_image *image)
{
	const struct block_settings *s = image->settings;
	struct block_file_args args = {
		.path = s->path,
		.nocache = s->nocache,
		.sync = s->sync,
		.read_only = image->read_only,
		.io = s->io,
		.why = image->why,
		.why_size = image->why_size,
	};
	int error = block_file_open(&args, &image->file);

	if (args.read_only || (error != EACCES && error != EROFS && error != EPERM))
		return error;
	args.read_only = image->read_only = true;
	error = block_file_open(&args, &image->file);
	if (!error)
		log_warn(image->log, "block", "%s: cannot be written, so the disk is read-only",
			s->path);
	return error;
}

int block_image_open(const struct block_settings *settings, const struct block_image *above,
	struct block_image **out, char *why, size_t why_size)
{
	struct block_image *image = calloc(1, sizeof(*image));
	int error;

	if (!image) {
		snprintf(why, why_size, "%s: %s", settings->path, strerror(ENOMEM));
		return ENOMEM;
	}
	*image = (struct block_image){
		.read_only = settings->read_only || above,
		.unmap = !settings->nodelete,
		.log = settings->log,
		.settings = settings,
		.above = above,
		.depth = above ? above->depth + 1 : 0,
		.why = why,
		.why_size = why_size,
	};
	error = check_chain(image);
	if (!error)
		error = open_file(image);
	if (error)
		goto fail;
	error = choose_format(image, settings->format);
	if (!error)
		error = image->format->open(image);
	if (error)
		goto fail_close;
	*out = image;
	return 0;

fail_close:
	block_file_close(image->file);
fail:
	free(image);
	return error;
}

void block_image_close(struct block_image *image)
{
	if (!image)
		return;
	image->format->close(image);
	block_image_close(image->backing);
	block_file_close(image->file);
	free(image);
}

int block_image_read(struct block_image *image, const struct iovec *iov, int niov, uint64_t offset)
{
	uint64_t length = block_iov_size(iov, niov);

	if (offset < image->size && length <= image->size - offset)
		return image->format->read(image, iov, niov, offset);
	uint64_t inside = offset < image->size ? image->size - offset : 0;
	struct iovec *part = malloc(((size_t)niov + 1) * sizeof(*part));
	int error = 0;

	if (!part)
		return ENOMEM;
	if (inside) {
		int n = block_iov_slice(iov, niov, 0, inside, part);

		error = image->format->read(image, part, n, offset);
	}
	block_iov_zero(part, block_iov_slice(iov, niov, inside, length - inside, part));
	free(part);
	return error;
}
