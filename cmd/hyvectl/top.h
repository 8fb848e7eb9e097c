/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* hyvectl top: what a machine is doing. For hyvectl. */
#ifndef CMD_HYVECTL_TOP_H
#define CMD_HYVECTL_TOP_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct client;
struct sample;

/* What the machine and its process had counted at an instant; NULL: client->why. */
struct sample *sample_take(struct client *client);
void sample_free(struct sample *sample);
/* A page about what happened between two samples, of lines without control characters. */
void sample_print(FILE *out, const struct sample *before, const struct sample *now);

/* Prints one page about the next half second. False: client->why. */
bool top_once(struct client *client);
/* Shows them on the terminal, a new one each second, until q is typed. False: client->why. */
bool top_live(struct client *client);

#endif
