/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Lock-step.  Each block runs in the reference first (reference.h).  Then all is put back and the
 * translated block runs, alone: in this mode nothing is linked and the jump cache stays empty
 * (soft_unlinked).
 *
 * Not compared: status flags where translated code need not have them (at faults and exits, where
 * it is left early, and where the code behind the block overwrites them first); the x87 instruction
 * and data pointers, which are the host's; accessed and dirty bits.
 */
#include <stdlib.h>

#include "backend/soft/reference.h"

#define MARKS 0x6000000060ull /* accessed and dirty, of one long or two short ones */

struct soft_check *soft_check_create(void)
{
	struct soft_check *c = aligned_alloc(_Alignof(struct soft_check), sizeof(*c));

	if (c)
		__builtin_memset(c, 0, sizeof(*c));
	return c;
}

void soft_check_destroy(struct soft_check *c)
{
	free(c);
}

const struct soft_check_stats *soft_check_stats(const struct soft_vcpu *v)
{
	return v->check ? &v->check->stats : NULL;
}

const struct soft_mismatch *soft_check_mismatch(const struct soft_vcpu *v)
{
	return v->check && v->check->mismatch.found ? &v->check->mismatch : NULL;
}

/* ---- comparison ---- */

static bool differ(
	struct soft_check *c, const char *what, unsigned index, uint64_t want, uint64_t got)
{
	if (want == got)
		return false;
	c->mismatch.what = what;
	c->mismatch.index = index;
	c->mismatch.want = want;
	c->mismatch.got = got;
	return true;
}

#define FIELD(member)                                                                              \
	{                                                                                          \
		#member, offsetof(struct x86_cpu, member),                                         \
			sizeof(((struct x86_cpu *)0)->member)                                      \
	}

static const struct {
	const char *name;
	uint16_t at, size;
} fields[] = {
	FIELD(gdtr.base),
	FIELD(gdtr.limit),
	FIELD(idtr.base),
	FIELD(idtr.limit),
	FIELD(cr0),
	FIELD(cr2),
	FIELD(cr3),
	FIELD(cr4),
	FIELD(efer),
	FIELD(xcr0),
	FIELD(pkru),
	FIELD(pkrs),
	FIELD(pdpte[0]),
	FIELD(pdpte[1]),
	FIELD(pdpte[2]),
	FIELD(pdpte[3]),
	FIELD(dr[0]),
	FIELD(dr[1]),
	FIELD(dr[2]),
	FIELD(dr[3]),
	FIELD(dr[6]),
	FIELD(dr[7]),
	FIELD(star),
	FIELD(lstar),
	FIELD(cstar),
	FIELD(sfmask),
	FIELD(kernel_gs_base),
	FIELD(sysenter_cs),
	FIELD(sysenter_esp),
	FIELD(sysenter_eip),
	FIELD(tsc_aux),
	FIELD(cpl),
	FIELD(shadow),
	FIELD(nmi_blocked),
};

static bool segment_differs(
	struct soft_check *c, unsigned i, const struct x86_seg *want, const struct x86_seg *got)
{
	return differ(c, "selector of segment", i, want->sel, got->sel) ||
	       differ(c, "base of segment", i, want->base, got->base) ||
	       differ(c, "limit of segment", i, want->limit, got->limit) ||
	       differ(c, "access of segment", i, want->access, got->access);
}

static bool registers_differ(struct soft_check *c, const uint8_t *want, const uint8_t *got)
{
	const struct x86_cpu *w = (const void *)want, *g = (const void *)got;

	for (unsigned i = 0; i < 16; i++)
		if (differ(c, "register", i, w->gpr[i], g->gpr[i]))
			return true;
	for (unsigned i = 0; i < 6; i++)
		if (segment_differs(c, i, &w->seg[i], &g->seg[i]))
			return true;
	if (segment_differs(c, 6, &w->ldtr, &g->ldtr) || segment_differs(c, 7, &w->tr, &g->tr))
		return true;
	for (unsigned i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		uint64_t a = 0, b = 0;

		if (fields[i].at == offsetof(struct x86_cpu, shadow) && c->got.redo)
			continue;
		__builtin_memcpy(&a, want + fields[i].at, fields[i].size);
		__builtin_memcpy(&b, got + fields[i].at, fields[i].size);
		if (differ(c, fields[i].name, SOFT_NO_INDEX, a, b))
			return true;
	}
	return false;
}

static void zero(uint8_t *p, unsigned n)
{
	__builtin_memset(p, 0, n);
}

/*
 * A component that XSTATE_BV leaves out is in its initial state.  x87 registers that are all empty
 * count for nothing: AMD's CPUs take the component for unused then, and any context switch of the
 * host loses them.
 */
static void normalize(uint8_t *fpu)
{
	if (!(fpu[512] & 1)) {
		zero(fpu, 24);
		fpu[0] = 0x7f;
		fpu[1] = 3;
	}
	if (!(fpu[512] & 1) || !fpu[4])
		zero(fpu + 32, 128);
	if (!(fpu[512] & 2))
		zero(fpu + 160, 256);
	if (!(fpu[512] & 4))
		zero(fpu + 576, 256);
	zero(fpu + 6, 18);
	zero(fpu + 28, 4);
	zero(fpu + 416, 160);
	fpu[512] = 7;
}

static bool vectors_differ(struct soft_check *c)
{
	uint8_t want[X86_XSAVE_SIZE], got[X86_XSAVE_SIZE];

	__builtin_memcpy(want, c->want.state.fpu, sizeof(want));
	__builtin_memcpy(got, c->got.state.fpu, sizeof(got));
	normalize(want);
	normalize(got);
	for (unsigned i = 0; i < X86_XSAVE_SIZE; i += 8) {
		uint64_t a, b;

		__builtin_memcpy(&a, want + i, 8);
		__builtin_memcpy(&b, got + i, 8);
		if (differ(c, "byte of the XSAVE image", i, a, b))
			return true;
	}
	return false;
}

/*
 * Translated code that finds a page in its cache marks no entry; it shows where the block stored to
 * that entry, too.
 */
static bool only_marked(const struct soft_check *c, const uint8_t *hva, uint64_t want, uint64_t got)
{
	if ((want ^ got) & ~MARKS || got & ~want & MARKS)
		return false;
	for (unsigned i = 0; i < c->nmarks; i++)
		if ((uintptr_t)(c->mark[i].hva - hva) < 8)
			return true;
	return false;
}

static bool memory_differs(struct soft_check *c)
{
	for (unsigned s = 0; s < c->nstores; s++) {
		uint32_t len, at = c->store[s].data;
		const uint8_t *hva = soft_store_window(&c->store[s], &len);

		for (uint32_t i = 0; i < len; i += 8) {
			uint64_t a, b;

			__builtin_memcpy(&a, c->wanted + at + i, 8);
			__builtin_memcpy(&b, c->gotten + at + i, 8);
			if (a != b && !only_marked(c, hva + i, a, b))
				return differ(c, "memory near a store, byte", i, a, b);
		}
	}
	return false;
}

static bool fault_differs(struct soft_check *c, const struct x86_cpu *w, const struct x86_cpu *g)
{
	const struct x86_fault *a = &w->fault, *b = &g->fault;

	return differ(c, "vector of the fault", SOFT_NO_INDEX, a->vector, b->vector) ||
	       differ(c, "error code of the fault", SOFT_NO_INDEX, a->error, b->error) ||
	       (a->vector == X86_PF &&
		       differ(c, "CR2 of the fault", SOFT_NO_INDEX, a->cr2, b->cr2));
}

static bool exit_differs(struct soft_check *c, const struct x86_exit *a, const struct x86_exit *b)
{
	if (differ(c, "reason of the exit", SOFT_NO_INDEX, a->reason, b->reason))
		return true;
	if (a->reason == X86_EXIT_IO || a->reason == X86_EXIT_IO_STRING)
		return differ(c, "port of the exit", SOFT_NO_INDEX, a->io.port, b->io.port) ||
		       differ(c, "size of the exit", SOFT_NO_INDEX, a->io.size, b->io.size) ||
		       differ(c, "direction of the exit", SOFT_NO_INDEX, a->io.in, b->io.in);
	if (a->reason == X86_EXIT_MMIO)
		return differ(c, "address of the exit", SOFT_NO_INDEX, a->mmio.gpa, b->mmio.gpa) ||
		       differ(c, "linear address of the exit", SOFT_NO_INDEX, a->mmio.gla,
			       b->mmio.gla) ||
		       differ(c, "direction of the exit", SOFT_NO_INDEX, a->mmio.write,
			       b->mmio.write);
	return false;
}

static bool ends_differ(struct soft_vcpu *v)
{
	struct soft_check *c = v->check;
	const struct x86_cpu *w = (const void *)c->want.state.cpu,
			     *g = (const void *)c->got.state.cpu;
	uint64_t dead = (c->got.result != X86_DONE || c->got.early) && !v->soft->all_flags
				? X86_FL_STATUS
				: 0;

	if (!dead && (w->rflags ^ g->rflags) & X86_FL_STATUS && !v->soft->all_flags)
		dead = soft_reference_dead_flags(v, g->rip);
	if (differ(c, "result", SOFT_NO_INDEX, c->want.result, c->got.result) ||
		differ(c, "RIP", SOFT_NO_INDEX, w->rip, g->rip))
		return true;
	if (c->got.result == X86_FAULT && fault_differs(c, w, g))
		return true;
	if (c->got.result == X86_EXIT && exit_differs(c, &w->exit, &g->exit))
		return true;
	return differ(c, "RFLAGS", SOFT_NO_INDEX, w->rflags & ~dead, g->rflags & ~dead) ||
	       registers_differ(c, c->want.state.cpu, c->got.state.cpu) || vectors_differ(c) ||
	       memory_differs(c);
}

/* ---- both ---- */

static void take_block(struct soft_vcpu *v, const struct soft_block *b)
{
	struct soft_check *c = v->check;

	c->rip = b->rip;
	c->mode = b->mode;
	c->n = b->nsites < SOFT_CHECK_INSNS ? b->nsites : SOFT_CHECK_INSNS;
	for (unsigned i = 0; i <= c->n; i++)
		c->offset[i] = b->sites[i].guest;
}

static uint32_t translated(struct soft_vcpu *v, const struct soft_block *b)
{
	struct soft_check *c = v->check;
	uint32_t reason = (uint32_t)v->cache.enter(v, v->cache.rx + b->host);

	soft_state_save(v, &c->got.state);
	soft_reference_copy(c, c->gotten);
	c->got.result = reason == SOFT_RESULT ? (enum x86_result)v->result : X86_DONE;
	c->got.redo = reason == SOFT_REDO;
	c->got.early = false;
	c->kept = false;
	return reason;
}

static const struct x86_cpu *cpu_in(const struct check_end *end)
{
	return (const void *)end->state.cpu;
}

/* The same log, or its beginning, so that what is at its addresses can be compared? */
static bool same_stores(const struct soft_check *c)
{
	if (c->nstores != c->ndone && !(c->got.early && c->nstores < c->ndone))
		return false;
	for (unsigned i = 0; i < c->nstores; i++)
		if (c->store[i].hva != c->done[i].hva || c->store[i].len != c->done[i].len)
			return false;
	return true;
}

static void count(struct soft_check *c)
{
	c->stats.blocks++;
	c->stats.insns += c->want.insns;
	c->stats.faults += c->want.result == X86_FAULT;
	c->stats.exits += c->want.result == X86_EXIT;
}

/* The reference once more, to `limit`: does it come to this end now? */
static bool agrees_now(struct soft_vcpu *v, unsigned limit, bool unmarked)
{
	struct soft_check *c = v->check;
	bool agrees;

	c->unmarked = unmarked;
	soft_reference_again(v, limit);
	c->unmarked = false;
	agrees = same_stores(c) ? !ends_differ(v) : !unmarked && !c->got.early;
	if (agrees)
		soft_reference_leave(v);
	return agrees;
}

/*
 * A device or another vcpu may have been there; and what reads page tables sees no mark for a page
 * that it finds in the cache.
 */
static bool is_excused(struct soft_vcpu *v)
{
	struct soft_check *c = v->check;
	const char *what = c->mismatch.what;
	unsigned index = c->mismatch.index;
	uint64_t want = c->mismatch.want, got = c->mismatch.got;

	if (agrees_now(v, c->n, false)) {
		c->stats.unstable++;
		return true;
	}
	if (agrees_now(v, c->n, true)) {
		count(c);
		return true;
	}
	c->mismatch.what = what;
	c->mismatch.index = index;
	c->mismatch.want = want;
	c->mismatch.got = got;
	return false;
}

enum verdict { SAME, DIFFERENT, INCOMPARABLE };

/*
 * Translated code may leave between two instructions, when asked to or behind a store to code: then
 * the reference is shortened to that.
 */
static enum verdict judge(struct soft_vcpu *v)
{
	struct soft_check *c = v->check;
	uint64_t rip = cpu_in(&c->got)->rip;

	if (!ends_differ(v))
		return SAME;
	if (c->got.result != X86_DONE)
		return DIFFERENT;
	/* Faults there when its target is looked up: see undo_branch(). */
	if (v->cpu.efer & X86_EFER_LMA && !x86_canonical(rip))
		return INCOMPARABLE;
	for (unsigned i = 0; i <= c->want.insns; i++) {
		if (c->path[i] != rip || (i == c->want.insns && c->want.result == X86_DONE))
			continue;
		if (i < c->n && c->string[i])
			return INCOMPARABLE;
		c->got.early = true;
		if (agrees_now(v, i, false) || agrees_now(v, i, true))
			return SAME;
		c->got.early = false;
		soft_reference_again(v, c->n);
		ends_differ(v);
		return DIFFERENT;
	}
	return DIFFERENT;
}

/* ---- which instruction ---- */

/* The block again, `n` instructions of it, in both ways.  All is put back.  False: not possible. */
static bool prefix(struct soft_vcpu *v, unsigned n, bool cold, bool *differs)
{
	struct soft_check *c = v->check;
	unsigned class = SOFT_MODE_CLASS(c->mode), normal = v->soft->max_insns;
	const struct soft_itlb_entry *page;
	struct soft_block *b;
	uint64_t gla;

	soft_reference_undo(c);
	soft_state_restore(v, &c->start);
	gla = x86_linear_rip(&v->cpu);
	page = soft_itlb_find(v, class, gla);
	if (!page)
		return false;
	soft_reference_run(v, n);
	v->soft->max_insns = n;
	b = soft_translate(v, c->rip, c->mode, page);
	v->soft->max_insns = normal;
	if (!b)
		return false;
	atomic_store(&v->run, 1); /* the VM is over: no need to leave */
	if (cold)
		soft_tlb_flush(v, X86_FLUSH_ALL, 0);
	translated(v, b);
	*differs = judge(v) == DIFFERENT;
	return true;
}

static void locate(struct soft_vcpu *v)
{
	struct soft_check *c = v->check;
	const char *what = c->mismatch.what;
	unsigned index = c->mismatch.index, n = c->want.insns + (c->want.result != X86_DONE);
	uint64_t want = c->mismatch.want, got = c->mismatch.got;

	soft_reference_again(v, n); /* whose instructions */
	c->mismatch.insns = c->mismatch.first = n;
	for (unsigned i = 1; i < 2 * n; i++) {
		bool differs;

		if (i == n) /* that was the block itself */
			continue;
		if (!prefix(v, i < n ? i : i - n, i > n, &differs))
			break;
		if (differs) {
			c->mismatch.first = (i < n ? i : i - n) - 1;
			return;
		}
	}
	c->mismatch.what = what;
	c->mismatch.index = index;
	c->mismatch.want = want;
	c->mismatch.got = got;
}

static uint32_t mismatch(struct soft_vcpu *v)
{
	struct soft_check *c = v->check;

	c->mismatch.found = true;
	c->mismatch.rip = c->rip;
	c->mismatch.mode = c->mode;
	c->record = true;
	locate(v);
	soft_reference_undo(c);
	soft_state_restore(v, &c->start);
	return SOFT_MISMATCH;
}

uint32_t soft_check_block(struct soft_vcpu *v, const struct soft_block *b)
{
	struct soft_check *c = v->check;
	uint32_t reason;

	take_block(v, b);
	soft_state_save(v, &c->start);
	soft_reference_run(v, c->n);
	if (c->unrepeatable || c->too_big) {
		c->stats.unrepeatable += c->unrepeatable;
		c->stats.too_big += c->too_big;
		return (uint32_t)v->cache.enter(v, v->cache.rx + b->host);
	}
	reason = translated(v, b);
	switch (judge(v)) {
	case SAME:
		count(c);
		break;
	case INCOMPARABLE:
		c->stats.interrupted++;
		break;
	case DIFFERENT:
		if (!is_excused(v))
			return mismatch(v);
		break;
	}
	return reason;
}
