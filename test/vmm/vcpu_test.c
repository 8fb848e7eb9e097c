/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The vcpu state machine, notification, and waking without loss. */
#include <errno.h>
#include <signal.h>
#include <unistd.h>

#include "test/vmm/harness.h"

/* Every edge of the machine; the rows are "from". */
static void edges(void **state)
{
	static const int allowed[4][4] = {
		[VCPU_IDLE] = {0, 1, 0, 0},
		[VCPU_FROZEN] = {1, 0, 1, 1},
		[VCPU_RUNNING] = {0, 1, 0, 0},
		[VCPU_SLEEPING] = {0, 1, 0, 0},
	};
	struct vm *vm = *state;

	for (int from = 0; from < 4; from++) {
		for (int to = 0; to < 4; to++) {
			bool claim = from == VCPU_IDLE;
			int want = allowed[from][to] ? 0 : EBUSY;

			atomic_store(&vm->vcpu[1].state, VCPU_WORD(from, -1));
			assert_int_equal(vcpu_set_state(vm, 1, (enum vcpu_state)to, claim), want);
			assert_int_equal(vcpu_get_state(vm, 1, NULL), want == 0 ? to : from);
		}
	}
	/* Without from_idle nobody takes an idle vcpu. */
	atomic_store(&vm->vcpu[1].state, VCPU_WORD(VCPU_IDLE, -1));
	assert_int_equal(vcpu_set_state(vm, 1, VCPU_FROZEN, false), EBUSY);
	assert_int_equal(vcpu_set_state(vm, VM_MAXCPU, VCPU_FROZEN, true), EINVAL);
	assert_int_equal(vcpu_set_state(vm, -1, VCPU_FROZEN, true), EINVAL);
}

static void hostcpu_only_while_running(void **state)
{
	struct vm *vm = *state;
	int hostcpu;

	assert_int_equal(vcpu_get_state(vm, 0, &hostcpu), VCPU_FROZEN);
	assert_int_equal(hostcpu, -1);
	assert_false(vcpu_is_running(vm, 0, NULL));
	assert_int_equal(vcpu_set_state(vm, 0, VCPU_RUNNING, false), 0);
	assert_true(vcpu_is_running(vm, 0, &hostcpu));
	assert_in_range(hostcpu, 0, CPU_SETSIZE - 1);
	assert_int_equal(vcpu_set_state(vm, 0, VCPU_FROZEN, false), 0);
	vcpu_get_state(vm, 0, &hostcpu);
	assert_int_equal(hostcpu, -1);
}

static void *claim(void *arg)
{
	struct vm *vm = arg;

	assert_int_equal(vcpu_set_state(vm, 0, VCPU_FROZEN, true), 0);
	return NULL;
}

static void claim_waits_for_idle(void **state)
{
	struct vm *vm = *state;
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, claim, vm), 0);
	usleep(20000);
	assert_int_equal(vcpu_set_state(vm, 0, VCPU_IDLE, false), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(vcpu_get_state(vm, 0, NULL), VCPU_FROZEN);
}

static void notify_kicks_only_running(void **state)
{
	struct vm *vm = *state;

	vcpu_notify_event(vm, 0, false);
	vcpu_notify_event(vm, 1, true);
	assert_int_equal(fake_log(vm, 0)->kicks + fake_log(vm, 1)->kicks, 0);
	assert_int_equal(vcpu_set_state(vm, 0, VCPU_RUNNING, false), 0);
	vcpu_notify_event(vm, 0, true);
	assert_int_equal(fake_log(vm, 0)->kicks, 1);
	assert_int_equal(vcpu_set_state(vm, 0, VCPU_FROZEN, false), 0);
}

#define ROUNDS 20000

struct ping_pong {
	struct vm *vm;
	_Atomic unsigned event;
};

static void *pinger(void *arg)
{
	struct ping_pong *p = arg;

	for (unsigned i = 1; i <= ROUNDS; i++) {
		atomic_store(&p->event, i);
		vcpu_wake(&p->vm->vcpu[0]);
		while (atomic_load(&p->event) == i)
			sched_yield();
	}
	return NULL;
}

/* A lost wake-up would hang this for ever: there is no timeout to hide it. */
static void no_wakeup_is_lost(void **state)
{
	struct ping_pong p = {.vm = *state};
	struct vcpu *vcpu = &p.vm->vcpu[0];
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, pinger, &p), 0);
	for (unsigned i = 1; i <= ROUNDS; i++) {
		for (;;) {
			uint32_t seq = atomic_load(&vcpu->seq);

			if (atomic_load(&p.event) == i)
				break;
			vcpu_wait(vcpu, seq, UINT64_MAX);
		}
		atomic_store(&p.event, 0);
	}
	assert_int_equal(pthread_join(thread, NULL), 0);
}

static void yield_ends_running(void **state)
{
	struct vm *vm = *state;
	struct runner runner;

	runner_start(&runner, vm, 0, 0x1234);
	wait_for_state(vm, 0, VCPU_RUNNING);
	vm_vcpu_yield(vm, 0);
	assert_int_equal(runner_join(&runner), 0);
	assert_int_equal(runner.run.vm_exit.exitcode, VM_EXITCODE_BOGUS);
	assert_int_equal(runner.run.vm_exit.rip, 0x1234);
	assert_int_equal(runner.run.vm_exit.inst_length, 0);
	assert_false(vcpu_should_yield(vm, 0));
}

static void yield_is_remembered_once(void **state)
{
	struct vm *vm = *state;
	const struct fake_step step = {.exit = {.exitcode = VM_EXITCODE_PAUSE}};
	struct vm_run run = {.rip = 0x77};

	fake_script(vm, 0, &step, 1);
	vm_vcpu_yield(vm, 0);
	assert_int_equal(vm_run(vm, &run), 0);
	assert_int_equal(run.vm_exit.exitcode, VM_EXITCODE_BOGUS);
	assert_int_equal(vm_run(vm, &run), 0);
	assert_int_equal(run.vm_exit.exitcode, VM_EXITCODE_PAUSE);
}

static struct vm *signal_vm;

/* ThreadSanitizer puts a handler off until its thread makes a call that it knows. */
#ifdef HYVE_SAN
#define RESTART 0
#else
#define RESTART SA_RESTART
#endif

static void on_signal(int sig)
{
	(void)sig;
	vm_vcpu_yield(signal_vm, 0);
}

/* The thread that sleeps in HLT is the one that takes the signal. */
static void yield_from_signal_handler(void **state)
{
	struct vm *vm = *state;
	const struct fake_step step = {
		.exit = {.exitcode = VM_EXITCODE_HLT, .inst_length = 1, .u.hlt.rflags = 0x202}};
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = RESTART}, old;
	struct runner runner;

	signal_vm = vm;
	assert_int_equal(sigaction(SIGUSR1, &action, &old), 0);
	fake_script(vm, 0, &step, 1);
	runner_start(&runner, vm, 0, 0x10);
	wait_for_state(vm, 0, VCPU_SLEEPING);
	assert_int_equal(pthread_kill(runner.thread, SIGUSR1), 0);
	assert_int_equal(runner_join(&runner), 0);
	assert_int_equal(runner.run.vm_exit.exitcode, VM_EXITCODE_BOGUS);
	assert_int_equal(sigaction(SIGUSR1, &old, NULL), 0);
}

static void activation(void **state)
{
	struct vm *vm = *state;
	cpuset_t set;

	assert_int_equal(vm_activate_cpu(vm, -1), EINVAL);
	assert_int_equal(vm_activate_cpu(vm, VM_MAXCPU), EINVAL);
	assert_int_equal(vm_activate_cpu(vm, 0), EBUSY);
	assert_int_equal(vm_activate_cpu(vm, 5), 0);
	set = vm_active_cpus(vm);
	assert_int_equal(CPU_COUNT(&set), 2);
	assert_true(CPU_ISSET(5, &set));
	assert_int_equal(vm_active_mask(vm), 0x21);
	assert_int_equal(vm_apicid2vcpuid(vm, 7), 7);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_fake, teardown_vm)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(edges),
		TEST(hostcpu_only_while_running),
		TEST(claim_waits_for_idle),
		TEST(notify_kicks_only_running),
		TEST(no_wakeup_is_lost),
		TEST(yield_ends_running),
		TEST(yield_is_remembered_once),
		TEST(yield_from_signal_handler),
		TEST(activation),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
