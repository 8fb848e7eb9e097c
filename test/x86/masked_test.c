/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Masked moves and gathers: which elements move, and what a fault in the middle leaves. */
#include "test/x86/system_guest.h"

#define XMM 160u
#define YMM 576u

static void put_vector(struct guest *g, unsigned reg, const uint8_t value[32])
{
	memcpy(g->cpu.fpu + XMM + 16 * reg, value, 16);
	memcpy(g->cpu.fpu + YMM + 16 * reg, value + 16, 16);
	g->cpu.fpu[512] = 7;
}

static void get_vector(struct guest *g, unsigned reg, uint8_t value[32])
{
	memcpy(value, g->cpu.fpu + XMM + 16 * reg, 16);
	memcpy(value + 16, g->cpu.fpu + YMM + 16 * reg, 16);
}

/* Element `i` of `size` bytes of a mask: top bit only. */
static void make_mask(uint8_t mask[32], unsigned bits, unsigned size)
{
	memset(mask, 0x7f, 32);
	for (unsigned i = 0; i < 32 / size; i++)
		if (bits >> i & 1)
			mask[(i + 1) * size - 1] = 0x80;
}

static struct guest *avx2(void)
{
	struct guest *g = system_guest(GUEST_LONG64, 3);

	if (!x86_has_feature(&g->cpu, X86_F_AVX2)) {
		guest_destroy(g);
		skip();
	}
	return g;
}

/* ---- MASKMOVDQU, MASKMOVQ ---- */

static void test_maskmov(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 3);
	uint8_t value[32], mask[32];

	(void)state;
	for (unsigned i = 0; i < 32; i++)
		value[i] = (uint8_t)(0x40 + i);
	make_mask(mask, 0x8005, 1);
	put_vector(g, 1, value);
	put_vector(g, 2, mask);
	memset(g->ram + AT_DATA, 0xee, 32);
	g->cpu.gpr[X86_RDI] = AT_DATA;
	assert_int_equal(GUEST_RUN(g, 0x66, 0x0f, 0xf7, 0xca), X86_DONE);
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(g->ram[AT_DATA + i], 0x8005 >> i & 1 ? 0x40 + i : 0xee);
	/* The masked-out rest may lie in a page that is not there; a selected byte may not. */
	g->cpu.gpr[X86_RDI] = GUEST_FENCE - 3;
	make_mask(mask, 0x0005, 1);
	put_vector(g, 2, mask);
	assert_int_equal(GUEST_RUN(g, 0x66, 0x0f, 0xf7, 0xca), X86_DONE);
	assert_int_equal(g->ram[GUEST_FENCE - 1], 0x42);
	make_mask(mask, 0x000b, 1);
	put_vector(g, 2, mask);
	memset(g->ram + GUEST_FENCE - 3, 0, 3);
	guest_code(g, (const uint8_t[]){0x66, 0x0f, 0xf7, 0xca}, 4);
	assert_fault(g, guest_step(g), X86_PF, 6);
	assert_int_equal(g->ram[GUEST_FENCE - 3], 0); /* all or nothing */
	guest_destroy(g);
}

/* MM registers are the physical x87 registers whatever TOP is; afterwards TOP is 0, all tags valid.
 */
static void test_maskmovq(void **state)
{
	(void)state;
	for (unsigned top = 0; top < 8; top++) {
		struct guest *g = system_guest(GUEST_LONG64, 3);
		uint8_t mask[32];

		make_mask(mask, 0x81, 1);
		g->cpu.fpu[512] = 7;
		g->cpu.fpu[3] = (uint8_t)(top << 3);
		for (unsigned phys = 0; phys < 8; phys++) {
			uint8_t *st = g->cpu.fpu + 32 + 16 * ((phys - top) & 7);

			memset(st, (int)(0x10 + phys), 8);
			memset(st + 8, 0xff, 2);
		}
		memcpy(g->cpu.fpu + 32 + 16 * ((2 - top) & 7), mask, 8);
		memset(g->ram + AT_DATA, 0xee, 8);
		g->cpu.gpr[X86_RDI] = AT_DATA;
		assert_int_equal(GUEST_RUN(g, 0x0f, 0xf7, 0xca), X86_DONE); /* MM1, MM2 */
		for (unsigned i = 0; i < 8; i++)
			assert_int_equal(g->ram[AT_DATA + i], 0x81 >> i & 1 ? 0x11 : 0xee);
		assert_int_equal(g->cpu.fpu[3] >> 3 & 7, 0);
		assert_int_equal(g->cpu.fpu[4], 0xff);
		for (unsigned phys = 0; phys < 8; phys++)
			if (phys != 2)
				assert_int_equal(g->cpu.fpu[32 + 16 * phys], 0x10 + phys);
		guest_destroy(g);
	}
}

/* ---- VMASKMOV ---- */

struct form {
	uint8_t load[5], store[5]; /* YMM1, YMM2 as the mask, [RCX] */
	unsigned size, count;
};

static const struct form forms[] = {
	{{0xc4, 0xe2, 0x6d, 0x2c, 0x09}, {0xc4, 0xe2, 0x6d, 0x2e, 0x09}, 4, 8}, /* VMASKMOVPS */
	{{0xc4, 0xe2, 0x69, 0x2c, 0x09}, {0xc4, 0xe2, 0x69, 0x2e, 0x09}, 4, 4},
	{{0xc4, 0xe2, 0x6d, 0x2d, 0x09}, {0xc4, 0xe2, 0x6d, 0x2f, 0x09}, 8, 4}, /* VMASKMOVPD */
	{{0xc4, 0xe2, 0x6d, 0x8c, 0x09}, {0xc4, 0xe2, 0x6d, 0x8e, 0x09}, 4, 8}, /* VPMASKMOVD */
	{{0xc4, 0xe2, 0xed, 0x8c, 0x09}, {0xc4, 0xe2, 0xed, 0x8e, 0x09}, 8, 4}, /* VPMASKMOVQ */
	{{0xc4, 0xe2, 0xe9, 0x8c, 0x09}, {0xc4, 0xe2, 0xe9, 0x8e, 0x09}, 8, 2},
};

static void check_vmaskmov(const struct form *form, unsigned bits)
{
	unsigned bytes = form->size * form->count;
	struct guest *g = avx2();
	uint8_t value[32], mask[32], got[32];

	for (unsigned i = 0; i < 32; i++) {
		g->ram[AT_DATA + i] = (uint8_t)(0x80 + i);
		value[i] = (uint8_t)(0x20 + i);
	}
	make_mask(mask, bits, form->size);
	put_vector(g, 1, value);
	put_vector(g, 2, mask);
	g->cpu.gpr[X86_RCX] = AT_DATA;
	guest_code(g, form->load, 5);
	assert_int_equal(guest_step(g), X86_DONE);
	get_vector(g, 1, got);
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(got[i], i < bytes && bits >> i / form->size & 1 ? 0x80 + i : 0);
	put_vector(g, 1, value);
	guest_code(g, form->store, 5);
	assert_int_equal(guest_step(g), X86_DONE);
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(g->ram[AT_DATA + i],
			i < bytes && bits >> i / form->size & 1 ? 0x20 + i : 0x80 + i);
	guest_destroy(g);
}

static void test_vmaskmov(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(forms) / sizeof(forms[0]); i++)
		for (unsigned bits = 0; bits < 1u << forms[i].count; bits++)
			check_vmaskmov(&forms[i], bits);
}

static void test_vmaskmov_fault(void **state)
{
	struct guest *g = avx2();
	uint8_t value[32], mask[32], got[32];

	(void)state;
	memset(value, 0x33, 32);
	make_mask(mask, 3, 4);
	put_vector(g, 1, value);
	put_vector(g, 2, mask);
	g->cpu.gpr[X86_RCX] = GUEST_FENCE - 8;
	memset(g->ram + GUEST_FENCE - 8, 0x44, 8);
	guest_code(g, forms[0].load, 5);
	assert_int_equal(guest_step(g), X86_DONE);
	make_mask(mask, 5, 4);
	put_vector(g, 1, value);
	put_vector(g, 2, mask);
	g->cpu.rip = GUEST_CODE;
	assert_fault(g, guest_step(g), X86_PF, 4);
	assert_int_equal(g->cpu.fault.cr2, GUEST_FENCE);
	get_vector(g, 1, got);
	assert_memory_equal(got, value, 32);
	guest_code(g, forms[0].store, 5);
	assert_fault(g, guest_step(g), X86_PF, 6);
	assert_int_equal(g->ram[GUEST_FENCE - 8], 0x44);
	guest_destroy(g);
}

/* ---- gathers: YMM1, [RCX + YMM3 * scale], YMM2 ---- */

static const struct gather {
	uint8_t code[6];
	unsigned size, index_size, count;
} gathers[] = {
	{{0xc4, 0xe2, 0x6d, 0x90, 0x0c, 0x99}, 4, 4, 8}, /* VPGATHERDD ymm, *4 */
	{{0xc4, 0xe2, 0x69, 0x90, 0x0c, 0x99}, 4, 4, 4},
	{{0xc4, 0xe2, 0xed, 0x90, 0x0c, 0x99}, 8, 4, 4}, /* VPGATHERDQ */
	{{0xc4, 0xe2, 0xe9, 0x90, 0x0c, 0x99}, 8, 4, 2},
	{{0xc4, 0xe2, 0x6d, 0x91, 0x0c, 0x99}, 4, 8, 4}, /* VPGATHERQD */
	{{0xc4, 0xe2, 0x69, 0x91, 0x0c, 0x99}, 4, 8, 2},
	{{0xc4, 0xe2, 0xed, 0x91, 0x0c, 0x99}, 8, 8, 4}, /* VPGATHERQQ */
	{{0xc4, 0xe2, 0x6d, 0x92, 0x0c, 0x99}, 4, 4, 8}, /* VGATHERDPS */
	{{0xc4, 0xe2, 0xed, 0x92, 0x0c, 0x99}, 8, 4, 4}, /* VGATHERDPD */
	{{0xc4, 0xe2, 0x6d, 0x93, 0x0c, 0x99}, 4, 8, 4}, /* VGATHERQPS */
	{{0xc4, 0xe2, 0xed, 0x93, 0x0c, 0x99}, 8, 8, 4}, /* VGATHERQPD */
};

static const int indexes[8] = {0, -1, 7, 300, -200, 13, 1, 500};

static void prepare_gather(struct guest *g, const struct gather *t, unsigned bits)
{
	uint8_t value[32], mask[32], index[32] = {0};

	memset(value, 0x77, 32);
	make_mask(mask, bits, t->size);
	for (unsigned i = 0; i < 32 / t->index_size; i++) {
		int64_t n = indexes[i];

		memcpy(index + i * t->index_size, &n, t->index_size);
	}
	put_vector(g, 1, value);
	put_vector(g, 2, mask);
	put_vector(g, 3, index);
	for (unsigned i = 0; i < 0x2000; i++)
		g->ram[AT_DATA + i] = (uint8_t)(i * 13 + i / 256);
	g->cpu.gpr[X86_RCX] = AT_DATA + 0x1000;
	guest_code(g, t->code, 6);
}

static void check_gather(const struct gather *t, unsigned bits)
{
	struct guest *g = avx2();
	uint8_t got[32], mask[32];

	prepare_gather(g, t, bits);
	assert_int_equal(guest_step(g), X86_DONE);
	get_vector(g, 1, got);
	get_vector(g, 2, mask);
	for (unsigned i = 0; i < 32; i++) {
		unsigned element = i / t->size;
		uint8_t want = 0x77;

		if (element >= t->count)
			want = 0;
		else if (bits >> element & 1)
			want = g->ram[AT_DATA + 0x1000 + indexes[element] * 4 + i % t->size];
		assert_int_equal(got[i], want);
		assert_int_equal(mask[i], 0);
	}
	guest_destroy(g);
}

static void test_gather(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(gathers) / sizeof(gathers[0]); i++)
		for (unsigned bits = 0; bits < 1u << gathers[i].count; bits++)
			check_gather(&gathers[i], bits);
}

/* Elements below the faulting one are in place and their masks clear; the restart finishes. */
static void test_gather_fault(void **state)
{
	const struct gather *t = &gathers[0];
	struct guest *g = avx2();
	uint8_t got[32], mask[32];
	const int32_t fence = (int)(GUEST_FENCE - (AT_DATA + 0x1000)) / 4;

	(void)state;
	prepare_gather(g, t, 0xff);
	memcpy(g->cpu.fpu + XMM + 16 * 3 + 4 * 3, &fence, 4);
	assert_int_equal(guest_step(g), X86_FAULT);
	assert_int_equal(g->cpu.fault.vector, X86_PF);
	assert_int_equal(g->cpu.fault.cr2, GUEST_FENCE);
	assert_int_equal(g->cpu.rip, GUEST_CODE);
	get_vector(g, 1, got);
	get_vector(g, 2, mask);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(mask[4 * i + 3], i < 3 ? 0 : 0x80);
		if (i >= 3)
			assert_int_equal(got[4 * i], 0x77);
		else
			assert_memory_equal(
				got + 4 * i, g->ram + AT_DATA + 0x1000 + indexes[i] * 4, 4);
	}
	guest_protect(g, GUEST_FENCE, PTE_P | PTE_U);
	assert_int_equal(guest_step(g), X86_DONE);
	get_vector(g, 1, got);
	assert_memory_equal(got, g->ram + AT_DATA + 0x1000, 4);
	assert_memory_equal(got + 12, g->ram + GUEST_FENCE, 4);
	guest_destroy(g);
}

static void test_gather_operands(void **state)
{
	struct guest *g = avx2();

	(void)state;
	prepare_gather(g, &gathers[0], 0xff);
	guest_code(g, (const uint8_t[]){0xc4, 0xe2, 0x75, 0x90, 0x0c, 0x99}, 6); /* mask = dest */
	assert_fault(g, guest_step(g), X86_UD, 0);
	guest_code(g, (const uint8_t[]){0xc4, 0xe2, 0x6d, 0x90, 0x0c, 0x89}, 6); /* index = dest */
	assert_fault(g, guest_step(g), X86_UD, 0);
	guest_code(g, (const uint8_t[]){0xc4, 0xe2, 0x65, 0x90, 0x0c, 0x99}, 6); /* index = mask */
	assert_fault(g, guest_step(g), X86_UD, 0);
	guest_destroy(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_maskmov),
		cmocka_unit_test(test_maskmovq),
		cmocka_unit_test(test_vmaskmov),
		cmocka_unit_test(test_vmaskmov_fault),
		cmocka_unit_test(test_gather),
		cmocka_unit_test(test_gather_fault),
		cmocka_unit_test(test_gather_operands),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
