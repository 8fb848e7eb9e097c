/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The pages of guest-physical memory that the core serves itself: three chips, and mapped host
 * memory.
 */
#include <vmm/pc.h>
#include <vmm/vhpet.h>
#include <vmm/vioapic.h>
#include <vmm/vlapic.h>

#include "vmm/vm.h"

struct chip_page {
	uint64_t base, size;
	int (*read)(struct vm *vm, int vcpuid, uint64_t gpa, uint64_t *value, int size, void *arg);
	int (*write)(struct vm *vm, int vcpuid, uint64_t gpa, uint64_t value, int size, void *arg);
};

enum { LAPIC_PAGE };

static const struct chip_page pages[] = {
	[LAPIC_PAGE] = {PC_LAPIC_BASE, PC_LAPIC_SIZE, vlapic_mmio_read, vlapic_mmio_write},
	{PC_IOAPIC_BASE, PC_IOAPIC_SIZE, vioapic_mmio_read, vioapic_mmio_write},
	{PC_HPET_BASE, PC_HPET_SIZE, vhpet_mmio_read, vhpet_mmio_write},
};

/* The page of a local APIC that was moved: whose it is, the APIC knows. */
static bool is_moved_apic(struct vm *vm, uint64_t gpa)
{
	if (gpa < PC_PCI_HOLE_BASE || gpa >= PC_HIGHMEM_BASE)
		return false;
	for (int i = 0; i < VM_MAXCPU; i++)
		if ((vlapic_get_apicbase(vm->vcpu[i].vlapic) ^ gpa) / PC_LAPIC_SIZE == 0)
			return true;
	return false;
}

static const struct chip_page *page_find(struct vm *vm, uint64_t gpa)
{
	for (size_t i = 0; i < sizeof(pages) / sizeof(pages[0]); i++)
		if (gpa - pages[i].base < pages[i].size)
			return &pages[i];
	return is_moved_apic(vm, gpa) ? &pages[LAPIC_PAGE] : NULL;
}

bool vm_gpa_is_chip(struct vm *vm, vm_paddr_t gpa)
{
	return page_find(vm, gpa) != NULL || vm_mmio_find(vm, gpa, 1) != NULL;
}

/* Device registers want one access of exactly this width. */
static uint64_t load(const volatile uint8_t *p, int size)
{
	switch (size) {
	case 1:
		return *p;
	case 2:
		return *(const volatile uint16_t *)p;
	case 4:
		return *(const volatile uint32_t *)p;
	default:
		return *(const volatile uint64_t *)p;
	}
}

static void store(volatile uint8_t *p, uint64_t value, int size)
{
	switch (size) {
	case 1:
		*p = (uint8_t)value;
		break;
	case 2:
		*(volatile uint16_t *)p = (uint16_t)value;
		break;
	case 4:
		*(volatile uint32_t *)p = (uint32_t)value;
		break;
	default:
		*(volatile uint64_t *)p = value;
		break;
	}
}

void vm_chip_read(struct vm *vm, int vcpuid, uint64_t gpa, uint64_t *value, int size)
{
	const struct chip_page *page = page_find(vm, gpa);
	const struct vm_mmio *range;
	bool retu = false;

	*value = UINT64_MAX;
	if (page != NULL) {
		if (page->read(vm, vcpuid, gpa, value, size, &retu) != 0)
			*value = UINT64_MAX;
		return;
	}
	range = vm_mmio_find(vm, gpa, (size_t)size);
	if (range != NULL)
		*value = load(range->hva + (gpa - range->gpa), size);
}

void vm_chip_write(struct vm *vm, int vcpuid, uint64_t gpa, uint64_t value, int size, bool *retu)
{
	const struct chip_page *page = page_find(vm, gpa);
	const struct vm_mmio *range;

	if (page != NULL) {
		(void)page->write(vm, vcpuid, gpa, value, size, retu);
		return;
	}
	range = vm_mmio_find(vm, gpa, (size_t)size);
	if (range != NULL)
		store(range->hva + (gpa - range->gpa), value, size);
}

unsigned vm_bus_piece(uint64_t gpa, unsigned len)
{
	unsigned size = 8;

	while (size > len || (gpa & (size - 1)) != 0)
		size /= 2;
	return size;
}

bool vm_chip_load(struct vm *vm, int vcpuid, vm_paddr_t gpa, void *buf, unsigned len)
{
	uint8_t *to = buf;

	if (!vm_gpa_is_chip(vm, gpa))
		return false;
	while (len > 0) {
		unsigned size = vm_bus_piece(gpa, len);
		uint64_t value;

		vm_chip_read(vm, vcpuid, gpa, &value, (int)size);
		memcpy(to, &value, size);
		to += size;
		gpa += size;
		len -= size;
	}
	return true;
}

bool vm_chip_store(struct vm *vm, int vcpuid, vm_paddr_t gpa, const void *buf, unsigned len)
{
	const uint8_t *from = buf;
	bool retu = false;

	if (!vm_gpa_is_chip(vm, gpa))
		return false;
	while (len > 0) {
		unsigned size = vm_bus_piece(gpa, len);
		uint64_t value = 0;

		memcpy(&value, from, size);
		vm_chip_write(vm, vcpuid, gpa, value, (int)size, &retu);
		from += size;
		gpa += size;
		len -= size;
	}
	if (retu)
		vcpu_spinup_later(vm, vcpuid);
	return true;
}
