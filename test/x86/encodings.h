/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Byte strings made from the instruction table, for the tests of the decoder and the encoder. */
#ifndef TEST_X86_ENCODINGS_H
#define TEST_X86_ENCODINGS_H

#include "x86/insn.h"

#define ENCODING_BYTES 24 /* always filled to the end */

struct rng {
	uint64_t state;
};

uint32_t rng_next(struct rng *rng);
/* 0..n-1 */
static inline uint32_t rng_below(struct rng *rng, uint32_t n)
{
	return (uint32_t)(((uint64_t)rng_next(rng) * n) >> 32);
}

/* An encoding of this row, with random prefixes, operands and immediates; mostly a legal one. */
void encoding_of_row(
	struct rng *rng, unsigned row, unsigned code_size, uint8_t bytes[ENCODING_BYTES]);
/* One of any row, sometimes with a bit flipped, sometimes nothing but random bytes. */
void encoding_any(struct rng *rng, unsigned code_size, uint8_t bytes[ENCODING_BYTES]);

#endif
