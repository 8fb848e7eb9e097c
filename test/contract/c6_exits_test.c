/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* vmm-api.md 6.1 to 6.3: the exits that real instructions make, and how the user finishes them. */
#include <vmm/pc.h>

#include "test/contract/contract.h"

/* ---- 6.2 INOUT ---- */

/* mov eax, 0x12345678; out 0x10, al; out 0x10, eax; mov dx, 0x1234; out dx, ax */
static void c6_2_inout_out(void **state)
{
	struct contract *c = *state;
	struct vm_exit *exit;

	GUEST(protected_mode, c, 0, "\xb8\x78\x56\x34\x12\xe6\x10\xe7\x10\x66\xba\x34\x12\x66\xef");
	exit = run_to(c, 0, VM_EXITCODE_INOUT);
	assert_int_equal(exit->rip, CODE + 5);
	assert_int_equal(exit->inst_length, 2);
	assert_int_equal(exit->u.inout.bytes, 1);
	assert_int_equal(exit->u.inout.in, 0);
	assert_int_equal(exit->u.inout.string, 0);
	assert_int_equal(exit->u.inout.rep, 0);
	assert_int_equal(exit->u.inout.port, 0x10);
	assert_int_equal(exit->u.inout.eax, 0x12345678);
	assert_int_equal(run_to(c, 0, VM_EXITCODE_INOUT)->u.inout.bytes, 4);
	exit = run_to(c, 0, VM_EXITCODE_INOUT);
	assert_int_equal(exit->u.inout.bytes, 2);
	assert_int_equal(exit->u.inout.port, 0x1234);
	assert_int_equal(exit->inst_length, 2);
}

static int give(
	struct vm *vm, int vcpu, bool in, uint16_t port, int bytes, uint32_t *eax, void *arg)
{
	(void)vm;
	(void)vcpu;
	(void)port;
	(void)bytes;
	if (in)
		*eax = (*(uint32_t *)arg)++;
	return 0;
}

/* in al, 0x10; out 0xe9, eax; in eax, 0x10; out 0xe9, eax */
static void c6_2_inout_in(void **state)
{
	struct contract *c = *state;
	uint32_t value = 0xaabbccdd;
	struct vm_exit *exit;

	GUEST(protected_mode, c, 0, "\xe4\x10\xe7\xe9\xe5\x10\xe7\xe9");
	set_reg(c, 0, VM_REG_GUEST_RAX, 0x11223344);
	exit = run_to(c, 0, VM_EXITCODE_INOUT);
	assert_int_equal(exit->u.inout.in, 1);
	assert_int_equal(vm_emulate_inout(c->vm, 0, exit, give, &value), 0);
	assert_int_equal(run_to_out(c, 0), 0x112233dd);
	exit = run_to(c, 0, VM_EXITCODE_INOUT);
	assert_int_equal(vm_emulate_inout(c->vm, 0, exit, give, &value), 0);
	assert_int_equal(run_to_out(c, 0), 0xaabbccde);
}

/* Ports of the chips do not reach the user: PIC mask through 0x21. */
static void c6_2_inout_of_chips_stays_inside(void **state)
{
	struct contract *c = *state;

	GUEST(real_mode, c, 0, "\xb0\x5a\xe6\x21\xb0\x00\xe4\x21\xe6\xe9");
	assert_int_equal(run_to_out(c, 0) & 0xff, 0x5a);
}

/* ---- INOUT_STR ---- */

struct sink {
	char text[64];
	unsigned n;
};

static int take(
	struct vm *vm, int vcpu, bool in, uint16_t port, int bytes, uint32_t *eax, void *arg)
{
	struct sink *sink = arg;

	(void)vm;
	(void)vcpu;
	(void)port;
	(void)bytes;
	if (in)
		*eax = 'a' + sink->n;
	else
		sink->text[sink->n] = (char)*eax;
	sink->n++;
	return 0;
}

/* mov dx, 0x1f0; mov si, 0x3000; mov cx, 20; rep outsb; out 0xe9, al */
static void c6_2_inout_str_rep_outs(void **state)
{
	struct contract *c = *state;
	struct sink sink = {.n = 0};
	struct vm_exit *exit;

	memcpy(c->ram + 0x3000, "the quick brown fox j", 21);
	GUEST(real_mode, c, 0, "\xba\xf0\x01\xbe\x00\x30\xb9\x14\x00\xf3\x6e\xe6\xe9");
	exit = run_to(c, 0, VM_EXITCODE_INOUT_STR);
	assert_int_equal(exit->u.inout.string, 1);
	assert_int_equal(exit->u.inout.rep, 1);
	assert_int_equal(exit->u.inout.in, 0);
	assert_int_equal(exit->u.inout.bytes, 1);
	assert_int_equal(exit->u.inout.port, 0x1f0);
	assert_int_equal(exit->inst_length, 2);
	assert_int_equal(exit->u.inout_str.count, 20);
	assert_int_equal(exit->u.inout_str.index, 0x3000);
	assert_int_equal(exit->u.inout_str.addrsize, 2);
	assert_int_equal(exit->u.inout_str.seg_name, VM_REG_GUEST_DS);
	assert_int_equal(exit->u.inout_str.seg_desc.limit, 0xffff);
	assert_int_equal(exit->u.inout_str.paging.cpu_mode, CPU_MODE_REAL);
	assert_int_equal(vm_emulate_inout_str(c->vm, 0, exit, take, &sink), 0);
	assert_int_equal(exit->inst_length, 0); /* 16 of 20 */
	exit = run_to(c, 0, VM_EXITCODE_INOUT_STR);
	assert_int_equal(exit->u.inout_str.count, 4);
	assert_int_equal(vm_emulate_inout_str(c->vm, 0, exit, take, &sink), 0);
	run_to_out(c, 0);
	assert_int_equal(sink.n, 20);
	assert_string_equal(sink.text, "the quick brown fox ");
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RCX) & 0xffff, 0);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RSI) & 0xffff, 0x3014);
}

/* mov edx, 0x1f0; mov edi, 0x3000; insb; fs outsb in 32-bit code */
static void c6_2_inout_str_single_and_override(void **state)
{
	struct contract *c = *state;
	struct sink sink = {.n = 0};
	struct vm_exit *exit;

	GUEST(protected_mode, c, 0, "\xba\xf0\x01\x00\x00\xbf\x00\x30\x00\x00\x6c\x64\x6e\xe6\xe9");
	exit = run_to(c, 0, VM_EXITCODE_INOUT_STR);
	assert_int_equal(exit->u.inout.in, 1);
	assert_int_equal(exit->u.inout.rep, 0);
	assert_int_equal(exit->u.inout_str.count, 1);
	assert_int_equal(exit->u.inout_str.index, 0x3000);
	assert_int_equal(exit->u.inout_str.addrsize, 4);
	assert_int_equal(exit->u.inout_str.seg_name, VM_REG_GUEST_ES);
	assert_int_equal(vm_emulate_inout_str(c->vm, 0, exit, take, &sink), 0);
	assert_int_equal(c->ram[0x3000], 'a');
	exit = run_to(c, 0, VM_EXITCODE_INOUT_STR);
	assert_int_equal(exit->u.inout_str.seg_name, VM_REG_GUEST_FS);
	assert_int_equal(exit->inst_length, 2);
	assert_int_equal(vm_emulate_inout_str(c->vm, 0, exit, take, &sink), 0);
	run_to_out(c, 0);
}

/* mov ecx, 0; rep outsb does nothing at all */
static void c6_2_inout_str_count_zero(void **state)
{
	struct contract *c = *state;
	struct sink sink = {.n = 0};
	struct vm_exit *exit;

	GUEST(protected_mode, c, 0, "\xb9\x00\x00\x00\x00\xf3\x6e\xe6\xe9");
	step_over(c, 0);
	assert_int_equal(vm_run(c->vm, &c->run[0]), 0);
	exit = &c->run[0].vm_exit;
	if (exit->exitcode == VM_EXITCODE_INOUT_STR) { /* a backend may leave it to the user */
		assert_int_equal(vm_emulate_inout_str(c->vm, 0, exit, take, &sink), 0);
		run_to_out(c, 0);
	}
	assert_int_equal(sink.n, 0);
}

/* ---- MSRs ---- */

/* mov ecx, 0x12345; rdmsr; add eax, edx; out 0xe9, eax */
static void c6_2_rdmsr(void **state)
{
	struct contract *c = *state;
	struct vm_exit *exit;

	GUEST(protected_mode, c, 0, "\xb9\x45\x23\x01\x00\x0f\x32\x01\xd0\xe7\xe9");
	exit = run_to(c, 0, VM_EXITCODE_RDMSR);
	assert_int_equal(exit->u.msr.code, 0x12345);
	assert_int_equal(exit->rip, CODE + 5);
	assert_int_equal(exit->inst_length, 2);
	set_reg(c, 0, VM_REG_GUEST_RAX, 0x1000);
	set_reg(c, 0, VM_REG_GUEST_RDX, 0x234);
	assert_int_equal(run_to_out(c, 0), 0x1234);
}

/* mov ecx, 0x12345; mov eax, 0x55667788; mov edx, 0x11223344; wrmsr; out 0xe9, al */
static void c6_2_wrmsr(void **state)
{
	struct contract *c = *state;
	struct vm_exit *exit;

	GUEST(protected_mode, c, 0,
		"\xb9\x45\x23\x01\x00\xb8\x88\x77\x66\x55\xba\x44\x33\x22\x11"
		"\x0f\x30\xe6\xe9");
	exit = run_to(c, 0, VM_EXITCODE_WRMSR);
	assert_int_equal(exit->u.msr.code, 0x12345);
	assert_int_equal(exit->u.msr.wval, 0x1122334455667788);
	assert_int_equal(exit->inst_length, 2);
	run_to_out(c, 0);
}

/* The user refuses: #GP(0), and the instruction restarts behind the handler. */
static void c6_2_refused_msr_faults(void **state)
{
	struct contract *c = *state;

	set_ivt(c, 13, 0x1100);
	PLACE(c, 0x1100, "\x58\xe7\xe9"); /* pop ax; out 0xe9, ax: the return IP */
	GUEST(real_mode, c, 0, "\x66\xb9\x45\x23\x01\x00\x0f\x32");
	run_to(c, 0, VM_EXITCODE_RDMSR);
	vm_inject_gp(c->vm, 0);
	c->run[0].vm_exit.inst_length = vm_exitinfo(c->vm, 0)->inst_length;
	assert_int_equal(run_to_out(c, 0) & 0xffff, CODE + 6);
}

/* The APIC's and the table's MSRs never get to the user: mov ecx, 0x1b; rdmsr */
static void c6_2_known_msrs_stay_inside(void **state)
{
	struct contract *c = *state;

	GUEST(protected_mode, c, 0,
		"\xb9\x1b\x00\x00\x00\x0f\x32\xe7\xe9"
		"\xb9\x8b\x00\x00\x00\x0f\x32\xe7\xe9");
	assert_int_equal(run_to_out(c, 0), 0xfee00900);
	assert_int_equal(run_to_out(c, 0), 0);
}

/* ---- MTRAP, PAUSE ---- */

static void c6_2_mtrap_after_every_instruction(void **state)
{
	struct contract *c = *state;
	struct vm_exit *exit;

	GUEST(real_mode, c, 0, "\x90\x40\xb8\x34\x12"); /* nop; inc ax; mov ax, 0x1234 */
	assert_int_equal(vm_set_capability(c->vm, 0, VM_CAP_MTRAP_EXIT, 1), 0);
	exit = run_to(c, 0, VM_EXITCODE_MTRAP);
	assert_int_equal(exit->rip + (uint64_t)exit->inst_length, CODE + 1);
	exit = run_to(c, 0, VM_EXITCODE_MTRAP);
	assert_int_equal(exit->rip + (uint64_t)exit->inst_length, CODE + 2);
	exit = run_to(c, 0, VM_EXITCODE_MTRAP);
	assert_int_equal(exit->rip + (uint64_t)exit->inst_length, CODE + 5);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RAX) & 0xffff, 0x1234);
}

static void c6_2_pause_exit(void **state)
{
	struct contract *c = *state;
	struct vm_exit *exit;

	GUEST(real_mode, c, 0, "\xf3\x90\xe6\xe9");
	assert_int_equal(vm_set_capability(c->vm, 0, VM_CAP_PAUSE_EXIT, 1), 0);
	exit = run_to(c, 0, VM_EXITCODE_PAUSE);
	assert_int_equal(exit->rip, CODE);
	assert_int_equal(exit->inst_length, 2);
	run_to_out(c, 0);
}

static void c6_2_pause_without_capability(void **state)
{
	struct contract *c = *state;

	GUEST(real_mode, c, 0, "\xf3\x90\xe6\xe9");
	run_to_out(c, 0);
}

/* ---- INST_EMUL ---- */

static int device_read(struct vm *vm, int vcpu, uint64_t gpa, uint64_t *value, int size, void *arg)
{
	(void)vm;
	(void)vcpu;
	*(uint64_t *)arg = gpa;
	*value = 0x1122334455667788 & (size == 8 ? UINT64_MAX : (1ull << size * 8) - 1);
	return 0;
}

static int device_write(struct vm *vm, int vcpu, uint64_t gpa, uint64_t value, int size, void *arg)
{
	(void)vm;
	(void)vcpu;
	(void)gpa;
	(void)size;
	*(uint64_t *)arg = value;
	return 0;
}

/* mov ebx, 0xd0000000; mov eax, [ebx+8]; out 0xe9, eax */
static void c6_2_inst_emul_read(void **state)
{
	struct contract *c = *state;
	struct vm_exit *exit;
	uint64_t seen = 0;

	GUEST(protected_mode, c, 0, "\xbb\x00\x00\x00\xd0\x8b\x43\x08\xe7\xe9");
	exit = run_to(c, 0, VM_EXITCODE_INST_EMUL);
	assert_int_equal(exit->u.inst_emul.gpa, 0xd0000008);
	if (exit->u.inst_emul.gla != 1ull << 63)
		assert_int_equal(exit->u.inst_emul.gla, 0xd0000008);
	assert_int_equal(exit->u.inst_emul.cs_d, 1);
	assert_int_equal(exit->u.inst_emul.paging.cpu_mode, CPU_MODE_PROTECTED);
	assert_int_equal(exit->u.inst_emul.paging.paging_mode, PAGING_MODE_FLAT);
	assert_int_equal(exit->rip, CODE + 5);
	assert_int_equal(exit->inst_length, 3);
	assert_int_equal(
		vm_emulate_instruction(c->vm, 0, exit, device_read, device_write, &seen), 0);
	assert_int_equal(seen, 0xd0000008);
	assert_int_equal(exit->rip + (uint64_t)exit->inst_length, CODE + 8);
	assert_int_equal(run_to_out(c, 0), 0x55667788);
}

static void c6_2_inst_emul_carries_the_instruction(void **state)
{
	struct contract *c = *state;
	const struct vie *vie;

	GUEST(protected_mode, c, 0, "\xbb\x00\x00\x00\xd0\x8b\x43\x08");
	vie = &run_to(c, 0, VM_EXITCODE_INST_EMUL)->u.inst_emul.vie;
	assert_int_equal(vie->decoded, 1);
	assert_int_equal(vie->num_valid, 3);
	assert_memory_equal(vie->inst, "\x8b\x43\x08", 3);
	assert_int_equal(vie->op.op_byte, 0x8b);
	assert_int_equal(vie->base_register, VM_REG_GUEST_RBX);
	assert_int_equal(vie->displacement, 8);
}

/* mov rbx, 0xd0000000; add qword [rbx], rax in 64-bit code: one read, one write, flags */
static void c6_2_inst_emul_any_instruction(void **state)
{
	struct contract *c = *state;
	struct vm_exit *exit;
	uint64_t seen = 0;

	GUEST(long_mode, c, 0, "\xbb\x00\x00\x00\xd0\xb8\x01\x00\x00\x00\x48\x01\x03\xe6\xe9");
	exit = run_to(c, 0, VM_EXITCODE_INST_EMUL);
	assert_int_equal(exit->u.inst_emul.paging.cpu_mode, CPU_MODE_64BIT);
	assert_int_equal(exit->u.inst_emul.paging.paging_mode, PAGING_MODE_64);
	assert_int_equal(
		vm_emulate_instruction(c->vm, 0, exit, device_read, device_write, &seen), 0);
	assert_int_equal(seen, 0x1122334455667789);
	run_to_out(c, 0);
}

/* mov eax, [0xfee00030]; out; mov eax, [0xfec00000]; out: chips are served inside */
static void c6_2_inst_emul_of_chips_stays_inside(void **state)
{
	struct contract *c = *state;

	GUEST(protected_mode, c, 0,
		"\xa1\x30\x00\xe0\xfe\xe7\xe9\xa1\x00\x00\xc0\xfe\xe7\xe9"
		"\xa1\x04\x00\xd0\xfe\xe7\xe9");
	assert_int_equal(run_to_out(c, 0) & 0xff00ff, 0x060010);
	assert_int_equal(run_to_out(c, 0), 0);	       /* IOREGSEL */
	assert_int_equal(run_to_out(c, 0), 100000000); /* HPET period in fs */
}

/* A payload that lies in the same union: ICR write by MMIO turns into SPINUP_AP (see c5.4). */

/* ---- TASK_SWITCH ---- */

#define GDT 0x800u
#define TSS 0x5000u

static void write_tss(struct contract *c, uint32_t gpa, uint32_t eip, uint32_t eax)
{
	static const uint32_t sels[] = {0x10, 0x18, 0x10, 0x10, 0x10, 0x10}; /* ES CS SS DS FS GS */
	uint32_t tss[26] = {0};

	tss[8] = eip;
	tss[9] = 2;
	tss[10] = eax;
	tss[14] = 0x7000;
	memcpy(&tss[18], sels, sizeof(sels));
	memcpy(c->ram + gpa, tss, sizeof(tss));
}

static void tss_descriptor(struct contract *c, unsigned sel, uint32_t base, uint8_t type)
{
	uint64_t d = 103 | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)type << 40;

	memcpy(c->ram + GDT + sel, &d, sizeof(d));
}

/* Tasks at selectors 0x20 (current) and 0x28. */
static void two_tasks(struct contract *c)
{
	struct seg_desc gdtr = {GDT, 0x2f, 0}, tr = {TSS, 103, 0x8b};

	tss_descriptor(c, 0x20, TSS, 0x8b);
	tss_descriptor(c, 0x28, TSS + 0x100, 0x89);
	write_tss(c, TSS + 0x100, 0x1200, 0xbeef);
	PLACE(c, 0x1200, "\xe7\xe9");
	assert_int_equal(vm_set_seg_desc(c->vm, 0, VM_REG_GUEST_GDTR, &gdtr), 0);
	assert_int_equal(vm_set_seg_desc(c->vm, 0, VM_REG_GUEST_TR, &tr), 0);
	set_reg(c, 0, VM_REG_GUEST_TR, 0x20);
}

/* jmp 0x28:0 */
static void c6_2_task_switch_jmp(void **state)
{
	struct contract *c = *state;
	struct vm_exit *exit;
	uint32_t saved;

	GUEST(protected_mode, c, 0, "\xea\x00\x00\x00\x00\x28\x00");
	two_tasks(c);
	exit = run_to(c, 0, VM_EXITCODE_TASK_SWITCH);
	assert_int_equal(exit->u.task_switch.tsssel, 0x28);
	assert_int_equal(exit->u.task_switch.reason, TSR_JMP);
	assert_int_equal(exit->u.task_switch.ext, 0);
	assert_int_equal(exit->u.task_switch.errcode_valid, 0);
	assert_int_equal(exit->u.task_switch.paging.cpu_mode, CPU_MODE_PROTECTED);
	assert_int_equal(exit->inst_length, 7);
	assert_int_equal(vm_emulate_task_switch(c->vm, 0, exit), 0);
	assert_int_equal(exit->rip, 0x1200);
	assert_int_equal(exit->inst_length, 0);
	assert_int_equal(run_to_out(c, 0), 0xbeef);
	memcpy(&saved, c->ram + TSS + 32, 4);
	assert_int_equal(saved, CODE + 7);
}

/* int 0x30 through a task gate */
static void c6_2_task_switch_idt_gate(void **state)
{
	struct contract *c = *state;
	struct seg_desc idtr = {0x6000, 0x1ff, 0};
	struct vm_exit *exit;
	uint64_t gate = (uint64_t)0x28 << 16 | (uint64_t)0x85 << 40;

	GUEST(protected_mode, c, 0, "\xcd\x30");
	two_tasks(c);
	memcpy(c->ram + 0x6000 + 0x30 * 8, &gate, 8);
	assert_int_equal(vm_set_seg_desc(c->vm, 0, VM_REG_GUEST_IDTR, &idtr), 0);
	exit = run_to(c, 0, VM_EXITCODE_TASK_SWITCH);
	assert_int_equal(exit->u.task_switch.reason, TSR_IDT_GATE);
	assert_int_equal(exit->u.task_switch.ext, 0);
	assert_int_equal(exit->inst_length, 2);
	assert_int_equal(vm_emulate_task_switch(c->vm, 0, exit), 0);
	assert_int_equal(run_to_out(c, 0), 0xbeef);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RFLAGS) & 0x4000, 0x4000); /* NT */
}

/* An NMI through a task gate: external, length 0, and the event counts as delivered. */
static void c6_2_task_switch_external(void **state)
{
	struct contract *c = *state;
	struct seg_desc idtr = {0x6000, 0x1ff, 0};
	uint64_t gate = (uint64_t)0x28 << 16 | (uint64_t)0x85 << 40, info1, info2;
	struct vm_exit *exit;

	GUEST(protected_mode, c, 0, "\xeb\xfe");
	two_tasks(c);
	memcpy(c->ram + 0x6000 + 2 * 8, &gate, 8);
	assert_int_equal(vm_set_seg_desc(c->vm, 0, VM_REG_GUEST_IDTR, &idtr), 0);
	assert_int_equal(vm_inject_nmi(c->vm, 0), 0);
	exit = run_to(c, 0, VM_EXITCODE_TASK_SWITCH);
	assert_int_equal(exit->u.task_switch.ext, 1);
	assert_int_equal(exit->u.task_switch.reason, TSR_IDT_GATE);
	assert_int_equal(exit->inst_length, 0);
	assert_int_equal(vm_emulate_task_switch(c->vm, 0, exit), 0);
	assert_int_equal(vm_get_intinfo(c->vm, 0, &info1, &info2), 0);
	assert_int_equal(info1, 0);
	assert_int_equal(run_to_out(c, 0), 0xbeef);
}

/* ---- 6.1 ---- */

/* The guest goes on where the caller says, not where it was. */
static void c6_1_rip_is_the_callers(void **state)
{
	struct contract *c = *state;

	GUEST(real_mode, c, 0, "\xe6\xe9\xe6\xe9\xb0\x33\xe6\xe9");
	run_to_out(c, 0);
	c->run[0].vm_exit.rip = CODE + 4;
	assert_int_equal(run_to_out(c, 0) & 0xff, 0x33);
}

/* An exit that is not completed happens again. */
static void c6_1_restart(void **state)
{
	struct contract *c = *state;

	GUEST(real_mode, c, 0, "\xe6\x10");
	for (int i = 0; i < 3; i++) {
		assert_int_equal(run_to(c, 0, VM_EXITCODE_INOUT)->rip, CODE);
		c->run[0].vm_exit.inst_length = 0;
	}
}

/* ---- 6.3: first touch of every page of RAM is no business of the caller's ---- */

/* mov edi, 0x10000; mov ecx, 0x78000; mov eax, 0x5a5a5a5a; rep stosd; out 0xe9, al */
static void c6_3_ram_appears_on_touch(void **state)
{
	struct contract *c = *state;

	GUEST(protected_mode, c, 0,
		"\xbf\x00\x00\x01\x00\xb9\x00\x80\x07\x00\xb8\x5a\x5a\x5a\x5a"
		"\xf3\xab\xe6\xe9");
	assert_int_equal(run_to_out(c, 0) & 0xff, 0x5a);
	assert_int_equal(c->ram[0x10000], 0x5a);
	assert_int_equal(c->ram[RAM_SIZE - 0x10001], 0x5a);
}

int main(void)
{
	static const struct behaviour tests[] = {
		CONTRACT(c6_1_rip_is_the_callers),
		CONTRACT(c6_1_restart),
		CONTRACT(c6_2_inout_out),
		CONTRACT(c6_2_inout_in),
		CONTRACT(c6_2_inout_of_chips_stays_inside),
		CONTRACT(c6_2_inout_str_rep_outs),
		CONTRACT(c6_2_inout_str_single_and_override),
		CONTRACT(c6_2_inout_str_count_zero),
		CONTRACT(c6_2_rdmsr),
		CONTRACT(c6_2_wrmsr),
		CONTRACT(c6_2_refused_msr_faults),
		CONTRACT(c6_2_known_msrs_stay_inside),
		CONTRACT(c6_2_mtrap_after_every_instruction),
		CONTRACT(c6_2_pause_exit),
		CONTRACT(c6_2_pause_without_capability),
		CONTRACT(c6_2_inst_emul_read),
		CONTRACT(c6_2_inst_emul_carries_the_instruction),
		CONTRACT(c6_2_inst_emul_any_instruction),
		CONTRACT(c6_2_inst_emul_of_chips_stays_inside),
		CONTRACT(c6_2_task_switch_jmp),
		CONTRACT(c6_2_task_switch_idt_gate),
		CONTRACT(c6_2_task_switch_external),
		CONTRACT(c6_3_ram_appears_on_touch),
	};

	return contract_run("c6 exits", tests, sizeof(tests) / sizeof(tests[0]));
}
