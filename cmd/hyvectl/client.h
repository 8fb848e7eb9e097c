/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* A connection to a machine's control socket. For hyvectl. */
#ifndef CMD_HYVECTL_CLIENT_H
#define CMD_HYVECTL_CLIENT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

struct client {
	FILE *stream;
	int fd;
	const char *name;
	char why[256]; /* what went wrong last, for the user */
};

/*
 * Connects to the machine `name` in the folder `rundir`, which is open as `dir`. False, and a line
 * in client->why.
 */
bool client_open(struct client *client, int dir, const char *rundir, const char *name);
void client_close(struct client *client);
/*
 * Sends `request`, whose reference it takes, and waits for the reply; its result is a new
 * reference. NULL, and a line in client->why.
 */
json_t *client_call(struct client *client, json_t *request);
/* Waits until the other side has ended. False: it has not, in that time. */
bool client_await_end(struct client *client, int limit_ms);

/* A member of an object: a number, or a string with one; 0 if it is neither. */
uint64_t client_number(const json_t *object, const char *key);
/* "" if it is no string. What a terminal would obey is masked. */
const char *client_string(const json_t *object, const char *key);

#endif
