/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* PUSH, POP and their kin: widths of data and of the pointer, order of effects, privileged flags.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "test/x86/step_guest.h"

static uint64_t peek(const struct guest *g, uint64_t at, unsigned size)
{
	uint64_t value = 0;

	memcpy(&value, g->ram + at, size);
	return value;
}

static void poke(struct guest *g, uint64_t at, uint64_t value, unsigned size)
{
	memcpy(g->ram + at, &value, size);
}

static void expect_fault(struct guest *g, enum x86_result res, unsigned vector)
{
	assert_int_equal(res, X86_FAULT);
	assert_int_equal(g->cpu.fault.vector, vector);
	assert_true(g->cpu.rip == GUEST_CODE);
}

struct push_case {
	enum guest_mode mode;
	uint8_t code[8];
	uint8_t len, width;
	uint64_t value; /* pushed; RAX is 0x1122334455667788 */
};

static void test_push(void **state)
{
	static const struct push_case cases[] = {
		{GUEST_LONG64, {0x50}, 1, 8, 0x1122334455667788},
		{GUEST_LONG64, {0x66, 0x50}, 2, 2, 0x7788},
		{GUEST_LONG64, {0x48, 0x50}, 2, 8, 0x1122334455667788},
		{GUEST_LONG64, {0x6A, 0x80}, 2, 8, 0xffffffffffffff80},
		{GUEST_LONG64, {0x66, 0x6A, 0x80}, 3, 2, 0xff80},
		{GUEST_LONG64, {0x68, 0, 0, 0, 0x80}, 5, 8, 0xffffffff80000000},
		{GUEST_LONG64, {0x66, 0x68, 0x34, 0x12}, 4, 2, 0x1234},
		{GUEST_LONG64, {0x54}, 1, 8, GUEST_STACK},
		{GUEST_LONG64, {0xFF, 0xF0}, 2, 8, 0x1122334455667788},
		{GUEST_COMPAT32, {0x50}, 1, 4, 0x55667788},
		{GUEST_PROT32, {0x6A, 0x80}, 2, 4, 0xffffff80},
		{GUEST_PROT32, {0x66, 0x50}, 2, 2, 0x7788},
		{GUEST_PROT16, {0x50}, 1, 2, 0x7788},
		{GUEST_PROT16, {0x66, 0x50}, 2, 4, 0x55667788},
		{GUEST_REAL16, {0x54}, 1, 2, GUEST_STACK},
		{GUEST_REAL16, {0x68, 0x34, 0x12}, 3, 2, 0x1234},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct push_case *c = &cases[i];
		struct guest *g = guest_create(c->mode, c->mode == GUEST_REAL16 ? 0 : 3);

		memset(g->ram + GUEST_STACK - 16, 0xEE, 16);
		g->cpu.gpr[X86_RAX] = 0x1122334455667788;
		guest_code(g, c->code, c->len);
		assert_int_equal(guest_step(g), X86_DONE);
		assert_int_equal(g->cpu.rip, GUEST_CODE + c->len);
		assert_int_equal(g->cpu.gpr[X86_RSP], GUEST_STACK - c->width);
		assert_true(peek(g, GUEST_STACK - c->width, c->width) == c->value);
		assert_int_equal(g->ram[GUEST_STACK - c->width - 1], 0xEE);
		guest_destroy(g);
	}
}

static void test_pop(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);

	(void)state;
	poke(g, GUEST_STACK, 0x8877665544332211, 8);
	g->cpu.gpr[X86_RBX] = UINT64_MAX;
	assert_int_equal(GUEST_RUN(g, 0x66, 0x5B), X86_DONE); /* pop bx */
	assert_true(g->cpu.gpr[X86_RBX] == 0xffffffffffff2211);
	assert_int_equal(g->cpu.gpr[X86_RSP], GUEST_STACK + 2);
	g->cpu.gpr[X86_RSP] = GUEST_STACK;
	assert_int_equal(GUEST_RUN(g, 0x41, 0x5F), X86_DONE); /* pop r15 */
	assert_true(g->cpu.gpr[X86_R15] == 0x8877665544332211);
	g->cpu.gpr[X86_RSP] = GUEST_STACK;
	assert_int_equal(GUEST_RUN(g, 0x5C), X86_DONE); /* pop rsp */
	assert_true(g->cpu.gpr[X86_RSP] == 0x8877665544332211);
	g->cpu.gpr[X86_RSP] = GUEST_STACK;
	assert_int_equal(GUEST_RUN(g, 0x8F, 0x44, 0x24, 0x10), X86_DONE); /* pop [rsp+16] */
	assert_true(peek(g, GUEST_STACK + 8 + 16, 8) == 0x8877665544332211);
	assert_int_equal(g->cpu.gpr[X86_RSP], GUEST_STACK + 8);
	guest_destroy(g);
	g = guest_create(GUEST_PROT32, 3);
	g->cpu.gpr[X86_RBX] = UINT64_MAX;
	poke(g, GUEST_STACK, 0x44332211, 4);
	assert_int_equal(GUEST_RUN(g, 0x5B), X86_DONE);
	assert_true(g->cpu.gpr[X86_RBX] == 0x44332211);
	guest_destroy(g);
}

/* POP to memory that faults leaves RSP alone. */
static void test_pop_fault(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);

	(void)state;
	g->cpu.gpr[X86_RAX] = GUEST_READONLY + 0xffc; /* the second page of the operand is fine */
	expect_fault(g, GUEST_RUN(g, 0x8F, 0x00), X86_PF);
	assert_int_equal(g->cpu.fault.error, 7);
	assert_true(g->cpu.fault.cr2 == GUEST_READONLY + 0xffc);
	assert_int_equal(g->cpu.gpr[X86_RSP], GUEST_STACK);
	g->cpu.gpr[X86_RSP] = 0x7ffffffffffe; /* the read would leave the canonical half */
	expect_fault(g, GUEST_RUN(g, 0x58), X86_SS_FAULT);
	guest_destroy(g);
}

/* A 16-bit stack pointer wraps and keeps the upper half of ESP. */
static void test_narrow_stack(void **state)
{
	struct guest *g = guest_create(GUEST_PROT32, 3);

	(void)state;
	g->cpu.seg[X86_SS].access &= ~X86_SEG_DB;
	g->cpu.gpr[X86_RSP] = 0xabcd0000;
	g->cpu.gpr[X86_RAX] = 0x12345678;
	assert_int_equal(GUEST_RUN(g, 0x50), X86_DONE);
	assert_true(g->cpu.gpr[X86_RSP] == 0xabcdfffc);
	assert_true(peek(g, 0xfffc, 4) == 0x12345678);
	assert_int_equal(GUEST_RUN(g, 0x59), X86_DONE);
	assert_true(g->cpu.gpr[X86_RSP] == 0xabcd0000);
	assert_true(g->cpu.gpr[X86_RCX] == 0x12345678);
	guest_destroy(g);
	g = guest_create(GUEST_PROT16, 3); /* and a 32-bit one in 16-bit code does not */
	g->cpu.seg[X86_SS].access |= X86_SEG_DB;
	g->cpu.seg[X86_SS].limit = UINT32_MAX;
	g->cpu.gpr[X86_RSP] = 0x20000;
	assert_int_equal(GUEST_RUN(g, 0x50), X86_DONE);
	assert_true(g->cpu.gpr[X86_RSP] == 0x1fffe);
	guest_destroy(g);
}

static void test_pusha_popa(void **state)
{
	struct guest *g = guest_create(GUEST_PROT32, 3);

	(void)state;
	for (unsigned i = 0; i < 8; i++)
		if (i != X86_RSP)
			g->cpu.gpr[i] = 0x11111111u * (i + 1);
	assert_int_equal(GUEST_RUN(g, 0x60), X86_DONE);
	assert_int_equal(g->cpu.gpr[X86_RSP], GUEST_STACK - 32);
	for (unsigned i = 0; i < 8; i++)
		assert_true(peek(g, GUEST_STACK - 4 * (i + 1), 4) ==
			    (i == X86_RSP ? GUEST_STACK : 0x11111111u * (i + 1)));
	for (unsigned i = 0; i < 8; i++)
		if (i != X86_RSP)
			g->cpu.gpr[i] = 0;
	assert_int_equal(GUEST_RUN(g, 0x61), X86_DONE);
	for (unsigned i = 0; i < 8; i++)
		assert_true(g->cpu.gpr[i] == (i == X86_RSP ? GUEST_STACK : 0x11111111u * (i + 1)));
	/* the last push faults: nothing at all is written */
	g->cpu.gpr[X86_RSP] = GUEST_FENCE + 0x1000 + 28;
	memset(g->ram + GUEST_FENCE + 0x1000, 0xEE, 32);
	expect_fault(g, GUEST_RUN(g, 0x60), X86_PF);
	assert_true(g->cpu.fault.cr2 == GUEST_FENCE + 0xffc);
	assert_true(g->cpu.gpr[X86_RSP] == GUEST_FENCE + 0x1000 + 28);
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(g->ram[GUEST_FENCE + 0x1000 + i], 0xEE);
	guest_destroy(g);
	g = guest_create(GUEST_LONG64, 3);
	expect_fault(g, GUEST_RUN(g, 0x60), X86_UD);
	guest_destroy(g);
}

static void test_enter_leave(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);

	(void)state;
	g->cpu.gpr[X86_RBP] = 0x9000;
	assert_int_equal(GUEST_RUN(g, 0xC8, 0x20, 0x01, 0x00), X86_DONE);
	assert_true(peek(g, GUEST_STACK - 8, 8) == 0x9000);
	assert_int_equal(g->cpu.gpr[X86_RBP], GUEST_STACK - 8);
	assert_int_equal(g->cpu.gpr[X86_RSP], GUEST_STACK - 8 - 0x120);
	assert_int_equal(GUEST_RUN(g, 0xC9), X86_DONE);
	assert_int_equal(g->cpu.gpr[X86_RBP], 0x9000);
	assert_int_equal(g->cpu.gpr[X86_RSP], GUEST_STACK);
	/* level 3: two old frame pointers and the new one */
	poke(g, 0x9000 - 8, 0xAAAA, 8);
	poke(g, 0x9000 - 16, 0xBBBB, 8);
	assert_int_equal(GUEST_RUN(g, 0xC8, 0x10, 0x00, 0x23), X86_DONE); /* 0x23 & 31 == 3 */
	assert_true(peek(g, GUEST_STACK - 8, 8) == 0x9000);
	assert_true(peek(g, GUEST_STACK - 16, 8) == 0xAAAA);
	assert_true(peek(g, GUEST_STACK - 24, 8) == 0xBBBB);
	assert_true(peek(g, GUEST_STACK - 32, 8) == GUEST_STACK - 8);
	assert_int_equal(g->cpu.gpr[X86_RBP], GUEST_STACK - 8);
	assert_int_equal(g->cpu.gpr[X86_RSP], GUEST_STACK - 32 - 16);
	guest_destroy(g);
	g = guest_create(GUEST_REAL16, 0);
	g->cpu.gpr[X86_RBP] = 0x12349000;
	assert_int_equal(GUEST_RUN(g, 0xC8, 0x04, 0x00, 0x01), X86_DONE);
	assert_true(peek(g, GUEST_STACK - 2, 2) == 0x9000);
	assert_true(peek(g, GUEST_STACK - 4, 2) == GUEST_STACK - 2);
	assert_true(g->cpu.gpr[X86_RBP] == (0x12340000 | (GUEST_STACK - 2)));
	assert_int_equal(g->cpu.gpr[X86_RSP], GUEST_STACK - 8);
	guest_destroy(g);
}

/* The last of several pushes, or the new top of stack, faults: the first ones are not seen. */
static void test_enter_faults(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);
	uint64_t rsp = GUEST_FENCE + 0x1000 + 16;

	(void)state;
	memset(g->ram + GUEST_FENCE + 0x1000, 0xEE, 16);
	g->cpu.gpr[X86_RBP] = 0x9000;
	g->cpu.gpr[X86_RSP] = rsp;
	expect_fault(g, GUEST_RUN(g, 0xC8, 0, 0, 2), X86_PF);
	assert_true(g->cpu.gpr[X86_RSP] == rsp && g->cpu.gpr[X86_RBP] == 0x9000);
	assert_int_equal(g->ram[rsp - 1], 0xEE);
	expect_fault(g, GUEST_RUN(g, 0xC8, 0x10, 0, 0), X86_PF);
	assert_int_equal(g->ram[rsp - 1], 0xEE);
	assert_int_equal(GUEST_RUN(g, 0xC8, 0x08, 0, 0), X86_DONE);
	guest_destroy(g);
}

static void test_pushf(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);

	(void)state;
	g->cpu.rflags = 0x3f7fd7 | X86_RF_IOPL | X86_RF_VM; /* everything, VM and RF too */
	g->cpu.rflags &= ~X86_RF_VM;
	assert_int_equal(GUEST_RUN(g, 0x9C), X86_DONE);
	assert_true(peek(g, GUEST_STACK - 8, 8) == (g->cpu.rflags & ~X86_RF_RF));
	guest_destroy(g);
}

struct popf_case {
	unsigned cpl;
	uint64_t before, popped, after;
};

static void test_popf(void **state)
{
	const uint64_t plain =
		X86_FL_STATUS | X86_FL_DF | X86_RF_TF | X86_RF_NT | X86_RF_AC | X86_RF_ID | 2;
	const struct popf_case cases[] = {
		{0, 2, UINT64_MAX, plain | X86_RF_IF | X86_RF_IOPL},
		{3, 2, UINT64_MAX, plain},
		{3, 2 | X86_RF_IF, 0, 2 | X86_RF_IF},
		{3, 2 | X86_RF_IOPL, UINT64_MAX, plain | X86_RF_IF | X86_RF_IOPL},
		{3, 2 | X86_RF_IOPL | X86_RF_IF, 0, 2 | X86_RF_IOPL},
		{0, 2 | X86_RF_IOPL | X86_RF_IF, 0, 2},
		{0, 2 | X86_RF_VIP | X86_RF_VIF | X86_RF_RF, 0, 2 | X86_RF_VIP | X86_RF_VIF},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct guest *g = guest_create(GUEST_LONG64, cases[i].cpl);

		g->cpu.rflags = cases[i].before;
		poke(g, GUEST_STACK, cases[i].popped, 8);
		assert_int_equal(GUEST_RUN(g, 0x9D), X86_DONE);
		assert_true(g->cpu.rflags == cases[i].after);
		assert_int_equal(g->cpu.gpr[X86_RSP], GUEST_STACK + 8);
		g->cpu.gpr[X86_RSP] = GUEST_STACK;
		g->cpu.rflags = 2 | X86_RF_AC;
		assert_int_equal(GUEST_RUN(g, 0x66, 0x9D), X86_DONE); /* leaves bits 63:16 alone */
		assert_true(g->cpu.rflags & X86_RF_AC);
		guest_destroy(g);
	}
}

/* Virtual-8086 mode: IOPL 3, or #GP, or VME's virtual IF. */
static void test_vm86_flags(void **state)
{
	struct guest *g = guest_create(GUEST_PROT16, 3);

	(void)state;
	g->cpu.rflags = 2 | X86_RF_VM;
	expect_fault(g, GUEST_RUN(g, 0x9C), X86_GP);
	expect_fault(g, GUEST_RUN(g, 0x9D), X86_GP);
	g->cpu.rflags = 2 | X86_RF_VM | X86_RF_IOPL;
	assert_int_equal(GUEST_RUN(g, 0x66, 0x9C), X86_DONE);
	assert_true(peek(g, GUEST_STACK - 4, 4) == (2 | X86_RF_IOPL)); /* VM reads as 0 */
	poke(g, GUEST_STACK - 4, X86_RF_IF, 4);
	assert_int_equal(GUEST_RUN(g, 0x66, 0x9D), X86_DONE);
	assert_true(g->cpu.rflags == (2 | X86_RF_VM | X86_RF_IOPL | X86_RF_IF));
	g->cpu.cr4 |= X86_CR4_VME;
	g->cpu.rflags = 2 | X86_RF_VM | X86_RF_VIF;
	assert_int_equal(GUEST_RUN(g, 0x9C), X86_DONE);
	assert_true(peek(g, GUEST_STACK - 2, 2) == (2 | X86_RF_IOPL | X86_RF_IF));
	poke(g, GUEST_STACK - 2, X86_FL_CF, 2);
	assert_int_equal(GUEST_RUN(g, 0x9D), X86_DONE);
	assert_true(g->cpu.rflags == (2 | X86_RF_VM | X86_FL_CF));
	g->cpu.rflags |= X86_RF_VIP;
	poke(g, GUEST_STACK, X86_RF_IF, 2);
	expect_fault(g, GUEST_RUN(g, 0x9D), X86_GP);
	expect_fault(g, GUEST_RUN(g, 0x66, 0x9D), X86_GP);
	guest_destroy(g);
}

static void test_alignment_check(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);

	(void)state;
	g->cpu.gpr[X86_RSP] = GUEST_STACK + 1;
	assert_int_equal(GUEST_RUN(g, 0x50), X86_DONE);
	g->cpu.cr0 |= X86_CR0_AM;
	assert_int_equal(GUEST_RUN(g, 0x50), X86_DONE);
	g->cpu.rflags |= X86_RF_AC;
	expect_fault(g, GUEST_RUN(g, 0x50), X86_AC);
	assert_true(g->cpu.fault.has_error && g->cpu.fault.error == 0);
	g->cpu.cpl = 0;
	assert_int_equal(GUEST_RUN(g, 0x50), X86_DONE);
	guest_destroy(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_push),
		cmocka_unit_test(test_pop),
		cmocka_unit_test(test_pop_fault),
		cmocka_unit_test(test_narrow_stack),
		cmocka_unit_test(test_pusha_popa),
		cmocka_unit_test(test_enter_leave),
		cmocka_unit_test(test_enter_faults),
		cmocka_unit_test(test_pushf),
		cmocka_unit_test(test_popf),
		cmocka_unit_test(test_vm86_flags),
		cmocka_unit_test(test_alignment_check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
