/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Registers, descriptors, capabilities, APIC mode, reset values, MSRs, counters. */
#include <errno.h>

#include <vmm/vlapic.h>

#include "test/vmm/harness.h"

static void register_ranges(void **state)
{
	struct vm *vm = *state;
	uint64_t value;

	assert_int_equal(vm_get_register(vm, -1, VM_REG_GUEST_RAX, &value), EINVAL);
	assert_int_equal(vm_get_register(vm, VM_MAXCPU, VM_REG_GUEST_RAX, &value), EINVAL);
	assert_int_equal(vm_get_register(vm, 0, VM_REG_LAST, &value), EINVAL);
	assert_int_equal(vm_set_register(vm, 0, VM_REG_LAST, 0), EINVAL);
	/* Tables are descriptors only; a raw VMCS field means nothing here. */
	assert_int_equal(vm_get_register(vm, 0, VM_REG_GUEST_IDTR, &value), EINVAL);
	assert_int_equal(vm_get_register(vm, 0, VM_REG_GUEST_GDTR, &value), EINVAL);
	assert_int_equal(vm_get_register(vm, 0, (int)0x80006820, &value), EINVAL);
}

static void every_register_keeps_its_value(void **state)
{
	struct vm *vm = *state;
	uint64_t value;

	for (int reg = 0; reg < VM_REG_LAST; reg++) {
		if (reg == VM_REG_GUEST_IDTR || reg == VM_REG_GUEST_GDTR)
			continue;
		assert_int_equal(vm_set_register(vm, 1, reg, 0x1000 + (uint64_t)reg), 0);
	}
	for (int reg = 0; reg < VM_REG_LAST; reg++) {
		if (reg == VM_REG_GUEST_IDTR || reg == VM_REG_GUEST_GDTR)
			continue;
		assert_int_equal(vm_get_register(vm, 1, reg, &value), 0);
		if (reg == VM_REG_GUEST_CR0) /* ET is wired */
			assert_int_equal(value, (0x1000 + reg) | 0x10);
		else if (reg == VM_REG_GUEST_DR7) /* bits 10 and 12 are */
			assert_int_equal(value, 0x400 + reg);
		else
			assert_int_equal(value, 0x1000 + reg);
	}
}

static void descriptor_ranges(void **state)
{
	struct vm *vm = *state;
	struct seg_desc desc = {0};

	for (int reg = -1; reg <= VM_REG_LAST; reg++) {
		bool has = reg >= VM_REG_GUEST_ES && reg <= VM_REG_GUEST_GDTR;

		assert_int_equal(vm_get_seg_desc(vm, 0, reg, &desc), has ? 0 : EINVAL);
		assert_int_equal(vm_set_seg_desc(vm, 0, reg, &desc), has ? 0 : EINVAL);
	}
	assert_int_equal(vm_get_seg_desc(vm, 16, VM_REG_GUEST_CS, &desc), EINVAL);
	assert_int_equal(vm_set_seg_desc(vm, -1, VM_REG_GUEST_CS, &desc), EINVAL);
}

static void segment_names(void **state)
{
	static const enum vm_reg_name names[] = {VM_REG_GUEST_ES, VM_REG_GUEST_CS, VM_REG_GUEST_SS,
		VM_REG_GUEST_DS, VM_REG_GUEST_FS, VM_REG_GUEST_GS};

	(void)state;
	for (int i = 0; i < 6; i++)
		assert_int_equal(vm_segment_name(i), names[i]);
}

static void capabilities(void **state)
{
	struct vm *vm = *state;
	int value;

	assert_int_equal(vm_get_capability(vm, 16, VM_CAP_HALT_EXIT, &value), EINVAL);
	assert_int_equal(vm_get_capability(vm, 0, -1, &value), EINVAL);
	assert_int_equal(vm_get_capability(vm, 0, VM_CAP_MAX, &value), EINVAL);
	assert_int_equal(vm_set_capability(vm, 0, VM_CAP_MAX, 1), EINVAL);
	assert_int_equal(vm_get_capability(vm, 0, VM_CAP_ENABLE_INVPCID, &value), ENOENT);
	assert_int_equal(vm_set_capability(vm, 0, VM_CAP_HALT_EXIT, 1), 0);
	assert_int_equal(vm_get_capability(vm, 0, VM_CAP_HALT_EXIT, &value), 0);
	assert_int_equal(value, 1);
}

static void topology(void **state)
{
	struct vm *vm = *state;
	uint16_t sockets, cores, threads, most;

	vm_get_topology(vm, &sockets, &cores, &threads, &most);
	assert_int_equal(sockets * 100 + cores * 10 + threads, 111);
	assert_int_equal(most, VM_MAXCPU);
	assert_int_equal(vm_set_topology(vm, 0, 1, 1, 0), EINVAL);
	assert_int_equal(vm_set_topology(vm, 1, 0, 1, 0), EINVAL);
	assert_int_equal(vm_set_topology(vm, 1, 1, 0, 0), EINVAL);
	assert_int_equal(vm_set_topology(vm, 4, 4, 2, 0), EINVAL);
	assert_int_equal(vm_set_topology(vm, 0x1000, 0x1000, 0x100, 0), EINVAL);
	assert_int_equal(vm_set_topology(vm, 2, 4, 2, 0), 0);
	vm_get_topology(vm, &sockets, &cores, &threads, &most);
	assert_int_equal(sockets * 100 + cores * 10 + threads, 242);
	vm->vcpu[5].has_run = true;
	assert_int_equal(vm_set_topology(vm, 1, 1, 1, 0), EBUSY);
}

static void x2apic_state(void **state)
{
	struct vm *vm = *state;
	struct vm_run run = {.rip = 0};
	const struct fake_step step = {.exit = {.exitcode = VM_EXITCODE_PAUSE}};
	enum x2apic_state mode;
	uint64_t base;

	assert_int_equal(vm_get_x2apic_state(vm, -1, &mode), EINVAL);
	assert_int_equal(vm_set_x2apic_state(vm, 16, X2APIC_ENABLED), EINVAL);
	assert_int_equal(vm_set_x2apic_state(vm, 0, X2APIC_STATE_LAST), EINVAL);
	assert_int_equal(vm_get_x2apic_state(vm, 0, &mode), 0);
	assert_int_equal(mode, X2APIC_DISABLED);
	assert_int_equal(vm_set_x2apic_state(vm, 0, X2APIC_ENABLED), 0);
	assert_int_equal(vm_get_x2apic_state(vm, 0, &mode), 0);
	assert_int_equal(mode, X2APIC_ENABLED);
	assert_int_equal(vm_rdmsr(vm, 0, MSR_APICBASE, &base), 0);
	assert_int_equal(base, 0xfee00000 | 1 << 11 | 1 << 10 | 1 << 8);
	fake_script(vm, 0, &step, 1);
	assert_int_equal(vm_run(vm, &run), 0);
	assert_int_equal(vm_set_x2apic_state(vm, 0, X2APIC_DISABLED), EBUSY);
}

static void paging_snapshot(void **state)
{
	static const struct {
		uint64_t cr0, cr4, efer;
		uint32_t cs;
		enum vm_cpu_mode cpu;
		enum vm_paging_mode paging;
	} cases[] = {
		{0, 0, 0, 0x93, CPU_MODE_REAL, PAGING_MODE_FLAT},
		{X86_CR0_PE, 0, 0, 0x9b, CPU_MODE_PROTECTED, PAGING_MODE_FLAT},
		{X86_CR0_PE | X86_CR0_PG, 0, 0, 0x9b, CPU_MODE_PROTECTED, PAGING_MODE_32},
		{X86_CR0_PE | X86_CR0_PG, X86_CR4_PAE, 0, 0x9b, CPU_MODE_PROTECTED,
			PAGING_MODE_PAE},
		{X86_CR0_PE | X86_CR0_PG, X86_CR4_PAE, X86_EFER_LME | X86_EFER_LMA, 0x9b,
			CPU_MODE_COMPATIBILITY, PAGING_MODE_64},
		{X86_CR0_PE | X86_CR0_PG, X86_CR4_PAE, X86_EFER_LME | X86_EFER_LMA, 0x209b,
			CPU_MODE_64BIT, PAGING_MODE_64},
	};
	struct vm *vm = *state;
	struct vm_guest_paging paging;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct seg_desc cs = {0, 0, cases[i].cs}, ss = {0, 0, 0xf3};

		vm_set_register(vm, 0, VM_REG_GUEST_CR0, cases[i].cr0);
		vm_set_register(vm, 0, VM_REG_GUEST_CR3, 0x5000);
		vm_set_register(vm, 0, VM_REG_GUEST_CR4, cases[i].cr4);
		vm_set_register(vm, 0, VM_REG_GUEST_EFER, cases[i].efer);
		vm_set_seg_desc(vm, 0, VM_REG_GUEST_CS, &cs);
		vm_set_seg_desc(vm, 0, VM_REG_GUEST_SS, &ss);
		assert_int_equal(vm_get_paging(vm, 0, &paging), 0);
		assert_int_equal(paging.cpu_mode, cases[i].cpu);
		assert_int_equal(paging.paging_mode, cases[i].paging);
		assert_int_equal(paging.cr3, 0x5000);
		assert_int_equal(paging.cpl, 3);
	}
	assert_int_equal(vm_get_paging(vm, 16, &paging), EINVAL);
}

static uint64_t reg(struct vm *vm, int name)
{
	uint64_t value = 0xdead;

	assert_int_equal(vm_get_register(vm, 0, name, &value), 0);
	return value;
}

static void reset_values(void **state)
{
	struct vm *vm = *state;
	struct seg_desc desc;

	for (int r = 0; r < VM_REG_LAST; r++)
		if (r != VM_REG_GUEST_IDTR && r != VM_REG_GUEST_GDTR)
			assert_int_equal(vm_set_register(vm, 0, r, 0x5555), 0);
	assert_int_equal(vcpu_reset(vm, VM_MAXCPU), EINVAL);
	assert_int_equal(vcpu_reset(vm, 0), 0);
	assert_int_equal(reg(vm, VM_REG_GUEST_RIP), 0xfff0);
	assert_int_equal(reg(vm, VM_REG_GUEST_RFLAGS), 2);
	assert_int_equal(reg(vm, VM_REG_GUEST_CR0), 0x30);
	assert_int_equal(reg(vm, VM_REG_GUEST_CR4), 0);
	assert_int_equal(reg(vm, VM_REG_GUEST_EFER), 0);
	assert_int_equal(reg(vm, VM_REG_GUEST_RDX), 0xf00);
	assert_int_equal(reg(vm, VM_REG_GUEST_RAX), 0);
	assert_int_equal(reg(vm, VM_REG_GUEST_R15), 0);
	assert_int_equal(reg(vm, VM_REG_GUEST_RSP), 0);
	assert_int_equal(reg(vm, VM_REG_GUEST_CS), 0xf000);
	assert_int_equal(reg(vm, VM_REG_GUEST_DS), 0);
	assert_int_equal(vm_get_seg_desc(vm, 0, VM_REG_GUEST_CS, &desc), 0);
	assert_int_equal(desc.base, 0xffff0000);
	assert_int_equal(desc.limit, 0xffff);
	assert_int_equal(desc.access, 0x93);
	assert_int_equal(vm_get_seg_desc(vm, 0, VM_REG_GUEST_TR, &desc), 0);
	assert_int_equal(desc.access, 0x8b);
	assert_int_equal(vm_get_seg_desc(vm, 0, VM_REG_GUEST_LDTR, &desc), 0);
	assert_int_equal(desc.access, 0x82);
	assert_int_equal(vm_get_seg_desc(vm, 0, VM_REG_GUEST_IDTR, &desc), 0);
	assert_int_equal(desc.limit, 0xffff);
}

/* ---- MSRs ---- */

static void msr_table(void **state)
{
	struct vm *vm = *state;
	uint64_t value;

	assert_int_equal(vm_wrmsr(vm, 0, 0x8b, 0x1234), 0);
	assert_int_equal(vm_rdmsr(vm, 0, 0x8b, &value), 0);
	assert_int_equal(value, 0x1234);
	assert_int_equal(vm_rdmsr(vm, 1, 0x8b, &value), 0);
	assert_int_equal(value, 0); /* each vcpu has its own */
	/* Read-only ones lose writes without a fault. */
	assert_int_equal(vm_wrmsr(vm, 0, 0x179, 99), 0);
	assert_int_equal(vm_rdmsr(vm, 0, 0x179, &value), 0);
	assert_int_equal(value, 0);
	assert_int_equal(vm_rdmsr(vm, 0, 0x17, &value), 0);
	assert_int_equal(value, 0);
	assert_int_equal(vm_rdmsr(vm, 0, 0x1a0, &value), 0);
	assert_int_equal(value, 0x1800);
	/* The processor's own, and unknown ones. */
	assert_int_equal(vm_rdmsr(vm, 0, 0xc0000082, &value), ENOENT);
	assert_int_equal(vm_wrmsr(vm, 0, 0x277, 0), ENOENT);
	assert_int_equal(vm_rdmsr(vm, 0, 0x12345678, &value), ENOENT);
	assert_int_equal(vm_guest_msrs(vm, 0)[4], 0x0007040600070406); /* PAT's slot */
}

static void msrs_of_the_apic(void **state)
{
	struct vm *vm = *state;
	uint64_t value;

	assert_int_equal(vm_rdmsr(vm, 1, 0x1b, &value), 0);
	assert_int_equal(value, 0xfee00800);
	assert_int_equal(vm_rdmsr(vm, 0, 0x802, &value), EPERM); /* not in x2APIC mode */
	assert_int_equal(vm_set_x2apic_state(vm, 3, X2APIC_ENABLED), 0);
	assert_int_equal(vm_rdmsr(vm, 3, 0x802, &value), 0);
	assert_int_equal(value, 3);
}

/* ---- Counters ---- */

static void counter_names(void **state)
{
	struct vm *vm = *state;
	char name[VMM_STAT_NAME_LEN];
	uint64_t value;

	vmm_stat_incr(vm, 0, VMM_STAT_EXITS, 3);
	vmm_stat_incr(vm, 0, VMM_STAT_IPIS_SENT + 15, 9);
	assert_int_equal(vm_stat(vm, 0, VMM_STAT_EXITS, name, &value), 0);
	assert_string_equal(name, "total number of vm exits");
	assert_int_equal(value, 3);
	assert_int_equal(vm_stat(vm, 0, VMM_STAT_IPIS_SENT + 15, name, &value), 0);
	assert_string_equal(name, "ipis sent to vcpu[15]");
	assert_int_equal(value, 9);
	assert_int_equal(vm_stat(vm, 0, VMM_STAT_LVTS_TRIGGERED, name, &value), 0);
	assert_string_equal(name, "lvts triggered[0]");
	assert_int_equal(vm_stat(vm, 0, VMM_STAT_COUNT, name, &value), 0);
	assert_string_equal(name, "fake counter");
	assert_int_equal(value, 40);
	assert_int_equal(vm_stat(vm, 0, VMM_STAT_COUNT + 1, name, &value), EINVAL);
	assert_int_equal(vm_stat(vm, 16, 0, name, &value), EINVAL);
	for (unsigned i = 0; i < VMM_STAT_COUNT; i++) {
		name[0] = '\0';
		assert_int_equal(vm_stat(vm, 1, i, name, &value), 0);
		assert_true(strlen(name) > 5);
	}
}

static void passthrough_without_devices(void **state)
{
	struct vm *vm = *state;

	assert_int_equal(vmm_is_pptdev(0, 1, 0), 0);
	assert_int_equal(vm_assign_pptdev(vm, 0, 1, 0), ENOENT);
	assert_int_equal(vm_unassign_pptdev(vm, 0, 1, 0), ENOENT);
	assert_null(vm_iommu_domain(vm));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_fake, teardown_vm)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(register_ranges),
		TEST(every_register_keeps_its_value),
		TEST(descriptor_ranges),
		TEST(segment_names),
		TEST(capabilities),
		TEST(topology),
		TEST(x2apic_state),
		TEST(paging_snapshot),
		TEST(reset_values),
		TEST(msr_table),
		TEST(msrs_of_the_apic),
		TEST(counter_names),
		TEST(passthrough_without_devices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
