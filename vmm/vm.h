/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The VM and vcpu objects, and what the files of vmm/ (without the chips) share.
 *
 * Locks, outermost first: dev.lock; rendezvous.lock; vcpu.claim_lock.  Chips call vcpu_notify_event
 * with their locks held, so that path takes none: a vcpu's state is one atomic word, and waiting is
 * a futex on a sequence number that every event bumps.  The protocol (nothing is lost, nothing
 * polls):
 *
 *	waiter: seq := vcpu.seq;  any event?  -> no: futex_wait(vcpu.seq == seq)
 *	waker:  publish the event; vcpu.seq += 1; is somebody waiting? -> futex_wake
 *
 * The same path is async-signal-safe, which a condition variable is not: a signal handler may call
 * vm_vcpu_yield.
 */
#ifndef VMM_VM_H
#define VMM_VM_H

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include <vmm/backend.h>
#include <vmm/clock.h>
#include "vmm/lead.h"

#define PAGE_SIZE      4096ull
#define PAGE_MASK      (PAGE_SIZE - 1)
#define VM_ROM_RANGES  4
#define VM_SYSMEM_SEGS 2 /* as many as vm_malloc grants: below and above the PCI hole */
#define VM_MMIO_RANGES 16
#define VM_GUEST_MSRS  16
#define VM_ALL_VCPUS   ((1u << VM_MAXCPU) - 1)
#define VM_GPA_BITS    52
#define VM_DEAD	       0x80000000u

/* vcpu.state packs the state and the host CPU plus one, so that both are read at one instant. */
#define VCPU_WORD(state, cpu)	((uint32_t)(state) | (uint32_t)((cpu) + 1) << 8)
#define VCPU_WORD_STATE(word)	((enum vcpu_state)((word)&0xff))
#define VCPU_WORD_HOSTCPU(word) ((int)((word) >> 8) - 1)

struct vm_spinup {
	bool pending;
	int vcpu;
	uint64_t rip;
};

/* Fields without a comment on threads belong to the owner of the vcpu. */
struct vcpu {
	_Atomic uint32_t state; /* VCPU_WORD */
	_Atomic uint32_t seq;	/* futex: bumped by every event */
	_Atomic uint32_t waiters;
	struct vmm_lead lead;	/* of its sleeps */
	_Atomic bool yield;	 /* any thread: return to the caller of vm_run */
	_Atomic uint32_t wanted; /* control threads waiting for the vcpu */
	_Atomic uint32_t claimers; /* threads waiting on idle_cond */
	_Atomic bool meets; /* its owner waits for a rendezvous of its own to end */
	pthread_mutex_t claim_lock;
	pthread_cond_t idle_cond;  /* state became IDLE, `wanted` fell to 0, or `meets` changed */
	_Atomic uintptr_t claimer; /* pthread_self of the checked layer's owner, 0: none */

	_Atomic bool nmi_pending;    /* any thread sets, vmrun clears */
	_Atomic bool extint_pending; /* the same */
	uint64_t exitintinfo;
	bool exception_pending;
	struct vm_exception exception;

	struct vlapic *vlapic;
	_Atomic int x2apic; /* enum x2apic_state */
	bool has_run;
	bool halted; /* sits in HLT, which ends at halt_rip, and was left for the user's sake */
	uint64_t halt_rip;
	struct vm_spinup spinup; /* SPINUP_AP raised by an MSR write inside vmrun */
	int last_hostcpu;
	bool emul_ready; /* emul_thread is set up for native execution (emul.c) */
	pthread_t emul_thread;
	uint64_t msrs[VM_GUEST_MSRS];
	uint8_t lost[PAGE_SIZE]; /* emul.c: stores to read-only memory go here */
	_Atomic uint64_t stats[VMM_STAT_ELEMS];
	struct vm_exit exitinfo;
};

/* Guest memory that can be mapped elsewhere too. */
struct vm_object {
	int fd;
	size_t size;
	atomic_uint refs;
};

struct vm_segment {
	vm_paddr_t gpa;
	size_t len;
	uint8_t *hva;
	struct vm_object *object;
	bool rom; /* made by vm_map_rom: does not count as one of VM_SYSMEM_SEGS */
};

/* Memory that the guest cannot change. */
struct vm_rom {
	vm_paddr_t gpa;
	size_t len;
};

/* Host physical memory at a gpa. */
struct vm_mmio {
	vm_paddr_t gpa;
	size_t len;
	volatile uint8_t *hva;
};

struct vm {
	const struct vmm_ops *ops;
	void *vmi;
	struct vmspace *vmspace;
	char name[VM_MAX_NAMELEN];
	struct vmm_clock *clock;
	bool owns_clock;
	struct vm_devices devices; /* changed only while all vcpus are frozen */
	struct {
		uint16_t sockets, cores, threads; /* cores of a socket, threads of a core */
	} topology;	    /* constant once a vcpu has run */
	uint8_t maxphyaddr; /* guest-physical address bits: what is reserved in page tables */

	struct vioapic *vioapic;
	struct vhpet *vhpet;
	struct vatpic *vatpic;
	struct vatpit *vatpit;
	struct vrtc *vrtc;
	struct vpmtmr *vpmtmr;

	_Atomic uint32_t active, suspended, halted; /* masks of vcpus */
	_Atomic unsigned kickers; /* threads inside ops->kick: vmi stays until they are out */
	int suspend; /* enum vm_suspend_how; __atomic, vmrun's cookie */
	_Atomic bool halt_detection;

	struct {
		pthread_mutex_t lock;
		pthread_cond_t done_cond; /* for initiators that are no vcpu */
		uint32_t request, done;
		vm_rendezvous_func_t func; /* __atomic, vmrun's cookie: non-NULL is pending */
		void *arg;
	} rendezvous;

	/* Changed only while all vcpus are frozen. */
	_Atomic unsigned nsegs; /* entries below it are constant: readable by any thread */
	unsigned nmmio, nroms;
	struct vm_segment segs[VM_SYSMEM_SEGS + VM_ROM_RANGES];
	struct vm_rom roms[VM_ROM_RANGES];
	struct vm_mmio mmio[VM_MMIO_RANGES];
	struct vm_dirty *_Atomic dirty; /* NULL: never asked for */

	/* The checked layer's (dev.c). */
	struct {
		pthread_mutex_t lock;
		pthread_cond_t left_cond; /* `inside` fell to 0 */
		/* Held for writing by reinit, for reading by calls that claim no vcpu. */
		pthread_rwlock_t chips_lock;
		unsigned refs;
		_Atomic uint32_t inside; /* calls, and VM_DEAD */
	} dev;

	struct vcpu vcpu[VM_MAXCPU];
};

static inline bool vcpu_valid(int vcpuid)
{
	return vcpuid >= 0 && vcpuid < VM_MAXCPU;
}

static inline bool vm_is_suspended(struct vm *vm)
{
	return __atomic_load_n(&vm->suspend, __ATOMIC_SEQ_CST) != VM_SUSPEND_NONE;
}

static inline bool vm_rendezvous_pending(struct vm *vm)
{
	return __atomic_load_n(&vm->rendezvous.func, __ATOMIC_SEQ_CST) != NULL;
}

/* dirty.c: nobody is in the VM any more. */
void vm_dirty_free(struct vm *vm);

/* vm.c */
/*
 * vm_create_on with a clock of the caller's; NULL: the VM makes its own. The clock outlives the VM.
 */
int vm_create_clocked(
	const struct vmm_ops *ops, struct vmm_clock *clock, const char *name, struct vm **retvm);
/* vm_destroy in two steps: everything but the struct, then the struct. */
void vm_teardown(struct vm *vm);
void vm_free(struct vm *vm);

/* module.c */
const struct vmm_ops *vmm_default_ops(void);
void vmm_vm_born(void);
void vmm_vm_gone(void);

/* mem.c */
void vm_mem_cleanup(struct vm *vm);
/*
 * [gpa, gpa+len) is read-only for the guest from now on; where no memory is allocated, it is, and
 * zero.  EINVAL: not page-aligned, allocated in part, or read-only already; E2BIG: too many;
 * ENOMEM.  All vcpus frozen.
 */
int vm_map_rom(struct vm *vm, vm_paddr_t gpa, size_t len);
/* Adds a mapped range; ENOMEM: overlap or no room. What vm_map_mmio does after mapping. */
int vm_mmio_add(struct vm *vm, vm_paddr_t gpa, size_t len, void *hva);
/* The range that holds [gpa, gpa+len), or NULL. */
const struct vm_mmio *vm_mmio_find(struct vm *vm, vm_paddr_t gpa, size_t len);

/* vcpu.c */
void vcpu_construct(struct vcpu *vcpu);
void vcpu_destruct(struct vcpu *vcpu);
/*
 * Waits until seq moves away from `seq`, or for that time of CLOCK_MONOTONIC, UINT64_MAX: for ever;
 * returns early at will. Says whether that time has come.
 */
bool vcpu_wait(struct vcpu *vcpu, uint32_t seq, uint64_t until_ns);
/* After publishing an event: ends vcpu_wait. Any+locks, signal handlers. */
void vcpu_wake(struct vcpu *vcpu);
/* No vcpu runs any more: until nobody is about to tell the backend to leave the guest. */
void vm_await_kickers(struct vm *vm);
/* Set and clear what vcpu_should_yield and the checked layer's claim look at. */
void vcpu_want(struct vm *vm, int vcpuid);
void vcpu_unwant(struct vm *vm, int vcpuid);
/* RUNNING to FROZEN, by its own thread: nobody else changes these two. */
void vcpu_left_guest(struct vcpu *vcpu);
/* IDLE to FROZEN; a runner lets those who want the vcpu go first. */
void vcpu_claim(struct vm *vm, int vcpuid, bool runner);
void vcpu_release(struct vm *vm, int vcpuid);
/*
 * All vcpus.  One that has called for a rendezvous keeps its vcpu until the others have taken part,
 * so while it does we hold none of them.
 */
void vcpu_claim_all(struct vm *vm);
void vcpu_release_all(struct vm *vm);
void vcpu_set_meets(struct vcpu *vcpu, bool on);
/*
 * A command to the APIC inside vmrun started another vcpu, which is an exit: what stands in exitinfo is
 * kept aside, and vcpu_should_yield brings the vcpu out of the guest.
 */
void vcpu_spinup_later(struct vm *vm, int vcpuid);
/* Stop request or somebody wants the vcpu: the reasons that reach vm_run's caller. */
bool vcpu_user_yield(struct vcpu *vcpu);

/* rendezvous.c */
/* A vcpu takes its part and waits for the end. False: it left early because it shall yield. */
bool vm_rendezvous_join(struct vm *vm, int vcpuid);
/* All vcpus are suspended: whoever has called for a rendezvous waits no longer. */
void vm_rendezvous_suspended(struct vm *vm);

/* idle.c: what a vcpu does when it does not run. */
enum idle_end {
	IDLE_EVENT, /* go on */
	IDLE_YIELD  /* return to the user, BOGUS, and come back later */
};
enum idle_end vcpu_idle_hlt(struct vm *vm, int vcpuid, bool intr_enabled);
enum idle_end vcpu_idle_suspend(struct vm *vm, int vcpuid);
enum idle_end vcpu_idle_sipi(struct vm *vm, int vcpuid);

/* event.c */
void vcpu_event_reset(struct vcpu *vcpu);
/* Queues an exception with its code, dropped in real mode; the instruction restarts. */
void vm_inject_fault(struct vm *vm, int vcpuid, int vector, bool has_code, uint32_t code);

/* msr.c */
void vm_msr_init(struct vm *vm, int vcpuid);

/* ioport.c */
/* Puts what an IN got into RAX. */
int vm_inout_merge(struct vm *vm, int vcpuid, const struct vm_inout *io, uint32_t eax);

/* chippage.c: the MMIO pages of the chips. *retu: an exit to the user stands in vm_exitinfo. */
void vm_chip_read(struct vm *vm, int vcpuid, uint64_t gpa, uint64_t *value, int size);
void vm_chip_write(struct vm *vm, int vcpuid, uint64_t gpa, uint64_t value, int size, bool *retu);
/* The naturally aligned power of two, 8 at most, that a bus would begin with. */
unsigned vm_bus_piece(uint64_t gpa, unsigned len);

/* emul.c */
/* The part of an INST_EMUL exit that happens inside vm_run. *retu: to the user. */
int vm_handle_inst_emul(struct vm *vm, int vcpuid, bool *retu);

/* reg.c */
/* INIT, as opposed to power-on (SDM vol. 3, table 9-1): CR0.CD/NW, FPU and most MSRs stay. */
int vcpu_init_reset(struct vm *vm, int vcpuid);
/* STARTUP: CS and rip 0. */
int vcpu_startup(struct vm *vm, int vcpuid, uint8_t vector);

/* stat.c */
void vm_stat_reset(struct vcpu *vcpu);

#endif
