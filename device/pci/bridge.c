/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The bridges that a PC has: the host's, which is there to be seen, and the ISA bridge, in which
 * the PIRQ router sits, at the registers of Intel's PIIX and ICH: A to D at 60h, E to H at 68h.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "device/pci/function.h"
#include "device/pci/pci.h"

enum {
	CLASS_BRIDGE = 0x06,
	SUBCLASS_HOST = 0x00,
	SUBCLASS_ISA = 0x01,
	LPC_PIRQ_A = 0x60,
	LPC_PIRQ_E = 0x68,
	LPC_PIRQ_END = 0x6c,
};

/* A 16-bit id from the configuration, as bhyve's pcireg. */
static int option_id(const struct pci_args *args, const char *key, uint16_t *id)
{
	const char *text = args->option(args->config, key);
	char *end;

	if (!text)
		return 0;
	unsigned long value = strtoul(text, &end, 0);

	if (*text == '\0' || *end != '\0' || value > 0xffff) {
		snprintf(args->why, args->why_size, "%s=%s: give an id of 16 bits, such as 0x1275",
			key, text);
		return EINVAL;
	}
	*id = (uint16_t)value;
	return 0;
}

static int bridge_create(const struct pci_args *args, void **dev)
{
	struct pci_identity id = *(const struct pci_identity *)args->model->type;
	uint16_t revision = id.revision;
	int error = option_id(args, "pcireg.vendor", &id.vendor);

	if (!error)
		error = option_id(args, "pcireg.device", &id.device);
	if (!error)
		error = option_id(args, "pcireg.subvendor", &id.subvendor);
	if (!error)
		error = option_id(args, "pcireg.subdevice", &id.subdevice);
	if (!error)
		error = option_id(args, "pcireg.revid", &revision);
	if (error)
		return error;
	id.revision = (uint8_t)revision;
	pci_identify(args->function, &id);
	*dev = args->function;
	return 0;
}

/* ---- the ISA bridge ---- */

static uint8_t lpc_read_byte(struct pci_function *f, unsigned reg)
{
	bool second = reg >= LPC_PIRQ_E;

	if (!second && reg >= LPC_PIRQ_A + 4)
		return 0;
	return pci_pirq(f->root, second ? reg - LPC_PIRQ_E + 4 : reg - LPC_PIRQ_A);
}

static uint64_t lpc_read(void *arg, uint64_t offset, unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)lpc_read_byte(arg, LPC_PIRQ_A + (unsigned)offset + i) << (8 * i);
	return value;
}

static void lpc_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct pci_function *f = arg;

	for (unsigned i = 0; i < size; i++, value >>= 8) {
		unsigned reg = LPC_PIRQ_A + (unsigned)offset + i;

		if (reg >= LPC_PIRQ_E)
			pci_pirq_set(f->root, reg - LPC_PIRQ_E + 4, (uint8_t)value);
		else if (reg < LPC_PIRQ_A + 4)
			pci_pirq_set(f->root, reg - LPC_PIRQ_A, (uint8_t)value);
	}
}

static const struct guest_io lpc_io = {.width = 4, .read = lpc_read, .write = lpc_write};

static int lpc_create(const struct pci_args *args, void **dev)
{
	pci_hook(args->function, LPC_PIRQ_A, LPC_PIRQ_END - LPC_PIRQ_A, &lpc_io, args->function);
	return bridge_create(args, dev);
}

/* ---- models ---- */

static const char *const bridge_keys[] = {"pcireg.vendor", "pcireg.device", "pcireg.subvendor",
	"pcireg.subdevice", "pcireg.revid", NULL};

/* bhyve's: NetApp's vendor id, given to the bridge that is none. */
static const struct pci_identity host_id = {
	.vendor = 0x1275, .device = 0x1275, .class = CLASS_BRIDGE, .subclass = SUBCLASS_HOST};
static const struct pci_identity amd_id = {
	.vendor = 0x1022, .device = 0x7432, .class = CLASS_BRIDGE, .subclass = SUBCLASS_HOST};
/* A PIIX3, as bhyve's. */
static const struct pci_identity lpc_id = {
	.vendor = 0x8086, .device = 0x7000, .class = CLASS_BRIDGE, .subclass = SUBCLASS_ISA};

const struct pci_model pci_hostbridge = {
	.name = "hostbridge",
	.about = "the bridge to the CPU; there is one at 0:0 unless something else is said",
	.keys = bridge_keys,
	.type = &host_id,
	.create = bridge_create,
};

const struct pci_model pci_amd_hostbridge = {
	.name = "amd_hostbridge",
	.about = "the same with AMD's identity",
	.keys = bridge_keys,
	.type = &amd_id,
	.create = bridge_create,
};

const struct pci_model pci_lpc = {
	.name = "lpc",
	.about = "ISA bridge and interrupt router; there is one at 31:0 unless something else is "
		 "said",
	.keys = bridge_keys,
	.type = &lpc_id,
	.create = lpc_create,
};
