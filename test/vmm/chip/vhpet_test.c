/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "test/vmm/chip/fake_vm.h"

#define TICK 100ull /* ns */

#define CAPS	   0x00
#define CONFIG	   0x10
#define STATUS	   0x20
#define COUNTER	   0xf0
#define TIMER(n)   (0x100u + 0x20u * (n))
#define COMPARE(n) (TIMER(n) + 8)
#define FSB(n)	   (TIMER(n) + 16)

#define LEVEL	 0x2u
#define INTR	 0x4u
#define PERIODIC 0x8u
#define SETVAL	 0x40u
#define ROUTE(n) ((n) << 9)
#define FSB_EN	 0x4000u

static uint64_t read_size(struct vm *vm, unsigned offset, int size)
{
	uint64_t value = 0xdead;

	assert_int_equal(vhpet_mmio_read(vm, 0, PC_HPET_BASE + offset, &value, size, NULL), 0);
	return value;
}

static uint64_t hpet(struct vm *vm, unsigned offset)
{
	return read_size(vm, offset, 8);
}

static void write_size(struct vm *vm, unsigned offset, uint64_t value, int size)
{
	assert_int_equal(vhpet_mmio_write(vm, 0, PC_HPET_BASE + offset, value, size, NULL), 0);
}

static void set(struct vm *vm, unsigned offset, uint64_t value)
{
	write_size(vm, offset, value, 8);
}

/* Pins 2, 8, 20..23 give vectors 0x40 + pin; 20 and up are level-triggered. */
static int setup(void **state)
{
	struct vm *vm;

	fake_vm_setup(state);
	vm = *state;
	lapic_enable(vm, 0);
	ioapic_set_pin(vm, 2, 0x42);
	ioapic_set_pin(vm, 8, 0x48);
	for (int pin = 20; pin < 24; pin++)
		ioapic_set_pin(vm, pin, 0x40u + (unsigned)pin);
	vmm_clock_advance(vm->clock, 987654321);
	return 0;
}

static int take(struct vm *vm)
{
	int vector = lapic_take(vm, 0);

	if (vector >= 0)
		lapic_end(vm, 0);
	return vector;
}

static void reset_values(void **state)
{
	struct vm *vm = *state;
	uint32_t cap;

	assert_int_equal(vhpet_getcap(vm, &cap), 0);
	assert_int_equal(cap, 0x80868701);
	assert_true(hpet(vm, CAPS) == 0x05f5e10080868701);
	assert_true(hpet(vm, CONFIG) == 0);
	assert_true(hpet(vm, STATUS) == 0);
	assert_true(hpet(vm, COUNTER) == 0);
	for (unsigned n = 0; n < 8; n++) {
		assert_true(hpet(vm, TIMER(n)) == 0x00f0000000008010);
		assert_true(hpet(vm, COMPARE(n)) == 0xffffffff);
		assert_true(hpet(vm, FSB(n)) == 0);
	}
	assert_true(hpet(vm, TIMER(8)) == 0);
	assert_true(hpet(vm, 0x08) == 0);
	assert_true(hpet(vm, 0x28) == 0);
	assert_true(hpet(vm, TIMER(0) + 0x18) == 0);
}

static void accesses(void **state)
{
	struct vm *vm = *state;
	static const struct {
		unsigned offset;
		int size;
	} odd[] = {{0, 1}, {0, 2}, {2, 4}, {4, 8}, {6, 2}, {0xf0, 1}, {0x3fe, 4}, {0x400, 4}};

	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		assert_true(read_size(vm, odd[i].offset, odd[i].size) == 0);
	assert_true(read_size(vm, 0, 4) == 0x80868701);
	assert_true(read_size(vm, 4, 4) == 0x05f5e100);
	assert_true(read_size(vm, TIMER(3) + 4, 4) == 0x00f00000);
	write_size(vm, FSB(2), 0x41, 4);
	write_size(vm, FSB(2) + 4, 0xfee00000, 4);
	assert_true(hpet(vm, FSB(2)) == 0xfee0000000000041);
	write_size(vm, FSB(2), 0x99, 2);
	assert_true(hpet(vm, FSB(2)) == 0xfee0000000000041);
	write_size(vm, COMPARE(2) + 4, 0x12345678, 4);
	assert_true(hpet(vm, COMPARE(2)) == 0xffffffff);
	write_size(vm, COMPARE(2), 0x12345678, 4);
	assert_true(hpet(vm, COMPARE(2)) == 0x12345678);
	write_size(vm, CONFIG + 4, 1, 4);
	assert_true(hpet(vm, CONFIG) == 0);
	set(vm, CONFIG, UINT64_MAX & ~1ull);
	assert_true(hpet(vm, CONFIG) == 2);
	set(vm, CAPS, 0);
	assert_true(read_size(vm, CAPS, 4) == 0x80868701);
	write_size(vm, COUNTER + 4, 7, 4);
	assert_true(hpet(vm, COUNTER) == 0);
}

static void counter(void **state)
{
	struct vm *vm = *state;

	vmm_clock_advance(vm->clock, S);
	assert_true(hpet(vm, COUNTER) == 0);
	set(vm, CONFIG, 1);
	vmm_clock_advance(vm->clock, 12345 * TICK + 99);
	assert_true(hpet(vm, COUNTER) == 12345);
	assert_true(read_size(vm, COUNTER, 4) == 12345);
	assert_true(read_size(vm, COUNTER + 4, 4) == 0);
	set(vm, CONFIG, 0);
	vmm_clock_advance(vm->clock, S);
	assert_true(hpet(vm, COUNTER) == 12345);
	set(vm, CONFIG, 1);
	vmm_clock_advance(vm->clock, 5 * TICK);
	assert_true(hpet(vm, COUNTER) == 12350);
	set(vm, COUNTER, 0xfffffffe);
	vmm_clock_advance(vm->clock, 3 * TICK);
	assert_true(hpet(vm, COUNTER) == 1);
}

static void timer_config(void **state)
{
	struct vm *vm = *state;

	set(vm, TIMER(1), UINT64_MAX);
	assert_true(hpet(vm, TIMER(1)) == 0x00f000000000c05e); /* pin 31 does not exist */
	for (unsigned pin = 0; pin < 32; pin++) {
		bool legal = pin >= 20 && pin <= 23;

		set(vm, TIMER(1), ROUTE(pin));
		assert_true(hpet(vm, TIMER(1)) == (0x00f0000000008010 | (legal ? ROUTE(pin) : 0)));
	}
}

static void one_shot(void **state)
{
	struct vm *vm = *state;

	set(vm, CONFIG, 1);
	for (unsigned pin = 20; pin < 24; pin++) {
		set(vm, TIMER(3), INTR | ROUTE(pin));
		set(vm, COMPARE(3), hpet(vm, COUNTER) + 1000);
		vmm_clock_advance(vm->clock, 999 * TICK);
		assert_int_equal(take(vm), -1);
		vmm_clock_advance(vm->clock, TICK);
		assert_int_equal(take(vm), 0x40 + pin);
		vmm_clock_advance(vm->clock, S);
		assert_int_equal(take(vm), -1);
	}
	/* Without a pin, or without leave. */
	set(vm, TIMER(3), INTR);
	set(vm, COMPARE(3), hpet(vm, COUNTER) + 1000);
	vmm_clock_advance(vm->clock, MS);
	set(vm, TIMER(3), ROUTE(20u));
	set(vm, COMPARE(3), hpet(vm, COUNTER) + 1000);
	vmm_clock_advance(vm->clock, MS);
	assert_int_equal(take(vm), -1);
}

/* A comparator behind the counter matches when the counter has wrapped, and so once per wrap. */
static void wrap(void **state)
{
	struct vm *vm = *state;

	set(vm, TIMER(3), INTR | ROUTE(20u));
	set(vm, COMPARE(3), 50);
	set(vm, COUNTER, 100);
	set(vm, CONFIG, 1);
	vmm_clock_advance(vm->clock, ((1ull << 32) - 51) * TICK);
	assert_int_equal(take(vm), -1);
	vmm_clock_advance(vm->clock, TICK);
	assert_int_equal(take(vm), 0x54);
	vmm_clock_advance(vm->clock, (1ull << 32) * TICK - 1);
	assert_int_equal(take(vm), -1);
	vmm_clock_advance(vm->clock, 1);
	assert_int_equal(take(vm), 0x54);
}

/* As Linux sets it up: value-set, comparator, then the period. */
static void periodic(void **state)
{
	struct vm *vm = *state;
	unsigned fired = 0;

	set(vm, TIMER(0), INTR | PERIODIC | SETVAL | ROUTE(21u));
	set(vm, COMPARE(0), 500);
	assert_true(hpet(vm, TIMER(0)) == (0x00f0000000008010 | INTR | PERIODIC | ROUTE(21u)));
	assert_true(hpet(vm, COMPARE(0)) == 500);
	set(vm, COMPARE(0), 10000);
	assert_true(hpet(vm, COMPARE(0)) == 500);
	set(vm, CONFIG, 1);
	vmm_clock_advance(vm->clock, 499 * TICK);
	assert_int_equal(take(vm), -1);
	vmm_clock_advance(vm->clock, TICK);
	assert_int_equal(take(vm), 0x55);
	assert_true(hpet(vm, COMPARE(0)) == 10500);
	for (int i = 0; i < 100000; i++) {
		vmm_clock_advance(vm->clock, 100 * US);
		if (take(vm) == 0x55)
			fired++;
	}
	assert_int_equal(fired, 10000);
	/* A jump of the counter past many periods costs no time and no burst. */
	set(vm, COUNTER, hpet(vm, COUNTER) + 0x40000000);
	vmm_clock_advance(vm->clock, 10000 * TICK);
	assert_int_equal(take(vm), 0x55);
	assert_int_equal(take(vm), -1);
	assert_in_range(hpet(vm, COMPARE(0)) - hpet(vm, COUNTER), 1, 10000);
}

/* A period of one tick interrupts no more often than every 20 us. */
static void bounded_rate(void **state)
{
	struct vm *vm = *state;

	set(vm, TIMER(0), INTR | PERIODIC | SETVAL | ROUTE(21u));
	set(vm, COMPARE(0), 1);
	set(vm, CONFIG, 1);
	vm->notified[0] = 0;
	vmm_clock_advance(vm->clock, 10 * MS);
	assert_in_range(vm->notified[0], 450, 502);
	set(vm, COMPARE(0), 0); /* no rate: a one-shot that has passed */
	vm->notified[0] = 0;
	vmm_clock_advance(vm->clock, S);
	assert_in_range(vm->notified[0], 0, 1);
}

static void level(void **state)
{
	struct vm *vm = *state;

	ioapic_set_pin(vm, 20, 0x8054);
	set(vm, TIMER(2), INTR | LEVEL | PERIODIC | SETVAL | ROUTE(20u));
	set(vm, COMPARE(2), 10000);
	set(vm, CONFIG, 1);
	vmm_clock_advance(vm->clock, 5 * MS);
	assert_true(hpet(vm, STATUS) == 4);
	assert_int_equal(lapic_take(vm, 0), 0x54);
	lapic_end(vm, 0);
	assert_int_equal(lapic_take(vm, 0), 0x54); /* the pin is still held */
	set(vm, STATUS, 0xfb);
	assert_true(hpet(vm, STATUS) == 4);
	set(vm, STATUS, 4);
	assert_true(hpet(vm, STATUS) == 0);
	lapic_end(vm, 0);
	assert_int_equal(lapic_take(vm, 0), -1);
	/* Each of these lets go of the pin. */
	static const uint32_t configs[] = {INTR | PERIODIC | ROUTE(20u),
		LEVEL | PERIODIC | ROUTE(20u), INTR | LEVEL | PERIODIC | ROUTE(21u),
		INTR | LEVEL | PERIODIC | FSB_EN | ROUTE(20u)};
	for (size_t i = 0; i < sizeof(configs) / sizeof(configs[0]); i++) {
		set(vm, TIMER(2), INTR | LEVEL | PERIODIC | ROUTE(20u));
		vmm_clock_advance(vm->clock, MS);
		assert_true(hpet(vm, STATUS) == 4);
		set(vm, TIMER(2), configs[i]);
		assert_true(hpet(vm, STATUS) == 0);
		assert_int_equal(lapic_take(vm, 0), 0x54);
		lapic_end(vm, 0);
		assert_int_equal(lapic_take(vm, 0), -1);
	}
}

static void fsb(void **state)
{
	struct vm *vm = *state;

	set(vm, TIMER(4), INTR | FSB_EN | ROUTE(20u));
	set(vm, FSB(4), 0xfee0000000000077);
	set(vm, COMPARE(4), 1000);
	set(vm, CONFIG, 1);
	vmm_clock_advance(vm->clock, MS);
	assert_int_equal(take(vm), 0x77);
	assert_int_equal(take(vm), -1);
}

static void legacy(void **state)
{
	struct vm *vm = *state;

	pic_init(vm);
	set(vm, TIMER(0), INTR | LEVEL | FSB_EN | ROUTE(20u));
	set(vm, TIMER(1), INTR);
	set(vm, COMPARE(0), 1000);
	set(vm, COMPARE(1), 2000);
	set(vm, CONFIG, 3);
	vmm_clock_advance(vm->clock, 1000 * TICK);
	assert_int_equal(take(vm), 0x42);
	assert_int_equal(port_in(vm, vatpic_master_handler, 0x20), 0x01);
	vmm_clock_advance(vm->clock, 1000 * TICK);
	assert_int_equal(take(vm), 0x48);
	assert_int_equal(port_in(vm, vatpic_slave_handler, 0xa0), 0x01);
	assert_true(hpet(vm, STATUS) == 0);
}

/* What is due when the counter is stopped fires; what is not, does not, also later. */
static void stop(void **state)
{
	struct vm *vm = *state;

	set(vm, TIMER(0), INTR | ROUTE(20u));
	set(vm, COMPARE(0), 1000);
	set(vm, CONFIG, 1);
	vmm_clock_advance(vm->clock, 999 * TICK);
	set(vm, CONFIG, 0);
	vmm_clock_advance(vm->clock, S);
	assert_int_equal(take(vm), -1);
	set(vm, CONFIG, 1);
	vmm_clock_advance(vm->clock, TICK);
	assert_int_equal(take(vm), 0x54);
	/* A match that is due this very instant: the comparator is set to the counter itself. */
	vmm_clock_advance(vm->clock, 5 * TICK);
	set(vm, COMPARE(0), hpet(vm, COUNTER));
	set(vm, CONFIG, 0);
	assert_int_equal(take(vm), 0x54);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, fake_vm_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reset_values),
		TEST(accesses),
		TEST(counter),
		TEST(timer_config),
		TEST(one_shot),
		TEST(wrap),
		TEST(periodic),
		TEST(bounded_rate),
		TEST(level),
		TEST(fsb),
		TEST(legacy),
		TEST(stop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
