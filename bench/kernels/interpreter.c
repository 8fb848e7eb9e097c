/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A small virtual machine, dispatched in two ways: by a switch in a loop (one indirect jump for
 * all) and by computed goto (one after each operation).
 */
#include "bench/kernels/parts.h"

struct op {
	uint8_t code, a, b;
	int32_t imm;
};

#define OPS(X)                                                                                     \
	X(MOVI, r[i->a] = (uint64_t)i->imm)                                                        \
	X(MOV, r[i->a] = r[i->b])                                                                  \
	X(ADD, r[i->a] += r[i->b])                                                                 \
	X(ADDI, r[i->a] += (uint64_t)i->imm)                                                       \
	X(MUL, r[i->a] *= r[i->b])                                                                 \
	X(XOR, r[i->a] ^= r[i->b])                                                                 \
	X(SHR, r[i->a] >>= i->imm)                                                                 \
	X(LOAD, r[i->a] = memory[r[i->b] & 63])                                                    \
	X(STORE, memory[r[i->b] & 63] = r[i->a])                                                   \
	X(JODD, i += r[i->a] & 1 ? i->imm : 0)                                                     \
	X(JNZ, i += r[i->a] ? i->imm : 0)                                                          \
	X(JMP, i += i->imm)                                                                        \
	X(HALT, return r[i->a])

#define NAME(name, body) OP_##name,
enum op_code { OPS(NAME) };

/* For 300 numbers: the steps of 3n+1 down to 1; and a table of remainders. */
static const struct op program[] = {
	{ OP_MOVI, 0, 0, 300 }, /* r0: the number */
	{ OP_MOVI, 1, 0, 0 },   /* r1: the sum */
	{ OP_MOVI, 2, 0, 3 },
	{ OP_MOV, 3, 0, 0 }, /* 3: next number */
	{ OP_JODD, 3, 0, 2 }, /* 4: next step */
	{ OP_SHR, 3, 0, 1 },
	{ OP_JMP, 0, 0, 2 },
	{ OP_MUL, 3, 2, 0 },
	{ OP_ADDI, 3, 0, 1 },
	{ OP_ADDI, 1, 0, 1 }, /* 9: count it */
	{ OP_MOV, 4, 3, 0 },
	{ OP_ADDI, 4, 0, -1 },
	{ OP_JNZ, 4, 0, -9 },
	{ OP_LOAD, 5, 0, 0 },
	{ OP_XOR, 5, 1, 0 },
	{ OP_STORE, 5, 0, 0 },
	{ OP_ADD, 1, 5, 0 },
	{ OP_ADDI, 0, 0, -1 },
	{ OP_JNZ, 0, 0, -16 },
	{ OP_HALT, 1, 0, 0 },
};

static __attribute__((noinline)) uint64_t by_switch(const struct op *i)
{
	uint64_t r[8] = {0}, memory[64] = {0};

#define CASE(name, body)                                                                           \
	case OP_##name:                                                                            \
		body;                                                                              \
		break;
	for (;; i++) {
		switch ((enum op_code)i->code) {
			OPS(CASE)
		}
	}
}

static __attribute__((noinline)) uint64_t by_goto(const struct op *i)
{
#define ADDRESS(name, body) &&op_##name,
	static const void *const label[] = {OPS(ADDRESS)};
	uint64_t r[8] = {0}, memory[64] = {0};

	goto *label[i->code];
#define LABEL(name, body)                                                                          \
	op_##name: body;                                                                           \
	i++;                                                                                       \
	goto *label[i->code];
	OPS(LABEL)
}

uint64_t switch_unit(void *state)
{
	(void)state;
	return by_switch(program);
}

uint64_t goto_unit(void *state)
{
	(void)state;
	return by_goto(program);
}
