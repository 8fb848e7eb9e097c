/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "paging.h"
#include "paging_snip.h"

static const struct paging_mode *mode;
static uint64_t root, next_table;

/* ---- tables ---- */

uint64_t table_alloc(void)
{
	next_table += 0x1000;
	memset((void *)(word)(next_table - 0x1000), 0, 0x1000);
	return next_table - 0x1000;
}

static unsigned index_of(word gla, unsigned level)
{
	unsigned bits = mode->entry_size == 4 ? 10 : 9;

	return (unsigned)(gla >> (12 + bits * (level - 1))) & ((1u << bits) - 1);
}

static uint64_t load(uint64_t gpa)
{
	return mode->entry_size == 4 ? MEM32(gpa) : MEM64(gpa);
}

static void store(uint64_t gpa, uint64_t value)
{
	if (mode->entry_size == 4)
		MEM32(gpa) = (uint32_t)value;
	else
		MEM64(gpa) = value;
}

uint64_t entry_gpa(word gla, unsigned level)
{
	uint64_t table = root;

	for (unsigned l = mode->levels;; l--) {
		uint64_t gpa = table + index_of(gla, l) * mode->entry_size;

		if (l == level)
			return gpa;
		table = load(gpa) & 0xffffffffff000ull;
		if (!table) {
			table = table_alloc();
			store(gpa, table |
				(mode->top_is_pdpte && l == mode->levels ? PTE_P : PTE_ALL));
		}
	}
}

uint64_t entry_get(word gla, unsigned level)
{
	return load(entry_gpa(gla, level));
}

void entry_set(word gla, unsigned level, uint64_t value)
{
	store(entry_gpa(gla, level), value);
}

void map(word gla, uint64_t gpa, uint64_t flags)
{
	entry_set(gla, 1, gpa | flags);
}

void paging_flush(void)
{
	write_cr3(read_cr3());
}

static unsigned top_level(void)
{
	return mode->top_is_pdpte ? mode->levels - 1 : mode->levels;
}

void t_reset(void)
{
	for (unsigned l = 2; l <= top_level(); l++)
		entry_set(T, l, (entry_get(T, l) & 0xffffffffff000ull) | PTE_ALL);
	for (unsigned i = 0; i < T_PAGES; i++)
		map(T + i * 0x1000, T_GPA + i * 0x1000, PTE_ALL);
	paging_flush();
}

uint64_t paging_build(const struct paging_mode *m)
{
	mode = m;
	next_table = 0x100000;
	root = table_alloc();
	for (word a = 0; a < 0x400000; a += 0x1000)
		map(a, a, PTE_P | PTE_W);
	for (word a = 0; a < 0x40000; a += 0x1000)
		map(USER_ALIAS + a, a, PTE_ALL);
	for (unsigned i = 0; i < T_PAGES; i++)
		map(T + i * 0x1000, T_GPA + i * 0x1000, PTE_ALL);
	return root;
}

void fresh_alias(const void *code)
{
	fresh_user(USER(code));
	R.sp += USER_ALIAS;
}

/* ---- permissions, all combinations ---- */

SNIP(pg_read, "movb (" BX "), %al");
SNIP(pg_write, "movb %al, (" BX ")");
SNIP(pg_rmw, "incb (" BX ")");
SNIP(pg_read32, "movl (" BX "), %eax");
SNIP(pg_write32, "movl %eax, (" BX ")");

enum access { READ, WRITE, FETCH };

struct combo {
	unsigned leaf, upper; /* P, W, U of the two lowest levels */
	bool leaf_nx, upper_nx;
	enum access access;
	bool user;
	bool wp, smep, smap, ac, nxe;
};

/* Error code, or -1 for none: the rules of SDM vol. 3, 4.6 and 4.7. */
static int model(const struct combo *c)
{
	unsigned both = c->leaf & c->upper;
	bool nx = c->leaf_nx || c->upper_nx;
	bool bad;
	unsigned error = (c->access == WRITE ? E_W : 0) | (c->user ? E_U : 0);

	if (c->access == FETCH && (c->nxe || c->smep))
		error |= E_I;
	if (!(both & PTE_P))
		return (int)error;
	if (c->user)
		bad = !(both & PTE_U) || (c->access == WRITE && !(both & PTE_W)) ||
			(c->access == FETCH && nx);
	else if (c->access == FETCH)
		bad = nx || (c->smep && (both & PTE_U));
	else
		bad = (c->smap && !c->ac && (both & PTE_U)) ||
			(c->access == WRITE && c->wp && !(both & PTE_W));
	return bad ? (int)(error | E_P) : -1;
}

static uint64_t nx_bit(bool on)
{
	return on ? PTE_NX : 0;
}

static int observe(const struct combo *c)
{
	char *code = c->access == WRITE ? pg_write : pg_read;

	entry_set(T, 2, (entry_get(T, 2) & 0xffffffffff000ull) | c->upper | nx_bit(c->upper_nx));
	map(T, T_GPA, c->leaf | nx_bit(c->leaf_nx));
	paging_flush();
	if (c->user)
		fresh_alias(code);
	else
		fresh(code);
	if (c->access == FETCH)
		R.ip = T;
	R.bx = T;
	R.ax = 0xcd; /* what stands there already */
	if (c->ac)
		R.flags |= F_AC;
	run();
	if (R.vector == END)
		return -1;
	if (R.vector != PF)
		return (int)(0x1000 + R.vector);
	if (R.cr2 != T || R.ip != (c->access == FETCH ? T : (word)(c->user ? USER(code) : code)))
		return 0x2000;
	return (int)R.error;
}

static void combo_check(const struct combo *c, unsigned *wrong)
{
	int want = model(c), got = observe(c);

	if (got == want)
		return;
	if ((*wrong)++ > 3)
		return;
	say("note upper=");
	say_hex(c->upper | (c->upper_nx ? 8 : 0));
	say(" leaf=");
	say_hex(c->leaf | (c->leaf_nx ? 8 : 0));
	say(c->access == READ ? " read" : c->access == WRITE ? " write" : " fetch");
	say(c->user ? " user" : " supervisor");
	say(c->wp ? " wp" : "");
	say(c->smep ? " smep" : "");
	say(c->smap ? " smap" : "");
	say(c->ac ? " ac" : "");
	say(" got=");
	say_hex((uint32_t)got);
	say(" want=");
	say_hex((uint32_t)want);
	say("\n");
}

/* All of P, W, U in two levels, times access, privilege and WP, with the given CR4 and NX. */
static unsigned sweep(bool smep, bool smap, bool ac, bool nxe, unsigned nx)
{
	unsigned wrong = 0;

	for (unsigned i = 0; i < 8 * 8 * 3 * 2 * 2; i++) {
		struct combo c = {
			.leaf = i & 7,
			.upper = (i >> 3) & 7,
			.access = (enum access)((i >> 6) % 3),
			.user = (i / 192) & 1,
			.wp = (i / 384) & 1,
			.leaf_nx = nx & 1,
			.upper_nx = nx >> 1 & 1,
			.smep = smep,
			.smap = smap,
			.ac = ac,
			.nxe = nxe,
		};

		if (c.wp)
			write_cr0(read_cr0() | CR0_WP);
		else
			write_cr0(read_cr0() & ~(word)CR0_WP);
		combo_check(&c, &wrong);
	}
	write_cr0(read_cr0() & ~(word)CR0_WP);
	t_reset();
	return wrong;
}

static void test_permissions(void)
{
	struct regs4 f = cpuid(7, 0);
	bool smep = f.b >> 7 & 1, smap = f.b >> 20 & 1;
	bool nx = mode->entry_size == 8 && (cpuid(0x80000001, 0).d >> 20 & 1);

	MEM8(T_GPA) = 0xcd; /* int $0x80 */
	MEM8(T_GPA + 1) = 0x80;
	check("perm.plain", sweep(false, false, false, false, 0), 0);
	if (nx) {
		wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
		check("perm.nxe", sweep(false, false, false, true, 0), 0);
		check("perm.nx_leaf", sweep(false, false, false, true, 1), 0);
		check("perm.nx_upper", sweep(false, false, false, true, 2), 0);
	} else {
		skip("perm.nx");
	}
	if (smep) {
		write_cr4(read_cr4() | CR4_SMEP);
		check("perm.smep", sweep(true, false, false, nx, 0), 0);
		write_cr4(read_cr4() & ~(word)CR4_SMEP);
	} else {
		skip("perm.smep");
	}
	if (smap) {
		write_cr4(read_cr4() | CR4_SMAP);
		check("perm.smap", sweep(false, true, false, nx, 0), 0);
		check("perm.smap_ac", sweep(false, true, true, nx, 0), 0);
		write_cr4(read_cr4() & ~(word)CR4_SMAP);
	} else {
		skip("perm.smap");
	}
	if (nx)
		wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~(uint64_t)EFER_NXE);
}

/* ---- what must take effect at once, with translations in use ---- */

SNIP(pg_stac_clac, "stac\n movb (" BX "), %al\n clac\n movb (" BX "), %al");
SNIP(pg_popf_ac, "pushf\n orl $0x40000, (" SP ")\n popf\n movb (" BX "), %al");

static void test_switches(void)
{
	struct regs4 f = cpuid(7, 0);

	t_reset();
	MEM16(T_GPA) = 0x80cd;
	/* Seen by the kernel first, then by ring 3, and the other way round. */
	map(T, T_GPA, PTE_P | PTE_W);
	paging_flush();
	TRY(pg_read, R.bx = T);
	fresh_alias(pg_read);
	R.bx = T;
	run();
	expect_pf("switch.user_after_kernel", E_P | E_U, USER(pg_read), T);
	TRY((void *)T);
	expect_end("switch.kernel_fetch");
	fresh_alias((char *)T - USER_ALIAS);
	run();
	expect_pf("switch.user_fetch", E_P | E_U, (void *)T, T);
	if (f.b >> 7 & 1) {
		t_reset();
		TRY((void *)T);
		expect_end("switch.smep_off");
		write_cr4(read_cr4() | CR4_SMEP);
		TRY((void *)T);
		expect_pf("switch.smep_on", E_P | E_I, (void *)T, T);
		write_cr4(read_cr4() & ~(word)CR4_SMEP);
		TRY((void *)T);
		expect_end("switch.smep_off_again");
	} else {
		skip("switch.smep");
	}
	if (f.b >> 20 & 1) {
		t_reset();
		TRY(pg_read, R.bx = T);
		write_cr4(read_cr4() | CR4_SMAP);
		TRY(pg_read, R.bx = T);
		expect_pf("switch.smap_on", E_P, pg_read, T);
		TRY(pg_stac_clac, R.bx = T);
		expect_pf("switch.clac", E_P, pg_stac_clac + 8, T);
		TRY(pg_popf_ac, R.bx = T);
		expect_end("switch.popf_ac");
		TRY(pg_read, R.bx = T);
		expect_pf("switch.ac_gone", E_P, pg_read, T);
		fresh_alias(pg_read);
		R.bx = T;
		run();
		expect_end("switch.user_reads");
		write_cr4(read_cr4() & ~(word)CR4_SMAP);
		TRY(pg_read, R.bx = T);
		expect_end("switch.smap_off");
	} else {
		skip("switch.smap");
	}
}

/* ---- accessed and dirty ---- */

static uint64_t ad(unsigned level)
{
	return entry_get(T, level) & (PTE_A | PTE_D);
}

static void test_accessed_dirty(void)
{
	t_reset();
	check("ad.clean", ad(1), 0);
	TRY(pg_read, R.bx = T);
	check("ad.read.leaf", ad(1), PTE_A);
	check("ad.read.upper", ad(2) & PTE_A, PTE_A);
	TRY(pg_write, R.bx = T);
	check("ad.write", ad(1), PTE_A | PTE_D);
	t_reset();
	TRY(pg_rmw, R.bx = T);
	check("ad.rmw", ad(1), PTE_A | PTE_D);
	check("ad.neighbour", entry_get(T + 0x1000, 1) & (PTE_A | PTE_D), 0);
	/* Clearing D and flushing makes the next write set it again. */
	map(T, T_GPA, PTE_ALL | PTE_A);
	invlpg(T);
	TRY(pg_write, R.bx = T);
	check("ad.again", ad(1), PTE_A | PTE_D);
	/* A write that faults does not make the page dirty. */
	map(T, T_GPA, PTE_P | PTE_U);
	paging_flush();
	fresh_alias(pg_write);
	R.bx = T;
	run();
	expect_pf("ad.fault", E_P | E_W | E_U, USER(pg_write), T);
	check("ad.fault.dirty", entry_get(T, 1) & PTE_D, 0);
	/* A fetch sets A. */
	t_reset();
	MEM8(T_GPA) = 0xcd;
	MEM8(T_GPA + 1) = 0x80;
	TRY((void *)T);
	check("ad.fetch", ad(1), PTE_A);
}

/* ---- what is flushed, by remapping ---- */

SNIP(pg_invlpg, "invlpg (" BX ")");
SNIP(pg_read_invlpg_read, "movb (" BX "), %al\n movl %edx, (" CX ")\n invlpg (" BX ")\n movb (" BX "), %ah");

static unsigned at_t(void)
{
	TRY(pg_read, R.bx = T);
	return R.vector == END ? (unsigned)(R.ax & 0xff) : 0x100 + (unsigned)R.vector;
}

static void test_flush(void)
{
	t_reset();
	MEM8(T_GPA) = 1;
	MEM8(T_GPA + 0x1000) = 2;
	check("flush.before", at_t(), 1);
	map(T, T_GPA + 0x1000, PTE_ALL);
	invlpg(T + 0x123);
	check("flush.invlpg", at_t(), 2);
	map(T, T_GPA, PTE_ALL);
	paging_flush();
	check("flush.cr3", at_t(), 1);
	/* Not-present entries are not cached. */
	map(T, T_GPA, 0);
	invlpg(T);
	check("flush.absent", at_t(), 0x100 + PF);
	map(T, T_GPA, PTE_ALL);
	check("flush.present_without_flush", at_t(), 1);
	/* Global pages: CR3 may leave them, INVLPG and CR4.PGE may not. */
	write_cr4(read_cr4() | CR4_PGE);
	map(T, T_GPA, PTE_ALL | PTE_G);
	check("flush.global", at_t(), 1);
	map(T, T_GPA + 0x1000, PTE_ALL | PTE_G);
	invlpg(T);
	check("flush.global_invlpg", at_t(), 2);
	map(T, T_GPA, PTE_ALL | PTE_G);
	write_cr4(read_cr4() & ~(word)CR4_PGE);
	check("flush.global_pge", at_t(), 1);
	/* Upper level changes count too. */
	{
		uint64_t old = entry_get(T, 2), table = table_alloc();
		unsigned i = (unsigned)(T >> 12) & (mode->entry_size == 4 ? 1023 : 511);

		store(table + i * mode->entry_size, (T_GPA + 0x1000) | PTE_ALL);
		entry_set(T, 2, table | PTE_ALL);
		invlpg(T);
		check("flush.table", at_t(), 2);
		entry_set(T, 2, 0);
		invlpg(T);
		check("flush.table_absent", at_t(), 0x100 + PF);
		entry_set(T, 2, old);
		invlpg(T);
		check("flush.table_back", at_t(), 1);
	}
	/* Inside one snippet, with no return to the kit in between. */
	t_reset();
	TRY(pg_read_invlpg_read, R.bx = T, R.cx = (word)entry_gpa(T, 1),
		R.dx = (word)((T_GPA + 0x1000) | PTE_ALL));
	expect_end("flush.inline");
	check("flush.inline.values", R.ax & 0xffff, 0x201);
	/* INVLPG faults on nothing. */
	TRY(pg_invlpg, R.bx = LARGE);
	expect_end("flush.invlpg_unmapped");
	/* Losing write permission. */
	t_reset();
	TRY(pg_write, R.bx = T, R.ax = 1);
	write_cr0(read_cr0() | CR0_WP);
	map(T, T_GPA, PTE_P | PTE_U | PTE_A | PTE_D);
	invlpg(T);
	TRY(pg_write, R.bx = T);
	expect_pf("flush.write_protected", E_P | E_W, pg_write, T);
	write_cr0(read_cr0() & ~(word)CR0_WP);
	TRY(pg_write, R.bx = T);
	expect_end("flush.wp_off");
	write_cr0(read_cr0() | CR0_WP);
	TRY(pg_write, R.bx = T);
	expect_pf("flush.wp_on", E_P | E_W, pg_write, T);
	write_cr0(read_cr0() & ~(word)CR0_WP);
}

/* Code: remapping what has been executed. */
static void put_code(uint64_t gpa, uint8_t value)
{
	static const uint8_t code[] = { 0xb0, 0, 0xcd, 0x80 }; /* mov $value, %al; int $0x80 */

	for (unsigned i = 0; i < sizeof(code); i++)
		MEM8(gpa + i) = code[i];
	MEM8(gpa + 1) = value;
}

SNIP(pg_call_twice, "call *" BX "\n movb %al, %ah\n movl %edx, (" CX ")\n invlpg (" BX ")\n call *" BX);

static void test_code(void)
{
	t_reset();
	put_code(T_GPA, 0x11);
	put_code(T_GPA + 0x1000, 0x22);
	TRY((void *)T);
	check("code.first", R.ax & 0xff, 0x11);
	TRY((void *)(T + 0x1000));
	check("code.other_page", R.ax & 0xff, 0x22);
	map(T, T_GPA + 0x1000, PTE_ALL);
	invlpg(T);
	TRY((void *)T);
	check("code.remapped", R.ax & 0xff, 0x22);
	expect("code.remapped.end", END, -1, (void *)(T + 4));
	map(T, T_GPA, 0);
	invlpg(T);
	TRY((void *)T);
	check("code.absent", R.vector, PF);
	/* The same frame under two addresses. */
	map(T, T_GPA, PTE_ALL);
	map(T + 0x1000, T_GPA, PTE_ALL);
	paging_flush();
	TRY((void *)(T + 0x1000));
	expect("code.alias", END, -1, (void *)(T + 0x1004));
	MEM8(T + 1) = 0x33;
	TRY((void *)(T + 0x1000));
	check("code.alias_written", R.ax & 0xff, 0x33);
	/* Call, remap, call again, inside one snippet. */
	t_reset();
	MEM8(T_GPA) = MEM8(T_GPA + 0x1000) = 0xb0;
	MEM8(T_GPA + 2) = MEM8(T_GPA + 0x1002) = 0xc3;
	TRY(pg_call_twice, R.bx = T, R.cx = (word)entry_gpa(T, 1),
		R.dx = (word)((T_GPA + 0x1000) | PTE_ALL));
	expect_end("code.call_twice");
	check("code.call_twice.values", R.ax & 0xffff, 0x3322);
}

void paging_tests(void)
{
	test_permissions();
	test_switches();
	test_accessed_dirty();
	test_flush();
	test_code();
	paging_crossing_tests();
	paging_strings_tests();
	paging_fetch_tests();
	paging_implicit_tests();
}
