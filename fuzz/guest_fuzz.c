/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Fuzzes the software CPU: bytes become a guest of any mode, which runs for three milliseconds at most.  The
 * process must neither crash nor hang, whatever the guest does.
 */
#include "fuzz/fuzz.h"
#include "test/backend/soft/soup.h"

#define SEEDS 40u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct soup *soup; /* libFuzzer lends no place for it */

	if (!soup) {
		soup = calloc(1, sizeof(*soup));
		FUZZ_CHECK(soup && soup_open(soup));
	}
	FUZZ_CHECK(soup_run(soup, data, size));
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *to, size_t room)
{
	return n < SEEDS && room >= 1024 ? soup_input(to, 1024, n) : 0;
}
