/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The network in user space, by frames made by hand: addresses, ports, connections both ways with
 * and without offloads, a user without room, rates, and settings that are none.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "test/host/net_peer.h"

#define ALL (NET_CSUM | NET_TSO4 | NET_TSO6 | NET_TSO_ECN | NET_UFO)

/* A port of the loopback interface that is free now. */
static unsigned free_port(int type)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
	socklen_t size = sizeof(addr);
	int fd = socket(AF_INET, type, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&addr, size), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&addr, &size), 0);
	close(fd);
	return ntohs(addr.sin_port);
}

static struct sockaddr_in loopback(unsigned port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
		.sin_port = htons((uint16_t)port),
		.sin_addr = {htonl(INADDR_LOOPBACK)}};
}

/* A connection from the host through a forwarded port; the guest's end is accepted. */
static int connect_in(struct peer *p, unsigned port, unsigned mss)
{
	struct sockaddr_in addr = loopback(port);
	const struct timeval limit = {.tv_sec = 10};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	peer_accept(p, mss);
	assert_int_equal(p->port, 22);
	return fd;
}

struct writer {
	int fd;
	size_t size;
};

static void *write_pattern(void *arg)
{
	struct writer *w = arg;
	uint8_t *bytes = malloc(w->size);

	for (size_t i = 0; i < w->size; i++)
		bytes[i] = peer_pattern(i);
	for (size_t done = 0; done < w->size;) {
		ssize_t n = write(w->fd, bytes + done, w->size - done);

		if (n <= 0)
			break;
		done += (size_t)n;
	}
	free(bytes);
	return NULL;
}

static void arp_is_answered(void **state)
{
	static const char *const settings[] = {"backend", "slirp", NULL};
	struct peer p;

	(void)state;
	peer_open(&p, settings, ALL);
	peer_resolve(&p);
	assert_memory_equal(p.other_mac, ((const uint8_t[]){0x52, 0x55, 10, 0, 2, 2}), 6);
	assert_true(p.told > 0);
	peer_close(&p);
}

static void dhcp_offers_an_address(void **state)
{
	static const char *const settings[] = {"backend", "slirp", "net", "192.168.7.0/24", NULL};
	static const uint8_t options[] = {0x63, 0x82, 0x53, 0x63, 53, 1, 1, 255};
	uint8_t frame[14 + 20 + 8 + 300] = {0};
	uint8_t *bootp = frame + 42;
	struct packet packet = {.frame = frame,
		.size = sizeof(frame),
		.protocol = PACKET_UDP,
		.l3 = 14,
		.l4 = 34,
		.payload = 42};
	struct peer_frame f;
	struct peer p;

	(void)state;
	peer_open(&p, settings, ALL);
	memset(frame, 0xff, 6);
	memcpy(frame + 6, p.mac, 6);
	memcpy(frame + 12, (const uint8_t[]){8, 0, 0x45, 0}, 4);
	memcpy(frame + 22, (const uint8_t[]){64, PACKET_UDP}, 2);
	memset(frame + 30, 0xff, 4);
	memcpy(frame + 34, (const uint8_t[]){0, 68, 0, 67}, 4);
	memcpy(bootp, (const uint8_t[]){1, 1, 6, 0, 1, 2, 3, 4}, 8);
	memcpy(bootp + 28, p.mac, 6);
	memcpy(bootp + 236, options, sizeof(options));
	packet_finish(&packet);
	peer_send(&p, NULL, frame, sizeof(frame));
	do {
		f = peer_next(&p, 5000);
		assert_non_null(f.bytes);
		if (packet_parse(f.bytes, f.size, false, &packet) && f.bytes[packet.l4 + 1] == 67)
			break;
		free(f.bytes);
	} while (1);
	assert_memory_equal(f.bytes + packet.payload + 16, ((const uint8_t[]){192, 168, 7, 15}), 4);
	free(f.bytes);
	peer_close(&p);
}

struct transfer {
	unsigned takes, mss;
	size_t size;
	bool large; /* the guest gets frames yet to be cut */
};

/* From the host to the guest: each byte in order, and frames as the guest takes them. */
static void transfer_in(const struct transfer *t)
{
	unsigned port = free_port(SOCK_STREAM), large;
	char rule[60];
	const char *settings[] = {"backend", "slirp", "hostfwd", rule, NULL};
	struct peer p;
	pthread_t thread;

	snprintf(rule, sizeof(rule), "tcp:127.0.0.1:%u-:22", port);
	peer_open(&p, settings, t->takes);
	struct writer w = {connect_in(&p, port, t->mss), t->size};

	assert_int_equal(pthread_create(&thread, NULL, write_pattern, &w), 0);
	unsigned frames = peer_receive(&p, t->size, &large);

	pthread_join(thread, NULL);
	if (t->large)
		assert_true(large > 0 && frames < t->size / 8000);
	else
		assert_int_equal(large, 0);
	close(w.fd);
	peer_close(&p);
}

static void host_to_guest(void **state)
{
	static const struct transfer transfers[] = {
		{.takes = ALL, .mss = 1460, .size = 3000000, .large = true},
		{.takes = NET_CSUM | NET_TSO4, .mss = 1460, .size = 200000, .large = true},
		{.takes = ALL, .mss = 1200, .size = 200000},
		{.takes = NET_CSUM, .mss = 1460, .size = 200000},
		{.takes = 0, .mss = 1460, .size = 200000},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(transfers) / sizeof(transfers[0]); i++)
		transfer_in(&transfers[i]);
}

/* The guest has taken large frames when the connection was made, and then does not any more. */
static void offloads_end_in_the_middle(void **state)
{
	unsigned port = free_port(SOCK_STREAM), large;
	char rule[60];
	const char *settings[] = {"backend", "slirp", "hostfwd", rule, NULL};
	struct peer p;
	pthread_t thread;

	(void)state;
	snprintf(rule, sizeof(rule), "tcp:127.0.0.1:%u-:22", port);
	peer_open(&p, settings, ALL);
	struct writer w = {connect_in(&p, port, 1460), 100000};

	net_configure(p.net, 0, sizeof(struct net_header), 1);
	pthread_create(&thread, NULL, write_pattern, &w);
	assert_true(peer_receive(&p, 100000, &large) >= 100000 / 1460);
	assert_int_equal(large, 0);
	pthread_join(thread, NULL);
	close(w.fd);
	peer_close(&p);
}

static void guest_to_host(void **state)
{
	/* The payload, and the segments that it is to be cut into. */
	static const struct {
		size_t size;
		unsigned gso;
	} sends[] = {{1, 0}, {1460, 0}, {60000, 1460}, {3001, 1}, {20000, 536}, {65495, 1460}};
	unsigned port = free_port(SOCK_STREAM);
	char rule[60];
	const char *settings[] = {"backend", "slirp", "hostfwd", rule, NULL};
	uint8_t *bytes = malloc(65536), *got = malloc(65536);
	struct packet packet;
	struct peer p;

	(void)state;
	for (size_t i = 0; i < 65536; i++)
		bytes[i] = peer_pattern(i);
	snprintf(rule, sizeof(rule), "tcp:127.0.0.1:%u-:22", port);
	peer_open(&p, settings, ALL);
	int fd = connect_in(&p, port, 1460);

	for (size_t i = 0; i < sizeof(sends) / sizeof(sends[0]); i++) {
		peer_send_tcp(&p, PEER_ACK | PEER_PSH, bytes, sends[i].size, sends[i].gso);
		assert_int_equal(recv(fd, got, sends[i].size, MSG_WAITALL), sends[i].size);
		assert_memory_equal(got, bytes, sends[i].size);
		struct peer_frame f = peer_next_tcp(&p, &packet);
		uint32_t ack;

		memcpy(&ack, f.bytes + packet.l4 + 8, 4);
		assert_int_equal(ntohl(ack), p.seq);
		free(f.bytes);
	}
	peer_send_tcp(&p, PEER_ACK | PEER_FIN, NULL, 0, 0);
	assert_int_equal(recv(fd, got, 1, 0), 0);
	close(fd);
	free(bytes);
	free(got);
	peer_close(&p);
}

/* Nothing is lost while the guest has no room, and the thread does not spin meanwhile. */
static void frames_wait_for_room(void **state)
{
	unsigned port = free_port(SOCK_STREAM), large;
	char rule[60];
	const char *settings[] = {"backend", "slirp", "hostfwd", rule, NULL};
	struct peer p;
	pthread_t thread;
	struct timespec before, after;

	(void)state;
	snprintf(rule, sizeof(rule), "tcp:127.0.0.1:%u-:22", port);
	peer_open(&p, settings, ALL);
	struct writer w = {connect_in(&p, port, 1460), 500000};

	pthread_mutex_lock(&p.lock);
	p.full = true;
	pthread_mutex_unlock(&p.lock);
	pthread_create(&thread, NULL, write_pattern, &w);
	usleep(50000);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	usleep(200000);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	assert_true((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec <
		    50000000);
	assert_int_equal(p.count, 0);
	pthread_mutex_lock(&p.lock);
	p.full = false;
	pthread_mutex_unlock(&p.lock);
	net_resume(p.net, 0);
	peer_receive(&p, 500000, &large);
	pthread_join(thread, NULL);
	close(w.fd);
	peer_close(&p);
}

static void udp_goes_both_ways(void **state)
{
	unsigned port = free_port(SOCK_DGRAM);
	struct sockaddr_in addr = loopback(port);
	const struct timeval limit = {.tv_sec = 10};
	static const char *const settings[] = {"backend", "slirp", NULL};
	uint8_t *frame = calloc(1, 70000), *got = malloc(70000);
	struct packet packet = {
		.frame = frame, .protocol = PACKET_UDP, .l3 = 14, .l4 = 34, .payload = 42};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct peer p;

	(void)state;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	assert_int_equal(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	peer_open(&p, settings, NET_CSUM);
	peer_resolve(&p);
	memcpy(frame, p.other_mac, 6);
	memcpy(frame + 6, p.mac, 6);
	memcpy(frame + 12, (const uint8_t[]){8, 0, 0x45, 0}, 4);
	memcpy(frame + 22, (const uint8_t[]){64, PACKET_UDP}, 2);
	memcpy(frame + 26, p.ip, 4);
	memcpy(frame + 30, p.other_ip, 4);
	memcpy(frame + 34, (const uint8_t[]){0x12, 0x34, (uint8_t)(port >> 8), (uint8_t)port}, 4);
	for (unsigned i = 0; i < 5000; i++)
		frame[42 + i] = peer_pattern(i);

	/* 5000 bytes for the card to cut into fragments, which here nobody has to do. */
	const struct net_header header = {.flags = NET_HEADER_NEEDS_CSUM,
		.gso_type = NET_GSO_UDP,
		.gso_size = 1480,
		.csum_start = 34,
		.csum_offset = 6};

	packet.size = 42 + 5000;
	peer_send(&p, &header, frame, packet.size);
	socklen_t addr_size = sizeof(addr);

	assert_int_equal(recvfrom(fd, got, 70000, 0, (struct sockaddr *)&addr, &addr_size), 5000);
	assert_memory_equal(got, frame + 42, 5000);

	/* And back: in fragments, since the user does not take it whole. */
	assert_int_equal(sendto(fd, got, 5000, 0, (struct sockaddr *)&addr, addr_size), 5000);
	size_t done = 0;

	while (done < 5008) {
		struct peer_frame f = peer_next(&p, 5000);

		assert_non_null(f.bytes);
		if (packet_parse(f.bytes, f.size, false, &packet) &&
			packet.protocol == PACKET_UDP) {
			unsigned word = (unsigned)f.bytes[20] << 8 | f.bytes[21];
			size_t n = packet.size - packet.l4;

			assert_true(f.size <= 1514 && packet.fragmented);
			assert_int_equal((word & 0x1fff) * 8, done);
			assert_int_equal(!!(word & 0x2000), done + n < 5008);
			for (size_t i = done ? 0 : 8; i < n; i++)
				assert_int_equal(
					f.bytes[packet.l4 + i], peer_pattern(done + i - 8));
			done += n;
		}
		free(f.bytes);
	}
	close(fd);
	free(frame);
	free(got);
	peer_close(&p);
}

/* Whatever the guest says about its frames: dropped, and the next one passes. */
static void hostile_headers_are_dropped(void **state)
{
	static const struct net_header headers[] = {
		{.flags = NET_HEADER_NEEDS_CSUM, .csum_start = 65535, .csum_offset = 65535},
		{.flags = NET_HEADER_NEEDS_CSUM, .csum_start = 99},
		{.flags = NET_HEADER_NEEDS_CSUM, .csum_start = 98, .csum_offset = 1},
		{.gso_type = NET_GSO_TCPV4},
		{.gso_type = NET_GSO_TCPV4, .gso_size = 1},
		{.gso_type = NET_GSO_TCPV6, .gso_size = 65535},
		{.gso_type = NET_GSO_UDP, .gso_size = 65535},
		{.gso_type = 0x7f, .gso_size = 9},
		{.gso_type = NET_GSO_TCPV4 | NET_GSO_ECN, .gso_size = 1460},
	};
	static const char *const settings[] = {"backend", "slirp", NULL};
	struct net_counters sent, received;
	uint8_t frame[100] = {0};
	struct peer p;

	(void)state;
	peer_open(&p, settings, ALL);
	for (size_t i = 0; i < sizeof(headers) / sizeof(headers[0]); i++)
		peer_send(&p, &headers[i], frame, i == 0 ? 14 : sizeof(frame));
	net_count(p.net, &sent, &received);
	assert_int_equal(sent.dropped, sizeof(headers) / sizeof(headers[0]));
	peer_send(&p, NULL, frame, 14);
	struct iovec runt = {frame, sizeof(struct net_header) + 13};

	assert_int_equal(net_send(p.net, 0, &runt, 1), 0);
	net_count(p.net, &sent, &received);
	assert_int_equal(sent.dropped, 1 + sizeof(headers) / sizeof(headers[0]));
	peer_resolve(&p);
	peer_close(&p);
}

static void rates_are_kept(void **state)
{
	static const char *const settings[] = {"backend", "slirp", "tx.pps", "100/2", NULL};
	const struct net_header header = {0};
	uint8_t frame[60] = {0};
	struct iovec iov[2] = {{(void *)&header, sizeof(header)}, {frame, sizeof(frame)}};
	struct peer p;

	(void)state;
	peer_open(&p, settings, ALL);
	assert_int_equal(net_send(p.net, 0, iov, 2), 0);
	assert_int_equal(net_send(p.net, 0, iov, 2), 0);
	assert_int_equal(net_send(p.net, 0, iov, 2), EAGAIN);
	for (int i = 0; i < 2000 && !p.sendable; i++)
		usleep(1000);
	assert_true(p.sendable > 0);
	assert_int_equal(net_send(p.net, 0, iov, 2), 0);
	peer_close(&p);
}

static void received_rates_are_kept(void **state)
{
	unsigned port = free_port(SOCK_STREAM), large;
	char rule[60];
	const char *settings[] = {
		"backend", "slirp", "hostfwd", rule, "rx.bps", "1000K/1000", NULL};
	struct peer p;
	pthread_t thread;
	struct timespec before, after;

	(void)state;
	snprintf(rule, sizeof(rule), "tcp:127.0.0.1:%u-:22", port);
	peer_open(&p, settings, ALL);
	struct writer w = {connect_in(&p, port, 1460), 300000};

	clock_gettime(CLOCK_MONOTONIC, &before);
	pthread_create(&thread, NULL, write_pattern, &w);
	peer_receive(&p, 300000, &large);
	clock_gettime(CLOCK_MONOTONIC, &after);
	pthread_join(thread, NULL);
	/* 32 KiB may still be in debt. */
	assert_true((after.tv_sec - before.tv_sec) * 1000 +
			    (after.tv_nsec - before.tv_nsec) / 1000000 >=
		    230);
	close(w.fd);
	peer_close(&p);
}

static void frames_are_dumped(void **state)
{
	char path[] = "/tmp/hyve-dump-XXXXXX";
	const char *settings[] = {"backend", "slirp", "dump", path, "ipv6", "off", NULL};
	uint32_t words[6 + 4];
	struct peer p;
	int fd = mkstemp(path);

	(void)state;
	peer_open(&p, settings, ALL);
	peer_resolve(&p);
	peer_close(&p);
	assert_int_equal(read(fd, words, sizeof(words)), sizeof(words));
	assert_int_equal(words[0], 0xa1b23c4d);
	assert_int_equal(words[5], 1);
	assert_int_equal(words[8], 42);
	assert_int_equal(words[9], 42);
	/* The question, then the answer, which libslirp makes 64 bytes long. */
	assert_int_equal(lseek(fd, 0, SEEK_END), 24 + 16 + 42 + 16 + 64);
	close(fd);
	unlink(path);
}

static void derived_addresses_are_bhyves(void **state)
{
	static const char *const settings[] = {"backend", "null", NULL};
	/* MD5 of "4-0-test" begins with these. */
	static const uint8_t want[6] = {0x58, 0x9c, 0xfc, 0xf3, 0x91, 0x9a};
	struct peer p;

	(void)state;
	peer_open(&p, settings, 0);
	assert_memory_equal(p.mac, want, 6);
	peer_close(&p);
}

static void bad_settings_are_named(void **state)
{
	static const struct {
		const char *pairs[5];
		const char *why; /* part of it */
	} bad[] = {
		{{NULL}, "no backend"},
		{{"backend", "vale0:1"}, "backend vale0:1"},
		{{"backend", "slirp", "hostfwd", "tcp:80-:80"}, "hostfwd=tcp:80-:80"},
		{{"backend", "slirp", "hostfwd", "sctp::80-:80"}, "hostfwd=sctp::80-:80"},
		{{"backend", "slirp", "hostfwd", "tcp::0-:80"}, "hostfwd="},
		{{"backend", "slirp", "hostfwd", "tcp::80-:65536"}, "hostfwd="},
		{{"backend", "slirp", "hostfwd", "tcp:1.2.3:80-:80"}, "hostfwd="},
		{{"backend", "slirp", "hostfwd", "tcp:198.51.100.7:80-:80"}, "port 80 of the host"},
		{{"backend", "slirp", "net", "10.0.0.0"}, "net=10.0.0.0"},
		{{"backend", "slirp", "restrict", "maybe"}, "restrict=maybe"},
		{{"backend", "null", "mac", "01:02:03:04:05:06"}, "mac=01:02:03:04:05:06"},
		{{"backend", "null", "mac", "58:9c:fc:1:2:3"}, "mac="},
		{{"backend", "null", "mtu", "67"}, "mtu=67"},
		{{"backend", "null", "queues", "17"}, "queues=17"},
		{{"backend", "null", "rx.bps", "fast"}, "rx.bps=fast"},
		{{"backend", "null", "dump", "/nonexistent/dump"}, "dump=/nonexistent/dump"},
		{{"backend", "tap0123456789abcdef"}, "no name of an interface"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char why[200] = "";
		struct peer p;

		assert_int_not_equal(peer_try(&p, bad[i].pairs, why, sizeof(why)), 0);
		if (!strstr(why, bad[i].why))
			fail_msg("\"%s\" does not have \"%s\"", why, bad[i].why);
	}
}

static void rules_may_be_many(void **state)
{
	unsigned first = free_port(SOCK_STREAM), second = free_port(SOCK_STREAM);
	char rules[200];
	const char *settings[] = {"backend", "slirp", "hostfwd", rules, NULL};
	struct peer p;

	(void)state;
	snprintf(rules, sizeof(rules),
		"tcp:127.0.0.1:%u-10.0.2.15:23;udp::%u-:53;tcp:127.0.0.1:%u-:22", first,
		free_port(SOCK_DGRAM), second);
	peer_open(&p, settings, ALL);
	close(connect_in(&p, second, 1460));
	peer_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arp_is_answered),
		cmocka_unit_test(dhcp_offers_an_address),
		cmocka_unit_test(host_to_guest),
		cmocka_unit_test(offloads_end_in_the_middle),
		cmocka_unit_test(guest_to_host),
		cmocka_unit_test(frames_wait_for_room),
		cmocka_unit_test(udp_goes_both_ways),
		cmocka_unit_test(hostile_headers_are_dropped),
		cmocka_unit_test(rates_are_kept),
		cmocka_unit_test(received_rates_are_kept),
		cmocka_unit_test(frames_are_dumped),
		cmocka_unit_test(derived_addresses_are_bhyves),
		cmocka_unit_test(bad_settings_are_named),
		cmocka_unit_test(rules_may_be_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
