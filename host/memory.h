/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* What the host has. */
#ifndef HOST_MEMORY_H
#define HOST_MEMORY_H

#include <stdint.h>

/* RAM and swap, or less where a control group limits this process. */
uint64_t host_memory_bytes(void);

#endif
