/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* CLI, STI, CLAC, STAC.  Without VME and PVI, IF is judged by IOPL alone (SDM vol. 2, CLI, STI). */
#include "x86/system.h"

static bool may_change_if(const struct x86_cpu *cpu)
{
	return !(cpu->cr0 & X86_CR0_PE) || cpu->cpl <= x86_iopl(cpu);
}

enum x86_result x86_sys_cli(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	if (!may_change_if(cpu))
		return x86_raise_error(cpu, X86_GP, 0);
	cpu->rflags &= ~X86_RF_IF;
	return x86_done(cpu, insn);
}

/* Interrupts wait for one more instruction, if they were off. */
enum x86_result x86_sys_sti(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	if (!may_change_if(cpu))
		return x86_raise_error(cpu, X86_GP, 0);
	if (!(cpu->rflags & X86_RF_IF))
		cpu->shadow = X86_SHADOW_STI;
	cpu->rflags |= X86_RF_IF;
	return x86_done(cpu, insn);
}

enum x86_result x86_sys_clac(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	cpu->rflags &= ~X86_RF_AC;
	return x86_done(cpu, insn);
}

enum x86_result x86_sys_stac(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	cpu->rflags |= X86_RF_AC;
	return x86_done(cpu, insn);
}
