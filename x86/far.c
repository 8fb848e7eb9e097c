/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Far JMP and CALL: direct, through call gates, and to tasks (SDM vol. 3, 5.8; vol. 2, CALL, JMP).
 */
#include "x86/system.h"

#define CALL_GATE_PARAMS(gate) ((unsigned)((gate)->low >> 32) & 31)

struct far {
	struct x86_cpu *cpu;
	const struct x86_insn *insn;
	bool is_call;
	uint16_t sel;
	uint64_t offset;
	struct x86_seg cs; /* target */
	struct x86_desc gate;
};

static enum x86_result refuse(struct far *far, unsigned vector, uint16_t sel)
{
	return x86_raise_error(far->cpu, vector, x86_sel_error(sel, 0));
}

static uint64_t next_rip(const struct far *far)
{
	return (far->cpu->rip + far->insn->len) & x86_mask(far->insn->code_size == 64 ? 8 : 4);
}

/* seg:offset out of the instruction or out of memory, offset first. */
static enum x86_result get_pointer(struct far *far)
{
	const struct x86_insn *insn = far->insn;
	unsigned size = insn->opsize;
	uint8_t raw[10];
	uint64_t gla;
	enum x86_result res;

	if (!insn->has_mem) {
		far->offset = (uint64_t)insn->imm & x86_mask(size);
		far->sel = (uint16_t)insn->imm2;
		return X86_DONE;
	}
	res = x86_operand_linear(far->cpu, insn, size + 2, X86_ACC_READ, &gla);
	if (res == X86_DONE)
		res = x86_read(far->cpu, gla, raw, size + 2, x86_acc(far->cpu, X86_ACC_READ));
	if (res != X86_DONE)
		return res;
	far->offset = 0;
	x86_bytes_copy(&far->offset, raw, size);
	x86_bytes_copy(&far->sel, raw + size, 2);
	return X86_DONE;
}

static void push_return(const struct far *far, struct x86_frame *frame)
{
	x86_frame_push(frame, far->cpu->seg[X86_CS].sel);
	x86_frame_push(frame, next_rip(far));
}

/* A CALL that stays on the current stack. */
static enum x86_result call_same(struct far *far, unsigned word, unsigned sp_size)
{
	struct x86_cpu *cpu = far->cpu;
	struct x86_frame frame = {
		.ss = &cpu->seg[X86_SS],
		.sp = cpu->gpr[X86_RSP],
		.sp_size = sp_size,
		.cpl = cpu->cpl,
		.word = word,
	};
	enum x86_result res;

	push_return(far, &frame);
	res = x86_frame_write(cpu, &frame);
	if (res == X86_DONE)
		cpu->gpr[X86_RSP] = x86_frame_rsp(&frame, cpu->gpr[X86_RSP]);
	return res;
}

static enum x86_result far_paragraph(struct far *far)
{
	struct x86_cpu *cpu = far->cpu;
	enum x86_result res = X86_DONE;

	if (far->offset > cpu->seg[X86_CS].limit)
		return x86_raise_error(cpu, X86_GP, 0);
	if (far->is_call)
		res = call_same(far, far->insn->opsize, x86_stack_size(cpu));
	if (res != X86_DONE)
		return res;
	x86_load_seg_paragraph(cpu, X86_CS, far->sel);
	cpu->rip = far->offset;
	return X86_DONE;
}

static bool is_code(uint32_t access)
{
	return access & X86_SEG_S && access & X86_SEG_CODE;
}

/* A code segment named directly: the privilege level stays. */
static enum x86_result to_code(struct far *far, struct x86_desc *desc)
{
	struct x86_cpu *cpu = far->cpu;
	uint32_t access = x86_desc_access(desc);
	unsigned dpl = X86_SEG_DPL(access);
	enum x86_result res;

	if (!is_code(access))
		return refuse(far, X86_GP, far->sel);
	if (access & X86_SEG_CONFORMING ? dpl > cpu->cpl
					: (far->sel & 3) > cpu->cpl || dpl != cpu->cpl)
		return refuse(far, X86_GP, far->sel);
	if (x86_is_long(cpu) && access & X86_SEG_L && access & X86_SEG_DB)
		return refuse(far, X86_GP, far->sel);
	if (!(access & X86_SEG_P))
		return refuse(far, X86_NP, far->sel);
	res = x86_desc_mark(cpu, desc, X86_SEG_ACCESSED, true);
	if (res != X86_DONE)
		return res;
	far->cs = x86_desc_seg(desc, far->sel);
	res = x86_check_rip(cpu, &far->cs, far->offset, 0);
	if (res == X86_DONE && far->is_call)
		res = call_same(far, far->insn->opsize, x86_stack_size(cpu));
	if (res == X86_DONE)
		x86_set_cs(cpu, &far->cs, cpu->cpl, far->offset);
	return res;
}

/* The gate's code segment. */
static enum x86_result check_gate_target(struct far *far)
{
	struct x86_cpu *cpu = far->cpu;
	uint16_t sel = x86_gate_sel(&far->gate);
	struct x86_desc desc;
	uint32_t access;
	enum x86_result res;

	if (x86_is_null(sel))
		return refuse(far, X86_GP, 0);
	res = x86_desc_read(cpu, sel, X86_GP, 0, &desc);
	if (res != X86_DONE)
		return res;
	access = x86_desc_access(&desc);
	if (!is_code(access) || X86_SEG_DPL(access) > cpu->cpl)
		return refuse(far, X86_GP, sel);
	if (!far->is_call && !(access & X86_SEG_CONFORMING) && X86_SEG_DPL(access) != cpu->cpl)
		return refuse(far, X86_GP, sel);
	if (x86_is_long(cpu) && (access & (X86_SEG_L | X86_SEG_DB)) != X86_SEG_L)
		return refuse(far, X86_GP, sel);
	if (!(access & X86_SEG_P))
		return refuse(far, X86_NP, sel);
	res = x86_desc_mark(cpu, &desc, X86_SEG_ACCESSED, true);
	far->cs = x86_desc_seg(&desc, sel);
	far->offset = x86_gate_offset(&far->gate);
	return res == X86_DONE ? x86_check_rip(cpu, &far->cs, far->offset, 0) : res;
}

/* The inner stack with the caller's SS:SP and the gate's count of parameters on it. */
static enum x86_result inner_stack_legacy(
	struct far *far, unsigned cpl, unsigned word, struct x86_seg *ss, struct x86_frame *frame)
{
	struct x86_cpu *cpu = far->cpu;
	uint64_t sp, param;
	uint16_t sel;
	enum x86_result res = x86_tss_stack(cpu, cpl, 0, &sel, &sp);

	if (res == X86_DONE)
		res = x86_check_ss(cpu, sel, cpl, X86_TS, 0, ss);
	if (res != X86_DONE)
		return res;
	*frame = (struct x86_frame){
		.ss = ss,
		.sp = sp,
		.sp_size = ss->access & X86_SEG_DB ? 4 : 2,
		.cpl = cpl,
		.error = x86_sel_error(sel, 0),
		.word = word,
	};
	x86_frame_push(frame, cpu->seg[X86_SS].sel);
	x86_frame_push(frame, cpu->gpr[X86_RSP]);
	for (unsigned i = CALL_GATE_PARAMS(&far->gate); i-- > 0;) {
		res = x86_stack_peek(cpu, word, i * word, &param);
		if (res != X86_DONE)
			return res;
		x86_frame_push(frame, param);
	}
	return X86_DONE;
}

static enum x86_result inner_stack_64(
	struct far *far, unsigned cpl, struct x86_seg *ss, struct x86_frame *frame)
{
	struct x86_cpu *cpu = far->cpu;
	uint64_t rsp;
	enum x86_result res = x86_tss_rsp(cpu, cpl, 0, &rsp);

	if (res != X86_DONE)
		return res;
	*ss = x86_null_seg((uint16_t)cpl, cpl);
	*frame = (struct x86_frame){.ss = ss, .sp = rsp, .sp_size = 8, .cpl = cpl, .word = 8};
	x86_frame_push(frame, cpu->seg[X86_SS].sel);
	x86_frame_push(frame, cpu->gpr[X86_RSP]);
	return X86_DONE;
}

static enum x86_result call_inner(struct far *far, unsigned word)
{
	struct x86_cpu *cpu = far->cpu;
	unsigned cpl = X86_SEG_DPL(far->cs.access);
	struct x86_frame frame;
	struct x86_seg ss;
	enum x86_result res = x86_is_long(cpu) ? inner_stack_64(far, cpl, &ss, &frame)
					       : inner_stack_legacy(far, cpl, word, &ss, &frame);

	if (res != X86_DONE)
		return res;
	push_return(far, &frame);
	res = x86_frame_write(cpu, &frame);
	if (res != X86_DONE)
		return res;
	cpu->gpr[X86_RSP] = x86_frame_rsp(&frame, cpu->gpr[X86_RSP]);
	cpu->seg[X86_SS] = ss;
	x86_set_cs(cpu, &far->cs, cpl, far->offset);
	return X86_DONE;
}

static enum x86_result through_call_gate(struct far *far)
{
	struct x86_cpu *cpu = far->cpu;
	bool is_long = x86_is_long(cpu);
	unsigned type = X86_SEG_TYPE(x86_desc_access(&far->gate));
	unsigned word = is_long ? 8 : type == X86_TYPE_CALL32 ? 4 : 2;
	enum x86_result res = x86_desc_read_high(cpu, far->sel, X86_GP, 0, &far->gate);

	if (res == X86_DONE)
		res = check_gate_target(far);
	if (res != X86_DONE)
		return res;
	if (far->is_call && !(far->cs.access & X86_SEG_CONFORMING) &&
		X86_SEG_DPL(far->cs.access) < cpu->cpl)
		return call_inner(far, word);
	if (far->is_call)
		res = call_same(far, word, is_long ? 8 : x86_stack_size(cpu));
	if (res == X86_DONE)
		x86_set_cs(cpu, &far->cs, cpu->cpl, far->offset);
	return res;
}

/* A call gate, a task gate or a TSS. */
static enum x86_result to_system(struct far *far, const struct x86_desc *desc)
{
	struct x86_cpu *cpu = far->cpu;
	uint32_t access = x86_desc_access(desc);
	unsigned type = X86_SEG_TYPE(access), dpl = X86_SEG_DPL(access);
	bool is_call_gate =
		type == X86_TYPE_CALL32 || (type == X86_TYPE_CALL16 && !x86_is_long(cpu));
	bool is_tss = type == X86_TYPE_TSS16 || type == X86_TYPE_TSS32;
	enum x86_task_reason reason = far->is_call ? X86_TASK_CALL : X86_TASK_JMP;

	if (!is_call_gate && (x86_is_long(cpu) || !(is_tss || type == X86_TYPE_TASK)))
		return refuse(far, X86_GP, far->sel);
	if (dpl < cpu->cpl || dpl < (far->sel & 3u))
		return refuse(far, X86_GP, far->sel);
	if (!(access & X86_SEG_P))
		return refuse(far, X86_NP, far->sel);
	if (is_tss)
		return x86_exit_task(cpu, far->sel, reason);
	if (type == X86_TYPE_TASK)
		return x86_exit_task(cpu, x86_gate_sel(desc), reason);
	far->gate = *desc;
	return through_call_gate(far);
}

static enum x86_result far_transfer(struct x86_cpu *cpu, const struct x86_insn *insn, bool is_call)
{
	struct far far = {.cpu = cpu, .insn = insn, .is_call = is_call};
	struct x86_desc desc;
	enum x86_result res = get_pointer(&far);

	if (res != X86_DONE)
		return res;
	if (!x86_is_protected(cpu))
		return far_paragraph(&far);
	if (x86_is_null(far.sel))
		return x86_raise_error(cpu, X86_GP, 0);
	res = x86_desc_read(cpu, far.sel, X86_GP, 0, &desc);
	if (res != X86_DONE)
		return res;
	return x86_desc_access(&desc) & X86_SEG_S ? to_code(&far, &desc) : to_system(&far, &desc);
}

enum x86_result x86_sys_jmp_far(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	return far_transfer(cpu, insn, false);
}

enum x86_result x86_sys_call_far(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	return far_transfer(cpu, insn, true);
}
