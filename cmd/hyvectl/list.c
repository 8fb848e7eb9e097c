/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "cmd/hyvectl/list.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmd/hyvectl/client.h"

void format_uptime(char *text, size_t size, uint64_t ms)
{
	uint64_t s = ms / 1000;

	if (s >= 86400)
		snprintf(text, size, "%" PRIu64 "d%02dh", s / 86400, (int)(s / 3600 % 24));
	else
		snprintf(text, size, "%d:%02d:%02d", (int)(s / 3600), (int)(s / 60 % 60),
			(int)(s % 60));
}

void format_bytes(char *text, size_t size, uint64_t bytes)
{
	static const char units[] = "BKMGTPE";
	unsigned unit = 0;

	while (bytes >= 10240 || (bytes >= 1024 && bytes % 1024 == 0)) {
		bytes /= 1024;
		unit++;
	}
	snprintf(text, size, "%" PRIu64 "%c", bytes, units[unit]);
}

static void print_machine(const json_t *info)
{
	char uptime[32], memory[32];

	format_uptime(uptime, sizeof(uptime), client_number(info, "uptime"));
	format_bytes(memory, sizeof(memory), client_number(info, "memory"));
	printf("%-31s %7d %-7s %4d %6s %-8s %s\n", client_string(info, "name"),
		(int)client_number(info, "pid"), client_string(info, "backend"),
		(int)client_number(info, "cpus"), memory, client_string(info, "state"), uptime);
}

/* Dead ones are passed over: their sockets go when the name is used again. */
static void try_machine(int dir, const char *rundir, const char *name)
{
	struct client client;
	json_t *info;

	if (!client_open(&client, dir, rundir, name))
		return;
	info = client_call(&client, json_pack("{s:s}", "command", "info"));
	if (info)
		print_machine(info);
	else
		fprintf(stderr, "hyvectl: %s\n", client.why);
	json_decref(info);
	client_close(&client);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_candidate(const struct dirent *entry)
{
	return entry->d_name[0] != '.' && (entry->d_type == DT_SOCK || entry->d_type == DT_UNKNOWN);
}

int list_machines(int dir, const char *rundir)
{
	struct dirent **entries = NULL;
	int n = dir < 0 ? 0 : scandirat(dir, ".", &entries, is_candidate, by_name);

	if (n < 0) {
		fprintf(stderr, "hyvectl: %s: %s\n", rundir, strerror(errno));
		return 1;
	}
	printf("%-31s %7s %-7s %4s %6s %-8s %s\n", "NAME", "PID", "BACKEND", "CPUS", "MEMORY",
		"STATE", "UPTIME");
	for (int i = 0; i < n; i++) {
		try_machine(dir, rundir, entries[i]->d_name);
		free(entries[i]);
	}
	free(entries);
	return 0;
}
