/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "machine/boot/boot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "machine/firmware/firmware.h"

/* The list: a new kind of kernel is its file, and a line here. */
static const struct boot_loader *const loaders[] = {&boot_linux, &boot_multiboot, &boot_elf};

enum { KERNEL_MAX = 1 << 30 };

int boot_bad_kernel(struct boot *boot, const char *format, ...)
{
	char what[192];
	va_list args;

	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	return machine_error(boot->error, EINVAL, "%.100s %s", boot->kernel.path, what);
}

/* ---- files ---- */

static int file_open(const char *path, int *fd, uint64_t *size, struct machine_error *error)
{
	struct stat st;

	/* O_NONBLOCK: a FIFO must not hold us up. */
	*fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (*fd < 0)
		return machine_error(error, errno, "cannot read %.150s: %s", path, strerror(errno));
	if (fstat(*fd, &st) != 0 || !S_ISREG(st.st_mode)) {
		close(*fd);
		return machine_error(error, EINVAL, "%.150s is not a plain file", path);
	}
	*size = (uint64_t)st.st_size;
	return 0;
}

static int file_read(int fd, const char *path, void *to, size_t size, struct machine_error *error)
{
	uint8_t *p = to;

	while (size > 0) {
		ssize_t n = read(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return machine_error(error, EIO, "cannot read %.150s: %s", path,
				n < 0 ? strerror(errno) : "it became shorter meanwhile");
		p += n;
		size -= (size_t)n;
	}
	return 0;
}

int image_read(struct image *image, const char *path, size_t limit, struct machine_error *error)
{
	uint64_t size;
	int fd, code = file_open(path, &fd, &size, error);

	if (code)
		return code;
	*image = (struct image){.path = path, .size = size};
	if (size == 0 || size > limit)
		code = machine_error(error, EINVAL, "%.150s is %s", path,
			size ? "too large for a kernel" : "empty");
	else if (!(image->bytes = malloc(size)))
		code = machine_error(error, ENOMEM, "%.150s: %s", path, strerror(ENOMEM));
	else
		code = file_read(fd, path, image->bytes, size, error);
	close(fd);
	if (code)
		image_free(image);
	return code;
}

void image_free(struct image *image)
{
	free(image->bytes);
	image->bytes = NULL;
}

int boot_read_initrd(struct boot *boot, uint64_t low, uint64_t high, uint64_t *gpa, uint64_t *size)
{
	const char *path = boot->request->initrd;
	int fd;

	*gpa = *size = 0;
	if (!path)
		return 0;
	int code = file_open(path, &fd, size, boot->error);

	if (code)
		return code;
	if (high < low || *size > high - low || ((high - *size) & ~0xfffull) < low)
		code = machine_error(boot->error, ENOSPC,
			"initrd %.100s (%llu KiB) does not fit into memory beside the kernel; give "
			"more "
			"with -m",
			path, (unsigned long long)(*size >> 10));
	if (!code && *size > 0) {
		*gpa = (high - *size) & ~0xfffull;
		code = file_read(
			fd, path, ram_at(boot->request->ram, *gpa, *size), *size, boot->error);
	}
	close(fd);
	return code;
}

int boot_read_module(
	struct boot *boot, const char *path, uint64_t low, uint64_t *gpa, uint64_t *size)
{
	int fd, code = file_open(path, &fd, size, boot->error);

	if (code)
		return code;
	*gpa = (low + 0xfff) & ~0xfffull;
	void *to = *gpa < PC_LOWMEM_LIMIT ? ram_at(boot->request->ram, *gpa, *size) : NULL;

	if (!to)
		code = machine_error(boot->error, ENOSPC,
			"module %.100s (%llu KiB) does not fit into memory; give more with -m",
			path, (unsigned long long)(*size >> 10));
	else
		code = file_read(fd, path, to, *size, boot->error);
	close(fd);
	return code;
}

int boot_write_cmdline(struct boot *boot, size_t limit)
{
	const char *text = boot->request->cmdline;
	size_t len = strlen(text);

	if (limit > BOOT_CMDLINE_MAX - 1)
		limit = BOOT_CMDLINE_MAX - 1;
	if (len > limit)
		return machine_error(boot->error, E2BIG,
			"the kernel command line has %zu bytes; this kernel takes %zu", len, limit);
	memcpy(ram_at(boot->request->ram, BOOT_CMDLINE, len + 1), text, len + 1);
	return 0;
}

/* ---- descriptors and page tables ---- */

/* Flat segments (SDM vol. 3, 3.4.5); the bits above the limit's low half. */
#define GDT_CODE64 0x00af9b000000ffffull
#define GDT_CODE32 0x00cf9b000000ffffull
#define GDT_DATA   0x00cf93000000ffffull
#define GDT_TSS	   0x00008b0000000067ull

#define PTE_PRESENT 1ull
#define PTE_WRITE   2ull
#define PTE_LARGE   0x80ull

static void write_page_tables(const struct ram *ram)
{
	enum { PAGE = 0x1000, GIGABYTES = 4, ENTRIES = 512 };
	uint64_t *pml4 = ram_at(ram, BOOT_PML4, PAGE * (2 + GIGABYTES));
	uint64_t *pdpt = pml4 + ENTRIES, *pd = pdpt + ENTRIES;

	memset(pml4, 0, 2 * PAGE);
	pml4[0] = (BOOT_PML4 + PAGE) | PTE_PRESENT | PTE_WRITE;
	for (uint64_t i = 0; i < GIGABYTES; i++)
		pdpt[i] = (BOOT_PML4 + (2 + i) * PAGE) | PTE_PRESENT | PTE_WRITE;
	for (uint64_t i = 0; i < GIGABYTES * ENTRIES; i++)
		pd[i] = i << 21 | PTE_PRESENT | PTE_WRITE | PTE_LARGE;
}

void boot_write_descriptors(struct boot *boot)
{
	bool is_long = boot->entry.mode == BOOT_LONG;
	uint64_t gdt[BOOT_GDT_SIZE / 8] = {
		[BOOT_CS / 8] = is_long ? GDT_CODE64 : GDT_CODE32,
		[BOOT_DS / 8] = GDT_DATA,
		[BOOT_TR / 8] = GDT_TSS,
	};

	memcpy(ram_at(boot->request->ram, BOOT_GDT, sizeof(gdt)), gdt, sizeof(gdt));
	boot->entry.gdt = BOOT_GDT;
	boot->entry.rsp = BOOT_STACK;
	if (is_long) {
		write_page_tables(boot->request->ram);
		boot->entry.cr3 = BOOT_PML4;
	}
}

void *boot_kernel_at(const struct ram *ram, uint64_t low, uint64_t gpa, uint64_t size)
{
	static const struct {
		uint64_t from, to;
	} taken[] = {
		{BOOT_CMDLINE, BOOT_CMDLINE + BOOT_CMDLINE_MAX},
		{FW_EBDA_BASE, FW_BIOS_END},
	};
	void *at = ram_at(ram, gpa, size);

	if (!at || gpa < low)
		return NULL;
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		if (gpa < taken[i].to && gpa + size > taken[i].from)
			return NULL;
	return at;
}

/* ---- the choice ---- */

static int load_kernel(struct boot *boot)
{
	for (size_t i = 0; i < sizeof(loaders) / sizeof(loaders[0]); i++)
		if (loaders[i]->matches(&boot->kernel))
			return loaders[i]->load(boot);
	return boot_bad_kernel(
		boot, "is no kernel: neither a Linux bzImage (vmlinuz), nor multiboot, nor an ELF file");
}

int boot_load(
	const struct boot_request *request, struct boot_entry *entry, struct machine_error *error)
{
	struct boot boot = {.request = request, .error = error};
	const char *path = request->kernel ? request->kernel
			   : request->rom  ? request->rom
					   : request->image;

	if (request->ram->low_size < 2 * BOOT_KERNEL_MIN)
		return machine_error(error, EINVAL,
			"a kernel needs at least 2 MiB of memory; give more with -m");
	int code = image_read(&boot.kernel, path, KERNEL_MAX, error);

	if (code)
		return code;
	code = request->kernel ? load_kernel(&boot)
	       : request->rom  ? boot_rom(&boot)
			       : boot_raw(&boot);
	image_free(&boot.kernel);
	*entry = boot.entry;
	return code;
}
