/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Requests from several threads at once, in the same clusters. */
#include "test/host/disk.h"

#include <pthread.h>

/*
 * Each owns a quarter of every cluster, 4 KiB at a time, and nobody else touches it: so clusters
 * are given a place, discarded and used again under the others' hands.
 */
enum { WORKERS = 4, UNIT = 4096, SHARED_SIZE = 6 << 20, STEPS = 500 };

struct worker {
	struct disk disk; /* of its own: the random numbers and the model */
	unsigned number;
	pthread_t thread;
};

static void worker_step(struct worker *w)
{
	uint64_t units = SHARED_SIZE / UNIT / WORKERS, what = disk_random(&w->disk) % 16;
	uint64_t offset = (disk_random(&w->disk) % units * WORKERS + w->number) * UNIT;
	uint8_t *model = w->disk.model + offset, data[UNIT];

	if (what < 7) {
		memset(model, (int)disk_random(&w->disk), UNIT);
		assert_int_equal(disk_do(&w->disk, BLOCK_WRITE, offset, model, UNIT), 0);
	} else if (what < 11) {
		assert_int_equal(disk_do(&w->disk, BLOCK_READ, offset, data, UNIT), 0);
		assert_memory_equal(data, model, UNIT);
	} else if (what < 13) {
		memset(model, 0, UNIT);
		assert_int_equal(disk_do(&w->disk, BLOCK_WRITE_ZEROES, offset, NULL, UNIT), 0);
	} else if (what == 13 && w->number == 0) {
		/* Behind what is shared, whole clusters for the discards. */
		offset = SHARED_SIZE + (disk_random(&w->disk) % 16 << 16);
		assert_int_equal(disk_do(&w->disk, BLOCK_WRITE, offset, data, UNIT), 0);
		assert_int_equal(disk_do(&w->disk, BLOCK_DISCARD, offset, NULL, 1 << 16), 0);
	} else if (what == 14) {
		assert_int_equal(disk_do(&w->disk, BLOCK_FLUSH, 0, NULL, 0), 0);
	}
}

static void *worker_main(void *arg)
{
	for (unsigned i = 0; i < STEPS; i++)
		worker_step(arg);
	return NULL;
}

static void work_together(const char *words)
{
	static struct worker workers[WORKERS];
	struct disk disk;

	disk_open(&disk, words);
	disk_model(&disk);
	for (unsigned i = 0; i < WORKERS; i++) {
		workers[i] = (struct worker){.disk = disk, .number = i};
		workers[i].disk.random += i * 1000003;
		assert_int_equal(
			pthread_create(&workers[i].thread, NULL, worker_main, &workers[i]), 0);
	}
	for (unsigned i = 0; i < WORKERS; i++)
		pthread_join(workers[i].thread, NULL);
	/* The rest was nobody's. */
	assert_int_equal(disk_do(&disk, BLOCK_READ, SHARED_SIZE, disk.model + SHARED_SIZE,
				 disk.size - SHARED_SIZE),
		0);
	disk_compare(&disk);
	disk_close(&disk);
	if (strstr(words, "qcow2"))
		disk_check(&disk, "q");
	free(disk.model);
}

static void threads_share_clusters(void **state)
{
	(void)state;
	must("truncate -s 8M raw");
	work_together("path=raw,format=raw,nocache,sectorsize=512");
	for (unsigned i = 0; i < 4; i++) {
		must("rm -f q && qemu-img create -q -f qcow2 -o cluster_size=%s q 8M",
			i % 2 ? "16k" : "64k");
		work_together(i < 2 ? "path=q,format=qcow2" : "path=q,format=qcow2,engine=threads");
		/* Once more, on top of a snapshot. */
		must("qemu-img snapshot -c s q && qemu-img convert -l s -O raw q s.raw");
		work_together("path=q,format=qcow2");
		must("qemu-img convert -l s -O raw q t.raw && cmp s.raw t.raw");
	}
	must("head -c 8M /dev/urandom > src && qemu-img convert -c -O qcow2 src q");
	work_together("path=q,format=qcow2");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_share_clusters),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, disk_folder_make, disk_folder_remove);
}
