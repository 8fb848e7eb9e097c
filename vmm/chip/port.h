/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* What a port read gives where nobody drives the bus. For vmm/chip/. */
#ifndef VMM_CHIP_PORT_H
#define VMM_CHIP_PORT_H

#include <stdint.h>

/* All ones of a width of 1, 2 or 4 bytes. */
static inline uint32_t port_floating(int bytes)
{
	return UINT32_MAX >> (32 - 8 * bytes);
}

#endif
