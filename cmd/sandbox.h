/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* What hyve gives up before a guest runs. For cmd/. */
#ifndef CMD_SANDBOX_H
#define CMD_SANDBOX_H

#include <stdbool.h>

#include <vmm/types.h>

struct config;
struct machine_error;

/* Sanitizers read /proc and more, when they please. */
#ifdef HYVE_SAN
#define SANDBOX_NORMALLY false
#else
#define SANDBOX_NORMALLY true
#endif

/*
 * All threads of the process, and those to come, are left with the system calls that the settings
 * need.  Once, when everything is open and before the guest runs; `backend` is its backend's name.
 * 0, also if the host has no such filter and the settings do not insist: then *warning is a line
 * about it, else NULL.  An errno with a line in *error.
 */
int sandbox_enter(const struct config *config, const char *backend, const char **warning,
	struct machine_error *error) VMM_MUST_CHECK;

#endif
