/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Clocks and their timers.
 *
 * Armed timers stand in a pairing heap: every timer is due no later than its children, and the
 * links are in the timers themselves.  Arming is one comparison, taking the first merges its
 * children in pairs. A real clock has a thread that sleeps until the first deadline; a fake one
 * fires in vmm_clock_advance(). Both fire one timer at a time, so "in progress" is one pointer that
 * draining waits on.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <time.h>

#include <vmm/clock.h>
#include "vmm/clock_impl.h"

/* Two heaps into one; neither root has siblings. */
static struct vmm_timer *heap_merge(struct vmm_timer *a, struct vmm_timer *b)
{
	struct vmm_timer *later;

	if (!a)
		return b;
	if (!b)
		return a;
	later = a->deadline_ns <= b->deadline_ns ? b : a;
	a = later == b ? a : b;
	later->next = a->child;
	if (a->child)
		a->child->link = &later->next;
	later->link = &a->child;
	a->child = later;
	return a;
}

/* Siblings into one heap: in pairs from the left, then those from the right. */
static struct vmm_timer *heap_merge_siblings(struct vmm_timer *first)
{
	struct vmm_timer *pairs = NULL, *root = NULL, *a, *b;

	while (first) {
		a = first;
		b = a->next;
		first = b ? b->next : NULL;
		a->next = NULL;
		if (b)
			b->next = NULL;
		a = heap_merge(a, b);
		a->next = pairs;
		pairs = a;
	}
	while (pairs) {
		a = pairs;
		pairs = a->next;
		a->next = NULL;
		root = heap_merge(root, a);
	}
	return root;
}

static void heap_set_root(struct vmm_clock *clock, struct vmm_timer *root)
{
	clock->first = root;
	if (root)
		root->link = &clock->first;
}

static void heap_insert(struct vmm_clock *clock, struct vmm_timer *timer)
{
	timer->child = NULL;
	timer->next = NULL;
	heap_set_root(clock, heap_merge(clock->first, timer));
}

static void heap_remove(struct vmm_clock *clock, struct vmm_timer *timer)
{
	struct vmm_timer *rest = heap_merge_siblings(timer->child);

	*timer->link = timer->next;
	if (timer->next)
		timer->next->link = timer->link;
	timer->child = NULL;
	timer->next = NULL;
	timer->link = NULL;
	heap_set_root(clock, heap_merge(clock->first, rest));
}

int vmm_clock_init(struct vmm_clock *clock, const struct vmm_clock_ops *ops)
{
	pthread_condattr_t attr;
	int error;

	clock->ops = ops;
	if ((error = pthread_condattr_init(&attr)))
		return error;
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	error = pthread_cond_init(&clock->changed, &attr);
	pthread_condattr_destroy(&attr);
	if (error)
		return error;
	pthread_cond_init(&clock->fired, NULL);
	pthread_mutex_init(&clock->lock, NULL);
	return 0;
}

void vmm_clock_fini(struct vmm_clock *clock)
{
	pthread_cond_destroy(&clock->changed);
	pthread_cond_destroy(&clock->fired);
	pthread_mutex_destroy(&clock->lock);
	free(clock);
}

/* Runs what is not queued. The callback may free what is around the timer afterwards. */
static void run(struct vmm_clock *clock, struct vmm_timer *timer)
{
	clock->running = timer;
	clock->runner = pthread_self();
	pthread_mutex_unlock(&clock->lock);
	timer->fn(timer->arg);
	pthread_mutex_lock(&clock->lock);
	clock->running = NULL;
	pthread_cond_broadcast(&clock->fired);
}

void vmm_clock_fire_first(struct vmm_clock *clock)
{
	struct vmm_timer *timer = clock->first;

	heap_remove(clock, timer);
	run(clock, timer);
}

uint64_t vmm_clock_now(struct vmm_clock *clock)
{
	return clock->ops->now(clock);
}

int64_t vmm_clock_wall(struct vmm_clock *clock)
{
	return clock->ops->wall(clock);
}

void vmm_clock_destroy(struct vmm_clock *clock)
{
	if (clock)
		clock->ops->destroy(clock);
}

void vmm_timer_init(
	struct vmm_timer *timer, struct vmm_clock *clock, void (*fn)(void *arg), void *arg)
{
	*timer = (struct vmm_timer){.clock = clock, .fn = fn, .arg = arg};
}

/* These two with the clock's lock. */
static void unqueue(struct vmm_clock *clock, struct vmm_timer *timer)
{
	timer->taken = false;
	if (timer->link)
		heap_remove(clock, timer);
}

static void queue(struct vmm_clock *clock, struct vmm_timer *timer)
{
	heap_insert(clock, timer);
	/* A guest that keeps moving its tick further away must not wake the thread each time. */
	if (vmm_lead_wake(&clock->lead, timer->deadline_ns) < clock->wake_ns)
		pthread_cond_signal(&clock->changed);
}

void vmm_timer_set(struct vmm_timer *timer, uint64_t deadline_ns)
{
	struct vmm_clock *clock = timer->clock;

	pthread_mutex_lock(&clock->lock);
	unqueue(clock, timer);
	timer->deadline_ns = deadline_ns;
	queue(clock, timer);
	pthread_mutex_unlock(&clock->lock);
}

void vmm_timer_stop(struct vmm_timer *timer)
{
	struct vmm_clock *clock = timer->clock;

	pthread_mutex_lock(&clock->lock);
	unqueue(clock, timer);
	pthread_mutex_unlock(&clock->lock);
}

void vmm_timer_drain(struct vmm_timer *timer)
{
	struct vmm_clock *clock = timer->clock;

	pthread_mutex_lock(&clock->lock);
	for (;;) {
		/* The callback may have armed it again while we waited. */
		unqueue(clock, timer);
		if (clock->running != timer || pthread_equal(clock->runner, pthread_self()))
			break;
		pthread_cond_wait(&clock->fired, &clock->lock);
	}
	pthread_mutex_unlock(&clock->lock);
}

uint64_t vmm_timer_take(struct vmm_timer *timer)
{
	struct vmm_clock *clock = timer->clock;
	uint64_t due = UINT64_MAX;

	pthread_mutex_lock(&clock->lock);
	if (timer->link && clock->ops->is_monotonic) {
		heap_remove(clock, timer);
		timer->taken = true;
		due = timer->deadline_ns;
	}
	pthread_mutex_unlock(&clock->lock);
	return due;
}

bool vmm_timer_give_back(struct vmm_timer *timer)
{
	struct vmm_clock *clock = timer->clock;
	bool is_due = false;

	pthread_mutex_lock(&clock->lock);
	while (timer->taken && clock->running)
		pthread_cond_wait(&clock->fired, &clock->lock);
	if (timer->taken) {
		timer->taken = false;
		is_due = timer->deadline_ns <= clock->ops->now(clock);
		if (is_due)
			run(clock, timer);
		else
			queue(clock, timer);
	}
	pthread_mutex_unlock(&clock->lock);
	return is_due;
}

/* The real clock. */

#define NS_PER_S 1000000000ull

struct real_clock {
	struct vmm_clock clock;
	pthread_t thread;
	bool stop; /* under clock.lock */
};

static uint64_t real_now(struct vmm_clock *clock)
{
	struct timespec ts;

	(void)clock;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * NS_PER_S + (uint64_t)ts.tv_nsec;
}

static int64_t real_wall(struct vmm_clock *clock)
{
	(void)clock;
	return time(NULL);
}

/* Caller holds the lock, and has seen no timer that is due. */
static void sleep_until_first(struct vmm_clock *clock)
{
	uint64_t wake_ns = UINT64_MAX;
	struct timespec ts;

	if (clock->first)
		wake_ns = vmm_lead_wake(&clock->lead, clock->first->deadline_ns);
	ts.tv_sec = (time_t)(wake_ns / NS_PER_S);
	ts.tv_nsec = (long)(wake_ns % NS_PER_S);
	clock->wake_ns = wake_ns;
	if (!clock->first)
		pthread_cond_wait(&clock->changed, &clock->lock);
	else if (pthread_cond_timedwait(&clock->changed, &clock->lock, &ts) == ETIMEDOUT)
		vmm_lead_learn(&clock->lead, wake_ns, real_now(clock));
	clock->wake_ns = 0;
}

/* The same, if it is not worth a sleep. Others may take the lock and change what comes first. */
static void spin_a_while(struct vmm_clock *clock)
{
	pthread_mutex_unlock(&clock->lock);
	vmm_lead_pause();
	pthread_mutex_lock(&clock->lock);
}

/* Caller holds the lock; no callback is in progress. */
static void see_to_first(struct vmm_clock *clock)
{
	uint64_t now = real_now(clock);

	if (clock->first && clock->first->deadline_ns <= now)
		vmm_clock_fire_first(clock);
	else if (clock->first && vmm_lead_wake(&clock->lead, clock->first->deadline_ns) <=
					 now + VMM_LEAD_DOWN_NS) /* it may just have shrunk */
		spin_a_while(clock);
	else
		sleep_until_first(clock);
}

static void *timer_thread(void *arg)
{
	struct real_clock *real = arg;
	struct vmm_clock *clock = &real->clock;

	pthread_setname_np(pthread_self(), "vmm-clock");
	/* The kernel's default of 50 us would be added to every guest timer. */
	prctl(PR_SET_TIMERSLACK, 1);
	pthread_mutex_lock(&clock->lock);
	while (!real->stop) {
		if (clock->running) /* by vmm_timer_give_back() */
			pthread_cond_wait(&clock->fired, &clock->lock);
		else
			see_to_first(clock);
	}
	pthread_mutex_unlock(&clock->lock);
	return NULL;
}

static void real_destroy(struct vmm_clock *clock)
{
	struct real_clock *real = (struct real_clock *)clock;

	pthread_mutex_lock(&clock->lock);
	real->stop = true;
	pthread_cond_signal(&clock->changed);
	pthread_mutex_unlock(&clock->lock);
	pthread_join(real->thread, NULL);
	vmm_clock_fini(clock);
}

static const struct vmm_clock_ops real_ops = {
	.now = real_now,
	.wall = real_wall,
	.destroy = real_destroy,
	.is_monotonic = true,
};

struct vmm_clock *vmm_clock_create(void)
{
	struct real_clock *real = calloc(1, sizeof(*real));
	sigset_t all, old;
	int error;

	if (!real)
		return NULL;
	if (vmm_clock_init(&real->clock, &real_ops)) {
		free(real);
		return NULL;
	}
	/* The process's signals are for threads that expect them. */
	sigfillset(&all);
	sigdelset(&all, SIGSYS); /* raised by this thread itself, if its system calls are filtered */
	pthread_sigmask(SIG_SETMASK, &all, &old);
	error = pthread_create(&real->thread, NULL, timer_thread, real);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error) {
		vmm_clock_fini(&real->clock);
		return NULL;
	}
	return &real->clock;
}
