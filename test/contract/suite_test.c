/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The harness itself: what it says of behaviours that pass, fail, crash, hang or are not asked. The
 * suite runs in a child process on the software CPU; its standard output and its results are read.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "test/contract/contract.h"

static void passes(void **state)
{
	assert_int_equal(vcpu_get_state(((struct contract *)*state)->vm, 0, NULL), VCPU_FROZEN);
}

static void bare_passes(void **state)
{
	assert_int_equal(vcpu_get_state(((struct contract *)*state)->vm, 0, NULL), VCPU_IDLE);
}

static void differs(void **state)
{
	(void)state;
	assert_int_equal(2 + 2, 5);
}

static void *differs_elsewhere(void *arg)
{
	assert_int_equal(1, (uintptr_t)arg);
	return NULL;
}

static void differs_on_a_thread(void **state)
{
	pthread_t thread;

	(void)state;
	pthread_create(&thread, NULL, differs_elsewhere, NULL);
	pthread_join(thread, NULL);
}

static void crashes(void **state)
{
	(void)state;
	signal(SIGSEGV, SIG_DFL);
	raise(SIGSEGV);
}

static void hangs(void **state)
{
	(void)state;
	for (;;)
		pause();
}

static void is_too_slow(void **state)
{
	(void)state;
	try_again();
}

static void exits(void **state)
{
	(void)state;
	_exit(3);
}

struct row {
	const char *name;
	int value;
};

static const struct row rows[] = {{"x_row_1", 1}, {"x_row_2", 2}};

static void odd(void **state)
{
	const struct row *row = ((struct contract *)*state)->row;

	assert_int_equal(row->value & 1, 1);
}

static const struct behaviour sample[] = {
	CONTRACT(passes),
	CONTRACT_BARE(bare_passes),
	CONTRACT(differs),
	CONTRACT(differs_on_a_thread),
	CONTRACT(crashes),
	CONTRACT(hangs),
	CONTRACT(is_too_slow),
	CONTRACT(exits),
	CONTRACT_ROWS(odd, rows),
	{.name = "x_la57_is_not_there", .test = passes},
};

/* Runs the sample with standard output in `path`; the exit status. */
static int run_sample(const char *path)
{
	int status = -1;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		if (!freopen(path, "w", stdout))
			_exit(9);
		exit(contract_run("sample", sample, sizeof(sample) / sizeof(sample[0])));
	}
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void slurp(const char *path, char *text, size_t size)
{
	FILE *f = fopen(path, "r");
	size_t n = f ? fread(text, 1, size - 1, f) : 0;

	text[n] = '\0';
	if (f)
		fclose(f);
}

static int number, failures;

static void check(const char *what, bool ok)
{
	printf("%sok %d - %s\n", ok ? "" : "not ", ++number, what);
	failures += !ok;
}

static const struct {
	const char *what, *line;
} tap[] = {
	{"the plan comes first", "1..11\n"},
	{"a behaviour that passes", "ok 1 - passes on soft\n"},
	{"a bare one", "ok 2 - bare_passes on soft\n"},
	{"one that differs, with both values", ": 0x4 != 0x5: 2 + 2 = 5\n"},
	{"one that differs on another thread", "not ok 4 - differs_on_a_thread on soft\n"},
	{"one that crashes", "not ok 5 - crashes on soft\n# killed: Segmentation fault"},
	{"one that hangs", "not ok 6 - hangs on soft\n# no end within 2 s\n"},
	{"... and is tried once more", "# no end within 2 s, on soft: once more\n"},
	{"one that is always too slow",
		"not ok 7 - is_too_slow on soft\n# the host was too slow 10 times\n"},
	{"one that ends the process", "not ok 8 - exits on soft\n# exit status 3\n"},
	{"a row that passes", "ok 9 - x_row_1 on soft\n"},
	{"a row that fails", "not ok 10 - x_row_2 on soft\n"},
	{"one that is not asked",
		"ok 11 - x_la57_is_not_there on soft # SKIP CPUID offers no LA57\n"},
};

static const struct {
	const char *what, *line;
} results[] = {
	{"result line: pass", "BEHAVIOUR passes soft pass\n"},
	{"result line: fail, and why", "BEHAVIOUR differs soft fail test/contract/suite_test.c:"},
	{"result line: skip, and why",
		"BEHAVIOUR x_la57_is_not_there soft skip CPUID offers no LA57\n"},
};

int main(void)
{
	char out[] = "/tmp/contract-out-XXXXXX", lines[] = "/tmp/contract-results-XXXXXX";
	static char text[1 << 16];
	int status;

	close(mkstemp(out));
	close(mkstemp(lines));
	setenv("CONTRACT_BACKEND", "soft", 1);
	setenv("CONTRACT_RESULTS", lines, 1);
	setenv("CONTRACT_TIMEOUT", "2", 1);
	setenv("CONTRACT_RETRY", "1", 1);
	unsetenv("CONTRACT_ONLY");
	unsetenv("CONTRACT_LIST");
	printf("1..%zu\n", sizeof(tap) / sizeof(tap[0]) + sizeof(results) / sizeof(results[0]) + 6);
	status = run_sample(out);
	check("the exit status tells of failures", status == 1);
	slurp(out, text, sizeof(text));
	for (size_t i = 0; i < sizeof(tap) / sizeof(tap[0]); i++)
		check(tap[i].what, strstr(text, tap[i].line) != NULL);
	slurp(lines, text, sizeof(text));
	for (size_t i = 0; i < sizeof(results) / sizeof(results[0]); i++)
		check(results[i].what, strstr(text, results[i].line) != NULL);

	setenv("CONTRACT_ONLY", "*passes", 1);
	status = run_sample(out);
	slurp(out, text, sizeof(text));
	check("a pattern picks behaviours", status == 0 && strstr(text, "1..2\n") != NULL);
	setenv("CONTRACT_LIST", "1", 1);
	status = run_sample(out);
	slurp(out, text, sizeof(text));
	check("a list runs nothing", status == 0 && strcmp(text, "passes\nbare_passes\n") == 0);
	unsetenv("CONTRACT_LIST");
	setenv("CONTRACT_BACKEND", "amd", 1); /* on no host: there is no driver */
	status = run_sample(out);
	slurp(out, text, sizeof(text));
	check("a backend that is asked for and not there is skipped with a reason",
		status == 0 && strstr(text, "ok 1 - passes on amd # SKIP ") != NULL);
	setenv("CONTRACT_BACKEND", "nobody", 1);
	status = run_sample(out);
	slurp(out, text, sizeof(text));
	check("a backend that does not exist is an error",
		status == 1 && strstr(text, "Bail out! no backend is called nobody\n") != NULL);
	unsetenv("CONTRACT_BACKEND");
	status = run_sample(out);
	slurp(out, text, sizeof(text));
	check("without a name all are asked", strstr(text, "passes on soft\n") != NULL);
	setenv("CONTRACT_RESULTS", "/nonexistent/results", 1);
	check("results that cannot be written are an error", run_sample(out) == 1);
	unlink(out);
	unlink(lines);
	return failures != 0;
}
