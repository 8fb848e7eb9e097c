/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* A hostile driver of the block device, in front of a raw disk in memory. */
#include "fuzz/hostile.h"
#include "host/host.h"

#include <sys/mman.h>
#include <unistd.h>

enum { DISK = 1 << 20 };

static void settle(void *arg, struct fuzz_input *in)
{
	(void)arg;
	/* What is under way on other threads gets a moment, now and then. */
	if (fuzz_take(in, 1) % 8 == 0)
		usleep(50);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_file file;
	struct event_loop *loop;

	fuzz_file_create(&file);
	FUZZ_CHECK(ftruncate(file.fd, DISK) == 0);
	FUZZ_CHECK(event_loop_create(&loop) == 0);
	const char *const options[][2] = {{"path", file.path}, {"queues", "2"},
		{"engine", size % 4 ? "threads" : "auto"}, {NULL, NULL}};
	const struct hostile_setup setup = {
		.model = "virtio-blk", .options = options, .loop = loop, .settle = settle};

	hostile_run(&setup, data, size);
	event_loop_destroy(loop);
	close(file.fd);
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *to, size_t room)
{
	return hostile_seed(n, to, room);
}
