/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The sandbox: a filter of system calls (seccomp(2)).  Should a guest ever get hold of this process,
 * it finds no way to start a program, open a file or a connection, or look at other processes,
 * unless the settings need that way themselves.
 *
 * A call outside the lists is not made: it fails with EPERM, and the first of each kind is told on
 * standard error, to be reported: it may be one that some corner of the C library wants.  Those that
 * nothing in hyve could ever want end the process at once.  With sandbox=log all are made, and the
 * kernel's log tells them.
 */
#include "cmd/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <ucontext.h>
#include <unistd.h>

#include "machine/machine.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- what is allowed ---- */

#define CALLS_MAX 72

/*
 * What a machine needs when a setting that matches `key` has a value that matches `value`, both as in
 * fnmatch(3) with FNM_EXTMATCH; NULL: always, any.  The key "backend" stands for the one that runs.
 */
static const struct feature {
	const char *key, *value;
	int calls[CALLS_MAX + 1]; /* ends with -1 */
} features[] = {
	{
		NULL,
		NULL,
		{
			/* files that are open */
			SCMP_SYS(read),
			SCMP_SYS(write),
			SCMP_SYS(readv),
			SCMP_SYS(writev),
			SCMP_SYS(close),
			SCMP_SYS(fstat),
			SCMP_SYS(lseek),
			SCMP_SYS(dup),
			/* waiting for them */
			SCMP_SYS(poll),
			SCMP_SYS(ppoll),
			SCMP_SYS(epoll_wait),
			SCMP_SYS(epoll_pwait),
			SCMP_SYS(epoll_ctl),
			SCMP_SYS(eventfd2),
			SCMP_SYS(timerfd_create),
			SCMP_SYS(timerfd_settime),
			SCMP_SYS(signalfd4),
			/* memory, code caches included */
			SCMP_SYS(mmap),
			SCMP_SYS(munmap),
			SCMP_SYS(mprotect),
			SCMP_SYS(mremap),
			SCMP_SYS(madvise),
			SCMP_SYS(brk),
			SCMP_SYS(mincore),
			SCMP_SYS(memfd_create),
			SCMP_SYS(ftruncate),
			/* threads, locks and time */
			SCMP_SYS(futex),
			SCMP_SYS(set_robust_list),
			SCMP_SYS(rseq),
			SCMP_SYS(gettid),
			SCMP_SYS(getpid),
			SCMP_SYS(sched_yield),
			SCMP_SYS(sched_getaffinity),
			SCMP_SYS(getcpu),
			SCMP_SYS(membarrier),
			SCMP_SYS(clock_gettime),
			SCMP_SYS(clock_nanosleep),
			SCMP_SYS(nanosleep),
			SCMP_SYS(gettimeofday),
			SCMP_SYS(time),
			SCMP_SYS(restart_syscall),
			/* signals */
			SCMP_SYS(rt_sigaction),
			SCMP_SYS(rt_sigprocmask),
			SCMP_SYS(rt_sigreturn),
			SCMP_SYS(rt_sigtimedwait),
			SCMP_SYS(sigaltstack),
			/* ends; waiting for the guard processes' */
			SCMP_SYS(exit),
			SCMP_SYS(exit_group),
			SCMP_SYS(wait4),
			/* who am I, random numbers for the guest */
			SCMP_SYS(geteuid),
			SCMP_SYS(getuid),
			SCMP_SYS(getrandom),
			-1,
		},
	},
	{
		"control",
		NULL,
		{SCMP_SYS(accept4), SCMP_SYS(recvfrom), SCMP_SYS(sendto), SCMP_SYS(getsockopt), -1},
	},
	/* Disks: files that are open. */
	{
		"pci.*.device",
		"virtio-blk",
		{SCMP_SYS(pread64), SCMP_SYS(pwrite64), SCMP_SYS(preadv), SCMP_SYS(pwritev),
			SCMP_SYS(preadv2), SCMP_SYS(pwritev2), SCMP_SYS(fsync), SCMP_SYS(fdatasync),
			SCMP_SYS(fallocate), SCMP_SYS(io_uring_enter), -1},
	},
	/* Tap devices are open; slirp makes the guest's connections, and asks who serves names. */
	{
		"pci.*.device",
		"virtio-net",
		{SCMP_SYS(recvmsg), SCMP_SYS(sendmsg), SCMP_SYS(recvfrom), SCMP_SYS(sendto), -1},
	},
	{
		"pci.*.@(backend|type)",
		"slirp",
		{SCMP_SYS(socket), SCMP_SYS(connect), SCMP_SYS(bind), SCMP_SYS(listen),
			SCMP_SYS(accept), SCMP_SYS(accept4), SCMP_SYS(shutdown),
			SCMP_SYS(getsockname), SCMP_SYS(getpeername), SCMP_SYS(getsockopt),
			SCMP_SYS(setsockopt), SCMP_SYS(newfstatat), SCMP_SYS(uname), -1},
	},
	/* Ports are Unix sockets, on which others come and go, and which are removed at the end. */
	{
		"pci.*.device",
		"virtio-console",
		{SCMP_SYS(newfstatat), SCMP_SYS(unlink), SCMP_SYS(accept4), SCMP_SYS(recvfrom),
			SCMP_SYS(sendto), SCMP_SYS(recvmsg), SCMP_SYS(sendmsg),
			SCMP_SYS(getsockopt), SCMP_SYS(shutdown), -1},
	},
	/* They write files of their own, in the middle of it all. */
	{"soft.perf", NULL, {SCMP_SYS(openat), SCMP_SYS(unlink), SCMP_SYS(unlinkat), -1}},
	{"soft.trace", NULL, {SCMP_SYS(openat), SCMP_SYS(newfstatat), SCMP_SYS(pread64), -1}},
};

/* Calls that depend on their arguments: allowed where (argument & mask) == value. */
static const struct condition {
	const char *key, *value; /* as above */
	int call;
	unsigned argument;
	uint64_t mask, is;
} conditions[] = {
	/* Threads, not processes; clone3 hides its flags in memory: see below. */
	{NULL, NULL, SCMP_SYS(clone), 0, CLONE_VM | CLONE_THREAD | CLONE_SIGHAND,
		CLONE_VM | CLONE_THREAD | CLONE_SIGHAND},
	/* Terminals; not TIOCSTI, which types for the user. */
	{NULL, NULL, SCMP_SYS(ioctl), 1, UINT32_MAX, TCGETS},
	{NULL, NULL, SCMP_SYS(ioctl), 1, UINT32_MAX, TCSETS},
	{NULL, NULL, SCMP_SYS(ioctl), 1, UINT32_MAX, TCSETSW},
	{NULL, NULL, SCMP_SYS(ioctl), 1, UINT32_MAX, TIOCGWINSZ},
	{NULL, NULL, SCMP_SYS(ioctl), 1, UINT32_MAX, TIOCOUTQ},
	{NULL, NULL, SCMP_SYS(ioctl), 1, UINT32_MAX, FIONREAD},
	{NULL, NULL, SCMP_SYS(ioctl), 1, UINT32_MAX, FIONBIO},
	{"pci.*.device", "virtio-blk", SCMP_SYS(ioctl), 1, 0xff00, 0x1200}, /* BLKDISCARD... */
	/* A tap's: how packets look, as the guest asks. */
	{"pci.*.device", "virtio-net", SCMP_SYS(ioctl), 1, UINT32_MAX, TUNSETOFFLOAD},
	{"pci.*.device", "virtio-net", SCMP_SYS(ioctl), 1, UINT32_MAX, TUNSETVNETHDRSZ},
	{"pci.*.device", "virtio-net", SCMP_SYS(ioctl), 1, UINT32_MAX, TUNSETQUEUE},
	/* All of KVM's. */
	{"backend", "kvm", SCMP_SYS(ioctl), 1, 0xff00, 0xae00},
	{NULL, NULL, SCMP_SYS(fcntl), 1, UINT32_MAX, F_GETFL},
	{NULL, NULL, SCMP_SYS(fcntl), 1, UINT32_MAX, F_SETFL},
	{NULL, NULL, SCMP_SYS(fcntl), 1, UINT32_MAX, F_GETFD},
	{NULL, NULL, SCMP_SYS(fcntl), 1, UINT32_MAX, F_SETFD},
	{NULL, NULL, SCMP_SYS(fcntl), 1, UINT32_MAX, F_DUPFD_CLOEXEC},
	/* Names and timer slack of threads; not capabilities, or who may trace us. */
	{NULL, NULL, SCMP_SYS(prctl), 0, UINT32_MAX, 15 /* PR_SET_NAME */},
	{NULL, NULL, SCMP_SYS(prctl), 0, UINT32_MAX, 29 /* PR_SET_TIMERSLACK */},
	{"pci.*.@(backend|type)", "slirp", SCMP_SYS(openat), 2, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY},
};

/* Nobody here wants these: whoever makes one is no part of hyve. */
static const int deadly[] = {
	SCMP_SYS(execve), SCMP_SYS(execveat), SCMP_SYS(fork), SCMP_SYS(vfork), SCMP_SYS(ptrace),
	SCMP_SYS(process_vm_readv), SCMP_SYS(process_vm_writev), SCMP_SYS(pidfd_getfd),
	SCMP_SYS(bpf), SCMP_SYS(perf_event_open), SCMP_SYS(userfaultfd), SCMP_SYS(keyctl),
	SCMP_SYS(add_key), SCMP_SYS(request_key), SCMP_SYS(mount), SCMP_SYS(umount2),
	SCMP_SYS(pivot_root), SCMP_SYS(chroot), SCMP_SYS(setns), SCMP_SYS(unshare),
	SCMP_SYS(init_module), SCMP_SYS(finit_module), SCMP_SYS(delete_module),
	SCMP_SYS(kexec_load), SCMP_SYS(kexec_file_load), SCMP_SYS(reboot), SCMP_SYS(swapon),
	SCMP_SYS(swapoff), SCMP_SYS(iopl), SCMP_SYS(ioperm), SCMP_SYS(open_by_handle_at),
	SCMP_SYS(setuid), SCMP_SYS(setgid), SCMP_SYS(setresuid), SCMP_SYS(setresgid),
	SCMP_SYS(capset),
};

static bool is_configured(
	const struct config *config, const char *backend, const char *key, const char *value)
{
	const char *k, *v;
	bool control = true;
	struct machine_error ignored;

	if (!key)
		return true;
	if (strcmp(key, "backend") == 0)
		return fnmatch(value, backend, 0) == 0;
	if (strcmp(key, "control") == 0)
		return config_bool(config, key, true, &control, &ignored) != 0 || control;
	for (size_t i = 0; config_at(config, i, &k, &v); i++)
		if (fnmatch(key, k, FNM_EXTMATCH) == 0 && (!value || fnmatch(value, v, FNM_EXTMATCH) == 0))
			return true;
	return false;
}

static int allow_feature(scmp_filter_ctx filter, const struct feature *f)
{
	int error = 0;

	for (const int *call = f->calls; *call != -1 && !error; call++)
		error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, *call, 0);
	return error;
}

static int allow_condition(scmp_filter_ctx filter, const struct condition *c)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, c->call, 1,
		SCMP_CMP(c->argument, SCMP_CMP_MASKED_EQ, c->mask, c->is));
}

static int add_rules(scmp_filter_ctx filter, const struct config *config, const char *backend, bool log)
{
	const struct feature *f = features;
	const struct condition *c = conditions;
	int error = 0;

	for (; f < features + COUNT(features) && !error; f++)
		if (is_configured(config, backend, f->key, f->value))
			error = allow_feature(filter, f);
	for (; c < conditions + COUNT(conditions) && !error; c++)
		if (is_configured(config, backend, c->key, c->value))
			error = allow_condition(filter, c);
	/* To this process alone: pthread_kill() and raise(). */
	if (!error)
		error = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
			SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0));
	/* The C library then takes clone. */
	if (!error)
		error = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	for (size_t i = 0; i < COUNT(deadly) && !error && !log; i++)
		error = seccomp_rule_add(filter, SCMP_ACT_KILL_PROCESS, deadly[i], 0);
	return error;
}

/* ---- what is refused ---- */

/*
 * On the thread that made the call, as if it had failed.  Only what is allowed in a signal handler.
 * One write, so that lines of several threads stay whole.
 */
static void on_refusal(int signo, siginfo_t *info, void *context)
{
	static const char before[] = "hyve: the sandbox has refused system call ",
			  after[] = "; please report it; -o sandbox=off or log allows it\n";
	greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
	char line[sizeof(before) + sizeof(after) + 12], digits[12];
	size_t len = sizeof(before) - 1, n = 0;
	unsigned call = (unsigned)info->si_syscall;

	(void)signo;
	memcpy(line, before, len);
	do
		digits[n++] = (char)('0' + call % 10);
	while ((call /= 10) > 0);
	while (n > 0)
		line[len++] = digits[--n];
	memcpy(line + len, after, sizeof(after) - 1);
	(void)!write(STDERR_FILENO, line, len + sizeof(after) - 1);
	regs[REG_RAX] = -EPERM;
}

static int catch_refusals(void)
{
	struct sigaction action = {.sa_sigaction = on_refusal, .sa_flags = SA_SIGINFO | SA_RESTART};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGSYS);
	return sigaction(SIGSYS, &action, NULL) != 0 ? errno : sigprocmask(SIG_UNBLOCK, &set, NULL);
}

/* ---- the whole ---- */

enum mode { SANDBOX_OFF, SANDBOX_ON, SANDBOX_LOG };

static int read_mode(const struct config *config, enum mode *mode, struct machine_error *error)
{
	const char *text = config_get(config, "sandbox");
	bool on;

	*mode = SANDBOX_LOG;
	if (text && strcmp(text, "log") == 0)
		return 0;
	int code = config_bool(config, "sandbox", SANDBOX_NORMALLY, &on, error);

	*mode = on ? SANDBOX_ON : SANDBOX_OFF;
	return code ? config_bad(config, "sandbox", error, "use on, off or log") : 0;
}

/* libseccomp's errors are negative. */
static int load(const struct config *config, const char *backend, enum mode mode)
{
	bool log = mode == SANDBOX_LOG;
	scmp_filter_ctx filter = seccomp_init(log ? SCMP_ACT_LOG : SCMP_ACT_TRAP);
	int error = filter ? 0 : -ENOMEM;

	if (!error)
		error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);
	/* A binary search, not a walk along the list. */
	if (!error)
		error = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (!error)
		error = add_rules(filter, config, backend, log);
	if (!error && !log)
		error = -catch_refusals();
	if (!error)
		error = seccomp_load(filter);
	if (filter)
		seccomp_release(filter);
	return -error;
}

int sandbox_enter(const struct config *config, const char *backend, const char **warning,
	struct machine_error *error)
{
	enum mode mode;
	int code = read_mode(config, &mode, error);

	*warning = NULL;
	if (code || mode == SANDBOX_OFF)
		return code;
	code = load(config, backend, mode);
	if (!code)
		return 0;
	if (config_get(config, "sandbox"))
		return machine_error(error, code,
			"sandbox: this host has no filter of system calls (%s); use -o sandbox=off",
			strerror(code));
	*warning = "there is no sandbox: this host has no filter of system calls";
	return 0;
}
