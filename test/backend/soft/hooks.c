/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include <stdio.h>
#include <stdlib.h>

#include "backend/soft/check.h"
#include "backend/soft/soft.h"
#include "test/backend/soft/hooks.h"
#include "vmm/vm.h"

static uint64_t number(const char *name)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : 0;
}

void soft_hooks(struct vm *vm)
{
	struct soft_vm *s = vm->vmi;

	s->lockstep = number("SOFT_LOCKSTEP") != 0;
	s->torture = number("SOFT_TORTURE");
	s->max_insns = (unsigned)number("SOFT_MAX_INSNS");
	if (number("SOFT_CACHE"))
		s->cache_size = (uint32_t)number("SOFT_CACHE");
}

static void show(const char *name, const struct soft_mismatch *m)
{
	char text[160];

	soft_mismatch_state(m, text, sizeof(text));
	fprintf(stderr, "%s: the block at %#llx (mode %#x) differs: %s\n", name,
		(unsigned long long)m->rip, m->mode, text);
	for (unsigned i = 0; i < m->insns; i++) {
		soft_mismatch_insn(m, i, text, sizeof(text));
		fprintf(stderr, "%s %s\n", i == m->first ? "->" : "  ", text);
	}
	if (m->first >= m->insns)
		fprintf(stderr, "   only the whole block shows it\n");
}

bool soft_hooks_mismatch(struct vm *vm, const char *name)
{
	struct soft_vm *s = vm->vmi;
	bool found = false;

	for (int i = 0; i < VM_MAXCPU; i++) {
		const struct soft_mismatch *m = soft_check_mismatch(s->vcpu[i]);

		if (m)
			show(name, m);
		found |= m != NULL;
	}
	return found;
}

void soft_hooks_report(struct vm *vm, const char *name)
{
	struct soft_vm *s = vm->vmi;

	if (s->torture)
		fprintf(stderr, "%s: torture seed %llu\n", name, (unsigned long long)s->torture);
	for (int i = 0; i < VM_MAXCPU; i++) {
		const struct soft_check_stats *st = soft_check_stats(s->vcpu[i]);

		if (!st)
			continue;
		fprintf(stderr,
			"%s: %llu instructions in %llu blocks compared (%llu faults, %llu exits); not: "
			"%llu unrepeatable, %llu too big, %llu interrupted, %llu unstable\n",
			name, (unsigned long long)st->insns, (unsigned long long)st->blocks,
			(unsigned long long)st->faults, (unsigned long long)st->exits,
			(unsigned long long)st->unrepeatable, (unsigned long long)st->too_big,
			(unsigned long long)st->interrupted, (unsigned long long)st->unstable);
	}
	soft_hooks_mismatch(vm, name);
}
