/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* PAE paging: the common tests, PDPTEs loaded with CR3, 2 MiB pages, NX and reserved bits. */
#include "paging.h"

static const struct paging_mode mode = { .levels = 3, .entry_size = 8, .top_is_pdpte = true };

extern uint32_t dftss[];

CODE(32, set_cr3, "mov %eax, %cr3");
CODE(32, set_cr4, "mov %eax, %cr4");

/* PDPTE 1 (linear 1 GiB and up) is free for this. */
#define GIB 0x40000000ul

static void test_pdpte(void)
{
	uint64_t gpa = entry_gpa(GIB, 3), old;

	map(GIB, T_GPA, PTE_ALL);
	old = MEM64(gpa);
	MEM32(T_GPA) = 0x12345678;
	write_cr3(read_cr3());
	TRY(pg_read32, R.bx = GIB);
	expect_end("pdpte.present");
	check("pdpte.value", R.ax, 0x12345678);
	MEM64(gpa) = 0;
	invlpg(GIB);
	TRY(pg_read32, R.bx = GIB);
	expect_end("pdpte.cached");
	write_cr3(read_cr3());
	TRY(pg_read32, R.bx = GIB);
	expect_pf("pdpte.absent", 0, pg_read32, GIB);
	/* Reserved bits: 2:1, 8:5, 63:MAXPHYADDR. Checked at the load, if P is set. */
	MEM64(gpa) = old | 2;
	TRY(set_cr3, R.ax = read_cr3());
	expect("pdpte.reserved_w", GP, 0, set_cr3);
	MEM64(gpa) = old | 0x20;
	TRY(set_cr3, R.ax = read_cr3());
	expect("pdpte.reserved_5", GP, 0, set_cr3);
	MEM64(gpa) = old | PTE_NX;
	TRY(set_cr3, R.ax = read_cr3());
	expect("pdpte.reserved_63", GP, 0, set_cr3);
	MEM64(gpa) = (old | 2) & ~PTE_P;
	TRY(set_cr3, R.ax = read_cr3());
	expect_end("pdpte.reserved_absent");
	/* Changing CR4.PGE loads them as well. */
	MEM64(gpa) = old | 2;
	TRY(set_cr4, R.ax = read_cr4() ^ CR4_PGE);
	expect("pdpte.cr4_load", GP, 0, set_cr4);
	MEM64(gpa) = old;
	TRY(set_cr4, R.ax = read_cr4() ^ CR4_PGE);
	expect_end("pdpte.cr4_load_good");
	TRY(pg_read32, R.bx = GIB);
	expect_end("pdpte.back");
	write_cr4(read_cr4() & ~CR4_PGE);
	/* CR3 need only be aligned to 32 bytes. */
	memcpy((void *)(T_GPA + 0x7e0), (void *)(word)(gpa - 8), 32);
	TRY(set_cr3, R.ax = (T_GPA + 0x7e0));
	expect_end("pdpte.cr3_32_bytes");
	TRY(pg_read32, R.bx = GIB);
	expect_end("pdpte.cr3_32_bytes_read");
	write_cr3((word)(gpa - 8));
}

static void reserved(const char *name, uint64_t entry, unsigned level)
{
	entry_set(LARGE, level, entry);
	write_cr3(read_cr3());
	TRY(pg_read32, R.bx = LARGE + 8);
	expect_pf(name, E_P | E_R, pg_read32, LARGE + 8);
	fresh_alias(pg_write32);
	R.bx = LARGE + 8;
	run();
	expect_pf("reserved.user_write", E_P | E_R | E_U | E_W, USER(pg_write32), LARGE + 8);
}

static void test_large(void)
{
	map(LARGE, T_GPA, PTE_ALL);
	reserved("reserved.pte_51", T_GPA | PTE_ALL | 1ull << 51, 1);
	reserved("reserved.pte_62", T_GPA | PTE_ALL | 1ull << 62, 1);
	reserved("reserved.pte_nx_off", T_GPA | PTE_ALL | PTE_NX, 1);
	reserved("reserved.pde_51", 0x300000 | PTE_ALL | 1ull << 51, 2);
	reserved("reserved.large_13", 0x200000 | PTE_ALL | PTE_PS | 1ull << 13, 2);
	reserved("reserved.large_20", 0x200000 | PTE_ALL | PTE_PS | 1ull << 20, 2);
	/* Bits 11:9 are ignored, bit 7 of a PTE and bit 12 of a large PDE are PAT. */
	entry_set(LARGE, 2, 0x200000 | PTE_ALL | PTE_PS | 0xe00);
	write_cr3(read_cr3());
	MEM32(0x323454) = 0xbbbbbbbb;
	TRY(pg_read32, R.bx = LARGE + 0x123454);
	expect_end("large.read");
	check("large.read.value", R.ax, 0xbbbbbbbb);
	check("large.accessed", entry_get(LARGE, 2) & (PTE_A | PTE_D), PTE_A);
	TRY(pg_write32, R.bx = LARGE + 0x123458, R.ax = 0xcccccccc);
	check("large.write", MEM32(0x323458), 0xcccccccc);
	check("large.dirty", entry_get(LARGE, 2) & (PTE_A | PTE_D), PTE_A | PTE_D);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_NXE);
	entry_set(LARGE, 2, 0x200000 | PTE_ALL | PTE_PS | PTE_NX);
	write_cr3(read_cr3());
	TRY((void *)LARGE);
	expect_pf("large.nx", E_P | E_I, (void *)LARGE, LARGE);
	TRY(pg_read32, R.bx = LARGE);
	expect_end("large.nx_read");
	/* A fetch fault says so also for an absent page. */
	entry_set(LARGE, 2, 0);
	write_cr3(read_cr3());
	TRY((void *)LARGE);
	expect_pf("large.absent_fetch", E_I, (void *)LARGE, LARGE);
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~(uint64_t)EFER_NXE);
	TRY((void *)LARGE);
	expect_pf("large.absent_fetch_nxe_off", 0, (void *)LARGE, LARGE);
}

void image_main(void)
{
	write_cr4(read_cr4() | CR4_PAE);
	write_cr3((word)paging_build(&mode));
	dftss[7] = read_cr3();
	write_cr0(read_cr0() | CR0_PG);
	paging_tests();
	test_pdpte();
	test_large();
}
