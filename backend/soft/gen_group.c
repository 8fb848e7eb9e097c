/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Which memory accesses of a block need no check of their own.
 *
 * Accesses whose addresses differ by a known constant form a group, as long as they lie close
 * together: through the same base register, moved by constants at most, or at constant addresses of
 * one page.  The first, the leader, checks the range of all.  Where that range crosses a page or
 * may not be written as a whole, the rest of the block is done by another translation without
 * groups (SOFT_MODE_NOMERGE).
 */
#include "backend/soft/gen.h"

#define SPAN_MAX 256

/* What a register holds: the value that it had at the leader of a group, plus a constant. */
struct base {
	uint8_t group; /* GEN_NO_GROUP: nothing is known */
	int64_t delta;
};

struct scan {
	struct base base[16];
	uint16_t known;	  /* registers whose group is not GEN_NO_GROUP */
	uint8_t constant; /* the group of constant addresses */
	uint64_t constant_ea;
};

struct access {
	unsigned gpr; /* X86_RIP_BASE: constant, of which `off` is the address */
	int64_t off;
	unsigned size;
	bool write;
};

static bool simple(const struct x86_insn *in)
{
	const struct x86_mem *m = &in->mem;

	return in->addrsize == 8 && m->index == X86_NOREG && m->seg != X86_FS && m->seg != X86_GS;
}

/* The memory operand of a NATIVE instruction, or the stack slot of PUSH, POP, CALL, RET and LEAVE.
 */
static bool access_of(const struct gen *g, const struct x86_insn *in, struct access *a)
{
	const struct x86_mem *m = &in->mem;

	if (in->row->class == X86_NATIVE) {
		if (!in->has_mem || !m->access || m->size == 0 || m->size > 64 || !simple(in) ||
			in->row->props & (X86_P_VSIB | X86_P_NOMEM))
			return false;
		*a = (struct access){m->base, m->disp, m->size, m->access & X86_WR};
		if (m->base == X86_NOREG || m->base == X86_RIP_BASE) {
			a->gpr = X86_RIP_BASE;
			a->off += m->base == X86_RIP_BASE ? (int64_t)gen_next_rip(g) : 0;
			return ((uint64_t)a->off & 0xfff) + a->size <= 4096;
		}
		return true;
	}
	if (in->opsize != 8)
		return false;
	switch (in->row->mnem) {
	case X86_I_push:
	case X86_I_call:
	case X86_I_pushf:
		*a = (struct access){X86_RSP, -8, 8, true};
		return !in->has_mem || in->row->class != X86_STACK || gen_can_address(g, in);
	case X86_I_pop:
	case X86_I_ret:
	case X86_I_popf:
		*a = (struct access){X86_RSP, 0, 8, false};
		return !in->has_mem;
	case X86_I_leave:
		*a = (struct access){X86_RBP, 0, 8, false};
		return true;
	default:
		return false;
	}
}

/* Does it fit into the group?  A leader that reads does not prove that the page may be written; for
 * the stack that is a good guess. */
static bool join(struct gen_group *p, int64_t at, const struct access *a)
{
	int64_t lo = at < p->lo ? at : p->lo, hi = p->lo + p->span;

	if (at + (int)a->size > hi)
		hi = at + a->size;
	if (hi - lo > SPAN_MAX)
		return false;
	if (a->write && !p->write) {
		if (a->gpr != X86_RSP)
			return false;
		p->write = true;
	}
	p->lo = (int32_t)lo;
	p->span = (uint16_t)(hi - lo);
	return true;
}

static struct gen_group *found(struct gen *g, uint8_t n, const struct access *a)
{
	struct gen_group *p = &g->group[n];

	*p = (struct gen_group){
		.lo = a->gpr == X86_RIP_BASE ? 0 : (int32_t)a->off,
		.span = (uint16_t)a->size,
		.leader = (uint8_t)g->i,
		.last = (uint8_t)g->i,
		.write = a->write,
	};
	return p;
}

static void constant_access(struct gen *g, struct scan *s, const struct access *a)
{
	if (s->constant != GEN_NO_GROUP && ((uint64_t)a->off ^ s->constant_ea) >> 12 == 0 &&
		(!a->write || g->group[s->constant].write)) {
		g->group[s->constant].last = (uint8_t)g->i;
	} else {
		s->constant = (uint8_t)g->ngroups++;
		s->constant_ea = (uint64_t)a->off;
		found(g, s->constant, a);
	}
	g->group_of[g->i] = s->constant;
}

static void know(struct scan *s, unsigned reg, struct base b)
{
	s->base[reg] = b;
	s->known |= (uint16_t)(1u << reg);
	if (b.group == GEN_NO_GROUP)
		s->known ^= (uint16_t)(1u << reg);
}

static void lose(struct scan *s, unsigned regs)
{
	for (unsigned left = regs & s->known; left; left &= left - 1)
		s->base[__builtin_ctz(left)].group = GEN_NO_GROUP;
	s->known &= (uint16_t)~regs;
}

static void take(struct gen *g, struct scan *s, const struct access *a)
{
	struct base *b = &s->base[a->gpr & 15];

	if (a->gpr == X86_RIP_BASE) {
		g->placed |= g->insn[g->i].mem.base != X86_RIP_BASE; /* may be grouped with one */
		constant_access(g, s, a);
		return;
	}
	if (b->group != GEN_NO_GROUP && join(&g->group[b->group], a->off + b->delta, a)) {
		g->group[b->group].last = (uint8_t)g->i;
		g->group_of[g->i] = b->group;
		return;
	}
	know(s, a->gpr & 15, (struct base){(uint8_t)g->ngroups++, 0});
	found(g, b->group, a);
	g->group_of[g->i] = b->group;
}

static bool is_gpr64(const struct x86_operand *op)
{
	return op->kind == X86_OK_GPR && op->size == 8;
}

/* Registers that the instruction moves by a constant, or copies. */
static void follow(struct scan *s, const struct x86_insn *in)
{
	struct base moved = {GEN_NO_GROUP, 0};
	unsigned dst = in->nops ? in->op[0].reg & 15u : 0;
	bool reg = in->nops && is_gpr64(&in->op[0]);

	if (!s->known)
		return;
	switch (in->row->mnem) {
	case X86_I_add:
	case X86_I_sub:
		if (reg && in->op[1].kind == X86_OK_IMM) {
			moved = s->base[dst];
			moved.delta += in->row->mnem == X86_I_add ? in->imm : -in->imm;
		}
		break;
	case X86_I_inc:
	case X86_I_dec:
		if (reg) {
			moved = s->base[dst];
			moved.delta += in->row->mnem == X86_I_inc ? 1 : -1;
		}
		break;
	case X86_I_mov:
		if (reg && is_gpr64(&in->op[1]))
			moved = s->base[in->op[1].reg];
		break;
	case X86_I_lea:
		if (reg && in->addrsize == 8 && in->mem.index == X86_NOREG && in->mem.base < 16) {
			moved = s->base[in->mem.base];
			moved.delta += in->mem.disp;
		}
		break;
	default:
		break;
	}
	lose(s, in->gpr_write);
	if (reg && in->gpr_write & 1u << dst && moved.delta >= -4096 && moved.delta <= 4096)
		know(s, dst, moved);
}

static void follow_stack(struct scan *s, const struct x86_insn *in)
{
	int64_t delta = s->base[X86_RSP].delta;
	uint8_t group = s->base[X86_RSP].group;

	switch (in->row->mnem) {
	case X86_I_push:
	case X86_I_pushf:
	case X86_I_call:
		delta -= 8;
		break;
	case X86_I_pop:
		delta += 8;
		break;
	case X86_I_ret:
		delta += 8 + (in->nops ? (uint16_t)in->imm : 0);
		break;
	case X86_I_leave:
		group = s->base[X86_RBP].group;
		delta = s->base[X86_RBP].delta + 8;
		break;
	default:
		group = GEN_NO_GROUP;
		break;
	}
	lose(s, in->gpr_write);
	if (in->row->mnem == X86_I_pop && in->op[0].reg == X86_RSP && !in->has_mem)
		group = GEN_NO_GROUP;
	know(s, X86_RSP, (struct base){group, delta});
}

static void forget(struct scan *s)
{
	lose(s, s->known);
	s->constant = GEN_NO_GROUP;
}

static bool moves_stack(const struct x86_insn *in)
{
	return in->row->class == X86_STACK ||
	       (in->row->class == X86_BRANCH &&
		       (in->row->mnem == X86_I_call || in->row->mnem == X86_I_ret));
}

static void follow_any(struct scan *s, const struct x86_insn *in)
{
	if (moves_stack(in))
		follow_stack(s, in);
	else
		follow(s, in);
}

/* Each register is itself, plus 0. */
static void at_head(struct scan *s)
{
	*s = (struct scan){.constant = GEN_NO_GROUP};
	for (unsigned r = 0; r < 16; r++)
		know(s, r, (struct base){(uint8_t)r, 0});
}

/* Registers that have the same value each time round. */
static unsigned invariant(struct gen *g)
{
	struct scan s;
	unsigned same = 0;

	at_head(&s);
	for (unsigned i = 0; i < g->n; i++)
		follow_any(&s, &g->insn[i]);
	for (unsigned r = 0; r < 16; r++)
		if (s.base[r].group == r && s.base[r].delta == 0)
			same |= 1u << r;
	return same;
}

/* One of those that are checked before the loop, all of them for what any instruction needs. */
static void hoist(struct gen *g, unsigned gpr, int64_t at, const struct access *a)
{
	struct access there = *a;

	there.off = at;
	for (unsigned i = 0; i < g->ngroups; i++) {
		struct gen_group *p = &g->group[i];

		if (p->gpr != gpr)
			continue;
		p->write |= a->write;
		if (join(p, at, a)) {
			g->group_of[g->i] = (uint8_t)i;
			return;
		}
	}
	if (g->ngroups == GEN_MAX_HOISTED)
		return;
	g->group_of[g->i] = (uint8_t)g->ngroups;
	found(g, (uint8_t)g->ngroups, &there)->gpr = (uint8_t)gpr;
	g->group[g->ngroups++].leader = GEN_NO_GROUP;
}

/*
 * Accesses at a constant distance from what a register holds at the beginning of each turn, if that
 * is the same each time.  They come first among the groups.
 */
static void hoist_all(struct gen *g)
{
	unsigned same = invariant(g);
	struct scan s;

	at_head(&s);
	for (g->i = 0; g->i < g->n; g->i++) {
		const struct x86_insn *in = &g->insn[g->i];
		struct access a;

		if (access_of(g, in, &a) && a.gpr != X86_RIP_BASE) {
			struct base b = s.base[a.gpr];

			if (b.group != GEN_NO_GROUP && same & 1u << b.group)
				hoist(g, b.group, a.off + b.delta, &a);
		}
		follow_any(&s, in);
	}
	g->hoisted = (uint16_t)g->ngroups;
}

void gen_find_groups(struct gen *g)
{
	struct scan s = {.constant = GEN_NO_GROUP};

	for (unsigned r = 0; r < 16; r++)
		s.base[r].group = GEN_NO_GROUP;
	g->ngroups = 0;
	g->merged = 0;
	for (unsigned i = 0; i < g->n; i++)
		g->group_of[i] = GEN_NO_GROUP;
	if (!g->is64 || g->mode & SOFT_MODE_NOMERGE)
		return;
	if (g->path && !g->live[0])
		hoist_all(g);
	for (g->i = 0; g->i < g->n; g->i++) {
		const struct x86_insn *in = &g->insn[g->i];
		struct access a;

		/* C may change any register and mapping. */
		if (in->row->class == X86_SYSTEM || in->row->class == X86_STRING ||
			in->row->mnem == X86_I_cld || in->row->mnem == X86_I_std) {
			forget(&s);
			continue;
		}
		/* Behind STI nothing may leave for another translation: events would be looked at.
		 */
		if (g->i && g->insn[g->i - 1].row->mnem == X86_I_sti)
			forget(&s);
		else if (g->group_of[g->i] == GEN_NO_GROUP && access_of(g, in, &a))
			take(g, &s, &a);
		follow_any(&s, in);
	}
	for (unsigned i = 0; i < g->ngroups; i++) {
		struct gen_group *p = &g->group[i];

		p->memo = (uint16_t)gen_memo(g, p->span, p->write);
		if (!g->path)
			g->merged |= (2ull << p->last) - (2ull << p->leader);
	}
}

/* Does nothing at instruction j or behind it rest on a check before it? */
bool gen_resumable(const struct gen *g, unsigned j)
{
	return !g->path && (j == GEN_MAX_INSNS || !(g->merged >> j & 1));
}
