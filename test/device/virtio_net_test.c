/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The network card by a driver in a fake guest, with the network in user space behind it: what that
 * answers comes back through the rings.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "device/virtio/net.h"
#include "test/device/virtio_driver.h"

enum { TX = DRIVER_FREE, RX = DRIVER_FREE + 0x100000, CTRL = DRIVER_FREE + 0x200000 };
enum { NEEDS_RESET = 64, HEADER = 12, ARP_SIZE = 42, ANSWER_SIZE = 64 };

static const uint8_t mac[6] = {2, 0, 0, 0, 0, 7};

static void create(struct driver *d, const char *queues)
{
	const char *const options[][2] = {{"backend", "slirp"}, {"mac", "02:00:00:00:00:07"},
		{"mtu", "1500"}, {"ipv6", "off"}, {queues ? "queues" : NULL, queues}, {NULL, NULL}};

	memset(d, 0, sizeof(*d));
	assert_int_equal(event_loop_create(&d->g.guest.loop), 0);
	driver_create(d, "virtio-net", options, 0);
}

static void destroy(struct driver *d)
{
	struct event_loop *loop = d->g.guest.loop;

	driver_destroy(d);
	event_loop_destroy(loop);
}

/* Buffers to be received into, of `size` bytes each. */
static void add_buffers(struct driver *d, unsigned n, uint32_t size)
{
	for (unsigned i = 0; i < n; i++) {
		const struct driver_piece piece = {RX + (uint64_t)i * 0x1000, size, true};

		driver_add(d, 0, &piece, 1);
	}
	driver_kick(d, 0);
}

static void send_frame(struct driver *d, uint32_t size)
{
	const struct driver_piece pieces[] = {{TX, HEADER, false}, {TX + 0x1000, size, false}};
	uint16_t id, sent;
	uint32_t len;

	sent = driver_add(d, 1, pieces, 2);
	driver_kick(d, 1);
	assert_true(driver_await(d, 1, &id, &len));
	assert_int_equal(id, sent);
	assert_int_equal(len, 0);
}

/* Who has 10.0.2.2? */
static void send_arp(struct driver *d)
{
	uint8_t *frame = driver_at(d, TX + 0x1000);

	memset(driver_at(d, TX), 0, HEADER);
	memset(frame, 0, ARP_SIZE);
	memset(frame, 0xff, 6);
	memcpy(frame + 6, mac, 6);
	memcpy(frame + 12, (const uint8_t[]){8, 6, 0, 1, 8, 0, 6, 4, 0, 1}, 10);
	memcpy(frame + 22, mac, 6);
	memcpy(frame + 28, (const uint8_t[]){10, 0, 2, 15}, 4);
	memcpy(frame + 38, (const uint8_t[]){10, 0, 2, 2}, 4);
	send_frame(d, ARP_SIZE);
}

static void expect_answer(struct driver *d)
{
	uint16_t id;
	uint32_t len;

	assert_true(driver_await(d, 0, &id, &len));
	assert_int_equal(len, HEADER + ANSWER_SIZE);
}

/* A command to the control queue; what the device acknowledges. */
static unsigned control(struct driver *d, unsigned queue, unsigned class, unsigned command,
	const void *data, uint32_t size)
{
	const struct driver_piece pieces[] = {
		{CTRL, 2, false}, {CTRL + 0x1000, size, false}, {CTRL + 0x2000, 1, true}};
	uint8_t *at = driver_at(d, CTRL);
	uint16_t id;
	uint32_t len;

	at[0] = (uint8_t) class;
	at[1] = (uint8_t)command;
	memcpy(driver_at(d, CTRL + 0x1000), data, size);
	*(uint8_t *)driver_at(d, CTRL + 0x2000) = 0xee;
	driver_add(d, queue, pieces, 3);
	driver_kick(d, queue);
	assert_true(driver_await(d, queue, &id, &len));
	assert_int_equal(len, 1);
	return *(uint8_t *)driver_at(d, CTRL + 0x2000);
}

static void configuration(void **state)
{
	static struct driver d;
	uint8_t config[12];

	(void)state;
	create(&d, NULL);
	driver_start(&d, ~0ull);
	driver_config(&d, 0, config, 4);
	driver_config(&d, 4, config + 4, 4);
	driver_config(&d, 8, config + 8, 4);
	assert_memory_equal(config, mac, 6);
	assert_int_equal(config[6], 1);
	assert_int_equal(config[8], 1);
	assert_int_equal(config[10] | config[11] << 8, 1500);
	assert_int_equal(d.nqueues, 3);
	assert_true(d.features & NET_F_MTU && d.features & NET_F_GUEST_TSO4);
	assert_false(d.features & NET_F_MQ);
	destroy(&d);
}

/* On split and packed rings, with and without buffers that merge. */
static void there_and_back(void **state)
{
	static const uint64_t features[] = {NET_F_MRG_RXBUF | NET_F_CSUM, 0,
		NET_F_MRG_RXBUF | VIRTIO_F_RING_PACKED | VIRTIO_F_EVENT_IDX, VIRTIO_F_EVENT_IDX};
	static struct driver d;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		create(&d, NULL);
		driver_start(&d, features[i]);
		for (unsigned round = 0; round < 600; round++) {
			const uint8_t *got = driver_at(&d, RX);

			memset(driver_at(&d, RX), 0xee, 2048);
			add_buffers(&d, 1, 1600);
			send_arp(&d);
			expect_answer(&d);
			assert_int_equal(got[1], 0);
			assert_int_equal(got[10], 1);
			assert_int_equal(got[11], 0);
			assert_memory_equal(got + HEADER, mac, 6);
			assert_memory_equal(got + HEADER + 28, ((const uint8_t[]){10, 0, 2, 2}), 4);
			assert_int_equal(got[HEADER + ANSWER_SIZE], 0xee);
		}
		assert_true(driver_interrupts(&d, 0) > 0);
		destroy(&d);
	}
}

/* An answer waits for a buffer, and one in several buffers becomes visible with all of them. */
static void frames_take_buffers_as_they_come(void **state)
{
	static struct driver d;
	uint16_t id;
	uint32_t len;

	(void)state;
	create(&d, NULL);
	driver_start(&d, NET_F_MRG_RXBUF);
	send_arp(&d);
	assert_false(driver_poll(&d, 0, &id, &len));
	add_buffers(&d, 2, 30);
	assert_false(driver_poll(&d, 0, &id, &len));
	const struct driver_piece third = {RX + 0x2000, 1000, true};

	driver_add(&d, 0, &third, 1);
	driver_kick(&d, 0);
	assert_true(driver_await(&d, 0, &id, &len));
	assert_int_equal(len, 30);
	assert_true(driver_poll(&d, 0, &id, &len));
	assert_int_equal(len, 30);
	assert_true(driver_poll(&d, 0, &id, &len));
	assert_int_equal(len, HEADER + ANSWER_SIZE - 60);
	assert_int_equal(*(uint8_t *)driver_at(&d, RX + 10), 3);
	destroy(&d);
}

static void filter_by_address(void **state)
{
	static struct driver d;
	const uint8_t off = 0, on = 1, other[6] = {2, 0, 0, 0, 0, 8};
	uint8_t table[4 + 6 + 4] = {1, 0, 0, 0, 2, 0, 0, 0, 0, 7};
	uint16_t id;
	uint32_t len;

	(void)state;
	create(&d, NULL);
	driver_start(&d, NET_F_MRG_RXBUF | NET_F_CTRL_VQ | NET_F_CTRL_RX | NET_F_CTRL_MAC_ADDR);
	add_buffers(&d, 20, 1600);
	assert_int_equal(control(&d, 2, 0, NET_RX_PROMISC, &off, 1), 0);
	send_arp(&d);
	expect_answer(&d);
	assert_int_equal(control(&d, 2, 1, 1, other, 6), 0);
	send_arp(&d);
	assert_false(driver_poll(&d, 0, &id, &len));
	assert_int_equal(control(&d, 2, 1, 0, table, sizeof(table)), 0);
	send_arp(&d);
	expect_answer(&d);
	assert_int_equal(control(&d, 2, 0, NET_RX_NOUNI, &on, 1), 0);
	send_arp(&d);
	assert_false(driver_poll(&d, 0, &id, &len));
	assert_int_equal(control(&d, 2, 0, NET_RX_PROMISC, &on, 1), 0);
	send_arp(&d);
	expect_answer(&d);
	destroy(&d);
}

static void filters_alone(void **state)
{
	static struct net_filter f = {.mac = {2, 0, 0, 0, 0, 7}};
	uint8_t frame[18] = {0x01, 0, 0x5e, 0, 0, 1, [12] = 0x81, 0, 0x60, 5};

	(void)state;
	assert_false(net_filter_passes(&f, frame, 18));
	f.multicast.n = 1;
	memcpy(f.multicast.mac[0], frame, 6);
	assert_true(net_filter_passes(&f, frame, 18));
	f.vlans_only = true;
	assert_false(net_filter_passes(&f, frame, 18));
	f.vlans[0] = 1 << 5;
	assert_true(net_filter_passes(&f, frame, 18));
	f.mode[NET_RX_NOMULTI] = true;
	assert_false(net_filter_passes(&f, frame, 18));
	memset(frame, 0xff, 6);
	assert_true(net_filter_passes(&f, frame, 18));
	f.mode[NET_RX_NOBCAST] = true;
	assert_false(net_filter_passes(&f, frame, 18));
	f.mode[NET_RX_PROMISC] = true;
	assert_true(net_filter_passes(&f, frame, 18));
	assert_false(net_filter_passes(&f, frame, 13));
}

static void bad_commands_are_refused(void **state)
{
	static struct driver d;
	const uint8_t zeros[16] = {0}, many[8] = {0xff, 0xff, 0xff, 0xff};
	const uint64_t unknown = 1ull << 40, tso = NET_F_GUEST_TSO4 | NET_F_GUEST_CSUM;

	(void)state;
	create(&d, NULL);
	driver_start(&d, NET_F_CTRL_VQ | NET_F_CTRL_RX | NET_F_CTRL_MAC_ADDR | NET_F_CTRL_VLAN |
				 NET_F_CTRL_GUEST_OFFLOADS | tso);
	assert_int_equal(control(&d, 2, 0, NET_RX_MODES, zeros, 1), 1);
	assert_int_equal(control(&d, 2, 1, 0, many, 8), 1);
	assert_int_equal(control(&d, 2, 1, 1, zeros, 5), 1);
	assert_int_equal(control(&d, 2, 2, 0, many, 2), 1);
	assert_int_equal(control(&d, 2, 4, 0, zeros, 2), 1);
	assert_int_equal(control(&d, 2, 5, 0, &unknown, 8), 1);
	assert_int_equal(control(&d, 2, 5, 0, &tso, 8), 0);
	assert_int_equal(control(&d, 2, 99, 0, zeros, 1), 1);
	/* Longer than any command is: two empty tables, and zeros. */
	const struct driver_piece long_one[] = {
		{CTRL, 2, false}, {TX, 20000, false}, {CTRL + 0x2000, 1, true}};
	uint16_t id;
	uint32_t len;

	memcpy(driver_at(&d, CTRL), (const uint8_t[]){1, 0}, 2);
	driver_add(&d, 2, long_one, 3);
	driver_kick(&d, 2);
	assert_true(driver_await(&d, 2, &id, &len));
	assert_int_equal(*(uint8_t *)driver_at(&d, CTRL + 0x2000), 1);
	destroy(&d);
}

static void pairs_of_queues(void **state)
{
	static struct driver d;
	const uint16_t two = 2, five = 5;

	(void)state;
	create(&d, "4");
	assert_int_equal(d.nqueues, 9);
	driver_start(&d, NET_F_MRG_RXBUF | NET_F_CTRL_VQ | NET_F_MQ);
	assert_int_equal(control(&d, 8, 4, 0, &two, 2), 0);
	assert_int_equal(control(&d, 8, 4, 0, &five, 2), 1);
	add_buffers(&d, 1, 1600);
	send_arp(&d);
	expect_answer(&d);
	/* Without MQ the control queue is the third. */
	driver_start(&d, NET_F_MRG_RXBUF | NET_F_CTRL_VQ | NET_F_CTRL_RX);
	assert_int_equal(control(&d, 2, 0, 0, &two, 1), 0);
	destroy(&d);
}

/* Buffers that the card had taken, and a frame that waits, are forgotten. */
static void reset_in_the_middle(void **state)
{
	static struct driver d;
	uint16_t id;
	uint32_t len;

	(void)state;
	create(&d, NULL);
	for (unsigned i = 0; i < 50; i++) {
		driver_start(&d, NET_F_MRG_RXBUF | (i % 2 ? VIRTIO_F_RING_PACKED : 0));
		add_buffers(&d, 7, 50);
		send_arp(&d);
		assert_true(driver_await(&d, 0, &id, &len));
		assert_int_equal(len, 50);
		assert_true(driver_poll(&d, 0, &id, &len));
		assert_int_equal(len, HEADER + ANSWER_SIZE - 50);
		send_arp(&d);
		driver_reset(&d);
		memset(driver_at(&d, RX), 0xdd, 7 * 0x1000);
		driver_start(&d, NET_F_MRG_RXBUF);
		assert_false(driver_poll(&d, 0, &id, &len));
		assert_int_equal(*(uint8_t *)driver_at(&d, RX), 0xdd);
		add_buffers(&d, 1, 1600);
		send_arp(&d);
		expect_answer(&d);
	}
	destroy(&d);
}

static void hostile_buffers(void **state)
{
	static struct driver d;
	const struct driver_piece nowhere = {0xffffffff0000ull, 100, false};
	const struct driver_piece runt = {TX, 5, false}, to_write = {TX, 100, true};
	const struct driver_piece large[] = {{TX, HEADER, false}, {DRIVER_FREE, 0x300000, false}};
	uint16_t id;
	uint32_t len;

	(void)state;
	create(&d, NULL);
	driver_start(&d, NET_F_MRG_RXBUF);
	driver_add(&d, 1, &runt, 1);
	driver_add(&d, 1, &to_write, 1);
	driver_add(&d, 1, large, 2);
	driver_kick(&d, 1);
	for (unsigned i = 0; i < 3; i++)
		assert_true(driver_await(&d, 1, &id, &len));
	add_buffers(&d, 1, 1600);
	send_arp(&d);
	expect_answer(&d);
	driver_add(&d, 1, &nowhere, 1);
	driver_kick(&d, 1);
	assert_true(driver_status(&d) & NEEDS_RESET);
	driver_start(&d, NET_F_MRG_RXBUF);
	add_buffers(&d, 1, 1600);
	send_arp(&d);
	expect_answer(&d);
	destroy(&d);
}

static void bad_options(void **state)
{
	static const char *const options[][2] = {
		{"backend", "slirp"}, {"hostfwd", "x"}, {NULL, NULL}};
	static struct driver d;

	(void)state;
	memset(&d, 0, sizeof(d));
	driver_create(&d, "virtio-net", options, EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(configuration),
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(frames_take_buffers_as_they_come),
		cmocka_unit_test(filter_by_address),
		cmocka_unit_test(filters_alone),
		cmocka_unit_test(bad_commands_are_refused),
		cmocka_unit_test(pairs_of_queues),
		cmocka_unit_test(reset_in_the_middle),
		cmocka_unit_test(hostile_buffers),
		cmocka_unit_test(bad_options),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
