/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "test/device/fake_guest.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

struct guest_timer {
	void (*fn)(void *arg);
	void *arg;
	atomic_bool set; /* by any thread of the device */
	_Atomic uint64_t delay_ns;
};

static void *at(struct guest *guest, uint64_t gpa, size_t len)
{
	struct fake_guest *g = (struct fake_guest *)guest;

	return gpa < g->ram_size && len <= g->ram_size - gpa ? g->ram + gpa : NULL;
}

static int read_memory(struct guest *guest, uint64_t gpa, void *buf, size_t len)
{
	void *from = at(guest, gpa, len);

	if (!from)
		return EFAULT;
	memcpy(buf, from, len);
	return 0;
}

static int write_memory(struct guest *guest, uint64_t gpa, const void *buf, size_t len)
{
	void *to = at(guest, gpa, len);

	if (!to)
		return EFAULT;
	memcpy(to, buf, len);
	return 0;
}

static void written(struct guest *guest, const void *place, size_t len)
{
	struct fake_guest *g = (struct fake_guest *)guest;
	size_t offset = (size_t)((const uint8_t *)place - g->ram);

	assert_true(offset < g->ram_size && len <= g->ram_size - offset);
	__atomic_fetch_add(&g->written, len, __ATOMIC_RELAXED);
}

static void msi(struct guest *guest, uint64_t address, uint32_t data)
{
	struct fake_guest *g = (struct fake_guest *)guest;

	pthread_mutex_lock(&g->lock);
	g->msi[g->nmsi % 64].address = address;
	g->msi[g->nmsi++ % 64].data = data;
	pthread_mutex_unlock(&g->lock);
}

static bool same(const struct guest_range *a, const struct guest_range *b)
{
	return a->space == b->space && a->base == b->base && a->size == b->size;
}

static int claim(struct guest *guest, const struct guest_range *range)
{
	struct fake_guest *g = (struct fake_guest *)guest;

	assert_true(g->nranges < 32);
	for (unsigned i = 0; i < g->nranges; i++)
		if (same(&g->ranges[i], range))
			return EEXIST;
	g->ranges[g->nranges++] = *range;
	return 0;
}

static void unclaim(struct guest *guest, const struct guest_range *range)
{
	struct fake_guest *g = (struct fake_guest *)guest;

	for (unsigned i = 0; i < g->nranges; i++) {
		if (same(&g->ranges[i], range)) {
			g->ranges[i] = g->ranges[--g->nranges];
			return;
		}
	}
	fail_msg("a range that was not claimed");
}

static void irq(struct guest *guest, unsigned line, bool asserted)
{
	struct fake_guest *g = (struct fake_guest *)guest;

	assert_true(line < 24);
	pthread_mutex_lock(&g->lock);
	g->unbalanced |= g->line[line] == asserted;
	g->line[line] = asserted;
	g->raised[line] += asserted;
	pthread_mutex_unlock(&g->lock);
}

static void irq_level(struct guest *guest, unsigned line)
{
	((struct fake_guest *)guest)->level[line] = true;
}

static void end(struct guest *guest, enum guest_end how)
{
	((struct fake_guest *)guest)->ended = (int)how;
}

static void wake(struct guest *guest)
{
	((struct fake_guest *)guest)->woken++;
}

static void exit_with(struct guest *guest, uint8_t status)
{
	((struct fake_guest *)guest)->status = status;
}

static void unmap(struct guest *guest, uint64_t gpa)
{
	((struct fake_guest *)guest)->unmapped = gpa;
}

static void input(struct guest *guest, const struct guest_input *event)
{
	struct fake_guest *g = (struct fake_guest *)guest;

	g->model->input(g->dev, event);
}

static int timer_create_fake(
	struct guest *guest, void (*fn)(void *arg), void *arg, struct guest_timer **timer)
{
	struct fake_guest *g = (struct fake_guest *)guest;

	assert_null(g->timer);
	*timer = g->timer = calloc(1, sizeof(**timer));
	g->timer->fn = fn;
	g->timer->arg = arg;
	return 0;
}

static void timer_set(struct guest_timer *timer, uint64_t delay_ns)
{
	timer->delay_ns = delay_ns;
	timer->set = true;
}

static void timer_stop(struct guest_timer *timer)
{
	timer->set = false;
}

static void timer_destroy(struct guest_timer *timer)
{
	free(timer);
}

static const struct guest_ops fake_ops = {
	.read = read_memory,
	.write = write_memory,
	.at = at,
	.written = written,
	.msi = msi,
	.claim = claim,
	.unclaim = unclaim,
	.irq = irq,
	.irq_level = irq_level,
	.end = end,
	.wake = wake,
	.exit = exit_with,
	.unmap = unmap,
	.input = input,
	.timer_create = timer_create_fake,
	.timer_set = timer_set,
	.timer_stop = timer_stop,
	.timer_destroy = timer_destroy,
};

static const char *option(const void *config, const char *key)
{
	const struct fake_guest *g = config;

	for (size_t i = 0; i < 16; i++)
		if (g->options[i].key && strcmp(g->options[i].key, key) == 0)
			return g->options[i].value;
	return NULL;
}

void fake_create(
	struct fake_guest *g, const struct device_model *model, const char *name, int expected)
{
	g->guest.ops = &fake_ops;
	pthread_mutex_init(&g->lock, NULL);
	g->ended = -1;
	g->status = -1;
	g->model = model;
	for (size_t i = 0; i < model->nunits; i++)
		if (strcmp(model->units[i].name, name) == 0)
			g->unit = &model->units[i];
	assert_non_null(g->unit);
	const struct device_args args = {
		.guest = &g->guest,
		.unit = g->unit,
		.option = option,
		.config = g,
		.why = g->why,
		.why_size = sizeof(g->why),
	};

	assert_int_equal(model->create(&args, &g->dev), expected);
}

void fake_destroy(struct fake_guest *g)
{
	g->model->destroy(g->dev);
	assert_false(g->unbalanced);
	assert_int_equal(g->nranges, 0);
	pthread_mutex_destroy(&g->lock);
	free(g->ram);
}

void fake_ram(struct fake_guest *g, size_t size)
{
	g->ram = calloc(1, size);
	assert_non_null(g->ram);
	g->ram_size = size;
}

static const struct guest_range *claimed(
	struct fake_guest *g, enum guest_space space, uint64_t address, unsigned size)
{
	for (unsigned i = 0; i < g->nranges; i++) {
		const struct guest_range *r = &g->ranges[i];

		if (r->space == space && address >= r->base && address - r->base < r->size &&
			size <= r->size - (address - r->base))
			return r;
	}
	return NULL;
}

uint64_t fake_load(struct fake_guest *g, enum guest_space space, uint64_t address, unsigned size)
{
	const struct guest_range *r = claimed(g, space, address, size);

	if (!r)
		return device_all_ones(size);
	assert_true(size <= r->io->width);
	return r->io->read(r->arg, address - r->base, size) & device_all_ones(size);
}

void fake_store(
	struct fake_guest *g, enum guest_space space, uint64_t address, unsigned size, uint64_t value)
{
	const struct guest_range *r = claimed(g, space, address, size);

	if (!r)
		return;
	assert_true(size <= r->io->width);
	r->io->write(r->arg, address - r->base, size, value);
}

static const struct device_resource *resource(struct fake_guest *g, uint64_t port, unsigned size)
{
	for (const struct device_resource *r = g->unit->res; r->kind != DEVICE_RES_NONE; r++)
		if (r->kind != DEVICE_RES_IRQ && port >= r->base &&
			port + size <= r->base + r->size) {
			assert_true(size <= r->io->width);
			return r;
		}
	fail_msg("no resource at %#llx", (unsigned long long)port);
	return NULL;
}

uint64_t fake_in(struct fake_guest *g, uint64_t port, unsigned size)
{
	const struct device_resource *r = resource(g, port, size);

	return r->io->read(g->dev, port - r->base, size) & device_all_ones(size);
}

void fake_out(struct fake_guest *g, uint64_t port, unsigned size, uint64_t value)
{
	const struct device_resource *r = resource(g, port, size);

	r->io->write(g->dev, port - r->base, size, value);
}

bool fake_timer_is_set(struct fake_guest *g, uint64_t *delay_ns)
{
	bool set = g->timer->set;

	*delay_ns = g->timer->delay_ns;
	return set;
}

void fake_timer_fire(struct fake_guest *g)
{
	assert_true(g->timer->set);
	g->timer->set = false;
	g->timer->fn(g->timer->arg);
}
