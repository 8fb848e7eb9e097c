/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Every exception that instructions of 32-bit protected mode raise: vector, error code, address. */
#include "kit.h"

/* ---- #DE, #BP, #OF, #BR, #UD ---- */

CODE(32, div_reg, "divl %ecx");
CODE(32, idiv_over, "idivl %ecx");
CODE(32, div8, "divb %cl");
CODE(32, aam0, "aam $0");
CODE_AT(32, bp, bp_at, "int3\n1:");
CODE_AT(32, int3_long, int3_long_at, ".byte 0xcd, 3\n1:");
CODE_AT(32, into_of, into_at, "into\n1:");
CODE(32, bound_ok, "bound %eax, (%ebx)");
CODE(32, bound16, "boundw %ax, (%ebx)");
CODE(32, ud2, "ud2");
CODE(32, ud1, ".byte 0x0f, 0xb9, 0xc0");
CODE(32, lock_reg, ".byte 0xf0, 0x01, 0xc0");    /* lock add %eax, %eax */
CODE(32, lock_mov, ".byte 0xf0, 0x89, 0x03");    /* lock mov %eax, (%ebx) */
CODE(32, lock_cmp, ".byte 0xf0, 0x39, 0x03");    /* lock cmp %eax, (%ebx) */
CODE(32, lock_inc, "lock incl (%ebx)");
CODE(32, mov_cs, ".byte 0x8e, 0xc8");            /* mov %eax, %cs */
CODE(32, mov_seg6, ".byte 0x8e, 0xf0");          /* mov %eax, segment 6 */
CODE(32, lea_reg, ".byte 0x8d, 0xc0");           /* lea %eax, %eax */
CODE(32, les_reg, ".byte 0xc4, 0xc0");           /* VEX outside its forms */
CODE(32, bound_reg, ".byte 0x62, 0xc0");
CODE(32, mov_cr1, ".byte 0x0f, 0x20, 0xc8");     /* mov %cr1, %eax */
CODE(32, mov_cr5, ".byte 0x0f, 0x20, 0xe8");
CODE(32, cmpxchg8_reg, ".byte 0x0f, 0xc7, 0xc8");
CODE(32, long_insn, ".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90");
CODE(32, too_long, ".byte 0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x66,0x90");
CODE(32, syscall_insn, "syscall");
CODE(32, rsm_insn, "rsm");

static int32_t bounds[2] = { -5, 10 };
static int16_t bounds16[2] = { -5, 10 };

static void test_simple(void)
{
	TRY(div_reg, R.cx = 0);
	expect("de.div_by_zero", DE, -1, div_reg);
	TRY(div_reg, R.cx = 1, R.dx = 1);
	expect("de.div_overflow", DE, -1, div_reg);
	check("de.div_overflow.edx", R.dx, 1);
	TRY(idiv_over, R.ax = 0x80000000, R.dx = 0xffffffff, R.cx = 0xffffffff);
	expect("de.idiv_overflow", DE, -1, idiv_over);
	TRY(div8, R.ax = 0x200, R.cx = 2);
	expect("de.div8_overflow", DE, -1, div8);
	TRY(aam0);
	expect("de.aam0", DE, -1, aam0);
	TRY(div_reg, R.ax = 101, R.dx = 0, R.cx = 7);
	expect_end("de.none");
	check("de.none.eax", R.ax, 14);
	check("de.none.edx", R.dx, 3);

	TRY(bp);
	expect("bp.int3", BP, -1, bp_at);
	TRY(int3_long);
	expect("bp.int_3", BP, -1, int3_long_at);
	TRY(into_of, R.flags = 2 | F_OF);
	expect("of.into", OF, -1, into_at);
	TRY(into_of);
	expect_end("of.into_clear");

	TRY(bound_ok, R.bx = (word)bounds, R.ax = 10);
	expect_end("br.upper_ok");
	TRY(bound_ok, R.bx = (word)bounds, R.ax = -5);
	expect_end("br.lower_ok");
	TRY(bound_ok, R.bx = (word)bounds, R.ax = 11);
	expect("br.above", BR, -1, bound_ok);
	TRY(bound_ok, R.bx = (word)bounds, R.ax = -6);
	expect("br.below", BR, -1, bound_ok);
	TRY(bound16, R.bx = (word)bounds16, R.ax = 0x7fff);
	expect("br.word_above", BR, -1, bound16);
	TRY(bound16, R.bx = (word)bounds16, R.ax = 0x7fff0000);
	expect_end("br.word_ok");
}

static void test_ud(void)
{
	static const struct {
		const char *name;
		char *code;
	} bad[] = {
		{ "ud.ud2", ud2 },
		{ "ud.ud1", ud1 },
		{ "ud.lock_register", lock_reg },
		{ "ud.lock_mov", lock_mov },
		{ "ud.lock_cmp", lock_cmp },
		{ "ud.mov_to_cs", mov_cs },
		{ "ud.mov_to_seg6", mov_seg6 },
		{ "ud.lea_register", lea_reg },
		{ "ud.les_register", les_reg },
		{ "ud.bound_register", bound_reg },
		{ "ud.mov_cr1", mov_cr1 },
		{ "ud.mov_cr5", mov_cr5 },
		{ "ud.cmpxchg8b_register", cmpxchg8_reg },
		{ "ud.syscall_without_sce", syscall_insn },
		{ "ud.rsm", rsm_insn },
	};
	static uint32_t cell;

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		TRY(bad[i].code, R.bx = (word)&cell);
		expect(bad[i].name, UD, -1, bad[i].code);
	}
	cell = 41;
	TRY(lock_inc, R.bx = (word)&cell);
	expect_end("ud.lock_inc");
	check("ud.lock_inc.value", cell, 42);
	TRY(long_insn);
	expect_end("gp.length_15");
	TRY(too_long);
	expect("gp.length_16", GP, 0, too_long);
}

/* ---- privilege: everything ring 3 may not do, #GP(0) ---- */

CODE(32, p_hlt, "hlt");
CODE(32, p_cli, "cli");
CODE(32, p_sti, "sti");
CODE(32, p_in, "inb $0xe9, %al");
CODE(32, p_out, "outb %al, $0x80");
CODE(32, p_inw, "inw %dx, %ax");
CODE(32, p_insb, "insb");
CODE(32, p_outsb, "outsb");
CODE(32, p_clts, "clts");
CODE(32, p_lgdt, "lgdt (%ebx)");
CODE(32, p_lidt, "lidt (%ebx)");
CODE(32, p_lldt, "lldt %ax");
CODE(32, p_ltr, "ltr %ax");
CODE(32, p_lmsw, "lmsw %ax");
CODE(32, p_invd, "invd");
CODE(32, p_wbinvd, "wbinvd");
CODE(32, p_invlpg, "invlpg (%ebx)");
CODE(32, p_rdmsr, "rdmsr");
CODE(32, p_wrmsr, "wrmsr");
CODE(32, p_rd_cr0, "mov %cr0, %eax");
CODE(32, p_wr_cr0, "mov %eax, %cr0");
CODE(32, p_rd_cr3, "mov %cr3, %eax");
CODE(32, p_rd_dr7, "mov %dr7, %eax");
CODE(32, p_wr_dr0, "mov %eax, %dr0");
CODE(32, p_sysexit, "sysexit");
CODE(32, p_smsw, "smsw %eax");
CODE(32, p_sgdt, "sgdt (%ebx)");
CODE(32, p_str, "str %eax");
CODE(32, p_rdtsc, "rdtsc");
CODE(32, p_rdpmc, "rdpmc");
CODE(32, p_pushf, "pushfl; popl %eax");
CODE(32, p_popf, "pushl %eax; popfl; pushfl; popl %ebx");
CODE(32, p_iret_up, "pushfl; pushl $0x8; pushl $0; iretl");
CODE(32, p_int_kernel, "int $0x30");
CODE(32, p_xsetbv, "xorl %ecx, %ecx; 1: xsetbv");

static uint8_t cell8[16];

static void test_privilege(void)
{
	static const struct {
		const char *name;
		char *code;
	} priv[] = {
		{ "priv.hlt", p_hlt },	     { "priv.cli", p_cli },	  { "priv.sti", p_sti },
		{ "priv.in", p_in },	     { "priv.out", p_out },	  { "priv.inw", p_inw },
		{ "priv.insb", p_insb },     { "priv.outsb", p_outsb },	  { "priv.clts", p_clts },
		{ "priv.lgdt", p_lgdt },     { "priv.lidt", p_lidt },	  { "priv.lldt", p_lldt },
		{ "priv.ltr", p_ltr },	     { "priv.lmsw", p_lmsw },	  { "priv.invd", p_invd },
		{ "priv.wbinvd", p_wbinvd }, { "priv.invlpg", p_invlpg }, { "priv.rdmsr", p_rdmsr },
		{ "priv.wrmsr", p_wrmsr },   { "priv.rd_cr0", p_rd_cr0 }, { "priv.wr_cr0", p_wr_cr0 },
		{ "priv.rd_cr3", p_rd_cr3 }, { "priv.rd_dr7", p_rd_dr7 }, { "priv.wr_dr0", p_wr_dr0 },
		{ "priv.sysexit", p_sysexit },
	};

	for (unsigned i = 0; i < sizeof(priv) / sizeof(priv[0]); i++) {
		TRY_USER(priv[i].code, R.bx = R.si = R.di = (word)cell8, R.cx = 0xc0000080);
		expect(priv[i].name, GP, 0, priv[i].code);
	}
	TRY_USER(p_smsw);
	expect_end("priv.smsw_allowed");
	check("priv.smsw.pe", R.ax & 1, 1);
	TRY_USER(p_sgdt, R.bx = (word)cell8);
	expect_end("priv.sgdt_allowed");
	check("priv.sgdt.limit", *(uint16_t *)cell8, GDT_SLOTS * 8 - 1);
	check("priv.sgdt.base", *(uint32_t *)(cell8 + 2), (word)gdt);
	TRY_USER(p_str);
	expect_end("priv.str_allowed");
	check("priv.str", R.ax, SEL_TSS);
	TRY_USER(p_rdtsc);
	expect_end("priv.rdtsc_allowed");
	write_cr4(read_cr4() | CR4_TSD);
	TRY_USER(p_rdtsc);
	expect("priv.rdtsc_tsd", GP, 0, p_rdtsc);
	TRY(p_rdtsc);
	expect_end("priv.rdtsc_tsd_ring0");
	write_cr4(read_cr4() & ~CR4_TSD);
	/* POPF in ring 3 keeps IF and IOPL, silently. */
	TRY_USER(p_popf, R.ax = 0x3ed7 | F_AC | F_ID);
	expect_end("priv.popf");
	check("priv.popf.flags", R.bx, (0xcd7 | F_AC | F_ID) & ~F_IF);
	TRY_USER(p_popf, R.ax = 0, R.flags = 2 | F_IOPL);
	check("priv.popf.iopl_kept", R.bx, 2 | F_IOPL);
	TRY_USER(p_popf, R.ax = 2 | F_IF, R.flags = 2 | F_IOPL);
	check("priv.popf.if_with_iopl3", R.bx, 2 | F_IF | F_IOPL);
	TRY_USER(p_cli, R.flags = 2 | F_IOPL);
	expect_end("priv.cli_with_iopl3");
	TRY_USER(p_in, R.flags = 2 | F_IOPL);
	expect_end("priv.in_with_iopl3");
	TRY_USER(p_int_kernel);
	expect("priv.int_dpl0", GP, 0x30 * 8 + 2, p_int_kernel);
	TRY(p_int_kernel);
	expect("priv.int_ring0", 0x30, -1, p_int_kernel + 2);
}

/* ---- the I/O permission bitmap ---- */

CODE(32, io_b, "outb %al, %dx");
CODE(32, io_w, "outw %ax, %dx");
CODE(32, io_l, "outl %eax, %dx");
CODE(32, io_outsb, "outsb");
CODE(32, io_insw, "insw");

static void allow(unsigned port, bool yes)
{
	uint8_t *byte = tss + TSS_IOMAP + port / 8;

	*byte = (uint8_t)(yes ? *byte & ~(1u << port % 8) : *byte | (1u << port % 8));
}

static void test_io_bitmap(void)
{
	allow(0x80, true);
	TRY_USER(io_b, R.dx = 0x80);
	expect_end("io.byte_allowed");
	TRY_USER(io_w, R.dx = 0x80);
	expect("io.word_half", GP, 0, io_w);
	allow(0x81, true);
	TRY_USER(io_w, R.dx = 0x80);
	expect_end("io.word_allowed");
	TRY_USER(io_l, R.dx = 0x80);
	expect("io.long_half", GP, 0, io_l);
	TRY_USER(io_b, R.dx = 0x82);
	expect("io.byte_next", GP, 0, io_b);
	TRY_USER(io_outsb, R.dx = 0x80, R.si = (word)cell8);
	expect_end("io.outsb_allowed");
	check("io.outsb.esi", R.si, (word)cell8 + 1);
	TRY_USER(io_outsb, R.dx = 0x82, R.si = (word)cell8);
	expect("io.outsb_denied", GP, 0, io_outsb);
	TRY_USER(io_insw, R.dx = 0x81, R.di = (word)cell8);
	expect("io.insw_half", GP, 0, io_insw);
	/* A word that straddles two bytes of the map. */
	allow(0x87, true);
	allow(0x88, true);
	TRY_USER(io_w, R.dx = 0x87);
	expect_end("io.word_across_bytes");
	allow(0x88, false);
	TRY_USER(io_w, R.dx = 0x87);
	expect("io.word_across_bytes_half", GP, 0, io_w);
	/* A map that ends beyond the TSS limit denies. */
	*(uint16_t *)(tss + 102) = 0xfff0;
	TRY_USER(io_b, R.dx = 0x80);
	expect("io.map_beyond_limit", GP, 0, io_b);
	*(uint16_t *)(tss + 102) = TSS_IOMAP;
	for (unsigned p = 0x80; p < 0x90; p++)
		allow(p, false);
}

/* ---- double fault, and vectors whose gates are bad ---- */

static void test_gates(void)
{
	idt_set(0x31, D_INT32 & ~D_P);
	TRY(p_int_kernel, R.ip = (word)p_int_kernel);
	expect("gate.plain", 0x30, -1, p_int_kernel + 2);
	idt_set(0x30, (D_INT32 & ~D_P));
	TRY(p_int_kernel);
	expect("gate.not_present", NP, 0x30 * 8 + 2, p_int_kernel);
	idt_target(0x30, stubs, SEL_KCS, D_CALL32);
	TRY(p_int_kernel);
	expect("gate.wrong_type", GP, 0x30 * 8 + 2, p_int_kernel);
	idt_target(0x30, stubs, 0, D_INT32);
	TRY(p_int_kernel);
	expect("gate.null_cs", GP, 0, p_int_kernel);
	idt_target(0x30, stubs, SEL_KDS, D_INT32);
	TRY(p_int_kernel);
	expect("gate.data_cs", GP, SEL_KDS, p_int_kernel);
	idt_target(0x30, stubs, GDT_SLOTS * 8, D_INT32);
	TRY(p_int_kernel);
	expect("gate.cs_beyond_gdt", GP, GDT_SLOTS * 8, p_int_kernel);
	gdt_set(SEL_FREE, descriptor(0, 0xfffff, (D_CODE & ~D_P) | D_D | D_G));
	idt_target(0x30, stubs, SEL_FREE, D_INT32);
	TRY(p_int_kernel);
	expect("gate.cs_not_present", NP, SEL_FREE, p_int_kernel);
	idt_target(0x30, stubs, SEL_UCS32, D_INT32);
	TRY(p_int_kernel);
	expect("gate.cs_less_privileged", GP, SEL_UCS32 & ~3, p_int_kernel);
	/* The target's offset beyond its segment's limit. */
	gdt_set(SEL_FREE, descriptor(0, 0xfff, D_CODE | D_D));
	idt_target(0x30, (void *)0x1000, SEL_FREE, D_INT32);
	TRY(p_int_kernel);
	expect("gate.offset_beyond_limit", GP, 0, p_int_kernel);
	idt_set(0x30, D_INT32);
	/* An exception whose own gate is bad: error code with EXT, from the instruction. */
	idt_set(UD, D_INT32 & ~D_P);
	TRY(ud2);
	expect("gate.exception_not_present", NP, UD * 8 + 3, ud2);
	idt_set(UD, D_INT32);
	/* Contributory upon contributory. */
	idt_set(DE, D_INT32 & ~D_P);
	df_ran = 0;
	TRY(div_reg, R.cx = 0);
	check("df.de_then_np.vector", R.vector, DF);
	check("df.de_then_np.ran", df_ran, 1);
	check("df.de_then_np.error", R.error, 0);
	check("df.de_then_np.eip", R.ip, (word)div_reg);
	idt_set(DE, D_INT32);
	/* Vector beyond the table's limit. */
	{
		extern struct table_reg idtr;
		struct table_reg small = { .limit = 0x28 * 8 - 1, .base = idtr.base };
		uint64_t end = ((uint64_t *)idt)[VEC_END];

		__asm__ volatile("lidt %0" : : "m"(small));
		TRY(p_int_kernel);
		__asm__ volatile("lidt %0" : : "m"(idtr));
		expect("gate.beyond_idt", GP, 0x30 * 8 + 2, p_int_kernel);
		(void)end;
	}
}

/* ---- #NM, #MF, #XM, #AC ---- */

CODE(32, fp_nop, "fnop");
CODE(32, fp_wait, "fwait");
CODE(32, fp_mmx, "movq %mm0, %mm1");
CODE(32, fp_sse, "xorps %xmm0, %xmm0");
CODE(32, fp_ldmxcsr, "ldmxcsr (%ebx)");
CODE_AT(32, fp_mf, fp_mf_at,
	"fninit; fldcw (%ebx); fld1; fldz; fdivrp %st, %st(1); movl $1, %eax\n1: fwait");
CODE_AT(32, fp_mf_next, fp_mf_next_at,
	"fninit; fldcw (%ebx); fldz; fld1; fdivp %st, %st(1)\n nop; nop\n1: fld1");
CODE_AT(32, fp_xm, fp_xm_at,
	"ldmxcsr (%ebx); xorps %xmm0, %xmm0; xorps %xmm1, %xmm1\n1: divss %xmm1, %xmm0");
CODE(32, ac_load, "movl (%ebx), %eax");
CODE(32, ac_word, "movw (%ebx), %ax");
CODE(32, ac_byte, "movb (%ebx), %al");
CODE(32, ac_push, "pushl %eax");
CODE(32, sse_load, "movaps (%ebx), %xmm0");
CODE(32, sse_unaligned, "movups (%ebx), %xmm0");

static void test_fpu(void)
{
	static uint16_t cw = 0x37b; /* zero divide unmasked */
	static uint32_t mxcsr = 0x1f80;
	uint32_t cr0 = read_cr0();

	write_cr0((cr0 & ~CR0_EM) | CR0_TS | CR0_MP | CR0_NE);
	write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMM);
	TRY(fp_nop);
	expect("nm.x87_ts", NM, -1, fp_nop);
	TRY(fp_wait);
	expect("nm.wait_mp_ts", NM, -1, fp_wait);
	TRY(fp_mmx);
	expect("nm.mmx_ts", NM, -1, fp_mmx);
	TRY(fp_sse);
	expect("nm.sse_ts", NM, -1, fp_sse);
	write_cr0((read_cr0() & ~CR0_MP));
	TRY(fp_wait);
	expect_end("nm.wait_ts_only");
	write_cr0((cr0 & ~CR0_TS) | CR0_EM | CR0_NE);
	TRY(fp_nop);
	expect("nm.x87_em", NM, -1, fp_nop);
	TRY(fp_mmx);
	expect("ud.mmx_em", UD, -1, fp_mmx);
	TRY(fp_sse);
	expect("ud.sse_em", UD, -1, fp_sse);
	write_cr0((cr0 & ~(CR0_EM | CR0_TS)) | CR0_NE | CR0_MP);
	TRY(fp_nop);
	expect_end("nm.none");
	TRY(fp_mf, R.bx = (word)&cw);
	expect("mf.fwait", MF, -1, fp_mf_at);
	check("mf.fwait.before", R.ax, 1);
	TRY(fp_mf_next, R.bx = (word)&cw);
	expect("mf.next_x87", MF, -1, fp_mf_next_at);
	__asm__ volatile("fninit");
	write_cr4(read_cr4() & ~CR4_OSFXSR);
	TRY(fp_sse);
	expect("ud.sse_osfxsr", UD, -1, fp_sse);
	write_cr4(read_cr4() | CR4_OSFXSR);
	mxcsr = 0x1f80 & ~0x80; /* invalid operation unmasked: 0/0 */
	TRY(fp_xm, R.bx = (word)&mxcsr);
	expect("xm.divss", XM, -1, fp_xm_at);
	write_cr4(read_cr4() & ~CR4_OSXMM);
	mxcsr = 0x1f80 & ~0x80;
	TRY(fp_xm, R.bx = (word)&mxcsr);
	expect("ud.xm_without_osxmm", UD, -1, fp_xm_at);
	write_cr4(read_cr4() | CR4_OSXMM);
	mxcsr = 0x80000000;
	TRY(fp_ldmxcsr, R.bx = (word)&mxcsr);
	expect("gp.ldmxcsr_reserved", GP, 0, fp_ldmxcsr);
	mxcsr = 0x1f80;
	TRY(fp_ldmxcsr, R.bx = (word)&mxcsr);
	expect_end("gp.ldmxcsr");
	TRY(sse_load, R.bx = (word)cell8 | 8);
	expect("gp.movaps_unaligned", GP, 0, sse_load);
	TRY(sse_unaligned, R.bx = (word)cell8 | 1);
	expect_end("gp.movups");
}

static void test_ac(void)
{
	write_cr0(read_cr0() | CR0_AM);
	TRY_USER(ac_load, R.bx = 0x30001, R.flags |= F_AC);
	expect("ac.dword", AC, 0, ac_load);
	TRY_USER(ac_load, R.bx = 0x30002, R.flags |= F_AC);
	expect("ac.dword_even", AC, 0, ac_load);
	TRY_USER(ac_load, R.bx = 0x30004, R.flags |= F_AC);
	expect_end("ac.dword_aligned");
	TRY_USER(ac_word, R.bx = 0x30001, R.flags |= F_AC);
	expect("ac.word", AC, 0, ac_word);
	TRY_USER(ac_byte, R.bx = 0x30001, R.flags |= F_AC);
	expect_end("ac.byte");
	TRY_USER(ac_push, R.sp = STACK_TOP - 2, R.flags |= F_AC);
	expect("ac.push", AC, 0, ac_push);
	TRY_USER(ac_load, R.bx = 0x30001);
	expect_end("ac.flag_clear");
	TRY(ac_load, R.bx = 0x30001, R.flags |= F_AC);
	expect_end("ac.ring0");
	write_cr0(read_cr0() & ~CR0_AM);
	TRY_USER(ac_load, R.bx = 0x30001, R.flags |= F_AC);
	expect_end("ac.am_clear");
}

/* ---- SYSENTER and SYSEXIT ---- */

CODE(32, se_enter, "sysenter");
CODE(32, se_target, "movl %cs, %eax\n movl %ss, %ebx\n movl %esp, %edx\n pushfl\n popl %ebp");
CODE(32, se_exit, "sysexit");
CODE(32, se_back, "movl %cs, %eax\n movl %ss, %ebx");

static void test_sysenter(void)
{
	if (!(cpuid(1, 0).d >> 11 & 1)) {
		skip("sysenter");
		return;
	}
	wrmsr(MSR_SYSENTER_CS, 0);
	TRY_USER(se_enter);
	expect("sysenter.cs_null", GP, 0, se_enter);
	wrmsr(MSR_SYSENTER_CS, SEL_KCS);
	wrmsr(MSR_SYSENTER_ESP, 0x2b000);
	wrmsr(MSR_SYSENTER_EIP, (word)se_target);
	TRY_USER(se_enter, R.flags = 2 | F_IF | F_CF);
	expect_end("sysenter");
	check("sysenter.cs", R.ax, SEL_KCS);
	check("sysenter.ss", R.bx, SEL_KDS);
	check("sysenter.esp", R.dx, 0x2b000);
	check("sysenter.flags", R.bp & (F_IF | F_CF | F_VM), F_CF);
	TRY(se_exit, R.dx = (word)se_back, R.cx = 0x26000);
	expect_end("sysexit");
	check("sysexit.cs", R.ax, SEL_UCS32);
	check("sysexit.ss", R.bx, SEL_UDS);
	check("sysexit.esp", R.sp, 0x26000);
	TRY_USER(se_exit, R.dx = (word)se_back, R.cx = 0x26000);
	expect("sysexit.user", GP, 0, se_exit);
	wrmsr(MSR_SYSENTER_CS, 0);
	TRY(se_exit, R.dx = (word)se_back, R.cx = 0x26000);
	expect("sysexit.cs_null", GP, 0, se_exit);
}

/* ---- 16-bit protected-mode code ---- */

CODE(16, p16_addr, "movw (%bx,%si), %ax");
CODE(16, p16_a32, "movl (%ebx), %eax");
CODE(16, p16_jmp, "jmp *%bx");
CODE(16, p16_call, "call 1f\n1: popw %ax");
CODE(16, p16_pusha, "pushaw\n movw %sp, %ax");
CODE(16, p16_jcc, "cmpw %ax, %ax\n je 1f\n movw $1, %cx\n1:");
CODE(16, p16_push32, "pushl $0x12345678\n popl %eax");
CODE(16, p16_target, "movw $0x600d, %dx");

static void test_16bit(void)
{
	MEM32(0x30000) = 0xcafe1234;
	fresh_cs(p16_addr, SEL_UCS16, SEL_UDS);
	R.bx = 0xffff0fff; /* 16-bit addressing takes the low halves and wraps */
	R.si = 0xaaaaf001;
	run();
	expect_end("p16.address");
	check("p16.address.value", R.ax & 0xffff, MEM16(0));
	fresh_cs(p16_a32, SEL_UCS16, SEL_UDS);
	R.bx = 0x30000;
	run();
	check("p16.address32", R.ax, 0xcafe1234);
	fresh_cs(p16_jmp, SEL_UCS16, SEL_UDS);
	R.bx = 0xffff0000 | (word)p16_target;
	run();
	expect_end("p16.jmp");
	check("p16.jmp.edx", R.dx & 0xffff, 0x600d);
	fresh_cs(p16_call, SEL_UCS16, SEL_UDS);
	run();
	check("p16.call", R.ax & 0xffff, (word)p16_call + 3);
	check("p16.call.esp", R.sp, STACK_TOP);
	fresh_cs(p16_pusha, SEL_UCS16, SEL_UDS);
	run();
	check("p16.pusha", R.sp, STACK_TOP - 16);
	fresh_cs(p16_jcc, SEL_UCS16, SEL_UDS);
	R.cx = 0;
	run();
	check("p16.jcc", R.cx, 0);
	fresh_cs(p16_push32, SEL_UCS16, SEL_UDS);
	run();
	check("p16.push32", R.ax, 0x12345678);
}

void image_main(void)
{
	test_simple();
	test_ud();
	test_privilege();
	test_io_bitmap();
	test_gates();
	test_fpu();
	test_ac();
	test_sysenter();
	test_16bit();
}
