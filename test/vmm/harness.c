/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include <time.h>

#include "test/vmm/harness.h"

#define POLL_NS	  200000
#define POLLS_MAX 50000

struct vm *vm_new(const struct vmm_ops *ops)
{
	struct vm *vm;

	assert_int_equal(vm_create_clocked(ops, vmm_clock_create_fake(), "test", &vm), 0);
	vcpu_prepare(vm, 0);
	return vm;
}

void vm_delete(struct vm *vm)
{
	struct vmm_clock *clock = vm->clock;

	vm_destroy(vm);
	vmm_clock_destroy(clock);
}

int setup_fake(void **state)
{
	*state = vm_new(&fake_ops);
	return 0;
}

int setup_lending(void **state)
{
	*state = vm_new(&fake_lending_ops);
	return 0;
}

int teardown_vm(void **state)
{
	vm_delete(*state);
	return 0;
}

void vcpu_prepare(struct vm *vm, int vcpuid)
{
	assert_int_equal(vcpu_set_state(vm, vcpuid, VCPU_FROZEN, true), 0);
	assert_int_equal(vm_activate_cpu(vm, vcpuid), 0);
}

static void *runner_main(void *arg)
{
	struct runner *runner = arg;

	runner->error = vm_run(runner->vm, &runner->run);
	return NULL;
}

void runner_start(struct runner *runner, struct vm *vm, int vcpuid, uint64_t rip)
{
	*runner = (struct runner){.vm = vm, .run = {.cpuid = vcpuid, .rip = rip}};
	assert_int_equal(pthread_create(&runner->thread, NULL, runner_main, runner), 0);
}

int runner_join(struct runner *runner)
{
	assert_int_equal(pthread_join(runner->thread, NULL), 0);
	return runner->error;
}

void wait_until(bool (*cond)(struct vm *vm, void *arg), struct vm *vm, void *arg)
{
	const struct timespec pause = {.tv_nsec = POLL_NS};

	for (int i = 0; i < POLLS_MAX; i++) {
		if (cond(vm, arg))
			return;
		nanosleep(&pause, NULL);
	}
	fail_msg("waited in vain");
}

struct wanted_state {
	int vcpuid;
	enum vcpu_state state;
};

static bool in_state(struct vm *vm, void *arg)
{
	const struct wanted_state *wanted = arg;

	return vcpu_get_state(vm, wanted->vcpuid, NULL) == wanted->state;
}

void wait_for_state(struct vm *vm, int vcpuid, enum vcpu_state state)
{
	struct wanted_state wanted = {vcpuid, state};

	wait_until(in_state, vm, &wanted);
}
