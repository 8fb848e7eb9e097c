/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The guest-physical address space of a backend without nested page tables: RAM is found through
 * the segment table, so the space is its bounds, and the pmap an identity to hand around.
 */
#include <stdlib.h>

#include "vmm/vm.h"

struct pmap {
	vm_offset_t min, max;
};

struct vmspace {
	struct pmap pmap;
};

struct vmspace *vmspace_generic_alloc(vm_offset_t min, vm_offset_t max)
{
	struct vmspace *vmspace = malloc(sizeof(*vmspace));

	if (vmspace != NULL)
		vmspace->pmap = (struct pmap){.min = min, .max = max};
	return vmspace;
}

void vmspace_generic_free(struct vmspace *vmspace)
{
	free(vmspace);
}

struct pmap *vmspace_pmap(struct vmspace *vmspace)
{
	return &vmspace->pmap;
}
