/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Time in a chip's own ticks, without drift: chips remember instants in nanoseconds or ticks and
 * convert the whole distance each time, never a rounded period.  For vmm/chip/.
 */
#ifndef VMM_CHIP_TICKS_H
#define VMM_CHIP_TICKS_H

#include <stdint.h>

#define NS_PER_S 1000000000ull

/*
 * No periodic timer interrupts more often than this, whatever the guest programs (a period of one
 * HPET tick is 100 ns): else a guest could keep the timer thread of the host busy forever.
 */
#define CHIP_PERIOD_MIN_NS 20000u

/* Ticks of `hz` that have wholly passed in `ns`. */
static inline uint64_t ns_to_ticks(uint64_t ns, uint64_t hz)
{
	return (uint64_t)((unsigned __int128)ns * hz / NS_PER_S);
}

/* The first nanosecond at which that many ticks have passed; saturates. */
static inline uint64_t ticks_to_ns(uint64_t ticks, uint64_t hz)
{
	unsigned __int128 ns = ((unsigned __int128)ticks * NS_PER_S + hz - 1) / hz;

	return ns > UINT64_MAX / 2 ? UINT64_MAX / 2 : (uint64_t)ns;
}

#endif
