/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* vmm-api.md 11.1 to 11.4 and 11.6: MSRs, CPUID, control registers, capabilities, statistics. */
#include "test/contract/script.h"

/* ---- 11.1; what the library keeps no MSR for is an exit: section 6.2 ---- */

static const struct script_row msrs[] = {
	{"c11_1_lstar", "$c0000082>0 $c0000082<ffff812345678000 $c0000082>ffff812345678000"},
	{"c11_1_lstar_must_be_canonical", "$c0000082<800000000000! $c0000082>0"},
	{"c11_1_cstar", "$c0000083>0 $c0000083<12345678 $c0000083>12345678"},
	{"c11_1_star", "$c0000081>0 $c0000081<1234567887654321 $c0000081>1234567887654321"},
	{"c11_1_sfmask", "$c0000084>0 $c0000084<47700 $c0000084>47700"},
	{"c11_1_pat", "$277>7040600070406 $277<6010500 $277>6010500"},
	{"c11_1_pat_type_2_is_gp", "$277<2! $277<300! $277>7040600070406"},
	{"c11_1_pat_type_above_7_is_gp", "$277<8! $277<ff00000000000000! $277>7040600070406"},
	{"c11_1_bios_sign", "$8b<0 $8b>0"},
	{"c11_1_mcg_cap_has_no_banks", "$179>0/ff"},
	{"c11_1_platform_id_ignores_writes", "$17>0 $17<5 $17>0"},
	{"c11_1_misc_enable_has_no_pebs_nor_bts", "$1a0>1800/1800 $1a0<0 $1a0>1800/1800"},
	{"c11_1_microcode_updates_are_ignored", "$79<12345678"},
	{"c11_1_fs_base", "$c0000100<7fff12345000 $c0000100>7fff12345000 $c0000100<800000000000!"},
	{"c11_1_gs_base", "$c0000101<7fff12345000 $c0000101>7fff12345000 $c0000101<800000000000!"},
	{"c11_1_kernel_gs_base",
		"$c0000102<7fff12345000 $c0000102>7fff12345000 $c0000102<800000000000!"},
	{"c11_1_sysenter_cs", "$174<8 $174>8"},
	{"c11_1_sysenter_esp", "$175<ffff800000001000 $175>ffff800000001000"},
	{"c11_1_sysenter_eip", "$176<ffff800000002000 $176>ffff800000002000"},
	{"c11_1_efer", "$c0000080>500 $c0000080<d01 $c0000080>d01 $c0000080<500"},
	{"c11_1_efer_reserved_bits_are_gp", "$c0000080<502! $c0000080<100000500! $c0000080>500"},
	{"c11_1_efer_lma_cannot_be_written", "$c0000080<100 $c0000080>500"},
	{"c11_1_efer_lme_not_while_paging", "$c0000080<400! $c0000080<0! $c0000080>500"},
	{"c11_1_mtrr_cap_has_no_ranges", "$fe>0/ff $fe<0!"},
	{"c11_1_mcg_status", "$17a>0"},
};

static uint64_t rdmsr(struct contract *c, uint32_t msr)
{
	uint64_t value = 0;

	assert_int_equal(guest_rdmsr(c, 0, msr, &value), -1);
	return value;
}

/* A base that the guest writes is the descriptor's, and the other way round. */
static void c11_1_fs_base_is_the_descriptors(void **state)
{
	struct contract *c = *state;
	struct seg_desc desc;

	service(c, 0);
	assert_int_equal(guest_wrmsr(c, 0, 0xc0000100, 0x7fff12345000), -1);
	assert_int_equal(vm_get_seg_desc(c->vm, 0, VM_REG_GUEST_FS, &desc), 0);
	assert_int_equal(desc.base, 0x7fff12345000);
	desc.base = 0x1234000;
	assert_int_equal(vm_set_seg_desc(c->vm, 0, VM_REG_GUEST_FS, &desc), 0);
	assert_int_equal(rdmsr(c, 0xc0000100), 0x1234000);
}

static void c11_1_efer_is_the_register(void **state)
{
	struct contract *c = *state;

	service(c, 0);
	assert_int_equal(guest_wrmsr(c, 0, 0xc0000080, EFER_LME | EFER_NXE), -1);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_EFER), EFER_LME | EFER_LMA | EFER_NXE);
	set_reg(c, 0, VM_REG_GUEST_EFER, EFER_LME | EFER_LMA);
	assert_int_equal(rdmsr(c, 0xc0000080), EFER_LME | EFER_LMA);
}

static void c11_1_tsc_counts(void **state)
{
	struct contract *c = *state;
	uint64_t before, by_insn;

	service(c, 0);
	before = rdmsr(c, 0x10);
	assert_int_equal(EXECUTE(c, 0, "\x0f\x31"), -1); /* rdtsc */
	by_insn = get_reg(c, 0, VM_REG_GUEST_RDX) << 32 | get_reg(c, 0, VM_REG_GUEST_RAX);
	assert_true(by_insn > before);
	assert_true(rdmsr(c, 0x10) > by_insn);
}

static void c11_1_tsc_can_be_written(void **state)
{
	struct contract *c = *state;
	uint64_t value;

	service(c, 0);
	assert_int_equal(guest_wrmsr(c, 0, 0x10, 1ull << 60), -1);
	value = rdmsr(c, 0x10);
	assert_in_range(value, 1ull << 60, (1ull << 60) + (1ull << 40));
}

static void c11_1_unknown_ones_are_for_the_user(void **state)
{
	struct contract *c = *state;
	uint64_t value;

	service(c, 0);
	assert_int_equal(guest_rdmsr(c, 0, 0x12345, &value), GUEST_EXIT);
	assert_int_equal(c->run[0].vm_exit.exitcode, VM_EXITCODE_RDMSR);
	assert_int_equal(c->run[0].vm_exit.u.msr.code, 0x12345);
	assert_int_equal(guest_wrmsr(c, 0, 0xc0012345, 0x123456789a), GUEST_EXIT);
	assert_int_equal(c->run[0].vm_exit.exitcode, VM_EXITCODE_WRMSR);
	assert_int_equal(c->run[0].vm_exit.u.msr.code, 0xc0012345);
	assert_int_equal(c->run[0].vm_exit.u.msr.wval, 0x123456789a);
}

/* At CPL 3 they are #GP and no exit. */
static void c11_1_not_for_users(void **state)
{
	struct contract *c = *state;
	struct seg_desc idtr;
	uint16_t cs;

	service(c, 0);
	assert_int_equal(vm_get_seg_desc(c->vm, 0, VM_REG_GUEST_IDTR, &idtr), 0);
	GUEST(user_mode, c, 0, "\x0f\x32");
	assert_int_equal(vm_set_seg_desc(c->vm, 0, VM_REG_GUEST_IDTR, &idtr), 0);
	set_reg(c, 0, VM_REG_GUEST_RCX, 0x12345);
	assert_int_equal(run_to(c, 0, VM_EXITCODE_INOUT)->u.inout.eax & 0xff, 13);
	memcpy(&cs, c->ram + get_reg(c, 0, VM_REG_GUEST_RSP) + 24, 2);
	assert_int_equal(cs, 0x3b);
}

/* ---- 11.2 ---- */

enum { EAX, EBX, ECX, EDX };

struct cpuid_row {
	const char *name;
	uint32_t leaf, subleaf;
	int reg;
	uint32_t mask, value;
};

static const struct cpuid_row cpuid_rows[] = {
	{"c11_2_1_apic_id", 1, 0, EBX, 0xff000000, 0},
	{"c11_2_1_no_monitor", 1, 0, ECX, 1u << 3, 0},
	{"c11_2_1_no_vmx", 1, 0, ECX, 1u << 5, 0},
	{"c11_2_1_no_est", 1, 0, ECX, 1u << 7, 0},
	{"c11_2_1_no_tm2", 1, 0, ECX, 1u << 8, 0},
	{"c11_2_1_no_pdcm", 1, 0, ECX, 1u << 15, 0},
	{"c11_2_1_no_x2apic_unless_chosen", 1, 0, ECX, 1u << 21, 0},
	{"c11_2_1_hypervisor", 1, 0, ECX, 1u << 31, 1u << 31},
	{"c11_2_1_tsc_msr_and_cx8", 1, 0, EDX, 0x130, 0x130},
	{"c11_2_1_pse_and_pae", 1, 0, EDX, 0x48, 0x48},
	{"c11_2_1_apic", 1, 0, EDX, 1u << 9, 1u << 9},
	{"c11_2_1_pge_and_pat", 1, 0, EDX, 0x12000, 0x12000},
	{"c11_2_1_fpu_fxsr_sse_sse2", 1, 0, EDX, 0x7000001, 0x7000001},
	{"c11_2_1_no_ds", 1, 0, EDX, 1u << 21, 0},
	{"c11_2_1_no_acpi_clock_control", 1, 0, EDX, 1u << 22, 0},
	{"c11_2_1_no_thermal_monitor", 1, 0, EDX, 1u << 29, 0},
	{"c11_2_6_no_aperf", 6, 0, ECX, UINT32_MAX, 0},
	{"c11_2_6_no_thresholds", 6, 0, EBX, UINT32_MAX, 0},
	{"c11_2_7_one_subleaf", 7, 0, EAX, UINT32_MAX, 0},
	{"c11_2_7_no_tsx", 7, 0, EBX, 1u << 4 | 1u << 11, 0},
	{"c11_2_7_no_mpx_nor_sgx", 7, 0, EBX, 1u << 14 | 1u << 2, 0},
	{"c11_2_7_other_subleaves_are_zero", 7, 5, EBX, UINT32_MAX, 0},
	{"c11_2_a_no_performance_counters", 0xa, 0, EAX, UINT32_MAX, 0},
	{"c11_2_b_x2apic_id", 0xb, 0, EDX, UINT32_MAX, 0},
	{"c11_2_b_echoes_the_subleaf", 0xb, 1, ECX, 0xff, 1},
	{"c11_2_d_x87_and_sse", 0xd, 0, EAX, 3, 3},
	{"c11_2_d_nothing_but_avx_and_pkru", 0xd, 0, EAX, ~0x207u, 0},
	{"c11_2_d_avx_is_256_bytes", 0xd, 2, EAX, UINT32_MAX, 256},
	{"c11_2_d_avx_lies_at_576", 0xd, 2, EBX, UINT32_MAX, 576},
	{"c11_2_d_no_supervisor_states", 0xd, 1, EAX, 1u << 3, 0},
	{"c11_2_d_no_other_components", 0xd, 5, EAX, UINT32_MAX, 0},
	{"c11_2_80000001_long_mode_and_nx", 0x80000001, 0, EDX, 1u << 29 | 1u << 20,
		1u << 29 | 1u << 20},
	{"c11_2_80000001_no_svm", 0x80000001, 0, ECX, 1u << 2, 0},
	{"c11_2_80000008_linear_addresses", 0x80000008, 0, EAX, 0xff00, 0x3000},
	{"c11_2_40000000_last_leaf", 0x40000000, 0, EAX, UINT32_MAX, 0x40000000},
	{"c11_2_40000000_signature_1", 0x40000000, 0, EBX, UINT32_MAX, 0x76796862},
	{"c11_2_40000000_signature_2", 0x40000000, 0, ECX, UINT32_MAX, 0x68622065},
	{"c11_2_40000000_signature_3", 0x40000000, 0, EDX, UINT32_MAX, 0x20657679},
	{"c11_2_4fffffff_is_clamped", 0x4fffffff, 0, EAX, UINT32_MAX, 0x40000000},
};

static void cpuid_says(void **state)
{
	struct contract *c = *state;
	const struct cpuid_row *row = c->row;
	uint32_t regs[4];

	service(c, 0);
	guest_cpuid(c, 0, row->leaf, row->subleaf, regs);
	assert_int_equal(regs[row->reg] & row->mask, row->value);
}

static void c11_2_apic_id_of_another_vcpu(void **state)
{
	struct contract *c = *state;
	uint32_t regs[4];

	contract_add_vcpu(c, 5);
	service(c, 5);
	guest_cpuid(c, 5, 1, 0, regs);
	assert_int_equal(regs[EBX] >> 24, 5);
	guest_cpuid(c, 5, 0xb, 0, regs);
	assert_int_equal(regs[EDX], 5);
}

static void c11_2_vendor_is_twelve_letters(void **state)
{
	struct contract *c = *state;
	uint32_t regs[4];
	char vendor[12];

	service(c, 0);
	guest_cpuid(c, 0, 0, 0, regs);
	assert_true(regs[EAX] >= 0xd && regs[EAX] < 0x40);
	memcpy(vendor, &regs[EBX], 4);
	memcpy(vendor + 4, &regs[EDX], 4);
	memcpy(vendor + 8, &regs[ECX], 4);
	for (int i = 0; i < 12; i++)
		assert_in_range(vendor[i], 'A', 'z');
}

/* Beyond the last leaf: that of the last basic or extended one. */
static void c11_2_leaves_are_clamped(void **state)
{
	struct contract *c = *state;
	uint32_t last, regs[4], clamped[4];

	service(c, 0);
	for (uint32_t base = 0; base != 1; base = base ? 1 : 0x80000000) {
		guest_cpuid(c, 0, base, 0, regs);
		last = regs[EAX];
		guest_cpuid(c, 0, last, 0, regs);
		guest_cpuid(c, 0, base + 0x1234567, 0, clamped);
		assert_memory_equal(regs, clamped, sizeof(regs));
	}
}

/* Leaf 4, or on AMD 8000001D: not "no caches", as the inverted mask of old said. */
static void c11_2_4_there_are_caches(void **state)
{
	struct contract *c = *state;
	uint32_t regs[4], amd[4];

	service(c, 0);
	guest_cpuid(c, 0, 4, 0, regs);
	guest_cpuid(c, 0, 0x8000001d, 0, amd);
	assert_true((regs[EAX] & 0x1f) != 0 || (amd[EAX] & 0x1f) != 0);
	if (regs[EAX] & 0x1f) {
		assert_int_equal(regs[EAX] >> 5 & 7, 1);       /* level */
		assert_int_equal((regs[EBX] & 0xfff) + 1, 64); /* line size */
	}
}

static void c11_2_1_osxsave_mirrors_cr4(void **state)
{
	struct contract *c = *state;
	uint32_t regs[4];

	service(c, 0);
	guest_cpuid(c, 0, 1, 0, regs);
	assert_int_equal(regs[ECX] >> 26 & 3, 1); /* XSAVE is there, and not enabled */
	set_reg(c, 0, VM_REG_GUEST_CR4, CR4_PAE | 1u << 18);
	guest_cpuid(c, 0, 1, 0, regs);
	assert_int_equal(regs[ECX] >> 26 & 3, 3);
}

static void c11_2_d_size_follows_xcr0(void **state)
{
	struct contract *c = *state;
	uint32_t regs[4];

	service(c, 0);
	guest_cpuid(c, 0, 0xd, 0, regs);
	assert_int_equal(regs[EBX], 576);
	assert_true(regs[ECX] >= regs[EBX]);
	if (!(regs[EAX] & 4))
		return;
	if (!(regs[EAX] & 1u << 9)) /* PKRU lies where the processor wants it */
		assert_int_equal(regs[ECX], 832);
	set_reg(c, 0, VM_REG_GUEST_CR4, CR4_PAE | 1u << 18);
	set_reg(c, 0, VM_REG_GUEST_RCX, 0);
	set_reg(c, 0, VM_REG_GUEST_RAX, 7);
	set_reg(c, 0, VM_REG_GUEST_RDX, 0);
	assert_int_equal(EXECUTE(c, 0, "\x0f\x01\xd1"), -1); /* xsetbv */
	guest_cpuid(c, 0, 0xd, 0, regs);
	assert_int_equal(regs[EBX], 832);
}

/* ---- 11.3: one instruction in 64-bit mode, with CR4 set before ---- */

struct control_row {
	const char *name;
	const char *code;
	size_t n;
	uint64_t rax, rcx, rdx, cr4;
	int vector; /* or -1, and then: */
	uint64_t rax_after;
};

#define CODE_(bytes) bytes, sizeof(bytes) - 1
#define CR0_NOW	     (CR0_PE | CR0_NE | CR0_WP | CR0_PG)
#define TO_CR0	     "\x0f\x22\xc0"
#define FROM_CR0     "\x0f\x20\xc0"
#define TO_CR2	     "\x0f\x22\xd0"
#define TO_CR3	     "\x0f\x22\xd8"
#define TO_CR4	     "\x0f\x22\xe0"
#define FROM_CR4     "\x0f\x20\xe0"
#define XSETBV	     "\x0f\x01\xd1"
#define OSXSAVE	     (CR4_PAE | 1u << 18)

static const struct control_row controls[] = {
	{"c11_3_cr0_wp_can_be_cleared", CODE_(TO_CR0 FROM_CR0), CR0_NOW & ~CR0_WP, 0, 0, CR4_PAE,
		-1, (CR0_NOW & ~CR0_WP) | 0x10},
	{"c11_3_cr0_et_stays_one", CODE_(TO_CR0 FROM_CR0), CR0_NOW, 0, 0, CR4_PAE, -1,
		CR0_NOW | 0x10},
	{"c11_3_cr0_ts_and_em", CODE_(TO_CR0 FROM_CR0), CR0_NOW | 0xc, 0, 0, CR4_PAE, -1,
		CR0_NOW | 0x1c},
	{"c11_3_cr0_am", CODE_(TO_CR0 FROM_CR0), CR0_NOW | CR0_AM, 0, 0, CR4_PAE, -1,
		CR0_NOW | CR0_AM | 0x10},
	{"c11_3_cr0_nw_without_cd_is_gp", CODE_(TO_CR0), CR0_NOW | 1u << 29, 0, 0, CR4_PAE, 13, 0},
	{"c11_3_cr0_pg_without_pe_is_gp", CODE_(TO_CR0), CR0_NOW & ~CR0_PE, 0, 0, CR4_PAE, 13, 0},
	{"c11_3_cr0_upper_half_is_gp", CODE_(TO_CR0), CR0_NOW | 1ull << 32, 0, 0, CR4_PAE, 13, 0},
	{"c11_3_cr2_keeps_64_bits", CODE_(TO_CR2 "\x31\xc0\x0f\x20\xd0"), 0x123456789abcdef0, 0, 0,
		CR4_PAE, -1, 0x123456789abcdef0},
	{"c11_3_cr3_reads_back", CODE_(TO_CR3 "\x31\xc0\x0f\x20\xd8"), 0x100000, 0, 0, CR4_PAE, -1,
		0x100000},
	{"c11_3_cr3_reserved_bits_are_gp", CODE_(TO_CR3), 0x0010000000100000, 0, 0, CR4_PAE, 13, 0},
	{"c11_3_cr4_reads_back", CODE_(TO_CR4 FROM_CR4), CR4_PAE | 0x680, 0, 0, CR4_PAE, -1,
		CR4_PAE | 0x680},
	{"c11_3_cr4_reserved_bits_are_gp", CODE_(TO_CR4), CR4_PAE | 1u << 19, 0, 0, CR4_PAE, 13, 0},
	{"c11_3_cr4_upper_half_is_gp", CODE_(TO_CR4), CR4_PAE | 1ull << 32, 0, 0, CR4_PAE, 13, 0},
	{"c11_3_cr4_pae_not_in_long_mode", CODE_(TO_CR4), 0, 0, 0, CR4_PAE, 13, 0},
	{"c11_3_cr4_vmxe_is_gp", CODE_(TO_CR4), CR4_PAE | 1u << 13, 0, 0, CR4_PAE, 13, 0},
	{"c11_3_cr1_is_ud", CODE_("\x0f\x20\xc8"), 0, 0, 0, CR4_PAE, 6, 0},
	{"c11_3_cr5_is_ud", CODE_("\x0f\x20\xe8"), 0, 0, 0, CR4_PAE, 6, 0},
	{"c11_3_clts", CODE_(TO_CR0 "\x0f\x06" FROM_CR0), CR0_NOW | CR0_TS, 0, 0, CR4_PAE, -1,
		CR0_NOW | 0x10},
	{"c11_3_lmsw_sets_ts", CODE_("\x0f\x01\xf0" FROM_CR0), 9, 0, 0, CR4_PAE, -1,
		CR0_NOW | CR0_TS | 0x10},
	{"c11_3_lmsw_cannot_clear_pe", CODE_("\x0f\x01\xf0" FROM_CR0), 0, 0, 0, CR4_PAE, -1,
		CR0_NOW | 0x10},
	{"c11_3_smsw", CODE_("\x48\x0f\x01\xe0"), 0, 0, 0, CR4_PAE, -1, CR0_NOW | 0x10},
	{"c11_3_fpu_with_ts_is_nm", CODE_(TO_CR0 "\xd9\xe8"), CR0_NOW | CR0_TS, 0, 0, CR4_PAE, 7,
		0},
	{"c11_3_sse_without_osfxsr_is_ud", CODE_("\x0f\x57\xc0"), 0, 0, 0, CR4_PAE, 6, 0},
	{"c11_2_xsetbv", CODE_(XSETBV), 3, 0, 0, OSXSAVE, -1, 3},
	{"c11_2_xsetbv_reads_back", CODE_(XSETBV "\x31\xc0\x0f\x01\xd0"), 3, 0, 0, OSXSAVE, -1, 3},
	{"c11_2_xsetbv_without_osxsave_is_ud", CODE_(XSETBV), 3, 0, 0, CR4_PAE, 6, 0},
	{"c11_2_xsetbv_of_another_index_is_gp", CODE_(XSETBV), 3, 1, 0, OSXSAVE, 13, 0},
	{"c11_2_xsetbv_without_x87_is_gp", CODE_(XSETBV), 2, 0, 0, OSXSAVE, 13, 0},
	{"c11_2_xsetbv_avx_without_sse_is_gp", CODE_(XSETBV), 5, 0, 0, OSXSAVE, 13, 0},
	{"c11_2_xsetbv_of_what_is_not_offered_is_gp", CODE_(XSETBV), 0x20000003, 0, 0, OSXSAVE, 13,
		0},
	{"c11_2_xsetbv_upper_half_is_gp", CODE_(XSETBV), 3, 0, 1, OSXSAVE, 13, 0},
	{"c11_2_xgetbv_without_osxsave_is_ud", CODE_("\x0f\x01\xd0"), 0, 0, 0, CR4_PAE, 6, 0},
	{"c11_2_avx_needs_xcr0", CODE_("\xc5\xfc\x58\xc0"), 0, 0, 0, OSXSAVE, 6, 0},
	{"c11_2_avx_with_xcr0_runs", CODE_(XSETBV "\xc5\xfc\x58\xc0"), 7, 0, 0, OSXSAVE | 0x600, -1,
		7},
	{"c11_2_vmxon_is_ud", CODE_("\xf3\x0f\xc7\x33"), 0, 0, 0, CR4_PAE, 6, 0},
	{"c11_2_monitor_is_ud", CODE_("\x0f\x01\xc8"), 0x6000, 0, 0, CR4_PAE, 6, 0},
	{"c11_3_cpl_0_instructions_run", CODE_("\x0f\x08\x0f\x09"), 1, 0, 0, CR4_PAE, -1, 1},
};

static void control(void **state)
{
	struct contract *c = *state;
	const struct control_row *row = c->row;

	service(c, 0);
	set_reg(c, 0, VM_REG_GUEST_CR4, row->cr4);
	set_reg(c, 0, VM_REG_GUEST_RAX, row->rax);
	set_reg(c, 0, VM_REG_GUEST_RCX, row->rcx);
	set_reg(c, 0, VM_REG_GUEST_RDX, row->rdx);
	assert_int_equal(guest_execute(c, 0, row->code, row->n), row->vector);
	if (row->vector < 0)
		assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RAX), row->rax_after);
	else if (row->vector == 13)
		assert_int_equal(c->guest[0].error_code, 0);
}

/* What the guest moves is what the API reads, and the other way round. */
static void c11_3_control_registers_are_the_apis(void **state)
{
	struct contract *c = *state;

	service(c, 0);
	set_reg(c, 0, VM_REG_GUEST_RAX, CR0_NOW | CR0_AM);
	assert_int_equal(EXECUTE(c, 0, TO_CR0), -1);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_CR0) | 0x10, CR0_NOW | CR0_AM | 0x10);
	set_reg(c, 0, VM_REG_GUEST_CR0, CR0_NOW);
	assert_int_equal(EXECUTE(c, 0, FROM_CR0), -1);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RAX) | 0x10, CR0_NOW | 0x10);
	set_reg(c, 0, VM_REG_GUEST_CR2, 0xabcdef);
	assert_int_equal(EXECUTE(c, 0, "\x0f\x20\xd0"), -1);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RAX), 0xabcdef);
}

/* 14: clearing PG clears LMA.  From 64-bit mode by way of compatibility mode. */
static void c11_3_clearing_pg_clears_lma(void **state)
{
	struct contract *c = *state;
	struct seg_desc cs = {0, UINT32_MAX, 0xc09b};

	GUEST(long_mode, c, 0, "\x0f\x22\xc0\xe7\xe9"); /* mov cr0, eax; out 0xe9, eax */
	assert_int_equal(vm_set_seg_desc(c->vm, 0, VM_REG_GUEST_CS, &cs), 0);
	set_reg(c, 0, VM_REG_GUEST_CS, 0x18);
	set_reg(c, 0, VM_REG_GUEST_RAX, CR0_PE | CR0_NE);
	run_to_out(c, 0);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_EFER), EFER_LME);
}

static void c11_3_setting_pg_with_lme_sets_lma(void **state)
{
	struct contract *c = *state;

	GUEST(long_mode, c, 0, "\x90"); /* for the tables */
	GUEST(protected_mode, c, 0, "\x0f\x22\xc0\xe7\xe9");
	set_reg(c, 0, VM_REG_GUEST_CR3, 0x100000);
	set_reg(c, 0, VM_REG_GUEST_CR4, CR4_PAE);
	set_reg(c, 0, VM_REG_GUEST_EFER, EFER_LME);
	set_reg(c, 0, VM_REG_GUEST_RAX, CR0_NOW);
	run_to_out(c, 0);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_EFER), EFER_LME | EFER_LMA);
}

/* ---- 11.4 ---- */

struct cap_row {
	const char *name;
	int type;
};

static const struct cap_row caps[] = {
	{"c11_4_halt_exit", VM_CAP_HALT_EXIT},
	{"c11_4_mtrap_exit", VM_CAP_MTRAP_EXIT},
	{"c11_4_pause_exit", VM_CAP_PAUSE_EXIT},
	{"c11_4_unrestricted_guest", VM_CAP_UNRESTRICTED_GUEST},
	{"c11_4_enable_invpcid", VM_CAP_ENABLE_INVPCID},
};

/* Off after create, unless it is always on; or ENOENT from both calls.  Each vcpu has its own. */
static void capability(void **state)
{
	struct contract *c = *state;
	const struct cap_row *row = c->row;
	int value = -1, other = -1, error = vm_get_capability(c->vm, 3, row->type, &value);

	if (error == ENOENT) {
		assert_int_equal(vm_set_capability(c->vm, 3, row->type, 1), ENOENT);
		return;
	}
	assert_int_equal(error, 0);
	if (value == 1) {
		assert_int_equal(row->type, VM_CAP_UNRESTRICTED_GUEST);
		assert_int_equal(vm_set_capability(c->vm, 3, row->type, 1), 0);
		return;
	}
	assert_int_equal(value, 0);
	assert_int_equal(vm_set_capability(c->vm, 3, row->type, 1), 0);
	assert_int_equal(vm_get_capability(c->vm, 3, row->type, &value), 0);
	assert_int_equal(vm_get_capability(c->vm, 4, row->type, &other), 0);
	assert_int_equal(value, 1);
	assert_int_equal(other, 0);
	assert_int_equal(vm_set_capability(c->vm, 3, row->type, 0), 0);
	assert_int_equal(vm_get_capability(c->vm, 3, row->type, &value), 0);
	assert_int_equal(value, 0);
}

static void c11_4_invpcid_runs(void **state)
{
	struct contract *c = *state;

	(void)vm_set_capability(c->vm, 0, VM_CAP_ENABLE_INVPCID, 1);
	service(c, 0);
	set_reg(c, 0, VM_REG_GUEST_RAX, 2); /* all contexts */
	set_reg(c, 0, VM_REG_GUEST_RBX, 0x6000);
	assert_int_equal(EXECUTE(c, 0, "\x66\x0f\x38\x82\x03"), -1);
}

/* ---- 11.6 ---- */

static uint64_t counter(struct contract *c, int vcpu, const char *name)
{
	char found[VMM_STAT_NAME_LEN];
	uint64_t value;

	for (unsigned i = 0; vm_stat(c->vm, vcpu, i, found, &value) == 0; i++)
		if (strcmp(found, name) == 0)
			return value;
	fail_msg("no counter is called \"%s\"", name);
}

struct stat_row {
	const char *name;
	const char *counter;
	const char *words; /* at the end of which it has grown; NULL: need only be there */
};

static const struct stat_row stats[] = {
	{"c11_6_runtime", "vcpu total runtime", "20>0/0"},
	{"c11_6_exits", "total number of vm exits", "20>0/0"},
	{"c11_6_nmis", "number of NMIs delivered to vcpu", "lvt=1 20>0/0"},
	{"c11_6_extints", "number of ExtINTs delivered to vcpu",
		"20<11 21<20 21<4 21<1 21<0 pic^4 int=24"},
	{"c11_6_inout", "number of times in/out was intercepted", "20>0/0"},
	{"c11_6_hlt", "number of times hlt was intercepted", "[fee000f0]<1ff irq=41 wait=41"},
	{"c11_6_cpuid", "number of times cpuid was intercepted", NULL},
	{"c11_6_mtrap", "number of monitor trap exits", NULL},
	{"c11_6_pause", "number of times pause was intercepted", NULL},
	{"c11_6_window", "vm exits due to interrupt window opening", NULL},
	{"c11_6_nested_fault", "vm exits due to nested page fault", NULL},
	{"c11_6_inst_emul", "vm exits for instruction emulation", NULL},
	{"c11_6_unknown", "number of vm exits for unknown reason", NULL},
	{"c11_6_astpending", "number of times astpending at exit", NULL},
	{"c11_6_userspace", "number of vm exits handled in userspace", NULL},
	{"c11_6_rendezvous", "number of times rendezvous pending at exit", NULL},
	{"c11_6_exceptions", "number of vm exits due to exceptions", NULL},
	{"c11_6_error_interrupts", "error interrupts generated by vlapic",
		"[fee000f0]<1ff [fee00370]<e1 [fee00300]<5 int=e1"},
	{"c11_6_timer_interrupts", "timer interrupts generated by vlapic",
		"[fee000f0]<1ff [fee00320]<41 [fee00380]<1000 wait=41"},
	{"c11_6_cmci_interrupts", "corrected machine check interrupts generated by vlapic",
		"[fee000f0]<1ff [fee002f0]<41 lvt=6 int=41"},
	{"c11_6_lvts", "lvts triggered[4]", "[fee000f0]<1ff [fee00340]<41 lvt=4 int=41"},
	{"c11_6_ipis", "ipis sent to vcpu[0]", "[fee000f0]<1ff [fee00300]<41 int=41"},
};

static void statistic(void **state)
{
	struct contract *c = *state;
	const struct stat_row *row = c->row;
	uint64_t before;

	service(c, 0);
	before = counter(c, 0, row->counter);
	if (row->words) {
		play(c, row->words);
		assert_true(counter(c, 0, row->counter) > before);
	}
}

/* Of MSRs that are left to the user. */
static void c11_6_rdmsr_and_wrmsr(void **state)
{
	static const char read[] = "number of times rdmsr was intercepted";
	static const char written[] = "number of times wrmsr was intercepted";
	struct contract *c = *state;
	uint64_t value;

	service(c, 0);
	assert_int_equal(counter(c, 0, read), 0);
	assert_int_equal(guest_rdmsr(c, 0, 0x12345, &value), GUEST_EXIT);
	assert_int_equal(counter(c, 0, read), 1);
	assert_int_equal(counter(c, 0, written), 0);
	assert_int_equal(guest_wrmsr(c, 0, 0x12345, 1), GUEST_EXIT);
	assert_int_equal(counter(c, 0, written), 1);
}

static void c11_6_no_such_counter(void **state)
{
	struct contract *c = *state;
	char name[VMM_STAT_NAME_LEN];
	uint64_t value;

	assert_int_equal(vm_stat(c->vm, VM_MAXCPU, 0, name, &value), EINVAL);
	assert_int_equal(vm_stat(c->vm, -1, 0, name, &value), EINVAL);
	assert_int_equal(vm_stat(c->vm, 0, 100000, name, &value), EINVAL);
}

int main(void)
{
	static const struct behaviour tests[] = {
		CONTRACT_ROWS(script, msrs),
		CONTRACT(c11_1_fs_base_is_the_descriptors),
		CONTRACT(c11_1_efer_is_the_register),
		CONTRACT(c11_1_tsc_counts),
		CONTRACT(c11_1_tsc_can_be_written),
		CONTRACT(c11_1_unknown_ones_are_for_the_user),
		CONTRACT(c11_1_not_for_users),
		CONTRACT_ROWS(cpuid_says, cpuid_rows),
		CONTRACT(c11_2_apic_id_of_another_vcpu),
		CONTRACT(c11_2_vendor_is_twelve_letters),
		CONTRACT(c11_2_leaves_are_clamped),
		CONTRACT(c11_2_4_there_are_caches),
		CONTRACT(c11_2_1_osxsave_mirrors_cr4),
		CONTRACT(c11_2_d_size_follows_xcr0),
		CONTRACT_ROWS(control, controls),
		CONTRACT(c11_3_control_registers_are_the_apis),
		CONTRACT(c11_3_clearing_pg_clears_lma),
		CONTRACT(c11_3_setting_pg_with_lme_sets_lma),
		CONTRACT_ROWS(capability, caps),
		CONTRACT(c11_4_invpcid_runs),
		CONTRACT_ROWS(statistic, stats),
		CONTRACT(c11_6_rdmsr_and_wrmsr),
		CONTRACT(c11_6_no_such_counter),
	};

	return contract_run("c11 cpu", tests, sizeof(tests) / sizeof(tests[0]));
}
