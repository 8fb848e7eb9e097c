/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "device/device.h"
#include "device/pci/pci.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define CONFIG_ENABLE	0x80000000u
#define CONFIG_WRITABLE 0x80fffffcu /* the rest of CF8 reads as zero (PCI 3.0, 3.2.2.3.2) */

struct pci_root {
	pthread_mutex_t lock;
	uint32_t address; /* CF8 */
	struct pci_function *functions[PCI_SLOTS * PCI_FUNCTIONS];
};

int pci_root_create(struct pci_root **out)
{
	struct pci_root *root = calloc(1, sizeof(*root));

	if (!root)
		return ENOMEM;
	pthread_mutex_init(&root->lock, NULL);
	*out = root;
	return 0;
}

void pci_root_destroy(struct pci_root *root)
{
	if (!root)
		return;
	for (unsigned i = 0; i < PCI_SLOTS * PCI_FUNCTIONS; i++)
		free(root->functions[i]);
	pthread_mutex_destroy(&root->lock);
	free(root);
}

int pci_root_add(struct pci_root *root, unsigned slot, unsigned func, struct pci_function *function)
{
	struct pci_function **place = &root->functions[slot * PCI_FUNCTIONS + func];

	if (*place)
		return EEXIST;
	*place = function;
	return 0;
}

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
	uint32_t value = 0;

	if (!f)
		return (uint32_t)device_all_ones(size);
	pthread_mutex_lock(&root->lock);
	for (unsigned i = 0; i < size; i++)
		value |= (uint32_t)f->config[reg + i] << (8 * i);
	pthread_mutex_unlock(&root->lock);
	return value;
}

void pci_config_write(struct pci_root *root, unsigned bus, unsigned devfn, unsigned reg,
	unsigned size, uint32_t value)
{
	struct pci_function *f = find(root, bus, devfn, reg, size);

	if (!f)
		return;
	pthread_mutex_lock(&root->lock);
	for (unsigned i = 0; i < size; i++) {
		uint8_t mask = f->writable[reg + i], byte = (uint8_t)(value >> (8 * i));

		f->config[reg + i] = (uint8_t)((f->config[reg + i] & ~mask) | (byte & mask));
	}
	pthread_mutex_unlock(&root->lock);
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
