/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A small assembler for the glue around guest instructions: 64-bit mode, registers by number (enum
 * x86_gpr names the host's here), r15 as the state pointer.
 */
#ifndef BACKEND_SOFT_EMIT_H
#define BACKEND_SOFT_EMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Host registers with a fixed job. */
enum {
	HOST_S0 = 12,	 /* scratch: addresses */
	HOST_S1 = 13,	 /* scratch */
	HOST_RSP_G = 14, /* the guest's RSP */
	HOST_STATE = 15	 /* struct soft_vcpu */
};

struct emit {
	uint8_t *p;	 /* next byte, in the writable view */
	uint8_t *end;	 /* no code past here */
	ptrdiff_t to_rx; /* add to a writable address for the executable one */
};

static inline void emit8(struct emit *e, unsigned b)
{
	*e->p++ = (uint8_t)b;
}

static inline void emit16(struct emit *e, unsigned v)
{
	emit8(e, v & 0xff);
	emit8(e, v >> 8);
}

static inline void emit32(struct emit *e, uint32_t v)
{
	__builtin_memcpy(e->p, &v, 4);
	e->p += 4;
}

static inline void emit64(struct emit *e, uint64_t v)
{
	__builtin_memcpy(e->p, &v, 8);
	e->p += 8;
}

static inline void emit_nop5(struct emit *e)
{
	emit8(e, 0x0f);
	emit8(e, 0x1f);
	emit8(e, 0x44);
	emit8(e, 0);
	emit8(e, 0);
}

static inline const uint8_t *emit_here(const struct emit *e)
{
	return e->p + e->to_rx;
}

/* REX + opcode + ModRM for register `reg` and [base + disp]. size 4 or 8 (1 and 2 with their own
 * opcodes). */
static inline void emit_rm_mem(
	struct emit *e, unsigned size, unsigned op, unsigned reg, unsigned base, int32_t disp)
{
	unsigned rex = (size == 8) << 3 | (reg >> 3) << 2 | base >> 3;

	if (size == 2)
		emit8(e, 0x66);
	if (rex || size == 1)
		emit8(e, 0x40 | rex);
	if (op > 0xff)
		emit8(e, op >> 8);
	emit8(e, op);
	if (disp >= -128 && disp <= 127) {
		emit8(e, 0x40 | (reg & 7) << 3 | (base & 7));
		if ((base & 7) == 4)
			emit8(e, 0x24);
		emit8(e, (uint8_t)disp);
	} else {
		emit8(e, 0x80 | (reg & 7) << 3 | (base & 7));
		if ((base & 7) == 4)
			emit8(e, 0x24);
		emit32(e, (uint32_t)disp);
	}
}

/* The same for [base + index * 2^scale + disp32]; base or index 255: none. */
static inline void emit_rm_sib(struct emit *e, unsigned size, unsigned op, unsigned reg,
	unsigned base, unsigned index, unsigned scale, int32_t disp)
{
	unsigned b = base == 255 ? 5 : base, i = index == 255 ? 4 : index;
	unsigned rex = (size == 8) << 3 | (reg >> 3) << 2 | (index == 255 ? 0 : i >> 3) << 1 |
		       (base == 255 ? 0 : b >> 3);
	bool d8 = base != 255 && disp >= -128 && disp <= 127;

	if (rex)
		emit8(e, 0x40 | rex);
	if (op > 0xff)
		emit8(e, op >> 8);
	emit8(e, op);
	emit8(e, (base == 255 ? 0x00 : d8 ? 0x40 : 0x80) | (reg & 7) << 3 | 4);
	emit8(e, scale << 6 | (i & 7) << 3 | (b & 7));
	if (d8)
		emit8(e, (uint8_t)disp);
	else
		emit32(e, (uint32_t)disp);
}

static inline void emit_rr(struct emit *e, unsigned size, unsigned op, unsigned reg, unsigned rm)
{
	unsigned rex = (size == 8) << 3 | (reg >> 3) << 2 | rm >> 3;

	if (size == 2)
		emit8(e, 0x66);
	if (rex || size == 1)
		emit8(e, 0x40 | rex);
	if (op > 0xff)
		emit8(e, op >> 8);
	emit8(e, op);
	emit8(e, 0xc0 | (reg & 7) << 3 | (rm & 7));
}

static inline void emit_load(
	struct emit *e, unsigned size, unsigned reg, unsigned base, int32_t disp)
{
	emit_rm_mem(e, size, 0x8b, reg, base, disp);
}

static inline void emit_store(
	struct emit *e, unsigned size, unsigned base, int32_t disp, unsigned reg)
{
	emit_rm_mem(e, size, size == 1 ? 0x88 : 0x89, reg, base, disp);
}

static inline void emit_mov(struct emit *e, unsigned size, unsigned dst, unsigned src)
{
	emit_rr(e, size, 0x8b, dst, src);
}

static inline void emit_lea(
	struct emit *e, unsigned size, unsigned reg, unsigned base, int32_t disp)
{
	emit_rm_mem(e, size, 0x8d, reg, base, disp);
}

/* 81 /op imm32 on a register. */
static inline void emit_alu_imm(
	struct emit *e, unsigned size, unsigned op, unsigned reg, uint32_t imm)
{
	emit_rr(e, size, 0x81, op, reg);
	emit32(e, imm);
}

/* 81 /op imm32 on 32-bit memory; 80 /op imm8 on a byte. */
static inline void emit_alu_mem_imm(
	struct emit *e, unsigned size, unsigned op, unsigned base, int32_t disp, uint32_t imm)
{
	emit_rm_mem(e, size, size == 1 ? 0x80 : 0x81, op, base, disp);
	if (size == 1)
		emit8(e, imm);
	else
		emit32(e, imm);
}

/* mov dword [base + disp], imm32 */
static inline void emit_store_imm(
	struct emit *e, unsigned size, unsigned base, int32_t disp, uint32_t imm)
{
	emit_rm_mem(e, size, 0xc7, 0, base, disp);
	emit32(e, imm);
}

static inline void emit_mov_imm64(struct emit *e, unsigned reg, uint64_t v)
{
	emit8(e, 0x48 | reg >> 3);
	emit8(e, 0xb8 | (reg & 7));
	emit64(e, v);
}

static inline void emit_mov_imm(struct emit *e, unsigned reg, uint64_t v)
{
	if (v == (uint32_t)v) {
		if (reg >> 3)
			emit8(e, 0x41);
		emit8(e, 0xb8 | (reg & 7));
		emit32(e, (uint32_t)v);
	} else if ((int64_t)v == (int32_t)v) {
		emit8(e, 0x48 | reg >> 3);
		emit8(e, 0xc7);
		emit8(e, 0xc0 | (reg & 7));
		emit32(e, (uint32_t)v);
	} else {
		emit_mov_imm64(e, reg, v);
	}
}

static inline void emit_shift_imm(
	struct emit *e, unsigned size, unsigned op, unsigned reg, unsigned n)
{
	emit_rr(e, size, 0xc1, op, reg);
	emit8(e, n);
}

/* rel32 jumps and calls to an executable address; the returned pointer is the displacement's
 * (writable). */
static inline uint8_t *emit_jmp(struct emit *e, const uint8_t *target)
{
	emit8(e, 0xe9);
	emit32(e, (uint32_t)(target - (emit_here(e) + 4)));
	return e->p - 4;
}

static inline uint8_t *emit_jcc(struct emit *e, unsigned cc, const uint8_t *target)
{
	emit8(e, 0x0f);
	emit8(e, 0x80 | cc);
	emit32(e, (uint32_t)(target - (emit_here(e) + 4)));
	return e->p - 4;
}

static inline void emit_call(struct emit *e, const uint8_t *target)
{
	emit8(e, 0xe8);
	emit32(e, (uint32_t)(target - (emit_here(e) + 4)));
}

/* Lets the rel32 at `disp` (writable) lead to the executable address `target`. */
static inline void emit_patch(const struct emit *e, uint8_t *disp, const uint8_t *target)
{
	uint32_t rel = (uint32_t)(target - (disp + e->to_rx + 4));

	__builtin_memcpy(disp, &rel, 4);
}

static inline uint8_t *emit_jcc8(struct emit *e, unsigned op)
{
	emit8(e, op);
	emit8(e, 0);
	return e->p - 1;
}

static inline void emit_patch8(const struct emit *e, uint8_t *disp)
{
	*disp = (uint8_t)(e->p - (disp + 1));
}

#endif
