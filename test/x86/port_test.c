/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* IN, OUT, INS, OUTS: the exits, and who may have one (SDM vol. 1, 18.5). */
#include "test/x86/system_guest.h"

static void test_exits(void **state)
{
	static const struct {
		uint8_t code[3];
		unsigned len;
		uint16_t port;
		uint8_t size;
		bool in, string, rep;
		uint8_t seg;
	} tests[] = {
		{{0xe4, 0x60}, 2, 0x60, 1, true, false, false, 0},
		{{0xe5, 0x60}, 2, 0x60, 4, true, false, false, 0},
		{{0x66, 0xe5, 0x60}, 3, 0x60, 2, true, false, false, 0},
		{{0xe6, 0xff}, 2, 0xff, 1, false, false, false, 0},
		{{0xec}, 1, 0x1234, 1, true, false, false, 0},
		{{0xef}, 1, 0x1234, 4, false, false, false, 0},
		{{0x48, 0xed}, 2, 0x1234, 4, true, false, false, 0}, /* never 8 */
		{{0x6c}, 1, 0x1234, 1, true, true, false, X86_ES},
		{{0xf3, 0x6d}, 2, 0x1234, 4, true, true, true, X86_ES},
		{{0xf3, 0x6e}, 2, 0x1234, 1, false, true, true, X86_DS},
		{{0x64, 0x6f}, 2, 0x1234, 4, false, true, false, X86_FS},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		struct guest *g = system_guest(GUEST_LONG64, 0);

		g->cpu.gpr[X86_RDX] = 0xabcd1234;
		g->cpu.gpr[X86_RCX] = 2;
		guest_code(g, tests[i].code, tests[i].len);
		assert_int_equal(guest_step(g), X86_EXIT);
		assert_int_equal(
			g->cpu.exit.reason, tests[i].string ? X86_EXIT_IO_STRING : X86_EXIT_IO);
		assert_int_equal(g->cpu.exit.io.port, tests[i].port);
		assert_int_equal(g->cpu.exit.io.size, tests[i].size);
		assert_int_equal(g->cpu.exit.io.in, tests[i].in);
		assert_int_equal(g->cpu.rip, GUEST_CODE);
		if (tests[i].string) {
			assert_int_equal(g->cpu.exit.io.rep, tests[i].rep);
			assert_int_equal(g->cpu.exit.io.seg, tests[i].seg);
			assert_int_equal(g->cpu.exit.io.addrsize, 8);
		}
		guest_destroy(g);
	}
}

static void test_rep_zero(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);

	(void)state;
	g->cpu.gpr[X86_RCX] = 0;
	assert_int_equal(GUEST_RUN(g, 0xf3, 0x6c), X86_DONE);
	assert_int_equal(g->cpu.rip, GUEST_CODE + 2);
	guest_destroy(g);
}

/* The bitmap, bit by bit: a port of several bytes needs all of them. */
static void test_bitmap(void **state)
{
	static const struct {
		unsigned cpl, iopl;
		bool vm86;
		uint16_t bitmap;    /* bits of ports 0x60 to 0x6f */
		uint32_t tss_limit; /* bitmap at 0x68: port 0x60 is byte 0x74 */
		uint8_t port, opcode;
		bool ok;
	} tests[] = {
		{0, 0, false, 0xffff, 0x67, 0x60, 0xe4, true},
		{3, 3, false, 0xffff, 0x67, 0x60, 0xe4, true},
		{3, 0, false, 0xfffe, 0xff, 0x60, 0xe4, true},
		{3, 0, false, 0x0001, 0xff, 0x60, 0xe4, false},
		{3, 0, false, 0x0001, 0xff, 0x61, 0xe4, true},
		{3, 0, false, 0xfff0, 0xff, 0x60, 0xe5, true},
		{3, 0, false, 0xfff8, 0xff, 0x60, 0xe5, false},
		{3, 0, false, 0x0400, 0xff, 0x67, 0xe5, false}, /* over the byte's end */
		{3, 0, false, 0x0800, 0xff, 0x67, 0xe5, true},
		{3, 0, false, 0x0000, 0x75, 0x60, 0xe4, true},
		{3, 0, false, 0x0000, 0x74, 0x60, 0xe4, false}, /* two bytes are read */
		{3, 0, false, 0x0000, 0x66, 0x60, 0xe4, false}, /* no bitmap at all */
		{3, 3, true, 0x0001, 0xff, 0x60, 0xe4, false},	/* IOPL does not help */
		{3, 0, true, 0xfffe, 0xff, 0x60, 0xe4, true},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		struct guest *g = system_guest(GUEST_PROT32, tests[i].cpl);

		g->cpu.rflags = 2 | (uint64_t)tests[i].iopl << 12;
		if (tests[i].vm86) {
			g->cpu.rflags |= X86_RF_VM;
			for (unsigned seg = 0; seg < 6; seg++)
				x86_load_seg(&g->cpu, seg, 0);
		}
		g->cpu.tr.limit = tests[i].tss_limit;
		guest_put(g, AT_TSS + 0x66, 0x68, 2);
		guest_put(g, AT_TSS + 0x68 + 0x60 / 8, tests[i].bitmap, 2);
		guest_code(g, (const uint8_t[]){tests[i].opcode, tests[i].port}, 2);
		if (tests[i].ok)
			assert_int_equal(guest_step(g), X86_EXIT);
		else
			assert_fault(g, guest_step(g), X86_GP, 0);
		guest_destroy(g);
	}
}

/* A 16-bit TSS has no bitmap. */
static void test_tss16(void **state)
{
	struct guest *g = system_guest(GUEST_PROT32, 3);

	(void)state;
	g->cpu.tr.access = A_TSS16 | 2;
	g->cpu.tr.limit = 0xff;
	guest_code(g, (const uint8_t[]){0xe4, 0x60}, 2);
	assert_fault(g, guest_step(g), X86_GP, 0);
	guest_destroy(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_exits),
		cmocka_unit_test(test_rep_zero),
		cmocka_unit_test(test_bitmap),
		cmocka_unit_test(test_tss16),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
