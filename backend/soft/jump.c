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
#include <assert.h>

#include "backend/soft/soft.h"

#define EDGE	  0x80000000u /* in what a list has of one: EDGE | edge << 1 | flags parked */
#define TURNS	  4u 	      /* then a list begins anew, lest it keeps what was used once */
#define MAX_STALE 16u	      /* pages that are not as they were: nor will the others be */
_Static_assert(SOFT_EDGES << 1 < EDGE, "bits");

/* ---- filled ---- */

void soft_jump_enter(struct soft_vcpu *v, const struct soft_block *b)
{
	unsigned class = SOFT_MODE_CLASS(b->mode), slot = soft_jc_slot(b->rip);
	struct soft_jump *j = &v->jc[class][slot];

	if (soft_unlinked(v))
		return;
	if (v->jc_filled[class] < SOFT_JC_LOG)
		v->jc_log[class][v->jc_filled[class]] =
			(struct soft_filled){slot, (uint32_t)(b - v->cache.blocks)};
	if (v->jc_filled[class] <= SOFT_JC_LOG)
		v->jc_filled[class]++;
	j->rip = b->rip;
	j->code = v->cache.rx + soft_entry(&v->cache, b, true);
}

/*
 * An edge may be in logs still that it was filled for under another block, which has been dropped
 * since.
 */
void soft_edge_fill(struct soft_vcpu *v, uint32_t site, const struct soft_block *b)
{
	unsigned class = SOFT_MODE_CLASS(b->mode), edge = site >> 1;

	if (v->edges_filled[class] == SOFT_EDGES)
		soft_jc_flush(v);
	assert(v->edge[edge] == v->cache.rx + v->edge_stub[edge]);
	v->edge[edge] = v->cache.rx + soft_entry(&v->cache, b, site & 1);
	v->edge_log[class][v->edges_filled[class]++] =
		(struct soft_filled){site, (uint32_t)(b - v->cache.blocks)};
}

void soft_jump_rests(struct soft_vcpu *v, const struct soft_block *b, bool global)
{
	unsigned class = SOFT_MODE_CLASS(b->mode);

	for (unsigned i = 0; i < (b->page2 ? 2u : 1u); i++) {
		unsigned slot = soft_filter_bit((b->rip >> 12) + i, b->rip);

		v->jc_pages[class][slot / 64] |= 1ull << slot % 64;
		v->jc_words[class][slot / 4096] |= 1ull << slot / 64 % 64;
	}
	if (!global)
		v->jc_nonglobal[class] = true;
}

/* ---- emptied ---- */

/* The list for these page tables, or else the one that has not been used for longest, empty. */
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

static void note(struct soft_jump_list *l, uint32_t what, uint32_t block)
{
	if (l->n < SOFT_JUMP_NOTES)
		l->note[l->n++] = (struct soft_filled){what, block};
}

/* An empty place has the rip of another place: there is none that a guest cannot have. */
static void empty_jumps(struct soft_vcpu *v, unsigned class, struct soft_jump_list *l)
{
	struct soft_jump *jc = v->jc[class];

	for (unsigned i = 0; i < v->jc_filled[class]; i++) {
		const struct soft_filled *f = &v->jc_log[class][i];

		if (l && jc[f->what].rip == v->cache.blocks[f->block].rip)
			note(l, 0, f->block);
		jc[f->what].rip = ~(uint64_t)f->what;
	}
}

/* One that was given away meanwhile does not lead there. */
static void empty_edges(struct soft_vcpu *v, unsigned class, struct soft_jump_list *l)
{
	const struct soft_cache *c = &v->cache;

	for (unsigned i = 0; i < v->edges_filled[class]; i++) {
		const struct soft_filled *f = &v->edge_log[class][i];
		unsigned edge = f->what >> 1;

		if (l && v->edge[edge] ==
				 c->rx + soft_entry(c, &c->blocks[f->block], f->what & 1))
			note(l, EDGE | f->what, f->block);
		v->edge[edge] = c->rx + v->edge_stub[edge];
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

struct back {
	struct soft_vcpu *v;
	unsigned class, stale;
	uint64_t page, gpa; /* the last one that was asked for; gpa: 0: not known */
	bool global;
};

/* Is the page of the block still where it was? */
static bool is_mapped(struct back *p, const struct soft_block *b)
{
	const struct soft_itlb_entry *e;

	if (b->rip >> 12 != p->page) {
		e = soft_known_page(p->v, p->class, b->rip);
		p->page = b->rip >> 12;
		p->gpa = e ? e->gpa & ~0xfffull : ~0ull;
		p->global = e && e->gpa & SOFT_TLB_GLOBAL;
		p->stale += p->gpa != (b->gpa & ~0xfffull);
	}
	return p->gpa == (b->gpa & ~0xfffull);
}

static void put_back(struct back *p, const struct soft_filled *f)
{
	struct soft_vcpu *v = p->v;
	const struct soft_block *b = &v->cache.blocks[f->block];
	unsigned edge = (f->what & ~EDGE) >> 1;

	if (b->dead || b->page2 || SOFT_MODE_JCKEY(b->mode) != v->mode ||
		SOFT_MODE_CLASS(b->mode) != p->class || !is_mapped(p, b))
		return;
	if (!(f->what & EDGE))
		soft_jump_enter(v, b);
	else if (v->edge[edge] == v->cache.rx + v->edge_stub[edge])
		soft_edge_fill(v, f->what & ~EDGE, b);
	soft_jump_rests(v, b, p->global);
	v->stat_jumps_back++;
}

static void class_back(struct soft_vcpu *v, struct soft_jump_list *l)
{
	struct back p = {.v = v, .class = l->class, .page = ~0ull};

	for (unsigned i = 0; i < l->n && p.stale < MAX_STALE; i++) {
		if (i + 8 < l->n)
			__builtin_prefetch(&v->cache.blocks[l->note[i + 8].block]);
		put_back(&p, &l->note[i]);
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
		if (l->reused == v->cache.reused && ++l->turns % TURNS)
			class_back(v, l);
		l->n = 0;
	}
}
