/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A PS/2 mouse with five buttons and a wheel as a state machine: a plain one, until the guest asks
 * for an IntelliMouse or an IntelliMouse Explorer.  No lock and no clock of its own.  For
 * device/ps2/ and its test.
 */
#ifndef DEVICE_PS2_MOUSE_H
#define DEVICE_PS2_MOUSE_H

#include "device/ps2/queue.h"

struct ps2_mouse {
	struct ps2_queue replies; /* these go first */
	struct ps2_queue packets;
	uint8_t expects; /* the command whose argument comes next; 0: none */
	uint8_t id;	 /* 0, 3: with a wheel, 4: and five buttons */
	uint8_t rate, resolution;
	uint8_t rates[2]; /* the two that were set before `rate` */
	uint8_t last;	  /* byte sent, for a resend */
	bool double_scale, remote, wrap, reporting;
	int dx, dy, dz; /* not reported yet; as in a packet: right, up, toward the user */
	uint8_t buttons, reported;
};

void ps2_mouse_init(struct ps2_mouse *m);
/* A byte from the controller: a command or its argument. */
void ps2_mouse_write(struct ps2_mouse *m, uint8_t byte);
/* The next byte for the controller, which stays; false: none. */
bool ps2_mouse_peek(const struct ps2_mouse *m, uint8_t *byte);
void ps2_mouse_pop(struct ps2_mouse *m);

/*
 * The mouse has moved right and down, the wheel away from the user (in notches), and these buttons
 * are down now: bit 0 left, 1 right, 2 middle, 3 and 4 the ones at the side.
 */
void ps2_mouse_move(struct ps2_mouse *m, int right, int down, int wheel, uint8_t buttons);

#endif
