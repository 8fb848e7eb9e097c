/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Rates, bursts, debt and odd clocks, on a clock of the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "host/host.h"

#define SECOND_NS 1000000000ull
#define START	  (1ull << 60)

static const struct limit_rate none = {0};

static struct limit make(struct limit_rate bytes, struct limit_rate ops)
{
	struct limit limit;

	limit_init(&limit, &bytes, &ops, START);
	return limit;
}

/* How many units pass in `ns` for somebody who always wants more and waits as told. */
static uint64_t greedy(struct limit *limit, uint64_t bytes, uint64_t ops, uint64_t ns)
{
	uint64_t now = limit->last_ns, end = now + ns, count = 0;

	while (now < end) {
		uint64_t wait = limit_take(limit, bytes, ops, now);

		if (wait == 0)
			count++;
		now += wait;
	}
	return count;
}

static void what_is_written_is_read(void **state)
{
	static const struct {
		const char *text;
		struct limit_rate rate;
	} cases[] = {
		{"100", {100, 10}},
		{"5", {5, 1}},
		{"20M", {20 << 20, 2 << 20}},
		{"20m/64K", {20 << 20, 64 << 10}},
		{"1G/3g", {1ull << 30, 3ull << 30}},
		{"256T", {1ull << 48, (1ull << 48) / 10}},
		{"1/1", {1, 1}},
	};
	static const char *const bad[] = {"", "0", "-1", "+1", " 1", "x", "1x", "1KK", "1/", "1/0",
		"/1", "1/2/3", "257T", "99999999999999999999", "18446744073709551616", "1 "};
	struct limit_rate rate;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_true(limit_rate_parse(cases[i].text, &rate));
		assert_int_equal(rate.per_second, cases[i].rate.per_second);
		assert_int_equal(rate.burst, cases[i].rate.burst);
	}
	rate = (struct limit_rate){7, 7};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(limit_rate_parse(bad[i], &rate));
	assert_true(rate.per_second == 7 && rate.burst == 7);
}

static void without_a_limit_everything_passes(void **state)
{
	struct limit limit = make(none, none);

	(void)state;
	assert_false(limit_is_set(&limit));
	for (int i = 0; i < 1000; i++)
		assert_int_equal(limit_take(&limit, UINT64_MAX, UINT64_MAX, START), 0);
}

static void the_rate_is_kept(void **state)
{
	static const uint64_t rates[] = {1, 3, 7, 1000, 999983, 1000000000, 10000000000};

	(void)state;
	for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
		uint64_t size = rates[i] / 1000 + 1;
		struct limit limit = make((struct limit_rate){rates[i], 1}, none);
		uint64_t bytes = greedy(&limit, size, 1, 10 * SECOND_NS) * size;

		assert_true(limit_is_set(&limit));
		assert_in_range(bytes, rates[i] * 10, rates[i] * 10 + 2 * size);
	}
}

static void the_stricter_bucket_counts(void **state)
{
	struct limit limit = make((struct limit_rate){1 << 20, 1}, (struct limit_rate){100, 1});

	(void)state;
	assert_in_range(greedy(&limit, 512, 1, 10 * SECOND_NS), 1000, 1002);
	limit = make((struct limit_rate){1 << 20, 1}, (struct limit_rate){100, 1});
	assert_in_range(greedy(&limit, 1 << 16, 1, 10 * SECOND_NS), 160, 162);
}

static void a_burst_passes_at_once_and_comes_back(void **state)
{
	struct limit limit = make(none, (struct limit_rate){10, 5});

	(void)state;
	for (int round = 0; round < 3; round++) {
		uint64_t now = START + (uint64_t)round * 60 * SECOND_NS;

		for (int i = 0; i < 5; i++)
			assert_int_equal(limit_take(&limit, 0, 1, now), 0);
		assert_int_equal(limit_take(&limit, 0, 1, now), SECOND_NS / 10);
		assert_int_not_equal(limit_take(&limit, 0, 1, now + SECOND_NS / 10 - 1), 0);
		assert_int_equal(limit_take(&limit, 0, 1, now + SECOND_NS / 10), 0);
	}
}

static void what_is_bigger_than_the_burst_leaves_a_debt(void **state)
{
	struct limit limit = make((struct limit_rate){100, 10}, none);

	(void)state;
	assert_int_equal(limit_take(&limit, 1000, 1, START), 0);
	uint64_t wait = limit_take(&limit, 1, 1, START);

	assert_int_equal(wait, 991 * SECOND_NS / 100);
	assert_int_equal(limit_take(&limit, 1, 1, START + wait), 0);
}

static void nothing_is_taken_by_who_has_to_wait(void **state)
{
	struct limit limit = make((struct limit_rate){100, 1}, (struct limit_rate){1, 1});

	(void)state;
	assert_int_equal(limit_take(&limit, 1, 1, START), 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(limit_take(&limit, 1 << 20, 1, START), SECOND_NS);
	assert_int_equal(limit_take(&limit, 1, 1, START + SECOND_NS), 0);
}

static void no_clock_and_no_size_breaks_it(void **state)
{
	struct limit limit = make(
		(struct limit_rate){1ull << 48, 1ull << 48}, (struct limit_rate){1, UINT64_MAX});

	(void)state;
	assert_int_equal(limit_take(&limit, UINT64_MAX, 1, START), 0);
	assert_int_not_equal(limit_take(&limit, UINT64_MAX, 1, START - SECOND_NS), 0);
	assert_int_equal(limit_take(&limit, UINT64_MAX, UINT64_MAX, UINT64_MAX), 0);
	assert_int_not_equal(limit_take(&limit, 1, 1, 0), 0);
	assert_int_not_equal(limit_take(&limit, 1, 1, UINT64_MAX), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_written_is_read),
		cmocka_unit_test(without_a_limit_everything_passes),
		cmocka_unit_test(the_rate_is_kept),
		cmocka_unit_test(the_stricter_bucket_counts),
		cmocka_unit_test(a_burst_passes_at_once_and_comes_back),
		cmocka_unit_test(what_is_bigger_than_the_burst_leaves_a_debt),
		cmocka_unit_test(nothing_is_taken_by_who_has_to_wait),
		cmocka_unit_test(no_clock_and_no_size_breaks_it),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
