/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* NMI, ExtINT, exceptions, and the table by which two events become one (vmm-api.md 7). */
#include <errno.h>

#include "test/vmm/harness.h"

#define VALID	   ((uint64_t)VM_INTINFO_VALID)
#define HWEXC(v)   (VALID | VM_INTINFO_HWEXCEPTION | (v))
#define CODE(v, c) (HWEXC(v) | VM_INTINFO_DEL_ERRCODE | (uint64_t)(c) << 32)
#define INTR(v)	   (VALID | VM_INTINFO_HWINTR | (v))
#define NMI	   (VALID | VM_INTINFO_NMI | 2)
#define SWINTR(v)  (VALID | VM_INTINFO_SWINTR | (v))
#define DF	   CODE(8, 0)

static void inject(struct vm *vm, int vector, bool has_code, uint32_t code)
{
	struct vm_exception vme = {
		.vector = vector, .error_code = code, .error_code_valid = has_code};

	assert_int_equal(vm_inject_exception(vm, 0, &vme), 0);
}

static void protected_mode(struct vm *vm)
{
	assert_int_equal(vm_set_register(vm, 0, VM_REG_GUEST_CR0, X86_CR0_PE), 0);
}

static void nmi_and_extint_are_flags(void **state)
{
	struct vm *vm = *state;
	uint64_t *stats = vcpu_stats(vm, 0);

	assert_int_equal(vm_inject_nmi(vm, -1), EINVAL);
	assert_int_equal(vm_inject_nmi(vm, VM_MAXCPU), EINVAL);
	assert_int_equal(vm_inject_extint(vm, VM_MAXCPU), EINVAL);
	assert_int_equal(vm_inject_nmi(vm, 0), 0);
	assert_int_equal(vm_inject_nmi(vm, 0), 0);
	assert_int_equal(vm_nmi_pending(vm, 0), 1);
	assert_int_equal(vm_extint_pending(vm, 0), 0);
	vm_nmi_clear(vm, 0);
	assert_int_equal(vm_nmi_pending(vm, 0), 0);
	assert_int_equal(stats[VMM_STAT_NMI_COUNT], 1);
	assert_int_equal(vm_inject_extint(vm, 0), 0);
	assert_int_equal(vm_extint_pending(vm, 0), 1);
	vm_extint_clear(vm, 0);
	assert_int_equal(vm_extint_pending(vm, 0), 0);
	assert_int_equal(stats[VMM_STAT_EXTINT_COUNT], 1);
}

static void exception_arguments(void **state)
{
	static const int bad[] = {-1, 8, 32, 255};
	struct vm *vm = *state;
	struct vm_exception vme = {.vector = 13, .cpuid = 99};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct vm_exception wrong = {.vector = bad[i]};

		assert_int_equal(vm_inject_exception(vm, 0, &wrong), EINVAL);
	}
	assert_int_equal(vm_inject_exception(vm, VM_MAXCPU, &vme), EINVAL);
	assert_int_equal(vm_inject_exception(vm, 0, &vme), 0);
	assert_int_equal(vm_inject_exception(vm, 0, &vme), EBUSY);
}

static void real_mode_has_no_error_code(void **state)
{
	struct vm *vm = *state;
	uint64_t info;

	inject(vm, 13, true, 0x18);
	assert_int_equal(vm_entry_intinfo(vm, 0, &info), 1);
	assert_int_equal(info, HWEXC(13));
	protected_mode(vm);
	inject(vm, 13, true, 0x18);
	assert_int_equal(vm_entry_intinfo(vm, 0, &info), 1);
	assert_int_equal(info, CODE(13, 0x18));
}

static void fault_wrappers(void **state)
{
	struct vm *vm = *state;
	struct vm_exit *exit = vm_exitinfo(vm, 0);
	uint64_t info, cr2;

	protected_mode(vm);
	exit->inst_length = 3;
	vm_inject_gp(vm, 0);
	assert_int_equal(exit->inst_length, 0);
	vm_entry_intinfo(vm, 0, &info);
	assert_int_equal(info, CODE(13, 0));
	exit->inst_length = 3;
	vm_inject_ud(vm, 0);
	assert_int_equal(exit->inst_length, 0);
	vm_entry_intinfo(vm, 0, &info);
	assert_int_equal(info, HWEXC(6));
	vm_inject_ac(vm, 0, 0);
	vm_entry_intinfo(vm, 0, &info);
	assert_int_equal(info, CODE(17, 0));
	vm_inject_ss(vm, 0, 0x10);
	vm_entry_intinfo(vm, 0, &info);
	assert_int_equal(info, CODE(12, 0x10));
	vm_inject_pf(vm, 0, 0x1f, 0xffff800012345678);
	vm_entry_intinfo(vm, 0, &info);
	assert_int_equal(info, CODE(14, 0x1f));
	assert_int_equal(vm_get_register(vm, 0, VM_REG_GUEST_CR2, &cr2), 0);
	assert_int_equal(cr2, 0xffff800012345678);
}

static void exit_intinfo_arguments(void **state)
{
	struct vm *vm = *state;
	uint64_t info1, info2;

	assert_int_equal(vm_exit_intinfo(vm, VM_MAXCPU, 0), EINVAL);
	assert_int_equal(vm_exit_intinfo(vm, 0, VALID | VM_INTINFO_NMI | 3), EINVAL);
	assert_int_equal(vm_exit_intinfo(vm, 0, HWEXC(32)), EINVAL);
	assert_int_equal(vm_exit_intinfo(vm, 0, HWEXC(14) | 0x1000), EINVAL);
	assert_int_equal(vm_exit_intinfo(vm, 0, HWEXC(14) | 0x40000000), EINVAL);
	assert_int_equal(vm_exit_intinfo(vm, 0, INTR(0xff)), 0);
	assert_int_equal(vm_get_intinfo(vm, 0, &info1, &info2), 0);
	assert_int_equal(info1, INTR(0xff));
	assert_int_equal(info2, 0);
	/* Not valid: extinguishes, whatever else it says. */
	assert_int_equal(vm_exit_intinfo(vm, 0, 0x7fffffff), 0);
	assert_int_equal(vm_get_intinfo(vm, 0, &info1, &info2), 0);
	assert_int_equal(info1, 0);
	assert_int_equal(vm_get_intinfo(vm, -1, &info1, &info2), EINVAL);
}

static void get_intinfo_consumes_nothing(void **state)
{
	struct vm *vm = *state;
	uint64_t info1, info2;

	protected_mode(vm);
	assert_int_equal(vm_exit_intinfo(vm, 0, NMI), 0);
	inject(vm, 14, true, 2);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(vm_get_intinfo(vm, 0, &info1, &info2), 0);
		assert_int_equal(info1, NMI);
		assert_int_equal(info2, CODE(14, 2));
	}
}

static void one_source_alone(void **state)
{
	struct vm *vm = *state;
	uint64_t info = 1;

	protected_mode(vm);
	assert_int_equal(vm_entry_intinfo(vm, 0, &info), 0);
	assert_int_equal(vm_exit_intinfo(vm, 0, SWINTR(0x80)), 0);
	assert_int_equal(vm_entry_intinfo(vm, 0, &info), 1);
	assert_int_equal(info, SWINTR(0x80));
	assert_int_equal(vm_entry_intinfo(vm, 0, &info), 0);
	inject(vm, 11, true, 0x50);
	assert_int_equal(vm_entry_intinfo(vm, 0, &info), 1);
	assert_int_equal(info, CODE(11, 0x50));
	assert_int_equal(vm_entry_intinfo(vm, 0, &info), 0);
}

/* What comes out when `second` is raised while `first` is delivered: the second, or #DF. */
static void combine(struct vm *vm, uint64_t first, int second, bool df)
{
	uint64_t info;

	assert_int_equal(vm_exit_intinfo(vm, 0, first), 0);
	inject(vm, second, true, 0x77);
	assert_int_equal(vm_entry_intinfo(vm, 0, &info), 1);
	assert_int_equal(info, df ? DF : CODE(second, 0x77));
	assert_int_equal(vm_entry_intinfo(vm, 0, &info), 0);
}

static const int benign[] = {1, 3, 4, 5, 6, 7, 9, 16, 17, 18, 19, 21, 31};
static const int contributory[] = {0, 10, 11, 12, 13};
static const int page_faults[] = {14, 20};
#define N(a) (sizeof(a) / sizeof((a)[0]))

static void all_of(struct vm *vm, uint64_t first, const int *second, size_t n, bool df)
{
	for (size_t i = 0; i < n; i++)
		combine(vm, first, second[i], df);
}

static void first_is_benign(void **state)
{
	const uint64_t firsts[] = {INTR(0x30), INTR(14), NMI, SWINTR(0x0d), SWINTR(0x80)};
	struct vm *vm = *state;

	protected_mode(vm);
	for (size_t i = 0; i < N(firsts); i++) {
		all_of(vm, firsts[i], benign, N(benign), false);
		all_of(vm, firsts[i], contributory, N(contributory), false);
		all_of(vm, firsts[i], page_faults, N(page_faults), false);
	}
	for (size_t i = 0; i < N(benign); i++) {
		all_of(vm, HWEXC((uint64_t)benign[i]), benign, N(benign), false);
		all_of(vm, HWEXC((uint64_t)benign[i]), contributory, N(contributory), false);
		all_of(vm, HWEXC((uint64_t)benign[i]), page_faults, N(page_faults), false);
	}
}

static void first_is_contributory(void **state)
{
	struct vm *vm = *state;

	protected_mode(vm);
	for (size_t i = 0; i < N(contributory); i++) {
		all_of(vm, HWEXC((uint64_t)contributory[i]), benign, N(benign), false);
		all_of(vm, HWEXC((uint64_t)contributory[i]), contributory, N(contributory), true);
		all_of(vm, HWEXC((uint64_t)contributory[i]), page_faults, N(page_faults), false);
	}
}

static void first_is_page_fault(void **state)
{
	struct vm *vm = *state;

	protected_mode(vm);
	for (size_t i = 0; i < N(page_faults); i++) {
		all_of(vm, HWEXC((uint64_t)page_faults[i]), benign, N(benign), false);
		all_of(vm, HWEXC((uint64_t)page_faults[i]), contributory, N(contributory), true);
		all_of(vm, HWEXC((uint64_t)page_faults[i]), page_faults, N(page_faults), true);
	}
}

/* Types 5 and 6 of Intel's interruption information count as exceptions too. */
static void software_exceptions_are_exceptions(void **state)
{
	struct vm *vm = *state;
	uint64_t info;

	protected_mode(vm);
	assert_int_equal(vm_exit_intinfo(vm, 0, VALID | (6 << 8) | 3), 0);
	inject(vm, 13, true, 0);
	assert_int_equal(vm_entry_intinfo(vm, 0, &info), 1);
	assert_int_equal(info, CODE(13, 0));
}

static void fault_in_double_fault_is_the_end(void **state)
{
	struct vm *vm = *state;
	uint64_t info = 1;

	protected_mode(vm);
	assert_int_equal(vm_exit_intinfo(vm, 0, DF), 0);
	inject(vm, 1, false, 0); /* even a benign one */
	assert_int_equal(vm_entry_intinfo(vm, 0, &info), 0);
	assert_int_equal(info, 0);
	assert_int_equal(vm->suspend, VM_SUSPEND_TRIPLEFAULT);
	/* An interrupt with vector 8 is no double fault. */
	vm->suspend = VM_SUSPEND_NONE;
	combine(vm, INTR(8), 13, false);
	assert_int_equal(vm->suspend, VM_SUSPEND_NONE);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup_fake, teardown_vm)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nmi_and_extint_are_flags),
		TEST(exception_arguments),
		TEST(real_mode_has_no_error_code),
		TEST(fault_wrappers),
		TEST(exit_intinfo_arguments),
		TEST(get_intinfo_consumes_nothing),
		TEST(one_source_alone),
		TEST(first_is_benign),
		TEST(first_is_contributory),
		TEST(first_is_page_fault),
		TEST(software_exceptions_are_exceptions),
		TEST(fault_in_double_fault_is_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
