/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The PCI root: configuration mechanism #1 at CF8/CFC and the memory-mapped one (ECAM), both over
 * one array of functions.  For device/pci and its tests.
 */
#ifndef DEVICE_PCI_PCI_H
#define DEVICE_PCI_PCI_H

#include <stddef.h>
#include <stdint.h>

enum { PCI_SLOTS = 32, PCI_FUNCTIONS = 8, PCI_CONFIG_SIZE = 256 };

/* Offsets of the type 0 header. */
enum {
	PCI_VENDOR = 0x00,
	PCI_DEVICE = 0x02,
	PCI_COMMAND = 0x04,
	PCI_REVISION = 0x08,
	PCI_CLASS = 0x0b,
	PCI_HEADER_TYPE = 0x0e,
	PCI_INT_LINE = 0x3c,
};

struct pci_function {
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE]; /* bits that a guest can change */
};

struct guest_io;
struct pci_root;

int pci_root_create(struct pci_root **root);
void pci_root_destroy(struct pci_root *root);
/* Puts a function from malloc on bus 0, the root's from then on. EEXIST. Before the guest runs. */
int pci_root_add(
	struct pci_root *root, unsigned slot, unsigned func, struct pci_function *function);

/* One access of 1, 2 or 4 aligned bytes; what is not there reads all ones. Any thread. */
uint32_t pci_config_read(
	struct pci_root *root, unsigned bus, unsigned devfn, unsigned reg, unsigned size);
void pci_config_write(struct pci_root *root, unsigned bus, unsigned devfn, unsigned reg,
	unsigned size, uint32_t value);

extern const struct guest_io pci_address_io, pci_data_io, pci_ecam_io;

#endif
