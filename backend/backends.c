/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The one list of backends. A new one is its folder and a line here. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <vmm/backend.h>

#include "backend/backend.h"
#include "backend/soft/option.h"

static const struct {
	const struct vmm_ops *ops;
	/* Of backend_set_option(); NULL: this one has no settings. */
	int (*set_option)(void *vmi, const char *key, const char *value, char *why, size_t size);
} backends[] = {
	{&vmm_ops_intel, NULL},
	{&vmm_ops_amd, NULL},
	{&vmm_ops_soft, soft_set_option},
};

#define NBACKENDS (sizeof(backends) / sizeof(backends[0]))

const struct vmm_ops *backend_at(size_t i)
{
	return i < NBACKENDS ? backends[i].ops : NULL;
}

const struct vmm_ops *backend_find(const char *name)
{
	const struct vmm_ops *ops;

	for (size_t i = 0; (ops = backend_at(i)) != NULL; i++)
		if (strcmp(ops->name, name) == 0)
			return ops;
	return NULL;
}

const struct vmm_ops *backend_auto(void)
{
	const struct vmm_ops *ops;
	char why[256];

	for (size_t i = 0; (ops = backend_at(i)) != NULL; i++)
		if (ops->probe(why, sizeof(why)) == 0)
			return ops;
	return NULL;
}

int backend_set_option(struct vm *vm, const char *key, const char *value, char *why, size_t size)
{
	for (size_t i = 0; i < NBACKENDS; i++)
		if (backends[i].ops == vm_ops(vm) && backends[i].set_option)
			return backends[i].set_option(vm_vmi(vm), key, value, why, size);
	snprintf(why, size, "unknown setting");
	return ENOENT;
}
