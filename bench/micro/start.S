/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A flat guest for a PVH loader, which starts it in 32-bit protected mode: to main() in long mode,
 * with the first 4 GiB mapped to themselves; and its interrupt handlers.
 */
#include "bench/micro/micro.h"

#define XEN_ELFNOTE_PHYS32_ENTRY 18
#define PTE_RW		 0x03
#define PTE_LARGE		 0x83

	.section .note.pvh, "a", @note
	.long	4, 4, XEN_ELFNOTE_PHYS32_ENTRY
	.asciz	"Xen"
	.long	start

	.text
	.code32
	.globl	start
start:	cli
	fninit
	cld
	movl	$pdpt + PTE_RW, pml4
	movl	$pdpt, %edi
	movl	$pd + PTE_RW, %eax
	movl	$4, %ecx
1:	movl	%eax, (%edi)
	addl	$0x1000, %eax
	addl	$8, %edi
	loop	1b
	movl	$pd, %edi
	movl	$PTE_LARGE, %eax
	movl	$2048, %ecx
2:	movl	%eax, (%edi)
	addl	$0x200000, %eax
	addl	$8, %edi
	loop	2b
	movl	%cr4, %eax
	orl	$CR4_PAE, %eax
	movl	%eax, %cr4
	movl	$pml4, %eax
	movl	%eax, %cr3
	movl	$MSR_EFER, %ecx
	rdmsr
	orl	$EFER_LME, %eax
	wrmsr
	movl	%cr0, %eax
	orl	$CR0_PG, %eax
	movl	%eax, %cr0
	lgdt	gdtr
	ljmp	$SEL_CODE64, $start64

	.code64
start64:
	movl	$SEL_DATA, %eax
	movl	%eax, %ss
	movl	%eax, %ds
	movl	%eax, %es
	movl	$stack_top, %esp
	call	main
0:	hlt
	jmp	0b

	.globl	on_self, on_soft, on_timer, on_other
on_self:
	incq	self_count
	pushq	%rax
	movl	$LAPIC_EOI, %eax
	movl	$0, (%rax)
	popq	%rax
	iretq
on_soft:
	incq	soft_count
	iretq
on_timer:
	pushq	%rax
	pushq	%rdx
	rdtsc
	shlq	$32, %rdx
	orq	%rdx, %rax
	movq	%rax, timer_tsc
	movl	$LAPIC_EOI, %eax
	movl	$0, (%rax)
	popq	%rdx
	popq	%rax
	iretq
on_other:
	cld
	call	unexpected

	.data
	.balign	8
gdt:	.quad	0
	.quad	0x00af9a000000ffff
	.quad	0x00cf92000000ffff
	.quad	0x00cf9a000000ffff
gdtr:	.word	. - gdt - 1
	.long	gdt, 0

	.bss
	.balign	4096
	.globl	pml4
pml4:	.skip	4096
pdpt:	.skip	4096
pd:	.skip	4 * 4096
	.skip	16384
stack_top:

	.section .note.GNU-stack, "", @progbits
