/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* AMD-V, through a Linux module that does not exist yet: see backend/hardware.c. */
#include <errno.h>

#include "backend/hardware.h"

/* CPUID Fn8000_0001:ECX.SVM[2] (APM vol. 2, 15.4) */
static int amd_probe(char *why, size_t size)
{
	return hardware_probe("AuthenticAMD", 0x80000001, 2, "AMD-V", why, size);
}

static int amd_init(int ipinum)
{
	(void)ipinum;
	return ENXIO;
}

struct vmm_ops vmm_ops_amd = {
	.init = amd_init,
	HARDWARE_OPS,
	.name = "amd",
	.probe = amd_probe,
};
