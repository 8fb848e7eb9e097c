/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The events of a vcpu besides its local APIC's: NMI, ExtINT, queued exceptions, and an event whose
 * delivery an exit interrupted; and how the last two combine (vmm-api.md 7).
 */
#include "vmm/chip/extint.h"
#include "vmm/vm.h"
#include "x86/x86.h"

void vcpu_event_reset(struct vcpu *vcpu)
{
	atomic_store(&vcpu->nmi_pending, false);
	atomic_store(&vcpu->extint_pending, false);
	vcpu->exitintinfo = 0;
	vcpu->exception_pending = false;
}

/* ---- NMI and ExtINT: flags that any thread raises and vmrun takes ---- */

int vm_inject_nmi(struct vm *vm, int vcpuid)
{
	if (!vcpu_valid(vcpuid))
		return EINVAL;
	atomic_store(&vm->vcpu[vcpuid].nmi_pending, true);
	vcpu_notify_event(vm, vcpuid, false);
	return 0;
}

int vm_nmi_pending(struct vm *vm, int vcpuid)
{
	return atomic_load(&vm->vcpu[vcpuid].nmi_pending);
}

void vm_nmi_clear(struct vm *vm, int vcpuid)
{
	bool was = atomic_exchange(&vm->vcpu[vcpuid].nmi_pending, false);

	assert(was);
	(void)was;
	vmm_stat_incr(vm, vcpuid, VMM_STAT_NMI_COUNT, 1);
}

int vm_inject_extint(struct vm *vm, int vcpuid)
{
	if (!vcpu_valid(vcpuid))
		return EINVAL;
	atomic_store(&vm->vcpu[vcpuid].extint_pending, true);
	vcpu_notify_event(vm, vcpuid, false);
	return 0;
}

int vm_extint_pending(struct vm *vm, int vcpuid)
{
	return atomic_load(&vm->vcpu[vcpuid].extint_pending);
}

void vm_extint_clear(struct vm *vm, int vcpuid)
{
	/* It may just have been withdrawn: then the vector is the spurious one. */
	atomic_store(&vm->vcpu[vcpuid].extint_pending, false);
	vmm_stat_incr(vm, vcpuid, VMM_STAT_EXTINT_COUNT, 1);
}

void vm_extint_withdraw(struct vm *vm)
{
	for (int i = 0; i < VM_MAXCPU; i++)
		if (atomic_load(&vm->vcpu[i].extint_pending))
			atomic_store(&vm->vcpu[i].extint_pending, false);
}

/* ---- Queued exceptions ---- */

/* Exceptions push no error code in real mode (SDM vol. 3, 20.1.4). */
static bool in_real_mode(struct vm *vm, int vcpuid)
{
	uint64_t cr0 = X86_CR0_PE;

	(void)vm->ops->vmgetreg(vm->vmi, vcpuid, VM_REG_GUEST_CR0, &cr0);
	return (cr0 & X86_CR0_PE) == 0;
}

int vm_inject_exception(struct vm *vm, int vcpuid, struct vm_exception *vme)
{
	struct vcpu *vcpu;

	if (!vcpu_valid(vcpuid) || vme->vector < 0 || vme->vector >= 32 || vme->vector == X86_DF)
		return EINVAL;
	vcpu = &vm->vcpu[vcpuid];
	if (vcpu->exception_pending)
		return EBUSY;
	vcpu->exception = *vme;
	if (in_real_mode(vm, vcpuid))
		vcpu->exception.error_code_valid = 0;
	vcpu->exception_pending = true;
	return 0;
}

void vm_inject_fault(struct vm *vm, int vcpuid, int vector, bool has_code, uint32_t code)
{
	struct vm_exception vme = {.cpuid = vcpuid,
		.vector = vector,
		.error_code = code,
		.error_code_valid = has_code};
	int error = vm_inject_exception(vm, vcpuid, &vme);

	assert(error == 0);
	if (error == 0)
		vm->vcpu[vcpuid].exitinfo.inst_length = 0;
}

void vm_inject_gp(struct vm *vm, int vcpuid)
{
	vm_inject_fault(vm, vcpuid, X86_GP, true, 0);
}

void vm_inject_ud(struct vm *vm, int vcpuid)
{
	vm_inject_fault(vm, vcpuid, X86_UD, false, 0);
}

void vm_inject_ac(struct vm *vm, int vcpuid, int errcode)
{
	vm_inject_fault(vm, vcpuid, X86_AC, true, (uint32_t)errcode);
}

void vm_inject_ss(struct vm *vm, int vcpuid, int errcode)
{
	vm_inject_fault(vm, vcpuid, X86_SS_FAULT, true, (uint32_t)errcode);
}

void vm_inject_pf(struct vm *vm, int vcpuid, int error_code, uint64_t cr2)
{
	(void)vm_set_register(vm, vcpuid, VM_REG_GUEST_CR2, cr2);
	vm_inject_fault(vm, vcpuid, X86_PF, true, (uint32_t)error_code);
}

/* ---- Interrupted events, and how two become one ---- */

int vm_exit_intinfo(struct vm *vm, int vcpuid, uint64_t info)
{
	unsigned type = info & VM_INTINFO_TYPE;
	unsigned vector = VM_INTINFO_VECTOR(info);

	if (!vcpu_valid(vcpuid))
		return EINVAL;
	if ((info & VM_INTINFO_VALID) == 0)
		info = 0;
	else if ((type == VM_INTINFO_NMI && vector != X86_NMI_VECTOR) ||
		 (type == VM_INTINFO_HWEXCEPTION && vector >= 32) || (info & VM_INTINFO_RSVD) != 0)
		return EINVAL;
	vm->vcpu[vcpuid].exitintinfo = info;
	return 0;
}

enum event_class { BENIGN, CONTRIBUTORY, PAGE_FAULT };

/* SDM vol. 3, table 6-4; by vector, for exceptions. */
static const uint8_t exception_class[32] = {
	[X86_DE] = CONTRIBUTORY,
	[X86_TS] = CONTRIBUTORY,
	[X86_NP] = CONTRIBUTORY,
	[X86_SS_FAULT] = CONTRIBUTORY,
	[X86_GP] = CONTRIBUTORY,
	[X86_PF] = PAGE_FAULT,
	[20] = PAGE_FAULT, /* #VE */
};

static enum event_class classify(uint64_t info)
{
	switch (info & VM_INTINFO_TYPE) {
	case VM_INTINFO_HWINTR:
	case VM_INTINFO_NMI:
	case VM_INTINFO_SWINTR:
		return BENIGN;
	default:
		return exception_class[VM_INTINFO_VECTOR(info) & 31];
	}
}

/* Does `second`, raised while `first` was delivered, make a double fault? SDM vol. 3, table 6-5. */
static bool is_double_fault(enum event_class first, enum event_class second)
{
	return (first == CONTRIBUTORY && second == CONTRIBUTORY) ||
	       (first == PAGE_FAULT && second != BENIGN);
}

static bool is_df(uint64_t info)
{
	return (info & VM_INTINFO_TYPE) == VM_INTINFO_HWEXCEPTION &&
	       VM_INTINFO_VECTOR(info) == X86_DF;
}

#define INFO_EXCEPTION(vector) ((uint64_t)VM_INTINFO_VALID | VM_INTINFO_HWEXCEPTION | (vector))

static uint64_t exception_info(const struct vcpu *vcpu)
{
	uint64_t info;

	if (!vcpu->exception_pending)
		return 0;
	info = INFO_EXCEPTION((uint64_t)vcpu->exception.vector);
	if (vcpu->exception.error_code_valid)
		info |= VM_INTINFO_DEL_ERRCODE | (uint64_t)vcpu->exception.error_code << 32;
	return info;
}

int vm_get_intinfo(struct vm *vm, int vcpuid, uint64_t *info1, uint64_t *info2)
{
	if (!vcpu_valid(vcpuid))
		return EINVAL;
	*info1 = vm->vcpu[vcpuid].exitintinfo;
	*info2 = exception_info(&vm->vcpu[vcpuid]);
	return 0;
}

int vm_entry_intinfo(struct vm *vm, int vcpuid, uint64_t *info)
{
	struct vcpu *vcpu = &vm->vcpu[vcpuid];
	uint64_t info1 = vcpu->exitintinfo;
	uint64_t info2 = exception_info(vcpu);

	vcpu->exitintinfo = 0;
	vcpu->exception_pending = false;
	*info = info2 != 0 ? info2 : info1;
	if (info1 == 0 || info2 == 0)
		return *info != 0;
	if (is_df(info1)) {
		*info = 0;
		(void)vm_suspend(vm, VM_SUSPEND_TRIPLEFAULT);
		return 0;
	}
	if (is_double_fault(classify(info1), classify(info2)))
		*info = INFO_EXCEPTION(X86_DF) | VM_INTINFO_DEL_ERRCODE;
	return 1;
}
