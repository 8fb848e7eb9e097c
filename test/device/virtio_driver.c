/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "test/device/virtio_driver.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

#include <vmm/pc.h>

enum {
	SLOT = 3,
	CONFIG = SLOT << 15, /* in ECAM */

	COMMON_DEVICE_FEATURE_SELECT = 0x00,
	COMMON_DEVICE_FEATURE = 0x04,
	COMMON_DRIVER_FEATURE_SELECT = 0x08,
	COMMON_DRIVER_FEATURE = 0x0c,
	COMMON_CONFIG_VECTOR = 0x10,
	COMMON_NUM_QUEUES = 0x12,
	COMMON_STATUS = 0x14,
	COMMON_QUEUE_SELECT = 0x16,
	COMMON_QUEUE_SIZE = 0x18,
	COMMON_QUEUE_VECTOR = 0x1a,
	COMMON_QUEUE_ENABLE = 0x1c,
	COMMON_QUEUE_NOTIFY_OFF = 0x1e,
	COMMON_QUEUE_DESC = 0x20,

	RING_BYTES = 0x18000, /* of a queue, all areas */
	DESC_BYTES = 0x4000,

	NEXT = 1,
	WRITE = 2,
	INDIRECT = 4,
	AVAIL = 1 << 7,
	USED = 1 << 15,
};

/* ---- finding it ---- */

static uint32_t pci(struct driver *d, unsigned reg, unsigned size)
{
	return (uint32_t)fake_in(&d->g, PC_ECAM_BASE + CONFIG + reg, size);
}

static void find_structures(struct driver *d)
{
	for (unsigned at = pci(d, PCI_CAPABILITIES, 1); at; at = pci(d, at + 1, 1)) {
		if (pci(d, at, 1) != PCI_CAP_VENDOR)
			continue;
		uint64_t place =
			(pci(d, PCI_BAR0 + 4 * pci(d, at + 4, 1), 4) & ~15u) + pci(d, at + 8, 4);

		switch (pci(d, at + 3, 1)) {
		case 1:
			d->common = place;
			break;
		case 2:
			d->notify = place;
			d->notify_step = pci(d, at + 16, 4);
			break;
		case 3:
			d->isr = place;
			break;
		case 4:
			d->config = place;
			break;
		}
	}
}

/* Vector 0 for the configuration, and then the queues. */
static void enable_msix(struct driver *d)
{
	unsigned at = pci(d, PCI_CAPABILITIES, 1);

	while (at && pci(d, at, 1) != PCI_CAP_MSIX)
		at = pci(d, at + 1, 1);
	if (!at)
		return;
	uint64_t table = pci(d, PCI_BAR0 + 4 * (pci(d, at + 4, 4) & 7), 4) & ~15u;
	unsigned count = (pci(d, at + 2, 2) & 0x7ff) + 1;

	for (unsigned i = 0; i < count; i++) {
		fake_store(&d->g, GUEST_MEMORY, table + 16 * i, 4, 0xfee00000);
		fake_store(&d->g, GUEST_MEMORY, table + 16 * i + 8, 4, DRIVER_MSI - 1 + i);
		fake_store(&d->g, GUEST_MEMORY, table + 16 * i + 12, 4, 0);
	}
	fake_out(&d->g, PC_ECAM_BASE + CONFIG + at + 2, 2, 0x8000);
}

void driver_create(
	struct driver *d, const char *model, const char *const options[][2], int expected)
{
	static char keys[14][64];
	unsigned n = 0;

	d->g.options[n++] = (struct fake_option){"pci.0.3.0.device", model};
	for (; options && options[n - 1][0]; n++) {
		assert_true(n < 15);
		snprintf(keys[n - 1], sizeof(keys[0]), "pci.0.3.0.%s", options[n - 1][0]);
		d->g.options[n] = (struct fake_option){keys[n - 1], options[n - 1][1]};
	}
	fake_ram(&d->g, DRIVER_RAM);
	fake_create(&d->g, &device_pci_root, "pci0", expected);
	if (expected) {
		free(d->g.ram);
		d->g.ram = NULL;
		return;
	}
	find_structures(d);
	assert_true(d->common && d->notify && d->isr);
	enable_msix(d);
	d->nqueues = (unsigned)driver_get(d, COMMON_NUM_QUEUES, 2);
	assert_true(d->nqueues <= DRIVER_QUEUES);
}

void driver_destroy(struct driver *d)
{
	fake_destroy(&d->g);
}

/* ---- registers ---- */

uint64_t driver_get(struct driver *d, unsigned offset, unsigned size)
{
	return fake_load(&d->g, GUEST_MEMORY, d->common + offset, size);
}

void driver_put(struct driver *d, unsigned offset, unsigned size, uint64_t value)
{
	fake_store(&d->g, GUEST_MEMORY, d->common + offset, size, value);
}

void driver_config(struct driver *d, unsigned offset, void *to, unsigned len)
{
	for (unsigned i = 0; i < len; i++)
		((uint8_t *)to)[i] =
			(uint8_t)fake_load(&d->g, GUEST_MEMORY, d->config + offset + i, 1);
}

void driver_config_write(struct driver *d, unsigned offset, const void *from, unsigned len)
{
	uint64_t value = 0;

	memcpy(&value, from, len);
	fake_store(&d->g, GUEST_MEMORY, d->config + offset, len, value);
}

uint8_t driver_status(struct driver *d)
{
	return (uint8_t)driver_get(d, COMMON_STATUS, 1);
}

void *driver_at(struct driver *d, uint64_t gpa)
{
	return d->g.ram + gpa;
}

uint64_t driver_offered(struct driver *d)
{
	uint64_t low, high;

	driver_put(d, COMMON_DEVICE_FEATURE_SELECT, 4, 0);
	low = driver_get(d, COMMON_DEVICE_FEATURE, 4);
	driver_put(d, COMMON_DEVICE_FEATURE_SELECT, 4, 1);
	high = driver_get(d, COMMON_DEVICE_FEATURE, 4);
	return high << 32 | low;
}

void driver_reset(struct driver *d)
{
	driver_put(d, COMMON_STATUS, 1, 0);
	assert_int_equal(driver_status(d), 0);
}

bool driver_negotiate(struct driver *d, uint64_t wanted)
{
	driver_reset(d);
	driver_put(d, COMMON_STATUS, 1, 1);
	driver_put(d, COMMON_STATUS, 1, 3);
	d->features = driver_offered(d) & (wanted | VIRTIO_F_VERSION_1);
	d->packed = d->features & VIRTIO_F_RING_PACKED;
	for (unsigned half = 0; half < 2; half++) {
		driver_put(d, COMMON_DRIVER_FEATURE_SELECT, 4, half);
		driver_put(d, COMMON_DRIVER_FEATURE, 4, (uint32_t)(d->features >> (32 * half)));
	}
	driver_put(d, COMMON_STATUS, 1, 3 | 8);
	driver_put(d, COMMON_CONFIG_VECTOR, 2, 0);
	return driver_status(d) & 8;
}

void driver_queue_start(struct driver *d, unsigned queue, uint16_t size)
{
	struct driver_queue *q = &d->queues[queue];
	uint64_t base = 0x1000 + (uint64_t)queue * RING_BYTES;

	assert_true(base + RING_BYTES <= DRIVER_FREE && size <= DRIVER_SIZE_MAX);
	memset(driver_at(d, base), 0, RING_BYTES);
	*q = (struct driver_queue){
		.size = size,
		.desc = base,
		.driver = base + DESC_BYTES,
		.device = base + 2 * DESC_BYTES,
		.wrap = true,
		.used_wrap = true,
	};
	driver_put(d, COMMON_QUEUE_SELECT, 2, queue);
	driver_put(d, COMMON_QUEUE_SIZE, 2, size);
	driver_put(d, COMMON_QUEUE_VECTOR, 2, queue + 1);
	for (unsigned i = 0; i < 3; i++) {
		driver_put(d, COMMON_QUEUE_DESC + 8 * i, 4, base + i * DESC_BYTES);
		driver_put(d, COMMON_QUEUE_DESC + 8 * i + 4, 4, 0);
	}
	driver_put(d, COMMON_QUEUE_ENABLE, 2, 1);
}

void driver_ready(struct driver *d)
{
	driver_put(d, COMMON_STATUS, 1, 3 | 8 | 4);
}

void driver_start(struct driver *d, uint64_t wanted)
{
	assert_true(driver_negotiate(d, wanted));
	for (unsigned i = 0; i < d->nqueues; i++) {
		driver_put(d, COMMON_QUEUE_SELECT, 2, i);
		driver_queue_start(d, i, (uint16_t)driver_get(d, COMMON_QUEUE_SIZE, 2));
		assert_int_equal(driver_get(d, COMMON_QUEUE_ENABLE, 2), 1);
	}
	driver_ready(d);
	assert_int_equal(driver_status(d), 15);
}

/* ---- rings ---- */

static void put_desc(struct driver *d, uint64_t at, const struct driver_piece *piece,
	uint16_t flags, uint16_t other, bool packed)
{
	uint8_t *to = driver_at(d, at);
	uint16_t two[2] = {flags, other};

	if (packed) {
		two[0] = other;
		two[1] = flags;
	}
	memcpy(to, &piece->gpa, 8);
	memcpy(to + 8, &piece->len, 4);
	memcpy(to + 12, two, 4);
}

static uint16_t add_split(struct driver *d, struct driver_queue *q,
	const struct driver_piece *pieces, unsigned count, uint16_t extra)
{
	uint16_t head = q->free_desc, *avail = driver_at(d, q->driver);

	for (unsigned i = 0; i < count; i++) {
		uint16_t next = (uint16_t)((q->free_desc + 1) % q->size);
		uint16_t flags = (i + 1 < count ? NEXT : 0) | (pieces[i].write ? WRITE : 0);

		put_desc(d, q->desc + 16 * q->free_desc, &pieces[i], flags | extra, next, false);
		q->free_desc = next;
	}
	avail[2 + q->next % q->size] = head;
	q->next++;
	__atomic_store_n(&avail[1], q->next, __ATOMIC_SEQ_CST);
	return head;
}

/* The first descriptor last: it makes the others visible. */
static uint16_t add_packed(struct driver *d, struct driver_queue *q,
	const struct driver_piece *pieces, unsigned count, uint16_t extra)
{
	uint16_t id = q->next, first_flags = 0;
	uint64_t first = q->desc + 16 * q->next;

	q->ndescs[id] = (uint16_t)count;
	for (unsigned i = 0; i < count; i++) {
		uint16_t flags = (i + 1 < count ? NEXT : 0) | (pieces[i].write ? WRITE : 0) |
				 extra | (q->wrap ? AVAIL : USED);

		if (i == 0) {
			first_flags = flags;
			flags ^= AVAIL | USED; /* not yet */
		}
		put_desc(d, q->desc + 16 * q->next, &pieces[i], flags, id, true);
		if (++q->next == q->size) {
			q->next = 0;
			q->wrap = !q->wrap;
		}
	}
	__atomic_store_n((uint16_t *)driver_at(d, first + 14), first_flags, __ATOMIC_SEQ_CST);
	return id;
}

uint16_t driver_add(
	struct driver *d, unsigned queue, const struct driver_piece *pieces, unsigned count)
{
	struct driver_queue *q = &d->queues[queue];

	return d->packed ? add_packed(d, q, pieces, count, 0) : add_split(d, q, pieces, count, 0);
}

uint16_t driver_add_indirect(struct driver *d, unsigned queue, uint64_t table,
	const struct driver_piece *pieces, unsigned count)
{
	struct driver_queue *q = &d->queues[queue];
	const struct driver_piece whole = {table, 16 * count, false};

	for (unsigned i = 0; i < count; i++) {
		uint16_t flags = pieces[i].write ? WRITE : 0;

		if (!d->packed && i + 1 < count)
			flags |= NEXT;
		put_desc(d, table + 16 * i, &pieces[i], flags, (uint16_t)(i + 1), d->packed);
	}
	return d->packed ? add_packed(d, q, &whole, 1, INDIRECT)
			 : add_split(d, q, &whole, 1, INDIRECT);
}

void driver_kick(struct driver *d, unsigned queue)
{
	driver_put(d, COMMON_QUEUE_SELECT, 2, queue);
	unsigned off = (unsigned)driver_get(d, COMMON_QUEUE_NOTIFY_OFF, 2);

	fake_store(&d->g, GUEST_MEMORY, d->notify + off * d->notify_step, 2, queue);
}

static bool poll_split(struct driver *d, struct driver_queue *q, uint16_t *id, uint32_t *len)
{
	uint16_t *used = driver_at(d, q->device);
	uint32_t element[2];

	if (__atomic_load_n(&used[1], __ATOMIC_ACQUIRE) == q->used)
		return false;
	memcpy(element, (uint8_t *)used + 4 + 8 * (q->used % q->size), 8);
	q->used++;
	*id = (uint16_t)element[0];
	*len = element[1];
	return true;
}

static bool poll_packed(struct driver *d, struct driver_queue *q, uint16_t *id, uint32_t *len)
{
	uint8_t *desc = driver_at(d, q->desc + 16 * q->used);
	uint16_t flags = __atomic_load_n((uint16_t *)(desc + 14), __ATOMIC_ACQUIRE);

	if (!!(flags & AVAIL) != q->used_wrap || !!(flags & USED) != q->used_wrap)
		return false;
	memcpy(len, desc + 8, 4);
	memcpy(id, desc + 12, 2);
	assert_true(*id < q->size);
	q->used = (uint16_t)(q->used + q->ndescs[*id]);
	if (q->used >= q->size) {
		q->used = (uint16_t)(q->used - q->size);
		q->used_wrap = !q->used_wrap;
	}
	return true;
}

bool driver_poll(struct driver *d, unsigned queue, uint16_t *id, uint32_t *len)
{
	struct driver_queue *q = &d->queues[queue];

	return d->packed ? poll_packed(d, q, id, len) : poll_split(d, q, id, len);
}

bool driver_await(struct driver *d, unsigned queue, uint16_t *id, uint32_t *len)
{
	for (int ms = 0; ms < 2000; ms++) {
		if (driver_poll(d, queue, id, len))
			return true;
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	}
	return false;
}

unsigned driver_interrupts(struct driver *d, unsigned queue)
{
	unsigned n = 0;

	pthread_mutex_lock(&d->g.lock);
	for (unsigned i = 0; i < d->g.nmsi && i < 64; i++)
		n += d->g.msi[i].data == DRIVER_MSI + queue;
	pthread_mutex_unlock(&d->g.lock);
	return n;
}
