/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * What backends and chips see of the core beyond vmm.h and vmm_dev.h.  Only backend/, vmm/ and
 * tests include this; nothing here is exported from libvmm.so.
 */
#ifndef VMM_BACKEND_H
#define VMM_BACKEND_H

#include <vmm/vmm.h>
#include <vmm/vmm_dev.h>

struct vmm_clock;
struct vrtc;
struct vpmtmr;

/*
 * How a backend and the core share an exit:
 * - vmrun returns 0 with vm_exitinfo() filled.  Exits that the core finishes come back as another
 *   vmrun from inside the same vm_run, with the rip that the core decided on.
 * - INST_EMUL needs gpa, gla (or 1 << 63), cs_d and paging; the core decodes and fills vie and the
 *   length.
 * - vmrun may be left with a queued exception or a vector that vm_entry_intinfo handed out only if
 *   that one is put back by vm_exit_intinfo or kept for the next entry.
 * - HLT is rip on the HLT, inst_length 1: the core waits and enters again behind it.
 */

/* Lock-free: host address of RAM at gpa and how many bytes follow contiguously; NULL if no RAM. */
void *vm_gpa_ram(struct vm *vm, vm_paddr_t gpa, size_t *contiguous);
/* The i-th piece of RAM in the process's memory, whole pages; false past the end. Map stable. */
struct vm_ram {
	vm_paddr_t gpa;
	size_t len;
	void *hva;
};
bool vm_ram_at(struct vm *vm, unsigned i, struct vm_ram *ram);
/*
 * Read-only for the guest: its stores are lost, without a fault.  A list of page-aligned ranges,
 * all of them in RAM as vm_gpa_ram knows it; it changes only with ops->mem_changed.
 */
bool vm_gpa_is_rom(const struct vm *vm, vm_paddr_t gpa);
bool vm_rom_at(const struct vm *vm, unsigned index, vm_paddr_t *gpa, size_t *len);
/* For the dirty log: these bytes have been written. Nothing, if there is no log. Any. */
void vm_dirty_note(struct vm *vm, vm_paddr_t gpa, size_t len);
/* True for the LAPIC, I/O APIC and HPET pages, which the core serves itself. */
bool vm_gpa_is_chip(struct vm *vm, vm_paddr_t gpa);
/*
 * For vmrun, on its own vcpu, instead of an exit: the part of an instruction that reaches memory outside RAM.
 * False, with nothing done: it is for the user.  An exit that a write leads to follows when the guest is left next.
 */
bool vm_chip_load(struct vm *vm, int vcpu, vm_paddr_t gpa, void *buf, unsigned len);
bool vm_chip_store(struct vm *vm, int vcpu, vm_paddr_t gpa, const void *buf, unsigned len);
/* The same for a port of 1, 2 or 4 bytes: 0, or ENOENT if no chip has it. */
int vm_ioport(struct vm *vm, int vcpu, bool in, int port, int bytes, uint32_t *val);
/*
 * The same three for the user's devices (vm_set_devices). They run C code of any kind: no register
 * of the host's may hold anything of the guest's.
 */
bool vm_has_devices(struct vm *vm);
bool vm_device_load(struct vm *vm, int vcpu, vm_paddr_t gpa, void *buf, unsigned len);
bool vm_device_store(struct vm *vm, int vcpu, vm_paddr_t gpa, const void *buf, unsigned len);
int vm_device_port(struct vm *vm, int vcpu, bool in, int port, int bytes, uint32_t *val);
/*
 * For vmrun, on its own vcpu, through cpu_get and cpu_put: the software CPU executes the instruction at
 * exit->rip, where exit is the vcpu's record, and sets rip and inst_length to where to go on.  A fault of the
 * instruction has been queued then.  0; ENOTSUP: nothing done, the struct x86_cpu's `exit` says what it
 * takes; EFAULT: the instruction is not in RAM.
 */
int vm_execute_instruction(struct vm *vm, int vcpu, struct vm_exit *exit) VMM_MUST_CHECK;
/*
 * The same for the delivery of an event (VM_INTINFO_*) at `rip`.  A fault in it has been queued, and the event
 * put back by vm_exit_intinfo, to be combined.
 */
int vm_execute_event(struct vm *vm, int vcpu, uint64_t rip, uint64_t info) VMM_MUST_CHECK;
/* What the backend's vminit returned; another one after vm_reinit. */
void *vm_vmi(struct vm *vm);
struct vmm_clock *vm_clock(struct vm *vm);
/* The chips that vmm.h has no accessor for. Borrowed until vm_reinit. Any+locks. */
struct vrtc *vm_rtc(struct vm *vm);
struct vpmtmr *vm_pmtmr(struct vm *vm);
/* Active vcpus as a bit mask. Any+locks. */
uint32_t vm_active_mask(struct vm *vm);

/*
 * True when vm_run's thread should return to its caller (stop request, somebody wants the vcpu):
 * vmrun step 4.
 */
bool vcpu_should_yield(struct vm *vm, int vcpu);

/*
 * MSRs that the core owns (APIC base, x2APIC, the table of vmm-api.md 11.1 that is not CPU state).
 * 0; EPERM: raise #GP(0); ENOENT: unknown, leave it to the user with an RDMSR or WRMSR exit.
 */
int vm_rdmsr(struct vm *vm, int vcpu, uint32_t msr, uint64_t *value);
int vm_wrmsr(struct vm *vm, int vcpu, uint32_t msr, uint64_t value);

/* The default vmspace_alloc/vmspace_free and vlapic_init/vlapic_cleanup of a user-space backend. */
struct vmspace *vmspace_generic_alloc(vm_offset_t min, vm_offset_t max);
void vmspace_generic_free(struct vmspace *vmspace);
struct pmap *vmspace_pmap(struct vmspace *vmspace);
struct vlapic *vlapic_generic_init(struct vm *vm, int vcpu);
void vlapic_generic_cleanup(struct vlapic *vlapic);

/* Adds to a counter: `which` is an enum vmm_stat, plus the index into an array. Any+locks. */
void vmm_stat_incr(struct vm *vm, int vcpu, int which, uint64_t delta);

#endif
