/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A file or block device of the host that holds an image.  What O_DIRECT does not take as it is
 * goes through a buffer here.
 */
#include "host/block/image.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { BOUNCE_SIZE = 1 << 20, DIRECT_MAX = 4096 };

static ssize_t host_preadv(void *arg, int fd, const struct iovec *iov, int niov, uint64_t offset)
{
	(void)arg;
	return preadv(fd, iov, niov, (off_t)offset);
}

static ssize_t host_pwritev(void *arg, int fd, const struct iovec *iov, int niov, uint64_t offset)
{
	(void)arg;
	return pwritev(fd, iov, niov, (off_t)offset);
}

static int host_sync(void *arg, int fd)
{
	(void)arg;
	return fdatasync(fd);
}

static int host_allocate(void *arg, int fd, int mode, uint64_t offset, uint64_t length)
{
	(void)arg;
	return fallocate(fd, mode, (off_t)offset, (off_t)length);
}

const struct block_io block_host_io = {
	.preadv = host_preadv,
	.pwritev = host_pwritev,
	.sync = host_sync,
	.allocate = host_allocate,
};

/* ---- opening ---- */

/* One that writes is alone; those that read share. The locks go with the open file. */
static int file_lock(struct block_file *file)
{
	struct flock lock = {
		.l_type = file->read_only ? F_RDLCK : F_WRLCK,
		.l_whence = SEEK_SET,
	};

	if (fcntl(file->fd, F_OFD_SETLK, &lock) == 0)
		return 0;
	/* Some file systems have none: as with every other program, no protection then. */
	return errno == EAGAIN || errno == EACCES ? EBUSY : 0;
}

/* Which alignment O_DIRECT wants here: the host says EINVAL to what it does not take. */
static unsigned direct_align(const struct block_file *file)
{
	_Alignas(DIRECT_MAX) char buf[2 * DIRECT_MAX];

	if (file->is_device)
		return file->logical;
	for (unsigned align = 512; align < DIRECT_MAX; align *= 2)
		if (pread(file->fd, buf + align, align, align) >= 0)
			return align;
	return DIRECT_MAX;
}

static void identify(const struct stat *st, dev_t *dev, ino_t *ino)
{
	*dev = S_ISBLK(st->st_mode) ? st->st_rdev : st->st_dev;
	*ino = S_ISBLK(st->st_mode) ? 0 : st->st_ino;
}

int block_file_identify(const char *path, dev_t *dev, ino_t *ino)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return errno;
	identify(&st, dev, ino);
	return 0;
}

static int file_measure(struct block_file *file)
{
	struct stat st;
	uint64_t size;
	int logical = 512;
	unsigned physical = 512;

	if (fstat(file->fd, &st) != 0)
		return errno;
	identify(&st, &file->dev, &file->ino);
	file->logical = file->physical = 512;
	if (S_ISREG(st.st_mode)) {
		file->size = (uint64_t)st.st_size;
		file->physical = st.st_blksize >= 512 && st.st_blksize <= 65536 &&
						 (st.st_blksize & (st.st_blksize - 1)) == 0
					 ? (unsigned)st.st_blksize
					 : 512;
		return 0;
	}
	if (!S_ISBLK(st.st_mode))
		return ENOTBLK;
	if (ioctl(file->fd, BLKGETSIZE64, &size) != 0 || ioctl(file->fd, BLKSSZGET, &logical) != 0)
		return errno;
	if (ioctl(file->fd, BLKPBSZGET, &physical) != 0)
		physical = (unsigned)logical;
	file->is_device = true;
	file->size = size;
	file->logical = (unsigned)logical;
	file->physical = physical < (unsigned)logical ? (unsigned)logical : physical;
	return 0;
}

static const char *open_error(int error, const struct block_file_args *args)
{
	switch (error) {
	case EBUSY:
		return "is in use by another virtual machine or program";
	case ENOTBLK:
		return "is neither a file nor a block device";
	case EINVAL:
		return args->nocache ? "its file system has no O_DIRECT (nocache)"
				     : strerror(error);
	default:
		return strerror(error);
	}
}

int block_file_open(const struct block_file_args *args, struct block_file **out)
{
	struct block_file *file = calloc(1, sizeof(*file) + strlen(args->path) + 1);
	int error;

	if (!file)
		return ENOMEM;
	strcpy(file->path, args->path);
	file->read_only = args->read_only;
	file->io = args->io ? args->io : &block_host_io;
	file->plain = file->io == &block_host_io;
	pthread_mutex_init(&file->partial_lock, NULL);
	/* Not to wait for the other end of a FIFO. */
	file->fd = open(args->path, (args->read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK |
					    O_NOCTTY | (args->nocache ? O_DIRECT : 0) |
					    (args->sync ? O_SYNC : 0));
	error = file->fd < 0 ? errno : file_measure(file);
	if (!error)
		error = file_lock(file);
	if (error) {
		snprintf(args->why, args->why_size, "%s: %s", args->path, open_error(error, args));
		block_file_close(file);
		return error;
	}
	file->align = args->nocache ? direct_align(file) : 1;
	*out = file;
	return 0;
}

void block_file_close(struct block_file *file)
{
	if (file->fd >= 0)
		close(file->fd);
	pthread_mutex_destroy(&file->partial_lock);
	free(file);
}

void block_file_grown(struct block_file *file, uint64_t end)
{
	uint64_t size = atomic_load(&file->size);

	while (size < end && !atomic_compare_exchange_weak(&file->size, &size, end))
		;
}

bool block_file_is_aligned(
	const struct block_file *file, const struct iovec *iov, int niov, uint64_t offset)
{
	uint64_t bits = offset;

	if (file->align == 1)
		return true;
	for (int i = 0; i < niov; i++)
		bits |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
	return (bits & (file->align - 1)) == 0;
}

/* ---- reading and writing ---- */

/* Until all is done: the host may do less than it is asked for. `iov` is changed. */
static int transfer(struct block_file *file, bool write, struct iovec *iov, int niov,
	uint64_t offset, uint64_t *done)
{
	const struct block_io *io = file->io;

	*done = 0;
	while (niov > 0) {
		int n = niov < IOV_MAX ? niov : IOV_MAX;
		ssize_t r = write ? io->pwritev(io->arg, file->fd, iov, n, offset + *done)
				  : io->preadv(io->arg, file->fd, iov, n, offset + *done);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return errno;
		if (r == 0 && write)
			return EIO;
		if (r == 0)
			break;
		*done += (uint64_t)r;
		block_iov_advance(&iov, &niov, (size_t)r);
	}
	block_iov_zero(iov, niov);
	return 0;
}

static int transfer_buffer(
	struct block_file *file, bool write, void *buf, size_t size, uint64_t offset)
{
	uint64_t done;

	return transfer(file, write, &(struct iovec){buf, size}, 1, offset, &done);
}

/* One stretch of at most BOUNCE_SIZE by way of `bounce`. */
static int transfer_part(struct block_file *file, bool write, char *bounce, const struct iovec *iov,
	int niov, uint64_t offset)
{
	uint64_t length = block_iov_size(iov, niov), mask = file->align - 1;
	uint64_t start = offset & ~mask, end = (offset + length + mask) & ~mask;
	int error = 0;

	if (!write || start != offset || end != offset + length)
		error = transfer_buffer(file, false, bounce, end - start, start);
	if (error)
		return error;
	if (!write) {
		block_iov_write(iov, niov, bounce + (offset - start), length);
		return 0;
	}
	block_iov_read(iov, niov, bounce + (offset - start), length);
	return transfer_buffer(file, true, bounce, end - start, start);
}

/* What is not aligned as O_DIRECT wants it. */
static int transfer_bounced(
	struct block_file *file, bool write, const struct iovec *iov, int niov, uint64_t offset)
{
	uint64_t length = block_iov_size(iov, niov), done = 0;
	struct iovec *part = calloc((size_t)niov, sizeof(*part));
	char *bounce = aligned_alloc(DIRECT_MAX, BOUNCE_SIZE);
	int error = part && bounce ? 0 : ENOMEM;

	/* Another part of the same aligned piece must not be written in between. */
	if (write)
		pthread_mutex_lock(&file->partial_lock);
	while (!error && done < length) {
		uint64_t size = BOUNCE_SIZE - 2 * DIRECT_MAX;

		size = length - done < size ? length - done : size;
		int n = block_iov_slice(iov, niov, done, size, part);

		error = transfer_part(file, write, bounce, part, n, offset + done);
		done += size;
	}
	if (write)
		pthread_mutex_unlock(&file->partial_lock);
	free(bounce);
	free(part);
	return error;
}

static int file_transfer(
	struct block_file *file, bool write, const struct iovec *iov, int niov, uint64_t offset)
{
	enum { FEW = 16 };
	struct iovec few[FEW], *copy = few;
	uint64_t done;
	int error;

	if (!block_file_is_aligned(file, iov, niov, offset))
		return transfer_bounced(file, write, iov, niov, offset);
	if (niov > FEW)
		copy = malloc((size_t)niov * sizeof(*copy));
	if (!copy)
		return ENOMEM;
	memcpy(copy, iov, (size_t)niov * sizeof(*copy));
	error = transfer(file, write, copy, niov, offset, &done);
	if (copy != few)
		free(copy);
	return error;
}

int block_file_readv(struct block_file *file, const struct iovec *iov, int niov, uint64_t offset)
{
	return file_transfer(file, false, iov, niov, offset);
}

int block_file_writev(struct block_file *file, const struct iovec *iov, int niov, uint64_t offset)
{
	int error = file_transfer(file, true, iov, niov, offset);

	if (!error)
		block_file_grown(file, offset + block_iov_size(iov, niov));
	return error;
}

int block_file_read(struct block_file *file, void *to, size_t size, uint64_t offset)
{
	return block_file_readv(file, &(struct iovec){to, size}, 1, offset);
}

int block_file_write(struct block_file *file, const void *from, size_t size, uint64_t offset)
{
	return block_file_writev(file, &(struct iovec){(void *)from, size}, 1, offset);
}

int block_file_sync(struct block_file *file)
{
	int r;

	do
		r = file->io->sync(file->io->arg, file->fd);
	while (r != 0 && errno == EINTR);
	return r == 0 ? 0 : errno;
}

/* ---- holes ---- */

static int file_allocate(struct block_file *file, int mode, uint64_t offset, uint64_t length)
{
	int r;

	do
		r = file->io->allocate(file->io->arg, file->fd, mode, offset, length);
	while (r != 0 && errno == EINTR);
	return r == 0 ? 0 : errno;
}

/* The host cannot do it in this way; another may be possible. */
static bool is_unsupported(int error)
{
	return error == EOPNOTSUPP || error == ENOSYS || error == EINVAL || error == ENODEV;
}

int block_file_punch(struct block_file *file, uint64_t offset, uint64_t length)
{
	int error = file_allocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);

	return is_unsupported(error) ? EOPNOTSUPP : error;
}

static int write_zeros(struct block_file *file, uint64_t offset, uint64_t length)
{
	char *zeros = aligned_alloc(DIRECT_MAX, BOUNCE_SIZE);
	int error = zeros ? 0 : ENOMEM;

	if (zeros)
		memset(zeros, 0, BOUNCE_SIZE);
	while (!error && length > 0) {
		size_t part = length < BOUNCE_SIZE ? length : BOUNCE_SIZE;

		error = block_file_write(file, zeros, part, offset);
		offset += part;
		length -= part;
	}
	free(zeros);
	return error;
}

int block_file_zero(struct block_file *file, uint64_t offset, uint64_t length, bool unmap)
{
	static const int modes[] = {
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
	};

	/* Small ones are cheaper written; and neither call makes a file longer. */
	if (length >= 4096 && offset + length <= atomic_load(&file->size)) {
		for (unsigned i = unmap ? 0 : 1; i < 2; i++) {
			int error = file_allocate(file, modes[i], offset, length);

			if (!is_unsupported(error))
				return error;
		}
	}
	return write_zeros(file, offset, length);
}
