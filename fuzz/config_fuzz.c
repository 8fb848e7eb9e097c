/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* A file for -k: lines, keys, expansion, and every value read as each type there is. */
#include "fuzz/fuzz.h"
#include "host/host.h"
#include "machine/assembly.h"

static void read_value(const struct config *config, const char *key, const char *value)
{
	struct machine_error error;
	enum log_level level;
	unsigned number;
	uint64_t bytes;
	bool yes;

	FUZZ_CHECK(config_get(config, key) == value);
	config_is_known(key);
	if (config_number(config, key, 7, 1, 16, &number, &error) == 0)
		FUZZ_CHECK(number >= 1 && number <= 16);
	else
		FUZZ_CHECK(error.text[0] != '\0');
	if (config_bool(config, key, false, &yes, &error) != 0)
		FUZZ_CHECK(error.text[0] != '\0');
	if (memory_size_parse(value, &bytes) != 0 || !log_level_parse(value, &level))
		return;
}

static void read_all(const struct config *config)
{
	struct machine_error error = {""};
	struct settings settings;
	const char *key, *value;

	for (size_t i = 0; config_at(config, i, &key, &value); i++)
		read_value(config, key, value);
	if (settings_read(config, &settings, &error) != 0)
		FUZZ_CHECK(error.text[0] != '\0');
	else
		FUZZ_CHECK(settings.ncpus >= 1 && settings.ncpus <= VM_MAXCPU &&
			   settings.memory > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct fuzz_file file;
	struct machine_error error = {""};
	struct config *config;

	if (file.path[0] == '\0')
		fuzz_file_create(&file);
	fuzz_file_write(&file, data, size);
	FUZZ_CHECK(config_create(&config) == 0);
	if (config_load(config, file.path, &error) == 0 && config_expand(config, &error) == 0)
		read_all(config);
	else
		FUZZ_CHECK(error.text[0] != '\0');
	config_destroy(config);
	return 0;
}

size_t fuzz_seed(unsigned n, uint8_t *to, size_t room)
{
	static const char *const seeds[] = {
		"name=vm\nkernel.path=/boot/vmlinuz\nmemory.size=512M\ncpus=2\nsockets=1\ncores=2",
		"# comment\n\nname=a\nkernel.path=/k/%(name)\nkernel.cmdline=1%% %(kernel.path)",
		"name=b\nimage.path=%(a)\na=%(b)%(b)\nb=%(c)%(c)\nc=%(d)%(d)\nd=xyz\ncpus=16",
		"name=c\nkernel.path=k\nmemory.size=3gb\nx86.x2apic=yes\nacpi_tables=off",
		"a=%(b)\nb=%(a)",
		"log.uart=debug\nlpc.com1.path=stdio\npci.0.0.0.device=hostbridge\nuuid=\nname=",
	};

	if (n >= sizeof(seeds) / sizeof(seeds[0]))
		return 0;
	return (size_t)snprintf((char *)to, room, "%s", seeds[n]);
}
