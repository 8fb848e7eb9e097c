/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * ELF kernels: those with a PVH note start in 32-bit protected mode with a hvm_start_info (Xen's
 * x86/HVM direct boot ABI), a plain 64-bit vmlinux as a Linux boot loader would start it.
 */
#include "machine/boot/boot.h"

#include <elf.h>
#include <errno.h>
#include <string.h>

#include "machine/firmware/firmware.h"

enum { XEN_ELFNOTE_PHYS32_ENTRY = 18 };

/* ---- reading ---- */

static bool in_file(size_t size, uint64_t offset, uint64_t len)
{
	return offset <= size && len <= size - offset;
}

static int parse64(const uint8_t *bytes, size_t size, struct elf *elf)
{
	Elf64_Ehdr e;
	Elf64_Phdr p;

	if (size < sizeof(e))
		return EINVAL;
	memcpy(&e, bytes, sizeof(e));
	if (e.e_phentsize != sizeof(p) || e.e_phnum > ELF_SEGMENTS_MAX ||
		!in_file(size, e.e_phoff, (uint64_t)e.e_phnum * sizeof(p)))
		return EINVAL;
	*elf = (struct elf){
		.is64 = true, .machine = e.e_machine, .entry = e.e_entry, .nsegments = e.e_phnum};
	for (unsigned i = 0; i < e.e_phnum; i++) {
		memcpy(&p, bytes + e.e_phoff + i * sizeof(p), sizeof(p));
		elf->segments[i] = (struct elf_segment){
			p.p_type, p.p_offset, p.p_paddr, p.p_filesz, p.p_memsz};
	}
	return 0;
}

static int parse32(const uint8_t *bytes, size_t size, struct elf *elf)
{
	Elf32_Ehdr e;
	Elf32_Phdr p;

	if (size < sizeof(e))
		return EINVAL;
	memcpy(&e, bytes, sizeof(e));
	if (e.e_phentsize != sizeof(p) || e.e_phnum > ELF_SEGMENTS_MAX ||
		!in_file(size, e.e_phoff, (uint64_t)e.e_phnum * sizeof(p)))
		return EINVAL;
	*elf = (struct elf){.machine = e.e_machine, .entry = e.e_entry, .nsegments = e.e_phnum};
	for (unsigned i = 0; i < e.e_phnum; i++) {
		memcpy(&p, bytes + e.e_phoff + i * sizeof(p), sizeof(p));
		elf->segments[i] = (struct elf_segment){
			p.p_type, p.p_offset, p.p_paddr, p.p_filesz, p.p_memsz};
	}
	return 0;
}

int elf_parse(const uint8_t *bytes, size_t size, struct elf *elf)
{
	int error = EINVAL;

	if (size < EI_NIDENT || memcmp(bytes, ELFMAG, SELFMAG) != 0 ||
		bytes[EI_DATA] != ELFDATA2LSB)
		return EINVAL;
	if (bytes[EI_CLASS] == ELFCLASS64)
		error = parse64(bytes, size, elf);
	else if (bytes[EI_CLASS] == ELFCLASS32)
		error = parse32(bytes, size, elf);
	if (error)
		return error;
	if (elf->machine != EM_X86_64 && elf->machine != EM_386)
		return EINVAL;
	for (unsigned i = 0; i < elf->nsegments; i++) {
		const struct elf_segment *s = &elf->segments[i];

		if ((s->type == PT_LOAD || s->type == PT_NOTE) &&
			(!in_file(size, s->offset, s->file_size) || s->memory_size < s->file_size))
			return EINVAL;
	}
	return 0;
}

int elf_load(const struct ram *ram, const uint8_t *bytes, const struct elf *elf, uint64_t low,
	uint64_t *end)
{
	*end = 0;
	for (unsigned i = 0; i < elf->nsegments; i++) {
		const struct elf_segment *s = &elf->segments[i];

		if (s->type != PT_LOAD || s->memory_size == 0)
			continue;
		uint8_t *to = boot_kernel_at(ram, low, s->paddr, s->memory_size);

		if (!to)
			return ENOSPC;
		memcpy(to, bytes + s->offset, s->file_size);
		memset(to + s->file_size, 0, s->memory_size - s->file_size);
		if (s->paddr + s->memory_size > *end)
			*end = s->paddr + s->memory_size;
	}
	return *end ? 0 : ENOSPC;
}

/* Notes: name, description and what follows each start on 4-byte boundaries. */
static uint64_t note_entry(const uint8_t *notes, uint64_t size)
{
	Elf64_Nhdr n; /* the same in both classes */

	for (uint64_t at = 0; size - at >= sizeof(n);) {
		memcpy(&n, notes + at, sizeof(n));
		uint64_t name = at + sizeof(n), desc = name + (((uint64_t)n.n_namesz + 3) & ~3ull);
		uint64_t next = desc + (((uint64_t)n.n_descsz + 3) & ~3ull);

		if (next > size)
			return 0;
		if (n.n_type == XEN_ELFNOTE_PHYS32_ENTRY && n.n_namesz == 4 &&
			memcmp(notes + name, "Xen", 4) == 0 &&
			(n.n_descsz == 4 || n.n_descsz == 8)) {
			uint64_t entry = 0;

			memcpy(&entry, notes + desc, n.n_descsz);
			return entry <= UINT32_MAX ? entry : 0;
		}
		at = next;
	}
	return 0;
}

uint64_t elf_pvh_entry(const uint8_t *bytes, const struct elf *elf)
{
	uint64_t entry = 0;

	for (unsigned i = 0; i < elf->nsegments && !entry; i++)
		if (elf->segments[i].type == PT_NOTE)
			entry = note_entry(
				bytes + elf->segments[i].offset, elf->segments[i].file_size);
	return entry;
}

/* ---- PVH ---- */

struct hvm_start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist, cmdline, rsdp, memmap;
	uint32_t memmap_entries, reserved;
};

struct hvm_module {
	uint64_t paddr, size, cmdline, reserved;
};

struct hvm_memmap {
	uint64_t address, size;
	uint32_t type, reserved;
};

/* All that PVH hands over, in one place. */
struct pvh_block {
	struct hvm_start_info info;
	struct hvm_module module;
	struct hvm_memmap memmap[E820_MAX];
};

_Static_assert(sizeof(struct hvm_start_info) == 56, "start_info.h, version 1");
_Static_assert(sizeof(struct pvh_block) <= BOOT_PARAMS - BOOT_PVH_INFO, "must fit below the next");

static void write_start_info(struct boot *boot, uint64_t initrd, uint64_t initrd_size)
{
	struct pvh_block *block = ram_at(boot->request->ram, BOOT_PVH_INFO, sizeof(*block));
	struct e820_entry map[E820_MAX];
	unsigned n = e820_fill(boot->request->ram, map);

	memset(block, 0, sizeof(*block));
	block->info = (struct hvm_start_info){
		.magic = 0x336ec578,
		.version = 1,
		.nr_modules = initrd_size > 0,
		.modlist = BOOT_PVH_INFO + offsetof(struct pvh_block, module),
		.cmdline = BOOT_CMDLINE,
		.rsdp = boot->request->rsdp,
		.memmap = BOOT_PVH_INFO + offsetof(struct pvh_block, memmap),
		.memmap_entries = n,
	};
	block->module = (struct hvm_module){.paddr = initrd, .size = initrd_size};
	for (unsigned i = 0; i < n; i++)
		block->memmap[i] = (struct hvm_memmap){map[i].address, map[i].size, map[i].type, 0};
}

static int load(struct boot *boot)
{
	const struct ram *ram = boot->request->ram;
	uint64_t end, initrd, initrd_size;
	struct elf elf;

	if (elf_parse(boot->kernel.bytes, boot->kernel.size, &elf))
		return boot_bad_kernel(boot, "is a damaged ELF file, or not for x86");
	uint64_t pvh = elf_pvh_entry(boot->kernel.bytes, &elf);

	if (!pvh && !elf.is64)
		return boot_bad_kernel(boot, "is a 32-bit ELF without a PVH entry; use a bzImage");
	if (elf_load(ram, boot->kernel.bytes, &elf, BOOT_KERNEL_MIN, &end))
		return boot_bad_kernel(boot,
			"does not fit: it must lie between 1 MiB and the end of "
			"memory; give more with -m");
	int error = boot_write_cmdline(boot, BOOT_CMDLINE_MAX);

	if (!error)
		error = boot_read_initrd(boot, end, ram->low_size, &initrd, &initrd_size);
	if (error)
		return error;
	if (pvh) {
		write_start_info(boot, initrd, initrd_size);
		boot->entry.mode = BOOT_PROTECTED;
		boot->entry.rip = pvh;
		boot->entry.rbx = BOOT_PVH_INFO;
	} else {
		error = linux_write_params(boot, NULL, 0, initrd, initrd_size);
		boot->entry.mode = BOOT_LONG;
		boot->entry.rip = elf.entry;
		boot->entry.rsi = BOOT_PARAMS;
	}
	boot_write_descriptors(boot);
	return error;
}

static bool matches(const struct image *kernel)
{
	return kernel->size >= SELFMAG && memcmp(kernel->bytes, ELFMAG, SELFMAG) == 0;
}

const struct boot_loader boot_elf = {.name = "elf", .matches = matches, .load = load};
