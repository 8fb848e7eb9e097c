/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Segment-relative addressing and loads of segment registers (SDM vol. 3, 3.4, 5.3 to 5.7). */
#include "x86/system.h"

#define REAL_ACCESS 0x93u /* writable data, accessed, present, DPL 0 */
#define VM86_ACCESS 0xf3u /* the same, DPL 3 */

bool x86_seg_range(const struct x86_seg *seg, uint64_t offset, unsigned size)
{
	uint64_t last = offset + (size ? size - 1 : 0);
	unsigned type = X86_SEG_TYPE(seg->access);

	if (seg->access & X86_SEG_S &&
		(type & (X86_SEG_CODE | X86_SEG_EXPANDDOWN)) == X86_SEG_EXPANDDOWN)
		return offset > seg->limit &&
		       last <= (seg->access & X86_SEG_DB ? UINT32_MAX : UINT16_MAX);
	/* A flat segment has no end: the access goes on at 0. */
	return last <= seg->limit || seg->limit == UINT32_MAX;
}

static bool type_allows(const struct x86_seg *seg, unsigned acc)
{
	unsigned type = X86_SEG_TYPE(seg->access);

	if (seg->access & X86_SEG_UNUSABLE || !(seg->access & X86_SEG_P))
		return false;
	if (type & X86_SEG_CODE)
		return !(acc & X86_ACC_WRITE) && (type & X86_SEG_RW);
	return !(acc & X86_ACC_WRITE) || type & X86_SEG_RW;
}

static enum x86_result linear_64(
	struct x86_cpu *cpu, unsigned seg, uint64_t offset, unsigned size, uint64_t *gla)
{
	*gla = offset;
	if (seg == X86_FS || seg == X86_GS)
		*gla += cpu->seg[seg].base;
	if (x86_canonical(*gla) && x86_canonical(*gla + (size ? size - 1 : 0)))
		return X86_DONE;
	return x86_raise_error(cpu, seg == X86_SS ? X86_SS_FAULT : X86_GP, 0);
}

enum x86_result x86_linear(struct x86_cpu *cpu, unsigned seg, uint64_t offset, unsigned size,
	unsigned acc, uint64_t *gla)
{
	const struct x86_seg *s = &cpu->seg[seg];

	if (x86_is_64bit(cpu))
		return linear_64(cpu, seg, offset, size, gla);
	*gla = (uint32_t)(s->base + offset);
	/* Real mode checks limits (which may be "unreal" ones) but no types. */
	if (x86_seg_range(s, offset, size) && (!x86_is_protected(cpu) || type_allows(s, acc)))
		return X86_DONE;
	return x86_raise_error(cpu, seg == X86_SS ? X86_SS_FAULT : X86_GP, 0);
}

uint64_t x86_effective(const struct x86_cpu *cpu, const struct x86_insn *insn)
{
	const struct x86_mem *mem = &insn->mem;
	uint64_t offset = (uint64_t)mem->disp;

	if (mem->base == X86_RIP_BASE)
		offset += cpu->rip + insn->len;
	else if (mem->base != X86_NOREG)
		offset += cpu->gpr[mem->base];
	if (mem->index != X86_NOREG && !(insn->row->props & X86_P_VSIB))
		offset += cpu->gpr[mem->index] << mem->scale;
	return offset & x86_mask(insn->addrsize);
}

struct x86_seg x86_null_seg(uint16_t sel, unsigned dpl)
{
	return (struct x86_seg){.sel = sel, .access = X86_SEG_UNUSABLE | dpl << 5};
}

void x86_load_seg_paragraph(struct x86_cpu *cpu, unsigned seg, uint16_t sel)
{
	struct x86_seg *s = &cpu->seg[seg];

	s->sel = sel;
	s->base = (uint32_t)sel << 4;
	if (x86_is_vm86(cpu)) {
		s->limit = 0xffff;
		s->access = VM86_ACCESS;
	} else if (s->access & X86_SEG_UNUSABLE) {
		s->limit = 0xffff;
		s->access = REAL_ACCESS;
	}
}

/* SDM vol. 2, MOV: what a data segment register takes. */
static bool is_data_loadable(const struct x86_cpu *cpu, uint32_t access, unsigned rpl)
{
	unsigned type = X86_SEG_TYPE(access), dpl = X86_SEG_DPL(access);

	if (!(access & X86_SEG_S) || (type & (X86_SEG_CODE | X86_SEG_RW)) == X86_SEG_CODE)
		return false;
	if (type & X86_SEG_CODE && type & X86_SEG_CONFORMING)
		return true;
	return rpl <= dpl && cpu->cpl <= dpl;
}

enum x86_result x86_check_data(
	struct x86_cpu *cpu, uint16_t sel, unsigned vector, unsigned ext, struct x86_seg *seg)
{
	struct x86_desc desc;
	uint32_t access;
	enum x86_result res;

	if (x86_is_null(sel)) {
		*seg = x86_null_seg(sel, 0);
		return X86_DONE;
	}
	res = x86_desc_read(cpu, sel, vector, ext, &desc);
	if (res != X86_DONE)
		return res;
	access = x86_desc_access(&desc);
	if (!is_data_loadable(cpu, access, sel & 3))
		return x86_raise_error(cpu, vector, x86_sel_error(sel, ext));
	if (!(access & X86_SEG_P))
		return x86_raise_error(cpu, X86_NP, x86_sel_error(sel, ext));
	res = x86_desc_mark(cpu, &desc, X86_SEG_ACCESSED, true);
	if (res == X86_DONE)
		*seg = x86_desc_seg(&desc, sel);
	return res;
}

enum x86_result x86_check_ss(struct x86_cpu *cpu, uint16_t sel, unsigned cpl, unsigned vector,
	unsigned ext, struct x86_seg *ss)
{
	struct x86_desc desc;
	uint32_t access;
	enum x86_result res;

	if (x86_is_null(sel))
		return x86_raise_error(cpu, vector, ext);
	res = x86_desc_read(cpu, sel, vector, ext, &desc);
	if (res != X86_DONE)
		return res;
	access = x86_desc_access(&desc);
	if ((sel & 3u) != cpl || X86_SEG_DPL(access) != cpl || !(access & X86_SEG_S) ||
		(X86_SEG_TYPE(access) & (X86_SEG_CODE | X86_SEG_RW)) != X86_SEG_RW)
		return x86_raise_error(cpu, vector, x86_sel_error(sel, ext));
	if (!(access & X86_SEG_P))
		return x86_raise_error(cpu, X86_SS_FAULT, x86_sel_error(sel, ext));
	res = x86_desc_mark(cpu, &desc, X86_SEG_ACCESSED, true);
	if (res == X86_DONE)
		*ss = x86_desc_seg(&desc, sel);
	return res;
}

enum x86_result x86_load_seg(struct x86_cpu *cpu, unsigned seg, uint16_t sel)
{
	if (!x86_is_protected(cpu)) {
		x86_load_seg_paragraph(cpu, seg, sel);
		return X86_DONE;
	}
	if (seg != X86_SS)
		return x86_check_data(cpu, sel, X86_GP, 0, &cpu->seg[seg]);
	if (x86_is_null(sel) && x86_is_64bit(cpu) && cpu->cpl != 3 && (sel & 3) == cpu->cpl) {
		cpu->seg[X86_SS] = x86_null_seg(sel, cpu->cpl);
		return X86_DONE;
	}
	return x86_check_ss(cpu, sel, cpu->cpl, X86_GP, 0, &cpu->seg[X86_SS]);
}

void x86_drop_inner_segments(struct x86_cpu *cpu)
{
	static const uint8_t data[] = {X86_ES, X86_DS, X86_FS, X86_GS};

	for (unsigned i = 0; i < sizeof(data); i++) {
		struct x86_seg *seg = &cpu->seg[data[i]];
		unsigned type = X86_SEG_TYPE(seg->access);
		bool conforming = type & X86_SEG_CODE && type & X86_SEG_CONFORMING;

		if (!(seg->access & X86_SEG_UNUSABLE) && !conforming &&
			X86_SEG_DPL(seg->access) < cpu->cpl) {
			uint64_t base = seg->base;

			*seg = x86_null_seg(0, 0);
			if (x86_is_long(
				    cpu)) /* the bases of FS and GS live on (SDM vol. 3, 3.4.4) */
				seg->base = base;
		}
	}
}
