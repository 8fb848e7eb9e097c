/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* What the two files of the flat guest share. */
#ifndef BENCH_MICRO_MICRO_H
#define BENCH_MICRO_MICRO_H

#define SEL_CODE64 0x08
#define SEL_DATA   0x10
#define SEL_CODE32 0x18

#define VEC_SELF 0x40 /* from the local APIC */
#define VEC_SOFT 0x41 /* INT */
#define VEC_TIMER 0x42 /* the local APIC's timer */

#define CR0_PG	 0x80000000
#define CR4_PAE	 0x20
#define CR4_PCIDE 0x20000
#define MSR_EFER 0xc0000080
#define EFER_LME 0x100

#define LAPIC_EOI (0xfee00000 + 0xb0)

#endif
