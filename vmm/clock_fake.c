/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* A clock that only a test moves. */
#include <stdlib.h>

#include <vmm/clock.h>
#include "vmm/clock_impl.h"

#define FAKE_EPOCH 1388534400 /* 2014-01-01T00:00:00Z */

struct fake_clock {
	struct vmm_clock clock;
	_Atomic uint64_t now_ns;
};

static uint64_t fake_now(struct vmm_clock *clock)
{
	return ((struct fake_clock *)clock)->now_ns;
}

static int64_t fake_wall(struct vmm_clock *clock)
{
	return FAKE_EPOCH + (int64_t)(fake_now(clock) / 1000000000u);
}

static const struct vmm_clock_ops fake_ops = {
	.now = fake_now,
	.wall = fake_wall,
	.destroy = vmm_clock_fini,
};

struct vmm_clock *vmm_clock_create_fake(void)
{
	struct fake_clock *fake = calloc(1, sizeof(*fake));

	if (!fake)
		return NULL;
	if (vmm_clock_init(&fake->clock, &fake_ops)) {
		free(fake);
		return NULL;
	}
	return &fake->clock;
}

void vmm_clock_advance(struct vmm_clock *clock, uint64_t ns)
{
	struct fake_clock *fake = (struct fake_clock *)clock;
	uint64_t end_ns = fake->now_ns + ns;

	pthread_mutex_lock(&clock->lock);
	while (clock->first && clock->first->deadline_ns <= end_ns) {
		if (clock->first->deadline_ns > fake->now_ns)
			fake->now_ns = clock->first->deadline_ns;
		vmm_clock_fire_first(clock);
	}
	fake->now_ns = end_ns;
	pthread_mutex_unlock(&clock->lock);
}
