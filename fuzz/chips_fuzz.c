/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A hostile guest before the chips of a whole VM (local APICs, I/O APIC, HPET, PICs, PIT, RTC, power
 * management timer): ports, pages and MSRs from two vcpus, lines that rise and fall, messages, time
 * that passes.
 */
#include <vmm/pc.h>
#include <vmm/vatpic.h>
#include <vmm/vioapic.h>
#include <vmm/vlapic.h>
#include <vmm/vrtc.h>

#include "fuzz/fuzz.h"
#include "test/vmm/fake_backend.h"
#include "vmm/vm.h"

enum { VCPUS = 2, STEPS = 400, MS = 1000000 };

struct world {
	struct vmm_clock *clock;
	struct vm *vm;
	int vcpuid; /* whose turn it is */
};

/*
 * One VM serves all inputs, reset in between: building it asks the host for its CPUID, which is slow
 * inside a VM.
 */
static void create(struct world *w)
{
	w->clock = vmm_clock_create_fake();
	FUZZ_CHECK(w->clock != NULL);
	FUZZ_CHECK(vm_create_clocked(&fake_ops, w->clock, "fuzz", &w->vm) == 0);
	for (int i = 0; i < VM_MAXCPU; i++)
		FUZZ_CHECK(vcpu_set_state(w->vm, i, VCPU_FROZEN, true) == 0);
}

/* All vcpus suspended, as at the end of a run; and what a battery keeps over that. */
static void reset(struct world *w)
{
	atomic_store(&w->vm->suspended, atomic_load(&w->vm->active));
	FUZZ_CHECK(vm_reinit(w->vm) == 0);
	for (int i = 0; i < 128; i++)
		(void)vrtc_nvram_write(w->vm, i, 0);
	(void)vrtc_set_time(w->vm, 0);
}

static void build(struct world *w)
{
	if (w->vm == NULL)
		create(w);
	else
		reset(w);
	for (int i = 0; i < VCPUS; i++) {
		FUZZ_CHECK(vm_activate_cpu(w->vm, i) == 0);
		FUZZ_CHECK(vm_set_x2apic_state(
				   w->vm, i, i ? X2APIC_ENABLED : X2APIC_DISABLED) == 0);
	}
}

static void touch_port(struct world *w, struct fuzz_input *in, bool is_in)
{
	static const uint16_t ports[] = {PC_PIC1_PORT, PC_PIC1_PORT + 1, PC_PIC2_PORT,
		PC_PIC2_PORT + 1, PC_ELCR_PORT, PC_ELCR_PORT + 1, PC_PIT_PORT, PC_PIT_PORT + 1,
		PC_PIT_PORT + 2, PC_PIT_PORT + 3, PC_NMISC_PORT, PC_RTC_INDEX, PC_RTC_DATA,
		PC_PM_TIMER};
	unsigned pick = (unsigned)fuzz_take(in, 1);
	int bytes = pick < 0xc0 ? 1 : pick < 0xe0 ? 2 : 4;
	uint32_t value = is_in ? UINT32_MAX : (uint32_t)fuzz_take(in, (unsigned)bytes);

	vm_ioport(w->vm, w->vcpuid, is_in, ports[pick % (sizeof(ports) / sizeof(ports[0]))], bytes,
		&value);
}

static void touch_page(struct world *w, struct fuzz_input *in, bool is_read)
{
	static const uint64_t pages[] = {
		PC_LAPIC_BASE, PC_IOAPIC_BASE, PC_HPET_BASE, PC_LAPIC_BASE};
	unsigned where = (unsigned)fuzz_take(in, 2);
	uint64_t gpa = pages[where >> 14] + (where & 0x3ff) * 4, value;
	int size = where & 0x2000 ? 1 << (where >> 10 & 3) : 4;
	bool retu = false;

	gpa += where & 0x1000 ? where & 3 : 0;
	if (is_read)
		vm_chip_read(w->vm, w->vcpuid, gpa, &value, size);
	else
		vm_chip_write(w->vm, w->vcpuid, gpa, fuzz_take_value(in), size, &retu);
}

static void touch_msr(struct world *w, struct fuzz_input *in, bool is_read)
{
	static const uint32_t others[] = {0x1b, 0x6e0, 0x10, 0x277, 0x1a0};
	unsigned pick = (unsigned)fuzz_take(in, 1);
	uint32_t msr = pick < 0xc0 ? 0x800 + pick : others[pick % 5];
	struct vlapic *vlapic = vm_lapic(w->vm, w->vcpuid);
	bool retu = false;
	uint64_t value;

	if (!vlapic_owns_msr(msr)) {
		(void)vm_rdmsr(w->vm, w->vcpuid, msr, &value);
		if (!is_read)
			(void)vm_wrmsr(w->vm, w->vcpuid, msr, fuzz_take_value(in));
	} else if (is_read) {
		(void)vlapic_rdmsr(vlapic, msr, &value);
	} else {
		(void)vlapic_wrmsr(vlapic, msr, fuzz_take_value(in), &retu);
	}
}

static void touch_line(struct world *w, struct fuzz_input *in, bool asserted)
{
	unsigned pick = (unsigned)fuzz_take(in, 1);
	int line = (int)(pick & 0x1f) - 1;

	if (pick & 0x80)
		(void)lapic_intr_msi(
			w->vm, PC_LAPIC_BASE | fuzz_take(in, 3), fuzz_take_value(in));
	else if (pick & 0x40)
		(void)(asserted ? vioapic_assert_irq(w->vm, line)
				: vioapic_deassert_irq(w->vm, line));
	else
		(void)(asserted ? vatpic_assert_irq(w->vm, line)
				: vatpic_deassert_irq(w->vm, line));
}

/* What a run loop does between two stays in the guest. */
static void take_events(struct world *w)
{
	struct vlapic *vlapic = vm_lapic(w->vm, w->vcpuid);
	uint8_t startup;
	int vector = -1;

	while (vlapic_next_spinup(vlapic)) {
		int started = vm_exitinfo(w->vm, w->vcpuid)->u.spinup_ap.vcpu;

		FUZZ_CHECK(started >= 0 && started < VM_MAXCPU);
	}
	while (vlapic_take_boot_event(vlapic, &startup) != VLAPIC_BOOT_NONE)
		;
	if (vlapic_pending_intr(vlapic, &vector)) {
		FUZZ_CHECK(vector >= 16 && vector <= 255);
		vlapic_intr_accepted(vlapic, vector);
	}
	if (vm_extint_pending(w->vm, w->vcpuid)) {
		vatpic_pending_intr(w->vm, &vector);
		FUZZ_CHECK(vector >= 0 && vector <= 255);
		vm_extint_clear(w->vm, w->vcpuid);
		vatpic_intr_accepted(w->vm, vector);
	}
	if (vm_nmi_pending(w->vm, w->vcpuid))
		vm_nmi_clear(w->vm, w->vcpuid);
}

static void step(struct world *w, struct fuzz_input *in)
{
	unsigned op = (unsigned)fuzz_take(in, 1);
	bool first = op & 8;

	w->vcpuid = op & 16 ? 1 : 0;
	switch (op & 7) {
	case 0:
	case 1:
		touch_port(w, in, first);
		break;
	case 2:
	case 3:
		touch_page(w, in, first);
		break;
	case 4:
		touch_msr(w, in, first);
		break;
	case 5:
		touch_line(w, in, first);
		break;
	case 6:
		take_events(w);
		break;
	default:
		vmm_clock_advance(w->clock, fuzz_take(in, 3) % (20 * MS));
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	static struct world w;

	build(&w);
	for (unsigned i = 0; i < STEPS && in.left > 0; i++)
		step(&w, &in);
	return 0;
}

/* Each register of the pages, each port, with events and time in between. */
size_t fuzz_seed(unsigned n, uint8_t *to, size_t room)
{
	size_t size = 0;

	if (n >= 8)
		return 0;
	for (unsigned i = 0; i < 96 && size + 16 <= room; i++) {
		unsigned where = (n & 3) << 14 | (n == 0 || n == 3 ? i % 64 * 4 : i);
		const uint8_t op[] = {i % 3 ? 2 : 10, (uint8_t)where, (uint8_t)(where >> 8),
			(uint8_t)(9 + (n >> 2)), (uint8_t)(i * 29), (uint8_t)n};
		const uint8_t port[] = {i % 5 ? 0 : 8, (uint8_t)i, (uint8_t)(i * 13), 6};
		const uint8_t time[] = {7, 0, 0x40, (uint8_t)(i & 7)};

		memcpy(to + size, op, sizeof(op) - (i % 3 ? 0 : 3));
		size += sizeof(op) - (i % 3 ? 0 : 3);
		memcpy(to + size, port, sizeof(port));
		size += sizeof(port);
		memcpy(to + size, time, sizeof(time));
		size += sizeof(time);
	}
	return size;
}
