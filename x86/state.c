/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Power-on state, modes, faults (SDM vol. 3, 9.1 and chapter 6). */
#include "x86/system.h"

#define RESET_SEG_ACCESS  0x93u /* present, writable, accessed data */
#define RESET_LDTR_ACCESS 0x82u
#define RESET_TR_ACCESS	  0x8bu
#define RESET_PAT	  0x0007040600070406ull
#define RESET_DR6	  0xffff0ff0ull
#define RESET_DR7	  0x400ull
#define RESET_FCW	  0x40u
#define RESET_MXCSR	  0x1f80u

/* Fast strings (Linux looks), branch trace and PEBS not there. */
#define MISC_ENABLE ((1u << 0) | (1u << 11) | (1u << 12))
/* Enabled, write-back by default: with no range registers all of memory is write-back. */
#define MTRR_DEFTYPE 0x806u

enum { FXSAVE_FTW = 4, FXSAVE_MXCSR = 24, XSAVE_HEADER = 512 };

static void reset_segments(struct x86_cpu *cpu)
{
	for (unsigned i = 0; i < 6; i++)
		cpu->seg[i] = (struct x86_seg){.limit = 0xffff, .access = RESET_SEG_ACCESS};
	cpu->seg[X86_CS].sel = 0xf000;
	cpu->seg[X86_CS].base = 0xffff0000;
	cpu->ldtr = (struct x86_seg){.limit = 0xffff, .access = RESET_LDTR_ACCESS};
	cpu->tr = (struct x86_seg){.limit = 0xffff, .access = RESET_TR_ACCESS};
	cpu->gdtr.base = cpu->idtr.base = 0;
	cpu->gdtr.limit = cpu->idtr.limit = 0xffff;
}

static void reset_fpu(struct x86_cpu *cpu)
{
	static const uint16_t fcw = RESET_FCW;
	static const uint32_t mxcsr = RESET_MXCSR;
	static const uint64_t all = X86_XCR0_SUPPORTED;

	x86_bytes_zero(cpu->fpu, sizeof(cpu->fpu));
	x86_bytes_copy(cpu->fpu, &fcw, sizeof(fcw));
	cpu->fpu[FXSAVE_FTW] = 0xff; /* tags say zero, not empty */
	x86_bytes_copy(cpu->fpu + FXSAVE_MXCSR, &mxcsr, sizeof(mxcsr));
	x86_bytes_copy(cpu->fpu + XSAVE_HEADER, &all, sizeof(all));
}

static void reset_msrs(struct x86_cpu *cpu)
{
	cpu->efer = 0;
	cpu->xcr0 = 1;
	cpu->pkru = 0;
	cpu->pkrs = 0;
	cpu->star = cpu->lstar = cpu->cstar = cpu->sfmask = cpu->kernel_gs_base = 0;
	cpu->sysenter_cs = cpu->sysenter_esp = cpu->sysenter_eip = 0;
	cpu->pat = RESET_PAT;
	cpu->tsc_aux = 0;
	cpu->misc_enable = MISC_ENABLE;
	cpu->mtrr_deftype = MTRR_DEFTYPE;
	cpu->tsc_offset = -x86_rdtsc();
	cpu->tsc_adjust = cpu->spec_ctrl = 0;
}

void x86_reset(struct x86_cpu *cpu)
{
	x86_bytes_zero(cpu->gpr, sizeof(cpu->gpr));
	cpu->gpr[X86_RDX] = cpu->signature ? cpu->signature : 0xf00;
	cpu->rip = 0xfff0;
	cpu->rflags = 2;
	reset_segments(cpu);
	cpu->cr0 = X86_CR0_CD | X86_CR0_NW | X86_CR0_ET;
	cpu->cr2 = cpu->cr3 = cpu->cr4 = 0;
	x86_bytes_zero(cpu->pdpte, sizeof(cpu->pdpte));
	x86_bytes_zero(cpu->dr, sizeof(cpu->dr));
	cpu->dr[6] = RESET_DR6;
	cpu->dr[7] = RESET_DR7;
	reset_msrs(cpu);
	cpu->cpl = 0;
	cpu->shadow = 0;
	cpu->nmi_blocked = false;
	cpu->fault = (struct x86_fault){0};
	cpu->exit = (struct x86_exit){0};
	reset_fpu(cpu);
}

unsigned x86_code_size(const struct x86_cpu *cpu)
{
	if (x86_is_64bit(cpu))
		return 64;
	return cpu->seg[X86_CS].access & X86_SEG_DB ? 32 : 16;
}

uint64_t x86_linear_rip(const struct x86_cpu *cpu)
{
	return x86_is_64bit(cpu) ? cpu->rip : (uint32_t)(cpu->seg[X86_CS].base + cpu->rip);
}

bool x86_canonical(uint64_t gla)
{
	return (uint64_t)((int64_t)(gla << 16) >> 16) == gla;
}

enum x86_result x86_raise(struct x86_cpu *cpu, unsigned vector)
{
	cpu->fault = (struct x86_fault){.vector = (uint8_t)vector};
	return X86_FAULT;
}

enum x86_result x86_raise_error(struct x86_cpu *cpu, unsigned vector, uint32_t error)
{
	cpu->fault =
		(struct x86_fault){.vector = (uint8_t)vector, .has_error = true, .error = error};
	return X86_FAULT;
}

enum x86_result x86_raise_pf(struct x86_cpu *cpu, uint64_t gla, uint32_t error)
{
	cpu->fault =
		(struct x86_fault){.vector = X86_PF, .has_error = true, .error = error, .cr2 = gla};
	return X86_FAULT;
}

void x86_set_rflags(struct x86_cpu *cpu, uint64_t value, uint64_t mask)
{
	uint64_t may = X86_FL_STATUS | X86_FL_DF | X86_RF_TF | X86_RF_NT | X86_RF_RF | X86_RF_AC |
		       X86_RF_ID;

	if (cpu->cpl <= x86_iopl(cpu))
		may |= X86_RF_IF;
	if (cpu->cpl == 0)
		may |= X86_RF_IOPL;
	mask &= may;
	cpu->rflags = (cpu->rflags & ~mask) | (value & mask) | 2;
}
