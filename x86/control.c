/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Writes to control registers, EFER and XCR0 (SDM vol. 3, 2.5, 2.6, 4.1; vol. 1, 13.3). */
#include "x86/system.h"

#define CR0_BITS                                                                                   \
	(X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_NE | X86_CR0_WP |             \
		X86_CR0_AM | X86_CR0_NW | X86_CR0_CD | X86_CR0_PG)
/* No VME, PVI: virtual-8086 mode has no virtual interrupt flag (CPUID says so). */
#define CR4_BITS                                                                                   \
	(X86_CR4_TSD | X86_CR4_DE | X86_CR4_PSE | X86_CR4_PAE | X86_CR4_MCE | X86_CR4_PGE |        \
		X86_CR4_PCE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_UMIP |                 \
		X86_CR4_FSGSBASE | X86_CR4_PCIDE | X86_CR4_SMEP | X86_CR4_SMAP | X86_CR4_PKE |     \
		X86_CR4_PKS)
#define CR3_NOFLUSH (1ull << 63)

#define XCR0_X87 1u
#define XCR0_SSE 2u
#define XCR0_AVX 4u

static enum x86_result refuse(struct x86_cpu *cpu)
{
	return x86_raise_error(cpu, X86_GP, 0);
}

/* What has to be true when CR0.PG becomes 1 (SDM vol. 3, 4.1.2 and 9.8.5). */
static enum x86_result enter_paging(struct x86_cpu *cpu)
{
	if (cpu->efer & X86_EFER_LME) {
		bool is_tss16 = !(cpu->tr.access & 8);

		if (!(cpu->cr4 & X86_CR4_PAE) || cpu->seg[X86_CS].access & X86_SEG_L ||
			(is_tss16 && !(cpu->tr.access & X86_SEG_UNUSABLE)))
			return refuse(cpu);
		cpu->efer |= X86_EFER_LMA;
		return X86_DONE;
	}
	return cpu->cr4 & X86_CR4_PAE ? x86_load_pdptes(cpu, cpu->cr3) : X86_DONE;
}

static enum x86_result leave_paging(struct x86_cpu *cpu)
{
	if (cpu->cr4 & X86_CR4_PCIDE || x86_is_64bit(cpu))
		return refuse(cpu);
	cpu->efer &= ~(uint64_t)X86_EFER_LMA;
	return X86_DONE;
}

/* PAE reloads its PDPTEs when one of these bits changes with paging on (SDM vol. 3, 4.4.1). */
static bool reloads_pdptes(const struct x86_cpu *cpu, uint64_t changed, uint64_t bits)
{
	return cpu->cr0 & X86_CR0_PG && cpu->cr4 & X86_CR4_PAE && !x86_is_long(cpu) &&
	       changed & bits;
}

enum x86_result x86_set_cr0(struct x86_cpu *cpu, uint64_t value)
{
	uint64_t changed;
	enum x86_result res = X86_DONE;

	if (value >> 32)
		return refuse(cpu);
	value = (value & CR0_BITS) | X86_CR0_ET;
	changed = value ^ cpu->cr0;
	if ((value & X86_CR0_PG && !(value & X86_CR0_PE)) ||
		(value & X86_CR0_NW && !(value & X86_CR0_CD)))
		return refuse(cpu);
	if (changed & X86_CR0_PG)
		res = value & X86_CR0_PG ? enter_paging(cpu) : leave_paging(cpu);
	else if (reloads_pdptes(cpu, changed, X86_CR0_CD | X86_CR0_NW))
		res = x86_load_pdptes(cpu, cpu->cr3);
	if (res != X86_DONE)
		return res;
	cpu->cr0 = value;
	if (!(value & X86_CR0_PE))
		cpu->cpl = 0;
	if (changed & (X86_CR0_PG | X86_CR0_PE))
		cpu->ops->flush(cpu, X86_FLUSH_ALL, 0);
	else if (changed & X86_CR0_WP)
		cpu->ops->flush(cpu, X86_FLUSH_MODE, 0);
	return X86_DONE;
}

enum x86_result x86_set_cr3(struct x86_cpu *cpu, uint64_t value)
{
	enum x86_flush kind = X86_FLUSH_CR3;

	if (cpu->cr4 & X86_CR4_PCIDE && value & CR3_NOFLUSH) {
		value &= ~CR3_NOFLUSH;
		kind = X86_FLUSH_CR3_KEEP;
	}
	if (!x86_is_long(cpu))
		value &= UINT32_MAX;
	if (value >> cpu->maxphyaddr)
		return refuse(cpu);
	if (cpu->cr0 & X86_CR0_PG && cpu->cr4 & X86_CR4_PAE && !x86_is_long(cpu)) {
		enum x86_result res = x86_load_pdptes(cpu, value);

		if (res != X86_DONE)
			return res;
	}
	cpu->cr3 = value;
	cpu->ops->flush(cpu, kind, 0);
	return X86_DONE;
}

static enum x86_result check_cr4(struct x86_cpu *cpu, uint64_t value)
{
	uint64_t may = CR4_BITS, set = value & ~cpu->cr4;

	if (x86_has_feature(cpu, X86_F_XSAVE))
		may |= X86_CR4_OSXSAVE;
	if (value & ~may)
		return refuse(cpu);
	if (x86_is_long(cpu) && !(value & X86_CR4_PAE))
		return refuse(cpu);
	if (set & X86_CR4_PCIDE && (!x86_is_long(cpu) || cpu->cr3 & 0xfff))
		return refuse(cpu);
	return X86_DONE;
}

enum x86_result x86_set_cr4(struct x86_cpu *cpu, uint64_t value)
{
	uint64_t old = cpu->cr4, changed = value ^ old;
	enum x86_result res = check_cr4(cpu, value);

	if (res != X86_DONE)
		return res;
	cpu->cr4 = value;
	if (reloads_pdptes(cpu, changed, X86_CR4_PAE | X86_CR4_PGE | X86_CR4_PSE | X86_CR4_SMEP)) {
		res = x86_load_pdptes(cpu, cpu->cr3);
		if (res != X86_DONE) {
			cpu->cr4 = old;
			return res;
		}
	}
	if (changed & (X86_CR4_PAE | X86_CR4_PGE | X86_CR4_PSE | X86_CR4_PCIDE | X86_CR4_PKE |
			      X86_CR4_PKS))
		cpu->ops->flush(cpu, X86_FLUSH_ALL, 0);
	else if (changed & (X86_CR4_SMEP | X86_CR4_SMAP))
		cpu->ops->flush(cpu, X86_FLUSH_MODE, 0);
	return X86_DONE;
}

enum x86_result x86_set_efer(struct x86_cpu *cpu, uint64_t value)
{
	uint64_t may = X86_EFER_SCE | X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE;
	uint64_t changed;

	if (cpu->vendor == X86_VENDOR_AMD)
		may |= X86_EFER_AIBRSE;
	value = (value & ~(uint64_t)X86_EFER_LMA) | (cpu->efer & X86_EFER_LMA);
	changed = value ^ cpu->efer;
	if (value & ~may || (changed & X86_EFER_LME && cpu->cr0 & X86_CR0_PG))
		return refuse(cpu);
	cpu->efer = value;
	if (changed & X86_EFER_NXE)
		cpu->ops->flush(cpu, X86_FLUSH_MODE, 0);
	return X86_DONE;
}

enum x86_result x86_set_xcr0(struct x86_cpu *cpu, uint64_t value)
{
	uint64_t may = XCR0_X87 | XCR0_SSE;

	if (x86_has_feature(cpu, X86_F_AVX))
		may |= XCR0_AVX;
	if (x86_has_feature(cpu, X86_F_PKU))
		may |= X86_XCR0_PKRU;
	if (value & ~may || !(value & XCR0_X87) || (value & (XCR0_SSE | XCR0_AVX)) == XCR0_AVX)
		return refuse(cpu);
	cpu->xcr0 = value;
	return X86_DONE;
}
