/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Fuzzes the decoder and the encoder: no input may crash them, whatever decodes must be the same to
 * an independent decoder, and whatever is encoded must decode to the same row's mnemonic.  The
 * first byte picks the code size and, for the encoder, where registers and memory go; the rest is
 * the instruction.
 */
#include "fuzz/fuzz.h"
#include "test/x86/oracle.h"

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

size_t fuzz_seed(unsigned n, uint8_t *to, size_t room)
{
	static const struct {
		uint8_t size, bytes[16];
	} seeds[] = {
		{8, {2, 0x48, 0x8b, 0x84, 0xcb, 0x78, 0x56, 0x34}},
		{6, {1, 0x66, 0xf0, 0x0f, 0xb1, 0x0b}},
		{5, {0, 0x0f, 0xba, 0x67, 0x04}},
		{6, {2, 0xc5, 0xf8, 0x58, 0x04, 0x24}},
		{7, {2, 0xc4, 0xe2, 0x7d, 0x18, 0x40, 0x08}},
		{11, {2, 0x48, 0xb8, 1, 2, 3, 4, 5, 6, 7, 8}},
		{3, {3, 0xf3, 0xa4}},
		{3, {1, 0xd8, 0xc1}},
	};

	if (n >= sizeof(seeds) / sizeof(seeds[0]) || room < seeds[n].size)
		return 0;
	memcpy(to, seeds[n].bytes, seeds[n].size);
	return seeds[n].size;
}
