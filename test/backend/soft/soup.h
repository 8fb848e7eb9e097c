/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Any bytes as a guest: real mode, 32-bit and 64-bit code of any privilege, with control registers at random.
 * Whatever it does, the process must survive and get the vcpu back.
 */
#ifndef TEST_BACKEND_SOFT_SOUP_H
#define TEST_BACKEND_SOFT_SOUP_H

#include <pthread.h>
#include <stdatomic.h>

#include "test/backend/soft/world.h"

struct soup {
	struct vm *vm;
	uint8_t *ram;
	struct x86_cpu constants;
	struct world world;
	pthread_t watchdog; /* takes the vcpu out of the guest every millisecond */
	pthread_mutex_t lock; /* vm */
	_Atomic bool stop;
	unsigned long runs, exits, reopened;
};

/* False: no VM. */
bool soup_open(struct soup *s);
void soup_close(struct soup *s);
/* The first 12 bytes choose mode and registers, the others are code. */
bool soup_run(struct soup *s, const uint8_t *data, size_t size);
/* Fills `size` bytes with instructions by the table, then noise; returns how many to run. */
size_t soup_input(uint8_t *data, size_t size, uint64_t seed);

#endif
