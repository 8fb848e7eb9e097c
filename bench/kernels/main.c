/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * bench-kernels [--list] [--only NAME,...] [--ms N]: times each kernel, on the bare machine or in a
 * guest.  A line for each: its name, nanoseconds of one unit, its checksum.  Nothing here depends
 * on where it runs: each kernel first finds out how many units make a batch of N / BATCHES ms.
 * The figure is the lower quartile of the batches: on a busy machine the others contain somebody
 * else's time slices.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/kernels/kernel.h"

#define BATCHES	    20
#define BATCHES_MIN 3
#define MS_DEFAULT  200
#define NS_PER_MS   1000000.0

static const struct kernel_class *const classes[] = {
	&class_integer,
	&class_memory,
	&class_layout,
	&class_rep,
	&class_fp,
	&class_kernel,
	&class_jit,
	&class_smp,
};

struct options {
	const char *only;
	double total_ns;
	bool list;
};

void *pages_alloc(size_t size, size_t align)
{
	void *p = aligned_alloc(align, (size + align - 1) / align * align);

	if (p)
		memset(p, 0, size);
	return p;
}

void pages_free(void *pages)
{
	free(pages);
}

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* What n units take. The first wrong checksum replaces *checksum. */
static double batch(const struct kernel *k, void *state, uint64_t n, uint64_t *checksum)
{
	double start = now_ns();

	for (uint64_t i = 0; i < n; i++) {
		uint64_t sum = k->unit(state);

		if (sum != k->checksum && *checksum == k->checksum)
			*checksum = sum;
	}
	return now_ns() - start;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double measure(const struct kernel *k, void *state, double total_ns, uint64_t *checksum)
{
	double ns[BATCHES], batch_ns = total_ns / BATCHES, unit_ns, start;
	uint64_t n = 1;
	int count = 0;

	/* A quarter of the time goes by first: by then, code is translated and memory touched. */
	start = now_ns();
	do {
		unit_ns = batch(k, state, n, checksum) / (double)n;
		n = (uint64_t)(batch_ns / unit_ns) + 1;
	} while (now_ns() - start < total_ns / 4);
	start = now_ns();
	do
		ns[count++] = batch(k, state, n, checksum) / (double)n;
	while (count < BATCHES_MIN || (count < BATCHES && now_ns() - start < 2 * total_ns));
	qsort(ns, (size_t)count, sizeof(ns[0]), by_value);
	return ns[count / 4];
}

/* 0: measured or not usable; 1: failed. */
static int run(const struct kernel *k, double total_ns)
{
	uint64_t checksum = k->checksum;
	void *state = NULL;
	double ns;

	if (k->usable && !k->usable()) {
		printf("%s - -\n", k->name);
		return 0;
	}
	if (k->open && k->open(&state) != 0) {
		printf("%s FAILED to start\n", k->name);
		return 1;
	}
	ns = measure(k, state, total_ns, &checksum);
	if (k->close)
		k->close(state);
	printf("%s %.1f %016llx%s\n", k->name, ns, (unsigned long long)checksum,
		checksum == k->checksum ? "" : " WRONG");
	return checksum != k->checksum;
}

static bool wanted(const char *only, const char *name)
{
	size_t n = strlen(name);

	for (const char *p = only; p; p = strchr(p, ','), p = p ? p + 1 : NULL) {
		if (strncmp(p, name, n) == 0 && (p[n] == ',' || p[n] == '\0'))
			return true;
	}
	return !only;
}

/* A class may be named too. */
static int run_all(const struct options *o)
{
	int failed = 0;

	for (size_t c = 0; c < sizeof(classes) / sizeof(classes[0]); c++) {
		for (size_t i = 0; i < classes[c]->count; i++) {
			const struct kernel *k = &classes[c]->kernels[i];

			if (!wanted(o->only, k->name) && !wanted(o->only, classes[c]->name))
				continue;
			if (classes[c]->apart && !o->only)
				continue;
			if (o->list)
				printf("%s %s\n", k->name, classes[c]->name);
			else
				failed |= run(k, o->total_ns);
			fflush(stdout);
		}
	}
	return failed;
}

static _Noreturn void usage(void)
{
	fputs("usage: bench-kernels [--list] [--only NAME,...] [--ms N]\n", stderr);
	exit(2);
}

int main(int argc, char **argv)
{
	struct options o = {.total_ns = MS_DEFAULT * NS_PER_MS};

	if (argc == 2 && strcmp(argv[1], EXEC_ARGUMENT) == 0)
		return EXEC_STATUS;
	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--list") == 0)
			o.list = true;
		else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc)
			o.only = argv[++i];
		else if (strcmp(argv[i], "--ms") == 0 && i + 1 < argc)
			o.total_ns = atof(argv[++i]) * NS_PER_MS;
		else
			usage();
	}
	if (o.total_ns <= 0)
		usage();
	return run_all(&o);
}
