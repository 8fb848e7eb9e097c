/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Instructions whose immediate the guest changes again and again: it is read when the instruction
 * runs, from where the guest has it, so that a store there changes no translation.
 *
 * Another vcpu may replace the whole instruction by one store, and then the new immediate must not
 * go with the old opcode.  So all of it is loaded at once, and what stands before the immediate
 * compared.  Where that is too long, the immediate is loaded first: if the other bytes are still,
 * or again, what they were, and nobody has asked us to look at written code since, it was theirs.
 */
#include "backend/soft/gen.h"

static unsigned front(const struct x86_insn *in)
{
	return (unsigned)in->len - in->imm_size;
}

static unsigned page_offset(const struct gen *g)
{
	return (unsigned)(g->gpa + g->offset[g->i]) & 0xfff;
}

/* Is there one immediate, at the end, that stores have been hitting? */
static bool is_fresh(const struct gen *g, const struct x86_insn *in)
{
	uint64_t at = g->gpa + g->offset[g->i] + front(in);

	if (!g->patched || g->straddles || !g->is64 || !in->imm_size || in->imm2 || in->nops == 0 ||
		in->op[in->nops - 1].kind != X86_OK_IMM)
		return false;
	if (in->imm_size < 8 && (in->len > 8 || page_offset(g) > 4096 - 8))
		return false;
	for (unsigned i = 0; i < in->imm_size; i++)
		if (soft_is_patched(&g->v->cache, at + i))
			return true;
	return false;
}

/* Somebody has just changed the instruction: it is for C. */
static void leave(struct gen *g, unsigned cc)
{
	struct gen_stub *s = gen_stub(g, STUB_LEAVE);

	s->reason = SOFT_REDO;
	s->target = gen_rip(g);
	s->flags_parked = g->live[g->i];
	s->jump = emit_jcc(&g->e, cc, emit_here(&g->e));
}

/* All of it is in r12: is it still that instruction?  The immediate, sign-extended -> r12. */
static void cut_out(struct gen *g, const struct x86_insn *in)
{
	unsigned n = front(in), at = 0;
	struct emit *e = &g->e;

	for (unsigned size = 4; n; n -= size, at += size) {
		while (size > n)
			size /= 2;
		emit_mov(e, 8, HOST_S1, HOST_S0);
		if (at)
			emit_shift_imm(e, 8, 5, HOST_S1, 8 * at);
		emit_rr(e, size, size == 1 ? 0x80 : 0x81, 7, HOST_S1); /* cmp */
		for (unsigned i = 0; i < size; i++)
			emit8(e, in->bytes[at + i]);
		leave(g, 5);
	}
	if (in->len < 8)
		emit_shift_imm(e, 8, 4, HOST_S0, 64 - 8u * in->len);
	emit_shift_imm(e, 8, 7, HOST_S0, 64 - 8u * in->imm_size);
}

/* The immediate -> r12, sign-extended.  Clobbers r13. */
static void load_immediate(struct gen *g, const struct x86_insn *in)
{
	struct emit *e = &g->e;

	g->tied = true;
	if (g->live[g->i])
		gen_park_flags(g);
	emit_mov_imm(e, HOST_S1, (uint64_t)(uintptr_t)(g->page + page_offset(g)));
	if (in->imm_size < 8) {
		emit_load(e, 8, HOST_S0, HOST_S1, 0);
		cut_out(g, in);
	} else { /* REX, B8 to BF */
		emit_load(e, 8, HOST_S0, HOST_S1, 2);
		emit_rm_mem(e, 2, 0x81, 7, HOST_S1, 0);
		emit8(e, in->bytes[0]);
		emit8(e, in->bytes[1]);
		leave(g, 5);
		emit_alu_mem_imm(e, 4, 7, HOST_STATE, STATE(run), 0);
		leave(g, 4);
	}
	if (g->live[g->i])
		gen_unpark_flags(g);
	g->site[g->i].fresh = in->imm_size;
}

/* Opcode of OP r/m, r of operand size, but for IMUL and MOV to a register; 0: none of those. */
static unsigned opcode_of(const struct x86_insn *in)
{
	switch (in->row->mnem) {
	case X86_I_add:
		return 0x01;
	case X86_I_or:
		return 0x09;
	case X86_I_adc:
		return 0x11;
	case X86_I_sbb:
		return 0x19;
	case X86_I_and:
		return 0x21;
	case X86_I_sub:
		return 0x29;
	case X86_I_xor:
		return 0x31;
	case X86_I_cmp:
		return 0x39;
	case X86_I_test:
		return 0x85;
	case X86_I_mov:
		return 0x89;
	default:
		return 0;
	}
}

static bool in_place(const struct gen *g, const struct x86_operand *op)
{
	return op->kind == X86_OK_GPR && gen_host(g, op->reg) != 255 && !op->high;
}

/* imul dst, src, imm: imul r12, src; mov dst, r12. */
static bool gen_imul(struct gen *g, const struct x86_insn *in)
{
	struct emit *e = &g->e;

	if (in->nops != 3 || !in_place(g, &in->op[0]) || !in_place(g, &in->op[1]) || in->opsize == 2)
		return false;
	load_immediate(g, in);
	emit_rr(e, in->opsize, 0x0faf, HOST_S0, gen_host(g, in->op[1].reg));
	emit_mov(e, in->opsize, gen_host(g, in->op[0].reg), HOST_S0);
	return true;
}

static bool to_memory(struct gen *g, const struct x86_insn *in, unsigned size, unsigned opcode)
{
	struct gen_ref ref;

	if (in->lock || in->mem.size != size || !gen_can_address(g, in))
		return false;
	load_immediate(g, in);
	emit_store(&g->e, 8, HOST_STATE, STATE(borrow), HOST_S0);
	g->s0_before = 0;
	ref = gen_memory(g, in, size, in->mem.access & X86_WR, false, true);
	emit_load(&g->e, 8, HOST_S1, HOST_STATE, STATE(borrow));
	emit_rm_mem(&g->e, size, size == 1 ? opcode - 1 : opcode, HOST_S1, ref.base, ref.disp);
	return true;
}

bool gen_fresh(struct gen *g, const struct x86_insn *in)
{
	unsigned opcode = opcode_of(in), size = in->op[0].size;

	if (!is_fresh(g, in))
		return false;
	if (in->row->mnem == X86_I_imul)
		return gen_imul(g, in);
	if (!opcode || in->nops != 2 || (in->imm_size == 8 && in->len != 10))
		return false;
	if (in->op[0].kind == X86_OK_MEM)
		return to_memory(g, in, size, opcode);
	if (!in_place(g, &in->op[0]))
		return false;
	load_immediate(g, in);
	emit_rr(&g->e, size, size == 1 ? opcode - 1 : opcode, HOST_S0, gen_host(g, in->op[0].reg));
	return true;
}

bool gen_fresh_push(struct gen *g, const struct x86_insn *in)
{
	struct gen_ref slot;

	if (!is_fresh(g, in))
		return false;
	load_immediate(g, in);
	emit_store(&g->e, 8, HOST_STATE, STATE(borrow), HOST_S0);
	g->s0_before = 0;
	slot = gen_stack_slot(g, X86_RSP, -8, 8, true, false);
	emit_load(&g->e, 8, HOST_S1, HOST_STATE, STATE(borrow));
	gen_store(g, 8, &slot, HOST_S1);
	gen_move_rsp(g, -8);
	return true;
}
