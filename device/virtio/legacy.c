/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The registers of before virtio 1.0 (4.1.4.8), in ports: for guests that know no other.  A driver
 * that comes this way gets no modern feature, and rings in one piece of memory.
 */
#include "device/device.h"
#include "device/virtio/transport.h"

enum {
	LEGACY_DEVICE_FEATURES = 0x00,
	LEGACY_DRIVER_FEATURES = 0x04,
	LEGACY_QUEUE_PAGE = 0x08,
	LEGACY_QUEUE_SIZE = 0x0c,
	LEGACY_QUEUE_SELECT = 0x0e,
	LEGACY_NOTIFY = 0x10,
	LEGACY_STATUS = 0x12,
	LEGACY_ISR = 0x13,
	LEGACY_CONFIG_VECTOR = 0x14, /* only with MSI-X on, or the type's structure starts here */
	LEGACY_QUEUE_VECTOR = 0x16,
	LEGACY_CONFIG = 0x14,
	LEGACY_CONFIG_MSIX = 0x18,

	PAGE_SHIFT = 12,
	DESC_SIZE = 16,
};

static unsigned config_at(struct virtio *v)
{
	return pci_signalling(v->function) == PCI_SIGNAL_MSIX ? LEGACY_CONFIG_MSIX : LEGACY_CONFIG;
}

static struct virtq *selected(struct virtio *v)
{
	return v->queue_select < v->setup.nqueues ? &v->queues[v->queue_select] : NULL;
}

static uint64_t header_read(struct virtio *v, unsigned offset)
{
	struct virtq *q = selected(v);

	switch (offset) {
	case LEGACY_DEVICE_FEATURES:
		return (uint32_t)v->offered;
	case LEGACY_DRIVER_FEATURES:
		return (uint32_t)v->accepted;
	case LEGACY_QUEUE_PAGE:
		return q && virtq_is_live(q) ? q->desc >> PAGE_SHIFT : 0;
	case LEGACY_QUEUE_SIZE:
		return q ? q->size_max : 0;
	case LEGACY_QUEUE_SELECT:
		return v->queue_select;
	case LEGACY_STATUS:
		return v->status;
	case LEGACY_CONFIG_VECTOR:
		return v->config_vector;
	case LEGACY_QUEUE_VECTOR:
		return q ? q->vector : VECTOR_NONE;
	default:
		return 0;
	}
}

static uint64_t legacy_read(void *arg, uint64_t offset, unsigned size)
{
	struct virtio *v = arg;
	unsigned config = config_at(v);

	if (offset >= config)
		return virtio_config_read(v, offset - config, size);
	if (offset == LEGACY_ISR)
		return virtio_take_isr(v);
	pthread_mutex_lock(&v->lock);
	uint64_t value = header_read(v, (unsigned)offset);

	pthread_mutex_unlock(&v->lock);
	return value;
}

/* Descriptors, available ring, and on the next page the used ring (2.7.2). 0 takes it away. */
static bool place_queue(struct virtio *v, uint32_t page)
{
	struct virtq *q = selected(v);

	if (!q)
		return true;
	if (page == 0) {
		virtq_stop(q);
		return true;
	}
	if (virtq_is_live(q))
		return true;
	q->desc = (uint64_t)page << PAGE_SHIFT;
	q->driver = q->desc + (uint64_t)q->size * DESC_SIZE;
	q->device = (q->driver + virtq_avail_bytes(q->size) + 0xfff) & ~0xfffull;
	return virtq_start(q, v->accepted & v->offered & 0xffffffff);
}

static uint16_t checked_vector(const struct virtio *v, uint64_t vector)
{
	return vector <= v->setup.nqueues ? (uint16_t)vector : VECTOR_NONE;
}

static bool header_write(struct virtio *v, unsigned offset, uint64_t value)
{
	struct virtq *q = selected(v);

	v->legacy = true;
	switch (offset) {
	case LEGACY_DRIVER_FEATURES:
		virtio_accept(v, (uint32_t)value & v->offered);
		break;
	case LEGACY_QUEUE_PAGE:
		return place_queue(v, (uint32_t)value);
	case LEGACY_QUEUE_SELECT:
		v->queue_select = (uint16_t)value;
		break;
	case LEGACY_CONFIG_VECTOR:
		v->config_vector = checked_vector(v, value);
		break;
	case LEGACY_QUEUE_VECTOR:
		if (q)
			atomic_store((_Atomic uint16_t *)&q->vector, checked_vector(v, value));
		break;
	}
	return true;
}

static void legacy_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct virtio *v = arg;
	unsigned config = config_at(v);
	bool good = true;

	if (offset >= config) {
		virtio_config_write(v, offset - config, size, value);
		return;
	}
	if (offset == LEGACY_NOTIFY) {
		virtio_doorbell(v, (uint16_t)value);
		return;
	}
	pthread_mutex_lock(&v->control);
	if (offset == LEGACY_STATUS) {
		pthread_mutex_lock(&v->lock);
		v->legacy |= value != 0;
		pthread_mutex_unlock(&v->lock);
		virtio_set_status(v, (uint8_t)value);
	} else {
		pthread_mutex_lock(&v->lock);
		good = header_write(v, (unsigned)offset, value);
		pthread_mutex_unlock(&v->lock);
	}
	pthread_mutex_unlock(&v->control);
	if (!good)
		virtio_broken(v, "a queue outside of RAM");
}

const struct guest_io virtio_legacy_io = {.width = 4, .read = legacy_read, .write = legacy_write};
