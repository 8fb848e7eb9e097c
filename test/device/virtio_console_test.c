/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The console device: control messages, ports on sockets, a console in a file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "host/host.h"
#include "test/device/virtio_driver.h"

#define F_SIZE	      (1ull << 0)
#define F_MULTIPORT   (1ull << 1)
#define F_EMERG_WRITE (1ull << 2)

enum {
	DATA = DRIVER_FREE,
	STEP = 0x2000, /* each buffer has one of its own */

	RX0 = 0,
	TX0 = 1,
	CONTROL_RX = 2,
	CONTROL_TX = 3,
	RX1 = 4,
	TX1 = 5,
	RX2 = 6,

	DEVICE_READY = 0,
	DEVICE_ADD = 1,
	PORT_READY = 3,
	CONSOLE_PORT = 4,
	PORT_OPEN = 6,
	PORT_NAME = 7,
};

struct fixture {
	struct driver d; /* first */
	char dir[32], one[64], two[64], console[80];
	uint64_t where[DRIVER_QUEUES][DRIVER_SIZE_MAX]; /* of the buffer with this id */
	uint64_t next;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	strcpy(f->dir, "/tmp/hyve-console-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->one, sizeof(f->one), "%s/one", f->dir);
	snprintf(f->two, sizeof(f->two), "%s/two", f->dir);
	snprintf(f->console, sizeof(f->console), "file=%s/console", f->dir);
	assert_int_equal(event_loop_create(&f->d.g.guest.loop), 0);
	f->next = DATA;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	event_loop_destroy(f->d.g.guest.loop);
	unlink(f->console + 5);
	unlink(f->one);
	unlink(f->two);
	assert_int_equal(rmdir(f->dir), 0);
	free(f);
	return 0;
}

/* ---- the driver ---- */

static void give(struct fixture *f, unsigned queue, uint32_t len)
{
	const struct driver_piece piece = {f->next, len, true};
	uint16_t id = driver_add(&f->d, queue, &piece, 1);

	f->where[queue][id] = f->next;
	f->next = f->next + STEP < DRIVER_RAM - STEP ? f->next + STEP : DATA;
	driver_kick(&f->d, queue);
}

static void put(struct fixture *f, unsigned queue, const void *bytes, uint32_t len)
{
	const struct driver_piece piece = {f->next, len, false};

	memcpy(driver_at(&f->d, f->next), bytes, len);
	driver_add(&f->d, queue, &piece, 1);
	f->next = f->next + STEP < DRIVER_RAM - STEP ? f->next + STEP : DATA;
	driver_kick(&f->d, queue);
}

/* What has come into a buffer, and how much. */
static const void *take(struct fixture *f, unsigned queue, uint32_t *len)
{
	uint16_t id;

	if (!driver_await(&f->d, queue, &id, len))
		fail_msg("nothing in queue %u", queue);
	return driver_at(&f->d, f->where[queue][id]);
}

static void taken_out(struct fixture *f, unsigned queue)
{
	uint16_t id;
	uint32_t len;

	assert_true(driver_await(&f->d, queue, &id, &len));
	assert_int_equal(len, 0);
}

static void control(struct fixture *f, uint32_t port, uint16_t event, uint16_t value)
{
	const struct {
		uint32_t port;
		uint16_t event, value;
	} message = {port, event, value};

	put(f, CONTROL_TX, &message, sizeof(message));
	taken_out(f, CONTROL_TX);
}

/* The next control message, as text. */
static const char *told(struct fixture *f)
{
	static char text[128];
	uint32_t len, port;
	uint16_t event, value;
	const uint8_t *m = take(f, CONTROL_RX, &len);

	assert_true(len >= 8);
	memcpy(&port, m, 4);
	memcpy(&event, m + 4, 2);
	memcpy(&value, m + 6, 2);
	snprintf(text, sizeof(text), "%u %u %u %.*s", port, event, value, (int)len - 8, m + 8);
	give(f, CONTROL_RX, 256);
	return text;
}

static bool is_silent(struct fixture *f, unsigned queue)
{
	uint16_t id;
	uint32_t len;

	usleep(20000);
	return !driver_poll(&f->d, queue, &id, &len);
}

static void start(struct fixture *f, const char *const options[][2], uint64_t features)
{
	driver_create(&f->d, "virtio-console", options, 0);
	driver_start(&f->d, features);
	for (unsigned i = 0; i < 8 && f->d.nqueues > CONTROL_RX; i++)
		give(f, CONTROL_RX, 256);
}

static void open_port(struct fixture *f, unsigned port)
{
	control(f, port, PORT_OPEN, 1);
}

/* ---- the host ---- */

static int call(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval limit = {.tv_sec = 5};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	usleep(30000); /* until it is noticed */
	return fd;
}

static void hear(int fd, const char *expected)
{
	char text[64] = "";

	assert_int_equal(recv(fd, text, strlen(expected), MSG_WAITALL), strlen(expected));
	assert_string_equal(text, expected);
}

/* ---- tests ---- */

static void ports_are_announced(void **state)
{
	struct fixture *f = *state;
	const char *const options[][2] = {{"console", f->console}, {"port.0.name", "org.one"},
		{"port.0.path", f->one}, {"port.3.name", "two"}, {"port.3.path", f->two},
		{NULL, NULL}};
	uint32_t ports;

	start(f, options, F_MULTIPORT);
	assert_int_equal(f->d.nqueues, 8);
	driver_config(&f->d, 4, &ports, 4);
	assert_int_equal(ports, 3);
	assert_true(is_silent(f, CONTROL_RX)); /* not before it is asked */
	control(f, 0xffffffff, DEVICE_READY, 1);
	assert_string_equal(told(f), "0 1 1 ");
	assert_string_equal(told(f), "1 1 1 ");
	assert_string_equal(told(f), "2 1 1 ");
	control(f, 0, PORT_READY, 1);
	assert_string_equal(told(f), "0 4 1 "); /* a console */
	assert_string_equal(told(f), "0 6 1 ");
	control(f, 1, PORT_READY, 1);
	assert_string_equal(told(f), "1 7 1 org.one");
	assert_string_equal(told(f), "1 6 0 "); /* nobody is there yet */
	control(f, 2, PORT_READY, 1);
	assert_string_equal(told(f), "2 7 1 two");
	assert_string_equal(told(f), "2 6 0 ");
	control(f, 3, PORT_READY, 1); /* there is none */
	control(f, 0, 77, 1);
	control(f, 1, DEVICE_READY, 0);
	assert_true(is_silent(f, CONTROL_RX));
	driver_destroy(&f->d);
}

/* Nothing is lost when the driver has no buffers for messages at first. */
static void messages_wait_for_buffers(void **state)
{
	struct fixture *f = *state;
	const char *const options[][2] = {
		{"port.0.name", "one"}, {"port.0.path", f->one}, {NULL, NULL}};

	driver_create(&f->d, "virtio-console", options, 0);
	driver_start(&f->d, F_MULTIPORT);
	control(f, 0, DEVICE_READY, 1);
	control(f, 0, PORT_READY, 1);
	int fd = call(f->one);

	usleep(20000);
	give(f, CONTROL_RX, 256);
	assert_string_equal(told(f), "0 1 1 ");
	assert_string_equal(told(f), "0 7 1 one");
	assert_string_equal(told(f), "0 6 1 ");
	close(fd);
	assert_string_equal(told(f), "0 6 0 ");
	driver_destroy(&f->d);
}

static void a_port_carries_both_ways(void **state)
{
	static const uint64_t features[] = {0, VIRTIO_F_RING_PACKED, VIRTIO_F_EVENT_IDX};
	struct fixture *f = *state;
	const char *const options[][2] = {{"port.0.name", "one"}, {"port.0.path", f->one},
		{"port.1.name", "two"}, {"port.1.path", f->two}, {NULL, NULL}};
	uint32_t len;

	start(f, options, F_MULTIPORT | features[0]);
	int fd = call(f->two);

	control(f, 0, DEVICE_READY, 1);
	open_port(f, 1);
	put(f, TX1, "to the host", 11);
	taken_out(f, TX1);
	hear(fd, "to the host");
	give(f, RX1, 5);
	give(f, RX1, 64);
	assert_int_equal(write(fd, "to the guest", 12), 12);
	assert_memory_equal(take(f, RX1, &len), "to th", 5);
	assert_int_equal(len, 5);
	assert_memory_equal(take(f, RX1, &len), "e guest", 7);
	assert_int_equal(len, 7);
	assert_true(driver_interrupts(&f->d, RX1) > 0);
	put(f, TX0, "to nobody", 9); /* the other port has no client */
	taken_out(f, TX0);
	close(fd);
	driver_destroy(&f->d);
}

/* The host's words wait until the guest has opened the port, and has buffers. */
static void input_waits_for_the_guest(void **state)
{
	struct fixture *f = *state;
	const char *const options[][2] = {
		{"port.0.name", "one"}, {"port.0.path", f->one}, {NULL, NULL}};
	uint32_t len;

	start(f, options, F_MULTIPORT);
	int fd = call(f->one);

	assert_int_equal(write(fd, "early", 5), 5);
	give(f, RX0, 3);
	assert_true(is_silent(f, RX0));
	open_port(f, 0);
	assert_memory_equal(take(f, RX0, &len), "ear", 3);
	close(fd); /* what is left is the guest's all the same */
	assert_true(is_silent(f, RX0));
	give(f, RX0, 16);
	assert_memory_equal(take(f, RX0, &len), "ly", 2);
	assert_int_equal(len, 2);
	control(f, 0, PORT_OPEN, 0);
	give(f, RX0, 16);
	fd = call(f->one);
	assert_int_equal(write(fd, "late", 4), 4);
	assert_true(is_silent(f, RX0));
	close(fd);
	driver_destroy(&f->d);
}

/* A host that does not read: buffers stay with us, and go on where they stopped. */
static void output_waits_for_the_host(void **state)
{
	struct fixture *f = *state;
	const char *const options[][2] = {
		{"port.0.name", "one"}, {"port.0.path", f->one}, {NULL, NULL}};
	static uint8_t block[4096], all[4096 * 1024];
	size_t sent = 0, received = 0;
	unsigned given = 0, back = 0;
	uint16_t id;
	uint32_t len;

	start(f, options, F_MULTIPORT);
	int fd = call(f->one);

	control(f, 0, DEVICE_READY, 1);
	assert_string_equal(told(f), "0 1 1 ");
	assert_true(is_silent(f, CONTROL_RX)); /* of the caller not before the port is known */
	open_port(f, 0);
	do {
		for (size_t i = 0; i < sizeof(block); i++)
			block[i] = (uint8_t)((sent + i) * 31 >> 3);
		put(f, TX0, block, sizeof(block));
		sent += sizeof(block);
		given++;
		back += driver_poll(&f->d, TX0, &id, &len);
	} while (given - back < 20 && sent < sizeof(all));
	assert_int_equal(given - back, 20); /* it has stopped taking them */
	while (received < sent) {
		ssize_t n = read(fd, all + received, sent - received);

		assert_true(n > 0);
		received += (size_t)n;
	}
	while (back < given && driver_await(&f->d, TX0, &id, &len))
		back++;
	assert_int_equal(back, given);
	for (size_t i = 0; i < sent; i++)
		assert_int_equal(all[i], (uint8_t)(i * 31 >> 3));
	close(fd);
	driver_destroy(&f->d);
}

/* One that goes away with output waiting for it: the guest gets its buffers. */
static void output_for_one_that_goes(void **state)
{
	struct fixture *f = *state;
	const char *const options[][2] = {
		{"port.0.name", "one"}, {"port.0.path", f->one}, {NULL, NULL}};
	static uint8_t block[4096];
	unsigned given = 0, back = 0;
	uint16_t id;
	uint32_t len;

	start(f, options, F_MULTIPORT);
	int fd = call(f->one);

	/* Until it is known to be there, all output is for nobody. */
	for (unsigned i = 0; i < 1000 && recv(fd, block, 1, MSG_DONTWAIT) != 1; i++) {
		put(f, TX0, block, 1);
		taken_out(f, TX0);
	}
	do {
		put(f, TX0, block, sizeof(block));
		given++;
		back += driver_poll(&f->d, TX0, &id, &len);
	} while (given - back < 20 && given < 1000);
	assert_int_equal(given - back, 20);
	close(fd);
	while (back < given && driver_await(&f->d, TX0, &id, &len))
		back++;
	assert_int_equal(back, given);
	driver_destroy(&f->d);
}

static const char *console_file(struct fixture *f)
{
	static char text[256];
	int fd = open(f->console + 5, O_RDONLY);
	ssize_t n = read(fd, text, sizeof(text) - 1);

	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

/* A driver without control messages has the first port, open from the start. */
static void a_plain_console(void **state)
{
	struct fixture *f = *state;
	const char *const options[][2] = {{"console", f->console}, {NULL, NULL}};
	uint16_t sizes[2];

	start(f, options, F_EMERG_WRITE);
	assert_int_equal(f->d.nqueues, 4);
	assert_true(f->d.features & F_EMERG_WRITE);
	assert_false(driver_offered(&f->d) & F_SIZE); /* a file has none */
	driver_config(&f->d, 0, sizes, 4);
	assert_int_equal(sizes[0] | sizes[1], 0);
	put(f, TX0, "hello ", 6);
	taken_out(f, TX0);
	driver_config_write(&f->d, 8, "!\0\0", 4);
	put(f, CONTROL_TX, "\0\0\0\0\0\0\1", 8); /* nobody listens there */
	taken_out(f, CONTROL_TX);
	assert_true(is_silent(f, CONTROL_RX));
	driver_destroy(&f->d); /* writes out what is buffered */
	assert_string_equal(console_file(f), "hello !");
}

/*
 * A terminal that takes nothing (a pipe that nobody reads): the guest's buffers come back after a
 * second, and when it is read again nothing is dropped any more.
 */
static void a_stalled_console_lets_the_guest_go_on(void **state)
{
	struct fixture *f = *state;
	const char *const options[][2] = {{"console", f->console}, {NULL, NULL}};
	static uint8_t block[4096], drained[1 << 20];
	unsigned given = 0, back = 0;
	uint64_t delay;
	uint16_t id;
	uint32_t len;

	assert_int_equal(mkfifo(f->console + 5, 0600), 0);
	int pipe = open(f->console + 5, O_RDWR | O_NONBLOCK);

	start(f, options, 0);
	do {
		put(f, TX0, block, sizeof(block));
		given++;
		usleep(1000); /* what the terminal has is on its way */
		back += driver_poll(&f->d, TX0, &id, &len);
	} while (given - back < 20 && given < 400);
	assert_int_equal(given - back, 20);
	assert_true(is_silent(f, TX0));
	assert_true(fake_timer_is_set(&f->d.g, &delay));
	assert_int_equal(delay, 1000000000);
	fake_timer_fire(&f->d.g);
	for (; back < given; back++)
		assert_true(driver_poll(&f->d, TX0, &id, &len));
	put(f, TX0, "lost", 4);
	assert_true(driver_poll(&f->d, TX0, &id, &len)); /* at once */
	for (unsigned i = 0; i < 20; i++, usleep(5000))
		(void)!read(pipe, drained, sizeof(drained));
	assert_false(fake_timer_is_set(&f->d.g, &delay));
	put(f, TX0, "kept", 4);
	taken_out(f, TX0);
	usleep(50000);
	assert_int_equal(read(pipe, drained, sizeof(drained)), 4);
	assert_memory_equal(drained, "kept", 4);
	driver_destroy(&f->d);
	close(pipe);
}

static void a_reset_closes_ports(void **state)
{
	struct fixture *f = *state;
	const char *const options[][2] = {
		{"port.0.name", "one"}, {"port.0.path", f->one}, {NULL, NULL}};
	uint32_t len;

	start(f, options, F_MULTIPORT);
	int fd = call(f->one);

	open_port(f, 0);
	driver_reset(&f->d);
	assert_int_equal(write(fd, "kept", 4), 4);
	driver_start(&f->d, F_MULTIPORT);
	give(f, RX0, 16);
	assert_true(is_silent(f, RX0));
	open_port(f, 0);
	assert_memory_equal(take(f, RX0, &len), "kept", 4);
	close(fd);
	driver_destroy(&f->d);
}

/* Buffers that no honest driver gives. */
static void odd_buffers(void **state)
{
	struct fixture *f = *state;
	const char *const options[][2] = {
		{"port.0.name", "one"}, {"port.0.path", f->one}, {NULL, NULL}};
	uint32_t len;

	start(f, options, F_MULTIPORT);
	int fd = call(f->one);

	put(f, CONTROL_TX, "\0\0\0", 3); /* half a message */
	taken_out(f, CONTROL_TX);
	open_port(f, 0);
	put(f, RX0, "for reading", 11); /* nothing fits into this one */
	give(f, TX0, 64);		/* and nothing is in that one */
	taken_out(f, TX0);
	assert_int_equal(write(fd, "x", 1), 1);
	give(f, RX0, 16);
	taken_out(f, RX0);
	assert_memory_equal(take(f, RX0, &len), "x", 1);
	close(fd);
	driver_destroy(&f->d);
}

static void bad_settings_say_why(void **state)
{
	struct fixture *f = *state;
	char longer[80];
	const char *const rows[][5] = {
		{"port.0.name", "x", NULL, NULL, "both name and path"},
		{"port.2.path", f->one, NULL, NULL, "both name and path"},
		{"port.0.name", "", "port.0.path", f->one, "port name"},
		{"port.0.name", longer, "port.0.path", f->one, "port name"},
		{"port.0.name", "x", "port.0.path", "/nonexistent/x", "/nonexistent/x"},
		{"console", "nonsense", NULL, NULL, "nonsense"},
	};
	struct event_loop *loop = f->d.g.guest.loop;

	memset(longer, 'n', sizeof(longer));
	longer[64] = '\0';
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *const options[][2] = {
			{rows[i][0], rows[i][1]}, {rows[i][2], rows[i][3]}, {NULL, NULL}};

		memset(&f->d, 0, sizeof(f->d));
		f->d.g.guest.loop = loop;
		driver_create(&f->d, "virtio-console", options,
			strstr(rows[i][4], "/non") ? ENOENT : EINVAL);
		assert_non_null(strstr(f->d.g.why, rows[i][4]));
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(ports_are_announced),
		T(messages_wait_for_buffers),
		T(a_port_carries_both_ways),
		T(input_waits_for_the_guest),
		T(output_waits_for_the_host),
		T(output_for_one_that_goes),
		T(a_plain_console),
		T(a_stalled_console_lets_the_guest_go_on),
		T(a_reset_closes_ports),
		T(odd_buffers),
		T(bad_settings_say_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
