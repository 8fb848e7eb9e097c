/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Interrupt delivery and IRET in protected mode: frames, gates, privilege, virtual-8086 mode. */
#include "kit.h"

#define S1 SEL_FREE
#define S2 (SEL_FREE + 8)
#define STACK1 0x2c000 /* the stack of ring 1 */

#define SEL_CS1 (SEL_FREE + 0x10 + 1)
#define SEL_DS1 (SEL_FREE + 0x18 + 1)

/* Handlers of our own look at the frame, and end the snippet: values in registers. */
CODE(32, int30, "int $0x30\n movl $0x600d, %edi");
CODE(32, h_frame,
	"movl (%esp), %eax\n movl 4(%esp), %ecx\n movl 8(%esp), %edx\n movl 12(%esp), %ebx\n"
	"movl 16(%esp), %esi\n pushfl\n popl %ebp");
CODE(32, h_frame16,
	"movw (%esp), %ax\n movw 2(%esp), %cx\n movw 4(%esp), %dx\n movw 6(%esp), %bx\n"
	"movw 8(%esp), %si\n pushfl\n popl %ebp");
CODE(32, h_iret, "movl $0x1234, %ecx\n iretl");
CODE(16, h_iret16, "movw $0x1234, %cx\n iretw");

static void test_same_level(void)
{
	idt_target(0x30, h_frame, SEL_KCS, D_INT32);
	TRY(int30, R.flags = 2 | F_IF | F_CF | F_IOPL);
	expect_end("same.int_gate");
	check("same.eip", R.ax, (word)int30 + 2);
	check("same.cs", R.cx, SEL_KCS);
	check("same.eflags", R.dx, 2 | F_IF | F_CF | F_IOPL);
	check("same.esp", R.sp, STACK_TOP - 12);
	check("same.if_cleared", R.bp & F_IF, 0);
	idt_target(0x30, h_frame, SEL_KCS, D_TRAP32);
	TRY(int30, R.flags = 2 | F_IF);
	check("same.trap_gate_if", R.bp & F_IF, F_IF);
	TRY(int30, R.flags = 2 | F_NT);
	check("same.nt_cleared", R.bp & F_NT, 0);
	check("same.nt_saved", R.dx & F_NT, F_NT);
	TRY(int30, R.flags = 2 | F_AC | F_ID | F_DF);
	check("same.others_kept", R.bp & (F_AC | F_ID | F_DF), F_AC | F_ID | F_DF);
	idt_target(0x30, h_iret, SEL_KCS, D_INT32);
	TRY(int30, R.flags = 2 | F_ZF | F_OF);
	expect_end("same.iret");
	check("same.iret.edi", R.di, 0x600d);
	check("same.iret.ecx", R.cx, 0x1234);
	check("same.iret.flags", R.flags & (F_ZF | F_OF), F_ZF | F_OF);
	check("same.iret.esp", R.sp, STACK_TOP);
	/* A 16-bit gate pushes words and takes 16 bits of the offset. */
	idt_target(0x30, h_frame16, SEL_KCS, D_INT16);
	TRY(int30);
	expect_end("gate16.same");
	check("gate16.same.ip", R.ax & 0xffff, (word)int30 + 2);
	check("gate16.same.cs", R.cx & 0xffff, SEL_KCS);
	check("gate16.same.esp", R.sp, STACK_TOP - 6);
	idt_target(0x30, h_iret16, SEL_KCS16, D_INT16);
	TRY(int30, R.sp = STACK_TOP);
	expect_end("gate16.iret");
	check("gate16.iret.edi", R.di, 0x600d);
	check("gate16.iret.cs", R.cs, SEL_KCS);
	/* A conforming handler stays at the caller's privilege. */
	gdt_set(S1, descriptor(0, 0xfffff, D_CONF | D_D | D_G));
	idt_target(0x30, h_frame, S1, D_INT32 | D_DPL(3));
	TRY_USER(int30);
	expect_end("same.conforming");
	check("same.conforming.cs", R.cs, S1 | 3);
	check("same.conforming.esp", R.sp, STACK_TOP - 12);
	idt_set(0x30, D_INT32);
}

static void test_inward(void)
{
	idt_target(0x30, h_frame, SEL_KCS, D_INT32 | D_DPL(3));
	TRY_USER(int30, R.flags = 2 | F_IF);
	expect_end("inward.int");
	check("inward.eip", R.ax, (word)int30 + 2);
	check("inward.cs", R.cx, SEL_UCS32);
	check("inward.eflags", R.dx, 2 | F_IF);
	check("inward.old_esp", R.bx, STACK_TOP);
	check("inward.old_ss", R.si, SEL_UDS);
	check("inward.esp", R.sp, EXC_STACK - 20);
	check("inward.cs_now", R.cs, SEL_KCS);
	check("inward.ss_now", R.ss, SEL_KDS);
	check("inward.ds_kept", R.ds, SEL_UDS);
	idt_target(0x30, h_frame16, SEL_KCS, D_INT16 | D_DPL(3));
	TRY_USER(int30);
	expect_end("gate16.inward");
	check("gate16.inward.cs", R.cx & 0xffff, SEL_UCS32);
	check("gate16.inward.old_sp", R.bx & 0xffff, STACK_TOP & 0xffff);
	check("gate16.inward.old_ss", R.si & 0xffff, SEL_UDS);
	check("gate16.inward.esp", R.sp, EXC_STACK - 10);
	/* To ring 1, and from there to ring 0. */
	gdt_set(SEL_CS1 & ~3, descriptor(0, 0xfffff, D_CODE | D_DPL(1) | D_D | D_G));
	gdt_set(SEL_DS1 & ~3, descriptor(0, 0xfffff, D_DATA | D_DPL(1) | D_D | D_G));
	*(uint32_t *)(tss + 12) = STACK1;
	*(uint32_t *)(tss + 16) = SEL_DS1;
	idt_target(0x30, h_frame, SEL_CS1, D_INT32 | D_DPL(3));
	TRY_USER(int30);
	expect_end("inward.ring1");
	check("inward.ring1.cs", R.cs, SEL_CS1);
	check("inward.ring1.ss", R.ss, SEL_DS1);
	check("inward.ring1.esp", R.sp, STACK1 - 20);
	fresh_cs(int30, SEL_CS1, SEL_DS1);
	idt_target(0x30, h_frame, SEL_KCS, D_INT32 | D_DPL(1));
	run();
	expect_end("inward.ring1_to_0");
	check("inward.ring1_to_0.cs", R.cx, SEL_CS1);
	idt_target(0x30, h_frame, SEL_CS1, D_INT32 | D_DPL(3));
	TRY(int30);
	expect("inward.outward_denied", GP, SEL_CS1 & ~3, int30);
	/* The inner stack's own troubles: #TS with SS0's selector. */
	idt_target(0x30, h_frame, SEL_CS1, D_INT32 | D_DPL(3));
	*(uint32_t *)(tss + 16) = SEL_KDS;
	TRY_USER(int30);
	expect("inward.ss_wrong_rpl", TS, SEL_KDS, int30);
	*(uint32_t *)(tss + 16) = 0;
	TRY_USER(int30);
	expect("inward.ss_null", TS, 0, int30);
	*(uint32_t *)(tss + 16) = SEL_CS1;
	TRY_USER(int30);
	expect("inward.ss_code", TS, SEL_CS1 & ~3, int30);
	gdt_set(SEL_DS1 & ~3, descriptor(0, 0xfffff, (D_DATA | D_DPL(1) | D_D | D_G) & ~D_P));
	*(uint32_t *)(tss + 16) = SEL_DS1;
	TRY_USER(int30);
	expect("inward.ss_not_present", SS, SEL_DS1 & ~3, int30);
	/* A stack too small for the frame: #SS with its selector. */
	gdt_set(SEL_DS1 & ~3, descriptor(0, 0xfff, D_DATA | D_DPL(1) | D_D));
	TRY_USER(int30);
	expect("inward.stack_over", SS, SEL_DS1 & ~3, int30);
	/* A TSS too short to hold the inner stack. */
	gdt_set(SEL_DS1 & ~3, descriptor(0, 0xfffff, D_DATA | D_DPL(1) | D_D | D_G));
	idt_set(0x30, D_INT32);
}

/* ---- IRET ---- */

CODE(32, iret5, "pushl %eax\n pushl %ebx\n pushl %ecx\n pushl %edx\n pushl %esi\n iretl");
CODE(32, iret3, "pushl %ecx\n pushl %edx\n pushl %esi\n iretl");
CODE(32, iret_target, "movl $0x600d, %edi\n pushfl\n popl %ebp");
CODE(16, iret_target16, "movl $0x600d, %edi");
CODE(32, iretw_same, "pushw %cx\n pushw %dx\n pushw %si\n iretw");

#define IRET5_AT (iret5 + 5)
#define IRET3_AT (iret3 + 3)

static void iret_outer(uint16_t cs, uint32_t flags, uint16_t ss)
{
	fresh(iret5);
	R.ax = ss;
	R.bx = 0x26000;
	R.cx = flags;
	R.dx = cs;
	R.si = (word)iret_target;
	R.fs = SEL_UDS;
	R.gs = SEL_KDS;
	run();
}

static void test_iret(void)
{
	iret_outer(SEL_UCS32, 2 | F_IF | F_IOPL | F_AC, SEL_UDS);
	expect_end("iret.outer");
	check("iret.outer.cs", R.cs, SEL_UCS32);
	check("iret.outer.esp", R.sp, 0x26000);
	check("iret.outer.flags", R.bp, 2 | F_IF | F_IOPL | F_AC);
	check("iret.outer.gs_nulled", R.gs, 0);
	check("iret.outer.ds_nulled", R.ds, 0);
	check("iret.outer.fs_kept", R.fs, SEL_UDS);
	iret_outer(SEL_UCS32, 2, SEL_KDS);
	expect("iret.outer_ss_rpl", GP, SEL_KDS, IRET5_AT);
	iret_outer(SEL_UCS32, 2, SEL_KDS | 3);
	expect("iret.outer_ss_dpl", GP, SEL_KDS, IRET5_AT);
	iret_outer(SEL_UCS32, 2, 3);
	expect("iret.outer_ss_null", GP, 0, IRET5_AT);
	gdt_set(S1, descriptor(0, 0xfffff, (D_DATA | D_DPL(3) | D_D | D_G) & ~D_P));
	iret_outer(SEL_UCS32, 2, S1 | 3);
	/* SDM vol. 2, IRET: #SS in the pseudocode, #NP in the list of exceptions. */
	check_true("iret.outer_ss_absent", (R.vector == SS || R.vector == NP) && R.error == S1);
	iret_outer(3, 2, SEL_UDS);
	expect("iret.cs_null", GP, 0, IRET5_AT);
	iret_outer(SEL_UDS, 2, SEL_UDS);
	expect("iret.cs_data", GP, SEL_UDS & ~3, IRET5_AT);
	iret_outer(SEL_KCS | 3, 2, SEL_UDS);
	expect("iret.cs_dpl", GP, SEL_KCS, IRET5_AT);
	gdt_set(S1, descriptor(0, 0xfffff, (D_CODE | D_DPL(3) | D_D | D_G) & ~D_P));
	iret_outer(S1 | 3, 2, SEL_UDS);
	expect("iret.cs_absent", NP, S1, IRET5_AT);
	gdt_set(S1, descriptor(0, 0xfff, D_CODE | D_DPL(3) | D_D));
	iret_outer(S1 | 3, 2, SEL_UDS);
	expect("iret.eip_over", GP, 0, IRET5_AT);
	TRY(iret3, R.cx = 2 | F_CF, R.dx = SEL_KCS, R.si = (word)iret_target);
	expect_end("iret.same");
	check("iret.same.flags", R.bp, 2 | F_CF);
	TRY_USER(iret3, R.cx = 2, R.dx = SEL_KCS, R.si = (word)iret_target);
	expect("iret.inward", GP, SEL_KCS, IRET3_AT);
	/* Ring 3 cannot change IF and IOPL by IRET. */
	TRY_USER(iret3, R.cx = 2 | F_IF | F_IOPL, R.dx = SEL_UCS32, R.si = (word)iret_target);
	expect_end("iret.user");
	check("iret.user.flags", R.bp, 2);
	/* IRETW keeps the upper half of EFLAGS. */
	TRY(iretw_same, R.cx = 2 | F_ZF, R.dx = SEL_KCS, R.si = (word)iret_target,
		R.flags = 2 | F_AC | F_ID);
	expect_end("iret.word");
	check("iret.word.flags", R.bp, 2 | F_ZF | F_AC | F_ID);
	/* To 16-bit code. */
	TRY(iret3, R.cx = 2, R.dx = SEL_KCS16, R.si = (word)iret_target16);
	expect_end("iret.to16");
	check("iret.to16.edi", R.di, 0x600d);
	/* NT with a null back link: #TS. */
	*(uint32_t *)tss = 0;
	TRY(iret3, R.cx = 2, R.dx = SEL_KCS, R.si = (word)iret_target, R.flags = 2 | F_NT);
	expect("iret.nt_null", TS, 0, IRET3_AT);
	/* RF: set by IRET, cleared after one instruction. */
	TRY(iret3, R.cx = 2 | F_RF, R.dx = SEL_KCS, R.si = (word)iret_target);
	expect_end("iret.rf");
	check("iret.rf.pushf", R.bp & F_RF, 0);
}

/* ---- virtual-8086 mode ---- */

CODE(16, v_mov, "movw $0x1234, %ax\n movw %ax, %es\n movb %es:(%bx), %al");
CODE(16, v_cli, "cli");
CODE(16, v_sti, "sti");
CODE(16, v_pushf, "pushfw\n popw %ax");
CODE(16, v_popf, "popfw");
CODE(16, v_iret, "iretw");
CODE(16, v_int, "int $0x21");
CODE_AT(16, v_int3, v_int3_at, "int3\n1:");
CODE_AT(16, v_into, v_into_at, "into\n1:");
CODE(16, v_hlt, "hlt");
CODE(16, v_in, "inb $0x80, %al");
CODE(16, v_out, "outb %al, $0x80");
CODE(16, v_lock, ".byte 0xf0, 0x90");
CODE(16, v_lgdt, "lgdt (%bx)");
CODE(16, v_lldt, "lldt %ax");
CODE(16, v_arpl, ".byte 0x63, 0xc0");
CODE(16, v_cr0, "movl %cr0, %eax");
CODE(16, v_div, "divw %cx");
CODE(16, v_ud, "ud2");
CODE(16, v_over, "movw (%bx), %ax");
CODE(16, v_push, "pushw %ax");
CODE(16, v_far, "ljmp *(%bx)");
CODE(16, v_popf_all, "pushw %ax\n popfw\n pushfw\n popw %bx");
CODE(16, v_segs, "movw %ds, %ax\n movw %ss, %bx\n movw %cs, %cx\n movw %es, %dx");
CODE(32, h_v86_iret, "movl $0x600d, %edi\n iretl");
CODE(16, v_int30, "int $0x30\n movw $0x1111, %dx");

static void v86(const void *code, unsigned iopl)
{
	fresh_cs(code, 0, 0x2000);
	R.sp = 0x8000;
	R.ds = R.es = 0x3000;
	R.fs = 0x1111;
	R.gs = 0x2222;
	R.flags = 2 | F_VM | iopl << 12;
}
#define V86(iopl, code, ...) (v86(code, iopl), (void)0, ##__VA_ARGS__, run())

static void test_v86(void)
{
	static const struct {
		const char *name;
		char *code;
	} sensitive[] = {
		{ "v86.cli", v_cli },	{ "v86.sti", v_sti },	{ "v86.pushf", v_pushf },
		{ "v86.popf", v_popf }, { "v86.iret", v_iret }, { "v86.int", v_int },
	}, always[] = {
		{ "v86.hlt", v_hlt },	{ "v86.lgdt", v_lgdt }, { "v86.mov_cr0", v_cr0 },
	};

	idt_set(BP, D_INT32 | D_DPL(3));
	idt_set(OF, D_INT32 | D_DPL(3));
	MEM8(0x12340) = 0x5c;
	V86(3, v_mov, R.bx = 0);
	expect_end("v86.mov");
	check("v86.mov.al", R.ax & 0xff, 0x5c);
	check("v86.mov.es", R.es, 0x1234);
	check("v86.fs", R.fs, 0x1111);
	check("v86.gs", R.gs, 0x2222);
	check("v86.vm", R.flags & F_VM, F_VM);
	check("v86.sp", R.sp, 0x8000);
	V86(3, v_segs);
	check("v86.segs.ds", R.ax & 0xffff, 0x3000);
	check("v86.segs.ss", R.bx & 0xffff, 0x2000);
	for (unsigned i = 0; i < sizeof(sensitive) / sizeof(sensitive[0]); i++) {
		V86(0, sensitive[i].code);
		expect(sensitive[i].name, GP, 0, sensitive[i].code);
	}
	for (unsigned i = 0; i < sizeof(always) / sizeof(always[0]); i++) {
		V86(3, always[i].code, R.bx = 0);
		expect(always[i].name, GP, 0, always[i].code);
	}
	V86(3, v_cli);
	expect_end("v86.cli_iopl3");
	V86(3, v_pushf, R.flags |= F_CF);
	check("v86.pushf_iopl3", R.ax & 0xffff, 0x3003);
	V86(3, v_popf_all, R.ax = 0x7fff & ~F_TF);
	expect_end("v86.popf_iopl3");
	check("v86.popf_iopl3.flags", R.bx & 0xffff, 0x7ed7);
	V86(3, v_popf_all, R.ax = 2);
	check("v86.popf_iopl_kept", R.bx & 0xffff, 0x3002);
	V86(0, v_int3);
	expect("v86.int3", BP, -1, v_int3_at);
	V86(0, v_into, R.flags |= F_OF);
	expect("v86.into", OF, -1, v_into_at);
	/* INT n at IOPL 3 goes through the IDT, whose gate needs DPL 3. */
	V86(3, v_int);
	expect("v86.int_dpl", GP, 0x21 * 8 + 2, v_int);
	idt_set(0x21, D_INT32 | D_DPL(3));
	V86(3, v_int);
	expect("v86.int_iopl3", 0x21, -1, v_int + 2);
	/* The bitmap decides on ports, whatever IOPL says. */
	V86(3, v_in);
	expect("v86.in_denied", GP, 0, v_in);
	tss[TSS_IOMAP + 0x10] &= 0xfe;
	V86(0, v_in); /* at IOPL 0 the closing INT 0x80 is what faults */
	expect("v86.in_allowed", GP, 0, v_in + 2);
	V86(0, v_out);
	expect("v86.out_allowed", GP, 0, v_out + 2);
	tss[TSS_IOMAP + 0x10] |= 1;
	V86(3, v_lock);
	expect("v86.lock", UD, -1, v_lock);
	V86(3, v_lldt);
	expect("v86.lldt", UD, -1, v_lldt);
	V86(3, v_arpl);
	expect("v86.arpl", UD, -1, v_arpl);
	V86(3, v_div, R.cx = 0);
	expect("v86.div", DE, -1, v_div);
	V86(3, v_ud);
	expect("v86.ud", UD, -1, v_ud);
	V86(3, v_over, R.bx = 0xffff);
	expect("v86.over", GP, 0, v_over);
	V86(3, v_push, R.sp = 1);
	expect("v86.stack_over", SS, 0, v_push);
	MEM32(0x30000) = 0x01000000 | ((word)iret_target16 - 0x1000);
	V86(3, v_far, R.bx = 0);
	expect_end("v86.far");
	check("v86.far.cs", R.cs, 0x100);
	/* A handler's IRET goes back into the mode. */
	idt_target(0x30, h_v86_iret, SEL_KCS, D_INT32 | D_DPL(3));
	V86(3, v_int30);
	expect_end("v86.iret_back");
	check("v86.iret_back.edi", R.di, 0x600d);
	check("v86.iret_back.dx", R.dx & 0xffff, 0x1111);
	check("v86.iret_back.ds", R.ds, 0x3000);
	check("v86.iret_back.vm", R.flags & F_VM, F_VM);
	/* Inside the handler the data segments are null: seen through the kit's entry. */
	idt_target(0x30, h_frame, SEL_KCS, D_INT32 | D_DPL(3));
	V86(3, v_int30);
	expect_end("v86.handler");
	check("v86.handler.ds", R.ds, 0);
	check("v86.handler.gs", R.gs, 0);
	check("v86.handler.esp", R.sp, EXC_STACK - 36);
	check("v86.handler.flags", R.dx & F_VM, F_VM);
	/* A handler that is not in ring 0 is refused: #GP with its selector. */
	idt_target(0x30, h_frame, SEL_CS1, D_INT32 | D_DPL(3));
	V86(3, v_int30);
	expect("v86.handler_ring1", GP, SEL_CS1 & ~3, v_int30);
	idt_set(0x30, D_INT32);
	/* IRET in ring 3 cannot enter the mode. */
	TRY_USER(iret3, R.cx = 2 | F_VM, R.dx = SEL_UCS32, R.si = (word)iret_target);
	expect_end("v86.iret_user");
	check("v86.iret_user.vm", R.flags & F_VM, 0);
}

/* ---- VME: interrupts redirected inside virtual-8086 mode ---- */

static void redirect(unsigned vector, bool inside)
{
	uint8_t *byte = tss + TSS_SIZE + vector / 8;

	*byte = (uint8_t)(inside ? *byte & ~(1u << vector % 8) : *byte | (1u << vector % 8));
}

CODE(16, v_handler, "movw $0x4321, %si\n pushfw\n popw %di\n iretw");
CODE(16, v_int60, "int $0x60\n movw $0x1111, %dx");
CODE(16, v_sti_pushf, "sti\n pushfw\n popw %ax\n cli\n pushfw\n popw %bx");

#define F_VIF 0x80000
#define F_VIP 0x100000

static void test_vme(void)
{
	uint32_t old = MEM32(0x60 * 4);

	if (!(cpuid(1, 0).d >> 1 & 1)) {
		skip("vme");
		return;
	}
	write_cr4(read_cr4() | CR4_VME);
	MEM32(0x60 * 4) = (uint32_t)v_handler;
	redirect(0x60, true);
	V86(3, v_int60, R.flags |= F_IF);
	expect_end("vme.int_iopl3");
	check("vme.int_iopl3.si", R.si & 0xffff, 0x4321);
	check("vme.int_iopl3.dx", R.dx & 0xffff, 0x1111);
	check("vme.int_iopl3.if", R.di & F_IF, 0);
	V86(0, v_int60, R.flags |= F_VIF);
	expect("vme.int_iopl0", GP, 0, v_int60 + 5); /* the closing INT 0x80 is not redirected */
	check("vme.int_iopl0.si", R.si & 0xffff, 0x4321);
	check("vme.int_iopl0.vif_cleared", R.di & F_IF, 0);
	V86(0, v_sti_pushf);
	check("vme.sti", R.ax & F_IF, F_IF);
	check("vme.cli", R.bx & F_IF, 0);
	V86(0, v_sti, R.flags |= F_VIP);
	expect("vme.sti_vip", GP, 0, v_sti);
	redirect(0x60, false);
	V86(0, v_int60);
	expect("vme.not_redirected", GP, 0, v_int60);
	MEM32(0x60 * 4) = old;
	write_cr4(read_cr4() & ~CR4_VME);
}

void image_main(void)
{
	test_same_level();
	test_inward();
	test_iret();
	test_v86();
	test_vme();
}
