/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The machine of step_guest.h with what a kernel sets up: a GDT, an IDT, a TSS and stacks.  The
 * default segments are flat; tests overwrite descriptors and gates as they need.
 */
#ifndef TEST_X86_SYSTEM_GUEST_H
#define TEST_X86_SYSTEM_GUEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "test/x86/step_guest.h"

/* Where things stand in guest memory. */
#define AT_GDT	  0x30000u
#define AT_IDT	  0x31000u
#define AT_TSS	  0x32000u
#define AT_TSS2	  0x33000u
#define AT_LDT	  0x34000u
#define AT_DATA	  0x40000u
#define STACK0	  0x50000u /* of ring 0, in the TSS */
#define STACK1	  0x52000u
#define STACK_IST 0x54000u
#define STACK_NOW 0x60000u /* in RSP */
#define HANDLER	  0x70000u

/* Selectors. */
#define KCODE	   0x08u
#define KDATA	   0x10u
#define UCODE	   0x1bu
#define UDATA	   0x23u
#define KCODE64	   0x28u
#define UCODE64	   0x33u
#define CONFORMING 0x38u
#define TSS	   0x40u /* 16 bytes in long mode */
#define TSS2	   0x50u
#define LDT	   0x60u
#define CODE1	   0x71u /* ring 1 */
#define DATA1	   0x79u
#define FREE	   0x80u /* and on, to 0xf8 */

/* Access bits of descriptors, as in struct x86_seg. */
#define A_CODE	0x9bu
#define A_DATA	0x93u
#define A_DPL3	0x60u
#define A_DPL1	0x20u
#define A_32	(X86_SEG_DB | X86_SEG_G)
#define A_64	(X86_SEG_L | X86_SEG_G)
#define A_TSS	0x89u
#define A_TSS16 0x81u
#define A_LDT	0x82u

#define GATE_INTR32 0x8eu
#define GATE_TRAP32 0x8fu
#define GATE_INTR16 0x86u
#define GATE_TASK   0x85u
#define GATE_CALL32 0x8cu
#define GATE_CALL16 0x84u

/* A machine in `mode` whose segment registers hold selectors of `cpl` (GUEST_REAL16: paragraphs 0).
 */
struct guest *system_guest(enum guest_mode mode, unsigned cpl);

uint64_t descriptor(uint32_t base, uint32_t limit, uint32_t access);
void gdt_set(struct guest *g, unsigned sel, uint64_t low);
/* An IDT gate of the mode's format. */
void idt_set(struct guest *g, unsigned vector, unsigned type, unsigned sel, uint64_t offset);
/* A call gate; 16 bytes in long mode. */
void gate_set(struct guest *g, unsigned sel, unsigned type, unsigned target, uint64_t offset,
	unsigned params);

uint64_t guest_get(struct guest *g, uint64_t gpa, unsigned size);
void guest_put(struct guest *g, uint64_t gpa, uint64_t value, unsigned size);

enum x86_result guest_deliver(struct guest *g, unsigned vector, enum x86_event_type type);
enum x86_result guest_deliver_error(struct guest *g, unsigned vector, uint32_t error);

/* A fault, and not a byte of the processor's state changed by it. */
#define assert_fault(g, result, vector_, error_)                                                   \
	do {                                                                                       \
		struct x86_cpu before_ = (g)->cpu;                                                 \
		enum x86_result result_ = (result);                                                \
		assert_int_equal(result_, X86_FAULT);                                              \
		assert_int_equal((g)->cpu.fault.vector, vector_);                                  \
		assert_int_equal((g)->cpu.fault.error, error_);                                    \
		assert_same_state(&before_, &(g)->cpu);                                            \
	} while (0)
void assert_same_state(const struct x86_cpu *before, const struct x86_cpu *after);

#endif
