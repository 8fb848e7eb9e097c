/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Threads of the rooms below host/. */
#ifndef HOST_THREAD_H
#define HOST_THREAD_H

#include <pthread.h>

/*
 * Starts a thread that takes no signals: the process's go to signalfd or to the thread that asked.
 * Its own faults are let through, for the sake of sanitizers and of a filter of system calls.  `name` has at most 15 characters.  0
 * or an errno.
 */
int host_thread_start(pthread_t *thread, const char *name, void *(*fn)(void *arg), void *arg);

#endif
