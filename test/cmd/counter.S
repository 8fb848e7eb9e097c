/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A PVH guest for hyvectl: says "counting" on com1, then EBX counts up for ever, EBP counts NMIs, and
 * the ACPI power button, polled, powers off.  ESI, R8... are nobody's.
 */
#include <vmm/pc.h>

#define XEN_ELFNOTE_PHYS32_ENTRY 18

	.section .note.pvh, "a", @note
	.long	4, 4, XEN_ELFNOTE_PHYS32_ENTRY
	.asciz	"Xen"
	.long	start

	.text
	.code32
	.globl	start
start:
	movl	$stack_end, %esp
	/* The NMI's gate: its offset in two halves. */
	movl	$on_nmi, %eax
	movw	%ax, gate
	shrl	$16, %eax
	movw	%ax, gate + 6
	lgdt	gdt_pointer
	ljmp	$8, $1f
1:	movw	$16, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	lidt	idt_pointer
	movl	$text, %esi
	movl	$(text_end - text), %ecx
	movw	$PC_COM1_PORT, %dx
	rep outsb
	movb	$PC_ACPI_ENABLE, %al
	outb	%al, $PC_SMI_CMD
	xorl	%ebx, %ebx
	xorl	%ebp, %ebp
	/* The button's status bit, 8 of PM1_STS. */
	movw	$PC_PM1A_EVT, %dx
2:	incl	%ebx
	testl	$0xfff, %ebx
	jnz	2b
	inw	%dx, %ax
	testw	$1 << 8, %ax
	jz	2b
	movw	$PC_PM1A_CNT, %dx
	movw	$(PC_SLP_TYP_S5 << 10 | 1 << 13), %ax
	outw	%ax, (%dx)
3:	pause
	jmp	3b

on_nmi:
	incl	%ebp
	iret

	.data
	.balign	8
gdt:
	.quad	0
	.quad	0x00cf9b000000ffff
	.quad	0x00cf93000000ffff
gdt_pointer:
	.word	. - gdt - 1
	.long	gdt
	.balign	8
idt:
	.quad	0, 0
gate:
	.word	0, 8, 0x8e00, 0
idt_pointer:
	.word	. - idt - 1
	.long	idt
text:
	.ascii	"counting\r\n"
text_end:
	.balign	16
	.skip	256
stack_end:

	.section .note.GNU-stack, "", @progbits
