/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The scratch area: registers and flags go in and out, host exceptions come back as vectors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "x86/exec.h"
#include "x86/x86.h"

#define CODE(...) (const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__})

static int set_up(void **state)
{
	*state = x86_exec_create();
	return *state == NULL;
}

static int tear_down(void **state)
{
	x86_exec_destroy(*state);
	return 0;
}

static void fill(struct x86_exec_frame *frame)
{
	for (unsigned i = 0; i < 16; i++)
		frame->gpr[i] = 0x0101010101010101ull * (i + 1);
	frame->flags = 0;
}

static void test_registers(void **state)
{
	struct x86_exec_frame frame, before;

	fill(&frame);
	before = frame;
	assert_int_equal(x86_exec_run(*state, CODE(0x90), &frame), X86_EXEC_NO_FAULT);
	assert_memory_equal(frame.gpr, before.gpr, sizeof(frame.gpr));
	for (uint8_t reg = 0; reg < 16; reg++) { /* not r64 */
		if (reg == X86_RSP)
			continue;
		fill(&frame);
		assert_int_equal(
			x86_exec_run(*state,
				CODE((uint8_t)(0x48 | reg >> 3), 0xF7, (uint8_t)(0xD0 | (reg & 7))),
				&frame),
			X86_EXEC_NO_FAULT);
		for (unsigned i = 0; i < 16; i++)
			assert_true(frame.gpr[i] == (i == reg ? ~before.gpr[i] : before.gpr[i]));
	}
}

static void test_flags(void **state)
{
	const uint64_t all = X86_FL_STATUS | X86_FL_DF;
	struct x86_exec_frame frame;

	for (uint64_t flags = 0; flags <= all; flags++) {
		if (flags & ~all)
			continue;
		fill(&frame);
		frame.flags = flags;
		x86_exec_run(*state, CODE(0x90), &frame);
		assert_int_equal(frame.flags & all, flags);
	}
	fill(&frame);
	frame.gpr[X86_RAX] = INT64_MAX;
	frame.gpr[X86_RCX] = 1;
	x86_exec_run(*state, CODE(0x48, 0x01, 0xC8), &frame); /* add rax, rcx */
	assert_true(frame.gpr[X86_RAX] == 1ull << 63);
	assert_int_equal(frame.flags & all, X86_FL_OF | X86_FL_SF | X86_FL_AF | X86_FL_PF);
}

static void test_memory(void **state)
{
	uint64_t word = 40;
	struct x86_exec_frame frame;

	fill(&frame);
	frame.gpr[X86_RSI] = (uintptr_t)&word;
	frame.gpr[X86_RAX] = 2;
	/* lock xadd [rsi], rax */
	assert_int_equal(x86_exec_run(*state, CODE(0xF0, 0x48, 0x0F, 0xC1, 0x06), &frame),
		X86_EXEC_NO_FAULT);
	assert_int_equal(word, 42);
	assert_int_equal(frame.gpr[X86_RAX], 40);
}

static void expect_vector(
	struct x86_exec *exec, const uint8_t *code, size_t len, const void *rsi, int vector)
{
	struct x86_exec_frame frame, before;

	fill(&frame);
	frame.gpr[X86_RCX] = 0;
	frame.gpr[X86_RSI] = (uintptr_t)rsi;
	frame.flags = X86_FL_DF | X86_FL_CF;
	before = frame;
	assert_int_equal(x86_exec_run(exec, code, (unsigned)len, &frame), vector);
	assert_memory_equal(frame.gpr, before.gpr, sizeof(frame.gpr));
	assert_true(frame.flags == before.flags);
}

static void test_faults(void **state)
{
	static const uint8_t aligned[48] __attribute__((aligned(16)));
	static const float negative[4] __attribute__((aligned(16))) = {-1, 1, 1, 1};
	uint32_t old, unmasked = 0x1f80 & ~0x80u; /* MXCSR.IM */

	expect_vector(*state, CODE(0x48, 0xF7, 0xF1), NULL, X86_DE); /* div rcx */
	expect_vector(*state, CODE(0xF6, 0xF1), NULL, X86_DE);	     /* div cl */
	expect_vector(*state, CODE(0x0F, 0x0B), NULL, X86_UD);
	expect_vector(*state, CODE(0x0F, 0x28, 0x06), aligned + 1, X86_GP); /* movaps xmm0, [rsi] */
	__asm__ volatile("stmxcsr %0" : "=m"(old));
	__asm__ volatile("ldmxcsr %0" : : "m"(unmasked));
	expect_vector(*state, CODE(0x0F, 0x51, 0x06), negative, X86_XM); /* sqrtps xmm0, [rsi] */
	__asm__ volatile("stmxcsr %0" : "=m"(unmasked));
	__asm__ volatile("ldmxcsr %0" : : "m"(old));
	assert_int_equal(unmasked & 0x3f, 1); /* IE survives the signal */
}

/* An unmasked x87 exception is raised by the next waiting instruction; the status stays. */
static void test_x87_fault(void **state)
{
	struct x86_exec_frame frame;
	uint16_t control = 0x037f & ~4, status;

	fill(&frame);
	__asm__ volatile("fninit\n\tfldcw %0" : : "m"(control));
	x86_exec_run(*state, CODE(0xD9, 0xE8), &frame); /* fld1 */
	x86_exec_run(*state, CODE(0xD9, 0xEE), &frame); /* fldz */
	assert_int_equal(x86_exec_run(*state, CODE(0xDE, 0xF9), &frame), X86_EXEC_NO_FAULT);
	expect_vector(*state, CODE(0xD9, 0xE8), NULL, X86_MF);
	__asm__ volatile("fnstsw %0\n\tfninit" : "=m"(status));
	assert_int_equal(status & 0x84, 0x84); /* ES, ZE */
}

/* More instructions than slots: each one still does its own work. */
static void test_many(void **state)
{
	struct x86_exec_frame frame;

	for (unsigned round = 0; round < 2; round++)
		for (uint32_t i = 0; i < 20000; i++) {
			fill(&frame);
			assert_int_equal(
				x86_exec_run(*state,
					CODE(0xB8, (uint8_t)i, (uint8_t)(i >> 8), 0x5A, 0xA5),
					&frame),
				X86_EXEC_NO_FAULT);
			assert_true(frame.gpr[X86_RAX] == (0xA55A0000u | i));
		}
}

static void test_fpu(void **state)
{
	struct x86_cpu *cpu = aligned_alloc(64, (sizeof(*cpu) + 63) & ~63ull);
	uint32_t mxcsr = 0x1f80;
	uint64_t low;

	(void)state;
	memset(cpu, 0, sizeof(*cpu));
	memcpy(cpu->fpu + 24, &mxcsr, 4);
	cpu->fpu[512] = 3; /* XSTATE_BV: x87, SSE; AVX in its initial state */
	cpu->fpu[0] = 0x7f;
	cpu->fpu[1] = 0x02;
	memset(cpu->fpu + 160 + 16, 0xAB, 16); /* XMM1 */
	x86_fpu_load(cpu);
	__asm__ volatile("movq %%xmm1, %0\n\tpcmpeqd %%xmm2, %%xmm2" : "=r"(low) : : "xmm2");
	memset(cpu->fpu, 0, 512);
	x86_fpu_save(cpu);
	__asm__ volatile("fninit");
	assert_true(low == 0xABABABABABABABABull);
	assert_int_equal(cpu->fpu[1], 0x02);
	assert_int_equal(cpu->fpu[160 + 16], 0xAB);
	assert_int_equal(cpu->fpu[160 + 32], 0xFF);
	free(cpu);
}

/* The mapping that executes cannot be written, the one that can be written does not execute. */
static void test_w_xor_x(void **state)
{
	FILE *maps = fopen("/proc/self/maps", "r");
	char line[512];
	unsigned mappings = 0;

	(void)state;
	assert_non_null(maps);
	while (fgets(line, sizeof(line), maps) != NULL) {
		if (strstr(line, "hyve-exec") == NULL)
			continue;
		mappings++;
		assert_null(strstr(line, "rwx"));
	}
	fclose(maps);
	assert_int_equal(mappings, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_registers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_flags, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_memory, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_faults, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_x87_fault, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_many, set_up, tear_down),
		cmocka_unit_test(test_fpu),
		cmocka_unit_test_setup_teardown(test_w_xor_x, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
