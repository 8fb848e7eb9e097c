/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The dirty log, vm_dirty_start() and its neighbours: an addition to vmm-api.md 4.2. */
#include <sys/mman.h>

#include "test/contract/contract.h"

#define PAGES (RAM_SIZE / 4096)
#define FAR   0x180000u

/* mov byte [0x180000], 1; mov al, [0x182000]; mov dword [0x183ffe], eax; out 0xe9, al */
static const char stores[] = "\xc6\x05\x00\x00\x18\x00\x01"
			     "\xa0\x00\x20\x18\x00"
			     "\xa3\xfe\x3f\x18\x00"
			     "\xe6\xe9";

static bool get_page(struct contract *c, vm_paddr_t gpa)
{
	uint64_t bit = ~0ull;

	assert_int_equal(vm_dirty_get(c->vm, gpa, 4096, &bit), 0);
	assert_int_equal(bit & ~1ull, 0);
	return bit;
}

static unsigned count(struct contract *c)
{
	uint64_t bits[PAGES / 64];
	unsigned n = 0;

	assert_int_equal(vm_dirty_get(c->vm, 0, RAM_SIZE, bits), 0);
	for (unsigned i = 0; i < PAGES / 64; i++)
		n += (unsigned)__builtin_popcountll(bits[i]);
	return n;
}

/* Once more from CODE. */
static void rewind_to_code(struct contract *c)
{
	c->run[0].vm_exit.rip = CODE;
	c->run[0].vm_exit.inst_length = 0;
}

/*
 * A log of what the code does once it has run: KVM may name a page that the guest has only read
 * when it shows it to the guest for the first time.
 */
static void begin(struct contract *c)
{
	assert_int_equal(vm_dirty_start(c->vm), 0);
	run_to_out(c, 0);
	(void)count(c);
	rewind_to_code(c);
}

static void c4_2_dirty_enxio_before_start(void **state)
{
	struct contract *c = *state;
	uint64_t bits;

	assert_int_equal(vm_dirty_get(c->vm, 0, 4096, &bits), ENXIO);
	assert_int_equal(vm_dirty_start(c->vm), 0);
	assert_int_equal(vm_dirty_get(c->vm, 0, 4096, &bits), 0);
	vm_dirty_stop(c->vm);
	vm_dirty_stop(c->vm);
	assert_int_equal(vm_dirty_get(c->vm, 0, 4096, &bits), ENXIO);
}

static void c4_2_dirty_einval(void **state)
{
	struct contract *c = *state;
	uint64_t bits[PAGES / 64 + 1];

	assert_int_equal(vm_dirty_start(c->vm), 0);
	assert_int_equal(vm_dirty_get(c->vm, 1, 4096, bits), EINVAL);
	assert_int_equal(vm_dirty_get(c->vm, 0, 4095, bits), EINVAL);
	assert_int_equal(vm_dirty_get(c->vm, RAM_SIZE, 4096, bits), EINVAL);
	assert_int_equal(vm_dirty_get(c->vm, 0, RAM_SIZE + 4096, bits), EINVAL);
	assert_int_equal(vm_dirty_get(c->vm, ~0xfffull, 8192, bits), EINVAL);
	assert_int_equal(vm_dirty_get(c->vm, RAM_SIZE, 0, bits), 0);
}

static void c4_2_dirty_starts_empty(void **state)
{
	struct contract *c = *state;

	GUEST(protected_mode, c, 0, stores);
	run_to_out(c, 0);
	assert_int_equal(vm_dirty_start(c->vm), 0);
	assert_int_equal(count(c), 0);
}

static void c4_2_dirty_stores_of_the_guest(void **state)
{
	struct contract *c = *state;

	GUEST(protected_mode, c, 0, stores);
	begin(c);
	run_to_out(c, 0);
	assert_true(get_page(c, FAR));
	assert_false(get_page(c, FAR + 0x2000)); /* only read */
	assert_true(get_page(c, FAR + 0x3000));	 /* one store, two pages */
	assert_true(get_page(c, FAR + 0x4000));
	assert_false(get_page(c, CODE));
}

static void c4_2_dirty_is_told_once(void **state)
{
	struct contract *c = *state;

	GUEST(protected_mode, c, 0, stores);
	begin(c);
	run_to_out(c, 0);
	assert_true(get_page(c, FAR));
	assert_false(get_page(c, FAR));
	assert_true(get_page(c, FAR + 0x3000)); /* each page for itself */
	assert_int_equal(count(c), 1);
	assert_int_equal(count(c), 0);
}

/* The same stores, which the processor has done before. */
static void c4_2_dirty_again(void **state)
{
	struct contract *c = *state;

	GUEST(protected_mode, c, 0, stores);
	assert_int_equal(vm_dirty_start(c->vm), 0);
	for (unsigned i = 0; i < 3; i++) {
		run_to_out(c, 0);
		rewind_to_code(c);
		assert_true(get_page(c, FAR));
		assert_true(get_page(c, FAR + 0x3000));
		(void)count(c);
	}
	assert_int_equal(vm_dirty_start(c->vm), 0);
	assert_int_equal(count(c), 0);
}

static void c4_2_dirty_bits_are_in_order(void **state)
{
	struct contract *c = *state;
	uint64_t bits[2];

	GUEST(protected_mode, c, 0, stores);
	begin(c);
	run_to_out(c, 0);
	/* From a page on that begins no word of the backend's. */
	assert_int_equal(vm_dirty_get(c->vm, FAR - 0x3f000, 70 * 4096, bits), 0);
	assert_int_equal(bits[0], 1ull << 63);
	assert_int_equal(bits[1], 1u << 2 | 1u << 3);
}

/* In long mode each table that is walked gets its accessed bit. */
static void c4_2_dirty_page_tables(void **state)
{
	struct contract *c = *state;
	uint64_t *pml4;

	GUEST(long_mode, c, 0,
		"\x8a\x04\x25\x00\x00\x18\x00\xe6\xe9"); /* mov al, [0x180000]; out */
	pml4 = (uint64_t *)(c->ram + (get_reg(c, 0, VM_REG_GUEST_CR3) & ~0xfffull));
	begin(c);
	pml4[0] &= ~0x20ull;
	set_reg(c, 0, VM_REG_GUEST_CR3,
		get_reg(c, 0, VM_REG_GUEST_CR3)); /* no translation is kept */
	run_to_out(c, 0);
	assert_true(pml4[0] & 0x20);
	assert_true(get_page(c, get_reg(c, 0, VM_REG_GUEST_CR3)));
	assert_false(get_page(c, FAR));
}

static void c4_2_dirty_what_is_told_of(void **state)
{
	struct contract *c = *state;
	void *cookie;

	assert_int_equal(vm_dirty_start(c->vm), 0);
	vm_mem_written(c->vm, FAR + 0x1fff, 2);
	assert_true(get_page(c, FAR + 0x1000));
	assert_true(get_page(c, FAR + 0x2000));
	assert_non_null(vm_gpa_hold(c->vm, FAR, 16, PROT_WRITE, &cookie));
	vm_gpa_release(cookie);
	assert_true(get_page(c, FAR));
	assert_non_null(vm_gpa_hold(c->vm, FAR, 16, PROT_READ, &cookie));
	vm_gpa_release(cookie);
	assert_int_equal(count(c), 0);
}

static void c4_2_dirty_ends_with_reinit(void **state)
{
	struct contract *c = *state;
	uint64_t bits;

	assert_int_equal(vm_dirty_start(c->vm), 0);
	GUEST(protected_mode, c, 0, "\xf4");
	assert_int_equal(vm_suspend(c->vm, VM_SUSPEND_RESET), 0);
	run_to(c, 0, VM_EXITCODE_SUSPENDED);
	assert_int_equal(vm_reinit(c->vm), 0);
	assert_int_equal(vm_dirty_get(c->vm, 0, 4096, &bits), ENXIO);
}

int main(void)
{
	static const struct behaviour tests[] = {
		CONTRACT(c4_2_dirty_enxio_before_start),
		CONTRACT(c4_2_dirty_einval),
		CONTRACT(c4_2_dirty_starts_empty),
		CONTRACT(c4_2_dirty_stores_of_the_guest),
		CONTRACT(c4_2_dirty_is_told_once),
		CONTRACT(c4_2_dirty_again),
		CONTRACT(c4_2_dirty_bits_are_in_order),
		CONTRACT(c4_2_dirty_page_tables),
		CONTRACT(c4_2_dirty_what_is_told_of),
		CONTRACT(c4_2_dirty_ends_with_reinit),
	};

	return contract_run("c4 dirty", tests, sizeof(tests) / sizeof(tests[0]));
}
