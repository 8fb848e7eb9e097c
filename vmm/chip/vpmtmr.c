/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The ACPI power-management timer (ACPI 4.8.3.3). It interrupts nobody: OSes poll it. */
#include <stdlib.h>

#include <vmm/backend.h>
#include <vmm/clock.h>
#include <vmm/vpmtmr.h>
#include "vmm/chip/port.h"
#include "vmm/chip/ticks.h"

struct vpmtmr {
	uint64_t start_ns;
};

struct vpmtmr *vpmtmr_init(struct vm *vm)
{
	struct vpmtmr *vpmtmr = calloc(1, sizeof(*vpmtmr));

	if (vpmtmr)
		vpmtmr->start_ns = vmm_clock_now(vm_clock(vm));
	return vpmtmr;
}

void vpmtmr_cleanup(struct vpmtmr *vpmtmr)
{
	free(vpmtmr);
}

int vpmtmr_handler(struct vm *vm, int vcpuid, bool in, int port, int bytes, uint32_t *val)
{
	const struct vpmtmr *vpmtmr = vm_pmtmr(vm);
	uint64_t ticks;

	(void)vcpuid;
	(void)port;
	if (!in)
		return 0;
	ticks = ns_to_ticks(vmm_clock_now(vm_clock(vm)) - vpmtmr->start_ns, VPMTMR_HZ);
	*val = (uint32_t)ticks & port_floating(bytes);
	return 0;
}
