/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The module, and a VM from creation through reinit to destruction. */
#include <errno.h>

#include <vmm/vioapic.h>
#include <vmm/vrtc.h>

#include "test/vmm/harness.h"

static void module_default(void **state)
{
	struct vm *vm;

	(void)state;
	assert_int_equal(vmm_cleanup(), ENXIO);
	assert_int_equal(vm_create("x", &vm), ENXIO);
	assert_int_equal(vmm_init(NULL), EINVAL);
	assert_int_equal(vmm_init(&fake_ops), 0);
	assert_int_equal(vmm_init(&fake_ops), 0);
	assert_int_equal(vmm_init(&fake_lending_ops), EBUSY);
	assert_int_equal(vm_create("x", &vm), 0);
	assert_ptr_equal(vm_ops(vm), &fake_ops);
	assert_int_equal(vmm_cleanup(), EBUSY);
	vm_destroy(vm);
	assert_int_equal(vmm_cleanup(), 0);
}

static int refuse(int ipinum)
{
	(void)ipinum;
	return ENXIO;
}

static void backend_that_refuses(void **state)
{
	struct vmm_ops ops = fake_ops;
	struct vm *vm = NULL;

	(void)state;
	ops.init = refuse;
	assert_int_equal(vmm_init(&ops), ENXIO);
	assert_int_equal(vm_create_on(&ops, "x", &vm), ENXIO);
	assert_null(vm);
	assert_int_equal(vm_create_on(NULL, "x", &vm), EINVAL);
}

static struct vmspace *no_vmspace(vm_offset_t min, vm_offset_t max)
{
	(void)min;
	(void)max;
	return NULL;
}

static void *no_vminit(struct vm *vm, struct pmap *pmap)
{
	(void)vm;
	(void)pmap;
	return NULL;
}

/* The tenth one fails: what was built before must go again. */
static struct vlapic *few_vlapics(void *vmi, int vcpuid)
{
	return vcpuid < 10 ? fake_ops.vlapic_init(vmi, vcpuid) : NULL;
}

static void out_of_memory(void **state)
{
	struct vmm_ops ops = fake_ops;
	struct vm *vm = NULL;

	(void)state;
	ops.vmspace_alloc = no_vmspace;
	assert_int_equal(vm_create_on(&ops, "x", &vm), ENOMEM);
	ops = fake_ops;
	ops.vminit = no_vminit;
	assert_int_equal(vm_create_on(&ops, "x", &vm), ENOMEM);
	ops = fake_ops;
	ops.vlapic_init = few_vlapics;
	assert_int_equal(vm_create_on(&ops, "x", &vm), ENOMEM);
	assert_null(vm);
}

static void names(void **state)
{
	char name[VM_MAX_NAMELEN + 1];
	struct vm *vm = NULL;

	(void)state;
	memset(name, 'n', sizeof(name));
	name[VM_MAX_NAMELEN] = '\0';
	assert_int_equal(vm_create_on(&fake_ops, name, &vm), EINVAL);
	assert_int_equal(vm_create_on(&fake_ops, NULL, &vm), EINVAL);
	assert_null(vm);
	name[VM_MAX_NAMELEN - 1] = '\0';
	assert_int_equal(vm_create_on(&fake_ops, name, &vm), 0);
	assert_string_equal(vm_name(vm), name);
	vm_destroy(vm);
	assert_int_equal(vm_create_on(&fake_ops, "", &vm), 0);
	assert_string_equal(vm_name(vm), "");
	vm_destroy(vm);
}

static void fresh_vm(void **state)
{
	struct vm *vm;
	cpuset_t set;

	(void)state;
	assert_int_equal(vm_create_on(&fake_ops, "x", &vm), 0);
	assert_non_null(vm_ioapic(vm));
	assert_non_null(vm_hpet(vm));
	assert_non_null(vm_atpic(vm));
	assert_non_null(vm_atpit(vm));
	assert_non_null(vm_rtc(vm));
	assert_non_null(vm_pmtmr(vm));
	assert_non_null(vm_clock(vm));
	assert_non_null(vm_get_vmspace(vm));
	assert_null(vm_iommu_domain(vm));
	set = vm_active_cpus(vm);
	assert_int_equal(CPU_COUNT(&set), 0);
	assert_false(vm_mem_allocated(vm, 0));
	for (int i = 0; i < VM_MAXCPU; i++) {
		assert_non_null(vm_lapic(vm, i));
		assert_int_equal(vcpu_get_state(vm, i, NULL), VCPU_IDLE);
	}
	vm_destroy(vm);
}

static void two_vms_in_one_process(void **state)
{
	struct vm *a, *b;

	(void)state;
	assert_int_equal(vm_create_on(&fake_ops, "same", &a), 0);
	assert_int_equal(vm_create_on(&fake_lending_ops, "same", &b), 0);
	assert_int_equal(vm_malloc(a, 0, 0x1000), 0);
	assert_false(vm_mem_allocated(b, 0));
	vm_destroy(a);
	assert_int_equal(vm_malloc(b, 0, 0x1000), 0);
	vm_destroy(b);
}

/* vmm-api.md 5.5, row by row. */
static void reinit_resets_and_keeps(void **state)
{
	struct vm *vm = *state;
	size_t contiguous;
	uint8_t *ram;
	cpuset_t set;
	uint64_t value;

	assert_int_equal(vm_malloc(vm, 0, 0x2000), 0);
	ram = vm_gpa_ram(vm, 0, &contiguous);
	ram[5] = 55;
	assert_int_equal(vm_reinit(vm), EBUSY);
	assert_int_equal(vm_suspend(vm, VM_SUSPEND_RESET), 0);
	assert_int_equal(vm_reinit(vm), EBUSY); /* asked, but not there yet */
	atomic_store(&vm->suspended, 1);
	assert_int_equal(vm_inject_nmi(vm, 3), 0);
	assert_int_equal(vm_inject_extint(vm, 4), 0);
	vmm_stat_incr(vm, 0, VMM_STAT_EXITS, 5);
	vm_guest_msrs(vm, 0)[0] = 77;
	assert_int_equal(vm_set_register(vm, 0, VM_REG_GUEST_RAX, 7), 0);
	assert_int_equal(vrtc_nvram_write(vm, 0x40, 0x99), 0);

	assert_int_equal(vm_reinit(vm), 0);
	assert_string_equal(vm_name(vm), "test");
	assert_ptr_equal(vm_gpa_ram(vm, 0, &contiguous), ram);
	assert_int_equal(ram[5], 55);
	set = vm_active_cpus(vm);
	assert_int_equal(CPU_COUNT(&set), 0);
	set = vm_suspended_cpus(vm);
	assert_int_equal(CPU_COUNT(&set), 0);
	assert_int_equal(vm_nmi_pending(vm, 3), 0);
	assert_int_equal(vm_extint_pending(vm, 4), 0);
	assert_int_equal(((uint64_t *)vcpu_stats(vm, 0))[VMM_STAT_EXITS], 0);
	assert_int_equal(vm_guest_msrs(vm, 0)[0], 0);
	assert_int_equal(vm_get_register(vm, 0, VM_REG_GUEST_RAX, &value), 0);
	assert_int_equal(value, 0);
	assert_int_equal(vcpu_get_state(vm, 0, NULL), VCPU_FROZEN);
	assert_int_equal(vm_suspend(vm, VM_SUSPEND_HALT), 0); /* the word is free again */
	uint8_t byte;
	assert_int_equal(vrtc_nvram_read(vm, 0x40, &byte), 0);
	assert_int_equal(byte, 0x99); /* the battery */
}

static void reinit_without_active_vcpus(void **state)
{
	struct vm *vm;

	(void)state;
	assert_int_equal(vm_create_on(&fake_ops, "x", &vm), 0);
	assert_int_equal(vm_reinit(vm), 0);
	vm_destroy(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(module_default),
		cmocka_unit_test(backend_that_refuses),
		cmocka_unit_test(out_of_memory),
		cmocka_unit_test(names),
		cmocka_unit_test(fresh_vm),
		cmocka_unit_test(two_vms_in_one_process),
		cmocka_unit_test_setup_teardown(reinit_resets_and_keeps, setup_fake, teardown_vm),
		cmocka_unit_test(reinit_without_active_vcpus),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
