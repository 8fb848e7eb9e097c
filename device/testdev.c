/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * What bhyve(8) calls pc-testdev: devices whose only purpose is that a guest which tests its CPU
 *can see that accesses arrive.  Ports and meanings are those of QEMU's pc-testdev and
 *isa-debug-exit, because that is what test suites were written for.
 *
 *	0xe0..0xe3		a latch of four bytes
 *	0xe4			unmaps the page whose address is written
 *	0xe8..0xeb		the latch, byte by byte whatever the access
 *	0xf4..0xf7		a write ends the machine with status (value << 1) | 1
 *	0x2000 + n		interrupt line n of the I/O APIC, 0 to 23: raised by what is not 0
 *	0xff000000		64 KiB that behave like memory and are a device
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/pc.h>

#include "device/device.h"

#define TESTDEV_MEMORY_BASE 0xff000000ull

enum {
	TESTDEV_LATCH = 0xe0,
	TESTDEV_UNMAP = 0xe4,
	TESTDEV_LATCH_BYTES = 0xe8,
	TESTDEV_EXIT = 0xf4,
	TESTDEV_LINES = 0x2000,
	TESTDEV_MEMORY_SIZE = 0x10000,
};

struct testdev {
	pthread_mutex_t lock;
	struct guest *guest;
	uint8_t latch[4];
	bool line[PC_IOAPIC_PINS];
	uint8_t memory[TESTDEV_MEMORY_SIZE];
};

/* ---- what behaves like memory ---- */

static uint64_t bytes_read(struct testdev *dev, const uint8_t *from, unsigned size)
{
	uint64_t value = 0;

	pthread_mutex_lock(&dev->lock);
	memcpy(&value, from, size);
	pthread_mutex_unlock(&dev->lock);
	return value;
}

static void bytes_write(struct testdev *dev, uint8_t *to, unsigned size, uint64_t value)
{
	pthread_mutex_lock(&dev->lock);
	memcpy(to, &value, size);
	pthread_mutex_unlock(&dev->lock);
}

static uint64_t latch_read(void *arg, uint64_t offset, unsigned size)
{
	struct testdev *dev = arg;

	return bytes_read(dev, dev->latch + offset, size);
}

static void latch_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct testdev *dev = arg;

	bytes_write(dev, dev->latch + offset, size, value);
}

static uint64_t memory_read(void *arg, uint64_t offset, unsigned size)
{
	struct testdev *dev = arg;

	return bytes_read(dev, dev->memory + offset, size);
}

static void memory_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct testdev *dev = arg;

	bytes_write(dev, dev->memory + offset, size, value);
}

/* ---- what only takes writes ---- */

static uint64_t nothing_read(void *arg, uint64_t offset, unsigned size)
{
	(void)arg;
	(void)offset;
	return device_all_ones(size);
}

static void unmap_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	(void)offset;
	(void)size;
	guest_unmap(((struct testdev *)arg)->guest, value);
}

static void exit_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	(void)offset;
	(void)size;
	guest_exit(((struct testdev *)arg)->guest, (uint8_t)(value << 1 | 1));
}

/* Under the lock: two vcpus must not count one change twice. */
static void line_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct testdev *dev = arg;
	bool asserted = value != 0;

	(void)size;
	pthread_mutex_lock(&dev->lock);
	if (dev->line[offset] != asserted) {
		dev->line[offset] = asserted;
		guest_irq(dev->guest, (unsigned)offset, asserted);
	}
	pthread_mutex_unlock(&dev->lock);
}

/* ---- the model ---- */

static int testdev_create(const struct device_args *args, void **out)
{
	struct testdev *dev = calloc(1, sizeof(*dev));

	if (!dev) {
		snprintf(args->why, args->why_size, "%s", strerror(ENOMEM));
		return ENOMEM;
	}
	pthread_mutex_init(&dev->lock, NULL);
	dev->guest = args->guest;
	*out = dev;
	return 0;
}

static void testdev_destroy(void *arg)
{
	struct testdev *dev = arg;

	pthread_mutex_destroy(&dev->lock);
	free(dev);
}

static const struct guest_io latch_io = {.width = 4, .read = latch_read, .write = latch_write};
static const struct guest_io latch_bytes_io = {
	.width = 1, .read = latch_read, .write = latch_write};
static const struct guest_io unmap_io = {.width = 4, .read = nothing_read, .write = unmap_write};
static const struct guest_io exit_io = {.width = 4, .read = nothing_read, .write = exit_write};
static const struct guest_io lines_io = {.width = 1, .read = nothing_read, .write = line_write};
static const struct guest_io memory_io = {.width = 8, .read = memory_read, .write = memory_write};

static const struct device_unit testdev_units[] = {
	{
		.name = "pc-testdev",
		.config = "lpc",
		.required = "pc-testdev",
		.res =
			{
				{DEVICE_RES_PORTS, TESTDEV_LATCH, 4, &latch_io, true},
				{DEVICE_RES_PORTS, TESTDEV_UNMAP, 4, &unmap_io, true},
				{DEVICE_RES_PORTS, TESTDEV_LATCH_BYTES, 4, &latch_bytes_io, true},
				{DEVICE_RES_PORTS, TESTDEV_EXIT, 4, &exit_io, true},
				{DEVICE_RES_PORTS, TESTDEV_LINES, PC_IOAPIC_PINS, &lines_io, true},
				{DEVICE_RES_MEMORY, TESTDEV_MEMORY_BASE, TESTDEV_MEMORY_SIZE,
					&memory_io, true},
			},
	},
};

const struct device_model device_testdev = {
	.name = "pc-testdev",
	.units = testdev_units,
	.nunits = sizeof(testdev_units) / sizeof(testdev_units[0]),
	.create = testdev_create,
	.destroy = testdev_destroy,
};
