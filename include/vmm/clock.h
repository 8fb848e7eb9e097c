/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The one source of time: chips and backends never ask the host themselves.  A real clock runs its
 * timers on a thread of its own; a fake one stands still until a test advances it.
 */
#ifndef VMM_CLOCK_H
#define VMM_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

struct vmm_clock;

/* Host monotonic time with a timer thread. NULL on ENOMEM or when no thread can be had. */
struct vmm_clock *vmm_clock_create(void);
/* Time 0, no thread: timers fire inside vmm_clock_advance(). NULL on ENOMEM. */
struct vmm_clock *vmm_clock_create_fake(void);
/* All timers must have been drained. NULL is allowed. */
void vmm_clock_destroy(struct vmm_clock *clock);

/* Nanoseconds, monotonic, from an arbitrary start. Any thread. */
uint64_t vmm_clock_now(struct vmm_clock *clock);
/* Wall-clock seconds since 1970, for the RTC; a fake clock starts at 2014-01-01T00:00:00Z. */
int64_t vmm_clock_wall(struct vmm_clock *clock);
/* Fake only: moves time forward by `ns`, firing due timers in order of their deadlines. */
void vmm_clock_advance(struct vmm_clock *clock, uint64_t ns);

/*
 * One timer.  The callback runs without any lock of the clock held, on the timer thread; it may
 * take the device's lock and set its timer again.  Embedded in its device.  The members belong to
 * the clock; the links make the queue of armed timers (a pairing heap), so that arming never
 * allocates and cannot fail.
 */
struct vmm_timer {
	struct vmm_clock *clock;
	void (*fn)(void *arg);
	void *arg;
	uint64_t deadline_ns;
	struct vmm_timer *child; /* first of the timers that are due later than this one */
	struct vmm_timer *next;	 /* sibling */
	struct vmm_timer **link; /* the pointer that points here; NULL: not queued */
	bool taken;		 /* by vmm_timer_take(), and not queued */
};

void vmm_timer_init(
	struct vmm_timer *timer, struct vmm_clock *clock, void (*fn)(void *arg), void *arg);
/* (Re)arms for an absolute time. May be called from the callback and with device locks held. */
void vmm_timer_set(struct vmm_timer *timer, uint64_t deadline_ns);
/* Cancels if queued; a callback already running goes on. May be called with device locks held. */
void vmm_timer_stop(struct vmm_timer *timer);
/*
 * Stops, and waits until a running callback has ended. No lock that the callback takes may be held.
 * From inside a callback of the same clock it only stops.
 */
void vmm_timer_drain(struct vmm_timer *timer);
/*
 * For who sleeps until the timer is due instead of being woken by the clock's thread: takes it away
 * from the thread, and returns its deadline, of CLOCK_MONOTONIC.  Arming or stopping it ends that.
 * UINT64_MAX, and nothing taken: it is not armed, or its clock is a fake one.  Any thread, which
 * calls vmm_timer_give_back() afterwards; may hold device locks.
 */
uint64_t vmm_timer_take(struct vmm_timer *timer);
/*
 * After vmm_timer_take(): if the timer is still taken and due, the callback runs on this thread; if
 * it is not due, the clock's thread sees to it again.  Says whether it ran.  As for
 * vmm_timer_drain(), no lock that the callback takes; not from inside a callback.
 */
bool vmm_timer_give_back(struct vmm_timer *timer);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
