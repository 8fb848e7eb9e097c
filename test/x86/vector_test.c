/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The guest's registers are put aside, the host uses all of them, and the guest's come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "x86/xstate.h"

static int set_up(void **state)
{
	struct x86_cpu *cpu = aligned_alloc(64, (sizeof(*cpu) + 63) / 64 * 64);

	assert_non_null(cpu);
	memset(cpu, 0, sizeof(*cpu));
	x86_features_init(cpu);
	x86_reset(cpu);
	*state = cpu;
	return 0;
}

static int tear_down(void **state)
{
	free(*state);
	return 0;
}

/* What a guest may have: each kind of state in use or not. */
enum { USES_X87 = 1, USES_HIGH = 2, ODD_MXCSR = 4, ONE_HIGH = 8, KINDS = 16 };

static void make_image(uint8_t *image, unsigned kind, unsigned which)
{
	memset(image, 0, X86_XSAVE_SIZE);
	for (unsigned i = XS_XMM; i < XS_XMM + 256; i++)
		image[i] = (uint8_t)rand();
	if (kind & USES_HIGH)
		for (unsigned i = XS_YMM_HIGH; i < XS_YMM_HIGH + 256; i++)
			image[i] = (uint8_t)rand();
	if (kind & ONE_HIGH) /* a single bit, of one register */
		image[XS_YMM_HIGH + 16 * which + (unsigned)rand() % 16] |= (uint8_t)(1 << rand() % 8);
	xs_put16(image, XS_FCW, XS_FCW_INIT);
	xs_put32(image, XS_MXCSR, kind & ODD_MXCSR ? 0x9fc0 ^ 0x2000 : XS_MXCSR_INIT);
	xs_put64(image, XS_XSTATE_BV, XS_SSE | (kind & (USES_HIGH | ONE_HIGH) ? XS_AVX : 0));
	if (!(kind & USES_X87))
		return;
	xs_put64(image, XS_XSTATE_BV, xs_get64(image, XS_XSTATE_BV) | XS_X87);
	xs_put16(image, XS_FCW, 0xf7f);
	xs_put16(image, XS_FSW, 3 << 11);
	image[XS_FTW] = 0xf8;
	for (unsigned n = 0; n < 8; n++) {
		for (unsigned i = 0; i < 7; i++)
			image[XS_ST + 16 * n + i] = (uint8_t)rand();
		image[XS_ST + 16 * n + 7] = 0x80;
		xs_put16(image, XS_ST + 16 * n + 8, (uint16_t)(0x3f00 + n));
	}
}

/* Every vector register, all bits. */
static void use_vectors(void)
{
	__asm__ volatile(
		"vpcmpeqd %%xmm0, %%xmm0, %%xmm0\n\tvinsertf128 $1, %%xmm0, %%ymm0, %%ymm0\n\t"
		"vmovaps %%ymm0, %%ymm1\n\tvmovaps %%ymm0, %%ymm2\n\tvmovaps %%ymm0, %%ymm3\n\t"
		"vmovaps %%ymm0, %%ymm4\n\tvmovaps %%ymm0, %%ymm5\n\tvmovaps %%ymm0, %%ymm6\n\t"
		"vmovaps %%ymm0, %%ymm7\n\tvmovaps %%ymm0, %%ymm8\n\tvmovaps %%ymm0, %%ymm9\n\t"
		"vmovaps %%ymm0, %%ymm10\n\tvmovaps %%ymm0, %%ymm11\n\tvmovaps %%ymm0, %%ymm12\n\t"
		"vmovaps %%ymm0, %%ymm13\n\tvmovaps %%ymm0, %%ymm14\n\tvmovaps %%ymm0, %%ymm15"
		: : : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
		  "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

/* As C code leaves them: the stack empty, and the modes as they were. */
static void use_x87(void)
{
	__asm__ volatile("fldpi\n\tfldpi\n\tfldpi\n\tfldpi\n\tfldpi\n\tfldpi\n\tfldpi\n\tfldpi\n\t"
			 "fstp %st(0)\n\tfstp %st(0)\n\tfstp %st(0)\n\tfstp %st(0)\n\t"
			 "fstp %st(0)\n\tfstp %st(0)\n\tfstp %st(0)\n\tfstp %st(0)");
}

/* What the ABI promises to a C function. */
static bool host_modes_are_default(void)
{
	uint8_t environment[28];
	uint32_t mxcsr;
	uint16_t fcw;

	__asm__ volatile("stmxcsr %0\n\tfnstcw %1\n\tfnstenv %2\n\tfldenv %2"
			 : "=m"(mxcsr), "=m"(fcw), "=m"(environment));
	return mxcsr == XS_MXCSR_INIT && fcw == XS_FCW_INIT && environment[8] == 0xff && environment[9] == 0xff;
}

/* Of what has no effect on a program, only the components in use may differ. */
static void assert_same(const uint8_t *got, const uint8_t *want, bool x87)
{
	assert_memory_equal(got + XS_XMM, want + XS_XMM, 256);
	assert_int_equal(xs_get32(got, XS_MXCSR), xs_get32(want, XS_MXCSR));
	if (xs_get64(got, XS_XSTATE_BV) & XS_AVX)
		assert_memory_equal(got + XS_YMM_HIGH, want + XS_YMM_HIGH, 256);
	else
		assert_false(xs_get64(want, XS_XSTATE_BV) & XS_AVX);
	if (!x87) {
		assert_false(xs_get64(got, XS_XSTATE_BV) & XS_X87);
		return;
	}
	assert_true(xs_get64(got, XS_XSTATE_BV) & XS_X87);
	assert_memory_equal(got, want, XS_FOP);
	assert_memory_equal(got + XS_ST, want + XS_ST, XS_XMM - XS_ST);
}

/* Nothing but moves between two of these calls may be compiled to use a vector register: no libc there. */
static void round_trip(struct x86_cpu *cpu, unsigned kind, unsigned which, bool lend, bool host_x87)
{
	static uint8_t want[X86_XSAVE_SIZE], host[X86_XSAVE_SIZE] __attribute__((aligned(64)));
	bool modes = true;

	make_image(want, kind, which);
	memcpy(cpu->fpu, want, sizeof(want));
	__asm__ volatile("xsave64 (%0)" : : "r"(host), "a"(7), "d"(0) : "memory");
	x86_fpu_load(cpu);
	if (lend) {
		x86_vectors_lend(cpu);
		use_vectors();
		x86_vectors_return(cpu);
	} else {
		x86_fpu_park(cpu);
		modes = host_modes_are_default();
		use_vectors();
		if (host_x87)
			use_x87();
		x86_fpu_unpark(cpu);
	}
	x86_fpu_save(cpu);
	__asm__ volatile("xrstor64 (%0)" : : "r"(host), "a"(7), "d"(0) : "memory");
	assert_true(modes);
	/* fnstenv in host_modes_are_default() has used the x87 unit as much as any code. */
	assert_same(cpu->fpu, want, kind & USES_X87);
}

static void each_kind(struct x86_cpu *cpu, bool lend, bool host_x87)
{
	for (unsigned n = 0; n < 200; n++)
		for (unsigned kind = 0; kind < KINDS; kind++)
			round_trip(cpu, kind, n % 16, lend, host_x87);
}

static void test_park(void **state)
{
	each_kind(*state, false, false);
	each_kind(*state, false, true);
}

static void test_lend(void **state)
{
	each_kind(*state, true, false);
}

/* A processor that cannot tell whether x87 is in use. */
static void test_without_in_use(void **state)
{
	struct x86_cpu *cpu = *state;

	cpu->host_in_use = false;
	each_kind(cpu, false, true);
}

/* The state of FNINIT behind use is the initial one from the second time on. */
static void test_fninit(void **state)
{
	struct x86_cpu *cpu = *state;
	static uint8_t host[X86_XSAVE_SIZE] __attribute__((aligned(64)));
	uint64_t components;

	make_image(cpu->fpu, 0, 0);
	__asm__ volatile("xsave64 (%0)" : : "r"(host), "a"(7), "d"(0) : "memory");
	x86_fpu_load(cpu);
	__asm__ volatile("fldz\n\tfstp %st(0)\n\tfninit");
	x86_fpu_park(cpu);
	x86_fpu_unpark(cpu);
	x86_fpu_save(cpu);
	components = xs_get64(cpu->fpu, XS_XSTATE_BV);
	__asm__ volatile("xrstor64 (%0)" : : "r"(host), "a"(7), "d"(0) : "memory");
	assert_int_equal(components & (XS_X87 | XS_SSE), XS_SSE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(park),
		TEST(lend),
		TEST(without_in_use),
		TEST(fninit),
	};

	return cmocka_run_group_tests_name("vector", tests, NULL, NULL);
}
