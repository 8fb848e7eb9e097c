/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Ports of the host that lead to the guest; for host/net/ alone. */
#ifndef HOST_NET_HOSTFWD_H
#define HOST_NET_HOSTFWD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>

struct hostfwd {
	bool udp;
	struct in_addr host, guest; /* all zero: any of the host's; the guest that DHCP serves */
	unsigned host_port, guest_port;
};

/*
 * Reads one rule, "[tcp|udp]:[ADDRESS]:PORT-[ADDRESS]:PORT", from `*text`, and moves it behind the
 * semicolon that parts rules, or to the end.  False: it is no rule, and `why` says what is wrong.
 */
bool hostfwd_parse(const char **text, struct hostfwd *rule, char *why, size_t why_size);

#endif
