/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A hostile guest before the device models: all of them on one bus, accessed through the ranges that
 * they claim, across their ends, and beside them.  Timers fire, keys and the power button are pressed
 * in between.  Each model keeps its interrupt line in balance.
 */
#include <errno.h>
#include <string.h>

#include "device/device.h"
#include "fuzz/fuzz.h"
#include "machine/bus.h"

enum { DEVICES = 16, TIMERS = 16, LINES = 24, RANGES = 128, RAM = 0x10000 };

struct guest_timer {
	void (*fn)(void *arg);
	void *arg;
	bool set;
};

struct world {
	struct guest guest; /* first */
	struct bus *bus;
	struct {
		const struct device_model *model;
		void *dev;
	} devices[DEVICES];
	unsigned ndevices;
	struct guest_range ranges[RANGES]; /* what may be claimed */
	unsigned nranges;
	struct guest_timer timers[TIMERS];
	unsigned ntimers;
	int asserts[LINES];
	uint8_t ram[RAM];
};

static struct world *world_of(struct guest *guest)
{
	return (struct world *)guest;
}

/* ---- What the models see ---- */

static void *ram_at(struct guest *guest, uint64_t gpa, size_t len)
{
	return gpa < RAM && len <= RAM - gpa ? world_of(guest)->ram + gpa : NULL;
}

static int ram_read(struct guest *guest, uint64_t gpa, void *buf, size_t len)
{
	void *from = ram_at(guest, gpa, len);

	if (!from)
		return EFAULT;
	memcpy(buf, from, len);
	return 0;
}

static int ram_write(struct guest *guest, uint64_t gpa, const void *buf, size_t len)
{
	void *to = ram_at(guest, gpa, len);

	if (!to)
		return EFAULT;
	memcpy(to, buf, len);
	return 0;
}

static void written(struct guest *guest, const void *at, size_t len)
{
	size_t offset = (size_t)((const uint8_t *)at - world_of(guest)->ram);

	FUZZ_CHECK(offset < RAM && len <= RAM - offset);
}

static void msi(struct guest *guest, uint64_t address, uint32_t data)
{
	(void)guest, (void)address, (void)data;
}

/* COM1 and COM3 share a line, as do COM2 and COM4; the test device raises any. */
static void irq(struct guest *guest, unsigned line, bool asserted)
{
	FUZZ_CHECK(line < LINES);
	int *asserts = &world_of(guest)->asserts[line];

	*asserts += asserted ? 1 : -1;
	FUZZ_CHECK(*asserts >= 0 && *asserts <= 3);
}

static void irq_level(struct guest *guest, unsigned line)
{
	(void)guest;
	FUZZ_CHECK(line < LINES);
}

static void end(struct guest *guest, enum guest_end how)
{
	(void)guest;
	FUZZ_CHECK(how == GUEST_RESET || how == GUEST_POWEROFF || how == GUEST_SLEEP);
}

static void wake(struct guest *guest)
{
	(void)guest;
}

static void exit_with(struct guest *guest, uint8_t status)
{
	(void)guest;
	FUZZ_CHECK(status & 1);
}

static void unmap(struct guest *guest, uint64_t gpa)
{
	(void)guest, (void)gpa;
}

static void input(struct guest *guest, const struct guest_input *event)
{
	struct world *w = world_of(guest);

	for (unsigned i = 0; i < w->ndevices; i++)
		if (w->devices[i].model->input)
			w->devices[i].model->input(w->devices[i].dev, event);
}

static int claim(struct guest *guest, const struct guest_range *range)
{
	struct world *w = world_of(guest);

	int error = bus_claim(w->bus, range);

	if (!error) {
		FUZZ_CHECK(w->nranges < RANGES);
		w->ranges[w->nranges++] = *range;
	}
	return error;
}

/* BARs move. */
static void unclaim(struct guest *guest, const struct guest_range *range)
{
	struct world *w = world_of(guest);

	for (unsigned i = 0; i < w->nranges; i++) {
		const struct guest_range *r = &w->ranges[i];

		if (r->space == range->space && r->base == range->base && r->size == range->size) {
			w->ranges[i] = w->ranges[--w->nranges];
			break;
		}
	}
	bus_unclaim(w->bus, range);
}

static int timer_create_fake(
	struct guest *guest, void (*fn)(void *arg), void *arg, struct guest_timer **timer)
{
	struct world *w = world_of(guest);

	FUZZ_CHECK(w->ntimers < TIMERS);
	*timer = &w->timers[w->ntimers++];
	**timer = (struct guest_timer){.fn = fn, .arg = arg};
	return 0;
}

static void timer_set(struct guest_timer *timer, uint64_t delay_ns)
{
	(void)delay_ns;
	timer->set = true;
}

static void timer_stop(struct guest_timer *timer)
{
	timer->set = false;
}

static const struct guest_ops ops = {
	.read = ram_read,
	.write = ram_write,
	.at = ram_at,
	.written = written,
	.msi = msi,
	.irq = irq,
	.irq_level = irq_level,
	.end = end,
	.wake = wake,
	.exit = exit_with,
	.unmap = unmap,
	.input = input,
	.claim = claim,
	.unclaim = unclaim,
	.timer_create = timer_create_fake,
	.timer_set = timer_set,
	.timer_stop = timer_stop,
	.timer_destroy = timer_stop,
};

/* ---- Building and taking apart ---- */

/* Serial lines are not connected; on the PCI bus there are devices that need nothing of the host. */
static const char *option(const void *config, const char *key)
{
	static const char *const settings[][2] = {
		{"pci.0.3.0.device", "virtio-rnd"},
		{"pci.0.4.0.device", "virtio-rnd"},
		{"pci.0.4.1.device", "virtio-rnd"},
	};

	(void)config;
	for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++)
		if (strcmp(settings[i][0], key) == 0)
			return settings[i][1];
	return NULL;
}

static void build_unit(
	struct world *w, const struct device_model *model, const struct device_unit *unit)
{
	char why[128];
	void *dev;
	const struct device_args args = {
		.guest = &w->guest,
		.unit = unit,
		.option = option,
		.why = why,
		.why_size = sizeof(why),
	};

	FUZZ_CHECK(w->ndevices < DEVICES && model->create(&args, &dev) == 0);
	w->devices[w->ndevices].model = model;
	w->devices[w->ndevices++].dev = dev;
	for (const struct device_resource *r = unit->res; r->kind != DEVICE_RES_NONE; r++) {
		const struct guest_range range = {
			.space = r->kind == DEVICE_RES_PORTS ? GUEST_PORTS : GUEST_MEMORY,
			.base = r->base,
			.size = r->size,
			.io = r->io,
			.arg = dev,
		};

		if (r->kind != DEVICE_RES_IRQ && r->io)
			FUZZ_CHECK(claim(&w->guest, &range) == 0);
	}
}

static void build(struct world *w)
{
	w->guest.ops = &ops;
	FUZZ_CHECK(bus_create(&w->bus) == 0);
	for (size_t i = 0; i < device_nmodels; i++)
		for (size_t u = 0; u < device_models[i]->nunits; u++)
			build_unit(w, device_models[i], &device_models[i]->units[u]);
}

static void take_apart(struct world *w)
{
	while (w->ndevices > 0) {
		w->ndevices--;
		w->devices[w->ndevices].model->destroy(w->devices[w->ndevices].dev);
	}
	bus_destroy(w->bus);
}

/* ---- Operations ---- */

static void access_bus(struct world *w, struct fuzz_input *in, bool is_write)
{
	const struct guest_range *r = &w->ranges[fuzz_take(in, 1) % w->nranges];
	uint64_t address = r->base + fuzz_take(in, r->size > 0x100 ? 4 : 1) % r->size, value;
	unsigned size = fuzz_take_width(in);

	if (is_write) {
		bus_write(w->bus, r->space, address, size, fuzz_take_value(in));
		return;
	}
	bus_read(w->bus, r->space, address, size, &value);
	FUZZ_CHECK((value & ~device_all_ones(size)) == 0);
}

static void access_anywhere(struct world *w, struct fuzz_input *in)
{
	uint64_t address = fuzz_take_value(in), value;
	unsigned size = fuzz_take_width(in);

	bus_read(w->bus, GUEST_MEMORY, address, size, &value);
	bus_write(w->bus, GUEST_PORTS, (uint16_t)address, size, value);
}

static void fire_timer(struct world *w, unsigned i)
{
	if (i >= w->ntimers || !w->timers[i].set)
		return;
	w->timers[i].set = false;
	w->timers[i].fn(w->timers[i].arg);
}

static void press_button(struct world *w)
{
	for (unsigned i = 0; i < w->ndevices; i++)
		if (w->devices[i].model->event)
			w->devices[i].model->event(w->devices[i].dev, DEVICE_POWER_BUTTON);
}

/* Somebody at the keyboard and the mouse: any values. */
static void use_input(struct world *w, struct fuzz_input *in, bool key)
{
	const struct guest_input event = {
		.kind = key ? GUEST_INPUT_KEY : GUEST_INPUT_MOTION,
		.key = (uint16_t)fuzz_take(in, key ? 1 : 0),
		.down = fuzz_take(in, 1) & 1,
		.dx = (int)fuzz_take(in, key ? 0 : 4),
		.dy = (int)fuzz_take(in, key ? 0 : 2) - 0x8000,
		.wheel = (int)fuzz_take(in, key ? 0 : 4),
		.buttons = (uint8_t)fuzz_take(in, key ? 0 : 1),
	};

	guest_input(&w->guest, &event);
}

static void step(struct world *w, struct fuzz_input *in)
{
	unsigned op = (unsigned)fuzz_take(in, 1);

	switch (op & 7) {
	case 0:
		access_anywhere(w, in);
		break;
	case 1:
		fire_timer(w, op >> 3);
		break;
	case 2:
		if (op & 8)
			use_input(w, in, op & 16);
		else
			press_button(w);
		break;
	default:
		access_bus(w, in, op & 8);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct world w = {0};

	build(&w);
	while (in.left > 0)
		step(&w, &in);
	take_apart(&w);
	return 0;
}

/* Every register written and read, in each width. */
size_t fuzz_seed(unsigned n, uint8_t *to, size_t room)
{
	size_t size = 0;

	if (n >= 4)
		return 0;
	for (unsigned i = 0; i < 160 && size + 8 <= room; i++) {
		const uint8_t op[] = {i % 2 ? 3 : 11, (uint8_t)(i / 8), (uint8_t)(i % 8), (uint8_t)n,
			(uint8_t)(8 + i % 4), (uint8_t)(i * 37), (uint8_t)i};

		memcpy(to + size, op, sizeof(op));
		size += sizeof(op);
	}
	return size;
}
