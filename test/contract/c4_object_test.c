/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* vmm-api.md 4.1 to 4.3: the VM object, its memory, its registers. */
#include <sys/mman.h>

#include "test/contract/contract.h"

#define PAGE 0x1000u

/* ---- 4.1 ---- */

static void c4_1_vm_create_enxio_before_init(void **state)
{
	struct vm *vm = (struct vm *)state;

	assert_int_equal(vm_create("x", &vm), ENXIO);
	assert_ptr_equal(vm, state); /* written on success only */
}

static void c4_1_vm_create_on_default(void **state)
{
	struct contract *c = *state;
	struct vm *vm;

	assert_int_equal(vmm_init(c->ops), 0);
	assert_int_equal(vm_create("x", &vm), 0);
	assert_ptr_equal(vm_ops(vm), c->ops);
	vm_destroy(vm);
	assert_int_equal(vmm_cleanup(), EBUSY); /* the fixture's VM */
	vm_destroy(c->vm);
	assert_int_equal(vmm_cleanup(), 0);
	assert_int_equal(vm_create_on(c->ops, "x", &c->vm), 0);
}

static void c4_1_vm_create_einval_null_name(void **state)
{
	struct contract *c = *state;
	struct vm *vm = c->vm;

	assert_int_equal(vm_create_on(c->ops, NULL, &vm), EINVAL);
	assert_ptr_equal(vm, c->vm);
}

static void c4_1_vm_create_einval_long_name(void **state)
{
	struct contract *c = *state;
	struct vm *vm = NULL;

	assert_int_equal(vm_create_on(c->ops, "0123456789abcdef0123456789abcdef", &vm), EINVAL);
	assert_null(vm);
	assert_int_equal(vm_create_on(c->ops, "0123456789abcdef0123456789abcde", &vm), 0);
	assert_string_equal(vm_name(vm), "0123456789abcdef0123456789abcde");
	vm_destroy(vm);
}

static void c4_1_vm_create_empty_and_equal_names(void **state)
{
	struct contract *c = *state;
	struct vm *vm;

	assert_int_equal(vm_create_on(c->ops, "", &vm), 0);
	vm_destroy(vm);
	assert_int_equal(vm_create_on(c->ops, "contract", &vm), 0);
	vm_destroy(vm);
}

static void c4_1_vm_create_is_empty(void **state)
{
	struct contract *c = *state;
	cpuset_t active = vm_active_cpus(c->vm), suspended = vm_suspended_cpus(c->vm);
	struct vm_memory_segment seg;

	assert_int_equal(CPU_COUNT(&active), 0);
	assert_int_equal(CPU_COUNT(&suspended), 0);
	assert_false(vm_mem_allocated(c->vm, 0));
	assert_int_equal(vm_gpabase2memseg(c->vm, 0, &seg), -1);
	assert_non_null(vm_get_vmspace(c->vm));
	assert_non_null(vm_ioapic(c->vm));
	assert_non_null(vm_hpet(c->vm));
	assert_non_null(vm_atpic(c->vm));
	assert_non_null(vm_atpit(c->vm));
	for (int i = 0; i < VM_MAXCPU; i++)
		assert_non_null(vm_lapic(c->vm, i));
}

static void c4_1_vm_reinit_without_active_vcpus(void **state)
{
	struct contract *c = *state;

	assert_int_equal(vm_reinit(c->vm), 0);
}

static void c4_1_vm_reinit_ebusy_while_active(void **state)
{
	struct contract *c = *state;

	assert_int_equal(vm_reinit(c->vm), EBUSY);
	assert_int_equal(vm_suspend(c->vm, VM_SUSPEND_RESET), 0);
	assert_int_equal(vm_reinit(c->vm), EBUSY);
	GUEST(real_mode, c, 0, "\xf4");
	run_to(c, 0, VM_EXITCODE_SUSPENDED);
	assert_int_equal(vm_reinit(c->vm), 0);
}

static void c4_1_vm_iommu_domain_null(void **state)
{
	struct contract *c = *state;

	assert_null(vm_iommu_domain(c->vm));
}

/* ---- 4.2 ---- */

static void c4_2_vm_malloc_einval(void **state)
{
	struct contract *c = *state;

	assert_int_equal(vm_malloc(c->vm, 1, PAGE), EINVAL);
	assert_int_equal(vm_malloc(c->vm, 0, PAGE - 1), EINVAL);
	assert_int_equal(vm_malloc(c->vm, 0, 0), EINVAL);
	assert_int_equal(vm_malloc(c->vm, 0, 4 * PAGE), 0);
	assert_int_equal(vm_malloc(c->vm, 3 * PAGE, 2 * PAGE), EINVAL); /* partly there */
}

static void c4_2_vm_malloc_einval_overflow(void **state)
{
	struct contract *c = *state;

	assert_int_equal(vm_malloc(c->vm, -(uint64_t)PAGE, 2 * PAGE), EINVAL);
	assert_int_equal(vm_malloc(c->vm, PAGE, -(size_t)PAGE), EINVAL);
}

static void c4_2_vm_malloc_twice_is_once(void **state)
{
	struct contract *c = *state;
	uint8_t *p;

	assert_int_equal(vm_malloc(c->vm, 0, 4 * PAGE), 0);
	p = vmmdev_map_gpa(c->vm, PAGE, PAGE);
	*p = 9;
	assert_int_equal(vm_malloc(c->vm, 0, 4 * PAGE), 0);
	assert_int_equal(vm_malloc(c->vm, PAGE, PAGE), 0);
	assert_ptr_equal(vmmdev_map_gpa(c->vm, PAGE, PAGE), p);
	assert_int_equal(*p, 9);
}

static void c4_2_vm_malloc_e2big(void **state)
{
	struct contract *c = *state;

	assert_int_equal(vm_malloc(c->vm, 0, PAGE), 0);
	assert_int_equal(vm_malloc(c->vm, 0x100000000, PAGE), 0);
	assert_int_equal(vm_malloc(c->vm, 0x10000, PAGE), E2BIG);
	assert_int_equal(vm_malloc(c->vm, 0, PAGE), 0); /* known ones still succeed */
}

static void c4_2_vm_malloc_is_zero_filled(void **state)
{
	struct contract *c = *state;

	for (unsigned i = 0; i < RAM_SIZE; i++)
		assert_int_equal(c->ram[i], 0);
}

static void c4_2_vm_map_mmio_enomem(void **state)
{
	struct contract *c = *state;

	assert_int_equal(vm_map_mmio(c->vm, 0, PAGE, 0xf0000), ENOMEM); /* RAM is there */
	assert_int_equal(vm_map_mmio(c->vm, RAM_SIZE + 1, PAGE, 0), ENOMEM);
	assert_false(vm_mem_allocated(c->vm, RAM_SIZE));
}

static void c4_2_vm_unmap_mmio_always_zero(void **state)
{
	struct contract *c = *state;

	assert_int_equal(vm_unmap_mmio(c->vm, 0xd0000000, PAGE), 0);
}

static void c4_2_vm_mem_allocated(void **state)
{
	struct contract *c = *state;

	assert_true(vm_mem_allocated(c->vm, 0));
	assert_true(vm_mem_allocated(c->vm, RAM_SIZE - 1));
	assert_false(vm_mem_allocated(c->vm, RAM_SIZE));
}

static void c4_2_vm_gpa_hold(void **state)
{
	struct contract *c = *state;
	void *cookie = NULL;
	uint8_t *p = vm_gpa_hold(c->vm, 0x2010, 0xff0, PROT_READ | PROT_WRITE, &cookie);

	assert_non_null(p);
	assert_non_null(cookie);
	*p = 77;
	assert_int_equal(c->ram[0x2010], 77);
	vm_gpa_release(cookie);
}

static void c4_2_vm_gpa_hold_null_outside(void **state)
{
	struct contract *c = *state;
	void *cookie = c;

	assert_null(vm_gpa_hold(c->vm, RAM_SIZE, 1, PROT_READ, &cookie));
	assert_null(cookie);
	cookie = c;
	assert_null(vm_gpa_hold(c->vm, 0xfee00000, 4, PROT_READ, &cookie));
	assert_null(cookie);
}

static void c4_2_vm_gpabase2memseg(void **state)
{
	struct contract *c = *state;
	struct vm_memory_segment seg;

	assert_int_equal(vm_gpabase2memseg(c->vm, 0, &seg), 0);
	assert_int_equal(seg.gpa, 0);
	assert_int_equal(seg.len, RAM_SIZE);
	assert_int_equal(vm_gpabase2memseg(c->vm, PAGE, &seg), -1); /* not an errno */
}

static void c4_2_vm_get_memobj(void **state)
{
	struct contract *c = *state;
	struct vm_object *object;
	vm_offset_t offset;

	assert_int_equal(vm_get_memobj(c->vm, 3 * PAGE, PAGE, &offset, &object), 0);
	assert_int_equal(offset, 3 * PAGE);
	vm_object_release(object);
	assert_int_equal(vm_get_memobj(c->vm, RAM_SIZE, PAGE, &offset, &object), EINVAL);
}

static void c4_2_vm_get_memobj_einval_length(void **state)
{
	struct contract *c = *state;
	struct vm_object *object;
	vm_offset_t offset;

	assert_int_equal(vm_get_memobj(c->vm, RAM_SIZE - PAGE, 2 * PAGE, &offset, &object), EINVAL);
}

/* ---- 4.3 ---- */

static void c4_3_register_einval(void **state)
{
	struct contract *c = *state;
	uint64_t value;

	assert_int_equal(vm_get_register(c->vm, -1, VM_REG_GUEST_RAX, &value), EINVAL);
	assert_int_equal(vm_get_register(c->vm, VM_MAXCPU, VM_REG_GUEST_RAX, &value), EINVAL);
	assert_int_equal(vm_get_register(c->vm, 0, VM_REG_LAST, &value), EINVAL);
	assert_int_equal(vm_set_register(c->vm, -1, VM_REG_GUEST_RAX, 0), EINVAL);
	assert_int_equal(vm_set_register(c->vm, VM_MAXCPU, VM_REG_GUEST_RAX, 0), EINVAL);
	assert_int_equal(vm_set_register(c->vm, 0, VM_REG_LAST, 0), EINVAL);
}

static void c4_3_idtr_and_gdtr_are_no_registers(void **state)
{
	struct contract *c = *state;
	uint64_t value;

	assert_int_equal(vm_get_register(c->vm, 0, VM_REG_GUEST_IDTR, &value), EINVAL);
	assert_int_equal(vm_set_register(c->vm, 0, VM_REG_GUEST_GDTR, 0), EINVAL);
}

static void c4_3_registers_keep_values(void **state)
{
	static const int regs[] = {VM_REG_GUEST_RAX, VM_REG_GUEST_RBX, VM_REG_GUEST_RCX,
		VM_REG_GUEST_RDX, VM_REG_GUEST_RSI, VM_REG_GUEST_RDI, VM_REG_GUEST_RBP,
		VM_REG_GUEST_R8, VM_REG_GUEST_R9, VM_REG_GUEST_R10, VM_REG_GUEST_R11,
		VM_REG_GUEST_R12, VM_REG_GUEST_R13, VM_REG_GUEST_R14, VM_REG_GUEST_R15,
		VM_REG_GUEST_CR2, VM_REG_GUEST_RSP, VM_REG_GUEST_RIP};
	struct contract *c = *state;

	for (size_t i = 0; i < sizeof(regs) / sizeof(regs[0]); i++)
		set_reg(c, 0, regs[i], 0x1122334455660000 + i);
	for (size_t i = 0; i < sizeof(regs) / sizeof(regs[0]); i++)
		assert_int_equal(get_reg(c, 0, regs[i]), 0x1122334455660000 + i);
}

static void c4_3_selector_is_apart_from_descriptor(void **state)
{
	struct contract *c = *state;
	struct seg_desc before, after;

	assert_int_equal(vm_get_seg_desc(c->vm, 0, VM_REG_GUEST_DS, &before), 0);
	set_reg(c, 0, VM_REG_GUEST_DS, 0x1234);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_DS), 0x1234);
	assert_int_equal(vm_get_seg_desc(c->vm, 0, VM_REG_GUEST_DS, &after), 0);
	assert_memory_equal(&before, &after, sizeof(before));
}

static void c4_3_seg_desc_einval(void **state)
{
	struct contract *c = *state;
	struct seg_desc desc = {0};

	assert_int_equal(vm_get_seg_desc(c->vm, VM_MAXCPU, VM_REG_GUEST_CS, &desc), EINVAL);
	assert_int_equal(vm_get_seg_desc(c->vm, 0, VM_REG_GUEST_RAX, &desc), EINVAL);
	assert_int_equal(vm_set_seg_desc(c->vm, 0, VM_REG_GUEST_EFER, &desc), EINVAL);
}

static void c4_3_seg_desc_all_ten(void **state)
{
	struct contract *c = *state;

	for (int reg = VM_REG_GUEST_ES; reg <= VM_REG_GUEST_GDTR; reg++) {
		struct seg_desc desc = {0x12340000u + (unsigned)reg, 0xfff, 0x93}, back = {0};

		assert_int_equal(vm_set_seg_desc(c->vm, 0, reg, &desc), 0);
		assert_int_equal(vm_get_seg_desc(c->vm, 0, reg, &back), 0);
		assert_int_equal(back.base, desc.base);
		assert_int_equal(back.limit, desc.limit);
		if (reg < VM_REG_GUEST_IDTR)
			assert_int_equal(back.access, desc.access);
	}
}

/* vm_run is told where to start. */
static void c4_3_setting_rip_does_not_move_vm_run(void **state)
{
	struct contract *c = *state;

	GUEST(real_mode, c, 0, "\xb0\x05\xe6\xe9"); /* mov al, 5; out 0xe9, al */
	set_reg(c, 0, VM_REG_GUEST_RIP, 0x5555);
	assert_int_equal(run_to_out(c, 0) & 0xff, 5);
}

/* A register set between exits is what the guest goes on with. */
static void c4_3_registers_count_at_next_entry(void **state)
{
	struct contract *c = *state;

	GUEST(real_mode, c, 0, "\xe6\xe9\x88\xd8\xe6\xe9"); /* out; mov al, bl; out */
	run_to_out(c, 0);
	set_reg(c, 0, VM_REG_GUEST_RBX, 0x42);
	assert_int_equal(run_to_out(c, 0) & 0xff, 0x42);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RAX) & 0xff, 0x42);
}

int main(void)
{
	static const struct behaviour tests[] = {
		CONTRACT_BARE(c4_1_vm_create_enxio_before_init),
		CONTRACT_BARE(c4_1_vm_create_on_default),
		CONTRACT_BARE(c4_1_vm_create_einval_null_name),
		CONTRACT_BARE(c4_1_vm_create_einval_long_name),
		CONTRACT_BARE(c4_1_vm_create_empty_and_equal_names),
		CONTRACT_BARE(c4_1_vm_create_is_empty),
		CONTRACT_BARE(c4_1_vm_reinit_without_active_vcpus),
		CONTRACT(c4_1_vm_reinit_ebusy_while_active),
		CONTRACT_BARE(c4_1_vm_iommu_domain_null),
		CONTRACT_BARE(c4_2_vm_malloc_einval),
		CONTRACT_BARE(c4_2_vm_malloc_einval_overflow),
		CONTRACT_BARE(c4_2_vm_malloc_twice_is_once),
		CONTRACT_BARE(c4_2_vm_malloc_e2big),
		CONTRACT(c4_2_vm_malloc_is_zero_filled),
		CONTRACT(c4_2_vm_map_mmio_enomem),
		CONTRACT(c4_2_vm_unmap_mmio_always_zero),
		CONTRACT(c4_2_vm_mem_allocated),
		CONTRACT(c4_2_vm_gpa_hold),
		CONTRACT(c4_2_vm_gpa_hold_null_outside),
		CONTRACT(c4_2_vm_gpabase2memseg),
		CONTRACT(c4_2_vm_get_memobj),
		CONTRACT(c4_2_vm_get_memobj_einval_length),
		CONTRACT(c4_3_register_einval),
		CONTRACT(c4_3_idtr_and_gdtr_are_no_registers),
		CONTRACT(c4_3_registers_keep_values),
		CONTRACT(c4_3_selector_is_apart_from_descriptor),
		CONTRACT(c4_3_seg_desc_einval),
		CONTRACT(c4_3_seg_desc_all_ten),
		CONTRACT(c4_3_setting_rip_does_not_move_vm_run),
		CONTRACT(c4_3_registers_count_at_next_entry),
	};

	return contract_run("c4 object", tests, sizeof(tests) / sizeof(tests[0]));
}
