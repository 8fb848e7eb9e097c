/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Integer operands of SYSTEM instructions. */
#include "x86/system.h"

enum x86_result x86_operand_get(
	struct x86_cpu *cpu, const struct x86_insn *insn, unsigned i, uint64_t *value)
{
	const struct x86_operand *op = &insn->op[i];

	if (op->kind != X86_OK_MEM) {
		*value = x86_gpr_get(cpu, op);
		return X86_DONE;
	}
	return x86_data_read(cpu, insn->mem.seg, x86_effective(cpu, insn), op->size, value);
}

enum x86_result x86_operand_put(
	struct x86_cpu *cpu, const struct x86_insn *insn, unsigned i, uint64_t value)
{
	const struct x86_operand *op = &insn->op[i];

	if (op->kind != X86_OK_MEM) {
		x86_gpr_set(cpu, op, value);
		return X86_DONE;
	}
	return x86_data_write(cpu, insn->mem.seg, x86_effective(cpu, insn), op->size, value);
}

enum x86_result x86_operand_linear(struct x86_cpu *cpu, const struct x86_insn *insn, unsigned size,
	unsigned acc, uint64_t *gla)
{
	return x86_linear(cpu, insn->mem.seg, x86_effective(cpu, insn), size, acc, gla);
}

uint64_t x86_implicit_offset(const struct x86_cpu *cpu, const struct x86_insn *insn, unsigned gpr)
{
	return cpu->gpr[gpr] & x86_mask(insn->addrsize);
}
