/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Process-context identifiers (SDM vol. 3, 4.10): address spaces that differ in one page, switched between without
 * flushes, and everything that has to drop a translation of the space that is current or of another one.
 * That translations may be kept is no promise, so nothing here asks for an old one.
 */
#include "paging.h"

static const struct paging_mode mode = { .levels = 4, .entry_size = 8 };

#define SPACES 12 /* more than anybody keeps tags for is not known; more than a few is */
#define KEEP   (1ul << 63)
#define ADDR   0xffffffffff000ull
#define HIGH   0xffff800000c00000ul
#define HIGH2M 0xffff800040000000ul
#define PART   0x1f3450ul /* of a page of 2 MiB */

CODE(64, do_invpcid, "invpcid (%rbx), %rax");
CODE(64, jump_to_t, "jmp 0xc00000");	  /* T */
CODE(64, jump_to_t_user, "jmp 0x400000"); /* from USER_ALIAS on */
CODE(64, another_read, "mov (%rbx), %al"); /* whoever remembers pages by code has two to forget */
CODE(64, jump_indirect, "jmp *%rbx");

static struct {
	word cr3;
	uint64_t table; /* that maps T */
} space[SPACES];

/* Frame n holds "mov $n + 1, %al; int $0x80". */
static void frames_fill(void)
{
	for (unsigned i = 0; i < SPACES; i++) {
		MEM16(T_GPA + i * 0x1000) = (uint16_t)((i + 1) << 8 | 0xb0);
		MEM16(T_GPA + i * 0x1000 + 2) = 0x80cd;
	}
}

static uint64_t table_copy(uint64_t from)
{
	uint64_t to = table_alloc();

	for (unsigned i = 0; i < 512; i++)
		MEM64(to + 8 * i) = MEM64(from + 8 * i);
	return to;
}

/* Space s has tables of its own on the way to T. */
static void space_make(unsigned s, uint64_t root)
{
	uint64_t table = table_copy(root);

	space[s].cr3 = (word)table | (s + 1);
	for (unsigned level = 4; level > 1; level--) {
		uint64_t at = table + 8 * (T >> (12 + 9 * (level - 1)) & 511);

		table = table_copy(MEM64(at) & ADDR);
		MEM64(at) = table | PTE_ALL;
	}
	space[s].table = table;
}

static void set_t(unsigned s, unsigned frame, uint64_t flags)
{
	MEM64(space[s].table + 8 * (T >> 12 & 511)) =
		(T_GPA + frame * 0x1000) | PTE_ALL | flags;
}

static void go(unsigned s)
{
	write_cr3(space[s].cr3 | KEEP);
}

/* T is this frame for whatever is done there. */
static void probe(const char *name, unsigned frame)
{
	volatile uint8_t *written = &MEM8(T_GPA + frame * 0x1000 + 0x800);

	TRY(pg_read, R.bx = T + 1);
	check(name, R.ax & 0xff, frame + 1);
	*written = 0;
	TRY(pg_write, R.bx = T + 0x800, R.ax = 0x55);
	check("write", *written, 0x55);
	TRY((void *)T);
	check("fetch", R.ax & 0xff, frame + 1);
	TRY(jump_to_t);
	check("jump", R.ax & 0xff, frame + 1);
	fresh_alias(pg_rmw);
	R.bx = T + 0x800;
	run();
	check("user.write", *written, 0x56);
	fresh_user((void *)T);
	R.sp += USER_ALIAS;
	run();
	check("user.fetch", R.ax & 0xff, frame + 1);
	TRY(jump_indirect, R.bx = T);
	check("indirect", R.ax & 0xff, frame + 1);
	fresh_alias(jump_to_t_user);
	run();
	check("user.jump", R.ax & 0xff, frame + 1);
	fresh_alias(jump_indirect);
	R.bx = T;
	run();
	check("user.indirect", R.ax & 0xff, frame + 1);
}

/* What stands behind MOV CR3 is fetched from the new space, which has the page elsewhere or not. */
static void test_behind(void)
{
	static const uint8_t code[] = { 0x0f, 0x22, 0xd8, 0xb3, 0, 0xcd, 0x80 }; /* mov $n, %bl */

	for (unsigned f = 0; f < 2; f++) {
		for (unsigned i = 0; i < sizeof(code); i++)
			MEM8(T_GPA + f * 0x1000 + 0x40 + i) = code[i];
		MEM8(T_GPA + f * 0x1000 + 0x44) = (uint8_t)(0x60 + f);
	}
	for (unsigned i = 0; i < 16; i++) {
		unsigned to = (i + 1) % 2, frame = i < 8 ? to : 0;

		if (i == 8) {
			set_t(1, 0, 0);
			write_cr3(space[1].cr3);
		}
		go(i % 2);
		TRY((char *)T + 0x40, R.ax = space[to].cr3 | (i % 8 == 3 ? 0 : KEEP));
		check("behind", R.bx & 0xff, 0x60 + frame);
		check("behind.cr3", read_cr3(), space[to].cr3);
	}
	set_t(1, 1, 0);
	write_cr3(space[1].cr3);
}

static void test_switch(void)
{
	for (unsigned s = 0; s < SPACES; s++)
		set_t(s, s, 0);
	for (unsigned i = 0; i < 3 * SPACES; i++) {
		go(i % SPACES);
		check("switch.cr3", read_cr3(), space[i % SPACES].cr3);
		probe("switch", i % SPACES);
	}
	for (unsigned i = 0; i < 6; i++) {
		go(i % 2);
		probe("switch.two", i % 2);
	}
}

/* ---- what has to drop translations ---- */

static struct {
	uint64_t pcid, gla;
} descriptor_;

static void invpcid(unsigned type, uint64_t pcid, uint64_t gla)
{
	descriptor_.pcid = pcid;
	descriptor_.gla = gla;
	__asm__ volatile("invpcid %1, %0" : : "r"((word)type), "m"(descriptor_) : "memory");
}

/* Of space 0, whatever the current one is. */
static void drop_address(void)
{
	invpcid(0, 1, T + 0x123);
}

static void drop_context(void)
{
	invpcid(1, 1, 0);
}

static void drop_all(void)
{
	invpcid(2, 0, 0);
}

static void drop_nonglobal(void)
{
	invpcid(3, 0, 0);
}

static void drop_by_cr3(void)
{
	word current = read_cr3();

	write_cr3(space[0].cr3);
	write_cr3(current | KEEP);
}

static void drop_by_pge(void)
{
	write_cr4(read_cr4() ^ CR4_PGE);
	write_cr4(read_cr4() ^ CR4_PGE);
}

/* CR3 bits that are a PCID mean something else meanwhile, and must not be there on the way back. */
static void drop_by_pcide(void)
{
	word current = read_cr3(), cr4 = read_cr4();

	write_cr3((current & ADDR) | KEEP);
	write_cr4(cr4 & ~(word)CR4_PCIDE);
	write_cr4(cr4);
	write_cr3(current | KEEP);
}

static void drop_by_invlpg(void)
{
	word current = read_cr3();

	go(0);
	invlpg(T + 0xfff);
	write_cr3(current | KEEP);
}

static const struct {
	const char *name;
	void (*drop)(void);
	bool global, is_invpcid;
} drops[] = {
	{ "drop.address", drop_address, false, true },
	{ "drop.context", drop_context, false, true },
	{ "drop.all", drop_all, true, true },
	{ "drop.nonglobal", drop_nonglobal, false, true },
	{ "drop.cr3", drop_by_cr3, false, false },
	{ "drop.pge", drop_by_pge, true, false },
	{ "drop.pcide", drop_by_pcide, true, false },
	{ "drop.invlpg", drop_by_invlpg, true, false },
};
#define DROPS (sizeof(drops) / sizeof(drops[0]))

static bool can_drop(unsigned i)
{
	return !drops[i].is_invpcid || cpuid(7, 0).b >> 10 & 1;
}

/* Space 0 is changed and what it had is dropped, while space `from` is current. */
static void test_drops(unsigned from)
{
	for (unsigned i = 0; i < DROPS; i++) {
		if (!can_drop(i)) {
			skip(drops[i].name);
			continue;
		}
		set_t(0, 0, 0);
		go(1);
		probe("drop.other", 1);
		write_cr3(space[0].cr3);
		probe("drop.before", 0);
		go(from);
		set_t(0, 5, 0);
		drops[i].drop();
		check("drop.current", read_cr3(), space[from].cr3);
		go(0);
		probe(drops[i].name, 5);
		go(1);
		probe("drop.unchanged", 1);
	}
}

/* A global page of all spaces, and whatever drops those. */
static void test_global(void)
{
	for (unsigned i = 0; i < DROPS; i++) {
		if (!drops[i].global || !can_drop(i))
			continue;
		for (unsigned s = 0; s < 3; s++)
			set_t(s, 6, PTE_G);
		drop_by_pge();
		for (unsigned n = 0; n < 6; n++) {
			go(n % 3);
			probe("global", 6);
		}
		for (unsigned s = 0; s < 3; s++)
			set_t(s, 7, PTE_G);
		drops[i].drop();
		for (unsigned n = 0; n < 6; n++) {
			go(n % 3);
			probe(drops[i].name, 7);
		}
	}
	for (unsigned s = 0; s < 3; s++)
		set_t(s, s, 0);
	drop_by_pge();
}

/* Pages that one space has written to become code in another, and are written to again. */
static void test_code(unsigned first, unsigned pages)
{
	for (unsigned i = 0; i < pages; i++) {
		uint64_t gpa = T_GPA + (first + i) * 0x1000;

		MEM16(gpa) = (uint16_t)((i + 1) << 8 | 0xb0);
		MEM16(gpa + 2) = 0x80cd;
		for (unsigned s = 0; s < 2; s++)
			MEM64(space[s].table + 8 * ((T >> 12 & 511) + i)) = gpa | PTE_ALL;
	}
	drop_by_pge();
	go(0);
	for (unsigned i = 0; i < pages; i++)
		TRY(pg_write, R.bx = T + i * 0x1000 + 0x900);
	go(1);
	for (unsigned i = 0; i < pages; i++) {
		TRY((char *)T + i * 0x1000);
		check("code.first", R.ax & 0xff, i + 1);
	}
	go(0);
	for (unsigned i = 0; i < pages; i++)
		TRY(pg_write, R.bx = T + i * 0x1000 + 1, R.ax = 0x70 + i);
	go(1);
	for (unsigned i = 0; i < pages; i++) {
		TRY((char *)T + i * 0x1000);
		check("code.written", R.ax & 0xff, 0x70 + i);
	}
}

static void read_high(unsigned i)
{
	TRY(another_read, R.bx = HIGH + 1);
	check("high.page", R.ax & 0xff, i + 1);
	TRY((void *)HIGH);
	check("high.fetch", R.ax & 0xff, i + 1);
}

static void read_large(unsigned i)
{
	TRY(pg_read, R.bx = HIGH2M + PART + 1);
	check("high.large", R.ax & 0xff, 0x70 + i % 2);
	TRY((void *)(HIGH2M + PART));
	check("high.large_fetch", R.ax & 0xff, 0x70 + i % 2);
}

/*
 * The upper half is the same table for all, and global, as is all else that is touched here: what one
 * space has used stays, and INVLPG comes in another that has never been there.
 */
static void test_high(void)
{
	for (unsigned i = 0; i < 8; i++) {
		map(HIGH, T_GPA + i * 0x1000, PTE_ALL | PTE_G);
		entry_set(HIGH2M, 2, (i % 2 * 0x200000) | PTE_ALL | PTE_PS | PTE_G);
		drop_by_pge();
		go(0);
		read_high(i);
		read_large(i);
		map(HIGH, T_GPA + (i ^ 1) * 0x1000, PTE_ALL | PTE_G);
		entry_set(HIGH2M, 2, ((i ^ 1) % 2 * 0x200000) | PTE_ALL | PTE_PS | PTE_G);
		go(1 + i % 2);
		invlpg(HIGH);
		read_high(i ^ 1);
		invlpg(HIGH2M + 0x45000); /* any part of it */
		read_large(i ^ 1);
		go(0);
		read_high(i ^ 1);
		read_large(i ^ 1);
	}
}

/* INVPCID of a part of a large page of another PCID. */
static void test_large(void)
{
	uint64_t pd = MEM64(MEM64(space[0].cr3 & ADDR) & ADDR) & ADDR;

	for (unsigned i = 0; i < 4; i++) {
		MEM64(pd + 8 * (LARGE >> 21 & 511)) = i % 2 * 0x200000 | PTE_ALL | PTE_PS;
		go(1);
		if (i % 2 && cpuid(7, 0).b >> 10 & 1) {
			invpcid(0, 1, LARGE + 0x45000);
			go(0);
		} else {
			go(0);
			invlpg(LARGE + 0x45000);
		}
		TRY(pg_read, R.bx = LARGE + PART + 1);
		check("large", R.ax & 0xff, 0x70 + i % 2);
	}
}

void image_main(void)
{
	uint64_t root = paging_build(&mode);

	write_cr3((word)root);
	if (!(cpuid(1, 0).c >> 17 & 1)) {
		skip("pcid");
		return;
	}
	for (word a = 0; a < 0x400000; a += 0x1000)
		map(a, a, PTE_P | PTE_W | PTE_G);
	map(HIGH, T_GPA, PTE_ALL);
	entry_set(HIGH2M, 2, PTE_ALL | PTE_PS);
	for (unsigned s = 0; s < SPACES; s++)
		space_make(s, root);
	frames_fill();
	for (unsigned i = 0; i < 2; i++) {
		MEM16(PART + i * 0x200000) = (uint16_t)((0x70 + i) << 8 | 0xb0);
		MEM16(PART + i * 0x200000 + 2) = 0x80cd;
	}
	write_cr4(read_cr4() | CR4_PGE);
	write_cr4(read_cr4() | CR4_PCIDE);
	test_switch();
	test_behind();
	test_drops(1);
	test_drops(0);
	test_global();
	test_high();
	test_large();
	test_code(16, 3); /* frames that have never been code */
	test_code(32, SPACES);
}
