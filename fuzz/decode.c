/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Fuzzes the decoder and the encoder: no input may crash them, whatever decodes must be the same to
 * an independent decoder, and whatever is encoded must decode to the same row's mnemonic.  The
 * first byte picks the code size and, for the encoder, where registers and memory go; the rest is
 * the instruction.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/x86/oracle.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void broken(const struct x86_insn *insn, const char *why)
{
	fprintf(stderr, "%u-bit %s %s: %s\n", insn->code_size, insn->row->name, insn->row->syntax,
		why);
	abort();
}

static void encode(const struct x86_insn *insn, uint8_t pick)
{
	struct x86_remap map = {.mem_base = pick >> 2 & 15, .mem_disp = pick & 0x40 ? 0x1000 : -8};
	struct x86_insn again;
	uint8_t out[16];
	unsigned n;

	for (unsigned i = 0; i < 16; i++)
		map.gpr[i] = pick & 0x80 ? (uint8_t)(i ^ 8) : (uint8_t)i;
	n = x86_encode(insn, &map, out);
	if (n == 0)
		return;
	if (n > X86_INSN_MAX || x86_decode(&again, out, n, 64) != X86_DECODE_OK || again.len != n)
		broken(insn, "encoded to no instruction");
	if (again.row->mnem != insn->row->mnem)
		broken(insn, "encoded to another instruction");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const unsigned code_size[] = {16, 32, 64, 64};
	struct x86_insn insn;
	struct oracle *oracle;
	const char *why;
	uint8_t pick;

	if (size < 2)
		return 0;
	pick = *data++;
	size--;
	memset(&insn, 0xa5, sizeof(insn));
	if (x86_decode(&insn, data, size, code_size[pick & 3]) != X86_DECODE_OK)
		return 0;
	if (insn.len > size || insn.nops > X86_OPERANDS)
		broken(&insn, "more than there is");
	oracle = malloc(sizeof(*oracle));
	if (!oracle)
		return 0;
	oracle_init(oracle);
	why = oracle_decode(oracle, data, size, insn.code_size) ? oracle_compare(oracle, &insn)
								: "no instruction there";
	free(oracle);
	if (why)
		broken(&insn, why);
	encode(&insn, pick);
	return 0;
}
