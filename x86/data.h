/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Operand widths and explicit data accesses of one instruction.  For the files of x86/ only. */
#ifndef X86_DATA_H
#define X86_DATA_H

#include "x86/cpu.h"

#define X86_PAGE_SIZE 4096u

/* All ones in `size` bytes, 1 to 8. */
static inline uint64_t x86_mask(unsigned size)
{
	return size >= 8 ? UINT64_MAX : (1ull << 8 * size) - 1;
}

/* As the current privilege level: READ and WRITE of an explicit operand. */
static inline unsigned x86_acc(const struct x86_cpu *cpu, unsigned acc)
{
	return cpu->cpl == 3 ? acc | X86_ACC_USER : acc;
}

/* Bytes of an address through SS: 2, 4 or 8. */
unsigned x86_stack_size(const struct x86_cpu *cpu);

/*
 * `value` into the low `size` bytes of `old`; 4 bytes clear the upper half (SDM vol. 1, 3.4.1.1).
 */
uint64_t x86_merge(uint64_t old, uint64_t value, unsigned size);

/* To the next instruction.  IP is the low half of EIP and does not wrap at 64 KiB. */
static inline void x86_advance(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	cpu->rip = (cpu->rip + insn->len) & x86_mask(insn->code_size == 64 ? 8 : 4);
}

/* A register operand's value (zero-extended), and a write to it. GPR operands only. */
uint64_t x86_gpr_get(const struct x86_cpu *cpu, const struct x86_operand *op);
void x86_gpr_set(struct x86_cpu *cpu, const struct x86_operand *op, uint64_t value);

/* #AC(0) if alignment checking is on for this access; `align` is 1 if any address will do. */
enum x86_result x86_check_align(struct x86_cpu *cpu, uint64_t gla, unsigned align);

/* x86_linear() and the alignment check of `size` bytes. */
enum x86_result x86_data_linear(struct x86_cpu *cpu, unsigned seg, uint64_t offset, unsigned size,
	unsigned acc, uint64_t *gla);
/* Reads or writes an integer of `size` bytes, 1 to 8, at seg:offset. */
enum x86_result x86_data_read(
	struct x86_cpu *cpu, unsigned seg, uint64_t offset, unsigned size, uint64_t *value);
enum x86_result x86_data_write(
	struct x86_cpu *cpu, unsigned seg, uint64_t offset, unsigned size, uint64_t value);
/* Would a data access of [gla, gla+len) be permitted?  DONE for devices too; touches no memory. */
enum x86_result x86_data_probe(struct x86_cpu *cpu, uint64_t gla, unsigned len, unsigned acc);

/*
 * Host address of [gla, gla+len), which lies in two pages, as if they were neighbours: what is done
 * there by one instruction of the host is as atomic as that is.  NULL: a fault, or *res is not
 * FAULT and it cannot be had.
 */
void *x86_map_split(
	struct x86_cpu *cpu, uint64_t gla, unsigned len, unsigned acc, enum x86_result *res);

#endif
