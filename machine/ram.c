/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "machine/ram.h"

#include <stddef.h>

void *ram_at(const struct ram *ram, uint64_t gpa, uint64_t len)
{
	if (gpa < ram->low_size && len <= ram->low_size - gpa)
		return ram->low + gpa;
	if (gpa < PC_HIGHMEM_BASE)
		return NULL;
	gpa -= PC_HIGHMEM_BASE;
	if (gpa < ram->high_size && len <= ram->high_size - gpa)
		return ram->high + gpa;
	return NULL;
}

uint64_t ram_gpa(const struct ram *ram, const void *hva)
{
	uintptr_t at = (uintptr_t)hva, low = (uintptr_t)ram->low;

	if (at >= low && at - low < ram->low_size)
		return at - low;
	return PC_HIGHMEM_BASE + (at - (uintptr_t)ram->high);
}
