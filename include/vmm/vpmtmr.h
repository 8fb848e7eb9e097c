/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The ACPI power-management timer (ACPI 4.8.3.3): a free-running 32-bit counter of 3.579545 MHz at
 * PC_PM_TIMER.  For the core.  Any thread, no locks.
 */
#ifndef VMM_VPMTMR_H
#define VMM_VPMTMR_H

#include <stdbool.h>
#include <stdint.h>
#include <vmm/vmm.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define VPMTMR_HZ 3579545u

/* NULL on ENOMEM. */
struct vpmtmr *vpmtmr_init(struct vm *vm);
/* NULL is allowed. */
void vpmtmr_cleanup(struct vpmtmr *vpmtmr);

/* Reads give the counter's low bytes, writes are ignored. Always 0. */
int vpmtmr_handler(struct vm *vm, int vcpuid, bool in, int port, int bytes, uint32_t *val);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
