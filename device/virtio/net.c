/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The network card (virtio 1.2, 5.1): moves frames between the rings and a network of the host,
 * with the header before each that says what is left to do about checksums and segments.  Frames to
 * be sent go out on the thread of the vcpu that rings the doorbell; received ones come on a thread
 * of the network.  Frames are written straight into the guest's buffers, as many as they take.
 */
#include "device/virtio/net.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Frames that one doorbell sends at most before the vcpu goes on. */
enum { TX_BATCH = 256, QUEUE_SIZE = 256, HOPELESS = 8 };

enum { STATUS_LINK_UP = 1, STATUS_ANNOUNCE = 2 };

struct net_config {
	uint8_t mac[6];
	uint16_t status, max_pairs, mtu;
} __attribute__((packed));

/* What a network offers and what virtio calls it: to the host, to the guest. */
static const struct {
	unsigned offload;
	uint64_t host, guest;
} offload_features[] = {
	{NET_CSUM, NET_F_CSUM, NET_F_GUEST_CSUM},
	{NET_TSO4, NET_F_HOST_TSO4, NET_F_GUEST_TSO4},
	{NET_TSO6, NET_F_HOST_TSO6, NET_F_GUEST_TSO6},
	{NET_TSO_ECN, NET_F_HOST_ECN, NET_F_GUEST_ECN},
	{NET_UFO, NET_F_HOST_UFO, NET_F_GUEST_UFO},
};
#define NOFFLOADS (sizeof(offload_features) / sizeof(offload_features[0]))

unsigned net_takes(uint64_t offloads)
{
	unsigned takes = 0;

	for (size_t i = 0; i < NOFFLOADS; i++)
		if (offloads & offload_features[i].guest)
			takes |= offload_features[i].offload;
	/* All others are checksums left open, too. */
	return takes & NET_CSUM ? takes : 0;
}

static uint64_t guest_offloads(void)
{
	uint64_t all = 0;

	for (size_t i = 0; i < NOFFLOADS; i++)
		all |= offload_features[i].guest;
	return all;
}

void net_settle(struct net_card *card)
{
	pthread_mutex_lock(&card->lock);
	const uint64_t features = card->features;
	const unsigned takes = net_takes(card->offloads), pairs = card->pairs;

	pthread_mutex_unlock(&card->lock);
	net_configure(card->net, takes, features & (VIRTIO_F_VERSION_1 | NET_F_MRG_RXBUF) ? 12 : 10,
		pairs);
}

/* ---- receiving ---- */

static struct virtq *rx_queue(const struct net_pair *p)
{
	return virtio_queue(p->card->v, 2 * p->index);
}

static struct virtq *tx_queue(const struct net_pair *p)
{
	return virtio_queue(p->card->v, 2 * p->index + 1);
}

/* Takes buffers until they hold `size` bytes, or one buffer if frames cannot have several. */
static void top_up(struct net_pair *p, size_t size, bool merge)
{
	while (p->nchains < NET_CHAINS && NET_PIECES - p->npieces >= VIRTQ_PIECES_MAX &&
		(merge ? p->bytes < size : p->nchains == 0)) {
		struct virtq_chain *c = &p->chains[p->nchains];

		*c = (struct virtq_chain){.iov = p->pieces + p->npieces, .max = VIRTQ_PIECES_MAX};
		if (virtq_pop(rx_queue(p), c) != 0)
			return;
		p->nchains++;
		p->npieces += c->nread + c->nwrite;
		p->bytes += c->write_len;
	}
}

/* Whether there is room for `size` bytes, and if not, whether there may be. */
static enum net_result have_room(struct net_pair *p, size_t size, bool merge)
{
	top_up(p, size, merge);
	if (p->bytes < size && virtq_want_notify(rx_queue(p), true))
		top_up(p, size, merge);
	if (p->bytes >= size) {
		p->vain = 0;
		return NET_DONE;
	}
	if (!merge && p->nchains > 0)
		return NET_TOO_BIG;
	/* A driver that has looked after its ring so often and did not help never will. */
	if (p->refilled)
		p->vain = p->bytes > p->had ? 0 : p->vain + 1;
	p->refilled = false;
	p->had = p->bytes;
	return p->nchains > 0 && p->vain >= HOPELESS ? NET_TOO_BIG : NET_NO_ROOM;
}

/* The pieces to be written of the first buffers, up to `size` bytes; how many. */
static unsigned writable(const struct net_pair *p, size_t size, struct iovec *iov, unsigned max)
{
	unsigned n = 0;

	for (unsigned i = 0; i < p->nchains && size > 0; i++) {
		const struct virtq_chain *c = &p->chains[i];

		for (unsigned k = 0; k < c->nwrite && size > 0 && n < max; k++) {
			iov[n] = c->iov[c->nread + k];
			if (iov[n].iov_len > size)
				iov[n].iov_len = size;
			size -= iov[n++].iov_len;
		}
	}
	return n;
}

/* The first `n` buffers are gone: the others move up. */
static void forget_chains(struct net_pair *p, unsigned n)
{
	unsigned pieces = 0;

	for (unsigned i = 0; i < n; i++) {
		pieces += p->chains[i].nread + p->chains[i].nwrite;
		p->bytes -= p->chains[i].write_len;
	}
	p->nchains -= n;
	p->npieces -= pieces;
	memmove(p->chains, p->chains + n, p->nchains * sizeof(p->chains[0]));
	memmove(p->pieces, p->pieces + pieces, p->npieces * sizeof(p->pieces[0]));
	for (unsigned i = 0; i < p->nchains; i++)
		p->chains[i].iov -= pieces;
}

/* Gives back the buffers that a frame of `size` bytes went into. */
static void push_frame(struct net_pair *p, const struct iovec *iov, unsigned niov, size_t size)
{
	unsigned n = 0;

	for (size_t left = size; left > 0; n++) {
		p->written[n] = left < p->chains[n].write_len ? left : p->chains[n].write_len;
		left -= p->written[n];
	}
	/* The last field of the header, wherever its bytes are. */
	const uint16_t buffers = (uint16_t)n;
	size_t skip = offsetof(struct net_header, buffers);

	for (unsigned i = 0, done = 0; i < niov && done < 2; i++) {
		for (; skip < iov[i].iov_len && done < 2; skip++)
			((uint8_t *)iov[i].iov_base)[skip] = (uint8_t)(buffers >> (8 * done++));
		skip -= iov[i].iov_len;
	}
	virtq_push_all(rx_queue(p), p->chains, p->written, n);
	forget_chains(p, n);
}

static size_t gather(const struct iovec *iov, unsigned n, size_t skip, uint8_t *to, size_t room)
{
	size_t done = 0;

	for (unsigned i = 0; i < n && done < room; i++) {
		for (; skip < iov[i].iov_len && done < room; skip++)
			to[done++] = ((const uint8_t *)iov[i].iov_base)[skip];
		skip -= iov[i].iov_len;
	}
	return done;
}

static bool is_wanted(struct net_pair *p, const struct iovec *iov, unsigned n, size_t header_size)
{
	uint8_t start[18];
	size_t size = gather(iov, n, header_size, start, sizeof(start));

	pthread_mutex_lock(&p->card->lock);
	bool passes = net_filter_passes(&p->card->filter, start, size);

	pthread_mutex_unlock(&p->card->lock);
	return passes;
}

/* Whoever runs the guest learns of bytes in its buffers that it will not get. */
static void report_lost(struct net_pair *p, const struct iovec *iov, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		guest_written(virtio_guest(p->card->v), iov[i].iov_base, iov[i].iov_len);
	p->filtered++;
}

static enum net_result receive_locked(struct net_pair *p, size_t size,
	size_t (*fill)(void *ctx, const struct iovec *iov, size_t n), void *ctx)
{
	const uint64_t features = p->card->features;
	const size_t header_size = features & (VIRTIO_F_VERSION_1 | NET_F_MRG_RXBUF) ? 12 : 10;
	struct iovec iov[VIRTQ_PIECES_MAX];
	enum net_result room;

	if (!p->ready)
		return NET_NO_ROOM;
	room = have_room(p, size, features & NET_F_MRG_RXBUF);
	if (room != NET_DONE)
		return room;
	unsigned n = writable(p, size, iov, VIRTQ_PIECES_MAX);
	size_t got = fill(ctx, iov, n);

	if (got <= header_size)
		return NET_EMPTY;
	if (is_wanted(p, iov, n, header_size))
		push_frame(p, iov, header_size == 12 ? n : 0, got);
	else
		report_lost(p, iov, n);
	return NET_DONE;
}

static enum net_result card_receive(void *arg, unsigned queue, size_t size,
	size_t (*fill)(void *ctx, const struct iovec *iov, size_t n), void *ctx)
{
	struct net_card *card = arg;
	struct net_pair *p = card->pair[queue < card->npairs ? queue : 0];

	pthread_mutex_lock(&p->rx_lock);
	enum net_result result = receive_locked(p, size, fill, ctx);

	pthread_mutex_unlock(&p->rx_lock);
	return result;
}

static void card_received(void *arg, unsigned queue)
{
	struct net_card *card = arg;

	if (queue < card->npairs)
		virtq_interrupt(rx_queue(card->pair[queue]));
}

static void rx_notify(struct net_pair *p)
{
	pthread_mutex_lock(&p->rx_lock);
	p->refilled = true;
	virtq_want_notify(rx_queue(p), false);
	pthread_mutex_unlock(&p->rx_lock);
	net_resume(p->card->net, p->index);
}

/* ---- sending ---- */

/* Sends what is there, some of it; true: there is no more for now. */
static bool send_some(struct net_pair *p)
{
	struct virtq *q = tx_queue(p);
	struct virtq_chain c = {.iov = p->tx_pieces, .max = VIRTQ_PIECES_MAX};

	for (unsigned i = 0; i < TX_BATCH; i++) {
		if (virtq_pop(q, &c) != 0)
			return true;
		if (net_send(p->card->net, p->index, c.iov, c.nread) == EAGAIN) {
			virtq_unpop(q, &c, 1);
			p->held_up = true;
			return true;
		}
		virtq_push(q, &c, 0);
	}
	return false;
}

static void transmit(struct net_pair *p)
{
	struct virtq *q = tx_queue(p);
	bool dry = true;

	pthread_mutex_lock(&p->tx_lock);
	p->held_up = false;
	if (p->tx_ready) {
		virtq_want_notify(q, false);
		do
			dry = send_some(p);
		while (dry && !p->held_up && virtq_want_notify(q, true));
		virtq_interrupt(q);
	}
	pthread_mutex_unlock(&p->tx_lock);
	net_flush(p->card->net, p->index);
	if (!dry)
		guest_timer_set(virtio_guest(p->card->v), p->card->later, 0);
}

/* The rate allows it again, or there was too much for one time. */
static void card_sendable(void *arg)
{
	struct net_card *card = arg;

	for (unsigned i = 0; i < card->npairs; i++)
		transmit(card->pair[i]);
}

/* ---- the device ---- */

/* The control queue stands behind the pairs that the driver can use (5.1.2). */
static void card_notify(void *dev, unsigned queue)
{
	struct net_card *card = dev;

	pthread_mutex_lock(&card->lock);
	const unsigned pairs = card->features & NET_F_MQ ? card->npairs : 1;

	pthread_mutex_unlock(&card->lock);
	if (queue == 2 * pairs)
		net_control(card, queue);
	else if (queue > 2 * pairs)
		return;
	else if (queue % 2)
		transmit(card->pair[queue / 2]);
	else
		rx_notify(card->pair[queue / 2]);
}

static void set_ready(struct net_pair *p, bool ready)
{
	pthread_mutex_lock(&p->tx_lock);
	p->tx_ready = ready;
	p->held_up = false;
	pthread_mutex_unlock(&p->tx_lock);
	pthread_mutex_lock(&p->rx_lock);
	p->ready = ready;
	p->nchains = p->npieces = 0;
	p->bytes = p->had = 0;
	p->vain = 0;
	p->refilled = false;
	pthread_mutex_unlock(&p->rx_lock);
}

/* Until the driver says otherwise every frame passes. */
static void filter_reset(struct net_card *card)
{
	card->filter = (struct net_filter){.mode[NET_RX_PROMISC] = true};
	memcpy(card->filter.mac, net_mac(card->net), 6);
}

static void card_ready(void *dev, uint64_t features)
{
	struct net_card *card = dev;

	pthread_mutex_lock(&card->lock);
	card->features = features;
	card->offloads = features & guest_offloads();
	card->pairs = 1;
	card->filter.vlans_only = features & NET_F_CTRL_VLAN;
	pthread_mutex_unlock(&card->lock);
	net_settle(card);
	for (unsigned i = 0; i < card->npairs; i++) {
		set_ready(card->pair[i], true);
		net_resume(card->net, i);
	}
}

static void card_reset(void *dev)
{
	struct net_card *card = dev;

	for (unsigned i = 0; i < card->npairs; i++)
		set_ready(card->pair[i], false);
	/* A command that is under way ends. */
	pthread_mutex_lock(&card->commands);
	pthread_mutex_unlock(&card->commands);
	pthread_mutex_lock(&card->lock);
	card->features = card->offloads = 0;
	card->pairs = 1;
	card->announce = false;
	filter_reset(card);
	pthread_mutex_unlock(&card->lock);
	net_configure(card->net, 0, sizeof(struct net_header), 1);
}

static void card_config_read(void *dev, unsigned offset, void *to, unsigned len)
{
	struct net_card *card = dev;
	struct net_config config = {
		.max_pairs = (uint16_t)card->npairs, .mtu = (uint16_t)net_mtu(card->net)};

	pthread_mutex_lock(&card->lock);
	memcpy(config.mac, card->filter.mac, sizeof(config.mac));
	config.status = STATUS_LINK_UP | (card->announce ? STATUS_ANNOUNCE : 0);
	pthread_mutex_unlock(&card->lock);
	memcpy(to, (const uint8_t *)&config + offset, len);
}

/* Drivers of before the control queue write the address here. */
static void card_config_write(void *dev, unsigned offset, const void *from, unsigned len)
{
	struct net_card *card = dev;

	pthread_mutex_lock(&card->lock);
	for (unsigned i = 0; i < len && offset + i < 6; i++)
		card->filter.mac[offset + i] = ((const uint8_t *)from)[i];
	pthread_mutex_unlock(&card->lock);
}

static void pair_free(struct net_pair *p)
{
	if (!p)
		return;
	pthread_mutex_destroy(&p->rx_lock);
	pthread_mutex_destroy(&p->tx_lock);
	free(p);
}

static int pair_create(struct net_card *card, unsigned index)
{
	struct net_pair *p = calloc(1, sizeof(*p));

	if (!p)
		return ENOMEM;
	p->card = card;
	p->index = index;
	pthread_mutex_init(&p->rx_lock, NULL);
	pthread_mutex_init(&p->tx_lock, NULL);
	card->pair[index] = p;
	return 0;
}

static void card_destroy(void *dev)
{
	struct net_card *card = dev;

	guest_timer_destroy(virtio_guest(card->v), card->later);
	net_close(card->net);
	for (unsigned i = 0; i < NET_MAX_QUEUES; i++)
		pair_free(card->pair[i]);
	pthread_mutex_destroy(&card->commands);
	pthread_mutex_destroy(&card->lock);
	free(card);
}

static uint64_t offered_features(const struct net_card *card)
{
	uint64_t features = NET_F_MAC | NET_F_MRG_RXBUF | NET_F_STATUS | NET_F_CTRL_VQ |
			    NET_F_CTRL_RX | NET_F_CTRL_RX_EXTRA | NET_F_CTRL_VLAN |
			    NET_F_CTRL_MAC_ADDR | NET_F_GUEST_ANNOUNCE | NET_F_CTRL_GUEST_OFFLOADS;
	const unsigned offers = net_offers(card->net);

	for (size_t i = 0; i < NOFFLOADS; i++)
		if (offers & offload_features[i].offload)
			features |= offload_features[i].host | offload_features[i].guest;
	if (net_mtu(card->net))
		features |= NET_F_MTU;
	if (card->npairs > 1)
		features |= NET_F_MQ;
	return features;
}

/* As bhyve has it, slot and function and the machine's name: the address comes from it. */
static void identify(const struct pci_args *args, char *identity, size_t size)
{
	unsigned bus = 0, slot = 0, function = 0;
	const char *machine = args->guest->facts.name;

	sscanf(pci_name(args->function), "%u:%u.%u", &bus, &slot, &function);
	snprintf(identity, size, "%u-%u-%s", slot, function, machine ? machine : "");
}

static int open_network(struct net_card *card, const struct pci_args *args)
{
	char identity[160];
	const struct net_args net = {
		.option = args->option,
		.config = args->config,
		.identity = identity,
		.loop = args->guest->loop,
		.user = {card_receive, card_received, card_sendable, card},
	};

	identify(args, identity, sizeof(identity));
	return net_open(&net, &card->net, args->why, args->why_size);
}

static int card_create(
	struct virtio *v, const struct pci_args *args, struct virtio_setup *setup, void **dev)
{
	struct net_card *card = calloc(1, sizeof(*card));
	int error;

	if (!card)
		return ENOMEM;
	card->v = v;
	pthread_mutex_init(&card->lock, NULL);
	pthread_mutex_init(&card->commands, NULL);
	error = open_network(card, args);
	if (error)
		goto fail;
	card->npairs = net_queues(card->net);
	card->pairs = 1;
	filter_reset(card);
	error = guest_timer_create(args->guest, card_sendable, card, &card->later);
	for (unsigned i = 0; i < card->npairs && !error; i++)
		error = pair_create(card, i);
	if (error) {
		snprintf(args->why, args->why_size, "%s", strerror(error));
		goto fail;
	}
	*setup = (struct virtio_setup){
		.features = offered_features(card),
		.nqueues = 2 * card->npairs + 1,
		.queue_size = QUEUE_SIZE,
		.config_size = sizeof(struct net_config),
	};
	*dev = card;
	return 0;

fail:
	card_destroy(card);
	return error;
}

static void card_stats(
	void *dev, void (*emit)(void *arg, const char *name, uint64_t value), void *arg)
{
	struct net_card *card = dev;
	struct net_counters sent, received;
	uint64_t filtered = 0;

	net_count(card->net, &sent, &received);
	for (unsigned i = 0; i < card->npairs; i++) {
		pthread_mutex_lock(&card->pair[i]->rx_lock);
		filtered += card->pair[i]->filtered;
		pthread_mutex_unlock(&card->pair[i]->rx_lock);
	}
	emit(arg, "tx packets", sent.packets);
	emit(arg, "tx bytes", sent.bytes);
	emit(arg, "tx dropped", sent.dropped);
	emit(arg, "rx packets", received.packets);
	emit(arg, "rx bytes", received.bytes);
	emit(arg, "rx dropped", received.dropped);
	emit(arg, "rx filtered", filtered);
}

static const struct virtio_type net_type = {
	.id = VIRTIO_ID_NET,
	.class = 0x02,
	.create = card_create,
	.destroy = card_destroy,
	.notify = card_notify,
	.ready = card_ready,
	.reset = card_reset,
	.config_read = card_config_read,
	.config_write = card_config_write,
	.stats = card_stats,
};

static const char *const keys[] = {"backend", "type", "mac", "mtu", "queues", "dump", "rx.bps",
	"rx.pps", "tx.bps", "tx.pps", "hostfwd", "restrict", "loopback", "net", "ipv6", "hostname",
	"domain", NULL};

const struct pci_model virtio_net = {
	.name = "virtio-net",
	.about = "network card; behind the name slirp, tapN or null",
	.first = "backend",
	.keys = keys,
	.type = &net_type,
	.create = virtio_pci_create,
	.destroy = virtio_pci_destroy,
	.stats = virtio_pci_stats,
};
