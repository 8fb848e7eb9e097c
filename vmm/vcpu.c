/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The vcpu state machine, waiting and waking (see vm.h for the protocol), and the sets of vcpus.
 */
#include <limits.h>
#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <vmm/vlapic.h>

#include "vmm/vm.h"

void vcpu_construct(struct vcpu *vcpu)
{
	atomic_store(&vcpu->state, VCPU_WORD(VCPU_IDLE, -1));
	pthread_mutex_init(&vcpu->claim_lock, NULL);
	pthread_cond_init(&vcpu->idle_cond, NULL);
}

void vcpu_destruct(struct vcpu *vcpu)
{
	pthread_cond_destroy(&vcpu->idle_cond);
	pthread_mutex_destroy(&vcpu->claim_lock);
}

/* ---- States ---- */

/* From FROZEN everywhere else, from elsewhere to FROZEN. */
static int transition(struct vcpu *vcpu, enum vcpu_state to)
{
	uint32_t next = VCPU_WORD(to, to == VCPU_RUNNING ? sched_getcpu() : -1);
	uint32_t old = atomic_load(&vcpu->state);

	do {
		if ((VCPU_WORD_STATE(old) == VCPU_FROZEN) == (to == VCPU_FROZEN))
			return EBUSY;
	} while (!atomic_compare_exchange_weak(&vcpu->state, &old, next));
	return 0;
}

static enum vcpu_state current_state(struct vcpu *vcpu)
{
	return VCPU_WORD_STATE(atomic_load(&vcpu->state));
}

void vcpu_left_guest(struct vcpu *vcpu)
{
	atomic_store_explicit(
		&vcpu->state, VCPU_WORD(VCPU_FROZEN, -1), memory_order_release);
}

static bool take_idle(struct vcpu *vcpu)
{
	uint32_t idle = VCPU_WORD(VCPU_IDLE, -1);

	return atomic_compare_exchange_strong(
		&vcpu->state, &idle, VCPU_WORD(VCPU_FROZEN, -1));
}

/*
 * Until the vcpu was IDLE and is ours; or, if so asked, false while it meets.  It becomes IDLE without a lock: we
 * count ourselves before we look, and who makes it IDLE looks afterwards whether anybody is counted.
 */
static bool wait_idle(struct vcpu *vcpu, bool runner, bool unless_it_meets)
{
	bool ours;

	pthread_mutex_lock(&vcpu->claim_lock);
	atomic_fetch_add(&vcpu->claimers, 1);
	for (;;) {
		ours = !(runner && atomic_load(&vcpu->wanted) != 0) && take_idle(vcpu);
		if (ours || (unless_it_meets && atomic_load(&vcpu->meets)))
			break;
		pthread_cond_wait(&vcpu->idle_cond, &vcpu->claim_lock);
	}
	atomic_fetch_sub(&vcpu->claimers, 1);
	pthread_mutex_unlock(&vcpu->claim_lock);
	return ours;
}

int vcpu_set_state(struct vm *vm, int vcpuid, enum vcpu_state state, bool from_idle)
{
	struct vcpu *vcpu;
	int error;

	if (!vcpu_valid(vcpuid) || (unsigned)state > VCPU_SLEEPING)
		return EINVAL;
	vcpu = &vm->vcpu[vcpuid];
	if (from_idle) { /* from there it is FROZEN that follows */
		if (state != VCPU_FROZEN)
			return EBUSY;
		(void)wait_idle(vcpu, false, false);
		return 0;
	}
	if (state != VCPU_IDLE && current_state(vcpu) == VCPU_IDLE)
		return EBUSY;
	error = transition(vcpu, state);
	if (error == 0 && state == VCPU_IDLE && atomic_load(&vcpu->claimers) != 0) {
		pthread_mutex_lock(&vcpu->claim_lock);
		pthread_cond_broadcast(&vcpu->idle_cond);
		pthread_mutex_unlock(&vcpu->claim_lock);
	}
	return error;
}

enum vcpu_state vcpu_get_state(struct vm *vm, int vcpuid, int *hostcpu)
{
	uint32_t word = atomic_load(&vm->vcpu[vcpuid].state);

	if (hostcpu != NULL)
		*hostcpu = VCPU_WORD_HOSTCPU(word);
	return VCPU_WORD_STATE(word);
}

/* ---- Claims, for the checked layer ---- */

void vcpu_want(struct vm *vm, int vcpuid)
{
	atomic_fetch_add(&vm->vcpu[vcpuid].wanted, 1);
	vcpu_notify_event(vm, vcpuid, false);
}

void vcpu_unwant(struct vm *vm, int vcpuid)
{
	struct vcpu *vcpu = &vm->vcpu[vcpuid];

	pthread_mutex_lock(&vcpu->claim_lock);
	atomic_fetch_sub(&vcpu->wanted, 1);
	pthread_cond_broadcast(&vcpu->idle_cond);
	pthread_mutex_unlock(&vcpu->claim_lock);
}

/*
 * A runner is in a loop of running and would take the vcpu again before anybody it woke gets there:
 * so it waits while others want the vcpu.
 */
static bool claim(struct vm *vm, int vcpuid, bool runner, bool unless_it_meets)
{
	struct vcpu *vcpu = &vm->vcpu[vcpuid];
	bool ours = true;

	if ((runner && atomic_load(&vcpu->wanted) != 0) || !take_idle(vcpu)) {
		if (!runner)
			vcpu_want(vm, vcpuid);
		ours = wait_idle(vcpu, runner, unless_it_meets);
		if (!runner)
			vcpu_unwant(vm, vcpuid);
	}
	if (ours)
		atomic_store_explicit(
			&vcpu->claimer, (uintptr_t)pthread_self(), memory_order_relaxed);
	return ours;
}

void vcpu_claim(struct vm *vm, int vcpuid, bool runner)
{
	(void)claim(vm, vcpuid, runner, false);
}

void vcpu_release(struct vm *vm, int vcpuid)
{
	atomic_store_explicit(&vm->vcpu[vcpuid].claimer, 0, memory_order_relaxed);
	(void)vcpu_set_state(vm, vcpuid, VCPU_IDLE, false);
}

static void wait_met(struct vcpu *vcpu)
{
	pthread_mutex_lock(&vcpu->claim_lock);
	while (atomic_load(&vcpu->meets))
		pthread_cond_wait(&vcpu->idle_cond, &vcpu->claim_lock);
	pthread_mutex_unlock(&vcpu->claim_lock);
}

void vcpu_set_meets(struct vcpu *vcpu, bool on)
{
	pthread_mutex_lock(&vcpu->claim_lock);
	atomic_store(&vcpu->meets, on);
	pthread_cond_broadcast(&vcpu->idle_cond);
	pthread_mutex_unlock(&vcpu->claim_lock);
}

static void release_below(struct vm *vm, int end)
{
	while (end-- > 0)
		vcpu_release(vm, end);
}

/* In the order of ids, so that two who want all do not wait for each other. */
void vcpu_claim_all(struct vm *vm)
{
	int i = 0;

	while (i < VM_MAXCPU) {
		if (claim(vm, i, false, true)) {
			i++;
			continue;
		}
		release_below(vm, i);
		wait_met(&vm->vcpu[i]);
		i = 0;
	}
}

void vcpu_release_all(struct vm *vm)
{
	release_below(vm, VM_MAXCPU);
}

/* ---- Waiting and waking ---- */

bool vcpu_wait(struct vcpu *vcpu, uint32_t seq, uint64_t until_ns)
{
	const struct timespec ts = {
		.tv_sec = (time_t)(until_ns / 1000000000u), .tv_nsec = (long)(until_ns % 1000000000u)};
	bool timed_out;

	atomic_fetch_add(&vcpu->waiters, 1);
	timed_out = syscall(SYS_futex, &vcpu->seq, FUTEX_WAIT_BITSET | FUTEX_PRIVATE_FLAG, seq,
			    until_ns == UINT64_MAX ? NULL : &ts, NULL, FUTEX_BITSET_MATCH_ANY) &&
		    errno == ETIMEDOUT;
	atomic_fetch_sub(&vcpu->waiters, 1);
	return timed_out;
}

void vcpu_wake(struct vcpu *vcpu)
{
	int saved_errno = errno; /* a signal handler may be calling */

	atomic_fetch_add(&vcpu->seq, 1);
	if (atomic_load(&vcpu->waiters) != 0)
		syscall(SYS_futex, &vcpu->seq, FUTEX_WAKE_PRIVATE, INT_MAX, NULL, NULL, 0);
	errno = saved_errno;
}

/*
 * A caller may hold nothing, so the vcpu may stop, and vm_reinit take vmi away, under its feet. It
 * counts itself and looks again; who takes vmi away has stopped all vcpus and looks at the count.
 */
static void kick(struct vm *vm, int vcpuid)
{
	atomic_fetch_add(&vm->kickers, 1);
	if (current_state(&vm->vcpu[vcpuid]) == VCPU_RUNNING)
		vm->ops->kick(vm->vmi, vcpuid);
	atomic_fetch_sub(&vm->kickers, 1);
}

void vm_await_kickers(struct vm *vm)
{
	while (atomic_load(&vm->kickers) != 0)
		sched_yield();
}

/*
 * The bump of seq is the full barrier between the caller's event and the look at the state; the
 * vcpu has one between its state becoming RUNNING and its look at events.
 */
void vcpu_notify_event(struct vm *vm, int vcpuid, bool lapic_intr)
{
	struct vcpu *vcpu = &vm->vcpu[vcpuid];

	(void)lapic_intr;
	vcpu_wake(vcpu);
	if (current_state(vcpu) == VCPU_RUNNING)
		kick(vm, vcpuid);
}

void vcpu_spinup_later(struct vm *vm, int vcpuid)
{
	struct vcpu *vcpu = &vm->vcpu[vcpuid];

	vcpu->spinup = (struct vm_spinup){.pending = true,
		.vcpu = vcpu->exitinfo.u.spinup_ap.vcpu,
		.rip = vcpu->exitinfo.u.spinup_ap.rip};
	vm->ops->kick(vm->vmi, vcpuid);
}

void vm_vcpu_yield(struct vm *vm, int vcpuid)
{
	atomic_store(&vm->vcpu[vcpuid].yield, true);
	vcpu_notify_event(vm, vcpuid, false);
}

bool vcpu_user_yield(struct vcpu *vcpu)
{
	return atomic_load(&vcpu->yield) || atomic_load(&vcpu->wanted) != 0;
}

bool vcpu_should_yield(struct vm *vm, int vcpuid)
{
	struct vcpu *vcpu = &vm->vcpu[vcpuid];

	return vcpu_user_yield(vcpu) || vcpu->spinup.pending ||
	       vlapic_boot_event_pending(vcpu->vlapic);
}

/* ---- Sets ---- */

static cpuset_t mask_to_set(uint32_t mask)
{
	cpuset_t set;

	CPU_ZERO(&set);
	for (int i = 0; i < VM_MAXCPU; i++)
		if ((mask >> i & 1) != 0)
			CPU_SET(i, &set);
	return set;
}

int vm_activate_cpu(struct vm *vm, int vcpuid)
{
	if (!vcpu_valid(vcpuid))
		return EINVAL;
	return (atomic_fetch_or(&vm->active, 1u << vcpuid) >> vcpuid & 1) != 0 ? EBUSY : 0;
}

uint32_t vm_active_mask(struct vm *vm)
{
	return atomic_load(&vm->active);
}

cpuset_t vm_active_cpus(struct vm *vm)
{
	return mask_to_set(atomic_load(&vm->active));
}

cpuset_t vm_suspended_cpus(struct vm *vm)
{
	return mask_to_set(atomic_load(&vm->suspended));
}

int vm_apicid2vcpuid(struct vm *vm, int apicid)
{
	(void)vm;
	return apicid;
}
