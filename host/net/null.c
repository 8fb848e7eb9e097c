/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* A cable whose other end is plugged in nowhere. */
#include "host/net/backend.h"

static int null_open(struct net *net, const struct net_args *args, char *why, size_t why_size)
{
	(void)args, (void)why, (void)why_size;
	net->offers = NET_CSUM | NET_TSO4 | NET_TSO6 | NET_TSO_ECN | NET_UFO;
	return 0;
}

static void null_close(struct net *net)
{
	(void)net;
}

static void null_send(
	struct net *net, unsigned queue, const struct iovec *iov, size_t n, size_t size)
{
	(void)net, (void)queue, (void)iov, (void)n, (void)size;
}

const struct net_backend net_null = {
	.name = "null",
	.open = null_open,
	.close = null_close,
	.send = null_send,
};
