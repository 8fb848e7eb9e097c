/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The block device as a driver sees it, good and hostile, in front of a small image. */
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
#include <unistd.h>

#include "host/host.h"
#include "test/device/virtio_driver.h"

enum {
	IN = 0,
	OUT = 1,
	FLUSH = 4,
	GET_ID = 8,
	DISCARD = 11,
	ZEROES = 13,

	OK = 0,
	IOERR = 1,
	UNSUPP = 2,
	NO_ANSWER = 0xff,

	SECTORS = 8192,
	HEADER = DRIVER_FREE,
	STATUS = DRIVER_FREE + 0x100,
	DATA = DRIVER_FREE + 0x1000,

	NEEDS_RESET = 64,
};

#define F_RO	     (1ull << 5)
#define F_FLUSH	     (1ull << 9)
#define F_CONFIG_WCE (1ull << 11)
#define F_MQ	     (1ull << 12)
#define F_DISCARD    (1ull << 13)
#define F_ZEROES     (1ull << 14)
#define F_ALL	     (F_FLUSH | F_CONFIG_WCE | F_DISCARD | F_ZEROES | F_MQ)

static char path[64];

static int make_image(void **state)
{
	(void)state;
	snprintf(path, sizeof(path), "%s/hyve-blk-XXXXXX", getenv("TMPDIR") ?: "/tmp");
	int fd = mkstemp(path);

	if (fd < 0 || ftruncate(fd, SECTORS * 512) != 0)
		return 1;
	for (uint32_t i = 0; i < SECTORS; i++)
		if (pwrite(fd, &i, sizeof(i), i * 512) != sizeof(i))
			return 1;
	return close(fd);
}

static int remove_image(void **state)
{
	(void)state;
	return unlink(path);
}

static void create(struct driver *d, const char *const more[][2])
{
	const char *options[12][2] = {{"path", path}, {"format", "raw"}};

	for (unsigned i = 0; more && more[i][0]; i++) {
		options[2 + i][0] = more[i][0];
		options[2 + i][1] = more[i][1];
	}
	memset(d, 0, sizeof(*d));
	assert_int_equal(event_loop_create(&d->g.guest.loop), 0);
	driver_create(d, "virtio-blk", (const char *const(*)[2])options, 0);
}

static void setup(struct driver *d, uint64_t features, const char *const more[][2])
{
	create(d, more);
	driver_start(d, features);
}

static void destroy(struct driver *d)
{
	struct event_loop *loop = d->g.guest.loop;

	driver_destroy(d);
	event_loop_destroy(loop);
}

static void header(struct driver *d, uint32_t type, uint64_t sector)
{
	memcpy(driver_at(d, HEADER), &(uint32_t[2]){type, 0}, 8);
	memcpy((char *)driver_at(d, HEADER) + 8, &sector, 8);
	*(uint8_t *)driver_at(d, STATUS) = NO_ANSWER;
}

/* One request on a queue with `length` bytes at DATA; its status. */
static uint8_t ask_on(
	struct driver *d, unsigned queue, uint32_t type, uint64_t sector, uint32_t length)
{
	bool in = type == IN || type == GET_ID;
	const struct driver_piece pieces[] = {
		{HEADER, 16, false}, {DATA, length, in}, {STATUS, 1, true}};
	const struct driver_piece bare[] = {{HEADER, 16, false}, {STATUS, 1, true}};
	uint16_t id, got;
	uint32_t len;

	header(d, type, sector);
	id = length ? driver_add(d, queue, pieces, 3) : driver_add(d, queue, bare, 2);
	driver_kick(d, queue);
	assert_true(driver_await(d, queue, &got, &len));
	assert_int_equal(id, got);
	assert_int_equal(len, 1 + (in ? length : 0));
	return *(uint8_t *)driver_at(d, STATUS);
}

static uint8_t ask(struct driver *d, uint32_t type, uint64_t sector, uint32_t length)
{
	return ask_on(d, 0, type, sector, length);
}

static uint32_t first_word(uint32_t sector)
{
	uint32_t word = ~0u;
	int fd = open(path, O_RDONLY);

	assert_int_equal(pread(fd, &word, sizeof(word), sector * 512), sizeof(word));
	close(fd);
	return word;
}

static void reads_and_writes(void **state)
{
	static const uint64_t rings[] = {0, VIRTIO_F_RING_PACKED};
	static struct driver d;

	(void)state;
	for (unsigned r = 0; r < 2; r++) {
		setup(&d, F_ALL | rings[r], NULL);
		assert_int_equal(d.features & rings[r], rings[r]);
		for (uint32_t i = 0; i < 400; i++) {
			uint32_t sector = 100 + i * 7 % 3000, *data = driver_at(&d, DATA);

			assert_int_equal(ask(&d, IN, sector, 4096), OK);
			assert_int_equal(data[0], first_word(sector));
			assert_int_equal(data[128 * 7], first_word(sector + 7));
			data[0] = 0xabc00000 + i;
			assert_int_equal(ask(&d, OUT, sector, 512), OK);
			assert_int_equal(first_word(sector), 0xabc00000 + i);
		}
		assert_int_equal(ask(&d, FLUSH, 0, 0), OK);
		assert_true(driver_interrupts(&d, 0) > 0);
		assert_true(d.g.written >= 400 * 4096);
		destroy(&d);
	}
}

/* Pieces of any size (virtio 1.2, 2.7.4): header and status need not stand by themselves. */
static void any_layout(void **state)
{
	static struct driver d;
	static const struct driver_piece out[] = {{HEADER, 7, false}, {HEADER + 7, 9 + 100, false},
		{DATA, 412, false}, {STATUS, 1, true}};
	static const struct driver_piece in[] = {
		{HEADER, 16, false}, {DATA, 500, true}, {DATA + 0x1000, 13, true}};
	uint8_t *base;
	uint16_t id;
	uint32_t len;

	(void)state;
	setup(&d, F_ALL | VIRTIO_F_INDIRECT_DESC, NULL);
	base = driver_at(&d, HEADER);
	header(&d, OUT, 5);
	memset(base + 16, 0x77, 100);
	memset(driver_at(&d, DATA), 0x88, 412);
	driver_add(&d, 0, out, 4);
	driver_kick(&d, 0);
	assert_true(driver_await(&d, 0, &id, &len));
	assert_int_equal(base[0x100], OK);
	header(&d, IN, 5);
	memset(driver_at(&d, DATA), 0, 0x2000);
	driver_add_indirect(&d, 0, DATA + 0x4000, in, 3);
	driver_kick(&d, 0);
	assert_true(driver_await(&d, 0, &id, &len));
	assert_int_equal(len, 513);
	uint8_t *data = driver_at(&d, DATA);

	assert_true(data[0] == 0x77 && data[99] == 0x77 && data[100] == 0x88 && data[499] == 0x88);
	assert_true(data[0x1000] == 0x88 && data[0x100b] == 0x88 && data[0x100c] == OK);
	destroy(&d);
}

static void odd_requests_are_answered(void **state)
{
	static const struct {
		uint32_t type;
		uint64_t sector;
		uint32_t length;
		uint8_t status;
	} cases[] = {
		{IN, SECTORS - 1, 512, OK},
		{IN, SECTORS, 512, IOERR},
		{IN, SECTORS - 1, 1024, IOERR},
		{OUT, SECTORS - 1, 1024, IOERR},
		{IN, UINT64_MAX, 512, IOERR},
		{OUT, UINT64_MAX / 512, 512, IOERR},
		{OUT, UINT64_MAX / 512 + 1, 512, IOERR},
		{OUT, 1ull << 55, 512, IOERR},
		{IN, 0, 511, IOERR},
		{OUT, 0, 513, IOERR},
		{IN, 0, 0, OK},
		{OUT, SECTORS, 0, OK},
		{FLUSH, 77, 0, OK},
		{2, 0, 512, UNSUPP},
		{0x80000000, 0, 512, UNSUPP},
		{0xffffffff, 0, 0, UNSUPP},
		{DISCARD, 0, 15, IOERR},
		{DISCARD, 0, 0, IOERR},
		{ZEROES, 0, 17 * 16, IOERR},
	};
	static struct driver d;

	(void)state;
	setup(&d, F_ALL, NULL);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(
			ask(&d, cases[i].type, cases[i].sector, cases[i].length), cases[i].status);
	assert_int_equal(driver_status(&d) & NEEDS_RESET, 0);
	destroy(&d);
}

struct range {
	uint64_t sector;
	uint32_t sectors, flags;
};

static uint8_t ask_ranges(
	struct driver *d, uint32_t type, const struct range *ranges, unsigned count)
{
	memcpy(driver_at(d, DATA), ranges, count * sizeof(*ranges));
	return ask(d, type, 0, (uint32_t)(count * sizeof(*ranges)));
}

static void discard_and_zeroes(void **state)
{
	static struct driver d;
	struct range many[3] = {{4000, 8, 1}, {4100, 16, 0}, {4200, 1, 1}};

	(void)state;
	setup(&d, F_ALL, NULL);
	assert_true(d.features & F_ZEROES);
	assert_int_equal(ask_ranges(&d, ZEROES, many, 3), OK);
	assert_int_equal(first_word(3999), 3999);
	assert_int_equal(first_word(4000), 0);
	assert_int_equal(first_word(4007), 0);
	assert_int_equal(first_word(4008), 4008);
	assert_int_equal(first_word(4115), 0);
	assert_int_equal(first_word(4116), 4116);
	assert_int_equal(first_word(4200), 0);
	assert_int_equal(ask_ranges(&d, ZEROES, &(struct range){0, 1, 2}, 1), UNSUPP);
	assert_int_equal(ask_ranges(&d, ZEROES, &(struct range){SECTORS, 1, 0}, 1), IOERR);
	assert_int_equal(ask_ranges(&d, ZEROES, &(struct range){UINT64_MAX, 2, 0}, 1), IOERR);
	assert_int_equal(ask_ranges(&d, ZEROES, &(struct range){0, UINT32_MAX, 0}, 1), IOERR);
	assert_int_equal(ask_ranges(&d, DISCARD, &(struct range){0, 8, 1}, 1), UNSUPP);
	if (d.features & F_DISCARD) {
		assert_int_equal(ask_ranges(&d, DISCARD, &(struct range){4800, 64, 0}, 1), OK);
		assert_int_equal(first_word(4808), 0);
	}
	/* The second of two is bad: the first one is done all the same. */
	many[0] = (struct range){5000, 1, 0};
	many[1] = (struct range){SECTORS - 1, 2, 0};
	assert_int_equal(ask_ranges(&d, ZEROES, many, 2), IOERR);
	assert_int_equal(first_word(5000), 0);
	destroy(&d);
}

static void read_only(void **state)
{
	static const char *const ro[][2] = {{"ro", "true"}, {NULL, NULL}};
	static struct driver d;

	(void)state;
	setup(&d, ~0ull >> 40, ro);
	assert_true(driver_offered(&d) & F_RO);
	assert_false(driver_offered(&d) & (F_DISCARD | F_ZEROES));
	assert_int_equal(ask(&d, OUT, 3, 512), IOERR);
	assert_int_equal(ask_ranges(&d, DISCARD, &(struct range){0, 8, 0}, 1), IOERR);
	assert_int_equal(ask(&d, IN, 3, 512), OK);
	assert_int_equal(ask(&d, FLUSH, 0, 0), OK);
	destroy(&d);
}

static void what_it_says_of_itself(void **state)
{
	static const char *const options[][2] = {{"ser", "a-serial-number-that-is-too-long"},
		{"sectorsize", "512/4096"}, {"queues", "3"}, {NULL, NULL}};
	static struct driver d;
	uint8_t config[60];
	uint64_t capacity;

	(void)state;
	setup(&d, F_ALL, options);
	driver_config(&d, 0, config, sizeof(config));
	memcpy(&capacity, config, 8);
	assert_int_equal(capacity, SECTORS);
	assert_int_equal(config[12], 126);
	assert_int_equal(config[20] | config[21] << 8, 512);
	assert_int_equal(config[24], 3);
	assert_int_equal(config[32], 1);
	assert_int_equal(config[34], 3);
	assert_int_equal(config[40], 16);
	assert_int_equal(config[56], 1);
	assert_true(d.features & F_MQ);
	memset(driver_at(&d, DATA), 0x55, 64);
	assert_int_equal(ask(&d, GET_ID, 0, 20), OK);
	assert_memory_equal(driver_at(&d, DATA), "a-serial-number-that", 20);
	assert_int_equal(ask(&d, GET_ID, 0, 7), OK);
	for (unsigned queue = 0; queue < 3; queue++)
		assert_int_equal(ask_on(&d, queue, IN, 9, 512), OK);
	destroy(&d);
	setup(&d, F_ALL, NULL);
	assert_int_equal(ask(&d, GET_ID, 0, 20), OK);
	assert_memory_equal(driver_at(&d, DATA), "HYVE-", 5);
	destroy(&d);
}

/* The driver may switch the write cache off, only if it has said that it knows of it. */
static void write_cache(void **state)
{
	static struct driver d;
	uint8_t off = 0, now;

	(void)state;
	setup(&d, F_FLUSH | F_CONFIG_WCE, NULL);
	driver_config_write(&d, 32, &off, 1);
	driver_config(&d, 32, &now, 1);
	assert_int_equal(now, 0);
	assert_int_equal(ask(&d, OUT, 3, 512), OK);
	driver_reset(&d);
	driver_start(&d, F_FLUSH);
	driver_config_write(&d, 32, &off, 1);
	driver_config(&d, 32, &now, 1);
	assert_int_equal(now, 1);
	driver_reset(&d);
	driver_start(&d, 0);
	driver_config(&d, 32, &now, 1);
	assert_int_equal(now, 0);
	assert_int_equal(ask(&d, OUT, 3, 512), OK);
	destroy(&d);
}

/* Without header or status there is nothing to answer. */
static void hostile_buffers(void **state)
{
	static const struct driver_piece bad[][2] = {
		{{HEADER, 15, false}, {STATUS, 1, true}},
		{{HEADER, 16, false}, {DATA, 512, false}},
		{{DATA, 512, true}, {STATUS, 1, true}},
	};
	static struct driver d;

	(void)state;
	setup(&d, F_ALL, NULL);
	for (unsigned i = 0; i < 3; i++) {
		header(&d, OUT, 0);
		driver_add(&d, 0, bad[i], 2);
		driver_kick(&d, 0);
		assert_true(driver_status(&d) & NEEDS_RESET);
		driver_reset(&d);
		driver_start(&d, F_ALL);
		assert_int_equal(ask(&d, IN, 1, 512), OK);
	}
	destroy(&d);
}

/* A reset while much is under way: nothing is given back, nothing is written any more. */
static void reset_in_the_middle(void **state)
{
	static const char *const options[][2][2] = {
		{{"engine", "threads"}, {NULL, NULL}}, {{"iops", "20"}, {NULL, NULL}}};
	static struct driver d;

	(void)state;
	for (unsigned round = 0; round < 20; round++) {
		setup(&d, F_ALL, options[round % 2]);
		for (unsigned i = 0; i < 60; i++) {
			const struct driver_piece pieces[] = {{HEADER + 0x200 + 16 * i, 16, false},
				{DATA + 0x10000 + i * 0x8000, 0x8000, i % 2},
				{STATUS + i, 1, true}};
			uint32_t type = i % 2 ? IN : OUT;

			memset(driver_at(&d, pieces[0].gpa), 0, 16);
			memcpy(driver_at(&d, pieces[0].gpa), &type, 4);
			((uint8_t *)driver_at(&d, pieces[0].gpa))[8] = (uint8_t)i;
			driver_add(&d, 0, pieces, 3);
		}
		driver_kick(&d, 0);
		driver_reset(&d);
		memset(driver_at(&d, DATA), 0xcc, 0x200000);
		driver_start(&d, F_ALL);
		usleep(2000);
		for (unsigned i = 0; i < 0x200000; i++)
			assert_int_equal(((uint8_t *)driver_at(&d, DATA))[i], 0xcc);
		assert_int_equal(ask(&d, IN, 6000, 512), OK);
		destroy(&d);
	}
}

/* The user's mistakes end in a line that names them. */
static void bad_options(void **state)
{
	static const struct {
		const char *key, *value, *says;
	} cases[] = {
		{"queues", "0", "queues=0"},
		{"queues", "65", "queues=65"},
		{"queues", "2x", "queues=2x"},
		{"sectorsize", "500", "sectorsize=500"},
		{"format", "vmdk", "format=vmdk"},
		{"path", "/nonexistent/image", "/nonexistent/image: No such file"},
		{"path", "/dev/null", "neither a file nor a block device"},
	};
	static struct driver d;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *const options[][2] = {
			{cases[i].key, cases[i].value}, {"path", path}, {NULL, NULL}};

		memset(&d, 0, sizeof(d));
		assert_int_equal(event_loop_create(&d.g.guest.loop), 0);
		driver_create(&d, "virtio-blk", options,
			strcmp(cases[i].value, "/nonexistent/image") == 0 ? ENOENT
			: strcmp(cases[i].key, "path") == 0		  ? ENOTBLK
									  : EINVAL);
		assert_non_null(strstr(d.g.why, cases[i].says));
		event_loop_destroy(d.g.guest.loop);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_and_writes),
		cmocka_unit_test(any_layout),
		cmocka_unit_test(odd_requests_are_answered),
		cmocka_unit_test(discard_and_zeroes),
		cmocka_unit_test(read_only),
		cmocka_unit_test(what_it_says_of_itself),
		cmocka_unit_test(write_cache),
		cmocka_unit_test(hostile_buffers),
		cmocka_unit_test(reset_in_the_middle),
		cmocka_unit_test(bad_options),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, make_image, remove_image);
}
