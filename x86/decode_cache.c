/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Decoding with a memory.  Most of an instruction is a function of its head, the bytes up to ModRM
 * and SIB: what follows is a displacement and an immediate, whose sizes the head tells too.  So the
 * result for a head is kept, and what follows is filled in.
 *
 * Heads are only guessed at: 64-bit code, one prefix besides REX at most, the maps of one byte and
 * 0F.  Whatever is longer than the guess says is left to x86_decode().
 */
#include "x86/insn_table.h"

/* A head, as far as its bytes tell. */
struct head {
	uint64_t key; /* the bytes, and their number in the topmost one */
	unsigned len, disp;
};

enum byte {
	BYTE_PREFIX = 1,
	BYTE_REX = 2,
	BYTE_OTHER = 4 /* more prefixes, VEX, absolute addresses: not here */
};

static const uint8_t kind_of[256] = {
	[0x26] = BYTE_PREFIX,
	[0x2e] = BYTE_PREFIX,
	[0x36] = BYTE_PREFIX,
	[0x3e] = BYTE_PREFIX,
	[0x40 ... 0x4f] = BYTE_REX,
	[0x64] = BYTE_PREFIX,
	[0x65] = BYTE_PREFIX,
	[0x66] = BYTE_PREFIX,
	[0x67] = BYTE_OTHER,
	[0xa0 ... 0xa3] = BYTE_OTHER,
	[0xc4] = BYTE_OTHER,
	[0xc5] = BYTE_OTHER,
	[0xf0] = BYTE_PREFIX,
	[0xf2] = BYTE_PREFIX,
	[0xf3] = BYTE_PREFIX,
};

static void take_modrm(struct head *h, const uint8_t *bytes)
{
	unsigned modrm = bytes[h->len++], mod = modrm >> 6, base = modrm & 7;

	if (mod == 3)
		return;
	if (base == 4)
		base = bytes[h->len++] & 7;
	h->disp = mod == 1 ? 1 : mod == 2 || base == 5 ? 4 : 0;
}

static bool take_head(struct head *h, const uint8_t *bytes)
{
	unsigned map = X86_MAP_OP, opcode;

	h->len = h->disp = 0;
	if (kind_of[bytes[h->len]] == BYTE_PREFIX)
		h->len++;
	if (kind_of[bytes[h->len]] == BYTE_REX)
		h->len++;
	opcode = bytes[h->len++];
	if (kind_of[opcode])
		return false;
	if (opcode == 0x0f) {
		map = X86_MAP_0F;
		opcode = bytes[h->len++];
		if (opcode == 0x38 || opcode == 0x3a)
			return false;
	}
	if (x86_index[map * 256u + opcode] & X86_INDEX_MODRM)
		take_modrm(h, bytes);
	__builtin_memcpy(&h->key, bytes, sizeof(h->key));
	h->key = (h->key & ((1ull << 8 * h->len) - 1)) | (uint64_t)h->len << 56;
	return true;
}

static int64_t extended(const uint8_t *bytes, unsigned size)
{
	int64_t value;
	unsigned rest = 64 - 8 * size;

	__builtin_memcpy(&value, bytes, sizeof(value));
	return (int64_t)((uint64_t)value << rest) >> rest;
}

/* By moves: they are quicker than the string instruction that compilers choose. */
static void copy(struct x86_insn *to, const struct x86_insn *from)
{
	_Static_assert(sizeof(*to) == 120, "three times 32 and 24");
	__builtin_memcpy(to, from, 32);
	__builtin_memcpy((uint8_t *)to + 32, (const uint8_t *)from + 32, 32);
	__builtin_memcpy((uint8_t *)to + 64, (const uint8_t *)from + 64, 32);
	__builtin_memcpy((uint8_t *)to + 96, (const uint8_t *)from + 96, 24);
}

enum x86_decode_result x86_decode_cached(
	struct x86_decode_cache *c, struct x86_insn *insn, const uint8_t *bytes, size_t n)
{
	struct x86_decode_entry *e;
	enum x86_decode_result res;
	struct head h;

	/* All that is looked at: 7 bytes of head, and 8 that start with the immediate. */
	if (n < X86_INSN_MAX + 8 || !take_head(&h, bytes))
		return x86_decode(insn, bytes, n, 64);
	e = &c->entry[(h.key * 0x9e3779b97f4a7c15ull) >> (64 - X86_DECODE_CACHE_BITS)];
	if (e->key == h.key) {
		copy(insn, &e->insn);
		__builtin_memcpy(insn->bytes, bytes, X86_INSN_MAX);
		if (h.disp)
			insn->mem.disp = extended(bytes + h.len, h.disp);
		if (insn->imm_size)
			insn->imm = extended(bytes + h.len + h.disp, insn->imm_size);
		return X86_DECODE_OK;
	}
	res = x86_decode(insn, bytes, n, 64);
	if (res == X86_DECODE_OK && insn->len == h.len + h.disp + insn->imm_size) {
		e->key = h.key;
		copy(&e->insn, insn);
	}
	return res;
}
