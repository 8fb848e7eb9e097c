/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Other ways to run on the software CPU, from the environment, for programs that test something else:
 * SOFT_LOCKSTEP=1: every block is compared with its instructions executed one by one.
 * SOFT_TORTURE=seed: cached things are lost and blocks cut at random.
 * SOFT_CACHE=bytes: size of the code cache.  SOFT_MAX_INSNS=n: instructions in a block at most.
 */
#ifndef TEST_BACKEND_SOFT_HOOKS_H
#define TEST_BACKEND_SOFT_HOOKS_H

#include <stdbool.h>

#include <vmm/vmm.h>

/* Behind vm_create() of vmm_ops_soft, before the first run. */
void soft_hooks(struct vm *vm);
/* Has lock-step found something?  Then it is printed. */
bool soft_hooks_mismatch(struct vm *vm, const char *name);
/* Prints what was compared, too. Before vm_destroy(). */
void soft_hooks_report(struct vm *vm, const char *name);

#endif
