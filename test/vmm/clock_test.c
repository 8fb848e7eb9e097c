/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Both clocks: order, stopping and draining, also with other threads at it. */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include <vmm/clock.h>
#include "vmm/lead.h"

#define US 1000ull
#define MS 1000000ull

#define TIMERS 200

/* A fake clock whose timers write down when they fired. */
struct fake {
	struct vmm_clock *clock;
	struct recorder {
		struct fake *fake;
		struct vmm_timer timer;
		uint64_t fired_at;
		unsigned order;
	} timers[TIMERS];
	unsigned fired;
};

static void record(void *arg)
{
	struct recorder *r = arg;

	r->fired_at = vmm_clock_now(r->fake->clock);
	r->order = ++r->fake->fired;
}

static int setup_fake(void **state)
{
	struct fake *fake = calloc(1, sizeof(*fake));

	assert_non_null(fake);
	fake->clock = vmm_clock_create_fake();
	assert_non_null(fake->clock);
	for (int i = 0; i < TIMERS; i++) {
		fake->timers[i].fake = fake;
		vmm_timer_init(&fake->timers[i].timer, fake->clock, record, &fake->timers[i]);
	}
	*state = fake;
	return 0;
}

static int teardown_fake(void **state)
{
	struct fake *fake = *state;

	for (int i = 0; i < TIMERS; i++)
		vmm_timer_drain(&fake->timers[i].timer);
	vmm_clock_destroy(fake->clock);
	free(fake);
	return 0;
}

static void fake_time(void **state)
{
	struct fake *fake = *state;

	assert_true(vmm_clock_now(fake->clock) == 0);
	assert_true(vmm_clock_wall(fake->clock) == 1388534400);
	vmm_clock_advance(fake->clock, 2500 * MS);
	assert_true(vmm_clock_now(fake->clock) == 2500 * MS);
	assert_true(vmm_clock_wall(fake->clock) == 1388534402);
	vmm_clock_destroy(NULL);
}

/* Deadlines in random order, some moved, some stopped: each fires at its time, or not. */
static void deadline_order(void **state)
{
	struct fake *fake = *state;
	uint64_t deadline[TIMERS];
	unsigned last = 0, expected = 0;
	unsigned seed = 1;

	for (int round = 0; round < 50; round++) {
		uint64_t start = vmm_clock_now(fake->clock);

		fake->fired = expected = last = 0;
		for (int i = 0; i < TIMERS; i++) {
			fake->timers[i].fired_at = 0;
			deadline[i] = start + 1 + rand_r(&seed) % 500;
			vmm_timer_set(&fake->timers[i].timer, deadline[i]);
		}
		for (int i = 0; i < TIMERS; i += 3) {
			deadline[i] = start + 1 + rand_r(&seed) % 500;
			vmm_timer_set(&fake->timers[i].timer, deadline[i]);
		}
		for (int i = 0; i < TIMERS; i += 5)
			vmm_timer_stop(&fake->timers[i].timer);
		vmm_timer_stop(&fake->timers[0].timer);
		vmm_clock_advance(fake->clock, 250);
		for (int i = 0; i < TIMERS; i++)
			expected += i % 5 && deadline[i] <= start + 250;
		assert_int_equal(fake->fired, expected);
		vmm_clock_advance(fake->clock, 250);
		for (int i = 0; i < TIMERS; i++)
			assert_true(fake->timers[i].fired_at == (i % 5 ? deadline[i] : 0));
		for (uint64_t t = start; t <= start + 500; t++) {
			unsigned highest = last;

			for (int i = 0; i < TIMERS; i++) {
				if (i % 5 == 0 || deadline[i] != t)
					continue;
				assert_true(fake->timers[i].order > last);
				if (fake->timers[i].order > highest)
					highest = fake->timers[i].order;
			}
			last = highest;
		}
	}
}

/* A callback that arms itself again, ten times, and then drains itself. */
struct repeater {
	struct vmm_clock *clock;
	struct vmm_timer timer;
	uint64_t period_ns;
	_Atomic unsigned fired;
	unsigned limit;
};

static void repeat(void *arg)
{
	struct repeater *r = arg;

	vmm_timer_set(&r->timer, r->timer.deadline_ns + r->period_ns);
	if (++r->fired == r->limit)
		vmm_timer_drain(&r->timer);
}

static void rearm_in_callback(void **state)
{
	struct fake *fake = *state;
	struct repeater r = {.clock = fake->clock, .period_ns = 10, .limit = 10};

	vmm_timer_init(&r.timer, fake->clock, repeat, &r);
	vmm_timer_set(&r.timer, 5);
	vmm_clock_advance(fake->clock, 5);
	assert_int_equal(r.fired, 1);
	vmm_clock_advance(fake->clock, 40);
	assert_int_equal(r.fired, 5);
	vmm_clock_advance(fake->clock, 1000);
	assert_int_equal(r.fired, 10);
}

static void past_deadline(void **state)
{
	struct fake *fake = *state;

	vmm_clock_advance(fake->clock, 1000);
	vmm_timer_set(&fake->timers[0].timer, 5);
	assert_int_equal(fake->fired, 0);
	vmm_clock_advance(fake->clock, 0);
	assert_int_equal(fake->fired, 1);
	assert_true(fake->timers[0].fired_at == 1000); /* time does not run backwards */
}

/* The real clock. */

static void real_time(void **state)
{
	struct vmm_clock *clock = vmm_clock_create();
	uint64_t before, after;

	(void)state;
	assert_non_null(clock);
	before = vmm_clock_now(clock);
	assert_in_range(vmm_clock_wall(clock), time(NULL) - 1, time(NULL) + 1);
	usleep(2000);
	after = vmm_clock_now(clock);
	assert_true(after - before >= 2 * MS);
	vmm_clock_destroy(clock);
}

static void periodic(void **state)
{
	struct vmm_clock *clock = vmm_clock_create();
	struct repeater r = {.clock = clock, .period_ns = 500 * US};
	uint64_t start;
	unsigned fired;

	(void)state;
	assert_non_null(clock);
	vmm_timer_init(&r.timer, clock, repeat, &r);
	start = vmm_clock_now(clock);
	vmm_timer_set(&r.timer, start);
	while (r.fired < 100)
		usleep(1000);
	assert_true(vmm_clock_now(clock) - start >= 99 * r.period_ns);
	vmm_timer_drain(&r.timer);
	fired = r.fired;
	usleep(5000);
	assert_int_equal(r.fired, fired);
	vmm_clock_destroy(clock);
}

/* An earlier deadline wakes the thread from waiting for a later one. */
static void earlier(void **state)
{
	struct vmm_clock *clock = vmm_clock_create();
	struct repeater late = {.clock = clock, .limit = 1}, early = {.clock = clock, .limit = 1};

	(void)state;
	assert_non_null(clock);
	vmm_timer_init(&late.timer, clock, repeat, &late);
	vmm_timer_init(&early.timer, clock, repeat, &early);
	vmm_timer_set(&late.timer, vmm_clock_now(clock) + 3600000 * MS);
	usleep(1000);
	vmm_timer_set(&early.timer, vmm_clock_now(clock) + MS);
	while (!early.fired)
		usleep(100);
	assert_int_equal(late.fired, 0);
	vmm_timer_drain(&late.timer);
	vmm_clock_destroy(clock);
}

/* A callback that takes long; drain must wait for its end, stop must not. */
struct slow {
	struct vmm_timer timer;
	_Atomic bool entered, leave, left;
};

static void run_slowly(void *arg)
{
	struct slow *slow = arg;

	slow->entered = true;
	while (!slow->leave)
		usleep(100);
	slow->left = true;
}

static void *release(void *arg)
{
	struct slow *slow = arg;

	usleep(5000);
	slow->leave = true;
	return NULL;
}

static void drain_waits(void **state)
{
	struct vmm_clock *clock = vmm_clock_create();
	struct slow slow = {.entered = false};
	pthread_t thread;

	(void)state;
	assert_non_null(clock);
	vmm_timer_init(&slow.timer, clock, run_slowly, &slow);
	vmm_timer_set(&slow.timer, vmm_clock_now(clock));
	while (!slow.entered)
		sched_yield();
	vmm_timer_stop(&slow.timer);
	assert_false(slow.left);
	assert_int_equal(pthread_create(&thread, NULL, release, &slow), 0);
	vmm_timer_drain(&slow.timer);
	assert_true(slow.left);
	pthread_join(thread, NULL);
	vmm_clock_destroy(clock);
}

/*
 * Threads that make, arm, stop, drain and free timers as fast as they can.  A callback that ran
 * after its timer was drained would touch freed memory.
 */
#define THREADS 4

static void touch(void *arg)
{
	struct repeater *r = arg;

	if (r->fired++ % 2)
		vmm_timer_set(&r->timer, vmm_clock_now(r->clock));
}

static void *churn(void *arg)
{
	struct vmm_clock *clock = arg;
	unsigned seed = (unsigned)(uintptr_t)pthread_self();

	for (int i = 0; i < 3000; i++) {
		struct repeater *r = calloc(1, sizeof(*r));

		if (!r)
			return NULL;
		r->clock = clock;
		vmm_timer_init(&r->timer, clock, touch, r);
		for (int k = rand_r(&seed) % 8; k >= 0; k--) {
			vmm_timer_set(&r->timer, vmm_clock_now(clock) + rand_r(&seed) % 20000);
			if (k & 1)
				sched_yield();
			if (k == 3)
				vmm_timer_stop(&r->timer);
		}
		vmm_timer_drain(&r->timer);
		free(r);
	}
	return NULL;
}

static void churned_by_threads(void **state)
{
	struct vmm_clock *clock = vmm_clock_create();
	pthread_t threads[THREADS];

	(void)state;
	assert_non_null(clock);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, churn, clock), 0);
	for (int i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	vmm_clock_destroy(clock);
}

/* ---- a sleeper that runs its timer itself ---- */

struct shot {
	struct vmm_timer timer;
	_Atomic unsigned fired, by_us;
	pthread_t sleeper;
};

static void shoot(void *arg)
{
	struct shot *shot = arg;

	shot->fired++;
	shot->by_us += pthread_equal(pthread_self(), shot->sleeper) != 0;
}

static void spin_until(struct vmm_clock *clock, uint64_t ns)
{
	while (vmm_clock_now(clock) < ns)
		;
}

static void run_by_who_sleeps(void **state)
{
	struct vmm_clock *clock = vmm_clock_create();
	struct shot shot = {.sleeper = pthread_self()};
	const unsigned rounds = 300;

	(void)state;
	assert_non_null(clock);
	vmm_timer_init(&shot.timer, clock, shoot, &shot);
	assert_true(vmm_timer_take(&shot.timer) == UINT64_MAX);
	assert_false(vmm_timer_give_back(&shot.timer));
	for (unsigned i = 1; i <= rounds; i++) {
		uint64_t due = vmm_clock_now(clock) + 500 * US;

		vmm_timer_set(&shot.timer, due);
		if (vmm_timer_take(&shot.timer) == UINT64_MAX) {
			/* We were kept from it, and the thread has been quicker. */
			vmm_timer_drain(&shot.timer);
			continue;
		}
		spin_until(clock, due + (i % 2 ? 0 : 300 * US));
		assert_true(vmm_timer_give_back(&shot.timer));
		assert_false(vmm_timer_give_back(&shot.timer));
	}
	vmm_timer_drain(&shot.timer);
	assert_int_equal(shot.fired, rounds);
	assert_true(shot.by_us > rounds / 2);
	vmm_clock_destroy(clock);
}

/* What is given back too early, armed or stopped meanwhile is the thread's again. */
static void taken_and_not_run(void **state)
{
	struct vmm_clock *clock = vmm_clock_create();
	struct shot shot = {.sleeper = pthread_self()};
	uint64_t hour = 3600000 * MS;

	(void)state;
	assert_non_null(clock);
	vmm_timer_init(&shot.timer, clock, shoot, &shot);

	hour += vmm_clock_now(clock);
	vmm_timer_set(&shot.timer, hour);
	assert_true(vmm_timer_take(&shot.timer) == hour);
	assert_true(vmm_timer_take(&shot.timer) == UINT64_MAX);
	assert_false(vmm_timer_give_back(&shot.timer));
	assert_true(vmm_timer_take(&shot.timer) == hour);

	vmm_timer_stop(&shot.timer);
	assert_false(vmm_timer_give_back(&shot.timer));
	assert_true(vmm_timer_take(&shot.timer) == UINT64_MAX);

	vmm_timer_set(&shot.timer, hour);
	vmm_timer_take(&shot.timer);
	vmm_timer_set(&shot.timer, vmm_clock_now(clock));
	while (shot.fired == 0)
		sched_yield();
	assert_false(vmm_timer_give_back(&shot.timer));

	vmm_timer_set(&shot.timer, vmm_clock_now(clock) + 20 * MS);
	if (vmm_timer_take(&shot.timer) != UINT64_MAX)
		(void)vmm_timer_give_back(&shot.timer);
	while (shot.fired == 1)
		sched_yield();
	vmm_timer_drain(&shot.timer);
	assert_int_equal(shot.fired, 2);
	vmm_clock_destroy(clock);
}

/* A fake clock's time is no time to sleep by. */
static void not_by_a_fake_clock(void **state)
{
	struct fake *fake = *state;
	struct vmm_timer *timer = &fake->timers[0].timer;

	vmm_timer_set(timer, 0);
	assert_true(vmm_timer_take(timer) == UINT64_MAX);
	assert_false(vmm_timer_give_back(timer));
	vmm_clock_advance(fake->clock, 1);
	assert_int_equal(fake->fired, 1);
}

/* ---- how much too early to wake ---- */

static void lead_follows_lateness(void **state)
{
	struct vmm_lead lead = {0};
	const uint64_t hour = 3600000 * MS;
	unsigned seed = 1;

	(void)state;
	assert_true(vmm_lead_wake(&lead, hour) == hour);
	vmm_lead_learn(&lead, hour, hour);
	assert_int_equal(lead.ns, 0);
	/* Four of five sleeps of up to 40 us are shorter than 32. */
	for (int i = 0; i < 2000; i++)
		vmm_lead_learn(&lead, hour, hour + rand_r(&seed) % 40000);
	assert_in_range(lead.ns, 24000, 40000);
	assert_true(vmm_lead_wake(&lead, hour) == hour - lead.ns);
	assert_true(vmm_lead_wake(&lead, 1) == 0);
	for (int i = 0; i < 2000; i++)
		vmm_lead_learn(&lead, hour, hour + 200 * US);
	assert_int_equal(lead.ns, VMM_LEAD_MAX_NS);
	for (int i = 0; i < 100; i++)
		vmm_lead_learn(&lead, hour, hour + MS);
	assert_in_range(lead.ns, 0, 1000); /* a busy host: no spinning */
	for (int i = 0; i < 100; i++)
		vmm_lead_learn(&lead, hour, hour - 1);
	assert_in_range(lead.ns, 0, VMM_LEAD_DOWN_NS);
}

#define FAKE(f) cmocka_unit_test_setup_teardown(f, setup_fake, teardown_fake)

int main(void)
{
	const struct CMUnitTest tests[] = {
		FAKE(fake_time),
		FAKE(deadline_order),
		FAKE(rearm_in_callback),
		FAKE(past_deadline),
		cmocka_unit_test(real_time),
		cmocka_unit_test(periodic),
		cmocka_unit_test(earlier),
		cmocka_unit_test(run_by_who_sleeps),
		cmocka_unit_test(taken_and_not_run),
		cmocka_unit_test(lead_follows_lateness),
		FAKE(not_by_a_fake_clock),
		cmocka_unit_test(drain_waits),
		cmocka_unit_test(churned_by_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
