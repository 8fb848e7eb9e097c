/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * INS and OUTS at ports of the user's devices (vmm-api.md 10.7): a few iterations per exit, so that
 * interrupts get in between.
 */
#include "vmm/vm.h"
#include "x86/x86.h"

#define ITERATIONS_PER_EXIT 16

enum step_result {
	STEP_DONE,
	STEP_FAULT, /* queued for the guest */
	STEP_ERROR  /* memory operand outside RAM */
};

struct string_io {
	struct vm *vm;
	int vcpuid;
	struct vm_inout_str *io;
	vm_inout_func_t handler;
	void *arg;
};

static enum step_result fault(struct string_io *s, int vector)
{
	struct vm_exception vme = {.vector = vector, .error_code_valid = 1};

	(void)vm_inject_exception(s->vm, s->vcpuid, &vme);
	return STEP_FAULT;
}

/* The address checks in the order of the architecture. */
static enum step_result linear_address(struct string_io *s, int prot, uint64_t *gla)
{
	struct vm_inout_str *io = s->io;
	int segment_fault = io->seg_name == VM_REG_GUEST_SS ? X86_SS_FAULT : X86_GP;
	int bytes = io->inout.bytes;

	if (vie_calculate_gla(io->paging.cpu_mode, io->seg_name, &io->seg_desc, io->index, bytes,
		    io->addrsize, prot, gla) != 0 ||
		vie_canonical_check(io->paging.cpu_mode, *gla))
		return fault(s, segment_fault);
	if (vie_alignment_check(io->paging.cpl, bytes, io->cr0, io->rflags, *gla))
		return fault(s, X86_AC);
	return STEP_DONE;
}

/* Memory is held before the port is touched: a fault must find the device as it was. */
static enum step_result iterate(struct string_io *s)
{
	const struct vm_inout *port = &s->io->inout;
	int prot = port->in ? PROT_WRITE : PROT_READ;
	struct vm_copyinfo info[2];
	uint32_t val = UINT32_MAX;
	uint64_t gla;
	enum step_result result = linear_address(s, prot, &gla);

	if (result != STEP_DONE)
		return result;
	switch (vm_copy_setup(s->vm, s->vcpuid, &s->io->paging, gla, port->bytes, prot, info, 2)) {
	case 0:
		break;
	case 1:
		return STEP_FAULT;
	default:
		return STEP_ERROR;
	}
	if (!port->in) {
		val = 0;
		vm_copyin(s->vm, s->vcpuid, info, &val, port->bytes);
	}
	if (s->handler(s->vm, s->vcpuid, port->in, port->port, port->bytes, &val, s->arg) != 0)
		val = UINT32_MAX;
	if (port->in)
		vm_copyout(s->vm, s->vcpuid, &val, info, port->bytes);
	vm_copy_teardown(s->vm, s->vcpuid, info, 2);
	return STEP_DONE;
}

/* A register of which an instruction with this address size sees, and changes, the low part. */
static uint64_t merge(uint64_t old, uint64_t value, int addrsize)
{
	if (addrsize == 2)
		return (old & ~(uint64_t)UINT16_MAX) | (value & UINT16_MAX);
	return addrsize == 4 ? value & UINT32_MAX : value;
}

static uint64_t low_part(uint64_t value, int addrsize)
{
	return merge(0, value, addrsize);
}

static int write_back(struct string_io *s, enum vm_reg_name reg, uint64_t value)
{
	uint64_t old = 0;
	int error = vm_get_register(s->vm, s->vcpuid, reg, &old);

	if (error != 0)
		return error;
	return vm_set_register(s->vm, s->vcpuid, reg, merge(old, value, s->io->addrsize));
}

static int write_back_all(struct string_io *s)
{
	const struct vm_inout *port = &s->io->inout;
	int error = write_back(s, port->in ? VM_REG_GUEST_RDI : VM_REG_GUEST_RSI, s->io->index);

	if (error == 0 && port->rep)
		error = write_back(s, VM_REG_GUEST_RCX, s->io->count);
	return error;
}

int vm_emulate_inout_str(
	struct vm *vm, int vcpuid, struct vm_exit *exit, vm_inout_func_t handler, void *arg)
{
	struct vm_inout_str *io = &exit->u.inout_str;
	struct string_io s = {.vm = vm, .vcpuid = vcpuid, .io = io, .handler = handler, .arg = arg};
	uint64_t step = io->inout.bytes;
	enum step_result result = STEP_DONE;
	int error;

	if ((io->rflags & X86_RF_DF) != 0)
		step = -step;
	io->index = low_part(io->index, io->addrsize);
	io->count = low_part(io->count, io->addrsize);
	if (io->count == 0)
		return 0;
	for (int i = 0; i < ITERATIONS_PER_EXIT && io->count > 0; i++) {
		result = iterate(&s);
		if (result != STEP_DONE)
			break;
		io->index = low_part(io->index + step, io->addrsize);
		io->count--;
	}
	error = write_back_all(&s);
	if (io->count > 0)
		exit->inst_length = 0;
	return result == STEP_ERROR ? EFAULT : error;
}
