/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * LOCK across two pages.  Every other locked instruction is the host's own, on the guest's own
 * bytes, so another vcpu may be inside one on either of the two pages, and no lock of ours would
 * keep it out.  But guest RAM can be mapped once more, with the two pages side by side: there the
 * operand is one, and the host's LOCK holds against whatever the other vcpus do.
 */
#include <sys/mman.h>

#include "backend/soft/soft.h"

#define PAGE 4096ul

void soft_split_drop(struct soft_vcpu *v)
{
	if (v->split.host)
		munmap(v->split.host, 2 * PAGE);
	v->split.host = v->split.low = v->split.high = NULL;
}

/* mremap() of nothing duplicates a shared mapping. */
static bool show(uint8_t *to, uint8_t *page)
{
	return mremap(page, 0, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to) != MAP_FAILED;
}

static uint8_t *side_by_side(struct soft_vcpu *v, uint8_t *low, uint8_t *high)
{
	uint8_t *p = v->split.host;

	if (p && v->split.low == low && v->split.high == high)
		return p;
	if (!p) {
		p = mmap(NULL, 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1,
			0);
		if (p == MAP_FAILED)
			return NULL;
		v->split.host = p;
	}
	if (!show(p, low) || !show(p + PAGE, high)) {
		soft_split_drop(v);
		return NULL;
	}
	v->split.low = low;
	v->split.high = high;
	return p;
}

void *soft_join(struct x86_cpu *cpu, void *low, void *high)
{
	uintptr_t offset = (uintptr_t)low % PAGE;
	uint8_t *page = (uint8_t *)low - offset, *p;

	if ((uint8_t *)high == page + PAGE)
		return low;
	p = side_by_side(cpu->owner, page, high);
	return p ? p + offset : NULL;
}
