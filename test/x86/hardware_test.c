/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The table against the processor itself.  Each native row is run on this machine with random
 * registers and flags, then again with one thing changed that the row says it does not read; what
 * it says it does not write must stay, and what it says it overwrites must not depend on what was
 * there before.  The translator's register and flag liveness rest on just that.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "test/x86/encodings.h"
#include "x86/insn_table.h"

#define PER_ROW	  400
#define CODE_SIZE 4096u
#define FLAGS	  X86_FL_STATUS /* DF stays clear: it is the C compiler's too */
#define RSP_BIT	  (1u << X86_RSP)

struct state {
	uint64_t gpr[16]; /* RSP is not loaded */
	uint64_t flags;
	uint8_t mem[128] __attribute__((aligned(64))); /* the operand is in the middle */
};

/* The page behind the code: all of it is reached relative to RIP. */
struct page {
	struct state in, out;
	uint8_t fpu[512] __attribute__((aligned(16)));
};

static struct {
	uint8_t *write; /* the code's page, writable */
	uint8_t *run;	/* the same, executable, with struct page behind it */
	struct page *page;
} area;

static sigjmp_buf escape;

static void on_signal(int sig)
{
	siglongjmp(escape, sig);
}

/* In the test itself: cmocka puts its own handlers in front of each. */
static void catch_signals(void)
{
	static const int signals[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGTRAP};
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_NODEFER};

	for (unsigned i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigaction(signals[i], &action, NULL);
}

static int set_up(void **state)
{
	int fd = memfd_create("code", 0);

	(void)state;
	if (fd < 0 || ftruncate(fd, CODE_SIZE))
		return -1;
	area.run = mmap(
		NULL, 2 * CODE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (area.run == MAP_FAILED)
		return -1;
	area.page = (struct page *)(area.run + CODE_SIZE);
	area.write = mmap(NULL, CODE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (area.write == MAP_FAILED || mmap(area.run, CODE_SIZE, PROT_READ | PROT_EXEC,
						MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
		return -1;
	close(fd);
	__asm__ volatile("fxsave64 %0" : "=m"(area.page->fpu));
	return 0;
}

/* ---- code ---- */

struct code {
	unsigned n;
};

static void put(struct code *c, const void *bytes, unsigned n)
{
	memcpy(area.write + c->n, bytes, n);
	c->n += n;
}

/* An instruction whose last four bytes are the RIP-relative address of `target`. */
static void put_relative(struct code *c, const void *bytes, unsigned n, const void *target)
{
	int32_t disp;

	put(c, bytes, n);
	disp = (int32_t)((const uint8_t *)target - (area.run + c->n + 4));
	put(c, &disp, sizeof(disp));
}

static void put_moves(struct code *c, uint8_t opcode, uint64_t *gpr)
{
	for (unsigned reg = 0; reg < 16; reg++) {
		uint8_t mov[] = {
			(uint8_t)(0x48 | (reg & 8 ? 4 : 0)), opcode, (uint8_t)((reg & 7) << 3 | 5)};

		if (reg != X86_RSP)
			put_relative(c, mov, sizeof(mov), &gpr[reg]);
	}
}

static void assemble(const uint8_t *insn, unsigned n)
{
	static const uint8_t save[] = {0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57};
	static const uint8_t restore[] = {
		0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b};
	static const uint8_t fxrstor64[] = {0x48, 0x0f, 0xae, 0x0d}, push[] = {0xff, 0x35};
	static const uint8_t pop[] = {0x8f, 0x05}, popf = 0x9d, pushf = 0x9c, ret = 0xc3,
			     emms[] = {0x0f, 0x77};
	struct code c = {0};

	put(&c, save, sizeof(save));
	put_relative(&c, fxrstor64, sizeof(fxrstor64), area.page->fpu);
	put_relative(&c, push, sizeof(push), &area.page->in.flags);
	put(&c, &popf, 1);
	put_moves(&c, 0x8b, area.page->in.gpr);
	put(&c, insn, n);
	put_moves(&c, 0x89, area.page->out.gpr);
	put(&c, &pushf, 1);
	put_relative(&c, pop, sizeof(pop), &area.page->out.flags);
	put_relative(&c, fxrstor64, sizeof(fxrstor64), area.page->fpu);
	put(&c, emms, sizeof(emms));
	put(&c, restore, sizeof(restore));
	put(&c, &ret, 1);
}

/* One run; false if it faulted. */
static bool run(const struct state *in, struct state *out)
{
	void (*code)(void) = (void (*)(void))(uintptr_t)area.run;

	area.page->in = *in;
	area.page->out = *in;
	if (sigsetjmp(escape, 1)) {
		__asm__ volatile("fxrstor64 %0; cld" : : "m"(area.page->fpu));
		return false;
	}
	code();
	*out = area.page->out;
	memcpy(out->mem, area.page->in.mem, sizeof(out->mem));
	out->flags &= FLAGS;
	return true;
}

/* ---- one instruction ---- */

struct trial {
	const struct x86_insn *insn;
	struct rng *rng;
	unsigned mem_base;    /* holds the operand's address, or X86_NOREG */
	uint16_t read, write; /* general registers of the rewritten instruction */
	struct state in, out;
};

static uint64_t random_value(struct rng *rng)
{
	static const uint64_t edge[] = {
		0, 1, ~0ull, 0x80, 0x8000, 0x80000000, 1ull << 63, 0x7fffffff};

	if (rng_below(rng, 3) == 0)
		return edge[rng_below(rng, 8)];
	return (uint64_t)rng_next(rng) << 32 | rng_next(rng);
}

static void randomize(struct trial *t)
{
	for (unsigned i = 0; i < 16; i++)
		t->in.gpr[i] = i == X86_RSP ? 0 : random_value(t->rng);
	for (unsigned i = 0; i < sizeof(t->in.mem); i++)
		t->in.mem[i] = (uint8_t)rng_next(t->rng);
	t->in.flags = (rng_next(t->rng) & FLAGS) | 2;
	if (t->mem_base != X86_NOREG)
		t->in.gpr[t->mem_base] = (uintptr_t)(area.page->in.mem + 64);
}

static void wrong(const struct trial *t, const char *why, unsigned what)
{
	char text[80], *p = text;

	for (unsigned i = 0; i < t->insn->len; i++)
		p += sprintf(p, " %02x", t->insn->bytes[i]);
	fail_msg("%s %s (%u-bit%s): %s %x", t->insn->row->name, t->insn->row->syntax,
		t->insn->code_size, text, why, what);
}

static void check_kept(const struct trial *t)
{
	unsigned changed = (unsigned)(t->in.flags ^ t->out.flags) & FLAGS & ~t->insn->row->fl_write;

	if (changed)
		wrong(t, "writes flags", changed);
	for (unsigned i = 0; i < 16; i++)
		if (t->in.gpr[i] != t->out.gpr[i] && !(t->write >> i & 1))
			wrong(t, "writes register", i);
	if (memcmp(t->in.mem, t->out.mem, sizeof(t->in.mem)) &&
		!(t->insn->has_mem && t->insn->mem.access & X86_WR))
		wrong(t, "writes memory", 0);
}

/* Registers and memory after a run with something changed that is not read. */
static void check_results(const struct trial *t, const struct state *out, unsigned except)
{
	for (unsigned i = 0; i < 16; i++)
		if (i != except && out->gpr[i] != t->out.gpr[i])
			wrong(t, "result depends on what is not read; register", i);
	if (memcmp(out->mem, t->out.mem, sizeof(out->mem)))
		wrong(t, "memory depends on what is not read", except);
}

static void check_flags(const struct trial *t)
{
	const struct x86_row *row = t->insn->row;
	unsigned change = rng_next(t->rng) & FLAGS & ~row->fl_read, differ;
	struct state in = t->in, out;

	in.flags ^= change;
	if (!run(&in, &out))
		return;
	check_results(t, &out, X86_NOREG);
	differ = (unsigned)(out.flags ^ t->out.flags);
	if (differ & row->fl_kill)
		wrong(t, "does not overwrite flags", differ & row->fl_kill);
	if ((differ ^ change) & FLAGS & ~row->fl_write)
		wrong(t, "touches flags", (differ ^ change) & ~row->fl_write);
}

static void check_register(const struct trial *t)
{
	unsigned reg = rng_below(t->rng, 16);
	struct state in = t->in, out;

	if (reg == X86_RSP || reg == t->mem_base || t->read >> reg & 1)
		return;
	in.gpr[reg] = random_value(t->rng);
	if (!run(&in, &out))
		return;
	check_results(t, &out, reg);
	if (t->write >> reg & 1 ? out.gpr[reg] != t->out.gpr[reg] : out.gpr[reg] != in.gpr[reg])
		wrong(t, "does not overwrite or keep register", reg);
	if (out.flags != t->out.flags)
		wrong(t, "flags depend on register", reg);
}

static unsigned free_register(uint16_t used)
{
	for (unsigned reg = 0; reg < 16; reg++)
		if (reg != X86_RSP && !(used >> reg & 1))
			return reg;
	return X86_NOREG;
}

static bool try_one(struct rng *rng, const struct x86_insn *insn)
{
	struct x86_remap map = {.gpr = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};
	struct trial t = {.insn = insn, .rng = rng, .mem_base = X86_NOREG};
	struct x86_insn again;
	uint8_t out[16];
	unsigned n;

	if ((insn->gpr_read | insn->gpr_write) & RSP_BIT)
		return false;
	if (insn->has_mem) {
		t.mem_base = free_register(insn->gpr_read | insn->gpr_write);
		map.mem_base = (uint8_t)t.mem_base;
	}
	n = x86_encode(insn, &map, out);
	if (!n || x86_decode(&again, out, n, 64) != X86_DECODE_OK)
		return false;
	t.read = again.gpr_read;
	t.write = again.gpr_write;
	assemble(out, n);
	randomize(&t);
	if (!run(&t.in, &t.out))
		return false;
	check_kept(&t);
	check_flags(&t);
	check_register(&t);
	return true;
}

/* Answers differ each time, or the flags belong to us. */
static bool is_left_out(const struct x86_row *row)
{
	return row->class != X86_NATIVE || row->feature == X86_F_RDRAND ||
	       row->feature == X86_F_RDSEED || row->mnem == X86_I_std || row->mnem == X86_I_cld ||
	       row->mnem == X86_I_ldmxcsr || row->mnem == X86_I_vldmxcsr ||
	       row->mnem == X86_I_fldcw;
}

static void test_rows(void **state)
{
	static const unsigned code_sizes[] = {16, 32, 64, 64};
	struct rng rng = {5};
	unsigned rows = 0, runs = 0;

	(void)state;
	catch_signals();
	for (unsigned i = 0; i < x86_row_count; i++) {
		unsigned before = runs;

		for (unsigned k = 0; k < PER_ROW && !is_left_out(&x86_rows[i]); k++) {
			unsigned code_size = code_sizes[k % 4];
			uint8_t bytes[ENCODING_BYTES];
			struct x86_insn insn;

			encoding_of_row(&rng, i, code_size, bytes);
			if (x86_decode(&insn, bytes, sizeof(bytes), code_size) == X86_DECODE_OK &&
				!is_left_out(insn.row))
				runs += try_one(&rng, &insn);
		}
		rows += runs != before;
	}
	print_message("%u rows, %u instructions\n", rows, runs);
	assert_true(rows > 600);
}

/* ---- alignment ---- */

/* False where this instruction cannot be run at all. */
static bool try_misaligned(struct rng *rng, const struct x86_insn *insn)
{
	struct x86_remap map = {.gpr = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}};
	struct trial t = {.insn = insn, .rng = rng};
	uint8_t out[16];
	bool faults;

	if (!insn->has_mem || insn->mem.size < 16 || (insn->gpr_read | insn->gpr_write) & RSP_BIT)
		return false;
	t.mem_base = free_register(insn->gpr_read | insn->gpr_write);
	map.mem_base = (uint8_t)t.mem_base;
	assemble(out, x86_encode(insn, &map, out));
	randomize(&t);
	if (!run(&t.in, &t.out))
		return false;
	t.in.gpr[t.mem_base]++;
	faults = !run(&t.in, &t.out);
	if (faults != !!(insn->row->props & X86_P_ALIGN))
		wrong(&t, "misaligned operand faults, or not:", faults);
	return true;
}

/* Not SHA: it faults on paper (SDM vol. 2, exception type 4) and not on AMD's processors. */
static void test_alignment(void **state)
{
	struct rng rng = {9};
	unsigned rows = 0;

	(void)state;
	catch_signals();
	for (unsigned i = 0; i < x86_row_count; i++) {
		bool done = is_left_out(&x86_rows[i]) || x86_rows[i].feature == X86_F_SHA;

		for (unsigned k = 0; k < 50 && !done; k++) {
			uint8_t bytes[ENCODING_BYTES];
			struct x86_insn insn;

			encoding_of_row(&rng, i, 64, bytes);
			if (x86_decode(&insn, bytes, sizeof(bytes), 64) == X86_DECODE_OK &&
				insn.row == &x86_rows[i])
				done = try_misaligned(&rng, &insn);
			rows += done;
		}
	}
	print_message("%u rows\n", rows);
	assert_true(rows > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows), cmocka_unit_test(test_alignment)};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
