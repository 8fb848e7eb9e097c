/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Control, debug and base registers, XCR0, TLB instructions, flags. */
#include "test/x86/system_guest.h"

/* What x86_ops.flush was told, in order. */
struct flushes {
	struct x86_ops ops;
	enum x86_flush kind;
	uint64_t gla;
	unsigned count;
	uint64_t cr8;
};

static struct flushes log_;

static void log_flush(struct x86_cpu *cpu, enum x86_flush kind, uint64_t gla)
{
	(void)cpu;
	log_.kind = kind;
	log_.gla = gla;
	log_.count++;
}

static uint64_t cr8_read(struct x86_cpu *cpu)
{
	(void)cpu;
	return log_.cr8;
}

static void cr8_write(struct x86_cpu *cpu, uint64_t value)
{
	(void)cpu;
	log_.cr8 = value;
}

static struct guest *logged(enum guest_mode mode, unsigned cpl)
{
	struct guest *g = system_guest(mode, cpl);

	log_ = (struct flushes){.ops = *g->cpu.ops};
	log_.ops.flush = log_flush;
	log_.ops.cr8_read = cr8_read;
	log_.ops.cr8_write = cr8_write;
	g->cpu.ops = &log_.ops;
	return g;
}

static void expect_flush(enum x86_flush kind, unsigned count)
{
	assert_int_equal(log_.count, count);
	if (count)
		assert_int_equal(log_.kind, kind);
	log_.count = 0;
}

/* ---- CR0 ---- */

static void test_cr0(void **state)
{
	static const struct {
		enum guest_mode mode;
		uint64_t set, clear;
		bool ok;
		int flush; /* -1: none */
	} tests[] = {
		{GUEST_PROT32, 1ull << 32, 0, false, -1},
		{GUEST_PROT32, X86_CR0_NW, 0, false, -1},
		{GUEST_PROT32, X86_CR0_NW | X86_CR0_CD, 0, true, -1},
		{GUEST_PROT32, 0, X86_CR0_PE, false, -1}, /* PG without PE */
		{GUEST_PROT32, 0, X86_CR0_PE | X86_CR0_PG, true, X86_FLUSH_ALL},
		{GUEST_PROT32, 0, X86_CR0_WP, true, X86_FLUSH_MODE},
		{GUEST_PROT32, X86_CR0_TS | X86_CR0_EM | X86_CR0_AM, 0, true, -1},
		{GUEST_PROT32, 0xc0, 0, true, -1},	  /* reserved bits read as 0 */
		{GUEST_LONG64, 0, X86_CR0_PG, false, -1}, /* in 64-bit mode */
		{GUEST_COMPAT32, 0, X86_CR0_PG, true, X86_FLUSH_ALL},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		struct guest *g = logged(tests[i].mode, 0);
		uint64_t value = (g->cpu.cr0 | tests[i].set) & ~tests[i].clear;

		if (tests[i].ok) {
			assert_int_equal(x86_set_cr0(&g->cpu, value), X86_DONE);
			assert_int_equal(g->cpu.cr0, value & ~0xc0ull);
		} else {
			assert_fault(g, x86_set_cr0(&g->cpu, value), X86_GP, 0);
		}
		expect_flush((enum x86_flush)tests[i].flush, tests[i].flush >= 0);
		guest_destroy(g);
	}
}

/* Setting PG with EFER.LME enters long mode, clearing it leaves (SDM vol. 3, 9.8.5). */
static void test_enter_long(void **state)
{
	struct guest *g = logged(GUEST_COMPAT32, 0);
	uint64_t cr0 = g->cpu.cr0;

	(void)state;
	assert_int_equal(x86_set_cr0(&g->cpu, cr0 & ~(uint64_t)X86_CR0_PG), X86_DONE);
	assert_int_equal(g->cpu.efer, X86_EFER_LME);
	g->cpu.cr4 &= ~(uint64_t)X86_CR4_PAE;
	assert_fault(g, x86_set_cr0(&g->cpu, cr0), X86_GP, 0);
	g->cpu.cr4 |= X86_CR4_PAE;
	g->cpu.seg[X86_CS].access |= X86_SEG_L;
	assert_fault(g, x86_set_cr0(&g->cpu, cr0), X86_GP, 0);
	g->cpu.seg[X86_CS].access &= ~X86_SEG_L;
	g->cpu.tr.access = A_TSS16 | 2;
	assert_fault(g, x86_set_cr0(&g->cpu, cr0), X86_GP, 0);
	g->cpu.tr.access = A_TSS | 2;
	assert_int_equal(x86_set_cr0(&g->cpu, cr0), X86_DONE);
	assert_int_equal(g->cpu.efer, X86_EFER_LME | X86_EFER_LMA);
	/* LMA is not for WRMSR, and LME is fixed while paging is on. */
	assert_int_equal(x86_set_efer(&g->cpu, X86_EFER_LME), X86_DONE);
	assert_int_equal(g->cpu.efer, X86_EFER_LME | X86_EFER_LMA);
	assert_fault(g, x86_set_efer(&g->cpu, 0), X86_GP, 0);
	assert_fault(g, x86_set_efer(&g->cpu, X86_EFER_LME | 2), X86_GP, 0);
	expect_flush(X86_FLUSH_ALL, 2);
	assert_int_equal(x86_set_efer(&g->cpu, X86_EFER_LME | X86_EFER_NXE), X86_DONE);
	expect_flush(X86_FLUSH_MODE, 1);
	guest_destroy(g);
}

/* ---- CR3, CR4 ---- */

static void test_cr3(void **state)
{
	struct guest *g = logged(GUEST_LONG64, 0);

	(void)state;
	g->cpu.maxphyaddr = 40;
	assert_int_equal(x86_set_cr3(&g->cpu, 0x1234567018), X86_DONE);
	assert_int_equal(g->cpu.cr3, 0x1234567018);
	expect_flush(X86_FLUSH_CR3, 1);
	assert_fault(g, x86_set_cr3(&g->cpu, 1ull << 40), X86_GP, 0);
	assert_fault(g, x86_set_cr3(&g->cpu, 1ull << 63), X86_GP, 0);
	g->cpu.cr4 |= X86_CR4_PCIDE;
	assert_int_equal(x86_pcid(&g->cpu), 0x018);
	assert_int_equal(x86_set_cr3(&g->cpu, 1ull << 63 | 0x5123), X86_DONE);
	assert_int_equal(g->cpu.cr3, 0x5123);
	expect_flush(X86_FLUSH_CR3_KEEP, 1);
	assert_int_equal(x86_pcid(&g->cpu), 0x123);
	assert_int_equal(x86_set_cr3(&g->cpu, 0x5123), X86_DONE);
	expect_flush(X86_FLUSH_CR3, 1);
	assert_fault(g, x86_set_cr3(&g->cpu, 1ull << 62 | 0x5123), X86_GP, 0);
	assert_fault(g, x86_set_cr3(&g->cpu, 1ull << 63 | 1ull << 40), X86_GP, 0);
	assert_int_equal(g->cpu.cr3, 0x5123);
	expect_flush(X86_FLUSH_CR3, 0);
	guest_destroy(g);
}

static void test_cr4(void **state)
{
	static const struct {
		enum guest_mode mode;
		uint64_t set, clear;
		bool ok;
		int flush;
	} tests[] = {
		{GUEST_PROT32, X86_CR4_VME, 0, false, -1}, /* not offered */
		{GUEST_PROT32, X86_CR4_PVI, 0, false, -1},
		{GUEST_PROT32, 1u << 13, 0, false, -1}, /* VMXE */
		{GUEST_PROT32, 1u << 12, 0, false, -1}, /* LA57 */
		{GUEST_PROT32, 1ull << 32, 0, false, -1},
		{GUEST_PROT32, X86_CR4_TSD | X86_CR4_DE | X86_CR4_PCE | X86_CR4_UMIP, 0, true, -1},
		{GUEST_PROT32, X86_CR4_PSE, 0, true, X86_FLUSH_ALL},
		{GUEST_PROT32, X86_CR4_PGE, 0, true, X86_FLUSH_ALL},
		{GUEST_PROT32, X86_CR4_SMEP, 0, true, X86_FLUSH_MODE},
		{GUEST_PROT32, X86_CR4_SMAP, 0, true, X86_FLUSH_MODE},
		{GUEST_PROT32, X86_CR4_PCIDE, 0, false, -1}, /* long mode only */
		{GUEST_LONG64, X86_CR4_PCIDE, 0, true, X86_FLUSH_ALL},
		{GUEST_COMPAT32, X86_CR4_PCIDE, 0, true, X86_FLUSH_ALL},
		{GUEST_LONG64, 0, X86_CR4_PAE, false, -1},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		struct guest *g = logged(tests[i].mode, 0);
		uint64_t value = (g->cpu.cr4 | tests[i].set) & ~tests[i].clear;

		if (tests[i].ok) {
			assert_int_equal(x86_set_cr4(&g->cpu, value), X86_DONE);
			assert_int_equal(g->cpu.cr4, value);
		} else {
			assert_fault(g, x86_set_cr4(&g->cpu, value), X86_GP, 0);
		}
		expect_flush((enum x86_flush)tests[i].flush, tests[i].flush >= 0);
		guest_destroy(g);
	}
}

static void test_pcid_rules(void **state)
{
	struct guest *g = logged(GUEST_LONG64, 0);

	(void)state;
	g->cpu.cr3 |= 1;
	assert_fault(g, x86_set_cr4(&g->cpu, g->cpu.cr4 | X86_CR4_PCIDE), X86_GP, 0);
	guest_destroy(g);
	g = logged(GUEST_COMPAT32, 0);
	assert_int_equal(x86_set_cr4(&g->cpu, g->cpu.cr4 | X86_CR4_PCIDE), X86_DONE);
	assert_fault(g, x86_set_cr0(&g->cpu, g->cpu.cr0 & ~(uint64_t)X86_CR0_PG), X86_GP, 0);
	/* It may be cleared whatever CR3 holds, and takes all translations with it. */
	assert_int_equal(x86_set_cr3(&g->cpu, 0x5123), X86_DONE);
	expect_flush(X86_FLUSH_CR3, 2);
	assert_int_equal(x86_set_cr4(&g->cpu, g->cpu.cr4 & ~(uint64_t)X86_CR4_PCIDE), X86_DONE);
	expect_flush(X86_FLUSH_ALL, 1);
	assert_int_equal(x86_pcid(&g->cpu), 0);
	guest_destroy(g);
}

static void test_xcr0(void **state)
{
	static const struct {
		uint64_t value;
		bool ok;
	} tests[] = {{0, false}, {1, true}, {2, false}, {3, true}, {5, false}, {7, true},
		{0xf, false}, {1ull << 63 | 1, false}};
	struct guest *g = logged(GUEST_LONG64, 0);

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		if (tests[i].ok)
			assert_int_equal(x86_set_xcr0(&g->cpu, tests[i].value), X86_DONE);
		else
			assert_fault(g, x86_set_xcr0(&g->cpu, tests[i].value), X86_GP, 0);
	g->cpu.gpr[X86_RCX] = 1;
	g->cpu.gpr[X86_RAX] = 7;
	guest_code(g, (const uint8_t[]){0x0f, 0x01, 0xd1}, 3); /* XSETBV of another register */
	assert_fault(g, guest_step(g), X86_GP, 0);
	g->cpu.gpr[X86_RCX] = 0;
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x01, 0xd0), X86_DONE); /* XGETBV */
	assert_int_equal(g->cpu.gpr[X86_RAX], 7);
	assert_int_equal(g->cpu.gpr[X86_RDX], 0);
	guest_destroy(g);
}

/* ---- instructions ---- */

#define RDPKRU 0x0f, 0x01, 0xee
#define WRPKRU 0x0f, 0x01, 0xef

static void test_pkru(void **state)
{
	struct guest *g = logged(GUEST_LONG64, 3);

	(void)state;
	guest_code(g, (const uint8_t[]){RDPKRU}, 3);
	assert_fault(g, guest_step(g), X86_UD, 0); /* CR4.PKE is 0 */
	guest_destroy(g);
	g = logged(GUEST_LONG64, 3);
	g->cpu.cr4 |= X86_CR4_PKE;
	g->cpu.gpr[X86_RAX] = 0xffffffff55555554;
	g->cpu.gpr[X86_RCX] = g->cpu.gpr[X86_RDX] = 0xffffffff00000000;
	assert_int_equal(GUEST_RUN(g, WRPKRU), X86_DONE);
	assert_int_equal(g->cpu.pkru, 0x55555554);
	g->cpu.gpr[X86_RDX] = 1;
	assert_int_equal(GUEST_RUN(g, RDPKRU), X86_DONE);
	assert_int_equal(g->cpu.gpr[X86_RAX], 0x55555554);
	assert_int_equal(g->cpu.gpr[X86_RDX], 0);
	g->cpu.gpr[X86_RDX] = 1;
	guest_code(g, (const uint8_t[]){WRPKRU}, 3);
	assert_fault(g, guest_step(g), X86_GP, 0);
	g->cpu.gpr[X86_RCX] = 1;
	guest_code(g, (const uint8_t[]){RDPKRU}, 3);
	assert_fault(g, guest_step(g), X86_GP, 0);
	guest_destroy(g);
}

static void test_mov_cr(void **state)
{
	struct guest *g = logged(GUEST_LONG64, 0);

	(void)state;
	g->cpu.gpr[X86_RAX] = 0xffff888812345678;
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x22, 0xd0), X86_DONE); /* MOV CR2, RAX */
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x20, 0xd1), X86_DONE); /* MOV RCX, CR2 */
	assert_int_equal(g->cpu.gpr[X86_RCX], 0xffff888812345678);
	g->cpu.gpr[X86_RAX] = 15;
	assert_int_equal(GUEST_RUN(g, 0x44, 0x0f, 0x22, 0xc0), X86_DONE); /* MOV CR8, RAX */
	assert_int_equal(GUEST_RUN(g, 0x44, 0x0f, 0x20, 0xc1), X86_DONE);
	assert_int_equal(g->cpu.gpr[X86_RCX], 15);
	g->cpu.gpr[X86_RAX] = 16;
	guest_code(g, (const uint8_t[]){0x44, 0x0f, 0x22, 0xc0}, 4);
	assert_fault(g, guest_step(g), X86_GP, 0);
	guest_code(g, (const uint8_t[]){0x0f, 0x20, 0xc8}, 3); /* CR1 */
	assert_fault(g, guest_step(g), X86_UD, 0);
	guest_destroy(g);
	g = logged(GUEST_LONG64, 3);
	guest_code(g, (const uint8_t[]){0x0f, 0x20, 0xd8}, 3);
	assert_fault(g, guest_step(g), X86_GP, 0);
	guest_destroy(g);
}

static void test_mov_dr(void **state)
{
	struct guest *g = logged(GUEST_LONG64, 0);

	(void)state;
	g->cpu.gpr[X86_RAX] = UINT32_MAX;
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x23, 0xf0), X86_DONE); /* MOV DR6 */
	assert_int_equal(g->cpu.dr[6], 0xffffefff);
	g->cpu.gpr[X86_RAX] = 0xdfff;
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x23, 0xe8), X86_DONE); /* DR5 is DR7 */
	assert_int_equal(g->cpu.dr[7], 0x7ff);
	g->cpu.gpr[X86_RAX] = 1ull << 32;
	guest_code(g, (const uint8_t[]){0x0f, 0x23, 0xf8}, 3);
	assert_fault(g, guest_step(g), X86_GP, 0);
	g->cpu.cr4 |= X86_CR4_DE;
	guest_code(g, (const uint8_t[]){0x0f, 0x21, 0xe8}, 3);
	assert_fault(g, guest_step(g), X86_UD, 0);
	g->cpu.dr[7] |= 1u << 13; /* GD */
	guest_code(g, (const uint8_t[]){0x0f, 0x21, 0xc0}, 3);
	assert_fault(g, guest_step(g), X86_DB, 0);
	assert_int_equal(g->cpu.fault.dr6, 1u << 13);
	guest_destroy(g);
}

static void test_msw(void **state)
{
	struct guest *g = logged(GUEST_PROT32, 0);
	uint64_t cr0 = g->cpu.cr0;

	(void)state;
	g->cpu.gpr[X86_RAX] = 0xfff8;
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x01, 0xf0), X86_DONE); /* LMSW: PE stays */
	assert_int_equal(g->cpu.cr0, (cr0 & ~14ull) | X86_CR0_TS);
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x06), X86_DONE); /* CLTS */
	assert_int_equal(g->cpu.cr0, cr0 & ~14ull);
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x01, 0xe1), X86_DONE); /* SMSW ECX */
	assert_int_equal(g->cpu.gpr[X86_RCX], cr0 & ~14ull);
	guest_destroy(g);
}

static void test_invlpg(void **state)
{
	struct guest *g = logged(GUEST_LONG64, 0);

	(void)state;
	g->cpu.gpr[X86_RAX] = 0xffff888812345678;
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x01, 0x38), X86_DONE);
	expect_flush(X86_FLUSH_PAGE, 1);
	assert_int_equal(log_.gla, 0xffff888812345678);
	g->cpu.gpr[X86_RAX] = 1ull << 47;
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x01, 0x38), X86_DONE);
	expect_flush(X86_FLUSH_PAGE, 0);
	guest_destroy(g);
}

static void test_invpcid(void **state)
{
	static const struct {
		uint64_t type, pcid, gla;
		bool pcide, ok;
		enum x86_flush flush;
		uint64_t what;
	} tests[] = {
		{0, 5, 0x1234, true, true, X86_FLUSH_PCID_PAGE, 0x1005},
		{0, 5, 0x1000, false, false, 0, 0},
		{0, 0, 0x1000, false, true, X86_FLUSH_PCID_PAGE, 0x1000},
		{0, 0, 1ull << 47, true, false, 0, 0},
		{0, 0x1000, 0, true, false, 0, 0},
		{1, 5, 1ull << 47, true, true, X86_FLUSH_PCID, 5},
		{1, 5, 0, false, false, 0, 0},
		{1, 1ull << 63, 0, true, false, 0, 0},
		{2, 5, 0, false, true, X86_FLUSH_ALL, 0},
		{2, 0x1000, 0, true, false, 0, 0},
		{3, 5, 0, false, true, X86_FLUSH_NONGLOBAL, 0},
		{4, 0, 0, true, false, 0, 0},
		{1ull << 32, 0, 0, true, false, 0, 0},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		struct guest *g = logged(GUEST_LONG64, 0);

		if (tests[i].pcide)
			g->cpu.cr4 |= X86_CR4_PCIDE;
		guest_put(g, AT_DATA, tests[i].pcid, 8);
		guest_put(g, AT_DATA + 8, tests[i].gla, 8);
		g->cpu.gpr[X86_RAX] = tests[i].type;
		g->cpu.gpr[X86_RCX] = AT_DATA;
		guest_code(g, (const uint8_t[]){0x66, 0x0f, 0x38, 0x82, 0x01}, 5);
		if (tests[i].ok)
			assert_int_equal(guest_step(g), X86_DONE);
		else
			assert_fault(g, guest_step(g), X86_GP, 0);
		expect_flush(tests[i].flush, tests[i].ok);
		if (tests[i].ok)
			assert_int_equal(log_.gla, tests[i].what);
		guest_destroy(g);
	}
	struct guest *g = logged(GUEST_LONG64, 3);

	guest_code(g, (const uint8_t[]){0x66, 0x0f, 0x38, 0x82, 0x01}, 5);
	assert_fault(g, guest_step(g), X86_GP, 0);
	guest_destroy(g);
}

static void test_bases(void **state)
{
	struct guest *g = logged(GUEST_LONG64, 0);

	(void)state;
	g->cpu.cr4 |= X86_CR4_FSGSBASE;
	g->cpu.gpr[X86_RAX] = 0xffff888812345678;
	assert_int_equal(GUEST_RUN(g, 0xf3, 0x48, 0x0f, 0xae, 0xd0), X86_DONE); /* WRFSBASE */
	assert_int_equal(g->cpu.seg[X86_FS].base, 0xffff888812345678);
	assert_int_equal(GUEST_RUN(g, 0xf3, 0x0f, 0xae, 0xd8), X86_DONE); /* WRGSBASE EAX */
	assert_int_equal(g->cpu.seg[X86_GS].base, 0x12345678);
	assert_int_equal(GUEST_RUN(g, 0xf3, 0x48, 0x0f, 0xae, 0xc1), X86_DONE); /* RDFSBASE RCX */
	assert_int_equal(g->cpu.gpr[X86_RCX], 0xffff888812345678);
	g->cpu.kernel_gs_base = 0x9999;
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x01, 0xf8), X86_DONE); /* SWAPGS */
	assert_int_equal(g->cpu.seg[X86_GS].base, 0x9999);
	assert_int_equal(g->cpu.kernel_gs_base, 0x12345678);
	g->cpu.gpr[X86_RAX] = 1ull << 47;
	guest_code(g, (const uint8_t[]){0xf3, 0x48, 0x0f, 0xae, 0xd0}, 5);
	assert_fault(g, guest_step(g), X86_GP, 0);
	g->cpu.cr4 &= ~(uint64_t)X86_CR4_FSGSBASE;
	assert_fault(g, guest_step(g), X86_UD, 0);
	guest_destroy(g);
}

/* ---- flags ---- */

static void test_cli_sti(void **state)
{
	static const struct {
		unsigned cpl, iopl;
		bool vm86, ok;
	} tests[] = {
		{0, 0, false, true},
		{3, 0, false, false},
		{3, 3, false, true},
		{3, 2, false, false},
		{3, 3, true, true},
		{3, 0, true, false},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		struct guest *g = logged(GUEST_PROT32, tests[i].cpl);

		g->cpu.rflags = 2 | (uint64_t)tests[i].iopl << 12 | (tests[i].vm86 ? X86_RF_VM : 0);
		if (tests[i].vm86)
			for (unsigned seg = 0; seg < 6; seg++)
				x86_load_seg(&g->cpu, seg, 0);
		guest_code(g, (const uint8_t[]){0xfb, 0xfb, 0xfa}, 3);
		if (!tests[i].ok) {
			assert_fault(g, guest_step(g), X86_GP, 0);
			guest_code(g, (const uint8_t[]){0xfa}, 1);
			assert_fault(g, guest_step(g), X86_GP, 0);
		} else {
			assert_int_equal(guest_step(g), X86_DONE);
			assert_true(g->cpu.rflags & X86_RF_IF);
			assert_int_equal(g->cpu.shadow, X86_SHADOW_STI);
			g->cpu.shadow = 0;
			assert_int_equal(guest_step(g), X86_DONE); /* IF was set already */
			assert_int_equal(g->cpu.shadow, 0);
			assert_int_equal(guest_step(g), X86_DONE);
			assert_false(g->cpu.rflags & X86_RF_IF);
		}
		guest_destroy(g);
	}
}

static void test_ac(void **state)
{
	struct guest *g = logged(GUEST_LONG64, 0);

	(void)state;
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x01, 0xcb), X86_DONE);
	assert_true(g->cpu.rflags & X86_RF_AC);
	assert_int_equal(GUEST_RUN(g, 0x0f, 0x01, 0xca), X86_DONE);
	assert_false(g->cpu.rflags & X86_RF_AC);
	guest_destroy(g);
	g = logged(GUEST_LONG64, 3);
	guest_code(g, (const uint8_t[]){0x0f, 0x01, 0xca}, 3);
	assert_fault(g, guest_step(g), X86_UD, 0); /* not #GP */
	guest_destroy(g);
}

static void test_set_rflags(void **state)
{
	static const struct {
		unsigned cpl, iopl;
		uint64_t expected;
	} tests[] = {
		{0, 0, 0x257fd7},
		{0, 3, 0x257fd7},
		{3, 0, 0x254dd7},
		{3, 3, 0x257fd7},
		{1, 1, 0x255fd7},
	};
	struct guest *g = logged(GUEST_PROT32, 0);

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		g->cpu.cpl = (uint8_t)tests[i].cpl;
		g->cpu.rflags = 2 | (uint64_t)tests[i].iopl << 12;
		x86_set_rflags(&g->cpu, UINT64_MAX, UINT64_MAX);
		assert_int_equal(g->cpu.rflags, tests[i].expected);
	}
	guest_destroy(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_cr0),
		cmocka_unit_test(test_enter_long),
		cmocka_unit_test(test_cr3),
		cmocka_unit_test(test_cr4),
		cmocka_unit_test(test_pcid_rules),
		cmocka_unit_test(test_xcr0),
		cmocka_unit_test(test_pkru),
		cmocka_unit_test(test_mov_cr),
		cmocka_unit_test(test_mov_dr),
		cmocka_unit_test(test_msw),
		cmocka_unit_test(test_invlpg),
		cmocka_unit_test(test_invpcid),
		cmocka_unit_test(test_bases),
		cmocka_unit_test(test_cli_sti),
		cmocka_unit_test(test_ac),
		cmocka_unit_test(test_set_rflags),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
