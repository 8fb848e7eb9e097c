/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "host/net/hostfwd.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "ADDRESS:PORT", both up to `end`; the address may be empty. */
static bool end_parse(const char *text, const char *end, struct in_addr *addr, unsigned *port)
{
	const char *colon = memchr(text, ':', (size_t)(end - text));
	char address[INET_ADDRSTRLEN] = "0.0.0.0", number[6] = "";

	if (!colon || (size_t)(colon - text) >= sizeof(address))
		return false;
	size_t digits = (size_t)(end - colon) - 1;

	if (digits == 0 || digits >= sizeof(number) || strspn(colon + 1, "0123456789") < digits)
		return false;
	memcpy(number, colon + 1, digits);
	*port = (unsigned)strtoul(number, NULL, 10);
	if (colon > text) {
		memcpy(address, text, (size_t)(colon - text));
		address[colon - text] = 0;
	}
	return *port >= 1 && *port <= 65535 && inet_pton(AF_INET, address, addr) == 1;
}

static bool protocol_parse(const char **text, bool *udp)
{
	*udp = !strncmp(*text, "udp:", 4);
	if (*udp || !strncmp(*text, "tcp:", 4))
		*text += 4;
	else if (**text == ':')
		*text += 1;
	else
		return false;
	return true;
}

bool hostfwd_parse(const char **text, struct hostfwd *rule, char *why, size_t why_size)
{
	const char *at = *text, *end = at + strcspn(at, ";");
	const char *dash = memchr(at, '-', (size_t)(end - at));

	*rule = (struct hostfwd){0};
	if (!dash || !protocol_parse(&at, &rule->udp) || at > dash ||
		!end_parse(at, dash, &rule->host, &rule->host_port) ||
		!end_parse(dash + 1, end, &rule->guest, &rule->guest_port)) {
		snprintf(why, why_size,
			"hostfwd=%.*s: a rule is tcp:ADDRESS:PORT-ADDRESS:PORT, or udp: the same",
			(int)(end - *text), *text);
		return false;
	}
	*text = *end ? end + 1 : end;
	return true;
}
