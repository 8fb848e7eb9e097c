/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* What a queue is made of, for device/virtio's transport alone. */
#ifndef DEVICE_VIRTIO_VIRTQ_H
#define DEVICE_VIRTIO_VIRTQ_H

#include <pthread.h>
#include <stdatomic.h>

#include "device/virtio/virtio.h"

struct virtq {
	struct virtio *v;
	struct guest *guest;
	unsigned index;

	/* What the driver sets up; the transport's. */
	uint16_t size_max, size, vector;
	uint64_t desc, driver, device; /* guest addresses of the three areas */

	pthread_mutex_t lock; /* all below */
	bool live, packed, event_idx, indirect;
	/* Where the areas are in our memory. */
	uint8_t *desc_at, *driver_at, *device_at;
	/* Free-running; of a packed ring positions, with the wrap counter in bit 15. */
	uint16_t next_avail, next_used;
	uint16_t signalled; /* next_used when the driver was last interrupted, or asked */
	bool signalled_valid;
	bool pushed; /* since then */

	uint64_t kicks, buffers, bytes, interrupts;
};

void virtq_init(
	struct virtq *q, struct virtio *v, struct guest *guest, unsigned index, uint16_t size_max);
void virtq_destroy(struct virtq *q);
/* Maps the areas and begins. False: they are not all in RAM, or not aligned. */
bool virtq_start(struct virtq *q, uint64_t features);
/* Nothing more goes in or out. */
void virtq_stop(struct virtq *q);
/* As after power-on. */
void virtq_reset(struct virtq *q);
/* Bytes of the areas of a split ring. */
size_t virtq_avail_bytes(uint16_t size);
size_t virtq_used_bytes(uint16_t size);

/* The transport: the driver of this queue gets an interrupt. */
void virtio_signal(struct virtio *v, unsigned queue);

#endif
