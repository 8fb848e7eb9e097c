/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Hardware task switches: what is saved, linked, loaded; where faults belong (SDM vol. 3, chapter
 * 7).
 */
#include "test/x86/system_guest.h"

#define NEXT 0x1234u
#define SP2  0x5a000u
#define IP2  0x11223u

/* Offsets in a 32-bit and a 16-bit TSS. */
#define T32_CR3	  0x1c
#define T32_EIP	  0x20
#define T32_FLAGS 0x24
#define T32_EAX	  0x28
#define T32_ESP	  0x38
#define T32_ES	  0x48
#define T32_LDT	  0x60
#define T32_TRAP  0x64

/* A guest whose TSS2 holds a complete task in `cs` and `ss`. */
static struct guest *two_tasks(unsigned cs, unsigned ss)
{
	static const uint8_t data[] = {X86_ES, X86_DS, X86_FS, X86_GS};
	struct guest *g = system_guest(GUEST_PROT32, 0);

	guest_put(g, AT_TSS2 + T32_CR3, g->cpu.cr3, 4);
	guest_put(g, AT_TSS2 + T32_EIP, IP2, 4);
	guest_put(g, AT_TSS2 + T32_FLAGS, 2 | X86_FL_CF, 4);
	for (unsigned i = 0; i < 8; i++) {
		guest_put(g, AT_TSS2 + T32_EAX + 4 * i, 0x2000 + i, 4);
		if (i != X86_RSP)
			g->cpu.gpr[i] = 0x1000 + i;
	}
	guest_put(g, AT_TSS2 + T32_ESP, SP2, 4);
	for (unsigned i = 0; i < 4; i++)
		guest_put(g, AT_TSS2 + T32_ES + 4 * data[i], cs & 3 ? UDATA : KDATA, 4);
	guest_put(g, AT_TSS2 + T32_ES + 4 * X86_CS, cs, 4);
	guest_put(g, AT_TSS2 + T32_ES + 4 * X86_SS, ss, 4);
	g->cpu.rflags = 2 | X86_RF_IF;
	return g;
}

static enum x86_result switch_to(struct guest *g, unsigned sel, enum x86_task_reason reason)
{
	return x86_task_switch(&g->cpu, (uint16_t)sel, reason, false, false, 0, NEXT);
}

static unsigned type_of(struct guest *g, unsigned sel)
{
	return (unsigned)guest_get(g, AT_GDT + sel + 5, 1) & 15;
}

static void test_call(void **state)
{
	struct guest *g = two_tasks(KCODE, KDATA);

	(void)state;
	assert_int_equal(switch_to(g, TSS2, X86_TASK_CALL), X86_DONE);
	/* the old task */
	assert_int_equal(guest_get(g, AT_TSS + T32_EIP, 4), NEXT);
	assert_int_equal(guest_get(g, AT_TSS + T32_FLAGS, 4), 2 | X86_RF_IF);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(guest_get(g, AT_TSS + T32_EAX + 4 * i, 4),
			i == X86_RSP ? STACK_NOW : 0x1000 + i);
	assert_int_equal(guest_get(g, AT_TSS + T32_ES + 4 * X86_CS, 4), KCODE);
	assert_int_equal(guest_get(g, AT_TSS + T32_ES + 4 * X86_GS, 4), KDATA);
	assert_int_equal(type_of(g, TSS), 11);
	/* the new one */
	assert_int_equal(guest_get(g, AT_TSS2, 2), TSS);
	assert_int_equal(type_of(g, TSS2), 11);
	assert_int_equal(g->cpu.tr.sel, TSS2);
	assert_int_equal(g->cpu.tr.base, AT_TSS2);
	assert_int_equal(g->cpu.tr.access & 15, 11);
	assert_int_equal(g->cpu.rip, IP2);
	assert_int_equal(g->cpu.rflags, 2 | X86_FL_CF | X86_RF_NT);
	assert_true(g->cpu.cr0 & X86_CR0_TS);
	for (unsigned i = 0; i < 8; i++)
		assert_int_equal(g->cpu.gpr[i], i == X86_RSP ? SP2 : 0x2000 + i);
	assert_int_equal(g->cpu.seg[X86_CS].sel, KCODE);
	assert_int_equal(g->cpu.cpl, 0);
	guest_destroy(g);
}

/* There and back: NT and the link lead home. */
static void test_call_iret(void **state)
{
	struct guest *g = two_tasks(KCODE, KDATA);

	(void)state;
	guest_put(g, AT_TSS + T32_CR3, g->cpu.cr3, 4);
	assert_int_equal(switch_to(g, TSS2, X86_TASK_CALL), X86_DONE);
	assert_int_equal(
		x86_task_switch(&g->cpu, TSS, X86_TASK_IRET, false, false, 0, 0x77), X86_DONE);
	assert_int_equal(g->cpu.rip, NEXT);
	assert_int_equal(g->cpu.gpr[X86_RSP], STACK_NOW);
	assert_int_equal(g->cpu.rflags, 2 | X86_RF_IF);
	assert_int_equal(type_of(g, TSS), 11);
	assert_int_equal(type_of(g, TSS2), 9);
	assert_int_equal(guest_get(g, AT_TSS2 + T32_EIP, 4), 0x77);
	assert_int_equal(guest_get(g, AT_TSS2 + T32_FLAGS, 4) & X86_RF_NT, 0);
	guest_destroy(g);
}

static void test_jmp(void **state)
{
	struct guest *g = two_tasks(UCODE, UDATA);

	(void)state;
	guest_put(g, AT_TSS2, 0xeeee, 2);
	assert_int_equal(switch_to(g, TSS2, X86_TASK_JMP), X86_DONE);
	assert_int_equal(type_of(g, TSS), 9);
	assert_int_equal(type_of(g, TSS2), 11);
	assert_int_equal(guest_get(g, AT_TSS2, 2), 0xeeee); /* no link */
	assert_false(g->cpu.rflags & X86_RF_NT);
	assert_int_equal(g->cpu.cpl, 3);
	guest_destroy(g);
}

static void test_gate_error_code(void **state)
{
	struct guest *g = two_tasks(KCODE, KDATA);

	(void)state;
	assert_int_equal(
		x86_task_switch(&g->cpu, TSS2, X86_TASK_GATE, true, true, 0x5a5a, NEXT), X86_DONE);
	assert_int_equal(g->cpu.gpr[X86_RSP], SP2 - 4);
	assert_int_equal(guest_get(g, SP2 - 4, 4), 0x5a5a);
	assert_true(g->cpu.rflags & X86_RF_NT);
	guest_destroy(g);
}

static void test_tss16(void **state)
{
	struct guest *g = two_tasks(KCODE, KDATA);

	(void)state;
	gdt_set(g, FREE, descriptor(AT_LDT, 0x2b, A_TSS16));
	guest_put(g, AT_LDT + 0x0e, IP2 & 0xffff, 2);
	guest_put(g, AT_LDT + 0x10, 2 | X86_FL_ZF, 2);
	for (unsigned i = 0; i < 8; i++)
		guest_put(g, AT_LDT + 0x12 + 2 * i, 0x3000 + i, 2);
	guest_put(g, AT_LDT + 0x22, KDATA, 2);
	guest_put(g, AT_LDT + 0x24, KCODE, 2);
	guest_put(g, AT_LDT + 0x26, KDATA, 2);
	guest_put(g, AT_LDT + 0x28, KDATA, 2);
	assert_int_equal(switch_to(g, FREE, X86_TASK_CALL), X86_DONE);
	assert_int_equal(g->cpu.rip, IP2 & 0xffff);
	assert_int_equal(g->cpu.rflags, 2 | X86_FL_ZF | X86_RF_NT);
	assert_int_equal(g->cpu.gpr[X86_RDI], 0xffff3007);
	assert_int_equal(g->cpu.gpr[X86_RAX], 0xffff3000);
	assert_true(g->cpu.seg[X86_FS].access & X86_SEG_UNUSABLE);
	assert_int_equal(g->cpu.tr.access & 15, 3);
	/* And away from it, to the 32-bit task. */
	assert_int_equal(switch_to(g, TSS2, X86_TASK_JMP), X86_DONE);
	assert_int_equal(guest_get(g, AT_LDT + 0x0e, 2), NEXT);
	assert_int_equal(guest_get(g, AT_LDT + 0x24, 2), KCODE);
	assert_int_equal(guest_get(g, AT_LDT + 0x2a, 2), 0);
	assert_int_equal(type_of(g, FREE), 1);
	guest_destroy(g);
}

static void test_vm86(void **state)
{
	struct guest *g = two_tasks(0x1000, 0x2000);

	(void)state;
	guest_put(g, AT_TSS2 + T32_FLAGS, 2 | X86_RF_VM, 4);
	assert_int_equal(switch_to(g, TSS2, X86_TASK_JMP), X86_FAULT); /* EIP over 64 KiB */
	guest_destroy(g);
	g = two_tasks(0x1000, 0x2000);
	guest_put(g, AT_TSS2 + T32_FLAGS, 2 | X86_RF_VM, 4);
	guest_put(g, AT_TSS2 + T32_EIP, 0x100, 4);
	assert_int_equal(switch_to(g, TSS2, X86_TASK_JMP), X86_DONE);
	assert_int_equal(g->cpu.cpl, 3);
	assert_int_equal(g->cpu.seg[X86_CS].base, 0x10000);
	assert_int_equal(g->cpu.seg[X86_SS].base, 0x20000);
	guest_destroy(g);
}

static void test_ldt_and_cr3(void **state)
{
	struct guest *g = two_tasks(KCODE, KDATA);

	(void)state;
	guest_put(g, AT_LDT + 8, descriptor(0x7000, 0xff, A_DATA), 8);
	guest_put(g, AT_TSS2 + T32_LDT, LDT, 2);
	guest_put(g, AT_TSS2 + T32_ES + 4 * X86_FS, 0x0c, 4);
	guest_put(g, AT_TSS2 + T32_CR3, g->cpu.cr3 | 0x18, 4);
	assert_int_equal(switch_to(g, TSS2, X86_TASK_JMP), X86_DONE);
	assert_int_equal(g->cpu.ldtr.sel, LDT);
	assert_int_equal(g->cpu.seg[X86_FS].base, 0x7000);
	assert_int_equal(g->cpu.cr3 & 0x18, 0x18);
	guest_destroy(g);
}

/* ---- faults before the commit: the old task, unchanged ---- */

static void test_early_faults(void **state)
{
	static const struct {
		unsigned sel;
		enum x86_task_reason reason;
		unsigned type; /* of FREE */
		uint32_t limit;
		unsigned vector;
		uint32_t error;
	} tests[] = {
		{0x1000, X86_TASK_CALL, 0, 0, X86_GP, 0x1000},
		{0x1000, X86_TASK_IRET, 0, 0, X86_TS, 0x1000},
		{TSS2 | 4, X86_TASK_CALL, 0, 0, X86_GP, TSS2 | 4},
		{TSS2 | 4, X86_TASK_IRET, 0, 0, X86_TS, TSS2 | 4},
		{KDATA, X86_TASK_GATE, 0, 0, X86_GP, KDATA},
		{TSS, X86_TASK_CALL, 0, 0, X86_GP, TSS},   /* busy */
		{TSS2, X86_TASK_IRET, 0, 0, X86_TS, TSS2}, /* not busy */
		{FREE, X86_TASK_JMP, 0x09, 0x67, X86_NP, FREE},
		{FREE, X86_TASK_JMP, 0x89, 0x66, X86_TS, FREE},
		{FREE, X86_TASK_JMP, 0x81, 0x2a, X86_TS, FREE},
		{FREE, X86_TASK_JMP, 0x8c, 0x67, X86_GP, FREE},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		struct guest *g = two_tasks(KCODE, KDATA);

		gdt_set(g, FREE, descriptor(AT_TSS2, tests[i].limit, tests[i].type));
		assert_fault(g, switch_to(g, tests[i].sel, tests[i].reason), tests[i].vector,
			tests[i].error);
		assert_int_equal(guest_get(g, AT_TSS + T32_EIP, 4), 0);
		guest_destroy(g);
	}
}

/* EXT says that an event, not an instruction, asked for the switch. */
static void test_external(void **state)
{
	struct guest *g = two_tasks(KCODE, KDATA);

	(void)state;
	assert_fault(g, x86_task_switch(&g->cpu, TSS, X86_TASK_GATE, true, false, 0, NEXT), X86_GP,
		TSS | 1);
	guest_destroy(g);
}

/* The old TSS cannot be written, or the new one not read. */
static void test_page_faults(void **state)
{
	struct guest *g = two_tasks(KCODE, KDATA);

	(void)state;
	guest_protect(g, AT_TSS, 0);
	assert_fault(g, switch_to(g, TSS2, X86_TASK_CALL), X86_PF, 2);
	guest_protect(g, AT_TSS, PTE_P | PTE_W);
	guest_protect(g, AT_TSS2, 0);
	assert_fault(g, switch_to(g, TSS2, X86_TASK_CALL), X86_PF, 0);
	guest_destroy(g);
}

/* ---- faults after it: in the new task ---- */

static void test_late_faults(void **state)
{
	static const struct {
		unsigned field; /* of TSS2 */
		uint32_t value;
		uint32_t access; /* of FREE */
		unsigned vector;
		uint32_t error;
	} tests[] = {
		{T32_LDT, KDATA, 0, X86_TS, KDATA},
		{T32_LDT, LDT | 4, 0, X86_TS, LDT | 4},
		{T32_LDT, FREE, 0x02, X86_TS, FREE},
		{T32_ES + 4 * X86_CS, 0, 0, X86_TS, 0},
		{T32_ES + 4 * X86_CS, KDATA, 0, X86_TS, KDATA},
		{T32_ES + 4 * X86_CS, KCODE | 3, 0, X86_TS, KCODE},
		{T32_ES + 4 * X86_CS, FREE, (A_CODE | A_32) & ~0x80u, X86_NP, FREE},
		{T32_ES + 4 * X86_SS, 0, 0, X86_TS, 0},
		{T32_ES + 4 * X86_SS, UDATA, 0, X86_TS, UDATA & ~3u},
		{T32_ES + 4 * X86_SS, FREE, (A_DATA | A_32) & ~0x80u, X86_SS_FAULT, FREE},
		{T32_ES + 4 * X86_DS, FREE, 0x99 | A_32, X86_TS, FREE},
		{T32_ES + 4 * X86_ES, FREE, (A_DATA | A_32) & ~0x80u, X86_NP, FREE},
		{T32_ES + 4 * X86_GS, 0x1000, 0, X86_TS, 0x1000},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		struct guest *g = two_tasks(KCODE, KDATA);

		gdt_set(g, FREE, descriptor(0, UINT32_MAX, tests[i].access));
		guest_put(g, AT_TSS2 + tests[i].field, tests[i].value, 4);
		assert_int_equal(switch_to(g, TSS2, X86_TASK_CALL), X86_FAULT);
		assert_int_equal(g->cpu.fault.vector, tests[i].vector);
		assert_int_equal(g->cpu.fault.error, tests[i].error);
		assert_int_equal(g->cpu.tr.sel, TSS2);
		assert_int_equal(g->cpu.rip, IP2);
		/* Its handler can run: through an interrupt gate on the new task's stack. */
		idt_set(g, tests[i].vector, GATE_INTR32, KCODE, HANDLER);
		if ((g->cpu.seg[X86_CS].sel & 3) == 0)
			assert_int_equal(
				guest_deliver_error(g, tests[i].vector, tests[i].error), X86_DONE);
		guest_destroy(g);
	}
}

static void test_trap_flag(void **state)
{
	struct guest *g = two_tasks(KCODE, KDATA);

	(void)state;
	g->cpu.dr[7] = 0x7ff;
	guest_put(g, AT_TSS2 + T32_TRAP, 1, 2);
	assert_int_equal(switch_to(g, TSS2, X86_TASK_CALL), X86_FAULT);
	assert_int_equal(g->cpu.fault.vector, X86_DB);
	assert_int_equal(g->cpu.fault.dr6, 1u << 15);
	assert_int_equal(g->cpu.rip, IP2);
	assert_int_equal(g->cpu.dr[7], 0x6aa); /* local enables are the old task's */
	guest_destroy(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_call),
		cmocka_unit_test(test_call_iret),
		cmocka_unit_test(test_jmp),
		cmocka_unit_test(test_gate_error_code),
		cmocka_unit_test(test_tss16),
		cmocka_unit_test(test_vm86),
		cmocka_unit_test(test_ldt_and_cr3),
		cmocka_unit_test(test_early_faults),
		cmocka_unit_test(test_external),
		cmocka_unit_test(test_page_faults),
		cmocka_unit_test(test_late_faults),
		cmocka_unit_test(test_trap_flag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
