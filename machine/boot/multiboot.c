/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Multiboot 1 (the Multiboot Specification, 0.6.96): kernels that carry a header in their first
 * 8 KiB, as an ELF file or with the addresses in the header.  They start in 32-bit protected mode.
 * Modules come from the initrd setting, "FILE[ ARGUMENTS][,FILE[ ARGUMENTS]...]" as QEMU takes it;
 * a comma in a name is written twice.
 */
#include "machine/boot/boot.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "machine/firmware/firmware.h"

enum {
	HEADER_MAGIC = 0x1badb002,
	HEADER_IN = 8192, /* it lies within the first so many bytes */
	HEADER_ALIGN = 4,

	WANTS_PAGES = 1 << 0, /* modules on page boundaries: they always are */
	WANTS_MEMORY = 1 << 1,
	WANTS_VIDEO = 1 << 2, /* a wish, not a demand (3.1.4) */
	WANTS_MUST = 0xffff,  /* what a loader has to know */
	HAS_ADDRESSES = 1 << 16,

	BOOTED_MAGIC = 0x2badb002,
	INFO_MEMORY = 1 << 0,
	INFO_DEVICE = 1 << 1,
	INFO_CMDLINE = 1 << 2,
	INFO_MODULES = 1 << 3,
	INFO_MAP = 1 << 6,
	INFO_LOADER = 1 << 9,

	/* The first hard disk's first partition: where a BIOS would have booted from. */
	BOOT_DEVICE = (int)0x8000ffffu,

	MODULES_MAX = 32,
	SPEC_MAX = 4096, /* one module's file and arguments */
};

struct header {
	uint32_t magic, flags, checksum;
	uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};

enum { HEADER_MIN = 12 };

struct info {
	uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr;
	uint32_t syms[4], mmap_length, mmap_addr, drives_length, drives_addr, config_table;
	uint32_t loader_name, apm_table, vbe[4];
};

struct module {
	uint32_t start, end, string, reserved;
};

/* `size` does not count itself. */
struct map_entry {
	uint32_t size;
	uint64_t address, length;
	uint32_t type;
} __attribute__((packed));

/* All that is handed over but strings, in one place. */
struct block {
	struct info info;
	struct module modules[MODULES_MAX];
	struct map_entry map[E820_MAX];
	char loader_name[8];
};

_Static_assert(sizeof(struct info) == 88, "3.3, up to the video fields");
_Static_assert(sizeof(struct block) <= BOOT_PARAMS - BOOT_PVH_INFO, "must fit below the next");

/* Strings, one behind the other at BOOT_CMDLINE. */
struct strings {
	char *to;
	size_t used;
};

/* ---- the header ---- */

/* Offset of the header in the file, or -1. What the file is too short for reads as 0. */
static long find_header(const struct image *kernel, struct header *h)
{
	size_t end = kernel->size < HEADER_IN ? kernel->size : HEADER_IN;

	for (size_t at = 0; at + HEADER_MIN <= end; at += HEADER_ALIGN) {
		size_t n = end - at < sizeof(*h) ? end - at : sizeof(*h);

		memset(h, 0, sizeof(*h));
		memcpy(h, kernel->bytes + at, n);
		if (h->magic == HEADER_MAGIC && h->magic + h->flags + h->checksum == 0)
			return (long)at;
	}
	return -1;
}

static bool matches(const struct image *kernel)
{
	struct header h;

	return find_header(kernel, &h) >= 0;
}

/* ---- the kernel ---- */

static int bad_fit(struct boot *boot)
{
	return boot_bad_kernel(boot,
		"does not fit: it must lie in RAM from 28 KiB to 4 GiB, without 128 to 192 and 639 "
		"to 1024 KiB; give more with -m?");
}

/* 3.1.3: a header with addresses counts even in an ELF file. */
static int load_by_addresses(struct boot *boot, const struct header *h, size_t at, uint64_t *end)
{
	const struct image *k = &boot->kernel;

	if (h->load_addr > h->header_addr || h->header_addr - h->load_addr > at)
		return boot_bad_kernel(boot, "has a multiboot header whose addresses contradict "
					     "its place in the file");
	size_t from = at - (h->header_addr - h->load_addr), size = k->size - from, whole;

	if (h->load_end_addr) {
		if (h->load_end_addr < h->load_addr || h->load_end_addr - h->load_addr > size)
			return boot_bad_kernel(boot, "is cut short; copy it again");
		size = h->load_end_addr - h->load_addr;
	}
	whole = size;
	if (h->bss_end_addr > h->load_addr && h->bss_end_addr - h->load_addr > size)
		whole = h->bss_end_addr - h->load_addr;
	uint8_t *to = boot_kernel_at(boot->request->ram, BOOT_KERNEL_LOW, h->load_addr, whole);

	if (!to)
		return bad_fit(boot);
	memcpy(to, k->bytes + from, size);
	memset(to + size, 0, whole - size);
	*end = h->load_addr + whole;
	boot->entry.rip = h->entry_addr;
	return 0;
}

static int load_elf(struct boot *boot, uint64_t *end)
{
	struct elf elf;

	if (elf_parse(boot->kernel.bytes, boot->kernel.size, &elf))
		return boot_bad_kernel(boot,
			"has a multiboot header without addresses, but is no sound x86 ELF file");
	if (elf_load(boot->request->ram, boot->kernel.bytes, &elf, BOOT_KERNEL_LOW, end) ||
		*end > PC_HIGHMEM_BASE)
		return bad_fit(boot);
	if (elf.entry > UINT32_MAX)
		return boot_bad_kernel(boot, "starts above 4 GiB, where multiboot cannot go");
	boot->entry.rip = elf.entry;
	return 0;
}

/* ---- strings and modules ---- */

static int add_string(
	struct boot *boot, struct strings *s, const char *a, const char *b, uint32_t *gpa)
{
	size_t room = BOOT_CMDLINE_MAX - s->used;
	int n = snprintf(s->to + s->used, room, "%s%s%s", a, *b ? " " : "", b);

	if (n < 0 || (size_t)n >= room)
		return machine_error(boot->error, E2BIG,
			"the command lines of kernel and modules are longer than 64 KiB");
	*gpa = BOOT_CMDLINE + (uint32_t)s->used;
	s->used += (size_t)n + 1;
	return 0;
}

/* The next module's file and arguments; *list behind it, NULL at the end. */
static int next_spec(struct boot *boot, const char **list, char spec[SPEC_MAX])
{
	size_t n = 0;
	const char *p = *list;

	for (; *p && (*p != ',' || p[1] == ','); p++) {
		p += *p == ',';
		if (n + 1 == SPEC_MAX)
			return machine_error(boot->error, E2BIG,
				"--initrd: a module's name and arguments are longer than 4 KiB");
		spec[n++] = *p;
	}
	spec[n] = '\0';
	*list = *p ? p + 1 : NULL;
	return 0;
}

static int load_module(
	struct boot *boot, struct strings *s, char *spec, uint64_t *end, struct module *module)
{
	uint64_t gpa, size;
	int error = add_string(boot, s, spec, "", &module->string);

	spec[strcspn(spec, " ")] = '\0';
	if (!error)
		error = boot_read_module(boot, spec, *end, &gpa, &size);
	if (error)
		return error;
	module->start = (uint32_t)gpa;
	module->end = (uint32_t)(gpa + size);
	*end = gpa + size;
	return 0;
}

static int load_modules(struct boot *boot, struct strings *s, uint64_t end, struct block *block)
{
	const char *list = boot->request->initrd;
	char spec[SPEC_MAX];

	if (end < BOOT_KERNEL_MIN)
		end = BOOT_KERNEL_MIN;
	while (list) {
		unsigned n = block->info.mods_count;
		int error = next_spec(boot, &list, spec);

		if (!error && n == MODULES_MAX)
			error = machine_error(
				boot->error, E2BIG, "--initrd: at most %d modules", MODULES_MAX);
		if (!error)
			error = load_module(boot, s, spec, &end, &block->modules[n]);
		if (error)
			return error;
		block->info.mods_count++;
	}
	return 0;
}

/* ---- what is handed over ---- */

/* The pieces of e820, in the other layout. */
static void fill_map(struct boot *boot, struct block *block)
{
	struct e820_entry map[E820_MAX];
	unsigned n = e820_fill(boot->request->ram, map);

	for (unsigned i = 0; i < n; i++)
		block->map[i] = (struct map_entry){sizeof(struct map_entry) - sizeof(uint32_t),
			map[i].address, map[i].size, map[i].type};
	block->info.mmap_length = n * (uint32_t)sizeof(struct map_entry);
	block->info.mmap_addr = BOOT_PVH_INFO + offsetof(struct block, map);
}

static void fill_info(struct boot *boot, struct block *block)
{
	struct info *info = &block->info;

	info->flags =
		INFO_MEMORY | INFO_DEVICE | INFO_CMDLINE | INFO_MODULES | INFO_MAP | INFO_LOADER;
	info->mem_lower = FW_EBDA_BASE >> 10; /* KiB from 0, and from 1 MiB */
	info->mem_upper = (uint32_t)((boot->request->ram->low_size - BOOT_KERNEL_MIN) >> 10);
	info->boot_device = (uint32_t)BOOT_DEVICE;
	info->mods_addr = BOOT_PVH_INFO + offsetof(struct block, modules);
	memcpy(block->loader_name, "hyve", 5);
	info->loader_name = BOOT_PVH_INFO + offsetof(struct block, loader_name);
	fill_map(boot, block);
}

static int hand_over(struct boot *boot, uint64_t end)
{
	const struct ram *ram = boot->request->ram;
	struct block *block = ram_at(ram, BOOT_PVH_INFO, sizeof(*block));
	struct strings strings = {.to = ram_at(ram, BOOT_CMDLINE, BOOT_CMDLINE_MAX)};

	memset(block, 0, sizeof(*block));
	fill_info(boot, block);
	/* Kernels skip the first word: it is the kernel's name. */
	int error = add_string(boot, &strings, boot->request->kernel, boot->request->cmdline,
		&block->info.cmdline);

	return error ? error : load_modules(boot, &strings, end, block);
}

static int load(struct boot *boot)
{
	struct header h;
	long at = find_header(&boot->kernel, &h);
	uint64_t end;
	int error;

	if (h.flags & WANTS_MUST & ~(WANTS_PAGES | WANTS_MEMORY | WANTS_VIDEO))
		return boot_bad_kernel(boot, "asks for multiboot features %#x, which are unknown",
			h.flags & WANTS_MUST);
	error = h.flags & HAS_ADDRESSES ? load_by_addresses(boot, &h, (size_t)at, &end)
					: load_elf(boot, &end);
	if (!error)
		error = hand_over(boot, end);
	boot->entry.mode = BOOT_PROTECTED;
	boot->entry.wants_bios = true; /* 3.2, last paragraph */
	boot->entry.rax = BOOTED_MAGIC;
	boot->entry.rbx = BOOT_PVH_INFO;
	boot_write_descriptors(boot);
	return error;
}

const struct boot_loader boot_multiboot = {.name = "multiboot", .matches = matches, .load = load};
