/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The mouse (IBM PS/2 Hardware Interface Technical Reference, "Auxiliary Device"; Microsoft's
 * IntelliMouse and IntelliMouse Explorer, which answer with another ID after a knock of sample
 * rates).
 *
 * Motion is summed up while a packet waits to be fetched, so the guest sets the pace and not the
 * sample rate; a change of buttons makes a packet of its own, so that no click is lost.
 */
#include "device/ps2/mouse.h"

#include <stdlib.h>

enum {
	CMD_SCALE_1 = 0xe6,
	CMD_SCALE_2 = 0xe7,
	CMD_RESOLUTION = 0xe8,
	CMD_STATUS = 0xe9,
	CMD_STREAM = 0xea,
	CMD_READ = 0xeb,
	CMD_UNWRAP = 0xec,
	CMD_WRAP = 0xee,
	CMD_REMOTE = 0xf0,
	CMD_ID = 0xf2,
	CMD_RATE = 0xf3,
	CMD_ENABLE = 0xf4,
	CMD_DISABLE = 0xf5,
	CMD_DEFAULTS = 0xf6,
	CMD_RESEND = 0xfe,
	CMD_RESET = 0xff,
	CMD_FIRST = CMD_SCALE_1,

	ACK = 0xfa,
	RESEND = 0xfe,
	SELF_TEST_PASSED = 0xaa,

	ID_PLAIN = 0,
	ID_WHEEL = 3,
	ID_EXPLORER = 4,

	RATE_NORMAL = 100,
	RESOLUTION_NORMAL = 2, /* 4 counts a millimetre */

	PACKET_ONE = 0x08, /* bits of a packet's first byte */
	PACKET_X_SIGN = 0x10,
	PACKET_Y_SIGN = 0x20,
	BUTTONS_PLAIN = 0x07,
	BUTTONS_SIDE = 0x18,

	MOTION_MAX = 1 << 20, /* of what is summed up */
	PACKET_MOTION_MAX = 255,
	WHEEL_MAX = 7,
};

static int clamp(long long value, int low, int high)
{
	return value < low ? low : value > high ? high : (int)value;
}

/* ---- packets ---- */

static int take(int *sum, int low, int high)
{
	int part = clamp(*sum, low, high);

	*sum -= part;
	return part;
}

/* 2:1 scaling, of streamed packets only. */
static int scale(const struct ps2_mouse *m, int count)
{
	static const int small[] = {0, 1, 1, 3, 6, 9};
	int size = abs(count);

	if (!m->double_scale || m->remote)
		return count;
	size = size < 6 ? small[size] : clamp(2ll * size, 0, PACKET_MOTION_MAX);
	return count < 0 ? -size : size;
}

static uint8_t visible_buttons(const struct ps2_mouse *m)
{
	return m->id == ID_EXPLORER ? m->buttons : m->buttons & BUTTONS_PLAIN;
}

static void put_packet(struct ps2_mouse *m, struct ps2_queue *to)
{
	int dx = scale(m, take(&m->dx, -PACKET_MOTION_MAX, PACKET_MOTION_MAX));
	int dy = scale(m, take(&m->dy, -PACKET_MOTION_MAX, PACKET_MOTION_MAX));
	int dz = m->id == ID_PLAIN ? 0 : take(&m->dz, -WHEEL_MAX, WHEEL_MAX);
	uint8_t bytes[4] = {
		PACKET_ONE | (m->buttons & BUTTONS_PLAIN) | (dx < 0 ? PACKET_X_SIGN : 0) |
			(dy < 0 ? PACKET_Y_SIGN : 0),
		(uint8_t)dx,
		(uint8_t)dy,
		(uint8_t)dz,
	};

	if (m->id == ID_EXPLORER)
		bytes[3] = (uint8_t)((dz & 0x0f) | (m->buttons & BUTTONS_SIDE) << 1);
	ps2_queue_put(to, bytes, m->id == ID_PLAIN ? 3 : 4);
	m->reported = visible_buttons(m);
}

static bool streams(const struct ps2_mouse *m)
{
	return m->reporting && !m->remote && !m->wrap;
}

static bool has_news(const struct ps2_mouse *m)
{
	return m->dx || m->dy || m->dz || m->reported != visible_buttons(m);
}

static void forget_motion(struct ps2_mouse *m)
{
	ps2_queue_clear(&m->packets);
	m->dx = m->dy = m->dz = 0;
}

void ps2_mouse_move(struct ps2_mouse *m, int right, int down, int wheel, uint8_t buttons)
{
	m->dx = clamp((long long)m->dx + right, -MOTION_MAX, MOTION_MAX);
	m->dy = clamp((long long)m->dy - down, -MOTION_MAX, MOTION_MAX);
	if (m->id != ID_PLAIN)
		m->dz = clamp((long long)m->dz - wheel, -MOTION_MAX, MOTION_MAX);
	m->buttons = buttons & (BUTTONS_PLAIN | BUTTONS_SIDE);
	bool click = m->reported != visible_buttons(m) && ps2_queue_room(&m->packets) >= 4;

	if (streams(m) && has_news(m) && (click || m->packets.count == 0))
		put_packet(m, &m->packets);
}

/* ---- commands ---- */

static void reply(struct ps2_mouse *m, uint8_t byte)
{
	ps2_queue_put(&m->replies, &byte, 1); /* a guest that never reads loses it */
}

static void set_defaults(struct ps2_mouse *m)
{
	forget_motion(m);
	m->rate = RATE_NORMAL;
	m->resolution = RESOLUTION_NORMAL;
	m->double_scale = m->remote = m->wrap = m->reporting = false;
}

void ps2_mouse_init(struct ps2_mouse *m)
{
	*m = (struct ps2_mouse){.id = ID_PLAIN};
	set_defaults(m);
}

static void reset(struct ps2_mouse *m)
{
	ps2_queue_clear(&m->replies);
	set_defaults(m);
	m->id = ID_PLAIN;
	m->rates[0] = m->rates[1] = 0;
	reply(m, ACK);
	reply(m, SELF_TEST_PASSED);
	reply(m, ID_PLAIN);
}

static void send_status(struct ps2_mouse *m)
{
	reply(m, (m->buttons & 1 ? 0x04 : 0) | (m->buttons & 4 ? 0x02 : 0) |
			 (m->buttons & 2 ? 0x01 : 0) | (m->double_scale ? 0x10 : 0) |
			 (m->reporting ? 0x20 : 0) | (m->remote ? 0x40 : 0));
	reply(m, m->resolution);
	reply(m, m->rate);
}

/* 200, 100, 80 asks for a wheel; 200, 200, 80 for more buttons. */
static void set_rate(struct ps2_mouse *m, uint8_t rate)
{
	if (m->rates[0] == 200 && m->rates[1] == 100 && rate == 80)
		m->id = ID_WHEEL;
	if (m->rates[0] == 200 && m->rates[1] == 200 && rate == 80)
		m->id = ID_EXPLORER;
	m->rates[0] = m->rates[1];
	m->rates[1] = m->rate = rate;
}

static void argument(struct ps2_mouse *m, uint8_t command, uint8_t byte)
{
	if (command == CMD_RATE)
		set_rate(m, byte);
	else
		m->resolution = byte & 3;
	reply(m, ACK);
}

static void command(struct ps2_mouse *m, uint8_t byte)
{
	switch (byte) {
	case CMD_RESET:
		reset(m);
		return;
	case CMD_RESEND:
		reply(m, m->last);
		return;
	case CMD_RATE:
	case CMD_RESOLUTION:
		m->expects = byte;
		break;
	case CMD_SCALE_1:
	case CMD_SCALE_2:
		m->double_scale = byte == CMD_SCALE_2;
		break;
	case CMD_STREAM:
	case CMD_REMOTE:
		forget_motion(m);
		m->remote = byte == CMD_REMOTE;
		break;
	case CMD_WRAP:
	case CMD_UNWRAP:
		forget_motion(m);
		m->wrap = byte == CMD_WRAP;
		break;
	case CMD_ENABLE:
	case CMD_DISABLE:
		forget_motion(m);
		m->reporting = byte == CMD_ENABLE;
		break;
	case CMD_DEFAULTS:
		set_defaults(m);
		break;
	case CMD_STATUS:
	case CMD_READ:
	case CMD_ID:
		break;
	default:
		reply(m, RESEND);
		return;
	}
	reply(m, ACK);
	if (byte == CMD_STATUS)
		send_status(m);
	else if (byte == CMD_READ)
		put_packet(m, &m->replies);
	else if (byte == CMD_ID)
		reply(m, m->id);
}

/* A command in place of an argument is a command. */
void ps2_mouse_write(struct ps2_mouse *m, uint8_t byte)
{
	uint8_t expects = m->expects;

	m->expects = 0;
	if (m->wrap && byte != CMD_RESET && byte != CMD_UNWRAP)
		reply(m, byte);
	else if (expects && byte < CMD_FIRST)
		argument(m, expects, byte);
	else
		command(m, byte);
}

/* ---- to the controller ---- */

bool ps2_mouse_peek(const struct ps2_mouse *m, uint8_t *byte)
{
	const struct ps2_queue *q = m->replies.count ? &m->replies : &m->packets;

	if (q->count == 0)
		return false;
	*byte = ps2_queue_peek(q);
	return true;
}

void ps2_mouse_pop(struct ps2_mouse *m)
{
	struct ps2_queue *q = m->replies.count ? &m->replies : &m->packets;

	m->last = ps2_queue_peek(q);
	ps2_queue_pop(q);
	if (m->packets.count == 0 && streams(m) && has_news(m))
		put_packet(m, &m->packets);
}
