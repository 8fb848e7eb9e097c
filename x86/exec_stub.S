/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Between C and one guest instruction.  The stub runs on the host's stack; everything else in the
 * sixteen registers is the guest's (struct x86_exec_frame, exec.h).
 */
#define FRAME_FLAGS 128
#define FRAME_CODE  136

	.text

/* bool x86_exec_enter(struct x86_exec_frame *frame) */
	.globl	x86_exec_enter
	.hidden	x86_exec_enter
	.type	x86_exec_enter, @function
	.p2align 4
x86_exec_enter:
	endbr64
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	pushq	%rdi			/* 8(%rsp): frame */
	pushq	FRAME_CODE(%rdi)	/* 0(%rsp): target, later a scratch word */
	pushq	FRAME_FLAGS(%rdi)
	popfq
	movq	0(%rdi), %rax
	movq	8(%rdi), %rcx
	movq	16(%rdi), %rdx
	movq	24(%rdi), %rbx
	movq	40(%rdi), %rbp
	movq	48(%rdi), %rsi
	movq	64(%rdi), %r8
	movq	72(%rdi), %r9
	movq	80(%rdi), %r10
	movq	88(%rdi), %r11
	movq	96(%rdi), %r12
	movq	104(%rdi), %r13
	movq	112(%rdi), %r14
	movq	120(%rdi), %r15
	movq	56(%rdi), %rdi
	call	*(%rsp)
	movq	%rdi, (%rsp)		/* no flag may change before pushfq */
	movq	8(%rsp), %rdi
	movq	%rax, 0(%rdi)
	movq	%rcx, 8(%rdi)
	movq	%rdx, 16(%rdi)
	movq	%rbx, 24(%rdi)
	movq	%rbp, 40(%rdi)
	movq	%rsi, 48(%rdi)
	movq	%r8, 64(%rdi)
	movq	%r9, 72(%rdi)
	movq	%r10, 80(%rdi)
	movq	%r11, 88(%rdi)
	movq	%r12, 96(%rdi)
	movq	%r13, 104(%rdi)
	movq	%r14, 112(%rdi)
	movq	%r15, 120(%rdi)
	pushfq
	popq	FRAME_FLAGS(%rdi)
	popq	56(%rdi)
	xorl	%eax, %eax
.Lleave:
	cld
	popq	%rdi
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	ret
	.size	x86_exec_enter, . - x86_exec_enter

/* The signal handler resumes here, the stub's return address still on the stack. */
	.globl	x86_exec_faulted
	.hidden	x86_exec_faulted
	.type	x86_exec_faulted, @function
	.p2align 4
x86_exec_faulted:
	leaq	16(%rsp), %rsp
	movl	$1, %eax
	jmp	.Lleave
	.size	x86_exec_faulted, . - x86_exec_faulted

/*
 * void x86_exec_serialize(void).  IRET is the one serializing instruction that neither needs privilege
 * nor leaves the guest when we run in a virtual machine ourselves (SDM vol. 3, 9.3).
 */
	.globl	x86_exec_serialize
	.hidden	x86_exec_serialize
	.type	x86_exec_serialize, @function
	.p2align 4
x86_exec_serialize:
	endbr64
	movq	%rsp, %rcx
	movl	%ss, %eax
	pushq	%rax
	pushq	%rcx
	pushfq
	movl	%cs, %eax
	pushq	%rax
	leaq	1f(%rip), %rax
	pushq	%rax
	iretq
1:	ret
	.size	x86_exec_serialize, . - x86_exec_serialize

	.section .note.GNU-stack, "", @progbits
