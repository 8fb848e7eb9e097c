/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The block device (virtio 1.2, 5.2).  A request goes from the guest's memory to the image and back
 * without a copy; all that a notification brings is given to the image at once.
 */
#include <endian.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/virtio/virtio.h"
#include "host/host.h"

enum {
	QUEUE_SIZE = 256,
	SEG_MAX = 126,
	PIECES = SEG_MAX + 4, /* and header, status, and where RAM is in two parts */
	QUEUES_DEFAULT_MAX = 8,
	SECTOR = 512,
	ID_SIZE = 20,
	HEADER_SIZE = 16,
	RANGES_MAX = 16,	     /* of one discard */
	RANGE_SECTORS_MAX = 4 << 20, /* of one of them: 2 GiB */
};

#define BLK_F_SEG_MAX	   (1ull << 2)
#define BLK_F_RO	   (1ull << 5)
#define BLK_F_BLK_SIZE	   (1ull << 6)
#define BLK_F_FLUSH	   (1ull << 9)
#define BLK_F_TOPOLOGY	   (1ull << 10)
#define BLK_F_CONFIG_WCE   (1ull << 11)
#define BLK_F_MQ	   (1ull << 12)
#define BLK_F_DISCARD	   (1ull << 13)
#define BLK_F_WRITE_ZEROES (1ull << 14)

enum { T_IN = 0, T_OUT = 1, T_FLUSH = 4, T_GET_ID = 8, T_DISCARD = 11, T_WRITE_ZEROES = 13 };
enum { S_OK = 0, S_IOERR = 1, S_UNSUPP = 2 };
enum { RANGE_UNMAP = 1 };

/* struct virtio_blk_config, little-endian. */
struct blk_config {
	uint64_t capacity;
	uint32_t size_max, seg_max;
	uint16_t cylinders;
	uint8_t heads, sectors;
	uint32_t blk_size;
	uint8_t physical_exp, alignment;
	uint16_t min_io;
	uint32_t opt_io;
	uint8_t writeback, unused0;
	uint16_t num_queues;
	uint32_t max_discard_sectors, max_discard_seg, discard_alignment;
	uint32_t max_zeroes_sectors, max_zeroes_seg;
	uint8_t zeroes_may_unmap, unused1[3];
} __attribute__((packed));

/* Of a discard or write-zeroes request. */
struct blk_range {
	uint64_t sector;
	uint32_t sectors, flags;
};

struct blk_queue;

struct blk_request {
	struct block_request block; /* first */
	struct blk_queue *queue;
	struct blk_request *next_free;
	struct virtq_chain chain;
	size_t written;
	unsigned range, nranges;
	struct blk_range ranges[RANGES_MAX];
	struct iovec iov[PIECES];
	struct iovec data[PIECES];
};

struct blk_queue {
	struct blk *blk;
	struct virtq *q;
	pthread_mutex_t lock;	     /* one at a time takes buffers and submits them */
	_Atomic uintptr_t submitter; /* the thread that does, while it does */
	pthread_mutex_t free_lock;
	struct blk_request *free;
	struct blk_request *requests;
};

struct blk {
	struct virtio *v;
	struct block *block;
	const struct block_facts *facts;
	char id[ID_SIZE + 1];
	unsigned nqueues;
	pthread_mutex_t lock; /* the configuration structure */
	struct blk_config config;
	struct blk_queue queues[];
};

/* There is none yet in create(). */
static struct virtq *queue_ring(const struct blk_queue *queue)
{
	return virtio_queue(queue->blk->v, (unsigned)(queue - queue->blk->queues));
}

static struct blk_request *request_get(struct blk_queue *queue)
{
	struct blk_request *request;

	pthread_mutex_lock(&queue->free_lock);
	request = queue->free;
	if (request)
		queue->free = request->next_free;
	pthread_mutex_unlock(&queue->free_lock);
	return request;
}

static void request_put(struct blk_queue *queue, struct blk_request *request)
{
	pthread_mutex_lock(&queue->free_lock);
	request->next_free = queue->free;
	queue->free = request;
	pthread_mutex_unlock(&queue->free_lock);
}

/* Its status is the last byte that the device writes. */
static void request_finish(struct blk_request *request, uint8_t status)
{
	struct blk_queue *queue = request->queue;
	const struct iovec *last =
		&request->chain.iov[request->chain.nread + request->chain.nwrite - 1];

	((uint8_t *)last->iov_base)[last->iov_len - 1] = status;
	virtq_push(queue_ring(queue), &request->chain, request->written);
	request_put(queue, request);
	/* Who submits interrupts once for all that was done meanwhile. */
	if (atomic_load(&queue->submitter) != (uintptr_t)pthread_self())
		virtq_interrupt(queue_ring(queue));
}

static uint8_t status_of(int error)
{
	return error == 0 ? S_OK : error == EOPNOTSUPP ? S_UNSUPP : S_IOERR;
}

static void range_start(struct blk_request *request)
{
	const struct blk_range *range = &request->ranges[request->range++];

	request->block.offset = range->sector * SECTOR;
	request->block.length = (uint64_t)range->sectors * SECTOR;
	request->block.next = NULL;
	block_submit(request->queue->blk->block, &request->block);
}

static void request_done(struct block_request *block, int error)
{
	struct blk_request *request = (struct blk_request *)block;

	if (!error && request->range < request->nranges)
		range_start(request);
	else
		request_finish(request, status_of(error));
}

/* ---- from a buffer to a request ---- */

/* `count` bytes at `skip` of pieces, as far as they go. */
static size_t gather(const struct iovec *iov, unsigned n, size_t skip, void *to, size_t count)
{
	size_t done = 0;

	for (unsigned i = 0; i < n && done < count; i++) {
		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		size_t part = iov[i].iov_len - skip;

		if (part > count - done)
			part = count - done;
		memcpy((char *)to + done, (char *)iov[i].iov_base + skip, part);
		done += part;
		skip = 0;
	}
	return done;
}

/* `length` bytes of pieces from `skip` on. */
static int slice(const struct iovec *iov, unsigned n, size_t skip, size_t length, struct iovec *out)
{
	int count = 0;

	for (unsigned i = 0; i < n && length > 0; i++) {
		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		size_t part = iov[i].iov_len - skip;

		if (part > length)
			part = length;
		out[count++] = (struct iovec){(char *)iov[i].iov_base + skip, part};
		length -= part;
		skip = 0;
	}
	return count;
}

static int make_transfer(struct blk_request *request, bool write, uint64_t sector)
{
	struct virtq_chain *chain = &request->chain;
	const struct iovec *iov = write ? chain->iov : chain->iov + chain->nread;
	unsigned n = write ? chain->nread : chain->nwrite;
	size_t skip = write ? HEADER_SIZE : 0;
	size_t length = write ? chain->read_len - HEADER_SIZE : chain->write_len - 1;

	if (sector > UINT64_MAX / SECTOR)
		return EINVAL;
	request->block.op = write ? BLOCK_WRITE : BLOCK_READ;
	request->block.offset = sector * SECTOR;
	request->block.length = length;
	request->block.iov = request->data;
	request->block.niov = slice(iov, n, skip, length, request->data);
	return 0;
}

static int make_ranges(struct blk_request *request, bool zeroes)
{
	struct virtq_chain *chain = &request->chain;
	const struct block_facts *facts = request->queue->blk->facts;
	size_t size = chain->read_len - HEADER_SIZE;

	if (facts->read_only || size == 0 || size % sizeof(struct blk_range) ||
		size > sizeof(request->ranges))
		return EINVAL;
	gather(chain->iov, chain->nread, HEADER_SIZE, request->ranges, size);
	request->block.op = zeroes ? BLOCK_WRITE_ZEROES : BLOCK_DISCARD;
	request->nranges = (unsigned)(size / sizeof(struct blk_range));
	for (unsigned i = 0; i < request->nranges; i++) {
		struct blk_range *range = &request->ranges[i];

		range->sector = le64toh(range->sector);
		range->sectors = le32toh(range->sectors);
		range->flags = le32toh(range->flags);
		if (range->flags & ~(uint32_t)(zeroes ? RANGE_UNMAP : 0))
			return EOPNOTSUPP;
		if (range->sectors > RANGE_SECTORS_MAX || range->sector > facts->size / SECTOR)
			return EINVAL;
	}
	request->block.offset = request->ranges[0].sector * SECTOR;
	request->block.length = (uint64_t)request->ranges[0].sectors * SECTOR;
	request->range = 1;
	return 0;
}

static int give_id(struct blk_request *request)
{
	const struct blk *blk = request->queue->blk;
	struct virtq_chain *chain = &request->chain;
	size_t room = chain->write_len - 1, done = 0;
	int n = slice(chain->iov + chain->nread, chain->nwrite, 0, room < ID_SIZE ? room : ID_SIZE,
		request->data);

	for (int i = 0; i < n; i++) {
		memcpy(request->data[i].iov_base, blk->id + done, request->data[i].iov_len);
		done += request->data[i].iov_len;
	}
	return 0;
}

/* True: it is for the image. Else it is finished already, in `error`. */
static bool request_parse(struct blk_request *request, int *error)
{
	struct {
		uint32_t type, reserved;
		uint64_t sector;
	} header = {0};
	struct virtq_chain *chain = &request->chain;

	gather(chain->iov, chain->nread, 0, &header, HEADER_SIZE);
	*error = 0;
	switch (le32toh(header.type)) {
	case T_IN:
		request->written = chain->write_len;
		*error = make_transfer(request, false, le64toh(header.sector));
		break;
	case T_OUT:
		*error = make_transfer(request, true, le64toh(header.sector));
		break;
	case T_FLUSH:
		request->block.op = BLOCK_FLUSH;
		break;
	case T_DISCARD:
		*error = make_ranges(request, false);
		break;
	case T_WRITE_ZEROES:
		*error = make_ranges(request, true);
		break;
	case T_GET_ID:
		*error = give_id(request);
		return false;
	default:
		*error = EOPNOTSUPP;
		break;
	}
	return *error == 0;
}

/* The next buffer as a request. NULL: there is none. */
static struct blk_request *request_next(struct blk_queue *queue)
{
	struct blk_request *request = request_get(queue);

	if (!request)
		return NULL;
	request->queue = queue;
	request->range = request->nranges = 0;
	request->block = (struct block_request){.done = request_done};
	request->chain = (struct virtq_chain){.iov = request->iov, .max = PIECES};
	if (virtq_pop(queue_ring(queue), &request->chain) == 0) {
		if (request->chain.read_len >= HEADER_SIZE && request->chain.write_len >= 1) {
			request->written = request->chain.write_len;
			return request;
		}
		virtio_broken(queue->blk->v, "a disk request without header or status");
	}
	request_put(queue, request);
	return NULL;
}

/* All that is there, submitted at once; was there any? Caller holds the queue's lock. */
static bool take_all(struct blk_queue *queue)
{
	struct block_request *first = NULL, **last = &first;
	struct blk_request *request;
	bool any = false;

	while ((request = request_next(queue)) != NULL) {
		int error;

		any = true;
		if (!request_parse(request, &error)) {
			request_finish(request, status_of(error));
			continue;
		}
		*last = &request->block;
		last = &request->block.next;
	}
	if (first)
		block_submit(queue->blk->block, first);
	return any;
}

static void blk_notify(void *dev, unsigned index)
{
	struct blk *blk = dev;
	struct blk_queue *queue = &blk->queues[index];
	bool any, more;

	pthread_mutex_lock(&queue->lock);
	atomic_store(&queue->submitter, (uintptr_t)pthread_self());
	/* A driver that counts notifications (EVENT_IDX) has to be asked for the next one. */
	do {
		any = take_all(queue);
		more = virtq_want_notify(queue_ring(queue), true);
	} while (any && more);
	atomic_store(&queue->submitter, 0);
	pthread_mutex_unlock(&queue->lock);
	virtq_interrupt(queue_ring(queue));
}

/* ---- the device ---- */

/* Without FLUSH the driver cannot ask for it, so every write has to be safe (5.2.5.2). */
static void blk_ready(void *dev, uint64_t features)
{
	struct blk *blk = dev;
	bool writeback = (features & (BLK_F_FLUSH | BLK_F_CONFIG_WCE)) != 0;

	pthread_mutex_lock(&blk->lock);
	blk->config.writeback = writeback;
	block_set_writeback(blk->block, writeback);
	pthread_mutex_unlock(&blk->lock);
}

static void blk_reset(void *dev)
{
	struct blk *blk = dev;

	/* Who has taken buffers submits them before he leaves the lock. */
	for (unsigned i = 0; i < blk->nqueues; i++) {
		pthread_mutex_lock(&blk->queues[i].lock);
		pthread_mutex_unlock(&blk->queues[i].lock);
	}
	block_drain(blk->block);
	pthread_mutex_lock(&blk->lock);
	blk->config.writeback = 1;
	pthread_mutex_unlock(&blk->lock);
}

static void blk_config_read(void *dev, unsigned offset, void *to, unsigned len)
{
	struct blk *blk = dev;

	pthread_mutex_lock(&blk->lock);
	memcpy(to, (char *)&blk->config + offset, len);
	pthread_mutex_unlock(&blk->lock);
}

static void blk_config_write(void *dev, unsigned offset, const void *from, unsigned len)
{
	struct blk *blk = dev;
	const unsigned at = offsetof(struct blk_config, writeback);

	if (offset > at || at - offset >= len || !(virtio_features(blk->v) & BLK_F_CONFIG_WCE))
		return;
	pthread_mutex_lock(&blk->lock);
	blk->config.writeback = ((const uint8_t *)from)[at - offset] & 1;
	block_set_writeback(blk->block, blk->config.writeback);
	pthread_mutex_unlock(&blk->lock);
}

static void blk_stats(
	void *dev, void (*emit)(void *arg, const char *name, uint64_t value), void *arg)
{
	static const char *const names[BLOCK_OPS][2] = {
		[BLOCK_READ] = {"reads", "bytes read"},
		[BLOCK_WRITE] = {"writes", "bytes written"},
		[BLOCK_FLUSH] = {"flushes", NULL},
		[BLOCK_DISCARD] = {"discards", "bytes discarded"},
		[BLOCK_WRITE_ZEROES] = {"zeroes", "bytes zeroed"},
	};
	struct blk *blk = dev;
	struct block_stats stats;
	uint64_t errors = 0;

	block_stats(blk->block, &stats);
	for (int op = 0; op < BLOCK_OPS; op++) {
		emit(arg, names[op][0], stats.op[op].count);
		if (names[op][1])
			emit(arg, names[op][1], stats.op[op].bytes);
		errors += stats.op[op].errors;
	}
	emit(arg, "errors", errors);
	emit(arg, "reads from the host's cache", stats.inline_reads);
	emit(arg, "writes into the host's cache", stats.inline_writes);
	emit(arg, "requests held back by a limit", stats.throttled);
	emit(arg, "times the host was full", stats.full);
}

static uint8_t exponent(unsigned value)
{
	return (uint8_t)(value ? 31 - __builtin_clz(value) : 0);
}

static void make_config(struct blk *blk)
{
	const struct block_facts *facts = blk->facts;

	blk->config = (struct blk_config){
		.capacity = htole64(facts->size / SECTOR),
		.seg_max = htole32(SEG_MAX),
		.blk_size = htole32(facts->logical),
		.physical_exp = exponent(facts->physical / facts->logical),
		.min_io = htole16((uint16_t)(facts->physical / facts->logical)),
		.writeback = 1,
		.num_queues = htole16((uint16_t)blk->nqueues),
		.max_discard_sectors = htole32(RANGE_SECTORS_MAX),
		.max_discard_seg = htole32(RANGES_MAX),
		.discard_alignment = htole32(facts->granularity / SECTOR),
		.max_zeroes_sectors = htole32(RANGE_SECTORS_MAX),
		.max_zeroes_seg = htole32(RANGES_MAX),
		.zeroes_may_unmap = 1,
	};
}

static int queue_init(struct blk *blk, unsigned index)
{
	struct blk_queue *queue = &blk->queues[index];

	queue->blk = blk;
	queue->requests = calloc(QUEUE_SIZE, sizeof(queue->requests[0]));
	if (!queue->requests)
		return ENOMEM;
	for (unsigned i = 0; i < QUEUE_SIZE; i++)
		request_put(queue, &queue->requests[i]);
	return 0;
}

static void blk_destroy(void *dev)
{
	struct blk *blk = dev;

	block_close(blk->block);
	for (unsigned i = 0; i < blk->nqueues; i++) {
		free(blk->queues[i].requests);
		pthread_mutex_destroy(&blk->queues[i].lock);
		pthread_mutex_destroy(&blk->queues[i].free_lock);
	}
	pthread_mutex_destroy(&blk->lock);
	free(blk);
}

static int queues_option(const struct pci_args *args, unsigned *count)
{
	const char *value = args->option(args->config, "queues");
	char *end;

	*count = args->guest->facts.ncpus < QUEUES_DEFAULT_MAX ? args->guest->facts.ncpus
							       : QUEUES_DEFAULT_MAX;
	if (*count == 0)
		*count = 1;
	if (!value)
		return 0;
	unsigned long n = strtoul(value, &end, 10);

	if (*value < '0' || *value > '9' || *end || n < 1 || n > VIRTIO_QUEUES_MAX) {
		snprintf(args->why, args->why_size, "queues=%s: wants 1 to %d", value,
			VIRTIO_QUEUES_MAX);
		return EINVAL;
	}
	*count = (unsigned)n;
	return 0;
}

static int open_image(struct blk *blk, const struct pci_args *args)
{
	const char *serial = args->option(args->config, "ser");
	struct block_settings settings;
	int error = block_settings_parse(
		&settings, args->option, args->config, args->why, args->why_size);

	if (error)
		return error;
	settings.log = args->guest->log;
	error = block_open(args->guest->loop, &settings, &blk->block, args->why, args->why_size);
	if (error)
		return error;
	blk->facts = block_facts(blk->block);
	snprintf(blk->id, sizeof(blk->id), "%s", serial ? serial : blk->facts->serial);
	return 0;
}

static void make_setup(const struct blk *blk, struct virtio_setup *setup)
{
	*setup = (struct virtio_setup){
		.features = BLK_F_SEG_MAX | BLK_F_BLK_SIZE | BLK_F_FLUSH | BLK_F_TOPOLOGY |
			    BLK_F_CONFIG_WCE,
		.nqueues = blk->nqueues,
		.queue_size = QUEUE_SIZE,
		.config_size = sizeof(struct blk_config),
	};
	if (blk->facts->read_only)
		setup->features |= BLK_F_RO;
	else
		setup->features |= BLK_F_WRITE_ZEROES;
	if (blk->facts->can_discard)
		setup->features |= BLK_F_DISCARD;
	if (blk->nqueues > 1)
		setup->features |= BLK_F_MQ;
}

static int blk_create(
	struct virtio *v, const struct pci_args *args, struct virtio_setup *setup, void **dev)
{
	unsigned nqueues;
	int error = queues_option(args, &nqueues);

	if (error)
		return error;
	struct blk *blk = calloc(1, sizeof(*blk) + nqueues * sizeof(blk->queues[0]));

	if (!blk)
		return ENOMEM;
	blk->v = v;
	blk->nqueues = nqueues;
	pthread_mutex_init(&blk->lock, NULL);
	for (unsigned i = 0; i < nqueues; i++) {
		pthread_mutex_init(&blk->queues[i].lock, NULL);
		pthread_mutex_init(&blk->queues[i].free_lock, NULL);
	}
	for (unsigned i = 0; i < nqueues && !error; i++)
		error = queue_init(blk, i);
	if (!error)
		error = open_image(blk, args);
	if (error) {
		blk_destroy(blk);
		return error;
	}
	make_config(blk);
	make_setup(blk, setup);
	*dev = blk;
	return 0;
}

static const struct virtio_type blk_type = {
	.id = VIRTIO_ID_BLOCK,
	.class = 0x01,	  /* mass storage, */
	.subclass = 0x80, /* other */
	.create = blk_create,
	.destroy = blk_destroy,
	.notify = blk_notify,
	.ready = blk_ready,
	.reset = blk_reset,
	.config_read = blk_config_read,
	.config_write = blk_config_write,
	.stats = blk_stats,
};

static const char *const blk_keys[] = {"path", "format", "nocache", "direct", "sync", "ro",
	"nodelete", "sectorsize", "engine", "onfull", "iops", "bps", "ser", "queues", NULL};

const struct pci_model virtio_blk = {
	.name = "virtio-blk",
	.about = "a disk: raw or qcow2 image, or block device of the host",
	.first = "path",
	.keys = blk_keys,
	.type = &blk_type,
	.create = virtio_pci_create,
	.destroy = virtio_pci_destroy,
	.stats = virtio_pci_stats,
};
