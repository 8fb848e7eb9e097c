/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * REP MOVS and REP STOS in translated code.
 *
 * Most of them are copies by the kernel and libc, which are short or one page long.  A thunk for
 * each size and class looks both pages up in the TLB, and if neither side leaves its page, lets the
 * host's own instruction do it on the host's addresses.  Everything else is soft_op_string().
 */
#include "backend/soft/gen.h"

/* A thunk being emitted.  It is called with the struct soft_op in r12. */
struct thunk {
	unsigned class;
	unsigned shift; /* log2 of the element's size */
	bool movs;
	const uint8_t *slow; /* where C is called */
};

static void park(struct emit *e)
{
	emit8(e, 0x41);
	emit8(e, 0x54); /* push r12 */
	emit_store(e, 8, HOST_STATE, STATE(park), X86_RAX);
	emit8(e, 0x9f); /* lahf */
	emit8(e, 0x0f);
	emit8(e, 0x90);
	emit8(e, 0xc0); /* seto al */
	emit_store(e, 4, HOST_STATE, STATE(flags16), X86_RAX);
}

static void unpark(struct emit *e)
{
	emit_load(e, 4, X86_RAX, HOST_STATE, STATE(flags16));
	emit8(e, 0x04);
	emit8(e, 0x7f); /* add al, 127 */
	emit8(e, 0x9e); /* sahf */
	emit_load(e, 8, X86_RAX, HOST_STATE, STATE(park));
}

/* r13: the highest offset in a page from which RCX elements stay inside it.  Clobbers rax. */
static void limit(struct emit *e, const struct thunk *t)
{
	emit_rm_mem(e, 1, 0xf6, 0, HOST_STATE, STATE(cpu.rflags) + 1); /* test */
	emit8(e, X86_RF_DF >> 8);
	emit_jcc(e, 5, t->slow); /* jnz */
	emit_alu_imm(e, 8, 7, X86_RCX, 4096u >> t->shift);
	emit_jcc(e, 7, t->slow); /* ja */
	emit_mov(e, 4, X86_RAX, X86_RCX);
	if (t->shift)
		emit_shift_imm(e, 4, 4, X86_RAX, t->shift);
	emit_mov_imm(e, HOST_S1, 4096);
	emit_rr(e, 4, 0x2b, HOST_S1, X86_RAX);
}

/* r12: addend of the page that gpr points to.  Clobbers rax. */
static void look_up(struct emit *e, const struct thunk *t, unsigned gpr, bool write)
{
	int32_t tag = (int32_t)(write ? offsetof(struct soft_tlb_entry, write)
				      : offsetof(struct soft_tlb_entry, read));

	emit_mov(e, 8, X86_RAX, gpr);
	emit_mov(e, 8, HOST_S0, gpr);
	emit_shift_imm(e, 8, 5, X86_RAX, 12 - 5);
	emit_alu_imm(e, 4, 4, X86_RAX, (SOFT_TLB_ENTRIES - 1) << 5);
	emit_rm_mem(e, 8, 0x03, X86_RAX, HOST_STATE,
		STATE(tlb) + (int32_t)(t->class * sizeof(struct soft_tlb *)));
	emit_rm_mem(e, 8, 0x2b, HOST_S0, X86_RAX, tag);
	emit_rr(e, 8, 0x3b, HOST_S0, HOST_S1);
	emit_jcc(e, 7, t->slow); /* ja */
	emit_load(e, 8, HOST_S0, X86_RAX, (int32_t)offsetof(struct soft_tlb_entry, add));
}

static void instruction(struct emit *e, const struct thunk *t)
{
	if (t->shift == 1)
		emit8(e, 0x66);
	emit8(e, 0xf3);
	if (t->shift == 3)
		emit8(e, 0x48);
	emit8(e, (t->movs ? 0xa4u : 0xaau) | (t->shift != 0));
}

/* Both addends are known before a register is touched. */
static void emit_thunk(struct emit *e, const struct thunk *t)
{
	park(e);
	limit(e, t);
	look_up(e, t, X86_RDI, true);
	if (t->movs) {
		emit_store(e, 8, HOST_STATE, STATE(park2), HOST_S0);
		look_up(e, t, X86_RSI, false);
		emit_load(e, 8, HOST_S1, HOST_STATE, STATE(park2));
		emit_rr(e, 8, 0x03, X86_RSI, HOST_S0);
		emit_rr(e, 8, 0x03, X86_RDI, HOST_S1);
		instruction(e, t);
		emit_rr(e, 8, 0x2b, X86_RSI, HOST_S0);
		emit_rr(e, 8, 0x2b, X86_RDI, HOST_S1);
	} else {
		emit_load(e, 8, X86_RAX, HOST_STATE, STATE(park));
		emit_rr(e, 8, 0x03, X86_RDI, HOST_S0);
		instruction(e, t);
		emit_rr(e, 8, 0x2b, X86_RDI, HOST_S0);
	}
	unpark(e);
	emit_lea(e, 8, X86_RSP, X86_RSP, 8);
	emit8(e, 0xc3);
}

/* Everything as it was at the call, but not back there: op->resume knows where. */
static void emit_slow(struct emit *e, const uint8_t *call_op)
{
	unpark(e);
	emit8(e, 0x41);
	emit8(e, 0x5c); /* pop r12 */
	emit_lea(e, 8, X86_RSP, X86_RSP, 8);
	emit_jmp(e, call_op);
}

void soft_emit_string_thunks(struct emit *e, struct soft_cache *c)
{
	const uint8_t *slow = emit_here(e);

	emit_slow(e, c->call_op);
	for (unsigned class = 0; class < SOFT_CLASSES; class ++)
		for (unsigned movs = 0; movs < 2; movs++)
			for (unsigned shift = 0; shift < 4; shift++) {
				struct thunk t = {class, shift, movs, slow};

				c->string[class][movs][shift] = emit_here(e);
				emit_thunk(e, &t);
			}
}

/* Addresses without base and limit. */
static bool is_flat(const struct gen *g, const struct x86_insn *in)
{
	unsigned seg = in->seg_override;

	if (in->addrsize < 4 || seg == X86_FS || seg == X86_GS)
		return false;
	return g->is64 || (g->flat && seg != X86_CS);
}

bool gen_string(struct gen *g, const struct x86_insn *in)
{
	bool movs = in->row->mnem == X86_I_movs, stos = in->row->mnem == X86_I_stos;
	unsigned size = in->opcode & 1 ? in->opsize : 1;
	struct soft_op *op;

	if (!is_flat(g, in))
		return false;
	op = gen_new_op(g, soft_op_string, in);
	if (!op)
		return true;
	gen_op_address(g, op);
	if ((movs || stos) && g->is64 && in->rep && in->addrsize == 8)
		gen_call_thunk(g, g->v->cache.string[g->class][movs][__builtin_ctz(size)]);
	else
		gen_jmp_thunk(g, g->v->cache.call_op);
	if (gen_resumable(g, g->i + 1))
		op->resume = emit_here(&g->e);
	return true;
}

/* CLD and STD: the host's DF stays clear, the guest's is in cpu.rflags. */
bool gen_direction(struct gen *g, const struct x86_insn *in)
{
	const int32_t at = STATE(cpu.rflags) + 1;
	bool keep = g->live[g->i + 1];

	if (keep)
		gen_park_flags(g);
	if (in->row->mnem == X86_I_std)
		emit_alu_mem_imm(&g->e, 1, 1, HOST_STATE, at, X86_RF_DF >> 8);
	else
		emit_alu_mem_imm(&g->e, 1, 4, HOST_STATE, at, 0xff & ~(X86_RF_DF >> 8));
	if (keep)
		gen_unpark_flags(g);
	return true;
}
