/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The instruction table, expanded from insn.def three times: what the readers see (x86_rows), how
 * it is encoded (x86_forms), and where each opcode's rows are (x86_index).  All of it is constant
 * data.
 */
#include "x86/insn_table.h"

/* ---- the vocabulary of insn.def; `_` is "nothing" in every column ---- */

enum { /* operands */
	_,
#define X86_SPEC(name, method, field, reg, width, mem_width) name,
#include "x86/operand.def"
#undef X86_SPEC
};

enum { /* props */
	LOCK = X86_P_LOCK,
	REP = X86_P_REP,
	PRIV = X86_P_PRIV,
	I64 = X86_P_I64,
	O64 = X86_P_O64,
	D64 = X86_P_D64,
	F64 = X86_P_F64,
	X87 = X86_P_X87,
	MMX = X86_P_MMX,
	SSE = X86_P_SSE,
	AVX = X86_P_AVX,
	ALIGN = X86_P_ALIGN,
	PE = X86_P_PE,
	VEX = X86_P_VEX,
	MOFFS = X86_P_MOFFS,
	WAIT = X86_P_WAIT,
	NOMEM = X86_P_NOMEM,
	VSIB = X86_P_VSIB,
	NOUD = X86_P_NOUD,
	N64 = X86_P_N64
};

enum { /* implicit registers */
	a = 1 << X86_RAX,
	c = 1 << X86_RCX,
	d = 1 << X86_RDX,
	b = 1 << X86_RBX,
	sp = 1 << X86_RSP,
	bp = 1 << X86_RBP,
	si = 1 << X86_RSI,
	di = 1 << X86_RDI,
	r11 = 1 << X86_R11,
	ALL8 = 0xff
};

#define IMPL__	      0, 0
#define IMPL_RW(r, w) (r), (w)

#define ACC(o1, o2, o3, o4) ((o1) | (o2) << 2 | (o3) << 4 | (o4) << 6)
enum { /* access */
	n = ACC(0, 0, 0, 0),
	n_n = n,
	r = ACC(X86_RD, 0, 0, 0),
	w = ACC(X86_WR, 0, 0, 0),
	rw = ACC(X86_RW, 0, 0, 0),
	w_n = w,
	r_r = ACC(X86_RD, X86_RD, 0, 0),
	w_r = ACC(X86_WR, X86_RD, 0, 0),
	rw_r = ACC(X86_RW, X86_RD, 0, 0),
	rw_rw = ACC(X86_RW, X86_RW, 0, 0),
	r_r_r = ACC(X86_RD, X86_RD, X86_RD, 0),
	w_r_r = ACC(X86_WR, X86_RD, X86_RD, 0),
	w_w_r = ACC(X86_WR, X86_WR, X86_RD, 0),
	rw_r_r = ACC(X86_RW, X86_RD, X86_RD, 0),
	rw_r_rw = ACC(X86_RW, X86_RD, X86_RW, 0),
	w_r_r_r = ACC(X86_WR, X86_RD, X86_RD, X86_RD),
	rw_r_r_r = ACC(X86_RW, X86_RD, X86_RD, X86_RD)
};

/*
 * Flags read, possibly written, surely overwritten (SDM vol. 1, appendix A).  "Surely" leaves out
 * what the manuals call undefined and some processors keep: a reader of such a flag gets what its
 * own CPU does.
 */
#define CF X86_FL_CF
#define PF X86_FL_PF
#define AF X86_FL_AF
#define ZF X86_FL_ZF
#define SF X86_FL_SF
#define DF X86_FL_DF
#define OF X86_FL_OF
#define ST X86_FL_STATUS

#define FLAGS__	      0, 0, 0
#define FLAGS_ARITH   0, ST, ST
#define FLAGS_LOGIC   0, ST, ST /* AF too is written by every known processor */
#define FLAGS_ADC     CF, ST, ST
#define FLAGS_INC     0, ST & ~CF, ST & ~CF
#define FLAGS_MUL     0, ST, CF | OF
#define FLAGS_DIV     0, ST, 0
#define FLAGS_SHIFT_1 0, ST, ST & ~AF
#define FLAGS_SHIFT_N 0, ST, 0 /* a count of 0 changes nothing */
#define FLAGS_ROT_1   0, CF | OF, CF | OF
#define FLAGS_ROT_N   0, CF | OF, 0
#define FLAGS_RCL_1   CF, CF | OF, CF | OF
#define FLAGS_RCL_N   CF, CF | OF, 0
#define FLAGS_BT      0, ST & ~ZF, CF
#define FLAGS_BSF     0, ST, ZF
#define FLAGS_TZCNT   0, ST, CF | ZF
#define FLAGS_ANDN    0, ST, CF | ZF | SF | OF
#define FLAGS_BEXTR   0, ST, CF | ZF | OF
#define FLAGS_ADCX    CF, CF, CF
#define FLAGS_ADOX    OF, OF, OF
#define FLAGS_DAA     CF | AF, ST, ST & ~OF
#define FLAGS_AAA     AF, ST, CF | AF
#define FLAGS_AAM     0, ST, SF | ZF | PF
#define FLAGS_CMPS    DF, ST, 0 /* not at all with a count of 0 */
#define FLAGS_FCOMI   0, ST, CF | PF | ZF
#define FLAGS_ZF      0, ZF, ZF
#define FLAGS_CLC     0, CF, CF
#define FLAGS_CMC     CF, CF, CF
#define FLAGS_CLD     0, DF, DF
#define FLAGS_LAHF    ST & ~OF, 0, 0
#define FLAGS_SAHF    0, ST & ~OF, ST & ~OF
#define FLAGS_SYSCALL ST | DF, ST | DF, 0
#define FLAGS_W_ALL   0, ST | DF, ST | DF
#define FLAGS_R_ALL   ST | DF, 0, 0
#define FLAGS_R_C     CF, 0, 0
#define FLAGS_R_Z     ZF, 0, 0
#define FLAGS_R_S     SF, 0, 0
#define FLAGS_R_P     PF, 0, 0
#define FLAGS_R_O     OF, 0, 0
#define FLAGS_R_D     DF, 0, 0
#define FLAGS_R_CZ    CF | ZF, 0, 0
#define FLAGS_R_SO    SF | OF, 0, 0
#define FLAGS_R_ZSO   ZF | SF | OF, 0, 0

/* ---- encodings: map of the index, extra props, key mask, key value ---- */

#define PP(p)		(X86_PP_##p << X86_K_PP_SHIFT)
#define LEGACY(m, p)	X86_MAP_##m, 0, X86_K_PP, PP(p)
#define WITH_W(m, p)	X86_MAP_##m, 0, X86_K_PP | X86_K_RW, PP(p) | X86_K_RW
#define WITHOUT_W(m, p) X86_MAP_##m, 0, X86_K_PP | X86_K_RW, PP(p)

#define ENC_OP	       X86_MAP_OP, 0, 0, 0
#define ENC_F3_OP      LEGACY(OP, F3)
#define ENC_NOREXB_OP  X86_MAP_OP, 0, X86_K_REXB, 0
#define ENC_0F	       X86_MAP_0F, 0, 0, 0
#define ENC_0F_W0      X86_MAP_0F, 0, X86_K_RW, 0
#define ENC_0F_W1      X86_MAP_0F, 0, X86_K_RW, X86_K_RW
#define ENC_NFX_0F     X86_MAP_0F, 0, X86_K_FX, 0
#define ENC_NP_0F      LEGACY(0F, NP)
#define ENC_66_0F      LEGACY(0F, 66)
#define ENC_F3_0F      LEGACY(0F, F3)
#define ENC_F2_0F      LEGACY(0F, F2)
#define ENC_NP_0F_W0   WITHOUT_W(0F, NP)
#define ENC_NP_0F_W1   WITH_W(0F, NP)
#define ENC_66_0F_W0   WITHOUT_W(0F, 66)
#define ENC_66_0F_W1   WITH_W(0F, 66)
#define ENC_NFX_0F38   X86_MAP_0F38, 0, X86_K_FX, 0
#define ENC_NP_0F38    LEGACY(0F38, NP)
#define ENC_66_0F38    LEGACY(0F38, 66)
#define ENC_F3_0F38    LEGACY(0F38, F3)
#define ENC_F2_0F38    LEGACY(0F38, F2)
#define ENC_NP_0F3A    LEGACY(0F3A, NP)
#define ENC_66_0F3A    LEGACY(0F3A, 66)
#define ENC_66_0F3A_W0 WITHOUT_W(0F3A, 66)
#define ENC_66_0F3A_W1 WITH_W(0F3A, 66)

#define L_L0  X86_K_L, 0
#define L_L1  X86_K_L, X86_K_L
#define L_LX  0, 0
#define L_LIG 0, 0
#define W_W0  X86_K_W, 0
#define W_W1  X86_K_W, X86_K_W
#define W_RW0 X86_K_RW, 0
#define W_RW1 X86_K_RW, X86_K_RW
#define W_WIG 0, 0
/* Every VEX encoding is #UD in real and virtual-8086 mode (SDM vol. 2, 2.4). */
#define VEX_ROW(m, p, lmask, l, wmask, w)                                                          \
	X86_MAP_VEX + X86_MAP_##m - 1, X86_P_VEX | X86_P_PE, X86_K_PP | (lmask) | (wmask),         \
		PP(p) | (l) | (w)
#define VEX_EXPAND(...)	    VEX_ROW(__VA_ARGS__)
#define ENC_VEX(l, p, m, w) VEX_EXPAND(m, p, L_##l, W_##w)

/* ---- forms: flags, key mask, key value ---- */

#define FORM__	  0, 0, 0
#define FORM_z	  X86_FORM_Z, 0, 0
#define FORM_r	  X86_FORM_MODRM, 0, 0
#define FORM_rm	  X86_FORM_MODRM | X86_FORM_NOMOD, 0, 0
#define FORM_mem  X86_FORM_MODRM, X86_K_MEM, X86_K_MEM
#define FORM_reg  X86_FORM_MODRM, X86_K_MEM, 0
#define DIGIT(g)  X86_FORM_MODRM, 0x38, (g) << 3
#define FORM_d0	  DIGIT(0)
#define FORM_d1	  DIGIT(1)
#define FORM_d2	  DIGIT(2)
#define FORM_d3	  DIGIT(3)
#define FORM_d4	  DIGIT(4)
#define FORM_d5	  DIGIT(5)
#define FORM_d6	  DIGIT(6)
#define FORM_d7	  DIGIT(7)
#define MDIGIT(g) X86_FORM_MODRM, X86_K_MEM | 0x38, X86_K_MEM | (g) << 3
#define FORM_m0	  MDIGIT(0)
#define FORM_m1	  MDIGIT(1)
#define FORM_m2	  MDIGIT(2)
#define FORM_m3	  MDIGIT(3)
#define FORM_m4	  MDIGIT(4)
#define FORM_m5	  MDIGIT(5)
#define FORM_m6	  MDIGIT(6)
#define FORM_m7	  MDIGIT(7)
#define RDIGIT(g) X86_FORM_MODRM, X86_K_MEM | 0x38, (g) << 3
#define FORM_r0	  RDIGIT(0)
#define FORM_r1	  RDIGIT(1)
#define FORM_r2	  RDIGIT(2)
#define FORM_r3	  RDIGIT(3)
#define FORM_r4	  RDIGIT(4)
#define FORM_r5	  RDIGIT(5)
#define FORM_r6	  RDIGIT(6)
#define FORM_r7	  RDIGIT(7)
#define FORM_x(b) X86_FORM_MODRM, X86_K_MODRM, (b)

/* ---- the rows ---- */

#define EXPAND(...) ROW(__VA_ARGS__)
#define X86_INSN(enc, opc, form, name, class, feat, props, flags, impl, acc, ...)                  \
	EXPAND(ENC_##enc, opc, FORM_##form, name, class, feat, props, FLAGS_##flags, IMPL_##impl,  \
		acc, #__VA_ARGS__, ##__VA_ARGS__)

#define MAP_OF(m) ((m) < X86_MAP_VEX ? (m) : (m)-X86_MAP_VEX + X86_MAP_0F)

enum { ROWS_START = __COUNTER__ + 1 };
const struct x86_row x86_rows[] = {
#define ROW(map_, xprops, emask, evalue, opc, fflags, fmask, fvalue, name_, class_, feat, props_,  \
	flr, flw, flk, rd, wr, acc, text, ...)                                                     \
	{                                                                                          \
		.id = __COUNTER__ - ROWS_START,                                                    \
		.mnem = X86_I_##name_,                                                             \
		.class = X86_##class_,                                                             \
		.feature = X86_F_##feat,                                                           \
		.map = MAP_OF(map_),                                                               \
		.opcode = (opc),                                                                   \
		.props = (xprops) | (props_),                                                      \
		.fl_read = (flr),                                                                  \
		.fl_write = (flw),                                                                 \
		.fl_kill = (flk),                                                                  \
		.gpr_read = (rd),                                                                  \
		.gpr_write = (wr),                                                                 \
		.name = #name_,                                                                    \
		.syntax = text,                                                                    \
	},
#include "x86/insn.def"
#undef ROW
};
const unsigned x86_row_count = sizeof(x86_rows) / sizeof(x86_rows[0]);

#define MODE_MASK(p)  ((p) & (I64 | O64) ? X86_K_64 : 0)
#define MODE_VALUE(p) ((p)&O64 ? X86_K_64 : 0)

const struct x86_form x86_forms[] = {
#define ROW(map_, xprops, emask, evalue, opc, fflags, fmask, fvalue, name_, class_, feat, props_,  \
	flr, flw, flk, rd, wr, acc, text, ...)                                                     \
	{                                                                                          \
		.mask = (emask) | (fmask) | MODE_MASK(props_),                                     \
		.value = (evalue) | (fvalue) | MODE_VALUE(props_),                                 \
		.group = (map_)*256 + (opc),                                                       \
		.flags = (fflags),                                                                 \
		.access = (acc),                                                                   \
		.spec = {__VA_ARGS__},                                                             \
	},
#include "x86/insn.def"
#undef ROW
};

/*
 * Rows of one opcode initialise the same entry; C keeps the last, which is where the search starts.
 */
#ifdef __clang__
#pragma GCC diagnostic ignored "-Winitializer-overrides"
#else
#pragma GCC diagnostic ignored "-Woverride-init"
#endif
enum { INDEX_START = __COUNTER__ };
const uint16_t x86_index[X86_MAP_COUNT * 256] = {
#define ROW(map_, xprops, emask, evalue, opc, fflags, fmask, fvalue, ...)                          \
	[(map_)*256 + (opc)...(map_) * 256 + (opc) + ((fflags)&X86_FORM_Z ? 7 : 0)] =              \
		(__COUNTER__ - INDEX_START) | ((fflags)&X86_FORM_MODRM ? X86_INDEX_MODRM : 0),
#include "x86/insn.def"
#undef ROW
};

const struct x86_spec x86_specs[] = {
	{0},
#define X86_SPEC(name_, method_, field_, reg_, width_, mem_)                                       \
	{X86_M_##method_, X86_OF_##field_, reg_, X86_W_##width_, X86_W_##mem_},
#include "x86/operand.def"
#undef X86_SPEC
};
