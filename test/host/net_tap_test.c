/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Taps, in a network namespace of this process's own: the host's kernel is the other end.  Skipped
 * where one may not have that.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <errno.h>
#include <stdio.h>
#include <time.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "test/host/net_peer.h"

#define ALL (NET_CSUM | NET_TSO4 | NET_TSO6 | NET_TSO_ECN)

static bool allowed; /* a test may have that */

static int enter(void **state)
{
	(void)state;
	allowed = access("/dev/net/tun", R_OK | W_OK) == 0 && unshare(CLONE_NEWNET) == 0;
	return 0;
}

/* An open tap whose interface is 10.9.0.1/24. */
static void open_tap(struct peer *p, const char *const *settings, unsigned takes)
{
	struct sockaddr_in addr = {.sin_family = AF_INET};
	struct ifreq request = {.ifr_name = "tap0"};
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	peer_open(p, settings, takes);
	memcpy(p->ip, (const uint8_t[]){10, 9, 0, 2}, 4);
	memcpy(p->other_ip, (const uint8_t[]){10, 9, 0, 1}, 4);
	inet_pton(AF_INET, "10.9.0.1", &addr.sin_addr);
	memcpy(&request.ifr_addr, &addr, sizeof(addr));
	assert_int_equal(ioctl(fd, SIOCSIFADDR, &request), 0);
	inet_pton(AF_INET, "255.255.255.0", &addr.sin_addr);
	memcpy(&request.ifr_netmask, &addr, sizeof(addr));
	assert_int_equal(ioctl(fd, SIOCSIFNETMASK, &request), 0);
	assert_int_equal(ioctl(fd, SIOCGIFFLAGS, &request), 0);
	assert_true(request.ifr_flags & IFF_UP);
	close(fd);
}

static void exchange(unsigned takes, bool large_wanted)
{
	static const char *const settings[] = {"backend", "tap0", NULL};
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons(22)};
	const struct timeval limit = {.tv_sec = 10};
	uint8_t *bytes = malloc(60000), *got = malloc(60000);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct packet packet;
	struct peer p;
	unsigned large;

	for (size_t i = 0; i < 60000; i++)
		bytes[i] = peer_pattern(i);
	open_tap(&p, settings, takes);
	inet_pton(AF_INET, "10.9.0.2", &addr.sin_addr);
	connect(fd, (struct sockaddr *)&addr, sizeof(addr));
	peer_accept(&p, 1460);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	ioctl(fd, FIONBIO, &(int){0});
	assert_int_equal(write(fd, bytes, 60000), 60000);
	peer_receive(&p, 60000, &large);
	if (large_wanted)
		assert_true(large > 0);
	else
		assert_int_equal(large, 0);
	peer_send_tcp(&p, PEER_ACK | PEER_PSH, bytes, 60000, 1460);
	assert_int_equal(recv(fd, got, 60000, MSG_WAITALL), 60000);
	assert_memory_equal(got, bytes, 60000);
	free(peer_next_tcp(&p, &packet).bytes);
	close(fd);
	peer_close(&p);
	free(bytes);
	free(got);
}

static void both_ways(void **state)
{
	(void)state;
	if (!allowed)
		skip();
	exchange(ALL, true);
	exchange(0, false);
}

static void several_queues(void **state)
{
	static const char *const settings[] = {"backend", "tap0", "queues", "3", NULL};
	struct peer p;

	(void)state;
	if (!allowed)
		skip();
	open_tap(&p, settings, ALL);
	for (unsigned pairs = 3; pairs > 0; pairs--) {
		net_configure(p.net, ALL, sizeof(struct net_header), pairs);
		for (unsigned q = 0; q < pairs; q++)
			net_resume(p.net, q);
		peer_resolve(&p);
	}
	peer_close(&p);
}

/* No room, then room: nothing is lost. And an interface that goes away does not spin its thread. */
static void room_and_end(void **state)
{
	static const char *const settings[] = {"backend", "tap0", NULL};
	struct ifreq request = {.ifr_name = "tap0"};
	struct timespec before, after;
	struct peer p;
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	(void)state;
	if (!allowed)
		skip();
	open_tap(&p, settings, ALL);
	pthread_mutex_lock(&p.lock);
	p.full = true;
	pthread_mutex_unlock(&p.lock);
	for (unsigned i = 0; i < 3; i++) {
		uint8_t frame[42] = {
			0xff, 0xff, 0xff, 0xff, 0xff, 0xff, [12] = 8, 6, 0, 1, 8, 0, 6, 4, 0, 1};

		memcpy(frame + 6, p.mac, 6);
		memcpy(frame + 22, p.mac, 6);
		memcpy(frame + 28, p.ip, 4);
		memcpy(frame + 38, p.other_ip, 4);
		peer_send(&p, NULL, frame, sizeof(frame));
	}
	usleep(50000);
	assert_int_equal(p.count, 0);
	pthread_mutex_lock(&p.lock);
	p.full = false;
	pthread_mutex_unlock(&p.lock);
	net_resume(p.net, 0);
	unsigned answers = 0;

	for (struct peer_frame f; answers < 3 && (f = peer_next(&p, 5000)).bytes; free(f.bytes))
		answers += f.size >= 42 && f.bytes[13] == 6 && f.bytes[21] == 2;
	assert_int_equal(answers, 3);

	assert_int_equal(ioctl(fd, SIOCGIFFLAGS, &request), 0);
	request.ifr_flags &= ~IFF_UP;
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &request), 0);
	net_resume(p.net, 0);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
	usleep(200000);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
	assert_true((after.tv_sec - before.tv_sec) * 1000000000 + after.tv_nsec - before.tv_nsec <
		    50000000);
	close(fd);
	peer_close(&p);
}

static void what_may_not_be_opened(void **state)
{
	static const char *const settings[] = {"backend", "tap0", NULL};
	static const char *const lo[] = {"backend", "lo", "type", "tap", NULL};
	char why[200];
	struct peer p, second;

	(void)state;
	if (!allowed)
		skip();
	assert_int_not_equal(peer_try(&second, lo, why, sizeof(why)), 0);
	assert_non_null(strstr(why, "lo: cannot be opened"));
	open_tap(&p, settings, ALL);
	assert_int_equal(peer_try(&second, settings, why, sizeof(why)), EBUSY);
	assert_non_null(strstr(why, "another process has it"));
	peer_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(both_ways),
		cmocka_unit_test(several_queues),
		cmocka_unit_test(room_and_end),
		cmocka_unit_test(what_may_not_be_opened),
	};

	return cmocka_run_group_tests(tests, enter, NULL);
}
