/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Pseudo-random numbers, and the operand values at which instructions go wrong. */
#ifndef TEST_DIFFERENTIAL_VALUE_H
#define TEST_DIFFERENTIAL_VALUE_H

#include "test/differential/world.h"

struct diff_random {
	uint64_t state; /* not 0 */
};

/* xorshift64* */
static inline uint64_t random_next(struct diff_random *r)
{
	r->state ^= r->state >> 12;
	r->state ^= r->state << 25;
	r->state ^= r->state >> 27;
	return r->state * 0x2545f4914f6cdd1dull;
}

static inline unsigned random_below(struct diff_random *r, unsigned n)
{
	return (unsigned)((random_next(r) >> 32) * n >> 32);
}

static inline bool one_in(struct diff_random *r, unsigned n)
{
	return random_below(r, n) == 0;
}

/* Sign boundaries, powers of two and their neighbours, small and arbitrary numbers. */
uint64_t value_integer(struct diff_random *r);
/* `len` bytes of lanes of one kind: integers, floats, doubles, extended precision, anything. */
void value_bytes(struct diff_random *r, uint8_t *out, unsigned len);
/* x87, MMX, SSE and AVX registers with their control words, as an XSAVE image. */
void value_fpu(struct diff_random *r, uint8_t fpu[X86_XSAVE_SIZE], bool mmx);

#endif
