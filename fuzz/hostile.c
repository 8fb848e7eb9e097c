/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "fuzz/hostile.h"

#include <errno.h>

#include <vmm/pc.h>

#include "device/pci/pci.h"
#include "device/virtio/virtio.h"
#include "machine/bus.h"

enum {
	RAM = 0x40000,
	DATA = 0x20000, /* rings below, buffers above */
	QUEUES = 8,
	RING = 0x4000, /* of a queue: descriptors, driver's area, device's area, tables */
	SIZE = 16,
	DEPTH = 6,
	SLOT = 3,

	NEXT = 1,
	WRITE = 2,
	INDIRECT = 4,
	AVAIL = 1 << 7,
	USED = 1 << 15,
};

#define CONFIG (PC_ECAM_BASE + (SLOT << 15))

struct guest_timer {
	void (*fn)(void *arg);
	void *arg;
	bool set;
};

struct world {
	struct guest guest; /* first */
	const struct hostile_setup *setup;
	struct bus *bus;
	void *root;
	uint64_t modern;
	bool packed;
	uint16_t next[QUEUES];
	bool wrap[QUEUES];
	struct guest_timer timers[8];
	unsigned ntimers;
	uint8_t *ram;
};

static struct world *world_of(struct guest *guest)
{
	return (struct world *)guest;
}

/* ---- what the device sees ---- */

static void *at(struct guest *guest, uint64_t gpa, size_t len)
{
	return gpa < RAM && len <= RAM - gpa ? world_of(guest)->ram + gpa : NULL;
}

static int ram_read(struct guest *guest, uint64_t gpa, void *buf, size_t len)
{
	void *from = at(guest, gpa, len);

	if (!from)
		return EFAULT;
	memcpy(buf, from, len);
	return 0;
}

static int ram_write(struct guest *guest, uint64_t gpa, const void *buf, size_t len)
{
	void *to = at(guest, gpa, len);

	if (!to)
		return EFAULT;
	memcpy(to, buf, len);
	return 0;
}

static void written(struct guest *guest, const void *place, size_t len)
{
	size_t offset = (size_t)((const uint8_t *)place - world_of(guest)->ram);

	FUZZ_CHECK(offset < RAM && len <= RAM - offset);
}

static void irq(struct guest *guest, unsigned line, bool asserted)
{
	(void)guest, (void)asserted;
	FUZZ_CHECK(line < 24);
}

static void irq_level(struct guest *guest, unsigned line)
{
	(void)guest;
	FUZZ_CHECK(line < 16);
}

static void msi(struct guest *guest, uint64_t address, uint32_t data)
{
	(void)guest, (void)address, (void)data;
}

static void end(struct guest *guest, enum guest_end how)
{
	(void)guest, (void)how;
}

static void wake(struct guest *guest)
{
	(void)guest;
}

static int claim(struct guest *guest, const struct guest_range *range)
{
	return bus_claim(world_of(guest)->bus, range);
}

static void unclaim(struct guest *guest, const struct guest_range *range)
{
	bus_unclaim(world_of(guest)->bus, range);
}

static int timer_create_fake(
	struct guest *guest, void (*fn)(void *arg), void *arg, struct guest_timer **timer)
{
	struct world *w = world_of(guest);

	FUZZ_CHECK(w->ntimers < 8);
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
	if (timer)
		timer->set = false;
}

static const struct guest_ops ops = {
	.read = ram_read,
	.write = ram_write,
	.at = at,
	.written = written,
	.irq = irq,
	.irq_level = irq_level,
	.msi = msi,
	.end = end,
	.wake = wake,
	.claim = claim,
	.unclaim = unclaim,
	.timer_create = timer_create_fake,
	.timer_set = timer_set,
	.timer_stop = timer_stop,
	.timer_destroy = timer_stop,
};

static const char *option(const void *config, const char *key)
{
	const struct world *w = config;
	const char *prefix = "pci.0.3.0.";

	if (strncmp(key, prefix, strlen(prefix)) != 0)
		return NULL;
	key += strlen(prefix);
	if (strcmp(key, "device") == 0)
		return w->setup->model;
	for (size_t i = 0; w->setup->options && w->setup->options[i][0]; i++)
		if (strcmp(w->setup->options[i][0], key) == 0)
			return w->setup->options[i][1];
	return NULL;
}

/* ---- registers ---- */

static uint64_t load(struct world *w, uint64_t address, unsigned size)
{
	uint64_t value;

	bus_read(w->bus, GUEST_MEMORY, address, size, &value);
	return value;
}

static void store(struct world *w, uint64_t address, unsigned size, uint64_t value)
{
	bus_write(w->bus, GUEST_MEMORY, address, size, value);
}

static void create(struct world *w)
{
	const struct device_unit *unit = &device_pci_root.units[0];
	char why[200] = "";
	const struct device_args args = {
		.guest = &w->guest,
		.unit = unit,
		.option = option,
		.config = w,
		.why = why,
		.why_size = sizeof(why),
	};

	FUZZ_CHECK(bus_create(&w->bus) == 0);
	if (device_pci_root.create(&args, &w->root) != 0) {
		fprintf(stderr, "%s\n", why);
		abort();
	}
	for (const struct device_resource *r = unit->res; r->kind != DEVICE_RES_NONE; r++) {
		const struct guest_range range = {
			.space = r->kind == DEVICE_RES_PORTS ? GUEST_PORTS : GUEST_MEMORY,
			.base = r->base,
			.size = r->size,
			.io = r->io,
			.arg = w->root,
		};

		FUZZ_CHECK(bus_claim(w->bus, &range) == 0);
	}
	w->modern = load(w, CONFIG + 0x20, 4) & ~15u;
}

/* ---- what the driver does ---- */

/* A proper start, with any of the features. */
static void start(struct world *w, struct fuzz_input *in)
{
	uint64_t features = fuzz_take(in, 1) & 1 ? ~0ull : ~VIRTIO_F_RING_PACKED, offered = 0;

	store(w, w->modern + 0x14, 1, 0);
	store(w, w->modern + 0x14, 1, 3);
	for (unsigned half = 0; half < 2; half++) {
		store(w, w->modern, 4, half);
		offered |= load(w, w->modern + 4, 4) << (32 * half);
	}
	features &= offered & ~(fuzz_take(in, 4) & 0x3fffffff);
	w->packed = features & VIRTIO_F_RING_PACKED;
	for (unsigned half = 0; half < 2; half++) {
		store(w, w->modern + 8, 4, half);
		store(w, w->modern + 12, 4, (uint32_t)(features >> (32 * half)));
	}
	store(w, w->modern + 0x14, 1, 11);
	for (unsigned i = 0; i < QUEUES; i++) {
		store(w, w->modern + 0x16, 2, i);
		store(w, w->modern + 0x18, 2, SIZE);
		store(w, w->modern + 0x1a, 2, i + 1);
		store(w, w->modern + 0x20, 8, i * RING);
		store(w, w->modern + 0x28, 8, i * RING + 0x1000);
		store(w, w->modern + 0x30, 8, i * RING + 0x2000);
		memset(w->ram + i * RING, 0, 0x3000);
		store(w, w->modern + 0x1c, 2, 1);
		w->next[i] = 0;
		w->wrap[i] = true;
	}
	store(w, w->modern + 0x14, 1, 15);
}

static void put_desc(
	struct world *w, uint64_t place, uint64_t gpa, uint32_t len, uint16_t flags, uint16_t other)
{
	uint16_t two[2] = {w->packed ? other : flags, w->packed ? flags : other};

	if (place > RAM - 16)
		return;
	memcpy(w->ram + place, &gpa, 8);
	memcpy(w->ram + place + 8, &len, 4);
	memcpy(w->ram + place + 12, two, 4);
}

static uint32_t some_len(struct fuzz_input *in)
{
	static const uint32_t some[] = {0, 1, 8, 12, 16, 20, 512, 4096, 0x10000, 0xffffffff};
	unsigned how = (unsigned)fuzz_take(in, 1);

	return how < 10 ? some[how] : how & 1 ? how : (uint32_t)fuzz_take(in, 2);
}

static uint64_t some_address(struct fuzz_input *in)
{
	unsigned how = (unsigned)fuzz_take(in, 1);

	return how == 0 ? fuzz_take_value(in) : DATA + (how << 9);
}

/* A chain of a few descriptors; up to so many of them to be read, with a header in the first. */
static void add(struct world *w, struct fuzz_input *in)
{
	unsigned queue = (unsigned)fuzz_take(in, 1) % QUEUES, shape = (unsigned)fuzz_take(in, 1);
	unsigned count = 1 + shape % DEPTH, nread = (shape / DEPTH) % (count + 1);
	bool indirect = shape & 0x80, packed = w->packed;
	uint64_t ring = (uint64_t)queue * RING, table = indirect ? ring + 0x3000 : ring;
	uint16_t first = w->next[queue], at_desc = indirect ? 0 : first, wrap;

	for (unsigned i = 0; i < count; i++) {
		uint64_t gpa = some_address(in);
		uint16_t flags = (i + 1 < count && !(indirect && packed) ? NEXT : 0) |
				 (i < nread ? 0 : WRITE);

		wrap = w->wrap[queue] ? AVAIL : USED;
		put_desc(w, table + 16 * at_desc, gpa, some_len(in),
			packed && !indirect ? flags | wrap : flags,
			packed ? first : (uint16_t)((at_desc + 1) % SIZE));
		if (i == 0 && gpa <= RAM - 16) /* a header */
			for (unsigned k = 0; k < 4; k++) {
				uint32_t word = (uint32_t)fuzz_take_value(in);

				memcpy(w->ram + gpa + 4 * k, &word, 4);
			}
		at_desc = (uint16_t)((at_desc + 1) % SIZE);
		if (packed && !indirect && at_desc == 0)
			w->wrap[queue] = !w->wrap[queue];
	}
	if (indirect)
		put_desc(w, ring + 16 * first, table, 16 * count,
			packed ? INDIRECT | (w->wrap[queue] ? AVAIL : USED) : INDIRECT, first);
	if (!packed) {
		uint16_t index;

		memcpy(&index, w->ram + ring + 0x1002, 2);
		memcpy(w->ram + ring + 0x1004 + 2 * (index % SIZE), &first, 2);
		index++;
		memcpy(w->ram + ring + 0x1002, &index, 2);
	}
	w->next[queue] = indirect ? (uint16_t)((first + 1) % SIZE) : at_desc;
	if (packed && indirect && w->next[queue] == 0)
		w->wrap[queue] = !w->wrap[queue];
}

static void kick(struct world *w, struct fuzz_input *in)
{
	store(w, w->modern + 0x3000 + 4 * (fuzz_take(in, 1) % (QUEUES + 1)), 2, 0);
}

static void scribble(struct world *w, struct fuzz_input *in)
{
	uint64_t place = fuzz_take(in, 1) & 1
				 ? (fuzz_take(in, 1) % QUEUES) * RING + fuzz_take(in, 1) +
					   0x1000 * (fuzz_take(in, 1) & 3)
				 : fuzz_take(in, 3) % RAM;
	uint64_t value = fuzz_take_value(in);

	if (place <= RAM - 8)
		memcpy(w->ram + place, &value, 8);
}

static void touch_config(struct world *w, struct fuzz_input *in)
{
	unsigned how = (unsigned)fuzz_take(in, 1), size = 1u << (how & 1) << (how >> 1 & 1);
	uint64_t address = CONFIG + (fuzz_take(in, 1) & ~(size - 1ull));

	if (how & 4)
		store(w, address, size, fuzz_take_value(in));
	else
		load(w, address, size);
}

static void touch_bar(struct world *w, struct fuzz_input *in)
{
	unsigned how = (unsigned)fuzz_take(in, 1), size = fuzz_take_width(in);
	uint64_t offset = (how & 3) * 0x1000 + fuzz_take(in, 1);

	if (how & 4)
		store(w, w->modern + offset, size, fuzz_take_value(in));
	else
		load(w, w->modern + offset, size);
}

static void touch_port(struct world *w, struct fuzz_input *in)
{
	unsigned how = (unsigned)fuzz_take(in, 1), size = 1u << how % 3;
	uint64_t port = 0xc000 + (fuzz_take(in, 1) & 0x7f), value;

	if (how & 8)
		bus_write(w->bus, GUEST_PORTS, port, size, fuzz_take_value(in));
	else
		bus_read(w->bus, GUEST_PORTS, port, size, &value);
}

static void settle(struct world *w, struct fuzz_input *in)
{
	for (unsigned i = 0; i < w->ntimers; i++) {
		if (!w->timers[i].set)
			continue;
		w->timers[i].set = false;
		w->timers[i].fn(w->timers[i].arg);
	}
	if (w->setup->settle)
		w->setup->settle(w->setup->arg, in);
}

static void step(struct world *w, struct fuzz_input *in)
{
	static void (*const steps[])(struct world * w, struct fuzz_input * in) = {
		start, add, kick, add, kick, scribble, touch_config, touch_bar, touch_port, settle};

	steps[fuzz_take(in, 1) % (sizeof(steps) / sizeof(steps[0]))](w, in);
}

void hostile_run(const struct hostile_setup *setup, const uint8_t *data, size_t size)
{
	struct world w = {.setup = setup, .guest.ops = &ops, .guest.loop = setup->loop};
	struct fuzz_input in = {data, size};

	w.ram = calloc(1, RAM);
	FUZZ_CHECK(w.ram != NULL);
	create(&w);
	start(&w, &in);
	while (in.left > 0)
		step(&w, &in);
	settle(&w, &in);
	device_pci_root.destroy(w.root);
	bus_destroy(w.bus);
	free(w.ram);
}

/* Buffers of each shape on each queue, kicked one by one; split and packed. */
size_t hostile_seed(unsigned n, uint8_t *to, size_t room)
{
	size_t size = 0;

	if (n >= 8)
		return 0;
	to[size++] = n & 1;
	size += 4; /* no feature refused */
	memset(to + 1, 0, 4);
	for (unsigned i = 0; i < 60 && size + 64 <= room; i++) {
		unsigned queue = i % (n / 2 + 1), count = 1 + i % DEPTH;

		to[size++] = 1;
		to[size++] = (uint8_t)queue;
		to[size++] =
			(uint8_t)((i % DEPTH) + DEPTH * (i / 7 % (count + 1)) + (i & 1) * 0x80);
		for (unsigned k = 0; k < count; k++) {
			to[size++] = (uint8_t)(1 + i + k);
			to[size++] = k == 0 ? 4 : (uint8_t)(6 + k % 2);
			for (unsigned word = 0; k == 0 && word < 4; word++)
				to[size++] = word == 0 && i & 1 ? 1 : 0;
		}
		to[size++] = 2;
		to[size++] = (uint8_t)queue;
		to[size++] = 9;
	}
	return size;
}
