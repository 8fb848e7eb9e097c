/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * What a vcpu does while it executes nothing: HLT, waiting for a STARTUP, waiting for the others to
 * suspend (vmm-api.md 6.4, 6.5).  All three take part in rendezvous, give way to whoever wants the
 * vcpu, and sleep without limit or polling: every reason to end is its own timer, or an event that
 * bumps the vcpu's seq.
 *
 * bhyve lets HLT end spuriously for a rendezvous or a signal; here the vcpu goes on waiting, after
 * the rendezvous or at its next vm_run.
 */
#include <vmm/vlapic.h>

#include "vmm/vm.h"

#define NS_PER_TICK 1000000u /* of the idle-ticks counter */

/* Sleeps until an event or `due_ns`, in time for the latter. */
static void sleep_until(struct vm *vm, struct vcpu *vcpu, uint32_t seq, uint64_t due_ns)
{
	uint64_t wake_ns = vmm_lead_wake(&vcpu->lead, due_ns);
	bool timed_out;

	if (due_ns == UINT64_MAX) {
		vcpu_wait(vcpu, seq, UINT64_MAX);
		return;
	}
	if (wake_ns > vmm_clock_now(vm->clock)) {
		timed_out = vcpu_wait(vcpu, seq, wake_ns);
		if (timed_out)
			vmm_lead_learn(&vcpu->lead, wake_ns, vmm_clock_now(vm->clock));
	}
	while (vmm_clock_now(vm->clock) < due_ns && atomic_load(&vcpu->seq) == seq)
		vmm_lead_pause();
}

/* The timer of its own APIC is the vcpu's while it sleeps: it wakes by itself, and runs it. */
static void vcpu_sleep(struct vm *vm, int vcpuid, uint32_t seq)
{
	struct vcpu *vcpu = &vm->vcpu[vcpuid];

	(void)vcpu_set_state(vm, vcpuid, VCPU_SLEEPING, false);
	sleep_until(vm, vcpu, seq, vlapic_timer_take(vcpu->vlapic));
	(void)vlapic_timer_give_back(vcpu->vlapic);
	(void)vcpu_set_state(vm, vcpuid, VCPU_FROZEN, false);
}

/* One of these waits. `over` says whether its reason has gone, given the vcpu and `arg`. */
struct idle_wait {
	bool (*over)(struct vm *vm, int vcpuid, bool arg);
	bool arg;
};

static enum idle_end idle(struct vm *vm, int vcpuid, const struct idle_wait *wait)
{
	struct vcpu *vcpu = &vm->vcpu[vcpuid];

	for (;;) {
		uint32_t seq = atomic_load(&vcpu->seq);

		if (wait->over(vm, vcpuid, wait->arg))
			return IDLE_EVENT;
		if (vm_rendezvous_pending(vm)) {
			if (!vm_rendezvous_join(vm, vcpuid))
				return IDLE_YIELD;
			continue;
		}
		if (vcpu_user_yield(vcpu))
			return IDLE_YIELD;
		vcpu_sleep(vm, vcpuid, seq);
	}
}

/* ---- HLT ---- */

static bool has_wakeup(struct vm *vm, int vcpuid, bool intr_enabled)
{
	struct vcpu *vcpu = &vm->vcpu[vcpuid];

	if (vm_is_suspended(vm) || atomic_load(&vcpu->nmi_pending) || vcpu->exception_pending ||
		vcpu->exitintinfo != 0 || vlapic_boot_event_pending(vcpu->vlapic))
		return true;
	return intr_enabled &&
	       (atomic_load(&vcpu->extint_pending) || vlapic_pending_intr(vcpu->vlapic, NULL));
}

/* The last one to halt for good turns off the light. */
static void mark_halted(struct vm *vm, int vcpuid)
{
	uint32_t bit = 1u << vcpuid;
	uint32_t halted;

	if (!atomic_load(&vm->halt_detection))
		return;
	halted = atomic_fetch_or(&vm->halted, bit) | bit;
	if (halted == atomic_load(&vm->active))
		(void)vm_suspend(vm, VM_SUSPEND_HALT);
}

static bool hlt_over(struct vm *vm, int vcpuid, bool intr_enabled)
{
	if (has_wakeup(vm, vcpuid, intr_enabled))
		return true;
	if (!intr_enabled)
		mark_halted(vm, vcpuid);
	return vm_is_suspended(vm);
}

enum idle_end vcpu_idle_hlt(struct vm *vm, int vcpuid, bool intr_enabled)
{
	const struct idle_wait wait = {.over = hlt_over, .arg = intr_enabled};
	uint64_t start = vmm_clock_now(vm->clock);
	enum idle_end end = idle(vm, vcpuid, &wait);

	atomic_fetch_and(&vm->halted, ~(1u << vcpuid));
	vmm_stat_incr(
		vm, vcpuid, VMM_STAT_IDLE_TICKS, (vmm_clock_now(vm->clock) - start) / NS_PER_TICK);
	return end;
}

/* ---- Waiting for STARTUP ---- */

static bool sipi_over(struct vm *vm, int vcpuid, bool arg)
{
	(void)arg;
	if (vm_is_suspended(vm) || vlapic_boot_event_pending(vm->vcpu[vcpuid].vlapic))
		return true;
	mark_halted(vm, vcpuid);
	return vm_is_suspended(vm);
}

enum idle_end vcpu_idle_sipi(struct vm *vm, int vcpuid)
{
	const struct idle_wait wait = {.over = sipi_over};
	enum idle_end end = idle(vm, vcpuid, &wait);

	atomic_fetch_and(&vm->halted, ~(1u << vcpuid));
	return end;
}

/* ---- Suspend ---- */

static bool all_suspended(struct vm *vm, int vcpuid, bool arg)
{
	(void)vcpuid;
	(void)arg;
	return atomic_load(&vm->suspended) == atomic_load(&vm->active);
}

enum idle_end vcpu_idle_suspend(struct vm *vm, int vcpuid)
{
	const struct idle_wait wait = {.over = all_suspended};
	enum idle_end end;

	atomic_fetch_or(&vm->suspended, 1u << vcpuid);
	end = idle(vm, vcpuid, &wait);
	if (end == IDLE_YIELD) {
		/* It will come again; until then it has not stopped. */
		atomic_fetch_and(&vm->suspended, ~(1u << vcpuid));
		return end;
	}
	vm_rendezvous_suspended(vm);
	for (int i = 0; i < VM_MAXCPU; i++)
		vcpu_wake(&vm->vcpu[i]);
	return end;
}

int vm_suspend(struct vm *vm, enum vm_suspend_how how)
{
	int none = VM_SUSPEND_NONE;

	if (how == VM_SUSPEND_NONE || (unsigned)how >= VM_SUSPEND_LAST)
		return EINVAL;
	if (!__atomic_compare_exchange_n(
		    &vm->suspend, &none, (int)how, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		return EALREADY;
	for (int i = 0; i < VM_MAXCPU; i++)
		if ((atomic_load(&vm->active) >> i & 1) != 0)
			vcpu_notify_event(vm, i, false);
	return 0;
}
