/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* A PVH guest that prints "ending" on com1 and ends its machine: in which way, END_xxx says (test.mk). */
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
	movl	$text, %esi
	movl	$(text_end - text), %ecx
	movw	$PC_COM1_PORT, %dx
	rep outsb
#if defined(END_acpi_off)
	movw	$PC_PM1A_CNT, %dx
	movw	$(PC_SLP_TYP_S5 << 10 | 1 << 13), %ax
	outw	%ax, (%dx)
#elif defined(END_reset_cf9)
	movw	$PC_RESET_PORT, %dx
	movb	$2, %al
	outb	%al, (%dx)
	movb	$6, %al
	outb	%al, (%dx)
#elif defined(END_reset_kbd)
	movb	$0xfe, %al
	outb	%al, $PC_I8042_STATUS
#elif defined(END_reset_port92)
	movb	$1, %al
	outb	%al, $PC_PORT92
#elif defined(END_triple_fault)
	lidt	no_idt
	int3
#elif defined(END_halt)
	cli
	hlt
#endif
1:	pause
	jmp	1b

	.section .rodata
text:
	.ascii	"ending\r\n"
text_end:
no_idt:
	.word	0
	.long	0

	.section .note.GNU-stack, "", @progbits
