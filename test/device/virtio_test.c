/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Virtio's transport and rings, by the simplest device there is, the entropy device: what it gets
 * it fills and gives back.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include <vmm/pc.h>

#include "test/device/virtio_driver.h"

enum { NEEDS_RESET = 64, DATA = DRIVER_FREE };

static void setup(struct driver *d, uint64_t features)
{
	memset(d, 0, sizeof(*d));
	driver_create(d, "virtio-rnd", NULL, 0);
	driver_start(d, features);
}

/* A buffer of 64 bytes that are not all the same afterwards, by chance not even once in the world.
 */
static void one_round(struct driver *d, bool indirect)
{
	const struct driver_piece pieces[] = {{DATA, 24, true}, {DATA + 0x1000, 40, true}};
	uint8_t *data = driver_at(d, DATA);
	uint16_t id, got;
	uint32_t len;
	unsigned set = 0;

	memset(data, 0, 0x2000);
	id = indirect ? driver_add_indirect(d, 0, DATA + 0x4000, pieces, 2)
		      : driver_add(d, 0, pieces, 2);
	driver_kick(d, 0);
	assert_true(driver_poll(d, 0, &got, &len));
	assert_int_equal(got, id);
	assert_int_equal(len, 64);
	for (unsigned i = 0; i < 0x2000; i++)
		set += data[i] != 0;
	assert_in_range(set, 32, 64);
	assert_true(data[24] == 0 && data[0x1000 + 40] == 0);
	assert_false(driver_poll(d, 0, &got, &len));
}

static void rounds(uint64_t features, bool indirect)
{
	static struct driver d;

	setup(&d, features);
	assert_true((d.features & features) == features);
	for (unsigned i = 0; i < 200; i++) /* several times round the ring */
		one_round(&d, indirect);
	assert_true(driver_interrupts(&d, 0) > 0);
	assert_true(d.g.written >= 200 * 64);
	driver_destroy(&d);
}

static void split_ring(void **state)
{
	(void)state;
	rounds(0, false);
}

static void split_ring_with_indirect_tables(void **state)
{
	(void)state;
	rounds(VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX, true);
}

static void packed_ring(void **state)
{
	(void)state;
	rounds(VIRTIO_F_RING_PACKED, false);
}

static void packed_ring_with_indirect_tables(void **state)
{
	(void)state;
	rounds(VIRTIO_F_RING_PACKED | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX, true);
}

/* A packed ring may have any size, so that chains end in its middle. */
static void packed_ring_of_an_odd_size(void **state)
{
	static struct driver d;

	(void)state;
	memset(&d, 0, sizeof(d));
	driver_create(&d, "virtio-rnd", NULL, 0);
	assert_true(driver_negotiate(&d, VIRTIO_F_RING_PACKED));
	driver_queue_start(&d, 0, 7);
	driver_ready(&d);
	for (unsigned i = 0; i < 50; i++)
		one_round(&d, false);
	driver_destroy(&d);
}

static void several_buffers_at_once(void **state)
{
	static const uint64_t features[] = {0, VIRTIO_F_RING_PACKED};
	static struct driver d;

	(void)state;
	for (unsigned f = 0; f < 2; f++) {
		uint16_t ids[20], id;
		uint32_t len;

		setup(&d, features[f]);
		for (unsigned i = 0; i < 20; i++) {
			const struct driver_piece piece = {DATA + 0x100 * i, 16 + i, true};

			ids[i] = driver_add(&d, 0, &piece, 1);
		}
		driver_kick(&d, 0);
		for (unsigned i = 0; i < 20; i++) {
			assert_true(driver_poll(&d, 0, &id, &len));
			assert_int_equal(id, ids[i]);
			assert_int_equal(len, 16 + i);
		}
		assert_int_equal(driver_interrupts(&d, 0), 1);
		driver_destroy(&d);
	}
}

/* With EVENT_IDX a driver notifies when its index passes the one that the device names. */
static void the_next_notification_is_asked_for(void **state)
{
	static struct driver d;
	uint16_t event;

	(void)state;
	setup(&d, VIRTIO_F_EVENT_IDX);
	for (uint16_t i = 1; i < 5; i++) {
		one_round(&d, false);
		memcpy(&event, driver_at(&d, d.queues[0].device + 4 + 8 * d.queues[0].size), 2);
		assert_int_equal(event, i);
	}
	driver_destroy(&d);
}

/* ---- interrupts that are not wanted ---- */

static void no_interrupt_by_flag(void **state)
{
	static struct driver d;
	uint16_t *avail;

	(void)state;
	setup(&d, 0);
	avail = driver_at(&d, d.queues[0].driver);
	avail[0] = 1;
	one_round(&d, false);
	assert_int_equal(driver_interrupts(&d, 0), 0);
	avail[0] = 0;
	one_round(&d, false);
	assert_int_equal(driver_interrupts(&d, 0), 1);
	driver_destroy(&d);
}

static void event_index_of_a_split_ring(void **state)
{
	static struct driver d;
	uint16_t *event;

	(void)state;
	setup(&d, VIRTIO_F_EVENT_IDX);
	event = driver_at(&d, d.queues[0].driver + 4 + 2 * d.queues[0].size);
	one_round(&d, false); /* the first one may always */
	unsigned base = driver_interrupts(&d, 0);

	*event = 3; /* when the used index gets past 3 */
	one_round(&d, false);
	one_round(&d, false);
	assert_int_equal(driver_interrupts(&d, 0), base);
	one_round(&d, false);
	assert_int_equal(driver_interrupts(&d, 0), base + 1);
	one_round(&d, false);
	assert_int_equal(driver_interrupts(&d, 0), base + 1);
	driver_destroy(&d);
}

static void events_of_a_packed_ring(void **state)
{
	static struct driver d;
	uint16_t *event;

	(void)state;
	setup(&d, VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX);
	event = driver_at(&d, d.queues[0].driver);
	one_round(&d, false);
	unsigned base = driver_interrupts(&d, 0);

	event[1] = 1; /* none */
	one_round(&d, false);
	assert_int_equal(driver_interrupts(&d, 0), base);
	event[0] = 1 << 15 | 6; /* at position 6 of this round; each buffer has 2 */
	event[1] = 2;
	one_round(&d, false);
	assert_int_equal(driver_interrupts(&d, 0), base);
	one_round(&d, false);
	assert_int_equal(driver_interrupts(&d, 0), base + 1);
	one_round(&d, false);
	assert_int_equal(driver_interrupts(&d, 0), base + 1);
	driver_destroy(&d);
}

/* ---- drivers that do not keep to it ---- */

static void raw_desc(
	struct driver *d, unsigned index, uint64_t gpa, uint32_t len, uint16_t flags, uint16_t next)
{
	uint8_t *at = driver_at(d, d->queues[0].desc + 16 * index);

	memcpy(at, &gpa, 8);
	memcpy(at + 8, &len, 4);
	memcpy(at + 12, &flags, 2);
	memcpy(at + 14, &next, 2);
}

static void raw_avail(struct driver *d, uint16_t head, uint16_t index)
{
	uint16_t *avail = driver_at(d, d->queues[0].driver);

	avail[2] = head;
	avail[1] = index;
	driver_kick(d, 0);
}

static const struct hostile {
	const char *what;
	uint64_t gpa;
	uint32_t len;
	uint16_t flags, next, head, index;
} hostile[] = {
	{"outside of RAM", DRIVER_RAM, 16, 2, 0, 0, 1},
	{"across the end of RAM", DRIVER_RAM - 8, 16, 2, 0, 0, 1},
	{"a length that wraps", 0xfffffffffffffff0, 0x20, 2, 0, 0, 1},
	{"a chain that leads back to itself", DATA, 16, 1 | 2, 0, 0, 1},
	{"a chain that leaves the table", DATA, 16, 1 | 2, 0x8000, 0, 1},
	{"a head beyond the ring", DATA, 16, 2, 0, 0xffff, 1},
	{"an index too far ahead", DATA, 16, 2, 0, 0, 0x4000},
	{"an indirect table that was not agreed on", DATA, 16, 4, 0, 0, 1},
};

static void hostile_split_rings_break_the_device(void **state)
{
	static struct driver d;

	(void)state;
	for (size_t i = 0; i < sizeof(hostile) / sizeof(hostile[0]); i++) {
		const struct hostile *h = &hostile[i];
		uint16_t id;
		uint32_t len;

		setup(&d, 0);
		raw_desc(&d, 0, h->gpa, h->len, h->flags, h->next);
		raw_avail(&d, h->head, h->index);
		if (!(driver_status(&d) & NEEDS_RESET))
			fail_msg("%s was taken", h->what);
		assert_false(driver_poll(&d, 0, &id, &len));
		raw_desc(&d, 0, DATA, 16, 2, 0);
		driver_kick(&d, 0);
		assert_false(driver_poll(&d, 0, &id, &len)); /* not before a reset */
		driver_start(&d, 0);
		one_round(&d, false);
		driver_destroy(&d);
	}
}

static void hostile_indirect_tables(void **state)
{
	static const struct {
		uint64_t gpa;
		uint32_t len;
		uint16_t inner_flags;
	} tables[] = {
		{DATA, 0, 2},
		{DATA, 17, 2},
		{DRIVER_RAM - 16, 32, 2},
		{DATA, 16, 4 | 2}, /* a table in a table */
		{DATA, 0xfffffff0, 2},
	};
	static struct driver d;

	(void)state;
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		uint64_t inner[2] = {DATA + 0x100, 16 | (uint64_t)tables[i].inner_flags << 32};

		setup(&d, VIRTIO_F_INDIRECT_DESC);
		memcpy(driver_at(&d, DATA), inner, sizeof(inner));
		raw_desc(&d, 0, tables[i].gpa, tables[i].len, 4, 0);
		raw_avail(&d, 0, 1);
		if (!(driver_status(&d) & NEEDS_RESET))
			fail_msg("table %zu was taken", i);
		driver_destroy(&d);
	}
}

static void rings_outside_of_ram_are_not_enabled(void **state)
{
	static struct driver d;

	(void)state;
	memset(&d, 0, sizeof(d));
	driver_create(&d, "virtio-rnd", NULL, 0);
	assert_true(driver_negotiate(&d, 0));
	driver_put(&d, 0x16, 2, 0);
	driver_put(&d, 0x20, 4, DRIVER_RAM - 64);
	driver_put(&d, 0x1c, 2, 1);
	assert_int_equal(driver_get(&d, 0x1c, 2), 0);
	assert_true(driver_status(&d) & NEEDS_RESET);
	driver_start(&d, 0);
	one_round(&d, false);
	driver_destroy(&d);
}

static void rings_do_not_move_while_they_run(void **state)
{
	static struct driver d;

	(void)state;
	setup(&d, 0);
	driver_put(&d, 0x16, 2, 0);
	uint64_t before = driver_get(&d, 0x20, 4);

	driver_put(&d, 0x20, 4, 0x12340);
	driver_put(&d, 0x18, 2, 2);
	assert_int_equal(driver_get(&d, 0x20, 4), before);
	assert_int_equal(driver_get(&d, 0x18, 2), d.queues[0].size);
	one_round(&d, false);
	driver_destroy(&d);
}

static void features_that_are_not_offered_are_refused(void **state)
{
	static struct driver d;

	(void)state;
	memset(&d, 0, sizeof(d));
	driver_create(&d, "virtio-rnd", NULL, 0);
	driver_put(&d, 0x14, 1, 3);
	driver_put(&d, 0x08, 4, 1);
	driver_put(&d, 0x0c, 4, 1 | 1 << 20); /* VERSION_1 and something unknown */
	driver_put(&d, 0x14, 1, 3 | 8);
	assert_int_equal(driver_status(&d) & 8, 0);
	driver_put(&d, 0x0c, 4, 0); /* a modern driver without VERSION_1 */
	driver_put(&d, 0x14, 1, 3 | 8);
	assert_int_equal(driver_status(&d) & 8, 0);
	driver_destroy(&d);
}

/* ---- the interface of old, and the pin ---- */

static uint16_t legacy_port(struct driver *d)
{
	return (uint16_t)(fake_in(&d->g, PC_ECAM_BASE + (3 << 15) + PCI_BAR0, 4) & ~3u);
}

static void legacy_driver_with_the_pin(void **state)
{
	static struct driver d;
	unsigned line = PC_PCI_PIN_FIRST + PC_PCI_LINK(3, 0);
	uint8_t *ring;
	uint32_t element[2];

	(void)state;
	memset(&d, 0, sizeof(d));
	driver_create(&d, "virtio-rnd", NULL, 0);
	uint16_t port = legacy_port(&d);
	unsigned msix = 0x40;

	while (fake_in(&d.g, PC_ECAM_BASE + (3 << 15) + msix, 1) != PCI_CAP_MSIX)
		msix = (unsigned)fake_in(&d.g, PC_ECAM_BASE + (3 << 15) + msix + 1, 1);
	fake_out(&d.g, PC_ECAM_BASE + (3 << 15) + msix + 2, 2, 0);

	fake_store(&d.g, GUEST_PORTS, port + 0x12u, 1, 0);
	fake_store(&d.g, GUEST_PORTS, port + 0x12u, 1, 3);
	assert_int_equal(fake_load(&d.g, GUEST_PORTS, port, 4) & (1u << 28), 1u << 28);
	fake_store(&d.g, GUEST_PORTS, port + 4u, 4, 0);
	fake_store(&d.g, GUEST_PORTS, port + 0x0eu, 2, 0);
	unsigned size = (unsigned)fake_load(&d.g, GUEST_PORTS, port + 0x0cu, 2);

	assert_int_equal(size, 64);
	ring = driver_at(&d, 0x10000);
	fake_store(&d.g, GUEST_PORTS, port + 8u, 4, 0x10);
	assert_int_equal(fake_load(&d.g, GUEST_PORTS, port + 8u, 4), 0x10);
	fake_store(&d.g, GUEST_PORTS, port + 0x12u, 1, 7);

	d.queues[0].desc = 0x10000;
	raw_desc(&d, 0, DATA, 100, 2, 0);
	memcpy(ring + 16 * size + 2, &(uint16_t){1}, 2);
	fake_store(&d.g, GUEST_PORTS, port + 0x10u, 2, 0);
	memcpy(element, ring + 0x1000 + 4, 8); /* the used ring is on the next page */
	assert_int_equal(element[0], 0);
	assert_int_equal(element[1], 100);
	assert_true(d.g.line[line] && d.g.line[15]); /* link D has been routed to line 15 */
	assert_int_equal(fake_load(&d.g, GUEST_PORTS, port + 0x13u, 1), 1);
	assert_false(d.g.line[line] || d.g.line[15]);
	assert_int_equal(fake_load(&d.g, GUEST_PORTS, port + 0x13u, 1), 0);
	driver_destroy(&d);
}

/* Reaches the registers without a BAR, by the window in configuration space (4.1.4.9). */
static void window_in_configuration_space(void **state)
{
	static struct driver d;
	uint64_t at = PC_ECAM_BASE + (3 << 15);
	unsigned cap = 0x40;

	(void)state;
	memset(&d, 0, sizeof(d));
	driver_create(&d, "virtio-rnd", NULL, 0);
	while (fake_in(&d.g, at + cap, 1) != PCI_CAP_VENDOR || fake_in(&d.g, at + cap + 3, 1) != 5)
		cap = (unsigned)fake_in(&d.g, at + cap + 1, 1);
	fake_out(&d.g, at + cap + 4, 1, 4);
	fake_out(&d.g, at + cap + 8, 4, 0x12); /* the number of queues */
	fake_out(&d.g, at + cap + 12, 4, 2);
	assert_int_equal(fake_in(&d.g, at + cap + 16, 2), 1);
	fake_out(&d.g, at + cap + 8, 4, 0x14);
	fake_out(&d.g, at + cap + 12, 4, 1);
	fake_out(&d.g, at + cap + 16, 1, 1);
	assert_int_equal(driver_status(&d), 1);
	fake_out(&d.g, at + cap + 8, 4, 0x7fffffff);
	assert_int_equal(fake_in(&d.g, at + cap + 16, 1), 0);
	driver_destroy(&d);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(split_ring),
		cmocka_unit_test(split_ring_with_indirect_tables),
		cmocka_unit_test(packed_ring),
		cmocka_unit_test(packed_ring_with_indirect_tables),
		cmocka_unit_test(packed_ring_of_an_odd_size),
		cmocka_unit_test(several_buffers_at_once),
		cmocka_unit_test(the_next_notification_is_asked_for),
		cmocka_unit_test(no_interrupt_by_flag),
		cmocka_unit_test(event_index_of_a_split_ring),
		cmocka_unit_test(events_of_a_packed_ring),
		cmocka_unit_test(hostile_split_rings_break_the_device),
		cmocka_unit_test(hostile_indirect_tables),
		cmocka_unit_test(rings_outside_of_ram_are_not_enabled),
		cmocka_unit_test(rings_do_not_move_while_they_run),
		cmocka_unit_test(features_that_are_not_offered_are_refused),
		cmocka_unit_test(legacy_driver_with_the_pin),
		cmocka_unit_test(window_in_configuration_space),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
