/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* libvmm.so exports what its headers declare: see exports.sh.  Run from the top of the tree. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char *program;

/* The build folder, of which this program is test/api/exports_test. */
static void exports_match_headers(void **state)
{
	char command[1024];
	const char *tail = strstr(program, "test/api/");
	int n = tail != NULL ? (int)(tail - program) : 0;

	(void)state;
	assert_true(n > 0);
	snprintf(command, sizeof(command), "sh test/api/exports.sh '%.*slibvmm.so'", n, program);
	assert_int_equal(system(command), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exports_match_headers),
	};

	(void)argc;
	program = argv[0];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
