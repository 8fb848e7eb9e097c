/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Regions: a path through hot code that comes back to its beginning, translated as one piece.
 *
 *	entry      checks that hold for all turns (gen_group.c)
 *	           guest R12 to R15 into host registers that the path does not name
 *	body       the instructions, one after the other: a branch is only a look whether it goes
 *	           where it went before
 *	           run == 0? out, else back to body
 *	ways out   registers back, and on in the usual translation of where the branch goes
 *
 * The host register that has R12 in it has a guest register of its own, which waits in swapped[].
 * C that is called from here sees the guest's registers where they belong: soft_swap_out().
 */
#include "backend/soft/gen.h"

static const uint8_t lendable[] = {
	X86_R11, X86_R10, X86_R9, X86_R8, X86_RBX, X86_RBP, X86_RDI, X86_RSI};

void gen_path_assign(struct gen *g)
{
	unsigned used = 0, uses[4] = {0}, next = 0;

	for (unsigned i = 0; i < g->n; i++) {
		unsigned names = g->insn[i].gpr_read | g->insn[i].gpr_write;

		used |= names;
		for (unsigned k = 0; k < 4; k++)
			uses[k] += names >> (X86_R12 + k) & 1;
	}
	for (;;) {
		unsigned most = 0;

		for (unsigned k = 1; k < 4; k++)
			if (uses[k] > uses[most])
				most = k;
		while (next < sizeof(lendable) && used & 1u << lendable[next])
			next++;
		if (!uses[most] || next == sizeof(lendable))
			return;
		uses[most] = 0;
		g->swap[most] = lendable[next++] + 1;
	}
}

static void swap_in(struct gen *g)
{
	for (unsigned k = 0; k < 4; k++) {
		unsigned host = g->swap[k] - 1u;

		if (!g->swap[k])
			continue;
		emit_store(&g->e, 8, HOST_STATE, STATE(swapped) + 8 * (int32_t)k, host);
		emit_load(&g->e, 8, host, HOST_STATE, GPR(X86_R12 + k));
		g->host_of.gpr[X86_R12 + k] = (uint8_t)host;
	}
}

void gen_path_swap_out(struct gen *g)
{
	for (unsigned k = 0; k < 4; k++) {
		unsigned host = g->swap[k] - 1u;

		if (!g->swap[k])
			continue;
		emit_store(&g->e, 8, HOST_STATE, GPR(X86_R12 + k), host);
		emit_load(&g->e, 8, host, HOST_STATE, STATE(swapped) + 8 * (int32_t)k);
	}
}

void gen_path_begin(struct gen *g)
{
	g->i = g->n; /* the place behind the last one is the first one, with nothing under way */
	for (unsigned i = 0; i < g->hoisted; i++)
		gen_hoisted_check(g, &g->group[i]);
	swap_in(g);
	g->s0 = 0;
	g->body = emit_here(&g->e);
}

struct gen_stub *gen_path_exit(struct gen *g, uint8_t *jump, uint64_t target, bool parked)
{
	struct gen_stub *s = gen_stub(g, STUB_EXIT);

	s->site = (uint16_t)g->i;
	s->jump = jump;
	s->target = target;
	s->flags_parked = parked;
	return s;
}

void gen_exit_stub(struct gen *g, const struct gen_stub *s)
{
	g->i = s->site;
	gen_path_swap_out(g);
	if (!s->nomerge) {
		gen_goto(g, s->target, s->flags_parked);
		return;
	}
	gen_link_to(g, emit_jmp(&g->e, emit_here(&g->e)), s->target, s->flags_parked);
	g->stub[g->nstubs - 1].nomerge = true;
}

static void leave_loop(struct gen *g, uint8_t *jump)
{
	struct gen_stub *s = gen_stub(g, STUB_LEAVE);

	s->reason = SOFT_POLL;
	s->target = g->rip;
	s->swapped = true;
	s->jump = jump;
}

void gen_path_close(struct gen *g)
{
	struct emit *e = &g->e;

	g->i = g->n - 1;
	if (g->v->check) { /* turn by turn */
		gen_path_exit(g, emit_jmp(e, emit_here(e)), g->rip, false);
	} else if (g->live[0]) {
		gen_poll_live(g, g->rip);
		g->stub[g->nstubs - 1].swapped = true;
		emit_jmp(e, g->body);
	} else {
		emit_alu_mem_imm(e, 4, 7, HOST_STATE, STATE(run), 0);
		emit_jcc(e, 5, g->body);
		leave_loop(g, emit_jmp(e, emit_here(e)));
	}
}

uint64_t gen_path_next(const struct gen *g, unsigned i)
{
	return i + 1 < g->n ? g->rip + (uint64_t)(int64_t)g->offset[i + 1] : g->rip;
}

static void path_jcc(struct gen *g, const struct x86_insn *in)
{
	uint64_t target = gen_branch_target(g, in), next = gen_path_next(g, g->i);
	unsigned cc = in->opcode & 15;

	g->s0 = g->s0_before;
	if (next == target)
		gen_path_exit(g, emit_jcc(&g->e, cc ^ 1, emit_here(&g->e)), gen_next_rip(g), false);
	else
		gen_path_exit(g, emit_jcc(&g->e, cc, emit_here(&g->e)), target, false);
}

/*
 * RET whose slot has been checked: without a touch to the flags.  Elsewhere than to where it went
 * before, it is done again by its usual translation.
 */
static void path_ret_checked(struct gen *g)
{
	uint64_t next = gen_path_next(g, g->i);
	struct gen_ref slot = gen_stack_slot(g, X86_RSP, 0, 8, false, false);
	struct emit *e = &g->e;
	uint8_t *same;

	emit_mov(e, 8, HOST_S1, X86_RCX);
	gen_load(g, 8, X86_RCX, &slot);
	if ((int64_t)next == (int32_t)next && (int32_t)next != INT32_MIN) {
		emit_lea(e, 8, X86_RCX, X86_RCX, -(int32_t)next);
	} else {
		emit_mov_imm(e, HOST_S0, -next);
		emit_rm_sib(e, 8, 0x8d, X86_RCX, X86_RCX, HOST_S0, 0, 0);
	}
	same = emit_jcc8(e, 0xe3); /* jrcxz */
	emit_mov(e, 8, X86_RCX, HOST_S1);
	gen_path_exit(g, emit_jmp(e, emit_here(e)), gen_rip(g), false);
	emit_patch8(e, same);
	emit_mov(e, 8, X86_RCX, HOST_S1);
	g->s0 = 0;
}

/* r12 is the target, flags are parked: elsewhere, the branch is done again. */
static void guard(struct gen *g)
{
	uint64_t next = gen_path_next(g, g->i);
	struct emit *e = &g->e;

	if ((int64_t)next == (int32_t)next) {
		emit_alu_imm(e, 8, 7, HOST_S0, (uint32_t)next);
	} else {
		emit_mov_imm(e, HOST_S1, next);
		emit_rr(e, 8, 0x3b, HOST_S0, HOST_S1);
	}
	gen_path_exit(g, emit_jcc(e, 5, emit_here(e)), gen_rip(g), true);
	g->s0 = g->s0_before = 0;
}

static void path_ret(struct gen *g, const struct x86_insn *in)
{
	if (gen_stack_checks(g)) {
		struct gen_ref slot;

		gen_park_flags(g);
		slot = gen_stack_slot(g, X86_RSP, 0, 8, false, true);
		gen_load(g, 8, HOST_S0, &slot);
		guard(g);
		if (g->live[g->i + 1])
			gen_unpark_flags(g);
	} else {
		path_ret_checked(g);
	}
	gen_move_rsp(g, (int)(8 + (in->nops ? (uint16_t)in->imm : 0)));
}

static void path_indirect(struct gen *g, const struct x86_insn *in)
{
	bool parked = true;

	gen_park_flags(g);
	gen_load_target(g, in, 8);
	guard(g);
	if (in->row->mnem == X86_I_call && !gen_stack_checks(g)) {
		if (g->live[g->i + 1])
			gen_unpark_flags(g);
		parked = false;
	}
	if (in->row->mnem == X86_I_call)
		gen_push_return(g, 8, parked);
	if (parked && g->live[g->i + 1])
		gen_unpark_flags(g);
}

bool gen_path_branch(struct gen *g, const struct x86_insn *in)
{
	bool direct = in->nops && in->op[0].kind == X86_OK_REL;

	switch (in->row->mnem) {
	case X86_I_ret:
		path_ret(g, in);
		return true;
	case X86_I_jmp:
		if (!direct)
			path_indirect(g, in);
		else
			g->s0 = g->s0_before;
		return true;
	case X86_I_call:
		if (direct)
			gen_push_return(g, 8, false);
		else
			path_indirect(g, in);
		return true;
	default:
		if (gen_is_jcc(g, in))
			path_jcc(g, in);
		return gen_is_jcc(g, in);
	}
}
