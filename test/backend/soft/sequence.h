/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Random sequences of instructions that hang together: pointers, counts, short jumps, loops, status flags
 * that live across memory operands.
 */
#ifndef TEST_BACKEND_SOFT_SEQUENCE_H
#define TEST_BACKEND_SOFT_SEQUENCE_H

#include "test/backend/soft/world.h"

#define SEQUENCE_PIECES 64
#define SEQUENCE_BYTES	1280

/* What is in it. */
enum { SEQUENCE_FLAGS, SEQUENCE_FIELDS, SEQUENCE_WALKS, SEQUENCE_KINDS };

struct sequence {
	enum world_mode mode;
	unsigned entry; /* offset from WORLD_CODE, so that some cross into the next page */
	unsigned len;
	uint8_t code[SEQUENCE_BYTES];
	unsigned kinds;	 /* bits */
	unsigned pieces; /* what may be replaced by NOPs to make it smaller */
	uint16_t piece[SEQUENCE_PIECES + 1];
};

void sequence_make(struct sequence *s, enum world_mode mode, struct rng *rng);
/* False: what it does depends on more than the guest's state, or leads out of it. */
bool sequence_may_run(const struct x86_cpu *cpu, const struct x86_insn *insn);

#endif
