/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* hyvectl: looks at and controls running machines, in the manner of bhyvectl(8). */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vmm/vmm.h>

#include "cmd/control/protocol.h"
#include "cmd/hyvectl/client.h"
#include "cmd/hyvectl/list.h"
#include "cmd/hyvectl/top.h"
#include "cmd/hyvectl/verbs.h"

/* Verbs come as FIRST_VERB and their index: below are the characters that getopt uses itself. */
enum {
	OPTIONS_MAX = 256,
	FIRST_VERB = 1000,
	LONG_VM = FIRST_VERB + OPTIONS_MAX,
	LONG_CPU,
	LONG_RUNDIR,
	LONG_ONCE,
	LONG_HELP,
	LONG_VERSION
};

static const struct option own_options[] = {
	{"vm", required_argument, NULL, LONG_VM},
	{"cpu", required_argument, NULL, LONG_CPU},
	{"rundir", required_argument, NULL, LONG_RUNDIR},
	{"once", no_argument, NULL, LONG_ONCE},
	{"help", no_argument, NULL, LONG_HELP},
	{"version", no_argument, NULL, LONG_VERSION},
};
enum { OWN_OPTIONS = sizeof(own_options) / sizeof(own_options[0]) };

struct command_line {
	struct verb_option verbs[OPTIONS_MAX];
	struct option options[OPTIONS_MAX + OWN_OPTIONS + 1];
	unsigned nverbs;
	bool given[OPTIONS_MAX];
	const char *values[OPTIONS_MAX];
	const char *vm, *rundir, *settings[SETTING_COUNT];
	int cpu;
	bool once, any;
};

static int fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

static int fail(const char *format, ...)
{
	va_list args;

	fputs("hyvectl: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	return 1;
}

/* ---- help ---- */

static void help(const struct command_line *line)
{
	puts("usage: hyvectl [--rundir=folder] list\n"
	     "       hyvectl [--rundir=folder] --vm=name top [--once]\n"
	     "       hyvectl [--rundir=folder] --vm=name [--cpu=number] option ...\n"
	     "       hyvectl --help | --version\n"
	     "options, in the order in which they are carried out:");
	for (unsigned i = 0; i < line->nverbs; i++) {
		const struct verb_option *v = &line->verbs[i];

		if (!v->refusal)
			printf("       [--%s%s%s%s]\n", v->name, v->argument ? "=<" : "",
				v->argument ? v->argument : "", v->argument ? ">" : "");
	}
}

/* ---- the command line ---- */

static void make_options(struct command_line *line)
{
	struct option *o = line->options;

	memcpy(o, own_options, sizeof(own_options));
	o += OWN_OPTIONS;
	while (line->nverbs < OPTIONS_MAX &&
		verb_option(line->nverbs, &line->verbs[line->nverbs])) {
		const struct verb_option *v = &line->verbs[line->nverbs];

		*o++ = (struct option){v->name, v->argument ? required_argument : no_argument, NULL,
			FIRST_VERB + (int)line->nverbs++};
	}
}

static int take_verb(struct command_line *line, unsigned index, const char *value)
{
	const struct verb_option *v = &line->verbs[index];

	if (v->refusal)
		return fail("--%s is not offered: %s", v->name, v->refusal);
	if (v->setting >= 0) {
		line->settings[v->setting] = value;
		return 0;
	}
	line->given[index] = line->any = true;
	line->values[index] = value;
	return 0;
}

static int take_cpu(struct command_line *line, const char *text)
{
	uint64_t cpu;

	if (!control_number(text, &cpu) || cpu >= VM_MAXCPU)
		return fail("--cpu=%.40s: use a number from 0 to %d", text, VM_MAXCPU - 1);
	line->cpu = (int)cpu;
	return 0;
}

/* 0: go on; 1: failed; -1: all is done. */
static int take_option(struct command_line *line, int option, char *const argv[])
{
	switch (option) {
	case LONG_VM:
		line->vm = optarg;
		return 0;
	case LONG_CPU:
		return take_cpu(line, optarg);
	case LONG_RUNDIR:
		line->rundir = optarg;
		return 0;
	case LONG_ONCE:
		line->once = true;
		return 0;
	case LONG_HELP:
		help(line);
		return -1;
	case LONG_VERSION:
		puts("hyvectl " HYVE_VERSION);
		return -1;
	case ':':
		return fail("%.60s needs an argument; see hyvectl --help", argv[optind - 1]);
	case '?':
		return fail("unknown option %.60s; see hyvectl --help", argv[optind - 1]);
	default:
		return take_verb(line, (unsigned)option - FIRST_VERB, optarg);
	}
}

/* ---- commands ---- */

/* -1, and then no machine is found in there. */
static int open_rundir(const struct command_line *line, char *path, size_t size)
{
	if (!control_rundir(line->rundir, path, size))
		return -1;
	return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static int run_verbs(const struct command_line *line, struct client *client)
{
	struct verb_run run = {.client = client, .cpu = line->cpu};

	memcpy(run.settings, line->settings, sizeof(run.settings));
	for (unsigned i = 0; i < line->nverbs; i++)
		run.all |= line->given[i] && strcmp(line->verbs[i].name, "get-all") == 0;
	for (unsigned i = 0; i < line->nverbs; i++)
		if (!verb_carry_out(&run, i, line->given[i], line->values[i])) {
			fflush(stdout);
			return fail("%s: %s", run.what, client->why);
		}
	return 0;
}

static int run_top(const struct command_line *line, struct client *client)
{
	bool live = !line->once && isatty(STDOUT_FILENO) && isatty(STDIN_FILENO);

	return (live ? top_live(client) : top_once(client)) ? 0 : fail("%s", client->why);
}

static int with_machine(const struct command_line *line, const char *command)
{
	struct client client;
	char rundir[4096] = "";
	int dir = open_rundir(line, rundir, sizeof(rundir));

	if (dir < 0 && errno == EACCES)
		return fail("%s: %s", rundir, strerror(errno));
	if (!client_open(&client, dir, rundir, line->vm))
		return fail("%s", client.why);
	int status = command ? run_top(line, &client) : run_verbs(line, &client);

	client_close(&client);
	if (dir >= 0)
		close(dir);
	return status;
}

static int list(const struct command_line *line)
{
	char rundir[4096] = "";
	int dir = open_rundir(line, rundir, sizeof(rundir));

	if (dir < 0 && errno != ENOENT)
		return fail("%s: %s", rundir, strerror(errno));
	return list_machines(dir, rundir);
}

static int act(const struct command_line *line, int argc, char *const argv[])
{
	const char *command = argc > 0 ? argv[0] : NULL;

	if (argc > 1)
		return fail("\"%.60s\": one command; see hyvectl --help", argv[1]);
	if (command && strcmp(command, "list") == 0)
		return line->vm || line->any ? fail("list takes no --vm and no options")
					     : list(line);
	if (command && strcmp(command, "top") != 0)
		return fail("unknown command \"%.60s\"; see hyvectl --help", command);
	if (!line->vm)
		return fail("name a machine with --vm; hyvectl list shows which run");
	if (command ? line->any : !line->any)
		return fail(command ? "top takes no options but --once"
				    : "nothing to do; see hyvectl --help");
	return with_machine(line, command);
}

int main(int argc, char *argv[])
{
	struct command_line *line = calloc(1, sizeof(*line));
	int option, status = 0;

	if (!line)
		return fail("%s", strerror(ENOMEM));
	make_options(line);
	opterr = 0;
	while (!status && (option = getopt_long(argc, argv, ":", line->options, NULL)) != -1)
		status = take_option(line, option, argv);
	if (!status)
		status = act(line, argc - optind, argv + optind);
	free(line);
	if (fflush(stdout) != 0 || ferror(stdout))
		status = 1;
	return status < 0 ? 0 : status;
}
