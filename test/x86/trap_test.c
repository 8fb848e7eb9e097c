/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Host exceptions reach the right trap, and everybody else's handlers keep working.  Dispositions
 * belong to the process, so every case runs in a child of its own.
 */
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include <cmocka.h>

#include "x86/x86.h"

/* Two places that fault, and the first byte behind them. */
void fault_first(void);
void fault_second(void);
void fault_end(void);
__asm__(".text\n"
	"fault_first: movl 0, %eax\n ret\n"
	"fault_second: ud2\n ret\n"
	"fault_end: nop\n");

struct seen {
	int count;
	int sig;
	bool on_alt_stack;
};

static bool skip_instruction(struct x86_trap *trap, int sig, void *siginfo, void *context)
{
	ucontext_t *uc = context;
	struct seen *seen = trap->arg;
	stack_t stack;

	(void)siginfo;
	sigaltstack(NULL, &stack);
	seen->count++;
	seen->sig = sig;
	seen->on_alt_stack = stack.ss_flags & SS_ONSTACK;
	uc->uc_mcontext.gregs[REG_RIP] += sig == SIGILL ? 2 : 7;
	return true;
}

static bool refuse(struct x86_trap *trap, int sig, void *siginfo, void *context)
{
	(void)sig;
	(void)siginfo;
	(void)context;
	((struct seen *)trap->arg)->count++;
	return false;
}

static struct x86_trap make_trap(void (*lo)(void), void (*hi)(void), struct seen *seen)
{
	return (struct x86_trap){
		.lo = (uintptr_t)lo, .hi = (uintptr_t)hi, .fn = skip_instruction, .arg = seen};
}

/*
 * cmocka has handlers of its own for faults. The address sanitizer has a stack for them, which is
 * big enough to be used by traps, but has no guard page: what goes deeper and deeper until it dies
 * would run into the sanitizer's own memory instead.
 */
static void forget_others(void)
{
	static const int taken[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};
	const stack_t none = {.ss_flags = SS_DISABLE};

	sigaltstack(&none, NULL);
	for (size_t i = 0; i < sizeof(taken) / sizeof(taken[0]); i++)
		signal(taken[i], SIG_DFL);
}

/* Runs `fn` in a child: its exit status, or 128 + the signal that killed it. */
static int in_child(int (*fn)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		forget_others();
		_exit(fn());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int claims(void)
{
	struct seen first = {0}, second = {0};
	struct x86_trap a = make_trap(fault_first, fault_second, &first);
	struct x86_trap b = make_trap(fault_second, fault_end, &second);

	if (x86_trap_push(&a) != 0 || x86_trap_push(&b) != 0)
		return 1;
	fault_first();
	fault_second();
	fault_second();
	x86_trap_pop(&a); /* not the innermost */
	fault_second();
	x86_trap_pop(&b);
	return !(first.count == 1 && first.sig == SIGSEGV && first.on_alt_stack &&
		 second.count == 3 && second.sig == SIGILL && second.on_alt_stack);
}

static int refused_goes_outward(void)
{
	struct seen inner = {0}, outer = {0};
	struct x86_trap a = make_trap(fault_first, fault_second, &outer), b = a;

	b.fn = refuse;
	b.arg = &inner;
	x86_trap_push(&a);
	x86_trap_push(&b);
	fault_first();
	x86_trap_pop(&b);
	x86_trap_pop(&a);
	return !(inner.count == 1 && outer.count == 1);
}

static int dies_of_unclaimed(void)
{
	struct seen seen = {0};
	struct x86_trap a = make_trap(fault_first, fault_second, &seen);

	x86_trap_push(&a);
	fault_second();
	return 0;
}

static int dies_after_pop(void)
{
	struct seen seen = {0};
	struct x86_trap a = make_trap(fault_first, fault_second, &seen);

	x86_trap_push(&a);
	x86_trap_pop(&a);
	fault_first();
	return 0;
}

static int dies_of_sent(void)
{
	struct seen seen = {0};
	struct x86_trap a = make_trap(fault_first, fault_second, &seen);

	x86_trap_push(&a);
	raise(SIGSEGV);
	return 0;
}

static sigjmp_buf back;
static volatile int old_calls, old_signal;

static void old_info(int sig, siginfo_t *info, void *context)
{
	(void)context;
	old_calls++;
	old_signal = info->si_signo == sig ? sig : -1;
	siglongjmp(back, 1);
}

static void old_plain(int sig)
{
	old_calls++;
	old_signal = sig;
}

static int previous_handlers(void)
{
	struct sigaction info = {.sa_sigaction = old_info, .sa_flags = SA_SIGINFO};
	struct sigaction plain = {.sa_handler = old_plain};
	struct seen seen = {0};
	struct x86_trap a = make_trap(fault_first, fault_second, &seen);

	sigaction(SIGILL, &info, NULL);
	sigaction(SIGFPE, &plain, NULL);
	x86_trap_push(&a);
	if (sigsetjmp(back, 1) == 0) {
		fault_second();
		return 1;
	}
	if (old_calls != 1 || old_signal != SIGILL)
		return 2;
	raise(SIGFPE); /* sent, not raised by an instruction */
	if (old_calls != 2 || old_signal != SIGFPE)
		return 3;
	fault_first();
	x86_trap_pop(&a);
	return seen.count != 1;
}

static struct sigaction ours;

static void passes_back(int sig, siginfo_t *info, void *context)
{
	old_calls++;
	ours.sa_sigaction(sig, info, context);
}

/* A handler that came after us is put in front of us again, and may chain to us without end. */
static int later_handler(void)
{
	struct sigaction later = {.sa_sigaction = passes_back, .sa_flags = SA_SIGINFO};
	struct seen seen = {0};
	struct x86_trap a = make_trap(fault_first, fault_second, &seen);

	x86_trap_push(&a);
	x86_trap_pop(&a);
	sigaction(SIGSEGV, &later, &ours);
	later.sa_sigaction = old_info;
	sigaction(SIGILL, &later, NULL);
	x86_trap_push(&a);
	fault_first();
	if (seen.count != 1 || old_calls != 0)
		return 1;
	if (sigsetjmp(back, 1) == 0) {
		fault_second();
		return 2;
	}
	if (old_calls != 1)
		return 3;
	x86_trap_pop(&a);
	fault_first();
	return 0;
}

static int ignored_sent(void)
{
	struct seen seen = {0};
	struct x86_trap a = make_trap(fault_first, fault_second, &seen);

	signal(SIGTRAP, SIG_IGN);
	x86_trap_push(&a);
	raise(SIGTRAP);
	x86_trap_pop(&a);
	return 0;
}

static int stack_is_returned(void)
{
	static uint8_t small[16384];
	stack_t own = {.ss_sp = small, .ss_size = sizeof(small)}, now;
	struct seen seen = {0};
	struct x86_trap a = make_trap(fault_first, fault_second, &seen);

	sigaltstack(&own, NULL);
	x86_trap_push(&a);
	sigaltstack(NULL, &now);
	if (now.ss_sp == small)
		return 1; /* too small for vector state */
	x86_trap_pop(&a);
	sigaltstack(NULL, &now);
	return now.ss_sp != small || now.ss_size != sizeof(small);
}

static int big_stack_is_kept(void)
{
	size_t size = 1 << 20;
	stack_t own = {.ss_sp = malloc(size), .ss_size = size}, now;
	struct seen seen = {0};
	struct x86_trap a = make_trap(fault_first, fault_second, &seen);

	sigaltstack(&own, NULL);
	x86_trap_push(&a);
	sigaltstack(NULL, &now);
	fault_first();
	x86_trap_pop(&a);
	return now.ss_sp != own.ss_sp || !seen.on_alt_stack || seen.count != 1;
}

static void *thread_faults(void *arg)
{
	struct seen seen = {0};
	struct x86_trap a = make_trap(fault_first, fault_second, &seen);

	(void)arg;
	for (int i = 0; i < 2000; i++) {
		if (x86_trap_push(&a) != 0)
			return (void *)1;
		fault_first();
		x86_trap_pop(&a);
	}
	return (void *)(uintptr_t)(seen.count != 2000);
}

static int threads(void)
{
	pthread_t id[4];
	uintptr_t failed = 0;
	void *one;

	for (int i = 0; i < 4; i++)
		pthread_create(&id[i], NULL, thread_faults, NULL);
	for (int i = 0; i < 4; i++) {
		pthread_join(id[i], &one);
		failed |= (uintptr_t)one;
	}
	return (int)failed;
}

static void test_claims(void **state)
{
	(void)state;
	assert_int_equal(in_child(claims), 0);
	assert_int_equal(in_child(refused_goes_outward), 0);
	assert_int_equal(in_child(threads), 0);
}

static void test_unclaimed(void **state)
{
	(void)state;
	assert_int_equal(in_child(dies_of_unclaimed), 128 + SIGILL);
	assert_int_equal(in_child(dies_after_pop), 128 + SIGSEGV);
	assert_int_equal(in_child(dies_of_sent), 128 + SIGSEGV);
}

static void test_previous(void **state)
{
	(void)state;
	assert_int_equal(in_child(previous_handlers), 0);
	assert_int_equal(in_child(ignored_sent), 0);
	assert_int_equal(in_child(later_handler), 128 + SIGSEGV);
}

static void test_stack(void **state)
{
	(void)state;
	assert_int_equal(in_child(stack_is_returned), 0);
	assert_int_equal(in_child(big_stack_is_kept), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_claims),
		cmocka_unit_test(test_unclaimed),
		cmocka_unit_test(test_previous),
		cmocka_unit_test(test_stack),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
