/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* soft_walk() against x86_walk(): the same answer, fault and marks for whatever stands in the
 * tables. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "backend/backend.h"
#include "backend/soft/soft.h"
#include "test/backend/soft/world.h"
#include "vmm/vm.h"

#define TABLES 0x1000u /* four of them, from the root down */
#define RAM    0x5000u /* what can change */
#define ROUNDS 100000u
#define GLA    0x7f8040201123ull /* entry 255, 1, 1, 1 and so on: other indices are not needed */

static uint32_t draw(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return (uint32_t)(*x >> 32);
}

static bool odds(uint64_t *rng, unsigned one_in)
{
	return draw(rng) % one_in == 0;
}

/* Mostly good and marked. */
static uint64_t random_entry(uint64_t *rng, unsigned level)
{
	uint64_t e = (uint64_t)(draw(rng) % 256) << 12 | 0x67;

	if (level && level < 3 && odds(rng, 6))
		e = (level == 1 ? 0x40200000ull : 0x80000000ull) | 0xe7;
	if (odds(rng, 3))
		e ^= 1ull << draw(rng) % 13;
	if (odds(rng, 12))
		e ^= 1ull << (12 + draw(rng) % 52);
	return e | (odds(rng, 4) ? 0x100 : 0);
}

static void random_state(struct x86_cpu *cpu, uint64_t *rng)
{
	cpu->cr0 = X86_CR0_PE | X86_CR0_PG | (draw(rng) & X86_CR0_WP);
	cpu->cr4 = X86_CR4_PAE | (draw(rng) & (X86_CR4_SMEP | X86_CR4_SMAP | X86_CR4_PGE));
	cpu->efer = X86_EFER_LME | X86_EFER_LMA | (draw(rng) & X86_EFER_NXE);
	cpu->rflags = 2 | (draw(rng) & X86_RF_AC);
	cpu->cr3 = TABLES | (draw(rng) & 0xfff);
	cpu->maxphyaddr = odds(rng, 2) ? 40 : 52;
}

static unsigned random_access(uint64_t *rng)
{
	static const uint8_t kinds[] = {X86_ACC_READ, X86_ACC_WRITE, X86_ACC_EXEC,
		X86_ACC_READ | X86_ACC_IMPLICIT, X86_ACC_WRITE | X86_ACC_IMPLICIT};
	unsigned acc = kinds[draw(rng) % sizeof(kinds)];

	if (!(acc & X86_ACC_IMPLICIT) && odds(rng, 2))
		acc |= X86_ACC_USER;
	return acc | (odds(rng, 4) ? X86_ACC_NOFAULT : 0);
}

static void put_tables(uint8_t *ram, uint64_t *rng)
{
	for (unsigned level = 4; level-- > 0;) {
		uint64_t at = TABLES + (3 - level) * 0x1000 + (GLA >> (12 + 9 * level) & 511) * 8;
		uint64_t e = random_entry(rng, level);

		if (level && !(e & 0x80)) /* on to the next table, but for what is wrong above */
			e = (e & ~0xfffff000ull) | (TABLES + (4 - level) * 0x1000);
		memcpy(ram + at, &e, 8);
	}
}

static void test_same(void **state)
{
	uint64_t rng = 88172645463325252ull;
	uint8_t *ram, before[RAM], after[RAM];
	unsigned done = 0;
	struct vm *vm = world_vm(&vmm_ops_soft, &ram);
	struct soft_vcpu *v = ((struct soft_vm *)vm->vmi)->vcpu[0];

	(void)state;
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct x86_walk want = {0}, got = {0};
		struct x86_fault fault;
		enum x86_result res;
		unsigned acc;

		put_tables(ram, &rng);
		random_state(&v->cpu, &rng);
		acc = random_access(&rng);
		memcpy(before, ram, sizeof(before));
		v->cpu.fault = (struct x86_fault){0};
		res = x86_walk(&v->cpu, GLA, acc, &want);
		fault = v->cpu.fault;
		memcpy(after, ram, sizeof(after));
		memcpy(ram, before, sizeof(before));
		v->cpu.fault = (struct x86_fault){0};
		assert_int_equal(soft_walk(v, GLA, acc, &got), res);
		assert_memory_equal(ram, after, sizeof(after));
		assert_memory_equal(&v->cpu.fault, &fault, sizeof(fault));
		assert_int_equal(got.gpa, want.gpa);
		assert_int_equal(got.page_shift, want.page_shift);
		assert_int_equal(got.user, want.user);
		assert_int_equal(got.writable, want.writable);
		assert_int_equal(got.executable, want.executable);
		assert_int_equal(got.global, want.global);
		assert_int_equal(got.dirty, want.dirty);
		done += res == X86_DONE;
	}
	assert_true(done > ROUNDS / 4 && done < ROUNDS / 4 * 3);
	vm_destroy(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_same)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
