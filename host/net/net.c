/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * What all networks have in common.  Settings: backend (tapN, slirp, null, or any name with type=),
 * type (slirp, tap or null), mac, mtu, queues, dump (a file that tcpdump reads), and the rates
 * rx.bps, rx.pps, tx.bps and tx.pps as limit_rate_parse() takes them; rx is what the guest
 * receives.
 */
#include "host/net/backend.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define MTU_MIN 68
#define MTU_MAX 65535

static const struct net_backend *const backends[] = {&net_slirp, &net_tap, &net_null};
#define NBACKENDS (sizeof(backends) / sizeof(backends[0]))

bool net_boolean(const char *text, bool *value)
{
	static const char *const yes[] = {"on", "true", "yes", "1", ""};
	static const char *const no[] = {"off", "false", "no", "0"};

	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		if (!strcasecmp(text, yes[i])) {
			*value = true;
			return true;
		}
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		if (!strcasecmp(text, no[i])) {
			*value = false;
			return true;
		}
	return false;
}

size_t net_gather(const struct iovec *iov, size_t n, size_t skip, void *to, size_t room)
{
	size_t done = 0;

	for (size_t i = 0; i < n && done < room; i++) {
		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		size_t part = iov[i].iov_len - skip;

		if (part > room - done)
			part = room - done;
		memcpy((uint8_t *)to + done, (const uint8_t *)iov[i].iov_base + skip, part);
		done += part;
		skip = 0;
	}
	return done;
}

size_t net_scatter(const struct iovec *iov, size_t n, size_t skip, const void *from, size_t size)
{
	size_t done = 0;

	for (size_t i = 0; i < n && done < size; i++) {
		if (skip >= iov[i].iov_len) {
			skip -= iov[i].iov_len;
			continue;
		}
		size_t part = iov[i].iov_len - skip;

		if (part > size - done)
			part = size - done;
		memcpy((uint8_t *)iov[i].iov_base + skip, (const uint8_t *)from + done, part);
		done += part;
		skip = 0;
	}
	return done;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* How many packets of the wire a frame stands for. */
static uint64_t segments(const struct net_header *header, size_t size)
{
	if (header->gso_type == NET_GSO_NONE || header->gso_size == 0)
		return 1;
	return (size + header->gso_size - 1) / header->gso_size;
}

/* Whether so much may pass; if not, the timer will tell. */
static bool rate_take(struct net_rate *rate, uint64_t bytes, uint64_t packets)
{
	if (!limit_is_set(&rate->limit))
		return true;
	pthread_mutex_lock(&rate->lock);
	uint64_t wait = limit_take(&rate->limit, bytes, packets, now_ns());

	if (wait > 0 && rate->timer)
		event_timer_set(rate->timer, wait);
	pthread_mutex_unlock(&rate->lock);
	return wait == 0;
}

static void tally(struct net_tally *to, size_t bytes)
{
	to->packets++;
	to->bytes += bytes;
}

static void sent_timer(void *arg)
{
	struct net *net = arg;

	net->user.sendable(net->user.arg);
}

static void received_timer(void *arg)
{
	struct net *net = arg;

	for (unsigned q = 0; q < net->queues; q++)
		if (net->backend->resume)
			net->backend->resume(net, q);
}

/* The timers call the backend, whose threads set them: they go before it, and it does not notice.
 */
static void rate_close(struct net_rate *rate)
{
	pthread_mutex_lock(&rate->lock);
	struct event_timer *timer = rate->timer;

	rate->timer = NULL;
	pthread_mutex_unlock(&rate->lock);
	event_timer_remove(timer);
}

bool net_may_deliver(struct net *net)
{
	return rate_take(&net->received_rate, 0, 0);
}

/* Between a backend's fill and the user: what passes there is counted. */
struct delivery {
	struct net *net;
	size_t (*fill)(void *ctx, const struct iovec *iov, size_t n);
	void *ctx;
};

static size_t deliver_fill(void *ctx, const struct iovec *iov, size_t n)
{
	struct delivery *d = ctx;
	const size_t header_size = d->net->header_size;
	struct net_header header = {0};
	size_t size = d->fill(d->ctx, iov, n);

	if (size <= header_size)
		return 0;
	tally(&d->net->received, size - header_size);
	if (limit_is_set(&d->net->received_rate.limit)) {
		net_gather(iov, n, 0, &header, header_size);
		rate_take(&d->net->received_rate, size - header_size, segments(&header, size));
	}
	if (d->net->dump)
		net_dump_frame(d->net->dump, iov, n, header_size, size);
	return size;
}

enum net_result net_deliver(struct net *net, unsigned queue, size_t size,
	size_t (*fill)(void *ctx, const struct iovec *iov, size_t n), void *ctx)
{
	struct delivery d = {.net = net, .fill = fill, .ctx = ctx};

	return net->user.receive(net->user.arg, queue, size, deliver_fill, &d);
}

int net_send(struct net *net, unsigned queue, const struct iovec *iov, size_t n)
{
	const size_t header_size = net->header_size;
	struct net_header header = {0};
	size_t size = 0;

	for (size_t i = 0; i < n; i++)
		size += iov[i].iov_len;
	if (size < header_size + 14 || size > NET_MAX_FRAME || queue >= net->queues) {
		net->sent.dropped++;
		return 0;
	}
	if (limit_is_set(&net->sent_rate.limit)) {
		net_gather(iov, n, 0, &header, header_size);
		if (!rate_take(&net->sent_rate, size - header_size, segments(&header, size)))
			return EAGAIN;
	}
	tally(&net->sent, size - header_size);
	if (net->dump)
		net_dump_frame(net->dump, iov, n, header_size, size);
	net->backend->send(net, queue, iov, n, size);
	return 0;
}

void net_flush(struct net *net, unsigned queue)
{
	if (net->backend->flush)
		net->backend->flush(net, queue);
}

void net_resume(struct net *net, unsigned queue)
{
	if (net->backend->resume && queue < net->queues)
		net->backend->resume(net, queue);
}

void net_configure(struct net *net, unsigned takes, size_t header_size, unsigned queues)
{
	net->takes = takes & net->offers;
	net->header_size = header_size;
	if (net->backend->configure)
		net->backend->configure(net, queues);
}

const uint8_t *net_mac(const struct net *net)
{
	return net->mac;
}

unsigned net_mtu(const struct net *net)
{
	return net->mtu;
}

unsigned net_queues(const struct net *net)
{
	return net->queues;
}

unsigned net_offers(const struct net *net)
{
	return net->offers;
}

void net_count(const struct net *net, struct net_counters *sent, struct net_counters *received)
{
	*sent = (struct net_counters){net->sent.packets, net->sent.bytes, net->sent.dropped};
	*received = (struct net_counters){
		net->received.packets, net->received.bytes, net->received.dropped};
}

/* "58:9c:fc:01:02:03"; not a group's address, and not nobody's. */
static bool mac_parse(const char *text, uint8_t mac[6])
{
	unsigned b[6];
	int end = -1;

	if (strlen(text) != 17 ||
		sscanf(text, "%2x:%2x:%2x:%2x:%2x:%2x%n", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5],
			&end) != 6 ||
		end != 17)
		return false;
	unsigned any = 0;

	for (unsigned i = 0; i < 6; i++) {
		mac[i] = (uint8_t)b[i];
		any |= b[i];
	}
	return any && !(mac[0] & 1);
}

static int open_numbers(struct net *net, const struct net_args *args, char *why, size_t why_size)
{
	static const struct {
		const char *key;
		unsigned least, most;
		size_t at;
	} numbers[] = {
		{"mtu", MTU_MIN, MTU_MAX, offsetof(struct net, mtu)},
		{"queues", 1, NET_MAX_QUEUES, offsetof(struct net, queues)},
	};

	net->queues = 1;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		const char *text = args->option(args->config, numbers[i].key);
		char *end;

		if (!text)
			continue;
		unsigned long value = strtoul(text, &end, 10);

		if (end == text || *end || value < numbers[i].least || value > numbers[i].most) {
			snprintf(why, why_size, "%s=%s: a number from %u to %u", numbers[i].key,
				text, numbers[i].least, numbers[i].most);
			return EINVAL;
		}
		*(unsigned *)((char *)net + numbers[i].at) = (unsigned)value;
	}
	return 0;
}

static int open_mac(struct net *net, const struct net_args *args, char *why, size_t why_size)
{
	const char *mac = args->option(args->config, "mac");

	if (!mac)
		net_mac_derive(args->identity, net->mac);
	else if (!mac_parse(mac, net->mac)) {
		snprintf(why, why_size,
			"mac=%s: six hexadecimal bytes, colons between them, and not a group's",
			mac);
		return EINVAL;
	}
	return 0;
}

static int open_rate(struct net *net, struct net_rate *rate, const struct net_args *args,
	const char *const keys[2], void (*fn)(void *arg), char *why, size_t why_size)
{
	struct limit_rate parsed[2] = {0};

	for (unsigned i = 0; i < 2; i++) {
		const char *text = args->option(args->config, keys[i]);

		if (text && !limit_rate_parse(text, &parsed[i])) {
			snprintf(why, why_size, "%s=%s: a rate is written 100, 20M or 20M/60M",
				keys[i], text);
			return EINVAL;
		}
	}
	limit_init(&rate->limit, &parsed[0], &parsed[1], now_ns());
	if (!limit_is_set(&rate->limit))
		return 0;
	int error = event_timer_create(net->loop, fn, net, &rate->timer);

	if (error)
		snprintf(why, why_size, "no timer: %s", strerror(error));
	return error;
}

static int open_rates(struct net *net, const struct net_args *args, char *why, size_t why_size)
{
	static const char *const sent[] = {"tx.bps", "tx.pps"};
	static const char *const received[] = {"rx.bps", "rx.pps"};
	int error = open_rate(net, &net->sent_rate, args, sent, sent_timer, why, why_size);

	return error ? error
		     : open_rate(net, &net->received_rate, args, received, received_timer, why,
			       why_size);
}

static const struct net_backend *find_backend(const struct net_args *args)
{
	const char *type = args->option(args->config, "type");
	const char *spec = args->option(args->config, "backend");
	const char *name = type ? type : spec;

	for (size_t i = 0; name && i < NBACKENDS; i++)
		if (!strcmp(backends[i]->name, name))
			return backends[i];
	for (size_t i = 0; spec && !type && i < NBACKENDS; i++)
		if (backends[i]->matches && backends[i]->matches(spec))
			return backends[i];
	return NULL;
}

static int open_backend(struct net *net, const struct net_args *args, char *why, size_t why_size)
{
	const char *path = args->option(args->config, "dump");
	const char *spec = args->option(args->config, "backend");

	net->backend = find_backend(args);
	if (!net->backend) {
		snprintf(why, why_size,
			spec ? "backend %s: there are slirp, tapN and null; other names need type="
			     : "no backend: name slirp, tapN or null%.0s",
			spec ? spec : "");
		return EINVAL;
	}
	int error = path ? net_dump_open(path, &net->dump, why, why_size) : 0;

	if (error)
		return error;
	error = net->backend->open(net, args, why, why_size);
	if (error)
		net->backend = NULL;
	return error;
}

int net_open(const struct net_args *args, struct net **out, char *why, size_t why_size)
{
	struct net *net = calloc(1, sizeof(*net));
	int error;

	if (!net) {
		snprintf(why, why_size, "out of memory");
		return ENOMEM;
	}
	net->user = args->user;
	net->loop = args->loop;
	net->header_size = sizeof(struct net_header);
	pthread_mutex_init(&net->sent_rate.lock, NULL);
	pthread_mutex_init(&net->received_rate.lock, NULL);
	error = open_numbers(net, args, why, why_size);
	if (!error)
		error = open_mac(net, args, why, why_size);
	if (!error)
		error = open_backend(net, args, why, why_size);
	if (!error)
		error = open_rates(net, args, why, why_size);
	if (error) {
		net_close(net);
		return error;
	}
	*out = net;
	return 0;
}

void net_close(struct net *net)
{
	if (!net)
		return;
	rate_close(&net->sent_rate);
	rate_close(&net->received_rate);
	if (net->backend)
		net->backend->close(net);
	net_dump_close(net->dump);
	pthread_mutex_destroy(&net->sent_rate.lock);
	pthread_mutex_destroy(&net->received_rate.lock);
	free(net);
}
