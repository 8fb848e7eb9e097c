/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Every kind of instruction on device memory.  The runner keeps a device at 32 MiB that behaves like
 * memory (in an emulator with more RAM it is memory), so each result can be computed.  A 64-bit image.
 */
#include "kit.h"

#define DEV 0x2000000ul /* 32 MiB */
#define RAM 0x30000ul

CODE(64, m_mov8, "movb %al, (%rbx)\n movb (%rbx), %cl");
CODE(64, m_mov16, "movw %ax, (%rbx)\n movw (%rbx), %cx");
CODE(64, m_mov32, "movl %eax, (%rbx)\n movl (%rbx), %ecx");
CODE(64, m_mov64, "movq %rax, (%rbx)\n movq (%rbx), %rcx");
CODE(64, m_imm, "movl $0x12345678, (%rbx)\n movq $-2, 8(%rbx)");
CODE(64, m_movzx, "movzbl (%rbx), %eax\n movsbq 1(%rbx), %rcx\n movzwl (%rbx), %edx\n movslq (%rbx), %rsi");
CODE(64, m_add, "addl %eax, (%rbx)");
CODE(64, m_add_load, "addl (%rbx), %eax");
CODE(64, m_adc, "stc\n adcq $0, (%rbx)");
CODE(64, m_inc, "incw (%rbx)");
CODE(64, m_neg, "negb (%rbx)");
CODE(64, m_not, "notl (%rbx)");
CODE(64, m_lock, "lock orl %eax, (%rbx)");
CODE(64, m_xchg, "xchgq %rax, (%rbx)");
CODE(64, m_xadd, "lock xaddl %eax, (%rbx)");
CODE(64, m_cmpxchg, "lock cmpxchgl %ecx, (%rbx)");
CODE(64, m_cmpxchg8b, "lock cmpxchg8b (%rsi)");
CODE(64, m_bts, "btsl $5, (%rbx)");
CODE(64, m_bts_reg, "btsl %eax, (%rbx)");
CODE(64, m_shl, "shll $4, (%rbx)");
CODE(64, m_shld, "shldl $8, %eax, (%rbx)");
CODE(64, m_cmp, "cmpl $0x55, (%rbx)");
CODE(64, m_test, "testb $0x80, (%rbx)");
CODE(64, m_mul, "mull (%rbx)");
CODE(64, m_div, "divl (%rbx)");
CODE(64, m_imul, "imull $3, (%rbx), %eax");
CODE(64, m_cmov, "cmpl %eax, %eax\n cmovel (%rbx), %ecx");
CODE(64, m_setcc, "stc\n setc (%rbx)");
CODE(64, m_push, "pushq (%rbx)\n popq %rax");
CODE(64, m_pop, "pushq %rax\n popq (%rbx)");
CODE(64, m_movs_to, "rep movsb");
CODE(64, m_movsq, "rep movsq");
CODE(64, m_stos, "rep stosl");
CODE(64, m_lods, "lodsw");
CODE(64, m_scas, "repne scasb");
CODE(64, m_cmps, "repe cmpsb");
CODE(64, m_sse, "movdqu %xmm0, (%rbx)\n pxor %xmm0, %xmm0\n movdqu (%rbx), %xmm0\n movq %xmm0, %rax");
CODE(64, m_sse_set, "movq %rax, %xmm0\n punpcklqdq %xmm0, %xmm0");
CODE(64, m_movd, "movd (%rbx), %xmm1\n movq %xmm1, %rax");
CODE(64, m_fild, "fildl (%rbx)\n fistpl 8(%rbx)");
CODE(64, m_fld, "fldl (%rbx)\n fadd %st\n fstpl 8(%rbx)");
CODE(64, m_movnti, "movnti %rax, (%rbx)");
CODE(64, m_bswap, "movbel (%rbx), %eax");
CODE(64, m_crc, "crc32l (%rbx), %eax");
CODE(64, m_andn, "andnl (%rbx), %eax, %ecx");
CODE(64, m_vmov, "vmovdqu (%rbx), %ymm0\n vmovdqu %ymm0, 64(%rbx)");
CODE(64, m_call, "call *(%rbx)\n movl $0x600d, %edx");
CODE(64, m_ret, "ret");
CODE(64, m_jmp, "jmp *(%rbx)");
CODE(64, m_enter, "movq %rbx, %rsp\n pushq %rax\n movq %rsp, %rcx\n movq $0x27000, %rsp");
CODE(64, m_fs, "movl %fs:(%rbx), %eax");
CODE(64, m_rip_free, "movl (%rbx,%rcx,4), %eax");
CODE(64, m_sti_shadow, "movl (%rbx), %eax\n movl (%rbx), %ecx\n addl %ecx, %eax");
CODE(32, c_mov, "movl (%ebx), %eax\n movl %eax, 4(%ebx)");

static void at(uint64_t value)
{
	MEM64(DEV) = value;
}

static void test_moves(void)
{
	TRY(m_mov8, R.bx = DEV, R.ax = 0x1a2, R.cx = 0);
	check("mov8", R.cx, 0xa2);
	TRY(m_mov16, R.bx = DEV + 2, R.ax = 0xbeef, R.cx = 0);
	check("mov16", R.cx, 0xbeef);
	TRY(m_mov32, R.bx = DEV + 4, R.ax = 0xdeadbeef, R.cx = -1ul);
	check("mov32", R.cx, 0xdeadbeef);
	TRY(m_mov64, R.bx = DEV + 8, R.ax = 0x0123456789abcdef);
	check("mov64", R.cx, 0x0123456789abcdef);
	check("mov.all", MEM64(DEV), 0xdeadbeefbeef00a2 | (MEM64(DEV) & 0xff00));
	TRY(m_mov32, R.bx = DEV + 0x101, R.ax = 0x11223344);
	check("mov32.unaligned", R.cx, 0x11223344);
	TRY(m_imm, R.bx = DEV);
	check("imm32", MEM32(DEV), 0x12345678);
	check("imm64", MEM64(DEV + 8), -2ul);
	at(0x80f0);
	MEM32(DEV) = 0x800080f0;
	TRY(m_movzx, R.bx = DEV);
	check("movzx", R.ax, 0xf0);
	check("movsx", R.cx, -128ul);
	check("movzx16", R.dx, 0x80f0);
	check("movsxd", R.si, 0xffffffff800080f0);
	MEM32(DEV + 0x40) = 77;
	TRY(m_rip_free, R.bx = DEV, R.cx = 0x10);
	check("sib", R.ax, 77);
	wrmsr(MSR_FS_BASE, DEV);
	TRY(m_fs, R.bx = 0x40);
	check("fs", R.ax, 77);
	wrmsr(MSR_FS_BASE, 0);
	/* From RAM into the device's page. */
	MEM64(DEV - 8) = MEM64(DEV - 8);
	fresh_cs(c_mov, SEL_KCS32, SEL_KDS);
	MEM32(DEV) = 0x5a5a1234;
	R.bx = DEV;
	run();
	expect_end("compat");
	check("compat.value", MEM32(DEV + 4), 0x5a5a1234);
}

static void rmw(const char *name, char *code, uint64_t before, uint64_t after, word ax)
{
	at(before);
	TRY(code, R.bx = DEV, R.ax = ax, R.cx = 0x77);
	if (R.vector != END)
		expect_end(name);
	else
		check(name, MEM64(DEV), after);
}

static void test_rmw(void)
{
	rmw("add", m_add, 10, 15, 5);
	rmw("adc", m_adc, 0xffffffff, 0x100000000, 0);
	rmw("inc", m_inc, 0x1ffff, 0x10000, 0);
	rmw("neg", m_neg, 1, 0xff, 0);
	rmw("not", m_not, 0xf, 0xfffffff0, 0);
	rmw("lock_or", m_lock, 1, 0x81, 0x80);
	rmw("bts", m_bts, 0, 0x20, 0);
	rmw("bts_reg", m_bts_reg, 0, 1ul << 40, 40);
	rmw("shl", m_shl, 0x11, 0x110, 0);
	rmw("shld", m_shld, 0x11, 0x11ab, 0xab000000);
	rmw("xchg", m_xchg, 3, 4, 4);
	check("xchg.old", R.ax, 3);
	rmw("xadd", m_xadd, 3, 8, 5);
	check("xadd.old", R.ax, 3);
	rmw("cmpxchg", m_cmpxchg, 5, 0x77, 5);
	rmw("cmpxchg_fails", m_cmpxchg, 5, 5, 6);
	check("cmpxchg_fails.eax", R.ax, 5);
	at(0x200000001);
	TRY(m_cmpxchg8b, R.si = DEV, R.ax = 1, R.dx = 2, R.bx = 3, R.cx = 4);
	check("cmpxchg8b", MEM64(DEV), 0x400000003);
	rmw("setc", m_setcc, 0xff, 1, 0);
	rmw("pop", m_pop, 0, 0x1234567890, 0x1234567890);
	check("pop.rsp", R.sp, STACK_TOP);
	rmw("movnti", m_movnti, 0, 0x99, 0x99);
}

static void test_loads(void)
{
	at(7);
	TRY(m_add_load, R.bx = DEV, R.ax = 5);
	check("add_load", R.ax, 12);
	at(0x55);
	TRY(m_cmp, R.bx = DEV);
	check("cmp", R.flags & F_ZF, F_ZF);
	at(0x7f);
	TRY(m_test, R.bx = DEV);
	check("test", R.flags & F_ZF, F_ZF);
	at(6);
	TRY(m_mul, R.bx = DEV, R.ax = 7);
	check("mul", R.ax, 42);
	TRY(m_div, R.bx = DEV, R.ax = 45, R.dx = 0);
	check("div", R.ax << 8 | R.dx, 0x703);
	at(0);
	TRY(m_div, R.bx = DEV, R.ax = 45, R.dx = 0);
	expect("div_by_zero", DE, -1, m_div);
	at(14);
	TRY(m_imul, R.bx = DEV);
	check("imul", R.ax, 42);
	TRY(m_cmov, R.bx = DEV, R.cx = 0);
	check("cmov", R.cx, 14);
	TRY(m_push, R.bx = DEV);
	check("push", R.ax, 14);
	at(0x11223344);
	TRY(m_bswap, R.bx = DEV);
	if (cpuid(1, 0).c >> 22 & 1)
		check("movbe", R.ax, 0x44332211);
	if (cpuid(7, 0).b >> 3 & 1) {
		TRY(m_andn, R.bx = DEV, R.ax = 0x0000ffff);
		check("andn", R.cx, 0x11220000);
	}
	at((word)m_ret);
	TRY(m_call, R.bx = DEV);
	expect_end("call");
	check("call.edx", R.dx, 0x600d);
	at((word)m_call + 2);
	TRY(m_jmp, R.bx = DEV);
	check("jmp", R.dx, 0x600d);
	/* The stack itself in the device. */
	TRY(m_enter, R.bx = DEV + 0x80, R.ax = 0xabcdef);
	expect_end("stack");
	check("stack.value", MEM64(DEV + 0x78), 0xabcdef);
	check("stack.rsp", R.cx, DEV + 0x78);
}

static void test_strings(void)
{
	for (unsigned i = 0; i < 64; i++)
		MEM8(RAM + i) = (uint8_t)(i + 3);
	TRY(m_movs_to, R.si = RAM, R.di = DEV + 0x200, R.cx = 37);
	expect_end("movs_to");
	check("movs_to.first", MEM8(DEV + 0x200), 3);
	check("movs_to.last", MEM8(DEV + 0x224), 39);
	check("movs_to.rcx", R.cx, 0);
	TRY(m_movsq, R.si = DEV + 0x200, R.di = RAM + 0x100, R.cx = 4);
	check("movs_from", MEM64(RAM + 0x118), MEM64(RAM + 24));
	TRY(m_movsq, R.si = DEV + 0x200, R.di = DEV + 0x300, R.cx = 4);
	check("movs_within", MEM64(DEV + 0x310), MEM64(RAM + 16));
	TRY(m_stos, R.di = DEV + 0x400, R.cx = 8, R.ax = 0x5a5a5a5a);
	check("stos", MEM32(DEV + 0x41c), 0x5a5a5a5a);
	check("stos.rdi", R.di, DEV + 0x420);
	TRY(m_lods, R.si = DEV + 0x200, R.ax = 0);
	check("lods", R.ax, 0x0403);
	TRY(m_scas, R.di = DEV + 0x200, R.cx = 64, R.ax = 10);
	check("scas", R.di, DEV + 0x208);
	MEM8(DEV + 0x210) = 0xff;
	TRY(m_cmps, R.si = RAM, R.di = DEV + 0x200, R.cx = 64);
	check("cmps", R.cx, 64 - 17);
}

static void test_vectors(void)
{
	write_cr0((read_cr0() & ~(word)(CR0_EM | CR0_TS)) | CR0_MP | CR0_NE);
	write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMM);
	__asm__ volatile("fninit");
	TRY(m_sse_set, R.ax = 0x1122334455667788);
	TRY(m_sse, R.bx = DEV + 0x500);
	expect_end("sse");
	check("sse.low", R.ax, 0x1122334455667788);
	check("sse.high", MEM64(DEV + 0x508), 0x1122334455667788);
	TRY(m_movd, R.bx = DEV + 0x500);
	check("movd", R.ax, 0x55667788);
	at(41);
	TRY(m_fild, R.bx = DEV);
	expect_end("fild");
	check("fistp", MEM32(DEV + 8), 41);
	at(0x3ff8000000000000); /* 1.5 */
	TRY(m_fld, R.bx = DEV);
	check("fadd", MEM64(DEV + 8), 0x4008000000000000);
	if (cpuid(1, 0).c >> 28 & 1) {
		write_cr4(read_cr4() | CR4_OSXSAVE);
		__asm__ volatile("xsetbv" : : "c"(0), "a"(7), "d"(0));
		MEM64(DEV + 0x618) = 0x1234123412341234;
		TRY(m_vmov, R.bx = DEV + 0x600);
		expect_end("avx");
		check("avx.value", MEM64(DEV + 0x658), 0x1234123412341234);
	}
}

/* One half in RAM, the other in the device: 0x1ffffff0 is the last paragraph before it. */
static void test_border(void)
{
	/* The device's last page borders on nothing: here on itself, page by page. */
	TRY(m_mov64, R.bx = DEV + 0xffc, R.ax = 0x1122334455667788);
	expect_end("page_cross");
	check("page_cross.value", R.cx, 0x1122334455667788);
	check("page_cross.high", MEM32(DEV + 0x1000), 0x11223344);
	/* Many accesses in a row, in a loop that is translated once. */
	at(1);
	for (unsigned i = 0; i < 200; i++)
		MEM32(DEV) += 3;
	check("loop", MEM32(DEV), 601);
	TRY(m_sti_shadow, R.bx = DEV);
	check("twice", R.ax, 1202);
}

void image_main(void)
{
	test_moves();
	test_rmw();
	test_loads();
	test_strings();
	test_vectors();
	test_border();
}
