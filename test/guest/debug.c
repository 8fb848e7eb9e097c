/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Single-step, hardware breakpoints, RF, and the shadow behind STI, MOV SS and POP SS. */
#include "kit.h"

#ifdef __x86_64__
#error "a 32-bit image"
#endif

#define DATA 0x30000

#define DR_ACCESS(n)                                                                               \
	static uint32_t read_dr##n(void)                                                           \
	{                                                                                          \
		uint32_t v;                                                                        \
		__asm__ volatile("mov %%dr" #n ", %0" : "=r"(v));                                  \
		return v;                                                                          \
	}                                                                                          \
	static void write_dr##n(uint32_t v)                                                        \
	{                                                                                          \
		__asm__ volatile("mov %0, %%dr" #n : : "r"(v));                                    \
	}
DR_ACCESS(0)
DR_ACCESS(1)
DR_ACCESS(2)
DR_ACCESS(3)
DR_ACCESS(6)
DR_ACCESS(7)

#define DR6_BS 0x4000u
#define DR6_BD 0x2000u
#define DR6_BASE 0xffff0ff0u
#define DR7_GD 0x2000u
#define EXEC   0u
#define WR     1u
#define RW     3u

/* DR7 with breakpoint n enabled. */
static uint32_t dr7(unsigned n, unsigned kind, unsigned len)
{
	return 0x400 | 2u << (2 * n) | kind << (16 + 4 * n) | (len - 1) << (18 + 4 * n);
}

static void clear(void)
{
	write_dr7(0x400);
	write_dr6(DR6_BASE);
}

/* ---- single-step ---- */

CODE(32, ss_nops, "nop\n nop\n nop");
CODE(32, ss_jmp, "jmp 1f\n nop\n1: nop");
CODE(32, ss_call, "call 1f\n nop\n1: ret");
CODE(32, ss_rep, "rep movsb\n nop");
CODE(32, ss_popss, "pushl %ss\n popl %ss\n nop\n nop");
CODE(32, ss_movss, "movl %ss, %eax\n movl %eax, %ss\n nop\n nop");
CODE(32, ss_int, "int $0x30\n nop");
CODE(32, ss_pushf, "pushfl\n popl %eax\n nop");
CODE(32, ss_popf, "pushl $0x102\n popfl\n nop\n nop");
CODE(32, ss_popf_off, "pushl $2\n popfl\n nop\n nop");
CODE(32, ss_iret, "pushl $0x102\n pushl $8\n pushl $1f\n iretl\n1: nop\n nop");
CODE(32, ss_div, "divl %ecx");
CODE(32, ss_store, "movl $5, (%ebx)\n nop");
CODE(32, ss_cpuid, "cpuid\n nop");
CODE(32, ss_out, "outb %al, $0x80\n nop");
CODE(32, ss_iret_handler, "iretl");

static void step(const char *name, char *from, char *to)
{
	clear();
	TRY(from, R.flags = 2 | F_TF, R.cx = 3, R.si = DATA, R.di = DATA + 0x100, R.bx = DATA);
	expect(name, DB, -1, to);
	check("step.dr6", read_dr6(), DR6_BASE | DR6_BS);
	check("step.tf_pushed", R.flags & F_TF, F_TF);
}

static void test_step(void)
{
	step("step.nop", ss_nops, ss_nops + 1);
	step("step.second", ss_nops + 1, ss_nops + 2);
	step("step.jmp", ss_jmp, ss_jmp + 3);
	step("step.call", ss_call, ss_call + 6);
	step("step.store", ss_store, ss_store + 6);
	check("step.store.value", MEM32(DATA), 5);
	step("step.cpuid", ss_cpuid, ss_cpuid + 2);
	step("step.out", ss_out, ss_out + 2);
	/* REP: a trap after each iteration, on the instruction until the last. */
	MEM8(DATA) = 0x5c;
	step("step.rep", ss_rep, ss_rep);
	check("step.rep.ecx", R.cx, 2);
	check("step.rep.esi", R.si, DATA + 1);
	R.flags |= F_TF;
	run();
	expect("step.rep_second", DB, -1, ss_rep);
	check("step.rep_second.ecx", R.cx, 1);
	run();
	expect("step.rep_last", DB, -1, ss_rep + 2);
	/* No trap between MOV or POP SS and the next instruction. */
	step("step.pushss", ss_popss, ss_popss + 1);
	run();
	expect("step.popss", DB, -1, ss_popss + 3);
	step("step.movss_before", ss_movss, ss_movss + 2);
	run();
	expect("step.movss", DB, -1, ss_movss + 5);
	/* INT clears TF in the handler: the trap comes after the handler's IRET restores it. */
	clear();
	TRY(ss_int, R.flags = 2 | F_TF);
	expect("step.int", 0x30, -1, ss_int + 2);
	check("step.int.tf", R.flags & F_TF, F_TF);
	idt_target(0x30, ss_iret_handler, SEL_KCS, D_INT32);
	TRY(ss_int, R.flags = 2 | F_TF);
	/* IRET sets TF: one more instruction runs. */
	expect("step.int_iret", DB, -1, ss_int + 3);
	idt_set(0x30, D_INT32);
	/* POPF and IRET that set TF let the next instruction run first... */
	clear();
	TRY(ss_popf);
	expect("step.popf_sets", DB, -1, ss_popf + 7);
	TRY(ss_iret);
	expect("step.iret_sets", DB, -1, ss_iret + 14);
	/* ...and a POPF that clears it was itself stepped. */
	MEM32(STACK_TOP - 4) = 2;
	TRY(ss_popf_off + 2, R.flags = 2 | F_TF, R.sp = STACK_TOP - 4);
	check("step.popf_clears", R.vector, DB);
	check("step.popf_clears.tf", R.flags & F_TF, 0);
	check("step.popf_clears.eip", R.ip, (word)ss_popf_off + 3);
	/* A fault comes instead of the trap; RF is set in what it pushes, not in what a trap pushes. */
	clear();
	TRY(ss_div, R.flags = 2 | F_TF, R.cx = 0);
	expect("step.fault", DE, -1, ss_div);
	check("step.fault.dr6", read_dr6(), DR6_BASE);
	check("step.fault.rf", R.flags & F_RF, F_RF);
	TRY(ss_nops, R.flags = 2 | F_TF);
	check("step.trap.rf", R.flags & F_RF, 0);
	/* Ring 3 steps too. */
	TRY_USER(ss_nops, R.flags = 2 | F_TF);
	expect("step.user", DB, -1, ss_nops + 1);
	/* BS stays until software clears it. */
	TRY(ss_div, R.cx = 0);
	check("step.dr6_sticky", read_dr6() & DR6_BS, DR6_BS);
	clear();
}

/* ---- breakpoints ---- */

CODE(32, b_code, "movl $1, %eax\n movl $2, %eax\n movl $3, %eax");
CODE(32, b_load, "movl (%ebx), %eax\n nop");
CODE(32, b_store, "movl %eax, (%ebx)\n nop");
CODE(32, b_store8, "movb %al, (%ebx)\n nop");
CODE(32, b_rmw, "incl (%ebx)\n nop");
CODE(32, b_push, "movl %ebx, %esp\n pushl %eax\n nop");
CODE(32, b_movs, "movsl\n nop");
CODE(32, b_rep, "rep stosb\n nop");
CODE(32, b_loop, "1: incl %edx\n loop 1b");
CODE(32, b_rd_dr, "movl %dr0, %eax");
CODE(32, b_wr_dr, "movl %eax, %dr3");
CODE(32, b_dr4, "movl %dr4, %eax");
CODE(32, b_dr5_w, "movl %eax, %dr5");
CODE(32, b_icebp, ".byte 0xf1");

static void test_exec_bp(void)
{
	clear();
	write_dr0((word)b_code + 5);
	write_dr7(dr7(0, EXEC, 1));
	TRY(b_code);
	expect("bp.exec", DB, -1, b_code + 5);
	check("bp.exec.before", R.ax, 1);
	check("bp.exec.dr6", read_dr6(), DR6_BASE | 1);
	check("bp.exec.rf", R.flags & F_RF, 0);
	/* The handler sets RF: the instruction runs, and RF is gone after it. */
	R.flags |= F_RF;
	run();
	expect_end("bp.rf_continues");
	check("bp.rf.eax", R.ax, 3);
	TRY(b_code + 5, R.flags = 2 | F_RF);
	expect_end("bp.rf_first");
	clear();
	write_dr1((word)b_code);
	write_dr2((word)b_code + 10);
	write_dr7(dr7(1, EXEC, 1) | dr7(2, EXEC, 1));
	TRY(b_code);
	expect("bp.exec1", DB, -1, b_code);
	check("bp.exec1.dr6", read_dr6(), DR6_BASE | 2);
	R.flags |= F_RF;
	run();
	expect("bp.exec2", DB, -1, b_code + 10);
	/* The middle of an instruction does not match. */
	clear();
	write_dr0((word)b_code + 1);
	write_dr7(dr7(0, EXEC, 1));
	TRY(b_code);
	expect_end("bp.exec_middle");
	/* Disabled: no match, but a loop around hits each time when enabled. */
	write_dr0((word)b_loop);
	write_dr7(0x400);
	TRY(b_loop, R.cx = 3, R.dx = 0);
	expect_end("bp.disabled");
	write_dr7(dr7(0, EXEC, 1));
	TRY(b_loop, R.cx = 3, R.dx = 0);
	expect("bp.loop_first", DB, -1, b_loop);
	check("bp.loop_first.edx", R.dx, 0);
	R.flags |= F_RF;
	run();
	expect("bp.loop_second", DB, -1, b_loop);
	check("bp.loop_second.edx", R.dx, 1);
	/* Together with TF: both bits. */
	clear();
	write_dr0((word)b_code + 5);
	write_dr7(dr7(0, EXEC, 1));
	TRY(b_code, R.flags = 2 | F_TF);
	expect("bp.exec_and_step", DB, -1, b_code + 5);
	check("bp.exec_and_step.bs", read_dr6() & DR6_BS, DR6_BS);
	/* In ring 3 as well. */
	clear();
	write_dr7(dr7(0, EXEC, 1));
	TRY_USER(b_code);
	expect("bp.exec_user", DB, -1, b_code + 5);
	clear();
}

static void data_bp(const char *name, char *code, uint32_t addr, unsigned kind, unsigned len,
	uint32_t at, unsigned insn, bool hit)
{
	clear();
	write_dr3(addr);
	write_dr7(dr7(3, kind, len));
	TRY(code, R.bx = at, R.ax = 7);
	if (!hit) {
		expect_end(name);
		return;
	}
	expect(name, DB, -1, code + insn);
	check("bp.data.dr6", read_dr6(), DR6_BASE | 8);
}

/* What MOV SS touches is told behind the next instruction, which may be INT n. */
CODE(32, b_movss, "mov (%ebx), %ss\n nop\n nop");
CODE(32, b_movss_int, "mov (%ebx), %ss\n int $0x30");
CODE(32, b_movss_int1, "mov (%ebx), %ss\n .byte 0xf1\n nop");
CODE(32, b_movss_twice, "mov (%ebx), %ss\n movl %ecx, %ss\n nop\n nop");

static void held_bp(char *code)
{
	clear();
	MEM32(DATA) = SEL_KDS;
	write_dr0(DATA);
	write_dr7(dr7(0, RW, 4));
	TRY(code, R.bx = DATA, R.cx = SEL_KDS);
}

static void test_held_bp(void)
{
	held_bp(b_movss);
	expect("bp.movss", DB, -1, b_movss + 3);
	check("bp.movss.dr6", read_dr6(), DR6_BASE | 1);
	held_bp(b_movss_int);
	check("bp.movss_int", R.vector, DB);
	check("bp.movss_int.dr6", read_dr6(), DR6_BASE | 1);
	held_bp(b_movss_int1);
	expect("bp.movss_int1", DB, -1, b_movss_int1 + 3);
	held_bp(b_movss_twice);
	check("bp.movss_twice", R.vector, DB);
	clear();
}

static void test_data_bp(void)
{
	/* B0 to B3 are those of the last one; nothing else is ever cleared. */
	clear();
	MEM32(DATA) = 0;
	write_dr6(DR6_BASE | DR6_BS | 5);
	write_dr3(DATA);
	write_dr7(dr7(3, WR, 4));
	TRY(b_store, R.bx = DATA);
	expect("bp.dr6_updated", DB, -1, b_store + 2);
	check("bp.dr6_updated.dr6", read_dr6(), DR6_BASE | DR6_BS | 8);
	clear();
	MEM32(DATA) = 0;
	data_bp("bp.write", b_store, DATA, WR, 4, DATA, 2, true);
	check("bp.write.done", MEM32(DATA), 7);
	data_bp("bp.write_load", b_load, DATA, WR, 4, DATA, 2, false);
	data_bp("bp.rw_load", b_load, DATA, RW, 4, DATA, 2, true);
	data_bp("bp.rw_store", b_store, DATA, RW, 4, DATA, 2, true);
	data_bp("bp.write_rmw", b_rmw, DATA, WR, 4, DATA, 2, true);
	data_bp("bp.byte_in_dword", b_store, DATA + 2, WR, 1, DATA, 2, true);
	data_bp("bp.byte_beside", b_store8, DATA + 2, WR, 1, DATA + 3, 2, false);
	data_bp("bp.dword_byte", b_store8, DATA, WR, 4, DATA + 3, 2, true);
	data_bp("bp.dword_after", b_store8, DATA, WR, 4, DATA + 4, 2, false);
	data_bp("bp.word", b_store8, DATA, WR, 2, DATA + 1, 2, true);
	data_bp("bp.word_after", b_store8, DATA, WR, 2, DATA + 2, 2, false);
	data_bp("bp.unaligned_store", b_store, DATA + 4, WR, 4, DATA + 2, 2, true);
	data_bp("bp.same_page", b_store, DATA, WR, 4, DATA + 0x100, 2, false);
	/* The length aligns the address. */
	data_bp("bp.address_aligned", b_store8, DATA + 3, WR, 4, DATA, 2, true);
	clear();
	write_dr0(DATA + 0x1000 - 4);
	write_dr7(dr7(0, WR, 4));
	TRY(b_push, R.bx = DATA + 0x1000);
	expect("bp.push", DB, -1, b_push + 3);
	clear();
	write_dr0(DATA + 0x40);
	write_dr7(dr7(0, RW, 4));
	TRY(b_movs, R.si = DATA + 0x40, R.di = DATA + 0x80);
	expect("bp.movs", DB, -1, b_movs + 1);
	/* REP: the trap comes after the iteration that hit. */
	clear();
	write_dr0(DATA + 0x44);
	write_dr7(dr7(0, WR, 1));
	TRY(b_rep, R.di = DATA + 0x40, R.cx = 16);
	expect("bp.rep", DB, -1, b_rep);
	check("bp.rep.ecx", R.cx, 11);
	check("bp.rep.edi", R.di, DATA + 0x45);
	clear();
}

static void test_registers(void)
{
	clear();
	write_dr0(0x12345678);
	write_dr1(0xffffffff);
	check("dr.dr0", read_dr0(), 0x12345678);
	check("dr.dr1", read_dr1(), 0xffffffff);
	write_dr2(1);
	write_dr3(2);
	check("dr.dr2_dr3", read_dr2() + read_dr3(), 3);
	write_dr6(0);
	check("dr.dr6_fixed", read_dr6(), DR6_BASE);
	write_dr6(0xffffffff);
	check("dr.dr6_zero", read_dr6() & 0x1000, 0);
	write_dr7(0);
	check("dr.dr7_fixed", read_dr7(), 0x400);
	write_dr7(0xd000);
	check("dr.dr7_zero", read_dr7() & 0xd000, 0);
	clear();
	/* DR4 and DR5 are DR6 and DR7, unless CR4.DE. */
	TRY(b_dr4);
	expect_end("dr.dr4");
	check("dr.dr4.value", R.ax, DR6_BASE);
	write_cr4(read_cr4() | CR4_DE);
	TRY(b_dr4);
	expect("dr.dr4_de", UD, -1, b_dr4);
	TRY(b_dr5_w);
	expect("dr.dr5_de", UD, -1, b_dr5_w);
	write_cr4(read_cr4() & ~CR4_DE);
	/* General detect: any access, and GD is cleared on the way to the handler. */
	write_dr7(0x400 | DR7_GD);
	TRY(b_rd_dr);
	expect("dr.gd_read", DB, -1, b_rd_dr);
	check("dr.gd.dr6", read_dr6() & DR6_BD, DR6_BD);
	check("dr.gd_cleared", read_dr7() & DR7_GD, 0);
	clear();
	write_dr7(0x400 | DR7_GD);
	TRY(b_wr_dr);
	expect("dr.gd_write", DB, -1, b_wr_dr);
	clear();
	TRY(b_icebp);
	expect("dr.icebp", DB, -1, b_icebp + 1);
	clear();
}

/* ---- shadows: an interrupt is pending all the time ---- */

CODE(32, sh_sti, "sti\n nop\n nop\n nop");
CODE(32, sh_sti_cli, "sti\n cli\n nop\n nop");
CODE(32, sh_sti_sti, "sti\n sti\n nop\n nop");
CODE(32, sh_popf, "movl %ss, %eax\n pushl $0x202\n popfl\n nop");
CODE(32, sh_sti_movss, "movl %ss, %eax\n sti\n movl %eax, %ss\n nop\n nop");
CODE(32, sh_popss, "pushl %ss\n sti\n popl %ss\n nop\n nop");
CODE(32, sh_sti_hlt, "sti\n hlt\n nop");
CODE(32, sh_iret, "pushl $0x202\n pushl $8\n pushl $1f\n iretl\n1: nop\n nop");

/* The PIT's first tick, waiting in the PIC: vector 0x20. LINT0 passes the PIC's interrupts on. */
static void pend(void)
{
	MEM32(0xfee000f0) = 0x1ff;
	MEM32(0xfee00350) = 0x700;
	outb(0x20, 0x11);
	outb(0x21, 0x20);
	outb(0x21, 4);
	outb(0x21, 1);
	outb(0xa0, 0x11);
	outb(0xa1, 0x28);
	outb(0xa1, 2);
	outb(0xa1, 1);
	outb(0xa1, 0xff);
	outb(0x43, 0x30); /* counter 0, mode 0: one tick */
	outb(0x40, 10);
	outb(0x40, 0);
	outb(0x21, 0xfe);
	for (;;) {
		outb(0x20, 0x0a);
		if (inb(0x20) & 1)
			break;
	}
}

static void shadow(const char *name, char *code, char *at)
{
	pend();
	TRY(code);
	if (at)
		expect(name, 0x20, -1, at);
	else
		expect_end(name);
	outb(0x21, 0xff);
	outb(0x20, 0x20);
}

static void test_shadow(void)
{
	shadow("shadow.sti", sh_sti, sh_sti + 2);
	shadow("shadow.sti_cli", sh_sti_cli, (void *)0);
	shadow("shadow.sti_sti", sh_sti_sti, sh_sti_sti + 2);
	shadow("shadow.popf", sh_popf, sh_popf + 8);
	shadow("shadow.iret", sh_iret, sh_iret + 13);
	/* MOV SS holds interrupts back as well, also where STI has just let them in. */
	shadow("shadow.sti_movss", sh_sti_movss, sh_sti_movss + 6);
	shadow("shadow.sti_popss", sh_popss, sh_popss + 4);
	/* STI before HLT: the interrupt wakes it, and the return address is behind it. */
	shadow("shadow.sti_hlt", sh_sti_hlt, sh_sti_hlt + 2);
}

void image_main(void)
{
	test_step();
	test_exec_bp();
	test_data_bp();
	test_held_bp();
	test_registers();
	test_shadow();
}
