/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* vmm-api.md 4.4 to 4.10: running, sets, suspend, events, capabilities, passthrough. */
#include <unistd.h>

#include "test/contract/contract.h"

/* ---- 4.4 ---- */

static void c4_4_vm_run_einval(void **state)
{
	struct contract *c = *state;
	struct vm_run run = {.cpuid = -1, .vm_exit = {.rip = 0x77}};

	assert_int_equal(vm_run(c->vm, &run), EINVAL);
	run.cpuid = VM_MAXCPU;
	assert_int_equal(vm_run(c->vm, &run), EINVAL);
	run.cpuid = 1; /* not active */
	assert_int_equal(vm_run(c->vm, &run), EINVAL);
	assert_int_equal(run.vm_exit.rip, 0x77); /* the record is untouched */
}

static void c4_4_vm_run_einval_once_suspended(void **state)
{
	struct contract *c = *state;

	GUEST(real_mode, c, 0, "\xf4");
	assert_int_equal(vm_suspend(c->vm, VM_SUSPEND_HALT), 0);
	run_to(c, 0, VM_EXITCODE_SUSPENDED);
	assert_int_equal(vm_run(c->vm, &c->run[0]), EINVAL);
}

static void c4_4_vm_run_frozen_before_and_after(void **state)
{
	struct contract *c = *state;

	GUEST(real_mode, c, 0, "\xe6\xe9");
	assert_int_equal(vcpu_get_state(c->vm, 0, NULL), VCPU_FROZEN);
	run_to_out(c, 0);
	assert_int_equal(vcpu_get_state(c->vm, 0, NULL), VCPU_FROZEN);
}

/* jmp 0x2000:0, where no RAM is */
static void c4_4_vm_run_efault_fetch_outside_ram(void **state)
{
	struct contract *c = *state;

	GUEST(protected_mode, c, 0,
		"\xb8\x00\x00\x00\xd0\xff\xe0"); /* mov eax, 0xd0000000; jmp eax */
	assert_int_equal(vm_run(c->vm, &c->run[0]), EFAULT);
	assert_int_equal(vcpu_get_state(c->vm, 0, NULL), VCPU_FROZEN);
}

static void c4_4_vm_exitinfo_is_the_record(void **state)
{
	struct contract *c = *state;
	struct vm_exit *exit;

	GUEST(real_mode, c, 0, "\xe6\xe9");
	exit = run_to(c, 0, VM_EXITCODE_INOUT);
	assert_int_equal(vm_exitinfo(c->vm, 0)->rip, exit->rip);
	assert_int_equal(vm_exitinfo(c->vm, 0)->inst_length, exit->inst_length);
}

static void c4_4_vcpu_set_state_edges(void **state)
{
	struct contract *c = *state;

	assert_int_equal(vcpu_set_state(c->vm, 0, VCPU_FROZEN, false), EBUSY);
	assert_int_equal(vcpu_set_state(c->vm, 0, VCPU_SLEEPING, false), 0);
	assert_int_equal(vcpu_set_state(c->vm, 0, VCPU_RUNNING, false), EBUSY);
	assert_int_equal(vcpu_set_state(c->vm, 0, VCPU_IDLE, false), EBUSY);
	assert_int_equal(vcpu_set_state(c->vm, 0, VCPU_FROZEN, false), 0);
	assert_int_equal(vcpu_set_state(c->vm, 0, VCPU_IDLE, false), 0);
	assert_int_equal(vcpu_set_state(c->vm, 0, VCPU_FROZEN, true), 0);
}

static void c4_4_vcpu_get_state_hostcpu(void **state)
{
	struct contract *c = *state;
	int hostcpu = 5;

	vcpu_get_state(c->vm, 0, &hostcpu);
	assert_int_equal(hostcpu, -1);
	GUEST(real_mode, c, 0, "\xeb\xfe"); /* jmp $ */
	run_start(c, 0);
	wait_state(c, 0, VCPU_RUNNING);
	assert_true(vcpu_is_running(c->vm, 0, &hostcpu));
	assert_true(hostcpu >= 0);
	vm_vcpu_yield(c->vm, 0);
	run_join(c, 0);
}

/* A loop without exits notices an event: sti; jmp $ with a handler that reports. */
static void c4_4_vcpu_notify_event_reaches_a_running_vcpu(void **state)
{
	struct contract *c = *state;

	set_ivt(c, 2, 0x1100);
	PLACE(c, 0x1100, "\xb0\x22\xe6\xe9\xcf"); /* mov al, 0x22; out 0xe9, al; iret */
	GUEST(real_mode, c, 0, "\xeb\xfe");
	run_start(c, 0);
	wait_state(c, 0, VCPU_RUNNING);
	usleep(5000);
	assert_int_equal(vm_inject_nmi(c->vm, 0), 0);
	assert_int_equal(run_join(c, 0)->exitcode, VM_EXITCODE_INOUT);
	assert_int_equal(c->run[0].vm_exit.u.inout.eax & 0xff, 0x22);
}

/* ---- 4.5 ---- */

static void c4_5_vm_activate_cpu(void **state)
{
	struct contract *c = *state;
	cpuset_t set;

	assert_int_equal(vm_activate_cpu(c->vm, -1), EINVAL);
	assert_int_equal(vm_activate_cpu(c->vm, VM_MAXCPU), EINVAL);
	assert_int_equal(vm_activate_cpu(c->vm, 0), EBUSY);
	assert_int_equal(vm_activate_cpu(c->vm, VM_MAXCPU - 1), 0);
	set = vm_active_cpus(c->vm);
	assert_int_equal(CPU_COUNT(&set), 2);
	assert_true(CPU_ISSET(0, &set) && CPU_ISSET(VM_MAXCPU - 1, &set));
}

static void c4_5_vm_apicid2vcpuid_is_identity(void **state)
{
	struct contract *c = *state;

	for (int i = 0; i < 300; i++)
		assert_int_equal(vm_apicid2vcpuid(c->vm, i), i);
}

/* ---- 4.6 ---- */

static void c4_6_vm_suspend_einval(void **state)
{
	struct contract *c = *state;

	assert_int_equal(vm_suspend(c->vm, VM_SUSPEND_NONE), EINVAL);
	assert_int_equal(vm_suspend(c->vm, VM_SUSPEND_LAST), EINVAL);
}

static void c4_6_vm_suspend_first_one_counts(void **state)
{
	struct contract *c = *state;
	struct vm_exit *exit;

	assert_int_equal(vm_suspend(c->vm, VM_SUSPEND_POWEROFF), 0);
	assert_int_equal(vm_suspend(c->vm, VM_SUSPEND_POWEROFF), EALREADY);
	assert_int_equal(vm_suspend(c->vm, VM_SUSPEND_RESET), EALREADY);
	GUEST(real_mode, c, 0, "\xf4");
	exit = run_to(c, 0, VM_EXITCODE_SUSPENDED);
	assert_int_equal(exit->u.suspended.how, VM_SUSPEND_POWEROFF);
}

/* ---- 4.7 ---- */

static void c4_7_nmi(void **state)
{
	struct contract *c = *state;

	assert_int_equal(vm_inject_nmi(c->vm, -1), EINVAL);
	assert_int_equal(vm_inject_nmi(c->vm, VM_MAXCPU), EINVAL);
	assert_int_equal(vm_nmi_pending(c->vm, 0), 0);
	assert_int_equal(vm_inject_nmi(c->vm, 0), 0);
	assert_int_equal(vm_inject_nmi(c->vm, 0), 0);
	assert_int_equal(vm_nmi_pending(c->vm, 0), 1);
}

static void c4_7_extint(void **state)
{
	struct contract *c = *state;

	assert_int_equal(vm_inject_extint(c->vm, VM_MAXCPU), EINVAL);
	assert_int_equal(vm_inject_extint(c->vm, 0), 0);
	assert_int_equal(vm_extint_pending(c->vm, 0), 1);
	assert_int_equal(vm_extint_pending(c->vm, 1), 0);
}

static void c4_7_vm_inject_exception_errors(void **state)
{
	struct contract *c = *state;
	struct vm_exception vme = {.vector = 32};

	assert_int_equal(vm_inject_exception(c->vm, 0, &vme), EINVAL);
	vme.vector = -1;
	assert_int_equal(vm_inject_exception(c->vm, 0, &vme), EINVAL);
	vme.vector = 8;
	assert_int_equal(vm_inject_exception(c->vm, 0, &vme), EINVAL);
	vme.vector = 31;
	assert_int_equal(vm_inject_exception(c->vm, VM_MAXCPU, &vme), EINVAL);
	assert_int_equal(vm_inject_exception(c->vm, 0, &vme), 0);
	assert_int_equal(vm_inject_exception(c->vm, 0, &vme), EBUSY);
}

static void c4_7_vm_inject_exception_leaves_rip_and_cr2(void **state)
{
	struct contract *c = *state;
	struct vm_exception vme = {.vector = 14};

	GUEST(real_mode, c, 0, "\xe6\xe9");
	run_to(c, 0, VM_EXITCODE_INOUT);
	set_reg(c, 0, VM_REG_GUEST_CR2, 0x1234);
	assert_int_equal(vm_inject_exception(c->vm, 0, &vme), 0);
	assert_int_equal(vm_exitinfo(c->vm, 0)->inst_length, 2);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_CR2), 0x1234);
}

static void c4_7_fault_wrappers_zero_the_length(void **state)
{
	struct contract *c = *state;
	uint64_t info1, info2;

	GUEST(protected_mode, c, 0, "\xe6\xe9");
	run_to(c, 0, VM_EXITCODE_INOUT);
	vm_inject_pf(c->vm, 0, 6, 0x7654321);
	assert_int_equal(vm_exitinfo(c->vm, 0)->inst_length, 0);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_CR2), 0x7654321);
	assert_int_equal(vm_get_intinfo(c->vm, 0, &info1, &info2), 0);
	assert_int_equal(info2, (uint64_t)6 << 32 | VM_INTINFO_VALID | VM_INTINFO_DEL_ERRCODE |
					VM_INTINFO_HWEXCEPTION | 14);
}

/* ---- 4.8 ---- */

static void c4_8_capability_einval(void **state)
{
	struct contract *c = *state;
	int value;

	assert_int_equal(vm_get_capability(c->vm, VM_MAXCPU, VM_CAP_HALT_EXIT, &value), EINVAL);
	assert_int_equal(vm_get_capability(c->vm, 0, VM_CAP_MAX, &value), EINVAL);
	assert_int_equal(vm_get_capability(c->vm, 0, -1, &value), EINVAL);
	assert_int_equal(vm_set_capability(c->vm, -1, VM_CAP_HALT_EXIT, 1), EINVAL);
	assert_int_equal(vm_set_capability(c->vm, 0, VM_CAP_MAX, 1), EINVAL);
}

/* Off after create, kept when set, or not there at all. */
static void c4_8_capabilities(void **state)
{
	struct contract *c = *state;
	int value;

	assert_int_equal(vcpu_set_state(c->vm, 1, VCPU_FROZEN, true), 0);
	for (int type = 0; type < VM_CAP_MAX; type++) {
		int error = vm_get_capability(c->vm, 1, type, &value);

		if (error == ENOENT) {
			assert_int_equal(vm_set_capability(c->vm, 1, type, 1), ENOENT);
			continue;
		}
		assert_int_equal(error, 0);
		if (type == VM_CAP_UNRESTRICTED_GUEST)
			continue; /* may always be on */
		assert_int_equal(value, 0);
		assert_int_equal(vm_set_capability(c->vm, 1, type, 1), 0);
		assert_int_equal(vm_get_capability(c->vm, 1, type, &value), 0);
		assert_int_equal(value, 1);
		assert_int_equal(vm_set_capability(c->vm, 1, type, 0), 0);
	}
}

static void c4_8_x2apic_state(void **state)
{
	struct contract *c = *state;
	enum x2apic_state mode;

	assert_int_equal(vm_get_x2apic_state(c->vm, VM_MAXCPU, &mode), EINVAL);
	assert_int_equal(vm_set_x2apic_state(c->vm, -1, X2APIC_ENABLED), EINVAL);
	assert_int_equal(vm_set_x2apic_state(c->vm, 0, X2APIC_STATE_LAST), EINVAL);
	assert_int_equal(vm_get_x2apic_state(c->vm, 0, &mode), 0);
	assert_int_equal(mode, X2APIC_DISABLED);
	assert_int_equal(vm_set_x2apic_state(c->vm, 0, X2APIC_ENABLED), 0);
	assert_int_equal(vm_get_x2apic_state(c->vm, 0, &mode), 0);
	assert_int_equal(mode, X2APIC_ENABLED);
}

/* The guest sees the mode in APICBASE and in CPUID. */
static void c4_8_x2apic_state_as_the_guest_sees_it(void **state)
{
	struct contract *c = *state;

	assert_int_equal(vm_set_x2apic_state(c->vm, 0, X2APIC_ENABLED), 0);
	/* mov ecx, 0x1b; rdmsr; out dx... 32-bit report */
	GUEST(protected_mode, c, 0,
		"\xb9\x1b\x00\x00\x00\x0f\x32\xe7\xe9"
		"\xb8\x01\x00\x00\x00\x0f\xa2\x89\xc8\xe7\xe9");
	assert_int_equal(run_to_out(c, 0), 0xfee00d00);
	assert_int_equal(run_to_out(c, 0) >> 21 & 1, 1);
}

static void c4_8_guest_msrs_and_stats(void **state)
{
	struct contract *c = *state;

	assert_non_null(vm_guest_msrs(c->vm, 0));
	assert_ptr_not_equal(vm_guest_msrs(c->vm, 0), vm_guest_msrs(c->vm, 1));
	assert_non_null(vcpu_stats(c->vm, 0));
	GUEST(real_mode, c, 0, "\xe6\xe9");
	run_to_out(c, 0);
	assert_true(((uint64_t *)vcpu_stats(c->vm, 0))[VMM_STAT_EXIT_INOUT] > 0);
	assert_true(((uint64_t *)vcpu_stats(c->vm, 0))[VMM_STAT_EXITS] > 0);
}

/* ---- 4.9, 4.10 ---- */

static void c4_9_passthrough_without_devices(void **state)
{
	struct contract *c = *state;

	assert_int_equal(vmm_is_pptdev(0, 0, 0), 0);
	assert_int_equal(vm_assign_pptdev(c->vm, 0, 0, 0), ENOENT);
	assert_int_equal(vm_unassign_pptdev(c->vm, 0, 0, 0), ENOENT);
}

static void c4_10_vm_segment_name(void **state)
{
	(void)state;
	assert_int_equal(vm_segment_name(0), VM_REG_GUEST_ES);
	assert_int_equal(vm_segment_name(1), VM_REG_GUEST_CS);
	assert_int_equal(vm_segment_name(2), VM_REG_GUEST_SS);
	assert_int_equal(vm_segment_name(3), VM_REG_GUEST_DS);
	assert_int_equal(vm_segment_name(4), VM_REG_GUEST_FS);
	assert_int_equal(vm_segment_name(5), VM_REG_GUEST_GS);
}

int main(void)
{
	static const struct behaviour tests[] = {
		CONTRACT(c4_4_vm_run_einval),
		CONTRACT(c4_4_vm_run_einval_once_suspended),
		CONTRACT(c4_4_vm_run_frozen_before_and_after),
		CONTRACT(c4_4_vm_run_efault_fetch_outside_ram),
		CONTRACT(c4_4_vm_exitinfo_is_the_record),
		CONTRACT(c4_4_vcpu_set_state_edges),
		CONTRACT(c4_4_vcpu_get_state_hostcpu),
		CONTRACT(c4_4_vcpu_notify_event_reaches_a_running_vcpu),
		CONTRACT(c4_5_vm_activate_cpu),
		CONTRACT(c4_5_vm_apicid2vcpuid_is_identity),
		CONTRACT(c4_6_vm_suspend_einval),
		CONTRACT(c4_6_vm_suspend_first_one_counts),
		CONTRACT(c4_7_nmi),
		CONTRACT(c4_7_extint),
		CONTRACT(c4_7_vm_inject_exception_errors),
		CONTRACT(c4_7_vm_inject_exception_leaves_rip_and_cr2),
		CONTRACT(c4_7_fault_wrappers_zero_the_length),
		CONTRACT(c4_8_capability_einval),
		CONTRACT(c4_8_capabilities),
		CONTRACT(c4_8_x2apic_state),
		CONTRACT(c4_8_x2apic_state_as_the_guest_sees_it),
		CONTRACT(c4_8_guest_msrs_and_stats),
		CONTRACT(c4_9_passthrough_without_devices),
		CONTRACT(c4_10_vm_segment_name),
	};

	return contract_run("c4 calls", tests, sizeof(tests) / sizeof(tests[0]));
}
