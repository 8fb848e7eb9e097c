/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The 8254 interval timer and port 0x61, the gate, speaker and refresh bits (vmm-api.md 10.5).  For
 * the core.  Counter 0 drives PIC line 0 and I/O APIC pin 2.  Any thread; no lock is held while the
 * line moves.
 */
#ifndef VMM_VATPIT_H
#define VMM_VATPIT_H

#include <stdbool.h>
#include <stdint.h>
#include <vmm/vmm.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* NULL on ENOMEM. */
struct vatpit *vatpit_init(struct vm *vm);
/* Drains the timer; before the PIC and the I/O APIC go. NULL is allowed. */
void vatpit_cleanup(struct vatpit *vatpit);

/*
 * PC_PIT_PORT, four ports; accesses wider than a byte read all ones and are not written. Always 0.
 */
int vatpit_handler(struct vm *vm, int vcpuid, bool in, int port, int bytes, uint32_t *val);
/* PC_NMISC_PORT. Always 0. */
int vatpit_nmisc_handler(struct vm *vm, int vcpuid, bool in, int port, int bytes, uint32_t *val);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
