/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Settings: syntax, order, expansion, types. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine/machine.h"

static int setup(void **state)
{
	return config_create((struct config **)state);
}

static int teardown(void **state)
{
	config_destroy(*state);
	return 0;
}

static void set(struct config *c, const char *key, const char *value)
{
	assert_int_equal(config_set(c, key, value), 0);
}

static void later_settings_win(void **state)
{
	struct config *c = *state;

	assert_null(config_get(c, "cpus"));
	assert_int_equal(config_set(c, "cpus", "1"), 0);
	assert_int_equal(config_set(c, "name", "vm"), 0);
	assert_int_equal(config_set(c, "cpus", "4"), 0);
	assert_string_equal(config_get(c, "cpus"), "4");
	assert_string_equal(config_get(c, "name"), "vm");
}

static void many_settings_stay_in_order(void **state)
{
	struct config *c = *state;
	const char *key, *value, *last = "";
	char name[16];
	size_t n = 0;

	for (unsigned i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "k%u", i * 7919 % 1000);
		assert_int_equal(config_set(c, name, name + 1), 0);
	}
	for (; config_at(c, n, &key, &value); n++) {
		assert_true(strcmp(last, key) < 0);
		assert_string_equal(value, key + 1);
		last = key;
	}
	assert_int_equal(n, 1000);
}

static void bad_keys_are_refused(void **state)
{
	static const char *const keys[] = {"", ".", ".a", "a.", "a b", "a/b", "a=b", "\xff"};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		assert_int_equal(config_set(*state, keys[i], "x"), EINVAL);
}

static void parse_splits_at_the_first_equals(void **state)
{
	struct config *c = *state;
	struct machine_error e;

	assert_int_equal(config_parse(c, "kernel.cmdline=console=ttyS0", &e), 0);
	assert_string_equal(config_get(c, "kernel.cmdline"), "console=ttyS0");
	assert_int_equal(config_parse(c, "empty=", &e), 0);
	assert_string_equal(config_get(c, "empty"), "");
	assert_int_equal(config_parse(c, "nothing", &e), EINVAL);
	assert_int_equal(config_parse(c, "=x", &e), EINVAL);
}

static void load_reads_a_file(void **state)
{
	static const char text[] =
		"# comment\n\n  cpus=2  \nname=from a file\r\nkernel.cmdline=a=b # c\n";
	char path[] = "/tmp/hyve-config-XXXXXX";
	struct config *c = *state;
	struct machine_error e;
	int fd = mkstemp(path);

	assert_int_equal(write(fd, text, sizeof(text) - 1), sizeof(text) - 1);
	assert_int_equal(config_load(c, path, &e), 0);
	assert_string_equal(config_get(c, "cpus"), "2");
	assert_string_equal(config_get(c, "name"), "from a file");
	assert_string_equal(config_get(c, "kernel.cmdline"), "a=b # c");
	assert_int_equal(write(fd, "bad line\n", 9), 9);
	assert_int_equal(config_load(c, path, &e), EINVAL);
	assert_non_null(strstr(e.text, ":6: \"bad line\""));
	close(fd);
	unlink(path);
	assert_int_equal(config_load(c, path, &e), ENOENT);
	assert_non_null(strstr(e.text, path));
}

static void known_keys(void **state)
{
	(void)state;
	assert_true(config_is_known("cpus"));
	assert_true(config_is_known("lpc.com4.path"));
	assert_true(config_is_known("log.uart"));
	assert_true(config_is_known("soft.trace.rip"));
	assert_true(config_is_known("kvm.device"));
	assert_false(config_is_known("soft.trace.rop"));
	assert_false(config_is_known("kvm.cache"));
	assert_false(config_is_known("lpc.com5.path"));
	assert_false(config_is_known("cpu"));
	assert_false(config_is_known("memory"));
}

static void variables_expand(void **state)
{
	struct config *c = *state;
	struct machine_error e;

	set(c, "name", "vm1");
	set(c, "path", "/vm/%(name)");
	set(c, "a.disk", "%(path)/disk%%1 100% %(name)");
	assert_int_equal(config_expand(c, &e), 0);
	assert_string_equal(config_get(c, "path"), "/vm/vm1");
	assert_string_equal(config_get(c, "a.disk"), "/vm/vm1/disk%1 100% vm1");
}

static void expansion_errors(void **state)
{
	static const char *const values[] = {"%(b", "%(nothing)", "%(a)", "x%(a)y"};

	(void)state;
	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
		struct config *c;
		struct machine_error e = {""};

		assert_int_equal(config_create(&c), 0);
		set(c, "a", values[i]);
		assert_int_not_equal(config_expand(c, &e), 0);
		assert_true(strlen(e.text) > 5);
		assert_string_equal(config_get(c, "a"), values[i]);
		config_destroy(c);
	}
}

/* Each doubles the one before: a gigabyte, were there no limit. */
static void expansion_is_bounded(void **state)
{
	struct config *c = *state;
	struct machine_error e;
	char key[8], value[32];

	set(c, "v0", "xxxxxxxxxxxxxxxx");
	for (unsigned i = 1; i < 15; i++) {
		snprintf(key, sizeof(key), "v%u", i);
		snprintf(value, sizeof(value), "%%(v%u)%%(v%u)%%(v%u)%%(v%u)", i - 1, i - 1, i - 1,
			i - 1);
		set(c, key, value);
	}
	assert_int_equal(config_expand(c, &e), E2BIG);
}

static void booleans(void **state)
{
	static const char *const yes[] = {"true", "on", "yes", "1", "TRUE"};
	static const char *const no[] = {"false", "off", "no", "0", "No"};
	struct config *c = *state;
	struct machine_error e;
	bool value;

	assert_int_equal(config_bool(c, "b", true, &value, &e), 0);
	assert_true(value);
	for (size_t i = 0; i < 5; i++) {
		set(c, "b", yes[i]);
		assert_int_equal(config_bool(c, "b", false, &value, &e), 0);
		assert_true(value);
		set(c, "b", no[i]);
		assert_int_equal(config_bool(c, "b", true, &value, &e), 0);
		assert_false(value);
	}
	set(c, "b", "maybe");
	assert_int_equal(config_bool(c, "b", true, &value, &e), EINVAL);
	assert_string_equal(e.text, "b=maybe: use true or false");
}

static void numbers(void **state)
{
	static const char *const bad[] = {
		"", "0", "17", "-1", " 4", "4 ", "x", "99999999999999999999"};
	struct config *c = *state;
	struct machine_error e;
	unsigned value;

	set(c, "cpus", "16");
	assert_int_equal(config_number(c, "cpus", 1, 1, 16, &value, &e), 0);
	assert_int_equal(value, 16);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		set(c, "cpus", bad[i]);
		assert_int_equal(config_number(c, "cpus", 1, 1, 16, &value, &e), EINVAL);
		assert_non_null(strstr(e.text, "-c"));
	}
}

static void memory_sizes(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} good[] = {
		{"512", 512ull << 20},
		{"512M", 512ull << 20},
		{"512m", 512ull << 20},
		{"2G", 2ull << 30},
		{"2gb", 2ull << 30},
		{"1T", 1ull << 40},
		{"4096K", 4ull << 20},
		{"1048575", 1048575ull << 20},
		{"1048576", 1048576},
		{"0", 0},
	};
	static const char *const bad[] = {"", "M", "-1", "1x", "1MM", "1M1", "99999999999999999999",
		"99999999999T", " 1", "0x10"};
	uint64_t bytes;

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		assert_int_equal(memory_size_parse(good[i].text, &bytes), 0);
		assert_int_equal(bytes, good[i].bytes);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(memory_size_parse(bad[i], &bytes), EINVAL);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(later_settings_win),
		T(many_settings_stay_in_order),
		T(bad_keys_are_refused),
		T(parse_splits_at_the_first_equals),
		T(load_reads_a_file),
		T(known_keys),
		T(variables_expand),
		T(expansion_errors),
		T(expansion_is_bounded),
		T(booleans),
		T(numbers),
		T(memory_sizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
