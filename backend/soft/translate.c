/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * From guest code to a block in the code cache: decode up to the next branch or the end of the
 * page, find out backwards where status flags are live, emit, then the stubs.
 */
#include <assert.h>
#include <stdlib.h>

#include "backend/soft/check.h"
#include "backend/soft/gen.h"

_Static_assert(GEN_MAX_INSNS *GEN_STEP <= SOFT_PIECE_MIN, "any block fits into any empty piece");

#define COPY_BYTES 64u

/* SYSTEM and STACK instructions behind which the block goes on: they change neither mode nor
 * mapping. */
static bool goes_on(const struct x86_insn *in)
{
	switch (in->row->mnem) {
	case X86_I_cpuid:
	case X86_I_rdtsc:
	case X86_I_rdtscp:
	case X86_I_rdpid:
	case X86_I_rdmsr:
	case X86_I_swapgs:
	case X86_I_cli:
	case X86_I_sgdt:
	case X86_I_sidt:
	case X86_I_sldt:
	case X86_I_str:
	case X86_I_smsw:
	case X86_I_lar:
	case X86_I_lsl:
	case X86_I_verr:
	case X86_I_verw:
	case X86_I_bt:
	case X86_I_bts:
	case X86_I_btr:
	case X86_I_btc:
	case X86_I_xlat:
	case X86_I_fxsave:
	case X86_I_fxrstor:
	case X86_I_xsave:
	case X86_I_xsavec:
	case X86_I_xsaveopt:
	case X86_I_xrstor:
	case X86_I_fnstenv:
	case X86_I_fnsave:
	case X86_I_fldenv:
	case X86_I_frstor:
	case X86_I_rdfsbase:
	case X86_I_rdgsbase:
	case X86_I_wrfsbase:
	case X86_I_wrgsbase:
	case X86_I_xgetbv:
	case X86_I_clflush:
	case X86_I_wbinvd:
	case X86_I_push:
	case X86_I_pop:
	case X86_I_pushf:
	case X86_I_enter:
	case X86_I_leave:
	case X86_I_pusha:
	case X86_I_popa:
		return in->row->class == X86_STACK || in->row->class == X86_SYSTEM;
	default:
		return false;
	}
}

static bool ends_block(const struct gen *g, const struct x86_insn *in)
{
	if (gen_system_inline(g, in))
		return false;
	switch (in->row->class) {
	case X86_NATIVE:
	case X86_STRING:
		return false;
	case X86_BRANCH:
		return true;
	default:
		/* PUSH and POP of segment registers are SYSTEM and may change what the mode word
		 * says. */
		return !goes_on(in) ||
		       (in->row->class == X86_SYSTEM &&
			       (in->row->mnem == X86_I_push || in->row->mnem == X86_I_pop));
	}
}

struct gen_stub *gen_stub(struct gen *g, enum gen_stub_kind kind)
{
	struct gen_stub *s = &g->stub[g->nstubs++];

	*s = (struct gen_stub){.kind = (uint8_t)kind};
	return s;
}

/* Behind a conditional jump: not if there is a block already, and not for ever. */
static bool goes_on_behind(struct gen *g, unsigned off)
{
	uint64_t rip = g->rip + off;

	if (++g->njcc > GEN_MAX_JCC)
		return false;
	return !soft_block_find(g->v, rip, g->gpa + off, 0, g->mode);
}

/* Of a private copy: another vcpu may be writing there.  It grows by pieces, blocks are short. */
static unsigned copy_code(struct gen *g, const uint8_t *from, unsigned have, unsigned most)
{
	if (most - have < COPY_BYTES) {
		__builtin_memcpy(g->code + have, from + have, most - have);
		return most;
	}
	__builtin_memcpy(g->code + have, from + have, COPY_BYTES);
	return have + COPY_BYTES;
}

/* Decodes into g->insn[]; nothing, if the first instruction runs into the next page or is
 * undefined. */
static void decode(struct gen *g, const uint8_t *page)
{
	unsigned start = (unsigned)(g->gpa & 0xfff), off = 0, size = 4096 - start, have = 0;
	unsigned limit = soft_block_limit(g->v, GEN_MAX_INSNS);

	if (size > sizeof(g->code))
		size = sizeof(g->code);
	g->n = 0;
	while (g->n < limit && off < size) {
		struct x86_insn *in = &g->insn[g->n];

		if (have < off + X86_INSN_MAX && have < size)
			have = copy_code(g, page + start, have, size);
		if (gen_decode(g, in, g->code + off, size - off) != X86_DECODE_OK)
			break;
		if (g->v->check && !soft_check_repeatable(in)) {
			if (g->n)
				break;
			limit = 1;
		}
		g->offset[g->n++] = (uint16_t)off;
		off += in->len;
		if (gen_is_jcc(g, in)) {
			if (goes_on_behind(g, off))
				continue;
			break;
		}
		if (x86_insn_allowed(&g->v->cpu, in) != X86_DONE || ends_block(g, in)) {
			g->ended = true;
			break;
		}
	}
	g->offset[g->n] = (uint16_t)off;
}

struct soft_op *gen_new_op(struct gen *g, soft_op_fn fn, const struct x86_insn *in)
{
	struct soft_op *op = soft_meta_alloc(&g->v->cache, sizeof(*op), _Alignof(struct soft_op));

	if (!op) {
		g->failed = true;
		return NULL;
	}
	op->fn = fn;
	op->rip = gen_rip(g);
	op->resume = NULL;
	if (in)
		op->insn = *in;
	if (g->nops < GEN_MAX_OPS)
		g->op[g->nops++] = op;
	else
		g->tied = true;
	return op;
}

void gen_fix(struct gen *g, enum gen_fix_kind kind, unsigned n, const uint8_t *at)
{
	if (g->nfixes == GEN_MAX_FIXES || n > UINT8_MAX) {
		g->tied = true;
		return;
	}
	g->fix[g->nfixes++] = (struct gen_fix){
		.at = (uint16_t)(at - g->start), .kind = (uint8_t)kind, .n = (uint8_t)n};
}

void gen_mov_rip(struct gen *g, unsigned reg, uint64_t rip)
{
	const uint8_t *at = g->e.p;

	emit_mov_imm(&g->e, reg, rip);
	if (g->e.p - at == 10)
		gen_fix(g, FIX_RIP, 0, g->e.p - 8);
	else
		g->placed = true; /* a form that not all addresses have */
}

void gen_jmp_thunk(struct gen *g, const uint8_t *thunk)
{
	gen_fix(g, FIX_THUNK, 0, emit_jmp(&g->e, thunk));
}

void gen_call_thunk(struct gen *g, const uint8_t *thunk)
{
	emit_call(&g->e, thunk);
	gen_fix(g, FIX_THUNK, 0, g->e.p - 4);
}

void gen_op_address(struct gen *g, const struct soft_op *op)
{
	unsigned n = g->nops;

	emit_mov_imm64(&g->e, HOST_S0, (uint64_t)(uintptr_t)op);
	while (n && g->op[n - 1] != op)
		n--;
	if (n)
		gen_fix(g, FIX_OP, n - 1, g->e.p - 8);
	else
		g->tied = true;
}

/* An instruction that C executes. */
static void gen_op(struct gen *g, soft_op_fn fn, const struct x86_insn *in, bool last)
{
	struct soft_op *op = g->path ? NULL : gen_new_op(g, fn, in);

	if (!op) {
		g->failed = true;
		return;
	}
	if (g->parked)
		gen_flags_now(g);
	gen_op_address(g, op);
	gen_jmp_thunk(g, g->v->cache.call_op);
	if (!last && gen_resumable(g, g->i + 1))
		op->resume = emit_here(&g->e);
}

static bool is_mov_to_cr3(const struct x86_insn *in)
{
	return in->row->mnem == X86_I_mov && in->op[0].kind == X86_OK_CR && in->op[0].reg == 3;
}

/* The block ends; what C may go on with is a jump to the next one. */
static void gen_cr3(struct gen *g, const struct x86_insn *in)
{
	struct soft_op *op = gen_new_op(g, soft_op_cr3, in);

	if (!op)
		return;
	op->page = (g->gpa & ~0xfffull) | g->class;
	gen_op_address(g, op);
	gen_jmp_thunk(g, g->v->cache.call_op);
	op->resume = emit_here(&g->e);
	gen_goto(g, gen_next_rip(g), false);
}

static soft_op_fn op_function(const struct gen *g, const struct x86_insn *in)
{
	if (!g->is64 || (in->opsize != 8 && in->row->mnem != X86_I_syscall))
		return soft_op_execute;
	switch (in->row->mnem) {
	case X86_I_syscall:
		return soft_op_syscall;
	case X86_I_sysret:
		return soft_op_sysret;
	case X86_I_iret:
		return soft_op_iret;
	default:
		return soft_op_execute;
	}
}

/* Before each step: the piece is filled to the end, without a guess of what the block will need. */
static bool is_full(struct gen *g)
{
	if (g->e.end - g->e.p < (ptrdiff_t)GEN_STEP)
		g->failed = true;
	return g->failed;
}

static void gen_insn(struct gen *g)
{
	const struct x86_insn *in = &g->insn[g->i];
	bool last = g->i + 1 == g->n && g->ended, done = false;

	g->s0_before = g->s0;
	g->s0 = 0;
	gen_begin_flags(g);
	g->site[g->i].flags_parked = g->parked;
	if (last && x86_insn_allowed(&g->v->cpu, in) != X86_DONE) {
		gen_op(g, soft_op_execute, in, true);
		return;
	}
	switch (in->row->class) {
	case X86_NATIVE:
		done = gen_native(g, in);
		break;
	case X86_STACK:
		done = gen_stack(g, in);
		break;
	case X86_BRANCH:
		done = gen_branch(g, in);
		break;
	case X86_STRING:
		done = gen_string(g, in);
		break;
	case X86_SYSTEM:
		done = gen_system(g, in);
		break;
	default:
		break;
	}
	if (!done && g->is64 && is_mov_to_cr3(in))
		gen_cr3(g, in);
	else if (!done)
		gen_op(g, op_function(g, in), in, last);
}

static void emit_reason(struct gen *g, unsigned reason)
{
	emit_store_imm(&g->e, 4, HOST_STATE, STATE(reason), reason);
}

static void stub_leave(struct gen *g, const struct gen_stub *s)
{
	if (s->swapped)
		gen_path_swap_out(g);
	if (!s->rip_in_s0) {
		gen_mov_rip(g, HOST_S0, s->target);
	} else if (s->reason == SOFT_LOOKUP) {
		gen_mov_rip(g, HOST_S1, s->target);
		emit_store(&g->e, 8, HOST_STATE, STATE(branch_rip), HOST_S1);
	}
	emit_store(&g->e, 8, HOST_STATE, STATE(cpu.rip), HOST_S0);
	emit_reason(g, s->reason);
	gen_jmp_thunk(g, s->flags_parked ? g->v->cache.leave_mem : g->v->cache.leave);
}

/* Which displacement to patch, and whether for parked flags, in link_site. */
static void stub_link(struct gen *g, const struct gen_stub *s)
{
	emit_store_imm(&g->e, 4, HOST_STATE, STATE(link_site),
		(uint32_t)(s->jump - g->v->cache.rw) << 1 | s->flags_parked);
	if (s->nomerge)
		emit_store_imm(&g->e, 4, HOST_STATE, STATE(nomerge), 1);
	emit_mov_imm(&g->e, HOST_S0, s->target);
	emit_store(&g->e, 8, HOST_STATE, STATE(cpu.rip), HOST_S0);
	emit_reason(g, SOFT_LINK);
	emit_jmp(&g->e, s->flags_parked ? g->v->cache.leave_mem : g->v->cache.leave);
}

/* What edge[] holds until its target is known. */
static void stub_edge(struct gen *g, const struct gen_stub *s)
{
	struct soft_cache *c = &g->v->cache;

	soft_edge_stub(g->v, s->edge, (uint32_t)(emit_here(&g->e) - c->rx));
	emit_store_imm(&g->e, 4, HOST_STATE, STATE(link_site), s->edge << 1 | s->flags_parked);
	emit_mov_imm(&g->e, HOST_S0, s->target);
	emit_store(&g->e, 8, HOST_STATE, STATE(cpu.rip), HOST_S0);
	emit_reason(g, SOFT_EDGE);
	emit_jmp(&g->e, s->flags_parked ? c->leave_mem : c->leave);
}

static void stub_op(struct gen *g, const struct gen_stub *s)
{
	if (s->flags_parked)
		gen_flags_now(g);
	gen_op_address(g, s->op);
	gen_jmp_thunk(g, g->v->cache.call_op);
}

/* Where a direct jump inside the page leads to; 0: to no block so far. */
static uint32_t known_target(struct gen *g, const struct gen_stub *s, const struct soft_block *self)
{
	uint32_t mode = (g->mode & ~SOFT_MODE_NOMERGE) | (s->nomerge ? SOFT_MODE_NOMERGE : 0);
	const struct soft_block *b = self;

	if (s->target != g->rip || g->mode != mode)
		b = soft_block_find(
			g->v, s->target, (g->gpa & ~0xfffull) | (s->target & 0xfff), 0, mode);
	if (!b || b->page2 || soft_unlinked(g->v))
		return 0;
	return soft_entry(&g->v->cache, b, s->flags_parked);
}

/* The target may be there already.  In the same piece it stays as long as we do: no stub. */
static void gen_link(struct gen *g, const struct gen_stub *s, struct soft_block *self)
{
	struct soft_cache *c = &g->v->cache;
	uint32_t to = known_target(g, s, self);

	if (to && soft_piece_at(c, to) == c->filling) {
		emit_patch(&g->e, s->jump, c->rx + to);
		return;
	}
	emit_patch(&g->e, s->jump, emit_here(&g->e));
	stub_link(g, s);
	if (!to)
		return;
	soft_link(c, (uint32_t)(s->jump - c->rw), to);
	self->recorded = true; /* as no block, it is not found there yet */
}

static bool is_way(const struct gen_stub *s)
{
	return s->kind == STUB_LINK || s->kind == STUB_EDGE;
}

void gen_ways(struct gen *g, struct soft_block *self)
{
	for (unsigned i = 0; i < g->nstubs && !is_full(g); i++) {
		const struct gen_stub *s = &g->stub[i];

		if (s->kind == STUB_EDGE)
			stub_edge(g, s);
		else if (s->kind == STUB_LINK)
			gen_link(g, s, self);
	}
}

static void gen_stubs(struct gen *g, struct soft_block *self)
{
	for (unsigned i = 0; i < g->nstubs && !is_full(g); i++) {
		const struct gen_stub *s = &g->stub[i];

		if (is_way(s))
			continue;
		emit_patch(&g->e, s->jump, emit_here(&g->e));
		if (s->kind == STUB_CHECK)
			gen_check_stub(g, s);
		else if (s->kind == STUB_OP)
			stub_op(g, s);
		else if (s->kind == STUB_EXIT)
			gen_exit_stub(g, s);
		else
			stub_leave(g, s);
	}
	g->ways = g->e.p;
	gen_ways(g, self);
}

static void gen_body(struct gen *g)
{
	gen_find_groups(g);
	if (g->path)
		gen_path_begin(g);
	g->s0 = 0;
	for (g->i = 0; g->i < g->n && !is_full(g); g->i++) {
		g->site[g->i] = (struct soft_site){
			.host = (uint16_t)(emit_here(&g->e) - g->host),
			.guest = g->offset[g->i],
			.resumable = gen_resumable(g, g->i),
		};
		gen_insn(g);
	}
	g->site[g->n] = (struct soft_site){
		.host = (uint16_t)(emit_here(&g->e) - g->host),
		.guest = g->offset[g->n],
		.resumable = !g->path,
	};
	if (g->ended || g->failed)
		return;
	if (g->path) {
		gen_path_close(g);
		return;
	}
	g->i = g->n - 1;
	gen_goto(g, gen_next_rip(g), g->parked && g->live[g->n]);
}

/* The entry with parked flags; five bytes at least, for a jump when the block dies. */
static void gen_entry(struct gen *g)
{
	if (g->live[0])
		gen_flags_now(g);
	else
		emit_nop5(&g->e);
	g->parked = false;
	g->host = emit_here(&g->e);
}

struct soft_block *gen_finish(struct gen *g, struct soft_block *b)
{
	struct soft_cache *c = &g->v->cache;
	struct soft_piece *p = soft_filling(c);
	uint32_t bytes = (g->n + 1) * (uint32_t)sizeof(struct soft_site);

	b->sites = g->failed ? NULL : soft_meta_alloc(c, bytes, _Alignof(struct soft_site));
	if (!b->sites)
		return NULL;
	__builtin_memcpy(b->sites, g->site, bytes);
	b->nsites = (uint16_t)g->n;
	b->size = (uint16_t)(g->e.p - c->rw - b->host_mem);
	p->used = (soft_block_end(b) + 15) & ~15u;
	p->nblocks++;
	if (b->page2)
		soft_page_has_code(g->v, (uint64_t)b->page2 << 12);
	b->lines = g->lines;
	soft_block_insert(g->v, b);
	if (g->copied) {
		g->v->stat_copied_blocks++;
		g->v->stat_copied_insns += g->n;
	} else {
		g->v->stat_translated_blocks++;
		g->v->stat_translated_insns += g->n;
	}
	return b;
}

/*
 * One block for code that cannot be decoded from its page alone: fetched and executed in C each
 * time, so that page faults on its second half, #UD and the 15-byte limit come out right.
 */
static void gen_fetch(struct gen *g)
{
	g->n = 1;
	g->ended = g->tied = true;
	g->offset[0] = 0;
	g->offset[1] = 1;
	g->site[0] = (struct soft_site){0};
	g->site[1] = (struct soft_site){.guest = 1};
	g->lines |= soft_lines(g->gpa, X86_INSN_MAX);
	g->i = 0;
	gen_op(g, soft_op_fetch, NULL, true);
}

/*
 * An instruction that runs into the next page, if that can be had, is a block of its own.  Returns
 * the guest-physical address of that page, or 0.
 */
static uint64_t decode_straddling(struct gen *g)
{
	unsigned start = (unsigned)(g->gpa & 0xfff), size = 4096 - start;
	const struct soft_itlb_entry *next;
	uint64_t gpa2;

	if (size >= X86_INSN_MAX || !g->flat || (!g->is64 && (uint32_t)(g->rip + size) == 0))
		return 0;
	if (x86_decode(&g->insn[0], g->page + start, size, g->code_size) != X86_DECODE_MORE)
		return 0;
	next = soft_fetch_page(g->v, g->class, g->rip + size);
	if (!next)
		return 0;
	gpa2 = next->gpa & ~0xfffull;
	soft_page_has_code(g->v, gpa2);
	__builtin_memcpy(g->code, g->page + start, size);
	__builtin_memcpy(g->code + size, next->hva, X86_INSN_MAX - size);
	if (x86_decode(&g->insn[0], g->code, X86_INSN_MAX, g->code_size) != X86_DECODE_OK ||
		g->insn[0].len <= size)
		return 0;
	g->n = 1;
	g->straddles = true;
	g->offset[1] = g->insn[0].len;
	g->ended = x86_insn_allowed(&g->v->cpu, &g->insn[0]) != X86_DONE ||
		   (!gen_is_jcc(g, &g->insn[0]) && ends_block(g, &g->insn[0]));
	return gpa2;
}

struct gen *soft_gen_create(void)
{
	return calloc(1, sizeof(struct gen));
}

/* One more for stat_entered, with nothing but a scratch register. */
static void gen_count(struct gen *g)
{
	emit_load(&g->e, 8, HOST_S1, HOST_STATE, STATE(stat_entered));
	emit_lea(&g->e, 8, HOST_S1, HOST_S1, 1);
	emit_store(&g->e, 8, HOST_STATE, STATE(stat_entered), HOST_S1);
}

/* gen_host() of each, outside of regions. */
static const struct x86_remap plain = {
	.gpr = {X86_RAX, X86_RCX, X86_RDX, X86_RBX, HOST_RSP_G, X86_RBP, X86_RSI, X86_RDI, X86_R8,
		X86_R9, X86_R10, X86_R11, 255, 255, 255, 255},
	.mem_base = HOST_S0,
};

void gen_prepare(
	struct soft_vcpu *v, uint64_t rip, uint32_t mode, const struct soft_itlb_entry *page)
{
	static const uint8_t code_size[] = {16, 32, 64, 64};
	struct soft_cache *c = &v->cache;
	struct soft_piece *p = soft_filling(c);
	struct gen *g = v->gen;

	g->e = (struct emit){.p = c->rw + p->used, .end = c->rw + p->end, .to_rx = c->rx - c->rw};
	g->v = v;
	g->rip = rip;
	g->gpa = (page->gpa & ~0xfffull) | (x86_linear_rip(&v->cpu) & 0xfff);
	g->mode = mode;
	g->class = SOFT_MODE_CLASS(mode);
	g->is64 = SOFT_MODE_SIZE(mode) == SOFT_MODE_SIZE_64;
	g->flat = (mode & SOFT_MODE_FLAT) != 0;
	g->path = g->straddles = g->ended = g->failed = g->patched = false;
	g->nstubs = g->nchecks = g->ngroups = g->nmemos = g->hoisted = 0;
	g->copied = g->tied = g->placed = false;
	g->start = g->e.p;
	g->nfixes = g->nops = g->nlooks = g->nlook_bytes = 0;
	g->host_of = plain;
	__builtin_memset(g->swap, 0, sizeof(g->swap));
	soft_page_has_code(v, g->gpa); /* before the first look: a store from now on is announced */
	v->idle_stores = 1;
	g->page = page->hva;
	g->code_size = code_size[SOFT_MODE_SIZE(mode)];
	g->njcc = 0;
	g->lines = 0;
}

struct soft_block *gen_new_block(struct gen *g, uint64_t gpa2)
{
	struct soft_cache *c = &g->v->cache;
	struct soft_piece *p = soft_filling(c);
	struct soft_block *b = &c->blocks[p->first + p->nblocks];

	*b = (struct soft_block){.rip = g->rip,
		.gpa = g->gpa,
		.page2 = (uint32_t)(gpa2 >> 12),
		.mode = g->mode,
		.meta = p->meta_used,
		.edges = p->edges};
	b->host_mem = b->host = p->used;
	g->host = c->rx + b->host;
	return b;
}

/* The same, and its entry. */
static struct soft_block *begin(struct gen *g, uint64_t gpa2)
{
	struct soft_cache *c = &g->v->cache;
	struct soft_block *b = gen_new_block(g, gpa2);

	gen_liveness(g);
	gen_entry(g);
	b->host = (uint32_t)(g->host - c->rx);
	if (g->v->soft->count)
		gen_count(g);
	return b;
}

static struct soft_block *translate(
	struct soft_vcpu *v, uint64_t rip, uint32_t mode, const struct soft_itlb_entry *page)
{
	struct soft_cache *c = &v->cache;
	struct gen *g = v->gen;
	struct soft_block *b;
	uint64_t gpa2;

	if (!soft_has_room(c, GEN_STEP))
		return NULL;
	gen_prepare(v, rip, mode, page);
	g->patched = soft_block_died(c, rip, g->gpa, mode);
	decode(g, page->hva);
	gpa2 = g->n == 0 ? decode_straddling(g) : 0;
	if (gpa2 && (b = soft_block_find(v, rip, g->gpa, gpa2, mode)))
		return b;
	b = begin(g, gpa2);
	if (g->n == 0)
		gen_fetch(g);
	else
		gen_body(g);
	gen_stubs(g, b);
	b = gen_finish(g, b);
	if (b && !g->tied && !g->straddles && !g->patched)
		soft_share(v, b);
	return b;
}

/* The bytes of the path, as they are now. */
static bool path_is_there(struct gen *g)
{
	for (unsigned i = 0; i < g->n; i++) {
		unsigned at = (unsigned)(g->gpa + (uint64_t)g->offset[i]) & 0xfff;

		if (__builtin_memcmp(g->page + at, g->insn[i].bytes, g->insn[i].len) != 0)
			return false;
		g->lines |= soft_lines(at, g->insn[i].len);
	}
	return true;
}

struct soft_block *soft_translate_region(
	struct soft_vcpu *v, uint64_t rip, uint32_t mode, const struct soft_itlb_entry *page)
{
	struct soft_stat_mark mark = {.tsc = __builtin_ia32_rdtsc()};
	struct soft_piece *p = soft_filling(&v->cache);
	struct gen *g = v->gen;
	struct soft_block *b, *old;

	if (!soft_has_room(&v->cache, GEN_STEP))
		return NULL;
	soft_stat_mark(v, &mark);
	gen_prepare(v, rip, mode, page);
	if (!path_is_there(g))
		return NULL;
	old = soft_block_find(v, rip, g->gpa, 0, mode);
	g->path = true;
	g->offset[g->n] = 0;
	gen_path_assign(g);
	b = begin(g, 0);
	b->region = true;
	__builtin_memcpy(b->swap, g->swap, sizeof(b->swap));
	gen_body(g);
	gen_stubs(g, b);
	if (g->nmemos > SOFT_MEMOS_OF_ONE)
		g->failed = true;
	if (!g->failed && old)
		soft_block_retire(v, old);
	b = gen_finish(g, b);
	if (!b) {
		soft_edges_drop(v, p, v->cache.blocks[p->first + p->nblocks].edges);
		p->meta_used = v->cache.blocks[p->first + p->nblocks].meta;
		return NULL;
	}
	v->stat_regions++;
	soft_stat_translated(v, &mark);
	if (v->soft->trace || v->soft->perf)
		soft_observe(v, b);
	return b;
}

struct soft_block *soft_translate(
	struct soft_vcpu *v, uint64_t rip, uint32_t mode, const struct soft_itlb_entry *page)
{
	struct soft_stat_mark mark = {.tsc = __builtin_ia32_rdtsc()};
	struct soft_block *b;

	if (soft_tortured(v))
		soft_torture_translate(v);
	soft_cache_trim(v);
	b = soft_copy(v, rip, mode, page);
	if (b) {
		soft_stat_copied(v, &mark);
		if (v->soft->trace || v->soft->perf)
			soft_observe(v, b);
		return b;
	}
	soft_stat_mark(v, &mark);
	b = translate(v, rip, mode, page);
	if (!b) {
		soft_make_room(v);
		soft_stat_mark(v, &mark);
		b = translate(v, rip, mode, page);
		assert(b);
	}
	soft_stat_translated(v, &mark);
	if (v->check || soft_tortured(v)) /* both kinds are to be tried out */
		b = soft_copy_own(v, b, page);
	if (v->soft->trace || v->soft->perf)
		soft_observe(v, b);
	return b;
}
