/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Bytes to struct x86_insn.  Prefixes and opcode bytes lead to a slot of x86_index; what else
 * chooses an instruction (ModRM, mandatory prefix, W, L, mode) is gathered into one key, which the
 * few rows of the opcode are compared with; the row's operands then say what follows.
 *
 * Where processors differ, Intel's behaviour is taken: the operand-size prefix does not shorten
 * near branches in 64-bit mode (SDM vol. 2, Jcc; AMD honours it, APM vol. 3, 1.2.7), and far
 * pointers with REX.W have a 64-bit offset.
 */
#include "x86/insn_table.h"

/* VEX.R, X and B in the places they have in REX, not inverted any more. */
#define EXT_R 4u
#define EXT_X 2u
#define EXT_B 1u
#define REX_W 8u

struct decoder {
	struct x86_insn *insn;
	const uint8_t *next, *end;
	enum x86_decode_result at_end; /* what running out of bytes means */
	const struct x86_form *form;
	bool long_mode; /* 64-bit code */
	bool opsize_prefix;
	bool addrsize_prefix;
	bool wide; /* REX.W, or VEX.W in 64-bit mode */
	bool vex;
	uint8_t repeat; /* last of F3 and F2 */
	uint8_t pp;	/* enum x86_pp */
	uint8_t map;	/* enum x86_map */
	uint8_t ext;	/* EXT_* */
	uint8_t vvvv;
	uint8_t imms;	/* immediates read so far */
	uint8_t fields; /* used by operands: bits by enum x86_operand_field */
	uint8_t reg[6]; /* what each field holds, by enum x86_operand_field */
	uint16_t key;	/* X86_K_* */
};

/* ---- bytes ---- */

static inline bool take_byte(struct decoder *d, uint8_t *byte)
{
	if (d->next == d->end)
		return false;
	*byte = *d->next++;
	return true;
}

/* Little-endian, sign-extended. */
static inline bool take(struct decoder *d, unsigned size, int64_t *value)
{
	int16_t w;
	int32_t l;

	if ((size_t)(d->end - d->next) < size)
		return false;
	switch (size) {
	case 1:
		*value = (int8_t)*d->next;
		break;
	case 2:
		__builtin_memcpy(&w, d->next, sizeof(w));
		*value = w;
		break;
	case 4:
		__builtin_memcpy(&l, d->next, sizeof(l));
		*value = l;
		break;
	default:
		__builtin_memcpy(value, d->next, sizeof(*value));
	}
	d->next += size;
	return true;
}

/* ---- prefixes ---- */

enum prefix {
	PREFIX_NONE,
	PREFIX_SEG, /* + enum x86_segreg */
	PREFIX_OPSIZE = PREFIX_SEG + 6,
	PREFIX_ADDRSIZE,
	PREFIX_LOCK,
	PREFIX_REPEAT
};

static const uint8_t prefix_of[256] = {
	[0x26] = PREFIX_SEG + X86_ES,
	[0x2e] = PREFIX_SEG + X86_CS,
	[0x36] = PREFIX_SEG + X86_SS,
	[0x3e] = PREFIX_SEG + X86_DS,
	[0x64] = PREFIX_SEG + X86_FS,
	[0x65] = PREFIX_SEG + X86_GS,
	[0x66] = PREFIX_OPSIZE,
	[0x67] = PREFIX_ADDRSIZE,
	[0xf0] = PREFIX_LOCK,
	[0xf2] = PREFIX_REPEAT,
	[0xf3] = PREFIX_REPEAT,
};

static void apply_prefix(struct decoder *d, uint8_t byte)
{
	unsigned prefix = prefix_of[byte];

	switch (prefix) {
	case PREFIX_OPSIZE:
		d->opsize_prefix = true;
		break;
	case PREFIX_ADDRSIZE:
		d->addrsize_prefix = true;
		break;
	case PREFIX_LOCK:
		d->insn->lock = true;
		break;
	case PREFIX_REPEAT:
		d->repeat = byte;
		break;
	default:
		/* 64-bit mode ignores all but FS and GS (SDM vol. 2, 2.1.1). */
		if (!d->long_mode || prefix >= PREFIX_SEG + X86_FS)
			d->insn->seg_override = (uint8_t)(prefix - PREFIX_SEG);
	}
}

/* Up to and including the first opcode byte. REX counts only right before it. */
static bool take_prefixes(struct decoder *d, uint8_t *opcode)
{
	uint8_t byte;

	for (;;) {
		if (!take_byte(d, &byte))
			return false;
		if (d->long_mode && (byte & 0xf0) == 0x40) {
			d->insn->rex = byte;
			continue;
		}
		if (!prefix_of[byte])
			break;
		d->insn->rex = 0;
		apply_prefix(d, byte);
	}
	*opcode = byte;
	return true;
}

/* ---- opcode ---- */

/* C4 and C5 begin a VEX prefix unless they are LES and LDS (SDM vol. 2, 2.3.5). */
static bool begins_vex(const struct decoder *d, uint8_t opcode)
{
	if ((opcode & 0xfe) != 0xc4)
		return false;
	return d->long_mode || (d->next != d->end && *d->next >= 0xc0);
}

static enum x86_decode_result take_vex(struct decoder *d, uint8_t first, uint8_t *opcode)
{
	uint8_t rxb, last;

	if (!take_byte(d, &rxb))
		return d->at_end;
	last = rxb;
	if (first == 0xc5) {
		rxb = (rxb & 0x80) | 0x60 | X86_MAP_0F;
		last &= 0x7f;
	} else if (!take_byte(d, &last)) {
		return d->at_end;
	}
	if (d->insn->lock || d->opsize_prefix || d->repeat || d->insn->rex)
		return X86_DECODE_UD;
	if ((rxb & 0x1f) < X86_MAP_0F || (rxb & 0x1f) > X86_MAP_0F3A)
		return X86_DECODE_UD;
	d->vex = true;
	d->map = X86_MAP_VEX + (rxb & 0x1f) - X86_MAP_0F;
	d->ext = (uint8_t)(~rxb >> 5) & 7;
	d->vvvv = (uint8_t)(~last >> 3) & 0xf;
	d->pp = last & 3;
	d->insn->vex_w = last >> 7;
	d->insn->vex_l = (last >> 2) & 1;
	/* Elsewhere R and X are known to be clear, and B and the top bit of vvvv are ignored. */
	if (!d->long_mode)
		d->ext = 0;
	d->wide = d->long_mode && d->insn->vex_w;
	return take_byte(d, opcode) ? X86_DECODE_OK : d->at_end;
}

static enum x86_decode_result take_legacy(struct decoder *d, uint8_t *opcode)
{
	uint8_t rex = d->insn->rex;

	d->ext = rex & 7;
	d->wide = rex & REX_W;
	d->pp = d->repeat	   ? (d->repeat == 0xf3 ? X86_PP_F3 : X86_PP_F2)
		: d->opsize_prefix ? X86_PP_66
				   : X86_PP_NP;
	d->map = X86_MAP_OP;
	if (*opcode != 0x0f)
		return X86_DECODE_OK;
	d->map = X86_MAP_0F;
	if (!take_byte(d, opcode))
		return d->at_end;
	if (*opcode != 0x38 && *opcode != 0x3a)
		return X86_DECODE_OK;
	d->map = *opcode == 0x38 ? X86_MAP_0F38 : X86_MAP_0F3A;
	return take_byte(d, opcode) ? X86_DECODE_OK : d->at_end;
}

static void gather_key(struct decoder *d)
{
	const struct x86_insn *insn = d->insn;

	d->key = (uint16_t)(d->pp << X86_K_PP_SHIFT);
	if (insn->has_modrm)
		d->key |= (uint16_t)(insn->modrm | (insn->modrm < 0xc0 ? X86_K_MEM : 0));
	d->key |= (uint16_t)((insn->vex_w ? X86_K_W : 0) | (d->wide ? X86_K_RW : 0) |
			     (insn->vex_l ? X86_K_L : 0) | (d->long_mode ? X86_K_64 : 0) |
			     (d->ext & EXT_B ? X86_K_REXB : 0));
}

/* The last matching row of the opcode: see insn.def. */
static enum x86_decode_result find_row(struct decoder *d, uint8_t opcode)
{
	unsigned entry = x86_index[d->map * 256u + opcode];
	const struct x86_form *form;
	unsigned group;

	if (!entry)
		return X86_DECODE_UD;
	if (entry & X86_INDEX_MODRM) {
		if (!take_byte(d, &d->insn->modrm))
			return d->at_end;
		d->insn->has_modrm = true;
	}
	gather_key(d);
	form = &x86_forms[(entry & X86_INDEX_ROW) - 1];
	group = form->group;
	while ((d->key & form->mask) != form->value)
		if (form == x86_forms || (--form)->group != group)
			return X86_DECODE_UD;
	d->form = form;
	d->insn->row = &x86_rows[form - x86_forms];
	return X86_DECODE_OK;
}

/* ---- sizes ---- */

/* Without a meaning as mandatory prefix, 66 is the operand size. */
static unsigned operand_size(const struct decoder *d)
{
	uint32_t props = d->insn->row->props;
	bool toggled = d->opsize_prefix;

	if ((d->form->mask & X86_K_PP) == X86_K_PP &&
		(d->form->value & X86_K_PP) == X86_PP_66 << X86_K_PP_SHIFT)
		toggled = false;
	if (!d->long_mode)
		return (d->insn->code_size == 16) == toggled ? 4 : 2;
	if (d->wide || props & X86_P_F64)
		return props & X86_P_N64 ? 4 : 8;
	return toggled ? 2 : props & X86_P_D64 ? 8 : 4;
}

static unsigned address_size(const struct decoder *d)
{
	if (d->long_mode)
		return d->addrsize_prefix ? 4 : 8;
	return (d->insn->code_size == 16) == d->addrsize_prefix ? 4 : 2;
}

/* Everything that a width can depend on, worked out for each combination. */
#define WIDTHS(v, wide, is64, l)                                                                   \
	{                                                                                          \
		[X86_W_b] = 1, [X86_W_w] = 2, [X86_W_d] = 4, [X86_W_q] = 8, [X86_W_t] = 10,        \
		[X86_W_dq] = 16, [X86_W_qq] = 32, [X86_W_fx] = 512, [X86_W_v] = (v),               \
		[X86_W_z] = (v) == 2 ? 2 : 4, [X86_W_y] = (wide) ? 8 : 4,                          \
		[X86_W_n] = (is64) ? 8 : 4, [X86_W_x] = 16 << (l), [X86_W_hx] = 8 << (l),          \
		[X86_W_qx] = 4 << (l), [X86_W_ex] = 2 << (l), [X86_W_a] = (v) == 2 ? 4 : 8,        \
		[X86_W_p] = (v) + 2, [X86_W_s] = (is64) ? 10 : 6,                                  \
		[X86_W_env] = (v) == 2 ? 14 : 28, [X86_W_save] = (v) == 2 ? 94 : 108,              \
	}
#define WIDTHS_L(v, wide, is64)                                                                    \
	{                                                                                          \
		WIDTHS(v, wide, is64, 0), WIDTHS(v, wide, is64, 1)                                 \
	}
#define WIDTHS_64(v, wide)                                                                         \
	{                                                                                          \
		WIDTHS_L(v, wide, 0), WIDTHS_L(v, wide, 1)                                         \
	}
#define WIDTHS_W(v)                                                                                \
	{                                                                                          \
		WIDTHS_64(v, 0), WIDTHS_64(v, 1)                                                   \
	}

static const uint16_t *widths(const struct decoder *d)
{
	static const uint16_t table[3][2][2][2][X86_W_COUNT] = {
		WIDTHS_W(2), WIDTHS_W(4), WIDTHS_W(8)};

	return table[d->insn->opsize >> 2][d->wide][d->long_mode][d->insn->vex_l];
}

/* ---- memory operands ---- */

static bool take_memory16(struct decoder *d, struct x86_mem *mem)
{
	static const uint8_t base[8] = {
		X86_RBX, X86_RBX, X86_RBP, X86_RBP, X86_RSI, X86_RDI, X86_RBP, X86_RBX};
	static const uint8_t index[8] = {
		X86_RSI, X86_RDI, X86_RSI, X86_RDI, X86_NOREG, X86_NOREG, X86_NOREG, X86_NOREG};
	unsigned mod = d->insn->modrm >> 6, rm = d->insn->modrm & 7;

	mem->base = base[rm];
	mem->index = index[rm];
	if (mod == 0 && rm == 6) {
		mem->base = X86_NOREG;
		return take(d, 2, &mem->disp);
	}
	return mod == 0 || take(d, mod, &mem->disp);
}

static bool take_sib(struct decoder *d, struct x86_mem *mem)
{
	uint8_t sib;

	if (!take_byte(d, &sib))
		return false;
	mem->scale = sib >> 6;
	mem->index = ((sib >> 3) & 7) | (d->ext & EXT_X ? 8 : 0);
	if (mem->index == X86_RSP && !(d->insn->row->props & X86_P_VSIB))
		mem->index = X86_NOREG;
	mem->base = (sib & 7) | (d->ext & EXT_B ? 8 : 0);
	if ((sib & 7) == 5 && d->insn->modrm < 0x40)
		mem->base = X86_NOREG;
	return true;
}

static bool take_memory32(struct decoder *d, struct x86_mem *mem)
{
	unsigned mod = d->insn->modrm >> 6, rm = d->insn->modrm & 7;

	if (rm == 4) {
		if (!take_sib(d, mem))
			return false;
	} else if (rm == 5 && mod == 0) {
		mem->base = d->long_mode ? X86_RIP_BASE : X86_NOREG;
		return take(d, 4, &mem->disp);
	} else {
		mem->base = (uint8_t)(rm | (d->ext & EXT_B ? 8 : 0));
	}
	if (mod == 1)
		return take(d, 1, &mem->disp);
	return (mod == 0 && mem->base != X86_NOREG) || take(d, 4, &mem->disp);
}

static enum x86_decode_result take_memory(struct decoder *d)
{
	struct x86_insn *insn = d->insn;
	struct x86_mem *mem = &insn->mem;
	bool vsib = insn->row->props & X86_P_VSIB;

	if (vsib && (insn->addrsize == 2 || (insn->modrm & 7) != 4))
		return X86_DECODE_UD;
	if (!(insn->addrsize == 2 ? take_memory16(d, mem) : take_memory32(d, mem)))
		return d->at_end;
	insn->has_mem = true;
	if (mem->base < 16)
		insn->gpr_read |= (uint16_t)(1u << mem->base);
	if (mem->index < 16 && !vsib)
		insn->gpr_read |= (uint16_t)(1u << mem->index);
	if (insn->seg_override == X86_NOREG && (mem->base == X86_RSP || mem->base == X86_RBP))
		mem->seg = X86_SS;
	return X86_DECODE_OK;
}

/* ---- operands ---- */

static void set_memory(struct decoder *d, struct x86_operand *op, unsigned size)
{
	struct x86_mem *mem = &d->insn->mem;

	op->kind = X86_OK_MEM;
	op->size = size < 256 ? (uint8_t)size : 0;
	mem->access = op->access;
	mem->size = d->insn->row->props & X86_P_NOMEM ? 0 : (uint16_t)size;
}

/* Writes of less than 32 bits keep the rest of the register, so they read it too. */
static void set_gpr(struct decoder *d, struct x86_operand *op, unsigned reg)
{
	struct x86_insn *insn = d->insn;

	op->kind = X86_OK_GPR;
	if (op->size == 1 && !insn->rex && reg >= 4) {
		op->high = true;
		reg &= 3;
	}
	op->reg = (uint8_t)reg;
	if (op->access & X86_RD || (op->access & X86_WR && op->size < 4))
		insn->gpr_read |= (uint16_t)(1u << reg);
	if (op->access & X86_WR)
		insn->gpr_write |= (uint16_t)(1u << reg);
}

static bool take_immediate(struct decoder *d, struct x86_operand *op, unsigned kind)
{
	struct x86_insn *insn = d->insn;
	int64_t value;

	op->kind = (uint8_t)kind;
	if (!take(d, op->size, &value))
		return false;
	if (d->imms++) {
		insn->imm2 = (uint32_t)value & (op->size == 1 ? 0xffu : 0xffffu);
		return true;
	}
	insn->imm = value;
	insn->imm_size = op->size;
	return true;
}

static bool take_far_pointer(struct decoder *d, struct x86_operand *op)
{
	struct x86_operand sel = {.size = 2};

	return take_immediate(d, op, X86_OK_FAR) && take_immediate(d, &sel, X86_OK_FAR);
}

static bool take_is4(struct decoder *d, struct x86_operand *op)
{
	uint8_t byte;

	if (!take_byte(d, &byte))
		return false;
	d->insn->imm = (int8_t)byte;
	d->insn->imm_size = 1;
	op->kind = op->size == 32 ? X86_OK_YMM : X86_OK_XMM;
	op->reg = byte >> 4 & (d->long_mode ? 0xf : 7);
	return true;
}

static bool take_absolute(struct decoder *d, struct x86_operand *op)
{
	struct x86_insn *insn = d->insn;

	insn->has_mem = true;
	op->field = X86_OF_RM; /* where the encoder puts it */
	set_memory(d, op, op->size);
	return take(d, insn->addrsize, &insn->mem.disp);
}

/* DS:rSI, ES:rDI and the like: size and source segment are in `mem`, but has_mem is not set. */
static void set_string(struct decoder *d, struct x86_operand *op, const struct x86_spec *spec)
{
	struct x86_mem *mem = &d->insn->mem;
	bool first = mem->size == 0;

	op->reg = spec->reg;
	set_memory(d, op, op->size);
	if (spec->method == X86_M_DESTINATION && first)
		mem->seg = X86_ES;
	if (spec->method == X86_M_SOURCE)
		mem->seg = d->insn->seg_override == X86_NOREG ? X86_DS : d->insn->seg_override;
}

static void set_masked_store(struct decoder *d, struct x86_operand *op, const struct x86_spec *spec)
{
	set_memory(d, op, op->size);
	d->insn->has_mem = true;
	d->insn->mem.base = spec->reg;
}

/* The register that each field of the encoding names. */
static void gather_registers(struct decoder *d)
{
	const struct x86_insn *insn = d->insn;
	unsigned b = d->ext & EXT_B ? 8 : 0, r = d->ext & EXT_R ? 8 : 0;

	d->reg[X86_OF_REG] = (uint8_t)((insn->modrm >> 3 & 7u) | r);
	d->reg[X86_OF_RM] = (uint8_t)((insn->modrm & 7u) | b);
	d->reg[X86_OF_VVVV] = d->long_mode ? d->vvvv : d->vvvv & 7;
	d->reg[X86_OF_OPCODE] = (uint8_t)((insn->opcode & 7u) | b);
}

/* A register that is not a general one; false if there is no such register. */
static bool set_register(struct x86_operand *op, unsigned method, unsigned reg)
{
	op->reg = reg & 7;
	switch ((enum x86_method)method) {
	case X86_M_VECTOR:
		op->kind = op->size == 32 ? X86_OK_YMM : X86_OK_XMM;
		op->reg = (uint8_t)reg;
		return true;
	case X86_M_MMX:
		op->kind = X86_OK_MMX;
		return true;
	case X86_M_ST:
		op->kind = X86_OK_ST;
		return true;
	case X86_M_SEG:
		op->kind = X86_OK_SEG;
		return op->reg <= X86_GS &&
		       !(op->reg == X86_CS && op->access & X86_WR && op->field == X86_OF_REG);
	case X86_M_CR: /* 0, 2, 3, 4 and 8 (SDM vol. 2, MOV to control registers) */
		op->kind = X86_OK_CR;
		op->reg = (uint8_t)reg;
		return 0x11du >> reg & 1;
	case X86_M_DR:
		op->kind = X86_OK_DR;
		return reg < 8;
	default:
		return false; /* memory only */
	}
}

/* Operands that are neither registers nor in ModRM; false if bytes are missing. */
static bool take_other(struct decoder *d, struct x86_operand *op, const struct x86_spec *spec)
{
	switch ((enum x86_method)spec->method) {
	case X86_M_IMM:
		return take_immediate(d, op, X86_OK_IMM);
	case X86_M_REL:
		return take_immediate(d, op, X86_OK_REL);
	case X86_M_FAR:
		return take_far_pointer(d, op);
	case X86_M_IS4:
		return take_is4(d, op);
	case X86_M_OFFSET:
		return take_absolute(d, op);
	case X86_M_MASKED:
		set_masked_store(d, op, spec);
		return true;
	case X86_M_ONE:
		op->kind = X86_OK_IMM;
		d->insn->imm = 1;
		return true;
	default:
		set_string(d, op, spec);
		return true;
	}
}

/* Fills one operand, whose access, field and width are set. */
static enum x86_decode_result take_operand(
	struct decoder *d, struct x86_operand *op, const struct x86_spec *spec)
{
	unsigned reg = op->field == X86_OF_IMPLICIT ? spec->reg : d->reg[op->field];

	if (spec->method == X86_M_GPR) {
		/* To the encoder the register of A0..A3 is one of ModRM, as it will be there. */
		if (d->insn->row->props & X86_P_MOFFS)
			op->field = X86_OF_REG;
		set_gpr(d, op, reg);
		return X86_DECODE_OK;
	}
	if (spec->method <= X86_M_VSIB)
		return set_register(op, spec->method, reg) ? X86_DECODE_OK : X86_DECODE_UD;
	return take_other(d, op, spec) ? X86_DECODE_OK : d->at_end;
}

static enum x86_decode_result take_operands(struct decoder *d)
{
	struct x86_insn *insn = d->insn;
	const struct x86_form *form = d->form;
	const uint16_t *width = widths(d);
	bool memory = insn->has_modrm && insn->modrm < 0xc0 && !(form->flags & X86_FORM_NOMOD);
	enum x86_decode_result res;
	unsigned i;

	if (memory) {
		res = take_memory(d);
		if (res != X86_DECODE_OK)
			return res;
	}
	gather_registers(d);
	for (i = 0; i < X86_FORM_OPERANDS && form->spec[i]; i++) {
		const struct x86_spec *spec = &x86_specs[form->spec[i]];
		struct x86_operand *op = &insn->op[i];

		*op = (struct x86_operand){
			.field = spec->field,
			.access = form->access >> (2 * i) & 3,
			.size = (uint8_t)width[spec->width],
		};
		d->fields |= (uint8_t)(1u << spec->field);
		if (memory && spec->field == X86_OF_RM) {
			set_memory(d, op, width[spec->mem_width]);
			continue;
		}
		res = take_operand(d, op, spec);
		if (res != X86_DECODE_OK)
			return res;
	}
	insn->nops = (uint8_t)i;
	for (; i < X86_OPERANDS; i++)
		insn->op[i].kind = X86_OK_NONE;
	return X86_DECODE_OK;
}

/* ---- what the parts together must not be ---- */

/* Destination, mask and index of a gather are three registers (SDM vol. 2, VGATHERDPS). */
static bool gather_overlaps(const struct x86_insn *insn)
{
	uint8_t dst = insn->op[0].reg, mask = insn->op[2].reg, index = insn->mem.index;

	return dst == mask || dst == index || mask == index;
}

static bool is_forbidden(const struct decoder *d)
{
	const struct x86_insn *insn = d->insn;
	uint32_t props = insn->row->props;

	if (insn->lock && !(props & X86_P_LOCK && insn->op[0].kind == X86_OK_MEM))
		return true;
	if (d->vex && d->vvvv && !(d->fields & 1u << X86_OF_VVVV))
		return true;
	return props & X86_P_VSIB && gather_overlaps(insn);
}

static void add_implicit(struct decoder *d)
{
	struct x86_insn *insn = d->insn;
	const struct x86_row *row = insn->row;

	insn->gpr_read |= row->gpr_read;
	insn->gpr_write |= row->gpr_write;
	/* The implicit 16-bit writes, MUL's, IMUL's and CWD's, are all in the one-byte map. */
	if (insn->opsize == 2 && row->map == X86_MAP_OP)
		insn->gpr_read |= row->gpr_write;
	if (row->props & X86_P_REP && d->repeat) {
		insn->rep = d->repeat;
		insn->gpr_write |= 1u << X86_RCX;
		insn->gpr_read |= insn->gpr_write; /* a count of 0 changes nothing */
	}
}

/* Whole if they are there: a constant size is two moves. */
static void copy_bytes(struct decoder *d, const uint8_t *bytes)
{
	struct x86_insn *insn = d->insn;

	if (d->end - bytes == X86_INSN_MAX) {
		__builtin_memcpy(insn->bytes, bytes, X86_INSN_MAX);
		return;
	}
	for (unsigned i = 0; i < insn->len; i++)
		insn->bytes[i] = bytes[i];
}

static void finish(struct decoder *d, const uint8_t *bytes)
{
	static const uint8_t prefix[] = {0, 0x66, 0xf3, 0xf2};
	struct x86_insn *insn = d->insn;

	insn->len = (uint8_t)(d->next - bytes);
	if ((d->form->mask & X86_K_PP) == X86_K_PP)
		insn->pp = prefix[d->pp];
	copy_bytes(d, bytes);
	add_implicit(d);
}

static void clear(struct x86_insn *insn, unsigned code_size)
{
	insn->code_size = (uint8_t)code_size;
	insn->lock = false;
	insn->rep = 0;
	insn->pp = 0;
	insn->rex = 0;
	insn->seg_override = X86_NOREG;
	insn->vex_w = false;
	insn->vex_l = 0;
	insn->has_modrm = false;
	insn->modrm = 0;
	insn->has_mem = false;
	insn->imm = 0;
	insn->imm_size = 0;
	insn->imm2 = 0;
	insn->gpr_read = 0;
	insn->gpr_write = 0;
}

static void clear_memory(struct x86_insn *insn)
{
	struct x86_mem *mem = &insn->mem;

	mem->base = X86_NOREG;
	mem->index = X86_NOREG;
	mem->scale = 0;
	mem->seg = insn->seg_override == X86_NOREG ? X86_DS : insn->seg_override;
	mem->disp = 0;
	mem->size = 0;
	mem->access = 0;
}

enum x86_decode_result x86_decode(
	struct x86_insn *insn, const uint8_t *bytes, size_t n, unsigned code_size)
{
	struct decoder d = {
		.insn = insn,
		.next = bytes,
		.end = bytes + (n < X86_INSN_MAX ? n : X86_INSN_MAX),
		.at_end = n < X86_INSN_MAX ? X86_DECODE_MORE : X86_DECODE_LONG,
		.long_mode = code_size == 64,
	};
	enum x86_decode_result res;
	uint8_t opcode;

	clear(insn, code_size);
	if (!take_prefixes(&d, &opcode))
		return d.at_end;
	res = begins_vex(&d, opcode) ? take_vex(&d, opcode, &opcode) : take_legacy(&d, &opcode);
	if (res == X86_DECODE_OK)
		res = find_row(&d, opcode);
	if (res != X86_DECODE_OK)
		return res;
	insn->opcode = opcode;
	insn->opsize = (uint8_t)operand_size(&d);
	insn->addrsize = (uint8_t)address_size(&d);
	clear_memory(insn);
	res = take_operands(&d);
	if (res != X86_DECODE_OK)
		return res;
	if (is_forbidden(&d))
		return X86_DECODE_UD;
	finish(&d, bytes);
	return X86_DECODE_OK;
}
