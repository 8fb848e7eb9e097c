/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * vmm-api.md 8: guest-linear memory as the API sees it, through tables that the guest could have
 * made.
 */
#include "test/contract/contract.h"

#define PT     0x40000u /* maps gla 8 MiB + i pages */
#define GLA    0x800000u
#define TABLES 0x100000u /* of long_mode */
#define P      0x1u
#define W      0x2u
#define U      0x4u
#define A      0x20u
#define D      0x40u

/* 64-bit mode with a page table of our own at GLA. */
static struct vm_guest_paging paged(struct contract *c, int cpl)
{
	uint64_t *pd = (uint64_t *)(c->ram + TABLES + 0x2000);
	struct vm_guest_paging paging;

	GUEST(long_mode, c, 0, "\x90");
	pd[GLA >> 21] = PT | P | W | U;
	memset(c->ram + PT, 0, 0x1000);
	assert_int_equal(vm_get_paging(c->vm, 0, &paging), 0);
	assert_int_equal(paging.cpu_mode, CPU_MODE_64BIT);
	assert_int_equal(paging.paging_mode, PAGING_MODE_64);
	paging.cpl = cpl;
	return paging;
}

static uint64_t *pte(struct contract *c, unsigned i)
{
	return (uint64_t *)(c->ram + PT) + i;
}

static void expect_fault(struct contract *c, unsigned vector, uint32_t code)
{
	uint64_t info1, info2;

	assert_int_equal(vm_get_intinfo(c->vm, 0, &info1, &info2), 0);
	assert_int_equal(VM_INTINFO_VECTOR(info2), vector);
	assert_int_equal(info2 >> 32, code);
	assert_int_equal(vm_entry_intinfo(c->vm, 0, &info1), 1); /* consume it */
}

/* ---- 8.1, 8.2 ---- */

static void c8_1_one_entry_for_each_page(void **state)
{
	struct contract *c = *state;
	struct vm_guest_paging paging = paged(c, 0);
	struct vm_copyinfo info[2];

	*pte(c, 0) = 0x50000 | P | W;
	*pte(c, 1) = 0x30000 | P | W;
	assert_int_equal(
		vm_copy_setup(c->vm, 0, &paging, GLA + 0xff0, 0x20, PROT_READ, info, 2), 0);
	assert_int_equal(info[0].gpa, 0x50ff0);
	assert_int_equal(info[0].len, 0x10);
	assert_int_equal(info[1].gpa, 0x30000);
	assert_int_equal(info[1].len, 0x10);
	assert_non_null(info[0].hva);
	assert_non_null(info[1].cookie);
	vm_copy_teardown(c->vm, 0, info, 2);
	assert_null(info[0].cookie);
	vm_copy_teardown(c->vm, 0, info, 2); /* safe on zeroes */
}

static void c8_1_fault_is_one_and_holds_nothing(void **state)
{
	struct contract *c = *state;
	struct vm_guest_paging paging = paged(c, 0);
	struct vm_copyinfo info[2];

	*pte(c, 0) = 0x50000 | P | W;
	assert_int_equal(
		vm_copy_setup(c->vm, 0, &paging, GLA + 0xff0, 0x20, PROT_WRITE, info, 2), 1);
	assert_null(info[0].cookie);
	assert_null(info[1].cookie);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_CR2), GLA + 0x1000);
	expect_fault(c, 14, 2);
	assert_int_equal(*pte(c, 0) & (A | D), A | D); /* the walk of page 1 had been done */
}

static void c8_1_unbacked_is_minus_one(void **state)
{
	struct contract *c = *state;
	struct vm_guest_paging paging = paged(c, 0);
	struct vm_copyinfo info[2];
	uint64_t info1, info2;

	*pte(c, 0) = 0xfee00000 | P | W;
	assert_int_equal(vm_copy_setup(c->vm, 0, &paging, GLA, 4, PROT_READ, info, 2), -1);
	assert_null(info[0].cookie);
	paging.cr3 = 0x70000000;
	assert_int_equal(vm_copy_setup(c->vm, 0, &paging, GLA, 4, PROT_READ, info, 2), -1);
	assert_int_equal(vm_get_intinfo(c->vm, 0, &info1, &info2), 0);
	assert_int_equal(info2, 0);
}

static void c8_1_length_zero(void **state)
{
	struct contract *c = *state;
	struct vm_guest_paging paging = paged(c, 0);
	struct vm_copyinfo info[1];

	assert_int_equal(vm_copy_setup(c->vm, 0, &paging, GLA, 0, PROT_READ, info, 1), 0);
	assert_null(info[0].cookie);
}

static void c8_2_copies(void **state)
{
	struct contract *c = *state;
	struct vm_guest_paging paging = paged(c, 0);
	struct vm_copyinfo info[2];
	char back[12] = "";

	*pte(c, 0) = 0x50000 | P | W;
	*pte(c, 1) = 0x30000 | P | W;
	assert_int_equal(vm_copy_setup(c->vm, 0, &paging, GLA + 0xffa, 11, PROT_WRITE, info, 2), 0);
	vm_copyout(c->vm, 0, "hello world", info, 11);
	vm_copy_teardown(c->vm, 0, info, 2);
	assert_memory_equal(c->ram + 0x50ffa, "hello ", 6);
	assert_memory_equal(c->ram + 0x30000, "world", 5);
	assert_int_equal(vm_copy_setup(c->vm, 0, &paging, GLA + 0xffa, 11, PROT_READ, info, 2), 0);
	vm_copyin(c->vm, 0, info, back, 11);
	vm_copy_teardown(c->vm, 0, info, 2);
	assert_string_equal(back, "hello world");
}

/* What the API wrote is code for the guest, even over code that it has executed. */
static void c8_2_copyout_of_code(void **state)
{
	struct contract *c = *state;
	struct vm_guest_paging paging;
	struct vm_copyinfo info[1];

	GUEST(long_mode, c, 0, "\xb0\x01\xe6\xe9\xeb\xfa"); /* mov al, 1; out 0xe9, al; jmp start */
	for (int i = 0; i < 50; i++)
		assert_int_equal(run_to_out(c, 0) & 0xff, 1);
	assert_int_equal(vm_get_paging(c->vm, 0, &paging), 0);
	assert_int_equal(vm_copy_setup(c->vm, 0, &paging, CODE + 1, 1, PROT_WRITE, info, 1), 0);
	vm_copyout(c->vm, 0, "\x02", info, 1);
	vm_copy_teardown(c->vm, 0, info, 1);
	assert_int_equal(run_to_out(c, 0) & 0xff, 2);
}

/* ---- 8.3 ---- */

static void c8_3_segment_limits(void **state)
{
	struct seg_desc up = {0x100, 0xfff, 0x93}, down = {0, 0xfff, 0x97};
	struct seg_desc code = {0, 0xfff, 0x99};
	uint64_t gla;

	(void)state;
	assert_int_equal(vie_calculate_gla(CPU_MODE_PROTECTED, VM_REG_GUEST_DS, &up, 0xffc, 4, 4,
				 PROT_READ, &gla),
		0);
	assert_int_equal(gla, 0x10fc);
	assert_int_equal(vie_calculate_gla(CPU_MODE_PROTECTED, VM_REG_GUEST_DS, &up, 0xffd, 4, 4,
				 PROT_READ, &gla),
		-1);
	assert_int_equal(vie_calculate_gla(CPU_MODE_PROTECTED, VM_REG_GUEST_DS, &down, 0xfff, 1, 4,
				 PROT_READ, &gla),
		-1);
	assert_int_equal(vie_calculate_gla(CPU_MODE_PROTECTED, VM_REG_GUEST_DS, &down, 0x1000, 1, 4,
				 PROT_READ, &gla),
		0);
	assert_int_equal(vie_calculate_gla(CPU_MODE_PROTECTED, VM_REG_GUEST_CS, &code, 0, 1, 4,
				 PROT_READ, &gla),
		-1);
	assert_int_equal(vie_calculate_gla(CPU_MODE_64BIT, VM_REG_GUEST_DS, &up, 0x123456789, 4, 8,
				 PROT_WRITE, &gla),
		0);
	assert_int_equal(gla, 0x123456789);
	assert_int_equal(vie_calculate_gla(CPU_MODE_64BIT, VM_REG_GUEST_GS, &up, 0x10, 4, 8,
				 PROT_WRITE, &gla),
		0);
	assert_int_equal(gla, 0x110);
}

static void c8_3_canonical_and_alignment(void **state)
{
	(void)state;
	assert_int_equal(vie_canonical_check(CPU_MODE_64BIT, 0x0000800000000000), 1);
	assert_int_equal(vie_canonical_check(CPU_MODE_64BIT, 0xffff800000000000), 0);
	assert_int_equal(vie_canonical_check(CPU_MODE_PROTECTED, 0x0000800000000000), 0);
	assert_int_equal(vie_alignment_check(3, 4, 1 << 18, 1 << 18, 0x1001), 1);
	assert_int_equal(vie_alignment_check(0, 4, 1 << 18, 1 << 18, 0x1001), 0);
}

/* ---- 8.4 ---- */

static int translate(
	struct contract *c, struct vm_guest_paging *paging, uint64_t gla, int prot, uint64_t *gpa)
{
	int fault = -1;

	assert_int_equal(vm_gla2gpa(c->vm, 0, paging, gla, prot, gpa, &fault), 0);
	return fault;
}

static void c8_4_1_not_canonical_is_gp(void **state)
{
	struct contract *c = *state;
	struct vm_guest_paging paging = paged(c, 0);
	uint64_t gpa;

	assert_int_equal(translate(c, &paging, 0x8000000000000000, PROT_READ, &gpa), 1);
	expect_fault(c, 13, 0);
}

static void c8_4_2_flat(void **state)
{
	struct contract *c = *state;
	struct vm_guest_paging paging;
	uint64_t gpa;

	GUEST(real_mode, c, 0, "\x90");
	assert_int_equal(vm_get_paging(c->vm, 0, &paging), 0);
	assert_int_equal(paging.cpu_mode, CPU_MODE_REAL);
	assert_int_equal(paging.paging_mode, PAGING_MODE_FLAT);
	assert_int_equal(translate(c, &paging, 0xdeadbeef, PROT_WRITE, &gpa), 0);
	assert_int_equal(gpa, 0xdeadbeef);
}

/* Two levels, in a guest with 32-bit paging on. */
static void c8_4_4_two_levels(void **state)
{
	struct contract *c = *state;
	struct vm_guest_paging paging;
	uint32_t *dir = (uint32_t *)(c->ram + 0x60000), *table = (uint32_t *)(c->ram + 0x61000);
	uint64_t gpa;

	GUEST(protected_mode, c, 0, "\x90");
	dir[0] = 0x61000 | P | W | U;
	for (uint32_t i = 0; i < 1024; i++)
		table[i] = i << 12 | P | W | U;
	table[0x300] = 0x7000 | P | W;
	set_reg(c, 0, VM_REG_GUEST_CR3, 0x60000);
	set_reg(c, 0, VM_REG_GUEST_CR0, CR0_PE | CR0_PG | CR0_NE);
	assert_int_equal(vm_get_paging(c->vm, 0, &paging), 0);
	assert_int_equal(paging.paging_mode, PAGING_MODE_32);
	assert_int_equal(translate(c, &paging, 0x300456, PROT_READ, &gpa), 0);
	assert_int_equal(gpa, 0x7456);
	paging.cpl = 3;
	assert_int_equal(translate(c, &paging, 0x300456, PROT_READ, &gpa), 1);
	expect_fault(c, 14, 5);
}

static void c8_4_4_pae(void **state)
{
	struct contract *c = *state;
	struct vm_guest_paging paging;
	uint64_t *tables = (uint64_t *)(c->ram + 0x60000), gpa;

	GUEST(protected_mode, c, 0, "\x90");
	tables[0] = 0x61000 | P;
	tables[512] = 0 | P | W | U | 0x80;
	tables[513] = 0x40000000 | P | W | 0x80;
	set_reg(c, 0, VM_REG_GUEST_CR3, 0x60000);
	set_reg(c, 0, VM_REG_GUEST_CR4, CR4_PAE);
	for (int i = 0; i < 4; i++)
		set_reg(c, 0, VM_REG_GUEST_PDPTE0 + i, tables[i]);
	set_reg(c, 0, VM_REG_GUEST_CR0, CR0_PE | CR0_PG | CR0_NE);
	assert_int_equal(vm_get_paging(c->vm, 0, &paging), 0);
	assert_int_equal(paging.paging_mode, PAGING_MODE_PAE);
	assert_int_equal(translate(c, &paging, 0x212345, PROT_WRITE, &gpa), 0);
	assert_int_equal(gpa, 0x40012345);
	assert_int_equal(translate(c, &paging, 0x40000000, PROT_READ, &gpa), 1);
	expect_fault(c, 14, 0);
}

static void c8_4_5_faults_and_their_codes(void **state)
{
	static const struct {
		uint64_t pte;
		int cpl, prot;
		uint32_t code;
	} cases[] = {
		{0, 0, PROT_READ, 0}, {0, 3, PROT_WRITE, 6}, {0x50000 | P | W, 3, PROT_READ, 5},
		{0x50000 | P | U, 3, PROT_WRITE, 7},
		{0x50000 | P, 0, PROT_WRITE, 3}, /* CR0.WP is on in long_mode */
	};
	struct contract *c = *state;
	uint64_t gpa;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct vm_guest_paging paging = paged(c, cases[i].cpl);

		*pte(c, 0) = cases[i].pte;
		assert_int_equal(translate(c, &paging, GLA + 8, cases[i].prot, &gpa), 1);
		assert_int_equal(get_reg(c, 0, VM_REG_GUEST_CR2), GLA + 8);
		expect_fault(c, 14, cases[i].code);
	}
}

/* What bhyve leaves out, and hardware does: WP clear, NX. */
static void c8_4_5_wp_and_nx(void **state)
{
	struct contract *c = *state;
	struct vm_guest_paging paging = paged(c, 0);
	uint64_t gpa;

	*pte(c, 0) = 0x50000 | P;
	set_reg(c, 0, VM_REG_GUEST_CR0, CR0_PE | CR0_PG | CR0_NE);
	assert_int_equal(translate(c, &paging, GLA, PROT_WRITE, &gpa), 0);
	*pte(c, 1) = 0x50000 | P | W | 1ull << 63;
	set_reg(c, 0, VM_REG_GUEST_EFER, EFER_LME | EFER_LMA | 0x800);
	assert_int_equal(translate(c, &paging, GLA + 0x1000, PROT_READ | PROT_EXEC, &gpa), 1);
	expect_fault(c, 14, 0x11);
	assert_int_equal(translate(c, &paging, GLA + 0x1000, PROT_READ, &gpa), 0);
}

static void c8_4_6_accessed_and_dirty(void **state)
{
	struct contract *c = *state;
	struct vm_guest_paging paging = paged(c, 0);
	uint64_t *pml4 = (uint64_t *)(c->ram + TABLES), gpa;

	*pte(c, 0) = 0x50000 | P | W;
	pml4[0] &= ~(uint64_t)A;
	assert_int_equal(translate(c, &paging, GLA, PROT_READ, &gpa), 0);
	assert_int_equal(*pte(c, 0) & (A | D), A);
	assert_int_equal(pml4[0] & (A | D), A);
	assert_int_equal(translate(c, &paging, GLA, PROT_WRITE, &gpa), 0);
	assert_int_equal(*pte(c, 0) & (A | D), A | D);
}

static void c8_4_7_large_pages(void **state)
{
	struct contract *c = *state;
	struct vm_guest_paging paging = paged(c, 0);
	uint64_t *pdpt = (uint64_t *)(c->ram + TABLES + 0x1000), gpa;

	assert_int_equal(translate(c, &paging, 0xa12345, PROT_READ, &gpa), 0); /* 2 MiB */
	assert_int_equal(gpa, 0xa12345);
	pdpt[2] = 0x80000000 | P | W | 0x80; /* 1 GiB */
	assert_int_equal(translate(c, &paging, 0x9abcdef0, PROT_READ, &gpa), 0);
	assert_int_equal(gpa, 0x9abcdef0);
}

static void c8_4_8_tables_outside_ram(void **state)
{
	struct contract *c = *state;
	struct vm_guest_paging paging = paged(c, 0);
	uint64_t gpa;
	int fault;

	paging.cr3 = RAM_SIZE;
	assert_int_equal(vm_gla2gpa(c->vm, 0, &paging, GLA, PROT_READ, &gpa, &fault), EFAULT);
}

int main(void)
{
	static const struct behaviour tests[] = {
		CONTRACT(c8_1_one_entry_for_each_page),
		CONTRACT(c8_1_fault_is_one_and_holds_nothing),
		CONTRACT(c8_1_unbacked_is_minus_one),
		CONTRACT(c8_1_length_zero),
		CONTRACT(c8_2_copies),
		CONTRACT(c8_2_copyout_of_code),
		CONTRACT(c8_3_segment_limits),
		CONTRACT(c8_3_canonical_and_alignment),
		CONTRACT(c8_4_1_not_canonical_is_gp),
		CONTRACT(c8_4_2_flat),
		CONTRACT(c8_4_4_two_levels),
		CONTRACT(c8_4_4_pae),
		CONTRACT(c8_4_5_faults_and_their_codes),
		CONTRACT(c8_4_5_wp_and_nx),
		CONTRACT(c8_4_6_accessed_and_dirty),
		CONTRACT(c8_4_7_large_pages),
		CONTRACT(c8_4_8_tables_outside_ram),
	};

	return contract_run("c8 memory", tests, sizeof(tests) / sizeof(tests[0]));
}
