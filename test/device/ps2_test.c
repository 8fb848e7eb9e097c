/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Keyboard, mouse and their controller, as a guest sees them through ports 60h and 64h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <linux/input-event-codes.h>

#include <vmm/pc.h>

#include "device/ps2/keyboard.h"
#include "device/ps2/keys.h"
#include "test/device/fake_guest.h"

enum {
	DATA = PC_I8042_DATA,
	STATUS = PC_I8042_STATUS,
	FULL = 0x01,
	FROM_MOUSE = 0x20,
	TRANSLATE = 0x40,
	IRQS = 0x03,
};

static int setup(void **state)
{
	struct fake_guest *g = calloc(1, sizeof(*g));

	fake_create(g, &device_ps2, "kbd", 0);
	*state = g;
	return 0;
}

static int teardown(void **state)
{
	fake_destroy(*state);
	free(*state);
	return 0;
}

static void key(struct fake_guest *g, unsigned code, bool down)
{
	const struct guest_input input = {
		.kind = GUEST_INPUT_KEY, .key = (uint16_t)code, .down = down};

	guest_input(&g->guest, &input);
}

static void press(struct fake_guest *g, unsigned code)
{
	key(g, code, true);
	key(g, code, false);
}

static void move(struct fake_guest *g, int dx, int dy, int wheel, uint8_t buttons)
{
	const struct guest_input input = {
		.kind = GUEST_INPUT_MOTION, .dx = dx, .dy = dy, .wheel = wheel, .buttons = buttons};

	guest_input(&g->guest, &input);
}

static uint8_t status(struct fake_guest *g)
{
	return (uint8_t)fake_in(g, STATUS, 1);
}

/* All that the controller has to say, as text; bytes of the mouse in parentheses. */
static const char *heard(struct fake_guest *g)
{
	static char text[8192];
	size_t len = 0;

	*text = '\0';
	for (uint8_t s; (s = status(g)) & FULL && len + 8 < sizeof(text);) {
		const char *form = s & FROM_MOUSE ? "%s(%02x)" : "%s%02x";

		len += (size_t)sprintf(
			text + len, form, len ? " " : "", (unsigned)fake_in(g, DATA, 1));
	}
	return text;
}

static void command(struct fake_guest *g, uint8_t byte)
{
	fake_out(g, STATUS, 1, byte);
}

static void command_with(struct fake_guest *g, uint8_t byte, uint8_t argument)
{
	command(g, byte);
	fake_out(g, DATA, 1, argument);
}

static const char *ask(struct fake_guest *g, uint8_t byte)
{
	command(g, byte);
	return heard(g);
}

/* Bytes to a device, one after the other, each answer read. */
static void tell(struct fake_guest *g, bool mouse, const char *bytes, const char *expected)
{
	char all[256] = "";

	for (char *end; *bytes; bytes = end) {
		uint8_t byte = (uint8_t)strtoul(bytes, &end, 16);

		if (mouse)
			command_with(g, 0xd4, byte);
		else
			fake_out(g, DATA, 1, byte);
		const char *answer = heard(g);

		if (*answer)
			snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s",
				*all ? " " : "", answer);
	}
	assert_string_equal(all, expected);
}

static void command_byte(struct fake_guest *g, uint8_t value)
{
	command_with(g, 0x60, value);
}

/* ---- the controller ---- */

static void controller_answers(void **state)
{
	static const struct {
		uint8_t command;
		const char *answer;
	} rows[] = {
		{0xaa, "55"},
		{0xab, "00"},
		{0xa9, "00"},
		{0xa4, "f1"},
		{0xc0, "80"},
		{0xe0, "00"},
		{0x20, "47"},
		{0xd0, "03"},
		{0xa5, ""},
		{0x00, ""},
		{0xac, ""},
	};
	struct fake_guest *g = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_string_equal(ask(g, rows[i].command), rows[i].answer);
	assert_int_equal(g->ended, -1);
}

static void status_tells_what_was_written_last(void **state)
{
	struct fake_guest *g = *state;

	assert_int_equal(status(g), 0x14);
	command(g, 0xae);
	assert_int_equal(status(g), 0x1c);
	fake_out(g, DATA, 1, 0xee);
	assert_int_equal(status(g), 0x15);
	assert_int_equal(fake_in(g, DATA, 1), 0xee);
	assert_int_equal(status(g), 0x14);
	assert_int_equal(fake_in(g, DATA, 1), 0xee); /* what was in the buffer last */
}

static void ram_is_kept(void **state)
{
	struct fake_guest *g = *state;
	char text[3];

	for (unsigned i = 0; i < 32; i++)
		command_with(g, (uint8_t)(0x60 + i), (uint8_t)(0x30 + i));
	for (unsigned i = 0; i < 32; i++) {
		snprintf(text, sizeof(text), "%02x", 0x30 + i);
		assert_string_equal(ask(g, (uint8_t)(0x20 + i)), text);
	}
}

static void switches_stand_in_the_command_byte(void **state)
{
	struct fake_guest *g = *state;

	command(g, 0xad);
	command(g, 0xa7);
	assert_string_equal(ask(g, 0x20), "77");
	command(g, 0xae);
	assert_string_equal(ask(g, 0x20), "67");
	command(g, 0xa8);
	assert_string_equal(ask(g, 0x20), "47");
}

/* Every command there is: only the pulses of bit 0 and the output port's bit 0 reset. */
static void pulses_reset(void **state)
{
	struct fake_guest *g = *state;

	for (unsigned c = 0; c < 256; c++) {
		g->ended = -1;
		command(g, (uint8_t)c);
		assert_int_equal(g->ended, c >= 0xf0 && !(c & 1) ? GUEST_RESET : -1);
		heard(g);
	}
	g->ended = -1;
	command_with(g, 0xd1, 0x03);
	assert_int_equal(g->ended, -1);
	command_with(g, 0xd1, 0x02);
	assert_int_equal(g->ended, GUEST_RESET);
}

static void a20_is_remembered(void **state)
{
	struct fake_guest *g = *state;

	command(g, 0xdd);
	assert_string_equal(ask(g, 0xd0), "01");
	command(g, 0xdf);
	assert_string_equal(ask(g, 0xd0), "03");
	command_with(g, 0xd1, 0x01);
	assert_string_equal(ask(g, 0xd0), "01");
}

/* What Linux looks for before it believes that there is a mouse. */
static void loopback_raises_the_mouse_line(void **state)
{
	struct fake_guest *g = *state;

	command_with(g, 0xd3, 0xa5);
	assert_true(g->line[PC_MOUSE_IRQ]);
	assert_false(g->line[PC_KEYBOARD_IRQ]);
	assert_string_equal(heard(g), "(a5)");
	assert_false(g->line[PC_MOUSE_IRQ]);
	command_with(g, 0xd2, 0x1e);
	assert_true(g->line[PC_KEYBOARD_IRQ]);
	assert_string_equal(heard(g), "1e");
}

static void lines_follow_the_buffer(void **state)
{
	struct fake_guest *g = *state;

	command_byte(g, TRANSLATE);
	press(g, KEY_A);
	assert_false(g->line[PC_KEYBOARD_IRQ]);
	command_byte(g, TRANSLATE | IRQS);
	assert_true(g->line[PC_KEYBOARD_IRQ]);
	assert_int_equal(g->raised[PC_KEYBOARD_IRQ], 1);
	fake_in(g, DATA, 1);
	assert_int_equal(g->raised[PC_KEYBOARD_IRQ], 2); /* an edge for each byte */
	fake_in(g, DATA, 1);
	assert_false(g->line[PC_KEYBOARD_IRQ]);
}

static void an_answer_does_not_lose_a_key(void **state)
{
	struct fake_guest *g = *state;

	press(g, KEY_A);
	command(g, 0xaa);
	command(g, 0x20); /* the answer to the first is lost */
	assert_string_equal(heard(g), "47 1e 9e");
	command_byte(g, TRANSLATE | 0x10);
	press(g, KEY_B);
	assert_string_equal(heard(g), "");
	command(g, 0xae);
	assert_string_equal(heard(g), "30 b0");
}

/* ---- the keyboard ---- */

/* evdev's codes up to 83 are those of set 1, of XT keyboards: an independent table. */
static void translated_codes_are_set_1(void **state)
{
	struct fake_guest *g = *state;
	char text[8];

	for (unsigned code = KEY_ESC; code <= KEY_KPDOT; code++) {
		snprintf(text, sizeof(text), "%02x %02x", code, code | 0x80);
		press(g, code);
		assert_string_equal(heard(g), text);
	}
}

/* The extended ones, as Linux has them in set 1 (E0 in front). */
static void extended_keys(void **state)
{
	static const uint8_t rows[][2] = {
		{KEY_KPENTER, 0x1c},
		{KEY_RIGHTCTRL, 0x1d},
		{KEY_KPSLASH, 0x35},
		{KEY_RIGHTALT, 0x38},
		{KEY_HOME, 0x47},
		{KEY_UP, 0x48},
		{KEY_PAGEUP, 0x49},
		{KEY_LEFT, 0x4b},
		{KEY_RIGHT, 0x4d},
		{KEY_END, 0x4f},
		{KEY_DOWN, 0x50},
		{KEY_PAGEDOWN, 0x51},
		{KEY_INSERT, 0x52},
		{KEY_DELETE, 0x53},
		{KEY_LEFTMETA, 0x5b},
		{KEY_RIGHTMETA, 0x5c},
		{KEY_COMPOSE, 0x5d},
		{KEY_POWER, 0x5e},
		{KEY_SLEEP, 0x5f},
		{KEY_WAKEUP, 0x63},
		{KEY_MUTE, 0x20},
		{KEY_VOLUMEDOWN, 0x2e},
		{KEY_VOLUMEUP, 0x30},
		{KEY_PLAYPAUSE, 0x22},
		{KEY_NEXTSONG, 0x19},
		{KEY_PREVIOUSSONG, 0x10},
	};
	struct fake_guest *g = *state;
	char text[16];

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		snprintf(text, sizeof(text), "e0 %02x e0 %02x", rows[i][1], rows[i][1] | 0x80);
		press(g, rows[i][0]);
		assert_string_equal(heard(g), text);
	}
}

static void the_three_sets(void **state)
{
	struct fake_guest *g = *state;

	command_byte(g, IRQS);
	press(g, KEY_A);
	assert_string_equal(heard(g), "1c f0 1c");
	press(g, KEY_DELETE);
	assert_string_equal(heard(g), "e0 71 e0 f0 71");
	tell(g, false, "f0 0", "fa fa 02");
	tell(g, false, "f0 1", "fa fa");
	press(g, KEY_DELETE);
	assert_string_equal(heard(g), "e0 53 e0 d3");
	tell(g, false, "f0 3 f0 0", "fa fa fa fa 03");
	press(g, KEY_DELETE); /* typematic: no release; nor has one that is make only */
	press(g, KEY_F1);
	press(g, KEY_RIGHTSHIFT);
	assert_string_equal(heard(g), "64 07 59 f0 59");
	tell(g, false, "f8", "fa");
	press(g, KEY_DELETE);
	assert_string_equal(heard(g), "64 f0 64");
	tell(g, false, "fd 64 7 ed 0", "fa fa fa fa fa"); /* these two make only */
	press(g, KEY_DELETE);
	press(g, KEY_A);
	assert_string_equal(heard(g), "64 1c f0 1c");
	tell(g, false, "f0 4", "fa fe");
}

static void codes_are_unambiguous(void **state)
{
	bool seen2[2][256] = {{false}}, seen3[256] = {false};

	(void)state;
	for (unsigned code = 0; code < 256; code++) {
		const struct ps2_key *k = &ps2_keys[code];
		unsigned e0 = k->flags & PS2_KEY_E0;

		if (!k->set2 || code == KEY_PAUSE)
			continue;
		assert_false(seen2[e0][k->set2]);
		seen2[e0][k->set2] = true;
		assert_false(k->set3 && seen3[k->set3]);
		seen3[k->set3] = true;
	}
}

static void odd_keys(void **state)
{
	struct fake_guest *g = *state;

	press(g, KEY_PAUSE);
	assert_string_equal(heard(g), "e1 1d 45 e1 9d c5");
	key(g, KEY_LEFTCTRL, true);
	press(g, KEY_PAUSE);
	key(g, KEY_LEFTCTRL, false);
	assert_string_equal(heard(g), "1d e0 46 e0 c6 9d");
	press(g, KEY_SYSRQ);
	assert_string_equal(heard(g), "e0 2a e0 37 e0 b7 e0 aa");
	key(g, KEY_LEFTALT, true);
	press(g, KEY_SYSRQ);
	key(g, KEY_LEFTALT, false);
	assert_string_equal(heard(g), "38 54 d4 b8");
	command_byte(g, IRQS);
	press(g, KEY_PAUSE);
	assert_string_equal(heard(g), "e1 14 77 e1 f0 14 f0 77");
}

static void keys_that_are_none(void **state)
{
	struct fake_guest *g = *state;

	press(g, KEY_RESERVED);
	press(g, BTN_LEFT);
	press(g, KEY_MAX);
	press(g, 0xffff);
	key(g, KEY_A, false); /* it was not down */
	assert_string_equal(heard(g), "");
	key(g, KEY_A, true);
	key(g, KEY_A, true);
	assert_string_equal(heard(g), "1e");
}

static void keyboard_commands(void **state)
{
	struct fake_guest *g = *state;

	command_byte(g, IRQS);
	tell(g, false, "ee", "ee");
	tell(g, false, "f2", "fa ab 83");
	tell(g, false, "ff", "fa aa");
	tell(g, false, "fe", "aa");
	tell(g, false, "ed 7", "fa fa");
	tell(g, false, "f3 20", "fa fa");
	tell(g, false, "f4", "fa");
	tell(g, false, "ec", "fe");
	tell(g, false, "0", "fe");
	tell(g, false, "ed f4", "fa fa"); /* a command in place of the argument */
	tell(g, false, "7", "fe");
	command_byte(g, IRQS | TRANSLATE);
	tell(g, false, "f2", "fa ab 41"); /* what is no code is translated all the same */
}

static void disabled_keyboard_is_silent(void **state)
{
	struct fake_guest *g = *state;

	tell(g, false, "f5", "fa");
	press(g, KEY_A);
	assert_string_equal(heard(g), "");
	tell(g, false, "f4", "fa");
	press(g, KEY_A);
	assert_string_equal(heard(g), "1e 9e");
	tell(g, false, "f5 ff", "fa fa aa"); /* a reset enables it */
	press(g, KEY_B);
	assert_string_equal(heard(g), "30 b0");
}

static void answers_go_before_keys(void **state)
{
	struct fake_guest *g = *state;

	press(g, KEY_A);
	press(g, KEY_B);
	fake_out(g, DATA, 1, 0xed);
	fake_out(g, DATA, 1, 0);
	assert_string_equal(heard(g), "1e fa fa 9e 30 b0"); /* the first was in the buffer */
}

static void held_keys_repeat(void **state)
{
	struct fake_guest *g = *state;
	uint64_t delay;

	key(g, KEY_A, true);
	assert_true(fake_timer_is_set(g, &delay));
	assert_int_equal(delay, 500000000);
	fake_timer_fire(g); /* nobody has read the first: no more of them */
	assert_string_equal(heard(g), "1e 1e");
	assert_true(fake_timer_is_set(g, &delay));
	assert_int_equal(delay, 91740000);
	fake_timer_fire(g);
	assert_string_equal(heard(g), "1e");
	key(g, KEY_LEFTSHIFT, true); /* what does not repeat ends it */
	assert_false(fake_timer_is_set(g, &delay));
	assert_string_equal(heard(g), "2a");
	tell(g, false, "f3 7f", "fa fa");
	key(g, KEY_B, true);
	assert_true(fake_timer_is_set(g, &delay));
	assert_int_equal(delay, 1000000000);
	key(g, KEY_A, false); /* another one */
	assert_true(fake_timer_is_set(g, &delay));
	heard(g);
	fake_timer_fire(g);
	assert_string_equal(heard(g), "30");
	assert_true(fake_timer_is_set(g, &delay));
	assert_int_equal(delay, 500400000);
	key(g, KEY_B, false);
	assert_false(fake_timer_is_set(g, &delay));
	assert_string_equal(heard(g), "b0");
}

/* However long nobody reads: each key that the guest hears of going down, it hears of going up. */
static void overrun_loses_no_release(void **state)
{
	struct fake_guest *g = *state;
	int down[256] = {0};
	unsigned presses = 0;

	for (unsigned i = 0; i < 1000; i++)
		press(g, KEY_1 + i % 40);
	for (unsigned code = KEY_ESC; code <= KEY_KPDOT; code++)
		key(g, code, true);
	for (unsigned code = KEY_ESC; code <= KEY_KPDOT; code++)
		key(g, code, false);
	while (status(g) & FULL) {
		uint8_t code = (uint8_t)fake_in(g, DATA, 1);

		down[code & 0x7f] += code & 0x80 ? -1 : 1;
		presses += !(code & 0x80);
	}
	assert_in_range(presses, 40, 256);
	for (unsigned i = 0; i < 256; i++)
		assert_int_equal(down[i], 0);
	press(g, KEY_A);
	assert_string_equal(heard(g), "1e 9e");
}

/* A guest that only writes must not make us grow, nor lose the controller. */
static void commands_that_nobody_reads(void **state)
{
	struct fake_guest *g = *state;

	for (unsigned i = 0; i < 5000; i++) {
		fake_out(g, DATA, 1, 0xf2);
		command_with(g, 0xd4, 0xe9);
	}
	heard(g);
	heard(g);
	tell(g, false, "ee", "ee");
	tell(g, true, "f2", "(fa) (00)");
}

/* ---- the mouse ---- */

static void mouse_commands(void **state)
{
	struct fake_guest *g = *state;

	tell(g, true, "ff", "(fa) (aa) (00)");
	tell(g, true, "fe", "(00)");
	tell(g, true, "f2", "(fa) (00)");
	tell(g, true, "e9", "(fa) (00) (02) (64)");
	tell(g, true, "e8 3 f3 28 e7 f4", "(fa) (fa) (fa) (fa) (fa) (fa)");
	tell(g, true, "e9", "(fa) (30) (03) (28)");
	tell(g, true, "f0 e9", "(fa) (fa) (70) (03) (28)");
	tell(g, true, "f6 e9", "(fa) (fa) (00) (02) (64)");
	tell(g, true, "e1", "(fe)");
	tell(g, true, "ee f4 12 ec", "(fa) (f4) (12) (fa)"); /* wrap */
	tell(g, true, "e8 f2", "(fa) (fa) (00)");	     /* a command, no argument */
	command(g, 0xa7);
	tell(g, true, "f2", "(fa) (00)"); /* who is talked to is on */
	assert_string_equal(ask(g, 0x20), "47");
}

static void motion_makes_packets(void **state)
{
	struct fake_guest *g = *state;

	move(g, 1, 1, 0, 0);
	assert_string_equal(heard(g), ""); /* not enabled yet */
	tell(g, true, "f4", "(fa)");
	move(g, 5, -3, 0, 0);
	assert_string_equal(heard(g), "(08) (05) (03)");
	move(g, -1, 2, 0, 1);
	assert_string_equal(heard(g), "(39) (ff) (fe)");
	move(g, 0, 0, 0, 1);
	assert_string_equal(heard(g), ""); /* nothing new */
	move(g, 0, 0, 0, 6);
	assert_string_equal(heard(g), "(0e) (00) (00)");
	move(g, 0, 0, 1, 6 | 8); /* neither wheel nor side buttons */
	assert_string_equal(heard(g), "");
	move(g, 600, 0, 0, 0);
	assert_string_equal(heard(g), "(08) (ff) (00) (08) (ff) (00) (08) (5a) (00)");
	move(g, -300, 0, 0, 0);
	assert_string_equal(heard(g), "(18) (01) (00) (18) (d3) (00)");
}

static void motion_is_summed_up_and_clicks_are_not(void **state)
{
	struct fake_guest *g = *state;

	tell(g, true, "f4", "(fa)");
	for (unsigned i = 0; i < 10; i++)
		move(g, 1, 0, 0, 0);
	assert_string_equal(heard(g), "(08) (01) (00) (08) (09) (00)");
	for (unsigned i = 0; i < 3; i++) {
		move(g, 0, 0, 0, 1);
		move(g, 2, 0, 0, 0);
	}
	assert_string_equal(heard(g), "(09) (00) (00) (08) (02) (00) (09) (00) (00) (08) (02) (00) "
				      "(09) (00) (00) (08) (02) (00)");
	for (unsigned i = 0; i < 5001; i++)
		move(g, INT32_MAX, INT32_MIN, 0, i & 1);
	heard(g); /* a long one */
	for (unsigned i = 0; i < 4; i++)
		heard(g);
	move(g, 0, 0, 0, 0);
	for (unsigned i = 0; i < 40; i++)
		heard(g);
	move(g, 1, 0, 0, 0);
	assert_string_equal(heard(g), "(08) (01) (00)");
}

static void scaling_and_remote(void **state)
{
	struct fake_guest *g = *state;

	tell(g, true, "f4 e7", "(fa) (fa)");
	move(g, 4, -7, 0, 0);
	assert_string_equal(heard(g), "(08) (06) (0e)");
	move(g, 200, 0, 0, 0);
	assert_string_equal(heard(g), "(08) (ff) (00)");
	tell(g, true, "f0", "(fa)");
	move(g, 4, -7, 0, 4);
	assert_string_equal(heard(g), "");
	tell(g, true, "eb", "(fa) (0c) (04) (07)"); /* scaled in stream mode only */
	tell(g, true, "eb", "(fa) (0c) (00) (00)");
	tell(g, true, "ea", "(fa)");
	move(g, 1, 0, 0, 4);
	assert_string_equal(heard(g), "(0c) (01) (00)");
}

#define KNOCK_WHEEL    "f3 c8 f3 64 f3 50"
#define KNOCK_EXPLORER "f3 c8 f3 c8 f3 50"
#define SIX_ACKS       "(fa) (fa) (fa) (fa) (fa) (fa)"

static void intellimouse_has_a_wheel(void **state)
{
	struct fake_guest *g = *state;

	tell(g, true, KNOCK_WHEEL, SIX_ACKS);
	tell(g, true, "f2 f4", "(fa) (03) (fa)");
	move(g, 1, 0, 1, 0);
	assert_string_equal(heard(g), "(08) (01) (00) (ff)"); /* away from the user: -1 */
	move(g, 0, 0, -10, 8);
	assert_string_equal(heard(g), "(08) (00) (00) (07) (08) (00) (00) (03)");
	tell(g, true, "ff f2", "(fa) (aa) (00) (fa) (00)");
}

static void explorer_has_five_buttons(void **state)
{
	struct fake_guest *g = *state;

	tell(g, true, KNOCK_WHEEL " " KNOCK_EXPLORER, SIX_ACKS " " SIX_ACKS);
	tell(g, true, "f2 f4", "(fa) (04) (fa)");
	move(g, 0, 0, 1, 8);
	assert_string_equal(heard(g), "(08) (00) (00) (1f)");
	move(g, 0, 0, 0, 16);
	assert_string_equal(heard(g), "(08) (00) (00) (20)");
}

static void both_devices_share_the_buffer(void **state)
{
	struct fake_guest *g = *state;

	tell(g, true, "f4", "(fa)");
	move(g, 1, 0, 0, 0);
	press(g, KEY_A);
	assert_true(g->line[PC_MOUSE_IRQ]);
	assert_false(g->line[PC_KEYBOARD_IRQ]);
	assert_string_equal(heard(g), "(08) 1e 9e (01) (00)");
	command(g, 0xa7);
	move(g, 1, 0, 0, 0);
	assert_string_equal(heard(g), "");
	command(g, 0xa8);
	assert_string_equal(heard(g), "(08) (01) (00)");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(controller_answers),
		T(status_tells_what_was_written_last),
		T(ram_is_kept),
		T(switches_stand_in_the_command_byte),
		T(pulses_reset),
		T(a20_is_remembered),
		T(loopback_raises_the_mouse_line),
		T(lines_follow_the_buffer),
		T(an_answer_does_not_lose_a_key),
		T(translated_codes_are_set_1),
		T(extended_keys),
		T(the_three_sets),
		T(codes_are_unambiguous),
		T(odd_keys),
		T(keys_that_are_none),
		T(keyboard_commands),
		T(disabled_keyboard_is_silent),
		T(answers_go_before_keys),
		T(held_keys_repeat),
		T(overrun_loses_no_release),
		T(commands_that_nobody_reads),
		T(mouse_commands),
		T(motion_makes_packets),
		T(motion_is_summed_up_and_clicks_are_not),
		T(scaling_and_remote),
		T(intellimouse_has_a_wheel),
		T(explorer_has_five_buttons),
		T(both_devices_share_the_buffer),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
