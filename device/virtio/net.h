/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* What the files of the network card (virtio 1.2, 5.1) have between them. */
#ifndef DEVICE_VIRTIO_NET_H
#define DEVICE_VIRTIO_NET_H

#include <pthread.h>

#include "device/virtio/virtio.h"
#include "host/host.h"

/* Feature bits (5.1.3). */
enum {
	NET_F_CSUM = 1 << 0,
	NET_F_GUEST_CSUM = 1 << 1,
	NET_F_CTRL_GUEST_OFFLOADS = 1 << 2,
	NET_F_MTU = 1 << 3,
	NET_F_MAC = 1 << 5,
	NET_F_GUEST_TSO4 = 1 << 7,
	NET_F_GUEST_TSO6 = 1 << 8,
	NET_F_GUEST_ECN = 1 << 9,
	NET_F_GUEST_UFO = 1 << 10,
	NET_F_HOST_TSO4 = 1 << 11,
	NET_F_HOST_TSO6 = 1 << 12,
	NET_F_HOST_ECN = 1 << 13,
	NET_F_HOST_UFO = 1 << 14,
	NET_F_MRG_RXBUF = 1 << 15,
	NET_F_STATUS = 1 << 16,
	NET_F_CTRL_VQ = 1 << 17,
	NET_F_CTRL_RX = 1 << 18,
	NET_F_CTRL_VLAN = 1 << 19,
	NET_F_CTRL_RX_EXTRA = 1 << 20,
	NET_F_GUEST_ANNOUNCE = 1 << 21,
	NET_F_MQ = 1 << 22,
	NET_F_CTRL_MAC_ADDR = 1 << 23,
};

/* ---- which frames the guest wants ---- */

enum { NET_MAC_TABLE = 64, NET_VLANS = 4096 };

struct net_mac_list {
	bool overflow; /* it had more, so all of this kind pass */
	unsigned n;
	uint8_t mac[NET_MAC_TABLE][6];
};

enum net_rx_mode {
	NET_RX_PROMISC,
	NET_RX_ALLMULTI,
	NET_RX_ALLUNI,
	NET_RX_NOMULTI,
	NET_RX_NOUNI,
	NET_RX_NOBCAST,
	NET_RX_MODES
};

struct net_filter {
	bool mode[NET_RX_MODES];
	bool vlans_only; /* tagged frames pass only by `vlans` */
	uint8_t mac[6];
	struct net_mac_list unicast, multicast;
	uint8_t vlans[NET_VLANS / 8];
};

/* A frame begins with these bytes, 18 if there are so many. */
bool net_filter_passes(const struct net_filter *filter, const uint8_t *frame, size_t size);

/* ---- the card ---- */

/* Pieces of buffers that are taken from the ring ahead of what is received. */
enum { NET_PIECES = 2 * VIRTQ_PIECES_MAX, NET_CHAINS = VIRTQ_SIZE_MAX };

struct net_pair {
	struct net_card *card;
	unsigned index;

	pthread_mutex_t
		rx_lock; /* guards what follows; taken inside of tx_lock and the network's */
	bool ready;	 /* the driver is, and no reset is under way */
	bool refilled;	 /* the driver has put in buffers since there were not enough */
	size_t had;	 /* bytes there were then */
	unsigned vain;	 /* how often it has without there being more */
	unsigned nchains, npieces;
	size_t bytes;
	uint64_t filtered;
	struct virtq_chain chains[NET_CHAINS];
	size_t written[NET_CHAINS];
	struct iovec pieces[NET_PIECES];

	pthread_mutex_t tx_lock;
	bool tx_ready;
	bool held_up; /* by the rate: the network will tell */
	struct iovec tx_pieces[VIRTQ_PIECES_MAX];
};

struct net_card {
	struct virtio *v;
	struct net *net;
	unsigned npairs;
	struct guest_timer *later; /* goes on with rings that have no end */

	pthread_mutex_t commands; /* one after the other, and none during a reset */
	pthread_mutex_t lock;	  /* guards what follows; taken inside of all others */
	uint64_t features;	  /* as the driver took them; 0: it is not ready */
	uint64_t offloads;	  /* of them, those of NET_F_GUEST_... that it wants now */
	unsigned pairs;		  /* that it uses */
	bool announce;
	struct net_filter filter;

	struct net_pair *pair[NET_MAX_QUEUES];
};

/* The driver has put commands into the control queue, which is this one. */
void net_control(struct net_card *card, unsigned queue);
/* Tells the network how the driver wants it. */
void net_settle(struct net_card *card);
/* Offloads of NET_F_GUEST_... as the network has them. */
unsigned net_takes(uint64_t offloads);

#endif
