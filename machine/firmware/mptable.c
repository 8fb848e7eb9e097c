/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The MP table (Intel MultiProcessor Specification 1.4), for guests that do not read ACPI. */
#include "machine/firmware/firmware.h"

#include <errno.h>
#include <string.h>

#include <vmm/pc.h>

struct mp_pointer {
	char signature[4];
	uint32_t table;
	uint8_t length; /* in 16-byte units */
	uint8_t revision, checksum, features[5];
} __attribute__((packed));

struct mp_table {
	char signature[4];
	uint16_t length;
	uint8_t revision, checksum;
	char oem[8], product[12];
	uint32_t oem_table;
	uint16_t oem_table_size, entries;
	uint32_t lapic;
	uint16_t extended_length;
	uint8_t extended_checksum, reserved;
} __attribute__((packed));

struct mp_processor {
	uint8_t type, apic_id, apic_version, flags;
	uint32_t signature, features, reserved[2];
} __attribute__((packed));

struct mp_bus {
	uint8_t type, id;
	char name[6];
} __attribute__((packed));

struct mp_ioapic {
	uint8_t type, id, version, flags;
	uint32_t address;
} __attribute__((packed));

struct mp_interrupt {
	uint8_t type, kind;
	uint16_t flags;
	uint8_t bus, source, apic, pin;
} __attribute__((packed));

enum {
	MP_PROCESSOR,
	MP_BUS,
	MP_IOAPIC,
	MP_IO_INTERRUPT,
	MP_LOCAL_INTERRUPT,

	MP_ENABLED = 1,
	MP_BOOT_PROCESSOR = 2,
	MP_INT = 0,
	MP_NMI = 1,
	MP_EXTINT = 3,
	MP_ACTIVE_LOW = 3,
	MP_LEVEL = 3 << 2,

	BUS_PCI = 0,
	BUS_ISA = 1,
	ALL_LAPICS = 0xff,
	LAPIC_VERSION = 0x10,
	IOAPIC_VERSION = 0x11,

	/* Family 6; on-chip FPU, CX8 and APIC: only what readers of the table check. */
	CPU_SIGNATURE = 6 << 8,
	CPU_FEATURES = 1 << 0 | 1 << 8 | 1 << 9,
};

struct mp_writer {
	uint8_t *at;
	unsigned entries;
};

static void add(struct mp_writer *w, const void *entry, size_t len)
{
	memcpy(w->at, entry, len);
	w->at += len;
	w->entries++;
}

static void add_processors(struct mp_writer *w, unsigned ncpus)
{
	for (unsigned i = 0; i < ncpus; i++)
		add(w,
			&(struct mp_processor){
				.type = MP_PROCESSOR,
				.apic_id = (uint8_t)i,
				.apic_version = LAPIC_VERSION,
				.flags = MP_ENABLED | (i == 0 ? MP_BOOT_PROCESSOR : 0),
				.signature = CPU_SIGNATURE,
				.features = CPU_FEATURES,
			},
			sizeof(struct mp_processor));
}

/* The I/O APIC's id must differ from the processors'. */
static void add_buses(struct mp_writer *w, unsigned ioapic_id)
{
	static const struct mp_bus buses[] = {
		{MP_BUS, BUS_PCI, {'P', 'C', 'I', ' ', ' ', ' '}},
		{MP_BUS, BUS_ISA, {'I', 'S', 'A', ' ', ' ', ' '}},
	};
	const struct mp_ioapic ioapic = {
		MP_IOAPIC, (uint8_t)ioapic_id, IOAPIC_VERSION, MP_ENABLED, PC_IOAPIC_BASE};

	add(w, &buses[0], sizeof(buses[0]));
	add(w, &buses[1], sizeof(buses[1]));
	add(w, &ioapic, sizeof(ioapic));
}

/* Line 0 reaches pin 2, the PIC's output pin 0, all others the pin of their number. */
static void add_isa_lines(struct mp_writer *w, unsigned ioapic_id)
{
	for (unsigned line = 0; line < 16; line++) {
		bool cascade = line == 2;
		struct mp_interrupt entry = {
			.type = MP_IO_INTERRUPT,
			.kind = cascade ? MP_EXTINT : MP_INT,
			.flags = line == PC_SCI_IRQ ? MP_ACTIVE_LOW | MP_LEVEL : 0,
			.bus = BUS_ISA,
			.source = cascade ? 0 : (uint8_t)line,
			.apic = (uint8_t)ioapic_id,
			.pin = cascade		    ? 0
			       : line == PC_PIT_IRQ ? PC_PIT_IOAPIC_PIN
						    : (uint8_t)line,
		};

		add(w, &entry, sizeof(entry));
	}
}

/* INTA of each slot; other pins have no function behind them. */
static void add_pci_lines(struct mp_writer *w, unsigned ioapic_id)
{
	for (unsigned slot = 1; slot < 32; slot++)
		add(w,
			&(struct mp_interrupt){
				.type = MP_IO_INTERRUPT,
				.kind = MP_INT,
				.flags = MP_ACTIVE_LOW | MP_LEVEL,
				.bus = BUS_PCI,
				.source = (uint8_t)(slot << 2),
				.apic = (uint8_t)ioapic_id,
				.pin = (uint8_t)(PC_PCI_PIN_FIRST + PC_PCI_LINK(slot, 0)),
			},
			sizeof(struct mp_interrupt));
}

static void add_local_lines(struct mp_writer *w)
{
	static const struct mp_interrupt lines[] = {
		{MP_LOCAL_INTERRUPT, MP_EXTINT, 0, BUS_ISA, 0, ALL_LAPICS, 0},
		{MP_LOCAL_INTERRUPT, MP_NMI, 0, BUS_ISA, 0, ALL_LAPICS, 1},
	};

	add(w, &lines[0], sizeof(lines[0]));
	add(w, &lines[1], sizeof(lines[1]));
}

int mptable_write(const struct ram *ram, const struct firmware_facts *facts)
{
	uint8_t *base = ram_at(ram, FW_MPTABLE_BASE, FW_MPTABLE_SIZE);

	if (!base)
		return ENOSPC;
	struct mp_pointer *pointer = (struct mp_pointer *)base;
	struct mp_table *table = (struct mp_table *)(pointer + 1);
	struct mp_writer w = {.at = (uint8_t *)(table + 1)};

	add_processors(&w, facts->ncpus);
	add_buses(&w, facts->ncpus);
	add_isa_lines(&w, facts->ncpus);
	add_pci_lines(&w, facts->ncpus);
	add_local_lines(&w);

	*table = (struct mp_table){
		.length = (uint16_t)(w.at - (uint8_t *)table),
		.revision = 4,
		.entries = (uint16_t)w.entries,
		.lapic = PC_LAPIC_BASE,
	};
	memcpy(table->signature, "PCMP", 4);
	memcpy(table->oem, "HYVE    ", 8);
	memcpy(table->product, "HYVE PC     ", 12);
	table->checksum = firmware_checksum(table, table->length);

	*pointer = (struct mp_pointer){
		.table = FW_MPTABLE_BASE + sizeof(*pointer),
		.length = 1,
		.revision = 4,
	};
	memcpy(pointer->signature, "_MP_", 4);
	pointer->checksum = firmware_checksum(pointer, sizeof(*pointer));
	return 0;
}
