/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * struct x86_insn back to bytes, for 64-bit mode: the same row with other general registers and
 * another memory operand.  Prefixes are made anew from what they meant, so those without meaning
 * vanish, and 16-bit and 32-bit code gets the operand-size prefix where 64-bit mode needs it.
 */
#include "x86/insn_table.h"

#define REX   0x40u
#define REX_W 8u
#define REX_R 4u
#define REX_X 2u
#define REX_B 1u

struct encoder {
	const struct x86_insn *insn;
	const struct x86_remap *map;
	const struct x86_form *form;
	uint8_t *out; /* next byte */
	uint8_t opcode;
	uint8_t rex;	 /* REX_* needed */
	bool rex_needed; /* SPL, BPL, SIL, DIL */
	bool rex_barred; /* AH, CH, DH, BH */
	bool impossible; /* the second byte of RSP and above */
	bool modrm;
	uint8_t reg, rm; /* ModRM.reg, and .rm where it is a register, low three bits */
	bool mem;
	uint8_t vvvv;
};

static void put(struct encoder *e, unsigned byte)
{
	*e->out++ = (uint8_t)byte;
}

/* ---- operands ---- */

/* The number to be encoded for a register operand. */
static unsigned mapped(struct encoder *e, const struct x86_operand *op)
{
	unsigned reg = op->reg;

	if (op->kind != X86_OK_GPR)
		return reg;
	reg = e->map->gpr[reg];
	if (op->size == 1) {
		if (op->high) {
			e->rex_barred = true;
			e->impossible |= reg >= 4;
			return reg + 4;
		}
		e->rex_needed |= reg >= 4;
	}
	return reg;
}

static void place(struct encoder *e, const struct x86_operand *op)
{
	unsigned reg;

	if (op->field == X86_OF_IMPLICIT)
		return;
	if (op->kind == X86_OK_MEM) {
		e->mem = true;
		return;
	}
	reg = mapped(e, op);
	switch ((enum x86_operand_field)op->field) {
	case X86_OF_REG:
		e->reg = reg & 7;
		e->rex |= reg & 8 ? REX_R : 0;
		break;
	case X86_OF_VVVV:
		e->vvvv = (uint8_t)reg;
		break;
	case X86_OF_OPCODE:
	case X86_OF_RM:
		e->rm = reg & 7;
		e->rex |= reg & 8 ? REX_B : 0;
		break;
	case X86_OF_IS4:
	case X86_OF_IMPLICIT:
		break;
	}
}

/* ---- opcodes that 64-bit mode lacks, or that cannot take other registers ---- */

/* A register in the opcode moves to ModRM.rm; /digit or the other register goes to ModRM.reg. */
static void rewrite(struct encoder *e)
{
	unsigned opcode = e->insn->opcode;

	if (e->insn->row->map != X86_MAP_OP || e->insn->row->props & X86_P_VEX)
		return;
	switch (opcode) {
	case 0x40 ... 0x4f: /* INC, DEC: FF /0, FF /1 */
		e->opcode = 0xff;
		e->reg = opcode >> 3 & 1;
		e->modrm = true;
		break;
	case 0x82: /* the same as 80 */
		e->opcode = 0x80;
		break;
	case 0x90 ... 0x97: /* XCHG with rAX: 90 would be NOP for one register */
		if (!(e->form->flags & X86_FORM_Z))
			break;
		e->opcode = 0x87;
		e->reg = X86_RAX;
		e->modrm = true;
		break;
	case 0xa0 ... 0xa3: /* MOV with an absolute address: 8A, 8B, 88, 89 */
		e->opcode = (uint8_t)(0x88 | (opcode & 1) | (opcode & 2 ? 0 : 2));
		e->modrm = true;
		break;
	default:
		break;
	}
}

/* ---- prefixes ---- */

static bool follows_opsize(const struct x86_form *form)
{
	for (unsigned i = 0; i < X86_FORM_OPERANDS && form->spec[i]; i++) {
		const struct x86_spec *spec = &x86_specs[form->spec[i]];

		if (spec->width == X86_W_v || spec->width == X86_W_z)
			return true;
	}
	return false;
}

/* CBW and CWD have no operands, but depend on the operand size all the same. */
static bool needs_opsize(const struct encoder *e)
{
	const struct x86_insn *insn = e->insn;

	if (insn->opsize != 2)
		return false;
	return follows_opsize(e->form) || insn->row->mnem == X86_I_cbw ||
	       insn->row->mnem == X86_I_cwd;
}

static bool needs_w(const struct encoder *e)
{
	const struct x86_insn *insn = e->insn;

	if (insn->row->props & X86_P_VEX)
		return insn->vex_w && (insn->code_size == 64 || e->form->mask & X86_K_W);
	return insn->rex & REX_W;
}

static void put_vex(struct encoder *e)
{
	const struct x86_insn *insn = e->insn;
	unsigned pp = insn->pp == 0x66	 ? X86_PP_66
		      : insn->pp == 0xf3 ? X86_PP_F3
		      : insn->pp == 0xf2 ? X86_PP_F2
					 : X86_PP_NP;
	unsigned last = (~e->vvvv & 0xfu) << 3 | (unsigned)insn->vex_l << 2 | pp;

	if (insn->row->map == X86_MAP_0F && !(e->rex & (REX_W | REX_X | REX_B))) {
		put(e, 0xc5);
		put(e, (e->rex & REX_R ? 0 : 0x80) | last);
		return;
	}
	put(e, 0xc4);
	put(e, (~(unsigned)e->rex & 7) << 5 | insn->row->map);
	put(e, (e->rex & REX_W ? 0x80 : 0) | last);
}

static void put_legacy(struct encoder *e)
{
	const struct x86_insn *insn = e->insn;

	if (insn->lock)
		put(e, 0xf0);
	if (needs_opsize(e) || insn->pp == 0x66)
		put(e, 0x66);
	if (insn->pp == 0xf3 || insn->pp == 0xf2)
		put(e, insn->pp);
	if (e->rex || e->rex_needed)
		put(e, REX | e->rex);
	if (insn->row->map != X86_MAP_OP)
		put(e, 0x0f);
	if (insn->row->map >= X86_MAP_0F38)
		put(e, insn->row->map == X86_MAP_0F38 ? 0x38 : 0x3a);
}

/* ---- behind the opcode ---- */

/* [mem_base + mem_index + mem_disp]; RSP and R12 need a SIB byte, RBP and R13 a displacement. */
static void put_memory(struct encoder *e)
{
	int32_t disp = e->map->mem_disp;
	unsigned base = e->map->mem_base & 7u, index = e->map->mem_index;
	unsigned mod = disp == 0 && base != X86_RBP ? 0 : disp == (int8_t)disp ? 1 : 2;

	put(e, mod << 6 | (unsigned)e->reg << 3 | (index ? X86_RSP : base));
	if (index || base == X86_RSP)
		put(e, (index ? (index - 1) & 7 : X86_RSP) << 3 | base);
	if (mod == 1)
		put(e, (uint8_t)disp);
	if (mod == 2) {
		__builtin_memcpy(e->out, &disp, sizeof(disp));
		e->out += sizeof(disp);
	}
}

/* All immediates stand at the end, so they are copied as they are. */
static void put_immediates(struct encoder *e)
{
	const struct x86_insn *insn = e->insn;
	const uint8_t *end = insn->bytes + insn->len;
	unsigned size = insn->imm_size;

	for (unsigned i = 0; i < insn->nops; i++)
		if (insn->op[i].field == X86_OF_IS4) {
			put(e, (unsigned)insn->op[i].reg << 4 | (end[-1] & 0xfu));
			return;
		}
	if (insn->nops >= 2 && insn->op[insn->nops - 2].kind == X86_OK_IMM)
		size++; /* EXTRQ and INSERTQ have two bytes */
	for (const uint8_t *p = end - size; p < end; p++)
		put(e, *p);
}

unsigned x86_encode(const struct x86_insn *insn, const struct x86_remap *map, uint8_t out[16])
{
	struct encoder e = {
		.insn = insn,
		.map = map,
		.form = &x86_forms[insn->row->id],
		.out = out,
		.opcode = insn->opcode,
		.modrm = insn->has_modrm,
		.reg = insn->modrm >> 3 & 7,
		.rm = insn->modrm & 7,
	};

	if (insn->row->class != X86_NATIVE)
		return 0;
	rewrite(&e);
	for (unsigned i = 0; i < insn->nops; i++)
		place(&e, &insn->op[i]);
	if (e.mem)
		e.rex |= (map->mem_base & 8 ? REX_B : 0) |
			 (map->mem_index && (map->mem_index - 1) & 8 ? REX_X : 0);
	e.rex |= needs_w(&e) ? REX_W : 0;
	if (e.impossible || (e.rex_barred && (e.rex || e.rex_needed)))
		return 0;
	if (insn->row->props & X86_P_VEX)
		put_vex(&e);
	else
		put_legacy(&e);
	put(&e, e.form->flags & X86_FORM_Z && !e.modrm ? (e.opcode & 0xf8u) | e.rm : e.opcode);
	if (e.modrm && e.mem)
		put_memory(&e);
	else if (e.modrm)
		put(&e, 0xc0u | (unsigned)e.reg << 3 | e.rm);
	put_immediates(&e);
	return (unsigned)(e.out - out);
}
