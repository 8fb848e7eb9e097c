/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The core in a storm, with a guest that writes to a port, halts and spins. */
#include "test/vmm/harness.h"
#include "test/vmm/storm.h"

#define VCPUS 8
#define STEPS 4096u

static struct fake_step *script_new(void)
{
	struct fake_step *steps = calloc(STEPS, sizeof(*steps));

	for (unsigned i = 0; i < STEPS; i++) {
		struct vm_exit *exit = &steps[i].exit;

		exit->inst_length = 2;
		exit->exitcode = VM_EXITCODE_INOUT;
		exit->u.inout.bytes = 1;
		exit->u.inout.port = STORM_PORT;
		if (i % 16 == 15) {
			exit->exitcode = VM_EXITCODE_HLT;
			exit->u.hlt.rflags = 0x202;
		}
	}
	return steps;
}

static void prepare(struct vm *vm, int vcpu, void *arg)
{
	assert_int_equal(vmmdev_activate_cpu(vm, vcpu), 0);
	fake_script(vm, vcpu, arg, STEPS);
}

static void everything_at_once(void **state)
{
	struct fake_step *steps = script_new();
	struct vm *vm;

	(void)state;
	assert_int_equal(vmmdev_create(&fake_ops, "storm", &vm), 0);
	assert_int_equal(vmmdev_map_memory(vm, 0, 1 << 20), 0);
	storm(vm, VCPUS, prepare, steps);
	vmmdev_destroy(vm);
	free(steps);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
