/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* From configuration strings to checked settings. */
#include "machine/assembly.h"

#include <errno.h>
#include <string.h>

#include "host/host.h"

enum { MEMORY_MIN = 1 << 20, PAGE = 4096 };

static int read_memory(const struct config *config, struct settings *s, struct machine_error *error)
{
	const char *text = config_get(config, "memory.size");
	uint64_t host = host_memory_bytes();

	if (memory_size_parse(text ? text : "256M", &s->memory) != 0)
		return config_bad(config, "memory.size", error, "write it like 512M or 2G");
	if (s->memory < MEMORY_MIN || s->memory % PAGE != 0)
		return config_bad(
			config, "memory.size", error, "use a multiple of 4 KiB, at least 1M");
	if (s->memory > host)
		return config_bad(config, "memory.size", error, "this host has %llu MiB; use less",
			(unsigned long long)(host >> 20));
	return 0;
}

static int read_topology(
	const struct config *config, struct settings *s, struct machine_error *error)
{
	int code = config_number(config, "cpus", 1, 1, VM_MAXCPU, &s->ncpus, error);

	if (!code)
		code = config_number(config, "sockets", 0, 1, VM_MAXCPU, &s->sockets, error);
	if (!code)
		code = config_number(config, "cores", 1, 1, VM_MAXCPU, &s->cores, error);
	if (!code)
		code = config_number(config, "threads", 1, 1, VM_MAXCPU, &s->threads, error);
	if (code)
		return code;
	if (!config_get(config, "cpus") && s->sockets)
		s->ncpus = s->sockets;
	if (!config_get(config, "cpus"))
		s->ncpus *= s->cores * s->threads;
	if (s->ncpus > VM_MAXCPU)
		return machine_error(error, EINVAL, "-c: %u cpus are more than %u", s->ncpus,
			(unsigned)VM_MAXCPU);
	/* Not given: as many sockets as it takes. */
	if (s->sockets == 0)
		s->sockets = s->ncpus / (s->cores * s->threads);
	if (s->sockets * s->cores * s->threads != s->ncpus)
		return machine_error(error, EINVAL,
			"-c: %u sockets of %u cores of %u threads are not %u cpus", s->sockets,
			s->cores, s->threads, s->ncpus);
	return 0;
}

static int read_flags(const struct config *config, struct settings *s, struct machine_error *error)
{
	bool hlt;
	const struct {
		const char *key;
		bool normal;
		bool *value;
	} flags[] = {
		{"acpi_tables", true, &s->acpi},
		{"x86.mptable", true, &s->mptable},
		{"x86.x2apic", false, &s->x2apic},
		{"x86.strictio", false, &s->strict_io},
		{"x86.strictmsr", true, &s->strict_msr},
		{"x86.vmexit_on_pause", false, &s->exit_on_pause},
		/* HLT always leaves the guest here: only its spelling is checked. */
		{"x86.vmexit_on_hlt", true, &hlt},
		{"rtc.use_localtime", true, &s->localtime},
		{"memory.guest_in_core", false, &s->guest_in_core},
	};

	for (size_t i = 0; i < sizeof(flags) / sizeof(flags[0]); i++) {
		int code =
			config_bool(config, flags[i].key, flags[i].normal, flags[i].value, error);

		if (code)
			return code;
	}
	return 0;
}

static int read_what_to_boot(
	const struct config *config, struct settings *s, struct machine_error *error)
{
	s->kernel = config_get(config, "kernel.path");
	s->initrd = config_get(config, "kernel.initrd");
	s->cmdline = config_get(config, "kernel.cmdline");
	s->image = config_get(config, "image.path");
	s->rom = config_get(config, "lpc.bootrom");
	if (!s->rom)
		s->rom = config_get(config, "bootrom");
	if (!s->kernel && !s->image && !s->rom)
		return machine_error(error, EINVAL,
			"nothing to boot: name a kernel with --kernel, or firmware with -l "
			"bootrom");
	if (!!s->kernel + !!s->image + !!s->rom > 1)
		return machine_error(error, EINVAL,
			"give one of --kernel, -l bootrom and image.path, not several");
	if (!s->kernel && (s->initrd || s->cmdline))
		return machine_error(error, EINVAL, "--initrd and --append need --kernel");
	if (!s->cmdline)
		s->cmdline = "";
	return 0;
}

static int read_name(const struct config *config, struct settings *s, struct machine_error *error)
{
	s->name = config_get(config, "name");
	if (!s->name || !*s->name)
		return machine_error(
			error, EINVAL, "the machine needs a name, as the last argument");
	if (strlen(s->name) >= VM_MAX_NAMELEN)
		return machine_error(error, EINVAL,
			"the name \"%.40s\" is too long; use at most %d bytes", s->name,
			VM_MAX_NAMELEN - 1);
	return 0;
}

int settings_read(const struct config *config, struct settings *s, struct machine_error *error)
{
	int code = read_name(config, s, error);

	s->backend = config_get(config, "backend");
	if (!code)
		code = read_topology(config, s, error);
	if (!code)
		code = read_memory(config, s, error);
	if (!code)
		code = read_flags(config, s, error);
	if (!code)
		code = read_what_to_boot(config, s, error);
	return code ? code : pci_settings_check(config, error);
}
