/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Several vcpus in one VM: locked instructions, code that another vcpu rewrites, page tables changed under
 * running code, and everybody wanting something of vcpus that are inside the guest.
 */
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "test/backend/soft/smp.h"

#define COUNT 100000

SNIPPET(counters, "mov $0x200000, %ebx\n mov $100000, %ecx\n"
		  "1: lock incq (%rbx)\n mov $1, %eax\n lock xaddq %rax, 8(%rbx)\n"
		  "2: mov 16(%rbx), %rax\n lea 1(%rax), %r13\n lock cmpxchg %r13, 16(%rbx)\n jne 2b\n"
		  "mov $1, %r14d\n 3: mov %r14d, %eax\n xchg %eax, 24(%rbx)\n test %eax, %eax\n jnz 3b\n"
		  "incq 32(%rbx)\n movl $0, 24(%rbx)\n lock btsq $0, 40(%rbx)\n adc $0, %r12\n"
		  "dec %ecx\n jnz 1b\n");

/* LOCK INC, XADD, CMPXCHG, and a spin lock by XCHG. */
static void test_counters(void **state)
{
	struct smp *s = *state;
	struct runner r[VCPUS];

	start(s, r, counters, counters_end);
	finish(r);
	assert_int_equal(get64(s, DATA), VCPUS * COUNT);
	assert_int_equal(get64(s, DATA + 8), VCPUS * COUNT);
	assert_int_equal(get64(s, DATA + 16), VCPUS * COUNT);
	assert_int_equal(get64(s, DATA + 32), VCPUS * COUNT);
}

/*
 * Vcpu 0 rewrites the operand of a MOV and raises a flag; vcpu 1 waits for the flag, executes CPUID and calls
 * what was rewritten (SDM vol. 3, 8.1.3).  EAX: how often it was not the new code.  Two functions, one in
 * the page of the caller and one in another.
 */
SNIPPET(rewriting,
	"xor %eax, %eax\n cmp $1, %edi\n ja 9f\n mov $0x200000, %r8d\n test %edi, %edi\n jz 4f\n jmp 5f\n"
	"4: mov $1, %r9d\n"
	"1: mov %r9d, 8f+1(%rip)\n mov %r9d, 0x101001\n mov %r9, (%r8)\n"
	"2: pause\n cmp %r9, 8(%r8)\n jne 2b\n"
	"inc %r9d\n cmp $1000, %r9d\n jne 1b\n xor %eax, %eax\n jmp 9f\n"
	"5: mov $1, %r9d\n xor %esi, %esi\n"
	"6: pause\n cmp %r9, (%r8)\n jne 6b\n xor %eax, %eax\n cpuid\n"
	"call 8f\n cmp %r9d, %eax\n setne %al\n movzbl %al, %eax\n add %eax, %esi\n"
	"mov $0x101000, %eax\n call *%rax\n cmp %r9d, %eax\n setne %al\n movzbl %al, %eax\n add %eax, %esi\n"
	"mov %r9, (%r8, %rdi, 8)\n inc %r9d\n cmp $1000, %r9d\n jne 6b\n mov %esi, %eax\n jmp 9f\n"
	".balign 64\n 8: mov $0, %eax\n ret\n .balign 64\n 9:\n");

static void test_rewriting(void **state)
{
	static const uint8_t function[] = { 0xb8, 0, 0, 0, 0, 0xc3 };
	struct smp *s = *state;
	struct runner r[VCPUS];

	memcpy(s->ram + CODE + 0x1000, function, sizeof(function));
	start(s, r, rewriting, rewriting_end);
	finish(r);
	for (int i = 0; i < VCPUS; i++)
		assert_int_equal(r[i].exit.u.inout.eax, 0);
}

/*
 * Each vcpu maps its own linear page here and there, with INVLPG, and reads and writes what it finds.
 * Page k at DATA + k * 4096 begins with k.  EAX: how often it was another one.
 */
SNIPPET(remapping,
	"mov %edi, %eax\n shl $15, %eax\n lea 0x40000000(%rax), %rbx\n"
	"mov %edi, %r8d\n shl $6, %r8d\n add $0x5000, %r8d\n"
	"mov $20000, %r9d\n xor %esi, %esi\n"
	"1: mov %r9d, %ecx\n and $7, %ecx\n mov %ecx, %edx\n shl $12, %edx\n or $0x200003, %edx\n"
	"mov %rdx, (%r8)\n invlpg (%rbx)\n cmp %ecx, (%rbx)\n setne %al\n movzbl %al, %eax\n add %eax, %esi\n"
	"lock incq 8(%rbx)\n dec %r9d\n jnz 1b\n mov %esi, %eax\n");

static void test_remapping(void **state)
{
	struct smp *s = *state;
	struct runner r[VCPUS];

	for (unsigned k = 0; k < 8; k++)
		put64(s, DATA + 0x1000 * k, k);
	start(s, r, remapping, remapping_end);
	finish(r);
	for (int i = 0; i < VCPUS; i++)
		assert_int_equal(r[i].exit.u.inout.eax, 0);
	for (unsigned k = 0; k < 8; k++)
		assert_int_equal(get64(s, DATA + 0x1000 * k + 8), VCPUS * 20000 / 8);
}

/*
 * Vcpu 0 changes an immediate often enough for it to be read at run time, and calls that instruction all the time
 * from then on; vcpu 1 replaces the whole of it with one store, to and fro between MOV EAX, 1 and XOR EAX, 2.
 * EAX: how often it was neither.
 */
SNIPPET(replacing,
	"xor %eax, %eax\n cmp $1, %edi\n ja 9f\n mov $0x200000, %r8d\n test %edi, %edi\n jnz 5f\n"
	"mov $20, %ecx\n 1: mov %ecx, 8f+1(%rip)\n call 8f\n dec %ecx\n jnz 1b\n movl $1, (%r8)\n xor %esi, %esi\n"
	"2: mov $0x10, %eax\n call 8f\n cmp $1, %eax\n je 3f\n cmp $0x12, %eax\n je 3f\n inc %esi\n"
	"3: cmpl $1, (%r8)\n je 2b\n mov %esi, %eax\n jmp 9f\n"
	"5: pause\n cmpl $1, (%r8)\n jne 5b\n mov $0xc300000001b8, %r9\n mov $0xc30000000235, %r10\n mov $100000, %ecx\n"
	"6: mov %r9, 8f(%rip)\n xchg %r9, %r10\n test $15, %cl\n jnz 7f\n pause\n 7: dec %ecx\n jnz 6b\n"
	"movl $2, (%r8)\n xor %eax, %eax\n jmp 9f\n"
	".balign 64\n 8: mov $1, %eax\n ret\n .balign 64\n 9:\n");

static void test_replacing(void **state)
{
	struct smp *s = *state;
	struct runner r[VCPUS];

	start(s, r, replacing, replacing_end);
	finish(r);
	for (int i = 0; i < VCPUS; i++)
		assert_int_equal(r[i].exit.u.inout.eax, 0);
}

static void count_call(struct vm *vm, int vcpu, void *arg)
{
	(void)vm;
	(void)vcpu;
	atomic_fetch_add((_Atomic unsigned *)arg, 1);
}

/* RBX counts, R12 follows it, in an endless loop with calls and stores. */
SNIPPET(endless, "xor %ebx, %ebx\n mov %edi, %eax\n shl $12, %eax\n lea 0x200000(%rax), %rcx\n"
		 "1: inc %rbx\n mov %rbx, %r12\n call 2f\n jmp 1b\n 2: mov %rbx, (%rcx)\n ret\n");

/* All of them, and each has got into its loop: before, its registers are those of power-on. */
static void start_endless(struct smp *s, struct runner *r)
{
	start(s, r, endless, endless_end);
	for (int i = 0; i < VCPUS; i++)
		while (*(volatile uint64_t *)(s->ram + DATA + 0x1000 * (unsigned)i) == 0)
			usleep(100);
}

static void finish_suspended(struct smp *s, struct runner *r)
{
	assert_int_equal(vmmdev_suspend(s->vm, VM_SUSPEND_POWEROFF), 0);
	for (int i = 0; i < VCPUS; i++) {
		pthread_join(r[i].thread, NULL);
		assert_int_equal(r[i].error, 0);
		assert_int_equal(r[i].exit.exitcode, VM_EXITCODE_SUSPENDED);
	}
}

/* Rendezvous from outside while all run; then suspended in the middle of it. */
static void test_rendezvous(void **state)
{
	struct smp *s = *state;
	struct runner r[VCPUS];
	_Atomic unsigned calls = 0;
	cpuset_t all;

	CPU_ZERO(&all);
	for (int i = 0; i < VCPUS; i++)
		CPU_SET(i, &all);
	start_endless(s, r);
	for (unsigned i = 0; i < 50; i++)
		vm_smp_rendezvous(s->vm, -1, all, count_call, (void *)&calls);
	assert_int_equal(calls, 50 * VCPUS);
	finish_suspended(s, r);
}

/*
 * Registers of a vcpu that runs: each look finds it further, and consistent.  A look lasts until the host has given
 * the vcpu a core to leave the guest on, time slices of the others where cores are few.
 */
static void test_registers(void **state)
{
	struct smp *s = *state;
	struct runner r[VCPUS];
	uint64_t rbx, r12, rip, before[VCPUS] = { 0 };

	start_endless(s, r);
	for (unsigned i = 0; i < 100; i++) {
		int vcpu = (int)(i % VCPUS);

		assert_int_equal(vmmdev_get_register(s->vm, vcpu, VM_REG_GUEST_RBX, &rbx), 0);
		assert_true(rbx >= before[vcpu]);
		before[vcpu] = rbx;
		assert_int_equal(vmmdev_get_register(s->vm, vcpu, VM_REG_GUEST_R12, &r12), 0);
		assert_true(r12 + 1 >= rbx);
		assert_int_equal(vmmdev_get_register(s->vm, vcpu, VM_REG_GUEST_RIP, &rip), 0);
		assert_in_range(rip, CODE, CODE + (uint64_t)(endless_end - endless));
	}
	for (int i = 0; i < VCPUS; i++)
		assert_true(before[i] > 0);
	finish_suspended(s, r);
}

/* Memory that the embedder writes: code that runs meanwhile is the new one soon. */
SNIPPET(patched, "mov $0x200000, %r8d\n 1: mov $0, %eax\n mov %eax, (%r8,%rdi,8)\n cmp $500, %eax\n jne 1b\n");

static void test_patched(void **state)
{
	struct smp *s = *state;
	struct runner r[VCPUS];

	start(s, r, patched, patched_end);
	for (uint32_t value = 1; value <= 500; value++) {
		assert_int_equal(vmmdev_write(s->vm, CODE + 7, &value, 4), 0);
		for (unsigned i = 0; i < VCPUS; i++)
			while (*(volatile uint32_t *)(s->ram + DATA + 8 * i) != value)
				usleep(10);
	}
	finish(r);
}

/*
 * Vcpu 0 keeps storing new immediates into a page that nobody has executed, thousands between two looks at requests;
 * it says which one each time.  Vcpus 1 and 2 begin to call that code at the same moment: both have to wait until
 * vcpu 0 has given up its write tag.  EAX: how often the code was older than what had been said.  Then the next page.
 */
SNIPPET(beginning,
	"xor %eax, %eax\n cmp $2, %edi\n ja 9f\n mov $0x200000, %r8d\n mov $0x400000, %ebp\n mov $1, %r10d\n"
	"xor %esi, %esi\n test %edi, %edi\n jnz 6f\n mov $1, %r9d\n"
	"1: movb $0xb8, (%rbp)\n mov %r9d, 1(%rbp)\n movb $0xc3, 5(%rbp)\n mov %r9, (%r8)\n mov %r10d, 8(%r8)\n"
	"2: .rept 4000\n inc %r9d\n mov %r9d, 1(%rbp)\n mov %r9d, (%r8)\n .endr\n"
	"cmp %r10d, 16(%r8)\n jne 2b\n cmp %r10d, 24(%r8)\n jne 2b\n"
	"add $0x1000, %ebp\n inc %r10d\n cmp $500, %r10d\n jne 1b\n xor %eax, %eax\n jmp 9f\n"
	"6: pause\n cmp %r10d, 8(%r8)\n jne 6b\n mov $20, %r12d\n"
	"7: mov (%r8), %r11d\n xor %eax, %eax\n cpuid\n call *%rbp\n cmp %r11d, %eax\n adc $0, %esi\n"
	"dec %r12d\n jnz 7b\n mov %r10, 8(%r8, %rdi, 8)\n"
	"add $0x1000, %ebp\n inc %r10d\n cmp $500, %r10d\n jne 6b\n mov %esi, %eax\n 9:\n");

static void test_beginning(void **state)
{
	struct smp *s = *state;
	struct runner r[VCPUS];

	start(s, r, beginning, beginning_end);
	finish(r);
	for (int i = 0; i < VCPUS; i++)
		assert_int_equal(r[i].exit.u.inout.eax, 0);
}

/*
 * Under a lock, each vcpu reads the time-stamp counter and compares it with what the last one read.  EAX: how often
 * it had gone back.  In RBX the highest that it has seen.
 */
SNIPPET(clocks,
	"mov $0x200000, %r8d\n mov $50000, %r9d\n xor %esi, %esi\n"
	"1: mov $1, %eax\n xchg %eax, (%r8)\n test %eax, %eax\n jz 2f\n pause\n jmp 1b\n"
	"2: mov 64(%r8), %rbx\n test $1, %r9d\n jz 3f\n rdtscp\n jmp 4f\n 3: lfence\n rdtsc\n"
	"4: shl $32, %rdx\n or %rdx, %rax\n mov %rax, 64(%r8)\n movl $0, (%r8)\n"
	"cmp %rbx, %rax\n adc $0, %esi\n dec %r9d\n jnz 1b\n mov %esi, %eax\n");

static void test_clocks(void **state)
{
	struct smp *s = *state;
	struct runner r[VCPUS];

	start(s, r, clocks, clocks_end);
	finish(r);
	for (int i = 0; i < VCPUS; i++)
		assert_int_equal(r[i].exit.u.inout.eax, 0);
}

/*
 * Operands that lie in two pages which are not neighbours in memory: a 64-bit counter whose halves others count in
 * by themselves, with the host's own LOCK; a spin lock; a bit string.  All vcpus: RBX + FFCh is the counter.
 */
SNIPPET(splitting,
	"mov $0x40028000, %ebx\n mov $100000, %ecx\n mov %edi, %edx\n and $3, %edx\n"
	"1: cmp $2, %edx\n je 3f\n ja 4f\n"
	"lock incq 0xffc(%rbx)\n mov $1, %eax\n lock xadd %rax, 0xffc(%rbx)\n jmp 5f\n"
	"3: lock incl 0xffc(%rbx)\n lock incl 0x1000(%rbx)\n jmp 5f\n"
	"4: lock incl 0x1000(%rbx)\n lock decl 0xffc(%rbx)\n"
	"5: mov $1, %eax\n xchg %ax, 0x1fff(%rbx)\n test $1, %al\n jz 6f\n pause\n jmp 5b\n"
	"6: incq 0x1100(%rbx)\n movw $0, 0x1fff(%rbx)\n"
	"mov %rdi, %r8\n lea 10(%rdi), %r9\n lock btcq %r9, 0x2ffb(%rbx)\n lea 50(%rdi), %r9\n lock btcq %r9, 0x2ffb(%rbx)\n"
	"mov 0x3010(%rbx), %rax\n"
	"7: lea 1(%rax), %r10\n mov 0x3ffd(%rbx), %rax\n lea 3(%rax), %r10\n lock cmpxchg %r10, 0x3ffd(%rbx)\n jne 7b\n"
	"dec %ecx\n jnz 1b\n xor %eax, %eax\n");

static uint64_t get_split(const struct smp *s, uint32_t low, uint32_t high, unsigned in_low)
{
	uint64_t value = 0;

	memcpy(&value, s->ram + low + 0x1000 - in_low, in_low);
	memcpy((uint8_t *)&value + in_low, s->ram + high, 8 - in_low);
	return value;
}

static void test_splitting(void **state)
{
	static const uint32_t page[] = { DATA + 0x7000, DATA + 0x2000, DATA + 0x9000, DATA + 0x5000, DATA + 0x1000 };
	struct smp *s = *state;
	struct runner r[VCPUS];

	for (unsigned i = 0; i < 5; i++)
		put64(s, TABLE + 8 * (0x28 + i), page[i] | 3);
	/* Whatever vcpu 3 takes from it, the lower half never wraps around, or there would be a carry. */
	put64(s, page[0] + 0xff8, (uint64_t)COUNT << 32);
	start(s, r, splitting, splitting_end);
	finish(r);
	/* Vcpus 0 and 1 add 2 to the whole, 2 and 3 one to each half, or take one from the lower. */
	assert_int_equal(get_split(s, page[0], page[1], 4), 5ull * COUNT + (2ull * COUNT << 32));
	assert_int_equal(get64(s, page[1] + 0x100), VCPUS * COUNT);
	assert_int_equal(get_split(s, page[2], page[3], 5), 0);
	assert_int_equal(get_split(s, page[3], page[4], 3), VCPUS * COUNT * 3);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(counters),	  TEST(rewriting), TEST(replacing), TEST(remapping),
		TEST(rendezvous), TEST(registers), TEST(patched),
		TEST(beginning),  TEST(clocks),
		TEST(splitting),
	};

	return cmocka_run_group_tests_name("smp", tests, NULL, NULL);
}
