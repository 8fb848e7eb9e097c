/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "host/block/image.h"

#include <string.h>

int block_iov_slice(
	const struct iovec *iov, int niov, uint64_t skip, uint64_t length, struct iovec *out)
{
	int n = 0;

	for (int i = 0; i < niov && length > 0; i++) {
		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		uint64_t part = iov[i].iov_len - skip;

		if (part > length)
			part = length;
		out[n].iov_base = (char *)iov[i].iov_base + skip;
		out[n++].iov_len = part;
		length -= part;
		skip = 0;
	}
	return n;
}

void block_iov_zero(const struct iovec *iov, int niov)
{
	for (int i = 0; i < niov; i++)
		if (iov[i].iov_len)
			memset(iov[i].iov_base, 0, iov[i].iov_len);
}

void block_iov_read(const struct iovec *iov, int niov, void *to, size_t size)
{
	for (int i = 0; i < niov && size > 0; i++) {
		size_t part = iov[i].iov_len < size ? iov[i].iov_len : size;

		if (part)
			memcpy(to, iov[i].iov_base, part);
		to = (char *)to + part;
		size -= part;
	}
}

void block_iov_write(const struct iovec *iov, int niov, const void *from, size_t size)
{
	for (int i = 0; i < niov && size > 0; i++) {
		size_t part = iov[i].iov_len < size ? iov[i].iov_len : size;

		if (part)
			memcpy(iov[i].iov_base, from, part);
		from = (const char *)from + part;
		size -= part;
	}
}

uint64_t block_iov_size(const struct iovec *iov, int niov)
{
	uint64_t size = 0;

	for (int i = 0; i < niov; i++)
		size += iov[i].iov_len;
	return size;
}

void block_iov_advance(struct iovec **iov, int *niov, size_t count)
{
	while (*niov > 0 && count >= (*iov)->iov_len) {
		count -= (*iov)->iov_len;
		(*iov)++;
		(*niov)--;
	}
	if (*niov > 0) {
		(*iov)->iov_base = (char *)(*iov)->iov_base + count;
		(*iov)->iov_len -= count;
	}
}
