/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* BT and friends reaching beyond their operand; XLAT. */
#include "test/x86/system_guest.h"

#define AREA	 0x4000u
#define OPERAND	 (AT_DATA + 0x1ffd) /* across a page border when wide */
#define NOPREFIX 0

static void set_bit(struct guest *g, uint64_t at, unsigned bit, bool value)
{
	uint8_t mask = (uint8_t)(1u << bit);

	g->ram[at] = value ? g->ram[at] | mask : g->ram[at] & (uint8_t)~mask;
}

struct reach {
	uint8_t prefix;
	uint64_t number; /* bit number in RAX */
	int at;		 /* byte that holds it */
	unsigned bit;
};

/* All bits around are the opposite of the one that the instruction is after, and stay so. */
static void check_reach(const struct reach *t, uint8_t opcode, bool lock, bool before, bool after)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);
	uint64_t at = OPERAND + t->at;
	uint8_t code[6];
	unsigned len = 0;

	if (lock)
		code[len++] = 0xf0;
	if (t->prefix != NOPREFIX)
		code[len++] = t->prefix;
	code[len++] = 0x0f;
	code[len++] = opcode;
	code[len++] = 0x01; /* [RCX], RAX */
	memset(g->ram + AT_DATA, before ? 0 : 0xff, AREA);
	set_bit(g, at, t->bit, before);
	g->cpu.gpr[X86_RAX] = t->number;
	g->cpu.gpr[X86_RCX] = OPERAND;
	g->cpu.rflags = 2 | X86_FL_ZF | (before ? 0 : X86_FL_CF);
	guest_code(g, code, len);
	assert_int_equal(guest_step(g), X86_DONE);
	assert_int_equal(g->cpu.rflags, 2 | X86_FL_ZF | (before ? X86_FL_CF : 0));
	assert_int_equal(g->ram[at] >> t->bit & 1, after);
	set_bit(g, at, t->bit, !before);
	for (unsigned i = 0; i < AREA; i++)
		assert_int_equal(g->ram[AT_DATA + i], before ? 0 : 0xff);
	guest_destroy(g);
}

static void test_reach(void **state)
{
	static const struct reach tests[] = {
		{NOPREFIX, 0, 0, 0},
		{NOPREFIX, 31, 3, 7},
		{NOPREFIX, 32, 4, 0},
		{NOPREFIX, 1000, 125, 0},
		{NOPREFIX, 0xffffffff, -1, 7},
		{NOPREFIX, 0xfffffc18, -125, 0},
		{NOPREFIX, 0x100000001, 0, 1}, /* a 32-bit number */
		{0x66, 15, 1, 7},
		{0x66, 16, 2, 0},
		{0x66, 0xffff, -1, 7},
		{0x66, 0x8000, -4096, 0},
		{0x48, 63, 7, 7},
		{0x48, 64, 8, 0},
		{0x48, UINT64_MAX, -1, 7},
		{0x48, 8 * 4093 + 3, 4093, 3},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		for (unsigned before = 0; before < 2; before++) {
			check_reach(&tests[i], 0xa3, false, before, before); /* BT */
			for (unsigned lock = 0; lock < 2; lock++) {
				check_reach(&tests[i], 0xab, lock, before, true);    /* BTS */
				check_reach(&tests[i], 0xb3, lock, before, false);   /* BTR */
				check_reach(&tests[i], 0xbb, lock, before, !before); /* BTC */
			}
		}
}

/* BT only reads; the others ask for write permission at once. */
static void test_permissions(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 3);

	(void)state;
	g->cpu.gpr[X86_RAX] = 8 * 4096;
	g->cpu.gpr[X86_RCX] = GUEST_READONLY - 4096;
	assert_int_equal(GUEST_RUN(g, 0x0f, 0xa3, 0x01), X86_DONE);
	guest_code(g, (const uint8_t[]){0x0f, 0xab, 0x01}, 3);
	assert_fault(g, guest_step(g), X86_PF, 7);
	assert_int_equal(g->cpu.fault.cr2, GUEST_READONLY);
	g->cpu.gpr[X86_RCX] = GUEST_READONLY - 4096 - 2; /* the second page of a straddling one */
	assert_fault(g, guest_step(g), X86_PF, 7);
	assert_int_equal(g->cpu.fault.cr2, GUEST_READONLY);
	guest_destroy(g);
}

static void test_device(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);

	(void)state;
	g->device[1] = 0x10;
	g->cpu.gpr[X86_RAX] = 64 + 5;
	g->cpu.gpr[X86_RCX] = GUEST_MMIO;
	assert_int_equal(GUEST_RUN(g, 0x48, 0x0f, 0xab, 0x01), X86_DONE);
	assert_int_equal(g->device[1], 0x30);
	assert_int_equal(g->device_reads, 1);
	assert_int_equal(g->device_writes, 1);
	guest_destroy(g);
}

static void test_xlat(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);

	(void)state;
	g->ram[AT_DATA + 0xff] = 0x5a;
	g->cpu.gpr[X86_RBX] = AT_DATA;
	g->cpu.gpr[X86_RAX] = 0x1234567890ff;
	assert_int_equal(GUEST_RUN(g, 0xd7), X86_DONE);
	assert_int_equal(g->cpu.gpr[X86_RAX], 0x12345678905a);
	/* FS: and a 32-bit address. */
	g->cpu.seg[X86_FS].base = 0x100;
	g->ram[AT_DATA + 0x1ff] = 0xa5;
	g->cpu.gpr[X86_RBX] = 0xffffffff00000000 | AT_DATA;
	g->cpu.gpr[X86_RAX] = 0xff;
	assert_int_equal(GUEST_RUN(g, 0x64, 0x67, 0xd7), X86_DONE);
	assert_int_equal(g->cpu.gpr[X86_RAX], 0xa5);
	guest_destroy(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_reach),
		cmocka_unit_test(test_permissions),
		cmocka_unit_test(test_device),
		cmocka_unit_test(test_xlat),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
