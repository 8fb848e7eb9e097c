/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The event loop: descriptors, timers, removal, signals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include "host/host.h"

struct seen {
	sem_t sem;
	_Atomic int count;
	int fd;
	_Atomic int signo;
	struct event_source *source;
};

static void wait_for(sem_t *sem)
{
	struct timespec limit;

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += 10;
	assert_int_equal(sem_timedwait(sem, &limit), 0);
}

static int setup(void **state)
{
	struct event_loop *loop;

	assert_int_equal(event_loop_create(&loop), 0);
	*state = loop;
	return 0;
}

static int teardown(void **state)
{
	event_loop_destroy(*state);
	return 0;
}

static void on_readable(void *arg, uint32_t events)
{
	struct seen *seen = arg;
	char byte;

	assert_true(events & EPOLLIN);
	assert_int_equal(read(seen->fd, &byte, 1), 1);
	seen->count++;
	sem_post(&seen->sem);
}

static void source_is_called_when_readable(void **state)
{
	struct seen seen = {0};
	int fds[2];

	sem_init(&seen.sem, 0, 0);
	assert_int_equal(pipe(fds), 0);
	seen.fd = fds[0];
	assert_int_equal(
		event_source_add(*state, fds[0], EPOLLIN, on_readable, &seen, &seen.source), 0);
	for (int i = 1; i <= 3; i++) {
		assert_int_equal(write(fds[1], "x", 1), 1);
		wait_for(&seen.sem);
		assert_int_equal(seen.count, i);
	}
	event_source_remove(seen.source);
	assert_int_equal(write(fds[1], "x", 1), 1);
	usleep(20000);
	assert_int_equal(seen.count, 3);
	close(fds[0]);
	close(fds[1]);
}

static void remove_self(void *arg, uint32_t events)
{
	struct seen *seen = arg;

	(void)events;
	seen->count++;
	event_source_remove(seen->source);
	sem_post(&seen->sem);
}

static void source_may_remove_itself(void **state)
{
	struct seen seen = {0};
	int fds[2];

	sem_init(&seen.sem, 0, 0);
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(
		event_source_add(*state, fds[0], EPOLLIN, remove_self, &seen, &seen.source), 0);
	wait_for(&seen.sem);
	usleep(20000);
	assert_int_equal(seen.count, 1);
	close(fds[0]);
	close(fds[1]);
}

static void slow(void *arg, uint32_t events)
{
	struct seen *seen = arg;
	char byte;

	(void)events;
	assert_int_equal(read(seen->fd, &byte, 1), 1);
	sem_post(&seen->sem);
	usleep(50000);
	seen->count++;
}

static void removal_waits_for_the_callback(void **state)
{
	struct seen seen = {0};
	int fds[2];

	sem_init(&seen.sem, 0, 0);
	assert_int_equal(pipe(fds), 0);
	seen.fd = fds[0];
	assert_int_equal(event_source_add(*state, fds[0], EPOLLIN, slow, &seen, &seen.source), 0);
	assert_int_equal(write(fds[1], "x", 1), 1);
	wait_for(&seen.sem);
	event_source_remove(seen.source);
	assert_int_equal(seen.count, 1);
	close(fds[0]);
	close(fds[1]);
}

static void plain_files_are_refused(void **state)
{
	struct event_source *source;
	int fd = open("/proc/self/exe", O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(event_source_add(*state, fd, EPOLLIN, slow, NULL, &source), EPERM);
	close(fd);
}

static void on_timer(void *arg)
{
	struct seen *seen = arg;

	seen->count++;
	sem_post(&seen->sem);
}

static void timer_fires_once(void **state)
{
	struct event_timer *timer;
	struct seen seen = {0};

	sem_init(&seen.sem, 0, 0);
	assert_int_equal(event_timer_create(*state, on_timer, &seen, &timer), 0);
	event_timer_set(timer, 0);
	wait_for(&seen.sem);
	usleep(20000);
	assert_int_equal(seen.count, 1);
	event_timer_set(timer, 1000000);
	wait_for(&seen.sem);
	assert_int_equal(seen.count, 2);
	event_timer_remove(timer);
}

static void stopped_timer_is_silent(void **state)
{
	struct event_timer *timer;
	struct seen seen = {0};

	sem_init(&seen.sem, 0, 0);
	assert_int_equal(event_timer_create(*state, on_timer, &seen, &timer), 0);
	event_timer_set(timer, 10000000);
	event_timer_stop(timer);
	usleep(30000);
	assert_int_equal(seen.count, 0);
	event_timer_set(timer, 10000000);
	event_timer_remove(timer);
	usleep(30000);
	assert_int_equal(seen.count, 0);
}

static void on_signal(void *arg, int signo)
{
	struct seen *seen = arg;

	seen->signo = signo;
	sem_post(&seen->sem);
}

static void signals_arrive(void **state)
{
	static const int list[] = {SIGUSR1, SIGUSR2, 0};
	struct seen seen = {0};

	sem_init(&seen.sem, 0, 0);
	assert_int_equal(event_signals_add(*state, list, on_signal, &seen, &seen.source), 0);
	for (const int *s = list; *s; s++) {
		kill(getpid(), *s);
		wait_for(&seen.sem);
		assert_int_equal(seen.signo, *s);
	}
	event_source_remove(seen.source);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(source_is_called_when_readable, setup, teardown),
		cmocka_unit_test_setup_teardown(source_may_remove_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(removal_waits_for_the_callback, setup, teardown),
		cmocka_unit_test_setup_teardown(plain_files_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(timer_fires_once, setup, teardown),
		cmocka_unit_test_setup_teardown(stopped_timer_is_silent, setup, teardown),
		cmocka_unit_test_setup_teardown(signals_arrive, setup, teardown),
	};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
