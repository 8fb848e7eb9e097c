/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * What hyve and hyvectl say to each other, as data.  For both.
 *
 * Over a Unix stream socket the client sends requests and gets replies, in order, each a JSON
 *object on a line of its own:
 *
 *	{"version":1,"command":"set-register","cpu":0,"name":"rax","value":"0x2a"}
 *	{"version":1,"ok":true,"result":{}}
 *	{"version":1,"ok":false,"errno":22,"error":"cpu: no number from 0 to 15"}
 *
 * Values of 64 bits travel as strings, in hexadecimal with 0x: JSON's numbers do not hold them.
 */
#ifndef CMD_CONTROL_PROTOCOL_H
#define CMD_CONTROL_PROTOCOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	CONTROL_VERSION = 1,
	CONTROL_REQUEST_MAX = 4096,  /* bytes of a line, newline included */
	CONTROL_REPLY_MAX = 1 << 20, /* the same */
};

/* A register by bhyvectl's name, in the order in which bhyvectl prints them. */
struct control_register {
	const char *name;
	int reg;    /* enum vm_reg_name */
	int digits; /* with which bhyvectl prints it */
};
/* The general ones; then, behind the descriptors, the selectors. */
extern const struct control_register control_registers[], control_selectors[];
extern const size_t control_nregisters, control_nselectors;
/* Those with a hidden part; `digits` of its access word, 0: GDTR and IDTR have none. */
extern const struct control_register control_descriptors[];
extern const size_t control_ndescriptors;
/* By enum vm_cap_type. */
extern const char *const control_capabilities[];
extern const size_t control_ncapabilities;

/* A general register or a selector, NULL: neither. */
const struct control_register *control_register_find(const char *name);
const struct control_register *control_descriptor_find(const char *name);

/* "0x2a", "42", "052" as strtoull(3) reads them, nothing else around. */
bool control_number(const char *text, uint64_t *value);

/*
 * The folder with the sockets: `given`, or if that is NULL $HYVE_RUNDIR; else /run/hyve for root,
 * and for others hyve below $XDG_RUNTIME_DIR, or /tmp/hyve-UID where that is not set.  False: it
 * does not fit.
 */
bool control_rundir(const char *given, char *path, size_t size);

struct sockaddr_un;
/*
 * The address of NAME in the open folder `dir`, which is also `path`: one that is too long for an
 * address is gone around by way of /proc.  EINVAL: no name for a file.
 */
int control_address(int dir, const char *path, const char *name, struct sockaddr_un *address);

#endif
