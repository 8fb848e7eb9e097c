/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Model-specific registers (SDM vol. 4; APM vol. 2, appendix A): those that are part of struct
 * x86_cpu, and constants that guests expect of this processor.  All others are asked of the owner.
 */
#include <stddef.h>

#include "x86/system.h"

#define MSR_TSC		  0x10u
#define MSR_TSC_ADJUST	  0x3bu
#define MSR_PKRS	  0x6e1u
#define MSR_EFER	  0xc0000080u
#define MSR_FIXED_MTRR_LO 0x250u
#define MSR_FIXED_MTRR_HI 0x26fu

/*
 * IA32_ARCH_CAPABILITIES: RDCL_NO, IBRS_ALL, SKIP_L1DFL_VMENTRY, SSB_NO, MDS_NO, PSCHANGE_MC_NO,
 * TAA_NO, SBDR_SSDP_NO, FBSDP_NO, PSDP_NO, BHI_NO, PBRSB_NO, GDS_NO, RFDS_NO, ITS_NO.  The guest's
 * permission checks and indirect branches are software here: page-table isolation, buffer clearing
 * and retpolines would cost it much and protect nothing.
 */
#define ARCH_CAPABILITIES 0x400000000d10e17bull

/*
 * IA32_MISC_ENABLE: fast strings, thermal control, SpeedStep, MONITOR, CPUID's maximum, xTPR
 * messages, XD disable.  Firmware sets them and reads them back; none has an effect.
 */
#define MISC_WRITABLE 0x400c50009ull

enum kind {
	PLAIN,	   /* any value */
	CANONICAL, /* #GP(0) on another */
	PAT,
	WORD, /* the upper half must be 0 */
	DEFTYPE,
	SPEC_CTRL,
	MISC,	 /* MISC_WRITABLE bits are kept; writes to the others are ignored */
	COMMAND, /* reads are #GP(0), 0 and 1 may be written, to no effect */
	FIXED,	 /* reads `value`, writes are ignored */
	READONLY /* reads `value`, writes are #GP(0) */
};

enum vendors { BOTH, INTEL, AMD };

struct msr {
	uint32_t number;
	uint32_t last; /* end of a range of equals, or 0 */
	uint8_t kind;
	uint8_t vendor;
	uint16_t offset; /* in struct x86_cpu */
	uint64_t value;
};

#define IN_CPU(member) .offset = offsetof(struct x86_cpu, member)

static const struct msr msrs[] = {
	{0x17, .kind = FIXED}, /* PLATFORM_ID */
	{0x48, .kind = SPEC_CTRL, .vendor = INTEL, IN_CPU(spec_ctrl)},
	{0x49, .kind = COMMAND, .vendor = INTEL},  /* PRED_CMD */
	{0x79, .kind = FIXED},			   /* BIOS_UPDT_TRIG */
	{0x8b, .kind = FIXED},			   /* BIOS_SIGN_ID, PATCH_LEVEL */
	{0xce, .kind = READONLY, .vendor = INTEL}, /* PLATFORM_INFO */
	{0xfe, .kind = READONLY},		   /* MTRRcap: no range registers */
	{0x10a, .kind = READONLY, .vendor = INTEL, .value = ARCH_CAPABILITIES},
	{0x140, .kind = FIXED, .vendor = INTEL}, /* MISC_FEATURES_ENABLES */
	{0x174, .kind = WORD, IN_CPU(sysenter_cs)},
	{0x175, .kind = CANONICAL, IN_CPU(sysenter_esp)},
	{0x176, .kind = CANONICAL, IN_CPU(sysenter_eip)},
	{0x179, .kind = READONLY}, /* MCG_CAP: no banks */
	{0x17a, .kind = FIXED},	   /* MCG_STATUS */
	{0x1a0, .kind = MISC, IN_CPU(misc_enable)},
	{0x1d9, .kind = FIXED},		       /* DEBUGCTL */
	{0x200, .last = 0x21f, .kind = FIXED}, /* MTRR ranges */
	{MSR_FIXED_MTRR_LO, .last = MSR_FIXED_MTRR_HI, .kind = FIXED},
	{0x277, .kind = PAT, IN_CPU(pat)},
	{0x2ff, .kind = DEFTYPE, IN_CPU(mtrr_deftype)},
	{MSR_PKRS, .kind = WORD, IN_CPU(pkrs)},
	{0xc0000081, .kind = PLAIN, IN_CPU(star)},
	{0xc0000082, .kind = CANONICAL, IN_CPU(lstar)},
	{0xc0000083, .kind = CANONICAL, IN_CPU(cstar)},
	{0xc0000084, .kind = WORD, IN_CPU(sfmask)},
	{0xc0000100, .kind = CANONICAL, IN_CPU(seg[X86_FS].base)},
	{0xc0000101, .kind = CANONICAL, IN_CPU(seg[X86_GS].base)},
	{0xc0000102, .kind = CANONICAL, IN_CPU(kernel_gs_base)},
	{0xc0000103, .kind = WORD, IN_CPU(tsc_aux)},
	/* Event selectors and counters, which this processor generation always has: none counts. */
	{0xc0010000, .last = 0xc0010007, .kind = FIXED, .vendor = AMD},
	{0xc0010010, .kind = FIXED, .vendor = AMD},		       /* SYSCFG */
	{0xc0010015, .kind = FIXED, .vendor = AMD, .value = 1u << 24}, /* HWCR: TSC at P0 rate */
	{0xc001001f, .kind = FIXED, .vendor = AMD},		       /* NB_CFG */
	{0xc0010020, .kind = FIXED, .vendor = AMD},		       /* patch loader */
	{0xc0010055, .kind = FIXED, .vendor = AMD}, /* interrupt pending message */
	{0xc0010112, .last = 0xc0010113, .kind = FIXED, .vendor = AMD}, /* TSEG */
	{0xc0011020, .last = 0xc0011028, .kind = FIXED, .vendor = AMD}, /* LS_CFG and others */
	{0xc0011029, .kind = FIXED, .vendor = AMD, .value = 2}, /* DE_CFG: LFENCE serializes */
	{0xc001102a, .last = 0xc001102e, .kind = FIXED, .vendor = AMD},
};

static const struct msr *find(const struct x86_cpu *cpu, uint32_t number)
{
	for (unsigned i = 0; i < sizeof(msrs) / sizeof(msrs[0]); i++) {
		const struct msr *msr = &msrs[i];

		if (number < msr->number || number > (msr->last ? msr->last : msr->number))
			continue;
		if (msr->vendor == BOTH || (msr->vendor == AMD) == (cpu->vendor == X86_VENDOR_AMD))
			return msr;
	}
	return NULL;
}

static uint64_t *storage(struct x86_cpu *cpu, const struct msr *msr)
{
	return (uint64_t *)(void *)((char *)cpu + msr->offset);
}

enum x86_result x86_rdmsr(struct x86_cpu *cpu, uint32_t number, uint64_t *value)
{
	const struct msr *msr;

	switch (number) {
	case MSR_TSC:
		*value = x86_rdtsc() + cpu->tsc_offset;
		return X86_DONE;
	case MSR_TSC_ADJUST:
		*value = cpu->tsc_adjust;
		return X86_DONE;
	case MSR_EFER:
		*value = cpu->efer;
		return X86_DONE;
	}
	msr = find(cpu, number);
	if (msr == NULL)
		return cpu->ops->rdmsr(cpu, number, value);
	if (msr->kind == COMMAND)
		return x86_raise_error(cpu, X86_GP, 0);
	*value = msr->offset != 0 ? *storage(cpu, msr) : msr->value;
	return X86_DONE;
}

/* Memory types 0, 1, 4, 5, 6, 7 in each of the eight bytes (SDM vol. 3, 11.12.2). */
static bool is_pat(uint64_t value)
{
	for (unsigned i = 0; i < 8; i++, value >>= 8)
		if ((value & 0xff) > 7 || (value & 0xff) == 2 || (value & 0xff) == 3)
			return false;
	return true;
}

static bool is_legal(const struct msr *msr, uint64_t value)
{
	switch (msr->kind) {
	case CANONICAL:
		return x86_canonical(value);
	case PAT:
		return is_pat(value);
	case WORD:
		return value <= UINT32_MAX;
	case DEFTYPE: /* type, FE, E */
		return (value & ~0xcffull) == 0 && (value & 0xff) <= 6 && (value & 0xff) != 2 &&
		       (value & 0xff) != 3;
	case SPEC_CTRL: /* IBRS, STIBP, SSBD */
		return value <= 7;
	case COMMAND:
		return value <= 1;
	case READONLY:
		return false;
	default:
		return true;
	}
}

enum x86_result x86_wrmsr(struct x86_cpu *cpu, uint32_t number, uint64_t value)
{
	const struct msr *msr;
	uint64_t offset;

	switch (number) {
	case MSR_TSC: /* a write moves TSC_ADJUST along (SDM vol. 3, 17.17.3) */
		offset = value - x86_rdtsc();
		cpu->tsc_adjust += offset - cpu->tsc_offset;
		cpu->tsc_offset = offset;
		return X86_DONE;
	case MSR_TSC_ADJUST:
		cpu->tsc_offset += value - cpu->tsc_adjust;
		cpu->tsc_adjust = value;
		return X86_DONE;
	case MSR_EFER:
		return x86_set_efer(cpu, value);
	}
	msr = find(cpu, number);
	if (msr == NULL)
		return cpu->ops->wrmsr(cpu, number, value);
	if (!is_legal(msr, value))
		return x86_raise_error(cpu, X86_GP, 0);
	if (msr->kind == MISC)
		value = (cpu->misc_enable & ~MISC_WRITABLE) | (value & MISC_WRITABLE);
	if (msr->offset != 0 && msr->kind != FIXED)
		*storage(cpu, msr) = value;
	if (number == MSR_PKRS && cpu->cr4 & X86_CR4_PKS)
		cpu->ops->flush(cpu, X86_FLUSH_ALL, 0);
	return X86_DONE;
}
