/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * What a backend need not have, or cannot do on this host: behaviours that are not asked of it
 * then. Each property is tried out, once for a program, by a guest or a call in a child process;
 * nothing is concluded from a name.
 */
#include <fnmatch.h>
#include <time.h>

#include "test/contract/contract.h"

/* ---- Properties ---- */

static bool has_capability(const struct vmm_ops *ops, int type)
{
	void *state;

	return contract_setup(ops, &state) == 0 &&
	       vm_set_capability(((struct contract *)state)->vm, 0, type, 1) == 0;
}

static bool steps(const struct vmm_ops *ops)
{
	return has_capability(ops, VM_CAP_MTRAP_EXIT);
}

static bool exits_by_pause(const struct vmm_ops *ops)
{
	return has_capability(ops, VM_CAP_PAUSE_EXIT);
}

/* Does a guest with these control registers and a table at 0x60000 come to its OUT? */
static bool runs_paged(const struct vmm_ops *ops, uint64_t cr4, const void *tables, size_t n)
{
	struct contract *c;
	void *state;

	if (contract_setup(ops, &state) != 0)
		return false;
	c = state;
	GUEST(protected_mode, c, 0, "\xe7\xe9");
	memcpy(c->ram + 0x60000, tables, n);
	set_reg(c, 0, VM_REG_GUEST_CR3, 0x60000);
	set_reg(c, 0, VM_REG_GUEST_CR4, cr4);
	set_reg(c, 0, VM_REG_GUEST_CR0, CR0_PE | CR0_NE | CR0_PG);
	step_over(c, 0);
	return vm_run(c->vm, &c->run[0]) == 0 && c->run[0].vm_exit.exitcode == VM_EXITCODE_INOUT;
}

static bool pages_in_32_bits(const struct vmm_ops *ops)
{
	static const uint32_t directory[] = {0x83}; /* 4 MiB at 0 */

	return runs_paged(ops, CR4_PSE, directory, sizeof(directory));
}

static bool pages_with_pae(const struct vmm_ops *ops)
{
	static const uint64_t tables[513] = {[0] = 0x61001, [512] = 0x83}; /* 2 MiB at 0 */

	return runs_paged(ops, CR4_PAE, tables, sizeof(tables));
}

static bool offers(const struct vmm_ops *ops, uint32_t leaf, int reg, int bit)
{
	struct contract *c;
	uint32_t regs[4];
	void *state;

	if (contract_setup(ops, &state) != 0)
		return false;
	c = state;
	service(c, 0);
	guest_cpuid(c, 0, leaf, 0, regs);
	return regs[reg] >> bit & 1;
}

static bool offers_smep(const struct vmm_ops *ops)
{
	return offers(ops, 7, 1, 7);
}

static bool offers_smap(const struct vmm_ops *ops)
{
	return offers(ops, 7, 1, 20);
}

static bool offers_gigabyte_pages(const struct vmm_ops *ops)
{
	return offers(ops, 0x80000001, 3, 26);
}

static bool offers_la57(const struct vmm_ops *ops)
{
	return offers(ops, 7, 2, 16);
}

static bool offers_invpcid(const struct vmm_ops *ops)
{
	return offers(ops, 7, 1, 10);
}

static bool offers_tsc_deadline(const struct vmm_ops *ops)
{
	return offers(ops, 1, 2, 24);
}

static bool offers_avx(const struct vmm_ops *ops)
{
	return offers(ops, 1, 2, 28);
}

/* IN with IOPL 3 at CPL 3. */
static bool honours_iopl(const struct vmm_ops *ops)
{
	struct contract *c;
	void *state;

	if (contract_setup(ops, &state) != 0)
		return false;
	c = state;
	GUEST(user_mode, c, 0, "\xe7\xe9");
	set_reg(c, 0, VM_REG_GUEST_RFLAGS, 0x3002);
	step_over(c, 0);
	return vm_run(c->vm, &c->run[0]) == 0 && c->run[0].vm_exit.exitcode == VM_EXITCODE_INOUT;
}

/*
 * A TSS at selector 0x28 of another task, and a task gate to it as vector 2.  Its EIP is the OUT at
 * CODE + 0x100.
 */
static struct contract *with_task(const struct vmm_ops *ops, const void *code, size_t n)
{
	struct seg_desc gdtr = {0x800, 0x2f, 0}, tr = {0x5000, 103, 0x8b},
			idtr = {0x6000, 0x1ff, 0};
	const uint32_t eip = CODE + 0x100, sels[6] = {0x10, 0x18, 0x10, 0x10, 0x10, 0x10};
	const uint64_t tss = 103 | (uint64_t)0x5100 << 16 | (uint64_t)0x89 << 40,
		       gate = (uint64_t)0x28 << 16 | (uint64_t)0x85 << 40;
	struct contract *c;
	void *state;

	if (contract_setup(ops, &state) != 0)
		return NULL;
	c = state;
	protected_mode(c, 0, code, n);
	PLACE(c, CODE + 0x100, "\xe7\xe9");
	memcpy(c->ram + 0x800 + 0x28, &tss, sizeof(tss));
	memcpy(c->ram + 0x5100 + 32, &eip, sizeof(eip));
	memcpy(c->ram + 0x5100 + 72, sels, sizeof(sels));
	memcpy(c->ram + 0x6000 + 2 * 8, &gate, sizeof(gate));
	(void)vm_set_seg_desc(c->vm, 0, VM_REG_GUEST_GDTR, &gdtr);
	(void)vm_set_seg_desc(c->vm, 0, VM_REG_GUEST_IDTR, &idtr);
	(void)vm_set_seg_desc(c->vm, 0, VM_REG_GUEST_TR, &tr);
	set_reg(c, 0, VM_REG_GUEST_TR, 0x20);
	step_over(c, 0);
	return c;
}

static bool leaves_with(struct contract *c, enum vm_exitcode code)
{
	return vm_run(c->vm, &c->run[0]) == 0 && c->run[0].vm_exit.exitcode == code;
}

/* jmp 0x28:0 */
static bool exits_for_tasks(const struct vmm_ops *ops)
{
	struct contract *c = with_task(ops, "\xea\x00\x00\x00\x00\x28\x00", 7);

	return c && leaves_with(c, VM_EXITCODE_TASK_SWITCH);
}

/* An NMI in jmp $ */
static bool exits_for_task_gates(const struct vmm_ops *ops)
{
	struct contract *c = with_task(ops, "\xeb\xfe", 2);

	return c && vm_inject_nmi(c->vm, 0) == 0 && leaves_with(c, VM_EXITCODE_TASK_SWITCH);
}

/* ... or comes to the OUT of the other task. */
static bool goes_through_task_gates(const struct vmm_ops *ops)
{
	struct contract *c = with_task(ops, "\xeb\xfe", 2);

	return c && vm_inject_nmi(c->vm, 0) == 0 && vm_run(c->vm, &c->run[0]) == 0 &&
	       (c->run[0].vm_exit.exitcode == VM_EXITCODE_TASK_SWITCH ||
		       c->run[0].vm_exit.rip == CODE + 0x100);
}

/* mov ecx, 1000000; dec ecx; jnz: hardware and translators need a millisecond or so */
static bool is_quick(const struct vmm_ops *ops)
{
	struct timespec from, to;
	struct contract *c;
	void *state;

	if (contract_setup(ops, &state) != 0)
		return false;
	c = state;
	GUEST(protected_mode, c, 0, "\xb9\x40\x42\x0f\x00\x49\x75\xfd\xe7\xe9");
	clock_gettime(CLOCK_MONOTONIC, &from);
	run_to_out(c, 0);
	clock_gettime(CLOCK_MONOTONIC, &to);
	return (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1000000 < 150;
}

/* Is a leaf beyond all basic ones answered with anything? */
static bool clamps_leaves(const struct vmm_ops *ops)
{
	struct contract *c;
	uint32_t regs[4];
	void *state;

	if (contract_setup(ops, &state) != 0)
		return false;
	c = state;
	service(c, 0);
	guest_cpuid(c, 0, 0x3fffffff, 0, regs);
	return (regs[0] | regs[1] | regs[2] | regs[3]) != 0;
}

/* Does SYSCALL's target have to be a canonical address? */
static bool checks_addresses(const struct vmm_ops *ops)
{
	struct contract *c;
	void *state;

	if (contract_setup(ops, &state) != 0)
		return false;
	c = state;
	service(c, 0);
	return guest_wrmsr(c, 0, 0xc0000082, 1ull << 62) == 13;
}

/* Does the size of XSAVE's area, which the hypervisor keeps, move with XSETBV? */
static bool tells_of_xsetbv(const struct vmm_ops *ops)
{
	struct contract *c;
	uint32_t before[4], after[4];
	void *state;

	if (contract_setup(ops, &state) != 0)
		return false;
	c = state;
	service(c, 0);
	set_reg(c, 0, VM_REG_GUEST_CR4, CR4_PAE | 1u << 18);
	guest_cpuid(c, 0, 0xd, 0, before);
	set_reg(c, 0, VM_REG_GUEST_RAX, before[0]);
	set_reg(c, 0, VM_REG_GUEST_RCX, 0);
	set_reg(c, 0, VM_REG_GUEST_RDX, 0);
	if (EXECUTE(c, 0, "\x0f\x01\xd1") >= 0)
		return false;
	guest_cpuid(c, 0, 0xd, 0, after);
	return before[2] == before[1] || after[1] != before[1];
}

/* ---- The table ---- */

#define INTERPRETER                                                                                \
	"the hypervisor below interprets supervisor code, a thousand times slower, and lets this " \
	"pass"
#define NOT_CANONICAL "the processor below takes bases that are no canonical addresses"
#define TASK_GATES    "the backend goes through task gates itself, or cannot"

struct skip {
	const char *pattern; /* as the shell matches file names */
	bool (*needs)(const struct vmm_ops *ops);
	const char *reason;
};

/* What a backend need not have. */
static const struct skip skips[] = {
	{"*_mtrap_*", steps,
		"the backend cannot single-step a guest (VM_CAP_MTRAP_EXIT is ENOENT)"},
	{"c7_5_mov_ss_shadow", steps,
		"the backend cannot single-step a guest (VM_CAP_MTRAP_EXIT is ENOENT)"},
	{"*_pause_exit*", exits_by_pause,
		"the backend has no exit for PAUSE (VM_CAP_PAUSE_EXIT is ENOENT)"},
	{"c6_2_task_switch_*", exits_for_tasks, "the backend switches tasks itself"},
	{"c12_8_new_task_with_*", exits_for_tasks, "the backend switches tasks itself"},
	{"c6_2_task_switch_external", exits_for_task_gates, TASK_GATES},
	{"c6_2_task_switch_exit_ud", exits_for_task_gates, TASK_GATES},
	{"c6_2_task_switch_exit_gp_*", exits_for_task_gates, TASK_GATES},
	{"c6_2_task_switch_exit_interrupt", exits_for_task_gates, TASK_GATES},
	{"c12_8_an_error_code_*", goes_through_task_gates, TASK_GATES},
	{"c12_8_delivery_*", goes_through_task_gates, TASK_GATES},
	{"c6_7_yield_does_not_disturb_the_guest", is_quick,
		"the backend interprets: the guest's loop would take minutes"},
	{"*_run32_*", pages_in_32_bits, "a guest cannot enter 32-bit paging here"},
	{"*_runpae_*", pages_with_pae, "a guest cannot enter PAE paging here"},
	{"*_smep*", offers_smep, "CPUID offers no SMEP"},
	{"*_smap*", offers_smap, "CPUID offers no SMAP"},
	{"*_1g_*", offers_gigabyte_pages, "CPUID offers no pages of 1 GiB"},
	{"*_la57_*", offers_la57, "CPUID offers no LA57"},
	{"*_invpcid_runs", offers_invpcid, "CPUID offers no INVPCID"},
	{"*_deadline_*", offers_tsc_deadline, "CPUID offers no TSC deadline"},
	{"*_avx_*", offers_avx, "CPUID offers no AVX"},
	{"*_iopl3_*", honours_iopl, "a guest at CPL 3 cannot use ports whatever its IOPL"},
};

/*
 * Shortcomings of what lies below: a hypervisor, an emulated processor.  The software CPU has
 * nothing below it and is excused of none.
 */
static const struct skip excuses[] = {
	{"c11_1_pat_type_*", is_quick, INTERPRETER},
	{"c11_1_lstar_must_be_canonical", checks_addresses, NOT_CANONICAL},
	{"c11_1_fs_base", checks_addresses, NOT_CANONICAL},
	{"c11_1_gs_base", checks_addresses, NOT_CANONICAL},
	{"c11_1_kernel_gs_base", checks_addresses, NOT_CANONICAL},
	{"c11_2_d_size_follows_xcr0", tells_of_xsetbv,
		"the processor below does not tell the hypervisor of XSETBV"},
	{"c11_1_tsc_can_be_written", is_quick, INTERPRETER},
	{"c11_3_cr?_upper_half_is_gp", is_quick, INTERPRETER},
	{"c11_2_leaves_are_clamped", clamps_leaves,
		"CPUID is the hypervisor's below, which clamps no leaf"},
	{"c11_2_4fffffff_is_clamped", clamps_leaves,
		"CPUID is the hypervisor's below, which clamps no leaf"},
};

/* A property is tried out once. */
static bool ask(bool (*has)(const struct vmm_ops *ops), const struct vmm_ops *ops)
{
	static struct answer {
		bool (*has)(const struct vmm_ops *ops);
		const struct vmm_ops *ops;
		bool is_so;
	} answers[64];
	size_t i = 0;

	while (answers[i].has && (answers[i].has != has || answers[i].ops != ops))
		i++;
	if (!answers[i].has)
		answers[i] = (struct answer){has, ops, contract_probe(has, ops)};
	return answers[i].is_so;
}

static const char *find(
	const struct skip *table, size_t n, const struct vmm_ops *ops, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (fnmatch(table[i].pattern, name, 0) == 0 && !ask(table[i].needs, ops))
			return table[i].reason;
	return NULL;
}

const char *contract_skip(const struct vmm_ops *ops, const char *name)
{
	const char *why = find(skips, sizeof(skips) / sizeof(skips[0]), ops, name);

	if (why || ops == &vmm_ops_soft)
		return why;
	return find(excuses, sizeof(excuses) / sizeof(excuses[0]), ops, name);
}
