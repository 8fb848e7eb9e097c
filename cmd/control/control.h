/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The control socket of a machine: hyve's side of what hyvectl talks to. For cmd/. */
#ifndef CMD_CONTROL_CONTROL_H
#define CMD_CONTROL_CONTROL_H

#include <vmm/types.h>

struct config;
struct control;
struct machine;
struct machine_error;

/*
 * Takes the machine's name in the folder of sockets, so that nobody else has it; before there are
 * threads.  *control is NULL if the settings want none, or do not insist and there can be none:
 * then *warning says why.  An errno with a line in *error; EBUSY: a machine of that name runs.
 */
int control_open(const struct config *config, struct control **control, struct machine_error *error,
	char *warning, size_t warning_size) VMM_MUST_CHECK;
/* Answers from now on, on a thread of its own. NULL is allowed. 0 or an errno. */
int control_serve(struct control *control, struct machine *machine) VMM_MUST_CHECK;
/* Answers no more, and the machine may go. NULL is allowed. */
void control_stop(struct control *control);
/* Removes the socket, and all. NULL is allowed. */
void control_close(struct control *control);

#endif
