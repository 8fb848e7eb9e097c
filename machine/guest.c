/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* device/guest.h over the vmm API. */
#include "machine/assembly.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "host/host.h"

struct guest_timer {
	struct event_timer *timer;
};

static struct machine *machine_of(struct guest *guest)
{
	return (struct machine *)guest;
}

static int read_memory(struct guest *guest, uint64_t gpa, void *buf, size_t len)
{
	void *from = ram_at(&machine_of(guest)->ram, gpa, len);

	if (!from)
		return EFAULT;
	memcpy(buf, from, len);
	return 0;
}

static int write_memory(struct guest *guest, uint64_t gpa, const void *buf, size_t len)
{
	struct machine *m = machine_of(guest);
	void *to = ram_at(&m->ram, gpa, len);

	if (!to)
		return EFAULT;
	memcpy(to, buf, len);
	vm_mem_written(m->vm, gpa, len);
	return 0;
}

static void *at(struct guest *guest, uint64_t gpa, size_t len)
{
	return ram_at(&machine_of(guest)->ram, gpa, len);
}

static void written(struct guest *guest, const void *place, size_t len)
{
	struct machine *m = machine_of(guest);

	vm_mem_written(m->vm, ram_gpa(&m->ram, place), len);
}

/* ISA line n reaches the I/O APIC on pin n, but for the timer's. */
static int ioapic_pin(unsigned irq)
{
	return irq == PC_PIT_IRQ ? PC_PIT_IOAPIC_PIN : (int)irq;
}

static void tell_chips(struct machine *m, unsigned line, bool asserted)
{
	int error;

	if (line >= PC_PCI_PIN_FIRST)
		error = asserted ? vmmdev_ioapic_assert_irq(m->vm, (int)line)
				 : vmmdev_ioapic_deassert_irq(m->vm, (int)line);
	else
		error = asserted ? vmmdev_isa_assert_irq(m->vm, (int)line, ioapic_pin(line))
				 : vmmdev_isa_deassert_irq(m->vm, (int)line, ioapic_pin(line));
	if (error)
		log_debug(m->guest.log, "irq", "line %u: %s", line, strerror(error));
}

static void tell_level(struct machine *m, unsigned line)
{
	int error = vmmdev_isa_set_irq_trigger(m->vm, (int)line, LEVEL_TRIGGER);

	if (error)
		log_warn(m->guest.log, "irq", "line %u cannot be level-triggered", line);
}

static void irq(struct guest *guest, unsigned line, bool asserted)
{
	struct machine *m = machine_of(guest);
	uint32_t bit = line < PC_IOAPIC_PINS ? 1u << line : 0;

	pthread_mutex_lock(&m->lines.lock);
	m->lines.asserted = asserted ? m->lines.asserted | bit : m->lines.asserted & ~bit;
	tell_chips(m, line, asserted);
	pthread_mutex_unlock(&m->lines.lock);
}

static void irq_level(struct guest *guest, unsigned line)
{
	struct machine *m = machine_of(guest);

	pthread_mutex_lock(&m->lines.lock);
	m->lines.level |= line < PC_IOAPIC_PINS ? 1u << line : 0;
	tell_level(m, line);
	pthread_mutex_unlock(&m->lines.lock);
}

void machine_lines_again(struct machine *m)
{
	for (unsigned line = 0; line < PC_IOAPIC_PINS; line++) {
		if (m->lines.level >> line & 1)
			tell_level(m, line);
		if (m->lines.asserted >> line & 1)
			tell_chips(m, line, true);
	}
}

/* Of a message's address (SDM 3A 11.11.1). */
enum { MSI_LOGICAL = 1 << 2, MSI_REDIRECT = 1 << 3 };

static void msi(struct guest *guest, uint64_t address, uint32_t data)
{
	/*
	 * The core, as bhyve's, takes the destination for a physical one unless the redirection
	 * hint is set.  Processors do not, and Linux's flat APIC driver leaves it clear.
	 */
	if (address & MSI_LOGICAL)
		address |= MSI_REDIRECT;
	/* An address beside the local APICs' is a write to nowhere. */
	int error = vmmdev_lapic_msi(machine_of(guest)->vm, address, data);

	if (error)
		log_debug(guest->log, "irq", "MSI %#llx to %#llx: %s", (unsigned long long)data,
			(unsigned long long)address, strerror(error));
}

static void end(struct guest *guest, enum guest_end how)
{
	static const enum vm_suspend_how hows[] = {
		[GUEST_RESET] = VM_SUSPEND_RESET,
		[GUEST_POWEROFF] = VM_SUSPEND_POWEROFF,
	};

	if (how == GUEST_SLEEP)
		machine_sleep(machine_of(guest));
	else
		machine_stop(machine_of(guest), hows[how]);
}

static void wake(struct guest *guest)
{
	machine_wake(machine_of(guest));
}

static void exit_with(struct guest *guest, uint8_t status)
{
	struct machine *m = machine_of(guest);

	pthread_mutex_lock(&m->lock);
	if (m->status < 0)
		m->status = status;
	pthread_mutex_unlock(&m->lock);
	machine_stop(m, VM_SUSPEND_POWEROFF);
}

static void unmap(struct guest *guest, uint64_t gpa)
{
	struct machine *m = machine_of(guest);
	uint64_t page = gpa & ~0xfffull;

	if (ram_at(&m->ram, page, 0x1000))
		vm_mem_written(m->vm, page, 0x1000);
}

static void input(struct guest *guest, const struct guest_input *event)
{
	struct machine *m = machine_of(guest);

	for (unsigned i = 0; i < m->ndevices; i++)
		if (m->devices[i].model->input && m->devices[i].dev)
			m->devices[i].model->input(m->devices[i].dev, event);
}

static int claim(struct guest *guest, const struct guest_range *range)
{
	return bus_claim(machine_of(guest)->bus, range);
}

static void unclaim(struct guest *guest, const struct guest_range *range)
{
	bus_unclaim(machine_of(guest)->bus, range);
}

static int timer_create_on_loop(
	struct guest *guest, void (*fn)(void *arg), void *arg, struct guest_timer **out)
{
	struct guest_timer *timer = calloc(1, sizeof(*timer));
	int error = timer ? event_timer_create(guest->loop, fn, arg, &timer->timer) : ENOMEM;

	if (error)
		free(timer);
	else
		*out = timer;
	return error;
}

static void timer_set(struct guest_timer *timer, uint64_t delay_ns)
{
	event_timer_set(timer->timer, delay_ns);
}

static void timer_stop(struct guest_timer *timer)
{
	event_timer_stop(timer->timer);
}

static void timer_destroy(struct guest_timer *timer)
{
	if (!timer)
		return;
	event_timer_remove(timer->timer);
	free(timer);
}

const struct guest_ops machine_guest_ops = {
	.read = read_memory,
	.write = write_memory,
	.at = at,
	.written = written,
	.irq = irq,
	.irq_level = irq_level,
	.msi = msi,
	.end = end,
	.wake = wake,
	.exit = exit_with,
	.unmap = unmap,
	.input = input,
	.claim = claim,
	.unclaim = unclaim,
	.timer_create = timer_create_on_loop,
	.timer_set = timer_set,
	.timer_stop = timer_stop,
	.timer_destroy = timer_destroy,
};
