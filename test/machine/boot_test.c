/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Boot loaders on files made here: where things land, in which state the guest starts, and what a
 * bad file gets told.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <elf.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "machine/boot/boot.h"

enum { LOW = 64 << 20, MIB = 1 << 20 };

struct fixture {
	struct ram ram;
	struct boot_request request;
	struct boot_entry entry;
	struct machine_error error;
	char kernel[32], initrd[32];
	uint8_t file[1 << 20]; /* the kernel being made */
	size_t size;
	uint8_t rom[0x20000];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->ram = (struct ram){.low = calloc(1, LOW), .low_size = LOW};
	strcpy(f->kernel, "/tmp/hyve-kernel-XXXXXX");
	strcpy(f->initrd, "/tmp/hyve-initrd-XXXXXX");
	close(mkstemp(f->kernel));
	close(mkstemp(f->initrd));
	f->request = (struct boot_request){
		.ram = &f->ram, .kernel = f->kernel, .cmdline = "console=ttyS0", .rsdp = 0xf2400};
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unlink(f->kernel);
	unlink(f->initrd);
	free(f->ram.low);
	free(f);
	return 0;
}

static void write_file(const char *path, const void *bytes, size_t size)
{
	FILE *file = fopen(path, "w");

	assert_int_equal(fwrite(bytes, 1, size, file), size);
	assert_int_equal(fclose(file), 0);
}

static int load(struct fixture *f)
{
	write_file(f->kernel, f->file, f->size);
	f->error.text[0] = '\0';
	int code = boot_load(&f->request, &f->entry, &f->error);

	/* Every failure has its line. */
	assert_true(code == 0 || strlen(f->error.text) > 10);
	assert_null(strchr(f->error.text, '\n'));
	return code;
}

static void put(uint8_t *p, uint64_t value, unsigned bytes)
{
	for (; bytes > 0; bytes--, value >>= 8)
		*p++ = (uint8_t)value;
}

static uint64_t get(const uint8_t *p, unsigned bytes)
{
	uint64_t value = 0;

	while (bytes-- > 0)
		value = value << 8 | p[bytes];
	return value;
}

static uint8_t *at(struct fixture *f, uint64_t gpa)
{
	return f->ram.low + gpa;
}

/* ---- ELF files ---- */

struct piece {
	uint32_t type;
	uint64_t paddr, memsz;
	const void *bytes;
	size_t len;
};

static size_t make_elf64(uint8_t *to, uint64_t entry, const struct piece *pieces, unsigned n)
{
	Elf64_Ehdr e = {.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_version = 1,
		.e_entry = entry,
		.e_phoff = sizeof(e),
		.e_ehsize = sizeof(e),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = (uint16_t)n};
	size_t end = sizeof(e) + n * sizeof(Elf64_Phdr);

	memcpy(e.e_ident, "\177ELF\002\001\001", 7);
	memcpy(to, &e, sizeof(e));
	for (unsigned i = 0; i < n; i++) {
		Elf64_Phdr p = {.p_type = pieces[i].type,
			.p_offset = end,
			.p_paddr = pieces[i].paddr,
			.p_filesz = pieces[i].len,
			.p_memsz = pieces[i].memsz};

		memcpy(to + sizeof(e) + i * sizeof(p), &p, sizeof(p));
		memcpy(to + end, pieces[i].bytes, pieces[i].len);
		end += pieces[i].len;
	}
	return end;
}

static size_t make_elf32(uint8_t *to, uint32_t entry, const struct piece *pieces, unsigned n)
{
	Elf32_Ehdr e = {.e_type = ET_EXEC,
		.e_machine = EM_386,
		.e_version = 1,
		.e_entry = entry,
		.e_phoff = sizeof(e),
		.e_ehsize = sizeof(e),
		.e_phentsize = sizeof(Elf32_Phdr),
		.e_phnum = (uint16_t)n};
	size_t end = sizeof(e) + n * sizeof(Elf32_Phdr);

	memcpy(e.e_ident, "\177ELF\001\001\001", 7);
	memcpy(to, &e, sizeof(e));
	for (unsigned i = 0; i < n; i++) {
		Elf32_Phdr p = {.p_type = pieces[i].type,
			.p_offset = (uint32_t)end,
			.p_paddr = (uint32_t)pieces[i].paddr,
			.p_filesz = (uint32_t)pieces[i].len,
			.p_memsz = (uint32_t)pieces[i].memsz};

		memcpy(to + sizeof(e) + i * sizeof(p), &p, sizeof(p));
		memcpy(to + end, pieces[i].bytes, pieces[i].len);
		end += pieces[i].len;
	}
	return end;
}

static const char code[] = "the kernel's code";
/* Another vendor's note with a name that needs padding, then Xen's. */
static const uint32_t pvh_notes[] = {
	6, 2, 1, 0x4c494e55, 0x58, 0x7777, 4, 4, 18, 0x006e6558, 0x1000020};

static const struct piece linux_pieces[] = {
	{PT_LOAD, 0x1000000, 0x100000, code, sizeof(code)},
	{PT_NOTE, 0, sizeof(pvh_notes), pvh_notes, sizeof(pvh_notes)},
};

static void pvh_starts_in_protected_mode(void **state)
{
	struct fixture *f = *state;

	memset(at(f, 0x1000000), 0xcc, 0x100000);
	write_file(f->initrd, "initrd!", 7);
	f->request.initrd = f->initrd;
	f->size = make_elf64(f->file, 0x1000000, linux_pieces, 2);
	assert_int_equal(load(f), 0);
	assert_int_equal(f->entry.mode, BOOT_PROTECTED);
	assert_int_equal(f->entry.rip, 0x1000020);
	assert_memory_equal(at(f, 0x1000000), code, sizeof(code));
	for (size_t i = sizeof(code); i < 0x100000; i++) /* .bss is zeroed */
		assert_int_equal(*at(f, 0x1000000 + i), 0);
	const uint8_t *info = at(f, f->entry.rbx);

	assert_int_equal(get(info, 4), 0x336ec578);
	assert_int_equal(get(info + 4, 4), 1);
	assert_int_equal(get(info + 12, 4), 1);
	const uint8_t *module = at(f, get(info + 16, 8));

	assert_int_equal(get(module, 8) % 4096, 0);
	assert_int_equal(get(module + 8, 8), 7);
	assert_memory_equal(at(f, get(module, 8)), "initrd!", 7);
	assert_string_equal((char *)at(f, get(info + 24, 8)), "console=ttyS0");
	assert_int_equal(get(info + 32, 8), 0xf2400);
	const uint8_t *map = at(f, get(info + 40, 8));

	assert_int_equal(get(map, 8), 0);
	assert_int_equal(get(map + 8, 8), 0x9fc00);
	assert_int_equal(get(map + 16, 4), 1);
	/* Flat 32-bit code and data in the GDT. */
	assert_int_equal(get(at(f, f->entry.gdt) + BOOT_CS, 8), 0x00cf9b000000ffff);
	assert_int_equal(get(at(f, f->entry.gdt) + BOOT_DS, 8), 0x00cf93000000ffff);
}

static void elf32_with_pvh(void **state)
{
	static const struct piece pieces[] = {
		{PT_LOAD, 0x100000, sizeof(code), code, sizeof(code)},
		{PT_NOTE, 0, sizeof(pvh_notes), pvh_notes, sizeof(pvh_notes)},
	};
	struct fixture *f = *state;

	f->size = make_elf32(f->file, 0x100000, pieces, 2);
	assert_int_equal(load(f), 0);
	assert_int_equal(f->entry.rip, 0x1000020);
	f->size = make_elf32(f->file, 0x100000, pieces, 1);
	assert_int_equal(load(f), EINVAL); /* how would one start it? */
}

static void plain_vmlinux_starts_in_long_mode(void **state)
{
	struct fixture *f = *state;

	f->size = make_elf64(f->file, 0x1000040, linux_pieces, 1);
	assert_int_equal(load(f), 0);
	assert_int_equal(f->entry.mode, BOOT_LONG);
	assert_int_equal(f->entry.rip, 0x1000040);
	assert_int_equal(f->entry.rsi, BOOT_PARAMS);
	const uint8_t *params = at(f, BOOT_PARAMS);

	assert_int_equal(get(params + 0x1fe, 2), 0xaa55);
	assert_memory_equal(params + 0x202, "HdrS", 4);
	assert_int_equal(get(params + 0x228, 4), BOOT_CMDLINE);
	assert_int_equal(get(params + 0x070, 8), 0xf2400);
	assert_int_equal(params[0x1e8], 4);
}

/*
 * What the processor would find, by its own rules: every address of the first 4 GiB maps to itself.
 */
static void page_tables_map_one_to_one(void **state)
{
	struct fixture *f = *state;

	f->size = make_elf64(f->file, 0x1000000, linux_pieces, 1);
	assert_int_equal(load(f), 0);
	for (uint64_t gla = 0; gla < 1ull << 32; gla += 0x1ff123) {
		uint64_t pml4e = get(at(f, f->entry.cr3 + 8 * (gla >> 39)), 8);
		uint64_t pdpte = get(at(f, (pml4e & ~0xfffull) + 8 * (gla >> 30 & 511)), 8);
		uint64_t pde = get(at(f, (pdpte & ~0xfffull) + 8 * (gla >> 21 & 511)), 8);

		assert_int_equal(pml4e & 3, 3);
		assert_int_equal(pdpte & 0x83, 3);
		assert_int_equal(pde & 0x83, 0x83);
		assert_int_equal((pde & ~0x1fffffull) | (gla & 0x1fffff), gla);
	}
	assert_int_equal(get(at(f, f->entry.gdt) + BOOT_CS, 8), 0x00af9b000000ffff);
}

static void elf_outside_memory(void **state)
{
	static const uint64_t places[] = {
		0, 0x7000, 0xff000, LOW, LOW - 8, 0xfffff000, 1ull << 32, ~0xfffull};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
		struct piece p = {PT_LOAD, places[i], 4096, code, sizeof(code)};

		f->size = make_elf64(f->file, places[i], &p, 1);
		assert_int_equal(load(f), EINVAL);
		assert_non_null(strstr(f->error.text, f->kernel));
	}
	struct piece huge = {PT_LOAD, 0x100000, ~0ull, code, sizeof(code)};

	f->size = make_elf64(f->file, 0x100000, &huge, 1);
	assert_int_equal(load(f), EINVAL);
}

static void elf_cut_short(void **state)
{
	struct fixture *f = *state;
	size_t whole = make_elf64(f->file, 0x1000000, linux_pieces, 2);

	for (f->size = 1; f->size < whole; f->size++)
		assert_int_equal(load(f), EINVAL);
}

static void elf_damaged(void **state)
{
	struct fixture *f = *state;
	uint32_t seed = 7;
	struct elf elf;
	size_t whole = make_elf64(f->file, 0x1000000, linux_pieces, 2);
	uint8_t *copy = malloc(whole);
	uint64_t end;

	for (int i = 0; i < 200000; i++) {
		memcpy(copy, f->file, whole);
		for (int k = 0; k < 3; k++) {
			seed = seed * 1664525 + 1013904223;
			copy[(seed >> 8) % whole] = (uint8_t)(seed >> 24);
		}
		if (elf_parse(copy, whole, &elf) == 0) {
			(void)elf_pvh_entry(copy, &elf);
			if (i % 100 == 0)
				(void)elf_load(&f->ram, copy, &elf, BOOT_KERNEL_MIN, &end);
		}
	}
	free(copy);
}

/* ---- bzImages ---- */

enum { SETUP_SECTS = 3, KERNEL_AT = 4 * 512, PAYLOAD = 0x300 };

/* A bzImage of protocol 2.15 around a vmlinux of ours, packed with gzip. */
static void make_bzimage(struct fixture *f, const uint8_t *vmlinux, size_t vmlinux_size)
{
	uint8_t *h = f->file;
	z_stream z = {.next_in = (uint8_t *)vmlinux,
		.avail_in = (uInt)vmlinux_size,
		.next_out = f->file + KERNEL_AT + PAYLOAD,
		.avail_out = 100000};

	memset(f->file, 0, KERNEL_AT + PAYLOAD);
	assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 31, 8, Z_DEFAULT_STRATEGY), Z_OK);
	assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
	deflateEnd(&z);
	memset(f->file + KERNEL_AT, 0x90, PAYLOAD);
	h[0x1f1] = SETUP_SECTS;
	put(h + 0x1fe, 0xaa55, 2);
	h[0x200] = 0xeb;
	h[0x201] = 0x66;
	memcpy(h + 0x202, "HdrS", 4);
	put(h + 0x206, 0x20f, 2);
	h[0x211] = 1;
	put(h + 0x214, 0x100000, 4);
	put(h + 0x22c, 0x7fffffff, 4);
	put(h + 0x230, 0x200000, 4);
	h[0x234] = 1;
	put(h + 0x236, 0x3f, 2);
	put(h + 0x238, 2047, 4);
	put(h + 0x248, PAYLOAD, 4);
	put(h + 0x24c, z.total_out, 4);
	put(h + 0x258, 0x1000000, 8);
	put(h + 0x260, 0x800000, 4);
	f->size = KERNEL_AT + PAYLOAD + z.total_out;
}

static void make_linux(struct fixture *f)
{
	static uint8_t vmlinux[100000];

	make_bzimage(f, vmlinux, make_elf64(vmlinux, 0x1000000, linux_pieces, 2));
}

static void bzimage_is_unpacked_here(void **state)
{
	struct fixture *f = *state;

	make_linux(f);
	write_file(f->initrd, f->file, 5000);
	f->request.initrd = f->initrd;
	assert_int_equal(load(f), 0);
	assert_int_equal(f->entry.mode, BOOT_LONG);
	assert_int_equal(f->entry.rip, 0x1000000);
	assert_int_equal(f->entry.rsi, BOOT_PARAMS);
	assert_memory_equal(at(f, 0x1000000), code, sizeof(code));
	const uint8_t *params = at(f, BOOT_PARAMS);
	uint64_t initrd = get(params + 0x218, 4);

	/* The header came along, with our fields in it. */
	assert_int_equal(get(params + 0x206, 2), 0x20f);
	assert_int_equal(params[0x210], 0xff);
	assert_int_equal(get(params + 0x260, 4), 0x800000);
	assert_int_equal(params[0x1ef], 0); /* the sentinel: fields before the header are clean */
	assert_int_equal(get(params + 0x21c, 4), 5000);
	assert_int_equal(initrd % 4096, 0);
	assert_in_range(initrd, 0x1800000, LOW - 5000);
	assert_memory_equal(at(f, initrd), f->file, 5000);
	assert_string_equal((char *)at(f, get(params + 0x228, 4)), "console=ttyS0");
}

/* The documented entry, with everything where the protocol wants it. */
static void assert_packed_entry(struct fixture *f)
{
	assert_int_equal(f->entry.mode, BOOT_LONG);
	assert_int_equal(f->entry.rip, 0x1000200);
	assert_memory_equal(at(f, 0x1000000), f->file + KERNEL_AT, f->size - KERNEL_AT);
}

static void unusual_payloads_are_left_to_the_guest(void **state)
{
	static uint8_t vmlinux[100000];
	struct piece elsewhere = {PT_LOAD, 0x2000000, 0x1000, code, sizeof(code)};
	struct fixture *f = *state;

	make_bzimage(f, (const uint8_t *)"no ELF", 6);
	assert_int_equal(load(f), 0);
	assert_packed_entry(f);
	make_bzimage(f, vmlinux, make_elf64(vmlinux, 0x2000000, &elsewhere, 1)); /* not its place */
	assert_int_equal(load(f), 0);
	assert_packed_entry(f);
	make_bzimage(
		f, vmlinux, make_elf64(vmlinux, 0x5000000, linux_pieces, 1)); /* entry outside */
	assert_int_equal(load(f), 0);
	assert_packed_entry(f);
	make_bzimage(f, vmlinux, make_elf32(vmlinux, 0x1000000, linux_pieces, 1));
	assert_int_equal(load(f), 0);
	assert_packed_entry(f);
	make_linux(f);
	memcpy(f->file + KERNEL_AT + PAYLOAD, "BZh91AY", 7); /* a compressor that we lack */
	assert_int_equal(load(f), 0);
	assert_packed_entry(f);
}

static void a_32_bit_kernel_starts_in_protected_mode(void **state)
{
	struct fixture *f = *state;

	make_linux(f);
	put(f->file + 0x236, 0, 2);
	assert_int_equal(load(f), 0);
	assert_int_equal(f->entry.mode, BOOT_PROTECTED);
	assert_int_equal(f->entry.rip, 0x1000000);
	put(f->file + 0x206, 0x207, 2); /* and so does an old one, at 1 MiB */
	assert_int_equal(load(f), 0);
	assert_int_equal(f->entry.rip, 0x100000);
}

static void damaged_bzimages_are_told(void **state)
{
	struct fixture *f = *state;

	make_linux(f);
	f->file[f->size - 20] ^= 0x55;
	assert_int_equal(load(f), EINVAL);
	assert_non_null(strstr(f->error.text, "damaged"));
	make_linux(f);
	f->size -= 30;
	assert_int_equal(load(f), EINVAL);
	make_linux(f);
	put(f->file + 0x24c, 0xfffffff0, 4);
	assert_int_equal(load(f), EINVAL);
	make_linux(f);
	put(f->file + 0x248, 0xfffffff0, 4);
	assert_int_equal(load(f), EINVAL);
	make_linux(f);
	f->size = 0x280;
	assert_int_equal(load(f), EINVAL);
	make_linux(f);
	put(f->file + 0x206, 0x203, 2);
	assert_int_equal(load(f), EINVAL);
	assert_non_null(strstr(f->error.text, "2.03"));
}

static void headers_that_lie(void **state)
{
	struct fixture *f = *state;
	uint32_t seed = 3;

	make_linux(f);
	uint8_t *good = malloc(f->size);
	size_t size = f->size;

	memcpy(good, f->file, size);
	for (int i = 0; i < 3000; i++) {
		memcpy(f->file, good, size);
		for (int k = 0; k < 2; k++) {
			seed = seed * 1664525 + 1013904223;
			f->file[0x1f1 + (seed >> 8) % 0x80] = (uint8_t)(seed >> 24);
		}
		f->size = size;
		(void)load(f);
	}
	free(good);
}

static void memory_too_small(void **state)
{
	struct fixture *f = *state;

	make_linux(f);
	f->ram.low_size = 20 * MIB;
	assert_int_equal(load(f), EINVAL);
	assert_non_null(strstr(f->error.text, "24 MiB"));
	f->ram.low_size = MIB;
	assert_int_equal(load(f), EINVAL);
}

static void initrd_that_does_not_fit(void **state)
{
	struct fixture *f = *state;
	uint8_t *big = calloc(1, 45 * MIB);

	make_linux(f);
	write_file(f->initrd, big, 45 * MIB);
	f->request.initrd = f->initrd;
	assert_int_equal(load(f), ENOSPC);
	assert_non_null(strstr(f->error.text, f->initrd));
	assert_non_null(strstr(f->error.text, "-m"));
	write_file(f->initrd, big, 40 * MIB); /* exactly */
	assert_int_equal(load(f), 0);
	assert_int_equal(get(at(f, BOOT_PARAMS) + 0x218, 4), 24 * MIB);
	put(f->file + 0x22c, 40 * MIB - 1, 4); /* the kernel wants it lower */
	assert_int_equal(load(f), ENOSPC);
	write_file(f->initrd, big, MIB);
	assert_int_equal(load(f), 0);
	assert_int_equal(get(at(f, BOOT_PARAMS) + 0x218, 4), 39 * MIB);
	free(big);
}

static void long_command_lines(void **state)
{
	struct fixture *f = *state;
	char *line = malloc(70000);

	memset(line, 'x', 70000);
	line[2047] = '\0';
	f->request.cmdline = line;
	make_linux(f);
	assert_int_equal(load(f), 0);
	line[2047] = 'x';
	line[2048] = '\0';
	assert_int_equal(load(f), E2BIG);
	assert_non_null(strstr(f->error.text, "2047"));
	line[2048] = 'x';
	line[69999] = '\0';
	f->size = make_elf64(f->file, 0x1000000, linux_pieces, 2);
	assert_int_equal(load(f), E2BIG);
	free(line);
}

static void files_that_are_no_kernels(void **state)
{
	static const char *const paths[] = {
		"/nonexistent/vmlinuz", "/tmp", "/dev/null", "/dev/zero"};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		f->request.kernel = paths[i];
		assert_int_not_equal(load(f), 0);
		assert_non_null(strstr(f->error.text, paths[i]));
	}
	f->request.kernel = f->kernel;
	f->size = 0;
	assert_int_equal(load(f), EINVAL);
	for (f->size = 1; f->size < 2000; f->size += 13) {
		memset(f->file, 'a', f->size);
		assert_int_equal(load(f), EINVAL);
		assert_non_null(strstr(f->error.text, "no kernel"));
	}
}

/* ---- raw images ---- */

static void boot_sector(void **state)
{
	struct fixture *f = *state;

	f->request.kernel = NULL;
	f->request.image = f->kernel;
	memset(f->file, 0x90, 1024);
	put(f->file + 510, 0xaa55, 2);
	f->size = 1024;
	assert_int_equal(load(f), 0);
	assert_int_equal(f->entry.mode, BOOT_REAL);
	assert_int_equal(f->entry.rip, 0x7c00);
	assert_memory_equal(at(f, 0x7c00), f->file, 1024);
	f->file[510] = 0;
	assert_int_equal(load(f), EINVAL);
}

static void *rom_place(void *arg, uint64_t gpa, size_t len)
{
	struct fixture *f = arg;

	if (gpa == 0x100000ull - len && len <= 0x20000)
		return at(f, gpa);
	return gpa == 0x100000000ull - len && len <= sizeof(f->rom) ? f->rom : NULL;
}

static void rom(void **state)
{
	struct fixture *f = *state;

	f->request.kernel = NULL;
	f->request.image = f->kernel;
	f->request.map_rom = rom_place;
	f->request.arg = f;
	for (size_t i = 0; i < 0x20000; i++)
		f->file[i] = (uint8_t)(i * 31 >> 5);
	f->size = 0x20000;
	put(f->file + 510, 0, 2);
	assert_int_equal(load(f), 0);
	assert_int_equal(f->entry.mode, BOOT_RESET);
	assert_memory_equal(f->rom, f->file, 0x20000);
	assert_memory_equal(at(f, 0xe0000), f->file, 0x20000);
	f->size = 0x30000; /* no place */
	assert_int_equal(load(f), EINVAL);
	f->request.map_rom = NULL;
	assert_int_equal(load(f), EINVAL);
}

static void boot_roms_may_be_small(void **state)
{
	struct fixture *f = *state;

	f->request.kernel = NULL;
	f->request.rom = f->kernel;
	f->request.map_rom = rom_place;
	f->request.arg = f;
	memset(f->file, 0x90, 0x3000);
	put(f->file + 510, 0xaa55, 2); /* this does not make it a boot sector */
	f->size = 0x3000;
	assert_int_equal(load(f), 0);
	assert_int_equal(f->entry.mode, BOOT_RESET);
	assert_memory_equal(f->rom, f->file, 0x3000);
	assert_memory_equal(at(f, 0x100000 - 0x3000), f->file, 0x3000);
	f->size = 0x3001;
	assert_int_equal(load(f), EINVAL);
	assert_non_null(strstr(f->error.text, "4 KiB"));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(pvh_starts_in_protected_mode),
		T(elf32_with_pvh),
		T(plain_vmlinux_starts_in_long_mode),
		T(page_tables_map_one_to_one),
		T(elf_outside_memory),
		T(elf_cut_short),
		T(elf_damaged),
		T(bzimage_is_unpacked_here),
		T(unusual_payloads_are_left_to_the_guest),
		T(a_32_bit_kernel_starts_in_protected_mode),
		T(damaged_bzimages_are_told),
		T(headers_that_lie),
		T(memory_too_small),
		T(initrd_that_does_not_fit),
		T(long_command_lines),
		T(files_that_are_no_kernels),
		T(boot_sector),
		T(rom),
		T(boot_roms_may_be_small),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
