/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The high-precision event timer (IA-PC HPET specification 1.0a; vmm-api.md 10.6): one 32-bit
 * counter of 10 MHz and eight comparators.
 *
 * The counter is `base` plus the ticks since `base_ns` while it is enabled.  Every comparator has a
 * timer on the clock whenever the counter runs, even with its interrupt disabled.
 */
#include <pthread.h>
#include <stdlib.h>

#include <vmm/backend.h>
#include <vmm/clock.h>
#include <vmm/pc.h>
#include <vmm/vatpic.h>
#include <vmm/vhpet.h>
#include <vmm/vioapic.h>
#include <vmm/vlapic.h>
#include "vmm/chip/ticks.h"
#include "vmm/chip/vhpet_impl.h"

#define HPET_HZ 10000000u
#define TIMERS	8

/* Vendor 8086, legacy routing, 8 timers, revision 1; the period in femtoseconds above. */
#define CAPABILITIES	 (0x8086u << 16 | 1u << 15 | (TIMERS - 1) << 8 | 1)
#define CAPABILITIES_ALL ((uint64_t)(1000000000000000ull / HPET_HZ) << 32 | CAPABILITIES)

/* Registers, 8 bytes each. */
#define HPET_CAPABILITIES 0x00
#define HPET_CONFIG	  0x10
#define HPET_STATUS	  0x20
#define HPET_COUNTER	  0xf0
#define HPET_TIMER	  0x100
#define TIMER_STRIDE	  0x20
#define TIMER_CONFIG	  0x00
#define TIMER_COMPARATOR  0x08
#define TIMER_FSB	  0x10

#define CONFIG_ENABLE 0x1
#define CONFIG_LEGACY 0x2

#define TIMER_LEVEL	 0x0002u
#define TIMER_INTR	 0x0004u
#define TIMER_PERIODIC	 0x0008u
#define TIMER_PER_CAP	 0x0010u
#define TIMER_VALUE_SET	 0x0040u
#define TIMER_ROUTE	 0x3e00u
#define TIMER_FSB_ENABLE 0x4000u
#define TIMER_FSB_CAP	 0x8000u
#define TIMER_WRITABLE                                                                             \
	(TIMER_LEVEL | TIMER_INTR | TIMER_PERIODIC | TIMER_VALUE_SET | TIMER_ROUTE |               \
		TIMER_FSB_ENABLE)

/* I/O APIC pins that timers can be routed to. */
#define ROUTES 0x00f00000u

struct hpet_timer {
	struct vhpet *vhpet;
	uint32_t config; /* low half; the high half is ROUTES */
	uint32_t comparator;
	uint32_t rate; /* of a periodic timer, in ticks */
	uint64_t fsb;  /* data in the low half, address in the high */
	struct vmm_timer timer;
	bool armed;
	uint64_t deadline_ns;
};

struct vhpet {
	struct vm *vm;
	struct vmm_clock *clock;
	pthread_mutex_t lock;
	_Atomic uint32_t config; /* written under the lock */
	uint32_t status;	 /* a bit per level-triggered timer that holds its pin */
	uint32_t base;
	uint64_t base_ns;
	struct hpet_timer timers[TIMERS];
};

static int timer_number(const struct hpet_timer *t)
{
	return (int)(t - t->vhpet->timers);
}

static bool is_enabled(const struct vhpet *vhpet)
{
	return vhpet->config & CONFIG_ENABLE;
}

/* Not cut to 32 bits, for distances. */
static uint64_t ticks_since_base(const struct vhpet *vhpet, uint64_t now)
{
	return is_enabled(vhpet) ? ns_to_ticks(now - vhpet->base_ns, HPET_HZ) : 0;
}

static uint32_t counter(const struct vhpet *vhpet, uint64_t now)
{
	return vhpet->base + (uint32_t)ticks_since_base(vhpet, now);
}

bool vhpet_has_legacy_routes(struct vm *vm)
{
	const struct vhpet *vhpet = vm_hpet(vm);
	const uint32_t both = CONFIG_ENABLE | CONFIG_LEGACY;

	return vhpet && (vhpet->config & both) == both;
}

/* With legacy routing, timers 0 and 1 are the PIT and the RTC. */
static bool is_legacy(const struct hpet_timer *t)
{
	return t->vhpet->config & CONFIG_LEGACY && timer_number(t) < 2;
}

static bool is_level(const struct hpet_timer *t)
{
	return t->config & TIMER_LEVEL && !is_legacy(t) && !(t->config & TIMER_FSB_ENABLE);
}

/* The I/O APIC pin, 0: none. */
static int route(const struct hpet_timer *t)
{
	if (is_legacy(t))
		return timer_number(t) == 0 ? PC_PIT_IOAPIC_PIN : PC_RTC_IRQ;
	return (t->config & TIMER_ROUTE) >> 9;
}

static void pulse(struct hpet_timer *t)
{
	struct vm *vm = t->vhpet->vm;

	vioapic_pulse_irq(vm, route(t));
	if (is_legacy(t))
		vatpic_pulse_irq(vm, timer_number(t) == 0 ? PC_PIT_IRQ : PC_RTC_IRQ);
}

static void interrupt(struct hpet_timer *t)
{
	uint32_t status = 1u << timer_number(t);

	if (!(t->config & TIMER_INTR) || t->vhpet->status & status)
		return;
	if (t->config & TIMER_FSB_ENABLE && !is_legacy(t)) {
		lapic_intr_msi(t->vhpet->vm, t->fsb >> 32, (uint32_t)t->fsb);
	} else if (route(t) == 0) {
		return;
	} else if (is_level(t)) {
		t->vhpet->status |= status;
		vioapic_assert_irq(t->vhpet->vm, route(t));
	} else {
		pulse(t);
	}
}

/* Lets go of the pin of a level-triggered timer. */
static void deassert(struct hpet_timer *t)
{
	uint32_t status = 1u << timer_number(t);

	if (!(t->vhpet->status & status))
		return;
	t->vhpet->status &= ~status;
	vioapic_deassert_irq(t->vhpet->vm, route(t));
}

/* Steps the comparator of a periodic timer past the counter, however many periods went by. */
static void advance_comparator(struct hpet_timer *t, uint32_t count)
{
	uint32_t behind = count - t->comparator;

	if ((int32_t)behind >= 0)
		t->comparator += (behind / t->rate + 1) * t->rate;
}

/*
 * Sets the clock's timer for the next match.  A one-shot comparator that was just passed, or
 * matched, matches again when the counter has wrapped.
 */
static void schedule(struct hpet_timer *t, uint64_t now, bool matched)
{
	const struct vhpet *vhpet = t->vhpet;
	uint64_t ticks = ticks_since_base(vhpet, now), distance;
	uint32_t count = counter(vhpet, now);
	bool periodic = t->config & TIMER_PERIODIC && t->rate;

	if (periodic)
		advance_comparator(t, count);
	distance = t->comparator - count;
	if (distance == 0 && matched)
		distance = 1ull << 32;
	t->armed = true;
	t->deadline_ns = vhpet->base_ns + ticks_to_ns(ticks + distance, HPET_HZ);
	if (periodic && t->deadline_ns < now + CHIP_PERIOD_MIN_NS)
		t->deadline_ns = now + CHIP_PERIOD_MIN_NS;
	vmm_timer_set(&t->timer, t->deadline_ns);
}

static void timer_fired(void *arg)
{
	struct hpet_timer *t = arg;
	struct vhpet *vhpet = t->vhpet;
	uint64_t now = vmm_clock_now(vhpet->clock);

	pthread_mutex_lock(&vhpet->lock);
	if (is_enabled(vhpet) && t->armed && now >= t->deadline_ns) {
		schedule(t, now, true);
		interrupt(t);
	}
	pthread_mutex_unlock(&vhpet->lock);
}

static void start_counting(struct vhpet *vhpet, uint64_t now)
{
	vhpet->base_ns = now;
	for (int i = 0; i < TIMERS; i++)
		schedule(&vhpet->timers[i], now, false);
}

/* What was due before the counter stopped still fires. */
static void stop_counting(struct vhpet *vhpet, uint64_t now)
{
	for (int i = 0; i < TIMERS; i++) {
		struct hpet_timer *t = &vhpet->timers[i];

		vmm_timer_stop(&t->timer);
		if (t->armed && now >= t->deadline_ns)
			interrupt(t);
		t->armed = false;
	}
}

static void write_config(struct vhpet *vhpet, uint64_t value, uint64_t now)
{
	uint32_t old = vhpet->config, new = (uint32_t)value &(CONFIG_ENABLE | CONFIG_LEGACY);

	if (old & ~new &CONFIG_ENABLE) {
		vhpet->base = counter(vhpet, now);
		stop_counting(vhpet, now);
	}
	/* Legacy routing takes pins away from timers 0 and 1. */
	if ((old ^ new) & CONFIG_LEGACY) {
		deassert(&vhpet->timers[0]);
		deassert(&vhpet->timers[1]);
	}
	vhpet->config = new;
	if (new & ~old & CONFIG_ENABLE)
		start_counting(vhpet, now);
}

static void write_counter(struct vhpet *vhpet, uint32_t value, uint64_t now)
{
	vhpet->base = value;
	if (is_enabled(vhpet))
		start_counting(vhpet, now);
}

static void write_timer_config(struct hpet_timer *t, uint32_t value)
{
	uint32_t config = (t->config & ~TIMER_WRITABLE) | (value & TIMER_WRITABLE);
	uint32_t pin = (config & TIMER_ROUTE) >> 9;

	if (!(ROUTES >> pin & 1))
		config &= ~TIMER_ROUTE;
	if (!(config & TIMER_LEVEL) || !(config & TIMER_INTR) || config & TIMER_FSB_ENABLE ||
		(config ^ t->config) & TIMER_ROUTE)
		deassert(t);
	t->config = config;
	if (!(config & TIMER_PERIODIC))
		t->rate = 0;
}

static void write_comparator(struct hpet_timer *t, uint64_t value, uint64_t mask, uint64_t now)
{
	uint32_t old_comparator = t->comparator, old_rate = t->rate;
	uint32_t *written = t->config & TIMER_PERIODIC ? &t->rate : &t->comparator;

	*written = (uint32_t)((*written & ~mask) | (value & mask));
	if (t->config & TIMER_PERIODIC && t->config & TIMER_VALUE_SET)
		t->comparator = t->rate;
	t->config &= ~TIMER_VALUE_SET;
	if (is_enabled(t->vhpet) && (t->comparator != old_comparator || t->rate != old_rate))
		schedule(t, now, false);
}

static void write_status(struct vhpet *vhpet, uint64_t value)
{
	for (int i = 0; i < TIMERS; i++) {
		if (value >> i & 1)
			deassert(&vhpet->timers[i]);
	}
}

/* The timer of a register and the register within it; NULL: not a timer's. */
static struct hpet_timer *find_timer(struct vhpet *vhpet, unsigned *offset)
{
	unsigned n = (*offset - HPET_TIMER) / TIMER_STRIDE;

	if (*offset < HPET_TIMER || n >= TIMERS)
		return NULL;
	*offset %= TIMER_STRIDE;
	return &vhpet->timers[n];
}

static void write_timer(
	struct hpet_timer *t, unsigned offset, uint64_t value, uint64_t mask, uint64_t now)
{
	switch (offset) {
	case TIMER_CONFIG:
		if (mask & UINT32_MAX)
			write_timer_config(t, (uint32_t)value);
		break;
	case TIMER_COMPARATOR:
		write_comparator(t, value, mask, now);
		break;
	case TIMER_FSB:
		t->fsb = (t->fsb & ~mask) | (value & mask);
		break;
	default:
		break;
	}
}

/* `offset` is a multiple of 8; the bits outside `mask` are not written. */
static void write_reg(
	struct vhpet *vhpet, unsigned offset, uint64_t value, uint64_t mask, uint64_t now)
{
	struct hpet_timer *t = find_timer(vhpet, &offset);

	if (t) {
		write_timer(t, offset, value, mask, now);
		return;
	}
	/* The upper halves of the others are reserved. */
	if (!(mask & UINT32_MAX))
		return;
	switch (offset) {
	case HPET_CONFIG:
		write_config(vhpet, value, now);
		break;
	case HPET_STATUS:
		write_status(vhpet, value);
		break;
	case HPET_COUNTER:
		write_counter(vhpet, (uint32_t)value, now);
		break;
	default:
		break;
	}
}

static uint64_t read_timer(const struct hpet_timer *t, unsigned offset)
{
	switch (offset) {
	case TIMER_CONFIG:
		return (uint64_t)ROUTES << 32 | t->config;
	case TIMER_COMPARATOR:
		return t->comparator;
	case TIMER_FSB:
		return t->fsb;
	default:
		return 0;
	}
}

static uint64_t read_reg(struct vhpet *vhpet, unsigned offset, uint64_t now)
{
	const struct hpet_timer *t = find_timer(vhpet, &offset);

	if (t)
		return read_timer(t, offset);
	switch (offset) {
	case HPET_CAPABILITIES:
		return CAPABILITIES_ALL;
	case HPET_CONFIG:
		return vhpet->config;
	case HPET_STATUS:
		return vhpet->status;
	case HPET_COUNTER:
		return counter(vhpet, now);
	default:
		return 0;
	}
}

static bool is_access(uint64_t offset, int size)
{
	return (size == 4 || size == 8) && offset % (unsigned)size == 0 && offset < PC_HPET_SIZE;
}

int vhpet_mmio_read(struct vm *vm, int vcpuid, uint64_t gpa, uint64_t *value, int size, void *arg)
{
	struct vhpet *vhpet = vm_hpet(vm);
	uint64_t offset = gpa - PC_HPET_BASE;

	(void)vcpuid;
	(void)arg;
	*value = 0;
	if (!is_access(offset, size))
		return 0;
	pthread_mutex_lock(&vhpet->lock);
	*value = read_reg(vhpet, (unsigned)offset & ~7u, vmm_clock_now(vhpet->clock));
	pthread_mutex_unlock(&vhpet->lock);
	*value >>= 8 * (offset & 4);
	if (size == 4)
		*value = (uint32_t)*value;
	return 0;
}

int vhpet_mmio_write(struct vm *vm, int vcpuid, uint64_t gpa, uint64_t value, int size, void *arg)
{
	struct vhpet *vhpet = vm_hpet(vm);
	uint64_t offset = gpa - PC_HPET_BASE;
	uint64_t mask = size == 4 ? UINT32_MAX : UINT64_MAX;
	unsigned shift = 8 * (offset & 4);

	(void)vcpuid;
	(void)arg;
	if (!is_access(offset, size))
		return 0;
	pthread_mutex_lock(&vhpet->lock);
	write_reg(vhpet, (unsigned)offset & ~7u, value << shift, mask << shift,
		vmm_clock_now(vhpet->clock));
	pthread_mutex_unlock(&vhpet->lock);
	return 0;
}

int vhpet_getcap(struct vm *vm, uint32_t *cap)
{
	(void)vm;
	*cap = CAPABILITIES;
	return 0;
}

struct vhpet *vhpet_init(struct vm *vm)
{
	struct vhpet *vhpet = calloc(1, sizeof(*vhpet));

	if (!vhpet)
		return NULL;
	vhpet->vm = vm;
	vhpet->clock = vm_clock(vm);
	pthread_mutex_init(&vhpet->lock, NULL);
	for (int i = 0; i < TIMERS; i++) {
		struct hpet_timer *t = &vhpet->timers[i];

		t->vhpet = vhpet;
		t->config = TIMER_FSB_CAP | TIMER_PER_CAP;
		t->comparator = UINT32_MAX;
		vmm_timer_init(&t->timer, vhpet->clock, timer_fired, t);
	}
	return vhpet;
}

void vhpet_cleanup(struct vhpet *vhpet)
{
	if (!vhpet)
		return;
	for (int i = 0; i < TIMERS; i++)
		vmm_timer_drain(&vhpet->timers[i].timer);
	pthread_mutex_destroy(&vhpet->lock);
	free(vhpet);
}
