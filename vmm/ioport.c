/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Port I/O: the ports of the chips (vmm-api.md 10.7), and completion of the exits for all others.
 */
#include <vmm/pc.h>
#include <vmm/vatpic.h>
#include <vmm/vatpit.h>
#include <vmm/vpmtmr.h>
#include <vmm/vrtc.h>

#include "vmm/vm.h"

struct port_range {
	uint16_t first, n;
	int (*handler)(struct vm *vm, int vcpuid, bool in, int port, int bytes, uint32_t *val);
};

static const struct port_range ranges[] = {
	{PC_PIC1_PORT, 2, vatpic_master_handler},
	{PC_PIC2_PORT, 2, vatpic_slave_handler},
	{PC_ELCR_PORT, 2, vatpic_elc_handler},
	{PC_PIT_PORT, 4, vatpit_handler},
	{PC_NMISC_PORT, 1, vatpit_nmisc_handler},
	{PC_RTC_INDEX, 1, vrtc_addr_handler},
	{PC_RTC_DATA, 1, vrtc_data_handler},
	{PC_PM_TIMER, 1, vpmtmr_handler},
};

int vm_ioport(struct vm *vm, int vcpuid, bool in, int port, int bytes, uint32_t *val)
{
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
		if ((unsigned)(port - ranges[i].first) < ranges[i].n)
			return ranges[i].handler(vm, vcpuid, in, port, bytes, val);
	return ENOENT;
}

/* 8- and 16-bit IN leave the rest of RAX alone, 32-bit IN clears the upper half. */
int vm_inout_merge(struct vm *vm, int vcpuid, const struct vm_inout *io, uint32_t eax)
{
	uint64_t mask = io->bytes == 1 ? 0xff : io->bytes == 2 ? 0xffff : UINT64_MAX;
	uint64_t rax = 0;
	int error = vm_get_register(vm, vcpuid, VM_REG_GUEST_RAX, &rax);

	if (error != 0)
		return error;
	return vm_set_register(vm, vcpuid, VM_REG_GUEST_RAX, (rax & ~mask) | (eax & mask));
}

int vm_emulate_inout(
	struct vm *vm, int vcpuid, struct vm_exit *exit, vm_inout_func_t handler, void *arg)
{
	const struct vm_inout *io = &exit->u.inout;
	uint32_t mask = io->bytes == 4 ? UINT32_MAX : (1u << io->bytes * 8) - 1;
	uint32_t val = io->in ? mask : io->eax & mask;
	int error = handler(vm, vcpuid, io->in, io->port, io->bytes, &val, arg);

	if (!io->in)
		return 0;
	return vm_inout_merge(vm, vcpuid, io, error != 0 ? UINT32_MAX : val);
}
