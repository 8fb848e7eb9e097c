/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Memos: what places in translated code know about the page that they touched last, and the run of
 * pages around it.
 *
 * A memo that misses gets the one page that the TLB has.  When it has missed often, C looks for a
 * window around it, window.c.  The memo's limit is the last offset from which an access of its size
 * stays in the window, so a memo serves accesses of one size, or a little less; they are handed out
 * in chunks for each, and again when all are taken.
 */
#include "backend/soft/soft.h"

#define HALF	      (SOFT_MEMOS / 2) /* the second one is for writing */
#define GROUPS	      (SOFT_MEMOS / SOFT_MEMO_GROUP)
#define CHUNKS	      (HALF / SOFT_MEMO_CHUNK)
#define FIRST	      (SOFT_MEMOS_OF_ONE / SOFT_MEMO_CHUNK) /* chunks that each size has from the start */
#define MISSES	      1024u				    /* before the first look */
#define MISSES_ON     512u /* before the next one where that found a window */
#define MISSES_OFF    512u /* ... and where not */
#define MISSES_BESIDE 32u  /* before the next one in a page with code */

/*
 * A block has two memos for each of its 64 instructions at most, and each must be another one: what
 * a group's leader has checked is used further on.
 */
_Static_assert(FIRST *SOFT_MEMO_CHUNK >= 128, "memos of one size");
_Static_assert(FIRST *SOFT_MEMO_SIZES <= CHUNKS, "chunks");

/* ---- which memo for whom ---- */

static const uint16_t sizes[SOFT_MEMO_SIZES] = {1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256};

static unsigned code_of(unsigned size)
{
	unsigned code = 0;

	while (sizes[code] < size)
		code++;
	return code;
}

void soft_memo_reset(struct soft_cache *c)
{
	for (unsigned write = 0; write < 2; write++) {
		struct soft_memos *m = &c->memos[write];

		*m = (struct soft_memos){.chunks = FIRST * SOFT_MEMO_SIZES};
		for (unsigned i = 0; i < m->chunks; i++)
			m->code[i] = (uint8_t)(i / FIRST);
		for (unsigned code = 0; code < SOFT_MEMO_SIZES; code++)
			m->next[code] = (uint16_t)(code * FIRST * SOFT_MEMO_CHUNK);
	}
}

/* The chunk behind one of this size: a new one as long as there are any. */
static unsigned next_chunk(struct soft_memos *m, unsigned code, unsigned chunk)
{
	unsigned last = chunk;

	for (unsigned i = chunk + 1; i < m->chunks; i++)
		if (m->code[i] == code)
			return i;
	if (m->chunks < CHUNKS) {
		m->code[m->chunks] = (uint8_t)code;
		return m->chunks++;
	}
	while (m->code[last = (last + 1) % CHUNKS] != code)
		;
	return last;
}

unsigned soft_memo_new(struct soft_vcpu *v, unsigned class, unsigned size, bool write)
{
	struct soft_memos *m = &v->cache.memos[write];
	unsigned code = code_of(size), n = m->next[code];
	struct soft_memo *memo = &v->memo[class][n + (write ? HALF : 0)];

	m->next[code]++;
	if (m->next[code] % SOFT_MEMO_CHUNK == 0)
		m->next[code] =
			(uint16_t)(next_chunk(m, code, n / SOFT_MEMO_CHUNK) * SOFT_MEMO_CHUNK);
	memo->room = (uint16_t)(4096 - sizes[code]);
	memo->misses = soft_tortured(v) ? 1 : MISSES;
	memo->debt = 0;
	return n + (write ? HALF : 0);
}

/* ---- forgetting ---- */

void soft_memo_init(struct soft_vcpu *v)
{
	for (unsigned c = 0; c < SOFT_CLASSES; c++)
		for (unsigned i = 0; i < SOFT_MEMOS; i++)
			v->memo[c][i].tag = SOFT_MEMO_EMPTY;
}

static void group_clear(struct soft_vcpu *v, unsigned class, unsigned group)
{
	struct soft_memo *memo = &v->memo[class][group * SOFT_MEMO_GROUP];

	if (!v->memo_used[class].byte[group])
		return;
	for (unsigned k = 0; k < SOFT_MEMO_GROUP; k++)
		memo[k].tag = SOFT_MEMO_EMPTY;
	v->memo_used[class].byte[group] = 0;
}

void soft_memo_clear(struct soft_vcpu *v, unsigned class, bool writes_only)
{
	soft_window_clear(v, class, writes_only);
	for (unsigned i = writes_only ? GROUPS / 16 : 0; i < GROUPS / 8; i++)
		for (unsigned k = 0; v->memo_used[class].word[i] && k < 8; k++)
			group_clear(v, class, 8 * i + k);
}

static bool knows(const struct soft_memo *m, uint64_t page)
{
	return page - (m->tag & ~0xfffull) < m->limit + 4096;
}

void soft_memo_drop(struct soft_vcpu *v, unsigned class, uint64_t gla)
{
	soft_window_drop(v, class, gla);
	for (unsigned i = 0; i < GROUPS; i++)
		for (unsigned k = 0; v->memo_used[class].byte[i] && k < SOFT_MEMO_GROUP; k++) {
			struct soft_memo *m = &v->memo[class][i * SOFT_MEMO_GROUP + k];

			if (knows(m, gla & ~0xfffull))
				m->tag = SOFT_MEMO_EMPTY;
		}
}

/* ---- windows ---- */

/*
 * Counts what the memo has missed since the last look, in SOFT_MEMO_DEBT. True each time that the
 * sum has doubled.  A memo with a window keeps missing because its accesses go elsewhere, too.
 */
static bool owe(struct soft_memo *m)
{
	unsigned more = (m->limit > 4096 ? MISSES_ON : MISSES_OFF) / SOFT_MEMO_DEBT,
		 before = m->debt, sum = before + more;

	m->debt = (uint16_t)(sum < UINT16_MAX ? sum : UINT16_MAX);
	return before == 0 || __builtin_clz(before) != __builtin_clz(m->debt);
}

bool soft_memo_widen(
	struct soft_vcpu *v, unsigned class, uint64_t gla, unsigned size, unsigned n, bool write)
{
	struct soft_memo *m = &v->memo[class][n];
	bool doubled = owe(m);
	struct soft_window w;

	m->misses = soft_tortured(v) ? 1 : MISSES_OFF;
	if (!soft_window_find(v, class, gla, write, &w))
		return false;
	if (w.hi - w.lo > 4096)
		m->misses = MISSES_ON;
	if (doubled && soft_window_want(v, class, gla, write, &w, m->debt))
		m->debt = 0;
	if (gla - w.lo > w.hi - w.lo - size)
		return false;
	m->tag = w.lo;
	m->add = w.add;
	m->limit = w.hi - w.lo - 4096 + m->room;
	v->memo_used[class].byte[n / SOFT_MEMO_GROUP] = 1;
	v->fill_add = w.add;
	return true;
}

/* ---- stores beside code ---- */

void soft_memo_beside(
	struct soft_vcpu *v, unsigned class, uint64_t gla, unsigned n, uint64_t lines, uint64_t add)
{
	struct soft_memo *m = &v->memo[class][n];
	unsigned lo = (unsigned)(gla & 0xfff) / 64, hi = lo + 1, size = 4096u - m->room;

	if ((int32_t)m->misses > 0)
		return;
	m->misses = soft_tortured(v) ? 1 : lines ? MISSES_BESIDE : MISSES_OFF;
	if (!lines || lines >> lo & 1)
		return;
	while (lo && !(lines >> (lo - 1) & 1))
		lo--;
	while (hi < 64 && !(lines >> hi & 1))
		hi++;
	if (64 * (hi - lo) < size)
		return;
	m->tag = (gla & ~0xfffull) + 64 * lo;
	m->add = add;
	m->limit = 64 * (hi - lo) - size;
	v->memo_used[class].byte[n / SOFT_MEMO_GROUP] = 1;
	v->memos_beside = true;
	v->stat_beside++;
}

void soft_memo_code_added(struct soft_vcpu *v)
{
	for (unsigned class = 0; v->memos_beside && class < SOFT_CLASSES; class ++)
		soft_memo_clear(v, class, true);
	v->memos_beside = false;
}
