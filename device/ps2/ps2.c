/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Keyboard and mouse at ports 60h and 64h: the state machines between the guest and what a person
 * does (guest_input).
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/pc.h>

#include "device/device.h"
#include "device/ps2/i8042.h"

struct ps2 {
	pthread_mutex_t lock;
	struct guest *guest;
	struct i8042 controller;
	bool keyboard_irq, mouse_irq;
	struct guest_timer *repeat;
};

/* Caller holds the lock, as for the next two. */
static void update_lines(struct ps2 *p)
{
	bool keyboard = i8042_keyboard_irq(&p->controller);
	bool mouse = i8042_mouse_irq(&p->controller);

	if (keyboard != p->keyboard_irq)
		guest_irq(p->guest, PC_KEYBOARD_IRQ, keyboard);
	if (mouse != p->mouse_irq)
		guest_irq(p->guest, PC_MOUSE_IRQ, mouse);
	p->keyboard_irq = keyboard;
	p->mouse_irq = mouse;
}

/* After any change. Twice: a byte that was read lets go of the line before the next one raises it.
 */
static void settle(struct ps2 *p)
{
	update_lines(p);
	i8042_fill(&p->controller);
	update_lines(p);
}

/* ---- the guest's side ---- */

static uint64_t data_read(void *arg, uint64_t offset, unsigned size)
{
	struct ps2 *p = arg;

	(void)offset;
	(void)size;
	pthread_mutex_lock(&p->lock);
	uint8_t byte = i8042_read(&p->controller);

	settle(p);
	pthread_mutex_unlock(&p->lock);
	return byte;
}

static uint64_t status_read(void *arg, uint64_t offset, unsigned size)
{
	struct ps2 *p = arg;

	(void)offset;
	(void)size;
	pthread_mutex_lock(&p->lock);
	uint8_t status = i8042_status(&p->controller);

	pthread_mutex_unlock(&p->lock);
	return status;
}

static void write_with(
	struct ps2 *p, bool (*write)(struct i8042 *controller, uint8_t byte), uint64_t value)
{
	pthread_mutex_lock(&p->lock);
	bool reset = write(&p->controller, (uint8_t)value);

	settle(p);
	pthread_mutex_unlock(&p->lock);
	if (reset)
		guest_end(p->guest, GUEST_RESET);
}

static void data_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	(void)offset;
	(void)size;
	write_with(arg, i8042_write, value);
}

static void command_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	(void)offset;
	(void)size;
	write_with(arg, i8042_command, value);
}

/* ---- the person's side ---- */

/* Caller holds the lock. */
static void press_key(struct ps2 *p, const struct guest_input *input)
{
	struct ps2_keyboard *k = &p->controller.keyboard;
	bool was_down = input->key < PS2_KEYS && k->down[input->key];

	ps2_keyboard_key(k, input->key, input->down);
	if (input->down && !was_down && k->repeating == input->key)
		guest_timer_set(p->guest, p->repeat, ps2_keyboard_delay_ns(k));
	else if (!k->repeating)
		guest_timer_stop(p->guest, p->repeat);
}

static void ps2_input(void *dev, const struct guest_input *input)
{
	struct ps2 *p = dev;

	pthread_mutex_lock(&p->lock);
	switch (input->kind) {
	case GUEST_INPUT_KEY:
		press_key(p, input);
		break;
	case GUEST_INPUT_MOTION:
		ps2_mouse_move(
			&p->controller.mouse, input->dx, input->dy, input->wheel, input->buttons);
		break;
	}
	settle(p);
	pthread_mutex_unlock(&p->lock);
}

static void repeat_fire(void *arg)
{
	struct ps2 *p = arg;
	struct ps2_keyboard *k = &p->controller.keyboard;

	pthread_mutex_lock(&p->lock);
	if (k->repeating) {
		ps2_keyboard_repeat(k);
		guest_timer_set(p->guest, p->repeat, ps2_keyboard_period_ns(k));
	}
	settle(p);
	pthread_mutex_unlock(&p->lock);
}

/* ---- construction ---- */

static void ps2_destroy(void *dev)
{
	struct ps2 *p = dev;

	guest_timer_destroy(p->guest, p->repeat);
	pthread_mutex_destroy(&p->lock);
	free(p);
}

static int ps2_create(const struct device_args *args, void **dev)
{
	struct ps2 *p = calloc(1, sizeof(*p));
	int error = p ? guest_timer_create(args->guest, repeat_fire, p, &p->repeat) : ENOMEM;

	if (error) {
		snprintf(args->why, args->why_size, "%s", strerror(error));
		free(p);
		return error;
	}
	p->guest = args->guest;
	pthread_mutex_init(&p->lock, NULL);
	i8042_init(&p->controller);
	*dev = p;
	return 0;
}

static const struct guest_io data_io = {.width = 1, .read = data_read, .write = data_write};
static const struct guest_io command_io = {.width = 1, .read = status_read, .write = command_write};

static const struct device_unit ps2_units[] = {
	{
		.name = "kbd",
		.config = "lpc",
		.optional = "ps2",
		.acpi_hid = DEVICE_KEYBOARD_HID,
		.res =
			{
				{DEVICE_RES_PORTS, PC_I8042_DATA, 1, &data_io, false},
				{DEVICE_RES_PORTS, PC_I8042_STATUS, 1, &command_io, false},
				{DEVICE_RES_IRQ, PC_KEYBOARD_IRQ, 1, NULL, false},
			},
		.beside = {"aux", "PNP0F03", PC_MOUSE_IRQ},
	},
};

const struct device_model device_ps2 = {
	.name = "ps2",
	.units = ps2_units,
	.nunits = sizeof(ps2_units) / sizeof(ps2_units[0]),
	.create = ps2_create,
	.destroy = ps2_destroy,
	.input = ps2_input,
};
