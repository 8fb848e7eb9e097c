/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Far JMP and CALL: direct, through gates, to tasks (SDM vol. 2, CALL, JMP). */
#include "test/x86/system_guest.h"

#define TARGET 0x11223u

enum op { JMP, CALL };

/* JMP or CALL ptr16:32, or in 64-bit mode its memory form. */
static enum x86_result far(struct guest *g, enum op op, unsigned sel, uint32_t offset)
{
	uint8_t code[8] = {op == JMP ? 0xea : 0x9a};
	uint8_t mem[8] = {0xff, op == JMP ? 0x2c : 0x1c, 0x25};
	uint32_t at = AT_DATA;

	if (g->mode == GUEST_LONG64) {
		guest_put(g, AT_DATA, offset, 4);
		guest_put(g, AT_DATA + 4, sel, 2);
		memcpy(mem + 3, &at, 4);
		guest_code(g, mem, 7);
	} else {
		memcpy(code + 1, &offset, 4);
		memcpy(code + 5, &sel, 2);
		guest_code(g, code, 7);
	}
	return guest_step(g);
}

static void test_real(void **state)
{
	struct guest *g = system_guest(GUEST_REAL16, 0);

	(void)state;
	assert_int_equal(GUEST_RUN(g, 0x9a, 0x34, 0x12, 0x00, 0x80), X86_DONE); /* CALL 8000:1234 */
	assert_int_equal(g->cpu.seg[X86_CS].sel, 0x8000);
	assert_int_equal(g->cpu.seg[X86_CS].base, 0x80000);
	assert_int_equal(g->cpu.rip, 0x1234);
	assert_int_equal(g->cpu.gpr[X86_RSP], 0x7ffc);
	assert_int_equal(guest_get(g, 0x7ffc, 4), GUEST_CODE + 5);
	guest_destroy(g);
	g = system_guest(GUEST_REAL16, 0);
	/* With a 32-bit offset that the limit does not allow. */
	guest_code(g, (const uint8_t[]){0x66, 0xea, 0, 0, 1, 0, 0, 0x80}, 8);
	assert_fault(g, guest_step(g), X86_GP, 0);
	guest_destroy(g);
}

static void test_direct(void **state)
{
	static const struct {
		enum guest_mode mode;
		unsigned cpl, sel, cs;
		uint64_t size;
	} tests[] = {
		{GUEST_PROT32, 0, KCODE, KCODE, 32},
		{GUEST_PROT32, 3, UCODE, UCODE, 32},
		{GUEST_PROT32, 3, UCODE & ~3u, UCODE, 32},
		{GUEST_PROT32, 3, CONFORMING, CONFORMING | 3, 32},
		{GUEST_COMPAT32, 0, KCODE64, KCODE64, 64},
		{GUEST_LONG64, 0, KCODE, KCODE, 32},
		{GUEST_LONG64, 3, UCODE, UCODE, 32},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		for (enum op op = JMP; op <= CALL; op++) {
			struct guest *g = system_guest(tests[i].mode, tests[i].cpl);
			uint16_t old_cs = g->cpu.seg[X86_CS].sel;
			uint64_t next = GUEST_CODE + 7;

			assert_int_equal(far(g, op, tests[i].sel, TARGET), X86_DONE);
			assert_int_equal(g->cpu.seg[X86_CS].sel, tests[i].cs);
			assert_int_equal(x86_code_size(&g->cpu), tests[i].size);
			assert_int_equal(g->cpu.rip, TARGET);
			assert_int_equal(g->cpu.cpl, tests[i].cpl);
			assert_int_equal(g->cpu.gpr[X86_RSP], STACK_NOW - (op == CALL ? 8 : 0));
			if (op == CALL) {
				assert_int_equal(guest_get(g, STACK_NOW - 8, 4), next);
				assert_int_equal(guest_get(g, STACK_NOW - 4, 2), old_cs);
			}
			guest_destroy(g);
		}
}

/* Marks the descriptor accessed, as every load does. */
static void test_accessed(void **state)
{
	struct guest *g = system_guest(GUEST_PROT32, 0);

	(void)state;
	gdt_set(g, FREE, descriptor(0, UINT32_MAX, (A_CODE & ~1u) | A_32));
	assert_int_equal(far(g, JMP, FREE, TARGET), X86_DONE);
	assert_int_equal(guest_get(g, AT_GDT + FREE + 5, 1), A_CODE);
	assert_int_equal(g->cpu.seg[X86_CS].access & 0xff, A_CODE);
	guest_destroy(g);
}

static void test_direct_errors(void **state)
{
	static const struct {
		unsigned cpl, sel;
		uint32_t access; /* of FREE, if that is used */
		unsigned vector;
		uint32_t error;
	} tests[] = {
		{0, 0, 0, X86_GP, 0}, {0, 3, 0, X86_GP, 0}, {0, 0x1000, 0, X86_GP, 0x1000},
		{0, 0x104, 0, X86_GP, 0x104}, /* in an LDT that is not there */
		{0, KDATA, 0, X86_GP, KDATA}, {3, KCODE, 0, X86_GP, KCODE}, /* DPL below CPL */
		{0, UCODE, 0, X86_GP, UCODE & ~3u},			    /* DPL above CPL */
		{0, KCODE | 3, 0, X86_GP, KCODE},			    /* RPL above CPL */
		{0, FREE, A_CODE | 4 | A_DPL3 | A_32, X86_GP, FREE}, /* conforming, DPL above CPL */
		{0, FREE, (A_CODE | A_32) & ~0x80u, X86_NP, FREE},
		{0, FREE, A_CODE | X86_SEG_DB, X86_GP, 0}, /* limit */
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		for (enum op op = JMP; op <= CALL; op++) {
			struct guest *g = system_guest(GUEST_PROT32, tests[i].cpl);

			gdt_set(g, FREE,
				descriptor(0, tests[i].access & X86_SEG_G ? UINT32_MAX : TARGET - 1,
					tests[i].access));
			g->cpu.rip = GUEST_CODE;
			assert_fault(g, far(g, op, tests[i].sel, TARGET), tests[i].vector,
				tests[i].error);
			guest_destroy(g);
		}
}

static void test_l_and_d(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);

	(void)state;
	gdt_set(g, FREE, descriptor(0, UINT32_MAX, A_CODE | A_64 | X86_SEG_DB));
	assert_fault(g, far(g, JMP, FREE, TARGET), X86_GP, FREE);
	guest_destroy(g);
}

/* ---- call gates ---- */

static void test_gate_same(void **state)
{
	static const unsigned types[] = {GATE_CALL32, GATE_CALL16};

	(void)state;
	for (unsigned i = 0; i < 2; i++)
		for (enum op op = JMP; op <= CALL; op++) {
			struct guest *g = system_guest(GUEST_PROT32, 0);
			unsigned word = i ? 2 : 4;

			gate_set(g, FREE, types[i], KCODE, TARGET, 5);
			assert_int_equal(far(g, op, FREE, 0xdead), X86_DONE);
			assert_int_equal(g->cpu.rip, i ? TARGET & 0xffff : TARGET);
			assert_int_equal(
				g->cpu.gpr[X86_RSP], STACK_NOW - (op == CALL ? 2 * word : 0));
			guest_destroy(g);
		}
}

static void test_gate_inward(void **state)
{
	static const unsigned types[] = {GATE_CALL32, GATE_CALL16};

	(void)state;
	for (unsigned t = 0; t < 2; t++) {
		struct guest *g = system_guest(GUEST_PROT32, 3);
		unsigned word = t ? 2 : 4, size = (2 + 3 + 2) * word;
		const uint64_t frame[] = {GUEST_CODE + 7, UCODE, 0x1001, 0x1002, 0x1003,
			STACK_NOW & (t ? 0xffff : UINT32_MAX), UDATA};

		for (unsigned i = 0; i < 3; i++)
			guest_put(g, STACK_NOW + i * word, 0x1001 + i, word);
		gate_set(g, FREE, types[t] | A_DPL3, KCODE, TARGET, 3);
		assert_int_equal(far(g, CALL, FREE | 3, 0), X86_DONE);
		assert_int_equal(g->cpu.cpl, 0);
		assert_int_equal(g->cpu.seg[X86_CS].sel, KCODE);
		assert_int_equal(g->cpu.seg[X86_SS].sel, KDATA);
		assert_int_equal(g->cpu.gpr[X86_RSP], STACK0 - size);
		for (unsigned i = 0; i < 7; i++)
			assert_int_equal(guest_get(g, STACK0 - size + i * word, word), frame[i]);
		guest_destroy(g);
	}
}

static void test_gate_inward_long(void **state)
{
	static const enum guest_mode modes[] = {GUEST_LONG64, GUEST_COMPAT32};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct guest *g = system_guest(modes[i], 3);
		const uint64_t target = 0xffff900000001234ull;

		gate_set(g, FREE, GATE_CALL32 | A_DPL3, KCODE64, target, 0);
		assert_int_equal(far(g, CALL, FREE | 3, 0), X86_DONE);
		assert_int_equal(g->cpu.rip, target);
		assert_int_equal(g->cpu.cpl, 0);
		assert_int_equal(g->cpu.seg[X86_SS].sel, 0);
		assert_int_equal(g->cpu.gpr[X86_RSP], STACK0 - 32);
		assert_int_equal(guest_get(g, STACK0 - 32, 8), GUEST_CODE + 7);
		assert_int_equal(guest_get(g, STACK0 - 24, 8), i ? UCODE : UCODE64);
		assert_int_equal(guest_get(g, STACK0 - 16, 8), STACK_NOW);
		assert_int_equal(guest_get(g, STACK0 - 8, 8), UDATA);
		guest_destroy(g);
	}
}

static void test_gate_errors(void **state)
{
	static const struct {
		enum guest_mode mode;
		enum op op;
		unsigned cpl, sel, type, target, vector;
		uint32_t error;
	} tests[] = {
		{GUEST_PROT32, CALL, 3, FREE, GATE_CALL32, KCODE, X86_GP, FREE}, /* DPL below CPL */
		{GUEST_PROT32, CALL, 0, FREE | 3, GATE_CALL32, KCODE, X86_GP, FREE}, /* and RPL */
		{GUEST_PROT32, CALL, 0, FREE, GATE_CALL32 & ~0x80u, KCODE, X86_NP, FREE},
		{GUEST_PROT32, CALL, 0, FREE, GATE_CALL32, 0, X86_GP, 0},
		{GUEST_PROT32, CALL, 0, FREE, GATE_CALL32, 0x1000, X86_GP, 0x1000},
		{GUEST_PROT32, CALL, 0, FREE, GATE_CALL32, KDATA, X86_GP, KDATA},
		{GUEST_PROT32, CALL, 0, FREE, GATE_CALL32, UCODE, X86_GP, UCODE & ~3u},
		/* JMP does not change the privilege level. */
		{GUEST_PROT32, JMP, 3, FREE, GATE_CALL32 | A_DPL3, KCODE, X86_GP, KCODE},
		{GUEST_LONG64, CALL, 0, FREE, GATE_CALL32, KCODE, X86_GP, KCODE},
		{GUEST_LONG64, CALL, 0, FREE, GATE_CALL16, KCODE64, X86_GP, FREE},
		{GUEST_LONG64, JMP, 0, TSS2, 0, 0, X86_GP, TSS2},
		{GUEST_PROT32, JMP, 0, LDT, 0, 0, X86_GP, LDT},
		{GUEST_PROT32, JMP, 0, FREE, GATE_INTR32, KCODE, X86_GP, FREE},
		{GUEST_PROT32, JMP, 3, TSS2, 0, 0, X86_GP, TSS2},
		{GUEST_PROT32, JMP, 0, TSS, 0, 0, X86_GP, TSS}, /* busy */
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		struct guest *g = system_guest(tests[i].mode, tests[i].cpl);

		if (tests[i].type)
			gate_set(g, FREE, tests[i].type, tests[i].target, TARGET, 0);
		g->cpu.rip = GUEST_CODE;
		assert_fault(
			g, far(g, tests[i].op, tests[i].sel, 0), tests[i].vector, tests[i].error);
		guest_destroy(g);
	}
}

/* The upper half of a 64-bit gate has a type field that must be 0. */
static void test_gate_high_type(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);

	(void)state;
	gate_set(g, FREE, GATE_CALL32, KCODE64, TARGET, 0);
	guest_put(g, AT_GDT + FREE + 13, 1, 1);
	assert_fault(g, far(g, CALL, FREE, 0), X86_GP, FREE);
	guest_destroy(g);
}

static void test_tasks(void **state)
{
	(void)state;
	for (enum op op = JMP; op <= CALL; op++)
		for (unsigned gate = 0; gate < 2; gate++) {
			struct guest *g = system_guest(GUEST_PROT32, 0);

			gate_set(g, FREE, GATE_TASK, TSS2, 0, 0);
			assert_int_equal(far(g, op, gate ? FREE : TSS2, 0), X86_EXIT);
			assert_int_equal(g->cpu.exit.reason, X86_EXIT_TASK_SWITCH);
			assert_int_equal(g->cpu.exit.task.sel, TSS2);
			assert_int_equal(
				g->cpu.exit.task.reason, op == CALL ? X86_TASK_CALL : X86_TASK_JMP);
			assert_int_equal(g->cpu.rip, GUEST_CODE);
			guest_destroy(g);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_real),
		cmocka_unit_test(test_direct),
		cmocka_unit_test(test_accessed),
		cmocka_unit_test(test_direct_errors),
		cmocka_unit_test(test_l_and_d),
		cmocka_unit_test(test_gate_same),
		cmocka_unit_test(test_gate_inward),
		cmocka_unit_test(test_gate_inward_long),
		cmocka_unit_test(test_gate_errors),
		cmocka_unit_test(test_gate_high_type),
		cmocka_unit_test(test_tasks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
