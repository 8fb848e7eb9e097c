/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* SYSCALL, SYSRET, SYSENTER, SYSEXIT as each vendor has them. */
#include "test/x86/system_guest.h"

#define SYSCALL	 0x0f, 0x05
#define SYSRET	 0x0f, 0x07
#define SYSENTER 0x0f, 0x34
#define SYSEXIT	 0x0f, 0x35

static struct guest *prepared(enum guest_mode mode, unsigned cpl, enum x86_vendor vendor)
{
	struct guest *g = system_guest(mode, cpl);

	g->cpu.vendor = vendor;
	g->cpu.efer |= X86_EFER_SCE;
	g->cpu.star = 0x0020000800005678;
	g->cpu.lstar = 0xffffffff80001000;
	g->cpu.cstar = 0xffffffff80002000;
	g->cpu.sfmask = X86_RF_IF | X86_RF_TF;
	g->cpu.sysenter_cs = 0x0b;
	g->cpu.sysenter_esp = 0xffff800000000100;
	g->cpu.sysenter_eip = 0xffffffff80003000;
	g->cpu.rflags = 2 | X86_RF_IF | X86_FL_CF | X86_RF_RF;
	return g;
}

static void expect_flat(const struct x86_seg *seg, uint16_t sel, uint32_t access)
{
	assert_int_equal(seg->sel, sel);
	assert_int_equal(seg->base, 0);
	assert_int_equal(seg->limit, UINT32_MAX);
	assert_int_equal(seg->access, access | (uint32_t)(sel & 3) << 5);
}

static void test_syscall(void **state)
{
	struct guest *g = prepared(GUEST_LONG64, 3, X86_VENDOR_INTEL);

	(void)state;
	assert_int_equal(GUEST_RUN(g, SYSCALL), X86_DONE);
	assert_int_equal(g->cpu.rip, 0xffffffff80001000);
	assert_int_equal(g->cpu.gpr[X86_RCX], GUEST_CODE + 2);
	assert_int_equal(g->cpu.gpr[X86_R11], 2 | X86_RF_IF | X86_FL_CF);
	assert_int_equal(g->cpu.rflags, 2 | X86_FL_CF);
	assert_int_equal(g->cpu.cpl, 0);
	expect_flat(&g->cpu.seg[X86_CS], 8, A_CODE | A_64);
	expect_flat(&g->cpu.seg[X86_SS], 0x10, A_DATA | A_32);
	assert_int_equal(g->cpu.gpr[X86_RSP], STACK_NOW);
	guest_destroy(g);
}

static void test_syscall_elsewhere(void **state)
{
	struct guest *g = prepared(GUEST_COMPAT32, 3, X86_VENDOR_INTEL);

	(void)state;
	guest_code(g, (const uint8_t[]){SYSCALL}, 2);
	assert_fault(g, guest_step(g), X86_UD, 0);
	g->cpu.vendor = X86_VENDOR_AMD;
	assert_int_equal(guest_step(g), X86_DONE);
	assert_int_equal(g->cpu.rip, 0xffffffff80002000);
	assert_int_equal(x86_code_size(&g->cpu), 64);
	guest_destroy(g);
	g = prepared(GUEST_PROT32, 3, X86_VENDOR_AMD);
	assert_int_equal(GUEST_RUN(g, SYSCALL), X86_DONE);
	assert_int_equal(g->cpu.rip, 0x5678);
	assert_int_equal(g->cpu.rflags, 2 | X86_FL_CF);
	expect_flat(&g->cpu.seg[X86_CS], 8, A_CODE | A_32);
	guest_destroy(g);
	g = prepared(GUEST_LONG64, 3, X86_VENDOR_AMD);
	g->cpu.efer &= ~(uint64_t)X86_EFER_SCE;
	guest_code(g, (const uint8_t[]){SYSCALL}, 2);
	assert_fault(g, guest_step(g), X86_UD, 0);
	guest_destroy(g);
}

static void test_sysret(void **state)
{
	struct guest *g = prepared(GUEST_LONG64, 0, X86_VENDOR_INTEL);

	(void)state;
	g->cpu.gpr[X86_RCX] = 0x7fff12345678;
	g->cpu.gpr[X86_R11] = ~(uint64_t)X86_RF_TF;
	assert_int_equal(GUEST_RUN(g, 0x48, SYSRET), X86_DONE);
	assert_int_equal(g->cpu.rip, 0x7fff12345678);
	assert_int_equal(g->cpu.rflags, 0x3c7ed7);
	assert_int_equal(g->cpu.cpl, 3);
	expect_flat(&g->cpu.seg[X86_CS], 0x33, A_CODE | A_64);
	expect_flat(&g->cpu.seg[X86_SS], 0x2b, A_DATA | A_32);
	guest_destroy(g);
	g = prepared(GUEST_LONG64, 0, X86_VENDOR_INTEL);
	g->cpu.gpr[X86_RCX] = 0x7fff12345678;
	assert_int_equal(GUEST_RUN(g, SYSRET), X86_DONE);
	assert_int_equal(g->cpu.rip, 0x12345678);
	expect_flat(&g->cpu.seg[X86_CS], 0x23, A_CODE | A_32);
	guest_destroy(g);
}

/* Intel's faults in ring 0, AMD's at the target. */
static void test_sysret_noncanonical(void **state)
{
	struct guest *g = prepared(GUEST_LONG64, 0, X86_VENDOR_INTEL);

	(void)state;
	g->cpu.gpr[X86_RCX] = 1ull << 47;
	guest_code(g, (const uint8_t[]){0x48, SYSRET}, 3);
	assert_fault(g, guest_step(g), X86_GP, 0);
	g->cpu.vendor = X86_VENDOR_AMD;
	assert_int_equal(guest_step(g), X86_DONE);
	assert_int_equal(g->cpu.cpl, 3);
	assert_fault(g, guest_step(g), X86_GP, 0);
	guest_destroy(g);
	g = prepared(GUEST_LONG64, 3, X86_VENDOR_INTEL);
	guest_code(g, (const uint8_t[]){0x48, SYSRET}, 3);
	assert_fault(g, guest_step(g), X86_GP, 0);
	guest_destroy(g);
}

static void test_sysenter(void **state)
{
	struct guest *g = prepared(GUEST_LONG64, 3, X86_VENDOR_INTEL);

	(void)state;
	assert_int_equal(GUEST_RUN(g, SYSENTER), X86_DONE);
	assert_int_equal(g->cpu.rip, 0xffffffff80003000);
	assert_int_equal(g->cpu.gpr[X86_RSP], 0xffff800000000100);
	assert_int_equal(g->cpu.rflags, 2 | X86_FL_CF);
	expect_flat(&g->cpu.seg[X86_CS], 8, A_CODE | A_64);
	expect_flat(&g->cpu.seg[X86_SS], 0x10, A_DATA | A_32);
	guest_destroy(g);
	g = prepared(GUEST_PROT32, 3, X86_VENDOR_AMD);
	assert_int_equal(GUEST_RUN(g, SYSENTER), X86_DONE);
	assert_int_equal(g->cpu.rip, 0x80003000);
	assert_int_equal(g->cpu.gpr[X86_RSP], 0x100);
	expect_flat(&g->cpu.seg[X86_CS], 8, A_CODE | A_32);
	guest_destroy(g);
	g = prepared(GUEST_COMPAT32, 3, X86_VENDOR_AMD);
	guest_code(g, (const uint8_t[]){SYSENTER}, 2);
	assert_fault(g, guest_step(g), X86_UD, 0);
	g->cpu.vendor = X86_VENDOR_INTEL;
	g->cpu.sysenter_cs = 3;
	assert_fault(g, guest_step(g), X86_GP, 0);
	guest_destroy(g);
}

static void test_sysexit(void **state)
{
	struct guest *g = prepared(GUEST_LONG64, 0, X86_VENDOR_INTEL);

	(void)state;
	g->cpu.gpr[X86_RCX] = 0x7ffff0001000;
	g->cpu.gpr[X86_RDX] = 0x7ffff0002000;
	assert_int_equal(GUEST_RUN(g, 0x48, SYSEXIT), X86_DONE);
	assert_int_equal(g->cpu.rip, 0x7ffff0002000);
	assert_int_equal(g->cpu.gpr[X86_RSP], 0x7ffff0001000);
	assert_int_equal(g->cpu.cpl, 3);
	expect_flat(&g->cpu.seg[X86_CS], 0x2b, A_CODE | A_64);
	expect_flat(&g->cpu.seg[X86_SS], 0x33, A_DATA | A_32);
	guest_destroy(g);
	g = prepared(GUEST_PROT32, 0, X86_VENDOR_AMD);
	g->cpu.gpr[X86_RCX] = 0x1000;
	g->cpu.gpr[X86_RDX] = 0x2000;
	assert_int_equal(GUEST_RUN(g, SYSEXIT), X86_DONE);
	expect_flat(&g->cpu.seg[X86_CS], 0x1b, A_CODE | A_32);
	expect_flat(&g->cpu.seg[X86_SS], 0x23, A_DATA | A_32);
	guest_destroy(g);
	g = prepared(GUEST_PROT32, 3, X86_VENDOR_INTEL);
	guest_code(g, (const uint8_t[]){SYSEXIT}, 2);
	assert_fault(g, guest_step(g), X86_GP, 0);
	guest_destroy(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_syscall),
		cmocka_unit_test(test_syscall_elsewhere),
		cmocka_unit_test(test_sysret),
		cmocka_unit_test(test_sysret_noncanonical),
		cmocka_unit_test(test_sysenter),
		cmocka_unit_test(test_sysexit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
