/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* What the real and the fake clock share. For vmm/clock.c and vmm/clock_fake.c. */
#ifndef VMM_CLOCK_IMPL_H
#define VMM_CLOCK_IMPL_H

#include <pthread.h>

#include <vmm/clock.h>
#include "vmm/lead.h"

struct vmm_clock_ops {
	uint64_t (*now)(struct vmm_clock *clock);
	int64_t (*wall)(struct vmm_clock *clock);
	void (*destroy)(struct vmm_clock *clock);
	bool is_monotonic; /* now() is CLOCK_MONOTONIC */
};

/* The first member of either clock. */
struct vmm_clock {
	const struct vmm_clock_ops *ops;
	pthread_mutex_t lock;	 /* all below, and every timer of this clock */
	pthread_cond_t changed;	 /* there is a new first timer, or the clock ends */
	pthread_cond_t fired;	 /* a callback has returned */
	struct vmm_timer *first; /* the heap's root */
	uint64_t wake_ns; /* until when the thread sleeps; 0: it looks at the heap before it does */
	struct vmm_lead lead;	   /* the thread's */
	struct vmm_timer *running; /* whose callback is in progress */
	pthread_t runner;	   /* on which thread; valid while running is set */
};

/* 0 or an errno. */
int vmm_clock_init(struct vmm_clock *clock, const struct vmm_clock_ops *ops);
/* Frees it, too: allocated by malloc. */
void vmm_clock_fini(struct vmm_clock *clock);
/* Caller holds clock->lock, which is dropped while the callback runs; there is a first timer, and
 * no callback is in progress. */
void vmm_clock_fire_first(struct vmm_clock *clock);

#endif
