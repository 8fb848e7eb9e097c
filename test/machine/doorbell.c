/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A bare 64-bit guest for doorbell_test.c: brings up the devices in slots 3 and 4 through their
 * legacy interface, those in 5 and 6 through the modern one, one queue each, and rings each a
 * thousand times.  What it is about stands in DOORBELL_PHASE meanwhile.
 */
#include "test/machine/doorbell.h"

#include <vmm/pc.h>

enum {
	BAR0 = 0x10,
	CAPABILITIES = 0x34,
	COMMAND = 4,
	CAP_VENDOR = 9,
	CAP_COMMON = 1,
	CAP_NOTIFY = 2,

	/* Legacy header, and common structure (virtio 1.2, 4.1.4.8 and 4.1.4.3). */
	LEGACY_QUEUE_PAGE = 8,
	LEGACY_NOTIFY = 16,
	LEGACY_STATUS = 18,
	DRIVER_FEATURE_SELECT = 8,
	DRIVER_FEATURE = 12,
	STATUS = 20,
	QUEUE_ENABLE = 28,
	QUEUE_DESC = 32,
	QUEUE_DRIVER = 40,
	QUEUE_DEVICE = 48,
	ACKNOWLEDGE_AND_DRIVER = 3,
	FEATURES_OK = 8,
	DRIVER_OK = 4,

	RINGS = 0x800000, /* 64 KiB for each device */
};

static void out8(unsigned port, unsigned value)
{
	__asm__ volatile("outb %b0, %w1" : : "a"(value), "d"(port));
}

static void out16(unsigned port, unsigned value)
{
	__asm__ volatile("outw %w0, %w1" : : "a"(value), "d"(port));
}

static void out32(unsigned port, unsigned value)
{
	__asm__ volatile("outl %0, %w1" : : "a"(value), "d"(port));
}

static unsigned config(unsigned slot, unsigned offset)
{
	unsigned value;

	out32(PC_PCI_CONF_ADDR, 0x80000000u | slot << 11 | (offset & ~3u));
	__asm__ volatile("inl %w1, %0" : "=a"(value) : "d"(PC_PCI_CONF_DATA));
	return value >> offset % 4 * 8;
}

static void enable(unsigned slot)
{
	unsigned command = config(slot, COMMAND);

	out32(PC_PCI_CONF_DATA, (command & 0xffff) | 7);
}

static void poke(unsigned long at, unsigned value, unsigned size)
{
	if (size == 1)
		*(volatile unsigned char *)at = (unsigned char)value;
	else if (size == 2)
		*(volatile unsigned short *)at = (unsigned short)value;
	else
		*(volatile unsigned *)at = value;
}

static unsigned legacy_doorbell(unsigned slot)
{
	unsigned base = config(slot, BAR0) & ~3u;

	enable(slot);
	out8(base + LEGACY_STATUS, ACKNOWLEDGE_AND_DRIVER);
	out32(base + LEGACY_QUEUE_PAGE, (RINGS + slot * 0x10000) >> 12);
	out8(base + LEGACY_STATUS, ACKNOWLEDGE_AND_DRIVER | DRIVER_OK);
	return base + LEGACY_NOTIFY;
}

/* Where the structure of this type is. */
static unsigned structure(unsigned slot, unsigned type)
{
	for (unsigned at = config(slot, CAPABILITIES) & 0xff; at; at = config(slot, at + 1) & 0xff)
		if ((config(slot, at) & 0xff) == CAP_VENDOR &&
			(config(slot, at + 3) & 0xff) == type)
			return (config(slot, BAR0 + 4 * (config(slot, at + 4) & 0xff)) & ~15u) +
			       config(slot, at + 8);
	return 0;
}

static unsigned modern_doorbell(unsigned slot)
{
	unsigned long common = structure(slot, CAP_COMMON);
	unsigned rings = RINGS + slot * 0x10000;

	enable(slot);
	poke(common + STATUS, ACKNOWLEDGE_AND_DRIVER, 1);
	poke(common + DRIVER_FEATURE_SELECT, 1, 4);
	poke(common + DRIVER_FEATURE, 1, 4); /* VERSION_1 */
	poke(common + STATUS, ACKNOWLEDGE_AND_DRIVER | FEATURES_OK, 1);
	poke(common + QUEUE_DESC, rings, 4);
	poke(common + QUEUE_DRIVER, rings + 0x4000, 4);
	poke(common + QUEUE_DEVICE, rings + 0x8000, 4);
	poke(common + QUEUE_ENABLE, 1, 2);
	poke(common + STATUS, ACKNOWLEDGE_AND_DRIVER | FEATURES_OK | DRIVER_OK, 1);
	return structure(slot, CAP_NOTIFY);
}

static void phase(unsigned n)
{
	poke(DOORBELL_PHASE, n, 4);
}

/* Once to have it translated, then for the record. */
void main(void);
void main(void)
{
	unsigned port[2] = {legacy_doorbell(3), legacy_doorbell(4)};
	unsigned memory[2] = {modern_doorbell(5), modern_doorbell(6)};

	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 2; i++) {
			phase(round ? 1 + i : 0);
			for (unsigned n = 0; n < 1000; n++)
				out16(port[i], 0);
			phase(round ? 3 + i : 0);
			for (unsigned n = 0; n < 1000; n++)
				poke(memory[i], 0, 2);
		}
	}
	phase(0);
	poke(DOORBELL_PHASE + 4, port[0] && port[1] && memory[0] && memory[1], 4);
	out16(PC_PM1A_CNT, PC_SLP_TYP_S5 << 10 | PC_SLP_EN);
	for (;;)
		__asm__ volatile("hlt");
}

__asm__(".globl start\nstart: movl $0x600000, %esp\n call main\n");
