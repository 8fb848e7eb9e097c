/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Instructions that move data through the stack pointer (SDM vol. 1, 6.2).
 *
 * The operand size says how much is pushed, the stack segment how wide the pointer is; the two are
 * independent outside 64-bit mode.  Instructions with several pushes first ask whether all of them
 * may happen and then do them, so that a fault finds nothing changed.
 */
#include "x86/data.h"
#include "x86/step.h"

/* What PUSHF stores, and what POPF may load at all; x86_set_rflags() narrows that by privilege. */
#define PUSHF_BITS 0x00fcffffull
#define POPF_BITS                                                                                  \
	(X86_FL_STATUS | X86_FL_DF | X86_RF_TF | X86_RF_IF | X86_RF_IOPL | X86_RF_NT | X86_RF_AC | \
		X86_RF_ID | X86_RF_RF)

static uint64_t stack_offset(const struct x86_cpu *cpu, uint64_t value)
{
	return value & x86_mask(x86_stack_size(cpu));
}

static void set_rsp(struct x86_cpu *cpu, uint64_t value)
{
	cpu->gpr[X86_RSP] = x86_merge(cpu->gpr[X86_RSP], value, x86_stack_size(cpu));
}

enum x86_result x86_push(struct x86_cpu *cpu, unsigned size, uint64_t value)
{
	uint64_t rsp = cpu->gpr[X86_RSP] - size;
	enum x86_result res = x86_data_write(cpu, X86_SS, stack_offset(cpu, rsp), size, value);

	if (res == X86_DONE)
		set_rsp(cpu, rsp);
	return res;
}

enum x86_result x86_peek(struct x86_cpu *cpu, unsigned size, uint64_t *value)
{
	return x86_data_read(cpu, X86_SS, stack_offset(cpu, cpu->gpr[X86_RSP]), size, value);
}

void x86_drop(struct x86_cpu *cpu, unsigned bytes)
{
	set_rsp(cpu, cpu->gpr[X86_RSP] + bytes);
}

/* Would a stack access of `size` bytes at SS:offset be permitted? */
static enum x86_result probe(struct x86_cpu *cpu, uint64_t offset, unsigned size, unsigned acc)
{
	uint64_t gla;
	enum x86_result res =
		x86_data_linear(cpu, X86_SS, stack_offset(cpu, offset), size, acc, &gla);

	return res == X86_DONE ? x86_data_probe(cpu, gla, size, x86_acc(cpu, acc)) : res;
}

/*
 * The memory operand of PUSH.  It may be a device's register that changes by being read, so
 * everything that can fault is tried first, in the order of the accesses.
 */
static enum x86_result pushed_memory(
	struct x86_cpu *cpu, const struct x86_insn *insn, uint64_t *value)
{
	uint64_t offset = x86_effective(cpu, insn), gla;
	enum x86_result res = x86_data_linear(
		cpu, insn->mem.seg, offset, insn->opsize, X86_ACC_READ, &gla);

	if (res == X86_DONE)
		res = x86_data_probe(cpu, gla, insn->opsize, x86_acc(cpu, X86_ACC_READ));
	if (res == X86_DONE)
		res = probe(cpu, cpu->gpr[X86_RSP] - insn->opsize, insn->opsize, X86_ACC_WRITE);
	if (res == X86_DONE)
		res = x86_data_read(cpu, insn->mem.seg, offset, insn->opsize, value);
	return res;
}

static enum x86_result push(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	const struct x86_operand *op = &insn->op[0];
	enum x86_result res = X86_DONE;
	uint64_t value;

	switch (op->kind) {
	case X86_OK_GPR:
		value = x86_gpr_get(cpu, op);
		break;
	case X86_OK_MEM:
		res = pushed_memory(cpu, insn, &value);
		break;
	default:
		value = (uint64_t)insn->imm;
	}
	return res == X86_DONE ? x86_push(cpu, insn->opsize, value) : res;
}

/* An address based on RSP is computed after the pop (SDM vol. 2, POP). */
static enum x86_result pop_to_memory(
	struct x86_cpu *cpu, const struct x86_insn *insn, uint64_t value)
{
	uint64_t rsp = cpu->gpr[X86_RSP];
	enum x86_result res;

	x86_drop(cpu, insn->opsize);
	res = x86_data_write(cpu, insn->mem.seg, x86_effective(cpu, insn), insn->opsize, value);
	if (res != X86_DONE)
		cpu->gpr[X86_RSP] = rsp;
	return res;
}

static enum x86_result pop(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t value;
	enum x86_result res = x86_peek(cpu, insn->opsize, &value);

	if (res != X86_DONE)
		return res;
	if (insn->op[0].kind == X86_OK_MEM)
		return pop_to_memory(cpu, insn, value);
	x86_drop(cpu, insn->opsize);
	x86_gpr_set(cpu, &insn->op[0], value);
	return X86_DONE;
}

static enum x86_result pusha(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t rsp = cpu->gpr[X86_RSP];
	enum x86_result res = X86_DONE;

	for (unsigned i = 1; i <= 8 && res == X86_DONE; i++)
		res = probe(cpu, rsp - i * insn->opsize, insn->opsize, X86_ACC_WRITE);
	for (unsigned reg = 0; reg < 8 && res == X86_DONE; reg++)
		res = x86_push(cpu, insn->opsize, reg == X86_RSP ? rsp : cpu->gpr[reg]);
	if (res != X86_DONE)
		cpu->gpr[X86_RSP] = rsp;
	return res;
}

static enum x86_result popa(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t value[8], rsp = cpu->gpr[X86_RSP];
	enum x86_result res = X86_DONE;

	for (unsigned i = 0; i < 8 && res == X86_DONE; i++)
		res = x86_data_read(cpu, X86_SS, stack_offset(cpu, rsp + i * insn->opsize),
			insn->opsize, &value[7 - i]);
	if (res != X86_DONE)
		return res;
	for (unsigned reg = 0; reg < 8; reg++)
		if (reg != X86_RSP)
			cpu->gpr[reg] = x86_merge(cpu->gpr[reg], value[reg], insn->opsize);
	x86_drop(cpu, 8u * insn->opsize);
	return X86_DONE;
}

static enum x86_result leave(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t frame = cpu->gpr[X86_RBP], value;
	enum x86_result res =
		x86_data_read(cpu, X86_SS, stack_offset(cpu, frame), insn->opsize, &value);

	if (res != X86_DONE)
		return res;
	set_rsp(cpu, frame + insn->opsize);
	cpu->gpr[X86_RBP] = x86_merge(frame, value, insn->opsize);
	return X86_DONE;
}

/* ENTER copies `level` - 1 frame pointers from the old frame, then pushes its own. */
static enum x86_result enter_probe(
	struct x86_cpu *cpu, unsigned size, unsigned level, unsigned alloc)
{
	uint64_t rsp = cpu->gpr[X86_RSP], rbp = cpu->gpr[X86_RBP];
	enum x86_result res = probe(cpu, rsp - size, size, X86_ACC_WRITE);

	for (unsigned i = 1; i < level && res == X86_DONE; i++) {
		res = probe(cpu, rbp - i * size, size, X86_ACC_READ);
		if (res == X86_DONE)
			res = probe(cpu, rsp - (i + 1) * size, size, X86_ACC_WRITE);
	}
	if (res == X86_DONE && level > 0)
		res = probe(cpu, rsp - (level + 1) * size, size, X86_ACC_WRITE);
	if (res == X86_DONE) /* the new top of stack has to be writable, too */
		res = probe(cpu, rsp - (level + 1) * size - alloc, size, X86_ACC_WRITE);
	return res;
}

static enum x86_result enter_push(struct x86_cpu *cpu, unsigned size, unsigned level)
{
	uint64_t rbp = cpu->gpr[X86_RBP], frame, value;
	enum x86_result res = x86_push(cpu, size, rbp);

	frame = cpu->gpr[X86_RSP];
	for (unsigned i = 1; i < level && res == X86_DONE; i++) {
		res = x86_data_read(cpu, X86_SS, stack_offset(cpu, rbp - i * size), size, &value);
		if (res == X86_DONE)
			res = x86_push(cpu, size, value);
	}
	if (res == X86_DONE && level > 0)
		res = x86_push(cpu, size, frame);
	if (res == X86_DONE)
		cpu->gpr[X86_RBP] = x86_merge(rbp, frame, size);
	return res;
}

static enum x86_result enter(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned alloc = (uint16_t)insn->imm, level = insn->imm2 & 31;
	uint64_t rsp = cpu->gpr[X86_RSP];
	enum x86_result res = enter_probe(cpu, insn->opsize, level, alloc);

	if (res == X86_DONE)
		res = enter_push(cpu, insn->opsize, level);
	if (res == X86_DONE)
		set_rsp(cpu, cpu->gpr[X86_RSP] - alloc);
	else
		cpu->gpr[X86_RSP] = rsp;
	return res;
}

/* Virtual-8086 mode with IOPL below 3: only VME's 16-bit forms work (SDM vol. 3, 21.2.9). */
static bool is_vm86_restricted(const struct x86_cpu *cpu)
{
	return cpu->rflags & X86_RF_VM && (cpu->rflags & X86_RF_IOPL) != X86_RF_IOPL;
}

static bool has_vme(const struct x86_cpu *cpu, const struct x86_insn *insn)
{
	return cpu->cr4 & X86_CR4_VME && insn->opsize == 2;
}

static enum x86_result pushf(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t flags = cpu->rflags & PUSHF_BITS;

	if (is_vm86_restricted(cpu)) {
		if (!has_vme(cpu, insn))
			return x86_raise_error(cpu, X86_GP, 0);
		flags = (flags & ~X86_RF_IF) | X86_RF_IOPL;
		if (cpu->rflags & X86_RF_VIF)
			flags |= X86_RF_IF;
	}
	return x86_push(cpu, insn->opsize, flags & ~(X86_RF_VM | X86_RF_RF));
}

/* POPF under VME: IF goes to VIF, IOPL stays. */
static enum x86_result popf_vme(struct x86_cpu *cpu, const struct x86_insn *insn, uint64_t value)
{
	uint64_t mask = POPF_BITS & 0xffff & ~(X86_RF_IF | X86_RF_IOPL);

	if (!has_vme(cpu, insn) || value & X86_RF_TF ||
		(value & X86_RF_IF && cpu->rflags & X86_RF_VIP))
		return x86_raise_error(cpu, X86_GP, 0);
	cpu->rflags = (cpu->rflags & ~(mask | X86_RF_VIF)) | (value & mask) |
		      (value & X86_RF_IF ? X86_RF_VIF : 0);
	x86_drop(cpu, insn->opsize);
	return X86_DONE;
}

static enum x86_result popf(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t value;
	enum x86_result res;

	if (is_vm86_restricted(cpu) && !has_vme(cpu, insn))
		return x86_raise_error(cpu, X86_GP, 0);
	res = x86_peek(cpu, insn->opsize, &value);
	if (res != X86_DONE)
		return res;
	if (is_vm86_restricted(cpu))
		return popf_vme(cpu, insn, value);
	x86_set_rflags(cpu, value & ~X86_RF_RF, POPF_BITS & x86_mask(insn->opsize));
	x86_drop(cpu, insn->opsize);
	return X86_DONE;
}

enum x86_result x86_stack(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	static enum x86_result (*const table[])(struct x86_cpu *, const struct x86_insn *) = {
		[X86_I_push] = push,
		[X86_I_pop] = pop,
		[X86_I_pusha] = pusha,
		[X86_I_popa] = popa,
		[X86_I_enter] = enter,
		[X86_I_leave] = leave,
		[X86_I_pushf] = pushf,
		[X86_I_popf] = popf,
	};
	enum x86_result res = table[insn->row->mnem](cpu, insn);

	if (res == X86_DONE)
		x86_advance(cpu, insn);
	return res;
}
