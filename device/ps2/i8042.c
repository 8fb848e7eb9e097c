/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The controller (IBM PS/2 Hardware Interface Technical Reference, "Keyboard and Auxiliary Device
 * Controller").
 *
 * There is one output buffer for the controller's own answers and for both devices.  When the guest
 * asks the controller something while a device's byte stands there, the answer takes its place, and
 * the byte comes back afterwards.  The original loses it.
 */
#include "device/ps2/i8042.h"

enum {
	STATUS_OUTPUT = 0x01,
	STATUS_SYSTEM = 0x04,
	STATUS_COMMAND = 0x08,
	STATUS_UNLOCKED = 0x10,
	STATUS_MOUSE = 0x20,

	BYTE_KEYBOARD_IRQ = 0x01,
	BYTE_MOUSE_IRQ = 0x02,
	BYTE_SYSTEM = 0x04,
	BYTE_KEYBOARD_OFF = 0x10,
	BYTE_MOUSE_OFF = 0x20,
	BYTE_TRANSLATE = 0x40,

	PORT_NO_RESET = 0x01, /* of the output port, which is wired to the CPU */
	PORT_A20 = 0x02,
	PORT_MOUSE_FULL = 0x20,
	PORT_KEYBOARD_FULL = 0x10,

	CMD_READ_RAM = 0x20,
	CMD_WRITE_RAM = 0x60,
	CMD_RAM_MASK = 0x1f,
	CMD_HAS_PASSWORD = 0xa4,
	CMD_MOUSE_OFF = 0xa7,
	CMD_MOUSE_ON = 0xa8,
	CMD_TEST_MOUSE = 0xa9,
	CMD_SELF_TEST = 0xaa,
	CMD_TEST_KEYBOARD = 0xab,
	CMD_KEYBOARD_OFF = 0xad,
	CMD_KEYBOARD_ON = 0xae,
	CMD_READ_INPUT = 0xc0,
	CMD_READ_OUTPUT = 0xd0,
	CMD_WRITE_OUTPUT = 0xd1,
	CMD_AS_KEYBOARD = 0xd2,
	CMD_AS_MOUSE = 0xd3,
	CMD_TO_MOUSE = 0xd4,
	CMD_A20_OFF = 0xdd,
	CMD_A20_ON = 0xdf,
	CMD_TEST_INPUTS = 0xe0,
	CMD_PULSE = 0xf0, /* the bits that are 0 of the output port's lower four */

	NO_PASSWORD = 0xf1,
	SELF_TEST_PASSED = 0x55,
	TEST_PASSED = 0x00,
	INPUT_UNLOCKED = 0x80,
};

void i8042_init(struct i8042 *c)
{
	*c = (struct i8042){
		.ram = {BYTE_KEYBOARD_IRQ | BYTE_MOUSE_IRQ | BYTE_SYSTEM | BYTE_TRANSLATE},
		.output_port = PORT_NO_RESET | PORT_A20,
	};
	ps2_keyboard_init(&c->keyboard);
	ps2_mouse_init(&c->mouse);
}

/* ---- the output buffer ---- */

/* What the keyboard has for us. Translated, F0 in front of a release is bit 7 of its code. */
static bool take_keyboard(struct i8042 *c)
{
	uint8_t byte;

	while (ps2_keyboard_peek(&c->keyboard, &byte)) {
		ps2_keyboard_pop(&c->keyboard);
		if (!(c->ram[0] & BYTE_TRANSLATE)) {
			c->byte = byte;
		} else if (byte == 0xf0) {
			c->release = true;
			continue;
		} else {
			c->byte = ps2_translate(byte) | (c->release ? 0x80 : 0);
		}
		c->release = false;
		return true;
	}
	return false;
}

static bool take_mouse(struct i8042 *c)
{
	if (!ps2_mouse_peek(&c->mouse, &c->byte))
		return false;
	ps2_mouse_pop(&c->mouse);
	return true;
}

/* The last answer, if nobody has read it, is lost. */
static void answer(struct i8042 *c, uint8_t byte, enum i8042_source as)
{
	if (c->source != I8042_NONE && !c->is_answer) {
		c->held = c->source;
		c->held_byte = c->byte;
	}
	c->source = as;
	c->byte = byte;
	c->is_answer = true;
}

/* A device that is switched off keeps what it has. */
void i8042_fill(struct i8042 *c)
{
	if (c->source != I8042_NONE)
		return;
	if (c->held != I8042_NONE) {
		c->source = c->held;
		c->byte = c->held_byte;
		c->held = I8042_NONE;
	} else if (!(c->ram[0] & BYTE_KEYBOARD_OFF) && take_keyboard(c)) {
		c->source = I8042_KEYBOARD;
	} else if (!(c->ram[0] & BYTE_MOUSE_OFF) && take_mouse(c)) {
		c->source = I8042_MOUSE;
	}
}

uint8_t i8042_read(struct i8042 *c)
{
	c->source = I8042_NONE;
	c->is_answer = false;
	return c->byte; /* an empty buffer shows what was last in it */
}

bool i8042_keyboard_irq(const struct i8042 *c)
{
	return c->source == I8042_KEYBOARD && (c->ram[0] & BYTE_KEYBOARD_IRQ);
}

bool i8042_mouse_irq(const struct i8042 *c)
{
	return c->source == I8042_MOUSE && (c->ram[0] & BYTE_MOUSE_IRQ);
}

uint8_t i8042_status(const struct i8042 *c)
{
	return STATUS_UNLOCKED | (c->source != I8042_NONE ? STATUS_OUTPUT : 0) |
	       (c->source == I8042_MOUSE ? STATUS_MOUSE : 0) |
	       (c->ram[0] & BYTE_SYSTEM ? STATUS_SYSTEM : 0) |
	       (c->last_command ? STATUS_COMMAND : 0);
}

/* ---- commands ---- */

static bool write_output_port(struct i8042 *c, uint8_t value)
{
	c->output_port = (value & PORT_A20) | PORT_NO_RESET;
	return !(value & PORT_NO_RESET);
}

static uint8_t read_output_port(const struct i8042 *c)
{
	return c->output_port | (i8042_keyboard_irq(c) ? PORT_KEYBOARD_FULL : 0) |
	       (i8042_mouse_irq(c) ? PORT_MOUSE_FULL : 0);
}

static void switch_device(struct i8042 *c, uint8_t off_bit, bool off)
{
	c->ram[0] = (uint8_t)((c->ram[0] & ~off_bit) | (off ? off_bit : 0));
}

/* Those with an answer and no argument. False: another. */
static bool query(struct i8042 *c, uint8_t command)
{
	switch (command) {
	case CMD_READ_RAM ... CMD_READ_RAM + CMD_RAM_MASK:
		answer(c, c->ram[command & CMD_RAM_MASK], I8042_KEYBOARD);
		return true;
	case CMD_HAS_PASSWORD:
		answer(c, NO_PASSWORD, I8042_KEYBOARD);
		return true;
	case CMD_SELF_TEST:
		c->ram[0] |= BYTE_SYSTEM;
		answer(c, SELF_TEST_PASSED, I8042_KEYBOARD);
		return true;
	case CMD_TEST_MOUSE:
	case CMD_TEST_KEYBOARD:
		answer(c, TEST_PASSED, I8042_KEYBOARD);
		return true;
	case CMD_READ_INPUT:
		answer(c, INPUT_UNLOCKED, I8042_KEYBOARD);
		return true;
	case CMD_READ_OUTPUT:
		answer(c, read_output_port(c), I8042_KEYBOARD);
		return true;
	case CMD_TEST_INPUTS:
		answer(c, 0, I8042_KEYBOARD);
		return true;
	default:
		return false;
	}
}

bool i8042_command(struct i8042 *c, uint8_t command)
{
	c->last_command = true;
	c->expects = 0;
	if (query(c, command))
		return false;
	switch (command) {
	case CMD_WRITE_RAM ... CMD_WRITE_RAM + CMD_RAM_MASK:
	case CMD_WRITE_OUTPUT:
	case CMD_AS_KEYBOARD:
	case CMD_AS_MOUSE:
	case CMD_TO_MOUSE:
		c->expects = command;
		return false;
	case CMD_MOUSE_OFF:
	case CMD_MOUSE_ON:
		switch_device(c, BYTE_MOUSE_OFF, command == CMD_MOUSE_OFF);
		return false;
	case CMD_KEYBOARD_OFF:
	case CMD_KEYBOARD_ON:
		switch_device(c, BYTE_KEYBOARD_OFF, command == CMD_KEYBOARD_OFF);
		return false;
	case CMD_A20_OFF:
	case CMD_A20_ON:
		return write_output_port(c, PORT_NO_RESET | (command == CMD_A20_ON ? PORT_A20 : 0));
	case CMD_PULSE ... 0xff:
		return !(command & PORT_NO_RESET);
	default:
		return false; /* unknown ones do nothing */
	}
}

/* What is sent to a device switches it on. */
static void to_device(struct i8042 *c, uint8_t byte, bool mouse)
{
	switch_device(c, mouse ? BYTE_MOUSE_OFF : BYTE_KEYBOARD_OFF, false);
	if (mouse)
		ps2_mouse_write(&c->mouse, byte);
	else
		ps2_keyboard_write(&c->keyboard, byte);
}

static bool argument(struct i8042 *c, uint8_t command, uint8_t byte)
{
	switch (command) {
	case CMD_WRITE_OUTPUT:
		return write_output_port(c, byte);
	case CMD_AS_KEYBOARD:
	case CMD_AS_MOUSE:
		answer(c, byte, command == CMD_AS_MOUSE ? I8042_MOUSE : I8042_KEYBOARD);
		return false;
	case CMD_TO_MOUSE:
		to_device(c, byte, true);
		return false;
	default:
		c->ram[command & CMD_RAM_MASK] = byte;
		return false;
	}
}

bool i8042_write(struct i8042 *c, uint8_t byte)
{
	uint8_t expects = c->expects;

	c->last_command = false;
	c->expects = 0;
	if (expects)
		return argument(c, expects, byte);
	to_device(c, byte, false);
	return false;
}
