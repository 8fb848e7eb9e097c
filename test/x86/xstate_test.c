/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* FXSAVE, FXRSTOR and the XSAVE family: which bytes move, which headers are refused. */
#include "test/x86/system_guest.h"

#define AREA   AT_DATA
#define FCW    0x27fu
#define FSW    0x1a00u /* TOP = 3 */
#define FTW    0x5au
#define MXCSR  0x9fc0u
#define HEADER 512u
#define XMM    160u
#define YMM    576u
#define UNUSED 0xa5

#define X87 1u
#define SSE 2u
#define AVX 4u

/* Opcode bytes of the memory form at [RCX]. */
#define FXSAVE	 0x0f, 0xae, 0x01
#define FXRSTOR	 0x0f, 0xae, 0x09
#define XSAVE	 0x0f, 0xae, 0x21
#define XRSTOR	 0x0f, 0xae, 0x29
#define XSAVEOPT 0x0f, 0xae, 0x31
#define XSAVEC	 0x0f, 0xc7, 0x21

static void put(uint8_t *at, uint64_t value, unsigned size)
{
	memcpy(at, &value, size);
}

static uint64_t get(const uint8_t *at, unsigned size)
{
	uint64_t value = 0;

	memcpy(&value, at, size);
	return value;
}

/* A state in which every register differs from every other and from the initial one. */
static void fill_image(uint8_t *image)
{
	memset(image, 0, X86_XSAVE_SIZE);
	put(image, FCW, 2);
	put(image + 2, FSW, 2);
	image[4] = FTW;
	put(image + 24, MXCSR, 4);
	put(image + 28, 0xffff, 4);
	for (unsigned i = 0; i < 8; i++)
		for (unsigned b = 0; b < 10; b++)
			image[32 + 16 * i + b] = (uint8_t)(0x80 + i * 10 + b);
	for (unsigned i = 0; i < 256; i++) {
		image[XMM + i] = (uint8_t)(i * 7 + 1);
		image[YMM + i] = (uint8_t)(i * 5 + 3);
	}
	put(image + HEADER, X87 | SSE | AVX, 8);
}

static struct guest *loaded(enum guest_mode mode)
{
	struct guest *g = system_guest(mode, 0);

	if (!x86_has_feature(&g->cpu, X86_F_AVX)) {
		guest_destroy(g);
		skip();
	}
	fill_image(g->cpu.fpu);
	memset(g->ram + AREA, UNUSED, 0x1000);
	g->cpu.gpr[X86_RCX] = AREA;
	g->cpu.gpr[X86_RAX] = g->cpu.gpr[X86_RDX] = UINT32_MAX;
	return g;
}

static void expect_bytes(const uint8_t *got, const uint8_t *want, unsigned from, unsigned to)
{
	assert_memory_equal(got + from, want + from, to - from);
}

static void expect_unused(struct guest *g, unsigned from, unsigned to)
{
	for (unsigned i = from; i < to; i++)
		assert_int_equal(g->ram[AREA + i], UNUSED);
}

/* ---- FXSAVE, FXRSTOR ---- */

static void test_fxsave(void **state)
{
	static const enum guest_mode modes[] = {GUEST_LONG64, GUEST_PROT32};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct guest *g = loaded(modes[i]);
		unsigned end = modes[i] == GUEST_LONG64 ? XMM + 256 : XMM + 128;
		uint8_t image[X86_XSAVE_SIZE];

		fill_image(image);
		assert_int_equal(GUEST_RUN(g, FXSAVE), X86_DONE);
		expect_bytes(g->ram + AREA, image, 0, 28); /* the pointers are 0 there */
		expect_bytes(g->ram + AREA, image, 32, end);
		expect_unused(g, end, 0x1000);
		guest_destroy(g);
	}
}

static void test_fxrstor(void **state)
{
	struct guest *g = loaded(GUEST_LONG64);
	uint8_t image[X86_XSAVE_SIZE];

	(void)state;
	fill_image(image);
	put(image + 8, 0x1234567812345678, 8); /* pointers are dropped */
	memcpy(g->ram + AREA, image, 512);
	memset(g->cpu.fpu, 0, 512);
	put(g->cpu.fpu + 24, 0x1f80, 4);
	assert_int_equal(GUEST_RUN(g, FXRSTOR), X86_DONE);
	fill_image(image);
	expect_bytes(g->cpu.fpu, image, 0, 28);
	expect_bytes(g->cpu.fpu, image, 32, XMM + 256);
	expect_bytes(g->cpu.fpu, image, YMM, YMM + 256); /* YMM upper halves stay */
	guest_destroy(g);
	/* Outside 64-bit mode registers 8 to 15 stay. */
	g = loaded(GUEST_PROT32);
	memset(g->ram + AREA, 0, 512);
	put(g->ram + AREA + 24, 0x1f80, 4);
	assert_int_equal(GUEST_RUN(g, FXRSTOR), X86_DONE);
	for (unsigned i = 0; i < 128; i++)
		assert_int_equal(g->cpu.fpu[XMM + i], 0);
	expect_bytes(g->cpu.fpu, image, XMM + 128, XMM + 256);
	guest_destroy(g);
}

static void test_fx_errors(void **state)
{
	struct guest *g = loaded(GUEST_LONG64);

	(void)state;
	memset(g->ram + AREA, 0, 512);
	put(g->ram + AREA + 24, 1u << 31, 4);
	guest_code(g, (const uint8_t[]){FXRSTOR}, 3);
	assert_fault(g, guest_step(g), X86_GP, 0);
	g->cpu.gpr[X86_RCX] = AREA + 8;
	assert_fault(g, guest_step(g), X86_GP, 0);
	guest_code(g, (const uint8_t[]){FXSAVE}, 3);
	assert_fault(g, guest_step(g), X86_GP, 0);
	g->cpu.gpr[X86_RCX] = GUEST_FENCE - 256; /* the second half is not there */
	memset(g->ram + GUEST_FENCE - 256, UNUSED, 256);
	assert_fault(g, guest_step(g), X86_PF, 2);
	for (unsigned i = 0; i < 256; i++)
		assert_int_equal(g->ram[GUEST_FENCE - 256 + i], UNUSED);
	guest_destroy(g);
}

/* After a native x87 instruction with a memory operand no address of ours shows. */
static void test_no_pointers(void **state)
{
	struct guest *g = loaded(GUEST_LONG64);

	(void)state;
	g->cpu.gpr[X86_RCX] = AREA;
	memset(g->ram + AREA, 0, 16);
	assert_int_equal(GUEST_RUN(g, 0xdf, 0x29), X86_DONE); /* FILD qword [RCX] */
	memset(g->ram + AREA, UNUSED, 0x1000);
	assert_int_equal(GUEST_RUN(g, 0x48, FXSAVE), X86_DONE);
	assert_int_equal(guest_get(g, AREA + 8, 8), 0);
	assert_int_equal(guest_get(g, AREA + 16, 8), 0);
	assert_int_equal(guest_get(g, AREA + 6, 2), 0);
	guest_destroy(g);
}

/* ---- XSAVE, XSAVEOPT, XSAVEC ---- */

/* Every RFBM under every XCR0. */
static void test_xsave(void **state)
{
	static const unsigned xcr0s[] = {1, 3, 7};
	uint8_t image[X86_XSAVE_SIZE];

	(void)state;
	fill_image(image);
	for (unsigned x = 0; x < 3; x++)
		for (unsigned rfbm = 0; rfbm < 16; rfbm++) {
			struct guest *g = loaded(GUEST_LONG64);
			unsigned saved = rfbm & xcr0s[x];

			g->cpu.xcr0 = xcr0s[x];
			g->cpu.gpr[X86_RAX] = rfbm;
			put(g->ram + AREA + HEADER, 0x7, 8);
			assert_int_equal(GUEST_RUN(g, XSAVE), X86_DONE);
			assert_int_equal(guest_get(g, AREA + HEADER, 8), 7);
			if (saved & X87) {
				expect_bytes(g->ram + AREA, image, 0, 24);
				expect_bytes(g->ram + AREA, image, 32, XMM);
			} else {
				expect_unused(g, 0, 24);
				expect_unused(g, 32, XMM);
			}
			if (saved & (SSE | AVX))
				expect_bytes(g->ram + AREA, image, 24, 28);
			else
				expect_unused(g, 24, 32);
			if (saved & SSE)
				expect_bytes(g->ram + AREA, image, XMM, XMM + 256);
			else
				expect_unused(g, XMM, XMM + 256);
			if (saved & AVX)
				expect_bytes(g->ram + AREA, image, YMM, YMM + 256);
			else
				expect_unused(g, YMM, YMM + 256);
			expect_unused(g, XMM + 256, HEADER);
			expect_unused(g, HEADER + 8, YMM);
			expect_unused(g, YMM + 256, 0x1000);
			guest_destroy(g);
		}
}

/* Bits outside RFBM stay in the header, those inside say what is in use. */
static void test_header(void **state)
{
	struct guest *g = loaded(GUEST_LONG64);

	(void)state;
	put(g->cpu.fpu + HEADER, X87 | SSE, 8); /* AVX in its initial state */
	g->cpu.gpr[X86_RAX] = SSE | AVX;
	put(g->ram + AREA + HEADER, X87 | AVX, 8);
	assert_int_equal(GUEST_RUN(g, XSAVE), X86_DONE);
	assert_int_equal(guest_get(g, AREA + HEADER, 8), X87 | SSE);
	for (unsigned i = 0; i < 256; i++)
		assert_int_equal(g->ram[AREA + YMM + i], 0);
	guest_destroy(g);
}

static void test_xsaveopt(void **state)
{
	struct guest *g = loaded(GUEST_LONG64);
	uint8_t image[X86_XSAVE_SIZE];

	(void)state;
	fill_image(image);
	put(g->cpu.fpu + HEADER, X87 | SSE, 8);
	put(g->ram + AREA + HEADER, 0, 8);
	assert_int_equal(GUEST_RUN(g, XSAVEOPT), X86_DONE);
	assert_int_equal(guest_get(g, AREA + HEADER, 8), X87 | SSE);
	expect_bytes(g->ram + AREA, image, XMM, XMM + 256);
	expect_unused(g, YMM, YMM + 256); /* in its initial state: not written */
	guest_destroy(g);
}

static void test_xsavec(void **state)
{
	struct guest *g = loaded(GUEST_LONG64);
	uint8_t image[X86_XSAVE_SIZE];

	(void)state;
	fill_image(image);
	g->cpu.gpr[X86_RAX] = X87 | AVX;
	assert_int_equal(GUEST_RUN(g, XSAVEC), X86_DONE);
	assert_int_equal(guest_get(g, AREA + HEADER, 8), X87 | AVX);
	assert_int_equal(guest_get(g, AREA + HEADER + 8, 8), 1ull << 63 | X87 | AVX);
	expect_unused(g, 24, 32);
	expect_unused(g, XMM, XMM + 256);
	expect_bytes(g->ram + AREA, image, YMM, YMM + 256);
	/* A changed MXCSR alone makes SSE count as in use. */
	put(g->cpu.fpu + HEADER, 0, 8);
	put(g->cpu.fpu + 24, MXCSR, 4);
	g->cpu.gpr[X86_RAX] = X87 | SSE | AVX;
	assert_int_equal(GUEST_RUN(g, XSAVEC), X86_DONE);
	assert_int_equal(guest_get(g, AREA + HEADER, 8), SSE);
	assert_int_equal(guest_get(g, AREA + 24, 4), MXCSR);
	guest_destroy(g);
}

#define PKRU	0x200u
#define PKRU_AT 832u

/* PKRU's place goes with the format; what is not restored is 0. */
static void test_pkru(void **state)
{
	struct guest *g = loaded(GUEST_LONG64);
	uint8_t image[X86_XSAVE_SIZE];

	(void)state;
	fill_image(image);
	assert_int_equal(x86_set_xcr0(&g->cpu, PKRU | 7), X86_DONE);
	g->cpu.pkru = 0x55555554;
	memset(g->ram + AREA + HEADER, 0, 64);
	assert_int_equal(GUEST_RUN(g, XSAVE), X86_DONE);
	assert_int_equal(guest_get(g, AREA + HEADER, 8), PKRU | X87 | SSE | AVX);
	assert_int_equal(guest_get(g, AREA + PKRU_AT, 8), 0x55555554);
	expect_unused(g, PKRU_AT + 8, PKRU_AT + 16);
	expect_bytes(g->ram + AREA, image, YMM, YMM + 256);
	g->cpu.pkru = 0;
	assert_int_equal(GUEST_RUN(g, XRSTOR), X86_DONE);
	assert_int_equal(g->cpu.pkru, 0x55555554);
	/* Not in XSTATE_BV: the initial value.  Not asked for: as it was. */
	guest_put(g, AREA + HEADER, X87, 8);
	g->cpu.gpr[X86_RAX] = 7;
	assert_int_equal(GUEST_RUN(g, XRSTOR), X86_DONE);
	assert_int_equal(g->cpu.pkru, 0x55555554);
	g->cpu.gpr[X86_RAX] = PKRU;
	assert_int_equal(GUEST_RUN(g, XRSTOR), X86_DONE);
	assert_int_equal(g->cpu.pkru, 0);
	/* Compacted without AVX it follows the header. */
	g->cpu.pkru = 0x12345678;
	memset(g->ram + AREA, 0, 0x1000);
	put(g->cpu.fpu + 24, 0x1f80, 4);
	assert_int_equal(GUEST_RUN(g, XSAVEC), X86_DONE);
	assert_int_equal(guest_get(g, AREA + HEADER, 8), PKRU);
	assert_int_equal(guest_get(g, AREA + HEADER + 8, 8), 1ull << 63 | PKRU);
	assert_int_equal(guest_get(g, AREA + YMM, 8), 0x12345678);
	g->cpu.pkru = 0;
	assert_int_equal(GUEST_RUN(g, XRSTOR), X86_DONE);
	assert_int_equal(g->cpu.pkru, 0x12345678);
	/* The area ends behind it: at the fence or with a fault. */
	g->cpu.gpr[X86_RCX] = GUEST_FENCE - 832;
	guest_code(g, (const uint8_t[]){XSAVE}, 3);
	assert_fault(g, guest_step(g), X86_PF, 2);
	/* XGETBV with ECX = 1 tells whether it is in use. */
	g->cpu.gpr[X86_RCX] = 1;
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x01, 0xd0), X86_DONE);
	assert_true(g->cpu.gpr[X86_RAX] & PKRU);
	guest_destroy(g);
}

static void test_xsave_errors(void **state)
{
	struct guest *g = loaded(GUEST_LONG64);

	(void)state;
	g->cpu.gpr[X86_RCX] = AREA + 32;
	guest_code(g, (const uint8_t[]){XSAVE}, 3);
	assert_fault(g, guest_step(g), X86_GP, 0);
	g->cpu.gpr[X86_RCX] = GUEST_READONLY;
	assert_fault(g, guest_step(g), X86_PF, 3);
	g->cpu.gpr[X86_RCX] = GUEST_FENCE - 576;
	g->cpu.gpr[X86_RAX] = X87 | SSE;
	assert_int_equal(guest_step(g), X86_DONE); /* AVX is not asked for */
	g->cpu.gpr[X86_RAX] = AVX;
	g->cpu.rip = GUEST_CODE;
	assert_fault(g, guest_step(g), X86_PF, 2);
	guest_destroy(g);
}

/* ---- XRSTOR ---- */

static void test_xrstor(void **state)
{
	uint8_t image[X86_XSAVE_SIZE];

	(void)state;
	for (unsigned compact = 0; compact < 2; compact++)
		for (unsigned rfbm = 0; rfbm < 8; rfbm++)
			for (unsigned bv = 0; bv < 8; bv++) {
				struct guest *g = loaded(GUEST_LONG64);
				const uint8_t *fpu = g->cpu.fpu;
				uint32_t mxcsr = 0x1fa0, want = MXCSR;

				memset(g->ram + AREA, 0, X86_XSAVE_SIZE);
				put(g->ram + AREA, 0xc7f, 2);
				put(g->ram + AREA + 24, mxcsr, 4);
				memset(g->ram + AREA + XMM, 0x11, 256);
				memset(g->ram + AREA + YMM, 0x22, 256);
				put(g->ram + AREA + HEADER, bv, 8);
				if (compact)
					put(g->ram + AREA + HEADER + 8, 1ull << 63 | 7, 8);
				g->cpu.gpr[X86_RAX] = rfbm;
				assert_int_equal(GUEST_RUN(g, XRSTOR), X86_DONE);
				fill_image(image);
				assert_int_equal(get(fpu, 2), !(rfbm & X87) ? FCW
							      : bv & X87    ? 0xc7f
									    : 0x37f);
				if (!compact && rfbm & (SSE | AVX))
					want = mxcsr;
				else if (compact && rfbm & SSE)
					want = bv & SSE ? mxcsr : 0x1f80;
				assert_int_equal(get(fpu + 24, 4), want);
				assert_int_equal(fpu[XMM + 5], !(rfbm & SSE) ? image[XMM + 5]
							       : bv & SSE    ? 0x11
									     : 0);
				assert_int_equal(fpu[YMM + 250], !(rfbm & AVX) ? image[YMM + 250]
								 : bv & AVX    ? 0x22
									       : 0);
				guest_destroy(g);
			}
}

static void test_xrstor_headers(void **state)
{
	static const struct {
		uint64_t xcr0, bv, comp;
		unsigned byte; /* of the header to be made 1, 0: none */
		uint32_t mxcsr;
		bool ok;
	} tests[] = {
		{7, 7, 0, 0, 0x1f80, true}, {3, 4, 0, 0, 0x1f80, false}, /* not in XCR0 */
		{7, 8, 0, 0, 0x1f80, false},
		{7, 7, 1, 0, 0x1f80, false}, /* XCOMP_BV without bit 63 */
		{7, 7, 0, 16, 0x1f80, false}, {7, 7, 0, 23, 0x1f80, false},
		{7, 7, 0, 24, 0x1f80, true}, /* the standard form looks no further */
		{7, 7, 0, 0, 0x80001f80, false}, {7, 7, 1ull << 63 | 7, 0, 0x1f80, true},
		{7, 7, 1ull << 63 | 3, 0, 0x1f80, false}, /* in BV, not in COMP */
		{7, 3, 1ull << 63 | 3, 0, 0x1f80, true}, {3, 3, 1ull << 63 | 7, 0, 0x1f80, false},
		{7, 3, 1ull << 63 | 1ull << 62 | 3, 0, 0x1f80, false},
		{7, 7, 1ull << 63 | 7, 63, 0x1f80, false},
		{7, 5, 1ull << 63 | 7, 0, 0x80001f80, true}, /* MXCSR is not loaded */
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		struct guest *g = loaded(GUEST_LONG64);

		memset(g->ram + AREA, 0, X86_XSAVE_SIZE);
		put(g->ram + AREA + 24, tests[i].mxcsr, 4);
		put(g->ram + AREA + HEADER, tests[i].bv, 8);
		put(g->ram + AREA + HEADER + 8, tests[i].comp, 8);
		if (tests[i].byte)
			g->ram[AREA + HEADER + tests[i].byte] = 1;
		g->cpu.xcr0 = tests[i].xcr0;
		guest_code(g, (const uint8_t[]){XRSTOR}, 3);
		if (tests[i].ok) {
			assert_int_equal(guest_step(g), X86_DONE);
		} else {
			assert_fault(g, guest_step(g), X86_GP, 0);
			assert_int_equal(get(g->cpu.fpu, 2), FCW);
		}
		guest_destroy(g);
	}
}

/* XGETBV(1): what is in use, out of what is enabled. */
static void test_in_use(void **state)
{
	struct guest *g = loaded(GUEST_LONG64);

	(void)state;
	g->cpu.gpr[X86_RCX] = 1;
	put(g->cpu.fpu + HEADER, X87 | SSE, 8);
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x01, 0xd0), X86_DONE);
	assert_int_equal(g->cpu.gpr[X86_RAX], X87 | SSE);
	guest_destroy(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fxsave),
		cmocka_unit_test(test_fxrstor),
		cmocka_unit_test(test_fx_errors),
		cmocka_unit_test(test_no_pointers),
		cmocka_unit_test(test_xsave),
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_xsaveopt),
		cmocka_unit_test(test_xsavec),
		cmocka_unit_test(test_pkru),
		cmocka_unit_test(test_xsave_errors),
		cmocka_unit_test(test_xrstor),
		cmocka_unit_test(test_xrstor_headers),
		cmocka_unit_test(test_in_use),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
