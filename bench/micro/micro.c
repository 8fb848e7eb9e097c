/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * What the parts of a kernel's life cost, without a kernel: switches of address space, single
 * invalidations, accesses to devices, interrupts.  Prints "micro NAME NANOSECONDS" lines to com1,
 * then "latency NAME P50 P99 MAX" in nanoseconds of how late the local APIC's timer comes, and ends
 * the machine.
 */
#include "bench/micro/micro.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <vmm/pc.h>

#define PAGE	     4096
#define TOUCHES	     16
#define WINDOW	     ((volatile uint64_t *)0x8000000000) /* the second entry of a PML4 */
#define PTE_RW	     3
#define CR3_KEEP     (1ull << 63)
#define BATCH_NS     2000000 /* shorter than a time slice: a busy host spares some */
#define BATCHES	     30
#define PIT_HZ	     1193182
#define PIT_COUNT    59659 /* 50 ms */
#define COM1_LSR     (PC_COM1_PORT + 5)
#define COM1_SCRATCH (PC_COM1_PORT + 7)
#define LSR_THRE     0x20
#define LAPIC_SVR    (PC_LAPIC_BASE + 0xf0)
#define LAPIC_ICR    (PC_LAPIC_BASE + 0x300)
#define LAPIC_TIMER  (PC_LAPIC_BASE + 0x320)
#define LAPIC_COUNT  (PC_LAPIC_BASE + 0x380)
#define LAPIC_NOW    (PC_LAPIC_BASE + 0x390)
#define LAPIC_DIVIDE (PC_LAPIC_BASE + 0x3e0)
#define DIVIDE_BY_1  0xb
#define LVT_MASKED   0x10000
#define LVT_DEADLINE 0x40000
#define MSR_DEADLINE 0x6e0
#define PIC1_MASK    (PC_PIC1_PORT + 1)
#define SHOTS	     1000
#define SHOT_US	     200 /* at least, and three times as much again at random */
#define ICR_SELF     (1u << 18)
#define MMIO32(a)    (*(volatile uint32_t *)(a))

extern uint64_t pml4[512];
extern char on_self[], on_soft[], on_timer[], on_other[];
volatile uint64_t self_count, soft_count, timer_tsc;

/* Two address spaces that differ in the window: its page i holds i in one and 256 + i in the other.
 */
static struct space {
	_Alignas(PAGE) uint64_t pml4[512], pdpt[512], pd[512], pt[512];
	_Alignas(PAGE) uint64_t pages[TOUCHES][512];
} spaces[2];

static struct {
	uint16_t offset0, selector, type;
	uint16_t offset1;
	uint32_t offset2, zero;
} idt[256];

/* ---- instructions ---- */

static inline void outb(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port));
}

static inline void outw(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port));
}

static inline uint8_t inb(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
	return value;
}

static inline uint64_t rdtsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static inline void wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

static inline void write_cr3(const uint64_t *table)
{
	__asm__ volatile("mov %0, %%cr3" : : "r"(table) : "memory");
}

/* The same of another PCID, of which nothing is to be dropped. */
static inline void switch_cr3(const uint64_t *table, uint64_t pcid)
{
	__asm__ volatile("mov %0, %%cr3" : : "r"((uint64_t)table | pcid) : "memory");
}

static bool offers(unsigned bit)
{
	uint32_t a = 1, b, c, d;

	__asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
	return c >> bit & 1;
}

static bool has_pcid(void)
{
	return offers(17);
}

static void set_pcide(bool on)
{
	uint64_t cr4;

	__asm__ volatile("mov %%cr4, %0" : "=r"(cr4));
	cr4 = on ? cr4 | CR4_PCIDE : cr4 & ~(uint64_t)CR4_PCIDE;
	__asm__ volatile("mov %0, %%cr4" : : "r"(cr4) : "memory");
}

/* ---- output ---- */

static void say(const char *text)
{
	for (; *text; text++) {
		while (!(inb(COM1_LSR) & LSR_THRE))
			;
		outb(PC_COM1_PORT, (uint8_t)*text);
	}
}

static void say_number(uint64_t n)
{
	char digits[24], *p = digits + sizeof(digits) - 1;

	*p = 0;
	do {
		*--p = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	say(p);
}

/* hyve by ACPI; a machine that knows no such port, by the keyboard controller's reset line. */
static _Noreturn void end(void)
{
	outw(PC_PM1A_CNT, PC_SLP_TYP_S5 << 10 | PC_SLP_EN);
	for (;;)
		outb(PC_I8042_STATUS, 0xfe);
}

_Noreturn void unexpected(void)
{
	say("micro: an exception\r\n");
	end();
}

/* ---- the machine ---- */

static void gate(unsigned vector, const char *target)
{
	uint64_t at = (uint64_t)target;

	idt[vector].offset0 = (uint16_t)at;
	idt[vector].selector = SEL_CODE64;
	idt[vector].type = 0x8e00;
	idt[vector].offset1 = (uint16_t)(at >> 16);
	idt[vector].offset2 = (uint32_t)(at >> 32);
}

static void interrupts_on(void)
{
	const struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} idtr = {sizeof(idt) - 1, (uint64_t)idt};

	for (unsigned i = 0; i < 32; i++)
		gate(i, on_other);
	gate(VEC_SELF, on_self);
	gate(VEC_SOFT, on_soft);
	gate(VEC_TIMER, on_timer);
	__asm__ volatile("lidt %0" : : "m"(idtr));
	outb(PC_PIC1_PORT + 1, 0xff);
	outb(PC_PIC2_PORT + 1, 0xff);
	MMIO32(LAPIC_SVR) = 0x1ff;
	__asm__ volatile("sti");
}

static void spaces_make(void)
{
	for (unsigned s = 0; s < 2; s++) {
		struct space *space = &spaces[s];

		space->pml4[0] = pml4[0];
		space->pml4[1] = (uint64_t)space->pdpt | PTE_RW;
		space->pdpt[0] = (uint64_t)space->pd | PTE_RW;
		space->pd[0] = (uint64_t)space->pt | PTE_RW;
		for (unsigned i = 0; i < TOUCHES; i++) {
			space->pt[i] = (uint64_t)space->pages[i] | PTE_RW;
			space->pages[i][0] = s * 256 + i;
		}
	}
	write_cr3(spaces[0].pml4);
}

/* TSC ticks in 50 ms of the PIT's second channel. */
static uint64_t ticks_50ms(void)
{
	uint64_t start;

	outb(PC_NMISC_PORT, (inb(PC_NMISC_PORT) & 0xfc) | 1);
	outb(PC_PIT_PORT + 3, 0xb0);
	outb(PC_PIT_PORT + 2, PIT_COUNT & 0xff);
	outb(PC_PIT_PORT + 2, PIT_COUNT >> 8);
	start = rdtsc();
	while (!(inb(PC_NMISC_PORT) & 0x20))
		;
	return rdtsc() - start;
}

/* ---- what is measured: n times, and whether it had the right effect ---- */

static bool cr3_and_touches(uint64_t n)
{
	uint64_t sum = 0, want = 0;

	for (uint64_t i = 0; i < n; i++) {
		write_cr3(spaces[i & 1].pml4);
		for (unsigned p = 0; p < TOUCHES; p++)
			sum += WINDOW[p * (PAGE / 8)];
		want += TOUCHES * ((i & 1) * 256) + TOUCHES * (TOUCHES - 1) / 2;
	}
	return sum == want;
}

static bool cr3_alone(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		write_cr3(spaces[i & 1].pml4);
	return true;
}

/* On a processor without PCIDs, plain CR3 writes. */
static bool switches(uint64_t n, unsigned touches)
{
	uint64_t sum = 0, want = 0, pcid[2] = {0, 0};

	if (has_pcid()) {
		write_cr3(spaces[0].pml4);
		set_pcide(true);
		pcid[0] = CR3_KEEP | 1;
		pcid[1] = CR3_KEEP | 2;
	}
	for (uint64_t i = 0; i < n; i++) {
		switch_cr3(spaces[i & 1].pml4, pcid[i & 1]);
		for (unsigned p = 0; p < touches; p++)
			sum += WINDOW[p * (PAGE / 8)];
		want += touches * ((i & 1) * 256) + touches * (touches - 1) / 2;
	}
	write_cr3(spaces[0].pml4);
	if (pcid[0])
		set_pcide(false);
	return sum == want;
}

static bool pcid_alone(uint64_t n)
{
	return switches(n, 0);
}

static bool pcid_and_touches(uint64_t n)
{
	return switches(n, TOUCHES);
}

static bool invlpg_and_touch(uint64_t n)
{
	uint64_t sum = 0;

	write_cr3(spaces[1].pml4);
	for (uint64_t i = 0; i < n; i++) {
		__asm__ volatile("invlpg (%0)" : : "r"(WINDOW) : "memory");
		sum += WINDOW[0];
	}
	return sum == n * 256;
}

/* The mapping changes each time, so the touch must see it. */
static bool remap_and_touch(uint64_t n)
{
	struct space *space = &spaces[0];
	uint64_t other = space->pt[1], own = space->pt[0], sum = 0;

	write_cr3(space->pml4);
	for (uint64_t i = 0; i < n; i++) {
		*(volatile uint64_t *)&space->pt[0] = i & 1 ? own : other;
		__asm__ volatile("invlpg (%0)" : : "r"(WINDOW) : "memory");
		sum += WINDOW[0];
	}
	space->pt[0] = own;
	write_cr3(space->pml4);
	return sum == (n + 1) / 2;
}

static bool port_of_chip(uint64_t n)
{
	uint8_t all = 0xff;

	for (uint64_t i = 0; i < n; i++)
		all &= inb(PIC1_MASK);
	return all == 0xff;
}

static bool port_of_device(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		outb(COM1_SCRATCH, (uint8_t)i);
	return inb(COM1_SCRATCH) == (uint8_t)(n - 1);
}

/* The configuration space of the first device: "pc" of QEMU has no such page. */
static bool mmio_of_device(uint64_t n)
{
	uint32_t first = MMIO32(PC_ECAM_BASE), all = first;

	for (uint64_t i = 0; i < n; i++)
		all &= MMIO32(PC_ECAM_BASE);
	return all == first;
}

static bool has_ecam(void)
{
	uint32_t id = MMIO32(PC_ECAM_BASE);

	return id != 0 && id != ~0u;
}

static bool mmio_of_chip(uint64_t n)
{
	uint32_t sum = 0;

	MMIO32(PC_IOAPIC_BASE) = 1;
	for (uint64_t i = 0; i < n; i++)
		sum |= MMIO32(PC_IOAPIC_BASE + 0x10);
	return (sum >> 16 & 0xff) == PC_IOAPIC_PINS - 1;
}

static bool soft_interrupt(uint64_t n)
{
	uint64_t before = soft_count;

	for (uint64_t i = 0; i < n; i++)
		__asm__ volatile("int %0" : : "i"(VEC_SOFT) : "memory");
	return soft_count == before + n;
}

/* Requested, delivered, its end signalled, and back. */
static bool self_interrupt(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++) {
		uint64_t before = self_count;

		MMIO32(LAPIC_ICR) = ICR_SELF | VEC_SELF;
		while (self_count == before)
			;
	}
	return true;
}

static const struct {
	const char *name;
	bool (*run)(uint64_t n);
	bool (*here)(void); /* NULL: everywhere */
} tests[] = {
	{"cr3", cr3_alone, NULL},
	{"cr3+16-touches", cr3_and_touches, NULL},
	{"pcid", pcid_alone, NULL},
	{"pcid+16-touches", pcid_and_touches, NULL},
	{"invlpg+touch", invlpg_and_touch, NULL},
	{"remap+invlpg+touch", remap_and_touch, NULL},
	{"port-of-chip", port_of_chip, NULL},
	{"port-of-device", port_of_device, NULL},
	{"mmio-of-chip", mmio_of_chip, NULL},
	{"mmio-of-device", mmio_of_device, has_ecam},
	{"int", soft_interrupt, NULL},
	{"interrupt", self_interrupt, NULL},
};

/* The quickest of some batches, in tenths of a nanosecond; 0: a wrong result. */
static uint64_t measure(bool (*run)(uint64_t n), uint64_t ticks_ms50)
{
	uint64_t n = 1, best = ~0ull, batches = 0;

	while (batches < BATCHES) {
		uint64_t start = rdtsc(), ticks;
		bool right = run(n);

		ticks = rdtsc() - start;
		if (!right)
			return 0;
		if (ticks < ticks_ms50 / 50 * (BATCH_NS / 1000000)) {
			n *= 2;
			continue;
		}
		ticks = ticks * 500000000 / ticks_ms50 / n;
		best = ticks < best ? ticks : best;
		batches++;
	}
	return best;
}

/* ---- how late a timer is ---- */

static uint64_t count_to_tsc; /* 32.32: TSC ticks for one of the timer's */

/* Arms the timer and says for when. */
static uint64_t arm(uint64_t ticks)
{
	uint64_t count = (ticks << 16) / (count_to_tsc >> 16), now = rdtsc();

	timer_tsc = 0;
	if (!count_to_tsc) {
		wrmsr(MSR_DEADLINE, now + ticks);
		return now + ticks;
	}
	MMIO32(LAPIC_COUNT) = (uint32_t)count;
	return now + (count * (count_to_tsc >> 16) >> 16);
}

static void wait_halted(void)
{
	__asm__ volatile("cli");
	while (!timer_tsc)
		__asm__ volatile("sti; hlt; cli" : : : "memory");
	__asm__ volatile("sti");
}

static void wait_busy(void)
{
	while (!timer_tsc)
		;
}

static void sort(uint64_t *v, unsigned n)
{
	for (unsigned i = 1; i < n; i++) {
		uint64_t t = v[i];
		unsigned j = i;

		for (; j > 0 && v[j - 1] > t; j--)
			v[j] = v[j - 1];
		v[j] = t;
	}
}

static void say_latency(const char *name, void (*wait)(void), uint64_t ticks_ms50)
{
	static uint64_t late[SHOTS];
	const uint64_t us = ticks_ms50 / 50000;
	uint64_t random = 0;

	for (unsigned i = 0; i < SHOTS; i++) {
		uint64_t due;

		random = random * 6364136223846793005 + 1442695040888963407;
		due = arm(us * (SHOT_US + (random >> 33) % (3 * SHOT_US)));
		wait();
		late[i] = timer_tsc > due ? timer_tsc - due : 0;
	}
	sort(late, SHOTS);
	say("latency ");
	say(name);
	for (unsigned i = 0; i < 3; i++) {
		static const unsigned at[] = {SHOTS / 2, SHOTS * 99 / 100, SHOTS - 1};

		say(" ");
		say_number(late[at[i]] * 50000000 / ticks_ms50);
	}
	say("\r\n");
}

/* By deadline where that is offered; else by a count, whose rate the TSC tells. */
static void timer_setup(uint64_t ticks_ms50)
{
	MMIO32(LAPIC_DIVIDE) = DIVIDE_BY_1;
	if (offers(24)) {
		MMIO32(LAPIC_TIMER) = LVT_DEADLINE | VEC_TIMER;
		return;
	}
	uint64_t start, counted;

	MMIO32(LAPIC_TIMER) = LVT_MASKED | VEC_TIMER;
	MMIO32(LAPIC_COUNT) = ~0u;
	start = rdtsc();
	while (rdtsc() - start < ticks_ms50)
		;
	counted = ~0u - MMIO32(LAPIC_NOW);
	count_to_tsc = ((rdtsc() - start) << 32) / counted;
	MMIO32(LAPIC_COUNT) = 0;
	MMIO32(LAPIC_TIMER) = VEC_TIMER;
}

void main(void)
{
	uint64_t ticks;

	interrupts_on();
	spaces_make();
	ticks = ticks_50ms();
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		uint64_t tenths;

		if (tests[i].here && !tests[i].here())
			continue;
		tenths = measure(tests[i].run, ticks);
		say("micro ");
		say(tests[i].name);
		say(" ");
		say_number(tenths / 10);
		say(".");
		say_number(tenths % 10);
		say(tenths ? "\r\n" : " WRONG\r\n");
	}
	timer_setup(ticks);
	say_latency("timer-halted", wait_halted, ticks);
	say_latency("timer-busy", wait_busy, ticks);
	say("bench: end\r\n");
	end();
}
