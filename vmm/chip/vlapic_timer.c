/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The APIC timer: one-shot and periodic on a frequency of its own, and TSC-deadline (SDM
 * 3A 10.5.4).
 *
 * The first two keep the instant of expiry in undivided ticks, so that neither the divider nor a
 * long run of periods accumulates an error.
 */
#include "vmm/chip/ticks.h"
#include "vmm/chip/vlapic_impl.h"

#define TSC_RETRY_NS 1000u

static uint64_t now_ticks(struct vlapic *v)
{
	return ns_to_ticks(vmm_clock_now(v->timer.clock), VLAPIC_TIMER_HZ);
}

/* Encodings 0, 1, 2, 3, 8, 9, a, b divide by 2, 4, 8, 16, 32, 64, 128, 1. */
static unsigned divide_shift(struct vlapic *v)
{
	return ((v->divide & 3) + (v->divide >> 1 & 4) + 1) & 7;
}

static uint64_t period_ticks(struct vlapic *v)
{
	return (uint64_t)v->initial << divide_shift(v);
}

static uint32_t timer_mode(struct vlapic *v)
{
	return v->lvt[VLAPIC_LVT_TIMER] & APIC_LVT_TIMER_MODE;
}

static void disarm(struct vlapic *v)
{
	v->armed = false;
	v->deadline_tsc = 0;
	vmm_timer_stop(&v->timer);
}

static void arm_count(struct vlapic *v)
{
	vmm_timer_set(&v->timer, ticks_to_ns(v->expiry_ticks, VLAPIC_TIMER_HZ));
}

static void start_count(struct vlapic *v)
{
	disarm(v);
	if (v->initial == 0 || timer_mode(v) == APIC_LVT_TIMER_DEADLINE)
		return;
	v->armed = true;
	v->expiry_ticks = now_ticks(v) + period_ticks(v);
	arm_count(v);
}

/* From the timer thread, after `least_ns` at the earliest. */
static void arm_deadline(struct vlapic *v, uint64_t least_ns)
{
	uint64_t tsc = v->guest_tsc(v->guest_tsc_arg);
	uint64_t left = v->deadline_tsc > tsc ? v->deadline_tsc - tsc : 0;
	uint64_t ns = ticks_to_ns(left, v->tsc_hz);

	v->armed = true;
	vmm_timer_set(&v->timer, vmm_clock_now(v->timer.clock) + (ns > least_ns ? ns : least_ns));
}

/*
 * The next period follows the last without drift; after a long delay, periods are lost, not made
 * up.
 */
static void next_period(struct vlapic *v)
{
	uint64_t min_ticks = ns_to_ticks(CHIP_PERIOD_MIN_NS, VLAPIC_TIMER_HZ);
	uint64_t period = period_ticks(v);
	uint64_t now = now_ticks(v);

	if (period < min_ticks)
		period = min_ticks;
	v->expiry_ticks += period;
	if (v->expiry_ticks <= now)
		v->expiry_ticks = now + period;
	arm_count(v);
}

/* True when the timer really is due; a callback can race with a new setting. */
static bool expire(struct vlapic *v)
{
	if (!v->armed)
		return false;
	if (timer_mode(v) == APIC_LVT_TIMER_DEADLINE) {
		if (v->guest_tsc(v->guest_tsc_arg) < v->deadline_tsc) {
			/* The TSC is slower than tsc_hz, or stands still: do not spin on it. */
			arm_deadline(v, TSC_RETRY_NS);
			return false;
		}
		disarm(v);
		return true;
	}
	if (vmm_clock_now(v->timer.clock) < ticks_to_ns(v->expiry_ticks, VLAPIC_TIMER_HZ))
		return false;
	if (timer_mode(v) == APIC_LVT_TIMER_PERIODIC)
		next_period(v);
	else
		v->armed = false;
	return true;
}

static void timer_fired(void *arg)
{
	struct vlapic *v = arg;
	bool due;

	pthread_mutex_lock(&v->lock);
	due = expire(v);
	pthread_mutex_unlock(&v->lock);
	if (due)
		vlapic_fire_lvt(v, VLAPIC_LVT_TIMER);
}

void vlapic_timer_init(struct vlapic *v)
{
	vmm_timer_init(&v->timer, vm_clock(v->vm), timer_fired, v);
}

uint64_t vlapic_timer_take(struct vlapic *v)
{
	return vmm_timer_take(&v->timer);
}

bool vlapic_timer_give_back(struct vlapic *v)
{
	return vmm_timer_give_back(&v->timer);
}

void vlapic_timer_reset(struct vlapic *v)
{
	pthread_mutex_lock(&v->lock);
	disarm(v);
	v->initial = 0;
	v->divide = 0;
	v->lvt[VLAPIC_LVT_TIMER] = APIC_LVT_MASKED;
	pthread_mutex_unlock(&v->lock);
}

void vlapic_timer_set_initial(struct vlapic *v, uint32_t count)
{
	pthread_mutex_lock(&v->lock);
	if (timer_mode(v) != APIC_LVT_TIMER_DEADLINE) {
		v->initial = count;
		start_count(v);
	}
	pthread_mutex_unlock(&v->lock);
}

/* As bhyve, the count that is running ends when it would have. */
void vlapic_timer_set_divide(struct vlapic *v, uint32_t divide)
{
	pthread_mutex_lock(&v->lock);
	v->divide = divide & 0xb;
	pthread_mutex_unlock(&v->lock);
}

/* Going to or from TSC-deadline mode disarms (SDM 3A 10.5.4.1). Mode 3 is reserved: one-shot. */
void vlapic_timer_set_lvt(struct vlapic *v, uint32_t lvt)
{
	uint32_t old;

	if (!v->tsc_hz || (lvt & APIC_LVT_TIMER_MODE) == APIC_LVT_TIMER_MODE)
		lvt &= ~APIC_LVT_TIMER_DEADLINE;
	pthread_mutex_lock(&v->lock);
	old = v->lvt[VLAPIC_LVT_TIMER];
	v->lvt[VLAPIC_LVT_TIMER] = lvt;
	if ((old ^ lvt) & APIC_LVT_TIMER_DEADLINE) {
		disarm(v);
		v->initial = 0;
	}
	pthread_mutex_unlock(&v->lock);
}

uint32_t vlapic_timer_current(struct vlapic *v)
{
	uint64_t now, left = 0, count;

	pthread_mutex_lock(&v->lock);
	now = now_ticks(v);
	if (v->armed && timer_mode(v) != APIC_LVT_TIMER_DEADLINE) {
		if (v->expiry_ticks > now)
			left = v->expiry_ticks - now;
		else if (timer_mode(v) == APIC_LVT_TIMER_PERIODIC && v->initial) /* callback late */
			left = period_ticks(v) - (now - v->expiry_ticks) % period_ticks(v);
	}
	count = (left + (1u << divide_shift(v)) - 1) >> divide_shift(v);
	if (count > v->initial)
		count = v->initial;
	pthread_mutex_unlock(&v->lock);
	return (uint32_t)count;
}

void vlapic_timer_enabled(struct vlapic *v)
{
	pthread_mutex_lock(&v->lock);
	if (timer_mode(v) == APIC_LVT_TIMER_PERIODIC)
		start_count(v);
	pthread_mutex_unlock(&v->lock);
}

void vlapic_timer_disabled(struct vlapic *v)
{
	pthread_mutex_lock(&v->lock);
	disarm(v);
	v->lvt[VLAPIC_LVT_TIMER] |= APIC_LVT_MASKED;
	pthread_mutex_unlock(&v->lock);
}

uint64_t vlapic_timer_deadline(struct vlapic *v)
{
	uint64_t tsc;

	pthread_mutex_lock(&v->lock);
	tsc = v->deadline_tsc;
	pthread_mutex_unlock(&v->lock);
	return tsc;
}

/* A deadline that has passed fires within the write: the next instruction may look for it. */
void vlapic_timer_set_deadline(struct vlapic *v, uint64_t tsc)
{
	bool due = false;

	pthread_mutex_lock(&v->lock);
	if (timer_mode(v) == APIC_LVT_TIMER_DEADLINE) {
		disarm(v);
		due = tsc && tsc <= v->guest_tsc(v->guest_tsc_arg);
		if (tsc && !due) {
			v->deadline_tsc = tsc;
			arm_deadline(v, 0);
		}
	}
	pthread_mutex_unlock(&v->lock);
	if (due)
		vlapic_fire_lvt(v, VLAPIC_LVT_TIMER);
}

void vlapic_set_tsc(struct vlapic *v, uint64_t tsc_hz, uint64_t (*guest_tsc)(void *arg), void *arg)
{
	pthread_mutex_lock(&v->lock);
	v->tsc_hz = tsc_hz;
	v->guest_tsc = guest_tsc;
	v->guest_tsc_arg = arg;
	pthread_mutex_unlock(&v->lock);
}

void vlapic_tsc_changed(struct vlapic *v)
{
	pthread_mutex_lock(&v->lock);
	if (v->armed && timer_mode(v) == APIC_LVT_TIMER_DEADLINE)
		arm_deadline(v, 0);
	pthread_mutex_unlock(&v->lock);
}
