/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Kernel files and raw images.  The first byte says what the request looks like, the rest is the
 * file.  Guest RAM is a block of the heap, so that the sanitizers see a store outside.
 */
#include <elf.h>

#include "fuzz/fuzz.h"
#include "fuzz/packers.h"
#include "machine/boot/boot.h"

enum {
	RAM_SIZE = 8 << 20,
	WITH_INITRD = 1,
	WITH_RSDP = 2,
	RAW_IMAGE = 4,
	NO_ROM = 8,
	ROM = 16, /* together with RAW_IMAGE */
};

struct world {
	struct ram ram;
	struct fuzz_file kernel, initrd;
	uint8_t *rom, *low_rom;
};

static struct world *world_get(void)
{
	static struct world world;

	if (world.ram.low)
		return &world;
	world.ram = (struct ram){.low = calloc(1, RAM_SIZE), .low_size = RAM_SIZE};
	FUZZ_CHECK(world.ram.low != NULL);
	fuzz_file_create(&world.kernel);
	fuzz_file_create(&world.initrd);
	fuzz_file_write(&world.initrd, "initrd!", 7);
	return &world;
}

static void *map_rom(void *arg, uint64_t gpa, size_t len)
{
	struct world *world = arg;

	uint8_t **rom = gpa < PC_LOWMEM_LIMIT ? &world->low_rom : &world->rom;

	FUZZ_CHECK(gpa + len == PC_HIGHMEM_BASE || (gpa + len == 1 << 20 && len <= 0x20000));
	FUZZ_CHECK(!*rom && gpa % 4096 == 0);
	*rom = malloc(len);
	return *rom;
}

static void check(const struct boot_entry *entry, const struct world *world)
{
	if (entry->mode == BOOT_RESET)
		return;
	FUZZ_CHECK(entry->rsp < RAM_SIZE && entry->rsi < RAM_SIZE && entry->rbx < RAM_SIZE);
	FUZZ_CHECK(entry->cr3 == 0 || ram_at(&world->ram, entry->cr3, 0x1000));
	FUZZ_CHECK(entry->rax == 0 || entry->rip <= UINT32_MAX);
	FUZZ_CHECK(entry->gdt == 0 || ram_at(&world->ram, entry->gdt, BOOT_GDT_SIZE));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct world *world = world_get();
	struct machine_error error = {""};
	struct boot_entry entry;

	if (size < 1)
		return 0;
	fuzz_file_write(&world->kernel, data + 1, size - 1);
	const struct boot_request request = {
		.ram = &world->ram,
		.kernel = *data & RAW_IMAGE ? NULL : world->kernel.path,
		.rom = (*data & (RAW_IMAGE | ROM)) == (RAW_IMAGE | ROM) ? world->kernel.path : NULL,
		.image = *data & RAW_IMAGE ? world->kernel.path : NULL,
		.initrd = *data & WITH_INITRD ? world->initrd.path : NULL,
		.cmdline = "console=ttyS0",
		.rsdp = *data & WITH_RSDP ? 0xf2400 : 0,
		.map_rom = *data & NO_ROM ? NULL : map_rom,
		.arg = world,
	};

	if (boot_load(&request, &entry, &error) == 0)
		check(&entry, world);
	else
		FUZZ_CHECK(error.text[0] != '\0' && !strchr(error.text, '\n'));
	free(world->rom);
	free(world->low_rom);
	world->rom = world->low_rom = NULL;
	return 0;
}

/* ---- Seeds ---- */

static const uint32_t notes[] = {
	6, 2, 1, 0x4c494e55, 0x58, 0x7777, 4, 4, 18, 0x006e6558, 0x100020};

static size_t seed_elf64(uint8_t *to, bool pvh)
{
	const Elf64_Ehdr e = {.e_ident = "\177ELF\002\001\001",
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_entry = 0x100000,
		.e_phoff = sizeof(e),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = pvh ? 2 : 1};
	const size_t at = sizeof(e) + 2 * sizeof(Elf64_Phdr);
	const Elf64_Phdr p[2] = {
		{.p_type = PT_LOAD, .p_paddr = 0x100000, .p_filesz = at, .p_memsz = 0x2000},
		{.p_type = PT_NOTE, .p_offset = at, .p_filesz = sizeof(notes),
			.p_memsz = sizeof(notes)},
	};

	memcpy(to, &e, sizeof(e));
	memcpy(to + sizeof(e), p, sizeof(p));
	memcpy(to + at, notes, sizeof(notes));
	return at + sizeof(notes);
}

static size_t seed_elf32(uint8_t *to)
{
	const Elf32_Ehdr e = {.e_ident = "\177ELF\001\001\001",
		.e_type = ET_EXEC,
		.e_machine = EM_386,
		.e_entry = 0x100000,
		.e_phoff = sizeof(e),
		.e_phentsize = sizeof(Elf32_Phdr),
		.e_phnum = 2};
	const size_t at = sizeof(e) + 2 * sizeof(Elf32_Phdr);
	const Elf32_Phdr p[2] = {
		{.p_type = PT_LOAD, .p_paddr = 0x100000, .p_filesz = (Elf32_Word)at,
			.p_memsz = 0x2000},
		{.p_type = PT_NOTE, .p_offset = (Elf32_Off)at, .p_filesz = sizeof(notes),
			.p_memsz = sizeof(notes)},
	};

	memcpy(to, &e, sizeof(e));
	memcpy(to + sizeof(e), p, sizeof(p));
	memcpy(to + at, notes, sizeof(notes));
	return at + sizeof(notes);
}

static void put(uint8_t *p, uint64_t value, unsigned bytes)
{
	for (; bytes > 0; bytes--, value >>= 8)
		*p++ = (uint8_t)value;
}

/* A multiboot header in an ELF file, or with addresses of its own. */
static size_t seed_multiboot(uint8_t *to, bool addresses)
{
	enum { AT = 0x100, SIZE = 0x400 };
	uint32_t flags = addresses ? 0x10003 : 3;
	const uint32_t header[] = {0x1badb002, flags, 0u - 0x1badb002 - flags, 0x200000 + AT,
		0x200000, 0x200000 + SIZE, 0x201000, 0x200010};

	seed_elf32(to);
	memcpy(to + AT, header, addresses ? sizeof(header) : 12);
	return SIZE;
}

/* boot.rst: one setup sector, then the payload; `packer` past the last one: none. */
static size_t seed_bzimage(uint8_t *to, size_t room, unsigned version, unsigned packer)
{
	enum { KERNEL_AT = 1024 };
	uint8_t elf[512];
	size_t n = seed_elf64(elf, false);
	size_t packed = packer < FUZZ_PACKERS
				? fuzz_pack(packer, elf, n, to + KERNEL_AT, room - KERNEL_AT)
				: 64;

	to[0x1f1] = 1;
	put(to + 0x1fe, 0xaa55, 2);
	to[0x201] = 0x6a;
	memcpy(to + 0x202, "HdrS", 4);
	put(to + 0x206, version, 2);
	to[0x211] = 1;
	put(to + 0x22c, RAM_SIZE - 1, 4);
	to[0x234] = 1;
	to[0x236] = packer < FUZZ_PACKERS;
	put(to + 0x238, 255, 4);
	put(to + 0x24c, packer < FUZZ_PACKERS ? packed : 0, 4);
	put(to + 0x258, 0x100000, 8);
	put(to + 0x260, 0x100000, 4);
	return KERNEL_AT + packed;
}

static size_t seed_boot_sector(uint8_t *to)
{
	put(to + 510, 0xaa55, 2);
	return 512;
}

size_t fuzz_seed(unsigned n, uint8_t *to, size_t room)
{
	memset(to, 0, room);
	*to++ = n < 5 + FUZZ_PACKERS + 2 ? WITH_INITRD | WITH_RSDP : RAW_IMAGE;
	room--;
	if (n < 2)
		return 1 + seed_elf64(to, n == 0);
	if (n == 2)
		return 1 + seed_elf32(to);
	if (n < 5)
		return 1 + seed_multiboot(to, n == 3);
	n -= 5;
	if (n <= FUZZ_PACKERS)
		return 1 + seed_bzimage(to, room, 0x20f, n);
	n -= FUZZ_PACKERS + 1;
	if (n == 0)
		return 1 + seed_bzimage(to, room, 0x206, FUZZ_PACKERS);
	if (n == 1)
		return 1 + seed_boot_sector(to);
	to[-1] |= ROM; /* a ROM of zeroes */
	return n == 2 ? 1 + 4096 : 0;
}
