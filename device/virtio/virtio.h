/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Virtio 1.2: what a device type (disk, network card...) sees of its transport and its queues.  For
 * device/virtio and its tests.
 *
 * A type is one const struct virtio_type and, in front of it, one const struct pci_model whose
 * `create` is virtio_pci_create and whose `type` points to it.
 *
 *	notify(dev, queue)			the driver has put buffers into a queue
 *	    while (virtq_pop(q, &chain) == 0)	takes them
 *		...
 *	virtq_push(q, &chain, written)		gives one back, now or later, from any thread
 *	virtq_interrupt(q)			after one or several of those
 *
 * Whatever the driver gets wrong about its rings ends in virtq_pop: the device asks for a reset
 * (DEVICE_NEEDS_RESET) and hands out nothing more until there was one.
 */
#ifndef DEVICE_VIRTIO_VIRTIO_H
#define DEVICE_VIRTIO_VIRTIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "device/guest.h"
#include "device/pci/pci.h"

struct virtio;
struct virtq;

enum {
	VIRTIO_QUEUES_MAX = 64,
	VIRTQ_SIZE_MAX = 1024,

	VIRTIO_ID_NET = 1,
	VIRTIO_ID_BLOCK = 2,
	VIRTIO_ID_CONSOLE = 3,
	VIRTIO_ID_ENTROPY = 4,
};

/* Feature bits of the transport and the rings (virtio 1.2, 6); the types' own are below 24. */
#define VIRTIO_F_NOTIFY_ON_EMPTY (1ull << 24)
#define VIRTIO_F_ANY_LAYOUT	 (1ull << 27)
#define VIRTIO_F_INDIRECT_DESC	 (1ull << 28)
#define VIRTIO_F_EVENT_IDX	 (1ull << 29)
#define VIRTIO_F_VERSION_1	 (1ull << 32)
#define VIRTIO_F_RING_PACKED	 (1ull << 34)

/* ---- types ---- */

/* How a device differs from its type; create() fills it. */
struct virtio_setup {
	uint64_t features; /* of the type, offered; the transport adds its own */
	unsigned nqueues;
	uint16_t queue_size;  /* a power of two, the largest and the default */
	unsigned config_size; /* bytes of the type's configuration structure */
};

struct virtio_type {
	uint16_t id;		 /* VIRTIO_ID_... */
	uint8_t class, subclass; /* PCI's */
	/*
	 * `setup` is zeroed before. On failure an errno and a line in args->why.
	 */
	int (*create)(struct virtio *v, const struct pci_args *args, struct virtio_setup *setup,
		void **dev);
	/* Quiet: reset() was called before. */
	void (*destroy)(void *dev);
	/*
	 * The driver has put buffers into a queue. On the thread of the vcpu that says so, several
	 * at a time: a type brings its own lock, and must not block for long.
	 */
	void (*notify)(void *dev, unsigned queue);
	/*
	 * The driver is ready (DRIVER_OK) and has taken these features.  May be NULL.
	 */
	void (*ready)(void *dev, uint64_t features);
	/*
	 * When it returns nothing that the device began before touches guest memory any more, and
	 * nothing is given back: buffers it holds are forgotten.  Queues hand out nothing while it
	 * runs.  It may wait for what is under way.  A notify() may be running on another thread.
	 */
	void (*reset)(void *dev);
	/*
	 * The type's configuration structure: bytes [offset, offset+len) of it, always inside.
	 * Writes may be NULL: there are none.
	 */
	void (*config_read)(void *dev, unsigned offset, void *to, unsigned len);
	void (*config_write)(void *dev, unsigned offset, const void *from, unsigned len);
	/* Counters of its own; may be NULL. */
	void (*stats)(
		void *dev, void (*emit)(void *arg, const char *name, uint64_t value), void *arg);
};

/* What a pci_model of a virtio device has. */
int virtio_pci_create(const struct pci_args *args, void **dev);
void virtio_pci_destroy(void *dev);
void virtio_pci_stats(
	void *dev, void (*emit)(void *arg, const char *name, uint64_t value), void *arg);

extern const struct pci_model virtio_blk, virtio_console, virtio_net, virtio_rnd;

/* ---- the transport, for types; any thread ---- */

struct guest *virtio_guest(struct virtio *v);
/* What the driver has accepted; 0 before FEATURES_OK. */
uint64_t virtio_features(struct virtio *v);
/* Has a modern driver the device? If not, fields of the type are little-endian all the same here.
 */
bool virtio_is_modern(struct virtio *v);
struct virtq *virtio_queue(struct virtio *v, unsigned index);
/* The configuration structure has changed by itself: the driver is told. */
void virtio_config_changed(struct virtio *v);
/* The driver has done what it must not: nothing goes on until it resets the device. */
void virtio_broken(struct virtio *v, const char *why);

/* ---- queues; any thread, each has a lock of its own ---- */

/*
 * A buffer: first what the driver has filled, then what the device shall fill, in pieces of guest
 * memory.  A piece stays valid until the type's reset() returns.  The guest may change them
 * meanwhile.
 */
struct virtq_chain {
	/* From the caller: room for pieces. */
	struct iovec *iov;
	unsigned max;
	/* From virtq_pop: iov[0..nread) to be read, iov[nread..nread+nwrite) to be written. */
	unsigned nread, nwrite;
	size_t read_len, write_len; /* bytes of them */
	/* The ring's. */
	uint16_t id, ndescs;
};

/* A chain of more pieces than this, or than `max`, breaks the device. */
enum { VIRTQ_PIECES_MAX = VIRTQ_SIZE_MAX };

/* Takes the next buffer. 0; EAGAIN: there is none; EIO: the device is broken or being reset. */
int virtq_pop(struct virtq *q, struct virtq_chain *chain);
/* Puts the last `n` buffers back that virtq_pop gave, none of which has been pushed. */
void virtq_unpop(struct virtq *q, const struct virtq_chain *chains, unsigned n);
/*
 * Gives a buffer back, of which the first `written` bytes of the pieces to be written hold data:
 * they are reported to whoever runs the guest, too.  Ignored after a reset.
 */
void virtq_push(struct virtq *q, const struct virtq_chain *chain, size_t written);
/* Several at a time that the driver sees all at once: the packets that share one header. */
void virtq_push_all(
	struct virtq *q, const struct virtq_chain *chains, const size_t *written, unsigned n);
/* Interrupts the driver if it wants to hear of what was pushed since the last call. */
void virtq_interrupt(struct virtq *q);
/*
 * Asks the driver to notify (or not to bother, while the device looks by itself).  True: meanwhile
 * there are buffers that it may not have been told of.
 */
bool virtq_want_notify(struct virtq *q, bool wanted);
/* Are there buffers? */
bool virtq_has_buffers(struct virtq *q);
/* Has the driver set it up? */
bool virtq_is_live(struct virtq *q);

#endif
