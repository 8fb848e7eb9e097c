/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The header of a qcow2 image, and the tables that are kept in memory.  Nothing in it is believed:
 * what is allocated here is never more than the file is long.
 */
#include "host/block/qcow2.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/log.h"

enum {
	HEADER_MAX = 112,
	V2_LENGTH = 72,
	V3_LENGTH = 104,
	BACKING_MAX = 1023,
	L1_BYTES_MAX = 32 << 20,
	COUNTS_BYTES_MAX = 8 << 20,
};

enum { INCOMPATIBLE_DIRTY = 1, INCOMPATIBLE_CORRUPT = 2, INCOMPATIBLE_COMPRESSION = 8 };

/* As it stands in the file, big-endian. */
struct header {
	uint32_t magic, version;
	uint64_t backing_offset;
	uint32_t backing_size, cluster_bits;
	uint64_t size;
	uint32_t crypt_method, l1_size;
	uint64_t l1_offset, counts_offset;
	uint32_t counts_clusters, nsnapshots;
	uint64_t snapshots_offset;
	uint64_t incompatible, compatible, autoclear;
	uint32_t refcount_order, length;
	uint8_t compression, reserved[7];
};

_Static_assert(sizeof(struct header) == HEADER_MAX, "qcow2 header");

enum { AUTOCLEAR_AT = offsetof(struct header, autoclear) };

static void to_host(struct header *h)
{
	uint32_t *const words[] = {&h->magic, &h->version, &h->backing_size, &h->cluster_bits,
		&h->crypt_method, &h->l1_size, &h->counts_clusters, &h->nsnapshots,
		&h->refcount_order, &h->length};
	uint64_t *const longs[] = {&h->backing_offset, &h->size, &h->l1_offset, &h->counts_offset,
		&h->snapshots_offset, &h->incompatible, &h->compatible, &h->autoclear};

	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		*words[i] = be32toh(*words[i]);
	for (unsigned i = 0; i < sizeof(longs) / sizeof(longs[0]); i++)
		*longs[i] = be64toh(*longs[i]);
}

/* One line for the user. */
static int refuse(const struct qcow2 *q, int error, const char *what)
{
	snprintf(q->image->why, q->image->why_size, "%s: %s", q->file->path, what);
	return error;
}

static int check_features(const struct qcow2 *q, const struct header *h)
{
	static const char *const names[] = {
		[2] = "its data is in another file, which hyve does not read",
		[4] = "it has extended L2 entries, which hyve does not read",
	};
	uint64_t unknown = h->incompatible & ~(uint64_t)(INCOMPATIBLE_DIRTY | INCOMPATIBLE_CORRUPT |
							 INCOMPATIBLE_COMPRESSION);

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (names[i] && unknown >> i & 1)
			return refuse(q, ENOTSUP, names[i]);
	if (unknown)
		return refuse(q, ENOTSUP, "it needs a feature of qcow2 that hyve does not know");
	if (h->crypt_method)
		return refuse(q, ENOTSUP, "it is encrypted, which hyve does not read");
	if (h->compression > 1)
		return refuse(q, ENOTSUP, "its compression is not known");
	if (q->image->read_only)
		return 0;
	if (h->incompatible & INCOMPATIBLE_CORRUPT)
		return refuse(q, EIO,
			"it is marked as corrupt: open it with ro, or try qemu-img check -r all");
	if (h->incompatible & INCOMPATIBLE_DIRTY)
		return refuse(q, EIO,
			"it was not closed, and its refcounts are out of date: run qemu-img check "
			"-r all, or open it with ro");
	return 0;
}

static bool is_table(const struct qcow2 *q, uint64_t offset, uint64_t bytes)
{
	return (offset & (q->cluster_size - 1)) == 0 && offset != 0 &&
	       qcow2_is_inside(q, offset, bytes);
}

static bool overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
	return a < b + b_size && b < a + a_size;
}

static int check_tables(const struct qcow2 *q, const struct header *h)
{
	uint64_t l1_bytes = h->l1_size * 8ull;
	uint64_t counts_bytes = (uint64_t)h->counts_clusters << q->cluster_bits;
	unsigned per_l1 = q->cluster_bits + q->l2_bits;

	if (l1_bytes > L1_BYTES_MAX || counts_bytes > COUNTS_BYTES_MAX || counts_bytes == 0)
		return refuse(q, EFBIG, "its tables are too large, or missing");
	if (h->size >> 62 || (h->size + (1ull << per_l1) - 1) >> per_l1 > h->l1_size)
		return refuse(q, EINVAL, "its L1 table is too short for its size");
	if ((l1_bytes && !is_table(q, h->l1_offset, l1_bytes)) ||
		!is_table(q, h->counts_offset, counts_bytes))
		return refuse(q, EINVAL, "a table lies outside of the file: is it cut short?");
	if (l1_bytes && overlap(h->l1_offset, l1_bytes, h->counts_offset, counts_bytes))
		return refuse(q, EINVAL, "its tables overlap");
	if (h->nsnapshots && (h->snapshots_offset & (q->cluster_size - 1)) != 0)
		return refuse(q, EINVAL, "its snapshots lie where they cannot");
	return 0;
}

static int check_header(struct qcow2 *q, const struct header *h)
{
	if (h->version != 2 && h->version != 3)
		return refuse(q, ENOTSUP, "hyve reads versions 2 and 3 of qcow2 alone");
	if (h->cluster_bits < 9 || h->cluster_bits > 21)
		return refuse(q, EINVAL, "its clusters have a size that is not possible");
	q->version = h->version;
	q->cluster_bits = h->cluster_bits;
	q->cluster_size = 1u << h->cluster_bits;
	q->l2_bits = h->cluster_bits - 3;
	if (h->refcount_order > 6)
		return refuse(q, EINVAL, "its refcounts have a width that is not possible");
	q->refcount_order = h->refcount_order;
	q->count_bits = h->cluster_bits + 3 - h->refcount_order;
	if (h->length < (h->version == 2 ? V2_LENGTH : V3_LENGTH) || h->length > q->cluster_size)
		return refuse(q, EINVAL, "its header has a length that is not possible");
	q->zstd = h->compression == 1;
	q->snapshots_offset = h->nsnapshots ? h->snapshots_offset : 0;
	int error = check_features(q, h);

	return error ? error : check_tables(q, h);
}

static int read_table(struct qcow2 *q, struct qcow2_table *table, uint64_t offset, uint64_t entries)
{
	int error;

	*table = (struct qcow2_table){.offset = offset, .size = (uint32_t)entries};
	table->entry = calloc(entries ? entries : 1, 8);
	if (!table->entry)
		return refuse(q, ENOMEM, strerror(ENOMEM));
	error = block_file_read(q->file, table->entry, entries * 8, offset);
	if (error)
		return refuse(q, error, strerror(error));
	for (uint64_t i = 0; i < entries; i++)
		table->entry[i] = be64toh(table->entry[i]);
	return 0;
}

/* ---- the backing file ---- */

enum { EXTENSION_END = 0, EXTENSION_BACKING_FORMAT = 0xe2792aca };

/* Looks through the header's extensions for the format of the backing file. */
static int find_backing_format(
	struct qcow2 *q, const struct header *h, const uint8_t *head, char *format, size_t size)
{
	uint64_t at = h->length, end = h->backing_offset;

	format[0] = '\0';
	while (at + 8 <= end) {
		uint32_t type, length;

		memcpy(&type, head + at, 4);
		memcpy(&length, head + at + 4, 4);
		type = be32toh(type);
		length = be32toh(length);
		at += 8;
		if (type == EXTENSION_END)
			break;
		if (length > end - at)
			return refuse(q, EINVAL, "its header extensions are damaged");
		if (type == EXTENSION_BACKING_FORMAT)
			snprintf(format, size, "%.*s", (int)(length < size ? length : size - 1),
				(const char *)head + at);
		at += (length + 7) & ~7ull;
	}
	/* QEMU's names for a raw one on the host. */
	if (strcmp(format, "file") == 0 || strcmp(format, "host_device") == 0)
		snprintf(format, size, "raw");
	return 0;
}

/* A relative name counts from the folder of the image. */
static char *backing_path(const struct qcow2 *q, const char *name)
{
	const char *slash = strrchr(q->file->path, '/');
	size_t folder = slash && name[0] != '/' ? (size_t)(slash - q->file->path) + 1 : 0;
	char *path = malloc(folder + strlen(name) + 1);

	if (!path)
		return NULL;
	memcpy(path, q->file->path, folder);
	strcpy(path + folder, name);
	return path;
}

static int open_backing(struct qcow2 *q, const char *name, const char *format)
{
	struct block_settings settings = *q->image->settings;
	char *path;
	int error;

	if (strncmp(name, "file:", 5) == 0)
		name += 5;
	if (!name[0])
		return refuse(q, EINVAL, "the name of its backing file is damaged");
	if (strncmp(name, "json:", 5) == 0 || strstr(name, "://"))
		return refuse(q, ENOTSUP, "its backing file is not a file");
	path = backing_path(q, name);
	if (!path)
		return refuse(q, ENOMEM, strerror(ENOMEM));
	settings.path = path;
	settings.format = format[0] ? format : NULL;
	settings.read_only = true;
	error = block_image_open(
		&settings, q->image, &q->image->backing, q->image->why, q->image->why_size);
	free(path);
	return error;
}

static int read_backing(struct qcow2 *q, const struct header *h)
{
	char name[BACKING_MAX + 1] = "", format[32];
	uint8_t *head;
	int error;

	if (h->backing_offset == 0)
		return 0;
	if (h->backing_size == 0 || h->backing_size > BACKING_MAX ||
		h->backing_offset < h->length || h->backing_offset > q->cluster_size ||
		h->backing_size > q->cluster_size - h->backing_offset)
		return refuse(q, EINVAL, "the name of its backing file is damaged");
	head = malloc(q->cluster_size);
	if (!head)
		return refuse(q, ENOMEM, strerror(ENOMEM));
	error = block_file_read(q->file, head, q->cluster_size, 0);
	if (error)
		error = refuse(q, error, strerror(error));
	else
		error = find_backing_format(q, h, head, format, sizeof(format));
	if (!error)
		memcpy(name, head + h->backing_offset, h->backing_size);
	free(head);
	return error ? error : open_backing(q, name, format);
}

/* Extensions that we do not keep up with, such as bitmaps, shall not be believed any more. */
static int clear_autoclear(struct qcow2 *q, const struct header *h)
{
	uint64_t none = 0;
	int error;

	if (q->image->read_only || !h->autoclear)
		return 0;
	error = block_file_write(q->file, &none, sizeof(none), AUTOCLEAR_AT);
	if (!error)
		error = block_file_sync(q->file);
	return error ? refuse(q, error, strerror(error)) : 0;
}

int qcow2_read_header(struct qcow2 *q)
{
	struct header h;
	int error = block_file_read(q->file, &h, sizeof(h), 0);

	if (error)
		return refuse(q, error, strerror(error));
	to_host(&h);
	if (h.magic != 0x514649fb)
		return refuse(q, EINVAL, "is not a qcow2 image");
	if (h.version == 2) {
		h.incompatible = h.compatible = h.autoclear = 0;
		h.refcount_order = 4;
		h.length = V2_LENGTH;
	}
	/* The type of compression counts if the feature says so. */
	if (h.length < HEADER_MAX || !(h.incompatible & INCOMPATIBLE_COMPRESSION))
		h.compression = 0;
	error = check_header(q, &h);
	if (error)
		return error;
	q->image->size = h.size & ~511ull;
	q->image->granularity = q->cluster_size;
	error = read_table(q, &q->refcounts, h.counts_offset,
		((uint64_t)h.counts_clusters << q->cluster_bits) / 8);
	if (!error)
		error = read_table(q, &q->l1, h.l1_offset, h.l1_size);
	if (!error)
		error = read_backing(q, &h);
	return error ? error : clear_autoclear(q, &h);
}
