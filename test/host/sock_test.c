/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* A socket that listens, with clients that come, go, flood it and do not read. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "host/host.h"

enum { GOT_MAX = 1 << 20 };

struct fixture {
	struct event_loop *loop;
	struct sock *sock;
	char dir[32], path[64], why[200];
	pthread_mutex_t lock;
	size_t room, got;
	atomic_uint comings, goings, writables;
	uint8_t bytes[GOT_MAX];
};

static void on_connected(void *arg, bool there)
{
	struct fixture *f = arg;

	if (there)
		f->comings++;
	else
		f->goings++;
}

static size_t on_room(void *arg)
{
	struct fixture *f = arg;

	pthread_mutex_lock(&f->lock);
	size_t room = f->room;

	pthread_mutex_unlock(&f->lock);
	return room;
}

static void on_input(void *arg, const uint8_t *bytes, size_t count)
{
	struct fixture *f = arg;

	pthread_mutex_lock(&f->lock);
	assert_true(count > 0 && count <= f->room && f->got + count <= GOT_MAX);
	memcpy(f->bytes + f->got, bytes, count);
	f->got += count;
	f->room -= count;
	pthread_mutex_unlock(&f->lock);
}

static void on_writable(void *arg)
{
	((struct fixture *)arg)->writables++;
}

static int listen_at(struct fixture *f, const char *path, struct sock **sock)
{
	const struct sock_user user = {.connected = on_connected,
		.room = on_room,
		.input = on_input,
		.writable = on_writable,
		.arg = f};

	return sock_listen(f->loop, path, &user, sock, f->why, sizeof(f->why));
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/hyve-sock-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof(f->path), "%s/port", f->dir);
	pthread_mutex_init(&f->lock, NULL);
	f->room = GOT_MAX;
	assert_int_equal(event_loop_create(&f->loop), 0);
	assert_int_equal(listen_at(f, f->path, &f->sock), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	sock_close(f->sock);
	event_loop_destroy(f->loop);
	assert_int_equal(unlink(f->path), 0); /* it stays, for the next one to replace */
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = 5};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	strcpy(address.sun_path, path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0) {
		close(fd);
		return -1;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return fd;
}

/* Until `what` holds; five seconds. */
#define AWAIT(what)                                                                                \
	do {                                                                                       \
		for (int tries = 0; tries < 5000 && !(what); tries++)                              \
			usleep(1000);                                                              \
		assert_true(what);                                                                 \
	} while (0)

static size_t got(struct fixture *f)
{
	pthread_mutex_lock(&f->lock);
	size_t n = f->got;

	pthread_mutex_unlock(&f->lock);
	return n;
}

static void give_room(struct fixture *f, size_t room)
{
	pthread_mutex_lock(&f->lock);
	f->room = room;
	pthread_mutex_unlock(&f->lock);
	sock_input_resume(f->sock);
}

static size_t say(struct fixture *f, const char *text)
{
	const struct iovec piece = {(void *)text, strlen(text)};

	return sock_write(f->sock, &piece, 1);
}

static void both_ways(void **state)
{
	struct fixture *f = *state;
	const struct iovec pieces[] = {{"he", 2}, {"", 0}, {"llo", 3}};
	char text[8] = "";
	struct stat st;

	assert_int_equal(stat(f->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(say(f, "to nobody"), 9);
	int fd = connect_to(f->path);

	AWAIT(f->comings == 1);
	assert_int_equal(sock_write(f->sock, pieces, 3), 5);
	assert_int_equal(recv(fd, text, 5, MSG_WAITALL), 5);
	assert_string_equal(text, "hello");
	assert_int_equal(write(fd, "back", 4), 4);
	AWAIT(got(f) == 4);
	assert_memory_equal(f->bytes, "back", 4);
	close(fd);
	AWAIT(f->goings == 1);
}

static void the_next_one_may_come(void **state)
{
	struct fixture *f = *state;
	char text[8];

	for (unsigned i = 1; i <= 20; i++) {
		int fd = connect_to(f->path);

		AWAIT(f->comings == i);
		assert_int_equal(say(f, "x"), 1);
		assert_int_equal(read(fd, text, 1), 1);
		assert_int_equal(write(fd, "y", 1), 1);
		close(fd);
		AWAIT(f->goings == i);
		assert_int_equal(got(f), i); /* what was said before is not lost */
	}
}

static void a_second_client_is_refused(void **state)
{
	struct fixture *f = *state;
	int first = connect_to(f->path);
	char byte;

	AWAIT(f->comings == 1);
	int second = connect_to(f->path);

	assert_int_equal(read(second, &byte, 1), 0);
	close(second);
	assert_int_equal(write(first, "z", 1), 1);
	AWAIT(got(f) == 1);
	assert_int_equal(f->comings, 1);
	close(first);
	AWAIT(f->goings == 1);
}

/* Input waits in the client while there is no room, and nothing is lost when the client goes. */
static void input_waits_for_room(void **state)
{
	struct fixture *f = *state;
	uint8_t sent[5000];

	for (unsigned i = 0; i < sizeof(sent); i++)
		sent[i] = (uint8_t)(i * 7);
	give_room(f, 100);
	int fd = connect_to(f->path);

	assert_int_equal(write(fd, sent, sizeof(sent)), sizeof(sent));
	AWAIT(got(f) == 100);
	give_room(f, 1000);
	AWAIT(got(f) == 1100);
	close(fd);
	usleep(20000);
	assert_int_equal(f->goings, 0); /* not before all is read */
	for (unsigned i = 0; i < 39; i++) {
		size_t before = got(f);

		give_room(f, 100);
		AWAIT(got(f) == before + 100);
	}
	give_room(f, 1);
	AWAIT(f->goings == 1);
	assert_memory_equal(f->bytes, sent, sizeof(sent));
}

static void output_waits_for_the_client(void **state)
{
	struct fixture *f = *state;
	static uint8_t block[1 << 16], back[1 << 16];
	const struct iovec piece = {block, sizeof(block)};
	size_t sent = 0, received = 0, n;
	int fd = connect_to(f->path);

	AWAIT(f->comings == 1);
	do
		sent += n = sock_write(f->sock, &piece, 1);
	while (n == sizeof(block));
	assert_int_equal(f->writables, 0);
	while (received < sent) {
		ssize_t count = read(fd, back, sizeof(back));

		assert_true(count > 0);
		received += (size_t)count;
	}
	AWAIT(f->writables == 1);
	assert_int_equal(say(f, "more"), 4);
	assert_int_equal(recv(fd, back, 4, MSG_WAITALL), 4);
	close(fd);
	AWAIT(f->goings == 1);
}

/* A client that goes while there is output for it: no signal, no error, and it is all accepted. */
static void output_to_one_that_goes(void **state)
{
	struct fixture *f = *state;
	static uint8_t block[1 << 16];
	const struct iovec piece = {block, sizeof(block)};

	for (unsigned i = 1; i <= 20; i++) {
		int fd = connect_to(f->path);

		AWAIT(f->comings == i);
		while (sock_write(f->sock, &piece, 1) == sizeof(block))
			;
		close(fd);
		AWAIT(f->goings == i);
		assert_int_equal(sock_write(f->sock, &piece, 1), sizeof(block));
	}
}

/*
 * One that hangs up reads no more: the writer is told, though no room has come in the client's queue,
 * and though what the client has left for the user has to wait for room.
 */
static void output_to_one_that_has_hung_up(void **state)
{
	struct fixture *f = *state;
	static uint8_t block[1 << 16];
	const struct iovec piece = {block, sizeof(block)};

	give_room(f, 0);
	int fd = connect_to(f->path);

	AWAIT(f->comings == 1);
	assert_int_equal(write(fd, "left", 4), 4);
	while (sock_write(f->sock, &piece, 1) == sizeof(block))
		;
	unsigned before = f->writables;

	assert_int_equal(shutdown(fd, SHUT_RDWR), 0);
	AWAIT(f->writables == before + 1);
	assert_int_equal(sock_write(f->sock, &piece, 1), sizeof(block));
	assert_int_equal(f->goings, 0);
	give_room(f, 4);
	AWAIT(f->goings == 1);
	assert_memory_equal(f->bytes, "left", 4);
	close(fd);
}

static void stale_files_are_replaced(void **state)
{
	struct fixture *f = *state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct sock *sock;
	char path[80];

	snprintf(path, sizeof(path), "%s/stale", f->dir);
	strcpy(address.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd); /* its file stays */
	assert_int_equal(listen_at(f, path, &sock), 0);
	fd = connect_to(path);
	assert_true(fd >= 0);
	close(fd);
	sock_close(sock);
	assert_int_equal(listen_at(f, path, &sock), 0); /* and our own */
	sock_close(sock);
	assert_int_equal(unlink(path), 0);
}

static void others_files_are_left_alone(void **state)
{
	struct fixture *f = *state;
	char path[80], longer[200];
	struct sock *sock;

	assert_int_equal(listen_at(f, f->path, &sock), EADDRINUSE);
	assert_non_null(strstr(f->why, "another process"));
	snprintf(path, sizeof(path), "%s/file", f->dir);
	close(open(path, O_CREAT | O_WRONLY, 0600));
	assert_int_equal(listen_at(f, path, &sock), EEXIST);
	assert_non_null(strstr(f->why, "no socket"));
	assert_int_equal(unlink(path), 0);
	assert_int_equal(listen_at(f, "/nonexistent/port", &sock), ENOENT);
	assert_non_null(strstr(f->why, "/nonexistent/port"));
	memset(longer, 'x', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	assert_int_equal(listen_at(f, longer, &sock), ENAMETOOLONG);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(both_ways),
		T(the_next_one_may_come),
		T(a_second_client_is_refused),
		T(input_waits_for_room),
		T(output_waits_for_the_client),
		T(output_to_one_that_goes),
		T(output_to_one_that_has_hung_up),
		T(stale_files_are_replaced),
		T(others_files_are_left_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
