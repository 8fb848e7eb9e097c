/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Single-step execution of arbitrary code on arbitrary registers, in every mode and with every table
 * (page tables, GDT, IDT, TSS) in reach of the guest's own stores.  Faults are delivered and task
 * switches completed, as a backend would.
 */
#include "fuzz/fuzz.h"
#include "test/x86/step_guest.h"

enum { STEPS = 32, POLLS = 3, CODE_MAX = 256 };

/* Values near what lives in the guest, more often than chance would have it. */
static uint64_t take_register(struct fuzz_input *in)
{
	static const uint64_t near[] = {GUEST_DATA, GUEST_STACK, GUEST_MMIO, GUEST_FENCE,
		GUEST_READONLY, GUEST_CODE, GUEST_RAM, GUEST_MMIO_GPA};
	unsigned how = (unsigned)fuzz_take(in, 1);

	if (how < 0x80)
		return near[how & 7] + (how >> 3) - 8;
	return how < 0xc0 ? how - 0x80 : fuzz_take_value(in);
}

/*
 * A guest as it was created.  Making one asks the host for its CPUID, which is slow inside a VM: one of
 * each kind is kept, and its state and memory are put back.
 */
static struct guest *get_guest(enum guest_mode mode, unsigned ring)
{
	static struct {
		struct guest *guest;
		struct x86_cpu cpu;
	} kinds[GUEST_LONG64 + 1][4];
	static uint8_t *ram; /* the same for all */
	struct guest *g = kinds[mode][ring].guest;

	if (!g) {
		g = kinds[mode][ring].guest = guest_create(mode, ring);
		kinds[mode][ring].cpu = g->cpu;
	}
	if (!ram) {
		FUZZ_CHECK(x86_trap_keep() == 0);
		ram = malloc(GUEST_RAM);
		FUZZ_CHECK(ram != NULL);
		memcpy(ram, g->ram, GUEST_RAM);
	}
	g->cpu = kinds[mode][ring].cpu;
	memcpy(g->ram, ram, GUEST_RAM);
	memset(g->device, 0, sizeof(g->device));
	return g;
}

static struct guest *make_guest(struct fuzz_input *in)
{
	unsigned how = (unsigned)fuzz_take(in, 1), ring = how >> 3 & 3;
	enum guest_mode mode = (enum guest_mode)(how % 8 % 5);
	struct guest *g = get_guest(mode, mode == GUEST_REAL16 ? 0 : ring);
	struct x86_cpu *cpu = &g->cpu;

	cpu->rflags |= how & 0x20 ? X86_RF_DF | X86_RF_AC : 0;
	cpu->rflags |= how & 0x40 ? X86_RF_IOPL | X86_RF_IF : 0;
	g->device_exits = (how & 0x80) != 0;
	for (unsigned i = 0; i < 16; i++)
		cpu->gpr[i] = take_register(in);
	cpu->gdtr.base = GUEST_DATA;
	cpu->gdtr.limit = (uint32_t)fuzz_take(in, 2);
	cpu->idtr.base = GUEST_DATA + 0x1000;
	cpu->idtr.limit = (uint32_t)fuzz_take(in, 2);
	cpu->tr = (struct x86_seg){.base = GUEST_DATA + 0x2000, .limit = 0x67, .access = 0x8b,
		.sel = 0x28};
	return g;
}

/* Descriptors, gates and a TSS: an eighth of the input, spread over them. */
static void fill_tables(struct guest *g, struct fuzz_input *in)
{
	for (size_t n = in->left / 8; n >= 8; n -= 8) {
		uint64_t at = fuzz_take(in, 2) % 0x3000 & ~7ull, value = fuzz_take(in, 6);

		/* Most descriptors of use are present. */
		memcpy(g->ram + GUEST_DATA + at, &value, sizeof(value));
		g->ram[GUEST_DATA + at + 5] |= 0x80;
	}
}

static void skip(struct guest *g)
{
	g->cpu.rip += g->insn.len;
}

static void deliver(struct guest *g)
{
	const struct x86_event event = {
		.vector = g->cpu.fault.vector,
		.type = X86_EV_EXCEPTION,
		.has_error = g->cpu.fault.has_error,
		.error = g->cpu.fault.error,
	};

	FUZZ_CHECK(g->cpu.fault.vector < 32);
	if (x86_deliver(&g->cpu, &event) != X86_DONE)
		skip(g);
}

static void serve_exit(struct guest *g)
{
	const struct x86_exit exit = g->cpu.exit;

	FUZZ_CHECK(exit.reason > X86_EXIT_NONE && exit.reason <= X86_EXIT_TRIPLE_FAULT);
	if (exit.reason != X86_EXIT_TASK_SWITCH ||
		x86_task_switch(&g->cpu, exit.task.sel, (enum x86_task_reason)exit.task.reason,
			exit.task.external, exit.task.has_error, exit.task.error,
			g->cpu.rip + g->insn.len) != X86_DONE)
		skip(g);
}

static void check(const struct guest *g)
{
	FUZZ_CHECK(g->cpu.rflags & 2);
	FUZZ_CHECK(g->cpu.cpl <= 3);
	FUZZ_CHECK(!(g->cpu.cr0 & X86_CR0_PG) || (g->cpu.cr0 & X86_CR0_PE));
	FUZZ_CHECK(g->insn.len <= X86_INSN_MAX);
}

static void step(struct guest *g)
{
	g->polls_left = POLLS;
	switch (guest_step(g)) {
	case X86_FAULT:
		deliver(g);
		break;
	case X86_EXIT:
		serve_exit(g);
		break;
	default:
		break;
	}
	check(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct guest *g = make_guest(&in);

	fill_tables(g, &in);
	guest_code(g, in.at, in.left < CODE_MAX ? (unsigned)in.left : CODE_MAX);
	for (unsigned i = 0; i < STEPS; i++)
		step(g);
	return 0;
}

/* Some instructions of each kind, in each mode. */
size_t fuzz_seed(unsigned n, uint8_t *to, size_t room)
{
	static const uint8_t codes[][32] = {
		{0x01, 0x08, 0x0f, 0xb1, 0x0b, 0xf7, 0xf1, 0x87, 0x03, 0xd3, 0xe8, 0xf3, 0xa4},
		{0x0f, 0x20, 0xc0, 0x0f, 0x22, 0xc0, 0x0f, 0x01, 0x10, 0x0f, 0x00, 0xd8, 0x0f, 0x32},
		{0xd9, 0xe8, 0xd8, 0x03, 0x0f, 0xae, 0x00, 0x0f, 0xc7, 0x20, 0x0f, 0x58, 0xc1, 0xdd,
			0x33},
		{0xcd, 0x80, 0xcf, 0x9c, 0x9d, 0xca, 0x04, 0x00, 0xff, 0x2b, 0x8e, 0xd8, 0x0f, 0xb2,
			0x23},
		{0xc5, 0xfc, 0x58, 0x03, 0xc4, 0xe2, 0x7d, 0x8c, 0x03, 0xc4, 0xe2, 0x6d, 0x92, 0x04,
			0x08},
		{0xea, 0, 0, 0, 0, 8, 0, 0x6c, 0x6e, 0xe4, 0x60, 0xf4, 0x0f, 0xa2, 0x0f, 0x05},
	};
	const unsigned ncodes = sizeof(codes) / sizeof(codes[0]), header = 1 + 16 + 4;

	if (n >= 5 * ncodes || room < header + sizeof(codes[0]))
		return 0;
	memset(to, 0, header);
	to[0] = (uint8_t)(n / ncodes | (n & 1 ? 0x18 : 0));
	for (unsigned i = 1; i <= 16; i++)
		to[i] = (uint8_t)(0x40 + i % 5);
	memset(to + 17, 0x2f, 4);
	memcpy(to + header, codes[n % ncodes], sizeof(codes[0]));
	return header + sizeof(codes[0]);
}
