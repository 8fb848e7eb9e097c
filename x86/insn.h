/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A decoded x86 instruction, the decoder that makes it from bytes, and the encoder that writes it
 * again with other registers.  Used by every reader of the instruction table (insn.def): the
 * translator, one-instruction emulation, the test generators.
 *
 * The table is written in the notation of the manuals' opcode maps (SDM vol. 2, appendix A):
 * E,G,M,R,Z,... say where an operand is encoded, b,w,d,q,v,z,y,dq,qq,x how wide it is.
 */
#ifndef X86_INSN_H
#define X86_INSN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* General registers in encoding order; also the index into x86_cpu.gpr. */
enum x86_gpr {
	X86_RAX,
	X86_RCX,
	X86_RDX,
	X86_RBX,
	X86_RSP,
	X86_RBP,
	X86_RSI,
	X86_RDI,
	X86_R8,
	X86_R9,
	X86_R10,
	X86_R11,
	X86_R12,
	X86_R13,
	X86_R14,
	X86_R15,
	X86_RIP_BASE = 16, /* only as the base of a memory operand */
	X86_NOREG = 255
};

/* Segment registers in encoding order; also the index into x86_cpu.seg. */
enum x86_segreg { X86_ES, X86_CS, X86_SS, X86_DS, X86_FS, X86_GS };

/* Who executes the instruction: see the design, "the host is the ALU". */
enum x86_class {
	X86_NATIVE, /* the host CPU, with registers and memory operand rewritten */
	X86_BRANCH, /* near control transfer: ends a block */
	X86_STACK,  /* push, pop, enter, leave...: moves data through the stack pointer */
	X86_STRING, /* movs, stos, lods, cmps, scas (not ins, outs) */
	X86_SYSTEM  /* a C function: x86_system() */
};

/* Mnemonics: one enumerator X86_I_<name> for each distinct <name> in insn.def. */
enum x86_mnem {
#define X86_MNEM(name) X86_I_##name,
#include "x86/mnem.def"
#undef X86_MNEM
	X86_I_COUNT
};

/* CPUID features that a row can need.  X86_F_NONE rows exist on every x86-64 CPU. */
enum x86_feature {
	X86_F_NONE,
#define X86_FEATURE(name, leaf, subleaf, reg, bit) X86_F_##name,
#include "x86/feature.def"
#undef X86_FEATURE
	X86_F_COUNT
};

enum x86_operand_kind {
	X86_OK_NONE,
	X86_OK_GPR,  /* reg: 0..15; high: AH, CH, DH, BH (reg 0..3) */
	X86_OK_MEM,  /* the instruction's one memory operand, in x86_insn.mem; of strings and XLAT: below */
	X86_OK_IMM,  /* x86_insn.imm (or imm2 for the second immediate) */
	X86_OK_REL,  /* branch displacement, in x86_insn.imm, sign-extended */
	X86_OK_FAR,  /* ptr16:16 or ptr16:32: offset in imm, selector in imm2 */
	X86_OK_SEG,  /* segment register */
	X86_OK_CR,
	X86_OK_DR,
	X86_OK_ST,   /* x87 stack register */
	X86_OK_MMX,
	X86_OK_XMM,  /* reg 0..15, size 4..16: an XMM register or its low part */
	X86_OK_YMM
};

/* Where the operand's register number is encoded: what x86_encode() rewrites. */
enum x86_operand_field {
	X86_OF_IMPLICIT, /* fixed by the opcode: cannot be renamed (AL, CL, DX, XMM0...) */
	X86_OF_REG,	 /* ModRM.reg */
	X86_OF_RM,	 /* ModRM.rm (register or memory) */
	X86_OF_VVVV,	 /* VEX.vvvv */
	X86_OF_OPCODE,	 /* low three bits of the opcode */
	X86_OF_IS4	 /* imm8[7:4] */
};

enum { X86_RD = 1, X86_WR = 2, X86_RW = 3 };

/*
 * String instructions and XLAT have X86_OK_MEM operands with X86_OF_IMPLICIT: `reg` is RSI, RDI or RBX,
 * has_mem is not set, mem.seg is the segment of the source (ES if there is only a destination).
 */
struct x86_operand {
	uint8_t kind;	/* enum x86_operand_kind */
	uint8_t field;	/* enum x86_operand_field */
	uint8_t reg;	/* register number, REX/VEX extension included */
	uint8_t access; /* X86_RD | X86_WR; 0: neither (LEA's memory, NOP) */
	uint8_t size;	/* bytes */
	bool high;	/* GPR only: bits 15:8 of reg 0..3 */
};

/* Arithmetic flags, for liveness. DF stands here too because string instructions read it. */
#define X86_FL_CF     0x0001u
#define X86_FL_PF     0x0004u
#define X86_FL_AF     0x0010u
#define X86_FL_ZF     0x0040u
#define X86_FL_SF     0x0080u
#define X86_FL_DF     0x0400u
#define X86_FL_OF     0x0800u
#define X86_FL_STATUS (X86_FL_CF | X86_FL_PF | X86_FL_AF | X86_FL_ZF | X86_FL_SF | X86_FL_OF)

/* Row properties. */
#define X86_P_LOCK    0x00000001u /* LOCK allowed (with a memory destination) */
#define X86_P_REP     0x00000002u /* F3/F2 is a repeat prefix */
#define X86_P_PRIV    0x00000004u /* CPL 0 only, #GP(0) otherwise */
#define X86_P_I64     0x00000008u /* #UD in 64-bit mode */
#define X86_P_O64     0x00000010u /* #UD outside 64-bit mode */
#define X86_P_D64     0x00000020u /* operand size defaults to 64 bits in 64-bit mode */
#define X86_P_F64     0x00000040u /* operand size is 64 bits in 64-bit mode whatever the prefix */
#define X86_P_X87     0x00000080u /* x87: #NM on CR0.EM or CR0.TS */
#define X86_P_MMX     0x00000100u /* MMX: #UD on CR0.EM, #NM on CR0.TS */
#define X86_P_SSE     0x00000200u /* legacy SSE: #UD on CR0.EM or !CR4.OSFXSR, #NM on CR0.TS */
#define X86_P_AVX     0x00000400u /* VEX vector: #UD unless CR4.OSXSAVE and XCR0 has SSE and AVX */
#define X86_P_ALIGN   0x00000800u /* memory operand must be aligned to its size: #GP(0) */
#define X86_P_PE      0x00001000u /* #UD in real and virtual-8086 mode */
#define X86_P_VEX     0x00002000u /* VEX-encoded (for the encoder and the generators) */
#define X86_P_MOFFS   0x00004000u /* A0..A3: the address is an immediate; encoder emits ModRM form */
#define X86_P_WAIT    0x00008000u /* x87 control instruction that does not raise pending #MF */
#define X86_P_NOMEM   0x00010000u /* ModRM memory form touches no memory (LEA, NOP, prefetch) */
#define X86_P_VSIB    0x00020000u /* memory operand indexed by a vector (gathers) */
#define X86_P_NOUD    0x00040000u /* without its feature an older instruction, not #UD (TZCNT: BSF) */
#define X86_P_N64     0x00080000u /* operand size never 64 bits (IN, OUT, INS, OUTS) */

/* One line of insn.def, as the readers see it. */
struct x86_row {
	uint16_t id;	     /* index of this row in x86_rows[] */
	uint16_t mnem;	     /* enum x86_mnem */
	uint8_t class;	     /* enum x86_class */
	uint8_t feature;     /* enum x86_feature */
	uint8_t map;	     /* 0: one-byte, 1: 0F, 2: 0F38, 3: 0F3A */
	uint8_t opcode;
	uint32_t props;	     /* X86_P_* */
	uint16_t fl_read;    /* X86_FL_*: read */
	uint16_t fl_write;   /* may be changed, undefined ones included */
	uint16_t fl_kill;    /* overwritten whatever the operands (a shift by CL kills nothing) */
	uint16_t gpr_read;   /* registers read besides the explicit operands, bit n = gpr n */
	uint16_t gpr_write;  /* registers written besides the explicit operands */
	const char *name;    /* mnemonic, lower case */
	const char *syntax;  /* operands in the notation of the table, for messages */
};

extern const struct x86_row x86_rows[];
extern const unsigned x86_row_count;

struct x86_mem {
	uint8_t base;	/* enum x86_gpr, X86_RIP_BASE or X86_NOREG */
	uint8_t index;	/* enum x86_gpr or X86_NOREG (vector register for VSIB) */
	uint8_t scale;	/* log2: 0..3 */
	uint8_t seg;	/* effective segment, enum x86_segreg: override or the default of the base */
	int64_t disp;	/* sign-extended; RIP-relative: relative to the next instruction */
	uint16_t size;	/* bytes accessed; 0 if none or known only at run time (XSAVE) */
	uint8_t access; /* X86_RD | X86_WR; 0 with X86_P_NOMEM */
};

#define X86_INSN_MAX  15 /* bytes (SDM vol. 2, 2.3.11) */
#define X86_OPERANDS  5

struct x86_insn {
	const struct x86_row *row;
	uint8_t bytes[X86_INSN_MAX]; /* those beyond `len` may be anything */
	uint8_t len;	   /* bytes consumed */
	uint8_t code_size; /* 16, 32 or 64: how it was decoded */
	uint8_t opsize;	   /* effective operand size: 2, 4 or 8 bytes (1 never: see operands) */
	uint8_t addrsize;  /* effective address size: 2, 4 or 8 bytes */
	bool lock;
	uint8_t rep;	   /* 0, 0xF3 or 0xF2, when it is a repeat prefix (X86_P_REP) */
	uint8_t pp;	   /* mandatory prefix: 0, 0x66, 0xF3 or 0xF2 */
	uint8_t rex;	   /* 0 if none, else 0x40..0x4F */
	uint8_t seg_override; /* enum x86_segreg or X86_NOREG */
	bool vex_w;
	uint8_t vex_l;	   /* 0: 128, 1: 256 bits */
	bool has_modrm;
	uint8_t modrm;
	uint8_t opcode;	   /* last opcode byte as found */
	bool has_mem;
	struct x86_mem mem;
	uint8_t nops;
	struct x86_operand op[X86_OPERANDS];
	int64_t imm;	   /* sign-extended to 64 bits unless the operand is wider */
	uint8_t imm_size;  /* bytes as encoded: 0, 1, 2, 4, 8 */
	uint32_t imm2;	   /* selector of a far pointer, level of ENTER, second byte of EXTRQ/INSERTQ */
	uint16_t gpr_read; /* all general registers read, explicit, implicit and in the address */
	uint16_t gpr_write;/* all general registers written */
};

enum x86_decode_result {
	X86_DECODE_OK,
	X86_DECODE_UD,	 /* no row, or a prefix that the row forbids: #UD */
	X86_DECODE_LONG, /* over 15 bytes: #GP(0) */
	X86_DECODE_MORE	 /* the bytes end before the instruction does */
};

/*
 * Decodes one instruction of `n` bytes at most.  `code_size` is 16, 32 or 64.
 * Only form and mode are judged here; features, CPL and CRs are the caller's
 * (x86_insn_allowed in cpu.h).  Legal prefixes without meaning are accepted and ignored.
 */
enum x86_decode_result x86_decode(
	struct x86_insn *insn, const uint8_t *bytes, size_t n, unsigned code_size);

/* The same for 64-bit code, with a memory: zeroes at first, the caller's. */
#define X86_DECODE_CACHE_BITS 9
struct x86_decode_cache {
	struct x86_decode_entry {
		uint64_t key; /* 0: none */
		struct x86_insn insn;
	} entry[1u << X86_DECODE_CACHE_BITS];
};
enum x86_decode_result x86_decode_cached(
	struct x86_decode_cache *c, struct x86_insn *insn, const uint8_t *bytes, size_t n);

/* How x86_encode() rewrites an instruction. */
struct x86_remap {
	uint8_t gpr[16];   /* host register for each guest register used as an explicit operand */
	uint8_t mem_base;  /* the memory operand becomes [mem_base + mem_index + mem_disp] */
	uint8_t mem_index; /* host register + 1, not RSP; 0: none */
	int32_t mem_disp;
};

/*
 * Writes `insn` for 64-bit mode with its explicit general registers renamed and its memory operand
 * replaced.  NATIVE rows only; encodings that 64-bit mode lacks (40..4F INC/DEC, A0..A3, 82) come out
 * as their equivalents.  LOCK is kept.  Returns the length, or 0 if there is no such encoding: a high
 * byte register (AH..BH) together with a register that needs REX.
 */
unsigned x86_encode(const struct x86_insn *insn, const struct x86_remap *map, uint8_t out[16]);

#endif
