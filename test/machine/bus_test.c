/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Who answers an access: the narrowest claim, in pieces no wider than it takes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "machine/bus.h"

/* Records the last access, and answers offset + 0x10 in every byte. */
struct dummy {
	unsigned calls, last_size;
	uint64_t last_offset, last_value;
};

static uint64_t dummy_read(void *arg, uint64_t offset, unsigned size)
{
	struct dummy *d = arg;
	uint64_t value = 0;

	d->calls++;
	d->last_offset = offset;
	d->last_size = size;
	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)(uint8_t)(offset + i + 0x10) << (8 * i);
	return value;
}

static void dummy_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct dummy *d = arg;

	d->calls++;
	d->last_offset = offset;
	d->last_size = size;
	d->last_value = value;
}

static const struct guest_io io1 = {1, dummy_read, dummy_write};
static const struct guest_io io4 = {4, dummy_read, dummy_write};
static const struct guest_io io8 = {8, dummy_read, dummy_write};

static struct dummy wide, narrow;

static int setup(void **state)
{
	struct bus *bus;
	const struct guest_range ranges[] = {
		{GUEST_PORTS, 0xcf8, 4, &io4, &wide},
		{GUEST_PORTS, 0xcf9, 1, &io1, &narrow},
		{GUEST_PORTS, 0x3f8, 8, &io1, &wide},
		{GUEST_MEMORY, 0xfffffffffffff000, 0x1000, &io8, &wide},
	};

	memset(&wide, 0, sizeof(wide));
	memset(&narrow, 0, sizeof(narrow));
	assert_int_equal(bus_create(&bus), 0);
	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
		assert_int_equal(bus_claim(bus, &ranges[i]), 0);
	assert_int_equal(bus_claim(bus, &ranges[0]), EEXIST);
	*state = bus;
	return 0;
}

static int teardown(void **state)
{
	bus_destroy(*state);
	return 0;
}

static void nobody_is_all_ones(void **state)
{
	static const struct {
		unsigned size;
		uint64_t ones;
	} sizes[] = {{1, 0xff}, {2, 0xffff}, {4, 0xffffffff}, {8, ~0ull}};
	uint64_t value;

	for (size_t i = 0; i < 4; i++) {
		assert_false(bus_read(*state, GUEST_MEMORY, 0x3f8, sizes[i].size, &value));
		assert_true(value == sizes[i].ones);
		assert_false(bus_read(*state, GUEST_PORTS, 0x80, sizes[i].size, &value));
		assert_true(value == sizes[i].ones);
		assert_false(bus_write(*state, GUEST_PORTS, 0x80, sizes[i].size, 0));
	}
	assert_int_equal(wide.calls + narrow.calls, 0);
}

static void the_narrowest_whole_claim_wins(void **state)
{
	assert_true(bus_write(*state, GUEST_PORTS, 0xcf9, 1, 6));
	assert_int_equal(narrow.calls, 1);
	assert_int_equal(narrow.last_value, 6);
	assert_true(bus_write(*state, GUEST_PORTS, 0xcf8, 4, 0x80000000));
	assert_int_equal(wide.calls, 1);
	assert_int_equal(wide.last_value, 0x80000000);
	assert_true(bus_write(*state, GUEST_PORTS, 0xcf9, 2, 0x1234));
	assert_int_equal(wide.calls, 2);
	assert_int_equal(wide.last_offset, 1);
	assert_int_equal(narrow.calls, 1);
}

static void wide_accesses_are_cut(void **state)
{
	uint64_t value;

	assert_true(bus_read(*state, GUEST_PORTS, 0x3f8, 4, &value));
	assert_true(value == 0x13121110);
	assert_int_equal(wide.calls, 4);
	assert_int_equal(wide.last_size, 1);
	assert_true(bus_write(*state, GUEST_PORTS, 0x3fa, 2, 0xaabb));
	assert_int_equal(wide.last_offset, 3);
	assert_int_equal(wide.last_value, 0xaa);
}

static void an_access_across_the_edge_is_cut_into_bytes(void **state)
{
	uint64_t value;

	assert_true(bus_read(*state, GUEST_PORTS, 0x3fe, 4, &value));
	assert_true(value == 0xffff1716);
	assert_true(bus_read(*state, GUEST_PORTS, 0x3f6, 4, &value));
	assert_true(value == 0x1110ffff);
}

static void the_last_byte_of_all(void **state)
{
	uint64_t value;

	assert_true(bus_read(*state, GUEST_MEMORY, ~0ull, 1, &value));
	assert_true(value == 0x0f);
	assert_true(bus_read(*state, GUEST_MEMORY, ~7ull, 8, &value));
	assert_int_equal(wide.last_size, 8);
	bus_read(*state, GUEST_MEMORY, ~3ull, 8, &value); /* wraps: must only return */
}

/* Ranges come and go while others read: what is there all the time is always found. */
static void *move_ranges(void *arg)
{
	for (unsigned round = 0; round < 2000; round++) {
		for (unsigned i = 0; i < 20; i++) {
			const struct guest_range range = {
				GUEST_MEMORY, 0x10000 + 0x1000 * i, 0x1000, &io1, &narrow};

			if (round % 2)
				bus_unclaim(arg, &range);
			else if (bus_claim(arg, &range) != 0)
				return (void *)1;
		}
	}
	return NULL;
}

static void changes_beside_readers(void **state)
{
	pthread_t thread;
	uint64_t value;
	void *failed;

	assert_int_equal(pthread_create(&thread, NULL, move_ranges, *state), 0);
	for (unsigned i = 0; i < 200000; i++) {
		assert_true(bus_read(*state, GUEST_PORTS, 0x3f8, 1, &value));
		assert_int_equal(value, 0x10);
	}
	pthread_join(thread, &failed);
	assert_null(failed);
}

static void unclaimed_is_gone(void **state)
{
	const struct guest_range range = {GUEST_PORTS, 0xcf9, 1, &io1, &narrow};

	bus_unclaim(*state, &range);
	assert_true(bus_write(*state, GUEST_PORTS, 0xcf9, 1, 6));
	assert_int_equal(narrow.calls, 0);
	assert_int_equal(wide.calls, 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(nobody_is_all_ones),
		T(the_narrowest_whole_claim_wins),
		T(wide_accesses_are_cut),
		T(an_access_across_the_edge_is_cut_into_bytes),
		T(the_last_byte_of_all),
		T(changes_beside_readers),
		T(unclaimed_is_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
