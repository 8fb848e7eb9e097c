/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Into a kernel and out of it again, the way that 64-bit systems do: SYSCALL, SYSRET, IRET, and
 * events through gates of a 64-bit IDT.  Everything unusual is left to x86/, and so is every fault:
 * a function here either does all or has changed nothing.  Descriptors are read anew each time, as
 * the manuals ask for.
 */
#include "backend/soft/soft.h"

#define CODE64                                                                                     \
	(X86_SEG_G | X86_SEG_L | X86_SEG_P | X86_SEG_S | 0xbu) /* what SYSCALL and SYSRET load */
#define DATA	  (X86_SEG_G | X86_SEG_DB | X86_SEG_P | X86_SEG_S | 0x3u)
#define TI	  4u
#define TYPE_GATE 14u /* interrupt; 15: trap */
#define TSS_RSP0  4u
#define TSS_IST1  36u

#define SYSRET_FLAGS 0x3c7fd7ull /* all but RF and VM */
#define IRET_FLAGS                                                                                 \
	(X86_FL_STATUS | X86_FL_DF | X86_RF_TF | X86_RF_IF | X86_RF_IOPL | X86_RF_NT | X86_RF_RF | \
		X86_RF_AC | X86_RF_ID)

#define ACC_TABLE (X86_ACC_READ | X86_ACC_IMPLICIT)

/*
 * Translated code for cpu.rip, if the jump cache knows it and nothing is due before that
 * instruction.  The status flags go there in flags16 as behind any indirect jump.
 */
const void *soft_go_on(struct soft_vcpu *v)
{
	const struct soft_jump *j;
	uint64_t f;
	uint32_t mode;

	v->reason = SOFT_LOOKUP;
	if (v->cpu.shadow || !atomic_load_explicit(&v->run, memory_order_relaxed) ||
		(v->intr_window && soft_window_open(v))) {
		v->reason = SOFT_POLL;
		return NULL;
	}
	mode = soft_mode(v);
	if (mode & SOFT_MODE_STEP || SOFT_MODE_SIZE(mode) != SOFT_MODE_SIZE_64 ||
		SOFT_MODE_JCKEY(mode) != v->mode)
		return NULL;
	if (v->check || (soft_tortured(v) && soft_torture_odds(v, 4)))
		return NULL;
	j = &v->jc[SOFT_MODE_CLASS(mode)][soft_jc_slot(v->cpu.rip)];
	if (j->rip != v->cpu.rip) {
		v->want_jump = true;
		return NULL;
	}
	f = v->cpu.rflags &= ~X86_RF_RF;
	v->flags16 = (uint32_t)((f & 0xd5) << 8 | (f >> 11 & 1));
	return j->code;
}

static void load_flat(struct soft_vcpu *v, unsigned cs, unsigned ss, unsigned cpl, uint64_t rip)
{
	v->cpu.seg[X86_CS] = (struct x86_seg){.limit = UINT32_MAX,
		.access = CODE64 | cpl << 5,
		.sel = (uint16_t)((cs & ~3u) | cpl)};
	v->cpu.seg[X86_SS] = (struct x86_seg){.limit = UINT32_MAX,
		.access = DATA | cpl << 5,
		.sel = (uint16_t)((ss & ~3u) | cpl)};
	v->cpu.cpl = (uint8_t)cpl;
	v->cpu.rip = rip;
}

const void *soft_op_syscall(struct soft_vcpu *v, struct soft_op *op)
{
	struct x86_cpu *cpu = &v->cpu;
	unsigned cs = (uint16_t)(cpu->star >> 32);

	if (!(cpu->efer & X86_EFER_SCE))
		return soft_op_execute(v, op);
	v->stat_c_system++;
	cpu->gpr[X86_RCX] = op->rip + op->insn.len;
	cpu->gpr[X86_R11] = cpu->rflags & ~X86_RF_RF;
	cpu->rflags = (cpu->rflags & ~(cpu->sfmask | X86_RF_RF)) | 2;
	load_flat(v, cs, cs + 8, 0, cpu->lstar);
	return soft_go_on(v);
}

const void *soft_op_sysret(struct soft_vcpu *v, struct soft_op *op)
{
	struct x86_cpu *cpu = &v->cpu;
	unsigned base = (uint16_t)(cpu->star >> 48);

	if (!(cpu->efer & X86_EFER_SCE) || cpu->cpl != 0 || !x86_canonical(cpu->gpr[X86_RCX]) ||
		cpu->gpr[X86_R11] & X86_RF_TF)
		return soft_op_execute(v, op);
	v->stat_c_system++;
	cpu->rflags = (cpu->gpr[X86_R11] & SYSRET_FLAGS) | 2;
	load_flat(v, base + 16, base + 8, 3, cpu->gpr[X86_RCX]);
	return soft_go_on(v);
}

/* Host address of guest memory inside one page; NULL: not so simple. */
static void *map(struct soft_vcpu *v, uint64_t gla, unsigned len, unsigned acc)
{
	enum x86_result res;

	if ((gla & 0xfff) + len > 4096 || !x86_canonical(gla))
		return NULL;
	return v->cpu.ops->map(&v->cpu, gla, len, acc, &res);
}

static bool load(struct soft_vcpu *v, uint64_t gla, uint64_t *value)
{
	const void *p = map(v, gla, 8, ACC_TABLE);

	if (p)
		__builtin_memcpy(value, p, 8);
	return p != NULL;
}

/* A present code or data segment of the GDT that has been accessed before. */
static bool load_descriptor(struct soft_vcpu *v, unsigned sel, unsigned dpl, struct x86_seg *seg)
{
	const uint32_t need = X86_SEG_P | X86_SEG_S | 1u;
	unsigned offset = sel & 0xfff8;
	uint64_t d;

	if (sel & TI || offset == 0 || offset + 7 > v->cpu.gdtr.limit ||
		!load(v, v->cpu.gdtr.base + offset, &d))
		return false;
	*seg = (struct x86_seg){
		.base = (d >> 16 & 0xffffff) | d >> 56 << 24,
		.limit = (uint32_t)(d & 0xffff) | ((uint32_t)(d >> 32) & 0xf0000),
		.access = (uint32_t)(d >> 40) & 0xf0ff,
		.sel = (uint16_t)sel,
	};
	if (seg->access & X86_SEG_G)
		seg->limit = seg->limit << 12 | 0xfff;
	return (seg->access & need) == need && X86_SEG_DPL(seg->access) == dpl;
}

/* A 64-bit code segment, not conforming. */
static bool load_code(struct soft_vcpu *v, unsigned sel, unsigned cpl, struct x86_seg *cs)
{
	if (!load_descriptor(v, sel, cpl, cs))
		return false;
	cs->sel = (uint16_t)((sel & ~3u) | cpl);
	return (cs->access & (X86_SEG_L | X86_SEG_DB | 0xc)) == (X86_SEG_L | 8);
}

static bool load_stack(struct soft_vcpu *v, unsigned sel, unsigned cpl, struct x86_seg *ss)
{
	if ((sel & 3) != cpl)
		return false;
	if (sel < 4 && cpl != 3) {
		*ss = (struct x86_seg){.sel = (uint16_t)sel, .access = X86_SEG_UNUSABLE | cpl << 5};
		return true;
	}
	return load_descriptor(v, sel, cpl, ss) && (ss->access & 0xa) == 2;
}

/* Nothing in DS, ES, FS, GS that CPL 3 may not keep. */
static bool fit_for_user(const struct x86_cpu *cpu)
{
	static const uint8_t data[] = {X86_ES, X86_DS, X86_FS, X86_GS};

	for (unsigned i = 0; i < sizeof(data); i++) {
		uint32_t access = cpu->seg[data[i]].access;

		if (!(access & X86_SEG_UNUSABLE) && X86_SEG_DPL(access) != 3)
			return false;
	}
	return true;
}

static bool iret(struct soft_vcpu *v)
{
	struct x86_cpu *cpu = &v->cpu;
	struct x86_seg cs, ss;
	const uint64_t *p =
		map(v, cpu->gpr[X86_RSP], 40, X86_ACC_READ | (cpu->cpl == 3 ? X86_ACC_USER : 0));
	uint64_t top[5];
	unsigned cpl;

	if (!p)
		return false;
	__builtin_memcpy(top, p, sizeof(top));
	cpl = top[1] & 3;
	if (cpl < cpu->cpl || cpu->rflags & X86_RF_NT ||
		top[2] & (X86_RF_VM | X86_RF_VIF | X86_RF_VIP) || !x86_canonical(top[0]) ||
		(cpl != cpu->cpl && (cpl != 3 || !fit_for_user(cpu))) ||
		!load_code(v, (uint16_t)top[1], cpl, &cs) ||
		!load_stack(v, (uint16_t)top[4], cpl, &ss))
		return false;
	x86_set_rflags(cpu, top[2], IRET_FLAGS); /* as the old CPL may */
	if (cpu->cpl == 0)
		cpu->rflags &= ~(X86_RF_VIF | X86_RF_VIP);
	cpu->seg[X86_CS] = cs;
	cpu->seg[X86_SS] = ss;
	cpu->gpr[X86_RSP] = top[3];
	cpu->rip = top[0];
	cpu->cpl = (uint8_t)cpl;
	cpu->nmi_blocked = false;
	return true;
}

const void *soft_op_iret(struct soft_vcpu *v, struct soft_op *op)
{
	if (!iret(v))
		return soft_op_execute(v, op);
	v->stat_c_system++;
	return soft_go_on(v);
}

struct delivery {
	uint64_t rip, rsp;
	struct x86_seg cs;
	bool masks; /* interrupt gate: IF is cleared */
};

/* Where to and onto which stack. */
static bool find_gate(struct soft_vcpu *v, unsigned vector, struct delivery *d)
{
	struct x86_cpu *cpu = &v->cpu;
	const uint64_t *p = NULL;
	uint64_t low, high;
	unsigned type, ist, at;

	if (vector * 16 + 15 <= cpu->idtr.limit)
		p = map(v, cpu->idtr.base + vector * 16, 16, ACC_TABLE);
	if (!p)
		return false;
	__builtin_memcpy(&low, p, 8);
	__builtin_memcpy(&high, p + 1, 8);
	type = (unsigned)(low >> 40) & 0x9f;
	ist = (unsigned)(low >> 32) & 7;
	if ((type | 1) != (X86_SEG_P | TYPE_GATE | 1) ||
		!load_code(v, (unsigned)(low >> 16) & 0xffff, 0, &d->cs))
		return false;
	d->masks = type == (X86_SEG_P | TYPE_GATE);
	d->rip = (low & 0xffff) | low >> 48 << 16 | high << 32;
	d->rsp = cpu->gpr[X86_RSP];
	if (ist || cpu->cpl) {
		at = ist ? TSS_IST1 + 8 * (ist - 1) : TSS_RSP0;
		if (cpu->tr.access & X86_SEG_UNUSABLE || at + 7 > cpu->tr.limit ||
			!load(v, cpu->tr.base + at, &d->rsp) || !x86_canonical(d->rsp))
			return false;
	}
	d->rsp &= ~15ull;
	return x86_canonical(d->rip);
}

/* The frame; an error code has the lowest place. */
static bool push_frame(struct soft_vcpu *v, const struct x86_event *ev, struct delivery *d)
{
	struct x86_cpu *cpu = &v->cpu;
	bool fault = ev->type == X86_EV_EXCEPTION && ev->vector != X86_BP && ev->vector != X86_OF;
	uint64_t frame[6] = {ev->error, cpu->rip, cpu->seg[X86_CS].sel,
		cpu->rflags | (fault ? X86_RF_RF : 0), cpu->gpr[X86_RSP], cpu->seg[X86_SS].sel};
	unsigned size = ev->has_error ? 48 : 40;
	void *p;

	d->rsp -= size;
	p = map(v, d->rsp, size, X86_ACC_WRITE | X86_ACC_IMPLICIT);
	if (p)
		__builtin_memcpy(p, &frame[ev->has_error ? 0 : 1], size);
	return p != NULL;
}

bool soft_deliver_fast(struct soft_vcpu *v, const struct x86_event *ev)
{
	struct x86_cpu *cpu = &v->cpu;
	struct delivery d;

	if (!(cpu->efer & X86_EFER_LMA) || ev->vector == X86_DB ||
		(ev->type != X86_EV_EXCEPTION && ev->type != X86_EV_INTR) ||
		!find_gate(v, ev->vector, &d) || !push_frame(v, ev, &d))
		return false;
	if (cpu->cpl)
		cpu->seg[X86_SS] = (struct x86_seg){.access = X86_SEG_UNUSABLE};
	cpu->seg[X86_CS] = d.cs;
	cpu->cpl = 0;
	cpu->gpr[X86_RSP] = d.rsp;
	cpu->rip = d.rip;
	cpu->rflags &= ~(X86_RF_TF | X86_RF_NT | X86_RF_VM | X86_RF_RF | (d.masks ? X86_RF_IF : 0));
	cpu->shadow = 0;
	if (v->npending_writes || v->pending_overflow)
		soft_writes_done(v);
	return true;
}

bool soft_fault_fast(struct soft_vcpu *v)
{
	const struct x86_fault f = v->cpu.fault;
	const struct x86_event ev = {.vector = f.vector,
		.type = X86_EV_EXCEPTION,
		.has_error = f.has_error,
		.error = f.error};

	if (f.vector == X86_PF)
		v->cpu.cr2 = f.cr2;
	if (soft_deliver_fast(v, &ev))
		return true;
	v->cpu.fault = f; /* what was in the way is not for now */
	return false;
}
