/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Random instructions, states, descriptors and stacks in every mode: whatever faults must leave the
 * processor as it was.  Exempt are repeated strings and gathers, which stop in the middle by
 * design.
 */
#include <stdlib.h>

#include "test/x86/system_guest.h"

#define ROUNDS	 15000u
#define REFRESH	 64u /* rounds until memory is made anew */
#define CODE_MAX 15u

struct random {
	uint64_t state;
};

static uint64_t next(struct random *r)
{
	r->state ^= r->state << 13;
	r->state ^= r->state >> 7;
	r->state ^= r->state << 17;
	return r->state * 2685821657736338717ull;
}

static bool one_in(struct random *r, unsigned n)
{
	return next(r) % n == 0;
}

/* A number that is likely to mean something: a pointer, a selector, an edge. */
static uint64_t value(struct random *r)
{
	switch (next(r) % 8) {
	case 0:
		return next(r);
	case 1:
		return next(r) & 0xffff;
	case 2:
		return AT_DATA + (next(r) & 0xfff);
	case 3:
		return next(r) % GUEST_RAM;
	case 4:
		return 0x7fffffffffffull + next(r) % 16 - 8;
	case 5:
		return next(r) & 0xf8;
	case 6:
		return (uint32_t)next(r);
	default:
		return -(next(r) & 0xff);
	}
}

/* Every other time an opcode of the system half; else anything. */
static void make_code(struct random *r, uint8_t code[CODE_MAX])
{
	static const uint8_t prefixes[] = {0x66, 0x67, 0xf2, 0xf3, 0xf0, 0x48, 0x4c, 0x64, 0x2e};
	static const uint8_t one[] = {0x07, 0x17, 0x1f, 0x27, 0x2f, 0x37, 0x3f, 0x62, 0x63, 0x6c,
		0x6d, 0x6e, 0x6f, 0x8c, 0x8e, 0x9a, 0xc4, 0xc5, 0xca, 0xcb, 0xcc, 0xcd, 0xce, 0xcf,
		0xd4, 0xd5, 0xd7, 0xd9, 0xdd, 0xe4, 0xea, 0xec, 0xfa, 0xfb, 0xff};
	static const uint8_t two[] = {0x00, 0x01, 0x02, 0x03, 0x05, 0x06, 0x07, 0x20, 0x21, 0x22,
		0x23, 0x30, 0x31, 0x32, 0x34, 0x35, 0xa1, 0xa2, 0xa3, 0xa9, 0xab, 0xae, 0xb2, 0xb3,
		0xb4, 0xbb, 0xc7, 0xf7};
	unsigned at = 0;

	for (unsigned i = 0; i < CODE_MAX; i++)
		code[i] = (uint8_t)next(r);
	if (one_in(r, 3))
		code[at++] = prefixes[next(r) % sizeof(prefixes)];
	if (one_in(r, 2)) {
		code[at++] = 0x0f;
		if (one_in(r, 2))
			code[at] = two[next(r) % sizeof(two)];
	} else if (one_in(r, 2)) {
		code[at] = one[next(r) % sizeof(one)];
	}
}

static void make_state(struct random *r, struct guest *g, unsigned cpl)
{
	struct x86_cpu *cpu = &g->cpu;

	for (unsigned i = 0; i < 16; i++)
		if (i != X86_RSP || one_in(r, 4))
			cpu->gpr[i] = value(r);
	cpu->rflags = 2 | (next(r) & 0x3c4fd5);
	if (g->mode == GUEST_PROT32 && cpl == 3 && one_in(r, 8))
		cpu->rflags |= X86_RF_VM;
	if (one_in(r, 4))
		cpu->cr4 |= next(r) & 0x370fff;
	if (one_in(r, 16))
		cpu->cr0 ^= next(r) & (X86_CR0_WP | X86_CR0_TS | X86_CR0_EM | X86_CR0_AM);
	cpu->tr.limit = one_in(r, 8) ? next(r) & 0xff : 0xff;
	cpu->vendor = next(r) & 1;
	cpu->efer |= next(r) & X86_EFER_SCE;
	cpu->xcr0 = one_in(r, 2) ? 7 : 3;
	if (one_in(r, 8))
		cpu->seg[next(r) % 6].access = next(r) & 0x1f0ff;
	if (one_in(r, 8))
		cpu->seg[next(r) % 6].limit = (uint32_t)value(r);
	g->polls_left = 5;
}

static void make_memory(struct random *r, struct guest *g)
{
	for (unsigned i = 0; i < 16; i++)
		gdt_set(g, FREE + 8 * i, next(r));
	for (unsigned i = 0; i < 64; i++)
		guest_put(g, AT_DATA + 8 * i, next(r), 1);
	for (unsigned i = 0; i < 12; i++)
		guest_put(g, STACK_NOW + 8 * i, value(r), one_in(r, 2) ? 4 : 8);
}

/* In the middle of a repetition; or behind it, by the trap of SYSRET that has set TF. */
static bool may_stop_inside(const struct x86_insn *insn)
{
	return insn->row != NULL &&
	       (insn->row->class == X86_STRING || insn->row->props & X86_P_VSIB ||
		       insn->row->mnem == X86_I_sysret);
}

/* SYSRET's single-step trap comes when it is done. */
static bool is_trap(const struct guest *g)
{
	return g->insn.row != NULL && g->insn.row->mnem == X86_I_sysret &&
	       g->cpu.fault.vector == X86_DB;
}

static void round_trip(struct random *r, struct guest *g, const struct x86_cpu *base, unsigned cpl)
{
	struct x86_exec *exec = g->cpu.exec;
	uint8_t code[CODE_MAX];
	struct x86_cpu before;

	g->cpu = *base;
	g->cpu.exec = exec;
	make_state(r, g, cpl);
	make_memory(r, g);
	make_code(r, code);
	guest_code(g, code, CODE_MAX);
	before = g->cpu;
	g->insn.row = NULL;
	if (guest_step(g) == X86_FAULT && !may_stop_inside(&g->insn) && !is_trap(g) &&
		memcmp(&before, &g->cpu, offsetof(struct x86_cpu, fault)) != 0)
		fail_msg("mode %d CPL %u: %02x %02x %02x %02x %02x %02x faults with %u(%x)",
			g->mode, cpl, code[0], code[1], code[2], code[3], code[4], code[5],
			g->cpu.fault.vector, g->cpu.fault.error);
}

static void check_mode(enum guest_mode mode, unsigned cpl)
{
	struct guest *g = system_guest(mode, cpl);
	const struct x86_cpu base = g->cpu;
	uint8_t *ram = malloc(GUEST_RAM);
	struct random r = {.state = 88172645463325252ull + mode * 4 + cpl};

	assert_non_null(ram);
	memcpy(ram, g->ram, GUEST_RAM);
	for (unsigned i = 0; i < ROUNDS; i++) {
		if (i % REFRESH == 0)
			memcpy(g->ram, ram, GUEST_RAM);
		round_trip(&r, g, &base, cpl);
	}
	free(ram);
	guest_destroy(g);
}

static void test_faults(void **state)
{
	(void)state;
	check_mode(GUEST_REAL16, 0);
	for (enum guest_mode mode = GUEST_PROT16; mode <= GUEST_LONG64; mode++) {
		check_mode(mode, 0);
		check_mode(mode, 3);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_faults),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
