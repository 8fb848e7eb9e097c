/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "test/vmm/chip/fake_vm.h"

#define EPOCH 1388534400 /* Wednesday, 2014-01-01T00:00:00Z */

#define SET	0x80
#define PIE	0x40
#define AIE	0x20
#define UIE	0x10
#define BINARY	0x04
#define HOURS24 0x02

static uint8_t in(struct vm *vm, uint8_t reg)
{
	port_out(vm, vrtc_addr_handler, 0x70, reg);
	return port_in(vm, vrtc_data_handler, 0x71);
}

static void out(struct vm *vm, uint8_t reg, uint8_t val)
{
	port_out(vm, vrtc_addr_handler, 0x70, reg);
	port_out(vm, vrtc_data_handler, 0x71, val);
}

/* Seconds, minutes, hours, weekday, day, month, year, century. */
static const uint8_t date_regs[8] = {0, 2, 4, 6, 7, 8, 9, 0x32};

static void assert_date(struct vm *vm, const uint8_t date[8])
{
	for (int i = 0; i < 8; i++)
		assert_int_equal(in(vm, date_regs[i]), date[i]);
}

static void write_date(struct vm *vm, const uint8_t date[8])
{
	out(vm, 0x0b, in(vm, 0x0b) | SET);
	for (int i = 0; i < 8; i++)
		out(vm, date_regs[i], date[i]);
	out(vm, 0x0b, in(vm, 0x0b) & ~SET);
}

static void reset_values(void **state)
{
	struct vm *vm = *state;

	assert_date(vm, (uint8_t[]){0x00, 0x00, 0x00, 0x04, 0x01, 0x01, 0x14, 0x20});
	assert_int_equal(in(vm, 0x0a), 0x26);
	assert_int_equal(in(vm, 0x0b), HOURS24);
	assert_int_equal(in(vm, 0x0c), 0);
	assert_int_equal(in(vm, 0x0d), 0x80);
	assert_int_equal(in(vm, 0x8d), 0x80); /* bit 7 of the index is the NMI mask */
	out(vm, 0x0d, 0);
	out(vm, 0x0c, 0xff);
	assert_int_equal(in(vm, 0x0d), 0x80);
	assert_int_equal(in(vm, 0x0c), 0);
	assert_true(vrtc_get_time(vm) == EPOCH);
}

/* All four formats, at instants that matter. */
static void formats(void **state)
{
	struct vm *vm = *state;
	static const struct {
		int64_t secs;
		uint8_t format;
		uint8_t date[8];
	} table[] = {
		{EPOCH + 86399, HOURS24, {0x59, 0x59, 0x23, 0x04, 0x01, 0x01, 0x14, 0x20}},
		{EPOCH + 86399, BINARY | HOURS24, {59, 59, 23, 4, 1, 1, 14, 20}},
		{EPOCH + 86399, 0, {0x59, 0x59, 0x91, 0x04, 0x01, 0x01, 0x14, 0x20}},
		{EPOCH + 86399, BINARY, {59, 59, 0x8b, 4, 1, 1, 14, 20}},
		{EPOCH, 0, {0x00, 0x00, 0x12, 0x04, 0x01, 0x01, 0x14, 0x20}},
		{EPOCH + 43200, 0, {0x00, 0x00, 0x92, 0x04, 0x01, 0x01, 0x14, 0x20}},
		{EPOCH + 43200, BINARY, {0, 0, 0x8c, 4, 1, 1, 14, 20}},
		{951782400, HOURS24, {0x00, 0x00, 0x00, 0x03, 0x29, 0x02, 0x00, 0x20}},
		{0, HOURS24, {0x00, 0x00, 0x00, 0x05, 0x01, 0x01, 0x70, 0x19}},
		{253402300799, HOURS24, {0x59, 0x59, 0x23, 0x06, 0x31, 0x12, 0x99, 0x99}},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		assert_int_equal(vrtc_set_time(vm, table[i].secs), 0);
		out(vm, 0x0b, table[i].format);
		assert_date(vm, table[i].date);
		vrtc_set_time(vm, EPOCH + 5);
		write_date(vm, table[i].date);
		assert_true(vrtc_get_time(vm) == table[i].secs);
	}
	assert_int_equal(vrtc_set_time(vm, -1), EINVAL);
	assert_int_equal(vrtc_set_time(vm, 253402300800), EINVAL);
}

static void time_passes(void **state)
{
	struct vm *vm = *state;

	vmm_clock_advance(vm->clock, S - 1);
	assert_int_equal(in(vm, 0), 0);
	vmm_clock_advance(vm->clock, 1);
	assert_int_equal(in(vm, 0), 1);
	vmm_clock_advance(vm->clock, 364 * 86400 * S + 86398 * S);
	assert_date(vm, (uint8_t[]){0x59, 0x59, 0x23, 0x04, 0x31, 0x12, 0x14, 0x20});
	vmm_clock_advance(vm->clock, S);
	assert_date(vm, (uint8_t[]){0x00, 0x00, 0x00, 0x05, 0x01, 0x01, 0x15, 0x20});
}

static void update_in_progress(void **state)
{
	struct vm *vm = *state;

	vmm_clock_advance(vm->clock, S - 2228001);
	assert_int_equal(in(vm, 0x0a), 0x26);
	vmm_clock_advance(vm->clock, 1);
	assert_int_equal(in(vm, 0x0a), 0xa6);
	out(vm, 0x0a, 0xa6); /* read-only */
	vmm_clock_advance(vm->clock, 2228000);
	assert_int_equal(in(vm, 0x0a), 0x26);
	vmm_clock_advance(vm->clock, S - 1);
	assert_int_equal(in(vm, 0x0a), 0xa6);
	out(vm, 0x0b, SET | HOURS24);
	assert_int_equal(in(vm, 0x0a), 0x26);
}

static void set_stops(void **state)
{
	struct vm *vm = *state;

	out(vm, 0x0b, SET | UIE | HOURS24);
	assert_int_equal(in(vm, 0x0b), SET | HOURS24);
	vmm_clock_advance(vm->clock, 10 * S);
	assert_int_equal(in(vm, 0), 0);
	assert_int_equal(in(vm, 0x0c) & 0x10, 0);
	out(vm, 0x00, 0x42);
	assert_true(vrtc_get_time(vm) == EPOCH);
	out(vm, 0x0b, HOURS24);
	assert_true(vrtc_get_time(vm) == EPOCH + 42);
	vmm_clock_advance(vm->clock, S);
	assert_int_equal(in(vm, 0), 0x43);
	/* Into the running clock; its fraction stays. */
	vmm_clock_advance(vm->clock, S / 2);
	out(vm, 0x04, 0x15);
	assert_true(vrtc_get_time(vm) == EPOCH + 43 + 15 * 3600);
	vmm_clock_advance(vm->clock, S / 2);
	assert_int_equal(in(vm, 0), 0x44);
}

/* As Linux sets the time: half a second after the divider's reset comes the next second. */
static void divider_reset(void **state)
{
	struct vm *vm = *state;

	out(vm, 0x0b, SET | HOURS24);
	out(vm, 0x0a, 0x76);
	out(vm, 0x00, 0x30);
	out(vm, 0x0b, HOURS24);
	vmm_clock_advance(vm->clock, 10 * S);
	assert_int_equal(in(vm, 0), 0x30);
	out(vm, 0x0a, 0x26);
	vmm_clock_advance(vm->clock, S / 2 - 1);
	assert_int_equal(in(vm, 0), 0x30);
	vmm_clock_advance(vm->clock, 1);
	assert_int_equal(in(vm, 0), 0x31);
}

/* A date that does not exist stands still as written until it is one. */
static void impossible_dates(void **state)
{
	struct vm *vm = *state;
	static const struct {
		uint8_t reg, bad, good;
	} table[] = {
		{0x00, 0x60, 0x10},
		{0x02, 0x60, 0x10},
		{0x04, 0x24, 0x10},
		{0x07, 0x00, 0x10},
		{0x07, 0x32, 0x10},
		{0x08, 0x00, 0x01},
		{0x08, 0x13, 0x01},
		{0x00, 0x0a, 0x10},
		{0x09, 0xa0, 0x14},
		{0x32, 0x1f, 0x20},
		{0x32, 0x18, 0x20},
		{0x00, 0xff, 0x10},
	};

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		out(vm, table[i].reg, table[i].bad);
		assert_true(vrtc_get_time(vm) == -1);
		vmm_clock_advance(vm->clock, 3 * S);
		assert_int_equal(in(vm, table[i].reg), table[i].bad);
		out(vm, table[i].reg, table[i].good);
		assert_true(vrtc_get_time(vm) > 0);
		assert_int_equal(in(vm, table[i].reg), table[i].good);
	}
	write_date(vm, (uint8_t[]){0, 0, 0, 1, 0x29, 0x02, 0x15, 0x20});
	assert_true(vrtc_get_time(vm) == -1);
	out(vm, 0x0b, 0); /* 12 hours: 0 and 13 are none */
	write_date(vm, (uint8_t[]){0, 0, 0x00, 1, 0x01, 0x01, 0x15, 0x20});
	assert_true(vrtc_get_time(vm) == -1);
	write_date(vm, (uint8_t[]){0, 0, 0x93, 1, 0x01, 0x01, 0x15, 0x20});
	assert_true(vrtc_get_time(vm) == -1);
	vrtc_set_time(vm, EPOCH);
	assert_true(vrtc_get_time(vm) == EPOCH);
}

/* IRQ 8 as vector 0x48 of I/O APIC pin 8, and on the PIC. */
static void irq_setup(struct vm *vm)
{
	lapic_enable(vm, 0);
	ioapic_set_pin(vm, 8, 0x48);
	pic_init(vm);
}

static bool due(struct vm *vm)
{
	bool taken = lapic_take(vm, 0) == 0x48;

	if (taken)
		lapic_end(vm, 0);
	return taken;
}

static void update_interrupt(void **state)
{
	struct vm *vm = *state;

	irq_setup(vm);
	vmm_clock_advance(vm->clock, S);
	assert_int_equal(in(vm, 0x0c), 0x50); /* flags come without being enabled */
	out(vm, 0x0b, UIE | HOURS24);
	vmm_clock_advance(vm->clock, S - 1);
	assert_false(due(vm));
	vmm_clock_advance(vm->clock, 1);
	assert_true(due(vm));
	assert_int_equal(port_in(vm, vatpic_slave_handler, 0xa0), 1);
	vmm_clock_advance(vm->clock, 10 * S); /* nobody read register C */
	assert_false(due(vm));
	assert_int_equal(in(vm, 0x0c) & 0x90, 0x90);
	assert_int_equal(in(vm, 0x0c), 0);
	vmm_clock_advance(vm->clock, S);
	assert_true(due(vm));
	/* Enabling what is flagged already interrupts at once. */
	out(vm, 0x0b, HOURS24);
	in(vm, 0x0c);
	vmm_clock_advance(vm->clock, S);
	assert_false(due(vm));
	out(vm, 0x0b, UIE | HOURS24);
	assert_int_equal(in(vm, 0x0c) & 0x90, 0x90);
	assert_true(due(vm));
}

static void periodic_interrupt(void **state)
{
	struct vm *vm = *state;
	static const unsigned hz[16] = {
		0, 256, 128, 8192, 4096, 2048, 1024, 512, 256, 128, 64, 32, 16, 8, 4, 2};

	irq_setup(vm);
	for (unsigned rate = 0; rate < 16; rate++) {
		unsigned fired = 0;

		out(vm, 0x0b, HOURS24);
		out(vm, 0x0a, (uint8_t)(0x20 | rate));
		in(vm, 0x0c);
		due(vm);
		out(vm, 0x0b, PIE | HOURS24);
		for (int i = 0; i < 40000; i++) {
			vmm_clock_advance(vm->clock, 25 * US);
			if (!due(vm))
				continue;
			fired++;
			assert_int_equal(in(vm, 0x0c) & 0xc0, 0xc0);
		}
		assert_int_equal(fired, hz[rate]);
	}
	/* Polled. */
	out(vm, 0x0b, HOURS24);
	out(vm, 0x0a, 0x2f);
	in(vm, 0x0c);
	vmm_clock_advance(vm->clock, S / 2 - 1);
	assert_int_equal(in(vm, 0x0c) & 0x40, 0);
	vmm_clock_advance(vm->clock, 1);
	assert_int_equal(in(vm, 0x0c) & 0xc0, 0x40);
}

static void count_rings(void *arg)
{
	++*(unsigned *)arg;
}

/* Once for each time that the interrupt comes up; also behind a reinit, where it is off. */
static void alarm_notify(void **state)
{
	struct vm *vm = *state;
	struct vrtc_state saved;
	unsigned rings = 0;

	vrtc_set_alarm_notify(vm, count_rings, &rings);
	for (int reg = 1; reg <= 5; reg += 2)
		out(vm, (uint8_t)reg, 0xff); /* each second */
	vmm_clock_advance(vm->clock, 3 * S);
	assert_int_equal(rings, 0); /* not enabled */
	assert_true(in(vm, 0x0c) & AIE);
	out(vm, 0x0b, AIE | HOURS24);
	vmm_clock_advance(vm->clock, 3 * S);
	assert_int_equal(rings, 1); /* until it is acknowledged */
	in(vm, 0x0c);
	vmm_clock_advance(vm->clock, S);
	assert_int_equal(rings, 2);
	vrtc_save(vm_rtc(vm), &saved);
	vrtc_set_alarm_notify(vm, NULL, NULL);
	in(vm, 0x0c);
	vmm_clock_advance(vm->clock, S);
	assert_int_equal(rings, 2);
	vrtc_restore(vm_rtc(vm), &saved);
	out(vm, 0x0b, AIE | HOURS24);
	vmm_clock_advance(vm->clock, S);
	assert_int_equal(rings, 3);
}

static void alarm_interrupt(void **state)
{
	struct vm *vm = *state;
	static const struct {
		uint8_t sec, min, hour;
		uint64_t after_s, next_s;
	} table[] = {
		{0x15, 0x00, 0x00, 15, 86400},
		{0x00, 0x02, 0x00, 120, 86400},
		{0x01, 0x00, 0x13, 46801, 86400},
		{0x05, 0xff, 0xff, 5, 60},
		{0x05, 0x01, 0xc0, 65, 3600},
		{0xff, 0xff, 0xff, 1, 1},
		{0x05, 0xc0, 0x00, 5, 60},
	};

	irq_setup(vm);
	out(vm, 0x0b, AIE | HOURS24);
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		out(vm, 1, 0xfe);
		out(vm, 3, 0x70); /* never */
		out(vm, 1, table[i].sec);
		out(vm, 3, table[i].min);
		out(vm, 5, table[i].hour);
		vrtc_set_time(vm, EPOCH);
		in(vm, 0x0c);
		due(vm);
		vmm_clock_advance(vm->clock, table[i].after_s * S - 1);
		assert_false(due(vm));
		vmm_clock_advance(vm->clock, 1);
		assert_true(due(vm));
		assert_int_equal(in(vm, 0x0c) & 0xb0, 0xb0);
		vmm_clock_advance(vm->clock, table[i].next_s * S - 1);
		assert_false(due(vm));
		vmm_clock_advance(vm->clock, 1);
		assert_true(due(vm));
	}
	/* Polled, after days. */
	out(vm, 0x0b, HOURS24);
	out(vm, 1, 0x30);
	out(vm, 3, 0x30);
	out(vm, 5, 0x12);
	vrtc_set_time(vm, EPOCH);
	in(vm, 0x0c);
	vmm_clock_advance(vm->clock, 3600 * S);
	assert_int_equal(in(vm, 0x0c) & 0x20, 0);
	vmm_clock_advance(vm->clock, 10 * 86400 * S);
	assert_int_equal(in(vm, 0x0c) & 0x20, 0x20);
}

static void nvram(void **state)
{
	struct vm *vm = *state;
	uint8_t value;

	for (int i = 14; i < 128; i++) {
		if (i == VRTC_CENTURY)
			continue;
		out(vm, (uint8_t)i, (uint8_t)(i ^ 0x5a));
		assert_int_equal(vrtc_nvram_read(vm, i, &value), 0);
		assert_int_equal(value, i ^ 0x5a);
		assert_int_equal(vrtc_nvram_write(vm, i, (uint8_t)i), 0);
		assert_int_equal(in(vm, (uint8_t)i), i);
	}
	assert_int_equal(vrtc_nvram_read(vm, 13, &value), EINVAL);
	assert_int_equal(vrtc_nvram_write(vm, 128, 0), EINVAL);
	assert_int_equal(vrtc_nvram_write(vm, VRTC_CENTURY, 0), EINVAL);
	assert_int_equal(vrtc_nvram_write(vm, -1, 0), EINVAL);
}

static unsigned le(struct vm *vm, uint8_t reg, int bytes)
{
	unsigned n = 0;

	for (int i = 0; i < bytes; i++)
		n |= (unsigned)in(vm, (uint8_t)(reg + i)) << 8 * i;
	return n;
}

static void memory_size(void **state)
{
	struct vm *vm = *state;
	static const struct {
		uint64_t below, above;
		unsigned ext, from_16m, from_4g;
	} table[] = {
		{1ull << 20, 0, 0, 0, 0},
		{8ull << 20, 0, 7168, 0, 0},
		{256ull << 20, 0, 65535, 3840, 0},
		{3ull << 30, 5ull << 30, 65535, 48896, 81920},
		{3ull << 30, 1ull << 44, 65535, 48896, 0xffffff},
	};
	unsigned sum;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		vrtc_set_memory(vm, table[i].below, table[i].above);
		assert_int_equal(le(vm, 0x15, 2), 640);
		assert_int_equal(le(vm, 0x17, 2), table[i].ext);
		assert_int_equal(le(vm, 0x30, 2), table[i].ext);
		assert_int_equal(le(vm, 0x34, 2), table[i].from_16m);
		assert_int_equal(le(vm, 0x5b, 3), table[i].from_4g);
		sum = 0;
		for (uint8_t reg = 0x10; reg <= 0x2d; reg++)
			sum += in(vm, reg);
		assert_int_equal(in(vm, 0x2e) << 8 | in(vm, 0x2f), sum);
	}
}

/* The battery: date and RAM go over a reset, interrupts do not. */
static void survives_reset(void **state)
{
	struct vm *vm = *state;
	struct vrtc_state saved;

	irq_setup(vm);
	vrtc_set_time(vm, 1000000000);
	out(vm, 0x40, 0xaa);
	out(vm, 0x0b, UIE | PIE | AIE | 0x08 | BINARY);
	vmm_clock_advance(vm->clock, S / 2);
	vrtc_save(vm->vrtc, &saved);
	vrtc_cleanup(vm->vrtc);
	vmm_clock_advance(vm->clock, S / 4);
	vm->vrtc = vrtc_init(vm);
	vrtc_restore(vm->vrtc, &saved);
	assert_int_equal(in(vm, 0x40), 0xaa);
	assert_int_equal(in(vm, 0x0b), BINARY);
	assert_int_equal(in(vm, 0x0c), 0);
	assert_true(vrtc_get_time(vm) == 1000000000);
	vmm_clock_advance(vm->clock, S / 4);
	assert_true(vrtc_get_time(vm) == 1000000001);
}

static void reset_lets_the_line_go(void **state)
{
	struct vm *vm = *state;

	irq_setup(vm);
	ioapic_set_pin(vm, 8, 0x8048);
	out(vm, 0x0b, UIE | HOURS24);
	vmm_clock_advance(vm->clock, S);
	assert_int_equal(lapic_take(vm, 0), 0x48);
	vrtc_reset(vm->vrtc);
	lapic_end(vm, 0);
	assert_int_equal(lapic_take(vm, 0), -1);
	assert_int_equal(in(vm, 0x0b), HOURS24);
}

static void host_time(void **state)
{
	struct vm *vm = *state;

	vmm_clock_advance(vm->clock, 100 * S);
	vrtc_set_time(vm, 5);
	vrtc_set_host_time(vm, false);
	assert_true(vrtc_get_time(vm) == EPOCH + 100);
	setenv("TZ", "XYZ-3", 1);
	tzset();
	vrtc_set_host_time(vm, true);
	assert_true(vrtc_get_time(vm) == EPOCH + 100 + 3 * 3600);
	unsetenv("TZ");
	tzset();
}

/* With the HPET's legacy routing the RTC's line is silent, its flags are not. */
static void hpet_takes_over(void **state)
{
	struct vm *vm = *state;

	irq_setup(vm);
	vhpet_mmio_write(vm, 0, PC_HPET_BASE + 0x10, 3, 8, NULL);
	out(vm, 0x0b, UIE | HOURS24);
	vmm_clock_advance(vm->clock, 2 * S);
	assert_false(due(vm));
	assert_int_equal(in(vm, 0x0c) & 0x90, 0x90);
}

static void odd_accesses(void **state)
{
	struct vm *vm = *state;
	uint32_t val = 0;

	assert_int_equal(port_in(vm, vrtc_addr_handler, 0x70), 0xff);
	out(vm, 0x40, 0x11);
	assert_int_equal(vrtc_data_handler(vm, 0, true, 0x71, 2, &val), 0);
	assert_int_equal(val, 0xffff);
	val = 0x2222;
	assert_int_equal(vrtc_data_handler(vm, 0, false, 0x71, 2, &val), 0);
	val = 0x41;
	assert_int_equal(vrtc_addr_handler(vm, 0, false, 0x70, 4, &val), 0);
	assert_int_equal(port_in(vm, vrtc_data_handler, 0x71), 0x11);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fake_vm_setup, fake_vm_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reset_values),
		TEST(formats),
		TEST(time_passes),
		TEST(update_in_progress),
		TEST(set_stops),
		TEST(divider_reset),
		TEST(impossible_dates),
		TEST(update_interrupt),
		TEST(periodic_interrupt),
		TEST(alarm_notify),
		TEST(alarm_interrupt),
		TEST(nvram),
		TEST(memory_size),
		TEST(survives_reset),
		TEST(reset_lets_the_line_go),
		TEST(host_time),
		TEST(hpet_takes_over),
		TEST(odd_accesses),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
