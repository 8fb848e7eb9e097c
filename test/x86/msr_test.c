/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Model-specific registers: what reads back, what faults, what is asked of the owner. */
#include "test/x86/system_guest.h"

enum answer { STORED, IGNORED, REFUSED };

static void test_writes(void **state)
{
	static const struct {
		uint32_t msr;
		uint64_t value;
		enum answer answer;
	} tests[] = {
		{0x174, 0x10, STORED}, {0x174, 1ull << 32, REFUSED},
		{0x175, 0xffff800000000000, STORED}, {0x175, 1ull << 47, REFUSED},
		{0x176, 0x1234, STORED}, {0x277, 0x0007010600070106, STORED},
		{0x277, 0x0007010600070102, REFUSED}, {0x277, 0x0807010600070106, REFUSED},
		{0x2ff, 0xc06, STORED}, {0x2ff, 0xc02, REFUSED}, {0x2ff, 0x1c06, REFUSED},
		{0xfe, 0, REFUSED}, {0x179, 0, REFUSED}, {0x17, 5, IGNORED}, {0x8b, 5, IGNORED},
		{0x1a0, 0x1800, STORED}, {0x1a0, 0x400c51809, STORED}, {0x1a0, 0x1800, STORED},
		{0x200, 6, IGNORED}, {0x26f, 6, IGNORED}, {0x1d9, 1, IGNORED},
		{0xc0000081, UINT64_MAX, STORED}, {0xc0000082, 0xffff800000000000, STORED},
		{0xc0000082, 1ull << 47, REFUSED}, {0xc0000083, 1ull << 47, REFUSED},
		{0xc0000084, 0x47700, STORED}, {0xc0000084, 1ull << 32, REFUSED},
		{0xc0000100, 0x7fff00001234, STORED}, {0xc0000101, 1ull << 47, REFUSED},
		{0xc0000102, 0xffff888800000000, STORED}, {0xc0000103, 77, STORED},
		{0xc0000103, 1ull << 32, REFUSED}, {0x12345, 0, REFUSED}, /* by the owner */
	};
	struct guest *g = system_guest(GUEST_LONG64, 0);

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		uint64_t before = 0, after = 0;

		x86_rdmsr(&g->cpu, tests[i].msr, &before);
		if (tests[i].answer == REFUSED) {
			assert_fault(
				g, x86_wrmsr(&g->cpu, tests[i].msr, tests[i].value), X86_GP, 0);
			continue;
		}
		assert_int_equal(x86_wrmsr(&g->cpu, tests[i].msr, tests[i].value), X86_DONE);
		assert_int_equal(x86_rdmsr(&g->cpu, tests[i].msr, &after), X86_DONE);
		assert_int_equal(after, tests[i].answer == STORED ? tests[i].value : before);
	}
	guest_destroy(g);
}

/* RDMSR and WRMSR move EDX:EAX, and clear the upper halves. */
static void test_instructions(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);

	(void)state;
	g->cpu.gpr[X86_RCX] = 0xffffffffc0000102;
	g->cpu.gpr[X86_RAX] = 0x1111111122222222;
	g->cpu.gpr[X86_RDX] = 0x3333333300004444;
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x30), X86_DONE);
	assert_int_equal(g->cpu.kernel_gs_base, 0x444422222222);
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x32), X86_DONE);
	assert_int_equal(g->cpu.gpr[X86_RAX], 0x22222222);
	assert_int_equal(g->cpu.gpr[X86_RDX], 0x4444);
	g->cpu.gpr[X86_RCX] = 0x12345;
	guest_code(g, (const uint8_t[]){0x0f, 0x32}, 2);
	assert_fault(g, guest_step(g), X86_GP, 0);
	guest_destroy(g);
	g = system_guest(GUEST_LONG64, 3);
	guest_code(g, (const uint8_t[]){0x0f, 0x32}, 2);
	assert_fault(g, guest_step(g), X86_GP, 0);
	guest_destroy(g);
}

/* Writes to TSC and TSC_ADJUST move together (SDM vol. 3, 17.17.3). */
static void test_tsc(void **state)
{
	const uint64_t hour = 1ull << 43, slack = 1ull << 36;
	struct guest *g = system_guest(GUEST_LONG64, 0);
	uint64_t value;

	(void)state;
	assert_int_equal(x86_wrmsr(&g->cpu, 0x10, hour), X86_DONE);
	assert_int_equal(x86_rdmsr(&g->cpu, 0x10, &value), X86_DONE);
	assert_in_range(value, hour, hour + slack);
	assert_int_equal(x86_rdmsr(&g->cpu, 0x3b, &value), X86_DONE);
	assert_in_range(value, hour - slack, hour + slack);
	assert_int_equal(x86_wrmsr(&g->cpu, 0x3b, value + hour), X86_DONE);
	assert_int_equal(x86_rdmsr(&g->cpu, 0x10, &value), X86_DONE);
	assert_in_range(value, 2 * hour, 2 * hour + slack);
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x31), X86_DONE);
	assert_in_range(g->cpu.gpr[X86_RDX] << 32 | g->cpu.gpr[X86_RAX], value, value + slack);
	g->cpu.tsc_aux = 0x1234;
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x01, 0xf9), X86_DONE);
	assert_int_equal(g->cpu.gpr[X86_RCX], 0x1234);
	g->cpu.cr4 |= X86_CR4_TSD;
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x31), X86_DONE);
	g->cpu.cpl = 3;
	guest_code(g, (const uint8_t[]){0x0f, 0x31}, 2);
	assert_fault(g, guest_step(g), X86_GP, 0);
	guest_destroy(g);
}

static void test_vendors(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);
	uint64_t value;

	(void)state;
	g->cpu.vendor = X86_VENDOR_INTEL;
	assert_int_equal(x86_rdmsr(&g->cpu, 0x10a, &value), X86_DONE);
	assert_true(value & 1); /* RDCL_NO */
	assert_int_equal(x86_wrmsr(&g->cpu, 0x48, 1), X86_DONE);
	assert_int_equal(x86_rdmsr(&g->cpu, 0x48, &value), X86_DONE);
	assert_int_equal(value, 1);
	assert_int_equal(x86_wrmsr(&g->cpu, 0x48, 8), X86_FAULT);
	assert_int_equal(x86_wrmsr(&g->cpu, 0x49, 1), X86_DONE);
	assert_int_equal(x86_rdmsr(&g->cpu, 0x49, &value), X86_FAULT);
	assert_int_equal(x86_rdmsr(&g->cpu, 0xc0011029, &value), X86_FAULT);
	assert_int_equal(x86_set_efer(&g->cpu, g->cpu.efer | 1u << 21), X86_FAULT);
	g->cpu.vendor = X86_VENDOR_AMD;
	assert_int_equal(x86_rdmsr(&g->cpu, 0x10a, &value), X86_FAULT);
	assert_int_equal(x86_rdmsr(&g->cpu, 0x48, &value), X86_FAULT);
	assert_int_equal(x86_rdmsr(&g->cpu, 0xc0011029, &value), X86_DONE);
	assert_int_equal(value, 2);
	assert_int_equal(x86_set_efer(&g->cpu, g->cpu.efer | 1u << 21), X86_DONE);
	guest_destroy(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_writes),
		cmocka_unit_test(test_instructions),
		cmocka_unit_test(test_tsc),
		cmocka_unit_test(test_vendors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
