/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * What a benchmark kernel is; for the files of bench/kernels alone.
 *
 * A kernel is measured in units: complete computations from the same start to the same checksum, of
 * 10 us to 1 ms on the bare machine.  The checksum is part of the table, so each unit that is timed
 * is verified too, and how many of them fit into the time does not matter.
 */
#ifndef BENCH_KERNELS_KERNEL_H
#define BENCH_KERNELS_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct kernel {
	const char *name;
	uint64_t checksum;
	/* Whether this CPU can run it; NULL: any can. */
	bool (*usable)(void);
	/* What is made once and not timed: 0 and the state, or an errno. May be NULL. */
	int (*open)(void **state);
	uint64_t (*unit)(void *state);
	void (*close)(void *state);
};

/* A file's kernels are one class, of which a mean is made. */
struct kernel_class {
	const char *name;
	const struct kernel *kernels;
	size_t count;
	bool apart; /* not among all of them: only if it is named */
};

extern const struct kernel_class class_integer;
extern const struct kernel_class class_memory;
extern const struct kernel_class class_layout;
extern const struct kernel_class class_rep;
extern const struct kernel_class class_fp;
extern const struct kernel_class class_kernel;
extern const struct kernel_class class_jit;
extern const struct kernel_class class_smp;

/* The argument with which fork+exec starts this program anew: it exits at once with EXEC_STATUS. */
#define EXEC_ARGUMENT "--exit"
#define EXEC_STATUS   42

/* Zeroed, page aligned; NULL when there is no memory. */
void *pages_alloc(size_t size, size_t align);
void pages_free(void *pages);

static inline uint64_t random_next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

/* An order-dependent sum. */
static inline uint64_t mix_in(uint64_t sum, uint64_t value)
{
	return (sum << 7 | sum >> 57) + value * 0x9e3779b97f4a7c15;
}

#endif
