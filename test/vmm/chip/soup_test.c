/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A hostile guest: random accesses to every chip, with time going by.  Nothing crashes, time always
 * comes to its end, and interrupts stay below the rate that CHIP_PERIOD_MIN_NS stands for.
 */
#include <stdlib.h>

#include "test/vmm/chip/fake_vm.h"

#define VCPUS 4
#define STEPS 300000

/* Timers that repeat: 8 of the HPET, one per APIC, PIT, RTC; each may reach all vcpus. */
#define INTERRUPTS_PER_MS ((8 + VCPUS + 2) * 51u)

struct soup {
	struct vm *vm;
	uint64_t random; /* xorshift64 */
	int vcpuid;
};

static uint64_t next(struct soup *soup)
{
	soup->random ^= soup->random << 13;
	soup->random ^= soup->random >> 7;
	soup->random ^= soup->random << 17;
	return soup->random;
}

/* Values that mean something more often than chance would have it. */
static uint64_t value(struct soup *soup)
{
	static const uint64_t some[] = {0, 1, 2, 3, 0xff, 0x1ff, 0x20041, 0x60041, 0x8051, 0xc4500,
		0xc4612, 0x4014e, UINT32_MAX, UINT64_MAX, 0xfee00000, 0x34, 0xb0, 0x11};

	if (next(soup) % 2)
		return some[next(soup) % (sizeof(some) / sizeof(some[0]))];
	return next(soup) >> next(soup) % 64;
}

static int size(struct soup *soup)
{
	return next(soup) % 4 ? 4 : 1 << next(soup) % 4;
}

static void touch_page(struct soup *soup, uint64_t gpa,
	int (*read)(struct vm *, int, uint64_t, uint64_t *, int, void *),
	int (*write)(struct vm *, int, uint64_t, uint64_t, int, void *))
{
	bool retu = false;
	uint64_t result;

	if (next(soup) % 2)
		assert_int_equal(read(soup->vm, soup->vcpuid, gpa, &result, size(soup), &retu), 0);
	else
		assert_int_equal(
			write(soup->vm, soup->vcpuid, gpa, value(soup), size(soup), &retu), 0);
}

static void touch_lapic(struct soup *soup)
{
	uint64_t offset = next(soup) % 8 ? next(soup) % 0x40 * 0x10 : next(soup) % PC_LAPIC_SIZE;

	touch_page(soup, PC_LAPIC_BASE + offset, vlapic_mmio_read, vlapic_mmio_write);
}

static void touch_ioapic(struct soup *soup)
{
	if (next(soup) % 2)
		vioapic_mmio_write(
			soup->vm, soup->vcpuid, PC_IOAPIC_BASE, next(soup) % 0x42, 4, NULL);
	touch_page(soup, PC_IOAPIC_BASE + next(soup) % 3 * 0x10, vioapic_mmio_read,
		vioapic_mmio_write);
}

static void touch_hpet(struct soup *soup)
{
	uint64_t offset = next(soup) % (PC_HPET_SIZE / 4) * 4;

	touch_page(soup, PC_HPET_BASE + offset, vhpet_mmio_read, vhpet_mmio_write);
}

static void touch_msr(struct soup *soup)
{
	struct vlapic *vlapic = soup->vm->vlapic[soup->vcpuid];
	uint32_t msr = next(soup) % 8	? 0x800 + (uint32_t)(next(soup) % 0x40)
		       : next(soup) % 2 ? MSR_APICBASE
					: MSR_TSC_DEADLINE;
	uint64_t result;
	bool retu = false;
	int error;

	if (next(soup) % 2)
		error = vlapic_rdmsr(vlapic, msr, &result);
	else if (msr == MSR_APICBASE)
		error = vlapic_wrmsr(
			vlapic, msr, vlapic_get_apicbase(vlapic) ^ (next(soup) % 4) << 10, &retu);
	else
		error = vlapic_wrmsr(vlapic, msr, value(soup), &retu);
	assert_true(error == 0 || error == 1 /* EPERM */);
}

static void touch_port(struct soup *soup)
{
	static const struct {
		int port;
		port_handler handler;
	} ports[] = {
		{0x20, vatpic_master_handler},
		{0x21, vatpic_master_handler},
		{0xa0, vatpic_slave_handler},
		{0xa1, vatpic_slave_handler},
		{0x4d0, vatpic_elc_handler},
		{0x4d1, vatpic_elc_handler},
		{0x40, vatpit_handler},
		{0x41, vatpit_handler},
		{0x42, vatpit_handler},
		{0x43, vatpit_handler},
		{0x61, vatpit_nmisc_handler},
		{0x70, vrtc_addr_handler},
		{0x71, vrtc_data_handler},
		{0x408, vpmtmr_handler},
	};
	size_t i = next(soup) % (sizeof(ports) / sizeof(ports[0]));
	int bytes = next(soup) % 8 ? 1 : 1 << next(soup) % 3;
	uint32_t val = (uint32_t)value(soup);

	assert_int_equal(ports[i].handler(soup->vm, soup->vcpuid, next(soup) % 2, ports[i].port,
				 bytes, &val),
		0);
}

static void touch_line(struct soup *soup)
{
	int irq = (int)(next(soup) % 26) - 1;

	switch (next(soup) % 5) {
	case 0:
		vioapic_assert_irq(soup->vm, irq);
		break;
	case 1:
		vioapic_deassert_irq(soup->vm, irq);
		break;
	case 2:
		vatpic_assert_irq(soup->vm, irq);
		break;
	case 3:
		vatpic_deassert_irq(soup->vm, irq);
		break;
	default:
		lapic_intr_msi(soup->vm, 0xfee00000 | (next(soup) & 0xff00c), next(soup) & 0xffff);
		break;
	}
}

/* What a run loop does between. */
static void run_vcpu(struct soup *soup)
{
	struct vlapic *vlapic = soup->vm->vlapic[soup->vcpuid];
	uint8_t startup;
	int vector;

	while (vlapic_next_spinup(vlapic))
		assert_in_range(soup->vm->exitinfo[soup->vcpuid].u.spinup_ap.vcpu, 0, 15);
	while (vlapic_take_boot_event(vlapic, &startup) != VLAPIC_BOOT_NONE)
		;
	vector = lapic_take(soup->vm, soup->vcpuid);
	assert_in_range(vector + 1, 0, 256);
	if (soup->vm->extints[soup->vcpuid]) {
		soup->vm->extints[soup->vcpuid] = 0;
		vatpic_pending_intr(soup->vm, &vector);
		assert_in_range(vector, 0, 255);
		vatpic_intr_accepted(soup->vm, vector);
	}
}

static void pass_time(struct soup *soup)
{
	unsigned before = 0, after = 0;
	uint64_t ms = 1 + next(soup) % 10;

	for (int i = 0; i < VM_MAXCPU; i++)
		before += soup->vm->notified[i];
	vmm_clock_advance(soup->vm->clock, ms * MS);
	for (int i = 0; i < VM_MAXCPU; i++)
		after += soup->vm->notified[i];
	/* Each to all, and one more where an illegal vector raises the error interrupt. */
	assert_in_range(after - before, 0, 2 * VCPUS * INTERRUPTS_PER_MS * (ms + 1));
}

static uint64_t read_tsc(void *arg)
{
	return vmm_clock_now(((struct vm *)arg)->clock) * 3;
}

static void soup(void **state)
{
	static void (*const touch[])(struct soup *) = {touch_lapic, touch_lapic, touch_ioapic,
		touch_hpet, touch_msr, touch_port, touch_port, touch_line, run_vcpu};
	struct soup s = {.vm = *state, .random = 88172645463325252};

	s.vm->active = (1u << VCPUS) - 1;
	for (int i = 0; i < VCPUS; i++) {
		vlapic_set_tsc(s.vm->vlapic[i], 3 * S, read_tsc, s.vm);
		vlapic_set_x2apic_state(s.vm->vlapic[i], i % 2 ? X2APIC_ENABLED : X2APIC_DISABLED);
	}
	for (int i = 0; i < STEPS; i++) {
		s.vcpuid = (int)(next(&s) % VCPUS);
		touch[next(&s) % (sizeof(touch) / sizeof(touch[0]))](&s);
		if (i % 200 == 0)
			pass_time(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(soup, fake_vm_setup, fake_vm_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
