/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Per-vcpu counters (vmm-api.md 11.6): the core's from stats.def, then the backend's. */
#include <stdio.h>
#include <sys/mman.h>

#include "vmm/vm.h"

_Static_assert(VMM_STAT_COUNT <= VMM_STAT_ELEMS, "the seed's array has 64 counters");

struct stat_desc {
	unsigned first, n;
	const char *name;
};

static const struct stat_desc descs[] = {
#define VMM_STAT(id, n, name) {VMM_STAT_##id, n, name},
#include <vmm/stats.def>
#undef VMM_STAT
};

void vmm_stat_incr(struct vm *vm, int vcpuid, int which, uint64_t delta)
{
	atomic_fetch_add_explicit(&vm->vcpu[vcpuid].stats[which], delta, memory_order_relaxed);
}

void *vcpu_stats(struct vm *vm, int vcpuid)
{
	return vm->vcpu[vcpuid].stats;
}

void vm_stat_reset(struct vcpu *vcpu)
{
	for (unsigned i = 0; i < VMM_STAT_ELEMS; i++)
		atomic_store_explicit(&vcpu->stats[i], 0, memory_order_relaxed);
}

/* Bytes of guest RAM that the host has given pages for. */
static uint64_t resident_bytes(const struct vm *vm)
{
	unsigned char map[512];
	uint64_t pages = 0;

	for (unsigned i = 0; i < vm->nsegs; i++) {
		const struct vm_segment *seg = &vm->segs[i];

		for (size_t off = 0; off < seg->len; off += sizeof(map) * PAGE_SIZE) {
			size_t left = seg->len - off;
			size_t span =
				left < sizeof(map) * PAGE_SIZE ? left : sizeof(map) * PAGE_SIZE;

			if (mincore(seg->hva + off, span, map) != 0)
				continue;
			for (size_t page = 0; page < span / PAGE_SIZE; page++)
				pages += map[page] & 1;
		}
	}
	return pages * PAGE_SIZE;
}

static void core_name(unsigned index, char name[VMM_STAT_NAME_LEN])
{
	for (size_t i = 0; i < sizeof(descs) / sizeof(descs[0]); i++) {
		const struct stat_desc *desc = &descs[i];

		if (index - desc->first >= desc->n)
			continue;
		if (desc->n == 1)
			snprintf(name, VMM_STAT_NAME_LEN, "%s", desc->name);
		else
			snprintf(
				name, VMM_STAT_NAME_LEN, "%s[%u]", desc->name, index - desc->first);
		return;
	}
}

static int backend_stat(
	struct vm *vm, int vcpuid, unsigned index, char name[VMM_STAT_NAME_LEN], uint64_t *value)
{
	const char *text;

	if (vm->ops->stat == NULL || !vm->ops->stat(vm->vmi, vcpuid, index, &text, value))
		return EINVAL;
	snprintf(name, VMM_STAT_NAME_LEN, "%s", text);
	return 0;
}

int vm_stat(
	struct vm *vm, int vcpuid, unsigned index, char name[VMM_STAT_NAME_LEN], uint64_t *value)
{
	struct vcpu *vcpu;

	if (!vcpu_valid(vcpuid))
		return EINVAL;
	if (index >= VMM_STAT_COUNT)
		return backend_stat(vm, vcpuid, index - VMM_STAT_COUNT, name, value);
	vcpu = &vm->vcpu[vcpuid];
	if (index == VMM_STAT_MEM_RESIDENT && vcpuid == 0)
		atomic_store(&vcpu->stats[index], resident_bytes(vm));
	core_name(index, name);
	*value = atomic_load_explicit(&vcpu->stats[index], memory_order_relaxed);
	return 0;
}
