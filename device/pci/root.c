/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The root: functions, where their BARs and pins go, and both ways into configuration space. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include <vmm/pc.h>

#include "device/device.h"
#include "device/pci/function.h"
#include "device/pci/pci.h"

#define CONFIG_ENABLE	0x80000000u
#define CONFIG_WRITABLE 0x80fffffcu /* the rest of CF8 reads as zero (PCI 3.0, 3.2.2.3.2) */
#define BAR_PORTS_BASE	0xc000u	    /* far from ISA's */

enum { PIRQ_NONE = 0x80, PIRQ_LINE = 0x0f, PIRQ_WRITABLE = 0x8f };

struct pci_root {
	struct guest *guest;
	struct pci_function *functions[PCI_SLOTS * PCI_FUNCTIONS];

	pthread_mutex_t lock; /* all below */
	uint32_t address;     /* CF8 */
	/* A link is an I/O APIC pin, and by its PIRQ register an ISA line too. */
	unsigned asserted[PCI_LINKS]; /* by how many functions */
	uint8_t pirq[PCI_LINKS];
};

int pci_root_create(struct guest *guest, struct pci_root **out)
{
	struct pci_root *root = calloc(1, sizeof(*root));

	if (!root)
		return ENOMEM;
	root->guest = guest;
	for (unsigned i = 0; i < PCI_LINKS; i++)
		root->pirq[i] = PIRQ_NONE;
	pthread_mutex_init(&root->lock, NULL);
	*out = root;
	return 0;
}

void pci_root_destroy(struct pci_root *root)
{
	if (!root)
		return;
	for (unsigned i = 0; i < PCI_SLOTS * PCI_FUNCTIONS; i++)
		pci_function_destroy(root->functions[i]);
	pthread_mutex_destroy(&root->lock);
	free(root);
}

int pci_root_add(struct pci_root *root, unsigned slot, unsigned func, struct pci_function **f)
{
	struct pci_function **place = &root->functions[slot * PCI_FUNCTIONS + func];

	if (*place)
		return EEXIST;
	int error = pci_function_create(root, root->guest, slot, func, place);

	*f = *place;
	return error;
}

/* ---- what firmware does ---- */

/* The next address for a BAR; false: there is none below the limit. */
static bool bar_place(uint64_t *next, uint64_t limit, uint64_t size, uint64_t *address)
{
	*address = (*next + size - 1) & ~(size - 1);
	if (*address >= limit || size > limit - *address)
		return false;
	*next = *address + size;
	return true;
}

static bool assign_bars(struct pci_function *f, uint64_t *ports, uint64_t *memory)
{
	for (unsigned i = 0; i < PCI_BARS; i++) {
		const struct pci_bar *bar = &f->bars[i];
		bool io = bar->kind == PCI_BAR_IO;
		uint64_t address;

		if (bar->kind == PCI_BAR_NONE)
			continue;
		if (!bar_place(io ? ports : memory, io ? 0x10000 : PC_PCI_HOLE_LIMIT,
			    bar->range.size, &address))
			return false;
		pci_function_write(f, PCI_BAR0 + 4 * i, 4, (uint32_t)address);
	}
	return true;
}

static void enable(struct pci_root *root, struct pci_function *f)
{
	unsigned link = PC_PCI_LINK(f->slot, 0);

	if (f->config[PCI_INT_PIN])
		pci_function_write(f, PCI_INT_LINE, 1, pci_pirq(root, link) & PIRQ_LINE);
	pci_function_write(
		f, PCI_COMMAND, 2, PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
}

int pci_root_assign(struct pci_root *root)
{
	static const uint8_t lines[PCI_LINKS] = PC_PIRQ_LINES;
	uint64_t ports = BAR_PORTS_BASE, memory = PC_PCI_HOLE_BASE;

	for (unsigned i = 0; i < PCI_LINKS; i++) {
		guest_irq_level(root->guest, lines[i]);
		pci_pirq_set(root, i, lines[i]);
	}
	for (unsigned i = 0; i < PCI_SLOTS * PCI_FUNCTIONS; i++) {
		struct pci_function *f = root->functions[i];

		if (!f)
			continue;
		if (!assign_bars(f, &ports, &memory))
			return ENOSPC;
		enable(root, f);
		if (i % PCI_FUNCTIONS)
			root->functions[i - i % PCI_FUNCTIONS]->config[PCI_HEADER_TYPE] |=
				PCI_MULTIFUNCTION;
	}
	return 0;
}

/* ---- pins ---- */

static void isa_line(struct pci_root *root, unsigned link, bool asserted)
{
	if (!(root->pirq[link] & PIRQ_NONE))
		guest_irq(root->guest, root->pirq[link] & PIRQ_LINE, asserted);
}

void pci_root_intx(struct pci_root *root, unsigned slot, bool asserted)
{
	unsigned link = PC_PCI_LINK(slot, 0);

	pthread_mutex_lock(&root->lock);
	root->asserted[link] += asserted ? 1 : -1u;
	guest_irq(root->guest, PC_PCI_PIN_FIRST + link, asserted);
	if (root->asserted[link] == asserted) /* the first went up, or the last down */
		isa_line(root, link, asserted);
	pthread_mutex_unlock(&root->lock);
}

uint8_t pci_pirq(struct pci_root *root, unsigned link)
{
	pthread_mutex_lock(&root->lock);
	uint8_t value = root->pirq[link];

	pthread_mutex_unlock(&root->lock);
	return value;
}

/* The timer's line, the cascade and the clock's cannot be had, as on Intel's router. */
static bool can_route(uint8_t value)
{
	static const uint16_t lines = 0xdef8; /* 3 to 7, 9 to 12, 14, 15 */

	return value & PIRQ_NONE || lines >> (value & PIRQ_LINE) & 1;
}

void pci_pirq_set(struct pci_root *root, unsigned link, uint8_t value)
{
	value &= PIRQ_WRITABLE;
	if (!can_route(value))
		value |= PIRQ_NONE;
	pthread_mutex_lock(&root->lock);
	if (root->asserted[link])
		isa_line(root, link, false);
	root->pirq[link] = value;
	if (root->asserted[link])
		isa_line(root, link, true);
	pthread_mutex_unlock(&root->lock);
}

/* ---- configuration space ---- */

static struct pci_function *find(
	struct pci_root *root, unsigned bus, unsigned devfn, unsigned reg, unsigned size)
{
	/* A conventional function decodes no extended registers. */
	if (bus != 0 || reg + size > PCI_CONFIG_SIZE)
		return NULL;
	return root->functions[devfn];
}

uint32_t pci_config_read(
	struct pci_root *root, unsigned bus, unsigned devfn, unsigned reg, unsigned size)
{
	struct pci_function *f = find(root, bus, devfn, reg, size);

	return f ? pci_function_read(f, reg, size) : (uint32_t)device_all_ones(size);
}

void pci_config_write(struct pci_root *root, unsigned bus, unsigned devfn, unsigned reg,
	unsigned size, uint32_t value)
{
	struct pci_function *f = find(root, bus, devfn, reg, size);

	if (f)
		pci_function_write(f, reg, size, value);
}

/* ---- configuration mechanism #1 ---- */

/* CF8 is a register for whole dwords; anything smaller is not for it. */
static uint64_t address_read(void *arg, uint64_t offset, unsigned size)
{
	struct pci_root *root = arg;

	if (offset != 0 || size != 4)
		return device_all_ones(size);
	pthread_mutex_lock(&root->lock);
	uint32_t address = root->address;

	pthread_mutex_unlock(&root->lock);
	return address;
}

static void address_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct pci_root *root = arg;

	if (offset != 0 || size != 4)
		return;
	pthread_mutex_lock(&root->lock);
	root->address = (uint32_t)value & CONFIG_WRITABLE;
	pthread_mutex_unlock(&root->lock);
}

static uint64_t data_read(void *arg, uint64_t offset, unsigned size)
{
	uint32_t a = (uint32_t)address_read(arg, 0, 4);

	if (!(a & CONFIG_ENABLE))
		return device_all_ones(size);
	return pci_config_read(
		arg, a >> 16 & 0xff, a >> 8 & 0xff, (a & 0xfc) + (unsigned)offset, size);
}

static void data_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	uint32_t a = (uint32_t)address_read(arg, 0, 4);

	if (a & CONFIG_ENABLE)
		pci_config_write(arg, a >> 16 & 0xff, a >> 8 & 0xff, (a & 0xfc) + (unsigned)offset,
			size, (uint32_t)value);
}

const struct guest_io pci_address_io = {.width = 4, .read = address_read, .write = address_write};
const struct guest_io pci_data_io = {.width = 4, .read = data_read, .write = data_write};

/* ---- ECAM: bus 27:20, device and function 19:12, register 11:0 (PCIe 7.2.2) ---- */

static uint64_t ecam_read(void *arg, uint64_t offset, unsigned size)
{
	return pci_config_read(
		arg, (unsigned)(offset >> 20), offset >> 12 & 0xff, offset & 0xfff, size);
}

static void ecam_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	pci_config_write(arg, (unsigned)(offset >> 20), offset >> 12 & 0xff, offset & 0xfff, size,
		(uint32_t)value);
}

const struct guest_io pci_ecam_io = {.width = 4, .read = ecam_read, .write = ecam_write};
