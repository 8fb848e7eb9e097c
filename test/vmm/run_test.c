/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* vm_run: who finishes which exit, where the guest goes on, what the caller sees. */
#include <errno.h>

#include <vmm/vlapic.h>

#include "test/vmm/harness.h"

#define END                                                                                        \
	{                                                                                          \
		.exit = {.exitcode = VM_EXITCODE_PAUSE, .inst_length = 2, .rip = 0xeeee }          \
	}

static struct vm_run run_steps(struct vm *vm, const struct fake_step *steps, unsigned n, int error)
{
	struct vm_run run = {.cpuid = 0, .rip = 0x1000};

	fake_script(vm, 0, steps, n);
	assert_int_equal(vm_run(vm, &run), error);
	return run;
}

static void preconditions(void **state)
{
	struct vm *vm = *state;
	struct vm_run run = {.cpuid = -1, .vm_exit.rip = 0x55};

	assert_int_equal(vm_run(vm, &run), EINVAL);
	run.cpuid = VM_MAXCPU;
	assert_int_equal(vm_run(vm, &run), EINVAL);
	run.cpuid = 1; /* not active */
	assert_int_equal(vm_run(vm, &run), EINVAL);
	run.cpuid = 0;
	atomic_store(&vm->suspended, 1);
	assert_int_equal(vm_run(vm, &run), EINVAL);
	assert_int_equal(run.vm_exit.rip, 0x55); /* the record is untouched */
}

/* These go to the caller as they are. */
static void user_exits(void **state)
{
	static const enum vm_exitcode codes[] = {VM_EXITCODE_VMX, VM_EXITCODE_RDMSR,
		VM_EXITCODE_WRMSR, VM_EXITCODE_MTRAP, VM_EXITCODE_PAUSE, VM_EXITCODE_SPINUP_AP,
		VM_EXITCODE_INOUT_STR, VM_EXITCODE_TASK_SWITCH, VM_EXITCODE_BOGUS};
	struct vm *vm = *state;

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		struct fake_step step = {
			.exit = {.exitcode = codes[i],
				.inst_length = 3,
				.rip = 0x2000,
				.u.inout.string = codes[i] == VM_EXITCODE_INOUT_STR}};
		struct vm_run run = run_steps(vm, &step, 1, 0);

		assert_int_equal(run.vm_exit.exitcode, codes[i]);
		assert_int_equal(run.vm_exit.rip, 0x2000);
		assert_int_equal(run.vm_exit.inst_length, 3);
		assert_int_equal(vcpu_get_state(vm, 0, NULL), VCPU_FROZEN);
	}
	assert_int_equal(((uint64_t *)vcpu_stats(vm, 0))[VMM_STAT_EXIT_USERSPACE],
		sizeof(codes) / sizeof(codes[0]));
}

static void start_is_the_callers_rip(void **state)
{
	struct vm *vm = *state;
	const struct fake_step step = END;

	assert_int_equal(vm_set_register(vm, 0, VM_REG_GUEST_RIP, 0x7777), 0);
	run_steps(vm, &step, 1, 0);
	assert_int_equal(fake_log(vm, 0)->last_rip, 0x1000);
}

static void backend_error_ends_it(void **state)
{
	struct vm *vm = *state;
	const struct fake_step step = {
		.exit = {.exitcode = VM_EXITCODE_VMX, .rip = 0x3000}, .error = ENOEXEC};
	struct vm_run run = run_steps(vm, &step, 1, ENOEXEC);

	assert_int_equal(run.vm_exit.rip, 0x3000); /* written on errors too */
	assert_int_equal(vcpu_get_state(vm, 0, NULL), VCPU_FROZEN);
}

static void chip_port_is_served_inside(void **state)
{
	struct vm *vm = *state;
	/* PIC mask: written, then read back. */
	const struct fake_step steps[] = {
		{.exit = {.exitcode = VM_EXITCODE_INOUT,
			 .inst_length = 2,
			 .rip = 0x1000,
			 .u.inout = {.bytes = 1, .port = 0x21, .eax = 0xffffff5a}}},
		{.exit = {.exitcode = VM_EXITCODE_INOUT,
			 .inst_length = 1,
			 .u.inout = {.bytes = 1, .in = 1, .port = 0x21}}},
		END,
	};
	uint64_t rax;

	assert_int_equal(vm_set_register(vm, 0, VM_REG_GUEST_RAX, 0x1122334455667788), 0);
	run_steps(vm, steps, 3, 0);
	assert_int_equal(fake_log(vm, 0)->last_rip, 0x1003);
	assert_int_equal(vm_get_register(vm, 0, VM_REG_GUEST_RAX, &rax), 0);
	assert_int_equal(rax, 0x112233445566775a); /* the rest of RAX stays */
	assert_int_equal(((uint64_t *)vcpu_stats(vm, 0))[VMM_STAT_EXIT_INOUT], 2);
}

static void foreign_port_is_the_users(void **state)
{
	struct vm *vm = *state;
	const struct fake_step step = {
		.exit = {.exitcode = VM_EXITCODE_INOUT,
			.inst_length = 1,
			.u.inout = {.bytes = 4, .port = 0xcf8, .eax = 0x80000000}}};
	struct vm_run run = run_steps(vm, &step, 1, 0);

	assert_int_equal(run.vm_exit.exitcode, VM_EXITCODE_INOUT);
	assert_int_equal(run.vm_exit.u.inout.port, 0xcf8);
	assert_int_equal(run.vm_exit.u.inout.eax, 0x80000000);
}

static void paging(void **state)
{
	struct vm *vm = *state;
	const struct fake_step resolved[] = {
		{.exit = {.exitcode = VM_EXITCODE_PAGING,
			 .inst_length = 7,
			 .rip = 0x4000,
			 .u.paging = {.gpa = 0xfff, .fault_type = PROT_WRITE}}},
		END,
	};
	const struct fake_step hole = {
		.exit = {.exitcode = VM_EXITCODE_PAGING,
			.u.paging = {.gpa = 0x1000, .fault_type = PROT_READ}}};

	assert_int_equal(vm_malloc(vm, 0, 0x1000), 0);
	run_steps(vm, resolved, 2, 0);
	assert_int_equal(fake_log(vm, 0)->last_rip, 0x4000); /* restarted */
	run_steps(vm, &hole, 1, EFAULT);
}

static void eoi_reaches_the_ioapic(void **state)
{
	struct vm *vm = *state;
	const struct fake_step steps[] = {
		{.exit = {.exitcode = VM_EXITCODE_IOAPIC_EOI,
			 .rip = 0x1000,
			 .u.ioapic_eoi.vector = 0x41}},
		END,
	};

	run_steps(vm, steps, 2, 0);
	assert_int_equal(fake_log(vm, 0)->entries, 2);
}

static void unknown_code_is_the_users(void **state)
{
	struct vm *vm = *state;
	const struct fake_step step = {.exit = {.exitcode = VM_EXITCODE_MAX}};
	struct vm_run run = run_steps(vm, &step, 1, 0);

	assert_int_equal(run.vm_exit.exitcode, VM_EXITCODE_MAX);
}

static void suspended_exit(void **state)
{
	struct vm *vm = *state;
	struct vm_run run = {.rip = 0x1000};

	assert_int_equal(vm_suspend(vm, VM_SUSPEND_POWEROFF), 0);
	assert_int_equal(vm_run(vm, &run), 0);
	assert_int_equal(run.vm_exit.exitcode, VM_EXITCODE_SUSPENDED);
	assert_int_equal(run.vm_exit.u.suspended.how, VM_SUSPEND_POWEROFF);
	assert_int_equal(run.vm_exit.rip, 0x1000);
	assert_int_equal(fake_log(vm, 0)->entries, 0);
}

static void triple_fault_suspends(void **state)
{
	struct vm *vm = *state;
	struct vm_exception vme = {.vector = 13};
	struct vm_run run = {.rip = 0x1000};

	assert_int_equal(vm_exit_intinfo(vm, 0,
				 (uint64_t)VM_INTINFO_VALID | VM_INTINFO_HWEXCEPTION |
					 VM_INTINFO_DEL_ERRCODE | 8),
		0);
	assert_int_equal(vm_inject_exception(vm, 0, &vme), 0);
	assert_int_equal(vm_run(vm, &run), 0);
	assert_int_equal(run.vm_exit.exitcode, VM_EXITCODE_SUSPENDED);
	assert_int_equal(run.vm_exit.u.suspended.how, VM_SUSPEND_TRIPLEFAULT);
}

/* Suspend before rendezvous before yield (vmm-api.md 3.1). */
static void precedence(void **state)
{
	struct vm *vm = *state;
	struct vm_run run = {.rip = 0x1000};

	vm_vcpu_yield(vm, 0);
	assert_int_equal(vm_suspend(vm, VM_SUSPEND_RESET), 0);
	assert_int_equal(vm_run(vm, &run), 0);
	assert_int_equal(run.vm_exit.exitcode, VM_EXITCODE_SUSPENDED);
}

/* ---- Starting other processors ---- */

#define ICR	 0xfee00300
#define ICR_HIGH 0xfee00310

static void xapic_write(struct vm *vm, uint64_t gpa, uint32_t value)
{
	bool retu = false;

	assert_int_equal(vlapic_mmio_write(vm, 0, gpa, value, 4, &retu), 0);
}

static void send_sipi(struct vm *vm, int vcpuid, void *arg)
{
	(void)vcpuid;
	(void)arg;
	assert_int_equal(vm_wrmsr(vm, 0, 0x80f, 0x1ff), 0);
	assert_int_equal(vm_wrmsr(vm, 0, 0x830, (uint64_t)1 << 32 | 0x4500), 0);
	assert_int_equal(vm_wrmsr(vm, 0, 0x830, (uint64_t)1 << 32 | 0x4698), 0);
	assert_true(vcpu_should_yield(vm, 0));
}

/* The write happens inside vmrun, so the exit follows when that looks at its requests. */
static void startup_by_msr(void **state)
{
	struct vm *vm = *state;
	const struct fake_step steps[] = {
		{.exit = {.exitcode = VM_EXITCODE_IOAPIC_EOI}, .guest = send_sipi},
		END,
	};
	struct vm_run run;

	for (int i = 0; i < VM_MAXCPU; i++)
		assert_int_equal(vm_set_x2apic_state(vm, i, X2APIC_ENABLED), 0);
	run = run_steps(vm, steps, 2, 0);
	assert_int_equal(run.vm_exit.exitcode, VM_EXITCODE_SPINUP_AP);
	assert_int_equal(run.vm_exit.u.spinup_ap.vcpu, 1);
	assert_int_equal(run.vm_exit.u.spinup_ap.rip, 0x98000);
	assert_int_equal(run.vm_exit.inst_length, 0);
	run.rip = run.vm_exit.rip;
	assert_int_equal(vm_run(vm, &run), 0);
	assert_int_equal(run.vm_exit.exitcode, VM_EXITCODE_PAUSE);
}

/* "All but self" starts several; each has an exit of its own. */
static void startup_of_many(void **state)
{
	struct vm *vm = *state;
	const struct fake_step step = END;
	struct vm_run run = {.rip = 0x1000};
	unsigned started = 0;
	bool retu = false;

	xapic_write(vm, 0xfee000f0, 0x1ff);
	xapic_write(vm, ICR, 0xc4500);
	assert_int_equal(vlapic_mmio_write(vm, 0, ICR, 0xc4610, 4, &retu), 0);
	assert_true(retu);
	started |= 1u << vm_exitinfo(vm, 0)->u.spinup_ap.vcpu;
	fake_script(vm, 0, &step, 1);
	for (;;) {
		assert_int_equal(vm_run(vm, &run), 0);
		if (run.vm_exit.exitcode != VM_EXITCODE_SPINUP_AP)
			break;
		assert_int_equal(run.vm_exit.u.spinup_ap.rip, 0x10000);
		assert_int_equal(run.vm_exit.rip + (uint64_t)run.vm_exit.inst_length, 0x1000);
		started |= 1u << run.vm_exit.u.spinup_ap.vcpu;
	}
	assert_int_equal(started, 0xfffe);
	assert_int_equal(run.vm_exit.exitcode, VM_EXITCODE_PAUSE);
}

/* INIT to a running processor resets it; STARTUP lets it go on (not in bhyve of 2014). */
static void init_and_startup_of_an_active_vcpu(void **state)
{
	struct vm *vm = *state;
	const struct fake_step end = END;
	struct seg_desc cs;
	struct runner runner;
	uint64_t value;

	vcpu_prepare(vm, 1);
	xapic_write(vm, 0xfee000f0, 0x1ff);
	assert_int_equal(vm_set_register(vm, 1, VM_REG_GUEST_RBX, 0xbb), 0);
	runner_start(&runner, vm, 1, 0x100);
	wait_for_state(vm, 1, VCPU_RUNNING);
	xapic_write(vm, ICR_HIGH, 1u << 24);
	xapic_write(vm, ICR, 0x4500);
	wait_for_state(vm, 1, VCPU_SLEEPING);
	vm_vcpu_yield(vm, 1); /* waiting for STARTUP can be interrupted and resumed */
	assert_int_equal(runner_join(&runner), 0);
	assert_int_equal(runner.run.vm_exit.exitcode, VM_EXITCODE_BOGUS);
	assert_int_equal(vm_get_register(vm, 1, VM_REG_GUEST_RBX, &value), 0);
	assert_int_equal(value, 0);
	fake_script(vm, 1, &end, 1);
	runner_start(&runner, vm, 1, runner.run.vm_exit.rip);
	wait_for_state(vm, 1, VCPU_SLEEPING);
	xapic_write(vm, ICR, 0x4612);
	assert_int_equal(runner_join(&runner), 0);
	assert_int_equal(runner.run.vm_exit.exitcode, VM_EXITCODE_PAUSE);
	assert_int_equal(fake_log(vm, 1)->last_rip, 0);
	assert_int_equal(vm_get_seg_desc(vm, 1, VM_REG_GUEST_CS, &cs), 0);
	assert_int_equal(cs.base, 0x12000);
	assert_int_equal(vm_get_register(vm, 1, VM_REG_GUEST_CS, &value), 0);
	assert_int_equal(value, 0x1200);
}

/* A backend that lends no processor leaves the instruction to the user, decoded. */
static void inst_emul_without_processor(void **state)
{
	struct vm *vm = *state;
	const struct fake_step step = {
		.exit = {.exitcode = VM_EXITCODE_INST_EMUL,
			.u.inst_emul = {.gpa = 0xd0000000,
				.gla = 1ull << 63,
				.paging.cpu_mode = CPU_MODE_64BIT,
				.vie = {.inst = {0x44, 0x8b, 0x48, 0x10}, .num_valid = 4}}}};
	struct vm_run run = run_steps(vm, &step, 1, 0);
	const struct vie *vie = &run.vm_exit.u.inst_emul.vie;

	assert_int_equal(run.vm_exit.exitcode, VM_EXITCODE_INST_EMUL);
	assert_int_equal(run.vm_exit.inst_length, 4);
	assert_int_equal(vie->decoded, 1);
	assert_int_equal(vie->op.op_byte, 0x8b);
	assert_int_equal(vie->reg, 9);
	assert_int_equal(vie->base_register, VM_REG_GUEST_RAX);
	assert_int_equal(vie->displacement, 0x10);
}

static void runtime_and_exits_are_counted(void **state)
{
	struct vm *vm = *state;
	const struct fake_step step = END;
	const uint64_t *stats = vcpu_stats(vm, 0);

	run_steps(vm, &step, 1, 0);
	assert_int_equal(stats[VMM_STAT_EXITS], 1);
	assert_int_equal(stats[VMM_STAT_EXIT_PAUSE], 1);
	assert_true(stats[VMM_STAT_TOTAL_RUNTIME] > 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_fake, teardown_vm)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(preconditions),
		TEST(user_exits),
		TEST(start_is_the_callers_rip),
		TEST(backend_error_ends_it),
		TEST(chip_port_is_served_inside),
		TEST(foreign_port_is_the_users),
		TEST(paging),
		TEST(eoi_reaches_the_ioapic),
		TEST(unknown_code_is_the_users),
		TEST(suspended_exit),
		TEST(triple_fault_suspends),
		TEST(precedence),
		TEST(startup_by_msr),
		TEST(startup_of_many),
		TEST(init_and_startup_of_an_active_vcpu),
		TEST(inst_emul_without_processor),
		TEST(runtime_and_exits_are_counted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
