/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* A virtual machine from creation through reinit to destruction (vmm-api.md 5). */
#include <stdlib.h>

#include <vmm/vatpic.h>
#include <vmm/vatpit.h>
#include <vmm/vhpet.h>
#include <vmm/vioapic.h>
#include <vmm/vlapic.h>
#include <vmm/vpmtmr.h>
#include <vmm/vrtc.h>

#include "vmm/vm.h"
#include "x86/x86.h"

/* ---- Chips, in the order that reinit and destroy need ---- */

/*
 * The timers of PIT, HPET and RTC are drained before the controllers that they raise lines of go.
 */
static void chips_cleanup(struct vm *vm)
{
	vpmtmr_cleanup(vm->vpmtmr);
	vrtc_cleanup(vm->vrtc);
	vatpit_cleanup(vm->vatpit);
	vhpet_cleanup(vm->vhpet);
	vatpic_cleanup(vm->vatpic);
	vioapic_cleanup(vm->vioapic);
	vm->vpmtmr = NULL;
	vm->vrtc = NULL;
	vm->vatpit = NULL;
	vm->vhpet = NULL;
	vm->vatpic = NULL;
	vm->vioapic = NULL;
}

/* vhpet asks vioapic for its pins, so that one comes first. */
static int chips_init(struct vm *vm)
{
	if ((vm->vioapic = vioapic_init(vm)) == NULL || (vm->vhpet = vhpet_init(vm)) == NULL ||
		(vm->vatpic = vatpic_init(vm)) == NULL || (vm->vatpit = vatpit_init(vm)) == NULL ||
		(vm->vrtc = vrtc_init(vm)) == NULL || (vm->vpmtmr = vpmtmr_init(vm)) == NULL)
		return ENOMEM;
	return 0;
}

struct vlapic *vlapic_generic_init(struct vm *vm, int vcpuid)
{
	return vlapic_create(vm, vcpuid);
}

void vlapic_generic_cleanup(struct vlapic *vlapic)
{
	vlapic_destroy(vlapic);
}

/* ---- The state shared by create and reinit ---- */

static int vcpu_init(struct vm *vm, int vcpuid)
{
	struct vcpu *vcpu = &vm->vcpu[vcpuid];

	vcpu->vlapic = vm->ops->vlapic_init(vm->vmi, vcpuid);
	if (vcpu->vlapic == NULL)
		return ENOMEM;
	atomic_store(&vcpu->x2apic, X2APIC_DISABLED);
	vcpu_event_reset(vcpu);
	vcpu->has_run = false;
	vcpu->halted = false;
	vcpu->spinup.pending = false;
	vcpu->last_hostcpu = -1;
	memset(&vcpu->exitinfo, 0, sizeof(vcpu->exitinfo));
	vm_msr_init(vm, vcpuid);
	vm_stat_reset(vcpu);
	return 0;
}

static void state_cleanup(struct vm *vm)
{
	vm_await_kickers(vm);
	chips_cleanup(vm);
	for (int i = 0; i < VM_MAXCPU; i++) {
		if (vm->vcpu[i].vlapic != NULL)
			vm->ops->vlapic_cleanup(vm->vmi, vm->vcpu[i].vlapic);
		vm->vcpu[i].vlapic = NULL;
	}
	if (vm->vmi != NULL)
		vm->ops->vmcleanup(vm->vmi);
	vm->vmi = NULL;
}

static int state_init(struct vm *vm)
{
	int error;

	vm->vmi = vm->ops->vminit(vm, vmspace_pmap(vm->vmspace));
	if (vm->vmi == NULL)
		return ENOMEM;
	error = chips_init(vm);
	atomic_store(&vm->active, 0);
	__atomic_store_n(&vm->suspend, VM_SUSPEND_NONE, __ATOMIC_SEQ_CST);
	atomic_store(&vm->suspended, 0);
	atomic_store(&vm->halted, 0);
	for (int i = 0; error == 0 && i < VM_MAXCPU; i++)
		error = vcpu_init(vm, i);
	if (error != 0)
		state_cleanup(vm);
	return error;
}

/* ---- Create, reinit, destroy ---- */

static uint8_t guest_physical_bits(void)
{
	struct x86_cpu *cpu = aligned_alloc(64, (sizeof(*cpu) + 63) & ~(size_t)63);
	uint8_t bits = VM_GPA_BITS;

	if (cpu == NULL)
		return bits;
	memset(cpu, 0, sizeof(*cpu));
	x86_features_init(cpu);
	bits = cpu->maxphyaddr;
	free(cpu);
	return bits;
}

static void vm_construct(struct vm *vm, const struct vmm_ops *ops, const char *name)
{
	vm->ops = ops;
	strcpy(vm->name, name);
	vm->halt_detection = true;
	vm->topology.sockets = vm->topology.cores = vm->topology.threads = 1;
	vm->maxphyaddr = guest_physical_bits();
	vm->dev.refs = 1;
	pthread_mutex_init(&vm->dev.lock, NULL);
	pthread_cond_init(&vm->dev.left_cond, NULL);
	pthread_rwlock_init(&vm->dev.chips_lock, NULL);
	pthread_mutex_init(&vm->rendezvous.lock, NULL);
	pthread_cond_init(&vm->rendezvous.done_cond, NULL);
	for (int i = 0; i < VM_MAXCPU; i++)
		vcpu_construct(&vm->vcpu[i]);
}

void vm_free(struct vm *vm)
{
	for (int i = 0; i < VM_MAXCPU; i++)
		vcpu_destruct(&vm->vcpu[i]);
	vm_dirty_free(vm);
	pthread_cond_destroy(&vm->rendezvous.done_cond);
	pthread_mutex_destroy(&vm->rendezvous.lock);
	pthread_rwlock_destroy(&vm->dev.chips_lock);
	pthread_cond_destroy(&vm->dev.left_cond);
	pthread_mutex_destroy(&vm->dev.lock);
	free(vm);
}

void vm_teardown(struct vm *vm)
{
	state_cleanup(vm);
	vm_mem_cleanup(vm);
	vm->ops->vmspace_free(vm->vmspace);
	vm->vmspace = NULL;
	if (vm->owns_clock)
		vmm_clock_destroy(vm->clock);
	vm->clock = NULL;
	vmm_vm_gone();
}

static int vm_build(struct vm *vm, struct vmm_clock *clock)
{
	int error = ENOMEM;

	vm->owns_clock = clock == NULL;
	vm->clock = clock != NULL ? clock : vmm_clock_create();
	if (vm->clock == NULL)
		return ENOMEM;
	vm->vmspace = vm->ops->vmspace_alloc(0, (vm_offset_t)1 << VM_GPA_BITS);
	if (vm->vmspace == NULL)
		goto fail_clock;
	error = state_init(vm);
	if (error != 0)
		goto fail_vmspace;
	vmm_vm_born();
	return 0;
fail_vmspace:
	vm->ops->vmspace_free(vm->vmspace);
fail_clock:
	if (vm->owns_clock)
		vmm_clock_destroy(vm->clock);
	return error;
}

int vm_create_clocked(
	const struct vmm_ops *ops, struct vmm_clock *clock, const char *name, struct vm **retvm)
{
	struct vm *vm;
	int error;

	if (name == NULL || strlen(name) >= VM_MAX_NAMELEN)
		return EINVAL;
	error = ops->init(0);
	if (error != 0)
		return error;
	vm = calloc(1, sizeof(*vm));
	if (vm == NULL)
		return ENOMEM;
	vm_construct(vm, ops, name);
	error = vm_build(vm, clock);
	if (error != 0) {
		vm_free(vm);
		return error;
	}
	*retvm = vm;
	return 0;
}

int vm_create_on(const struct vmm_ops *ops, const char *name, struct vm **retvm)
{
	return ops != NULL ? vm_create_clocked(ops, NULL, name, retvm) : EINVAL;
}

int vm_create(const char *name, struct vm **retvm)
{
	const struct vmm_ops *ops = vmm_default_ops();

	return ops != NULL ? vm_create_clocked(ops, NULL, name, retvm) : ENXIO;
}

void vm_destroy(struct vm *vm)
{
	vm_teardown(vm);
	vm_free(vm);
}

/* The RTC keeps date and RAM over a reset, as its battery does. */
int vm_reinit(struct vm *vm)
{
	struct vrtc_state rtc;
	int error;

	if (atomic_load(&vm->suspended) != atomic_load(&vm->active))
		return EBUSY;
	vrtc_save(vm->vrtc, &rtc);
	vm_dirty_stop(vm);
	state_cleanup(vm);
	error = state_init(vm);
	if (error == 0)
		vrtc_restore(vm->vrtc, &rtc);
	return error;
}

/* ---- Accessors ---- */

const char *vm_name(struct vm *vm)
{
	return vm->name;
}

struct vmspace *vm_get_vmspace(struct vm *vm)
{
	return vm->vmspace;
}

struct vlapic *vm_lapic(struct vm *vm, int cpu)
{
	return vm->vcpu[cpu].vlapic;
}

struct vioapic *vm_ioapic(struct vm *vm)
{
	return vm->vioapic;
}

struct vhpet *vm_hpet(struct vm *vm)
{
	return vm->vhpet;
}

struct vatpic *vm_atpic(struct vm *vm)
{
	return vm->vatpic;
}

struct vatpit *vm_atpit(struct vm *vm)
{
	return vm->vatpit;
}

struct vrtc *vm_rtc(struct vm *vm)
{
	return vm->vrtc;
}

struct vpmtmr *vm_pmtmr(struct vm *vm)
{
	return vm->vpmtmr;
}

struct vmm_clock *vm_clock(struct vm *vm)
{
	return vm->clock;
}

const struct vmm_ops *vm_ops(struct vm *vm)
{
	return vm->ops;
}

void *vm_vmi(struct vm *vm)
{
	return vm->vmi;
}

void vm_set_halt_detection(struct vm *vm, bool on)
{
	atomic_store(&vm->halt_detection, on);
}
