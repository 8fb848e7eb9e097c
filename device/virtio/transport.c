/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A virtio device as a PCI function (virtio 1.2, 4.1): what both register interfaces have in
 * common: status, features, reset, interrupts.
 */
#include "device/virtio/transport.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "host/log.h"

#define RING_FEATURES	(VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX | VIRTIO_F_ANY_LAYOUT)
#define MODERN_FEATURES (VIRTIO_F_VERSION_1 | VIRTIO_F_RING_PACKED)

enum {
	VENDOR_REDHAT = 0x1af4,
	DEVICE_LEGACY = 0x1000,
	DEVICE_MODERN = 0x1040,
	LEGACY_HEADER = 24,
};

/* ---- for types ---- */

struct guest *virtio_guest(struct virtio *v)
{
	return v->guest;
}

uint64_t virtio_features(struct virtio *v)
{
	pthread_mutex_lock(&v->lock);
	uint64_t features = v->accepted;

	pthread_mutex_unlock(&v->lock);
	return features;
}

bool virtio_is_modern(struct virtio *v)
{
	return virtio_features(v) & VIRTIO_F_VERSION_1;
}

struct virtq *virtio_queue(struct virtio *v, unsigned index)
{
	assert(index < v->setup.nqueues);
	return &v->queues[index];
}

/* ---- interrupts ---- */

static void interrupt(struct virtio *v, uint8_t isr, uint16_t vector)
{
	if (pci_signalling(v->function) == PCI_SIGNAL_MSIX) {
		if (vector != VECTOR_NONE)
			pci_message(v->function, vector);
		return;
	}
	atomic_fetch_or(&v->isr, isr);
	pci_intx(v->function, true);
	pci_message(v->function, 0); /* where MSI is on, the pin is dead, and the other way round */
}

void virtio_signal(struct virtio *v, unsigned queue)
{
	interrupt(v, ISR_QUEUE, atomic_load((_Atomic uint16_t *)&v->queues[queue].vector));
}

uint8_t virtio_take_isr(struct virtio *v)
{
	uint8_t isr;

	/* An interrupt between the two would be cleared without having been seen. */
	pci_intx(v->function, false);
	isr = atomic_exchange(&v->isr, 0);
	return isr;
}

static void signal_config(struct virtio *v)
{
	pthread_mutex_lock(&v->lock);
	v->generation++;
	uint16_t vector = v->config_vector;
	bool ready = v->status & STATUS_DRIVER_OK;

	pthread_mutex_unlock(&v->lock);
	if (ready)
		interrupt(v, ISR_CONFIG, vector);
}

void virtio_config_changed(struct virtio *v)
{
	signal_config(v);
}

void virtio_broken(struct virtio *v, const char *why)
{
	log_warn(v->guest->log, "virtio", "%s: the guest's driver: %s; it has to reset the device",
		pci_name(v->function), why);
	pthread_mutex_lock(&v->lock);
	if (v->status)
		v->status |= STATUS_NEEDS_RESET;
	pthread_mutex_unlock(&v->lock);
	signal_config(v);
}

/* ---- the driver's wishes ---- */

void virtio_accept(struct virtio *v, uint64_t features)
{
	if (!(v->status & STATUS_FEATURES_OK))
		v->accepted = features;
}

/* Legacy drivers do not say that they are done with features: being ready says so. */
static void settle_features(struct virtio *v, uint8_t *status)
{
	if (v->legacy) {
		v->accepted &= v->offered & ~MODERN_FEATURES;
		return;
	}
	if (*status & ~v->status & STATUS_FEATURES_OK &&
		(v->accepted & ~v->offered || !(v->accepted & VIRTIO_F_VERSION_1)))
		*status &= (uint8_t)~STATUS_FEATURES_OK;
}

static void reset(struct virtio *v)
{
	for (unsigned i = 0; i < v->setup.nqueues; i++)
		virtq_stop(&v->queues[i]);
	v->type->reset(v->dev);
	for (unsigned i = 0; i < v->setup.nqueues; i++)
		virtq_reset(&v->queues[i]);
	pthread_mutex_lock(&v->lock);
	v->accepted = 0;
	v->offered_select = v->accepted_select = 0;
	v->status = 0;
	v->config_vector = VECTOR_NONE;
	v->queue_select = 0;
	v->legacy = false;
	pthread_mutex_unlock(&v->lock);
	virtio_take_isr(v);
}

void virtio_set_status(struct virtio *v, uint8_t status)
{
	bool becomes_ready;
	uint64_t features;

	if (status == 0) {
		reset(v);
		return;
	}
	pthread_mutex_lock(&v->lock);
	settle_features(v, &status);
	becomes_ready = status & ~v->status & STATUS_DRIVER_OK;
	v->status = status | (v->status & STATUS_NEEDS_RESET);
	features = v->accepted;
	pthread_mutex_unlock(&v->lock);
	if (becomes_ready && v->type->ready)
		v->type->ready(v->dev, features);
}

void virtio_doorbell(struct virtio *v, unsigned queue)
{
	if (queue >= v->setup.nqueues)
		return;
	atomic_fetch_add_explicit(
		(_Atomic uint64_t *)&v->queues[queue].kicks, 1, memory_order_relaxed);
	v->type->notify(v->dev, queue);
}

/* ---- the type's configuration structure ---- */

uint64_t virtio_config_read(struct virtio *v, uint64_t offset, unsigned size)
{
	uint64_t value = 0;

	if (offset < v->setup.config_size && size <= v->setup.config_size - offset)
		v->type->config_read(v->dev, (unsigned)offset, &value, size);
	else
		for (unsigned i = 0; i < size && offset + i < v->setup.config_size; i++)
			v->type->config_read(
				v->dev, (unsigned)offset + i, (uint8_t *)&value + i, 1);
	return value;
}

void virtio_config_write(struct virtio *v, uint64_t offset, unsigned size, uint64_t value)
{
	if (v->type->config_write && offset < v->setup.config_size &&
		size <= v->setup.config_size - offset)
		v->type->config_write(v->dev, (unsigned)offset, &value, size);
}

/* ---- making and unmaking ---- */

static void identify(struct virtio *v)
{
	static const uint8_t legacy_ids[] = {[VIRTIO_ID_NET] = 0,
		[VIRTIO_ID_BLOCK] = 1,
		[VIRTIO_ID_CONSOLE] = 3,
		[VIRTIO_ID_ENTROPY] = 5};
	const struct virtio_type *type = v->type;
	bool transitional = type->id < sizeof(legacy_ids);

	pci_identify(v->function,
		&(struct pci_identity){
			.vendor = VENDOR_REDHAT,
			.device = (uint16_t)(transitional ? DEVICE_LEGACY + legacy_ids[type->id]
							  : DEVICE_MODERN + type->id),
			.subvendor = VENDOR_REDHAT,
			.subdevice = type->id,
			.class = type->class,
			.subclass = type->subclass,
			.revision = transitional ? 0 : 1,
		});
}

static uint64_t legacy_size(const struct virtio *v)
{
	uint64_t size = 32;

	while (size < LEGACY_HEADER + v->setup.config_size)
		size *= 2;
	return size;
}

/* A vector for each queue and one for changes of the configuration. */
static int add_interrupts(struct virtio *v, bool msix)
{
	pci_pin(v->function);
	return msix ? pci_msix(v->function, v->setup.nqueues + 1, VIRTIO_BAR_MSIX)
		    : pci_msi(v->function);
}

static int build(struct virtio *v, const struct pci_args *args)
{
	int error = v->type->create(v, args, &v->setup, &v->dev);

	if (error)
		return error;
	assert(v->setup.nqueues <= VIRTIO_QUEUES_MAX && v->setup.queue_size <= VIRTQ_SIZE_MAX);
	v->offered = v->setup.features | RING_FEATURES | MODERN_FEATURES;
	for (unsigned i = 0; i < v->setup.nqueues; i++)
		virtq_init(&v->queues[i], v, v->guest, i, v->setup.queue_size);
	identify(v);
	pci_bar(v->function, VIRTIO_BAR_LEGACY, PCI_BAR_IO, legacy_size(v), &virtio_legacy_io, v);
	error = add_interrupts(v, args->msix);
	return error ? error : virtio_modern_add(v);
}

int virtio_pci_create(const struct pci_args *args, void **dev)
{
	struct virtio *v = calloc(1, sizeof(*v));

	if (!v)
		return ENOMEM;
	v->type = args->model->type;
	v->guest = args->guest;
	v->function = args->function;
	v->config_vector = VECTOR_NONE;
	pthread_mutex_init(&v->lock, NULL);
	pthread_mutex_init(&v->control, NULL);
	int error = build(v, args);

	if (error)
		virtio_pci_destroy(v);
	else
		*dev = v;
	return error;
}

void virtio_pci_destroy(void *dev)
{
	struct virtio *v = dev;

	for (unsigned i = 0; i < v->setup.nqueues && v->dev; i++)
		virtq_stop(&v->queues[i]);
	if (v->dev) {
		v->type->reset(v->dev);
		v->type->destroy(v->dev);
		for (unsigned i = 0; i < v->setup.nqueues; i++)
			virtq_destroy(&v->queues[i]);
	}
	pthread_mutex_destroy(&v->control);
	pthread_mutex_destroy(&v->lock);
	free(v);
}

void virtio_pci_stats(
	void *dev, void (*emit)(void *arg, const char *name, uint64_t value), void *arg)
{
	static const char *const names[] = {"kicks", "buffers", "bytes", "interrupts"};
	struct virtio *v = dev;

	for (unsigned i = 0; i < v->setup.nqueues; i++) {
		struct virtq *q = &v->queues[i];

		pthread_mutex_lock(&q->lock);
		const uint64_t values[] = {q->kicks, q->buffers, q->bytes, q->interrupts};

		pthread_mutex_unlock(&q->lock);
		for (unsigned k = 0; k < 4; k++) {
			char name[32];

			snprintf(name, sizeof(name), "queue%u.%s", i, names[k]);
			emit(arg, name, values[k]);
		}
	}
	if (v->type->stats)
		v->type->stats(v->dev, emit, arg);
}
