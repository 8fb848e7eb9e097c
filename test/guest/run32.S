/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* run() and run_real() of 32-bit images, and the entries that exceptions come in by. */
#include "kit.h"

#define R(field) (R + 4 * C_##field)

	.code32
	.text
	.globl	run
run:	pushal
	movl	%esp, ksp
	movl	$1, running
	testl	$0x20000, R(FLAGS)
	jnz	1f
	testl	$3, R(CS)
	jnz	2f
	/* Same privilege: IRET takes three words, from the snippet's own stack. */
	movl	R(SS), %eax
	movl	%eax, %ss
	movl	R(SP), %esp
	jmp	3f
1:	pushl	R(GS)
	pushl	R(FS)
	pushl	R(DS)
	pushl	R(ES)
2:	pushl	R(SS)
	pushl	R(SP)
3:	pushl	R(FLAGS)
	pushl	R(CS)
	pushl	R(IP)
	movl	R(AX), %eax
	movl	R(CX), %ecx
	movl	R(DX), %edx
	movl	R(BX), %ebx
	movl	R(BP), %ebp
	movl	R(SI), %esi
	movl	R(DI), %edi
	testl	$0x20000, R(FLAGS)
	jnz	4f
	movw	R(ES), %es
	movw	R(FS), %fs
	movw	R(GS), %gs
	movw	R(DS), %ds
4:	iretl

	.balign	16
	.globl	stubs
stubs:
	.set	vec, 0
	.rept	256
	.balign	16
	.if	!(vec == 8 || vec >= 10 && vec <= 14 || vec == 17 || vec == 21)
	pushl	$-1
	.endif
	pushl	$vec
	jmp	entry
	.set	vec, vec + 1
	.endr

/* On the stack: vector, error, EIP, CS, EFLAGS, and as privilege or mode changed ESP, SS, ES, DS, FS, GS. */
entry:	pushl	%ds
	pushl	$SEL_KDS
	popl	%ds
	movl	%eax, R(AX)
	movl	%ecx, R(CX)
	movl	%edx, R(DX)
	movl	%ebx, R(BX)
	movl	%ebp, R(BP)
	movl	%esi, R(SI)
	movl	%edi, R(DI)
	xorl	%eax, %eax
	popl	%ecx
	movw	%cx, %ax
	movl	%eax, R(DS)
	movw	%es, %ax
	movl	%eax, R(ES)
	movw	%fs, %ax
	movl	%eax, R(FS)
	movw	%gs, %ax
	movl	%eax, R(GS)
	popl	R(VECTOR)
	popl	R(ERROR)
	popl	R(IP)
	popl	R(CS)
	popl	R(FLAGS)
	testl	$0x20000, R(FLAGS)
	jnz	1f
	testl	$3, R(CS)
	jnz	2f
	movl	%esp, R(SP)
	movw	%ss, %ax
	movl	%eax, R(SS)
	jmp	3f
1:	popl	R(SP)
	popl	R(SS)
	popl	R(ES)
	popl	R(DS)
	popl	R(FS)
	popl	R(GS)
	jmp	3f
2:	popl	R(SP)
	popl	R(SS)
3:	movl	%cr2, %eax
	movl	%eax, R(CR2)
leave:	movl	$SEL_KDS, %eax
	movl	%eax, %es
	movl	%eax, %ss
	movl	ksp, %esp
	cld
	decl	running
	js	kit_crash
	popal
	ret

/* The double fault's task: notes that it ran and which EIP the faulting task had, and goes back. */
	.globl	df_task
df_task:
	movl	$1, df_ran
	movl	$8, R(VECTOR)
	popl	R(ERROR)
	movl	tss + 32, %eax
	movl	%eax, R(IP)
	movl	tss + 56, %eax
	movl	%eax, R(SP)
	/* Back to the first task without IRET: its saved state is of no use. */
	andb	$0xfd, gdt + SEL_TSS + 5
	andb	$0xfd, gdt + SEL_DFTSS + 5
	movl	$SEL_TSS, %eax
	ltr	%ax
	clts
	pushl	$2
	popfl
	movl	$df_task, dftss + 32
	movl	$DF_STACK, dftss + 56
	jmp	leave

/* ---- real mode ---- */
	.globl	run_real
run_real:
	pushal
	movl	%esp, ksp
	movl	$1, running
	lidtl	ivtr
	movw	real_sel, %ax
	ljmp	$SEL_KCS16, $1f
	.code16
1:	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %fs
	movw	%ax, %gs
	movw	$SEL_KDS16, %ax
	movw	%ax, %ss
	movl	%cr0, %eax
	andl	$~CR0_PE, %eax
	movl	%eax, %cr0
	ljmp	$0, $2f
2:	xorw	%ax, %ax
	movw	%ax, %ds
	movw	R(SS), %ss
	movl	R(SP), %esp
	pushl	R(FLAGS)
	pushl	R(CS)
	pushl	R(IP)
	movl	R(AX), %eax
	movl	R(CX), %ecx
	movl	R(DX), %edx
	movl	R(BX), %ebx
	movl	R(BP), %ebp
	movl	R(SI), %esi
	movl	R(DI), %edi
	movw	R(ES), %es
	movw	R(FS), %fs
	movw	R(GS), %gs
	movw	R(DS), %ds
	iretl

	.balign	8
	.globl	real_stubs
real_stubs:
	.set	vec, 0
	.rept	256
	.balign	8
	pushw	$vec
	jmp	real_entry
	.set	vec, vec + 1
	.endr

real_entry:
	pushw	%ds
	pushw	$0
	popw	%ds
	movl	%eax, R(AX)
	movl	%ecx, R(CX)
	movl	%edx, R(DX)
	movl	%ebx, R(BX)
	movl	%ebp, R(BP)
	movl	%esi, R(SI)
	movl	%edi, R(DI)
	xorl	%eax, %eax
	popw	%ax
	movl	%eax, R(DS)
	popw	%ax
	movl	%eax, R(VECTOR)
	popw	%ax
	movl	%eax, R(IP)
	popw	%ax
	movl	%eax, R(CS)
	popw	%ax
	movl	%eax, R(FLAGS)
	movl	%esp, R(SP)
	movw	%ss, %ax
	movl	%eax, R(SS)
	movw	%es, %ax
	movl	%eax, R(ES)
	movw	%fs, %ax
	movl	%eax, R(FS)
	movw	%gs, %ax
	movl	%eax, R(GS)
	movl	$-1, R(ERROR)
	movl	%cr0, %eax
	orl	$CR0_PE, %eax
	movl	%eax, %cr0
	ljmpl	$SEL_KCS, $1f
	.code32
1:	movl	$SEL_KDS, %eax
	movl	%eax, %ds
	lidt	idtr
	xorl	%eax, %eax
	movl	%eax, %fs
	movl	%eax, %gs
	jmp	leave

	.data
	.balign	4
ivtr:	.word	0x3ff
	.long	0
	.globl	ksp, running
ksp:	.long	0
running:
	.long	0
