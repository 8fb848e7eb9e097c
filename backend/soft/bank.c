/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Banks: a set of TLBs for each of the PCIDs that were used last (SDM vol. 3, 4.10).
 *
 * A CR3 write goes from one bank to another by changing the pointers in tlb[], and what a bank
 * holds is looked at only when something in it has to go.  Memos, jump caches and the slots of
 * edges are there once: what rests on pages that are not global leaves them with the PCID, and is
 * taken from the bank again when the PCID is back.  Global pages are entered into each bank for
 * itself.  For the jump cache and edges jump.c knows what there was.
 *
 * Without CR4.PCIDE all is PCID 0, and a CR3 write empties its bank of what is not global.
 */
#include "backend/soft/soft.h"

static struct soft_bank *bank_of(struct soft_vcpu *v, unsigned pcid)
{
	for (unsigned i = 0; i < SOFT_BANKS; i++)
		if (v->bank[i].valid && v->bank[i].pcid == pcid)
			return &v->bank[i];
	return NULL;
}

static bool is_in_use(const struct soft_vcpu *v, const struct soft_bank *b)
{
	return b == &v->bank[v->in_use];
}

static void new_stamps(struct soft_vcpu *v, struct soft_bank *b)
{
	for (unsigned c = 0; c < SOFT_CLASSES; c++)
		b->stamp[c] = ++v->stamps;
}

/* The one that has not been used for longest gets another PCID. */
static struct soft_bank *bank_new(struct soft_vcpu *v, unsigned pcid)
{
	struct soft_bank *b = NULL;

	for (unsigned i = 0; i < SOFT_BANKS; i++) {
		struct soft_bank *o = &v->bank[i];

		if (!is_in_use(v, o) && (!b || (b->valid && (!o->valid || o->used < b->used))))
			b = o;
	}
	for (unsigned c = 0; c < SOFT_CLASSES; c++)
		soft_tlb_empty(&b->tlb[c]);
	new_stamps(v, b);
	b->pcid = pcid;
	b->valid = true;
	b->nreads = 0;
	return b;
}

static void bank_enter(struct soft_vcpu *v, struct soft_bank *b)
{
	for (unsigned c = 0; c < SOFT_CLASSES; c++) {
		v->tlb[c] = &b->tlb[c];
		v->itlb_stamp[c][0] = b->stamp[c];
		if (b->nreads > SOFT_BANK_READS)
			soft_tlb_read_only(&b->tlb[c], SOFT_ALL_PAGES);
		for (unsigned i = 0; i < b->nreads && b->nreads <= SOFT_BANK_READS; i++)
			soft_tlb_read_only(&b->tlb[c], b->reads[i]);
	}
	b->nreads = 0;
	v->in_use = (unsigned)(b - v->bank);
}

static void bank_leave(struct soft_vcpu *v)
{
	struct soft_bank *b = &v->bank[v->in_use];

	soft_tlb_leave(v);
	for (unsigned c = 0; c < SOFT_CLASSES; c++)
		b->stamp[c] = v->itlb_stamp[c][0];
	b->used = v->stat_cr3_writes;
}

void soft_bank_init(struct soft_vcpu *v)
{
	v->in_use = SOFT_BANKS; /* none */
	bank_enter(v, bank_new(v, 0));
}

static void drop_nonglobal(struct soft_vcpu *v, struct soft_bank *b)
{
	if (is_in_use(v, b)) {
		soft_tlb_clear_nonglobal(v);
		return;
	}
	for (unsigned c = 0; c < SOFT_CLASSES; c++)
		soft_tlb_empty_nonglobal(&b->tlb[c]);
	new_stamps(v, b);
}

/* Nothing that rests on a bank's pages is elsewhere, but for itlb[]. */
static void drop_page(struct soft_vcpu *v, struct soft_bank *b, uint64_t gla)
{
	if (is_in_use(v, b)) {
		soft_tlb_clear_page(v, gla);
		return;
	}
	for (unsigned c = 0; b->valid && c < SOFT_CLASSES; c++) {
		b->valid = soft_tlb_empty_page(&b->tlb[c], gla);
		v->itlb[c][soft_itlb_slot(gla)].page = 0;
	}
}

/* INVLPG: also in whatever bank a global page is. */
static void drop_global_page(struct soft_vcpu *v, uint64_t gla)
{
	soft_tlb_clear_page(v, gla);
	if (!(gla >> 63) && !v->low_global)
		return;
	for (unsigned i = 0; i < SOFT_BANKS; i++)
		if (i != v->in_use && v->bank[i].valid)
			drop_page(v, &v->bank[i], gla);
}

static void forget_others(struct soft_vcpu *v)
{
	for (unsigned i = 0; i < SOFT_BANKS; i++)
		v->bank[i].valid = i == v->in_use;
}

static void cr3_written(struct soft_vcpu *v, bool keep)
{
	unsigned pcid = x86_pcid(&v->cpu);
	struct soft_bank *b = bank_of(v, pcid);

	v->stat_cr3_writes++;
	v->stat_cr3_kept += b && keep;
	if (b && !keep)
		drop_nonglobal(v, b);
	if (b && is_in_use(v, b))
		return;
	bank_leave(v);
	bank_enter(v, b ? b : bank_new(v, pcid));
}

void soft_tlb_flush(struct soft_vcpu *v, enum x86_flush kind, uint64_t gla)
{
	struct soft_bank *b;

	switch (kind) {
	case X86_FLUSH_ALL:
	case X86_FLUSH_MODE:
		forget_others(v);
		soft_tlb_clear(v);
		v->bank[v->in_use].pcid = x86_pcid(&v->cpu); /* CR4.PCIDE may be new */
		soft_jump_back(v);
		break;
	case X86_FLUSH_NONGLOBAL:
		forget_others(v);
		soft_tlb_clear_nonglobal(v);
		soft_jump_back(v);
		break;
	case X86_FLUSH_CR3:
	case X86_FLUSH_CR3_KEEP:
		cr3_written(v, kind == X86_FLUSH_CR3_KEEP);
		soft_jump_back(v);
		break;
	case X86_FLUSH_PCID:
		b = bank_of(v, (unsigned)gla);
		if (b)
			drop_nonglobal(v, b);
		break;
	case X86_FLUSH_PAGE:
		drop_global_page(v, gla);
		break;
	case X86_FLUSH_PCID_PAGE:
		b = bank_of(v, gla & 0xfff);
		if (b)
			drop_page(v, b, gla & ~0xfffull);
		break;
	}
}

void soft_bank_drop_writes(struct soft_vcpu *v, uint64_t gpa)
{
	for (unsigned i = 0; i < SOFT_BANKS; i++) {
		struct soft_bank *b = &v->bank[i];

		if (i == v->in_use || !b->valid)
			continue;
		if (gpa == SOFT_ALL_PAGES)
			b->nreads = SOFT_BANK_READS;
		if (b->nreads < SOFT_BANK_READS)
			b->reads[b->nreads] = gpa;
		if (b->nreads <= SOFT_BANK_READS)
			b->nreads++;
	}
}
