/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Which status flags does somebody still read?  Backwards over the block; at its ways out, what the
 * code there does with them first, as far as it lies in the same page: its bytes are then looked
 * after as if the block held them.  Behind any other way out all flags count as read.
 */
#include "backend/soft/gen.h"

#define LOOK_INSNS 8

/* C and its exits see all of RFLAGS. */
static bool by_c(const struct x86_insn *in)
{
	return in->row->class != X86_NATIVE && in->row->class != X86_BRANCH &&
	       in->row->class != X86_STACK;
}

static unsigned before(const struct x86_insn *in, unsigned live)
{
	if (by_c(in))
		return X86_FL_STATUS;
	return (live & ~in->row->fl_kill) | (in->row->fl_read & X86_FL_STATUS);
}

bool gen_is_jcc(const struct gen *g, const struct x86_insn *in)
{
	if (in->row->class != X86_BRANCH || !g->flat)
		return false;
	if (in->opsize != (g->is64 ? 8 : 4) || (!g->is64 && !(g->mode & SOFT_MODE_STACK32)))
		return false;
	switch (in->row->mnem) {
	case X86_I_ret:
	case X86_I_jmp:
	case X86_I_call:
	case X86_I_loop:
	case X86_I_loope:
	case X86_I_loopne:
	case X86_I_jcxz:
		return false;
	default:
		return true;
	}
}

static bool is_jmp(const struct x86_insn *in)
{
	return in->row->mnem == X86_I_jmp && in->row->class == X86_BRANCH &&
	       in->op[0].kind == X86_OK_REL;
}

/* Another vcpu may be writing there, which a decoder that remembers must not see. */
static enum x86_decode_result decode_at(struct gen *g, struct x86_insn *in, unsigned off)
{
	uint8_t code[24];

	if (4096 - off < sizeof(code))
		return x86_decode(in, g->page + off, 4096 - off, g->code_size);
	__builtin_memcpy(code, g->page + off, sizeof(code));
	return gen_decode(g, in, code, sizeof(code));
}

/* Of the instructions from off on: those that read flags, and those that nobody has written at the
 * end. */
unsigned gen_live_at(struct gen *g, uint64_t rip)
{
	unsigned live = 0, rest = X86_FL_STATUS, off = (unsigned)(rip & 0xfff), start = off;

	if (g->v->soft->all_flags || !g->flat || (rip ^ g->rip) >> 12)
		return X86_FL_STATUS;
	for (unsigned n = 0; rest && n < LOOK_INSNS && off < 4096; n++) {
		struct x86_insn in;

		if (decode_at(g, &in, off) != X86_DECODE_OK ||
			x86_insn_allowed(&g->v->cpu, &in) != X86_DONE || by_c(&in))
			break;
		live |= in.row->fl_read & rest;
		if (in.row->class == X86_BRANCH)
			break;
		rest &= ~(unsigned)in.row->fl_kill;
		off += in.len;
	}
	g->lines |= soft_lines(start, off < 4096 ? off - start + X86_INSN_MAX : 4096 - start);
	return live | rest;
}

uint64_t gen_branch_target(const struct gen *g, const struct x86_insn *in)
{
	uint64_t rip = gen_next_rip(g) + (uint64_t)in->imm;

	return g->is64 ? rip : (uint32_t)rip;
}

/* At the end of the block. */
static unsigned at_end(struct gen *g)
{
	const struct x86_insn *last = &g->insn[g->n - 1];

	g->i = g->n - 1;
	if (!g->ended || last->row->mnem == X86_I_stac || last->row->mnem == X86_I_clac)
		return gen_live_at(g, gen_next_rip(g));
	if (last->row->class == X86_BRANCH && last->nops && last->op[0].kind == X86_OK_REL &&
		(is_jmp(last) || last->row->mnem == X86_I_call))
		return gen_live_at(g, gen_branch_target(g, last));
	return X86_FL_STATUS;
}

void gen_liveness(struct gen *g)
{
	unsigned live = X86_FL_STATUS;

	if (g->n)
		live = at_end(g);
	g->live[g->n] = (uint16_t)live;
	for (unsigned i = g->n; i-- > 0;) {
		const struct x86_insn *in = &g->insn[i];

		g->i = i;
		if (gen_is_jcc(g, in))
			live |= gen_live_at(g, gen_branch_target(g, in));
		live = g->v->soft->all_flags ? X86_FL_STATUS : before(in, live);
		g->live[i] = (uint16_t)live;
	}
}
