/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * PCI: functions on bus 0, reached by configuration mechanism #1 at CF8/CFC and by the
 * memory-mapped one (ECAM).  For the models that stand on the bus, and for tests.
 *
 * A model is one const struct pci_model.  Its create() shapes the function that it is given:
 * identity, BARs, capabilities, interrupts.  From then on the function keeps its configuration
 * space by itself: sizing and moving BARs, masks, pending bits and the interrupt pin.
 */
#ifndef DEVICE_PCI_PCI_H
#define DEVICE_PCI_PCI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct guest;
struct guest_io;
struct pci_root;
struct pci_function;

enum {
	PCI_SLOTS = 32,
	PCI_FUNCTIONS = 8,
	PCI_BARS = 6,
	PCI_CONFIG_SIZE = 256,
	PCI_LINKS = 8, /* interrupt lines that the pins of all slots share */
	PCI_MSIX_MAX = 128,
};

/* Offsets of the type 0 header (PCI 3.0, 6.1). */
enum {
	PCI_VENDOR = 0x00,
	PCI_DEVICE = 0x02,
	PCI_COMMAND = 0x04,
	PCI_STATUS = 0x06,
	PCI_REVISION = 0x08,
	PCI_PROG_IF = 0x09,
	PCI_SUBCLASS = 0x0a,
	PCI_CLASS = 0x0b,
	PCI_HEADER_TYPE = 0x0e,
	PCI_BAR0 = 0x10,
	PCI_SUBVENDOR = 0x2c,
	PCI_SUBDEVICE = 0x2e,
	PCI_CAPABILITIES = 0x34,
	PCI_INT_LINE = 0x3c,
	PCI_INT_PIN = 0x3d,
	PCI_HEADER_END = 0x40,

	PCI_COMMAND_IO = 0x0001,
	PCI_COMMAND_MEMORY = 0x0002,
	PCI_COMMAND_MASTER = 0x0004,
	PCI_COMMAND_INTX_DISABLE = 0x0400,
	PCI_STATUS_INTX = 0x0008,
	PCI_STATUS_CAPABILITIES = 0x0010,
	PCI_MULTIFUNCTION = 0x80,

	PCI_CAP_MSI = 0x05,
	PCI_CAP_VENDOR = 0x09,
	PCI_CAP_MSIX = 0x11,
};

/* ---- models ---- */

struct pci_identity {
	uint16_t vendor, device, subvendor, subdevice;
	uint8_t class, subclass, prog_if, revision;
};

struct pci_args {
	struct guest *guest;
	struct pci_function *function;
	const struct pci_model *model;
	const char *name; /* for the user: "3:0 virtio-blk" */
	/* The value of a key below pci.BUS.SLOT.FUNCTION, NULL if there is none. */
	const char *(*option)(const void *config, const char *key);
	const void *config;
	/* Is MSI-X wanted? If not: MSI (bhyve's -W). */
	bool msix;
	/* On failure one line for the user. */
	char *why;
	size_t why_size;
};

struct pci_model {
	const char *name;  /* bhyve's: "virtio-blk" */
	const char *about; /* a line for -s help */
	/* The key of what stands behind the name without one in -s: "path". NULL: nothing does. */
	const char *first;
	/* NAME=PATH in -s, no key, is the next of list.0.name and list.0.path. NULL: no such thing. */
	const char *list;
	const char *const *keys; /* that it reads; * and [ as in fnmatch(3); ends with NULL */
	const void *type;	 /* the model's own */
	int (*create)(const struct pci_args *args, void **dev);
	/* No access is in progress, nor will one come. NULL: nothing to do. */
	void (*destroy)(void *dev);
	/* Counters, may be NULL. Any thread. */
	void (*stats)(
		void *dev, void (*emit)(void *arg, const char *name, uint64_t value), void *arg);
};

/* All of them, ends with NULL: a new one is a line in device/pci/models.c. */
extern const struct pci_model *const pci_models[];
const struct pci_model *pci_model_find(const char *name);

extern const struct pci_model pci_hostbridge, pci_amd_hostbridge, pci_lpc;

/* ---- what a model does to its function in create(), before a guest runs ---- */

void pci_identify(struct pci_function *f, const struct pci_identity *id);

enum pci_bar_kind { PCI_BAR_NONE, PCI_BAR_IO, PCI_BAR_MEM32, PCI_BAR_MEM64 };

/*
 * Gives it a BAR. `size`, a power of two, is at least 4 for ports and 4096 for memory; a 64-bit one
 * takes the next index, too.  The root finds an address for it.
 */
void pci_bar(struct pci_function *f, unsigned index, enum pci_bar_kind kind, uint64_t size,
	const struct guest_io *io, void *arg);

/* Adds a capability: `body` follows id and link. Its offset in the configuration space; 0: no room.
 */
unsigned pci_capability(struct pci_function *f, uint8_t id, const void *body, size_t len);
/* A guest may change these bits of a register of the model's own. */
void pci_writable(struct pci_function *f, unsigned reg, const void *mask, size_t len);
/*
 * Accesses that lie in [reg, reg+size) go to `io`, at offsets from reg, and not to the function.
 * Its lock is not held.  One such place a function.
 */
void pci_hook(
	struct pci_function *f, unsigned reg, unsigned size, const struct guest_io *io, void *arg);

/* MSI-X with so many vectors, its tables alone in BAR `bar`; or MSI with one. 0 or ENOMEM. */
int pci_msix(struct pci_function *f, unsigned vectors, unsigned bar);
int pci_msi(struct pci_function *f);
/* It has an interrupt pin, INTA. */
void pci_pin(struct pci_function *f);

/* ---- while it runs; any thread ---- */

/* The level of its pin; the guest can switch it off, and MSI or MSI-X do. */
void pci_intx(struct pci_function *f, bool asserted);
enum pci_signalling { PCI_SIGNAL_INTX, PCI_SIGNAL_MSI, PCI_SIGNAL_MSIX };
/* What the guest has chosen. */
enum pci_signalling pci_signalling(struct pci_function *f);
/* A message: this vector of MSI-X, or MSI's only one.  Nothing if neither is on. */
void pci_message(struct pci_function *f, unsigned vector);
/* "0:3.0" */
const char *pci_name(const struct pci_function *f);
/* A register as the guest reads it: 1, 2 or 4 bytes. */
uint32_t pci_register(struct pci_function *f, unsigned reg, unsigned size);

/* ---- the root ---- */

int pci_root_create(struct guest *guest, struct pci_root **root);
/* All models must have been destroyed. */
void pci_root_destroy(struct pci_root *root);
/* Puts a function on bus 0, the root's from then on. EEXIST. Before the guest runs. */
int pci_root_add(
	struct pci_root *root, unsigned slot, unsigned func, struct pci_function **function);
/*
 * What firmware does: addresses for BARs, decoding on, interrupt lines.  ENOSPC: BARs are larger
 * than the PCI hole.
 */
int pci_root_assign(struct pci_root *root);

/* One access of 1, 2 or 4 aligned bytes; what is not there reads all ones. Any thread. */
uint32_t pci_config_read(
	struct pci_root *root, unsigned bus, unsigned devfn, unsigned reg, unsigned size);
void pci_config_write(struct pci_root *root, unsigned bus, unsigned devfn, unsigned reg,
	unsigned size, uint32_t value);

/* The router's registers, PIRQ A to H: an ISA line in bits 3:0; bit 7: none. Any thread. */
uint8_t pci_pirq(struct pci_root *root, unsigned link);
void pci_pirq_set(struct pci_root *root, unsigned link, uint8_t value);

extern const struct guest_io pci_address_io, pci_data_io, pci_ecam_io;

#endif
