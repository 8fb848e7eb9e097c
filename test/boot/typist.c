/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * typist KERNEL INITRD CONSOLE: boots Linux with its console in the file CONSOLE, and does there what
 * the guest asks for: "typist: keys TEXT" and a line feed, "typist: mouse DX DY WHEEL BUTTONS", each
 * once.  Exit status 0 if the guest has ended by itself within a minute.
 */
#include <ctype.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <linux/input-event-codes.h>

#include "machine/machine.h"

enum { SECONDS = 60 };

struct typist {
	struct machine *machine;
	const char *console;
	atomic_bool ended;
	bool late;
};

/* A letter's key; evdev's codes are in the order of the keyboard's rows. */
static unsigned key_of(char c)
{
	static const struct {
		const char *keys;
		unsigned first;
	} rows[] = {{"1234567890", KEY_1}, {"qwertyuiop", KEY_Q}, {"asdfghjkl", KEY_A},
		{"zxcvbnm,./", KEY_Z}, {" ", KEY_SPACE}};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const char *at = strchr(rows[i].keys, c);

		if (at)
			return rows[i].first + (unsigned)(at - rows[i].keys);
	}
	return 0;
}

static void press(struct machine *m, unsigned key)
{
	machine_key(m, key, true);
	machine_key(m, key, false);
}

static void type(struct machine *m, const char *text)
{
	for (; isprint((unsigned char)*text); text++)
		press(m, key_of(*text));
	press(m, KEY_ENTER);
}

/* The last argument of a request on the console, once its line is complete. */
static bool asked(const char *console, const char *what, const char **rest)
{
	const char *at = strstr(console, what);

	if (!at || !strchr(at, '\n'))
		return false;
	*rest = at + strlen(what);
	return true;
}

static void serve(struct typist *t, const char *console, bool *typed, bool *moved)
{
	int dx, dy, wheel;
	unsigned buttons;
	const char *rest;

	if (!*typed && asked(console, "typist: keys ", &rest)) {
		*typed = true;
		type(t->machine, rest);
	}
	if (!*moved && asked(console, "typist: mouse ", &rest)) {
		*moved = true;
		if (sscanf(rest, "%d %d %d %u", &dx, &dy, &wheel, &buttons) == 4)
			machine_mouse(t->machine, dx, dy, wheel, buttons);
	}
}

static void *watch(void *arg)
{
	static char console[1 << 20];
	const struct timespec tick = {.tv_nsec = 20000000};
	struct typist *t = arg;
	time_t stop = time(NULL) + SECONDS;
	bool typed = false, moved = false;

	while (!t->ended && !t->late) {
		FILE *file = fopen(t->console, "r");

		if (file) {
			console[fread(console, 1, sizeof(console) - 1, file)] = '\0';
			fclose(file);
			serve(t, console, &typed, &moved);
		}
		nanosleep(&tick, NULL);
		t->late = time(NULL) >= stop;
	}
	if (t->late)
		machine_stop(t->machine, VM_SUSPEND_POWEROFF);
	return NULL;
}

static int make(char **argv, struct config **config, struct typist *t)
{
	char path[256];
	const char *const set[][2] = {{"memory.size", "512M"}, {"name", "typist"},
		{"lpc.com1.path", path}, {"kernel.path", argv[1]}, {"kernel.initrd", argv[2]},
		{"kernel.cmdline", "console=ttyS0 hyve.batch"}};
	struct machine_error error = {"settings"};
	int code = config_create(config);

	snprintf(path, sizeof(path), "file=%s", argv[3]);
	for (size_t i = 0; i < sizeof(set) / sizeof(set[0]) && !code; i++)
		code = config_set(*config, set[i][0], set[i][1]);
	if (!code)
		code = machine_create(*config, &t->machine, &error);
	if (code)
		fprintf(stderr, "typist: %s\n", error.text);
	return code;
}

int main(int argc, char **argv)
{
	struct machine_error error = {""};
	struct config *config = NULL;
	enum vm_suspend_how how;
	struct typist t = {0};
	pthread_t thread;

	if (argc != 4)
		return 1;
	t.console = argv[3];
	if (make(argv, &config, &t) || pthread_create(&thread, NULL, watch, &t) != 0)
		return 1;
	int code = machine_run(t.machine, &how, &error);

	t.ended = true;
	pthread_join(thread, NULL);
	machine_destroy(t.machine);
	config_destroy(config);
	if (code || t.late)
		fprintf(stderr, "typist: %s\n", code ? error.text : "no end");
	return code || t.late;
}
