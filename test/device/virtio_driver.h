/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A driver for one virtio device in slot 3 of a fake guest's PCI bus, for unit tests of device
 * types: finds the structures by their capabilities, sets up split or packed rings in the fake
 * guest's RAM, with MSI-X vectors, and gives and takes buffers.  What a hostile driver does is
 * written to the rings by the test itself.
 */
#ifndef TEST_DEVICE_VIRTIO_DRIVER_H
#define TEST_DEVICE_VIRTIO_DRIVER_H

#include "device/virtio/virtio.h"
#include "test/device/fake_guest.h"

enum {
	DRIVER_RAM = 16 << 20,
	DRIVER_QUEUES = 40,
	DRIVER_SIZE_MAX = 1024,
	/* The driver's rings are below; the rest of RAM is the test's. */
	DRIVER_FREE = 4 << 20,
	DRIVER_MSI = 0x40, /* data of queue 0's vector; the configuration's has one less */
};

struct driver_queue {
	uint16_t size;
	uint64_t desc, driver, device; /* guest addresses */
	uint16_t next, used;	       /* split: indices; packed: positions */
	bool wrap, used_wrap;
	uint16_t free_desc;		  /* split: descriptors are handed out round and round */
	uint16_t ndescs[DRIVER_SIZE_MAX]; /* packed: of the buffer with this id */
};

struct driver {
	struct fake_guest g; /* first */
	uint64_t modern;     /* BAR 4 */
	uint64_t common, notify, isr, config;
	uint32_t notify_step;
	unsigned nqueues;
	uint64_t features;
	bool packed;
	struct driver_queue queues[DRIVER_QUEUES];
};

struct driver_piece {
	uint64_t gpa;
	uint32_t len;
	bool write; /* the device writes there */
};

/*
 * `options` are pairs of key and value as below pci.0.3.0, ended by NULL.  Asserts that the device
 * can be made, or that it ends with this errno.
 */
void driver_create(
	struct driver *d, const char *model, const char *const options[][2], int expected);
void driver_destroy(struct driver *d);

/* Acknowledges, takes `wanted` of what is offered (VERSION_1 always), all queues, DRIVER_OK. */
void driver_start(struct driver *d, uint64_t wanted);
/* Up to FEATURES_OK, without queues. Is it accepted? */
bool driver_negotiate(struct driver *d, uint64_t wanted);
void driver_queue_start(struct driver *d, unsigned queue, uint16_t size);
void driver_ready(struct driver *d);
uint64_t driver_offered(struct driver *d);
void driver_reset(struct driver *d);
uint8_t driver_status(struct driver *d);

/* Registers of the common structure, and the type's structure. */
uint64_t driver_get(struct driver *d, unsigned offset, unsigned size);
void driver_put(struct driver *d, unsigned offset, unsigned size, uint64_t value);
void driver_config(struct driver *d, unsigned offset, void *to, unsigned len);
void driver_config_write(struct driver *d, unsigned offset, const void *from, unsigned len);

/* Makes a buffer available; its id. */
uint16_t driver_add(
	struct driver *d, unsigned queue, const struct driver_piece *pieces, unsigned count);
/* The same through an indirect table, which is put at `table`. */
uint16_t driver_add_indirect(struct driver *d, unsigned queue, uint64_t table,
	const struct driver_piece *pieces, unsigned count);
void driver_kick(struct driver *d, unsigned queue);
/* A buffer that came back. */
bool driver_poll(struct driver *d, unsigned queue, uint16_t *id, uint32_t *len);
/* The same within two seconds, for devices that work on other threads. */
bool driver_await(struct driver *d, unsigned queue, uint16_t *id, uint32_t *len);
/* Interrupts of a queue's vector so far, of the last 64 altogether. */
unsigned driver_interrupts(struct driver *d, unsigned queue);

/* Guest RAM at an address. */
void *driver_at(struct driver *d, uint64_t gpa);

#endif
