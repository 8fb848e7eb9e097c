/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * REP MOVSB and REP STOSQ.  Where source and destination lie decides which of their pages meet in a
 * software TLB, and whether the copy feeds on itself; both are where emulators get slow.
 */
#include <errno.h>
#include <string.h>

#include "bench/kernels/kernel.h"

#define ARENA_SIZE  (6u << 20)
#define ARENA_ALIGN (2u << 20)
#define COPY_SIZE   (64u << 10)

static int arena_open(void **state)
{
	uint64_t *words = pages_alloc(ARENA_SIZE, ARENA_ALIGN);
	uint64_t seed = 31337;

	if (!words)
		return ENOMEM;
	for (size_t i = 0; i < ARENA_SIZE / 8; i++)
		words[i] = random_next(&seed);
	*state = words;
	return 0;
}

static uint64_t sample(const uint8_t *bytes)
{
	uint64_t sum = 0, word;

	for (size_t i = 0; i < COPY_SIZE - 8; i += 3001) {
		memcpy(&word, bytes + i, sizeof(word));
		sum = mix_in(sum, word);
	}
	return sum;
}

static inline uint64_t movsb(uint8_t *arena, size_t from, size_t to)
{
	const uint8_t *rsi = arena + from;
	uint8_t *rdi = arena + to;
	size_t rcx = COPY_SIZE;

	__asm__ volatile("rep movsb" : "+S"(rsi), "+D"(rdi), "+c"(rcx) : : "memory");
	return sample(arena + to);
}

static uint64_t aligned_unit(void *state)
{
	return movsb(state, 0, 0x25000);
}

static uint64_t odd_unit(void *state)
{
	return movsb(state, 1, 0x25000 + 7);
}

/* The same index in any cache or TLB that is hashed by low bits. */
static uint64_t apart_unit(void *state)
{
	return movsb(state, 0, ARENA_ALIGN);
}

static uint64_t apart_odd_unit(void *state)
{
	return movsb(state, 3, ARENA_ALIGN + 4096 + 2);
}

/* The first 64 bytes, again and again. */
static uint64_t overlap_unit(void *state)
{
	return movsb(state, 0x100000, 0x100000 + 64);
}

static uint64_t stosq_unit(void *state)
{
	uint8_t *rdi = (uint8_t *)state + 0x300000;
	size_t rcx = COPY_SIZE / 8;

	__asm__ volatile("rep stosq" : "+D"(rdi), "+c"(rcx) : "a"(0x1122334455667788) : "memory");
	return sample((uint8_t *)state + 0x300000);
}

#define REP(n, sum, u)                                                                             \
	{                                                                                          \
		.name = n, .checksum = sum, .open = arena_open, .unit = u, .close = pages_free     \
	}

static const struct kernel kernels[] = {
	REP("movsb", 0x7937376ed4a43989, aligned_unit),
	REP("movsb-odd", 0xd3e646845e6de3dc, odd_unit),
	REP("movsb-2m", 0x7937376ed4a43989, apart_unit),
	REP("movsb-2m-odd", 0xa3dcd13093fcefe1, apart_odd_unit),
	REP("movsb-overlap", 0x250dcee28b9bf2e6, overlap_unit),
	REP("stosq", 0x2f273d0ad1471f89, stosq_unit),
};

const struct kernel_class class_rep = {
	.name = "rep",
	.kernels = kernels,
	.count = sizeof(kernels) / sizeof(kernels[0]),
};
