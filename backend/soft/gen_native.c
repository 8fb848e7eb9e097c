/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * NATIVE rows: the instruction itself, with registers renamed and its memory operand at [r12].
 *
 * Guest R12..R15 live in memory: those that the instruction names are loaded into a scratch
 * register before it and stored back behind it.  When scratch registers run out, or a high byte
 * register forbids the REX prefix that r12 needs, a register that the instruction does not use is
 * borrowed.
 */
#include "backend/soft/gen.h"

/* As a set: RSP, R12 and what is above. */
#define NOT_IN_PLACE (1u << X86_RSP | 0xffffu << X86_R12)

/* Guest registers in memory slots that are explicit operands, and whether they are written. */
struct slots {
	unsigned n;
	uint8_t gpr[4];
	bool written[4], read[4];
	uint8_t host[4];
};

static void add_slot(struct slots *s, const struct x86_operand *op)
{
	unsigned i;

	if (op->kind != X86_OK_GPR || op->field == X86_OF_IMPLICIT || op->reg < X86_R12)
		return;
	for (i = 0; i < s->n && s->gpr[i] != op->reg; i++)
		;
	if (i == s->n) {
		s->gpr[s->n] = op->reg;
		s->written[s->n] = s->read[s->n] = false;
		s->n++;
	}
	s->written[i] |= (op->access & X86_WR) != 0;
	s->read[i] |= (op->access & X86_RD) || op->size < 4;
}

static unsigned borrow(struct gen *g, const struct x86_insn *in, bool low_only)
{
	static const uint8_t candidates[] = {
		X86_RSI, X86_RDI, X86_RBP, X86_R8, X86_R9, X86_R10, X86_R11, X86_RBX};
	unsigned used = in->gpr_read | in->gpr_write;

	for (unsigned i = 0; i < (low_only ? 3 : sizeof(candidates)); i++)
		if (!(used & 1u << candidates[i])) {
			g->site[g->i].borrowed = candidates[i] + 1;
			emit_store(&g->e, 8, HOST_STATE, STATE(borrow), candidates[i]);
			return candidates[i];
		}
	return 255;
}

static bool has_high(const struct x86_insn *in)
{
	for (unsigned i = 0; i < in->nops; i++)
		if (in->op[i].kind == X86_OK_GPR && in->op[i].high)
			return true;
	return false;
}

/*
 * Decides which host register stands for each slot; `mem` takes r12.  False: not enough of them,
 * and nothing has been emitted.  *extra: a borrowed register is needed.
 */
static bool assign(const struct slots *s, bool mem, bool high, unsigned *need)
{
	unsigned free_regs = mem ? 1 : 2;

	*need = (s->n > free_regs ? 1 : 0) + (high && mem ? 1 : 0);
	return s->n <= free_regs + 1 && *need <= 1 && !(high && s->n);
}

static void load_slots(struct gen *g, const struct slots *s)
{
	for (unsigned i = 0; i < s->n; i++)
		if (s->read[i])
			emit_load(&g->e, 8, s->host[i], HOST_STATE, GPR(s->gpr[i]));
}

static void store_slots(struct gen *g, const struct slots *s)
{
	for (unsigned i = 0; i < s->n; i++)
		if (s->written[i])
			emit_store(&g->e, 8, HOST_STATE, GPR(s->gpr[i]), s->host[i]);
}

/* Makes the operand accessible; `by`: in this register alone, or 255. */
static void memory(struct gen *g, const struct x86_insn *in, struct x86_remap *map, unsigned by)
{
	struct gen_ref ref =
		gen_memory(g, in, in->mem.size, in->mem.access & X86_WR, false, by != 255);

	if (by != 255) {
		emit_lea(&g->e, 8, by, HOST_S0, ref.disp);
		return;
	}
	map->mem_base = ref.base;
	map->mem_index = ref.index == 255 ? 0 : (uint8_t)(ref.index + 1);
	map->mem_disp = ref.disp;
}

/* gen_host() of each. */
static const struct x86_remap plain = {
	.gpr = {X86_RAX, X86_RCX, X86_RDX, X86_RBX, HOST_RSP_G, X86_RBP, X86_RSI, X86_RDI, X86_R8,
		X86_R9, X86_R10, X86_R11, 255, 255, 255, 255},
	.mem_base = HOST_S0,
};

static bool emit_renamed(struct gen *g, const struct x86_insn *in, bool mem)
{
	struct slots s = {.n = 0};
	struct x86_remap map = plain;
	uint8_t bytes[16], *start = g->e.p;
	unsigned need, borrowed = 255, host[] = {HOST_S1, HOST_S0};
	bool high = has_high(in);

	for (unsigned i = 0; i < in->nops; i++)
		add_slot(&s, &in->op[i]);
	if (!assign(&s, mem, high, &need))
		return false;
	if (need) {
		borrowed = borrow(g, in, high);
		if (borrowed == 255)
			return false;
	}
	for (unsigned i = 0; i < s.n; i++) {
		s.host[i] = (uint8_t)(i < (mem ? 1u : 2u) ? host[i] : borrowed);
		map.gpr[s.gpr[i]] = s.host[i];
	}
	if (high && mem)
		map.mem_base = (uint8_t)borrowed;
	/* Nothing else has no encoding. */
	if (high && x86_encode(in, &map, bytes) == 0) {
		g->e.p = start;
		g->site[g->i].borrowed = 0;
		return false;
	}
	if (mem)
		memory(g, in, &map, high ? borrowed : 255);
	else if (s.n < 2)
		g->s0 = g->s0_before;
	load_slots(g, &s);
	g->e.p += x86_encode(in, &map, g->e.p);
	store_slots(g, &s);
	if (borrowed != 255)
		emit_load(&g->e, 8, borrowed, HOST_STATE, STATE(borrow));
	return true;
}

/*
 * Registers alone, which are the host's of the same name: the instruction's own bytes.  Prefixes
 * would have to be looked at, as this host may know more of them than the guest is told of.
 */
static bool stays(const struct gen *g, const struct x86_insn *in)
{
	const uint8_t *p = in->bytes + (in->rex != 0);

	if (!g->is64 || (in->gpr_read | in->gpr_write) & NOT_IN_PLACE)
		return false;
	switch (*p) {
	case 0x26:
	case 0x2e:
	case 0x36:
	case 0x3e:
	case 0x40 ... 0x4f:
	case 0x64 ... 0x67:
	case 0xf0:
	case 0xf2:
	case 0xf3:
		return false;
	default:
		return true;
	}
}

/* LEA: the offset, without segment base (SDM vol. 2, LEA), cut to operand size. */
static bool gen_lea(struct gen *g, const struct x86_insn *in)
{
	unsigned dst = gen_host(in->op[0].reg), size = in->addrsize == 8 && in->opsize == 8 ? 8 : 4;
	struct x86_insn flat = *in;

	if (in->addrsize == 2 || in->opsize == 2)
		return false;
	flat.mem.seg = X86_DS;
	if (dst == 255 || in->mem.base == X86_RIP_BASE || in->mem.base >= X86_R12 ||
		(in->mem.index != X86_NOREG && in->mem.index >= X86_R12)) {
		gen_address(g, &flat);
		if (size == 4)
			emit_mov(&g->e, 4, HOST_S0, HOST_S0);
		if (dst == 255)
			emit_store(&g->e, 8, HOST_STATE, GPR(in->op[0].reg), HOST_S0);
		else
			emit_mov(&g->e, 8, dst, HOST_S0);
		return true;
	}
	if (in->mem.index == X86_NOREG)
		emit_lea(&g->e, size, dst, gen_host(in->mem.base), (int32_t)in->mem.disp);
	else
		emit_rm_sib(&g->e, size, 0x8d, dst, gen_host(in->mem.base), gen_host(in->mem.index),
			in->mem.scale, (int32_t)in->mem.disp);
	return true;
}

bool gen_native(struct gen *g, const struct x86_insn *in)
{
	switch (in->row->mnem) {
	case X86_I_lea:
		return gen_lea(g, in);
	case X86_I_cld:
	case X86_I_std:
		return gen_direction(g, in);
	default:
		break;
	}
	if (gen_fresh(g, in))
		return true;
	if (in->row->props & X86_P_NOMEM) {
		g->s0 = g->s0_before;
		return true;
	}
	if (!in->has_mem && stays(g, in)) {
		g->s0 = g->s0_before;
		__builtin_memcpy(g->e.p, in->bytes, X86_INSN_MAX); /* quicker than a loop */
		g->e.p += in->len;
		return true;
	}
	if (!in->has_mem || !in->mem.access)
		return emit_renamed(g, in, in->has_mem);
	if (in->mem.size == 0 || in->mem.size > 64 || !gen_can_address(g, in))
		return false;
	return emit_renamed(g, in, true);
}
