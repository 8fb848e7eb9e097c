/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Floating point: a scalar recurrence, matrix products with SSE2 and AVX2, and the x87. */
#include <errno.h>
#include <immintrin.h>
#include <string.h>

#include "bench/kernels/kernel.h"

#define STEPS 4000
#define SIDE  48

static uint64_t bits(double d)
{
	uint64_t u;

	memcpy(&u, &d, sizeof(u));
	return u;
}

/* Each value depends on the one before: latency, not width. */
static uint64_t double_unit(void *state)
{
	double x = 0.3, y = 1.7, sum = 0;

	(void)state;
	for (int i = 0; i < STEPS; i++) {
		x = 3.9 * x * (1 - x);
		y = (y + 2 / y) * 0.5 + x;
		sum += x - y;
	}
	return bits(sum);
}

struct matrices {
	double a[SIDE][SIDE], b[SIDE][SIDE], c[SIDE][SIDE];
	float fa[SIDE][SIDE], fb[SIDE][SIDE], fc[SIDE][SIDE];
};

static int matrices_open(void **state)
{
	struct matrices *m = pages_alloc(sizeof(*m), 4096);

	if (!m)
		return ENOMEM;
	for (int i = 0; i < SIDE; i++) {
		for (int j = 0; j < SIDE; j++) {
			m->a[i][j] = 1.0 / (i + j + 1);
			m->b[i][j] = (i * 7 + j * 3) % 11 - 4.5;
			m->fa[i][j] = (float)m->a[i][j];
			m->fb[i][j] = (float)m->b[i][j];
		}
	}
	*state = m;
	return 0;
}

static uint64_t sse2_unit(void *state)
{
	struct matrices *m = state;
	double sum = 0;

	for (int i = 0; i < SIDE; i++) {
		for (int j = 0; j < SIDE; j += 4) {
			__m128d lo = _mm_setzero_pd(), hi = _mm_setzero_pd();

			for (int k = 0; k < SIDE; k++) {
				__m128d a = _mm_set1_pd(m->a[i][k]);

				lo = _mm_add_pd(lo, _mm_mul_pd(a, _mm_loadu_pd(&m->b[k][j])));
				hi = _mm_add_pd(hi, _mm_mul_pd(a, _mm_loadu_pd(&m->b[k][j + 2])));
			}
			_mm_storeu_pd(&m->c[i][j], lo);
			_mm_storeu_pd(&m->c[i][j + 2], hi);
		}
		sum = sum * 0.5 + m->c[i][i];
	}
	return bits(sum);
}

static bool has_avx2(void)
{
	return __builtin_cpu_supports("avx2");
}

/* No FMA: its rounding differs. */
static __attribute__((target("avx2"))) uint64_t avx2_unit(void *state)
{
	struct matrices *m = state;
	float sum = 0;

	for (int i = 0; i < SIDE; i++) {
		for (int j = 0; j < SIDE; j += 16) {
			__m256 lo = _mm256_setzero_ps(), hi = _mm256_setzero_ps();

			for (int k = 0; k < SIDE; k++) {
				__m256 a = _mm256_broadcastss_ps(_mm_load_ss(&m->fa[i][k]));

				lo = _mm256_add_ps(
					lo, _mm256_mul_ps(a, _mm256_loadu_ps(&m->fb[k][j])));
				hi = _mm256_add_ps(
					hi, _mm256_mul_ps(a, _mm256_loadu_ps(&m->fb[k][j + 8])));
			}
			_mm256_storeu_ps(&m->fc[i][j], lo);
			_mm256_storeu_ps(&m->fc[i][j + 8], hi);
		}
		sum = sum * 0.5f + m->fc[i][i];
	}
	return bits(sum);
}

static uint64_t x87_unit(void *state)
{
	long double x = 0.3L, sum = 0, root;

	(void)state;
	for (int i = 0; i < STEPS / 2; i++) {
		x = 3.9L * x * (1 - x);
		root = x;
		__asm__("fsqrt" : "+t"(root));
		sum = sum * 0.75L + root / (x + 1);
	}
	return bits((double)sum);
}

static const struct kernel kernels[] = {
	{.name = "double", .checksum = 0xc0b81b172283256e, .unit = double_unit},
	{
		.name = "sse2",
		.checksum = 0x3fe873a8005b6a52,
		.open = matrices_open,
		.unit = sse2_unit,
		.close = pages_free,
	},
	{
		.name = "avx2",
		.checksum = 0x3fe873a820000000,
		.usable = has_avx2,
		.open = matrices_open,
		.unit = avx2_unit,
		.close = pages_free,
	},
	{.name = "x87", .checksum = 0x3ffbc83e5ef3b05a, .unit = x87_unit},
};

const struct kernel_class class_fp = {
	.name = "fp",
	.kernels = kernels,
	.count = sizeof(kernels) / sizeof(kernels[0]),
};
