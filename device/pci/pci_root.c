/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The root as a device model, with the host bridge at 0:0.0 and nothing else on its bus. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/pc.h>

#include "device/device.h"
#include "device/pci/pci.h"

/* bhyve's: NetApp's vendor id, given to the bridge that is none. */
enum { BRIDGE_VENDOR = 0x1275, BRIDGE_DEVICE = 0x1275, CLASS_BRIDGE = 0x06 };

static void put16(uint8_t *p, unsigned value)
{
	p[0] = (uint8_t)value;
	p[1] = (uint8_t)(value >> 8);
}

/* A 16-bit id from the configuration. */
static int option_id(const struct device_args *args, const char *key, unsigned normal, unsigned *id)
{
	const char *text = args->option(args->config, key);
	char *end;

	*id = normal;
	if (!text)
		return 0;
	unsigned long value = strtoul(text, &end, 0);

	if (*text == '\0' || *end != '\0' || value > 0xffff) {
		snprintf(args->why, args->why_size,
			"%s.%s=%s: give an id of 16 bits, such as 0x1275", args->unit->config, key,
			text);
		return EINVAL;
	}
	*id = (unsigned)value;
	return 0;
}

static int bridge_add(struct pci_root *root, unsigned vendor, unsigned device)
{
	struct pci_function *bridge = calloc(1, sizeof(*bridge));

	if (!bridge)
		return ENOMEM;
	put16(bridge->config + PCI_VENDOR, vendor);
	put16(bridge->config + PCI_DEVICE, device);
	bridge->config[PCI_CLASS] = CLASS_BRIDGE;
	bridge->writable[PCI_INT_LINE] = 0xff;
	return pci_root_add(root, 0, 0, bridge);
}

static int model_create(const struct device_args *args, void **dev)
{
	unsigned vendor, device;
	struct pci_root *root;
	int error = option_id(args, "vendor", BRIDGE_VENDOR, &vendor);

	if (!error)
		error = option_id(args, "device", BRIDGE_DEVICE, &device);
	if (error)
		return error;
	error = pci_root_create(&root);
	if (!error) {
		error = bridge_add(root, vendor, device);
		if (error)
			pci_root_destroy(root);
	}
	if (error)
		snprintf(args->why, args->why_size, "%s", strerror(error));
	else
		*dev = root;
	return error;
}

static void model_destroy(void *dev)
{
	pci_root_destroy(dev);
}

/* ACPI describes the root by a device of its own making, with windows and interrupt routes. */
static const struct device_unit root_units[] = {
	{
		.name = "pci0",
		.config = "pci.0.0.0.pcireg",
		.res =
			{
				{DEVICE_RES_PORTS, PC_PCI_CONF_ADDR, 4, &pci_address_io, true},
				{DEVICE_RES_PORTS, PC_PCI_CONF_DATA, 4, &pci_data_io, true},
				{DEVICE_RES_MEMORY, PC_ECAM_BASE, PC_ECAM_SIZE, &pci_ecam_io, true},
			},
	},
};

const struct device_model device_pci_root = {
	.name = "pci",
	.units = root_units,
	.nunits = sizeof(root_units) / sizeof(root_units[0]),
	.create = model_create,
	.destroy = model_destroy,
};
