/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Hardware task switches: 32- and 16-bit TSSs, by CALL, JMP, IRET, task gates and interrupts. */
#include "kit.h"

#define SEL_T2	 SEL_FREE	   /* the other task's TSS */
#define SEL_GATE (SEL_FREE + 8)	   /* a task gate to it */
#define SEL_BAD	 (SEL_FREE + 0x10)
#define SEL_LDT_ (SEL_FREE + 0x18)
#define STACK2	 0x2e000

/* Word indexes of a 32-bit TSS. */
enum { T_LINK, T_ESP0, T_SS0, T_CR3 = 7, T_EIP, T_FLAGS, T_EAX, T_ECX, T_EDX, T_EBX, T_ESP, T_EBP, T_ESI,
	T_EDI, T_ES, T_CS, T_SS, T_DS, T_FS, T_GS, T_LDT, T_TRAP };

static uint32_t t2[26];
static uint16_t t16[22];

CODE(32, task_back, "movl $0x2222, %edx\n iretl\n movl $0x3333, %edx\n iretl");
CODE(32, task_stay, "movl $0x2222, %edx\n str %ecx\n pushfl\n popl %ebp\n smswl %esi\n clts");
CODE(32, task_err, "popl %eax\n movl %esp, %ebx\n clts");
CODE(32, task_jmp_back, "ljmp *(%ebx)\n movl $0x4444, %edx\n ljmp *(%ebx)");
CODE(16, task16_back, "movw $0x2222, %dx\n iretw");
CODE(32, t_call, "lcall *(%ebx)\n pushfl\n popl %ebp\n movl $0x600d, %edi");
CODE(32, t_jmp, "ljmp *(%ebx)\n movl $0x600d, %edi");
CODE(32, t_int, "int $0x30\n movl $0x600d, %edi");
CODE(32, t_ud, "ud2");
CODE(32, t_gp, "movl %eax, %es");
CODE(32, t_jmp_twice, "ljmp *(%ebx)\n movl $1, %edi\n ljmp *(%ebx)\n incl %edi");

static struct {
	uint32_t off;
	uint16_t sel;
} far_t;

/* A second task at `code` in ring 0, and its descriptor. */
static void task2(const void *code)
{
	for (unsigned i = 0; i < 26; i++)
		t2[i] = 0;
	t2[T_EIP] = (uint32_t)code;
	t2[T_FLAGS] = 2;
	t2[T_ESP] = STACK2;
	t2[T_EAX] = 0xa0a0a0a0;
	t2[T_EBX] = (uint32_t)&far_t;
	t2[T_ESP0] = EXC_STACK;
	t2[T_SS0] = SEL_KDS;
	t2[T_ES] = t2[T_SS] = t2[T_DS] = SEL_KDS;
	t2[T_CS] = SEL_KCS;
	t2[T_CR3] = read_cr3();
	gdt_set(SEL_T2, descriptor((uint32_t)t2, 103, D_TSS32));
	gdt_set(SEL_GATE, gate(0, SEL_T2, D_TASK | D_DPL(3), 0));
}

/* Whatever task a snippet ended in, the kit's own is the current one again. */
static void task1(void)
{
	gdt_set(SEL_TSS, descriptor((uint32_t)tss, 0x2ff, D_TSS32));
	__asm__ volatile("ltr %w0; lldt %w1; clts" : : "r"(SEL_TSS), "r"(0));
}

static unsigned type_of(uint16_t sel)
{
	return (gdt[sel >> 3] >> 40) & 0x1f;
}

static void test_call(void)
{
	uint32_t *t1 = (uint32_t *)tss;

	far_t.sel = SEL_T2;
	task2(task_back);
	TRY(t_call, R.bx = (word)&far_t, R.flags = 2 | F_CF, R.ax = 0x1111);
	expect_end("call.and_iret");
	check("call.edi", R.di, 0x600d);
	check("call.eax_back", R.ax, 0x1111);
	check("call.flags_back", R.bp & (F_NT | F_CF), F_CF);
	check("call.other_edx", t2[T_EDX], 0x2222);
	check("call.other_eip", t2[T_EIP], (word)task_back + 6);
	check("call.other_flags_nt", t2[T_FLAGS] & F_NT, 0);
	check("call.link", t2[T_LINK] & 0xffff, SEL_TSS);
	check("call.other_available", type_of(SEL_T2), D_TSS32 & 0x1f);
	check("call.self_busy", type_of(SEL_TSS), (D_TSS32 | D_BUSY) & 0x1f);
	/* It goes on after its IRET when called again. */
	TRY(t_call, R.bx = (word)&far_t);
	check("call.again", t2[T_EDX], 0x3333);
	/* What is saved of the old task. */
	task2(task_stay);
	TRY(t_call, R.bx = (word)&far_t, R.ax = 0x77, R.si = 0x66, R.fs = SEL_UDS);
	expect_end("stay.call");
	check("stay.tr", R.cx & 0xffff, SEL_T2);
	check("stay.nt", R.bp & F_NT, F_NT);
	check("stay.ts", R.si & CR0_TS, CR0_TS);
	check("stay.esp", R.sp, STACK2);
	check("stay.eax", R.ax, 0xa0a0a0a0);
	check("stay.saved_eip", t1[T_EIP], (word)t_call + 2);
	check("stay.saved_eax", t1[T_EAX], 0x77);
	check("stay.saved_esi", t1[T_ESI], 0x66);
	check("stay.saved_esp", t1[T_ESP], STACK_TOP);
	check("stay.saved_cs", t1[T_CS] & 0xffff, SEL_KCS);
	check("stay.saved_fs", t1[T_FS] & 0xffff, SEL_UDS);
	check("stay.both_busy", type_of(SEL_TSS) & type_of(SEL_T2) & D_BUSY, D_BUSY);
	task1();
	/* Through a task gate. */
	task2(task_back);
	far_t.sel = SEL_GATE;
	TRY(t_call, R.bx = (word)&far_t);
	expect_end("gate.call");
	check("gate.other_edx", t2[T_EDX], 0x2222);
	TRY_USER(t_call, R.bx = (word)&far_t);
	expect_end("gate.user");
	check("gate.user.edi", R.di, 0x600d);
	check("gate.user.cs", R.cs, SEL_UCS32);
	far_t.sel = SEL_T2;
	TRY_USER(t_call, R.bx = (word)&far_t);
	expect("gate.tss_dpl", GP, SEL_T2, t_call);
	far_t.sel = SEL_TSS;
	TRY(t_call, R.bx = (word)&far_t);
	expect("call.busy", GP, SEL_TSS, t_call);
	gdt_set(SEL_T2, descriptor((uint32_t)t2, 103, D_TSS32 & ~D_P));
	far_t.sel = SEL_T2;
	TRY(t_call, R.bx = (word)&far_t);
	expect("call.not_present", NP, SEL_T2, t_call);
	gdt_set(SEL_T2, descriptor((uint32_t)t2, 102, D_TSS32));
	TRY(t_call, R.bx = (word)&far_t);
	expect("call.limit", TS, SEL_T2, t_call);
	gdt_set(SEL_GATE, gate(0, SEL_KDS, D_TASK, 0));
	far_t.sel = SEL_GATE;
	TRY(t_call, R.bx = (word)&far_t);
	expect("gate.to_data", GP, SEL_KDS, t_call);
	gdt_set(SEL_GATE, gate(0, SEL_T2, D_TASK & ~D_P, 0));
	TRY(t_call, R.bx = (word)&far_t);
	expect("gate.not_present", NP, SEL_GATE, t_call);
}

static void test_jmp(void)
{
	/* JMP there and back by JMP: no NT, no link, and the old task is no longer busy. */
	task2(task_stay);
	far_t.sel = SEL_T2;
	TRY(t_jmp, R.bx = (word)&far_t);
	expect_end("jmp.stay");
	check("jmp.nt", R.bp & F_NT, 0);
	check("jmp.link", t2[T_LINK], 0);
	check("jmp.old_available", type_of(SEL_TSS), D_TSS32 & 0x1f);
	check("jmp.new_busy", type_of(SEL_T2), (D_TSS32 | D_BUSY) & 0x1f);
	task1();
	task2(task_jmp_back);
	far_t.sel = SEL_T2;
	{
		static struct {
			uint32_t off;
			uint16_t sel;
		} home = { 0, SEL_TSS };

		t2[T_EBX] = (uint32_t)&home;
	}
	TRY(t_jmp_twice, R.bx = (word)&far_t);
	expect_end("jmp.twice");
	check("jmp.twice.edi", R.di, 2);
	check("jmp.twice.edx", t2[T_EDX], 0x4444);
}

static void test_gates(void)
{
	/* An interrupt through a task gate, and one with an error code. */
	task2(task_back);
	idt_target(0x30, (void *)0, SEL_T2, D_TASK | D_DPL(3));
	TRY(t_int);
	expect_end("int.task_gate");
	check("int.edi", R.di, 0x600d);
	check("int.other_edx", t2[T_EDX], 0x2222);
	TRY_USER(t_int);
	check("int.user.edi", R.di, 0x600d);
	task2(task_err);
	idt_target(GP, (void *)0, SEL_T2, D_TASK);
	TRY(t_gp, R.ax = SEL_KCS | 4);
	expect_end("exception.task_gate");
	check("exception.error", R.ax, SEL_KCS | 4);
	check("exception.esp", R.bx, STACK2);
	check("exception.saved_eip", ((uint32_t *)tss)[T_EIP], (word)t_gp);
	task1();
	idt_set(GP, D_INT32);
	task2(task_stay);
	idt_target(UD, (void *)0, SEL_T2, D_TASK);
	TRY(t_ud);
	expect_end("exception.no_error");
	check("exception.no_error.esp", R.sp, STACK2);
	task1();
	/* The gate's TSS is busy. */
	gdt_set(SEL_T2, descriptor((uint32_t)t2, 103, D_TSS32 | D_BUSY));
	TRY(t_ud);
	expect("exception.busy", GP, SEL_T2 | 1, t_ud);
	idt_set(UD, D_INT32);
	idt_set(0x30, D_INT32);
}

/* Faults after the commit point belong to the new task. */
static void bad(const char *name, unsigned index, uint32_t value, unsigned vector, uint32_t error)
{
	task2(task_stay);
	t2[index] = value;
	far_t.sel = SEL_T2;
	TRY(t_call, R.bx = (word)&far_t);
	check(name, (uint64_t)R.vector << 32 | (uint32_t)R.error, (uint64_t)vector << 32 | error);
	task1();
}

static void test_bad_state(void)
{
	bad("bad.cs_null", T_CS, 0, TS, 0);
	bad("bad.cs_data", T_CS, SEL_KDS, TS, SEL_KDS);
	bad("bad.ds_code", T_DS, SEL_GATE, TS, SEL_GATE);
	bad("bad.ldt", T_LDT, SEL_KDS, TS, SEL_KDS);
	gdt_set(SEL_BAD, descriptor(0, 0xfffff, (D_DATA | D_D | D_G) & ~D_P));
	bad("bad.es_absent", T_ES, SEL_BAD, NP, SEL_BAD);
	gdt_set(SEL_BAD, descriptor(0, 0xfffff, (D_CODE | D_D | D_G) & ~D_P));
	bad("bad.cs_absent", T_CS, SEL_BAD, NP, SEL_BAD);
}

static void test_ldt(void)
{
	static uint64_t ldt[2];

	ldt[1] = descriptor(0, 0xfffff, D_DATA | D_D | D_G);
	gdt_set(SEL_LDT_, descriptor((uint32_t)ldt, sizeof(ldt) - 1, D_LDT));
	task2(task_stay);
	t2[T_LDT] = SEL_LDT_;
	t2[T_FS] = 0x0c;
	far_t.sel = SEL_T2;
	TRY(t_call, R.bx = (word)&far_t);
	expect_end("ldt.switch");
	check("ldt.fs", R.fs, 0x0c);
	task1();
	/* Into ring 3. */
	task2(task_stay);
	t2[T_CS] = SEL_UCS32;
	t2[T_SS] = t2[T_DS] = t2[T_ES] = SEL_UDS;
	TRY(t_call, R.bx = (word)&far_t);
	expect("ring3.clts_denied", GP, 0, (char *)task_stay + 13);
	check("ring3.cs", R.cs, SEL_UCS32);
	check("ring3.esp", R.sp, STACK2);
	task1();
	/* Into virtual-8086 mode. */
	task2(task16_back);
	t2[T_FLAGS] = 2 | F_VM | F_IOPL;
	t2[T_CS] = 0;
	t2[T_SS] = 0x2000;
	t2[T_ESP] = 0x100;
	t2[T_DS] = 0x1234;
	t2[T_EIP] = (uint32_t)task16_back;
	MEM16(0x20100) = 0;
	TRY(t_call, R.bx = (word)&far_t);
	check("vm86.flag", R.flags & F_VM, F_VM);
	check("vm86.ds", R.ds, 0x1234);
	check("vm86.dx", R.dx, 0x2222);
	task1();
	/* The T bit: #DB in the new task, before its first instruction. */
	task2(task_stay);
	t2[T_TRAP] = 1;
	TRY(t_call, R.bx = (word)&far_t);
	expect("trap_bit", DB, -1, task_stay);
	task1();
}

static void test_16(void)
{
	uint16_t i;

	for (i = 0; i < 22; i++)
		t16[i] = 0;
	t16[7] = (uint16_t)(word)task16_back;
	t16[8] = 2;
	t16[13] = 0x100; /* SP */
	t16[9] = 0xbeef; /* AX */
	t16[17] = t16[20] = SEL_KDS16;
	t16[18] = SEL_KCS16;
	t16[19] = SEL_KDS16;
	gdt_set(SEL_T2, descriptor((uint32_t)t16, 43, D_TSS16));
	far_t.sel = SEL_T2;
	TRY(t_call, R.bx = (word)&far_t);
	expect_end("tss16.call_and_iret");
	check("tss16.edi", R.di, 0x600d);
	check("tss16.dx", t16[11], 0x2222);
	check("tss16.link", t16[0], SEL_TSS);
	check("tss16.ip", t16[7], ((word)task16_back + 4) & 0xffff);
	gdt_set(SEL_T2, descriptor((uint32_t)t16, 42, D_TSS16));
	TRY(t_call, R.bx = (word)&far_t);
	expect("tss16.limit", TS, SEL_T2, t_call);
}

void image_main(void)
{
	test_call();
	test_jmp();
	test_gates();
	test_bad_state();
	test_ldt();
	test_16();
}
