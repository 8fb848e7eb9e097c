/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The socket's place in the file system: a folder for the user alone, a name that one machine has.
 * Only cmd/control includes this.
 */
#ifndef CMD_CONTROL_PLACE_H
#define CMD_CONTROL_PLACE_H

#include <stddef.h>
#include <sys/types.h>

struct control_place {
	int fd;	      /* listens */
	pid_t guard;  /* the process that removes the socket when we are gone; -1: none */
	int guard_fd; /* closing it says that we are */
};

/*
 * 0 and a listening socket of mode 0600 as `name` in the folder `path`, made if need be.  EBUSY: a
 * machine has that name and lives.  An errno, with a line in `why`.
 */
int control_place_take(const char *path, const char *name, struct control_place *place, char *why,
	size_t why_size);
/* Gives it up; the socket is gone when this returns. */
void control_place_leave(struct control_place *place);

#endif
