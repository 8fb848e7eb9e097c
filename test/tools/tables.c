/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Prints what the commands understand, out of their own tables, one a line.  For papers_test.sh,
 * which holds manuals and completion against it.
 *
 *	option -m -	an option of hyve; "=" behind it: it wants an argument
 *	setting log.*	a key of the configuration, or a pattern of fnmatch(3)
 *	device NAME	what stands behind -s; then, for each:
 *	key NAME KEY	a key of that device, or a pattern
 *	first NAME KEY	the key that is not written in -s
 *	list NAME WORD	it takes NAME=PATH, which become WORD.N.name and WORD.N.path
 *	verb NAME =	an option of hyvectl behind --vm; "refused" is one that says why it is none
 *	register NAME	what hyvectl shows and sets; also selector, descriptor
 *	capability NAME
 *	command NAME	of the control socket's protocol
 */
#include <stdio.h>

#include "cmd/control/answer.h"
#include "cmd/control/protocol.h"
#include "cmd/hyvectl/verbs.h"
#include "cmd/options.h"
#include "device/device.h"
#include "machine/machine.h"

static void print_options(void)
{
	struct options_entry entry;

	for (size_t i = 0; options_entry(i, &entry); i++) {
		const char *mark = entry.has_argument ? "=" : "-";

		if (entry.word)
			printf("option --%s %s\n", entry.word, mark);
		else
			printf("option -%c %s\n", entry.letter, mark);
	}
}

static void print_settings(void)
{
	char pattern[128];

	for (size_t i = 0; config_known(i, pattern, sizeof(pattern)); i++)
		printf("setting %s\n", pattern);
}

static void print_devices(void)
{
	struct device_pci_facts facts;

	for (size_t i = 0; device_pci_describe(i, &facts); i++) {
		printf("device %s\n", facts.name);
		for (const char *const *key = facts.keys; key && *key; key++)
			printf("key %s %s\n", facts.name, *key);
		if (facts.first)
			printf("first %s %s\n", facts.name, facts.first);
		if (facts.list)
			printf("list %s %s\n", facts.name, facts.list);
	}
}

static void print_verbs(void)
{
	struct verb_option option;

	for (unsigned i = 0; verb_option(i, &option); i++)
		printf("%s %s %s\n", option.refusal ? "refused" : "verb", option.name,
			option.argument ? "=" : "-");
}

static void print_protocol(void)
{
	for (size_t i = 0; i < control_nregisters; i++)
		printf("register %s\n", control_registers[i].name);
	for (size_t i = 0; i < control_nselectors; i++)
		printf("selector %s\n", control_selectors[i].name);
	for (size_t i = 0; i < control_ndescriptors; i++)
		printf("descriptor %s\n", control_descriptors[i].name);
	for (size_t i = 0; i < control_ncapabilities; i++)
		printf("capability %s\n", control_capabilities[i]);
	for (size_t i = 0; control_command(i); i++)
		printf("command %s\n", control_command(i));
}

int main(void)
{
	print_options();
	print_settings();
	print_devices();
	print_verbs();
	print_protocol();
	return 0;
}
