/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Operand widths and explicit data accesses. */
#include "x86/data.h"

unsigned x86_stack_size(const struct x86_cpu *cpu)
{
	if (x86_code_size(cpu) == 64)
		return 8;
	return cpu->seg[X86_SS].access & X86_SEG_DB ? 4 : 2;
}

uint64_t x86_merge(uint64_t old, uint64_t value, unsigned size)
{
	uint64_t mask = x86_mask(size);

	return size == 4 ? value & mask : (old & ~mask) | (value & mask);
}

uint64_t x86_gpr_get(const struct x86_cpu *cpu, const struct x86_operand *op)
{
	uint64_t value = cpu->gpr[op->reg];

	return op->high ? value >> 8 & 0xff : value & x86_mask(op->size);
}

void x86_gpr_set(struct x86_cpu *cpu, const struct x86_operand *op, uint64_t value)
{
	uint64_t *gpr = &cpu->gpr[op->reg];

	if (op->high)
		*gpr = (*gpr & ~0xff00ull) | (value & 0xff) << 8;
	else
		*gpr = x86_merge(*gpr, value, op->size);
}

enum x86_result x86_check_align(struct x86_cpu *cpu, uint64_t gla, unsigned align)
{
	if ((gla & (align - 1)) == 0 || cpu->cpl != 3 || !(cpu->cr0 & X86_CR0_AM) ||
		!(cpu->rflags & X86_RF_AC))
		return X86_DONE;
	return x86_raise_error(cpu, X86_AC, 0);
}

enum x86_result x86_data_linear(struct x86_cpu *cpu, unsigned seg, uint64_t offset, unsigned size,
	unsigned acc, uint64_t *gla)
{
	enum x86_result res = x86_linear(cpu, seg, offset, size, acc, gla);

	return res == X86_DONE ? x86_check_align(cpu, *gla, size) : res;
}

enum x86_result x86_data_read(
	struct x86_cpu *cpu, unsigned seg, uint64_t offset, unsigned size, uint64_t *value)
{
	uint64_t gla, word = 0;
	enum x86_result res = x86_data_linear(cpu, seg, offset, size, X86_ACC_READ, &gla);

	if (res == X86_DONE)
		res = x86_read(cpu, gla, &word, size, x86_acc(cpu, X86_ACC_READ));
	if (res == X86_DONE)
		*value = word;
	return res;
}

enum x86_result x86_data_write(
	struct x86_cpu *cpu, unsigned seg, uint64_t offset, unsigned size, uint64_t value)
{
	uint64_t gla;
	enum x86_result res = x86_data_linear(cpu, seg, offset, size, X86_ACC_WRITE, &gla);

	if (res == X86_DONE)
		res = x86_write(cpu, gla, &value, size, x86_acc(cpu, X86_ACC_WRITE));
	return res;
}

enum x86_result x86_data_probe(struct x86_cpu *cpu, uint64_t gla, unsigned len, unsigned acc)
{
	unsigned first = X86_PAGE_SIZE - (unsigned)(gla % X86_PAGE_SIZE);
	struct x86_walk walk;
	enum x86_result res = x86_walk(cpu, gla, acc, &walk);

	if (res == X86_DONE && len > first) {
		gla += first;
		if (x86_code_size(cpu) != 64)
			gla &= UINT32_MAX;
		res = x86_walk(cpu, gla, acc, &walk);
	}
	return res;
}
