/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include <string.h>

#include "test/differential/case.h"

#define PAGE	4096u
#define VECTORS (X86_P_X87 | X86_P_MMX | X86_P_SSE | X86_P_AVX)

static unsigned access_size(const struct x86_insn *insn)
{
	return insn->has_mem && insn->mem.size ? insn->mem.size : insn->opsize;
}

/*
 * Rarely a place that faults: guard pages, the read-only page, an address that is not canonical, or
 * not to its end.
 */
static uint64_t bad_address(struct diff_random *r, unsigned size)
{
	switch (random_below(r, 5)) {
	case 0:
		return DIFF_DATA - 1 - random_below(r, size + 8);
	case 1:
		return DIFF_DATA + DIFF_WRITABLE - random_below(r, size);
	case 2:
		return DIFF_DATA + DIFF_WRITABLE + 64 * random_below(r, 60);
	case 3:
		return DIFF_DATA + DIFF_DATA_SIZE - random_below(r, size);
	default: /* ten bytes are two accesses to some processors */
		return 0x800000000000 + 64 - random_below(r, size == 10 ? 64 : 63 + size);
	}
}

static uint64_t pick_address(const struct x86_insn *insn, struct diff_random *r)
{
	unsigned size = access_size(insn), any = random_below(r, 64);
	bool strict = insn->row->props & X86_P_ALIGN;

	if (any == 0)
		return bad_address(r, size);
	if (any < (strict ? 3 : 6)) /* across the pages */
		return DIFF_DATA + PAGE - random_below(r, size + 1);
	if (any < (strict ? 4 : 20))
		return DIFF_DATA + 0x100 + random_below(r, DIFF_WRITABLE - 0x200);
	return DIFF_DATA + 0x100 + 64 * random_below(r, (DIFF_WRITABLE - 0x200) / 64);
}

/* A window reaches from 64 bytes below an address to 192 above, as far as they can be written. */
static void add_window(
	struct diff_case *c, const struct diff_form *form, uint64_t address, struct diff_random *r)
{
	struct diff_window *w = &c->window[c->windows];
	int64_t low = (int64_t)(address - DIFF_DATA) - 64, high = low + 256;
	uint32_t phase;

	if (low < 0)
		low = 0;
	if (high > DIFF_WRITABLE)
		high = DIFF_WRITABLE;
	if (low >= high)
		return;
	c->windows++;
	w->offset = (uint32_t)low;
	w->len = (uint32_t)(high - low);
	value_bytes(r, w->bytes, w->len);
	if (form->insn.row->class != X86_BRANCH)
		return;
	phase = (uint32_t)(address - DIFF_DATA - w->offset) & 7; /* pointers into the code page */
	for (uint32_t at = phase; at + 8 <= w->len; at += 8) {
		uint64_t target = DIFF_CODE + random_below(r, 0x700);

		memcpy(w->bytes + at, &target, 8);
	}
}

/* Low half of a register that a narrower address size uses; the rest is noise. */
static uint64_t widen(uint64_t address, unsigned addrsize, struct diff_random *r)
{
	return addrsize == 8 ? address : (random_next(r) & ~0xffffffffull) | (uint32_t)address;
}

static void aim_memory(struct diff_case *c, const struct diff_form *form, struct diff_random *r)
{
	const struct x86_insn *insn = &form->insn;
	const struct x86_mem *mem = &insn->mem;
	uint64_t *gpr = c->state.gpr, address, scaled = 0;

	if (mem->index != X86_NOREG) {
		if (!form->moves_address || !one_in(r, 4))
			gpr[mem->index] = widen(random_below(r, 16), insn->addrsize, r);
		scaled = gpr[mem->index] << mem->scale;
	}
	if (form->moves_address) {
		address = pick_address(insn, r);
		gpr[mem->base] = widen(address - (uint64_t)mem->disp - scaled, insn->addrsize, r);
	} else {
		address = form->address + (insn->addrsize == 8 ? scaled : (uint32_t)scaled);
	}
	if (insn->addrsize == 4)
		address = (uint32_t)address;
	add_window(c, form, address, r);
}

/* Quotients that fit, most of the time: an overflow costs two signals. */
static void tame_division(struct diff_case *c, const struct x86_insn *insn, struct diff_random *r)
{
	uint64_t *gpr = c->state.gpr;

	if (one_in(r, 8))
		return;
	if (insn->op[0].size == 1)
		gpr[X86_RAX] = (gpr[X86_RAX] & ~0xffffull) | random_below(r, 128);
	else if (insn->row->mnem == X86_I_div)
		gpr[X86_RDX] = random_below(r, 2);
	else
		gpr[X86_RDX] = gpr[X86_RAX] >> (8 * insn->op[0].size - 1) & 1 ? UINT64_MAX : 0;
}

static void aim_strings(struct diff_case *c, const struct diff_form *form, struct diff_random *r)
{
	const struct x86_insn *insn = &form->insn;
	uint64_t *gpr = c->state.gpr;
	uint64_t src = pick_address(insn, r), dst = pick_address(insn, r);
	uint64_t count = one_in(r, 8) ? random_below(r, 9000) : random_below(r, 40);

	if (one_in(r, 4))
		dst = src + random_below(r, 64) - 32;
	gpr[X86_RSI] = widen(src, insn->addrsize, r);
	gpr[X86_RDI] = widen(dst, insn->addrsize, r);
	gpr[X86_RCX] = widen(count, insn->addrsize, r);
	add_window(c, form, src, r);
	add_window(c, form, dst, r);
	if (c->windows == 2 && one_in(r, 2)) /* let comparisons go on for a while */
		memcpy(c->window[1].bytes, c->window[0].bytes, sizeof(c->window[0].bytes));
	if (one_in(r, 2))
		memcpy(&gpr[X86_RAX], c->window[0].bytes + 64, 8);
}

/* RSP as an implicit operand, and RBP of ENTER and LEAVE. */
static void aim_stack(struct diff_case *c, const struct diff_form *form, struct diff_random *r)
{
	const struct x86_insn *insn = &form->insn;
	const struct x86_mem *mem = &insn->mem;
	uint64_t address = pick_address(insn, r);

	if (insn->has_mem && (mem->base == X86_RSP || mem->index == X86_RSP))
		return;
	if (insn->row->class == X86_BRANCH && insn->op[0].kind == X86_OK_GPR &&
		insn->op[0].reg == X86_RSP)
		address = DIFF_DATA + 0x800; /* is the target, too */
	c->state.gpr[X86_RSP] = address;
	add_window(c, form, address, r);
	if (insn->row->mnem != X86_I_enter && insn->row->mnem != X86_I_leave)
		return;
	address = one_in(r, 4) ? address + 8 * random_below(r, 8) - 32 : pick_address(insn, r);
	c->state.gpr[X86_RBP] = address;
	add_window(c, form, address, r);
}

/* Indirect branches go somewhere in the page; counters are about to end. */
static void tame_branch(struct diff_case *c, const struct x86_insn *insn, struct diff_random *r)
{
	if (insn->op[0].kind == X86_OK_GPR)
		c->state.gpr[insn->op[0].reg] = DIFF_CODE + random_below(r, 0x700);
	else if (one_in(r, 2)) /* LOOP and JCXZ */
		c->state.gpr[X86_RCX] = widen(random_below(r, 3), insn->addrsize, r);
}

/* BT and its kin on memory: bits up to half a KiB away, because the host would go anywhere. */
static void tame_bit_string(struct diff_case *c, const struct x86_insn *insn, struct diff_random *r)
{
	uint64_t mask = (1ull << (8 * insn->opsize - 1)) * 2 - 1;
	uint64_t bit = (uint64_t)((int64_t)random_below(r, 8192) - 4096);

	c->state.gpr[insn->op[1].reg] = (random_next(r) & ~mask) | (bit & mask);
}

static bool is_maskmov(unsigned mnem)
{
	return mnem == X86_I_maskmovq || mnem == X86_I_maskmovdqu || mnem == X86_I_vmaskmovdqu;
}

/*
 * XLAT and MASKMOV: an address without ModRM.  Whether MASKMOV looks at bytes that it does not
 * store is up to the processor, so it gets no address that might fault.
 */
static void aim_implicit(struct diff_case *c, const struct diff_form *form, struct diff_random *r)
{
	const struct x86_insn *insn = &form->insn;
	uint64_t address = pick_address(insn, r), *gpr = c->state.gpr;

	if (is_maskmov(insn->row->mnem)) {
		address = DIFF_DATA + 0x100 + random_below(r, DIFF_WRITABLE - 0x200);
		gpr[X86_RDI] = widen(address, insn->addrsize, r);
	} else {
		gpr[X86_RBX] = widen(address - (gpr[X86_RAX] & 0xff), insn->addrsize, r);
	}
	add_window(c, form, address, r);
}

/* Vector register of an XSAVE image, its two halves. */
static uint8_t *vector_half(struct diff_case *c, unsigned reg, unsigned half)
{
	return c->state.fpu + (half ? 576 : 160) + 16 * reg;
}

/* Gathers: all indices lead into the data, a few out of it and back into a guard page. */
static void aim_gather(struct diff_case *c, const struct diff_form *form, struct diff_random *r)
{
	const struct x86_insn *insn = &form->insn;
	unsigned mnem = insn->row->mnem;
	bool wide = mnem == X86_I_vpgatherqd || mnem == X86_I_vpgatherqq ||
		    mnem == X86_I_vgatherqps || mnem == X86_I_vgatherqpd;
	uint64_t address = DIFF_DATA + 0x800 + random_below(r, 0x1000);

	for (unsigned half = 0; half < 2; half++)
		for (unsigned at = 0; at < 16; at += wide ? 8 : 4) {
			int64_t index =
				((int64_t)random_below(r, 0xe00) - 0x700) >> insn->mem.scale;

			memcpy(vector_half(c, insn->mem.index, half) + at, &index, wide ? 8 : 4);
		}
	if (form->moves_address)
		c->state.gpr[insn->mem.base] =
			widen(address - (uint64_t)insn->mem.disp, insn->addrsize, r);
	else
		address = form->address;
	add_window(c, form, address, r);
}

/* POPF must not set TF, NT or AC: all zeros but for the word it reads. */
static void tame_popf(struct diff_case *c, struct diff_random *r)
{
	uint64_t flags = random_next(r) & (X86_FL_STATUS | X86_FL_DF | X86_RF_IF);

	for (unsigned i = 0; i < c->windows; i++) {
		struct diff_window *w = &c->window[i];
		uint64_t at = c->state.gpr[X86_RSP] - DIFF_DATA - w->offset;

		memset(w->bytes, 0, sizeof(w->bytes));
		if (at < w->len && w->len - at >= 8)
			memcpy(w->bytes + at, &flags, 8);
	}
}

/* Reserved bits of MXCSR are a fault; that is worth a look, not seven in eight cases. */
static void tame_mxcsr(struct diff_case *c, struct diff_random *r)
{
	for (unsigned i = 0; i < c->windows && !one_in(r, 8); i++)
		for (unsigned at = 0; at + 4 <= c->window[i].len; at += 4)
			memset(c->window[i].bytes + at + 2, 0, 2);
}

void case_make(struct diff_case *c, const struct diff_form *form, struct diff_random *r)
{
	const struct x86_row *row = form->insn.row;
	uint64_t any = random_next(r);

	c->windows = 0;
	for (unsigned i = 0; i < 16; i++)
		c->state.gpr[i] = value_integer(r);
	c->state.rflags = 0x202 | (any & X86_FL_STATUS) | (any >> 32 & 7 ? 0 : X86_FL_DF);
	if (row->class == X86_STRING)
		c->state.rflags ^= any >> 40 & 1 ? X86_FL_DF : 0;
	if (row->props & VECTORS)
		value_fpu(r, c->state.fpu, row->props & X86_P_MMX);
	if (row->mnem == X86_I_div || row->mnem == X86_I_idiv)
		tame_division(c, &form->insn, r);
	if (row->class == X86_BRANCH)
		tame_branch(c, &form->insn, r);
	if (row->class == X86_SYSTEM && form->insn.op[1].kind == X86_OK_GPR && form->insn.has_mem)
		tame_bit_string(c, &form->insn, r);
	if (row->class == X86_STRING)
		aim_strings(c, form, r);
	else if (row->props & X86_P_VSIB)
		aim_gather(c, form, r);
	else if (row->mnem == X86_I_xlat || is_maskmov(row->mnem))
		aim_implicit(c, form, r);
	else if (form->insn.has_mem && !(row->props & X86_P_NOMEM && one_in(r, 2)))
		aim_memory(c, form, r);
	if (row->gpr_read & 1u << X86_RSP && (row->class == X86_STACK || row->class == X86_BRANCH))
		aim_stack(c, form, r);
	if (row->mnem == X86_I_popf)
		tame_popf(c, r);
	if (row->mnem == X86_I_ldmxcsr || row->mnem == X86_I_vldmxcsr)
		tame_mxcsr(c, r);
}
