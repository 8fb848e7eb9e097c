/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Suspend to RAM (ACPI's S3).  The VM is suspended as for a power-off, so that its vcpus stop and
 * their threads end; memory and device models stay, and the chips run on, of which only the RTC
 * matters.  To wake is to begin anew as after a reset, at the address that the guest has left with
 * firmware.  The RTC's alarm reaches the models by way of the event loop: who sees it first holds
 * the RTC's lock.
 */
#include "machine/assembly.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#include <vmm/vrtc.h>

#include "host/host.h"

void machine_sleep(struct machine *m)
{
	int error;

	pthread_mutex_lock(&m->lock);
	m->asleep = true;
	pthread_mutex_unlock(&m->lock);
	error = vmmdev_suspend(m->vm, VM_SUSPEND_POWEROFF);
	if (!error)
		return;
	/* It is ending already. */
	pthread_mutex_lock(&m->lock);
	m->asleep = m->woken = false;
	pthread_mutex_unlock(&m->lock);
}

/* The model knows of the sleep before we do, so this may come first. */
void machine_wake(struct machine *m)
{
	pthread_mutex_lock(&m->lock);
	m->woken = true;
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
}

bool machine_end_asleep(struct machine *m, enum vm_suspend_how how)
{
	bool was;

	pthread_mutex_lock(&m->lock);
	was = m->asleep;
	if (was) {
		m->asleep = m->woken = false;
		m->ended_asleep = how;
		pthread_cond_broadcast(&m->changed);
	}
	pthread_mutex_unlock(&m->lock);
	return was;
}

bool sleep_until_woken(struct machine *m)
{
	bool woken;

	pthread_mutex_lock(&m->lock);
	while (m->asleep && !m->woken)
		pthread_cond_wait(&m->changed, &m->lock);
	woken = m->asleep;
	if (m->ended_asleep != VM_SUSPEND_NONE)
		m->how = m->ended_asleep;
	pthread_mutex_unlock(&m->lock);
	return woken;
}

/* As firmware leaves them to the guest that it wakes. */
static int begin_chips(struct machine *m)
{
	int error;

	pthread_mutex_lock(&m->lines.lock);
	error = vmmdev_reinit(m->vm);
	if (!error)
		machine_lines_again(m);
	pthread_mutex_unlock(&m->lines.lock);
	if (!error)
		error = machine_set_up_vcpus(m);
	if (!error && m->entry.wants_bios)
		error = bios_set_up_chips(m->vm);
	return error;
}

/* Up to here an end of the machine is one of a sleeping machine. */
static bool awake(struct machine *m)
{
	bool ended;

	pthread_mutex_lock(&m->lock);
	m->asleep = m->woken = false;
	ended = m->ended_asleep != VM_SUSPEND_NONE;
	m->stopping = ended;
	pthread_mutex_unlock(&m->lock);
	return !ended;
}

int sleep_wake(struct machine *m)
{
	int error;

	for (int i = 0; i < VM_MAXCPU; i++) {
		struct machine_vcpu *v = &m->vcpus[i];

		v->hold = v->moved = false;
		atomic_store(&v->summoned, false);
	}
	error = begin_chips(m);
	if (error || !awake(m))
		return error;
	return vcpu_start_woken(m);
}

/* ---- the alarm ---- */

static void on_alarm(void *arg)
{
	struct machine *m = arg;

	for (unsigned i = 0; i < m->ndevices; i++)
		if (m->devices[i].model->event)
			m->devices[i].model->event(m->devices[i].dev, DEVICE_RTC_ALARM);
}

static void alarm_rings(void *arg)
{
	struct machine *m = arg;

	event_timer_set(m->alarm, 0);
}

int sleep_create(struct machine *m)
{
	int error = event_timer_create(m->guest.loop, on_alarm, m, &m->alarm);

	if (!error)
		vrtc_set_alarm_notify(m->vm, alarm_rings, m);
	return error;
}

void sleep_destroy(struct machine *m)
{
	if (!m->alarm)
		return;
	vrtc_set_alarm_notify(m->vm, NULL, NULL);
	event_timer_remove(m->alarm);
}
