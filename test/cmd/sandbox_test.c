/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * System calls from inside the sandbox, each in a child process that is its own little prison: what
 * is refused, what ends the process, what goes on working, and that it holds for every thread.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cmd/sandbox.h"
#include "machine/machine.h"

/* The child's own findings, as exit statuses. */
enum { WORKED = 10, REFUSED, OTHERWISE, NO_SANDBOX };

static char stderr_text[4096];

struct prison {
	const char *const *settings; /* key, value, ..., NULL */
	const char *backend;
	/* 0, or an errno */
	int (*act)(void);
};

static void enter(const struct prison *p)
{
	struct machine_error error;
	const char *warning;
	struct config *config;

	if (config_create(&config))
		_exit(NO_SANDBOX);
	for (const char *const *s = p->settings; s && *s; s += 2)
		if (config_set(config, s[0], s[1]))
			_exit(NO_SANDBOX);
	if (sandbox_enter(config, p->backend ? p->backend : "soft", &warning, &error) || warning)
		_exit(NO_SANDBOX);
}

/* The status of wait(2); what the child said on standard error is in stderr_text. */
static int imprison(const struct prison *p)
{
	int fds[2], status;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid_t child = fork();

	if (child == 0) {
		dup2(fds[1], STDERR_FILENO);
		enter(p);
		int error = p->act();

		_exit(error == 0 ? WORKED : error == EPERM ? REFUSED : OTHERWISE);
	}
	close(fds[1]);
	ssize_t n = read(fds[0], stderr_text, sizeof(stderr_text) - 1);

	stderr_text[n > 0 ? n : 0] = '\0';
	close(fds[0]);
	assert_int_equal(waitpid(child, &status, 0), child);
	return status;
}

static void assert_status(const struct prison *p, const char *name, int expected)
{
	int status = imprison(p);

	if (!WIFEXITED(status) || WEXITSTATUS(status) != expected)
		fail_msg("%s: wait status %#x, not exit %d: %s", name, status, expected,
			stderr_text);
}

#define ERRNO_OF(call) ((call) < 0 ? errno : 0)

/* ---- things to try ---- */

static int open_new_file(void)
{
	return ERRNO_OF(open("/tmp/hyve-sandbox-escape", O_CREAT | O_WRONLY, 0600));
}

static int open_for_reading(void)
{
	return ERRNO_OF(open("/etc/passwd", O_RDONLY));
}

static int make_socket(void)
{
	return ERRNO_OF(socket(AF_INET, SOCK_STREAM, 0));
}

static int remove_file(void)
{
	return ERRNO_OF(unlink("/tmp/hyve-sandbox-nothing"));
}

static int rename_file(void)
{
	return ERRNO_OF(rename("/tmp/hyve-sandbox-nothing", "/tmp/hyve-sandbox-escape"));
}

static int signal_others(void)
{
	return ERRNO_OF(kill(getppid(), 0));
}

static int signal_others_thread(void)
{
	return ERRNO_OF(syscall(SYS_tgkill, getppid(), getppid(), 0));
}

static int type_for_the_user(void)
{
	return ERRNO_OF(ioctl(STDIN_FILENO, TIOCSTI, "x"));
}

static int kvm_ioctl(void)
{
	/* On a file that is no KVM: EBADF or ENOTTY if it gets that far. */
	int error = ERRNO_OF(ioctl(-1, 0xae00, 0));

	return error == EBADF ? 0 : error;
}

static int change_mode(void)
{
	return ERRNO_OF(chmod("/tmp", 0777));
}

static int trace_allowed(void)
{
	return ERRNO_OF(prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY, 0, 0, 0));
}

static int setup_ring(void)
{
	return ERRNO_OF(syscall(SYS_io_uring_setup, 1, NULL));
}

static int fork_by_clone(void)
{
	pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);

	if (child == 0)
		_exit(0);
	return child < 0 ? errno : 0;
}

static int run_program(void)
{
	return ERRNO_OF(execl("/bin/true", "true", NULL));
}

static int trace_parent(void)
{
	return ERRNO_OF((int)ptrace(PTRACE_ATTACH, getppid(), NULL, NULL));
}

static int new_namespace(void)
{
	return ERRNO_OF(unshare(CLONE_NEWUSER));
}

static int read_other_memory(void)
{
	return ERRNO_OF((int)syscall(SYS_process_vm_readv, getppid(), NULL, 0, NULL, 0, 0));
}

static void *in_thread(void *arg)
{
	int (*act)(void) = arg;

	return (void *)(intptr_t)act();
}

static int thread_opens_file(void)
{
	pthread_t thread;
	void *result;

	if (pthread_create(&thread, NULL, in_thread, open_new_file))
		return EAGAIN;
	pthread_join(thread, &result);
	return (int)(intptr_t)result;
}

/* What the software CPU and the C library live on. */
static int ordinary_life(void)
{
	int fd = memfd_create("hyve-test", MFD_CLOEXEC);
	void *rw, *rx;

	if (fd < 0 || ftruncate(fd, 4096) != 0)
		return errno;
	rw = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	rx = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	if (rw == MAP_FAILED || rx == MAP_FAILED)
		return errno;
	*(uint8_t *)rw = 0xc3;
	((void (*)(void))rx)();
	free(malloc(64 << 20));
	usleep(1000);
	return raise(0);
}

static pthread_barrier_t barrier;

static void *early_thread(void *arg)
{
	pthread_barrier_wait(&barrier); /* the sandbox is entered now */
	pthread_barrier_wait(&barrier);
	return in_thread(arg);
}

/* ---- tests ---- */

static void refused(void **state)
{
	static const struct {
		const char *name;
		int (*act)(void);
	} calls[] = {
		{"open a new file", open_new_file},
		{"open a file", open_for_reading},
		{"socket", make_socket},
		{"unlink", remove_file},
		{"rename", rename_file},
		{"kill", signal_others},
		{"tgkill of another process", signal_others_thread},
		{"TIOCSTI", type_for_the_user},
		{"KVM's ioctl", kvm_ioctl},
		{"chmod", change_mode},
		{"PR_SET_PTRACER", trace_allowed},
		{"io_uring_setup", setup_ring},
		{"clone of a process", fork_by_clone},
		{"a thread's open", thread_opens_file},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		const struct prison p = {.act = calls[i].act};

		assert_status(&p, calls[i].name, REFUSED);
		assert_non_null(strstr(stderr_text, "hyve: the sandbox has refused system call "));
		assert_non_null(strstr(stderr_text, "please report it"));
	}
	assert_int_equal(access("/tmp/hyve-sandbox-escape", F_OK), -1);
}

static void deadly(void **state)
{
	static const struct {
		const char *name;
		int (*act)(void);
	} calls[] = {
		{"execve", run_program},
		{"ptrace", trace_parent},
		{"unshare", new_namespace},
		{"process_vm_readv", read_other_memory},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		const struct prison p = {.act = calls[i].act};
		int status = imprison(&p);

		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
			fail_msg("%s: wait status %#x", calls[i].name, status);
	}
}

static void what_a_machine_needs(void **state)
{
	const struct prison p = {.act = ordinary_life};

	(void)state;
	assert_status(&p, "ordinary life", WORKED);
	assert_string_equal(stderr_text, "");
}

/* Each setting opens what it needs, and that alone. */
static void features(void **state)
{
	static const char *const none[] = {NULL};
	static const char *const slirp[] = {
		"pci.0.3.0.device", "virtio-net", "pci.0.3.0.backend", "slirp", NULL};
	static const char *const tap[] = {
		"pci.0.3.0.device", "virtio-net", "pci.0.3.0.backend", "tap0", NULL};
	static const char *const typed[] = {
		"pci.0.3.0.device", "virtio-net", "pci.0.3.0.type", "slirp", NULL};
	static const char *const perf[] = {"soft.perf", "true", NULL};
	static const struct {
		const char *name;
		struct prison prison;
		int expected;
	} cases[] = {
		{"no network, no socket", {none, NULL, make_socket}, REFUSED},
		{"slirp's sockets", {slirp, NULL, make_socket}, WORKED},
		{"slirp by type=", {typed, NULL, make_socket}, WORKED},
		{"a tap needs none", {tap, NULL, make_socket}, REFUSED},
		{"slirp reads resolv.conf", {slirp, NULL, open_for_reading}, WORKED},
		{"slirp writes no file", {slirp, NULL, open_new_file}, REFUSED},
		{"KVM's ioctl with KVM", {none, "kvm", kvm_ioctl}, WORKED},
		{"perf's map", {perf, NULL, open_for_reading}, WORKED},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_status(&cases[i].prison, cases[i].name, cases[i].expected);
}

static void off_and_log(void **state)
{
	static const char *const off[] = {"sandbox", "off", NULL};
	static const char *const log[] = {"sandbox", "log", NULL};
	static const char *const on[] = {"sandbox", "on", NULL};
	const struct prison without = {off, NULL, open_for_reading};
	const struct prison logged = {log, NULL, open_for_reading};
	const struct prison with = {on, NULL, open_for_reading};

	(void)state;
	assert_status(&without, "off", WORKED);
	assert_status(&logged, "log", WORKED);
	assert_status(&with, "on", REFUSED);
}

static void a_bad_setting(void **state)
{
	struct machine_error error;
	const char *warning;
	struct config *config;

	(void)state;
	assert_int_equal(config_create(&config), 0);
	assert_int_equal(config_set(config, "sandbox", "perhaps"), 0);
	assert_int_equal(sandbox_enter(config, "soft", &warning, &error), EINVAL);
	assert_non_null(strstr(error.text, "on, off or log"));
	config_destroy(config);
}

/* Threads that were there before are in it, too. */
static void older_threads(void **state)
{
	int status;
	pid_t child = fork();

	(void)state;
	if (child == 0) {
		const struct prison p = {.act = NULL};
		pthread_t thread;
		void *result;

		pthread_barrier_init(&barrier, NULL, 2);
		if (pthread_create(&thread, NULL, early_thread, open_for_reading))
			_exit(NO_SANDBOX);
		pthread_barrier_wait(&barrier);
		dup2(open("/dev/null", O_WRONLY), STDERR_FILENO);
		enter(&p);
		pthread_barrier_wait(&barrier);
		pthread_join(thread, &result);
		_exit((intptr_t)result == EPERM ? REFUSED : OTHERWISE);
	}
	waitpid(child, &status, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), REFUSED);
}

static void no_new_privileges(void **state)
{
	int status;
	pid_t child = fork();

	(void)state;
	if (child == 0) {
		const struct prison p = {.act = NULL};
		char text[4096], *line;
		/* Open before: no file can be opened then. */
		int fd = open("/proc/self/status", O_RDONLY);

		enter(&p);
		ssize_t n = read(fd, text, sizeof(text) - 1);

		text[n > 0 ? n : 0] = '\0';
		line = strstr(text, "NoNewPrivs:\t1");
		_exit(line ? WORKED : OTHERWISE);
	}
	waitpid(child, &status, 0);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), WORKED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refused),
		cmocka_unit_test(deadly),
		cmocka_unit_test(what_a_machine_needs),
		cmocka_unit_test(features),
		cmocka_unit_test(off_and_log),
		cmocka_unit_test(a_bad_setting),
		cmocka_unit_test(older_threads),
		cmocka_unit_test(no_new_privileges),
	};

	if (!SANDBOX_NORMALLY) {
		/* The sanitizers' own calls would be refused. */
		puts("1..1\nok 1 - sandbox # SKIP not in a build for sanitizers");
		return 0;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
