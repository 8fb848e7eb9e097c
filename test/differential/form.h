/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Encodings of a row of the instruction table, for 64-bit code at DIFF_RIP. */
#ifndef TEST_DIFFERENTIAL_FORM_H
#define TEST_DIFFERENTIAL_FORM_H

#include "test/differential/value.h"

struct diff_form {
	struct x86_insn insn;
	bool moves_address; /* the case chooses the address, by a base register */
	uint64_t address;   /* else it is this one, plus the scaled index register */
};

/*
 * Makes one encoding of `row` at random: registers, prefixes, operand and address size, addressing
 * mode, immediate.  False if there is none with (`memory`) or without a memory operand.
 */
bool form_make(
	struct diff_form *form, const struct x86_row *row, bool memory, struct diff_random *r);

#endif
