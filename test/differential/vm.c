/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * A backend as an engine: a VM whose guest loads the case's registers in user mode, runs into the
 * instruction, and tells what came of it through a port.  New instructions are stored by the guest
 * itself, over the old ones, so every form is a test of changed code as well.
 */
#include <stdlib.h>
#include <string.h>

#include <vmm/vmm_dev.h>

#include "backend/backend.h"
#include "test/backend/soft/hooks.h"
#include "test/differential/guest_layout.h"
#include "test/differential/world.h"

#define PAGE   4096u
#define TABLES 0x1000u /* PML4, PDPT, PD, PTs of code, data, guest */
#define CODE   0x8000u
#define DATA   0x9000u
#define GUEST  0x10000u /* GUEST_STATE and what follows */
#define RAM    0x20000u

#define GPA(linear) (GUEST + (linear)-GUEST_STATE)
#define HLT	    0xf4

enum { PTE_P = 1, PTE_W = 2, PTE_U = 4 };
#define PTE_NX (1ull << 63)

extern const uint8_t guest_user[], guest_user_end[], guest_user_done[];
extern const uint8_t guest_kernel[], guest_kernel_end[];

struct machine {
	struct vm *vm;
	uint8_t *ram;
	struct vm_run run;
	uint64_t fall_through;
};

static void put64(struct machine *m, uint64_t gpa, uint64_t value)
{
	memcpy(m->ram + gpa, &value, 8);
}

static uint64_t get64(const struct machine *m, uint64_t gpa)
{
	uint64_t value;

	memcpy(&value, m->ram + gpa, 8);
	return value;
}

static void set_entry(struct machine *m, unsigned table, uint64_t index, uint64_t entry)
{
	put64(m, TABLES + table * PAGE + index % 512 * 8, entry);
}

static void map_guest(struct machine *m)
{
	const unsigned all = PTE_P | PTE_W | PTE_U;

	for (uint64_t at = GUEST_STATE; at < GUEST_END; at += PAGE)
		set_entry(m, 5, at >> 12, GPA(at) | PTE_P | PTE_W);
	set_entry(m, 5, GUEST_STATE >> 12, GPA(GUEST_STATE) | all);
	set_entry(m, 5, GUEST_ALIAS >> 12, CODE | PTE_P | PTE_W);
	set_entry(m, 5, GUEST_USER >> 12, GPA(GUEST_USER) | PTE_P | PTE_U);
}

static void build_tables(struct machine *m)
{
	const unsigned all = PTE_P | PTE_W | PTE_U;

	set_entry(m, 0, 0, (TABLES + 1 * PAGE) | all);
	set_entry(m, 1, 0, (TABLES + 2 * PAGE) | all);
	set_entry(m, 2, DIFF_CODE >> 21, (TABLES + 3 * PAGE) | all);
	set_entry(m, 2, DIFF_DATA >> 21, (TABLES + 4 * PAGE) | all);
	set_entry(m, 2, GUEST_STATE >> 21, (TABLES + 5 * PAGE) | all);
	set_entry(m, 3, DIFF_CODE >> 12, CODE | PTE_P | PTE_U);
	for (unsigned at = 0; at < DIFF_DATA_SIZE; at += PAGE)
		set_entry(m, 4, (DIFF_DATA + at) >> 12,
			(DATA + at) | PTE_NX | PTE_P | PTE_U | (at < DIFF_WRITABLE ? PTE_W : 0));
	map_guest(m);
}

static void set_gate(struct machine *m, unsigned vector, unsigned stub, unsigned dpl)
{
	uint64_t at = GUEST_KERNEL + stub * STUB_SIZE;

	put64(m, GPA(GUEST_IDT) + vector * 16,
		(at & 0xffff) | SEL_KCODE << 16 | (0x8e00ull | dpl << 13) << 32 | at >> 16 << 48);
}

static void build_descriptors(struct machine *m)
{
	uint64_t gdt = GPA(GUEST_TABLES), tss = GUEST_TABLES + 0x100;

	put64(m, gdt + SEL_KCODE, 0x00af9b000000ffff);
	put64(m, gdt + SEL_KDATA, 0x00cf93000000ffff);
	put64(m, gdt + (SEL_UDATA & ~7), 0x00cff3000000ffff);
	put64(m, gdt + (SEL_UCODE & ~7), 0x00affb000000ffff);
	put64(m, GPA(tss) + 4, GUEST_STACK_0);
	put64(m, GPA(tss) + 0x64, 0x68ull << 16); /* no I/O bitmap */
	for (unsigned vector = 0; vector < 32; vector++)
		set_gate(m, vector, vector, 0);
	set_gate(m, EXIT_VECTOR, 32, 3);
}

static void copy_code(struct machine *m)
{
	memset(m->ram + CODE, HLT, PAGE);
	memcpy(m->ram + GPA(GUEST_USER), guest_user, (size_t)(guest_user_end - guest_user));
	memcpy(m->ram + GPA(GUEST_KERNEL), guest_kernel, (size_t)(guest_kernel_end - guest_kernel));
}

static int set_segment(struct machine *m, int reg, uint16_t sel, struct seg_desc desc)
{
	int error = vmmdev_set_seg_desc(m->vm, 0, reg, &desc);

	return error != 0 ? error : vmmdev_set_register(m->vm, 0, reg, sel);
}

static int set_segments(struct machine *m)
{
	static const int data[] = {VM_REG_GUEST_DS, VM_REG_GUEST_ES, VM_REG_GUEST_SS,
		VM_REG_GUEST_FS, VM_REG_GUEST_GS};
	struct seg_desc gdtr = {.base = GUEST_TABLES, .limit = 0xff};
	struct seg_desc idtr = {.base = GUEST_IDT, .limit = 0xfff};
	int error = set_segment(m, VM_REG_GUEST_CS, SEL_KCODE,
		(struct seg_desc){.limit = UINT32_MAX, .access = 0xa09b});

	for (unsigned i = 0; i < sizeof(data) / sizeof(data[0]) && error == 0; i++)
		error = set_segment(m, data[i], SEL_KDATA,
			(struct seg_desc){.limit = UINT32_MAX, .access = 0xc093});
	if (error == 0)
		error = set_segment(m, VM_REG_GUEST_TR, SEL_TSS,
			(struct seg_desc){
				.base = GUEST_TABLES + 0x100, .limit = 0x67, .access = 0x8b});
	if (error == 0)
		error = set_segment(m, VM_REG_GUEST_LDTR, 0, (struct seg_desc){.access = 0x10000});
	if (error == 0)
		error = vmmdev_set_seg_desc(m->vm, 0, VM_REG_GUEST_GDTR, &gdtr);
	return error != 0 ? error : vmmdev_set_seg_desc(m->vm, 0, VM_REG_GUEST_IDTR, &idtr);
}

static int set_registers(struct machine *m)
{
	static const struct {
		int reg;
		uint64_t value;
	} regs[] = {
		{VM_REG_GUEST_EFER, X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE},
		{VM_REG_GUEST_CR3, TABLES},
		{VM_REG_GUEST_CR4,
			X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE},
		{VM_REG_GUEST_CR0, X86_CR0_PE | X86_CR0_PG | X86_CR0_WP | X86_CR0_NE | X86_CR0_ET |
					   X86_CR0_MP},
		{VM_REG_GUEST_RFLAGS, 2},
		{VM_REG_GUEST_RSP, GUEST_STACK_0},
		{VM_REG_GUEST_RIP, GUEST_KERNEL + 33 * STUB_SIZE},
	};
	int error = 0;

	for (unsigned i = 0; i < sizeof(regs) / sizeof(regs[0]) && error == 0; i++)
		error = vmmdev_set_register(m->vm, 0, regs[i].reg, regs[i].value);
	m->run.rip = GUEST_KERNEL + 33 * STUB_SIZE;
	return error;
}

static int machine_start(struct machine *m, const struct vmm_ops *backend)
{
	int error = vmmdev_create(backend, "differential", &m->vm);

	if (error != 0)
		return error;
	if (backend == &vmm_ops_soft)
		soft_hooks(m->vm);
	error = vmmdev_map_memory(m->vm, 0, RAM);
	m->ram = error == 0 ? vmmdev_map_gpa(m->vm, 0, RAM) : NULL;
	if (m->ram == NULL)
		return error;
	build_tables(m);
	build_descriptors(m);
	copy_code(m);
	error = vmmdev_set_capability(m->vm, 0, VM_CAP_ENABLE_INVPCID, 1);
	if (error == 0)
		error = vmmdev_activate_cpu(m->vm, 0);
	if (error == 0)
		error = vmmdev_reset(m->vm, 0);
	if (error == 0)
		error = set_segments(m);
	return error != 0 ? error : set_registers(m);
}

static void *soft_open(void)
{
	struct machine *m = calloc(1, sizeof(*m));

	if (m == NULL || machine_start(m, &vmm_ops_soft) != 0) {
		free(m);
		return NULL;
	}
	return m;
}

static void machine_close(void *ctx)
{
	struct machine *m = ctx;

	vmmdev_destroy(m->vm);
	free(m);
}

static uint8_t *machine_data(void *ctx)
{
	return ((struct machine *)ctx)->ram + DATA;
}

/* The instruction and, unless it is a branch, a jump to guest_user_done. */
static void machine_load(void *ctx, const uint8_t *code, unsigned len, bool branch)
{
	struct machine *m = ctx;
	uint8_t *bytes = m->ram + GPA(GUEST_BYTES);
	int32_t rel = (int32_t)(GUEST_USER + (guest_user_done - guest_user) - (DIFF_RIP + len + 5));

	memset(bytes, HLT, 64);
	memcpy(bytes, code, len);
	if (!branch) {
		bytes[len] = 0xe9;
		memcpy(bytes + len + 1, &rel, sizeof(rel));
	}
	m->ram[GPA(GUEST_LOAD)] = 1;
	m->fall_through = DIFF_RIP + len;
}

/* Until the guest reports; false if it does anything else that leaves it. */
static bool run_to_port(struct machine *m)
{
	const struct vm_exit *exit = &m->run.vm_exit;

	do {
		if (vmmdev_run(m->vm, &m->run) != 0)
			return false;
		m->run.rip = exit->rip + (uint64_t)exit->inst_length;
	} while (exit->exitcode == VM_EXITCODE_BOGUS);
	return exit->exitcode == VM_EXITCODE_INOUT && exit->u.inout.port == EXIT_PORT;
}

static void machine_run(void *ctx, struct diff_state *state)
{
	struct machine *m = ctx;
	uint64_t at = GPA(GUEST_STATE);

	put64(m, GPA(GUEST_VECTOR), (uint64_t)DIFF_NO_FAULT);
	state->rip = m->fall_through;
	memcpy(m->ram + at, state, offsetof(struct diff_state, vector));
	if (!run_to_port(m)) {
		state->vector = 0x1000 + (int)m->run.vm_exit.exitcode;
		return;
	}
	memcpy(state, m->ram + at, offsetof(struct diff_state, vector));
	state->vector = (int)get64(m, GPA(GUEST_VECTOR));
	state->error = (uint32_t)get64(m, GPA(GUEST_ERROR));
	state->cr2 = get64(m, GPA(GUEST_CR2));
	if (state->rip != DIFF_RIP) /* a branch was taken, to a HLT or nowhere */
		state->vector = DIFF_NO_FAULT;
}

const struct diff_engine diff_soft = {
	.name = "the translator",
	.loose = true,
	.open = soft_open,
	.close = machine_close,
	.data = machine_data,
	.load = machine_load,
	.run = machine_run,
};
