/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The one list of backends. A new one is its folder and a line here. */
#include <string.h>

#include "backend/backend.h"

static const struct vmm_ops *const backends[] = {
	&vmm_ops_intel,
	&vmm_ops_amd,
	&vmm_ops_soft,
};

const struct vmm_ops *backend_at(size_t i)
{
	return i < sizeof(backends) / sizeof(backends[0]) ? backends[i] : NULL;
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
