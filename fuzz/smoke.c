/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Drives a target without libFuzzer, so that any compiler and `make test` can:
 *
 *	x_test                 its seeds, then random inputs, until INPUTS or SECONDS are reached; TAP
 *	x_test FILE...         these inputs, to look at what libFuzzer found
 *	x_test --seeds FOLDER  writes the seeds there
 *
 * HYVE_FUZZ_SEED=N tries other random inputs.
 */
#include <time.h>

#include "fuzz/fuzz.h"

enum { INPUTS = 4000, SECONDS = 2, ROOM = 16384, MUTATIONS = 8 };

struct smoke {
	uint64_t random; /* xorshift64 */
	unsigned nseeds;
	uint8_t input[ROOM];
	size_t size;
};

static uint64_t next(struct smoke *s)
{
	s->random ^= s->random << 13;
	s->random ^= s->random >> 7;
	s->random ^= s->random << 17;
	return s->random;
}

/* A copy of exactly the input's size: the sanitizers then see a read past its end. */
static void run(const uint8_t *input, size_t size)
{
	uint8_t *copy = malloc(size ? size : 1);

	FUZZ_CHECK(copy != NULL);
	memcpy(copy, input, size);
	LLVMFuzzerTestOneInput(copy, size);
	free(copy);
}

static void make_random(struct smoke *s)
{
	s->size = next(s) % (next(s) % 4 ? 256 : 4096);
	for (size_t i = 0; i < s->size; i++)
		s->input[i] = (uint8_t)(next(s) >> 32);
}

/* A seed with a few bytes, bits and words changed; now and then cut short. */
static void make_mutant(struct smoke *s)
{
	s->size = fuzz_seed((unsigned)(next(s) % s->nseeds), s->input, ROOM);
	for (uint64_t n = 1 + next(s) % MUTATIONS; n > 0 && s->size > 0; n--) {
		uint8_t *at = &s->input[next(s) % s->size];

		switch (next(s) % 5) {
		case 0:
			*at ^= (uint8_t)(1u << next(s) % 8);
			break;
		case 1:
			*at = next(s) % 2 ? 0xff : 0;
			break;
		case 2:
			if (at + 4 <= s->input + s->size)
				memset(at, next(s) % 2 ? 0xff : 0, 4);
			break;
		default:
			*at = (uint8_t)next(s);
			break;
		}
	}
	if (s->size > 0 && next(s) % 8 == 0)
		s->size = next(s) % s->size;
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int run_smoke(const char *name)
{
	const char *seed = getenv("HYVE_FUZZ_SEED");
	uint64_t start = seed ? strtoull(seed, NULL, 0) : 1;
	struct smoke *s = calloc(1, sizeof(*s));
	double end = now() + SECONDS;
	unsigned n = 0;

	FUZZ_CHECK(s != NULL);
	s->random = start * 0x9e3779b97f4a7c15 | 1;
	printf("1..1\n# HYVE_FUZZ_SEED=%llu\n", (unsigned long long)start);
	fflush(stdout);
	while ((s->size = fuzz_seed(s->nseeds, s->input, ROOM)) > 0) {
		run(s->input, s->size);
		s->nseeds++;
	}
	for (; n < INPUTS && now() < end; n++) {
		if (s->nseeds > 0 && n % 2)
			make_mutant(s);
		else
			make_random(s);
		run(s->input, s->size);
	}
	printf("ok 1 - %s: %u seeds and %u random inputs\n", name, s->nseeds, n);
	free(s);
	return 0;
}

static int write_seeds(const char *folder)
{
	uint8_t *seed = malloc(ROOM);
	size_t size;

	FUZZ_CHECK(seed != NULL);
	for (unsigned n = 0; (size = fuzz_seed(n, seed, ROOM)) > 0; n++) {
		char path[4096];

		snprintf(path, sizeof(path), "%s/seed-%u", folder, n);
		FILE *file = fopen(path, "w");

		FUZZ_CHECK(file != NULL && fwrite(seed, 1, size, file) == size);
		FUZZ_CHECK(fclose(file) == 0);
	}
	free(seed);
	return 0;
}

static void run_file(const char *path)
{
	FILE *file = fopen(path, "r");
	uint8_t *bytes = malloc(1 << 20);

	FUZZ_CHECK(file != NULL && bytes != NULL);
	size_t size = fread(bytes, 1, 1 << 20, file);

	fclose(file);
	run(bytes, size);
	free(bytes);
}

int main(int argc, char *argv[])
{
	const char *slash = strrchr(argv[0], '/');

	if (argc == 3 && strcmp(argv[1], "--seeds") == 0)
		return write_seeds(argv[2]);
	for (int i = 1; i < argc; i++)
		run_file(argv[i]);
	return argc > 1 ? 0 : run_smoke(slash ? slash + 1 : argv[0]);
}
