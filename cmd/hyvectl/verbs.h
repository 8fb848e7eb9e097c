/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* What hyvectl --vm=NAME can be asked for, by options of bhyvectl's names. For hyvectl. */
#ifndef CMD_HYVECTL_VERBS_H
#define CMD_HYVECTL_VERBS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct client;

/* Options that others use, or that are no verbs. */
enum verb_setting {
	SETTING_CAPNAME,
	SETTING_DESC_BASE,
	SETTING_DESC_LIMIT,
	SETTING_DESC_ACCESS,
	SETTING_NVRAM_OFFSET,
	SETTING_COUNT
};

struct verb_run {
	struct client *client;
	int cpu;
	bool all; /* --get-all */
	const char *settings[SETTING_COUNT];
	char what[40]; /* the option at work, for the message */
};

struct verb_option {
	char name[32];	      /* without "--" */
	const char *argument; /* what stands behind "=", NULL: nothing */
	const char *refusal;  /* why it is not offered; NULL: it is */
	int setting;	      /* enum verb_setting; -1: it is a verb */
};

/* The index-th of all options; they stand in the order in which they are carried out. */
bool verb_option(unsigned index, struct verb_option *option);
/*
 * Carries the index-th option out, if it is a verb. False: run->client->why says what failed, and
 * run->what where.  `given` may be false if run->all is: the verb decides.
 */
bool verb_carry_out(struct verb_run *run, unsigned index, bool given, const char *value);

#endif
