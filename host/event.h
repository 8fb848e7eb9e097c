/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The event loop: file descriptors, timers and signals served by one thread.  Callbacks run on that
 * thread, one at a time, with no lock of the loop held; they must not block.
 */
#ifndef HOST_EVENT_H
#define HOST_EVENT_H

#include <stdint.h>

struct event_loop;
struct event_source;
struct event_timer;

/* Starts the thread. It takes no signals. 0 or an errno. */
int event_loop_create(struct event_loop **loop);
/* Ends the thread. All sources and timers must have been removed. NULL is allowed. */
void event_loop_destroy(struct event_loop *loop);

/*
 * Calls fn(arg, events) when `fd` (the caller's) is ready; `events` are epoll's (level-triggered).
 * EPERM: the fd is a plain file, always ready. Any thread.
 */
int event_source_add(struct event_loop *loop, int fd, uint32_t events,
	void (*fn)(void *arg, uint32_t events), void *arg, struct event_source **source);
/* Any thread. */
void event_source_set(struct event_source *source, uint32_t events);
/*
 * Any thread; afterwards fn neither runs nor will run, except when called from fn itself.  The
 * caller holds no lock that fn takes. NULL is allowed.
 */
void event_source_remove(struct event_source *source);

/* A one-shot timer of the monotonic clock. 0 or an errno. Any thread. */
int event_timer_create(
	struct event_loop *loop, void (*fn)(void *arg), void *arg, struct event_timer **timer);
/*
 * Fires once, `delay_ns` from now; a pending time is replaced. 0 ns: as soon as can be. Any thread.
 */
void event_timer_set(struct event_timer *timer, uint64_t delay_ns);
void event_timer_stop(struct event_timer *timer);
/* As event_source_remove. */
void event_timer_remove(struct event_timer *timer);

/*
 * Calls fn(arg, signo) on the loop's thread for each of the signals, which every thread of the
 * process must have blocked. `signals` ends with 0.
 */
int event_signals_add(struct event_loop *loop, const int *signals, void (*fn)(void *arg, int signo),
	void *arg, struct event_source **source);

#endif
