/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* FNSTENV, FLDENV, FNSAVE, FRSTOR against the host's own, pointers aside. */
#include "test/x86/system_guest.h"

#define AREA AT_DATA
#define ENV  28u
#define SAVE 108u

/* FNSAVE m, FNSTENV m, FRSTOR m, FLDENV m at [RCX]. */
#define FNSAVE	0xdd, 0x31
#define FNSTENV 0xd9, 0x31
#define FRSTOR	0xdd, 0x21
#define FLDENV	0xd9, 0x21

struct st {
	uint64_t mantissa;
	uint16_t exponent;
};

/* One of each kind that tag words tell apart. */
static const struct st kinds[] = {
	{0x8000000000000000, 0x3fff}, /* 1.0 */
	{0, 0},			      /* 0.0 */
	{0, 0x8000},		      /* -0.0 */
	{0x8000000000000000, 0x7fff}, /* infinity */
	{0xc000000000000000, 0xffff}, /* NaN */
	{1, 0},			      /* denormal */
	{0x4000000000000000, 0x3fff}, /* unnormal */
	{0x123456789abcdef0, 0x4000},
};

/* A legacy image: `top`, tags, the kinds rotated by `turn`. */
static void fill(uint8_t *fpu, unsigned top, unsigned ftw, unsigned turn)
{
	const uint16_t fcw = 0x0370, fsw = (uint16_t)(0x4500 | top << 11);

	memset(fpu, 0, X86_XSAVE_SIZE);
	memcpy(fpu, &fcw, 2);
	memcpy(fpu + 2, &fsw, 2);
	fpu[4] = (uint8_t)ftw;
	memcpy(fpu + 24, &(uint32_t){0x1f80}, 4);
	for (unsigned i = 0; i < 8; i++) {
		memcpy(fpu + 32 + 16 * i, &kinds[(i + turn) & 7].mantissa, 8);
		memcpy(fpu + 40 + 16 * i, &kinds[(i + turn) & 7].exponent, 2);
	}
	fpu[512] = 7;
}

static void clear_pointers(uint8_t *env)
{
	memset(env + 12, 0, 14); /* FIP, FCS, FOP, FDP, FDS's low half */
}

/* What the host itself does with the same registers. */
static void native_save(const uint8_t *fpu, uint8_t save[SAVE], uint8_t env[ENV],
	uint8_t after_save[512], uint8_t after_env[512])
{
	_Alignas(16) uint8_t image[512];

	memcpy(image, fpu, 512);
	__asm__ volatile("fxrstor %0" : : "m"(image));
	__asm__ volatile("fnstenv %0" : "=m"(*(uint8_t(*)[ENV])env));
	__asm__ volatile("fxsave %0" : "=m"(image));
	memcpy(after_env, image, 512);
	memcpy(image, fpu, 512);
	__asm__ volatile("fxrstor %0" : : "m"(image));
	__asm__ volatile("fnsave %0" : "=m"(*(uint8_t(*)[SAVE])save));
	__asm__ volatile("fxsave %0" : "=m"(image));
	memcpy(after_save, image, 512);
	__asm__ volatile("fninit");
	clear_pointers(save);
	clear_pointers(env);
}

/* Control, status, tags, registers. */
static void expect_same(const uint8_t *got, const uint8_t *want)
{
	assert_memory_equal(got, want, 5);
	for (unsigned i = 0; i < 8; i++)
		assert_memory_equal(got + 32 + 16 * i, want + 32 + 16 * i, 10);
}

static void test_saves(void **state)
{
	(void)state;
	for (unsigned top = 0; top < 8; top++)
		for (unsigned ftw = 0; ftw < 256; ftw += 51) {
			uint8_t save[SAVE], env[ENV], after_save[512], after_env[512];
			struct guest *g = system_guest(GUEST_LONG64, 0);

			g->cpu.gpr[X86_RCX] = AREA;
			fill(g->cpu.fpu, top, ftw, top + ftw);
			native_save(g->cpu.fpu, save, env, after_save, after_env);
			assert_int_equal(GUEST_RUN(g, FNSTENV), X86_DONE);
			assert_memory_equal(g->ram + AREA, env, ENV);
			expect_same(g->cpu.fpu, after_env);
			fill(g->cpu.fpu, top, ftw, top + ftw);
			assert_int_equal(GUEST_RUN(g, FNSAVE), X86_DONE);
			assert_memory_equal(g->ram + AREA, save, SAVE);
			/* Registers that FNINIT made empty may count as not in use. */
			assert_memory_equal(g->cpu.fpu, after_save, 5);
			guest_destroy(g);
		}
}

/* Back again: the saved state restores, in both sizes. */
static void test_round_trip(void **state)
{
	static const uint8_t codes[][3] = {{0x90, FNSAVE}, {0x66, FNSAVE}};
	static const uint8_t back[][3] = {{0x90, FRSTOR}, {0x66, FRSTOR}};

	(void)state;
	for (unsigned size = 0; size < 2; size++)
		for (unsigned top = 0; top < 8; top++) {
			struct guest *g = system_guest(GUEST_LONG64, 0);
			uint8_t before[512];

			g->cpu.gpr[X86_RCX] = AREA;
			fill(g->cpu.fpu, top, 0x35, top);
			memcpy(before, g->cpu.fpu, 512);
			guest_code(g, codes[size] + !size, 2 + size);
			assert_int_equal(guest_step(g), X86_DONE);
			assert_int_equal(g->cpu.fpu[4], 0);
			assert_int_equal(guest_get(g, AREA, 2), 0x0370);
			assert_int_equal(
				guest_get(g, AREA + (size ? 2 : 4), 2), 0x4500 | top << 11);
			guest_code(g, back[size] + !size, 2 + size);
			assert_int_equal(guest_step(g), X86_DONE);
			expect_same(g->cpu.fpu, before);
			guest_destroy(g);
		}
}

/* FLDENV changes no register, and derives the error summary from flags and masks. */
static void test_fldenv(void **state)
{
	static const struct {
		uint16_t fcw, fsw, want;
	} tests[] = {
		{0x37f, 0x3801, 0x3801},
		{0x37e, 0x3801, 0xb881},
		{0x37f, 0xb880, 0x3800},
		{0x340, 0x0000, 0x0000},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		struct guest *g = system_guest(GUEST_LONG64, 0);

		g->cpu.gpr[X86_RCX] = AREA;
		fill(g->cpu.fpu, 0, 0xff, 0);
		guest_put(g, AREA, tests[i].fcw, 4);
		guest_put(g, AREA + 4, tests[i].fsw, 4);
		guest_put(g, AREA + 8, 0xc3f0, 4); /* some empty, some not */
		assert_int_equal(GUEST_RUN(g, FLDENV), X86_DONE);
		assert_memory_equal(g->cpu.fpu, &tests[i].fcw, 2);
		assert_memory_equal(g->cpu.fpu + 2, &tests[i].want, 2);
		assert_int_equal(g->cpu.fpu[4], 0x63);
		guest_destroy(g);
	}
}

static void test_faults(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);
	uint8_t before[512];

	(void)state;
	fill(g->cpu.fpu, 3, 0x5a, 0);
	memcpy(before, g->cpu.fpu, 512);
	g->cpu.gpr[X86_RCX] = GUEST_READONLY;
	guest_code(g, (const uint8_t[]){FNSAVE}, 2);
	assert_fault(g, guest_step(g), X86_PF, 3);
	expect_same(g->cpu.fpu, before);
	g->cpu.gpr[X86_RCX] = GUEST_FENCE - 100; /* the last bytes are not there */
	assert_fault(g, guest_step(g), X86_PF, 2);
	guest_code(g, (const uint8_t[]){FRSTOR}, 2);
	assert_fault(g, guest_step(g), X86_PF, 0);
	expect_same(g->cpu.fpu, before);
	guest_destroy(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_saves),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_fldenv),
		cmocka_unit_test(test_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
