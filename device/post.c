/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The POST diagnostic port: keeps the last code, and logs it (log.post=debug).  Linux also writes
 * it to pass a microsecond.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <vmm/pc.h>

#include "device/device.h"
#include "host/log.h"

struct post_port {
	struct log *log;
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
	struct post_port *post = arg;

	(void)offset;
	(void)size;
	post->code = (uint8_t)value;
	log_debug(post->log, "post", "code %02x", (unsigned)value & 0xff);
}

static int post_create(const struct device_args *args, void **dev)
{
	struct post_port *post = calloc(1, sizeof(*post));

	if (!post) {
		snprintf(args->why, args->why_size, "%s", strerror(ENOMEM));
		return ENOMEM;
	}
	post->log = args->guest->log;
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
