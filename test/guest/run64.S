/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* run() of 64-bit images, and the entries that exceptions come in by. */
#include "kit.h"

#define R(field) (R + 8 * C_##field)
#define R8_15(n) (R + 8 * (C_R8 + n - 8))

	.code64
	.text
	.globl	run
run:	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%rsp, ksp
	movl	$1, running
	pushq	R(SS)
	pushq	R(SP)
	pushq	R(FLAGS)
	pushq	R(CS)
	pushq	R(IP)
	/* A null selector would change the base of FS or GS on some processors: leave those alone. */
	movl	R(FS), %eax
	testl	%eax, %eax
	jz	1f
	movl	%eax, %fs
1:	movl	R(GS), %eax
	testl	%eax, %eax
	jz	2f
	movl	%eax, %gs
2:	movl	R(DS), %eax
	movl	%eax, %ds
	movl	R(ES), %eax
	movl	%eax, %es
	movq	R(AX), %rax
	movq	R(CX), %rcx
	movq	R(DX), %rdx
	movq	R(BX), %rbx
	movq	R(BP), %rbp
	movq	R(SI), %rsi
	movq	R(DI), %rdi
	movq	R8_15(8), %r8
	movq	R8_15(9), %r9
	movq	R8_15(10), %r10
	movq	R8_15(11), %r11
	movq	R8_15(12), %r12
	movq	R8_15(13), %r13
	movq	R8_15(14), %r14
	movq	R8_15(15), %r15
	iretq

	.balign	16
	.globl	stubs
stubs:
	.set	vec, 0
	.rept	256
	.balign	16
	.if	!(vec == 8 || vec >= 10 && vec <= 14 || vec == 17 || vec == 21)
	pushq	$-1
	.endif
	pushq	$vec
	jmp	entry
	.set	vec, vec + 1
	.endr

/* On the stack: vector, error, RIP, CS, RFLAGS, RSP, SS. */
	.globl	entry
entry:	movq	%rax, R(AX)
	movq	%rcx, R(CX)
	movq	%rdx, R(DX)
	movq	%rbx, R(BX)
	movq	%rbp, R(BP)
	movq	%rsi, R(SI)
	movq	%rdi, R(DI)
	movq	%r8, R8_15(8)
	movq	%r9, R8_15(9)
	movq	%r10, R8_15(10)
	movq	%r11, R8_15(11)
	movq	%r12, R8_15(12)
	movq	%r13, R8_15(13)
	movq	%r14, R8_15(14)
	movq	%r15, R8_15(15)
	xorl	%eax, %eax
	movw	%ds, %ax
	movq	%rax, R(DS)
	movw	%es, %ax
	movq	%rax, R(ES)
	movw	%fs, %ax
	movq	%rax, R(FS)
	movw	%gs, %ax
	movq	%rax, R(GS)
	movq	%rsp, entry_rsp
	movw	%ss, %ax
	movl	%eax, entry_ss
	popq	R(VECTOR)
	popq	R(ERROR)
	popq	R(IP)
	popq	R(CS)
	popq	R(FLAGS)
	popq	R(SP)
	popq	R(SS)
	movq	%cr2, %rax
	movq	%rax, R(CR2)
	.globl	leave
leave:	movl	$SEL_KDS, %eax
	movl	%eax, %ss
	movq	ksp, %rsp
	cld
	decl	running
	js	kit_crash
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	ret

	.data
	.balign	8
	.globl	ksp, running, entry_rsp, entry_ss
ksp:	.quad	0
entry_rsp:
	.quad	0
entry_ss:
	.long	0
running:
	.long	0
