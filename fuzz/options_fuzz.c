/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The command line: each line of the input is a word. */
#include "cmd/options.h"
#include "fuzz/fuzz.h"
#include "machine/assembly.h"

enum { WORDS = 32, TEXT = 4096 };

/* -k reads files, and any path may come behind it: config_fuzz.c is for them. */
static bool may_read_file(const char *word)
{
	return word[0] == '-' && word[1] != '-' && strchr(word, 'k');
}

static void check(enum options_wish wish, struct config *config, struct machine_error *error)
{
	struct settings settings;

	if (wish == OPTIONS_BAD)
		FUZZ_CHECK(error->text[0] != '\0');
	if (wish == OPTIONS_RUN && settings_read(config, &settings, error) == 0)
		FUZZ_CHECK(settings.ncpus >= 1 && settings.ncpus <= VM_MAXCPU);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct machine_error error = {""};
	char text[TEXT + 1], *rest = text, *argv[WORDS + 1] = {"hyve"};
	struct config *config;
	int argc = 1;

	size = size < TEXT ? size : TEXT;
	memcpy(text, data, size);
	text[size] = '\0';
	while (argc < WORDS && (argv[argc] = strsep(&rest, "\n")) != NULL)
		if (may_read_file(argv[argc++]))
			return 0;
	argv[argc] = NULL;
	FUZZ_CHECK(config_create(&config) == 0);
	check(options_read(argc, argv, config, &error), config, &error);
	config_destroy(config);
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *to, size_t room)
{
	static const char *const seeds[] = {
		"-c\n2\n-m\n512M\n--kernel\nvmlinuz\n--initrd\ni.gz\n--append\nconsole=ttyS0\ndemo",
		"-c\ncpus=4,sockets=2,cores=2,threads=1\n-lcom1,stdio\n-l\ncom2,pty\n-AHP\nvm",
		"-o\nmemory.size=1g\n-o\nname=%(uuid)\n-U\n01234567-89ab-cdef-0123-456789abcdef",
		"--backend=soft\n--kernel=k\nvm",
		"-l\nhelp",
		"--preflight",
		"-Z\n--nonsense\n-m",
		"-Caehuwx\n--\n-name",
	};

	if (n >= sizeof(seeds) / sizeof(seeds[0]))
		return 0;
	return (size_t)snprintf((char *)to, room, "%s", seeds[n]);
}
