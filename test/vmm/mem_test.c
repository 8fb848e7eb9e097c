/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Guest memory: segments, holds, objects, mapped host memory. */
#include <errno.h>
#include <unistd.h>

#include <vmm/pc.h>

#include "test/vmm/harness.h"

#define KiB 1024ull
#define GiB (1024 * 1024 * KiB)

static void malloc_arguments(void **state)
{
	struct vm *vm = *state;

	assert_int_equal(vm_malloc(vm, 1, 4 * KiB), EINVAL);
	assert_int_equal(vm_malloc(vm, 0, 1), EINVAL);
	assert_int_equal(vm_malloc(vm, 0, 0), EINVAL);
	assert_int_equal(vm_malloc(vm, -(4 * KiB), 8 * KiB), EINVAL);
	assert_int_equal(vm_malloc(vm, -(4 * KiB), 4 * KiB), EINVAL);
	assert_int_equal(vm_malloc(vm, 1ull << 52, 4 * KiB), EINVAL);
	assert_int_equal(vm_malloc(vm, 4 * KiB, SIZE_MAX & ~4095ull), EINVAL);
}

static void malloc_twice_and_partly(void **state)
{
	struct vm *vm = *state;

	assert_int_equal(vm_malloc(vm, 64 * KiB, 64 * KiB), 0);
	assert_int_equal(vm_malloc(vm, 64 * KiB, 64 * KiB), 0);
	assert_int_equal(vm_malloc(vm, 68 * KiB, 4 * KiB), 0);
	assert_int_equal(vm_malloc(vm, 60 * KiB, 8 * KiB), EINVAL);
	assert_int_equal(vm_malloc(vm, 124 * KiB, 8 * KiB), EINVAL);
	assert_int_equal(vm_malloc(vm, 0, 256 * KiB), EINVAL);
	assert_int_equal(vm_malloc(vm, 128 * KiB, 64 * KiB), 0);
	/* Over both segments, which are neighbours. */
	assert_int_equal(vm_malloc(vm, 64 * KiB, 128 * KiB), 0);
	assert_int_equal(vm_malloc(vm, 0, 4 * KiB), E2BIG);
	assert_int_equal(fake_log(vm, 0)->changed, 2);
}

static void malloc_is_lazy(void **state)
{
	struct vm *vm = *state;
	char name[VMM_STAT_NAME_LEN];
	uint64_t resident;
	uint8_t *ram;

	assert_int_equal(vm_malloc(vm, 4 * GiB, 256 * GiB), 0);
	ram = vm_gpa_ram(vm, 200 * GiB, NULL);
	assert_int_equal(ram[4095], 0);
	ram[4095] = 1;
	assert_int_equal(vm_stat(vm, 0, VMM_STAT_MEM_RESIDENT, name, &resident), 0);
	assert_in_range(resident, 4 * KiB, 16 * 1024 * KiB);
}

static void allocated(void **state)
{
	struct vm *vm = *state;

	assert_int_equal(vm_malloc(vm, 8 * KiB, 8 * KiB), 0);
	assert_false(vm_mem_allocated(vm, 8 * KiB - 1));
	assert_true(vm_mem_allocated(vm, 8 * KiB));
	assert_true(vm_mem_allocated(vm, 16 * KiB - 1));
	assert_false(vm_mem_allocated(vm, 16 * KiB));
	assert_false(vm_mem_allocated(vm, UINT64_MAX));
}

static void segments_by_base(void **state)
{
	struct vm *vm = *state;
	struct vm_memory_segment seg;

	assert_int_equal(vm_malloc(vm, 8 * KiB, 8 * KiB), 0);
	assert_int_equal(vm_gpabase2memseg(vm, 8 * KiB, &seg), 0);
	assert_int_equal(seg.gpa, 8 * KiB);
	assert_int_equal(seg.len, 8 * KiB);
	assert_int_equal(seg.wired, 0);
	assert_int_equal(vm_gpabase2memseg(vm, 12 * KiB, &seg), -1);
	assert_int_equal(vm_gpabase2memseg(vm, 0, &seg), -1);
}

static void contiguous_to_the_end(void **state)
{
	struct vm *vm = *state;
	size_t n;

	assert_int_equal(vm_malloc(vm, 0, 16 * KiB), 0);
	assert_non_null(vm_gpa_ram(vm, 100, &n));
	assert_int_equal(n, 16 * KiB - 100);
	assert_null(vm_gpa_ram(vm, 16 * KiB, &n));
}

static void roms(void **state)
{
	struct vm *vm = *state;
	uint8_t *ram;
	void *cookie;
	char *p;

	assert_int_equal(vm_malloc(vm, 0, 64 * KiB), 0);
	assert_int_equal(vm_malloc(vm, 1024 * KiB, 64 * KiB), 0);
	ram = vm_gpa_ram(vm, 0, NULL);
	memcpy(ram + 8 * KiB, "stays", 6);
	assert_int_equal(vm_map_rom(vm, 8 * KiB + 1, 4 * KiB), EINVAL);
	assert_int_equal(vm_map_rom(vm, 60 * KiB, 8 * KiB), EINVAL); /* half of it is RAM */
	assert_int_equal(vm_map_rom(vm, 8 * KiB, 8 * KiB), 0);
	assert_int_equal(vm_map_rom(vm, 12 * KiB, 8 * KiB), EINVAL);
	assert_int_equal(vm_map_rom(vm, 2048 * KiB, 4 * KiB), 0); /* beside both segments of RAM */
	assert_int_equal(vm_map_rom(vm, 2052 * KiB, 4 * KiB), 0);
	assert_int_equal(vm_map_rom(vm, 0, 4 * KiB), 0);
	assert_int_equal(vm_map_rom(vm, 4 * KiB, 4 * KiB), E2BIG);
	assert_int_equal(vm_malloc(vm, 4096 * KiB, 4 * KiB), E2BIG);
	for (unsigned kib = 0; kib < 20; kib++)
		assert_int_equal(vm_gpa_is_rom(vm, kib * KiB), kib < 4 || (kib >= 8 && kib < 16));
	assert_true(vm_gpa_is_rom(vm, 2056 * KiB - 1));
	assert_true(vm_mem_allocated(vm, 2048 * KiB));
	assert_int_equal(*(uint8_t *)vm_gpa_ram(vm, 2048 * KiB, NULL), 0);

	p = vm_gpa_hold(vm, 8 * KiB, 16, PROT_WRITE, &cookie);
	assert_string_equal(p, "stays");
	memcpy(p, "is lost", 8);
	vm_gpa_release(cookie);
	assert_string_equal(vm_gpa_hold(vm, 8 * KiB, 16, PROT_READ, &cookie), "stays");
	vm_gpa_release(cookie);
	p = vm_gpa_hold(vm, 16 * KiB, 16, PROT_WRITE, &cookie);
	assert_ptr_equal(p, ram + 16 * KiB);
	vm_gpa_release(cookie);
}

static void hold_and_release(void **state)
{
	struct vm *vm = *state;
	void *cookie = state, *again;
	uint8_t *p;

	assert_int_equal(vm_malloc(vm, 0, 8 * KiB), 0);
	p = vm_gpa_hold(vm, 4 * KiB + 100, 50, PROT_WRITE, &cookie);
	assert_non_null(p);
	assert_non_null(cookie);
	memset(p, 7, 50);
	assert_int_equal(fake_log(vm, 0)->written, 0); /* not before it is done */
	vm_gpa_release(cookie);
	assert_int_equal(fake_log(vm, 0)->written, 1);
	assert_int_equal(fake_log(vm, 0)->written_gpa, 4 * KiB + 100);
	assert_int_equal(fake_log(vm, 0)->written_len, 50);

	again = vm_gpa_hold(vm, 4 * KiB, 4 * KiB, PROT_READ, &cookie);
	assert_ptr_equal(again, p - 100);
	vm_gpa_release(cookie);
	assert_int_equal(fake_log(vm, 0)->written, 1); /* reading writes nothing */

	assert_null(vm_gpa_hold(vm, 8 * KiB, 1, PROT_READ, &cookie));
	assert_null(cookie);
}

static void object_is_the_memory(void **state)
{
	struct vm *vm = *state;
	struct vm_object *object;
	vm_offset_t offset;
	uint8_t *ram, *map;

	assert_int_equal(vm_malloc(vm, 1024 * KiB, 64 * KiB), 0);
	ram = vm_gpa_ram(vm, 1024 * KiB, NULL);
	assert_int_equal(vm_get_memobj(vm, 1028 * KiB, 8 * KiB, &offset, &object), 0);
	assert_int_equal(offset, 4 * KiB);
	map = mmap(NULL, 8 * KiB, PROT_READ | PROT_WRITE, MAP_SHARED, vm_object_fd(object),
		(off_t)offset);
	assert_ptr_not_equal(map, MAP_FAILED);
	map[3] = 33;
	assert_int_equal(ram[4 * KiB + 3], 33);
	vm_object_release(object);
	munmap(map, 8 * KiB);
}

static void object_range_is_checked(void **state)
{
	struct vm *vm = *state;
	struct vm_object *object;
	vm_offset_t offset;

	assert_int_equal(vm_malloc(vm, 0, 64 * KiB), 0);
	assert_int_equal(vm_get_memobj(vm, 64 * KiB, 1, &offset, &object), EINVAL);
	assert_int_equal(vm_get_memobj(vm, 60 * KiB, 4 * KiB + 1, &offset, &object), EINVAL);
	assert_int_equal(vm_get_memobj(vm, 4 * KiB, SIZE_MAX, &offset, &object), EINVAL);
	assert_int_equal(vm_get_memobj(vm, 60 * KiB, 4 * KiB, &offset, &object), 0);
	vm_object_release(object);
}

/* The caller's reference keeps the object over the VM's end. */
static void object_outlives_vm(void **state)
{
	struct vm *vm = vm_new(&fake_ops);
	struct vm_object *object;
	vm_offset_t offset;
	char byte = 'x';

	(void)state;
	assert_int_equal(vm_malloc(vm, 0, 4 * KiB), 0);
	assert_int_equal(vm_get_memobj(vm, 0, 4 * KiB, &offset, &object), 0);
	*(char *)vm_gpa_ram(vm, 0, NULL) = 'y';
	vm_delete(vm);
	assert_int_equal(pread(vm_object_fd(object), &byte, 1, 0), 1);
	assert_int_equal(byte, 'y');
	vm_object_release(object);
}

static void *host_page(void)
{
	void *page =
		mmap(NULL, 8 * KiB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(page, MAP_FAILED);
	return page;
}

static void mapped_host_memory(void **state)
{
	struct vm *vm = *state;
	uint8_t *host = host_page(), *second = host_page();
	uint64_t value;

	assert_int_equal(vm_malloc(vm, 0, 64 * KiB), 0);
	assert_int_equal(vm_mmio_add(vm, 60 * KiB, 8 * KiB, host), ENOMEM);
	assert_int_equal(vm_mmio_add(vm, 64 * KiB, 8 * KiB, host), 0);
	assert_int_equal(vm_mmio_add(vm, 68 * KiB, 8 * KiB, second), ENOMEM);
	assert_int_equal(vm_mmio_add(vm, 72 * KiB, 8 * KiB, second), 0);
	assert_false(vm_mem_allocated(vm, 64 * KiB));
	assert_true(vm_gpa_is_chip(vm, 64 * KiB));
	assert_int_equal(vm_malloc(vm, 64 * KiB, 4 * KiB), ENOMEM);

	vm_chip_write(vm, 0, 64 * KiB + 8, 0x1122334455667788, 4, NULL);
	assert_int_equal(*(uint64_t *)(host + 8), 0x55667788);
	vm_chip_write(vm, 0, 72 * KiB + 4094, 0xabcd, 2, NULL);
	vm_chip_read(vm, 0, 72 * KiB + 4094, &value, 2);
	assert_int_equal(value, 0xabcd);
	vm_chip_read(vm, 0, 72 * KiB + 4095, &value, 1);
	assert_int_equal(value, 0xab);
	vm_chip_read(vm, 0, 80 * KiB - 4, &value, 8); /* over the end */
	assert_int_equal(value, UINT64_MAX);

	assert_int_equal(vm_unmap_mmio(vm, 64 * KiB, 4 * KiB), 0); /* not whole: stays */
	assert_true(vm_gpa_is_chip(vm, 64 * KiB));
	assert_int_equal(vm_unmap_mmio(vm, 64 * KiB, 8 * KiB), 0);
	assert_false(vm_gpa_is_chip(vm, 64 * KiB));
	assert_true(vm_gpa_is_chip(vm, 72 * KiB));
	assert_int_equal(vm_unmap_mmio(vm, 0, 4 * KiB), 0);
}

static void map_mmio_says_enomem(void **state)
{
	struct vm *vm = *state;

	assert_int_equal(vm_map_mmio(vm, 1, 4 * KiB, 0), ENOMEM);
	assert_int_equal(vm_map_mmio(vm, 0, 0, 0), ENOMEM);
	assert_int_equal(vm_map_mmio(vm, 0, 4 * KiB, 17), ENOMEM);
}

static void chip_pages(void **state)
{
	struct vm *vm = *state;
	uint64_t value;

	assert_true(vm_gpa_is_chip(vm, PC_LAPIC_BASE));
	assert_true(vm_gpa_is_chip(vm, PC_LAPIC_BASE + 0xfff));
	assert_false(vm_gpa_is_chip(vm, PC_LAPIC_BASE + 0x1000));
	assert_true(vm_gpa_is_chip(vm, PC_IOAPIC_BASE + 0xfff));
	assert_true(vm_gpa_is_chip(vm, PC_HPET_BASE + 0x3ff));
	assert_false(vm_gpa_is_chip(vm, PC_HPET_BASE + 0x400));
	assert_false(vm_gpa_is_chip(vm, 0));
	assert_false(vm_gpa_is_chip(vm, 0xfed40000));
	assert_int_equal(vm_wrmsr(vm, 2, 0x1b, 0xfed40800), 0); /* the APIC of vcpu 2 moves */
	assert_true(vm_gpa_is_chip(vm, 0xfed40000));
	assert_true(vm_gpa_is_chip(vm, PC_LAPIC_BASE));
	vm_chip_read(vm, 2, 0xfed40030, &value, 4);
	assert_int_equal(value & 0xff, 0x10);
	vm_chip_read(vm, 0, 0xfed40030, &value, 4);
	assert_int_equal((uint32_t)value, UINT32_MAX);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_fake, teardown_vm)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(malloc_arguments),
		TEST(malloc_twice_and_partly),
		TEST(malloc_is_lazy),
		TEST(allocated),
		TEST(segments_by_base),
		TEST(contiguous_to_the_end),
		TEST(roms),
		TEST(hold_and_release),
		TEST(object_is_the_memory),
		TEST(object_range_is_checked),
		cmocka_unit_test(object_outlives_vm),
		TEST(mapped_host_memory),
		TEST(map_mmio_says_enomem),
		TEST(chip_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
