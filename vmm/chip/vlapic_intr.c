/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Interrupts that reach a local APIC: acceptance, priorities, EOI, local vector table and errors.
 *
 * IRR and TMR are set with atomic operations from any thread, TMR first, so that the vcpu that
 * finds a vector pending also finds how it was triggered.  ISR, TPR and PPR belong to the vcpu's
 * thread.
 */
#include <errno.h>

#include <vmm/vatpic.h>
#include <vmm/vioapic.h>
#include "vmm/chip/vlapic_impl.h"

#define PRIORITY_CLASS(priority) ((priority) >> 4)

/* The highest vector in a register of 256 bits, or -1. */
static int highest_vector(_Atomic uint32_t reg[8])
{
	for (int i = 7; i >= 0; i--) {
		uint32_t word = reg[i];

		if (word)
			return i * 32 + 31 - __builtin_clz(word);
	}
	return -1;
}

static uint32_t vector_bit(int vector)
{
	return 1u << (vector & 31);
}

void vlapic_update_ppr(struct vlapic *v)
{
	int in_service = highest_vector(v->isr);
	uint32_t tpr = v->tpr;

	if (in_service >= 0 && PRIORITY_CLASS((uint32_t)in_service) > PRIORITY_CLASS(tpr))
		v->ppr = (uint32_t)in_service & 0xf0;
	else
		v->ppr = tpr;
}

bool vlapic_enabled(struct vlapic *v)
{
	return (v->apicbase & APICBASE_ENABLE) && (v->svr & APIC_SVR_ENABLE);
}

bool vlapic_pending_intr(struct vlapic *v, int *vector)
{
	int highest = highest_vector(v->irr);

	if (highest < 0 || PRIORITY_CLASS((uint32_t)highest) <= PRIORITY_CLASS(v->ppr))
		return false;
	if (vector)
		*vector = highest;
	return true;
}

void vlapic_intr_accepted(struct vlapic *v, int vector)
{
	v->irr[vector / 32] &= ~vector_bit(vector);
	v->isr[vector / 32] |= vector_bit(vector);
	vlapic_update_ppr(v);
	vmm_stat_incr(v->vm, v->vcpuid, VMM_STAT_VLAPIC_INTR, 1);
}

void vlapic_eoi(struct vlapic *v)
{
	int vector = highest_vector(v->isr);

	if (vector < 0)
		return;
	v->isr[vector / 32] &= ~vector_bit(vector);
	vlapic_update_ppr(v);
	if (v->tmr[vector / 32] & vector_bit(vector))
		vioapic_process_eoi(v->vm, v->vcpuid, vector);
}

bool vlapic_set_intr_ready(struct vlapic *v, int vector, bool level)
{
	if (!vlapic_enabled(v))
		return false;
	if (vector < APIC_VECTOR_MIN) {
		vlapic_set_error(v, APIC_ESR_RECEIVE_ILLEGAL);
		return true;
	}
	if (level)
		v->tmr[vector / 32] |= vector_bit(vector);
	else
		v->tmr[vector / 32] &= ~vector_bit(vector);
	v->irr[vector / 32] |= vector_bit(vector);
	return true;
}

/* Before the interrupt is there: who waits for it may look. */
static void count_lvt(struct vlapic *v, enum vlapic_lvt which)
{
	static const int own[VLAPIC_LVT_COUNT] = {[VLAPIC_LVT_ERROR] = VMM_STAT_VLAPIC_ERROR,
		[VLAPIC_LVT_TIMER] = VMM_STAT_VLAPIC_TIMER, [VLAPIC_LVT_CMCI] = VMM_STAT_VLAPIC_CMC};

	vmm_stat_incr(v->vm, v->vcpuid, VMM_STAT_LVTS_TRIGGERED + (int)which, 1);
	if (own[which])
		vmm_stat_incr(v->vm, v->vcpuid, own[which], 1);
}

/*
 * The error entry is fired here and not through vlapic_fire_lvt: its own illegal vector must not
 * recurse.
 */
void vlapic_set_error(struct vlapic *v, uint32_t esr_bits)
{
	uint32_t lvt = v->lvt[VLAPIC_LVT_ERROR];

	v->esr_latch |= esr_bits;
	if (lvt & APIC_LVT_MASKED)
		return;
	if ((lvt & 0xff) < APIC_VECTOR_MIN) {
		v->esr_latch |= APIC_ESR_SEND_ILLEGAL;
	} else if (vlapic_enabled(v)) {
		count_lvt(v, VLAPIC_LVT_ERROR);
		if (vlapic_set_intr_ready(v, lvt & 0xff, false))
			vcpu_notify_event(v->vm, v->vcpuid, true);
	}
}

void vlapic_fire_lvt(struct vlapic *v, enum vlapic_lvt which)
{
	uint32_t lvt = v->lvt[which];
	int vector = lvt & 0xff;

	if (lvt & APIC_LVT_MASKED)
		return;
	switch (which == VLAPIC_LVT_TIMER ? APIC_DELMODE_FIXED : APIC_LVT_DELMODE(lvt)) {
	case APIC_DELMODE_FIXED:
		if (vector < APIC_VECTOR_MIN) {
			vlapic_set_error(v, APIC_ESR_SEND_ILLEGAL);
			return;
		}
		if (!vlapic_enabled(v))
			return;
		count_lvt(v, which);
		if (vlapic_set_intr_ready(v, vector, false))
			vcpu_notify_event(v->vm, v->vcpuid, true);
		break;
	case APIC_DELMODE_NMI:
		count_lvt(v, which);
		vm_inject_nmi(v->vm, v->vcpuid);
		break;
	case APIC_DELMODE_EXTINT:
		count_lvt(v, which);
		vm_inject_extint(v->vm, v->vcpuid);
		break;
	default: /* SMI and INIT: not here */
		break;
	}
}

/* An APIC that is off is transparent: its pins are the processor's INTR and NMI (SDM 3A 10.4.3). */
static void trigger_local(struct vlapic *v, enum vlapic_lvt which)
{
	if (vlapic_enabled(v)) {
		if (which == VLAPIC_LVT_ERROR)
			vlapic_set_error(v, 0);
		else
			vlapic_fire_lvt(v, which);
	} else if (which == VLAPIC_LVT_LINT0) {
		vm_inject_extint(v->vm, v->vcpuid);
	} else if (which == VLAPIC_LVT_LINT1) {
		vm_inject_nmi(v->vm, v->vcpuid);
	}
}

void vlapic_sample_lint0(struct vlapic *v)
{
	uint32_t lvt = v->lvt[VLAPIC_LVT_LINT0];
	bool open = !(lvt & APIC_LVT_MASKED) && APIC_LVT_DELMODE(lvt) == APIC_DELMODE_EXTINT;

	if ((open || !vlapic_enabled(v)) && vatpic_intr_asserted(v->vm))
		vm_inject_extint(v->vm, v->vcpuid);
}

int lapic_set_intr(struct vm *vm, int vcpuid, int vector, bool level)
{
	if (vcpuid < 0 || vcpuid >= VM_MAXCPU || vector < APIC_VECTOR_MIN || vector > 255)
		return EINVAL;
	if (vlapic_set_intr_ready(vm_lapic(vm, vcpuid), vector, level))
		vcpu_notify_event(vm, vcpuid, true);
	return 0;
}

int lapic_set_local_intr(struct vm *vm, int vcpuid, int lvt)
{
	uint32_t targets;

	if (vcpuid < -1 || vcpuid >= VM_MAXCPU || lvt < 0 || lvt >= VLAPIC_LVT_COUNT)
		return EINVAL;
	targets = vcpuid == -1 ? vm_active_mask(vm) : 1u << vcpuid;
	for (int i = 0; i < VM_MAXCPU; i++) {
		if (targets & 1u << i)
			trigger_local(vm_lapic(vm, i), (enum vlapic_lvt)lvt);
	}
	return 0;
}
