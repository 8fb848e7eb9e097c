/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Bytes on their way from a PS/2 device to its controller.  For device/ps2/ alone. */
#ifndef DEVICE_PS2_QUEUE_H
#define DEVICE_PS2_QUEUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { PS2_QUEUE_SIZE = 1024 };

struct ps2_queue {
	uint8_t bytes[PS2_QUEUE_SIZE];
	unsigned head, count;
};

static inline unsigned ps2_queue_room(const struct ps2_queue *q)
{
	return PS2_QUEUE_SIZE - q->count;
}

static inline void ps2_queue_clear(struct ps2_queue *q)
{
	q->head = q->count = 0;
}

/* All of them or, without the room, none: half a scan code is worse than a lost one. */
static inline bool ps2_queue_put(struct ps2_queue *q, const uint8_t *bytes, unsigned count)
{
	if (count > ps2_queue_room(q))
		return false;
	for (unsigned i = 0; i < count; i++)
		q->bytes[(q->head + q->count++) % PS2_QUEUE_SIZE] = bytes[i];
	return true;
}

/* Not of an empty one. */
static inline uint8_t ps2_queue_peek(const struct ps2_queue *q)
{
	return q->bytes[q->head];
}

static inline void ps2_queue_pop(struct ps2_queue *q)
{
	q->head = (q->head + 1) % PS2_QUEUE_SIZE;
	q->count--;
}

#endif
