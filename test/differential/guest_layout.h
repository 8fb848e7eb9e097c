/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Linear addresses and selectors of the little guest that runs cases inside a VM: for C and
 * assembler.
 */
#ifndef TEST_DIFFERENTIAL_GUEST_LAYOUT_H
#define TEST_DIFFERENTIAL_GUEST_LAYOUT_H

#define GUEST_STATE   0x22000000 /* struct diff_state up to `fpu`, then what follows here; user */
#define GUEST_LOAD    0x22000800 /* 1: new code at GUEST_BYTES */
#define GUEST_VECTOR  0x22000808
#define GUEST_ERROR   0x22000810
#define GUEST_CR2     0x22000818
#define GUEST_BYTES   0x22000820 /* 64 bytes for DIFF_RIP */
#define GUEST_STACK   0x22001000 /* top, in the same page */
#define GUEST_ALIAS   0x22001000 /* the code page of the case, writable */
#define GUEST_USER    0x22002000 /* around the instruction; user */
#define GUEST_TABLES  0x22003000 /* GDT, TSS */
#define GUEST_IDT     0x22004000
#define GUEST_KERNEL  0x22005000 /* handlers, one page */
#define GUEST_STACK_0 0x22007000 /* top of the kernel's stack, a page below */
#define GUEST_END     0x22007000

#define STATE_RFLAGS 128
#define STATE_RIP    136
#define STATE_FPU    192

#define SEL_KCODE 0x08
#define SEL_KDATA 0x10
#define SEL_UDATA 0x1b
#define SEL_UCODE 0x23
#define SEL_TSS	  0x28

#define STUB_SIZE   16
#define EXIT_VECTOR 0x80
#define EXIT_PORT   0xf1

#endif
