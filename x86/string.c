/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * MOVS, STOS, LODS, CMPS and SCAS (SDM vol. 1, 7.3.9).
 *
 * As many elements as lie in one page of RAM on each side are done by the host's own repeated
 * instruction, which brings overlap, flags and speed with it.  An element that crosses a page,
 * wraps around the address size, may fault or belongs to a device is done alone.  Registers are
 * brought up to date after every piece, so that a fault or an exit leaves exactly the elements
 * before it done.
 */
#include "x86/data.h"

#define DR7_ENABLED 0xffull /* L0..L3, G0..G3 */

enum string_op { STRING_MOVS, STRING_STOS, STRING_LODS, STRING_CMPS, STRING_SCAS };

struct string {
	enum string_op op;
	unsigned size; /* of an element */
	unsigned addrsize;
	unsigned src_seg;
	uint8_t rep; /* 0, 0xF3, 0xF2 */
	bool back;   /* DF */
	bool uses_si, uses_di;
	unsigned dst_acc; /* of [rDI], which CMPS and SCAS read */
};

/* One piece on host addresses, as the host's instruction sees it. */
struct piece {
	const void *src;
	void *dst;
	uint64_t count;
	uint64_t acc; /* RAX; after a comparison the flags: AH as LAHF, AL = OF */
};

#define DIRECTED(insn, tail)                                                                       \
	if (back)                                                                                  \
		__asm__ volatile("std\n\t" insn "\n\tcld" tail                                     \
				 : "+a"(p->acc), "+S"(p->src), "+D"(p->dst), "+c"(p->count)        \
				 :                                                                 \
				 : "cc", "memory");                                                \
	else                                                                                       \
		__asm__ volatile(insn tail                                                         \
				 : "+a"(p->acc), "+S"(p->src), "+D"(p->dst), "+c"(p->count)        \
				 :                                                                 \
				 : "cc", "memory")

#define SIZED(insn, tail)                                                                          \
	do {                                                                                       \
		switch (size) {                                                                    \
		case 1:                                                                            \
			DIRECTED(insn "b", tail);                                                  \
			break;                                                                     \
		case 2:                                                                            \
			DIRECTED(insn "w", tail);                                                  \
			break;                                                                     \
		case 4:                                                                            \
			DIRECTED(insn "l", tail);                                                  \
			break;                                                                     \
		default:                                                                           \
			DIRECTED(insn "q", tail);                                                  \
		}                                                                                  \
	} while (0)

#define FLAGS "\n\tlahf\n\tseto %%al"

/* p->count elements, at least one; comparisons stop early as the prefix says. */
static void run_native(const struct string *s, struct piece *p)
{
	const unsigned size = s->size;
	const bool back = s->back;

	switch (s->op) {
	case STRING_MOVS:
		SIZED("rep movs", "");
		break;
	case STRING_STOS:
		SIZED("rep stos", "");
		break;
	case STRING_LODS:
		SIZED("rep lods", "");
		break;
	case STRING_CMPS:
		if (s->rep == 0xF2)
			SIZED("repne cmps", FLAGS);
		else
			SIZED("repe cmps", FLAGS);
		break;
	case STRING_SCAS:
		if (s->rep == 0xF2)
			SIZED("repne scas", FLAGS);
		else
			SIZED("repe scas", FLAGS);
		break;
	}
}

static bool compares(const struct string *s)
{
	return s->op == STRING_CMPS || s->op == STRING_SCAS;
}

static uint64_t addr_get(const struct x86_cpu *cpu, const struct string *s, unsigned reg)
{
	return cpu->gpr[reg] & x86_mask(s->addrsize);
}

static void addr_advance(struct x86_cpu *cpu, const struct string *s, unsigned reg, uint64_t count)
{
	uint64_t delta = count * s->size;
	uint64_t value = cpu->gpr[reg] + (s->back ? -delta : delta);

	cpu->gpr[reg] = x86_merge(cpu->gpr[reg], value, s->addrsize);
}

/*
 * Brings the registers to where `count` more elements have been done; `acc` as run_native() left
 * it.
 */
static void commit(struct x86_cpu *cpu, const struct string *s, uint64_t count, uint64_t acc)
{
	if (s->uses_si)
		addr_advance(cpu, s, X86_RSI, count);
	if (s->uses_di)
		addr_advance(cpu, s, X86_RDI, count);
	if (s->rep)
		cpu->gpr[X86_RCX] =
			x86_merge(cpu->gpr[X86_RCX], cpu->gpr[X86_RCX] - count, s->addrsize);
	if (s->op == STRING_LODS)
		cpu->gpr[X86_RAX] = x86_merge(cpu->gpr[X86_RAX], acc, s->size);
	if (compares(s))
		cpu->rflags = (cpu->rflags & ~(uint64_t)X86_FL_STATUS) |
			      (acc >> 8 & (X86_FL_STATUS & 0xff)) | (acc & 1 ? X86_FL_OF : 0);
}

/*
 * Linear address of reg's next element, and in *count how many from there on neither leave the page
 * nor wrap around the address size.  False if it has to be done alone.
 */
static bool find_piece(struct x86_cpu *cpu, const struct string *s, unsigned seg, unsigned reg,
	unsigned acc, uint64_t *count)
{
	uint64_t offset = addr_get(cpu, s, reg), gla, in_page, above, below, n;
	uint64_t to_wrap = x86_mask(s->addrsize) - offset;

	if (x86_data_linear(cpu, seg, offset, s->size, acc, &gla) != X86_DONE)
		return false;
	in_page = gla % X86_PAGE_SIZE;
	above = X86_PAGE_SIZE - 1 - in_page; /* bytes behind the first one */
	if (above > to_wrap)
		above = to_wrap;
	below = in_page < offset ? in_page : offset;
	if (above + 1 < s->size)
		return false;
	n = s->back ? below / s->size + 1 : (above + 1) / s->size;
	if (*count > n)
		*count = n;
	return true;
}

/* Host address of the first of `count` elements, NULL if the piece is not plain RAM. */
static void *map_piece(struct x86_cpu *cpu, const struct string *s, unsigned seg, unsigned reg,
	unsigned acc, uint64_t count)
{
	uint64_t back_by = s->back ? (count - 1) * s->size : 0;
	uint64_t lowest = addr_get(cpu, s, reg) - back_by;
	unsigned len = (unsigned)count * s->size;
	enum x86_result res;
	uint64_t gla;
	uint8_t *host;

	if (x86_linear(cpu, seg, lowest, len, acc, &gla) != X86_DONE)
		return NULL;
	host = cpu->ops->map(cpu, gla, len, x86_acc(cpu, acc), &res);
	return host == NULL ? NULL : host + back_by;
}

/* Does up to `count` elements; 0 if the next one has to be done alone. */
static uint64_t do_piece(struct x86_cpu *cpu, const struct string *s, uint64_t count)
{
	struct piece p = {.acc = cpu->gpr[X86_RAX]};

	if (s->uses_si && !find_piece(cpu, s, s->src_seg, X86_RSI, X86_ACC_READ, &count))
		return 0;
	if (s->uses_di && !find_piece(cpu, s, X86_ES, X86_RDI, s->dst_acc, &count))
		return 0;
	if (s->uses_si) {
		p.src = map_piece(cpu, s, s->src_seg, X86_RSI, X86_ACC_READ, count);
		if (p.src == NULL)
			return 0;
	}
	if (s->uses_di) {
		p.dst = map_piece(cpu, s, X86_ES, X86_RDI, s->dst_acc, count);
		if (p.dst == NULL)
			return 0;
	}
	p.count = count;
	run_native(s, &p);
	commit(cpu, s, count - p.count, p.acc);
	return count - p.count;
}

static enum x86_result check_side(struct x86_cpu *cpu, const struct string *s, unsigned seg,
	unsigned reg, unsigned acc, uint64_t *gla)
{
	enum x86_result res = x86_data_linear(cpu, seg, addr_get(cpu, s, reg), s->size, acc, gla);

	return res == X86_DONE ? x86_data_probe(cpu, *gla, s->size, x86_acc(cpu, acc)) : res;
}

/*
 * May the next element be accessed?  Both sides are asked before anything is read, because reading
 * a device may have side effects.  Where both would fault the source is reported (for CMPS there is
 * no rule: AMD's processors report either, depending on prefix and size).
 */
static enum x86_result check_element(struct x86_cpu *cpu, const struct string *s, uint64_t gla[2])
{
	enum x86_result res = X86_DONE;

	if (s->uses_si)
		res = check_side(cpu, s, s->src_seg, X86_RSI, X86_ACC_READ, &gla[0]);
	if (res == X86_DONE && s->uses_di)
		res = check_side(cpu, s, X86_ES, X86_RDI, s->dst_acc, &gla[1]);
	return res;
}

/* One element by way of buffers. */
static enum x86_result do_element(struct x86_cpu *cpu, const struct string *s)
{
	uint64_t src = 0, dst = 0, gla[2];
	struct piece p = {.src = &src, .dst = &dst, .count = 1, .acc = cpu->gpr[X86_RAX]};
	unsigned read = x86_acc(cpu, X86_ACC_READ);
	enum x86_result res = check_element(cpu, s, gla);

	if (res == X86_DONE && s->uses_si)
		res = x86_read(cpu, gla[0], &src, s->size, read);
	if (res == X86_DONE && compares(s))
		res = x86_read(cpu, gla[1], &dst, s->size, read);
	if (res != X86_DONE)
		return res;
	run_native(s, &p);
	if (s->uses_di && !compares(s))
		res = x86_write(cpu, gla[1], &dst, s->size, x86_acc(cpu, s->dst_acc));
	if (res == X86_DONE)
		commit(cpu, s, 1, p.acc);
	return res;
}

static enum x86_result do_some(struct x86_cpu *cpu, const struct string *s, uint64_t limit)
{
	return do_piece(cpu, s, limit) > 0 ? X86_DONE : do_element(cpu, s);
}

/* REPE and REPNE end on ZF; the others only on the count. */
static bool compare_ended(const struct x86_cpu *cpu, const struct string *s)
{
	bool zf = cpu->rflags & X86_FL_ZF;

	return compares(s) && (s->rep == 0xF3 ? !zf : zf);
}

/* Single-stepping and breakpoints see every iteration (SDM vol. 3, 17.3.1.2, 17.3.1.4). */
static bool one_by_one(const struct x86_cpu *cpu)
{
	return cpu->rflags & X86_RF_TF || cpu->dr[7] & DR7_ENABLED;
}

static enum x86_result repeat(struct x86_cpu *cpu, const struct string *s)
{
	bool single = one_by_one(cpu);

	while (addr_get(cpu, s, X86_RCX) != 0) {
		enum x86_result res = do_some(cpu, s, single ? 1 : addr_get(cpu, s, X86_RCX));

		if (res != X86_DONE)
			return res;
		if (compare_ended(cpu, s))
			break;
		if (addr_get(cpu, s, X86_RCX) != 0 && (single || cpu->ops->poll(cpu)))
			return X86_AGAIN;
	}
	return X86_DONE;
}

static enum string_op string_op(unsigned mnem)
{
	switch (mnem) {
	case X86_I_movs:
		return STRING_MOVS;
	case X86_I_stos:
		return STRING_STOS;
	case X86_I_lods:
		return STRING_LODS;
	case X86_I_cmps:
		return STRING_CMPS;
	default:
		return STRING_SCAS;
	}
}

/* In 64-bit mode overrides other than FS and GS are ignored (SDM vol. 1, 3.4.4). */
static unsigned source_segment(const struct x86_insn *insn)
{
	unsigned seg = insn->seg_override;

	if (seg == X86_NOREG || (insn->code_size == 64 && seg < X86_FS))
		return X86_DS;
	return seg;
}

enum x86_result x86_string(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	struct string s = {
		.op = string_op(insn->row->mnem),
		.size = insn->opcode & 1 ? insn->opsize : 1,
		.addrsize = insn->addrsize,
		.src_seg = source_segment(insn),
		.rep = insn->rep,
		.back = cpu->rflags & X86_FL_DF,
	};
	enum x86_result res;

	s.uses_si = s.op == STRING_MOVS || s.op == STRING_LODS || s.op == STRING_CMPS;
	s.uses_di = s.op != STRING_LODS;
	s.dst_acc = compares(&s) ? X86_ACC_READ : X86_ACC_WRITE;
	res = s.rep ? repeat(cpu, &s) : do_some(cpu, &s, 1);
	if (res == X86_DONE)
		x86_advance(cpu, insn);
	return res;
}
