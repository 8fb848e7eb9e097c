/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The APIC timer in its three modes. */
#include "test/vmm/chip/fake_vm.h"

#define LVT_TIMER 0x320
#define INITIAL	  0x380
#define CURRENT	  0x390
#define DIVIDE	  0x3e0
#define PERIODIC  0x20000
#define DEADLINE  0x40000
#define MASKED	  0x10000

#define SECOND_TICKS (1u << 27)

static int setup(void **state)
{
	fake_vm_setup(state);
	lapic_enable(*state, 0);
	lapic_write(*state, 0, DIVIDE, 0xb); /* by 1 */
	return 0;
}

static void one_shot(void **state)
{
	struct vm *vm = *state;

	lapic_write(vm, 0, LVT_TIMER, 0x50);
	lapic_write(vm, 0, INITIAL, SECOND_TICKS);
	assert_int_equal(lapic_read(vm, 0, CURRENT), SECOND_TICKS);
	vmm_clock_advance(vm->clock, S / 4);
	assert_int_equal(lapic_read(vm, 0, CURRENT), SECOND_TICKS / 4 * 3);
	vmm_clock_advance(vm->clock, S / 4 * 3 - 1);
	assert_int_equal(lapic_read(vm, 0, CURRENT), 1);
	assert_int_equal(lapic_pending(vm, 0), -1);
	vmm_clock_advance(vm->clock, 1);
	assert_int_equal(lapic_read(vm, 0, CURRENT), 0);
	assert_int_equal(lapic_read(vm, 0, INITIAL), SECOND_TICKS);
	assert_int_equal(lapic_take(vm, 0), 0x50);
	lapic_end(vm, 0);
	vmm_clock_advance(vm->clock, 10 * S);
	assert_int_equal(lapic_pending(vm, 0), -1);
}

static void dividers(void **state)
{
	struct vm *vm = *state;
	static const struct {
		uint32_t encoding;
		unsigned divisor;
	} table[] = {{0x0, 2}, {0x1, 4}, {0x2, 8}, {0x3, 16}, {0x8, 32}, {0x9, 64}, {0xa, 128},
		{0xb, 1}};

	lapic_write(vm, 0, LVT_TIMER, 0x50);
	for (size_t i = 0; i < 8; i++) {
		lapic_write(vm, 0, DIVIDE, table[i].encoding);
		lapic_write(vm, 0, INITIAL, SECOND_TICKS / 128);
		vmm_clock_advance(vm->clock, S / 128 * table[i].divisor - 1);
		assert_int_equal(lapic_pending(vm, 0), -1);
		vmm_clock_advance(vm->clock, 1);
		assert_int_equal(lapic_take(vm, 0), 0x50);
		lapic_end(vm, 0);
	}
}

/* As bhyve: the countdown ends when it would have, and is counted in the new unit. */
static void divider_while_running(void **state)
{
	struct vm *vm = *state;

	lapic_write(vm, 0, LVT_TIMER, 0x50);
	lapic_write(vm, 0, INITIAL, SECOND_TICKS);
	lapic_write(vm, 0, DIVIDE, 0);
	assert_int_equal(lapic_read(vm, 0, CURRENT), SECOND_TICKS / 2);
	vmm_clock_advance(vm->clock, S);
	assert_int_equal(lapic_pending(vm, 0), 0x50);
}

static void periodic(void **state)
{
	struct vm *vm = *state;
	unsigned fired = 0;

	/* 3 ticks short of a millisecond's worth, so that periods are no whole nanoseconds. */
	lapic_write(vm, 0, LVT_TIMER, 0x50 | PERIODIC);
	lapic_write(vm, 0, INITIAL, 134217 - 3);
	for (int i = 0; i < 100000; i++) {
		vmm_clock_advance(vm->clock, 100 * US);
		if (lapic_take(vm, 0) == 0x50) {
			fired++;
			lapic_end(vm, 0);
		}
	}
	/* 10 s * 2^27 Hz / 134214 */
	assert_int_equal(fired, 10000);
	assert_in_range(lapic_read(vm, 0, CURRENT), 1, 134214);
	lapic_write(vm, 0, INITIAL, 0);
	vmm_clock_advance(vm->clock, S);
	assert_int_equal(lapic_pending(vm, 0), -1);
	assert_int_equal(lapic_read(vm, 0, CURRENT), 0);
}

static void masked(void **state)
{
	struct vm *vm = *state;

	lapic_write(vm, 0, LVT_TIMER, 0x50 | MASKED);
	lapic_write(vm, 0, INITIAL, SECOND_TICKS);
	vmm_clock_advance(vm->clock, S / 2);
	assert_int_equal(lapic_read(vm, 0, CURRENT), SECOND_TICKS / 2);
	vmm_clock_advance(vm->clock, S);
	assert_int_equal(lapic_read(vm, 0, CURRENT), 0);
	assert_int_equal(lapic_pending(vm, 0), -1);
}

/* A periodic timer of one tick interrupts no more often than every 20 us. */
static void bounded_rate(void **state)
{
	struct vm *vm = *state;

	lapic_write(vm, 0, LVT_TIMER, 0x50 | PERIODIC);
	lapic_write(vm, 0, INITIAL, 1);
	vm->notified[0] = 0;
	vmm_clock_advance(vm->clock, 10 * MS);
	assert_in_range(vm->notified[0], 450, 502);
}

/* SVR off stops; on again restarts a periodic timer, still masked. */
static void software_enable(void **state)
{
	struct vm *vm = *state;

	lapic_write(vm, 0, LVT_TIMER, 0x50 | PERIODIC);
	lapic_write(vm, 0, INITIAL, SECOND_TICKS);
	vmm_clock_advance(vm->clock, S / 2);
	lapic_write(vm, 0, 0xf0, 0xff);
	assert_int_equal(lapic_read(vm, 0, CURRENT), 0);
	vmm_clock_advance(vm->clock, S);
	lapic_enable(vm, 0);
	assert_int_equal(lapic_read(vm, 0, CURRENT), SECOND_TICKS);
	assert_int_equal(lapic_read(vm, 0, LVT_TIMER), 0x50 | PERIODIC | MASKED);
	vmm_clock_advance(vm->clock, S);
	assert_int_equal(lapic_pending(vm, 0), -1);
	lapic_write(vm, 0, LVT_TIMER, 0x50 | PERIODIC);
	vmm_clock_advance(vm->clock, S);
	assert_int_equal(lapic_pending(vm, 0), 0x50);
}

/* A TSC of 2 GHz with an offset. */
struct tsc {
	struct vm *vm;
	uint64_t offset;
};

static uint64_t read_tsc(void *arg)
{
	struct tsc *tsc = arg;

	return vmm_clock_now(tsc->vm->clock) * 2 + tsc->offset;
}

static uint64_t deadline(struct vm *vm)
{
	uint64_t value;

	assert_int_equal(vlapic_rdmsr(vm->vlapic[0], MSR_TSC_DEADLINE, &value), 0);
	return value;
}

static void set_deadline(struct vm *vm, uint64_t value)
{
	bool retu = false;

	assert_int_equal(vlapic_wrmsr(vm->vlapic[0], MSR_TSC_DEADLINE, value, &retu), 0);
}

static void tsc_deadline(void **state)
{
	struct vm *vm = *state;
	struct tsc tsc = {vm, 1000000};

	lapic_write(vm, 0, LVT_TIMER, 0x50 | DEADLINE); /* no TSC yet: no such mode */
	assert_int_equal(lapic_read(vm, 0, LVT_TIMER), 0x50);
	vlapic_set_tsc(vm->vlapic[0], 2000000000, read_tsc, &tsc);
	set_deadline(vm, 5); /* not in deadline mode: ignored */
	assert_int_equal(deadline(vm), 0);
	lapic_write(vm, 0, INITIAL, SECOND_TICKS);
	lapic_write(vm, 0, LVT_TIMER, 0x50 | DEADLINE);
	assert_int_equal(lapic_read(vm, 0, LVT_TIMER), 0x50 | DEADLINE);
	assert_int_equal(lapic_read(vm, 0, CURRENT), 0); /* disarmed by the change */
	lapic_write(vm, 0, INITIAL, 1234);		 /* ignored */
	assert_int_equal(lapic_read(vm, 0, INITIAL), 0);

	set_deadline(vm, 1000000 + 2001); /* rounds up to 1001 ns */
	assert_true(deadline(vm) == 1002001);
	vmm_clock_advance(vm->clock, 1000);
	assert_int_equal(lapic_pending(vm, 0), -1);
	vmm_clock_advance(vm->clock, 1);
	assert_int_equal(lapic_take(vm, 0), 0x50);
	lapic_end(vm, 0);
	assert_true(deadline(vm) == 0);
	vmm_clock_advance(vm->clock, 100 * S);
	assert_int_equal(lapic_pending(vm, 0), -1);

	set_deadline(vm, 1); /* long past: at once */
	assert_int_equal(lapic_take(vm, 0), 0x50);
	lapic_end(vm, 0);

	set_deadline(vm, read_tsc(&tsc) + 2000);
	set_deadline(vm, 0); /* disarms */
	vmm_clock_advance(vm->clock, S);
	assert_int_equal(lapic_pending(vm, 0), -1);

	set_deadline(vm, UINT64_MAX); /* centuries away */
	vmm_clock_advance(vm->clock, S);
	assert_int_equal(lapic_pending(vm, 0), -1);
	lapic_write(vm, 0, LVT_TIMER, 0x50);
	assert_true(deadline(vm) == 0);
}

static void tsc_moves(void **state)
{
	struct vm *vm = *state;
	struct tsc tsc = {vm, 0};

	vlapic_set_tsc(vm->vlapic[0], 2000000000, read_tsc, &tsc);
	lapic_write(vm, 0, LVT_TIMER, 0x50 | DEADLINE);
	set_deadline(vm, 4000000000);
	tsc.offset = 2000000000;
	vlapic_tsc_changed(vm->vlapic[0]);
	vmm_clock_advance(vm->clock, S - 1);
	assert_int_equal(lapic_pending(vm, 0), -1);
	vmm_clock_advance(vm->clock, 1);
	assert_int_equal(lapic_take(vm, 0), 0x50);
	lapic_end(vm, 0);

	/* Back, and nobody said so: the callback waits for the TSC to get there. */
	set_deadline(vm, read_tsc(&tsc) + 2000);
	tsc.offset -= 1000;
	vmm_clock_advance(vm->clock, 1000);
	assert_int_equal(lapic_pending(vm, 0), -1);
	vmm_clock_advance(vm->clock, 1000);
	assert_int_equal(lapic_pending(vm, 0), 0x50);
}

/* A TSC that does not move must not keep the timer thread busy. */
static uint64_t stuck_tsc(void *arg)
{
	++*(unsigned *)arg;
	return 1000;
}

static void tsc_stands_still(void **state)
{
	struct vm *vm = *state;
	unsigned calls = 0;

	vlapic_set_tsc(vm->vlapic[0], 2000000000, stuck_tsc, &calls);
	lapic_write(vm, 0, LVT_TIMER, 0x50 | DEADLINE);
	set_deadline(vm, 1001);
	vmm_clock_advance(vm->clock, MS);
	assert_int_equal(lapic_pending(vm, 0), -1);
	assert_in_range(calls, 1000, 2010);
	set_deadline(vm, 0);
}

/* Mode 3 is reserved. */
static void reserved_mode(void **state)
{
	struct vm *vm = *state;
	struct tsc tsc = {vm, 0};

	vlapic_set_tsc(vm->vlapic[0], 2000000000, read_tsc, &tsc);
	lapic_write(vm, 0, LVT_TIMER, 0x50 | DEADLINE | PERIODIC);
	assert_int_equal(lapic_read(vm, 0, LVT_TIMER), 0x50 | PERIODIC);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, fake_vm_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(one_shot),
		TEST(dividers),
		TEST(divider_while_running),
		TEST(periodic),
		TEST(masked),
		TEST(bounded_rate),
		TEST(software_enable),
		TEST(tsc_deadline),
		TEST(tsc_moves),
		TEST(tsc_stands_still),
		TEST(reserved_mode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
