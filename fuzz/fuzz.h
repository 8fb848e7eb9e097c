/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * What every target in fuzz/x_fuzz.c defines, and what they share.  libFuzzer drives a target for
 * `make fuzz`, fuzz/smoke.c the same file for `make test`.
 */
#ifndef FUZZ_FUZZ_H
#define FUZZ_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One input. Whatever it holds, this returns 0; aborts where something is broken. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
/* Writes the n-th seed, at most `room` bytes, and returns its size; 0: there are no more. */
size_t fuzz_seed(unsigned n, uint8_t *to, size_t room);

#define FUZZ_CHECK(condition)                                                                      \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* An input read as a stream of little-endian fields; zeros come after its end. */
struct fuzz_input {
	const uint8_t *at;
	size_t left;
};

static inline uint64_t fuzz_take(struct fuzz_input *in, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes && in->left > 0; i++, in->left--)
		value |= (uint64_t)*in->at++ << (8 * i);
	return value;
}

/* 1, 2, 4 or 8: the width of an access. */
static inline unsigned fuzz_take_width(struct fuzz_input *in)
{
	return 1u << (fuzz_take(in, 1) & 3);
}

/* A value that fits into a few bytes of input: the first says how many follow, or which constant. */
static inline uint64_t fuzz_take_value(struct fuzz_input *in)
{
	static const uint64_t some[] = {0, 1, 0xff, 0x7fffffff, 0x80000000, UINT32_MAX,
		INT64_MAX, UINT64_MAX};
	unsigned how = (unsigned)fuzz_take(in, 1);

	return how < 8 ? some[how] : fuzz_take(in, 1u << (how & 3));
}

/* A memory file that holds `size` bytes, and the path by which a parser can open it. */
struct fuzz_file {
	int fd;
	char path[32];
};

void fuzz_file_create(struct fuzz_file *file);
void fuzz_file_write(struct fuzz_file *file, const void *bytes, size_t size);

#endif
