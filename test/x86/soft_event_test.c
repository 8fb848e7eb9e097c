/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* INT n, INT3, INTO, INT1, BOUND, UDn; and what leaves to the owner: HLT, PAUSE. */
#include "test/x86/system_guest.h"

#define VECTOR 0x40u

static void test_interrupts(void **state)
{
	static const struct {
		uint8_t code[2];
		unsigned len, vector;
	} tests[] = {{{0xcd, VECTOR}, 2, VECTOR}, {{0xcc}, 1, 3}, {{0xf1}, 1, 1}, {{0xce}, 1, 4}};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct guest *g = system_guest(GUEST_PROT32, 3);

		g->cpu.rflags |= X86_FL_OF;
		idt_set(g, tests[i].vector, GATE_INTR32 | A_DPL3, KCODE, HANDLER);
		guest_code(g, tests[i].code, tests[i].len);
		assert_int_equal(guest_step(g), X86_DONE);
		assert_int_equal(g->cpu.rip, HANDLER);
		assert_int_equal(guest_get(g, STACK0 - 20, 4), GUEST_CODE + tests[i].len);
		guest_destroy(g);
	}
}

/* A ring 0 gate stops all of them but INT1. */
static void test_gate_dpl(void **state)
{
	struct guest *g = system_guest(GUEST_PROT32, 3);

	(void)state;
	for (unsigned vector = 1; vector <= 4; vector++)
		idt_set(g, vector, GATE_INTR32, KCODE, HANDLER);
	guest_code(g, (const uint8_t[]){0xcc}, 1);
	assert_fault(g, guest_step(g), X86_GP, 3 * 8 + 2);
	guest_code(g, (const uint8_t[]){0xcd, 3}, 2);
	assert_fault(g, guest_step(g), X86_GP, 3 * 8 + 2);
	assert_int_equal(GUEST_RUN(g, 0xf1), X86_DONE);
	guest_destroy(g);
}

static void test_into_without_overflow(void **state)
{
	struct guest *g = system_guest(GUEST_PROT32, 3);

	(void)state;
	assert_int_equal(GUEST_RUN(g, 0xce), X86_DONE);
	assert_int_equal(g->cpu.rip, GUEST_CODE + 1);
	guest_destroy(g);
}

/* INT n needs IOPL 3 in virtual-8086 mode; INT3 does not. */
static void test_vm86(void **state)
{
	struct guest *g = system_guest(GUEST_PROT32, 3);

	(void)state;
	g->cpu.rflags |= X86_RF_VM;
	for (unsigned seg = 0; seg < 6; seg++)
		x86_load_seg(&g->cpu, seg, 0);
	idt_set(g, VECTOR, GATE_INTR32 | A_DPL3, KCODE, HANDLER);
	idt_set(g, 3, GATE_INTR32 | A_DPL3, KCODE, HANDLER);
	guest_code(g, (const uint8_t[]){0xcd, VECTOR}, 2);
	assert_fault(g, guest_step(g), X86_GP, 0);
	assert_int_equal(GUEST_RUN(g, 0xcc), X86_DONE);
	guest_destroy(g);
}

static void test_bound(void **state)
{
	static const struct {
		uint32_t index, lower, upper;
		uint8_t prefix;
		bool ok;
	} tests[] = {
		{5, 5, 5, 0x90, true},
		{4, 5, 9, 0x90, false},
		{10, 5, 9, 0x90, false},
		{(uint32_t)-3, (uint32_t)-5, 0, 0x90, true}, /* signed */
		{0x7fffffff, (uint32_t)-5, 0, 0x90, false},
		{0xffff0005, 5, 5, 0x66, true}, /* 16 bits of each */
		{0x8000, 0, 0x7fff, 0x66, false},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		struct guest *g = system_guest(GUEST_PROT32, 3);
		unsigned size = tests[i].prefix == 0x66 ? 2 : 4, skip_prefix = size == 4;
		const uint8_t code[] = {tests[i].prefix, 0x62, 0x01};

		g->cpu.gpr[X86_RAX] = tests[i].index;
		g->cpu.gpr[X86_RCX] = AT_DATA;
		guest_put(g, AT_DATA, tests[i].lower, size);
		guest_put(g, AT_DATA + size, tests[i].upper, size);
		guest_code(g, code + skip_prefix, 3 - skip_prefix);
		if (tests[i].ok)
			assert_int_equal(guest_step(g), X86_DONE);
		else
			assert_fault(g, guest_step(g), X86_BR, 0);
		guest_destroy(g);
	}
}

static void test_undefined(void **state)
{
	static const uint8_t codes[][3] = {{0x0f, 0x0b}, {0x0f, 0xb9, 0xc0}, {0x0f, 0xff, 0xc0}};

	(void)state;
	for (unsigned i = 0; i < 3; i++) {
		struct guest *g = system_guest(GUEST_LONG64, 0);

		guest_code(g, codes[i], 3);
		assert_fault(g, guest_step(g), X86_UD, 0);
		assert_false(g->cpu.fault.has_error);
		guest_destroy(g);
	}
}

static void test_exits(void **state)
{
	static const struct {
		uint8_t code[2];
		unsigned len;
		enum x86_exit_reason reason;
	} tests[] = {{{0xf4}, 1, X86_EXIT_HLT}, {{0xf3, 0x90}, 2, X86_EXIT_PAUSE}};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct guest *g = system_guest(GUEST_LONG64, 0);

		guest_code(g, tests[i].code, tests[i].len);
		assert_int_equal(guest_step(g), X86_EXIT);
		assert_int_equal(g->cpu.exit.reason, tests[i].reason);
		assert_int_equal(g->cpu.rip, GUEST_CODE);
		guest_destroy(g);
	}
}

/* CLFLUSH is checked like a load; RDPMC finds no counter; INVD and WBINVD do nothing. */
static void test_others(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 3);

	(void)state;
	g->cpu.gpr[X86_RCX] = GUEST_READONLY;
	assert_int_equal(GUEST_RUN(g, 0x0f, 0xae, 0x39), X86_DONE);
	g->cpu.gpr[X86_RCX] = GUEST_FENCE;
	guest_code(g, (const uint8_t[]){0x0f, 0xae, 0x39}, 3);
	assert_fault(g, guest_step(g), X86_PF, 4);
	guest_code(g, (const uint8_t[]){0x0f, 0x33}, 2);
	assert_fault(g, guest_step(g), X86_GP, 0);
	guest_destroy(g);
	g = system_guest(GUEST_LONG64, 0);
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x08), X86_DONE);
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x09), X86_DONE);
	g->cpu.tsc_aux = 0x77;
	assert_int_equal(GUEST_RUN(g, 0xf3, 0x0f, 0xc7, 0xf8), X86_DONE); /* RDPID RAX */
	assert_int_equal(g->cpu.gpr[X86_RAX], 0x77);
	guest_destroy(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_interrupts),
		cmocka_unit_test(test_gate_dpl),
		cmocka_unit_test(test_into_without_overflow),
		cmocka_unit_test(test_vm86),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_undefined),
		cmocka_unit_test(test_exits),
		cmocka_unit_test(test_others),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
