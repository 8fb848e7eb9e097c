/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The host loses its power, or hyve is killed, at every moment: what reached the file is logged,
 * and images are made of each beginning of that log, where of the writes after the last sync any
 * part, in sectors, may be missing.  qemu-img finds at most leaks in each, and what the guest has
 * flushed is there.  Also: calls that fail.
 */
#include "test/host/disk.h"

#include <pthread.h>
#include <sys/stat.h>

enum kind { WRITE, SYNC, PUNCH, MARK };

struct event {
	enum kind kind;
	uint64_t offset, length;
	uint8_t *data;
};

struct journal {
	struct block_io io; /* first */
	pthread_mutex_t lock;
	struct event *events;
	size_t count;
	/* Faults: the n-th call from now fails with `error`, and the `more` after it. */
	unsigned fail_after, more;
	int error;
	enum kind fail_kind;
	bool tear; /* reads and writes do less than they are asked for */
	uint64_t random;
};

static void note(struct journal *j, struct event event)
{
	pthread_mutex_lock(&j->lock);
	if (j->count % 1024 == 0) {
		j->events = realloc(j->events, (j->count + 1024) * sizeof(event));
		assert_non_null(j->events);
	}
	j->events[j->count++] = event;
	pthread_mutex_unlock(&j->lock);
}

/* Whether this call shall fail. */
static bool fails(struct journal *j, enum kind kind)
{
	bool fail = false;

	pthread_mutex_lock(&j->lock);
	if (j->error && kind == j->fail_kind) {
		if (j->fail_after > 0) {
			j->fail_after--;
		} else if (j->more > 0) {
			j->more--;
			fail = true;
		}
	}
	pthread_mutex_unlock(&j->lock);
	if (fail)
		errno = j->error;
	return fail;
}

/* The first bytes of a list, as one piece. */
static size_t torn(struct journal *j, const struct iovec *iov)
{
	size_t size = iov[0].iov_len;

	pthread_mutex_lock(&j->lock);
	j->random = j->random * 6364136223846793005 + 1;
	size = 1 + (j->random >> 33) % size;
	pthread_mutex_unlock(&j->lock);
	return size;
}

static ssize_t log_preadv(void *arg, int fd, const struct iovec *iov, int niov, uint64_t offset)
{
	struct journal *j = arg;

	if (fails(j, MARK))
		return -1;
	if (j->tear && iov[0].iov_len > 0)
		return pread(fd, iov[0].iov_base, torn(j, iov), (off_t)offset);
	return preadv(fd, iov, niov, (off_t)offset);
}

static ssize_t log_pwritev(void *arg, int fd, const struct iovec *iov, int niov, uint64_t offset)
{
	struct journal *j = arg;
	ssize_t r;

	if (fails(j, WRITE))
		return -1;
	if (j->tear && iov[0].iov_len > 0)
		r = pwrite(fd, iov[0].iov_base, torn(j, iov), (off_t)offset);
	else
		r = pwritev(fd, iov, niov, (off_t)offset);
	if (r > 0) {
		struct event event = {WRITE, offset, (uint64_t)r, malloc((size_t)r)};
		size_t at = 0;

		for (int i = 0; i < niov && at < (size_t)r; i++) {
			size_t part = iov[i].iov_len;

			if (part > (size_t)r - at)
				part = (size_t)r - at;
			memcpy(event.data + at, iov[i].iov_base, part);
			at += part;
		}
		note(j, event);
	}
	return r;
}

static int log_sync(void *arg, int fd)
{
	struct journal *j = arg;
	size_t before = j->count;

	if (fails(j, SYNC))
		return -1;
	(void)fd;
	/* What was written before it began is on the medium when it ends. */
	note(j, (struct event){SYNC, before, 0, NULL});
	return 0;
}

static int log_allocate(void *arg, int fd, int mode, uint64_t offset, uint64_t length)
{
	struct journal *j = arg;

	if (fails(j, PUNCH))
		return -1;
	note(j, (struct event){PUNCH, offset, length, NULL});
	return fallocate(fd, mode, (off_t)offset, (off_t)length);
}

static struct journal *journal_new(void)
{
	struct journal *j = calloc(1, sizeof(*j));

	assert_non_null(j);
	pthread_mutex_init(&j->lock, NULL);
	j->io = (struct block_io){log_preadv, log_pwritev, log_sync, log_allocate, j};
	j->random = 12345;
	return j;
}

static void journal_free(struct journal *j)
{
	for (size_t i = 0; i < j->count; i++)
		free(j->events[i].data);
	free(j->events);
	free(j);
}

/* ---- after a crash ---- */

static void apply(int fd, const struct event *event, uint64_t keep, uint64_t random)
{
	if (event->kind == PUNCH && (keep == UINT64_MAX || random % 2))
		(void)!fallocate(fd, 3, (off_t)event->offset, (off_t)event->length);
	if (event->kind != WRITE)
		return;
	for (uint64_t at = 0; at < event->length;) {
		uint64_t to = ((event->offset + at) | 511) + 1 - event->offset;

		if (to > event->length)
			to = event->length;
		random = random * 6364136223846793005 + 1442695040888963407;
		if (keep == UINT64_MAX || random >> 33 < keep)
			assert_int_equal(
				pwrite(fd, event->data + at, to - at, (off_t)(event->offset + at)),
				to - at);
		at = to;
	}
}

/*
 * The file as it is when the first `cut` events have been made, of which those before the last sync
 * are safe; of the others the sectors survive by chance.
 */
static void make_crashed(const struct journal *j, size_t cut, uint64_t keep, uint64_t random)
{
	size_t safe = 0;

	must("cp --sparse=always before crashed");
	int fd = open("crashed", O_RDWR);

	assert_true(fd >= 0);
	for (size_t i = 0; i < cut; i++)
		if (j->events[i].kind == SYNC)
			safe = j->events[i].offset;
	for (size_t i = 0; i < cut; i++)
		apply(fd, &j->events[i], i < safe ? UINT64_MAX : keep, random + i * 77);
	close(fd);
}

/* qemu-img's 0, or 3: leaks alone. */
static void check_crashed(size_t cut, const char *how)
{
	int r = run("qemu-img check crashed");

	if (r != 0 && WEXITSTATUS(r) != 3) {
		printf("# cut at %zu, %s\n", cut, how);
		(void)!system("sed 's/^/# /' log");
	}
	assert_true(r == 0 || WEXITSTATUS(r) == 3);
}

/*
 * The guest numbers what it writes: record n in sector 8n, then a flush, then a mark in the journal
 * that says how many are safe.
 */
enum { RECORDS = 60, SPREAD = 150 * 1024 };

static uint64_t record_at(const struct disk *disk, unsigned n)
{
	return (n * (uint64_t)SPREAD * 7 % (disk->size - 1200 * 512)) & ~511ull;
}

static void write_records(struct disk *disk, struct journal *j)
{
	uint64_t record[64];
	uint8_t *junk = calloc(1, 200000);

	for (unsigned n = 0; n < RECORDS; n++) {
		for (unsigned i = 0; i < 64; i++)
			record[i] = n * 1000 + i + 1;
		assert_int_equal(disk_do(disk, BLOCK_WRITE, record_at(disk, n), record, 512), 0);
		/* And something else, which no record is in. */
		if (n % 3 == 0)
			disk_do(disk, BLOCK_WRITE, disk->size - 1200 * 512 + n * 512, junk,
				512 * (1 + n));
		if (n % 5 == 0)
			disk_do(disk, BLOCK_DISCARD, disk->size - 1200 * 512, NULL, 600 * 512);
		if (n % 7 == 0)
			disk_do(disk, BLOCK_WRITE_ZEROES, disk->size - 900 * 512, NULL, 300 * 512);
		assert_int_equal(disk_do(disk, BLOCK_FLUSH, 0, NULL, 0), 0);
		note(j, (struct event){MARK, 0, n + 1, NULL});
	}
	free(junk);
}

static void check_records(const struct journal *j, size_t cut)
{
	struct disk disk;
	uint64_t safe = 0, record[64];

	for (size_t i = 0; i < cut; i++)
		if (j->events[i].kind == MARK)
			safe = j->events[i].length;
	disk_open(&disk, "path=crashed,format=qcow2,ro");
	for (unsigned n = 0; n < safe; n++) {
		assert_int_equal(disk_do(&disk, BLOCK_READ, record_at(&disk, n), record, 512), 0);
		for (unsigned i = 0; i < 64; i++)
			assert_int_equal(record[i], n * 1000 + i + 1);
	}
	disk_close(&disk);
}

/* CRASH_N: about how many moments for each image. */
static size_t moments(void)
{
	const char *n = getenv("CRASH_N");

	return n ? (size_t)atoi(n) : 60;
}

static void crash_everywhere(const char *words)
{
	static const struct {
		const char *name;
		uint64_t keep;
	} ways[] = {{"all written", UINT64_MAX}, {"nothing after the sync", 0},
		{"half of it", 1ull << 30}, {"most of it", 3ull << 29}};
	struct journal *j = journal_new();
	struct disk disk;

	must("cp --sparse=always image before");
	disk_open_io(&disk, words, &j->io);
	write_records(&disk, j);
	disk_close(&disk);
	assert_true(j->count > 100);
	size_t step = j->count / moments() + 1;

	for (size_t cut = 0; cut <= j->count; cut += step) {
		const int way = (int)(cut / step % 4);

		make_crashed(j, cut, ways[way].keep, cut);
		check_crashed(cut, ways[way].name);
		check_records(j, cut);
	}
	journal_free(j);
	must("qemu-img check -q image");
}

static void a_crash_leaves_the_image_right(void **state)
{
	(void)state;
	must("qemu-img create -q -f qcow2 image 8M");
	crash_everywhere("path=image,format=qcow2");
	must("qemu-img create -q -f qcow2 -o cluster_size=512,refcount_bits=64 image 8M");
	crash_everywhere("path=image,format=qcow2");
}

static void a_crash_with_a_snapshot(void **state)
{
	(void)state;
	must("qemu-img create -q -f qcow2 -o cluster_size=4096 image 8M && "
	     "qemu-io -f qcow2 -c 'write -P 3 0 8M' image && qemu-img snapshot -c one image");
	crash_everywhere("path=image,format=qcow2");
}

static void a_crash_above_a_backing_file(void **state)
{
	(void)state;
	must("seq 1 1200000 > base && truncate -s 8M base && "
	     "qemu-img create -q -f qcow2 -b base -F raw image");
	crash_everywhere("path=image,format=qcow2");
	must("qemu-img convert -q -c -O qcow2 base image");
	crash_everywhere("path=image,format=qcow2");
}

/* ---- calls that fail ---- */

static void hammer(struct disk *disk, unsigned n)
{
	uint8_t *data = calloc(1, 100000);

	for (unsigned i = 0; i < n; i++) {
		uint64_t offset = disk_random(disk) % (disk->size - 100000) & ~511ull;
		uint64_t length = 512 * (1 + disk_random(disk) % 190);
		enum block_op op = disk_random(disk) % BLOCK_OPS;

		memset(data, (int)i, length);
		if (op == BLOCK_FLUSH)
			disk_do(disk, op, 0, NULL, 0);
		else
			disk_do(disk, op, offset,
				op == BLOCK_READ || op == BLOCK_WRITE ? data : NULL, length);
	}
	free(data);
}

/* Whatever fails, and when: requests end, and the image stays right. */
static void no_failure_breaks_the_image(void **state)
{
	static const int errors[] = {EIO, ENOSPC};
	static const enum kind kinds[] = {WRITE, SYNC, PUNCH, MARK};
	unsigned failed = 0;

	(void)state;
	must("qemu-img create -q -f qcow2 -o cluster_size=4096 fresh 8M && "
	     "qemu-io -f qcow2 -c 'write -P 3 0 4M' fresh && qemu-img snapshot -c one fresh");
	for (unsigned round = 0; round < 96; round++) {
		struct journal *j = journal_new();
		struct block_stats stats;
		struct disk disk;

		must("cp fresh image");
		disk_open_io(&disk, "path=image,format=qcow2,engine=threads", &j->io);
		disk.random += round;
		j->fail_kind = kinds[round / 2 % 4];
		j->fail_after = round * round % 150;
		j->more = 1 + round % 3 * 10;
		j->error = errors[round % 2];
		hammer(&disk, 120);
		block_stats(disk.block, &stats);
		for (int op = 0; op < BLOCK_OPS; op++)
			failed += stats.op[op].errors > 0;
		disk_close(&disk);
		int r = run("qemu-img check image");

		if (r != 0 && WEXITSTATUS(r) != 3)
			printf("# round %u: check says %d\n", round, WEXITSTATUS(r));
		assert_true(r == 0 || WEXITSTATUS(r) == 3);
		journal_free(j);
	}
	assert_true(failed > 20);
}

/* A host that always does less than it is asked for. */
static void short_transfers_are_completed(void **state)
{
	static const char *const words[] = {
		"path=image,format=qcow2", "path=flat,format=raw,engine=threads"};

	(void)state;
	must("qemu-img create -q -f qcow2 -o cluster_size=4096 image 4M && truncate -s 4M flat");
	for (unsigned i = 0; i < 2; i++) {
		struct journal *j = journal_new();
		struct disk disk;

		j->tear = true;
		disk_open_io(&disk, words[i], &j->io);
		disk_model(&disk);
		for (unsigned n = 0; n < 200; n++)
			disk_step(&disk, 32 << 10);
		disk_compare(&disk);
		disk_close(&disk);
		if (i == 0)
			disk_check(&disk, "image");
		free(disk.model);
		journal_free(j);
	}
}

/* With onfull=pause nothing is lost: writes wait until there is space. */
static void a_full_host_is_waited_for(void **state)
{
	static const char *const words[] = {
		"path=image,format=qcow2,onfull=pause", "path=flat,format=raw,onfull=pause"};

	(void)state;
	must("qemu-img create -q -f qcow2 image 4M && truncate -s 4M flat");
	for (unsigned i = 0; i < 2; i++) {
		struct journal *j = journal_new();
		struct block_stats stats;
		struct disk disk;

		disk_open_io(&disk, words[i], &j->io);
		disk_model(&disk);
		j->fail_kind = WRITE;
		j->more = 2;
		j->error = ENOSPC;
		memset(disk.model, 9, 1 << 20);
		assert_int_equal(disk_do(&disk, BLOCK_WRITE, 0, disk.model, 1 << 20), 0);
		disk_compare(&disk);
		block_stats(disk.block, &stats);
		assert_int_equal(stats.full, 1);
		assert_int_equal(stats.op[BLOCK_WRITE].errors, 0);
		disk_close(&disk);
		free(disk.model);
		journal_free(j);
	}
	must("qemu-img check -q image");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_crash_leaves_the_image_right),
		cmocka_unit_test(a_crash_with_a_snapshot),
		cmocka_unit_test(a_crash_above_a_backing_file),
		cmocka_unit_test(no_failure_breaks_the_image),
		cmocka_unit_test(short_transfers_are_completed),
		cmocka_unit_test(a_full_host_is_waited_for),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, disk_folder_make, disk_folder_remove);
}
