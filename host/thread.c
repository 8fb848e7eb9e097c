/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "host/thread.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>

struct beginning {
	void *(*fn)(void *arg);
	void *arg;
	char name[16];
};

/* It names itself: another thread's name is a file, which a sandbox does not let us open. */
static void *begin(void *arg)
{
	struct beginning b = *(struct beginning *)arg;

	free(arg);
	prctl(PR_SET_NAME, b.name);
	return b.fn(b.arg);
}

int host_thread_start(pthread_t *thread, const char *name, void *(*fn)(void *arg), void *arg)
{
	/* The last is raised by a filter of system calls. */
	static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGSYS};
	struct beginning *b = malloc(sizeof(*b));
	sigset_t most, old;

	if (!b)
		return ENOMEM;
	*b = (struct beginning){.fn = fn, .arg = arg};
	snprintf(b->name, sizeof(b->name), "%s", name);
	sigfillset(&most);
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		sigdelset(&most, own[i]);
	pthread_sigmask(SIG_SETMASK, &most, &old);
	int error = pthread_create(thread, NULL, begin, b);

	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (error)
		free(b);
	return error;
}
