/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The counters of a VM's vcpus as text. For cmd/. */
#ifndef CMD_STATS_H
#define CMD_STATS_H

struct vm;

/*
 * A line for each counter that is not 0, below a line for each vcpu that has any; whichever backend
 * counted.  To be freed; NULL: no memory.
 */
char *stats_text(struct vm *vm);

#endif
