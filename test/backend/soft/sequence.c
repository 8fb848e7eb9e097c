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

/* A few instructions, some times over, counted in a register that they may change. */
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

/* ---- accesses through one register ---- */

#define BIT(reg) (1u << (reg))

/* None of those in `but`, nor one whose name for bytes is part of one of them. */
static unsigned pick(struct builder *b, unsigned but, unsigned n)
{
	unsigned reg;

	but |= BIT(X86_RSP);
	do
		reg = below(b, n);
	while (but & BIT(reg) || (reg >= 4 && reg < 8 && but & BIT(reg - 4)));
	return reg;
}

static unsigned pick_any(struct builder *b, unsigned but)
{
	return pick(b, but, b->is64 ? 16 : 8);
}

/* `op`, or 0Fh and `op` with bit 8, with `reg` and [base + disp]. */
static void put_mem(struct builder *b, unsigned op, unsigned reg, unsigned base, int32_t disp, bool wide)
{
	bool is_short = disp == (int8_t)disp;
	unsigned rex = (wide ? 8 : 0) | (reg & 8) >> 1 | base >> 3;

	if (b->is64 && rex)
		emit(b, 0x40 | rex, 1);
	if (op >> 8)
		emit(b, 0x0f, 1);
	emit(b, op, 1);
	emit(b, (is_short ? 0x40 : 0x80) | (reg & 7) << 3 | (base & 7), 1);
	if ((base & 7) == X86_RSP)
		emit(b, 0x24, 1);
	emit(b, (uint32_t)disp, is_short ? 1 : 4);
}

static int32_t near(struct builder *b)
{
	if (below(b, 8) == 0)
		return (int32_t)below(b, 0x3000) - 0x1800;
	return (int32_t)below(b, 64) - 32;
}

/* A load or store that leaves the flags alone. */
static void put_move(struct builder *b, unsigned reg, unsigned base)
{
	/* MOV, MOVZX, MOVSX, XCHG; MOVQ, MOVAPS, MOVUPS, MOVNTQ */
	static const uint16_t ops[] = { 0x8b, 0x8b, 0x89, 0x89, 0x8a, 0x88, 0x1b6, 0x1bf, 0x1be, 0x87,
		0x16f, 0x128, 0x111, 0x1e7 };

	put_mem(b, ops[below(b, sizeof(ops) / sizeof(ops[0]))], reg, base, near(b), below(b, 2));
}

/* One that reads or writes them: ADD to CMP both ways; NOT, NEG, INC, DEC. */
static void put_alu(struct builder *b, unsigned reg, unsigned base)
{
	unsigned k = below(b, 8), op = k << 3 | (below(b, 2) ? 3 : 1);

	if (below(b, 4) == 0) {
		op = k & 4 ? 0xf7 : 0xff;
		reg = k & 4 ? 2 + (k & 1) : k & 1;
	}
	put_mem(b, op, reg, base, near(b), below(b, 2));
}

/* Sets flags, some of them or all, without memory. */
static void put_setter(struct builder *b, unsigned but)
{
	static const uint8_t simple[] = { 0xf8, 0xf9, 0xf5, 0x9e }; /* CLC, STC, CMC, SAHF */
	unsigned reg = pick(b, but, 8);

	switch (below(b, 4)) {
	case 0:
		emit(b, simple[below(b, sizeof(simple))], 1);
		break;
	case 1: /* shifts by one */
		emit(b, 0xd1 | (0xc0 | below(b, 8) << 3 | reg) << 8, 2);
		break;
	case 2: /* INC, DEC */
		emit(b, 0xff | (0xc0 | below(b, 2) << 3 | reg) << 8, 2);
		break;
	default:
		emit(b, below(b, 8) << 3 | 1 | (0xc0 | below(b, 8) << 3 | reg) << 8, 2);
		break;
	}
}

static void put_reader(struct builder *b, unsigned but)
{
	static const uint16_t carry[] = { 0xc011, 0xc019, 0xd0d1 }; /* ADC, SBB, RCL */
	unsigned reg = pick(b, but, 8);

	switch (below(b, 5)) {
	case 0: /* Jcc over XOR */
		emit(b, 0x70 | below(b, 16) | 2 << 8 | 0x31 << 16, 3);
		emit(b, 0xc0 | reg, 1);
		break;
	case 1: /* SETcc */
		emit(b, 0x900f | below(b, 16) << 8 | (0xc0 | reg) << 16, 3);
		break;
	case 2: /* CMOVcc */
		emit(b, 0x400f | below(b, 16) << 8 | (0xc0 | reg << 3 | below(b, 8)) << 16, 3);
		break;
	case 3:
		emit(b, carry[below(b, 3)] | reg << 8, 2);
		break;
	default: /* LAHF, PUSHF */
		emit(b, but & BIT(X86_RAX) || below(b, 2) ? 0x9c : 0x9f, 1);
		break;
	}
}

/* Flags that live across memory operands, which hit, miss, cross pages and fault. */
static void put_flags(struct builder *b)
{
	unsigned base = pick_any(b, 0), times = 1 + below(b, 3);

	b->s->kinds |= BIT(SEQUENCE_FLAGS);
	point(b, base);
	while (times--) {
		put_setter(b, BIT(base));
		for (unsigned n = 1 + below(b, 4); n--;)
			put_move(b, pick_any(b, BIT(base)), base);
		put_reader(b, BIT(base));
	}
}

/* Accesses close to each other, of which one may fault; the register moves on the way. */
static void put_fields(struct builder *b)
{
	unsigned base = below(b, 3) ? pick_any(b, 0) : X86_RSP, n = 2 + below(b, 8);

	b->s->kinds |= BIT(SEQUENCE_FIELDS);
	point(b, base);
	while (n--) {
		switch (below(b, 8)) {
		case 0:
			put_mem(b, 0x8d, base, base, near(b), b->is64); /* LEA */
			break;
		case 1:
			emit(b, 0x50 | below(b, 16), 1); /* PUSH, POP */
			break;
		case 2:
			put_setter(b, BIT(base));
			break;
		case 3:
			put_alu(b, pick_any(b, BIT(base)), base);
			break;
		default:
			put_move(b, pick_any(b, BIT(base)), base);
			break;
		}
	}
	put_reader(b, BIT(base));
}

/* ---- loops ---- */

static void put_back(struct builder *b, unsigned start, unsigned cc)
{
	int32_t distance = (int32_t)start - (int32_t)b->s->len - 2;

	if (distance >= -128) {
		emit(b, 0x70 | cc, 1);
		emit(b, (uint8_t)distance, 1);
	} else {
		emit(b, 0x0f, 1);
		emit(b, 0x80 | cc, 1);
		emit(b, (uint32_t)(distance - 4), 4);
	}
}

/* DEC, which lets carry live on to the next round, or SUB. */
static void put_count(struct builder *b, unsigned reg, unsigned start)
{
	if (b->is64)
		emit(b, 0x48 | reg >> 3, 1);
	if (below(b, 2))
		emit(b, 0xff | (0xc8 | (reg & 7)) << 8, 2);
	else
		emit(b, 0x83 | (0xe8 | (reg & 7)) << 8 | 1 << 16, 3);
	put_back(b, start, below(b, 2) ? 0x5 : 0xf);
}

/* LEA and JRCXZ, which let all flags live on. */
static void put_count_rcx(struct builder *b, unsigned start)
{
	put_mem(b, 0x8d, X86_RCX, X86_RCX, -1, b->is64);
	emit(b, 0xe3 | 2 << 8 | 0xeb << 16, 3);
	emit(b, (uint8_t)(start - b->s->len - 1), 1);
}

/* To the next item: with and without flags. */
static void put_stride(struct builder *b, unsigned base)
{
	static const int32_t strides[] = { 1, 4, 8, 8, -8, 16, 24, 100, -64, 0x7f8, 0xff8, 0x1000, -0x1004 };
	int32_t by = strides[below(b, sizeof(strides) / sizeof(strides[0]))];

	if (below(b, 3)) {
		put_mem(b, 0x8d, base, base, by, b->is64);
		return;
	}
	if (b->is64)
		emit(b, 0x48 | base >> 3, 1);
	emit(b, 0x81 | (0xc0 | (base & 7)) << 8, 2);
	emit(b, (uint32_t)by, 4);
}

/* A loop whose memory operands move across pages. */
static void put_walk(struct builder *b, unsigned but)
{
	unsigned base = pick_any(b, but | BIT(X86_RCX)), start, n = 1 + below(b, 4);

	b->s->kinds |= BIT(SEQUENCE_WALKS);
	but |= BIT(X86_RCX) | BIT(base);
	point(b, base);
	mov_imm(b, X86_RCX, 1 + below(b, below(b, 4) ? 12 : 60));
	start = b->s->len;
	while (n--) {
		if (below(b, 2))
			put_alu(b, pick_any(b, but), base);
		else
			put_move(b, pick_any(b, but), base);
	}
	if (below(b, 3) == 0)
		put_reader(b, but);
	put_stride(b, base);
	if (below(b, 3))
		put_count(b, X86_RCX, start);
	else
		put_count_rcx(b, start);
}

static void put_nest(struct builder *b)
{
	unsigned count = pick_any(b, BIT(X86_RCX)), start;

	mov_imm(b, count, 1 + below(b, 4));
	start = b->s->len;
	put_walk(b, BIT(count));
	put_count(b, count, start);
}

static void put_piece(struct builder *b)
{
	static const uint8_t simple[] = { 0xfa, 0xfb, 0x9c, 0x9d, 0xfc, 0xfd, 0xf8, 0xf9, 0x9e, 0x9f };

	switch (below(b, 26)) {
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
	case 10:
	case 11:
		put_flags(b);
		break;
	case 12:
		put_fields(b);
		break;
	case 13:
		put_walk(b, 0);
		break;
	case 14:
		put_nest(b);
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
	s->len = s->pieces = s->kinds = 0;
	s->entry = rng_below(rng, 4) ? rng_below(rng, 64) : 4096 - rng_below(rng, 120);
	while (s->pieces < n && s->len < SEQUENCE_BYTES - 160) {
		s->piece[s->pieces++] = (uint16_t)s->len;
		put_piece(&b);
	}
	s->piece[s->pieces] = (uint16_t)s->len;
	emit(&b, 0xe6 | WORLD_PORT << 8, OUT_LEN);
}
