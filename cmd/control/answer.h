/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* A request, carried out on a machine. For the control socket's server, and the fuzzer. */
#ifndef CMD_CONTROL_ANSWER_H
#define CMD_CONTROL_ANSWER_H

#include <stddef.h>

struct machine;

/*
 * Does what a line asks for, which may be anything, and returns the reply, newline included, to be
 * freed; NULL: no memory.  Some requests stop the vcpus for a moment.  Any thread but a vcpu's.
 */
char *control_answer(struct machine *machine, const char *line, size_t len);
/* The reply that says so. */
char *control_refusal(int code, const char *why);
/* The name of the index-th thing that can be asked for; NULL: there are fewer. */
const char *control_command(size_t index);

#endif
