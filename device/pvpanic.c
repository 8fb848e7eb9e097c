/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The panic device (QEMU's docs/specs/pvpanic): a port by which a kernel says that it has crashed.
 * It is named to the user, and the machine ends if pvpanic.action wants that.  A kernel that is
 * about to start its crash kernel is left alone.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/pc.h>

#include "device/device.h"
#include "host/log.h"

enum {
	PANICKED = 0x01, /* reads say what the guest may report */
	CRASH_LOADED = 0x02,

	STATUS_ERROR = 4, /* hyve's, of "error" */
};

enum action { ACTION_NONE, ACTION_POWEROFF, ACTION_RESET, ACTION_ERROR, ACTIONS };

struct pvpanic {
	struct guest *guest;
	enum action action;
};

static uint64_t pvpanic_read(void *arg, uint64_t offset, unsigned size)
{
	(void)arg;
	(void)offset;
	(void)size;
	return PANICKED | CRASH_LOADED;
}

static void panicked(const struct pvpanic *p)
{
	log_warn(p->guest->log, "pvpanic", "the guest's kernel has panicked");
	switch (p->action) {
	case ACTION_POWEROFF:
		guest_end(p->guest, GUEST_POWEROFF);
		break;
	case ACTION_RESET:
		guest_end(p->guest, GUEST_RESET);
		break;
	case ACTION_ERROR:
		guest_exit(p->guest, STATUS_ERROR);
		break;
	case ACTION_NONE:
	case ACTIONS:
		break;
	}
}

static void pvpanic_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct pvpanic *p = arg;

	(void)offset;
	(void)size;
	if (value & PANICKED)
		panicked(p);
	else if (value & CRASH_LOADED)
		log_warn(p->guest->log, "pvpanic",
			"the guest's kernel has panicked and starts its crash kernel");
}

static int read_action(const struct device_args *args, enum action *action)
{
	static const char *const names[ACTIONS] = {
		[ACTION_NONE] = "none",
		[ACTION_POWEROFF] = "poweroff",
		[ACTION_RESET] = "reset",
		[ACTION_ERROR] = "error",
	};
	const char *name = args->option(args->config, "action");

	*action = ACTION_NONE;
	for (unsigned i = 0; name && i < ACTIONS; i++) {
		if (strcmp(name, names[i]) == 0) {
			*action = (enum action)i;
			return 0;
		}
	}
	if (name)
		snprintf(args->why, args->why_size,
			"pvpanic.action=%.40s: use none, poweroff, reset or error", name);
	return name ? EINVAL : 0;
}

static int pvpanic_create(const struct device_args *args, void **dev)
{
	enum action action;
	int error = read_action(args, &action);

	if (error)
		return error;
	struct pvpanic *p = calloc(1, sizeof(*p));

	if (!p) {
		snprintf(args->why, args->why_size, "%s", strerror(ENOMEM));
		return ENOMEM;
	}
	*p = (struct pvpanic){.guest = args->guest, .action = action};
	*dev = p;
	return 0;
}

static const struct guest_io pvpanic_io = {
	.width = 1, .read = pvpanic_read, .write = pvpanic_write};

static const struct device_unit pvpanic_units[] = {
	{
		.name = "pevt",
		.config = "pvpanic",
		.acpi_hid = "QEMU0001",
		.res = {{DEVICE_RES_PORTS, PC_PVPANIC_PORT, 1, &pvpanic_io, false}},
	},
};

const struct device_model device_pvpanic = {
	.name = "pvpanic",
	.units = pvpanic_units,
	.nunits = sizeof(pvpanic_units) / sizeof(pvpanic_units[0]),
	.create = pvpanic_create,
	.destroy = free,
};
