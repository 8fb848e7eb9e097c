/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Settings: hostfwd (rules parted by semicolons), restrict (the guest reaches nothing but what
 * hostfwd opened), loopback (whether 10.0.2.2 leads to the host's own loopback interface), net
 * (address/bits), ipv6, hostname, domain.
 */
#include "host/net/slirp_settings.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "host/net/backend.h"
#include "host/net/hostfwd.h"

/* "10.0.2.0/24": the host is .2 there, its DNS .3, and the guest .15. */
static bool set_network(SlirpConfig *config, const char *text)
{
	char address[INET_ADDRSTRLEN];
	struct in_addr network;
	int bits, end = -1;

	if (sscanf(text, "%15[0-9.]/%d%n", address, &bits, &end) != 2 || end < 0 || text[end] ||
		bits < 8 || bits > 27 || inet_pton(AF_INET, address, &network) != 1)
		return false;
	const uint32_t mask = ~0u << (32 - bits), base = ntohl(network.s_addr) & mask;

	config->vnetwork.s_addr = htonl(base);
	config->vnetmask.s_addr = htonl(mask);
	config->vhost.s_addr = htonl(base + 2);
	config->vnameserver.s_addr = htonl(base + 3);
	config->vdhcp_start.s_addr = htonl(base + 15);
	return true;
}

static int read_booleans(
	SlirpConfig *config, const struct net_args *args, char *why, size_t why_size)
{
	bool restricted = false, loopback = true, ipv6 = true;
	const struct {
		const char *key;
		bool *value;
	} booleans[] = {{"restrict", &restricted}, {"loopback", &loopback}, {"ipv6", &ipv6}};

	for (size_t i = 0; i < sizeof(booleans) / sizeof(booleans[0]); i++) {
		const char *text = args->option(args->config, booleans[i].key);

		if (text && !net_boolean(text, booleans[i].value)) {
			snprintf(why, why_size, "%s=%s: on or off", booleans[i].key, text);
			return EINVAL;
		}
	}
	config->restricted = restricted;
	config->disable_host_loopback = !loopback;
	config->in6_enabled = ipv6;
	return 0;
}

int slirp_settings_read(
	SlirpConfig *config, const struct net_args *args, char *why, size_t why_size)
{
	const char *network = args->option(args->config, "net");

	*config = (SlirpConfig){
		.version = 4,
		.in_enabled = true,
		.vprefix_len = 64,
		.vhostname = args->option(args->config, "hostname"),
		.vdomainname = args->option(args->config, "domain"),
		.if_mtu = SLIRP_MTU,
		.if_mru = SLIRP_MTU,
	};
	inet_pton(AF_INET6, "fec0::", &config->vprefix_addr6);
	inet_pton(AF_INET6, "fec0::2", &config->vhost6);
	inet_pton(AF_INET6, "fec0::3", &config->vnameserver6);
	if (!set_network(config, network ? network : "10.0.2.0/24")) {
		snprintf(why, why_size, "net=%s: written as 10.0.2.0/24, with 8 to 27 bits",
			network);
		return EINVAL;
	}
	return read_booleans(config, args, why, why_size);
}

int slirp_settings_forward(Slirp *slirp, const struct net_args *args, char *why, size_t why_size)
{
	const char *text = args->option(args->config, "hostfwd");
	struct hostfwd rule;

	while (text && *text) {
		const char *start = text;

		if (!hostfwd_parse(&text, &rule, why, why_size))
			return EINVAL;
		if (slirp_add_hostfwd(slirp, rule.udp, rule.host, (int)rule.host_port, rule.guest,
			    (int)rule.guest_port) != 0) {
			int error = errno ? errno : EADDRINUSE;

			snprintf(why, why_size, "hostfwd=%.*s: port %u of the host: %s",
				(int)strcspn(start, ";"), start, rule.host_port, strerror(error));
			return error;
		}
	}
	return 0;
}
