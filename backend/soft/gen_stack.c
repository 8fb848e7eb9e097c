/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* PUSH, POP and LEAVE where the stack is flat; the few SYSTEM instructions that are worth inlining.
 */
#include "backend/soft/gen.h"

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

/* Two accesses: the operand's is checked by itself, the stack slot may be one of a group. */
static bool push_memory(struct gen *g, const struct x86_insn *in)
{
	bool keep = g->live[g->i], spill = gen_stack_checks(g) || !g->is64;
	struct gen_ref ref;

	if (!gen_can_address(g, in))
		return false;
	if (keep)
		gen_park_flags(g);
	ref = gen_memory(g, in, in->opsize, false, keep, false);
	gen_load(g, in->opsize, HOST_S1, &ref);
	g->s0_before = 0;
	if (spill)
		emit_store(&g->e, 8, HOST_STATE, STATE(borrow), HOST_S1);
	ref = gen_stack_slot(g, X86_RSP, -(int32_t)in->opsize, in->opsize, true, keep);
	if (spill)
		emit_load(&g->e, 8, HOST_S1, HOST_STATE, STATE(borrow));
	gen_store(g, in->opsize, &ref, HOST_S1);
	gen_move_rsp(g, -(int)in->opsize);
	if (keep)
		gen_unpark_flags(g);
	return true;
}

static bool gen_push(struct gen *g, const struct x86_insn *in)
{
	unsigned size = in->opsize, src;
	struct gen_ref slot;

	if (in->has_mem)
		return push_memory(g, in);
	if (gen_fresh_push(g, in))
		return true;
	slot = gen_stack_slot(g, X86_RSP, -(int32_t)size, size, true, false);
	if (in->op[0].kind == X86_OK_IMM) {
		gen_store_imm(g, size, &slot, (uint32_t)in->imm);
	} else {
		src = gen_host(g, in->op[0].reg);
		if (src == 255) {
			src = HOST_S1;
			emit_load(&g->e, 8, src, HOST_STATE, GPR(in->op[0].reg));
		}
		gen_store(g, size, &slot, src);
	}
	gen_move_rsp(g, -(int)size);
	return true;
}

static bool gen_pop(struct gen *g, const struct x86_insn *in)
{
	unsigned size = in->opsize, dst;
	struct gen_ref slot;

	if (in->has_mem)
		return false;
	slot = gen_stack_slot(g, X86_RSP, 0, size, false, false);
	dst = gen_host(g, in->op[0].reg);
	if (dst == 255) {
		gen_load(g, size, HOST_S1, &slot);
		emit_store(&g->e, 8, HOST_STATE, GPR(in->op[0].reg), HOST_S1);
	} else {
		gen_load(g, size, dst, &slot);
	}
	if (dst != HOST_RSP_G)
		gen_move_rsp(g, (int)size);
	return true;
}

static bool gen_leave(struct gen *g, const struct x86_insn *in)
{
	unsigned size = in->opsize;
	struct gen_ref slot = gen_stack_slot(g, X86_RBP, 0, size, false, false);

	gen_load(g, size, HOST_S1, &slot);
	emit_lea(&g->e, g->is64 ? 8 : 4, HOST_RSP_G, X86_RBP, (int32_t)size);
	emit_mov(&g->e, 8, X86_RBP, HOST_S1);
	return true;
}

/* flags16 and cpu.rflags -> eax as PUSHF stores them; r13 clobbered. */
static void compose_flags(struct gen *g)
{
	struct emit *e = &g->e;

	emit_rm_mem(e, 4, 0x0fb6, X86_RAX, HOST_STATE, STATE(flags16) + 1); /* movzx */
	emit_alu_imm(e, 4, 4, X86_RAX, 0xd5);
	emit_rm_mem(e, 4, 0x0fb6, HOST_S1, HOST_STATE, STATE(flags16));
	emit_shift_imm(e, 4, 4, HOST_S1, 11);
	emit_rr(e, 4, 0x0b, X86_RAX, HOST_S1);
	emit_load(e, 4, HOST_S1, HOST_STATE, STATE(cpu.rflags));
	emit_alu_imm(e, 4, 4, HOST_S1, ~(uint32_t)(X86_FL_STATUS | X86_RF_RF | X86_RF_VM));
	emit_rr(e, 4, 0x0b, X86_RAX, HOST_S1);
}

static bool gen_pushf(struct gen *g, const struct x86_insn *in)
{
	struct emit *e = &g->e;
	struct gen_ref slot;

	if (g->mode & SOFT_MODE_VM)
		return false;
	gen_park_flags(g);
	slot = gen_stack_slot(g, X86_RSP, -(int32_t)in->opsize, in->opsize, true, true);
	emit_store(e, 8, HOST_STATE, STATE(park), X86_RAX);
	compose_flags(g);
	gen_store(g, in->opsize, &slot, X86_RAX);
	emit_load(e, 8, X86_RAX, HOST_STATE, STATE(park));
	gen_move_rsp(g, -(int)in->opsize);
	if (g->live[g->i + 1])
		gen_unpark_flags(g);
	return true;
}

/* Out of line, with the flags of before: the instruction in C. */
static void slow(struct gen *g, const struct x86_insn *in, unsigned cc)
{
	struct gen_stub *s = gen_stub(g, STUB_OP);

	s->op = gen_new_op(g, soft_op_execute, in);
	s->flags_parked = true;
	s->jump = emit_jcc(&g->e, cc, emit_here(&g->e));
}

/*
 * POPF at CPL 0 that changes nothing but status flags and IF.  Whatever else it changes, or an
 * interrupt that waits for IF, is for C, which ends the block.
 */
static bool gen_popf(struct gen *g, const struct x86_insn *in)
{
	struct emit *e = &g->e;
	struct gen_ref slot;
	uint8_t *no_if;

	gen_park_flags(g);
	slot = gen_stack_slot(g, X86_RSP, 0, 8, false, true);
	gen_load(g, 8, HOST_S1, &slot);
	g->s0 = 0;
	emit_mov(e, 4, HOST_S0, HOST_S1);
	emit_rm_mem(e, 4, 0x33, HOST_S0, HOST_STATE, STATE(cpu.rflags));
	emit_rr(e, 4, 0xf7, 0, HOST_S0); /* test r12d, imm32 */
	emit32(e, ~(uint32_t)(X86_FL_STATUS | X86_RF_IF | 0xffc00000u | 0x802a));
	slow(g, in, 5);
	emit_rr(e, 4, 0xf7, 0, HOST_S1);
	emit32(e, X86_RF_IF);
	no_if = emit_jcc8(e, 0x74);
	emit_alu_mem_imm(e, 1, 7, HOST_STATE, STATE(intr_window), 0);
	slow(g, in, 5);
	emit_patch8(e, no_if);
	emit_mov(e, 4, HOST_S0, HOST_S1);
	emit_alu_imm(e, 4, 4, HOST_S0, X86_RF_IF);
	emit_alu_mem_imm(e, 1, 4, HOST_STATE, STATE(cpu.rflags) + 1, 0xfd);
	emit_rm_mem(e, 4, 0x09, HOST_S0, HOST_STATE, STATE(cpu.rflags));
	emit_store(e, 8, HOST_STATE, STATE(park), X86_RAX);
	emit_mov(e, 4, X86_RAX, HOST_S1);
	emit_shift_imm(e, 4, 5, HOST_S1, 11);
	emit_alu_imm(e, 4, 4, HOST_S1, 1);
	emit8(e, 0x88);
	emit8(e, 0xc4);			       /* mov ah, al */
	emit_rr(e, 1, 0x88, HOST_S1, X86_RAX); /* mov al, r13b */
	emit8(e, 0x04);
	emit8(e, 0x7f); /* add al, 127 */
	emit8(e, 0x9e); /* sahf */
	emit_load(e, 8, X86_RAX, HOST_STATE, STATE(park));
	g->parked = false;
	gen_move_rsp(g, 8);
	return true;
}

/* Where a control register is that MOV reads; 0: that is for C. */
static int32_t control_register(const struct x86_insn *in)
{
	if (in->row->mnem != X86_I_mov || in->row->class != X86_SYSTEM ||
		in->op[1].kind != X86_OK_CR)
		return 0;
	switch (in->op[1].reg) {
	case 0:
		return STATE(cpu.cr0);
	case 2:
		return STATE(cpu.cr2);
	case 3:
		return STATE(cpu.cr3);
	case 4:
		return STATE(cpu.cr4);
	default:
		return 0;
	}
}

bool gen_system_inline(const struct gen *g, const struct x86_insn *in)
{
	if (!g->is64 || SOFT_MODE_CPL(g->mode))
		return false;
	return in->row->mnem == X86_I_sti || (in->row->mnem == X86_I_popf && in->opsize == 8) ||
	       control_register(in);
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
	case X86_I_pushf:
		return gen_pushf(g, in);
	case X86_I_popf:
		return gen_system_inline(g, in) && gen_popf(g, in);
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

/*
 * STI with nothing waiting for IF.  The shadow needs no bit: events are looked at behind the next
 * instruction at the earliest, which is in this block.
 */
static bool gen_sti(struct gen *g, const struct x86_insn *in)
{
	if (!gen_system_inline(g, in) || g->i + 1 == g->n)
		return false;
	gen_park_flags(g);
	emit_alu_mem_imm(&g->e, 1, 7, HOST_STATE, STATE(intr_window), 0);
	slow(g, in, 5);
	emit_alu_mem_imm(&g->e, 1, 1, HOST_STATE, STATE(cpu.rflags) + 1, 2);
	if (g->live[g->i + 1])
		gen_unpark_flags(g);
	return true;
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

static bool gen_mov_cr(struct gen *g, const struct x86_insn *in)
{
	unsigned dst = gen_host(g, in->op[0].reg);

	if (!gen_system_inline(g, in))
		return false;
	emit_load(&g->e, 8, dst == 255 ? HOST_S0 : dst, HOST_STATE, control_register(in));
	if (dst == 255)
		emit_store(&g->e, 8, HOST_STATE, GPR(in->op[0].reg), HOST_S0);
	return true;
}

/* On to the translation of what follows for the other class, if SMAP makes that another one. */
static bool gen_ac(struct gen *g, bool set)
{
	if (!g->is64 || !soft_edge_left(g->v))
		return false;
	rflags_byte(g, set ? 1 : 4, 2, set ? 4 : 0xfb);
	gen_edge(g, gen_next_rip(g), false);
	return true;
}

static bool gen_rdtsc(struct gen *g)
{
	bool keep = g->live[g->i + 1];
	struct emit *e = &g->e;

	if (g->mode & SOFT_MODE_TSD && SOFT_MODE_CPL(g->mode))
		return false;
	if (keep)
		gen_park_flags(g);
	emit8(e, 0x0f);
	emit8(e, 0x31);
	emit_shift_imm(e, 8, 4, X86_RDX, 32);
	emit_rr(e, 8, 0x0b, X86_RDX, X86_RAX);
	emit_rm_mem(e, 8, 0x03, X86_RDX, HOST_STATE, STATE(cpu.tsc_offset));
	emit_mov(e, 4, X86_RAX, X86_RDX);
	emit_shift_imm(e, 8, 5, X86_RDX, 32);
	if (keep)
		gen_unpark_flags(g);
	return true;
}

/* x86_insn_allowed() has passed: CPL 0 where that is asked for. */
bool gen_system(struct gen *g, const struct x86_insn *in)
{
	unsigned cpl = SOFT_MODE_CPL(g->mode);

	switch (in->row->mnem) {
	case X86_I_swapgs:
		return gen_swapgs(g);
	case X86_I_sti:
		return gen_sti(g, in);
	case X86_I_mov:
		return gen_mov_cr(g, in);
	case X86_I_stac:
		return gen_ac(g, true);
	case X86_I_clac:
		return gen_ac(g, false);
	case X86_I_rdtsc:
		return gen_rdtsc(g);
	case X86_I_cli:
		if (cpl || !(g->mode & SOFT_MODE_PE))
			return false;
		rflags_byte(g, 4, 1, 0xfd);
		return true;
	default:
		return false;
	}
}
