/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Segment, canonical-form and alignment checks of instruction emulation (vmm-api.md 8.3). */
#include "vmm/vm.h"
#include "x86/x86.h"

#define TYPE_CODE	 0x8 /* of the 4-bit type */
#define TYPE_READABLE	 0x2 /* code */
#define TYPE_WRITABLE	 0x2 /* data */
#define TYPE_EXPAND_DOWN 0x4 /* data */

static uint64_t size_mask(int bytes)
{
	return bytes >= 8 ? UINT64_MAX : ((uint64_t)1 << bytes * 8) - 1;
}

static bool access_allowed(uint32_t access, int prot)
{
	unsigned type = X86_SEG_TYPE(access);

	if ((access & X86_SEG_UNUSABLE) != 0 || (access & X86_SEG_P) == 0 ||
		(access & X86_SEG_S) == 0)
		return false;
	if ((type & TYPE_CODE) != 0)
		return (prot & PROT_WRITE) == 0 &&
		       ((prot & PROT_READ) == 0 || (type & TYPE_READABLE) != 0);
	return (prot & PROT_WRITE) == 0 || (type & TYPE_WRITABLE) != 0;
}

/* An offset that wraps at the address size starts again at 0, so each byte is looked at. */
static bool inside_limit(const struct seg_desc *desc, uint64_t offset, int length, int addrsize)
{
	bool down =
		(X86_SEG_TYPE(desc->access) & (TYPE_CODE | TYPE_EXPAND_DOWN)) == TYPE_EXPAND_DOWN;
	uint64_t low = down ? (uint64_t)desc->limit + 1 : 0;
	uint64_t high = !down				   ? desc->limit
			: (desc->access & X86_SEG_DB) != 0 ? UINT32_MAX
							   : UINT16_MAX;

	for (int i = 0; i < length; i++) {
		uint64_t byte = (offset + (uint64_t)i) & size_mask(addrsize);

		if (byte < low || byte > high)
			return false;
	}
	return true;
}

int vie_calculate_gla(enum vm_cpu_mode mode, enum vm_reg_name seg, struct seg_desc *desc,
	uint64_t offset, int length, int addrsize, int prot, uint64_t *gla)
{
	bool flat = mode == CPU_MODE_64BIT;
	bool has_base = !flat || seg == VM_REG_GUEST_FS || seg == VM_REG_GUEST_GS;
	uint64_t linear;

	offset &= size_mask(addrsize);
	if (!flat && (!access_allowed(desc->access, prot) ||
			     !inside_limit(desc, offset, length, addrsize)))
		return -1;
	linear = offset + (has_base ? desc->base : 0);
	*gla = flat ? linear : linear & UINT32_MAX;
	return 0;
}

int vie_canonical_check(enum vm_cpu_mode mode, uint64_t gla)
{
	return mode == CPU_MODE_64BIT && !x86_canonical(gla);
}

int vie_alignment_check(int cpl, int size, uint64_t cr0, uint64_t rflags, uint64_t gla)
{
	return cpl == 3 && (cr0 & X86_CR0_AM) != 0 && (rflags & X86_RF_AC) != 0 &&
	       (gla & ((uint64_t)size - 1)) != 0;
}
