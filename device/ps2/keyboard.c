/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The keyboard (IBM PS/2 Hardware Interface Technical Reference, "Keyboards").
 *
 * It knows which keys are down, and repeats the last one by itself, so that whoever presses keys
 * here reports what fingers do and nothing else.  Codes are kept until the guest fetches them, more
 * than the sixteen bytes of the original: a paste into a VNC window is faster than a slow guest.
 * When it does not fetch any, new keys are dropped, but never the release of one that it was told
 * of.
 */
#include "device/ps2/keyboard.h"

#include <string.h>

#include <linux/input-event-codes.h>

#include "device/ps2/keys.h"

enum {
	CMD_LEDS = 0xed,
	CMD_ECHO = 0xee,
	CMD_SET = 0xf0,
	CMD_ID = 0xf2,
	CMD_TYPEMATIC = 0xf3,
	CMD_ENABLE = 0xf4,
	CMD_DISABLE = 0xf5,
	CMD_DEFAULTS = 0xf6,
	CMD_ALL_TYPEMATIC = 0xf7, /* to CMD_ALL_BOTH: all keys of set 3 */
	CMD_ALL_MAKE_BREAK = 0xf8,
	CMD_ALL_MAKE = 0xf9,
	CMD_ALL_BOTH = 0xfa,
	CMD_KEY_TYPEMATIC = 0xfb, /* to CMD_KEY_MAKE: single ones, named until the next command */
	CMD_KEY_MAKE_BREAK = 0xfc,
	CMD_KEY_MAKE = 0xfd,
	CMD_RESEND = 0xfe,
	CMD_RESET = 0xff,
	CMD_FIRST = CMD_LEDS,

	ACK = 0xfa,
	RESEND = 0xfe,
	SELF_TEST_PASSED = 0xaa,

	MODE_BREAK = 1,
	MODE_REPEAT = 2,

	TYPEMATIC_NORMAL = 0x2b, /* 10.9 a second after 500 ms */
	CODES_FOR_MAKES = 256,	 /* beyond so many bytes there is room for releases only */
	SEQUENCE_MAX = 8,
};

/* ---- codes ---- */

/* The 8042's table; behind its end only two bytes are others. */
static const uint8_t translation[128] = {0xff, 0x43, 0x41, 0x3f, 0x3d, 0x3b, 0x3c, 0x58, 0x64, 0x44,
	0x42, 0x40, 0x3e, 0x0f, 0x29, 0x59, 0x65, 0x38, 0x2a, 0x70, 0x1d, 0x10, 0x02, 0x5a, 0x66,
	0x71, 0x2c, 0x1f, 0x1e, 0x11, 0x03, 0x5b, 0x67, 0x2e, 0x2d, 0x20, 0x12, 0x05, 0x04, 0x5c,
	0x68, 0x39, 0x2f, 0x21, 0x14, 0x13, 0x06, 0x5d, 0x69, 0x31, 0x30, 0x23, 0x22, 0x15, 0x07,
	0x5e, 0x6a, 0x72, 0x32, 0x24, 0x16, 0x08, 0x09, 0x5f, 0x6b, 0x33, 0x25, 0x17, 0x18, 0x0b,
	0x0a, 0x60, 0x6c, 0x34, 0x35, 0x26, 0x27, 0x19, 0x0c, 0x61, 0x6d, 0x73, 0x28, 0x74, 0x1a,
	0x0d, 0x62, 0x6e, 0x3a, 0x36, 0x1c, 0x1b, 0x75, 0x2b, 0x63, 0x76, 0x55, 0x56, 0x77, 0x78,
	0x79, 0x7a, 0x0e, 0x7b, 0x7c, 0x4f, 0x7d, 0x4b, 0x47, 0x7e, 0x7f, 0x6f, 0x52, 0x53, 0x50,
	0x4c, 0x4d, 0x48, 0x01, 0x45, 0x57, 0x4e, 0x51, 0x4a, 0x37, 0x49, 0x46, 0x54};

uint8_t ps2_translate(uint8_t byte)
{
	if (byte < sizeof(translation))
		return translation[byte];
	return byte == 0x83 ? 0x41 : byte == 0x84 ? 0x54 : byte;
}

/* One code of set 1 or 2, make or break. Returns its bytes. */
static unsigned put_code(
	const struct ps2_keyboard *k, uint8_t *to, bool e0, uint8_t set2, bool down)
{
	unsigned n = 0;

	if (e0)
		to[n++] = 0xe0;
	if (k->set == 1) {
		to[n++] = ps2_translate(set2) | (down ? 0 : 0x80);
		return n;
	}
	if (!down)
		to[n++] = 0xf0;
	to[n++] = set2;
	return n;
}

/* Pause has no release: both codes come at once, behind E1. With Control it is Break. */
static unsigned put_pause(const struct ps2_keyboard *k, uint8_t *to)
{
	bool control = k->down[KEY_LEFTCTRL] || k->down[KEY_RIGHTCTRL];
	unsigned n = 0;

	if (control) {
		n = put_code(k, to, true, 0x7e, true);
		return n + put_code(k, to + n, true, 0x7e, false);
	}
	for (int down = 1; down >= 0; down--) {
		to[n++] = 0xe1;
		n += put_code(k, to + n, false, 0x14, down);
		n += put_code(k, to + n, false, 0x77, down);
	}
	return n;
}

/* Print Screen holds a shift of its own, unless a modifier is down; with Alt it is SysRq. */
static unsigned put_print_screen(const struct ps2_keyboard *k, uint8_t *to, bool down)
{
	bool bare = !k->down[KEY_LEFTCTRL] && !k->down[KEY_RIGHTCTRL] && !k->down[KEY_LEFTSHIFT] &&
		    !k->down[KEY_RIGHTSHIFT];
	unsigned n = 0;

	if (k->down[KEY_LEFTALT] || k->down[KEY_RIGHTALT])
		return put_code(k, to, false, 0x84, down);
	if (bare && down)
		n = put_code(k, to, true, 0x12, true);
	n += put_code(k, to + n, true, 0x7c, down);
	if (bare && !down)
		n += put_code(k, to + n, true, 0x12, false);
	return n;
}

static unsigned put_set3(const struct ps2_keyboard *k, uint8_t *to, uint8_t code, bool down)
{
	unsigned n = 0;

	if (!code || (!down && !(k->mode[code] & MODE_BREAK)))
		return 0;
	if (!down)
		to[n++] = 0xf0;
	to[n++] = code;
	return n;
}

/* What the key sends now, if anything. */
static unsigned sequence(const struct ps2_keyboard *k, unsigned key, bool down, uint8_t *to)
{
	const struct ps2_key *codes = &ps2_keys[key];

	if (k->set == 3)
		return put_set3(k, to, codes->set3, down);
	if (key == KEY_PAUSE)
		return down ? put_pause(k, to) : 0;
	if (key == KEY_SYSRQ)
		return put_print_screen(k, to, down);
	return put_code(k, to, codes->flags & PS2_KEY_E0, codes->set2, down);
}

/* ---- keys ---- */

static bool send_key(struct ps2_keyboard *k, unsigned key, bool down)
{
	uint8_t bytes[SEQUENCE_MAX];

	if (!k->scanning)
		return true;
	unsigned n = sequence(k, key, down, bytes);

	if (down && k->codes.count + n > CODES_FOR_MAKES)
		return false;
	return ps2_queue_put(&k->codes, bytes, n);
}

static bool repeats(const struct ps2_keyboard *k, unsigned key)
{
	const struct ps2_key *codes = &ps2_keys[key];

	if (k->set == 3)
		return k->mode[codes->set3] & MODE_REPEAT;
	return key != KEY_PAUSE && !(codes->flags & PS2_KEY_MODIFIER);
}

void ps2_keyboard_key(struct ps2_keyboard *k, unsigned key, bool down)
{
	if (key >= PS2_KEYS || !ps2_keys[key].set2 || k->down[key] == down)
		return;
	/* One that the guest never heard of is not down: it will not hear of its release either. */
	if (!send_key(k, key, down) && down)
		return;
	k->down[key] = down;
	if (down)
		k->repeating = repeats(k, key) ? (uint16_t)key : 0;
	else if (k->repeating == key)
		k->repeating = 0;
}

/* A guest that does not fetch what is there gets no more of the same. */
void ps2_keyboard_repeat(struct ps2_keyboard *k)
{
	if (k->repeating && k->codes.count == 0)
		send_key(k, k->repeating, true);
}

uint64_t ps2_keyboard_delay_ns(const struct ps2_keyboard *k)
{
	return ((k->typematic >> 5 & 3) + 1) * 250000000ull;
}

/* (8 + A) * 2^B * 4.17 ms, where A is bits 2 to 0 and B bits 4 and 3. */
uint64_t ps2_keyboard_period_ns(const struct ps2_keyboard *k)
{
	return (8ull + (k->typematic & 7)) * (1u << (k->typematic >> 3 & 3)) * 4170000;
}

/* ---- commands ---- */

static void reply(struct ps2_keyboard *k, uint8_t byte)
{
	ps2_queue_put(&k->replies, &byte, 1); /* a guest that never reads loses it */
}

static void set_all_modes(struct ps2_keyboard *k, uint8_t mode)
{
	memset(k->mode, mode, sizeof(k->mode));
}

static void set_defaults(struct ps2_keyboard *k)
{
	ps2_queue_clear(&k->codes);
	k->set = 2;
	k->typematic = TYPEMATIC_NORMAL;
	k->repeating = 0;
	set_all_modes(k, 0);
	for (unsigned key = 0; key < PS2_KEYS; key++)
		k->mode[ps2_keys[key].set3] = ps2_keys[key].flags & PS2_KEY_MODIFIER ? MODE_BREAK
					      : ps2_keys[key].flags & PS2_KEY_MAKE   ? 0
										     : MODE_REPEAT;
}

void ps2_keyboard_init(struct ps2_keyboard *k)
{
	*k = (struct ps2_keyboard){.scanning = true};
	set_defaults(k);
}

/* Fingers stay where they are. */
static void reset(struct ps2_keyboard *k)
{
	ps2_queue_clear(&k->replies);
	set_defaults(k);
	k->leds = 0;
	k->scanning = true;
	reply(k, ACK);
	reply(k, SELF_TEST_PASSED);
}

static const uint8_t key_modes[] = {
	[CMD_ALL_TYPEMATIC - CMD_ALL_TYPEMATIC] = MODE_REPEAT,
	[CMD_ALL_MAKE_BREAK - CMD_ALL_TYPEMATIC] = MODE_BREAK,
	[CMD_ALL_MAKE - CMD_ALL_TYPEMATIC] = 0,
	[CMD_ALL_BOTH - CMD_ALL_TYPEMATIC] = MODE_BREAK | MODE_REPEAT,
	[CMD_KEY_TYPEMATIC - CMD_ALL_TYPEMATIC] = MODE_REPEAT,
	[CMD_KEY_MAKE_BREAK - CMD_ALL_TYPEMATIC] = MODE_BREAK,
	[CMD_KEY_MAKE - CMD_ALL_TYPEMATIC] = 0,
};

static void choose_set(struct ps2_keyboard *k, uint8_t set)
{
	if (set > 3) {
		reply(k, RESEND);
		return;
	}
	reply(k, ACK);
	if (set == 0) {
		reply(k, k->set);
		return;
	}
	k->set = set;
	k->repeating = 0;
	ps2_queue_clear(&k->codes);
}

static void argument(struct ps2_keyboard *k, uint8_t command, uint8_t byte)
{
	switch (command) {
	case CMD_LEDS:
		k->leds = byte & 7;
		break;
	case CMD_TYPEMATIC:
		k->typematic = byte & 0x7f;
		break;
	case CMD_SET:
		choose_set(k, byte);
		return;
	default: /* a key's mode: the next byte may name another */
		k->mode[byte] = key_modes[command - CMD_ALL_TYPEMATIC];
		k->expects = command;
		break;
	}
	reply(k, ACK);
}

static void command(struct ps2_keyboard *k, uint8_t byte)
{
	switch (byte) {
	case CMD_ECHO:
		reply(k, CMD_ECHO);
		return;
	case CMD_RESEND:
		reply(k, k->last);
		return;
	case CMD_RESET:
		reset(k);
		return;
	case CMD_ID:
		reply(k, ACK);
		reply(k, 0xab);
		reply(k, 0x83);
		return;
	case CMD_LEDS:
	case CMD_SET:
	case CMD_TYPEMATIC:
	case CMD_KEY_TYPEMATIC ... CMD_KEY_MAKE:
		k->expects = byte;
		break;
	case CMD_ENABLE:
		ps2_queue_clear(&k->codes);
		k->scanning = true;
		break;
	case CMD_DISABLE:
		set_defaults(k);
		k->scanning = false;
		break;
	case CMD_DEFAULTS:
		set_defaults(k);
		break;
	case CMD_ALL_TYPEMATIC ... CMD_ALL_BOTH:
		set_all_modes(k, key_modes[byte - CMD_ALL_TYPEMATIC]);
		break;
	default:
		reply(k, RESEND);
		return;
	}
	reply(k, ACK);
}

/* A command in place of an argument is a command. */
void ps2_keyboard_write(struct ps2_keyboard *k, uint8_t byte)
{
	uint8_t expects = k->expects;

	k->expects = 0;
	if (expects && byte < CMD_FIRST)
		argument(k, expects, byte);
	else
		command(k, byte);
}

/* ---- to the controller ---- */

bool ps2_keyboard_peek(const struct ps2_keyboard *k, uint8_t *byte)
{
	const struct ps2_queue *q = k->replies.count ? &k->replies : &k->codes;

	if (q->count == 0)
		return false;
	*byte = ps2_queue_peek(q);
	return true;
}

void ps2_keyboard_pop(struct ps2_keyboard *k)
{
	struct ps2_queue *q = k->replies.count ? &k->replies : &k->codes;

	k->last = ps2_queue_peek(q);
	ps2_queue_pop(q);
}
