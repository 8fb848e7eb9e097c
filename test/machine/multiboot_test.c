/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Multiboot kernels made here: what is loaded where, what the kernel is told, and what a bad header
 * gets told.  Offsets are those of the specification's tables.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <elf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "machine/boot/boot.h"

enum { LOW = 16 << 20, MAGIC = 0x1badb002, ADDRESSES = 1 << 16, HEADER_AT = 0x100 };

struct fixture {
	struct ram ram;
	struct boot_request request;
	struct boot_entry entry;
	struct machine_error error;
	char kernel[32], module[2][32];
	uint8_t file[0x8000];
	size_t size;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	f->ram = (struct ram){.low = malloc(LOW), .low_size = LOW};
	memset(f->ram.low, 0xcc, LOW);
	strcpy(f->kernel, "/tmp/hyve-kernel-XXXXXX");
	strcpy(f->module[0], "/tmp/hyve-mod-XXXXXX");
	strcpy(f->module[1], "/tmp/hyve,mod-XXXXXX");
	close(mkstemp(f->kernel));
	close(mkstemp(f->module[0]));
	close(mkstemp(f->module[1]));
	f->request = (struct boot_request){.ram = &f->ram, .kernel = f->kernel, .cmdline = "a b"};
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	unlink(f->kernel);
	unlink(f->module[0]);
	unlink(f->module[1]);
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

	assert_true(code == 0 || strlen(f->error.text) > 10);
	assert_null(strchr(f->error.text, '\n'));
	return code;
}

static uint8_t *at(struct fixture *f, uint64_t gpa)
{
	return f->ram.low + gpa;
}

static uint32_t word(const uint8_t *p)
{
	uint32_t value;

	memcpy(&value, p, 4);
	return value;
}

static void put_word(uint8_t *p, uint32_t value)
{
	memcpy(p, &value, 4);
}

static void put_header(uint8_t *p, uint32_t flags)
{
	put_word(p, MAGIC);
	put_word(p + 4, flags);
	put_word(p + 8, 0u - MAGIC - flags);
}

/* A file of f->size bytes with addresses in its header. */
static void make_flat(struct fixture *f, uint32_t load_addr, uint32_t load_end, uint32_t bss_end)
{
	uint8_t *h = f->file + HEADER_AT;

	f->size = 0x1000;
	for (size_t i = 0; i < f->size; i++)
		f->file[i] = (uint8_t)(i * 7 + 1);
	put_header(h, ADDRESSES | 3);
	put_word(h + 12, load_addr + HEADER_AT);
	put_word(h + 16, load_addr);
	put_word(h + 20, load_end);
	put_word(h + 24, bss_end);
	put_word(h + 28, load_addr + 0x200);
}

static void make_elf32(struct fixture *f, uint32_t paddr, uint32_t memsz)
{
	const Elf32_Ehdr e = {.e_ident = "\177ELF\001\001\001",
		.e_type = ET_EXEC,
		.e_machine = EM_386,
		.e_entry = paddr + 0x180,
		.e_phoff = sizeof(e),
		.e_phentsize = sizeof(Elf32_Phdr),
		.e_phnum = 1};
	const Elf32_Phdr p = {.p_type = PT_LOAD,
		.p_paddr = paddr,
		.p_vaddr = 0xc0000000,
		.p_filesz = 0x1000,
		.p_memsz = memsz};

	f->size = 0x1000;
	memset(f->file, 0x5a, f->size);
	memcpy(f->file, &e, sizeof(e));
	memcpy(f->file + sizeof(e), &p, sizeof(p));
	put_header(f->file + HEADER_AT, 3);
}

static void make_elf64(struct fixture *f, uint64_t paddr, uint64_t entry)
{
	const Elf64_Ehdr e = {.e_ident = "\177ELF\002\001\001",
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_entry = entry,
		.e_phoff = sizeof(e),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 1};
	const Elf64_Phdr p = {
		.p_type = PT_LOAD, .p_paddr = paddr, .p_filesz = 0x1000, .p_memsz = 0x1000};

	f->size = 0x1000;
	memset(f->file, 0x5a, f->size);
	memcpy(f->file, &e, sizeof(e));
	memcpy(f->file + sizeof(e), &p, sizeof(p));
	put_header(f->file + HEADER_AT, 3);
}

static void assert_filled(struct fixture *f, uint64_t gpa, uint64_t len, uint8_t byte)
{
	for (uint64_t i = 0; i < len; i++)
		assert_int_equal(*at(f, gpa + i), byte);
}

static void elf_is_loaded_by_its_segments(void **state)
{
	struct fixture *f = *state;

	make_elf32(f, 0x200000, 0x2000);
	assert_int_equal(load(f), 0);
	assert_int_equal(f->entry.mode, BOOT_PROTECTED);
	assert_int_equal(f->entry.rip, 0x200180);
	assert_int_equal(f->entry.rax, 0x2badb002);
	assert_true(f->entry.wants_bios);
	assert_memory_equal(at(f, 0x200000), f->file, 0x1000);
	assert_filled(f, 0x201000, 0x1000, 0);
	assert_filled(f, 0x202000, 0x1000, 0xcc);
	make_elf64(f, 0x300000, 0x300123);
	assert_int_equal(load(f), 0);
	assert_int_equal(f->entry.mode, BOOT_PROTECTED);
	assert_int_equal(f->entry.rip, 0x300123);
	make_elf64(f, 0x300000, 0x100000000);
	assert_int_equal(load(f), EINVAL);
}

static void a_header_with_addresses_needs_no_elf(void **state)
{
	struct fixture *f = *state;

	make_flat(f, 0x400000, 0x400800, 0x400c00);
	assert_int_equal(load(f), 0);
	assert_int_equal(f->entry.rip, 0x400200);
	assert_memory_equal(at(f, 0x400000), f->file, 0x800);
	assert_filled(f, 0x400800, 0x400, 0);
	assert_filled(f, 0x400c00, 0x400, 0xcc);
	/* No ends: the whole file, no .bss. */
	make_flat(f, 0x500000, 0, 0);
	assert_int_equal(load(f), 0);
	assert_memory_equal(at(f, 0x500000), f->file, 0x1000);
	assert_filled(f, 0x501000, 0x100, 0xcc);
	/* The text begins behind the file's begin. */
	put_word(f->file + HEADER_AT + 16, 0x500000 + HEADER_AT);
	assert_int_equal(load(f), 0);
	assert_memory_equal(at(f, 0x500000 + HEADER_AT), f->file + HEADER_AT, 0xf00);
	/* Addresses win over the ELF file around them (3.1.3). */
	make_elf32(f, 0x200000, 0x1000);
	put_header(f->file + HEADER_AT, ADDRESSES);
	put_word(f->file + HEADER_AT + 12, 0x600000 + HEADER_AT);
	put_word(f->file + HEADER_AT + 16, 0x600000);
	put_word(f->file + HEADER_AT + 20, 0);
	put_word(f->file + HEADER_AT + 24, 0);
	put_word(f->file + HEADER_AT + 28, 0x600010);
	assert_int_equal(load(f), 0);
	assert_int_equal(f->entry.rip, 0x600010);
	assert_memory_equal(at(f, 0x600000), f->file, 0x1000);
}

static void conventional_memory_takes_small_kernels(void **state)
{
	static const uint32_t bad[] = {0x500, 0x6000, 0x1f800, 0x20000, 0x2f000, 0x9f000, 0xf0000};
	struct fixture *f = *state;

	make_flat(f, 0x8000, 0, 0x1f000);
	assert_int_equal(load(f), 0);
	assert_memory_equal(at(f, 0x8000), f->file, 0x1000);
	make_elf32(f, 0x30000, 0x6fc00);
	assert_int_equal(load(f), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		make_elf32(f, bad[i], 0x1000);
		assert_int_equal(load(f), EINVAL);
	}
}

/* 3.3. */
static void the_kernel_is_told_of_the_machine(void **state)
{
	struct fixture *f = *state;
	char expected[64];

	make_elf32(f, 0x200000, 0x1000);
	assert_int_equal(load(f), 0);
	const uint8_t *info = at(f, f->entry.rbx);

	assert_int_equal(word(info), 0x24f);
	assert_int_equal(word(info + 4), 639);
	assert_int_equal(word(info + 8), 15 << 10);
	assert_int_equal(word(info + 12), 0x8000ffff);
	snprintf(expected, sizeof(expected), "%s a b", f->kernel);
	assert_string_equal((char *)at(f, word(info + 16)), expected);
	assert_int_equal(word(info + 20), 0);
	assert_string_equal((char *)at(f, word(info + 64)), "hyve");
	const uint8_t *map = at(f, word(info + 48));
	uint32_t len = word(info + 44), ram = 0;

	for (uint32_t i = 0; i < len; i += word(map + i) + 4) {
		assert_int_equal(word(map + i), 20);
		assert_int_equal(word(map + i + 8), 0); /* all below 4 GiB here */
		if (word(map + i + 20) == 1)
			ram += word(map + i + 12);
	}
	assert_int_equal(len % 24, 0);
	assert_int_equal(ram, LOW - (0x100000 - 0x9fc00));
}

static void modules_have_files_and_arguments(void **state)
{
	struct fixture *f = *state;
	char list[128], twice[64];

	make_elf32(f, 0x200000, 0x1234);
	write_file(f->module[0], "first", 5);
	write_file(f->module[1], "the second", 10);
	snprintf(twice, sizeof(twice), "/tmp/hyve,,%s", strchr(f->module[1], ',') + 1);
	snprintf(list, sizeof(list), "%s x=1 y,%s", f->module[0], twice);
	f->request.initrd = list;
	assert_int_equal(load(f), 0);
	const uint8_t *info = at(f, f->entry.rbx);

	assert_int_equal(word(info + 20), 2);
	const uint8_t *m = at(f, word(info + 24));

	assert_int_equal(word(m), 0x202000);
	assert_int_equal(word(m + 4), 0x202005);
	assert_memory_equal(at(f, word(m)), "first", 5);
	snprintf(list, sizeof(list), "%s x=1 y", f->module[0]);
	assert_string_equal((char *)at(f, word(m + 8)), list);
	assert_int_equal(word(m + 16), 0x203000);
	assert_int_equal(word(m + 20), 0x20300a);
	assert_memory_equal(at(f, word(m + 16)), "the second", 10);
	assert_string_equal((char *)at(f, word(m + 24)), f->module[1]);
}

static void modules_stay_above_1_mib(void **state)
{
	struct fixture *f = *state;

	make_flat(f, 0x8000, 0, 0);
	write_file(f->module[0], "first", 5);
	f->request.initrd = f->module[0];
	assert_int_equal(load(f), 0);
	assert_int_equal(word(at(f, word(at(f, f->entry.rbx) + 24))), 0x100000);
}

static void bad_modules_are_told(void **state)
{
	struct fixture *f = *state;
	char list[8192];

	make_elf32(f, 0x200000, LOW - 0x200000 - 4);
	write_file(f->module[0], "first", 5);
	f->request.initrd = f->module[0];
	assert_int_equal(load(f), ENOSPC);
	assert_non_null(strstr(f->error.text, "-m"));
	make_elf32(f, 0x200000, 0x1000);
	f->request.initrd = "/nonexistent x";
	assert_int_equal(load(f), ENOENT);
	assert_non_null(strstr(f->error.text, "/nonexistent:"));
	list[0] = '\0';
	for (int i = 0; i < 33; i++)
		sprintf(list + strlen(list), "%s%s", i ? "," : "", f->module[0]);
	f->request.initrd = list;
	assert_int_equal(load(f), E2BIG);
	*strrchr(list, ',') = '\0';
	assert_int_equal(load(f), 0);
	assert_int_equal(word(at(f, f->entry.rbx) + 20), 32);
	memset(list, 'x', sizeof(list));
	list[sizeof(list) - 1] = '\0';
	assert_int_equal(load(f), E2BIG);
}

static void headers_are_found_where_they_may_be(void **state)
{
	struct fixture *f = *state;

	make_flat(f, 0x400000, 0, 0);
	memset(f->file + HEADER_AT, 0, 32);
	f->size = sizeof(f->file);
	put_header(f->file + 8192 - 12, 0); /* the last place */
	assert_int_equal(load(f), EINVAL);
	assert_non_null(strstr(f->error.text, "multiboot header without addresses"));
	put_word(f->file + 8192 - 12, 0);
	put_header(f->file + 8192 - 8, 0); /* its end would lie behind */
	assert_int_equal(load(f), EINVAL);
	assert_non_null(strstr(f->error.text, "is no kernel"));
	put_header(f->file + 0x102, 0); /* not aligned */
	assert_int_equal(load(f), EINVAL);
	assert_non_null(strstr(f->error.text, "is no kernel"));
	put_header(f->file + 0x200, 0);
	f->file[0x208]++; /* checksum */
	assert_int_equal(load(f), EINVAL);
	assert_non_null(strstr(f->error.text, "is no kernel"));
}

static void headers_that_lie(void **state)
{
	struct fixture *f = *state;

	make_flat(f, 0x400000, 0x401001, 0); /* a byte more than the file */
	assert_int_equal(load(f), EINVAL);
	make_flat(f, 0x400000, 0x3fffff, 0);
	assert_int_equal(load(f), EINVAL);
	make_flat(f, 0x400000, 0, 0);
	put_word(f->file + HEADER_AT + 12, 0x3ff000); /* below where it is loaded */
	assert_int_equal(load(f), EINVAL);
	put_word(f->file + HEADER_AT + 12, 0x400101 + HEADER_AT); /* before the file's begin */
	assert_int_equal(load(f), EINVAL);
	make_flat(f, LOW - 0x800, 0, 0);
	assert_int_equal(load(f), EINVAL);
	make_flat(f, 0xfffff000, 0, 0);
	assert_int_equal(load(f), EINVAL);
	make_flat(f, 0x400000, 0, 0xffffffff);
	assert_int_equal(load(f), EINVAL);
	make_flat(f, 0x400000, 0, 0);
	put_header(f->file + HEADER_AT, ADDRESSES | 8); /* what no loader knows */
	assert_int_equal(load(f), EINVAL);
	assert_non_null(strstr(f->error.text, "0x8"));
	put_header(f->file + HEADER_AT, ADDRESSES | 7); /* a video mode is only a wish */
	assert_int_equal(load(f), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(elf_is_loaded_by_its_segments),
		T(a_header_with_addresses_needs_no_elf),
		T(conventional_memory_takes_small_kernels),
		T(the_kernel_is_told_of_the_machine),
		T(modules_have_files_and_arguments),
		T(modules_stay_above_1_mib),
		T(bad_modules_are_told),
		T(headers_are_found_where_they_may_be),
		T(headers_that_lie),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
