/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The dirty log: which pages of RAM have been written since they were asked for last.  A bit for
 * each page: the core and the user set those of what they write, the backend those of what the
 * guest has written when it is asked to.
 */
#include <errno.h>
#include <stdlib.h>

#include "vmm/vm.h"

#define BITS 64u

struct vm_dirty {
	struct vm_dirty *older; /* smaller ones: devices' threads may still be in them */
	uint64_t pages;		/* guest pages below the end of RAM */
	_Atomic bool on;
	_Atomic uint64_t bits[];
};

static vm_paddr_t end_of_ram(struct vm *vm)
{
	vm_paddr_t end = 0;
	struct vm_ram ram;

	for (unsigned i = 0; vm_ram_at(vm, i, &ram); i++)
		if (ram.gpa + ram.len > end)
			end = ram.gpa + ram.len;
	return end;
}

static int make_room(struct vm *vm, uint64_t pages)
{
	struct vm_dirty *older = atomic_load(&vm->dirty), *d;

	if (older != NULL && older->pages >= pages)
		return 0;
	d = calloc(1, sizeof(*d) + (pages / BITS + 1) * sizeof(d->bits[0]));
	if (d == NULL)
		return ENOMEM;
	d->pages = pages;
	d->older = older;
	atomic_store(&vm->dirty, d);
	return 0;
}

int vm_dirty_start(struct vm *vm)
{
	struct vm_dirty *d;
	int error;

	if (vm->ops->dirty_log == NULL)
		return ENOTSUP;
	error = make_room(vm, end_of_ram(vm) / PAGE_SIZE);
	if (error == 0)
		error = vm->ops->dirty_log(vm->vmi, true);
	if (error != 0)
		return error;
	d = atomic_load(&vm->dirty);
	for (uint64_t i = 0; i <= d->pages / BITS; i++)
		atomic_store(&d->bits[i], 0);
	atomic_store(&d->on, true);
	return 0;
}

void vm_dirty_stop(struct vm *vm)
{
	struct vm_dirty *d = atomic_load(&vm->dirty);

	if (d != NULL && atomic_exchange(&d->on, false))
		(void)vm->ops->dirty_log(vm->vmi, false);
}

void vm_dirty_free(struct vm *vm)
{
	struct vm_dirty *d = atomic_exchange(&vm->dirty, NULL), *older;

	for (; d != NULL; d = older) {
		older = d->older;
		free(d);
	}
}

void vm_dirty_note(struct vm *vm, vm_paddr_t gpa, size_t len)
{
	struct vm_dirty *d = atomic_load_explicit(&vm->dirty, memory_order_acquire);

	if (d == NULL || len == 0 || !atomic_load_explicit(&d->on, memory_order_relaxed))
		return;
	for (uint64_t p = gpa / PAGE_SIZE; p <= (gpa + len - 1) / PAGE_SIZE && p < d->pages; p++)
		atomic_fetch_or(&d->bits[p / BITS], 1ull << p % BITS);
}

int vm_dirty_get(struct vm *vm, vm_paddr_t gpa, size_t len, uint64_t *bitmap)
{
	const uint64_t first = gpa / PAGE_SIZE, n = len / PAGE_SIZE;
	struct vm_dirty *d = atomic_load(&vm->dirty);
	int error;

	if (d == NULL || !atomic_load(&d->on))
		return ENXIO;
	if (((gpa | len) & PAGE_MASK) != 0 || first > d->pages || n > d->pages - first)
		return EINVAL;
	error = vm->ops->dirty_collect(vm->vmi);
	if (error != 0)
		return error;
	for (uint64_t i = 0; i < n; i++) {
		const uint64_t p = first + i, bit = 1ull << p % BITS;

		if (i % BITS == 0)
			bitmap[i / BITS] = 0;
		if (atomic_fetch_and(&d->bits[p / BITS], ~bit) & bit)
			bitmap[i / BITS] |= 1ull << i % BITS;
	}
	return 0;
}
