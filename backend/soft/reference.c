/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The reference of lock-step: x86_fetch() and x86_execute(), one instruction after the other along
 * the block, with page walks in place of the translated-address cache and a log of what it stores.
 */
#include "backend/soft/reference.h"

#define LOOK_AHEAD 16u /* instructions */

/* ---- state ---- */

void soft_state_save(struct soft_vcpu *v, struct check_state *to)
{
	x86_fpu_save(&v->cpu);
	__builtin_memcpy(to->cpu, &v->cpu, sizeof(to->cpu));
	__builtin_memcpy(to->fpu, v->cpu.fpu, sizeof(to->fpu));
}

void soft_state_restore(struct soft_vcpu *v, const struct check_state *from)
{
	__builtin_memcpy(&v->cpu, from->cpu, sizeof(from->cpu));
	__builtin_memcpy(v->cpu.fpu, from->fpu, sizeof(from->fpu));
	x86_fpu_load(&v->cpu);
}

/* ---- memory of the reference ---- */

static bool log_store(struct soft_check *c, uint8_t *hva, uint32_t len)
{
	struct check_store *s = &c->store[c->nstores];
	uint8_t *from;
	uint32_t n;

	if (c->nstores == CHECK_STORES)
		return false;
	*s = (struct check_store){.hva = hva, .len = len, .data = c->used};
	from = soft_store_window(s, &n);
	if (CHECK_DATA - c->used < n)
		return false;
	__builtin_memcpy(c->before + c->used, from, n);
	c->used += n;
	c->nstores++;
	return true;
}

void soft_reference_copy(const struct soft_check *c, uint8_t *to)
{
	for (unsigned i = 0; i < c->nstores; i++) {
		uint32_t n;
		const uint8_t *from = soft_store_window(&c->store[i], &n);

		__builtin_memcpy(to + c->store[i].data, from, n);
	}
}

/* Backwards, and only the bytes themselves: a device may have written beside them. */
void soft_reference_undo(const struct soft_check *c)
{
	unsigned m = c->nmarks;

	for (unsigned i = c->nstores;; i--) {
		const struct check_store *s;

		for (; m && c->mark[m - 1].at >= i; m--)
			__builtin_memcpy(
				c->mark[m - 1].hva, &c->mark[m - 1].before, c->mark[m - 1].len);
		if (i == 0)
			break;
		s = &c->store[i - 1];
		__builtin_memcpy(
			s->hva, c->before + s->data + (uintptr_t)s->hva % CHECK_WINDOW, s->len);
	}
}

/* Only page walks store through this; NULL makes them go on without. */
static void *ref_ram(struct x86_cpu *cpu, uint64_t gpa, unsigned len, bool write)
{
	struct soft_vcpu *v = cpu->owner;
	struct soft_check *c = v->check;
	uint8_t *hva = soft_ram(v, gpa);

	if (!hva || !write)
		return hva;
	if (c->unmarked || c->nmarks == CHECK_MARKS)
		return NULL;
	c->mark[c->nmarks] = (struct check_mark){.hva = hva, .len = len, .at = c->nstores};
	__builtin_memcpy(&c->mark[c->nmarks++].before, hva, len);
	return hva;
}

static void *ref_map(
	struct x86_cpu *cpu, uint64_t gla, unsigned len, unsigned acc, enum x86_result *res)
{
	struct soft_vcpu *v = cpu->owner;
	struct x86_walk w;
	uint8_t *hva;

	*res = x86_walk(cpu, gla, acc, &w);
	if (*res != X86_DONE)
		return NULL;
	hva = soft_ram(v, w.gpa);
	if (hva && acc & X86_ACC_WRITE && soft_is_rom(v->soft, w.gpa))
		return __builtin_memcpy(v->lost + (w.gpa & 0xfff), hva, len);
	if (hva && acc & X86_ACC_WRITE && !(acc & X86_ACC_NOFAULT) &&
		!log_store(v->check, hva, len)) {
		v->check->too_big = true;
		hva = NULL;
	}
	if (hva)
		return hva;
	*res = X86_EXIT;
	if (!(acc & X86_ACC_NOFAULT))
		cpu->exit = (struct x86_exit){
			.reason = X86_EXIT_MMIO,
			.mmio = {.gpa = w.gpa,
				.gla = gla,
				.size = (uint8_t)len,
				.write = acc & X86_ACC_WRITE},
		};
	return NULL;
}

static void ref_flush(struct x86_cpu *cpu, enum x86_flush kind, uint64_t gla)
{
	(void)cpu;
	(void)kind;
	(void)gla;
}

static bool ref_poll(struct x86_cpu *cpu)
{
	(void)cpu;
	return false;
}

/* ---- the reference ---- */

bool soft_check_repeatable(const struct x86_insn *insn)
{
	switch (insn->row->mnem) {
	case X86_I_rdtsc:
	case X86_I_rdtscp:
	case X86_I_rdpmc:
	case X86_I_rdrand:
	case X86_I_rdseed:
	case X86_I_rdmsr:
	case X86_I_wrmsr:
		return false;
	case X86_I_mov: /* CR8 is the APIC's */
		for (unsigned i = 0; i < insn->nops; i++)
			if (insn->op[i].kind == X86_OK_CR && insn->op[i].reg == 8)
				return false;
		return true;
	default:
		return true;
	}
}

static uint64_t rip_at(const struct soft_check *c, unsigned i)
{
	uint64_t rip = c->rip + c->offset[i];

	return SOFT_MODE_SIZE(c->mode) == SOFT_MODE_SIZE_64 ? rip : (uint32_t)rip;
}

static void record(struct soft_check *c, unsigned i, uint64_t rip, const struct x86_insn *insn)
{
	c->mismatch.insn[i].rip = rip;
	c->mismatch.insn[i].len = insn->len;
	__builtin_memcpy(c->mismatch.insn[i].bytes, insn->bytes, X86_INSN_MAX);
}

static enum x86_result one(struct soft_vcpu *v, unsigned i)
{
	struct soft_check *c = v->check;
	struct x86_insn insn;
	enum x86_result res = x86_fetch(&v->cpu, &insn);

	if (res != X86_DONE)
		return res;
	c->string[i] = insn.row->class == X86_STRING;
	if (c->record)
		record(c, i, v->cpu.rip, &insn);
	if (!soft_check_repeatable(&insn)) {
		c->unrepeatable = true;
		return X86_EXIT;
	}
	v->cpu.shadow = 0;
	v->insn_len = insn.len;
	return x86_execute(&v->cpu, &insn);
}

/* From the start along the block, `limit` instructions at most. All is put back. */
void soft_reference_run(struct soft_vcpu *v, unsigned limit)
{
	struct soft_check *c = v->check;
	struct x86_ops ops = soft_x86_ops;
	unsigned i = 0;

	ops.ram = ref_ram;
	ops.map = ref_map;
	ops.flush = ref_flush;
	ops.join = NULL;
	ops.poll = ref_poll;
	c->nstores = c->nmarks = c->used = 0;
	c->unrepeatable = c->too_big = false;
	c->want.result = X86_DONE;
	c->path[0] = v->cpu.rip;
	v->cpu.ops = &ops;
	while (i < limit) {
		c->want.result = one(v, i);
		if (c->want.result != X86_DONE)
			break;
		c->path[++i] = v->cpu.rip;
		if (v->cpu.rip != rip_at(c, i))
			break; /* a way out in the middle */
	}
	c->want.insns = i;
	v->cpu.ops = &soft_x86_ops;
	soft_state_save(v, &c->want.state);
	soft_reference_copy(c, c->wanted);
	soft_reference_undo(c);
	soft_state_restore(v, &c->start);
}

/* What translated code left in memory, before the first time that it is undone. */
static void keep(struct soft_check *c)
{
	if (c->kept)
		return;
	c->kept = true;
	c->ndone = c->nstores;
	c->nmarked = c->nmarks;
	for (unsigned i = 0; i < c->nmarks; i++)
		__builtin_memcpy(&c->mark[i].gotten, c->mark[i].hva, c->mark[i].len);
	__builtin_memcpy(c->done, c->store, c->nstores * sizeof(c->store[0]));
	__builtin_memcpy(c->marked, c->mark, c->nmarks * sizeof(c->mark[0]));
}

/* Once more from the start, `limit` instructions. */
void soft_reference_again(struct soft_vcpu *v, unsigned limit)
{
	struct soft_check *c = v->check;

	keep(c);
	soft_reference_undo(c);
	soft_state_restore(v, &c->start);
	soft_reference_run(v, limit);
}

/* Back to where translated code left us. */
void soft_reference_leave(struct soft_vcpu *v)
{
	struct soft_check *c = v->check;

	for (unsigned i = 0; i < c->ndone; i++) {
		const struct check_store *s = &c->done[i];

		__builtin_memcpy(
			s->hva, c->gotten + s->data + (uintptr_t)s->hva % CHECK_WINDOW, s->len);
	}
	for (unsigned i = 0; i < c->nmarked; i++)
		__builtin_memcpy(c->marked[i].hva, &c->marked[i].gotten, c->marked[i].len);
	soft_state_restore(v, &c->got.state);
}

unsigned soft_reference_dead_flags(struct soft_vcpu *v, uint64_t rip)
{
	struct x86_cpu *cpu = &v->cpu;
	struct x86_fault fault = cpu->fault;
	struct x86_exit exit = cpu->exit;
	struct x86_ops ops = soft_x86_ops;
	uint64_t was = cpu->rip;
	unsigned read = 0, rest = X86_FL_STATUS;
	struct x86_insn insn;

	ops.map = ref_map;
	ops.ram = ref_ram;
	cpu->ops = &ops;
	cpu->rip = rip;
	v->check->unmarked = true;
	for (unsigned n = 0; n < LOOK_AHEAD && x86_fetch(cpu, &insn) == X86_DONE; n++) {
		const struct x86_row *row = insn.row;

		if (row->class == X86_SYSTEM || row->class == X86_STRING)
			break;
		read |= row->fl_read & rest;
		if (row->class == X86_BRANCH)
			break;
		rest &= ~(unsigned)row->fl_kill;
		cpu->rip += insn.len;
	}
	v->check->unmarked = false;
	cpu->ops = &soft_x86_ops;
	cpu->rip = was;
	cpu->fault = fault;
	cpu->exit = exit;
	return X86_FL_STATUS & ~(read | rest);
}
