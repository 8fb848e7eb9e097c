/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * PCI passthrough (vmm-api.md 4.9, 10.8).  No host device is ever set aside for guests here, so
 * every device is an unknown one; the calls answer what bhyve answers then.
 */
#include "vmm/vm.h"

int vmm_is_pptdev(int bus, int slot, int func)
{
	(void)bus;
	(void)slot;
	(void)func;
	return 0;
}

int vm_assign_pptdev(struct vm *vm, int bus, int slot, int func)
{
	(void)vm;
	return vmm_is_pptdev(bus, slot, func) ? EBUSY : ENOENT;
}

int vm_unassign_pptdev(struct vm *vm, int bus, int slot, int func)
{
	(void)vm;
	return vmm_is_pptdev(bus, slot, func) ? EBUSY : ENOENT;
}

void *vm_iommu_domain(struct vm *vm)
{
	(void)vm;
	return NULL;
}
