/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * pci.BUS.SLOT.FUNCTION.KEY: what may stand there.  Elsewhere an unknown key may be bhyve's and is
 * passed over; here it would be a device that is not what its user believes.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "device/device.h"
#include "machine/assembly.h"

enum { SLOTS = 32, FUNCTIONS = 8 };

/* The key behind the place; NULL: it is no key of this form. */
static const char *place_parse(const char *path, unsigned place[3])
{
	int end = 0;

	if (sscanf(path, "pci.%3u.%2u.%1u.%n", &place[0], &place[1], &place[2], &end) != 3 ||
		end == 0 || path[end] == '\0')
		return NULL;
	return path + end;
}

static int check_place(const struct config *config, const char *path, const unsigned place[3],
	struct machine_error *error)
{
	if (place[0] != 0)
		return config_bad(config, path, error, "there is no PCI bus but 0");
	if (place[1] >= SLOTS || place[2] >= FUNCTIONS)
		return config_bad(config, path, error, "slots are 0 to 31, functions 0 to 7");
	return 0;
}

static int check_key(const struct config *config, const char *path, struct machine_error *error)
{
	unsigned place[3];
	const char *key = place_parse(path, place), *name;
	struct device_pci_facts facts;
	char device[64];

	if (!key)
		return config_bad(config, path, error, "write it as pci.BUS.SLOT.FUNCTION.KEY");
	int code = check_place(config, path, place, error);

	if (code)
		return code;
	snprintf(device, sizeof(device), "pci.0.%u.%u.device", place[1], place[2]);
	name = config_get(config, device);
	/* The bridges that are there by themselves. */
	if (!name && place[2] == 0 && place[1] == 0)
		name = "hostbridge";
	if (!name && place[2] == 0 && place[1] == 31)
		name = "lpc";
	if (!name)
		return config_bad(config, path, error, "no device in this slot; set %s", device);
	if (!device_pci_find(name, &facts))
		return machine_error(error, EINVAL,
			"slot %u:%u: unknown device \"%.40s\"; see hyve -s help", place[1],
			place[2], name);
	if (!device_pci_has_key(&facts, key))
		return config_bad(config, path, error, "%s has no setting \"%.40s\"", name, key);
	return 0;
}

int pci_settings_check(const struct config *config, struct machine_error *error)
{
	const char *key, *value;

	for (size_t i = 0; config_at(config, i, &key, &value); i++) {
		int code = strncmp(key, "pci.", 4) == 0 ? check_key(config, key, error) : 0;

		if (code)
			return code;
	}
	return 0;
}
