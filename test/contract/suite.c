/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include <fcntl.h>
#include <fnmatch.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <vmm/vmm.h>

#include "backend/backend.h"
#include "test/contract/contract.h"

#define TIMEOUT_S 30
#define NO_END	  (-2) /* of reap() */
#define PROBE_S	  10
#define NOTE_SIZE 240
#define ATTEMPTS  10
#define TOO_SLOW  75 /* exit status of a child */

/* A run of the program, and of one behaviour in it. */
static struct suite {
	const char *section;
	const struct behaviour *tests;
	size_t ntests;
	const char *only;
	const struct vmm_ops *ops;
	const char *unusable; /* why every behaviour is skipped on `ops` */
	char *note;	      /* shared with the child: the first thing that was wrong */
	int results;	      /* -1: nobody wants them */
	unsigned number, failed;
} suite = {.results = -1};

/* ---- Inside a behaviour ---- */

_Noreturn void fail_at(const char *file, int line, const char *format, ...)
{
	va_list args;
	int n = snprintf(suite.note, NOTE_SIZE, "%s:%d: ", file, line);

	va_start(args, format);
	if (n > 0 && n < NOTE_SIZE)
		vsnprintf(suite.note + n, (size_t)(NOTE_SIZE - n), format, args);
	va_end(args);
	_exit(1);
}

_Noreturn void try_again(void)
{
	snprintf(suite.note, NOTE_SIZE, "the host was too slow %d times", ATTEMPTS);
	_exit(TOO_SLOW);
}

void check_equal(const char *file, int line, const char *text, uint64_t a, uint64_t b)
{
	if (a != b)
		fail_at(file, line, "%#llx != %#llx: %s", (unsigned long long)a,
			(unsigned long long)b, text);
}

void check_string(const char *file, int line, const char *text, const char *a, const char *b)
{
	if (strcmp(a, b) != 0)
		fail_at(file, line, "\"%s\" != \"%s\": %s", a, b, text);
}

void check_memory(
	const char *file, int line, const char *text, const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;

	for (size_t i = 0; i < n; i++)
		if (x[i] != y[i])
			fail_at(file, line, "byte %zu: %#x != %#x: %s", i, x[i], y[i], text);
}

static _Noreturn void run_child(const struct behaviour *test, const void *row)
{
	void *state = NULL;
	int error = (test->bare ? contract_setup_bare : contract_setup)(suite.ops, &state);

	if (error != 0)
		fail_msg("no VM: %s", strerror(error));
	((struct contract *)state)->row = row;
	test->test(&state);
	contract_teardown(&state);
	exit(0); /* not _exit: a leak is a failure under the sanitizer */
}

/* ---- Around it ---- */

/* Waits for a child that may crash or hang: 0, or why not, in suite.note if nothing stands there.
 */
static int reap(pid_t pid, unsigned seconds)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM) {
		snprintf(suite.note, NOTE_SIZE, "no end within %u s", seconds);
		return NO_END;
	}
	if (WIFSIGNALED(status))
		snprintf(suite.note, NOTE_SIZE, "killed: %s", strsignal(WTERMSIG(status)));
	else if (!suite.note[0])
		snprintf(suite.note, NOTE_SIZE, "exit status %d", WEXITSTATUS(status));
	return WIFEXITED(status) && WEXITSTATUS(status) == TOO_SLOW ? TOO_SLOW : -1;
}

static pid_t fork_child(unsigned seconds)
{
	pid_t pid;

	fflush(NULL);
	suite.note[0] = '\0';
	pid = fork();
	if (pid == 0)
		alarm(seconds);
	else if (pid < 0)
		perror("fork");
	return pid;
}

bool contract_probe(bool (*fn)(const struct vmm_ops *ops), const struct vmm_ops *ops)
{
	pid_t pid = fork_child(PROBE_S);

	if (pid == 0)
		_exit(!fn(ops));
	return pid > 0 && reap(pid, PROBE_S) == 0;
}

static unsigned timeout_s(void)
{
	const char *text = getenv("CONTRACT_TIMEOUT");

	return text ? (unsigned)strtoul(text, NULL, 10) : TIMEOUT_S;
}

static unsigned retries(void)
{
	const char *text = getenv("CONTRACT_RETRY");

	return text ? (unsigned)strtoul(text, NULL, 10) : 0;
}

/* BEHAVIOUR name backend pass|fail|skip reason: one write for a line, several programs may append.
 */
static void record(const char *name, const char *verdict, const char *reason)
{
	char line[512];
	int n = snprintf(line, sizeof(line), "BEHAVIOUR %s %s %s%s%s\n", name, suite.ops->name,
		verdict, reason[0] ? " " : "", reason);

	if (suite.results < 0 || n < 0)
		return;
	if (n >= (int)sizeof(line)) {
		n = sizeof(line);
		line[n - 1] = '\n';
	}
	if (write(suite.results, line, (size_t)n) != n)
		perror("CONTRACT_RESULTS");
}

static int attempt(const struct behaviour *test, const void *row)
{
	unsigned seconds = timeout_s(), more = retries();
	int result = TOO_SLOW;

	for (unsigned i = 0; (result == TOO_SLOW && i < ATTEMPTS) || (result == NO_END && more--);
		i++) {
		pid_t pid;

		if (result == NO_END)
			printf("# %s, on %s: once more\n", suite.note, suite.ops->name);
		pid = fork_child(seconds);

		if (pid == 0)
			run_child(test, row);
		result = pid > 0 ? reap(pid, seconds) : -1;
	}
	return result;
}

/* The reason of the first line of CONTRACT_SKIP whose pattern matches; NULL: none does. */
static const char *listed_skip(const char *name, char *line, size_t size)
{
	const char *path = getenv("CONTRACT_SKIP"), *reason = NULL;
	FILE *file = path ? fopen(path, "re") : NULL;

	if (path && !file)
		return "CONTRACT_SKIP cannot be read";
	while (file && !reason && fgets(line, (int)size, file)) {
		char *space = strchr(line, ' ');

		if (!space)
			continue;
		*space = '\0';
		space[1 + strcspn(space + 1, "\n")] = '\0';
		if (fnmatch(line, name, 0) == 0)
			reason = space + 1;
	}
	if (file)
		fclose(file);
	return reason;
}

static void run_one(const struct behaviour *test, const char *name, const void *row)
{
	const char *why = suite.unusable;
	char line[256];

	if (!why)
		why = listed_skip(name, line, sizeof(line));
	if (!why)
		why = contract_skip(suite.ops, name);
	suite.number++;
	if (why) {
		printf("ok %u - %s on %s # SKIP %s\n", suite.number, name, suite.ops->name, why);
		record(name, "skip", why);
		return;
	}
	if (attempt(test, row) == 0) {
		printf("ok %u - %s on %s\n", suite.number, name, suite.ops->name);
		record(name, "pass", "");
		return;
	}
	suite.failed++;
	printf("not ok %u - %s on %s\n# %s\n", suite.number, name, suite.ops->name, suite.note);
	record(name, "fail", suite.note);
}

static void list_one(const struct behaviour *test, const char *name, const void *row)
{
	(void)test;
	(void)row;
	puts(name);
}

static void count_one(const struct behaviour *test, const char *name, const void *row)
{
	(void)test;
	(void)name;
	(void)row;
	suite.number++;
}

static void each(void (*fn)(const struct behaviour *test, const char *name, const void *row))
{
	for (size_t i = 0; i < suite.ntests; i++) {
		const struct behaviour *test = &suite.tests[i];

		for (size_t k = 0; k < (test->rows ? test->nrows : 1); k++) {
			const char *row = (const char *)test->rows + k * test->row_size;
			const char *name = test->rows ? *(const char *const *)row : test->name;

			if (!suite.only || fnmatch(suite.only, name, 0) == 0)
				fn(test, name, test->rows ? row : NULL);
		}
	}
}

static void run_on(const struct vmm_ops *ops, bool asked_for)
{
	char why[256];

	suite.ops = ops;
	suite.unusable = ops->probe(why, sizeof(why)) == 0 ? NULL : why;
	if (suite.unusable && !asked_for) {
		printf("# %s: not on %s: %s\n", suite.section, ops->name, why);
		return;
	}
	suite.number = 0;
	each(count_one);
	printf("1..%u\n", suite.number);
	suite.number = 0;
	each(run_one);
}

int contract_run(const char *section, const struct behaviour *tests, size_t n)
{
	const char *backend = getenv("CONTRACT_BACKEND"), *file = getenv("CONTRACT_RESULTS");
	const struct vmm_ops *ops;
	bool all = !backend || strcmp(backend, "all") == 0, found = false;

	suite.section = section;
	suite.tests = tests;
	suite.ntests = n;
	suite.only = getenv("CONTRACT_ONLY");
	if (getenv("CONTRACT_LIST")) {
		each(list_one);
		return 0;
	}
	suite.note =
		mmap(NULL, NOTE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (suite.note == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	if (file && (suite.results = open(file, O_WRONLY | O_CREAT | O_APPEND, 0666)) < 0) {
		perror(file);
		return 1;
	}
	for (size_t i = 0; (ops = backend_at(i)) != NULL; i++) {
		if (!all && strcmp(ops->name, backend) != 0)
			continue;
		found = true;
		run_on(ops, !all);
	}
	if (!found)
		printf("Bail out! no backend is called %s\n", backend);
	return !found || suite.failed != 0;
}
