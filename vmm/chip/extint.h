/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Between the 8259s and the core. */
#ifndef VMM_CHIP_EXTINT_H
#define VMM_CHIP_EXTINT_H

struct vm;

/*
 * INTR has fallen: what vm_inject_extint said to any vcpu, and nobody has taken, is void.  Any
 * thread; the 8259s' lock may be held.
 */
void vm_extint_withdraw(struct vm *vm);

#endif
