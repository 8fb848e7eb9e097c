/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "test/vmm/chip/fake_vm.h"

#define HZ 1193182u

/* A time at which exactly n ticks have passed since 0. */
static uint64_t ticks(uint64_t n)
{
	return (n * S + HZ - 1) / HZ;
}

static void advance_to_tick(struct vm *vm, uint64_t start_ns, uint64_t n)
{
	vmm_clock_advance(vm->clock, start_ns + ticks(n) - vmm_clock_now(vm->clock));
}

static void out(struct vm *vm, int port, uint8_t val)
{
	port_out(vm, port == 0x61 ? vatpit_nmisc_handler : vatpit_handler, port, val);
}

static uint8_t in(struct vm *vm, int port)
{
	return port_in(vm, port == 0x61 ? vatpit_nmisc_handler : vatpit_handler, port);
}

static void program(struct vm *vm, uint8_t control, uint16_t count)
{
	out(vm, 0x43, control);
	out(vm, 0x40 + (control >> 6), (uint8_t)count);
	out(vm, 0x40 + (control >> 6), (uint8_t)(count >> 8));
}

static uint16_t read_word(struct vm *vm, int counter)
{
	uint8_t low = in(vm, 0x40 + counter);

	return (uint16_t)(in(vm, 0x40 + counter) << 8 | low);
}

static uint8_t status(struct vm *vm, int counter)
{
	out(vm, 0x43, (uint8_t)(0xe0 | 2 << counter));
	return in(vm, 0x40 + counter);
}

/* PIT interrupts, which arrive on I/O APIC pin 2 as vector 0x30 and on the PIC as line 0. */
static int setup(void **state)
{
	struct vm *vm;

	fake_vm_setup(state);
	vm = *state;
	lapic_enable(vm, 0);
	ioapic_set_pin(vm, 2, 0x30);
	pic_init(vm);
	vmm_clock_advance(vm->clock, 12345678);
	return 0;
}

static unsigned interrupts(struct vm *vm, uint64_t ns, uint64_t step)
{
	unsigned n = 0;

	for (uint64_t t = 0; t < ns; t += step) {
		vmm_clock_advance(vm->clock, step);
		if (lapic_take(vm, 0) != 0x30)
			continue;
		lapic_end(vm, 0);
		n++;
	}
	return n;
}

static bool due(struct vm *vm)
{
	bool taken = lapic_take(vm, 0) == 0x30;

	if (taken)
		lapic_end(vm, 0);
	return taken;
}

/* The 2014 code made mode 3 fire once. */
static void rate_and_square(void **state)
{
	struct vm *vm = *state;
	static const uint8_t controls[] = {0x34, 0x36, 0x3c, 0x3e}; /* 2, 3 and their aliases */

	for (int i = 0; i < 4; i++) {
		program(vm, controls[i], HZ / 1000);
		/* 10 s at 1193 ticks per interrupt */
		assert_int_equal(interrupts(vm, 10 * S, 100 * US), 10ull * HZ / 1193);
	}
	vatpic_pulse_irq(vm, 0);
	assert_int_equal(port_in(vm, vatpic_master_handler, 0x20) & 1, 1);
}

/* To the tick, in every phase. */
static void exact_period(void **state)
{
	struct vm *vm = *state;
	uint64_t start = vmm_clock_now(vm->clock);

	program(vm, 0x34, 100);
	for (uint64_t k = 1; k < 1000; k++) {
		advance_to_tick(vm, start, k * 100);
		vmm_clock_advance(vm->clock, 0);
		assert_true(due(vm));
		vmm_clock_advance(vm->clock, ticks(1) / 2);
		assert_false(due(vm));
	}
}

/* The 2014 code started nothing for 0, which is 65536. */
static void zero_is_65536(void **state)
{
	struct vm *vm = *state;
	uint64_t start = vmm_clock_now(vm->clock);

	program(vm, 0x34, 0);
	assert_int_equal(read_word(vm, 0), 0);
	advance_to_tick(vm, start, 1);
	assert_int_equal(read_word(vm, 0), 0xffff);
	advance_to_tick(vm, start, 65535);
	assert_int_equal(read_word(vm, 0), 1);
	assert_false(due(vm));
	advance_to_tick(vm, start, 65536);
	assert_true(due(vm));
	/* BCD: 10000. */
	start = vmm_clock_now(vm->clock);
	program(vm, 0x35, 0);
	advance_to_tick(vm, start, 1);
	assert_int_equal(read_word(vm, 0), 0x9999);
	advance_to_tick(vm, start, 9999);
	assert_int_equal(read_word(vm, 0), 0x0001);
	assert_false(due(vm));
	advance_to_tick(vm, start, 10000);
	assert_true(due(vm));
}

static void bcd(void **state)
{
	struct vm *vm = *state;
	uint64_t start = vmm_clock_now(vm->clock);

	program(vm, 0x31, 0x1234);
	assert_int_equal(read_word(vm, 0), 0x1234);
	advance_to_tick(vm, start, 35);
	assert_int_equal(read_word(vm, 0), 0x1199);
	advance_to_tick(vm, start, 1233);
	assert_int_equal(read_word(vm, 0), 0x0001);
	assert_false(due(vm));
	advance_to_tick(vm, start, 1234);
	assert_true(due(vm));
	advance_to_tick(vm, start, 1235);
	assert_int_equal(read_word(vm, 0), 0x9999);
}

static void terminal_count(void **state)
{
	struct vm *vm = *state;
	uint64_t start;

	out(vm, 0x43, 0x30);
	assert_int_equal(status(vm, 0), 0x70); /* OUT low, null count */
	start = vmm_clock_now(vm->clock);
	out(vm, 0x40, 0xe8);
	out(vm, 0x40, 0x03);
	assert_int_equal(status(vm, 0), 0x30);
	advance_to_tick(vm, start, 999);
	assert_int_equal(status(vm, 0), 0x30);
	assert_int_equal(read_word(vm, 0), 1);
	assert_false(due(vm));
	advance_to_tick(vm, start, 1000);
	assert_int_equal(status(vm, 0), 0xb0);
	assert_true(due(vm));
	advance_to_tick(vm, start, 1001);
	assert_int_equal(read_word(vm, 0), 0xffff);
	assert_int_equal(interrupts(vm, S, MS), 0); /* once */
	/* The first byte of a new count stops it and lowers OUT. */
	out(vm, 0x40, 0x10);
	assert_int_equal(status(vm, 0) & 0x80, 0);
	assert_int_equal(interrupts(vm, S, MS), 0);
	out(vm, 0x40, 0x00);
	assert_int_equal(interrupts(vm, MS, 10 * US), 1);
}

static void software_strobe(void **state)
{
	struct vm *vm = *state;
	uint64_t start = vmm_clock_now(vm->clock);

	program(vm, 0x38, 1000);
	assert_int_equal(status(vm, 0), 0xb8);
	advance_to_tick(vm, start, 1000);
	assert_int_equal(status(vm, 0), 0x38);
	assert_true(due(vm));
	advance_to_tick(vm, start, 1001);
	assert_int_equal(status(vm, 0), 0xb8);
	assert_int_equal(interrupts(vm, S, MS), 0);
}

static void square_wave(void **state)
{
	struct vm *vm = *state;
	uint64_t start;

	for (uint16_t n = 10; n <= 11; n++) {
		start = vmm_clock_now(vm->clock);
		program(vm, 0x36, n);
		for (unsigned t = 0; t < 100; t++) {
			unsigned phase = t % n, high = (n + 1u) / 2;

			advance_to_tick(vm, start, t);
			assert_int_equal(status(vm, 0) >> 7, phase < high);
			assert_int_equal(read_word(vm, 0),
				(n & ~1u) - 2 * (phase < high ? phase : phase - high));
		}
	}
}

static void rate_output(void **state)
{
	struct vm *vm = *state;
	uint64_t start = vmm_clock_now(vm->clock);

	program(vm, 0x34, 5);
	for (unsigned t = 0; t < 20; t++) {
		advance_to_tick(vm, start, t);
		assert_int_equal(status(vm, 0) >> 7, t % 5 != 4);
		assert_int_equal(read_word(vm, 0), 5 - t % 5);
	}
}

/* The 2014 code took LSB-only and MSB-only access for errors. */
static void byte_access(void **state)
{
	struct vm *vm = *state;
	uint64_t start = vmm_clock_now(vm->clock);

	out(vm, 0x43, 0x14);
	out(vm, 0x40, 0x80);
	assert_int_equal(status(vm, 0), 0x94);
	assert_int_equal(in(vm, 0x40), 0x80);
	advance_to_tick(vm, start, 1);
	assert_int_equal(in(vm, 0x40), 0x7f);
	assert_int_equal(in(vm, 0x40), 0x7f);
	advance_to_tick(vm, start, 128);
	assert_true(due(vm));
	start = vmm_clock_now(vm->clock);
	out(vm, 0x43, 0x24);
	out(vm, 0x40, 0x02);
	assert_int_equal(in(vm, 0x40), 2);
	advance_to_tick(vm, start, 1);
	assert_int_equal(in(vm, 0x40), 1);
	out(vm, 0x43, 0x00); /* latches one byte */
	advance_to_tick(vm, start, 0x101);
	assert_int_equal(in(vm, 0x40), 1);
	assert_int_equal(in(vm, 0x40), 0);
	advance_to_tick(vm, start, 0x200);
	assert_true(due(vm));
}

static void latches(void **state)
{
	struct vm *vm = *state;
	uint64_t start = vmm_clock_now(vm->clock);

	program(vm, 0x34, 0x1000);
	program(vm, 0x74, 0x2000);
	out(vm, 0x43, 0x00);
	advance_to_tick(vm, start, 0x10);
	out(vm, 0x43, 0x00); /* the first latch stands */
	assert_int_equal(read_word(vm, 0), 0x1000);
	assert_int_equal(read_word(vm, 0), 0x0ff0);
	/* Half read: the latch keeps the other half. */
	out(vm, 0x43, 0x00);
	assert_int_equal(in(vm, 0x40), 0xf0);
	advance_to_tick(vm, start, 0x800);
	assert_int_equal(in(vm, 0x40), 0x0f);
	assert_int_equal(read_word(vm, 0), 0x0800);
	/* Read-back of two counters, count and status: status comes first. */
	out(vm, 0x43, 0xc6);
	advance_to_tick(vm, start, 0x900);
	assert_int_equal(in(vm, 0x40), 0xb4);
	assert_int_equal(read_word(vm, 0), 0x0800);
	assert_int_equal(in(vm, 0x41), 0xb4);
	assert_int_equal(read_word(vm, 1), 0x1800);
	assert_int_equal(read_word(vm, 1), 0x1700);
	/* Count only. */
	out(vm, 0x43, 0xd2);
	assert_int_equal(read_word(vm, 0), 0x0700);
}

/* A control word stops interrupts until a count comes; unlatched reads alternate. */
static void control_word(void **state)
{
	struct vm *vm = *state;

	program(vm, 0x34, 1000);
	assert_in_range(interrupts(vm, 10 * MS, 100 * US), 11, 12);
	out(vm, 0x43, 0x34);
	assert_int_equal(status(vm, 0), 0xf4);
	assert_int_equal(interrupts(vm, S, MS), 0);
	out(vm, 0x40, 0xe8);
	assert_int_equal(interrupts(vm, S, MS), 0);
	out(vm, 0x40, 0x03);
	assert_in_range(interrupts(vm, 10 * MS, 100 * US), 11, 12);
}

static void never_programmed(void **state)
{
	struct vm *vm = *state;
	uint16_t first = read_word(vm, 0), second;

	assert_in_range(first, 1, HZ / 100);
	vmm_clock_advance(vm->clock, MS);
	second = read_word(vm, 0);
	assert_in_range((first + HZ / 100 - second) % (HZ / 100), 1192, 1194);
	assert_int_equal(interrupts(vm, S, MS), 0);
}

/* As Linux measures its TSC: counter 2 in mode 0, gated, until bit 5 of port 0x61 rises. */
static void speaker_counter(void **state)
{
	struct vm *vm = *state;
	uint64_t start;

	assert_int_equal(in(vm, 0x61) & 0x0f, 0);
	out(vm, 0x61, 0x01);
	assert_int_equal(in(vm, 0x61) & 0x0f, 1);
	start = vmm_clock_now(vm->clock);
	program(vm, 0xb0, 11931);
	assert_int_equal(in(vm, 0x61) & 0x20, 0);
	advance_to_tick(vm, start, 11930);
	assert_int_equal(in(vm, 0x61) & 0x20, 0);
	advance_to_tick(vm, start, 11931);
	assert_int_equal(in(vm, 0x61) & 0x20, 0x20);

	/* The gate holds the count in mode 0. */
	start = vmm_clock_now(vm->clock);
	program(vm, 0xb0, 1000);
	advance_to_tick(vm, start, 400);
	out(vm, 0x61, 0x02);
	vmm_clock_advance(vm->clock, S);
	assert_int_equal(read_word(vm, 2), 600);
	assert_int_equal(in(vm, 0x61) & 0x23, 0x02);
	out(vm, 0x61, 0xff);
	assert_int_equal(in(vm, 0x61) & 0xcf, 0x0f);
	vmm_clock_advance(vm->clock, ticks(599));
	assert_int_equal(in(vm, 0x61) & 0x20, 0);
	vmm_clock_advance(vm->clock, ticks(2));
	assert_int_equal(in(vm, 0x61) & 0x20, 0x20);
}

static void gate_restarts(void **state)
{
	struct vm *vm = *state;

	/* Square wave: a low gate holds OUT high, the rise starts anew. */
	program(vm, 0xb6, 1000);
	assert_int_equal(in(vm, 0x61) & 0x20, 0x20);
	vmm_clock_advance(vm->clock, ticks(700));
	assert_int_equal(in(vm, 0x61) & 0x20, 0x20); /* the gate is low: no wave */
	out(vm, 0x61, 1);
	vmm_clock_advance(vm->clock, ticks(499));
	assert_int_equal(in(vm, 0x61) & 0x20, 0x20);
	vmm_clock_advance(vm->clock, ticks(2));
	assert_int_equal(in(vm, 0x61) & 0x20, 0);
	out(vm, 0x61, 0);
	assert_int_equal(in(vm, 0x61) & 0x20, 0x20);
	out(vm, 0x61, 1);
	assert_int_equal(read_word(vm, 2), 1000);
}

static void one_shot(void **state)
{
	struct vm *vm = *state;

	/* Mode 1: waits for the gate, each rise starts over. */
	program(vm, 0xb2, 1000);
	assert_int_equal(status(vm, 2), 0xf2);
	vmm_clock_advance(vm->clock, S);
	assert_int_equal(in(vm, 0x61) & 0x20, 0x20);
	out(vm, 0x61, 1);
	assert_int_equal(status(vm, 2), 0x32);
	vmm_clock_advance(vm->clock, ticks(600));
	assert_int_equal(in(vm, 0x61) & 0x20, 0);
	out(vm, 0x61, 0); /* the fall changes nothing */
	vmm_clock_advance(vm->clock, ticks(100));
	assert_int_equal(read_word(vm, 2), 300);
	out(vm, 0x61, 1);
	vmm_clock_advance(vm->clock, ticks(999));
	assert_int_equal(in(vm, 0x61) & 0x20, 0);
	vmm_clock_advance(vm->clock, ticks(1));
	assert_int_equal(in(vm, 0x61) & 0x20, 0x20);

	/* Mode 5: OUT low for one tick at the end. */
	program(vm, 0xba, 10);
	out(vm, 0x61, 0);
	out(vm, 0x61, 1);
	assert_int_equal(status(vm, 2), 0xba);
	vmm_clock_advance(vm->clock, ticks(10));
	assert_int_equal(status(vm, 2), 0x3a);
	vmm_clock_advance(vm->clock, ticks(1));
	assert_int_equal(status(vm, 2), 0xba);

	/* On counter 0 nothing triggers. */
	program(vm, 0x32, 10);
	assert_int_equal(interrupts(vm, S, MS), 0);
}

static void refresh_toggles(void **state)
{
	struct vm *vm = *state;
	unsigned toggles = 0;
	uint8_t last = in(vm, 0x61) & 0x10;

	for (int i = 0; i < 1000; i++) {
		vmm_clock_advance(vm->clock, 15085);
		if ((in(vm, 0x61) & 0x10) != last)
			toggles++;
		last ^= 0x10;
		assert_int_equal(in(vm, 0x61) & 0x10, last);
	}
	assert_int_equal(toggles, 1000);
}

/* A period of one tick interrupts no more often than every 20 us. */
static void bounded_rate(void **state)
{
	struct vm *vm = *state;

	program(vm, 0x34, 1);
	vm->notified[0] = 0;
	vmm_clock_advance(vm->clock, 10 * MS);
	assert_in_range(vm->notified[0], 450, 502);
}

/* With the HPET's legacy routing, line 0 is its own. */
static void hpet_takes_over(void **state)
{
	struct vm *vm = *state;

	program(vm, 0x34, 1193);
	vhpet_mmio_write(vm, 0, PC_HPET_BASE + 0x10, 3, 8, NULL);
	assert_int_equal(interrupts(vm, S, MS), 0);
	vhpet_mmio_write(vm, 0, PC_HPET_BASE + 0x10, 1, 8, NULL);
	assert_in_range(interrupts(vm, S, 100 * US), 999, 1001);
}

static void odd_accesses(void **state)
{
	struct vm *vm = *state;
	uint32_t val = 0;

	program(vm, 0x34, 0x1234);
	assert_int_equal(in(vm, 0x43), 0xff);
	assert_int_equal(vatpit_handler(vm, 0, true, 0x40, 2, &val), 0);
	assert_int_equal(val, 0xffff);
	val = 0;
	assert_int_equal(vatpit_nmisc_handler(vm, 0, true, 0x61, 4, &val), 0);
	assert_int_equal(val, UINT32_MAX);
	val = 0x30;
	assert_int_equal(vatpit_handler(vm, 0, false, 0x43, 2, &val), 0);
	assert_int_equal(status(vm, 0), 0xb4);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, fake_vm_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(rate_and_square),
		TEST(exact_period),
		TEST(zero_is_65536),
		TEST(bcd),
		TEST(terminal_count),
		TEST(software_strobe),
		TEST(square_wave),
		TEST(rate_output),
		TEST(byte_access),
		TEST(latches),
		TEST(control_word),
		TEST(never_programmed),
		TEST(speaker_counter),
		TEST(gate_restarts),
		TEST(one_shot),
		TEST(refresh_toggles),
		TEST(bounded_rate),
		TEST(hpet_takes_over),
		TEST(odd_accesses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
