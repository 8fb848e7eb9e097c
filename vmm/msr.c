/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The guest's MSRs outside the CPU proper (vmm-api.md 11.1): the local APIC's, and a few that
 * firmware and operating systems expect to exist.
 */
#include <vmm/vlapic.h>

#include "vmm/vm.h"

enum msr_kind {
	MSR_CPU,      /* the backend keeps the live value; the slot is what it starts with */
	MSR_WRITABLE, /* a plain word */
	MSR_READONLY  /* writes are lost without a fault */
};

struct msr_slot {
	uint32_t msr;
	uint8_t kind;
	uint64_t initial;
};

/* The seed's table: the position is the index into vm_guest_msrs. */
static const struct msr_slot slots[] = {
	{0xc0000082, MSR_CPU, 0},			 /* LSTAR */
	{0xc0000083, MSR_CPU, 0},			 /* CSTAR */
	{0xc0000081, MSR_CPU, 0},			 /* STAR */
	{0xc0000084, MSR_CPU, 0},			 /* SF_MASK */
	{0x00000277, MSR_CPU, 0x0007040600070406ull},	 /* PAT */
	{0x0000008b, MSR_WRITABLE, 0},			 /* BIOS_SIGN: microcode revision */
	{0x00000179, MSR_READONLY, 0},			 /* MCG_CAP: no banks */
	{0x00000017, MSR_READONLY, 0},			 /* PLATFORM_ID */
	{0x000001a0, MSR_READONLY, 1u << 12 | 1u << 11}, /* MISC_ENABLE: no PEBS, no BTS */
};
#define NSLOTS (sizeof(slots) / sizeof(slots[0]))
_Static_assert(NSLOTS <= VM_GUEST_MSRS, "the seed's array has 16 slots");

uint64_t *vm_guest_msrs(struct vm *vm, int cpu)
{
	return vm->vcpu[cpu].msrs;
}

void vm_msr_init(struct vm *vm, int vcpuid)
{
	memset(vm->vcpu[vcpuid].msrs, 0, sizeof(vm->vcpu[vcpuid].msrs));
	for (size_t i = 0; i < NSLOTS; i++)
		vm->vcpu[vcpuid].msrs[i] = slots[i].initial;
}

static const struct msr_slot *slot_find(uint32_t msr)
{
	for (size_t i = 0; i < NSLOTS; i++)
		if (slots[i].msr == msr && slots[i].kind != MSR_CPU)
			return &slots[i];
	return NULL;
}

int vm_rdmsr(struct vm *vm, int vcpuid, uint32_t msr, uint64_t *value)
{
	struct vcpu *vcpu = &vm->vcpu[vcpuid];
	const struct msr_slot *slot;

	if (vlapic_owns_msr(msr))
		return vlapic_rdmsr(vcpu->vlapic, msr, value);
	slot = slot_find(msr);
	if (slot == NULL)
		return ENOENT;
	*value = vcpu->msrs[slot - slots];
	return 0;
}

static int vlapic_write(struct vm *vm, int vcpuid, uint32_t msr, uint64_t value)
{
	bool retu = false;
	int error = vlapic_wrmsr(vm->vcpu[vcpuid].vlapic, msr, value, &retu);

	if (error == 0 && retu)
		vcpu_spinup_later(vm, vcpuid);
	return error;
}

int vm_wrmsr(struct vm *vm, int vcpuid, uint32_t msr, uint64_t value)
{
	const struct msr_slot *slot;

	if (vlapic_owns_msr(msr))
		return vlapic_write(vm, vcpuid, msr, value);
	slot = slot_find(msr);
	if (slot == NULL)
		return ENOENT;
	if (slot->kind == MSR_WRITABLE)
		vm->vcpu[vcpuid].msrs[slot - slots] = value;
	return 0;
}
