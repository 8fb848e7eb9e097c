/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "machine/bus.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"

/*
 * A few dozen ranges: a linear search costs less than the exit that led here.
 *
 * Readers take no lock: they look through one table, which does not change under them.  A change is
 * made in the other table, and then waits until no reader is in the old one, which is the other one
 * from then on.  The count of readers is spread over lines of the cache, by thread, so that vcpus
 * do not slow each other down.  Nothing is held during a call, so that a model may claim and
 * unclaim (a BAR that moves) while it serves an access.
 */
enum { SLOTS = 16, CACHE_LINE = 64 };

struct table {
	unsigned count;
	struct guest_range ranges[];
};

struct readers {
	_Alignas(CACHE_LINE) atomic_uint count[2]; /* by epoch */
};

struct bus {
	_Atomic(struct table *) table;
	struct table *other;  /* nobody reads it */
	unsigned capacity;    /* of both */
	atomic_uint epoch;    /* its lowest bit counts */
	pthread_mutex_t lock; /* who changes it */
	struct readers readers[SLOTS];
};

int bus_create(struct bus **out)
{
	struct bus *bus = aligned_alloc(CACHE_LINE, sizeof(*bus));

	if (!bus)
		return ENOMEM;
	memset(bus, 0, sizeof(*bus));
	pthread_mutex_init(&bus->lock, NULL);
	bus->table = calloc(1, sizeof(struct table));
	bus->other = calloc(1, sizeof(struct table));
	if (bus->table && bus->other) {
		*out = bus;
		return 0;
	}
	bus_destroy(bus);
	return ENOMEM;
}

void bus_destroy(struct bus *bus)
{
	if (!bus)
		return;
	pthread_mutex_destroy(&bus->lock);
	free(bus->table);
	free(bus->other);
	free(bus);
}

/* ---- readers, and waiting for them ---- */

/* Threads have their stacks in different places. */
static atomic_uint *enter(struct bus *bus)
{
	uintptr_t here = (uintptr_t)__builtin_frame_address(0);
	struct readers *slot = &bus->readers[(here >> 16 ^ here >> 23) % SLOTS];
	atomic_uint *count = &slot->count[atomic_load(&bus->epoch) & 1];

	atomic_fetch_add(count, 1);
	return count;
}

static void leave(atomic_uint *count)
{
	atomic_fetch_sub_explicit(count, 1, memory_order_release);
}

static void await_readers(struct bus *bus, unsigned epoch)
{
	for (unsigned i = 0; i < SLOTS; i++)
		while (atomic_load(&bus->readers[i].count[epoch]))
			sched_yield();
}

/*
 * Twice, since a reader may have read the epoch before it changed and counted itself in after: it
 * is then seen in the second round.
 */
static void swap(struct bus *bus)
{
	bus->other = atomic_exchange(&bus->table, bus->other);
	for (int round = 0; round < 2; round++) {
		unsigned epoch = atomic_fetch_add(&bus->epoch, 1) & 1;

		await_readers(bus, epoch);
	}
}

/* ---- changes ---- */

static bool same_place(const struct guest_range *a, const struct guest_range *b)
{
	return a->space == b->space && a->base == b->base && a->size == b->size;
}

static size_t table_bytes(unsigned ranges)
{
	return sizeof(struct table) + ranges * sizeof(struct guest_range);
}

/* The other table is a copy of the one that is read. */
static void copy(struct bus *bus)
{
	memcpy(bus->other, bus->table, table_bytes(bus->table->count));
}

/* Both tables get room for one more. */
static int grow(struct bus *bus)
{
	unsigned capacity = bus->capacity ? 2 * bus->capacity : 16;

	if (bus->table->count < bus->capacity)
		return 0;
	for (int each = 0; each < 2; each++) {
		struct table *grown = malloc(table_bytes(capacity));

		if (!grown)
			return ENOMEM;
		free(bus->other);
		bus->other = grown;
		copy(bus);
		swap(bus);
	}
	bus->capacity = capacity;
	return 0;
}

/* Index of a range of this place; the count: there is none. */
static unsigned index_of(const struct table *table, const struct guest_range *range)
{
	unsigned i = 0;

	while (i < table->count && !same_place(&table->ranges[i], range))
		i++;
	return i;
}

int bus_claim(struct bus *bus, const struct guest_range *range)
{
	int error = 0;

	pthread_mutex_lock(&bus->lock);
	if (index_of(bus->table, range) < bus->table->count)
		error = EEXIST;
	else
		error = grow(bus);
	if (!error) {
		copy(bus);
		bus->other->ranges[bus->other->count++] = *range;
		swap(bus);
	}
	pthread_mutex_unlock(&bus->lock);
	return error;
}

void bus_unclaim(struct bus *bus, const struct guest_range *range)
{
	pthread_mutex_lock(&bus->lock);
	unsigned i = index_of(bus->table, range);

	if (i < bus->table->count) {
		copy(bus);
		bus->other->ranges[i] = bus->other->ranges[--bus->other->count];
		swap(bus);
	}
	pthread_mutex_unlock(&bus->lock);
}

enum { MISSED, FOUND, CROSSING };

static int bus_find(struct bus *bus, enum guest_space space, uint64_t address, unsigned size,
	struct guest_range *found)
{
	atomic_uint *reading = enter(bus);
	const struct table *table = atomic_load(&bus->table);
	int result = MISSED;

	for (unsigned i = 0; i < table->count; i++) {
		const struct guest_range *r = &table->ranges[i];

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
	leave(reading);
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
