/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "cmd/options.h"

#include <ctype.h>
#include <errno.h>
#include <fnmatch.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/device.h"
#include "machine/machine.h"

/* Long options stand outside the range of characters. */
enum {
	LONG_KERNEL = 256,
	LONG_INITRD,
	LONG_APPEND,
	LONG_BACKEND,
	LONG_STATS,
	LONG_PREFLIGHT,
	LONG_VERSION,
};

static const struct option long_options[] = {
	{"kernel", required_argument, NULL, LONG_KERNEL},
	{"initrd", required_argument, NULL, LONG_INITRD},
	{"append", required_argument, NULL, LONG_APPEND},
	{"backend", required_argument, NULL, LONG_BACKEND},
	{"stats", no_argument, NULL, LONG_STATS},
	{"preflight", no_argument, NULL, LONG_PREFLIGHT},
	{"version", no_argument, NULL, LONG_VERSION},
	{"help", no_argument, NULL, 'h'},
	{NULL, 0, NULL, 0},
};

#define SHORT_OPTIONS ":Cac:k:l:m:o:s:AHIPSU:WYehuwx"

/* Options that are one setting. A value of NULL: the option's argument. */
static const struct {
	int option;
	const char *key, *value;
} simple[] = {
	{'A', "acpi_tables", "true"},
	{'C', "memory.guest_in_core", "true"},
	{'H', "x86.vmexit_on_hlt", "true"},
	{'P', "x86.vmexit_on_pause", "true"},
	{'S', "memory.wired", "true"},
	{'U', "uuid", NULL},
	{'W', "virtio_msix", "false"},
	{'Y', "x86.mptable", "false"},
	{'a', "x86.x2apic", "false"},
	{'e', "x86.strictio", "true"},
	{'m', "memory.size", NULL},
	{'u', "rtc.use_localtime", "false"},
	{'w', "x86.strictmsr", "false"},
	{'x', "x86.x2apic", "true"},
	{LONG_KERNEL, "kernel.path", NULL},
	{LONG_INITRD, "kernel.initrd", NULL},
	{LONG_APPEND, "kernel.cmdline", NULL},
	{LONG_BACKEND, "backend", NULL},
	{LONG_STATS, "stats", "true"},
};

static int set(
	struct config *config, const char *key, const char *value, struct machine_error *error)
{
	int code = config_set(config, key, value);

	return code ? machine_error(error, code, "%s: %s", key, strerror(code)) : 0;
}

/* -c [cpus=]N[,sockets=N][,cores=N][,threads=N] */
static int set_cpus(struct config *config, const char *text, struct machine_error *error)
{
	static const char *const keys[] = {"cpus", "sockets", "cores", "threads"};
	char buf[128], *rest = buf, *part;

	if (snprintf(buf, sizeof(buf), "%s", text) >= (int)sizeof(buf))
		return machine_error(error, EINVAL, "-c: too long; use a number of cpus");
	for (int n = 0; (part = strsep(&rest, ",")) != NULL; n++) {
		char *value = strchr(part, '=');
		const char *key = n == 0 && !value ? "cpus" : part;
		size_t i = 0;

		if (value)
			*value++ = '\0';
		else
			value = part;
		while (i < 4 && strcmp(key, keys[i]) != 0)
			i++;
		if (i == 4)
			return machine_error(error, EINVAL,
				"-c %.60s: use N, or cpus=N,sockets=N,cores=N,threads=N", text);
		int code = set(config, keys[i], value, error);

		if (code)
			return code;
	}
	return 0;
}

/* -l com1,stdio, -l bootrom,FILE or -l pc-testdev */
static int set_lpc(struct config *config, const char *text, struct machine_error *error)
{
	char key[32];

	if (strcmp(text, "pc-testdev") == 0)
		return set(config, "lpc.pc-testdev", "true", error);
	if (strncmp(text, "bootrom,", 8) == 0 && text[8])
		return set(config, "lpc.bootrom", text + 8, error);
	if (strncmp(text, "com", 3) != 0 || text[3] < '1' || text[3] > '4' || text[4] != ',' ||
		!text[5])
		return machine_error(error, EINVAL,
			"-l %.60s: use com1 to com4 with stdio, pty, file=PATH or /dev/..., as in "
			"-l com1,stdio; or bootrom,FILE; or pc-testdev",
			text);
	snprintf(key, sizeof(key), "lpc.%.4s.path", text);
	return set(config, key, text + 5, error);
}

/* -s [bus:]slot[:function] */
static int read_slot(const char *text, unsigned place[3])
{
	unsigned n[3], count = 0;
	const char *at = text;

	do {
		char *end;

		if (count == 3 || !isdigit((unsigned char)*at))
			return EINVAL;
		unsigned long value = strtoul(at, &end, 10);

		if (value > 255)
			return EINVAL;
		n[count++] = (unsigned)value;
		at = end;
	} while (*at++ == ':');
	if (at[-1] != '\0')
		return EINVAL;
	place[0] = count == 3 ? n[0] : 0;
	place[1] = n[count == 3 ? 1 : 0];
	place[2] = count == 1 ? 0 : n[count - 1];
	return place[1] < 32 && place[2] < 8 ? 0 : EINVAL;
}

/* NAME=VALUE that is no key: the next entry of the device's list. */
static int set_list_entry(struct config *config, const char *prefix,
	const struct device_pci_facts *facts, const char *name, const char *path,
	struct machine_error *error)
{
	char key[160];
	unsigned n = 0;
	int code;

	do
		snprintf(key, sizeof(key), "%s.%s.%u.name", prefix, facts->list, n++);
	while (config_get(config, key));
	code = set(config, key, name, error);
	snprintf(key, sizeof(key), "%s.%s.%u.path", prefix, facts->list, n - 1);
	return code ? code : set(config, key, path, error);
}

/* What stands behind the device's name: key=value, a key alone, or first what needs no key. */
static int set_device_options(struct config *config, const char *prefix,
	const struct device_pci_facts *facts, char *rest, struct machine_error *error)
{
	char key[160];
	bool first = true;
	char *part;

	while ((part = strsep(&rest, ",")) != NULL) {
		bool keyless = first && facts->first;
		char *value = keyless ? NULL : strchr(part, '=');

		if (value)
			*value++ = '\0';
		first = false;
		if (facts->list && *part && value && !keyless && !device_pci_has_key(facts, part)) {
			int code = set_list_entry(config, prefix, facts, part, value, error);

			if (code)
				return code;
			continue;
		}
		snprintf(key, sizeof(key), "%s.%.100s", prefix, keyless ? facts->first : part);
		if (!*part || (!keyless && !device_pci_has_key(facts, part)))
			return machine_error(error, EINVAL, "-s %s: no option \"%.40s\"; see hyve -s help",
				facts->name, part);
		int code = set(config, key, keyless ? part : value ? value : "true", error);

		if (code)
			return code;
	}
	return 0;
}

/* -s [bus:]slot[:function],device[,options] */
static int set_slot(struct config *config, const char *text, struct machine_error *error)
{
	char *copy = strdup(text), *rest = copy, *name, *place_text;
	struct device_pci_facts facts;
	unsigned place[3];
	char prefix[40], key[64];
	int code;

	if (!copy)
		return machine_error(error, ENOMEM, "%s", strerror(ENOMEM));
	place_text = strsep(&rest, ",");
	name = strsep(&rest, ",");
	if (!name || read_slot(place_text, place) != 0) {
		code = machine_error(error, EINVAL,
			"-s %.60s: use [bus:]slot[:function],device[,options], slots 0 to 31, as "
			"in -s 3,virtio-blk,disk.img",
			text);
		goto out;
	}
	if (place[0] != 0) {
		code = machine_error(error, EINVAL, "-s %.60s: there is no PCI bus but 0", text);
		goto out;
	}
	if (!device_pci_find(name, &facts)) {
		code = machine_error(error, EINVAL,
			"-s %.60s: unknown device \"%.40s\"; see hyve -s help", text, name);
		goto out;
	}
	snprintf(prefix, sizeof(prefix), "pci.%u.%u.%u", place[0], place[1], place[2]);
	snprintf(key, sizeof(key), "%s.device", prefix);
	if (config_get(config, key))
		code = machine_error(error, EINVAL, "-s %.60s: slot %u:%u is taken by %s", text,
			place[1], place[2], config_get(config, key));
	else
		code = set(config, key, name, error);
	if (!code)
		code = set_device_options(config, prefix, &facts, rest, error);
out:
	free(copy);
	return code;
}

/*
 * Unlike in a file, where bhyve's keys may stand that mean nothing here, an unknown one is a typo.
 */
static int set_variable(struct config *config, const char *text, struct machine_error *error)
{
	const char *equals = strchr(text, '=');
	char key[128];
	int code = config_parse(config, text, error);

	if (code)
		return code;
	snprintf(key, sizeof(key), "%.*s", (int)(equals - text), text);
	if (!config_is_known(key))
		return machine_error(
			error, EINVAL, "-o %.80s: unknown setting; see hyve -o help", key);
	return 0;
}

static bool is_uuid(const char *text)
{
	static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

	if (strlen(text) != sizeof(form) - 1)
		return false;
	for (size_t i = 0; form[i]; i++)
		if (form[i] == '-' ? text[i] != '-' : !isxdigit((unsigned char)text[i]))
			return false;
	return true;
}

static int set_simple(
	struct config *config, int option, const char *argument, struct machine_error *error)
{
	for (size_t i = 0; i < sizeof(simple) / sizeof(simple[0]); i++)
		if (simple[i].option == option)
			return set(config, simple[i].key,
				simple[i].value ? simple[i].value : argument, error);
	return 0; /* -I: bhyve's of old, accepted for the tools that still pass it */
}

static int apply(
	struct config *config, int option, const char *argument, struct machine_error *error)
{
	switch (option) {
	case 'c':
		return set_cpus(config, argument, error);
	case 'k':
		return config_load(config, argument, error);
	case 'l':
		return set_lpc(config, argument, error);
	case 'o':
		return set_variable(config, argument, error);
	case 's':
		return set_slot(config, argument, error);
	case 'U':
		if (!is_uuid(argument))
			return machine_error(error, EINVAL,
				"-U %.60s: no UUID of the form "
				"01234567-89ab-cdef-0123-456789abcdef",
				argument);
		break;
	}
	return set_simple(config, option, argument, error);
}

/* The option that getopt stumbled over, as the user wrote it. */
static int bad_option(int result, char *const argv[], struct machine_error *error)
{
	char name[64];

	if (optopt > 0 && optopt < 256)
		snprintf(name, sizeof(name), "-%c", optopt);
	else
		snprintf(name, sizeof(name), "%.60s", argv[optind - 1]);
	return machine_error(error, EINVAL,
		result == ':' ? "%s needs an argument; see hyve -h"
			      : "unknown option %s; see hyve -h",
		name);
}

static const char *const com_keys[] = {
	"lpc.com1.path", "lpc.com2.path", "lpc.com3.path", "lpc.com4.path"};

/* How many consoles of virtio devices are on this terminal. */
static unsigned virtio_stdios(const struct config *config)
{
	const char *key, *value;
	unsigned count = 0;

	for (size_t i = 0; config_at(config, i, &key, &value); i++)
		count += fnmatch("pci.*.console", key, 0) == 0 && strcmp(value, "stdio") == 0;
	return count;
}

/* com1 on this terminal unless something else was said; and only one line can have it. */
static int finish_lines(struct config *config, struct machine_error *error)
{
	unsigned stdio = virtio_stdios(config), given = stdio;

	for (size_t i = 0; i < 4; i++) {
		const char *path = config_get(config, com_keys[i]);

		given += path != NULL;
		stdio += path && strcmp(path, "stdio") == 0;
	}
	if (stdio > 1)
		return machine_error(error, EINVAL,
			"only one serial line or console can have stdio; give the others a pty");
	return given ? 0 : set(config, com_keys[0], "stdio", error);
}

static int finish(int argc, char *const argv[], struct config *config, struct machine_error *error)
{
	if (argc - optind > 1)
		return machine_error(error, EINVAL,
			"\"%.60s\": one machine name, behind the options", argv[optind + 1]);
	int code = optind < argc ? set(config, "name", argv[optind], error) : 0;

	if (!code)
		code = config_expand(config, error);
	return code ? code : finish_lines(config, error);
}

bool options_entry(size_t index, struct options_entry *entry)
{
	const char *letter = &SHORT_OPTIONS[1]; /* behind the ":" */

	for (; *letter; letter += letter[1] == ':' ? 2 : 1)
		if (index-- == 0) {
			*entry = (struct options_entry){
				.letter = *letter, .has_argument = letter[1] == ':'};
			return true;
		}
	if (index >= sizeof(long_options) / sizeof(long_options[0]) - 1)
		return false;
	*entry = (struct options_entry){.word = long_options[index].name,
		.has_argument = long_options[index].has_arg == required_argument};
	return true;
}

enum options_wish options_read(
	int argc, char *const argv[], struct config *config, struct machine_error *error)
{
	int option, code = 0;

	opterr = 0;
	optind = 0; /* glibc: start anew */
	while (!code &&
		(option = getopt_long(argc, argv, SHORT_OPTIONS, long_options, NULL)) != -1) {
		switch (option) {
		case 'h':
			return OPTIONS_HELP;
		case LONG_VERSION:
			return OPTIONS_VERSION;
		case LONG_PREFLIGHT:
			return OPTIONS_PREFLIGHT;
		case '?':
		case ':':
			code = bad_option(option, argv, error);
			break;
		case 'l':
			if (strcmp(optarg, "help") == 0)
				return OPTIONS_LPC_HELP;
			code = apply(config, option, optarg, error);
			break;
		case 'o':
			if (strcmp(optarg, "help") == 0)
				return OPTIONS_SETTING_HELP;
			code = apply(config, option, optarg, error);
			break;
		case 's':
			if (strcmp(optarg, "help") == 0)
				return OPTIONS_SLOT_HELP;
			/* fall through */
		default:
			code = apply(config, option, optarg, error);
		}
	}
	if (!code)
		code = finish(argc, argv, config, error);
	return code ? OPTIONS_BAD : OPTIONS_RUN;
}
