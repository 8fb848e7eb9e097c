/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * QEMU's firmware configuration device (its docs/specs/fw_cfg): what firmware and test kernels ask
 * about the machine before they have any tables.  A key goes to the selector, the item's bytes come
 * out of the data port one by one, zeroes behind its end.  There is no DMA interface, and nothing
 * can be written.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/pc.h>

#include "device/device.h"

enum {
	KEY_SIGNATURE = 0x00,
	KEY_ID = 0x01,
	KEY_RAM_SIZE = 0x03,
	KEY_NB_CPUS = 0x05,
	KEY_MAX_CPUS = 0x0f,
	KEY_FILE_DIR = 0x19,
	KEY_FILE_FIRST = 0x20,
	KEY_MASK = 0x3fff, /* the bits above: write (gone since QEMU 2.4), and architecture-local */
	KEY_ARCH = 0x8000,

	ID_TRADITIONAL = 1, /* of KEY_ID */
	FILE_NAME_MAX = 56,
	FILES_MAX = 1,
};

/* The directory: big endian, as everything about files is. */
struct file_entry {
	uint8_t size[4], key[2], reserved[2];
	char name[FILE_NAME_MAX];
};

struct directory {
	uint8_t count[4];
	struct file_entry files[FILES_MAX];
};

_Static_assert(sizeof(struct directory) == 4 + 64 * FILES_MAX, "docs/specs/fw_cfg");

struct item {
	unsigned key;
	const void *bytes;
	size_t size;
};

enum { ITEMS = 7 };

struct fwcfg {
	pthread_mutex_t lock;
	uint16_t key;
	size_t next; /* byte of the item */
	uint32_t id;
	uint64_t memory;
	uint16_t ncpus;
	struct directory directory;
	struct item items[ITEMS];
};

static void put_be(uint8_t *to, uint64_t value, unsigned bytes)
{
	while (bytes-- > 0) {
		to[bytes] = (uint8_t)value;
		value >>= 8;
	}
}

static uint8_t next_byte(struct fwcfg *f)
{
	size_t at = f->next++;

	for (unsigned i = 0; i < ITEMS; i++)
		if (f->items[i].bytes && f->items[i].key == f->key)
			return at < f->items[i].size ? ((const uint8_t *)f->items[i].bytes)[at] : 0;
	return 0;
}

/* The selector is a word at the first port, the data a byte at the second. */
static uint64_t fwcfg_read(void *arg, uint64_t offset, unsigned size)
{
	struct fwcfg *f = arg;
	uint8_t byte;

	if (offset != 1 || size != 1)
		return 0;
	pthread_mutex_lock(&f->lock);
	byte = next_byte(f);
	pthread_mutex_unlock(&f->lock);
	return byte;
}

static void fwcfg_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct fwcfg *f = arg;

	if (offset != 0 || size != 2)
		return;
	pthread_mutex_lock(&f->lock);
	f->key = (uint16_t)(value & (KEY_MASK | KEY_ARCH));
	f->next = 0;
	pthread_mutex_unlock(&f->lock);
}

static void fill(struct fwcfg *f, const struct guest_facts *facts)
{
	const struct item items[ITEMS] = {
		{KEY_SIGNATURE, "QEMU", 4},
		{KEY_ID, &f->id, sizeof(f->id)},
		{KEY_RAM_SIZE, &f->memory, sizeof(f->memory)},
		{KEY_NB_CPUS, &f->ncpus, sizeof(f->ncpus)},
		{KEY_MAX_CPUS, &f->ncpus, sizeof(f->ncpus)},
		{KEY_FILE_DIR, &f->directory, sizeof(f->directory)},
		{KEY_FILE_FIRST, facts->e820, facts->e820_size},
	};

	f->id = ID_TRADITIONAL;
	f->memory = facts->memory;
	f->ncpus = (uint16_t)facts->ncpus;
	put_be(f->directory.count, FILES_MAX, 4);
	put_be(f->directory.files[0].size, facts->e820_size, 4);
	put_be(f->directory.files[0].key, KEY_FILE_FIRST, 2);
	snprintf(f->directory.files[0].name, FILE_NAME_MAX, "etc/e820");
	memcpy(f->items, items, sizeof(items));
}

static int fwcfg_create(const struct device_args *args, void **dev)
{
	const char *kind = args->option(args->config, "fwcfg");
	struct fwcfg *f;

	if (kind && strcmp(kind, "qemu") != 0) {
		snprintf(args->why, args->why_size, "lpc.fwcfg=%.40s: only qemu is there", kind);
		return EINVAL;
	}
	f = calloc(1, sizeof(*f));
	if (!f) {
		snprintf(args->why, args->why_size, "%s", strerror(ENOMEM));
		return ENOMEM;
	}
	pthread_mutex_init(&f->lock, NULL);
	fill(f, &args->guest->facts);
	*dev = f;
	return 0;
}

static void fwcfg_destroy(void *arg)
{
	struct fwcfg *f = arg;

	pthread_mutex_destroy(&f->lock);
	free(f);
}

static const struct guest_io fwcfg_io = {.width = 2, .read = fwcfg_read, .write = fwcfg_write};

static const struct device_unit fwcfg_units[] = {
	{
		.name = "fwcfg",
		.config = "lpc",
		.res = {{DEVICE_RES_PORTS, PC_FWCFG_PORT, 2, &fwcfg_io, true}},
	},
};

const struct device_model device_fwcfg = {
	.name = "fwcfg",
	.units = fwcfg_units,
	.nunits = sizeof(fwcfg_units) / sizeof(fwcfg_units[0]),
	.create = fwcfg_create,
	.destroy = fwcfg_destroy,
};
