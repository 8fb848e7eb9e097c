/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Host exceptions in code that runs for the guest.
 *
 * Handlers for the five synchronous signals are installed in front of whoever had them when a
 * thread pushes its first trap, and stay.  A signal that the kernel raised at a program counter
 * inside one of the thread's traps goes to that trap; all others go on to the previous disposition,
 * so an embedder's crash handler keeps working, also one that was installed after ours.  (Should
 * that one hand back to us what nobody claims, the two end as the process has to end anyway: by
 * SIGSEGV, their stack used up.)
 *
 * This is the one file of the room with mutable state outside of a struct x86_cpu: a signal handler
 * is handed no context of ours, so it has to find the list through thread-local storage, and
 * dispositions belong to the process.
 *
 * A thread's alternate stack lives from its first push to its last pop; a thread that pushes often
 * calls x86_trap_keep() first, and has handlers and stack looked after once, until it ends.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include "x86/exec.h"

#define STACK_SIZE (64u << 10) /* AVX-512 frames are 3 KiB; AMX ones 11 KiB */
#define GUARD_SIZE 4096u

static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
#define SIGNALS (sizeof(signals) / sizeof(signals[0]))

struct trap_thread {
	struct x86_trap *head;
	uint8_t *stack;	   /* ours, guard page first; NULL if the thread had one of its own */
	stack_t old_stack; /* what it had before */
	bool kept;	   /* x86_trap_keep() */
};

/* initial-exec: the handler must not run into a lazily allocated TLS block. */
static __thread struct trap_thread self __attribute__((tls_model("initial-exec")));
static struct sigaction previous[SIGNALS];
static pthread_mutex_t install_lock = PTHREAD_MUTEX_INITIALIZER; /* writers of previous[] */

/* As the kernel would have called it: its mask, its form of handler. */
static void call_previous(const struct sigaction *old, int sig, siginfo_t *info, void *context)
{
	sigset_t mask = old->sa_mask, saved;

	if (!(old->sa_flags & SA_NODEFER))
		sigaddset(&mask, sig);
	pthread_sigmask(SIG_BLOCK, &mask, &saved);
	if (old->sa_flags & SA_SIGINFO)
		old->sa_sigaction(sig, info, context);
	else
		old->sa_handler(sig);
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
}

/*
 * SIG_DFL: the process shall die of this signal.  A fault comes again by itself when the
 * instruction is restarted; a signal that somebody sent, and a trap behind its instruction, does
 * not.
 */
static void default_action(int sig, const siginfo_t *info)
{
	struct sigaction dfl = {.sa_handler = SIG_DFL};

	sigaction(sig, &dfl, NULL);
	if (info->si_code <= 0 || sig == SIGTRAP)
		raise(sig);
}

static void pass_on(int sig, siginfo_t *info, void *context)
{
	const struct sigaction *old = NULL;

	for (size_t i = 0; i < SIGNALS; i++)
		if (signals[i] == sig)
			old = &previous[i];
	if (old == NULL)
		return;
	if (!(old->sa_flags & SA_SIGINFO) && old->sa_handler == SIG_IGN && info->si_code <= 0)
		return; /* the kernel does not let a fault be ignored */
	if (!(old->sa_flags & SA_SIGINFO) &&
		(old->sa_handler == SIG_DFL || old->sa_handler == SIG_IGN))
		default_action(sig, info);
	else
		call_previous(old, sig, info, context);
}

static void on_signal(int sig, siginfo_t *info, void *context)
{
	const ucontext_t *uc = context;
	uintptr_t pc = (uintptr_t)uc->uc_mcontext.gregs[REG_RIP];
	int saved_errno = errno;

	/* si_code > 0: from the kernel, because of what this thread executed. */
	if (info->si_code > 0)
		for (struct x86_trap *trap = self.head; trap != NULL; trap = trap->next)
			if (pc >= trap->lo && pc < trap->hi && trap->fn(trap, sig, info, context))
				goto done;
	pass_on(sig, info, context);
done:
	errno = saved_errno;
}

static int install_one(size_t i)
{
	struct sigaction now, action = {
				      .sa_sigaction = on_signal,
				      .sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER,
			      };

	if (sigaction(signals[i], NULL, &now) != 0)
		return errno;
	if (now.sa_sigaction == on_signal && (now.sa_flags & action.sa_flags) == action.sa_flags)
		return 0;
	if (now.sa_sigaction != on_signal) /* else restored by signal(), which knows no flags */
		previous[i] = now;
	sigemptyset(&action.sa_mask);
	return sigaction(signals[i], &action, NULL) != 0 ? errno : 0;
}

static int install(void)
{
	int error = 0;

	pthread_mutex_lock(&install_lock);
	for (size_t i = 0; i < SIGNALS && error == 0; i++)
		error = install_one(i);
	pthread_mutex_unlock(&install_lock);
	return error;
}

static int stack_create(void)
{
	stack_t stack = {.ss_size = STACK_SIZE};
	uint8_t *mem;

	if (sigaltstack(NULL, &self.old_stack) != 0)
		return errno;
	if (!(self.old_stack.ss_flags & SS_DISABLE) && self.old_stack.ss_size >= STACK_SIZE)
		return 0; /* good enough */
	mem = mmap(NULL, GUARD_SIZE + STACK_SIZE, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (mem == MAP_FAILED)
		return errno;
	stack.ss_sp = mem + GUARD_SIZE;
	if (mprotect(mem, GUARD_SIZE, PROT_NONE) != 0 || sigaltstack(&stack, NULL) != 0) {
		int error = errno;

		munmap(mem, GUARD_SIZE + STACK_SIZE);
		return error;
	}
	self.stack = mem;
	return 0;
}

static void stack_destroy(void)
{
	if (self.stack == NULL)
		return;
	sigaltstack(&self.old_stack, NULL);
	munmap(self.stack, GUARD_SIZE + STACK_SIZE);
	self.stack = NULL;
}

/* libc moves signal masks with vector instructions, and the guest's registers may be in place. */
static int first_push(void)
{
	uint8_t vectors[X86_XSAVE_SIZE] __attribute__((aligned(64)));
	int error;

	x86_vectors_save(vectors);
	error = install();
	if (error == 0)
		error = stack_create();
	x86_vectors_load(vectors);
	return error;
}

static pthread_key_t keep_key; /* its destructor ends what x86_trap_keep() began */
static pthread_once_t keep_once = PTHREAD_ONCE_INIT;
static int keep_error;

static void keep_end(void *unused)
{
	(void)unused;
	stack_destroy();
	self.kept = false;
}

static void keep_create(void)
{
	keep_error = pthread_key_create(&keep_key, keep_end);
}

int x86_trap_keep(void)
{
	int error;

	if (self.kept)
		return install();
	pthread_once(&keep_once, keep_create);
	error = keep_error ? keep_error : pthread_setspecific(keep_key, &self);
	if (error == 0 && self.head == NULL)
		error = first_push();
	self.kept = error == 0;
	return error;
}

int x86_trap_push(struct x86_trap *trap)
{
	int error = self.head == NULL && !self.kept ? first_push() : 0;

	if (error != 0)
		return error;
	trap->next = self.head;
	atomic_signal_fence(memory_order_seq_cst);
	self.head = trap;
	return 0;
}

void x86_trap_pop(struct x86_trap *trap)
{
	struct x86_trap **link = &self.head;

	while (*link != NULL && *link != trap)
		link = &(*link)->next;
	if (*link == NULL)
		return;
	*link = trap->next;
	atomic_signal_fence(memory_order_seq_cst);
	if (self.head == NULL && !self.kept)
		stack_destroy();
}
