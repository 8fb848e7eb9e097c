/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The door of backend/: which ways to run a guest there are, for machine/ and cmd/. */
#ifndef BACKEND_BACKEND_H
#define BACKEND_BACKEND_H

#include <stddef.h>

#include <vmm/vmm.h>

/* The i-th backend, best first; NULL past the end. */
const struct vmm_ops *backend_at(size_t i);
/* By name; NULL: none is called so. */
const struct vmm_ops *backend_find(const char *name);
/* The best that is usable on this host; NULL: none, which the soft backend prevents. */
const struct vmm_ops *backend_auto(void);

/*
 * A setting of the backend that runs `vm`, before it runs: of "soft.cache", `key` is "cache".  Lost
 * at vm_reinit.  0; ENOENT: this backend has no such setting; EBUSY: too late; else what the
 * backend says. An error comes with a line without newline in why[size].
 */
int backend_set_option(
	struct vm *vm, const char *key, const char *value, char *why, size_t size) VMM_MUST_CHECK;

#endif
