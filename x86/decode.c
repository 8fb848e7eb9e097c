/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Bytes to struct x86_insn.  Prefixes and opcode bytes lead to a slot of x86_index; what else chooses an
 * instruction (ModRM, mandatory prefix, W, L, mode) is gathered into one key, which the few rows of the
 * opcode are compared with; the row's operands then say what follows.
 *
 * Where processors differ, Intel's behaviour is taken: the operand-size prefix does not shorten near
 * branches in 64-bit mode (SDM vol. 2, Jcc; AMD honours it, APM vol. 3, 1.2.7), and far pointers with
 * REX.W have a 64-bit offset.
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
	bool long_mode;	   /* 64-bit code */
	bool opsize_prefix;
	bool addrsize_prefix;
	bool wide;	   /* REX.W, or VEX.W in 64-bit mode */
	bool vex;
	bool vvvv_used;
	uint8_t repeat;	   /* last of F3 and F2 */
	uint8_t pp;	   /* enum x86_pp */
	uint8_t map;	   /* enum x86_map */
	uint8_t ext;	   /* EXT_* */
	uint8_t vvvv;
	uint8_t imms;	   /* immediates read so far */
	uint16_t key;	   /* X86_K_* */
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
	[0x26] = PREFIX_SEG + X86_ES, [0x2e] = PREFIX_SEG + X86_CS, [0x36] = PREFIX_SEG + X86_SS,
	[0x3e] = PREFIX_SEG + X86_DS, [0x64] = PREFIX_SEG + X86_FS, [0x65] = PREFIX_SEG + X86_GS,
	[0x66] = PREFIX_OPSIZE,	      [0x67] = PREFIX_ADDRSIZE,	    [0xf0] = PREFIX_LOCK,
	[0xf2] = PREFIX_REPEAT,	      [0xf3] = PREFIX_REPEAT,
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
	if (!d->long_mode)
		d->ext = 0; /* R and X are known to be clear, B and the top bit of vvvv are ignored */
	d->wide = d->long_mode && d->insn->vex_w;
	return take_byte(d, opcode) ? X86_DECODE_OK : d->at_end;
}

static enum x86_decode_result take_legacy(struct decoder *d, uint8_t *opcode)
{
	uint8_t rex = d->insn->rex;

	d->ext = rex & 7;
	d->wide = rex & REX_W;
	d->pp = d->repeat	 ? (d->repeat == 0xf3 ? X86_PP_F3 : X86_PP_F2) :
		d->opsize_prefix ? X86_PP_66 :
				   X86_PP_NP;
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

static unsigned width_in_bytes(const struct decoder *d, unsigned width)
{
	static const uint16_t fixed[X86_W_COUNT] = {
		[X86_W_b] = 1,	 [X86_W_w] = 2,	  [X86_W_d] = 4,   [X86_W_q] = 8,
		[X86_W_t] = 10,	 [X86_W_dq] = 16, [X86_W_qq] = 32, [X86_W_fx] = 512,
	};
	unsigned opsize = d->insn->opsize;
	unsigned z = opsize == 2 ? 2 : 4;

	if (width < X86_W_v)
		return fixed[width];
	switch ((enum x86_width)width) {
	case X86_W_v:
		return opsize;
	case X86_W_z:
		return z;
	case X86_W_y:
		return d->wide ? 8 : 4;
	case X86_W_n:
		return d->long_mode ? 8 : 4;
	case X86_W_x:
		return 16u << d->insn->vex_l;
	case X86_W_hx:
		return 8u << d->insn->vex_l;
	case X86_W_qx:
		return 4u << d->insn->vex_l;
	case X86_W_ex:
		return 2u << d->insn->vex_l;
	case X86_W_a:
		return 2 * z;
	case X86_W_p:
		return opsize + 2;
	case X86_W_s:
		return d->long_mode ? 10 : 6;
	case X86_W_env:
		return opsize == 2 ? 14 : 28;
	case X86_W_save:
		return opsize == 2 ? 94 : 108;
	default:
		return 0;
	}
}

/* ---- memory operands ---- */

static bool take_memory16(struct decoder *d, struct x86_mem *mem)
{
	static const uint8_t base[8] = { X86_RBX, X86_RBX, X86_RBP, X86_RBP, X86_RSI, X86_RDI, X86_RBP,
		X86_RBX };
	static const uint8_t index[8] = { X86_RSI, X86_RDI, X86_RSI, X86_RDI, X86_NOREG, X86_NOREG,
		X86_NOREG, X86_NOREG };
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

static void set_memory(struct decoder *d, struct x86_operand *op, unsigned field, unsigned size)
{
	struct x86_mem *mem = &d->insn->mem;

	op->kind = X86_OK_MEM;
	op->field = (uint8_t)field;
	op->size = size < 256 ? (uint8_t)size : 0;
	mem->access = op->access;
	mem->size = d->insn->row->props & X86_P_NOMEM ? 0 : (uint16_t)size;
}

/* Writes of less than 32 bits keep the rest of the register, so they read it too. */
static void set_gpr(struct decoder *d, struct x86_operand *op, unsigned field, unsigned reg)
{
	struct x86_insn *insn = d->insn;

	op->kind = X86_OK_GPR;
	op->field = (uint8_t)field;
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

static void set_register(struct x86_operand *op, unsigned kind, unsigned field, unsigned reg)
{
	op->kind = (uint8_t)kind;
	op->field = (uint8_t)field;
	op->reg = (uint8_t)reg;
}

static void set_vector(struct x86_operand *op, unsigned field, unsigned reg)
{
	set_register(op, op->size == 32 ? X86_OK_YMM : X86_OK_XMM, field, reg);
}

static unsigned modrm_reg(const struct decoder *d)
{
	return ((d->insn->modrm >> 3) & 7u) | (d->ext & EXT_R ? 8u : 0);
}

static unsigned modrm_rm(const struct decoder *d)
{
	return (d->insn->modrm & 7u) | (d->ext & EXT_B ? 8u : 0);
}

static unsigned vvvv(struct decoder *d)
{
	d->vvvv_used = true;
	return d->long_mode ? d->vvvv : d->vvvv & 7u;
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
	struct x86_operand sel = { .size = 2 };

	return take_immediate(d, op, X86_OK_FAR) && take_immediate(d, &sel, X86_OK_FAR);
}

static bool take_is4(struct decoder *d, struct x86_operand *op)
{
	uint8_t byte;

	if (!take_byte(d, &byte))
		return false;
	d->insn->imm = (int8_t)byte;
	d->insn->imm_size = 1;
	set_vector(op, X86_OF_IS4, byte >> 4 & (d->long_mode ? 0xf : 7));
	return true;
}

/* A0..A3: to the encoder the register is one of ModRM, as it will be there. */
static bool take_absolute(struct decoder *d, struct x86_operand *op)
{
	struct x86_insn *insn = d->insn;

	insn->has_mem = true;
	set_memory(d, op, X86_OF_RM, op->size);
	return take(d, insn->addrsize, &insn->mem.disp);
}

/* DS:rSI, ES:rDI and the like: the sizes and the source segment are in `mem`, but has_mem is not set. */
static void set_string(struct decoder *d, struct x86_operand *op, const struct x86_spec *spec)
{
	struct x86_mem *mem = &d->insn->mem;
	bool first = mem->size == 0;

	op->reg = spec->reg;
	set_memory(d, op, X86_OF_IMPLICIT, op->size);
	if (spec->method == X86_M_Y && first)
		mem->seg = X86_ES;
	if (spec->method == X86_M_X)
		mem->seg = d->insn->seg_override == X86_NOREG ? X86_DS : d->insn->seg_override;
}

static void set_masked_store(struct decoder *d, struct x86_operand *op, const struct x86_spec *spec)
{
	set_memory(d, op, X86_OF_IMPLICIT, op->size);
	d->insn->has_mem = true;
	d->insn->mem.base = spec->reg;
}

static bool set_segment(struct decoder *d, struct x86_operand *op)
{
	unsigned reg = modrm_reg(d) & 7;

	set_register(op, X86_OK_SEG, X86_OF_REG, reg);
	return reg <= X86_GS && !(reg == X86_CS && op->access & X86_WR);
}

/* CR0, 2, 3, 4 and 8 exist (SDM vol. 2, MOV to control registers). */
static bool set_control(struct decoder *d, struct x86_operand *op)
{
	unsigned reg = modrm_reg(d);

	set_register(op, X86_OK_CR, X86_OF_REG, reg);
	return 0x11du >> reg & 1;
}

static bool set_debug(struct decoder *d, struct x86_operand *op)
{
	unsigned reg = modrm_reg(d);

	set_register(op, X86_OK_DR, X86_OF_REG, reg);
	return reg < 8;
}

/* Fills one operand, whose access and register width are set. */
static enum x86_decode_result take_operand(
	struct decoder *d, struct x86_operand *op, const struct x86_spec *spec)
{
	struct x86_insn *insn = d->insn;
	bool good = true; /* enough bytes */

	switch ((enum x86_method)spec->method) {
	case X86_M_E:
		set_gpr(d, op, X86_OF_RM, modrm_rm(d));
		break;
	case X86_M_G:
		set_gpr(d, op, X86_OF_REG, modrm_reg(d));
		break;
	case X86_M_B:
		set_gpr(d, op, X86_OF_VVVV, vvvv(d));
		break;
	case X86_M_Z:
		set_gpr(d, op, X86_OF_OPCODE, (insn->opcode & 7u) | (d->ext & EXT_B ? 8u : 0));
		break;
	case X86_M_FIXED:
		set_gpr(d, op, insn->row->props & X86_P_MOFFS ? X86_OF_REG : X86_OF_IMPLICIT, spec->reg);
		break;
	case X86_M_XMMFIXED:
		set_vector(op, X86_OF_IMPLICIT, spec->reg);
		break;
	case X86_M_SEGFIXED:
		set_register(op, X86_OK_SEG, X86_OF_IMPLICIT, spec->reg);
		break;
	case X86_M_STFIXED:
		set_register(op, X86_OK_ST, X86_OF_IMPLICIT, spec->reg);
		break;
	case X86_M_STI:
		set_register(op, X86_OK_ST, X86_OF_RM, insn->modrm & 7);
		break;
	case X86_M_ONE:
		op->kind = X86_OK_IMM;
		insn->imm = 1;
		break;
	case X86_M_O:
		good = take_absolute(d, op);
		break;
	case X86_M_X:
	case X86_M_Y:
		set_string(d, op, spec);
		break;
	case X86_M_DI:
		set_masked_store(d, op, spec);
		break;
	case X86_M_I:
		good = take_immediate(d, op, X86_OK_IMM);
		break;
	case X86_M_J:
		good = take_immediate(d, op, X86_OK_REL);
		break;
	case X86_M_A:
		good = take_far_pointer(d, op);
		break;
	case X86_M_S:
		return set_segment(d, op) ? X86_DECODE_OK : X86_DECODE_UD;
	case X86_M_C:
		return set_control(d, op) ? X86_DECODE_OK : X86_DECODE_UD;
	case X86_M_D:
		return set_debug(d, op) ? X86_DECODE_OK : X86_DECODE_UD;
	case X86_M_P:
		set_register(op, X86_OK_MMX, X86_OF_REG, insn->modrm >> 3 & 7);
		break;
	case X86_M_Q:
		set_register(op, X86_OK_MMX, X86_OF_RM, insn->modrm & 7);
		break;
	case X86_M_V:
		set_vector(op, X86_OF_REG, modrm_reg(d));
		break;
	case X86_M_W:
		set_vector(op, X86_OF_RM, modrm_rm(d));
		break;
	case X86_M_H:
		set_vector(op, X86_OF_VVVV, vvvv(d));
		break;
	case X86_M_L:
		good = take_is4(d, op);
		break;
	case X86_M_M: /* with a register in ModRM.rm: no row asks for it */
	case X86_M_VM:
	case X86_M_NONE:
		return X86_DECODE_UD;
	}
	return good ? X86_DECODE_OK : d->at_end;
}

/* Methods whose operand is memory when ModRM says so. */
#define MEMORY_METHODS \
	(1u << X86_M_E | 1u << X86_M_M | 1u << X86_M_VM | 1u << X86_M_Q | 1u << X86_M_W)

static enum x86_decode_result take_operands(struct decoder *d)
{
	struct x86_insn *insn = d->insn;
	const struct x86_form *form = d->form;
	bool memory = insn->has_modrm && insn->modrm < 0xc0 && !(form->flags & X86_FORM_NOMOD);
	enum x86_decode_result res;
	unsigned i;

	if (memory) {
		res = take_memory(d);
		if (res != X86_DECODE_OK)
			return res;
	}
	for (i = 0; i < X86_FORM_OPERANDS && form->spec[i]; i++) {
		const struct x86_spec *spec = &x86_specs[form->spec[i]];
		struct x86_operand *op = &insn->op[i];

		*op = (struct x86_operand){ .access = form->access >> (2 * i) & 3 };
		if (memory && MEMORY_METHODS >> spec->method & 1) {
			set_memory(d, op, X86_OF_RM, width_in_bytes(d, spec->mem_width));
			continue;
		}
		op->size = (uint8_t)width_in_bytes(d, spec->width);
		res = take_operand(d, op, spec);
		if (res != X86_DECODE_OK)
			return res;
	}
	insn->nops = (uint8_t)i;
	for (; i < X86_OPERANDS; i++)
		insn->op[i] = (struct x86_operand){ 0 };
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
	if (d->vex && d->vvvv && !d->vvvv_used)
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
	static const uint8_t prefix[] = { 0, 0x66, 0xf3, 0xf2 };
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
