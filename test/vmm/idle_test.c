/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* HLT, halt detection, and how a suspend brings all vcpus together. */
#include <errno.h>
#include <time.h>
#include <unistd.h>

#include <vmm/vlapic.h>

#include "test/vmm/harness.h"

#define IF_ON  0x202
#define IF_OFF 0x002

static const struct fake_step hlt_on[] = {
	{.exit = {.exitcode = VM_EXITCODE_HLT, .inst_length = 1, .u.hlt.rflags = IF_ON}},
	{.exit = {.exitcode = VM_EXITCODE_PAUSE}},
};
static const struct fake_step hlt_off[] = {
	{.exit = {.exitcode = VM_EXITCODE_HLT, .inst_length = 1, .u.hlt.rflags = IF_OFF}},
	{.exit = {.exitcode = VM_EXITCODE_PAUSE}},
};

static void enable_apic(struct vm *vm, int vcpuid)
{
	bool retu = false;

	assert_int_equal(vlapic_mmio_write(vm, vcpuid, 0xfee000f0, 0x1ff, 4, &retu), 0);
}

static void halt(struct vm *vm, struct runner *runner, const struct fake_step *steps)
{
	fake_script(vm, 0, steps, 2);
	runner_start(runner, vm, 0, 0x500);
	wait_for_state(vm, 0, VCPU_SLEEPING);
}

static void ends_behind_hlt(struct runner *runner)
{
	assert_int_equal(runner_join(runner), 0);
	assert_int_equal(runner->run.vm_exit.exitcode, VM_EXITCODE_PAUSE);
	assert_int_equal(runner->run.vm_exit.rip, 0x501);
}

static void nmi_wakes(void **state)
{
	struct vm *vm = *state;
	struct runner runner;

	halt(vm, &runner, hlt_on);
	assert_int_equal(vm_inject_nmi(vm, 0), 0);
	ends_behind_hlt(&runner);
	assert_int_equal(((uint64_t *)vcpu_stats(vm, 0))[VMM_STAT_EXIT_HLT], 1);
}

static void extint_wakes(void **state)
{
	struct vm *vm = *state;
	struct runner runner;

	halt(vm, &runner, hlt_on);
	assert_int_equal(vm_inject_extint(vm, 0), 0);
	ends_behind_hlt(&runner);
}

static void apic_vector_wakes(void **state)
{
	struct vm *vm = *state;
	struct runner runner;

	enable_apic(vm, 0);
	halt(vm, &runner, hlt_on);
	assert_int_equal(lapic_set_intr(vm, 0, 0x40, false), 0);
	ends_behind_hlt(&runner);
}

static void masked_priority_does_not_wake(void **state)
{
	struct vm *vm = *state;
	struct runner runner;

	enable_apic(vm, 0);
	assert_int_equal(vlapic_set_cr8(vm_lapic(vm, 0), 8), 0);
	halt(vm, &runner, hlt_on);
	assert_int_equal(lapic_set_intr(vm, 0, 0x40, false), 0);
	usleep(20000);
	wait_for_state(vm, 0, VCPU_SLEEPING);
	assert_int_equal(fake_log(vm, 0)->entries, 1);
	assert_int_equal(lapic_set_intr(vm, 0, 0x90, false), 0);
	ends_behind_hlt(&runner);
}

static void with_if_off_only_nmi_wakes(void **state)
{
	struct vm *vm = *state;
	struct runner runner;

	vm_set_halt_detection(vm, false);
	enable_apic(vm, 0);
	halt(vm, &runner, hlt_off);
	assert_int_equal(vm_inject_extint(vm, 0), 0);
	assert_int_equal(lapic_set_intr(vm, 0, 0x40, false), 0);
	usleep(20000);
	wait_for_state(vm, 0, VCPU_SLEEPING);
	assert_int_equal(fake_log(vm, 0)->entries, 1);
	assert_int_equal(vm_inject_nmi(vm, 0), 0);
	ends_behind_hlt(&runner);
}

/* The user gets the vcpu, and the next vm_run goes on waiting: the guest notices nothing. */
static void yield_interrupts_the_wait_only(void **state)
{
	struct vm *vm = *state;
	struct runner runner;

	assert_int_equal(vm_set_register(vm, 0, VM_REG_GUEST_RFLAGS, IF_ON), 0);
	halt(vm, &runner, hlt_on);
	vm_vcpu_yield(vm, 0);
	assert_int_equal(runner_join(&runner), 0);
	assert_int_equal(runner.run.vm_exit.exitcode, VM_EXITCODE_BOGUS);
	assert_int_equal(runner.run.vm_exit.rip, 0x501);
	assert_int_equal(runner.run.vm_exit.inst_length, 0);
	runner_start(&runner, vm, 0, 0x501);
	wait_for_state(vm, 0, VCPU_SLEEPING);
	assert_int_equal(fake_log(vm, 0)->entries, 1);
	assert_int_equal(vm_inject_nmi(vm, 0), 0);
	ends_behind_hlt(&runner);
}

static void moving_rip_or_a_fault_ends_the_wait(void **state)
{
	struct vm *vm = *state;
	struct vm_exception vme = {.vector = 13};
	struct runner runner;
	struct vm_run run = {.rip = 0x900};

	halt(vm, &runner, hlt_on);
	vm_vcpu_yield(vm, 0);
	assert_int_equal(runner_join(&runner), 0);
	assert_int_equal(vm_run(vm, &run), 0);
	assert_int_equal(run.vm_exit.exitcode, VM_EXITCODE_PAUSE);
	assert_int_equal(run.vm_exit.rip, 0x900);

	halt(vm, &runner, hlt_on);
	vm_vcpu_yield(vm, 0);
	assert_int_equal(runner_join(&runner), 0);
	assert_int_equal(vm_inject_exception(vm, 0, &vme), 0);
	run.rip = 0x501;
	assert_int_equal(vm_run(vm, &run), 0);
	assert_int_equal(run.vm_exit.exitcode, VM_EXITCODE_PAUSE);
}

static uint64_t cpu_time_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static void sleeping_costs_nothing(void **state)
{
	struct vm *vm = *state;
	struct runner runner;
	uint64_t start;

	halt(vm, &runner, hlt_on);
	start = cpu_time_ns();
	usleep(200000);
	assert_in_range(cpu_time_ns() - start, 0, 5000000);
	vm_inject_nmi(vm, 0);
	ends_behind_hlt(&runner);
}

static void idle_ticks_are_counted(void **state)
{
	struct vm *vm = *state;
	struct runner runner;

	halt(vm, &runner, hlt_on);
	vmm_clock_advance(vm->clock, 25000000);
	vm_inject_nmi(vm, 0);
	ends_behind_hlt(&runner);
	assert_int_equal(((uint64_t *)vcpu_stats(vm, 0))[VMM_STAT_IDLE_TICKS], 25);
}

/* ---- Halt detection ---- */

static void all_halted_suspends(void **state)
{
	struct vm *vm = *state;
	struct runner runner[2];

	vcpu_prepare(vm, 1);
	fake_script(vm, 0, hlt_off, 2);
	fake_script(vm, 1, hlt_off, 2);
	runner_start(&runner[0], vm, 0, 0x500);
	wait_for_state(vm, 0, VCPU_SLEEPING);
	assert_false(vm_is_suspended(vm));
	runner_start(&runner[1], vm, 1, 0x500);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(runner_join(&runner[i]), 0);
		assert_int_equal(runner[i].run.vm_exit.exitcode, VM_EXITCODE_SUSPENDED);
		assert_int_equal(runner[i].run.vm_exit.u.suspended.how, VM_SUSPEND_HALT);
	}
}

static void one_with_interrupts_on_prevents_it(void **state)
{
	struct vm *vm = *state;
	struct runner runner[2];

	vcpu_prepare(vm, 1);
	fake_script(vm, 0, hlt_off, 2);
	fake_script(vm, 1, hlt_on, 2);
	runner_start(&runner[0], vm, 0, 0x500);
	runner_start(&runner[1], vm, 1, 0x500);
	wait_for_state(vm, 0, VCPU_SLEEPING);
	wait_for_state(vm, 1, VCPU_SLEEPING);
	assert_false(vm_is_suspended(vm));
	/* An NMI takes the first one out of the halted set, so the second cannot complete it. */
	vm_inject_nmi(vm, 0);
	assert_int_equal(runner_join(&runner[0]), 0);
	assert_int_equal(atomic_load(&vm->halted), 0);
	vm_inject_nmi(vm, 1);
	assert_int_equal(runner_join(&runner[1]), 0);
}

static void detection_can_be_off(void **state)
{
	struct vm *vm = *state;
	struct runner runner;

	vm_set_halt_detection(vm, false);
	halt(vm, &runner, hlt_off);
	usleep(20000);
	assert_false(vm_is_suspended(vm));
	vm_inject_nmi(vm, 0);
	ends_behind_hlt(&runner);
}

/* ---- Suspend ---- */

static void suspend_arguments(void **state)
{
	struct vm *vm = *state;

	assert_int_equal(vm_suspend(vm, VM_SUSPEND_NONE), EINVAL);
	assert_int_equal(vm_suspend(vm, VM_SUSPEND_LAST), EINVAL);
	assert_int_equal(vm_suspend(vm, (enum vm_suspend_how) - 1), EINVAL);
	assert_int_equal(vm_suspend(vm, VM_SUSPEND_POWEROFF), 0);
	assert_int_equal(vm_suspend(vm, VM_SUSPEND_RESET), EALREADY);
	assert_int_equal(vm->suspend, VM_SUSPEND_POWEROFF);
}

static void all_vcpus_come_together(void **state)
{
	struct vm *vm = *state;
	struct runner runner[3];
	cpuset_t set;

	vcpu_prepare(vm, 1);
	vcpu_prepare(vm, 2);
	fake_script(vm, 1, hlt_on, 2);		/* asleep */
	runner_start(&runner[0], vm, 0, 0x100); /* in the guest */
	runner_start(&runner[1], vm, 1, 0x100);
	wait_for_state(vm, 1, VCPU_SLEEPING);
	assert_int_equal(vm_suspend(vm, VM_SUSPEND_RESET), 0);
	/* vcpu 2 is away: the two others wait for it. */
	while (atomic_load(&vm->suspended) != 3)
		usleep(1000);
	usleep(20000);
	assert_int_equal(vcpu_get_state(vm, 0, NULL), VCPU_SLEEPING);
	runner_start(&runner[2], vm, 2, 0x100);
	for (int i = 0; i < 3; i++) {
		struct vm_exit *exit = &runner[i].run.vm_exit;

		assert_int_equal(runner_join(&runner[i]), 0);
		assert_int_equal(exit->exitcode, VM_EXITCODE_SUSPENDED);
		assert_int_equal(exit->inst_length, 0);
		assert_int_equal(exit->u.suspended.how, VM_SUSPEND_RESET);
	}
	set = vm_suspended_cpus(vm);
	assert_int_equal(CPU_COUNT(&set), 3);
	assert_int_equal(vm_run(vm, &runner[0].run), EINVAL);
}

static void waiting_for_the_others_yields(void **state)
{
	struct vm *vm = *state;
	struct runner runner;

	vcpu_prepare(vm, 1);
	assert_int_equal(vm_suspend(vm, VM_SUSPEND_HALT), 0);
	runner_start(&runner, vm, 0, 0x100);
	wait_for_state(vm, 0, VCPU_SLEEPING);
	vm_vcpu_yield(vm, 0);
	assert_int_equal(runner_join(&runner), 0);
	assert_int_equal(runner.run.vm_exit.exitcode, VM_EXITCODE_BOGUS);
	assert_int_equal(runner.run.vm_exit.rip, 0x100);
	assert_int_equal(atomic_load(&vm->suspended), 0);
	runner_start(&runner, vm, 0, 0x100);
	wait_for_state(vm, 0, VCPU_SLEEPING);
	struct vm_run run = {.cpuid = 1, .rip = 0x100};
	assert_int_equal(vm_run(vm, &run), 0);
	assert_int_equal(run.vm_exit.exitcode, VM_EXITCODE_SUSPENDED);
	assert_int_equal(runner_join(&runner), 0);
	assert_int_equal(runner.run.vm_exit.exitcode, VM_EXITCODE_SUSPENDED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_fake, teardown_vm)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nmi_wakes),
		TEST(extint_wakes),
		TEST(apic_vector_wakes),
		TEST(masked_priority_does_not_wake),
		TEST(with_if_off_only_nmi_wakes),
		TEST(yield_interrupts_the_wait_only),
		TEST(moving_rip_or_a_fault_ends_the_wait),
		TEST(sleeping_costs_nothing),
		TEST(idle_ticks_are_counted),
		TEST(all_halted_suspends),
		TEST(one_with_interrupts_on_prevents_it),
		TEST(detection_can_be_off),
		TEST(suspend_arguments),
		TEST(all_vcpus_come_together),
		TEST(waiting_for_the_others_yields),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
