/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Near control transfers (SDM vol. 1, 6.4, 7.3.8). */
#include "x86/data.h"
#include "x86/step.h"

/* Condition codes 0 to 15 as the opcodes number them (SDM vol. 1, appendix B). */
static bool condition(uint64_t rflags, unsigned cc)
{
	bool cf = rflags & X86_FL_CF, zf = rflags & X86_FL_ZF;
	bool less = !(rflags & X86_FL_SF) != !(rflags & X86_FL_OF);
	const bool holds[8] = {
		rflags & X86_FL_OF,
		cf,
		zf,
		cf || zf,
		rflags & X86_FL_SF,
		rflags & X86_FL_PF,
		less,
		less || zf,
	};

	return holds[cc >> 1 & 7] != (cc & 1);
}

static uint64_t next_rip(const struct x86_cpu *cpu, const struct x86_insn *insn)
{
	return (cpu->rip + insn->len) & x86_mask(insn->code_size == 64 ? 8 : 4);
}

/*
 * May execution go on at `rip`?  The transfer itself faults, as Intel's do; AMD's fault at the
 * target of a non-canonical branch.
 */
static enum x86_result check_target(struct x86_cpu *cpu, const struct x86_insn *insn, uint64_t rip)
{
	bool ok = insn->code_size == 64 ? x86_canonical(rip) : rip <= cpu->seg[X86_CS].limit;

	return ok ? X86_DONE : x86_raise_error(cpu, X86_GP, 0);
}

/* The operand of JMP, CALL, Jcc: where it leads, checked. */
static enum x86_result get_target(struct x86_cpu *cpu, const struct x86_insn *insn, uint64_t *rip)
{
	const struct x86_operand *op = &insn->op[0];
	enum x86_result res = X86_DONE;

	if (op->kind == X86_OK_GPR)
		*rip = x86_gpr_get(cpu, op);
	else if (op->kind == X86_OK_MEM)
		res = x86_data_read(
			cpu, insn->mem.seg, x86_effective(cpu, insn), insn->opsize, rip);
	else
		*rip = (next_rip(cpu, insn) + (uint64_t)insn->imm) & x86_mask(insn->opsize);
	return res == X86_DONE ? check_target(cpu, insn, *rip) : res;
}

static enum x86_result jump_if(struct x86_cpu *cpu, const struct x86_insn *insn, bool taken)
{
	uint64_t target = next_rip(cpu, insn);
	enum x86_result res = taken ? get_target(cpu, insn, &target) : X86_DONE;

	if (res == X86_DONE)
		cpu->rip = target;
	return res;
}

static enum x86_result call(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t target;
	enum x86_result res = get_target(cpu, insn, &target);

	if (res == X86_DONE)
		res = x86_push(cpu, insn->opsize, next_rip(cpu, insn));
	if (res == X86_DONE)
		cpu->rip = target;
	return res;
}

static enum x86_result ret(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned extra = insn->imm_size ? (uint16_t)insn->imm : 0;
	uint64_t target;
	enum x86_result res = x86_peek(cpu, insn->opsize, &target);

	if (res == X86_DONE)
		res = check_target(cpu, insn, target);
	if (res != X86_DONE)
		return res;
	x86_drop(cpu, insn->opsize + extra);
	cpu->rip = target;
	return X86_DONE;
}

/* The address size picks CX, ECX or RCX; the counter changes only if the jump does not fault. */
static enum x86_result loop(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t *rcx = &cpu->gpr[X86_RCX];
	uint64_t count = x86_merge(*rcx, *rcx - 1, insn->addrsize);
	bool zf = cpu->rflags & X86_FL_ZF;
	bool taken = (count & x86_mask(insn->addrsize)) != 0;
	enum x86_result res;

	if (insn->row->mnem == X86_I_loope)
		taken = taken && zf;
	else if (insn->row->mnem == X86_I_loopne)
		taken = taken && !zf;
	res = jump_if(cpu, insn, taken);
	if (res == X86_DONE)
		*rcx = count;
	return res;
}

enum x86_result x86_branch(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	switch (insn->row->mnem) {
	case X86_I_jmp:
		return jump_if(cpu, insn, true);
	case X86_I_call:
		return call(cpu, insn);
	case X86_I_ret:
		return ret(cpu, insn);
	case X86_I_loop:
	case X86_I_loope:
	case X86_I_loopne:
		return loop(cpu, insn);
	case X86_I_jcxz:
		return jump_if(cpu, insn, (cpu->gpr[X86_RCX] & x86_mask(insn->addrsize)) == 0);
	default:
		return jump_if(cpu, insn, condition(cpu->rflags, insn->opcode & 0xf));
	}
}
