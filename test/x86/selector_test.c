/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Instructions on selectors and descriptor tables, one by one (SDM vol. 2). */
#include "test/x86/system_guest.h"

#define ZF X86_FL_ZF

/* ---- moves to and from segment registers ---- */

static void test_mov(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);

	(void)state;
	g->cpu.gpr[X86_RAX] = UDATA;
	assert_int_equal(GUEST_RUN(g, 0x8e, 0xd8), X86_DONE); /* MOV DS, EAX */
	assert_int_equal(g->cpu.seg[X86_DS].sel, UDATA);
	assert_int_equal(g->cpu.rip, GUEST_CODE + 2);
	assert_int_equal(g->cpu.shadow, 0);
	g->cpu.gpr[X86_RCX] = UINT64_MAX;
	assert_int_equal(GUEST_RUN(g, 0x8c, 0xd9), X86_DONE); /* MOV ECX, DS: zero-extended */
	assert_int_equal(g->cpu.gpr[X86_RCX], UDATA);
	g->cpu.gpr[X86_RCX] = UINT64_MAX;
	assert_int_equal(GUEST_RUN(g, 0x66, 0x8c, 0xd9), X86_DONE); /* MOV CX, DS */
	assert_int_equal(g->cpu.gpr[X86_RCX], 0xffffffffffff0000 | UDATA);
	guest_put(g, AT_DATA, UINT64_MAX, 8);
	assert_int_equal(GUEST_RUN(g, 0x8c, 0x1c, 0x25, 0, 0, 4, 0), X86_DONE); /* to memory */
	assert_int_equal(guest_get(g, AT_DATA, 8), 0xffffffffffff0000 | UDATA);
	guest_destroy(g);
}

/* MOV SS and POP SS hold events back for one instruction. */
static void test_ss_shadow(void **state)
{
	struct guest *g = system_guest(GUEST_PROT32, 0);

	(void)state;
	g->cpu.gpr[X86_RAX] = KDATA;
	assert_int_equal(GUEST_RUN(g, 0x8e, 0xd0), X86_DONE);
	assert_int_equal(g->cpu.shadow, X86_SHADOW_MOVSS);
	g->cpu.shadow = 0;
	guest_put(g, STACK_NOW, KDATA, 4);
	assert_int_equal(GUEST_RUN(g, 0x17), X86_DONE);
	assert_int_equal(g->cpu.shadow, X86_SHADOW_MOVSS);
	assert_int_equal(g->cpu.gpr[X86_RSP], STACK_NOW + 4);
	guest_destroy(g);
}

static void test_push_pop(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);

	(void)state;
	g->cpu.seg[X86_FS].sel = 0x1234;
	assert_int_equal(GUEST_RUN(g, 0x0f, 0xa0), X86_DONE); /* PUSH FS */
	assert_int_equal(g->cpu.gpr[X86_RSP], STACK_NOW - 8);
	assert_int_equal(guest_get(g, STACK_NOW - 8, 8), 0x1234);
	guest_put(g, STACK_NOW - 8, UDATA, 8);
	assert_int_equal(GUEST_RUN(g, 0x0f, 0xa9), X86_DONE); /* POP GS */
	assert_int_equal(g->cpu.seg[X86_GS].sel, UDATA);
	assert_int_equal(g->cpu.gpr[X86_RSP], STACK_NOW);
	/* A bad selector leaves RSP alone. */
	guest_put(g, STACK_NOW, 0x1000, 8);
	guest_code(g, (const uint8_t[]){0x0f, 0xa9}, 2);
	assert_fault(g, guest_step(g), X86_GP, 0x1000);
	guest_destroy(g);
}

static void test_load_far(void **state)
{
	static const struct {
		uint8_t code[8];
		unsigned len, seg;
	} tests[] = {
		{{0xc5, 0x05, 0, 0, 4, 0}, 6, X86_DS},
		{{0xc4, 0x05, 0, 0, 4, 0}, 6, X86_ES},
		{{0x0f, 0xb4, 0x05, 0, 0, 4, 0}, 7, X86_FS},
		{{0x0f, 0xb5, 0x05, 0, 0, 4, 0}, 7, X86_GS},
		{{0x0f, 0xb2, 0x05, 0, 0, 4, 0}, 7, X86_SS},
	};

	(void)state;
	for (unsigned i = 0; i < 5; i++) {
		struct guest *g = system_guest(GUEST_PROT32, 0);

		gdt_set(g, FREE, descriptor(0, UINT32_MAX, A_DATA | A_32));
		guest_put(g, AT_DATA, 0x12345678, 4);
		guest_put(g, AT_DATA + 4, FREE, 2);
		guest_code(g, tests[i].code, tests[i].len);
		assert_int_equal(guest_step(g), X86_DONE);
		assert_int_equal(g->cpu.gpr[X86_RAX], 0x12345678);
		assert_int_equal(g->cpu.seg[tests[i].seg].sel, FREE);
		assert_int_equal(g->cpu.shadow, 0); /* LSS has loaded ESP as well */
		guest_destroy(g);
	}
}

/* ---- LAR, LSL, VERR, VERW, ARPL ---- */

static void test_questions(void **state)
{
	static const struct {
		enum guest_mode mode;
		unsigned cpl, sel, type; /* access of FREE */
		bool lar, lsl, verr, verw;
	} tests[] = {
		{GUEST_PROT32, 0, 0, 0, false, false, false, false},
		{GUEST_PROT32, 0, 0x1000, 0, false, false, false, false},
		{GUEST_PROT32, 0, KDATA, 0, true, true, true, true},
		{GUEST_PROT32, 3, KDATA, 0, false, false, false, false},
		{GUEST_PROT32, 0, KDATA | 3, 0, false, false, false, false},
		{GUEST_PROT32, 3, UDATA, 0, true, true, true, true},
		{GUEST_PROT32, 3, CONFORMING, 0, true, true, true, false},
		{GUEST_PROT32, 0, KCODE, 0, true, true, true, false},
		{GUEST_PROT32, 0, FREE, 0x91, true, true, true, false},
		{GUEST_PROT32, 0, FREE, 0x99, true, true, false, false},
		{GUEST_PROT32, 0, FREE, 0x13, true, true, true,
			true}, /* presence does not matter */
		{GUEST_PROT32, 0, FREE, 0x81, true, true, false, false},
		{GUEST_PROT32, 0, FREE, 0x82, true, true, false, false},
		{GUEST_PROT32, 0, FREE, 0x83, true, true, false, false},
		{GUEST_PROT32, 0, FREE, 0x84, true, false, false, false},
		{GUEST_PROT32, 0, FREE, 0x85, true, false, false, false},
		{GUEST_PROT32, 0, FREE, 0x86, false, false, false, false},
		{GUEST_PROT32, 0, FREE, 0x89, true, true, false, false},
		{GUEST_PROT32, 0, FREE, 0x8b, true, true, false, false},
		{GUEST_PROT32, 0, FREE, 0x8c, true, false, false, false},
		{GUEST_PROT32, 0, FREE, 0x8e, false, false, false, false},
		{GUEST_LONG64, 0, FREE, 0x81, false, false, false, false},
		{GUEST_LONG64, 0, FREE, 0x82, true, true, false, false},
		{GUEST_LONG64, 0, FREE, 0x84, false, false, false, false},
		{GUEST_LONG64, 0, FREE, 0x85, false, false, false, false},
		{GUEST_LONG64, 0, FREE, 0x89, true, true, false, false},
		{GUEST_LONG64, 0, FREE, 0x8c, true, false, false, false},
	};
	static const uint8_t code[4][3] = {
		{0x0f, 0x02, 0xc1}, {0x0f, 0x03, 0xc1}, {0x0f, 0x00, 0xe1}, {0x0f, 0x00, 0xe9}};

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		const bool yes[4] = {tests[i].lar, tests[i].lsl, tests[i].verr, tests[i].verw};

		for (unsigned op = 0; op < 4; op++) {
			struct guest *g = system_guest(tests[i].mode, tests[i].cpl);

			gdt_set(g, FREE, descriptor(0, 0x12345, tests[i].type));
			g->cpu.gpr[X86_RAX] = 0xdeadbeef;
			g->cpu.gpr[X86_RCX] = tests[i].sel;
			g->cpu.rflags = 2 | X86_FL_CF | (yes[op] ? 0 : ZF);
			guest_code(g, code[op], 3);
			assert_int_equal(guest_step(g), X86_DONE);
			assert_int_equal(g->cpu.rflags, 2 | X86_FL_CF | (yes[op] ? ZF : 0));
			if (op >= 2 || !yes[op])
				assert_int_equal(g->cpu.gpr[X86_RAX], 0xdeadbeef);
			guest_destroy(g);
		}
	}
}

static void test_lar_lsl_values(void **state)
{
	struct guest *g = system_guest(GUEST_PROT32, 0);

	(void)state;
	gdt_set(g, FREE, descriptor(0x12345678, 0xabcde000, A_DATA | A_32 | A_DPL3));
	g->cpu.gpr[X86_RCX] = FREE;
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x02, 0xc1), X86_DONE);
	assert_int_equal(g->cpu.gpr[X86_RAX], 0xc0f300);
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x03, 0xc1), X86_DONE);
	assert_int_equal(g->cpu.gpr[X86_RAX], 0xabcdefff);
	g->cpu.gpr[X86_RAX] = 0x55555555;
	assert_int_equal(GUEST_RUN(g, 0x66, 0x0f, 0x02, 0xc1), X86_DONE);
	assert_int_equal(g->cpu.gpr[X86_RAX], 0x5555f300);
	guest_destroy(g);
}

static void test_arpl(void **state)
{
	struct guest *g = system_guest(GUEST_PROT32, 0);

	(void)state;
	g->cpu.gpr[X86_RAX] = 0x1230;
	g->cpu.gpr[X86_RCX] = 2;
	assert_int_equal(GUEST_RUN(g, 0x63, 0xc8), X86_DONE);
	assert_int_equal(g->cpu.gpr[X86_RAX], 0x1232);
	assert_true(g->cpu.rflags & ZF);
	assert_int_equal(GUEST_RUN(g, 0x63, 0xc8), X86_DONE);
	assert_int_equal(g->cpu.gpr[X86_RAX], 0x1232);
	assert_false(g->cpu.rflags & ZF);
	guest_destroy(g);
}

/* ---- LLDT, LTR ---- */

static void test_lldt_ltr(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);

	(void)state;
	gdt_set(g, LDT + 8, 0xffff8888); /* base 63:32 */
	g->cpu.gpr[X86_RAX] = LDT;
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x00, 0xd0), X86_DONE);
	assert_int_equal(g->cpu.ldtr.sel, LDT);
	assert_int_equal(g->cpu.ldtr.base, 0xffff888800000000 | AT_LDT);
	assert_int_equal(g->cpu.ldtr.limit, 0xff);
	g->cpu.gpr[X86_RAX] = 0;
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x00, 0xd0), X86_DONE);
	assert_true(g->cpu.ldtr.access & X86_SEG_UNUSABLE);
	gdt_set(g, TSS2 + 8, 0);
	g->cpu.gpr[X86_RAX] = TSS2;
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x00, 0xd8), X86_DONE);
	assert_int_equal(g->cpu.tr.sel, TSS2);
	assert_int_equal(g->cpu.tr.base, AT_TSS2);
	assert_int_equal(g->cpu.tr.access, A_TSS | 2);
	assert_int_equal(guest_get(g, AT_GDT + TSS2 + 5, 1), A_TSS | 2);
	guest_destroy(g);
}

static void test_lldt_ltr_errors(void **state)
{
	static const struct {
		enum guest_mode mode;
		uint8_t modrm; /* D0: LLDT, D8: LTR */
		unsigned sel, type, vector;
		uint32_t error;
	} tests[] = {
		{GUEST_PROT32, 0xd0, 0x1000, 0, X86_GP, 0x1000},
		{GUEST_PROT32, 0xd0, LDT | 4, 0, X86_GP, LDT | 4},
		{GUEST_PROT32, 0xd0, KDATA, 0, X86_GP, KDATA},
		{GUEST_PROT32, 0xd0, FREE, 0x02, X86_NP, FREE},
		{GUEST_LONG64, 0xd0, 0xf8, A_LDT, X86_GP, 0xf8}, /* upper half past the limit */
		{GUEST_PROT32, 0xd8, 0, 0, X86_GP, 0},
		{GUEST_PROT32, 0xd8, TSS | 4, 0, X86_GP, TSS | 4},
		{GUEST_PROT32, 0xd8, TSS, 0, X86_GP, TSS}, /* busy */
		{GUEST_PROT32, 0xd8, LDT, 0, X86_GP, LDT},
		{GUEST_PROT32, 0xd8, FREE, 0x09, X86_NP, FREE},
		{GUEST_LONG64, 0xd8, FREE, A_TSS16, X86_GP, FREE},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		struct guest *g = system_guest(tests[i].mode, 0);

		if (tests[i].type)
			gdt_set(g, tests[i].sel, descriptor(0, 0xff, tests[i].type));
		g->cpu.gpr[X86_RAX] = tests[i].sel;
		guest_code(g, (const uint8_t[]){0x0f, 0x00, tests[i].modrm}, 3);
		assert_fault(g, guest_step(g), tests[i].vector, tests[i].error);
		guest_destroy(g);
	}
}

static void test_noncanonical_base(void **state)
{
	static const uint8_t modrm[] = {0xd0, 0xd8};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct guest *g = system_guest(GUEST_LONG64, 0);

		gdt_set(g, FREE, descriptor(0, 0xff, i ? A_TSS : A_LDT));
		gdt_set(g, FREE + 8, 0x8000);
		g->cpu.gpr[X86_RAX] = FREE;
		guest_code(g, (const uint8_t[]){0x0f, 0x00, modrm[i]}, 3);
		assert_fault(g, guest_step(g), X86_GP, FREE);
		guest_destroy(g);
	}
}

/* ---- LGDT, SGDT..., and UMIP ---- */

static void test_tables(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);

	(void)state;
	guest_put(g, AT_DATA, 0x1234, 2);
	guest_put(g, AT_DATA + 2, 0xffff888812345678, 8);
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x01, 0x1c, 0x25, 0, 0, 4, 0), X86_DONE); /* LIDT */
	assert_int_equal(g->cpu.idtr.base, 0xffff888812345678);
	assert_int_equal(g->cpu.idtr.limit, 0x1234);
	guest_put(g, AT_DATA, 0, 8);
	guest_put(g, AT_DATA + 8, 0, 8);
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x01, 0x0c, 0x25, 0, 0, 4, 0), X86_DONE); /* SIDT */
	assert_int_equal(guest_get(g, AT_DATA, 2), 0x1234);
	assert_int_equal(guest_get(g, AT_DATA + 2, 8), 0xffff888812345678);
	guest_put(g, AT_DATA + 2, 1ull << 47, 8);
	guest_code(g, (const uint8_t[]){0x0f, 0x01, 0x14, 0x25, 0, 0, 4, 0}, 8); /* LGDT */
	assert_fault(g, guest_step(g), X86_GP, 0);
	guest_destroy(g);
	/* With a 16-bit operand size the base has 24 bits. */
	g = system_guest(GUEST_PROT32, 0);
	guest_put(g, AT_DATA, 0x1234, 2);
	guest_put(g, AT_DATA + 2, 0xff345678, 4);
	assert_int_equal(GUEST_RUN(g, 0x66, 0x0f, 0x01, 0x15, 0, 0, 4, 0), X86_DONE);
	assert_int_equal(g->cpu.gdtr.base, 0x345678);
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x01, 0x15, 0, 0, 4, 0), X86_DONE);
	assert_int_equal(g->cpu.gdtr.base, 0xff345678);
	guest_destroy(g);
}

static void test_umip(void **state)
{
	static const uint8_t code[][8] = {
		{0x0f, 0x00, 0xc0},		      /* SLDT EAX */
		{0x0f, 0x00, 0xc8},		      /* STR EAX */
		{0x0f, 0x01, 0xe0},		      /* SMSW EAX */
		{0x0f, 0x01, 0x04, 0x25, 0, 0, 4, 0}, /* SGDT */
		{0x0f, 0x01, 0x0c, 0x25, 0, 0, 4, 0}, /* SIDT */
	};

	(void)state;
	for (unsigned cpl = 0; cpl <= 3; cpl += 3)
		for (unsigned i = 0; i < 5; i++) {
			struct guest *g = system_guest(GUEST_LONG64, cpl);

			guest_code(g, code[i], 8);
			assert_int_equal(guest_step(g), X86_DONE);
			g->cpu.cr4 |= X86_CR4_UMIP;
			guest_code(g, code[i], 8);
			if (cpl)
				assert_fault(g, guest_step(g), X86_GP, 0);
			else
				assert_int_equal(guest_step(g), X86_DONE);
			guest_destroy(g);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mov),
		cmocka_unit_test(test_ss_shadow),
		cmocka_unit_test(test_push_pop),
		cmocka_unit_test(test_load_far),
		cmocka_unit_test(test_questions),
		cmocka_unit_test(test_lar_lsl_values),
		cmocka_unit_test(test_arpl),
		cmocka_unit_test(test_lldt_ltr),
		cmocka_unit_test(test_lldt_ltr_errors),
		cmocka_unit_test(test_noncanonical_base),
		cmocka_unit_test(test_tables),
		cmocka_unit_test(test_umip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
