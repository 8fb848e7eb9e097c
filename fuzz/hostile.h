/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A hostile driver before one device of the PCI bus, for targets of device types.  The input says
 * what it does: proper set-up, buffers that are nearly right, writes anywhere into rings and RAM,
 * registers of all kinds, resets in between.  RAM is small, so that addresses often hit something.
 */
#ifndef FUZZ_HOSTILE_H
#define FUZZ_HOSTILE_H

#include "device/device.h"
#include "fuzz/fuzz.h"

struct hostile_setup {
	const char *model;		 /* "virtio-rnd" */
	const char *const (*options)[2]; /* pairs as below pci.0.3.0, ended by NULL; NULL: none */
	struct event_loop *loop;	 /* NULL: the model needs none */
	/*
	 * Called now and then, and before the device is destroyed: the other side does something,
	 * or what is under way ends. NULL: nothing.
	 */
	void (*settle)(void *arg, struct fuzz_input *in);
	void *arg;
};

/* One input from beginning to end. */
void hostile_run(const struct hostile_setup *setup, const uint8_t *data, size_t size);
/* Seeds: a proper driver that uses the rings in each form. */
size_t hostile_seed(unsigned n, uint8_t *to, size_t room);

#endif
