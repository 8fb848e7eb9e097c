/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * MOVS and STOS in C, for what the thunks of gen_string.c leave: more than a page, a miss, DF.
 *
 * The host's own repeated instruction does as many elements as lie one after the other in its memory:
 * pages that follow each other in the guest and have the same addend in the TLB do so on the host, too.
 * Where the TLB knows nothing, or holds no write tag because code is in the page, a piece ends with the
 * page.  An element that may fault, belongs to a device, or lies in two pages that are no neighbours on
 * the host is executed alone by x86/.
 */
#include "backend/soft/soft.h"

#define PIECE_MAX 65536u /* bytes: whoever wants something of the vcpu waits that long */

struct string {
	bool movs, back; /* back: DF */
	uint8_t rep;
	unsigned size; /* of an element */
	uint64_t mask; /* of the address size */
};

/* Elements one after the other, which the host has one after the other as well. */
struct piece {
	const uint8_t *src;
	uint8_t *dst;
	uint64_t count;
};

#define MOVS(insn) __asm__ volatile(insn : "+S"(src), "+D"(dst), "+c"(count) : : "memory")
#define STOS(insn) __asm__ volatile(insn : "+D"(dst), "+c"(count) : "a"(value) : "memory")
#define SIZED(DO, insn, before, behind)                                                            \
	do {                                                                                       \
		if (s->size == 1)                                                                  \
			DO(before insn "b" behind);                                                \
		else if (s->size == 2)                                                             \
			DO(before insn "w" behind);                                                \
		else if (s->size == 4)                                                             \
			DO(before insn "l" behind);                                                \
		else                                                                               \
			DO(before insn "q" behind);                                                \
	} while (0)

static void run_native(const struct string *s, const struct piece *p, uint64_t value)
{
	const uint8_t *src = p->src;
	uint64_t count = p->count;
	uint8_t *dst = p->dst;

	if (s->movs && s->back)
		SIZED(MOVS, "rep movs", "std\n\t", "\n\tcld");
	else if (s->movs)
		SIZED(MOVS, "rep movs", "", "");
	else if (s->back)
		SIZED(STOS, "rep stos", "std\n\t", "\n\tcld");
	else
		SIZED(STOS, "rep stos", "", "");
}

static void advance(struct x86_cpu *cpu, const struct string *s, unsigned reg, uint64_t delta)
{
	uint64_t value = (cpu->gpr[reg] & s->mask) + delta;

	cpu->gpr[reg] = value & s->mask; /* a 32-bit register's upper half is cleared */
}

static void commit(struct x86_cpu *cpu, const struct string *s, uint64_t count)
{
	uint64_t delta = s->back ? -(count * s->size) : count * s->size;

	if (s->movs)
		advance(cpu, s, X86_RSI, delta);
	advance(cpu, s, X86_RDI, delta);
	if (s->rep)
		advance(cpu, s, X86_RCX, -count);
}

/* Which of the TLBs: as tlb.c has it for explicit accesses. */
static const struct soft_tlb *data_tlb(const struct soft_vcpu *v)
{
	if (v->cpu.cpl == 3)
		return &v->tlb[SOFT_USER];
	if (v->cpu.cr4 & X86_CR4_SMAP && v->cpu.rflags & X86_RF_AC)
		return &v->tlb[SOFT_SUPER_AC];
	return &v->tlb[SOFT_SUPER];
}

/* The entry of a page; NULL: not there, or not for writing. */
static const struct soft_tlb_entry *entry_of(const struct soft_tlb *t, uint64_t page, bool write)
{
	const struct soft_tlb_entry *e = &t->entry[page >> 12 & (SOFT_TLB_ENTRIES - 1)];

	return (write ? e->write : e->read) == page ? e : NULL;
}

static bool goes_on(const struct soft_tlb *t, uint64_t page, bool write, uint64_t add)
{
	const struct soft_tlb_entry *e = entry_of(t, page, write);

	return e && e->add == add;
}

/*
 * How many of `want` elements from gla on the TLB knows to lie one after the other on the host, where the
 * first one is then *host.
 */
static uint64_t reach(const struct soft_tlb *t, const struct string *s, uint64_t gla, bool write,
	uint64_t want, uint8_t **host)
{
	uint64_t len = want * s->size, low, high;
	uint64_t page = (s->back ? gla + s->size - 1 : gla) & ~0xfffull;
	const struct soft_tlb_entry *e = entry_of(t, page, write);

	if (!e)
		return 0;
	*host = (uint8_t *)(uintptr_t)(gla + e->add);
	low = s->back ? page : gla;
	high = s->back ? gla + s->size : page + 4096;
	while (high - low < len && goes_on(t, s->back ? low - 4096 : high, write, e->add)) {
		if (s->back)
			low -= 4096;
		else
			high += 4096;
	}
	return high - low < len ? (high - low) / s->size : want;
}

/* How many of `want` elements follow before the address size wraps around. */
static uint64_t before_wrap(const struct x86_cpu *cpu, const struct string *s, unsigned reg, uint64_t want)
{
	uint64_t offset = cpu->gpr[reg] & s->mask, above = s->mask - offset, n = want;

	if (above < s->size - 1)
		return 0;
	if (s->back && offset < PIECE_MAX)
		n = offset / s->size + 1;
	else if (!s->back && above < PIECE_MAX)
		n = (above + 1) / s->size;
	return n < want ? n : want;
}

/* By the TLB alone. False: it has not both sides. */
static bool find_piece(struct soft_vcpu *v, const struct string *s, struct piece *p)
{
	const struct soft_tlb *t = data_tlb(v);
	uint8_t *src = NULL;

	if (s->movs)
		p->count = reach(t, s, v->cpu.gpr[X86_RSI] & s->mask, false, p->count, &src);
	if (p->count)
		p->count = reach(t, s, v->cpu.gpr[X86_RDI] & s->mask, true, p->count, &p->dst);
	p->src = src;
	return p->count != 0;
}

/* How many of `want` elements lie in the page of the first; 0 if that one is not inside it. */
static uint64_t in_page(const struct string *s, uint64_t gla, uint64_t want)
{
	uint64_t off = gla & 0xfff, n;

	if (off + s->size > 4096)
		return 0;
	n = s->back ? off / s->size + 1 : (4096 - off) / s->size;
	return n < want ? n : want;
}

/* Host address of the first of `count` elements of one page, which enters the TLB if it may. */
static uint8_t *map_side(
	struct soft_vcpu *v, const struct string *s, unsigned reg, unsigned acc, uint64_t count)
{
	uint64_t gla = v->cpu.gpr[reg] & s->mask, back_by = s->back ? (count - 1) * s->size : 0;
	enum x86_result res;
	uint8_t *host;

	if (!x86_canonical(gla))
		return NULL;
	host = soft_x86_ops.map(&v->cpu, gla - back_by, (unsigned)(count * s->size),
		acc | (v->cpu.cpl == 3 ? X86_ACC_USER : 0), &res);
	return host ? host + back_by : NULL;
}

/* What lies in the first page of both sides.  False: the next element has to be executed alone. */
static bool map_piece(struct soft_vcpu *v, const struct string *s, struct piece *p)
{
	if (s->movs)
		p->count = in_page(s, v->cpu.gpr[X86_RSI] & s->mask, p->count);
	p->count = in_page(s, v->cpu.gpr[X86_RDI] & s->mask, p->count);
	if (p->count == 0)
		return false;
	if (s->movs) {
		p->src = map_side(v, s, X86_RSI, X86_ACC_READ, p->count);
		if (!p->src)
			return false;
	}
	p->dst = map_side(v, s, X86_RDI, X86_ACC_WRITE, p->count);
	return p->dst != NULL;
}

/* One element by the instruction without its prefix. */
static enum x86_result do_element(
	struct soft_vcpu *v, const struct string *s, const struct x86_insn *insn)
{
	struct x86_insn single = *insn;
	uint64_t rip = v->cpu.rip;
	enum x86_result res;

	single.rep = 0;
	res = x86_execute(&v->cpu, &single);
	v->cpu.rip = rip;
	if (res == X86_DONE && s->rep)
		advance(&v->cpu, s, X86_RCX, -1ull);
	return res;
}

static enum x86_result do_some(
	struct soft_vcpu *v, const struct string *s, const struct x86_insn *insn, uint64_t left)
{
	uint64_t max = PIECE_MAX / s->size;
	struct piece p;

	max = before_wrap(&v->cpu, s, X86_RDI, left < max ? left : max);
	if (s->movs)
		max = before_wrap(&v->cpu, s, X86_RSI, max);
	p.count = max;
	if (max && !find_piece(v, s, &p)) {
		p.count = max;
		if (!map_piece(v, s, &p))
			p.count = 0;
	}
	if (p.count == 0)
		return do_element(v, s, insn);
	run_native(s, &p, v->cpu.gpr[X86_RAX]);
	commit(&v->cpu, s, p.count);
	return X86_DONE;
}

static bool may_go_on(struct soft_vcpu *v)
{
	return atomic_load_explicit(&v->run, memory_order_relaxed);
}

/* *stale: translated code has changed on the way. */
static enum x86_result repeat(
	struct soft_vcpu *v, const struct string *s, const struct x86_insn *insn, bool *stale)
{
	uint64_t left = s->rep ? v->cpu.gpr[X86_RCX] & s->mask : 1;

	while (left) {
		enum x86_result res = do_some(v, s, insn, left);

		if (v->npending_writes || v->pending_overflow)
			*stale |= soft_writes_done(v);
		if (res != X86_DONE)
			return res;
		left = s->rep ? v->cpu.gpr[X86_RCX] & s->mask : 0;
		if (left && !may_go_on(v))
			return X86_AGAIN;
	}
	return X86_DONE;
}

const void *soft_op_string(struct soft_vcpu *v, struct soft_op *op)
{
	const struct x86_insn *insn = &op->insn;
	const struct string s = {
		.movs = insn->row->mnem == X86_I_movs,
		.back = v->cpu.rflags & X86_RF_DF,
		.rep = insn->rep,
		.size = insn->opcode & 1 ? insn->opsize : 1,
		.mask = insn->addrsize == 8 ? UINT64_MAX : UINT32_MAX,
	};
	enum x86_result res;
	bool stale = false;

	v->cpu.rip = op->rip;
	v->insn_len = insn->len;
	v->stat_c_string++;
	res = repeat(v, &s, insn, &stale);
	if (res == X86_DONE) {
		v->cpu.rip += insn->len;
		if (insn->code_size != 64)
			v->cpu.rip = (uint32_t)v->cpu.rip;
	}
	return soft_finish(v, res, stale || !may_go_on(v) ? NULL : op->resume);
}
