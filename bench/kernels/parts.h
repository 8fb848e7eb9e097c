/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Units of the integer class that have a file of their own. */
#ifndef BENCH_KERNELS_PARTS_H
#define BENCH_KERNELS_PARTS_H

#include <stdint.h>

uint64_t mix_unit(void *state);
uint64_t switch_unit(void *state);
uint64_t goto_unit(void *state);
uint64_t sha256_unit(void *state);

#endif
