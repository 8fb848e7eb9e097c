/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* PUSH, POP and LEAVE where the stack is flat; the few SYSTEM instructions that are worth inlining. */
#include "backend/soft/gen.h"

void gen_push_address(struct gen *g, unsigned size)
{
	emit_lea(&g->e, g->is64 ? 8 : 4, HOST_S0, HOST_RSP_G, -(int32_t)size);
}

void gen_move_rsp(struct gen *g, int delta)
{
	emit_lea(&g->e, g->is64 ? 8 : 4, HOST_RSP_G, HOST_RSP_G, delta);
}

static bool stack_inline(const struct gen *g, const struct x86_insn *in)
{
	if (g->is64)
		return in->opsize == 8;
	return g->flat && (g->mode & SOFT_MODE_STACK32) && in->opsize == 4;
}

static bool gen_push(struct gen *g, const struct x86_insn *in)
{
	unsigned size = in->opsize, src = 255;

	if (in->has_mem)
		return false;
	gen_push_address(g, size);
	gen_check(g, size, true, false);
	if (in->op[0].kind == X86_OK_IMM) {
		emit_store_imm(&g->e, size, HOST_S0, 0, (uint32_t)in->imm);
	} else {
		src = gen_host(in->op[0].reg);
		if (src == 255) {
			src = HOST_S1;
			emit_load(&g->e, 8, src, HOST_STATE, GPR(in->op[0].reg));
		}
		emit_store(&g->e, size, HOST_S0, 0, src);
	}
	gen_move_rsp(g, -(int)size);
	return true;
}

static bool gen_pop(struct gen *g, const struct x86_insn *in)
{
	unsigned size = in->opsize, dst;

	if (in->has_mem)
		return false;
	gen_push_address(g, 0);
	gen_check(g, size, false, false);
	dst = gen_host(in->op[0].reg);
	if (dst == 255) {
		emit_load(&g->e, size, HOST_S1, HOST_S0, 0);
		emit_store(&g->e, 8, HOST_STATE, GPR(in->op[0].reg), HOST_S1);
	} else {
		emit_load(&g->e, size, dst, HOST_S0, 0);
	}
	if (dst != HOST_RSP_G)
		gen_move_rsp(g, (int)size);
	return true;
}

static bool gen_leave(struct gen *g, const struct x86_insn *in)
{
	unsigned size = in->opsize;

	emit_lea(&g->e, g->is64 ? 8 : 4, HOST_S0, X86_RBP, 0);
	gen_check(g, size, false, false);
	emit_load(&g->e, size, HOST_S1, HOST_S0, 0);
	emit_lea(&g->e, g->is64 ? 8 : 4, HOST_RSP_G, X86_RBP, (int32_t)size);
	emit_mov(&g->e, 8, X86_RBP, HOST_S1);
	return true;
}

bool gen_stack(struct gen *g, const struct x86_insn *in)
{
	if (!stack_inline(g, in))
		return false;
	switch (in->row->mnem) {
	case X86_I_push:
		return gen_push(g, in);
	case X86_I_pop:
		return gen_pop(g, in);
	case X86_I_leave:
		return gen_leave(g, in);
	default:
		return false;
	}
}

/* and/or of a byte of cpu.rflags, keeping status flags that are live behind the instruction. */
static void rflags_byte(struct gen *g, unsigned op, unsigned byte, unsigned imm)
{
	bool keep = g->live[g->i + 1];

	if (keep)
		gen_park_flags(g);
	emit_alu_mem_imm(&g->e, 1, op, HOST_STATE, STATE(cpu.rflags) + (int32_t)byte, imm);
	if (keep)
		gen_unpark_flags(g);
}

static bool gen_swapgs(struct gen *g)
{
	int32_t gs = STATE(cpu.seg) + (int32_t)(X86_GS * sizeof(struct x86_seg)) +
		     (int32_t)offsetof(struct x86_seg, base);

	emit_load(&g->e, 8, HOST_S0, HOST_STATE, gs);
	emit_load(&g->e, 8, HOST_S1, HOST_STATE, STATE(cpu.kernel_gs_base));
	emit_store(&g->e, 8, HOST_STATE, gs, HOST_S1);
	emit_store(&g->e, 8, HOST_STATE, STATE(cpu.kernel_gs_base), HOST_S0);
	return true;
}

/* x86_insn_allowed() has passed: CPL 0 where that is asked for. */
bool gen_system(struct gen *g, const struct x86_insn *in)
{
	unsigned cpl = g->mode >> SOFT_MODE_CPL_SHIFT & 3;

	switch (in->row->mnem) {
	case X86_I_swapgs:
		return gen_swapgs(g);
	case X86_I_cli:
		if (cpl || !(g->mode & SOFT_MODE_PE))
			return false;
		rflags_byte(g, 4, 1, 0xfd);
		return true;
	default:
		return false;
	}
}
