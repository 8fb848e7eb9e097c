/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Vector accesses that touch only some elements: MASKMOVQ, MASKMOVDQU, VMASKMOV, gathers.  An
 * element whose mask is clear is not accessed and cannot fault (SDM vol. 2, VMASKMOV, VPGATHER).
 */
#include "x86/xstate.h"

/* ---- vector registers in cpu->fpu ---- */

static void get_vector(const struct x86_cpu *cpu, unsigned reg, uint8_t value[32])
{
	x86_bytes_copy(value, cpu->fpu + XS_XMM + 16 * reg, 16);
	x86_bytes_copy(value + 16, cpu->fpu + XS_YMM_HIGH + 16 * reg, 16);
}

static void put_vector(struct x86_cpu *cpu, unsigned reg, const uint8_t value[32])
{
	x86_bytes_copy(cpu->fpu + XS_XMM + 16 * reg, value, 16);
	x86_bytes_copy(cpu->fpu + XS_YMM_HIGH + 16 * reg, value + 16, 16);
}

static bool is_set(const uint8_t *mask, unsigned i, unsigned size)
{
	return mask[(i + 1) * size - 1] & 0x80;
}

/* ---- stores under a mask ---- */

/* All elements are checked before the first one is stored. */
static enum x86_result store_masked(struct x86_cpu *cpu, unsigned seg, uint64_t offset,
	uint64_t wrap, const uint8_t *value, const uint8_t *mask, unsigned count, unsigned size)
{
	enum x86_result res = X86_DONE;
	uint64_t gla;

	for (unsigned i = 0; i < count && res == X86_DONE; i++) {
		if (!is_set(mask, i, size))
			continue;
		res = x86_linear(cpu, seg, (offset + i * size) & wrap, size, X86_ACC_WRITE, &gla);
		if (res == X86_DONE)
			res = x86_data_probe(cpu, gla, size, x86_acc(cpu, X86_ACC_WRITE));
	}
	for (unsigned i = 0; i < count && res == X86_DONE; i++) {
		if (!is_set(mask, i, size))
			continue;
		res = x86_linear(cpu, seg, (offset + i * size) & wrap, size, X86_ACC_WRITE, &gla);
		if (res == X86_DONE)
			res = x86_write(
				cpu, gla, value + i * size, size, x86_acc(cpu, X86_ACC_WRITE));
	}
	return res;
}

/*
 * MMX registers are the physical x87 registers, which the image has in stack order; and an MMX
 * instruction leaves TOP = 0 and no register empty.
 */
static void enter_mmx(uint8_t *image)
{
	unsigned fsw = xs_get16(image, XS_FSW), top = fsw >> 11 & 7;
	uint8_t st[128];

	x86_bytes_copy(st, image + XS_ST, sizeof(st));
	for (unsigned i = 0; i < 8; i++)
		x86_bytes_copy(image + XS_ST + 16 * i, st + 16 * ((i - top) & 7), 16);
	xs_put16(image, XS_FSW, (uint16_t)(fsw & ~0x3800u));
	image[XS_FTW] = 0xff;
}

/* Bytes to DS:rDI, where the top bit of the mask byte is set. */
enum x86_result x86_sys_maskmov(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	bool is_mmx = insn->row->mnem == X86_I_maskmovq;
	unsigned seg = insn->seg_override == X86_NOREG ? X86_DS : insn->seg_override;
	uint8_t value[32], mask[32];
	uint64_t in_use = x86_image_save(cpu);
	enum x86_result res;

	if (is_mmx) {
		enter_mmx(cpu->fpu);
		x86_bytes_copy(value, cpu->fpu + XS_ST + 16 * insn->op[1].reg, 8);
		x86_bytes_copy(mask, cpu->fpu + XS_ST + 16 * insn->op[2].reg, 8);
	} else {
		get_vector(cpu, insn->op[1].reg, value);
		get_vector(cpu, insn->op[2].reg, mask);
	}
	res = store_masked(cpu, seg, x86_implicit_offset(cpu, insn, X86_RDI),
		x86_mask(insn->addrsize), value, mask, is_mmx ? 8 : 16, 1);
	if (res != X86_DONE)
		return res;
	if (is_mmx)
		x86_image_load(cpu, in_use | XS_X87);
	return x86_done(cpu, insn);
}

/* ---- VMASKMOVPS, VMASKMOVPD, VPMASKMOVD, VPMASKMOVQ ---- */

static unsigned element_size(const struct x86_insn *insn)
{
	switch (insn->row->mnem) {
	case X86_I_vmaskmovpd:
	case X86_I_vpmaskmovq:
	case X86_I_vgatherdpd:
	case X86_I_vgatherqpd:
	case X86_I_vpgatherdq:
	case X86_I_vpgatherqq:
		return 8;
	default:
		return 4;
	}
}

static enum x86_result load_masked(struct x86_cpu *cpu, const struct x86_insn *insn,
	const uint8_t *mask, unsigned count, unsigned size, uint8_t *value)
{
	uint64_t offset = x86_effective(cpu, insn), gla;
	enum x86_result res = X86_DONE;

	for (unsigned i = 0; i < count && res == X86_DONE; i++) {
		if (!is_set(mask, i, size))
			continue;
		res = x86_linear(cpu, insn->mem.seg, (offset + i * size) & x86_mask(insn->addrsize),
			size, X86_ACC_READ, &gla);
		if (res == X86_DONE)
			res = x86_read(
				cpu, gla, value + i * size, size, x86_acc(cpu, X86_ACC_READ));
	}
	return res;
}

enum x86_result x86_sys_vmaskmov(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = element_size(insn), count = (insn->vex_l ? 32 : 16) / size;
	bool is_store = insn->op[0].kind == X86_OK_MEM;
	uint8_t value[32] = {0}, mask[32];
	uint64_t in_use = x86_image_save(cpu);
	enum x86_result res;

	get_vector(cpu, insn->op[1].reg, mask);
	if (is_store) {
		get_vector(cpu, insn->op[2].reg, value);
		res = store_masked(cpu, insn->mem.seg, x86_effective(cpu, insn),
			x86_mask(insn->addrsize), value, mask, count, size);
		return res == X86_DONE ? x86_done(cpu, insn) : res;
	}
	res = load_masked(cpu, insn, mask, count, size, value);
	if (res != X86_DONE)
		return res;
	put_vector(cpu, insn->op[0].reg, value);
	x86_image_load(cpu, in_use | XS_SSE | XS_AVX);
	return x86_done(cpu, insn);
}

/* ---- gathers ---- */

struct gather {
	unsigned size, index_size, count;
	uint8_t value[32], index[32], mask[32];
};

static bool has_long_index(const struct x86_insn *insn)
{
	switch (insn->row->mnem) {
	case X86_I_vgatherqps:
	case X86_I_vgatherqpd:
	case X86_I_vpgatherqd:
	case X86_I_vpgatherqq:
		return true;
	default:
		return false;
	}
}

static int64_t index_at(const struct gather *g, unsigned i)
{
	int32_t index;

	if (g->index_size == 8)
		return (int64_t)xs_get64(g->index, 8 * i);
	x86_bytes_copy(&index, g->index + 4 * i, 4);
	return index;
}

/* x86_effective() leaves the vector index to us. */
static enum x86_result gather_one(
	struct x86_cpu *cpu, const struct x86_insn *insn, struct gather *g, unsigned i)
{
	uint64_t offset = x86_effective(cpu, insn) + ((uint64_t)index_at(g, i) << insn->mem.scale);
	uint64_t gla;
	enum x86_result res = x86_linear(
		cpu, insn->mem.seg, offset & x86_mask(insn->addrsize), g->size, X86_ACC_READ, &gla);

	if (res == X86_DONE)
		res = x86_read(
			cpu, gla, g->value + i * g->size, g->size, x86_acc(cpu, X86_ACC_READ));
	if (res == X86_DONE)
		x86_bytes_zero(g->mask + i * g->size, g->size);
	return res;
}

/*
 * Elements go from the lowest up.  A fault leaves those below it loaded and their masks clear, so
 * that the restarted instruction goes on where this one stopped; this is the state that the manual
 * prescribes.
 */
enum x86_result x86_sys_gather(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned dest = insn->op[0].reg, mask = insn->op[2].reg, index = insn->mem.index;
	unsigned bytes = insn->vex_l ? 32 : 16, index_size = has_long_index(insn) ? 8 : 4;
	struct gather g = {.size = element_size(insn), .index_size = index_size};
	enum x86_result res = X86_DONE;
	uint64_t in_use;

	if (dest == mask || dest == index || mask == index)
		return x86_raise(cpu, X86_UD);
	g.count = bytes / (g.size > index_size ? g.size : index_size);
	in_use = x86_image_save(cpu);
	get_vector(cpu, dest, g.value);
	get_vector(cpu, index, g.index);
	get_vector(cpu, mask, g.mask);
	for (unsigned i = 0; i < g.count && res == X86_DONE; i++)
		if (is_set(g.mask, i, g.size))
			res = gather_one(cpu, insn, &g, i);
	if (res == X86_DONE) {
		x86_bytes_zero(g.mask, sizeof(g.mask));
		x86_bytes_zero(g.value + g.count * g.size, 32 - g.count * g.size);
	}
	put_vector(cpu, dest, g.value);
	put_vector(cpu, mask, g.mask);
	x86_image_load(cpu, in_use | XS_SSE | XS_AVX);
	return res == X86_DONE ? x86_done(cpu, insn) : res;
}
