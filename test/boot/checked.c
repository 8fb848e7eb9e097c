/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * checked KERNEL INITRD INSNS SECONDS: boots Linux on the software CPU in the ways of
 * test/backend/soft/hooks.h, until INSNS instructions have been compared or, with 0, until the guest ends.
 * The console is on stdout.  Exit status 1 if something differed, went wrong, or took longer.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "backend/soft/check.h"
#include "backend/soft/soft.h"
#include "machine/machine.h"
#include "test/backend/soft/hooks.h"
#include "vmm/vm.h"

struct watch {
	struct machine *machine;
	uint64_t insns;
	unsigned seconds;
	atomic_bool ended, late;
};

static uint64_t compared(struct machine *m)
{
	const struct soft_vm *s = machine_vm(m)->vmi;
	const struct soft_check_stats *st = soft_check_stats(s->vcpu[0]);

	return st ? *(const volatile uint64_t *)&st->insns : 0;
}

static void *watch(void *arg)
{
	struct watch *w = arg;
	struct timespec tick = { .tv_nsec = 20000000 };
	time_t stop = time(NULL) + (time_t)w->seconds;

	while (!w->ended) {
		nanosleep(&tick, NULL);
		w->late = time(NULL) >= stop;
		if (w->late || (w->insns && compared(w->machine) >= w->insns)) {
			machine_stop(w->machine, VM_SUSPEND_POWEROFF);
			break;
		}
	}
	return NULL;
}

static struct machine *make(char **argv)
{
	const char *const set[][2] = { { "backend", "soft" }, { "cpus", "1" }, { "memory.size", "512M" },
		{ "name", "checked" }, { "lpc.com1.path", "stdio" }, { "kernel.path", argv[1] },
		{ "kernel.initrd", argv[2] }, { "kernel.cmdline", "console=ttyS0 hyve.batch" } };
	struct machine *machine = NULL;
	struct machine_error error = { "settings" };
	struct config *config;
	int code = config_create(&config);

	for (size_t i = 0; i < sizeof(set) / sizeof(set[0]) && !code; i++)
		code = config_set(config, set[i][0], set[i][1]);
	if (code || machine_create(config, &machine, &error)) {
		fprintf(stderr, "checked: %s\n", error.text);
		return NULL;
	}
	config_destroy(config);
	return machine;
}

int main(int argc, char **argv)
{
	struct watch w = { 0 };
	struct machine_error error = { "" };
	enum vm_suspend_how how;
	const struct soft_vm *s;
	pthread_t thread;
	bool good;
	int code;

	if (argc != 5 || !(w.machine = make(argv)))
		return 1;
	w.insns = strtoull(argv[3], NULL, 0);
	w.seconds = (unsigned)atoi(argv[4]);
	soft_hooks(machine_vm(w.machine));
	if (pthread_create(&thread, NULL, watch, &w) != 0)
		return 1;
	code = machine_run(w.machine, &how, &error);
	w.ended = true;
	pthread_join(thread, NULL);
	fprintf(stderr, "\n");
	soft_hooks_report(machine_vm(w.machine), "linux");
	if (code)
		fprintf(stderr, "checked: %s\n", error.text);
	if (w.late)
		fprintf(stderr, "checked: not done after %u s\n", w.seconds);
	s = machine_vm(w.machine)->vmi;
	good = !code && !w.late && !soft_check_mismatch(s->vcpu[0]) &&
	       compared(w.machine) >= w.insns;
	machine_destroy(w.machine);
	return !good;
}
