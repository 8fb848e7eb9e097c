/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * x86_fetch() and x86_execute() as an engine: a processor in 64-bit user mode with page tables of
 * its own.
 */
#include <stdlib.h>
#include <string.h>

#include "test/differential/world.h"

#define PAGE 4096u

/* Guest-physical: page tables, the code page, the data pages. */
#define TABLES 0x1000u /* PML4, PDPT, PD, PT of the code, PT of the data */
#define CODE   0x6000u
#define DATA   0x7000u
#define RAM    (DATA + DIFF_DATA_SIZE)

enum { PTE_P = 1, PTE_W = 2, PTE_U = 4 };

struct execute {
	struct x86_cpu cpu;
	struct x86_insn insn;
	enum x86_result fetched;
	uint8_t ram[RAM] __attribute__((aligned(4096)));
};

static void *ram(struct x86_cpu *cpu, uint64_t gpa, unsigned len, bool write)
{
	struct execute *e = cpu->owner;

	(void)write;
	return gpa + len <= RAM ? e->ram + gpa : NULL;
}

static enum x86_result no_read(
	struct x86_cpu *cpu, uint64_t gla, uint64_t gpa, void *buf, unsigned len)
{
	(void)cpu;
	(void)gla;
	(void)gpa;
	(void)buf;
	(void)len;
	abort();
}

static enum x86_result no_write(
	struct x86_cpu *cpu, uint64_t gla, uint64_t gpa, const void *buf, unsigned len)
{
	(void)cpu;
	(void)gla;
	(void)gpa;
	(void)buf;
	(void)len;
	abort();
}

static bool never(struct x86_cpu *cpu)
{
	(void)cpu;
	return false;
}

static const struct x86_ops ops = {
	.ram = ram,
	.map = x86_map_walk,
	.mmio_read = no_read,
	.mmio_write = no_write,
	.poll = never,
};

static void set_entry(struct execute *e, unsigned table, uint64_t index, uint64_t entry)
{
	memcpy(e->ram + TABLES + table * PAGE + index % 512 * 8, &entry, 8);
}

static void build_tables(struct execute *e)
{
	const unsigned all = PTE_P | PTE_W | PTE_U;

	set_entry(e, 0, 0, (TABLES + 1 * PAGE) | all);
	set_entry(e, 1, 0, (TABLES + 2 * PAGE) | all);
	set_entry(e, 2, DIFF_CODE >> 21, (TABLES + 3 * PAGE) | all);
	set_entry(e, 2, DIFF_DATA >> 21, (TABLES + 4 * PAGE) | all);
	set_entry(e, 3, DIFF_CODE >> 12, CODE | PTE_P | PTE_U);
	for (unsigned at = 0; at < DIFF_DATA_SIZE; at += PAGE)
		set_entry(e, 4, (DIFF_DATA + at) >> 12,
			(DATA + at) | PTE_P | PTE_U | (at < DIFF_WRITABLE ? PTE_W : 0));
}

static void set_user_mode(struct x86_cpu *cpu)
{
	const uint32_t user = X86_SEG_P | X86_SEG_S | 3u << 5 | X86_SEG_G;

	for (unsigned i = 0; i < 6; i++)
		cpu->seg[i] =
			(struct x86_seg){.limit = UINT32_MAX, .access = user | X86_SEG_DB | 3};
	cpu->seg[X86_CS].access = user | X86_SEG_L | 11;
	cpu->tr.access = X86_SEG_UNUSABLE; /* no I/O bitmap */
	cpu->cpl = 3;
	cpu->cr0 = X86_CR0_PE | X86_CR0_PG | X86_CR0_WP | X86_CR0_NE | X86_CR0_ET | X86_CR0_MP;
	cpu->cr4 = X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE;
	cpu->efer = X86_EFER_LME | X86_EFER_LMA | X86_EFER_SCE;
	cpu->xcr0 = X86_XCR0_SUPPORTED;
	cpu->cr3 = TABLES;
}

static void *execute_open(void)
{
	struct execute *e = aligned_alloc(PAGE, (sizeof(*e) + PAGE - 1) & ~(size_t)(PAGE - 1));

	if (e == NULL)
		return NULL;
	memset(e, 0, sizeof(*e));
	e->cpu.owner = e;
	e->cpu.ops = &ops;
	e->cpu.exec = x86_exec_create();
	if (e->cpu.exec == NULL) {
		free(e);
		return NULL;
	}
	x86_features_init(&e->cpu);
	x86_reset(&e->cpu);
	set_user_mode(&e->cpu);
	build_tables(e);
	return e;
}

static void execute_close(void *ctx)
{
	struct execute *e = ctx;

	x86_exec_destroy(e->cpu.exec);
	free(e);
}

static uint8_t *execute_data(void *ctx)
{
	return ((struct execute *)ctx)->ram + DATA;
}

static void execute_load(void *ctx, const uint8_t *code, unsigned len, bool branch)
{
	struct execute *e = ctx;

	(void)branch;
	memcpy(e->ram + CODE + (DIFF_RIP - DIFF_CODE), code, len);
	e->cpu.rip = DIFF_RIP;
	e->fetched = x86_fetch(&e->cpu, &e->insn);
}

static enum x86_result run_one(struct execute *e)
{
	enum x86_result res = e->fetched;

	if (res != X86_DONE)
		return res;
	do
		res = x86_execute(&e->cpu, &e->insn);
	while (res == X86_AGAIN);
	return res;
}

static void execute_run(void *ctx, struct diff_state *state)
{
	static const uint32_t mxcsr = 0x1f80;
	struct execute *e = ctx;
	struct x86_cpu *cpu = &e->cpu;
	enum x86_result res;

	memcpy(cpu->gpr, state->gpr, sizeof(cpu->gpr));
	memcpy(cpu->fpu, state->fpu, sizeof(cpu->fpu));
	cpu->rflags = state->rflags;
	cpu->rip = DIFF_RIP;
	x86_fpu_load(cpu);
	res = run_one(e);
	x86_fpu_save(cpu);
	__asm__ volatile("fninit\n\tldmxcsr %0" : : "m"(mxcsr));
	memcpy(state->gpr, cpu->gpr, sizeof(state->gpr));
	memcpy(state->fpu, cpu->fpu, sizeof(state->fpu));
	state->rflags = cpu->rflags;
	state->rip = cpu->rip;
	state->vector = res == X86_DONE	   ? DIFF_NO_FAULT
			: res == X86_FAULT ? cpu->fault.vector
					   : 256;
	state->error = cpu->fault.error;
	state->cr2 = cpu->fault.cr2;
}

const struct diff_engine diff_execute = {
	.name = "x86_execute",
	.open = execute_open,
	.close = execute_close,
	.data = execute_data,
	.load = execute_load,
	.run = execute_run,
};
