/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The registers of virtio 1.x (4.1.4): capabilities in configuration space point at structures in
 * BAR 4, a page for each.
 */
#include <errno.h>
#include <string.h>

#include "device/device.h"
#include "device/virtio/transport.h"

/* Types of capability, and where their structures are. */
enum {
	CAP_COMMON = 1,
	CAP_NOTIFY = 2,
	CAP_ISR = 3,
	CAP_DEVICE = 4,
	CAP_PCI = 5,

	AT_COMMON = 0x0000,
	AT_ISR = 0x1000,
	AT_DEVICE = 0x2000,
	AT_NOTIFY = 0x3000,
	BAR_SIZE = 0x4000,
	PAGE = 0x1000,
	NOTIFY_STEP = 4, /* bytes from one doorbell to the next */
};

/* The common configuration structure (4.1.4.3). */
enum {
	COMMON_DEVICE_FEATURE_SELECT = 0x00,
	COMMON_DEVICE_FEATURE = 0x04,
	COMMON_DRIVER_FEATURE_SELECT = 0x08,
	COMMON_DRIVER_FEATURE = 0x0c,
	COMMON_CONFIG_VECTOR = 0x10,
	COMMON_NUM_QUEUES = 0x12,
	COMMON_STATUS = 0x14,
	COMMON_GENERATION = 0x15,
	COMMON_QUEUE_SELECT = 0x16,
	COMMON_QUEUE_SIZE = 0x18,
	COMMON_QUEUE_VECTOR = 0x1a,
	COMMON_QUEUE_ENABLE = 0x1c,
	COMMON_QUEUE_NOTIFY_OFF = 0x1e,
	COMMON_QUEUE_DESC = 0x20,
	COMMON_QUEUE_DRIVER = 0x28,
	COMMON_QUEUE_DEVICE = 0x30,
	COMMON_SIZE = 0x38,
};

/* ---- the common structure ---- */

static struct virtq *selected(struct virtio *v)
{
	return v->queue_select < v->setup.nqueues ? &v->queues[v->queue_select] : NULL;
}

static uint32_t features_half(uint64_t features, uint32_t select)
{
	return select > 1 ? 0 : (uint32_t)(features >> (32 * select));
}

static uint64_t queue_field(struct virtio *v, unsigned field)
{
	struct virtq *q = selected(v);

	if (!q)
		return 0;
	switch (field) {
	case COMMON_QUEUE_SIZE:
		return q->size;
	case COMMON_QUEUE_VECTOR:
		return q->vector;
	case COMMON_QUEUE_ENABLE:
		return virtq_is_live(q);
	case COMMON_QUEUE_NOTIFY_OFF:
		return q->index;
	case COMMON_QUEUE_DESC:
		return q->desc;
	case COMMON_QUEUE_DRIVER:
		return q->driver;
	default:
		return q->device;
	}
}

/* The field that holds `offset`, whole; *from: where it begins. */
static uint64_t common_field(struct virtio *v, unsigned offset, unsigned *from)
{
	static const uint8_t starts[] = {COMMON_DEVICE_FEATURE_SELECT, COMMON_DEVICE_FEATURE,
		COMMON_DRIVER_FEATURE_SELECT, COMMON_DRIVER_FEATURE, COMMON_CONFIG_VECTOR,
		COMMON_NUM_QUEUES, COMMON_STATUS, COMMON_GENERATION, COMMON_QUEUE_SELECT,
		COMMON_QUEUE_SIZE, COMMON_QUEUE_VECTOR, COMMON_QUEUE_ENABLE,
		COMMON_QUEUE_NOTIFY_OFF, COMMON_QUEUE_DESC, COMMON_QUEUE_DRIVER,
		COMMON_QUEUE_DEVICE};

	for (unsigned i = 0; i < sizeof(starts) && starts[i] <= offset; i++)
		*from = starts[i];
	switch (*from) {
	case COMMON_DEVICE_FEATURE_SELECT:
		return v->offered_select;
	case COMMON_DEVICE_FEATURE:
		return features_half(v->offered, v->offered_select);
	case COMMON_DRIVER_FEATURE_SELECT:
		return v->accepted_select;
	case COMMON_DRIVER_FEATURE:
		return features_half(v->accepted, v->accepted_select);
	case COMMON_CONFIG_VECTOR:
		return v->config_vector;
	case COMMON_NUM_QUEUES:
		return v->setup.nqueues;
	case COMMON_STATUS:
		return v->status;
	case COMMON_GENERATION:
		return v->generation;
	case COMMON_QUEUE_SELECT:
		return v->queue_select;
	default:
		return queue_field(v, *from);
	}
}

static uint64_t common_read(struct virtio *v, unsigned offset, unsigned size)
{
	unsigned from = 0;

	if (offset >= COMMON_SIZE)
		return 0;
	pthread_mutex_lock(&v->lock);
	uint64_t value = common_field(v, offset, &from);

	pthread_mutex_unlock(&v->lock);
	return value >> (8 * (offset - from)) & device_all_ones(size);
}

static void put_half(uint64_t *field, unsigned half, unsigned size, uint64_t value)
{
	if (size == 8)
		*field = value;
	else if (size == 4)
		memcpy((uint8_t *)field + half, &value, 4);
}

static uint16_t checked_vector(const struct virtio *v, uint64_t vector)
{
	return vector <= v->setup.nqueues ? (uint16_t)vector : VECTOR_NONE;
}

/* The rings stay where they are while they run. */
static void queue_write(struct virtio *v, unsigned field, unsigned size, uint64_t value)
{
	struct virtq *q = selected(v);

	if (!q)
		return;
	if (field == COMMON_QUEUE_VECTOR) {
		atomic_store((_Atomic uint16_t *)&q->vector, checked_vector(v, value));
		return;
	}
	if (virtq_is_live(q) || v->status & STATUS_NEEDS_RESET)
		return;
	switch (field) {
	case COMMON_QUEUE_SIZE:
		/* Packed rings may have any size, split ones a power of two. */
		if (value > 0 && value <= q->size_max &&
			(v->accepted & VIRTIO_F_RING_PACKED || !(value & (value - 1))))
			q->size = (uint16_t)value;
		break;
	case COMMON_QUEUE_DESC:
	case COMMON_QUEUE_DESC + 4:
		put_half(&q->desc, field & 4, size, value);
		break;
	case COMMON_QUEUE_DRIVER:
	case COMMON_QUEUE_DRIVER + 4:
		put_half(&q->driver, field & 4, size, value);
		break;
	case COMMON_QUEUE_DEVICE:
	case COMMON_QUEUE_DEVICE + 4:
		put_half(&q->device, field & 4, size, value);
		break;
	}
}

/* False: it cannot be. */
static bool queue_enable(struct virtio *v)
{
	struct virtq *q = selected(v);

	if (!q || virtq_is_live(q) || v->status & STATUS_NEEDS_RESET)
		return true;
	return v->status & STATUS_FEATURES_OK && virtq_start(q, v->accepted);
}

static bool common_store(struct virtio *v, unsigned field, unsigned size, uint64_t value)
{
	unsigned shift = 32 * (v->accepted_select & 1);

	switch (field) {
	case COMMON_DEVICE_FEATURE_SELECT:
		v->offered_select = (uint32_t)value;
		break;
	case COMMON_DRIVER_FEATURE_SELECT:
		v->accepted_select = (uint32_t)value;
		break;
	case COMMON_DRIVER_FEATURE:
		if (v->accepted_select <= 1)
			virtio_accept(v, (v->accepted & ~(0xffffffffull << shift)) |
						 (uint64_t)(uint32_t)value << shift);
		break;
	case COMMON_CONFIG_VECTOR:
		v->config_vector = checked_vector(v, value);
		break;
	case COMMON_QUEUE_SELECT:
		v->queue_select = (uint16_t)value;
		break;
	case COMMON_QUEUE_ENABLE:
		return !(value & 1) || queue_enable(v);
	default:
		queue_write(v, field, size, value);
	}
	return true;
}

static void common_write(struct virtio *v, unsigned offset, unsigned size, uint64_t value)
{
	bool good = true;

	pthread_mutex_lock(&v->control);
	if (offset == COMMON_STATUS) {
		virtio_set_status(v, (uint8_t)value);
	} else {
		pthread_mutex_lock(&v->lock);
		good = common_store(v, offset, size, value);
		pthread_mutex_unlock(&v->lock);
	}
	pthread_mutex_unlock(&v->control);
	if (!good)
		virtio_broken(v, "a queue that cannot be enabled");
}

/* ---- the BAR ---- */

static uint64_t modern_read(void *arg, uint64_t offset, unsigned size)
{
	struct virtio *v = arg;

	switch (offset & ~(PAGE - 1ull)) {
	case AT_COMMON:
		return common_read(v, (unsigned)offset, size);
	case AT_ISR:
		return offset == AT_ISR ? virtio_take_isr(v) : 0;
	case AT_DEVICE:
		return virtio_config_read(v, offset - AT_DEVICE, size);
	default:
		return 0;
	}
}

static void modern_write(void *arg, uint64_t offset, unsigned size, uint64_t value)
{
	struct virtio *v = arg;

	switch (offset & ~(PAGE - 1ull)) {
	case AT_COMMON:
		common_write(v, (unsigned)offset, size, value);
		break;
	case AT_DEVICE:
		virtio_config_write(v, offset - AT_DEVICE, size, value);
		break;
	case AT_NOTIFY:
		virtio_doorbell(v, (unsigned)(offset - AT_NOTIFY) / NOTIFY_STEP);
		break;
	}
}

const struct guest_io virtio_modern_io = {.width = 8, .read = modern_read, .write = modern_write};

/* ---- the window in configuration space (4.1.4.9) ---- */

/* What the driver has put into the capability: bar at 4, offset at 8, length at 12. */
static bool window_target(struct virtio *v, unsigned size, uint64_t *offset)
{
	unsigned at = v->window.at;
	uint32_t length = pci_register(v->function, at + 12, 4);

	*offset = pci_register(v->function, at + 8, 4);
	return pci_register(v->function, at + 4, 1) == VIRTIO_BAR_MODERN && length == size &&
	       *offset < BAR_SIZE && *offset % size == 0;
}

static uint64_t window_read(void *arg, uint64_t at, unsigned size)
{
	uint64_t offset;

	return at == 0 && window_target(arg, size, &offset) ? modern_read(arg, offset, size) : 0;
}

static void window_write(void *arg, uint64_t at, unsigned size, uint64_t value)
{
	uint64_t offset;

	if (at == 0 && window_target(arg, size, &offset))
		modern_write(arg, offset, size, value);
}

static const struct guest_io window_io = {.width = 4, .read = window_read, .write = window_write};

/* ---- capabilities ---- */

/* cap_len, cfg_type, bar, id, padding[2], offset, length, and what the type appends. */
static unsigned add_cap(
	struct virtio *v, uint8_t type, uint32_t offset, uint32_t length, const uint32_t *extra)
{
	uint8_t body[18] = {0};
	size_t len = extra ? 18 : 14;

	body[0] = (uint8_t)(len + 2);
	body[1] = type;
	body[2] = VIRTIO_BAR_MODERN;
	memcpy(body + 6, &offset, 4);
	memcpy(body + 10, &length, 4);
	if (extra)
		memcpy(body + 14, extra, 4);
	return pci_capability(v->function, PCI_CAP_VENDOR, body, len);
}

int virtio_modern_add(struct virtio *v)
{
	static const uint8_t any[9] = {0xff, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff};
	const uint32_t step = NOTIFY_STEP, nothing = 0;
	uint32_t config = v->setup.config_size ? v->setup.config_size : 4;

	pci_bar(v->function, VIRTIO_BAR_MODERN, PCI_BAR_MEM32, BAR_SIZE, &virtio_modern_io, v);
	if (!add_cap(v, CAP_COMMON, AT_COMMON, COMMON_SIZE, NULL) ||
		!add_cap(v, CAP_NOTIFY, AT_NOTIFY, NOTIFY_STEP * v->setup.nqueues, &step) ||
		!add_cap(v, CAP_ISR, AT_ISR, 1, NULL) ||
		!add_cap(v, CAP_DEVICE, AT_DEVICE, config, NULL))
		return ENOMEM;
	v->window.at = add_cap(v, CAP_PCI, 0, 0, &nothing);
	if (!v->window.at)
		return ENOMEM;
	pci_writable(v->function, v->window.at + 4, any, 1);
	pci_writable(v->function, v->window.at + 8, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
	pci_hook(v->function, v->window.at + 16, 4, &window_io, v);
	return 0;
}
