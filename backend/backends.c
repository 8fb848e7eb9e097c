/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The one list of backends. A new one is its folder and a line here. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <vmm/backend.h>

#include "backend/backend.h"
#include "backend/kvm/option.h"
#include "backend/soft/option.h"

static const struct backend {
	const struct vmm_ops *ops;
	/* Of backend_set_option() and its neighbours; NULL: this one has no settings. */
	int (*set_option)(void *vmi, const char *key, const char *value, char *why, size_t size);
	const char *(*option_key)(size_t index); /* NULL: there are fewer */
	int (*check_options)(void *vmi, unsigned ncpus, char *why, size_t size);
	bool (*explain)(void *vmi, int vcpu, char *why, size_t size);
	/* It works: is it good enough to be chosen unasked? 0, or an errno and a line. NULL: yes. */
	int (*judge)(char *why, size_t size);
} backends[] = {
	{.ops = &vmm_ops_intel},
	{.ops = &vmm_ops_amd},
	{&vmm_ops_kvm, kvm_set_option, kvm_option_key, kvm_check_options, kvm_explain, kvm_judge},
	{&vmm_ops_soft, soft_set_option, soft_option_key, soft_check_options, soft_explain, NULL},
};

#define NBACKENDS (sizeof(backends) / sizeof(backends[0]))

/* NULL: somebody's own. */
static const struct backend *backend_of(struct vm *vm)
{
	for (size_t i = 0; i < NBACKENDS; i++)
		if (backends[i].ops == vm_ops(vm))
			return &backends[i];
	return NULL;
}

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

int backend_judge(size_t i, char *why, size_t size)
{
	why[0] = '\0';
	return backends[i].judge ? backends[i].judge(why, size) : 0;
}

const struct vmm_ops *backend_auto(void)
{
	char why[256];

	for (size_t i = 0; i < NBACKENDS; i++)
		if (backends[i].ops->probe(why, sizeof(why)) == 0 &&
			backend_judge(i, why, sizeof(why)) == 0)
			return backends[i].ops;
	return NULL;
}

int backend_set_option(struct vm *vm, const char *key, const char *value, char *why, size_t size)
{
	const struct backend *b = backend_of(vm);

	why[0] = '\0';
	if (b && b->set_option)
		return b->set_option(vm_vmi(vm), key, value, why, size);
	snprintf(why, size, "unknown setting");
	return ENOENT;
}

bool backend_option(size_t index, const char **name, const char **key)
{
	for (size_t i = 0; i < NBACKENDS; i++) {
		const struct backend *b = &backends[i];

		for (size_t k = 0; b->option_key && (*key = b->option_key(k)) != NULL; k++) {
			if (index-- == 0) {
				*name = b->ops->name;
				return true;
			}
		}
	}
	return false;
}

int backend_check_options(struct vm *vm, unsigned ncpus, char *why, size_t size)
{
	const struct backend *b = backend_of(vm);

	return b && b->check_options ? b->check_options(vm_vmi(vm), ncpus, why, size) : 0;
}

bool backend_explain(struct vm *vm, int vcpu, char *why, size_t size)
{
	const struct backend *b = backend_of(vm);

	return b && b->explain && b->explain(vm_vmi(vm), vcpu, why, size);
}
