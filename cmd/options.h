/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* hyve's command line, as bhyve(8) has it, turned into configuration settings. For cmd/. */
#ifndef CMD_OPTIONS_H
#define CMD_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

struct config;
struct machine_error;

enum options_wish {
	OPTIONS_RUN,
	OPTIONS_HELP,
	OPTIONS_LPC_HELP,
	OPTIONS_SLOT_HELP,
	OPTIONS_SETTING_HELP,
	OPTIONS_VERSION,
	OPTIONS_PREFLIGHT,
	OPTIONS_BAD, /* *error says what is wrong, and what to do */
};

enum options_wish options_read(
	int argc, char *const argv[], struct config *config, struct machine_error *error);

/* An option as getopt_long(3) knows it: a letter, or a word behind "--". */
struct options_entry {
	char letter;	  /* 0: it is a word */
	const char *word; /* NULL: it is a letter */
	bool has_argument;
};
/* The index-th option; false: there are fewer. For what says which there are. */
bool options_entry(size_t index, struct options_entry *entry);

#endif
