/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* MSRs, CPUID, time stamps, HLT, PAUSE, and cache control. */
#include "x86/system.h"

static void set_edx_eax(struct x86_cpu *cpu, uint64_t value)
{
	cpu->gpr[X86_RAX] = (uint32_t)value;
	cpu->gpr[X86_RDX] = value >> 32;
}

enum x86_result x86_sys_rdmsr(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t value = 0;
	enum x86_result res = x86_rdmsr(cpu, (uint32_t)cpu->gpr[X86_RCX], &value);

	if (res != X86_DONE)
		return res;
	set_edx_eax(cpu, value);
	return x86_done(cpu, insn);
}

enum x86_result x86_sys_wrmsr(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t value = cpu->gpr[X86_RDX] << 32 | (uint32_t)cpu->gpr[X86_RAX];
	enum x86_result res = x86_wrmsr(cpu, (uint32_t)cpu->gpr[X86_RCX], value);

	return res == X86_DONE ? x86_done(cpu, insn) : res;
}

enum x86_result x86_sys_cpuid(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint32_t out[4];

	cpu->ops->cpuid(cpu, (uint32_t)cpu->gpr[X86_RAX], (uint32_t)cpu->gpr[X86_RCX], out);
	cpu->gpr[X86_RAX] = out[0];
	cpu->gpr[X86_RBX] = out[1];
	cpu->gpr[X86_RCX] = out[2];
	cpu->gpr[X86_RDX] = out[3];
	return x86_done(cpu, insn);
}

static bool is_tsc_hidden(const struct x86_cpu *cpu)
{
	return cpu->cr4 & X86_CR4_TSD && cpu->cpl != 0;
}

enum x86_result x86_sys_rdtsc(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	if (is_tsc_hidden(cpu))
		return x86_raise_error(cpu, X86_GP, 0);
	set_edx_eax(cpu, x86_rdtsc() + cpu->tsc_offset);
	return x86_done(cpu, insn);
}

enum x86_result x86_sys_rdtscp(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	if (is_tsc_hidden(cpu))
		return x86_raise_error(cpu, X86_GP, 0);
	set_edx_eax(cpu, x86_rdtsc_ordered() + cpu->tsc_offset);
	cpu->gpr[X86_RCX] = (uint32_t)cpu->tsc_aux;
	return x86_done(cpu, insn);
}

enum x86_result x86_sys_rdpid(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	x86_gpr_set(cpu, &insn->op[0], (uint32_t)cpu->tsc_aux);
	return x86_done(cpu, insn);
}

/* There are no counters, so every index is wrong. */
enum x86_result x86_sys_rdpmc(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	(void)insn;
	return x86_raise_error(cpu, X86_GP, 0);
}

enum x86_result x86_sys_hlt(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	(void)insn;
	cpu->exit = (struct x86_exit){.reason = X86_EXIT_HLT};
	return X86_EXIT;
}

enum x86_result x86_sys_pause(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	(void)insn;
	cpu->exit = (struct x86_exit){.reason = X86_EXIT_PAUSE};
	return X86_EXIT;
}

/* INVD, WBINVD: our caches are the host's, and coherent. */
enum x86_result x86_sys_nothing(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	return x86_done(cpu, insn);
}

/* CLFLUSH and friends are checked like a load of one byte (SDM vol. 2). */
enum x86_result x86_sys_clflush(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t gla;
	enum x86_result res = x86_operand_linear(cpu, insn, 1, X86_ACC_READ, &gla);

	if (res == X86_DONE)
		res = x86_data_probe(cpu, gla, 1, x86_acc(cpu, X86_ACC_READ));
	return res == X86_DONE ? x86_done(cpu, insn) : res;
}
