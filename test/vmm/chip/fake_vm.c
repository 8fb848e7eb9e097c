/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include <stdlib.h>

#include "vmm/chip/extint.h"
#include "test/vmm/chip/fake_vm.h"

/* What chips ask of the core. */

struct vlapic *vm_lapic(struct vm *vm, int cpu)
{
	return vm->vlapic[cpu];
}

struct vioapic *vm_ioapic(struct vm *vm)
{
	return vm->vioapic;
}

struct vhpet *vm_hpet(struct vm *vm)
{
	return vm->vhpet;
}

struct vatpic *vm_atpic(struct vm *vm)
{
	return vm->vatpic;
}

struct vatpit *vm_atpit(struct vm *vm)
{
	return vm->vatpit;
}

struct vrtc *vm_rtc(struct vm *vm)
{
	return vm->vrtc;
}

struct vpmtmr *vm_pmtmr(struct vm *vm)
{
	return vm->vpmtmr;
}

struct vmm_clock *vm_clock(struct vm *vm)
{
	return vm->clock;
}

uint32_t vm_active_mask(struct vm *vm)
{
	return vm->active;
}

int vm_apicid2vcpuid(struct vm *vm, int apicid)
{
	(void)vm;
	return apicid;
}

struct vm_exit *vm_exitinfo(struct vm *vm, int vcpuid)
{
	return &vm->exitinfo[vcpuid];
}

void vcpu_notify_event(struct vm *vm, int vcpuid, bool lapic_intr)
{
	(void)lapic_intr;
	vm->notified[vcpuid]++;
}

void vmm_stat_incr(struct vm *vm, int vcpuid, int which, uint64_t delta)
{
	(void)vm;
	(void)vcpuid;
	(void)which;
	(void)delta;
}

int vm_inject_nmi(struct vm *vm, int vcpu)
{
	vm->nmis[vcpu]++;
	return 0;
}

int vm_inject_extint(struct vm *vm, int vcpu)
{
	vm->extints[vcpu]++;
	return 0;
}

void vm_extint_withdraw(struct vm *vm)
{
	vm->withdrawn++;
}

/* The VM. */

struct vm *fake_vm_create(struct vmm_clock *clock)
{
	struct vm *vm = calloc(1, sizeof(*vm));

	assert_non_null(vm);
	assert_non_null(clock);
	vm->clock = clock;
	vm->active = 1;
	vm->vioapic = vioapic_init(vm);
	vm->vhpet = vhpet_init(vm);
	vm->vatpic = vatpic_init(vm);
	vm->vatpit = vatpit_init(vm);
	vm->vrtc = vrtc_init(vm);
	vm->vpmtmr = vpmtmr_init(vm);
	for (int i = 0; i < VM_MAXCPU; i++)
		vm->vlapic[i] = vlapic_create(vm, i);
	return vm;
}

void fake_vm_destroy(struct vm *vm)
{
	vpmtmr_cleanup(vm->vpmtmr);
	vrtc_cleanup(vm->vrtc);
	vatpit_cleanup(vm->vatpit);
	vhpet_cleanup(vm->vhpet);
	vatpic_cleanup(vm->vatpic);
	vioapic_cleanup(vm->vioapic);
	for (int i = 0; i < VM_MAXCPU; i++)
		vlapic_destroy(vm->vlapic[i]);
	vmm_clock_destroy(vm->clock);
	free(vm);
}

int fake_vm_setup(void **state)
{
	*state = fake_vm_create(vmm_clock_create_fake());
	return 0;
}

int fake_vm_teardown(void **state)
{
	fake_vm_destroy(*state);
	return 0;
}

/* Access to the chips. */

uint32_t lapic_read(struct vm *vm, int vcpuid, unsigned offset)
{
	uint64_t value;

	assert_int_equal(vlapic_mmio_read(vm, vcpuid, PC_LAPIC_BASE + offset, &value, 4, NULL), 0);
	return (uint32_t)value;
}

void lapic_write(struct vm *vm, int vcpuid, unsigned offset, uint32_t value)
{
	bool retu = false;

	assert_int_equal(vlapic_mmio_write(vm, vcpuid, PC_LAPIC_BASE + offset, value, 4, &retu), 0);
	assert_int_equal(retu, false);
}

void lapic_enable(struct vm *vm, int vcpuid)
{
	lapic_write(vm, vcpuid, 0xf0, 0x1ff);
}

int lapic_pending(struct vm *vm, int vcpuid)
{
	int vector;

	return vlapic_pending_intr(vm->vlapic[vcpuid], &vector) ? vector : -1;
}

int lapic_take(struct vm *vm, int vcpuid)
{
	int vector = lapic_pending(vm, vcpuid);

	if (vector >= 0)
		vlapic_intr_accepted(vm->vlapic[vcpuid], vector);
	return vector;
}

void lapic_end(struct vm *vm, int vcpuid)
{
	lapic_write(vm, vcpuid, 0xb0, 0);
}

uint32_t ioapic_read(struct vm *vm, unsigned reg)
{
	uint64_t value;

	vioapic_mmio_write(vm, 0, PC_IOAPIC_BASE, reg, 4, NULL);
	vioapic_mmio_read(vm, 0, PC_IOAPIC_BASE + 0x10, &value, 4, NULL);
	return (uint32_t)value;
}

void ioapic_write(struct vm *vm, unsigned reg, uint32_t value)
{
	vioapic_mmio_write(vm, 0, PC_IOAPIC_BASE, reg, 4, NULL);
	vioapic_mmio_write(vm, 0, PC_IOAPIC_BASE + 0x10, value, 4, NULL);
}

void ioapic_set_pin(struct vm *vm, int pin, uint64_t redir)
{
	ioapic_write(vm, 0x11 + 2 * (unsigned)pin, (uint32_t)(redir >> 32));
	ioapic_write(vm, 0x10 + 2 * (unsigned)pin, (uint32_t)redir);
}

uint8_t port_in(struct vm *vm, port_handler handler, int port)
{
	uint32_t val = 0xdeadbeef;

	assert_int_equal(handler(vm, 0, true, port, 1, &val), 0);
	assert_in_range(val, 0, 0xff);
	return (uint8_t)val;
}

void port_out(struct vm *vm, port_handler handler, int port, uint8_t val)
{
	uint32_t value = val;

	assert_int_equal(handler(vm, 0, false, port, 1, &value), 0);
}

void pic_init(struct vm *vm)
{
	static const uint8_t icw[2][4] = {{0x11, 0x20, 0x04, 0x01}, {0x11, 0x28, 0x02, 0x01}};

	for (int i = 0; i < 4; i++) {
		port_out(vm, vatpic_master_handler, i ? 0x21 : 0x20, icw[0][i]);
		port_out(vm, vatpic_slave_handler, i ? 0xa1 : 0xa0, icw[1][i]);
	}
}
