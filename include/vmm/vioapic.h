/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The I/O APIC (82093AA, 24 pins; vmm-api.md 10.3) at PC_IOAPIC_BASE.  For the core, other chips
 * and the machine.  All functions may be called from any thread; the device lock is inside those of
 * vhpet, vatpit and vatpic and outside the vcpu locks.
 */
#ifndef VMM_VIOAPIC_H
#define VMM_VIOAPIC_H

#include <stdint.h>
#include <vmm/vmm.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* NULL on ENOMEM. */
struct vioapic *vioapic_init(struct vm *vm);
/* NULL is allowed. */
void vioapic_cleanup(struct vioapic *vioapic);

/*
 * Input lines count their asserters: the first raises, the last lowers.  A pulse is both at once,
 * for edge-triggered lines.  EINVAL: no such pin.
 */
int vioapic_assert_irq(struct vm *vm, int irq);
int vioapic_deassert_irq(struct vm *vm, int irq);
int vioapic_pulse_irq(struct vm *vm, int irq);
int vioapic_pincount(struct vm *vm);

/*
 * Register access; `size` in bytes. Always 0: what is not a 32-bit register reads 0, ignores
 * writes.
 */
int vioapic_mmio_read(
	struct vm *vm, int vcpuid, uint64_t gpa, uint64_t *value, int size, void *arg);
int vioapic_mmio_write(
	struct vm *vm, int vcpuid, uint64_t gpa, uint64_t value, int size, void *arg);

/* A local APIC ended a level-triggered `vector`: lines still asserted are sent again. */
void vioapic_process_eoi(struct vm *vm, int vcpuid, int vector);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
