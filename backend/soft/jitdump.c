/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * soft.perf=jitdump: /tmp/jit-PID.dump, from which `perf inject --jit` makes a shared object for
 * each piece of code, with its name, its bytes and the time from which on it was there.  The format
 * is that of tools/perf/Documentation/jitdump-specification.txt in the sources of Linux.
 */
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "backend/soft/soft.h"

#define MAGIC	0x4a695444u /* "JiTD" */
#define VERSION 1

enum { CODE_LOAD = 0, CODE_CLOSE = 3 };

struct header {
	uint32_t magic, version, total_size, elf_mach, pad, pid;
	uint64_t timestamp, flags;
};

struct record {
	uint32_t id, total_size;
	uint64_t timestamp;
};

struct code_load {
	struct record record;
	uint32_t pid, tid;
	uint64_t vma, code_addr, code_size, code_index;
	/* the name with its NUL, the code */
};

struct soft_jitdump {
	int fd;
	void *marker;
	_Atomic uint64_t next_index;
};

/* What perf record -k CLOCK_MONOTONIC stamps its samples with. */
static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static int write_header(int fd)
{
	struct header h = {
		.magic = MAGIC,
		.version = VERSION,
		.total_size = sizeof(h),
		.elf_mach = EM_X86_64,
		.pid = (uint32_t)getpid(),
		.timestamp = now(),
	};

	return write(fd, &h, sizeof(h)) == sizeof(h) ? 0 : errno ? errno : EIO;
}

/* perf finds the file by this mapping of it, which has to be executable. */
static int map_marker(struct soft_jitdump *d)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	d->marker = mmap(NULL, page, PROT_READ | PROT_EXEC, MAP_PRIVATE, d->fd, 0);
	return d->marker == MAP_FAILED ? errno : 0;
}

/* A file of somebody else's with this name, or a link, is not written to. */
int soft_jitdump_open(struct soft_jitdump **out)
{
	struct soft_jitdump *d = calloc(1, sizeof(*d));
	char path[48];
	int error;

	if (!d)
		return ENOMEM;
	snprintf(path, sizeof(path), "/tmp/jit-%ld.dump", (long)getpid());
	unlink(path);
	d->fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
	error = d->fd < 0 ? errno : write_header(d->fd);
	if (!error)
		error = map_marker(d);
	if (error) {
		if (d->fd >= 0)
			close(d->fd);
		free(d);
		return error;
	}
	*out = d;
	return 0;
}

void soft_jitdump_close(struct soft_jitdump *d)
{
	struct record end = {.id = CODE_CLOSE, .total_size = sizeof(end), .timestamp = now()};

	/* A full disk: perf takes the end of the file for it. */
	(void)!write(d->fd, &end, sizeof(end));
	munmap(d->marker, (size_t)sysconf(_SC_PAGESIZE));
	close(d->fd);
	free(d);
}

/* In one piece: other vcpus write, too. */
void soft_jitdump_code(struct soft_jitdump *d, const uint8_t *code, size_t size, const char *name)
{
	size_t name_size = strlen(name) + 1;
	struct code_load load = {
		.record = {.id = CODE_LOAD,
			.total_size = (uint32_t)(sizeof(load) + name_size + size),
			.timestamp = now()},
		.pid = (uint32_t)getpid(),
		.tid = (uint32_t)gettid(),
		.vma = (uintptr_t)code,
		.code_addr = (uintptr_t)code,
		.code_size = size,
		.code_index = atomic_fetch_add(&d->next_index, 1),
	};
	const struct iovec parts[] = {{&load, sizeof(load)}, {(void *)(uintptr_t)name, name_size},
		{(void *)(uintptr_t)code, size}};

	/* A full disk: this piece has no name. */
	(void)!writev(d->fd, parts, 3);
}
