/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Frames in the file format of tcpdump (pcap, version 2.4, nanoseconds), as they pass between the
 * user and the backend: before offloads are resolved.  A file that cannot be written any more is
 * given up.
 */
#include "host/net/backend.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MAGIC_NS 0xa1b23c4d
#define ETHERNET 1

struct net_dump {
	pthread_mutex_t lock; /* guards what follows */
	int fd;
	uint8_t record[16 + NET_MAX_FRAME];
};

struct file_header {
	uint32_t magic;
	uint16_t major, minor;
	uint32_t zone, accuracy, longest, link;
};

struct record_header {
	uint32_t seconds, ns, here, size;
};

int net_dump_open(const char *path, struct net_dump **out, char *why, size_t why_size)
{
	static const struct file_header header = {
		.magic = MAGIC_NS, .major = 2, .minor = 4, .longest = 0x40000, .link = ETHERNET};
	struct net_dump *dump = calloc(1, sizeof(*dump));
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (dump && fd >= 0 && write(fd, &header, sizeof(header)) == sizeof(header)) {
		pthread_mutex_init(&dump->lock, NULL);
		dump->fd = fd;
		*out = dump;
		return 0;
	}
	int error = !dump ? ENOMEM : errno ? errno : EIO;

	snprintf(why, why_size, "dump=%s: %s", path, strerror(error));
	if (fd >= 0)
		close(fd);
	free(dump);
	return error;
}

void net_dump_close(struct net_dump *dump)
{
	if (!dump)
		return;
	if (dump->fd >= 0)
		close(dump->fd);
	pthread_mutex_destroy(&dump->lock);
	free(dump);
}

void net_dump_frame(
	struct net_dump *dump, const struct iovec *iov, size_t n, size_t skip, size_t size)
{
	struct timespec now;
	struct record_header header = {0};

	clock_gettime(CLOCK_REALTIME, &now);
	header.seconds = (uint32_t)now.tv_sec;
	header.ns = (uint32_t)now.tv_nsec;
	pthread_mutex_lock(&dump->lock);
	header.size = header.here =
		(uint32_t)net_gather(iov, n, skip, dump->record + sizeof(header), size - skip);
	memcpy(dump->record, &header, sizeof(header));
	ssize_t all = (ssize_t)(sizeof(header) + header.here);

	if (dump->fd >= 0 && write(dump->fd, dump->record, (size_t)all) != all) {
		close(dump->fd);
		dump->fd = -1;
	}
	pthread_mutex_unlock(&dump->lock);
}
