/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The default backend.  vm_create has no argument for it, so the choice, and how many VMs forbid to
 * undo it, are the only process-wide words of the library.
 */
#include "vmm/vm.h"

static _Atomic(const struct vmm_ops *) default_ops;
static atomic_uint vm_count;

const struct vmm_ops *vmm_default_ops(void)
{
	return atomic_load(&default_ops);
}

void vmm_vm_born(void)
{
	atomic_fetch_add(&vm_count, 1);
}

void vmm_vm_gone(void)
{
	atomic_fetch_sub(&vm_count, 1);
}

int vmm_init(const struct vmm_ops *ops)
{
	const struct vmm_ops *expected = NULL;
	int error;

	if (ops == NULL)
		return EINVAL;
	if (atomic_load(&default_ops) == ops)
		return 0;
	error = ops->init(0);
	if (error != 0)
		return error;
	if (!atomic_compare_exchange_strong(&default_ops, &expected, ops) && expected != ops)
		return EBUSY;
	return 0;
}

int vmm_cleanup(void)
{
	const struct vmm_ops *ops = atomic_load(&default_ops);

	if (ops == NULL)
		return ENXIO;
	if (atomic_load(&vm_count) != 0)
		return EBUSY;
	if (!atomic_compare_exchange_strong(&default_ops, &ops, NULL))
		return EBUSY;
	return ops->cleanup != NULL ? ops->cleanup() : 0;
}
