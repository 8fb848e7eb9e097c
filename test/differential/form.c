/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Encodings are drawn at random under what the row asks for, and count only if the decoder takes
 * them for that row: a row that cannot be reached shows up as one without forms.
 */
#include <string.h>

#include "test/differential/form.h"
#include "x86/insn_table.h"

#define ATTEMPTS 60
#define MARGIN	 0x100u /* of fixed addresses to the ends of the data */

struct bytes {
	uint8_t byte[40];
	unsigned len;
	unsigned
		disp_at; /* where a 4-byte displacement or an absolute address stands, 0: nowhere */
};

static void put(struct bytes *b, unsigned byte)
{
	b->byte[b->len++] = (uint8_t)byte;
}

static void put_random(struct bytes *b, struct diff_random *r, unsigned n)
{
	for (uint64_t any = random_next(r); n > 0; n--, any = any >> 8 | any << 56)
		put(b, (unsigned)any & 0xff);
}

static unsigned required_pp(
	const struct x86_row *row, const struct x86_form *f, struct diff_random *r)
{
	unsigned pp = (f->value & X86_K_PP) >> X86_K_PP_SHIFT;

	if ((f->mask & X86_K_PP) == X86_K_PP)
		return pp;
	if (row->class == X86_BRANCH) /* 66: Intel ignores it, AMD does not */
		return X86_PP_NP;
	return one_in(r, 3) ? X86_PP_66 : X86_PP_NP; /* an operand size */
}

static void put_legacy_prefixes(struct bytes *b, const struct x86_row *row,
	const struct x86_form *f, bool memory, struct diff_random *r)
{
	static const uint8_t ignored[] = {0x26, 0x2e, 0x36, 0x3e};
	unsigned pp = required_pp(row, f, r), rex = 0x40 | random_below(r, 16);
	bool rex_w = f->value & X86_K_RW;

	if (one_in(r, 16))
		put(b, ignored[random_below(r, 4)]);
	if (one_in(r, 8) && (memory || row->class != X86_NATIVE))
		put(b, 0x67);
	if (memory && row->props & X86_P_LOCK && one_in(r, 3))
		put(b, 0xf0);
	if (row->props & X86_P_REP && !one_in(r, 3))
		put(b, 0xf2 + random_below(r, 2));
	if (pp == X86_PP_66 || (pp >= X86_PP_F3 && one_in(r, 4)))
		put(b, 0x66);
	if (pp >= X86_PP_F3)
		put(b, pp == X86_PP_F3 ? 0xf3 : 0xf2);
	if (f->mask & X86_K_RW)
		rex = (rex & ~8u) | (rex_w ? 8 : 0);
	if (rex_w || f->mask & X86_K_REXB || one_in(r, 2))
		put(b, rex);
}

static void put_legacy_opcode(
	struct bytes *b, const struct x86_row *row, const struct x86_form *f, struct diff_random *r)
{
	if (row->map >= 1)
		put(b, 0x0f);
	if (row->map >= 2)
		put(b, row->map == 2 ? 0x38 : 0x3a);
	put(b, (f->group & 0xffu) + (f->flags & X86_FORM_Z ? random_below(r, 8) : 0));
}

/* vvvv is given inverted; 1111 where the row has no such operand, found by trial. */
static void put_vex(struct bytes *b, const struct x86_row *row, const struct x86_form *f,
	bool no_vvvv, struct diff_random *r)
{
	unsigned rxb = random_below(r, 8), vvvv = no_vvvv ? 15 : random_below(r, 16);
	unsigned l = f->mask & X86_K_L ? (f->value & X86_K_L ? 4 : 0) : random_below(r, 2) * 4;
	unsigned w = random_below(r, 2), pp = (f->value & X86_K_PP) >> X86_K_PP_SHIFT;

	if (f->mask & (X86_K_W | X86_K_RW))
		w = f->value & (X86_K_W | X86_K_RW) ? 1 : 0;
	if (row->map == 1 && w == 0 && one_in(r, 2)) {
		put(b, 0xc5);
		put(b, (rxb & 1) << 7 | vvvv << 3 | l | pp);
	} else {
		put(b, 0xc4);
		put(b, rxb << 5 | row->map);
		put(b, w << 7 | vvvv << 3 | l | pp);
	}
	put(b, f->group & 0xffu);
}

/* ModRM, SIB and displacement; the fields that the row fixes stay. */
static void put_modrm(struct bytes *b, const struct x86_form *f, bool memory, struct diff_random *r)
{
	unsigned fixed = f->mask & X86_K_MODRM, mod = memory ? random_below(r, 3) : 3, modrm,
		 sib = 0;

	modrm = mod << 6 | random_below(r, 64);
	if (memory && one_in(r, 3))
		modrm = (modrm & ~7u) | 4; /* more SIB bytes */
	modrm = (modrm & ~fixed) | (f->value & fixed);
	put(b, modrm);
	if (!memory)
		return;
	mod = modrm >> 6;
	if ((modrm & 7) == 4) {
		sib = random_below(r, 256);
		put(b, sib);
	}
	if (mod == 1)
		put_random(b, r, 1);
	if (mod == 2)
		put_random(b, r, 4);
	if (mod == 0 && ((modrm & 7) == 5 || ((modrm & 7) == 4 && (sib & 7) == 5))) {
		b->disp_at = b->len;
		put_random(b, r, 4);
	}
}

static void draw(struct bytes *b, const struct x86_row *row, bool memory, bool no_vvvv,
	struct diff_random *r)
{
	const struct x86_form *f = &x86_forms[row->id];

	b->len = b->disp_at = 0;
	if (row->props & X86_P_VEX) {
		put_vex(b, row, f, no_vvvv, r);
	} else {
		put_legacy_prefixes(b, row, f, memory, r);
		put_legacy_opcode(b, row, f, r);
	}
	if (f->flags & X86_FORM_MODRM)
		put_modrm(b, f, memory, r);
	if (row->props & X86_P_MOFFS)
		b->disp_at = b->len;
	put_random(b, r, 8); /* immediate, as much of it as there is */
	put_random(b, r, 8);
}

static bool decodes(const struct bytes *b, const struct x86_row *row, struct x86_insn *insn)
{
	return x86_decode(insn, b->byte, X86_INSN_MAX, 64) == X86_DECODE_OK && insn->row == row;
}

/* No base register: the address has to be in the encoding. */
static bool fix_address(
	struct bytes *b, struct diff_form *form, const struct x86_row *row, struct diff_random *r)
{
	uint64_t disp;

	form->address = DIFF_DATA + MARGIN +
			(random_below(r, DIFF_WRITABLE - 2 * MARGIN) & ~(one_in(r, 4) ? 0u : 63u));
	if (row->props & X86_P_VSIB)
		form->address = DIFF_DATA + DIFF_WRITABLE / 2;
	disp = form->address;
	if (form->insn.mem.base == X86_RIP_BASE)
		disp -= DIFF_RIP + form->insn.len;
	memcpy(b->byte + b->disp_at, &disp, row->props & X86_P_MOFFS ? form->insn.addrsize : 4);
	return decodes(b, row, &form->insn);
}

/* Near targets stay inside the code page. */
static bool fix_target(struct bytes *b, struct diff_form *form, const struct x86_row *row)
{
	const struct x86_insn *insn = &form->insn;
	int32_t rel;

	if (insn->op[0].kind != X86_OK_REL)
		return true;
	if (insn->imm_size == 4) {
		rel = (int32_t)((uint32_t)insn->imm % 0x600) - 0x300;
		memcpy(b->byte + insn->len - 4, &rel, 4);
		if (!decodes(b, row, &form->insn))
			return false;
	}
	return insn->imm < -(int64_t)insn->len || insn->imm >= 0; /* not into itself */
}

static bool accept(struct bytes *b, struct diff_form *form, const struct x86_row *row, bool memory,
	struct diff_random *r)
{
	const struct x86_insn *insn = &form->insn;
	bool has_base;

	if (!decodes(b, row, &form->insn))
		return false;
	if (insn->has_mem != memory && row->class == X86_NATIVE)
		return false;
	if (row->class == X86_SYSTEM && insn->has_mem && insn->op[1].kind == X86_OK_GPR &&
		(insn->op[1].reg == insn->mem.base || insn->op[1].reg == insn->mem.index))
		return false; /* a bit number that is an address, too */
	has_base = insn->mem.base != X86_NOREG && insn->mem.base != X86_RIP_BASE;
	form->moves_address = insn->has_mem && has_base;
	if (form->moves_address && insn->mem.base == insn->mem.index && !(row->props & X86_P_VSIB))
		return false;
	if (insn->has_mem && !has_base && b->disp_at != 0 && !fix_address(b, form, row, r))
		return false;
	return row->class != X86_BRANCH || fix_target(b, form, row);
}

bool form_make(
	struct diff_form *form, const struct x86_row *row, bool memory, struct diff_random *r)
{
	struct bytes b;

	for (unsigned i = 0; i < ATTEMPTS; i++) {
		draw(&b, row, memory, i % 2, r);
		if (accept(&b, form, row, memory, r))
			return true;
	}
	return false;
}
