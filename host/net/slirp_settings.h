/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The settings of a network in user space, for slirp.c alone. */
#ifndef HOST_NET_SLIRP_SETTINGS_H
#define HOST_NET_SLIRP_SETTINGS_H

#include <slirp/libslirp.h>

#include "host/net/net.h"

/* libslirp's segments have 32768 bytes at most, whatever the MSS. */
#define SEGMENT	  32768
#define SLIRP_MTU (SEGMENT + 40)

/* What libslirp is made with; texts are borrowed from the settings. EINVAL, and why. */
int slirp_settings_read(
	SlirpConfig *config, const struct net_args *args, char *why, size_t why_size);
/* Opens the ports of the host that lead to the guest. An errno, and why. */
int slirp_settings_forward(Slirp *slirp, const struct net_args *args, char *why, size_t why_size);

#endif
