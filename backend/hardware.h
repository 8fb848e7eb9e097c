/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* What intel/ and amd/ share while the Linux module they need does not exist. For those two. */
#ifndef BACKEND_HARDWARE_H
#define BACKEND_HARDWARE_H

#include <vmm/backend.h>

/*
 * ENXIO and one line: another vendor's processor, no `bit` in register ECX of CPUID `leaf` (the
 * firmware or an outer hypervisor hides `feature`), or no driver.
 */
int hardware_probe(const char *vendor, uint32_t leaf, unsigned bit, const char *feature, char *why,
	size_t size);

/* Members of struct vmm_ops that cannot be reached while init fails, but that every backend has. */
int hardware_cleanup(void);
void hardware_resume(void);
void *hardware_vminit(struct vm *vm, struct pmap *pmap);
int hardware_vmrun(void *vmi, int vcpu, register_t rip, struct pmap *pmap, void *rendezvous_cookie,
	void *suspend_cookie);
void hardware_vmcleanup(void *vmi);
int hardware_getreg(void *vmi, int vcpu, int num, uint64_t *retval);
int hardware_setreg(void *vmi, int vcpu, int num, uint64_t val);
int hardware_desc(void *vmi, int vcpu, int num, struct seg_desc *desc);
int hardware_getcap(void *vmi, int vcpu, int num, int *retval);
int hardware_setcap(void *vmi, int vcpu, int num, int val);
struct vlapic *hardware_vlapic_init(void *vmi, int vcpu);
void hardware_vlapic_cleanup(void *vmi, struct vlapic *vlapic);
void hardware_kick(void *vmi, int vcpu);

#define HARDWARE_OPS                                                                               \
	.cleanup = hardware_cleanup, .resume = hardware_resume, .vminit = hardware_vminit,         \
	.vmrun = hardware_vmrun, .vmcleanup = hardware_vmcleanup, .vmgetreg = hardware_getreg,     \
	.vmsetreg = hardware_setreg, .vmgetdesc = hardware_desc, .vmsetdesc = hardware_desc,       \
	.vmgetcap = hardware_getcap, .vmsetcap = hardware_setcap,                                  \
	.vmspace_alloc = vmspace_generic_alloc, .vmspace_free = vmspace_generic_free,              \
	.vlapic_init = hardware_vlapic_init, .vlapic_cleanup = hardware_vlapic_cleanup,            \
	.kick = hardware_kick

#endif
