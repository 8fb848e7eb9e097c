/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The guest's side of a case, copied into the VM: two pages, one of user code, one of kernel code.  Addresses
 * are absolute, because no register is free while a case's registers are in place.
 */
#include "test/differential/guest_layout.h"

#define STATE(offset) (GUEST_STATE + offset)
#define DIFF_RIP      0x20000800

	.section .rodata
	.globl	guest_user, guest_user_end, guest_user_done
	.globl	guest_kernel, guest_kernel_end

/* ---- at GUEST_USER ---- */
	.p2align 4
guest_user:
	movl	$7, %eax
	xorl	%edx, %edx
	xrstor64 STATE(STATE_FPU)
	movl	$GUEST_STACK, %esp
	pushq	STATE(STATE_RFLAGS)
	popfq
	movq	STATE(0), %rax
	movq	STATE(8), %rcx
	movq	STATE(16), %rdx
	movq	STATE(24), %rbx
	movq	STATE(32), %rsp
	movq	STATE(40), %rbp
	movq	STATE(48), %rsi
	movq	STATE(56), %rdi
	movq	STATE(64), %r8
	movq	STATE(72), %r9
	movq	STATE(80), %r10
	movq	STATE(88), %r11
	movq	STATE(96), %r12
	movq	STATE(104), %r13
	movq	STATE(112), %r14
	movq	STATE(120), %r15
	jmp	*guest_target - guest_user + GUEST_USER
guest_user_done:			/* the instruction is followed by a jump to here */
	movq	%rax, STATE(0)
	movq	%rsp, STATE(32)
	movl	$GUEST_STACK, %esp
	pushfq
	popq	%rax
	movq	%rax, STATE(STATE_RFLAGS)
	cld
	movl	$EXIT_VECTOR, %eax
	int	$EXIT_VECTOR
	.p2align 3
guest_target:
	.quad	DIFF_RIP
guest_user_end:

/* ---- at GUEST_KERNEL: stubs for vectors 0 to 31 and EXIT_VECTOR, then what they share ---- */
	.p2align 4
guest_kernel:
	.set	vector, 0
	.rept	32
	.p2align 4
	.if	!((vector == 8) || (vector >= 10 && vector <= 14) || (vector == 17))
	pushq	$0
	.endif
	pushq	$vector
	jmp	fault
	.set	vector, vector + 1
	.endr
	.p2align 4
	jmp	done

/* Here first, once, in ring 0. */
	.p2align 4
	xorl	%ecx, %ecx
	movl	$7, %eax
	xorl	%edx, %edx
	xsetbv
	jmp	next_case

/* Vector, error code, rip, cs, rflags, rsp, ss. */
fault:
	movq	%rax, STATE(0)
	popq	%rax
	movq	%rax, GUEST_VECTOR
	popq	%rax
	movq	%rax, GUEST_ERROR
	popq	%rax
	movq	%rax, STATE(STATE_RIP)
	movq	8(%rsp), %rax
	movq	%rax, STATE(STATE_RFLAGS)
	movq	16(%rsp), %rax
	movq	%rax, STATE(32)
	movq	%cr2, %rax
	movq	%rax, GUEST_CR2
done:
	movq	%rcx, STATE(8)
	movq	%rdx, STATE(16)
	movq	%rbx, STATE(24)
	movq	%rbp, STATE(40)
	movq	%rsi, STATE(48)
	movq	%rdi, STATE(56)
	movq	%r8, STATE(64)
	movq	%r9, STATE(72)
	movq	%r10, STATE(80)
	movq	%r11, STATE(88)
	movq	%r12, STATE(96)
	movq	%r13, STATE(104)
	movq	%r14, STATE(112)
	movq	%r15, STATE(120)
	movl	$7, %eax
	xorl	%edx, %edx
	xsave64	STATE(STATE_FPU)
	cld
	outb	%al, $EXIT_PORT
next_case:
	cmpb	$0, GUEST_LOAD
	je	1f
	movb	$0, GUEST_LOAD
	movl	$GUEST_BYTES, %esi
	movl	$GUEST_ALIAS + 0x800, %edi
	movl	$64, %ecx
	rep movsb
1:
	movl	$GUEST_STACK_0, %esp
	pushq	$SEL_UDATA
	pushq	$GUEST_STACK
	pushq	$0x202
	pushq	$SEL_UCODE
	pushq	$GUEST_USER
	iretq
guest_kernel_end:

	.section .note.GNU-stack, "", @progbits
