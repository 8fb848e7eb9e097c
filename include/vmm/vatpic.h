/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The two cascaded 8259A interrupt controllers with their edge/level control registers
 * (vmm-api.md 10.4). For the core, backends, other chips and the machine.  Any thread; the device
 * lock is inside that of vatpit and vhpet, and outside those of vioapic and the vcpus.
 */
#ifndef VMM_VATPIC_H
#define VMM_VATPIC_H

#include <stdbool.h>
#include <stdint.h>
#include <vmm/vmm.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* NULL on ENOMEM. */
struct vatpic *vatpic_init(struct vm *vm);
/* NULL is allowed. */
void vatpic_cleanup(struct vatpic *vatpic);

/* Input lines 0..15, which count their asserters. EINVAL: no such line. */
int vatpic_assert_irq(struct vm *vm, int irq);
int vatpic_deassert_irq(struct vm *vm, int irq);
int vatpic_pulse_irq(struct vm *vm, int irq);
/*
 * The ELCR's bit. EINVAL: no such line, or level for lines 0, 1, 2, 8 and 13, which are always
 * edge.
 */
int vatpic_set_irq_trigger(struct vm *vm, int irq, enum vm_intr_trigger trigger);

/* The vector that INTA would fetch now, 0..255; that of IRQ 7 if the request has gone. */
void vatpic_pending_intr(struct vm *vm, int *vector);
/* That vector is being injected: the second INTA pulse. */
void vatpic_intr_accepted(struct vm *vm, int vector);
/*
 * The level of the master's INTR output.  An APIC that opens its LINT0 late samples it; a backend
 * may, before it injects an ExtINT: false means that the request was withdrawn, and the vector
 * would be the spurious one.
 */
bool vatpic_intr_asserted(struct vm *vm);

/* Port handlers, for PC_PIC1_PORT, PC_PIC2_PORT and PC_ELCR_PORT, two ports each. Always 0. */
int vatpic_master_handler(struct vm *vm, int vcpuid, bool in, int port, int bytes, uint32_t *val);
int vatpic_slave_handler(struct vm *vm, int vcpuid, bool in, int port, int bytes, uint32_t *val);
int vatpic_elc_handler(struct vm *vm, int vcpuid, bool in, int port, int bytes, uint32_t *val);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
