/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The 8042, the controller between the CPU and two PS/2 devices, as a state machine.  No lock and
 * no clock of its own.  For device/ps2/ and its test.
 */
#ifndef DEVICE_PS2_I8042_H
#define DEVICE_PS2_I8042_H

#include "device/ps2/keyboard.h"
#include "device/ps2/mouse.h"

enum i8042_source { I8042_NONE, I8042_KEYBOARD, I8042_MOUSE };

struct i8042 {
	struct ps2_keyboard keyboard;
	struct ps2_mouse mouse;
	uint8_t ram[32]; /* byte 0: the command byte */
	uint8_t output_port;
	uint8_t expects;   /* the command whose argument comes next; 0: none */
	bool last_command; /* the last write went to the command port */

	enum i8042_source source; /* of what is in the output buffer */
	uint8_t byte;
	enum i8042_source held; /* what had to make room for an answer; I8042_NONE: nothing */
	uint8_t held_byte;
	bool is_answer; /* what is in the output buffer is the controller's own */
	bool release;	/* F0 was taken from the keyboard: the next code is a release */
};

/* As a BIOS leaves it: both devices on, with interrupts and translation. */
void i8042_init(struct i8042 *c);
uint8_t i8042_status(const struct i8042 *c);
/*
 * Empties the output buffer. The caller then looks at the lines, and calls i8042_fill(): each byte
 * has an edge of its own.
 */
uint8_t i8042_read(struct i8042 *c);
/* Both return true if the machine shall be reset. i8042_fill() comes after each. */
bool i8042_command(struct i8042 *c, uint8_t command);
bool i8042_write(struct i8042 *c, uint8_t byte);
/* Puts into an empty output buffer what waits for it. */
void i8042_fill(struct i8042 *c);
/* The levels of the two interrupt lines. */
bool i8042_keyboard_irq(const struct i8042 *c);
bool i8042_mouse_irq(const struct i8042 *c);

#endif
