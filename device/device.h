/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The door of device/: the device models, each one const struct device_model that carries its fixed
 * resources as data.  The machine claims them, ACPI describes them, a fuzzer pokes them from there.
 */
#ifndef DEVICE_DEVICE_H
#define DEVICE_DEVICE_H

#include "device/guest.h"

enum device_resource_kind {
	DEVICE_RES_NONE, /* ends the list */
	DEVICE_RES_PORTS,
	DEVICE_RES_MEMORY,
	DEVICE_RES_IRQ, /* base is the ISA line */
};

struct device_resource {
	enum device_resource_kind kind;
	uint64_t base, size;
	const struct guest_io *io; /* not for IRQs */
	bool hidden;		   /* ACPI describes it elsewhere, or not at all */
};

#define DEVICE_MAX_RESOURCES 8

/* ACPI's name for a keyboard controller, which its fixed table mentions, too. */
#define DEVICE_KEYBOARD_HID "PNP0303"

/* What ACPI describes as a device of its own though it is a part: the mouse at its controller. */
struct device_beside {
	const char *name, *acpi_hid; /* NULL: there is none */
	unsigned irq;
};

/* One place in the machine where the model can stand. */
struct device_unit {
	const char *name;
	const char *config;   /* its settings stand below this key: "lpc.com1"; "": any */
	const char *required; /* it exists only if this setting does; NULL: always */
	const char *optional; /* it does not exist if this setting is false; NULL: no such one */
	const char *acpi_hid; /* "PNP0501"; NULL: not in ACPI */
	struct device_resource res[DEVICE_MAX_RESOURCES];
	struct device_beside beside;
};

enum device_event { DEVICE_POWER_BUTTON, DEVICE_RTC_ALARM };

/* What a model is made from. */
struct device_args {
	struct guest *guest;
	const struct device_unit *unit;
	/* The model's own settings: value of a key such as "path", NULL if there is none. */
	const char *(*option)(const void *config, const char *key);
	const void *config;
	/* On failure one line for the user. */
	char *why;
	size_t why_size;
};

struct device_model {
	const char *name;
	const struct device_unit *units;
	size_t nunits;
	int (*create)(const struct device_args *args, void **dev);
	/* No access or callback of its own is in progress, nor will one come. */
	void (*destroy)(void *dev);
	/* May be NULL. Event loop's thread or any other. */
	void (*event)(void *dev, enum device_event event);
	/* May be NULL. Any thread. */
	void (*input)(void *dev, const struct guest_input *input);
	/* Counters of what it does, by name; may be NULL. Any thread. */
	void (*stats)(
		void *dev, void (*emit)(void *arg, const char *name, uint64_t value), void *arg);
};

/* All models that the PC is made of, in the order in which they are built. */
extern const struct device_model *const device_models[];
extern const size_t device_nmodels;

extern const struct device_model device_uart;
extern const struct device_model device_pci_root;
extern const struct device_model device_acpi_pm;
extern const struct device_model device_reset;
extern const struct device_model device_ps2;
extern const struct device_model device_pvpanic;
extern const struct device_model device_post;
extern const struct device_model device_fwcfg;
extern const struct device_model device_testdev;

/* What stands on the PCI bus is a list of its own, of which the command line sees this. */
struct device_pci_facts {
	const char *name, *about;
	const char *first;	 /* key of what needs none, NULL: there is no such */
	const char *list;	 /* LIST.N.name and LIST.N.path are NAME=PATH in -s, NULL: none */
	const char *const *keys; /* patterns of fnmatch(3); ends with NULL; NULL: none */
};

/* The index-th model; false: there are fewer. */
bool device_pci_describe(size_t index, struct device_pci_facts *facts);
bool device_pci_find(const char *name, struct device_pci_facts *facts);
/* Does the model know this key, as it stands below pci.BUS.SLOT.FUNCTION? */
bool device_pci_has_key(const struct device_pci_facts *facts, const char *key);

/* What a read that nobody answers gives. */
static inline uint64_t device_all_ones(unsigned size)
{
	return size >= 8 ? ~0ull : (1ull << (8 * size)) - 1;
}

#endif
