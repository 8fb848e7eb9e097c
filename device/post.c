/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The POST diagnostic port: keeps the last code. Linux also writes it to pass a microsecond. */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/pc.h>

#include "device/device.h"

struct post_port {
	_Atomic uint8_t code;
};

static uint64_t post_read(void *arg, uint64_t offset, unsigned size)
{
	(void)offset;
	(void)size;
	return ((struct post_port *)arg)->code;
}

static void post_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	(void)offset;
	(void)size;
	((struct post_port *)arg)->code = (uint8_t)value;
}

static int post_create(const struct device_args *args, void **dev)
{
	struct post_port *post = calloc(1, sizeof(*post));

	if (!post) {
		snprintf(args->why, args->why_size, "%s", strerror(ENOMEM));
		return ENOMEM;
	}
	post->code = 0xff;
	*dev = post;
	return 0;
}

static const struct guest_io post_io = {.width = 1, .read = post_read, .write = post_write};

static const struct device_unit post_units[] = {
	{
		.name = "post",
		.config = "post",
		.res = {{DEVICE_RES_PORTS, PC_POST_PORT, 1, &post_io, true}},
	},
};

const struct device_model device_post = {
	.name = "post",
	.units = post_units,
	.nunits = sizeof(post_units) / sizeof(post_units[0]),
	.create = post_create,
	.destroy = free,
};
