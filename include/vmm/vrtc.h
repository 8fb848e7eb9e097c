/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The MC146818 real-time clock and its 128 bytes of CMOS RAM.  For the core and the machine.  IRQ 8
 * on both interrupt controllers.  Any thread.
 *
 * The clock starts at the host's wall-clock time, UTC, and then counts guest time: later steps of
 * the host's clock do not reach the guest.
 */
#ifndef VMM_VRTC_H
#define VMM_VRTC_H

#include <stdbool.h>
#include <stdint.h>
#include <vmm/vmm.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

#define VRTC_NVRAM_SIZE 128
#define VRTC_CENTURY	0x32 /* CMOS byte of the century, for the FADT */

/* NULL on ENOMEM. */
struct vrtc *vrtc_init(struct vm *vm);
/* Drains the timers; before the PIC and the I/O APIC go. NULL is allowed. */
void vrtc_cleanup(struct vrtc *vrtc);
/* What a system reset does: interrupts off and acknowledged; time, alarm and RAM stay. */
void vrtc_reset(struct vrtc *vrtc);

/* What the battery keeps, to carry over vm_reinit() into a new vrtc on the same clock. */
struct vrtc_state {
	uint8_t cmos[VRTC_NVRAM_SIZE];
	int64_t secs;	  /* the date as seconds since 1970 at base_ns */
	uint64_t base_ns; /* of vm_clock() */
	bool valid; /* false: the guest left an impossible date in `cmos`, which stands still */
	void (*alarm_fn)(void *arg); /* vrtc_set_alarm_notify() */
	void *alarm_arg;
};
void vrtc_save(struct vrtc *vrtc, struct vrtc_state *state);
/* With a vrtc_reset(). */
void vrtc_restore(struct vrtc *vrtc, const struct vrtc_state *state);

/* The date, in seconds since 1970 read as UTC. get: -1 if the guest left an impossible date. */
int64_t vrtc_get_time(struct vm *vm);
/* EINVAL: before 1970 or after 9999. */
int vrtc_set_time(struct vm *vm, int64_t secs);
/* Sets the date to the host's, as UTC or in the host's time zone. */
void vrtc_set_host_time(struct vm *vm, bool localtime);

/*
 * `fn` is called when the alarm's interrupt comes up, on whatever thread sees it, with the RTC's lock
 * held: it may wake somebody, and call nothing of the VM.  NULL: nobody.  Stays over vm_reinit().  Any
 * thread; afterwards the one before is not called any more.
 */
void vrtc_set_alarm_notify(struct vm *vm, void (*fn)(void *arg), void *arg);

/* CMOS bytes that are no clock registers. EINVAL: offset outside 14..127, or the century. */
int vrtc_nvram_read(struct vm *vm, int offset, uint8_t *value);
int vrtc_nvram_write(struct vm *vm, int offset, uint8_t value);
/*
 * Describes memory to firmware where a PC's BIOS leaves it (0x15-0x18, 0x30, 0x31, 0x34, 0x35,
 * 0x5b-0x5d) and updates the checksum.  `below_4g` and `above_4g`: bytes of RAM.
 */
void vrtc_set_memory(struct vm *vm, uint64_t below_4g, uint64_t above_4g);

/* PC_RTC_INDEX and PC_RTC_DATA; accesses wider than a byte read all ones. Always 0. */
int vrtc_addr_handler(struct vm *vm, int vcpuid, bool in, int port, int bytes, uint32_t *val);
int vrtc_data_handler(struct vm *vm, int vcpuid, bool in, int port, int bytes, uint32_t *val);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
