/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include <fnmatch.h>
#include <string.h>

#include "device/device.h"
#include "device/pci/pci.h"
#include "device/virtio/virtio.h"

/* The list: a new model is its file, and a line here. */
const struct pci_model *const pci_models[] = {
	&pci_hostbridge,
	&pci_amd_hostbridge,
	&pci_lpc,
	&virtio_blk,
	&virtio_net,
	&virtio_rnd,
	&virtio_console,
	NULL,
};

const struct pci_model *pci_model_find(const char *name)
{
	for (size_t i = 0; pci_models[i]; i++)
		if (strcmp(pci_models[i]->name, name) == 0)
			return pci_models[i];
	return NULL;
}

/* ---- for the command line ---- */

bool device_pci_describe(size_t index, struct device_pci_facts *facts)
{
	for (size_t i = 0; i < index; i++)
		if (!pci_models[i])
			return false;
	const struct pci_model *model = pci_models[index];

	if (model)
		*facts = (struct device_pci_facts){
			.name = model->name,
			.about = model->about,
			.first = model->first,
			.keys = model->keys,
			.list = model->list,
		};
	return model;
}

bool device_pci_find(const char *name, struct device_pci_facts *facts)
{
	for (size_t i = 0; device_pci_describe(i, facts); i++)
		if (strcmp(facts->name, name) == 0)
			return true;
	return false;
}

bool device_pci_has_key(const struct device_pci_facts *facts, const char *key)
{
	for (const char *const *k = facts->keys; k && *k; k++)
		if (fnmatch(*k, key, 0) == 0)
			return true;
	return strcmp(key, "device") == 0;
}
