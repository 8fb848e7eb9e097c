/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Prints the rate of this host's time-stamp counter, which is QEMU's too: a kernel that measures it
 * in an emulated machine on a busy host can be wrong by an order of magnitude, and its clock then
 * is.
 */
#include <stdint.h>
#include <stdio.h>
#include <time.h>

#include <x86intrin.h>

#define INTERVAL_NS 100000000ull
#define TRIES	    16

struct instant {
	uint64_t ns, tsc;
};

/* Of some, the one that nothing came into the middle of. */
static struct instant now(void)
{
	struct instant best = {0};
	uint64_t shortest = UINT64_MAX;

	for (unsigned i = 0; i < TRIES; i++) {
		uint64_t before = __rdtsc(), after;
		struct timespec t;

		clock_gettime(CLOCK_MONOTONIC, &t);
		after = __rdtsc();
		if (after - before < shortest) {
			shortest = after - before;
			best.tsc = before + shortest / 2;
			best.ns = (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
		}
	}
	return best;
}

int main(void)
{
	const struct timespec pause = {.tv_nsec = INTERVAL_NS};
	struct instant start = now(), end;

	nanosleep(&pause, NULL);
	end = now();
	printf("%llu\n",
		(unsigned long long)((end.tsc - start.tsc) * 1000000 / (end.ns - start.ns)));
	return 0;
}
