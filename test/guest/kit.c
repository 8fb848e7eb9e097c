/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "kit.h"

#ifdef __x86_64__
#define IDT_WORDS 4
#else
#define IDT_WORDS 2
#endif

struct ctx R;
uint16_t real_sel = SEL_KDS16;
volatile uint32_t df_ran;
uint32_t idt[256 * IDT_WORDS] __attribute__((aligned(16)));
uint8_t tss[TSS_IOMAP + 0x2000 / 8 + 1] __attribute__((aligned(16)));

static unsigned passed, failed;

void *memcpy(void *dst, const void *src, __SIZE_TYPE__ n)
{
	void *d = dst;

	__asm__ volatile("rep movsb" : "+D"(d), "+S"(src), "+c"(n) : : "memory");
	return dst;
}

void *memset(void *dst, int c, __SIZE_TYPE__ n)
{
	void *d = dst;

	__asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
	return dst;
}

/* ---- output ---- */

void say(const char *text)
{
	for (; *text; text++)
		outb(0xe9, (uint8_t)*text);
}

void say_hex(uint64_t value)
{
	int shift = 60;

	while (shift > 0 && !(value >> shift))
		shift -= 4;
	for (; shift >= 0; shift -= 4)
		outb(0xe9, (uint8_t)"0123456789abcdef"[(value >> shift) & 15]);
}

static void say_dec(unsigned value)
{
	if (value >= 10)
		say_dec(value / 10);
	outb(0xe9, (uint8_t)('0' + value % 10));
}

static bool verdict(const char *name, bool ok)
{
	if (ok)
		passed++;
	else
		failed++;
	say(ok ? "ok " : "FAIL ");
	say(name);
	if (ok)
		say("\n");
	return ok;
}

void check(const char *name, uint64_t got, uint64_t want)
{
	if (verdict(name, got == want))
		return;
	say(" got=");
	say_hex(got);
	say(" want=");
	say_hex(want);
	say("\n");
}

void check_true(const char *name, bool ok)
{
	check(name, ok, 1);
}

void skip(const char *name)
{
	say("skip ");
	say(name);
	say("\n");
}

static void say_fault(word vector, word error, word ip)
{
	say_hex(vector);
	say("/");
	say_hex((uint32_t)error);
	say("@");
	say_hex(ip);
}

static void say_got(void)
{
	say(" got=");
	say_fault(R.vector, R.error, R.ip);
	say(" want=");
}

void expect(const char *name, unsigned vector, uint32_t error, const void *ip)
{
	if (verdict(name, R.vector == vector && (uint32_t)R.error == error && R.ip == (word)ip))
		return;
	say_got();
	say_fault(vector, error, (word)ip);
	say("\n");
}

void expect_end(const char *name)
{
	if (verdict(name, R.vector == END))
		return;
	say_got();
	say("end\n");
}

void expect_pf(const char *name, uint32_t error, const void *ip, word cr2)
{
	bool ok = R.vector == PF && (uint32_t)R.error == error && R.ip == (word)ip && R.cr2 == cr2;

	if (verdict(name, ok))
		return;
	say_got();
	say_fault(PF, error, (word)ip);
	say(" cr2=");
	say_hex(R.cr2);
	say("/");
	say_hex(cr2);
	say("\n");
}

/* ---- register files ---- */

void fresh_cs(const void *code, uint16_t cs, uint16_t ss)
{
	R = (struct ctx){
		.ax = 0x00000000, .cx = 0x01000000, .dx = 0x02000000, .bx = 0x03000000,
		.sp = STACK_TOP, .bp = 0x05000000, .si = 0x06000000, .di = 0x07000000,
#ifdef __x86_64__
		.r8 = 0x08000000, .r9 = 0x09000000, .r10 = 0x0a000000, .r11 = 0x0b000000,
		.r12 = 0x0c000000, .r13 = 0x0d000000, .r14 = 0x0e000000, .r15 = 0x0f000000,
#endif
		.ip = (word)code, .flags = 2, .cs = cs, .ss = ss, .ds = ss, .es = ss,
	};
}

void fresh(const void *code)
{
	fresh_cs(code, SEL_KCS, SEL_KDS);
}

void fresh_user(const void *code)
{
#ifdef __x86_64__
	fresh_cs(code, SEL_UCS64, SEL_UDS);
#else
	fresh_cs(code, SEL_UCS32, SEL_UDS);
#endif
}

/* ---- descriptors ---- */

uint64_t descriptor(uint32_t base, uint32_t limit, uint32_t access)
{
	uint32_t lo = (base << 16) | (limit & 0xffff);
	uint32_t hi = (base & 0xff000000) | ((access & 0xf000) << 8) | (limit & 0xf0000) |
		((access & 0xff) << 8) | ((base >> 16) & 0xff);

	return ((uint64_t)hi << 32) | lo;
}

uint64_t gate(uint32_t target, uint16_t sel, uint32_t access, unsigned count)
{
	uint32_t lo = ((uint32_t)sel << 16) | (target & 0xffff);
	uint32_t hi = (target & 0xffff0000) | ((access & 0xff) << 8) | (count & 0x1f);

	return ((uint64_t)hi << 32) | lo;
}

void gdt_set(uint16_t sel, uint64_t value)
{
	gdt[sel >> 3] = value;
}

void idt_target(unsigned vector, const void *target, uint16_t sel, uint32_t access)
{
	uint32_t *e = &idt[vector * IDT_WORDS];
	uint64_t g = gate((uint32_t)(word)target, sel, access, 0);

	e[0] = (uint32_t)g;
	e[1] = (uint32_t)(g >> 32);
}

void idt_set(unsigned vector, uint32_t access)
{
	idt_target(vector, stubs + vector * STUB_SIZE, SEL_KCS, access);
}

#ifdef __x86_64__
void idt_ist(unsigned vector, unsigned ist)
{
	idt[vector * IDT_WORDS + 1] = (idt[vector * IDT_WORDS + 1] & ~7u) | ist;
}
#endif

void idt_reset(void)
{
	for (unsigned v = 0; v < 256; v++) {
		idt_set(v, D_INT32 | (v == END ? D_DPL(3) : 0));
#ifdef __x86_64__
		idt_ist(v, 1);
#endif
	}
#ifndef __x86_64__
	idt_target(DF, (void *)0, SEL_DFTSS, D_TASK);
#endif
}

/* ---- instructions ---- */

struct regs4 cpuid(uint32_t leaf, uint32_t subleaf)
{
	struct regs4 r;

	__asm__ volatile("cpuid"
			 : "=a"(r.a), "=b"(r.b), "=c"(r.c), "=d"(r.d)
			 : "a"(leaf), "c"(subleaf));
	return r;
}

bool is_amd(void)
{
	return cpuid(0, 0).c == 0x444d4163; /* "cAMD" */
}

bool in_tcg(void)
{
	return cpuid(0x40000000, 0).b == 0x54474354; /* "TCGT" */
}

/* A port of guest_test.c; elsewhere it reads all ones. */
bool be_brief(void)
{
	return inb(0xe8) == 1;
}

uint64_t rdmsr(uint32_t msr)
{
	uint32_t lo, hi;

	__asm__ volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
	return ((uint64_t)hi << 32) | lo;
}

void wrmsr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

/* ---- start ---- */

#ifdef __x86_64__
static void tss_init(void)
{
	*(uint64_t *)(tss + 4) = EXC_STACK;  /* RSP0 */
	*(uint64_t *)(tss + 36) = EXC_STACK; /* IST1 */
	gdt_set(SEL_TSS, descriptor((uint32_t)(word)tss, sizeof(tss) - 1, D_TSS32));
	gdt_set(SEL_TSS + 8, 0);
}
#else
extern char df_task[], real_stubs[];
uint32_t dftss[26];

static void tss_init(void)
{
	uint32_t *t = (uint32_t *)tss;

	t[1] = EXC_STACK;
	t[2] = SEL_KDS;
	gdt_set(SEL_TSS, descriptor((uint32_t)tss, sizeof(tss) - 1, D_TSS32));
	dftss[7] = read_cr3();
	dftss[8] = (uint32_t)df_task;
	dftss[9] = 2;
	dftss[14] = DF_STACK;
	dftss[18] = SEL_KDS;
	dftss[19] = SEL_KCS;
	dftss[20] = dftss[21] = SEL_KDS;
	gdt_set(SEL_DFTSS, descriptor((uint32_t)dftss, sizeof(dftss) - 1, D_TSS32));
	for (unsigned v = 0; v < 256; v++)
		((volatile uint32_t *)0)[v] = (uint32_t)real_stubs + v * 8;
}
#endif

void finish_line(void)
{
	say("done ");
	say_dec(passed);
	say(" ");
	say_dec(failed);
	say("\n");
}

static void __attribute__((noreturn)) finish(void)
{
	finish_line();
	outl(0xf4, failed != 0);
	/* Bochs ends by a word of its own. */
	for (const char *p = "Shutdown"; *p; p++)
		outb(0x8900, (uint8_t)*p);
	for (;;)
		__asm__ volatile("cli; hlt");
}

/* An exception in the kit or in a test's own C code. */
void kit_crash(void);
void kit_crash(void)
{
	verdict("kit.crash", false);
	say_got();
	say("none\n");
	finish();
}

void kit_main(void);
void kit_main(void)
{
	/* Everything denied to ring 3 in the I/O bitmap, no redirection of vm86 interrupts. */
	*(uint16_t *)(tss + 102) = TSS_IOMAP;
	memset(tss + TSS_SIZE, 0xff, sizeof(tss) - TSS_SIZE);
	tss_init();
	idt_reset();
	__asm__ volatile("ltr %w0" : : "r"(SEL_TSS));
	/* Not the PIC's interrupts: they would come on vectors 8 and up. */
	outb(0x21, 0xff);
	outb(0xa1, 0xff);
	image_main();
	finish();
}
