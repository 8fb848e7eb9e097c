/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * May this instruction execute at all, here and now?  Features, mode, CR0.EM and TS, CR4's enables,
 * XCR0, CPL (SDM vol. 2, 2.4 and the exception lists; vol. 3, tables 2-2 and 13-1).
 */
#include "x86/system.h"

#define XCR0_SSE_AVX 6u

static enum x86_result undefined(struct x86_cpu *cpu)
{
	return x86_raise(cpu, X86_UD);
}

/* Instructions whose enable bit is in CR4. */
static bool is_enabled(const struct x86_cpu *cpu, const struct x86_row *row)
{
	switch (row->feature) {
	case X86_F_FSGSBASE:
		return cpu->cr4 & X86_CR4_FSGSBASE;
	case X86_F_XSAVE:
	case X86_F_XSAVEOPT:
	case X86_F_XSAVEC:
	case X86_F_XSAVES:
		return cpu->cr4 & X86_CR4_OSXSAVE;
	case X86_F_SMAP: /* CLAC, STAC: #UD, not #GP, for lack of privilege */
		return cpu->cpl == 0;
	default:
		return true;
	}
}

static bool is_known(const struct x86_cpu *cpu, const struct x86_row *row)
{
	if (row->feature != X86_F_NONE && !x86_has_feature(cpu, row->feature))
		return false;
	if (row->props & (X86_P_PE | X86_P_VEX | X86_P_AVX) && !x86_is_protected(cpu))
		return false;
	return is_enabled(cpu, row);
}

/* State that XSAVE and friends move: #NM while it belongs to another task. */
static bool is_xsave(const struct x86_row *row)
{
	return (row->feature == X86_F_XSAVE || row->feature == X86_F_XSAVEOPT ||
		       row->feature == X86_F_XSAVEC || row->feature == X86_F_XSAVES) &&
	       row->mnem != X86_I_xgetbv && row->mnem != X86_I_xsetbv;
}

static enum x86_result check_fpu(struct x86_cpu *cpu, const struct x86_row *row)
{
	uint32_t props = row->props;
	uint64_t cr0 = cpu->cr0;

	if (row->mnem == X86_I_fwait) /* waits for the coprocessor, whoever owns it */
		return (cr0 & (X86_CR0_MP | X86_CR0_TS)) == (X86_CR0_MP | X86_CR0_TS)
			       ? x86_raise(cpu, X86_NM)
			       : X86_DONE;
	if (props & X86_P_AVX &&
		(!(cpu->cr4 & X86_CR4_OSXSAVE) || (cpu->xcr0 & XCR0_SSE_AVX) != XCR0_SSE_AVX))
		return undefined(cpu);
	if (props & X86_P_SSE && (cr0 & X86_CR0_EM || !(cpu->cr4 & X86_CR4_OSFXSR)))
		return undefined(cpu);
	if (props & X86_P_MMX && cr0 & X86_CR0_EM)
		return undefined(cpu);
	if (props & X86_P_X87 && cr0 & X86_CR0_EM)
		return x86_raise(cpu, X86_NM);
	if (cr0 & X86_CR0_TS &&
		(props & (X86_P_AVX | X86_P_SSE | X86_P_MMX | X86_P_X87) || is_xsave(row)))
		return x86_raise(cpu, X86_NM);
	return X86_DONE;
}

enum x86_result x86_insn_allowed(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	const struct x86_row *row = insn->row;

	if (!is_known(cpu, row))
		return undefined(cpu);
	if (row->props & X86_P_PRIV && cpu->cpl != 0)
		return x86_raise_error(cpu, X86_GP, 0);
	return check_fpu(cpu, row);
}
