/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Near branches, and the ways out of a block:
 * - to a known rip in the same page: a direct jump, patched when its target exists (the page is
 * mapped where it is as long as we execute in it);
 * - to anything else: through the jump cache, which is emptied whenever a mapping changes.
 * Status flags cross a direct jump in the host's flags and the jump cache in flags16.
 */
#include "backend/soft/gen.h"

static struct gen_stub *leave_stub(struct gen *g, enum soft_reason reason, bool parked)
{
	struct gen_stub *s = gen_stub(g, STUB_LEAVE);

	s->reason = (uint8_t)reason;
	s->flags_parked = parked;
	s->rip_in_s0 = false;
	return s;
}

/*
 * Loops end here when somebody wants the vcpu: run is 1 as long as nobody does.  Where status flags
 * are live in the host's, JRCXZ looks at it without touching them.
 */
void gen_poll_live(struct gen *g, uint64_t target)
{
	struct emit *e = &g->e;
	struct gen_stub *s;
	uint8_t *stop, *go;

	emit_mov(e, 8, HOST_S0, X86_RCX);
	emit_load(e, 4, X86_RCX, HOST_STATE, STATE(run));
	stop = emit_jcc8(e, 0xe3);
	emit_mov(e, 8, X86_RCX, HOST_S0);
	go = emit_jcc8(e, 0xeb);
	emit_patch8(e, stop);
	emit_mov(e, 8, X86_RCX, HOST_S0);
	s = leave_stub(g, SOFT_POLL, false);
	s->target = target;
	s->jump = emit_jmp(e, emit_here(e));
	emit_patch8(e, go);
}

static void poll(struct gen *g, uint64_t target, bool parked)
{
	struct gen_stub *s;

	if (!parked && gen_live_at(g, target)) {
		gen_poll_live(g, target);
		return;
	}
	emit_alu_mem_imm(&g->e, 4, 7, HOST_STATE, STATE(run), 0);
	s = leave_stub(g, SOFT_POLL, parked);
	s->target = target;
	s->jump = emit_jcc(&g->e, 4, emit_here(&g->e));
}

static int32_t jc_offset(const struct gen *g)
{
	return STATE(jc) + (int32_t)(g->class * SOFT_JC_ENTRIES * sizeof(struct soft_jump));
}

/* Behind the comparison of the jump cache: flags are parked, r12 is the target. */
static void leave_if_missed(struct gen *g, bool poll_too)
{
	struct emit *e = &g->e;
	struct gen_stub *s = leave_stub(g, SOFT_LOOKUP, true);

	s->rip_in_s0 = true;
	s->target = gen_rip(g);
	s->jump = emit_jcc(e, 5, emit_here(e));
	if (!poll_too)
		return;
	emit_alu_mem_imm(e, 4, 7, HOST_STATE, STATE(run), 0);
	s = leave_stub(g, SOFT_POLL, true);
	s->rip_in_s0 = true;
	s->jump = emit_jcc(e, 4, emit_here(e));
}

/* To another page when there are no more edges. The code behind it is not parked by that. */
static void jump_cached(struct gen *g, uint64_t target, bool parked)
{
	int32_t at = jc_offset(g) + (int32_t)(soft_jc_slot(target) * sizeof(struct soft_jump));
	bool before = g->parked;

	if (!parked)
		gen_park_flags(g);
	g->parked = before;
	emit_mov_imm(&g->e, HOST_S0, target);
	g->placed = true;
	emit_rm_mem(&g->e, 8, 0x39, HOST_S0, HOST_STATE, at);
	leave_if_missed(g, false);
	emit_rm_mem(&g->e, 4, 0xff, 4, HOST_STATE, at + (int32_t)offsetof(struct soft_jump, code));
}

/* Will the target's code be where it is as long as this code is?  Not if it may run into the next
 * page. */
static bool same_page(const struct gen *g, uint64_t rip)
{
	return !((rip ^ g->rip) >> 12 || g->straddles || (rip & 0xfff) > 4096 - X86_INSN_MAX);
}

/* To another page, through edge[]: flags stay where they are. */
void gen_edge(struct gen *g, uint64_t target, bool parked)
{
	struct gen_stub *s;

	s = gen_stub(g, STUB_EDGE);
	s->edge = soft_edge_new(g->v);
	s->target = target;
	s->flags_parked = parked;
	emit_rm_mem(&g->e, 4, 0xff, 4, HOST_STATE, STATE(edge) + 8 * (int32_t)s->edge);
	s->jump = g->e.p - 4;
}

/* The displacement at `jump` is to lead to a place in this page. */
void gen_link_to(struct gen *g, uint8_t *jump, uint64_t target, bool parked)
{
	struct gen_stub *s = gen_stub(g, STUB_LINK);

	s->target = target;
	s->flags_parked = parked;
	s->jump = jump;
}

/* Backwards in the page, with nothing in the host's flags. */
static void loop_to(struct gen *g, uint64_t rip, bool parked)
{
	struct emit *e = &g->e;
	struct gen_stub *s;

	emit_alu_mem_imm(e, 4, 7, HOST_STATE, STATE(run), 0);
	gen_link_to(g, emit_jcc(e, 5, emit_here(e)), rip, parked);
	s = leave_stub(g, SOFT_POLL, parked);
	s->target = rip;
	s->jump = emit_jmp(e, emit_here(e));
}

void gen_goto(struct gen *g, uint64_t rip, bool parked)
{
	struct gen_stub *s;

	if (!g->is64)
		rip = (uint32_t)rip;
	if (!g->flat) {
		s = leave_stub(g, SOFT_POLL, parked);
		s->target = rip;
		s->jump = emit_jmp(&g->e, emit_here(&g->e));
		return;
	}
	if (rip <= gen_rip(g) && same_page(g, rip) && (parked || !gen_live_at(g, rip))) {
		loop_to(g, rip, parked);
		return;
	}
	if (rip <= gen_rip(g))
		poll(g, rip, parked);
	if (same_page(g, rip))
		gen_link_to(g, emit_jmp(&g->e, emit_here(&g->e)), rip, parked);
	else if (!soft_edge_left(g->v) || (soft_tortured(g->v) && soft_torture_odds(g->v, 4)))
		jump_cached(g, rip, parked);
	else
		gen_edge(g, rip, parked);
}

/* The block goes on behind it. */
static void gen_jcc(struct gen *g, const struct x86_insn *in)
{
	uint64_t target = gen_branch_target(g, in);
	unsigned cc = in->opcode & 15;
	struct emit *e = &g->e;
	uint8_t *skip;

	g->s0 = g->s0_before;
	if (target > gen_rip(g) && same_page(g, target)) {
		gen_link_to(g, emit_jcc(e, cc, emit_here(e)), target, false);
		return;
	}
	skip = emit_jcc(e, cc ^ 1, emit_here(e));
	gen_goto(g, target, false);
	emit_patch(e, skip, emit_here(e));
}

/* LOOP, LOOPE, LOOPNE, JCXZ: the instruction itself, over a jump to the way on. */
static void gen_loop(struct gen *g, const struct x86_insn *in)
{
	struct emit *e = &g->e;
	uint8_t *skip;

	if (in->addrsize == 4)
		emit8(e, 0x67);
	emit8(e, in->opcode);
	emit8(e, 5);
	skip = emit_jmp(e, emit_here(e));
	gen_goto(g, gen_branch_target(g, in), false);
	emit_patch(e, skip, emit_here(e));
	gen_goto(g, gen_next_rip(g), false);
}

/* Pushes the return address. */
void gen_push_return(struct gen *g, unsigned size, bool parked)
{
	uint64_t ret = gen_next_rip(g);
	struct gen_ref slot = gen_stack_slot(g, X86_RSP, -(int32_t)size, size, true, parked);

	if (size == 4 || (int64_t)ret == (int32_t)ret) {
		gen_store_imm(g, size, &slot, (uint32_t)ret);
		g->placed = true;
	} else {
		gen_mov_rip(g, HOST_S1, ret);
		gen_store(g, 8, &slot, HOST_S1);
	}
	gen_move_rsp(g, -(int)size);
}

/* The target of an indirect jump or call -> r12; flags are parked. */
void gen_load_target(struct gen *g, const struct x86_insn *in, unsigned size)
{
	struct gen_ref ref;
	unsigned host;

	if (in->has_mem) {
		ref = gen_memory(g, in, size, false, true, false);
		gen_load(g, size, HOST_S0, &ref);
		g->s0_before = 0;
		return;
	}
	g->s0_before = 0;
	host = gen_host(g, in->op[0].reg);
	if (host == 255)
		emit_load(&g->e, 8, HOST_S0, HOST_STATE, GPR(in->op[0].reg));
	else
		emit_mov(&g->e, 8, HOST_S0, host);
}

/* r13: place of the target, which is r12, in the jump cache; compares.  Flags are parked. */
static void look_up_jump(struct gen *g)
{
	struct emit *e = &g->e;

	if (!g->is64)
		emit_mov(e, 4, HOST_S0, HOST_S0);
	emit_rr(e, 4, 0x0fb7, HOST_S1, HOST_S0); /* movzx r13d, r12w */
	emit_shift_imm(e, 4, 4, HOST_S1, 4);
	emit_rm_sib(e, 8, 0x39, HOST_S0, HOST_STATE, HOST_S1, 0, jc_offset(g));
}

/* r12: target; flags are parked. */
static void jump_indirect(struct gen *g)
{
	look_up_jump(g);
	leave_if_missed(g, true);
	emit_rm_sib(&g->e, 4, 0xff, 4, HOST_STATE, HOST_S1, 0,
		jc_offset(g) + (int32_t)offsetof(struct soft_jump, code));
}

static void gen_ret(struct gen *g, const struct x86_insn *in, unsigned size)
{
	struct gen_ref slot;

	gen_park_flags(g);
	slot = gen_stack_slot(g, X86_RSP, 0, size, false, true);
	gen_load(g, size, HOST_S0, &slot);
	gen_move_rsp(g, (int)(size + (in->nops ? (uint16_t)in->imm : 0)));
	jump_indirect(g);
}

static void gen_jmp_indirect(struct gen *g, const struct x86_insn *in, unsigned size)
{
	gen_park_flags(g);
	gen_load_target(g, in, size);
	jump_indirect(g);
}

/*
 * The target is looked up before anything is pushed: what the jump cache does not know, an address
 * that is not canonical among it, is for C.
 */
static void gen_call_indirect(struct gen *g, const struct x86_insn *in, unsigned size)
{
	struct emit *e = &g->e;
	struct gen_stub *s;

	gen_park_flags(g);
	gen_load_target(g, in, size);
	look_up_jump(g);
	s = gen_stub(g, STUB_OP);
	s->op = gen_new_op(g, soft_op_execute, in);
	s->flags_parked = true;
	s->jump = emit_jcc(e, 5, emit_here(e));
	emit_alu_mem_imm(e, 4, 7, HOST_STATE, STATE(run), 0);
	s = leave_stub(g, SOFT_POLL, true);
	s->target = gen_rip(g);
	s->jump = emit_jcc(e, 4, emit_here(e));
	emit_rm_sib(e, 8, 0x8b, HOST_S1, HOST_STATE, HOST_S1, 0,
		jc_offset(g) + (int32_t)offsetof(struct soft_jump, code));
	emit_store(e, 8, HOST_STATE, STATE(borrow), HOST_S1);
	gen_push_return(g, size, true);
	emit_rm_mem(e, 4, 0xff, 4, HOST_STATE, STATE(borrow)); /* jmp */
}

static void gen_direct(struct gen *g, const struct x86_insn *in, unsigned size)
{
	bool call = in->row->mnem == X86_I_call;
	bool parked = g->parked || (call && gen_stack_checks(g) && g->live[g->i]);

	if (parked)
		gen_park_flags(g);
	if (call)
		gen_push_return(g, size, parked);
	gen_goto(g, gen_branch_target(g, in), parked);
}

bool gen_branch(struct gen *g, const struct x86_insn *in)
{
	bool direct = in->nops && in->op[0].kind == X86_OK_REL;
	unsigned size = g->is64 ? 8 : 4;

	if (!g->flat || in->opsize != size || (!g->is64 && !(g->mode & SOFT_MODE_STACK32)))
		return false;
	if (in->has_mem && !gen_can_address(g, in))
		return false;
	if (g->path)
		return gen_path_branch(g, in);
	switch (in->row->mnem) {
	case X86_I_ret:
		gen_ret(g, in, size);
		return true;
	case X86_I_jmp:
	case X86_I_call:
		if (direct)
			gen_direct(g, in, size);
		else if (in->row->mnem == X86_I_call)
			gen_call_indirect(g, in, size);
		else
			gen_jmp_indirect(g, in, size);
		return true;
	case X86_I_loop:
	case X86_I_loope:
	case X86_I_loopne:
	case X86_I_jcxz:
		if (in->addrsize == 2)
			return false;
		gen_loop(g, in);
		return true;
	default:
		gen_jcc(g, in);
		return true;
	}
}
