/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The checked layer: claims, deadlock refusal, destruction, and calls from everywhere at once. */
#include <errno.h>
#include <unistd.h>

#include <vmm/vlapic.h>

#include "test/vmm/harness.h"

static int setup(void **state)
{
	struct vm *vm;

	assert_int_equal(vmmdev_create(&fake_lending_ops, "dev", &vm), 0);
	*state = vm;
	return 0;
}

static int teardown(void **state)
{
	vmmdev_destroy(*state);
	return 0;
}

/* A vcpu thread as embedders write it: run until something but BOGUS comes. */
struct loop {
	struct vm *vm;
	int vcpuid;
	pthread_t thread;
	_Atomic unsigned runs;
	_Atomic bool stop;
	int error;
	struct vm_exit exit;
};

static void *loop_main(void *arg)
{
	struct loop *loop = arg;
	struct vm_run run = {.cpuid = loop->vcpuid, .rip = 0x100};

	do {
		loop->error = vmmdev_run(loop->vm, &run);
		run.rip = run.vm_exit.rip + (uint64_t)run.vm_exit.inst_length;
		atomic_fetch_add(&loop->runs, 1);
	} while (loop->error == 0 && run.vm_exit.exitcode == VM_EXITCODE_BOGUS &&
		 !atomic_load(&loop->stop));
	loop->exit = run.vm_exit;
	return NULL;
}

static void loop_start(struct loop *loop, struct vm *vm, int vcpuid)
{
	*loop = (struct loop){.vm = vm, .vcpuid = vcpuid};
	assert_int_equal(vmmdev_activate_cpu(vm, vcpuid), 0);
	assert_int_equal(pthread_create(&loop->thread, NULL, loop_main, loop), 0);
	wait_for_state(vm, vcpuid, VCPU_RUNNING);
}

static void loop_stop(struct loop *loop)
{
	atomic_store(&loop->stop, true);
	vm_vcpu_yield(loop->vm, loop->vcpuid);
	assert_int_equal(pthread_join(loop->thread, NULL), 0);
}

static void arguments(void **state)
{
	struct vm *vm = *state;
	struct vm_run run = {.cpuid = 16};
	uint64_t value;

	assert_int_equal(vmmdev_run(vm, &run), EINVAL);
	assert_int_equal(vmmdev_get_register(vm, -1, VM_REG_GUEST_RAX, &value), EINVAL);
	assert_int_equal(vmmdev_get_register(vm, 0, VM_REG_LAST, &value), EINVAL);
	assert_int_equal(vcpu_get_state(vm, 0, NULL), VCPU_IDLE); /* given back on errors */
	run.cpuid = 0;
	assert_int_equal(vmmdev_run(vm, &run), EINVAL); /* not active */
}

/* bhyve of 2014 would wait until the guest exits by itself. */
static void register_of_a_running_vcpu(void **state)
{
	struct vm *vm = *state;
	struct loop loop;
	uint64_t value;

	assert_int_equal(vmmdev_set_register(vm, 0, VM_REG_GUEST_RBX, 0xb0), 0);
	loop_start(&loop, vm, 0);
	for (int i = 0; i < 100; i++) {
		assert_int_equal(vmmdev_get_register(vm, 0, VM_REG_GUEST_RBX, &value), 0);
		assert_int_equal(value, 0xb0 + i);
		assert_int_equal(vmmdev_set_register(vm, 0, VM_REG_GUEST_RBX, value + 1), 0);
	}
	wait_for_state(vm, 0, VCPU_RUNNING); /* and it goes on */
	loop_stop(&loop);
}

static void map_memory_freezes_all(void **state)
{
	struct vm *vm = *state;
	struct loop loop[3];
	struct vm_memory_segment seg;

	for (int i = 0; i < 3; i++)
		loop_start(&loop[i], vm, i);
	assert_int_equal(vmmdev_map_memory(vm, 0, 0x10000), 0);
	assert_int_equal(vmmdev_map_memory(vm, 0, 0x10000), 0);
	assert_int_equal(vmmdev_map_memory(vm, 0x8000, 0x10000), EINVAL);
	assert_int_equal(vmmdev_get_memory_seg(vm, 0, &seg), 0);
	assert_int_equal(seg.len, 0x10000);
	assert_int_equal(vmmdev_get_memory_seg(vm, 0x1000, &seg), 0);
	assert_int_equal(seg.len, 0);
	for (int i = 0; i < 3; i++)
		loop_stop(&loop[i]);
}

static struct vm *callback_vm;
static int callback_errors[2];

static int reentrant_read(
	struct vm *vm, int vcpuid, uint64_t gpa, uint64_t *value, int size, void *arg)
{
	(void)gpa;
	(void)size;
	(void)arg;
	callback_errors[0] = vmmdev_get_register(vm, vcpuid, VM_REG_GUEST_RAX, value);
	callback_errors[1] = vmmdev_map_memory(vm, 0x100000, 0x1000);
	*value = 5;
	return vmmdev_inject_nmi(callback_vm, vcpuid); /* claims nothing: fine */
}

static int no_write(struct vm *vm, int vcpuid, uint64_t gpa, uint64_t value, int size, void *arg)
{
	(void)vm;
	(void)vcpuid;
	(void)gpa;
	(void)value;
	(void)size;
	(void)arg;
	return EIO;
}

/* A device model that claims its own vcpu would wait for itself. */
static void callback_must_not_claim(void **state)
{
	struct vm *vm = *state;
	struct vm_exit exit = {.rip = 0x1000};
	struct x86_cpu *cpu = fake_cpu(vm, 0);

	callback_vm = vm;
	assert_int_equal(vmmdev_map_memory(vm, 0, 0x2000), 0);
	assert_int_equal(vmmdev_write(vm, 0x1000, "\xa0\x00\x80", 3), 0); /* mov al, [0x8000] */
	cpu->seg[X86_CS].base = 0;
	assert_int_equal(
		vmmdev_emulate_instruction(vm, 0, &exit, reentrant_read, no_write, NULL), 0);
	assert_int_equal(exit.rip + (uint64_t)exit.inst_length, 0x1003);
	assert_int_equal(cpu->gpr[X86_RAX] & 0xff, 5);
	assert_int_equal(callback_errors[0], EDEADLK);
	assert_int_equal(callback_errors[1], EDEADLK);
	assert_int_equal(vm_nmi_pending(vm, 0), 1);
}

static void memory_access(void **state)
{
	struct vm *vm = *state;
	char buf[16];

	assert_int_equal(vmmdev_map_memory(vm, 0, 0x2000), 0);
	assert_int_equal(vmmdev_map_memory(vm, 0x2000, 0x1000), 0); /* the neighbour */
	assert_int_equal(vmmdev_write(vm, 0x1ffd, "abcdef", 6), 0);
	assert_int_equal(vmmdev_read(vm, 0x1ffd, buf, 6), 0);
	assert_memory_equal(buf, "abcdef", 6);
	assert_int_equal(vmmdev_write(vm, 0x2ffe, "xyz", 3), EFAULT);
	memset(buf, 'q', sizeof(buf));
	assert_int_equal(vmmdev_read(vm, 0x2ffe, buf, 5), 0);
	assert_memory_equal(buf, "xy\0\0\0", 5); /* a hole reads zeros */
	assert_non_null(vmmdev_map_gpa(vm, 0x1000, 0x1000));
	assert_null(vmmdev_map_gpa(vm, 0x1000, 0x1001)); /* two segments */
	assert_null(vmmdev_map_gpa(vm, 0x3000, 1));
}

static void interrupts(void **state)
{
	struct vm *vm = *state;
	int pins;
	uint32_t caps;

	assert_int_equal(vmmdev_lapic_irq(vm, 16, 0x40), EINVAL);
	assert_int_equal(vmmdev_lapic_irq(vm, 0, 0x40), 0);
	assert_int_equal(vmmdev_lapic_irq(vm, 0, 15), EINVAL);
	assert_int_equal(vmmdev_lapic_local_irq(vm, 0, VLAPIC_LVT_COUNT), EINVAL);
	assert_int_equal(vmmdev_lapic_local_irq(vm, -1, VLAPIC_LVT_LINT1), 0);
	assert_int_equal(vmmdev_lapic_msi(vm, 0xfee00000, 0x41), 0);
	assert_int_equal(vmmdev_lapic_msi(vm, 0xfed00000, 0x41), EINVAL);
	assert_int_equal(vmmdev_ioapic_pincount(vm, &pins), 0);
	assert_int_equal(pins, 24);
	assert_int_equal(vmmdev_ioapic_assert_irq(vm, 24), EINVAL);
	assert_int_equal(vmmdev_ioapic_assert_irq(vm, 23), 0);
	assert_int_equal(vmmdev_ioapic_deassert_irq(vm, 23), 0);
	assert_int_equal(vmmdev_ioapic_pulse_irq(vm, -1), EINVAL);
	assert_int_equal(vmmdev_isa_assert_irq(vm, 4, 4), 0);
	assert_int_equal(vmmdev_isa_deassert_irq(vm, 4, -1), 0);
	assert_int_equal(vmmdev_isa_pulse_irq(vm, 16, 4), EINVAL);
	assert_int_equal(vmmdev_isa_pulse_irq(vm, 4, 24), EINVAL);
	assert_int_equal(vmmdev_isa_set_irq_trigger(vm, 0, LEVEL_TRIGGER), EINVAL);
	assert_int_equal(vmmdev_isa_set_irq_trigger(vm, 5, LEVEL_TRIGGER), 0);
	assert_int_equal(vmmdev_hpet_capabilities(vm, &caps), 0);
	assert_int_equal(caps >> 16, 0x8086);
	assert_int_equal(vmmdev_inject_nmi(vm, 16), EINVAL);
}

static void suspend_and_reinit(void **state)
{
	struct vm *vm = *state;
	struct loop loop;

	loop_start(&loop, vm, 0);
	assert_int_equal(vmmdev_reinit(vm), EBUSY);
	assert_int_equal(vmmdev_suspend(vm, VM_SUSPEND_RESET), 0);
	assert_int_equal(pthread_join(loop.thread, NULL), 0);
	assert_int_equal(loop.exit.exitcode, VM_EXITCODE_SUSPENDED);
	assert_int_equal(vmmdev_reinit(vm), 0);
	loop_start(&loop, vm, 0);
	loop_stop(&loop);
}

/* A thread that waits for a map change must not deadlock with vcpus that wait for it to suspend. */
static void claim_all_while_suspending(void **state)
{
	struct vm *vm = *state;
	struct loop loop[2];

	assert_int_equal(vmmdev_activate_cpu(vm, 2), 0); /* never runs */
	loop_start(&loop[0], vm, 0);
	loop_start(&loop[1], vm, 1);
	assert_int_equal(vmmdev_suspend(vm, VM_SUSPEND_RESET), 0);
	wait_for_state(vm, 0, VCPU_SLEEPING);
	assert_int_equal(vmmdev_map_memory(vm, 0, 0x1000), 0);
	loop_stop(&loop[0]);
	loop_stop(&loop[1]);
}

/* ---- Lifetime ---- */

static void destroy_kicks_everybody_out(void **state)
{
	struct vm *vm;
	struct loop loop[2];
	uint64_t value;

	(void)state;
	assert_int_equal(vmmdev_create(&fake_ops, "x", &vm), 0);
	assert_int_equal(vmmdev_hold(vm), 0); /* for this thread's calls below */
	loop_start(&loop[0], vm, 0);
	loop_start(&loop[1], vm, 1);
	vmmdev_destroy(vm);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(loop[i].thread, NULL), 0);
		assert_int_equal(loop[i].error, ENXIO);
	}
	assert_int_equal(vmmdev_get_register(vm, 0, VM_REG_GUEST_RAX, &value), ENXIO);
	assert_int_equal(vmmdev_inject_nmi(vm, 0), ENXIO);
	assert_int_equal(vmmdev_reinit(vm), ENXIO);
	assert_null(vmmdev_map_gpa(vm, 0, 1));
	assert_int_equal(vmmdev_hold(vm), ENXIO);
	vmmdev_drop(vm);
}

static void default_backend(void **state)
{
	struct vm *vm;

	(void)state;
	assert_int_equal(vmmdev_create(NULL, "x", &vm), ENXIO);
	assert_int_equal(vmm_init(&fake_ops), 0);
	assert_int_equal(vmmdev_create(NULL, "x", &vm), 0);
	vmmdev_destroy(vm);
	assert_int_equal(vmm_cleanup(), 0);
}

/* ---- Everything at once, for the sanitizers ---- */

#define ROUNDS 300

static void *control(void *arg)
{
	struct vm *vm = arg;
	uint64_t value, info1, info2;

	for (int i = 0; i < ROUNDS; i++) {
		int vcpuid = i % 4;

		assert_int_equal(vmmdev_get_register(vm, vcpuid, VM_REG_GUEST_RIP, &value), 0);
		assert_int_equal(vmmdev_get_intinfo(vm, vcpuid, &info1, &info2), 0);
		if (i % 50 == 0)
			assert_int_equal(vmmdev_map_memory(vm, 0, 0x1000), 0);
	}
	return NULL;
}

static void *devices(void *arg)
{
	struct vm *vm = arg;
	char name[VMM_STAT_NAME_LEN];
	uint64_t value;

	for (int i = 0; i < ROUNDS; i++) {
		assert_int_equal(vmmdev_isa_pulse_irq(vm, 4, 4), 0);
		assert_int_equal(vmmdev_lapic_irq(vm, i % 4, 0x40 + i % 64), 0);
		assert_int_equal(vmmdev_inject_nmi(vm, i % 4), 0);
		assert_int_equal(vmmdev_stat(vm, i % 4, VMM_STAT_EXITS, name, &value), 0);
		assert_int_equal(vmmdev_write(vm, 0x800, &value, sizeof(value)), 0);
	}
	return NULL;
}

static void everything_at_once(void **state)
{
	struct vm *vm = *state;
	struct loop loop[4];
	pthread_t threads[4];

	assert_int_equal(vmmdev_map_memory(vm, 0, 0x1000), 0);
	for (int i = 0; i < 4; i++)
		loop_start(&loop[i], vm, i);
	for (int i = 0; i < 4; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, i < 2 ? control : devices, vm), 0);
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	for (int i = 0; i < 4; i++)
		loop_stop(&loop[i]);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(arguments),
		TEST(register_of_a_running_vcpu),
		TEST(map_memory_freezes_all),
		TEST(callback_must_not_claim),
		TEST(memory_access),
		TEST(interrupts),
		TEST(suspend_and_reinit),
		TEST(claim_all_while_suspending),
		cmocka_unit_test(destroy_kicks_everybody_out),
		cmocka_unit_test(default_backend),
		TEST(everything_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
