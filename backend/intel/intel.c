/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* VT-x, through a Linux module that does not exist yet: see backend/hardware.c. */
#include <errno.h>

#include "backend/hardware.h"

/* CPUID.1:ECX.VMX[5] (SDM vol. 3, 23.6) */
static int intel_probe(char *why, size_t size)
{
	return hardware_probe("GenuineIntel", 1, 5, "VT-x", why, size);
}

static int intel_init(int ipinum)
{
	(void)ipinum;
	return ENXIO;
}

struct vmm_ops vmm_ops_intel = {
	.init = intel_init,
	HARDWARE_OPS,
	.name = "intel",
	.probe = intel_probe,
};
