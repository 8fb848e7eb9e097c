/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Loads that depend on each other, within and far beyond the caches, and a plain copy loop. */
#include <errno.h>
#include <emmintrin.h>

#include "bench/kernels/kernel.h"

#define LINE	    64
#define SMALL_SIZE  (16u << 10)
#define SMALL_STEPS 8192
#define LARGE_SIZE  (16u << 20)
#define COPY_SIZE   (8u << 20)

struct line {
	struct line *next;
	uint64_t number;
	uint8_t rest[LINE - 16];
};

/* One cycle through all lines, in random order (Sattolo's shuffle). */
static int chase_open(void **state, size_t size)
{
	size_t count = size / LINE;
	struct line *lines = pages_alloc(size, 4096);
	uint64_t seed = 20260101;

	if (!lines)
		return ENOMEM;
	for (size_t i = 0; i < count; i++)
		lines[i] = (struct line){.next = &lines[i], .number = i};
	for (size_t i = count - 1; i > 0; i--) {
		size_t j = random_next(&seed) % i;
		struct line *other = lines[j].next;

		lines[j].next = lines[i].next;
		lines[i].next = other;
	}
	*state = lines;
	return 0;
}

static int small_open(void **state)
{
	return chase_open(state, SMALL_SIZE);
}

static int large_open(void **state)
{
	return chase_open(state, LARGE_SIZE);
}

static uint64_t chase(const struct line *line, size_t steps)
{
	for (; steps >= 4; steps -= 4)
		line = line->next->next->next->next;
	return line->number;
}

static uint64_t small_unit(void *state)
{
	return chase(state, SMALL_STEPS + 4 * 13);
}

/* Once round, but for a few lines: the sum tells where it ended. */
static uint64_t large_unit(void *state)
{
	return chase(state, LARGE_SIZE / LINE - 12);
}

static int copy_open(void **state)
{
	uint64_t *words = pages_alloc(2 * COPY_SIZE, 4096);
	uint64_t seed = 99;

	if (!words)
		return ENOMEM;
	for (size_t i = 0; i < COPY_SIZE / 8; i++)
		words[i] = random_next(&seed);
	*state = words;
	return 0;
}

static uint64_t copy_unit(void *state)
{
	const __m128i *from = state;
	__m128i *to = (__m128i *)((char *)state + COPY_SIZE);
	uint64_t sum = 0;

	for (size_t i = 0; i < COPY_SIZE / 16; i += 4) {
		__m128i a = _mm_loadu_si128(from + i), b = _mm_loadu_si128(from + i + 1);
		__m128i c = _mm_loadu_si128(from + i + 2), d = _mm_loadu_si128(from + i + 3);

		_mm_storeu_si128(to + i, a);
		_mm_storeu_si128(to + i + 1, b);
		_mm_storeu_si128(to + i + 2, c);
		_mm_storeu_si128(to + i + 3, d);
	}
	for (size_t i = 0; i < COPY_SIZE / 8; i += 4099)
		sum = mix_in(sum, ((const uint64_t *)to)[i]);
	return sum;
}

static const struct kernel kernels[] = {
	{
		.name = "chase-l1",
		.checksum = 0x90,
		.open = small_open,
		.unit = small_unit,
		.close = pages_free,
	},
	{
		.name = "chase-16m",
		.checksum = 0x34c8d,
		.open = large_open,
		.unit = large_unit,
		.close = pages_free,
	},
	{
		.name = "copy",
		.checksum = 0xb94fca6297d048da,
		.open = copy_open,
		.unit = copy_unit,
		.close = pages_free,
	},
};

/* Integer too: the class is one in the table. */
const struct kernel_class class_memory = {
	.name = "integer",
	.kernels = kernels,
	.count = sizeof(kernels) / sizeof(kernels[0]),
};
