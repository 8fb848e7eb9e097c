/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include <errno.h>

#include "test/vmm/chip/fake_vm.h"

#define LEVEL	   0x8000ull
#define MASKED	   0x10000ull
#define REMOTE_IRR 0x4000u
#define LOGICAL	   0x800ull
#define DEST(id)   ((uint64_t)(id) << 56)

static int setup(void **state)
{
	struct vm *vm;

	fake_vm_setup(state);
	vm = *state;
	vm->active = 3;
	lapic_enable(vm, 0);
	lapic_enable(vm, 1);
	return 0;
}

static void registers(void **state)
{
	struct vm *vm = *state;

	assert_int_equal(vioapic_pincount(vm), 24);
	assert_int_equal(ioapic_read(vm, 0), 0);
	assert_int_equal(ioapic_read(vm, 1), 0x00170011);
	ioapic_write(vm, 0, UINT32_MAX);
	ioapic_write(vm, 1, UINT32_MAX);
	ioapic_write(vm, 2, 0);
	assert_int_equal(ioapic_read(vm, 0), 0x0f000000);
	assert_int_equal(ioapic_read(vm, 1), 0x00170011);
	assert_int_equal(ioapic_read(vm, 2), 0x0f000000);
	for (unsigned reg = 0x10; reg < 0x40; reg += 2) {
		assert_int_equal(ioapic_read(vm, reg), MASKED);
		assert_int_equal(ioapic_read(vm, reg + 1), 0);
		ioapic_write(vm, reg, UINT32_MAX);
		ioapic_write(vm, reg + 1, UINT32_MAX);
		assert_int_equal(ioapic_read(vm, reg), ~0x5000u);
		assert_int_equal(ioapic_read(vm, reg + 1), UINT32_MAX);
	}
	for (unsigned reg = 3; reg < 0x100; reg = reg == 0xf ? 0x40 : reg + 1) {
		ioapic_write(vm, reg, UINT32_MAX);
		assert_int_equal(ioapic_read(vm, reg), 0);
	}
}

static void odd_accesses(void **state)
{
	struct vm *vm = *state;
	uint64_t value;

	ioapic_write(vm, 0, 0x05000000);
	static const struct {
		unsigned offset;
		int size;
	} odd[] = {{0x10, 1}, {0x10, 2}, {0x10, 8}, {0x11, 1}, {0x12, 2}, {0x14, 4}, {0x04, 4},
		{0x20, 4}, {0xffc, 4}};
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		value = 1;
		vioapic_mmio_write(vm, 0, PC_IOAPIC_BASE + odd[i].offset, 0, odd[i].size, NULL);
		assert_int_equal(vioapic_mmio_read(vm, 0, PC_IOAPIC_BASE + odd[i].offset, &value,
					 odd[i].size, NULL),
			0);
		assert_true(value == 0);
	}
	assert_int_equal(ioapic_read(vm, 0), 0x05000000);
	vioapic_mmio_read(vm, 0, PC_IOAPIC_BASE, &value, 4, NULL);
	assert_true(value == 0);
}

static void pins(void **state)
{
	struct vm *vm = *state;

	assert_int_equal(vioapic_assert_irq(vm, -1), EINVAL);
	assert_int_equal(vioapic_deassert_irq(vm, 24), EINVAL);
	assert_int_equal(vioapic_pulse_irq(vm, 1000), EINVAL);
	for (int pin = 0; pin < 24; pin++) {
		ioapic_set_pin(vm, pin, DEST(1) | (uint64_t)(0x40 + pin));
		assert_int_equal(vioapic_pulse_irq(vm, pin), 0);
		assert_int_equal(lapic_take(vm, 1), 0x40 + pin);
		lapic_end(vm, 1);
		ioapic_set_pin(vm, pin, MASKED);
		vioapic_pulse_irq(vm, pin);
		assert_int_equal(lapic_pending(vm, 1), -1);
	}
	assert_int_equal(lapic_pending(vm, 0), -1);
}

static void destinations(void **state)
{
	struct vm *vm = *state;

	lapic_write(vm, 0, 0xd0, 0x01000000);
	lapic_write(vm, 1, 0xd0, 0x02000000);
	ioapic_set_pin(vm, 5, DEST(3) | LOGICAL | 0x50);
	vioapic_pulse_irq(vm, 5);
	assert_int_equal(lapic_take(vm, 0), 0x50);
	assert_int_equal(lapic_take(vm, 1), 0x50);
	ioapic_set_pin(vm, 5, DEST(3) | LOGICAL | 0x160); /* lowest priority */
	vioapic_pulse_irq(vm, 5);
	assert_int_equal(lapic_take(vm, 0), 0x60);
	assert_int_equal(lapic_take(vm, 1), -1);
	ioapic_set_pin(vm, 5, DEST(1) | 0x700);
	vioapic_pulse_irq(vm, 5);
	assert_int_equal(vm->extints[1], 1);
	ioapic_set_pin(vm, 5, DEST(1) | 0x400);
	vioapic_pulse_irq(vm, 5);
	assert_int_equal(vm->nmis[1], 1);
	ioapic_set_pin(vm, 5, DEST(1) | 0x270); /* SMI */
	vioapic_pulse_irq(vm, 5);
	ioapic_set_pin(vm, 5, DEST(1) | 0x570); /* INIT */
	vioapic_pulse_irq(vm, 5);
	assert_int_equal(lapic_pending(vm, 1), -1);
	assert_false(vlapic_boot_event_pending(vm->vlapic[1]));
}

static void edge(void **state)
{
	struct vm *vm = *state;

	ioapic_set_pin(vm, 4, 0x50);
	vioapic_assert_irq(vm, 4);
	vioapic_assert_irq(vm, 4); /* two asserters, one edge */
	assert_int_equal(vm->notified[0], 1);
	assert_int_equal(lapic_take(vm, 0), 0x50);
	assert_int_equal(ioapic_read(vm, 0x18), 0x50);
	lapic_end(vm, 0);
	assert_int_equal(lapic_pending(vm, 0), -1);
	vioapic_deassert_irq(vm, 4);
	vioapic_assert_irq(vm, 4);
	assert_int_equal(lapic_pending(vm, 0), -1);
	vioapic_deassert_irq(vm, 4);
	vioapic_deassert_irq(vm, 4);
	vioapic_assert_irq(vm, 4);
	assert_int_equal(lapic_take(vm, 0), 0x50);
	lapic_end(vm, 0);
	/* Unmasking finds the line high. */
	ioapic_set_pin(vm, 4, MASKED | 0x50);
	ioapic_set_pin(vm, 4, 0x50);
	assert_int_equal(lapic_take(vm, 0), 0x50);
	/* An unbalanced deassert is survived. */
	vioapic_deassert_irq(vm, 4);
	vioapic_deassert_irq(vm, 4);
	vioapic_assert_irq(vm, 4);
	vioapic_assert_irq(vm, 4);
}

/* The 2014 code sent again while remote-IRR was set. */
static void level(void **state)
{
	struct vm *vm = *state;

	ioapic_set_pin(vm, 17, LEVEL | 0x50);
	vioapic_assert_irq(vm, 17);
	assert_int_equal(ioapic_read(vm, 0x32), LEVEL | REMOTE_IRR | 0x50);
	assert_int_equal(lapic_take(vm, 0), 0x50);
	vioapic_deassert_irq(vm, 17);
	vioapic_assert_irq(vm, 17); /* rises again before the EOI */
	assert_int_equal(lapic_read(vm, 0, 0x220), 0);
	ioapic_write(vm, 0x32, LEVEL | MASKED | 0x50);
	ioapic_write(vm, 0x32, LEVEL | 0x50);
	assert_int_equal(ioapic_read(vm, 0x32), LEVEL | REMOTE_IRR | 0x50);
	assert_int_equal(lapic_pending(vm, 0), -1);
	lapic_set_intr(vm, 0, 0x62, false); /* another one's EOI is no business of the pin */
	assert_int_equal(lapic_take(vm, 0), 0x62);
	lapic_end(vm, 0);
	assert_int_equal(lapic_pending(vm, 0), -1);
	lapic_end(vm, 0); /* still high: comes again */
	assert_int_equal(lapic_take(vm, 0), 0x50);
	vioapic_deassert_irq(vm, 17);
	lapic_end(vm, 0);
	assert_int_equal(lapic_pending(vm, 0), -1);
	assert_int_equal(ioapic_read(vm, 0x32), LEVEL | 0x50);
}

/* Two lines on one vector, and the EOI while masked. */
static void level_shared(void **state)
{
	struct vm *vm = *state;

	ioapic_set_pin(vm, 16, LEVEL | 0x50);
	ioapic_set_pin(vm, 17, LEVEL | 0x50);
	vioapic_assert_irq(vm, 16);
	vioapic_assert_irq(vm, 17);
	assert_int_equal(lapic_take(vm, 0), 0x50);
	ioapic_write(vm, 0x32, LEVEL | MASKED | 0x50);
	vioapic_deassert_irq(vm, 16);
	lapic_end(vm, 0);
	assert_int_equal(ioapic_read(vm, 0x30), LEVEL | 0x50);
	assert_int_equal(ioapic_read(vm, 0x32), LEVEL | MASKED | 0x50);
	assert_int_equal(lapic_pending(vm, 0), -1);
	ioapic_write(vm, 0x32, LEVEL | 0x50); /* 17 is still high */
	assert_int_equal(lapic_take(vm, 0), 0x50);
}

/* Remote-IRR is not the guest's to write, but edge mode clears it. */
static void remote_irr(void **state)
{
	struct vm *vm = *state;

	ioapic_set_pin(vm, 20, LEVEL | 0x50);
	vioapic_assert_irq(vm, 20);
	ioapic_write(vm, 0x38, LEVEL | MASKED | 0x50);
	assert_int_equal(ioapic_read(vm, 0x38), LEVEL | MASKED | REMOTE_IRR | 0x50);
	ioapic_write(vm, 0x38, MASKED | 0x50);
	assert_int_equal(ioapic_read(vm, 0x38), MASKED | 0x50);
	ioapic_write(vm, 0x38, LEVEL | 0x50);
	assert_int_equal(ioapic_read(vm, 0x38), LEVEL | REMOTE_IRR | 0x50); /* sent again */
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, fake_vm_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(registers),
		TEST(odd_accesses),
		TEST(pins),
		TEST(destinations),
		TEST(edge),
		TEST(level),
		TEST(level_shared),
		TEST(remote_irr),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
