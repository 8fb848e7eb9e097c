/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* A hostile driver of the entropy device: the rings, and nothing behind them. */
#include "fuzz/hostile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct hostile_setup setup = {.model = "virtio-rnd"};

	hostile_run(&setup, data, size);
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *to, size_t room)
{
	return hostile_seed(n, to, room);
}
