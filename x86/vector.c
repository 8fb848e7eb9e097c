/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The guest's vector registers out of the host's way and back.
 *
 * XSAVE and XRSTOR take a quarter of a microsecond together, FNINIT another fifth of that; 32 moves take 10 ns.
 * What has to be known for moves to do is told by the hardware or by a look: whether the x87 registers are in
 * their initial state (XGETBV, SDM vol. 1, 13.6), and whether any upper half differs from zero, because
 * registers that are loaded by 256-bit moves make SSE code behind them slow on some processors.
 */
#include "x86/exec.h"
#include "x86/xstate.h"

#define EACH_0_3(X)  X(0) X(1) X(2) X(3)
#define EACH_4_15(X) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define EACH(X)	     EACH_0_3(X) EACH_4_15(X)

#define STORE_LOW(n)  "vmovdqa %%xmm" #n ", 160+16*" #n "(%[image])\n\t"
#define STORE_HIGH(n) "vextractf128 $1, %%ymm" #n ", 576+16*" #n "(%[image])\n\t"
#define LOAD_LOW(n)   "vmovdqa 160+16*" #n "(%[image]), %%xmm" #n "\n\t"
#define LOAD_HIGH(n)  "vinsertf128 $1, 576+16*" #n "(%[image]), %%ymm" #n ", %%ymm" #n "\n\t"
#define OR(to, from)  "vorps %%ymm" #from ", %%ymm" #to ", %%ymm" #to "\n\t"

_Static_assert(XS_XMM == 160 && XS_YMM_HIGH == 576, "the offsets in the macros above");

/*
 * No clobbers: nothing that is compiled here has anything in vector registers, and the guest's are in
 * the image.  Leaves upper halves zero.
 */
static void store(uint8_t *image)
{
	uint64_t components = XS_SSE;

	__asm__ volatile(EACH(STORE_LOW) EACH_0_3(STORE_HIGH)
		OR(0, 4) OR(1, 5) OR(2, 6) OR(3, 7) OR(0, 8) OR(1, 9) OR(2, 10) OR(3, 11)
		OR(0, 12) OR(1, 13) OR(2, 14) OR(3, 15) OR(0, 1) OR(2, 3) OR(0, 2)
		"vextractf128 $1, %%ymm0, %%xmm0\n\t"
		"vptest %%xmm0, %%xmm0\n\t"
		"jz 1f\n\t"
		EACH_4_15(STORE_HIGH)
		"mov %[all], %k[components]\n"
		"1:\tvzeroupper"
		: [components] "+r"(components)
		: [image] "r"(image), [all] "i"(XS_SSE | XS_AVX)
		: "memory", "cc");
	xs_put64(image, XS_XSTATE_BV, components);
	xs_put64(image, XS_XCOMP_BV, 0);
}

static void load(const uint8_t *image)
{
	__asm__ volatile(EACH(LOAD_LOW) : : [image] "r"(image) : "memory");
	if (xs_get64(image, XS_XSTATE_BV) & XS_AVX)
		__asm__ volatile(EACH(LOAD_HIGH) : : [image] "r"(image) : "memory");
}

void x86_vectors_lend(struct x86_cpu *cpu)
{
	store(cpu->fpu);
}

void x86_vectors_return(struct x86_cpu *cpu)
{
	load(cpu->fpu);
}

/* False also when nobody can tell. */
static bool is_x87_initial(const struct x86_cpu *cpu)
{
	uint32_t low, high;

	if (!cpu->host_in_use)
		return false;
	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(1));
	return !(low & XS_X87);
}

/* As after FNINIT. Some processors do not notice that an FNINIT has led there: the next load tells them. */
static void note_initial_x87(uint8_t *image)
{
	uint64_t used = xs_get16(image, XS_FCW) ^ XS_FCW_INIT;

	for (unsigned at = XS_FSW; at < XS_MXCSR; at += 2)
		used |= xs_get16(image, at);
	for (unsigned at = XS_ST; at < XS_XMM; at += 8)
		used |= xs_get64(image, at);
	if (!used)
		xs_put64(image, XS_XSTATE_BV, xs_get64(image, XS_XSTATE_BV) & ~XS_X87);
}

static void set_mxcsr(uint32_t value)
{
	__asm__ volatile("ldmxcsr %0" : : "m"(value));
}

void x86_fpu_park(struct x86_cpu *cpu)
{
	uint32_t mxcsr;

	if (!is_x87_initial(cpu)) {
		x86_vectors_save(cpu->fpu);
		note_initial_x87(cpu->fpu);
		__asm__ volatile("fninit\n\tvzeroupper");
		set_mxcsr(XS_MXCSR_INIT);
		return;
	}
	store(cpu->fpu);
	__asm__ volatile("stmxcsr %0" : "=m"(mxcsr));
	xs_put32(cpu->fpu, XS_MXCSR, mxcsr);
	if (mxcsr != XS_MXCSR_INIT)
		set_mxcsr(XS_MXCSR_INIT);
}

void x86_fpu_unpark(struct x86_cpu *cpu)
{
	uint64_t components = xs_get64(cpu->fpu, XS_XSTATE_BV);

	/* The host may have used the x87 registers; XRSTOR initialises them. */
	if ((components & ~XS_AVX) != XS_SSE || !is_x87_initial(cpu)) {
		x86_vectors_load(cpu->fpu);
		return;
	}
	load(cpu->fpu);
	set_mxcsr(xs_get32(cpu->fpu, XS_MXCSR));
}
