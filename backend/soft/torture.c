/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Torture: what may be lost or happen at any time is, and does, at random but from a known seed.
 * Translations of addresses, links, pieces of code and whole caches go; write tags go; blocks are
 * cut anywhere; the loop is asked to look at events between any two blocks.  Nothing of it may be
 * seen by the guest.
 */
#include "backend/soft/soft.h"

/* xorshift64* (Marsaglia). */
static uint32_t draw(struct soft_vcpu *v)
{
	uint64_t x = v->torture;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	v->torture = x;
	return (uint32_t)(x * 0x2545f4914f6cdd1dull >> 32);
}

bool soft_torture_odds(struct soft_vcpu *v, unsigned one_in)
{
	return draw(v) % one_in == 0;
}

/* A page that is cached, if the dice find one. */
static uint64_t cached_page(struct soft_vcpu *v)
{
	const struct soft_tlb *t = v->tlb[draw(v) % SOFT_CLASSES];
	const struct soft_log *log = &t->log[draw(v) % 2];
	uint32_t n = log->n < SOFT_LOG_MAX ? log->n : SOFT_LOG_MAX;

	return n ? t->entry[log->index[draw(v) % n]].read : v->cpu.rip & ~0xfffull;
}

/* Nothing here touches code: translated code may be on its way. */
static void lose_translations(struct soft_vcpu *v)
{
	switch (draw(v) % 8) {
	case 0:
		soft_tlb_flush(v, X86_FLUSH_ALL, 0);
		break;
	case 1:
		soft_tlb_flush(v, X86_FLUSH_NONGLOBAL, 0);
		break;
	case 2:
		soft_tlb_drop_writes(v, SOFT_ALL_PAGES);
		break;
	case 3:
		soft_tlb_drop_writes(v, (uint64_t)draw(v) % 4096 << 12);
		break;
	case 4:
		soft_jc_flush(v);
		break;
	case 5: /* a bank, in use or not */
		soft_tlb_flush(v, X86_FLUSH_PCID, draw(v) % 16);
		soft_tlb_flush(v, X86_FLUSH_PCID_PAGE, cached_page(v) | draw(v) % 16);
		break;
	default:
		soft_tlb_flush(v, X86_FLUSH_PAGE, cached_page(v));
	}
}

void soft_torture_fill(struct soft_vcpu *v)
{
	if (soft_torture_odds(v, 8))
		lose_translations(v);
	if (soft_torture_odds(v, 4))
		atomic_store_explicit(&v->run, 0, memory_order_relaxed);
}

static void lose_piece(struct soft_vcpu *v)
{
	soft_piece_evict(v, draw(v) % v->cache.npieces);
}

/* Perhaps that of the jump which is to be linked to the block. */
void soft_torture_translate(struct soft_vcpu *v)
{
	if (soft_torture_odds(v, 64))
		lose_piece(v);
}

void soft_torture_loop(struct soft_vcpu *v)
{
	if (soft_torture_odds(v, 256))
		soft_cache_flush(v);
	if (soft_torture_odds(v, 64))
		soft_window_mirror(
			v, draw(v) % SOFT_CLASSES, cached_page(v), soft_torture_odds(v, 2));
	if (soft_torture_odds(v, 128))
		lose_piece(v);
	if (soft_torture_odds(v, 16))
		lose_translations(v);
	if (soft_torture_odds(v, 4))
		atomic_store_explicit(&v->run, 0, memory_order_relaxed);
}

unsigned soft_block_limit(struct soft_vcpu *v, unsigned most)
{
	unsigned limit = v->soft->max_insns;

	if (limit == 0 || limit > most)
		limit = most;
	if (soft_tortured(v) && !v->soft->max_insns && soft_torture_odds(v, 2))
		limit = 1 + draw(v) % (soft_torture_odds(v, 2) ? 4 : limit);
	return limit;
}
