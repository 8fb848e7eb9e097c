/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "test/x86/step_guest.h"

#define TABLES 0x1f0000u /* PML4, PDPT, PD, PT; then PD and PT of 32-bit paging */

static struct guest *guest_of(struct x86_cpu *cpu)
{
	return cpu->owner;
}

static void *ram(struct x86_cpu *cpu, uint64_t gpa, unsigned len, bool write)
{
	(void)write;
	return gpa + len <= GUEST_RAM ? guest_of(cpu)->ram + gpa : NULL;
}

static uint8_t *device_byte(struct guest *g, uint64_t gpa)
{
	return (uint8_t *)g->device + (gpa - GUEST_MMIO_GPA) % sizeof(g->device);
}

static enum x86_result mmio_exit(
	struct x86_cpu *cpu, uint64_t gla, uint64_t gpa, unsigned len, bool write)
{
	cpu->exit = (struct x86_exit){.reason = X86_EXIT_MMIO,
		.mmio = {.gpa = gpa, .gla = gla, .size = (uint8_t)len, .write = write}};
	return X86_EXIT;
}

static enum x86_result mmio_read(
	struct x86_cpu *cpu, uint64_t gla, uint64_t gpa, void *buf, unsigned len)
{
	struct guest *g = guest_of(cpu);

	if (g->device_exits)
		return mmio_exit(cpu, gla, gpa, len, false);
	g->device_reads++;
	for (unsigned i = 0; i < len; i++)
		((uint8_t *)buf)[i] = *device_byte(g, gpa + i);
	return X86_DONE;
}

static enum x86_result mmio_write(
	struct x86_cpu *cpu, uint64_t gla, uint64_t gpa, const void *buf, unsigned len)
{
	struct guest *g = guest_of(cpu);

	if (g->device_exits)
		return mmio_exit(cpu, gla, gpa, len, true);
	g->device_writes++;
	for (unsigned i = 0; i < len; i++)
		*device_byte(g, gpa + i) = ((const uint8_t *)buf)[i];
	return X86_DONE;
}

static void flush(struct x86_cpu *cpu, enum x86_flush kind, uint64_t gla)
{
	(void)cpu;
	(void)kind;
	(void)gla;
}

static enum x86_result no_rdmsr(struct x86_cpu *cpu, uint32_t msr, uint64_t *value)
{
	(void)msr;
	(void)value;
	return x86_raise_error(cpu, X86_GP, 0);
}

static enum x86_result no_wrmsr(struct x86_cpu *cpu, uint32_t msr, uint64_t value)
{
	(void)msr;
	(void)value;
	return x86_raise_error(cpu, X86_GP, 0);
}

static uint64_t cr8_read(struct x86_cpu *cpu)
{
	(void)cpu;
	return 0;
}

static void cr8_write(struct x86_cpu *cpu, uint64_t value)
{
	(void)cpu;
	(void)value;
}

static void cpuid(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	const struct x86_topology one = {.cores = 1, .threads = 1};

	x86_cpuid(cpu, &one, leaf, subleaf, out);
}

static bool poll(struct x86_cpu *cpu)
{
	struct guest *g = guest_of(cpu);

	return g->polls_left != 0 && --g->polls_left == 0;
}

static const struct x86_ops ops = {
	.ram = ram,
	.map = x86_map_walk,
	.mmio_read = mmio_read,
	.mmio_write = mmio_write,
	.flush = flush,
	.rdmsr = no_rdmsr,
	.wrmsr = no_wrmsr,
	.cr8_read = cr8_read,
	.cr8_write = cr8_write,
	.cpuid = cpuid,
	.poll = poll,
};

static void put64(struct guest *g, uint64_t at, uint64_t value)
{
	memcpy(g->ram + at, &value, sizeof(value));
}

static void put32(struct guest *g, uint64_t at, uint32_t value)
{
	memcpy(g->ram + at, &value, sizeof(value));
}

static void set_page(struct guest *g, uint64_t gla, uint64_t gpa, unsigned pte)
{
	put64(g, TABLES + 0x3000 + gla / 4096 * 8, pte ? gpa | pte : 0);
	put32(g, TABLES + 0x5000 + (uint32_t)(gla / 4096 * 4), pte ? (uint32_t)gpa | pte : 0);
}

void guest_protect(struct guest *g, uint64_t gla, unsigned pte)
{
	set_page(g, gla, gla & ~4095ull, pte);
}

static void build_tables(struct guest *g)
{
	const unsigned all = PTE_P | PTE_W | PTE_U;

	for (unsigned i = 0; i < 3; i++)
		put64(g, TABLES + i * 0x1000, (TABLES + (i + 1) * 0x1000) | all);
	put32(g, TABLES + 0x4000, (TABLES + 0x5000) | all);
	for (uint64_t gla = 0; gla < GUEST_RAM; gla += 4096)
		set_page(g, gla, gla, all);
	set_page(g, GUEST_MMIO, GUEST_MMIO_GPA, all);
	set_page(g, GUEST_MMIO + 4096, GUEST_MMIO_GPA + 4096, all);
	set_page(g, GUEST_FENCE, 0, 0);
	set_page(g, GUEST_READONLY, GUEST_READONLY, PTE_P | PTE_U);
}

static void set_segments(struct guest *g, unsigned cpl)
{
	bool flat = g->mode == GUEST_PROT32 || g->mode == GUEST_COMPAT32 || g->mode == GUEST_LONG64;
	uint32_t big = g->mode == GUEST_REAL16 || g->mode == GUEST_PROT16 ? 0 : X86_SEG_DB;
	uint32_t common = X86_SEG_P | X86_SEG_S | cpl << 5 | (flat ? X86_SEG_G : 0);
	uint32_t limit = flat ? UINT32_MAX : 0xffff;

	for (unsigned i = 0; i < 6; i++)
		g->cpu.seg[i] = (struct x86_seg){.limit = limit,
			.access = common | big | 3,
			.sel = (uint16_t)(8 * (i + 1) | cpl)};
	g->cpu.seg[X86_CS].access = common | 11 | (g->mode == GUEST_LONG64 ? X86_SEG_L : big);
	if (g->mode == GUEST_REAL16)
		for (unsigned i = 0; i < 6; i++)
			g->cpu.seg[i].sel = 0;
	g->cpu.cpl = (uint8_t)cpl;
}

static void set_control(struct guest *g)
{
	struct x86_cpu *cpu = &g->cpu;
	bool lng = g->mode == GUEST_COMPAT32 || g->mode == GUEST_LONG64;

	cpu->cr0 = X86_CR0_ET | X86_CR0_NE | X86_CR0_MP;
	cpu->cr4 = X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE;
	cpu->xcr0 = X86_XCR0_SUPPORTED;
	if (g->mode != GUEST_REAL16)
		cpu->cr0 |= X86_CR0_PE | X86_CR0_PG | X86_CR0_WP;
	cpu->cr3 = lng ? TABLES : TABLES + 0x4000;
	if (lng) {
		cpu->cr4 |= X86_CR4_PAE;
		cpu->efer = X86_EFER_LME | X86_EFER_LMA;
	}
}

struct guest *guest_create(enum guest_mode mode, unsigned cpl)
{
	struct guest *g = aligned_alloc(64, (sizeof(*g) + 63) & ~(size_t)63);

	assert(g != NULL);
	memset(g, 0, sizeof(*g));
	g->mode = mode;
	g->ram = aligned_alloc(4096, GUEST_RAM);
	assert(g->ram != NULL);
	memset(g->ram, 0, GUEST_RAM);
	g->cpu.ops = &ops;
	g->cpu.owner = g;
	g->cpu.exec = x86_exec_create();
	assert(g->cpu.exec != NULL);
	x86_features_init(&g->cpu);
	x86_reset(&g->cpu);
	build_tables(g);
	set_segments(g, cpl);
	set_control(g);
	g->cpu.gpr[X86_RSP] = GUEST_STACK;
	g->cpu.rip = GUEST_CODE;
	g->cpu.rflags = 2;
	return g;
}

void guest_destroy(struct guest *g)
{
	x86_exec_destroy(g->cpu.exec);
	free(g->ram);
	free(g);
}

void guest_code(struct guest *g, const uint8_t *code, unsigned len)
{
	memcpy(g->ram + GUEST_CODE, code, len);
	g->cpu.rip = GUEST_CODE;
}

enum x86_result guest_step(struct guest *g)
{
	static const uint32_t mxcsr = 0x1f80;
	enum x86_result res = x86_fetch(&g->cpu, &g->insn);

	if (res != X86_DONE)
		return res;
	x86_fpu_load(&g->cpu);
	res = x86_execute(&g->cpu, &g->insn);
	x86_fpu_save(&g->cpu);
	__asm__ volatile("fninit\n\tldmxcsr %0" : : "m"(mxcsr));
	return res;
}
