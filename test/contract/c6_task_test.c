/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* vmm-api.md 6.2 and 12.8: hardware task switches, the exit and what finishing it does. */
#include "test/contract/contract.h"

#define GDT    0x800u
#define IDT    0x6000u
#define OLD    0x5000u /* the TSS of the task that runs, selector 20 */
#define NEW    0x5100u /* selector 28 */
#define LDT    0x5200u /* selector 50 */
#define TASK   0x1200u /* where the new task starts */
#define NT     0x4000u
#define BUSY32 0x8b
#define FREE32 0x89

/* Offsets in a TSS of 32 bits (SDM vol. 3, figure 7-2). */
enum { LINK = 0, CR3 = 28, EIP = 32, EFLAGS = 36, EAX = 40, ESP = 56, SELECTORS = 72, LDTR = 96 };

static void put32(struct contract *c, uint32_t gpa, uint32_t value)
{
	memcpy(c->ram + gpa, &value, 4);
}

static uint32_t get32(struct contract *c, uint32_t gpa)
{
	uint32_t value;

	memcpy(&value, c->ram + gpa, 4);
	return value;
}

static void descriptor(
	struct contract *c, unsigned sel, uint32_t base, uint32_t limit, uint8_t access)
{
	uint64_t d = limit | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)access << 40;

	memcpy(c->ram + GDT + (sel & ~7u), &d, sizeof(d));
}

static uint8_t access_of(struct contract *c, unsigned sel)
{
	return c->ram[GDT + sel + 5];
}

static void write_task(struct contract *c, uint32_t tss)
{
	static const uint32_t selectors[] = {0x10, 0x18, 0x10, 0x10, 0x10, 0x10};

	memset(c->ram + tss, 0, 0x68);
	put32(c, tss + EIP, TASK);
	put32(c, tss + EFLAGS, 2);
	put32(c, tss + EAX, 0xbeef);
	put32(c, tss + ESP, 0x7000);
	memcpy(c->ram + tss + SELECTORS, selectors, sizeof(selectors));
}

/* Code at CODE in a task; another task waits, which reports its EAX. */
static void two_tasks(struct contract *c, const char *code, size_t n)
{
	struct seg_desc gdtr = {GDT, 0x57, 0}, idtr = {IDT, 0x1ff, 0}, tr = {OLD, 103, BUSY32};

	protected_mode(c, 0, code, n);
	descriptor(c, 0x20, OLD, 103, BUSY32);
	descriptor(c, 0x28, NEW, 103, FREE32);
	descriptor(c, 0x50, LDT, 15, 0x82);
	write_task(c, NEW);
	PLACE(c, TASK, "\xe7\xe9"); /* out 0xe9, eax */
	assert_int_equal(vm_set_seg_desc(c->vm, 0, VM_REG_GUEST_GDTR, &gdtr), 0);
	assert_int_equal(vm_set_seg_desc(c->vm, 0, VM_REG_GUEST_IDTR, &idtr), 0);
	assert_int_equal(vm_set_seg_desc(c->vm, 0, VM_REG_GUEST_TR, &tr), 0);
	set_reg(c, 0, VM_REG_GUEST_TR, 0x20);
}
#define TASKS(c, bytes) two_tasks(c, bytes, sizeof(bytes) - 1)

static void task_gate(struct contract *c, unsigned vector, uint16_t sel)
{
	uint64_t gate = (uint64_t)sel << 16 | (uint64_t)0x85 << 40;

	memcpy(c->ram + IDT + vector * 8, &gate, 8);
}

static struct vm_exit *switch_exit(struct contract *c)
{
	return run_to(c, 0, VM_EXITCODE_TASK_SWITCH);
}

#define JMP  "\xea\x00\x00\x00\x00\x28\x00"
#define CALL "\x9a\x00\x00\x00\x00\x28\x00"

/* ---- The exit ---- */

struct reason_row {
	const char *name;
	const char *code;
	size_t n;
	int gate; /* the vector of a task gate; -1: none */
	enum task_switch_reason reason;
	int length, ext, errcode_valid;
	uint32_t errcode;
};

#define CODE_(bytes) bytes, sizeof(bytes) - 1
static const struct reason_row reasons[] = {
	{"c6_2_task_switch_exit_jmp", CODE_(JMP), -1, TSR_JMP, 7, 0, 0, 0},
	{"c6_2_task_switch_exit_call", CODE_(CALL), -1, TSR_CALL, 7, 0, 0, 0},
	{"c6_2_task_switch_exit_call_indirect", CODE_("\xff\x1d\x00\x19\x00\x00"), -1, TSR_CALL, 6,
		0, 0, 0},
	{"c6_2_task_switch_exit_jmp_through_a_gate", CODE_("\xea\x00\x00\x00\x00\x48\x00"), -1,
		TSR_JMP, 7, 0, 0, 0},
	{"c6_2_task_switch_exit_int_n", CODE_("\xcd\x30"), 0x30, TSR_IDT_GATE, 2, 0, 0, 0},
	{"c6_2_task_switch_exit_int3", CODE_("\xcc"), 3, TSR_IDT_GATE, 1, 0, 0, 0},
	{"c6_2_task_switch_exit_into", CODE_("\xb0\x7f\x04\x01\xce"), 4, TSR_IDT_GATE, 1, 0, 0, 0},
	{"c6_2_task_switch_exit_ud", CODE_("\x0f\x0b"), 6, TSR_IDT_GATE, 0, 1, 0, 0},
	{"c6_2_task_switch_exit_gp_has_its_code", CODE_("\xb8\x34\x12\x00\x00\x8e\xd8"), 13,
		TSR_IDT_GATE, 0, 1, 1, 0x1234},
};

static void reason(void **state)
{
	struct contract *c = *state;
	const struct reason_row *row = c->row;
	uint64_t gate = (uint64_t)0x28 << 16 | (uint64_t)0x85 << 40;
	struct vm_exit *exit;

	two_tasks(c, row->code, row->n);
	memcpy(c->ram + GDT + 0x48, &gate, 8); /* a task gate in the GDT */
	put32(c, 0x1900, 0);
	put32(c, 0x1904, 0x28);
	if (row->gate >= 0)
		task_gate(c, (unsigned)row->gate, 0x28);
	exit = switch_exit(c);
	assert_int_equal(exit->u.task_switch.tsssel, 0x28);
	assert_int_equal(exit->u.task_switch.reason, row->reason);
	assert_int_equal(exit->u.task_switch.ext, row->ext);
	assert_int_equal(exit->u.task_switch.errcode_valid, row->errcode_valid);
	if (row->errcode_valid)
		assert_int_equal(exit->u.task_switch.errcode, row->errcode);
	assert_int_equal(exit->inst_length, row->length);
	assert_int_equal(exit->u.task_switch.paging.cpu_mode, CPU_MODE_PROTECTED);
	assert_int_equal(exit->u.task_switch.paging.paging_mode, PAGING_MODE_FLAT);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_TR), 0x20); /* nothing has happened yet */
	assert_int_equal(vm_emulate_task_switch(c->vm, 0, exit), 0);
	assert_int_equal(exit->inst_length, 0);
	assert_int_equal(exit->rip, TASK);
	assert_int_equal(run_to_out(c, 0), 0xbeef);
}

static void c6_2_task_switch_exit_interrupt(void **state)
{
	struct contract *c = *state;
	struct vm_exit *exit;

	TASKS(c, "\xeb\xfe");
	task_gate(c, 0x30, 0x28);
	set_reg(c, 0, VM_REG_GUEST_RFLAGS, RFLAGS_IF | 2);
	lapic_write(c, 0, 0xf0, 0x1ff);
	assert_int_equal(vmmdev_lapic_irq(c->vm, 0, 0x30), 0);
	exit = switch_exit(c);
	assert_int_equal(exit->u.task_switch.ext, 1);
	assert_int_equal(exit->inst_length, 0);
	assert_int_equal(vm_emulate_task_switch(c->vm, 0, exit), 0);
	assert_int_equal(run_to_out(c, 0), 0xbeef);
	assert_int_equal(lapic_read(c, 0, 0x110), 1u << 16); /* in service */
	assert_int_equal(get32(c, OLD + EIP), CODE);
}

static void c6_2_task_switch_exit_iret(void **state)
{
	struct contract *c = *state;
	struct vm_exit *exit;

	TASKS(c, CALL);
	PLACE(c, TASK, "\xcf");
	assert_int_equal(vm_emulate_task_switch(c->vm, 0, switch_exit(c)), 0);
	exit = switch_exit(c);
	assert_int_equal(exit->u.task_switch.reason, TSR_IRET);
	assert_int_equal(exit->u.task_switch.tsssel, 0x20);
	assert_int_equal(exit->inst_length, 1);
	assert_int_equal(vm_emulate_task_switch(c->vm, 0, exit), 0);
	assert_int_equal(exit->rip, CODE + 7);
}

/* ---- What it does, whoever does it ---- */

/* Runs to an OUT to DONE_PORT by way of any switches. */
static uint32_t through(struct contract *c)
{
	struct vm_exit *exit = &c->run[0].vm_exit;

	for (;;) {
		step_over(c, 0);
		assert_int_equal(vm_run(c->vm, &c->run[0]), 0);
		if (exit->exitcode != VM_EXITCODE_TASK_SWITCH)
			break;
		assert_int_equal(vm_emulate_task_switch(c->vm, 0, exit), 0);
	}
	assert_int_equal(exit->exitcode, VM_EXITCODE_INOUT);
	assert_int_equal(exit->u.inout.port, DONE_PORT);
	return exit->u.inout.eax;
}

static void c12_8_the_old_task_is_saved(void **state)
{
	struct contract *c = *state;

	TASKS(c, "\xb8\x11\x00\x00\x00" JMP);
	set_reg(c, 0, VM_REG_GUEST_RBX, 0x2222);
	set_reg(c, 0, VM_REG_GUEST_RFLAGS, 0xed7);
	through(c);
	assert_int_equal(get32(c, OLD + EAX), 0x11);
	assert_int_equal(get32(c, OLD + EAX + 12), 0x2222);
	assert_int_equal(get32(c, OLD + EIP), CODE + 12);
	assert_int_equal(get32(c, OLD + ESP), STACK);
	assert_int_equal(get32(c, OLD + EFLAGS) & 0xfff, 0xed7);
	assert_int_equal(get32(c, OLD + SELECTORS + 4) & 0xffff, 0x18);
	assert_int_equal(get32(c, OLD + SELECTORS + 8) & 0xffff, 0x10);
}

static void c12_8_the_new_task_is_loaded(void **state)
{
	struct contract *c = *state;
	struct seg_desc desc;

	TASKS(c, JMP);
	for (unsigned i = 0; i < 8; i++)
		put32(c, NEW + EAX + 4 * i, 0x100 + i);
	put32(c, NEW + EFLAGS, 0x8d7);
	put32(c, NEW + LDTR, 0x50);
	assert_int_equal(through(c), 0x100);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RCX), 0x101);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RSP), 0x104);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RDI), 0x107);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RFLAGS) & 0xfff, 0x8d7);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_LDTR), 0x50);
	assert_int_equal(vm_get_seg_desc(c->vm, 0, VM_REG_GUEST_LDTR, &desc), 0);
	assert_int_equal(desc.base, LDT);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_TR), 0x28);
	assert_int_equal(vm_get_seg_desc(c->vm, 0, VM_REG_GUEST_TR, &desc), 0);
	assert_int_equal(desc.base, NEW);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_CR0) & CR0_TS, CR0_TS);
}

static void c12_8_jmp_hands_the_busy_bit_on(void **state)
{
	struct contract *c = *state;

	TASKS(c, JMP);
	through(c);
	assert_int_equal(access_of(c, 0x20), FREE32);
	assert_int_equal(access_of(c, 0x28), BUSY32);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RFLAGS) & NT, 0);
	assert_int_equal(get32(c, NEW + LINK) & 0xffff, 0);
}

static void c12_8_call_nests(void **state)
{
	struct contract *c = *state;

	TASKS(c, CALL);
	through(c);
	assert_int_equal(access_of(c, 0x20), BUSY32);
	assert_int_equal(access_of(c, 0x28), BUSY32);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RFLAGS) & NT, NT);
	assert_int_equal(get32(c, NEW + LINK) & 0xffff, 0x20);
}

static void c12_8_iret_returns(void **state)
{
	struct contract *c = *state;

	TASKS(c, CALL "\xb8\x77\x00\x00\x00\xe7\xe9"); /* ...; mov eax, 0x77; out 0xe9, eax */
	PLACE(c, TASK, "\xcf");
	assert_int_equal(through(c), 0x77);
	assert_int_equal(access_of(c, 0x20), BUSY32);
	assert_int_equal(access_of(c, 0x28), FREE32);
	assert_int_equal(get32(c, NEW + EFLAGS) & NT, 0);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_TR), 0x20);
}

static void c12_8_an_error_code_is_pushed_on_the_new_stack(void **state)
{
	struct contract *c = *state;

	TASKS(c, "\xb8\x34\x12\x00\x00\x8e\xd8");
	task_gate(c, 13, 0x28);
	through(c);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RSP), 0x7000 - 4);
	assert_int_equal(get32(c, 0x7000 - 4), 0x1234);
}

static void c12_8_delivery_through_a_gate_is_complete(void **state)
{
	struct contract *c = *state;
	uint64_t info1, info2;

	TASKS(c, "\x0f\x0b");
	task_gate(c, 6, 0x28);
	through(c);
	assert_int_equal(vm_get_intinfo(c->vm, 0, &info1, &info2), 0);
	assert_int_equal(info1 | info2, 0);
}

/* ---- What is wrong with the new task ---- */

struct fault_row {
	const char *name;
	uint32_t limit; /* of the new TSS */
	uint8_t access;
	uint32_t at, value; /* written into it */
	unsigned vector;
	uint32_t code;
	bool committed; /* the fault is the new task's */
};

static const struct fault_row faults[] = {
	{"c12_8_absent_tss_is_np", 103, 0x09, 0, 0, 11, 0x28, false},
	{"c12_8_small_tss_is_ts", 102, FREE32, 0, 0, 10, 0x28, false},
	{"c12_8_busy_tss_is_gp", 103, BUSY32, 0, 0, 13, 0x28, false},
	{"c12_8_new_task_with_code_that_is_data_is_ts", 103, FREE32, SELECTORS + 4, 0x10, 10, 0x10,
		true},
	{"c12_8_new_task_with_null_code_is_ts", 103, FREE32, SELECTORS + 4, 0, 10, 0, true},
	{"c12_8_new_task_with_stack_that_is_code_is_ts", 103, FREE32, SELECTORS + 8, 0x18, 10, 0x18,
		true},
	{"c12_8_new_task_with_null_stack_is_ts", 103, FREE32, SELECTORS + 8, 0, 10, 0, true},
	{"c12_8_new_task_with_data_beyond_the_table_is_ts", 103, FREE32, SELECTORS + 12, 0x1230, 10,
		0x1230, true},
	{"c12_8_new_task_with_ldt_that_is_data_is_ts", 103, FREE32, LDTR, 0x10, 10, 0x10, true},
};

static void fault(void **state)
{
	struct contract *c = *state;
	const struct fault_row *row = c->row;
	uint64_t info1, info2, gate = 0x1300 | (uint64_t)0x18 << 16 | (uint64_t)0x8e << 40;
	struct vm_exit *exit;

	TASKS(c, JMP);
	descriptor(c, 0x28, NEW, row->limit, row->access);
	if (row->at)
		put32(c, NEW + row->at, row->value);
	for (unsigned v = 10; v <= 13; v++)
		memcpy(c->ram + IDT + v * 8, &gate, 8);
	PLACE(c, 0x1300, "\x58\xe7\xe9"); /* pop eax; out 0xe9, eax */
	step_over(c, 0);
	assert_int_equal(vm_run(c->vm, &c->run[0]), 0);
	exit = &c->run[0].vm_exit;
	if (exit->exitcode == VM_EXITCODE_TASK_SWITCH) {
		assert_int_equal(vm_emulate_task_switch(c->vm, 0, exit), 0);
		assert_int_equal(vm_get_intinfo(c->vm, 0, &info1, &info2), 0);
		assert_int_equal(VM_INTINFO_VECTOR(info2), row->vector);
		assert_int_equal(info2 >> 32, row->code);
		assert_int_equal(exit->inst_length, 0);
	} else { /* hardware checks the descriptor before it asks anybody */
		assert_false(row->committed);
		assert_int_equal(exit->exitcode, VM_EXITCODE_INOUT);
		assert_int_equal(exit->u.inout.eax, row->code);
	}
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_TR), row->committed ? 0x28 : 0x20);
}

int main(void)
{
	static const struct behaviour tests[] = {
		CONTRACT_ROWS(reason, reasons),
		CONTRACT(c6_2_task_switch_exit_interrupt),
		CONTRACT(c6_2_task_switch_exit_iret),
		CONTRACT(c12_8_the_old_task_is_saved),
		CONTRACT(c12_8_the_new_task_is_loaded),
		CONTRACT(c12_8_jmp_hands_the_busy_bit_on),
		CONTRACT(c12_8_call_nests),
		CONTRACT(c12_8_iret_returns),
		CONTRACT(c12_8_an_error_code_is_pushed_on_the_new_stack),
		CONTRACT(c12_8_delivery_through_a_gate_is_complete),
		CONTRACT_ROWS(fault, faults),
	};

	return contract_run("c6 task", tests, sizeof(tests) / sizeof(tests[0]));
}
