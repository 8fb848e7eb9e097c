/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Decimal arithmetic, which 64-bit mode lacks (SDM vol. 2, AAA to AAS, DAA, DAS), and SALC. */
#include "x86/system.h"

static uint8_t al(const struct x86_cpu *cpu)
{
	return (uint8_t)cpu->gpr[X86_RAX];
}

static uint8_t ah(const struct x86_cpu *cpu)
{
	return (uint8_t)(cpu->gpr[X86_RAX] >> 8);
}

static void set_ax(struct x86_cpu *cpu, unsigned ax)
{
	cpu->gpr[X86_RAX] = x86_merge(cpu->gpr[X86_RAX], ax, 2);
}

/* SF, ZF, PF of `value`, and `carries` out of CF, AF; OF, which is undefined, becomes 0. */
static void set_flags(struct x86_cpu *cpu, uint8_t value, uint64_t carries)
{
	uint64_t flags = carries;

	if (value & 0x80)
		flags |= X86_FL_SF;
	if (value == 0)
		flags |= X86_FL_ZF;
	if (!__builtin_parity(value))
		flags |= X86_FL_PF;
	cpu->rflags = (cpu->rflags & ~(uint64_t)X86_FL_STATUS) | flags;
}

static enum x86_result adjust_ascii(struct x86_cpu *cpu, const struct x86_insn *insn, int step)
{
	unsigned ax = (uint16_t)cpu->gpr[X86_RAX];
	bool carry = (al(cpu) & 15) > 9 || cpu->rflags & X86_FL_AF;

	if (carry)
		ax += step * 0x106u;
	set_ax(cpu, ax & 0xff0f);
	set_flags(cpu, al(cpu), carry ? X86_FL_CF | X86_FL_AF : 0);
	return x86_done(cpu, insn);
}

enum x86_result x86_sys_aaa(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	return adjust_ascii(cpu, insn, 1);
}

enum x86_result x86_sys_aas(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	return adjust_ascii(cpu, insn, -1);
}

enum x86_result x86_sys_aam(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned base = (uint8_t)insn->imm;

	if (base == 0)
		return x86_raise(cpu, X86_DE);
	set_ax(cpu, al(cpu) / base << 8 | al(cpu) % base);
	set_flags(cpu, al(cpu), 0);
	return x86_done(cpu, insn);
}

enum x86_result x86_sys_aad(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned base = (uint8_t)insn->imm;

	set_ax(cpu, (al(cpu) + ah(cpu) * base) & 0xff);
	set_flags(cpu, al(cpu), 0);
	return x86_done(cpu, insn);
}

static enum x86_result adjust_decimal(struct x86_cpu *cpu, const struct x86_insn *insn, int step)
{
	unsigned old = al(cpu), value = old;
	uint64_t carries = 0;

	if ((old & 15) > 9 || cpu->rflags & X86_FL_AF) {
		value += step * 6u;
		carries |= X86_FL_AF;
		if (cpu->rflags & X86_FL_CF || value > 0xff) /* a borrow shows as a huge number */
			carries |= X86_FL_CF;
	}
	if (old > 0x99 || cpu->rflags & X86_FL_CF) {
		value += step * 0x60u;
		carries |= X86_FL_CF;
	} else if (step > 0) {
		carries &= ~(uint64_t)X86_FL_CF;
	}
	cpu->gpr[X86_RAX] = x86_merge(cpu->gpr[X86_RAX], value, 1);
	set_flags(cpu, (uint8_t)value, carries);
	return x86_done(cpu, insn);
}

enum x86_result x86_sys_daa(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	return adjust_decimal(cpu, insn, 1);
}

enum x86_result x86_sys_das(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	return adjust_decimal(cpu, insn, -1);
}

/* Undocumented, but everywhere: AL = CF ? FF : 00. */
enum x86_result x86_sys_salc(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	cpu->gpr[X86_RAX] = x86_merge(cpu->gpr[X86_RAX], cpu->rflags & X86_FL_CF ? 0xff : 0, 1);
	return x86_done(cpu, insn);
}
