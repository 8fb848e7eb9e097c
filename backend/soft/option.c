/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Settings of the software CPU: soft.cache and so on. Their values come as text. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "backend/soft/option.h"
#include "backend/soft/soft.h"

/* Code addresses are 31 bits inside the cache; a block may need 32 KiB, thunks and metadata theirs.
 */
#define CACHE_MIN (256ull << 10)
#define CACHE_MAX (1ull << 30)

static int refuse(char *why, size_t size, const char *text)
{
	snprintf(why, size, "%s", text);
	return EINVAL;
}

/* K, M, G; as with hyve's -m a small plain number counts megabytes. */
static int parse_size(const char *text, uint64_t *bytes)
{
	static const char suffixes[] = "kmg";
	const char *suffix;
	char *end;
	unsigned shift = 0;

	if (!isdigit((unsigned char)text[0]))
		return EINVAL;
	errno = 0;
	*bytes = strtoull(text, &end, 10);
	if (*end) {
		suffix = strchr(suffixes, tolower((unsigned char)*end));
		if (!suffix || end[1])
			return EINVAL;
		shift = 10 * (unsigned)(suffix - suffixes + 1);
	} else if (*bytes < 1 << 20) {
		shift = 20;
	}
	if (errno || *bytes > UINT64_MAX >> shift)
		return EINVAL;
	*bytes <<= shift;
	return 0;
}

static int set_cache(struct soft_vm *s, const char *value, char *why, size_t size)
{
	uint64_t bytes;

	if (parse_size(value, &bytes) || bytes < CACHE_MIN || bytes > CACHE_MAX)
		return refuse(why, size, "use a size from 256K to 1G, like 32M");
	s->cache_size = (uint32_t)(bytes + 4095) & ~4095u;
	return 0;
}

static int set_trace(struct soft_vm *s, const char *value, char *why, size_t size)
{
	return soft_trace_open(s, value, why, size);
}

/* RIP or FIRST-LAST, in C's notation of numbers. */
static int set_trace_rip(struct soft_vm *s, const char *value, char *why, size_t size)
{
	uint64_t first, last;
	char *end;

	errno = 0;
	first = last = strtoull(value, &end, 0);
	if (*end == '-' && isdigit((unsigned char)end[1]))
		last = strtoull(end + 1, &end, 0);
	if (!isdigit((unsigned char)value[0]) || *end || errno || first > last)
		return refuse(why, size, "use an address, or two of them like 0x1000-0x1fff");
	s->trace_first = first;
	s->trace_last = last;
	return 0;
}

static int parse_bool(const char *text, bool *value, char *why, size_t size)
{
	static const char *const words[] = {"true", "on", "yes", "1", "false", "off", "no", "0"};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcasecmp(text, words[i]) == 0) {
			*value = i < 4;
			return 0;
		}
	return refuse(why, size, "use true or false");
}

static int set_perf(struct soft_vm *s, const char *value, char *why, size_t size)
{
	bool on, dump = strcmp(value, "jitdump") == 0;

	if (dump)
		on = true;
	else if (parse_bool(value, &on, why, size))
		return refuse(why, size, "use true, false or jitdump");
	if (on)
		return soft_perf_open(s, dump, why, size);
	soft_perf_close(s);
	return 0;
}

static int set_count(struct soft_vm *s, const char *value, char *why, size_t size)
{
	return parse_bool(value, &s->count, why, size);
}

static int set_share(struct soft_vm *s, const char *value, char *why, size_t size)
{
	return parse_bool(value, &s->share, why, size);
}

static int set_lockstep(struct soft_vm *s, const char *value, char *why, size_t size)
{
	return parse_bool(value, &s->lockstep, why, size);
}

static int parse_number(const char *text, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 0);
	return !isdigit((unsigned char)text[0]) || *end || errno ? EINVAL : 0;
}

/* A seed that nobody chose is told, or the run could not be repeated. */
static int set_torture(struct soft_vm *s, const char *value, char *why, size_t size)
{
	uint32_t seed;

	if (strcmp(value, "random") != 0) {
		if (parse_number(value, &s->torture))
			return refuse(why, size, "use a number, 0 for none, or random");
		return 0;
	}
	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		return refuse(why, size, "no random numbers here; use a number");
	s->torture = seed ? seed : 1;
	snprintf(why, size, "the seed is %u", (unsigned)s->torture);
	return 0;
}

static int set_max_insns(struct soft_vm *s, const char *value, char *why, size_t size)
{
	uint64_t n;

	if (parse_number(value, &n) || n < 1 || n > UINT32_MAX)
		return refuse(why, size, "use a number from 1 on");
	s->max_insns = (unsigned)n;
	return 0;
}

static const struct {
	const char *key;
	int (*set)(struct soft_vm *s, const char *value, char *why, size_t size);
} options[] = {
	{"cache", set_cache},
	{"count", set_count},
	{"lockstep", set_lockstep},
	{"max_insns", set_max_insns},
	{"perf", set_perf},
	{"share", set_share},
	{"torture", set_torture},
	{"trace", set_trace},
	{"trace.rip", set_trace_rip},
};

int soft_set_option(void *vmi, const char *key, const char *value, char *why, size_t size)
{
	struct soft_vm *s = vmi;

	for (int i = 0; i < VM_MAXCPU; i++)
		if (s->vcpu[i]->cache.rw) {
			snprintf(why, size, "the virtual machine has run already");
			return EBUSY;
		}
	for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
		if (strcmp(options[i].key, key) == 0)
			return options[i].set(s, value, why, size);
	snprintf(why, size, "unknown setting");
	return ENOENT;
}

const char *soft_option_key(size_t index)
{
	return index < sizeof(options) / sizeof(options[0]) ? options[index].key : NULL;
}

/* What another vcpu stores between the two runs of a block would look like a difference. */
int soft_check_options(void *vmi, unsigned ncpus, char *why, size_t size)
{
	const struct soft_vm *s = vmi;

	if (s->lockstep && ncpus > 1)
		return refuse(why, size, "soft.lockstep is for one vcpu; use -c 1");
	return 0;
}
