/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The settings of the KVM backend, for backends.c: see backend_set_option() and its neighbours. */
#ifndef BACKEND_KVM_OPTION_H
#define BACKEND_KVM_OPTION_H

#include <stdbool.h>
#include <stddef.h>

int kvm_set_option(void *vmi, const char *key, const char *value, char *why, size_t size);
/* Of the index-th setting; NULL: there are fewer. */
const char *kvm_option_key(size_t index);
int kvm_check_options(void *vmi, unsigned ncpus, char *why, size_t size);
bool kvm_explain(void *vmi, int vcpu, char *why, size_t size);
/*
 * Is this KVM as good as the hardware that it stands for?  Runs guests of a few instructions each,
 * some milliseconds in all.  0, or ENOTSUP and a line: it works, but guests are better off
 * elsewhere.
 */
int kvm_judge(char *why, size_t size);

#endif
