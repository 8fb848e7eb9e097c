/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* A hostile driver of the network card, whose cable ends nowhere: rings, commands, frames to send.
 */
#include "fuzz/hostile.h"
#include "host/host.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const options[][2] = {
		{"backend", "null"}, {"queues", "2"}, {"mtu", "1400"}, {NULL, NULL}};
	struct hostile_setup setup = {.model = "virtio-net", .options = options};

	FUZZ_CHECK(event_loop_create(&setup.loop) == 0);
	hostile_run(&setup, data, size);
	event_loop_destroy(setup.loop);
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *to, size_t room)
{
	return hostile_seed(n, to, room);
}
