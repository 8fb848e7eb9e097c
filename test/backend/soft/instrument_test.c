/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Settings, counters, the trace and perf's map, with a guest of which all of them are known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <vmm/vmm_dev.h>

#include "backend/backend.h"
#include "test/backend/soft/world.h"
#include "vmm/vm.h"

#define CODE 0x40000u
#define PORT 0xe8
#define XMM0 0x11223344u

/* From the second block on, blocks are translated while XMM0 is alive in the host's. */
static const uint8_t code[] = {
	0xb9, 0xe8, 0x03, 0, 0,	      /* mov ecx, 1000 */
	0xba, 0x44, 0x33, 0x22, 0x11, /* mov edx, XMM0 */
	0x66, 0x0f, 0x6e, 0xc2,	      /* movd xmm0, edx */
	0xff, 0xc9,		      /* LOOP: dec ecx */
	0x75, 0xfc,		      /* jnz LOOP */
	0x8b, 0x1d, 0, 0, 0x05, 0,    /* mov ebx, [50000h] */
	0x31, 0xc0,		      /* xor eax, eax */
	0x0f, 0xa2,		      /* cpuid */
	0xeb, 0,		      /* jmp to the next one */
	0x66, 0x0f, 0x7e, 0xc0,	      /* movd eax, xmm0 */
	0xe7, PORT,		      /* out */
};

struct guest {
	struct vm *vm;
	char path[32];
};

/* 32-bit code without paging, SSE on. */
static void set_flat(struct vm *vm)
{
	struct x86_cpu *cpu = vm->ops->cpu_get(vm->vmi, 0);

	for (unsigned i = 0; i < 6; i++)
		cpu->seg[i] = (struct x86_seg){.limit = 0xffffffff, .access = 0xc093, .sel = 8};
	cpu->seg[X86_CS].access = 0xc09b;
	cpu->cr0 |= X86_CR0_PE;
	cpu->cr4 |= X86_CR4_OSFXSR;
	cpu->rflags = 2;
	vm->ops->cpu_put(vm->vmi, 0);
}

static int setup(void **state)
{
	struct guest *g = calloc(1, sizeof(*g));
	uint8_t *ram;

	strcpy(g->path, "/tmp/hyve-trace-XXXXXX");
	close(mkstemp(g->path));
	g->vm = world_vm(&vmm_ops_soft, &ram);
	assert_non_null(g->vm);
	memcpy(ram + CODE, code, sizeof(code));
	set_flat(g->vm);
	*state = g;
	return 0;
}

static void destroy(struct guest *g)
{
	if (!g->vm)
		return;
	assert_int_equal(vcpu_set_state(g->vm, 0, VCPU_IDLE, false), 0);
	vm_destroy(g->vm);
	g->vm = NULL;
}

static int teardown(void **state)
{
	struct guest *g = *state;

	destroy(g);
	unlink(g->path);
	free(g);
	return 0;
}

static int set(struct guest *g, const char *key, const char *value)
{
	char why[160] = "";
	int error = backend_set_option(g->vm, key, value, why, sizeof(why));

	assert_int_equal(error != 0, why[0] != '\0');
	assert_null(strchr(why, '\n'));
	return error;
}

static void run(struct guest *g)
{
	struct vm_run vmrun = {.cpuid = 0, .rip = CODE};

	assert_int_equal(vm_run(g->vm, &vmrun), 0);
	assert_int_equal(vmrun.vm_exit.exitcode, VM_EXITCODE_INOUT);
	assert_int_equal(vmrun.vm_exit.rip, CODE + sizeof(code) - 2);
	assert_int_equal(vmrun.vm_exit.u.inout.eax, XMM0);
}

static uint64_t stat(struct guest *g, const char *wanted)
{
	char name[VMM_STAT_NAME_LEN];
	uint64_t value;

	for (unsigned i = 0; vm_stat(g->vm, 0, i, name, &value) == 0; i++)
		if (strcmp(name, wanted) == 0)
			return value;
	fail_msg("no counter \"%s\"", wanted);
	return 0;
}

static void names_are_unique(void **state)
{
	struct guest *g = *state;
	char name[VMM_STAT_NAME_LEN], other[VMM_STAT_NAME_LEN];
	uint64_t value;
	unsigned n = 0;

	for (; vm_stat(g->vm, 0, n, name, &value) == 0; n++) {
		assert_in_range(strlen(name), 1, VMM_STAT_NAME_LEN - 1);
		for (unsigned i = 0; i < n; i++) {
			assert_int_equal(vm_stat(g->vm, 0, i, other, &value), 0);
			assert_string_not_equal(name, other);
		}
	}
	assert_true(n > VMM_STAT_COUNT + 15);
	assert_int_equal(vm_stat(g->vm, 0, n + 1000, name, &value), EINVAL);
}

static void counters_count(void **state)
{
	struct guest *g = *state;
	uint64_t insns;

	run(g);
	insns = stat(g, "instructions translated");
	assert_in_range(stat(g, "blocks translated"), 3, 10);
	assert_in_range(insns, 10, 30);
	assert_in_range(stat(g, "bytes of code emitted"), insns, 500 * insns);
	assert_true(stat(g, "bytes of metadata") > 0);
	assert_true(stat(g, "nanoseconds spent translating") > insns);
	assert_true(stat(g, "nanoseconds to translate an instruction") > 0);
	assert_true(stat(g, "direct jumps linked") > 0);
	assert_true(stat(g, "translated-address cache fills") > 0);
	assert_in_range(stat(g, "system instructions executed in C"), 1, 2); /* CPUID, OUT */
	assert_int_equal(stat(g, "instructions single-stepped"), 0);
	assert_int_equal(stat(g, "blocks entered"), 0); /* it was not asked for */
}

static void entered_blocks_are_counted_if_asked(void **state)
{
	struct guest *g = *state;

	assert_int_equal(set(g, "count", "true"), 0);
	run(g);
	assert_in_range(stat(g, "blocks entered"), 1000, 1010);
	assert_in_range(stat(g, "blocks entered without a lookup"), 990, 1000);
}

static void settings_are_checked(void **state)
{
	static const struct {
		const char *key, *value;
		int error;
	} cases[] = {
		{"cache", "256K", 0},
		{"cache", "1g", 0},
		{"cache", "4", 0},
		{"cache", "255K", EINVAL},
		{"cache", "1025M", EINVAL},
		{"cache", "99999999999999999999", EINVAL},
		{"cache", "18014398509481985K", EINVAL}, /* 2^64 + 1024 */
		{"cache", "-1M", EINVAL},
		{"cache", "4MB", EINVAL},
		{"cache", "", EINVAL},
		{"count", "off", 0},
		{"count", "2", EINVAL},
		{"lockstep", "on", 0},
		{"lockstep", "", EINVAL},
		{"max_insns", "64", 0},
		{"max_insns", "0", EINVAL},
		{"max_insns", "-1", EINVAL},
		{"perf", "", EINVAL},
		{"perf", "dump", EINVAL},
		{"share", "no", 0},
		{"share", "2", EINVAL},
		{"torture", "0", 0},
		{"torture", "0xffffffffffffffff", 0},
		{"torture", "18446744073709551616", EINVAL},
		{"torture", "1 ", EINVAL},
		{"torture", "Random", EINVAL},
		{"trace", "/nowhere/at/all", ENOENT},
		{"trace.rip", "0xffffffff81000000", 0},
		{"trace.rip", "4096-0x1fff", 0},
		{"trace.rip", "2-1", EINVAL},
		{"trace.rip", "start", EINVAL},
		{"trace.rip", "1-", EINVAL},
		{"", "1", ENOENT},
		{"cach", "1", ENOENT},
	};
	struct guest *g = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int error = set(g, cases[i].key, cases[i].value);

		/* Without Zydis there is no trace at all. */
		if (error != cases[i].error && error != ENOTSUP)
			fail_msg("%s=%s: %d", cases[i].key, cases[i].value, error);
	}
}

static void nothing_is_set_once_it_ran(void **state)
{
	struct guest *g = *state;

	assert_int_equal(set(g, "cache", "256K"), 0);
	run(g);
	assert_int_equal(set(g, "cache", "4M"), EBUSY);
}

/* The whole file, of less than 64 KiB; of `path`, or the process's map. */
static char *contents(const char *path)
{
	char *text = calloc(1, 65536);
	FILE *file = fopen(path, "r");

	assert_non_null(file);
	assert_in_range(fread(text, 1, 65535, file), 1, 65534);
	fclose(file);
	return text;
}

static unsigned count(const char *text, const char *word)
{
	unsigned n = 0;

	for (; (text = strstr(text, word)) != NULL; text++)
		n++;
	return n;
}

static void the_trace_shows_both_sides(void **state)
{
	struct guest *g = *state;
	char *text;

	if (set(g, "trace", g->path) == ENOTSUP)
		skip();
	run(g);
	text = contents(g->path);
	assert_int_equal(count(text, "vcpu 0: block "), stat(g, "blocks translated"));
	assert_non_null(strstr(text, "block 0x40000, guest-physical 0x40000, 32-bit, CPL 0"));
	assert_non_null(strstr(text, "00040000  b9e8030000       mov ecx, 0x3E8"));
	assert_non_null(strstr(text, "0f6ec2         movd xmm0, edx"));
	assert_non_null(strstr(text, "movd eax, xmm0"));
	assert_non_null(strstr(text, "call_op")); /* CPUID */
	assert_null(strstr(text, "(no instruction)"));
	/* On the left of the bar and on its right. */
	assert_true(count(text, "dec ecx") >= 2);
	free(text);
}

static void the_trace_can_be_limited(void **state)
{
	struct guest *g = *state;
	char *text, rip[16];

	snprintf(rip, sizeof(rip), "%#x", CODE + (unsigned)sizeof(code) - 2);
	assert_int_equal(set(g, "trace.rip", rip), 0);
	if (set(g, "trace", g->path) == ENOTSUP)
		skip();
	run(g);
	text = contents(g->path);
	assert_int_equal(count(text, "vcpu 0: block "), 1);
	assert_null(strstr(text, "dec ecx"));
	assert_non_null(strstr(text, "movd eax, xmm0"));
	free(text);
}

/* Every line is "start size name", code by code, without overlap; and the file survives the VM. */
static void perf_gets_names(void **state)
{
	struct guest *g = *state;
	char path[48], *text, *rest, *line;
	unsigned long long last = 0;
	unsigned lines = 0, blocks;

	assert_int_equal(set(g, "perf", "1"), 0);
	run(g);
	blocks = (unsigned)stat(g, "blocks translated");
	destroy(g);
	snprintf(path, sizeof(path), "/tmp/perf-%ld.map", (long)getpid());
	text = contents(path);
	unlink(path);
	assert_non_null(strstr(text, " hyve_enter\n"));
	assert_non_null(strstr(text, " guest_0x40000_kernel32\n"));
	assert_int_equal(count(text, " guest_0x"), blocks);
	rest = text;
	while ((line = strsep(&rest, "\n")) != NULL && *line) {
		unsigned long long start, size;
		char name[64], more;

		assert_int_equal(sscanf(line, "%llx %llx %63s%c", &start, &size, name, &more), 3);
		assert_true(start >= last && size > 0);
		last = start + size;
		lines++;
	}
	assert_true(lines > blocks + 3);
	free(text);
}

static uint64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* The process's dump, and how long it is. */
static char *dump_contents(size_t *size)
{
	char path[48], *bytes = calloc(1, 1 << 20);
	FILE *file;

	snprintf(path, sizeof(path), "/tmp/jit-%ld.dump", (long)getpid());
	file = fopen(path, "r");
	assert_non_null(file);
	*size = fread(bytes, 1, 1 << 20, file);
	assert_in_range(*size, 41, (1 << 20) - 1);
	fclose(file);
	unlink(path);
	return bytes;
}

static uint64_t number(const char *bytes, unsigned size)
{
	uint64_t value = 0;

	memcpy(&value, bytes, size);
	return value;
}

/* A piece of code: 16 bytes that all records have, then what is said of it, its name and itself. */
static void check_load(const char *record, size_t size, uint64_t index)
{
	size_t name;

	assert_in_range(size, 57, 1 << 16);
	name = strnlen(record + 56, size - 56);
	assert_int_equal(number(record + 16, 4), getpid());
	assert_int_equal(number(record + 24, 8), number(record + 32, 8));
	assert_int_equal(size, 56 + name + 1 + number(record + 40, 8));
	assert_int_equal(number(record + 48, 8), index);
	if (strcmp(record + 56, "hyve_enter") == 0)
		assert_int_equal((uint8_t)record[56 + name + 1], 0x53); /* push rbx */
}

/* Header and records, one after the other to the end of the file, in the order of their times. */
static void perf_gets_a_dump(void **state)
{
	struct guest *g = *state;
	uint64_t last = now(), loads = 0, named = 0, blocks;
	size_t size, at, len;
	char *dump;

	assert_int_equal(set(g, "perf", "jitdump"), 0);
	run(g);
	blocks = stat(g, "blocks translated");
	destroy(g);
	dump = dump_contents(&size);
	assert_int_equal(number(dump, 4), 0x4a695444);
	assert_int_equal(number(dump + 4, 4), 1);
	assert_int_equal(number(dump + 8, 4), 40);
	assert_int_equal(number(dump + 12, 4), 62); /* EM_X86_64 */
	assert_int_equal(number(dump + 20, 4), getpid());
	assert_in_range(number(dump + 24, 8), last, now());
	assert_int_equal(number(dump + 32, 8), 0);
	for (at = 40; at < size; at += len) {
		len = number(dump + at + 4, 4);
		assert_in_range(len, 16, size - at);
		assert_in_range(number(dump + at + 8, 8), last, now());
		last = number(dump + at + 8, 8);
		if (number(dump + at, 4) == 3)
			break;
		assert_int_equal(number(dump + at, 4), 0);
		check_load(dump + at, len, loads++);
		named += strncmp(dump + at + 56, "guest_0x4", 9) == 0;
	}
	assert_int_equal(at + 16, size); /* JIT_CODE_CLOSE is the last one */
	assert_int_equal(named, blocks);
	free(dump);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(names_are_unique, setup, teardown),
		cmocka_unit_test_setup_teardown(counters_count, setup, teardown),
		cmocka_unit_test_setup_teardown(
			entered_blocks_are_counted_if_asked, setup, teardown),
		cmocka_unit_test_setup_teardown(settings_are_checked, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_set_once_it_ran, setup, teardown),
		cmocka_unit_test_setup_teardown(the_trace_shows_both_sides, setup, teardown),
		cmocka_unit_test_setup_teardown(the_trace_can_be_limited, setup, teardown),
		cmocka_unit_test_setup_teardown(perf_gets_names, setup, teardown),
		cmocka_unit_test_setup_teardown(perf_gets_a_dump, setup, teardown),
	};

	return cmocka_run_group_tests_name("instruments", tests, NULL, NULL);
}
