/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Descriptors and gates in the GDT and LDT (SDM vol. 3, 3.4.5, 3.5, 5.8.3). */
#include "x86/system.h"

#define TI	   4u /* selector bit: the LDT */
#define TYPE_SHIFT 40
#define HIGH_ZERO  (0x1full << 8) /* type bits of the upper half of a 16-byte descriptor */

uint64_t x86_desc_base(const struct x86_desc *desc)
{
	uint64_t base = (desc->low >> 16 & 0xffffff) | (desc->low >> 56 << 24);

	return base | desc->high << 32;
}

uint32_t x86_desc_limit(const struct x86_desc *desc)
{
	uint32_t limit = (uint32_t)(desc->low & 0xffff) | ((uint32_t)(desc->low >> 32) & 0xf0000);

	return x86_desc_access(desc) & X86_SEG_G ? limit << 12 | 0xfff : limit;
}

struct x86_seg x86_desc_seg(const struct x86_desc *desc, uint16_t sel)
{
	return (struct x86_seg){
		.base = x86_desc_base(desc),
		.limit = x86_desc_limit(desc),
		.access = x86_desc_access(desc),
		.sel = sel,
	};
}

uint64_t x86_gate_offset(const struct x86_desc *gate)
{
	unsigned type = X86_SEG_TYPE(x86_desc_access(gate));
	uint64_t offset = gate->low & 0xffff;

	if (type == X86_TYPE_CALL16 || type == X86_TYPE_INTR16 || type == X86_TYPE_TRAP16)
		return offset;
	return offset | (gate->low >> 48 << 16) | gate->high << 32;
}

/* Where `size` bytes of the descriptor stand; false if that is past the table's end. */
static bool locate(const struct x86_cpu *cpu, uint16_t sel, unsigned size, uint64_t *gla)
{
	unsigned offset = sel & 0xfff8;
	uint64_t base = cpu->gdtr.base;
	uint32_t limit = cpu->gdtr.limit;

	if (sel & TI) {
		if (cpu->ldtr.access & X86_SEG_UNUSABLE || !(cpu->ldtr.access & X86_SEG_P))
			return false;
		base = cpu->ldtr.base;
		limit = cpu->ldtr.limit;
	}
	*gla = base + offset;
	if (!x86_is_long(cpu))
		*gla = (uint32_t)*gla;
	return offset + size - 1 <= limit;
}

enum x86_result x86_desc_read(
	struct x86_cpu *cpu, uint16_t sel, unsigned vector, unsigned ext, struct x86_desc *desc)
{
	desc->high = 0;
	if (!locate(cpu, sel, 8, &desc->gla))
		return x86_raise_error(cpu, vector, x86_sel_error(sel, ext));
	return x86_read(cpu, desc->gla, &desc->low, 8, X86_ACC_TABLE_READ);
}

enum x86_result x86_desc_read_high(
	struct x86_cpu *cpu, uint16_t sel, unsigned vector, unsigned ext, struct x86_desc *desc)
{
	uint64_t gla;
	enum x86_result res;

	if (!x86_is_long(cpu))
		return X86_DONE;
	if (!locate(cpu, sel, 16, &gla))
		return x86_raise_error(cpu, vector, x86_sel_error(sel, ext));
	res = x86_read(cpu, gla + 8, &desc->high, 8, X86_ACC_TABLE_READ);
	if (res != X86_DONE)
		return res;
	if (desc->high >> 32 & HIGH_ZERO)
		return x86_raise_error(cpu, vector, x86_sel_error(sel, ext));
	desc->high &= UINT32_MAX;
	return X86_DONE;
}

enum x86_result x86_desc_mark(struct x86_cpu *cpu, struct x86_desc *desc, unsigned type, bool set)
{
	uint64_t bits = (uint64_t)type << TYPE_SHIFT;
	uint64_t marked = set ? desc->low | bits : desc->low & ~bits;
	enum x86_result res;
	uint8_t *host;

	if (marked == desc->low)
		return X86_DONE;
	host = cpu->ops->map(cpu, desc->gla + 5, 1, X86_ACC_TABLE_WRITE, &res);
	if (host != NULL) {
		if (set)
			__atomic_fetch_or(host, (uint8_t)type, __ATOMIC_SEQ_CST);
		else
			__atomic_fetch_and(host, (uint8_t)~type, __ATOMIC_SEQ_CST);
	} else {
		uint8_t byte = (uint8_t)(marked >> TYPE_SHIFT);

		res = x86_write(cpu, desc->gla + 5, &byte, 1, X86_ACC_TABLE_WRITE);
		if (res != X86_DONE)
			return res;
	}
	desc->low = marked;
	return X86_DONE;
}
