/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Hardware task switches (SDM vol. 3, chapter 7; the order of steps is 7.3's).
 *
 * Up to the commit nothing but the old TSS has been written and a fault belongs to the old task;
 * from there on the processor stands in the new one, and faults of its selectors are raised there.
 */
#include "x86/system.h"

#define BUSY	   2u		/* type bit */
#define DR6_BT	   (1ull << 15) /* the new task's T flag is set */
#define DR7_LOCAL  0x155ull	/* L0..L3, LE */
#define TSS_MAX	   104u
#define TASK_FLAGS 0x3f7fd7ull

struct layout {
	uint8_t word; /* bytes per field */
	uint8_t size; /* of the whole TSS */
	uint8_t cr3;  /* offset, 0 if there is none */
	uint8_t saved,
		saved_end; /* the part that a switch away writes: IP, FLAGS, GPRs, segments */
	uint8_t segs;	   /* how many: ES, CS, SS, DS and perhaps FS, GS */
	uint8_t ldt;
	uint8_t trap; /* the T flag's byte, 0 if there is none */
};

static const struct layout layout_16 = {
	.word = 2, .size = 44, .saved = 0x0e, .saved_end = 0x2a, .segs = 4, .ldt = 0x2a};
static const struct layout layout_32 = {.word = 4,
	.size = 104,
	.cr3 = 0x1c,
	.saved = 0x20,
	.saved_end = 0x60,
	.segs = 6,
	.ldt = 0x60,
	.trap = 0x64};

struct task_switch {
	struct x86_cpu *cpu;
	uint16_t sel;
	enum x86_task_reason reason;
	unsigned ext;
	struct x86_desc desc, old_desc;
	const struct layout *layout, *old_layout;
	uint8_t image[TSS_MAX]; /* of the new TSS */
};

static const struct layout *layout_of(uint32_t access)
{
	return access & 8 ? &layout_32 : &layout_16;
}

static uint32_t field(const struct task_switch *ts, unsigned at)
{
	uint64_t value = 0;

	x86_bytes_copy(&value, ts->image + at, ts->layout->word);
	return (uint32_t)value;
}

static bool is_nested(const struct task_switch *ts)
{
	return ts->reason == X86_TASK_CALL || ts->reason == X86_TASK_GATE;
}

/* An IRET goes to a busy task, everything else to an available one. */
static enum x86_result check_new(struct task_switch *ts)
{
	struct x86_cpu *cpu = ts->cpu;
	unsigned vector = ts->reason == X86_TASK_IRET ? X86_TS : X86_GP;
	uint32_t access, error = x86_sel_error(ts->sel, ts->ext);
	enum x86_result res;

	if (ts->sel & 4 || x86_is_null(ts->sel))
		return x86_raise_error(cpu, vector, error);
	res = x86_desc_read(cpu, ts->sel, vector, ts->ext, &ts->desc);
	if (res != X86_DONE)
		return res;
	access = x86_desc_access(&ts->desc);
	if ((access & 0x15) != X86_TYPE_TSS16 || !(access & BUSY) == (ts->reason == X86_TASK_IRET))
		return x86_raise_error(cpu, vector, error);
	if (!(access & X86_SEG_P))
		return x86_raise_error(cpu, X86_NP, error);
	ts->layout = layout_of(access);
	if (x86_desc_limit(&ts->desc) < ts->layout->size - 1u)
		return x86_raise_error(cpu, X86_TS, error);
	return x86_read(
		cpu, x86_desc_base(&ts->desc), ts->image, ts->layout->size, X86_ACC_TABLE_READ);
}

/* The old TSS's descriptor, for its busy bit, and room in it. */
static enum x86_result check_old(struct task_switch *ts)
{
	struct x86_cpu *cpu = ts->cpu;
	uint16_t sel = cpu->tr.sel;
	enum x86_result res;

	if (x86_is_null(sel) || sel & 4)
		return x86_raise_error(cpu, X86_TS, x86_sel_error(sel, ts->ext));
	ts->old_layout = layout_of(cpu->tr.access);
	if (cpu->tr.limit < ts->old_layout->size - 1u)
		return x86_raise_error(cpu, X86_TS, x86_sel_error(sel, ts->ext));
	res = x86_desc_read(cpu, sel, X86_TS, ts->ext, &ts->old_desc);
	if (res == X86_DONE && is_nested(ts)) /* room for the link */
		res = x86_data_probe(cpu, x86_desc_base(&ts->desc), 2, X86_ACC_TABLE_WRITE);
	return res;
}

static enum x86_result save_old(struct task_switch *ts, uint64_t next_rip)
{
	struct x86_cpu *cpu = ts->cpu;
	const struct layout *layout = ts->old_layout;
	uint64_t flags = cpu->rflags;
	uint8_t image[TSS_MAX] = {0}, *at = image;

	if (ts->reason == X86_TASK_IRET)
		flags &= ~X86_RF_NT;
	x86_bytes_copy(at, &next_rip, layout->word);
	x86_bytes_copy(at += layout->word, &flags, layout->word);
	for (unsigned i = 0; i < 8; i++)
		x86_bytes_copy(at += layout->word, &cpu->gpr[i], layout->word);
	for (unsigned i = 0; i < layout->segs; i++)
		x86_bytes_copy(at += layout->word, &cpu->seg[i].sel, 2);
	return x86_write(cpu, cpu->tr.base + layout->saved, image,
		layout->saved_end - (unsigned)layout->saved, X86_ACC_TABLE_WRITE);
}

/* Busy bits, the link to the old task, TR. */
static enum x86_result link_tasks(struct task_switch *ts)
{
	struct x86_cpu *cpu = ts->cpu;
	uint16_t old = cpu->tr.sel;
	enum x86_result res = X86_DONE;

	if (!is_nested(ts))
		res = x86_desc_mark(cpu, &ts->old_desc, BUSY, false);
	if (res == X86_DONE && ts->reason != X86_TASK_IRET)
		res = x86_desc_mark(cpu, &ts->desc, BUSY, true);
	if (res == X86_DONE && is_nested(ts))
		res = x86_write(cpu, x86_desc_base(&ts->desc), &old, 2, X86_ACC_TABLE_WRITE);
	if (res != X86_DONE)
		return res;
	cpu->tr = x86_desc_seg(&ts->desc, ts->sel);
	cpu->tr.access |= BUSY;
	return X86_DONE;
}

/*
 * CS and SS keep the old hidden parts until both new ones have been validated, so that a fault of
 * the new state can be delivered; the others can only be null meanwhile.
 */
static void load_selectors(struct task_switch *ts, unsigned at)
{
	struct x86_cpu *cpu = ts->cpu;

	for (unsigned i = 0; i < 6; i++) {
		uint16_t sel = 0;

		if (i < ts->layout->segs)
			sel = (uint16_t)field(ts, at + i * ts->layout->word);
		if (i == X86_CS || i == X86_SS)
			cpu->seg[i].sel = sel;
		else
			cpu->seg[i] = x86_null_seg(sel, 0);
	}
	cpu->ldtr = x86_null_seg((uint16_t)field(ts, ts->layout->ldt), 0);
}

/* Registers and bare selectors: this is the commit. */
static void load_registers(struct task_switch *ts)
{
	const struct layout *layout = ts->layout;
	struct x86_cpu *cpu = ts->cpu;
	unsigned word = layout->word, gprs = layout->saved + 2u * word, segs = gprs + 8 * word;
	uint64_t flags = field(ts, layout->saved + word) & TASK_FLAGS;

	if (is_nested(ts))
		flags |= X86_RF_NT;
	cpu->rip = field(ts, layout->saved);
	cpu->rflags = flags | 2;
	/* The upper halves that a 16-bit TSS does not have come out as ones, since the 80386. */
	for (unsigned i = 0; i < 8; i++)
		cpu->gpr[i] = field(ts, gprs + i * word) | (word == 2 ? 0xffff0000u : 0);
	load_selectors(ts, segs);
	cpu->cr0 |= X86_CR0_TS;
	cpu->dr[7] &= ~DR7_LOCAL;
	cpu->shadow = 0;
	cpu->cpl = x86_is_vm86(cpu) ? 3 : cpu->seg[X86_CS].sel & 3;
}

static enum x86_result load_ldt(struct task_switch *ts)
{
	struct x86_cpu *cpu = ts->cpu;
	uint16_t sel = cpu->ldtr.sel;
	struct x86_desc desc;
	enum x86_result res;

	if (x86_is_null(sel))
		return X86_DONE;
	if (sel & 4)
		return x86_raise_error(cpu, X86_TS, x86_sel_error(sel, ts->ext));
	res = x86_desc_read(cpu, sel, X86_TS, ts->ext, &desc);
	if (res != X86_DONE)
		return res;
	if ((x86_desc_access(&desc) & 0x1f) != X86_TYPE_LDT ||
		!(x86_desc_access(&desc) & X86_SEG_P))
		return x86_raise_error(cpu, X86_TS, x86_sel_error(sel, ts->ext));
	cpu->ldtr = x86_desc_seg(&desc, sel);
	return X86_DONE;
}

static enum x86_result check_cs(struct task_switch *ts, struct x86_seg *cs)
{
	struct x86_cpu *cpu = ts->cpu;
	uint16_t sel = cpu->seg[X86_CS].sel;
	uint32_t access, error = x86_sel_error(sel, ts->ext);
	struct x86_desc desc;
	enum x86_result res;

	if (x86_is_null(sel))
		return x86_raise_error(cpu, X86_TS, error);
	res = x86_desc_read(cpu, sel, X86_TS, ts->ext, &desc);
	if (res != X86_DONE)
		return res;
	access = x86_desc_access(&desc);
	if (!(access & X86_SEG_S) || !(access & X86_SEG_CODE))
		return x86_raise_error(cpu, X86_TS, error);
	if (access & X86_SEG_CONFORMING ? X86_SEG_DPL(access) > cpu->cpl
					: X86_SEG_DPL(access) != cpu->cpl)
		return x86_raise_error(cpu, X86_TS, error);
	if (!(access & X86_SEG_P))
		return x86_raise_error(cpu, X86_NP, error);
	res = x86_desc_mark(cpu, &desc, X86_SEG_ACCESSED, true);
	*cs = x86_desc_seg(&desc, sel);
	return res;
}

/* CS and SS both before either is set. */
static enum x86_result load_segments(struct task_switch *ts)
{
	static const uint8_t data[] = {X86_DS, X86_ES, X86_FS, X86_GS};
	struct x86_cpu *cpu = ts->cpu;
	struct x86_seg cs, ss;
	enum x86_result res;

	if (x86_is_vm86(cpu)) {
		for (unsigned i = 0; i < 6; i++)
			x86_load_seg_paragraph(cpu, i, cpu->seg[i].sel);
		return X86_DONE;
	}
	res = check_cs(ts, &cs);
	if (res == X86_DONE)
		res = x86_check_ss(cpu, cpu->seg[X86_SS].sel, cpu->cpl, X86_TS, ts->ext, &ss);
	if (res != X86_DONE)
		return res;
	cpu->seg[X86_CS] = cs;
	cpu->seg[X86_SS] = ss;
	for (unsigned i = 0; i < sizeof(data) && res == X86_DONE; i++)
		res = x86_check_data(
			cpu, cpu->seg[data[i]].sel, X86_TS, ts->ext, &cpu->seg[data[i]]);
	return res;
}

static enum x86_result push_error(struct task_switch *ts, uint32_t error)
{
	struct x86_cpu *cpu = ts->cpu;
	struct x86_frame frame = {
		.ss = &cpu->seg[X86_SS],
		.sp = cpu->gpr[X86_RSP],
		.sp_size = x86_stack_size(cpu),
		.cpl = cpu->cpl,
		.error = ts->ext,
		.word = ts->layout->word,
	};
	enum x86_result res;

	x86_frame_push(&frame, error);
	res = x86_frame_write(cpu, &frame);
	if (res == X86_DONE)
		cpu->gpr[X86_RSP] = x86_frame_rsp(&frame, cpu->gpr[X86_RSP]);
	return res;
}

static enum x86_result enter_task(struct task_switch *ts)
{
	struct x86_cpu *cpu = ts->cpu;
	enum x86_result res = X86_DONE;

	if (ts->layout->cr3 && cpu->cr0 & X86_CR0_PG)
		res = x86_set_cr3(cpu, field(ts, ts->layout->cr3));
	if (res == X86_DONE)
		res = load_ldt(ts);
	if (res == X86_DONE)
		res = load_segments(ts);
	if (res == X86_DONE)
		res = x86_check_rip(cpu, &cpu->seg[X86_CS], cpu->rip, 0);
	return res;
}

static enum x86_result trap_if_asked(struct task_switch *ts)
{
	struct x86_cpu *cpu = ts->cpu;

	if (ts->layout->trap == 0 || !(ts->image[ts->layout->trap] & 1))
		return X86_DONE;
	x86_raise(cpu, X86_DB);
	cpu->fault.dr6 = DR6_BT;
	return X86_FAULT;
}

enum x86_result x86_task_switch(struct x86_cpu *cpu, uint16_t sel, enum x86_task_reason reason,
	bool external, bool has_error, uint32_t error, uint64_t next_rip)
{
	struct task_switch ts = {.cpu = cpu, .sel = sel, .reason = reason, .ext = external};
	enum x86_result res = check_new(&ts);

	if (res == X86_DONE)
		res = check_old(&ts);
	if (res == X86_DONE)
		res = save_old(&ts, next_rip);
	if (res == X86_DONE)
		res = link_tasks(&ts);
	if (res != X86_DONE)
		return res;
	load_registers(&ts);
	res = enter_task(&ts);
	if (res == X86_DONE && has_error)
		res = push_error(&ts, error);
	return res == X86_DONE ? trap_if_asked(&ts) : res;
}
