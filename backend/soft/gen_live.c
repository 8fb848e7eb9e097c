/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Which status flags does somebody still read?  Backwards over the block; at its ways out, what the
 * code there does with them first, as far as it lies in the same page: its bytes are then looked
 * after as if the block held them.  Behind any other way out all flags count as read.
 */
#include "backend/soft/gen.h"

#define LOOK_INSNS 8
#define LOOK_BYTES 64u

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

/* Bytes [from, from + len) of the page have been looked at. */
static void note_look(struct gen *g, unsigned from, unsigned len, const uint8_t *bytes)
{
	unsigned own = (unsigned)(g->gpa & 0xfff);
	const uint8_t *known = g->look_bytes;

	g->lines |= soft_lines(from, len);
	if (from >= own && from + len <= own + (unsigned)g->offset[g->n] &&
		__builtin_memcmp(g->code + (from - own), bytes, len) == 0)
		return;
	for (unsigned i = 0; i < g->nlooks; known += g->look[i++].len)
		if (g->look[i].from == from && g->look[i].len == len &&
			__builtin_memcmp(known, bytes, len) == 0)
			return;
	if (g->nlooks == GEN_MAX_LOOKS || len > GEN_LOOK_BYTES - g->nlook_bytes) {
		g->tied = true;
		return;
	}
	g->look[g->nlooks++] = (struct gen_look){(uint16_t)from, (uint16_t)len};
	__builtin_memcpy(g->look_bytes + g->nlook_bytes, bytes, len);
	g->nlook_bytes += len;
}

/*
 * Of the instructions from rip on: flags that they read, and those that nobody has written at the
 * end.  Another vcpu may be writing there, so they are copied first.
 */
unsigned gen_live_at(struct gen *g, uint64_t rip)
{
	unsigned live = 0, rest = X86_FL_STATUS, from = (unsigned)(rip & 0xfff), off = 0;
	unsigned have = 4096 - from < LOOK_BYTES ? 4096 - from : LOOK_BYTES;
	uint8_t code[LOOK_BYTES];

	if (g->v->soft->all_flags || !g->flat || (rip ^ g->rip) >> 12)
		return X86_FL_STATUS;
	if (have == LOOK_BYTES)
		__builtin_memcpy(code, g->page + from, LOOK_BYTES);
	else
		__builtin_memcpy(code, g->page + from, have);
	for (unsigned n = 0; rest && n < LOOK_INSNS && off < have; n++) {
		struct x86_insn in;

		if (gen_decode(g, &in, code + off, have - off) != X86_DECODE_OK) {
			off = have - off < X86_INSN_MAX ? have : off + X86_INSN_MAX;
			break;
		}
		off += in.len;
		if (x86_insn_allowed(&g->v->cpu, &in) != X86_DONE || by_c(&in))
			break;
		live |= in.row->fl_read & rest;
		if (in.row->class == X86_BRANCH)
			break;
		rest &= ~(unsigned)in.row->fl_kill;
	}
	note_look(g, from, off, code);
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
	if (g->path)
		return gen_live_at(g, g->rip);
	if (!g->ended || last->row->mnem == X86_I_stac || last->row->mnem == X86_I_clac)
		return gen_live_at(g, gen_next_rip(g));
	if (last->row->class == X86_BRANCH && last->nops && last->op[0].kind == X86_OK_REL &&
		(is_jmp(last) || last->row->mnem == X86_I_call))
		return gen_live_at(g, gen_branch_target(g, last));
	return X86_FL_STATUS;
}

/* Where a Jcc goes that does not go on in the block. */
static uint64_t off_path(const struct gen *g, const struct x86_insn *in)
{
	uint64_t target = gen_branch_target(g, in);

	return g->path && gen_path_next(g, g->i) == target ? gen_next_rip(g) : target;
}

static bool goes_anywhere(const struct x86_insn *in)
{
	return in->row->class == X86_BRANCH && !(in->nops && in->op[0].kind == X86_OK_REL);
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
			live |= gen_live_at(g, off_path(g, in));
		else if (g->path && goes_anywhere(in))
			live = X86_FL_STATUS;
		live = g->v->soft->all_flags ? X86_FL_STATUS : before(in, live);
		g->live[i] = (uint16_t)live;
	}
}
