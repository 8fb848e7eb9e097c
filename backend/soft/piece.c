/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The code cache in pieces.  A ring: blocks go into one piece until the next does not fit, then the
 * next piece is emptied and takes them.  A piece has code, metadata and block numbers of its own,
 * so that what is evicted together lies together, and nothing has to be freed one by one.  Where
 * the cache is too small for two pieces, one is all of it.
 *
 * Evicting happens between blocks, before one is translated, never while translated code is being
 * executed.  Who keeps an offset into the cache over a call of soft_translate() compares
 * c->evictions before and after.
 */
#include "backend/soft/soft.h"

void soft_pieces_create(struct soft_cache *c)
{
	uint32_t room = c->size - c->start, n = room / SOFT_PIECE_MIN, size, meta;

	c->npieces = n = n < 1 ? 1 : n < SOFT_PIECES ? n : SOFT_PIECES;
	c->piece_blocks = c->max_blocks / n;
	size = room / n & ~63u;
	meta = c->meta_size / n & ~15u;
	for (unsigned i = 0; i < n; i++) {
		struct soft_piece *p = &c->piece[i];

		p->code = p->used = c->start + i * size;
		p->end = p->code + size;
		p->meta = p->meta_used = i * meta;
		p->meta_end = p->meta + meta;
		p->first = i * c->piece_blocks;
	}
}

unsigned soft_piece_at(const struct soft_cache *c, uint64_t off)
{
	uint64_t i = (off - c->start) / (c->piece[0].end - c->piece[0].code);

	return i < c->npieces ? (unsigned)i : c->npieces;
}

bool soft_has_room(struct soft_cache *c, uint32_t code)
{
	const struct soft_piece *p = soft_filling(c);

	return p->end - p->used >= code && p->nblocks < c->piece_blocks;
}

void *soft_meta_alloc(struct soft_cache *c, uint32_t size, uint32_t align)
{
	struct soft_piece *p = soft_filling(c);
	uint32_t at = (p->meta_used + align - 1) & ~(align - 1);

	if (at > p->meta_end || p->meta_end - at < size)
		return NULL;
	p->meta_used = at + size;
	return c->meta + at;
}

/*
 * Blocks of a piece are laid out in the order of their numbers, so a host address finds its block
 * by bisection.  It begins at the end: what changes is mostly young.
 */
struct soft_block *soft_block_at(struct soft_cache *c, const void *host)
{
	uint64_t off = (uint64_t)((const uint8_t *)host - c->rx);
	unsigned piece = soft_piece_at(c, off);
	struct soft_block *b;
	uint32_t n, lo, hi;

	if (piece == c->npieces)
		return NULL;
	b = &c->blocks[c->piece[piece].first];
	n = lo = hi = c->piece[piece].nblocks;
	for (uint32_t step = 4; lo && soft_block_end(&b[lo - 1]) > off; step *= 4) {
		hi = lo;
		lo -= step < lo ? step : lo;
	}
	while (lo < hi) {
		uint32_t mid = (lo + hi) / 2;

		if (soft_block_end(&b[mid]) <= off)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < n && off >= b[lo].host_mem ? &b[lo] : NULL;
}

static void piece_clear(struct soft_piece *p)
{
	p->used = p->code;
	p->meta_used = p->meta;
	p->nblocks = 0;
	p->edges = 0;
}

void soft_piece_evict(struct soft_vcpu *v, unsigned piece)
{
	struct soft_piece *p = &v->cache.piece[piece];

	if (p->nblocks)
		v->stat_evictions++;
	v->stat_evicted_blocks += p->nblocks;
	soft_unlink(v, p);
	soft_blocks_remove(v, p);
	if (soft_tortured(v)) /* INT3: who still gets there does not get far */
		__builtin_memset(v->cache.rw + p->code, 0xcc, p->used - p->code);
	piece_clear(p);
	v->cache.evictions++;
	v->cache.reused++;
}

void soft_make_room(struct soft_vcpu *v)
{
	struct soft_cache *c = &v->cache;

	c->filling = (c->filling + 1) % c->npieces;
	soft_piece_evict(v, c->filling);
}

void soft_cache_flush(struct soft_vcpu *v)
{
	struct soft_cache *c = &v->cache;

	soft_blocks_forget(v);
	soft_links_forget(v);
	/* A memo may be for accesses of another size from now on, for which its limit is wrong. */
	soft_memo_reset(c);
	for (unsigned class = 0; class < SOFT_CLASSES; class ++)
		soft_memo_clear(v, class, false);
	for (unsigned i = 0; i < c->npieces; i++)
		piece_clear(&c->piece[i]);
	c->filling = 0;
	c->evictions++;
	c->reused++;
	v->stat_flushes++;
}
