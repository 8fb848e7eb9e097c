/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Far RET and IRET (SDM vol. 2; vol. 3, 5.8.6, 6.12, 6.14.3, 20.2). */
#include "x86/system.h"

#define IRET_BITS_16 (X86_FL_STATUS | X86_FL_DF | X86_RF_TF | X86_RF_IF | X86_RF_IOPL | X86_RF_NT)
#define IRET_BITS_32 (IRET_BITS_16 | X86_RF_RF | X86_RF_AC | X86_RF_ID)
#define VIRTUAL_IF   (X86_RF_VIF | X86_RF_VIP)

/* Where a return leads, collected from the stack before anything changes. */
struct far_return {
	struct x86_cpu *cpu;
	unsigned word; /* bytes per pop */
	uint64_t rip;
	uint16_t cs_sel;
	struct x86_seg cs;
	unsigned cpl; /* after the return: RPL of CS */
	uint64_t flags;
	bool outer, new_ss;
	uint64_t rsp;
	struct x86_seg ss;
};

static enum x86_result pop_word(struct far_return *ret, unsigned at, uint64_t *value)
{
	return x86_stack_peek(ret->cpu, ret->word, at, value);
}

static enum x86_result pop_sel(struct far_return *ret, unsigned at, uint16_t *sel)
{
	uint64_t value = 0;
	enum x86_result res = pop_word(ret, at, &value);

	*sel = (uint16_t)value;
	return res;
}

static enum x86_result pop_target(struct far_return *ret)
{
	enum x86_result res = pop_word(ret, 0, &ret->rip);

	if (res == X86_DONE)
		res = pop_sel(ret, ret->word, &ret->cs_sel);
	ret->cpl = ret->cs_sel & 3;
	ret->outer = ret->cpl > ret->cpu->cpl;
	return res;
}

static void discard(struct x86_cpu *cpu, unsigned bytes)
{
	uint64_t *rsp = &cpu->gpr[X86_RSP];

	*rsp = x86_merge(*rsp, *rsp + bytes, x86_stack_size(cpu));
}

static enum x86_result check_cs(struct far_return *ret)
{
	struct x86_cpu *cpu = ret->cpu;
	uint32_t error = x86_sel_error(ret->cs_sel, 0), access;
	struct x86_desc desc;
	enum x86_result res;

	if (x86_is_null(ret->cs_sel))
		return x86_raise_error(cpu, X86_GP, 0);
	res = x86_desc_read(cpu, ret->cs_sel, X86_GP, 0, &desc);
	if (res != X86_DONE)
		return res;
	access = x86_desc_access(&desc);
	if (!(access & X86_SEG_S) || !(access & X86_SEG_CODE) || ret->cpl < cpu->cpl)
		return x86_raise_error(cpu, X86_GP, error);
	if (access & X86_SEG_CONFORMING ? X86_SEG_DPL(access) > ret->cpl
					: X86_SEG_DPL(access) != ret->cpl)
		return x86_raise_error(cpu, X86_GP, error);
	if (x86_is_long(cpu) && access & X86_SEG_L && access & X86_SEG_DB)
		return x86_raise_error(cpu, X86_GP, error);
	if (!(access & X86_SEG_P))
		return x86_raise_error(cpu, X86_NP, error);
	res = x86_desc_mark(cpu, &desc, X86_SEG_ACCESSED, true);
	ret->cs = x86_desc_seg(&desc, ret->cs_sel);
	return res;
}

static bool returns_to_64bit(const struct far_return *ret)
{
	return x86_is_long(ret->cpu) && ret->cs.access & X86_SEG_L;
}

/* SP, SS at `at`: the outer stack, or any stack when 64-bit IRET pops them always. */
static enum x86_result pop_stack(struct far_return *ret, unsigned at)
{
	uint16_t sel;
	enum x86_result res = pop_word(ret, at, &ret->rsp);

	if (res == X86_DONE)
		res = pop_sel(ret, at + ret->word, &sel);
	if (res != X86_DONE)
		return res;
	ret->new_ss = true;
	if (x86_is_null(sel) && returns_to_64bit(ret) && ret->cpl != 3 && (sel & 3u) == ret->cpl) {
		ret->ss = x86_null_seg(sel, ret->cpl);
		return X86_DONE;
	}
	return x86_check_ss(ret->cpu, sel, ret->cpl, X86_GP, 0, &ret->ss);
}

/* `release`: bytes of parameters that RET n drops from the outer stack, too. */
static void commit_stack(struct far_return *ret, unsigned popped, unsigned release)
{
	struct x86_cpu *cpu = ret->cpu;
	unsigned size = returns_to_64bit(ret) ? 8 : ret->ss.access & X86_SEG_DB ? 4 : 2;

	if (!ret->new_ss) {
		discard(cpu, popped);
		return;
	}
	cpu->gpr[X86_RSP] = x86_merge(cpu->gpr[X86_RSP], ret->rsp + release, size);
	cpu->seg[X86_SS] = ret->ss;
}

static void commit_cs(struct far_return *ret)
{
	x86_set_cs(ret->cpu, &ret->cs, ret->cpl, ret->rip);
	if (ret->outer)
		x86_drop_inner_segments(ret->cpu);
}

static enum x86_result return_paragraph(struct far_return *ret)
{
	struct x86_cpu *cpu = ret->cpu;

	if (ret->rip > cpu->seg[X86_CS].limit)
		return x86_raise_error(cpu, X86_GP, 0);
	x86_load_seg_paragraph(cpu, X86_CS, ret->cs_sel);
	cpu->rip = ret->rip;
	return X86_DONE;
}

enum x86_result x86_sys_ret_far(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	struct far_return ret = {.cpu = cpu, .word = insn->opsize};
	unsigned release = insn->imm_size ? (uint16_t)insn->imm : 0;
	unsigned popped = 2 * ret.word + release;
	enum x86_result res = pop_target(&ret);

	if (res != X86_DONE)
		return res;
	if (!x86_is_protected(cpu)) {
		res = return_paragraph(&ret);
		if (res == X86_DONE)
			discard(cpu, popped);
		return res;
	}
	res = check_cs(&ret);
	if (res == X86_DONE)
		res = x86_check_rip(cpu, &ret.cs, ret.rip, 0);
	if (res == X86_DONE && ret.outer)
		res = pop_stack(&ret, popped);
	if (res != X86_DONE)
		return res;
	commit_stack(&ret, popped, release);
	commit_cs(&ret);
	return X86_DONE;
}

/* Privilege is judged before CS changes it. */
static void set_flags(struct far_return *ret)
{
	struct x86_cpu *cpu = ret->cpu;

	if (ret->word == 2) {
		x86_set_rflags(cpu, ret->flags, IRET_BITS_16);
		cpu->rflags &= ~X86_RF_RF;
		return;
	}
	x86_set_rflags(cpu, ret->flags, IRET_BITS_32);
	if (cpu->cpl == 0)
		cpu->rflags = (cpu->rflags & ~VIRTUAL_IF) | (ret->flags & VIRTUAL_IF);
}

static enum x86_result iret_paragraph(struct far_return *ret)
{
	struct x86_cpu *cpu = ret->cpu;
	enum x86_result res;

	if (x86_is_vm86(cpu) && x86_iopl(cpu) != 3)
		return x86_raise_error(cpu, X86_GP, 0);
	res = return_paragraph(ret);
	if (res != X86_DONE)
		return res;
	discard(cpu, 3 * ret->word);
	set_flags(ret);
	cpu->nmi_blocked = false;
	return X86_DONE;
}

/* Back to virtual-8086 mode: the monitor's stack holds all segment registers (vol. 3, 20.2.1). */
static enum x86_result iret_to_vm86(struct far_return *ret)
{
	static const uint8_t order[] = {X86_SS, X86_ES, X86_DS, X86_FS, X86_GS};
	struct x86_cpu *cpu = ret->cpu;
	uint16_t sel[sizeof(order)];
	uint64_t flags = IRET_BITS_32 | VIRTUAL_IF | X86_RF_VM;
	enum x86_result res = pop_word(ret, 12, &ret->rsp);

	for (unsigned i = 0; i < sizeof(order) && res == X86_DONE; i++)
		res = pop_sel(ret, 16 + 4 * i, &sel[i]);
	if (res != X86_DONE)
		return res;
	if (ret->rip > 0xffff)
		return x86_raise_error(cpu, X86_GP, 0);
	cpu->rflags = (cpu->rflags & ~flags) | (ret->flags & flags) | 2;
	for (unsigned i = 0; i < sizeof(order); i++)
		x86_load_seg_paragraph(cpu, order[i], sel[i]);
	x86_load_seg_paragraph(cpu, X86_CS, ret->cs_sel);
	cpu->gpr[X86_RSP] = ret->rsp;
	cpu->rip = ret->rip;
	cpu->cpl = 3;
	cpu->nmi_blocked = false;
	return X86_DONE;
}

static enum x86_result iret_task(struct x86_cpu *cpu)
{
	uint16_t link;
	enum x86_result res;

	if (x86_is_long(cpu))
		return x86_raise_error(cpu, X86_GP, 0);
	res = x86_read(cpu, cpu->tr.base, &link, 2, X86_ACC_TABLE_READ);
	return res == X86_DONE ? x86_exit_task(cpu, link, X86_TASK_IRET) : res;
}

static enum x86_result iret_protected(struct far_return *ret)
{
	struct x86_cpu *cpu = ret->cpu;
	enum x86_result res;

	if (ret->word == 4 && ret->flags & X86_RF_VM && cpu->cpl == 0 && !x86_is_long(cpu))
		return iret_to_vm86(ret);
	res = check_cs(ret);
	if (res == X86_DONE)
		res = x86_check_rip(cpu, &ret->cs, ret->rip, 0);
	if (res == X86_DONE && (ret->outer || x86_is_64bit(cpu)))
		res = pop_stack(ret, 3 * ret->word);
	if (res != X86_DONE)
		return res;
	commit_stack(ret, 3 * ret->word, 0);
	set_flags(ret);
	commit_cs(ret);
	cpu->nmi_blocked = false;
	return X86_DONE;
}

enum x86_result x86_sys_iret(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	struct far_return ret = {.cpu = cpu, .word = insn->opsize};
	enum x86_result res;

	if (x86_is_protected(cpu) && cpu->rflags & X86_RF_NT)
		return iret_task(cpu);
	res = pop_target(&ret);
	if (res == X86_DONE)
		res = pop_word(&ret, 2 * ret.word, &ret.flags);
	if (res != X86_DONE)
		return res;
	return x86_is_protected(cpu) ? iret_protected(&ret) : iret_paragraph(&ret);
}
