/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * What a BIOS would leave in memory: ACPI tables, the MP table, the BIOS data area and the memory
 * map. For machine/ and its tests.
 */
#ifndef MACHINE_FIRMWARE_FIRMWARE_H
#define MACHINE_FIRMWARE_FIRMWARE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine/ram.h"

struct device_unit;
struct vm;

/* Where things lie, as in bhyve: Linux and others search 0xE0000..0xFFFFF on 16-byte boundaries. */
enum {
	FW_EBDA_BASE = 0x9fc00, /* the top KiB of conventional memory */
	FW_EBDA_SIZE = 0x400,
	FW_BIOS_BASE = 0xe0000,
	FW_BIOS_END = 0x100000,
	FW_MPTABLE_BASE = 0xf0000,
	FW_MPTABLE_SIZE = 0x1000,
	FW_ACPI_BASE = 0xf2400,
	FW_STUBS_BASE = 0xffe00, /* interrupt handlers */
	FW_ACPI_SIZE = FW_STUBS_BASE - FW_ACPI_BASE,

	FW_PIC1_VECTOR = 0x08, /* where the interrupt controllers begin in real mode */
	FW_PIC2_VECTOR = 0x70,
};

/* The machine that the tables describe. */
struct firmware_facts {
	unsigned ncpus;
	uint32_t hpet_capabilities; /* low half of the register */
	const struct device_unit *const *units;
	size_t nunits;
};

/* BIOS data area: EBDA, conventional memory, serial ports. */
void bda_write(const struct ram *ram, const struct firmware_facts *facts);

/* The interrupt vector table, and handlers for it in the BIOS's segment. */
void ivt_write(const struct ram *ram);
/* The 8259s and the 8254 as a BIOS leaves them. No vcpu runs. EIO: they do not take it. */
int bios_set_up_chips(struct vm *vm);

/* *rsdp: guest address of the root pointer. ENOSPC: the tables outgrow their place. */
int acpi_write(const struct ram *ram, const struct firmware_facts *facts, uint64_t *rsdp);
/* Where a guest that sleeps wants to be woken, in real mode: from the tables; 0: nowhere. */
uint32_t acpi_waking_vector(const struct ram *ram);

/* ENOSPC as above. */
int mptable_write(const struct ram *ram, const struct firmware_facts *facts);

enum e820_type { E820_RAM = 1, E820_RESERVED = 2 };

/* As INT 15h AX=E820h and the Linux boot protocol lay it out. */
struct e820_entry {
	uint64_t address, size;
	uint32_t type;
} __attribute__((packed));

enum { E820_MAX = 8 };

/* Fills the map and returns the number of entries. */
unsigned e820_fill(const struct ram *ram, struct e820_entry map[E820_MAX]);

/* The byte that makes `len` bytes sum to zero. */
uint8_t firmware_checksum(const void *bytes, size_t len);

#endif
