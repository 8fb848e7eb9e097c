/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The encoder: each native row, from each code size, with its registers where they were and
 * somewhere else, and its memory operand behind each base register.  What comes out is decoded
 * again, by our decoder and by an independent one, and must be the same instruction on the new
 * operands.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "test/x86/encodings.h"
#include "test/x86/oracle.h"
#include "x86/insn_table.h"

#ifdef HYVE_SAN
#define PER_ROW 60
#else
#define PER_ROW 1500
#endif

static struct oracle oracle;

static const struct x86_remap same = {
	.gpr = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
	.mem_base = X86_R12,
};

static void failed(const struct x86_insn *insn, const uint8_t *out, unsigned n, const char *why)
{
	char text[160], *p = text;

	p += sprintf(p, "%u-bit ", insn->code_size);
	for (unsigned i = 0; i < insn->len; i++)
		p += sprintf(p, "%02x ", insn->bytes[i]);
	p += sprintf(p, "-> ");
	for (unsigned i = 0; i < n; i++)
		p += sprintf(p, "%02x ", out[i]);
	fail_msg("%s %s: %s: %s", insn->row->name, insn->row->syntax, text, why);
}

/* ---- what the new instruction must be ---- */

/* A high byte register has no encoding beside a REX prefix: the only reason to refuse. */
static bool may_refuse(const struct x86_insn *insn)
{
	for (unsigned i = 0; i < insn->nops; i++)
		if (insn->op[i].kind == X86_OK_GPR && insn->op[i].high)
			return true;
	return false;
}

static unsigned expected_register(const struct x86_operand *op, const struct x86_remap *map)
{
	if (op->kind == X86_OK_GPR && op->field != X86_OF_IMPLICIT)
		return map->gpr[op->reg];
	return op->reg;
}

static const char *compare_operand(
	const struct x86_operand *old, const struct x86_operand *new, const struct x86_remap *map)
{
	if (new->kind != old->kind || new->size != old->size || new->access != old->access)
		return "another kind of operand";
	if (new->high != old->high)
		return "high byte";
	return new->reg == expected_register(old, map) ? NULL : "register";
}

static const char *compare_memory(
	const struct x86_insn *old, const struct x86_insn *new, const struct x86_remap *map)
{
	if (new->has_mem != old->has_mem)
		return "memory operand or none";
	if (!new->has_mem)
		return NULL;
	if (new->mem.base != map->mem_base ||
		new->mem.index != (map->mem_index ? map->mem_index - 1u : X86_NOREG) ||
		new->mem.disp != map->mem_disp)
		return "address";
	if (new->mem.size != old->mem.size || new->mem.access != old->mem.access)
		return "memory access";
	return NULL;
}

/* In 32-bit code bit 7 of an immediate that names a register is ignored; it must not reappear. */
static bool same_immediate(const struct x86_insn *old, const struct x86_insn *new)
{
	uint8_t mask = 0xff;

	for (unsigned i = 0; i < old->nops; i++)
		if (old->op[i].field == X86_OF_IS4 && old->code_size != 64)
			mask = 0x7f;
	if (mask != 0xff)
		return new->imm == (int8_t)(old->imm & mask);
	return new->imm == old->imm &&new->imm2 == old->imm2;
}

static const char *compare(
	const struct x86_insn *old, const struct x86_insn *new, const struct x86_remap *map)
{
	const char *why = compare_memory(old, new, map);

	if (new->row->mnem != old->row->mnem || new->row->class != X86_NATIVE)
		return "another instruction";
	if (new->row->fl_write != old->row->fl_write || new->row->fl_read != old->row->fl_read)
		return "other flags";
	if (new->lock != old->lock || new->vex_l != old->vex_l || new->nops != old->nops)
		return "lock, vector length or number of operands";
	/* Only these two have a size, but no operands to show it. */
	if ((old->row->mnem == X86_I_cbw || old->row->mnem == X86_I_cwd) &&
		new->opsize != old->opsize)
		return "operand size";
	for (unsigned i = 0; i < old->nops && !why; i++)
		why = compare_operand(&old->op[i], &new->op[i], map);
	if (!why && !same_immediate(old, new))
		why = "immediate";
	return why;
}

/* Encodes, decodes twice, compares. */
static void check(const struct x86_insn *insn, const struct x86_remap *map)
{
	uint8_t out[16];
	unsigned n;
	struct x86_insn new;
	const char *why;

	memset(out, 0xcc, sizeof(out));
	n = x86_encode(insn, map, out);
	if (n == 0) {
		if (!may_refuse(insn))
			failed(insn, out, 0, "refused");
		return;
	}
	if (n > X86_INSN_MAX || x86_decode(&new, out, n, 64) != X86_DECODE_OK || new.len != n)
		failed(insn, out, n, "no instruction");
	why = compare(insn, &new, map);
	if (!why && !oracle_decode(&oracle, out, n, 64))
		why = "no instruction to the other decoder";
	if (!why)
		why = oracle_compare(&oracle, &new);
	if (why)
		failed(insn, out, n, why);
}

/* ---- where registers go ---- */

/*
 * Any permutation that leaves the registers alone which the instruction names without encoding
 * them.
 */
static void shuffle(struct rng *rng, struct x86_remap *map, uint16_t fixed)
{
	for (unsigned i = 0; i < 16; i++)
		map->gpr[i] = (uint8_t)i;
	for (unsigned i = 15; i > 0; i--) {
		unsigned k = rng_below(rng, i + 1);
		uint8_t t = map->gpr[i];

		if (fixed >> i & 1 || fixed >> k & 1)
			continue;
		map->gpr[i] = map->gpr[k];
		map->gpr[k] = t;
	}
}

static uint16_t fixed_registers(const struct x86_insn *insn)
{
	uint16_t fixed = insn->row->gpr_read | insn->row->gpr_write;

	for (unsigned i = 0; i < insn->nops; i++)
		if (insn->op[i].kind == X86_OK_GPR && insn->op[i].field == X86_OF_IMPLICIT)
			fixed |= (uint16_t)(1u << insn->op[i].reg);
	return fixed;
}

static void check_maps(struct rng *rng, const struct x86_insn *insn)
{
	static const int32_t disp[] = {0, 8, -128, 127, 128, -129, 0x7fffffff, INT32_MIN};
	struct x86_remap map = same;

	check(insn, &map);
	map.mem_base = (uint8_t)rng_below(rng, 16);
	map.mem_disp = disp[rng_below(rng, 8)];
	map.mem_index = (uint8_t)rng_below(rng, 17);
	if (map.mem_index == X86_RSP + 1)
		map.mem_index = 0;
	check(insn, &map);
	shuffle(rng, &map, fixed_registers(insn));
	check(insn, &map);
}

static void test_rows(void **state)
{
	static const unsigned code_sizes[] = {16, 32, 64};
	struct rng rng = {11};

	(void)state;
	oracle_init(&oracle);
	for (unsigned i = 0; i < x86_row_count; i++) {
		unsigned seen = 0;

		if (x86_rows[i].class != X86_NATIVE)
			continue;
		for (unsigned k = 0; k < PER_ROW; k++) {
			uint8_t bytes[ENCODING_BYTES];
			struct x86_insn insn;
			unsigned code_size = code_sizes[k % 3];

			encoding_of_row(&rng, i, code_size, bytes);
			if (x86_decode(&insn, bytes, sizeof(bytes), code_size) != X86_DECODE_OK)
				continue;
			if (insn.row->class != X86_NATIVE)
				continue;
			seen++;
			check_maps(&rng, &insn);
		}
		if (!seen)
			fail_msg("%s %s: nothing to encode", x86_rows[i].name, x86_rows[i].syntax);
	}
}

/* ---- by hand ---- */

static const struct {
	unsigned code_size;
	const char *bytes;
	const char *expected; /* "": refused */
	struct x86_remap map;
} vectors[] = {
#define SAME .gpr = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}
/* RBX and RBP become R9 and R10. */
#define MOVED .gpr = {0, 1, 2, 9, 4, 10, 6, 7, 8, 3, 5, 11, 12, 13, 14, 15}
	{64, "01 d8", "01 d8", {SAME}},
	{64, "01 d8", "44 01 c8", {MOVED}},
	{64, "48 01 5d f8", "4d 01 0c 24", {MOVED, .mem_base = X86_R12}},
	{64, "48 01 5d f8", "4d 01 4d 00", {MOVED, .mem_base = X86_R13}},
	{64, "48 01 5d f8", "4c 01 4c 24 10", {MOVED, .mem_base = X86_RSP, .mem_disp = 16}},
	{64, "48 01 5d f8", "4c 01 88 00 01 00 00", {MOVED, .mem_disp = 256}},
	{64, "64 f0 83 00 01", "f0 83 07 01", {SAME, .mem_base = X86_RDI}},
	{16, "01 d8", "66 01 d8", {SAME}},
	{16, "66 01 d8", "01 d8", {SAME}},
	{16, "66 05 78 56 34 12", "05 78 56 34 12", {SAME}},
	{16, "05 34 12", "66 05 34 12", {SAME}},
	{16, "0f 6f c1", "0f 6f c1", {SAME}}, /* MMX: a 66 would make it SSE */
	{16, "98", "66 98", {SAME}},
	{32, "43", "ff c3", {SAME}},
	{32, "4b", "41 ff c9", {MOVED}},
	{16, "4b", "66 41 ff c9", {MOVED}},
	{32, "82 c3 05", "80 c3 05", {SAME}},
	{32, "a1 78 56 34 12", "41 8b 04 24", {SAME, .mem_base = X86_R12}},
	{32, "a2 78 56 34 12", "41 88 04 24", {SAME, .mem_base = X86_R12}},
	{64, "48 a3 88 77 66 55 44 33 22 11", "48 89 47 01",
		{SAME, .mem_base = X86_RDI, .mem_disp = 1}},
	{64, "93", "87 c3", {SAME}},
	{64, "93", "41 87 c1", {MOVED}},
	{64, "90", "90", {SAME}},
	{64, "88 dc", "88 dc", {SAME}},	       /* MOV AH, BL */
	{64, "88 dc", "", {MOVED}},	       /* ... R9B */
	{64, "88 e7", "", {MOVED}},	       /* MOV BH, AH: R9 has no second byte */
	{64, "40 88 e8", "44 88 d0", {MOVED}}, /* MOV AL, BPL */
	{64, "40 88 f0", "40 88 f0", {MOVED}}, /* MOV AL, SIL: REX for its own sake */
	{64, "48 8d 44 8d fc", "48 8d 47 fc", {SAME, .mem_base = X86_RDI, .mem_disp = -4}},
	{64, "66 f3 0f b8 c3", "66 f3 41 0f b8 c1", {MOVED}},
	{64, "bb 78 56 34 12", "41 b9 78 56 34 12", {MOVED}},
	{64, "49 bb 88 77 66 55 44 33 22 11", "49 bb 88 77 66 55 44 33 22 11", {SAME}},
	{64, "f3 0f 10 00", "f3 41 0f 10 04 24", {SAME, .mem_base = X86_R12}},
	{64, "c5 f8 58 00", "c4 c1 78 58 04 24", {SAME, .mem_base = X86_R12}},
	{64, "c4 c1 78 58 04 24", "c5 f8 58 00", {SAME}},
	{64, "c4 e2 60 f2 c2", "c4 e2 30 f2 c2", {MOVED}}, /* ANDN EAX, EBX, EDX */
	{32, "c4 e2 e0 f2 c2", "c4 e2 60 f2 c2", {SAME}},  /* W is ignored there */
	{32, "c4 e3 71 4a c2 f0", "c4 e3 71 4a c2 70", {SAME}},
	{64, "d9 c9", "d9 c9", {SAME}},
	{64, "dd 45 08", "41 dd 45 08", {SAME, .mem_base = X86_R13, .mem_disp = 8}},
	{64, "f2 0f 78 c1 02 03", "f2 0f 78 c1 02 03", {SAME}},
	{64, "0f ae e8", "0f ae e8", {SAME}},
	{64, "c3", "", {SAME}}, /* not NATIVE */
	{64, "a4", "", {SAME}},
};

static unsigned parse_hex(const char *text, uint8_t *bytes)
{
	unsigned n = 0;
	int used;

	while (sscanf(text, " %2hhx%n", &bytes[n], &used) == 1) {
		text += used;
		n++;
	}
	return n;
}

static void test_vectors(void **state)
{
	(void)state;
	for (unsigned i = 0; i < sizeof(vectors) / sizeof(vectors[0]); i++) {
		uint8_t bytes[32] = {0}, expected[32] = {0}, out[16];
		unsigned n = parse_hex(vectors[i].expected, expected), len;
		struct x86_insn insn;

		parse_hex(vectors[i].bytes, bytes);
		assert_int_equal(x86_decode(&insn, bytes, sizeof(bytes), vectors[i].code_size),
			X86_DECODE_OK);
		len = x86_encode(&insn, &vectors[i].map, out);
		if (len != n || memcmp(out, expected, n))
			failed(&insn, out, len, vectors[i].expected);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_vectors),
		cmocka_unit_test(test_rows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
