/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Levels, the rate limit, and lines that are too long. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "host/host.h"

struct sink {
	int fds[2];
	struct log *log;
	char text[65536];
};

static int setup(void **state)
{
	static struct sink sink;

	assert_int_equal(pipe(sink.fds), 0);
	assert_int_equal(log_create(sink.fds[1], &sink.log), 0);
	*state = &sink;
	return 0;
}

static int teardown(void **state)
{
	struct sink *sink = *state;

	log_destroy(sink->log);
	close(sink->fds[0]);
	close(sink->fds[1]);
	return 0;
}

/* All that was written; a mark keeps the read from blocking. */
static const char *text(struct sink *sink)
{
	assert_int_equal(write(sink->fds[1], "#", 1), 1);
	ssize_t n = read(sink->fds[0], sink->text, sizeof(sink->text) - 1);

	assert_true(n > 0);
	sink->text[n - 1] = '\0';
	return sink->text;
}

static void warnings_pass_and_details_do_not(void **state)
{
	struct sink *sink = *state;

	log_warn(sink->log, "uart", "number %d", 7);
	log_info(sink->log, "uart", "quiet");
	log_debug(sink->log, "uart", "quieter");
	assert_string_equal(text(sink), "hyve: uart: number 7\n");
}

static void a_room_has_its_level(void **state)
{
	struct sink *sink = *state;
	enum log_level level;

	assert_true(log_level_parse("debug", &level));
	assert_false(log_level_parse("loud", &level));
	assert_int_equal(log_set_level(sink->log, "pci", level), 0);
	assert_int_equal(log_set_level(sink->log, "all", LOG_LEVEL_ERR), 0);
	log_debug(sink->log, "pci", "heard");
	log_warn(sink->log, "uart", "not heard");
	assert_string_equal(text(sink), "hyve: pci: heard\n");
	assert_int_equal(log_set_level(sink->log, "a-name-that-is-too-long", level), EINVAL);
}

static void a_chatty_room_is_cut_short(void **state)
{
	struct sink *sink = *state;
	const char *p;
	unsigned lines = 0;

	for (int i = 0; i < 1000; i++)
		log_warn(sink->log, "uart", "again");
	for (p = text(sink); *p; p++)
		lines += *p == '\n';
	/* A second may have begun meanwhile, with its own 20 and the line that counts the lost
	 * ones. */
	assert_in_range(lines, 20, 41);
}

static void a_long_line_is_cut(void **state)
{
	struct sink *sink = *state;
	char big[2000];

	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	log_err(sink->log, "uart", "%s", big);
	const char *line = text(sink);

	assert_in_range(strlen(line), 400, 512);
	assert_int_equal(line[strlen(line) - 1], '\n');
}

static void no_log_is_a_log(void **state)
{
	(void)state;
	log_err(NULL, "uart", "nobody hears");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(warnings_pass_and_details_do_not, setup, teardown),
		cmocka_unit_test_setup_teardown(a_room_has_its_level, setup, teardown),
		cmocka_unit_test_setup_teardown(a_chatty_room_is_cut_short, setup, teardown),
		cmocka_unit_test_setup_teardown(a_long_line_is_cut, setup, teardown),
		cmocka_unit_test(no_log_is_a_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
