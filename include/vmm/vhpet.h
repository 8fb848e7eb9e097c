/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The high-precision event timer (IA-PC HPET 1.0a; vmm-api.md 10.6) at PC_HPET_BASE: 8 timers on a
 * 32-bit counter of 10 MHz, with legacy routing.  For the core.  Any thread; its lock is the
 * outermost of the chips' and is held while interrupts are raised.
 */
#ifndef VMM_VHPET_H
#define VMM_VHPET_H

#include <stdint.h>
#include <vmm/vmm.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* NULL on ENOMEM. */
struct vhpet *vhpet_init(struct vm *vm);
/* Drains the timers; before the PIC and the I/O APIC go. NULL is allowed. */
void vhpet_cleanup(struct vhpet *vhpet);

/*
 * Register access; `size` in bytes.  Always 0: accesses other than naturally aligned 4 or 8 bytes
 * read 0 and are not written.
 */
int vhpet_mmio_read(struct vm *vm, int vcpuid, uint64_t gpa, uint64_t *value, int size, void *arg);
int vhpet_mmio_write(struct vm *vm, int vcpuid, uint64_t gpa, uint64_t value, int size, void *arg);

/* The low half of the capabilities register, for the ACPI table. 0. */
int vhpet_getcap(struct vm *vm, uint32_t *cap);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
