/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A hostile driver of the console device, with a console in a file that forgets and two ports whose
 * clients come, talk, listen and go.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "fuzz/hostile.h"
#include "host/host.h"

struct outside {
	char dir[32], paths[2][48];
	int clients[2];
};

static int call(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
		return fd;
	close(fd);
	return -1;
}

static void hang_up(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void act(void *arg, struct fuzz_input *in)
{
	static const uint8_t words[3000] = "hello";
	struct outside *o = arg;
	unsigned what = (unsigned)fuzz_take(in, 1), which = what & 1;
	int *fd = &o->clients[which];
	uint8_t got[4096];

	if (*fd < 0) {
		*fd = call(o->paths[which]);
		return;
	}
	switch (what >> 1 & 3) {
	case 0:
		hang_up(fd);
		break;
	case 1:
		(void)!recv(*fd, got, sizeof(got), MSG_DONTWAIT);
		break;
	default:
		(void)!send(
			*fd, words, fuzz_take(in, 2) % sizeof(words), MSG_DONTWAIT | MSG_NOSIGNAL);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct outside o = {.dir = "/tmp/hyve-fuzz-XXXXXX", .clients = {-1, -1}};
	const char *const options[][2] = {{"console", "file=/dev/null"}, {"port.0.name", "one"},
		{"port.0.path", o.paths[0]}, {"port.1.name", "two"}, {"port.1.path", o.paths[1]},
		{NULL, NULL}};
	struct hostile_setup setup = {
		.model = "virtio-console", .options = options, .settle = act, .arg = &o};

	FUZZ_CHECK(mkdtemp(o.dir) != NULL && event_loop_create(&setup.loop) == 0);
	for (unsigned i = 0; i < 2; i++)
		snprintf(o.paths[i], sizeof(o.paths[i]), "%s/%u", o.dir, i);
	hostile_run(&setup, data, size);
	event_loop_destroy(setup.loop);
	hang_up(&o.clients[0]);
	hang_up(&o.clients[1]);
	for (unsigned i = 0; i < 2; i++)
		FUZZ_CHECK(unlink(o.paths[i]) == 0);
	FUZZ_CHECK(rmdir(o.dir) == 0);
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *to, size_t room)
{
	return hostile_seed(n, to, room);
}
