/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz/fuzz.h"

void fuzz_file_create(struct fuzz_file *file)
{
	file->fd = memfd_create("fuzz", MFD_CLOEXEC);
	FUZZ_CHECK(file->fd >= 0);
	snprintf(file->path, sizeof(file->path), "/proc/self/fd/%d", file->fd);
}

void fuzz_file_write(struct fuzz_file *file, const void *bytes, size_t size)
{
	FUZZ_CHECK(ftruncate(file->fd, 0) == 0);
	FUZZ_CHECK(pwrite(file->fd, bytes, size, 0) == (ssize_t)size);
}
