/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * What a backend sees of the core beyond vmm.h, and the members that hyve adds to struct vmm_ops.
 * Only backend/ and tests include this.
 */
#ifndef VMM_BACKEND_H
#define VMM_BACKEND_H

#include <vmm/vmm.h>
#include <vmm/vmm_dev.h>

struct x86_cpu;
struct vmm_clock;

/* hyve's additions, after the seed's members of struct vmm_ops; each may be NULL unless noted. */
struct vmm_ops_ext {
	const char *name; /* "soft", "kvm", "intel", "amd"; never NULL */
	/* Usable here? 0, or an errno and one line in `why` (without newline). Never NULL. */
	int (*probe)(char *why, size_t size);
	/*
	 * The whole architectural state of a vcpu that is not RUNNING, for instruction emulation, task
	 * switches and save: cpu_get fetches it, cpu_put writes changes back.  The soft backend lends its own.
	 */
	struct x86_cpu *(*cpu_get)(void *vmi, int vcpu);
	int (*cpu_put)(void *vmi, int vcpu);
	/* Any thread: make a RUNNING vcpu leave guest code and look at its events soon. Never NULL. */
	void (*kick)(void *vmi, int vcpu);
	/* The host or a device wrote guest memory [gpa, gpa+len): cached code of it is stale. Any thread. */
	void (*mem_written)(void *vmi, vm_paddr_t gpa, size_t len);
	/* The map of guest memory changed; all vcpus are frozen. */
	void (*mem_changed)(void *vmi);
	/* Adds the backend's own counters: value and name of the i-th, false past the end. */
	bool (*stat)(void *vmi, int vcpu, unsigned i, const char **name, uint64_t *value);
};

/* Lock-free: host address of RAM at gpa and how many bytes follow contiguously; NULL if no RAM. */
void *vm_gpa_ram(struct vm *vm, vm_paddr_t gpa, size_t *contiguous);
/* True for the LAPIC, I/O APIC and HPET pages, which the core serves itself. */
bool vm_gpa_is_chip(struct vm *vm, vm_paddr_t gpa);
struct vmm_clock *vm_clock(struct vm *vm);

/* True when vm_run's thread should return to its caller (signal, stop request): see vmrun step 4. */
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
struct vlapic *vlapic_generic_init(struct vm *vm, int vcpu);
void vlapic_generic_cleanup(struct vlapic *vlapic);

/*
 * Counts an event of this vcpu. `which` indexes vmm/stats.def (enum vmm_stat in vmm_dev.h).
 */
void vmm_stat_incr(struct vm *vm, int vcpu, int which, uint64_t delta);

#endif
