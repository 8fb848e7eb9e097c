/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* How the rows of insn.def are encoded: for the decoder, the encoder and their tests only. */
#ifndef X86_INSN_TABLE_H
#define X86_INSN_TABLE_H

#include "x86/insn.h"

/* What an operand is, and so what the decoder does for it. */
enum x86_method {
	X86_M_NONE,
	X86_M_GPR, /* registers first: their numbers are in x86_spec.field */
	X86_M_VECTOR,
	X86_M_MMX,
	X86_M_ST,
	X86_M_SEG,
	X86_M_CR,
	X86_M_DR,
	X86_M_MEM,	   /* ModRM, memory only */
	X86_M_VSIB,	   /* the same with a vector index */
	X86_M_OFFSET,	   /* absolute offset behind the opcode */
	X86_M_SOURCE,	   /* overridable segment : rSI, or rBX of XLAT */
	X86_M_DESTINATION, /* ES:rDI */
	X86_M_MASKED,	   /* overridable segment : rDI */
	X86_M_ONE,	   /* the constant 1 */
	X86_M_IMM,
	X86_M_REL,
	X86_M_FAR,
	X86_M_IS4 /* register in the upper half of an immediate byte */
};

/* How wide it is (appendix A.2.2). */
enum x86_width {
	X86_W_none,
	X86_W_b,
	X86_W_w,
	X86_W_d,
	X86_W_q,
	X86_W_t,    /* 10 bytes */
	X86_W_dq,   /* 16 bytes */
	X86_W_qq,   /* 32 bytes */
	X86_W_fx,   /* 512 bytes */
	X86_W_v,    /* operand size; what depends on the instruction begins here */
	X86_W_z,    /* operand size, but 4 for 8 */
	X86_W_y,    /* 8 with REX.W or VEX.W in 64-bit mode, else 4 */
	X86_W_n,    /* 8 in 64-bit mode, else 4 */
	X86_W_x,    /* vector length */
	X86_W_hx,   /* half of it */
	X86_W_qx,   /* a quarter */
	X86_W_ex,   /* an eighth */
	X86_W_a,    /* two of z */
	X86_W_p,    /* far pointer in memory: v and a selector */
	X86_W_s,    /* limit and base of a descriptor table */
	X86_W_env,  /* x87 environment */
	X86_W_save, /* x87 state */
	X86_W_COUNT
};

struct x86_spec {
	uint8_t method; /* enum x86_method */
	uint8_t field;	/* enum x86_operand_field */
	uint8_t reg;	/* with X86_OF_IMPLICIT */
	uint8_t width;	/* enum x86_width */
	uint8_t mem_width;
};

/* What a row asks of the bits that the decoder gathers: (key & mask) == value. */
#define X86_K_MODRM    0x00ffu
#define X86_K_MEM      0x0100u /* ModRM.mod is not 3 */
#define X86_K_PP       0x0600u /* mandatory prefix: enum x86_pp */
#define X86_K_PP_SHIFT 9
#define X86_K_FX       0x0400u /* the upper bit of PP: F3 or F2 */
#define X86_K_W	       0x0800u /* VEX.W */
#define X86_K_RW       0x1000u /* REX.W, or VEX.W in 64-bit mode */
#define X86_K_L	       0x2000u /* VEX.L */
#define X86_K_64       0x4000u /* 64-bit mode */
#define X86_K_REXB     0x8000u

/* In the order of VEX.pp. */
enum x86_pp { X86_PP_NP, X86_PP_66, X86_PP_F3, X86_PP_F2 };

/* Maps as the index knows them: those of legacy encodings, then those of VEX. */
enum x86_map { X86_MAP_OP, X86_MAP_0F, X86_MAP_0F38, X86_MAP_0F3A, X86_MAP_VEX, X86_MAP_COUNT = 7 };

#define X86_FORM_MODRM 0x01u
#define X86_FORM_Z     0x02u /* register in the opcode */
#define X86_FORM_NOMOD 0x04u /* ModRM.mod ignored, always a register */

#define X86_FORM_OPERANDS 4

/* The encoding of one row, at the same place in x86_forms as the row in x86_rows. */
struct x86_form {
	uint16_t mask, value; /* X86_K_* */
	uint16_t group;	      /* index map * 256 + opcode: rows of one opcode are neighbours */
	uint8_t flags;	      /* X86_FORM_* */
	uint8_t access;	      /* two bits for each operand: X86_RD | X86_WR */
	uint8_t spec[X86_FORM_OPERANDS]; /* index into x86_specs; 0: no more */
};

/* x86_index entries: 0, or the number of the opcode's last row plus one, and a flag. */
#define X86_INDEX_MODRM 0x8000u
#define X86_INDEX_ROW	0x7fffu

extern const struct x86_form x86_forms[];
extern const struct x86_spec x86_specs[];
extern const uint16_t x86_index[X86_MAP_COUNT * 256];

#endif
