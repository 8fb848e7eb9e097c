/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * What the core finishes for a backend: instructions on device memory, string I/O, port I/O and
 * task switches, with code, registers and tables of a guest's choice, as exits of vm_run() and by
 * the user's calls.  Nothing of the host may come out: no address of this process in the guest's
 * registers or memory, nor in what reaches a device.
 */
#include <vmm/pc.h>

#include "fuzz/fuzz.h"
#include "test/vmm/fake_backend.h"
#include "vmm/vm.h"

#define RAM_SIZE 0x20000u
#define TABLES	 0x1000u
#define TASKS	 0x4000u /* GDT, TSSs */
#define CODE	 0x8000u
#define DATA	 0xa000u
#define DEVICE	 0xd0000000u

enum { STEPS = 16, RANGES_MAX = 128 };

struct range {
	uintptr_t lo, hi;
};

struct world {
	struct vm *vm;
	uint8_t *ram;
	struct x86_cpu start;
	uint8_t before[RAM_SIZE]; /* a value that the input put there is no leak */
	struct range range[RANGES_MAX];
	unsigned nranges, found;
	const uint8_t *input;
	size_t size;
};

/* ---- what must not come out ---- */

/* Files, libraries and stacks of this process, its RAM for guests among them. */
static void find_ranges(struct world *w)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	char line[512];

	FUZZ_CHECK(maps != NULL);
	w->nranges = 0;
	while (fgets(line, sizeof(line), maps) && w->nranges < RANGES_MAX) {
		struct range *r = &w->range[w->nranges];

		if (sscanf(line, "%lx-%lx", &r->lo, &r->hi) == 2 && strpbrk(line, "/["))
			w->nranges++;
	}
	fclose(maps);
}

static void check_value(const struct world *w, uint64_t value)
{
	for (unsigned i = 0; i < w->nranges; i++)
		FUZZ_CHECK(value < w->range[i].lo || value >= w->range[i].hi ||
			   memmem(w->input, w->size, &value, 6) != NULL);
}

static void check_bytes(const struct world *w, const uint8_t *bytes, size_t n)
{
	for (size_t i = 0; i + 8 <= n; i++) {
		uint64_t value;

		memcpy(&value, bytes + i, 8);
		check_value(w, value);
	}
}

static void check_world(struct world *w)
{
	const struct x86_cpu *cpu = fake_cpu(w->vm, 0);

	for (unsigned i = 0; i < 16; i++)
		check_value(w, cpu->gpr[i]);
	check_value(w, cpu->rip);
	check_value(w, cpu->cr2);
	check_bytes(w, cpu->fpu + 32, 128 + 256); /* its pointers stay the host's, see xstate.c */
	for (unsigned at = 0; at < RAM_SIZE; at += 64)
		if (memcmp(w->ram + at, w->before + at, 64) != 0)
			check_bytes(w, w->ram + at, at + 72 <= RAM_SIZE ? 72 : 64);
	FUZZ_CHECK(cpu->rflags & 2);
	FUZZ_CHECK(cpu->cpl <= 3);
}

/* ---- the guest ---- */

static void create(struct world *w)
{
	FUZZ_CHECK(vm_create_on(&fake_lending_ops, "fuzz", &w->vm) == 0);
	FUZZ_CHECK(vcpu_set_state(w->vm, 0, VCPU_FROZEN, true) == 0);
	FUZZ_CHECK(vm_activate_cpu(w->vm, 0) == 0);
	FUZZ_CHECK(vm_malloc(w->vm, 0, RAM_SIZE) == 0);
	w->ram = vm_gpa_ram(w->vm, 0, NULL);
	w->start = *fake_cpu(w->vm, 0);
}

/* Every linear address of 4 GiB is itself: RAM, chips, the user's devices. */
static void make_tables(struct world *w)
{
	uint64_t entry = (TABLES + 0x1000) | 7;

	memcpy(w->ram + TABLES, &entry, 8);
	for (uint64_t i = 0; i < 4; i++) {
		entry = i << 30 | 0x87;
		memcpy(w->ram + TABLES + 0x1000 + 8 * i, &entry, 8);
	}
}

static void set_mode(struct x86_cpu *cpu, unsigned bits)
{
	uint32_t code = bits == 64 ? 0xa09b : bits == 32 ? 0xc09b : 0x9b;

	cpu->cr0 = X86_CR0_PE | X86_CR0_NE | X86_CR0_MP | (bits == 64 ? X86_CR0_PG : 0);
	cpu->cr3 = TABLES;
	cpu->cr4 = X86_CR4_PAE | X86_CR4_OSFXSR | X86_CR4_OSXSAVE;
	cpu->xcr0 = X86_XCR0_SUPPORTED;
	cpu->efer = bits == 64 ? X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE : 0;
	for (unsigned i = 0; i < 6; i++)
		cpu->seg[i] = (struct x86_seg){.limit = UINT32_MAX, .access = 0xc093, .sel = 0x10};
	cpu->seg[X86_CS] = (struct x86_seg){.limit = UINT32_MAX, .access = code, .sel = 8};
	cpu->gdtr.base = TASKS;
	cpu->gdtr.limit = 0x7f;
	cpu->tr =
		(struct x86_seg){.base = TASKS + 0x80, .limit = 0x67, .access = 0x8b, .sel = 0x28};
}

static uint64_t take_register(struct fuzz_input *in)
{
	static const uint32_t near[] = {
		DATA, DEVICE, PC_LAPIC_BASE, PC_IOAPIC_BASE, PC_HPET_BASE, RAM_SIZE, CODE, DATA};
	unsigned how = (unsigned)fuzz_take(in, 1);

	if (how < 0xc0)
		return near[how & 7] + (how >> 3) * 8ull - 16;
	return fuzz_take_value(in);
}

static void reset(struct world *w, struct fuzz_input *in)
{
	static const uint8_t bits[] = {64, 64, 32, 16};
	struct x86_cpu *cpu = fake_cpu(w->vm, 0);
	struct x86_exec *exec = cpu->exec;
	unsigned how = (unsigned)fuzz_take(in, 1);

	memset(w->ram, 0, RAM_SIZE);
	make_tables(w);
	*cpu = w->start;
	cpu->exec = exec;
	set_mode(cpu, bits[how & 3]);
	cpu->cpl = how & 4 ? 3 : 0;
	cpu->rflags = 2 | (how & 8 ? X86_RF_TF : 0) | (how & 0x10 ? X86_RF_DF : 0) |
		      (how & 0x20 ? X86_RF_AC : 0) | (how & 0x40 ? X86_RF_IF : 0);
	for (unsigned i = 0; i < 16; i++)
		cpu->gpr[i] = take_register(in);
	for (unsigned n = (unsigned)fuzz_take(in, 1) % 32; n--;) {
		uint64_t at = fuzz_take(in, 1) * 8, value = fuzz_take(in, 8);

		memcpy(w->ram + TASKS + at, &value, sizeof(value));
	}
}

/* ---- devices ---- */

static int device_read(struct vm *vm, int vcpu, uint64_t gpa, uint64_t *value, int size, void *arg)
{
	struct world *w = arg;

	FUZZ_CHECK(vm == w->vm && vcpu == 0);
	FUZZ_CHECK(size == 1 || size == 2 || size == 4 || size == 8);
	*value = gpa * 0x0101010101010101ull >> 8;
	return gpa & 0x40 ? EINVAL : 0;
}

static int device_write(struct vm *vm, int vcpu, uint64_t gpa, uint64_t value, int size, void *arg)
{
	struct world *w = arg;

	FUZZ_CHECK(vm == w->vm && vcpu == 0);
	FUZZ_CHECK(size == 1 || size == 2 || size == 4 || size == 8);
	check_value(w, gpa);
	check_value(w, value);
	return gpa & 0x40 ? EINVAL : 0;
}

static int port(
	struct vm *vm, int vcpu, bool in, uint16_t number, int bytes, uint32_t *eax, void *arg)
{
	struct world *w = arg;

	FUZZ_CHECK(vm == w->vm && vcpu == 0);
	FUZZ_CHECK(bytes == 1 || bytes == 2 || bytes == 4);
	if (in)
		*eax = number * 0x01010101u;
	return number & 1 ? ENOENT : 0;
}

/* ---- exits ---- */

static void take_paging(struct world *w, struct vm_guest_paging *paging)
{
	const struct x86_cpu *cpu = fake_cpu(w->vm, 0);
	bool is64 = cpu->efer & X86_EFER_LMA;

	*paging = (struct vm_guest_paging){
		.cr3 = cpu->cr3,
		.cpl = cpu->cpl,
		.cpu_mode = is64 ? CPU_MODE_64BIT : CPU_MODE_PROTECTED,
		.paging_mode = is64 ? PAGING_MODE_64 : PAGING_MODE_FLAT,
	};
}

static struct vm_exit take_instruction(struct world *w, struct fuzz_input *in)
{
	struct vm_exit exit = {.exitcode = VM_EXITCODE_INST_EMUL, .rip = CODE};

	for (unsigned i = 0; i < X86_INSN_MAX; i++)
		w->ram[CODE + i] = (uint8_t)fuzz_take(in, 1);
	exit.u.inst_emul.gpa = exit.u.inst_emul.gla = take_register(in);
	take_paging(w, &exit.u.inst_emul.paging);
	return exit;
}

static void emulate_instruction(struct world *w, struct fuzz_input *in)
{
	struct vm_exit exit = take_instruction(w, in);

	(void)!vm_emulate_instruction(w->vm, 0, &exit, device_read, device_write, w);
	FUZZ_CHECK(exit.inst_length >= 0 && exit.inst_length <= X86_INSN_MAX);
	check_value(w, exit.rip);
}

/* As vm_run() finishes it for a backend: by itself where a chip is, else for the user. */
static void run_instruction(struct world *w, struct fuzz_input *in)
{
	struct fake_step steps[2] = {
		{.exit = take_instruction(w, in)}, {.exit = {.exitcode = VM_EXITCODE_PAUSE}}};
	struct vm_run run = {.rip = CODE};

	fake_script(w->vm, 0, steps, 2);
	(void)!vm_run(w->vm, &run);
	FUZZ_CHECK(run.vm_exit.inst_length >= 0 && run.vm_exit.inst_length <= X86_INSN_MAX);
	check_value(w, run.vm_exit.rip);
	check_value(w, run.vm_exit.u.inst_emul.gpa);
}

static struct vm_inout take_port(struct fuzz_input *in)
{
	unsigned how = (unsigned)fuzz_take(in, 1);

	return (struct vm_inout){
		.bytes = 1 << (how & 3) % 3 & 7,
		.in = how >> 2 & 1,
		.string = how >> 3 & 1,
		.rep = how >> 4 & 1,
		.port = (uint16_t)fuzz_take(in, 2),
		.eax = (uint32_t)fuzz_take(in, 4),
	};
}

static void emulate_port(struct world *w, struct fuzz_input *in)
{
	struct vm_exit exit = {.exitcode = VM_EXITCODE_INOUT, .rip = CODE, .inst_length = 2};

	exit.u.inout = take_port(in);
	exit.u.inout.string = 0;
	FUZZ_CHECK(vm_emulate_inout(w->vm, 0, &exit, port, w) == 0);
}

static void emulate_string(struct world *w, struct fuzz_input *in)
{
	static const int segs[] = {
		VM_REG_GUEST_ES, VM_REG_GUEST_SS, VM_REG_GUEST_DS, VM_REG_GUEST_FS};
	struct vm_exit exit = {.exitcode = VM_EXITCODE_INOUT_STR, .rip = CODE, .inst_length = 2};
	struct vm_inout_str *io = &exit.u.inout_str;
	unsigned how;

	io->inout = take_port(in);
	io->inout.string = 1;
	take_paging(w, &io->paging);
	how = (unsigned)fuzz_take(in, 1);
	io->rflags = fake_cpu(w->vm, 0)->rflags;
	io->cr0 = fake_cpu(w->vm, 0)->cr0 | (how & 1 ? X86_CR0_AM : 0);
	io->index = take_register(in);
	io->count = fuzz_take_value(in);
	io->addrsize = 2 << (how >> 1 & 3) % 3;
	io->seg_name = segs[how >> 3 & 3];
	io->seg_desc = (struct seg_desc){.base = how & 0x20 ? fuzz_take_value(in) : 0,
		.limit = how & 0x40 ? (uint32_t)fuzz_take(in, 4) : UINT32_MAX,
		.access = how & 0x80 ? (uint32_t)fuzz_take(in, 3) & 0x1f0ff : 0xc093};
	(void)!vm_emulate_inout_str(w->vm, 0, &exit, port, w);
}

static void switch_task(struct world *w, struct fuzz_input *in)
{
	struct vm_exit exit = {.exitcode = VM_EXITCODE_TASK_SWITCH, .rip = CODE, .inst_length = 2};
	struct vm_task_switch *ts = &exit.u.task_switch;
	unsigned how = (unsigned)fuzz_take(in, 1);

	ts->tsssel = (uint16_t)fuzz_take(in, 2) & (how & 0x20 ? 0xffff : 0x7f);
	ts->ext = how & 1;
	ts->errcode_valid = how >> 1 & 1;
	ts->errcode = how >> 6;
	ts->reason = (enum task_switch_reason)(how >> 2 & 3);
	take_paging(w, &ts->paging);
	(void)!vm_emulate_task_switch(w->vm, 0, &exit);
	check_value(w, exit.rip);
}

static void step(struct world *w, struct fuzz_input *in)
{
	static void (*const kinds[])(struct world *, struct fuzz_input *) = {emulate_instruction,
		emulate_instruction, run_instruction, emulate_port, emulate_string, switch_task};

	/* What was queued has been delivered before the guest came to the next instruction. */
	w->vm->vcpu[0].exitintinfo = 0;
	w->vm->vcpu[0].exception_pending = w->vm->vcpu[0].halted = false;
	memcpy(w->before, w->ram, RAM_SIZE);
	kinds[fuzz_take(in, 1) % (sizeof(kinds) / sizeof(kinds[0]))](w, in);
	check_world(w);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct world *w;
	struct fuzz_input in = {data, size};

	if (w == NULL) {
		w = aligned_alloc(64, (sizeof(*w) + 63) & ~(size_t)63);
		FUZZ_CHECK(w != NULL);
		memset(w, 0, sizeof(*w));
		create(w);
	}
	w->input = data;
	w->size = size;
	reset(w, &in);
	if (w->nranges == 0 || w->found++ < 64) /* some appear with the first instruction */
		find_ranges(w);
	for (unsigned i = 0; i < STEPS && in.left > 0; i++)
		step(w, &in);
	return 0;
}

/* One instruction on each kind of memory, in each mode, then the other exits. */
size_t fuzz_seed(unsigned n, uint8_t *to, size_t room)
{
	static const uint8_t codes[][X86_INSN_MAX] = {{0x8b, 0x03}, {0x89, 0x43, 0x08},
		{0xf0, 0x0f, 0xb1, 0x0b}, {0xf3, 0xa4}, {0xf3, 0xab}, {0xff, 0x33}, {0x8f, 0x03},
		{0x0f, 0x11, 0x03}, {0x0f, 0xae, 0x03}, {0xdd, 0x33}, {0xd9, 0x33},
		{0xc5, 0xfc, 0x10, 0x03}, {0xc4, 0xe2, 0x6d, 0x92, 0x04, 0x0b}, {0x0f, 0xae, 0x23},
		{0xa7}, {0x0f, 0xc7, 0x0b}, {0xf7, 0x3b}, {0xff, 0x13}, {0xff, 0x23}, {0x87, 0x03}};
	const unsigned ncodes = sizeof(codes) / sizeof(codes[0]), header = 1 + 16 + 1;
	size_t at = header;

	if (n >= 4 * ncodes || room < header + 64)
		return 0;
	memset(to, 0, header + 64);
	to[0] = (uint8_t)(n / ncodes);
	for (unsigned i = 1; i <= 16; i++)
		to[i] = (uint8_t)(n % 3 + 8 * 2); /* DATA, DEVICE, the APIC */
	to[2] = 8 * 2 + 1;
	for (unsigned kind = 0; kind < 3; kind += 2) {
		to[at++] = (uint8_t)kind;
		memcpy(to + at, codes[n % ncodes], X86_INSN_MAX);
		at += X86_INSN_MAX;
		to[at++] = (uint8_t)(n % 3 + 8 * 2);
	}
	to[at++] = (uint8_t)(3 + n % 3);
	memset(to + at, (int)n, 16);
	return at + 16;
}
