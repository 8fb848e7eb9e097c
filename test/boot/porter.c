/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * porter SOCKET: the host's side of test/boot/inside/virtio-console.  Says a line, expects it back
 * and then the numbers up to 150000, which it sends back.  In between it hangs up and calls again.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { SECONDS = 60, LAST = 150000 };

static const char line[] = "a line", answer[] = "a line, too\n";

/* hyve makes the socket, at first it may not be there. */
static int call(const char *path)
{
	const struct timespec tick = {.tv_nsec = 20000000};
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	for (int tries = 0; tries < SECONDS * 50; tries++) {
		if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0)
			return fd;
		nanosleep(&tick, NULL);
	}
	return -1;
}

static int write_all(int fd, const char *bytes, size_t len)
{
	for (ssize_t n; len > 0; bytes += n, len -= (size_t)n)
		if ((n = write(fd, bytes, len)) <= 0)
			return 0;
	return 1;
}

/* Exactly these bytes come. */
static int expect(int fd, const char *bytes, size_t len)
{
	char *got = calloc(1, len + 1);
	size_t done = 0;

	for (ssize_t n; done < len && (n = read(fd, got + done, len - done)) > 0;)
		done += (size_t)n;
	int same = done == len && memcmp(got, bytes, len) == 0;

	if (!same)
		fprintf(stderr, "porter: %zu of %zu bytes: %.20s\n", done, len, got);
	free(got);
	return same;
}

int main(int argc, char **argv)
{
	char *numbers;
	size_t size;
	FILE *out = open_memstream(&numbers, &size);

	for (unsigned i = 1; i <= LAST; i++)
		fprintf(out, "%u\n", i);
	fclose(out);
	alarm(SECONDS);
	int fd = argc == 2 ? call(argv[1]) : -1;

	close(fd);
	usleep(100000); /* until hyve has noticed: a second one would be refused */
	fd = argc == 2 ? call(argv[1]) : -1;
	return !(fd >= 0 && write_all(fd, line, strlen(line)) && write_all(fd, "\n", 1) &&
		 expect(fd, answer, strlen(answer)) && expect(fd, numbers, size) &&
		 write_all(fd, numbers, size));
}
