/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include <Zydis/Zydis.h>
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "backend/soft/disasm.h"

struct disasm {
	void *library;
	__typeof__(&ZydisDisassembleIntel) disassemble;
};

_Static_assert(sizeof(((ZydisDisassembledInstruction *)0)->text) <= DISASM_TEXT, "text fits");

int disasm_create(struct disasm **out, char *why, size_t size)
{
	struct disasm *d = calloc(1, sizeof(*d));
	char name[32];

	if (!d) {
		snprintf(why, size, "no memory");
		return ENOMEM;
	}
	/* Of the version whose structures we were compiled with. */
	snprintf(name, sizeof(name), "libZydis.so.%u.%u", ZYDIS_VERSION_MAJOR(ZYDIS_VERSION),
		ZYDIS_VERSION_MINOR(ZYDIS_VERSION));
	d->library = dlopen(name, RTLD_NOW | RTLD_LOCAL);
	if (d->library)
		d->disassemble = (__typeof__(d->disassemble))(uintptr_t)dlsym(
			d->library, "ZydisDisassembleIntel");
	if (!d->disassemble) {
		snprintf(why, size, "%s cannot be loaded", name);
		disasm_destroy(d);
		return ENOENT;
	}
	*out = d;
	return 0;
}

void disasm_destroy(struct disasm *d)
{
	if (!d)
		return;
	if (d->library)
		dlclose(d->library);
	free(d);
}

unsigned disasm_insn(const struct disasm *d, unsigned bits, uint64_t address, const uint8_t *code,
	size_t len, char text[DISASM_TEXT])
{
	ZydisMachineMode mode = bits == 64   ? ZYDIS_MACHINE_MODE_LONG_64
				: bits == 32 ? ZYDIS_MACHINE_MODE_LEGACY_32
					     : ZYDIS_MACHINE_MODE_LEGACY_16;
	ZydisDisassembledInstruction insn;

	text[0] = '\0';
	if (!ZYAN_SUCCESS(d->disassemble(mode, address, code, len, &insn)))
		return 0;
	snprintf(text, DISASM_TEXT, "%s", insn.text);
	return insn.info.length;
}
