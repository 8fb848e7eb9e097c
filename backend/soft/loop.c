/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Around translated code: which block comes next, what to do when one gives up, host signals. */
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <ucontext.h>

#include "backend/soft/check.h"
#include "backend/soft/soft.h"

#define SPIN_GAPS_PER_S 200000 /* PAUSEs further apart than 5 us are none of a spinning loop */
#define SPINS_PER_S	20000  /* one that takes 50 us is long */

static bool is_flat(const struct x86_seg *s, bool code)
{
	uint32_t need = X86_SEG_P | X86_SEG_S | (code ? 8u : 2u),
		 type = s->access & (code ? 8u : 0xau);

	return s->base == 0 && s->limit == 0xffffffff && !(s->access & X86_SEG_UNUSABLE) &&
	       (s->access & need) == need && type == (code ? 8u : 2u) &&
	       (code || !(s->access & 4)); /* no expand-down */
}

static uint32_t mode_legacy(const struct x86_cpu *cpu)
{
	uint32_t m = cpu->seg[X86_CS].access & X86_SEG_DB ? SOFT_MODE_SIZE_32 : SOFT_MODE_SIZE_16;

	if (cpu->seg[X86_SS].access & X86_SEG_DB)
		m |= SOFT_MODE_STACK32;
	if (is_flat(&cpu->seg[X86_CS], true) && (cpu->seg[X86_CS].access & 2) &&
		is_flat(&cpu->seg[X86_SS], false) && is_flat(&cpu->seg[X86_DS], false) &&
		is_flat(&cpu->seg[X86_ES], false))
		m |= SOFT_MODE_FLAT;
	return m;
}

uint32_t soft_mode(struct soft_vcpu *v)
{
	const struct x86_cpu *cpu = &v->cpu;
	uint64_t f = cpu->rflags, cr4 = cpu->cr4;
	bool lma = cpu->efer & X86_EFER_LMA;
	uint32_t m, class = SOFT_SUPER;

	v->watch = (cpu->dr[7] & 0xff) != 0;
	if (lma && cpu->seg[X86_CS].access & X86_SEG_L)
		m = SOFT_MODE_SIZE_64 | SOFT_MODE_FLAT;
	else
		m = mode_legacy(cpu);
	if (cpu->cpl == 3)
		class = SOFT_USER;
	else if (cr4 & X86_CR4_SMAP && f & X86_RF_AC)
		class = SOFT_SUPER_AC;
	m |= class << SOFT_MODE_CLASS_SHIFT | (uint32_t)cpu->cpl << SOFT_MODE_CPL_SHIFT;
	m |= (uint32_t)(cpu->cr0 & (X86_CR0_MP | X86_CR0_EM | X86_CR0_TS))
	     << (SOFT_MODE_FPU_SHIFT - 1);
	m |= (uint32_t)(f >> 12 & 3) << SOFT_MODE_IOPL_SHIFT;
	if (cpu->cr0 & X86_CR0_PE)
		m |= SOFT_MODE_PE;
	if (lma)
		m |= SOFT_MODE_LMA;
	if (f & X86_RF_VM)
		m |= SOFT_MODE_VM;
	if (cr4 & X86_CR4_OSFXSR)
		m |= SOFT_MODE_OSFXSR;
	if (cr4 & X86_CR4_OSXSAVE && (cpu->xcr0 & 6) == 6)
		m |= SOFT_MODE_AVX;
	if (cr4 & X86_CR4_UMIP)
		m |= SOFT_MODE_UMIP;
	if (cr4 & X86_CR4_FSGSBASE)
		m |= SOFT_MODE_FSGSBASE;
	if (cr4 & X86_CR4_TSD)
		m |= SOFT_MODE_TSD;
	if (cpu->efer & X86_EFER_SCE)
		m |= SOFT_MODE_SCE;
	if (f & X86_RF_TF || v->watch || v->single_step || cpu->shadow ||
		(cpu->cpl == 3 && f & X86_RF_AC && cpu->cr0 & X86_CR0_AM))
		m |= SOFT_MODE_STEP;
	return m;
}

/*
 * A near branch to a non-canonical address faults where it stands, with the stack as it was.  The
 * translated one has gone there: back to it.
 */
static void undo_branch(struct soft_vcpu *v)
{
	uint64_t target = v->cpu.rip;
	struct x86_insn insn;

	v->cpu.rip = v->branch_rip;
	if (x86_fetch(&v->cpu, &insn) != X86_DONE || insn.row->class != X86_BRANCH)
		v->cpu.rip = target; /* it ran there */
	else if (insn.row->mnem == X86_I_call)
		v->cpu.gpr[X86_RSP] += 8;
	else if (insn.row->mnem == X86_I_ret)
		v->cpu.gpr[X86_RSP] -= 8 + (insn.nops ? (uint16_t)insn.imm : 0u);
}

static struct soft_itlb_entry *cached_page(struct soft_vcpu *v, unsigned class, uint64_t gla)
{
	struct soft_itlb_entry *e = &v->itlb[class][soft_itlb_slot(gla)];

	return e->page == ((gla & ~0xfffull) | 1) &&
			       e->stamp == v->itlb_stamp[class][e->gpa & SOFT_TLB_GLOBAL]
		       ? e
		       : NULL;
}

/* NULL: not a page of RAM that we can execute from. */
static struct soft_itlb_entry *cache_page(
	struct soft_vcpu *v, unsigned class, uint64_t gla, const struct x86_walk *w)
{
	struct soft_itlb_entry *e = &v->itlb[class][soft_itlb_slot(gla)];

	e->hva = soft_ram(v, w->gpa & ~0xfffull);
	if (!e->hva || w->gpa >> 12 >= v->soft->pages) {
		e->page = 0;
		return NULL;
	}
	soft_note_large(v, class, gla, w);
	e->page = (gla & ~0xfffull) | 1;
	e->gpa = (w->gpa & ~0xfffull) | (w->global ? SOFT_TLB_GLOBAL : 0);
	e->stamp = v->itlb_stamp[class][e->gpa & SOFT_TLB_GLOBAL];
	return e;
}

static unsigned fetch_access(unsigned class)
{
	return X86_ACC_EXEC | (class == SOFT_USER ? X86_ACC_USER : 0);
}

struct soft_itlb_entry *soft_known_page(struct soft_vcpu *v, unsigned class, uint64_t gla)
{
	struct soft_itlb_entry *e = cached_page(v, class, gla);
	struct x86_walk w;

	if (e)
		return e;
	return soft_walk_marked(v, gla, fetch_access(class), &w) ? cache_page(v, class, gla, &w)
								 : NULL;
}

struct soft_itlb_entry *soft_fetch_page(struct soft_vcpu *v, unsigned class, uint64_t gla)
{
	struct soft_itlb_entry *e = cached_page(v, class, gla);
	struct x86_walk w;
	enum x86_result res;

	if (e)
		return e;
	if (v->cpu.efer & X86_EFER_LMA && !x86_canonical(gla)) {
		if (v->branch_rip != SOFT_NO_BRANCH)
			undo_branch(v);
		v->result = (uint8_t)x86_raise_error(&v->cpu, X86_GP, 0);
		return NULL;
	}
	res = soft_walk(v, gla, fetch_access(class), &w);
	if (res != X86_DONE) {
		v->result = (uint8_t)res;
		return NULL;
	}
	e = cache_page(v, class, gla, &w);
	if (!e) {
		v->cpu.exit.reason = X86_EXIT_MMIO;
		v->cpu.exit.mmio.gpa = w.gpa;
		v->cpu.exit.mmio.gla = gla;
		v->cpu.exit.mmio.size = 0; /* a fetch */
		v->cpu.exit.mmio.write = false;
		v->result = X86_EXIT;
	}
	return e;
}

/* A block in two pages is as global as both of them are. */
static bool is_global(
	struct soft_vcpu *v, const struct soft_block *b, const struct soft_itlb_entry *page)
{
	if (page->gpa & SOFT_TLB_GLOBAL && b->page2)
		page = soft_fetch_page(v, SOFT_MODE_CLASS(b->mode), (b->rip & ~0xfffull) + 4096);
	return page && page->gpa & SOFT_TLB_GLOBAL;
}

/* The block for cpu.rip, translated if need be; NULL: v->result. */
static struct soft_block *find_block(struct soft_vcpu *v, uint32_t mode)
{
	unsigned class = SOFT_MODE_CLASS(mode);
	uint64_t gla = x86_linear_rip(&v->cpu);
	struct soft_itlb_entry *page = soft_fetch_page(v, class, gla);
	bool jump = v->branch_rip != SOFT_NO_BRANCH || v->want_jump;
	struct soft_block *b;

	v->stat_lookups++;
	v->branch_rip = SOFT_NO_BRANCH;
	v->want_jump = false;
	if (!page)
		return NULL;
	if (v->nomerge)
		mode |= SOFT_MODE_NOMERGE;
	v->nomerge = 0;
	b = soft_block_find(v, v->cpu.rip, (page->gpa & ~0xfffull) | (gla & 0xfff), 0, mode);
	if (!b)
		b = soft_translate(v, v->cpu.rip, mode, page);
	if (mode & SOFT_MODE_FLAT)
		soft_jump_rests(v, b, is_global(v, b, page));
	if (mode & SOFT_MODE_FLAT && jump && !(mode & SOFT_MODE_NOMERGE))
		soft_jump_enter(v, b);
	return b;
}

/* The jump that has led here leads to the block from now on, if it is still there. */
static void link_block(
	struct soft_vcpu *v, const struct soft_block *b, uint32_t site, uint32_t evictions)
{
	if (b->page2 || v->cache.evictions != evictions || soft_unlinked(v))
		return;
	soft_link(&v->cache, site >> 1, soft_entry(&v->cache, b, site & 1));
	v->stat_links++;
}

static void fill_edge(
	struct soft_vcpu *v, const struct soft_block *b, uint32_t site, uint32_t evictions)
{
	if (v->cache.evictions != evictions || soft_unlinked(v))
		return;
	soft_edge_fill(v, site, b);
}

/*
 * Who says PAUSE again and again waits for another vcpu, and after a while that one is likely to be
 * waiting for the core that we are on: a guest with more vcpus than the host has cores would spend
 * whole time slices like this.
 */
static void paused(struct soft_vcpu *v)
{
	uint64_t now = soft_host_tsc();
	uint32_t others;
	bool lent;

	if (now - v->pause_last > v->soft->tsc_hz / SPIN_GAPS_PER_S)
		v->pause_first = now;
	v->pause_last = now;
	if (now - v->pause_first < v->soft->tsc_hz / SPINS_PER_S)
		return;
	v->pause_first = now;
	lent = soft_lend(v);
	others = vm_active_mask(v->vm) & ~(1u << v->vcpuid);
	soft_return(v, lent);
	if (others)
		sched_yield(); /* a system call, and no register changes */
}

/* A PAUSE that the user does not want to see is done. */
static bool finish_pause(struct soft_vcpu *v)
{
	if (v->cpu.exit.reason != X86_EXIT_PAUSE || v->cap[VM_CAP_PAUSE_EXIT])
		return false;
	soft_skip(v);
	paused(v);
	return true;
}

/* A fault or an exit. False: vm_exitinfo() is filled. */
static bool handle_result(struct soft_vcpu *v)
{
	if (v->result == X86_FAULT)
		return soft_deliver_fault(v);
	if (finish_pause(v))
		return true;
	v->trap_due = v->cpu.rflags & X86_RF_TF;
	v->trap_rip = v->cpu.rip + v->insn_len;
	soft_exit(v);
	return false;
}

/*
 * INT n and the like clear TF on their way: no single-step trap after them (SDM vol. 3, 17.3.1.4).
 * Nor after SYSCALL, if its mask has TF: the trap goes by what TF is then.
 */
static bool takes_tf(const struct soft_vcpu *v, const struct x86_insn *insn)
{
	switch (insn->row->mnem) {
	case X86_I_int:
	case X86_I_int1:
	case X86_I_int3:
	case X86_I_into:
		return true;
	case X86_I_syscall:
		return !(v->cpu.rflags & X86_RF_TF);
	default:
		return false;
	}
}

/*
 * A data breakpoint of MOV SS waits for the next instruction, whatever that is: behind INT n it is
 * delivered at the handler (SDM vol. 3, 6.8.3).  INT1 is a #DB already, which takes it along.
 */
static void hold_watch(struct soft_vcpu *v, const struct x86_insn *insn, uint64_t held)
{
	v->watch_hit |= held;
	if (v->cpu.shadow & X86_SHADOW_MOVSS) {
		v->watch_held = v->watch_hit;
	} else if (insn->row->mnem == X86_I_int1) {
		v->cpu.dr[6] |= held;
		v->watch_hit &= ~held;
	}
}

static enum x86_result step_once(struct soft_vcpu *v, struct x86_insn *insn)
{
	enum x86_result res;
	uint32_t bp;

	v->watch_hit = 0;
	bp = v->watch && !(v->cpu.rflags & X86_RF_RF) ? soft_exec_breakpoints(v) : 0;
	if (bp) {
		res = x86_raise(&v->cpu, X86_DB);
		v->cpu.fault.dr6 = bp;
		return res;
	}
	res = x86_fetch(&v->cpu, insn);
	if (res != X86_DONE)
		return res;
	v->insn_len = insn->len;
	return x86_execute(&v->cpu, insn);
}

/*
 * One instruction without translation: behind STI and MOV SS, under TF, breakpoints or MTRAP. True:
 * go on; false: vm_exitinfo() is filled.
 */
bool soft_step(struct soft_vcpu *v)
{
	bool tf = v->cpu.rflags & X86_RF_TF, trap = v->single_step;
	uint64_t held = v->watch_held;
	uint8_t shadow = v->cpu.shadow;
	struct x86_insn insn;
	enum x86_result res;

	v->stat_steps++;
	v->watch_held = 0;
	v->branch_rip = SOFT_NO_BRANCH;
	v->cpu.shadow = 0;
	res = step_once(v, &insn);
	if (res == X86_EXIT && finish_pause(v))
		res = X86_DONE;
	if (v->npending_writes || v->pending_overflow)
		soft_writes_done(v);
	if (res == X86_FAULT || res == X86_EXIT) {
		v->result = (uint8_t)res;
		if (res == X86_EXIT && shadow)
			v->cpu.shadow = shadow; /* the instruction is still to be done */
		if (res == X86_EXIT)
			v->watch_held = held;
		return handle_result(v);
	}
	if (res == X86_DONE && insn.row->mnem != X86_I_iret)
		v->cpu.rflags &=
			~X86_RF_RF; /* IRET may have just set it; a string instruction goes on */
	tf = tf && !takes_tf(v, &insn);
	hold_watch(v, &insn, held);
	if ((tf || v->watch_hit) && !(v->cpu.shadow & X86_SHADOW_MOVSS)) {
		x86_raise(&v->cpu, X86_DB);
		v->cpu.fault.dr6 = (tf ? 1u << 14 : 0) | v->watch_hit;
		if (!soft_deliver_fault(v))
			return false;
	}
	if (trap) {
		soft_exit_mtrap(v);
		return false;
	}
	return true;
}

/* CS limit: translated code does not look at it, so blocks stay well inside. */
static bool near_limit(const struct soft_vcpu *v, uint32_t mode)
{
	return SOFT_MODE_SIZE(mode) != SOFT_MODE_SIZE_64 && !(mode & SOFT_MODE_FLAT) &&
	       v->cpu.rip + 1024 > v->cpu.seg[X86_CS].limit;
}

static uint32_t enter(struct soft_vcpu *v, const struct soft_block *b)
{
	if (v->check)
		return soft_check_block(v, b);
	return (uint32_t)v->cache.enter(v, v->cache.rx + b->host);
}

static bool run_block(struct soft_vcpu *v, uint32_t mode)
{
	static const struct soft_block *const none;
	const struct soft_block *b;

	if (soft_tortured(v))
		soft_torture_loop(v);
	b = find_block(v, mode);
	v->cpu.rflags &=
		~X86_RF_RF; /* without breakpoints it only has to be gone after one instruction */
	while (b != none) {
		uint32_t evictions = v->cache.evictions, site;
		bool link;

		v->reason = enter(v, b);
		if (v->reason == SOFT_REDO)
			return soft_step(v);
		if (v->reason != SOFT_LINK && v->reason != SOFT_EDGE)
			return v->reason < SOFT_RESULT ||
			       (v->reason == SOFT_RESULT && handle_result(v));
		site = v->link_site;
		link = v->reason == SOFT_LINK;
		mode = soft_mode(v); /* STAC and CLAC change the class */
		b = find_block(v, mode);
		if (b && link)
			link_block(v, b, site, evictions);
		else if (b)
			fill_edge(v, b, site, evictions);
	}
	v->reason = SOFT_RESULT; /* and not what the last block said */
	return handle_result(v);
}

int soft_loop(struct soft_vcpu *v)
{
	/* Whoever waits for us to serve a request: `run` is stored between this and our look at
	 * requests. */
	atomic_store_explicit(&v->in_guest, true, memory_order_relaxed);
	for (;;) {
		uint32_t mode;

		if (!atomic_load_explicit(&v->run, memory_order_relaxed) ||
			(v->intr_window && soft_window_open(v))) {
			atomic_store(&v->run, 1);
			soft_serve_requests(v);
			soft_mirror_build(v);
			if (!soft_events(v))
				break;
			/* Its delivery may have faulted: what follows from that comes before any
			 * instruction. */
			if (!atomic_load_explicit(&v->run, memory_order_relaxed))
				continue;
			if (!v->fpu_live)
				soft_unpark(v, true);
		}
		mode = soft_mode(v);
		if (SOFT_MODE_JCKEY(mode) != v->mode) {
			soft_jc_flush(v);
			v->mode = SOFT_MODE_JCKEY(mode);
		}
		if (mode & SOFT_MODE_STEP || near_limit(v, mode)) {
			if (!soft_step(v))
				break;
		} else if (!run_block(v, mode) ||
			   (__builtin_expect(soft_region_hot(v), 0) && !soft_region_form(v))) {
			break;
		}
	}
	atomic_store_explicit(&v->in_guest, false, memory_order_release);
	return soft_check_mismatch(v) ? EPROTO : 0;
}

static const uint8_t context_reg[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_R14, REG_RBP,
	REG_RSI, REG_RDI, REG_R8, REG_R9, REG_R10, REG_R11};

/* Which guest exception a host signal in translated code stands for; -1: none, our bug. */
static int vector_of(greg_t trapno)
{
	switch (trapno) {
	case X86_DE:
	case X86_GP: /* an aligned operand that is not, or no canonical address: C finds out */
	case X86_MF:
	case X86_XM:
		return (int)trapno;
	default:
		return -1;
	}
}

/* Where an instruction has parked the flags they are in memory still, or in both places. */
static uint64_t flags_at(const struct soft_vcpu *v, const struct soft_site *site, const greg_t *r)
{
	if (site->flags_parked)
		return (v->flags16 >> 8 & 0xd5) | (uint64_t)(v->flags16 & 1) << 11;
	return r[REG_EFL] & X86_FL_STATUS;
}

/*
 * A native instruction faulted on the host.  Its guest state is what the registers hold, but for
 * the scratch ones; go back to soft_loop() with the guest's exception.
 */
bool soft_trap(struct x86_trap *trap, int sig, void *info, void *context)
{
	struct soft_vcpu *v = trap->arg;
	ucontext_t *uc = context;
	greg_t *r = uc->uc_mcontext.gregs;
	struct soft_block *b = soft_block_at(&v->cache, (const void *)r[REG_RIP]);
	int vector = vector_of(r[REG_TRAPNO]);
	unsigned host, i;

	(void)sig;
	(void)info;
	if (!b || vector < 0)
		return false;
	host = (unsigned)((const uint8_t *)r[REG_RIP] - (v->cache.rx + b->host));
	for (i = 0; i + 1 < b->nsites && b->sites[i + 1].host <= host; i++)
		;
	v->cpu.rip = b->rip + b->sites[i].guest;
	for (unsigned n = 0; n < X86_R12; n++)
		v->cpu.gpr[n] = (uint64_t)r[context_reg[n]];
	if (b->sites[i].borrowed)
		v->cpu.gpr[b->sites[i].borrowed - 1] = v->borrow;
	v->cpu.rflags = (v->cpu.rflags & ~(uint64_t)X86_FL_STATUS) | flags_at(v, &b->sites[i], r);
	if (b->region)
		soft_swap_out(v, b);
	v->reason = SOFT_REDO;
	if (vector != X86_GP) {
		v->result = (uint8_t)x86_raise(&v->cpu,
			vector == X86_XM && !(v->cpu.cr4 & X86_CR4_OSXMMEXCPT) ? X86_UD
									       : (unsigned)vector);
		v->reason = SOFT_RESULT;
	}
	r[REG_RIP] = (greg_t)(uintptr_t)v->cache.leave_raw;
	r[REG_R15] = (greg_t)(uintptr_t)v;
	return true;
}
