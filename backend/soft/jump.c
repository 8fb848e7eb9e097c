/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Where the jump cache and edge[] lead to: blocks, each found through a mapping of its page.  Both
 * are there once, and are emptied when such a mapping may have changed.  Most often none has: a
 * process is run again that had to wait, or a kernel flushes all for the sake of a few pages.  So
 * what was in them is noted in a list for the page tables and the class, and is put back as soon as
 * those are in use again, as far as the blocks are there and their pages are mapped as they were.
 *
 * That is asked of the itlb and of the page tables, so a list never says what is true, only what is
 * worth asking: a processor, too, may read any translation ahead at any time (SDM vol. 3, 4.10.2.3).
 */
#include "backend/soft/soft.h"

#define EDGE	  0x80000000u /* in what a list has of one: EDGE | edge << 1 | flags parked */
#define TWO_PAGES 1u	      /* in soft_filled.page: not to be put back */
#define TURNS	  4u	      /* then a list begins anew, lest it keeps what was used once */
#define MAX_STALE 16u	      /* pages that are not as they were: nor will the others be */
_Static_assert(SOFT_EDGES << 1 < EDGE, "bits");

/* ---- filled ---- */

static struct soft_filled filled(
	const struct soft_vcpu *v, const struct soft_block *b, uint32_t what, bool parked)
{
	return (struct soft_filled){
		.rip = b->rip,
		.page = (b->gpa & ~0xfffull) | (b->page2 ? TWO_PAGES : 0),
		.what = what,
		.code = soft_entry(&v->cache, b, parked),
	};
}

static void fill_jump(struct soft_vcpu *v, unsigned class, const struct soft_filled *f)
{
	struct soft_jump *j = &v->jc[class][f->what];

	if (v->jc_filled[class] < SOFT_JC_LOG)
		v->jc_log[class][v->jc_filled[class]] = *f;
	if (v->jc_filled[class] <= SOFT_JC_LOG)
		v->jc_filled[class]++;
	j->rip = f->rip;
	j->code = v->cache.rx + f->code;
}

void soft_jump_enter(struct soft_vcpu *v, const struct soft_block *b)
{
	struct soft_filled f = filled(v, b, soft_jc_slot(b->rip), true);

	if (!soft_unlinked(v))
		fill_jump(v, SOFT_MODE_CLASS(b->mode), &f);
}

static bool is_stub(const struct soft_vcpu *v, unsigned edge)
{
	return v->edge[edge] == v->cache.rx + v->edge_stub[edge];
}

/*
 * An edge may be in logs still that it was filled for under another block, which has been dropped
 * since.
 */
static void fill_edge(struct soft_vcpu *v, unsigned class, const struct soft_filled *f)
{
	if (!is_stub(v, f->what >> 1))
		return; /* it is filled already */
	if (v->edges_filled[class] == SOFT_EDGES) {
		soft_jc_flush(v); /* with what it was noted to rest on: the next time, then */
		return;
	}
	v->edge[f->what >> 1] = v->cache.rx + f->code;
	v->edge_log[class][v->edges_filled[class]++] = *f;
}

void soft_edge_fill(struct soft_vcpu *v, uint32_t site, const struct soft_block *b)
{
	struct soft_filled f = filled(v, b, site, site & 1);

	fill_edge(v, SOFT_MODE_CLASS(b->mode), &f);
}

static void rests(struct soft_vcpu *v, unsigned class, uint64_t gla, bool global)
{
	unsigned bit = soft_filter_bit(gla >> 12, gla);

	v->jc_pages[class][bit / 64] |= 1ull << bit % 64;
	v->jc_words[class][bit / 4096] |= 1ull << bit / 64 % 64;
	if (!global)
		v->jc_nonglobal[class] = true;
}

void soft_jump_rests(struct soft_vcpu *v, const struct soft_block *b, bool global)
{
	rests(v, SOFT_MODE_CLASS(b->mode), b->rip, global);
	if (b->page2)
		rests(v, SOFT_MODE_CLASS(b->mode), b->rip + 4096, global);
}

/* ---- emptied ---- */

/* The list for these page tables, or else the one that has not been used for longest. */
static struct soft_jump_list *list_for(struct soft_vcpu *v, unsigned class)
{
	struct soft_jump_list *l = NULL;

	for (unsigned i = 0; i < SOFT_JUMP_LISTS; i++) {
		struct soft_jump_list *o = &v->jump_list[i];

		if (o->root == v->jump_root && o->class == class)
			return o;
		if (!l || o->used < l->used)
			l = o;
	}
	l->root = v->jump_root;
	l->class = (uint8_t)class;
	l->turns = 0;
	return l;
}

static void note(struct soft_jump_list *l, const struct soft_filled *f, uint32_t kind)
{
	if (l->n == SOFT_JUMP_NOTES || f->page & TWO_PAGES)
		return;
	l->note[l->n] = *f;
	l->note[l->n++].what |= kind;
}

/* An empty place has the rip of another place: there is none that a guest cannot have. */
static void empty_jumps(struct soft_vcpu *v, unsigned class, struct soft_jump_list *l)
{
	for (unsigned i = 0; i < v->jc_filled[class]; i++) {
		const struct soft_filled *f = &v->jc_log[class][i];
		struct soft_jump *j = &v->jc[class][f->what];

		if (l && j->rip == f->rip && j->code == v->cache.rx + f->code)
			note(l, f, 0);
		j->rip = ~(uint64_t)f->what;
	}
}

/* One that was given away meanwhile does not lead there. */
static void empty_edges(struct soft_vcpu *v, unsigned class, struct soft_jump_list *l)
{
	for (unsigned i = 0; i < v->edges_filled[class]; i++) {
		const struct soft_filled *f = &v->edge_log[class][i];
		unsigned edge = f->what >> 1;

		if (l && v->edge[edge] == v->cache.rx + f->code)
			note(l, f, EDGE);
		v->edge[edge] = v->cache.rx + v->edge_stub[edge];
	}
}

static void forget_pages(struct soft_vcpu *v, unsigned class)
{
	for (unsigned i = 0; i < SOFT_PAGE_FILTER / 4096; i++) {
		uint64_t *words = &v->jc_words[class][i];

		for (; *words; *words &= *words - 1)
			v->jc_pages[class][64 * i + (unsigned)__builtin_ctzll(*words)] = 0;
	}
	v->jc_nonglobal[class] = false;
}

static void empty(struct soft_vcpu *v, unsigned class, struct soft_jump_list *l)
{
	if (v->jc_filled[class] > SOFT_JC_LOG) {
		for (unsigned i = 0; i < SOFT_JC_ENTRIES; i++)
			v->jc[class][i].rip = ~(uint64_t)i;
	} else {
		empty_jumps(v, class, l);
	}
	empty_edges(v, class, l);
	v->jc_filled[class] = 0;
	v->edges_filled[class] = 0;
	forget_pages(v, class);
}

void soft_jump_drop(struct soft_vcpu *v, unsigned class)
{
	empty(v, class, NULL);
}

void soft_jump_leave(struct soft_vcpu *v, unsigned class)
{
	struct soft_jump_list *l;

	if (v->jc_filled[class] + v->edges_filled[class] == 0) {
		forget_pages(v, class);
		return;
	}
	l = list_for(v, class);
	l->n = 0;
	l->mode = v->mode;
	l->reused = v->cache.reused;
	l->used = ++v->jump_lists;
	empty(v, class, l);
}

void soft_jc_flush(struct soft_vcpu *v)
{
	for (unsigned c = 0; c < SOFT_CLASSES; c++)
		soft_jump_drop(v, c);
}

/* ---- and back ---- */

/* The page that was asked for last. */
struct asked {
	uint64_t number, gpa; /* gpa ~0: it is not to be had */
	unsigned stale;
};

/* Is the page still where it was? */
static bool is_mapped(
	struct soft_vcpu *v, unsigned class, const struct soft_filled *f, struct asked *a)
{
	const struct soft_itlb_entry *e;

	if (f->rip >> 12 != a->number) {
		e = soft_known_page(v, class, f->rip);
		a->number = f->rip >> 12;
		a->gpa = e ? e->gpa & ~0xfffull : ~0ull;
		if (a->gpa == f->page)
			rests(v, class, f->rip, e->gpa & SOFT_TLB_GLOBAL);
		else
			a->stale++;
	}
	return a->gpa == f->page;
}

static void put_back(struct soft_vcpu *v, const struct soft_jump_list *l)
{
	struct asked a = {.number = ~0ull};

	for (unsigned i = 0; i < l->n && a.stale < MAX_STALE; i++) {
		struct soft_filled f = l->note[i];
		bool edge = f.what & EDGE;

		f.what &= ~EDGE;
		if (!is_mapped(v, l->class, &f, &a))
			continue;
		if (edge)
			fill_edge(v, l->class, &f);
		else
			fill_jump(v, l->class, &f);
		v->stat_jumps_back++;
	}
}

void soft_jump_back(struct soft_vcpu *v)
{
	v->jump_root = v->cpu.cr3 & X86_PTE_ADDR;
	for (unsigned i = 0; i < SOFT_JUMP_LISTS; i++) {
		struct soft_jump_list *l = &v->jump_list[i];

		if (!l->n || l->root != v->jump_root || v->jc_filled[l->class] ||
			v->edges_filled[l->class])
			continue;
		if (l->reused == v->cache.reused && l->mode == v->mode && ++l->turns % TURNS)
			put_back(v, l);
		l->n = 0;
	}
}
