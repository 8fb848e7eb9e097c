/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Copies across pages and into devices; power-on state. */
#include "test/x86/system_guest.h"

#define SIZE 4096u

static uint8_t buffer[SIZE];

static void test_lengths(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);

	(void)state;
	for (unsigned i = 0; i < 0x4000; i++)
		g->ram[AT_DATA + i] = (uint8_t)(i * 31 + i / 256);
	for (unsigned len = 1; len <= SIZE; len = len * 3 + 1)
		for (unsigned at = 0xff0; at < 0x1010; at++) {
			memset(buffer, 0, SIZE);
			assert_int_equal(x86_read(&g->cpu, AT_DATA + at, buffer, len, X86_ACC_READ),
				X86_DONE);
			assert_memory_equal(buffer, g->ram + AT_DATA + at, len);
			assert_int_equal(x86_write(&g->cpu, AT_DATA + 0x8000 + at, buffer, len,
						 X86_ACC_WRITE),
				X86_DONE);
			assert_memory_equal(g->ram + AT_DATA + 0x8000 + at, buffer, len);
			assert_int_equal(g->ram[AT_DATA + 0x8000 + at + len], 0);
			memset(g->ram + AT_DATA + 0x8000, 0, 0x4000);
		}
	guest_destroy(g);
}

/* The second page faults: nothing has been written to the first. */
static void test_fault(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 3);

	(void)state;
	memset(buffer, 0xff, SIZE);
	assert_fault(g,
		x86_write(&g->cpu, GUEST_FENCE - 4, buffer, 8, X86_ACC_WRITE | X86_ACC_USER),
		X86_PF, 6);
	assert_int_equal(g->cpu.fault.cr2, GUEST_FENCE);
	assert_int_equal(guest_get(g, GUEST_FENCE - 4, 4), 0);
	assert_fault(g, x86_read(&g->cpu, GUEST_FENCE - 4, buffer, 8, X86_ACC_READ), X86_PF, 0);
	guest_destroy(g);
}

/* From RAM into a device page and back: in pieces of at most eight bytes. */
static void test_device(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);

	(void)state;
	for (unsigned i = 0; i < 64; i++)
		buffer[i] = (uint8_t)(i + 1);
	assert_int_equal(x86_write(&g->cpu, GUEST_MMIO - 16, buffer, 36, X86_ACC_WRITE), X86_DONE);
	assert_int_equal(g->device_writes, 3);
	assert_memory_equal(g->device, buffer + 16, 20);
	assert_memory_equal(g->ram + GUEST_MMIO - 16, buffer, 16);
	memset(buffer, 0, 64);
	assert_int_equal(x86_read(&g->cpu, GUEST_MMIO - 16, buffer, 36, X86_ACC_READ), X86_DONE);
	assert_int_equal(g->device_reads, 3);
	for (unsigned i = 0; i < 36; i++)
		assert_int_equal(buffer[i], i + 1);
	guest_destroy(g);
}

/* A device that wants an exit gets it before memory has changed. */
static void test_device_exit(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);

	(void)state;
	g->device_exits = true;
	memset(buffer, 0xff, 64);
	assert_int_equal(x86_write(&g->cpu, GUEST_MMIO - 4, buffer, 8, X86_ACC_WRITE), X86_EXIT);
	assert_int_equal(g->cpu.exit.reason, X86_EXIT_MMIO);
	assert_int_equal(g->cpu.exit.mmio.gpa, GUEST_MMIO_GPA);
	assert_int_equal(guest_get(g, GUEST_MMIO - 4, 4), 0);
	guest_destroy(g);
}

/* 32-bit linear addresses start again at 0. */
static void test_wrap(void **state)
{
	struct guest *g = system_guest(GUEST_PROT32, 0);

	(void)state;
	g->cpu.cr0 &= ~(uint64_t)X86_CR0_PG;
	memset(g->ram, 0x5a, 4);
	assert_int_equal(x86_read(&g->cpu, 0xfffffffcu, buffer, 8, X86_ACC_READ), X86_DONE);
	assert_int_equal(buffer[4], 0x5a);
	guest_destroy(g);
}

static void test_reset(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 3);

	(void)state;
	memset(g->cpu.gpr, 0x55, sizeof(g->cpu.gpr));
	x86_reset(&g->cpu);
	assert_int_equal(x86_linear_rip(&g->cpu), 0xfffffff0);
	assert_int_equal(x86_code_size(&g->cpu), 16);
	assert_int_equal(g->cpu.cr0, 0x60000010);
	assert_int_equal(g->cpu.rflags, 2);
	assert_int_equal(g->cpu.cpl, 0);
	assert_int_equal(g->cpu.efer | g->cpu.cr3 | g->cpu.cr4, 0);
	assert_int_equal(g->cpu.seg[X86_CS].sel, 0xf000);
	assert_int_equal(g->cpu.seg[X86_SS].limit, 0xffff);
	assert_int_equal(g->cpu.idtr.limit, 0xffff);
	assert_int_equal(g->cpu.gpr[X86_R15], 0);
	assert_int_equal(g->cpu.gpr[X86_RDX], g->cpu.signature);
	assert_int_equal(g->cpu.dr[6], 0xffff0ff0);
	assert_int_equal(g->cpu.dr[7], 0x400);
	assert_int_equal(g->cpu.xcr0, 1);
	assert_int_equal(g->cpu.pat, 0x0007040600070406);
	assert_non_null(g->cpu.ops);
	assert_true(x86_has_feature(&g->cpu, X86_F_FPU));
	guest_destroy(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lengths),
		cmocka_unit_test(test_fault),
		cmocka_unit_test(test_device),
		cmocka_unit_test(test_device_exit),
		cmocka_unit_test(test_wrap),
		cmocka_unit_test(test_reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
