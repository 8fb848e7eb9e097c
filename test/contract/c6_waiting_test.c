/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* vmm-api.md 6.4 to 6.7: HLT, suspend, rendezvous, yield, with guests that really execute. */
#include <stdatomic.h>
#include <unistd.h>

#include "test/contract/contract.h"

#define HANDLER 0x1100u

/* Vector 0x40 reports 0x40 and returns; the APIC is on. */
static void with_interrupt(struct contract *c, int vcpuid)
{
	set_ivt(c, 0x40, HANDLER);
	set_ivt(c, 2, HANDLER + 0x10);
	PLACE(c, HANDLER, "\xb0\x40\xe6\xe9\xcf");	  /* mov al, 0x40; out 0xe9, al; iret */
	PLACE(c, HANDLER + 0x10, "\xb0\x02\xe6\xe9\xcf"); /* the same with 2, for NMI */
	lapic_write(c, vcpuid, 0xf0, 0x1ff);
}

static uint32_t joined_out(struct contract *c, int vcpuid)
{
	struct vm_exit *exit = run_join(c, vcpuid);

	assert_int_equal(exit->exitcode, VM_EXITCODE_INOUT);
	step_over(c, vcpuid);
	return exit->u.inout.eax & 0xff;
}

/* vcpus 0..n-1 in an endless loop. */
static void start_loops(struct contract *c, int n)
{
	for (int i = 1; i < n; i++)
		contract_add_vcpu(c, i);
	for (int i = 0; i < n; i++)
		GUEST(real_mode, c, i, "\xeb\xfe");
	for (int i = 0; i < n; i++) {
		run_start(c, i);
		wait_state(c, i, VCPU_RUNNING);
	}
}

/* ---- 6.4 ---- */

/* sti; hlt; mov al, 1; out 0xe9, al */
static const char sti_hlt[] = "\xfb\xf4\xb0\x01\xe6\xe9";
/* cli; hlt; mov al, 1; out 0xe9, al */
static const char cli_hlt[] = "\xfa\xf4\xb0\x01\xe6\xe9";

static void c6_4_hlt_sleeps_until_an_interrupt(void **state)
{
	struct contract *c = *state;

	GUEST(real_mode, c, 0, sti_hlt);
	with_interrupt(c, 0);
	run_start(c, 0);
	wait_state(c, 0, VCPU_SLEEPING);
	assert_int_equal(vmmdev_lapic_irq(c->vm, 0, 0x40), 0);
	assert_int_equal(joined_out(c, 0), 0x40);
	assert_int_equal(run_to_out(c, 0) & 0xff, 1); /* behind the HLT */
}

/* The interrupt is pending already: STI, HLT, and out again, without a lost wake-up. */
static void c6_4_sti_hlt_with_pending_interrupt(void **state)
{
	struct contract *c = *state;

	GUEST(real_mode, c, 0, sti_hlt);
	with_interrupt(c, 0);
	assert_int_equal(vmmdev_lapic_irq(c->vm, 0, 0x40), 0);
	assert_int_equal(run_to_out(c, 0) & 0xff, 0x40);
	assert_int_equal(run_to_out(c, 0) & 0xff, 1);
}

static void c6_4_hlt_with_if_clear_only_nmi(void **state)
{
	struct contract *c = *state;

	vm_set_halt_detection(c->vm, false);
	GUEST(real_mode, c, 0, cli_hlt);
	with_interrupt(c, 0);
	run_start(c, 0);
	wait_state(c, 0, VCPU_SLEEPING);
	assert_int_equal(vmmdev_lapic_irq(c->vm, 0, 0x40), 0);
	assert_int_equal(vm_inject_extint(c->vm, 0), 0);
	usleep(10000);
	assert_int_equal(vcpu_get_state(c->vm, 0, NULL), VCPU_SLEEPING);
	assert_int_equal(vm_inject_nmi(c->vm, 0), 0);
	assert_int_equal(joined_out(c, 0), 2);
	assert_int_equal(run_to_out(c, 0) & 0xff, 1);
}

static void c6_4_hlt_is_not_left_for_a_yield(void **state)
{
	struct contract *c = *state;
	struct vm_exit *exit;

	GUEST(real_mode, c, 0, sti_hlt);
	with_interrupt(c, 0);
	for (int i = 0; i < 3; i++) {
		run_start(c, 0);
		wait_state(c, 0, VCPU_SLEEPING);
		vm_vcpu_yield(c->vm, 0);
		exit = run_join(c, 0);
		assert_int_equal(exit->exitcode, VM_EXITCODE_BOGUS);
		assert_int_equal(exit->inst_length, 0);
	}
	run_start(c, 0);
	wait_state(c, 0, VCPU_SLEEPING);
	assert_int_equal(vmmdev_lapic_irq(c->vm, 0, 0x40), 0);
	assert_int_equal(joined_out(c, 0), 0x40);
	assert_int_equal(run_to_out(c, 0) & 0xff, 1);
}

static void c6_4_halt_detection(void **state)
{
	struct contract *c = *state;
	struct vm_exit *exit;

	GUEST(real_mode, c, 0, cli_hlt);
	exit = run_to(c, 0, VM_EXITCODE_SUSPENDED);
	assert_int_equal(exit->u.suspended.how, VM_SUSPEND_HALT);
}

static void c6_4_halt_detection_needs_all_active_vcpus(void **state)
{
	struct contract *c = *state;

	contract_add_vcpu(c, 1);
	GUEST(real_mode, c, 0, "\xeb\xfe");
	GUEST(real_mode, c, 1, "\xeb\xfe");
	PLACE(c, 0x1800, cli_hlt);
	c->run[0].vm_exit.rip = 0x1800;
	run_start(c, 1);
	run_start(c, 0);
	wait_state(c, 0, VCPU_SLEEPING);
	usleep(10000);
	assert_int_equal(vcpu_get_state(c->vm, 0, NULL), VCPU_SLEEPING);
	assert_int_equal(vm_suspend(c->vm, VM_SUSPEND_RESET), 0); /* nobody did before */
	run_join(c, 0);
	run_join(c, 1);
}

/* ---- 6.5 ---- */

static void c6_5_all_vcpus_report_the_same(void **state)
{
	struct contract *c = *state;
	cpuset_t set;

	start_loops(c, 3);
	assert_int_equal(vm_suspend(c->vm, VM_SUSPEND_POWEROFF), 0);
	for (int i = 0; i < 3; i++) {
		struct vm_exit *exit = run_join(c, i);

		assert_int_equal(exit->exitcode, VM_EXITCODE_SUSPENDED);
		assert_int_equal(exit->u.suspended.how, VM_SUSPEND_POWEROFF);
		assert_int_equal(exit->rip, CODE);
		assert_int_equal(exit->inst_length, 0);
	}
	set = vm_suspended_cpus(c->vm);
	assert_int_equal(CPU_COUNT(&set), 3);
	for (int i = 0; i < 3; i++)
		assert_int_equal(vm_run(c->vm, &c->run[i]), EINVAL);
}

static void c6_5_nobody_returns_before_all_are_there(void **state)
{
	struct contract *c = *state;

	contract_add_vcpu(c, 1);
	GUEST(real_mode, c, 1, "\xeb\xfe");
	GUEST(real_mode, c, 0, "\xeb\xfe");
	assert_int_equal(vm_suspend(c->vm, VM_SUSPEND_RESET), 0);
	run_start(c, 0);
	wait_state(c, 0, VCPU_SLEEPING);
	usleep(10000);
	assert_int_equal(vcpu_get_state(c->vm, 0, NULL), VCPU_SLEEPING);
	run_to(c, 1, VM_EXITCODE_SUSPENDED);
	assert_int_equal(run_join(c, 0)->exitcode, VM_EXITCODE_SUSPENDED);
}

/* ---- 6.6 ---- */

struct calls {
	_Atomic unsigned count;
	_Atomic unsigned mask;
};

static void note(struct vm *vm, int vcpuid, void *arg)
{
	struct calls *calls = arg;

	(void)vm;
	atomic_fetch_add(&calls->count, 1);
	atomic_fetch_or(&calls->mask, 1u << vcpuid);
}

static cpuset_t set_of(unsigned mask)
{
	cpuset_t set;

	CPU_ZERO(&set);
	for (int i = 0; i < VM_MAXCPU; i++)
		if ((mask >> i & 1) != 0)
			CPU_SET(i, &set);
	return set;
}

static void c6_6_rendezvous_of_running_guests(void **state)
{
	struct contract *c = *state;
	struct calls calls = {0};

	start_loops(c, 2);
	for (unsigned i = 1; i <= 50; i++) {
		vm_smp_rendezvous(c->vm, -1, set_of(3), note, &calls);
		assert_int_equal(calls.count, 2 * i);
	}
	assert_int_equal(calls.mask, 3);
	assert_int_equal(vm_suspend(c->vm, VM_SUSPEND_RESET), 0);
	run_join(c, 0);
	run_join(c, 1);
}

static void c6_6_inactive_members_are_ignored(void **state)
{
	struct contract *c = *state;
	struct calls calls = {0};

	vm_smp_rendezvous(c->vm, 0, set_of(0xffff), note, &calls);
	assert_int_equal(calls.mask, 1);
	vm_smp_rendezvous(c->vm, -1, set_of(0), note, &calls);
	assert_int_equal(calls.count, 1);
}

static void c6_6_halted_vcpu_takes_part_and_sleeps_on(void **state)
{
	struct contract *c = *state;
	struct calls calls = {0};

	GUEST(real_mode, c, 0, sti_hlt);
	with_interrupt(c, 0);
	run_start(c, 0);
	wait_state(c, 0, VCPU_SLEEPING);
	vm_smp_rendezvous(c->vm, -1, set_of(1), note, &calls);
	assert_int_equal(calls.count, 1);
	wait_state(c, 0, VCPU_SLEEPING);
	assert_int_equal(vmmdev_lapic_irq(c->vm, 0, 0x40), 0);
	assert_int_equal(joined_out(c, 0), 0x40);
}

/* ---- 6.7 ---- */

/* mov ecx, 100000000; dec ecx; jnz; out 0xe9, al: interrupted often, ends all the same */
static void c6_7_yield_does_not_disturb_the_guest(void **state)
{
	struct contract *c = *state;
	unsigned yields = 0;

	GUEST(protected_mode, c, 0, "\xb8\x07\x00\x00\x00\xb9\x00\xe1\xf5\x05\x49\x75\xfd\xe6\xe9");
	for (;;) {
		struct vm_exit *exit;

		run_start(c, 0);
		usleep(300);
		vm_vcpu_yield(c->vm, 0);
		exit = run_join(c, 0);
		if (exit->exitcode == VM_EXITCODE_INOUT)
			break;
		assert_int_equal(exit->exitcode, VM_EXITCODE_BOGUS);
		assert_int_equal(exit->inst_length, 0);
		assert_in_range(exit->rip, CODE, CODE + 13);
		yields++;
	}
	assert_true(yields > 0);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RCX), 0);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RAX), 7);
}

/* A vector that was on its way when the vcpu left is not lost: the handler counts all of them. */
static void c6_7_no_interrupt_is_lost_by_yields(void **state)
{
	struct contract *c = *state;
	unsigned seen = 0;

	GUEST(real_mode, c, 0, "\xfb\xeb\xfe"); /* sti; jmp $ */
	with_interrupt(c, 0);
	/* mov al, 0x40; out 0xe9, al; EOI by the test; iret */
	for (int i = 0; i < 200; i++) {
		struct vm_exit *exit;

		assert_int_equal(vmmdev_lapic_irq(c->vm, 0, 0x40), 0);
		vm_vcpu_yield(c->vm, 0);
		do {
			step_over(c, 0);
			assert_int_equal(vm_run(c->vm, &c->run[0]), 0);
			exit = &c->run[0].vm_exit;
		} while (exit->exitcode == VM_EXITCODE_BOGUS);
		assert_int_equal(exit->exitcode, VM_EXITCODE_INOUT);
		lapic_write(c, 0, 0xb0, 0);
		seen++;
	}
	assert_int_equal(seen, 200);
}

int main(void)
{
	static const struct behaviour tests[] = {
		CONTRACT(c6_4_hlt_sleeps_until_an_interrupt),
		CONTRACT(c6_4_sti_hlt_with_pending_interrupt),
		CONTRACT(c6_4_hlt_with_if_clear_only_nmi),
		CONTRACT(c6_4_hlt_is_not_left_for_a_yield),
		CONTRACT(c6_4_halt_detection),
		CONTRACT(c6_4_halt_detection_needs_all_active_vcpus),
		CONTRACT(c6_5_all_vcpus_report_the_same),
		CONTRACT(c6_5_nobody_returns_before_all_are_there),
		CONTRACT(c6_6_rendezvous_of_running_guests),
		CONTRACT(c6_6_inactive_members_are_ignored),
		CONTRACT(c6_6_halted_vcpu_takes_part_and_sleeps_on),
		CONTRACT(c6_7_yield_does_not_disturb_the_guest),
		CONTRACT(c6_7_no_interrupt_is_lost_by_yields),
	};

	return contract_run("c6 waiting", tests, sizeof(tests) / sizeof(tests[0]));
}
