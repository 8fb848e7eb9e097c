/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The local APIC of one vcpu (SDM 3A chapter 10; vmm-api.md 10.1, 10.2): xAPIC page, x2APIC MSRs,
 * timer, inter-processor and message-signalled interrupts.  For the core and backends.
 *
 * Threads: registers are accessed by the vcpu's own thread.  Raising an interrupt, and whatever is
 * marked "any thread", is safe from everywhere; it may end in vcpu_notify_event() and so takes the
 * vcpu lock of the target, but no lock of a vlapic is held then.
 */
#ifndef VMM_VLAPIC_H
#define VMM_VLAPIC_H

#include <stdbool.h>
#include <stdint.h>
#include <vmm/vmm.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* The timer's input frequency before the divider, 2^27 Hz as bhyve's. */
#define VLAPIC_TIMER_HZ (1ull << 27)

#define MSR_APICBASE	 0x1b
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_X2APIC_FIRST 0x800
#define MSR_X2APIC_LAST	 0xbff

/* Pins and internal sources of the local vector table, as lapic_set_local_intr() names them. */
enum vlapic_lvt {
	VLAPIC_LVT_LINT0,
	VLAPIC_LVT_LINT1,
	VLAPIC_LVT_TIMER,
	VLAPIC_LVT_ERROR,
	VLAPIC_LVT_PERF,
	VLAPIC_LVT_THERMAL,
	VLAPIC_LVT_CMCI,
	VLAPIC_LVT_COUNT
};

/* In its power-on state, with the timer on vm_clock(vm). NULL on ENOMEM. */
struct vlapic *vlapic_create(struct vm *vm, int vcpuid);
/*
 * Drains the timer. The vcpu no longer runs and nobody raises interrupts any more. NULL is allowed.
 */
void vlapic_destroy(struct vlapic *vlapic);
/* The power-on state again; the vcpu does not run. The x2APIC capability stays. */
void vlapic_reset(struct vlapic *vlapic);

/*
 * Gives the APIC the guest's time-stamp counter, which makes TSC-deadline mode available (offer
 * CPUID.1:ECX[24] only then).  `tsc_hz`: its frequency; `guest_tsc(arg)`: its value now, called
 * from any thread with the lock of this APIC held, so it takes no locks.  Before the vcpu first
 * runs.
 */
void vlapic_set_tsc(
	struct vlapic *vlapic, uint64_t tsc_hz, uint64_t (*guest_tsc)(void *arg), void *arg);
/* The guest's TSC was written or its offset changed: a pending deadline moves. Vcpu's thread. */
void vlapic_tsc_changed(struct vlapic *vlapic);

/*
 * Access to the xAPIC page.  Always 0: an access of an odd size or offset, and any access while the
 * page is not decoded (x2APIC mode, or globally disabled), reads all ones and is not written.
 * `arg` points to a bool that becomes true when the access ended in an exit to the user, which then
 * stands in vm_exitinfo() with its code (SPINUP_AP).  `size` is in bytes.  Vcpu's thread.
 */
int vlapic_mmio_read(struct vm *vm, int vcpuid, uint64_t gpa, uint64_t *value, int size, void *arg);
int vlapic_mmio_write(struct vm *vm, int vcpuid, uint64_t gpa, uint64_t value, int size, void *arg);

/* True for APICBASE, TSC_DEADLINE and 0x800..0xbff. */
bool vlapic_owns_msr(uint32_t msr);
/*
 * 0; EPERM: the guest gets #GP(0); ENOENT: not an MSR of this APIC.  `retu` as `arg` above.  Vcpu's
 * thread.
 */
int vlapic_rdmsr(struct vlapic *vlapic, uint32_t msr, uint64_t *value);
int vlapic_wrmsr(struct vlapic *vlapic, uint32_t msr, uint64_t value, bool *retu);

/* CR8, the task priority's class. set: 0, or EPERM (raise #GP) when a bit above 3 is set. */
uint64_t vlapic_get_cr8(struct vlapic *vlapic);
int vlapic_set_cr8(struct vlapic *vlapic, uint64_t value);

#define VLAPIC_BASE_ENABLE (1u << 11) /* in what it returns: the APIC is there */
uint64_t vlapic_get_apicbase(struct vlapic *vlapic);
/* Globally enabled in APICBASE and software-enabled in SVR. Any thread. */
bool vlapic_enabled(struct vlapic *vlapic);
/* vm_set_x2apic_state() for one vcpu, before it runs (vmm-api.md 11.5). */
void vlapic_set_x2apic_state(struct vlapic *vlapic, enum x2apic_state state);

/* True, and the vector, when an interrupt is above the processor priority. `vector` may be NULL. */
bool vlapic_pending_intr(struct vlapic *vlapic, int *vector);
/* `vector`, which vlapic_pending_intr() offered, is being injected: IRR to ISR. Vcpu's thread. */
void vlapic_intr_accepted(struct vlapic *vlapic, int vector);
/*
 * Puts a vector into IRR, and its trigger mode into TMR.  True when the vcpu should be notified; a
 * disabled APIC drops it.  Any thread.
 */
bool vlapic_set_intr_ready(struct vlapic *vlapic, int vector, bool level);
/* Latches ESR bits and raises the error LVT. Any thread. */
void vlapic_set_error(struct vlapic *vlapic, uint32_t esr_bits);

/* Sets a vector and notifies. EINVAL: no such vcpu, or a vector outside 16..255. Any thread. */
int lapic_set_intr(struct vm *vm, int vcpuid, int vector, bool level);
/*
 * Triggers a local interrupt (enum vlapic_lvt) of a vcpu, or of all active ones if -1. Any thread.
 */
int lapic_set_local_intr(struct vm *vm, int vcpuid, int lvt);
/*
 * A message-signalled interrupt. -1 if `addr` is not in 0xfee00000..0xfeefffff, else 0. Any thread.
 */
int lapic_intr_msi(struct vm *vm, uint64_t addr, uint64_t msg);
/*
 * What an I/O APIC or MSI sends: `dest` in the 8-bit format, physical or logical.  Modes FIXED,
 * LOWEST, NMI and EXTINT are delivered, others dropped.  Any thread; may hold the lock of the
 * vioapic or vhpet.
 */
void vlapic_deliver_intr(
	struct vm *vm, bool level, uint32_t dest, bool physical, int delmode, int vector);

/* Delivery modes of ICR, LVT, redirection entries and MSI data. */
enum apic_delmode {
	APIC_DELMODE_FIXED,
	APIC_DELMODE_LOWEST,
	APIC_DELMODE_SMI,
	APIC_DELMODE_RESERVED,
	APIC_DELMODE_NMI,
	APIC_DELMODE_INIT,
	APIC_DELMODE_STARTUP,
	APIC_DELMODE_EXTINT,
};

/*
 * Starting and restarting processors.
 *
 * A STARTUP IPI to a vcpu that waits for it and is not active makes a SPINUP_AP exit of the sender.
 * One IPI can start several vcpus, an exit names one: before it enters the guest again the sender's
 * vm_run asks vlapic_next_spinup(), which fills vm_exitinfo() with the next one.  The user ignores
 * vcpus that it does not have.
 *
 * INIT and STARTUP to an active vcpu never reach the user: they become events of the target, whose
 * run loop takes them, resets the CPU on INIT, sleeps while it waits, and starts at `vector` on
 * STARTUP.
 */
enum vlapic_boot_event {
	VLAPIC_BOOT_NONE,
	VLAPIC_BOOT_INIT,    /* reset the CPU as by INIT; the APIC has been; the BSP goes on at the
				reset vector */
	VLAPIC_BOOT_STARTUP, /* CS = vector << 8 with base vector << 12, RIP = 0 */
};

/* Sender's vcpu thread. True: vm_exitinfo() holds another SPINUP_AP. */
bool vlapic_next_spinup(struct vlapic *vlapic);
/*
 * vmm_timer_take() and vmm_timer_give_back() of its timer. The vcpu's thread, holding nothing.
 */
uint64_t vlapic_timer_take(struct vlapic *vlapic);
bool vlapic_timer_give_back(struct vlapic *vlapic);
/* Lock-free; any thread, also with the vcpu lock held. */
bool vlapic_boot_event_pending(struct vlapic *vlapic);
/* INIT was taken and no STARTUP came yet: no guest code may run. As above. */
bool vlapic_waits_for_sipi(struct vlapic *vlapic);
/* Target's vcpu thread, no locks held: takes the oldest event, and the vector of a STARTUP. */
enum vlapic_boot_event vlapic_take_boot_event(struct vlapic *vlapic, uint8_t *vector);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
