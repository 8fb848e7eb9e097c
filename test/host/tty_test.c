/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Terminals: what goes in comes out, nothing blocks, and a terminal in raw mode is restored
 * whichever way the process ends.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "host/host.h"

/* A user with a small buffer, as a UART is one. */
struct user {
	pthread_mutex_t lock;
	size_t room;
	uint8_t got[4096];
	size_t count;
	int writable, quit, resized;
};

static size_t user_room(void *arg)
{
	struct user *u = arg;

	pthread_mutex_lock(&u->lock);
	size_t room = u->room;

	pthread_mutex_unlock(&u->lock);
	return room;
}

static void user_input(void *arg, const uint8_t *bytes, size_t count)
{
	struct user *u = arg;

	pthread_mutex_lock(&u->lock);
	assert_true(count <= u->room && u->count + count <= sizeof(u->got));
	memcpy(u->got + u->count, bytes, count);
	u->count += count;
	u->room -= count;
	pthread_mutex_unlock(&u->lock);
}

static void user_writable(void *arg)
{
	__atomic_fetch_add(&((struct user *)arg)->writable, 1, __ATOMIC_SEQ_CST);
}

static void user_resized(void *arg)
{
	__atomic_add_fetch(&((struct user *)arg)->resized, 1, __ATOMIC_SEQ_CST);
}

static void user_quit(void *arg)
{
	__atomic_fetch_add(&((struct user *)arg)->quit, 1, __ATOMIC_SEQ_CST);
}

static struct tty_user callbacks(struct user *u)
{
	*u = (struct user){.room = sizeof(u->got)};
	pthread_mutex_init(&u->lock, NULL);
	return (struct tty_user){.room = user_room,
		.input = user_input,
		.writable = user_writable,
		.quit = user_quit,
		.arg = u};
}

/* Polls for up to ten seconds. */
#define eventually(condition)                                                                      \
	do {                                                                                       \
		for (int i_ = 0; i_ < 2000 && !(condition); i_++)                                  \
			usleep(5000);                                                              \
		assert_true(condition);                                                            \
	} while (0)

static size_t got(struct user *u)
{
	pthread_mutex_lock(&u->lock);
	size_t count = u->count;

	pthread_mutex_unlock(&u->lock);
	return count;
}

static struct event_loop *new_loop(void)
{
	struct event_loop *loop;

	assert_int_equal(event_loop_create(&loop), 0);
	return loop;
}

static void pty_carries_both_ways(void **state)
{
	struct event_loop *loop = new_loop();
	struct user u;
	struct tty_user cb = callbacks(&u);
	struct tty *tty;
	char why[100], buf[16];

	(void)state;
	assert_int_equal(tty_open(loop, "pty", &cb, &tty, why, sizeof(why)), 0);
	assert_int_equal(strncmp(tty_name(tty), "/dev/pts/", 9), 0);
	int fd = open(tty_name(tty), O_RDWR | O_NOCTTY);

	assert_true(fd >= 0);
	assert_int_equal(tty_write(tty, (const uint8_t *)"hello\n", 6), 6);
	assert_int_equal(read(fd, buf, sizeof(buf)), 6);
	assert_memory_equal(buf, "hello\n", 6);
	assert_int_equal(write(fd, "a\001xb", 4), 4); /* Ctrl-A means nothing here */
	eventually(got(&u) == 4);
	assert_memory_equal(u.got, "a\001xb", 4);
	assert_int_equal(u.quit, 0);
	close(fd);
	tty_close(tty);
	event_loop_destroy(loop);
}

static void input_waits_for_room(void **state)
{
	struct event_loop *loop = new_loop();
	struct user u;
	struct tty_user cb = callbacks(&u);
	struct tty *tty;
	char why[100];

	(void)state;
	u.room = 3;
	assert_int_equal(tty_open(loop, "pty", &cb, &tty, why, sizeof(why)), 0);
	int fd = open(tty_name(tty), O_RDWR | O_NOCTTY);

	assert_int_equal(write(fd, "abcdefgh", 8), 8);
	eventually(got(&u) == 3);
	usleep(20000);
	assert_int_equal(got(&u), 3);
	pthread_mutex_lock(&u.lock);
	u.room = 5;
	pthread_mutex_unlock(&u.lock);
	tty_input_resume(tty);
	eventually(got(&u) == 8);
	assert_memory_equal(u.got, "abcdefgh", 8);
	close(fd);
	tty_close(tty);
	event_loop_destroy(loop);
}

static void full_output_is_refused_and_then_taken(void **state)
{
	static uint8_t bulk[1 << 20];
	struct event_loop *loop = new_loop();
	struct user u;
	struct tty_user cb = callbacks(&u);
	struct tty *tty;
	char why[100];
	size_t taken, total = 0, back = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(bulk); i++)
		bulk[i] = (uint8_t)(i * 7 + i / 256);
	assert_int_equal(tty_open(loop, "pty", &cb, &tty, why, sizeof(why)), 0);
	/* Nobody reads: it must end by refusing, not by blocking. */
	for (int idle = 0; idle < 50; idle++) {
		taken = tty_write(tty, bulk + total, sizeof(bulk) - total);
		total += taken;
		if (taken > 0)
			idle = 0;
		usleep(1000);
	}
	assert_in_range(total, 1, sizeof(bulk) - 1);
	int fd = open(tty_name(tty), O_RDWR | O_NOCTTY | O_NONBLOCK);
	int idle = 0;

	while (back < total && idle < 2000) {
		uint8_t buf[4096];
		ssize_t n = read(fd, buf, sizeof(buf));

		if (n <= 0) {
			idle++;
			usleep(1000);
			continue;
		}
		idle = 0;
		assert_memory_equal(buf, bulk + back, n);
		back += (size_t)n;
	}
	assert_int_equal(back, total);
	eventually(__atomic_load_n(&u.writable, __ATOMIC_SEQ_CST) > 0);
	close(fd);
	tty_close(tty);
	event_loop_destroy(loop);
}

static void file_gets_the_output(void **state)
{
	char path[] = "/tmp/hyve-tty-XXXXXX", spec[64], why[100], buf[32];
	struct event_loop *loop = new_loop();
	struct user u;
	struct tty_user cb = callbacks(&u);
	struct tty *tty;
	int fd = mkstemp(path);

	(void)state;
	snprintf(spec, sizeof(spec), "file=%s", path);
	assert_int_equal(tty_open(loop, spec, &cb, &tty, why, sizeof(why)), 0);
	assert_int_equal(tty_write(tty, (const uint8_t *)"line\n", 5), 5);
	tty_close(tty); /* writes out what is left */
	assert_int_equal(read(fd, buf, sizeof(buf)), 5);
	assert_memory_equal(buf, "line\n", 5);
	close(fd);
	unlink(path);
	event_loop_destroy(loop);
}

static void bad_specs_say_why(void **state)
{
	static const char *const specs[] = {
		"nonsense",
		"file=/nonexistent/dir/x",
		"/dev/nonexistent",
		"/dev/null",
		"stdio2",
	};
	struct event_loop *loop = new_loop();
	struct user u;
	struct tty_user cb = callbacks(&u);

	(void)state;
	for (size_t i = 0; i < sizeof(specs) / sizeof(specs[0]); i++) {
		struct tty *tty = NULL;
		char why[100] = "";

		assert_int_not_equal(tty_open(loop, specs[i], &cb, &tty, why, sizeof(why)), 0);
		assert_true(strlen(why) > 10);
	}
	event_loop_destroy(loop);
}

/* ---- stdio, in a child on a terminal of its own ---- */

enum way { BY_CLOSE, BY_EXIT, BY_SIGNAL };

/* Opens stdio, says that it is ready, waits for a byte on "go" or its death. */
static void child_main(int ready, int go, enum way way)
{
	struct event_loop *loop;
	struct user u;
	struct tty_user cb = callbacks(&u);
	struct tty *tty;
	char why[100], byte;

	/* cmocka catches some, and would go on with the next test in here. */
	for (int s = 1; s < 32; s++)
		signal(s, SIG_DFL);
	if (event_loop_create(&loop) || tty_open(loop, "stdio", &cb, &tty, why, sizeof(why)))
		_exit(99);
	if (write(ready, "r", 1) != 1 || read(go, &byte, 1) != 1)
		_exit(98);
	if (way == BY_CLOSE)
		tty_close(tty);
	if (way == BY_EXIT)
		exit(0);
	_exit(0);
}

struct child {
	pid_t pid;
	int master, ready, go;
};

static bool is_raw(int fd)
{
	struct termios t;

	assert_int_equal(tcgetattr(fd, &t), 0);
	return !(t.c_lflag & (ECHO | ICANON | ISIG)) && !(t.c_oflag & OPOST);
}

static struct child start_child(enum way way)
{
	int ready[2], go[2];
	struct child c;
	char byte;

	assert_int_equal(pipe(ready) | pipe(go), 0);
	c.pid = forkpty(&c.master, NULL, NULL, NULL);
	assert_true(c.pid >= 0);
	if (c.pid == 0) {
		close(ready[0]);
		close(go[1]);
		child_main(ready[1], go[0], way);
	}
	close(ready[1]);
	close(go[0]);
	c.ready = ready[0];
	c.go = go[1];
	assert_int_equal(read(c.ready, &byte, 1), 1);
	assert_true(is_raw(c.master));
	return c;
}

static void end_child(struct child *c)
{
	assert_int_equal(waitpid(c->pid, NULL, 0), c->pid);
	eventually(!is_raw(c->master));
	close(c->master);
	close(c->ready);
	close(c->go);
}

static void close_restores(void **state)
{
	struct child c = start_child(BY_CLOSE);

	(void)state;
	assert_int_equal(write(c.go, "g", 1), 1);
	end_child(&c);
}

static void exit_without_close_restores(void **state)
{
	struct child c = start_child(BY_EXIT);

	(void)state;
	assert_int_equal(write(c.go, "g", 1), 1);
	end_child(&c);
}

static void death_by_signal_restores(void **state)
{
	static const int signals[] = {
		SIGTERM,
		SIGINT,
		SIGHUP,
		SIGQUIT,
		SIGSEGV,
		SIGABRT,
		SIGBUS,
		SIGFPE,
		SIGKILL,
	};

	(void)state;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++) {
		struct child c = start_child(BY_SIGNAL);

		kill(c.pid, signals[i]);
		end_child(&c);
	}
}

/* ---- stdio in this process, with other files put behind 0 and 1 ---- */

struct swapped {
	int in, out;
};

static struct swapped swap_stdio(int in, int out)
{
	struct swapped old = {fcntl(0, F_DUPFD_CLOEXEC, 100), fcntl(1, F_DUPFD_CLOEXEC, 100)};

	fflush(stdout);
	dup2(in, 0);
	dup2(out, 1);
	return old;
}

static void swap_back(struct swapped old)
{
	dup2(old.in, 0);
	dup2(old.out, 1);
	close(old.in);
	close(old.out);
}

/* Opens stdio over the two, feeds  if any, and returns what arrived. */
static void keys_of_a_terminal(void **state)
{
	struct event_loop *loop = new_loop();
	struct user u;
	struct tty_user cb = callbacks(&u);
	struct tty *tty = NULL;
	int master, slave, code;
	char why[100];

	(void)state;
	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	struct swapped old = swap_stdio(slave, slave);

	code = tty_open(loop, "stdio", &cb, &tty, why, sizeof(why));
	swap_back(old);
	assert_int_equal(code, 0);
	assert_int_equal(write(master, "a\001\001b\001qc\001", 8), 8);
	eventually(got(&u) == 6);
	assert_memory_equal(u.got, "a\001b\001qc", 6);
	assert_int_equal(u.quit, 0);
	assert_int_equal(write(master, "xd", 2), 2); /* the Ctrl-A came before */
	eventually(__atomic_load_n(&u.quit, __ATOMIC_SEQ_CST) == 1);
	eventually(got(&u) == 7);
	assert_int_equal(u.got[6], 'd');
	tty_close(tty);
	assert_false(is_raw(master));
	close(master);
	close(slave);
	event_loop_destroy(loop);
}

/* Whoever wants to hear of it has the signal blocked, as the command has. */
static void a_terminal_has_a_size(void **state)
{
	struct winsize size = {.ws_row = 30, .ws_col = 100};
	unsigned columns = 0, rows = 0;
	sigset_t set, before;
	struct user u;
	struct tty_user cb = callbacks(&u);
	struct tty *tty = NULL;
	int master, slave, code;
	char why[100];

	(void)state;
	sigemptyset(&set);
	sigaddset(&set, SIGWINCH);
	pthread_sigmask(SIG_BLOCK, &set, &before);
	struct event_loop *loop = new_loop();

	cb.resized = user_resized;
	assert_int_equal(openpty(&master, &slave, NULL, NULL, &size), 0);
	struct swapped old = swap_stdio(slave, slave);

	code = tty_open(loop, "stdio", &cb, &tty, why, sizeof(why));
	swap_back(old);
	assert_int_equal(code, 0);
	assert_true(tty_size(tty, &columns, &rows));
	assert_int_equal(columns, 100);
	assert_int_equal(rows, 30);
	size.ws_col = 132;
	assert_int_equal(ioctl(master, TIOCSWINSZ, &size), 0);
	kill(getpid(), SIGWINCH); /* we are not in the terminal's foreground */
	eventually(__atomic_load_n(&u.resized, __ATOMIC_SEQ_CST) == 1);
	assert_true(tty_size(tty, &columns, &rows));
	assert_int_equal(columns, 132);
	tty_close(tty);
	close(master);
	close(slave);
	event_loop_destroy(loop);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	loop = new_loop();
	assert_int_equal(tty_open(loop, "pty", &cb, &tty, why, sizeof(why)), 0);
	assert_false(tty_size(tty, &columns, &rows));
	tty_close(tty);
	event_loop_destroy(loop);
}

static void quit_works_when_the_guest_does_not_listen(void **state)
{
	struct event_loop *loop = new_loop();
	struct user u;
	struct tty_user cb = callbacks(&u);
	struct tty *tty = NULL;
	int master, slave, code;
	char why[100], line[512];

	(void)state;
	u.room = 0;
	memset(line, 'k', sizeof(line));
	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	struct swapped old = swap_stdio(slave, slave);

	code = tty_open(loop, "stdio", &cb, &tty, why, sizeof(why));
	swap_back(old);
	assert_int_equal(code, 0);
	for (int i = 0; i < 300; i++) /* more than the ring holds */
		assert_int_equal(write(master, line, sizeof(line)), sizeof(line));
	assert_int_equal(write(master, "\001x", 2), 2);
	eventually(__atomic_load_n(&u.quit, __ATOMIC_SEQ_CST) == 1);
	tty_close(tty);
	close(master);
	close(slave);
	event_loop_destroy(loop);
}

static void stdin_at_its_end_is_no_input(void **state)
{
	struct event_loop *loop = new_loop();
	struct user u;
	struct tty_user cb = callbacks(&u);
	struct tty *tty = NULL;
	int null = open("/dev/null", O_RDWR), fds[2], code;
	char why[100], buf[16];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	struct swapped old = swap_stdio(null, fds[1]);

	code = tty_open(loop, "stdio", &cb, &tty, why, sizeof(why));
	swap_back(old);
	assert_int_equal(code, 0);
	assert_int_equal(tty_write(tty, (const uint8_t *)"out", 3), 3);
	assert_int_equal(read(fds[0], buf, sizeof(buf)), 3);
	assert_int_equal(got(&u), 0);
	tty_close(tty);
	close(null);
	close(fds[0]);
	close(fds[1]);
	event_loop_destroy(loop);
}

static void a_file_on_stdin_arrives_whole(void **state)
{
	char path[] = "/tmp/hyve-in-XXXXXX", bulk[3000], why[100];
	struct event_loop *loop = new_loop();
	struct user u;
	struct tty_user cb = callbacks(&u);
	struct tty *tty = NULL;
	int file = mkstemp(path), null = open("/dev/null", O_WRONLY), code;

	(void)state;
	unlink(path);
	for (size_t i = 0; i < sizeof(bulk); i++)
		bulk[i] = (char)(i % 251);
	assert_int_equal(write(file, bulk, sizeof(bulk)), sizeof(bulk));
	lseek(file, 0, SEEK_SET);
	u.room = 10; /* and more only as it is asked for */
	struct swapped old = swap_stdio(file, null);

	code = tty_open(loop, "stdio", &cb, &tty, why, sizeof(why));
	swap_back(old);
	assert_int_equal(code, 0);
	for (int i = 0; i < 2000 && got(&u) < sizeof(bulk); i++) {
		pthread_mutex_lock(&u.lock);
		u.room = 100;
		pthread_mutex_unlock(&u.lock);
		tty_input_resume(tty);
		usleep(1000);
	}
	assert_int_equal(got(&u), sizeof(bulk));
	assert_memory_equal(u.got, bulk, sizeof(bulk));
	tty_close(tty);
	close(file);
	close(null);
	event_loop_destroy(loop);
}

static void output_that_nobody_reads_is_dropped(void **state)
{
	static const uint8_t bulk[4096];
	struct event_loop *loop = new_loop();
	struct user u;
	struct tty_user cb = callbacks(&u);
	struct tty *tty = NULL;
	int null = open("/dev/null", O_RDWR), fds[2], code;
	char why[100];

	(void)state;
	assert_int_equal(pipe(fds), 0);
	struct swapped old = swap_stdio(null, fds[1]);

	code = tty_open(loop, "stdio", &cb, &tty, why, sizeof(why));
	swap_back(old);
	assert_int_equal(code, 0);
	close(fds[1]);
	close(fds[0]);
	/* Far more than the ring: a broken pipe must not stop the guest. */
	for (int i = 0; i < 200; i++) {
		tty_write(tty, bulk, sizeof(bulk));
		usleep(500);
	}
	eventually(tty_write(tty, bulk, sizeof(bulk)) == sizeof(bulk));
	tty_close(tty);
	close(null);
	event_loop_destroy(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pty_carries_both_ways),
		cmocka_unit_test(input_waits_for_room),
		cmocka_unit_test(full_output_is_refused_and_then_taken),
		cmocka_unit_test(file_gets_the_output),
		cmocka_unit_test(bad_specs_say_why),
		cmocka_unit_test(close_restores),
		cmocka_unit_test(exit_without_close_restores),
		cmocka_unit_test(death_by_signal_restores),
		cmocka_unit_test(keys_of_a_terminal),
		cmocka_unit_test(a_terminal_has_a_size),
		cmocka_unit_test(quit_works_when_the_guest_does_not_listen),
		cmocka_unit_test(stdin_at_its_end_is_no_input),
		cmocka_unit_test(a_file_on_stdin_arrives_whole),
		cmocka_unit_test(output_that_nobody_reads_is_dropped),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
