/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * String instructions against a byte-by-byte model: sizes, directions, overlap, address sizes,
 * pages, and what is left when a fault, a device or the owner stops one in the middle.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "test/x86/step_guest.h"

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

static void fill(struct guest *g, uint32_t at, uint32_t len, uint32_t seed)
{
	for (uint32_t i = 0; i < len; i++)
		g->ram[at + i] = (uint8_t)next_random(&seed);
}

/* [F3] [48|66] opcode, for 64-bit code. */
static enum x86_result run(struct guest *g, uint8_t rep, uint8_t opcode, unsigned size)
{
	uint8_t code[4];
	unsigned n = 0;

	if (size == 2)
		code[n++] = 0x66;
	if (rep)
		code[n++] = rep;
	if (size == 8)
		code[n++] = 0x48;
	code[n++] = (uint8_t)(opcode | (size != 1));
	guest_code(g, code, n);
	return guest_step(g);
}

static void set(struct guest *g, uint64_t rcx, uint64_t rsi, uint64_t rdi)
{
	g->cpu.gpr[X86_RCX] = rcx;
	g->cpu.gpr[X86_RSI] = rsi;
	g->cpu.gpr[X86_RDI] = rdi;
}

static void expect(const struct guest *g, uint64_t rcx, uint64_t rsi, uint64_t rdi)
{
	assert_true(g->cpu.gpr[X86_RCX] == rcx);
	assert_true(g->cpu.gpr[X86_RSI] == rsi);
	assert_true(g->cpu.gpr[X86_RDI] == rdi);
}

/* Random overlapping copies over several pages, both directions, every size. */
static void test_movs_model(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);
	uint8_t *model = malloc(0x8000);
	uint32_t seed = 1;

	(void)state;
	for (unsigned i = 0; i < 4000; i++) {
		unsigned size = 1u << i % 4,
			 count = next_random(&seed) % (i % 8 == 0 ? 3000 / size : 40);
		bool back = i & 16;
		int64_t step = back ? -(int64_t)size : (int64_t)size;
		uint32_t src = 0x3000 + next_random(&seed) % 0x1800;
		uint32_t dst = i & 32 ? src + next_random(&seed) % 33 - 16
				      : 0x3000 + next_random(&seed) % 0x1800;

		fill(g, GUEST_DATA, 0x8000, i);
		memcpy(model, g->ram + GUEST_DATA, 0x8000);
		for (int64_t k = 0; k < count; k++)
			memmove(model + dst + k * step, model + src + k * step, size);
		set(g, count, GUEST_DATA + src, GUEST_DATA + dst);
		g->cpu.rflags = 2 | (back ? X86_FL_DF : 0);
		assert_int_equal(run(g, 0xF3, 0xA4, size), X86_DONE);
		expect(g, 0, GUEST_DATA + src + (uint64_t)(step * count),
			GUEST_DATA + dst + (uint64_t)(step * count));
		assert_memory_equal(g->ram + GUEST_DATA, model, 0x8000);
		assert_true(g->cpu.rflags == (2 | (back ? X86_FL_DF : 0)));
	}
	free(model);
	guest_destroy(g);
}

static void test_stos_lods(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);

	(void)state;
	for (unsigned size = 1; size <= 8; size *= 2) {
		uint64_t mask = size == 8 ? UINT64_MAX : (1ull << 8 * size) - 1, value = 0;

		fill(g, GUEST_DATA, 0x4000, 7);
		g->cpu.gpr[X86_RAX] = 0x1122334455667788;
		set(g, 5000 / size, 99, GUEST_DATA + 3);
		assert_int_equal(run(g, 0xF3, 0xAA, size), X86_DONE);
		expect(g, 0, 99, GUEST_DATA + 3 + 5000 / size * size);
		for (unsigned i = 0; i < 5000 / size; i++)
			assert_memory_equal(
				g->ram + GUEST_DATA + 3 + i * size, &g->cpu.gpr[X86_RAX], size);
		fill(g, GUEST_DATA, 0x4000, 9);
		set(g, 5000 / size, GUEST_DATA + 5, 99);
		assert_int_equal(run(g, 0xF2, 0xAC, size), X86_DONE); /* F2 repeats as well */
		memcpy(&value, g->ram + GUEST_DATA + 5 + (5000 / size - 1) * size, size);
		expect(g, 0, GUEST_DATA + 5 + 5000 / size * size, 99);
		assert_true(g->cpu.gpr[X86_RAX] ==
			    (size == 4 ? value : (0x1122334455667788 & ~mask) | value));
	}
	guest_destroy(g);
}

/* Where and with which flags a comparison ends. */
static void test_compare(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);

	(void)state;
	for (unsigned size = 1; size <= 8; size *= 2) {
		const unsigned count = 6000 / size, differ = 4500 / size;

		memset(g->ram + GUEST_DATA, 0x40, 0x10000);
		g->ram[GUEST_DATA + differ * size] = 0x41;
		g->cpu.rflags = 2;
		set(g, count, GUEST_DATA, GUEST_DATA + 0x8000);
		assert_int_equal(run(g, 0xF3, 0xA6, size), X86_DONE);
		expect(g, count - differ - 1, GUEST_DATA + (differ + 1) * size,
			GUEST_DATA + 0x8000 + (differ + 1) * size);
		assert_int_equal(g->cpu.rflags & X86_FL_STATUS, 0); /* source - destination == 1 */
		set(g, count, GUEST_DATA + (differ + 1) * size, GUEST_DATA + 0x8000);
		g->cpu.rflags = 2 | X86_FL_DF;
		g->ram[GUEST_DATA + 0x8000 - size] = 0x42; /* above 0x41 */
		assert_int_equal(run(g, 0xF3, 0xA6, size), X86_DONE);
		expect(g, count - 2, GUEST_DATA + (differ - 1) * size,
			GUEST_DATA + 0x8000 - 2 * size);
		assert_true(g->cpu.rflags & X86_FL_CF);
		assert_true(g->cpu.rflags & X86_FL_DF);
		/* scan for it */
		g->cpu.rflags = 2;
		g->cpu.gpr[X86_RAX] = 0x4040404040404041;
		set(g, count, 1, GUEST_DATA);
		assert_int_equal(run(g, 0xF2, 0xAE, size), X86_DONE);
		expect(g, count - differ - 1, 1, GUEST_DATA + (differ + 1) * size);
		assert_true(g->cpu.rflags & X86_FL_ZF);
		g->cpu.gpr[X86_RAX] = 0x4040404040404040;
		set(g, count, 1, GUEST_DATA);
		assert_int_equal(run(g, 0xF3, 0xAE, size), X86_DONE);
		expect(g, count - differ - 1, 1, GUEST_DATA + (differ + 1) * size);
		assert_false(g->cpu.rflags & X86_FL_ZF);
	}
	guest_destroy(g);
}

/* Without a prefix, and with a count of zero. */
static void test_single_and_zero(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);

	(void)state;
	fill(g, GUEST_DATA, 64, 3);
	set(g, 77, GUEST_DATA, GUEST_DATA + 32);
	assert_int_equal(run(g, 0, 0xA4, 8), X86_DONE);
	expect(g, 77, GUEST_DATA + 8, GUEST_DATA + 40);
	assert_memory_equal(g->ram + GUEST_DATA, g->ram + GUEST_DATA + 32, 8);
	set(g, 77, GUEST_DATA, GUEST_DATA + 32);
	g->cpu.rflags = 2;
	assert_int_equal(run(g, 0, 0xA6, 4), X86_DONE);
	assert_true(g->cpu.rflags & X86_FL_ZF);
	expect(g, 77, GUEST_DATA + 4, GUEST_DATA + 36);
	set(g, 0, GUEST_FENCE, GUEST_FENCE); /* touches nothing, so no fault and no flags */
	g->cpu.rflags = 2 | X86_FL_CF;
	assert_int_equal(run(g, 0xF3, 0xA6, 8), X86_DONE);
	expect(g, 0, GUEST_FENCE, GUEST_FENCE);
	assert_true(g->cpu.rflags == (2 | X86_FL_CF));
	guest_destroy(g);
}

/* A fault in the middle: exactly the elements before it are done. */
static void test_faults(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);
	uint64_t start = GUEST_FENCE - 20;

	(void)state;
	fill(g, GUEST_DATA, 64, 5);
	set(g, 10, GUEST_DATA, start); /* the third element straddles the fence */
	assert_int_equal(run(g, 0xF3, 0xA4, 8), X86_FAULT);
	assert_int_equal(g->cpu.fault.vector, X86_PF);
	assert_int_equal(g->cpu.fault.error, 6);
	assert_true(g->cpu.fault.cr2 == GUEST_FENCE);
	expect(g, 8, GUEST_DATA + 16, start + 16);
	assert_memory_equal(g->ram + start, g->ram + GUEST_DATA, 16);
	assert_true(g->cpu.rip == GUEST_CODE);
	set(g, 10, start, GUEST_DATA);
	assert_int_equal(run(g, 0xF3, 0xA4, 4), X86_FAULT);
	assert_int_equal(g->cpu.fault.error, 4);
	assert_true(g->cpu.fault.cr2 == GUEST_FENCE);
	expect(g, 5, start + 20, GUEST_DATA + 20);
	/* downwards into it */
	set(g, 10, GUEST_DATA + 32, GUEST_FENCE + 0x1000 + 8);
	g->cpu.rflags |= X86_FL_DF;
	assert_int_equal(run(g, 0xF3, 0xA4, 8), X86_FAULT);
	assert_true(g->cpu.fault.cr2 == GUEST_FENCE + 0xff8);
	expect(g, 8, GUEST_DATA + 16, GUEST_FENCE + 0x1000 - 8);
	/* both sides would fault: the source is read first */
	g->cpu.rflags = 2;
	set(g, 1, GUEST_FENCE + 8, GUEST_READONLY);
	assert_int_equal(run(g, 0xF3, 0xA4, 8), X86_FAULT);
	assert_true(g->cpu.fault.cr2 == GUEST_FENCE + 8);
	set(g, 1, 0x8000000000000000, GUEST_DATA);
	assert_int_equal(run(g, 0xF3, 0xA4, 8), X86_FAULT);
	assert_int_equal(g->cpu.fault.vector, X86_GP);
	guest_destroy(g);
}

/* 67: 32-bit addresses wrap, and writing the registers clears their upper halves. */
static void test_address_size(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);
	const uint64_t high = 0xdead000000000000;

	(void)state;
	fill(g, GUEST_DATA, 64, 5);
	set(g, high | 4, high | GUEST_DATA, high | (GUEST_DATA + 32));
	assert_int_equal(GUEST_RUN(g, 0x67, 0xF3, 0xA4), X86_DONE);
	expect(g, 0, GUEST_DATA + 4, GUEST_DATA + 36);
	assert_memory_equal(g->ram + GUEST_DATA, g->ram + GUEST_DATA + 32, 4);
	set(g, high, high | 1, high | 2);
	assert_int_equal(GUEST_RUN(g, 0x67, 0xF3, 0xA4), X86_DONE);
	expect(g, high, high | 1, high | 2);
	guest_destroy(g);
	g = guest_create(GUEST_REAL16, 0);
	fill(g, 0, 0x100, 9);
	fill(g, 0xff00, 0x100, 8);
	memset(g->ram + 0x4000, 0, 32);
	set(g, 16, 0xabcdfff8, 0x4000); /* SI wraps; upper halves stay */
	assert_int_equal(GUEST_RUN(g, 0xF3, 0xA4), X86_DONE);
	assert_memory_equal(g->ram + 0x4000, g->ram + 0xfff8, 8);
	assert_memory_equal(g->ram + 0x4008, g->ram, 8);
	expect(g, 0, 0xabcd0008, 0x4010);
	set(g, 2, 0xffff, 0x4000); /* a word at FFFF leaves the segment */
	assert_int_equal(GUEST_RUN(g, 0xF3, 0xA5), X86_FAULT);
	assert_int_equal(g->cpu.fault.vector, X86_GP);
	expect(g, 2, 0xffff, 0x4000);
	guest_destroy(g);
}

/* The source takes an override, the destination is ES always; limits stop a repeated move. */
static void test_segments(void **state)
{
	struct guest *g = guest_create(GUEST_PROT32, 3);

	(void)state;
	g->cpu.seg[X86_FS].base = 0x1000;
	g->cpu.seg[X86_ES].base = 0x2000;
	g->cpu.seg[X86_DS].access = X86_SEG_UNUSABLE;
	fill(g, GUEST_DATA + 0x1000, 16, 5);
	set(g, 16, GUEST_DATA, GUEST_DATA);
	assert_int_equal(GUEST_RUN(g, 0x64, 0xF3, 0xA4), X86_DONE);
	assert_memory_equal(g->ram + GUEST_DATA + 0x1000, g->ram + GUEST_DATA + 0x2000, 16);
	set(g, 16, GUEST_DATA, GUEST_DATA);
	assert_int_equal(GUEST_RUN(g, 0xF3, 0xA4), X86_FAULT);
	assert_int_equal(g->cpu.fault.vector, X86_GP);
	g->cpu.seg[X86_ES].limit = GUEST_DATA + 9;
	set(g, 16, GUEST_DATA, GUEST_DATA);
	assert_int_equal(GUEST_RUN(g, 0x64, 0xF3, 0xA5), X86_FAULT);
	expect(g, 14, GUEST_DATA + 8, GUEST_DATA + 8);
	g->cpu.seg[X86_SS].limit = GUEST_DATA + 3;
	g->cpu.seg[X86_ES].limit = UINT32_MAX;
	set(g, 16, GUEST_DATA, GUEST_DATA);
	assert_int_equal(GUEST_RUN(g, 0x36, 0xF3, 0xA5), X86_FAULT);
	assert_int_equal(g->cpu.fault.vector, X86_SS_FAULT);
	expect(g, 15, GUEST_DATA + 4, GUEST_DATA + 4);
	guest_destroy(g);
}

static void test_device(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);

	(void)state;
	fill(g, GUEST_DATA, 64, 5);
	set(g, 4, GUEST_DATA, GUEST_MMIO + 8);
	assert_int_equal(run(g, 0xF3, 0xA4, 4), X86_DONE);
	assert_int_equal(g->device_writes, 4);
	assert_memory_equal((uint8_t *)g->device + 8, g->ram + GUEST_DATA, 16);
	set(g, 4, GUEST_MMIO + 8, GUEST_DATA + 32);
	assert_int_equal(run(g, 0xF3, 0xA4, 4), X86_DONE);
	assert_int_equal(g->device_reads, 4);
	assert_memory_equal(g->ram + GUEST_DATA + 32, g->ram + GUEST_DATA, 16);
	/* nothing is read from a device if the destination will fault */
	set(g, 4, GUEST_MMIO, GUEST_READONLY);
	assert_int_equal(run(g, 0xF3, 0xA4, 4), X86_FAULT);
	assert_int_equal(g->device_reads, 4);
	/* from RAM into a device that wants an exit: what came before is done */
	g->device_exits = true;
	set(g, 4, GUEST_DATA, GUEST_MMIO - 8);
	assert_int_equal(run(g, 0xF3, 0xA4, 4), X86_EXIT);
	assert_int_equal(g->cpu.exit.reason, X86_EXIT_MMIO);
	assert_true(g->cpu.exit.mmio.gpa == GUEST_MMIO_GPA && g->cpu.exit.mmio.write);
	expect(g, 2, GUEST_DATA + 8, GUEST_MMIO);
	g->device_exits = false;
	assert_int_equal(run(g, 0xF3, 0xA4, 4), X86_DONE); /* goes on where it stopped */
	expect(g, 0, GUEST_DATA + 16, GUEST_MMIO + 8);
	guest_destroy(g);
}

/* The owner may stop it between pieces; it goes on as if nothing had been. */
static void test_poll(void **state)
{
	struct guest *g = guest_create(GUEST_LONG64, 3);
	unsigned again = 0;
	enum x86_result res;

	(void)state;
	fill(g, GUEST_DATA, 0x8000, 5);
	set(g, 0x8000, GUEST_DATA, GUEST_DATA + 0x8000);
	do {
		g->polls_left = 2;
		res = run(g, 0xF3, 0xA4, 1);
		assert_true(res == X86_DONE || g->cpu.rip == GUEST_CODE);
		again += res == X86_AGAIN;
	} while (res == X86_AGAIN);
	assert_int_equal(res, X86_DONE);
	assert_int_equal(again, 3);
	assert_memory_equal(g->ram + GUEST_DATA, g->ram + GUEST_DATA + 0x8000, 0x8000);
	guest_destroy(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_movs_model),
		cmocka_unit_test(test_stos_lods),
		cmocka_unit_test(test_compare),
		cmocka_unit_test(test_single_and_zero),
		cmocka_unit_test(test_faults),
		cmocka_unit_test(test_address_size),
		cmocka_unit_test(test_segments),
		cmocka_unit_test(test_device),
		cmocka_unit_test(test_poll),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
