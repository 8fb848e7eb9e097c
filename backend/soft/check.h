/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Lock-step: each block is executed one instruction at a time first, undone, run translated, and
 * both ends compared.  For this folder and its tests; soft_vm.lockstep (soft.lockstep) turns it on
 * before the first run.
 */
#ifndef BACKEND_SOFT_CHECK_H
#define BACKEND_SOFT_CHECK_H

#include <stdbool.h>
#include <stdint.h>

#include "x86/x86.h"

#define SOFT_CHECK_INSNS 1024u /* of one unit of translation */
#define SOFT_NO_INDEX	 (~0u)

/* The first block that came out differently. */
struct soft_mismatch {
	bool found;
	uint64_t rip;
	uint32_t mode;
	unsigned insns; /* that the reference executed */
	/*
	 * The first one behind which the two differ when the block ends there; `insns` or more:
	 * only the block as a whole shows it.
	 */
	unsigned first;
	const char *what; /* which part of the state, and which element of it or SOFT_NO_INDEX */
	unsigned index;
	uint64_t want, got; /* stepped, translated */
	struct {
		uint64_t rip;
		uint8_t len, bytes[X86_INSN_MAX];
	} insn[SOFT_CHECK_INSNS];
};

struct soft_check_stats {
	uint64_t blocks, insns; /* compared */
	uint64_t unrepeatable;	/* not compared: time, random numbers, devices */
	uint64_t too_big;	/* ... more stores than can be undone */
	uint64_t interrupted;	/* ... left in the middle of a string instruction, or to nowhere */
	uint64_t unstable; /* memory changed under our hands: the reference differs from itself */
	uint64_t faults, exits; /* compared blocks that ended so */
};

struct soft_check;
struct soft_vcpu;
struct soft_block;

struct soft_check *soft_check_create(void);
void soft_check_destroy(struct soft_check *c);
/* Runs a block in both ways. enum soft_reason, as translated code gave it, or SOFT_MISMATCH. */
uint32_t soft_check_block(struct soft_vcpu *v, const struct soft_block *b);
/* May it be executed twice?  Not if the outside notices, or the result is another one then. */
bool soft_check_repeatable(const struct x86_insn *insn);
const struct soft_check_stats *soft_check_stats(const struct soft_vcpu *v);
const struct soft_mismatch *soft_check_mismatch(const struct soft_vcpu *v);
/* What differs, and one of its instructions, as text. When vm_run() has returned. */
void soft_mismatch_state(const struct soft_mismatch *m, char *text, size_t size);
void soft_mismatch_insn(const struct soft_mismatch *m, unsigned i, char *text, size_t size);

#endif
