/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Boot loaders: they put a kernel (or a raw image) into guest RAM and say in which state the first
 * vcpu starts it.  For machine/ and its tests.
 */
#ifndef MACHINE_BOOT_BOOT_H
#define MACHINE_BOOT_BOOT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "machine/machine.h"
#include "machine/ram.h"

/* A file in memory. */
struct image {
	const char *path;
	uint8_t *bytes;
	size_t size;
};

struct boot_request {
	const struct ram *ram;
	const char *kernel;  /* path; NULL: a ROM or a raw image instead */
	const char *initrd;  /* path or NULL; for multiboot, a list of modules */
	const char *cmdline; /* never NULL */
	const char *rom;     /* path of a firmware image, or NULL */
	const char *image;   /* path of a boot sector or ROM, for tests */
	uint64_t rsdp;	     /* gpa; 0: no ACPI */
	/* Makes memory read-only for the guest, at a gpa in `ram` or not; NULL: it cannot be had.
	 */
	void *(*map_rom)(void *arg, uint64_t gpa, size_t len);
	void *arg;
};

enum boot_mode {
	BOOT_RESET,	/* as after power-on, at F000:FFF0 of the ROM */
	BOOT_REAL,	/* real mode at rip, segments 0 */
	BOOT_PROTECTED, /* 32-bit flat segments, paging off */
	BOOT_LONG,	/* 64-bit, paging from cr3 */
};

struct boot_entry {
	enum boot_mode mode;
	uint64_t rip, rsp, rax, rbx, rsi, cr3;
	uint64_t gdt; /* its gpa; BOOT_GDT_SIZE bytes */
	bool wants_bios; /* real mode's interrupts are to work as a BIOS leaves them */
};

enum { BOOT_CS = 0x10, BOOT_DS = 0x18, BOOT_TR = 0x20, BOOT_GDT_SIZE = 0x30 };

/* Where the loaders' own structures lie, below the EBDA. */
enum {
	BOOT_GDT = 0x500,
	BOOT_PVH_INFO = 0x6000, /* or multiboot's */
	BOOT_PARAMS = 0x7000,
	BOOT_SECTOR = 0x7c00,
	BOOT_PML4 = 0x9000, /* then a page of PDPTEs and four of PDEs */
	BOOT_CMDLINE = 0x20000,
	BOOT_CMDLINE_MAX = 0x10000,
	BOOT_STACK = 0x8ff0,
	BOOT_KERNEL_MIN = 0x100000,
	BOOT_KERNEL_LOW = 0x7000, /* for the kinds that may lie below, too */
};

/* Loads what the request names. 0, or an errno and a line in *error. */
int boot_load(const struct boot_request *request, struct boot_entry *entry,
	struct machine_error *error) VMM_MUST_CHECK;

/* ---- One loader ---- */

struct boot {
	const struct boot_request *request;
	struct image kernel;
	struct boot_entry entry;
	struct machine_error *error;
};

struct boot_loader {
	const char *name;
	bool (*matches)(const struct image *kernel);
	int (*load)(struct boot *boot);
};

extern const struct boot_loader boot_linux, boot_multiboot, boot_elf;

/* A boot sector to 0x7C00, or a ROM. */
int boot_raw(struct boot *boot);
/* A ROM that ends at 4 GiB, its last 128 KiB at 1 MiB, too. */
int boot_rom(struct boot *boot);

/* ---- What loaders share ---- */

/* GDT with BOOT_CS and BOOT_DS for the mode, and for BOOT_LONG page tables for the first 4 GiB,
 * 1:1. */
void boot_write_descriptors(struct boot *boot);
int boot_write_cmdline(struct boot *boot, size_t limit);
/*
 * Reads the initrd to the highest page-aligned place in [low, high).  *size 0: there is none.
 */
int boot_read_initrd(struct boot *boot, uint64_t low, uint64_t high, uint64_t *gpa, uint64_t *size);
/* Reads a file to the lowest page-aligned place from `low` on, below 4 GiB. */
int boot_read_module(
	struct boot *boot, const char *path, uint64_t low, uint64_t *gpa, uint64_t *size);
/* "KERNEL: ..." into *error. */
int boot_bad_kernel(struct boot *boot, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* ELF, both classes; also the vmlinux inside a bzImage. */
struct elf_segment {
	uint32_t type;
	uint64_t offset, paddr, file_size, memory_size;
};

enum { ELF_SEGMENTS_MAX = 64 };

struct elf {
	bool is64;
	uint16_t machine;
	uint64_t entry;
	unsigned nsegments;
	struct elf_segment segments[ELF_SEGMENTS_MAX];
};

/* EINVAL: no x86 ELF, or cut short. All segments lie inside `size`. */
int elf_parse(const uint8_t *bytes, size_t size, struct elf *elf);
/*
 * Copies PT_LOADs; *end: the gpa behind the highest.  ENOSPC: outside RAM, or below `low`, or below
 * 1 MiB where loaders and firmware have their own.
 */
int elf_load(const struct ram *ram, const uint8_t *bytes, const struct elf *elf, uint64_t low,
	uint64_t *end);
/* The entry point of the PVH note; 0: there is none. */
uint64_t elf_pvh_entry(const uint8_t *bytes, const struct elf *elf);

/* The Linux boot parameters at BOOT_PARAMS, the file's setup header copied in if there is one. */
int linux_write_params(struct boot *boot, const uint8_t *header, size_t header_size,
	uint64_t initrd, uint64_t initrd_size);

/*
 * Unpacks a kernel's payload: a gzip, xz, lzma, lz4 or zstd stream, then its unpacked size in 4
 * bytes. *out is malloc'ed.  ENOTSUP: another format; EILSEQ: damaged; E2BIG: over `limit` bytes;
 * ENOMEM.
 */
int boot_unpack(const uint8_t *bytes, size_t size, size_t limit, uint8_t **out, size_t *out_size);

/* Host address of a piece of a kernel, NULL where elf_load would say ENOSPC. */
void *boot_kernel_at(const struct ram *ram, uint64_t low, uint64_t gpa, uint64_t size);

/* Files. An errno and a line in *error. */
int image_read(struct image *image, const char *path, size_t limit, struct machine_error *error);
void image_free(struct image *image);

#endif
