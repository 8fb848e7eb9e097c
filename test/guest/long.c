/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Long mode: 64-bit and compatibility code, canonical addresses, interrupts with IST, gates, SYSCALL. */
#include "kit.h"

#define S1 SEL_FREE
#define DATA 0x30000
#define BAD  0x0000800000000000ul

extern uint64_t entry_rsp;
extern uint32_t entry_ss;
extern char entry[];

/* Ring 3 runs where it is: the boot tables are opened for it here. */
static void open_to_user(void)
{
	MEM64(0x70000) |= 4;
	for (unsigned i = 0; i < 4; i++)
		MEM64(0x71000 + i * 8) |= 4;
	for (unsigned i = 0; i < 2048; i++)
		MEM64(0x72000 + i * 8) |= 4;
	write_cr3(read_cr3());
}

/* ---- instructions that 64-bit mode lacks or reads differently ---- */

CODE(64, u_push_es, ".byte 0x06");
CODE(64, u_pop_es, ".byte 0x07");
CODE(64, u_push_cs, ".byte 0x0e");
CODE(64, u_push_ss, ".byte 0x16");
CODE(64, u_pop_ss, ".byte 0x17");
CODE(64, u_push_ds, ".byte 0x1e");
CODE(64, u_pop_ds, ".byte 0x1f");
CODE(64, u_daa, ".byte 0x27");
CODE(64, u_das, ".byte 0x2f");
CODE(64, u_aaa, ".byte 0x37");
CODE(64, u_aas, ".byte 0x3f");
CODE(64, u_pusha, ".byte 0x60");
CODE(64, u_popa, ".byte 0x61");
CODE(64, u_group82, ".byte 0x82, 0xc0, 0x00");
CODE(64, u_call_far, ".byte 0x9a, 0, 0, 0, 0, 8, 0");
CODE(64, u_into, ".byte 0xce");
CODE(64, u_aam, ".byte 0xd4, 0x0a");
CODE(64, u_aad, ".byte 0xd5, 0x0a");
CODE(64, u_salc, ".byte 0xd6");
CODE(64, u_jmp_far, ".byte 0xea, 0, 0, 0, 0, 8, 0");
CODE(64, u_ud2, "ud2");
CODE(64, u_syscall, "syscall");
CODE(64, s_movsxd, "movslq %ecx, %rax");
CODE(64, s_zero, "movl %ecx, %eax");
CODE(64, s_cmov, "cmpl %ecx, %ecx\n cmovnel %ecx, %eax");
CODE(64, s_nop, ".byte 0x90");
CODE(64, s_xchg_r8, ".byte 0x41, 0x90");
CODE(64, s_push_imm8, "pushq $-2\n popq %rax");
CODE(64, s_push_imm32, "pushq $-0x12345678\n popq %rax");
CODE(64, s_push16, "pushw %cx\n movq %rsp, %rax\n popw %dx");
CODE(64, s_push_fs, "pushq %fs\n popq %rax");
CODE(64, s_pop_gs, "pushq %rcx\n popq %gs\n movl %gs, %eax");
CODE(64, s_enter, "enter $32, $0\n movq %rsp, %rax\n movq %rbp, %rcx\n leave");
CODE(64, s_rip, "leaq 1f(%rip), %rax\n1:");
CODE(64, s_rip32, ".byte 0x67\n leaq 1f(%rip), %rax\n1:");
CODE(64, s_addr32, "movl (%ebx), %eax");
CODE(64, s_moffs, "movabsl 0x30000, %eax");
CODE(64, s_a32_string, "addr32 rep movsb");
CODE(64, s_loop32, "1: incl %eax\n addr32 loop 1b");
CODE(64, s_jrcxz, "movl $1, %eax\n jrcxz 1f\n movl $2, %eax\n1:");
CODE(64, s_jecxz, "movl $1, %eax\n jecxz 1f\n movl $2, %eax\n1:");
CODE(64, s_high8, "movb %ah, %cl\n movb %spl, %dl");
CODE(64, s_movabs, "movabsq $0x1122334455667788, %rax");
CODE(64, s_cmpxchg16b, "lock cmpxchg16b (%rbx)");
CODE(64, s_retw_near, "ret $16");
CODE(64, s_jmp66, ".byte 0x66, 0xeb, 0x00");
CODE(64, s_lar, "larl %ecx, %eax");
CODE(64, s_lsl, "lsll %ecx, %eax");

static void test_insns(void)
{
	static const struct {
		const char *name;
		char *code;
	} ud[] = {
		{ "ud.push_es", u_push_es },  { "ud.pop_es", u_pop_es },   { "ud.push_cs", u_push_cs },
		{ "ud.push_ss", u_push_ss },  { "ud.pop_ss", u_pop_ss },   { "ud.push_ds", u_push_ds },
		{ "ud.pop_ds", u_pop_ds },    { "ud.daa", u_daa },	   { "ud.das", u_das },
		{ "ud.aaa", u_aaa },	      { "ud.aas", u_aas },	   { "ud.pusha", u_pusha },
		{ "ud.popa", u_popa },	      { "ud.group82", u_group82 }, { "ud.call_far", u_call_far },
		{ "ud.into", u_into },	      { "ud.aam", u_aam },	   { "ud.aad", u_aad },
		{ "ud.salc", u_salc },	      { "ud.jmp_far", u_jmp_far }, { "ud.ud2", u_ud2 },
		{ "ud.syscall", u_syscall },
	};
	uint64_t *cell = (uint64_t *)DATA;

	for (unsigned i = 0; i < sizeof(ud) / sizeof(ud[0]); i++) {
		TRY(ud[i].code);
		expect(ud[i].name, UD, -1, ud[i].code);
	}
	TRY(s_movsxd, R.cx = 0x180000001, R.ax = -1);
	check("insn.movsxd", R.ax, 0xffffffff80000001);
	TRY(s_zero, R.cx = -1ul, R.ax = -1ul);
	check("insn.zero_extend", R.ax, 0xffffffff);
	TRY(s_cmov, R.ax = -1ul);
	check("insn.cmov_false", R.ax, 0xffffffff);
	TRY(s_nop, R.ax = -1ul);
	check("insn.nop", R.ax, -1ul);
	TRY(s_xchg_r8, R.ax = 5, R.r8 = 6);
	check("insn.xchg_r8", R.ax << 8 | R.r8, 0x605);
	TRY(s_push_imm8);
	check("insn.push_imm8", R.ax, -2ul);
	TRY(s_push_imm32);
	check("insn.push_imm32", R.ax, -0x12345678ul);
	TRY(s_push16, R.cx = 0x4321, R.dx = 0);
	check("insn.push16.rsp", R.ax, STACK_TOP - 2);
	check("insn.push16", R.dx, 0x4321);
	TRY(s_push_fs, R.fs = SEL_UDS);
	check("insn.push_fs", R.ax, SEL_UDS);
	TRY(s_pop_gs, R.cx = SEL_UDS);
	check("insn.pop_gs", R.ax, SEL_UDS);
	TRY(s_enter, R.bp = 0x1234);
	check("insn.enter.rsp", R.ax, STACK_TOP - 40);
	check("insn.enter.rbp", R.cx, STACK_TOP - 8);
	check("insn.leave.rbp", R.bp, 0x1234);
	TRY(s_rip);
	check("insn.rip", R.ax, (word)s_rip + 7);
	TRY(s_rip32);
	check("insn.rip32", R.ax, (word)s_rip32 + 8);
	MEM32(DATA) = 0xcafef00d;
	TRY(s_addr32, R.bx = 0xffffffff00000000 | DATA);
	check("insn.addr32", R.ax, 0xcafef00d);
	TRY(s_moffs);
	check("insn.moffs64", R.ax, 0xcafef00d);
	TRY(s_a32_string, R.si = 0x100000000 | DATA, R.di = 0x200000000 | (DATA + 16), R.cx = 0x500000004);
	expect_end("insn.string32");
	check("insn.string32.rsi", R.si, DATA + 4);
	check("insn.string32.rcx", R.cx, 0);
	check("insn.string32.value", MEM32(DATA + 16), 0xcafef00d);
	TRY(s_loop32, R.cx = 0x100000003, R.ax = 0);
	check("insn.loop32", R.ax, 3);
	check("insn.loop32.rcx", R.cx, 0);
	TRY(s_jrcxz, R.cx = 0x100000000);
	check("insn.jrcxz", R.ax, 2);
	TRY(s_jecxz, R.cx = 0x100000000);
	check("insn.jecxz", R.ax, 1);
	TRY(s_high8, R.ax = 0x4200, R.dx = 0);
	check("insn.ah", R.cx & 0xff, 0x42);
	check("insn.spl", R.dx & 0xff, STACK_TOP & 0xff);
	TRY(s_movabs);
	check("insn.movabs", R.ax, 0x1122334455667788);
	cell[0] = 1;
	cell[1] = 2;
	TRY(s_cmpxchg16b, R.bx = DATA, R.ax = 1, R.dx = 2, R.cx = 4, R.r8 = 0);
	check("insn.cmpxchg16b.zf", R.flags & F_ZF, F_ZF);
	check("insn.cmpxchg16b.high", cell[1], 4);
	check("insn.cmpxchg16b.low", cell[0], DATA);
	TRY(s_cmpxchg16b, R.bx = DATA + 8);
	expect("insn.cmpxchg16b_unaligned", GP, 0, s_cmpxchg16b);
	MEM64(STACK_TOP - 64) = (word)s_nop;
	TRY(s_retw_near, R.sp = STACK_TOP - 64);
	check("insn.ret_imm", R.sp, STACK_TOP - 64 + 24);
	TRY(s_lar, R.cx = SEL_KCS);
	check("insn.lar", R.ax & 0x00f0ff00, 0x00a09a00 | (R.ax & 0x100));
	TRY(s_lar, R.cx = SEL_TSS);
	check("insn.lar_tss", R.ax & 0xff00, 0x8b00);
	TRY(s_lsl, R.cx = SEL_TSS);
	check("insn.lsl_tss", R.flags & F_ZF, F_ZF);
}

/* ---- canonical addresses ---- */

CODE(64, c_load, "movq (%rbx), %rax");
CODE(64, c_store, "movq %rax, (%rbx)");
CODE(64, c_load8, "movb (%rbx), %al");
CODE(64, c_rbp, "movq (%rbp), %rax");
CODE(64, c_rsp, "movq %rbx, %rsp\n movq 8(%rsp), %rax");
CODE(64, c_push, "movq %rbx, %rsp\n pushq %rax");
CODE(64, c_pop, "movq %rbx, %rsp\n popq %rax");
CODE(64, c_call_stack, "movq %rbx, %rsp\n call c_call_stack");
CODE(64, c_jmp, "jmp *%rbx");
CODE(64, c_call, "call *%rbx");
CODE(64, c_ret, "pushq %rbx\n ret");
CODE(64, c_movs_src, "movsq");
CODE(64, c_fs, "movq %fs:(%rbx), %rax");
CODE(64, c_ss, "movq %ss:(%rbx), %rax");
CODE(64, c_lgdt, "lgdt (%rbx)");
CODE(64, c_wrmsr, "wrmsr");
CODE(64, c_invlpg, "invlpg (%rbx)");
CODE(64, c_iretq, "pushq $0x10\n pushq %rdx\n pushq $2\n pushq $8\n pushq %rbx\n iretq");
CODE(64, c_lea, "leaq (%rbx), %rax");
CODE(64, c_prefetch, "prefetcht0 (%rbx)");
CODE(64, c_nopl, "nopl (%rbx)");

static void test_canonical(void)
{
	static const struct {
		const char *name;
		char *code;
		uint64_t at;
		uint8_t vector, offset;
	} tests[] = {
		{ "canon.load", c_load, BAD, GP, 0 },
		{ "canon.load_high", c_load, 0xffff7ffffffffff8, GP, 0 },
		{ "canon.store", c_store, BAD, GP, 0 },
		{ "canon.bit63", c_load, 1ul << 63, GP, 0 },
		{ "canon.straddle", c_load, BAD - 4, GP, 0 },
		{ "canon.rsp", c_rsp, BAD, SS, 3 },
		{ "canon.push", c_push, BAD + 8, SS, 3 },
		{ "canon.pop", c_pop, BAD, SS, 3 },
		{ "canon.call_stack", c_call_stack, BAD + 8, SS, 3 },
		{ "canon.jmp", c_jmp, BAD, GP, 0 },
		{ "canon.call", c_call, BAD, GP, 0 },
		{ "canon.ret", c_ret, BAD, GP, 1 },
		{ "canon.ss_override_ignored", c_ss, BAD, GP, 0 },
	}, fine[] = {
		{ "canon.lea", c_lea, BAD, END, 0 },
		{ "canon.invlpg", c_invlpg, BAD, END, 0 },
		{ "canon.prefetch", c_prefetch, BAD, END, 0 },
		{ "canon.nop", c_nopl, BAD, END, 0 },
	};
	static struct table_reg bad_gdt = { .limit = 0xff, .base = BAD };

	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		TRY(tests[i].code, R.bx = tests[i].at);
		expect(tests[i].name, tests[i].vector, 0, tests[i].code + tests[i].offset);
	}
	for (unsigned i = 0; i < sizeof(fine) / sizeof(fine[0]); i++) {
		TRY(fine[i].code, R.bx = fine[i].at);
		expect_end(fine[i].name);
	}
	TRY(c_rbp, R.bp = BAD);
	expect("canon.rbp", SS, 0, c_rbp);
	TRY(c_movs_src, R.si = BAD, R.di = DATA);
	expect("canon.movs_source", GP, 0, c_movs_src);
	TRY(c_movs_src, R.di = BAD, R.si = DATA);
	expect("canon.movs_target", GP, 0, c_movs_src);
	if (!in_tcg()) { /* it would be loaded */
		TRY(c_lgdt, R.bx = (word)&bad_gdt);
		expect("canon.lgdt", GP, 0, c_lgdt);
	}
	TRY(c_wrmsr, R.cx = MSR_LSTAR, R.ax = 0, R.dx = 0x8000);
	expect("canon.wrmsr_lstar", GP, 0, c_wrmsr);
	TRY(c_wrmsr, R.cx = MSR_FS_BASE, R.ax = 0, R.dx = 0x8000);
	expect("canon.wrmsr_fs_base", GP, 0, c_wrmsr);
	TRY(c_wrmsr, R.cx = MSR_KERNEL_GS_BASE, R.ax = 0, R.dx = 0xffff7fff);
	expect("canon.wrmsr_kernel_gs", GP, 0, c_wrmsr);
	wrmsr(MSR_FS_BASE, BAD - 8);
	TRY(c_fs, R.bx = 8);
	expect("canon.fs_sum", GP, 0, c_fs);
	TRY(c_fs, R.bx = -0x7ffffffcfff8ul);
	expect_end("canon.fs_wraps");
	wrmsr(MSR_FS_BASE, 0);
	/* IRETQ to a non-canonical address. */
	TRY(c_iretq, R.bx = BAD, R.dx = 0x26000);
	check("canon.iretq", R.vector, GP);
	/* The last instruction below the hole: execution runs into it. */
	MEM64(0x70000 + 255 * 8) = 0x78003;
	for (unsigned t = 0x78000; t <= 0x7a000; t += 0x1000)
		memset((void *)(word)t, 0, 0x1000);
	MEM64(0x78000 + 511 * 8) = 0x79003;
	MEM64(0x79000 + 511 * 8) = 0x7a003;
	MEM64(0x7a000 + 511 * 8) = 0x200003;
	MEM8(0x200ffe) = 0xb0; /* mov $0x21, %al */
	MEM8(0x200fff) = 0x21;
	TRY((void *)0x7ffffffffffe);
	check("canon.runs_off.vector", R.vector, GP);
	check("canon.runs_off.rip", R.ip, BAD);
	check("canon.runs_off.al", R.ax & 0xff, 0x21);
	MEM64(0x70000 + 255 * 8) = 0;
	write_cr3(read_cr3());
}

/* ---- segments in 64-bit mode ---- */

CODE(64, g_ds, "movl %ds:(%rbx), %eax");
CODE(64, g_fs, "movl %fs:(%rbx), %eax");
CODE(64, g_gs, "movl %gs:(%rbx), %eax");
CODE(64, g_ld_ss, "movl %ecx, %ss");
CODE(64, g_ld_fs, "movl %ecx, %fs");
CODE(64, g_swapgs, "swapgs");
CODE(64, g_rdfs, "rdfsbase %rax");
CODE(64, g_wrgs, "wrgsbase %rbx\n rdgsbase %rax");
CODE(64, g_wrfs32, "wrfsbase %ebx\n rdfsbase %rax");
CODE(64, g_swap_twice, "movl %gs:(%rbx), %eax\n swapgs\n movl %gs:(%rbx), %ecx\n swapgs");

static void test_segments(void)
{
	gdt_set(S1, descriptor(0x20000, 0xf, D_DATA | D_DPL(3)));
	MEM32(DATA) = 0x11111111;
	MEM32(DATA + 0x1000) = 0x22222222;
	TRY(g_ds, R.bx = DATA, R.ds = S1);
	expect_end("seg.ds_limit_ignored");
	check("seg.ds_base_ignored", R.ax, 0x11111111);
	TRY(g_ds, R.bx = DATA, R.ds = 0);
	expect_end("seg.ds_null");
	gdt_set(S1, descriptor(DATA, 0xf, D_DATA | D_DPL(3)));
	TRY(g_fs, R.bx = 0x1000, R.fs = S1);
	check("seg.fs_base_from_gdt", R.ax, 0x22222222);
	check("seg.fs_base_msr", rdmsr(MSR_FS_BASE), DATA);
	wrmsr(MSR_GS_BASE, DATA + 0x800);
	TRY(g_gs, R.bx = 0x800);
	check("seg.gs_base_msr", R.ax, 0x22222222);
	TRY(g_gs, R.bx = -0x800ul);
	check("seg.gs_negative", R.ax, 0x11111111);
	wrmsr(MSR_GS_BASE, DATA);
	wrmsr(MSR_KERNEL_GS_BASE, DATA + 0x1000);
	TRY(g_swap_twice, R.bx = 0);
	check("swapgs.before", R.ax, 0x11111111);
	check("swapgs.after", R.cx, 0x22222222);
	check("swapgs.msr", rdmsr(MSR_KERNEL_GS_BASE), DATA + 0x1000);
	TRY(g_swapgs);
	check("swapgs.gs_base", rdmsr(MSR_GS_BASE), DATA + 0x1000);
	check("swapgs.kernel_gs_base", rdmsr(MSR_KERNEL_GS_BASE), DATA);
	TRY_USER(g_swapgs);
	expect("swapgs.user", GP, 0, g_swapgs);
	TRY(g_ld_ss, R.cx = 0);
	expect_end("seg.ss_null_ring0");
	TRY_USER(g_ld_ss, R.cx = 3);
	expect("seg.ss_null_ring3", GP, 0, g_ld_ss);
	TRY(g_ld_ss, R.cx = 1);
	expect("seg.ss_null_rpl", GP, 0, g_ld_ss);
	TRY(g_ld_fs, R.cx = SEL_TSS);
	expect("seg.fs_system", GP, SEL_TSS, g_ld_fs);
	if (!(cpuid(7, 0).b & 1)) {
		skip("fsgsbase");
		return;
	}
	TRY(g_rdfs);
	expect("fsgsbase.cr4_off", UD, -1, g_rdfs);
	write_cr4(read_cr4() | CR4_FSGSBASE);
	wrmsr(MSR_FS_BASE, 0x123456789abc);
	TRY_USER(g_rdfs);
	check("fsgsbase.rdfs", R.ax, 0x123456789abc);
	TRY_USER(g_wrgs, R.bx = 0xffff800000001234);
	check("fsgsbase.wrgs", R.ax, 0xffff800000001234);
	check("fsgsbase.wrgs_msr", rdmsr(MSR_GS_BASE), 0xffff800000001234);
	TRY(g_wrgs, R.bx = BAD);
	expect("fsgsbase.noncanonical", GP, 0, g_wrgs);
	TRY(g_wrfs32, R.bx = 0xffffffff12345678);
	check("fsgsbase.wrfs32", R.ax, 0x12345678);
	write_cr4(read_cr4() & ~(word)CR4_FSGSBASE);
	wrmsr(MSR_FS_BASE, 0);
	wrmsr(MSR_GS_BASE, 0);
}

/* ---- interrupts ---- */

CODE(64, i_int30, "int $0x30\n movl $0x600d, %edi");
CODE(64, i_frame,
	"movq (%rsp), %rax\n movq 8(%rsp), %rcx\n movq 16(%rsp), %rdx\n movq 24(%rsp), %rbx\n"
	"movq 32(%rsp), %rsi\n movq %rsp, %rbp\n movl %ss, %r8d");
CODE(64, i_iretq, "movl $0x1234, %ecx\n iretq");
CODE(64, i_load_bad, "movl %ecx, %ds");

static void ist_stack(unsigned n, uint64_t value)
{
	*(uint64_t *)(tss + 28 + n * 8) = value;
}

static void test_interrupts(void)
{
	/* Same privilege, no IST: RSP is aligned first, SS:RSP is pushed all the same. */
	idt_target(0x30, i_frame, SEL_KCS, D_INT32 | D_DPL(3));
	idt_ist(0x30, 0);
	TRY(i_int30, R.sp = STACK_TOP - 4, R.flags = 2 | F_CF);
	expect_end("int.same");
	check("int.same.rip", R.ax, (word)i_int30 + 2);
	check("int.same.cs", R.cx, SEL_KCS);
	check("int.same.rflags", R.dx, 2 | F_CF);
	check("int.same.old_rsp", R.bx, STACK_TOP - 4);
	check("int.same.old_ss", R.si, SEL_KDS);
	check("int.same.rsp", R.bp, STACK_TOP - 16 - 40);
	check("int.same.ss_kept", R.r8, SEL_KDS);
	/* From ring 3: RSP0, SS null with RPL 0. */
	TRY_USER(i_int30);
	expect_end("int.inward");
	check("int.inward.old_ss", R.si, SEL_UDS);
	check("int.inward.rsp", R.bp, EXC_STACK - 40);
	check("int.inward.ss", R.r8, 0);
	/* IST: switches even without a change of privilege. */
	idt_ist(0x30, 2);
	ist_stack(2, 0x2c008);
	TRY(i_int30);
	expect_end("int.ist");
	check("int.ist.rsp", R.bp, 0x2c000 - 40);
	check("int.ist.old_rsp", R.bx, STACK_TOP);
	ist_stack(2, BAD + 0x1000);
	TRY(i_int30);
	check("int.ist_noncanonical", R.vector, SS);
	idt_ist(0x30, 0);
	idt_target(0x30, i_iretq, SEL_KCS, D_INT32 | D_DPL(3));
	idt_ist(0x30, 0);
	TRY(i_int30);
	expect_end("int.iretq");
	check("int.iretq.rsp", R.sp, STACK_TOP);
	TRY_USER(i_int30, R.flags = 2 | F_ZF);
	expect_end("int.iretq_user");
	check("int.iretq_user.cs", R.cs, SEL_UCS64);
	check("int.iretq_user.flags", R.flags & F_ZF, F_ZF);
	/* Gates: 64-bit code only, 32-bit types only. */
	idt_target(0x30, i_frame, SEL_KCS32, D_INT32);
	TRY(i_int30);
	expect("int.to_32bit_cs", GP, SEL_KCS32, i_int30);
	idt_target(0x30, i_frame, SEL_KCS, D_INT16);
	TRY(i_int30);
	expect("int.gate16", GP, 0x30 * 8 + 2, i_int30);
	idt_target(0x30, i_frame, SEL_KCS, D_TASK);
	TRY(i_int30);
	expect("int.task_gate", GP, 0x30 * 8 + 2, i_int30);
	idt_target(0x30, i_frame, SEL_KCS, D_INT32);
	idt[0x30 * 4 + 2] = 0x8000;
	TRY(i_int30);
	expect("int.noncanonical_target", GP, 0, i_int30);
	idt[0x30 * 4 + 2] = 0;
	idt_target(0x30, i_frame, SEL_KCS, D_INT32 & ~D_P);
	TRY(i_int30);
	expect("int.not_present", NP, 0x30 * 8 + 2, i_int30);
	idt_target(0x30, i_frame, SEL_KCS, D_INT32);
	TRY_USER(i_int30);
	expect("int.dpl", GP, 0x30 * 8 + 2, i_int30);
	/* Exceptions with error codes. */
	TRY(i_load_bad, R.cx = S1 | 4);
	expect("int.error_code", GP, S1 | 4, i_load_bad);
	check("int.frame_aligned", entry_rsp & 15, 8); /* 16-aligned, then seven quadwords */
	idt_set(0x30, D_INT32);
	idt_ist(0x30, 1);
}

/* ---- compatibility mode ---- */

CODE(32, k_regs, "movl $0x12345678, %eax\n movl %esp, %ecx\n pushl %eax\n popl %edx");
CODE(32, k_dec, ".byte 0x48");		/* dec %eax, not REX */
CODE(32, k_pusha, "pushal\n popal");
CODE(32, k_seg, "movl %fs:(%ebx), %eax");
CODE(32, k_wrap, "movl (%ebx,%ecx), %eax");
CODE(32, k_daa, "daa");
CODE(32, k_syscall, "syscall");
CODE(32, k_sysenter, "sysenter");
CODE(16, k_16, "movw $0x1234, %ax\n pushw %ax\n movw %sp, %cx");
CODE(32, k_over, "movl %fs:0x100, %eax");
CODE(32, k_to64, "ljmp $0x2b, $k_in64");
CODE(64, k_in64, "movabsq $0x1122334455667788, %rax");
CODE(64, k_to32, "ljmp *(%rbx)");
CODE(32, k_in32, "movl $0x600d, %edx\n .byte 0x48");
CODE(64, k_lretq, "pushq %rcx\n pushq %rbx\n lretq");
CODE(64, k_lret32, "subq $8, %rsp\n movl %ebx, (%rsp)\n movl %ecx, 4(%rsp)\n lretl");
CODE(32, k_bit31, "movl %eax, 0x30000");

static void test_compat(void)
{
	static struct {
		uint32_t off;
		uint16_t sel;
	} far_t;

	fresh_cs(k_regs, SEL_UCS32, SEL_UDS);
	R.ax = R.cx = -1ul;
	run();
	expect_end("compat.regs");
	check("compat.eax", R.ax, 0x12345678);
	check("compat.esp", R.cx, STACK_TOP);
	check("compat.edx", R.dx, 0x12345678);
	fresh_cs(k_dec, SEL_UCS32, SEL_UDS);
	R.ax = 5;
	run();
	check("compat.dec", R.ax, 4);
	fresh_cs(k_pusha, SEL_UCS32, SEL_UDS);
	run();
	expect_end("compat.pusha");
	fresh_cs(k_daa, SEL_UCS32, SEL_UDS);
	R.ax = 0x0f;
	run();
	check("compat.daa", R.ax & 0xff, 0x15);
	gdt_set(S1, descriptor(DATA, 0xff, D_DATA | D_DPL(3) | D_D));
	MEM32(DATA + 0x40) = 0x77777777;
	fresh_cs(k_seg, SEL_UCS32, SEL_UDS);
	R.fs = S1 | 3;
	R.bx = 0x40;
	run();
	check("compat.segment_base", R.ax, 0x77777777);
	fresh_cs(k_over, SEL_UCS32, SEL_UDS);
	R.fs = S1 | 3;
	run();
	expect("compat.limit", GP, 0, k_over);
	fresh_cs(k_wrap, SEL_UCS32, SEL_UDS);
	R.bx = 0xffffffff;
	R.cx = DATA + 0x41;
	run();
	check("compat.address_wraps", R.ax, 0x77777777);
	/* A base whose sum passes 4 GiB wraps as well. */
	gdt_set(S1, descriptor(0xffff0000, 0xfffff, D_DATA | D_DPL(3) | D_D | D_G));
	fresh_cs(k_seg, SEL_UCS32, SEL_UDS);
	R.fs = S1 | 3;
	R.bx = 0x10000 + DATA + 0x40;
	run();
	check("compat.base_wraps", R.ax, 0x77777777);
	fresh_cs(k_16, SEL_UCS16, SEL_UDS);
	run();
	expect_end("compat.16");
	check("compat.16.sp", R.cx & 0xffff, (STACK_TOP - 2) & 0xffff);
	fresh_cs(k_regs, SEL_KCS32, SEL_KDS);
	run();
	expect_end("compat.ring0");
	/* A handler reached from there runs in 64-bit mode with a frame of quadwords. */
	idt_target(0x30, i_frame, SEL_KCS, D_INT32 | D_DPL(3));
	idt_ist(0x30, 0);
	{
		static uint8_t int30_code[] = { 0xcd, 0x30, 0xcd, 0x80 };

		memcpy((void *)0x31000, int30_code, sizeof(int30_code));
		fresh_cs((void *)0x31000, SEL_UCS32, SEL_UDS);
		R.sp = 0x27000;
		run();
		expect_end("compat.int");
		check("compat.int.rip", R.ax, 0x31002);
		check("compat.int.cs", R.cx, SEL_UCS32);
		check("compat.int.rsp", R.bx, 0x27000);
	}
	idt_set(0x30, D_INT32);
	idt_ist(0x30, 1);
	/* Between the two. */
	fresh_cs(k_to64, SEL_UCS32, SEL_UDS);
	run();
	expect_end("compat.to64");
	check("compat.to64.rax", R.ax, 0x1122334455667788);
	far_t.off = (uint32_t)(word)k_in32;
	far_t.sel = SEL_UCS32;
	TRY_USER(k_to32, R.bx = (word)&far_t, R.ax = 9);
	expect_end("long.to32");
	check("long.to32.eax", R.ax, 8);
	check("long.to32.cs", R.cs, SEL_UCS32);
	TRY_USER(k_lretq, R.bx = (word)k_in32, R.cx = SEL_UCS32, R.ax = 9);
	expect_end("long.lretq_to32");
	check("long.lretq_to32.eax", R.ax, 8);
	TRY(k_lret32, R.bx = (word)k_in64, R.cx = SEL_KCS);
	expect_end("long.lret32");
	/* A code segment with L and D both set is no code segment. */
	gdt_set(S1, descriptor(0, 0xfffff, D_CODE | D_L | D_D | D_G));
	TRY(k_lretq, R.bx = (word)k_in64, R.cx = S1);
	expect("long.l_and_d", GP, S1, k_lretq + 2);
}

/* ---- call gates ---- */

CODE(64, gt_call, "lcall *(%rbx)\n movl $0x600d, %edi");
CODE(64, gt_target, "movq (%rsp), %rax\n movq 8(%rsp), %rcx\n movq 16(%rsp), %rdx\n movq 24(%rsp), %rsi\n"
	"movl %ss, %r8d");
CODE(64, gt_ret, "lretq");
CODE(32, gt_call32, "lcall $0x80, $0\n movl $0x600d, %edi");

static void gate64(uint16_t slot, const void *target, uint16_t cs, uint32_t access)
{
	gdt_set(slot, gate((uint32_t)(word)target, cs, access, 0));
	gdt_set(slot + 8, (word)target >> 32);
}

static void test_call_gates(void)
{
	static struct {
		uint32_t off;
		uint16_t sel;
	} far_t = { 0, S1 | 3 };

	gate64(S1, gt_target, SEL_KCS, D_CALL32 | D_DPL(3));
	TRY_USER(gt_call, R.bx = (word)&far_t);
	expect_end("gate.inward");
	check("gate.rip", R.ax, (word)gt_call + 2);
	check("gate.cs", R.cx, SEL_UCS64);
	check("gate.rsp", R.dx, STACK_TOP);
	check("gate.ss", R.si, SEL_UDS);
	check("gate.new_ss", R.r8, 0);
	check("gate.new_rsp", R.sp, EXC_STACK - 32);
	gate64(S1, gt_ret, SEL_KCS, D_CALL32 | D_DPL(3));
	TRY_USER(gt_call, R.bx = (word)&far_t);
	expect_end("gate.return");
	check("gate.return.rdi", R.di, 0x600d);
	check("gate.return.rsp", R.sp, STACK_TOP);
	fresh_cs(gt_call32, SEL_UCS32, SEL_UDS);
	run();
	expect_end("gate.from_compat");
	check("gate.from_compat.edi", R.di, 0x600d);
	gate64(S1, gt_ret, SEL_KCS32, D_CALL32 | D_DPL(3));
	TRY_USER(gt_call, R.bx = (word)&far_t);
	expect("gate.to_32bit", GP, SEL_KCS32, gt_call);
	gate64(S1, gt_ret, SEL_KCS, D_CALL32 | D_DPL(3));
	gdt_set(S1 + 8, 0x0000100000000000ull);
	TRY_USER(gt_call, R.bx = (word)&far_t);
	expect("gate.upper_type", GP, S1, gt_call);
	gate64(S1, gt_ret, SEL_KCS, D_CALL16 | D_DPL(3));
	TRY_USER(gt_call, R.bx = (word)&far_t);
	expect("gate.16bit", GP, S1, gt_call);
	far_t.sel = SEL_TSS;
	TRY(gt_call, R.bx = (word)&far_t);
	expect("gate.task", GP, SEL_TSS, gt_call);
}

/* ---- IRET ---- */

CODE(64, q_iretq, "pushq %rax\n pushq %rbx\n pushq %rcx\n pushq %rdx\n pushq %rsi\n iretq");
CODE(64, q_target, "movl $0x600d, %edi\n pushfq\n popq %rbp");

static void iretq(uint16_t ss, uint64_t flags, uint16_t cs, uint64_t rip)
{
	TRY(q_iretq, R.ax = ss, R.bx = 0x26000, R.cx = flags, R.dx = cs, R.si = rip);
}

static void test_iret(void)
{
	char *at = q_iretq + 5;

	iretq(SEL_KDS, 2 | F_CF, SEL_KCS, (word)q_target);
	expect_end("iretq.same");
	check("iretq.same.rsp", R.sp, 0x26000);
	check("iretq.same.flags", R.bp, 2 | F_CF);
	iretq(0, 2, SEL_KCS, (word)q_target);
	expect_end("iretq.null_ss");
	check("iretq.null_ss.ss", R.ss, 0);
	iretq(SEL_UDS, 2 | F_IOPL, SEL_UCS64, (word)q_target);
	expect_end("iretq.outer");
	check("iretq.outer.flags", R.bp, 2 | F_IOPL);
	iretq(3, 2, SEL_UCS64, (word)q_target);
	expect("iretq.outer_null_ss", GP, 0, at);
	iretq(SEL_UDS, 2, SEL_UCS32, (word)k_in32);
	expect_end("iretq.to_compat");
	iretq(3, 2, SEL_UCS32, (word)k_in32);
	expect("iretq.compat_null_ss", GP, 0, at);
	iretq(SEL_KDS, 2, 0, (word)q_target);
	expect("iretq.null_cs", GP, 0, at);
	iretq(SEL_KDS, 2, SEL_KDS, (word)q_target);
	expect("iretq.data_cs", GP, SEL_KDS, at);
	iretq(SEL_KDS, 2 | F_VM, SEL_KCS, (word)q_target);
	expect_end("iretq.vm_ignored");
	check("iretq.vm", R.bp & F_VM, 0);
	TRY(q_iretq, R.flags = 2 | F_NT, R.ax = SEL_KDS, R.bx = 0x26000, R.cx = 2, R.dx = SEL_KCS,
		R.si = (word)q_target);
	expect("iretq.nt", GP, 0, at);
}

/* ---- SYSCALL, SYSRET, SYSENTER, SYSEXIT ---- */

CODE(64, y_syscall, "syscall\n movl $0x600d, %edi");
CODE(64, y_entry, "movl %cs, %eax\n movl %ss, %ebx\n pushfq\n popq %rdx");
CODE(64, y_sysretq, "sysretq");
CODE(64, y_sysretl, "sysretl");
CODE(64, y_back, "movq %rsp, %r8\n sysretq");
CODE(64, y_after, "movl %cs, %eax\n movl %ss, %ebx\n pushfq\n popq %rdx");
CODE(32, y_after32, "movl %cs, %eax\n movl %ss, %ebx");
CODE(64, y_sysenter, "sysenter");
CODE(64, y_sysexitq, "sysexitq");
CODE(64, y_sysexit, "sysexitl");
CODE(64, y_se_entry, "movl %cs, %eax\n movl %ss, %ebx\n movq %rsp, %rdx");

static void test_syscall(void)
{
	TRY_USER(y_syscall);
	expect("syscall.sce_off", UD, -1, y_syscall);
	TRY(y_sysretq, R.cx = (word)y_after);
	expect("sysret.sce_off", UD, -1, y_sysretq);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SCE);
	wrmsr(MSR_STAR, (uint64_t)SEL_KCS << 32 | (uint64_t)SEL_UCS32 << 48);
	wrmsr(MSR_LSTAR, (word)y_entry);
	wrmsr(MSR_SFMASK, F_IF | F_CF | F_DF);
	TRY_USER(y_syscall, R.flags = 2 | F_IF | F_CF | F_ZF);
	expect_end("syscall.enter");
	check("syscall.rcx", R.cx, (word)y_syscall + 2);
	check("syscall.r11", R.r11, 2 | F_IF | F_CF | F_ZF);
	check("syscall.cs", R.ax, SEL_KCS);
	check("syscall.ss", R.bx, SEL_KDS);
	check("syscall.flags", R.dx, 2 | F_ZF);
	check("syscall.rsp_kept", R.sp, STACK_TOP);
	/* Single steps end where TF does, and SYSRET's new one counts at once. */
	wrmsr(MSR_SFMASK, F_IF | F_CF | F_DF | F_TF);
	TRY_USER(y_syscall, R.flags = 2 | F_TF);
	expect_end("syscall.tf_masked");
	check("syscall.tf_masked.r11", R.r11, 2 | F_TF);
	wrmsr(MSR_SFMASK, F_IF | F_CF | F_DF);
	TRY_USER(y_syscall, R.flags = 2 | F_TF);
	expect("syscall.tf", DB, -1, y_entry);
	TRY(y_sysretq, R.cx = (word)y_after, R.r11 = 2 | F_TF);
	expect("sysret.tf", DB, -1, y_after);
	check("sysret.tf.cpl", R.cs & 3, 3);
	TRY(y_sysretl, R.cx = (word)y_after32, R.r11 = 2 | F_TF);
	expect("sysret.32.tf", DB, -1, y_after32);
	wrmsr(MSR_LSTAR, (word)y_back);
	TRY_USER(y_syscall, R.flags = 2 | F_CF);
	expect_end("syscall.return");
	check("syscall.return.rdi", R.di, 0x600d);
	check("syscall.return.cs", R.cs, SEL_UCS64);
	check("syscall.return.ss", R.ss, SEL_UDS);
	check("syscall.return.flags", R.flags & F_CF, F_CF);
	TRY(y_sysretq, R.cx = (word)y_after, R.r11 = 2 | F_IOPL | F_RF | F_ZF);
	expect_end("sysret.64");
	check("sysret.64.flags", R.dx, 2 | F_IOPL | F_ZF);
	TRY(y_sysretl, R.cx = 0xffffffff00000000 | (word)y_after32, R.r11 = 2);
	expect_end("sysret.32");
	check("sysret.32.cs", R.cs, SEL_UCS32);
	TRY_USER(y_sysretq, R.cx = (word)y_after);
	expect("sysret.user", GP, 0, y_sysretq);
	TRY(y_sysretq, R.cx = BAD, R.r11 = 2);
	check("sysret.noncanonical", R.vector, GP);
	check("sysret.noncanonical.cpl", R.cs & 3, is_amd() ? 3 : 0);
	/* From compatibility mode: AMD's CSTAR, nothing on Intel. */
	wrmsr(MSR_CSTAR, (word)y_entry);
	fresh_cs(k_syscall, SEL_UCS32, SEL_UDS);
	run();
	if (is_amd()) {
		expect_end("syscall.compat");
		check("syscall.compat.rcx", R.cx, (word)k_syscall + 2);
	} else {
		expect("syscall.compat", UD, -1, k_syscall);
	}
	/* SYSENTER: not in AMD's long mode. */
	wrmsr(MSR_SYSENTER_CS, SEL_KCS);
	wrmsr(MSR_SYSENTER_ESP, 0x2b000);
	wrmsr(MSR_SYSENTER_EIP, (word)y_se_entry);
	if (is_amd()) {
		TRY_USER(y_sysenter);
		expect("sysenter.amd", UD, -1, y_sysenter);
		fresh_cs(k_sysenter, SEL_UCS32, SEL_UDS);
		run();
		expect("sysenter.amd_compat", UD, -1, k_sysenter);
		TRY(y_sysexit);
		expect("sysexit.amd", UD, -1, y_sysexit);
		return;
	}
	TRY_USER(y_sysenter, R.flags = 2 | F_IF | F_ZF);
	expect_end("sysenter.long");
	check("sysenter.cs", R.ax, SEL_KCS);
	check("sysenter.ss", R.bx, SEL_KDS);
	check("sysenter.rsp", R.dx, 0x2b000);
	check("sysenter.flags", R.flags & (F_IF | F_ZF), F_ZF);
	fresh_cs(k_sysenter, SEL_UCS32, SEL_UDS);
	run();
	expect_end("sysenter.compat");
	TRY(y_sysexitq, R.dx = (word)y_after, R.cx = 0x26000);
	expect_end("sysexit.64");
	check("sysexit.64.cs", R.ax, SEL_UCS64);
	check("sysexit.64.ss", R.bx, SEL_UDS2);
	check("sysexit.64.rsp", R.sp, 0x26000);
	TRY(y_sysexit, R.dx = (word)y_after32, R.cx = 0x26000);
	expect_end("sysexit.32");
	check("sysexit.32.cs", R.cs, SEL_UCS32);
	TRY_USER(y_sysexit);
	expect("sysexit.user", GP, 0, y_sysexit);
	TRY(y_sysexitq, R.dx = BAD, R.cx = 0x26000);
	expect("sysexit.noncanonical", GP, 0, y_sysexitq);
	wrmsr(MSR_SYSENTER_CS, 0);
	TRY_USER(y_sysenter);
	expect("sysenter.cs_null", GP, 0, y_sysenter);
}

/* The bases of FS and GS are left as they were: the kit does not use them. */
void image_main(void)
{
	open_to_user();
	test_insns();
	test_canonical();
	test_segments();
	test_interrupts();
	test_compat();
	test_call_gates();
	test_iret();
	test_syscall();
}
