/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * String instructions in C: what the thunks of gen_string.c leave of MOVS and STOS (more than a
 * page, a miss, DF), and the others.
 *
 * The host's own repeated instruction does as many elements as lie one after the other in its
 * memory: pages that follow each other in the guest and have the same addend in the TLB do so on
 * the host, too. Where the TLB knows nothing, or holds no write tag because code is in the page, a
 * piece ends with the page.  An element that may fault, belongs to a device, or lies in two pages
 * that are no neighbours on the host is executed alone by x86/.
 *
 * What is longer than some pages asks the windows first (window.c), which know many at once; and if
 * the same place is looked up page by page again and again, one is made for it.
 */
#include "backend/soft/soft.h"

#define ROUND_MAX 65536u /* bytes: whoever wants something of the vcpu waits that long */
#define PIECES	  40u	 /* that many bytes in pages that are nowhere neighbours */
#define LONG	  8192u	 /* bytes: windows are asked */
#define PATIENCE                                                                                   \
	512u /* pages of one place that were looked up in vain before each look for one            \
	      */

struct string {
	uint16_t mnem;
	bool uses_si, uses_di, compares;
	bool back; /* DF */
	uint8_t rep;
	unsigned size, shift; /* of an element, and its log2: divisions would be felt */
	uint64_t mask;	      /* of the address size */
};

/* Elements one after the other, which the host has one after the other as well. */
struct piece {
	uint8_t *src, *dst;
	uint64_t count;
};

/* `insn` on the piece at p; `acc` is RAX. */
#define ONE(insn)                                                                                  \
	__asm__ volatile(insn                                                                      \
			 : "+a"(acc), "+S"(p->src), "+D"(p->dst), "+c"(p->count)                   \
			 :                                                                         \
			 : "cc", "memory")
#define EACH(insn)                                                                                 \
	for (; n; n--, p++)                                                                        \
	ONE(insn)
#define SIZED(DO, before, insn, behind)                                                            \
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
#define DIRECTED(DO, insn, behind)                                                                 \
	do {                                                                                       \
		if (s->back)                                                                       \
			SIZED(DO, "std\n\t", insn, "\n\tcld" behind);                              \
		else                                                                               \
			SIZED(DO, "", insn, behind);                                               \
	} while (0)
#define FLAGS "\n\tlahf\n\tseto %%al"

/* MOVS, STOS: all pieces. */
static void write_pieces(const struct string *s, struct piece *p, unsigned n, uint64_t acc)
{
	if (s->mnem == X86_I_movs)
		DIRECTED(EACH, "rep movs", "");
	else
		DIRECTED(EACH, "rep stos", "");
}

/* LODS, CMPS, SCAS: one piece.  RAX as it is then; of a comparison, the flags by LAHF and SETO. */
static uint64_t read_piece(const struct string *s, struct piece *p, uint64_t acc)
{
	if (s->mnem == X86_I_lods)
		DIRECTED(ONE, "rep lods", "");
	else if (s->mnem == X86_I_cmps && s->rep == 0xf2)
		DIRECTED(ONE, "repne cmps", FLAGS);
	else if (s->mnem == X86_I_cmps)
		DIRECTED(ONE, "repe cmps", FLAGS);
	else if (s->rep == 0xf2)
		DIRECTED(ONE, "repne scas", FLAGS);
	else
		DIRECTED(ONE, "repe scas", FLAGS);
	return acc;
}

/* REPE and REPNE end on ZF, the others on the count alone. */
static bool compare_ended(const struct x86_cpu *cpu, const struct string *s)
{
	bool zf = cpu->rflags & X86_FL_ZF;

	return s->compares && (s->rep == 0xf2 ? zf : !zf);
}

/* Elements done: all but behind the end of a comparison. */
static uint64_t read_pieces(
	struct x86_cpu *cpu, const struct string *s, struct piece *p, unsigned n)
{
	uint64_t done = 0, acc;

	for (; n; n--, p++) {
		done += p->count;
		acc = read_piece(s, p, cpu->gpr[X86_RAX]);
		done -= p->count;
		if (s->compares)
			cpu->rflags = (cpu->rflags & ~(uint64_t)X86_FL_STATUS) |
				      (acc >> 8 & X86_FL_STATUS & 0xff) | (acc & 1 ? X86_FL_OF : 0);
		else
			cpu->gpr[X86_RAX] = acc;
		if (compare_ended(cpu, s))
			break;
	}
	return done;
}

static void advance(struct x86_cpu *cpu, const struct string *s, unsigned reg, uint64_t delta)
{
	uint64_t value = (cpu->gpr[reg] & s->mask) + delta;

	cpu->gpr[reg] = value & s->mask; /* a 32-bit register's upper half is cleared */
}

static void commit(struct x86_cpu *cpu, const struct string *s, uint64_t count)
{
	uint64_t delta = s->back ? -(count << s->shift) : count << s->shift;

	if (s->uses_si)
		advance(cpu, s, X86_RSI, delta);
	if (s->uses_di)
		advance(cpu, s, X86_RDI, delta);
	if (s->rep)
		advance(cpu, s, X86_RCX, -count);
}

/* Which of the TLBs: as tlb.c has it for explicit accesses. */
static enum soft_class data_class(const struct soft_vcpu *v)
{
	if (v->cpu.cpl == 3)
		return SOFT_USER;
	return v->cpu.cr4 & X86_CR4_SMAP && v->cpu.rflags & X86_RF_AC ? SOFT_SUPER_AC : SOFT_SUPER;
}

/* The entry of a page; NULL: not there, or not for writing. */
static const struct soft_tlb_entry *entry_of(const struct soft_tlb *t, uint64_t page, bool write)
{
	const struct soft_tlb_entry *e = &t->entry[page >> 12 & (SOFT_TLB_ENTRIES - 1)];

	return (write ? e->write : e->read) == page ? e : NULL;
}

/* The source or the destination on its way through the pages. */
struct side {
	uint64_t gla;	/* of the next element */
	uint64_t add;	/* host address - linear address */
	uint64_t avail; /* bytes that `add` is good for, counted from the element's first (DF: last)
			   byte on */
	bool write;
	unsigned pages; /* that were looked up one by one */
};

/* By the TLB alone: at least one element.  False: it does not know, or the element lies in two
 * places. */
static inline bool enter_page(const struct soft_tlb *t, const struct string *s, struct side *side)
{
	const struct soft_tlb_entry *e;

	side->pages++;
	if (side->avail == 0) {
		uint64_t first = s->back ? side->gla + s->size - 1 : side->gla;

		e = entry_of(t, first & ~0xfffull, side->write);
		if (!e)
			return false;
		side->add = e->add;
		side->avail = s->back ? (first & 0xfff) + 1 : 4096 - (first & 0xfff);
		if (side->avail >= s->size)
			return true;
	}
	e = entry_of(t,
		s->back ? side->gla + s->size - side->avail - 4096 : side->gla + side->avail,
		side->write);
	side->avail += 4096;
	return e && e->add == side->add;
}

/* Before the first page, by a window that is known: nothing changes if there is none. */
static void enter_window(struct soft_vcpu *v, const struct string *s, struct side *side)
{
	uint64_t first = s->back ? side->gla + s->size - 1 : side->gla;
	struct soft_window w;

	if (!soft_window_listed(v, data_class(v), first, side->write, &w))
		return;
	side->add = w.add;
	side->avail = s->back ? first + 1 - w.lo : w.hi - first;
	if (side->avail < s->size)
		side->avail = 0;
}

/* A long string went through so many pages one by one. */
static void want_window(struct soft_vcpu *v, const struct side *side, uint64_t gla)
{
	const enum soft_class class = data_class(v);
	struct soft_string_place *p =
		&v->string_place[side->write][gla >> 16 & (SOFT_STRING_PLACES - 1)];
	struct soft_window w;

	if (p->gla >> 12 != gla >> 12)
		*p = (struct soft_string_place){.gla = gla};
	p->pages += side->pages;
	p->owed += side->pages;
	if (p->owed < PATIENCE)
		return;
	p->owed = 0;
	if (soft_window_find(v, class, gla, side->write, &w) &&
		soft_window_want(v, class, gla, side->write, &w, p->pages / SOFT_MEMO_DEBT))
		p->pages = 0;
}

static inline void pass(const struct string *s, struct side *side, uint64_t len)
{
	side->gla += s->back ? -len : len;
	side->avail -= len;
}

/* How many of `want` elements follow before the address size wraps around. */
static uint64_t before_wrap(
	const struct x86_cpu *cpu, const struct string *s, unsigned reg, uint64_t want)
{
	uint64_t offset = cpu->gpr[reg] & s->mask, above = s->mask - offset, n = want;

	if (above < s->size - 1)
		return 0;
	if (s->back && offset < ROUND_MAX)
		n = (offset >> s->shift) + 1;
	else if (!s->back && above < ROUND_MAX)
		n = (above + 1) >> s->shift;
	return n < want ? n : want;
}

/*
 * Does MOVS read what it has written?  Then both sides have to have the same addresses on the host
 * where they have the same ones in the guest, or the host's processor does not see it, and takes
 * more than an element at a time.
 */
static bool overlap(
	const struct string *s, const struct side *src, const struct side *dst, uint64_t want)
{
	uint64_t len = want << s->shift;

	return s->mnem == X86_I_movs && (dst->gla - src->gla < len || src->gla - dst->gla < len);
}

/*
 * Pieces of `want` elements, as far as windows and TLB have both sides of them; *done: elements in
 * them. Says how many pieces.  They are looked up before anything is copied, which would push the
 * TLB out of the L1 cache.
 */
static unsigned find_pieces(struct soft_vcpu *v, const struct string *s, uint64_t want,
	struct piece piece[PIECES], uint64_t *done)
{
	struct side src = {
		.gla = v->cpu.gpr[X86_RSI] & s->mask,
		.avail = s->uses_si ? 0 : UINT64_MAX,
	};
	struct side dst = {
		.gla = v->cpu.gpr[X86_RDI] & s->mask,
		.avail = s->uses_di ? 0 : UINT64_MAX,
		.write = !s->compares,
	};
	const struct soft_tlb *t = v->tlb[data_class(v)];
	const bool is_long = want << s->shift >= LONG && !overlap(s, &src, &dst, want);
	uint64_t left = want, count, add[2] = {0, 0};
	unsigned n = 0;

	if (is_long && s->uses_si)
		enter_window(v, s, &src);
	if (is_long && s->uses_di)
		enter_window(v, s, &dst);
	while (left) {
		if (src.avail < s->size && !enter_page(t, s, &src))
			break;
		if (dst.avail < s->size && !enter_page(t, s, &dst))
			break;
		count = (src.avail < dst.avail ? src.avail : dst.avail) >> s->shift;
		if (count > left)
			count = left;
		if (n && src.add == add[0] && dst.add == add[1]) {
			piece[n - 1].count += count;
		} else if (n < PIECES) {
			add[0] = src.add;
			add[1] = dst.add;
			piece[n++] = (struct piece){(uint8_t *)(uintptr_t)(src.gla + src.add),
				(uint8_t *)(uintptr_t)(dst.gla + dst.add), count};
		} else {
			break;
		}
		pass(s, &src, count << s->shift);
		pass(s, &dst, count << s->shift);
		left -= count;
	}
	*done = want - left;
	if (is_long && src.pages)
		want_window(v, &src, v->cpu.gpr[X86_RSI] & s->mask);
	if (is_long && dst.pages)
		want_window(v, &dst, v->cpu.gpr[X86_RDI] & s->mask);
	return n;
}

/* How many of `want` elements lie in the page of the first; 0 if that one is not inside it. */
static uint64_t in_page(const struct string *s, uint64_t gla, uint64_t want)
{
	uint64_t off = gla & 0xfff, n;

	if (off + s->size > 4096)
		return 0;
	n = s->back ? (off >> s->shift) + 1 : (4096 - off) >> s->shift;
	return n < want ? n : want;
}

/* Host address of the first of `count` elements of one page, which enters the TLB if it may. */
static uint8_t *map_side(
	struct soft_vcpu *v, const struct string *s, unsigned reg, unsigned acc, uint64_t count)
{
	uint64_t gla = v->cpu.gpr[reg] & s->mask, back_by = s->back ? (count - 1) << s->shift : 0;
	enum x86_result res;
	uint8_t *host;

	if (!x86_canonical(gla))
		return NULL;
	host = soft_x86_ops.map(&v->cpu, gla - back_by, (unsigned)(count << s->shift),
		acc | (v->cpu.cpl == 3 ? X86_ACC_USER : 0), &res);
	return host ? host + back_by : NULL;
}

/* What lies in the first page of both sides.  False: the next element has to be executed alone. */
static bool map_piece(struct soft_vcpu *v, const struct string *s, struct piece *p)
{
	unsigned acc = s->compares ? X86_ACC_READ : X86_ACC_WRITE;

	if (s->uses_si)
		p->count = in_page(s, v->cpu.gpr[X86_RSI] & s->mask, p->count);
	if (s->uses_di)
		p->count = in_page(s, v->cpu.gpr[X86_RDI] & s->mask, p->count);
	if (p->count == 0)
		return false;
	p->src = s->uses_si ? map_side(v, s, X86_RSI, X86_ACC_READ, p->count) : NULL;
	if (s->uses_si && !p->src)
		return false;
	p->dst = s->uses_di ? map_side(v, s, X86_RDI, acc, p->count) : NULL;
	return p->dst || !s->uses_di;
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
	uint64_t max = ROUND_MAX >> s->shift, done;
	struct piece piece[PIECES];
	unsigned n;

	if (left < max)
		max = left;
	if (s->uses_di)
		max = before_wrap(&v->cpu, s, X86_RDI, max);
	if (s->uses_si)
		max = before_wrap(&v->cpu, s, X86_RSI, max);
	n = find_pieces(v, s, max, piece, &done);
	if (n == 0) {
		piece[0].count = max;
		if (!map_piece(v, s, &piece[0]))
			return do_element(v, s, insn);
		done = piece[0].count;
		n = 1;
	}
	if (s->mnem == X86_I_movs || s->mnem == X86_I_stos)
		write_pieces(s, piece, n, v->cpu.gpr[X86_RAX]);
	else
		done = read_pieces(&v->cpu, s, piece, n);
	commit(&v->cpu, s, done);
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
		if (compare_ended(&v->cpu, s))
			break;
		if (left && !may_go_on(v))
			return X86_AGAIN;
	}
	return X86_DONE;
}

const void *soft_op_string(struct soft_vcpu *v, struct soft_op *op)
{
	const struct x86_insn *insn = &op->insn;
	unsigned size = insn->opcode & 1 ? insn->opsize : 1, mnem = insn->row->mnem;
	const struct string s = {
		.mnem = (uint16_t)mnem,
		.uses_si = mnem == X86_I_movs || mnem == X86_I_lods || mnem == X86_I_cmps,
		.uses_di = mnem != X86_I_lods,
		.compares = mnem == X86_I_cmps || mnem == X86_I_scas,
		.back = v->cpu.rflags & X86_RF_DF,
		.rep = insn->rep,
		.size = size,
		.shift = (unsigned)__builtin_ctz(size),
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
	if (stale || !may_go_on(v) || (soft_tortured(v) && soft_torture_odds(v, 4)))
		return soft_finish(v, res, NULL);
	return soft_finish(v, res, op->resume);
}
