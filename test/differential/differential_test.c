/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Every instruction of the table that user mode can execute, against the host CPU: the same bytes,
 * registers, flags, vector state and memory on both sides, everything compared afterwards, faults
 * included.
 *
 * What an instruction leaves undefined is what the host leaves on both sides, so nothing is masked.
 * Arguments: a mnemonic or a row number to try that alone, or "all"; and the effort, 2 if not said;
 * 0 is an eighth of 1, and the backend alone.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "test/differential/case.h"

#define FORMS	      24 /* of each row, with and without a memory operand each */
#define CASES	      50 /* of each form */
#define MAX_REPORTS   3	 /* of each row */
#define VISIBLE_FLAGS (X86_FL_STATUS | X86_FL_DF)

static struct {
	const char *only;
	unsigned scale;
} options = {.scale = 2};

struct totals {
	unsigned rows, no_form, not_here, not_comparable;
	unsigned long forms, cases, faults, loose, mismatches;
};

struct run {
	const struct diff_engine *engine;
	void *ctx;
	struct totals totals;
	unsigned reports; /* of this row */
	struct diff_form form;
	struct diff_case c;
	struct diff_state host, guest;
};

/* ---- what is compared ---- */

static const struct {
	const char *name;
	unsigned offset, len;
} fpu_fields[] = {
	{"FCW", 0, 2},
	{"FSW", 2, 2},
	{"FTW", 4, 1},
	{"MXCSR", 24, 4},
	{"ST0", 32, 10},
	{"ST1", 48, 10},
	{"ST2", 64, 10},
	{"ST3", 80, 10},
	{"ST4", 96, 10},
	{"ST5", 112, 10},
	{"ST6", 128, 10},
	{"ST7", 144, 10},
	{"XMM", 160, 256},
	{"YMM", 576, 256},
};

static const char *differing_fpu(const struct run *run)
{
	for (unsigned i = 0; i < sizeof(fpu_fields) / sizeof(fpu_fields[0]); i++)
		if (memcmp(run->host.fpu + fpu_fields[i].offset,
			    run->guest.fpu + fpu_fields[i].offset, fpu_fields[i].len) != 0)
			return fpu_fields[i].name;
	return NULL;
}

/* The pushes of an ENTER that faults at its end may be seen below the stack or not. */
static bool memory_is_open(const struct run *run)
{
	return run->form.insn.row->mnem == X86_I_enter && run->host.vector != DIFF_NO_FAULT;
}

static bool windows_differ(const struct run *run)
{
	const uint8_t *host = host_data(), *guest = run->engine->data(run->ctx);

	for (unsigned i = 0; i < run->c.windows; i++) {
		const struct diff_window *w = &run->c.window[i];

		if (memcmp(host + w->offset, guest + w->offset, w->len) != 0)
			return true;
	}
	return false;
}

/* CMPS with two bad addresses: processors do not agree which one they report. */
static bool both_fault(const struct run *run)
{
	return run->form.insn.row->mnem == X86_I_cmps && run->host.vector != DIFF_NO_FAULT &&
	       run->guest.vector != DIFF_NO_FAULT;
}

static const char *differing_fault(const struct run *run)
{
	const struct diff_state *h = &run->host, *g = &run->guest;

	if (both_fault(run))
		return NULL;
	if (h->vector != g->vector)
		return "fault";
	if (h->vector == X86_PF && (h->error != g->error || h->cr2 != g->cr2))
		return "page fault";
	return NULL;
}

/* What an engine that is loose about faults may leave otherwise. */
static const char *differing_detail(const struct run *run)
{
	if (differing_fault(run) != NULL)
		return differing_fault(run);
	if ((run->host.rflags ^ run->guest.rflags) & VISIBLE_FLAGS)
		return "flags";
	return !memory_is_open(run) && windows_differ(run) ? "memory" : NULL;
}

static bool is_loose_fault(const struct run *run)
{
	return run->engine->loose && run->host.vector != DIFF_NO_FAULT &&
	       run->guest.vector != DIFF_NO_FAULT;
}

/* NULL if host and engine did the same. */
static const char *difference(struct run *run)
{
	const struct diff_state *h = &run->host, *g = &run->guest;
	const char *detail = differing_detail(run);

	if (detail != NULL && !is_loose_fault(run))
		return detail;
	run->totals.loose += detail != NULL;
	if (h->rip != g->rip)
		return "rip";
	if (memcmp(h->gpr, g->gpr, sizeof(h->gpr)) != 0)
		return "registers";
	return differing_fpu(run);
}

/* ---- reports ---- */

static void print_bytes(const char *what, const uint8_t *bytes, unsigned len)
{
	printf("  %-8s", what);
	for (unsigned i = 0; i < len; i++)
		printf("%s%02x", i && i % 16 == 0 ? "\n          " : " ", bytes[i]);
	printf("\n");
}

static void print_registers(const struct run *run)
{
	static const char *const names[16] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi",
		"rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"};

	for (unsigned i = 0; i < 16; i++)
		printf("  %-4s %016lx host %016lx engine %016lx%s\n", names[i], run->c.state.gpr[i],
			run->host.gpr[i], run->guest.gpr[i],
			run->host.gpr[i] == run->guest.gpr[i] ? "" : " <--");
	printf("  flags %lx host %lx engine %lx; rip host %lx engine %lx\n", run->c.state.rflags,
		run->host.rflags, run->guest.rflags, run->host.rip, run->guest.rip);
	printf("  vector host %d(%x, %lx) engine %d(%x, %lx)\n", run->host.vector, run->host.error,
		run->host.cr2, run->guest.vector, run->guest.error, run->guest.cr2);
}

static void report(struct run *run, const char *what)
{
	const struct x86_insn *insn = &run->form.insn;

	run->totals.mismatches++;
	if (++run->reports > MAX_REPORTS)
		return;
	printf("MISMATCH in %s: row %u %s %s\n", what, insn->row->id, insn->row->name,
		insn->row->syntax);
	print_bytes("code", insn->bytes, insn->len);
	print_registers(run);
	for (unsigned i = 0; i < sizeof(fpu_fields) / sizeof(fpu_fields[0]); i++)
		if (strcmp(fpu_fields[i].name, what) == 0) {
			print_bytes("before", run->c.state.fpu + fpu_fields[i].offset,
				fpu_fields[i].len);
			print_bytes(
				"host", run->host.fpu + fpu_fields[i].offset, fpu_fields[i].len);
			print_bytes(
				"engine", run->guest.fpu + fpu_fields[i].offset, fpu_fields[i].len);
		}
	for (unsigned i = 0; i < run->c.windows && strcmp(what, "memory") == 0; i++) {
		const struct diff_window *w = &run->c.window[i];

		printf("  window at %x\n", DIFF_DATA + w->offset);
		print_bytes("before", w->bytes, w->len);
		print_bytes("host", host_data() + w->offset, w->len);
		print_bytes("engine", run->engine->data(run->ctx) + w->offset, w->len);
	}
}

/* ---- execution ---- */

static void run_case(struct run *run)
{
	const char *what;

	for (unsigned i = 0; i < run->c.windows; i++) {
		const struct diff_window *w = &run->c.window[i];

		memcpy(host_data() + w->offset, w->bytes, w->len);
		memcpy(run->engine->data(run->ctx) + w->offset, w->bytes, w->len);
	}
	run->host = run->guest = run->c.state;
	host_run(&run->host);
	run->engine->run(run->ctx, &run->guest);
	run->totals.cases++;
	run->totals.faults += run->host.vector != DIFF_NO_FAULT;
	what = difference(run);
	if (what != NULL)
		report(run, what);
	if (memory_is_open(run) || is_loose_fault(run))
		memcpy(run->engine->data(run->ctx), host_data(), DIFF_DATA_SIZE);
}

/* Stores outside the windows. */
static void compare_all_data(struct run *run)
{
	uint8_t *guest = run->engine->data(run->ctx);

	if (memcmp(host_data(), guest, DIFF_DATA_SIZE) == 0)
		return;
	report(run, "memory elsewhere");
	memcpy(guest, host_data(), DIFF_DATA_SIZE);
}

static void run_form(struct run *run, struct diff_random *r)
{
	const struct x86_insn *insn = &run->form.insn;

	host_load(insn->bytes, insn->len, insn->row->class == X86_BRANCH);
	run->engine->load(run->ctx, insn->bytes, insn->len, insn->row->class == X86_BRANCH);
	value_fpu(r, run->c.state.fpu, false);
	for (unsigned i = 0; i < CASES; i++) {
		case_make(&run->c, &run->form, r);
		run_case(run);
	}
	compare_all_data(run);
	run->totals.forms++;
}

/* Random by nature. */
static bool is_random(const struct x86_row *row)
{
	return row->mnem == X86_I_rdrand || row->mnem == X86_I_rdseed;
}

/* SYSTEM rows that user mode may execute, or try to, and whose results are not about this system.
 */
static bool is_comparable(const struct x86_row *row)
{
	static const uint16_t system[] = {
		X86_I_bt,
		X86_I_bts,
		X86_I_btr,
		X86_I_btc,
		X86_I_xlat,
		X86_I_maskmovq,
		X86_I_maskmovdqu,
		X86_I_vmaskmovdqu,
		X86_I_vmaskmovps,
		X86_I_vmaskmovpd,
		X86_I_vpmaskmovd,
		X86_I_vpmaskmovq,
		X86_I_vgatherdps,
		X86_I_vgatherdpd,
		X86_I_vgatherqps,
		X86_I_vgatherqpd,
		X86_I_vpgatherdd,
		X86_I_vpgatherdq,
		X86_I_vpgatherqd,
		X86_I_vpgatherqq,
		X86_I_clflush,
		X86_I_clflushopt,
		X86_I_clwb,
		X86_I_ud0,
		X86_I_ud1,
		X86_I_ud2,
		X86_I_in,
		X86_I_out,
		X86_I_cli,
		X86_I_sti,
	};

	if (row->class != X86_SYSTEM)
		return !is_random(row);
	for (unsigned i = 0; i < sizeof(system) / sizeof(system[0]); i++)
		if (system[i] == row->mnem)
			return true;
	return row->props & X86_P_PRIV;
}

static void run_row(struct run *run, const struct x86_row *row)
{
	struct diff_random r = {.state = 0x9e3779b97f4a7c15ull * (row->id + 1u)};
	unsigned long before = run->totals.forms;

	run->reports = 0;
	for (unsigned i = 0; i < (options.scale ? 2 * FORMS * options.scale : FORMS / 4); i++)
		if (form_make(&run->form, row, i % 2, &r))
			run_form(run, &r);
	if (run->totals.forms == before && !(row->props & X86_P_I64)) {
		run->totals.no_form++;
		printf("no form: row %u %s %s\n", row->id, row->name, row->syntax);
	} else {
		run->totals.rows += run->totals.forms != before;
	}
}

static bool is_wanted(const struct x86_row *row)
{
	return options.only == NULL || strcmp(options.only, row->name) == 0 ||
	       (unsigned)atoi(options.only) == row->id;
}

static void run_engine(const struct diff_engine *engine)
{
	struct run *run = aligned_alloc(64, (sizeof(*run) + 63) & ~(size_t)63);
	struct x86_cpu *policy = aligned_alloc(64, (sizeof(*policy) + 63) & ~(size_t)63);
	struct totals *t = &run->totals;
	clock_t start = clock();

	assert_int_equal(
		host_open(), 0); /* here, because cmocka takes the signals at each test's begin */
	memset(run, 0, sizeof(*run));
	memset(policy, 0, sizeof(*policy));
	x86_features_init(policy);
	run->engine = engine;
	run->ctx = engine->open();
	assert_non_null(run->ctx);
	memcpy(engine->data(run->ctx), host_data(), DIFF_DATA_SIZE);
	for (unsigned i = 0; i < x86_row_count; i++) {
		const struct x86_row *row = &x86_rows[i];

		if (!is_wanted(row))
			continue;
		if (!is_comparable(row))
			t->not_comparable++;
		else if (row->feature != X86_F_NONE && !x86_has_feature(policy, row->feature))
			t->not_here++;
		else
			run_row(run, row);
	}
	engine->close(run->ctx);
	host_close();
	printf("%s against the host CPU: %lu cases, %lu faults among them, %lu encodings of %u "
	       "rows; "
	       "%u rows not on this host, %u not comparable; %.1f s; %lu faults inexact, "
	       "%lu mismatches\n",
		engine->name, t->cases, t->faults, t->forms, t->rows, t->not_here,
		t->not_comparable, (double)(clock() - start) / CLOCKS_PER_SEC, t->loose,
		t->mismatches);
	assert_int_equal(t->mismatches, 0);
	assert_int_equal(t->no_form, 0);
	free(policy);
	free(run);
}

static void test_execute(void **state)
{
	(void)state;
	if (options.scale)
		run_engine(&diff_execute);
}

static void test_soft(void **state)
{
	(void)state;
	run_engine(&diff_soft);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_execute),
		cmocka_unit_test(test_soft),
	};

	if (argc > 1)
		options.only = strcmp(argv[1], "all") == 0 ? NULL : argv[1];
	if (argc > 2)
		options.scale = (unsigned)atoi(argv[2]);
	setvbuf(stdout, NULL, _IOLBF, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
