/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Registers, descriptors, capabilities, APIC mode, and the reset values of a vcpu. */
#include <vmm/vlapic.h>

#include "vmm/vm.h"
#include "x86/x86.h"

/* ---- Access ---- */

int vm_get_register(struct vm *vm, int vcpuid, int reg, uint64_t *retval)
{
	if (!vcpu_valid(vcpuid) || reg >= VM_REG_LAST)
		return EINVAL;
	return vm->ops->vmgetreg(vm->vmi, vcpuid, reg, retval);
}

/* Bits that are wired (SDM vol. 3, 2.5, 17.2.4, 26.3.2.1): a guest sees them whatever is set. */
static uint64_t with_wired_bits(int reg, uint64_t val)
{
	if (reg == VM_REG_GUEST_CR0)
		return val | X86_CR0_ET;
	return reg == VM_REG_GUEST_DR7 ? (val & 0xffff2fff) | 0x400 : val;
}

int vm_set_register(struct vm *vm, int vcpuid, int reg, uint64_t val)
{
	if (!vcpu_valid(vcpuid) || reg >= VM_REG_LAST)
		return EINVAL;
	return vm->ops->vmsetreg(vm->vmi, vcpuid, reg, with_wired_bits(reg, val));
}

static bool has_desc(int reg)
{
	return reg >= VM_REG_GUEST_ES && reg <= VM_REG_GUEST_GDTR;
}

int vm_get_seg_desc(struct vm *vm, int vcpuid, int reg, struct seg_desc *ret_desc)
{
	if (!vcpu_valid(vcpuid) || !has_desc(reg))
		return EINVAL;
	return vm->ops->vmgetdesc(vm->vmi, vcpuid, reg, ret_desc);
}

int vm_set_seg_desc(struct vm *vm, int vcpuid, int reg, struct seg_desc *desc)
{
	if (!vcpu_valid(vcpuid) || !has_desc(reg))
		return EINVAL;
	return vm->ops->vmsetdesc(vm->vmi, vcpuid, reg, desc);
}

enum vm_reg_name vm_segment_name(int seg_encoding)
{
	assert(seg_encoding >= 0 && seg_encoding <= X86_GS);
	return (enum vm_reg_name)(VM_REG_GUEST_ES + seg_encoding);
}

int vm_get_capability(struct vm *vm, int vcpuid, int type, int *val)
{
	if (!vcpu_valid(vcpuid) || type < 0 || type >= VM_CAP_MAX)
		return EINVAL;
	return vm->ops->vmgetcap(vm->vmi, vcpuid, type, val);
}

int vm_set_capability(struct vm *vm, int vcpuid, int type, int val)
{
	if (!vcpu_valid(vcpuid) || type < 0 || type >= VM_CAP_MAX)
		return EINVAL;
	return vm->ops->vmsetcap(vm->vmi, vcpuid, type, val);
}

int vm_get_x2apic_state(struct vm *vm, int vcpuid, enum x2apic_state *state)
{
	if (!vcpu_valid(vcpuid))
		return EINVAL;
	*state = (enum x2apic_state)atomic_load(&vm->vcpu[vcpuid].x2apic);
	return 0;
}

int vm_set_x2apic_state(struct vm *vm, int vcpuid, enum x2apic_state state)
{
	struct vcpu *vcpu;

	if (!vcpu_valid(vcpuid) || (unsigned)state >= X2APIC_STATE_LAST)
		return EINVAL;
	vcpu = &vm->vcpu[vcpuid];
	if (vcpu->has_run)
		return EBUSY;
	atomic_store(&vcpu->x2apic, state);
	vlapic_set_x2apic_state(vcpu->vlapic, state);
	return 0;
}

/* ---- Paging snapshot (vmm-api.md 2.10) ---- */

int vm_get_paging(struct vm *vm, int vcpuid, struct vm_guest_paging *paging)
{
	uint64_t cr0, cr3, cr4, efer;
	struct seg_desc cs, ss;
	int error;

	if ((error = vm_get_register(vm, vcpuid, VM_REG_GUEST_CR0, &cr0)) != 0 ||
		(error = vm_get_register(vm, vcpuid, VM_REG_GUEST_CR3, &cr3)) != 0 ||
		(error = vm_get_register(vm, vcpuid, VM_REG_GUEST_CR4, &cr4)) != 0 ||
		(error = vm_get_register(vm, vcpuid, VM_REG_GUEST_EFER, &efer)) != 0 ||
		(error = vm_get_seg_desc(vm, vcpuid, VM_REG_GUEST_CS, &cs)) != 0 ||
		(error = vm_get_seg_desc(vm, vcpuid, VM_REG_GUEST_SS, &ss)) != 0)
		return error;
	*paging = (struct vm_guest_paging){.cr3 = cr3,
		.cpl = (int)SEG_DESC_DPL(ss.access),
		.cpu_mode = vm_cpu_mode_of(cr0, efer, cs.access),
		.paging_mode = vm_paging_mode_of(cr0, cr4, efer)};
	return 0;
}

/* ---- Reset (SDM vol. 3, table 9-1) ---- */

struct reset_reg {
	uint8_t reg;
	uint32_t value;
};

/* What is not listed is 0, selectors included. */
static const struct reset_reg reset_regs[] = {
	{VM_REG_GUEST_RFLAGS, 0x2},
	{VM_REG_GUEST_RIP, 0xfff0},
	{VM_REG_GUEST_CR0, X86_CR0_NE},
	{VM_REG_GUEST_RDX, 0xf00},
	{VM_REG_GUEST_CS, 0xf000},
	{VM_REG_GUEST_DR7, 0x400},
};

struct reset_desc {
	uint8_t reg;
	struct seg_desc desc;
};

static const struct reset_desc reset_descs[] = {
	{VM_REG_GUEST_CS, {0xffff0000, 0xffff, 0x93}},
	{VM_REG_GUEST_SS, {0, 0xffff, 0x93}},
	{VM_REG_GUEST_DS, {0, 0xffff, 0x93}},
	{VM_REG_GUEST_ES, {0, 0xffff, 0x93}},
	{VM_REG_GUEST_FS, {0, 0xffff, 0x93}},
	{VM_REG_GUEST_GS, {0, 0xffff, 0x93}},
	{VM_REG_GUEST_GDTR, {0, 0xffff, 0}},
	{VM_REG_GUEST_IDTR, {0, 0xffff, 0}},
	{VM_REG_GUEST_TR, {0, 0, 0x8b}},
	{VM_REG_GUEST_LDTR, {0, 0xffff, 0x82}},
};

static uint64_t reset_value(int reg)
{
	for (size_t i = 0; i < sizeof(reset_regs) / sizeof(reset_regs[0]); i++)
		if (reset_regs[i].reg == reg)
			return reset_regs[i].value;
	return 0;
}

/* CR0 first: without paging the other control registers may become 0 in any order. */
static int reset_registers(struct vm *vm, int vcpuid)
{
	int error = vm_set_register(vm, vcpuid, VM_REG_GUEST_CR0, reset_value(VM_REG_GUEST_CR0));

	for (int reg = 0; error == 0 && reg < VM_REG_GUEST_PDPTE0; reg++)
		if (reg != VM_REG_GUEST_IDTR && reg != VM_REG_GUEST_GDTR)
			error = vm_set_register(vm, vcpuid, reg, reset_value(reg));
	return error;
}

int vcpu_reset(struct vm *vm, int vcpuid)
{
	int error = reset_registers(vm, vcpuid);

	for (size_t i = 0; error == 0 && i < sizeof(reset_descs) / sizeof(reset_descs[0]); i++) {
		struct seg_desc desc = reset_descs[i].desc;

		error = vm_set_seg_desc(vm, vcpuid, reset_descs[i].reg, &desc);
	}
	return error;
}

static int clear_blocking(struct vm *vm, int vcpuid)
{
	struct x86_cpu *cpu;

	if (vm->ops->cpu_get == NULL)
		return 0;
	cpu = vm->ops->cpu_get(vm->vmi, vcpuid);
	if (cpu == NULL)
		return ENOMEM;
	cpu->shadow = 0;
	cpu->nmi_blocked = false;
	return vm->ops->cpu_put(vm->vmi, vcpuid);
}

/*
 * The FPU, the TSC and the MSRs keep their values over INIT; EFER does not matter to anybody after
 * it.
 */
int vcpu_init_reset(struct vm *vm, int vcpuid)
{
	int error = vcpu_reset(vm, vcpuid);

	vcpu_event_reset(&vm->vcpu[vcpuid]);
	return error != 0 ? error : clear_blocking(vm, vcpuid);
}

int vcpu_startup(struct vm *vm, int vcpuid, uint8_t vector)
{
	struct seg_desc cs = {.base = (uint64_t)vector << 12, .limit = 0xffff, .access = 0x93};
	int error = vm_set_seg_desc(vm, vcpuid, VM_REG_GUEST_CS, &cs);

	if (error == 0)
		error = vm_set_register(vm, vcpuid, VM_REG_GUEST_CS, (uint64_t)vector << 8);
	if (error == 0)
		error = vm_set_register(vm, vcpuid, VM_REG_GUEST_RIP, 0);
	return error;
}
