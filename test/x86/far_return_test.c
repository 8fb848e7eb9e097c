/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Far RET and IRET in all their forms (SDM vol. 2; vol. 3, 6.12, 6.14.3, 20.2). */
#include "test/x86/system_guest.h"

#define TARGET 0x11223u
#define OUTER  0x12340u
#define ARITH  0x8d5u

static void push_words(struct guest *g, unsigned word, const uint64_t *words, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		guest_put(g, STACK_NOW + i * word, words[i], word);
}

#define PUSH(g, word, ...)                                                                         \
	push_words((g), (word), (const uint64_t[]){__VA_ARGS__},                                   \
		sizeof((const uint64_t[]){__VA_ARGS__}) / 8)

/* A step whose fault is checked needs rip in place beforehand. */
static void code(struct guest *g, uint8_t a, uint8_t b, uint8_t c)
{
	guest_code(g, (const uint8_t[]){a, b, c, 0x90}, 4);
}

#define RETF  0xcb, 0x90, 0x90
#define IRET  0xcf, 0x90, 0x90
#define IRETQ 0x48, 0xcf, 0x90
#define IRETW 0x66, 0xcf, 0x90

/* ---- RET ---- */

static void test_ret_real(void **state)
{
	struct guest *g = system_guest(GUEST_REAL16, 0);

	(void)state;
	guest_put(g, 0x8000, 0x80001234, 4);
	assert_int_equal(GUEST_RUN(g, 0xca, 0x10, 0x00), X86_DONE);
	assert_int_equal(g->cpu.seg[X86_CS].sel, 0x8000);
	assert_int_equal(g->cpu.seg[X86_CS].base, 0x80000);
	assert_int_equal(g->cpu.rip, 0x1234);
	assert_int_equal(g->cpu.gpr[X86_RSP], 0x8014);
	guest_destroy(g);
}

static void test_ret_same(void **state)
{
	struct guest *g = system_guest(GUEST_PROT32, 0);

	(void)state;
	PUSH(g, 4, TARGET, 0xabcd0000u | KCODE);
	assert_int_equal(GUEST_RUN(g, 0xca, 0x08, 0x00), X86_DONE);
	assert_int_equal(g->cpu.rip, TARGET);
	assert_int_equal(g->cpu.gpr[X86_RSP], STACK_NOW + 16);
	assert_int_equal(g->cpu.seg[X86_SS].sel, KDATA);
	guest_destroy(g);
}

/*
 * Outwards: the inner parameters, the outer stack, the outer parameters; inner segments are
 * dropped.
 */
static void test_ret_outer(void **state)
{
	struct guest *g = system_guest(GUEST_PROT32, 0);

	(void)state;
	g->cpu.seg[X86_FS].sel = UDATA;
	g->cpu.seg[X86_FS].access |= A_DPL3;
	PUSH(g, 4, TARGET, UCODE, 1, 2, OUTER, UDATA);
	assert_int_equal(GUEST_RUN(g, 0xca, 0x08, 0x00), X86_DONE);
	assert_int_equal(g->cpu.cpl, 3);
	assert_int_equal(g->cpu.seg[X86_CS].sel, UCODE);
	assert_int_equal(g->cpu.seg[X86_SS].sel, UDATA);
	assert_int_equal(g->cpu.gpr[X86_RSP], OUTER + 8);
	assert_int_equal(g->cpu.seg[X86_DS].sel, 0);
	assert_true(g->cpu.seg[X86_DS].access & X86_SEG_UNUSABLE);
	assert_int_equal(g->cpu.seg[X86_FS].sel, UDATA);
	guest_destroy(g);
}

static void test_ret_long(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);

	(void)state;
	PUSH(g, 8, 0xffff800000000000ull, KCODE64);
	assert_int_equal(GUEST_RUN(g, 0x48, 0xcb), X86_DONE); /* RETFQ */
	assert_int_equal(g->cpu.rip, 0xffff800000000000ull);
	assert_int_equal(g->cpu.gpr[X86_RSP], STACK_NOW + 16);
	guest_destroy(g);
	/* To ring 3 in compatibility mode. */
	g = system_guest(GUEST_LONG64, 0);
	PUSH(g, 4, TARGET, UCODE, OUTER, UDATA);
	assert_int_equal(GUEST_RUN(g, 0xcb), X86_DONE);
	assert_int_equal(x86_code_size(&g->cpu), 32);
	assert_int_equal(g->cpu.cpl, 3);
	assert_int_equal(g->cpu.gpr[X86_RSP], OUTER);
	guest_destroy(g);
}

struct bad_return {
	unsigned cpl;
	uint64_t rip, cs;
	uint32_t cs_access; /* of FREE */
	uint64_t sp, ss;
	uint32_t ss_access; /* of FREE + 8 */
	unsigned vector;
	uint32_t error;
};

static const struct bad_return bad_returns[] = {
	{.cs = 0, .vector = X86_GP},
	{.cs = 3, .vector = X86_GP},
	{.cs = 0x1000, .vector = X86_GP, .error = 0x1000},
	{.cs = KDATA, .vector = X86_GP, .error = KDATA},
	{.cpl = 3, .cs = KCODE, .vector = X86_GP, .error = KCODE},	  /* inwards */
	{.cs = KCODE | 3, .ss = UDATA, .vector = X86_GP, .error = KCODE}, /* DPL != RPL */
	{.cs = UCODE & ~3u, .vector = X86_GP, .error = UCODE & ~3u},
	{.cs = FREE, .cs_access = A_CODE | 4 | A_DPL3 | A_32, .vector = X86_GP, .error = FREE},
	{.cs = FREE, .cs_access = (A_CODE | A_32) & ~0x80u, .vector = X86_NP, .error = FREE},
	{.rip = 0x1001, .cs = FREE, .cs_access = A_CODE | X86_SEG_DB, .vector = X86_GP},
	{.cs = UCODE, .ss = 0, .vector = X86_GP},
	{.cs = UCODE, .ss = 0x1003, .vector = X86_GP, .error = 0x1000},
	{.cs = UCODE, .ss = UDATA & ~3u, .vector = X86_GP, .error = UDATA & ~3u},
	{.cs = UCODE, .ss = KDATA | 3, .vector = X86_GP, .error = KDATA},
	{.cs = UCODE, .ss = UCODE, .vector = X86_GP, .error = UCODE & ~3u},
	{.cs = UCODE,
		.ss = (FREE + 8) | 3,
		.ss_access = 0x91 | A_DPL3 | A_32,
		.vector = X86_GP,
		.error = FREE + 8},
	{.cs = UCODE,
		.ss = (FREE + 8) | 3,
		.ss_access = (A_DATA | A_DPL3 | A_32) & ~0x80u,
		.vector = X86_SS_FAULT,
		.error = FREE + 8},
};

static void check_bad_return(const struct bad_return *t, bool iret)
{
	struct guest *g = system_guest(GUEST_PROT32, t->cpl);

	gdt_set(g, FREE,
		descriptor(0, t->cs_access & X86_SEG_G ? UINT32_MAX : 0x1000, t->cs_access));
	gdt_set(g, FREE + 8, descriptor(0, UINT32_MAX, t->ss_access));
	if (iret) {
		PUSH(g, 4, t->rip, t->cs, 2, t->sp, t->ss);
		code(g, IRET);
	} else {
		PUSH(g, 4, t->rip, t->cs, t->sp, t->ss);
		code(g, RETF);
	}
	assert_fault(g, guest_step(g), t->vector, t->error);
	guest_destroy(g);
}

static void test_bad_returns(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(bad_returns) / sizeof(bad_returns[0]); i++) {
		check_bad_return(&bad_returns[i], false);
		check_bad_return(&bad_returns[i], true);
	}
}

/* ---- IRET ---- */

static void test_iret_real(void **state)
{
	struct guest *g = system_guest(GUEST_REAL16, 0);

	(void)state;
	guest_put(g, 0x8000, 0x80001234, 4);
	guest_put(g, 0x8004, 0xffff, 2);
	g->cpu.rflags = 2 | X86_RF_AC;
	g->cpu.nmi_blocked = true;
	assert_int_equal(GUEST_RUN(g, 0xcf), X86_DONE);
	assert_int_equal(g->cpu.rip, 0x1234);
	assert_int_equal(g->cpu.gpr[X86_RSP], 0x8006);
	assert_int_equal(g->cpu.rflags, 0x7fd7 | X86_RF_AC);
	assert_false(g->cpu.nmi_blocked);
	guest_destroy(g);
}

/* Which flags IRET may load at which privilege. */
static void test_iret_flags(void **state)
{
	static const struct {
		unsigned cpl, iopl;
		uint64_t popped, expected;
	} tests[] = {
		{0, 0, 0x3c7fd7 & ~X86_RF_NT, 0x3c3fd7 & ~X86_RF_VM},
		{3, 0, 0x257fd7, 0x244dd7 | X86_RF_RF}, /* neither IOPL nor IF */
		{3, 3, 0x257fd7, 0x247fd7 | X86_RF_RF}, /* IF */
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		struct guest *g = system_guest(GUEST_PROT32, tests[i].cpl);

		g->cpu.rflags = 2 | (uint64_t)tests[i].iopl << 12;
		PUSH(g, 4, TARGET, tests[i].cpl ? UCODE : KCODE,
			tests[i].popped & ~(uint64_t)X86_RF_VM);
		assert_int_equal(GUEST_RUN(g, 0xcf), X86_DONE);
		assert_int_equal(g->cpu.rflags, tests[i].expected);
		assert_int_equal(g->cpu.gpr[X86_RSP], STACK_NOW + 12);
		guest_destroy(g);
	}
}

static void test_iret_outer(void **state)
{
	struct guest *g = system_guest(GUEST_PROT32, 0);

	(void)state;
	PUSH(g, 4, TARGET, UCODE, 2 | X86_RF_IF, OUTER, UDATA);
	assert_int_equal(GUEST_RUN(g, 0xcf), X86_DONE);
	assert_int_equal(g->cpu.cpl, 3);
	assert_int_equal(g->cpu.rip, TARGET);
	assert_int_equal(g->cpu.gpr[X86_RSP], OUTER);
	assert_int_equal(g->cpu.seg[X86_SS].sel, UDATA);
	assert_int_equal(g->cpu.rflags, 2 | X86_RF_IF);
	assert_int_equal(g->cpu.seg[X86_DS].sel, 0);
	guest_destroy(g);
	/* To a 16-bit stack only SP moves. */
	g = system_guest(GUEST_PROT32, 0);
	gdt_set(g, FREE, descriptor(0, 0xffff, A_DATA | A_DPL3));
	PUSH(g, 4, TARGET, UCODE, 2, 0x99991234, FREE | 3);
	assert_int_equal(GUEST_RUN(g, 0xcf), X86_DONE);
	assert_int_equal(g->cpu.gpr[X86_RSP], (STACK_NOW & 0xffff0000) | 0x1234);
	guest_destroy(g);
}

static void test_iret_word(void **state)
{
	struct guest *g = system_guest(GUEST_PROT32, 0);

	(void)state;
	g->cpu.rflags = 2 | X86_RF_AC | X86_RF_RF;
	PUSH(g, 2, 0x1223, KCODE, ARITH | 2);
	assert_int_equal(GUEST_RUN(g, IRETW), X86_DONE);
	assert_int_equal(g->cpu.rip, 0x1223);
	assert_int_equal(g->cpu.rflags, ARITH | 2 | X86_RF_AC);
	assert_int_equal(g->cpu.gpr[X86_RSP], STACK_NOW + 6);
	guest_destroy(g);
}

static void test_iret_to_vm86(void **state)
{
	struct guest *g = system_guest(GUEST_PROT32, 0);
	const uint64_t flags = X86_RF_VM | X86_RF_IF | X86_RF_IOPL | 2;

	(void)state;
	PUSH(g, 4, 0x1234, 0x2000, flags, 0x5678, 0x3000, 0x4000, 0x5000, 0x6000, 0x7000);
	assert_int_equal(GUEST_RUN(g, 0xcf), X86_DONE);
	assert_int_equal(g->cpu.rflags, flags);
	assert_int_equal(g->cpu.cpl, 3);
	assert_int_equal(g->cpu.rip, 0x1234);
	assert_int_equal(g->cpu.gpr[X86_RSP], 0x5678);
	assert_int_equal(g->cpu.seg[X86_CS].base, 0x20000);
	assert_int_equal(g->cpu.seg[X86_SS].base, 0x30000);
	assert_int_equal(g->cpu.seg[X86_ES].base, 0x40000);
	assert_int_equal(g->cpu.seg[X86_DS].base, 0x50000);
	assert_int_equal(g->cpu.seg[X86_FS].base, 0x60000);
	assert_int_equal(g->cpu.seg[X86_GS].base, 0x70000);
	for (unsigned i = 0; i < 6; i++) {
		assert_int_equal(g->cpu.seg[i].limit, 0xffff);
		assert_int_equal(g->cpu.seg[i].access, 0xf3);
	}
	assert_int_equal(x86_code_size(&g->cpu), 16);
	guest_destroy(g);
	/* Ring 3 cannot set VM; to CS it looks like any other IRET. */
	g = system_guest(GUEST_PROT32, 3);
	PUSH(g, 4, TARGET, UCODE, flags);
	assert_int_equal(GUEST_RUN(g, 0xcf), X86_DONE);
	assert_false(g->cpu.rflags & X86_RF_VM);
	guest_destroy(g);
}

static void test_iret_in_vm86(void **state)
{
	struct guest *g = system_guest(GUEST_PROT32, 3);

	(void)state;
	g->cpu.rflags = X86_RF_VM | X86_RF_IOPL | 2;
	for (unsigned i = 0; i < 6; i++)
		x86_load_seg(&g->cpu, i, 0);
	g->cpu.gpr[X86_RSP] = 0x8000;
	guest_put(g, 0x8000, 0x01001234, 4);
	guest_put(g, 0x8004, X86_RF_IF, 2);
	assert_int_equal(GUEST_RUN(g, 0xcf), X86_DONE);
	assert_int_equal(g->cpu.rip, 0x1234);
	assert_int_equal(g->cpu.seg[X86_CS].base, 0x1000);
	assert_int_equal(g->cpu.rflags, X86_RF_VM | X86_RF_IOPL | X86_RF_IF | 2);
	g->cpu.rflags &= ~X86_RF_IOPL;
	x86_load_seg(&g->cpu, X86_CS, 0);
	g->cpu.seg[X86_CS] = g->cpu.seg[X86_DS];
	code(g, IRET);
	assert_fault(g, guest_step(g), X86_GP, 0);
	guest_destroy(g);
}

static void test_iret_nested(void **state)
{
	struct guest *g = system_guest(GUEST_PROT32, 0);

	(void)state;
	g->cpu.rflags = 2 | X86_RF_NT;
	guest_put(g, AT_TSS, TSS2, 2);
	assert_int_equal(GUEST_RUN(g, 0xcf), X86_EXIT);
	assert_int_equal(g->cpu.exit.reason, X86_EXIT_TASK_SWITCH);
	assert_int_equal(g->cpu.exit.task.reason, X86_TASK_IRET);
	assert_int_equal(g->cpu.exit.task.sel, TSS2);
	guest_destroy(g);
	g = system_guest(GUEST_LONG64, 0);
	g->cpu.rflags = 2 | X86_RF_NT;
	code(g, IRETQ);
	assert_fault(g, guest_step(g), X86_GP, 0);
	guest_destroy(g);
}

/* 64-bit mode pops SS:RSP always. */
static void test_iretq(void **state)
{
	static const struct {
		uint64_t cs, ss;
		unsigned size, cpl;
	} tests[] = {
		{KCODE64, KDATA, 64, 0},
		{KCODE64, 0, 64, 0},
		{UCODE64, UDATA, 64, 3},
		{UCODE, UDATA, 32, 3},
		{KCODE, KDATA, 32, 0},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		struct guest *g = system_guest(GUEST_LONG64, 0);

		PUSH(g, 8, TARGET, tests[i].cs, 2 | X86_RF_IF, OUTER, tests[i].ss);
		g->cpu.nmi_blocked = true;
		assert_int_equal(GUEST_RUN(g, IRETQ), X86_DONE);
		assert_int_equal(g->cpu.rip, TARGET);
		assert_int_equal(g->cpu.gpr[X86_RSP], OUTER);
		assert_int_equal(g->cpu.seg[X86_CS].sel, tests[i].cs);
		assert_int_equal(g->cpu.seg[X86_SS].sel, tests[i].ss);
		assert_int_equal(x86_code_size(&g->cpu), tests[i].size);
		assert_int_equal(g->cpu.cpl, tests[i].cpl);
		assert_false(g->cpu.nmi_blocked);
		guest_destroy(g);
	}
}

/* FS and GS keep their bases when a return to ring 3 makes them null (SDM vol. 3, 3.4.4). */
static void test_iretq_bases(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);

	(void)state;
	g->cpu.seg[X86_FS].base = 0x123456789abull;
	PUSH(g, 8, TARGET, UCODE64, 2, OUTER, UDATA);
	assert_int_equal(GUEST_RUN(g, IRETQ), X86_DONE);
	assert_int_equal(g->cpu.seg[X86_FS].sel, 0);
	assert_int_equal(g->cpu.seg[X86_FS].base, 0x123456789abull);
	guest_destroy(g);
}

static void test_iretq_errors(void **state)
{
	static const struct {
		uint64_t rip, cs, ss;
		unsigned vector;
		uint32_t error;
	} tests[] = {
		{1ull << 47, KCODE64, KDATA, X86_GP, 0},
		{TARGET, UCODE64, 0, X86_GP, 0}, /* null SS in ring 3 */
		{TARGET, UCODE64, 3, X86_GP, 0},
		{TARGET, KCODE, 0, X86_GP, 0},	 /* or in compatibility mode */
		{TARGET, KCODE64, 1, X86_GP, 0}, /* its RPL counts */
		{TARGET, KCODE64, KDATA | 3, X86_GP, KDATA},
		{TARGET, UCODE64, KDATA, X86_GP, KDATA},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		struct guest *g = system_guest(GUEST_LONG64, 0);

		PUSH(g, 8, tests[i].rip, tests[i].cs, 2, OUTER, tests[i].ss);
		code(g, IRETQ);
		assert_fault(g, guest_step(g), tests[i].vector, tests[i].error);
		guest_destroy(g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ret_real),
		cmocka_unit_test(test_ret_same),
		cmocka_unit_test(test_ret_outer),
		cmocka_unit_test(test_ret_long),
		cmocka_unit_test(test_bad_returns),
		cmocka_unit_test(test_iret_real),
		cmocka_unit_test(test_iret_flags),
		cmocka_unit_test(test_iret_outer),
		cmocka_unit_test(test_iret_word),
		cmocka_unit_test(test_iret_to_vm86),
		cmocka_unit_test(test_iret_in_vm86),
		cmocka_unit_test(test_iret_nested),
		cmocka_unit_test(test_iretq),
		cmocka_unit_test(test_iretq_bases),
		cmocka_unit_test(test_iretq_errors),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
