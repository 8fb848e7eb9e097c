/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Guest RAM as the host sees it while the machine is being built. For machine/ and its tests. */
#ifndef MACHINE_RAM_H
#define MACHINE_RAM_H

#include <stdint.h>

#include <vmm/pc.h>

struct ram {
	uint8_t *low; /* at 0 */
	uint64_t low_size;
	uint8_t *high; /* at PC_HIGHMEM_BASE; NULL: none */
	uint64_t high_size;
};

/* Host address of [gpa, gpa+len), NULL unless all of it is RAM in one piece. */
void *ram_at(const struct ram *ram, uint64_t gpa, uint64_t len);

/* The guest's address of a place inside of it. */
uint64_t ram_gpa(const struct ram *ram, const void *hva);

#endif
