/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Which loops are hot, and which way they go.
 *
 * Whoever wants something of the vcpu finds it at the beginning of a loop, mostly of one in which
 * it spends its time: so looks at events are samples, and cost nothing.  A loop that has been met
 * some times is executed once by single steps, and the way that it takes becomes a region
 * (gen_path.c), in place of the block at its beginning.
 */
#include "backend/soft/gen.h"

#define HOT	3u    /* times */
#define COLD	1000u /* times behind which it is tried once more */
#define MISFITS 256u
#define RARELY	64u /* lock-step and torture: one look at the loop in so many makes a region */

static struct soft_heat *heat_of(struct soft_vcpu *v, uint64_t rip)
{
	return &v->heat[(rip ^ rip >> 6) % SOFT_HEATS];
}

/* Not when a fault's delivery has faulted: what follows from that comes before any instruction. */
static bool is_due(struct soft_vcpu *v)
{
	return (v->check || soft_tortured(v)) && ++v->heat_tick % RARELY == 0 &&
	       atomic_load_explicit(&v->run, memory_order_relaxed);
}

bool soft_region_hot(struct soft_vcpu *v)
{
	struct soft_heat *h = heat_of(v, v->cpu.rip);

	if (is_due(v))
		return true;
	if (v->reason != SOFT_POLL)
		return false;
	if (h->rip != v->cpu.rip)
		*h = (struct soft_heat){.rip = v->cpu.rip};
	return ++h->count % (COLD + 1) == HOT;
}

static void cool(struct soft_vcpu *v, uint64_t rip)
{
	*heat_of(v, rip) = (struct soft_heat){.rip = rip, .count = HOT + 1};
}

void soft_region_misfit(struct soft_vcpu *v, struct soft_block *b)
{
	if (++b->misfits != MISFITS)
		return;
	cool(v, b->rip);
	soft_block_retire(v, b);
}

void soft_swap_out(struct soft_vcpu *v, const struct soft_block *b)
{
	for (unsigned k = 0; k < 4; k++)
		if (b->swap[k]) {
			uint64_t *host = &v->cpu.gpr[b->swap[k] - 1];

			v->cpu.gpr[X86_R12 + k] = *host;
			*host = v->swapped[k];
		}
}

void soft_swap_in(struct soft_vcpu *v, const struct soft_block *b)
{
	for (unsigned k = 0; k < 4; k++)
		if (b->swap[k]) {
			uint64_t *host = &v->cpu.gpr[b->swap[k] - 1];

			v->swapped[k] = *host;
			*host = v->cpu.gpr[X86_R12 + k];
		}
}

/* May the instruction be one of a region?  All of them are done without C, in one page. */
static bool fits(struct soft_vcpu *v, const struct x86_insn *in, uint64_t head, uint64_t rip)
{
	if ((rip ^ head) >> 12 || (rip & 0xfff) + in->len > 4096 ||
		x86_insn_allowed(&v->cpu, in) != X86_DONE)
		return false;
	switch (in->row->class) {
	case X86_NATIVE:
		return in->row->mnem != X86_I_cld && in->row->mnem != X86_I_std;
	case X86_STACK:
		return in->opsize == 8 &&
		       (in->row->mnem == X86_I_push || in->row->mnem == X86_I_pop ||
			       in->row->mnem == X86_I_leave);
	case X86_BRANCH:
		return in->opsize == 8 && in->row->mnem != X86_I_jcxz &&
		       in->row->mnem != X86_I_loop && in->row->mnem != X86_I_loope &&
		       in->row->mnem != X86_I_loopne;
	default:
		return false;
	}
}

/* Is this where the instruction leads, or has there been a fault? */
static bool went_on(const struct x86_cpu *cpu, const struct x86_insn *in, uint64_t rip)
{
	uint64_t next = rip + in->len;
	bool jcc;

	if (in->row->class != X86_BRANCH)
		return cpu->rip == next;
	if (!in->nops || in->op[0].kind != X86_OK_REL)
		return true; /* the translation looks where it goes */
	jcc = in->row->mnem != X86_I_jmp && in->row->mnem != X86_I_call;
	return cpu->rip == next + (uint64_t)in->imm || (jcc && cpu->rip == next);
}

/*
 * Along the loop into gen->insn[].  *closed: it came back to its beginning.  False: an exit has
 * been filled in.
 */
static bool walk(struct soft_vcpu *v, uint32_t mode, bool *closed)
{
	struct gen *g = v->gen;
	uint64_t head = v->cpu.rip;

	for (g->n = 0; g->n < GEN_MAX_PATH; g->n++) {
		struct x86_insn *in = &g->insn[g->n];
		uint64_t rip = v->cpu.rip;

		if (x86_fetch(&v->cpu, in) != X86_DONE || !fits(v, in, head, rip))
			return true;
		/* One that goes elsewhere than before is done again, by another block. */
		if (g->n == 0 && in->row->class == X86_BRANCH)
			return true;
		g->offset[g->n] = (int16_t)(rip - head);
		if (!soft_step(v))
			return false;
		if (soft_mode(v) != mode || !went_on(&v->cpu, in, rip))
			return true;
		if (v->cpu.rip == head) {
			g->n++;
			*closed = true;
			return true;
		}
	}
	return true;
}

bool soft_region_form(struct soft_vcpu *v)
{
	uint32_t mode = soft_mode(v);
	uint64_t head = v->cpu.rip;
	const struct soft_itlb_entry *page;
	const struct soft_block *b;
	bool closed = false;

	if (SOFT_MODE_SIZE(mode) != SOFT_MODE_SIZE_64 || mode & SOFT_MODE_STEP || v->cpu.shadow ||
		v->soft->max_insns)
		return true;
	page = soft_itlb_find(v, SOFT_MODE_CLASS(mode), head);
	if (!page)
		return true;
	b = soft_block_find(v, head, (page->gpa & ~0xfffull) | (head & 0xfff), 0, mode);
	if (!b || b->region)
		return true;
	if (!walk(v, mode, &closed))
		return false;
	if (!closed)
		return true;
	page = soft_itlb_find(v, SOFT_MODE_CLASS(mode), head);
	if (page)
		soft_translate_region(v, head, mode, page);
	return true;
}
