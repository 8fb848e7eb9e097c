/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The kind of work that small-processor benchmarks agree on: a linked list that is searched,
 * reversed and sorted; a matrix of small integers; a state machine that reads numbers; a checksum
 * over what they found.
 */
#include <stddef.h>

#include "bench/kernels/kernel.h"
#include "bench/kernels/parts.h"

#define NODES 160
#define SIDE  14

struct node {
	struct node *next;
	uint16_t key, tag;
};

static uint16_t crc16(uint16_t crc, uint32_t value)
{
	for (int bit = 0; bit < 32; bit++, value >>= 1)
		crc = (uint16_t)((crc ^ value) & 1 ? crc >> 1 ^ 0xa001 : crc >> 1);
	return crc;
}

static struct node *list_make(struct node *pool, uint64_t seed)
{
	struct node *head = NULL;

	for (unsigned i = 0; i < NODES; i++) {
		pool[i] = (struct node){
			.next = head,
			.key = (uint16_t)random_next(&seed),
			.tag = (uint16_t)i,
		};
		head = &pool[i];
	}
	return head;
}

static struct node *list_reverse(struct node *head)
{
	struct node *done = NULL;

	while (head) {
		struct node *next = head->next;

		head->next = done;
		done = head;
		head = next;
	}
	return done;
}

static unsigned list_find(const struct node *head, uint16_t tag)
{
	unsigned steps = 0;

	for (; head && head->tag != tag; head = head->next)
		steps++;
	return steps;
}

static struct node *list_merge(struct node *a, struct node *b)
{
	struct node first, *last = &first;

	while (a && b) {
		struct node **least = a->key <= b->key ? &a : &b;

		last->next = *least;
		last = *least;
		*least = (*least)->next;
	}
	last->next = a ? a : b;
	return first.next;
}

static struct node *list_sort(struct node *head, unsigned count)
{
	struct node *middle = head, *rest;

	if (count < 2)
		return head;
	for (unsigned i = 1; i < count / 2; i++)
		middle = middle->next;
	rest = middle->next;
	middle->next = NULL;
	return list_merge(list_sort(head, count / 2), list_sort(rest, count - count / 2));
}

static uint16_t list_part(uint16_t crc)
{
	struct node pool[NODES], *head = list_make(pool, 4711);

	for (uint16_t tag = 3; tag < NODES; tag = (uint16_t)(tag + 9)) {
		crc = crc16(crc, list_find(head, tag));
		head = list_reverse(head);
	}
	head = list_sort(head, NODES);
	for (; head; head = head->next)
		crc = crc16(crc, head->key);
	return crc;
}

static uint16_t matrix_part(uint16_t crc)
{
	int16_t a[SIDE][SIDE], b[SIDE][SIDE];
	int32_t trace = 0;

	for (int i = 0; i < SIDE; i++) {
		for (int j = 0; j < SIDE; j++) {
			a[i][j] = (int16_t)(i * 31 + j * 7 + crc);
			b[i][j] = (int16_t)(i - j * 3 + 11);
		}
	}
	for (int i = 0; i < SIDE; i++) {
		for (int j = 0; j < SIDE; j++) {
			int32_t sum = 0;

			for (int m = 0; m < SIDE; m++)
				sum += a[i][m] * b[m][j];
			trace += sum >> 5 & 0x7f;
			trace ^= sum;
		}
	}
	return crc16(crc, (uint32_t)trace);
}

enum number { START, SIGN, WHOLE, POINT, EXPONENT, EXPONENT_SIGN, POWER, WRONG, NUMBER_STATES };

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static enum number number_step(enum number state, char c)
{
	switch (state) {
	case START:
		return is_digit(c) ? WHOLE : c == '+' || c == '-' ? SIGN : c == '.' ? POINT : WRONG;
	case SIGN:
		return is_digit(c) ? WHOLE : c == '.' ? POINT : WRONG;
	case WHOLE:
		return is_digit(c) ? WHOLE : c == '.' ? POINT : c == 'e' ? EXPONENT : WRONG;
	case POINT:
		return is_digit(c) ? POINT : c == 'e' ? EXPONENT : WRONG;
	case EXPONENT:
		return is_digit(c) ? POWER : c == '+' || c == '-' ? EXPONENT_SIGN : WRONG;
	case EXPONENT_SIGN:
	case POWER:
		return is_digit(c) ? POWER : WRONG;
	default:
		return WRONG;
	}
}

static uint16_t state_part(uint16_t crc)
{
	static const char text[] =
		"5012,+12.3e-5,.5,-110.700,0xff,7e+2,-,874,1e,1.5e10,+.9,ab,-0.5e-12,"
		"64,3.3.3,99e9,+x,0,12e-,-.25e+7,1234567890,8.,e5,+0";
	unsigned ends[NUMBER_STATES] = {0};
	enum number state = START;

	for (int pass = 0; pass < 4; pass++) {
		for (const char *c = text; *c; c++) {
			if (*c == ',') {
				ends[state]++;
				state = START;
			} else {
				state = number_step(state, *c);
			}
		}
	}
	for (int i = 0; i < NUMBER_STATES; i++)
		crc = crc16(crc, ends[i]);
	return crc;
}

uint64_t mix_unit(void *state)
{
	uint16_t crc = 0xffff;

	(void)state;
	for (int round = 0; round < 2; round++)
		crc = state_part(matrix_part(list_part(crc)));
	return crc;
}
