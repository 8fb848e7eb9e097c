/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "cmd/stats.h"

#include <stdbool.h>
#include <stdio.h>

#include <vmm/vmm.h>
#include <vmm/vmm_dev.h>

static void put_vcpu(FILE *out, struct vm *vm, int id)
{
	char name[VMM_STAT_NAME_LEN];
	bool any = false;
	uint64_t value;

	for (unsigned i = 0; vmmdev_stat(vm, id, i, name, &value) == 0; i++) {
		if (value == 0)
			continue;
		if (!any)
			fprintf(out, "vcpu %d:\n", id);
		any = true;
		fprintf(out, "%20llu  %s\n", (unsigned long long)value, name);
	}
}

char *stats_text(struct vm *vm)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	for (int id = 0; id < VM_MAXCPU; id++)
		put_vcpu(out, vm, id);
	fclose(out);
	return text;
}
