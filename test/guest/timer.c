/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Interrupts of the chips: PIT by PIC and I/O APIC, APIC timer, self-IPI, NMI, HLT. A 64-bit image. */
#include "kit.h"

#define LAPIC  0xfee00000ul
#define IOAPIC 0xfec00000ul
#define APIC(reg) MEM32(LAPIC + (reg))

enum { A_ID = 0x20, A_VERSION = 0x30, A_TPR = 0x80, A_PPR = 0xa0, A_EOI = 0xb0, A_SVR = 0xf0, A_ISR = 0x100,
	A_IRR = 0x200, A_ICR = 0x300, A_ICR2 = 0x310, A_LVT_TIMER = 0x320, A_LINT0 = 0x350, A_LINT1 = 0x360,
	A_INITIAL = 0x380, A_CURRENT = 0x390, A_DIVIDE = 0x3e0 };

CODE_AT(64, t_hlt, t_hlt_at, "sti\n hlt\n1: nop");
CODE(64, t_spin, "sti\n1: decq %rcx\n jnz 1b\n cli");
CODE_AT(64, t_scas, t_scas_at, "sti\n nop\n1: repne scasb\n cli");
CODE(64, t_nop, "sti\n nop\n nop\n cli");
CODE(64, t_nothing, "nop\n nop");
CODE(64, t_nmi, "movl $0x4402, (%rbx)\n movl $1000000, %ecx\n1: loop 1b");
CODE(64, t_nmi_handler, "incl nmis\n cmpl $1, nmis\n jne 2f\n movl $0x4402, (%rbx)\n pushq %rcx\n"
	"movl $100000, %ecx\n1: loop 1b\n movl nmis, %esi\n popq %rcx\n2: iretq");
CODE(64, t_cr8, "sti\n nop\n nop\n movq %rdx, %cr8\n nop\n nop\n cli");

volatile uint32_t nmis;

static bool irr(unsigned vector)
{
	return APIC(A_IRR + (vector >> 5) * 16) >> (vector & 31) & 1;
}

static bool isr(unsigned vector)
{
	return APIC(A_ISR + (vector >> 5) * 16) >> (vector & 31) & 1;
}

static void pic_init(uint8_t mask)
{
	static const uint8_t icw[][2] = { { 0x20, 0x11 }, { 0x21, 0x20 }, { 0x21, 4 }, { 0x21, 1 },
		{ 0xa0, 0x11 }, { 0xa1, 0x28 }, { 0xa1, 2 }, { 0xa1, 1 } };

	for (unsigned i = 0; i < sizeof(icw) / sizeof(icw[0]); i++)
		outb(icw[i][0], icw[i][1]);
	outb(0xa1, 0xff);
	outb(0x21, mask);
}

/* One tick after `count` periods of 838 ns. */
static void pit_oneshot(unsigned count)
{
	outb(0x43, 0x30);
	outb(0x40, (uint8_t)count);
	outb(0x40, (uint8_t)(count >> 8));
}

static void pit_periodic(unsigned count)
{
	outb(0x43, 0x34);
	outb(0x40, (uint8_t)count);
	outb(0x40, (uint8_t)(count >> 8));
}

/* A repeated instruction lets interrupts in, and its registers say how far it got. */
static void test_long_string(void)
{
	const word base = 0x400000, size = 0x800000;
	unsigned stops = 0;

	memset((void *)base, 0, size);
	MEM8(base + size - 1) = 1;
	pit_periodic(1200);
	TRY(t_scas, R.di = base, R.cx = size, R.ax = 1);
	while (R.vector == 0x20 && R.ip == (word)t_scas_at && R.cx + (R.di - base) == size) {
		stops++;
		outb(0x20, 0x20);
		R.flags &= ~(word)F_IF;
		R.ip = (word)t_scas;
		run();
	}
	if (R.vector == 0x20) /* behind it, while IF was still set */
		outb(0x20, 0x20);
	check_true("string.interrupted", stops > 0);
	check("string.rcx", R.cx, 0);
	check("string.rdi", R.di, base + size);
	check("string.found", R.flags & F_ZF, F_ZF);
	pit_oneshot(1);
}

/* The PIT's time is the host's, whose timers can be late: waits until IRQ 0 is requested. */
static void wait_irq0(void)
{
	outb(0x20, 0x0a);
	for (unsigned long n = 0; n < 20000000 && !(inb(0x20) & 1); n++)
		;
}

static void test_pic(void)
{
	APIC(A_SVR) = 0x1ff;
	APIC(A_LINT0) = 0x700; /* ExtINT: virtual wire */
	pic_init(0xfe);
	pit_oneshot(1000);
	TRY(t_hlt);
	expect("pic.pit_wakes_hlt", 0x20, -1, t_hlt_at);
	check("pic.in_service", (outb(0x20, 0x0b), inb(0x20)) & 1, 1);
	/* Without an EOI the line stays blocked. */
	pit_oneshot(1000);
	TRY(t_spin, R.cx = 3000000);
	expect_end("pic.blocked_until_eoi");
	wait_irq0();
	outb(0x20, 0x20);
	TRY(t_nop);
	expect("pic.after_eoi", 0x20, -1, t_nop + 2);
	outb(0x20, 0x20);
	/* Masked: pending in IRR only. */
	outb(0x21, 0xff);
	pit_oneshot(500);
	TRY(t_spin, R.cx = 3000000);
	wait_irq0();
	expect_end("pic.masked");
	check("pic.irr", (outb(0x20, 0x0a), inb(0x20)) & 1, 1);
	outb(0x21, 0xfe);
	TRY(t_nop);
	expect("pic.unmasked", 0x20, -1, t_nop + 2);
	outb(0x20, 0x20);
	/* A periodic tick, five times. */
	pit_periodic(2000);
	for (unsigned i = 0; i < 5; i++) {
		TRY(t_hlt);
		if (R.vector != 0x20)
			break;
		outb(0x20, 0x20);
	}
	expect("pic.periodic", 0x20, -1, t_hlt_at);
	/* It interrupts a loop that makes no exits. */
	TRY(t_spin, R.cx = 1ul << 40);
	check("pic.interrupts_a_loop", R.vector, 0x20);
	outb(0x20, 0x20);
	test_long_string();
	outb(0x21, 0xff);
	APIC(A_LINT0) = 0x10700;
	pit_oneshot(1);
	TRY(t_nop); /* a tick that was masked too late may come as the PIC's spurious vector */
}

static void ioapic(unsigned reg, uint32_t value)
{
	MEM32(IOAPIC) = reg;
	MEM32(IOAPIC + 0x10) = value;
}

static uint32_t ioapic_read(unsigned reg)
{
	MEM32(IOAPIC) = reg;
	return MEM32(IOAPIC + 0x10);
}

static void test_ioapic(void)
{
	check("ioapic.pins", ioapic_read(1) >> 16 & 0xff, 23);
	ioapic(0x11 + 2 * 2, APIC(A_ID));
	ioapic(0x10 + 2 * 2, 0x41);
	check("ioapic.readback", ioapic_read(0x10 + 2 * 2), 0x41);
	pit_oneshot(1000);
	TRY(t_hlt);
	expect("ioapic.pit", 0x41, -1, t_hlt_at);
	check("ioapic.isr", isr(0x41), 1);
	APIC(A_EOI) = 0;
	check("ioapic.eoi", isr(0x41), 0);
	ioapic(0x10 + 2 * 2, 0x10041);
	pit_oneshot(500);
	TRY(t_spin, R.cx = 3000000);
	expect_end("ioapic.masked");
}

static void test_lapic_timer(void)
{
	APIC(A_DIVIDE) = 0xb; /* by 1 */
	APIC(A_LVT_TIMER) = 0x42;
	APIC(A_INITIAL) = 50000;
	TRY(t_hlt);
	expect("timer.oneshot", 0x42, -1, t_hlt_at);
	check("timer.stopped", APIC(A_CURRENT), 0);
	APIC(A_EOI) = 0;
	APIC(A_LVT_TIMER) = 0x20043;
	APIC(A_INITIAL) = 100000;
	for (unsigned i = 0; i < 4; i++) {
		TRY(t_hlt);
		if (R.vector != 0x43)
			break;
		APIC(A_EOI) = 0;
	}
	expect("timer.periodic", 0x43, -1, t_hlt_at);
	APIC(A_LVT_TIMER) = 0x10043;
	APIC(A_INITIAL) = 0;
	TRY(t_nop);
	if (R.vector == 0x43)
		APIC(A_EOI) = 0;
	check("timer.current_zero", APIC(A_CURRENT), 0);
	if (cpuid(1, 0).c >> 24 & 1) {
		uint32_t lo, hi;
		uint64_t when;

		APIC(A_LVT_TIMER) = 0x40044;
		__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
		when = ((uint64_t)hi << 32 | lo) + 1000000;
		wrmsr(0x6e0, when);
		TRY(t_hlt);
		expect("timer.deadline", 0x44, -1, t_hlt_at);
		__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
		check_true("timer.deadline_not_early", ((uint64_t)hi << 32 | lo) >= when);
		check("timer.deadline_cleared", rdmsr(0x6e0), 0);
		APIC(A_EOI) = 0;
		APIC(A_LVT_TIMER) = 0x10000;
	} else {
		skip("timer.deadline");
	}
}

static void test_lapic(void)
{
	check("lapic.id", APIC(A_ID) >> 24, cpuid(1, 0).b >> 24);
	/* Self-IPI; TPR holds it back; priorities. */
	APIC(A_ICR) = 0x40051;
	check("ipi.pending", irr(0x51), 1);
	TRY(t_nop);
	expect("ipi.self", 0x51, -1, t_nop + 2);
	check("ipi.ppr", APIC(A_PPR) & 0xf0, 0x50);
	/* A lower one waits, a higher one comes through. */
	APIC(A_ICR) = 0x40041;
	TRY(t_nop);
	expect_end("ipi.lower_waits");
	APIC(A_ICR) = 0x40061;
	TRY(t_nop);
	expect("ipi.higher_nests", 0x61, -1, t_nop + 2);
	APIC(A_EOI) = 0;
	check("ipi.eoi_highest", isr(0x61) << 1 | isr(0x51), 1);
	APIC(A_EOI) = 0;
	TRY(t_nop);
	expect("ipi.lower_comes", 0x41, -1, t_nop + 2);
	APIC(A_EOI) = 0;
	/* CR8 is the TPR. */
	__asm__ volatile("mov %0, %%cr8" : : "r"(5ul));
	APIC(A_ICR) = 0x40051;
	TRY(t_cr8, R.dx = 4);
	check("tpr.held", R.vector, 0x51);
	check_true("tpr.rip", R.ip >= (word)t_cr8 + 7);
	APIC(A_EOI) = 0;
	__asm__ volatile("mov %0, %%cr8" : : "r"(0ul));
	/* Two at once: the higher first. */
	APIC(A_ICR) = 0x40071;
	APIC(A_ICR) = 0x40081;
	TRY(t_nop);
	expect("ipi.order", 0x81, -1, t_nop + 2);
	APIC(A_EOI) = 0;
	TRY(t_nop);
	expect("ipi.order_second", 0x71, -1, t_nop + 2);
	APIC(A_EOI) = 0;
	TRY(t_nop);
	expect_end("ipi.none_left");
	/* IF clear: nothing. */
	APIC(A_ICR) = 0x40051;
	TRY(t_nothing);
	expect_end("ipi.if_clear");
	TRY(t_nothing, R.flags = 2 | F_IF);
	expect("ipi.iret_if", 0x51, -1, t_nothing);
	APIC(A_EOI) = 0;
	/* In ring 3: to RSP0 or IST, and the right frame. */
	APIC(A_ICR) = 0x40052;
	TRY_USER(t_nothing, R.flags = 2 | F_IF);
	expect("ipi.user", 0x52, -1, t_nothing);
	check("ipi.user.cs", R.cs, SEL_UCS64);
	APIC(A_EOI) = 0;
}

static void test_nmi(void)
{
	APIC(A_ICR2) = APIC(A_ID);
	TRY(t_nmi, R.bx = LAPIC + A_ICR);
	check("nmi.self", R.vector, NMI);
	check("nmi.if_clear", R.flags & F_IF, 0);
	/* Inside the handler a second one waits for the IRET. */
	idt_target(NMI, t_nmi_handler, SEL_KCS, D_INT32);
	idt_ist(NMI, 1);
	nmis = 0;
	TRY(t_nmi, R.bx = LAPIC + A_ICR);
	expect_end("nmi.blocked");
	check("nmi.blocked.inside", R.si, 1);
	check("nmi.blocked.both", nmis, 2);
	idt_set(NMI, D_INT32);
	idt_ist(NMI, 1);
}

void image_main(void)
{
	/* The APICs are above what the boot tables map as memory: 4 GiB are mapped, that is enough. */
	MEM64(0x70000) |= 4;
	MEM64(0x71000) |= 4;
	MEM64(0x72000) |= 4;
	write_cr3(read_cr3());
	test_pic();
	test_ioapic();
	test_lapic_timer();
	test_lapic();
	test_nmi();
}
