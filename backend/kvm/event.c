/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Events into the guest (vmm-api.md 7.5), as struct kvm_vcpu_events, which travels with the
 * registers and costs no call.  KVM keeps what it could not deliver; we take it back at once, so
 * that the core's rules combine it with what comes up meanwhile.
 */
#include <vmm/vatpic.h>
#include <vmm/vlapic.h>

#include "backend/kvm/kvm.h"

/* Not as a new exception: those that INT3 and INTO raise, for which KVM wants an instruction to
 * skip. */
static bool is_soft_exception(uint64_t info)
{
	unsigned vector = VM_INTINFO_VECTOR(info), type = info & VM_INTINFO_TYPE;

	return type != VM_INTINFO_HWINTR && type != VM_INTINFO_SWINTR &&
	       (vector == X86_BP || vector == X86_OF);
}

static void set_exception(struct kvm_vcpu_events *e, uint64_t info)
{
	e->exception.injected = 1;
	e->exception.nr = VM_INTINFO_VECTOR(info);
	e->exception.has_error_code = (info & VM_INTINFO_DEL_ERRCODE) != 0;
	e->exception.error_code = (uint32_t)(info >> 32);
}

static void set_interrupt(struct kvm_cpu *c, unsigned vector)
{
	struct kvm_vcpu_events *e = &c->regs->events;

	e->interrupt.injected = 1;
	e->interrupt.nr = (uint8_t)vector;
	e->interrupt.soft = 0;
	kvm_state_set_events(c);
}

/* Or because an NMI comes on top, and this KVM would be late with it. */
static bool must_deliver(struct kvm_cpu *c, uint64_t info)
{
	return is_soft_exception(info) || (c->guest->late && vm_nmi_pending(c->vm, c->vcpuid));
}

/* The event that the core hands out: whatever the guest's flags say. *taken: KVM has it before it.
 */
static int set_info(struct kvm_cpu *c, uint64_t info, bool *taken)
{
	struct kvm_vcpu_events *e = &c->regs->events;

	*taken = !must_deliver(c, info);
	if (!*taken)
		return vm_execute_event(c->vm, c->vcpuid, c->regs->regs.rip, info);
	switch (info & VM_INTINFO_TYPE) {
	case VM_INTINFO_HWINTR:
	case VM_INTINFO_SWINTR:
		set_interrupt(c, VM_INTINFO_VECTOR(info));
		break;
	case VM_INTINFO_NMI:
		e->nmi.injected = 1;
		break;
	default:
		set_exception(e, info);
		break;
	}
	e->interrupt.shadow = 0;
	kvm_state_set_events(c);
	return 0;
}

/* KVM waits for the end of whatever blocks it. True: it goes first now. */
static bool give_nmi(struct kvm_cpu *c)
{
	struct kvm_vcpu_events *e = &c->regs->events;

	if (!vm_nmi_pending(c->vm, c->vcpuid))
		return false;
	vm_nmi_clear(c->vm, c->vcpuid);
	e->nmi.pending = 1;
	kvm_state_set_events(c);
	return !e->nmi.masked && !e->interrupt.shadow;
}

static bool can_interrupt(const struct kvm_cpu *c)
{
	return c->regs->regs.rflags & X86_RF_IF && !c->regs->events.interrupt.shadow;
}

/* The PIC's goes before the APIC's. */
static void give_interrupt(struct kvm_cpu *c, bool taken)
{
	struct vlapic *vlapic = vm_lapic(c->vm, c->vcpuid);
	bool ext = vm_extint_pending(c->vm, c->vcpuid);
	int vector = -1;

	if (!ext && !vlapic_pending_intr(vlapic, &vector))
		return;
	if (taken || !can_interrupt(c)) {
		c->run->request_interrupt_window = 1;
		return;
	}
	if (ext) {
		vatpic_pending_intr(c->vm, &vector);
		vm_extint_clear(c->vm, c->vcpuid);
		vatpic_intr_accepted(c->vm, vector);
	} else {
		vlapic_intr_accepted(vlapic, vector);
	}
	set_interrupt(c, (unsigned)vector);
	/* There may be another that only waits for the end of this one's entry. */
	if (vm_extint_pending(c->vm, c->vcpuid) || vlapic_pending_intr(vlapic, NULL))
		c->run->request_interrupt_window = 1;
}

int kvm_events_to_guest(struct kvm_cpu *c)
{
	bool taken = false;
	uint64_t info;
	int error = 0;

	c->run->request_interrupt_window = 0;
	if (vm_entry_intinfo(c->vm, c->vcpuid, &info))
		error = set_info(c, info, &taken);
	if (error)
		return kvm_failed(c, error, "an exception that KVM cannot inject");
	taken |= give_nmi(c);
	give_interrupt(c, taken);
	c->run->cr8 = vlapic_get_cr8(vm_lapic(c->vm, c->vcpuid));
	return 0;
}

bool kvm_events_wait(const struct kvm_cpu *c)
{
	const struct kvm_vcpu_events *e = &c->regs->events;

	return c->run->request_interrupt_window ||
	       (e->nmi.pending && (e->nmi.masked || e->interrupt.shadow));
}

static uint64_t exception_info(const struct kvm_vcpu_events *e)
{
	uint64_t info = VM_INTINFO_VALID | VM_INTINFO_HWEXCEPTION | e->exception.nr;

	if (e->exception.has_error_code)
		info |= VM_INTINFO_DEL_ERRCODE | (uint64_t)e->exception.error_code << 32;
	return info;
}

void kvm_events_back(struct kvm_cpu *c)
{
	struct kvm_vcpu_events *e = &c->regs->events;
	bool interrupt = e->interrupt.injected && !e->interrupt.soft;
	uint64_t info;

	if (e->exception.injected)
		info = exception_info(e);
	else if (e->nmi.injected)
		info = VM_INTINFO_VALID | VM_INTINFO_NMI | X86_NMI_VECTOR;
	else if (interrupt)
		info = VM_INTINFO_VALID | VM_INTINFO_HWINTR | e->interrupt.nr;
	else
		return;
	(void)vm_exit_intinfo(c->vm, c->vcpuid, info);
	e->exception.injected = e->nmi.injected = e->interrupt.injected = 0;
	memset(c->regs->sregs.interrupt_bitmap, 0, sizeof(c->regs->sregs.interrupt_bitmap));
	kvm_state_set_events(c);
}
