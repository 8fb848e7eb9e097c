/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "range.h"

#define LEARN 20480 /* accesses that make anything worth while */

/* ---- the instructions ---- */

LOOP(load1, "1: movzbl (%rbx), %eax\n xorb 16(%rsi), %al\n orq %rax, %rdx");
LOOP(load2, "1: movzwl (%rbx), %eax\n xorw 16(%rsi), %ax\n orq %rax, %rdx");
LOOP(load4, "1: movl (%rbx), %eax\n xorl 16(%rsi), %eax\n orq %rax, %rdx");
LOOP(load8, "1: movq (%rbx), %rax\n xorq 16(%rsi), %rax\n orq %rax, %rdx");
LOOP(load16, "movups 16(%rsi), %xmm1\n 1: movups (%rbx), %xmm0\n pxor %xmm1, %xmm0\n"
	"movq %xmm0, %rax\n psrldq $8, %xmm0\n orq %rax, %rdx\n movq %xmm0, %rax\n orq %rax, %rdx");
LOOP(store1, "movb 16(%rsi), %al\n 1: movb %al, (%rbx)");
LOOP(store2, "movw 16(%rsi), %ax\n 1: movw %ax, (%rbx)");
LOOP(store4, "movl 16(%rsi), %eax\n 1: movl %eax, (%rbx)");
LOOP(store8, "movq 16(%rsi), %rax\n 1: movq %rax, (%rbx)");
LOOP(store16, "movups 16(%rsi), %xmm0\n 1: movups %xmm0, (%rbx)");
/* Reads and writes: the page must be good for a write. */
LOOP(swap4, "movl 16(%rsi), %eax\n 1: xchgl %eax, (%rbx)");

const struct op ops[OPS] = {
	{ load1, load1_at, 1, false },	   { load2, load2_at, 2, false },
	{ load4, load4_at, 4, false },	   { load8, load8_at, 8, false },
	{ load16, load16_at, 16, false },  { store1, store1_at, 1, true },
	{ store2, store2_at, 2, true },	   { store4, store4_at, 4, true },
	{ store8, store8_at, 8, true },	   { store16, store16_at, 16, true },
	{ swap4, swap4_at, 4, true },
};

/* ---- the model ---- */

struct space spaces[2], *space = spaces;
bool large, smap, brief;
uint8_t avoid[N + 2];
unsigned bad;
static uint64_t learnt; /* the first page of the layout that was learnt last */
static unsigned notes;

int page_at(word gla)
{
	return (int)((int64_t)(gla - LIN) >> 12);
}

uint8_t frame_id(uint64_t gpa)
{
	uint64_t frame = gpa >> 12;

	return (uint8_t)(frame + (frame >> 10) * 0x40);
}

uint64_t flags_of(int page)
{
	return space->page[page + 1].flags;
}

/* Error code of a data access, or -1. */
static int fault_of(enum who who, bool write, int page)
{
	uint64_t flags = flags_of(page);
	unsigned error = (write ? E_W : 0) | (who == USER_MODE ? E_U : 0);

	if (!(flags & PTE_P))
		return (int)error;
	error |= E_P;
	if (write && !(flags & PTE_W))
		return (int)error;
	if (who == USER_MODE)
		return flags & PTE_U ? -1 : (int)error;
	return smap && who == KERNEL && flags & PTE_U ? (int)error : -1;
}

void model_set(int page, uint64_t gpa, uint64_t flags)
{
	space->page[page + 1].gpa = gpa;
	space->page[page + 1].flags = flags;
}

void small_set(int page, uint64_t gpa, uint64_t flags)
{
	model_set(page, gpa, flags);
	map(page_gla(page), gpa, flags);
}

void large_set(int page, uint64_t gpa, uint64_t flags)
{
	int half = page < N / 2 ? 0 : 1;

	for (int i = half ? N / 2 : -1; i < (half ? N + 1 : N / 2); i++)
		model_set(i, gpa + (page_gla(i) & 0x1fffff), flags);
	entry_set(page_gla(page), 2, gpa | flags | PTE_PS);
}

unsigned level(void)
{
	return large ? 2 : 1;
}

uint64_t home(int page)
{
	return space->page[page + 1].gpa & ~(large ? 0x1fffffull : 0xfffull);
}

uint64_t elsewhere(int page)
{
	if (large)
		return OTHER_GPA + (page < N / 2 ? 0 : 0x200000);
	return (POOL + N + (unsigned)page) << 12;
}

void page_set(int page, uint64_t gpa, uint64_t flags)
{
	if (large)
		large_set(page, gpa, flags);
	else
		small_set(page, gpa, flags);
}

/* ---- hammer and probes ---- */

uint32_t dice(void)
{
	static uint32_t x = 2463534242;

	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	return x;
}

void op_note(const char *what, const struct op *op, enum who who, word at)
{
	bad++;
	if (notes++ > 12)
		return;
	say("note ");
	say(what);
	say(op->write ? " store" : " load");
	say_hex(op->size);
	say(who == KERNEL ? " kernel" : who == USER_MODE ? " user" : " ac");
	say(" page=");
	say_hex((uint64_t)page_at(at) & 0xff);
	say(" offset=");
	say_hex(at & 0xfff);
	say(" got=");
	say_hex(R.vector);
	say("/");
	say_hex((uint32_t)R.error);
	say(" cr2=");
	say_hex(R.cr2);
	say(" dx=");
	say_hex(R.dx);
	say("\n");
}

void op_run(const struct op *op, enum who who, unsigned n)
{
	if (who == USER_MODE)
		fresh_alias(op->code);
	else
		fresh(op->code);
	if (who == KERNEL_AC)
		R.flags |= F_AC;
	R.si = TABLE + (who == USER_MODE ? USER_ALIAS : 0);
	R.cx = n;
	R.dx = 0;
	run();
}

static uint64_t bytes(int page)
{
	return frame_id(space->page[page + 1].gpa) * 0x0101010101010101ull;
}

void value_at(word at, uint64_t value[2])
{
	unsigned first = 0x1000 - (at & 0xfff);
	uint64_t lo = bytes(page_at(at)), hi;

	value[0] = value[1] = lo;
	if (first >= 16)
		return;
	hi = bytes(page_at(at) + 1);
	value[0] = first >= 8 ? lo : lo >> (64 - 8 * first) | hi << 8 * first;
	value[1] = first <= 8 ? hi : lo >> (64 - 8 * (first - 8)) | hi << 8 * (first - 8);
}

static bool usable(enum who who, bool write, int page)
{
	return page >= 0 && page < N && !avoid[page + 1] && fault_of(who, write, page) < 0;
}

/* Random places, some of them across two pages; 0x10 to 0x1ff of each page are left alone. */
static bool table_build(enum who who, bool write, unsigned stride)
{
	struct access *a = (struct access *)TABLE;
	unsigned tries = 0;
	int page = 0;

	for (unsigned i = 0; i < ENTRIES && tries < 64 * ENTRIES; tries++) {
		uint32_t r = dice();
		word at;

		page = stride ? (page + (int)stride) % N : (int)(r % N);
		at = page_gla(page) +
		     (r >> 8 & 3 ? 0x200 + (r >> 10) % 0xdf0 : 0xff1 + (r >> 10) % 15);
		if (!usable(who, write, page) ||
			((at & 0xfff) > 0xff0 && !usable(who, write, page + 1)))
			continue;
		a[i].at = at;
		value_at(at, a[i++].value);
	}
	return tries < 64 * ENTRIES;
}

static void run_ops(enum who who, bool write, unsigned times)
{
	for (unsigned i = 0; i < OPS; i++)
		for (unsigned n = 0; n < times && ops[i].write == write; n++) {
			op_run(&ops[i], who, ENTRIES);
			if (R.vector != END || R.dx)
				op_note("hammer", &ops[i], who, R.vector == PF ? R.cr2 : LIN);
		}
}

void hammer_ops(enum who who, bool write, unsigned times)
{
	if (table_build(who, write, times & 1 ? 0 : 3))
		run_ops(who, write, times);
}

/* One table for all, of pages that let everybody in. */
static void hammer_briefly(void)
{
	if (!table_build(USER_MODE, true, 0))
		return;
	for (enum who who = KERNEL; who <= KERNEL_AC; who++) {
		if (who == (smap ? KERNEL : KERNEL_AC))
			continue;
		run_ops(who, false, 1);
		run_ops(who, true, 1);
	}
}

void hammer(void)
{
	if (brief) {
		hammer_briefly();
		return;
	}
	for (enum who who = KERNEL; who <= (smap ? KERNEL_AC : USER_MODE); who++) {
		hammer_ops(who, false, 2);
		hammer_ops(who, true, 3);
	}
}

void learn(enum who who)
{
	if (brief && (large || learnt == space->page[1].gpa))
		goto out;
	learnt = space->page[1].gpa;
	for (unsigned n = 0; n < LEARN / ENTRIES; n++) {
		if (n % 64 == 0)
			table_build(who, true, 0);
		op_run(&ops[LOAD8], who, ENTRIES);
		if (R.vector != END || R.dx)
			op_note("learn", &ops[LOAD8], who, LIN);
	}
out:
	hammer();
	hammer();
}

static uint8_t *frame_byte(word at)
{
	return (uint8_t *)(PHYS + space->page[page_at(at) + 1].gpa + (at & 0xfff));
}

/* Do [at, at + 16), of which `size` bytes were stored, hold that, and the others their frame's? */
static bool stored(word at, const uint8_t *value, unsigned size)
{
	bool ok = true;

	for (unsigned i = 0; i < 16; i++)
		if (flags_of(page_at(at + i)) & PTE_P || space->page[page_at(at + i) + 1].gpa)
			ok &= *(volatile uint8_t *)frame_byte(at + i) ==
			      (i < size ? value[i]
					: frame_id(space->page[page_at(at + i) + 1].gpa));
	return ok;
}

static void restore(word at, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		*(volatile uint8_t *)frame_byte(at + i) =
			frame_id(space->page[page_at(at + i) + 1].gpa);
}

/* One access: its fault, or its value and nothing else. */
static void probe_op(const struct op *op, enum who who, word at)
{
	struct access *a = (struct access *)TABLE;
	int first = page_at(at), last = page_at(at + op->size - 1);
	int want = fault_of(who, op->write, first);
	word cr2 = at;

	if (want < 0 && last != first) {
		want = fault_of(who, op->write, last);
		cr2 = page_gla(last);
	}
	a->at = at;
	value_at(at, a->value);
	if (op->write) {
		a->value[0] = ~a->value[0];
		a->value[1] = ~a->value[1];
	}
	op_run(op, who, 1);
	if (want >= 0) {
		if (R.vector != PF || (uint32_t)R.error != (uint32_t)want || R.cr2 != cr2 ||
			R.ip != (word)(who == USER_MODE ? USER(op->at) : op->at))
			op_note("fault", op, who, at);
	} else if (R.vector != END || R.dx) {
		op_note("value", op, who, at);
	}
	if (!op->write)
		return;
	if (!stored(at, (uint8_t *)a->value, want < 0 ? op->size : 0))
		op_note("stored", op, who, at);
	if (want < 0)
		restore(at, op->size);
}

/* Each instruction at the page's ends, inside, and across its borders. */
static void probe(int page)
{
	for (unsigned i = 0; i < OPS; i++)
		for (enum who who = KERNEL; who <= (smap ? KERNEL_AC : USER_MODE); who++) {
			unsigned size = ops[i].size;

			if (brief && dice() % 8)
				continue;
			probe_op(&ops[i], who, page_gla(page) + 0x210 + dice() % 0xd00);
			probe_op(&ops[i], who, page_gla(page));
			probe_op(&ops[i], who, page_gla(page) + 0x1000 - size);
			if (size == 1)
				continue;
			probe_op(&ops[i], who, page_gla(page) - 1 - dice() % (size - 1));
			probe_op(&ops[i], who, page_gla(page) + 0x1000 - 1 - dice() % (size - 1));
		}
}

void frame_fill(uint64_t gpa)
{
	uint64_t left = 0x1000 / 8, at = PHYS + gpa;

	__asm__ volatile("rep stosq"
			 : "+D"(at), "+c"(left)
			 : "a"(frame_id(gpa) * 0x0101010101010101ull)
			 : "memory");
}

/* All bytes of a frame are still its own. */
static bool frame_intact(uint64_t gpa)
{
	uint64_t left = 0x1000 / 8, at = PHYS + gpa;
	bool same;

	__asm__ volatile("repe scasq"
			 : "+D"(at), "+c"(left), "=@cce"(same)
			 : "a"(frame_id(gpa) * 0x0101010101010101ull)
			 : "memory");
	return same;
}

/* Fills the frames of all layouts, or looks whether they are as they were. */
static void frames_do(bool fill)
{
	static const uint64_t from[] = { POOL << 12, LARGE_GPA + 0x1df000, OTHER_GPA + 0x1df000 };
	static const unsigned n[] = { 2 * N, N + 2, N + 2 };

	for (unsigned k = 0; k < 3; k++)
		for (unsigned i = 0; i < n[k]; i++) {
			uint64_t gpa = from[k] + i * 0x1000;

			if (fill)
				frame_fill(gpa);
			else if (!frame_intact(gpa) && notes++ < 12) {
				bad++;
				say("note frame ");
				say_hex(gpa);
				say("\n");
			}
		}
}

void verify(const char *name, int page)
{
	bad = 0;
	probe(page);
	hammer();
	probe(page);
	probe((page + 17) % N);
	if (!brief || dice() % 32 == 0)
		frames_do(false);
	check(name, bad, 0);
}

/* ---- layouts ---- */

void lay_small(unsigned factor, uint64_t flags)
{
	large = false;
	entry_set(LIN, 2, 0);
	entry_set(page_gla(N / 2), 2, 0);
	small_set(-1, 0, 0);
	small_set(N, 0, 0);
	for (int i = 0; i < N; i++)
		small_set(i, (POOL + ((unsigned)i * factor + factor / 2) % N) << 12, flags);
	write_cr3(space->root);
	frames_do(true);
}

void lay_large(uint64_t flags0, uint64_t flags1)
{
	large = true;
	large_set(0, LARGE_GPA, flags0);
	large_set(N - 1, LARGE_GPA + 0x200000, flags1);
	write_cr3(space->root);
	frames_do(true);
}
