/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* From bhyve's words to struct block_settings. */
#include "host/block/block.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What each key does with its value; false: the value is none. */
struct setting {
	const char *key;
	bool (*set)(struct block_settings *settings, const char *value);
	const char *wants;
};

static bool set_path(struct block_settings *s, const char *value)
{
	s->path = value;
	return *value != '\0';
}

static bool parse_bool(const char *value, bool *to)
{
	/* bhyve's, and its "nocache" alone, which comes as an empty value. */
	static const char *const words[][2] = {
		{"", "false"}, {"true", "no"}, {"on", "off"}, {"yes", "0"}, {"1", "0"}};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		for (int off = 0; off < 2; off++) {
			if (strcmp(value, words[i][off]) == 0) {
				*to = !off;
				return true;
			}
		}
	}
	return false;
}

static bool set_nocache(struct block_settings *s, const char *value)
{
	return parse_bool(value, &s->nocache);
}

static bool set_sync(struct block_settings *s, const char *value)
{
	bool on;

	if (!parse_bool(value, &on))
		return false;
	s->sync |= on;
	return true;
}

static bool set_ro(struct block_settings *s, const char *value)
{
	return parse_bool(value, &s->read_only);
}

static bool set_nodelete(struct block_settings *s, const char *value)
{
	return parse_bool(value, &s->nodelete);
}

static bool is_sector_size(unsigned long size)
{
	return size >= 512 && size <= 65536 && (size & (size - 1)) == 0;
}

static bool set_sectorsize(struct block_settings *s, const char *value)
{
	char *end;
	unsigned long logical = strtoul(value, &end, 10), physical = logical;

	if (*end == '/')
		physical = strtoul(end + 1, &end, 10);
	if (*end || !is_sector_size(logical) || !is_sector_size(physical) || physical < logical)
		return false;
	s->logical = (unsigned)logical;
	s->physical = (unsigned)physical;
	return true;
}

static bool set_format(struct block_settings *s, const char *value)
{
	s->format = strcmp(value, "auto") == 0 ? NULL : value;
	return !s->format || strcmp(value, "raw") == 0 || strcmp(value, "qcow2") == 0;
}

static bool set_engine(struct block_settings *s, const char *value)
{
	static const char *const names[] = {
		[BLOCK_ENGINE_AUTO] = "auto",
		[BLOCK_ENGINE_URING] = "io_uring",
		[BLOCK_ENGINE_THREADS] = "threads",
	};

	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(value, names[i]) == 0) {
			s->engine = (enum block_engine)i;
			return true;
		}
	}
	return false;
}

static bool set_onfull(struct block_settings *s, const char *value)
{
	s->pause_when_full = strcmp(value, "pause") == 0;
	return s->pause_when_full || strcmp(value, "error") == 0;
}

static bool set_iops(struct block_settings *s, const char *value)
{
	return limit_rate_parse(value, &s->ops);
}

static bool set_bps(struct block_settings *s, const char *value)
{
	return limit_rate_parse(value, &s->bytes);
}

static const struct setting settings_table[] = {
	{"path", set_path, "the name of a file or device"},
	{"nocache", set_nocache, "true or false"},
	{"direct", set_sync, "true or false"},
	{"sync", set_sync, "true or false"},
	{"ro", set_ro, "true or false"},
	{"nodelete", set_nodelete, "true or false"},
	{"sectorsize", set_sectorsize,
		"LOGICAL or LOGICAL/PHYSICAL, powers of two from 512 to 65536"},
	{"format", set_format, "auto, raw or qcow2"},
	{"engine", set_engine, "auto, io_uring or threads"},
	{"onfull", set_onfull, "error or pause"},
	{"iops", set_iops, "operations a second, N or N/BURST"},
	{"bps", set_bps, "bytes a second, such as 20M or 20M/60M"},
};

int block_settings_parse(struct block_settings *settings,
	const char *(*option)(const void *config, const char *key), const void *config, char *why,
	size_t why_size)
{
	*settings = (struct block_settings){0};
	for (size_t i = 0; i < sizeof(settings_table) / sizeof(settings_table[0]); i++) {
		const struct setting *setting = &settings_table[i];
		const char *value = option(config, setting->key);

		if (!value || setting->set(settings, value))
			continue;
		snprintf(why, why_size, "%s=%s: wants %s", setting->key, value, setting->wants);
		return EINVAL;
	}
	if (settings->path)
		return 0;
	snprintf(why, why_size, "a disk needs the path of its image");
	return EINVAL;
}
