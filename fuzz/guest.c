/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Fuzzes the software CPU: bytes become a guest of any mode, which runs for three milliseconds at most.  The
 * process must neither crash nor hang, whatever the guest does.
 */
#include <stdlib.h>

#include "test/backend/soft/soup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct soup *soup;

	if (!soup) {
		soup = calloc(1, sizeof(*soup));
		if (!soup || !soup_open(soup))
			abort();
	}
	if (!soup_run(soup, data, size))
		abort();
	return 0;
}
