/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Segment-relative addresses and loads of segment registers (SDM vol. 3, 3.4, 5.3 to 5.7). */
#include "test/x86/system_guest.h"

/* ---- x86_linear ---- */

static void test_limits(void **state)
{
	static const struct {
		uint32_t limit, access;
		uint64_t offset;
		unsigned size;
		bool ok;
	} tests[] = {
		{0xffff, A_DATA, 0xffff, 1, true},
		{0xffff, A_DATA, 0xffff, 2, false},
		{0xffff, A_DATA, 0x10000, 1, false},
		{0xfff, A_DATA, 0xffc, 4, true},
		{0xfff, A_DATA, 0xffd, 4, false},
		{UINT32_MAX, A_DATA, 0xfffffffe, 4, true}, /* a flat segment wraps */
		{0xfff, A_DATA | 4, 0xfff, 1, false},	   /* expand-down: above the limit */
		{0xfff, A_DATA | 4, 0x1000, 1, true},
		{0xfff, A_DATA | 4, 0xffff, 1, true},
		{0xfff, A_DATA | 4, 0xffff, 2, false},
		{0xfff, A_DATA | 4, 0x10000, 1, false},
		{0xfff, A_DATA | 4 | X86_SEG_DB, 0x10000, 1, true},
		{0xfff, A_DATA | 4 | X86_SEG_DB, 0xffffffff, 1, true},
		{0xfff, A_DATA | 4 | X86_SEG_DB, 0xffffffff, 2, false},
	};
	struct guest *g = system_guest(GUEST_PROT32, 0);
	uint64_t gla;

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		for (unsigned seg = X86_SS; seg <= X86_DS; seg++) {
			enum x86_result res;

			g->cpu.seg[seg].base = 0xfffff000;
			g->cpu.seg[seg].limit = tests[i].limit;
			g->cpu.seg[seg].access = tests[i].access;
			res = x86_linear(
				&g->cpu, seg, tests[i].offset, tests[i].size, X86_ACC_READ, &gla);
			assert_int_equal(res, tests[i].ok ? X86_DONE : X86_FAULT);
			if (tests[i].ok) {
				assert_int_equal(gla, (uint32_t)(0xfffff000 + tests[i].offset));
			} else {
				assert_int_equal(
					g->cpu.fault.vector, seg == X86_SS ? X86_SS_FAULT : X86_GP);
				assert_int_equal(g->cpu.fault.error, 0);
			}
		}
	guest_destroy(g);
}

static void test_types(void **state)
{
	static const struct {
		uint32_t access;
		bool read, write;
	} tests[] = {
		{0x91, true, false},
		{0x93, true, true},
		{0x99, false, false},
		{0x9b, true, false},
		{0x13, false, false},
		{X86_SEG_UNUSABLE, false, false},
	};
	struct guest *g = system_guest(GUEST_PROT32, 0);
	uint64_t gla;

	(void)state;
	g->cpu.seg[X86_DS].limit = 0xffff;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		g->cpu.seg[X86_DS].access = tests[i].access;
		assert_int_equal(x86_linear(&g->cpu, X86_DS, 0, 4, X86_ACC_READ, &gla),
			tests[i].read ? X86_DONE : X86_FAULT);
		assert_int_equal(x86_linear(&g->cpu, X86_DS, 0, 4, X86_ACC_WRITE, &gla),
			tests[i].write ? X86_DONE : X86_FAULT);
		assert_int_equal(
			x86_linear(&g->cpu, X86_DS, 0, 4, X86_ACC_READ | X86_ACC_WRITE, &gla),
			tests[i].write ? X86_DONE : X86_FAULT);
	}
	guest_destroy(g);
}

static void test_64bit(void **state)
{
	static const struct {
		unsigned seg;
		uint64_t base, offset, gla;
		unsigned size, vector; /* vector 0: fine */
	} tests[] = {
		{X86_DS, 0x1000, 0x7ffffffffff8, 0x7ffffffffff8, 8, 0}, /* no base, no limit */
		{X86_DS, 0, 0x7ffffffffff9, 0, 8, X86_GP},
		{X86_DS, 0, 0xffff800000000000, 0xffff800000000000, 8, 0},
		{X86_DS, 0, 0xffff7fffffffffff, 0, 1, X86_GP},
		{X86_SS, 0, 0x800000000000, 0, 1, X86_SS_FAULT},
		{X86_FS, 0xffff880000000000, 0x10, 0xffff880000000010, 8, 0},
		{X86_GS, 0x10, 0xfffffffffffffff8, 8, 8, 0}, /* modulo 2^64 */
		{X86_GS, 0x7fffffffffff, 1, 0, 1, X86_GP},
	};
	struct guest *g = system_guest(GUEST_LONG64, 0);

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		uint64_t gla = 0;
		enum x86_result res;

		g->cpu.seg[tests[i].seg] =
			(struct x86_seg){.base = tests[i].base, .access = X86_SEG_UNUSABLE};
		res = x86_linear(
			&g->cpu, tests[i].seg, tests[i].offset, tests[i].size, X86_ACC_WRITE, &gla);
		assert_int_equal(res, tests[i].vector ? X86_FAULT : X86_DONE);
		if (tests[i].vector)
			assert_int_equal(g->cpu.fault.vector, tests[i].vector);
		else
			assert_int_equal(gla, tests[i].gla);
	}
	guest_destroy(g);
}

/* ---- loads ---- */

struct load {
	unsigned cpl, seg, sel;
	uint32_t access; /* of FREE */
	unsigned vector; /* 0: loads */
	uint32_t error;
};

static const struct load loads[] = {
	{0, X86_DS, KDATA, 0, 0, 0},
	{3, X86_DS, UDATA, 0, 0, 0},
	{3, X86_DS, KDATA, 0, X86_GP, KDATA},
	{0, X86_DS, KDATA | 3, 0, X86_GP, KDATA}, /* RPL counts */
	{0, X86_DS, UDATA, 0, 0, 0},
	{0, X86_DS, KCODE, 0, 0, 0}, /* readable code */
	{3, X86_DS, CONFORMING | 3, 0, 0, 0},
	{0, X86_DS, FREE, 0x99 | A_32, X86_GP, FREE}, /* execute-only */
	{0, X86_DS, TSS, 0, X86_GP, TSS},
	{0, X86_DS, FREE, 0x13, X86_NP, FREE},
	{0, X86_DS, 0x1000, 0, X86_GP, 0x1000},
	{0, X86_DS, 0x14, 0, X86_GP, 0x14}, /* no LDT */
	{0, X86_DS, 0, 0, 0, 0},
	{3, X86_GS, 3, 0, 0, 0},
	{0, X86_SS, KDATA, 0, 0, 0},
	{3, X86_SS, UDATA, 0, 0, 0},
	{0, X86_SS, 0, 0, X86_GP, 0},
	{0, X86_SS, UDATA, 0, X86_GP, UDATA & ~3u},
	{0, X86_SS, KDATA | 3, 0, X86_GP, KDATA},
	{3, X86_SS, UDATA & ~3u, 0, X86_GP, UDATA & ~3u},
	{0, X86_SS, KCODE, 0, X86_GP, KCODE},
	{0, X86_SS, FREE, 0x91, X86_GP, FREE}, /* read-only */
	{0, X86_SS, FREE, 0x13, X86_SS_FAULT, FREE},
};

static void test_loads(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(loads) / sizeof(loads[0]); i++) {
		const struct load *t = &loads[i];
		struct guest *g = system_guest(GUEST_PROT32, t->cpl);

		gdt_set(g, FREE, descriptor(0x1000, 0xffff, t->access));
		if (t->vector) {
			assert_fault(g, x86_load_seg(&g->cpu, t->seg, (uint16_t)t->sel), t->vector,
				t->error);
		} else {
			assert_int_equal(x86_load_seg(&g->cpu, t->seg, (uint16_t)t->sel), X86_DONE);
			assert_int_equal(g->cpu.seg[t->seg].sel, t->sel);
			assert_int_equal(!(g->cpu.seg[t->seg].access & X86_SEG_UNUSABLE),
				(t->sel & 0xfffc) != 0);
		}
		guest_destroy(g);
	}
}

static void test_descriptor_fields(void **state)
{
	struct guest *g = system_guest(GUEST_PROT32, 0);

	(void)state;
	gdt_set(g, FREE, descriptor(0x12345678, 0xabcde, 0x92 | X86_SEG_DB));
	assert_int_equal(x86_load_seg(&g->cpu, X86_ES, FREE), X86_DONE);
	assert_int_equal(g->cpu.seg[X86_ES].base, 0x12345678);
	assert_int_equal(g->cpu.seg[X86_ES].limit, 0xabcde);
	assert_int_equal(g->cpu.seg[X86_ES].access, 0x93 | X86_SEG_DB); /* accessed now */
	assert_int_equal(guest_get(g, AT_GDT + FREE + 5, 1), 0x93);
	gdt_set(g, FREE, descriptor(0, 0xabcdefff, 0x93 | X86_SEG_G));
	assert_int_equal(x86_load_seg(&g->cpu, X86_ES, FREE), X86_DONE);
	assert_int_equal(g->cpu.seg[X86_ES].limit, 0xabcdefff);
	guest_destroy(g);
}

static void test_ldt(void **state)
{
	struct guest *g = system_guest(GUEST_PROT32, 0);

	(void)state;
	guest_put(g, AT_LDT + 8, descriptor(0x5000, 0xff, A_DATA), 8);
	g->cpu.ldtr = (struct x86_seg){.base = AT_LDT, .limit = 0xf, .access = A_LDT, .sel = LDT};
	assert_int_equal(x86_load_seg(&g->cpu, X86_ES, 0x0c), X86_DONE);
	assert_int_equal(g->cpu.seg[X86_ES].base, 0x5000);
	assert_fault(g, x86_load_seg(&g->cpu, X86_ES, 0x14), X86_GP, 0x14);
	guest_destroy(g);
}

/* 64-bit mode: SS may be null below ring 3. */
static void test_null_ss_64(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);

	(void)state;
	assert_int_equal(x86_load_seg(&g->cpu, X86_SS, 0), X86_DONE);
	assert_true(g->cpu.seg[X86_SS].access & X86_SEG_UNUSABLE);
	assert_fault(g, x86_load_seg(&g->cpu, X86_SS, 3), X86_GP, 0);
	guest_destroy(g);
	g = system_guest(GUEST_LONG64, 3);
	assert_fault(g, x86_load_seg(&g->cpu, X86_SS, 3), X86_GP, 0);
	guest_destroy(g);
}

/* Real mode loads the base and leaves an "unreal" limit alone. */
static void test_real(void **state)
{
	struct guest *g = system_guest(GUEST_REAL16, 0);
	uint64_t gla;

	(void)state;
	g->cpu.seg[X86_DS].limit = UINT32_MAX;
	assert_int_equal(x86_load_seg(&g->cpu, X86_DS, 0x1234), X86_DONE);
	assert_int_equal(g->cpu.seg[X86_DS].base, 0x12340);
	assert_int_equal(x86_linear(&g->cpu, X86_DS, 0x100000, 4, X86_ACC_WRITE, &gla), X86_DONE);
	assert_int_equal(gla, 0x112340);
	assert_int_equal(x86_linear(&g->cpu, X86_ES, 0xffff, 2, X86_ACC_READ, &gla), X86_FAULT);
	guest_destroy(g);
}

/* ---- effective addresses ---- */

static void test_effective(void **state)
{
	static const struct {
		enum guest_mode mode;
		uint8_t code[8];
		unsigned len;
		uint64_t offset;
	} tests[] = {
		{GUEST_LONG64, {0x8b, 0x44, 0x8b, 0x10}, 4, 0x1111111111111111 + 4 * 0x2222 + 0x10},
		{GUEST_LONG64, {0x8b, 0x05, 0x10, 0, 0, 0}, 6, GUEST_CODE + 6 + 0x10},
		{GUEST_LONG64, {0x67, 0x8b, 0x43, 0xff}, 4, 0x11111110},
		{GUEST_PROT32, {0x8b, 0x43, 0x80}, 3, 0x11111091},
		{GUEST_PROT32, {0x67, 0x8b, 0x01}, 3, (0x1111 + 0x3333) & 0xffff}, /* [BX+DI] */
		{GUEST_REAL16, {0x8b, 0x81, 0xf0, 0xff}, 4, (0x1111 + 0x3333 - 0x10) & 0xffff},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		struct guest *g = system_guest(tests[i].mode, 0);

		g->cpu.gpr[X86_RBX] = 0x1111111111111111;
		g->cpu.gpr[X86_RCX] = 0x2222;
		g->cpu.gpr[X86_RDI] = 0x3333;
		guest_code(g, tests[i].code, tests[i].len);
		assert_int_equal(x86_fetch(&g->cpu, &g->insn), X86_DONE);
		assert_int_equal(x86_effective(&g->cpu, &g->insn), tests[i].offset);
		guest_destroy(g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_64bit),
		cmocka_unit_test(test_loads),
		cmocka_unit_test(test_descriptor_fields),
		cmocka_unit_test(test_ldt),
		cmocka_unit_test(test_null_ss_64),
		cmocka_unit_test(test_real),
		cmocka_unit_test(test_effective),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
