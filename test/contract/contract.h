/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The contract suite: one test for each numbered behaviour of vmm-api.md, sections 4 to 8, named
 * after it, run on every backend that this host can use.  Only the public API is used, and guests
 * that execute real code, so what passes here on one backend holds an embedder's program together
 * on all.
 */
#ifndef TEST_CONTRACT_CONTRACT_H
#define TEST_CONTRACT_CONTRACT_H

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <vmm/vmm_dev.h>

#define RAM_SIZE  0x200000u
#define CODE	  0x1000u /* where guest code is put and starts */
#define STACK	  0x8000u
#define DONE_PORT 0xe9u /* OUT here is how guests report */

#define RFLAGS_IF 0x200u
#define CR0_PE	  0x1u
#define CR0_NE	  0x20u
#define CR0_WP	  0x10000u
#define CR0_PG	  0x80000000u
#define CR4_PAE	  0x20u
#define EFER_LME  0x100u
#define EFER_LMA  0x400u

struct contract {
	const struct vmm_ops *ops;
	struct vm *vm;
	uint8_t *ram; /* [0, RAM_SIZE) */
	struct vm_run run[VM_MAXCPU];
	pthread_t thread[VM_MAXCPU];
	int error[VM_MAXCPU];
};

/* A VM with RAM; vcpu 0 is FROZEN, active, and reset. */
int contract_setup(void **state);
/* A VM and nothing done to it. */
int contract_setup_bare(void **state);
int contract_teardown(void **state);

#define CONTRACT(name) cmocka_unit_test_setup_teardown(name, contract_setup, contract_teardown)
#define CONTRACT_BARE(name)                                                                        \
	cmocka_unit_test_setup_teardown(name, contract_setup_bare, contract_teardown)

/* Runs the tests on each backend; the number that failed. */
int contract_run(const char *section, const struct CMUnitTest *tests, size_t n);

/* Claims, activates and resets another vcpu. */
void contract_add_vcpu(struct contract *c, int vcpuid);

/* Puts code at CODE and the vcpu there, in 16-bit real mode with CS = 0 and a stack. */
void real_mode(struct contract *c, int vcpuid, const void *code, size_t n);
/*
 * The same in flat 32-bit protected mode, and in 64-bit mode with the first GiBs mapped to
 * themselves.
 */
void protected_mode(struct contract *c, int vcpuid, const void *code, size_t n);
void long_mode(struct contract *c, int vcpuid, const void *code, size_t n);
#define GUEST(mode, c, vcpuid, bytes) mode(c, vcpuid, bytes, sizeof(bytes) - 1)

/* The real-mode vector. */
void set_ivt(struct contract *c, unsigned vector, uint16_t offset);
/* Code somewhere else. */
#define PLACE(c, gpa, bytes) memcpy((c)->ram + (gpa), bytes, sizeof(bytes) - 1)

/* vm_run from where the vcpu stands; the exit, which must be `code`. */
struct vm_exit *run_to(struct contract *c, int vcpuid, enum vm_exitcode code);
/* Runs to an OUT to DONE_PORT and steps over it; what was written. */
uint32_t run_to_out(struct contract *c, int vcpuid);
/* Leaves the exit behind: rip + length. run_to does so by itself before it runs. */
void step_over(struct contract *c, int vcpuid);

/* vm_run on a thread. */
void run_start(struct contract *c, int vcpuid);
struct vm_exit *run_join(struct contract *c, int vcpuid);
void wait_state(struct contract *c, int vcpuid, enum vcpu_state state);

uint64_t get_reg(struct contract *c, int vcpuid, int reg);
void set_reg(struct contract *c, int vcpuid, int reg, uint64_t value);

/* Register access of the local APIC's page by the vcpu's owner. */
void lapic_write(struct contract *c, int vcpuid, uint32_t offset, uint32_t value);
uint32_t lapic_read(struct contract *c, int vcpuid, uint32_t offset);

#endif
