/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * hyvectl top on a terminal: it shows a page, follows a new size, scrolls, and gives the terminal
 * back as it was, whether by q, a signal, or because the machine has ended.  The commands and the
 * guest are those of $BUILD.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

struct fixture {
	char dir[32], build[256];
	pid_t hyve, top;
	int master, slave;
	struct termios before;
	char screen[1 << 16]; /* all that came */
	size_t have;
};

static void sleep_ms(long ms)
{
	nanosleep(&(struct timespec){ms / 1000, ms % 1000 * 1000000}, NULL);
}

/* The build folder: this program lies in test/cmd/ of it. */
static void find_build(struct fixture *f)
{
	ssize_t n = readlink("/proc/self/exe", f->build, sizeof(f->build) - 1);

	assert_true(n > 0);
	f->build[n] = '\0';
	for (int i = 0; i < 3; i++)
		*strrchr(f->build, '/') = '\0';
}

static void start_hyve(struct fixture *f)
{
	char path[300], guest[300], socket[64];

	snprintf(path, sizeof(path), "%s/hyve", f->build);
	snprintf(guest, sizeof(guest), "%s/test/cmd/counter", f->build);
	snprintf(socket, sizeof(socket), "%s/top", f->dir);
	f->hyve = fork();
	if (f->hyve == 0) {
		int null = open("/dev/null", O_RDWR);

		for (int fd = 0; fd < 3; fd++)
			dup2(null, fd);
		execl(path, path, "--backend", "soft", "-c", "2", "-m", "16M", "--kernel", guest,
			"top", NULL);
		_exit(127);
	}
	for (int i = 0; access(socket, F_OK) != 0; i++) {
		assert_in_range(i, 0, 1000);
		sleep_ms(10);
	}
}

static void start_top(struct fixture *f)
{
	struct winsize size = {.ws_row = 24, .ws_col = 80};
	char path[300];

	assert_int_equal(openpty(&f->master, &f->slave, NULL, NULL, &size), 0);
	assert_int_equal(tcgetattr(f->slave, &f->before), 0);
	snprintf(path, sizeof(path), "%s/hyvectl", f->build);
	f->top = fork();
	if (f->top == 0) {
		setsid();
		ioctl(f->slave, TIOCSCTTY, 0);
		for (int fd = 0; fd < 3; fd++)
			dup2(f->slave, fd);
		close(f->master);
		setenv("TERM", "xterm", 1);
		execl(path, path, "--vm=top", "top", NULL);
		_exit(127);
	}
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/hyve-top-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	setenv("HYVE_RUNDIR", f->dir, 1);
	find_build(f);
	start_hyve(f);
	start_top(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	kill(f->top, SIGKILL);
	waitpid(f->top, NULL, 0);
	kill(f->hyve, SIGINT);
	waitpid(f->hyve, NULL, 0);
	close(f->master);
	close(f->slave);
	rmdir(f->dir);
	free(f);
	return 0;
}

/* Reads what the terminal gets until `text` was there, for ten seconds. */
static void await(struct fixture *f, const char *text)
{
	for (int i = 0; i < 200; i++) {
		struct pollfd p = {.fd = f->master, .events = POLLIN};

		if (poll(&p, 1, 50) == 1 && p.revents & POLLIN) {
			ssize_t n = read(
				f->master, f->screen + f->have, sizeof(f->screen) - 1 - f->have);

			if (n > 0)
				f->have += (size_t)n;
			f->screen[f->have] = '\0';
		}
		if (strstr(f->screen, text))
			return;
	}
	fail_msg("no \"%s\" on the terminal", text);
}

static void forget(struct fixture *f)
{
	f->have = 0;
	f->screen[0] = '\0';
}

static void assert_ended(struct fixture *f, int status)
{
	struct termios now;
	int got = -1;

	for (int i = 0; waitpid(f->top, &got, WNOHANG) == 0; i++) {
		struct pollfd p = {.fd = f->master, .events = POLLIN};
		char rest[4096];

		assert_in_range(i, 0, 1000);
		if (poll(&p, 1, 10) == 1)
			(void)!read(f->master, rest, sizeof(rest));
	}
	assert_true(WIFEXITED(got));
	assert_int_equal(WEXITSTATUS(got), status);
	memset(&now, 0, sizeof(now)); /* its padding, too */
	assert_int_equal(tcgetattr(f->slave, &now), 0);
	assert_memory_equal(&now, &f->before, sizeof(now));
}

static void shows_a_page_until_q(void **state)
{
	struct fixture *f = *state;
	struct termios now;

	await(f, "top: running");
	await(f, "VCPU");
	await(f, "EXITS/s");
	await(f, "hyve-events");
	tcgetattr(f->slave, &now);
	assert_false(now.c_lflag & ECHO);
	assert_int_equal(write(f->master, "q", 1), 1);
	assert_ended(f, 0);
}

static void follows_the_size(void **state)
{
	struct fixture *f = *state;
	struct winsize small = {.ws_row = 5, .ws_col = 40}, large = {.ws_row = 40, .ws_col = 120};

	await(f, "hyve-events");
	ioctl(f->master, TIOCSWINSZ, &small);
	sleep_ms(1500);
	forget(f);
	/* It fits no more, but can be reached. */
	for (int i = 0; i < 12; i++)
		assert_int_equal(write(f->master, "j", 1), 1);
	await(f, "DEVICE");
	ioctl(f->master, TIOCSWINSZ, &large);
	await(f, "PER SECOND");
	assert_int_equal(write(f->master, "q", 1), 1);
	assert_ended(f, 0);
}

static void ends_by_a_signal(void **state)
{
	struct fixture *f = *state;

	await(f, "VCPU");
	kill(f->top, SIGTERM);
	assert_ended(f, 0);
}

static void ends_with_the_machine(void **state)
{
	struct fixture *f = *state;

	await(f, "VCPU");
	kill(f->hyve, SIGKILL);
	assert_ended(f, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(shows_a_page_until_q),
		TEST(follows_the_size),
		TEST(ends_by_a_signal),
		TEST(ends_with_the_machine),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
