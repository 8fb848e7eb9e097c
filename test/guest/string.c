/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Long string instructions over many pages that a software CPU may have joined into one: what they
 * copy, where they fault, and what their stores must not miss, before and after pages change.
 */
#include "range.h"

#define SRC   2	 /* first pages */
#define DST   34
#define PAGES 20
#define LEN   (PAGES * 0x1000ul)
#define USED  400 /* copies that make anything worth while */

static const struct paging_mode mode = { .levels = 4, .entry_size = 8 };

CODE_AT(64, s_movsb, s_movsb_at, "1: rep movsb");
CODE_AT(64, s_movsq, s_movsq_at, "1: rep movsq");
CODE_AT(64, s_down, s_down_at, "std\n 1: rep movsb\n cld");
CODE_AT(64, s_stosq, s_stosq_at, "1: rep stosq");
CODE_AT(64, s_scasb, s_scasb_at, "1: repe scasb");
CODE(64, s_lodsq, "rep lodsq");
CODE_AT(64, s_cmpsb, s_cmpsb_at, "1: repe cmpsb");

static word src, dst;

/* The byte that the model has at `at`. */
static uint8_t byte_of(word at)
{
	return frame_id(space->page[page_at(at) + 1].gpa);
}

/* All frames of the destination as they were. */
static void clean(void)
{
	for (int i = DST; i <= DST + PAGES; i++)
		if (flags_of(i) & PTE_P)
			frame_fill(space->page[i + 1].gpa);
}

/* Has [dst, dst + n) what the source's frames say? */
static bool copied(word n)
{
	bool ok = true;

	for (word i = 0; i < n; i += 97)
		ok &= MEM8(PHYS + space->page[page_at(dst + i) + 1].gpa + ((dst + i) & 0xfff)) ==
		      byte_of(src + i);
	return ok;
}

static void copy_up(void)
{
	TRY(s_movsb, R.si = src, R.di = dst, R.cx = LEN);
}

static void copy_down(void)
{
	TRY(s_down, R.si = src + LEN - 1, R.di = dst + LEN - 1, R.cx = LEN);
}

static void use(void)
{
	for (unsigned n = 0; n < (brief ? 4 : USED); n++)
		copy_up();
}

/* ---- one page changes ---- */

static void flush(unsigned how, int page)
{
	if (how % 2)
		write_cr3(space->root);
	else
		invlpg(page_gla(page) + 0x321);
}

static void test_copies(void)
{
	use();
	check("copy.end", R.vector, END);
	check("copy.rsi", R.si, src + LEN);
	check("copy.rdi", R.di, dst + LEN);
	check_true("copy.up", copied(LEN));
	clean();
	copy_down();
	check("copy.down.rsi", R.si, src - 1);
	check_true("copy.down", copied(LEN));
	clean();
	TRY(s_movsq, R.si = src, R.di = dst, R.cx = LEN / 8);
	check_true("copy.quads", copied(LEN));
	clean();
	TRY(s_stosq, R.di = dst, R.cx = LEN / 8, R.ax = 0x5a5a5a5a5a5a5a5a);
	check("stos", MEM8(dst) | MEM8(dst + LEN - 1) << 8, 0x5a5a);
	TRY(s_scasb, R.di = dst, R.cx = LEN + 1, R.ax = 0x5a);
	check("scas", R.cx, MEM8(dst + LEN) == 0x5a ? 1 : 0);
	clean();
	copy_up();
	TRY(s_cmpsb, R.si = src, R.di = dst, R.cx = LEN);
	check("cmps", R.cx | (R.flags & 0x40) << 32, 0x40ul << 32);
	clean();
}

static void test_remap(int page)
{
	uint64_t old = home(page);

	for (unsigned how = 0; how < 2; how++) {
		use();
		page_set(page, elsewhere(page), PTE_ALL);
		flush(how, page);
		copy_up();
		check_true("remap", copied(LEN));
		use();
		page_set(page, old, PTE_ALL);
		flush(how, page);
		copy_down();
		check_true("remap.back", copied(LEN));
	}
	clean();
}

/* How far a copy gets, up and down, when `page` is like that. */
static void test_fault(const char *name, int page, uint64_t flags, uint32_t error)
{
	word begin = page < DST ? src : dst, before = page_gla(page) - begin;
	uint64_t gpa = home(page);

	use();
	clean();
	page_set(page, gpa, flags);
	flush((unsigned)page, page);
	copy_up();
	expect_pf(name, error, s_movsb_at, page_gla(page));
	check("fault.rcx", R.cx, LEN - before);
	check("fault.rsi", R.si, src + before);
	check_true("fault.copied", copied(before));
	copy_down();
	expect_pf(name, error, s_down_at, page_gla(page) + 0xfff);
	check("fault.down.rcx", R.cx, before + 0x1000);
	page_set(page, gpa, PTE_ALL);
	flush(1, page);
	copy_up();
	check_true("fault.gone", copied(LEN));
	clean();
}

static void test_accessed_dirty(int page)
{
	const uint64_t want = PTE_A | (page >= DST ? PTE_D : 0);

	for (unsigned how = 0; how < 2; how++) {
		use();
		page_set(page, home(page), PTE_ALL);
		flush(how, page);
		copy_up();
		check("ad", entry_get(page_gla(page), level()) & (PTE_A | PTE_D), want);
	}
	clean();
}

/* mov $value, %al; int $0x80 at `at`. */
static void put_code(word at, uint8_t value)
{
	MEM32(at) = 0x80cd00b0 | (uint32_t)value << 8;
}

/* Code that a copy replaces. */
static void test_code(int page)
{
	word to = page_gla(page) + 0x204, from = src + (to - dst);

	for (unsigned n = 0; n < 4; n++) {
		put_code(to, 0x10);
		TRY((void *)to);
		check("code.before", R.ax & 0xff, 0x10);
		put_code(from, (uint8_t)(0x20 + n));
		if (n & 1)
			copy_down();
		else
			copy_up();
		TRY((void *)to);
		check("code.behind", R.ax & 0xff, 0x20 + n);
		if (n == 1)
			use();
	}
	for (int i = SRC; i <= SRC + PAGES; i++)
		frame_fill(space->page[i + 1].gpa);
	clean();
}

/* ---- what a copy reads it has written itself ---- */

/* Reads alone, so that the two sides of a copy may be found by different ways. */
static void use_by_reading(void)
{
	for (unsigned n = 0; n < (brief ? 4 : 4 * USED); n++)
		TRY(s_lodsq, R.si = dst, R.cx = LEN / 8);
}

static void test_overlap(void)
{
	static const unsigned by[] = { 1, 7, 64, 4096, 4097, 0x3001 };

	for (unsigned i = 0; i < sizeof(by) / sizeof(by[0]); i++) {
		word d = by[i];
		unsigned wrong = 0;

		write_cr3(space->root);
		use_by_reading();
		for (word k = 0; k < d; k++)
			MEM8(dst + k) = (uint8_t)(k * 37 + (k >> 8));
		TRY(s_movsb, R.si = dst, R.di = dst + d, R.cx = LEN - d);
		for (word k = d; k < LEN; k += 61)
			wrong += MEM8(dst + k) != (uint8_t)(k % d * 37 + (k % d >> 8));
		check("overlap", wrong, 0);
	}
	clean();
	/* Towards lower addresses it is an ordinary move. */
	use();
	TRY(s_movsb, R.si = dst + 4096, R.di = dst, R.cx = LEN - 4096);
	check("overlap.down", MEM8(dst + 0x4800), byte_of(src + 0x5800));
	clean();
}

static void setup(void)
{
	spaces[0].root = paging_build(&mode);
	for (word a = 0; a < 0x400000; a += 0x1000)
		map(a, a, PTE_P | PTE_W | PTE_G);
	for (word a = 0; a < 0x1000000; a += 0x200000)
		entry_set(PHYS + a, 2, a | PTE_P | PTE_W | PTE_G | PTE_PS);
	write_cr3(spaces[0].root);
	write_cr0((read_cr0() & ~(word)(CR0_EM | CR0_TS)) | CR0_WP | CR0_MP | CR0_NE);
	write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMM | CR4_PGE);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
}

void image_main(void)
{
	static const unsigned factors[] = { 37, 1, 0 }; /* shuffled, consecutive; 0: large pages */

	brief = be_brief();
	setup();
	for (unsigned i = 0; i < 3; i++) {
		if (factors[i])
			lay_small(factors[i], PTE_ALL);
		else
			lay_large(PTE_ALL, PTE_ALL);
		src = page_gla(SRC) + 0x123;
		dst = page_gla(DST) + (i == 1 ? 0x123 : 0x456);
		test_copies();
		test_overlap();
		test_code(DST + 7);
		if (large)
			continue; /* of which the image has but two */
		test_remap(SRC + 5);
		test_remap(DST + 11);
		test_accessed_dirty(SRC + 9);
		test_accessed_dirty(DST + 3);
		test_fault("fault.source", SRC + 6, PTE_W | PTE_U, 0);
		test_fault("fault.target", DST + 6, PTE_P | PTE_U, E_P | E_W);
	}
}
