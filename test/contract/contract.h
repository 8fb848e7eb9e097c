/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The contract suite: one test for each numbered behaviour of vmm-api.md, sections 2 to 12, named
 * after it, run on every backend that this host can use.  Only the public API is used, and guests
 * that execute real code, so what passes here on one backend holds an embedder's program together
 * on all.  suite.h has what runs them, skips.c what a backend need not have.
 */
#ifndef TEST_CONTRACT_CONTRACT_H
#define TEST_CONTRACT_CONTRACT_H

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/vmm_dev.h>

#include "test/contract/suite.h"

#define RAM_SIZE  0x200000u
#define CODE	  0x1000u /* where guest code is put and starts */
#define STACK	  0x8000u
#define DONE_PORT 0xe9u /* OUT here is how guests report */

#define RFLAGS_IF 0x200u
#define CR0_PE	  0x1u
#define CR0_TS	  0x8u
#define CR0_NE	  0x20u
#define CR0_WP	  0x10000u
#define CR0_AM	  0x40000u
#define CR0_PG	  0x80000000u
#define CR4_PSE	  0x10u
#define CR4_PAE	  0x20u
#define CR4_SMEP  0x100000u
#define CR4_SMAP  0x200000u
#define EFER_LME  0x100u
#define EFER_LMA  0x400u
#define EFER_NXE  0x800u

struct contract {
	const struct vmm_ops *ops;
	struct vm *vm;
	uint8_t *ram; /* [0, RAM_SIZE) */
	struct vm_run run[VM_MAXCPU];
	pthread_t thread[VM_MAXCPU];
	int error[VM_MAXCPU];
	const void *row;    /* of a table of behaviours */
	struct guest {	    /* what service() runs, see there */
		int vector; /* the last exception or interrupt that was reported, -1: none */
		uint64_t error_code;
	} guest[VM_MAXCPU];
};

/* A VM with RAM; vcpu 0 is FROZEN, active, and reset. 0 or an errno. */
int contract_setup(const struct vmm_ops *ops, void **state);
/* A VM and nothing done to it. */
int contract_setup_bare(const struct vmm_ops *ops, void **state);
void contract_teardown(void **state);

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
/* 64-bit code at CPL 3, with selectors of a GDT and a stack in a TSS for the way to CPL 0. */
void user_mode(struct contract *c, int vcpuid, const void *code, size_t n);
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

/* ---- The service guest ---- */

/*
 * A guest in 64-bit supervisor mode that executes one instruction on request and reports exceptions
 * and interrupts, so that a test can talk to chips and registers as a guest's driver does.  To be
 * started once for a vcpu.
 */
void service(struct contract *c, int vcpuid);

uint32_t guest_in(struct contract *c, int vcpuid, uint16_t port, int bytes);
void guest_out(struct contract *c, int vcpuid, uint16_t port, int bytes, uint32_t value);
/* A byte, by vcpu 0. */
uint8_t inb(struct contract *c, uint16_t port);
void outb(struct contract *c, uint16_t port, uint8_t value);

/* Memory of 1, 2, 4 or 8 bytes, that is RAM or a chip's. */
uint64_t guest_load(struct contract *c, int vcpuid, uint64_t gpa, int bytes);
void guest_store(struct contract *c, int vcpuid, uint64_t gpa, int bytes, uint64_t value);
/* 32 bits, by vcpu 0. */
uint32_t load32(struct contract *c, uint64_t gpa);
void store32(struct contract *c, uint64_t gpa, uint32_t value);

/* -1; the vector of the exception that it raised; or GUEST_EXIT: it is for the user to finish. */
#define GUEST_EXIT 256
int guest_rdmsr(struct contract *c, int vcpuid, uint32_t msr, uint64_t *value);
int guest_wrmsr(struct contract *c, int vcpuid, uint32_t msr, uint64_t value);
void guest_cpuid(struct contract *c, int vcpuid, uint32_t leaf, uint32_t subleaf, uint32_t regs[4]);
/*
 * Runs instructions of the test's own, with whatever it has set in registers other than RSP and
 * RFLAGS: -1, or the vector of the exception; guest[vcpuid].error_code has its code.
 */
#define EXECUTE(c, vcpuid, bytes) guest_execute(c, vcpuid, bytes, sizeof(bytes) - 1)
int guest_execute(struct contract *c, int vcpuid, const void *code, size_t n);

/* Opens interrupts for an instruction: the vector that came, or -1. */
int guest_interrupt(struct contract *c, int vcpuid);
/* HLT with interrupts open: the vector that ended it. */
int guest_wait(struct contract *c, int vcpuid);

#endif
