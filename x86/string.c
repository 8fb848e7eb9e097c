/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * MOVS, STOS, LODS, CMPS and SCAS (SDM vol. 1, 7.3.9).
 *
 * As many elements as lie in one page of RAM on each side are done by the host's own repeated
 * instruction, which brings overlap, flags and speed with it.  An element that crosses a page, wraps
 * around the address size, may fault or belongs to a device is done alone.  Registers are brought up to
 * date after every piece, so that a fault or an exit leaves exactly the elements before it done.
 */
#include "x86/data.h"

enum string_op { STRING_MOVS, STRING_STOS, STRING_LODS, STRING_CMPS, STRING_SCAS };

struct string {
	enum string_op op;
	unsigned size;	    /* of an element */
	unsigned addrsize;
	unsigned src_seg;
	uint8_t rep;	    /* 0, 0xF3, 0xF2 */
	bool back;	    /* DF */
	bool uses_si, uses_di;
	unsigned dst_acc;   /* of [rDI], which CMPS and SCAS read */
};

/* One piece on host addresses, as the host's instruction sees it. */
struct piece {
	const void *src;
	void *dst;
	uint64_t count;
	uint64_t acc; /* RAX; after a comparison the flags: AH as LAHF, AL = OF */
};

#define DIRECTED(insn, tail)									   \
	if (back)										   \
		__asm__ volatile("std\n\t" insn "\n\tcld" tail					   \
				 : "+a"(p->acc), "+S"(p->src), "+D"(p->dst), "+c"(p->count)	   \
				 :								   \
				 : "cc", "memory");						   \
	else											   \
		__asm__ volatile(insn tail							   \
				 : "+a"(p->acc), "+S"(p->src), "+D"(p->dst), "+c"(p->count)	   \
				 :								   \
				 : "cc", "memory")

#define SIZED(insn, tail)									   \
	do {											   \
		switch (size) {									   \
		case 1:										   \
			DIRECTED(insn "b", tail);						   \
			break;									   \
		case 2:										   \
			DIRECTED(insn "w", tail);						   \
			break;									   \
		case 4:										   \
			DIRECTED(insn "l", tail);						   \
			break;									   \
		default:									   \
			DIRECTED(insn "q", tail);						   \
		}										   \
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

/* Brings the registers to where `count` more elements have been done; `acc` as run_native() left it. */
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

/* Elements from seg:offset on that neither leave the page nor wrap around the address size. */
static uint64_t elements_in_page(const struct string *s, uint64_t offset, uint64_t gla)
{
	uint64_t in_page = gla % X86_PAGE_SIZE;
	uint64_t above = X86_PAGE_SIZE - 1 - in_page; /* bytes behind the first one */
	uint64_t below = in_page < offset ? in_page : offset;
	uint64_t to_wrap = x86_mask(s->addrsize) - offset;

	if (above > to_wrap)
		above = to_wrap;
	if (above + 1 < s->size)
		return 0;
	return s->back ? below / s->size + 1 : (above + 1) / s->size;
}

/* Host address of the first of `count` elements, NULL if the piece is not plain RAM. */
static void *map_piece(struct x86_cpu *cpu, const struct string *s, unsigned seg, uint64_t offset,
	uint64_t count, unsigned acc)
{
	uint64_t back_by = s->back ? (count - 1) * s->size : 0;
	unsigned len = (unsigned)count * s->size;
	enum x86_result res;
	uint64_t gla;
	uint8_t *host;

	if (x86_linear(cpu, seg, offset - back_by, len, acc, &gla) != X86_DONE)
		return NULL;
	host = cpu->ops->map(cpu, gla, len, x86_acc(cpu, acc), &res);
	return host == NULL ? NULL : host + back_by;
}

/* Does up to `limit` elements; 0 if the first one has to be done alone. */
static uint64_t do_piece(struct x86_cpu *cpu, const struct string *s, const uint64_t gla[2],
	uint64_t limit)
{
	struct piece p = {.count = limit, .acc = cpu->gpr[X86_RAX]};
	uint64_t src = addr_get(cpu, s, X86_RSI), dst = addr_get(cpu, s, X86_RDI), n;
	uint64_t count = limit;

	if (s->uses_si && (n = elements_in_page(s, src, gla[0])) < count)
		count = n;
	if (s->uses_di && (n = elements_in_page(s, dst, gla[1])) < count)
		count = n;
	if (count == 0)
		return 0;
	p.count = count;
	if (s->uses_si && (p.src = map_piece(cpu, s, s->src_seg, src, count, X86_ACC_READ)) == NULL)
		return 0;
	if (s->uses_di && (p.dst = map_piece(cpu, s, X86_ES, dst, count, s->dst_acc)) == NULL)
		return 0;
	run_native(s, &p);
	commit(cpu, s, count - p.count, p.acc);
	return count - p.count;
}

/*
 * One element by way of buffers.  Both sides are probed before anything is read, because reading a
 * device may have side effects.
 */
static enum x86_result do_element(struct x86_cpu *cpu, const struct string *s, const uint64_t gla[2])
{
	uint64_t src = 0, dst = 0;
	struct piece p = {.src = &src, .dst = &dst, .count = 1, .acc = cpu->gpr[X86_RAX]};
	unsigned read = x86_acc(cpu, X86_ACC_READ), dst_acc = x86_acc(cpu, s->dst_acc);
	enum x86_result res = X86_DONE;

	if (s->uses_si)
		res = x86_data_probe(cpu, gla[0], s->size, read);
	if (res == X86_DONE && s->uses_di)
		res = x86_data_probe(cpu, gla[1], s->size, dst_acc);
	if (res == X86_DONE && s->uses_si)
		res = x86_read(cpu, gla[0], &src, s->size, read);
	if (res == X86_DONE && compares(s))
		res = x86_read(cpu, gla[1], &dst, s->size, read);
	if (res != X86_DONE)
		return res;
	run_native(s, &p);
	if (s->uses_di && !compares(s))
		res = x86_write(cpu, gla[1], &dst, s->size, dst_acc);
	if (res == X86_DONE)
		commit(cpu, s, 1, p.acc);
	return res;
}

/* Checks the next element's addresses, then does it and what can go with it, at most `limit`. */
static enum x86_result do_some(struct x86_cpu *cpu, const struct string *s, uint64_t limit)
{
	enum x86_result res = X86_DONE;
	uint64_t gla[2] = {0, 0};

	if (s->uses_si)
		res = x86_data_linear(cpu, s->src_seg, addr_get(cpu, s, X86_RSI), s->size,
			X86_ACC_READ, &gla[0]);
	if (res == X86_DONE && s->uses_di)
		res = x86_data_linear(cpu, X86_ES, addr_get(cpu, s, X86_RDI), s->size, s->dst_acc,
			&gla[1]);
	if (res != X86_DONE || do_piece(cpu, s, gla, limit) > 0)
		return res;
	return do_element(cpu, s, gla);
}

/* REPE and REPNE end on ZF; the others only on the count. */
static bool compare_ended(const struct x86_cpu *cpu, const struct string *s)
{
	bool zf = cpu->rflags & X86_FL_ZF;

	return compares(s) && (s->rep == 0xF3 ? !zf : zf);
}

static enum x86_result repeat(struct x86_cpu *cpu, const struct string *s)
{
	while (addr_get(cpu, s, X86_RCX) != 0) {
		enum x86_result res = do_some(cpu, s, addr_get(cpu, s, X86_RCX));

		if (res != X86_DONE)
			return res;
		if (compare_ended(cpu, s))
			break;
		if (addr_get(cpu, s, X86_RCX) != 0 && cpu->ops->poll(cpu))
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
