/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A machine for one device model: lines and ends are recorded, timers fire when the test says so,
 * and a port access reaches the model through its own resources.
 */
#ifndef TEST_DEVICE_FAKE_GUEST_H
#define TEST_DEVICE_FAKE_GUEST_H

#include <pthread.h>

#include "device/device.h"

struct fake_option {
	const char *key, *value;
};

struct fake_guest {
	struct guest guest; /* first */
	bool line[24];
	unsigned raised[24]; /* how often each went up */
	bool level[24];
	bool unbalanced;	   /* an assert of an asserted line, or the opposite */
	int ended;		   /* enum guest_end, -1: no */
	int woken;		   /* how often */
	int status;		   /* asked for by guest_exit, -1: no */
	uint64_t unmapped;	   /* the last page; 0: none */
	struct guest_timer *timer; /* the one timer there is */
	struct fake_option options[16];
	uint8_t *ram; /* at 0; NULL: there is none */
	size_t ram_size;
	size_t written; /* bytes that the model has reported */
	struct {
		uint64_t address;
		uint32_t data;
	} msi[64]; /* the last ones, a ring */
	unsigned nmsi;
	struct guest_range ranges[32]; /* claimed by the model itself */
	unsigned nranges;
	pthread_mutex_t lock; /* of msi and line, for models with threads */

	const struct device_model *model;
	const struct device_unit *unit;
	void *dev;
	char why[200];
};

/* Builds `model` as its unit called `name`; asserts that it works unless `expected` is an errno. */
void fake_create(
	struct fake_guest *g, const struct device_model *model, const char *name, int expected);
void fake_destroy(struct fake_guest *g);

/* Gives the guest so many bytes of RAM at 0, before fake_create. */
void fake_ram(struct fake_guest *g, size_t size);
/* An access to what the model has claimed by itself (a BAR); all ones: nobody is there. */
uint64_t fake_load(struct fake_guest *g, enum guest_space space, uint64_t at, unsigned size);
void fake_store(
	struct fake_guest *g, enum guest_space space, uint64_t at, unsigned size, uint64_t value);

/* A port access by its absolute number. */
uint64_t fake_in(struct fake_guest *g, uint64_t port, unsigned size);
void fake_out(struct fake_guest *g, uint64_t port, unsigned size, uint64_t value);

/* Is the timer set, and for when? */
bool fake_timer_is_set(struct fake_guest *g, uint64_t *delay_ns);
void fake_timer_fire(struct fake_guest *g);

#endif
