/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The classes of instructions that x86_execute() tells apart.  For the files of x86/ only. */
#ifndef X86_STEP_H
#define X86_STEP_H

#include "x86/cpu.h"

enum x86_result x86_native(struct x86_cpu *cpu, const struct x86_insn *insn); /* native.c */
enum x86_result x86_branch(struct x86_cpu *cpu, const struct x86_insn *insn); /* branch.c */
enum x86_result x86_stack(struct x86_cpu *cpu, const struct x86_insn *insn);  /* stack.c */

/*
 * Is there an exception (FSW.ES) that this x87 or MMX instruction reports before it does anything?
 */
bool x86_is_x87_pending(const struct x86_row *row); /* native.c */

/* PUSH of `size` bytes through SS, RSP moved; near transfers need it too. */
enum x86_result x86_push(struct x86_cpu *cpu, unsigned size, uint64_t value);
/* What a POP would read, RSP left alone; and the second half, `bytes` off the stack. */
enum x86_result x86_peek(struct x86_cpu *cpu, unsigned size, uint64_t *value);
void x86_drop(struct x86_cpu *cpu, unsigned bytes);

#endif
