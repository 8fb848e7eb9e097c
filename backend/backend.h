/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The door of backend/: which ways to run a guest there are, for machine/ and cmd/. */
#ifndef BACKEND_BACKEND_H
#define BACKEND_BACKEND_H

#include <stdbool.h>
#include <stddef.h>

#include <vmm/vmm.h>

/* The i-th backend, best first; NULL past the end. */
const struct vmm_ops *backend_at(size_t i);
/* By name; NULL: none is called so. */
const struct vmm_ops *backend_find(const char *name);
/* The best that is usable on this host and passes backend_judge(); NULL: none, which the soft backend prevents. */
const struct vmm_ops *backend_auto(void);
/*
 * The i-th backend works; would backend_auto() take it, nothing better being there?  0, or an errno and a line
 * that says why not.  It may run guests, for some milliseconds.
 */
int backend_judge(size_t i, char *why, size_t size);

/*
 * A setting of the backend that runs `vm`, before it runs: of "soft.cache", `key` is "cache".  Lost
 * at vm_reinit.  0; ENOENT: this backend has no such setting; EBUSY: too late; else what the
 * backend says. An error comes with a line without newline in why[size]; so may success, if there
 * is something to tell the user, and "" if not.
 */
int backend_set_option(
	struct vm *vm, const char *key, const char *value, char *why, size_t size) VMM_MUST_CHECK;
/*
 * The index-th setting that a backend has, of all of them: of "soft.cache", *backend is "soft" and
 * *key "cache". False: there are fewer.
 */
bool backend_option(size_t index, const char **backend, const char **key);
/* Do all settings together suit a guest of that many vcpus? 0, or an errno and a line. */
int backend_check_options(struct vm *vm, unsigned ncpus, char *why, size_t size) VMM_MUST_CHECK;
/*
 * What the error that vm_run() of this vcpu has returned was about, if its number does not tell: a
 * line without newline. False: there is none. By the thread that ran the vcpu.
 */
bool backend_explain(struct vm *vm, int vcpu, char *why, size_t size);

#endif
