/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Linux's bzImage (Documentation/arch/x86/boot.rst).  It holds the real kernel, vmlinux, as a
 * compressed ELF file behind an unpacker.  Unpacking on the host saves the guest some hundred
 * million instructions, and we enter vmlinux as its own unpacker would: long mode, the first 4 GiB
 * mapped 1:1, boot_params in RSI.  Without relocation the kernel stays at its link address: no
 * KASLR. Whatever looks unusual goes the documented way, through the unpacker in the file.
 */
#include "machine/boot/boot.h"

#include <elf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "machine/firmware/firmware.h"

/* The setup header; offsets are the same in the file and in boot_params. */
enum {
	HDR_START = 0x1f1,
	HDR_SETUP_SECTS = 0x1f1,
	HDR_BOOT_FLAG = 0x1fe,
	HDR_JUMP_LEN = 0x201, /* the header ends that many bytes behind 0x202 */
	HDR_MAGIC = 0x202,
	HDR_VERSION = 0x206,
	HDR_TYPE_OF_LOADER = 0x210,
	HDR_LOADFLAGS = 0x211,
	HDR_RAMDISK_IMAGE = 0x218,
	HDR_RAMDISK_SIZE = 0x21c,
	HDR_CMD_LINE_PTR = 0x228,
	HDR_INITRD_ADDR_MAX = 0x22c,
	HDR_KERNEL_ALIGNMENT = 0x230,
	HDR_RELOCATABLE = 0x234,
	HDR_XLOADFLAGS = 0x236,
	HDR_CMDLINE_SIZE = 0x238,
	HDR_PAYLOAD_OFFSET = 0x248,
	HDR_PAYLOAD_LENGTH = 0x24c,
	HDR_PREF_ADDRESS = 0x258,
	HDR_INIT_SIZE = 0x260,
	HDR_END_MAX = 0x290, /* boot_params reserves that much */

	PARAMS_SIZE = 0x1000,
	PARAMS_RSDP = 0x070,
	PARAMS_E820_COUNT = 0x1e8,
	PARAMS_E820 = 0x2d0,

	LOADER_UNREGISTERED = 0xff,
	LOADED_HIGH = 1, /* of loadflags */
	XLF_KERNEL_64 = 1,
	ENTRY_64 = 0x200,

	UNPACKED_MAX = 512 << 20,
};

static uint32_t get(const uint8_t *p, unsigned bytes)
{
	uint32_t value = 0;

	while (bytes-- > 0)
		value = value << 8 | p[bytes];
	return value;
}

static void put(uint8_t *p, uint64_t value, unsigned bytes)
{
	for (; bytes > 0; bytes--, value >>= 8)
		*p++ = (uint8_t)value;
}

/* What a header says, with what older protocols leave out filled in. */
struct bzimage {
	unsigned version;
	size_t header_size; /* of the part copied into boot_params */
	size_t kernel_at;   /* file offset of the protected-mode part */
	size_t payload_at, payload_size;
	uint64_t load_address, memory_size;
	uint64_t initrd_max; /* the last byte's address may not exceed it */
	size_t cmdline_max;
	bool entry64;
};

static int parse(struct boot *boot, struct bzimage *bz)
{
	const struct image *k = &boot->kernel;
	const uint8_t *h = k->bytes;
	unsigned sectors = h[HDR_SETUP_SECTS] ? h[HDR_SETUP_SECTS] : 4;

	bz->version = get(h + HDR_VERSION, 2);
	bz->kernel_at = (sectors + 1) * 512;
	if (bz->kernel_at >= k->size || k->size < HDR_END_MAX)
		return boot_bad_kernel(boot, "is cut short; copy it again");
	if (bz->version < 0x206 || !(h[HDR_LOADFLAGS] & LOADED_HIGH))
		return boot_bad_kernel(boot,
			"is older than Linux 2.6.22 (boot protocol %u.%02u); use a newer one",
			bz->version >> 8, bz->version & 0xff);
	bz->header_size = HDR_MAGIC + h[HDR_JUMP_LEN] - HDR_START;
	if (bz->header_size > HDR_END_MAX - HDR_START)
		bz->header_size = HDR_END_MAX - HDR_START;
	bz->initrd_max = get(h + HDR_INITRD_ADDR_MAX, 4);
	bz->cmdline_max = get(h + HDR_CMDLINE_SIZE, 4);
	bz->load_address = BOOT_KERNEL_MIN;
	/* Before 2.10 nobody says how much it needs: room for a large one. */
	bz->memory_size = 4 * (k->size - bz->kernel_at);
	if (bz->version >= 0x20a) {
		bz->memory_size = get(h + HDR_INIT_SIZE, 4);
		if (h[HDR_RELOCATABLE])
			bz->load_address = get(h + HDR_PREF_ADDRESS, 4) |
					   (uint64_t)get(h + HDR_PREF_ADDRESS + 4, 4) << 32;
	}
	if (bz->version >= 0x208) {
		bz->payload_at = bz->kernel_at + get(h + HDR_PAYLOAD_OFFSET, 4);
		bz->payload_size = get(h + HDR_PAYLOAD_LENGTH, 4);
	}
	bz->entry64 = bz->version >= 0x20c && (get(h + HDR_XLOADFLAGS, 2) & XLF_KERNEL_64);
	return 0;
}

int linux_write_params(struct boot *boot, const uint8_t *header, size_t header_size,
	uint64_t initrd, uint64_t initrd_size)
{
	uint8_t *params = ram_at(boot->request->ram, BOOT_PARAMS, PARAMS_SIZE);
	struct e820_entry map[E820_MAX];

	if (!params)
		return boot_bad_kernel(boot, "does not fit into memory; give more with -m");
	memset(params, 0, PARAMS_SIZE);
	if (header) {
		memcpy(params + HDR_START, header, header_size);
	} else {
		/* A bare vmlinux: the fields it looks at. */
		put(params + HDR_BOOT_FLAG, 0xaa55, 2);
		memcpy(params + HDR_MAGIC, "HdrS", 4);
		put(params + HDR_VERSION, 0x20c, 2);
		put(params + HDR_KERNEL_ALIGNMENT, 0x1000000, 4);
		params[HDR_LOADFLAGS] = LOADED_HIGH;
	}
	params[HDR_TYPE_OF_LOADER] = LOADER_UNREGISTERED;
	put(params + HDR_RAMDISK_IMAGE, initrd, 4);
	put(params + HDR_RAMDISK_SIZE, initrd_size, 4);
	put(params + HDR_CMD_LINE_PTR, BOOT_CMDLINE, 4);
	put(params + PARAMS_RSDP, boot->request->rsdp, 8);
	unsigned n = e820_fill(boot->request->ram, map);

	params[PARAMS_E820_COUNT] = (uint8_t)n;
	memcpy(params + PARAMS_E820, map, n * sizeof(map[0]));
	return 0;
}

/* Is this ELF the 64-bit vmlinux that the unpacker would start at load_address? */
static bool is_direct_vmlinux(const struct elf *elf, const struct bzimage *bz)
{
	if (!elf->is64 || elf->machine != EM_X86_64)
		return false;
	for (unsigned i = 0; i < elf->nsegments; i++) {
		const struct elf_segment *s = &elf->segments[i];
		uint64_t end = s->paddr + s->memory_size;

		if (s->type == PT_LOAD && (s->paddr < bz->load_address || end < s->paddr ||
						  end > bz->load_address + bz->memory_size))
			return false;
	}
	return elf->entry >= bz->load_address && elf->entry < bz->load_address + bz->memory_size;
}

/* EILSEQ: the payload is damaged. ENOTSUP: nothing that we can start; the guest may. */
static int load_unpacked(struct boot *boot, const struct bzimage *bz)
{
	uint8_t *vmlinux;
	size_t size;
	uint64_t end;
	struct elf elf;

	if (!bz->entry64 || bz->payload_size == 0)
		return ENOTSUP;
	if (bz->payload_at > boot->kernel.size ||
		bz->payload_size > boot->kernel.size - bz->payload_at)
		return EILSEQ;
	int error = boot_unpack(boot->kernel.bytes + bz->payload_at, bz->payload_size, UNPACKED_MAX,
		&vmlinux, &size);

	if (error)
		return error == EILSEQ ? EILSEQ : ENOTSUP;
	if (elf_parse(vmlinux, size, &elf) != 0 || !is_direct_vmlinux(&elf, bz))
		error = ENOTSUP;
	else
		error = elf_load(boot->request->ram, vmlinux, &elf, BOOT_KERNEL_MIN, &end)
				? ENOTSUP
				: 0;
	free(vmlinux);
	if (error)
		return error;
	boot->entry.mode = BOOT_LONG;
	boot->entry.rip = elf.entry;
	return 0;
}

static void load_packed(struct boot *boot, const struct bzimage *bz)
{
	size_t size = boot->kernel.size - bz->kernel_at;

	memcpy(ram_at(boot->request->ram, bz->load_address, size),
		boot->kernel.bytes + bz->kernel_at, size);
	boot->entry.mode = bz->entry64 ? BOOT_LONG : BOOT_PROTECTED;
	boot->entry.rip = bz->load_address + (bz->entry64 ? ENTRY_64 : 0);
}

static int load_kernel(struct boot *boot, const struct bzimage *bz)
{
	size_t packed = boot->kernel.size - bz->kernel_at;
	uint64_t need = bz->memory_size > packed ? bz->memory_size : packed;

	/* Below 4 GiB, that is: ram_at does not join the two parts of RAM. */
	if (bz->load_address < BOOT_KERNEL_MIN || bz->load_address >= PC_HIGHMEM_BASE ||
		!ram_at(boot->request->ram, bz->load_address, need))
		return boot_bad_kernel(boot, "needs %llu MiB of memory; give more with -m",
			(unsigned long long)((bz->load_address + need + (1 << 20) - 1) >> 20));
	int error = load_unpacked(boot, bz);

	if (error == EILSEQ)
		return boot_bad_kernel(
			boot, "is damaged: its payload does not unpack; copy it again");
	if (error)
		load_packed(boot, bz);
	return 0;
}

static int load(struct boot *boot)
{
	const struct ram *ram = boot->request->ram;
	uint64_t initrd, initrd_size;
	struct bzimage bz = {0};
	int error = parse(boot, &bz);

	if (!error)
		error = load_kernel(boot, &bz);
	if (!error)
		error = boot_write_cmdline(boot, bz.cmdline_max);
	if (!error) {
		uint64_t high =
			bz.initrd_max + 1 < ram->low_size ? bz.initrd_max + 1 : ram->low_size;

		error = boot_read_initrd(
			boot, bz.load_address + bz.memory_size, high, &initrd, &initrd_size);
	}
	if (!error)
		error = linux_write_params(
			boot, boot->kernel.bytes + HDR_START, bz.header_size, initrd, initrd_size);
	boot->entry.rsi = BOOT_PARAMS;
	if (!error)
		boot_write_descriptors(boot);
	return error;
}

static bool matches(const struct image *kernel)
{
	return kernel->size > HDR_VERSION + 2 && get(kernel->bytes + HDR_BOOT_FLAG, 2) == 0xaa55 &&
	       memcmp(kernel->bytes + HDR_MAGIC, "HdrS", 4) == 0;
}

const struct boot_loader boot_linux = {.name = "linux", .matches = matches, .load = load};
