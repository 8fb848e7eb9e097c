/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "paging.h"

static const struct paging_mode *mode;
static uint64_t root, next_table;

#ifdef __x86_64__
#define SNIP(name, ...) CODE(64, name, __VA_ARGS__)
#define BX "%rbx"
#define CX "%rcx"
#define SP "%rsp"
#define PUSH "pushq"
#define STACK_SLOT 8
#else
#define SNIP(name, ...) CODE(32, name, __VA_ARGS__)
#define BX "%ebx"
#define CX "%ecx"
#define SP "%esp"
#define PUSH "pushl"
#define STACK_SLOT 4
#endif

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

static void flush(void)
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
	flush();
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
	flush();
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
	flush();
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
	flush();
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
	flush();
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
	flush();
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

/* ---- accesses that cross pages ---- */

SNIP(x_push, "movl $0, %eax\n" PUSH " $0x12345678");
SNIP(x_call, "movl $0, %eax\n call 1f\n1:");
SNIP(x_add, "addl %eax, (" BX ")");
SNIP(x_lock_add, "lock addl %eax, (" BX ")");
SNIP(x_xchg, "xchgl %eax, (" BX ")");
SNIP(x_cmpxchg8b, "lock cmpxchg8b (" BX ")");
SNIP(x_movups_st, "movups %xmm0, (" BX ")");
SNIP(x_movups_ld, "movups (" BX "), %xmm0");
SNIP(x_fxsave, "fxsave (" BX ")");
SNIP(x_fstpt, "fldz\n fstpt (" BX ")");
SNIP(x_fstpt_pop, "fstp %st");
SNIP(x_setc, "setc (" BX ")");
SNIP(x_bts, "btsl %ecx, (" BX ")");
SNIP(x_movs, "movsl");
SNIP(x_rep_movsb, "rep movsb");
SNIP(x_rep_stosl, "rep stosl");
SNIP(x_rep_cmpsb, "repe cmpsb");
SNIP(x_rep_scasb, "repne scasb");
SNIP(x_rep_lodsb, "rep lodsb");
SNIP(x_rep_movs_down, "std\n rep movsb\n cld");
SNIP(x_xadd, "lock xaddl %eax, (" BX ")");
SNIP(x_pop_mem, PUSH " $0x55\n popw (" BX ")");
SNIP(x_sgdt, "sgdt (" BX ")");
SNIP(x_lgdt, "lgdt (" BX ")");

/* Stores over the border of T and a page that is absent or write-protected: nothing may be written. */
static void cross_store(const char *name, char *code, unsigned before)
{
	word at = T + 0x1000 - before;
	uint8_t old[512];

	t_reset();
	memset((void *)(T_GPA + 0x800), 0x77, 0x1000);
	memcpy(old, (void *)(T_GPA + 0x1000 - before), before);
	map(T + 0x1000, T_GPA + 0x1000, 0);
	flush();
	TRY(code, R.bx = at, R.ax = 0x01020304, R.cx = 0);
	expect_pf(name, E_W, code, T + 0x1000);
	for (unsigned i = 0; i < before; i++) {
		if (MEM8(T_GPA + 0x1000 - before + i) != old[i]) {
			check("cross.untouched", i, 0xffff);
			break;
		}
	}
	/* First page absent: CR2 is the access's own address. */
	map(T + 0x1000, T_GPA + 0x1000, PTE_ALL);
	map(T, T_GPA, 0);
	flush();
	TRY(code, R.bx = at, R.ax = 0x01020304, R.cx = 0);
	expect_pf("cross.first_absent", E_W, code, at);
	t_reset();
	TRY(code, R.bx = at, R.ax = 0x01020304, R.cx = 0);
	expect_end("cross.both_present");
}

static void test_crossing(void)
{
	static const struct {
		const char *name;
		char *code;
		unsigned before;
	} stores[] = {
		{ "cross.mov", pg_write32, 1 },	{ "cross.add", x_add, 2 },
		{ "cross.lock_add", x_lock_add, 3 }, { "cross.xchg", x_xchg, 1 },
		{ "cross.cmpxchg8b", x_cmpxchg8b, 4 }, { "cross.xadd", x_xadd, 2 },
		{ "cross.movups", x_movups_st, 8 },
	};

	write_cr0((read_cr0() & ~(word)(CR0_EM | CR0_TS)) | CR0_MP | CR0_NE);
	write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMM);
	__asm__ volatile("fninit");
	for (unsigned i = 0; i < sizeof(stores) / sizeof(stores[0]); i++)
		cross_store(stores[i].name, stores[i].code, stores[i].before);
	/* Frames that are not neighbours. */
	t_reset();
	map(T + 0x1000, T_GPA + 0x5000, PTE_ALL);
	flush();
	TRY(pg_write32, R.bx = T + 0xffe, R.ax = 0x44332211);
	check("cross.split.low", MEM16(T_GPA + 0xffe), 0x2211);
	check("cross.split.high", MEM16(T_GPA + 0x5000), 0x4433);
	TRY(pg_read32, R.bx = T + 0xffd);
	check("cross.split.read", R.ax & 0xffffff00, 0x33221100);
	TRY(x_lock_add, R.bx = T + 0xffe, R.ax = 0x11111111);
	check("cross.split.add", MEM16(T_GPA + 0x5000), 0x5544);
	TRY(x_add, R.bx = T + 0xfff, R.ax = 1);
	check("cross.split.rmw", MEM8(T_GPA + 0xfff), 0x34);
	memset((void *)(T_GPA + 0xff0), 0xab, 16);
	memset((void *)(T_GPA + 0x5000), 0xcd, 16);
	TRY(x_movups_ld, R.bx = T + 0xff8);
	expect_end("cross.movups_load");
	TRY(x_movups_st, R.bx = T + 0xff4);
	check("cross.movups_store", MEM32(T_GPA + 0xff8), 0xabababab);
	check("cross.movups_store_high", MEM32(T_GPA + 0x5000), 0xcdcdcdcd);
	/* x87: the value is stored, or nothing is and the stack is not popped. */
	map(T + 0x1000, T_GPA + 0x5000, 0);
	flush();
	TRY(x_fstpt, R.bx = T + 0xff8);
	check("cross.fstp", R.vector, PF);
	check("cross.fstp.cr2", R.cr2, T + 0x1000);
	TRY(x_fstpt_pop);
	__asm__ volatile("fninit");
	TRY(x_fxsave, R.bx = T + 0xf00);
	expect_pf("cross.fxsave", E_W, x_fxsave, T + 0x1000);
	/* Permission of the second page decides too. */
	map(T + 0x1000, T_GPA + 0x5000, PTE_P | PTE_U);
	flush();
	fresh_alias(pg_write32);
	R.bx = T + 0xffe;
	run();
	expect_pf("cross.readonly", E_P | E_W | E_U, USER(pg_write32), T + 0x1000);
	fresh_alias(pg_read32);
	R.bx = T + 0xffe;
	run();
	expect_end("cross.readonly_read");
	/* The stack. */
	map(T + 0x1000, T_GPA, 0);
	flush();
	fresh_alias(x_push);
	R.sp = T + 0x1000 + STACK_SLOT;
	run();
	expect_pf("stack.push", E_W | E_U, USER(x_push) + 5, T + 0x1000);
	check("stack.push.sp", R.sp, T + 0x1000 + STACK_SLOT);
	fresh_alias(x_call);
	R.sp = T + 0x1000 + STACK_SLOT;
	run();
	expect_pf("stack.call", E_W | E_U, USER(x_call) + 5, T + 0x1000);
	/* BTS with a bit offset far away. */
	t_reset();
	map(T + 0x2000, T_GPA + 0x2000, 0);
	flush();
	TRY(x_bts, R.bx = T, R.cx = 0x2004 * 8);
	expect_pf("cross.bts", E_W, x_bts, T + 0x2004);
	TRY(x_bts, R.bx = T + 0x1000, R.cx = (word)-9);
	expect_end("cross.bts_negative");
	check("cross.bts_negative.value", MEM8(T_GPA + 0xffe) >> 7, 1);
}

/* ---- string instructions stopped by a fault ---- */

static void test_strings(void)
{
	const word src = USER_ALIAS + 0x30000;

	for (unsigned i = 0; i < 0x1000; i++)
		MEM8(0x30000 + i) = (uint8_t)(i * 7 + 1);
	t_reset();
	map(T + 0x1000, T_GPA + 0x1000, 0);
	flush();
	memset((void *)T_GPA, 0, 0x2000);
	fresh_alias(x_rep_movsb);
	R.si = src;
	R.di = T + 0xff0;
	R.cx = 100;
	run();
	expect_pf("str.movs", E_W | E_U, USER(x_rep_movsb), T + 0x1000);
	check("str.movs.cx", R.cx, 84);
	check("str.movs.si", R.si, src + 16);
	check("str.movs.di", R.di, T + 0x1000);
	check("str.movs.done", MEM8(T_GPA + 0xfff), MEM8(0x3000f));
	/* And goes on where it stopped. */
	map(T + 0x1000, T_GPA + 0x1000, PTE_ALL);
	R.vector = 0;
	R.ip = (word)USER(x_rep_movsb);
	run();
	expect_end("str.restart");
	check("str.restart.cx", R.cx, 0);
	check("str.restart.last", MEM8(T_GPA + 0x1000 + 83), MEM8(0x30000 + 99));
	/* The source faults. */
	map(T + 0x1000, T_GPA + 0x1000, 0);
	flush();
	fresh_alias(x_rep_movsb);
	R.si = T + 0xffc;
	R.di = src;
	R.cx = 8;
	run();
	expect_pf("str.source", E_U, USER(x_rep_movsb), T + 0x1000);
	check("str.source.cx", R.cx, 4);
	/* Stores of dwords, one across the border. */
	fresh_alias(x_rep_stosl);
	R.di = T + 0xff6;
	R.cx = 5;
	R.ax = 0x5a5a5a5a;
	run();
	expect_pf("str.stos", E_W | E_U, USER(x_rep_stosl), T + 0x1000);
	check("str.stos.cx", R.cx, 3);
	check("str.stos.di", R.di, T + 0xffe);
	check("str.stos.partial", MEM16(T_GPA + 0xffe) == 0x5a5a, 0);
	memset((void *)(T_GPA + 0xff0), 9, 16);
	memset((void *)0x30000, 9, 32);
	fresh_alias(x_rep_cmpsb);
	R.si = src;
	R.di = T + 0xff0;
	R.cx = 32;
	run();
	expect_pf("str.cmps", E_U, USER(x_rep_cmpsb), T + 0x1000);
	check("str.cmps.cx", R.cx, 16);
	fresh_alias(x_rep_scasb);
	R.di = T + 0xff0;
	R.cx = 32;
	run();
	expect_pf("str.scas", E_U, USER(x_rep_scasb), T + 0x1000);
	check("str.scas.cx", R.cx, 16);
	fresh_alias(x_rep_lodsb);
	R.si = T + 0xff8;
	R.cx = 32;
	run();
	expect_pf("str.lods", E_U, USER(x_rep_lodsb), T + 0x1000);
	check("str.lods.cx", R.cx, 24);
	/* Downwards, out of the bottom of a page. */
	t_reset();
	map(T, T_GPA, 0);
	flush();
	fresh_alias(x_rep_movs_down);
	R.si = src + 64;
	R.di = T + 0x1007;
	R.cx = 20;
	run();
	expect_pf("str.down", E_W | E_U, USER(x_rep_movs_down) + 1, T + 0xfff);
	check("str.down.cx", R.cx, 12);
	check("str.down.di", R.di, T + 0xfff);
	t_reset();
	/* A count of zero touches nothing. */
	TRY(x_rep_movsb, R.si = LARGE, R.di = LARGE, R.cx = 0);
	expect_end("str.zero");
}

/* ---- fetches that cross pages ---- */

static void test_fetch(void)
{
	unsigned id = 0;

	t_reset();
	/* mov $imm32, %eax with two bytes behind the border. */
	MEM8(T_GPA + 0xffd) = 0xb8;
	MEM16(T_GPA + 0xffe) = 0x2211;
	MEM16(T_GPA + 0x1000) = 0x4433;
	MEM16(T_GPA + 0x1002) = 0x80cd;
	TRY((void *)(T + 0xffd));
	expect("fetch.cross", END, -1, (void *)(T + 0x1004));
	check("fetch.cross.value", R.ax, 0x44332211);
	map(T + 0x1000, T_GPA + 0x1000, 0);
	flush();
	TRY((void *)(T + 0xffd));
	expect_pf("fetch.cross_absent", id, (void *)(T + 0xffd), T + 0x1000);
	/* The second page comes from elsewhere. */
	MEM16(T_GPA + 0x3000) = 0x8877;
	MEM16(T_GPA + 0x3002) = 0x80cd;
	map(T + 0x1000, T_GPA + 0x3000, PTE_ALL);
	TRY((void *)(T + 0xffd));
	check("fetch.cross_other", R.ax, 0x88772211);
	/* Remap the second page only. */
	map(T + 0x1000, T_GPA + 0x1000, PTE_ALL);
	invlpg(T + 0x1000);
	TRY((void *)(T + 0xffd));
	check("fetch.cross_remapped", R.ax, 0x44332211);
	/* Change a byte behind the border. */
	MEM8(T_GPA + 0x1001) = 0x99;
	TRY((void *)(T + 0xffd));
	check("fetch.cross_written", R.ax, 0x99332211);
	/* Straight-line code into an absent page: the fault is at the border, after the work before it. */
	map(T + 0x1000, T_GPA + 0x1000, 0);
	invlpg(T + 0x1000);
	MEM8(T_GPA + 0xffe) = 0xb0;
	MEM8(T_GPA + 0xfff) = 0x42;
	TRY((void *)(T + 0xffe));
	expect_pf("fetch.runs_into", id, (void *)(T + 0x1000), T + 0x1000);
	check("fetch.runs_into.al", R.ax & 0xff, 0x42);
	t_reset();
}

/* ---- implicit supervisor accesses, and faults in delivery ---- */

SNIP(sys_load_seg, "movl %ecx, %es");
SNIP(sys_int30, "int $0x30");

static void test_implicit(void)
{
	extern struct table_reg gdtr;
	struct table_reg moved = { .limit = gdtr.limit, .base = T };

	/* A GDT in a supervisor page serves ring 3. */
	t_reset();
	memcpy((void *)T_GPA, gdt, GDT_SLOTS * 8);
	map(T, T_GPA, PTE_P | PTE_W);
	flush();
	__asm__ volatile("lgdt %0" : : "m"(moved));
	fresh_alias(sys_load_seg);
	R.cx = SEL_UDS;
	run();
	expect_end("implicit.gdt");
	/* An absent page of the GDT: a supervisor read, whoever asked. The rest of it stays present. */
	moved.base = T + 0x1000 - SEL_FREE;
	memcpy((void *)(T_GPA + 0x1000 - SEL_FREE), gdt, SEL_FREE);
	map(T + 0x1000, T_GPA + 0x1000, 0);
	flush();
	__asm__ volatile("lgdt %0" : : "m"(moved));
	fresh_alias(sys_load_seg);
	R.cx = SEL_FREE;
	run();
	__asm__ volatile("lgdt %0" : : "m"(gdtr));
	expect_pf("implicit.gdt_absent", 0, USER(sys_load_seg), T + 0x1000);
	t_reset();
}

void paging_tests(void)
{
	test_permissions();
	test_switches();
	test_accessed_dirty();
	test_flush();
	test_code();
	test_crossing();
	test_strings();
	test_fetch();
	test_implicit();
}
