/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Who answers a port or a page: ranges claimed by models, the narrowest that holds the whole access
 * wins. For machine/ and its tests.
 */
#ifndef MACHINE_BUS_H
#define MACHINE_BUS_H

#include <stdbool.h>
#include <stdint.h>

#include "device/guest.h"

struct bus;

int bus_create(struct bus **bus);
void bus_destroy(struct bus *bus);
/* Copies the range. EEXIST: there is one of the same place and size; ENOMEM. Any thread. */
int bus_claim(struct bus *bus, const struct guest_range *range);
void bus_unclaim(struct bus *bus, const struct guest_range *range);

/*
 * An access of 1, 2, 4 or 8 bytes.  Nobody there: false, and reads give all ones.  An access across
 * the end of a range is cut into bytes, as an ISA bridge does.  Any thread.
 */
bool bus_read(
	struct bus *bus, enum guest_space space, uint64_t address, unsigned size, uint64_t *value);
bool bus_write(
	struct bus *bus, enum guest_space space, uint64_t address, unsigned size, uint64_t value);

#endif
