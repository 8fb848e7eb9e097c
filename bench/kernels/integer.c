/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Integer code that stays in the first-level cache: arithmetic, calls, sorting, hashing. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bench/kernels/kernel.h"
#include "bench/kernels/parts.h"

#define ALU_STEPS 20000
#define FIB_N	  21
#define SORT_N	  2048
#define SIEVE_N	  65536
#define CRC_SIZE  16384

/* Registers only: nothing for a software TLB to do. */
static uint64_t alu_unit(void *state)
{
	uint64_t a = 0x0123456789abcdef, b = 0x9e3779b97f4a7c15, c = 1;

	(void)state;
	for (unsigned i = 0; i < ALU_STEPS; i++) {
		a += b ^ (c << 3);
		b = (b << 13 | b >> 51) - i;
		c = (c + (a >> 17)) * 0x5851f42d4c957f2d;
		a ^= (uint32_t)c & ~(uint32_t)b;
		b += a > c ? 7 : 11;
	}
	return a ^ b ^ c;
}

/* The asm keeps the compiler from turning one of the calls into a loop. */
static __attribute__((noinline)) uint64_t fib(unsigned n)
{
	uint64_t x;

	if (n < 2)
		return n;
	x = fib(n - 1);
	x += fib(n - 2);
	__asm__ volatile("" : "+r"(x));
	return x;
}

static uint64_t fib_unit(void *state)
{
	(void)state;
	return fib(FIB_N);
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static uint64_t qsort_unit(void *state)
{
	uint64_t seed = 88172645463325252, sum = 0;
	uint32_t v[SORT_N];

	(void)state;
	for (unsigned i = 0; i < SORT_N; i++)
		v[i] = (uint32_t)random_next(&seed);
	qsort(v, SORT_N, sizeof(v[0]), compare);
	for (unsigned i = 0; i < SORT_N; i += 16)
		sum = mix_in(sum, v[i]);
	return sum;
}

static uint64_t sieve_unit(void *state)
{
	uint8_t composite[SIEVE_N];
	uint64_t sum = 0;

	(void)state;
	memset(composite, 0, sizeof(composite));
	for (unsigned i = 2; i < SIEVE_N; i++) {
		if (composite[i])
			continue;
		sum += i;
		for (unsigned j = i * 2; j < SIEVE_N; j += i)
			composite[j] = 1;
	}
	return sum;
}

struct crc {
	uint32_t table[256];
	uint8_t data[CRC_SIZE];
};

static int crc_open(void **state)
{
	struct crc *crc = pages_alloc(sizeof(*crc), 4096);
	uint64_t seed = 1234567;

	if (!crc)
		return ENOMEM;
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int bit = 0; bit < 8; bit++)
			c = c & 1 ? 0xedb88320 ^ c >> 1 : c >> 1;
		crc->table[i] = c;
	}
	for (size_t i = 0; i < CRC_SIZE; i++)
		crc->data[i] = (uint8_t)random_next(&seed);
	*state = crc;
	return 0;
}

static uint64_t crc_unit(void *state)
{
	const struct crc *crc = state;
	uint32_t c = ~0u;

	for (size_t i = 0; i < CRC_SIZE; i++)
		c = crc->table[(c ^ crc->data[i]) & 0xff] ^ c >> 8;
	return ~c;
}

static const struct kernel kernels[] = {
	{.name = "alu", .checksum = 0x7eefe16d94f0f982, .unit = alu_unit},
	{.name = "mix", .checksum = 0xe1df, .unit = mix_unit},
	{.name = "fib", .checksum = 10946, .unit = fib_unit},
	{.name = "switch", .checksum = 0x3a218613e22508c9, .unit = switch_unit},
	{.name = "goto", .checksum = 0x3a218613e22508c9, .unit = goto_unit},
	{.name = "qsort", .checksum = 0xb9dea609121da17, .unit = qsort_unit},
	{.name = "sieve", .checksum = 0xc0eabd7, .unit = sieve_unit},
	{.name = "sha256", .checksum = 0xd810eb37d9b69b91, .unit = sha256_unit},
	{
		.name = "crc",
		.checksum = 0x9ed13d94,
		.open = crc_open,
		.unit = crc_unit,
		.close = pages_free,
	},
};

const struct kernel_class class_integer = {
	.name = "integer",
	.kernels = kernels,
	.count = sizeof(kernels) / sizeof(kernels[0]),
};
