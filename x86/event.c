/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Delivery of interrupts and exceptions through the IVT or the IDT (SDM vol. 3, chapter 6; vol.
 * 1, 6.4; virtual-8086 mode: vol. 3, 20.3).  A delivery collects everything in struct delivery,
 * writes the frame, and commits last; a fault on the way leaves the processor as it was.
 */
#include "x86/system.h"

#define IDT_ERROR 2u /* error code bit: the selector is an index into the IDT */
#define IST_MASK  7u

struct delivery {
	struct x86_cpu *cpu;
	const struct x86_event *event;
	unsigned ext; /* bit 0 of error codes: not caused by INT n, INT3, INTO */
	struct x86_desc gate;
	unsigned type;	   /* of the gate */
	struct x86_seg cs; /* target */
	unsigned cpl;	   /* at the handler */
	uint64_t rip;
	struct x86_seg ss;
	bool new_ss;
	struct x86_frame frame;
};

static bool is_software(const struct x86_event *event)
{
	return event->type == X86_EV_SOFTINT || event->type == X86_EV_SOFTEXC;
}

static uint64_t return_rip(const struct delivery *d)
{
	return is_software(d->event) || d->event->type == X86_EV_PRIV_SOFTEXC ? d->event->next_rip
									      : d->cpu->rip;
}

/* Fault-class exceptions push RF set, so that the instruction restarts past its breakpoint. */
static uint64_t pushed_flags(const struct delivery *d)
{
	uint64_t flags = d->cpu->rflags;

	if (d->event->type == X86_EV_EXCEPTION && d->event->vector != X86_DB &&
		d->event->vector != X86_BP && d->event->vector != X86_OF)
		flags |= X86_RF_RF;
	return flags;
}

static uint32_t vector_error(const struct delivery *d)
{
	return d->event->vector * 8u | IDT_ERROR | d->ext;
}

static void commit_event(struct delivery *d)
{
	struct x86_cpu *cpu = d->cpu;

	cpu->shadow = 0;
	if (d->event->type == X86_EV_NMI)
		cpu->nmi_blocked = true;
	if (d->event->vector == X86_DB && d->event->type == X86_EV_EXCEPTION)
		cpu->dr[7] &= ~X86_DR7_GD;
}

/* Four bytes per vector; no privilege, no error code (SDM vol. 3, 20.1.4). */
static enum x86_result deliver_real(struct delivery *d)
{
	struct x86_cpu *cpu = d->cpu;
	unsigned at = d->event->vector * 4u;
	uint32_t vector;
	enum x86_result res;

	if (at + 3 > cpu->idtr.limit)
		return x86_raise_error(cpu, X86_GP, vector_error(d));
	res = x86_read(cpu, (uint32_t)(cpu->idtr.base + at), &vector, 4, X86_ACC_TABLE_READ);
	if (res != X86_DONE)
		return res;
	d->frame = (struct x86_frame){
		.ss = &cpu->seg[X86_SS],
		.sp = cpu->gpr[X86_RSP],
		.sp_size = x86_stack_size(cpu),
		.word = 2,
	};
	x86_frame_push(&d->frame, cpu->rflags);
	x86_frame_push(&d->frame, cpu->seg[X86_CS].sel);
	x86_frame_push(&d->frame, return_rip(d));
	res = x86_frame_write(cpu, &d->frame);
	if (res != X86_DONE)
		return res;
	cpu->gpr[X86_RSP] = x86_frame_rsp(&d->frame, cpu->gpr[X86_RSP]);
	x86_load_seg_paragraph(cpu, X86_CS, (uint16_t)(vector >> 16));
	cpu->rip = vector & 0xffff;
	cpu->rflags &= ~(X86_RF_IF | X86_RF_TF | X86_RF_AC | X86_RF_RF);
	commit_event(d);
	return X86_DONE;
}

static bool is_gate_type(const struct x86_cpu *cpu, unsigned type)
{
	if (type == X86_TYPE_INTR32 || type == X86_TYPE_TRAP32)
		return true;
	return !x86_is_long(cpu) &&
	       (type == X86_TYPE_INTR16 || type == X86_TYPE_TRAP16 || type == X86_TYPE_TASK);
}

static enum x86_result read_gate(struct delivery *d)
{
	struct x86_cpu *cpu = d->cpu;
	unsigned size = x86_is_long(cpu) ? 16 : 8;
	unsigned at = d->event->vector * size;
	uint64_t gla = cpu->idtr.base + at, raw[2] = {0};
	enum x86_result res;

	if (at + size - 1 > cpu->idtr.limit)
		return x86_raise_error(cpu, X86_GP, vector_error(d));
	if (!x86_is_long(cpu))
		gla = (uint32_t)gla;
	res = x86_read(cpu, gla, raw, size, X86_ACC_TABLE_READ);
	if (res != X86_DONE)
		return res;
	d->gate = (struct x86_desc){.low = raw[0], .high = raw[1] & UINT32_MAX, .gla = gla};
	return X86_DONE;
}

static enum x86_result check_gate(struct delivery *d)
{
	struct x86_cpu *cpu = d->cpu;
	uint32_t access = x86_desc_access(&d->gate);

	d->type = X86_SEG_TYPE(access);
	if (access & X86_SEG_S || !is_gate_type(cpu, d->type))
		return x86_raise_error(cpu, X86_GP, vector_error(d));
	if (is_software(d->event) && X86_SEG_DPL(access) < cpu->cpl)
		return x86_raise_error(cpu, X86_GP, vector_error(d));
	if (!(access & X86_SEG_P))
		return x86_raise_error(cpu, X86_NP, vector_error(d));
	return X86_DONE;
}

static enum x86_result through_task_gate(struct delivery *d)
{
	x86_exit_task(d->cpu, x86_gate_sel(&d->gate), X86_TASK_GATE);
	d->cpu->exit.task.external = d->ext;
	d->cpu->exit.task.has_error = d->event->has_error;
	d->cpu->exit.task.error = d->event->error;
	return X86_EXIT;
}

/* The handler's code segment, and the privilege it runs at. */
static enum x86_result check_code(struct delivery *d)
{
	struct x86_cpu *cpu = d->cpu;
	uint16_t sel = x86_gate_sel(&d->gate);
	uint32_t access, error = x86_sel_error(sel, d->ext);
	struct x86_desc desc;
	enum x86_result res;

	if (x86_is_null(sel))
		return x86_raise_error(cpu, X86_GP, d->ext);
	res = x86_desc_read(cpu, sel, X86_GP, d->ext, &desc);
	if (res != X86_DONE)
		return res;
	access = x86_desc_access(&desc);
	if (!(access & X86_SEG_S) || !(access & X86_SEG_CODE) || X86_SEG_DPL(access) > cpu->cpl)
		return x86_raise_error(cpu, X86_GP, error);
	if (x86_is_long(cpu) && (access & (X86_SEG_L | X86_SEG_DB)) != X86_SEG_L)
		return x86_raise_error(cpu, X86_GP, error);
	d->cpl = access & X86_SEG_CONFORMING ? cpu->cpl : X86_SEG_DPL(access);
	if (x86_is_vm86(cpu) && d->cpl != 0)
		return x86_raise_error(cpu, X86_GP, error);
	if (!(access & X86_SEG_P))
		return x86_raise_error(cpu, X86_NP, error);
	res = x86_desc_mark(cpu, &desc, X86_SEG_ACCESSED, true);
	d->cs = x86_desc_seg(&desc, sel);
	d->rip = x86_gate_offset(&d->gate);
	return res;
}

/* A 64-bit handler runs on IST, RSPn or the interrupted stack, aligned to 16 bytes (6.14.2). */
static enum x86_result pick_stack_64(struct delivery *d)
{
	struct x86_cpu *cpu = d->cpu;
	unsigned ist = (unsigned)(d->gate.low >> 32) & IST_MASK;
	uint64_t rsp = cpu->gpr[X86_RSP];
	enum x86_result res = X86_DONE;

	d->new_ss = d->cpl != cpu->cpl;
	if (ist != 0)
		res = x86_tss_rsp(cpu, 3 + ist, d->ext, &rsp);
	else if (d->new_ss)
		res = x86_tss_rsp(cpu, d->cpl, d->ext, &rsp);
	if (d->new_ss)
		d->ss = x86_null_seg((uint16_t)d->cpl, d->cpl);
	d->frame = (struct x86_frame){
		.sp = rsp & ~15ull,
		.sp_size = 8,
		.cpl = d->cpl,
		.error = d->ext,
		.word = 8,
	};
	return res;
}

static enum x86_result pick_stack_legacy(struct delivery *d)
{
	struct x86_cpu *cpu = d->cpu;
	uint64_t sp = cpu->gpr[X86_RSP];
	uint32_t error = d->ext;
	uint16_t sel;
	enum x86_result res;

	d->ss = cpu->seg[X86_SS];
	d->new_ss = d->cpl != cpu->cpl;
	if (d->new_ss) {
		res = x86_tss_stack(cpu, d->cpl, d->ext, &sel, &sp);
		if (res == X86_DONE)
			res = x86_check_ss(cpu, sel, d->cpl, X86_TS, d->ext, &d->ss);
		if (res != X86_DONE)
			return res;
		error = x86_sel_error(sel, d->ext);
	}
	d->frame = (struct x86_frame){
		.ss = &d->ss,
		.sp = sp,
		.sp_size = d->ss.access & X86_SEG_DB ? 4 : 2,
		.cpl = d->cpl,
		.error = error,
		.word = d->type & 8 ? 4 : 2,
	};
	return X86_DONE;
}

static void build_frame(struct delivery *d)
{
	static const uint8_t vm86_data[] = {X86_GS, X86_FS, X86_DS, X86_ES};
	const struct x86_cpu *cpu = d->cpu;

	if (x86_is_vm86(cpu))
		for (unsigned i = 0; i < sizeof(vm86_data); i++)
			x86_frame_push(&d->frame, cpu->seg[vm86_data[i]].sel);
	if (d->new_ss || x86_is_long(cpu)) {
		x86_frame_push(&d->frame, cpu->seg[X86_SS].sel);
		x86_frame_push(&d->frame, cpu->gpr[X86_RSP]);
	}
	x86_frame_push(&d->frame, pushed_flags(d));
	x86_frame_push(&d->frame, cpu->seg[X86_CS].sel);
	x86_frame_push(&d->frame, return_rip(d));
	if (d->event->has_error)
		x86_frame_push(&d->frame, d->event->error);
}

static void commit(struct delivery *d)
{
	static const uint8_t vm86_data[] = {X86_GS, X86_FS, X86_DS, X86_ES};
	struct x86_cpu *cpu = d->cpu;

	if (x86_is_vm86(cpu))
		for (unsigned i = 0; i < sizeof(vm86_data); i++)
			cpu->seg[vm86_data[i]] = x86_null_seg(0, 0);
	if (d->new_ss)
		cpu->seg[X86_SS] = d->ss;
	cpu->gpr[X86_RSP] = x86_frame_rsp(&d->frame, cpu->gpr[X86_RSP]);
	x86_set_cs(cpu, &d->cs, d->cpl, d->rip);
	cpu->rflags &= ~(X86_RF_TF | X86_RF_NT | X86_RF_VM | X86_RF_RF);
	if (d->type == X86_TYPE_INTR16 || d->type == X86_TYPE_INTR32)
		cpu->rflags &= ~X86_RF_IF;
	commit_event(d);
}

static enum x86_result deliver_protected(struct delivery *d)
{
	enum x86_result res = read_gate(d);

	if (res == X86_DONE)
		res = check_gate(d);
	if (res != X86_DONE)
		return res;
	if (d->type == X86_TYPE_TASK)
		return through_task_gate(d);
	res = check_code(d);
	if (res == X86_DONE)
		res = x86_is_long(d->cpu) ? pick_stack_64(d) : pick_stack_legacy(d);
	if (res == X86_DONE)
		res = x86_check_rip(d->cpu, &d->cs, d->rip, d->ext);
	if (res != X86_DONE)
		return res;
	build_frame(d);
	res = x86_frame_write(d->cpu, &d->frame);
	if (res == X86_DONE)
		commit(d);
	return res;
}

enum x86_result x86_deliver(struct x86_cpu *cpu, const struct x86_event *event)
{
	struct delivery d = {.cpu = cpu, .event = event, .ext = !is_software(event)};

	return cpu->cr0 & X86_CR0_PE ? deliver_protected(&d) : deliver_real(&d);
}
