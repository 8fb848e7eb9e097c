/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* What each key sends.  For device/ps2/ and its test. */
#ifndef DEVICE_PS2_KEYS_H
#define DEVICE_PS2_KEYS_H

#include <stdint.h>

/* A key's codes. Set 1 is set 2, translated. */
struct ps2_key {
	uint8_t set2; /* 0: the keyboard has no such key */
	uint8_t set3; /* 0: set 3 does not know it */
	uint8_t flags;
};

enum {
	PS2_KEY_E0 = 1,	      /* set 2 puts E0 in front */
	PS2_KEY_MODIFIER = 2, /* does not repeat; set 3: make and break */
	PS2_KEY_MAKE = 4,     /* set 3: make only */
};

/* By evdev's code. */
extern const struct ps2_key ps2_keys[256];

#endif
