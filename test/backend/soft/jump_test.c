/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The jump cache and edges over changes of the page tables: two address spaces with other code at
 * the same addresses.  What leaves with one of them is there again when it is back, but for what has
 * changed meanwhile: a page table, the code, the cache.
 */
#include <string.h>

#include "backend/soft/soft.h"
#include "test/backend/soft/smp.h"
#include "vmm/vm.h"

#define ROUNDS 42u /* the last change is none that a list is given up at */
#define PAGES  4u
#define PTE_A  0x20u

/* Page directories and tables of an address space that has PAGES pages at HIGH. */
#define ROOT_A	    0x1000u /* the harness's, which has all memory at 0, too */
#define ROOT_B	    0x20000u
#define TABLES(b)   (0x21000u + (b)*0x3000u)
#define PTE(b, i)   (TABLES(b) + 0x2000u + 8 * (i))
#define HIGH	    (1ull << 39)
#define HOME(b, i)  (0x400000u + (b)*0x10000u + (i)*0x1000u)
#define VALUE(b, i) (1u << (8 * (b) + (i)))

static struct soft_vcpu *first(const struct smp *s)
{
	return ((struct soft_vm *)s->vm->vmi)->vcpu[0];
}

/* ADD $value, %eax, and on to the next page; RET from the last one. */
static void put_page(struct smp *s, uint32_t gpa, uint32_t value, bool last)
{
	const uint32_t next = 0x1000 - 10;
	uint8_t *at = s->ram + gpa;

	at[0] = 0x05;
	memcpy(at + 1, &value, 4);
	at[5] = last ? 0xc3 : 0xe9;
	memcpy(at + 6, &next, 4);
}

static int set_up_spaces(void **state)
{
	struct smp *s = smp_create();
	struct soft_vm *vm = s->vm->vmi;

	*state = s;
	prepare_vcpu(s, 0);
	vm->torture = 0;
	vm->lockstep = false;
	assert_int_equal(vmmdev_set_capability(s->vm, 0, VM_CAP_ENABLE_INVPCID, 1), 0);
	put64(s, ROOT_B, get64(s, ROOT_A));
	for (uint32_t b = 0; b < 3; b++) { /* the third one is only pages */
		if (b < 2)
			put64(s, (b ? ROOT_B : ROOT_A) + 8, TABLES(b) | 3);
		put64(s, TABLES(b), (TABLES(b) + 0x1000) | 3);
		put64(s, TABLES(b) + 0x1000, (TABLES(b) + 0x2000) | 3);
		for (uint32_t i = 0; i < PAGES; i++) {
			put64(s, PTE(b, i), HOME(b, i) | 3);
			put_page(s, HOME(b, i), VALUE(b, i), i == PAGES - 1);
		}
	}
	return 0;
}

/*
 * R9, R10: what CR3 becomes; calls HIGH in both spaces, ROUNDS times, then says what that has come to
 * and waits; then in the first one again: what EAX is then.
 */
#define CALLS                                                                                      \
	"mov $1, %ebx\n shl $39, %rbx\n xor %r8d, %r8d\n mov $42, %esi\n"                          \
	"1: mov %r9, %cr3\n xor %eax, %eax\n call *%rbx\n add %eax, %r8d\n"                        \
	"mov %r10, %cr3\n xor %eax, %eax\n call *%rbx\n add %eax, %r8d\n"                          \
	"dec %esi\n jnz 1b\n mov %r8d, %eax\n out %eax, $0xe8\n"                                   \
	"mov %r9, %cr3\n xor %eax, %eax\n call *%rbx\n"
SNIPPET(calls, "mov $0x1000, %r9d\n mov $0x20000, %r10d\n" CALLS);
/* With PCIDs that keep their translations; then, before the last call, one address of A's goes. */
SNIPPET(kept,
	"mov %cr4, %rax\n bts $17, %rax\n mov %rax, %cr4\n"
	"mov $0x1001, %r9d\n mov $0x20002, %r10d\n bts $63, %r9\n bts $63, %r10\n" CALLS
	"out %eax, $0xe8\n mov %r10, %cr3\n"
	"mov $0x200000, %edx\n movq $1, (%rdx)\n mov %rbx, 8(%rdx)\n xor %ecx, %ecx\n invpcid (%rdx), %rcx\n"
	"mov %r9, %cr3\n xor %eax, %eax\n call *%rbx\n");

/* On to the next OUT; false: it comes to another end. */
static bool go_on(struct smp *s, struct vm_run *run, uint32_t *eax)
{
	int error;

	do {
		error = vmmdev_run(s->vm, run);
		run->rip = run->vm_exit.rip + (uint64_t)run->vm_exit.inst_length;
	} while (!error && run->vm_exit.exitcode == VM_EXITCODE_BOGUS);
	assert_int_equal(error, 0);
	*eax = run->vm_exit.u.inout.eax;
	return run->vm_exit.exitcode == VM_EXITCODE_INOUT;
}

static uint32_t value_of(unsigned b)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < PAGES; i++)
		sum += VALUE(b, i);
	return sum;
}

/* The snippet to its first OUT, with all rounds behind it. */
static struct vm_run begin(struct smp *s, const uint8_t *code, const uint8_t *end)
{
	struct vm_run run = {.rip = CODE};
	uint32_t sum;

	memcpy(s->ram + CODE, code, (size_t)(end - code));
	assert_true(go_on(s, &run, &sum));
	assert_int_equal(sum, ROUNDS * (value_of(0) + value_of(1)));
	return run;
}

static uint32_t call_again(struct smp *s, struct vm_run *run)
{
	uint32_t eax;

	assert_true(go_on(s, run, &eax));
	return eax;
}

/* A round looks up at least eight places otherwise: as many pages, two returns, two entries. */
static void check_back(struct smp *s)
{
	const struct soft_vcpu *v = first(s);

	assert_true(v->stat_lookups < ROUNDS * 6);
	assert_true(v->stat_jumps_back > ROUNDS * 4);
}

static void test_back(void **state)
{
	struct smp *s = *state;
	struct vm_run run = begin(s, calls, calls_end);

	check_back(s);
	assert_int_equal(call_again(s, &run), value_of(0));
}

/* Of an entry of the jump cache, or of where an edge leads to. */
static void change_table(struct smp *s, uint32_t page)
{
	struct vm_run run = begin(s, calls, calls_end);

	put64(s, PTE(0, page), HOME(2, page) | 3);
	assert_int_equal(call_again(s, &run), value_of(0) - VALUE(0, page) + VALUE(2, page));
}

static void test_table_changed(void **state)
{
	change_table(*state, 0);
}

static void test_table_behind_edge(void **state)
{
	change_table(*state, 2);
}

static void test_not_there(void **state)
{
	struct smp *s = *state;
	struct vm_run run = begin(s, calls, calls_end);
	uint32_t eax;

	put64(s, PTE(0, 2), 0);
	assert_false(go_on(s, &run, &eax)); /* a fault, for which there is no handler */
}

static void test_marked(void **state)
{
	struct smp *s = *state;
	struct vm_run run = begin(s, calls, calls_end);

	for (uint32_t i = 0; i < PAGES; i++) {
		assert_true(get64(s, PTE(0, i)) & PTE_A);
		put64(s, PTE(0, i), get64(s, PTE(0, i)) & ~(uint64_t)PTE_A);
	}
	assert_int_equal(call_again(s, &run), value_of(0));
	for (uint32_t i = 0; i < PAGES; i++)
		assert_true(get64(s, PTE(0, i)) & PTE_A);
}

static void test_code_changed(void **state)
{
	struct smp *s = *state;
	struct vm_run run = begin(s, calls, calls_end);
	uint32_t value = 0x55555;

	assert_int_equal(vmmdev_write(s->vm, HOME(0, 0) + 1, &value, 4), 0);
	assert_int_equal(vmmdev_write(s->vm, HOME(0, 3) + 1, &value, 4), 0);
	assert_int_equal(call_again(s, &run),
		value_of(0) - VALUE(0, 0) - VALUE(0, 3) + 2 * value);
}

static void test_evicted(void **state)
{
	struct smp *s = *state;
	struct vm_run run = begin(s, calls, calls_end);
	struct soft_cache *c = &first(s)->cache;

	for (unsigned i = 0; i < c->npieces; i++) {
		soft_make_room(first(s));
		memset(c->rw + c->piece[c->filling].code, 0xcc,
			c->piece[c->filling].end - c->piece[c->filling].code);
	}
	assert_int_equal(call_again(s, &run), value_of(0));
}

static void test_kept(void **state)
{
	struct smp *s = *state;
	struct vm_run run = begin(s, kept, kept_end);

	check_back(s);
	assert_int_equal(call_again(s, &run), value_of(0));
	put64(s, PTE(0, 0), HOME(2, 0) | 3);
	assert_int_equal(call_again(s, &run), value_of(0) - VALUE(0, 0) + VALUE(2, 0));
}

#define TEST(name) cmocka_unit_test_setup_teardown(test_##name, set_up_spaces, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(back),
		TEST(table_changed),
		TEST(table_behind_edge),
		TEST(not_there),
		TEST(marked),
		TEST(code_changed),
		TEST(evicted),
		TEST(kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
