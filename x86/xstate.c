/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * FXSAVE, FXRSTOR, the XSAVE family (SDM vol. 1, 10.5 and chapter 13).
 *
 * The registers go through cpu->fpu, where components are picked, and only then to or from the
 * guest.  PKRU, the last component, is no register of the host's.  It alone has another place in
 * the compacted format, if AVX is not there; else the formats differ in the header and in what
 * happens to MXCSR.
 */
#include "x86/xstate.h"

#define COMPACTED (1ull << 63)
#define ALL	  (XS_X87 | XS_SSE | XS_AVX)

static void init_component(uint8_t *image, uint64_t component)
{
	switch (component) {
	case XS_X87:
		x86_bytes_zero(image, XS_MXCSR);
		xs_put16(image, XS_FCW, XS_FCW_INIT);
		x86_bytes_zero(image + XS_ST, XS_XMM - XS_ST);
		break;
	case XS_SSE:
		x86_bytes_zero(image + XS_XMM, 256);
		break;
	case XS_AVX:
		x86_bytes_zero(image + XS_YMM_HIGH, 256);
		break;
	}
}

uint64_t x86_image_save(struct x86_cpu *cpu)
{
	uint64_t in_use;

	x86_fpu_save(cpu);
	in_use = xs_get64(cpu->fpu, XS_XSTATE_BV) & ALL;
	for (uint64_t c = XS_X87; c <= XS_AVX; c <<= 1)
		if (!(in_use & c))
			init_component(cpu->fpu, c);
	xs_put16(cpu->fpu, XS_FOP, 0);
	xs_put64(cpu->fpu, XS_FIP, 0);
	xs_put64(cpu->fpu, XS_FDP, 0);
	return in_use;
}

void x86_image_load(struct x86_cpu *cpu, uint64_t components)
{
	xs_put64(cpu->fpu, XS_XSTATE_BV, components);
	xs_put64(cpu->fpu, XS_XCOMP_BV, 0);
	x86_fpu_load(cpu);
}

/* Registers 8 to 15 exist in 64-bit mode only; elsewhere their part of the area is left alone. */
static unsigned vector_bytes(const struct x86_cpu *cpu)
{
	return x86_is_64bit(cpu) ? 256 : 128;
}

static uint32_t mxcsr_mask(const struct x86_cpu *cpu)
{
	uint32_t mask = xs_get32(cpu->fpu, XS_MXCSR_MASK);

	return mask ? mask : 0xffbf;
}

/* The linear address of a save area of `size` bytes that must be aligned, or #GP(0). */
static enum x86_result area(struct x86_cpu *cpu, const struct x86_insn *insn, unsigned size,
	unsigned align, unsigned acc, uint64_t *gla)
{
	enum x86_result res = x86_operand_linear(cpu, insn, size, acc, gla);

	if (res == X86_DONE && *gla & (align - 1))
		res = x86_raise_error(cpu, X86_GP, 0);
	return res;
}

static void copy_x87(uint8_t *to, const uint8_t *from)
{
	x86_bytes_copy(to, from, XS_FOP);
	x86_bytes_zero(to + XS_FOP, XS_MXCSR - XS_FOP);
	x86_bytes_copy(to + XS_ST, from + XS_ST, XS_XMM - XS_ST);
}

/* ---- FXSAVE, FXRSTOR ---- */

enum x86_result x86_sys_fxsave(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = XS_XMM + vector_bytes(cpu);
	uint64_t gla;
	enum x86_result res = area(cpu, insn, XS_LEGACY_END, 16, X86_ACC_WRITE, &gla);

	if (res != X86_DONE)
		return res;
	x86_image_save(cpu);
	res = x86_write(cpu, gla, cpu->fpu, size, x86_acc(cpu, X86_ACC_WRITE));
	return res == X86_DONE ? x86_done(cpu, insn) : res;
}

enum x86_result x86_sys_fxrstor(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint8_t image[XS_LEGACY_END];
	uint64_t gla, in_use;
	enum x86_result res = area(cpu, insn, XS_LEGACY_END, 16, X86_ACC_READ, &gla);

	if (res == X86_DONE)
		res = x86_read(cpu, gla, image, sizeof(image), x86_acc(cpu, X86_ACC_READ));
	if (res != X86_DONE)
		return res;
	in_use = x86_image_save(cpu);
	if (xs_get32(image, XS_MXCSR) & ~mxcsr_mask(cpu))
		return x86_raise_error(cpu, X86_GP, 0);
	copy_x87(cpu->fpu, image);
	xs_put32(cpu->fpu, XS_MXCSR, xs_get32(image, XS_MXCSR));
	x86_bytes_copy(cpu->fpu + XS_XMM, image + XS_XMM, vector_bytes(cpu));
	x86_image_load(cpu, in_use | XS_X87 | XS_SSE);
	return x86_done(cpu, insn);
}

/* ---- XSAVE, XSAVEOPT, XSAVEC ---- */

/* RFBM: what the instruction asks for and the guest has enabled. */
static uint64_t requested(const struct x86_cpu *cpu)
{
	return (cpu->gpr[X86_RDX] << 32 | (uint32_t)cpu->gpr[X86_RAX]) & cpu->xcr0;
}

#define PKRU_SIZE 8u
#define AREA_MAX  (X86_XSAVE_SIZE + PKRU_SIZE)

static unsigned pkru_at(uint64_t components, bool compacted)
{
	return compacted && !(components & XS_AVX) ? XS_YMM_HIGH : X86_XSAVE_SIZE;
}

static unsigned area_size(uint64_t components, bool compacted)
{
	if (components & XS_PKRU)
		return pkru_at(components, compacted) + PKRU_SIZE;
	return components & XS_AVX ? X86_XSAVE_SIZE : XS_YMM_HIGH;
}

/*
 * Builds in `image`, which holds what the area holds now, what it shall hold.  `components` are
 * those written; MXCSR goes with SSE or AVX.
 */
static void fill_area(const struct x86_cpu *cpu, uint8_t *image, uint64_t components, bool mxcsr)
{
	if (components & XS_X87)
		copy_x87(image, cpu->fpu);
	if (mxcsr)
		x86_bytes_copy(image + XS_MXCSR, cpu->fpu + XS_MXCSR, 8);
	if (components & XS_SSE)
		x86_bytes_copy(image + XS_XMM, cpu->fpu + XS_XMM, vector_bytes(cpu));
	if (components & XS_AVX)
		x86_bytes_copy(image + XS_YMM_HIGH, cpu->fpu + XS_YMM_HIGH, vector_bytes(cpu));
}

static uint64_t all_in_use(struct x86_cpu *cpu)
{
	return x86_image_save(cpu) | (cpu->pkru ? XS_PKRU : 0);
}

/* MXCSR is part of SSE: with another value than the initial one SSE is in use. */
static uint64_t in_use_with_mxcsr(const struct x86_cpu *cpu, uint64_t in_use)
{
	return xs_get32(cpu->fpu, XS_MXCSR) != XS_MXCSR_INIT ? in_use | XS_SSE : in_use;
}

/* Read-modify-write of the whole area: the bytes in between keep their values. */
static enum x86_result save(
	struct x86_cpu *cpu, const struct x86_insn *insn, bool optimized, bool compacted)
{
	uint64_t rfbm = requested(cpu), gla, in_use, components, header;
	unsigned size = area_size(rfbm, compacted), acc = X86_ACC_READ | X86_ACC_WRITE;
	uint8_t image[AREA_MAX];
	enum x86_result res = area(cpu, insn, size, 64, acc, &gla);

	if (res == X86_DONE)
		res = x86_read(cpu, gla, image, size, x86_acc(cpu, acc));
	if (res != X86_DONE)
		return res;
	in_use = all_in_use(cpu);
	if (compacted)
		in_use = in_use_with_mxcsr(cpu, in_use);
	components = optimized || compacted ? rfbm & in_use : rfbm;
	fill_area(
		cpu, image, components, compacted ? components & XS_SSE : rfbm & (XS_SSE | XS_AVX));
	if (components & XS_PKRU)
		xs_put64(image, pkru_at(rfbm, compacted), cpu->pkru);
	header = xs_get64(image, XS_XSTATE_BV);
	xs_put64(image, XS_XSTATE_BV,
		compacted ? rfbm & in_use : (header & ~rfbm) | (rfbm & in_use));
	if (compacted)
		xs_put64(image, XS_XCOMP_BV, rfbm | COMPACTED);
	res = x86_write(cpu, gla, image, size, x86_acc(cpu, X86_ACC_WRITE));
	return res == X86_DONE ? x86_done(cpu, insn) : res;
}

enum x86_result x86_sys_xsave(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	return save(cpu, insn, insn->row->mnem == X86_I_xsaveopt, false);
}

enum x86_result x86_sys_xsavec(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	return save(cpu, insn, false, true);
}

/* ---- XRSTOR ---- */

/* SDM vol. 1, 13.8.1 (standard) and 13.8.2 (compacted): is the header one to be loaded? */
static bool is_header_legal(const struct x86_cpu *cpu, const uint8_t *image, bool compacted)
{
	uint64_t bv = xs_get64(image, XS_XSTATE_BV), comp = xs_get64(image, XS_XCOMP_BV);
	unsigned zero_end = compacted ? XS_YMM_HIGH : XS_HEADER + 24;

	for (unsigned at = XS_HEADER + 16; at < zero_end; at += 8)
		if (xs_get64(image, at) != 0)
			return false;
	if (compacted)
		return !(comp & ~COMPACTED & ~cpu->xcr0) && !(bv & ~comp);
	return comp == 0 && !(bv & ~cpu->xcr0);
}

/* Which MXCSR is in force afterwards; false if that is an illegal one. */
static bool pick_mxcsr(const struct x86_cpu *cpu, const uint8_t *image, uint64_t rfbm,
	bool compacted, uint32_t *mxcsr)
{
	uint64_t bv = xs_get64(image, XS_XSTATE_BV);

	*mxcsr = xs_get32(cpu->fpu, XS_MXCSR);
	if (compacted) {
		if (rfbm & XS_SSE)
			*mxcsr = bv & XS_SSE ? xs_get32(image, XS_MXCSR) : XS_MXCSR_INIT;
	} else if (rfbm & (XS_SSE | XS_AVX)) {
		*mxcsr = xs_get32(image, XS_MXCSR);
	}
	return !(*mxcsr & ~mxcsr_mask(cpu));
}

/* Returns the components that are in use afterwards, out of those in use before. */
static uint64_t load_components(
	struct x86_cpu *cpu, const uint8_t *image, uint64_t rfbm, uint64_t in_use)
{
	uint64_t bv = xs_get64(image, XS_XSTATE_BV);
	uint64_t kept = x86_is_64bit(cpu) ? in_use & ~rfbm : in_use; /* the upper eight registers */
	uint8_t *fpu = cpu->fpu;

	if (rfbm & XS_X87) {
		if (bv & XS_X87)
			copy_x87(fpu, image);
		else
			init_component(fpu, XS_X87);
	}
	if (rfbm & XS_SSE) {
		if (bv & XS_SSE)
			x86_bytes_copy(fpu + XS_XMM, image + XS_XMM, vector_bytes(cpu));
		else
			x86_bytes_zero(fpu + XS_XMM, vector_bytes(cpu));
	}
	if (rfbm & XS_AVX) {
		if (bv & XS_AVX)
			x86_bytes_copy(fpu + XS_YMM_HIGH, image + XS_YMM_HIGH, vector_bytes(cpu));
		else
			x86_bytes_zero(fpu + XS_YMM_HIGH, vector_bytes(cpu));
	}
	return kept | (rfbm & bv);
}

/* Where PKRU lies in the area that `image` is of. */
static unsigned pkru_in(const uint8_t *image)
{
	uint64_t comp = xs_get64(image, XS_XCOMP_BV);

	return pkru_at(comp, comp & COMPACTED);
}

/* Bytes of the area that hold the components which are loaded from it. */
static unsigned restored_size(const uint8_t *image, uint64_t loaded)
{
	if (loaded & XS_PKRU)
		return pkru_in(image) + PKRU_SIZE;
	return loaded & XS_AVX ? X86_XSAVE_SIZE : XS_YMM_HIGH;
}

static void load_pkru(struct x86_cpu *cpu, const uint8_t *image, uint64_t rfbm)
{
	uint64_t bv = xs_get64(image, XS_XSTATE_BV);

	if (rfbm & XS_PKRU)
		x86_set_pkru(cpu, bv & XS_PKRU ? xs_get32(image, pkru_in(image)) : 0);
}

/* The header first: it says how long the area is. */
static enum x86_result read_area(
	struct x86_cpu *cpu, const struct x86_insn *insn, uint64_t rfbm, uint8_t *image)
{
	unsigned acc = x86_acc(cpu, X86_ACC_READ), size;
	uint64_t gla, bv;
	enum x86_result res = area(cpu, insn, XS_YMM_HIGH, 64, X86_ACC_READ, &gla);

	if (res == X86_DONE)
		res = x86_read(cpu, gla, image, XS_YMM_HIGH, acc);
	if (res != X86_DONE)
		return res;
	bv = xs_get64(image, XS_XSTATE_BV);
	size = restored_size(image, rfbm & bv);
	if (size == XS_YMM_HIGH)
		return X86_DONE;
	res = x86_operand_linear(cpu, insn, size, X86_ACC_READ, &gla);
	if (res == X86_DONE)
		res = x86_read(
			cpu, gla + XS_YMM_HIGH, image + XS_YMM_HIGH, size - XS_YMM_HIGH, acc);
	return res;
}

enum x86_result x86_sys_xrstor(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t rfbm = requested(cpu), in_use;
	uint8_t image[AREA_MAX];
	uint32_t mxcsr;
	bool compacted;
	enum x86_result res = read_area(cpu, insn, rfbm, image);

	if (res != X86_DONE)
		return res;
	compacted = xs_get64(image, XS_XCOMP_BV) & COMPACTED;
	in_use = x86_image_save(cpu);
	if (!is_header_legal(cpu, image, compacted) ||
		!pick_mxcsr(cpu, image, rfbm, compacted, &mxcsr))
		return x86_raise_error(cpu, X86_GP, 0);
	in_use = load_components(cpu, image, rfbm, in_use) & ALL;
	xs_put32(cpu->fpu, XS_MXCSR, mxcsr);
	x86_image_load(cpu, in_use);
	load_pkru(cpu, image, rfbm);
	return x86_done(cpu, insn);
}
