/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Images of each kind under random requests, held against a model and against qemu-img. */
#include "test/host/disk.h"

/* BLOCK_N: how many requests for each image. */
static unsigned rounds(void)
{
	const char *n = getenv("BLOCK_N");

	return n ? (unsigned)atoi(n) : 250;
}

/* Random requests; what is there afterwards, also for qemu-img and for the next start. */
static void exercise(const char *path, const char *words, uint64_t max)
{
	struct disk disk, again;
	char text[512];

	snprintf(text, sizeof(text), "path=%s,%s", path, words);
	disk_open(&disk, text);
	disk_model(&disk);
	bool is_qcow2 = strcmp(disk.facts->format, "qcow2") == 0;

	for (unsigned i = 0; i < rounds(); i++)
		disk_step(&disk, max);
	disk_compare(&disk);
	disk_close(&disk);
	if (is_qcow2)
		disk_check(&disk, path);
	disk_open(&again, text);
	assert_int_equal(again.size, disk.size);
	again.model = disk.model;
	disk_compare(&again);
	disk_close(&again);
	free(disk.model);
}

static void raw_files(void **state)
{
	static const char *const words[] = {
		"format=raw,engine=io_uring",
		"format=raw,engine=threads",
		"format=auto,nocache",
		"format=raw,nocache,engine=threads,sectorsize=4096",
		"format=raw,sync,nodelete",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		must("rm -f raw && truncate -s 8M raw && dd if=/dev/urandom of=raw bs=64K count=40 "
		     "conv=notrunc");
		exercise("raw", words[i], 128 << 10);
	}
}

/* Every size of cluster and width of refcount, on both engines. */
static void qcow2_of_each_geometry(void **state)
{
	static const struct {
		const char *options, *words;
		unsigned max;
	} cases[] = {
		{"compat=1.1", "engine=io_uring", 256 << 10},
		{"compat=1.1", "engine=threads", 256 << 10},
		{"compat=0.10", "engine=threads", 256 << 10},
		{"cluster_size=512", "format=auto", 32 << 10},
		{"cluster_size=512,refcount_bits=64", "format=qcow2", 32 << 10},
		{"cluster_size=1024,refcount_bits=1", "format=qcow2", 64 << 10},
		{"cluster_size=4096,refcount_bits=2", "nocache", 64 << 10},
		{"cluster_size=4096,refcount_bits=4", "sectorsize=4096", 64 << 10},
		{"cluster_size=4096,refcount_bits=8", "nodelete", 64 << 10},
		{"cluster_size=512,refcount_bits=32", "nocache,engine=threads", 32 << 10},
		{"cluster_size=2M", "format=qcow2", 1 << 20},
		{"preallocation=metadata", "format=qcow2", 256 << 10},
		{"lazy_refcounts=on", "sync", 256 << 10},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		must("rm -f q && qemu-img create -q -f qcow2 -o %s q 20000256", cases[i].options);
		exercise("q", cases[i].words, cases[i].max);
	}
}

static void backing_files(void **state)
{
	static const char *const tops[] = {"compat=1.1", "compat=0.10", "cluster_size=4096"};

	(void)state;
	must("dd if=/dev/urandom of=base.raw bs=4096 count=1500 && mkdir -p sub");
	must("qemu-img create -q -f qcow2 -b ../base.raw -F raw sub/middle 9M");
	must("qemu-io -f qcow2 -c 'write -P 7 1M 300k' -c 'write -z 2M 1M' sub/middle");
	must("md5sum base.raw sub/middle > sums");
	for (size_t i = 0; i < sizeof(tops) / sizeof(tops[0]); i++) {
		must("rm -f top && qemu-img create -q -f qcow2 -o %s -b sub/middle -F qcow2 top "
		     "12M",
			tops[i]);
		exercise("top", i % 2 ? "engine=threads" : "engine=io_uring", 256 << 10);
	}
	must("md5sum -c sums");
}

/* What snapshots hold stays as it was, and what they alone hold is counted right. */
static void snapshots(void **state)
{
	(void)state;
	for (unsigned bits = 2; bits <= 16; bits *= 8) {
		must("rm -f q q2 && qemu-img create -q -f qcow2 -o cluster_size=4096,"
		     "refcount_bits=%u q 8M",
			bits);
		must("qemu-io -f qcow2 -c 'write -P 1 0 3M' -c 'write -P 2 5M 1M' q");
		must("qemu-img snapshot -c one q");
		must("qemu-img convert -l one -O raw q one.raw");
		exercise("q", "format=qcow2", 64 << 10);
		must("qemu-img snapshot -c two q && qemu-img convert -l two -O raw q two.raw");
		exercise("q", "format=qcow2,engine=threads", 64 << 10);
		must("qemu-img convert -l one -O raw q now.raw && cmp one.raw now.raw");
		must("qemu-img convert -l two -O raw q now.raw && cmp two.raw now.raw");
		must("qemu-img snapshot -d one q && qemu-img snapshot -a two q && qemu-img check "
		     "q");
		exercise("q", "format=qcow2", 64 << 10);
	}
}

static void compressed_images(void **state)
{
	static const char *const options[] = {"compression_type=zlib", "compression_type=zstd",
		"compression_type=zlib,cluster_size=4096", "compression_type=zstd,cluster_size=2M",
		"compat=0.10"};

	(void)state;
	/* Text, what does not compress, and nothing. */
	must("{ seq 1 400000; head -c 2000000 /dev/urandom; head -c 1000000 /dev/zero; } > src && "
	     "truncate -s 8M src");
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		struct disk disk;

		must("qemu-img convert -c -f raw -O qcow2 -o %s src q", options[i]);
		disk_open(&disk, "path=q,ro");
		disk_model(&disk);
		disk_close(&disk);
		disk_check(&disk, "q");
		free(disk.model);
		exercise("q", "format=qcow2", 64 << 10);
	}
}

/* Much more than a first refcount block or table counts, with its old one given back. */
static void the_refcount_table_grows(void **state)
{
	struct disk disk;
	uint8_t *data = malloc(4 << 20);

	(void)state;
	must("rm -f q && qemu-img create -q -f qcow2 -o cluster_size=512,refcount_bits=64 q 60M");
	disk_open(&disk, "path=q");
	disk_model(&disk);
	for (unsigned i = 0; i < 15; i++) {
		memset(disk.model + i * (4 << 20), (int)i + 1, 4 << 20);
		assert_int_equal(disk_do(&disk, BLOCK_WRITE, (uint64_t)i << 22,
					 disk.model + i * (4 << 20), 4 << 20),
			0);
	}
	disk_close(&disk);
	disk_check(&disk, "q");
	free(disk.model);
	free(data);
}

/* Space that is discarded is given to the host, and used again. */
static void discarded_space_comes_back(void **state)
{
	struct disk disk;
	uint8_t *data = malloc(4 << 20);

	(void)state;
	memset(data, 5, 4 << 20);
	must("rm -f q && qemu-img create -q -f qcow2 q 1G");
	disk_open(&disk, "path=q");
	for (unsigned i = 0; i < 100; i++) {
		uint64_t offset = (i * 37ull % 250) << 22;

		assert_int_equal(disk_do(&disk, BLOCK_WRITE, offset, data, 4 << 20), 0);
		assert_int_equal(disk_do(&disk, BLOCK_DISCARD, offset, NULL, 4 << 20), 0);
		assert_int_equal(disk_do(&disk, BLOCK_FLUSH, 0, NULL, 0), 0);
	}
	disk_close(&disk);
	must("qemu-img check -q q && test $(stat -c %%s q) -lt 20000000");
	must("test $(du -k q | cut -f1) -lt 3000");
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(raw_files),
		cmocka_unit_test(qcow2_of_each_geometry),
		cmocka_unit_test(backing_files),
		cmocka_unit_test(snapshots),
		cmocka_unit_test(compressed_images),
		cmocka_unit_test(the_refcount_table_grows),
		cmocka_unit_test(discarded_space_comes_back),
	};

	cmocka_set_message_output(CM_OUTPUT_TAP);
	return cmocka_run_group_tests(tests, disk_folder_make, disk_folder_remove);
}
