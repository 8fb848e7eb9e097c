/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Everything at once, through the public API: for the tests of several backends. */
#ifndef TEST_VMM_STORM_H
#define TEST_VMM_STORM_H

#include <vmm/vmm.h>
#include <vmm/vmm_dev.h>

#define STORM_PORT 0xe8

/*
 * Runs vcpus 0 to vcpus-1 of a VM that has run nothing yet, for STORM_MS milliseconds (3000), while
 * other threads raise interrupts and NMIs, read and write registers and memory, ask vcpus to leave,
 * and call for rendezvous; the vcpus do so, too, each time the guest writes to STORM_PORT.  Again
 * and again the VM is suspended, and reinitialised when all have stopped.  `prepare` activates and
 * loads a vcpu, before it runs and after each reinit; only it is in the VM then.  The test fails if
 * a rendezvous is not what it should be, a call answers with an error that it must not have, or
 * nothing moves for a minute.
 */
void storm(
	struct vm *vm, int vcpus, void (*prepare)(struct vm *vm, int vcpu, void *arg), void *arg);

#endif
