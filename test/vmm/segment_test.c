/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The segmentation helpers of instruction emulation. */
#include "test/vmm/harness.h"

#define DATA_RW	  0x93u
#define DATA_RO	  0x91u
#define DATA_DOWN 0x97u
#define CODE_XR	  0x9bu
#define CODE_X	  0x99u
#define DB	  0x4000u

struct gla_case {
	enum vm_cpu_mode mode;
	enum vm_reg_name seg;
	struct seg_desc desc;
	uint64_t offset;
	int length, addrsize, prot;
	int result;
	uint64_t gla;
};

#define DS   VM_REG_GUEST_DS
#define FS   VM_REG_GUEST_FS
#define REAL CPU_MODE_REAL
#define PROT CPU_MODE_PROTECTED
#define LONG CPU_MODE_64BIT
#define R    PROT_READ
#define W    PROT_WRITE

static const struct gla_case cases[] = {
	{REAL, DS, {0x12340, 0xffff, DATA_RW}, 0x10, 2, 2, R, 0, 0x12350},
	{REAL, DS, {0x12340, 0xffff, DATA_RW}, 0x10010, 2, 2, R, 0, 0x12350}, /* truncated */
	{REAL, DS, {0, 0xffff, DATA_RW}, 0xffff, 1, 2, R, 0, 0xffff},
	{REAL, DS, {0, 0xffff, DATA_RW}, 0x10000, 1, 4, R, -1, 0},
	{REAL, DS, {0, 0xffff, DATA_RW}, 0xffff, 2, 4, R, -1, 0},
	{REAL, DS, {0, 0xffff, DATA_RW}, 0xffff, 2, 2, R, 0, 0xffff}, /* wraps to 0 */
	{REAL, DS, {0, 0xfff, DATA_RW}, 0xfff, 2, 2, R, -1, 0},
	{PROT, DS, {0xfffff000, 0xffffffff, DATA_RW}, 0x2000, 4, 4, W, 0, 0x1000}, /* 32 bits */
	{PROT, DS, {0, 0xffff, DATA_RO}, 0, 4, 4, R, 0, 0},
	{PROT, DS, {0, 0xffff, DATA_RO}, 0, 4, 4, W, -1, 0},
	{PROT, DS, {0, 0xffff, CODE_XR}, 0, 4, 4, R, 0, 0},
	{PROT, DS, {0, 0xffff, CODE_XR}, 0, 4, 4, W, -1, 0},
	{PROT, DS, {0, 0xffff, CODE_X}, 0, 4, 4, R, -1, 0},
	{PROT, DS, {0, 0xffff, DATA_RW | 0x10000}, 0, 4, 4, R, -1, 0}, /* unusable */
	{PROT, DS, {0, 0xffff, 0x13}, 0, 4, 4, R, -1, 0},	       /* not present */
	{PROT, DS, {0, 0xffff, DATA_DOWN}, 0xfff0, 4, 4, R, -1, 0},
	{PROT, DS, {0, 0xfff, DATA_DOWN}, 0x1000, 4, 4, R, 0, 0x1000},
	{PROT, DS, {0, 0xfff, DATA_DOWN}, 0xfff, 4, 4, R, -1, 0},
	{PROT, DS, {0, 0xfff, DATA_DOWN}, 0xffff, 1, 4, R, 0, 0xffff},
	{PROT, DS, {0, 0xfff, DATA_DOWN}, 0xfffe, 4, 4, R, -1, 0}, /* past 64 KiB */
	{PROT, DS, {0, 0xfff, DATA_DOWN | DB}, 0xfffe, 4, 4, R, 0, 0xfffe},
	{PROT, DS, {0, 0xffffffff, DATA_DOWN | DB}, 0, 1, 4, R, -1, 0}, /* empty */
	{CPU_MODE_COMPATIBILITY, DS, {0, 0xff, DATA_RW}, 0x100, 1, 4, R, -1, 0},
	{LONG, DS, {0x5000, 0, 0}, 0x100, 8, 8, W, 0, 0x100}, /* no base, no checks */
	{LONG, FS, {0x5000, 0, 0}, 0x100, 8, 8, W, 0, 0x5100},
	{LONG, FS, {0xffff800000000000, 0, 0}, 0x1ffffffff, 1, 4, W, 0, 0xffff8000ffffffff},
	{LONG, DS, {0, 0, 0}, 0xffff800000000000, 8, 8, R, 0, 0xffff800000000000},
};

static void linear_addresses(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct gla_case *c = &cases[i];
		struct seg_desc desc = c->desc;
		uint64_t gla = 0;
		int result = vie_calculate_gla(
			c->mode, c->seg, &desc, c->offset, c->length, c->addrsize, c->prot, &gla);

		if (result != c->result || gla != c->gla)
			fail_msg("case %zu: %d, %#lx", i, result, (unsigned long)gla);
	}
}

static void canonical(void **state)
{
	(void)state;
	assert_int_equal(vie_canonical_check(LONG, 0x7fffffffffff), 0);
	assert_int_equal(vie_canonical_check(LONG, 0x800000000000), 1);
	assert_int_equal(vie_canonical_check(LONG, 0xffff7fffffffffff), 1);
	assert_int_equal(vie_canonical_check(LONG, 0xffff800000000000), 0);
	assert_int_equal(vie_canonical_check(CPU_MODE_COMPATIBILITY, 0x800000000000), 0);
}

static void alignment(void **state)
{
	const uint64_t am = X86_CR0_AM, ac = X86_RF_AC;

	(void)state;
	assert_int_equal(vie_alignment_check(3, 4, am, ac, 2), 1);
	assert_int_equal(vie_alignment_check(3, 4, am, ac, 4), 0);
	assert_int_equal(vie_alignment_check(3, 1, am, ac, 3), 0);
	assert_int_equal(vie_alignment_check(2, 4, am, ac, 2), 0);
	assert_int_equal(vie_alignment_check(3, 4, 0, ac, 2), 0);
	assert_int_equal(vie_alignment_check(3, 4, am, 0, 2), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(linear_addresses),
		cmocka_unit_test(canonical),
		cmocka_unit_test(alignment),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
