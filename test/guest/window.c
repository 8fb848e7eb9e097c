/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Ranges of pages that a software CPU may have joined into one, and what must part them again.
 *
 * The same few instructions, loads and stores of 1 to 16 bytes, go over 64 pages until whatever
 * learns from that has learnt; then one page changes, in the middle or at an edge, and each of the
 * instructions looks at it at once, and again after more of the same (range.h).  The pages are
 * scattered in guest-physical memory, or consecutive, or parts of two 2 MiB pages.
 */
#include "range.h"

static const struct paging_mode mode = { .levels = 4, .entry_size = 8 };

LOOP(other8, "1: movq (%rbx), %rax\n xorq 16(%rsi), %rax\n orq %rax, %rdx");

/* ---- what changes ---- */

static void flush(unsigned how, int page)
{
	if (how % 2)
		write_cr3(space->root);
	else
		invlpg(page_gla(page) + dice() % 0x1000);
}

static void test_remap(int page)
{
	for (unsigned how = 0; how < 2; how++) {
		uint64_t old = home(page);

		page_set(page, elsewhere(page), PTE_ALL);
		flush(how, page);
		verify("remap.there", page);
		page_set(page, old, PTE_ALL);
		flush(how, page);
		verify("remap.back", page);
	}
}

static void test_protect(int page)
{
	static const struct {
		const char *name;
		uint64_t flags;
	} cases[] = {
		{ "protect.absent", PTE_W | PTE_U },
		{ "protect.readonly", PTE_P | PTE_U },
		{ "protect.supervisor", PTE_P | PTE_W },
		{ "protect.nx", PTE_ALL | PTE_NX },
	};
	uint64_t gpa = home(page);

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		page_set(page, gpa, cases[i].flags);
		flush(i + (unsigned)page, page);
		verify(cases[i].name, page);
		if (cases[i].flags & PTE_NX) {
			TRY((void *)page_gla(page));
			expect_pf("protect.nx.fetch", E_P | E_I, (void *)page_gla(page),
				page_gla(page));
		}
		page_set(page, gpa, PTE_ALL);
		if (cases[i].flags & PTE_P) /* what is absent is not cached */
			flush(i + (unsigned)page + 1, page);
		verify("protect.back", page);
	}
}

static uint64_t ad(int page)
{
	return entry_get(page_gla(page), level()) & (PTE_A | PTE_D);
}

static void touch(unsigned op, enum who who, int page)
{
	struct access *a = (struct access *)TABLE;

	a->at = page_gla(page) + 0x808;
	value_at(a->at, a->value);
	op_run(&ops[op], who, 1);
}

static void avoid_entry(int page, bool on)
{
	memset(avoid, 0, sizeof(avoid));
	for (int i = 0; on && i < N; i++)
		avoid[i + 1] = large ? (i < N / 2) == (page < N / 2) : i == page;
}

static void test_accessed_dirty(int page)
{
	uint64_t gpa = home(page);

	bad = 0;
	for (enum who who = KERNEL; who <= USER_MODE; who++) {
		page_set(page, gpa, PTE_ALL);
		flush(0, page);
		avoid_entry(page, true);
		hammer();
		avoid_entry(page, false);
		check("ad.others", ad(page), 0);
		touch(LOAD8, who, page);
		check("ad.load", ad(page), PTE_A);
		hammer_ops(KERNEL, false, 3);
		hammer_ops(USER_MODE, false, 3);
		check("ad.loads", ad(page), PTE_A);
		touch(STORE8, who, page);
		check("ad.store", ad(page), PTE_A | PTE_D);
		hammer();
		/* D alone, then A alone. */
		page_set(page, gpa, PTE_ALL | PTE_A);
		flush(1, page);
		hammer_ops(who, false, 3);
		avoid_entry(page, true);
		hammer();
		avoid_entry(page, false);
		check("ad.clean_loads", ad(page), PTE_A);
		touch(STORE8, (enum who)(KERNEL + USER_MODE - who), page);
		check("ad.clean_store", ad(page), PTE_A | PTE_D);
		page_set(page, gpa, PTE_ALL | PTE_D);
		flush(0, page);
		avoid_entry(page, true);
		hammer();
		avoid_entry(page, false);
		check("ad.old", ad(page), PTE_D);
		touch(who == KERNEL ? STORE8 : LOAD8, who, page);
		check("ad.old_again", ad(page), PTE_A | PTE_D);
		page_set(page, gpa, PTE_ALL);
		flush(0, page);
	}
	check("ad.values", bad, 0);
}

/* mov $value, %al; int $0x80 */
static void put_code(word at, uint8_t value)
{
	MEM32(at) = 0x80cd00b0 | (uint32_t)value << 8;
}

static void code_changes(word at, const struct op *op, unsigned before)
{
	struct access *a = (struct access *)TABLE;

	for (unsigned n = 0; n < 4; n += 1 + brief) {
		uint8_t value = (uint8_t)(0x31 + 16 * n + op->size);

		TRY((void *)at);
		hammer_ops(n & 2 ? USER_MODE : KERNEL, true, brief ? 1 : 3);
		a->at = at + 1 - before;
		value_at(a->at, a->value);
		((uint8_t *)a->value)[before] = value;
		for (unsigned i = 1; i < 3; i++) /* behind the value: int $0x80 */
			((uint8_t *)a->value)[before + i] = i == 1 ? 0xcd : 0x80;
		if (before)
			((uint8_t *)a->value)[before - 1] = 0xb0;
		op_run(op, n & 2 ? KERNEL : USER_MODE, 1);
		TRY((void *)at);
		if (R.vector != END || (R.ax & 0xff) != value)
			op_note("code", op, KERNEL, at);
	}
}

static void test_code(int page)
{
	static const unsigned stores[] = { STORE1, STORE1 + 1, STORE4, STORE8, STORE16 };

	bad = 0;
	put_code(page_gla(page) + 0x100, 0x11);
	put_code(page_gla(page), 0x12);
	for (unsigned i = 0; i < 5; i++)
		code_changes(page_gla(page) + 0x100, &ops[stores[i]], 0);
	check("code.inside", bad, 0);
	/* By a store that begins in the page before. */
	avoid_entry(page, !large); /* of the hammer's own there are none */
	if (flags_of(page - 1) & PTE_P)
		code_changes(page_gla(page), &ops[STORE8], 4);
	if (flags_of(page - 1) & PTE_P)
		code_changes(page_gla(page), &ops[STORE16], 9);
	avoid_entry(page, false);
	check("code.across", bad, 0);
	frame_fill(space->page[page + 1].gpa);
	if (flags_of(page - 1) & PTE_P)
		frame_fill(space->page[page].gpa);
	verify("code.gone", page);
}

static void test_changes(unsigned kind)
{
	static const int pages[] = { 0, 1, 30, N / 2, N - 1 };

	for (unsigned i = 0; i < sizeof(pages) / sizeof(pages[0]); i++) {
		if ((large || brief) && pages[i] != 30 && pages[i] != N - 1)
			continue;
		test_remap(pages[i]);
		if ((i + kind) % 2 == 0 || large)
			test_protect(pages[i]);
		test_accessed_dirty(pages[i]);
		test_code(pages[i]);
	}
}

/* Every other page is clean; the others are used. */
static void test_every_other(void)
{
	unsigned wrong = 0;

	bad = 0;
	for (int i = 0; i < N; i++) {
		small_set(i, home(i), PTE_ALL);
		avoid[i + 1] = i & 1;
	}
	write_cr3(space->root);
	hammer();
	for (int i = 1; i < N; i += 2)
		wrong += ad(i) != 0;
	memset(avoid, 0, sizeof(avoid));
	for (int i = 1; i < N; i += 2) {
		touch(LOAD8, KERNEL, i);
		wrong += ad(i) != PTE_A;
	}
	hammer_ops(USER_MODE, false, 3);
	for (int i = 1; i < N; i += 2) {
		wrong += ad(i) != PTE_A;
		touch(STORE8, USER_MODE, i);
		wrong += ad(i) != (PTE_A | PTE_D);
	}
	check("every_other.ad", wrong, 0);
	check("every_other", bad, 0);
}

static void pge(bool on)
{
	write_cr4(on ? read_cr4() | CR4_PGE : read_cr4() & ~(word)CR4_PGE);
}

/* CR3 may leave global pages, INVLPG and CR4.PGE may not. */
static void test_global(unsigned factor)
{
	uint64_t old;

	lay_small(factor, PTE_ALL | PTE_G);
	pge(false);
	pge(true);
	learn(KERNEL);
	old = home(20);
	page_set(20, elsewhere(20), PTE_ALL | PTE_G);
	invlpg(page_gla(20));
	verify("global.invlpg", 20);
	page_set(20, old, PTE_ALL | PTE_G);
	pge(false);
	verify("global.pge_off", 20);
	page_set(20, elsewhere(20), PTE_ALL | PTE_G);
	write_cr3(space->root);
	verify("global.pge_is_off", 20);
	pge(true);
	page_set(20, old, PTE_ALL | PTE_G);
	pge(false);
	pge(true);
	verify("global.pge_on", 20);
	/* One among them that is not. */
	page_set(41, home(41), PTE_ALL);
	invlpg(page_gla(41));
	hammer();
	page_set(41, elsewhere(41), PTE_ALL);
	write_cr3(space->root);
	verify("global.one_not", 41);
	for (int i = 0; i < N; i++)
		small_set(i, home(i), PTE_ALL);
	pge(false);
	pge(true);
}

/*
 * Accesses to one large page, next to another that nobody has touched: what is learnt of that one
 * goes with its INVLPG, and with CR3 where only the first is global.
 */
static void test_neighbour(uint64_t global)
{
	const uint64_t used = PTE_ALL | PTE_A | PTE_D;

	for (unsigned write = 0; write < 2; write++) {
		lay_large(used | global, used);
		pge(false);
		pge(true);
		avoid_entry(N - 1, true);
		for (unsigned n = 0; n < 8; n++) {
			hammer_ops(KERNEL, write, 3);
			hammer_ops(USER_MODE, write, 3);
		}
		avoid_entry(N - 1, false);
		large_set(N - 1, OTHER_GPA + 0x200000, used);
		flush(global != 0, N - 3);
		verify(global ? "neighbour.cr3" : "neighbour.invlpg", N - 2);
	}
	pge(false);
	pge(true);
}

/* Code is written, run and changed far behind what the stores have been used for. */
static void test_far_code(void)
{
	struct access *a = (struct access *)TABLE;

	lay_large(PTE_ALL, PTE_ALL);
	for (unsigned i = 0; i < 8; i++) {
		word at = page_gla(N / 2) + (300 + i) * 0x1000;
		unsigned wrong = 0;

		hammer_ops(KERNEL, true, 3);
		for (unsigned n = 0; n < 3; n++) {
			a->at = at;
			a->value[0] = 0x80cd00b0 | n << 8;
			op_run(&ops[STORE4], KERNEL, 1);
			TRY((void *)at);
			wrong += R.vector != END || (R.ax & 0xff) != n;
		}
		check("code.far", wrong, 0);
	}
}

/* Many other ranges, each of which becomes worth what the first one did. */
static void test_many(void)
{
	static const struct op other = { other8, other8_at, 8, false };
	const word side = LIN + 0x800000;
	struct access *a = (struct access *)TABLE;

	bad = 0;
	lay_small(37, PTE_ALL);
	learn(KERNEL);
	for (unsigned k = 0; k < 80; k++) {
		uint64_t gpa = (POOL + 2 * (k % N)) << 12;

		map(side + k * 0x3000, gpa + 0x1000, PTE_ALL);
		map(side + k * 0x3000 + 0x1000, gpa, PTE_ALL);
		for (unsigned i = 0; i < ENTRIES; i++) {
			a[i].at = side + k * 0x3000 + (i & 1) * 0x1000 + i * 8;
			a[i].value[0] =
				frame_id(gpa + (i & 1 ? 0 : 0x1000)) * 0x0101010101010101ull;
		}
		for (unsigned n = 0; n < 1100 / ENTRIES; n++) {
			op_run(&other, KERNEL, ENTRIES);
			if (R.vector != END || R.dx)
				op_note("many", &other, KERNEL, a->at);
		}
	}
	hammer();
	check("many", bad, 0);
}

/* Large pages become small ones, which then change one by one, and large again. */
static void test_split(void)
{
	uint64_t table;

	lay_large(PTE_ALL, PTE_ALL);
	learn(KERNEL);
	for (unsigned round = 0; round < 2; round++) {
		table = table_alloc();
		for (unsigned i = 0; i < 512; i++)
			MEM64(table + 8 * i) = (LARGE_GPA + 0x200000 + i * 0x1000) | PTE_ALL;
		for (int i = N / 2; i < N; i += 2) {
			uint64_t gpa = (POOL + N + (unsigned)i) << 12;

			model_set(i, gpa, PTE_ALL);
			MEM64(table + 8 * (unsigned)(i - N / 2)) = gpa | PTE_ALL;
		}
		entry_set(page_gla(N - 1), 2, table | PTE_ALL);
		/* Any address of the large page will do, and once. */
		invlpg(round ? page_gla(N / 2) : page_gla(N / 2) + 0x155123);
		large = false;
		verify("split", N / 2 + 2);
		verify("split.rest", N - 1);
		test_remap(N / 2 + 8);
		test_accessed_dirty(N / 2 + 9);
		test_code(N / 2 + 4);
		large = true;
		large_set(N - 1, LARGE_GPA + 0x200000, PTE_ALL);
		write_cr3(space->root);
		verify("split.joined", N / 2 + 2);
	}
}

/* ---- two address spaces ---- */

static void space_edit(unsigned n)
{
	space = &spaces[n];
	MEM64(spaces[0].root + 8 * TOP_SLOT) = space->top;
}

static void space_switch(unsigned n)
{
	space = &spaces[n];
	write_cr3(space->root);
}

static void test_spaces(void)
{
	space_switch(0);
	lay_small(29, PTE_ALL);
	learn(KERNEL);
	spaces[1].root = table_alloc();
	memcpy((void *)spaces[1].root, (void *)spaces[0].root, 0x1000);
	spaces[0].top = MEM64(spaces[0].root + 8 * TOP_SLOT);
	spaces[1].top = 0;
	space_edit(1);
	lay_small(23, PTE_ALL);
	small_set(40, 0, 0);
	spaces[1].top = MEM64(spaces[0].root + 8 * TOP_SLOT);
	MEM64(spaces[1].root + 8 * TOP_SLOT) = spaces[1].top;
	space_edit(0);
	space_switch(1);
	learn(KERNEL);
	for (unsigned n = 0; n < 12; n++) {
		int page = (int)(n * 11 % 40);

		space_switch(n & 1);
		verify("spaces", n % 4 == 1 ? 40 : page);
		/* The one that is not in use needs no INVLPG. */
		space_edit(!(n & 1));
		small_set(page, n % 3 ? elsewhere(page) : home(page), PTE_ALL);
		space_edit(0);
		space = &spaces[n & 1];
	}
	space_switch(0);
}

/* ---- SMAP ---- */

static void test_smap(void)
{
	if (!(cpuid(7, 0).b >> 20 & 1)) {
		skip("smap");
		return;
	}
	for (unsigned kind = 0; kind < 2; kind++) {
		if (kind)
			lay_large(PTE_ALL, PTE_ALL);
		else
			lay_small(37, PTE_ALL);
		learn(KERNEL);
		write_cr4(read_cr4() | CR4_SMAP);
		smap = true;
		learn(KERNEL_AC);
		verify("smap.on", 12);
		test_remap(33);
		page_set(12, home(12), PTE_P | PTE_W);
		invlpg(page_gla(12));
		verify("smap.supervisor", 12);
		page_set(12, home(12), PTE_ALL);
		invlpg(page_gla(12));
		verify("smap.user", 12);
		write_cr4(read_cr4() & ~(word)CR4_SMAP);
		smap = false;
		verify("smap.off", 12);
	}
}

static void setup(void)
{
	spaces[0].root = paging_build(&mode);
	for (word a = 0; a < 0x400000; a += 0x1000)
		map(a, a, PTE_P | PTE_W | PTE_G);
	for (word a = 0; a < 0x40000; a += 0x1000)
		map(USER_ALIAS + a, a, PTE_ALL | PTE_G);
	for (word a = 0; a < 0x1000000; a += 0x200000)
		entry_set(PHYS + a, 2, a | PTE_P | PTE_W | PTE_G | PTE_PS);
	write_cr3(spaces[0].root);
	write_cr0((read_cr0() & ~(word)(CR0_EM | CR0_TS)) | CR0_WP | CR0_MP | CR0_NE);
	write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMM | CR4_PGE);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
}

void image_main(void)
{
	static const unsigned factors[] = { 37, N - 1, 1 }; /* shuffled, reversed, consecutive */

	brief = be_brief();
	setup();
	for (unsigned i = 0; i < sizeof(factors) / sizeof(factors[0]); i += 1 + brief) {
		lay_small(factors[i], PTE_ALL);
		bad = 0;
		learn(KERNEL);
		learn(USER_MODE);
		check("small", bad, 0);
		test_changes(i);
		test_every_other();
		test_global(factors[i]);
	}
	lay_large(PTE_ALL, PTE_ALL);
	bad = 0;
	learn(KERNEL);
	learn(USER_MODE);
	check("large", bad, 0);
	test_changes(0);
	test_neighbour(0);
	test_neighbour(PTE_G);
	test_far_code();
	test_split();
	if (!brief) /* torture makes many of its own */
		test_many();
	test_smap();
	test_spaces();
}
