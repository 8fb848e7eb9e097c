/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Self-modifying code: what has been executed is changed in every way a guest has. */
#include "kit.h"

#define PAGE 0x30000 /* code is built here */

/* mov $value, %al; int $0x80 */
static void put(uint32_t at, uint8_t value)
{
	static const uint8_t code[] = { 0xb0, 0, 0xcd, 0x80 };

	for (unsigned i = 0; i < sizeof(code); i++)
		MEM8(at + i) = code[i];
	MEM8(at + 1) = value;
}

static unsigned go(uint32_t at)
{
	TRY((void *)at);
	return R.vector == END ? (unsigned)(R.ax & 0xff) : 0x100 + (unsigned)R.vector;
}

CODE(32, next_imm, "movb %cl, 1f+1\n1: movb $1, %al");
CODE(32, next_op, "movb $0x43, 1f\n1: incl %eax");      /* inc %ebx */
CODE(32, next_word, "movw $0x4343, 1f\n1: incl %eax\n incl %eax");
CODE(32, own_bytes, "movl $0x90909090, 1f-4\n nop\n1: nop"); /* its own immediate */
CODE(32, loop_imm, "1: addl $1, %eax\n incb 1b+2\n loop 1b");
CODE(32, behind, "jmp 2f\n1: movb $1, %al\n jmp 3f\n2: movb $0x77, 1b+1\n jmp 1b\n3:");
CODE(32, far_next, "movb %cl, (%ebx)\n call *%ebx\n movb %al, %ah\n movb %dl, 1(%ebx)\n call *%ebx");
CODE(32, rep_self, "rep stosb\n1: movb $1, %al\n nop\n nop\n nop");
CODE(32, rep_movs_next, "rep movsb\n1: movb $1, %al\n movb $2, %bl");
CODE(32, push_code, "movl $1f+4, %esp\n pushl $0x90909090\n1: incl %eax\n incl %eax\n incl %eax\n incl %eax\n"
	"movl $0x27000, %esp");
CODE(32, call_store, "call 1f\n call 1f\n jmp 2f\n1: movb $0, %al\n incb 1b+1\n ret\n2:");
CODE(32, xchg_code, "movl $0x5a909090, %ecx\n xchgl %ecx, 1f\n1: incl %eax\n incl %eax\n incl %eax\n pushl %edx");
CODE(32, fild_code, "movups (%ebx), %xmm0\n movups %xmm0, 1f\n1: .fill 16, 1, 0x40");
CODE(32, lock_code, "lock incb 1f+1\n1: movb $1, %al");
CODE(32, fxs_code, "fildll (%ebx)\n fistpll 1f\n1: .fill 8, 1, 0x40");

static void test_next(void)
{
	static const uint8_t nops[16] __attribute__((aligned(16))) = {
		0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
		0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90, 0x90,
	};

	TRY(next_imm, R.cx = 0x42);
	check("next.imm", R.ax & 0xff, 0x42);
	TRY(next_imm, R.cx = 0x43);
	check("next.imm_again", R.ax & 0xff, 0x43);
	TRY(next_op, R.ax = 0, R.bx = 0);
	check("next.opcode", R.ax << 8 | R.bx, 1);
	TRY(next_word, R.ax = 0, R.bx = 0);
	check("next.word", R.ax << 8 | R.bx, 2);
	TRY(own_bytes);
	expect_end("next.own_bytes");
	TRY(loop_imm, R.ax = 0, R.cx = 10);
	check("loop.immediate", R.ax, 55);
	TRY(behind);
	check("behind", R.ax & 0xff, 0x77);
	TRY(rep_self, R.cx = 5, R.di = (word)rep_self + 2, R.ax = 0x90);
	expect_end("rep_stos.next");
	check("rep_stos.next.al", R.ax & 0xff, 0x90);
	MEM32(0x31000) = 0xb37700b0; /* mov $0, %al; mov $0x77, %bl, shifted: b0 00 77 b3... */
	MEM8(0x31000) = 0xb0;
	MEM8(0x31001) = 0x66;
	MEM8(0x31002) = 0xb3;
	MEM8(0x31003) = 0x77;
	TRY(rep_movs_next, R.si = 0x31000, R.di = (word)rep_movs_next + 2, R.cx = 4);
	check("rep_movs.al", R.ax & 0xff, 0x66);
	check("rep_movs.bl", R.bx & 0xff, 0x77);
	TRY(push_code, R.ax = 0);
	expect_end("push");
	check("push.eax", R.ax, 0);
	TRY(call_store);
	check("call", R.ax & 0xff, 1);
	TRY(call_store);
	check("call_again", R.ax & 0xff, 3);
	TRY(xchg_code, R.ax = 0);
	expect_end("xchg");
	check("xchg.eax", R.ax, 0);
	TRY(lock_code);
	check("lock", R.ax & 0xff, 2);
	write_cr0((read_cr0() & ~(CR0_EM | CR0_TS)) | CR0_MP | CR0_NE);
	write_cr4(read_cr4() | CR4_OSFXSR);
	TRY(fild_code, R.ax = 0, R.bx = (word)nops);
	check("sse_store", R.ax, 0);
	__asm__ volatile("fninit");
	TRY(fxs_code, R.ax = 0, R.bx = (word)nops);
	check("x87_store", R.ax, 0);
}

static void test_pages(void)
{
	uint32_t i;

	put(PAGE, 0x11);
	check("page.first", go(PAGE), 0x11);
	put(PAGE, 0x22);
	check("page.rewritten", go(PAGE), 0x22);
	MEM8(PAGE + 1) = 0x33;
	check("page.byte", go(PAGE), 0x33);
	MEM32(PAGE) = 0x80cd44b0;
	check("page.dword", go(PAGE), 0x44);
	__asm__ volatile("lock addl $0x1100, (%0)" : : "r"(PAGE) : "memory");
	check("page.locked", go(PAGE), 0x55);
	memset((void *)PAGE, 0x90, 0x100);
	put(PAGE + 0x100, 0x66);
	check("page.rep_stos", go(PAGE), 0x66);
	put(0x31000, 0x77);
	memcpy((void *)(PAGE + 0x80), (void *)0x31000, 4);
	check("page.rep_movs", go(PAGE), 0x77);
	/* Data beside code in the same page changes nothing, often. */
	for (i = 0; i < 2000; i++)
		MEM32(PAGE + 0x800 + (i & 63) * 4) = i;
	check("page.data_beside", go(PAGE), 0x77);
	/* Many versions. */
	for (i = 0; i < 300; i++) {
		MEM8(PAGE + 0x81) = (uint8_t)i;
		if (go(PAGE) != (i & 0xff))
			break;
	}
	check("page.versions", i, 300);
	/* Code over a page border. */
	memset((void *)0x31000, 0x90, 0x2000);
	MEM8(0x31ffe) = 0xb8;
	MEM32(0x31fff) = 0x44332211;
	MEM16(0x32003) = 0x80cd;
	TRY((void *)0x31ffe);
	check("border.first", R.ax, 0x44332211);
	MEM8(0x32000) = 0x99;
	TRY((void *)0x31ffe);
	check("border.second_page", R.ax, 0x44339911);
	MEM8(0x31fff) = 0x88;
	TRY((void *)0x31ffe);
	check("border.first_page", R.ax, 0x44339988);
	/* A store that spans the border changes both. */
	MEM32(0x31ffe) = 0x0102beb8;
	TRY((void *)0x31ffe);
	check("border.spanning", R.ax, 0x440102be);
	/* A block long enough to be split, changed near its end. */
	memset((void *)PAGE, 0x40, 0x400); /* inc %eax */
	MEM16(PAGE + 0x400) = 0x80cd;
	TRY((void *)PAGE, R.ax = 0);
	check("long.first", R.ax, 0x400);
	MEM8(PAGE + 0x3ff) = 0x48; /* dec %eax */
	TRY((void *)PAGE, R.ax = 0);
	check("long.changed", R.ax, 0x3fe);
	/* Jumps between two pages, one rewritten. */
	MEM8(PAGE) = 0xe9;
	MEM32(PAGE + 1) = 0x31000 - PAGE - 5;
	put(0x31000, 0x10);
	check("chain.first", go(PAGE), 0x10);
	put(0x31000, 0x20);
	check("chain.target_changed", go(PAGE), 0x20);
	MEM32(PAGE + 1) = 0x32000 - PAGE - 5;
	put(0x32000, 0x30);
	check("chain.jump_changed", go(PAGE), 0x30);
	/* The same bytes as 16-bit code. */
	put(PAGE, 0x50);
	check("size.32", go(PAGE), 0x50);
	MEM8(PAGE) = 0xb8; /* mov imm16 or imm32 */
	MEM8(PAGE + 1) = 1;
	MEM8(PAGE + 2) = 2;
	MEM8(PAGE + 3) = 0x90;
	MEM8(PAGE + 4) = 0x90;
	MEM16(PAGE + 5) = 0x80cd;
	TRY((void *)PAGE, R.ax = 0);
	check("size.imm32", R.ax, 0x90900201);
	gdt_set(SEL_FREE, descriptor(PAGE, 0xffff, D_CODE));
	TRY((void *)0, R.ax = 0, R.cs = SEL_FREE);
	check("size.imm16", R.ax, 0x0201);
	TRY((void *)PAGE, R.ax = 0);
	check("size.back", R.ax, 0x90900201);
}

void image_main(void)
{
	test_next();
	test_pages();
}
