/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The devices for guests that test: pc-testdev, and fw_cfg. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include <vmm/pc.h>

#include "test/device/fake_guest.h"

enum { LATCH = 0xe0, UNMAP = 0xe4, LATCH_BYTES = 0xe8, EXIT = 0xf4, LINES = 0x2000 };

#define MEMORY 0xff000000ull

static void the_latch_keeps_four_bytes(void **state)
{
	struct fake_guest g = {0};

	(void)state;
	fake_create(&g, &device_testdev, "pc-testdev", 0);
	fake_out(&g, LATCH, 4, 0x44332211);
	assert_int_equal(fake_in(&g, LATCH, 4), 0x44332211);
	assert_int_equal(fake_in(&g, LATCH + 1, 2), 0x3322);
	fake_out(&g, LATCH + 2, 1, 0xaa);
	assert_int_equal(fake_in(&g, LATCH, 4), 0x44aa2211);
	/* The other four ports are the same bytes. */
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(fake_in(&g, LATCH_BYTES + i, 1), fake_in(&g, LATCH + i, 1));
	fake_out(&g, LATCH_BYTES + 3, 1, 0x77);
	assert_int_equal(fake_in(&g, LATCH, 4), 0x77aa2211);
	fake_destroy(&g);
}

static void the_memory_keeps_what_is_written(void **state)
{
	struct fake_guest g = {0};

	(void)state;
	fake_create(&g, &device_testdev, "pc-testdev", 0);
	assert_int_equal(fake_in(&g, MEMORY, 8), 0);
	fake_out(&g, MEMORY + 0xfff8, 8, 0x1122334455667788);
	fake_out(&g, MEMORY + 0xfffd, 2, 0xbeef);
	assert_int_equal(fake_in(&g, MEMORY + 0xfff8, 8), 0x11beef4455667788);
	assert_int_equal(fake_in(&g, MEMORY + 0xffff, 1), 0x11);
	fake_destroy(&g);
}

static void lines_go_up_and_down_once(void **state)
{
	struct fake_guest g = {0};

	(void)state;
	fake_create(&g, &device_testdev, "pc-testdev", 0);
	for (unsigned line = 0; line < 24; line++) {
		fake_out(&g, LINES + line, 1, 1);
		assert_true(g.line[line]);
		fake_out(&g, LINES + line, 1, 0x80);
		assert_int_equal(g.raised[line], 1);
		fake_out(&g, LINES + line, 1, 0);
		fake_out(&g, LINES + line, 1, 0);
		assert_false(g.line[line]);
	}
	fake_destroy(&g); /* asserts that each change was one */
}

static void the_exit_port_tells_a_status(void **state)
{
	struct fake_guest g = {0};

	(void)state;
	fake_create(&g, &device_testdev, "pc-testdev", 0);
	assert_int_equal(fake_in(&g, EXIT, 1), 0xff);
	assert_int_equal(g.status, -1);
	fake_out(&g, EXIT, 1, 0);
	assert_int_equal(g.status, 1);
	fake_out(&g, EXIT, 4, 0x26);
	assert_int_equal(g.status, 77);
	fake_out(&g, EXIT, 4, 0xffffffff);
	assert_int_equal(g.status, 255);
	fake_destroy(&g);
}

static void the_unmap_port_takes_an_address(void **state)
{
	struct fake_guest g = {0};

	(void)state;
	fake_create(&g, &device_testdev, "pc-testdev", 0);
	fake_out(&g, UNMAP, 4, 0x89abc000);
	assert_int_equal(g.unmapped, 0x89abc000);
	assert_int_equal(fake_in(&g, UNMAP, 4), 0xffffffff);
	fake_destroy(&g);
}

/* ---- fw_cfg ---- */

static const uint8_t e820[40] = "forty bytes of a memory map";

static void fwcfg_create_on(struct fake_guest *g)
{
	g->guest.facts = (struct guest_facts){
		.ncpus = 5, .memory = 0x140000000, .e820 = e820, .e820_size = sizeof(e820)};
	fake_create(g, &device_fwcfg, "fwcfg", 0);
}

static void fwcfg_item(struct fake_guest *g, unsigned key, void *to, size_t size)
{
	fake_out(g, PC_FWCFG_PORT, 2, key);
	for (size_t i = 0; i < size; i++)
		((uint8_t *)to)[i] = (uint8_t)fake_in(g, PC_FWCFG_PORT + 1, 1);
}

static void fwcfg_tells_the_machine(void **state)
{
	struct fake_guest g = {0};
	char signature[6];
	uint64_t memory;
	uint32_t id;
	uint16_t cpus;

	(void)state;
	fwcfg_create_on(&g);
	fwcfg_item(&g, 0, signature, 6);
	assert_memory_equal(signature, "QEMU\0\0", 6);
	fwcfg_item(&g, 1, &id, 4);
	assert_int_equal(id, 1); /* no DMA */
	fwcfg_item(&g, 3, &memory, 8);
	assert_int_equal(memory, 0x140000000);
	fwcfg_item(&g, 5, &cpus, 2);
	assert_int_equal(cpus, 5);
	fwcfg_item(&g, 15, &cpus, 2);
	assert_int_equal(cpus, 5);
	fwcfg_item(&g, 0x4000 | 5, &cpus, 2); /* the bit that once meant writing */
	assert_int_equal(cpus, 5);
	fwcfg_item(&g, 0x8000 | 5, &cpus, 2);
	assert_int_equal(cpus, 0);
	fwcfg_item(&g, 4, &cpus, 2);
	assert_int_equal(cpus, 0);
	fake_destroy(&g);
}

static void fwcfg_has_files(void **state)
{
	struct fake_guest g = {0};
	uint8_t directory[70], map[42];

	(void)state;
	fwcfg_create_on(&g);
	fwcfg_item(&g, 0x19, directory, sizeof(directory));
	assert_memory_equal(directory, "\0\0\0\1\0\0\0\x28\0\x20\0\0", 12);
	assert_string_equal((char *)directory + 12, "etc/e820");
	assert_memory_equal(directory + 68, "\0\0", 2);
	fwcfg_item(&g, 0x20, map, sizeof(map));
	assert_memory_equal(map, e820, sizeof(e820));
	assert_memory_equal(map + 40, "\0\0", 2);
	fake_destroy(&g);
}

static void fwcfg_takes_words_and_gives_bytes(void **state)
{
	struct fake_guest g = {0};
	uint8_t byte;

	(void)state;
	fwcfg_create_on(&g);
	fwcfg_item(&g, 0, &byte, 1);
	fake_out(&g, PC_FWCFG_PORT, 1, 5);     /* no selection */
	fake_out(&g, PC_FWCFG_PORT + 1, 1, 5); /* nor a way to write */
	assert_int_equal(fake_in(&g, PC_FWCFG_PORT, 2), 0);
	assert_int_equal(fake_in(&g, PC_FWCFG_PORT + 1, 1), 'E');
	fake_destroy(&g);
}

static void another_fwcfg_is_not_there(void **state)
{
	struct fake_guest g = {.options = {{"fwcfg", "bhyve"}}};

	(void)state;
	fake_create(&g, &device_fwcfg, "fwcfg", EINVAL);
	assert_non_null(strstr(g.why, "bhyve"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_latch_keeps_four_bytes),
		cmocka_unit_test(the_memory_keeps_what_is_written),
		cmocka_unit_test(lines_go_up_and_down_once),
		cmocka_unit_test(the_exit_port_tells_a_status),
		cmocka_unit_test(the_unmap_port_takes_an_address),
		cmocka_unit_test(fwcfg_tells_the_machine),
		cmocka_unit_test(fwcfg_has_files),
		cmocka_unit_test(fwcfg_takes_words_and_gives_bytes),
		cmocka_unit_test(another_fwcfg_is_not_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
