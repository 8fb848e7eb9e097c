/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Random sequences of instructions, run twice from the same state: translated, and one instruction at a
 * time by x86_execute() under VM_CAP_MTRAP_EXIT.  Registers, the XSAVE image, memory and every fault on the
 * way must be the same.  Then once more with what is translated and cached already.
 *
 * Not comparable:
 * - status flags at a fault, unless the faulting instruction reads them: where the block overwrites them
 *   before anybody reads them, translated code does not keep them.  Both go on with the same.  Nor is what
 *   a block does with them that has just been rewritten to read them.  A third VM, for which the translator
 *   keeps all, is held to these, too.
 * - RF at an exit of the first instruction behind IRET: translated code has cleared it before, not behind.
 * - the x87 instruction and data pointers: they are the host's.
 * - accessed and dirty bits in the warm run: a cached translation sets none.
 * Under torture a REP that overwrites itself may be stopped half-way, and is another instruction then:
 * what rewrites itself has to differ without torture, too.
 * A sequence that differs once and never again is one of those in which the host preempted us between the last
 * use of x87 and a look at its empty registers; it is counted.
 *
 * SEQUENCE_SEED: the first seed (1), SEQUENCE_N: how many (40000), SEQUENCE_ONE=1: only that one.
 */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "backend/backend.h"
#include "test/backend/soft/hooks.h"
#include "test/backend/soft/sequence.h"
#include "backend/soft/soft.h"
#include "vmm/vm.h"

#define MAX_EVENTS 12u
#define MAX_STEPS  6000u
#define HANG_S	   20u /* without a result: the translator loops */

struct event {
	uint8_t vector;
	uint32_t error;
	uint64_t rip, rflags, cr2;
	uint16_t readable; /* status flags that are exact */
};

enum end { END_REACHED, END_EVENTS, END_EXIT, END_STEPS, END_UNFIT };

struct outcome {
	enum end end;
	int exitcode;
	unsigned events, steps;
	uint32_t pages; /* that the reference executed, from WORLD_CODE_PA on */
	bool changed;	/* an instruction that it executed was another one at first */
	struct event event[MAX_EVENTS];
	struct x86_cpu cpu;
	uint8_t ram[WORLD_USED];
};

struct side {
	struct vm *vm;
	uint8_t *ram;
	bool steps; /* one instruction at a time */
	bool exact; /* status flags are exact at faults */
	bool shut_down;
};

struct bench {
	struct side ref, soft, exact; /* exact: translated with all status flags alive */
	struct x86_cpu constants;
	struct world world;
	struct sequence seq;
	struct outcome want, got;
	bool rewrites; /* this one changes its code */
	bool torture, only;
	unsigned long compared, unfit, events, unstable, rewritten, resumed, kind[SEQUENCE_KINDS];
	char why[256];
};

static volatile uint64_t now_running; /* the seed, for those who cannot be told */

static struct x86_cpu *cpu_of(struct side *s)
{
	return s->vm->ops->cpu_get(s->vm->vmi, 0);
}

static void put_back(struct side *s)
{
	s->vm->ops->cpu_put(s->vm->vmi, 0);
}

static void open_side(struct side *s, bool steps, bool exact)
{
	s->vm = world_vm(&vmm_ops_soft, &s->ram);
	assert_non_null(s->vm);
	s->steps = steps;
	s->exact = exact;
	s->shut_down = false;
	((struct soft_vm *)s->vm->vmi)->all_flags = exact;
	assert_int_equal(vm_set_capability(s->vm, 0, VM_CAP_MTRAP_EXIT, steps), 0);
}

/* Registers as the world has them. */
static void load_cpu(struct side *s, const struct x86_cpu *from)
{
	struct x86_cpu *cpu = cpu_of(s);
	struct x86_exec *exec = cpu->exec;

	*cpu = *from;
	cpu->exec = exec;
	put_back(s);
}

/* Memory, telling the backend of pages that change only, so that the second run finds its code again. */
static void load_ram(struct side *s, const uint8_t *from)
{
	for (uint32_t gpa = 0; gpa < WORLD_USED; gpa += 4096)
		if (memcmp(s->ram + gpa, from + gpa, 4096)) {
			memcpy(s->ram + gpa, from + gpa, 4096);
			vm_mem_written(s->vm, gpa, 4096);
		}
}

static uint64_t end_of(const struct sequence *s)
{
	return WORLD_CODE + s->entry + s->len - 2;
}

static bool has_error(unsigned vector)
{
	return vector == X86_DF || (vector >= X86_TS && vector <= X86_PF) || vector == X86_AC;
}

/* What the instruction at rip reads of the flags; its length, 0 if there is none. */
static unsigned look(struct x86_cpu *cpu, uint16_t *reads)
{
	struct x86_insn insn;

	*reads = 0;
	if (x86_fetch(cpu, &insn) != X86_DONE)
		return 0;
	*reads = insn.row->fl_read & X86_FL_STATUS;
	return insn.len;
}

/*
 * A handler has been reached: notes the event and goes on behind the instruction that faulted.  The flags
 * come from the reference then.  False: enough of it.
 */
static bool take_event(struct side *s, struct outcome *o, const struct outcome *ref, const struct world *w)
{
	struct x86_cpu *cpu = cpu_of(s);
	struct event *e = &o->event[o->events];
	unsigned size = world_is_64(w->mode) ? 8 : 4, n = 5, len;
	uint64_t frame[6] = { 0 };

	*e = (struct event){ .vector = (uint8_t)((cpu->rip - WORLD_HANDLER) / 16), .cr2 = cpu->cr2 };
	n += has_error(e->vector);
	for (unsigned i = 0; i < n; i++)
		if (x86_read(cpu, cpu->gpr[X86_RSP] + i * size, &frame[6 - n + i], size, X86_ACC_READ) !=
			X86_DONE)
			frame[0] = ~0ull;
	e->error = (uint32_t)frame[0];
	e->rip = frame[1];
	e->rflags = frame[3];
	for (unsigned i = 0; i < 6; i++)
		cpu->seg[i] = w->cpu.seg[i];
	cpu->cpl = w->cpu.cpl;
	cpu->rip = frame[1];
	cpu->gpr[X86_RSP] = frame[4];
	len = look(cpu, &e->readable);
	cpu->rip += len;
	if (!world_is_64(w->mode))
		cpu->rip = (uint32_t)cpu->rip;
	cpu->rflags = (frame[3] | 2) & ~(X86_RF_TF | X86_RF_RF);
	if (ref && o->events < ref->events)
		cpu->rflags = (cpu->rflags & ~(uint64_t)X86_FL_STATUS) |
			      (ref->event[o->events].rflags & X86_FL_STATUS);
	/* The stack of the handlers shows flags, too. */
	memset(s->ram + 0x8000, 0, 4096);
	put_back(s);
	return ++o->events < MAX_EVENTS && len != 0 && e->vector != X86_DB;
}

static bool was_changed(const struct side *s, const struct world *w, uint64_t rip)
{
	unsigned offset = rip & 0xfff, n = 4096 - offset;
	uint32_t gpa = WORLD_CODE_PA + (world_page(s->ram, w->mode, rip) << 12) + offset;

	n = n < X86_INSN_MAX ? n : X86_INSN_MAX;
	return gpa + n <= WORLD_USED && memcmp(s->ram + gpa, w->ram + gpa, n) != 0;
}

/* Before each step of the reference. */
static bool fit(struct side *s, const struct bench *b, struct outcome *o)
{
	const struct sequence *seq = &b->seq;
	struct x86_cpu *cpu = cpu_of(s);
	struct x86_fault fault = cpu->fault;
	struct x86_insn insn;
	bool ok = true;

	if (cpu->rip != end_of(seq) && cpu->rip >> 12 != WORLD_HANDLER >> 12 &&
		x86_fetch(cpu, &insn) == X86_DONE)
		ok = sequence_may_run(cpu, &insn);
	o->pages |= 1u << world_page(s->ram, seq->mode, cpu->rip);
	o->pages |= 1u << world_page(s->ram, seq->mode, cpu->rip + X86_INSN_MAX - 1);
	o->changed |= was_changed(s, &b->world, cpu->rip);
	cpu->fault = fault;
	put_back(s);
	return ok;
}

static bool in_handler(struct side *s)
{
	const struct x86_cpu *cpu = cpu_of(s);
	bool in = cpu->cpl == 0 && cpu->rip >> 12 == WORLD_HANDLER >> 12;

	put_back(s);
	return in;
}

static void run(struct side *s, struct outcome *o, const struct outcome *ref, const struct bench *b)
{
	struct vm_run run = { .cpuid = 0, .rip = WORLD_CODE + b->seq.entry };
	int error;

	o->end = END_STEPS;
	o->exitcode = 0;
	o->events = o->steps = o->pages = 0;
	o->changed = false;
	while (o->steps++ < MAX_STEPS) {
		if (s->steps && !fit(s, b, o)) {
			o->end = END_UNFIT;
			break;
		}
		error = vm_run(s->vm, &run);
		if (error && soft_hooks_mismatch(s->vm, "sequence"))
			fail_msg("seed 0x%llx", (unsigned long long)now_running);
		if (error)
			fail_msg("vm_run: %d at 0x%llx, seed 0x%llx", error,
				(unsigned long long)cpu_of(s)->rip, (unsigned long long)now_running);
		o->exitcode = (int)run.vm_exit.exitcode;
		run.rip = run.vm_exit.rip;
		s->shut_down |= run.vm_exit.exitcode == VM_EXITCODE_SUSPENDED;
		if (run.vm_exit.exitcode == VM_EXITCODE_MTRAP)
			continue;
		if (run.vm_exit.exitcode == VM_EXITCODE_INOUT && run.vm_exit.rip == end_of(&b->seq)) {
			o->end = END_REACHED;
			break;
		}
		if (run.vm_exit.exitcode != VM_EXITCODE_INOUT || !in_handler(s)) {
			o->end = END_EXIT;
			break;
		}
		if (!take_event(s, o, ref, &b->world)) {
			o->end = END_EVENTS;
			break;
		}
		run.rip = cpu_of(s)->rip;
		put_back(s);
		if (b->world.cpu.cpl && run.rip == end_of(&b->seq) + 2) {
			o->end = END_REACHED; /* #GP of the OUT at the end */
			break;
		}
	}
	o->cpu = *cpu_of(s);
	put_back(s);
	memcpy(o->ram, s->ram, WORLD_USED);
}

/* ---- comparison ---- */

static bool differ(struct bench *b, const char *what, unsigned n, uint64_t want, uint64_t got)
{
	if (want == got)
		return false;
	snprintf(b->why, sizeof(b->why), "%s %u: 0x%llx, translated 0x%llx", what, n,
		(unsigned long long)want, (unsigned long long)got);
	return true;
}

static bool events_differ(struct bench *b, bool exact)
{
	for (unsigned i = 0; i < b->want.events && i < b->got.events; i++) {
		const struct event *w = &b->want.event[i], *g = &b->got.event[i];
		uint64_t mask = exact ? ~0ull : ~(uint64_t)X86_FL_STATUS | w->readable;

		if (differ(b, "vector of event", i, w->vector, g->vector) ||
			differ(b, "rip of event", i, w->rip, g->rip) ||
			differ(b, "error code of event", i, w->error, g->error) ||
			differ(b, "CR2 at event", i, w->cr2, g->cr2) ||
			differ(b, "RFLAGS at event", i, w->rflags & mask, g->rflags & mask))
			return true;
	}
	return differ(b, "events", 0, b->want.events, b->got.events);
}

/*
 * A component that XSTATE_BV leaves out is in its initial state; pointers of x87 go.  So do x87 registers
 * that are all empty: AMD's CPUs take the component for unused then, and any context switch loses them.
 */
static void normalize(uint8_t fpu[X86_XSAVE_SIZE])
{
	if (!(fpu[512] & 1)) {
		memset(fpu, 0, 24);
		fpu[0] = 0x7f;
		fpu[1] = 3;
		memset(fpu + 32, 0, 128);
	}
	if (!fpu[4])
		memset(fpu + 32, 0, 128);
	if (!(fpu[512] & 2))
		memset(fpu + 160, 0, 256);
	if (!(fpu[512] & 4))
		memset(fpu + 576, 0, 256);
	memset(fpu + 6, 0, 18);
	memset(fpu + 28, 0, 4);
	memset(fpu + 416, 0, 96);
	fpu[512] = 7;
}

static bool fpu_differs(struct bench *b)
{
	normalize(b->want.cpu.fpu);
	normalize(b->got.cpu.fpu);
	for (unsigned i = 0; i < X86_XSAVE_SIZE; i += 8) {
		uint64_t w, g;

		memcpy(&w, b->want.cpu.fpu + i, 8);
		memcpy(&g, b->got.cpu.fpu + i, 8);
		if (differ(b, "XSAVE image", i, w, g))
			return true;
	}
	return false;
}

static bool ram_differs(struct bench *b, bool warm)
{
	unsigned i = warm ? WORLD_TABLES : 0;

	if (memcmp(b->want.ram + i, b->got.ram + i, WORLD_USED - i) == 0)
		return false;
	while (b->want.ram[i] == b->got.ram[i])
		i++;
	return differ(b, "memory at", i, b->want.ram[i], b->got.ram[i]);
}

static bool outcomes_differ(struct bench *b, bool exact, bool warm)
{
	const struct x86_cpu *w = &b->want.cpu, *g = &b->got.cpu;
	uint64_t flags = b->want.end == END_REACHED ? ~0ull : ~(uint64_t)(X86_FL_STATUS | X86_RF_RF);

	if (events_differ(b, exact) || differ(b, "end", 0, b->want.end, b->got.end) ||
		(w->rip != end_of(&b->seq) && differ(b, "exit code", 0, (unsigned)b->want.exitcode,
						      (unsigned)b->got.exitcode)) ||
		differ(b, "RIP", 0, w->rip, g->rip))
		return true;
	for (unsigned i = 0; i < 16; i++)
		if (differ(b, "register", i, w->gpr[i], g->gpr[i]))
			return true;
	for (unsigned i = 0; i < 6; i++)
		if (differ(b, "segment base", i, w->seg[i].base, g->seg[i].base) ||
			differ(b, "selector", i, w->seg[i].sel, g->seg[i].sel))
			return true;
	return differ(b, "RFLAGS", 0, w->rflags & flags, g->rflags & flags) || ram_differs(b, warm) ||
	       fpu_differs(b);
}

/* ---- one sequence ---- */

/* Everything as the world has it, nothing cached.  A triple fault needs a new VM. */
static void load(struct side *s, const struct bench *b)
{
	if (s->shut_down) {
		vm_destroy(s->vm);
		open_side(s, s->steps, s->exact);
	}
	load_ram(s, b->world.ram);
	load_cpu(s, &b->world.cpu);
	assert_int_equal(vm_set_register(s->vm, 0, VM_REG_GUEST_CR3, b->world.cpu.cr3), 0);
}

static bool side_differs(struct bench *b, struct side *s)
{
	alarm(HANG_S);
	load(s, b);
	run(s, &b->got, &b->want, b);
	if (outcomes_differ(b, s->exact, false))
		return true;
	if (s->shut_down)
		return false;
	load_ram(s, b->world.ram);
	load_cpu(s, &b->world.cpu);
	run(s, &b->got, &b->want, b);
	alarm(0);
	return outcomes_differ(b, s->exact, true);
}

/* Has the reference changed a page that it executed? By the way also where that did not matter. */
static bool rewrites(const struct bench *b)
{
	for (unsigned i = 0; i < 32 && WORLD_CODE_PA + (i << 12) < WORLD_USED; i++) {
		uint32_t gpa = WORLD_CODE_PA + (i << 12);

		if (b->want.pages >> i & 1 && memcmp(b->want.ram + gpa, b->world.ram + gpa, 4096) != 0)
			return true;
	}
	return false;
}

static bool sequence_differs(struct bench *b, bool also_exact)
{
	memcpy(b->world.ram + WORLD_CODE_PA + b->seq.entry, b->seq.code, b->seq.len);
	b->world.cpu.rip = WORLD_CODE + b->seq.entry;
	load(&b->ref, b);
	run(&b->ref, &b->want, NULL, b);
	if (b->want.end == END_UNFIT || b->want.end == END_STEPS)
		return false;
	b->rewrites = b->want.changed || rewrites(b);
	if (b->rewrites) {
		b->rewritten++;
		return side_differs(b, &b->exact);
	}
	return side_differs(b, &b->soft) || (also_exact && side_differs(b, &b->exact));
}

static void show_events(const char *who, const struct outcome *o)
{
	static const char *const ends[] = { "the end", "too many events", "an exit", "too many steps", "unfit" };

	for (unsigned i = 0; i < o->events; i++)
		printf("  %s: vector %u error 0x%x at 0x%llx, RFLAGS 0x%llx\n", who, o->event[i].vector,
			o->event[i].error, (unsigned long long)o->event[i].rip,
			(unsigned long long)o->event[i].rflags);
	printf("  %s: %s at 0x%llx, exit code %d, RFLAGS 0x%llx\n", who, ends[o->end],
		(unsigned long long)o->cpu.rip, o->exitcode, (unsigned long long)o->cpu.rflags);
}

static void show(struct bench *b)
{
	unsigned size = world_is_64(b->seq.mode) ? 64 : 32;

	for (unsigned at = 0; at < b->seq.len;) {
		struct x86_insn insn;
		enum x86_decode_result res =
			x86_decode(&insn, b->seq.code + at, b->seq.len - at, size);
		unsigned n = res == X86_DECODE_OK ? insn.len : 1;

		if (n > 1 || b->seq.code[at] != 0x90) {
			printf("  %x:", WORLD_CODE + b->seq.entry + at);
			for (unsigned i = 0; i < n; i++)
				printf(" %02x", b->seq.code[at + i]);
			printf("  %s %s\n", res == X86_DECODE_OK ? insn.row->name : "?",
				res == X86_DECODE_OK ? insn.row->syntax : "");
		}
		at += n;
	}
	show_events("stepped", &b->want);
	show_events("translated", &b->got);
}

/* Pieces that do not matter become NOPs. */
static void shrink(struct bench *b)
{
	struct sequence *s = &b->seq;

	for (unsigned i = s->pieces; i-- > 0;) {
		struct sequence was = *s;

		memset(s->code + s->piece[i], 0x90, s->piece[i + 1] - s->piece[i]);
		if (!sequence_differs(b, true))
			*s = was;
	}
	sequence_differs(b, true);
}

static void make(struct bench *b, uint64_t seed)
{
	struct rng rng = { seed };
	enum world_mode mode = rng_below(&rng, WORLD_MODES);

	world_make(&b->world, mode, &b->constants, &rng);
	sequence_make(&b->seq, mode, &rng);
}

/* SIGSEGV and the like go to the library first; what comes here is a bug or a hang. */
static void died(int sig)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "%s: seed 0x%llx\n",
		sig == SIGALRM ? "translated code does not end" : strsignal(sig),
		(unsigned long long)now_running);

	if (write(2, text, (size_t)n) != n)
		_exit(2);
	_exit(1);
}

static void catch_signals(void)
{
	static const int fatal[] = { SIGALRM, SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT };

	for (unsigned i = 0; i < sizeof(fatal) / sizeof(fatal[0]); i++)
		signal(fatal[i], died);
}

static void count(struct bench *b)
{
	b->events += b->want.events;
	if (b->want.end == END_UNFIT || b->want.end == END_STEPS) {
		b->unfit++;
		return;
	}
	b->compared++;
	b->resumed += b->want.events && b->want.end == END_REACHED;
	for (unsigned i = 0; i < SEQUENCE_KINDS; i++)
		b->kind[i] += b->seq.kinds >> i & 1;
}

static void report(const struct bench *b, uint64_t first, uint64_t last, unsigned bad)
{
	print_message("seeds 0x%llx..0x%llx: %lu sequences (%lu rewrote code), %lu faults, %lu unfit, "
		      "%lu unstable, %u differ\n",
		(unsigned long long)first, (unsigned long long)last, b->compared, b->rewritten,
		b->events, b->unfit, b->unstable, bad);
	print_message("%lu with live flags across memory operands, %lu with fields, %lu with loops through "
		      "memory, %lu with faults before their end\n",
		b->kind[SEQUENCE_FLAGS], b->kind[SEQUENCE_FIELDS], b->kind[SEQUENCE_WALKS], b->resumed);
}

static uint64_t set_dice(struct side *s, uint64_t dice)
{
	struct soft_vcpu *v = ((struct soft_vm *)s->vm->vmi)->vcpu[0];
	uint64_t was = v->torture;

	v->torture = dice;
	return was;
}

/* Without dice, as only they excuse a REP that overwrites itself. */
static bool differs_untortured(struct bench *b)
{
	uint64_t soft = set_dice(&b->soft, 0), exact = set_dice(&b->exact, 0);
	bool differs = sequence_differs(b, true);

	set_dice(&b->soft, soft);
	set_dice(&b->exact, exact);
	return differs;
}

static bool try_seed(struct bench *b, uint64_t seed)
{
	static const char *const name[] = { "64-bit CPL 0", "64-bit CPL 3", "32-bit CPL 1", "32-bit CPL 3" };

	now_running = seed;
	make(b, seed);
	if (!sequence_differs(b, seed % 4 == 0)) {
		count(b);
		return true;
	}
	if ((b->torture && b->rewrites && !differs_untortured(b)) || !sequence_differs(b, true)) {
		printf("unstable: seed 0x%llx, %s%s: %s\n", (unsigned long long)seed,
			name[b->seq.mode], b->rewrites ? ", rewrites itself" : "", b->why);
		if (b->only)
			show(b);
		b->unstable++;
		return true;
	}
	shrink(b);
	printf("seed 0x%llx, %s: %s\n", (unsigned long long)seed, name[b->seq.mode], b->why);
	show(b);
	return false;
}

static uint64_t number(const char *name, uint64_t otherwise)
{
	const char *text = getenv(name);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

/*
 * Seeds that differed once: RF behind IRET, a RET at RIP 0, PAUSE at the end of 4 GiB, code on data pages,
 * code that is changed and changed back.
 */
static void test_found(struct bench *b)
{
	static const uint64_t found[] = { 0x2fc83d7, 0x394acdd, 0x30fd2f5, 0x1323e51, 0x58bbb6d };

	for (size_t i = 0; i < sizeof(found) / sizeof(found[0]); i++)
		assert_true(try_seed(b, found[i]));
}

static void test_sequences(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));
	uint64_t seed = number("SEQUENCE_SEED", 1), first = seed, keep_going = number("SEQUENCE_ALL", 0);
	uint64_t stop = seed + number("SEQUENCE_N", 40000);
	unsigned bad = 0;

	(void)state;
	assert_non_null(b);
	catch_signals();
	open_side(&b->ref, true, false);
	open_side(&b->soft, false, false);
	open_side(&b->exact, false, true);
	b->constants = *cpu_of(&b->ref);
	b->torture = number("SOFT_TORTURE", 0) != 0;
	b->only = number("SEQUENCE_ONE", 0) != 0;
	put_back(&b->ref);
	if (!b->only)
		test_found(b);
	do {
		bad += !try_seed(b, seed++);
	} while ((!bad || (keep_going && bad < keep_going)) && seed < stop && !number("SEQUENCE_ONE", 0));
	report(b, first, seed - 1, bad);
	assert_int_equal(bad, 0);
	assert_true(b->compared > 0 || number("SEQUENCE_ONE", 0));
	for (unsigned i = 0; i < SEQUENCE_KINDS; i++)
		assert_true(b->kind[i] > 0 || seed - first < 1000);
	assert_true(b->resumed > 0 || seed - first < 1000);
	vm_destroy(b->ref.vm);
	vm_destroy(b->soft.vm);
	vm_destroy(b->exact.vm);
	free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_sequences) };

	return cmocka_run_group_tests_name("sequences", tests, NULL, NULL);
}
