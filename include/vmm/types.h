/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* FreeBSD's types as vmm.h uses them, on Linux. */
#ifndef VMM_TYPES_H
#define VMM_TYPES_H

#ifndef _GNU_SOURCE
#error "vmm/vmm.h needs _GNU_SOURCE (cpu_set_t)"
#endif

#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

typedef uint64_t vm_paddr_t;  /* guest- or host-physical address */
typedef uint64_t vm_offset_t; /* virtual address, or offset into a memory object */
typedef int boolean_t;
typedef cpu_set_t cpuset_t;

/* glibc has register_t (64 bits wide on x86-64) in <sys/types.h>. */

#define VMM_MUST_CHECK __attribute__((warn_unused_result))

#endif
