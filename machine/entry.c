/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The registers with which a vcpu starts: power-on, a boot loader's entry, or a startup IPI.
 */
#include "machine/assembly.h"

#include <errno.h>

#define CR0_PE		(1ull << 0)
#define CR0_ET		(1ull << 4)
#define CR0_NE		(1ull << 5)
#define CR0_PG		(1ull << 31)
#define CR4_PAE		(1ull << 5)
#define EFER_LME	(1ull << 8)
#define EFER_LMA	(1ull << 10)
#define RFLAGS_RESERVED 2ull

/* Access rights as in struct seg_desc. */
enum {
	ACCESS_CODE = 0x9b,
	ACCESS_DATA = 0x93,
	ACCESS_TSS = 0x8b,
	ACCESS_LDT = 0x82,
	ACCESS_L = 1 << 13,
	ACCESS_DB = 1 << 14,
	ACCESS_G = 1 << 15,
};

struct reg {
	int name;
	uint64_t value;
};

struct seg {
	int name;
	uint16_t selector;
	struct seg_desc desc;
};

static int set_registers(struct vm *vm, int vcpu, const struct reg *regs, size_t n)
{
	int error = 0;

	for (size_t i = 0; i < n && !error; i++)
		error = vmmdev_set_register(vm, vcpu, regs[i].name, regs[i].value);
	return error;
}

static int set_segments(struct vm *vm, int vcpu, const struct seg *segs, size_t n)
{
	int error = 0;

	for (size_t i = 0; i < n && !error; i++) {
		struct seg_desc desc = segs[i].desc;

		error = vmmdev_set_seg_desc(vm, vcpu, segs[i].name, &desc);
		if (!error && segs[i].name != VM_REG_GUEST_GDTR &&
			segs[i].name != VM_REG_GUEST_IDTR)
			error = vmmdev_set_register(vm, vcpu, segs[i].name, segs[i].selector);
	}
	return error;
}

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* Protected and long mode: flat segments from the loader's GDT, and no IDT: a fault is a triple
 * fault. */
static int load_flat(struct vm *vm, int vcpu, const struct boot_entry *e)
{
	bool is_long = e->mode == BOOT_LONG;
	uint32_t code = ACCESS_CODE | ACCESS_G | (is_long ? ACCESS_L : ACCESS_DB);
	struct seg_desc data = {.limit = ~0u, .access = ACCESS_DATA | ACCESS_G | ACCESS_DB};
	const struct seg segs[] = {
		{VM_REG_GUEST_CS, BOOT_CS, {.limit = ~0u, .access = code}},
		{VM_REG_GUEST_DS, BOOT_DS, data},
		{VM_REG_GUEST_ES, BOOT_DS, data},
		{VM_REG_GUEST_FS, BOOT_DS, data},
		{VM_REG_GUEST_GS, BOOT_DS, data},
		{VM_REG_GUEST_SS, BOOT_DS, data},
		{VM_REG_GUEST_TR, BOOT_TR, {.limit = 0x67, .access = ACCESS_TSS}},
		{VM_REG_GUEST_GDTR, 0, {.base = e->gdt, .limit = BOOT_GDT_SIZE - 1}},
		{VM_REG_GUEST_IDTR, 0, {.base = 0, .limit = 0}},
	};
	/* EFER before CR0: paging with LME clear would be PAE paging. */
	const struct reg regs[] = {
		{VM_REG_GUEST_CR3, e->cr3},
		{VM_REG_GUEST_CR4, is_long ? CR4_PAE : 0},
		{VM_REG_GUEST_EFER, is_long ? EFER_LME | EFER_LMA : 0},
		{VM_REG_GUEST_CR0, CR0_PE | CR0_ET | CR0_NE | (is_long ? CR0_PG : 0)},
		{VM_REG_GUEST_RAX, e->rax},
		{VM_REG_GUEST_RBX, e->rbx},
		{VM_REG_GUEST_RSI, e->rsi},
		{VM_REG_GUEST_RDX, 0},
		{VM_REG_GUEST_RSP, e->rsp},
		{VM_REG_GUEST_RFLAGS, RFLAGS_RESERVED},
	};
	int error = set_registers(vm, vcpu, regs, COUNT(regs));

	return error ? error : set_segments(vm, vcpu, segs, COUNT(segs));
}

static int load_real(struct vm *vm, int vcpu, uint16_t cs, uint64_t rsp)
{
	const struct seg code = {VM_REG_GUEST_CS, cs,
		{.base = (uint64_t)cs << 4, .limit = 0xffff, .access = ACCESS_DATA}};
	const struct reg sp = {VM_REG_GUEST_RSP, rsp};
	int error = set_segments(vm, vcpu, &code, 1);

	return error ? error : set_registers(vm, vcpu, &sp, 1);
}

int vcpu_load_entry(struct vm *vm, int vcpu, const struct boot_entry *e, uint64_t *rip)
{
	int error = vmmdev_reset(vm, vcpu);

	if (error)
		return error;
	*rip = e->rip;
	switch (e->mode) {
	case BOOT_RESET:
		*rip = 0xfff0;
		break;
	case BOOT_REAL:
		error = load_real(vm, vcpu, 0, e->rsp);
		break;
	case BOOT_PROTECTED:
	case BOOT_LONG:
		error = load_flat(vm, vcpu, e);
		break;
	}
	return error ? error : vmmdev_set_register(vm, vcpu, VM_REG_GUEST_RIP, *rip);
}

int vcpu_load_startup(struct vm *vm, int vcpu, uint64_t base, uint64_t rip)
{
	int error = vmmdev_reset(vm, vcpu);

	if (!error)
		error = load_real(vm, vcpu, (uint16_t)(base >> 4), 0);
	return error ? error : vmmdev_set_register(vm, vcpu, VM_REG_GUEST_RIP, rip);
}
