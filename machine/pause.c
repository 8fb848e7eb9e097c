/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Holding the guest still.  A vcpu's thread looks at `summoned` before each vmmdev_run, and waits
 * in vcpu_await_thaw() while the machine is frozen; whoever freezes it brings the others out of the
 * guest and waits until all threads are there.  Its vcpus are nobody's then: their registers can
 * be read and set.
 *
 * Only the processors stand still.  Devices, timers and the guest's clocks go on, as for a
 * processor that is in SMM for long; what comes up waits for the vcpus.
 */
#include "machine/assembly.h"

#include <errno.h>
#include <stdatomic.h>
#include <time.h>

static uint64_t monotonic_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

void pause_init(struct machine *m)
{
	pthread_condattr_t monotonic;

	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	m->born_ns = monotonic_ns();
}

void pause_end(struct machine *m)
{
	pthread_mutex_lock(&m->lock);
	m->stopping = true;
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
}

void vcpu_await_thaw(struct machine_vcpu *v)
{
	struct machine *m = v->machine;

	m->parked++;
	pthread_cond_broadcast(&m->changed);
	while (v->hold || (m->freezers > 0 && !m->stopping))
		pthread_cond_wait(&m->changed, &m->lock);
	m->parked--;
}

/* The lock is held. What comes to no exit by itself is made to. */
static void summon_all(struct machine *m)
{
	for (int i = 0; i < VM_MAXCPU; i++) {
		if (!m->vcpus[i].started)
			continue;
		atomic_store(&m->vcpus[i].summoned, true);
		vm_vcpu_yield(m->vm, i);
	}
}

int machine_freeze(struct machine *m, unsigned limit_ms)
{
	uint64_t until_ns = monotonic_ns() + limit_ms * 1000000ull;
	const struct timespec until = {
		.tv_sec = (time_t)(until_ns / 1000000000),
		.tv_nsec = (long)(until_ns % 1000000000),
	};
	int error = 0;

	pthread_mutex_lock(&m->lock);
	if (m->freezers++ == 0)
		summon_all(m);
	while (m->parked < m->running && !m->stopping && !error)
		error = pthread_cond_timedwait(&m->changed, &m->lock, &until);
	if (m->stopping)
		error = ESHUTDOWN;
	if (error && --m->freezers == 0)
		pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
	return error;
}

void machine_thaw(struct machine *m)
{
	pthread_mutex_lock(&m->lock);
	if (--m->freezers == 0)
		pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
}

static bool set_paused(struct machine *m, bool paused)
{
	pthread_mutex_lock(&m->lock);
	bool was = m->paused;

	m->paused = paused;
	pthread_mutex_unlock(&m->lock);
	return was;
}

int machine_pause(struct machine *m, unsigned limit_ms)
{
	if (set_paused(m, true))
		return EALREADY;
	int error = machine_freeze(m, limit_ms);

	if (error)
		set_paused(m, false);
	return error;
}

int machine_resume(struct machine *m)
{
	if (!set_paused(m, false))
		return EALREADY;
	machine_thaw(m);
	return 0;
}

int machine_set_rip(struct machine *m, int vcpu, uint64_t rip)
{
	/* For whoever looks, until the vcpu has gone on. */
	int error = vmmdev_set_register(m->vm, vcpu, VM_REG_GUEST_RIP, rip);

	if (error)
		return error;
	struct machine_vcpu *v = &m->vcpus[vcpu];

	pthread_mutex_lock(&m->lock);
	v->rip = rip;
	v->moved = true;
	atomic_store(&v->summoned, true);
	if (v->started)
		vm_vcpu_yield(m->vm, vcpu);
	pthread_mutex_unlock(&m->lock);
	return 0;
}

void machine_facts(struct machine *m, struct machine_facts *facts)
{
	pthread_mutex_lock(&m->lock);
	const bool paused = m->paused, stopping = m->stopping;

	pthread_mutex_unlock(&m->lock);
	*facts = (struct machine_facts){
		.name = m->settings.name,
		.backend = vm_ops(m->vm)->name,
		.state = stopping ? MACHINE_STOPPING
			 : paused ? MACHINE_PAUSED
				  : MACHINE_RUNNING,
		.ncpus = m->settings.ncpus,
		.memory = m->settings.memory,
		.low = m->ram.low_size,
		.high = m->ram.high_size,
		.uptime_ns = monotonic_ns() - m->born_ns,
	};
}

/* ---- counters of devices ---- */

struct emitter {
	const char *device;
	machine_counter_t emit;
	void *arg;
};

static void emit_counter(void *arg, const char *name, uint64_t value)
{
	const struct emitter *e = arg;

	e->emit(e->arg, e->device, name, value);
}

void machine_device_counters(struct machine *m, machine_counter_t emit, void *arg)
{
	for (unsigned i = 0; i < m->ndevices; i++) {
		const struct machine_device *d = &m->devices[i];
		struct emitter e = {d->unit->name, emit, arg};

		if (d->dev && d->model->stats)
			d->model->stats(d->dev, emit_counter, &e);
	}
}
