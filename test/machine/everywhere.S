/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A 64-bit guest that reads and writes where nothing is: every port at every size, and addresses all over the
 * physical space at every size and alignment.  What it reads has to be all ones.  Ports that somebody
 * answers are read, and written with zero, too; that only has to be survived.
 */
#include <vmm/pc.h>

#define WINDOW 0x40000000 /* a 2 MiB page that we map elsewhere */
#define WINDOW_PDE (0xb000 + 8 * (WINDOW >> 21))

	.text
	.globl	start
start:
	movl	$0x600000, %esp
	movq	%cr4, %rax
	orl	$(3 << 9), %eax		/* OSFXSR, OSXMMEXCPT: 16 bytes at once */
	movq	%rax, %cr4
	call	ports
	call	memory
	call	high
	movl	$good, %esi
end:
	call	print
	movw	$PC_PM1A_CNT, %dx
	movw	$(PC_SLP_TYP_S5 << 10 | PC_SLP_EN), %ax
	outw	%ax, (%dx)
1:	jmp	1b

/* ---- ports; %edx: the port, %ecx: the size ---- */
ports:
	xorl	%edx, %edx
1:	movl	$1, %ecx
2:	call	port
	addl	%ecx, %ecx
	cmpl	$4, %ecx
	jbe	2b
	incl	%edx
	cmpl	$0x10000, %edx
	jb	1b
	ret

port:
	call	answered
	jc	4f
	orl	$-1, %eax
	call	write_port
	call	read_port
	notl	%eax
	cmpl	$2, %ecx
	ja	3f
	je	2f
	movzbl	%al, %eax
2:	movzwl	%ax, %eax
3:	testl	%eax, %eax
	jnz	bad_port
	ret
4:	call	read_port
	xorl	%eax, %eax
	jmp	write_port

read_port:
	orl	$-1, %eax
	xorb	$0x55, %al
	cmpl	$2, %ecx
	je	2f
	ja	4f
	inb	(%dx), %al
	ret
2:	inw	(%dx), %ax
	ret
4:	inl	(%dx), %eax
	ret

write_port:
	cmpl	$2, %ecx
	je	2f
	ja	4f
	outb	%al, (%dx)
	ret
2:	outw	%ax, (%dx)
	ret
4:	outl	%eax, (%dx)
	ret

/* Carry: a byte of the access belongs to somebody. */
answered:
	movl	$claimed, %esi
	leal	(%rdx, %rcx), %edi	/* one behind the access */
1:	movzwl	(%rsi), %eax
	movzwl	2(%rsi), %ebx
	testl	%eax, %eax
	jz	2f			/* the end; carry is clear */
	addl	$4, %esi
	cmpl	%edi, %eax
	jae	1b			/* it begins behind */
	cmpl	%edx, %ebx
	jb	1b			/* it ends before */
	stc
2:	ret

/* ---- memory; %rbx: the address ---- */
memory:
	movl	(ram_end), %ebx
1:	call	skip
	call	access
	addl	$65521, %ebx		/* a prime: every alignment comes up */
	jc	2f
	cmpl	$0xfffff000, %ebx
	jb	1b
2:	movl	(ram_end), %ebx		/* across a page, and from RAM into nothing */
	addl	$0xffd, %ebx
	jmp	access

/* Past the chips' pages and the configuration space. */
skip:
	movl	$chips, %esi
1:	movl	(%rsi), %eax
	testl	%eax, %eax
	jz	3f
	subl	$64, %eax
	cmpl	%eax, %ebx
	jb	2f
	movl	4(%rsi), %eax
	cmpl	%eax, %ebx
	jae	2f
	movl	%eax, %ebx
2:	addl	$8, %esi
	jmp	1b
3:	ret

/* Every bit of the physical address above 4 GiB, through the window. */
high:
	movl	$0x80000008, %eax
	cpuid
	movzbl	%al, %edi		/* bits */
	movl	$32, %esi
1:	movl	$1, %eax
	movl	%esi, %ecx
	shlq	%cl, %rax
	movq	%rax, %r8
	orq	$0x83, %rax		/* present, writable, large */
	movq	%rax, (WINDOW_PDE)
	invlpg	(WINDOW)
	movl	$(WINDOW + 0x1234), %ebx
	push	%rsi
	push	%rdi
	call	access
	movl	$(WINDOW + 0x1ffff0), %ebx
	call	access
	pop	%rdi
	pop	%rsi
	incl	%esi
	cmpl	%edi, %esi
	jb	1b
	ret

access:
	movb	$0, (%rbx)
	movw	$0, (%rbx)
	movl	$0, (%rbx)
	movq	$0, (%rbx)
	xorps	%xmm0, %xmm0
	movups	%xmm0, (%rbx)
	lock incl (%rbx)
	xorl	%eax, %eax
	xaddq	%rax, (%rbx)
	incq	%rax
	jnz	bad_memory
	movb	(%rbx), %al
	incb	%al
	jnz	bad_memory
	movw	(%rbx), %ax
	incw	%ax
	jnz	bad_memory
	movl	(%rbx), %eax
	incl	%eax
	jnz	bad_memory
	movq	(%rbx), %rax
	incq	%rax
	jnz	bad_memory
	movups	(%rbx), %xmm0
	pcmpeqb	%xmm1, %xmm1
	pcmpeqb	%xmm1, %xmm0
	pmovmskb %xmm0, %eax
	cmpl	$0xffff, %eax
	jne	bad_memory
	ret

/* ---- what to say ---- */
bad_port:
	shll	$16, %ecx		/* the size in front */
	orl	%ecx, %edx
	movl	%edx, %ebx
bad_memory:
	movl	$hex, %edi
	movl	$8, %ecx
1:	roll	$4, %ebx
	movl	%ebx, %eax
	andl	$15, %eax
	movb	digits(%rax), %al
	movb	%al, (%rdi)
	incl	%edi
	decl	%ecx
	jnz	1b
	movl	$bad, %esi
	jmp	end

print:
	movw	$(PC_COM1_PORT + 3), %dx	/* the tour has left its mark on the registers */
	movb	$3, %al
	outb	%al, (%dx)
	movw	$PC_COM1_PORT, %dx
1:	lodsb
	testb	%al, %al
	jz	2f
	outb	%al, (%dx)
	jmp	1b
2:	ret

	.data
ram_end: .long	RAM_END
claimed: /* first, last */
	.word	PC_PIC1_PORT, PC_PIC1_PORT + 1, PC_PIT_PORT, PC_PIT_PORT + 3, PC_NMISC_PORT, PC_NMISC_PORT
	.word	PC_I8042_DATA, PC_I8042_DATA, PC_I8042_STATUS, PC_I8042_STATUS, PC_PVPANIC_PORT, PC_PVPANIC_PORT
	.word	PC_RTC_INDEX, PC_RTC_DATA, PC_POST_PORT, PC_POST_PORT
	.word	PC_PORT92, PC_PORT92, PC_PIC2_PORT, PC_PIC2_PORT + 1, PC_SMI_CMD, PC_SMI_CMD
	.word	PC_COM1_PORT, PC_COM1_PORT + 7, PC_PM1A_EVT, PC_PM1A_EVT + 3, PC_PM1A_CNT, PC_PM1A_CNT + 1
	.word	PC_PM_TIMER, PC_PM_TIMER + 3, PC_ELCR_PORT, PC_ELCR_PORT + 1, PC_FWCFG_PORT, PC_FWCFG_PORT + 1
	.word	PC_PCI_CONF_ADDR, PC_PCI_CONF_DATA + 3, 0, 0
chips: /* first, one behind the last */
	.long	PC_ECAM, PC_ECAM + 0x1000, PC_IOAPIC, PC_IOAPIC + 0x1000, PC_HPET, PC_HPET + 0x1000
	.long	PC_LAPIC, PC_LAPIC + 0x1000, 0, 0
digits:	.ascii	"0123456789ABCDEF"
good:	.asciz	"\r\nnothing but ones\r\n"
bad:	.ascii	"\r\nnot all ones at "
hex:	.asciz	"xxxxxxxx\r\n"
