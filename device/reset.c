/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The two ways in which PC software asks the chipset for a reset: the reset control register (CF9)
 * and bit 0 of the fast-A20 port.  The third is the keyboard controller's (device/ps2/).
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/pc.h>

#include "device/device.h"

enum {
	RST_SYS = 0x02,	 /* hard rather than soft: all the same to us */
	RST_CPU = 0x04,	 /* its rising edge resets */
	RST_FULL = 0x08, /* power-cycle */

	PORT92_RESET = 0x01,
	PORT92_A20 = 0x02,
};

struct reset_ports {
	struct guest *guest;
	_Atomic uint8_t cf9, port92;
};

static uint64_t cf9_read(void *arg, uint64_t offset, unsigned size)
{
	(void)offset;
	(void)size;
	return ((struct reset_ports *)arg)->cf9;
}

static void cf9_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct reset_ports *ports = arg;

	(void)offset;
	(void)size;
	uint8_t old = atomic_exchange(&ports->cf9, (uint8_t)value & (RST_SYS | RST_CPU | RST_FULL));

	if (value & ~old & RST_CPU)
		guest_end(ports->guest, GUEST_RESET);
}

static uint64_t port92_read(void *arg, uint64_t offset, unsigned size)
{
	(void)offset;
	(void)size;
	return ((struct reset_ports *)arg)->port92;
}

/* The A20 gate is always open: the bit is only remembered. */
static void port92_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct reset_ports *ports = arg;

	(void)offset;
	(void)size;
	ports->port92 = (uint8_t)value & PORT92_A20;
	if (value & PORT92_RESET)
		guest_end(ports->guest, GUEST_RESET);
}

static int reset_create(const struct device_args *args, void **dev)
{
	struct reset_ports *ports = calloc(1, sizeof(*ports));

	if (!ports) {
		snprintf(args->why, args->why_size, "%s", strerror(ENOMEM));
		return ENOMEM;
	}
	ports->guest = args->guest;
	ports->port92 = PORT92_A20;
	*dev = ports;
	return 0;
}

static const struct guest_io cf9_io = {.width = 1, .read = cf9_read, .write = cf9_write};
static const struct guest_io port92_io = {.width = 1, .read = port92_read, .write = port92_write};

static const struct device_unit reset_units[] = {
	{
		.name = "reset",
		.config = "reset",
		.res =
			{
				{DEVICE_RES_PORTS, PC_RESET_PORT, 1, &cf9_io, true},
				{DEVICE_RES_PORTS, PC_PORT92, 1, &port92_io, true},
			},
	},
};

const struct device_model device_reset = {
	.name = "reset",
	.units = reset_units,
	.nunits = sizeof(reset_units) / sizeof(reset_units[0]),
	.create = reset_create,
	.destroy = free,
};
