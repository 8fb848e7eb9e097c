/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Which control bits, modes and privileges let which kind of instruction run. */
#include "test/x86/system_guest.h"

#define RUNS (-1)

/* One instruction of each kind, 32-bit and 64-bit code alike. */
static const uint8_t x87[] = {0xd9, 0xe8};		     /* FLD1 */
static const uint8_t mmx[] = {0x0f, 0xef, 0xc0};	     /* PXOR MM0, MM0 */
static const uint8_t sse[] = {0x0f, 0x57, 0xc0};	     /* XORPS XMM0, XMM0 */
static const uint8_t avx[] = {0xc5, 0xf8, 0x57, 0xc0};	     /* VXORPS XMM0, XMM0, XMM0 */
static const uint8_t bmi[] = {0xc4, 0xe2, 0x78, 0xf2, 0xc0}; /* ANDN EAX, EAX, EAX */
static const uint8_t fwait[] = {0x9b};
static const uint8_t fxsave[] = {0x0f, 0xae, 0x01};
static const uint8_t xsave[] = {0x0f, 0xae, 0x21};
static const uint8_t xgetbv[] = {0x0f, 0x01, 0xd0};
static const uint8_t wbinvd[] = {0x0f, 0x09};
static const uint8_t lldt[] = {0x0f, 0x00, 0xd0};
static const uint8_t xsaves[] = {0x0f, 0xc7, 0x29};
static const uint8_t emms[] = {0x0f, 0x77};

#define CODE(name) name, sizeof(name)

struct allowed {
	const uint8_t *code;
	unsigned len;
	unsigned cpl;
	uint64_t cr0_set, cr4_clear, xcr0;
	int vector;
};

static const struct allowed tests[] = {
	{CODE(x87), 0, 0, 0, 7, RUNS},
	{CODE(x87), 0, X86_CR0_TS, 0, 7, X86_NM},
	{CODE(x87), 0, X86_CR0_EM, 0, 7, X86_NM},
	{CODE(x87), 0, 0, X86_CR4_OSFXSR, 7, RUNS},
	{CODE(mmx), 0, 0, X86_CR4_OSFXSR, 7, RUNS},
	{CODE(mmx), 0, X86_CR0_TS, 0, 7, X86_NM},
	{CODE(mmx), 0, X86_CR0_EM, 0, 7, X86_UD},
	{CODE(emms), 0, X86_CR0_EM | X86_CR0_TS, 0, 7, X86_UD},
	{CODE(sse), 0, 0, 0, 7, RUNS},
	{CODE(sse), 0, X86_CR0_TS, 0, 7, X86_NM},
	{CODE(sse), 0, X86_CR0_EM, 0, 7, X86_UD},
	{CODE(sse), 0, 0, X86_CR4_OSFXSR, 7, X86_UD},
	{CODE(sse), 0, X86_CR0_TS, X86_CR4_OSFXSR, 7, X86_UD},
	{CODE(avx), 0, 0, 0, 7, RUNS},
	{CODE(avx), 0, 0, X86_CR4_OSXSAVE, 7, X86_UD},
	{CODE(avx), 0, 0, 0, 3, X86_UD},
	{CODE(avx), 0, X86_CR0_TS, 0, 7, X86_NM},
	{CODE(avx), 0, X86_CR0_EM, 0, 7, RUNS},
	{CODE(avx), 0, 0, X86_CR4_OSFXSR, 7, RUNS},
	{CODE(bmi), 0, X86_CR0_TS | X86_CR0_EM, X86_CR4_OSXSAVE, 1, RUNS},
	{CODE(fwait), 0, X86_CR0_EM, 0, 7, RUNS},
	{CODE(fwait), 0, X86_CR0_TS, 0, 7, X86_NM}, /* MP is set */
	{CODE(fxsave), 0, X86_CR0_TS, 0, 7, X86_NM},
	{CODE(fxsave), 0, X86_CR0_EM, 0, 7, X86_NM},
	{CODE(xsave), 0, 0, 0, 7, RUNS},
	{CODE(xsave), 0, 0, X86_CR4_OSXSAVE, 7, X86_UD},
	{CODE(xsave), 0, X86_CR0_TS, 0, 7, X86_NM},
	{CODE(xgetbv), 3, X86_CR0_TS, 0, 7, RUNS},
	{CODE(xgetbv), 3, 0, X86_CR4_OSXSAVE, 7, X86_UD},
	{CODE(wbinvd), 0, 0, 0, 7, RUNS},
	{CODE(wbinvd), 3, 0, 0, 7, X86_GP},
	{CODE(lldt), 3, 0, 0, 7, X86_GP},
	{CODE(xsaves), 0, 0, 0, 7, X86_UD}, /* never offered */
	{CODE(xsaves), 3, 0, 0, 7, X86_UD},
};

static void test_controls(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		for (unsigned mode = GUEST_PROT32; mode <= GUEST_LONG64; mode++) {
			struct guest *g = system_guest(mode, tests[i].cpl);

			g->cpu.cr0 |= tests[i].cr0_set;
			g->cpu.cr4 &= ~tests[i].cr4_clear;
			g->cpu.xcr0 = tests[i].xcr0;
			g->cpu.gpr[X86_RCX] = tests[i].code == xgetbv ? 0 : AT_DATA;
			guest_code(g, tests[i].code, tests[i].len);
			if (tests[i].vector == RUNS)
				assert_int_equal(guest_step(g), X86_DONE);
			else
				assert_fault(g, guest_step(g), tests[i].vector, 0);
			guest_destroy(g);
		}
}

static void test_fwait_without_mp(void **state)
{
	struct guest *g = system_guest(GUEST_PROT32, 0);

	(void)state;
	g->cpu.cr0 = (g->cpu.cr0 | X86_CR0_TS) & ~(uint64_t)X86_CR0_MP;
	assert_int_equal(GUEST_RUN(g, 0x9b), X86_DONE);
	guest_destroy(g);
}

/* Real and virtual-8086 mode know neither VEX nor the protected mode's instructions. */
static void test_real(void **state)
{
	static const struct {
		const uint8_t *code;
		unsigned len;
		bool runs;
	} real[] = {
		{CODE(lldt), false},
		{CODE(avx), false},
		{CODE(bmi), false},
		{CODE(sse), true},
		{CODE(x87), true},
	};

	(void)state;
	for (unsigned vm86 = 0; vm86 < 2; vm86++)
		for (unsigned i = 0; i < sizeof(real) / sizeof(real[0]); i++) {
			struct guest *g =
				system_guest(vm86 ? GUEST_PROT32 : GUEST_REAL16, vm86 ? 3 : 0);

			if (vm86) {
				g->cpu.rflags |= X86_RF_VM;
				for (unsigned seg = 0; seg < 6; seg++)
					x86_load_seg(&g->cpu, seg, 0);
			}
			guest_code(g, real[i].code, real[i].len);
			if (real[i].runs)
				assert_int_equal(guest_step(g), X86_DONE);
			else
				assert_fault(g, guest_step(g), X86_UD, 0);
			guest_destroy(g);
		}
}

/* A feature that is not offered takes its instructions along. */
static void test_feature(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);

	(void)state;
	assert_int_equal(GUEST_RUN(g, 0x66, 0x0f, 0x38, 0x1c, 0xc0), X86_DONE); /* PABSB */
	g->cpu.features[X86_F_SSSE3 / 64] &= ~(1ull << X86_F_SSSE3 % 64);
	guest_code(g, (const uint8_t[]){0x66, 0x0f, 0x38, 0x1c, 0xc0}, 5);
	assert_fault(g, guest_step(g), X86_UD, 0);
	guest_destroy(g);
}

int main(void)
{
	const struct CMUnitTest all[] = {
		cmocka_unit_test(test_controls),
		cmocka_unit_test(test_fwait_without_mp),
		cmocka_unit_test(test_real),
		cmocka_unit_test(test_feature),
	};

	return cmocka_run_group_tests(all, NULL, NULL);
}
