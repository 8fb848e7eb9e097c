/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The root as a device of the machine, with everybody on its bus: who stands in a slot is in the
 * settings, pci.0.SLOT.FUNCTION.device.  A host bridge is always at 0:0.0, and an ISA bridge at
 * 0:31.0 unless that is taken.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/pc.h>

#include "device/device.h"
#include "device/pci/pci.h"

enum { LPC_SLOT = 31 };

struct pci_standing {
	const struct pci_model *model;
	void *dev;
	char name[16];
};

struct pci_bus {
	struct pci_root *root; /* first: what the ports and pages of the root are given */
	struct pci_standing standing[PCI_SLOTS * PCI_FUNCTIONS];
	unsigned count;
};

/* A function's settings are below its place. */
struct place {
	const struct device_args *args;
	unsigned slot, func;
};

static const char *option_at(const void *config, const char *key)
{
	const struct place *place = config;
	char path[160];

	snprintf(path, sizeof(path), "pci.0.%u.%u.%s", place->slot, place->func, key);
	return place->args->option(place->args->config, path);
}

static const char *wanted(const struct place *place)
{
	const char *name = option_at(place, "device");

	if (name || place->func)
		return name;
	return place->slot == 0		 ? pci_hostbridge.name
	       : place->slot == LPC_SLOT ? pci_lpc.name
					 : NULL;
}

static bool msix_wanted(const struct device_args *args)
{
	const char *text = args->option(args->config, "virtio_msix");

	return !text || (strcasecmp(text, "false") && strcasecmp(text, "off") &&
				strcasecmp(text, "no") && strcmp(text, "0"));
}

static int create_one(struct pci_bus *bus, const struct place *place, const char *name)
{
	const struct device_args *args = place->args;
	struct pci_standing *standing = &bus->standing[bus->count];
	const struct pci_model *model = pci_model_find(name);
	char full[64], why[160] = "";
	struct pci_args pci = {
		.guest = args->guest,
		.model = model,
		.name = full,
		.option = option_at,
		.config = place,
		.msix = msix_wanted(args),
		.why = why,
		.why_size = sizeof(why),
	};

	if (!model) {
		snprintf(args->why, args->why_size,
			"slot %u:%u: unknown device \"%.40s\"; see hyve -s help", place->slot,
			place->func, name);
		return EINVAL;
	}
	snprintf(full, sizeof(full), "slot %u:%u: %s", place->slot, place->func, model->name);
	int error = pci_root_add(bus->root, place->slot, place->func, &pci.function);

	if (!error)
		error = model->create(&pci, &standing->dev);
	if (error) {
		snprintf(args->why, args->why_size, "%s: %s", full, *why ? why : strerror(error));
		return error;
	}
	standing->model = model;
	snprintf(standing->name, sizeof(standing->name), "%s", pci_name(pci.function));
	bus->count++;
	return 0;
}

/* A guest looks at functions 1 to 7 only if there is a function 0 (PCI 3.0, 3.2.2.3.4). */
static int create_slot(struct pci_bus *bus, const struct device_args *args, unsigned slot)
{
	bool first = false;

	for (unsigned func = 0; func < PCI_FUNCTIONS; func++) {
		const struct place place = {args, slot, func};
		const char *name = wanted(&place);

		if (!name)
			continue;
		first |= func == 0;
		if (!first) {
			snprintf(args->why, args->why_size,
				"slot %u:%u: no guest finds it without a device at %u:0", slot,
				func, slot);
			return EINVAL;
		}
		int error = create_one(bus, &place, name);

		if (error)
			return error;
	}
	return 0;
}

static void bus_destroy(void *dev)
{
	struct pci_bus *bus = dev;

	while (bus->count-- > 0)
		if (bus->standing[bus->count].model->destroy)
			bus->standing[bus->count].model->destroy(bus->standing[bus->count].dev);
	pci_root_destroy(bus->root);
	free(bus);
}

static int bus_create(const struct device_args *args, void **dev)
{
	struct pci_bus *bus = calloc(1, sizeof(*bus));
	int error = bus ? pci_root_create(args->guest, &bus->root) : ENOMEM;

	if (error) {
		free(bus);
		snprintf(args->why, args->why_size, "%s", strerror(error));
		return error;
	}
	for (unsigned slot = 0; slot < PCI_SLOTS && !error; slot++)
		error = create_slot(bus, args, slot);
	if (!error) {
		error = pci_root_assign(bus->root);
		if (error)
			snprintf(args->why, args->why_size,
				"the devices need more address space than there is");
	}
	if (error)
		bus_destroy(bus);
	else
		*dev = bus;
	return error;
}

/* ---- the root's ports and pages ---- */

/* What claims them is a bus; the functions behind are the root's. */
static uint64_t bus_read_as(const struct guest_io *io, void *arg, uint64_t offset, unsigned size)
{
	return io->read(((struct pci_bus *)arg)->root, offset, size);
}

static uint64_t address_read(void *arg, uint64_t offset, unsigned size)
{
	return bus_read_as(&pci_address_io, arg, offset, size);
}

static uint64_t data_read(void *arg, uint64_t offset, unsigned size)
{
	return bus_read_as(&pci_data_io, arg, offset, size);
}

static uint64_t ecam_read(void *arg, uint64_t offset, unsigned size)
{
	return bus_read_as(&pci_ecam_io, arg, offset, size);
}

static void address_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	pci_address_io.write(((struct pci_bus *)arg)->root, offset, size, value);
}

static void data_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	pci_data_io.write(((struct pci_bus *)arg)->root, offset, size, value);
}

static void ecam_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	pci_ecam_io.write(((struct pci_bus *)arg)->root, offset, size, value);
}

static const struct guest_io address_io = {
	.width = 4, .read = address_read, .write = address_write};
static const struct guest_io data_io = {.width = 4, .read = data_read, .write = data_write};
static const struct guest_io ecam_io = {.width = 4, .read = ecam_read, .write = ecam_write};

/* ACPI describes the root by a device of its own making, with windows and interrupt routes. */
static const struct device_unit root_units[] = {
	{
		.name = "pci0",
		.config = "",
		.res =
			{
				{DEVICE_RES_PORTS, PC_PCI_CONF_ADDR, 4, &address_io, true},
				{DEVICE_RES_PORTS, PC_PCI_CONF_DATA, 4, &data_io, true},
				{DEVICE_RES_MEMORY, PC_ECAM_BASE, PC_ECAM_SIZE, &ecam_io, true},
			},
	},
};

/* Each function's counters under its place and model: "0:3.0 virtio-rnd queue0.kicks". */
struct emitter {
	const struct pci_standing *standing;
	void (*emit)(void *arg, const char *name, uint64_t value);
	void *arg;
};

static void emit_counter(void *arg, const char *name, uint64_t value)
{
	const struct emitter *e = arg;
	char full[128];

	snprintf(full, sizeof(full), "%s %s %s", e->standing->name, e->standing->model->name, name);
	e->emit(e->arg, full, value);
}

static void bus_stats(
	void *dev, void (*emit)(void *arg, const char *name, uint64_t value), void *arg)
{
	const struct pci_bus *bus = dev;

	for (unsigned i = 0; i < bus->count; i++) {
		struct emitter e = {&bus->standing[i], emit, arg};

		if (e.standing->model->stats)
			e.standing->model->stats(e.standing->dev, emit_counter, &e);
	}
}

const struct device_model device_pci_root = {
	.name = "pci",
	.units = root_units,
	.nunits = sizeof(root_units) / sizeof(root_units[0]),
	.create = bus_create,
	.destroy = bus_destroy,
	.stats = bus_stats,
};
