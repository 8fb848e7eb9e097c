/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* IN, OUT, INS, OUTS: permission here (SDM vol. 1, 18.5), the access itself is the owner's. */
#include "x86/system.h"

#define TSS_IO_BASE 0x66u

/* A port beyond the bitmap, which ends with the TSS, is not permitted. */
static enum x86_result check_bitmap(struct x86_cpu *cpu, uint16_t port, unsigned size)
{
	uint32_t limit = cpu->tr.limit;
	uint16_t base, bits;
	enum x86_result res;

	if (!(cpu->tr.access & 8) || cpu->tr.access & X86_SEG_UNUSABLE || limit < TSS_IO_BASE + 1)
		return x86_raise_error(cpu, X86_GP, 0);
	res = x86_read(cpu, cpu->tr.base + TSS_IO_BASE, &base, 2, X86_ACC_TABLE_READ);
	if (res != X86_DONE)
		return res;
	if (base + port / 8u + 1 > limit)
		return x86_raise_error(cpu, X86_GP, 0);
	res = x86_read(cpu, cpu->tr.base + base + port / 8u, &bits, 2, X86_ACC_TABLE_READ);
	if (res != X86_DONE)
		return res;
	if (bits >> port % 8u & ((1u << size) - 1))
		return x86_raise_error(cpu, X86_GP, 0);
	return X86_DONE;
}

static enum x86_result check(struct x86_cpu *cpu, uint16_t port, unsigned size)
{
	bool is_free = !(cpu->cr0 & X86_CR0_PE) || (!x86_is_vm86(cpu) && cpu->cpl <= x86_iopl(cpu));

	return is_free ? X86_DONE : check_bitmap(cpu, port, size);
}

/* Operands: the data register and the port, an immediate or DX. */
static enum x86_result in_out(struct x86_cpu *cpu, const struct x86_insn *insn, bool in)
{
	const struct x86_operand *data = &insn->op[in ? 0 : 1], *where = &insn->op[in ? 1 : 0];
	uint16_t port =
		where->kind == X86_OK_IMM ? (uint8_t)insn->imm : (uint16_t)cpu->gpr[X86_RDX];
	enum x86_result res = check(cpu, port, data->size);

	if (res != X86_DONE)
		return res;
	cpu->exit = (struct x86_exit){
		.reason = X86_EXIT_IO,
		.io = {.port = port, .size = data->size, .in = in},
	};
	return X86_EXIT;
}

enum x86_result x86_sys_in(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	return in_out(cpu, insn, true);
}

enum x86_result x86_sys_out(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	return in_out(cpu, insn, false);
}

static enum x86_result string(struct x86_cpu *cpu, const struct x86_insn *insn, bool in)
{
	uint8_t size = insn->op[in ? 0 : 1].size;
	uint16_t port = (uint16_t)cpu->gpr[X86_RDX];
	uint8_t seg = in ? X86_ES : insn->seg_override == X86_NOREG ? X86_DS : insn->seg_override;
	enum x86_result res = check(cpu, port, size);

	if (res != X86_DONE)
		return res;
	if (insn->rep && x86_implicit_offset(cpu, insn, X86_RCX) == 0)
		return x86_done(cpu, insn);
	cpu->exit = (struct x86_exit){
		.reason = X86_EXIT_IO_STRING,
		.io = {.port = port,
			.size = size,
			.in = in,
			.rep = insn->rep != 0,
			.addrsize = insn->addrsize,
			.seg = seg},
	};
	return X86_EXIT;
}

enum x86_result x86_sys_ins(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	return string(cpu, insn, true);
}

enum x86_result x86_sys_outs(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	return string(cpu, insn, false);
}
