/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Behaviours of chips and registers as one line of text: what a driver in the guest does, what the
 * lines and messages outside do, and what must be seen.  Words, separated by spaces; numbers are
 * hexadecimal, those of pins and lines decimal:
 *
 *   21<ff  21>ff  21>f0/f8     the guest writes a port, reads a byte and expects it (under a mask)
 *   w:21<ffff  w:21>ffff       with 16 bits; l: 32 bits
 *   [fee000f0]<1ff  [..]>1ff   32 bits of memory; b:, w:, q: other sizes
 *   $1b<fee00900  $1b>..       an MSR
 *   $808<100!  $80b!           ... that must end in #GP: a write, a read
 *   cr8<5  cr8>5  cr8<10!      CR8
 *   pic+4 pic-4 pic^4 pic*4    line 4: assert, deassert, pulse; * level-triggered, / edge.  With
 *   io+4 io-4 io^4             an ! behind it: EINVAL.  isa+4 and so on: both, pin and line alike
 *   irq=40 lvt=0 lvtall=0      a vector into the local APIC, an LVT entry by its index
 *   msi=fee00000,41            a message
 *   int=30 int=-               the guest opens interrupts: this vector came, or none
 *   wait=30                    the guest waits with HLT until this one comes
 *   pend=27                    what the PIC's INTA would fetch
 *   acc=27                     ... and fetches
 *   intr=1 ext=1 nmi=0         the PIC's output; INTR and NMI that wait at the vcpu
 *   us=500                     real time passes, microseconds, decimal
 *   in=5000                    what follows holds for so many microseconds only: seen wrong after
 *                              that, it is tried again
 *   rtc=1e100                  sets the RTC's date, in seconds since 1970
 *   @1                         the vcpu for what follows, activated if need be
 */
#ifndef TEST_CONTRACT_SCRIPT_H
#define TEST_CONTRACT_SCRIPT_H

#include "test/contract/contract.h"

struct script_row {
	const char *name;
	const char *words;
};

/* Of a table of script_rows: starts the service guest on vcpu 0 and plays the words. */
void script(void **state);
/* The same with the APICs of all vcpus in x2APIC mode. */
void script_x2apic(void **state);
/* Plays words for a service guest that runs already. */
void play(struct contract *c, const char *words);

#endif
