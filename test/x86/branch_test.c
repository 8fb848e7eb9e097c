/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Near control transfers in every mode: targets, conditions, counters, faults that change nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "test/x86/step_guest.h"

static void expect_gp(struct guest *g, enum x86_result res)
{
	assert_int_equal(res, X86_FAULT);
	assert_int_equal(g->cpu.fault.vector, X86_GP);
	assert_true(g->cpu.fault.has_error);
	assert_int_equal(g->cpu.fault.error, 0);
	assert_true(g->cpu.rip == GUEST_CODE);
}

/* Every condition against the definition, over all flags. */
static void test_conditions(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);

	(void)state;
	for (unsigned flags = 0; flags < 64; flags++) {
		bool of = flags & 1, cf = flags & 2, zf = flags & 4, sf = flags & 8,
		     pf = flags & 16;
		const bool taken[8] = {of, cf, zf, cf || zf, sf, pf, sf != of, zf || sf != of};
		uint64_t rflags = 2 | (of ? X86_FL_OF : 0) | (cf ? X86_FL_CF : 0) |
				  (zf ? X86_FL_ZF : 0) | (sf ? X86_FL_SF : 0) |
				  (pf ? X86_FL_PF : 0) | (flags & 32 ? X86_FL_AF : 0);

		for (unsigned cc = 0; cc < 16; cc++) {
			bool want = taken[cc / 2] != (cc & 1);

			g->cpu.rflags = rflags;
			assert_int_equal(GUEST_RUN(g, (uint8_t)(0x70 | cc), 0x10), X86_DONE);
			assert_int_equal(g->cpu.rip, GUEST_CODE + 2 + (want ? 0x10 : 0));
			assert_int_equal(
				GUEST_RUN(g, 0x0F, (uint8_t)(0x80 | cc), 0xF0, 0xFF, 0xFF, 0xFF),
				X86_DONE);
			assert_int_equal(g->cpu.rip, GUEST_CODE + 6 - (want ? 0x10 : 0));
			assert_true(g->cpu.rflags == rflags);
		}
	}
	guest_destroy(g);
}

static void test_jumps_64(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);
	uint64_t target = 0x123456789000;

	(void)state;
	assert_int_equal(GUEST_RUN(g, 0xEB, 0xFE), X86_DONE);
	assert_int_equal(g->cpu.rip, GUEST_CODE);
	g->cpu.gpr[X86_R9] = target;
	assert_int_equal(GUEST_RUN(g, 0x41, 0xFF, 0xE1), X86_DONE); /* jmp r9 */
	assert_true(g->cpu.rip == target);
	memcpy(g->ram + GUEST_DATA, &target, 8);
	assert_int_equal(GUEST_RUN(g, 0xFF, 0x24, 0x25, 0, 0, 2, 0), X86_DONE); /* jmp [0x20000] */
	assert_true(g->cpu.rip == target);
	g->cpu.gpr[X86_R9] = 0x0000800000000000;
	expect_gp(g, GUEST_RUN(g, 0x41, 0xFF, 0xE1));
	g->cpu.gpr[X86_R9] = 0xffff800000000000;
	assert_int_equal(GUEST_RUN(g, 0x41, 0xFF, 0xE1), X86_DONE);
	guest_destroy(g);
}

/* The operand size cuts the target; the limit of CS bounds it. */
static void test_jumps_legacy(void **state)
{
	struct guest *g = guest_create(GUEST_PROT32, 3);

	(void)state;
	g->cpu.gpr[X86_RAX] = 0xffffffff00012345;
	assert_int_equal(GUEST_RUN(g, 0xFF, 0xE0), X86_DONE);
	assert_int_equal(g->cpu.rip, 0x12345);
	assert_int_equal(GUEST_RUN(g, 0x66, 0xFF, 0xE0), X86_DONE);
	assert_int_equal(g->cpu.rip, 0x2345);
	assert_int_equal(GUEST_RUN(g, 0x66, 0xE9, 0xFC, 0xEF), X86_DONE); /* 0x1004 - 0x1004 */
	assert_int_equal(g->cpu.rip, 0);
	g->cpu.seg[X86_CS].limit = 0x12344;
	expect_gp(g, GUEST_RUN(g, 0xFF, 0xE0));
	g->cpu.seg[X86_CS].limit = 0x12345;
	assert_int_equal(GUEST_RUN(g, 0xFF, 0xE0), X86_DONE);
	guest_destroy(g);
	g = guest_create(GUEST_REAL16, 0);
	assert_int_equal(GUEST_RUN(g, 0xEB, 0x80), X86_DONE);
	assert_int_equal(g->cpu.rip, GUEST_CODE + 2 - 0x80);
	assert_int_equal(GUEST_RUN(g, 0xE9, 0x00, 0xF0), X86_DONE); /* IP wraps at 64 KiB */
	assert_int_equal(g->cpu.rip, 3);
	expect_gp(g, GUEST_RUN(g, 0x66, 0xE9, 0x00, 0xF0, 0x00, 0x00)); /* EIP does not */
	guest_destroy(g);
}

struct call_case {
	enum guest_mode mode;
	uint8_t code[8];
	uint8_t len;
	uint8_t width; /* bytes pushed */
};

static void test_call_ret(void **state)
{
	static const struct call_case cases[] = {
		{GUEST_LONG64, {0xE8, 0x00, 0x10, 0, 0}, 5, 8},
		{GUEST_COMPAT32, {0xE8, 0x00, 0x10, 0, 0}, 5, 4},
		{GUEST_PROT32, {0xE8, 0x00, 0x10, 0, 0}, 5, 4},
		{GUEST_PROT32, {0x66, 0xE8, 0x00, 0x10}, 4, 2},
		{GUEST_PROT16, {0xE8, 0x00, 0x10}, 3, 2},
		{GUEST_REAL16, {0xE8, 0x00, 0x10}, 3, 2},
		{GUEST_REAL16, {0x66, 0xE8, 0x00, 0x10, 0, 0}, 6, 4},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct call_case *c = &cases[i];
		struct guest *g = guest_create(c->mode, c->mode == GUEST_REAL16 ? 0 : 3);
		uint64_t pushed = 0;

		memset(g->ram + GUEST_STACK - 16, 0xEE, 16);
		guest_code(g, c->code, c->len);
		assert_int_equal(guest_step(g), X86_DONE);
		assert_int_equal(g->cpu.rip, GUEST_CODE + c->len + 0x1000);
		assert_int_equal(g->cpu.gpr[X86_RSP], GUEST_STACK - c->width);
		memcpy(&pushed, g->ram + GUEST_STACK - c->width, c->width);
		assert_int_equal(pushed, GUEST_CODE + c->len);
		assert_int_equal(g->ram[GUEST_STACK - c->width - 1], 0xEE);
		if (c->code[0] == 0x66) /* ret 0xfff0: the count is unsigned */
			assert_int_equal(GUEST_RUN(g, 0x66, 0xC2, 0x10, 0x00), X86_DONE);
		else
			assert_int_equal(GUEST_RUN(g, 0xC2, 0x10, 0x00), X86_DONE);
		assert_int_equal(g->cpu.rip, GUEST_CODE + c->len);
		assert_int_equal(g->cpu.gpr[X86_RSP], GUEST_STACK + 0x10);
		guest_destroy(g);
	}
}

static void test_ret_count_is_unsigned(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);

	(void)state;
	assert_int_equal(GUEST_RUN(g, 0xC2, 0xF8, 0xFF), X86_DONE);
	assert_int_equal(g->cpu.gpr[X86_RSP], GUEST_STACK + 8 + 0xFFF8);
	assert_int_equal(g->cpu.rip, 0);
	guest_destroy(g);
}

static void test_call_faults(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);

	(void)state;
	g->cpu.gpr[X86_RSP] = GUEST_FENCE + 0x1008;
	g->cpu.gpr[X86_RSP] -= 8; /* the push would hit the fence */
	assert_int_equal(GUEST_RUN(g, 0xE8, 0, 0, 0, 0), X86_FAULT);
	assert_int_equal(g->cpu.fault.vector, X86_PF);
	assert_true(g->cpu.fault.cr2 == GUEST_FENCE + 0xff8);
	assert_int_equal(g->cpu.fault.error, 6); /* user write, not present */
	assert_true(g->cpu.gpr[X86_RSP] == GUEST_FENCE + 0x1000);
	assert_true(g->cpu.rip == GUEST_CODE);
	g->cpu.gpr[X86_RAX] = 1ull << 63;
	g->cpu.gpr[X86_RSP] = GUEST_STACK;
	expect_gp(g, GUEST_RUN(g, 0xFF, 0xD0)); /* call rax: nothing is pushed */
	assert_int_equal(g->cpu.gpr[X86_RSP], GUEST_STACK);
	memset(g->ram + GUEST_STACK, 0x99, 8);
	expect_gp(g, GUEST_RUN(g, 0xC3));
	assert_int_equal(g->cpu.gpr[X86_RSP], GUEST_STACK);
	guest_destroy(g);
}

/* call [rsp]: the address is that of before the push. */
static void test_call_through_stack(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);
	uint64_t target = 0x4000;

	(void)state;
	memcpy(g->ram + GUEST_STACK, &target, 8);
	assert_int_equal(GUEST_RUN(g, 0xFF, 0x14, 0x24), X86_DONE);
	assert_int_equal(g->cpu.rip, 0x4000);
	assert_int_equal(g->cpu.gpr[X86_RSP], GUEST_STACK - 8);
	guest_destroy(g);
}

static void loop_once(struct guest *g, uint8_t opcode, bool addr_prefix, uint64_t rcx, bool zf,
	uint64_t want_rcx, bool want_taken)
{
	uint8_t code[3] = {0x67, opcode, 0x20};
	unsigned skip = !addr_prefix;

	g->cpu.gpr[X86_RCX] = rcx;
	g->cpu.rflags = 2 | (zf ? X86_FL_ZF : 0);
	guest_code(g, code + skip, 3 - skip);
	assert_int_equal(guest_step(g), X86_DONE);
	assert_true(g->cpu.gpr[X86_RCX] == want_rcx);
	assert_int_equal(g->cpu.rip, GUEST_CODE + 3 - skip + (want_taken ? 0x20 : 0));
}

static void test_loops(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);
	const uint64_t high = 0xaaaaaaaa00000000;

	(void)state;
	loop_once(g, 0xE2, false, 2, false, 1, true);
	loop_once(g, 0xE2, false, 1, false, 0, false);
	loop_once(g, 0xE2, false, 0, false, UINT64_MAX, true);
	loop_once(g, 0xE2, false, high, false, high - 1, true);
	loop_once(g, 0xE2, true, high | 1, false, 0, false);
	loop_once(g, 0xE2, true, high, false, UINT32_MAX, true);
	loop_once(g, 0xE1, false, 2, true, 1, true);
	loop_once(g, 0xE1, false, 2, false, 1, false);
	loop_once(g, 0xE1, false, 1, true, 0, false);
	loop_once(g, 0xE0, false, 2, false, 1, true);
	loop_once(g, 0xE0, false, 2, true, 1, false);
	loop_once(g, 0xE3, false, 0, false, 0, true);
	loop_once(g, 0xE3, false, high, false, high, false);
	loop_once(g, 0xE3, true, high, false, high, true);
	guest_destroy(g);
	g = guest_create(GUEST_REAL16, 0);
	loop_once(g, 0xE2, false, 0x10001, false, 0x10000, false);
	loop_once(g, 0xE2, true, 0x10001, false, 0x10000, true);
	loop_once(g, 0xE3, false, 0x10000, false, 0x10000, true);
	loop_once(g, 0xE3, true, 0x10000, false, 0x10000, false);
	guest_destroy(g);
}

/* A loop that would leave CS faults with its counter unchanged. */
static void test_loop_fault(void **state)
{
	struct guest *g = guest_create(GUEST_PROT32, 3);

	(void)state;
	g->cpu.seg[X86_CS].limit = GUEST_CODE + 2;
	g->cpu.gpr[X86_RCX] = 5;
	expect_gp(g, GUEST_RUN(g, 0xE2, 0x20));
	assert_int_equal(g->cpu.gpr[X86_RCX], 5);
	g->cpu.gpr[X86_RCX] = 1; /* not taken: the target does not matter */
	assert_int_equal(GUEST_RUN(g, 0xE2, 0x20), X86_DONE);
	guest_destroy(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_conditions),
		cmocka_unit_test(test_jumps_64),
		cmocka_unit_test(test_jumps_legacy),
		cmocka_unit_test(test_call_ret),
		cmocka_unit_test(test_ret_count_is_unsigned),
		cmocka_unit_test(test_call_faults),
		cmocka_unit_test(test_call_through_stack),
		cmocka_unit_test(test_loops),
		cmocka_unit_test(test_loop_fault),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
