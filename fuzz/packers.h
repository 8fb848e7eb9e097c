/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The compressors that a kernel may be packed with, for seeds. */
#ifndef FUZZ_PACKERS_H
#define FUZZ_PACKERS_H

#include <stddef.h>
#include <stdint.h>

enum { FUZZ_PACKERS = 5 };

/* Packs with the n-th one as the kernel's build does, its size field included; 0: no room. */
size_t fuzz_pack(unsigned n, const uint8_t *in, size_t size, uint8_t *to, size_t room);

#endif
