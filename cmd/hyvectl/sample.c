/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Samples: counters from the control socket, and from /proc what the machine's threads and memory
 * cost the host.  Rates are differences of two of them.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cmd/hyvectl/client.h"
#include "cmd/hyvectl/list.h"
#include "cmd/hyvectl/top.h"

enum { THREADS_MAX = 64, CPUS_MAX = 16 };

struct thread {
	int tid;
	char name[17];
	uint64_t ticks;
};

struct sample {
	double when; /* seconds */
	json_t *info, *stats[CPUS_MAX], *devices;
	int ncpus;
	uint64_t resident; /* bytes of the process */
	struct thread threads[THREADS_MAX];
	int nthreads;
};

/* ---- /proc ---- */

/* The name is in parentheses, and may have some itself. */
static bool read_thread(int pid, const char *tid, struct thread *t)
{
	unsigned long user, system;
	char path[64], text[512];

	snprintf(path, sizeof(path), "/proc/%d/task/%.16s/stat", pid, tid);
	FILE *file = fopen(path, "re");

	if (!file)
		return false;
	size_t n = fread(text, 1, sizeof(text) - 1, file);

	fclose(file);
	text[n] = '\0';
	char *open = strchr(text, '('), *close = strrchr(text, ')');

	if (!open || !close ||
		sscanf(close + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user,
			&system) != 2)
		return false;
	*close = '\0';
	t->tid = atoi(tid);
	t->ticks = user + system;
	snprintf(t->name, sizeof(t->name), "%.16s", open + 1);
	return true;
}

static void read_threads(int pid, struct sample *s)
{
	char path[64];
	struct dirent *entry;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	DIR *dir = opendir(path);

	while (dir && s->nthreads < THREADS_MAX && (entry = readdir(dir)) != NULL)
		if (entry->d_name[0] != '.' &&
			read_thread(pid, entry->d_name, &s->threads[s->nthreads]))
			s->nthreads++;
	if (dir)
		closedir(dir);
}

static uint64_t read_resident(int pid)
{
	unsigned long pages = 0;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/statm", pid);
	FILE *file = fopen(path, "re");

	if (file && fscanf(file, "%*u %lu", &pages) != 1)
		pages = 0;
	if (file)
		fclose(file);
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- taking ---- */

static double now_s(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static bool fill(struct client *client, struct sample *s)
{
	s->info = client_call(client, json_pack("{s:s}", "command", "info"));
	if (!s->info)
		return false;
	s->ncpus = (int)client_number(s->info, "cpus");
	if (s->ncpus > CPUS_MAX)
		s->ncpus = CPUS_MAX;
	for (int i = 0; i < s->ncpus; i++) {
		s->stats[i] =
			client_call(client, json_pack("{s:s, s:i}", "command", "stats", "cpu", i));
		if (!s->stats[i])
			return false;
	}
	s->devices = client_call(client, json_pack("{s:s}", "command", "devices"));
	return s->devices != NULL;
}

struct sample *sample_take(struct client *client)
{
	struct sample *s = calloc(1, sizeof(*s));

	if (!s) {
		snprintf(client->why, sizeof(client->why), "out of memory");
		return NULL;
	}
	s->when = now_s();
	if (!fill(client, s)) {
		sample_free(s);
		return NULL;
	}
	int pid = (int)client_number(s->info, "pid");

	read_threads(pid, s);
	s->resident = read_resident(pid);
	return s;
}

void sample_free(struct sample *s)
{
	if (!s)
		return;
	json_decref(s->info);
	json_decref(s->devices);
	for (int i = 0; i < s->ncpus; i++)
		json_decref(s->stats[i]);
	free(s);
}

/* ---- looking up ---- */

static uint64_t pair_value(const json_t *counters, const char *name)
{
	json_t *pair;
	size_t i;

	json_array_foreach(counters, i, pair)
	{
		const char *key = json_string_value(json_array_get(pair, 0));

		if (key && strcmp(key, name) == 0)
			return (uint64_t)json_integer_value(json_array_get(pair, 1));
	}
	return 0;
}

static uint64_t cpu_counter(const struct sample *s, int cpu, const char *name)
{
	return pair_value(json_object_get(s->stats[cpu], "counters"), name);
}

static const json_t *device_counters(const struct sample *s, const char *device)
{
	return json_object_get(json_object_get(s->devices, "devices"), device);
}

static double elapsed(const struct sample *before, const struct sample *now)
{
	double s = now->when - before->when;

	return s > 0.001 ? s : 0.001;
}

static double cpu_share(
	const struct sample *before, const struct sample *now, const struct thread *t)
{
	for (int i = 0; i < before->nthreads; i++)
		if (before->threads[i].tid == t->tid && t->ticks >= before->threads[i].ticks)
			return 100.0 * (double)(t->ticks - before->threads[i].ticks) /
			       (double)sysconf(_SC_CLK_TCK) / elapsed(before, now);
	return 0;
}

/* ---- printing ---- */

static void print_rate(FILE *out, double rate, int width)
{
	static const char units[] = " kMGT";
	unsigned unit = 0;

	while (rate >= 99999.5 && unit < 4) {
		rate /= 1000;
		unit++;
	}
	if (unit)
		fprintf(out, " %*.0f%c", width - 1, rate, units[unit]);
	else
		fprintf(out, " %*.0f", width, rate);
}

static void print_head(FILE *out, const struct sample *before, const struct sample *now)
{
	char uptime[32], memory[32], touched[32], resident[32];
	double cpu = 0;

	for (int i = 0; i < now->nthreads; i++)
		cpu += cpu_share(before, now, &now->threads[i]);
	format_uptime(uptime, sizeof(uptime), client_number(now->info, "uptime"));
	format_bytes(memory, sizeof(memory), client_number(now->info, "memory"));
	format_bytes(touched, sizeof(touched), cpu_counter(now, 0, "Resident memory"));
	format_bytes(resident, sizeof(resident), now->resident);
	fprintf(out, "%s: %s, backend %s, pid %d, up %s\n", client_string(now->info, "name"),
		client_string(now->info, "state"), client_string(now->info, "backend"),
		(int)client_number(now->info, "pid"), uptime);
	fprintf(out, "memory %s, %s of it in use; process %s; host cpu %.1f%%\n\n", memory, touched,
		resident, cpu);
}

/* What columns add up: counters of the core and of the backends. */
static const struct column {
	const char *title;
	const char *counters[4];
} columns[] = {
	{"EXITS/s", {"total number of vm exits"}},
	{"HLT/s", {"number of times hlt was intercepted"}},
	{"I/O/s", {"number of times in/out was intercepted"}},
	{"MMIO/s", {"vm exits for instruction emulation"}},
	{"INJECT/s", {"interrupts delivered by vlapic", "number of ExtINTs delivered to vcpu",
			     "number of NMIs delivered to vcpu"}},
	{"TRANSL/s", {"blocks translated"}},
};
enum { COLUMNS = sizeof(columns) / sizeof(columns[0]), WIDTH = 9 };

static uint64_t column_value(const struct sample *s, int cpu, const struct column *c)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < 4 && c->counters[i]; i++)
		sum += cpu_counter(s, cpu, c->counters[i]);
	return sum;
}

static double thread_share(const struct sample *before, const struct sample *now, const char *name)
{
	for (int i = 0; i < now->nthreads; i++)
		if (strcmp(now->threads[i].name, name) == 0)
			return cpu_share(before, now, &now->threads[i]);
	return 0;
}

static void print_cpus(FILE *out, const struct sample *before, const struct sample *now)
{
	double seconds = elapsed(before, now);

	fprintf(out, "VCPU  HOST%%");
	for (unsigned i = 0; i < COLUMNS; i++)
		fprintf(out, " %*s", WIDTH, columns[i].title);
	fputc('\n', out);
	for (int cpu = 0; cpu < now->ncpus && cpu < before->ncpus; cpu++) {
		char name[24];

		snprintf(name, sizeof(name), "hyve-vcpu%d", cpu);
		fprintf(out, "%4d %6.1f", cpu, thread_share(before, now, name));
		for (unsigned i = 0; i < COLUMNS; i++) {
			uint64_t a = column_value(before, cpu, &columns[i]);
			uint64_t b = column_value(now, cpu, &columns[i]);

			print_rate(out, b > a ? (double)(b - a) / seconds : 0, WIDTH);
		}
		fputc('\n', out);
	}
}

static void print_threads(FILE *out, const struct sample *before, const struct sample *now)
{
	fprintf(out, "\nTHREAD            HOST%%\n");
	for (int i = 0; i < now->nthreads; i++)
		if (strncmp(now->threads[i].name, "hyve-vcpu", 9) != 0)
			fprintf(out, "%-16s %6.1f\n", now->threads[i].name,
				cpu_share(before, now, &now->threads[i]));
}

/* Counters that are 0 would only take room. */
static void print_devices(FILE *out, const struct sample *before, const struct sample *now)
{
	const char *device;
	json_t *counters, *pair;
	size_t i;

	fprintf(out, "\n%-8s %-40s %16s %10s\n", "DEVICE", "COUNTER", "TOTAL", "PER SECOND");
	json_object_foreach(json_object_get(now->devices, "devices"), device, counters)
	{
		const json_t *old = device_counters(before, device);

		json_array_foreach(counters, i, pair)
		{
			const char *name = json_string_value(json_array_get(pair, 0));
			uint64_t value = (uint64_t)json_integer_value(json_array_get(pair, 1));
			uint64_t was = name ? pair_value(old, name) : 0;

			if (!name || value == 0)
				continue;
			fprintf(out, "%-8.8s %-40.40s %16" PRIu64, device, name, value);
			print_rate(out,
				value > was ? (double)(value - was) / elapsed(before, now) : 0, 10);
			fputc('\n', out);
		}
	}
}

void sample_print(FILE *out, const struct sample *before, const struct sample *now)
{
	print_head(out, before, now);
	print_cpus(out, before, now);
	print_threads(out, before, now);
	print_devices(out, before, now);
}
