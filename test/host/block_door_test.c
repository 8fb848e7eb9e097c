/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* What stands at the door of disks: settings, locks, limits, images that are refused, and why. */
#include "test/host/disk.h"

#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

static void settings_are_parsed(void **state)
{
	static const struct {
		const char *words, *says;
	} bad[] = {
		{"ro", "needs the path"},
		{"path=", "path="},
		{"path=x,nocache=maybe", "nocache=maybe"},
		{"path=x,sectorsize=511", "sectorsize=511"},
		{"path=x,sectorsize=4096/512", "sectorsize=4096/512"},
		{"path=x,sectorsize=512/4096/1", "sectorsize=512/4096/1"},
		{"path=x,sectorsize=131072", "sectorsize=131072"},
		{"path=x,format=vmdk", "format=vmdk"},
		{"path=x,engine=aio", "engine=aio"},
		{"path=x,onfull=stop", "onfull=stop"},
		{"path=x,iops=0", "iops=0"},
		{"path=x,bps=fast", "bps=fast"},
	};
	struct block_settings s;
	char why[256], words[256];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		strcpy(words, bad[i].words);
		assert_int_equal(disk_parse(&s, words, why, sizeof(why)), EINVAL);
		assert_non_null(strstr(why, bad[i].says));
	}
	strcpy(words, "path=x,nocache,direct=on,ro=no,nodelete=1,sectorsize=512/4096,format=auto,"
		      "engine=threads,onfull=pause,iops=100/7,bps=1M");
	assert_int_equal(disk_parse(&s, words, why, sizeof(why)), 0);
	assert_true(s.nocache && s.sync && !s.read_only && s.nodelete && s.pause_when_full);
	assert_true(s.logical == 512 && s.physical == 4096 && !s.format);
	assert_true(s.engine == BLOCK_ENGINE_THREADS && s.ops.burst == 7);
	assert_int_equal(s.bytes.per_second, 1 << 20);
}

static void expect(const char *words, int error, const char *says)
{
	char why[256] = "";
	struct disk disk;
	int got = disk_try(&disk, words, NULL, why);

	if (got != error || (error && !strstr(why, says)))
		printf("# %s: %d: %s\n", words, got, why);
	assert_int_equal(got, error);
	if (error)
		assert_non_null(strstr(why, says));
	else
		disk_close(&disk);
}

static void an_image_is_one_machines(void **state)
{
	static const char in_use[] = "is in use by another virtual machine";
	struct disk writer, reader;

	(void)state;
	must("truncate -s 1M base && qemu-img create -q -f qcow2 -b base -F raw top");
	disk_open(&writer, "path=top");
	expect("path=top", EBUSY, in_use);
	expect("path=top,ro", EBUSY, in_use);
	expect("path=base,format=raw", EBUSY, in_use);
	expect("path=base,format=raw,ro", 0, NULL);
	assert_int_not_equal(run("qemu-img check top"), 0);
	disk_close(&writer);
	disk_open(&reader, "path=top,ro");
	expect("path=top,ro", 0, NULL);
	expect("path=top", EBUSY, in_use);
	disk_close(&reader);
	expect("path=top", 0, NULL);
}

static void refused_with_a_reason(void **state)
{
	(void)state;
	must("truncate -s 0 empty && truncate -s 1M flat && mkdir folder && mkfifo fifo");
	expect("path=none", ENOENT, "none: No such file");
	expect("path=empty", EINVAL, "is empty");
	expect("path=folder", EISDIR, "Is a directory");
	expect("path=fifo", ENOTBLK, "neither a file nor a block device");
	expect("path=/dev/zero", ENOTBLK, "neither a file nor a block device");
	expect("path=flat,format=qcow2", EINVAL, "is not a qcow2 image");
	must("truncate -s 1000 odd");
	expect("path=odd,format=raw", 0, NULL);
	must("qemu-img create -q -f qcow2 -o extended_l2=on q 1M");
	expect("path=q", ENOTSUP, "extended L2");
	must("qemu-img create -q -f qcow2 -o data_file=d q 1M");
	expect("path=q", ENOTSUP, "in another file");
	must("qemu-img create -q -f qcow2 -b json:{} -F raw -u q 1M");
	expect("path=q", ENOTSUP, "backing file is not a file");
	must("qemu-img create -q -f qcow2 -b nowhere -F raw -u q 1M");
	expect("path=q", ENOENT, "nowhere: No such file");
	must("qemu-img create -q -f qcow2 -b flat -F vmdk -u q 1M");
	expect("path=q", ENOTSUP, "format \"vmdk\" is not known");
}

/* Chains that never end. */
static void chains_are_bounded(void **state)
{
	(void)state;
	must("qemu-img create -q -f qcow2 -b a -F qcow2 -u x 1M && mv x a");
	expect("path=a", ELOOP, "based on itself");
	must("qemu-img create -q -f qcow2 -b c -F qcow2 -u b 1M && "
	     "qemu-img create -q -f qcow2 -b b -F qcow2 -u c 1M");
	expect("path=b", ELOOP, "based on itself");
	must("truncate -s 1M c0 && for i in $(seq 1 70); do qemu-img create -q -f qcow2 -u "
	     "-b c$((i - 1)) -F $([ $i = 1 ] && echo raw || echo qcow2) c$i 1M; done");
	expect("path=c60", 0, NULL);
	expect("path=c70", ELOOP, "images in a chain");
}

/* One field of a good header after the other is spoiled. */
static void spoiled_headers(void **state)
{
	static const struct {
		unsigned at, size;
		uint64_t value;
		const char *says;
	} cases[] = {
		{4, 4, 4, "versions 2 and 3"},
		{4, 4, 1, "versions 2 and 3"},
		{20, 4, 8, "clusters"},
		{20, 4, 22, "clusters"},
		{20, 4, 0xffffffff, "clusters"},
		{24, 8, UINT64_MAX, "L1 table is too short"},
		{24, 8, 1ull << 61, "L1 table is too short"},
		{32, 4, 1, "encrypted"},
		{36, 4, 0xffffffff, "too large"},
		{36, 4, 0, "L1 table is too short"},
		{40, 8, 1, "outside of the file"},
		{40, 8, 1ull << 40, "outside of the file"},
		{40, 8, UINT64_MAX - 65535, "outside of the file"},
		{40, 8, 65536, "overlap"},
		{48, 8, 512, "outside of the file"},
		{48, 8, 1ull << 62, "outside of the file"},
		{56, 4, 0, "missing"},
		{56, 4, 0x10000, "too large"},
		{72, 8, 1ull << 63, "a feature"},
		{72, 8, 1, "was not closed"},
		{72, 8, 2, "marked as corrupt"},
		{96, 4, 7, "refcounts"},
		{100, 4, 100, "header"},
		{100, 4, 0x20000, "header"},
		{8, 8, 65534, "damaged"},
		{8, 8, 65530, "damaged"},
		{16, 4, 1024, "damaged"},
	};

	(void)state;
	must("truncate -s 1M flat && qemu-img create -q -f qcow2 -b flat -F raw good 1M");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t bytes[8];
		struct disk disk;
		char why[256] = "";

		must("cp good q");
		for (unsigned b = 0; b < cases[i].size; b++)
			bytes[b] = (uint8_t)(cases[i].value >> (8 * (cases[i].size - 1 - b)));
		int fd = open("q", O_WRONLY);

		assert_int_equal(pwrite(fd, bytes, cases[i].size, cases[i].at), cases[i].size);
		close(fd);
		if (disk_try(&disk, "path=q,format=qcow2", NULL, why) == 0 ||
			!strstr(why, cases[i].says))
			printf("# %u: %s\n", cases[i].at, why);
		assert_non_null(strstr(why, cases[i].says));
	}
	/* What was not closed can be read. */
	must("cp good q && printf '\\1' | dd of=q bs=1 seek=79 conv=notrunc");
	expect("path=q,ro", 0, NULL);
}

/* Tables that point at each other, at themselves and into nowhere: errors, and nothing else. */
static void spoiled_tables(void **state)
{
	uint8_t data[4096];
	unsigned errors = 0;

	(void)state;
	must("qemu-img create -q -f qcow2 good 64M && qemu-io -f qcow2 -c 'write -P 1 0 1M' good");
	for (unsigned round = 0; round < 200; round++) {
		struct disk disk;
		char why[256];
		uint64_t entry = 0x8000000000000000;
		unsigned at = 65536 * (1 + round % 4) + 8 * (round / 20);
		uint8_t bytes[8];

		entry |= (round * 2654435761u % 40) << 16 | (round % 7 == 0 ? 512 : 0);
		if (round % 5 == 0)
			entry = ~entry;
		for (unsigned b = 0; b < 8; b++)
			bytes[b] = (uint8_t)(entry >> (56 - 8 * b));
		must("cp good q");
		int fd = open("q", O_WRONLY);

		assert_int_equal(pwrite(fd, bytes, 8, at), 8);
		close(fd);
		if (disk_try(&disk, "path=q,engine=threads", NULL, why) != 0)
			continue;
		for (unsigned i = 0; i < 30; i++) {
			memset(data, 2, sizeof(data));
			errors += disk_do(&disk, i % 2 ? BLOCK_WRITE : BLOCK_READ,
					  i * 131072ull % (63 << 20), data, sizeof(data)) != 0;
		}
		errors += disk_do(&disk, BLOCK_DISCARD, 0, NULL, 1 << 20) != 0;
		errors += disk_do(&disk, BLOCK_FLUSH, 0, NULL, 0) != 0;
		disk_close(&disk);
	}
	assert_true(errors > 100);
}

static void requests_that_cannot_be(void **state)
{
	static const struct {
		enum block_op op;
		uint64_t offset, length;
		int error;
	} cases[] = {
		{BLOCK_READ, 1 << 20, 512, EINVAL},
		{BLOCK_READ, (1 << 20) - 512, 1024, EINVAL},
		{BLOCK_WRITE, UINT64_MAX - 511, 512, EINVAL},
		{BLOCK_WRITE, 1, 512, EINVAL},
		{BLOCK_WRITE_ZEROES, 0, UINT64_MAX - 511, EINVAL},
		{BLOCK_WRITE_ZEROES, 512, 513, EINVAL},
		{BLOCK_READ, 1 << 20, 0, 0},
		{BLOCK_DISCARD, 0, 512, EOPNOTSUPP},
	};
	uint8_t data[1024];
	struct disk disk;

	(void)state;
	must("truncate -s 1M flat");
	disk_open(&disk, "path=flat,format=raw,nodelete");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(disk_do(&disk, cases[i].op, cases[i].offset,
					 cases[i].op <= BLOCK_WRITE ? data : NULL, cases[i].length),
			cases[i].error);
	disk_close(&disk);
	disk_open(&disk, "path=flat,format=raw,ro");
	assert_int_equal(disk_do(&disk, BLOCK_WRITE, 0, data, 512), EROFS);
	assert_int_equal(disk_do(&disk, BLOCK_WRITE_ZEROES, 0, NULL, 512), EROFS);
	disk_close(&disk);
}

/* A guest must not turn a raw image into a qcow2 whose backing file is the host's. */
static void a_raw_image_stays_raw(void **state)
{
	uint8_t head[1024] = "QFI\xfb\0\0\0\3";
	struct disk disk;

	(void)state;
	must("truncate -s 1M flat");
	disk_open(&disk, "path=flat");
	assert_string_equal(disk.facts->format, "raw");
	assert_int_equal(disk_do(&disk, BLOCK_WRITE, 0, head, 1024), EIO);
	assert_int_equal(disk_do(&disk, BLOCK_WRITE, 512, head, 512), 0);
	head[0] = 'x';
	assert_int_equal(disk_do(&disk, BLOCK_WRITE, 0, head, 1024), 0);
	disk_close(&disk);
	head[0] = 'Q';
	disk_open(&disk, "path=flat,format=raw");
	assert_int_equal(disk_do(&disk, BLOCK_WRITE, 0, head, 1024), 0);
	disk_close(&disk);
	disk_open(&disk, "path=flat,format=raw");
	assert_string_equal(disk.facts->format, "raw");
	disk_close(&disk);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void a_limit_is_kept(void **state)
{
	struct block_stats stats;
	uint8_t data[8192];
	struct disk disk;

	(void)state;
	must("truncate -s 1M flat");
	disk_open(&disk, "path=flat,format=raw,iops=100/10");
	double start = now();

	for (unsigned i = 0; i < 60; i++)
		assert_int_equal(disk_do(&disk, BLOCK_READ, 0, data, 512), 0);
	assert_true(now() - start > 0.45);
	block_stats(disk.block, &stats);
	assert_in_range(stats.throttled, 30, 60);
	disk_close(&disk);
	disk_open(&disk, "path=flat,format=raw,bps=80K/8K");
	start = now();
	for (unsigned i = 0; i < 6; i++)
		assert_int_equal(disk_do(&disk, BLOCK_WRITE, 0, data, 8192), 0);
	assert_true(now() - start > 0.35);
	disk_close(&disk);
}

static _Thread_local unsigned slow_us; /* the next pwritev() of this thread takes so long */

ssize_t __real_pwritev(int fd, const struct iovec *iov, int niov, off_t offset);
ssize_t __wrap_pwritev(int fd, const struct iovec *iov, int niov, off_t offset);
ssize_t __wrap_pwritev(int fd, const struct iovec *iov, int niov, off_t offset)
{
	if (slow_us)
		usleep(slow_us);
	slow_us = 0;
	return __real_pwritev(fd, iov, niov, offset);
}

/* What goes through the host's cache is done by the caller, most of the time; what must not wait there is not. */
static void the_hosts_cache_is_used_at_once(void **state)
{
	static uint8_t data[512 << 10];
	struct block_stats stats;
	struct disk disk;

	(void)state;
	must("truncate -s 1M flat");
	disk_open(&disk, "path=flat,format=raw");
	for (unsigned i = 0; i < 100; i++) {
		memset(data, (int)i, 4096);
		assert_int_equal(disk_do(&disk, BLOCK_WRITE, 4096 * i, data, 4096), 0);
	}
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(disk_do(&disk, BLOCK_READ, 4096 * i, data, 4096), 0);
		assert_true(data[0] == i && data[4095] == i);
	}
	block_stats(disk.block, &stats);
	assert_in_range(stats.inline_writes, 1, 100); /* a slow one stops it for a while */
	uint64_t before = stats.inline_writes;

	assert_int_equal(disk_do(&disk, BLOCK_WRITE, 0, data, sizeof(data)), 0);
	block_stats(disk.block, &stats);
	assert_int_equal(stats.inline_writes, before);
	assert_int_equal(stats.op[BLOCK_WRITE].errors, 0);
	/* Not again soon after one that was slow: 64 times 50 ms. */
	slow_us = 50000;
	while (slow_us)
		assert_int_equal(disk_do(&disk, BLOCK_WRITE, 0, data, 4096), 0);
	block_stats(disk.block, &stats);
	before = stats.inline_writes;
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(disk_do(&disk, BLOCK_WRITE, 4096 * i, data, 4096), 0);
	block_stats(disk.block, &stats);
	assert_int_equal(stats.inline_writes, before);
	disk_close(&disk);
	disk_open(&disk, "path=flat,format=raw,direct");
	assert_int_equal(disk_do(&disk, BLOCK_WRITE, 0, data, 4096), 0);
	block_stats(disk.block, &stats);
	assert_int_equal(stats.inline_writes, 0);
	disk_close(&disk);
}

static void many_done(struct block_request *request, int error)
{
	assert_int_equal(error, 0);
	(*(_Atomic int **)(request + 1))[0]++;
}

/* Draining ends what a limit holds back, and a list may be as long as one likes. */
static void draining_ends_everything(void **state)
{
	enum { N = 2000 };
	static struct {
		struct block_request request;
		_Atomic int *count;
	} many[N];
	static uint8_t data[N][512];
	static struct iovec iov[N];
	static const char *const words[] = {"path=flat,format=raw", "path=flat,format=raw,iops=5",
		"path=flat,format=raw,engine=threads", "path=flat,format=raw,nocache"};

	(void)state;
	must("truncate -s 1M flat");
	for (unsigned w = 0; w < 4; w++) {
		_Atomic int count = 0;
		struct block_stats stats;
		struct disk disk;

		disk_open(&disk, words[w]);
		for (unsigned i = 0; i < N; i++) {
			iov[i] = (struct iovec){data[i], 512};
			many[i].count = &count;
			many[i].request = (struct block_request){.op = i % 2,
				.offset = i * 512 % (1 << 20),
				.length = 512,
				.iov = &iov[i],
				.niov = 1,
				.done = many_done,
				.next = i + 1 < N ? &many[i + 1].request : NULL};
		}
		block_submit(disk.block, &many[0].request);
		block_drain(disk.block);
		assert_int_equal(count, N);
		block_stats(disk.block, &stats);
		assert_int_equal(stats.in_flight, 0);
		assert_int_equal(stats.op[BLOCK_READ].count + stats.op[BLOCK_WRITE].count, N);
		disk_close(&disk);
	}
}

static void facts(void **state)
{
	struct disk disk;

	(void)state;
	must("truncate -s 1049088 flat && qemu-img create -q -f qcow2 q 3G");
	disk_open(&disk, "path=flat,format=raw,sectorsize=4096");
	assert_int_equal(disk.facts->size, 1 << 20);
	assert_int_equal(disk.facts->logical, 4096);
	assert_true(disk.facts->can_discard);
	disk_close(&disk);
	disk_open(&disk, "path=q,engine=threads,ro");
	assert_int_equal(disk.facts->size, 3ull << 30);
	assert_true(disk.facts->read_only && !disk.facts->can_discard);
	assert_int_equal(disk.facts->granularity, 65536);
	assert_string_equal(disk.facts->engine, "threads");
	assert_int_equal(strlen(disk.facts->serial), 19);
	disk_close(&disk);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(settings_are_parsed),
		cmocka_unit_test(an_image_is_one_machines),
		cmocka_unit_test(refused_with_a_reason),
		cmocka_unit_test(chains_are_bounded),
		cmocka_unit_test(spoiled_headers),
		cmocka_unit_test(spoiled_tables),
		cmocka_unit_test(requests_that_cannot_be),
		cmocka_unit_test(a_raw_image_stays_raw),
		cmocka_unit_test(a_limit_is_kept),
		cmocka_unit_test(the_hosts_cache_is_used_at_once),
		cmocka_unit_test(draining_ends_everything),
		cmocka_unit_test(facts),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, disk_folder_make, disk_folder_remove);
}
