/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Event delivery: each kind of gate, each stack, each error code (SDM vol. 3, chapter 6). */
#include "test/x86/system_guest.h"

#define VECTOR 0x40u
#define FLAGS  0x3302u /* TF, IF, IOPL 3 */

static struct guest *paged(enum guest_mode mode, unsigned cpl)
{
	struct guest *g = system_guest(mode, cpl);

	g->cpu.rflags = FLAGS | X86_RF_NT;
	return g;
}

/* The words of a frame, from the top of the stack up. */
static void expect_frame(
	struct guest *g, uint64_t at, unsigned size, const uint64_t *words, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(guest_get(g, at + i * size, size), words[i]);
}

/* ---- real mode ---- */

static void test_real(void **state)
{
	struct guest *g = paged(GUEST_REAL16, 0);

	(void)state;
	g->cpu.rflags = FLAGS | X86_RF_AC;
	x86_load_seg(&g->cpu, X86_SS, 0x100);
	g->cpu.seg[X86_CS].sel = 0x77;
	guest_put(g, VECTOR * 4, 0x12345678, 4);
	assert_int_equal(guest_deliver(g, VECTOR, X86_EV_SOFTINT), X86_DONE);
	assert_int_equal(g->cpu.seg[X86_CS].sel, 0x1234);
	assert_int_equal(g->cpu.seg[X86_CS].base, 0x12340);
	assert_int_equal(g->cpu.rip, 0x5678);
	assert_int_equal(g->cpu.rflags, 0x3002);
	assert_int_equal(g->cpu.gpr[X86_RSP], 0x7ffa);
	expect_frame(g, 0x1000 + 0x7ffa, 2, (uint64_t[]){GUEST_CODE + 2, 0x77, FLAGS}, 3);
	guest_destroy(g);
}

/* No error code in real mode, and SP wraps at 64 KiB in the middle of the frame. */
static void test_real_wrap(void **state)
{
	struct guest *g = paged(GUEST_REAL16, 0);

	(void)state;
	g->cpu.gpr[X86_RSP] = 0xabcd0002;
	assert_int_equal(guest_deliver_error(g, X86_GP, 0x55), X86_DONE);
	assert_int_equal(g->cpu.gpr[X86_RSP], 0xabcdfffc);
	assert_int_equal(guest_get(g, 0, 2), FLAGS | X86_RF_NT);
	assert_int_equal(guest_get(g, 0xfffe, 2), g->cpu.seg[X86_CS].sel);
	assert_int_equal(guest_get(g, 0xfffc, 2), GUEST_CODE);
	guest_destroy(g);
}

static void test_real_limits(void **state)
{
	struct guest *g = paged(GUEST_REAL16, 0);

	(void)state;
	g->cpu.idtr.limit = VECTOR * 4 + 2;
	assert_fault(g, guest_deliver(g, VECTOR, X86_EV_INTR), X86_GP, VECTOR * 8 + 3);
	g->cpu.idtr.limit = 0x3ff;
	g->cpu.gpr[X86_RSP] = 1;
	assert_fault(g, guest_deliver(g, VECTOR, X86_EV_INTR), X86_SS_FAULT, 0);
	guest_destroy(g);
}

/* ---- protected mode ---- */

static void test_same_privilege(void **state)
{
	static const struct {
		unsigned type, word;
		bool masks;
	} tests[] = {
		{GATE_INTR32, 4, true},
		{GATE_TRAP32, 4, false},
		{GATE_INTR16, 2, true},
		{GATE_INTR16 | 1, 2, false},
	};

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		struct guest *g = paged(GUEST_PROT32, 0);
		unsigned word = tests[i].word;

		idt_set(g, VECTOR, tests[i].type, KCODE, HANDLER);
		assert_int_equal(guest_deliver(g, VECTOR, X86_EV_INTR), X86_DONE);
		assert_int_equal(g->cpu.rip, word == 4 ? HANDLER : HANDLER & 0xffff);
		assert_int_equal(g->cpu.seg[X86_CS].sel, KCODE);
		assert_int_equal(g->cpu.gpr[X86_RSP], STACK_NOW - 3 * word);
		assert_int_equal(g->cpu.rflags, 0x3002 | (tests[i].masks ? 0 : X86_RF_IF));
		expect_frame(g, STACK_NOW - 3 * word, word,
			(uint64_t[]){GUEST_CODE, KCODE, FLAGS | X86_RF_NT}, 3);
		guest_destroy(g);
	}
}

static void test_inward(void **state)
{
	struct guest *g = paged(GUEST_PROT32, 3);

	(void)state;
	idt_set(g, VECTOR, GATE_INTR32, KCODE, HANDLER);
	assert_int_equal(guest_deliver_error(g, VECTOR, 0xbeef), X86_DONE);
	assert_int_equal(g->cpu.cpl, 0);
	assert_int_equal(g->cpu.seg[X86_CS].sel, KCODE);
	assert_int_equal(g->cpu.seg[X86_SS].sel, KDATA);
	assert_int_equal(g->cpu.gpr[X86_RSP], STACK0 - 24);
	expect_frame(g, STACK0 - 24, 4,
		(uint64_t[]){
			0xbeef, GUEST_CODE, UCODE, FLAGS | X86_RF_NT | X86_RF_RF, STACK_NOW, UDATA},
		6);
	/* To ring 1, from a 16-bit TSS, through a 16-bit gate. */
	g->cpu.tr.access = A_TSS16 | 2;
	guest_put(g, AT_TSS + 6, 0x5200, 2);
	guest_put(g, AT_TSS + 8, DATA1, 2);
	idt_set(g, VECTOR, GATE_INTR16, CODE1, HANDLER);
	g->cpu.cpl = 3;
	g->cpu.seg[X86_CS].sel = UCODE;
	assert_int_equal(guest_deliver(g, VECTOR, X86_EV_INTR), X86_DONE);
	assert_int_equal(g->cpu.cpl, 1);
	assert_int_equal(g->cpu.seg[X86_CS].sel, CODE1);
	assert_int_equal(g->cpu.seg[X86_SS].sel, DATA1);
	assert_int_equal(g->cpu.gpr[X86_RSP], 0x5200 - 10);
	guest_destroy(g);
}

static void test_conforming(void **state)
{
	struct guest *g = paged(GUEST_PROT32, 3);

	(void)state;
	idt_set(g, VECTOR, GATE_INTR32, CONFORMING, HANDLER);
	assert_int_equal(guest_deliver(g, VECTOR, X86_EV_INTR), X86_DONE);
	assert_int_equal(g->cpu.cpl, 3);
	assert_int_equal(g->cpu.seg[X86_CS].sel, CONFORMING | 3);
	assert_int_equal(g->cpu.gpr[X86_RSP], STACK_NOW - 12);
	guest_destroy(g);
}

/* RF is pushed set by faults only (SDM vol. 3, 17.3.1.1). */
static void test_resume_flag(void **state)
{
	static const struct {
		unsigned vector, type;
		bool rf;
	} tests[] = {
		{X86_PF, X86_EV_EXCEPTION, true},
		{X86_UD, X86_EV_EXCEPTION, true},
		{X86_DB, X86_EV_EXCEPTION, false},
		{X86_BP, X86_EV_SOFTEXC, false},
		{VECTOR, X86_EV_INTR, false},
		{X86_NMI_VECTOR, X86_EV_NMI, false},
		{VECTOR, X86_EV_SOFTINT, false},
	};

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		struct guest *g = paged(GUEST_PROT32, 0);

		idt_set(g, tests[i].vector, GATE_INTR32 | A_DPL3, KCODE, HANDLER);
		g->cpu.shadow = X86_SHADOW_STI;
		assert_int_equal(guest_deliver(g, tests[i].vector, tests[i].type), X86_DONE);
		assert_int_equal(guest_get(g, STACK_NOW - 4, 4) >> 16 & 1, tests[i].rf);
		assert_int_equal(g->cpu.nmi_blocked, tests[i].type == X86_EV_NMI);
		assert_int_equal(g->cpu.shadow, 0);
		guest_destroy(g);
	}
}

/* INT n and friends return behind themselves, everything else to the instruction. */
static void test_return_address(void **state)
{
	static const enum x86_event_type types[] = {X86_EV_INTR, X86_EV_NMI, X86_EV_EXCEPTION,
		X86_EV_SOFTINT, X86_EV_PRIV_SOFTEXC, X86_EV_SOFTEXC};

	(void)state;
	for (unsigned i = 0; i < 6; i++) {
		struct guest *g = paged(GUEST_PROT32, 0);

		idt_set(g, VECTOR, GATE_INTR32, KCODE, HANDLER);
		assert_int_equal(guest_deliver(g, VECTOR, types[i]), X86_DONE);
		assert_int_equal(guest_get(g, STACK_NOW - 12, 4), GUEST_CODE + (i >= 3 ? 2 : 0));
		guest_destroy(g);
	}
}

/* One broken thing at a time, and the error code that names it. */
struct broken {
	const char *name;
	void (*break_it)(struct guest *g);
	unsigned vector;
	uint32_t error; /* without EXT */
};

static void idt_short(struct guest *g)
{
	g->cpu.idtr.limit = VECTOR * (g->mode == GUEST_LONG64 ? 16 : 8) + 6;
}

static void idt_is_code(struct guest *g)
{
	idt_set(g, VECTOR, 0x9a, KCODE, HANDLER);
}

static void gate_absent(struct guest *g)
{
	idt_set(g, VECTOR, (GATE_INTR32 & ~0x80u) | A_DPL3, KCODE, HANDLER);
}

static void cs_null(struct guest *g)
{
	idt_set(g, VECTOR, GATE_INTR32 | A_DPL3, 3, HANDLER);
}

static void cs_beyond(struct guest *g)
{
	idt_set(g, VECTOR, GATE_INTR32 | A_DPL3, 0x1003, HANDLER);
}

static void cs_is_data(struct guest *g)
{
	idt_set(g, VECTOR, GATE_INTR32 | A_DPL3, KDATA, HANDLER);
}

static void cs_absent(struct guest *g)
{
	unsigned flags = g->mode == GUEST_LONG64 ? A_64 : A_32;

	gdt_set(g, FREE, descriptor(0, UINT32_MAX, (A_CODE & ~0x80u) | flags));
	idt_set(g, VECTOR, GATE_INTR32 | A_DPL3, FREE, HANDLER);
}

static void tss_short(struct guest *g)
{
	g->cpu.tr.limit = 8;
}

static void ss_null(struct guest *g)
{
	guest_put(g, AT_TSS + 8, 0, 4);
}

static void ss_beyond(struct guest *g)
{
	guest_put(g, AT_TSS + 8, 0x1000, 4);
}

static void ss_wrong_rpl(struct guest *g)
{
	guest_put(g, AT_TSS + 8, KDATA | 1, 4);
}

static void ss_wrong_dpl(struct guest *g)
{
	guest_put(g, AT_TSS + 8, UDATA & ~3u, 4);
}

static void ss_is_code(struct guest *g)
{
	guest_put(g, AT_TSS + 8, KCODE, 4);
}

static void ss_readonly(struct guest *g)
{
	gdt_set(g, FREE, descriptor(0, UINT32_MAX, 0x91 | A_32));
	guest_put(g, AT_TSS + 8, FREE, 4);
}

static void ss_absent(struct guest *g)
{
	gdt_set(g, FREE, descriptor(0, UINT32_MAX, (A_DATA & ~0x80u) | A_32));
	guest_put(g, AT_TSS + 8, FREE, 4);
}

static void ss_small(struct guest *g)
{
	gdt_set(g, FREE, descriptor(0, STACK0 - 8, A_DATA | X86_SEG_DB));
	guest_put(g, AT_TSS + 8, FREE, 4);
}

static void ip_beyond(struct guest *g)
{
	gdt_set(g, FREE, descriptor(0, HANDLER - 1, A_CODE | X86_SEG_DB));
	idt_set(g, VECTOR, GATE_INTR32 | A_DPL3, FREE, HANDLER);
}

static void check_broken(enum guest_mode mode, const struct broken *tests, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		struct guest *g = paged(mode, 3);
		unsigned code = mode == GUEST_LONG64 ? KCODE64 : KCODE;

		idt_set(g, VECTOR, GATE_INTR32 | A_DPL3, code, HANDLER);
		tests[i].break_it(g);
		assert_fault(g, guest_deliver(g, VECTOR, X86_EV_INTR), tests[i].vector,
			tests[i].error | 1);
		assert_fault(g, guest_deliver(g, VECTOR, X86_EV_EXCEPTION), tests[i].vector,
			tests[i].error | 1);
		assert_fault(g, guest_deliver(g, VECTOR, X86_EV_SOFTINT), tests[i].vector,
			tests[i].error);
		guest_destroy(g);
	}
}

static void test_errors_legacy(void **state)
{
	static const struct broken tests[] = {
		{"idt limit", idt_short, X86_GP, VECTOR * 8 + 2},
		{"not a gate", idt_is_code, X86_GP, VECTOR * 8 + 2},
		{"gate absent", gate_absent, X86_NP, VECTOR * 8 + 2},
		{"cs null", cs_null, X86_GP, 0},
		{"cs beyond", cs_beyond, X86_GP, 0x1000},
		{"cs is data", cs_is_data, X86_GP, KDATA},
		{"cs absent", cs_absent, X86_NP, FREE},
		{"tss short", tss_short, X86_TS, TSS},
		{"ss null", ss_null, X86_TS, 0},
		{"ss beyond", ss_beyond, X86_TS, 0x1000},
		{"ss rpl", ss_wrong_rpl, X86_TS, KDATA},
		{"ss dpl", ss_wrong_dpl, X86_TS, UDATA & ~3u},
		{"ss code", ss_is_code, X86_TS, KCODE},
		{"ss read-only", ss_readonly, X86_TS, FREE},
		{"ss absent", ss_absent, X86_SS_FAULT, FREE},
		{"no room", ss_small, X86_SS_FAULT, FREE},
		{"ip beyond", ip_beyond, X86_GP, 0},
	};

	(void)state;
	check_broken(GUEST_PROT32, tests, sizeof(tests) / sizeof(tests[0]));
}

/* Only INT n looks at the gate's DPL. */
static void test_gate_dpl(void **state)
{
	struct guest *g = paged(GUEST_PROT32, 3);

	(void)state;
	idt_set(g, VECTOR, GATE_INTR32, KCODE, HANDLER);
	assert_fault(g, guest_deliver(g, VECTOR, X86_EV_SOFTINT), X86_GP, VECTOR * 8 + 2);
	assert_fault(g, guest_deliver(g, VECTOR, X86_EV_SOFTEXC), X86_GP, VECTOR * 8 + 2);
	assert_int_equal(guest_deliver(g, VECTOR, X86_EV_PRIV_SOFTEXC), X86_DONE);
	guest_destroy(g);
}

/* The page of the inner stack is away: #PF as the supervisor, nothing changed. */
static void test_stack_page(void **state)
{
	struct guest *g = paged(GUEST_PROT32, 3);

	(void)state;
	idt_set(g, VECTOR, GATE_INTR32, KCODE, HANDLER);
	guest_protect(g, STACK0 - 4096, 0);
	assert_fault(g, guest_deliver(g, VECTOR, X86_EV_INTR), X86_PF, 2);
	assert_int_equal(g->cpu.fault.cr2, STACK0 - 20);
	guest_destroy(g);
}

static void test_task_gate(void **state)
{
	struct guest *g = paged(GUEST_PROT32, 3);

	(void)state;
	idt_set(g, VECTOR, GATE_TASK, TSS2, 0);
	assert_int_equal(guest_deliver_error(g, VECTOR, 0x1234), X86_EXIT);
	assert_int_equal(g->cpu.exit.reason, X86_EXIT_TASK_SWITCH);
	assert_int_equal(g->cpu.exit.task.sel, TSS2);
	assert_int_equal(g->cpu.exit.task.reason, X86_TASK_GATE);
	assert_true(g->cpu.exit.task.external);
	assert_true(g->cpu.exit.task.has_error);
	assert_int_equal(g->cpu.exit.task.error, 0x1234);
	guest_destroy(g);
}

/* ---- virtual-8086 mode ---- */

static struct guest *vm86(void)
{
	struct guest *g = paged(GUEST_PROT32, 3);

	g->cpu.rflags = X86_RF_VM | X86_RF_IF | 2;
	for (unsigned i = 0; i < 6; i++)
		x86_load_seg(&g->cpu, i, (uint16_t)(0x100 * (i + 1)));
	g->cpu.rip = 0x10;
	g->cpu.gpr[X86_RSP] = 0x80;
	idt_set(g, VECTOR, GATE_INTR32 | A_DPL3, KCODE, HANDLER);
	return g;
}

static void test_vm86(void **state)
{
	struct guest *g = vm86();

	(void)state;
	assert_int_equal(g->cpu.seg[X86_CS].base, 0x2000);
	assert_int_equal(guest_deliver(g, VECTOR, X86_EV_INTR), X86_DONE);
	assert_int_equal(g->cpu.gpr[X86_RSP], STACK0 - 36);
	expect_frame(g, STACK0 - 36, 4,
		(uint64_t[]){0x10, 0x200, X86_RF_VM | X86_RF_IF | 2, 0x80, 0x300, 0x100, 0x400,
			0x500, 0x600},
		9);
	assert_int_equal(g->cpu.rflags, 2);
	assert_int_equal(g->cpu.cpl, 0);
	for (unsigned i = 0; i < 6; i++)
		if (i != X86_CS && i != X86_SS) {
			assert_int_equal(g->cpu.seg[i].sel, 0);
			assert_true(g->cpu.seg[i].access & X86_SEG_UNUSABLE);
		}
	guest_destroy(g);
	/* The handler has to be in ring 0. */
	g = vm86();
	idt_set(g, VECTOR, GATE_INTR32, CODE1, HANDLER);
	assert_fault(g, guest_deliver(g, VECTOR, X86_EV_INTR), X86_GP, (CODE1 & ~3u) | 1);
	idt_set(g, VECTOR, GATE_INTR32, CONFORMING, HANDLER);
	assert_fault(g, guest_deliver(g, VECTOR, X86_EV_INTR), X86_GP, CONFORMING | 1);
	guest_destroy(g);
}

/* ---- long mode ---- */

static void test_long(void **state)
{
	const uint64_t far_away = 0xffff800000000000ull | HANDLER;
	struct guest *g = paged(GUEST_LONG64, 0);

	(void)state;
	idt_set(g, VECTOR, GATE_INTR32, KCODE64, far_away);
	g->cpu.gpr[X86_RSP] = STACK_NOW - 3; /* gets aligned */
	assert_int_equal(guest_deliver_error(g, VECTOR, 7), X86_DONE);
	assert_int_equal(g->cpu.rip, far_away);
	assert_int_equal(g->cpu.gpr[X86_RSP], STACK_NOW - 16 - 48);
	assert_int_equal(g->cpu.seg[X86_SS].sel, KDATA);
	expect_frame(g, STACK_NOW - 16 - 48, 8,
		(uint64_t[]){7, GUEST_CODE, KCODE64, FLAGS | X86_RF_NT | X86_RF_RF, STACK_NOW - 3,
			KDATA},
		6);
	guest_destroy(g);
}

static void test_long_inward(void **state)
{
	static const enum guest_mode modes[] = {GUEST_LONG64, GUEST_COMPAT32};

	(void)state;
	for (unsigned i = 0; i < 2; i++) {
		struct guest *g = paged(modes[i], 3);

		idt_set(g, VECTOR, GATE_INTR32, KCODE64, HANDLER);
		assert_int_equal(guest_deliver(g, VECTOR, X86_EV_INTR), X86_DONE);
		assert_int_equal(g->cpu.cpl, 0);
		assert_int_equal(x86_code_size(&g->cpu), 64);
		assert_int_equal(g->cpu.seg[X86_SS].sel, 0);
		assert_true(g->cpu.seg[X86_SS].access & X86_SEG_UNUSABLE);
		assert_int_equal(g->cpu.gpr[X86_RSP], STACK0 - 40);
		expect_frame(g, STACK0 - 40, 8,
			(uint64_t[]){GUEST_CODE, i ? UCODE : UCODE64, FLAGS | X86_RF_NT, STACK_NOW,
				UDATA},
			5);
		guest_destroy(g);
	}
}

static void test_ist(void **state)
{
	struct guest *g = paged(GUEST_LONG64, 0);

	(void)state;
	idt_set(g, VECTOR, GATE_INTR32, KCODE64, HANDLER);
	guest_put(g, AT_IDT + VECTOR * 16 + 4, 1, 1);
	assert_int_equal(guest_deliver(g, VECTOR, X86_EV_INTR), X86_DONE);
	assert_int_equal(g->cpu.gpr[X86_RSP], STACK_IST - 40);
	assert_int_equal(g->cpu.seg[X86_SS].sel, KDATA);
	guest_put(g, AT_TSS + 0x24, 1ull << 47, 8);
	assert_fault(g, guest_deliver(g, VECTOR, X86_EV_INTR), X86_SS_FAULT, 1);
	g->cpu.tr.limit = 0x2a;
	assert_fault(g, guest_deliver(g, VECTOR, X86_EV_INTR), X86_TS, TSS | 1);
	guest_destroy(g);
}

static void gate_is_16(struct guest *g)
{
	idt_set(g, VECTOR, GATE_INTR16 | A_DPL3, KCODE64, HANDLER);
}

static void gate_is_task(struct guest *g)
{
	idt_set(g, VECTOR, GATE_TASK | A_DPL3, TSS, 0);
}

static void cs_is_32(struct guest *g)
{
	idt_set(g, VECTOR, GATE_INTR32 | A_DPL3, KCODE, HANDLER);
}

static void rip_noncanonical(struct guest *g)
{
	idt_set(g, VECTOR, GATE_INTR32 | A_DPL3, KCODE64, 1ull << 47);
}

static void test_errors_long(void **state)
{
	static const struct broken tests[] = {
		{"idt limit", idt_short, X86_GP, VECTOR * 8 + 2},
		{"16-bit gate", gate_is_16, X86_GP, VECTOR * 8 + 2},
		{"task gate", gate_is_task, X86_GP, VECTOR * 8 + 2},
		{"gate absent", gate_absent, X86_NP, VECTOR * 8 + 2},
		{"cs null", cs_null, X86_GP, 0},
		{"cs beyond", cs_beyond, X86_GP, 0x1000},
		{"cs not 64-bit", cs_is_32, X86_GP, KCODE},
		{"cs absent", cs_absent, X86_NP, FREE},
		{"tss short", tss_short, X86_TS, TSS},
		{"rip", rip_noncanonical, X86_GP, 0},
	};

	(void)state;
	check_broken(GUEST_LONG64, tests, sizeof(tests) / sizeof(tests[0]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_real),
		cmocka_unit_test(test_real_wrap),
		cmocka_unit_test(test_real_limits),
		cmocka_unit_test(test_same_privilege),
		cmocka_unit_test(test_inward),
		cmocka_unit_test(test_conforming),
		cmocka_unit_test(test_resume_flag),
		cmocka_unit_test(test_return_address),
		cmocka_unit_test(test_errors_legacy),
		cmocka_unit_test(test_gate_dpl),
		cmocka_unit_test(test_stack_page),
		cmocka_unit_test(test_task_gate),
		cmocka_unit_test(test_vm86),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_long_inward),
		cmocka_unit_test(test_ist),
		cmocka_unit_test(test_errors_long),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
