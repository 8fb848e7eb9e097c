/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Guest-physical memory (vmm-api.md 4.2).  RAM is at most two segments, each one memfd mapped for
 * as long as the VM lives: pages come on first touch, vm_gpa_hold has nothing to pin, other
 * processes can map the same object.  The table changes only while all vcpus are frozen, so readers
 * take no lock.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vmm/vm.h"

/* ---- Objects ---- */

static struct vm_object *object_create(size_t size)
{
	struct vm_object *object = malloc(sizeof(*object));

	if (object == NULL)
		return NULL;
	*object = (struct vm_object){
		.fd = memfd_create("hyve-ram", MFD_CLOEXEC), .size = size, .refs = 1};
	if (object->fd < 0)
		goto fail_free;
	if (ftruncate(object->fd, (off_t)size) != 0)
		goto fail_close;
	return object;
fail_close:
	close(object->fd);
fail_free:
	free(object);
	return NULL;
}

int vm_object_fd(const struct vm_object *object)
{
	return object->fd;
}

void vm_object_release(struct vm_object *object)
{
	if (atomic_fetch_sub(&object->refs, 1) != 1)
		return;
	close(object->fd);
	free(object);
}

/* ---- Segments ---- */

static const struct vm_segment *segment_find(const struct vm *vm, vm_paddr_t gpa)
{
	unsigned n = atomic_load_explicit(&vm->nsegs, memory_order_acquire);

	for (unsigned i = 0; i < n; i++)
		if (gpa - vm->segs[i].gpa < vm->segs[i].len)
			return &vm->segs[i];
	return NULL;
}

static bool ranges_overlap(vm_paddr_t a, size_t alen, vm_paddr_t b, size_t blen)
{
	return a < b + blen && b < a + alen;
}

/* Page-aligned, not empty, inside the guest-physical space. */
static bool range_ok(vm_paddr_t gpa, size_t len)
{
	return ((gpa | len) & PAGE_MASK) == 0 && len != 0 && gpa + len > gpa &&
	       gpa + len <= (vm_paddr_t)1 << VM_GPA_BITS;
}

/* Bytes of [gpa, gpa+len) that are allocated. */
static size_t allocated_bytes(const struct vm *vm, vm_paddr_t gpa, size_t len)
{
	size_t sum = 0;

	for (unsigned i = 0; i < vm->nsegs; i++) {
		const struct vm_segment *seg = &vm->segs[i];
		vm_paddr_t lo = gpa > seg->gpa ? gpa : seg->gpa;
		vm_paddr_t hi = gpa + len < seg->gpa + seg->len ? gpa + len : seg->gpa + seg->len;

		sum += hi > lo ? hi - lo : 0;
	}
	return sum;
}

static bool overlaps_mmio(const struct vm *vm, vm_paddr_t gpa, size_t len)
{
	for (unsigned i = 0; i < vm->nmmio; i++)
		if (ranges_overlap(gpa, len, vm->mmio[i].gpa, vm->mmio[i].len))
			return true;
	return false;
}

static void mem_changed(struct vm *vm)
{
	if (vm->ops->mem_changed != NULL)
		vm->ops->mem_changed(vm->vmi);
}

static int segment_add(struct vm *vm, vm_paddr_t gpa, size_t len, bool rom)
{
	struct vm_object *object = object_create(len);
	void *hva;

	if (object == NULL)
		return ENOMEM;
	hva = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, object->fd, 0);
	if (hva == MAP_FAILED) {
		vm_object_release(object);
		return ENOMEM;
	}
	/* Guests touch memory they own in large strides: advice only, refusal is fine. */
	(void)madvise(hva, len, MADV_HUGEPAGE);
	vm->segs[vm->nsegs] = (struct vm_segment){
		.gpa = gpa, .len = len, .hva = hva, .object = object, .rom = rom};
	atomic_fetch_add(&vm->nsegs, 1);
	return 0;
}

static unsigned ram_segments(const struct vm *vm)
{
	unsigned n = 0;

	for (unsigned i = 0; i < vm->nsegs; i++)
		n += !vm->segs[i].rom;
	return n;
}

int vm_malloc(struct vm *vm, vm_paddr_t gpa, size_t len)
{
	size_t have;

	if (!range_ok(gpa, len))
		return EINVAL;
	have = allocated_bytes(vm, gpa, len);
	if (have == len)
		return 0;
	if (have != 0)
		return EINVAL;
	if (ram_segments(vm) == VM_SYSMEM_SEGS)
		return E2BIG;
	if (overlaps_mmio(vm, gpa, len))
		return ENOMEM;
	if (segment_add(vm, gpa, len, false) != 0)
		return ENOMEM;
	mem_changed(vm);
	return 0;
}

/* ---- What the guest cannot change ---- */

int vm_map_rom(struct vm *vm, vm_paddr_t gpa, size_t len)
{
	size_t have;

	if (!range_ok(gpa, len))
		return EINVAL;
	for (unsigned i = 0; i < vm->nroms; i++)
		if (ranges_overlap(gpa, len, vm->roms[i].gpa, vm->roms[i].len))
			return EINVAL;
	have = allocated_bytes(vm, gpa, len);
	if (have != 0 && have != len)
		return EINVAL;
	if (vm->nroms == VM_ROM_RANGES)
		return E2BIG;
	if (have == 0 && (overlaps_mmio(vm, gpa, len) || segment_add(vm, gpa, len, true) != 0))
		return ENOMEM;
	vm->roms[vm->nroms++] = (struct vm_rom){.gpa = gpa, .len = len};
	mem_changed(vm);
	return 0;
}

bool vm_rom_at(const struct vm *vm, unsigned index, vm_paddr_t *gpa, size_t *len)
{
	if (index >= vm->nroms)
		return false;
	*gpa = vm->roms[index].gpa;
	*len = vm->roms[index].len;
	return true;
}

bool vm_gpa_is_rom(const struct vm *vm, vm_paddr_t gpa)
{
	for (unsigned i = 0; i < vm->nroms; i++)
		if (gpa - vm->roms[i].gpa < vm->roms[i].len)
			return true;
	return false;
}

boolean_t vm_mem_allocated(struct vm *vm, vm_paddr_t gpa)
{
	return segment_find(vm, gpa) != NULL;
}

int vm_gpabase2memseg(struct vm *vm, vm_paddr_t gpabase, struct vm_memory_segment *seg)
{
	const struct vm_segment *found = segment_find(vm, gpabase);

	if (found == NULL || found->gpa != gpabase)
		return -1;
	*seg = (struct vm_memory_segment){.gpa = found->gpa, .len = found->len};
	return 0;
}

int vm_get_memobj(
	struct vm *vm, vm_paddr_t gpa, size_t len, vm_offset_t *offset, struct vm_object **object)
{
	const struct vm_segment *seg = segment_find(vm, gpa);

	if (seg == NULL || len > seg->len - (gpa - seg->gpa))
		return EINVAL;
	atomic_fetch_add(&seg->object->refs, 1);
	*offset = gpa - seg->gpa;
	*object = seg->object;
	return 0;
}

void *vm_gpa_ram(struct vm *vm, vm_paddr_t gpa, size_t *contiguous)
{
	const struct vm_segment *seg = segment_find(vm, gpa);

	if (seg == NULL)
		return NULL;
	if (contiguous != NULL)
		*contiguous = seg->len - (gpa - seg->gpa);
	return seg->hva + (gpa - seg->gpa);
}

bool vm_ram_at(struct vm *vm, unsigned i, struct vm_ram *ram)
{
	if (i >= atomic_load_explicit(&vm->nsegs, memory_order_acquire))
		return false;
	*ram = (struct vm_ram){
		.gpa = vm->segs[i].gpa, .len = vm->segs[i].len, .hva = vm->segs[i].hva};
	return true;
}

/* ---- Hold ---- */

/* A hold for writing has to tell the backend afterwards; one for reading needs nothing. */
struct gpa_hold {
	struct vm *vm; /* NULL: nobody has to be told */
	vm_paddr_t gpa;
	size_t len;
	uint8_t *lost; /* a copy of what is read-only: what is written there is lost */
};

/* The page at hva as it is, to be written to in its place. */
static void *hold_copy(struct gpa_hold *hold, const uint8_t *hva)
{
	size_t offset = hold->gpa & PAGE_MASK;

	hold->lost = malloc(PAGE_SIZE);
	if (hold->lost == NULL)
		return NULL;
	memcpy(hold->lost, hva - offset, PAGE_SIZE);
	hold->vm = NULL;
	return hold->lost + offset;
}

void *vm_gpa_hold(struct vm *vm, vm_paddr_t gpa, size_t len, int prot, void **cookie)
{
	struct gpa_hold *hold;
	void *hva;

	*cookie = NULL;
	assert((gpa & PAGE_MASK) + len <= PAGE_SIZE);
	hva = vm_gpa_ram(vm, gpa, NULL);
	if (hva == NULL || (gpa & PAGE_MASK) + len > PAGE_SIZE)
		return NULL;
	hold = malloc(sizeof(*hold));
	if (hold == NULL)
		return NULL;
	*hold = (struct gpa_hold){
		.vm = (prot & PROT_WRITE) != 0 ? vm : NULL, .gpa = gpa, .len = len};
	if (hold->vm != NULL && vm_gpa_is_rom(vm, gpa))
		hva = hold_copy(hold, hva);
	if (hva == NULL) {
		free(hold);
		return NULL;
	}
	*cookie = hold;
	return hva;
}

void vm_gpa_release(void *cookie)
{
	struct gpa_hold *hold = cookie;

	assert(hold != NULL);
	if (hold->vm != NULL)
		vm_mem_written(hold->vm, hold->gpa, hold->len);
	free(hold->lost);
	free(hold);
}

void vm_mem_written(struct vm *vm, vm_paddr_t gpa, size_t len)
{
	vm_dirty_note(vm, gpa, len);
	if (vm->ops->mem_written != NULL && len != 0)
		vm->ops->mem_written(vm->vmi, gpa, len);
}

/* ---- Host physical memory ---- */

int vm_mmio_add(struct vm *vm, vm_paddr_t gpa, size_t len, void *hva)
{
	if (!range_ok(gpa, len) || vm->nmmio == VM_MMIO_RANGES || overlaps_mmio(vm, gpa, len) ||
		allocated_bytes(vm, gpa, len) != 0)
		return ENOMEM;
	vm->mmio[vm->nmmio++] = (struct vm_mmio){.gpa = gpa, .len = len, .hva = hva};
	mem_changed(vm);
	return 0;
}

const struct vm_mmio *vm_mmio_find(struct vm *vm, vm_paddr_t gpa, size_t len)
{
	for (unsigned i = 0; i < vm->nmmio; i++) {
		const struct vm_mmio *range = &vm->mmio[i];

		if (gpa - range->gpa < range->len && len <= range->len - (gpa - range->gpa))
			return range;
	}
	return NULL;
}

int vm_map_mmio(struct vm *vm, vm_paddr_t gpa, size_t len, vm_paddr_t hpa)
{
	void *hva;
	int fd;

	if (!range_ok(gpa, len) || !range_ok(hpa, len))
		return ENOMEM;
	fd = open("/dev/mem", O_RDWR | O_SYNC | O_CLOEXEC);
	if (fd < 0)
		return ENOMEM;
	hva = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)hpa);
	close(fd);
	if (hva == MAP_FAILED)
		return ENOMEM;
	if (vm_mmio_add(vm, gpa, len, hva) != 0) {
		munmap(hva, len);
		return ENOMEM;
	}
	return 0;
}

int vm_unmap_mmio(struct vm *vm, vm_paddr_t gpa, size_t len)
{
	for (unsigned i = 0; i < vm->nmmio;) {
		struct vm_mmio *range = &vm->mmio[i];

		if (range->gpa < gpa || len < range->len || range->gpa - gpa > len - range->len) {
			i++;
			continue;
		}
		munmap((void *)(uintptr_t)range->hva, range->len);
		*range = vm->mmio[--vm->nmmio];
	}
	mem_changed(vm);
	return 0;
}

void vm_mem_cleanup(struct vm *vm)
{
	for (unsigned i = 0; i < vm->nsegs; i++) {
		munmap(vm->segs[i].hva, vm->segs[i].len);
		vm_object_release(vm->segs[i].object);
	}
	for (unsigned i = 0; i < vm->nmmio; i++)
		munmap((void *)(uintptr_t)vm->mmio[i].hva, vm->mmio[i].len);
	vm->nsegs = 0;
	vm->nmmio = 0;
	vm->nroms = 0;
}
