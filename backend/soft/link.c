/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Who jumps where.  Direct jumps inside a page have a displacement that is patched, those to other
 * pages a slot of edge[].  Both lead to a stub behind their block at first, and again when what
 * they led to is evicted.
 *
 * A jump inside its piece goes when its target goes, so it needs no record.  The others are few, as
 * the blocks of a page are mostly made together; eviction looks through all of them, which costs
 * less than lists would at every link.  The jump cache is looked after block by block, in cache.c.
 */
#include "backend/soft/soft.h"

static bool is_in(const struct soft_piece *p, uint64_t off)
{
	return off - p->code < p->end - p->code;
}

static void aim(struct soft_cache *c, uint32_t site, uint32_t to)
{
	uint32_t rel = to - (site + 4);

	__builtin_memcpy(c->rw + site, &rel, 4);
}

void soft_link(struct soft_cache *c, uint32_t site, uint32_t to)
{
	struct soft_block *from;
	uint32_t rel;

	if (soft_piece_at(c, site) != soft_piece_at(c, to)) {
		if (c->nlinks == c->max_links)
			return; /* by its stub each time */
		__builtin_memcpy(&rel, c->rw + site, 4);
		c->links[c->nlinks++] = (struct soft_link){site, site + 4 + rel, to};
		from = soft_block_at(c, c->rx + site);
		if (from)
			from->recorded = true;
	}
	aim(c, site, to);
}

bool soft_edge_left(const struct soft_vcpu *v)
{
	return v->edge_free || v->nedges < SOFT_EDGES;
}

unsigned soft_edge_new(struct soft_vcpu *v)
{
	struct soft_piece *p = soft_filling(&v->cache);
	unsigned edge = v->edge_free ? v->edge_free - 1 : v->nedges++;

	if (v->edge_free)
		v->edge_free = v->edge_next[edge];
	v->edge_next[edge] = p->edges;
	p->edges = edge + 1;
	return edge;
}

void soft_edge_stub(struct soft_vcpu *v, unsigned edge, uint32_t stub)
{
	v->edge_stub[edge] = stub;
	v->edge[edge] = v->cache.rx + stub;
}

void soft_edges_drop(struct soft_vcpu *v, struct soft_piece *p, uint32_t before)
{
	while (p->edges != before) {
		uint32_t edge = p->edges - 1;

		p->edges = v->edge_next[edge];
		v->edge_next[edge] = v->edge_free;
		v->edge_free = edge + 1;
		v->edge[edge] = NULL;
	}
}

/* A dead block's jumps are not taken again, and where its first one was, its entry may be a jump. */
static bool is_of_dead(struct soft_cache *c, uint32_t site)
{
	const struct soft_block *b = soft_block_at(c, c->rx + site);

	return b && b->dead;
}

static void unlink_jumps(struct soft_cache *c, const struct soft_piece *p)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < c->nlinks; i++) {
		const struct soft_link *l = &c->links[i];

		if (is_in(p, l->site))
			continue;
		if (!is_in(p, l->to))
			c->links[kept++] = *l;
		else if (!is_of_dead(c, l->site))
			aim(c, l->site, l->stub);
	}
	c->nlinks = kept;
}

static void unlink_edges(struct soft_vcpu *v, const struct soft_piece *p, unsigned class)
{
	uint32_t kept = 0;

	for (uint32_t i = 0; i < v->edges_filled[class]; i++) {
		struct soft_filled f = v->edge_log[class][i];
		uint32_t edge = f.what >> 1;

		if (is_in(p, v->edge_stub[edge]))
			continue;
		if (is_in(p, (uint64_t)((const uint8_t *)v->edge[edge] - v->cache.rx)))
			soft_edge_stub(v, edge, v->edge_stub[edge]);
		else
			v->edge_log[class][kept++] = f;
	}
	v->edges_filled[class] = kept;
}

/* Jumps to blocks of the piece are still logged: the jump cache itself loses them with the blocks. */
static void unlog_jumps(struct soft_vcpu *v, const struct soft_piece *p, unsigned class)
{
	uint32_t kept = 0;

	if (v->jc_filled[class] > SOFT_JC_LOG)
		return;
	for (uint32_t i = 0; i < v->jc_filled[class]; i++) {
		struct soft_filled f = v->jc_log[class][i];

		if (!is_in(p, f.code))
			v->jc_log[class][kept++] = f;
	}
	v->jc_filled[class] = kept;
}

void soft_unlink(struct soft_vcpu *v, struct soft_piece *p)
{
	unlink_jumps(&v->cache, p);
	for (unsigned class = 0; class < SOFT_CLASSES; class ++) {
		unlink_edges(v, p, class);
		unlog_jumps(v, p, class);
	}
	soft_edges_drop(v, p, 0);
}

void soft_links_forget(struct soft_vcpu *v)
{
	soft_jc_flush(v);
	v->cache.nlinks = 0;
	v->nedges = v->edge_free = 0;
}
