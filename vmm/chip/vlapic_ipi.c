/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Messages between local APICs: destinations, the interrupt command register, MSI, and the start of
 * application processors (SDM 3A 10.6, 10.11, 8.4; vmm-api.md 10.1.6, 10.1.7, 10.2).
 *
 * Sets of vcpus are bit masks here: VM_MAXCPU is 16.
 */
#include <assert.h>

#include "vmm/chip/vlapic_impl.h"

#define ALL_CPUS ((1u << VM_MAXCPU) - 1)
static_assert(VM_MAXCPU <= 16, "masks and x2APIC clusters");

#define ICR_VECTOR(icr)	     ((int)((icr)&0xff))
#define ICR_DELMODE(icr)     ((int)((icr) >> 8 & 7))
#define ICR_LOGICAL(icr)     ((bool)((icr) >> 11 & 1))
#define ICR_SHORTHAND(icr)   ((int)((icr) >> 18 & 3))
#define ICR_ASSERT	     (1u << 14)
#define ICR_LEVEL	     (1u << 15)
#define ICR_XAPIC_DEST(icr)  ((uint32_t)((icr) >> 56))
#define ICR_X2APIC_DEST(icr) ((uint32_t)((icr) >> 32))

enum { SHORTHAND_NONE, SHORTHAND_SELF, SHORTHAND_ALL, SHORTHAND_OTHERS };

/* DFR bits 31:28. */
enum { DFR_CLUSTER = 0x0, DFR_FLAT = 0xf };

/* What a message says about its receivers. */
struct destination {
	uint32_t id;
	bool logical;
	bool wide; /* 32-bit format of x2APIC mode, else 8 bits */
};

static bool matches_logical(struct vlapic *v, const struct destination *dest)
{
	uint32_t ldr = v->ldr, cluster, members;
	unsigned bits = dest->wide ? 16 : 4;

	if (v->dfr >> 28 == DFR_FLAT)
		return ldr >> 24 & dest->id;
	if (v->dfr >> 28 != DFR_CLUSTER)
		return false;
	if (vlapic_is_x2apic(v)) {
		cluster = ldr >> 16;
		members = ldr & 0xffff;
	} else {
		cluster = ldr >> 28;
		members = ldr >> 24 & 0xf;
	}
	return dest->id >> bits == cluster && (dest->id & ((1u << bits) - 1) & members);
}

/* The receivers; `everybody`: what a broadcast reaches. */
static uint32_t match(struct vm *vm, const struct destination *dest, uint32_t everybody)
{
	uint32_t mask = 0;

	if (dest->id == (dest->wide ? UINT32_MAX : 0xff))
		return everybody;
	if (!dest->logical)
		return dest->id < VM_MAXCPU ? 1u << vm_apicid2vcpuid(vm, (int)dest->id) : 0;
	for (int i = 0; i < VM_MAXCPU; i++) {
		if (everybody & 1u << i && matches_logical(vm_lapic(vm, i), dest))
			mask |= 1u << i;
	}
	return mask;
}

/*
 * Of those that would take an interrupt, the one with the lowest task priority; the first of
 * equals.
 */
static uint32_t lowest_priority(struct vm *vm, uint32_t mask)
{
	uint32_t lowest = UINT32_MAX, winner = 0;

	for (int i = 0; i < VM_MAXCPU; i++) {
		struct vlapic *v = vm_lapic(vm, i);

		if (!(mask & 1u << i) || !vlapic_enabled(v) || v->tpr >> 4 >= lowest)
			continue;
		lowest = v->tpr >> 4;
		winner = 1u << i;
	}
	return winner;
}

static void deliver_one(struct vm *vm, int vcpuid, bool level, int delmode, int vector)
{
	struct vlapic *v = vm_lapic(vm, vcpuid);

	switch (delmode) {
	case APIC_DELMODE_FIXED:
	case APIC_DELMODE_LOWEST:
		if (vlapic_set_intr_ready(v, vector, level))
			vcpu_notify_event(vm, vcpuid, true);
		break;
	case APIC_DELMODE_NMI:
		if (!vlapic_waits_for_sipi(v))
			vm_inject_nmi(vm, vcpuid);
		break;
	case APIC_DELMODE_EXTINT:
		vm_inject_extint(vm, vcpuid);
		break;
	default:
		break;
	}
}

static void deliver(struct vm *vm, uint32_t mask, bool level, int delmode, int vector)
{
	if (delmode == APIC_DELMODE_LOWEST)
		mask = lowest_priority(vm, mask);
	for (int i = 0; i < VM_MAXCPU; i++) {
		if (mask & 1u << i)
			deliver_one(vm, i, level, delmode, vector);
	}
}

void vlapic_deliver_intr(
	struct vm *vm, bool level, uint32_t dest, bool physical, int delmode, int vector)
{
	const struct destination to = {.id = dest & 0xff, .logical = !physical};

	deliver(vm, match(vm, &to, vm_active_mask(vm)), level, delmode, vector);
}

/* Only the redirection hint makes the destination mode count (vmm-api.md 10.2). */
int lapic_intr_msi(struct vm *vm, uint64_t addr, uint64_t msg)
{
	bool logical = (addr & 0xc) == 0xc;

	if (addr >> 20 != 0xfee)
		return -1;
	vlapic_deliver_intr(
		vm, false, addr >> 12 & 0xff, !logical, (int)(msg >> 8 & 7), (int)(msg & 0xff));
	return 0;
}

static struct destination icr_destination(struct vlapic *v)
{
	bool wide = vlapic_is_x2apic(v);

	return (struct destination){
		.id = wide ? ICR_X2APIC_DEST(v->icr) : ICR_XAPIC_DEST(v->icr),
		.logical = ICR_LOGICAL(v->icr),
		.wide = wide,
	};
}

/* `everybody`: the vcpus that exist for this kind of message. */
static uint32_t icr_targets(struct vlapic *v, uint32_t everybody)
{
	const struct destination dest = icr_destination(v);
	uint32_t self = 1u << v->vcpuid;

	switch (ICR_SHORTHAND(v->icr)) {
	case SHORTHAND_NONE:
		return match(v->vm, &dest, everybody);
	case SHORTHAND_SELF:
		return self;
	case SHORTHAND_ALL:
		return everybody;
	default:
		return everybody & ~self;
	}
}

/*
 * INIT to a processor that runs resets it, in its own thread; one that was never started begins to
 * listen for a STARTUP.  The BSP does not wait: it starts over at the reset vector.
 */
static void receive_init(struct vlapic *target, bool active)
{
	pthread_mutex_lock(&target->lock);
	target->boot = target->vcpuid == 0 ? BOOT_RUN : BOOT_WAIT;
	target->events = active ? 1 << VLAPIC_BOOT_INIT : 0;
	pthread_mutex_unlock(&target->lock);
	if (active)
		vcpu_notify_event(target->vm, target->vcpuid, false);
}

/*
 * True when the user has to bring the vcpu to life. The customary second STARTUP finds it running.
 */
static bool receive_startup(struct vlapic *target, bool active, uint8_t vector)
{
	bool waited;

	pthread_mutex_lock(&target->lock);
	waited = target->boot == BOOT_WAIT;
	if (waited) {
		target->boot = BOOT_RUN;
		target->startup_vector = vector;
		if (active)
			target->events |= 1 << VLAPIC_BOOT_STARTUP;
	}
	pthread_mutex_unlock(&target->lock);
	if (waited && active)
		vcpu_notify_event(target->vm, target->vcpuid, false);
	return waited && !active;
}

static void send_init(struct vlapic *v)
{
	uint32_t active = vm_active_mask(v->vm);
	uint32_t targets = icr_targets(v, ALL_CPUS);

	/* The de-assert that followed INIT on the 82489DX and P6 means nothing any more. */
	if ((v->icr & ICR_LEVEL) && !(v->icr & ICR_ASSERT))
		return;
	for (int i = 0; i < VM_MAXCPU; i++) {
		if (targets & 1u << i)
			receive_init(vm_lapic(v->vm, i), active & 1u << i);
	}
}

static void send_startup(struct vlapic *v, bool *retu)
{
	uint32_t active = vm_active_mask(v->vm);
	uint32_t targets = icr_targets(v, ALL_CPUS);
	uint8_t vector = (uint8_t)ICR_VECTOR(v->icr);

	for (int i = 0; i < VM_MAXCPU; i++) {
		if (!(targets & 1u << i) ||
			!receive_startup(vm_lapic(v->vm, i), active & 1u << i, vector))
			continue;
		v->spinup_pending |= 1u << i;
		v->spinup_vector[i] = vector;
	}
	if (vlapic_next_spinup(v))
		*retu = true;
}

static void count_ipis(struct vlapic *v, uint32_t targets)
{
	for (int i = 0; i < VM_MAXCPU; i++)
		if (targets & 1u << i)
			vmm_stat_incr(v->vm, v->vcpuid, VMM_STAT_IPIS_SENT + i, 1);
}

void vlapic_send_ipi(struct vlapic *v, bool *retu)
{
	int delmode = ICR_DELMODE(v->icr), shorthand = ICR_SHORTHAND(v->icr);
	int vector = ICR_VECTOR(v->icr);
	uint32_t targets;

	switch (delmode) {
	case APIC_DELMODE_FIXED:
	case APIC_DELMODE_LOWEST:
		if (vector < APIC_VECTOR_MIN) {
			vlapic_set_error(v, APIC_ESR_SEND_ILLEGAL);
			return;
		}
		/* fall through */
	case APIC_DELMODE_NMI:
		targets = icr_targets(v, vm_active_mask(v->vm));
		count_ipis(v, targets);
		deliver(v->vm, targets, false, delmode, vector);
		return;
	case APIC_DELMODE_INIT:
	case APIC_DELMODE_STARTUP:
		/* Not with a shorthand that includes the sender (SDM 3A table 10-3). */
		if (shorthand == SHORTHAND_SELF || shorthand == SHORTHAND_ALL)
			return;
		if (delmode == APIC_DELMODE_INIT)
			send_init(v);
		else
			send_startup(v, retu);
		return;
	default: /* SMI, and the reserved modes: nothing is sent */
		return;
	}
}

bool vlapic_next_spinup(struct vlapic *v)
{
	struct vm_exit *exit = vm_exitinfo(v->vm, v->vcpuid);
	int target;

	if (!v->spinup_pending)
		return false;
	target = __builtin_ctz(v->spinup_pending);
	v->spinup_pending &= v->spinup_pending - 1;
	exit->exitcode = VM_EXITCODE_SPINUP_AP;
	exit->u.spinup_ap.vcpu = target;
	exit->u.spinup_ap.rip = (uint64_t)v->spinup_vector[target] << 12;
	return true;
}

bool vlapic_boot_event_pending(struct vlapic *v)
{
	return v->events;
}

bool vlapic_waits_for_sipi(struct vlapic *v)
{
	return v->boot == BOOT_WAIT;
}

enum vlapic_boot_event vlapic_take_boot_event(struct vlapic *v, uint8_t *vector)
{
	enum vlapic_boot_event event = VLAPIC_BOOT_NONE;

	pthread_mutex_lock(&v->lock);
	if (v->events & 1 << VLAPIC_BOOT_INIT)
		event = VLAPIC_BOOT_INIT;
	else if (v->events & 1 << VLAPIC_BOOT_STARTUP)
		event = VLAPIC_BOOT_STARTUP;
	v->events &= ~(1 << event);
	*vector = v->startup_vector;
	pthread_mutex_unlock(&v->lock);
	if (event == VLAPIC_BOOT_INIT)
		vlapic_init_registers(v);
	return event;
}
