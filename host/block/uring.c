/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Work by io_uring.  Whoever has work fills the ring; a thread of its own takes what is done. */
#include "host/block/image.h"

#include <errno.h>
#include <liburing.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "host/thread.h"

/* What the kernel is given at a time always fits into the ring of completions. */
enum { ENTRIES = 128, IN_FLIGHT_MAX = 2 * ENTRIES, BATCH = 32 };

struct block_uring {
	struct io_uring ring;
	pthread_t reaper;
	pthread_mutex_t lock; /* guards what follows, and the submitting side of the ring */
	unsigned in_flight;
	struct block_work *waiting, **last;
};

static void prepare(struct io_uring_sqe *sqe, struct block_work *work)
{
	unsigned n = work->niov < IOV_MAX ? (unsigned)work->niov : IOV_MAX;

	switch (work->kind) {
	case BLOCK_DO_READ:
		io_uring_prep_readv(sqe, work->file->fd, work->iov, n, work->offset);
		break;
	case BLOCK_DO_WRITE:
		io_uring_prep_writev(sqe, work->file->fd, work->iov, n, work->offset);
		break;
	default:
		io_uring_prep_fsync(sqe, work->file->fd, IORING_FSYNC_DATASYNC);
		break;
	}
	io_uring_sqe_set_data(sqe, work);
}

/* Everything prepared goes to the kernel. Caller holds the lock. */
static void ring_push(struct block_uring *uring)
{
	int r;

	/* Only for want of memory: completions do not come in its way. */
	while ((r = io_uring_submit(&uring->ring)) == -EAGAIN || r == -EINTR || r == -EBUSY)
		usleep(1000);
}

static void ring_fill(struct block_uring *uring)
{
	while (uring->waiting && uring->in_flight < IN_FLIGHT_MAX) {
		struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);

		if (!sqe) {
			ring_push(uring);
			continue;
		}
		prepare(sqe, uring->waiting);
		uring->in_flight++;
		uring->waiting = uring->waiting->next;
	}
	if (!uring->waiting)
		uring->last = &uring->waiting;
	ring_push(uring);
}

void block_uring_submit(struct block_uring *uring, struct block_work *list)
{
	pthread_mutex_lock(&uring->lock);
	*uring->last = list;
	while (*uring->last)
		uring->last = &(*uring->last)->next;
	ring_fill(uring);
	pthread_mutex_unlock(&uring->lock);
}

/* Whether the work has ended, and how; if not, the rest of it is to be submitted again. */
static bool work_advance(struct block_work *work, int res, int *error)
{
	*error = 0;
	if (res == -EINTR || res == -EAGAIN)
		return false;
	if (res < 0) {
		*error = -res;
		return true;
	}
	if (work->kind == BLOCK_DO_SYNC)
		return true;
	if (res == 0) {
		if (work->kind == BLOCK_DO_WRITE)
			*error = EIO;
		else
			block_iov_zero(work->iov, work->niov);
		return true;
	}
	work->offset += (unsigned)res;
	block_iov_advance(&work->iov, &work->niov, (size_t)res);
	return work->niov == 0;
}

/* Takes up to BATCH completions. False: the ring shall end. */
static bool reap(struct block_uring *uring)
{
	struct io_uring_cqe *cqes[BATCH];
	struct {
		struct block_work *work;
		int res;
	} got[BATCH];
	struct block_work *again = NULL, **end = &again;
	unsigned n = io_uring_peek_batch_cqe(&uring->ring, cqes, BATCH);
	bool go_on = true;

	for (unsigned i = 0; i < n; i++) {
		got[i].work = io_uring_cqe_get_data(cqes[i]);
		got[i].res = cqes[i]->res;
	}
	io_uring_cq_advance(&uring->ring, n);
	pthread_mutex_lock(&uring->lock);
	uring->in_flight -= n;
	if (uring->waiting)
		ring_fill(uring);
	pthread_mutex_unlock(&uring->lock);
	for (unsigned i = 0; i < n; i++) {
		int error;

		if (!got[i].work) {
			go_on = false;
		} else if (work_advance(got[i].work, got[i].res, &error)) {
			got[i].work->done(got[i].work, error);
		} else {
			*end = got[i].work;
			end = &got[i].work->next;
		}
	}
	*end = NULL;
	if (again)
		block_uring_submit(uring, again);
	return go_on;
}

static void *reaper(void *arg)
{
	struct block_uring *uring = arg;
	struct io_uring_cqe *cqe;

	do
		while (io_uring_wait_cqe(&uring->ring, &cqe) != 0)
			;
	while (reap(uring));
	return NULL;
}

/*
 * What a ring does passes by a filter of system calls, so from now on it does this work and no other.
 * Kernels before 5.10 have no such restrictions.
 */
static int restrict_ring(struct io_uring *ring)
{
	static const uint8_t allowed[] = {
		IORING_OP_NOP, IORING_OP_READV, IORING_OP_WRITEV, IORING_OP_FSYNC};
	struct io_uring_restriction list[sizeof(allowed)] = {0};

	for (size_t i = 0; i < sizeof(allowed); i++) {
		list[i].opcode = IORING_RESTRICTION_SQE_OP;
		list[i].sqe_op = allowed[i];
	}
	/* By system calls: liburing 2.3 declares its own functions for it, but does not export them. */
	if (syscall(SYS_io_uring_register, ring->ring_fd, IORING_REGISTER_RESTRICTIONS, list,
		    sizeof(allowed)) != 0 ||
		syscall(SYS_io_uring_register, ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) !=
			0)
		return errno;
	return 0;
}

int block_uring_create(struct block_uring **out)
{
	struct block_uring *uring = calloc(1, sizeof(*uring));
	int error;

	if (!uring)
		return ENOMEM;
	error = -io_uring_queue_init(ENTRIES, &uring->ring, IORING_SETUP_R_DISABLED);
	if (error)
		goto fail;
	error = restrict_ring(&uring->ring);
	if (error) {
		io_uring_queue_exit(&uring->ring);
		goto fail;
	}
	pthread_mutex_init(&uring->lock, NULL);
	uring->last = &uring->waiting;
	error = host_thread_start(&uring->reaper, "hyve-ring", reaper, uring);
	if (error)
		goto fail_ring;
	*out = uring;
	return 0;

fail_ring:
	pthread_mutex_destroy(&uring->lock);
	io_uring_queue_exit(&uring->ring);
fail:
	free(uring);
	return error;
}

void block_uring_destroy(struct block_uring *uring)
{
	if (!uring)
		return;
	pthread_mutex_lock(&uring->lock);
	struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);

	io_uring_prep_nop(sqe);
	io_uring_sqe_set_data(sqe, NULL);
	uring->in_flight++;
	ring_push(uring);
	pthread_mutex_unlock(&uring->lock);
	pthread_join(uring->reaper, NULL);
	pthread_mutex_destroy(&uring->lock);
	io_uring_queue_exit(&uring->ring);
	free(uring);
}
