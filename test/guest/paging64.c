/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* 4-level paging: the common tests, 2 MiB and 1 GiB pages, reserved bits, PCID, high addresses. */
#include "paging.h"

static const struct paging_mode mode = { .levels = 4, .entry_size = 8 };

#define HIGH 0xffff800000000000ul
#define TOP  0xfffffffffffff000ul
#define GIB8 0x200000000ul

CODE(64, set_cr3, "mov %rax, %cr3");
CODE(64, set_cr4, "mov %rax, %cr4");
CODE(64, set_cr0, "mov %rax, %cr0");
CODE(64, do_invpcid, "invpcid (%rbx), %rax");

static void reserved(const char *name, uint64_t entry, unsigned level)
{
	uint64_t old = entry_get(LARGE, level);

	entry_set(LARGE, level, entry);
	write_cr3(read_cr3());
	TRY(pg_read32, R.bx = LARGE + 8);
	expect_pf(name, E_P | E_R, pg_read32, LARGE + 8);
	fresh_alias(pg_write32);
	R.bx = LARGE + 8;
	run();
	expect_pf("reserved.user_write", E_P | E_R | E_U | E_W, USER(pg_write32), LARGE + 8);
	entry_set(LARGE, level, old);
	write_cr3(read_cr3());
}

static void test_large(void)
{
	map(LARGE, T_GPA, PTE_ALL);
	reserved("reserved.pte_51", T_GPA | PTE_ALL | 1ull << 51, 1);
	reserved("reserved.pte_nx_off", T_GPA | PTE_ALL | PTE_NX, 1);
	reserved("reserved.pde_51", entry_get(LARGE, 2) | 1ull << 51, 2);
	reserved("reserved.large_13", 0x200000 | PTE_ALL | PTE_PS | 1ull << 13, 2);
	entry_set(LARGE, 2, 0x200000 | PTE_ALL | PTE_PS);
	write_cr3(read_cr3());
	MEM32(0x323454) = 0xbbbbbbbb;
	TRY(pg_read32, R.bx = LARGE + 0x123454);
	check("large.read.value", R.ax, 0xbbbbbbbb);
	check("large.accessed", entry_get(LARGE, 2) & (PTE_A | PTE_D), PTE_A);
	TRY(pg_write32, R.bx = LARGE + 0x123458, R.ax = 0xcccccccc);
	check("large.dirty", entry_get(LARGE, 2) & (PTE_A | PTE_D), PTE_A | PTE_D);
	/* From a large page to small ones under the same address. */
	TRY(pg_read32, R.bx = LARGE + 0x123454);
	entry_set(LARGE, 2, 0);
	map(LARGE + 0x123000, 0x323000, PTE_ALL);
	invlpg(LARGE);
	invlpg(LARGE + 0x123000);
	TRY(pg_read32, R.bx = LARGE + 0x123454);
	check("large.split.value", R.ax, 0xbbbbbbbb);
	TRY(pg_read32, R.bx = LARGE + 0x124454);
	expect_pf("large.split.rest", 0, pg_read32, LARGE + 0x124454);
	/* 1 GiB. */
	if (cpuid(0x80000001, 0).d >> 26 & 1) {
		entry_get(GIB8, 3);
		entry_set(GIB8, 3, 0 | PTE_ALL | PTE_PS);
		write_cr3(read_cr3());
		TRY(pg_read32, R.bx = GIB8 + 0x323454);
		expect_end("huge.read");
		check("huge.read.value", R.ax, 0xbbbbbbbb);
		TRY(pg_write32, R.bx = GIB8 + 0x323458, R.ax = 0xdddddddd);
		check("huge.write", MEM32(0x323458), 0xdddddddd);
		check("huge.dirty", entry_get(GIB8, 3) & (PTE_A | PTE_D), PTE_A | PTE_D);
		entry_set(GIB8, 3, (1ull << 13) | PTE_ALL | PTE_PS);
		write_cr3(read_cr3());
		TRY(pg_read32, R.bx = GIB8);
		expect_pf("huge.reserved_13", E_P | E_R, pg_read32, GIB8);
		entry_set(GIB8, 3, 0);
	} else {
		skip("huge");
	}
	/* PS at the top level is reserved. */
	{
		uint64_t old;

		map(HIGH, T_GPA, PTE_ALL);
		old = entry_get(HIGH, 4);
		entry_set(HIGH, 4, old | PTE_PS);
		write_cr3(read_cr3());
		TRY(pg_read32, R.bx = HIGH);
		expect_pf("reserved.pml4e_ps", E_P | E_R, pg_read32, HIGH);
		entry_set(HIGH, 4, old);
		write_cr3(read_cr3());
		TRY(pg_read32, R.bx = HIGH);
		expect_end("high.read");
	}
}

/* Permissions of the upper two levels count like the lower ones'. */
static void test_upper(void)
{
	for (unsigned level = 3; level <= 4; level++) {
		uint64_t old = entry_get(T, level);

		t_reset();
		/* Level 4 maps everything below 512 GiB: use an address of its own. */
		word at = level == 4 ? HIGH : T;

		old = entry_get(at, level);
		map(at, T_GPA, PTE_ALL);
		if (level == 3)
			continue; /* the kernel lives under the same entry */
		entry_set(at, level, old & ~PTE_U);
		write_cr3(read_cr3());
		fresh_alias(pg_read);
		R.bx = at;
		run();
		expect_pf("upper.user", E_P | E_U, USER(pg_read), at);
		TRY(pg_read, R.bx = at);
		expect_end("upper.supervisor");
		entry_set(at, level, old & ~PTE_W);
		write_cr3(read_cr3());
		fresh_alias(pg_write);
		R.bx = at;
		run();
		expect_pf("upper.write", E_P | E_W | E_U, USER(pg_write), at);
		wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
		entry_set(at, level, old | PTE_NX);
		write_cr3(read_cr3());
		TRY((void *)at);
		expect_pf("upper.nx", E_P | E_I, (void *)at, at);
		wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~(uint64_t)EFER_NXE);
		entry_set(at, level, 0);
		write_cr3(read_cr3());
		TRY(pg_write, R.bx = at + 5);
		expect_pf("upper.absent", E_W, pg_write, at + 5);
		entry_set(at, level, old);
		write_cr3(read_cr3());
	}
}

/* The last page of the address space: accesses wrap into page zero. */
static void test_top(void)
{
	map(TOP, T_GPA, PTE_ALL);
	write_cr3(read_cr3());
	MEM16(T_GPA + 0xffe) = 0x2211;
	TRY(pg_read32, R.bx = TOP + 0xffc);
	expect_end("top.last");
	check("top.last.value", R.ax >> 16, 0x2211);
}

static void test_pcid(void)
{
	static struct {
		uint64_t pcid, gla;
	} d;
	struct regs4 f = cpuid(1, 0);
	word cr3 = read_cr3(), cr4 = read_cr4();

	if (!(f.c >> 17 & 1)) {
		TRY(set_cr4, R.ax = cr4 | CR4_PCIDE);
		expect("pcid.unsupported", GP, 0, set_cr4);
		skip("pcid");
		return;
	}
	write_cr3(cr3 | 0x18);
	TRY(set_cr4, R.ax = cr4 | CR4_PCIDE);
	expect("pcid.enable_with_cr3_bits", GP, 0, set_cr4);
	write_cr3(cr3);
	TRY(set_cr4, R.ax = cr4 | CR4_PCIDE);
	expect_end("pcid.enable");
	TRY(set_cr0, R.ax = read_cr0() & ~(word)CR0_PG);
	expect("pcid.pg_off", GP, 0, set_cr0);
	t_reset();
	MEM8(T_GPA) = 1;
	MEM8(T_GPA + 0x1000) = 2;
	TRY(set_cr3, R.ax = cr3 | 5);
	expect_end("pcid.switch");
	check("pcid.cr3_reads_back", read_cr3(), cr3 | 5);
	TRY(pg_read, R.bx = T);
	check("pcid.read", R.ax & 0xff, 1);
	map(T, T_GPA + 0x1000, PTE_ALL);
	/* A CR3 write with bit 63 clear drops that PCID's translations. */
	write_cr3(cr3 | 5);
	TRY(pg_read, R.bx = T);
	check("pcid.flushed", R.ax & 0xff, 2);
	TRY(set_cr3, R.ax = cr3 | 6 | 1ul << 63);
	expect_end("pcid.no_flush");
	check("pcid.bit63_reads_zero", read_cr3(), cr3 | 6);
	write_cr3(cr3 | 6);
	TRY(pg_read, R.bx = T);
	check("pcid.six", R.ax & 0xff, 2);
	map(T, T_GPA, PTE_ALL);
	invlpg(T);
	TRY(pg_read, R.bx = T);
	check("pcid.invlpg", R.ax & 0xff, 1);
	if (cpuid(7, 0).b >> 10 & 1) {
		for (unsigned type = 0; type < 4; type++) {
			map(T, T_GPA + (type & 1) * 0x1000, PTE_ALL);
			d.pcid = type < 2 ? 6 : 0;
			d.gla = type == 0 ? T : 0;
			TRY(do_invpcid, R.ax = type, R.bx = (word)&d);
			expect_end("invpcid");
			TRY(pg_read, R.bx = T);
			check("invpcid.value", R.ax & 0xff, 1 + (type & 1));
		}
		TRY(do_invpcid, R.ax = 4, R.bx = (word)&d);
		expect("invpcid.type", GP, 0, do_invpcid);
		d.pcid = 0x1000;
		TRY(do_invpcid, R.ax = 0, R.bx = (word)&d);
		expect("invpcid.reserved", GP, 0, do_invpcid);
		d.pcid = 6;
		d.gla = 1ul << 63;
		TRY(do_invpcid, R.ax = 0, R.bx = (word)&d);
		expect("invpcid.noncanonical", GP, 0, do_invpcid);
		fresh_alias(do_invpcid);
		R.bx = (word)USER(&d);
		run();
		expect("invpcid.user", GP, 0, USER(do_invpcid));
	} else {
		skip("invpcid");
	}
	write_cr3(cr3);
	write_cr4(cr4);
	t_reset();
}

/* ---- protection keys: with the translations in use ---- */

CODE(64, do_wrpkru, "wrpkru");

#define CR4_PKE	 (1ul << 22)
#define CR4_PKS	 (1ul << 24)
#define MSR_PKRS 0x6e1
#define E_PK	 0x20u
#define KEY3	 (3ul << 59)
#define AD3	 (1u << 6)
#define WD3	 (2u << 6)

static void pkru(uint32_t value)
{
	TRY(do_wrpkru, R.ax = value, R.cx = 0, R.dx = 0);
	expect_end("pku.wrpkru");
}

static void test_user_keys(word cr4)
{
	map(T, T_GPA, PTE_ALL | KEY3);
	paging_flush();
	TRY(pg_write32, R.bx = T);
	expect_end("pku.off");
	write_cr4(cr4 | CR4_PKE);
	check("pku.ospke", cpuid(7, 0).c >> 4 & 1, 1);
	pkru(0);
	TRY(pg_write32, R.bx = T);
	expect_end("pku.allowed");
	pkru(AD3);
	TRY(pg_read32, R.bx = T);
	expect_pf("pku.ad", E_P | E_PK, pg_read32, T);
	fresh_alias(pg_write32);
	R.bx = T;
	run();
	expect_pf("pku.ad_user", E_P | E_U | E_W | E_PK, USER(pg_write32), T);
	pkru(WD3);
	fresh_alias(pg_read32);
	R.bx = T;
	run();
	expect_end("pku.wd_read");
	fresh_alias(pg_write32);
	R.bx = T;
	run();
	expect_pf("pku.wd_user", E_P | E_U | E_W | E_PK, USER(pg_write32), T);
	pkru(~(AD3 | WD3));
	fresh_alias(pg_read32);
	R.bx = T;
	run(); /* the code's key is 0, and code needs no right */
	expect_end("pku.others");
	pkru(0);
	write_cr4(cr4);
	check("pku.ospke_off", cpuid(7, 0).c >> 4 & 1, 0);
}

static void test_kernel_keys(word cr4)
{
	map(T, T_GPA, PTE_P | PTE_W | KEY3);
	paging_flush();
	write_cr4(cr4 | CR4_PKS);
	wrmsr(MSR_PKRS, 0);
	TRY(pg_write32, R.bx = T);
	expect_end("pks.allowed");
	wrmsr(MSR_PKRS, AD3);
	TRY(pg_read32, R.bx = T);
	expect_pf("pks.ad", E_P | E_PK, pg_read32, T);
	wrmsr(MSR_PKRS, 0);
	TRY(pg_read32, R.bx = T);
	expect_end("pks.allowed_again");
	write_cr4(cr4);
}

static void test_keys(void)
{
	word cr4 = read_cr4();
	struct regs4 f = cpuid(7, 0);

	t_reset();
	if (f.c >> 3 & 1)
		test_user_keys(cr4);
	else
		skip("pku");
	if (f.c >> 31 & 1)
		test_kernel_keys(cr4);
	else
		skip("pks");
	t_reset();
}

void image_main(void)
{
	write_cr3((word)paging_build(&mode));
	paging_tests();
	test_large();
	test_upper();
	test_top();
	test_pcid();
	test_keys();
}
