/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* What a PCI function is made of, for device/pci alone. */
#ifndef DEVICE_PCI_FUNCTION_H
#define DEVICE_PCI_FUNCTION_H

#include <pthread.h>

#include "device/guest.h"
#include "device/pci/pci.h"

struct pci_bar {
	enum pci_bar_kind kind;
	struct guest_range range; /* with the base at which it is claimed */
	bool claimed;
};

struct pci_msix_entry {
	uint64_t address;
	uint32_t data, control;
	bool pending;
};

struct pci_function {
	struct pci_root *root;
	struct guest *guest;
	uint8_t slot, func;
	char name[16];

	pthread_mutex_t lock; /* all below */
	uint8_t config[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE]; /* bits that a guest can change */
	unsigned caps_end, last_cap;	   /* where the next capability goes; the link to it */
	struct pci_bar bars[PCI_BARS];

	struct {
		unsigned reg, size;
		const struct guest_io *io;
		void *arg;
	} hook;

	bool intx;	/* what the model wants of the pin */
	bool intx_seen; /* what the root has been told */

	unsigned msi; /* offset of the capability; 0: none */
	unsigned msix;
	unsigned nvectors;
	struct pci_msix_entry *vectors;
};

int pci_function_create(struct pci_root *root, struct guest *guest, unsigned slot, unsigned func,
	struct pci_function **f);
void pci_function_destroy(struct pci_function *f);
uint32_t pci_function_read(struct pci_function *f, unsigned reg, unsigned size);
void pci_function_write(struct pci_function *f, unsigned reg, unsigned size, uint32_t value);

/* The lock is held. */
uint64_t pci_get(const struct pci_function *f, unsigned reg, unsigned size);
void pci_put(struct pci_function *f, unsigned reg, unsigned size, uint64_t value);
/* Looks at the message capabilities after a write, and sends what was pending. */
void pci_messages_update(struct pci_function *f);

/* INTA of a slot goes up or down. */
void pci_root_intx(struct pci_root *root, unsigned slot, bool asserted);

#endif
