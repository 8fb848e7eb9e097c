/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* A BIOS, and for tests raw images: what a BIOS would start, or one itself. */
#include "machine/boot/boot.h"

#include <errno.h>
#include <string.h>

enum {
	SECTOR_SIZE = 512,
	SECTOR_IMAGE_MAX = 0x80000, /* of a boot sector that brings the rest along */
	ROM_UNIT = 0x1000,
	ROM_IMAGE_UNIT = 0x10000, /* to be taken for one */
	ROM_MAX = 1 << 24,
	ROM_SHADOW_MAX = 0x20000, /* the part that also shows below 1 MiB */
	ROM_SHADOW_END = 0x100000,
};

#define ROM_END 0x100000000ull

static bool is_boot_sector(const struct image *image)
{
	return image->size >= SECTOR_SIZE && image->size <= SECTOR_IMAGE_MAX &&
	       image->bytes[510] == 0x55 && image->bytes[511] == 0xaa;
}

static void *rom_place(struct boot *boot, uint64_t end, size_t size)
{
	const struct boot_request *r = boot->request;

	return r->map_rom ? r->map_rom(r->arg, end - size, size) : NULL;
}

int boot_rom(struct boot *boot)
{
	const struct image *rom = &boot->kernel;
	size_t shadow = rom->size < ROM_SHADOW_MAX ? rom->size : ROM_SHADOW_MAX;

	if (rom->size % ROM_UNIT != 0 || rom->size > ROM_MAX)
		return boot_bad_kernel(
			boot, "is no ROM: its size must be a multiple of 4 KiB, at most 16 MiB");
	void *high = rom_place(boot, ROM_END, rom->size);
	void *low = rom_place(boot, ROM_SHADOW_END, shadow);

	if (!high || !low)
		return boot_bad_kernel(boot, "finds no place below 1 MiB or 4 GiB");
	memcpy(high, rom->bytes, rom->size);
	memcpy(low, rom->bytes + rom->size - shadow, shadow);
	boot->entry.mode = BOOT_RESET;
	return 0;
}

int boot_raw(struct boot *boot)
{
	const struct image *image = &boot->kernel;

	if (is_boot_sector(image)) {
		memcpy(ram_at(boot->request->ram, BOOT_SECTOR, image->size), image->bytes,
			image->size);
		boot->entry.mode = BOOT_REAL;
		boot->entry.wants_bios = true;
		boot->entry.rip = BOOT_SECTOR;
		boot->entry.rsp = BOOT_SECTOR;
		return 0;
	}
	if (image->size % ROM_IMAGE_UNIT == 0 && image->size <= ROM_MAX)
		return boot_rom(boot);
	return boot_bad_kernel(
		boot, "is neither a boot sector (55 AA at 510) nor a ROM (a multiple of 64 KiB)");
}
