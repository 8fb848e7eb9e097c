/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include "test/x86/system_guest.h"

static bool is_long(const struct guest *g)
{
	return g->mode == GUEST_LONG64 || g->mode == GUEST_COMPAT32;
}

uint64_t guest_get(struct guest *g, uint64_t gpa, unsigned size)
{
	uint64_t value = 0;

	memcpy(&value, g->ram + gpa, size);
	return value;
}

void guest_put(struct guest *g, uint64_t gpa, uint64_t value, unsigned size)
{
	memcpy(g->ram + gpa, &value, size);
}

uint64_t descriptor(uint32_t base, uint32_t limit, uint32_t access)
{
	uint64_t units = access & X86_SEG_G ? limit >> 12 : limit;

	return (units & 0xffff) | (uint64_t)(base & 0xffffff) << 16 |
	       (uint64_t)(access & 0xff) << 40 | (units >> 16 & 15) << 48 |
	       (uint64_t)(access & 0xf000) << 40 | (uint64_t)(base >> 24) << 56;
}

void gdt_set(struct guest *g, unsigned sel, uint64_t low)
{
	guest_put(g, AT_GDT + (sel & ~7u), low, 8);
}

static uint64_t gate_low(unsigned type, unsigned sel, uint64_t offset, unsigned params)
{
	return (offset & 0xffff) | (uint64_t)sel << 16 | (uint64_t)params << 32 |
	       (uint64_t)type << 40 | (offset >> 16 & 0xffff) << 48;
}

void idt_set(struct guest *g, unsigned vector, unsigned type, unsigned sel, uint64_t offset)
{
	unsigned size = is_long(g) ? 16 : 8;

	guest_put(g, AT_IDT + vector * size, gate_low(type, sel, offset, 0), 8);
	if (is_long(g))
		guest_put(g, AT_IDT + vector * size + 8, offset >> 32, 8);
}

void gate_set(struct guest *g, unsigned sel, unsigned type, unsigned target, uint64_t offset,
	unsigned params)
{
	gdt_set(g, sel, gate_low(type, target, offset, params));
	if (is_long(g))
		gdt_set(g, sel + 8, offset >> 32);
}

static void set_tables(struct guest *g)
{
	gdt_set(g, KCODE, descriptor(0, UINT32_MAX, A_CODE | A_32));
	gdt_set(g, KDATA, descriptor(0, UINT32_MAX, A_DATA | A_32));
	gdt_set(g, UCODE, descriptor(0, UINT32_MAX, A_CODE | A_32 | A_DPL3));
	gdt_set(g, UDATA, descriptor(0, UINT32_MAX, A_DATA | A_32 | A_DPL3));
	gdt_set(g, KCODE64, descriptor(0, UINT32_MAX, A_CODE | A_64));
	gdt_set(g, UCODE64, descriptor(0, UINT32_MAX, A_CODE | A_64 | A_DPL3));
	gdt_set(g, CONFORMING, descriptor(0, UINT32_MAX, A_CODE | 4 | A_32));
	gdt_set(g, TSS, descriptor(AT_TSS, 0x67, A_TSS | 2));
	gdt_set(g, TSS2, descriptor(AT_TSS2, 0x67, A_TSS));
	gdt_set(g, LDT, descriptor(AT_LDT, 0xff, A_LDT));
	gdt_set(g, CODE1, descriptor(0, UINT32_MAX, A_CODE | A_32 | A_DPL1));
	gdt_set(g, DATA1, descriptor(0, UINT32_MAX, A_DATA | A_32 | A_DPL1));
	g->cpu.gdtr.base = AT_GDT;
	g->cpu.gdtr.limit = 0xff;
	g->cpu.idtr.base = AT_IDT;
	g->cpu.idtr.limit = 0xfff;
	g->cpu.tr =
		(struct x86_seg){.base = AT_TSS, .limit = 0x67, .access = A_TSS | 2, .sel = TSS};
	g->cpu.ldtr = (struct x86_seg){.access = X86_SEG_UNUSABLE};
}

static void set_stacks(struct guest *g)
{
	if (is_long(g)) {
		guest_put(g, AT_TSS + 4, STACK0, 8);
		guest_put(g, AT_TSS + 12, STACK1, 8);
		guest_put(g, AT_TSS + 0x24, STACK_IST, 8);
		return;
	}
	guest_put(g, AT_TSS + 4, STACK0, 4);
	guest_put(g, AT_TSS + 8, KDATA, 4);
	guest_put(g, AT_TSS + 12, STACK1, 4);
	guest_put(g, AT_TSS + 16, DATA1, 4);
}

struct guest *system_guest(enum guest_mode mode, unsigned cpl)
{
	struct guest *g = guest_create(mode, cpl);
	unsigned code = mode == GUEST_LONG64 ? KCODE64 : KCODE, data = KDATA;

	if (cpl == 3) {
		code = mode == GUEST_LONG64 ? UCODE64 : UCODE;
		data = UDATA;
	}
	g->cpu.gpr[X86_RSP] = STACK_NOW;
	if (mode == GUEST_REAL16) {
		g->cpu.idtr.limit = 0x3ff;
		g->cpu.gpr[X86_RSP] = 0x8000;
		return g;
	}
	for (unsigned i = 0; i < 6; i++)
		g->cpu.seg[i].sel = (uint16_t)(i == X86_CS ? code : data);
	set_tables(g);
	set_stacks(g);
	return g;
}

enum x86_result guest_deliver(struct guest *g, unsigned vector, enum x86_event_type type)
{
	struct x86_event event = {
		.vector = (uint8_t)vector, .type = (uint8_t)type, .next_rip = g->cpu.rip + 2};

	return x86_deliver(&g->cpu, &event);
}

enum x86_result guest_deliver_error(struct guest *g, unsigned vector, uint32_t error)
{
	struct x86_event event = {.vector = (uint8_t)vector,
		.type = X86_EV_EXCEPTION,
		.has_error = true,
		.error = error};

	return x86_deliver(&g->cpu, &event);
}

/* Everything before `fault` in the struct, that is all architectural state. */
void assert_same_state(const struct x86_cpu *before, const struct x86_cpu *after)
{
	assert_memory_equal(before, after, offsetof(struct x86_cpu, fault));
}
