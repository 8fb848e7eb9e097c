/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include <errno.h>
#include <stdio.h>

#include "backend/soft/disasm.h"

int disasm_create(struct disasm **d, char *why, size_t size)
{
	*d = NULL;
	snprintf(why, size, "built without libzydis-dev, which it takes");
	return ENOTSUP;
}

void disasm_destroy(struct disasm *d)
{
	(void)d;
}

unsigned disasm_insn(const struct disasm *d, unsigned bits, uint64_t address, const uint8_t *code,
	size_t len, char text[DISASM_TEXT])
{
	(void)d;
	(void)bits;
	(void)address;
	(void)code;
	(void)len;
	text[0] = '\0';
	return 0;
}
