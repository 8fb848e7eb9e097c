/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The software CPU's part of backend_set_option() and its neighbours. For backends.c. */
#ifndef BACKEND_SOFT_OPTION_H
#define BACKEND_SOFT_OPTION_H

#include <stdbool.h>
#include <stddef.h>

int soft_set_option(void *vmi, const char *key, const char *value, char *why, size_t size);
/* Of the index-th setting; NULL: there are fewer. */
const char *soft_option_key(size_t index);
int soft_check_options(void *vmi, unsigned ncpus, char *why, size_t size);
bool soft_explain(void *vmi, int vcpu, char *why, size_t size);

#endif
