/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * SYSCALL, SYSRET, SYSENTER, SYSEXIT (SDM vol. 3, 5.8.7, 5.8.8; APM vol. 2, 6.1).  They load fixed,
 * flat segments without reading descriptors.  Intel knows SYSCALL in 64-bit mode only, AMD SYSENTER
 * in legacy mode only; we are the vendor that CPUID names.
 */
#include "x86/system.h"

#define FLAT_CODE (X86_SEG_G | X86_SEG_P | X86_SEG_S | 0xbu) /* readable, accessed */
#define FLAT_DATA (X86_SEG_G | X86_SEG_DB | X86_SEG_P | X86_SEG_S | 0x3u)

#define SYSRET_FLAGS 0x3c7fd7ull /* all but RF and VM */

static struct x86_seg flat(uint16_t sel, uint32_t access, unsigned dpl)
{
	return (struct x86_seg){
		.limit = UINT32_MAX,
		.access = access | dpl << 5,
		.sel = (uint16_t)((sel & ~3u) | dpl),
	};
}

/* CS = `sel`, SS = the descriptor behind it. */
static void load_flat(
	struct x86_cpu *cpu, uint16_t cs, uint16_t ss, bool is_64, unsigned cpl, uint64_t rip)
{
	struct x86_seg code = flat(cs, FLAT_CODE | (is_64 ? X86_SEG_L : X86_SEG_DB), cpl);

	cpu->seg[X86_SS] = flat(ss, FLAT_DATA, cpl);
	x86_set_cs(cpu, &code, cpl, rip);
}

static bool is_amd(const struct x86_cpu *cpu)
{
	return cpu->vendor == X86_VENDOR_AMD;
}

enum x86_result x86_sys_syscall(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint16_t cs = (uint16_t)(cpu->star >> 32);
	bool was_64 = x86_is_64bit(cpu);

	if (!(cpu->efer & X86_EFER_SCE) || !x86_is_protected(cpu) || (!was_64 && !is_amd(cpu)))
		return x86_raise(cpu, X86_UD);
	x86_advance(cpu, insn);
	cpu->gpr[X86_RCX] = cpu->rip;
	if (!x86_is_long(cpu)) {
		cpu->rflags &= ~(X86_RF_IF | X86_RF_RF);
		load_flat(cpu, cs, (uint16_t)(cs + 8), false, 0, (uint32_t)cpu->star);
		return X86_DONE;
	}
	cpu->gpr[X86_R11] = cpu->rflags & ~X86_RF_RF;
	cpu->rflags = (cpu->rflags & ~(cpu->sfmask | X86_RF_RF)) | 2;
	load_flat(cpu, cs, (uint16_t)(cs + 8), true, 0, was_64 ? cpu->lstar : cpu->cstar);
	return X86_DONE;
}

enum x86_result x86_sys_sysret(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint16_t base = (uint16_t)(cpu->star >> 48);
	bool to_64 = insn->opsize == 8;
	uint64_t rip = cpu->gpr[X86_RCX];

	if (!(cpu->efer & X86_EFER_SCE) || !x86_is_protected(cpu) ||
		(!x86_is_64bit(cpu) && !is_amd(cpu)))
		return x86_raise(cpu, X86_UD);
	/* AMD's faults at the target, with CPL 3 already. */
	if (cpu->cpl != 0 || (to_64 && !is_amd(cpu) && !x86_canonical(rip)))
		return x86_raise_error(cpu, X86_GP, 0);
	if (x86_is_long(cpu))
		cpu->rflags = (cpu->gpr[X86_R11] & SYSRET_FLAGS) | 2;
	else
		cpu->rflags |= X86_RF_IF;
	load_flat(cpu, (uint16_t)(to_64 ? base + 16 : base), (uint16_t)(base + 8), to_64, 3,
		to_64 ? rip : (uint32_t)rip);
	/* TF of R11 counts already: a debugger sees each SYSCALL of its program end. */
	if (cpu->rflags & X86_RF_TF) {
		x86_raise(cpu, X86_DB);
		cpu->fault.dr6 = X86_DR6_BS;
		return X86_FAULT;
	}
	return X86_DONE;
}

enum x86_result x86_sys_sysenter(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint16_t cs = (uint16_t)cpu->sysenter_cs & 0xfffc;
	bool is_long = x86_is_long(cpu);

	(void)insn;
	if (is_long && is_amd(cpu))
		return x86_raise(cpu, X86_UD);
	if (!(cpu->cr0 & X86_CR0_PE) || cs == 0)
		return x86_raise_error(cpu, X86_GP, 0);
	cpu->rflags &= ~(X86_RF_VM | X86_RF_IF | X86_RF_RF);
	cpu->gpr[X86_RSP] = is_long ? cpu->sysenter_esp : (uint32_t)cpu->sysenter_esp;
	load_flat(cpu, cs, (uint16_t)(cs + 8), is_long, 0,
		is_long ? cpu->sysenter_eip : (uint32_t)cpu->sysenter_eip);
	return X86_DONE;
}

enum x86_result x86_sys_sysexit(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint16_t cs = (uint16_t)cpu->sysenter_cs & 0xfffc;
	uint64_t rip = cpu->gpr[X86_RDX], rsp = cpu->gpr[X86_RCX];
	bool to_64 = insn->opsize == 8;

	if (x86_is_long(cpu) && is_amd(cpu))
		return x86_raise(cpu, X86_UD);
	if (!x86_is_protected(cpu) || cpu->cpl != 0 || cs == 0 ||
		(to_64 && !(x86_canonical(rip) && x86_canonical(rsp))))
		return x86_raise_error(cpu, X86_GP, 0);
	cpu->gpr[X86_RSP] = to_64 ? rsp : (uint32_t)rsp;
	load_flat(cpu, (uint16_t)(cs + (to_64 ? 32 : 16)), (uint16_t)(cs + (to_64 ? 40 : 24)),
		to_64, 3, to_64 ? rip : (uint32_t)rip);
	return X86_DONE;
}
