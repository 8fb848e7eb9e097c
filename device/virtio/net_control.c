/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The network card's control queue (virtio 1.2, 5.1.6.5), and the filter that it sets. */
#include <stdlib.h>
#include <string.h>

#include "device/virtio/net.h"

/* A command with its data is no longer: two tables with more addresses than we keep. */
enum { COMMAND_MAX = 16384, COMMANDS_AT_ONCE = 64 };

enum { ACK_OK = 0, ACK_ERROR = 1 };

enum {
	CLASS_RX = 0,
	CLASS_MAC = 1,
	CLASS_VLAN = 2,
	CLASS_ANNOUNCE = 3,
	CLASS_MQ = 4,
	CLASS_OFFLOADS = 5
};

enum { MAC_TABLE_SET = 0, MAC_ADDR_SET = 1, VLAN_ADD = 0, VLAN_DEL = 1 };

/* ---- the filter ---- */

static bool is_listed(const struct net_mac_list *list, const uint8_t *mac)
{
	if (list->overflow)
		return true;
	for (unsigned i = 0; i < list->n; i++)
		if (memcmp(list->mac[i], mac, 6) == 0)
			return true;
	return false;
}

static bool vlan_passes(const struct net_filter *f, const uint8_t *frame, size_t size)
{
	if (!f->vlans_only || size < 18 || frame[12] != 0x81 || frame[13] != 0)
		return true;
	unsigned id = ((unsigned)frame[14] << 8 | frame[15]) % NET_VLANS;

	return f->vlans[id / 8] >> (id % 8) & 1;
}

bool net_filter_passes(const struct net_filter *f, const uint8_t *frame, size_t size)
{
	static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

	if (size < 14 || !vlan_passes(f, frame, size))
		return false;
	if (f->mode[NET_RX_PROMISC])
		return true;
	if (memcmp(frame, everybody, 6) == 0)
		return !f->mode[NET_RX_NOBCAST];
	if (frame[0] & 1)
		return !f->mode[NET_RX_NOMULTI] &&
		       (f->mode[NET_RX_ALLMULTI] || is_listed(&f->multicast, frame));
	return !f->mode[NET_RX_NOUNI] && (f->mode[NET_RX_ALLUNI] || memcmp(f->mac, frame, 6) == 0 ||
						 is_listed(&f->unicast, frame));
}

/* ---- commands: data in, whether it was one ---- */

static bool set_rx_mode(struct net_card *card, unsigned command, const uint8_t *data, size_t size)
{
	if (command >= NET_RX_MODES || size < 1)
		return false;
	card->filter.mode[command] = data[0] != 0;
	return true;
}

/* A count, and so many addresses. False: they are not all there. */
static bool read_list(struct net_mac_list *list, const uint8_t **data, size_t *size)
{
	uint32_t n;

	if (*size < sizeof(n))
		return false;
	memcpy(&n, *data, sizeof(n));
	*data += sizeof(n);
	*size -= sizeof(n);
	if (n > *size / 6)
		return false;
	*list = (struct net_mac_list){.overflow = n > NET_MAC_TABLE};
	if (!list->overflow) {
		list->n = n;
		memcpy(list->mac, *data, n * 6u);
	}
	*data += n * 6u;
	*size -= n * 6u;
	return true;
}

static bool set_mac(struct net_card *card, unsigned command, const uint8_t *data, size_t size)
{
	struct net_mac_list unicast, multicast;

	if (command == MAC_ADDR_SET && size >= 6) {
		memcpy(card->filter.mac, data, 6);
		return true;
	}
	if (command != MAC_TABLE_SET || !read_list(&unicast, &data, &size) ||
		!read_list(&multicast, &data, &size))
		return false;
	card->filter.unicast = unicast;
	card->filter.multicast = multicast;
	return true;
}

static bool set_vlan(struct net_card *card, unsigned command, const uint8_t *data, size_t size)
{
	uint16_t id;

	if (command > VLAN_DEL || size < sizeof(id))
		return false;
	memcpy(&id, data, sizeof(id));
	if (id >= NET_VLANS)
		return false;
	if (command == VLAN_ADD)
		card->filter.vlans[id / 8] |= (uint8_t)(1u << (id % 8));
	else
		card->filter.vlans[id / 8] &= (uint8_t) ~(1u << (id % 8));
	return true;
}

static bool announced(struct net_card *card, unsigned command, const uint8_t *data, size_t size)
{
	(void)data, (void)size;
	card->announce = false;
	return command == 0;
}

static bool set_pairs(struct net_card *card, unsigned command, const uint8_t *data, size_t size)
{
	uint16_t pairs;

	if (command != 0 || size < sizeof(pairs))
		return false;
	memcpy(&pairs, data, sizeof(pairs));
	if (pairs < 1 || pairs > card->npairs)
		return false;
	card->pairs = pairs;
	return true;
}

/* Only what was negotiated can be wanted again. */
static bool set_offloads(struct net_card *card, unsigned command, const uint8_t *data, size_t size)
{
	uint64_t offloads;

	if (command != 0 || size < sizeof(offloads))
		return false;
	memcpy(&offloads, data, sizeof(offloads));
	if (offloads & ~card->features)
		return false;
	card->offloads = offloads;
	return true;
}

/* By class. `feature` has to be negotiated; `settle`: the network has to know. */
static const struct {
	bool (*set)(struct net_card *card, unsigned command, const uint8_t *data, size_t size);
	uint64_t feature;
	bool settle;
} classes[] = {
	[CLASS_RX] = {set_rx_mode, NET_F_CTRL_RX | NET_F_CTRL_RX_EXTRA, false},
	[CLASS_MAC] = {set_mac, NET_F_CTRL_RX | NET_F_CTRL_MAC_ADDR, false},
	[CLASS_VLAN] = {set_vlan, NET_F_CTRL_VLAN, false},
	[CLASS_ANNOUNCE] = {announced, NET_F_GUEST_ANNOUNCE, false},
	[CLASS_MQ] = {set_pairs, NET_F_MQ, true},
	[CLASS_OFFLOADS] = {set_offloads, NET_F_CTRL_GUEST_OFFLOADS, true},
};

static bool execute(struct net_card *card, const uint8_t *command, size_t size)
{
	if (size < 2 || command[0] >= sizeof(classes) / sizeof(classes[0]))
		return false;
	const unsigned class = command[0];

	pthread_mutex_lock(&card->lock);
	bool done = (card->features & classes[class].feature) &&
		    classes[class].set(card, command[1], command + 2, size - 2);

	pthread_mutex_unlock(&card->lock);
	if (done && classes[class].settle)
		net_settle(card);
	return done;
}

static size_t copy_in(const struct virtq_chain *c, uint8_t *to, size_t room)
{
	size_t done = 0;

	for (unsigned i = 0; i < c->nread && done < room; i++) {
		size_t n = c->iov[i].iov_len < room - done ? c->iov[i].iov_len : room - done;

		memcpy(to + done, c->iov[i].iov_base, n);
		done += n;
	}
	return done;
}

void net_control(struct net_card *card, unsigned queue)
{
	struct virtq *q = virtio_queue(card->v, queue);
	uint8_t *command = malloc(COMMAND_MAX);
	struct iovec iov[VIRTQ_PIECES_MAX];
	struct virtq_chain c = {.iov = iov, .max = VIRTQ_PIECES_MAX};

	if (!command)
		return;
	pthread_mutex_lock(&card->commands);
	for (unsigned i = 0; i < COMMANDS_AT_ONCE; i++) {
		while (virtq_pop(q, &c) == 0) {
			size_t size = copy_in(&c, command, COMMAND_MAX);
			bool done = size == c.read_len && execute(card, command, size);

			if (c.nwrite > 0)
				*(uint8_t *)iov[c.nread].iov_base = done ? ACK_OK : ACK_ERROR;
			virtq_push(q, &c, c.nwrite > 0);
		}
		if (!virtq_want_notify(q, true))
			break;
	}
	pthread_mutex_unlock(&card->commands);
	virtq_interrupt(q);
	free(command);
}
