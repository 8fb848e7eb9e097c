/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The local APIC from inside: vlapic.c has the registers, vlapic_intr.c what arrives and is
 * accepted, vlapic_ipi.c what is sent, vlapic_timer.c the timer.  For these files only.
 */
#ifndef VMM_CHIP_VLAPIC_IMPL_H
#define VMM_CHIP_VLAPIC_IMPL_H

#include <pthread.h>

#include <vmm/backend.h>
#include <vmm/clock.h>
#include <vmm/vlapic.h>

/* Register numbers: offset in the page / 16, or MSR - 0x800. */
enum apic_reg {
	APIC_ID = 0x02,
	APIC_VERSION = 0x03,
	APIC_TPR = 0x08,
	APIC_PPR = 0x0a,
	APIC_EOI = 0x0b,
	APIC_LDR = 0x0d,
	APIC_DFR = 0x0e,
	APIC_SVR = 0x0f,
	APIC_ISR = 0x10,
	APIC_TMR = 0x18,
	APIC_IRR = 0x20,
	APIC_ESR = 0x28,
	APIC_LVT_CMCI = 0x2f,
	APIC_ICR_LO = 0x30,
	APIC_ICR_HI = 0x31,
	APIC_LVT_TIMER = 0x32,
	APIC_LVT_THERMAL = 0x33,
	APIC_LVT_PERF = 0x34,
	APIC_LVT_LINT0 = 0x35,
	APIC_LVT_LINT1 = 0x36,
	APIC_LVT_ERROR = 0x37,
	APIC_TIMER_ICR = 0x38,
	APIC_TIMER_CCR = 0x39,
	APIC_TIMER_DCR = 0x3e,
	APIC_SELF_IPI = 0x3f,
};

#define APICBASE_BSP	(1u << 8)
#define APICBASE_EXTD	(1u << 10)
#define APICBASE_ENABLE VLAPIC_BASE_ENABLE

#define APIC_SVR_ENABLE (1u << 8)

#define APIC_ESR_SEND_ILLEGAL	 (1u << 5)
#define APIC_ESR_RECEIVE_ILLEGAL (1u << 6)

#define APIC_LVT_DELMODE(lvt)	(((lvt) >> 8) & 7)
#define APIC_LVT_MASKED		(1u << 16)
#define APIC_LVT_TIMER_MODE	(3u << 17)
#define APIC_LVT_TIMER_PERIODIC (1u << 17)
#define APIC_LVT_TIMER_DEADLINE (2u << 17)

/* Vectors 0..15 are illegal in everything that goes through an APIC. */
#define APIC_VECTOR_MIN 16

/* What an application processor is doing before it runs (SDM 3A 8.4). */
enum boot_state {
	BOOT_RESET, /* powered on; a STARTUP is not heard yet */
	BOOT_WAIT,  /* wait-for-SIPI */
	BOOT_RUN,
};

struct vlapic {
	struct vm *vm;
	int vcpuid;
	bool x2apic_capable;

	/* Written by the vcpu's thread, read by whoever looks for a destination. */
	_Atomic uint64_t apicbase;
	_Atomic uint32_t tpr, ppr, ldr, dfr, svr;
	_Atomic uint32_t lvt[VLAPIC_LVT_COUNT];

	_Atomic uint32_t irr[8], tmr[8]; /* set from any thread */
	_Atomic uint32_t isr[8];
	_Atomic uint32_t esr_latch; /* errors since ESR was last written */
	uint32_t esr;
	uint64_t icr;

	/* STARTUPs sent that still have to become SPINUP_AP exits. Vcpu's thread only. */
	uint32_t spinup_pending;
	uint8_t spinup_vector[VM_MAXCPU];

	pthread_mutex_t lock; /* all below */
	_Atomic int boot;     /* enum boot_state; read without the lock */
	_Atomic int events;   /* bit 1 << enum vlapic_boot_event; read without the lock */
	uint8_t startup_vector;

	struct vmm_timer timer;
	bool armed;
	uint32_t initial;
	uint32_t divide;       /* as the register holds it */
	uint64_t expiry_ticks; /* of VLAPIC_TIMER_HZ, since the clock's start */
	uint64_t deadline_tsc;
	uint64_t tsc_hz; /* 0: no TSC-deadline mode */
	uint64_t (*guest_tsc)(void *arg);
	void *guest_tsc_arg;
};

static inline bool vlapic_is_x2apic(struct vlapic *v)
{
	return v->apicbase & APICBASE_EXTD;
}

/*
 * Everything that INIT resets: not the mode in APICBASE, nor the boot state. v->lock is not held.
 */
void vlapic_init_registers(struct vlapic *v);
/* Recomputes PPR after a change of TPR or ISR. */
void vlapic_update_ppr(struct vlapic *v);
void vlapic_eoi(struct vlapic *v);
/* Fires an entry of the local vector table. */
void vlapic_fire_lvt(struct vlapic *v, enum vlapic_lvt which);
/*
 * INTR of the PIC is a level: after a change of LINT0's path, see whether a request already waits.
 */
void vlapic_sample_lint0(struct vlapic *v);

/* Sends what v->icr says; *retu becomes true on a SPINUP_AP exit. */
void vlapic_send_ipi(struct vlapic *v, bool *retu);

/* The timer's registers; none of these is called with v->lock held. */
void vlapic_timer_init(struct vlapic *v);
void vlapic_timer_reset(struct vlapic *v);
void vlapic_timer_set_initial(struct vlapic *v, uint32_t count);
void vlapic_timer_set_divide(struct vlapic *v, uint32_t divide);
void vlapic_timer_set_lvt(struct vlapic *v, uint32_t lvt);
uint32_t vlapic_timer_current(struct vlapic *v);
/* SVR bit 8 went up: a periodic timer starts over. */
void vlapic_timer_enabled(struct vlapic *v);
/* SVR bit 8 went down. */
void vlapic_timer_disabled(struct vlapic *v);
uint64_t vlapic_timer_deadline(struct vlapic *v);
void vlapic_timer_set_deadline(struct vlapic *v, uint64_t tsc);

#endif
