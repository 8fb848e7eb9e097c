/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Fuzzes the software CPU: bytes become a guest of any mode, which runs for three milliseconds at most.  The
 * process must neither crash nor hang, whatever the guest does.
 */
#include "fuzz/fuzz.h"
#include "test/backend/soft/soup.h"

#define SEEDS 40u

static struct soup *soup; /* libFuzzer lends no place for it */

/* The leak checker does not see what hangs on a vcpu's own pages. */
static void end(void)
{
	soup_close(soup);
	free(soup);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!soup) {
		soup = calloc(1, sizeof(*soup));
		FUZZ_CHECK(soup && soup_open(soup) && atexit(end) == 0);
	}
	FUZZ_CHECK(soup_run(soup, data, size));
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *to, size_t room)
{
	return n < SEEDS && room >= 1024 ? soup_input(to, 1024, n) : 0;
}
