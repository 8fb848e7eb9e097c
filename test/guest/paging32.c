/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* 32-bit paging: the common tests, 4 MiB pages, PSE-36, faults while an exception is delivered. */
#include "paging.h"

static const struct paging_mode mode = { .levels = 2, .entry_size = 4 };

extern uint32_t dftss[];

static void test_large(void)
{
	struct regs4 f = cpuid(1, 0);

	/* PS means nothing without CR4.PSE: the entry points to a table. */
	MEM32(0x200000 + 0x10) = 0xaaaaaaaa;
	MEM32(0x300000) = 0x200000 | (uint32_t)PTE_ALL;
	entry_set(LARGE, 2, 0x300000 | PTE_ALL | PTE_PS);
	write_cr3(read_cr3());
	TRY(pg_read32, R.bx = LARGE + 0x10);
	expect_end("large.pse_off");
	check("large.pse_off.value", R.ax, 0xaaaaaaaa);
	write_cr4(read_cr4() | CR4_PSE);
	entry_set(LARGE, 2, 0 | PTE_ALL | PTE_PS);
	write_cr3(read_cr3());
	MEM32(0x323454) = 0xbbbbbbbb;
	TRY(pg_read32, R.bx = LARGE + 0x323454);
	expect_end("large.read");
	check("large.read.value", R.ax, 0xbbbbbbbb);
	check("large.accessed", entry_get(LARGE, 2) & (PTE_A | PTE_D), PTE_A);
	TRY(pg_write32, R.bx = LARGE + 0x323458, R.ax = 0xcccccccc);
	check("large.write", MEM32(0x323458), 0xcccccccc);
	check("large.dirty", entry_get(LARGE, 2) & (PTE_A | PTE_D), PTE_A | PTE_D);
	/* One INVLPG anywhere inside drops all of it. */
	entry_set(LARGE, 2, 0x400000 | PTE_ALL | PTE_PS);
	invlpg(LARGE + 0x1000);
	MEM32(0x00001000) = MEM32(0x00001000);
	TRY(pg_read32, R.bx = LARGE + 0x323454);
	check("large.invlpg", R.ax == 0xbbbbbbbb, 0);
	entry_set(LARGE, 2, 0 | PTE_P | PTE_PS);
	write_cr3(read_cr3());
	fresh_alias(pg_read32);
	R.bx = LARGE + 8;
	run();
	expect_pf("large.user_supervisor", E_P | E_U, USER(pg_read32), LARGE + 8);
	write_cr0(read_cr0() | CR0_WP);
	TRY(pg_write32, R.bx = LARGE + 8);
	expect_pf("large.wp", E_P | E_W, pg_write32, LARGE + 8);
	write_cr0(read_cr0() & ~CR0_WP);
	/* Bit 21 is reserved in a 4 MiB entry whatever PSE-36 offers. */
	entry_set(LARGE, 2, (1u << 21) | PTE_ALL | PTE_PS);
	write_cr3(read_cr3());
	TRY(pg_read32, R.bx = LARGE);
	expect_pf("large.reserved", E_P | E_R, pg_read32, LARGE);
	check("large.has_pse", f.d >> 3 & 1, 1);
	entry_set(LARGE, 2, 0);
	write_cr4(read_cr4() & ~CR4_PSE);
}

CODE(32, store_both, "1: movl %eax, (%ebx)\n movl %ebx, %edx\n addl %esi, %ebx\n movl %edx, %esi\n"
	"subl %ebx, %esi\n loop 1b");

/* Stores to one large page, which learn of the lower half of the next; INVLPG to its upper half. */
static void test_two_large(void)
{
	static const uint32_t dirty = (uint32_t)(PTE_ALL | PTE_PS | PTE_A | PTE_D);

	write_cr4(read_cr4() | CR4_PSE);
	entry_set(LARGE, 2, 0x400000 | dirty);
	entry_set(LARGE + 0x400000, 2, 0x800000 | dirty);
	write_cr3(read_cr3());
	TRY(store_both, R.bx = LARGE + 0x100000, R.si = 0x1000, R.cx = 1000);
	entry_set(LARGE + 0x400000, 2, 0xc00000 | dirty);
	invlpg(LARGE + 0x400000 + 0x300000);
	TRY(store_both, R.bx = LARGE + 0x400010, R.ax = 0x12345678, R.cx = 1);
	expect_end("large.two");
	entry_set(LARGE, 2, 0xc00000 | dirty);
	write_cr3(read_cr3());
	TRY(pg_read32, R.bx = LARGE + 0x10);
	check("large.two.value", R.ax, 0x12345678);
	entry_set(LARGE, 2, 0);
	entry_set(LARGE + 0x400000, 2, 0);
	write_cr3(read_cr3());
	write_cr4(read_cr4() & ~CR4_PSE);
}

CODE(32, ud2_, "ud2");
CODE(32, int30_, "int $0x30");

/* The page of the inner stack, of the IDT entry, and of the TSS are taken away. */
static void test_delivery(void)
{
	extern struct table_reg idtr;
	struct table_reg moved = { .limit = idtr.limit, .base = T };

	/* Ring 3 raises; its handler's stack lies in an absent page; #PF cannot be delivered either. */
	dftss[7] = read_cr3();
	t_reset();
	*(uint32_t *)(tss + 4) = T + 0x1000;
	map(T, T_GPA, 0);
	write_cr3(read_cr3());
	df_ran = 0;
	fresh_alias(ud2_);
	run();
	*(uint32_t *)(tss + 4) = EXC_STACK;
	check("delivery.stack_absent.vector", R.vector, DF);
	check("delivery.stack_absent.task", df_ran, 1);
	check("delivery.stack_absent.eip", R.ip, (word)USER(ud2_));
	/* Which word of the frame is written first is the processor's affair. */
	check("delivery.stack_absent.cr2", read_cr2() & ~0x3f, T + 0xfc0);
	/* The IDT's own page: the #PF comes by an entry that is still there. */
	memcpy((void *)(T_GPA + 0x1000 - 0x20 * 8), idt, 0x20 * 8);
	t_reset();
	moved.base = T + 0x1000 - 0x20 * 8;
	map(T + 0x1000, T_GPA + 0x1000, 0);
	write_cr3(read_cr3());
	__asm__ volatile("lidt %0" : : "m"(moved));
	TRY(int30_);
	__asm__ volatile("lidt %0" : : "m"(idtr));
	expect_pf("delivery.idt_absent", 0, int30_, T + 0x1000 + (0x30 - 0x20) * 8);
	t_reset();
}

void image_main(void)
{
	write_cr3((word)paging_build(&mode));
	dftss[7] = read_cr3();
	write_cr0(read_cr0() | CR0_PG);
	paging_tests();
	test_large();
	test_two_large();
	test_delivery();
}
