/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Litmus tests of the memory model (SDM vol. 3, 8.2.3; Sewell et al., "x86-TSO"): some vcpus store to X and Y and load
 * them, and only outcomes that the model allows may come out; LITMUS_N rounds of each (30000).  The one relaxation
 * of the model, a load that passes an older store, has to be seen: otherwise the others prove nothing.
 *
 * Before each round all meet at a barrier.  In round n what is stored is n, so a load finds n or, from the round before,
 * n - 1; nothing has to be cleared.  Where there are more vcpus than a host may have cores, one round is a batch
 * of many X and Y, which they run through without waiting for each other.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "test/backend/soft/smp.h"

#define CONTROL	  0x1f0000u /* struct control; 64 bytes on, the barrier's counter */
#define RESULTS	  0x240000u /* 8000h for each vcpu: what its two loads found, for each of the batch */
#define MAX_BATCH 256u

struct control {
	uint64_t rounds, threads, batch;
	uint64_t places;   /* of the first X; Y lies 64 bytes on, the next X 128 */
	uint64_t function; /* called in each round */
};

#define BARRIER                                                                                    \
	"lock incq 64(%rbp)\n add 8(%rbp), %r13\n mov $200, %ecx\n"                                \
	"1: cmp %r13, 64(%rbp)\n jae 2f\n dec %ecx\n jns 1b\n pause\n jmp 1b\n 2:\n"

/*
 * RBP: control. R10: the round. R13: what the barrier's counter is to be. R12: the place in the batch. Then, for what
 * a vcpu does: R8 and R9 point at X and Y, loads go to RAX and RDX.  They begin up to 15 turns of a loop apart.
 */
#define BEGIN                                                                                      \
	"xor %eax, %eax\n mov $0x1f0000, %ebp\n cmp 8(%rbp), %rdi\n jae 99f\n"                     \
	"mov $1, %r10d\n xor %r13d, %r13d\n xor %r14d, %r14d\n"                                    \
	"10: call *32(%rbp)\n" BARRIER                                                             \
	"lea (%r10,%rdi,8), %ecx\n imul $0x9e3779b1, %ecx, %ecx\n shr $28, %ecx\n"                 \
	"3: dec %ecx\n jns 3b\n xor %r12d, %r12d\n"                                                \
	"11: mov %r12, %r8\n shl $7, %r8\n add 24(%rbp), %r8\n lea 64(%r8), %r9\n"

/* Stores what was loaded; behind the batch, vcpu 0 looks at all of it and counts in R14 what CHECK lets through. */
#define END(check)                                                                                 \
	"30: mov %rdi, %rsi\n shl $15, %rsi\n mov %r12, %rcx\n shl $4, %rcx\n"                     \
	"mov %rax, 0x240000(%rsi,%rcx)\n mov %rdx, 0x240008(%rsi,%rcx)\n"                          \
	"inc %r12\n cmp 16(%rbp), %r12\n jb 11b\n" BARRIER                                         \
	"test %edi, %edi\n jnz 40f\n xor %r12d, %r12d\n"                                           \
	"31: mov %r12, %rsi\n shl $4, %rsi\n add $0x240000, %rsi\n" check                          \
	"7: inc %r14\n 8: inc %r12\n cmp 16(%rbp), %r12\n jb 31b\n"                                \
	"40: inc %r10\n cmp (%rbp), %r10\n jbe 10b\n mov %r14d, %eax\n 99:\n"

#define ON(vcpu, code)	    "cmp $" #vcpu ", %edi\n jne 4f\n" code "jmp 30f\n 4:\n"
#define STORE(where)	    "mov %r10, (%" where ")\n"
#define XCHG(where)	    "mov %r10, %rcx\n xchg %rcx, (%" where ")\n"
#define LOAD(where, to)	    "mov (%" where "), %" to "\n"
#define X		    "r8"
#define Y		    "r9"
#define FIRST		    "rax"
#define SECOND		    "rdx"
#define MFENCE		    "mfence\n"
#define LOCKED		    "lock orl $0, -8(%rsp)\n"
/* The vcpu's load found what was stored in this round; or it did not.  Anything but these two counts, too. */
#define LOADED(vcpu, n)	    "0x8000*" #vcpu "+8*" #n "(%rsi)"
#define SANE(vcpu, n)	    "mov %r10, %rcx\n sub " LOADED(vcpu, n) ", %rcx\n cmp $1, %rcx\n ja 7f\n"
#define NEW(vcpu, n)	    SANE(vcpu, n) "jb 5f\n jmp 8f\n 5:\n"
#define OLD(vcpu, n)	    SANE(vcpu, n) "jb 8f\n"

/* Store buffering: both loads may miss the other's store, unless there is a fence or a locked instruction. */
#define SB(store, between)                                                                         \
	BEGIN ON(0, store(X) between LOAD(Y, FIRST)) ON(1, store(Y) between LOAD(X, FIRST))        \
		END(OLD(0, 0) OLD(1, 0))
SNIPPET(sb, SB(STORE, ""));
SNIPPET(sb_mfence, SB(STORE, MFENCE));
SNIPPET(sb_lock, SB(STORE, LOCKED));
SNIPPET(sb_xchg, SB(XCHG, ""));
/* Message passing: who sees the second store sees the first. */
SNIPPET(mp, BEGIN ON(0, STORE(X) STORE(Y)) ON(1, LOAD(Y, FIRST) LOAD(X, SECOND))
		    END(NEW(1, 0) OLD(1, 1)));
/* Load buffering: no load sees a store that follows a load that sees its own. */
SNIPPET(lb, BEGIN ON(0, LOAD(X, FIRST) STORE(Y)) ON(1, LOAD(Y, FIRST) STORE(X))
		    END(NEW(0, 0) NEW(1, 0)));
/* A vcpu's loads of one place go forward only; and it sees its own store at once. */
SNIPPET(corr, BEGIN ON(0, STORE(X)) ON(1, LOAD(X, FIRST) LOAD(X, SECOND))
		      END(NEW(1, 0) OLD(1, 1)));
SNIPPET(own, BEGIN ON(0, STORE(X) LOAD(X, FIRST)) ON(1, STORE(X) LOAD(X, FIRST)) END(OLD(0, 0)));
/* Causality over three vcpus. */
SNIPPET(wrc, BEGIN ON(0, STORE(X)) ON(1, LOAD(X, FIRST) STORE(Y))
		     ON(2, LOAD(Y, FIRST) LOAD(X, SECOND)) END(NEW(1, 0) NEW(2, 0) OLD(2, 1)));
/* Two observers agree on the order of independent stores; locked ones, too. */
#define IRIW(store)                                                                                \
	BEGIN ON(0, store(X)) ON(1, store(Y)) ON(2, LOAD(X, FIRST) LOAD(Y, SECOND))                \
		ON(3, LOAD(Y, FIRST) LOAD(X, SECOND))                                              \
			END(NEW(2, 0) OLD(2, 1) NEW(3, 0) OLD(3, 1))
SNIPPET(iriw, IRIW(STORE));
SNIPPET(iriw_xchg, IRIW(XCHG));

static uint64_t rounds_wanted(void)
{
	const char *text = getenv("LITMUS_N");

	return text ? strtoull(text, NULL, 0) : 30000;
}

static unsigned run(struct smp *s, unsigned vcpus, const uint8_t *code, const uint8_t *end,
	uint64_t rounds, bool beside)
{
	static const uint8_t ret[] = {0xc3};
	struct control control = {
		.rounds = rounds,
		.threads = vcpus,
		.batch = vcpus > 2 ? beside ? 16 : MAX_BATCH : 1,
		.places = beside ? DATA + 0x800 : DATA,
		.function = beside ? DATA : DATA - 0x1000,
	};
	struct runner r[VCPUS];

	if (control.batch > 1)
		control.rounds = rounds / control.batch + 1;
	memset(s->ram + CONTROL, 0, 128);
	memcpy(s->ram + CONTROL, &control, sizeof(control));
	memset(s->ram + DATA, 0, MAX_BATCH * 128);
	memcpy(s->ram + control.function, ret, sizeof(ret));
	start(s, r, code, end);
	finish(r);
	return r[0].exit.u.inout.eax;
}

/* In pages of their own, and in a page that holds code of all vcpus, whose stores go another way. */
static void never(struct smp *s, unsigned vcpus, const uint8_t *code, const uint8_t *end)
{
	assert_int_equal(run(s, vcpus, code, end, rounds_wanted(), false), 0);
	assert_int_equal(run(s, vcpus, code, end, rounds_wanted() / 10, true), 0);
}

#define NEVER(name, vcpus)                                                                         \
	static void test_##name(void **state)                                                      \
	{                                                                                          \
		never(*state, vcpus, name, name##_end);                                            \
	}
NEVER(sb_mfence, 2)
NEVER(sb_lock, 2)
NEVER(sb_xchg, 2)
NEVER(mp, 2)
NEVER(lb, 2)
NEVER(corr, 2)
NEVER(own, 2)
NEVER(wrc, 3)
NEVER(iriw, 4)
NEVER(iriw_xchg, 4)

/* Has to be seen, if there are two cores to see it on: this is how much the others look. */
static void test_sb(void **state)
{
	unsigned seen = 0;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		skip();
	for (unsigned i = 0; i < 100 && seen == 0; i++)
		seen = run(*state, 2, sb, sb_end, rounds_wanted(), false);
	print_message("# store buffering was seen %u times\n", seen);
	assert_int_not_equal(seen, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(sb), TEST(sb_mfence), TEST(sb_lock), TEST(sb_xchg), TEST(mp),   TEST(lb),
		TEST(own), TEST(corr),	   TEST(wrc),	  TEST(iriw),	 TEST(iriw_xchg),
	};

	return cmocka_run_group_tests_name("litmus", tests, NULL, NULL);
}
