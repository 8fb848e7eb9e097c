/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Instructions on selectors: segment register moves, LLDT, LTR, LAR, LSL, VERR, VERW, ARPL. */
#include "x86/system.h"

/* ---- loads and stores of segment registers ---- */

/* SS holds events back for one instruction, so that ESP can follow (SDM vol. 3, 6.8.3). */
static enum x86_result loaded(struct x86_cpu *cpu, const struct x86_insn *insn, unsigned seg)
{
	if (seg == X86_SS)
		cpu->shadow = X86_SHADOW_MOVSS;
	return x86_done(cpu, insn);
}

enum x86_result x86_sys_mov_seg(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned seg = insn->op[0].reg;
	uint64_t sel;
	enum x86_result res;

	if (insn->op[1].kind == X86_OK_SEG) {
		res = x86_operand_put(cpu, insn, 0, cpu->seg[insn->op[1].reg].sel);
		return res == X86_DONE ? x86_done(cpu, insn) : res;
	}
	if (seg == X86_CS || seg > X86_GS)
		return x86_raise(cpu, X86_UD);
	res = x86_operand_get(cpu, insn, 1, &sel);
	if (res == X86_DONE)
		res = x86_load_seg(cpu, seg, (uint16_t)sel);
	return res == X86_DONE ? loaded(cpu, insn, seg) : res;
}

enum x86_result x86_sys_push_seg(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	struct x86_frame frame = {
		.ss = &cpu->seg[X86_SS],
		.sp = cpu->gpr[X86_RSP],
		.sp_size = x86_stack_size(cpu),
		.cpl = cpu->cpl,
		.word = insn->opsize,
	};
	enum x86_result res;

	x86_frame_push(&frame, cpu->seg[insn->op[0].reg].sel);
	res = x86_frame_write(cpu, &frame);
	if (res != X86_DONE)
		return res;
	cpu->gpr[X86_RSP] = x86_frame_rsp(&frame, cpu->gpr[X86_RSP]);
	return x86_done(cpu, insn);
}

enum x86_result x86_sys_pop_seg(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned seg = insn->op[0].reg, size = x86_stack_size(cpu);
	uint64_t sel, *rsp = &cpu->gpr[X86_RSP];
	enum x86_result res = x86_stack_peek(cpu, insn->opsize, 0, &sel);

	if (res == X86_DONE)
		res = x86_load_seg(cpu, seg, (uint16_t)sel);
	if (res != X86_DONE)
		return res;
	*rsp = x86_merge(*rsp, *rsp + insn->opsize, size);
	return loaded(cpu, insn, seg);
}

static unsigned far_segment(const struct x86_insn *insn)
{
	switch (insn->row->mnem) {
	case X86_I_les:
		return X86_ES;
	case X86_I_lfs:
		return X86_FS;
	case X86_I_lgs:
		return X86_GS;
	case X86_I_lss:
		return X86_SS;
	default:
		return X86_DS;
	}
}

/* LDS, LES, LFS, LGS, LSS: the offset first, the selector behind it. */
enum x86_result x86_sys_load_far(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->opsize, seg = far_segment(insn);
	uint64_t offset = x86_effective(cpu, insn), value, sel;
	enum x86_result res = x86_data_read(cpu, insn->mem.seg, offset, size, &value);

	if (res == X86_DONE)
		res = x86_data_read(
			cpu, insn->mem.seg, (offset + size) & x86_mask(insn->addrsize), 2, &sel);
	if (res == X86_DONE)
		res = x86_load_seg(cpu, seg, (uint16_t)sel);
	if (res != X86_DONE)
		return res;
	x86_gpr_set(cpu, &insn->op[0], value);
	return x86_done(cpu, insn);
}

/* ---- LDTR and TR ---- */

static bool is_hidden_by_umip(const struct x86_cpu *cpu)
{
	return cpu->cr4 & X86_CR4_UMIP && cpu->cpl != 0;
}

static enum x86_result store_sel(struct x86_cpu *cpu, const struct x86_insn *insn, uint16_t sel)
{
	enum x86_result res;

	if (is_hidden_by_umip(cpu))
		return x86_raise_error(cpu, X86_GP, 0);
	res = x86_operand_put(cpu, insn, 0, sel);
	return res == X86_DONE ? x86_done(cpu, insn) : res;
}

enum x86_result x86_sys_sldt(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	return store_sel(cpu, insn, cpu->ldtr.sel);
}

enum x86_result x86_sys_str(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	return store_sel(cpu, insn, cpu->tr.sel);
}

/* A system descriptor out of the GDT, for LLDT and LTR. */
static enum x86_result read_gdt_system(struct x86_cpu *cpu, uint16_t sel, struct x86_desc *desc)
{
	if (sel & 4)
		return x86_raise_error(cpu, X86_GP, x86_sel_error(sel, 0));
	return x86_desc_read(cpu, sel, X86_GP, 0, desc);
}

/* Its base, which has 64 bits in long mode and must be canonical. */
static enum x86_result read_base(struct x86_cpu *cpu, uint16_t sel, struct x86_desc *desc)
{
	enum x86_result res = x86_desc_read_high(cpu, sel, X86_GP, 0, desc);

	if (res == X86_DONE && !x86_canonical(x86_desc_base(desc)))
		res = x86_raise_error(cpu, X86_GP, x86_sel_error(sel, 0));
	return res;
}

enum x86_result x86_sys_lldt(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	struct x86_desc desc;
	uint64_t sel;
	enum x86_result res = x86_operand_get(cpu, insn, 0, &sel);

	if (res != X86_DONE)
		return res;
	if (x86_is_null((uint16_t)sel)) {
		cpu->ldtr = x86_null_seg((uint16_t)sel, 0);
		return x86_done(cpu, insn);
	}
	res = read_gdt_system(cpu, (uint16_t)sel, &desc);
	if (res != X86_DONE)
		return res;
	if ((x86_desc_access(&desc) & 0x1f) != X86_TYPE_LDT)
		return x86_raise_error(cpu, X86_GP, x86_sel_error((uint16_t)sel, 0));
	if (!(x86_desc_access(&desc) & X86_SEG_P))
		return x86_raise_error(cpu, X86_NP, x86_sel_error((uint16_t)sel, 0));
	res = read_base(cpu, (uint16_t)sel, &desc);
	if (res != X86_DONE)
		return res;
	cpu->ldtr = x86_desc_seg(&desc, (uint16_t)sel);
	return x86_done(cpu, insn);
}

enum x86_result x86_sys_ltr(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	struct x86_desc desc;
	uint64_t sel;
	unsigned type;
	enum x86_result res = x86_operand_get(cpu, insn, 0, &sel);

	if (res != X86_DONE)
		return res;
	if (x86_is_null((uint16_t)sel))
		return x86_raise_error(cpu, X86_GP, 0);
	res = read_gdt_system(cpu, (uint16_t)sel, &desc);
	if (res != X86_DONE)
		return res;
	type = x86_desc_access(&desc) & 0x1f;
	if (type != X86_TYPE_TSS32 && (x86_is_long(cpu) || type != X86_TYPE_TSS16))
		return x86_raise_error(cpu, X86_GP, x86_sel_error((uint16_t)sel, 0));
	if (!(x86_desc_access(&desc) & X86_SEG_P))
		return x86_raise_error(cpu, X86_NP, x86_sel_error((uint16_t)sel, 0));
	res = read_base(cpu, (uint16_t)sel, &desc);
	if (res == X86_DONE)
		res = x86_desc_mark(cpu, &desc, X86_TYPE_TSS16_BUSY - X86_TYPE_TSS16, true);
	if (res != X86_DONE)
		return res;
	cpu->tr = x86_desc_seg(&desc, (uint16_t)sel);
	return x86_done(cpu, insn);
}

/* ---- questions about a selector, answered in ZF ---- */

/* System types that LAR and LSL know, one bit each (SDM vol. 2, LAR and LSL). */
#define BIT(type)  (1u << X86_TYPE_##type)
#define LSL_LEGACY (BIT(TSS16) | BIT(LDT) | BIT(TSS16_BUSY) | BIT(TSS32) | BIT(TSS32_BUSY))
#define LAR_LEGACY (LSL_LEGACY | BIT(CALL16) | BIT(TASK) | BIT(CALL32))
#define LSL_LONG   (BIT(LDT) | BIT(TSS32) | BIT(TSS32_BUSY))
#define LAR_LONG   (LSL_LONG | BIT(CALL32))

/*
 * Reads the descriptor in operand `i`; *visible: it exists and the privilege rules let the caller
 * look. Selectors out of range are an answer here, not a fault.
 */
static enum x86_result probe(struct x86_cpu *cpu, const struct x86_insn *insn, unsigned i,
	unsigned system_types, struct x86_desc *desc, bool *visible)
{
	uint64_t value;
	uint32_t access;
	uint16_t sel;
	unsigned dpl;
	enum x86_result res = x86_operand_get(cpu, insn, i, &value);

	*visible = false;
	if (res != X86_DONE)
		return res;
	sel = (uint16_t)value;
	if (x86_is_null(sel))
		return X86_DONE;
	res = x86_desc_read(cpu, sel, X86_GP, 0, desc);
	if (res == X86_FAULT && cpu->fault.vector == X86_GP)
		return X86_DONE;
	if (res != X86_DONE)
		return res;
	access = x86_desc_access(desc);
	dpl = X86_SEG_DPL(access);
	if (!(access & X86_SEG_S) && !(system_types >> X86_SEG_TYPE(access) & 1))
		return X86_DONE;
	if ((access & (X86_SEG_S | X86_SEG_CODE | X86_SEG_CONFORMING)) !=
			(X86_SEG_S | X86_SEG_CODE | X86_SEG_CONFORMING) &&
		(dpl < cpu->cpl || dpl < (sel & 3u)))
		return X86_DONE;
	*visible = true;
	return X86_DONE;
}

static enum x86_result answer(struct x86_cpu *cpu, const struct x86_insn *insn, bool yes)
{
	cpu->rflags = (cpu->rflags & ~(uint64_t)X86_FL_ZF) | (yes ? X86_FL_ZF : 0);
	return x86_done(cpu, insn);
}

enum x86_result x86_sys_lar(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	struct x86_desc desc;
	bool yes;
	enum x86_result res =
		probe(cpu, insn, 1, x86_is_long(cpu) ? LAR_LONG : LAR_LEGACY, &desc, &yes);

	if (res != X86_DONE)
		return res;
	if (yes)
		x86_gpr_set(cpu, &insn->op[0], desc.low >> 32 & 0xf0ff00);
	return answer(cpu, insn, yes);
}

enum x86_result x86_sys_lsl(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	struct x86_desc desc;
	bool yes;
	enum x86_result res =
		probe(cpu, insn, 1, x86_is_long(cpu) ? LSL_LONG : LSL_LEGACY, &desc, &yes);

	if (res != X86_DONE)
		return res;
	if (yes)
		x86_gpr_set(cpu, &insn->op[0], x86_desc_limit(&desc));
	return answer(cpu, insn, yes);
}

enum x86_result x86_sys_verr(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	struct x86_desc desc;
	bool yes;
	enum x86_result res = probe(cpu, insn, 0, 0, &desc, &yes);

	if (res != X86_DONE)
		return res;
	if (yes)
		yes = (x86_desc_access(&desc) & (X86_SEG_CODE | X86_SEG_RW)) != X86_SEG_CODE;
	return answer(cpu, insn, yes);
}

enum x86_result x86_sys_verw(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	struct x86_desc desc;
	bool yes;
	enum x86_result res = probe(cpu, insn, 0, 0, &desc, &yes);

	if (res != X86_DONE)
		return res;
	if (yes)
		yes = (x86_desc_access(&desc) & (X86_SEG_CODE | X86_SEG_RW)) == X86_SEG_RW;
	return answer(cpu, insn, yes);
}

enum x86_result x86_sys_arpl(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t dst, src = x86_gpr_get(cpu, &insn->op[1]);
	enum x86_result res = x86_operand_get(cpu, insn, 0, &dst);

	if (res != X86_DONE)
		return res;
	if ((dst & 3) >= (src & 3))
		return answer(cpu, insn, false);
	res = x86_operand_put(cpu, insn, 0, (dst & ~3ull) | (src & 3));
	return res == X86_DONE ? answer(cpu, insn, true) : res;
}
