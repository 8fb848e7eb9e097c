/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Memory operands: the address, and the inline look-up in the translated-address cache. */
#include "backend/soft/gen.h"

/*
 * The status flags are parked where a comparison would clobber them, and stay there until somebody
 * reads them or writes some of them: the host's are nothing meanwhile, and a block may be left like
 * that.  C may return to such a place: what it did changed no flags, or they would not be parked.
 */
static bool needs_flags(const struct x86_insn *in)
{
	switch (in->row->class) {
	case X86_NATIVE:
		return (in->row->fl_read | in->row->fl_write) & X86_FL_STATUS;
	case X86_STACK:
		return in->row->mnem != X86_I_push && in->row->mnem != X86_I_pop &&
		       in->row->mnem != X86_I_leave;
	case X86_BRANCH:
		return in->row->mnem != X86_I_ret && in->row->mnem != X86_I_jmp &&
		       in->row->mnem != X86_I_call;
	default:
		return true;
	}
}

void gen_park_flags(struct gen *g)
{
	struct emit *e = &g->e;

	if (g->parked)
		return;
	g->parked = true;
	emit_mov(e, 8, HOST_S1, X86_RAX);
	emit8(e, 0x9f); /* lahf */
	emit8(e, 0x0f);
	emit8(e, 0x90);
	emit8(e, 0xc0); /* seto al */
	emit_store(e, 4, HOST_STATE, STATE(flags16), X86_RAX);
	emit_mov(e, 8, X86_RAX, HOST_S1);
}

void gen_flags_now(struct gen *g)
{
	struct emit *e = &g->e;

	g->parked = false;
	emit_mov(e, 8, HOST_S1, X86_RAX);
	emit_load(e, 4, X86_RAX, HOST_STATE, STATE(flags16));
	emit8(e, 0x04);
	emit8(e, 0x7f); /* add al, 127 */
	emit8(e, 0x9e); /* sahf */
	emit_mov(e, 8, X86_RAX, HOST_S1);
}

void gen_unpark_flags(struct gen *g)
{
	if (g->path || needs_flags(&g->insn[g->i]))
		gen_flags_now(g);
}

void gen_begin_flags(struct gen *g)
{
	const struct x86_insn *in = &g->insn[g->i];

	if (!g->live[g->i])
		g->parked = false;
	else if (g->parked && needs_flags(in) &&
		 !(in->row->class == X86_NATIVE && in->has_mem && in->mem.access))
		gen_flags_now(g);
}

bool gen_can_address(const struct gen *g, const struct x86_insn *in)
{
	if (in->row->props & X86_P_VSIB)
		return false;
	if (g->is64)
		return true;
	/* FS and GS have bases, and nothing is stored through CS. */
	return g->flat && in->addrsize == 4 && in->mem.seg != X86_FS && in->mem.seg != X86_GS &&
	       in->mem.seg != X86_CS;
}

/* A guest register for use in an address: its host register, or r12/r13 loaded from its slot. */
static unsigned address_reg(struct gen *g, unsigned gpr, unsigned scratch)
{
	unsigned host = gen_host(g, gpr);

	if (host != 255)
		return host;
	emit_load(&g->e, 8, scratch, HOST_STATE, GPR(gpr));
	return scratch;
}

static void constant_address(struct gen *g, const struct x86_insn *in, unsigned size)
{
	uint64_t a = (uint64_t)in->mem.disp;

	if (in->mem.base == X86_RIP_BASE && size == 8) {
		gen_mov_rip(g, HOST_S0, a + gen_next_rip(g));
		return;
	}
	if (in->mem.base == X86_RIP_BASE) {
		a += gen_next_rip(g);
		g->placed = true;
	}
	emit_mov_imm(&g->e, HOST_S0, size == 8 ? a : (uint32_t)a);
}

void gen_address(struct gen *g, const struct x86_insn *in)
{
	const struct x86_mem *m = &in->mem;
	unsigned size = in->addrsize == 8 ? 8 : 4;
	struct emit *e = &g->e;

	if (m->index == X86_NOREG && (m->base == X86_NOREG || m->base == X86_RIP_BASE)) {
		constant_address(g, in, size);
	} else if (m->index == X86_NOREG) {
		unsigned base = address_reg(g, m->base, HOST_S0);

		if (base != HOST_S0 || m->disp || size == 4)
			emit_lea(e, size, HOST_S0, base, (int32_t)m->disp);
	} else {
		unsigned base = m->base == X86_NOREG ? 255 : address_reg(g, m->base, HOST_S0);
		unsigned index = address_reg(g, m->index, HOST_S1);

		emit_rm_sib(e, size, 0x8d, HOST_S0, base, index, m->scale, (int32_t)m->disp);
	}
	if (g->is64 && (m->seg == X86_FS || m->seg == X86_GS)) {
		emit_load(e, 8, HOST_S1, HOST_STATE,
			STATE(cpu.seg) + (int32_t)(m->seg * sizeof(struct x86_seg)) +
				(int32_t)offsetof(struct x86_seg, base));
		emit_rm_sib(e, 8, 0x8d, HOST_S0, HOST_S0, HOST_S1, 0, 0);
	}
}

#define MEMO(member) ((int32_t)offsetof(struct soft_memo, member))

static int32_t memo_at(const struct gen *g, unsigned memo)
{
	return STATE(memo) + (int32_t)((g->class * SOFT_MEMOS + memo) * sizeof(struct soft_memo));
}

unsigned gen_memo(struct gen *g, unsigned size, bool write)
{
	unsigned n = soft_memo_new(g->v, g->class, size, write);

	g->memo[g->nmemos++] = (struct gen_memo){(uint16_t)n, (uint16_t)size, write};
	return n;
}

/* Which of the block's memos it is. */
static unsigned memo_index(const struct gen *g, unsigned memo)
{
	unsigned i = g->nmemos;

	while (g->memo[--i].number != memo)
		;
	return i;
}

/* An instruction with a memo's member, and perhaps an immediate byte behind that. */
static void memo_op(
	struct gen *g, unsigned size, unsigned op, unsigned reg, unsigned memo, int32_t member)
{
	emit_rm_mem(&g->e, size, op, reg, HOST_STATE, memo_at(g, memo) + member);
	gen_fix(g, FIX_MEMO, memo_index(g, memo), g->e.p - 4);
}

static unsigned form_of(const struct gen *g, const struct gen_address *a)
{
	const struct x86_mem *m;
	unsigned gpr = a->gpr;

	if (!g->is64)
		return FORM_FULL;
	if (a->in) {
		m = &a->in->mem;
		if (a->in->addrsize != 8 || m->index != X86_NOREG || m->base >= 16 ||
			m->seg == X86_FS || m->seg == X86_GS)
			return FORM_FULL;
		gpr = m->base;
	}
	return gen_host(g, gpr) == 255 ? FORM_SLOT : FORM_BASE;
}

/* The address to be checked -> r12; FORM_SLOT: the base register -> r12. */
static void form_address(struct gen *g, const struct gen_check *c)
{
	unsigned gpr = c->a.in ? c->a.in->mem.base : c->a.gpr;
	struct emit *e = &g->e;

	if (c->form == FORM_BASE)
		emit_lea(e, 8, HOST_S0, gen_host(g, gpr), c->lo);
	else if (c->form == FORM_SLOT)
		emit_load(e, 8, HOST_S0, HOST_STATE, GPR(gpr));
	else if (c->a.in)
		gen_address(g, c->a.in);
	else
		emit_lea(e, g->is64 ? 8 : 4, HOST_S0, gen_host(g, gpr), c->lo);
}

/* Compares with the memo; r12 is then what the form says, without the addend. */
static uint8_t *compare_memo(struct gen *g, const struct gen_check *c)
{
	unsigned reg = c->form == FORM_BASE ? HOST_S0 : HOST_S1;
	struct emit *e = &g->e;

	form_address(g, c);
	if (c->form == FORM_SLOT)
		emit_lea(e, 8, HOST_S1, HOST_S0, c->lo);
	else if (c->form == FORM_FULL)
		emit_mov(e, 8, HOST_S1, HOST_S0);
	memo_op(g, 8, 0x2b, reg, c->memo, MEMO(tag));
	memo_op(g, 8, 0x3b, reg, c->memo, MEMO(limit));
	return emit_jcc(e, 7, emit_here(e)); /* ja */
}

static void add_memo(struct gen *g, const struct gen_check *c)
{
	memo_op(g, 8, c->form == FORM_BASE ? 0x8b : 0x03, HOST_S0, c->memo, MEMO(add));
}

/* An access that an earlier check covers: no comparison, and flags stay as they are. */
static void member(struct gen *g, const struct gen_check *c)
{
	struct emit *e = &g->e;

	if (c->form == FORM_BASE) {
		if (g->s0_before != c->memo + 1u)
			memo_op(g, 8, 0x8b, HOST_S0, c->memo, MEMO(add));
		return;
	}
	form_address(g, c);
	memo_op(g, 8, 0x8b, HOST_S1, c->memo, MEMO(add));
	emit_rm_sib(e, 8, 0x8d, HOST_S0, HOST_S0, HOST_S1, 0, 0);
}

static void leader(struct gen *g, struct gen_check *c, bool parked)
{
	bool keep = g->live[g->i] && !parked;
	struct gen_stub *s;

	if (keep)
		gen_park_flags(g);
	g->site[g->i].flags_parked = keep || parked || g->parked;
	s = gen_stub(g, STUB_CHECK);
	s->site = (uint16_t)g->i;
	s->check = c;
	s->jump = compare_memo(g, c);
	add_memo(g, c);
	s->done = emit_here(&g->e);
	if (keep)
		gen_unpark_flags(g);
}

void gen_hoisted_check(struct gen *g, const struct gen_group *p)
{
	struct gen_check *c = &g->check[g->nchecks++];

	*c = (struct gen_check){
		.a = {.gpr = p->gpr, .disp = p->lo},
		.write = p->write,
		.merged = true,
		.hoisted = true,
		.early = p->write,
		.memo = p->memo,
		.size = p->span,
		.lo = p->lo,
	};
	c->form = (uint8_t)form_of(g, &c->a);
	leader(g, c, false);
}

/* Is the constant so placed that host code can name it as a displacement? */
static struct gen_ref reference(struct gen *g, const struct gen_check *c, bool plain)
{
	const struct x86_insn *in = c->a.in;
	int32_t disp = in ? (int32_t)in->mem.disp : c->a.disp;
	unsigned gpr = in ? in->mem.base : c->a.gpr;
	struct gen_ref r = {HOST_S0, 255, 0};

	if (c->form == FORM_SLOT)
		r.disp = disp;
	if (c->form == FORM_BASE) {
		r = (struct gen_ref){HOST_S0, (uint8_t)gen_host(g, gpr), disp};
		g->s0 = c->memo + 1u;
	}
	if (plain && c->form == FORM_BASE) {
		emit_rm_sib(&g->e, 8, 0x8d, HOST_S0, HOST_S0, r.index, 0, disp);
		r = (struct gen_ref){HOST_S0, 255, 0};
		g->s0 = 0;
	}
	return r;
}

static struct gen_ref refer(struct gen *g, const struct gen_address *a, unsigned size, bool write,
	bool parked, bool plain)
{
	struct gen_check *c = &g->check[g->nchecks++];
	const struct gen_group *p = NULL;

	/* CALL with a memory operand has two accesses, of which the stack's is grouped. */
	if (g->group_of[g->i] != GEN_NO_GROUP && (!a->in || a->in->row->class == X86_NATIVE))
		p = &g->group[g->group_of[g->i]];
	*c = (struct gen_check){
		.a = *a, .form = (uint8_t)form_of(g, a), .write = write, .size = (uint16_t)size};
	c->lo = a->in ? (int32_t)a->in->mem.disp : a->disp;
	if (p) {
		c->memo = p->memo;
		c->early = p->write && !write;
		c->write = p->write;
		c->merged = p->last > p->leader;
		if (c->form != FORM_FULL) {
			c->lo = p->lo;
			c->size = p->span;
		}
	} else {
		c->memo = (uint16_t)gen_memo(g, size, write);
	}
	if (p && p->leader != g->i)
		member(g, c);
	else
		leader(g, c, parked);
	if (g->parked && !parked && g->live[g->i])
		gen_unpark_flags(g);
	return reference(g, c, plain);
}

struct gen_ref gen_memory(struct gen *g, const struct x86_insn *in, unsigned size, bool write,
	bool parked, bool plain)
{
	struct gen_address a = {.in = in};

	return refer(g, &a, size, write, parked, plain);
}

struct gen_ref gen_stack_slot(
	struct gen *g, unsigned gpr, int32_t disp, unsigned size, bool write, bool parked)
{
	struct gen_address a = {.gpr = gpr, .disp = disp};

	return refer(g, &a, size, write, parked, false);
}

bool gen_stack_checks(const struct gen *g)
{
	unsigned n = g->group_of[g->i];

	return n == GEN_NO_GROUP || g->group[n].leader == g->i;
}

static void ref_op(struct gen *g, unsigned size, unsigned op, unsigned reg, const struct gen_ref *r)
{
	if (r->index == 255)
		emit_rm_mem(&g->e, size, op, reg, r->base, r->disp);
	else
		emit_rm_sib(&g->e, size, op, reg, r->base, r->index, 0, r->disp);
}

void gen_load(struct gen *g, unsigned size, unsigned reg, const struct gen_ref *r)
{
	ref_op(g, size, 0x8b, reg, r);
}

void gen_store(struct gen *g, unsigned size, const struct gen_ref *r, unsigned reg)
{
	ref_op(g, size, 0x89, reg, r);
}

void gen_store_imm(struct gen *g, unsigned size, const struct gen_ref *r, uint32_t imm)
{
	ref_op(g, size, 0xc7, 0, r);
	if (size == 2)
		emit16(&g->e, imm);
	else
		emit32(&g->e, imm);
}

/*
 * r12 is the first address of a group whose range crosses a page: on by a translation without
 * groups, unless it is time to look whether both pages are neighbours on the host.
 */
static void crossing(struct gen *g, const struct gen_check *c)
{
	struct gen_stub *s;
	struct emit *e = &g->e;
	uint8_t *inside, *on;

	emit_mov(e, 4, HOST_S1, HOST_S0);
	emit_alu_imm(e, 4, 4, HOST_S1, 0xfff);
	emit_alu_imm(e, 4, 7, HOST_S1, 4096u - c->size);
	inside = emit_jcc8(e, 0x76);					 /* jbe */
	memo_op(g, 4, 0x83, 5, c->memo, MEMO(misses)); /* sub */
	emit8(e, 1);
	on = emit_jcc(e, 9, emit_here(e)); /* jns */
	emit_patch8(e, inside);
	if (g->path && !c->hoisted) {
		s = gen_path_exit(g, on, gen_rip(g), g->site[g->i].flags_parked);
	} else {
		gen_link_to(g, on, gen_rip(g), g->site[g->i].flags_parked);
		s = &g->stub[g->nstubs - 1];
	}
	s->nomerge = true;
}

/* The memo missed.  r12 and r13 are free; status flags need not be kept. */
void gen_check_stub(struct gen *g, const struct gen_stub *s)
{
	const struct gen_check *c = s->check;
	bool aligned = c->a.in && c->a.in->row->props & X86_P_ALIGN;
	uint64_t site =
		(uint64_t)s->site << 16 | c->size | (aligned ? SOFT_FILL_ALIGNED : 0) |
		(c->merged ? SOFT_FILL_MERGED : 0) | (c->early ? SOFT_FILL_EARLY : 0) |
		(c->a.in && c->a.in->row->props & (X86_P_X87 | X86_P_MMX) ? SOFT_FILL_MF : 0);
	struct emit *e = &g->e;

	g->i = s->site;
	form_address(g, c);
	if (c->form == FORM_SLOT && c->lo)
		emit_lea(e, 8, HOST_S0, HOST_S0, c->lo);
	if (c->merged)
		crossing(g, c);
	emit_mov_imm64(e, HOST_S1,
		site << 32 | (uint64_t)c->memo << 16 | (4096u - c->size) |
			(g->path && !c->hoisted ? SOFT_FILL_REGION : 0));
	gen_fix(g, FIX_WHAT, memo_index(g, c->memo), e->p - 6);
	gen_call_thunk(g, g->v->cache.look_up[g->class][c->write]);
	if (c->form == FORM_SLOT && c->lo)
		form_address(g, c); /* -lo need not be a displacement */
	if (c->form == FORM_BASE)
		emit_mov(e, 8, HOST_S0, HOST_S1);
	else
		emit_rm_sib(e, 8, 0x8d, HOST_S0, HOST_S0, HOST_S1, 0, 0);
	emit_jmp(e, s->done);
}
