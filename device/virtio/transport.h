/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* A device behind its PCI function, for device/virtio's transport alone. */
#ifndef DEVICE_VIRTIO_TRANSPORT_H
#define DEVICE_VIRTIO_TRANSPORT_H

#include <pthread.h>

#include "device/virtio/virtq.h"

/* Device status (virtio 1.2, 2.1). */
enum {
	STATUS_ACKNOWLEDGE = 1,
	STATUS_DRIVER = 2,
	STATUS_DRIVER_OK = 4,
	STATUS_FEATURES_OK = 8,
	STATUS_NEEDS_RESET = 64,
	STATUS_FAILED = 128,
};

enum { ISR_QUEUE = 1, ISR_CONFIG = 2, VECTOR_NONE = 0xffff };

struct virtio {
	const struct virtio_type *type;
	struct guest *guest;
	struct pci_function *function;
	struct virtio_setup setup;
	void *dev;

	/* Changes of the device's state, one after the other; taken before any other lock. */
	pthread_mutex_t control;

	pthread_mutex_t lock; /* all below; a queue's lock may be taken inside */
	uint64_t offered, accepted;
	uint32_t offered_select, accepted_select;
	uint8_t status, generation;
	uint16_t config_vector, queue_select;
	bool legacy; /* the driver uses the interface of before 1.0 */
	struct {
		uint8_t cap[16]; /* the window into BARs in configuration space */
		unsigned at;
	} window;

	_Atomic uint8_t isr;
	struct virtq queues[VIRTIO_QUEUES_MAX];
};

/* The driver writes the status register. `control` is held. */
void virtio_set_status(struct virtio *v, uint8_t status);
/* The driver rings the doorbell of a queue. */
void virtio_doorbell(struct virtio *v, unsigned queue);
/* The driver has chosen features; not after FEATURES_OK. The lock is held. */
void virtio_accept(struct virtio *v, uint64_t features);
/* Reads and clears what the interrupt was for. */
uint8_t virtio_take_isr(struct virtio *v);
/* The type's configuration structure; beyond its end: zeros, or nothing. */
uint64_t virtio_config_read(struct virtio *v, uint64_t offset, unsigned size);
void virtio_config_write(struct virtio *v, uint64_t offset, unsigned size, uint64_t value);

/* The two interfaces: BAR 0 in ports, and a page for each structure of the modern one. */
extern const struct guest_io virtio_legacy_io, virtio_modern_io;
/* Modern capabilities and BAR. 0 or ENOMEM. */
int virtio_modern_add(struct virtio *v);

enum { VIRTIO_BAR_LEGACY = 0, VIRTIO_BAR_MSIX = 1, VIRTIO_BAR_MODERN = 4 };

#endif
