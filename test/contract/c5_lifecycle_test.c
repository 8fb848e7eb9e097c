/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* vmm-api.md 5: module, creation, starting processors, reinit, destruction. */
#include <vmm/pc.h>
#include <vmm/vlapic.h>

#include "test/contract/contract.h"

static void c5_1_unload_refused_while_a_vm_exists(void **state)
{
	struct contract *c = *state;

	assert_int_equal(vmm_init(c->ops), 0);
	assert_int_equal(vmm_cleanup(), EBUSY);
	vm_destroy(c->vm);
	assert_int_equal(vmm_cleanup(), 0);
	assert_int_equal(vmm_cleanup(), ENXIO);
	assert_int_equal(vm_create_on(c->ops, "contract", &c->vm), 0);
}

static void c5_2_all_vcpus_idle_with_nothing_pending(void **state)
{
	struct contract *c = *state;
	enum x2apic_state mode;

	for (int i = 0; i < VM_MAXCPU; i++) {
		uint64_t info1, info2;

		assert_int_equal(vcpu_get_state(c->vm, i, NULL), VCPU_IDLE);
		assert_int_equal(vm_nmi_pending(c->vm, i), 0);
		assert_int_equal(vm_extint_pending(c->vm, i), 0);
		assert_int_equal(vm_get_intinfo(c->vm, i, &info1, &info2), 0);
		assert_int_equal(info1 | info2, 0);
		assert_int_equal(vm_get_x2apic_state(c->vm, i, &mode), 0);
		assert_int_equal(mode, X2APIC_DISABLED);
		assert_int_equal(((uint64_t *)vcpu_stats(c->vm, i))[VMM_STAT_EXITS], 0);
	}
}

/* Only the boot processor has the BSP bit; identity of APIC id and vcpu id. */
static void c5_2_apic_ids(void **state)
{
	struct contract *c = *state;

	for (int i = 0; i < VM_MAXCPU; i++)
		assert_int_equal(lapic_read(c, i, 0x20) >> 24, i);
}

static void c5_3_chips_stay_out_of_ram(void **state)
{
	struct contract *c = *state;

	assert_int_equal(vm_malloc(c->vm, 0, 0xc0000000), 0);
	assert_int_equal(vm_malloc(c->vm, 0x100000000, 0x40000000), 0);
	assert_false(vm_mem_allocated(c->vm, PC_LAPIC_BASE));
	assert_false(vm_mem_allocated(c->vm, PC_IOAPIC_BASE));
	assert_false(vm_mem_allocated(c->vm, PC_HPET_BASE));
}

/*
 * mov dword [0xfee000f0], 0x1ff; [0xfee00310] = 1 << 24; [0xfee00300] = INIT; [0xfee00300] = SIPI
 * 0x12
 */
static const char start_ap[] = "\xc7\x05\xf0\x00\xe0\xfe\xff\x01\x00\x00"
			       "\xc7\x05\x10\x03\xe0\xfe\x00\x00\x00\x01"
			       "\xc7\x05\x00\x03\xe0\xfe\x00\x45\x00\x00"
			       "\xc7\x05\x00\x03\xe0\xfe\x12\x46\x00\x00"
			       "\xb0\x01\xe6\xe9"; /* mov al, 1; out 0xe9, al */

static void c5_4_startup_exit_names_vcpu_and_page(void **state)
{
	struct contract *c = *state;
	struct vm_exit *exit;

	GUEST(protected_mode, c, 0, start_ap);
	exit = run_to(c, 0, VM_EXITCODE_SPINUP_AP);
	assert_int_equal(exit->u.spinup_ap.vcpu, 1);
	assert_int_equal(exit->u.spinup_ap.rip, 0x12000);
	assert_int_equal(exit->rip + (uint64_t)exit->inst_length, CODE + 40);
	assert_int_equal(run_to_out(c, 0) & 0xff, 1); /* and the sender goes on */
}

/* The convention of user space: CS base = vector << 12, selector = vector << 8, RIP = 0. */
static void c5_4_started_processor_runs(void **state)
{
	struct contract *c = *state;
	struct seg_desc cs = {0x12000, 0xffff, 0x93};

	GUEST(protected_mode, c, 0, start_ap);
	run_to(c, 0, VM_EXITCODE_SPINUP_AP);
	contract_add_vcpu(c, 1);
	PLACE(c, 0x12000, "\x8c\xc8\xe7\xe9"); /* mov ax, cs; out 0xe9, ax */
	assert_int_equal(vm_set_seg_desc(c->vm, 1, VM_REG_GUEST_CS, &cs), 0);
	set_reg(c, 1, VM_REG_GUEST_CS, 0x1200);
	assert_int_equal(run_to_out(c, 1) & 0xffff, 0x1200);
}

/* ---- 5.5, row by row ---- */

static void suspend_now(struct contract *c)
{
	GUEST(real_mode, c, 0, "\xf4");
	assert_int_equal(vm_suspend(c->vm, VM_SUSPEND_RESET), 0);
	run_to(c, 0, VM_EXITCODE_SUSPENDED);
}

static void c5_5_reinit_keeps_memory_and_name(void **state)
{
	struct contract *c = *state;
	struct vm_memory_segment seg;
	struct vmspace *vmspace = vm_get_vmspace(c->vm);

	c->ram[0x4321] = 0x99;
	suspend_now(c);
	assert_int_equal(vm_reinit(c->vm), 0);
	assert_int_equal(vm_gpabase2memseg(c->vm, 0, &seg), 0);
	assert_int_equal(seg.len, RAM_SIZE);
	assert_ptr_equal(vmmdev_map_gpa(c->vm, 0, RAM_SIZE), c->ram);
	assert_int_equal(c->ram[0x4321], 0x99);
	assert_string_equal(vm_name(c->vm), "contract");
	assert_ptr_equal(vm_get_vmspace(c->vm), vmspace);
	assert_int_equal(vcpu_get_state(c->vm, 0, NULL), VCPU_FROZEN);
}

static void c5_5_reinit_resets_sets_and_suspend(void **state)
{
	struct contract *c = *state;
	cpuset_t set;

	suspend_now(c);
	assert_int_equal(vm_reinit(c->vm), 0);
	set = vm_active_cpus(c->vm);
	assert_int_equal(CPU_COUNT(&set), 0);
	set = vm_suspended_cpus(c->vm);
	assert_int_equal(CPU_COUNT(&set), 0);
	assert_int_equal(vm_suspend(c->vm, VM_SUSPEND_POWEROFF), 0);
}

static void c5_5_reinit_resets_events(void **state)
{
	struct contract *c = *state;
	struct vm_exception vme = {.vector = 13};
	uint64_t info1, info2;

	suspend_now(c);
	vm_inject_nmi(c->vm, 0);
	vm_inject_extint(c->vm, 0);
	vm_inject_exception(c->vm, 0, &vme);
	vm_exit_intinfo(c->vm, 0, (uint64_t)VM_INTINFO_VALID | 0x30);
	assert_int_equal(vm_reinit(c->vm), 0);
	assert_int_equal(vm_nmi_pending(c->vm, 0), 0);
	assert_int_equal(vm_extint_pending(c->vm, 0), 0);
	assert_int_equal(vm_get_intinfo(c->vm, 0, &info1, &info2), 0);
	assert_int_equal(info1 | info2, 0);
}

static void c5_5_reinit_resets_processors_and_chips(void **state)
{
	struct contract *c = *state;
	int value;

	suspend_now(c);
	set_reg(c, 0, VM_REG_GUEST_RBX, 0x1234);
	lapic_write(c, 0, 0xf0, 0x1ff);
	vm_guest_msrs(c->vm, 0)[5] = 7;
	assert_int_equal(vm_reinit(c->vm), 0);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RBX), 0);
	assert_int_equal(lapic_read(c, 0, 0xf0), 0xff);
	assert_int_equal(vm_guest_msrs(c->vm, 0)[5], 0);
	assert_int_equal(((uint64_t *)vcpu_stats(c->vm, 0))[VMM_STAT_EXITS], 0);
	assert_int_equal(vm_get_capability(c->vm, 0, VM_CAP_HALT_EXIT, &value), 0);
	assert_int_equal(value, 0);
}

static void c5_5_vm_runs_again_after_reinit(void **state)
{
	struct contract *c = *state;

	for (int i = 0; i < 3; i++) {
		suspend_now(c);
		assert_int_equal(vm_reinit(c->vm), 0);
		assert_int_equal(vm_activate_cpu(c->vm, 0), 0);
		GUEST(real_mode, c, 0, "\xb0\x77\xe6\xe9");
		assert_int_equal(run_to_out(c, 0) & 0xff, 0x77);
	}
}

/* The code of before must not be executed from some cache. */
static void c5_5_new_code_after_reinit(void **state)
{
	struct contract *c = *state;

	GUEST(real_mode, c, 0, "\xb0\x11\xe6\xe9\xf4");
	assert_int_equal(run_to_out(c, 0) & 0xff, 0x11);
	assert_int_equal(vm_suspend(c->vm, VM_SUSPEND_RESET), 0);
	run_to(c, 0, VM_EXITCODE_SUSPENDED);
	assert_int_equal(vm_reinit(c->vm), 0);
	assert_int_equal(vm_activate_cpu(c->vm, 0), 0);
	GUEST(real_mode, c, 0, "\xb0\x22\xe6\xe9\xf4");
	assert_int_equal(run_to_out(c, 0) & 0xff, 0x22);
}

static void c5_6_destroyed_vm_answers_enxio(void **state)
{
	struct contract *c = *state;
	struct vm *vm;
	uint64_t value;

	assert_int_equal(vmmdev_create(c->ops, "x", &vm), 0);
	assert_int_equal(vmmdev_hold(vm), 0);
	vmmdev_destroy(vm);
	assert_int_equal(vmmdev_get_register(vm, 0, VM_REG_GUEST_RAX, &value), ENXIO);
	vmmdev_drop(vm);
}

int main(void)
{
	static const struct behaviour tests[] = {
		CONTRACT_BARE(c5_1_unload_refused_while_a_vm_exists),
		CONTRACT_BARE(c5_2_all_vcpus_idle_with_nothing_pending),
		CONTRACT_BARE(c5_2_apic_ids),
		CONTRACT_BARE(c5_3_chips_stay_out_of_ram),
		CONTRACT(c5_4_startup_exit_names_vcpu_and_page),
		CONTRACT(c5_4_started_processor_runs),
		CONTRACT(c5_5_reinit_keeps_memory_and_name),
		CONTRACT(c5_5_reinit_resets_sets_and_suspend),
		CONTRACT(c5_5_reinit_resets_events),
		CONTRACT(c5_5_reinit_resets_processors_and_chips),
		CONTRACT(c5_5_vm_runs_again_after_reinit),
		CONTRACT(c5_5_new_code_after_reinit),
		CONTRACT_BARE(c5_6_destroyed_vm_answers_enxio),
	};

	return contract_run("c5 lifecycle", tests, sizeof(tests) / sizeof(tests[0]));
}
