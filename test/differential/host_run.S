/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * One instruction at DIFF_RIP on the bare CPU, all sixteen registers its own.  What has to be remembered
 * meanwhile stands in fixed places, because no register is left to point at it.
 */
#define STATE_FLAGS 128
#define STATE_FPU   192
#define DIFF_RIP    0x20000800

	.bss
	.p2align 3
host_stack:	.skip 8
host_state:	.skip 8
guest_rax:	.skip 8
guest_rsp:	.skip 8

	.text
/* void host_enter(struct diff_state *state) */
	.globl	host_enter
	.type	host_enter, @function
host_enter:
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movq	%rsp, host_stack(%rip)
	movq	%rdi, host_state(%rip)
	movl	$7, %eax
	xorl	%edx, %edx
	xrstor64 STATE_FPU(%rdi)
	pushq	STATE_FLAGS(%rdi)
	popfq
	movq	0(%rdi), %rax
	movq	8(%rdi), %rcx
	movq	16(%rdi), %rdx
	movq	24(%rdi), %rbx
	movq	32(%rdi), %rsp
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
	jmp	*target(%rip)
	.size	host_enter, . - host_enter

/* Where the code page jumps to, and the signal handler. */
	.globl	host_exit
	.type	host_exit, @function
host_exit:
	movq	%rax, guest_rax(%rip)
	movq	%rsp, guest_rsp(%rip)
	movq	host_stack(%rip), %rsp
	pushfq
	movq	host_state(%rip), %rax
	movq	%rcx, 8(%rax)
	movq	%rdx, 16(%rax)
	movq	%rbx, 24(%rax)
	movq	%rbp, 40(%rax)
	movq	%rsi, 48(%rax)
	movq	%rdi, 56(%rax)
	movq	%r8, 64(%rax)
	movq	%r9, 72(%rax)
	movq	%r10, 80(%rax)
	movq	%r11, 88(%rax)
	movq	%r12, 96(%rax)
	movq	%r13, 104(%rax)
	movq	%r14, 112(%rax)
	movq	%r15, 120(%rax)
	popq	STATE_FLAGS(%rax)
	movq	%rax, %rdi
	movq	guest_rax(%rip), %rax
	movq	%rax, 0(%rdi)
	movq	guest_rsp(%rip), %rax
	movq	%rax, 32(%rdi)
	cld
	movl	$7, %eax
	xorl	%edx, %edx
	xsave64 STATE_FPU(%rdi)
	fninit
	vzeroupper
	ldmxcsr	mxcsr(%rip)
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	ret
	.size	host_exit, . - host_exit

	.section .rodata
	.p2align 3
target:	.quad	DIFF_RIP
mxcsr:	.long	0x1f80

	.section .note.GNU-stack, "", @progbits
