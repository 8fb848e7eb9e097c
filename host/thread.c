/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "host/thread.h"

#include <signal.h>
#include <stddef.h>

int host_thread_start(pthread_t *thread, const char *name, void *(*fn)(void *arg), void *arg)
{
	/* The last is raised by a filter of system calls. */
	static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
	sigset_t most, old;

	sigfillset(&most);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		sigdelset(&most, own[i]);
	pthread_sigmask(SIG_SETMASK, &most, &old);
	int error = pthread_create(thread, NULL, fn, arg);

	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (!error)
		pthread_setname_np(*thread, name);
	return error;
}
