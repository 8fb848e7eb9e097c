/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A 105-key PS/2 keyboard as a state machine: bytes in, bytes out.  No lock and no clock of its
 * own. For device/ps2/ and its test.
 */
#ifndef DEVICE_PS2_KEYBOARD_H
#define DEVICE_PS2_KEYBOARD_H

#include "device/ps2/queue.h"

enum { PS2_KEYS = 256 }; /* evdev's codes below this one can be keys */

struct ps2_keyboard {
	struct ps2_queue replies; /* these go first */
	struct ps2_queue codes;
	uint8_t expects; /* the command whose argument comes next; 0: none */
	uint8_t set;	 /* of scan codes: 1, 2, 3 */
	uint8_t leds;	 /* bit 0 scroll, 1 num, 2 caps */
	uint8_t typematic;
	uint8_t last; /* byte sent, for a resend */
	bool scanning;
	bool down[PS2_KEYS];
	uint16_t repeating; /* the key that repeats; 0: none */
	uint8_t mode[256];  /* by code of set 3: what a key sends there */
};

/* As after power-on and its self-test. */
void ps2_keyboard_init(struct ps2_keyboard *k);
/* A byte from the controller: a command or its argument. */
void ps2_keyboard_write(struct ps2_keyboard *k, uint8_t byte);
/* The next byte for the controller, which stays; false: none. */
bool ps2_keyboard_peek(const struct ps2_keyboard *k, uint8_t *byte);
void ps2_keyboard_pop(struct ps2_keyboard *k);

/*
 * A key (KEY_... of linux/input-event-codes.h) goes down or up; others than a keyboard has, and
 * repetitions, are ignored.
 */
void ps2_keyboard_key(struct ps2_keyboard *k, unsigned key, bool down);
/* The repeating key's turn, at first after delay_ns and then every period_ns. */
void ps2_keyboard_repeat(struct ps2_keyboard *k);
uint64_t ps2_keyboard_delay_ns(const struct ps2_keyboard *k);
uint64_t ps2_keyboard_period_ns(const struct ps2_keyboard *k);

/* Code of set 2 to set 1, as the controller translates. */
uint8_t ps2_translate(uint8_t byte);

#endif
