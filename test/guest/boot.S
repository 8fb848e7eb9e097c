/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* From the reset vector to kit_main() in 32-bit protected mode or, in 64-bit images, long mode. */
#include "kit.h"

	.section .reset, "ax"
	.code16
	.globl reset
reset:	ljmp	$0xf000, $boot

	.section .boot, "ax"
	.code16
boot:	cli
	cld
	movw	$0xf000, %ax
	movw	%ax, %ds
	xorw	%ax, %ax
	movw	%ax, %es
	movw	%ax, %ss
	movl	$KERNEL_STACK - 16, %esp
	xorw	%si, %si
	movw	$0x1000, %di
	movw	$0xe000 / 4, %cx
	rep movsl
	movw	%ax, %ds
	ljmp	$0, $start16

	.text
	.code16
start16:
	lgdtl	gdtr
	movl	%cr0, %eax
	orl	$CR0_PE, %eax
	movl	%eax, %cr0
	ljmpl	$SEL_KCS32, $start32

	.code32
start32:
	movl	$SEL_KDS, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	xorl	%eax, %eax
	movl	%eax, %fs
	movl	%eax, %gs
	lldt	%ax
#ifdef __x86_64__
	call	boot_tables
	movl	%cr4, %eax
	orl	$CR4_PAE, %eax
	movl	%eax, %cr4
	movl	$boot_pml4, %eax
	movl	%eax, %cr3
	movl	$MSR_EFER, %ecx
	rdmsr
	orl	$EFER_LME, %eax
	wrmsr
	movl	%cr0, %eax
	orl	$CR0_PG, %eax
	movl	%eax, %cr0
	ljmp	$SEL_KCS, $start64

/* Identity map of the first 4 GiB in 2 MiB pages, supervisor; tables at 0x70000. */
	.globl	boot_pml4
	.set	boot_pml4, 0x70000
boot_tables:
	movl	$boot_pml4, %edi
	xorl	%eax, %eax
	movl	$0x6000 / 4, %ecx
	rep stosl
	movl	$boot_pml4 + 0x1003, boot_pml4
	movl	$boot_pml4 + 0x1000, %edi
	movl	$boot_pml4 + 0x2003, %eax
	movl	$4, %ecx
1:	movl	%eax, (%edi)
	addl	$0x1000, %eax
	addl	$8, %edi
	loop	1b
	movl	$boot_pml4 + 0x2000, %edi
	movl	$0x83, %eax
	movl	$2048, %ecx
2:	movl	%eax, (%edi)
	addl	$0x200000, %eax
	addl	$8, %edi
	loop	2b
	ret

	.code64
start64:
	xorl	%eax, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	$SEL_KDS, %eax
	movl	%eax, %ss
#endif
	lidt	idtr
	call	kit_main
0:	hlt
	jmp	0b

	.data
	.balign	8
	.globl	gdt
gdt:	.quad	0
#ifdef __x86_64__
	.quad	0x00af9a000000ffff	/* KCS: 64-bit */
#else
	.quad	0x00cf9a000000ffff	/* KCS: 32-bit */
#endif
	.quad	0x00cf92000000ffff	/* KDS */
	.quad	0x00cffa000000ffff	/* UCS32 */
	.quad	0x00cff2000000ffff	/* UDS */
	.quad	0x00affa000000ffff	/* UCS64 */
	.quad	0x00cff2000000ffff	/* UDS2 */
	.quad	0, 0			/* TSS: kit_main() */
	.quad	0x00cf9a000000ffff	/* KCS32 */
	.quad	0x00009a000000ffff	/* KCS16 */
	.quad	0x000092000000ffff	/* KDS16 */
	.quad	0x0000fa000000ffff	/* UCS16 */
	.fill	GDT_SLOTS - 13, 8, 0

	.balign	8
	.globl	gdtr, idtr
gdtr:	.word	GDT_SLOTS * 8 - 1
	.long	gdt, 0
idtr:
#ifdef __x86_64__
	.word	256 * 16 - 1
#else
	.word	256 * 8 - 1
#endif
	.long	idt, 0
