/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A backend without a guest: registers are kept, and vmrun plays a script of exits.  Between exits
 * it behaves as vmm-api.md 3.1 asks: events, suspend, rendezvous, yield, then "guest code".
 */
#ifndef TEST_VMM_FAKE_BACKEND_H
#define TEST_VMM_FAKE_BACKEND_H

#include <vmm/backend.h>

#include "x86/x86.h"

/* Lends no processor: INST_EMUL goes to the user. */
extern struct vmm_ops fake_ops;
/* Lends one, with which the core emulates instructions. */
extern struct vmm_ops fake_lending_ops;

/* One entry into the guest. `exit.rip` 0: wherever vmrun was entered. */
struct fake_step {
	struct vm_exit exit;
	int error;					     /* vmrun's result */
	void (*guest)(struct vm *vm, int vcpuid, void *arg); /* runs while RUNNING; may be NULL */
	void *arg;
};

/* Plays these; after the last one the vcpu spins in the guest until something asks for it. */
void fake_script(struct vm *vm, int vcpuid, const struct fake_step *steps, unsigned n);

/* What the guest saw. */
struct fake_log {
	unsigned entries;    /* times guest code was reached */
	uint64_t last_rip;   /* of the last one */
	uint64_t last_event; /* last word of vm_entry_intinfo, 0: none */
	unsigned events;     /* how many there were */
	unsigned kicks;
	_Atomic unsigned written, changed; /* mem_written, mem_changed */
	_Atomic vm_paddr_t written_gpa;
	_Atomic size_t written_len;
};
struct fake_log *fake_log(struct vm *vm, int vcpuid);
struct x86_cpu *fake_cpu(struct vm *vm, int vcpuid);

#endif
