/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Random code of every mode: the process survives it, and gets each vcpu back.
 * SOUP_SEED: the first seed (1), SOUP_N: how many of them (7000).
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "test/backend/soft/soup.h"

#define HANG_S 30u

static volatile uint64_t now_running;

/* SIGSEGV and the like go to the library first; what comes here is a bug or a hang. */
static void died(int sig)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "signal %d, seed 0x%llx\n", sig,
		(unsigned long long)now_running);

	if (write(2, text, (size_t)n) != n)
		_exit(2);
	_exit(1);
}

static uint64_t number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

static void test_soup(void **state)
{
	struct soup *s = calloc(1, sizeof(*s));
	uint64_t seed = number("SOUP_SEED", 1), first = seed, stop = first + number("SOUP_N", 7000);
	uint8_t data[2048];

	(void)state;
	assert_non_null(s);
	signal(SIGALRM, died);
	signal(SIGSEGV, died);
	signal(SIGILL, died);
	signal(SIGFPE, died);
	assert_true(soup_open(s));
	for (; seed < stop; seed++) {
		now_running = seed;
		alarm(HANG_S);
		if (!soup_run(s, data, soup_input(data, sizeof(data), seed)))
			fail_msg("seed 0x%llx", (unsigned long long)seed);
	}
	alarm(0);
	print_message("seeds 0x%llx..0x%llx: %lu exits, %lu VMs\n", (unsigned long long)first,
		(unsigned long long)seed - 1, s->exits, s->reopened);
	soup_close(s);
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_soup)};

	return cmocka_run_group_tests_name("soup", tests, NULL, NULL);
}
