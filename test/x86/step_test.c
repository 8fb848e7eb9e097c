/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Fetch, and NATIVE instructions through the scratch area: what values they compute is the
 * differential test's; here are registers that need care, memory operands of every kind, and
 * faults.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "test/x86/step_guest.h"

static uint64_t peek(const struct guest *g, uint64_t at, unsigned size)
{
	uint64_t value = 0;

	memcpy(&value, g->ram + at, size);
	return value;
}

static void poke(struct guest *g, uint64_t at, uint64_t value, unsigned size)
{
	memcpy(g->ram + at, &value, size);
}

static void expect_fault(struct guest *g, enum x86_result res, unsigned vector)
{
	assert_int_equal(res, X86_FAULT);
	assert_int_equal(g->cpu.fault.vector, vector);
	assert_true(g->cpu.rip == GUEST_CODE);
}

static enum x86_result fetch_at(struct guest *g, uint64_t rip)
{
	g->cpu.rip = rip;
	return x86_fetch(&g->cpu, &g->insn);
}

static void test_fetch(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);
	static const uint8_t mov[] = {0x48, 0xB8, 1, 2, 3, 4, 5, 6, 7, 8};

	(void)state;
	for (unsigned before = 1; before < sizeof(mov); before++) {
		memcpy(g->ram + GUEST_CODE + 4096 - before, mov, sizeof(mov));
		guest_protect(g, GUEST_CODE + 4096, PTE_P | PTE_U);
		assert_int_equal(fetch_at(g, GUEST_CODE + 4096 - before), X86_DONE);
		assert_int_equal(g->insn.len, 10);
		assert_true(g->insn.imm == 0x0807060504030201);
		guest_protect(g, GUEST_CODE + 4096, 0);
		assert_int_equal(fetch_at(g, GUEST_CODE + 4096 - before), X86_FAULT);
		assert_int_equal(g->cpu.fault.vector, X86_PF);
		assert_true(g->cpu.fault.cr2 == GUEST_CODE + 4096);
	}
	g->ram[GUEST_CODE + 4095] = 0x90; /* complete: the missing page does not matter */
	assert_int_equal(fetch_at(g, GUEST_CODE + 4095), X86_DONE);
	g->ram[GUEST_CODE + 4094] = 0x0F; /* no such instruction, whatever follows */
	g->ram[GUEST_CODE + 4095] = 0x0B;
	assert_int_equal(fetch_at(g, GUEST_CODE + 4094), X86_DONE);
	assert_int_equal(g->insn.row->mnem, X86_I_ud2);
	memset(g->ram + GUEST_CODE, 0x66, 16);
	expect_fault(g, fetch_at(g, GUEST_CODE), X86_GP); /* over 15 bytes */
	g->ram[GUEST_CODE] = 0x06;
	expect_fault(g, fetch_at(g, GUEST_CODE), X86_UD);
	assert_int_equal(fetch_at(g, 0x800000000000), X86_FAULT);
	assert_int_equal(g->cpu.fault.vector, X86_GP);
	assert_int_equal(fetch_at(g, GUEST_MMIO), X86_EXIT);
	assert_int_equal(g->cpu.exit.reason, X86_EXIT_MMIO);
	guest_destroy(g);
}

static void test_fetch_limit(void **state)
{
	struct guest *g = guest_create(GUEST_PROT32, 3);
	static const uint8_t mov[] = {0xB8, 1, 2, 3, 4};

	(void)state;
	memcpy(g->ram + GUEST_CODE + 0x100, mov, sizeof(mov));
	g->cpu.seg[X86_CS].base = 0x100;
	g->cpu.seg[X86_CS].limit = GUEST_CODE + 4;
	assert_int_equal(fetch_at(g, GUEST_CODE), X86_DONE);
	g->cpu.seg[X86_CS].limit = GUEST_CODE + 3;
	expect_fault(g, fetch_at(g, GUEST_CODE), X86_GP);
	assert_true(g->cpu.fault.has_error);
	guest_destroy(g);
}

/* RSP is the host's own; the instruction works on a stand-in. */
static void test_rsp(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);
	uint64_t *gpr = g->cpu.gpr;

	(void)state;
	for (unsigned i = 0; i < 16; i++)
		gpr[i] = i == X86_RSP ? GUEST_STACK : 0x100 * i;
	assert_int_equal(GUEST_RUN(g, 0x48, 0x83, 0xC4, 0x18), X86_DONE); /* add rsp, 24 */
	assert_int_equal(gpr[X86_RSP], GUEST_STACK + 24);
	assert_int_equal(GUEST_RUN(g, 0x48, 0x01, 0xE4), X86_DONE); /* add rsp, rsp */
	assert_int_equal(gpr[X86_RSP], 2 * (GUEST_STACK + 24));
	assert_int_equal(GUEST_RUN(g, 0x48, 0x89, 0xE0), X86_DONE); /* mov rax, rsp */
	assert_int_equal(gpr[X86_RAX], 2 * (GUEST_STACK + 24));
	assert_int_equal(GUEST_RUN(g, 0x40, 0xB4, 0x55), X86_DONE); /* mov spl, 0x55 */
	assert_int_equal(gpr[X86_RSP], (2 * (GUEST_STACK + 24) & ~0xffu) | 0x55);
	gpr[X86_RSP] = GUEST_STACK;
	poke(g, GUEST_STACK + 8, 0x1234, 8);
	assert_int_equal(
		GUEST_RUN(g, 0x48, 0x87, 0x64, 0x24, 0x08), X86_DONE); /* xchg [rsp+8], rsp */
	assert_int_equal(gpr[X86_RSP], 0x1234);
	assert_true(peek(g, GUEST_STACK + 8, 8) == GUEST_STACK);
	gpr[X86_RAX] = 5;
	gpr[X86_RSP] = 7;
	assert_int_equal(GUEST_RUN(g, 0x48, 0xF7, 0xE4), X86_DONE); /* mul rsp */
	assert_int_equal(gpr[X86_RAX], 35);
	assert_int_equal(gpr[X86_RDX], 0);
	for (unsigned i = 0; i < 16; i++)
		if (i != X86_RAX && i != X86_RDX && i != X86_RSP)
			assert_true(gpr[i] == 0x100 * i);
	guest_destroy(g);
}

/* AH to BH allow no REX prefix, neither here nor in what is executed. */
static void test_high_bytes(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);

	(void)state;
	for (unsigned reg = 0; reg < 4; reg++)
		for (unsigned base = 0; base < 8; base++) {
			uint64_t want;

			if (base == X86_RSP || base == X86_RBP)
				continue;
			for (unsigned i = 0; i < 16; i++)
				g->cpu.gpr[i] =
					0x1111111111110000ull * (i == base ? 0 : 1) + 0x10101u * i;
			g->cpu.gpr[base] = GUEST_DATA + 0x4433;
			poke(g, GUEST_DATA + 0x4433, 0x5A, 1);
			want = (g->cpu.gpr[reg] & ~0xff00ull) |
			       (((g->cpu.gpr[reg] >> 8) + 0x5A) & 0xff) << 8;
			/* add high, [base] */
			assert_int_equal(
				GUEST_RUN(g, 0x02, (uint8_t)((reg + 4) << 3 | base)), X86_DONE);
			assert_true(g->cpu.gpr[reg] == want);
		}
	guest_destroy(g);
}

static void test_page_crossing(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);
	const uint64_t at = GUEST_DATA + 4096 - 3;

	(void)state;
	g->cpu.gpr[X86_RSI] = at;
	g->cpu.gpr[X86_RAX] = 0x0101010101010101;
	poke(g, at, 0x1020304050607080, 8);
	assert_int_equal(GUEST_RUN(g, 0xF0, 0x48, 0x01, 0x06), X86_DONE); /* lock add [rsi], rax */
	assert_true(peek(g, at, 8) == 0x1121314151617181);
	assert_int_equal(GUEST_RUN(g, 0x48, 0x89, 0x06), X86_DONE); /* mov [rsi], rax */
	assert_true(peek(g, at, 8) == 0x0101010101010101);
	assert_int_equal(GUEST_RUN(g, 0x48, 0x8B, 0x1E), X86_DONE); /* mov rbx, [rsi] */
	assert_true(g->cpu.gpr[X86_RBX] == 0x0101010101010101);
	/* the second page cannot be written: the first one is not */
	g->cpu.gpr[X86_RSI] = GUEST_READONLY - 3;
	poke(g, GUEST_READONLY - 3, 0xEEEEEE, 3);
	expect_fault(g, GUEST_RUN(g, 0x48, 0x89, 0x06), X86_PF);
	assert_true(g->cpu.fault.cr2 == GUEST_READONLY);
	assert_int_equal(g->cpu.fault.error, 7);
	assert_true(peek(g, GUEST_READONLY - 3, 3) == 0xEEEEEE);
	expect_fault(g, GUEST_RUN(g, 0x48, 0x01, 0x06), X86_PF);
	assert_int_equal(g->cpu.fault.error, 7); /* read-modify-write faults as a write */
	guest_destroy(g);
}

static void test_device(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);

	(void)state;
	g->device[1] = 0x00ff00ff12345678;
	g->cpu.gpr[X86_RSI] = GUEST_MMIO + 8;
	g->cpu.gpr[X86_RAX] = 0xff000000ff000000;
	assert_int_equal(GUEST_RUN(g, 0x48, 0x09, 0x06), X86_DONE); /* or [rsi], rax */
	assert_true(g->device[1] == 0xffff00ffff345678);
	assert_int_equal(g->device_reads, 1);
	assert_int_equal(g->device_writes, 1);
	assert_int_equal(GUEST_RUN(g, 0x0F, 0xB6, 0x0E), X86_DONE); /* movzx ecx, byte [rsi] */
	assert_int_equal(g->cpu.gpr[X86_RCX], 0x78);
	assert_int_equal(GUEST_RUN(g, 0x88, 0x0E), X86_DONE); /* mov [rsi], cl: not read */
	assert_int_equal(g->device_reads, 2);
	assert_int_equal(g->device_writes, 2);
	assert_int_equal(GUEST_RUN(g, 0xF3, 0x0F, 0x6F, 0x06), X86_DONE); /* movdqu xmm0, [rsi] */
	assert_memory_equal(g->cpu.fpu + 160, (uint8_t *)g->device + 8, 16);
	/* device page and the page before it */
	g->cpu.gpr[X86_RSI] = GUEST_MMIO - 4;
	assert_int_equal(GUEST_RUN(g, 0x48, 0x89, 0x06), X86_DONE);
	assert_true(peek(g, GUEST_MMIO - 4, 4) == 0xff000000);
	assert_true((uint32_t)g->device[0] == 0xff000000);
	guest_destroy(g);
}

static uint8_t x87_tags(const struct guest *g)
{
	return g->cpu.fpu[4];
}

/* An exit in the middle of a store that pops: the x87 stack is as before. */
static void test_device_exit(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);
	uint8_t tags;

	(void)state;
	assert_int_equal(GUEST_RUN(g, 0xDB, 0xE3), X86_DONE); /* fninit */
	assert_int_equal(GUEST_RUN(g, 0xD9, 0xE8), X86_DONE); /* fld1 */
	tags = x87_tags(g);
	g->device_exits = true;
	g->cpu.gpr[X86_RSI] = GUEST_MMIO;
	assert_int_equal(GUEST_RUN(g, 0xDB, 0x1E), X86_EXIT); /* fistp dword [rsi] */
	assert_true(g->cpu.exit.mmio.write && g->cpu.exit.mmio.size == 4);
	assert_int_equal(x87_tags(g), tags);
	assert_true(g->cpu.rip == GUEST_CODE);
	g->device_exits = false;
	assert_int_equal(guest_step(g), X86_DONE);
	assert_int_equal((uint32_t)g->device[0], 1);
	assert_int_equal(x87_tags(g), 0);
	g->device_exits = true;
	assert_int_equal(GUEST_RUN(g, 0xFF, 0x06), X86_EXIT); /* inc dword [rsi]: the read first */
	assert_false(g->cpu.exit.mmio.write);
	guest_destroy(g);
}

static void test_alignment(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);

	(void)state;
	g->cpu.gpr[X86_RSI] = GUEST_DATA + 8;
	expect_fault(g, GUEST_RUN(g, 0x0F, 0x28, 0x06), X86_GP);	  /* movaps xmm0, [rsi] */
	expect_fault(g, GUEST_RUN(g, 0x0F, 0x58, 0x06), X86_GP);	  /* addps */
	expect_fault(g, GUEST_RUN(g, 0x48, 0x0F, 0xC7, 0x0E), X86_GP);	  /* cmpxchg16b */
	assert_int_equal(GUEST_RUN(g, 0x0F, 0x10, 0x06), X86_DONE);	  /* movups */
	assert_int_equal(GUEST_RUN(g, 0xC5, 0xF8, 0x58, 0x06), X86_DONE); /* vaddps */
	g->cpu.gpr[X86_RSI] = GUEST_DATA + 1;
	g->cpu.cr0 |= X86_CR0_AM;
	g->cpu.rflags |= X86_RF_AC;
	expect_fault(g, GUEST_RUN(g, 0x8B, 0x06), X86_AC);
	expect_fault(g, GUEST_RUN(g, 0x66, 0xFF, 0x06), X86_AC);
	assert_int_equal(GUEST_RUN(g, 0x8A, 0x06), X86_DONE);
	assert_int_equal(GUEST_RUN(g, 0x0F, 0x10, 0x06), X86_DONE);
	expect_fault(g, GUEST_RUN(g, 0xDB, 0x2E), X86_AC); /* fld tbyte: 8 bytes */
	guest_destroy(g);
}

static void test_arithmetic_faults(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);
	const uint32_t mxcsr = 0x1f80 & ~0x80u;

	(void)state;
	for (unsigned i = 0; i < 16; i++)
		g->cpu.gpr[i] = 0x1000 + i;
	g->cpu.gpr[X86_RCX] = 0;
	g->cpu.rflags = 2 | X86_FL_CF | X86_FL_DF | X86_RF_IF;
	expect_fault(g, GUEST_RUN(g, 0x48, 0xF7, 0xF9), X86_DE); /* idiv rcx */
	assert_false(g->cpu.fault.has_error);
	for (unsigned i = 0; i < 16; i++)
		assert_true(g->cpu.gpr[i] == (i == X86_RCX ? 0 : 0x1000 + i));
	assert_true(g->cpu.rflags == (2 | X86_FL_CF | X86_FL_DF | X86_RF_IF));
	memcpy(g->cpu.fpu + 24, &mxcsr, 4); /* invalid operations are unmasked */
	poke(g, GUEST_DATA, 0xbf800000, 4);
	g->cpu.gpr[X86_RSI] = GUEST_DATA;
	expect_fault(g, GUEST_RUN(g, 0x0F, 0x51, 0x06), X86_XM); /* sqrtps xmm0, [rsi] */
	assert_int_equal(g->cpu.fpu[24] & 1, 1);
	g->cpu.cr4 &= ~(uint64_t)X86_CR4_OSXMMEXCPT;
	expect_fault(g, GUEST_RUN(g, 0x0F, 0x51, 0x06), X86_UD);
	poke(g, GUEST_DATA, 0x80000000, 4);
	expect_fault(g, GUEST_RUN(g, 0x0F, 0xAE, 0x16), X86_GP); /* ldmxcsr with reserved bits */
	guest_destroy(g);
}

/* x87 exceptions are raised by the next waiting instruction; control instructions do not wait. */
static void test_x87_fault(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);

	(void)state;
	GUEST_RUN(g, 0xDB, 0xE3);
	poke(g, GUEST_DATA, 0x37b, 2); /* zero divide is unmasked */
	g->cpu.gpr[X86_RSI] = GUEST_DATA;
	assert_int_equal(GUEST_RUN(g, 0xD9, 0x2E), X86_DONE); /* fldcw [rsi] */
	assert_int_equal(GUEST_RUN(g, 0xD9, 0xE8), X86_DONE); /* fld1 */
	assert_int_equal(GUEST_RUN(g, 0xD9, 0xEE), X86_DONE); /* fldz */
	assert_int_equal(GUEST_RUN(g, 0xDE, 0xF9), X86_DONE); /* fdivp */
	expect_fault(g, GUEST_RUN(g, 0x9B), X86_MF);	      /* fwait */
	expect_fault(g, GUEST_RUN(g, 0xD9, 0xE8), X86_MF);
	assert_int_equal(GUEST_RUN(g, 0xDF, 0xE0), X86_DONE); /* fnstsw ax */
	assert_int_equal(g->cpu.gpr[X86_RAX] & 0x84, 0x84);
	assert_int_equal(GUEST_RUN(g, 0xDB, 0xE2), X86_DONE); /* fnclex */
	assert_int_equal(GUEST_RUN(g, 0x9B), X86_DONE);
	g->cpu.cr0 |= X86_CR0_TS;
	expect_fault(g, GUEST_RUN(g, 0xD9, 0xE8), X86_NM);
	guest_destroy(g);
}

/* A store that overflows with its exception unmasked stores nothing, across pages neither. */
static void test_x87_no_store(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);
	static const uint64_t at[] = {GUEST_DATA, GUEST_DATA + 4096 - 2};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		GUEST_RUN(g, 0xDB, 0xE3);
		poke(g, GUEST_DATA + 64, 0x377, 2); /* overflow is unmasked */
		g->cpu.gpr[X86_RSI] = GUEST_DATA + 64;
		assert_int_equal(GUEST_RUN(g, 0xD9, 0x2E), X86_DONE); /* fldcw [rsi] */
		poke(g, GUEST_DATA + 64, 0x7fe0000000000000, 8);
		assert_int_equal(GUEST_RUN(g, 0xDD, 0x06), X86_DONE); /* fld qword [rsi] */
		g->cpu.gpr[X86_RSI] = at[i];
		poke(g, at[i], 0x5A5A5A5A, 4);
		assert_int_equal(GUEST_RUN(g, 0xD9, 0x16), X86_DONE); /* fst dword [rsi] */
		assert_int_equal(peek(g, at[i], 4), 0x5A5A5A5A);
		g->cpu.gpr[X86_RSI] =
			GUEST_FENCE; /* and now the exception comes before the page fault */
		expect_fault(g, GUEST_RUN(g, 0xD9, 0x16), X86_MF);
		assert_int_equal(GUEST_RUN(g, 0xDB, 0xE2), X86_DONE);
		expect_fault(g, GUEST_RUN(g, 0xD9, 0x16), X86_PF);
	}
	guest_destroy(g);
}

/* An address that is computed but not used. */
static void test_address_only(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);

	(void)state;
	g->cpu.gpr[X86_RSI] = 0x8000000000000000;
	g->cpu.gpr[X86_RAX] = UINT64_MAX;
	assert_int_equal(GUEST_RUN(g, 0x0F, 0x1F, 0x06), X86_DONE); /* nop [rsi] */
	assert_int_equal(GUEST_RUN(g, 0x0F, 0x18, 0x0E), X86_DONE); /* prefetcht0 [rsi] */
	assert_int_equal(GUEST_RUN(g, 0x48, 0x8D, 0x44, 0x76, 0x10), X86_DONE);
	assert_true(g->cpu.gpr[X86_RAX] == 0x8000000000000010); /* rsi + 2 * rsi + 16 */
	g->cpu.gpr[X86_RSP] = 0x1000;
	assert_int_equal(GUEST_RUN(g, 0x8D, 0x64, 0x24, 0xF8), X86_DONE); /* lea esp, [rsp-8] */
	assert_int_equal(g->cpu.gpr[X86_RSP], 0xff8);
	assert_int_equal(
		GUEST_RUN(g, 0x66, 0x8D, 0x05, 0, 1, 0, 0), X86_DONE); /* lea ax, [rip+256] */
	assert_true(g->cpu.gpr[X86_RAX] == (0x8000000000000000 | (GUEST_CODE + 7 + 256)));
	g->cpu.gpr[X86_RSI] = 0xfffffff8;
	assert_int_equal(
		GUEST_RUN(g, 0x67, 0x48, 0x8D, 0x46, 0x10), X86_DONE); /* lea rax, [esi+16] */
	assert_true(g->cpu.gpr[X86_RAX] == 8);
	guest_destroy(g);
}

/* Encodings that 64-bit mode lacks, operand and address sizes of 16-bit code. */
static void test_legacy(void **state)
{
	struct guest *g = guest_create(GUEST_REAL16, 0);

	(void)state;
	g->cpu.gpr[X86_RAX] = 0x1ffff;
	assert_int_equal(GUEST_RUN(g, 0x40), X86_DONE); /* inc ax */
	assert_int_equal(g->cpu.gpr[X86_RAX], 0x10000);
	assert_int_equal(GUEST_RUN(g, 0x66, 0x48), X86_DONE); /* dec eax */
	assert_int_equal(g->cpu.gpr[X86_RAX], 0xffff);
	g->cpu.seg[X86_DS].base = GUEST_DATA;
	poke(g, GUEST_DATA + 0x1234, 0xBEEF, 2);
	assert_int_equal(GUEST_RUN(g, 0xA1, 0x34, 0x12), X86_DONE); /* mov ax, [0x1234] */
	assert_int_equal(g->cpu.gpr[X86_RAX], 0xBEEF);
	g->cpu.gpr[X86_RBX] = 0xfff0;
	g->cpu.gpr[X86_RSI] = 0x1244;
	assert_int_equal(GUEST_RUN(g, 0xFF, 0x00), X86_DONE); /* inc word [bx+si], wraps */
	assert_int_equal(peek(g, GUEST_DATA + 0x1234, 2), 0xBEF0);
	g->cpu.gpr[X86_RSI] = 0xffff;
	expect_fault(g, GUEST_RUN(g, 0x8B, 0x04), X86_GP); /* mov ax, [si] at the limit */
	g->cpu.gpr[X86_RBP] = 0xffff;
	expect_fault(g, GUEST_RUN(g, 0x8B, 0x46, 0x00), X86_SS_FAULT); /* mov ax, [bp] */
	guest_destroy(g);
	g = guest_create(GUEST_PROT32, 3);
	g->cpu.rip = 0xffffffff; /* EIP wraps */
	g->ram[0] = 0x90;
	assert_int_equal(x86_decode(&g->insn, g->ram, 1, 32), X86_DECODE_OK);
	assert_int_equal(x86_execute(&g->cpu, &g->insn), X86_DONE);
	assert_true(g->cpu.rip == 0);
	guest_destroy(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fetch),
		cmocka_unit_test(test_fetch_limit),
		cmocka_unit_test(test_rsp),
		cmocka_unit_test(test_high_bytes),
		cmocka_unit_test(test_page_crossing),
		cmocka_unit_test(test_device),
		cmocka_unit_test(test_device_exit),
		cmocka_unit_test(test_alignment),
		cmocka_unit_test(test_arithmetic_faults),
		cmocka_unit_test(test_x87_fault),
		cmocka_unit_test(test_x87_no_store),
		cmocka_unit_test(test_address_only),
		cmocka_unit_test(test_legacy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
