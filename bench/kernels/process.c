/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* What a program asks of its kernel: system calls, page faults, mappings, pipes, processes. */
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench/kernels/kernel.h"

#define CALLS	     256
#define FAULT_PAGES  64
#define MAPPINGS     16
#define MAPPING_SIZE (16u << 10)
#define ROUND_TRIPS  16
#define PAGE	     4096

/* Nobody knows the number beforehand, but it stays the same. */
static uint64_t syscall_unit(void *state)
{
	long parent = getppid();
	uint64_t same = 0;

	(void)state;
	for (int i = 0; i < CALLS; i++)
		same += syscall(SYS_getppid) == parent;
	return same;
}

static void *anonymous(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int fault_open(void **state)
{
	*state = anonymous(FAULT_PAGES * PAGE);
	if (!*state)
		return errno;
	/* One fault a page. A kernel without huge pages refuses, and has none. */
	(void)madvise(*state, FAULT_PAGES * PAGE, MADV_NOHUGEPAGE);
	return 0;
}

static uint64_t fault_unit(void *state)
{
	volatile uint8_t *bytes = state;
	uint64_t sum = 0;

	for (size_t i = 0; i < FAULT_PAGES; i++)
		sum += ++bytes[i * PAGE];
	if (madvise(state, FAULT_PAGES * PAGE, MADV_DONTNEED) != 0)
		return 0;
	return sum;
}

static void fault_close(void *state)
{
	munmap(state, FAULT_PAGES * PAGE);
}

static uint64_t mmap_unit(void *state)
{
	uint64_t sum = 0;

	(void)state;
	for (int i = 0; i < MAPPINGS; i++) {
		volatile uint8_t *bytes = anonymous(MAPPING_SIZE);

		if (!bytes)
			break;
		sum += ++bytes[PAGE];
		sum += munmap((void *)bytes, MAPPING_SIZE) == 0;
	}
	return sum;
}

struct pipes {
	int there[2], back[2];
	pid_t pid;
	cpu_set_t cpus;
};

static _Noreturn void pipe_child(const struct pipes *p)
{
	uint8_t byte;

	close(p->there[1]);
	close(p->back[0]);
	while (read(p->there[0], &byte, 1) == 1) {
		byte++;
		if (write(p->back[1], &byte, 1) != 1)
			break;
	}
	_exit(0);
}

/* Both on one CPU, as in a guest with one: otherwise it is two idle CPUs that are woken. */
static void stay_here(struct pipes *p)
{
	int cpu = sched_getcpu();
	cpu_set_t here;

	if (cpu < 0 || sched_getaffinity(0, sizeof(p->cpus), &p->cpus) != 0)
		return;
	CPU_ZERO(&here);
	CPU_SET(cpu, &here);
	(void)sched_setaffinity(0, sizeof(here), &here);
}

static int pipe_open(void **state)
{
	struct pipes *p = calloc(1, sizeof(*p));

	if (!p)
		return errno;
	if (pipe(p->there) != 0 || pipe(p->back) != 0)
		return errno;
	stay_here(p);
	p->pid = fork();
	if (p->pid < 0)
		return errno;
	if (p->pid == 0)
		pipe_child(p);
	close(p->there[0]);
	close(p->back[1]);
	*state = p;
	return 0;
}

static uint64_t pipe_unit(void *state)
{
	const struct pipes *p = state;
	uint8_t byte = 1;

	for (int i = 0; i < ROUND_TRIPS; i++) {
		if (write(p->there[1], &byte, 1) != 1 || read(p->back[0], &byte, 1) != 1)
			return 0;
	}
	return byte;
}

static void pipe_close(void *state)
{
	struct pipes *p = state;

	close(p->there[1]);
	close(p->back[0]);
	waitpid(p->pid, NULL, 0);
	if (CPU_COUNT(&p->cpus) > 0)
		(void)sched_setaffinity(0, sizeof(p->cpus), &p->cpus);
	free(p);
}

static uint64_t exec_unit(void *state)
{
	pid_t pid = fork();
	int status = 0;

	(void)state;
	if (pid == 0) {
		execl("/proc/self/exe", "bench-kernels", EXEC_ARGUMENT, (char *)NULL);
		_exit(1);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 0;
	return WIFEXITED(status) ? (uint64_t)WEXITSTATUS(status) : 0;
}

static const struct kernel kernels[] = {
	{.name = "syscall", .checksum = CALLS, .unit = syscall_unit},
	{
		.name = "fault",
		.checksum = FAULT_PAGES,
		.open = fault_open,
		.unit = fault_unit,
		.close = fault_close,
	},
	{.name = "mmap", .checksum = 2 * MAPPINGS, .unit = mmap_unit},
	{
		.name = "pipe",
		.checksum = 1 + ROUND_TRIPS,
		.open = pipe_open,
		.unit = pipe_unit,
		.close = pipe_close,
	},
	{.name = "exec", .checksum = EXEC_STATUS, .unit = exec_unit},
};

const struct kernel_class class_kernel = {
	.name = "kernel",
	.kernels = kernels,
	.count = sizeof(kernels) / sizeof(kernels[0]),
};
