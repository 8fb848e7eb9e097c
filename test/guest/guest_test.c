/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Runs the guest images on the software CPU, through the API that an embedder uses: each image is a
 * ROM of tests that look at the CPU from inside and print one line for each check (kit.h).
 */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include <vmm/vmm.h>
#include <vmm/vmm_dev.h>
#include "backend/backend.h"
#include "test/backend/soft/hooks.h"

#define RAM_SIZE   (16ul << 20)
#define ROM_SIZE   0x10000ul
#define ROM_GPA	   0xf0000ul
#define MMIO_GPA   (32ul << 20) /* a device that behaves like memory: mmio.c tests it */
#define MMIO_SIZE  0x10000ul
#define TIME_LIMIT 60		/* seconds for one image */

struct guest {
	struct vm *vm;
	const char *name;
	char line[256];
	size_t line_len;
	unsigned passed, failed, skipped;
	bool summary; /* the line "done" has been seen */
	bool ended;
	bool triple_fault;
	uint8_t mmio[MMIO_SIZE];
	pthread_mutex_t lock;
	pthread_cond_t stopped;
	bool stop;
};

static void guest_line(struct guest *g)
{
	unsigned passed, failed;

	if (!strncmp(g->line, "ok ", 3)) {
		g->passed++;
	} else if (!strncmp(g->line, "skip ", 5)) {
		g->skipped++;
	} else if (sscanf(g->line, "done %u %u", &passed, &failed) == 2) {
		g->summary = passed == g->passed && failed == g->failed;
	} else {
		g->failed += !strncmp(g->line, "FAIL ", 5);
		print_message("%s: %s\n", g->name, g->line);
	}
	if (getenv("GUEST_VERBOSE"))
		print_message("%s: %s\n", g->name, g->line);
}

static void guest_char(struct guest *g, char c)
{
	if (c != '\n' && g->line_len < sizeof(g->line) - 1) {
		g->line[g->line_len++] = c;
		return;
	}
	g->line[g->line_len] = '\0';
	guest_line(g);
	g->line_len = 0;
}

/* Is this one of the ways of hooks.h that take their time? */
static bool is_slow(void)
{
	return getenv("SOFT_LOCKSTEP") || getenv("SOFT_TORTURE") || getenv("SOFT_CACHE");
}

static int guest_port(
	struct vm *vm, int vcpu, bool in, uint16_t port, int bytes, uint32_t *eax, void *arg)
{
	struct guest *g = arg;

	(void)vm, (void)vcpu, (void)bytes;
	if (in && port == 0xe8)
		*eax = is_slow();
	else if (in)
		return ENOENT;
	else if (port == 0xe9)
		guest_char(g, (char)*eax);
	else if (port == 0xf4)
		g->ended = true;
	return 0;
}

static int mmio_read(struct vm *vm, int vcpu, uint64_t gpa, uint64_t *value, int size, void *arg)
{
	struct guest *g = arg;

	(void)vm, (void)vcpu;
	if (gpa < MMIO_GPA || gpa + (unsigned)size > MMIO_GPA + MMIO_SIZE)
		return ENOENT;
	*value = 0;
	memcpy(value, g->mmio + (gpa - MMIO_GPA), (size_t)size);
	return 0;
}

static int mmio_write(struct vm *vm, int vcpu, uint64_t gpa, uint64_t value, int size, void *arg)
{
	struct guest *g = arg;

	(void)vm, (void)vcpu;
	if (gpa < MMIO_GPA || gpa + (unsigned)size > MMIO_GPA + MMIO_SIZE)
		return ENOENT;
	memcpy(g->mmio + (gpa - MMIO_GPA), &value, (size_t)size);
	return 0;
}

/* MSRs that nobody knows: #GP(0). */
static int guest_msr(struct guest *g, struct vm_run *run)
{
	struct vm_exception gp = { .vector = 13, .error_code_valid = 1 };

	run->vm_exit.inst_length = 0;
	return vmmdev_inject_exception(g->vm, &gp);
}

static int guest_exit(struct guest *g, struct vm_run *run)
{
	struct vm_exit *exit = &run->vm_exit;

	switch (exit->exitcode) {
	case VM_EXITCODE_INOUT:
		return vmmdev_emulate_inout(g->vm, 0, exit, guest_port, g);
	case VM_EXITCODE_INOUT_STR:
		return vmmdev_emulate_inout_str(g->vm, 0, exit, guest_port, g);
	case VM_EXITCODE_TASK_SWITCH:
		return vmmdev_emulate_task_switch(g->vm, 0, exit);
	case VM_EXITCODE_INST_EMUL:
		return vmmdev_emulate_instruction(g->vm, 0, exit, mmio_read, mmio_write, g);
	case VM_EXITCODE_RDMSR:
	case VM_EXITCODE_WRMSR:
		return guest_msr(g, run);
	case VM_EXITCODE_SUSPENDED:
		g->ended = true;
		g->triple_fault = exit->u.suspended.how == VM_SUSPEND_TRIPLEFAULT;
		return 0;
	case VM_EXITCODE_BOGUS:
	case VM_EXITCODE_PAUSE:
		return 0;
	default:
		print_message("%s: exit %d at %#lx\n", g->name, exit->exitcode, (long)exit->rip);
		return EPROTO;
	}
}

static void *watchdog(void *arg)
{
	struct guest *g = arg;
	struct timespec until;
	int rc = 0;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += TIME_LIMIT;
	pthread_mutex_lock(&g->lock);
	while (!g->stop && rc == 0)
		rc = pthread_cond_timedwait(&g->stopped, &g->lock, &until);
	if (!g->stop && vmmdev_suspend(g->vm, VM_SUSPEND_POWEROFF) == 0)
		print_message("%s: out of time\n", g->name);
	pthread_mutex_unlock(&g->lock);
	return NULL;
}

static void load_rom(struct guest *g)
{
	char path[512];
	void *rom = vmmdev_map_gpa(g->vm, ROM_GPA, ROM_SIZE);
	FILE *f;

	assert_non_null(rom);
	snprintf(path, sizeof(path), "%s/%s.bin", GUEST_DIR, g->name);
	f = fopen(path, "rb");
	assert_non_null(f);
	assert_int_equal(fread(rom, 1, ROM_SIZE, f), ROM_SIZE);
	fclose(f);
}

static void guest_create(struct guest *g)
{
	struct seg_desc cs = { .base = ROM_GPA, .limit = 0xffff, .access = 0x93 };

	assert_int_equal(vmmdev_create(&vmm_ops_soft, "guest", &g->vm), 0);
	soft_hooks(g->vm);
	assert_int_equal(vmmdev_map_memory(g->vm, 0, RAM_SIZE), 0);
	load_rom(g);
	assert_int_equal(vmmdev_activate_cpu(g->vm, 0), 0);
	assert_int_equal(vmmdev_set_capability(g->vm, 0, VM_CAP_ENABLE_INVPCID, 1), 0);
	assert_int_equal(vmmdev_reset(g->vm, 0), 0);
	assert_int_equal(vmmdev_set_seg_desc(g->vm, 0, VM_REG_GUEST_CS, &cs), 0);
}

static int guest_run(struct guest *g)
{
	struct vm_run run = { .cpuid = 0, .rip = 0xfff0 };
	int error = 0;

	while (!g->ended && !error) {
		error = vmmdev_run(g->vm, &run);
		if (error)
			print_message("%s: run: %s\n", g->name, strerror(error));
		else
			error = guest_exit(g, &run);
		run.rip = run.vm_exit.rip + (uint64_t)run.vm_exit.inst_length;
	}
	return error;
}

static uint64_t stat_of(struct guest *g, const char *wanted)
{
	char name[VMM_STAT_NAME_LEN];
	uint64_t value;

	for (unsigned i = 0; vmmdev_stat(g->vm, 0, i, name, &value) == 0; i++)
		if (!strcmp(name, wanted))
			return value;
	return 0;
}

/* What the image tests must have been there. A small code cache forgets too often for it. */
static bool was_tested(struct guest *g)
{
	uint64_t windows = stat_of(g, "windows found"), mirrors = stat_of(g, "mirrors made");

	if ((strcmp(g->name, "window") != 0 && strcmp(g->name, "string") != 0) ||
		getenv("SOFT_CACHE"))
		return true;
	print_message("%s: %llu windows found, %llu mirrors made\n", g->name,
		(unsigned long long)windows, (unsigned long long)mirrors);
	return windows && (mirrors || (g->name[0] == 's' && getenv("SOFT_LOCKSTEP")));
}

static void test_image(void **state)
{
	struct guest *g = calloc(1, sizeof(*g));
	pthread_t thread;
	bool tested;
	int error;

	assert_non_null(g);
	g->name = *state;
	pthread_mutex_init(&g->lock, NULL);
	pthread_cond_init(&g->stopped, NULL);
	guest_create(g);
	assert_int_equal(pthread_create(&thread, NULL, watchdog, g), 0);
	error = guest_run(g);
	pthread_mutex_lock(&g->lock);
	g->stop = true;
	pthread_cond_signal(&g->stopped);
	pthread_mutex_unlock(&g->lock);
	pthread_join(thread, NULL);
	soft_hooks_report(g->vm, g->name);
	tested = was_tested(g);
	vmmdev_destroy(g->vm);
	print_message("%s: %u checks ok, %u failed, %u skipped\n", g->name, g->passed, g->failed,
		g->skipped);
	assert_int_equal(error, 0);
	assert_int_equal(g->failed, 0);
	assert_true(g->summary);
	assert_true(tested);
	assert_int_equal(g->triple_fault, !strncmp(g->name, "triple", 6));
	free(g);
}

/* Without arguments all images, else those named. */
int main(int argc, char **argv)
{
	static const char *const images[] = { GUEST_LIST };
	size_t n = argc > 1 ? (size_t)argc - 1 : sizeof(images) / sizeof(images[0]);
	struct CMUnitTest *tests = calloc(n, sizeof(*tests));
	int failures;

	if (!tests || vmm_init(&vmm_ops_soft))
		return 1;
	for (size_t i = 0; i < n; i++) {
		const char *name = argc > 1 ? argv[i + 1] : images[i];

		tests[i] = (struct CMUnitTest){ .name = name, .test_func = test_image,
			.initial_state = (void *)name };
	}
	failures = _cmocka_run_group_tests("guest", tests, n, NULL, NULL);
	free(tests);
	return failures;
}
