/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* A kernel's compressed payload, each compressor. */
#include "fuzz/fuzz.h"
#include "fuzz/packers.h"
#include "machine/boot/boot.h"

enum { LIMIT = 16 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *out;
	volatile uint8_t all = 0;
	size_t out_size;

	if (boot_unpack(data, size, LIMIT, &out, &out_size) != 0)
		return 0;
	FUZZ_CHECK(out_size > 0 && out_size <= LIMIT);
	for (size_t i = 0; i < out_size; i++) /* every byte is there to be read */
		all = all | out[i];
	free(out);
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *to, size_t room)
{
	uint8_t text[1000];

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (uint8_t)(i % 97 < 50 ? i : i * i);
	return n < FUZZ_PACKERS ? fuzz_pack(n, text, sizeof(text), to, room) : 0;
}
