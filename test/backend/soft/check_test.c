/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Lock-step itself: it counts what it compares, and it finds translated code that is not what the guest's
 * memory says, here because we changed that behind the library's back.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "backend/backend.h"
#include "backend/soft/check.h"
#include "backend/soft/soft.h"
#include "test/backend/soft/world.h"
#include "vmm/vm.h"

#define CODE 0x10000u
#define DATA 0x20000u

static const uint8_t code[] = {
	0xb9, 3, 0, 0, 0,      /* mov ecx, 3 */
	0x01, 0x0d, 0, 0, 2, 0, /* 1: add [DATA], ecx */
	0x49,		       /* dec ecx */
	0x75, 0xf7,	       /* jnz 1b */
	0xa1, 0, 0, 2, 0,      /* mov eax, [DATA] */
	0xe6, 0xe8,	       /* out 0xe8, al */
};

static struct vm *open_vm(uint8_t **ram)
{
	struct vm *vm = world_vm(&vmm_ops_soft, ram);
	struct x86_cpu *cpu;

	assert_non_null(vm);
	((struct soft_vm *)vm->vmi)->lockstep = true;
	memcpy(*ram + CODE, code, sizeof(code));
	cpu = vm->ops->cpu_get(vm->vmi, 0);
	for (unsigned i = 0; i < 6; i++)
		cpu->seg[i] = (struct x86_seg){ .limit = 0xffffffff, .access = 0xc093, .sel = 8 };
	cpu->seg[X86_CS].access = 0xc09b;
	cpu->cr0 |= X86_CR0_PE;
	cpu->rflags = 2;
	vm->ops->cpu_put(vm->vmi, 0);
	return vm;
}

static int run(struct vm *vm, struct vm_run *run)
{
	run->cpuid = 0;
	run->rip = CODE;
	return vm_run(vm, run);
}

static void close_vm(struct vm *vm)
{
	assert_int_equal(vcpu_set_state(vm, 0, VCPU_IDLE, false), 0);
	vm_destroy(vm);
}

static void test_same(void **state)
{
	struct vm_run r = { 0 };
	uint8_t *ram;
	struct vm *vm = open_vm(&ram);
	const struct soft_vcpu *v = ((struct soft_vm *)vm->vmi)->vcpu[0];

	(void)state;
	assert_int_equal(run(vm, &r), 0);
	assert_int_equal(r.vm_exit.exitcode, VM_EXITCODE_INOUT);
	assert_int_equal(r.vm_exit.u.inout.eax, 6); /* stored once, not twice */
	assert_int_equal(soft_check_stats(v)->insns, 1 + 3 * 3 + 1);
	assert_int_equal(soft_check_stats(v)->exits, 1);
	assert_null(soft_check_mismatch(v));
	close_vm(vm);
}

static void test_stale(void **state)
{
	struct vm_run r = { 0 };
	uint8_t *ram;
	struct vm *vm = open_vm(&ram);
	const struct soft_vcpu *v = ((struct soft_vm *)vm->vmi)->vcpu[0];
	const struct soft_mismatch *m;

	(void)state;
	assert_int_equal(run(vm, &r), 0);
	ram[CODE + 1] = 1; /* mov ecx, 1: the translation has 3 */
	memset(ram + DATA, 0, 4);
	assert_int_equal(run(vm, &r), EPROTO);
	m = soft_check_mismatch(v);
	assert_non_null(m);
	assert_int_equal(m->rip, CODE);
	assert_true(m->insns >= 3);
	assert_int_equal(m->insn[0].rip, CODE);
	assert_int_equal(m->insn[0].len, 5);
	assert_int_equal(m->insn[0].bytes[1], 1);
	assert_int_equal(ram[DATA], 0); /* as before the block */
	close_vm(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_same), cmocka_unit_test(test_stale) };

	return cmocka_run_group_tests_name("lock-step", tests, NULL, NULL);
}
