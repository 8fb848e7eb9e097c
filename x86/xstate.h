/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The image that x86_fpu_save() makes of the registers: FXSAVE's 512 bytes, the XSAVE header, and
 * the upper halves of the YMM registers (SDM vol. 1, 10.5.1, 13.4).  For the files of x86/ only.
 */
#ifndef X86_XSTATE_H
#define X86_XSTATE_H

#include "x86/system.h"

#define XS_X87 1ull
#define XS_SSE 2ull
#define XS_AVX 4ull
#define XS_PKRU 0x200ull /* not part of the image, but of the guest's areas */

/* Offsets in the image. */
enum {
	XS_FCW = 0,
	XS_FSW = 2,
	XS_FTW = 4, /* one bit per physical register: not empty */
	XS_FOP = 6,
	XS_FIP = 8,
	XS_FDP = 16,
	XS_MXCSR = 24,
	XS_MXCSR_MASK = 28,
	XS_ST = 32, /* 16 bytes each, 10 used */
	XS_XMM = 160,
	XS_LEGACY_END = 512,
	XS_HEADER = 512,
	XS_XSTATE_BV = 512,
	XS_XCOMP_BV = 520,
	XS_YMM_HIGH = 576
};

#define XS_MXCSR_INIT 0x1f80u
#define XS_FCW_INIT   0x37fu

static inline uint16_t xs_get16(const uint8_t *image, unsigned at)
{
	uint16_t value;

	x86_bytes_copy(&value, image + at, 2);
	return value;
}

static inline uint32_t xs_get32(const uint8_t *image, unsigned at)
{
	uint32_t value;

	x86_bytes_copy(&value, image + at, 4);
	return value;
}

static inline uint64_t xs_get64(const uint8_t *image, unsigned at)
{
	uint64_t value;

	x86_bytes_copy(&value, image + at, 8);
	return value;
}

static inline void xs_put16(uint8_t *image, unsigned at, uint16_t value)
{
	x86_bytes_copy(image + at, &value, 2);
}

static inline void xs_put32(uint8_t *image, unsigned at, uint32_t value)
{
	x86_bytes_copy(image + at, &value, 4);
}

static inline void xs_put64(uint8_t *image, unsigned at, uint64_t value)
{
	x86_bytes_copy(image + at, &value, 8);
}

/*
 * The registers into cpu->fpu, with the addresses of our own code that the host may have left in
 * FIP and FDP wiped out, and components that are not in use in their initial state.  Returns those
 * in use.
 */
uint64_t x86_image_save(struct x86_cpu *cpu);
/* cpu->fpu back into the registers; those not in `components` get their initial state. */
void x86_image_load(struct x86_cpu *cpu, uint64_t components);

#endif
