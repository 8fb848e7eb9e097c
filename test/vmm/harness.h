/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* What the tests of the core share: a VM on a fake clock, and threads that run vcpus. */
#ifndef TEST_VMM_HARNESS_H
#define TEST_VMM_HARNESS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <pthread.h>
#include <sys/mman.h>

#include "test/vmm/fake_backend.h"
#include "vmm/vm.h"

/* A VM with a fake clock of its own; vcpu 0 is FROZEN and active. */
struct vm *vm_new(const struct vmm_ops *ops);
void vm_delete(struct vm *vm);

/* cmocka setup and teardown around the two, for fake_ops and fake_lending_ops. */
int setup_fake(void **state);
int setup_lending(void **state);
int teardown_vm(void **state);

/* A thread in vm_run. The vcpu must be FROZEN by the starter, who gets it back at join. */
struct runner {
	pthread_t thread;
	struct vm *vm;
	struct vm_run run;
	int error;
};
void runner_start(struct runner *runner, struct vm *vm, int vcpuid, uint64_t rip);
int runner_join(struct runner *runner);
/* Freezes and activates more vcpus. */
void vcpu_prepare(struct vm *vm, int vcpuid);
/* Fails the test after 10 seconds. */
void wait_for_state(struct vm *vm, int vcpuid, enum vcpu_state state);
/* For conditions without a state; `cond` is polled. */
void wait_until(bool (*cond)(struct vm *vm, void *arg), struct vm *vm, void *arg);

#endif
