/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* hyvectl list: what runs. For hyvectl. */
#ifndef CMD_HYVECTL_LIST_H
#define CMD_HYVECTL_LIST_H

#include <stddef.h>
#include <stdint.h>

/* Prints a table of the machines whose sockets are in the open folder. The exit status. */
int list_machines(int dir, const char *rundir);

/* "1d02h" or "0:12:34", and "512M". */
void format_uptime(char *text, size_t size, uint64_t ms);
void format_bytes(char *text, size_t size, uint64_t bytes);

#endif
