/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Waking on time. For who sleeps until a guest's timer is due: vmm/clock.c and vmm/idle.c.
 *
 * A host's sleep ends late: its own timer interrupt, the way out of the idle state, the scheduler;
 * tens of microseconds where the host is itself a virtual machine.  So a sleeper asks to be woken
 * earlier, by as much as its sleeps have lately been too long, and spins for the rest.  What it
 * follows is the lateness that four of five sleeps do not exceed.  The spin has a bound, and a host
 * so busy that its sleeps end much later than that is not spun on at all: there is nothing to be
 * gained, and somebody else needs the core.
 */
#ifndef VMM_LEAD_H
#define VMM_LEAD_H

#include <stdint.h>

#define VMM_LEAD_MAX_NS	 50000u
#define VMM_LEAD_BUSY_NS 250000u
#define VMM_LEAD_UP_NS	 2000u
#define VMM_LEAD_DOWN_NS (VMM_LEAD_UP_NS / 4)

/* Zeroed at first; its sleeper's own. */
struct vmm_lead {
	uint32_t ns;
};

/* Until when to sleep for a deadline. */
static inline uint64_t vmm_lead_wake(const struct vmm_lead *lead, uint64_t deadline_ns)
{
	return deadline_ns > lead->ns ? deadline_ns - lead->ns : 0;
}

/* A sleep that was to end at `wake_ns` has ended by itself, at `now_ns`. */
static inline void vmm_lead_learn(struct vmm_lead *lead, uint64_t wake_ns, uint64_t now_ns)
{
	uint64_t late_ns = now_ns > wake_ns ? now_ns - wake_ns : 0;

	if (late_ns > VMM_LEAD_BUSY_NS)
		lead->ns -= lead->ns / 4;
	else if (late_ns > lead->ns)
		lead->ns += VMM_LEAD_UP_NS;
	else if (lead->ns > VMM_LEAD_DOWN_NS)
		lead->ns -= VMM_LEAD_DOWN_NS;
	if (lead->ns > VMM_LEAD_MAX_NS)
		lead->ns = VMM_LEAD_MAX_NS;
}

/* A step of the spin: a microsecond or less. */
static inline void vmm_lead_pause(void)
{
	for (int i = 0; i < 16; i++)
		__builtin_ia32_pause();
}

#endif
