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
	STEP_ERROR  /* memory operand where nothing can be reached */
};

struct string_io {
	struct vm *vm;
	int vcpuid;
	struct vm_inout_str *io;
	vm_inout_func_t handler;
	void *arg;
	const struct vm_inout_mem *mem; /* NULL: the user has none */
};

/* A memory operand, in the pieces that pages cut it into. */
struct operand {
	unsigned n;
	struct {
		uint64_t gpa;
		unsigned len;
	} piece[2];
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

/* ---- Operands that are not RAM ---- */

static bool is_reachable(struct string_io *s, uint64_t gpa)
{
	return s->mem != NULL || vm_gpa_ram(s->vm, gpa, NULL) != NULL || vm_gpa_is_chip(s->vm, gpa);
}

static enum step_result find_operand(struct string_io *s, uint64_t gla, int prot, struct operand *o)
{
	unsigned left = (unsigned)s->io->inout.bytes;
	int fault;

	for (o->n = 0; left > 0; o->n++) {
		unsigned in_page = PAGE_SIZE - (unsigned)(gla & PAGE_MASK);
		unsigned len = left < in_page ? left : in_page;
		uint64_t *gpa = &o->piece[o->n].gpa;

		if (vm_gla2gpa(s->vm, s->vcpuid, &s->io->paging, gla, prot, gpa, &fault) != 0)
			return STEP_ERROR;
		if (fault)
			return STEP_FAULT;
		if (!is_reachable(s, *gpa))
			return STEP_ERROR;
		o->piece[o->n].len = len;
		gla += len;
		left -= len;
	}
	return STEP_DONE;
}

/* A piece of the user's device, in accesses that a bus would make. */
static void device_access(
	struct string_io *s, uint64_t gpa, uint8_t *bytes, unsigned len, bool is_write)
{
	const struct vm_inout_mem *mem = s->mem;

	while (len > 0) {
		unsigned size = vm_bus_piece(gpa, len);
		uint64_t value = 0;

		if (is_write) {
			memcpy(&value, bytes, size);
			(void)mem->write(s->vm, s->vcpuid, gpa, value, (int)size, mem->arg);
		} else {
			if (mem->read(s->vm, s->vcpuid, gpa, &value, (int)size, mem->arg) != 0)
				value = UINT64_MAX;
			memcpy(bytes, &value, size);
		}
		gpa += size;
		bytes += size;
		len -= size;
	}
}

static void access_piece(
	struct string_io *s, uint64_t gpa, uint8_t *bytes, unsigned len, bool is_write)
{
	void *cookie, *ram;

	if (is_write ? vm_chip_store(s->vm, s->vcpuid, gpa, bytes, len)
		     : vm_chip_load(s->vm, s->vcpuid, gpa, bytes, len))
		return;
	ram = vm_gpa_hold(s->vm, gpa, len, is_write ? PROT_WRITE : PROT_READ, &cookie);
	if (ram == NULL) {
		device_access(s, gpa, bytes, len, is_write);
		return;
	}
	memcpy(is_write ? ram : bytes, is_write ? bytes : ram, len);
	vm_gpa_release(cookie);
}

static void access_operand(
	struct string_io *s, const struct operand *o, uint32_t *val, bool is_write)
{
	uint8_t *bytes = (uint8_t *)val;

	for (unsigned i = 0; i < o->n; i++) {
		access_piece(s, o->piece[i].gpa, bytes, o->piece[i].len, is_write);
		bytes += o->piece[i].len;
	}
}

static void access_port(struct string_io *s, uint32_t *val)
{
	const struct vm_inout *port = &s->io->inout;

	if (s->handler(s->vm, s->vcpuid, port->in, port->port, port->bytes, val, s->arg) != 0)
		*val = UINT32_MAX;
}

static enum step_result iterate_outside(struct string_io *s, uint64_t gla, int prot)
{
	bool in = s->io->inout.in;
	uint32_t val = in ? UINT32_MAX : 0;
	struct operand o;
	enum step_result result = find_operand(s, gla, prot, &o);

	if (result != STEP_DONE)
		return result;
	if (!in)
		access_operand(s, &o, &val, false);
	access_port(s, &val);
	if (in)
		access_operand(s, &o, &val, true);
	return STEP_DONE;
}

/* ---- One iteration ---- */

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
		return iterate_outside(s, gla, prot);
	}
	if (!port->in) {
		val = 0;
		vm_copyin(s->vm, s->vcpuid, info, &val, port->bytes);
	}
	access_port(s, &val);
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
	return vm_emulate_inout_str_mem(vm, vcpuid, exit, handler, arg, NULL);
}

int vm_emulate_inout_str_mem(struct vm *vm, int vcpuid, struct vm_exit *exit,
	vm_inout_func_t handler, void *arg, const struct vm_inout_mem *mem)
{
	struct vm_inout_str *io = &exit->u.inout_str;
	struct string_io s = {
		.vm = vm, .vcpuid = vcpuid, .io = io, .handler = handler, .arg = arg, .mem = mem};
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
