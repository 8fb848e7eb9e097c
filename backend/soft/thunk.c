/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The fixed code at the start of every code cache: into translated code, out of it, and from it to
 * C.
 *
 * Between guest instructions the host's registers hold the guest's: RAX..RDI without RSP and
 * R8..R11 in place, RSP in r14, R12..R15 in memory; status flags in the host's; r12 and r13 are
 * scratch; r15 is the struct soft_vcpu.  The host stack is aligned to 16 there.
 */
#include "backend/soft/emit.h"
#include "backend/soft/soft.h"

#define STATE(member) ((int32_t)offsetof(struct soft_vcpu, member))
#define GPR(n)	      (STATE(cpu.gpr) + 8 * (int32_t)(n))
#define MEMO(member)  ((int32_t)offsetof(struct soft_memo, member))

_Static_assert(sizeof(struct soft_memo) == 32 && SOFT_MEMO_GROUP == 16, "emit_look_up()");
_Static_assert(SOFT_MEMOS <= 65536, "16 bits of what a look-up needs to know");

static const uint8_t in_place[] = {
	X86_RCX, X86_RDX, X86_RBX, X86_RBP, X86_RSI, X86_RDI, X86_R8, X86_R9, X86_R10, X86_R11};
static const uint8_t callee_saved[] = {X86_RBX, X86_RBP, X86_R12, X86_R13, X86_R14, X86_R15};

static void save_rax(struct emit *e)
{
	emit_store(e, 8, HOST_STATE, GPR(X86_RAX), X86_RAX);
}

static void save_others(struct emit *e)
{
	for (unsigned i = 0; i < sizeof(in_place); i++)
		emit_store(e, 8, HOST_STATE, GPR(in_place[i]), in_place[i]);
	emit_store(e, 8, HOST_STATE, GPR(X86_RSP), HOST_RSP_G);
}

static void load_others(struct emit *e)
{
	for (unsigned i = 0; i < sizeof(in_place); i++)
		emit_load(e, 8, in_place[i], HOST_STATE, GPR(in_place[i]));
	emit_load(e, 8, HOST_RSP_G, HOST_STATE, GPR(X86_RSP));
}

/* Status flags -> ax (RAX and nothing else is changed). */
static void flags_to_ax(struct emit *e)
{
	emit8(e, 0x9f); /* lahf */
	emit8(e, 0x0f);
	emit8(e, 0x90);
	emit8(e, 0xc0); /* seto al */
}

/* ax as flags_to_ax left it -> cpu.rflags. Clobbers rax, rcx. */
static void ax_to_rflags(struct emit *e)
{
	emit8(e, 0x0f);
	emit8(e, 0xb6);
	emit8(e, 0xcc); /* movzx ecx, ah */
	emit_alu_imm(e, 4, 4, X86_RCX, 0xd5);
	emit8(e, 0x0f);
	emit8(e, 0xb6);
	emit8(e, 0xc0); /* movzx eax, al */
	emit_shift_imm(e, 4, 4, X86_RAX, 11);
	emit_rr(e, 4, 0x0b, X86_RCX, X86_RAX); /* or ecx, eax */
	emit_load(e, 4, X86_RAX, HOST_STATE, STATE(cpu.rflags));
	emit_alu_imm(e, 4, 4, X86_RAX, ~X86_FL_STATUS | X86_FL_DF);
	emit_rr(e, 4, 0x0b, X86_RAX, X86_RCX);
	emit_store(e, 4, HOST_STATE, STATE(cpu.rflags), X86_RAX);
}

/* cpu.rflags -> status flags of the host. Clobbers rax, rcx. */
static void rflags_to_host(struct emit *e)
{
	emit_load(e, 4, X86_RAX, HOST_STATE, STATE(cpu.rflags));
	emit_mov(e, 4, X86_RCX, X86_RAX);
	emit_shift_imm(e, 4, 5, X86_RCX, 11);
	emit_alu_imm(e, 4, 4, X86_RCX, 1);
	emit8(e, 0x88);
	emit8(e, 0xc4); /* mov ah, al */
	emit8(e, 0x88);
	emit8(e, 0xc8); /* mov al, cl */
	emit8(e, 0x04);
	emit8(e, 0x7f); /* add al, 127: OF as it was */
	emit8(e, 0x9e); /* sahf */
}

/* Everything from memory into the host's registers; r12 and r13 are left alone. */
static void load_guest(struct emit *e)
{
	rflags_to_host(e);
	load_others(e);
	emit_load(e, 8, X86_RAX, HOST_STATE, GPR(X86_RAX));
}

static void pop_host(struct emit *e)
{
	emit_load(e, 8, X86_RSP, HOST_STATE, STATE(host_rsp));
	for (int i = sizeof(callee_saved) - 1; i >= 0; i--) {
		if (callee_saved[i] >> 3)
			emit8(e, 0x41);
		emit8(e, 0x58 | (callee_saved[i] & 7));
	}
	emit8(e, 0xc3);
}

/* int enter(struct soft_vcpu *v, const void *code) */
static void emit_enter(struct emit *e)
{
	for (unsigned i = 0; i < sizeof(callee_saved); i++) {
		if (callee_saved[i] >> 3)
			emit8(e, 0x41);
		emit8(e, 0x50 | (callee_saved[i] & 7));
	}
	emit_mov(e, 8, HOST_STATE, X86_RDI);
	emit_store(e, 8, HOST_STATE, STATE(host_rsp), X86_RSP);
	emit_lea(e, 8, X86_RSP, X86_RSP, -8);
	emit_mov(e, 8, HOST_S0, X86_RSI);
	load_guest(e);
	emit8(e, 0x41);
	emit8(e, 0xff);
	emit8(e, 0xe4); /* jmp r12 */
}

/* ret rax -> there, with the guest's registers; NULL -> back to the caller of enter(). */
static void emit_continue(struct emit *e, const uint8_t *leave_raw)
{
	emit_rr(e, 8, 0x85, X86_RAX, X86_RAX);
	emit_jcc(e, 4, leave_raw);
	emit_mov(e, 8, HOST_S0, X86_RAX);
	load_guest(e);
	emit8(e, 0x41);
	emit8(e, 0xff);
	emit8(e, 0xe4); /* jmp r12 */
}

static void call_abs(struct emit *e, const void *fn)
{
	emit_mov_imm(e, X86_RAX, (uint64_t)(uintptr_t)fn);
	emit8(e, 0xff);
	emit8(e, 0xd0);
}

/* r12: address, r13: what, [rsp]: return address.  r12 is kept. */
static void emit_fill(struct emit *e, const void *fn, const uint8_t *leave_raw)
{
	save_rax(e);
	save_others(e);
	emit_mov(e, 8, X86_RDI, HOST_STATE);
	emit_mov(e, 8, X86_RSI, HOST_S0);
	emit_mov(e, 8, X86_RDX, HOST_S1);
	emit8(e, 0x59); /* pop rcx */
	emit_lea(e, 8, X86_RCX, X86_RCX, -SOFT_LOOK_UP_BYTES);
	emit_mov(e, 8, X86_RBX, HOST_S0); /* callee-saved, and its guest value is in memory */
	call_abs(e, fn);
	emit_rr(e, 8, 0x85, X86_RAX, X86_RAX);
	emit_jcc(e, 4, leave_raw);
	emit_store(e, 8, HOST_STATE, STATE(park), X86_RAX);
	emit_mov(e, 8, HOST_S0, X86_RBX);
	load_guest(e);
	emit_load(e, 8, HOST_S1, HOST_STATE, STATE(fill_add));
	emit_rm_mem(e, 4, 0xff, 4, HOST_STATE, STATE(park)); /* jmp */
}

/* r12's page in its first place -> rax. */
static void first_place(struct emit *e, unsigned class)
{
	emit_mov(e, 8, X86_RAX, HOST_S0);
	emit_shift_imm(e, 8, 5, X86_RAX, 12 - 5);
	emit_alu_imm(e, 4, 4, X86_RAX, (SOFT_TLB_ENTRIES - 1) << 5);
	emit_rm_mem(e, 8, 0x03, X86_RAX, HOST_STATE,
		STATE(tlb) + (int32_t)(class * sizeof(struct soft_tlb *)));
}

/* rdx: lines of the page that hold code, rax: an offset in it.  jc: there. */
static void test_line(struct emit *e)
{
	emit_shift_imm(e, 4, 5, X86_RAX, 6);
	emit_rr(e, 8, 0x0fa3, X86_RAX, X86_RDX); /* bt */
}

/*
 * The TLB has no right to write: what fill_once() does, where it is simple.  The page is in its
 * first place, holds code of this vcpu alone, and none in the lines of that store.  rax and rcx are
 * free.
 */
static void emit_beside(struct emit *e, struct soft_vcpu *v, unsigned class, int32_t memo)
{
	int32_t gpa = (int32_t)offsetof(struct soft_tlb_entry, gpa);
	uint8_t *no[5], *pop[5], *some;

	emit_mov(e, 8, X86_RAX, HOST_S1);
	emit_shift_imm(e, 8, 5, X86_RAX, 32 + 14);
	emit8(e, 0xa8); /* test al, SOFT_FILL_MERGED and SOFT_FILL_ALIGNED */
	emit8(e, 3);
	no[0] = emit_jcc(e, 5, emit_here(e));
	first_place(e, class);
	emit_mov(e, 8, X86_RCX, HOST_S0);
	emit_rm_mem(e, 8, 0x2b, X86_RCX, X86_RAX, (int32_t)offsetof(struct soft_tlb_entry, read));
	emit_alu_imm(e, 8, 7, X86_RCX, 4095);
	no[1] = emit_jcc(e, 7, emit_here(e));
	emit_rr(e, 2, 0x3b, X86_RCX, HOST_S1);
	no[2] = emit_jcc(e, 7, emit_here(e));
	emit_rm_mem(e, 4, 0xf6, 0, X86_RAX, gpa); /* test byte */
	emit8(e, SOFT_TLB_CODE);
	no[3] = emit_jcc(e, 4, emit_here(e));
	emit8(e, 0x52); /* push rdx */
	emit_load(e, 8, X86_RDX, X86_RAX, gpa);
	emit_shift_imm(e, 8, 5, X86_RDX, 12);
	emit_mov_imm64(e, X86_RAX, (uint64_t)(uintptr_t)v->soft->page_writers);
	emit8(e, 0x66);
	emit_rm_sib(e, 4, 0xf7, 0, X86_RAX, X86_RDX, 1, 0); /* test word */
	emit16(e, 1u << v->vcpuid);
	pop[4] = emit_jcc(e, 4, emit_here(e));
	emit_mov_imm64(e, X86_RAX, (uint64_t)(uintptr_t)v->soft->page_code);
	emit8(e, 0x66);
	emit_rm_sib(e, 4, 0x81, 7, X86_RAX, X86_RDX, 1, 0); /* cmp word */
	emit16(e, 1u << v->vcpuid);
	pop[0] = emit_jcc(e, 5, emit_here(e));
	emit_mov_imm64(e, X86_RAX, (uint64_t)(uintptr_t)v->cache.page_lines);
	emit_rm_sib(e, 8, 0x8b, X86_RDX, X86_RAX, X86_RDX, 3, 0);
	emit_rr(e, 8, 0x85, X86_RDX, X86_RDX);
	some = emit_jcc8(e, 0x75);
	emit_rm_mem(e, 4, 0xff, 0, HOST_STATE, STATE(idle_stores)); /* inc */
	emit_rm_mem(e, 4, 0xf7, 0, HOST_STATE, STATE(idle_stores)); /* test */
	emit32(e, SOFT_IDLE_STORES - 1);
	pop[1] = emit_jcc(e, 4, emit_here(e));
	emit_patch8(e, some);
	emit_mov(e, 4, X86_RAX, X86_RCX);
	test_line(e);
	pop[2] = emit_jcc(e, 2, emit_here(e));
	emit_rr(e, 4, 0x0fb7, X86_RAX, HOST_S1); /* movzx: 4096 - size */
	emit_rr(e, 4, 0x2b, X86_RCX, X86_RAX);
	emit_lea(e, 4, X86_RAX, X86_RCX, 4095);
	test_line(e);
	pop[3] = emit_jcc(e, 2, emit_here(e));
	emit8(e, 0x5a); /* pop rdx */
	emit_mov(e, 4, X86_RCX, HOST_S1);
	emit_shift_imm(e, 4, 5, X86_RCX, 16);
	emit_shift_imm(e, 4, 4, X86_RCX, 2);
	emit_rm_sib(e, 4, 0x83, 5, HOST_STATE, X86_RCX, 3, memo + MEMO(misses)); /* sub */
	emit8(e, 1);
	no[4] = emit_jcc(e, 8, emit_here(e)); /* js: C looks for more */
	first_place(e, class);
	emit_load(e, 8, HOST_S1, X86_RAX, (int32_t)offsetof(struct soft_tlb_entry, add));
	emit_rm_mem(e, 8, 0xff, 0, HOST_STATE, STATE(stat_code_stores));
	emit_load(e, 8, X86_RAX, HOST_STATE, STATE(park));
	emit_load(e, 8, X86_RCX, HOST_STATE, STATE(park2));
	emit8(e, 0xc3);
	for (unsigned i = 0; i < 5; i++)
		emit_patch(e, pop[i], emit_here(e));
	emit8(e, 0x5a);
	for (unsigned i = 0; i < 5; i++)
		emit_patch(e, no[i], emit_here(e));
}

/*
 * The memo missed: the TLB's entry goes there.  r12: address, which is kept; r13: what, then the
 * addend. Status flags are clobbered.
 */
static void emit_look_up(
	struct emit *e, struct soft_vcpu *v, unsigned class, bool write, const uint8_t *leave_raw)
{
	int32_t tlb = STATE(tlb) + (int32_t)(class * sizeof(struct soft_tlb *));
	int32_t tag = (int32_t)(write ? offsetof(struct soft_tlb_entry, write)
				      : offsetof(struct soft_tlb_entry, read));
	int32_t memo = STATE(memo) + (int32_t)(class * SOFT_MEMOS * sizeof(struct soft_memo));
	const unsigned scale = 3;
	uint8_t *other, *found, *none, *near, *near2, *often;

	emit_store(e, 8, HOST_STATE, STATE(park), X86_RAX);
	emit_store(e, 8, HOST_STATE, STATE(park2), X86_RCX);
	emit_mov(e, 8, X86_RAX, HOST_S0);
	emit_mov(e, 8, X86_RCX, HOST_S0);
	emit_shift_imm(e, 8, 5, X86_RAX, 12 - 5);
	emit_alu_imm(e, 4, 4, X86_RAX, (SOFT_TLB_ENTRIES - 1) << 5);
	emit_rm_mem(e, 8, 0x03, X86_RAX, HOST_STATE, tlb);
	emit_rm_mem(e, 8, 0x2b, X86_RCX, X86_RAX, tag);
	emit_alu_imm(e, 8, 7, X86_RCX, 4095);
	other = emit_jcc8(e, 0x77); /* ja */
	emit_rr(e, 2, 0x3b, X86_RCX, HOST_S1);
	near = emit_jcc(e, 7, emit_here(e));
	found = emit_jcc8(e, 0xeb);
	emit_patch8(e, other); /* soft_tlb_slot2() */
	emit_mov(e, 8, X86_RAX, HOST_S0);
	emit_mov(e, 8, X86_RCX, HOST_S0);
	emit_shift_imm(e, 8, 5, X86_RAX, 12 - 5);
	emit_shift_imm(e, 8, 5, X86_RCX, 24 - 5);
	emit_rr(e, 4, 0x33, X86_RAX, X86_RCX);
	emit_alu_imm(e, 4, 4, X86_RAX, (SOFT_TLB_ENTRIES - 1) << 5);
	emit_rm_mem(e, 8, 0x03, X86_RAX, HOST_STATE, tlb);
	emit_mov(e, 8, X86_RCX, HOST_S0);
	emit_rm_mem(e, 8, 0x2b, X86_RCX, X86_RAX, tag);
	emit_alu_imm(e, 8, 7, X86_RCX, 4095);
	none = emit_jcc(e, 7, emit_here(e));
	emit_rr(e, 2, 0x3b, X86_RCX, HOST_S1);
	near2 = emit_jcc(e, 7, emit_here(e));
	emit_patch8(e, found);
	emit_mov(e, 4, X86_RCX, HOST_S1);
	emit_shift_imm(e, 4, 5, X86_RCX, 16);
	emit_shift_imm(e, 4, 4, X86_RCX, 2); /* struct soft_memo is 8 << 2 bytes */
	emit_rm_sib(e, 4, 0x83, 5, HOST_STATE, X86_RCX, scale, memo + MEMO(misses)); /* sub */
	emit8(e, 1);
	often = emit_jcc(e, 8, emit_here(e)); /* js */
	emit_load(e, 8, HOST_S1, X86_RAX, tag);
	emit_rm_sib(e, 8, 0x89, HOST_S1, HOST_STATE, X86_RCX, scale, memo + MEMO(tag));
	emit_rm_sib(e, 4, 0x0fb7, HOST_S1, HOST_STATE, X86_RCX, scale, memo + MEMO(room));
	emit_rm_sib(e, 8, 0x89, HOST_S1, HOST_STATE, X86_RCX, scale, memo + MEMO(limit));
	emit_load(e, 8, HOST_S1, X86_RAX, (int32_t)offsetof(struct soft_tlb_entry, add));
	emit_rm_sib(e, 8, 0x89, HOST_S1, HOST_STATE, X86_RCX, scale, memo + MEMO(add));
	emit_shift_imm(e, 4, 5, X86_RCX, 2 + 4); /* its group */
	emit_rm_sib(e, 4, 0xc6, 0, HOST_STATE, X86_RCX, 0,
		STATE(memo_used) + (int32_t)(class * SOFT_MEMOS / SOFT_MEMO_GROUP));
	emit8(e, 1);
	emit_load(e, 8, X86_RAX, HOST_STATE, STATE(park));
	emit_load(e, 8, X86_RCX, HOST_STATE, STATE(park2));
	emit8(e, 0xc3);
	emit_patch(e, none, emit_here(e));
	emit_patch(e, near, emit_here(e));
	emit_patch(e, near2, emit_here(e));
	if (write)
		emit_beside(e, v, class, memo);
	emit_patch(e, often, emit_here(e));
	emit_load(e, 8, X86_RAX, HOST_STATE, STATE(park));
	emit_load(e, 8, X86_RCX, HOST_STATE, STATE(park2));
	emit_fill(e, (const void *)(uintptr_t)(write ? soft_fill_write : soft_fill), leave_raw);
}

/* r12: struct soft_op. */
static void emit_call_op(struct emit *e, const uint8_t *leave_raw)
{
	save_rax(e);
	save_others(e);
	flags_to_ax(e);
	ax_to_rflags(e);
	emit_mov(e, 8, X86_RDI, HOST_STATE);
	emit_mov(e, 8, X86_RSI, HOST_S0);
	emit8(e, 0xff);
	emit8(e, 0x56);
	emit8(e, offsetof(struct soft_op, fn)); /* call [rsi + fn] */
	emit_continue(e, leave_raw);
}

/* [rsp]: behind the entry of a block that is dead. */
static void emit_dead(struct emit *e, bool parked, const uint8_t *leave_raw)
{
	save_rax(e);
	save_others(e);
	if (parked)
		emit_load(e, 4, X86_RAX, HOST_STATE, STATE(flags16));
	else
		flags_to_ax(e);
	ax_to_rflags(e);
	emit_mov(e, 8, X86_RDI, HOST_STATE);
	emit8(e, 0x5e); /* pop rsi */
	call_abs(e, (const void *)(uintptr_t)soft_dead);
	emit_jmp(e, leave_raw);
}

/* All vcpus have it at the same offsets, as copied blocks lead there: no length depends on who it is for. */
void soft_emit_thunks(struct soft_vcpu *v)
{
	struct soft_cache *c = &v->cache;
	struct emit e = {.p = c->rw, .end = c->rw + c->size, .to_rx = c->rx - c->rw};

	c->enter = (int (*)(struct soft_vcpu *, const void *))(uintptr_t)emit_here(&e);
	emit_enter(&e);
	c->leave = emit_here(&e);
	save_rax(&e);
	save_others(&e);
	flags_to_ax(&e);
	ax_to_rflags(&e);
	c->leave_raw = emit_here(&e);
	emit_load(&e, 4, X86_RAX, HOST_STATE, STATE(reason));
	pop_host(&e);
	c->leave_mem = emit_here(&e); /* status flags are in flags16 */
	save_rax(&e);
	save_others(&e);
	emit_load(&e, 4, X86_RAX, HOST_STATE, STATE(flags16));
	ax_to_rflags(&e);
	emit_jmp(&e, c->leave_raw);
	for (unsigned i = 0; i < 2 * SOFT_CLASSES; i++) {
		c->look_up[i / 2][i % 2] = emit_here(&e);
		emit_look_up(&e, v, i / 2, i % 2, c->leave_raw);
	}
	c->dead = emit_here(&e);
	emit_dead(&e, false, c->leave_raw);
	c->dead_mem = emit_here(&e);
	emit_dead(&e, true, c->leave_raw);
	c->call_op = emit_here(&e);
	emit_call_op(&e, c->leave_raw);
	soft_emit_string_thunks(&e, c);
	c->start = (uint32_t)(e.p - c->rw + 63) & ~63u;
}
