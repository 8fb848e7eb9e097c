/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "test/host/disk.h"

#include <pthread.h>

enum { PIECES = 5 };

int disk_folder_make(void **state)
{
	static char folder[64];

	snprintf(folder, sizeof(folder), "%s/hyve-block-XXXXXX", getenv("TMPDIR") ?: "/tmp");
	*state = mkdtemp(folder);
	return *state && chdir(*state) == 0 ? 0 : 1;
}

int disk_folder_remove(void **state)
{
	return chdir("/") != 0 || run("rm -rf %s", (char *)*state);
}

static int run_list(const char *format, va_list list)
{
	char words[2048], command[sizeof(words) + 32];
	int n = vsnprintf(words, sizeof(words), format, list);

	assert_in_range(n, 1, sizeof(words) - 1);
	snprintf(command, sizeof(command), "{ %s; } >log 2>&1", words);
	return system(command);
}

int run(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	int r = run_list(format, list);

	va_end(list);
	return r;
}

void must(const char *format, ...)
{
	va_list list;

	va_start(list, format);
	int r = run_list(format, list);

	va_end(list);
	if (r != 0)
		(void)!system("echo '# a command failed:'; sed 's/^/# /' log");
	assert_int_equal(r, 0);
}

struct words {
	char *key[16], *value[16];
	int count;
};

static const char *option(const void *config, const char *key)
{
	const struct words *words = config;

	for (int i = 0; i < words->count; i++)
		if (strcmp(words->key[i], key) == 0)
			return words->value[i];
	return NULL;
}

int disk_parse(struct block_settings *settings, char *text, char *why, size_t size)
{
	struct words words = {.count = 0};

	for (char *save, *word = strtok_r(text, ",", &save); word;
		word = strtok_r(NULL, ",", &save)) {
		char *equals = strchr(word, '=');

		words.key[words.count] = word;
		words.value[words.count++] = equals ? equals + 1 : "";
		if (equals)
			*equals = '\0';
	}
	return block_settings_parse(settings, option, &words, why, size);
}

int disk_try(struct disk *disk, const char *words, const struct block_io *io, char *why)
{
	struct block_settings settings;
	char text[512];
	int error;

	snprintf(text, sizeof(text), "%s", words);
	*disk = (struct disk){.random = 0x9e3779b97f4a7c15};
	error = disk_parse(&settings, text, why, 256);
	if (error)
		return error;
	settings.io = io;
	assert_int_equal(event_loop_create(&disk->loop), 0);
	error = block_open(disk->loop, &settings, &disk->block, why, 256);
	if (error)
		event_loop_destroy(disk->loop);
	else
		disk->facts = block_facts(disk->block);
	if (!error)
		disk->size = disk->facts->size;
	return error;
}

void disk_open_io(struct disk *disk, const char *words, const struct block_io *io)
{
	char why[256] = "";
	int error = disk_try(disk, words, io, why);

	if (error)
		printf("# %s: %s\n", words, why);
	assert_int_equal(error, 0);
}

void disk_open(struct disk *disk, const char *words)
{
	disk_open_io(disk, words, NULL);
}

void disk_close(struct disk *disk)
{
	block_close(disk->block);
	event_loop_destroy(disk->loop);
	disk->block = NULL;
}

struct waiter {
	struct block_request request; /* first */
	pthread_mutex_t lock;
	pthread_cond_t done;
	bool is_done;
	int error;
};

static void wake(struct block_request *request, int error)
{
	struct waiter *waiter = (struct waiter *)request;

	pthread_mutex_lock(&waiter->lock);
	assert_false(waiter->is_done);
	waiter->is_done = true;
	waiter->error = error;
	pthread_cond_signal(&waiter->done);
	pthread_mutex_unlock(&waiter->lock);
}

/* Data in pieces of odd sizes. */
static int cut(struct iovec *iov, uint8_t *data, uint64_t length)
{
	int n = 0;

	for (uint64_t piece = 300; length > 0; piece = piece * 3 + 1, n++) {
		if (piece > length || n == PIECES - 1)
			piece = length;
		iov[n] = (struct iovec){data, piece};
		data += piece;
		length -= piece;
	}
	return n;
}

int disk_do(struct disk *disk, enum block_op op, uint64_t offset, void *data, uint64_t length)
{
	struct iovec iov[PIECES];
	struct waiter waiter = {
		.request =
			{
				.op = op,
				.offset = offset,
				.length = length,
				.iov = iov,
				.niov = data ? cut(iov, data, length) : 0,
				.done = wake,
			},
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.done = PTHREAD_COND_INITIALIZER,
	};

	block_submit(disk->block, &waiter.request);
	pthread_mutex_lock(&waiter.lock);
	while (!waiter.is_done)
		pthread_cond_wait(&waiter.done, &waiter.lock);
	pthread_mutex_unlock(&waiter.lock);
	return waiter.error;
}

void disk_model(struct disk *disk)
{
	disk->model = malloc(disk->facts->size);
	assert_int_equal(disk_do(disk, BLOCK_READ, 0, disk->model, disk->facts->size), 0);
}

uint64_t disk_random(struct disk *disk)
{
	disk->random ^= disk->random << 13;
	disk->random ^= disk->random >> 7;
	disk->random ^= disk->random << 17;
	return disk->random >> 8;
}

static void step_write(struct disk *disk, uint64_t offset, uint64_t length)
{
	uint64_t value = disk_random(disk);

	for (uint64_t i = 0; i < length; i += 8)
		memcpy(disk->model + offset + i, &(uint64_t){value + i}, 8);
	assert_int_equal(disk_do(disk, BLOCK_WRITE, offset, disk->model + offset, length), 0);
}

static void step_read(struct disk *disk, uint64_t offset, uint64_t length)
{
	uint8_t *data = malloc(length);

	memset(data, 0xee, length);
	assert_int_equal(disk_do(disk, BLOCK_READ, offset, data, length), 0);
	assert_memory_equal(data, disk->model + offset, length);
	free(data);
}

/* Each sector is as it was, or zeros. */
static void step_discard(struct disk *disk, uint64_t offset, uint64_t length)
{
	uint8_t *data = malloc(length);
	static const uint8_t zeros[512];

	assert_int_equal(disk_do(disk, BLOCK_DISCARD, offset, NULL, length), 0);
	assert_int_equal(disk_do(disk, BLOCK_READ, offset, data, length), 0);
	for (uint64_t i = 0; i < length; i += 512)
		if (memcmp(data + i, zeros, 512) != 0)
			assert_memory_equal(data + i, disk->model + offset + i, 512);
	memcpy(disk->model + offset, data, length);
	free(data);
}

void disk_step(struct disk *disk, uint64_t max)
{
	uint64_t unit = disk->facts->logical, units = disk->facts->size / unit;
	uint64_t what = disk_random(disk) % 20, length = 1 + disk_random(disk) % (max / unit);
	uint64_t offset = disk_random(disk) % units;

	/* Half of them in one corner, so that they meet. */
	if (disk_random(disk) % 2)
		offset %= 16 * (max / unit);
	if (length > units - offset)
		length = units - offset;
	offset *= unit;
	length *= unit;
	if (what < 9) {
		step_write(disk, offset, length);
	} else if (what < 15) {
		step_read(disk, offset, length);
	} else if (what < 17) {
		memset(disk->model + offset, 0, length);
		assert_int_equal(disk_do(disk, BLOCK_WRITE_ZEROES, offset, NULL, length), 0);
	} else if (what < 19 && disk->facts->can_discard) {
		step_discard(disk, offset, length);
	} else {
		assert_int_equal(disk_do(disk, BLOCK_FLUSH, 0, NULL, 0), 0);
	}
}

void disk_compare(struct disk *disk)
{
	step_read(disk, 0, disk->facts->size);
}

void disk_check(struct disk *disk, const char *path)
{
	FILE *f = fopen("model.raw", "w");

	assert_non_null(f);
	assert_int_equal(fwrite(disk->model, 1, disk->size, f), disk->size);
	fclose(f);
	must("qemu-img check -q %s", path);
	must("qemu-img compare -f raw -F qcow2 model.raw %s", path);
}
