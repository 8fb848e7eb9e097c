/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Destinations, the interrupt command register, MSI, and the start of application processors. */
#include "test/vmm/chip/fake_vm.h"

#define ICR_HIGH 0x310
#define ICR_LOW	 0x300

#define LOGICAL	  0x800
#define NMI	  0x400
#define LOWEST	  0x100
#define INIT	  0x4500
#define DEASSERT  0x8500
#define STARTUP	  0x4600
#define SELF	  0x40000
#define EVERYBODY 0x80000
#define OTHERS	  0xc0000

static int setup(void **state)
{
	struct vm *vm;

	fake_vm_setup(state);
	vm = *state;
	vm->active = 0xf;
	for (int i = 0; i < 5; i++) /* 4 is enabled but not active */
		lapic_enable(vm, i);
	return 0;
}

/* Sends an xAPIC message; true: it made an exit of the sender. */
static bool send(struct vm *vm, int vcpuid, uint32_t dest, uint32_t command)
{
	bool retu = false;

	lapic_write(vm, vcpuid, ICR_HIGH, dest << 24);
	vlapic_mmio_write(vm, vcpuid, PC_LAPIC_BASE + ICR_LOW, command, 4, &retu);
	return retu;
}

/* The vcpus that have `vector` pending, which is taken from them. */
static uint32_t receivers(struct vm *vm, int vector)
{
	uint32_t mask = 0;

	for (int i = 0; i < VM_MAXCPU; i++) {
		if (lapic_take(vm, i) != vector)
			continue;
		mask |= 1u << i;
		if (vlapic_get_apicbase(vm->vlapic[i]) & 0x400)
			vlapic_wrmsr(vm->vlapic[i], 0x80b, 0, NULL);
		else
			lapic_end(vm, i);
	}
	return mask;
}

static void destinations(void **state)
{
	struct vm *vm = *state;
	static const struct {
		uint32_t dest, command, receivers;
	} table[] = {
		{0, 0, 0x1},
		{3, 0, 0x8},
		{4, 0, 0x10}, /* physical does not ask whether it is active */
		{15, 0, 0},   /* there, but disabled */
		{16, 0, 0},
		{0xff, 0, 0xf},
		{9, SELF, 0x2},
		{9, EVERYBODY, 0xf},
		{9, OTHERS, 0xd},
		{0x01, LOGICAL, 0x1},
		{0x06, LOGICAL, 0x6},
		{0x1e, LOGICAL, 0xe},
		{0x80, LOGICAL, 0},
		{0xff, LOGICAL, 0xf},
		{0x0e, LOGICAL | LOWEST, 0x2},
		{0xff, LOWEST, 0x1},
	};

	for (int i = 0; i < 5; i++)
		lapic_write(vm, i, 0xd0, 1u << (24 + i));
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_false(send(vm, 1, table[i].dest, 0x4000 | table[i].command | 0x66));
		assert_int_equal(receivers(vm, 0x66), table[i].receivers);
	}
	assert_int_equal(lapic_read(vm, 1, ICR_LOW), 0x4000 | LOWEST | 0x66);
}

static void clusters(void **state)
{
	struct vm *vm = *state;
	static const struct {
		uint32_t dest, receivers;
	} table[] = {{0x11, 0x1}, {0x13, 0x3}, {0x1f, 0x3}, {0x21, 0x4}, {0x22, 0x8}, {0x2f, 0xc},
		{0x31, 0}, {0x10, 0}, {0xff, 0xf}};
	static const uint8_t ldr[] = {0x11, 0x12, 0x21, 0x22};

	for (int i = 0; i < 4; i++) {
		lapic_write(vm, i, 0xd0, (uint32_t)ldr[i] << 24);
		lapic_write(vm, i, 0xe0, 0x0fffffff);
	}
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		send(vm, 0, table[i].dest, LOGICAL | 0x66);
		assert_int_equal(receivers(vm, 0x66), table[i].receivers);
	}
	/* Neither flat nor cluster. */
	for (int i = 0; i < 4; i++)
		lapic_write(vm, i, 0xe0, 0x7fffffff);
	send(vm, 0, 0x11, LOGICAL | 0x66);
	assert_int_equal(receivers(vm, 0x66), 0);
}

static void x2apic_destinations(void **state)
{
	struct vm *vm = *state;
	static const struct {
		uint64_t dest;
		uint32_t command, receivers;
	} table[] = {
		{2, 0, 0x4},
		{0xff, 0, 0},
		{UINT32_MAX, 0, 0xf},
		{0x0000000a, LOGICAL, 0xa},
		{0x0001000a, LOGICAL, 0},
		{UINT32_MAX, LOGICAL, 0xf},
		{0, OTHERS, 0xe},
	};
	bool retu = false;

	for (int i = 0; i < 4; i++)
		vlapic_set_x2apic_state(vm->vlapic[i], X2APIC_ENABLED);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_int_equal(vlapic_wrmsr(vm->vlapic[0], 0x830,
					 table[i].dest << 32 | table[i].command | 0x66, &retu),
			0);
		assert_int_equal(receivers(vm, 0x66), table[i].receivers);
	}
	/* What I/O APIC and MSI say has 8 bits also then. */
	vlapic_deliver_intr(vm, false, 0xff, true, APIC_DELMODE_FIXED, 0x66);
	assert_int_equal(receivers(vm, 0x66), 0xf);
	vlapic_deliver_intr(vm, false, 0x05, false, APIC_DELMODE_FIXED, 0x66);
	assert_int_equal(receivers(vm, 0x66), 0x5);
}

static void lowest_priority(void **state)
{
	struct vm *vm = *state;

	lapic_write(vm, 0, 0x80, 0x50);
	lapic_write(vm, 1, 0x80, 0x30);
	lapic_write(vm, 2, 0x80, 0x30);
	lapic_write(vm, 3, 0x80, 0x00);
	lapic_write(vm, 3, 0xf0, 0xff); /* cannot accept */
	send(vm, 0, 0xff, LOWEST | 0x66);
	assert_int_equal(receivers(vm, 0x66), 0x2);
	send(vm, 1, 0, OTHERS | LOWEST | 0x66);
	assert_int_equal(receivers(vm, 0x66), 0x4);
}

/* The 2014 code ended the VM on modes it did not know. */
static void modes(void **state)
{
	struct vm *vm = *state;

	assert_false(send(vm, 0, 2, NMI));
	assert_int_equal(vm->nmis[2], 1);
	assert_false(send(vm, 0, 0, OTHERS | NMI));
	assert_int_equal(vm->nmis[0], 0);
	assert_int_equal(vm->nmis[1], 1);
	assert_int_equal(vm->nmis[2], 2);
	for (uint32_t mode = 2; mode < 8; mode++) {
		if (mode == 3 || mode == 2 || mode == 7) /* remote read, SMI, ExtINT */
			assert_false(send(vm, 0, 1, 0x4000 | mode << 8 | 0x66));
	}
	assert_int_equal(receivers(vm, 0x66), 0);
	assert_int_equal(vm->extints[1], 0);
	assert_false(send(vm, 0, 1, 0x0f));
	lapic_write(vm, 0, 0x280, 0);
	assert_int_equal(lapic_read(vm, 0, 0x280), 0x20);
	assert_int_equal(receivers(vm, 0x0f), 0);
	/* Delivery status always reads idle. */
	send(vm, 0, 1, 0x1066);
	assert_int_equal(lapic_read(vm, 0, ICR_LOW), 0x66);
}

static void msi(void **state)
{
	struct vm *vm = *state;

	for (int i = 0; i < 4; i++)
		lapic_write(vm, i, 0xd0, 1u << (24 + i));
	assert_int_equal(lapic_intr_msi(vm, 0xfee02000, 0x66), 0);
	assert_int_equal(receivers(vm, 0x66), 0x4);
	assert_int_equal(
		lapic_intr_msi(vm, 0xfee03004, 0x66), 0); /* logical bit without the hint */
	assert_int_equal(receivers(vm, 0x66), 0x8);
	assert_int_equal(lapic_intr_msi(vm, 0xfee0300c, 0x66), 0);
	assert_int_equal(receivers(vm, 0x66), 0x3);
	assert_int_equal(lapic_intr_msi(vm, 0xfee0c00c, 0x166), 0);
	assert_int_equal(receivers(vm, 0x66), 0x4);
	assert_int_equal(
		lapic_intr_msi(vm, 0xfeeff000, 0xc066), 0); /* level, asserted: still edge */
	assert_int_equal(lapic_read(vm, 0, 0x1b0), 0);
	assert_int_equal(receivers(vm, 0x66), 0xf);
	assert_int_equal(lapic_intr_msi(vm, 0xfee01000, 0x700), 0);
	assert_int_equal(vm->extints[1], 1);
	assert_int_equal(lapic_intr_msi(vm, 0xfee01000, 0x400), 0);
	assert_int_equal(vm->nmis[1], 1);
	assert_int_equal(lapic_intr_msi(vm, 0xfee01000, 0x266), 0);
	assert_int_equal(lapic_intr_msi(vm, 0xfee01000, 0x566), 0);
	assert_int_equal(receivers(vm, 0x66), 0);
	assert_int_equal(lapic_intr_msi(vm, 0xfef01000, 0x66), -1);
	assert_int_equal(lapic_intr_msi(vm, 0x1fee01000, 0x66), -1);
	assert_int_equal(
		lapic_intr_msi(vm, 0xfee01000, 0x05), 0); /* illegal: the receiver's error */
	lapic_write(vm, 1, 0x280, 0);
	assert_int_equal(lapic_read(vm, 1, 0x280), 0x40);
}

static void assert_spinup(struct vm *vm, int sender, int target, uint64_t rip)
{
	assert_int_equal(vm->exitinfo[sender].exitcode, VM_EXITCODE_SPINUP_AP);
	assert_int_equal(vm->exitinfo[sender].u.spinup_ap.vcpu, target);
	assert_true(vm->exitinfo[sender].u.spinup_ap.rip == rip);
}

/* As Linux does it, from a processor that is not the BSP. */
static void start_ap(void **state)
{
	struct vm *vm = *state;

	assert_false(send(vm, 1, 7, STARTUP | 0x9f)); /* no INIT yet: not heard */
	assert_false(send(vm, 1, 7, INIT | 0x8000));
	assert_false(send(vm, 1, 7, DEASSERT));
	assert_true(vlapic_waits_for_sipi(vm->vlapic[7]));
	assert_false(send(vm, 1, 7, NMI)); /* not heard either */
	assert_int_equal(vm->nmis[7], 0);
	assert_true(send(vm, 1, 7, STARTUP | 0x9f));
	assert_spinup(vm, 1, 7, 0x9f000);
	assert_false(vlapic_waits_for_sipi(vm->vlapic[7]));
	assert_false(vlapic_boot_event_pending(vm->vlapic[7]));
	assert_false(send(vm, 1, 7, STARTUP | 0x9f));
	assert_false(vlapic_next_spinup(vm->vlapic[1]));
	assert_false(vlapic_next_spinup(vm->vlapic[7]));
}

/* As firmware does it: all at once. */
static void start_all(void **state)
{
	struct vm *vm = *state;

	vm->active = 1;
	assert_false(send(vm, 0, 0, OTHERS | INIT));
	assert_true(send(vm, 0, 0, OTHERS | STARTUP | 0x12));
	assert_spinup(vm, 0, 1, 0x12000);
	for (int i = 2; i < VM_MAXCPU; i++) {
		assert_true(vlapic_next_spinup(vm->vlapic[0]));
		assert_spinup(vm, 0, i, 0x12000);
	}
	assert_false(vlapic_next_spinup(vm->vlapic[0]));
	assert_false(send(vm, 0, 0, OTHERS | STARTUP | 0x12));
}

/* With a shorthand that includes the sender they are illegal. */
static void start_shorthands(void **state)
{
	struct vm *vm = *state;

	assert_false(send(vm, 0, 0, EVERYBODY | INIT));
	assert_false(send(vm, 0, 0, SELF | INIT));
	for (int i = 0; i < VM_MAXCPU; i++) {
		assert_false(vlapic_waits_for_sipi(vm->vlapic[i]));
		assert_false(vlapic_boot_event_pending(vm->vlapic[i]));
	}
}

/* The 2014 code ignored an INIT to an AP that runs. */
static void restart_ap(void **state)
{
	struct vm *vm = *state;
	uint8_t vector = 0;

	lapic_write(vm, 3, 0x80, 0x70);
	vm->notified[3] = 0;
	assert_false(send(vm, 2, 3, INIT));
	assert_int_equal(vm->notified[3], 1);
	assert_true(vlapic_boot_event_pending(vm->vlapic[3]));
	assert_true(vlapic_waits_for_sipi(vm->vlapic[3]));
	assert_int_equal(lapic_read(vm, 3, 0x80), 0x70); /* its own thread resets it */
	assert_false(send(vm, 2, 3, STARTUP | 0x44));	 /* overtakes that: no exit */
	assert_int_equal(vm->notified[3], 2);
	assert_int_equal(vlapic_take_boot_event(vm->vlapic[3], &vector), VLAPIC_BOOT_INIT);
	assert_int_equal(lapic_read(vm, 3, 0x80), 0);
	assert_int_equal(lapic_read(vm, 3, 0xf0), 0xff);
	assert_int_equal(vlapic_take_boot_event(vm->vlapic[3], &vector), VLAPIC_BOOT_STARTUP);
	assert_int_equal(vector, 0x44);
	assert_int_equal(vlapic_take_boot_event(vm->vlapic[3], &vector), VLAPIC_BOOT_NONE);
	assert_false(vlapic_boot_event_pending(vm->vlapic[3]));
	assert_false(vlapic_waits_for_sipi(vm->vlapic[3]));

	/* A second INIT forgets the STARTUP between. */
	send(vm, 2, 3, INIT);
	send(vm, 2, 3, STARTUP | 0x44);
	send(vm, 2, 3, INIT);
	assert_int_equal(vlapic_take_boot_event(vm->vlapic[3], &vector), VLAPIC_BOOT_INIT);
	assert_int_equal(vlapic_take_boot_event(vm->vlapic[3], &vector), VLAPIC_BOOT_NONE);
	assert_true(vlapic_waits_for_sipi(vm->vlapic[3]));
}

static void restart_bsp(void **state)
{
	struct vm *vm = *state;
	uint8_t vector;

	assert_false(send(vm, 1, 0, INIT));
	assert_false(vlapic_waits_for_sipi(vm->vlapic[0]));
	assert_int_equal(vlapic_take_boot_event(vm->vlapic[0], &vector), VLAPIC_BOOT_INIT);
	assert_true(vlapic_get_apicbase(vm->vlapic[0]) == (PC_LAPIC_BASE | 0x900));
	assert_int_equal(vlapic_take_boot_event(vm->vlapic[0], &vector), VLAPIC_BOOT_NONE);
}

/* INIT leaves the mode of the APIC alone. */
static void init_in_x2apic_mode(void **state)
{
	struct vm *vm = *state;
	bool retu = false;
	uint64_t value;
	uint8_t vector;

	vlapic_set_x2apic_state(vm->vlapic[2], X2APIC_ENABLED);
	assert_int_equal(vlapic_wrmsr(vm->vlapic[2], 0x80f, 0x1ff, &retu), 0);
	send(vm, 0, 2, INIT);
	assert_int_equal(vlapic_take_boot_event(vm->vlapic[2], &vector), VLAPIC_BOOT_INIT);
	assert_int_equal(vlapic_rdmsr(vm->vlapic[2], 0x80d, &value), 0);
	assert_int_equal(value, 4);
	assert_int_equal(vlapic_rdmsr(vm->vlapic[2], 0x80f, &value), 0);
	assert_int_equal(value, 0xff);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, fake_vm_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(destinations),
		TEST(clusters),
		TEST(x2apic_destinations),
		TEST(lowest_priority),
		TEST(modes),
		TEST(msi),
		TEST(start_ap),
		TEST(start_all),
		TEST(start_shorthands),
		TEST(restart_ap),
		TEST(restart_bsp),
		TEST(init_in_x2apic_mode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
