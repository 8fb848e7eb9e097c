/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The table of backends, and those that wait for a driver. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "backend/backend.h"

/* Every row has what a backend must have. */
static void rows_are_whole(void **state)
{
	const struct vmm_ops *ops;
	size_t i;

	(void)state;
	for (i = 0; (ops = backend_at(i)) != NULL; i++) {
		assert_non_null(ops->name);
		assert_non_null(ops->probe);
		assert_non_null(ops->kick);
		for (size_t m = 0; m < offsetof(struct vmm_ops, name); m += sizeof(void *)) {
			void *member;

			memcpy(&member, (const char *)ops + m, sizeof(member));
			assert_non_null(member);
		}
	}
	assert_true(i >= 3);
}

static void found_by_name(void **state)
{
	const struct vmm_ops *ops;

	(void)state;
	for (size_t i = 0; (ops = backend_at(i)) != NULL; i++)
		assert_ptr_equal(backend_find(ops->name), ops);
	assert_ptr_equal(backend_find("soft"), &vmm_ops_soft);
	assert_null(backend_find("none"));
	assert_null(backend_find(""));
}

/* One line, short enough for a terminal, that says why. */
static void driverless_backends_say_why(void **state)
{
	static const struct vmm_ops *const backends[] = {&vmm_ops_intel, &vmm_ops_amd};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		char why[256] = "";
		struct vm *vm = NULL;

		assert_int_equal(backends[i]->probe(why, sizeof(why)), ENXIO);
		assert_in_range(strlen(why), 10, 90);
		assert_null(strchr(why, '\n'));
		assert_int_equal(backends[i]->init(0), ENXIO);
		assert_int_equal(vm_create_on(backends[i], "x", &vm), ENXIO);
		assert_int_equal(vmm_init(backends[i]), ENXIO);
		assert_null(vm);
	}
}

static void auto_picks_a_usable_one(void **state)
{
	const struct vmm_ops *ops = backend_auto();
	char why[256];

	(void)state;
	assert_non_null(ops);
	assert_int_equal(ops->probe(why, sizeof(why)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rows_are_whole),
		cmocka_unit_test(found_by_name),
		cmocka_unit_test(driverless_backends_say_why),
		cmocka_unit_test(auto_picks_a_usable_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
