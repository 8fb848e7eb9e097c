/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The vcpu threads. */
#include "machine/assembly.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

#include "backend/backend.h"

/* Whoever looks at a vcpu that waits shall see where it goes on, also after an exit. */
static void show_rip(struct machine_vcpu *v, uint64_t rip)
{
	struct vm *vm = v->machine->vm;
	uint64_t now;

	if (v->entered && vmmdev_get_register(vm, v->id, VM_REG_GUEST_RIP, &now) == 0 && now != rip)
		(void)!vmmdev_set_register(vm, v->id, VM_REG_GUEST_RIP, rip);
	v->entered = true;
}

/*
 * A vcpu that is being reset by another one's startup IPI waits here; it goes on where that one
 * says. Its registers are changed only while it waits or is about to.
 */
static void take_new_rip(struct machine_vcpu *v, uint64_t *rip)
{
	struct machine *m = v->machine;

	if (!atomic_load(&v->summoned))
		return;
	show_rip(v, *rip);
	pthread_mutex_lock(&m->lock);
	vcpu_await_thaw(v);
	if (v->moved) {
		v->moved = false;
		*rip = v->rip;
	}
	atomic_store(&v->summoned, false);
	pthread_mutex_unlock(&m->lock);
}

static void report(struct machine_vcpu *v, int error, uint64_t rip)
{
	char why[224];

	if (backend_explain(v->machine->vm, v->id, why, sizeof(why)))
		machine_fail(v->machine, error, "vcpu %d: %s", v->id, why);
	else
		machine_fail(v->machine, error, "vcpu %d stopped at rip %#llx: %s", v->id,
			(unsigned long long)rip, strerror(error));
}

static void run_until_suspended(struct machine_vcpu *v)
{
	struct vm_run run = {.cpuid = v->id};
	enum exit_next next = EXIT_RESTART;
	bool failed = false;

	while (next != EXIT_SUSPENDED) {
		take_new_rip(v, &run.rip);
		int error = vmmdev_run(v->machine->vm, &run);

		if (error) {
			report(v, error, (uint64_t)run.vm_exit.rip);
			next = EXIT_ABORT;
		} else {
			next = vcpu_handle_exit(v, &run.vm_exit);
			run.rip = run.vm_exit.rip;
			if (next == EXIT_CONTINUE)
				run.rip += (uint64_t)run.vm_exit.inst_length;
		}
		/*
		 * After a failure the VM is suspended, which completes only when all vcpus have
		 * come to vm_run: so once more.
		 */
		if (next == EXIT_ABORT && failed)
			break;
		failed |= next == EXIT_ABORT;
	}
}

static void *vcpu_main(void *arg)
{
	struct machine_vcpu *v = arg;
	struct machine *m = v->machine;
	char name[16];

	/* By itself: another thread's name is a file. */
	snprintf(name, sizeof(name), "hyve-vcpu%d", v->id);
	prctl(PR_SET_NAME, name);
	/* The kernel's default of 50 us would be added to each sleep until the APIC's timer. */
	prctl(PR_SET_TIMERSLACK, 1);
	run_until_suspended(v);
	pthread_mutex_lock(&m->lock);
	m->running--;
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

/* As bhyve sets them; a backend may lack the first two. */
static int set_capabilities(struct machine *m, int id)
{
	static const int wanted[] = {VM_CAP_HALT_EXIT, VM_CAP_ENABLE_INVPCID};
	int error = 0;

	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]) && !error; i++) {
		error = vmmdev_set_capability(m->vm, id, wanted[i], 1);
		if (error == ENOENT)
			error = 0;
	}
	if (!error && m->settings.exit_on_pause)
		error = vmmdev_set_capability(m->vm, id, VM_CAP_PAUSE_EXIT, 1);
	return error;
}

/* The registers are set. The vcpu counts as active before its thread exists. */
static int start_thread(struct machine_vcpu *v)
{
	struct machine *m = v->machine;
	int error = vmmdev_activate_cpu(m->vm, v->id);

	if (error)
		return error;
	pthread_mutex_lock(&m->lock);
	m->running++;
	v->started = true;
	pthread_mutex_unlock(&m->lock);
	error = pthread_create(&v->thread, NULL, vcpu_main, v);
	if (error) {
		pthread_mutex_lock(&m->lock);
		m->running--;
		v->started = false;
		pthread_mutex_unlock(&m->lock);
		return error;
	}
	return 0;
}

/* Its registers are set, but for `error`; v->rip is where it begins. */
static int start_first(struct machine_vcpu *v, int error)
{
	if (!error)
		error = set_capabilities(v->machine, v->id);
	v->moved = true;
	atomic_store(&v->summoned, true);
	return error ? error : start_thread(v);
}

int vcpu_start_boot(struct machine *m)
{
	struct machine_vcpu *v = &m->vcpus[0];

	return start_first(v, vcpu_load_entry(m->vm, 0, &m->entry, &v->rip));
}

/* ACPI 16.3: in real mode, CS:IP from the vector. A ROM looks for it by itself. */
int vcpu_start_woken(struct machine *m)
{
	struct machine_vcpu *v = &m->vcpus[0];
	uint64_t vector = acpi_waking_vector(&m->ram);

	if (m->entry.mode == BOOT_RESET)
		return vcpu_start_boot(m);
	v->rip = vector & 15;
	return start_first(v, vcpu_load_startup(m->vm, 0, vector & ~15ull, v->rip));
}

int vcpu_start_ap(struct machine *m, int id, uint64_t base)
{
	struct machine_vcpu *v = &m->vcpus[id];

	pthread_mutex_lock(&m->lock);
	bool started = v->started;

	v->hold = true;
	atomic_store(&v->summoned, true);
	pthread_mutex_unlock(&m->lock);

	int error = started ? 0 : set_capabilities(m, id);

	if (!error)
		error = vcpu_load_startup(m->vm, id, base, 0);
	pthread_mutex_lock(&m->lock);
	v->hold = false;
	v->moved = true;
	v->rip = 0;
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
	return error || started ? error : start_thread(v);
}
