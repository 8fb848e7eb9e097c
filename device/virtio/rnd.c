/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The entropy device (virtio 1.2, 5.4): buffers are filled from the host's getrandom(2). */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/random.h>

#include "device/virtio/virtio.h"

/* So much at most a buffer: a guest that asks for a gigabyte does not hold up its own vcpu. */
enum { PIECES = 16, BYTES_MAX = 65536 };

struct rnd {
	struct virtio *v;
	pthread_mutex_t lock;
};

/* Bytes that were filled in. */
static size_t fill(const struct virtq_chain *c)
{
	size_t done = 0;

	for (unsigned i = 0; i < c->nwrite && done < BYTES_MAX; i++) {
		const struct iovec *piece = &c->iov[c->nread + i];
		size_t want = piece->iov_len;

		if (want > BYTES_MAX - done)
			want = BYTES_MAX - done;
		ssize_t n = getrandom(piece->iov_base, want, 0);

		if (n < 0)
			break;
		done += (size_t)n;
		if ((size_t)n < want)
			break;
	}
	return done;
}

static void rnd_notify(void *dev, unsigned queue)
{
	struct rnd *rnd = dev;
	struct virtq *q = virtio_queue(rnd->v, queue);
	struct iovec iov[PIECES];
	struct virtq_chain chain = {.iov = iov, .max = PIECES};
	bool any;

	pthread_mutex_lock(&rnd->lock);
	/* A driver that counts notifications (EVENT_IDX) has to be asked for the next one. */
	do {
		for (any = false; virtq_pop(q, &chain) == 0; any = true)
			virtq_push(q, &chain, fill(&chain));
	} while (virtq_want_notify(q, true) && any);
	pthread_mutex_unlock(&rnd->lock);
	virtq_interrupt(q);
}

/* A notify that is under way has given back all it took once it leaves the lock. */
static void rnd_reset(void *dev)
{
	struct rnd *rnd = dev;

	pthread_mutex_lock(&rnd->lock);
	pthread_mutex_unlock(&rnd->lock);
}

static int rnd_create(
	struct virtio *v, const struct pci_args *args, struct virtio_setup *setup, void **dev)
{
	struct rnd *rnd = calloc(1, sizeof(*rnd));

	(void)args;
	if (!rnd)
		return ENOMEM;
	rnd->v = v;
	pthread_mutex_init(&rnd->lock, NULL);
	*setup = (struct virtio_setup){.nqueues = 1, .queue_size = 64};
	*dev = rnd;
	return 0;
}

static void rnd_destroy(void *dev)
{
	struct rnd *rnd = dev;

	pthread_mutex_destroy(&rnd->lock);
	free(rnd);
}

static const struct virtio_type rnd_type = {
	.id = VIRTIO_ID_ENTROPY,
	.class = 0xff,
	.create = rnd_create,
	.destroy = rnd_destroy,
	.notify = rnd_notify,
	.reset = rnd_reset,
};

const struct pci_model virtio_rnd = {
	.name = "virtio-rnd",
	.about = "random numbers from the host",
	.type = &rnd_type,
	.create = virtio_pci_create,
	.destroy = virtio_pci_destroy,
	.stats = virtio_pci_stats,
};
