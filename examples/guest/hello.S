/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A whole guest in one page: an ELF file that a PVH loader starts in 32-bit protected mode without paging.
 * It prints a line on com1 and powers the machine off through ACPI's PM1a control register.
 * "make run" boots it when Debian's kernel cannot be had.
 */
#include <vmm/pc.h>

#define UART_LSR (PC_COM1_PORT + 5)
#define LSR_THRE 0x20
#define XEN_ELFNOTE_PHYS32_ENTRY 18

	.section .note.pvh, "a", @note
	.long	4, 4, XEN_ELFNOTE_PHYS32_ENTRY
	.asciz	"Xen"
	.long	start

	.text
	.code32
	.globl	start
start:
	movl	$text, %esi
print:
	lodsb
	testb	%al, %al
	jz	off
	movb	%al, %bl
	movw	$UART_LSR, %dx
wait:
	inb	(%dx), %al
	testb	$LSR_THRE, %al
	jz	wait
	movw	$PC_COM1_PORT, %dx
	movb	%bl, %al
	outb	%al, (%dx)
	jmp	print
off:
	movw	$PC_PM1A_CNT, %dx
	movw	$(PC_SLP_TYP_S5 << 10 | 1 << 13), %ax
	outw	%ax, (%dx)
	cli
	hlt

	.section .rodata
text:
	.asciz	"Hello from a guest of 32-bit protected mode. Powering off.\r\n"

	.section .note.GNU-stack, "", @progbits
