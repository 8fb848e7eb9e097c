/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The memory map and the BIOS data area. */
#include "machine/firmware/firmware.h"

#include <string.h>

#include "device/device.h"

uint8_t firmware_checksum(const void *bytes, size_t len)
{
	const uint8_t *p = bytes;
	uint8_t sum = 0;

	while (len-- > 0)
		sum = (uint8_t)(sum + *p++);
	return (uint8_t)-sum;
}

unsigned e820_fill(const struct ram *ram, struct e820_entry map[E820_MAX])
{
	unsigned n = 0;

	map[n++] = (struct e820_entry){0, FW_EBDA_BASE, E820_RAM};
	map[n++] = (struct e820_entry){FW_EBDA_BASE, FW_BIOS_END - FW_EBDA_BASE, E820_RESERVED};
	if (ram->low_size > FW_BIOS_END)
		map[n++] = (struct e820_entry){FW_BIOS_END, ram->low_size - FW_BIOS_END, E820_RAM};
	map[n++] = (struct e820_entry){PC_ECAM_BASE, PC_ECAM_SIZE, E820_RESERVED};
	if (ram->high_size > 0)
		map[n++] = (struct e820_entry){PC_HIGHMEM_BASE, ram->high_size, E820_RAM};
	return n;
}

static void put16(uint8_t *p, unsigned value)
{
	p[0] = (uint8_t)value;
	p[1] = (uint8_t)(value >> 8);
}

enum {
	BDA_BASE = 0x400,
	BDA_COM = 0x00,	 /* four port numbers */
	BDA_EBDA = 0x0e, /* segment */
	BDA_EQUIPMENT = 0x10,
	BDA_MEMORY = 0x13, /* KiB below the EBDA */
	EBDA_KIB = 0,	   /* the EBDA's first byte is its size in KiB */
};

void bda_write(const struct ram *ram, const struct firmware_facts *facts)
{
	uint8_t *bda = ram_at(ram, BDA_BASE, 0x100);
	uint8_t *ebda = ram_at(ram, FW_EBDA_BASE, FW_EBDA_SIZE);
	unsigned ncom = 0;

	if (!bda || !ebda)
		return;
	for (size_t i = 0; i < facts->nunits; i++)
		if (strncmp(facts->units[i]->name, "com", 3) == 0 && ncom < 4)
			put16(bda + BDA_COM + 2 * ncom++, (unsigned)facts->units[i]->res[0].base);
	put16(bda + BDA_EQUIPMENT, ncom << 9);
	put16(bda + BDA_EBDA, FW_EBDA_BASE >> 4);
	put16(bda + BDA_MEMORY, FW_EBDA_BASE >> 10);
	ebda[EBDA_KIB] = FW_EBDA_SIZE >> 10;
}
