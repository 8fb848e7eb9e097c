/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Guest-linear memory through the page tables of every paging mode. */
#include <errno.h>

#include "test/vmm/harness.h"

#define RAM_SIZE 0x100000
#define P	 0x001u
#define W	 0x002u
#define U	 0x004u
#define A	 0x020u
#define D	 0x040u
#define PS	 0x080u
#define NX	 (1ull << 63)

static uint64_t *table(struct vm *vm, uint64_t gpa)
{
	return vm_gpa_ram(vm, gpa, NULL);
}

static int setup(void **state)
{
	struct vm *vm = vm_new(&fake_ops);

	assert_int_equal(vm_malloc(vm, 0, RAM_SIZE), 0);
	assert_int_equal(
		vm_set_register(vm, 0, VM_REG_GUEST_CR0, X86_CR0_PE | X86_CR0_PG | X86_CR0_WP), 0);
	assert_int_equal(vm_set_register(vm, 0, VM_REG_GUEST_CR4, X86_CR4_PAE), 0);
	assert_int_equal(vm_set_register(vm, 0, VM_REG_GUEST_EFER,
				 X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE),
		0);
	*state = vm;
	return 0;
}

/* Four levels at 0x1000..0x4000; gla 0x400000 + i pages is what the test puts at 0x4000. */
static struct vm_guest_paging long_mode(struct vm *vm, int cpl)
{
	table(vm, 0x1000)[0] = 0x2000 | P | W | U;
	table(vm, 0x2000)[0] = 0x3000 | P | W | U;
	table(vm, 0x3000)[2] = 0x4000 | P | W | U;
	return (struct vm_guest_paging){.cr3 = 0x1000,
		.cpl = cpl,
		.cpu_mode = CPU_MODE_64BIT,
		.paging_mode = PAGING_MODE_64};
}

static int walk(
	struct vm *vm, struct vm_guest_paging *paging, uint64_t gla, int prot, uint64_t *gpa)
{
	int fault = -1;

	*gpa = 0;
	assert_int_equal(vm_gla2gpa(vm, 0, paging, gla, prot, gpa, &fault), 0);
	return fault;
}

/* The queued exception, and what CR2 became. */
static void expect_event(struct vm *vm, uint64_t vector, uint32_t code, uint64_t cr2)
{
	uint64_t info, value;

	assert_int_equal(vm_entry_intinfo(vm, 0, &info), 1);
	assert_int_equal(VM_INTINFO_VECTOR(info), vector);
	assert_int_equal(info >> 32, code);
	if (vector != 14)
		return;
	assert_int_equal(vm_get_register(vm, 0, VM_REG_GUEST_CR2, &value), 0);
	assert_int_equal(value, cr2);
}

static void flat(void **state)
{
	struct vm *vm = *state;
	struct vm_guest_paging paging = {.cpu_mode = CPU_MODE_REAL};
	uint64_t gpa;

	assert_int_equal(walk(vm, &paging, 0x12345, PROT_WRITE, &gpa), 0);
	assert_int_equal(gpa, 0x12345);
}

static void four_levels(void **state)
{
	struct vm *vm = *state;
	struct vm_guest_paging paging = long_mode(vm, 0);
	uint64_t gpa;

	table(vm, 0x4000)[3] = 0x9000 | P | W;
	assert_int_equal(walk(vm, &paging, 0x403456, PROT_READ, &gpa), 0);
	assert_int_equal(gpa, 0x9456);
	assert_int_equal(table(vm, 0x1000)[0] & (A | D), A);
	assert_int_equal(table(vm, 0x3000)[2] & (A | D), A);
	assert_int_equal(table(vm, 0x4000)[3] & (A | D), A);
	assert_int_equal(walk(vm, &paging, 0x403456, PROT_WRITE, &gpa), 0);
	assert_int_equal(table(vm, 0x4000)[3] & (A | D), A | D);
	assert_int_equal(table(vm, 0x3000)[2] & D, 0);
}

static void large_pages(void **state)
{
	struct vm *vm = *state;
	struct vm_guest_paging paging = long_mode(vm, 0);
	uint64_t gpa;

	table(vm, 0x3000)[3] = 0x40000000 | P | W | PS;
	assert_int_equal(walk(vm, &paging, 0x712345, PROT_READ, &gpa), 0);
	assert_int_equal(gpa, 0x40112345);
	table(vm, 0x2000)[1] = 0x80000000 | P | W | PS;
	assert_int_equal(walk(vm, &paging, 0x52345678, PROT_WRITE, &gpa), 0);
	assert_int_equal(gpa, 0x92345678);
	assert_int_equal(table(vm, 0x2000)[1] & (A | D), A | D);
}

struct denied {
	uint64_t pte;
	int cpl;
	int prot;
	uint32_t code;
};

static void permission_faults(void **state)
{
	static const struct denied cases[] = {
		{0, 0, PROT_READ, 0}, {0, 0, PROT_WRITE, 2}, {0, 3, PROT_READ, 4},
		{0, 3, PROT_WRITE, 6}, {0, 0, PROT_READ | PROT_EXEC, 0x10}, /* I bit: NXE is on */
		{0x9000 | P, 0, PROT_WRITE, 3},				    /* CR0.WP */
		{0x9000 | P | W, 3, PROT_READ, 5}, {0x9000 | P | U, 3, PROT_WRITE, 7},
		{0x9000 | P | U | NX, 0, PROT_READ | PROT_EXEC, 0x11},
		{0x9000 | P | U | W | NX, 3, PROT_READ | PROT_EXEC, 0x15},
		{0x9000 | P | W | 1ull << 51, 0, PROT_READ, 9}, /* reserved */
	};
	struct vm *vm = *state;
	uint64_t gpa;

	vm->maxphyaddr = 40;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vm_guest_paging paging = long_mode(vm, cases[i].cpl);

		table(vm, 0x4000)[0] = cases[i].pte;
		assert_int_equal(walk(vm, &paging, 0x400010, cases[i].prot, &gpa), 1);
		expect_event(vm, 14, cases[i].code, 0x400010);
		assert_int_equal(table(vm, 0x4000)[0] & D, 0);
	}
}

/* bhyve ignores WP; here a supervisor writes read-only pages only with WP clear. */
static void write_protect_can_be_off(void **state)
{
	struct vm *vm = *state;
	struct vm_guest_paging paging = long_mode(vm, 0);
	uint64_t gpa;

	table(vm, 0x4000)[0] = 0x9000 | P;
	assert_int_equal(vm_set_register(vm, 0, VM_REG_GUEST_CR0, X86_CR0_PE | X86_CR0_PG), 0);
	assert_int_equal(walk(vm, &paging, 0x400000, PROT_WRITE, &gpa), 0);
	assert_int_equal(gpa, 0x9000);
}

static void smep_and_smap(void **state)
{
	struct vm *vm = *state;
	struct vm_guest_paging paging = long_mode(vm, 0);
	uint64_t gpa;

	table(vm, 0x4000)[0] = 0x9000 | P | W | U;
	assert_int_equal(
		vm_set_register(vm, 0, VM_REG_GUEST_CR4, X86_CR4_PAE | X86_CR4_SMEP | X86_CR4_SMAP),
		0);
	assert_int_equal(walk(vm, &paging, 0x400000, PROT_READ | PROT_EXEC, &gpa), 1);
	expect_event(vm, 14, 0x11, 0x400000);
	assert_int_equal(walk(vm, &paging, 0x400000, PROT_READ, &gpa), 1);
	expect_event(vm, 14, 1, 0x400000);
	assert_int_equal(vm_set_register(vm, 0, VM_REG_GUEST_RFLAGS, X86_RF_AC | 2), 0);
	assert_int_equal(walk(vm, &paging, 0x400000, PROT_READ, &gpa), 0);
}

static void not_canonical(void **state)
{
	struct vm *vm = *state;
	struct vm_guest_paging paging = long_mode(vm, 0);
	uint64_t gpa;

	assert_int_equal(walk(vm, &paging, 0x800000000000, PROT_READ, &gpa), 1);
	expect_event(vm, 13, 0, 0);
	/* The same number is an ordinary, truncated address elsewhere. */
	paging.cpu_mode = CPU_MODE_COMPATIBILITY;
	paging.paging_mode = PAGING_MODE_FLAT;
	assert_int_equal(walk(vm, &paging, 0x800000000000, PROT_READ, &gpa), 0);
}

static void tables_outside_ram(void **state)
{
	struct vm *vm = *state;
	struct vm_guest_paging paging = long_mode(vm, 0);
	struct vm_copyinfo info[2];
	uint64_t gpa;
	int fault;

	table(vm, 0x3000)[2] = RAM_SIZE | P | W | U;
	assert_int_equal(vm_gla2gpa(vm, 0, &paging, 0x400000, PROT_READ, &gpa, &fault), EFAULT);
	assert_int_equal(vm_copy_setup(vm, 0, &paging, 0x400000, 4, PROT_READ, info, 2), -1);
	assert_null(info[0].cookie);
	assert_int_equal(vm_gla2gpa(vm, 16, &paging, 0, PROT_READ, &gpa, &fault), EINVAL);
}

static void pae(void **state)
{
	struct vm *vm = *state;
	struct vm_guest_paging paging = {.cr3 = 0x1020 | 0x18,
		.cpu_mode = CPU_MODE_PROTECTED,
		.paging_mode = PAGING_MODE_PAE};
	uint64_t gpa;

	table(vm, 0x1020)[3] = 0x3000 | P;
	table(vm, 0x3000)[0] = 0x4000 | P | W;
	table(vm, 0x3000)[1] = 0x600000 | P | W | PS;
	table(vm, 0x4000)[1] = 0xa000 | P | W;
	assert_int_equal(walk(vm, &paging, 0xc0001abc, PROT_WRITE, &gpa), 0);
	assert_int_equal(gpa, 0xaabc);
	assert_int_equal(walk(vm, &paging, 0xc0345678, PROT_READ, &gpa), 0);
	assert_int_equal(gpa, 0x745678);
	assert_int_equal(walk(vm, &paging, 0x1000, PROT_READ, &gpa), 1);
	expect_event(vm, 14, 0, 0x1000);
}

static void two_levels(void **state)
{
	struct vm *vm = *state;
	struct vm_guest_paging paging = {
		.cr3 = 0x1000, .cpu_mode = CPU_MODE_PROTECTED, .paging_mode = PAGING_MODE_32};
	uint32_t *dir = vm_gpa_ram(vm, 0x1000, NULL), *pt = vm_gpa_ram(vm, 0x4000, NULL);
	uint64_t gpa;

	dir[0x300] = 0x4000 | P | W;
	pt[5] = 0xb000 | P | W;
	dir[0x301] = 0x800000 | P | W | PS;
	assert_int_equal(walk(vm, &paging, 0xc0005123, PROT_WRITE, &gpa), 0);
	assert_int_equal(gpa, 0xb123);
	assert_int_equal(pt[5] & (A | D), A | D);
	assert_int_equal(vm_set_register(vm, 0, VM_REG_GUEST_CR4, X86_CR4_PSE), 0);
	assert_int_equal(walk(vm, &paging, 0xc0512345, PROT_READ, &gpa), 0);
	assert_int_equal(gpa, 0x912345);
}

/* The snapshot is what counts, not the registers of now. */
static void snapshot_decides(void **state)
{
	struct vm *vm = *state;
	struct vm_guest_paging paging = long_mode(vm, 0);
	uint64_t gpa;

	table(vm, 0x4000)[0] = 0x9000 | P | W;
	assert_int_equal(vm_set_register(vm, 0, VM_REG_GUEST_CR0, X86_CR0_PE), 0);
	assert_int_equal(vm_set_register(vm, 0, VM_REG_GUEST_EFER, 0), 0);
	assert_int_equal(walk(vm, &paging, 0x400000, PROT_READ, &gpa), 0);
	assert_int_equal(gpa, 0x9000);
}

/* ---- Copies ---- */

static void copies_cross_pages(void **state)
{
	struct vm *vm = *state;
	struct vm_guest_paging paging = long_mode(vm, 0);
	struct vm_copyinfo info[2];
	char in[8] = "";
	unsigned written;

	table(vm, 0x4000)[0] = 0x9000 | P | W;
	table(vm, 0x4000)[1] = 0x7000 | P | W;
	assert_int_equal(vm_copy_setup(vm, 0, &paging, 0x400ffd, 7, PROT_WRITE, info, 2), 0);
	assert_int_equal(info[0].gpa, 0x9ffd);
	assert_int_equal(info[0].len, 3);
	assert_int_equal(info[1].gpa, 0x7000);
	assert_int_equal(info[1].len, 4);
	vm_copyout(vm, 0, "abcdefg", info, 7);
	written = fake_log(vm, 0)->written; /* accessed and dirty bits */
	vm_copy_teardown(vm, 0, info, 2);
	assert_null(info[0].cookie);
	assert_memory_equal(vm_gpa_ram(vm, 0x9ffd, NULL), "abc", 3);
	assert_memory_equal(vm_gpa_ram(vm, 0x7000, NULL), "defg", 4);
	assert_int_equal(fake_log(vm, 0)->written, written + 2);
	assert_int_equal(vm_copy_setup(vm, 0, &paging, 0x400ffd, 7, PROT_READ, info, 2), 0);
	vm_copyin(vm, 0, info, in, 7);
	vm_copy_teardown(vm, 0, info, 2);
	assert_string_equal(in, "abcdefg");
}

static void fault_on_the_second_page(void **state)
{
	struct vm *vm = *state;
	struct vm_guest_paging paging = long_mode(vm, 3);
	struct vm_copyinfo info[2];

	table(vm, 0x4000)[0] = 0x9000 | P | W | U;
	assert_int_equal(vm_copy_setup(vm, 0, &paging, 0x400ffe, 4, PROT_WRITE, info, 2), 1);
	expect_event(vm, 14, 6, 0x401000);
	assert_null(info[0].cookie);
	/* The first page was translated already, and nothing else. */
	assert_int_equal(table(vm, 0x4000)[0] & (A | D), A | D);
	assert_in_range(fake_log(vm, 0)->written_gpa, 0x1000, 0x4fff); /* tables only */
}

static void data_outside_ram(void **state)
{
	struct vm *vm = *state;
	struct vm_guest_paging paging = long_mode(vm, 0);
	struct vm_copyinfo info[2];
	uint64_t info1, info2;

	table(vm, 0x4000)[0] = 0x9000 | P | W;
	table(vm, 0x4000)[1] = 0xfee00000 | P | W;
	assert_int_equal(vm_copy_setup(vm, 0, &paging, 0x400ffe, 4, PROT_READ, info, 2), -1);
	assert_null(info[0].cookie);
	assert_null(info[1].cookie);
	assert_int_equal(vm_get_intinfo(vm, 0, &info1, &info2), 0);
	assert_int_equal(info2, 0);
}

static void nothing_to_copy(void **state)
{
	struct vm *vm = *state;
	struct vm_guest_paging paging = long_mode(vm, 0);
	struct vm_copyinfo info[2];

	assert_int_equal(vm_copy_setup(vm, 0, &paging, 0xdead000, 0, PROT_READ, info, 2), 0);
	assert_null(info[0].cookie);
	vm_copy_teardown(vm, 0, info, 2);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown_vm)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(flat),
		TEST(four_levels),
		TEST(large_pages),
		TEST(permission_faults),
		TEST(write_protect_can_be_off),
		TEST(smep_and_smap),
		TEST(not_canonical),
		TEST(tables_outside_ram),
		TEST(pae),
		TEST(two_levels),
		TEST(snapshot_decides),
		TEST(copies_cross_pages),
		TEST(fault_on_the_second_page),
		TEST(data_outside_ram),
		TEST(nothing_to_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
