/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Rendezvous among vcpus that run, halt, wait or are away. */
#include <unistd.h>

#include "test/vmm/harness.h"

struct calls {
	_Atomic unsigned mask; /* vcpus that the function ran for */
	_Atomic unsigned count;
	pthread_t thread[VM_MAXCPU];
};

static void note(struct vm *vm, int vcpuid, void *arg)
{
	struct calls *calls = arg;

	(void)vm;
	atomic_fetch_or(&calls->mask, 1u << vcpuid);
	atomic_fetch_add(&calls->count, 1);
	calls->thread[vcpuid] = pthread_self();
}

static cpuset_t set_of(unsigned mask)
{
	cpuset_t set;

	CPU_ZERO(&set);
	for (int i = 0; i < 32; i++)
		if ((mask >> i & 1) != 0)
			CPU_SET(i, &set);
	return set;
}

static void empty_set_is_done_at_once(void **state)
{
	struct vm *vm = *state;
	struct calls calls = {0};

	vm_smp_rendezvous(vm, -1, set_of(0), note, &calls);
	vm_smp_rendezvous(vm, -1, set_of(0xe), note, &calls); /* none of them active */
	assert_int_equal(calls.count, 0);
	assert_false(vm_rendezvous_pending(vm));
}

static void own_vcpu_runs_it_itself(void **state)
{
	struct vm *vm = *state;
	struct calls calls = {0};

	vm_smp_rendezvous(vm, 0, set_of(1), note, &calls);
	assert_int_equal(calls.mask, 1);
	assert_true(pthread_equal(calls.thread[0], pthread_self()));
}

static void stop(struct runner *runner, int vcpuid)
{
	vm_vcpu_yield(runner->vm, vcpuid);
	assert_int_equal(runner_join(runner), 0);
	assert_int_equal(runner->run.vm_exit.exitcode, VM_EXITCODE_BOGUS);
}

static void running_vcpus_take_part(void **state)
{
	struct vm *vm = *state;
	struct runner runner[3];
	struct calls calls = {0};

	for (int i = 0; i < 3; i++) {
		if (i > 0)
			vcpu_prepare(vm, i);
		runner_start(&runner[i], vm, i, 0x100);
		wait_for_state(vm, i, VCPU_RUNNING);
	}
	vm_smp_rendezvous(vm, -1, set_of(5), note, &calls);
	assert_int_equal(calls.mask, 5);
	assert_int_equal(calls.count, 2);
	assert_true(pthread_equal(calls.thread[0], runner[0].thread));
	assert_true(pthread_equal(calls.thread[2], runner[2].thread));
	for (int i = 0; i < 3; i++)
		stop(&runner[i], i);
	assert_in_range(((uint64_t *)vcpu_stats(vm, 2))[VMM_STAT_EXIT_RENDEZVOUS], 1, 100);
}

static const struct fake_step halt = {
	.exit = {.exitcode = VM_EXITCODE_HLT, .inst_length = 1, .u.hlt.rflags = 0x202}};

/* It takes part and sleeps on: HLT does not return to the guest for it. */
static void halted_vcpu_takes_part(void **state)
{
	struct vm *vm = *state;
	struct runner runner;
	struct calls calls = {0};

	fake_script(vm, 0, &halt, 1);
	runner_start(&runner, vm, 0, 0x100);
	wait_for_state(vm, 0, VCPU_SLEEPING);
	vm_smp_rendezvous(vm, -1, set_of(1), note, &calls);
	assert_int_equal(calls.mask, 1);
	wait_for_state(vm, 0, VCPU_SLEEPING);
	assert_int_equal(fake_log(vm, 0)->entries, 1);
	stop(&runner, 0);
}

struct initiator {
	struct vm *vm;
	int vcpuid;
	unsigned dest;
	struct calls *calls;
	pthread_t thread;
};

static void *initiate(void *arg)
{
	struct initiator *i = arg;

	vm_smp_rendezvous(i->vm, i->vcpuid, set_of(i->dest), note, i->calls);
	return NULL;
}

static void waits_for_a_vcpu_that_is_away(void **state)
{
	struct vm *vm = *state;
	struct calls calls = {0};
	struct initiator init = {.vm = vm, .vcpuid = -1, .dest = 1, .calls = &calls};
	struct runner runner;

	assert_int_equal(pthread_create(&init.thread, NULL, initiate, &init), 0);
	usleep(20000);
	assert_int_equal(calls.count, 0);
	assert_true(vm_rendezvous_pending(vm));
	runner_start(&runner, vm, 0, 0);
	assert_int_equal(pthread_join(init.thread, NULL), 0);
	assert_int_equal(calls.mask, 1);
	wait_for_state(vm, 0, VCPU_RUNNING);
	stop(&runner, 0);
}

/* A vcpu that waits for the end can be called away, and comes back into it. */
static void waiting_vcpu_yields(void **state)
{
	struct vm *vm = *state;
	struct calls calls = {0};
	struct initiator init = {.vm = vm, .vcpuid = -1, .dest = 3, .calls = &calls};
	struct runner runner;

	vcpu_prepare(vm, 1);
	assert_int_equal(pthread_create(&init.thread, NULL, initiate, &init), 0);
	runner_start(&runner, vm, 0, 0x40);
	while (atomic_load(&calls.mask) != 1)
		usleep(1000);
	vm_vcpu_yield(vm, 0);
	assert_int_equal(runner_join(&runner), 0);
	assert_int_equal(runner.run.vm_exit.exitcode, VM_EXITCODE_BOGUS);
	assert_int_equal(runner.run.vm_exit.rip, 0x40);
	assert_true(vm_rendezvous_pending(vm));
	runner_start(&runner, vm, 1, 0);
	assert_int_equal(pthread_join(init.thread, NULL), 0);
	assert_int_equal(calls.mask, 3);
	assert_int_equal(calls.count, 2);
	wait_for_state(vm, 1, VCPU_RUNNING);
	stop(&runner, 1);
}

#define ROUNDS 200

static void *initiate_often(void *arg)
{
	struct initiator *i = arg;

	for (int round = 0; round < ROUNDS; round++)
		vm_smp_rendezvous(i->vm, -1, set_of(i->dest), note, i->calls);
	return NULL;
}

static void several_at_once(void **state)
{
	struct vm *vm = *state;
	struct runner runner[2];
	struct calls calls[3] = {0};
	struct initiator init[3];

	vcpu_prepare(vm, 1);
	runner_start(&runner[0], vm, 0, 0);
	runner_start(&runner[1], vm, 1, 0);
	for (int i = 0; i < 3; i++) {
		init[i] = (struct initiator){.vm = vm, .dest = (unsigned)i + 1, .calls = &calls[i]};
		assert_int_equal(
			pthread_create(&init[i].thread, NULL, initiate_often, &init[i]), 0);
	}
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_join(init[i].thread, NULL), 0);
	assert_int_equal(calls[0].count, ROUNDS);
	assert_int_equal(calls[1].count, ROUNDS);
	assert_int_equal(calls[2].count, 2 * ROUNDS);
	for (int i = 0; i < 2; i++) {
		wait_for_state(vm, i, VCPU_RUNNING);
		stop(&runner[i], i);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_fake, teardown_vm)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(empty_set_is_done_at_once),
		TEST(own_vcpu_runs_it_itself),
		TEST(running_vcpus_take_part),
		TEST(halted_vcpu_takes_part),
		TEST(waits_for_a_vcpu_that_is_away),
		TEST(waiting_vcpu_yields),
		TEST(several_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
