/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Rendezvous (vmm-api.md 6.6): a function is run once on behalf of each of a set of vcpus, by the
 * thread of each.  One at a time; whoever comes second takes part in the first.  All fields are
 * under the mutex; `func` is also read without it as the "pending" flag.
 */
#include "vmm/vm.h"

static void set_func(struct vm *vm, vm_rendezvous_func_t func)
{
	__atomic_store_n(&vm->rendezvous.func, func, __ATOMIC_SEQ_CST);
}

static void finish(struct vm *vm)
{
	set_func(vm, NULL);
	pthread_cond_broadcast(&vm->rendezvous.done_cond);
	for (int i = 0; i < VM_MAXCPU; i++)
		vcpu_wake(&vm->vcpu[i]);
}

/*
 * Whom it still waits for.  Vcpus whose SUSPENDED exit is on its way to the user, or has got there,
 * do not come back; before all are suspended they take part like others.
 */
static uint32_t invited(struct vm *vm)
{
	uint32_t active = atomic_load(&vm->active);

	return atomic_load(&vm->suspended) == active ? vm->rendezvous.done
						      : vm->rendezvous.request & active;
}

/* What one vcpu, or with -1 an outsider, has to do in the pending rendezvous. Lock held. */
static void take_part(struct vm *vm, int vcpuid)
{
	uint32_t bit = vcpuid >= 0 ? 1u << vcpuid : 0;

	vm->rendezvous.request = invited(vm);
	if ((vm->rendezvous.request & ~vm->rendezvous.done & bit) != 0) {
		vm->rendezvous.func(vm, vcpuid, vm->rendezvous.arg);
		vm->rendezvous.done |= bit;
	}
	if ((vm->rendezvous.request & ~vm->rendezvous.done) == 0)
		finish(vm);
}

/* True when no rendezvous is pending any more. */
static bool step(struct vm *vm, int vcpuid)
{
	bool over;

	pthread_mutex_lock(&vm->rendezvous.lock);
	if (vm_rendezvous_pending(vm))
		take_part(vm, vcpuid);
	over = !vm_rendezvous_pending(vm);
	pthread_mutex_unlock(&vm->rendezvous.lock);
	return over;
}

static bool join(struct vm *vm, int vcpuid, bool may_leave)
{
	struct vcpu *vcpu = &vm->vcpu[vcpuid];

	for (;;) {
		uint32_t seq = atomic_load(&vcpu->seq);

		if (step(vm, vcpuid))
			return true;
		/* Somebody may wait for this vcpu while the rendezvous waits for him. */
		if (may_leave && vcpu_user_yield(vcpu))
			return false;
		vcpu_wait(vcpu, seq, UINT64_MAX);
	}
}

void vm_rendezvous_suspended(struct vm *vm)
{
	(void)step(vm, -1);
}

bool vm_rendezvous_join(struct vm *vm, int vcpuid)
{
	return join(vm, vcpuid, true);
}

static void wait_outside(struct vm *vm)
{
	pthread_mutex_lock(&vm->rendezvous.lock);
	if (vm_rendezvous_pending(vm))
		take_part(vm, -1);
	while (vm_rendezvous_pending(vm))
		pthread_cond_wait(&vm->rendezvous.done_cond, &vm->rendezvous.lock);
	pthread_mutex_unlock(&vm->rendezvous.lock);
}

static void wait_for_end(struct vm *vm, int vcpuid)
{
	if (vcpuid < 0) {
		wait_outside(vm);
		return;
	}
	vcpu_set_meets(&vm->vcpu[vcpuid], true);
	(void)join(vm, vcpuid, false);
	vcpu_set_meets(&vm->vcpu[vcpuid], false);
}

void vm_smp_rendezvous(
	struct vm *vm, int vcpuid, cpuset_t dest, vm_rendezvous_func_t func, void *arg)
{
	uint32_t request = 0;

	assert(vcpuid == -1 || vcpu_valid(vcpuid));
	for (int i = 0; i < VM_MAXCPU; i++)
		request |= CPU_ISSET(i, &dest) ? 1u << i : 0;

	pthread_mutex_lock(&vm->rendezvous.lock);
	while (vm_rendezvous_pending(vm)) {
		pthread_mutex_unlock(&vm->rendezvous.lock);
		wait_for_end(vm, vcpuid);
		pthread_mutex_lock(&vm->rendezvous.lock);
	}
	vm->rendezvous.request = request;
	vm->rendezvous.done = 0;
	vm->rendezvous.arg = arg;
	set_func(vm, func);
	pthread_mutex_unlock(&vm->rendezvous.lock);

	for (int i = 0; i < VM_MAXCPU; i++)
		if ((request >> i & 1) != 0)
			vcpu_notify_event(vm, i, false);
	wait_for_end(vm, vcpuid);
}
