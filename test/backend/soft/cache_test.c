/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * More code than the code cache holds: it is emptied in the middle of it, while return addresses, linked
 * jumps and the jump cache lead to what was there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "backend/soft/soft.h"
#include "test/backend/soft/world.h"
#include "vmm/vm.h"

#define CACHE_SIZE (128u << 10) /* a block may need 32 KiB */
#define FUNCTIONS  4000u
#define ROUNDS	   6u
#define CODE	   0x40000u
#define FUNCTION   0x60000u
#define STRIDE	   64u
#define PORT	   0xe8

/*
 * Function n adds n to EAX, calls the function behind it if bit 0 of n is set, and returns.  The caller goes
 * through all of them ECX times; EBX counts.
 */
static void put_functions(uint8_t *ram)
{
	for (uint32_t n = 0; n < FUNCTIONS; n++) {
		uint8_t *p = ram + FUNCTION + STRIDE * n;
		int32_t rel = (int32_t)STRIDE - 10;

		*p++ = 0x05; /* add eax, n */
		memcpy(p, &n, 4);
		p += 4;
		if (n & 1) {
			*p++ = 0xe8; /* call the next one */
			memcpy(p, &rel, 4);
			p += 4;
		}
		*p = 0xc3;
	}
}

static const uint8_t caller[] = {
	0xb9, ROUNDS, 0, 0, 0,		/* mov ecx, ROUNDS */
	0x31, 0xc0,			/* xor eax, eax */
	0xbb, 0, 0, 6, 0,		/* 1: mov ebx, FUNCTION */
	0xff, 0xd3,			/* 2: call ebx */
	0x83, 0xc3, STRIDE,		/* add ebx, STRIDE */
	0x81, 0xfb, 0, 0, 0, 0,		/* cmp ebx, the end */
	0x75, 0xf3,			/* jne 2b */
	0xff, 0xc9,			/* dec ecx */
	0x75, 0xea,			/* jne 1b */
	0xe7, PORT,			/* out */
};

/* Real mode's segments made flat: 32-bit code without paging. */
static void set_flat(struct vm *vm)
{
	struct x86_cpu *cpu = vm->ops->cpu_get(vm->vmi, 0);

	for (unsigned i = 0; i < 6; i++)
		cpu->seg[i] = (struct x86_seg){ .limit = 0xffffffff, .access = 0xc093, .sel = 8 };
	cpu->seg[X86_CS].access = 0xc09b;
	cpu->cr0 |= X86_CR0_PE;
	cpu->gpr[X86_RSP] = 0x30000;
	cpu->rflags = 2;
	vm->ops->cpu_put(vm->vmi, 0);
}

static uint64_t stat(struct vm *vm, const char *name)
{
	const char *found;
	uint64_t value;

	for (unsigned i = 0; vm->ops->stat(vm->vmi, 0, i, &found, &value); i++)
		if (strcmp(found, name) == 0)
			return value;
	fail_msg("no counter %s", name);
	return 0;
}

static void test_flushes(void **state)
{
	uint32_t expected = 0, end = FUNCTION + STRIDE * FUNCTIONS;
	struct vm_run run = { .cpuid = 0, .rip = CODE };
	uint8_t *ram;
	struct vm *vm = world_vm(&vmm_ops_soft, &ram);

	(void)state;
	assert_non_null(vm);
	((struct soft_vm *)vm->vmi)->cache_size = CACHE_SIZE;
	memcpy(ram + CODE, caller, sizeof(caller));
	memcpy(ram + CODE + 19, &end, 4);
	put_functions(ram);
	ram[FUNCTION + STRIDE * FUNCTIONS] = 0xc3; /* the last one calls it */
	set_flat(vm);
	for (uint32_t n = 0; n < FUNCTIONS; n++)
		expected += n + (n & 1 && n + 1 < FUNCTIONS ? n + 1 : 0);
	assert_int_equal(vm_run(vm, &run), 0);
	assert_int_equal(run.vm_exit.exitcode, VM_EXITCODE_INOUT);
	assert_int_equal(run.vm_exit.rip, CODE + sizeof(caller) - 2);
	assert_int_equal(run.vm_exit.u.inout.eax, expected * ROUNDS);
	assert_true(stat(vm, "code cache flushes") >= ROUNDS);
	assert_int_equal(vcpu_set_state(vm, 0, VCPU_IDLE, false), 0);
	vm_destroy(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_flushes) };

	return cmocka_run_group_tests_name("code cache", tests, NULL, NULL);
}
