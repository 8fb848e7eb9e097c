/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * VT-x and AMD-V need ring 0, that is, a Linux module of ours, which this version does not have:
 * every entry answers ENXIO, and the probe says in one line what is missing.
 */
#include <cpuid.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backend/hardware.h"

static void host_vendor(char vendor[13])
{
	uint32_t eax, ebx = 0, ecx = 0, edx = 0;

	__get_cpuid(0, &eax, &ebx, &ecx, &edx);
	memcpy(vendor, &ebx, 4);
	memcpy(vendor + 4, &edx, 4);
	memcpy(vendor + 8, &ecx, 4);
	vendor[12] = '\0';
}

int hardware_probe(const char *vendor, uint32_t leaf, unsigned bit, const char *feature, char *why,
	size_t size)
{
	uint32_t eax, ebx, ecx = 0, edx;
	char host[13];

	host_vendor(host);
	if (strcmp(host, vendor) != 0)
		snprintf(why, size, "needs a %s processor, this is %s", vendor, host);
	else if (!__get_cpuid(leaf, &eax, &ebx, &ecx, &edx) || (ecx >> bit & 1) == 0)
		snprintf(why, size, "the processor does not offer %s (firmware or hypervisor)",
			feature);
	else
		snprintf(why, size, "needs the hyve kernel module, which does not exist yet");
	return ENXIO;
}

int hardware_cleanup(void)
{
	return 0;
}

void hardware_resume(void)
{
}

void *hardware_vminit(struct vm *vm, struct pmap *pmap)
{
	(void)vm;
	(void)pmap;
	return NULL;
}

int hardware_vmrun(void *vmi, int vcpu, register_t rip, struct pmap *pmap, void *rendezvous_cookie,
	void *suspend_cookie)
{
	(void)vmi;
	(void)vcpu;
	(void)rip;
	(void)pmap;
	(void)rendezvous_cookie;
	(void)suspend_cookie;
	return ENXIO;
}

void hardware_vmcleanup(void *vmi)
{
	(void)vmi;
}

int hardware_getreg(void *vmi, int vcpu, int num, uint64_t *retval)
{
	(void)vmi;
	(void)vcpu;
	(void)num;
	(void)retval;
	return ENXIO;
}

int hardware_setreg(void *vmi, int vcpu, int num, uint64_t val)
{
	(void)vmi;
	(void)vcpu;
	(void)num;
	(void)val;
	return ENXIO;
}

int hardware_desc(void *vmi, int vcpu, int num, struct seg_desc *desc)
{
	(void)vmi;
	(void)vcpu;
	(void)num;
	(void)desc;
	return ENXIO;
}

int hardware_getcap(void *vmi, int vcpu, int num, int *retval)
{
	(void)vmi;
	(void)vcpu;
	(void)num;
	(void)retval;
	return ENXIO;
}

int hardware_setcap(void *vmi, int vcpu, int num, int val)
{
	(void)vmi;
	(void)vcpu;
	(void)num;
	(void)val;
	return ENXIO;
}

struct vlapic *hardware_vlapic_init(void *vmi, int vcpu)
{
	(void)vmi;
	(void)vcpu;
	return NULL;
}

void hardware_vlapic_cleanup(void *vmi, struct vlapic *vlapic)
{
	(void)vmi;
	(void)vlapic;
}

void hardware_kick(void *vmi, int vcpu)
{
	(void)vmi;
	(void)vcpu;
}
