/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The page-table walk: every combination of permissions, access and control bits against rules
 * written down here in the manual's words (SDM vol. 3, 4.6.1, 4.7); then each field of each format.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "x86/x86.h"

#define RAM_SIZE 0x20000u
#define GLA	 0x00403123ull /* index 1 of every format's leaf table but one */
#define PAGE	 0x8000u

#define P  1ull
#define W  2ull
#define U  4ull
#define A  0x20ull
#define D  0x40ull
#define PS 0x80ull
#define G  0x100ull
#define NX (1ull << 63)

enum format { FORMAT_32, FORMAT_PAE, FORMAT_LONG, FORMATS };

struct fixture {
	struct x86_cpu cpu;
	_Alignas(4096) uint8_t ram[RAM_SIZE];
	enum format format;
	unsigned writes;    /* announced stores */
	uint64_t change_at; /* an entry that someone else changes when we come to write it */
	uint64_t change_to;
};

static void *ram(struct x86_cpu *cpu, uint64_t gpa, unsigned len, bool write)
{
	struct fixture *f = cpu->owner;

	if (gpa + len > RAM_SIZE)
		return NULL;
	f->writes += write;
	if (write && f->change_at == gpa && f->change_at != 0) {
		memcpy(f->ram + gpa, &f->change_to, len);
		f->change_at = 0;
	}
	return f->ram + gpa;
}

static void flush(struct x86_cpu *cpu, enum x86_flush kind, uint64_t gla)
{
	(void)cpu;
	(void)kind;
	(void)gla;
}

static const struct x86_ops ops = {.ram = ram, .map = x86_map_walk, .flush = flush};

/* Where the walk of GLA finds its entries: top first; the last one is the leaf. */
static const struct {
	unsigned count, size;
	uint64_t at[4];
	uint64_t next[4];
} tables[FORMATS] = {
	[FORMAT_32] = {2, 4, {0x1000 + 1 * 4, 0x2000 + 3 * 4}, {0x2000, PAGE}},
	[FORMAT_PAE] = {2, 8, {0x1000 + 2 * 8, 0x2000 + 3 * 8}, {0x2000, PAGE}},
	[FORMAT_LONG] = {4, 8, {0x1000, 0x2000, 0x3000 + 2 * 8, 0x4000 + 3 * 8},
		{0x2000, 0x3000, 0x4000, PAGE}},
};

static void put(struct fixture *f, unsigned level, uint64_t flags)
{
	uint64_t entry = tables[f->format].next[level] | flags;

	memcpy(f->ram + tables[f->format].at[level], &entry, tables[f->format].size);
}

static void put_raw(struct fixture *f, unsigned level, uint64_t entry)
{
	memcpy(f->ram + tables[f->format].at[level], &entry, tables[f->format].size);
}

static uint64_t get(struct fixture *f, unsigned level)
{
	uint64_t entry = 0;

	memcpy(&entry, f->ram + tables[f->format].at[level], tables[f->format].size);
	return entry;
}

static void reset(struct fixture *f, enum format format)
{
	memset(f, 0, sizeof(*f));
	f->format = format;
	f->cpu.ops = &ops;
	f->cpu.owner = f;
	f->cpu.maxphyaddr = 40;
	f->cpu.cr0 = X86_CR0_PE | X86_CR0_PG;
	f->cpu.cr3 = 0x1000;
	f->cpu.rflags = 2;
	if (format != FORMAT_32) {
		f->cpu.cr4 = X86_CR4_PAE;
		f->cpu.efer = X86_EFER_NXE;
		f->cpu.pdpte[0] = 0x1000 | P;
	}
	if (format == FORMAT_LONG)
		f->cpu.efer |= X86_EFER_LME | X86_EFER_LMA;
	for (unsigned i = 0; i < tables[format].count; i++)
		put(f, i, P | W | U);
}

static enum x86_result walk(struct fixture *f, unsigned acc, struct x86_walk *out)
{
	memset(&f->cpu.fault, 0, sizeof(f->cpu.fault));
	return x86_walk(&f->cpu, GLA, acc, out);
}

/* ---- the permission matrix ---- */

struct access {
	bool user_page, writable, nx; /* of the whole path */
	bool write, exec, user, implicit;
	bool wp, smep, smap, ac, nxe;
};

/* SDM vol. 3, 4.6.1, sentence by sentence. */
static bool is_allowed(const struct access *a)
{
	if (a->exec && a->nxe && a->nx)
		return false;
	if (a->user)
		return a->user_page && (!a->write || a->writable);
	if (a->exec)
		return !(a->user_page && a->smep);
	if (a->user_page && a->smap && (a->implicit || !a->ac))
		return false;
	return !a->write || a->writable || !a->wp;
}

static unsigned error_of(const struct access *a, bool pae)
{
	return 1u | a->write << 1 | a->user << 2 | (a->exec && (a->smep || (a->nxe && pae))) << 4;
}

static void check_one(struct fixture *f, const struct access *a, unsigned where)
{
	unsigned count = tables[f->format].count;
	struct x86_walk out;
	enum x86_result res;
	unsigned acc = a->exec ? X86_ACC_EXEC : a->write ? X86_ACC_WRITE : X86_ACC_READ;

	for (unsigned i = 0; i < count; i++)
		put(f, i,
			P | (i != where || a->user_page ? U : 0) |
				(i != where || a->writable ? W : 0) |
				(i == where && a->nx ? NX : 0));
	f->cpu.cr0 = X86_CR0_PE | X86_CR0_PG | (a->wp ? X86_CR0_WP : 0);
	f->cpu.cr4 = (f->format == FORMAT_32 ? 0 : X86_CR4_PAE) | (a->smep ? X86_CR4_SMEP : 0) |
		     (a->smap ? X86_CR4_SMAP : 0);
	f->cpu.rflags = 2 | (a->ac ? X86_RF_AC : 0);
	acc |= (a->user ? X86_ACC_USER : 0) | (a->implicit ? X86_ACC_IMPLICIT : 0);
	res = walk(f, acc, &out);
	if (is_allowed(a)) {
		assert_int_equal(res, X86_DONE);
		assert_int_equal(out.gpa, PAGE | 0x123);
		assert_int_equal(out.user, a->user_page);
		assert_int_equal(out.writable, a->writable);
		assert_int_equal(get(f, count - 1) & (A | D), a->write ? A | D : A);
	} else {
		assert_int_equal(res, X86_FAULT);
		assert_int_equal(f->cpu.fault.vector, X86_PF);
		assert_int_equal(f->cpu.fault.error, error_of(a, f->format != FORMAT_32));
		assert_int_equal(f->cpu.fault.cr2, GLA);
		for (unsigned i = 0; i < count; i++)
			assert_int_equal(get(f, i) & (A | D), 0);
	}
}

static void check_matrix(enum format format)
{
	static struct fixture f;

	reset(&f, format);
	for (unsigned where = 0; where < tables[format].count; where++)
		for (unsigned bits = 0; bits < 1u << 11; bits++) {
			struct access a = {
				.user_page = bits & 1,
				.writable = bits & 2,
				.nx = bits & 4,
				.write = bits & 8,
				.exec = bits & 16,
				.user = bits & 32,
				.implicit = bits & 64,
				.wp = bits & 128,
				.smep = bits & 256,
				.smap = bits & 512,
				.ac = bits & 1024,
				.nxe = format != FORMAT_32,
			};

			if ((a.write && a.exec) || (a.user && a.implicit) ||
				(a.exec && a.implicit) || (a.nx && format == FORMAT_32))
				continue;
			check_one(&f, &a, where);
		}
}

static void test_matrix_32(void **state)
{
	(void)state;
	check_matrix(FORMAT_32);
}

static void test_matrix_pae(void **state)
{
	(void)state;
	check_matrix(FORMAT_PAE);
}

static void test_matrix_long(void **state)
{
	(void)state;
	check_matrix(FORMAT_LONG);
}

/* ---- presence and reserved bits, level by level ---- */

static void expect_pf(struct fixture *f, unsigned acc, unsigned error)
{
	struct x86_walk out;

	assert_int_equal(walk(f, acc, &out), X86_FAULT);
	assert_int_equal(f->cpu.fault.vector, X86_PF);
	assert_int_equal(f->cpu.fault.error, error);
}

static void expect_gpa(struct fixture *f, uint64_t gpa, unsigned shift)
{
	struct x86_walk out;

	assert_int_equal(walk(f, X86_ACC_READ, &out), X86_DONE);
	assert_int_equal(out.gpa, gpa);
	assert_int_equal(out.page_shift, shift);
}

static void test_not_present(void **state)
{
	static struct fixture f;

	(void)state;
	for (enum format format = 0; format < FORMATS; format++)
		for (unsigned level = 0; level < tables[format].count; level++) {
			reset(&f, format);
			put(&f, level, W | U);
			expect_pf(&f, X86_ACC_READ, 0);
			expect_pf(&f, X86_ACC_WRITE | X86_ACC_USER, 6);
			expect_pf(&f, X86_ACC_EXEC, format == FORMAT_32 ? 0 : 16);
		}
	reset(&f, FORMAT_PAE);
	f.cpu.pdpte[0] = 0;
	expect_pf(&f, X86_ACC_READ, 0);
}

static void test_reserved(void **state)
{
	static const struct {
		enum format format;
		unsigned level;
		uint64_t bits;
		bool nxe, reserved;
	} tests[] = {
		{FORMAT_LONG, 0, 1ull << 40, true, true}, /* at MAXPHYADDR */
		{FORMAT_LONG, 3, 1ull << 51, true, true},
		{FORMAT_LONG, 3, 1ull << 52, true, false}, /* ignored */
		{FORMAT_LONG, 3, NX, false, true}, {FORMAT_LONG, 3, NX, true, false},
		{FORMAT_LONG, 0, PS, true, true},
		{FORMAT_LONG, 1, PS, true, true}, /* 0x3000 is no 1 GiB frame */
		{FORMAT_LONG, 2, PS, true, true}, {FORMAT_LONG, 3, PS, true, false}, /* PAT */
		{FORMAT_LONG, 3, G, true, false}, {FORMAT_PAE, 1, 1ull << 40, true, true},
		{FORMAT_PAE, 1, 1ull << 52, true, true}, {FORMAT_PAE, 1, 1ull << 62, true, true},
		{FORMAT_PAE, 0, NX, false, true}, {FORMAT_PAE, 0, PS, true, true},
		{FORMAT_32, 1, PS, true, false},
		{FORMAT_32, 0, PS, true, false}, /* without CR4.PSE */
	};
	static struct fixture f;
	struct x86_walk out;

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		reset(&f, tests[i].format);
		if (!tests[i].nxe)
			f.cpu.efer &= ~(uint64_t)X86_EFER_NXE;
		put(&f, tests[i].level, P | W | U | tests[i].bits);
		if (tests[i].reserved)
			expect_pf(&f, X86_ACC_WRITE, 1 | 2 | 8);
		else
			assert_int_equal(walk(&f, X86_ACC_READ, &out), X86_DONE);
	}
}

static void test_large_pages(void **state)
{
	static struct fixture f;

	(void)state;
	reset(&f, FORMAT_LONG);
	put_raw(&f, 1, 0xc0000000ull | P | W | U | PS);
	expect_gpa(&f, 0xc0403123, 30);
	put_raw(&f, 1, 0x3000 | P | W | U);
	put_raw(&f, 2, 0xffe00000ull | P | W | U | PS | 0x1000); /* PAT */
	expect_gpa(&f, 0xffe03123, 21);
	reset(&f, FORMAT_PAE);
	put_raw(&f, 0, 0xffe00000ull | P | W | U | PS);
	expect_gpa(&f, 0xffe03123, 21);
	reset(&f, FORMAT_32);
	f.cpu.cr4 = X86_CR4_PSE;
	put_raw(&f, 0, 0xc0400000ull | P | W | U | PS);
	expect_gpa(&f, 0xc0403123, 22);
	put_raw(&f, 0, 0x00400000ull | 0x6000 | P | PS); /* PSE-36: address bits 33:32 */
	expect_gpa(&f, 0x300403123ull, 22);
	put_raw(&f, 0, 0x00400000ull | 1u << 21 | P | PS);
	expect_pf(&f, X86_ACC_READ, 9);
	f.cpu.maxphyaddr = 36;
	put_raw(&f, 0, 0x00400000ull | 1u << 17 | P | PS); /* address bit 36 */
	expect_pf(&f, X86_ACC_READ, 9);
}

/* ---- accessed and dirty bits ---- */

static void test_accessed_dirty(void **state)
{
	static struct fixture f;
	struct x86_walk out;

	(void)state;
	for (enum format format = 0; format < FORMATS; format++) {
		unsigned leaf = tables[format].count - 1;

		reset(&f, format);
		assert_int_equal(walk(&f, X86_ACC_READ | X86_ACC_NOFAULT, &out), X86_DONE);
		assert_int_equal(f.writes, 0);
		assert_false(out.dirty);
		assert_false(out.accessed);
		assert_int_equal(walk(&f, X86_ACC_READ, &out), X86_DONE);
		assert_true(out.accessed);
		assert_int_equal(f.writes, leaf + 1);
		for (unsigned i = 0; i <= leaf; i++)
			assert_int_equal(get(&f, i) & (A | D), A);
		assert_int_equal(walk(&f, X86_ACC_READ | X86_ACC_NOFAULT, &out), X86_DONE);
		assert_true(out.accessed);
		assert_int_equal(walk(&f, X86_ACC_READ, &out), X86_DONE);
		assert_int_equal(f.writes, leaf + 1);
		assert_int_equal(walk(&f, X86_ACC_WRITE, &out), X86_DONE);
		assert_true(out.dirty);
		assert_int_equal(f.writes, leaf + 2);
		assert_int_equal(get(&f, leaf) & (A | D), A | D);
		assert_int_equal(get(&f, 0) & D, 0);
	}
}

/* Somebody takes the page away between our look and our compare-and-swap. */
static void test_race(void **state)
{
	static struct fixture f;

	(void)state;
	for (enum format format = 0; format < FORMATS; format++) {
		unsigned leaf = tables[format].count - 1;

		reset(&f, format);
		f.change_at = tables[format].at[leaf];
		f.change_to = 0;
		expect_pf(&f, X86_ACC_READ, 0);
		reset(&f, format);
		f.change_at = tables[format].at[leaf];
		f.change_to = 0x9000 | P | W | U;
		expect_gpa(&f, 0x9123, 12);
		assert_int_equal(get(&f, leaf), 0x9000 | P | W | U | A);
	}
}

/* ---- the rest ---- */

static void test_global(void **state)
{
	static struct fixture f;
	struct x86_walk out;

	(void)state;
	reset(&f, FORMAT_LONG);
	put(&f, 3, P | G);
	assert_int_equal(walk(&f, X86_ACC_READ, &out), X86_DONE);
	assert_false(out.global);
	f.cpu.cr4 |= X86_CR4_PGE;
	assert_int_equal(walk(&f, X86_ACC_READ, &out), X86_DONE);
	assert_true(out.global);
}

static void test_nofault(void **state)
{
	static struct fixture f;
	struct x86_walk out;

	(void)state;
	reset(&f, FORMAT_LONG);
	put(&f, 3, 0);
	assert_int_equal(walk(&f, X86_ACC_READ | X86_ACC_NOFAULT, &out), X86_FAULT);
	assert_int_equal(f.cpu.fault.vector, 0);
}

static void test_table_outside_ram(void **state)
{
	static struct fixture f;
	struct x86_walk out;

	(void)state;
	reset(&f, FORMAT_LONG);
	put_raw(&f, 1, 0x7000000 | P);
	assert_int_equal(walk(&f, X86_ACC_READ, &out), X86_EXIT);
	assert_int_equal(f.cpu.exit.reason, X86_EXIT_MMIO);
	assert_int_equal(f.cpu.exit.mmio.gpa, 0x7000010);
	assert_int_equal(f.cpu.exit.mmio.gla, GLA);
}

static void test_no_paging(void **state)
{
	static struct fixture f;

	(void)state;
	reset(&f, FORMAT_32);
	f.cpu.cr0 = X86_CR0_PE;
	expect_gpa(&f, GLA, 12);
}

static void test_pdptes(void **state)
{
	static const uint64_t bad[] = {2, 4, 0x20, 0x100, 1ull << 40, NX};
	static struct fixture f;
	uint64_t entry = 0x1000 | P | 8 | 0x10;

	(void)state;
	reset(&f, FORMAT_PAE);
	memset(f.cpu.pdpte, 0, sizeof(f.cpu.pdpte));
	memcpy(f.ram + 0x5020, &entry, 8);
	assert_int_equal(x86_set_cr3(&f.cpu, 0x5020), X86_DONE);
	assert_int_equal(f.cpu.pdpte[0], entry);
	expect_gpa(&f, PAGE | 0x123, 12);
	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		uint64_t broken = entry | bad[i];

		memcpy(f.ram + 0x5038, &broken, 8);
		assert_int_equal(x86_set_cr3(&f.cpu, 0x5020), X86_FAULT);
		assert_int_equal(f.cpu.fault.vector, X86_GP);
		broken &= ~P; /* nobody looks */
		memcpy(f.ram + 0x5038, &broken, 8);
		assert_int_equal(x86_set_cr3(&f.cpu, 0x5020), X86_DONE);
	}
}

/* ---- protection keys (SDM vol. 3, 4.6.2) ---- */

#define KEY(n) ((uint64_t)(n) << 59)

/* Each rights value of key 5, of a user's page by PKRU or of a supervisor's by PKRS. */
static void keys_of(bool user_page)
{
	static const struct {
		unsigned acc;
		bool wp;
		unsigned denied; /* a bit for each rights value: AD is 1, WD 2 */
	} cases[] = {
		{X86_ACC_READ, false, 1 << 1 | 1 << 3},
		{X86_ACC_WRITE, false, 1 << 1 | 1 << 3},
		{X86_ACC_WRITE, true, 1 << 1 | 1 << 2 | 1 << 3},
		{X86_ACC_READ | X86_ACC_USER, false, 1 << 1 | 1 << 3},
		{X86_ACC_WRITE | X86_ACC_USER, false, 1 << 1 | 1 << 2 | 1 << 3},
		{X86_ACC_EXEC, true, 0},
	};
	struct fixture f;
	struct x86_walk out;

	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		for (unsigned rights = 0; rights < 4; rights++) {
			bool user = cases[i].acc & X86_ACC_USER;

			if (user && !user_page)
				continue;
			reset(&f, FORMAT_LONG);
			put(&f, 3, P | W | (user_page ? U : 0) | KEY(5));
			f.cpu.cr0 |= cases[i].wp ? X86_CR0_WP : 0;
			f.cpu.pkru = user_page ? rights << 10 : ~0u;
			f.cpu.pkrs = user_page ? ~0u : rights << 10;
			/* Without the control bit a key is nothing. */
			f.cpu.cr4 |= user_page ? X86_CR4_PKS : X86_CR4_PKE;
			assert_int_equal(walk(&f, cases[i].acc, &out), X86_DONE);
			put(&f, 3, P | W | (user_page ? U : 0) | KEY(5));
			f.cpu.cr4 ^= X86_CR4_PKE | X86_CR4_PKS;
			if (!(cases[i].denied >> rights & 1)) {
				assert_int_equal(walk(&f, cases[i].acc, &out), X86_DONE);
				continue;
			}
			assert_int_equal(walk(&f, cases[i].acc, &out), X86_FAULT);
			assert_int_equal(f.cpu.fault.error,
				0x21 | (cases[i].acc & X86_ACC_WRITE ? 2 : 0) | (user ? 4 : 0));
			assert_int_equal(get(&f, 3) & (A | D), 0);
		}
	}
}

static void test_keys(void **state)
{
	struct fixture f;
	struct x86_walk out;

	(void)state;
	keys_of(true);
	keys_of(false);
	/* Other formats have none. */
	reset(&f, FORMAT_PAE);
	f.cpu.cr4 |= X86_CR4_PKE;
	f.cpu.pkru = ~0u;
	assert_int_equal(walk(&f, X86_ACC_WRITE | X86_ACC_USER, &out), X86_DONE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_matrix_32),
		cmocka_unit_test(test_matrix_pae),
		cmocka_unit_test(test_matrix_long),
		cmocka_unit_test(test_not_present),
		cmocka_unit_test(test_reserved),
		cmocka_unit_test(test_large_pages),
		cmocka_unit_test(test_accessed_dirty),
		cmocka_unit_test(test_race),
		cmocka_unit_test(test_global),
		cmocka_unit_test(test_nofault),
		cmocka_unit_test(test_table_outside_ram),
		cmocka_unit_test(test_no_paging),
		cmocka_unit_test(test_pdptes),
		cmocka_unit_test(test_keys),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
