/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "host/memory.h"

#include <stddef.h>
#include <stdio.h>
#include <sys/sysinfo.h>

/* A control group's limit, "max" or an absurd number meaning none. */
static uint64_t group_limit(const char *path)
{
	FILE *file = fopen(path, "re");
	unsigned long long limit;

	if (!file)
		return UINT64_MAX;
	if (fscanf(file, "%llu", &limit) != 1)
		limit = UINT64_MAX;
	fclose(file);
	return limit;
}

uint64_t host_memory_bytes(void)
{
	/* As a container sees its own group, in versions 2 and 1. */
	static const char *const paths[] = {
		"/sys/fs/cgroup/memory.max",
		"/sys/fs/cgroup/memory/memory.limit_in_bytes",
	};
	struct sysinfo info;
	uint64_t bytes = UINT64_MAX;

	if (sysinfo(&info) == 0)
		bytes = ((uint64_t)info.totalram + info.totalswap) * info.mem_unit;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		uint64_t limit = group_limit(paths[i]);

		if (limit < bytes)
			bytes = limit;
	}
	return bytes;
}
