/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The software CPU's part of backend_set_option(). For backends.c. */
#ifndef BACKEND_SOFT_OPTION_H
#define BACKEND_SOFT_OPTION_H

#include <stddef.h>

int soft_set_option(void *vmi, const char *key, const char *value, char *why, size_t size);

#endif
