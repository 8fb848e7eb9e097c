/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Segmentation in protected mode: loads, limits, types, gates, far transfers, LAR and friends. */
#include "kit.h"

#define S1 SEL_FREE
#define S2 (SEL_FREE + 8)
#define DATA 0x30000

/* ---- loading DS, ES, FS, GS, SS ---- */

CODE(32, ld_ds, "movl %eax, %ds");
CODE(32, ld_es, "movl %eax, %es");
CODE(32, ld_gs, "movl %eax, %gs");
CODE(32, ld_ss, "movl %eax, %ss");
CODE_AT(32, ld_ss_next, ld_ss_next_at, "movl %eax, %ss\n nop\n1:");
CODE(32, pop_ds, "pushl %eax\n popl %ds");
CODE_AT(32, pop_es_bad, pop_es_bad_at, "pushl %eax\n1: popl %es");
CODE(32, lfs_mem, "lfs (%ebx), %ecx");
CODE(32, lss_mem, "lss (%ebx), %esp");

static void test_load(void)
{
	static const struct {
		const char *name;
		uint32_t access;
		uint16_t sel;
		uint8_t vector;
		uint16_t error;
	} ds[] = {
		{ "load.ds.data", D_DATA, S1, END, 0 },
		{ "load.ds.readonly", D_RODATA, S1, END, 0 },
		{ "load.ds.expand_down", D_DOWN, S1, END, 0 },
		{ "load.ds.code_readable", D_CODE, S1, END, 0 },
		{ "load.ds.code_execute_only", D_XCODE, S1, GP, S1 },
		{ "load.ds.conforming_rpl3", D_CONF, S1 | 3, END, 0 },
		{ "load.ds.rpl_exceeds_dpl", D_DATA, S1 | 1, GP, S1 },
		{ "load.ds.not_present", D_DATA & ~D_P, S1, NP, S1 },
		{ "load.ds.absent_and_wrong_type", D_XCODE & ~D_P, S1, GP, S1 },
		{ "load.ds.system", D_LDT, S1, GP, S1 },
		{ "load.ds.call_gate", D_CALL32, S1, GP, S1 },
		{ "load.ds.beyond_gdt", 0, GDT_SLOTS * 8, GP, GDT_SLOTS * 8 },
		{ "load.ds.ldt_without_ldt", 0, S1 | 4, GP, S1 | 4 },
		{ "load.ds.null", 0, 0, END, 0 },
		{ "load.ds.null3", 0, 3, END, 0 },
	};
	static const struct {
		const char *name;
		uint32_t access;
		uint16_t sel;
		uint8_t vector;
		uint16_t error;
	} ss[] = {
		{ "load.ss.data", D_DATA | D_D | D_G, S1, END, 0 },
		{ "load.ss.readonly", D_RODATA, S1, GP, S1 },
		{ "load.ss.code", D_CODE, S1, GP, S1 },
		{ "load.ss.rpl", D_DATA, S1 | 1, GP, S1 },
		{ "load.ss.dpl", D_DATA | D_DPL(1), S1, GP, S1 },
		{ "load.ss.not_present", D_DATA & ~D_P, S1, SS, S1 },
		{ "load.ss.null", 0, 0, GP, 0 },
		{ "load.ss.beyond_gdt", 0, GDT_SLOTS * 8, GP, GDT_SLOTS * 8 },
	};
	static struct {
		uint32_t off;
		uint16_t sel;
	} far;

	for (unsigned i = 0; i < sizeof(ds) / sizeof(ds[0]); i++) {
		gdt_set(S1, descriptor(0, 0xfffff, ds[i].access | D_D | D_G));
		TRY(ld_ds, R.ax = ds[i].sel);
		if (ds[i].vector == END)
			expect_end(ds[i].name);
		else
			expect(ds[i].name, ds[i].vector, ds[i].error, ld_ds);
		if (ds[i].vector == END)
			check("load.ds.value", R.ds, ds[i].sel);
	}
	for (unsigned i = 0; i < sizeof(ss) / sizeof(ss[0]); i++) {
		gdt_set(S1, descriptor(0, 0xfffff, ss[i].access | D_D | D_G));
		TRY(ld_ss, R.ax = ss[i].sel);
		if (ss[i].vector == END)
			expect_end(ss[i].name);
		else
			expect(ss[i].name, ss[i].vector, ss[i].error, ld_ss);
	}
	/* Ring 3: DPL must not be less than CPL. */
	gdt_set(S1, descriptor(0, 0xfffff, D_DATA | D_DPL(2) | D_D | D_G));
	TRY_USER(ld_es, R.ax = S1 | 3);
	expect("load.es.user_dpl2", GP, S1, ld_es);
	TRY_USER(ld_es, R.ax = S1);
	expect("load.es.user_dpl2_rpl0", GP, S1, ld_es);
	gdt_set(S1, descriptor(0, 0xfffff, D_DATA | D_DPL(3) | D_D | D_G));
	TRY_USER(ld_es, R.ax = S1);
	expect_end("load.es.user_dpl3_rpl0");
	gdt_set(S1, descriptor(0, 0xfffff, D_CONF | D_D | D_G));
	TRY_USER(ld_gs, R.ax = S1 | 3);
	expect_end("load.gs.user_conforming");
	gdt_set(S1, descriptor(0, 0xfffff, D_CODE | D_D | D_G));
	TRY_USER(ld_gs, R.ax = S1 | 3);
	expect("load.gs.user_code_dpl0", GP, S1, ld_gs);
	/* The accessed bit is written back. */
	gdt_set(S1, descriptor(0, 0xfffff, D_DATA | D_D | D_G));
	TRY(ld_es, R.ax = S1);
	check("load.accessed_bit", (gdt[S1 >> 3] >> 40) & 0xff, D_DATA | 1);
	/* POP, LFS, LSS. */
	TRY(pop_ds, R.ax = S1);
	expect_end("load.pop_ds");
	check("load.pop_ds.esp", R.sp, STACK_TOP);
	TRY(pop_es_bad, R.ax = S1 | 4);
	expect("load.pop_es_bad", GP, S1 | 4, pop_es_bad_at);
	check("load.pop_es_bad.esp", R.sp, STACK_TOP - 4);
	far.off = 0x1234;
	far.sel = S1;
	TRY(lfs_mem, R.bx = (word)&far);
	expect_end("load.lfs");
	check("load.lfs.fs", R.fs, S1);
	check("load.lfs.ecx", R.cx, 0x1234);
	far.sel = S1 | 4;
	TRY(lfs_mem, R.bx = (word)&far);
	expect("load.lfs_bad", GP, S1 | 4, lfs_mem);
	check("load.lfs_bad.ecx", R.cx, 0x01000000);
	far.off = STACK_TOP - 64;
	far.sel = SEL_KDS;
	TRY(lss_mem, R.bx = (word)&far);
	expect_end("load.lss");
	check("load.lss.esp", R.sp, STACK_TOP - 64);
	/* An LDT. */
	static uint64_t ldt[2];
	ldt[1] = descriptor(0x30000, 0xff, D_DATA | D_D);
	gdt_set(S2, descriptor((word)ldt, sizeof(ldt) - 1, D_LDT));
	__asm__ volatile("lldt %w0" : : "r"(S2));
	TRY(ld_es, R.ax = 0x0c);
	expect_end("load.from_ldt");
	TRY(ld_es, R.ax = 0x14);
	expect("load.beyond_ldt", GP, 0x14, ld_es);
	__asm__ volatile("lldt %w0" : : "r"(0));
	TRY(ld_es, R.ax = 0x0c);
	expect("load.ldt_null", GP, 0x0c, ld_es);
}

CODE(32, do_lldt, "lldt %ax");
CODE(32, do_ltr, "ltr %ax");

static void test_system_loads(void)
{
	gdt_set(S1, descriptor(0x30000, 0xff, D_DATA));
	TRY(do_lldt, R.ax = S1);
	expect("lldt.data", GP, S1, do_lldt);
	gdt_set(S1, descriptor(0x30000, 0xff, D_LDT & ~D_P));
	TRY(do_lldt, R.ax = S1);
	expect("lldt.not_present", NP, S1, do_lldt);
	TRY(do_lldt, R.ax = S1 | 4);
	expect("lldt.ti", GP, S1 | 4, do_lldt);
	TRY(do_lldt, R.ax = 0);
	expect_end("lldt.null");
	TRY(do_ltr, R.ax = 0);
	expect("ltr.null", GP, 0, do_ltr);
	TRY(do_ltr, R.ax = SEL_TSS);
	expect("ltr.busy", GP, SEL_TSS, do_ltr);
	gdt_set(S1, descriptor(0x30000, 0x67, D_TSS32 & ~D_P));
	TRY(do_ltr, R.ax = S1);
	expect("ltr.not_present", NP, S1, do_ltr);
	gdt_set(S1, descriptor(0x30000, 0x67, D_LDT));
	TRY(do_ltr, R.ax = S1);
	expect("ltr.ldt", GP, S1, do_ltr);
	/* LTR marks its descriptor busy. */
	gdt_set(SEL_TSS, descriptor((word)tss, 0x2ff, D_TSS32));
	TRY(do_ltr, R.ax = SEL_TSS);
	expect_end("ltr.ok");
	check("ltr.busy_bit", (gdt[SEL_TSS >> 3] >> 40) & 0xff, D_TSS32 | D_BUSY);
}

/* ---- limits and types at use ---- */

CODE(32, ld8, "movb %fs:(%ebx), %al");
CODE(32, ld32, "movl %fs:(%ebx), %eax");
CODE(32, st32, "movl %eax, %fs:(%ebx)");
CODE(32, st8, "movb %al, %fs:(%ebx)");
CODE(32, rmw32, "addl %eax, %fs:(%ebx)");
CODE(32, push_fs, "pushl %fs:(%ebx)");
CODE(32, cmp_fs, "cmpl %eax, %fs:(%ebx)");
CODE(32, ss_load, "movl %ss:(%ebx), %eax");
CODE(32, ebp_load, "movl (%ebp), %eax");
CODE(32, ds_load, "movl (%ebx), %eax");
CODE(32, cs_load, "movl %cs:(%ebx), %eax");
CODE(32, cs_store, "movl %eax, %cs:(%ebx)");
CODE(32, movs_fs, "movsl %fs:(%esi), %es:(%edi)");
CODE(32, load16, "movl %fs:(%bx), %eax");

static void use(const char *name, char *code, uint32_t offset, unsigned vector)
{
	TRY(code, R.bx = offset, R.fs = S1);
	if (vector == END)
		expect_end(name);
	else
		expect(name, vector, 0, code);
}

static void test_limits(void)
{
	gdt_set(S1, descriptor(DATA, 0xff, D_DATA | D_D));
	MEM32(DATA + 0xfc) = 0x11223344;
	use("limit.last_dword", ld32, 0xfc, END);
	check("limit.last_dword.value", R.ax, 0x11223344);
	use("limit.dword_over", ld32, 0xfd, GP);
	use("limit.last_byte", ld8, 0xff, END);
	use("limit.byte_over", ld8, 0x100, GP);
	use("limit.store_over", st32, 0xfd, GP);
	use("limit.rmw_over", rmw32, 0x100, GP);
	use("limit.push_over", push_fs, 0xfe, GP);
	use("limit.cmp_over", cmp_fs, 0xfe, GP);
	use("limit.wrap", ld32, 0xfffffffe, GP);
	use("limit.huge", ld8, 0x80000000, GP);
	gdt_set(S1, descriptor(DATA, 1, D_DATA | D_D | D_G));
	use("limit.pages_last", ld32, 0x1ffc, END);
	use("limit.pages_over", ld32, 0x1ffd, GP);
	gdt_set(S1, descriptor(DATA, 0, D_DATA | D_D));
	use("limit.zero_first", ld8, 0, END);
	use("limit.zero_second", ld8, 1, GP);
	/* Expand-down: above the limit only, up to 64 KiB or 4 GiB as B says. */
	gdt_set(S1, descriptor(DATA, 0xff, D_DOWN | D_D));
	use("down.at_limit", ld8, 0xff, GP);
	use("down.above_limit", ld8, 0x100, END);
	use("down.straddle", ld32, 0xfe, GP);
	use("down.high32", ld8, 0x20000, END);
	gdt_set(S1, descriptor(DATA, 0xff, D_DOWN));
	use("down16.top", ld8, 0xffff, END);
	use("down16.top_over", ld32, 0xfffe, GP);
	use("down16.high", ld8, 0x20000, GP);
	gdt_set(S1, descriptor(DATA, 0xfffff, D_DOWN | D_D | D_G));
	use("down.empty", ld8, 0xfffffff0, GP);
	/* Types. */
	gdt_set(S1, descriptor(DATA, 0xff, D_RODATA | D_D));
	use("type.readonly_load", ld32, 0, END);
	use("type.readonly_store", st32, 0, GP);
	use("type.readonly_store8", st8, 0, GP);
	use("type.readonly_rmw", rmw32, 0, GP);
	gdt_set(S1, descriptor(DATA, 0xff, D_CODE | D_D));
	use("type.code_load", ld32, 0, END);
	use("type.code_store", st32, 0, GP);
	/* A null selector may be loaded, not used. */
	TRY(ld32, R.bx = DATA, R.fs = 0);
	expect("null.load", GP, 0, ld32);
	TRY(st32, R.bx = DATA, R.fs = 3);
	expect("null.store", GP, 0, st32);
	TRY(ds_load, R.bx = DATA, R.ds = 0);
	expect("null.ds", GP, 0, ds_load);
	/* CS as a data segment. */
	TRY(cs_load, R.bx = DATA);
	expect_end("cs.load");
	TRY(cs_store, R.bx = DATA);
	expect("cs.store", GP, 0, cs_store);
	gdt_set(S1, descriptor(0, 0xfffff, D_XCODE | D_D | D_G));
	TRY(cs_load, R.bx = DATA, R.cs = S1);
	expect("cs.load_execute_only", GP, 0, cs_load);
	/* The base is added modulo 2^32. */
	gdt_set(S1, descriptor(0xffff0000, 0xfffff, D_DATA | D_D | D_G));
	MEM32(DATA) = 0x55667788;
	TRY(ld32, R.bx = DATA + 0x10000, R.fs = S1);
	check("base.wraps", R.ax, 0x55667788);
	TRY(load16, R.bx = 0xffff0000 | (DATA & 0xffff), R.fs = S1);
	expect_end("base.address16");
	/* #SS for the stack segment, also through BP and overrides. */
	gdt_set(S2, descriptor(0, 0x2f, D_DATA | D_D | D_G));
	TRY(ss_load, R.ss = S2, R.bx = 0x30000);
	expect("ss.load_over", SS, 0, ss_load);
	TRY(ebp_load, R.ss = S2, R.bp = 0x30000);
	expect("ss.ebp_over", SS, 0, ebp_load);
	TRY(ebp_load, R.ss = S2, R.bp = 0x2fffc);
	expect_end("ss.ebp_last");
	/* A faulting string source leaves the registers alone. */
	gdt_set(S1, descriptor(DATA, 0xff, D_DATA | D_D));
	TRY(movs_fs, R.fs = S1, R.si = 0x100, R.di = DATA + 0x1000);
	expect("string.source_over", GP, 0, movs_fs);
	check("string.esi", R.si, 0x100);
	check("string.edi", R.di, DATA + 0x1000);
}

/* ---- the limit of the code segment ---- */


static void test_code_limit(void)
{
	/* Code is built at DATA; the segment ends 0x800 bytes further on. */
	const uint32_t end = DATA + 0x800;

	gdt_set(S1, descriptor(0, end - 1, D_CODE | D_D));
	memset((void *)DATA, 0x90, 0x1000);
	TRY((void *)(end - 3), R.cs = S1);
	expect("code.runs_over", GP, 0, (void *)end);
	MEM8(end - 2) = 0xb0;
	MEM8(end - 1) = 0x42;
	TRY((void *)(end - 3), R.cs = S1);
	expect("code.last_insn", GP, 0, (void *)end);
	check("code.last_insn.al", R.ax & 0xff, 0x42);
	MEM8(end - 1) = 0xb0;
	TRY((void *)(end - 1), R.cs = S1);
	expect("code.across", GP, 0, (void *)(end - 1));
	/* Branches fault where they stand, with the stack as it was. */
	MEM16(DATA) = 0xe3ff; /* jmp *%ebx */
	TRY((void *)DATA, R.cs = S1, R.bx = end);
	expect("code.jmp", GP, 0, (void *)DATA);
	TRY((void *)DATA, R.cs = S1, R.bx = end - 1);
	expect("code.jmp_last", GP, 0, (void *)(end - 1));
	MEM16(DATA) = 0xd3ff; /* call *%ebx */
	TRY((void *)DATA, R.cs = S1, R.bx = end + 0x1000);
	expect("code.call", GP, 0, (void *)DATA);
	check("code.call.esp", R.sp, STACK_TOP);
	MEM8(DATA) = 0xc3; /* ret */
	MEM32(STACK_TOP) = end;
	TRY((void *)DATA, R.cs = S1);
	expect("code.ret", GP, 0, (void *)DATA);
	check("code.ret.esp", R.sp, STACK_TOP);
	MEM8(DATA) = 0x0f; /* jc */
	MEM8(DATA + 1) = 0x82;
	MEM32(DATA + 2) = 0x1000;
	TRY((void *)DATA, R.cs = S1, R.flags = 2 | F_CF);
	expect("code.jcc_taken", GP, 0, (void *)DATA);
	MEM16(DATA + 6) = 0x80cd;
	TRY((void *)DATA, R.cs = S1);
	expect_end("code.jcc_not_taken");
	MEM8(DATA) = 0xe9; /* jmp backwards over zero */
	MEM32(DATA + 1) = 0u - DATA - 5 - 16;
	TRY((void *)DATA, R.cs = S1);
	expect("code.jmp_below_zero", GP, 0, (void *)DATA);
	/* A base: the limit counts from it. */
	memset((void *)DATA, 0x90, 0x1000);
	gdt_set(S1, descriptor(DATA, 0x7f, D_CODE | D_D));
	TRY((void *)0x70, R.cs = S1);
	expect("code.based_runs_over", GP, 0, (void *)0x80);
	/* 64 KiB of 16-bit code: IP wraps in jumps, not in running. */
	gdt_set(S1, descriptor(DATA, 0xffff, D_CODE));
	MEM8(DATA + 0xfff0) = 0xeb;
	MEM8(DATA + 0xfff1) = 0x20;
	MEM16(DATA + 0x12) = 0x80cd;
	TRY((void *)0xfff0, R.cs = S1);
	expect("code.ip_wraps", END, -1, (void *)0x14);
}

/* ---- the stack ---- */

CODE(32, st_push, "pushl %eax");
CODE(32, st_pop, "popl %eax");
CODE(32, st_push16, "pushw %ax");
CODE(32, st_call, "call 1f\n1:");
CODE(32, st_ret, "ret");
CODE(32, st_pusha, "pushal");
CODE(32, st_popa, "popal");
CODE(32, st_enter, "enter $16, $0");
CODE(32, st_enter3, "enter $16, $3");
CODE(32, st_leave, "leave");
CODE(32, st_push_esp, "pushl %esp\n popl %eax");
CODE(32, st_pop_mem_esp, "pushl %eax\n popl 4(%esp)");
CODE(16, st16_push, "pushl %eax");

static void test_stack(void)
{
	gdt_set(S2, descriptor(0x20000, 0x7fff, D_DATA | D_DPL(3) | D_D));
	TRY_USER(st_push, R.ss = S2 | 3, R.sp = 0x8004);
	expect("stack.push_over", SS, 0, st_push);
	check("stack.push_over.esp", R.sp, 0x8004);
	TRY_USER(st_pop, R.ss = S2 | 3, R.sp = 0x7ffe);
	expect("stack.pop_over", SS, 0, st_pop);
	TRY_USER(st_call, R.ss = S2 | 3, R.sp = 0x8004);
	expect("stack.call_over", SS, 0, st_call);
	gdt_set(S2, descriptor(0x20000, 0xfff, D_DOWN | D_DPL(3) | D_D));
	TRY_USER(st_push, R.ss = S2 | 3, R.sp = 0x1004);
	expect_end("stack.down_push");
	TRY_USER(st_push, R.ss = S2 | 3, R.sp = 0x1003);
	expect("stack.down_push_over", SS, 0, st_push);
	/* No room for the handler's frame either: a double fault. */
	gdt_set(S2, descriptor(0x20000, 0xfff, D_DOWN | D_D));
	df_ran = 0;
	TRY(st_push, R.ss = S2, R.sp = 0x1000 + 12);
	check("stack.df.vector", R.vector, DF);
	check("stack.df.task", df_ran, 1);
	/* 16-bit stack: SP wraps, the upper half of ESP stays. */
	gdt_set(S2, descriptor(0x20000, 0xffff, D_DATA));
	TRY(st_push, R.ss = S2, R.sp = 0x12340100, R.ax = 0x99887766);
	expect_end("stack16.push");
	check("stack16.push.esp", R.sp, 0x123400fc);
	check("stack16.push.value", MEM32(0x200fc), 0x99887766);
	TRY(st_pop, R.ss = S2, R.sp = 0xabcd00fc);
	check("stack16.pop.value", R.ax, 0x99887766);
	check("stack16.pop.esp", R.sp, 0xabcd0100);
	TRY(st_push, R.ss = S2, R.sp = 0x56780000, R.ax = 0x13572468);
	expect_end("stack16.wrap");
	check("stack16.wrap.esp", R.sp, 0x5678fffc);
	check("stack16.wrap.value", MEM32(0x2fffc), 0x13572468);
	TRY(st_push16, R.ss = S2, R.sp = 0x5678fff0, R.ax = 0x13572468);
	check("stack16.push16.esp", R.sp, 0x5678ffee);
	TRY(st_enter, R.ss = S2, R.sp = 0x56780100, R.bp = 0xaaaa5555);
	expect_end("stack16.enter");
	check("stack16.enter.esp", R.sp, 0x567800ec);
	check("stack16.enter.value", MEM32(0x200fc), 0xaaaa5555);
	check("stack16.enter.ebp", R.bp & 0xffff, 0x00fc);
	TRY(st_leave, R.ss = S2, R.sp = 0x56780080, R.bp = 0x000000fc);
	expect_end("stack16.leave");
	check("stack16.leave.ebp", R.bp, 0xaaaa5555);
	check("stack16.leave.esp", R.sp & 0xffff, 0x0100);
	TRY(st_call, R.ss = S2, R.sp = 0x56780100);
	check("stack16.call.value", MEM32(0x200fc), (word)st_call + 5);
	/* PUSHA and POPA. */
	TRY(st_pusha, R.sp = STACK_TOP);
	expect_end("pusha");
	check("pusha.eax", MEM32(STACK_TOP - 4), R.ax);
	check("pusha.esp", MEM32(STACK_TOP - 20), STACK_TOP);
	check("pusha.edi", MEM32(STACK_TOP - 32), R.di);
	for (unsigned i = 0; i < 8; i++)
		MEM32(STACK_TOP - 32 + i * 4) = 0x100 + i;
	TRY(st_popa, R.sp = STACK_TOP - 32);
	check("popa.edi", R.di, 0x100);
	check("popa.eax", R.ax, 0x107);
	check("popa.esp", R.sp, STACK_TOP);
	TRY(st_push_esp);
	check("push_esp", R.ax, STACK_TOP);
	TRY(st_pop_mem_esp, R.ax = 0x77);
	expect_end("pop_mem_esp");
	check("pop_mem_esp.value", MEM32(STACK_TOP + 4), 0x77);
	/* ENTER with nesting copies display pointers. */
	MEM32(0x27004) = 0xa1;
	MEM32(0x27000) = 0xa2;
	TRY(st_enter3, R.sp = 0x26000, R.bp = 0x27008);
	expect_end("enter3");
	check("enter3.frame", MEM32(0x25ffc), 0x27008);
	check("enter3.display1", MEM32(0x25ff8), 0xa1);
	check("enter3.display2", MEM32(0x25ff4), 0xa2);
	check("enter3.display3", MEM32(0x25ff0), 0x25ffc);
	check("enter3.esp", R.sp, 0x25ff0 - 16);
	check("enter3.ebp", R.bp, 0x25ffc);
}

/* ---- LAR, LSL, VERR, VERW, ARPL ---- */

CODE(32, do_lar, "larl %eax, %ebx");
CODE(32, do_lsl, "lsll %eax, %ebx");
CODE(32, do_verr, "verr %ax");
CODE(32, do_verw, "verw %ax");
CODE(32, do_arpl, "arpl %bx, %ax");

static bool zf(char *code, uint16_t sel, bool user)
{
	if (user)
		fresh_user(code);
	else
		fresh(code);
	R.ax = sel;
	run();
	return R.vector == END && R.flags & F_ZF;
}

static void test_lar(void)
{
	gdt_set(S1, descriptor(0x12345678, 0x9abcd, D_DATA | D_D | D_G));
	check("lar.ok", zf(do_lar, S1, false), 1);
	check("lar.value", R.bx & 0x00f0ff00, 0x00c09200);
	check("lsl.ok", zf(do_lsl, S1, false), 1);
	check("lsl.value", R.bx, 0x9abcdfff);
	gdt_set(S1, descriptor(0, 0x1ffff, D_DATA | D_D));
	check("lsl.bytes", (zf(do_lsl, S1, false), R.bx), 0x1ffff);
	check("lar.null", zf(do_lar, 0, false), 0);
	check("lar.null.kept", R.bx, 0x03000000);
	check("lar.beyond", zf(do_lar, GDT_SLOTS * 8, false), 0);
	check("lar.user_dpl0", zf(do_lar, S1, true), 0);
	check("lsl.user_dpl0", zf(do_lsl, S1, true), 0);
	gdt_set(S1, descriptor(0, 0xffff, D_CONF));
	check("lar.user_conforming", zf(do_lar, S1 | 3, true), 1);
	check("verr.user_conforming", zf(do_verr, S1 | 3, true), 1);
	gdt_set(S1, gate(0, SEL_KCS, D_CALL32, 0));
	check("lar.call_gate", zf(do_lar, S1, false), 1);
	check("lsl.call_gate", zf(do_lsl, S1, false), 0);
	gdt_set(S1, gate(0, SEL_KCS, D_INT32, 0));
	check("lar.int_gate", zf(do_lar, S1, false), 0);
	gdt_set(S1, descriptor(0, 0x67, D_TSS32));
	check("lar.tss", zf(do_lar, S1, false), 1);
	check("lsl.tss", zf(do_lsl, S1, false), 1);
	check("verr.tss", zf(do_verr, S1, false), 0);
	gdt_set(S1, gate(0, SEL_KCS, D_TASK, 0));
	check("lar.task_gate", zf(do_lar, S1, false), 1);
	gdt_set(S1, descriptor(0, 0xffff, D_DATA & ~D_P));
	check("lar.not_present", zf(do_lar, S1, false), 1);
	check("verw.data", zf(do_verw, SEL_KDS, false), 1);
	check("verr.data", zf(do_verr, SEL_KDS, false), 1);
	check("verr.user_dpl0", zf(do_verr, SEL_KDS, true), 0);
	check("verw.code", zf(do_verw, SEL_KCS, false), 0);
	gdt_set(S1, descriptor(0, 0xffff, D_XCODE));
	check("verr.execute_only", zf(do_verr, S1, false), 0);
	gdt_set(S1, descriptor(0, 0xffff, D_RODATA));
	check("verw.readonly", zf(do_verw, S1, false), 0);
	check("verr.readonly", zf(do_verr, S1, false), 1);
	TRY(do_arpl, R.ax = 0x10, R.bx = 3);
	check("arpl.raised", R.ax & 0xffff, 0x13);
	check("arpl.zf", !!(R.flags & F_ZF), 1);
	TRY(do_arpl, R.ax = 0x13, R.bx = 1);
	check("arpl.kept", R.ax & 0xffff, 0x13);
	check("arpl.nzf", !!(R.flags & F_ZF), 0);
}

/* ---- far jumps, calls and returns ---- */

CODE(32, far_target, "movl $0x600d, %edx\n movl %cs, %ecx");
CODE(32, far_jmp, "ljmp *(%ebx)");
CODE(32, far_call, "lcall *(%ebx)");
CODE(32, far_ret, "pushl %eax\n pushl %ebx\n lret");
CODE_AT(32, far_ret_bad, far_ret_at, "pushl %eax\n pushl %ebx\n1: lret");
CODE(32, far_ret8, "pushl $1\n pushl $2\n pushl %eax\n pushl %ebx\n lret $8");
CODE(32, far_callee_ret, "lret");
CODE(32, far_call_back, "lcall *(%ebx)\n movl $0x600d, %edx");
CODE(16, far_target16, "movl $0x600d, %edx");
CODE(32, to_user, "pushl %eax\n pushl %ebx\n pushl %ecx\n pushl %edx\n lret");

static struct {
	uint32_t off;
	uint16_t sel;
} fp;

static void far_try(const char *name, char *code, uint16_t sel, uint32_t off, bool user,
	unsigned vector, uint32_t error)
{
	fp.sel = sel;
	fp.off = off;
	if (user)
		fresh_user(code);
	else
		fresh(code);
	R.bx = (word)&fp;
	run();
	if (vector == END) {
		expect_end(name);
		check("far.arrived", R.dx, 0x600d);
	} else {
		expect(name, vector, error, code);
	}
}

static void test_far(void)
{
	const uint32_t t = (word)far_target;

	far_try("far.jmp", far_jmp, SEL_KCS, t, false, END, 0);
	far_try("far.jmp_null", far_jmp, 0, t, false, GP, 0);
	far_try("far.jmp_data", far_jmp, SEL_KDS, t, false, GP, SEL_KDS);
	far_try("far.jmp_beyond", far_jmp, GDT_SLOTS * 8, t, false, GP, GDT_SLOTS * 8);
	far_try("far.jmp_user_segment", far_jmp, SEL_UCS32, t, false, GP, SEL_UCS32 & ~3);
	far_try("far.jmp_rpl", far_jmp, SEL_KCS | 3, t, false, GP, SEL_KCS);
	far_try("far.user_to_kernel", far_jmp, SEL_KCS, t, true, GP, SEL_KCS);
	far_try("far.user_call_kernel", far_call, SEL_KCS | 3, t, true, GP, SEL_KCS);
	far_try("far.user_to_user", far_jmp, SEL_UCS32, t, true, END, 0);
	far_try("far.user_rpl0", far_jmp, SEL_UCS32 & ~3, t, true, END, 0);
	check("far.user_rpl0.cs", R.cs, SEL_UCS32);
	gdt_set(S1, descriptor(0, 0xfffff, (D_CODE | D_D | D_G) & ~D_P));
	far_try("far.not_present", far_jmp, S1, t, false, NP, S1);
	gdt_set(S1, descriptor(0, 0xfff, D_CODE | D_D));
	far_try("far.beyond_limit", far_jmp, S1, 0x1000, false, GP, 0);
	gdt_set(S1, descriptor(0, 0xfffff, D_CONF | D_D | D_G));
	far_try("far.conforming", far_jmp, S1, t, true, END, 0);
	check("far.conforming.cpl", R.cs, S1 | 3);
	gdt_set(S1, descriptor(0, 0xfffff, D_CONF | D_DPL(3) | D_D | D_G));
	far_try("far.conforming_outward", far_jmp, S1, t, false, GP, S1);
	/* A segment with a base. */
	gdt_set(S1, descriptor(0x1000, 0xfffff, D_CODE | D_D | D_G));
	far_try("far.based", far_jmp, S1, t - 0x1000, false, END, 0);
	/* To 16-bit code. */
	far_try("far.to16", far_jmp, SEL_KCS16, (word)far_target16, false, END, 0);

	far_try("far.call", far_call, SEL_KCS, t, false, END, 0);
	check("far.call.eip", MEM32(STACK_TOP - 8), (word)far_call + 2);
	check("far.call.cs", MEM16(STACK_TOP - 4), SEL_KCS);
	check("far.call.esp", R.sp, STACK_TOP - 8);
	far_try("far.call_and_return", far_call_back, SEL_KCS, (word)far_callee_ret, false, END, 0);
	check("far.call_and_return.esp", R.sp, STACK_TOP);

	TRY(far_ret, R.ax = SEL_KCS, R.bx = t);
	expect_end("lret.same");
	TRY(far_ret_bad, R.ax = 0, R.bx = t);
	expect("lret.null", GP, 0, far_ret_at);
	check("lret.null.esp", R.sp, STACK_TOP - 8);
	TRY(far_ret_bad, R.ax = SEL_KDS, R.bx = t);
	expect("lret.data", GP, SEL_KDS, far_ret_at);
	TRY_USER(far_ret_bad, R.ax = SEL_KCS, R.bx = t);
	expect("lret.inward", GP, SEL_KCS, far_ret_at);
	TRY(far_ret8, R.ax = SEL_KCS, R.bx = t);
	expect_end("lret8");
	check("lret8.esp", R.sp, STACK_TOP);
	/* To ring 3: SS:ESP from the stack, and data segments of ring 0 become null. */
	TRY(to_user, R.ax = SEL_UDS, R.bx = 0x26000, R.cx = SEL_UCS32, R.dx = t, R.fs = SEL_UDS,
		R.gs = SEL_KDS, R.es = SEL_KDS);
	expect_end("lret.outer");
	check("lret.outer.cs", R.cs, SEL_UCS32);
	check("lret.outer.ss", R.ss, SEL_UDS);
	check("lret.outer.esp", R.sp, 0x26000);
	check("lret.outer.ds", R.ds, 0);
	check("lret.outer.es", R.es, 0);
	check("lret.outer.gs", R.gs, 0);
	check("lret.outer.fs", R.fs, SEL_UDS);
	TRY(to_user, R.ax = SEL_KDS, R.bx = 0x26000, R.cx = SEL_UCS32, R.dx = t);
	expect("lret.outer_bad_ss", GP, SEL_KDS, to_user + 4);
	TRY(to_user, R.ax = 0, R.bx = 0x26000, R.cx = SEL_UCS32, R.dx = t);
	expect("lret.outer_null_ss", GP, 0, to_user + 4);
}

/* ---- call gates ---- */

CODE(32, gate_target, "movl $0x600d, %edx\n movl (%esp), %eax\n movl 4(%esp), %ecx\n"
	"movl 8(%esp), %esi\n movl 12(%esp), %edi");
CODE(32, gate_call, "pushl $0x1111\n pushl $0x2222\n lcall *(%ebx)");
CODE_AT(32, gate_call_at_, gate_call_at, "pushl $0x1111\n pushl $0x2222\n1: lcall *(%ebx)");
CODE(32, gate_back, "pushl $0x1111\n pushl $0x2222\n lcall *(%ebx)\n movl $0x600d, %edx");
CODE(32, gate_ret8, "lret $8");
CODE(32, gate_jmp, "ljmp *(%ebx)");

static void test_call_gates(void)
{
	const uint32_t t = (word)gate_target;

	fp.off = 0xdeadbeef; /* ignored */
	fp.sel = S1 | 3;
	gdt_set(S1, gate(t, SEL_KCS, D_CALL32 | D_DPL(3), 0));
	TRY(gate_call, R.bx = (word)&fp);
	expect_end("gate.same_level");
	check("gate.same_level.eip", R.ax, (word)gate_call + 12);
	check("gate.same_level.param", R.si, 0x2222);
	TRY_USER(gate_call, R.bx = (word)&fp);
	expect_end("gate.inward");
	check("gate.inward.cs", R.cs, SEL_KCS);
	check("gate.inward.esp", R.sp, EXC_STACK - 16);
	check("gate.inward.eip", R.ax, (word)gate_call + 12);
	check("gate.inward.old_cs", R.cx, SEL_UCS32);
	check("gate.inward.old_esp", R.si, STACK_TOP - 8);
	check("gate.inward.old_ss", R.di, SEL_UDS);
	gdt_set(S1, gate(t, SEL_KCS, D_CALL32 | D_DPL(3), 2));
	TRY_USER(gate_call, R.bx = (word)&fp);
	expect_end("gate.params");
	check("gate.params.esp", R.sp, EXC_STACK - 24);
	check("gate.params.first", R.si, 0x2222);
	check("gate.params.second", R.di, 0x1111);
	check("gate.params.old_esp", MEM32(EXC_STACK - 8), STACK_TOP - 8);
	gdt_set(S1, gate((word)gate_ret8, SEL_KCS, D_CALL32 | D_DPL(3), 2));
	TRY_USER(gate_back, R.bx = (word)&fp);
	expect_end("gate.return");
	check("gate.return.esp", R.sp, STACK_TOP);
	check("gate.return.edx", R.dx, 0x600d);
	check("gate.return.cs", R.cs, SEL_UCS32);
	gdt_set(S1, gate(t, SEL_KCS, D_CALL32, 0));
	TRY_USER(gate_call_at_, R.bx = (word)&fp);
	expect("gate.dpl0", GP, S1, gate_call_at);
	gdt_set(S1, gate(t, SEL_KCS, (D_CALL32 | D_DPL(3)) & ~D_P, 0));
	TRY_USER(gate_call_at_, R.bx = (word)&fp);
	expect("gate.not_present", NP, S1, gate_call_at);
	gdt_set(S1, gate(t, SEL_KDS, D_CALL32 | D_DPL(3), 0));
	TRY_USER(gate_call_at_, R.bx = (word)&fp);
	expect("gate.to_data", GP, SEL_KDS, gate_call_at);
	gdt_set(S1, gate(t, 0, D_CALL32 | D_DPL(3), 0));
	TRY_USER(gate_call_at_, R.bx = (word)&fp);
	expect("gate.to_null", GP, 0, gate_call_at);
	gdt_set(S1, gate(t, SEL_KCS, D_CALL32 | D_DPL(3), 0));
	TRY_USER(gate_jmp, R.bx = (word)&fp);
	expect("gate.jmp_inward", GP, SEL_KCS, gate_jmp);
	gdt_set(S1, gate((word)far_target, SEL_UCS32, D_CALL32 | D_DPL(3), 0));
	TRY_USER(gate_jmp, R.bx = (word)&fp);
	expect_end("gate.jmp_same");
	/* A 16-bit gate pushes words. */
	gdt_set(S1, gate(t & 0xffff, SEL_KCS, D_CALL16 | D_DPL(3), 1));
	TRY_USER(gate_call, R.bx = (word)&fp);
	expect_end("gate16.inward");
	check("gate16.esp", R.sp, EXC_STACK - 10);
	check("gate16.ip_cs", R.ax, (SEL_UCS32 << 16) | (((word)gate_call + 12) & 0xffff));
	check("gate16.param", R.cx & 0xffff, 0x2222);
	/* The inner stack: a bad SS in the TSS. */
	gdt_set(S1, gate(t, SEL_KCS, D_CALL32 | D_DPL(3), 0));
	*(uint32_t *)(tss + 8) = 0;
	fp.sel = S1 | 3;
	df_ran = 0;
	TRY_USER(gate_call_at_, R.bx = (word)&fp);
	check("gate.null_ss0.df", R.vector, DF); /* #TS cannot be delivered either */
	*(uint32_t *)(tss + 8) = SEL_KDS;
}

void image_main(void)
{
	test_load();
	test_system_loads();
	test_limits();
	if (in_tcg())
		skip("code");
	else
		test_code_limit();
	test_stack();
	test_lar();
	test_far();
	test_call_gates();
}
