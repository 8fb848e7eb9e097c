/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "machine/bus.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "device/device.h"

/*
 * A dozen ranges: a linear search costs less than the exit that led here.  The lock is not held
 * during the call, so that a model may claim and unclaim (a BAR that moves) while it serves an
 * access.
 */
struct bus {
	pthread_rwlock_t lock;
	struct guest_range *ranges;
	unsigned count, capacity;
};

int bus_create(struct bus **bus)
{
	*bus = calloc(1, sizeof(**bus));
	if (!*bus)
		return ENOMEM;
	pthread_rwlock_init(&(*bus)->lock, NULL);
	return 0;
}

void bus_destroy(struct bus *bus)
{
	if (!bus)
		return;
	pthread_rwlock_destroy(&bus->lock);
	free(bus->ranges);
	free(bus);
}

static bool same_place(const struct guest_range *a, const struct guest_range *b)
{
	return a->space == b->space && a->base == b->base && a->size == b->size;
}

int bus_claim(struct bus *bus, const struct guest_range *range)
{
	int error = 0;

	pthread_rwlock_wrlock(&bus->lock);
	for (unsigned i = 0; i < bus->count; i++)
		if (same_place(&bus->ranges[i], range))
			error = EEXIST;
	if (!error && bus->count == bus->capacity) {
		unsigned capacity = bus->capacity ? 2 * bus->capacity : 16;
		struct guest_range *grown = realloc(bus->ranges, capacity * sizeof(*grown));

		if (grown) {
			bus->ranges = grown;
			bus->capacity = capacity;
		} else {
			error = ENOMEM;
		}
	}
	if (!error)
		bus->ranges[bus->count++] = *range;
	pthread_rwlock_unlock(&bus->lock);
	return error;
}

void bus_unclaim(struct bus *bus, const struct guest_range *range)
{
	pthread_rwlock_wrlock(&bus->lock);
	for (unsigned i = 0; i < bus->count; i++) {
		if (same_place(&bus->ranges[i], range)) {
			bus->ranges[i] = bus->ranges[--bus->count];
			break;
		}
	}
	pthread_rwlock_unlock(&bus->lock);
}

enum { MISSED, FOUND, CROSSING };

static int bus_find(struct bus *bus, enum guest_space space, uint64_t address, unsigned size,
	struct guest_range *found)
{
	int result = MISSED;

	pthread_rwlock_rdlock(&bus->lock);
	for (unsigned i = 0; i < bus->count; i++) {
		const struct guest_range *r = &bus->ranges[i];

		/* Without overflow: `address` may be the last byte of all. */
		bool first_in = address >= r->base && address - r->base < r->size;
		bool whole_in = first_in && r->size - (address - r->base) >= size;
		bool base_in = r->base >= address && r->base - address < size;

		if (r->space != space || !(first_in || base_in))
			continue;
		if (!whole_in) {
			if (result == MISSED)
				result = CROSSING;
		} else if (result != FOUND || r->size < found->size) {
			*found = *r;
			result = FOUND;
		}
	}
	pthread_rwlock_unlock(&bus->lock);
	return result;
}

bool bus_read(
	struct bus *bus, enum guest_space space, uint64_t address, unsigned size, uint64_t *value)
{
	struct guest_range r;
	unsigned piece = 1;

	switch (bus_find(bus, space, address, size, &r)) {
	case MISSED:
		*value = device_all_ones(size);
		return false;
	case FOUND:
		if (size <= r.io->width) {
			*value = r.io->read(r.arg, address - r.base, size) & device_all_ones(size);
			return true;
		}
		piece = r.io->width;
		break;
	}
	*value = 0;
	for (unsigned done = 0; done < size; done += piece) {
		uint64_t part;

		bus_read(bus, space, address + done, piece, &part);
		*value |= part << (8 * done);
	}
	return true;
}

bool bus_write(
	struct bus *bus, enum guest_space space, uint64_t address, unsigned size, uint64_t value)
{
	struct guest_range r;
	unsigned piece = 1;

	switch (bus_find(bus, space, address, size, &r)) {
	case MISSED:
		return false;
	case FOUND:
		if (size <= r.io->width) {
			r.io->write(r.arg, address - r.base, size, value & device_all_ones(size));
			return true;
		}
		piece = r.io->width;
		break;
	}
	for (unsigned done = 0; done < size; done += piece)
		bus_write(bus, space, address + done, piece,
			value >> (8 * done) & device_all_ones(piece));
	return true;
}
