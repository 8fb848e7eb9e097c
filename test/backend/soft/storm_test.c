/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The software CPU in a storm (test/vmm/storm.h): its guest takes interrupts and sends them to all,
 * halts, counts with LOCK, and rewrites its own code.
 */
#include <stdlib.h>
#include <string.h>

#include "test/backend/soft/hooks.h"
#include "test/backend/soft/smp.h"
#include "test/vmm/storm.h"

#define GDT	0x0800u
#define IDT	0x6000u
#define HANDLER 0x104000u

/* R8 counts turns.  Each turn ends with a write to the storm's port; some send an IPI, halt, or
 * change the MOV. */
SNIPPET(turns,
	"mov $0xfee000f0, %ebp\n movl $0x1ff, (%rbp)\n mov $0x200000, %esi\n xor %r8d, %r8d\n sti\n"
	"1: mov $200, %ecx\n 2: lock incq (%rsi)\n mov (%rsi), %rax\n cmp 64(%rsi), %rax\n dec "
	"%ecx\n jnz 2b\n"
	"inc %r8d\n test $7, %r8b\n jnz 3f\n movl $0xc4040, 0x210(%rbp)\n"
	"3: test $31, %r8b\n jnz 4f\n hlt\n"
	"4: test $15, %r8b\n jnz 5f\n mov %r8d, 6f+1(%rip)\n 5: call 6f\n"
	"out %al, $0xe8\n jmp 1b\n .balign 64\n 6: mov $0, %eax\n ret\n");

/* One for all vectors: end of interrupt, and back. */
SNIPPET(handler, "push %rax\n mov $0xfee000b0, %eax\n movl $0, (%rax)\n pop %rax\n iretq\n");

static void put_gate(struct smp *s, unsigned vector)
{
	put64(s, IDT + 16 * vector,
		(uint64_t)(HANDLER >> 16) << 48 | 0x8e00ull << 32 | 8u << 16 | (HANDLER & 0xffff));
	put64(s, IDT + 16 * vector + 8, 0);
}

static void put_guest(struct smp *s)
{
	memcpy(s->ram + CODE, turns, (size_t)(turns_end - turns));
	memcpy(s->ram + HANDLER, handler, (size_t)(handler_end - handler));
	for (unsigned vector = 2; vector < 256; vector++)
		if (vector == 2 || vector >= 16)
			put_gate(s, vector);
	put64(s, GDT + 8, 0x00af9b000000ffff);
	put64(s, 0x2018, 0xc0000083); /* the APIC's page, in 1 GiB */
}

static void prepare(struct vm *vm, int vcpu, void *arg)
{
	struct seg_desc gdt = {.base = GDT, .limit = 15}, idt = {.base = IDT, .limit = 0xfff};
	struct smp *s = arg;

	if (vcpu == 0)
		soft_hooks(vm);
	prepare_vcpu(s, vcpu);
	assert_int_equal(vmmdev_set_seg_desc(vm, vcpu, VM_REG_GUEST_GDTR, &gdt), 0);
	assert_int_equal(vmmdev_set_seg_desc(vm, vcpu, VM_REG_GUEST_IDTR, &idt), 0);
	assert_int_equal(vmmdev_set_register(vm, vcpu, VM_REG_GUEST_CS, 8), 0);
	assert_int_equal(vmmdev_set_register(vm, vcpu, VM_REG_GUEST_SS, 0), 0);
	assert_int_equal(vmmdev_set_register(vm, vcpu, VM_REG_GUEST_RIP, CODE), 0);
}

static void everything_at_once(void **state)
{
	struct smp *s = smp_create();
	uint64_t counted;

	(void)state;
	put_guest(s);
	storm(s->vm, VCPUS, prepare, s);
	counted = get64(s, DATA);
	assert_int_not_equal(counted, 0);
	vmmdev_destroy(s->vm);
	free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_at_once),
	};

	return cmocka_run_group_tests_name("storm", tests, NULL, NULL);
}
