/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A VM that is nothing but its chips on a clock, and counts what they do to vcpus.  For the tests
 * of vmm/chip/.
 */
#ifndef TEST_VMM_CHIP_FAKE_VM_H
#define TEST_VMM_CHIP_FAKE_VM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <vmm/backend.h>
#include <vmm/clock.h>
#include <vmm/pc.h>
#include <vmm/vatpic.h>
#include <vmm/vatpit.h>
#include <vmm/vhpet.h>
#include <vmm/vioapic.h>
#include <vmm/vlapic.h>
#include <vmm/vpmtmr.h>
#include <vmm/vrtc.h>

#define US 1000ull
#define MS 1000000ull
#define S  1000000000ull

struct vm {
	struct vmm_clock *clock;
	struct vioapic *vioapic;
	struct vhpet *vhpet;
	struct vatpic *vatpic;
	struct vatpit *vatpit;
	struct vrtc *vrtc;
	struct vpmtmr *vpmtmr;
	struct vlapic *vlapic[VM_MAXCPU];
	uint32_t active; /* bit mask; at first vcpu 0 alone */
	_Atomic unsigned notified[VM_MAXCPU], nmis[VM_MAXCPU], extints[VM_MAXCPU];
	unsigned withdrawn;
	struct vm_exit exitinfo[VM_MAXCPU];
};

/* On a fake clock, or the real one. */
struct vm *fake_vm_create(struct vmm_clock *clock);
void fake_vm_destroy(struct vm *vm);
/* The same as cmocka's setup and teardown, *state being the VM on a fake clock. */
int fake_vm_setup(void **state);
int fake_vm_teardown(void **state);

/* The local APIC of a vcpu through its page. */
uint32_t lapic_read(struct vm *vm, int vcpuid, unsigned offset);
void lapic_write(struct vm *vm, int vcpuid, unsigned offset, uint32_t value);
/* Software-enables an APIC. */
void lapic_enable(struct vm *vm, int vcpuid);
/* The vector that would be injected now, or -1. */
int lapic_pending(struct vm *vm, int vcpuid);
/* Injects what is pending and returns it; -1: nothing. */
int lapic_take(struct vm *vm, int vcpuid);
void lapic_end(struct vm *vm, int vcpuid);

uint32_t ioapic_read(struct vm *vm, unsigned reg);
void ioapic_write(struct vm *vm, unsigned reg, uint32_t value);
void ioapic_set_pin(struct vm *vm, int pin, uint64_t redir);

typedef int (*port_handler)(struct vm *vm, int vcpuid, bool in, int port, int bytes, uint32_t *val);
uint8_t port_in(struct vm *vm, port_handler handler, int port);
void port_out(struct vm *vm, port_handler handler, int port, uint8_t val);

/* Both PICs as PC firmware leaves them, but with vectors 0x20 and 0x28 and no line masked. */
void pic_init(struct vm *vm);

#endif
