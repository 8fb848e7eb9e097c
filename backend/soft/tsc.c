/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The guest's time-stamp counter is the host's plus an offset; the APIC timer wants its frequency.
 */
#include <time.h>

#include "backend/soft/soft.h"

#define MEASURE_NS 2000000 /* 30 ns of clock resolution in 2 ms: 15 ppm */

uint64_t soft_host_tsc(void)
{
	uint32_t lo, hi;

	__asm__ volatile("rdtsc" : "=a"(lo), "=d"(hi));
	return (uint64_t)hi << 32 | lo;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t soft_tsc_measure(void)
{
	uint64_t t0 = now_ns(), c0 = soft_host_tsc(), t, c;

	do {
		t = now_ns();
		c = soft_host_tsc();
	} while (t - t0 < MEASURE_NS);
	return (uint64_t)((unsigned __int128)(c - c0) * 1000000000u / (t - t0));
}

uint64_t soft_guest_tsc(void *arg)
{
	const struct soft_vcpu *v = arg;

	return soft_host_tsc() + __atomic_load_n(&v->cpu.tsc_offset, __ATOMIC_RELAXED);
}
