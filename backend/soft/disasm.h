/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Text of machine code, for trace.c.  It is Zydis's: disasm_zydis.c where its headers are there
 * when hyve is built, else disasm_none.c, which has nothing to offer.  The library is opened when
 * first asked for, so that nobody needs it who wants no trace.
 */
#ifndef BACKEND_SOFT_DISASM_H
#define BACKEND_SOFT_DISASM_H

#include <stddef.h>
#include <stdint.h>

#define DISASM_TEXT 96

struct disasm;

/* 0, or an errno and a line in why[size]. */
int disasm_create(struct disasm **d, char *why, size_t size);
void disasm_destroy(struct disasm *d);
/* One instruction of 16-, 32- or 64-bit code at `address`: its length, and its text; 0: none is
 * there. */
unsigned disasm_insn(const struct disasm *d, unsigned bits, uint64_t address, const uint8_t *code,
	size_t len, char text[DISASM_TEXT]);

#endif
