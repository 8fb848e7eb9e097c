/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "test/vmm/chip/fake_vm.h"

static uint32_t in(struct vm *vm, int bytes)
{
	uint32_t val = 0xdeadbeef;

	assert_int_equal(vpmtmr_handler(vm, 0, true, PC_PM_TIMER, bytes, &val), 0);
	return val;
}

static void counts(void **state)
{
	struct vm *vm = *state;
	uint32_t val = 0x1234;

	assert_int_equal(in(vm, 4), 0);
	vmm_clock_advance(vm->clock, S);
	assert_int_equal(in(vm, 4), 3579545);
	assert_int_equal(in(vm, 2), 3579545 & 0xffff);
	assert_int_equal(in(vm, 1), 3579545 & 0xff);
	assert_int_equal(vpmtmr_handler(vm, 0, false, PC_PM_TIMER, 4, &val), 0);
	assert_int_equal(in(vm, 4), 3579545);
	/* 32 bits last for 1199.86 s; over days it does not drift. */
	vmm_clock_advance(vm->clock, 1199 * S);
	assert_int_equal(in(vm, 4), (uint32_t)(3579545ull * 1200));
	vmm_clock_advance(vm->clock, 1000000 * S);
	assert_int_equal(in(vm, 4), (uint32_t)(3579545ull * 1001200));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(counts, fake_vm_setup, fake_vm_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
