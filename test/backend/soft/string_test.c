/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Translated string instructions against a model that goes byte by byte through a page table of its own.
 *
 * The guest has a window of linear pages.  What is behind them changes: the physical pages in their order, in
 * any order, the same one several times, missing ones, read-only ones, a device.  Each case is one
 * instruction with random registers, run twice, so that the second finds everything cached.
 *
 * STRING_N: cases (4000), STRING_SEED.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <pthread.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include <vmm/vmm.h>
#include <vmm/vmm_dev.h>

#include "backend/backend.h"

#define RAM_SIZE (4u << 20)
#define PML4	 0x1000u
#define PDPT	 0x2000u
#define PD	 0x3000u
#define PT	 0x4000u /* of the window */
#define IDT	 0x7000u
#define GDT	 0x8000u
#define HANDLER	 0x9000u
#define STACK	 0x20000u
#define CODE	 0x30000u
#define DATA	 0x100000u /* physical */
#define PAGES	 48u
#define WINDOW	 0x40000000u /* linear */
#define DEVICE	 0xd0000000u
#define EVEN	 0x1111111111111111ull

enum right { RIGHT_NONE, RIGHT_READ, RIGHT_WRITE, RIGHT_DEVICE };

struct page {
	enum right right;
	unsigned number; /* of the physical page */
};

struct guest {
	struct vm *vm;
	uint8_t *ram;
	struct vm_run run;
	uint64_t seed;
	struct page page[PAGES];
};

/* One instruction and the registers that it works on. */
struct string {
	uint8_t opcode, rep; /* MOVS, CMPS, STOS, LODS or SCAS of bytes */
	unsigned size;
	bool addr32, back;
	uint64_t rax, rcx, rsi, rdi, rflags;
};

enum { MOVS = 0xa4, CMPS = 0xa6, STOS = 0xaa, LODS = 0xac, SCAS = 0xae };

enum end { END_DONE, END_FAULT, END_DEVICE };

struct model {
	uint8_t data[PAGES * 4096];
	uint64_t cr2;
	bool write; /* what faulted */
};

static uint64_t next_random(struct guest *g)
{
	g->seed ^= g->seed << 13;
	g->seed ^= g->seed >> 7;
	g->seed ^= g->seed << 17;
	return g->seed * 0x2545f4914f6cdd1dull >> 16;
}

static unsigned below(struct guest *g, unsigned n)
{
	return (unsigned)(next_random(g) % n);
}

static void put64(struct guest *g, uint64_t gpa, uint64_t v)
{
	memcpy(g->ram + gpa, &v, 8);
}

static void set(struct guest *g, int reg, uint64_t value)
{
	assert_int_equal(vm_set_register(g->vm, 0, reg, value), 0);
}

static uint64_t get(struct guest *g, int reg)
{
	uint64_t value;

	assert_int_equal(vm_get_register(g->vm, 0, reg, &value), 0);
	return value;
}

static void set_segment(struct guest *g, int reg, uint16_t sel, uint32_t access)
{
	struct seg_desc d = {.base = 0, .limit = 0xffffffff, .access = access};

	assert_int_equal(vm_set_seg_desc(g->vm, 0, reg, &d), 0);
	set(g, reg, sel);
}

static void build_tables(struct guest *g)
{
	put64(g, PML4, PDPT | 7);
	put64(g, PDPT, PD | 7);
	put64(g, PDPT + 8, (PD + 0x1000) | 7);
	put64(g, PD, 0x87);
	put64(g, PD + 8, 0x200087);
	put64(g, PD + 0x1000, (PT + 0x1000) | 7);
	for (unsigned i = 0; i < 32; i++) {
		put64(g, IDT + 16 * i, HANDLER | 0x08ull << 16 | 0x8e00ull << 32);
		put64(g, IDT + 16 * i + 8, 0);
	}
	put64(g, GDT + 8, 0x00af9b000000ffffull);
	put64(g, GDT + 16, 0x00cf93000000ffffull);
	memcpy(g->ram + HANDLER, "\xe7\xe8", 2); /* out %eax, $0xe8 */
}

static int set_up(void **state)
{
	static const struct {
		int reg;
		uint64_t value;
	} regs[] = {
		{VM_REG_GUEST_CR3, PML4},	 {VM_REG_GUEST_CR4, 0x20},
		{VM_REG_GUEST_EFER, 0xd00},	 {VM_REG_GUEST_CR0, 0x80010033},
		{VM_REG_GUEST_RSP, STACK},	 {VM_REG_GUEST_RFLAGS, 2},
	};
	struct seg_desc idt = {.base = IDT, .limit = 0x1ff}, gdt = {.base = GDT, .limit = 0x17};
	struct guest *g = calloc(1, sizeof(*g));
	const char *seed = getenv("STRING_SEED");
	void *cookie;

	assert_non_null(g);
	g->seed = seed ? strtoull(seed, NULL, 0) : (uint64_t)time(NULL) << 8 | 1;
	assert_int_equal(vm_create_on(&vmm_ops_soft, "string", &g->vm), 0);
	assert_int_equal(vm_malloc(g->vm, 0, RAM_SIZE), 0);
	g->ram = vm_gpa_hold(g->vm, 0, 4096, 3, &cookie);
	vm_gpa_release(cookie);
	build_tables(g);
	assert_int_equal(vm_activate_cpu(g->vm, 0), 0);
	assert_int_equal(vcpu_set_state(g->vm, 0, VCPU_FROZEN, true), 0);
	for (size_t i = 0; i < sizeof(regs) / sizeof(regs[0]); i++)
		set(g, regs[i].reg, regs[i].value);
	set_segment(g, VM_REG_GUEST_CS, 8, 0xa09b);
	for (int reg = VM_REG_GUEST_SS; reg <= VM_REG_GUEST_GS; reg++)
		set_segment(g, reg, 16, 0xc093);
	set_segment(g, VM_REG_GUEST_ES, 16, 0xc093);
	assert_int_equal(vm_set_seg_desc(g->vm, 0, VM_REG_GUEST_IDTR, &idt), 0);
	assert_int_equal(vm_set_seg_desc(g->vm, 0, VM_REG_GUEST_GDTR, &gdt), 0);
	*state = g;
	return 0;
}

static int tear_down(void **state)
{
	struct guest *g = *state;

	assert_int_equal(vcpu_set_state(g->vm, 0, VCPU_IDLE, false), 0);
	vm_destroy(g->vm);
	free(g);
	return 0;
}

/* ---- the window ---- */

static void map_page(struct guest *g, unsigned i, struct page page)
{
	static const uint64_t bits[] = {
		[RIGHT_READ] = 1, [RIGHT_WRITE] = 3, [RIGHT_DEVICE] = 3};
	uint64_t to = page.right == RIGHT_DEVICE ? DEVICE : DATA + 4096u * page.number;

	g->page[i] = page;
	put64(g, PT + 0x1000 + 8 * i, page.right == RIGHT_NONE ? 0 : to | bits[page.right]);
}

/* Runs of pages in their order mostly. */
static void map_window(struct guest *g)
{
	unsigned style = below(g, 4), number = below(g, PAGES);

	for (unsigned i = 0; i < PAGES; i++) {
		struct page page = {RIGHT_WRITE, number};

		number = (number + 1) % PAGES;
		if (style == 3 || (style && below(g, 6) == 0))
			number = below(g, PAGES);
		if (style > 1 && below(g, 12) == 0)
			page.right = (enum right)below(g, 4);
		map_page(g, i, page);
	}
	set(g, VM_REG_GUEST_CR3, PML4);
}

/* ---- the model ---- */

/* Byte of the window, or NULL: m->cr2, or a device. */
static uint8_t *byte_at(struct guest *g, struct model *m, uint64_t gla, bool write, enum end *end)
{
	const struct page *p = &g->page[(gla - WINDOW) >> 12];

	if (gla < WINDOW || gla >= WINDOW + PAGES * 4096u || p->right == RIGHT_NONE ||
		(write && p->right == RIGHT_READ)) {
		m->cr2 = gla;
		m->write = write;
		*end = END_FAULT;
		return NULL;
	}
	if (p->right == RIGHT_DEVICE) {
		*end = END_DEVICE;
		return NULL;
	}
	return m->data + p->number * 4096 + (gla & 0xfff);
}

/* Addresses of an element's bytes.  A fault comes before a device, the device before anything is stored. */
static enum end element(
	struct guest *g, struct model *m, uint64_t gla, unsigned size, bool write, uint8_t *at[8])
{
	enum end found = END_DONE, end = END_DONE;

	for (unsigned i = 0; i < size; i++) {
		end = END_DONE;
		at[i] = byte_at(g, m, gla + i, write, &end);
		if (end == END_FAULT)
			return end;
		if (end == END_DEVICE)
			found = end;
	}
	return found;
}

static void put_reg(struct string *s, uint64_t *reg, uint64_t value)
{
	*reg = s->addr32 ? (uint32_t)value : value;
}

static bool uses_si(const struct string *s)
{
	return s->opcode == MOVS || s->opcode == LODS || s->opcode == CMPS;
}

static bool compares(const struct string *s)
{
	return s->opcode == CMPS || s->opcode == SCAS;
}

static uint64_t collect(uint8_t *const at[8], unsigned size)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < size; i++)
		value |= (uint64_t)*at[i] << 8 * i;
	return value;
}

/* Status flags of a - b. */
static uint64_t flags_of(uint64_t a, uint64_t b, unsigned size)
{
	unsigned top = 8 * size - 1;
	uint64_t mask = UINT64_MAX >> (63 - top), d, flags = 0;

	a &= mask;
	b &= mask;
	d = (a - b) & mask;
	flags |= a < b ? 1 : 0;
	flags |= __builtin_parity((unsigned)d & 0xff) ? 0 : 4;
	flags |= (a ^ b ^ d) & 0x10;
	flags |= d == 0 ? 0x40 : 0;
	flags |= d >> top ? 0x80 : 0;
	flags |= ((a ^ b) & (a ^ d)) >> top ? 0x800 : 0;
	return flags;
}

/* What the element does with its values, once both sides may be accessed. */
static void act(struct string *s, uint8_t *const src[8], uint8_t *const dst[8])
{
	uint64_t from = uses_si(s) ? collect(src, s->size) : s->rax;

	if (compares(s)) {
		s->rflags = (s->rflags & ~0x8d5ull) | flags_of(from, collect(dst, s->size), s->size);
	} else if (s->opcode == LODS) {
		s->rax = s->size == 4 ? 0 : s->rax & ~(UINT64_MAX >> (64 - 8 * s->size));
		s->rax |= from;
	} else {
		for (unsigned i = 0; i < s->size; i++)
			*dst[i] = (uint8_t)(from >> 8 * i);
	}
}

static enum end one_element(struct guest *g, struct model *m, struct string *s)
{
	uint64_t mask = s->addr32 ? UINT32_MAX : UINT64_MAX;
	uint64_t step = s->back ? -(uint64_t)s->size : s->size;
	enum end end[2] = {END_DONE, END_DONE};
	uint8_t *src[8], *dst[8];

	if (uses_si(s))
		end[0] = element(g, m, s->rsi & mask, s->size, false, src);
	if (end[0] != END_FAULT && s->opcode != LODS)
		end[1] = element(g, m, s->rdi & mask, s->size, !compares(s), dst);
	if (end[0] == END_FAULT || end[1] == END_FAULT)
		return END_FAULT;
	if (end[0] != END_DONE || end[1] != END_DONE)
		return END_DEVICE;
	act(s, src, dst);
	if (uses_si(s))
		put_reg(s, &s->rsi, (s->rsi & mask) + step);
	if (s->opcode != LODS)
		put_reg(s, &s->rdi, (s->rdi & mask) + step);
	return END_DONE;
}

/* Leaves in s what is to be in the registers. */
static enum end run_model(struct guest *g, struct model *m, struct string *s)
{
	uint64_t mask = s->addr32 ? UINT32_MAX : UINT64_MAX;

	if (!s->rep)
		return one_element(g, m, s);
	while (s->rcx & mask) {
		enum end end = one_element(g, m, s);

		if (end != END_DONE)
			return end;
		put_reg(s, &s->rcx, (s->rcx & mask) - 1);
		if (compares(s) && !(s->rflags & 0x40) == (s->rep == 0xf3))
			break;
	}
	return END_DONE;
}

/* ---- a case ---- */

static uint64_t pointer(struct guest *g)
{
	uint64_t at = WINDOW + 4096u * below(g, PAGES);

	switch (below(g, 4)) {
	case 0:
		return at;
	case 1:
		return at + 4096 - 1 - below(g, 70);
	case 2:
		return at + 8 * below(g, 512);
	default:
		return at + below(g, 4096);
	}
}

static uint64_t count_of(struct guest *g, unsigned size)
{
	switch (below(g, 6)) {
	case 0:
	case 1:
		return below(g, 65);
	case 2:
		return 4096 / size;
	case 3:
		return below(g, 4096 / size + 2);
	case 4:
		return below(g, 40000 / size);
	default:
		return below(g, 160000 / size);
	}
}

static struct string random_string(struct guest *g)
{
	static const uint8_t rep[] = {0xf3, 0xf3, 0xf3, 0xf2, 0};
	static const uint8_t opcode[] = {MOVS, MOVS, MOVS, STOS, STOS, LODS, CMPS, CMPS, SCAS, SCAS};
	struct string s = {
		.opcode = opcode[below(g, sizeof(opcode))],
		.rep = rep[below(g, sizeof(rep))],
		.size = 1u << below(g, 4),
		.addr32 = below(g, 6) == 0,
		.back = below(g, 4) == 0,
		.rax = below(g, 2) ? next_random(g) << 20 ^ next_random(g) : EVEN,
		.rsi = pointer(g),
		.rdi = pointer(g),
	};

	s.rcx = count_of(g, s.size);
	if (below(g, 3) == 0) /* feeds on itself */
		s.rdi = s.rsi + below(g, 160) - 80;
	if (s.addr32 && below(g, 2)) { /* above what counts */
		s.rcx |= 5ull << 32;
		s.rsi |= 6ull << 32;
		s.rdi |= 7ull << 32;
	}
	s.rflags = 2 | (next_random(g) & 0x8d5) | (s.back ? 0x400 : 0);
	return s;
}

static unsigned put_code(struct guest *g, const struct string *s)
{
	uint8_t *code = g->ram + CODE;
	unsigned n = 0;

	if (s->addr32)
		code[n++] = 0x67;
	if (s->size == 2)
		code[n++] = 0x66;
	if (s->rep)
		code[n++] = s->rep;
	if (s->size == 8)
		code[n++] = 0x48;
	code[n++] = (uint8_t)(s->opcode | (s->size != 1));
	memcpy(code + n, "\xe7\xe9", 2);
	vm_mem_written(g->vm, CODE, n + 2);
	return n;
}

static void load_registers(struct guest *g, const struct string *s)
{
	set(g, VM_REG_GUEST_RAX, s->rax);
	set(g, VM_REG_GUEST_RCX, s->rcx);
	set(g, VM_REG_GUEST_RSI, s->rsi);
	set(g, VM_REG_GUEST_RDI, s->rdi);
	set(g, VM_REG_GUEST_RFLAGS, s->rflags);
	set(g, VM_REG_GUEST_RSP, STACK);
}

static enum end how_it_ended(struct guest *g, unsigned len)
{
	const struct vm_exit *x = &g->run.vm_exit;

	if (x->exitcode != VM_EXITCODE_INOUT) {
		assert_int_equal(x->exitcode, VM_EXITCODE_INST_EMUL);
		assert_int_equal(x->rip, CODE);
		return END_DEVICE;
	}
	if (x->u.inout.port == 0xe9) {
		assert_int_equal(x->rip, CODE + len);
		return END_DONE;
	}
	assert_int_equal(x->u.inout.port, 0xe8);
	return END_FAULT;
}

static void check_fault(struct guest *g, const struct model *m, const struct string *s)
{
	uint64_t error, rip, rflags;

	memcpy(&error, g->ram + STACK - 48, 8);
	memcpy(&rip, g->ram + STACK - 40, 8);
	memcpy(&rflags, g->ram + STACK - 24, 8);
	assert_int_equal(get(g, VM_REG_GUEST_CR2), m->cr2);
	assert_int_equal(error & 2, m->write ? 2 : 0);
	assert_int_equal(rip, CODE);
	/* A comparison's are those of the last element, or those of before (SDM vol. 2, REP). */
	assert_int_equal(rflags & 0x400, s->rflags & 0x400);
	if (!compares(s))
		assert_int_equal(rflags & 0x8d5, s->rflags & 0x8d5);
}

static void run_case(struct guest *g, struct model *m, struct string s)
{
	unsigned len = put_code(g, &s);
	enum end end;

	memcpy(m->data, g->ram + DATA, sizeof(m->data));
	load_registers(g, &s);
	end = run_model(g, m, &s);
	g->run = (struct vm_run){.cpuid = 0, .rip = CODE};
	assert_int_equal(vm_run(g->vm, &g->run), 0);
	assert_int_equal(how_it_ended(g, len), end);
	if (end == END_FAULT)
		check_fault(g, m, &s);
	else
		assert_int_equal(get(g, VM_REG_GUEST_RFLAGS) & 0xcd5, s.rflags & 0xcd5);
	assert_int_equal(get(g, VM_REG_GUEST_RAX), s.rax);
	assert_int_equal(get(g, VM_REG_GUEST_RCX), s.rcx);
	assert_int_equal(get(g, VM_REG_GUEST_RSI), s.rsi);
	assert_int_equal(get(g, VM_REG_GUEST_RDI), s.rdi);
	assert_memory_equal(g->ram + DATA, m->data, sizeof(m->data));
}

/* Comparisons go far where all is the same. */
static void fill(struct guest *g)
{
	bool even = below(g, 2);

	for (unsigned i = 0; i < PAGES * 4096; i += 8)
		put64(g, DATA + i,
			even && below(g, 2000) ? EVEN : next_random(g) << 16 ^ next_random(g));
}

static void test_model(void **state)
{
	struct guest *g = *state;
	unsigned long cases = getenv("STRING_N") ? strtoul(getenv("STRING_N"), NULL, 0) : 4000;
	struct model *m = malloc(sizeof(*m));

	assert_non_null(m);
	printf("seed %#llx\n", (unsigned long long)g->seed);
	for (unsigned long i = 0; i < cases; i++) {
		struct string s;

		if (i % 16 == 0) {
			fill(g);
			map_window(g);
		}
		s = random_string(g);
		run_case(g, m, s);
		run_case(g, m, s);
	}
	free(m);
}

/* ---- between instructions ---- */

/* Code ends with OUT to port 0xe9 and its result in EAX. */
#define SNIPPET(name, code)                                                                        \
	extern const uint8_t name[], name##_end[];                                                 \
	__asm__(".pushsection .rodata\n" #name ":\n" code "\nout %eax, $0xe9\n" #name              \
		"_end:\n.popsection\n")
#define RUN(g, name) run_snippet(g, name, (size_t)(name##_end - name))

static uint32_t run_snippet(struct guest *g, const uint8_t *code, size_t len)
{
	memcpy(g->ram + CODE, code, len);
	vm_mem_written(g->vm, CODE, len);
	g->run = (struct vm_run){.cpuid = 0, .rip = CODE};
	assert_int_equal(vm_run(g->vm, &g->run), 0);
	assert_int_equal(g->run.vm_exit.exitcode, VM_EXITCODE_INOUT);
	assert_int_equal(g->run.vm_exit.u.inout.port, 0xe9);
	return g->run.vm_exit.u.inout.eax;
}

/* CF lives on behind both, R12..R15 and RAX stay; the second time round without a miss. */
SNIPPET(between, "xor %ebx, %ebx\n mov $3, %r12d\n mov $0x12345678, %eax\n mov $9, %edx\n"
		 "1: mov $0x110000, %edi\n mov $40, %ecx\n stc\n rep stosq\n adc $0, %ebx\n"
		 "mov $0x110000, %esi\n mov $0x111000, %edi\n mov $4096, %ecx\n stc\n rep movsb\n adc %ecx, %ebx\n"
		 "mov $100, %ecx\n mov $0x110008, %edi\n clc\n rep stosb\n adc $0, %ebx\n"
		 "dec %r12d\n jnz 1b\n cmp $0x12345678, %eax\n jne 2f\n cmp %eax, 0x111000\n jne 2f\n"
		 "shl $8, %r12d\n lea (%rbx,%r12), %eax\n jmp 3f\n 2: xor %eax, %eax\n 3:");

static void test_between(void **state)
{
	assert_int_equal(RUN(*state, between), 6);
}

/* STD and CLD keep the status flags, and PUSHF sees what they did; the kernel's CLD comes before anything. */
SNIPPET(direction, "mov $0x7fffffff, %ecx\n xor %eax, %eax\n std\n add $1, %ecx\n cld\n std\n pushf\n pop %rax\n"
		   "mov $0x110100, %edi\n mov $3, %ecx\n rep stosb\n cmp $0x1100fd, %edi\n jne 1f\n stc\n cld\n"
		   "jnc 1f\n pushf\n pop %rbx\n mov $3, %ecx\n rep stosw\n cmp $0x110103, %edi\n jne 1f\n"
		   "and $0xcd5, %eax\n and $0xc01, %ebx\n shl $16, %ebx\n or %ebx, %eax\n jmp 2f\n 1: xor %eax, %eax\n 2:");

static void test_direction(void **state)
{
	assert_int_equal(RUN(*state, direction), 0x10000 | 0xc94);
}

/* What follows is overwritten while it is being translated code. */
SNIPPET(own_code, "mov $2, %ebx\n 2: mov $7, %edx\n lea 1f(%rip), %rdi\n mov $0x90, %eax\n mov $5, %ecx\n"
		  "rep stosb\n 1: mov $8, %edx\n dec %ebx\n jnz 2b\n mov %edx, %eax\n");
/* The same with a copy that begins pages before. */
SNIPPET(own_code_far, "mov $7, %edx\n lea 1f(%rip), %rdi\n sub $0x5000, %rdi\n mov $0x150000, %esi\n"
		      "mov $0x5005, %ecx\n rep movsb\n 1: mov $8, %edx\n mov %edx, %eax\n");

static void test_own_code(void **state)
{
	struct guest *g = *state;

	assert_int_equal(RUN(g, own_code), 7);
	memset(g->ram + 0x150000, 0x90, 0x6000);
	assert_int_equal(RUN(g, own_code_far), 7);
}

/* A function in each of 16 pages, called, replaced by one copy, called again; then by STOSQ to RETs. */
SNIPPET(functions, "xor %eax, %eax\n mov $3, %r12d\n"
		   "1: mov $0x120000, %ebx\n 2: call *%rbx\n add $4096, %ebx\n cmp $0x130000, %ebx\n jb 2b\n"
		   "dec %r12d\n jz 4f\n cmp $1, %r12d\n je 3f\n"
		   "mov $0x140000, %esi\n mov $0x120000, %edi\n mov $0x10000, %ecx\n rep movsb\n jmp 1b\n"
		   "3: push %rax\n mov $0x120000, %edi\n movabs $0xc3c3c3c3c3c3c3c3, %rax\n"
		   "mov $0x2000, %ecx\n rep stosq\n pop %rax\n jmp 1b\n 4:");

static void put_functions(struct guest *g, uint32_t at, uint32_t add)
{
	for (unsigned i = 0; i < 16; i++) {
		uint8_t *p = g->ram + at + 4096 * i;

		p[0] = 0x05; /* add eax, imm32 */
		memcpy(p + 1, &add, 4);
		p[5] = 0xc3;
	}
	vm_mem_written(g->vm, at, 0x10000);
}

static void test_functions(void **state)
{
	struct guest *g = *state;

	for (unsigned round = 0; round < 3; round++) {
		put_functions(g, 0x120000, 1);
		put_functions(g, 0x140000, 0x100);
		assert_int_equal(RUN(g, functions), 0x1010);
	}
}

#define BEGUN 0x9000

static void *suspend_soon(void *arg)
{
	struct guest *g = arg;

	while (!*(volatile uint8_t *)(g->ram + BEGUN))
		usleep(1000);
	usleep(10000);
	vm_suspend(g->vm, VM_SUSPEND_POWEROFF);
	return NULL;
}

SNIPPET(endless, "movb $1, 0x9000\n 1: mov $0x100000, %edi\n mov $0x100001, %esi\n mov $0x200000, "
		 "%ecx\n rep movsb\n jmp 1b\n");

/* False: it was between two of them. */
static bool stopped_inside(struct guest *g)
{
	uint64_t rcx, rsi, rdi;
	pthread_t thread;

	memcpy(g->ram + CODE, endless, (size_t)(endless_end - endless));
	g->run = (struct vm_run){.cpuid = 0, .rip = CODE};
	assert_int_equal(pthread_create(&thread, NULL, suspend_soon, g), 0);
	assert_int_equal(vm_run(g->vm, &g->run), 0);
	pthread_join(thread, NULL);
	assert_int_equal(g->run.vm_exit.exitcode, VM_EXITCODE_SUSPENDED);
	rcx = get(g, VM_REG_GUEST_RCX);
	rsi = get(g, VM_REG_GUEST_RSI);
	rdi = get(g, VM_REG_GUEST_RDI);
	assert_in_range(rcx, 0, 0x200000);
	if (rcx == 0)
		return false;
	assert_int_equal(rcx + rdi, 0x300000);
	assert_int_equal(rsi, rdi + 1);
	return true;
}

/* A long one stops between two elements, to be gone on with. */
static void test_suspend(void **state)
{
	for (unsigned tries = 0; !stopped_inside(*state); tries++) {
		assert_true(tries < 5);
		tear_down(state);
		assert_int_equal(set_up(state), 0);
	}
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(model), TEST(between), TEST(direction), TEST(own_code), TEST(functions), TEST(suspend),
	};

	return cmocka_run_group_tests_name("string", tests, NULL, NULL);
}
