/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The 8254 interval timer and port 0x61 (Intel 8254 data sheet; vmm-api.md 10.5).
 *
 * A counter remembers when its count was loaded; what it counts and what its OUT pin says are
 * computed from the ticks since then.  Only counter 0 is awaited by anybody, so only it has a
 * timer.
 */
#include <pthread.h>
#include <stdlib.h>

#include <vmm/backend.h>
#include <vmm/clock.h>
#include <vmm/pc.h>
#include <vmm/vatpic.h>
#include <vmm/vatpit.h>
#include <vmm/vioapic.h>
#include "vmm/chip/port.h"
#include "vmm/chip/ticks.h"
#include "vmm/chip/vhpet_impl.h"

#define PIT_HZ 1193182u

#define COUNTERS    3
#define SPEAKER	    2 /* the counter whose gate port 0x61 holds */
#define READ_BACK   3 /* in the place of a counter's number */
#define RESET_COUNT (PIT_HZ / 100)

/* Control word. */
#define CONTROL_COUNTER(cw) ((cw) >> 6)
#define CONTROL_ACCESS(cw)  ((cw) >> 4 & 3)
#define CONTROL_MODE(cw)    ((cw) >> 1 & 7)
#define CONTROL_BCD	    0x01
#define READ_BACK_NO_COUNT  0x20
#define READ_BACK_NO_STATUS 0x10

enum access { ACCESS_LATCH, ACCESS_LSB, ACCESS_MSB, ACCESS_WORD };

enum mode {
	MODE_TERMINAL_COUNT,
	MODE_ONE_SHOT, /* retriggered by the gate */
	MODE_RATE,
	MODE_SQUARE,
	MODE_SOFTWARE_STROBE,
	MODE_HARDWARE_STROBE,
};

/* Port 0x61. */
#define NMISC_GATE     0x01
#define NMISC_WRITABLE 0x0f
#define NMISC_REFRESH  0x10
#define NMISC_OUT      0x20
#define REFRESH_NS     15085 /* half a period of the toggle */

struct counter {
	uint8_t mode, access;
	bool bcd, gate;

	bool written;		/* a count has been written since the control word */
	bool loaded;		/* and the counting element has taken it: null count is clear */
	bool counting;		/* ticks pass */
	uint32_t reload;	/* the last count written, 1..65536 */
	uint32_t initial;	/* the one being counted down */
	uint64_t start_ns;	/* when counting: the instant of tick 0 */
	uint64_t stopped_ticks; /* when not: how far it got */

	bool write_high, read_high; /* the other half of a word comes next */
	uint8_t low;		    /* the first half written */
	bool count_latched, status_latched;
	uint16_t latch;
	uint8_t status;
};

struct vatpit {
	struct vm *vm;
	struct vmm_clock *clock;
	pthread_mutex_t lock;
	struct counter counters[COUNTERS];
	uint8_t nmisc; /* what was written to port 0x61 */
	struct vmm_timer timer;
	bool armed;
	uint64_t deadline_ns;
};

static uint32_t modulus(const struct counter *c)
{
	return c->bcd ? 10000 : 65536;
}

static bool is_periodic(const struct counter *c)
{
	return c->mode == MODE_RATE || c->mode == MODE_SQUARE;
}

static bool is_triggered(const struct counter *c)
{
	return c->mode == MODE_ONE_SHOT || c->mode == MODE_HARDWARE_STROBE;
}

static uint64_t elapsed(const struct counter *c, uint64_t now)
{
	return c->counting ? ns_to_ticks(now - c->start_ns, PIT_HZ) : c->stopped_ticks;
}

static bool output(const struct counter *c, uint64_t now)
{
	uint64_t ticks = elapsed(c, now);

	if (!c->loaded)
		return c->mode != MODE_TERMINAL_COUNT;
	switch (c->mode) {
	case MODE_TERMINAL_COUNT:
	case MODE_ONE_SHOT:
		return ticks >= c->initial;
	case MODE_RATE:
		return !c->counting || c->initial == 1 || ticks % c->initial != c->initial - 1;
	case MODE_SQUARE:
		return !c->counting || ticks % c->initial < (c->initial + 1) / 2;
	default:
		return ticks != c->initial;
	}
}

/*
 * A square wave counts down by two, twice per period; an odd count makes the high half one tick
 * longer.
 */
static uint32_t square_count(const struct counter *c, uint64_t ticks)
{
	uint32_t high = (c->initial + 1) / 2, tick = (uint32_t)(ticks % c->initial);

	return (c->initial & ~1u) - 2 * (tick < high ? tick : tick - high);
}

static uint16_t to_bcd(uint32_t n)
{
	return (uint16_t)(n / 1000 % 10 << 12 | n / 100 % 10 << 8 | n / 10 % 10 << 4 | n % 10);
}

/* The counting element, as read: 65536 reads 0, and a count that has ended goes on below 0. */
static uint16_t current_count(const struct counter *c, uint64_t now)
{
	uint64_t ticks = elapsed(c, now);
	uint32_t count;

	if (c->mode == MODE_SQUARE)
		count = square_count(c, ticks);
	else if (c->mode == MODE_RATE)
		count = c->initial - (uint32_t)(ticks % c->initial);
	else
		count = c->initial + modulus(c) - (uint32_t)(ticks % modulus(c));
	count %= modulus(c);
	return c->bcd ? to_bcd(count) : (uint16_t)count;
}

static uint32_t count_from_register(const struct counter *c, uint16_t value)
{
	uint32_t n = value;

	if (c->bcd)
		n = (value >> 12) * 1000u + (value >> 8 & 15) * 100u + (value >> 4 & 15) * 10u +
		    (value & 15u);
	n %= modulus(c);
	return n ? n : modulus(c);
}

/* Counter 0's next rising edge of OUT, which is an interrupt. Caller holds the lock. */
static void schedule(struct vatpit *vatpit, uint64_t now)
{
	const struct counter *c = &vatpit->counters[0];
	uint64_t ticks = elapsed(c, now), edge = c->initial;

	vatpit->armed = c->loaded && c->counting;
	if (is_periodic(c))
		edge = (ticks / c->initial + 1) * c->initial;
	else if (ticks >= c->initial)
		vatpit->armed = false;
	if (!vatpit->armed) {
		vmm_timer_stop(&vatpit->timer);
		return;
	}
	vatpit->deadline_ns = c->start_ns + ticks_to_ns(edge, PIT_HZ);
	if (is_periodic(c) && vatpit->deadline_ns < now + CHIP_PERIOD_MIN_NS)
		vatpit->deadline_ns = now + CHIP_PERIOD_MIN_NS;
	vmm_timer_set(&vatpit->timer, vatpit->deadline_ns);
}

/*
 * A callback can race with a new programming: only the deadline in force counts. Late edges are
 * lost.
 */
static void timer_fired(void *arg)
{
	struct vatpit *vatpit = arg;
	uint64_t now = vmm_clock_now(vatpit->clock);
	bool due;

	pthread_mutex_lock(&vatpit->lock);
	due = vatpit->armed && now >= vatpit->deadline_ns;
	if (due)
		schedule(vatpit, now);
	pthread_mutex_unlock(&vatpit->lock);
	if (!due || vhpet_has_legacy_routes(vatpit->vm))
		return;
	vatpic_pulse_irq(vatpit->vm, PC_PIT_IRQ);
	vioapic_pulse_irq(vatpit->vm, PC_PIT_IOAPIC_PIN);
}

static void start(struct counter *c, uint64_t now)
{
	c->initial = c->reload;
	c->loaded = true;
	c->counting = c->gate || is_triggered(c);
	c->start_ns = now;
	c->stopped_ticks = 0;
}

/* A count takes effect at once, except that modes 1 and 5 wait for the gate. */
static void set_count(struct vatpit *vatpit, struct counter *c, uint16_t value)
{
	uint64_t now = vmm_clock_now(vatpit->clock);

	c->reload = count_from_register(c, value);
	c->written = true;
	if (is_triggered(c))
		return;
	start(c, now);
	if (c == &vatpit->counters[0])
		schedule(vatpit, now);
}

static void stop(struct counter *c, uint64_t now)
{
	c->stopped_ticks = elapsed(c, now);
	c->counting = false;
}

static void set_gate(struct counter *c, bool gate, uint64_t now)
{
	bool rise = gate && !c->gate;

	if (gate == c->gate)
		return;
	c->gate = gate;
	if (!c->written)
		return;
	if (!rise && !is_triggered(c)) {
		stop(c, now);
	} else if (rise && (is_periodic(c) || is_triggered(c))) {
		start(c, now);
	} else if (rise && c->loaded) {
		c->counting = true;
		c->start_ns = now - ticks_to_ns(c->stopped_ticks, PIT_HZ);
	}
}

static void latch_count(struct counter *c, uint64_t now)
{
	if (c->count_latched)
		return;
	c->latch = current_count(c, now);
	c->count_latched = true;
	c->read_high = false;
}

static void latch_status(struct counter *c, uint64_t now)
{
	if (c->status_latched)
		return;
	c->status = (uint8_t)(output(c, now) << 7 | !c->loaded << 6 | c->access << 4 |
			      c->mode << 1 | c->bcd);
	c->status_latched = true;
}

static void read_back(struct vatpit *vatpit, uint8_t command)
{
	uint64_t now = vmm_clock_now(vatpit->clock);

	for (int i = 0; i < COUNTERS; i++) {
		if (!(command & 2 << i))
			continue;
		if (!(command & READ_BACK_NO_COUNT))
			latch_count(&vatpit->counters[i], now);
		if (!(command & READ_BACK_NO_STATUS))
			latch_status(&vatpit->counters[i], now);
	}
}

static void write_control(struct vatpit *vatpit, uint8_t control)
{
	uint64_t now = vmm_clock_now(vatpit->clock);
	struct counter *c;

	if (CONTROL_COUNTER(control) == READ_BACK) {
		read_back(vatpit, control);
		return;
	}
	c = &vatpit->counters[CONTROL_COUNTER(control)];
	if (CONTROL_ACCESS(control) == ACCESS_LATCH) {
		latch_count(c, now);
		return;
	}
	stop(c, now);
	c->access = CONTROL_ACCESS(control);
	c->mode = CONTROL_MODE(control) > MODE_HARDWARE_STROBE ? CONTROL_MODE(control) & 3
							       : CONTROL_MODE(control);
	c->bcd = control & CONTROL_BCD;
	c->written = c->loaded = false;
	c->write_high = c->read_high = false;
	c->count_latched = c->status_latched = false;
	if (c == &vatpit->counters[0])
		schedule(vatpit, now);
}

/* In mode 0 the first half of a count stops the counter and takes OUT low. */
static void write_low_half(struct vatpit *vatpit, struct counter *c, uint8_t val)
{
	c->low = val;
	c->write_high = true;
	if (c->mode != MODE_TERMINAL_COUNT)
		return;
	stop(c, vmm_clock_now(vatpit->clock));
	c->loaded = false;
	if (c == &vatpit->counters[0])
		schedule(vatpit, vmm_clock_now(vatpit->clock));
}

static void write_counter(struct vatpit *vatpit, struct counter *c, uint8_t val)
{
	if (c->access == ACCESS_LSB) {
		set_count(vatpit, c, val);
	} else if (c->access == ACCESS_MSB) {
		set_count(vatpit, c, (uint16_t)(val << 8));
	} else if (!c->write_high) {
		write_low_half(vatpit, c, val);
	} else {
		c->write_high = false;
		set_count(vatpit, c, (uint16_t)(val << 8 | c->low));
	}
}

static uint8_t read_counter(struct vatpit *vatpit, struct counter *c)
{
	uint16_t count;
	bool high = c->access == ACCESS_MSB;

	if (c->status_latched) {
		c->status_latched = false;
		return c->status;
	}
	count = c->count_latched ? c->latch : current_count(c, vmm_clock_now(vatpit->clock));
	if (c->access == ACCESS_WORD) {
		high = c->read_high;
		c->read_high = !high;
	}
	if (!c->read_high)
		c->count_latched = false;
	return (uint8_t)(high ? count >> 8 : count);
}

int vatpit_handler(struct vm *vm, int vcpuid, bool in, int port, int bytes, uint32_t *val)
{
	struct vatpit *vatpit = vm_atpit(vm);
	int n = port - PC_PIT_PORT;

	(void)vcpuid;
	if (bytes != 1 || (in && n == COUNTERS)) {
		*val = port_floating(bytes);
		return 0;
	}
	pthread_mutex_lock(&vatpit->lock);
	if (n == COUNTERS)
		write_control(vatpit, (uint8_t)*val);
	else if (in)
		*val = read_counter(vatpit, &vatpit->counters[n]);
	else
		write_counter(vatpit, &vatpit->counters[n], (uint8_t)*val);
	pthread_mutex_unlock(&vatpit->lock);
	return 0;
}

/* The refresh bit toggles with the DRAM refresh of old, and delay loops of old count on it. */
static uint8_t read_nmisc(struct vatpit *vatpit, uint64_t now)
{
	return (uint8_t)(vatpit->nmisc | (now / REFRESH_NS & 1 ? NMISC_REFRESH : 0) |
			 (output(&vatpit->counters[SPEAKER], now) ? NMISC_OUT : 0));
}

int vatpit_nmisc_handler(struct vm *vm, int vcpuid, bool in, int port, int bytes, uint32_t *val)
{
	struct vatpit *vatpit = vm_atpit(vm);
	uint64_t now = vmm_clock_now(vatpit->clock);

	(void)vcpuid;
	(void)port;
	if (bytes != 1) {
		*val = port_floating(bytes);
		return 0;
	}
	pthread_mutex_lock(&vatpit->lock);
	if (in) {
		*val = read_nmisc(vatpit, now);
	} else {
		vatpit->nmisc = *val & NMISC_WRITABLE;
		set_gate(&vatpit->counters[SPEAKER], vatpit->nmisc & NMISC_GATE, now);
	}
	pthread_mutex_unlock(&vatpit->lock);
	return 0;
}

/* As bhyve, a counter that nobody programmed reads as one of 100 Hz, which interrupts nobody. */
struct vatpit *vatpit_init(struct vm *vm)
{
	struct vatpit *vatpit = calloc(1, sizeof(*vatpit));

	if (!vatpit)
		return NULL;
	vatpit->vm = vm;
	vatpit->clock = vm_clock(vm);
	pthread_mutex_init(&vatpit->lock, NULL);
	vmm_timer_init(&vatpit->timer, vatpit->clock, timer_fired, vatpit);
	for (int i = 0; i < COUNTERS; i++) {
		struct counter *c = &vatpit->counters[i];

		*c = (struct counter){.mode = MODE_RATE,
			.access = ACCESS_WORD,
			.gate = i != SPEAKER,
			.reload = RESET_COUNT};
		start(c, vmm_clock_now(vatpit->clock));
	}
	return vatpit;
}

void vatpit_cleanup(struct vatpit *vatpit)
{
	if (!vatpit)
		return;
	vmm_timer_drain(&vatpit->timer);
	pthread_mutex_destroy(&vatpit->lock);
	free(vatpit);
}
