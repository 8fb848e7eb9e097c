/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* LGDT, LIDT, SGDT, SIDT: a 16-bit limit, then the base. */
#include "x86/system.h"

static unsigned base_size(const struct x86_insn *insn)
{
	return insn->code_size == 64 ? 8 : 4;
}

static enum x86_result load(
	struct x86_cpu *cpu, const struct x86_insn *insn, uint64_t *base, uint32_t *limit)
{
	unsigned size = base_size(insn);
	uint64_t gla, value = 0;
	uint16_t word;
	uint8_t raw[10];
	enum x86_result res = x86_operand_linear(cpu, insn, 2 + size, X86_ACC_READ, &gla);

	if (res == X86_DONE)
		res = x86_read(cpu, gla, raw, 2 + size, x86_acc(cpu, X86_ACC_READ));
	if (res != X86_DONE)
		return res;
	x86_bytes_copy(&word, raw, 2);
	x86_bytes_copy(&value, raw + 2, size);
	if (size == 8 && !x86_canonical(value))
		return x86_raise_error(cpu, X86_GP, 0);
	if (size == 4 && insn->opsize == 2) /* the 286's 24 bits */
		value &= 0xffffff;
	*base = value;
	*limit = word;
	return x86_done(cpu, insn);
}

static enum x86_result store(
	struct x86_cpu *cpu, const struct x86_insn *insn, uint64_t base, uint32_t limit)
{
	unsigned size = base_size(insn);
	uint16_t word = (uint16_t)limit;
	uint64_t gla;
	uint8_t raw[10];
	enum x86_result res;

	if (cpu->cr4 & X86_CR4_UMIP && cpu->cpl != 0)
		return x86_raise_error(cpu, X86_GP, 0);
	x86_bytes_copy(raw, &word, 2);
	x86_bytes_copy(raw + 2, &base, size);
	res = x86_operand_linear(cpu, insn, 2 + size, X86_ACC_WRITE, &gla);
	if (res == X86_DONE)
		res = x86_write(cpu, gla, raw, 2 + size, x86_acc(cpu, X86_ACC_WRITE));
	return res == X86_DONE ? x86_done(cpu, insn) : res;
}

enum x86_result x86_sys_lgdt(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	return load(cpu, insn, &cpu->gdtr.base, &cpu->gdtr.limit);
}

enum x86_result x86_sys_lidt(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	return load(cpu, insn, &cpu->idtr.base, &cpu->idtr.limit);
}

enum x86_result x86_sys_sgdt(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	return store(cpu, insn, cpu->gdtr.base, cpu->gdtr.limit);
}

enum x86_result x86_sys_sidt(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	return store(cpu, insn, cpu->idtr.base, cpu->idtr.limit);
}
