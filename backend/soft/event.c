/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Events into the guest, in the order of vmm-api.md 3.1 and 7.5.  A delivery that faults goes
 * through the core's combining table, as if the CPU had left in the middle of it.
 */
#include <vmm/vatpic.h>
#include <vmm/vlapic.h>

#include "backend/soft/soft.h"

#define WINDOW_INTR 1u
#define WINDOW_NMI  2u

static uint64_t to_intinfo(const struct x86_event *ev)
{
	uint64_t info = VM_INTINFO_VALID | ev->vector;

	switch (ev->type) {
	case X86_EV_INTR:
		info |= VM_INTINFO_HWINTR;
		break;
	case X86_EV_NMI:
		info |= VM_INTINFO_NMI;
		break;
	case X86_EV_SOFTINT:
		info |= VM_INTINFO_SWINTR;
		break;
	default:
		info |= VM_INTINFO_HWEXCEPTION;
		break;
	}
	if (ev->has_error)
		info |= VM_INTINFO_DEL_ERRCODE | (uint64_t)ev->error << 32;
	return info;
}

static struct x86_event from_intinfo(uint64_t info)
{
	return (struct x86_event){
		.vector = VM_INTINFO_VECTOR(info),
		.type = (uint8_t)((info & VM_INTINFO_TYPE) >> 8),
		.has_error = (info & VM_INTINFO_DEL_ERRCODE) != 0,
		.error = (uint32_t)(info >> 32),
	};
}

/* CR2 and the debug registers as the exception finds them (SDM vol. 3, 6.15). */
static void prepare(struct soft_vcpu *v, const struct x86_fault *fault)
{
	if (fault->vector == X86_PF)
		v->cpu.cr2 = fault->cr2;
	if (fault->vector == X86_DB) {
		v->cpu.dr[6] = x86_dr6_raised(v->cpu.dr[6], fault->dr6);
		v->cpu.dr[7] &= ~(1ull << 13);
	}
}

/* `first` was being delivered when cpu.fault came up: both to the core, which combines them. */
static void combine(struct soft_vcpu *v, const struct x86_event *first)
{
	struct vm_exception e = {
		.cpuid = v->vcpuid,
		.vector = v->cpu.fault.vector,
		.error_code = v->cpu.fault.error,
		.error_code_valid = v->cpu.fault.has_error,
	};
	bool lent;

	prepare(v, &v->cpu.fault);
	lent = soft_lend(v);
	vm_exit_intinfo(v->vm, v->vcpuid, to_intinfo(first));
	vm_inject_exception(v->vm, v->vcpuid, &e);
	soft_return(v, lent);
	atomic_store_explicit(&v->run, 0, memory_order_relaxed);
}

/* False: an exit has been filled in. */
static bool deliver(struct soft_vcpu *v, const struct x86_event *ev)
{
	enum x86_result res = soft_deliver_fast(v, ev) ? X86_DONE : x86_deliver(&v->cpu, ev);

	if (v->npending_writes || v->pending_overflow)
		soft_writes_done(v);
	if (res == X86_FAULT) {
		combine(v, ev);
		return true;
	}
	if (res == X86_EXIT) {
		bool lent = soft_lend(v);

		vm_exit_intinfo(v->vm, v->vcpuid, to_intinfo(ev));
		soft_return(v, lent);
		v->insn_len = 0;
		soft_exit(v);
		return false;
	}
	if (ev->type == X86_EV_NMI)
		v->cpu.nmi_blocked = true;
	return true;
}

bool soft_deliver_fault(struct soft_vcpu *v)
{
	const struct x86_fault f = v->cpu.fault;
	struct x86_event ev = {
		.vector = f.vector,
		.type = X86_EV_EXCEPTION,
		.has_error = f.has_error,
		.error = f.error,
	};

	prepare(v, &f);
	return deliver(v, &ev);
}

static bool can_interrupt(const struct soft_vcpu *v)
{
	return v->cpu.rflags & X86_RF_IF && !v->cpu.shadow;
}

bool soft_window_open(const struct soft_vcpu *v)
{
	if (v->intr_window & WINDOW_NMI && !v->cpu.nmi_blocked && !v->cpu.shadow)
		return true;
	return v->intr_window & WINDOW_INTR && can_interrupt(v);
}

/* What is due for maskable interrupts: the PIC's goes before the APIC's. -1: nothing. */
static int take_interrupt(struct soft_vcpu *v)
{
	struct vlapic *vlapic = vm_lapic(v->vm, v->vcpuid);
	bool ext = vm_extint_pending(v->vm, v->vcpuid);
	int vector = -1;

	if (!ext && !vlapic_pending_intr(vlapic, &vector))
		return -1;
	if (!can_interrupt(v)) {
		v->intr_window |= WINDOW_INTR;
		return -1;
	}
	v->intr_window |= WINDOW_INTR; /* there may be another */
	if (ext) {
		vatpic_pending_intr(v->vm, &vector);
		vm_extint_clear(v->vm, v->vcpuid);
		vatpic_intr_accepted(v->vm, vector);
	} else {
		vlapic_intr_accepted(vlapic, vector);
	}
	return vector;
}

/* The event for the one slot there is at an entry. False: none. Called with registers parked. */
static bool next_event(struct soft_vcpu *v, struct x86_event *ev)
{
	uint64_t info;
	int vector;

	if (vm_entry_intinfo(v->vm, v->vcpuid, &info)) {
		*ev = from_intinfo(info);
		ev->next_rip = v->cpu.rip;
		v->cpu.shadow = 0;
		v->intr_window = WINDOW_INTR | WINDOW_NMI; /* look at the others behind it */
		return true;
	}
	v->intr_window = 0;
	if (vm_nmi_pending(v->vm, v->vcpuid)) {
		if (!v->cpu.nmi_blocked && !v->cpu.shadow) {
			vm_nmi_clear(v->vm, v->vcpuid);
			*ev = (struct x86_event){.vector = X86_NMI_VECTOR, .type = X86_EV_NMI};
			v->intr_window = WINDOW_INTR | WINDOW_NMI;
			return true;
		}
		v->intr_window |= WINDOW_NMI;
	}
	vector = take_interrupt(v);
	if (vector < 0)
		return false;
	*ev = (struct x86_event){.vector = (uint8_t)vector, .type = X86_EV_INTR};
	return true;
}

/* Suspend, rendezvous, yield: in this order. True: an exit has been filled in. */
static bool asked_to_leave(struct soft_vcpu *v)
{
	if (vcpu_suspended(v->suspend_cookie))
		vm_exit_suspended(v->vm, v->vcpuid, v->cpu.rip);
	else if (vcpu_rendezvous_pending(v->rendezvous_cookie))
		vm_exit_rendezvous(v->vm, v->vcpuid, v->cpu.rip);
	else if (vcpu_should_yield(v->vm, v->vcpuid))
		vm_exit_astpending(v->vm, v->vcpuid, v->cpu.rip);
	else
		return false;
	return true;
}

/*
 * Before the event, because a delivery that ends in an exit may do so again at each entry.  What a delivery
 * led to, as the suspension by a triple fault, is a kick: the caller comes again.
 */
bool soft_events(struct soft_vcpu *v)
{
	struct x86_event ev;
	bool have, leave, lent = soft_lend(v);

	leave = asked_to_leave(v);
	have = !leave && next_event(v, &ev);
	soft_return(v, lent);
	return !leave && (!have || deliver(v, &ev));
}
