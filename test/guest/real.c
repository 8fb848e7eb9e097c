/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Real mode: addresses, limits, the IVT, IRET, unreal mode, and what changes on the way in and out. */
#include "kit.h"

#define DSEG 0x3000
#define DATA 0x30000

static void real(const void *code)
{
	fresh_cs(code, 0, 0);
	R.ds = R.es = DSEG;
	R.ss = 0x2000;
	R.sp = 0x8000;
}
#define REAL(code, ...) (real(code), (void)0, ##__VA_ARGS__, run_real())

/* ---- addressing ---- */

CODE(16, mov_bx, "movb (%bx), %al");
CODE(16, mov_bx_si, "movb 0x10(%bx,%si), %al");
CODE(16, mov_bp_di, "movb -2(%bp,%di), %al");
CODE(16, mov_bp, "movb 0(%bp), %al");
CODE(16, mov_disp16, "movb 0x1234, %al");
CODE(16, mov_a32, "movb (%ebx,%ecx,4), %al");
CODE(16, mov_word, "movw (%bx), %ax");
CODE(16, mov_dword, "movl (%bx), %eax");
CODE(16, st_dword, "movl %eax, (%bx)");
CODE(16, mov_es, "movb %es:(%bx), %al");
CODE(16, mov_moffs, ".byte 0xa0, 0x34, 0x12");
CODE(16, lea_wrap, "leaw 0x20(%bx), %ax");
CODE(16, lea32, "leal 0x20(%bx), %eax");
CODE(16, mov_cs_override, "movb %cs:(%bx), %al");
CODE(16, ld_seg, "movw %ax, %fs\n movb %fs:(%bx), %al");

static void test_addressing(void)
{
	for (unsigned i = 0; i < 0x10000; i += 0x1000)
		MEM8(DATA + i) = (uint8_t)(i >> 12);
	MEM8(DATA + 0x1234) = 0x77;
	MEM8(DATA + 0x0100) = 0x78;
	REAL(mov_bx, R.bx = 0xffff5000);
	expect_end("addr.bx");
	check("addr.bx.al", R.ax & 0xff, 5);
	REAL(mov_bx_si, R.bx = 0xfff0, R.si = 0x0100);
	check("addr.bx_si_wraps", R.ax & 0xff, 0x78);
	MEM8(0x2fffe) = 0x51;
	REAL(mov_bp_di, R.bp = 0x8000, R.di = 0x8000);
	check("addr.bp_uses_ss_and_wraps", R.ax & 0xff, 0x51);
	MEM8(0x20010) = 0x52;
	REAL(mov_bp, R.bp = 0x10);
	check("addr.bp_uses_ss", R.ax & 0xff, 0x52);
	REAL(mov_disp16);
	check("addr.disp16", R.ax & 0xff, 0x77);
	REAL(mov_moffs);
	check("addr.moffs16", R.ax & 0xff, 0x77);
	REAL(mov_a32, R.bx = 0x1230, R.cx = 1);
	check("addr.a32", R.ax & 0xff, 0x77);
	REAL(mov_a32, R.bx = 0x10000, R.cx = 0);
	expect("addr.a32_over_64k", GP, -1, mov_a32);
	REAL(mov_a32, R.bx = 0xffffffff, R.cx = 1);
	expect_end("addr.a32_wraps_at_4g");
	MEM8(0x12340) = 0x53;
	REAL(mov_es, R.es = 0x1000, R.bx = 0x2340);
	check("addr.es", R.ax & 0xff, 0x53);
	REAL(ld_seg, R.ax = 0x1234, R.bx = 0);
	check("addr.load_segment", R.ax & 0xff, 0x53);
	check("addr.load_segment.fs", R.fs, 0x1234);
	REAL(lea_wrap, R.bx = 0xfff0);
	check("addr.lea", R.ax, 0x10);
	REAL(lea32, R.bx = 0xfff0);
	check("addr.lea32", R.ax, 0x10);
	/* FFFF:0010 and on: the megabyte is not wrapped with A20 open. */
	MEM8(0x100000) = 0x54;
	REAL(mov_es, R.es = 0xffff, R.bx = 0x10);
	check("addr.a20", R.ax & 0xff, 0x54);
	REAL(mov_cs_override, R.bx = (word)mov_cs_override);
	check("addr.cs", R.ax & 0xff, 0x2e);
	/* Across offset 0xffff: #GP, from SS #SS; no error code in real mode. */
	REAL(mov_word, R.bx = 0xffff);
	expect("limit.word", GP, -1, mov_word);
	REAL(mov_dword, R.bx = 0xfffd);
	expect("limit.dword", GP, -1, mov_dword);
	REAL(mov_dword, R.bx = 0xfffc);
	expect_end("limit.dword_last");
	REAL(st_dword, R.bx = 0xfffe);
	expect("limit.store", GP, -1, st_dword);
}

/* ---- the stack ---- */

CODE(16, push16, "pushw %ax");
CODE(16, push32, "pushl %eax");
CODE(16, pop16, "popw %ax");
CODE(16, pusha16, "pushaw");
CODE(16, call16, "call 1f\n nop\n1: popw %ax");
CODE(16, push_sp, "pushw %sp\n popw %ax");
CODE(16, ret_imm, "pushw $1f\n ret $4\n1:");
CODE(16, set_ss, "movw %ax, %ss\n movw %bx, %sp\n pushw %cx");
CODE(16, enter16, "enterw $8, $0");

static void test_stack(void)
{
	REAL(push16, R.ax = 0x1234);
	expect_end("stack.push");
	check("stack.push.sp", R.sp, 0x7ffe);
	check("stack.push.value", MEM16(0x27ffe), 0x1234);
	REAL(push32, R.ax = 0x12345678, R.sp = 0x10);
	check("stack.push32", MEM32(0x2000c), 0x12345678);
	REAL(pop16, R.sp = 0x7ffe);
	check("stack.pop", R.ax, 0x1234);
	REAL(push16, R.sp = 0, R.ax = 0x4321);
	expect_end("stack.wrap");
	check("stack.wrap.sp", R.sp & 0xffff, 0xfffe);
	check("stack.wrap.value", MEM16(0x2fffe), 0x4321);
	REAL(pop16, R.sp = 0xfffe);
	expect_end("stack.pop_wrap");
	check("stack.pop_wrap.sp", R.sp & 0xffff, 0);
	REAL(pusha16);
	check("stack.pusha.sp", R.sp, 0x7ff0);
	REAL(call16);
	check("stack.call", R.ax & 0xffff, (word)call16 + 3);
	REAL(push_sp);
	check("stack.push_sp", R.ax & 0xffff, 0x8000);
	REAL(ret_imm);
	expect_end("stack.ret_imm");
	check("stack.ret_imm.sp", R.sp, 0x8004);
	REAL(set_ss, R.ax = 0x3000, R.bx = 0x200, R.cx = 0x4242);
	check("stack.set_ss", MEM16(0x301fe), 0x4242);
	REAL(enter16, R.bp = 0xcafe);
	check("stack.enter.sp", R.sp, 0x7ff6);
	check("stack.enter.value", MEM16(0x27ffe), 0xcafe);
	check("stack.enter.bp", R.bp & 0xffff, 0x7ffe);
}

/* ---- interrupts ---- */

CODE_AT(16, int21, int21_at, "int $0x21\n1:");
CODE_AT(16, int3_, int3_at, "int3\n1:");
CODE_AT(16, into_, into_at, "into\n1:");
CODE(16, div0, "divw %cx");
CODE(16, bound_, "bound %ax, (%bx)");
CODE(16, ud, "ud2");
CODE(16, arpl_, ".byte 0x63, 0xc0");
CODE(16, lar_, "larw %ax, %bx");
CODE(16, sldt_, "sldt %ax");
CODE(16, str_, "str %ax");
CODE(16, lldt_, "lldt %ax");
CODE(16, verr_, "verr %ax");
CODE(16, lock_mov, ".byte 0xf0, 0x89, 0x07");
CODE(16, own_int, "int $0x60\n movw $0x600d, %dx");
CODE(16, own_handler, "movw $0x1234, %cx\n pushfw\n popw %bp\n iretw");
CODE(16, iret_tf, "pushw $0x102\n pushw %cs\n pushw $1f\n iretw\n1: nop\n nop");
CODE(16, iretl_, "pushl $0x40006\n pushl $0\n pushl $1f\n iretl\n1: pushfl\n popl %eax");
CODE(16, iretl_high, "pushl $2\n pushl $0\n pushl $0x10000\n iretl");
CODE(16, popf16, "pushl %eax\n popfl\n pushfl\n popl %ebx");
CODE(16, sti_cli, "sti\n pushfw\n popw %ax\n cli\n pushfw\n popw %bx");
CODE(16, hlt_free, "pushfw\n popw %ax");
CODE(16, loop16, "1: incw %ax\n loop 1b");
CODE(16, loop32, "1: incw %ax\n addr32 loop 1b");
CODE(16, jcxz_, "jcxz 1f\n movw $1, %dx\n1:");

static void ivt(unsigned vector, uint32_t far)
{
	((volatile uint32_t *)0)[vector] = far;
}

static void test_interrupts(void)
{
	uint32_t old = MEM32(0x60 * 4);

	REAL(int21);
	expect("int.21", 0x21, -1, int21_at);
	check("int.21.sp", R.sp, 0x8000);
	check("int.21.cs", R.cs, 0);
	REAL(int3_);
	expect("int.3", BP, -1, int3_at);
	REAL(into_, R.flags = 2 | F_OF);
	expect("int.o", OF, -1, into_at);
	REAL(div0, R.cx = 0);
	expect("de", DE, -1, div0);
	MEM16(DATA) = 1;
	MEM16(DATA + 2) = 5;
	REAL(bound_, R.bx = 0, R.ax = 6);
	expect("br", BR, -1, bound_);
	REAL(ud);
	expect("ud.ud2", UD, -1, ud);
	REAL(arpl_);
	expect("ud.arpl", UD, -1, arpl_);
	REAL(lar_);
	expect("ud.lar", UD, -1, lar_);
	REAL(sldt_);
	expect("ud.sldt", UD, -1, sldt_);
	REAL(str_);
	expect("ud.str", UD, -1, str_);
	REAL(lldt_);
	expect("ud.lldt", UD, -1, lldt_);
	REAL(verr_);
	expect("ud.verr", UD, -1, verr_);
	REAL(lock_mov, R.bx = 0);
	expect("ud.lock_mov", UD, -1, lock_mov);
	/* A handler of our own: IF, TF and AC are cleared inside and come back. */
	ivt(0x60, (uint32_t)own_handler);
	REAL(own_int, R.flags = 2 | F_CF | F_ZF);
	expect_end("iret.own");
	check("iret.own.handler", R.cx & 0xffff, 0x1234);
	check("iret.own.dx", R.dx & 0xffff, 0x600d);
	check("iret.own.flags_inside", R.bp & 0xffff, 2 | F_CF | F_ZF);
	check("iret.own.flags", R.flags, 2 | F_CF | F_ZF);
	check("iret.own.sp", R.sp, 0x8000);
	ivt(0x60, old);
	REAL(iret_tf);
	expect("iret.tf", DB, -1, iret_tf + 9);
	check("iret.tf.flags", R.flags & F_TF, F_TF);
	REAL(iretl_);
	expect_end("iretl");
	check("iretl.flags", R.ax, 0x40006);
	REAL(iretl_high);
	check("iretl.high_eip.vector", R.vector, GP);
	REAL(popf16, R.ax = 0x7ed7 | F_AC | F_ID);
	check("popf.all", R.bx, 0x7cd7 | F_AC | F_ID | F_IF);
	REAL(sti_cli);
	expect_end("sti");
	check("sti.flag", R.ax & F_IF, F_IF);
	check("cli.flag", R.bx & F_IF, 0);
	REAL(loop16, R.cx = 0x10003, R.ax = 0);
	check("loop.cx", R.ax, 3);
	check("loop.ecx_high", R.cx, 0x10000);
	REAL(loop32, R.cx = 5, R.ax = 0);
	check("loop.ecx", R.ax, 5);
	REAL(jcxz_, R.cx = 0x10000, R.dx = 7);
	check("jcxz", R.dx, 7);
}

/* ---- IVT limit ---- */

CODE(16, small_idt, "lidtl %cs:(%bx)\n int $0x21\n");
CODE(16, lidt_back, "nop");

static void test_idt_limit(void)
{
	/* The IVT can be moved, and its limit is checked: beyond it #GP, whose own vector fits. */
	static struct table_reg reg = { .limit = 14 * 4 - 1, .base = 0 };

	REAL(small_idt, R.bx = (word)&reg);
	expect("ivt.limit", GP, -1, small_idt + 5);
	memcpy((void *)0x31000, (void *)0, 0x400);
	MEM32(0x31000 + 0x21 * 4) = MEM32(0x22 * 4);
	reg = (struct table_reg){ .limit = 0x3ff, .base = 0x31000 };
	REAL(small_idt, R.bx = (word)&reg);
	expect("ivt.moved", 0x22, -1, small_idt + 7);
}

/* ---- far transfers ---- */

CODE(16, far_jmp, "ljmp *(%bx)");
CODE(16, far_call, "lcall *(%bx)");
CODE(16, far_callback, "lcall *(%bx)\n movw $0x1111, %di");
CODE(16, far_target, "movw $0x600d, %dx");
CODE(16, far_lret, "lret");
CODE(16, far_lret_imm, "pushw %cs\n pushw $1f\n lret $6\n1:");
CODE(16, far_jmp32, "ljmpl *(%bx)");
CODE(16, jmp_back, "jmp *%bx");
CODE(16, jmp32, "jmpl *%ebx");
CODE(16, jcc_wrap, "movw %cs, %ax");

static void test_far(void)
{
	const uint32_t t = (word)far_target;

	/* The same place through another segment: the image lies below 64 KiB. */
	MEM32(DATA) = ((0x100u) << 16) | (t - 0x1000);
	REAL(far_jmp, R.bx = 0);
	expect_end("far.jmp");
	check("far.jmp.cs", R.cs, 0x100);
	check("far.jmp.dx", R.dx & 0xffff, 0x600d);
	REAL(far_call, R.bx = 0);
	expect_end("far.call");
	check("far.call.frame", MEM32(0x27ffc), (word)far_call + 2);
	check("far.call.sp", R.sp, 0x7ffc);
	MEM32(DATA) = ((0x100u) << 16) | ((word)far_lret - 0x1000);
	REAL(far_callback, R.bx = 0);
	expect_end("far.lret");
	check("far.lret.di", R.di & 0xffff, 0x1111);
	check("far.lret.cs", R.cs, 0);
	REAL(far_lret_imm);
	check("far.lret_imm.sp", R.sp, 0x8006);
	MEM32(DATA) = 0x10000;
	MEM16(DATA + 4) = 0;
	REAL(far_jmp32, R.bx = 0);
	expect("far.jmp_over_64k", GP, -1, far_jmp32);
	MEM32(DATA) = t;
	REAL(far_jmp32, R.bx = 0);
	expect_end("far.jmp32");
	REAL(jmp32, R.bx = 0x10000);
	expect("near.jmp_over_64k", GP, -1, jmp32);
	REAL(jmp_back, R.bx = 0xffff0000 | t);
	expect_end("near.jmp16");
}

/* Code that runs off the end of its segment, and a jump that wraps IP. */
static void test_ip_wrap(void)
{
	/* CS = 0x3000: at offset 0xfffe a short jump forward by 0x10 goes to 0x0010. */
	MEM8(DATA + 0xfffe) = 0xeb;
	MEM8(DATA + 0xffff) = 0x10;
	MEM8(DATA + 0x10) = 0xcd;
	MEM8(DATA + 0x11) = 0x80;
	MEM16(DATA + 0x10000) = 0x80cd; /* an end for those who run on */
	REAL((void *)0xfffe, R.cs = DSEG);
	expect("ip.jump_wraps", END, -1, (void *)0x12);
	/* Straight on: the next fetch lies beyond the limit. */
	MEM8(DATA + 0xffff) = 0x90;
	REAL((void *)0xffff, R.cs = DSEG);
	check("ip.runs_off.vector", R.vector, GP);
	/* An instruction across the limit. */
	MEM8(DATA + 0xffff) = 0xb0;
	REAL((void *)0xffff, R.cs = DSEG);
	expect("ip.across_limit", GP, -1, (void *)0xffff);
}

/* ---- string instructions ---- */

CODE(16, rep_movsb, "rep movsb");
CODE(16, rep_movsw, "rep movsw");
CODE(16, rep_stosb, "rep stosb");
CODE(16, rep_stosd, "rep stosl");
CODE(16, repe_cmpsb, "repe cmpsb");
CODE(16, repne_scasb, "repne scasb");
CODE(16, rep_lodsb, "rep lodsb");
CODE(16, rep_movsb_a32, "addr32 rep movsb");
CODE(16, rep_seg, "rep movsb %cs:(%si), %es:(%di)");

static void test_strings(void)
{
	for (unsigned i = 0; i < 64; i++) {
		MEM8(DATA + i) = (uint8_t)(i + 1);
		MEM8(DATA + 0xff00 + i) = 0;
	}
	REAL(rep_movsb, R.si = 0, R.di = 0x100, R.cx = 64);
	expect_end("str.movsb");
	check("str.movsb.si", R.si & 0xffff, 64);
	check("str.movsb.di", R.di & 0xffff, 0x140);
	check("str.movsb.cx", R.cx & 0xffff, 0);
	check("str.movsb.last", MEM8(DATA + 0x13f), 64);
	/* CX only; the upper half of ECX, ESI and EDI stays. */
	REAL(rep_movsb, R.si = 0xaaaa0000, R.di = 0xbbbb0200, R.cx = 0x10004);
	check("str.high.si", R.si, 0xaaaa0004);
	check("str.high.di", R.di, 0xbbbb0204);
	check("str.high.cx", R.cx, 0x10000);
	/* SI and DI wrap. */
	REAL(rep_movsb, R.si = 0xfffe, R.di = 0x300, R.cx = 4);
	expect_end("str.wrap");
	check("str.wrap.si", R.si & 0xffff, 2);
	check("str.wrap.value", MEM8(DATA + 0x303), 2);
	/* A word at 0xffff faults: what was done before stays. */
	REAL(rep_movsw, R.si = 0xfffb, R.di = 0x400, R.cx = 8);
	expect("str.word_wrap", GP, -1, rep_movsw);
	check("str.word_wrap.si", R.si & 0xffff, 0xffff);
	check("str.word_wrap.cx", R.cx & 0xffff, 6);
	check("str.word_wrap.di", R.di & 0xffff, 0x404);
	REAL(rep_stosb, R.di = 0xfff0, R.cx = 0x20, R.ax = 0x5a);
	expect_end("str.stos_wrap");
	check("str.stos_wrap.first", MEM8(DATA + 0xfff0), 0x5a);
	check("str.stos_wrap.last", MEM8(DATA + 0xf), 0x5a);
	check("str.stos_wrap.after", MEM8(DATA + 0x10), 17);
	REAL(rep_stosd, R.di = 8, R.cx = 2, R.ax = 0x01020304, R.flags |= F_DF);
	check("str.down", MEM32(DATA + 4), 0x01020304);
	check("str.down.di", R.di & 0xffff, 0);
	for (unsigned i = 0; i < 8; i++)
		MEM8(DATA + i) = MEM8(DATA + 0x40 + i) = (uint8_t)i;
	MEM8(DATA + 0x45) = 0xff;
	REAL(repe_cmpsb, R.si = 0, R.di = 0x40, R.cx = 8);
	check("str.cmps.cx", R.cx & 0xffff, 2);
	check("str.cmps.zf", R.flags & F_ZF, 0);
	REAL(repne_scasb, R.di = 0x40, R.cx = 8, R.ax = 0xff);
	check("str.scas.cx", R.cx & 0xffff, 2);
	check("str.scas.zf", R.flags & F_ZF, F_ZF);
	REAL(rep_lodsb, R.si = 0, R.cx = 5);
	check("str.lods.al", R.ax & 0xff, 4);
	REAL(rep_movsb_a32, R.si = 0, R.di = 0x500, R.cx = 4);
	expect_end("str.a32");
	check("str.a32.esi", R.si, 4);
	REAL(rep_movsb_a32, R.si = 0, R.di = 0xfffe, R.cx = 4);
	expect("str.a32_over", GP, -1, rep_movsb_a32);
	check("str.a32_over.ecx", R.cx, 2);
	check("str.a32_over.edi", R.di, 0x10000);
	REAL(rep_movsb, R.cx = 0x10000, R.si = 0, R.di = 0);
	check("str.zero_count", R.si & 0xffff, 0);
	REAL(rep_seg, R.si = (word)rep_seg, R.di = 0x600, R.cx = 1);
	check("str.cs_source", MEM8(DATA + 0x600), MEM8((word)rep_seg));
}

/* ---- unreal mode ---- */

CODE(16, big_load, "addr32 movl (%ebx), %eax");
CODE(16, big_reload, "movw %ax, %ds\n addr32 movl 0(%ebx), %eax");
CODE(16, big_string, "addr32 rep movsl");

static void test_unreal(void)
{
	gdt_set(SEL_FREE, descriptor(0, 0xfffff, D_DATA | D_D | D_G));
	real_sel = SEL_FREE;
	MEM32(0x345678) = 0xfeedface;
	REAL(big_load, R.ds = 0, R.bx = 0x345678);
	expect_end("unreal.load");
	check("unreal.load.value", R.ax, 0xfeedface);
	/* A load of the segment register changes the base only. */
	REAL(big_reload, R.ax = 0x1000, R.bx = 0x335678);
	expect_end("unreal.reload");
	check("unreal.reload.value", R.ax, 0xfeedface);
	REAL(big_string, R.ds = 0, R.es = 0, R.si = 0x345678, R.di = 0x245678, R.cx = 1);
	expect_end("unreal.string");
	check("unreal.string.value", MEM32(0x245678), 0xfeedface);
	real_sel = SEL_KDS16;
	REAL(big_load, R.ds = 0, R.bx = 0x345678);
	expect("unreal.off", GP, -1, big_load);
}

/* ---- control registers, port I/O and system registers ---- */

CODE(16, smsw_, "smsw %ax");
CODE(16, lmsw_set_clear, "smsw %ax\n orw $2, %ax\n lmsw %ax\n movl %cr0, %ebx\n andl $~2, %ebx\n"
	"movl %ebx, %cr0\n movl %cr0, %ecx");
CODE(16, bad_cr0, "movl $0x80000010, %eax\n 1: movl %eax, %cr0");
CODE(16, out_, "outb %al, $0x80\n inb $0x80, %al");
CODE(16, sgdt_, "sgdtl %cs:(%bx)");
CODE(16, rdmsr_bad, "rdmsr");
CODE(16, in_a32, "addr32 insb");
CODE(16, outs_, "outsb");
CODE(16, rep_outs, "rep outsb");
CODE(16, daa_, "daa");
CODE(16, aam_, "aam");
CODE(16, xlat_, "xlatb");
CODE(16, salc_, ".byte 0xd6");
CODE(16, pm_inside,
	"movl %cr0, %eax\n orb $1, %al\n movl %eax, %cr0\n"	 /* protected, CS unchanged */
	"movw %cs, %bx\n movw $0x10, %cx\n movw %cx, %fs\n"
	"andb $0xfe, %al\n movl %eax, %cr0\n"
	"addr32 movl %fs:0x12340, %edx");

static void test_system(void)
{
	static struct table_reg reg;

	REAL(smsw_);
	check("sys.smsw", R.ax & 1, 0);
	REAL(lmsw_set_clear);
	check("sys.lmsw", R.bx & 2, 0);
	check("sys.mov_cr0", R.cx & 2, 0);
	if (!in_tcg()) { /* it would go on, with paging */
		REAL(bad_cr0);
		expect("sys.pg_without_pe", GP, -1, bad_cr0 + 6);
	}
	REAL(out_);
	expect_end("sys.io");
	REAL(sgdt_, R.bx = (word)&reg);
	expect_end("sys.sgdt");
	check("sys.sgdt.base", reg.base, (word)gdt);
	REAL(rdmsr_bad, R.cx = 0x12345678);
	expect("sys.rdmsr", GP, -1, rdmsr_bad);
	REAL(outs_, R.si = 0, R.dx = 0x80);
	check("sys.outs.si", R.si & 0xffff, 1);
	REAL(rep_outs, R.si = 0xfff0, R.dx = 0x80, R.cx = 40);
	expect_end("sys.rep_outs");
	check("sys.rep_outs.si", R.si & 0xffff, 0x18);
	check("sys.rep_outs.cx", R.cx & 0xffff, 0);
	REAL(in_a32, R.di = 0x10000, R.dx = 0x80);
	expect("sys.ins_over", GP, -1, in_a32);
	REAL(daa_, R.ax = 0x2f);
	check("bcd.daa", R.ax & 0xff, 0x35);
	REAL(aam_, R.ax = 47);
	check("bcd.aam", R.ax & 0xffff, 0x407);
	MEM8(DATA + 0x1010) = 0x99;
	REAL(xlat_, R.bx = 0x1000, R.ax = 0x10);
	check("xlat", R.ax & 0xff, 0x99);
	REAL(salc_, R.flags |= F_CF);
	check("salc", R.ax & 0xff, 0xff);
	/* Protected mode without a far jump: the code segment's attributes stay. */
	MEM32(0x12340) = 0xabad1dea;
	REAL(pm_inside);
	expect_end("pm.inside");
	check("pm.inside.cs", R.bx & 0xffff, 0);
	check("pm.inside.big_fs", R.dx, 0xabad1dea);
}

void image_main(void)
{
	MEM16(0x10000) = 0x80cd; /* as in test_ip_wrap() */
	test_addressing();
	test_stack();
	test_interrupts();
	test_idt_limit();
	test_far();
	test_ip_wrap();
	test_strings();
	test_unreal();
	test_system();
}
