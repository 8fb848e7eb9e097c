/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The same work by one thread and by two at once: what a second processor is worth.  A unit is
 * PASSES units of `mix` by each thread, long enough that meeting before and after it does not
 * count.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "bench/kernels/kernel.h"
#include "bench/kernels/parts.h"

#define PASSES 100

/* The second thread works when `asked` is ahead of `done`. */
struct helper {
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	uint64_t asked, done, sum;
	bool over;
};

static uint64_t passes(void)
{
	uint64_t sum = 0;

	for (int i = 0; i < PASSES; i++)
		sum += mix_unit(NULL);
	return sum;
}

static void *helper_main(void *arg)
{
	struct helper *h = arg;

	pthread_mutex_lock(&h->lock);
	for (;;) {
		while (h->asked == h->done && !h->over)
			pthread_cond_wait(&h->changed, &h->lock);
		if (h->over)
			break;
		pthread_mutex_unlock(&h->lock);
		h->sum = passes();
		pthread_mutex_lock(&h->lock);
		h->done++;
		pthread_cond_broadcast(&h->changed);
	}
	pthread_mutex_unlock(&h->lock);
	return NULL;
}

static int helper_open(void **state)
{
	struct helper *h = calloc(1, sizeof(*h));

	if (!h)
		return ENOMEM;
	pthread_mutex_init(&h->lock, NULL);
	pthread_cond_init(&h->changed, NULL);
	if (pthread_create(&h->thread, NULL, helper_main, h) != 0) {
		free(h);
		return EAGAIN;
	}
	*state = h;
	return 0;
}

static void helper_close(void *state)
{
	struct helper *h = state;

	pthread_mutex_lock(&h->lock);
	h->over = true;
	pthread_cond_broadcast(&h->changed);
	pthread_mutex_unlock(&h->lock);
	pthread_join(h->thread, NULL);
	free(h);
}

static uint64_t one_unit(void *state)
{
	(void)state;
	return passes();
}

static uint64_t two_unit(void *state)
{
	struct helper *h = state;
	uint64_t sum;

	pthread_mutex_lock(&h->lock);
	h->asked++;
	pthread_cond_broadcast(&h->changed);
	pthread_mutex_unlock(&h->lock);
	sum = passes();
	pthread_mutex_lock(&h->lock);
	while (h->done != h->asked)
		pthread_cond_wait(&h->changed, &h->lock);
	sum += h->sum;
	pthread_mutex_unlock(&h->lock);
	return sum;
}

static const struct kernel kernels[] = {
	{.name = "smp-1", .checksum = PASSES * 0xe1dfull, .unit = one_unit},
	{
		.name = "smp-2",
		.checksum = 2 * PASSES * 0xe1dfull,
		.open = helper_open,
		.unit = two_unit,
		.close = helper_close,
	},
};

const struct kernel_class class_smp = {
	.name = "smp",
	.kernels = kernels,
	.count = sizeof(kernels) / sizeof(kernels[0]),
	.apart = true,
};
