/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* How the vcpus are told to be arranged.  It is the backend's CPUID that tells it. */
#include "vmm/vm.h"

int vm_set_topology(
	struct vm *vm, uint16_t sockets, uint16_t cores, uint16_t threads, uint16_t maxcpus)
{
	(void)maxcpus;
	if (sockets == 0 || cores == 0 || threads == 0 || sockets > VM_MAXCPU ||
		cores > VM_MAXCPU || threads > VM_MAXCPU ||
		(unsigned)sockets * cores * threads > VM_MAXCPU)
		return EINVAL;
	for (int i = 0; i < VM_MAXCPU; i++)
		if (vm->vcpu[i].has_run)
			return EBUSY;
	vm->topology.sockets = sockets;
	vm->topology.cores = cores;
	vm->topology.threads = threads;
	return 0;
}

void vm_get_topology(
	struct vm *vm, uint16_t *sockets, uint16_t *cores, uint16_t *threads, uint16_t *maxcpus)
{
	*sockets = vm->topology.sockets;
	*cores = vm->topology.cores;
	*threads = vm->topology.threads;
	*maxcpus = VM_MAXCPU;
}
