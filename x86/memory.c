/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Copies between a buffer and linear addresses, across pages and into devices. */
#include "x86/system.h"

#define MMIO_CHUNK 8u /* bytes that a device is asked for at a time */

/* The part of an access that lies in one page. */
struct piece {
	uint64_t gla;
	unsigned len;
	uint8_t *host; /* NULL: MMIO at gpa */
	uint64_t gpa;
};

void *x86_map_walk(
	struct x86_cpu *cpu, uint64_t gla, unsigned len, unsigned acc, enum x86_result *res)
{
	struct x86_walk walk;
	void *host;

	*res = x86_walk(cpu, gla, acc, &walk);
	if (*res != X86_DONE)
		return NULL;
	host = cpu->ops->ram(cpu, walk.gpa, len, acc & X86_ACC_WRITE);
	if (host != NULL)
		return host;
	*res = X86_EXIT;
	if (acc & X86_ACC_NOFAULT)
		return NULL;
	cpu->exit = (struct x86_exit){
		.reason = X86_EXIT_MMIO,
		.mmio = {.gpa = walk.gpa,
			.gla = gla,
			.size = (uint8_t)len,
			.write = acc & X86_ACC_WRITE},
	};
	return NULL;
}

/* An address past the last one of a legacy mode starts again at 0. */
static uint64_t wrap(const struct x86_cpu *cpu, uint64_t gla)
{
	return x86_is_long(cpu) ? gla : (uint32_t)gla;
}

static enum x86_result map_piece(struct x86_cpu *cpu, struct piece *piece, unsigned acc)
{
	enum x86_result res = X86_DONE;

	piece->host = cpu->ops->map(cpu, piece->gla, piece->len, acc, &res);
	if (piece->host != NULL || res != X86_EXIT || acc & X86_ACC_NOFAULT || cpu->exit.mmio.table)
		return res;
	piece->gpa = cpu->exit.mmio.gpa;
	return X86_DONE;
}

static enum x86_result map_pieces(struct x86_cpu *cpu, uint64_t gla, unsigned len, unsigned acc,
	struct piece piece[2], unsigned *count)
{
	unsigned first = X86_PAGE_SIZE - (unsigned)(gla % X86_PAGE_SIZE);
	enum x86_result res;

	*count = 1;
	piece[0] = (struct piece){.gla = wrap(cpu, gla), .len = len < first ? len : first};
	res = map_piece(cpu, &piece[0], acc);
	if (len <= first || res != X86_DONE)
		return res;
	*count = 2;
	piece[1] = (struct piece){.gla = wrap(cpu, gla + first), .len = len - first};
	return map_piece(cpu, &piece[1], acc);
}

static enum x86_result read_piece(struct x86_cpu *cpu, const struct piece *piece, uint8_t *buf)
{
	enum x86_result res = X86_DONE;

	if (piece->host != NULL) {
		x86_bytes_copy(buf, piece->host, piece->len);
		return X86_DONE;
	}
	for (unsigned at = 0, n; at < piece->len && res == X86_DONE; at += n) {
		n = piece->len - at < MMIO_CHUNK ? piece->len - at : MMIO_CHUNK;
		res = cpu->ops->mmio_read(cpu, piece->gla + at, piece->gpa + at, buf + at, n);
	}
	return res;
}

static enum x86_result write_piece(
	struct x86_cpu *cpu, const struct piece *piece, const uint8_t *buf)
{
	enum x86_result res = X86_DONE;

	if (piece->host != NULL) {
		x86_bytes_copy(piece->host, buf, piece->len);
		return X86_DONE;
	}
	for (unsigned at = 0, n; at < piece->len && res == X86_DONE; at += n) {
		n = piece->len - at < MMIO_CHUNK ? piece->len - at : MMIO_CHUNK;
		res = cpu->ops->mmio_write(cpu, piece->gla + at, piece->gpa + at, buf + at, n);
	}
	return res;
}

void *x86_map_split(
	struct x86_cpu *cpu, uint64_t gla, unsigned len, unsigned acc, enum x86_result *res)
{
	unsigned first = X86_PAGE_SIZE - (unsigned)(gla % X86_PAGE_SIZE);
	void *low, *high;

	*res = X86_DONE;
	if (cpu->ops->join == NULL)
		return NULL;
	low = cpu->ops->map(cpu, gla, first, acc, res);
	high = low != NULL ? cpu->ops->map(cpu, wrap(cpu, gla + first), len - first, acc, res)
			   : NULL;
	return high != NULL ? cpu->ops->join(cpu, low, high) : NULL;
}

enum x86_result x86_read(struct x86_cpu *cpu, uint64_t gla, void *buf, unsigned len, unsigned acc)
{
	struct piece piece[2];
	unsigned count;
	enum x86_result res = map_pieces(cpu, gla, len, acc, piece, &count);

	if (res == X86_DONE)
		res = read_piece(cpu, &piece[0], buf);
	if (res == X86_DONE && count == 2)
		res = read_piece(cpu, &piece[1], (uint8_t *)buf + piece[0].len);
	return res;
}

enum x86_result x86_write(
	struct x86_cpu *cpu, uint64_t gla, const void *buf, unsigned len, unsigned acc)
{
	struct piece piece[2];
	unsigned count, device;
	enum x86_result res = map_pieces(cpu, gla, len, acc, piece, &count);

	if (res != X86_DONE || count == 1)
		return res != X86_DONE ? res : write_piece(cpu, &piece[0], buf);
	/* The device first: it may refuse, memory cannot. */
	device = piece[0].host != NULL;
	res = write_piece(cpu, &piece[device], (const uint8_t *)buf + (device ? piece[0].len : 0));
	if (res == X86_DONE)
		res = write_piece(
			cpu, &piece[!device], (const uint8_t *)buf + (device ? 0 : piece[0].len));
	return res;
}
