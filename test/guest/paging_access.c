/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Accesses of several parts under paging: across pages, by string instructions, by fetches, implicit ones. */
#include "paging.h"
#include "paging_snip.h"

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
	paging_flush();
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
	paging_flush();
	TRY(code, R.bx = at, R.ax = 0x01020304, R.cx = 0);
	expect_pf("cross.first_absent", E_W, code, at);
	t_reset();
	TRY(code, R.bx = at, R.ax = 0x01020304, R.cx = 0);
	expect_end("cross.both_present");
}

void paging_crossing_tests(void)
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
	paging_flush();
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
	paging_flush();
	TRY(x_fstpt, R.bx = T + 0xff8);
	check("cross.fstp", R.vector, PF);
	check("cross.fstp.cr2", R.cr2, T + 0x1000);
	TRY(x_fstpt_pop);
	__asm__ volatile("fninit");
	TRY(x_fxsave, R.bx = T + 0xf00);
	expect_pf("cross.fxsave", E_W, x_fxsave, T + 0x1000);
	/* Permission of the second page decides too. */
	map(T + 0x1000, T_GPA + 0x5000, PTE_P | PTE_U);
	paging_flush();
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
	paging_flush();
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
	paging_flush();
	TRY(x_bts, R.bx = T, R.cx = 0x2004 * 8);
	expect_pf("cross.bts", E_W, x_bts, T + 0x2004);
	TRY(x_bts, R.bx = T + 0x1000, R.cx = (word)-9);
	expect_end("cross.bts_negative");
	check("cross.bts_negative.value", MEM8(T_GPA + 0xffe) >> 7, 1);
}

/* ---- string instructions stopped by a fault ---- */

void paging_strings_tests(void)
{
	const word src = USER_ALIAS + 0x30000;

	for (unsigned i = 0; i < 0x1000; i++)
		MEM8(0x30000 + i) = (uint8_t)(i * 7 + 1);
	t_reset();
	map(T + 0x1000, T_GPA + 0x1000, 0);
	paging_flush();
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
	paging_flush();
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
	paging_flush();
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

void paging_fetch_tests(void)
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
	paging_flush();
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

void paging_implicit_tests(void)
{
	extern struct table_reg gdtr;
	struct table_reg moved = { .limit = gdtr.limit, .base = T };

	/* A GDT in a supervisor page serves ring 3. */
	t_reset();
	memcpy((void *)T_GPA, gdt, GDT_SLOTS * 8);
	map(T, T_GPA, PTE_P | PTE_W);
	paging_flush();
	__asm__ volatile("lgdt %0" : : "m"(moved));
	fresh_alias(sys_load_seg);
	R.cx = SEL_UDS;
	run();
	expect_end("implicit.gdt");
	/* An absent page of the GDT: a supervisor read, whoever asked. The rest of it stays present. */
	moved.base = T + 0x1000 - SEL_FREE;
	memcpy((void *)(T_GPA + 0x1000 - SEL_FREE), gdt, SEL_FREE);
	map(T + 0x1000, T_GPA + 0x1000, 0);
	paging_flush();
	__asm__ volatile("lgdt %0" : : "m"(moved));
	fresh_alias(sys_load_seg);
	R.cx = SEL_FREE;
	run();
	__asm__ volatile("lgdt %0" : : "m"(gdtr));
	expect_pf("implicit.gdt_absent", 0, USER(sys_load_seg), T + 0x1000);
	t_reset();
}
