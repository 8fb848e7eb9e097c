/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "host/event.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "host/thread.h"

/*
 * A source that is removed while its event is already in the batch that epoll_wait returned must
 * not be freed under the loop: it is marked dead, and buried before the next epoll_wait, when no
 * batch can name it any more.
 */
struct event_source {
	struct event_loop *loop;
	int fd;
	bool own_fd;
	bool dead;
	void (*fn)(void *arg, uint32_t events);
	void *arg;
	struct event_source *next_dead;
};

struct event_timer {
	struct event_source *source;
	void (*fn)(void *arg);
	void *arg;
};

struct event_signals {
	int fd;
	void (*fn)(void *arg, int signo);
	void *arg;
};

struct event_loop {
	pthread_t thread;
	int epoll_fd;
	int wake_fd;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t idle;  /* `running` has become NULL */
	struct event_source *running;
	struct event_source *dead;
	bool stop;
};

static void source_free(struct event_source *source)
{
	if (source->own_fd) {
		close(source->fd);
		free(source->arg);
	}
	free(source);
}

/* Frees what was removed; afterwards tells whether to go on. */
static bool loop_tidy(struct event_loop *loop)
{
	pthread_mutex_lock(&loop->lock);
	struct event_source *dead = loop->dead;
	bool go_on = !loop->stop;

	loop->dead = NULL;
	pthread_mutex_unlock(&loop->lock);
	while (dead) {
		struct event_source *next = dead->next_dead;

		source_free(dead);
		dead = next;
	}
	return go_on;
}

static void loop_dispatch(struct event_loop *loop, struct event_source *source, uint32_t events)
{
	pthread_mutex_lock(&loop->lock);
	if (source->dead) {
		pthread_mutex_unlock(&loop->lock);
		return;
	}
	loop->running = source;
	pthread_mutex_unlock(&loop->lock);
	source->fn(source->arg, events);
	pthread_mutex_lock(&loop->lock);
	loop->running = NULL;
	pthread_cond_broadcast(&loop->idle);
	pthread_mutex_unlock(&loop->lock);
}

static void *loop_main(void *arg)
{
	struct event_loop *loop = arg;
	struct epoll_event batch[16];

	while (loop_tidy(loop)) {
		int n = epoll_wait(loop->epoll_fd, batch, 16, -1);

		for (int i = 0; i < n; i++) {
			if (batch[i].data.ptr)
				loop_dispatch(loop, batch[i].data.ptr, batch[i].events);
			else
				(void)!read(loop->wake_fd, &(uint64_t){0}, sizeof(uint64_t));
		}
	}
	return NULL;
}

int event_loop_create(struct event_loop **out)
{
	struct event_loop *loop = calloc(1, sizeof(*loop));
	struct epoll_event wake = {.events = EPOLLIN};
	int error;

	if (!loop)
		return ENOMEM;
	pthread_mutex_init(&loop->lock, NULL);
	pthread_cond_init(&loop->idle, NULL);
	loop->wake_fd = -1;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0)
		goto fail_errno;
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake_fd < 0 ||
		epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &wake) != 0)
		goto fail_errno;
	error = host_thread_start(&loop->thread, "hyve-events", loop_main, loop);
	if (error)
		goto fail;
	*out = loop;
	return 0;

fail_errno:
	error = errno;
fail:
	if (loop->wake_fd >= 0)
		close(loop->wake_fd);
	if (loop->epoll_fd >= 0)
		close(loop->epoll_fd);
	free(loop);
	return error;
}

void event_loop_destroy(struct event_loop *loop)
{
	if (!loop)
		return;
	pthread_mutex_lock(&loop->lock);
	loop->stop = true;
	pthread_mutex_unlock(&loop->lock);
	(void)!write(loop->wake_fd, &(uint64_t){1}, sizeof(uint64_t));
	pthread_join(loop->thread, NULL);
	loop_tidy(loop);
	close(loop->wake_fd);
	close(loop->epoll_fd);
	pthread_cond_destroy(&loop->idle);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

int event_source_add(struct event_loop *loop, int fd, uint32_t events,
	void (*fn)(void *arg, uint32_t events), void *arg, struct event_source **out)
{
	struct event_source *source = calloc(1, sizeof(*source));

	if (!source)
		return ENOMEM;
	*source = (struct event_source){.loop = loop, .fd = fd, .fn = fn, .arg = arg};
	/* Stored first: the callback may run before epoll_ctl returns. */
	*out = source;
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd,
		    &(struct epoll_event){.events = events, .data.ptr = source}) != 0) {
		int error = errno;

		*out = NULL;
		free(source);
		return error;
	}
	return 0;
}

void event_source_set(struct event_source *source, uint32_t events)
{
	epoll_ctl(source->loop->epoll_fd, EPOLL_CTL_MOD, source->fd,
		&(struct epoll_event){.events = events, .data.ptr = source});
}

void event_source_remove(struct event_source *source)
{
	if (!source)
		return;
	struct event_loop *loop = source->loop;

	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
	pthread_mutex_lock(&loop->lock);
	source->dead = true;
	if (!pthread_equal(pthread_self(), loop->thread))
		while (loop->running == source)
			pthread_cond_wait(&loop->idle, &loop->lock);
	source->next_dead = loop->dead;
	loop->dead = source;
	pthread_mutex_unlock(&loop->lock);
}

static void timer_fire(void *arg, uint32_t events)
{
	struct event_timer *timer = arg;
	uint64_t expirations;

	(void)events;
	/* Nothing to read: it was stopped or set again between epoll_wait and here. */
	if (read(timer->source->fd, &expirations, sizeof(expirations)) == sizeof(expirations))
		timer->fn(timer->arg);
}

int event_timer_create(
	struct event_loop *loop, void (*fn)(void *arg), void *arg, struct event_timer **out)
{
	struct event_timer *timer = calloc(1, sizeof(*timer));
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	int error = timer ? errno : ENOMEM;

	if (!timer || fd < 0)
		goto fail;
	timer->fn = fn;
	timer->arg = arg;
	error = event_source_add(loop, fd, EPOLLIN, timer_fire, timer, &timer->source);
	if (error)
		goto fail;
	timer->source->own_fd = true;
	*out = timer;
	return 0;

fail:
	if (fd >= 0)
		close(fd);
	free(timer);
	return error;
}

void event_timer_set(struct event_timer *timer, uint64_t delay_ns)
{
	/* Zero would disarm it. */
	uint64_t ns = delay_ns ? delay_ns : 1;
	struct itimerspec when = {
		.it_value = {.tv_sec = (time_t)(ns / 1000000000),
			.tv_nsec = (long)(ns % 1000000000)},
	};

	timerfd_settime(timer->source->fd, 0, &when, NULL);
}

void event_timer_stop(struct event_timer *timer)
{
	timerfd_settime(timer->source->fd, 0, &(struct itimerspec){0}, NULL);
}

void event_timer_remove(struct event_timer *timer)
{
	/* The source owns fd and timer, and frees them when no batch names it any more. */
	if (timer)
		event_source_remove(timer->source);
}

static void signals_fire(void *arg, uint32_t events)
{
	struct event_signals *signals = arg;
	struct signalfd_siginfo info;

	(void)events;
	if (read(signals->fd, &info, sizeof(info)) == sizeof(info))
		signals->fn(signals->arg, (int)info.ssi_signo);
}

int event_signals_add(struct event_loop *loop, const int *list, void (*fn)(void *arg, int signo),
	void *arg, struct event_source **out)
{
	struct event_signals *signals = calloc(1, sizeof(*signals));
	sigset_t set;
	int error;

	if (!signals)
		return ENOMEM;
	sigemptyset(&set);
	while (*list)
		sigaddset(&set, *list++);
	*signals = (struct event_signals){.fn = fn, .arg = arg};
	signals->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals->fd < 0) {
		error = errno;
		free(signals);
		return error;
	}
	error = event_source_add(loop, signals->fd, EPOLLIN, signals_fire, signals, out);
	if (error) {
		close(signals->fd);
		free(signals);
		return error;
	}
	(*out)->own_fd = true;
	return 0;
}
