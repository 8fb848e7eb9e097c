/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Registers and memory for one execution of a form. */
#ifndef TEST_DIFFERENTIAL_CASE_H
#define TEST_DIFFERENTIAL_CASE_H

#include "test/differential/form.h"

/* A stretch of the data that a case fills and compares; all of it is compared now and then. */
struct diff_window {
	uint32_t offset, len; /* from DIFF_DATA */
	uint8_t bytes[256];
};

struct diff_case {
	struct diff_state state;
	struct diff_window window[2]; /* around the addresses the instruction goes to */
	unsigned windows;
};

/* Vector registers change only where the row looks at them. */
void case_make(struct diff_case *c, const struct diff_form *form, struct diff_random *r);

#endif
