/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include <string.h>

#include "test/backend/soft/sequence.h"

#define OUT_LEN 2

struct builder {
	struct sequence *s;
	struct rng *rng;
	bool is64;
};

static unsigned below(struct builder *b, unsigned n)
{
	return rng_below(b->rng, n);
}

static void emit(struct builder *b, uint64_t bytes, unsigned n)
{
	memcpy(b->s->code + b->s->len, &bytes, n);
	b->s->len += n;
}

static void mov_imm(struct builder *b, unsigned reg, uint64_t value)
{
	if (b->is64) {
		emit(b, 0x48 | reg >> 3, 1);
		emit(b, 0xb8 | (reg & 7), 1);
		emit(b, value, 8);
	} else {
		emit(b, 0xb8 | (reg & 7), 1);
		emit(b, value, 4);
	}
}

static void point(struct builder *b, unsigned reg)
{
	if (reg < 16)
		mov_imm(b, reg, world_pointer(b->rng, b->s->mode));
}

bool sequence_may_run(const struct x86_cpu *cpu, const struct x86_insn *insn)
{
	switch (insn->row->mnem) {
	case X86_I_rdtsc:
	case X86_I_rdtscp:
	case X86_I_rdrand:
	case X86_I_rdseed:
	case X86_I_rdpmc:
	case X86_I_rdmsr:
	case X86_I_xsave: /* these show whether the host takes a component for unused */
	case X86_I_xsaveopt:
	case X86_I_xsavec:
	case X86_I_xgetbv:
		return false;
	case X86_I_in:
	case X86_I_out:
	case X86_I_ins:
	case X86_I_outs:
		return cpu->cpl > 0 && !(cpu->rflags & X86_RF_IOPL);
	case X86_I_cli:
	case X86_I_sti:
	case X86_I_swapgs:
	case X86_I_invlpg:
		return true;
	case X86_I_mov: /* to and from control and debug registers */
	default:
		return !(insn->row->props & X86_P_PRIV) || cpu->cpl > 0;
	}
}

/* An instruction of this class by the table; its memory operand mostly points to something. */
static bool put_row(struct builder *b, unsigned class)
{
	unsigned size = b->is64 ? 64 : 32;
	uint8_t bytes[ENCODING_BYTES];
	struct x86_insn insn;

	for (unsigned tries = 0; tries < 50; tries++) {
		unsigned row = below(b, x86_row_count);

		if (x86_rows[row].class != class)
			continue;
		encoding_of_row(b->rng, row, size, bytes);
		if (x86_decode(&insn, bytes, X86_INSN_MAX, size) != X86_DECODE_OK ||
			insn.row->class != class || !sequence_may_run(&(struct x86_cpu){ 0 }, &insn))
			continue;
		if (insn.has_mem && below(b, 4)) {
			point(b, insn.mem.base);
			if (insn.mem.index < 16 && insn.mem.index != insn.mem.base && below(b, 2) &&
				!(insn.row->props & X86_P_VSIB))
				mov_imm(b, insn.mem.index, below(b, 512));
		}
		for (unsigned i = 0; i < insn.len; i++)
			emit(b, bytes[i], 1);
		return true;
	}
	return false;
}

static void put_string(struct builder *b)
{
	if (below(b, 2))
		point(b, X86_RSI);
	if (below(b, 2))
		point(b, X86_RDI);
	mov_imm(b, X86_RCX, below(b, 4) ? below(b, 40) : below(b, 5000));
	put_row(b, X86_STRING);
}

static void put_stack(struct builder *b)
{
	if (below(b, 3) == 0)
		point(b, X86_RSP);
	put_row(b, X86_STACK);
}

/* A jump over some bytes that come next; mostly to the beginning of an instruction by chance only. */
static void put_forward(struct builder *b)
{
	unsigned distance = below(b, 24);

	if (below(b, 3)) {
		emit(b, 0x70 | below(b, 16), 1);
		emit(b, distance, 1);
	} else if (below(b, 2)) {
		emit(b, 0x0f, 1);
		emit(b, 0x80 | below(b, 16), 1);
		emit(b, distance, 4);
	} else {
		emit(b, below(b, 2) ? 0xeb : 0xe0 + below(b, 4), 1);
		emit(b, distance, 1);
	}
}

static void put_indirect(struct builder *b)
{
	unsigned reg = below(b, 8), at;

	mov_imm(b, reg, 0);
	at = b->s->len;
	if (below(b, 2))
		point(b, X86_RSP);
	emit(b, 0xff, 1);
	emit(b, (below(b, 2) ? 0xd0 : 0xe0) | (reg == X86_RSP ? X86_RBX : reg), 1);
	uint64_t target = WORLD_CODE + b->s->entry + b->s->len + below(b, 10);
	memcpy(b->s->code + at - (b->is64 ? 8 : 4), &target, 4);
}

static void put_call(struct builder *b)
{
	if (below(b, 2))
		point(b, X86_RSP);
	emit(b, 0xe8, 1);
	emit(b, below(b, 16), 4);
}

/* A few instructions, some times over, counted in memory or in a register. */
static void put_loop(struct builder *b)
{
	unsigned start, n = 1 + below(b, 4), count = 1 + below(b, 6);
	unsigned reg = below(b, 2) ? X86_RCX : below(b, 8);

	if (reg == X86_RSP)
		reg = X86_RBX;
	mov_imm(b, reg, count);
	start = b->s->len;
	while (n--)
		put_row(b, below(b, 8) ? X86_NATIVE : X86_STACK);
	if (reg == X86_RCX) {
		emit(b, 0xe0 + below(b, 3), 1);
	} else {
		emit(b, 0xff, 1);
		emit(b, 0xc8 | reg, 1); /* dec */
		emit(b, below(b, 4) ? 0x7f : 0x75, 1);
	}
	if (b->s->len + 1 - start > 120)
		emit(b, 0, 1);
	else
		emit(b, (uint8_t)(start - b->s->len - 1), 1);
}

/* A store of one byte into the code that follows or came before. */
static void put_smc(struct builder *b)
{
	unsigned reg = below(b, 8);
	uint64_t at = WORLD_CODE + b->s->entry + b->s->len + below(b, 80);

	if (reg == X86_RSP || reg == X86_RBP)
		reg = X86_RDI;
	if (below(b, 2))
		at -= 48;
	mov_imm(b, reg, at);
	switch (below(b, 3)) {
	case 0:
		emit(b, 0xc6, 1);
		emit(b, reg, 1);
		emit(b, below(b, 2) ? 0x90 : below(b, 256), 1);
		break;
	case 1:
		emit(b, 0xfe, 1);
		emit(b, reg | below(b, 2) << 3, 1);
		break;
	default:
		emit(b, 0x89, 1);
		emit(b, reg | below(b, 8) << 3, 1);
		break;
	}
}

static void put_piece(struct builder *b)
{
	static const uint8_t simple[] = { 0xfa, 0xfb, 0x9c, 0x9d, 0xfc, 0xfd, 0xf8, 0xf9, 0x9e, 0x9f };

	switch (below(b, 20)) {
	case 0:
	case 1:
		put_stack(b);
		break;
	case 2:
		put_string(b);
		break;
	case 3:
		put_forward(b);
		break;
	case 4:
		put_loop(b);
		break;
	case 5:
		point(b, below(b, b->is64 ? 16 : 8));
		break;
	case 6:
		put_row(b, X86_SYSTEM);
		break;
	case 7:
		emit(b, simple[below(b, sizeof(simple))], 1);
		break;
	case 8:
		if (below(b, 2))
			put_indirect(b);
		else
			put_call(b);
		break;
	case 9:
		if (below(b, 2))
			put_smc(b);
		else
			put_row(b, X86_BRANCH);
		break;
	default:
		put_row(b, X86_NATIVE);
		break;
	}
}

void sequence_make(struct sequence *s, enum world_mode mode, struct rng *rng)
{
	struct builder b = { .s = s, .rng = rng, .is64 = world_is_64(mode) };
	unsigned n = 1 + rng_below(rng, rng_below(rng, 4) ? 12 : SEQUENCE_PIECES);

	s->mode = mode;
	s->len = s->pieces = 0;
	s->entry = rng_below(rng, 4) ? rng_below(rng, 64) : 4096 - rng_below(rng, 120);
	while (s->pieces < n && s->len < SEQUENCE_BYTES - 160) {
		s->piece[s->pieces++] = (uint16_t)s->len;
		put_piece(&b);
	}
	s->piece[s->pieces] = (uint16_t)s->len;
	emit(&b, 0xe6 | WORLD_PORT << 8, OUT_LEN);
}
