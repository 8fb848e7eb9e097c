/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Registers, acceptance, errors and modes of the local APIC. */
#include <errno.h>

#include "test/vmm/chip/fake_vm.h"

static void reset_values(void **state)
{
	static const struct {
		unsigned offset;
		uint32_t value;
	} regs[] = {
		{0x000, 0},
		{0x020, 3u << 24},
		{0x030, 0x00060010},
		{0x080, 0},
		{0x090, 0},
		{0x0a0, 0},
		{0x0b0, 0},
		{0x0c0, 0},
		{0x0d0, 0},
		{0x0e0, UINT32_MAX},
		{0x0f0, 0xff},
		{0x100, 0},
		{0x170, 0},
		{0x180, 0},
		{0x1f0, 0},
		{0x200, 0},
		{0x270, 0},
		{0x280, 0},
		{0x290, 0},
		{0x2f0, 0x10000},
		{0x300, 0},
		{0x310, 0},
		{0x320, 0x10000},
		{0x330, 0x10000},
		{0x340, 0x10000},
		{0x350, 0x10000},
		{0x360, 0x10000},
		{0x370, 0x10000},
		{0x380, 0},
		{0x390, 0},
		{0x3e0, 0},
		{0x3f0, 0},
	};

	for (size_t i = 0; i < sizeof(regs) / sizeof(regs[0]); i++)
		assert_int_equal(lapic_read(*state, 3, regs[i].offset), regs[i].value);
}

/* What stays of all ones and of zero, on an enabled APIC. */
static void writable_bits(void **state)
{
	static const struct {
		unsigned offset;
		uint32_t ones, zeros;
	} regs[] = {
		{0x020, 0, 0},
		{0x030, 0x00060010, 0x00060010},
		{0x080, 0xff, 0},
		{0x090, 0, 0},
		{0x0c0, 0, 0},
		{0x0d0, 0xff000000, 0},
		{0x0e0, UINT32_MAX, 0x0fffffff},
		{0x100, 0, 0},
		{0x180, 0, 0},
		{0x200, 0, 0},
		{0x2f0, 0x107ff, 0},
		{0x310, 0xff000000, 0},
		{0x320, 0x300ff, 0},
		{0x330, 0x107ff, 0},
		{0x340, 0x107ff, 0},
		{0x350, 0x1a7ff, 0},
		{0x360, 0x1a7ff, 0},
		{0x370, 0x100ff, 0},
		{0x390, 0, 0},
		{0x3e0, 0xb, 0},
		{0x3f0, 0, 0},
		{0x0f0, UINT32_MAX, 0},
	};

	lapic_enable(*state, 0);
	for (size_t i = 0; i < sizeof(regs) / sizeof(regs[0]); i++) {
		lapic_write(*state, 0, regs[i].offset, UINT32_MAX);
		assert_int_equal(lapic_read(*state, 0, regs[i].offset), regs[i].ones);
		lapic_write(*state, 0, regs[i].offset, 0);
		assert_int_equal(lapic_read(*state, 0, regs[i].offset), regs[i].zeros);
	}
}

/* The 2014 code ended the VM on these. */
static void odd_accesses(void **state)
{
	struct vm *vm = *state;
	static const struct {
		unsigned offset;
		int size;
		uint64_t value;
	} reads[] = {
		{0x30, 4, 0x00060010},
		{0x30, 8, 0x00060010},
		{0x30, 2, 0x0010},
		{0x32, 2, 0x0006},
		{0x32, 1, 0x06},
		{0x34, 4, UINT64_MAX},
		{0x38, 8, UINT64_MAX},
		{0x33, 4, UINT64_MAX},
		{0x3f, 1, UINT64_MAX},
	};
	bool retu = false;
	uint64_t value;

	for (size_t i = 0; i < sizeof(reads) / sizeof(reads[0]); i++) {
		assert_int_equal(vlapic_mmio_read(vm, 0, PC_LAPIC_BASE + reads[i].offset, &value,
					 reads[i].size, NULL),
			0);
		if (reads[i].size < 8)
			assert_int_equal(value & ((1ull << 8 * reads[i].size) - 1),
				reads[i].value & ((1ull << 8 * reads[i].size) - 1));
		else
			assert_true(value == reads[i].value);
	}
	vlapic_mmio_write(vm, 0, PC_LAPIC_BASE + 0x80, 0x40, 8, &retu);
	vlapic_mmio_write(vm, 0, PC_LAPIC_BASE + 0x80, 0x40, 1, &retu);
	vlapic_mmio_write(vm, 0, PC_LAPIC_BASE + 0x82, 0x40, 2, &retu);
	vlapic_mmio_write(vm, 0, PC_LAPIC_BASE + 0x84, 0x40, 4, &retu);
	assert_int_equal(lapic_read(vm, 0, 0x80), 0);
	assert_false(retu);
}

static void accept_and_eoi(void **state)
{
	struct vm *vm = *state;

	assert_int_equal(lapic_set_intr(vm, 0, 0x51, false), 0);
	assert_int_equal(lapic_pending(vm, 0), -1); /* software-disabled: dropped */
	assert_int_equal(vm->notified[0], 0);
	lapic_enable(vm, 0);
	lapic_set_intr(vm, 0, 0x51, false);
	lapic_set_intr(vm, 0, 0x55, false);
	assert_int_equal(vm->notified[0], 2);
	assert_int_equal(lapic_read(vm, 0, 0x220), 0x220000);
	assert_int_equal(lapic_take(vm, 0), 0x55);
	assert_int_equal(lapic_read(vm, 0, 0x220), 0x020000);
	assert_int_equal(lapic_read(vm, 0, 0x120), 0x200000);
	assert_int_equal(lapic_read(vm, 0, 0xa0), 0x50);
	assert_int_equal(lapic_pending(vm, 0), -1); /* same class */
	lapic_set_intr(vm, 0, 0x60, false);
	assert_int_equal(lapic_take(vm, 0), 0x60);
	lapic_end(vm, 0);
	assert_int_equal(lapic_read(vm, 0, 0xa0), 0x50);
	lapic_end(vm, 0);
	assert_int_equal(lapic_take(vm, 0), 0x51);
	lapic_end(vm, 0);
	lapic_end(vm, 0); /* nothing in service */
	assert_int_equal(lapic_pending(vm, 0), -1);
	assert_int_equal(lapic_read(vm, 0, 0xa0), 0);
}

/* The 2014 code dropped 16..31. */
static void vectors(void **state)
{
	struct vm *vm = *state;

	lapic_enable(vm, 0);
	for (int vector = 16; vector < 256; vector++) {
		assert_int_equal(lapic_set_intr(vm, 0, vector, false), 0);
		assert_int_equal(lapic_take(vm, 0), vector);
		assert_int_equal(lapic_pending(vm, 0), -1);
		lapic_end(vm, 0);
	}
	assert_int_equal(lapic_set_intr(vm, 0, 15, false), EINVAL);
	assert_int_equal(lapic_set_intr(vm, 0, 256, false), EINVAL);
	assert_int_equal(lapic_set_intr(vm, 0, -1, false), EINVAL);
	assert_int_equal(lapic_set_intr(vm, VM_MAXCPU, 32, false), EINVAL);
	assert_int_equal(lapic_set_intr(vm, -1, 32, false), EINVAL);
}

static void priority(void **state)
{
	struct vm *vm = *state;

	lapic_enable(vm, 0);
	lapic_set_intr(vm, 0, 0x45, false);
	lapic_write(vm, 0, 0x80, 0x40);
	assert_int_equal(lapic_read(vm, 0, 0xa0), 0x40);
	assert_int_equal(lapic_pending(vm, 0), -1);
	lapic_write(vm, 0, 0x80, 0x3f);
	assert_int_equal(lapic_read(vm, 0, 0xa0), 0x3f);
	assert_int_equal(lapic_take(vm, 0), 0x45);
	lapic_write(vm, 0, 0x80, 0x4f); /* the same class in service: TPR's subclass shows */
	assert_int_equal(lapic_read(vm, 0, 0xa0), 0x4f);
	assert_int_equal(vlapic_get_cr8(vm->vlapic[0]), 4);
	assert_int_equal(vlapic_set_cr8(vm->vlapic[0], 9), 0);
	assert_int_equal(lapic_read(vm, 0, 0x80), 0x90);
	assert_int_equal(vlapic_set_cr8(vm->vlapic[0], 16), EPERM);
	assert_int_equal(vlapic_set_cr8(vm->vlapic[0], 1ull << 63), EPERM);
	assert_int_equal(lapic_read(vm, 0, 0x80), 0x90);
	assert_true(vlapic_pending_intr(vm->vlapic[0], NULL) == false);
}

static void trigger_mode_at_acceptance(void **state)
{
	struct vm *vm = *state;

	lapic_enable(vm, 0);
	lapic_set_intr(vm, 0, 0x61, true);
	assert_int_equal(lapic_read(vm, 0, 0x1b0), 2);
	lapic_set_intr(vm, 0, 0x61, false);
	assert_int_equal(lapic_read(vm, 0, 0x1b0), 0);
}

static void software_disable(void **state)
{
	struct vm *vm = *state;

	lapic_enable(vm, 0);
	lapic_write(vm, 0, 0x370, 0x40);
	lapic_write(vm, 0, 0x320, 0x41);
	lapic_write(vm, 0, 0x380, 1000);
	lapic_set_intr(vm, 0, 0x50, false);
	lapic_write(vm, 0, 0xf0, 0xff);
	assert_int_equal(lapic_read(vm, 0, 0x370), 0x10040);
	assert_int_equal(lapic_read(vm, 0, 0x320), 0x10041);
	assert_int_equal(lapic_read(vm, 0, 0x390), 0); /* stopped */
	lapic_write(vm, 0, 0x370, 0x42);
	assert_int_equal(lapic_read(vm, 0, 0x370), 0x10042);
	assert_int_equal(lapic_pending(vm, 0), 0x50); /* IRR stays */
	lapic_enable(vm, 0);
	assert_int_equal(lapic_read(vm, 0, 0x370), 0x10042);
}

static void errors(void **state)
{
	struct vm *vm = *state;

	lapic_enable(vm, 0);
	assert_true(vlapic_set_intr_ready(vm->vlapic[0], 15, false));
	assert_int_equal(lapic_read(vm, 0, 0x280), 0);
	lapic_write(vm, 0, 0x280, 0);
	assert_int_equal(lapic_read(vm, 0, 0x280), 0x40);
	lapic_write(vm, 0, 0x280, 0x12345);
	assert_int_equal(lapic_read(vm, 0, 0x280), 0);
	assert_int_equal(lapic_pending(vm, 0), -1);

	lapic_write(vm, 0, 0x370, 0xe0);
	lapic_write(vm, 0, 0x300, 0x4000f); /* self, fixed, vector 15 */
	assert_int_equal(lapic_take(vm, 0), 0xe0);
	lapic_write(vm, 0, 0x280, 0);
	assert_int_equal(lapic_read(vm, 0, 0x280), 0x20);
	lapic_end(vm, 0);

	lapic_write(vm, 0, 0x370, 0x05); /* itself illegal: no recursion */
	vlapic_set_error(vm->vlapic[0], 1u << 7);
	lapic_write(vm, 0, 0x280, 0);
	assert_int_equal(lapic_read(vm, 0, 0x280), 0xa0);
}

static void local_vectors(void **state)
{
	struct vm *vm = *state;
	static const struct {
		enum vlapic_lvt lvt;
		unsigned offset;
	} pins[] = {
		{VLAPIC_LVT_LINT0, 0x350},
		{VLAPIC_LVT_LINT1, 0x360},
		{VLAPIC_LVT_PERF, 0x340},
		{VLAPIC_LVT_THERMAL, 0x330},
		{VLAPIC_LVT_CMCI, 0x2f0},
	};

	vm->active = 0x3;
	/* Off: the pins of the processor. */
	assert_int_equal(lapic_set_local_intr(vm, -1, VLAPIC_LVT_LINT0), 0);
	assert_int_equal(lapic_set_local_intr(vm, 1, VLAPIC_LVT_LINT1), 0);
	assert_int_equal(lapic_set_local_intr(vm, 1, VLAPIC_LVT_TIMER), 0);
	assert_int_equal(vm->extints[0], 1);
	assert_int_equal(vm->extints[1], 1);
	assert_int_equal(vm->extints[2], 0);
	assert_int_equal(vm->nmis[0], 0);
	assert_int_equal(vm->nmis[1], 1);
	lapic_enable(vm, 0);
	for (size_t i = 0; i < sizeof(pins) / sizeof(pins[0]); i++) {
		unsigned nmis = vm->nmis[0], extints = vm->extints[0];

		lapic_set_local_intr(vm, 0, pins[i].lvt); /* masked */
		assert_int_equal(lapic_pending(vm, 0), -1);
		lapic_write(vm, 0, pins[i].offset, 0x30 + (uint32_t)i);
		lapic_set_local_intr(vm, 0, pins[i].lvt);
		assert_int_equal(lapic_take(vm, 0), 0x30 + i);
		lapic_end(vm, 0);
		lapic_write(vm, 0, pins[i].offset, 0x400); /* NMI */
		lapic_set_local_intr(vm, 0, pins[i].lvt);
		assert_int_equal(vm->nmis[0], nmis + 1);
		lapic_write(vm, 0, pins[i].offset, 0x700); /* ExtINT */
		lapic_set_local_intr(vm, 0, pins[i].lvt);
		assert_int_equal(vm->extints[0], extints + 1);
		lapic_write(vm, 0, pins[i].offset, 0x200); /* SMI: nothing */
		lapic_set_local_intr(vm, 0, pins[i].lvt);
		lapic_write(vm, 0, pins[i].offset, 0x00f); /* illegal vector */
		lapic_set_local_intr(vm, 0, pins[i].lvt);
		lapic_write(vm, 0, 0x280, 0);
		assert_int_equal(lapic_read(vm, 0, 0x280), 0x20);
		assert_int_equal(vm->nmis[0], nmis + 1);
		assert_int_equal(vm->extints[0], extints + 1);
		assert_int_equal(lapic_pending(vm, 0), -1);
	}
	lapic_write(vm, 0, 0x370, 0x77);
	lapic_set_local_intr(vm, 0, VLAPIC_LVT_ERROR);
	assert_int_equal(lapic_take(vm, 0), 0x77);
	assert_int_equal(lapic_set_local_intr(vm, 0, VLAPIC_LVT_COUNT), EINVAL);
	assert_int_equal(lapic_set_local_intr(vm, 0, -1), EINVAL);
	assert_int_equal(lapic_set_local_intr(vm, -2, 0), EINVAL);
	assert_int_equal(lapic_set_local_intr(vm, VM_MAXCPU, 0), EINVAL);
}

/* INTR is a level: opening LINT0 after it rose must still see it. */
static void late_lint0(void **state)
{
	struct vm *vm = *state;

	lapic_enable(vm, 0);
	pic_init(vm);
	vatpic_pulse_irq(vm, 1);
	assert_int_equal(vm->extints[0], 0);
	lapic_write(vm, 0, 0x350, 0x700);
	assert_int_equal(vm->extints[0], 1);
}

static uint64_t rdmsr(struct vm *vm, uint32_t msr)
{
	uint64_t value = 0xdead;

	assert_int_equal(vlapic_rdmsr(vm->vlapic[5], msr, &value), 0);
	return value;
}

static int wrmsr(struct vm *vm, uint32_t msr, uint64_t value)
{
	bool retu = false;
	int error = vlapic_wrmsr(vm->vlapic[5], msr, value, &retu);

	assert_false(retu);
	return error;
}

static void x2apic_registers(void **state)
{
	struct vm *vm = *state;
	/* r: readable; mask: bits that may be written, w only. */
	static const struct {
		uint32_t msr;
		bool r, w;
		uint64_t mask;
	} regs[] = {
		{0x800, false, false, 0},
		{0x802, true, false, 0},
		{0x803, true, false, 0},
		{0x808, true, true, 0xff},
		{0x809, false, false, 0},
		{0x80a, true, false, 0},
		{0x80b, false, true, 0},
		{0x80d, true, false, 0},
		{0x80e, false, false, 0},
		{0x80f, true, true, 0x3ff},
		{0x810, true, false, 0},
		{0x81f, true, false, 0},
		{0x827, true, false, 0},
		{0x828, true, true, 0},
		{0x829, false, false, 0},
		{0x82f, true, true, 0x117ff},
		{0x830, true, true, 0xffffffff000cdfff},
		{0x831, false, false, 0},
		{0x832, true, true, 0x710ff},
		{0x835, true, true, 0x1f7ff},
		{0x836, true, true, 0x1f7ff},
		{0x837, true, true, 0x110ff},
		{0x838, true, true, 0xffffffff},
		{0x839, true, false, 0},
		{0x83a, false, false, 0},
		{0x83e, true, true, 0xb},
		{0x83f, false, true, 0xff},
		{0x840, false, false, 0},
		{0xbff, false, false, 0},
	};
	uint64_t value;

	vlapic_set_x2apic_state(vm->vlapic[5], X2APIC_ENABLED);
	for (size_t i = 0; i < sizeof(regs) / sizeof(regs[0]); i++) {
		assert_int_equal(
			vlapic_rdmsr(vm->vlapic[5], regs[i].msr, &value), regs[i].r ? 0 : EPERM);
		assert_int_equal(wrmsr(vm, regs[i].msr, 0), regs[i].w ? 0 : EPERM);
		for (int bit = 0; bit < 64; bit++) {
			bool legal = regs[i].w && regs[i].mask >> bit & 1;

			if (regs[i].msr == 0x830 && legal)
				continue; /* sends */
			assert_int_equal(wrmsr(vm, regs[i].msr, 1ull << bit), legal ? 0 : EPERM);
		}
	}
	assert_int_equal(rdmsr(vm, 0x802), 5);
	assert_int_equal(rdmsr(vm, 0x80d), 1 << 5);
}

static void x2apic_modes(void **state)
{
	struct vm *vm = *state;
	const uint64_t base = PC_LAPIC_BASE;
	uint64_t value;

	/* xAPIC: no MSRs, and no way to x2APIC that CPUID does not show. */
	assert_int_equal(vlapic_rdmsr(vm->vlapic[5], 0x802, &value), EPERM);
	assert_int_equal(wrmsr(vm, 0x808, 0), EPERM);
	assert_true(rdmsr(vm, MSR_APICBASE) == (base | 0x800));
	assert_int_equal(wrmsr(vm, MSR_APICBASE, base | 0xc00), EPERM);
	assert_true(vlapic_get_apicbase(vm->vlapic[0]) == (base | 0x900));

	vlapic_set_x2apic_state(vm->vlapic[5], X2APIC_ENABLED);
	assert_true(rdmsr(vm, MSR_APICBASE) == (base | 0xc00));
	assert_int_equal(lapic_read(vm, 5, 0x30), UINT32_MAX); /* the page is gone */
	lapic_write(vm, 5, 0x80, 0x50);
	assert_int_equal(rdmsr(vm, 0x808), 0);

	/* x2APIC -> xAPIC is #GP; off, xAPIC, x2APIC is the way. */
	assert_int_equal(wrmsr(vm, 0x808, 0x70), 0);
	assert_int_equal(wrmsr(vm, MSR_APICBASE, base | 0x800), EPERM);
	assert_int_equal(wrmsr(vm, MSR_APICBASE, base | 0x400), EPERM);
	assert_int_equal(wrmsr(vm, MSR_APICBASE, base), 0);
	assert_false(vlapic_enabled(vm->vlapic[5]));
	assert_int_equal(lapic_read(vm, 5, 0x30), UINT32_MAX);
	assert_int_equal(wrmsr(vm, MSR_APICBASE, base | 0xc00), EPERM);
	assert_int_equal(wrmsr(vm, MSR_APICBASE, base | 0x800), 0);
	assert_int_equal(lapic_read(vm, 5, 0x80), 0); /* state was lost */
	assert_int_equal(lapic_read(vm, 5, 0x20), 5 << 24);
	assert_int_equal(lapic_read(vm, 5, 0xe0), UINT32_MAX);
	assert_int_equal(wrmsr(vm, MSR_APICBASE, base | 0xc00), 0);
	assert_int_equal(rdmsr(vm, 0x80d), 1 << 5);

	/* The same value, another base, BSP, reserved bits. */
	assert_int_equal(wrmsr(vm, MSR_APICBASE, base | 0xc00), 0);
	assert_int_equal(wrmsr(vm, MSR_APICBASE, 0x10000 | 0xc00), EPERM);
	assert_int_equal(wrmsr(vm, MSR_APICBASE, base | 0xd00), EPERM);
	assert_int_equal(wrmsr(vm, MSR_APICBASE, base | 0xc01), EPERM);
	assert_int_equal(wrmsr(vm, MSR_APICBASE, 1ull << 60 | base | 0xc00), EPERM);

	assert_int_equal(wrmsr(vm, MSR_APICBASE, 0xfed40000 | 0xc00), 0); /* nobody sees the page */

	/* The page moves in the hole below 4 GiB, and keeps its registers. */
	assert_int_equal(wrmsr(vm, MSR_APICBASE, base), 0);
	assert_int_equal(wrmsr(vm, MSR_APICBASE, base | 0x800), 0);
	lapic_write(vm, 5, 0x80, 0x50);
	assert_int_equal(wrmsr(vm, MSR_APICBASE, 0xfed40000 | 0x800), 0);
	assert_int_equal(lapic_read(vm, 5, 0x80), UINT32_MAX); /* at the old place */
	assert_int_equal(vlapic_mmio_read(vm, 5, 0xfed40080, &value, 4, NULL), 0);
	assert_int_equal(value, 0x50);
	assert_int_equal(vlapic_mmio_read(vm, 4, 0xfed40080, &value, 4, NULL), 0);
	assert_int_equal(value, UINT64_MAX); /* another one's */
	assert_int_equal(wrmsr(vm, MSR_APICBASE, 0xbffff800), EPERM);
	assert_int_equal(wrmsr(vm, MSR_APICBASE, 0x100000800), EPERM);

	vlapic_reset(vm->vlapic[5]);
	assert_true(rdmsr(vm, MSR_APICBASE) == (base | 0xc00));
	vlapic_set_x2apic_state(vm->vlapic[5], X2APIC_DISABLED);
	assert_true(rdmsr(vm, MSR_APICBASE) == (base | 0x800));
	assert_int_equal(lapic_read(vm, 5, 0xe0), UINT32_MAX);
}

static void msr_ownership(void **state)
{
	struct vm *vm = *state;
	uint64_t value;

	assert_true(vlapic_owns_msr(0x1b));
	assert_true(vlapic_owns_msr(0x6e0));
	assert_true(vlapic_owns_msr(0x800));
	assert_true(vlapic_owns_msr(0xbff));
	assert_false(vlapic_owns_msr(0x7ff));
	assert_false(vlapic_owns_msr(0xc00));
	assert_int_equal(vlapic_rdmsr(vm->vlapic[5], 0x10, &value), ENOENT);
	assert_int_equal(wrmsr(vm, 0x10, 0), ENOENT);
	assert_int_equal(vlapic_rdmsr(vm->vlapic[5], MSR_TSC_DEADLINE, &value), ENOENT);
	assert_int_equal(wrmsr(vm, MSR_TSC_DEADLINE, 1), ENOENT);
}

static void self_ipi(void **state)
{
	struct vm *vm = *state;

	vlapic_set_x2apic_state(vm->vlapic[5], X2APIC_ENABLED);
	wrmsr(vm, 0x80f, 0x1ff);
	assert_int_equal(wrmsr(vm, 0x83f, 0x33), 0);
	assert_int_equal(lapic_take(vm, 5), 0x33);
	assert_int_equal(wrmsr(vm, 0x80b, 0), 0);
	assert_int_equal(wrmsr(vm, 0x83f, 3), 0);
	assert_int_equal(wrmsr(vm, 0x828, 0), 0);
	assert_int_equal(rdmsr(vm, 0x828), 0x20);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, fake_vm_setup, fake_vm_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(reset_values),
		TEST(writable_bits),
		TEST(odd_accesses),
		TEST(accept_and_eoi),
		TEST(vectors),
		TEST(priority),
		TEST(trigger_mode_at_acceptance),
		TEST(software_disable),
		TEST(errors),
		TEST(local_vectors),
		TEST(late_lint0),
		TEST(x2apic_registers),
		TEST(x2apic_modes),
		TEST(msr_ownership),
		TEST(self_ipi),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
