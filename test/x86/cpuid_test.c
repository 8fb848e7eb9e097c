/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The CPUID model: policy, consistency with the host, dynamic parts (vmm-api.md 11.2). */
#include <cpuid.h>

#include "test/x86/system_guest.h"

enum { EAX, EBX, ECX, EDX };

static const struct x86_topology fourth = {.apic_id = 3, .cores = 1, .threads = 1, .x2apic = true};

static uint32_t get(struct guest *g, uint32_t leaf, uint32_t subleaf, unsigned reg)
{
	uint32_t out[4];

	x86_cpuid(&g->cpu, &fourth, leaf, subleaf, out);
	return out[reg];
}

static uint32_t host(uint32_t leaf, uint32_t subleaf, unsigned reg)
{
	uint32_t out[4] = {0};

	__get_cpuid_count(leaf, subleaf, &out[EAX], &out[EBX], &out[ECX], &out[EDX]);
	return out[reg];
}

static void test_names(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);
	char signature[13] = {0};

	(void)state;
	for (unsigned reg = EBX; reg <= EDX; reg++) {
		uint32_t word = get(g, 0x40000000, 0, reg);

		memcpy(signature + 4 * (reg - EBX), &word, 4);
		assert_int_equal(get(g, 0, 0, reg), host(0, 0, reg));
	}
	assert_string_equal(signature, "bhyve bhyve ");
	assert_int_equal(get(g, 0x40000000, 0, EAX), 0x40000000);
	assert_int_equal(get(g, 1, 0, EAX), host(1, 0, EAX));
	assert_int_equal(get(g, 0x80000002, 0, EAX), host(0x80000002, 0, EAX));
	guest_destroy(g);
}

/* The APIC's bit goes with the APIC, in AMD's copy too. */
static void test_apic_off(void **state)
{
	static const struct x86_topology off = {.cores = 1, .threads = 1, .apic_off = true};
	struct guest *g = system_guest(GUEST_LONG64, 0);
	uint32_t out[4];

	(void)state;
	assert_true(get(g, 1, 0, EDX) & 1u << 9);
	x86_cpuid(&g->cpu, &off, 1, 0, out);
	assert_int_equal(out[EDX], get(g, 1, 0, EDX) & ~(1u << 9));
	x86_cpuid(&g->cpu, &off, 0x80000001, 0, out);
	assert_int_equal(out[EDX], get(g, 0x80000001, 0, EDX) & ~(1u << 9));
	guest_destroy(g);
}

/* Bits that must or must not be there whatever the host. */
static void test_policy(void **state)
{
	static const struct {
		uint32_t leaf;
		unsigned reg, bit;
		bool offered;
	} tests[] = {
		{1, ECX, 3, false},	      /* MONITOR */
		{1, ECX, 5, false},	      /* VMX */
		{1, ECX, 15, false},	      /* PDCM */
		{1, ECX, 17, true},	      /* PCID */
		{1, ECX, 21, true},	      /* x2APIC, as the topology says */
		{1, ECX, 24, true},	      /* TSC deadline */
		{1, ECX, 31, true},	      /* hypervisor */
		{1, EDX, 0, true},	      /* FPU */
		{1, EDX, 1, false},	      /* VME */
		{1, EDX, 3, true},	      /* PSE */
		{1, EDX, 6, true},	      /* PAE */
		{1, EDX, 9, true},	      /* APIC */
		{1, EDX, 12, true},	      /* MTRR */
		{1, EDX, 13, true},	      /* PGE */
		{1, EDX, 16, true},	      /* PAT */
		{1, EDX, 21, false},	      /* DS */
		{1, EDX, 22, false},	      /* ACPI thermal */
		{1, EDX, 28, false},	      /* HTT */
		{7, EBX, 0, true},	      /* FSGSBASE */
		{7, EBX, 2, false},	      /* SGX */
		{7, EBX, 4, false},	      /* HLE */
		{7, EBX, 7, true},	      /* SMEP */
		{7, EBX, 9, true},	      /* ERMS */
		{7, EBX, 10, true},	      /* INVPCID */
		{7, EBX, 11, false},	      /* RTM */
		{7, EBX, 14, false},	      /* MPX */
		{7, EBX, 16, false},	      /* AVX-512F */
		{7, EBX, 20, true},	      /* SMAP */
		{7, ECX, 2, true},	      /* UMIP */
		{7, ECX, 3, true},	      /* PKU */
		{7, ECX, 4, false},	      /* OSPKE: CR4.PKE is 0 */
		{7, ECX, 7, false},	      /* CET shadow stacks */
		{7, ECX, 16, false},	      /* LA57 */
		{7, EDX, 4, true},	      /* FSRM */
		{7, EDX, 20, false},	      /* CET IBT */
		{0x80000001, ECX, 2, false},  /* SVM */
		{0x80000001, EDX, 11, true},  /* SYSCALL */
		{0x80000001, EDX, 20, true},  /* NX */
		{0x80000001, EDX, 26, true},  /* 1 GiB pages */
		{0x80000001, EDX, 27, true},  /* RDTSCP */
		{0x80000001, EDX, 29, true},  /* long mode */
		{0x80000001, EDX, 31, false}, /* 3DNow! */
	};
	struct guest *g = system_guest(GUEST_LONG64, 0);

	(void)state;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		assert_int_equal(get(g, tests[i].leaf, 0, tests[i].reg) >> tests[i].bit & 1,
			tests[i].offered);
	guest_destroy(g);
}

/* Instructions that run natively are offered only if the host has them. */
static void test_native_features(void **state)
{
	static const struct {
		unsigned feature;
		uint32_t leaf;
		unsigned reg, bit;
	} native[] = {
		{X86_F_SSE42, 1, ECX, 20},
		{X86_F_POPCNT, 1, ECX, 23},
		{X86_F_AES, 1, ECX, 25},
		{X86_F_FMA, 1, ECX, 12},
		{X86_F_AVX2, 7, EBX, 5},
		{X86_F_BMI2, 7, EBX, 8},
		{X86_F_ADX, 7, EBX, 19},
		{X86_F_SHA, 7, EBX, 29},
		{X86_F_GFNI, 7, ECX, 8},
	};
	struct guest *g = system_guest(GUEST_LONG64, 0);

	(void)state;
	for (unsigned i = 0; i < sizeof(native) / sizeof(native[0]); i++) {
		unsigned have = host(native[i].leaf, 0, native[i].reg) >> native[i].bit & 1;

		assert_int_equal(
			get(g, native[i].leaf, 0, native[i].reg) >> native[i].bit & 1, have);
		assert_int_equal(x86_has_feature(&g->cpu, native[i].feature), have);
	}
	assert_false(x86_has_feature(&g->cpu, X86_F_XSAVES));
	guest_destroy(g);
}

static void test_limits(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);
	uint32_t last = get(g, 0x80000000, 0, EAX);

	(void)state;
	assert_int_equal(get(g, 0, 0, EAX), 0xd);
	for (unsigned reg = EAX; reg <= EDX; reg++) {
		assert_int_equal(get(g, 0x20, 0, reg), get(g, 0xd, 0, reg));
		assert_int_equal(get(g, 0x40001234, 0, reg), get(g, 0x40000000, 0, reg));
		assert_int_equal(get(g, last + 1, 0, reg), get(g, last, 0, reg));
		assert_int_equal(get(g, 0xa, 0, reg), 0);
		assert_int_equal(get(g, 7, 1, reg), 0);
		assert_int_equal(get(g, 5, 0, reg), 0);
	}
	assert_int_equal(get(g, 0x80000008, 0, EAX), g->cpu.maxphyaddr | 48 << 8);
	assert_in_range(g->cpu.maxphyaddr, 36, 52);
	guest_destroy(g);
}

static void test_topology(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);

	(void)state;
	assert_int_equal(get(g, 1, 0, EBX) >> 24, 3);
	assert_int_equal(get(g, 1, 0, EBX) >> 16 & 0xff, 1);
	assert_int_equal(get(g, 1, 0, EDX) >> 28 & 1, 0);
	assert_int_equal(get(g, 0xb, 0, EDX), 3);
	assert_int_equal(get(g, 0xb, 0, EAX), 0);
	assert_int_equal(get(g, 0xb, 0, EBX), 1);
	assert_int_equal(get(g, 0xb, 0, ECX), 0x100);
	assert_int_equal(get(g, 0xb, 1, ECX), 0x201);
	assert_int_equal(get(g, 0xb, 5, ECX), 5);
	assert_int_equal(get(g, 0xb, 5, EBX), 0);
	guest_destroy(g);
}

/* The eleventh of the vcpus when they are 2 sockets of 3 cores of 2 threads. */
static const struct x86_topology eleventh = {.apic_id = 10, .cores = 3, .threads = 2};

static uint32_t get_eleventh(struct guest *g, uint32_t leaf, uint32_t subleaf, unsigned reg)
{
	uint32_t out[4];

	x86_cpuid(&g->cpu, &eleventh, leaf, subleaf, out);
	return out[reg];
}

static void test_many(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);

	(void)state;
	assert_int_equal(get_eleventh(g, 1, 0, EBX) >> 16, 10 << 8 | 6);
	assert_int_equal(get_eleventh(g, 1, 0, EDX) >> 28 & 1, 1);
	assert_int_equal(get_eleventh(g, 0xb, 0, EAX), 1); /* one bit for the thread */
	assert_int_equal(get_eleventh(g, 0xb, 0, EBX), 2);
	assert_int_equal(get_eleventh(g, 0xb, 0, ECX), 0x100);
	assert_int_equal(get_eleventh(g, 0xb, 1, EAX), 3); /* three for core and thread */
	assert_int_equal(get_eleventh(g, 0xb, 1, EBX), 6);
	assert_int_equal(get_eleventh(g, 0xb, 1, ECX), 0x201);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(get_eleventh(g, 0xb, i, EDX), 10);
	assert_int_equal(get_eleventh(g, 0xb, 2, EAX), 0);
	assert_int_equal(get_eleventh(g, 0xb, 2, EBX), 0);
	assert_int_equal(get_eleventh(g, 0xb, 2, ECX), 2);
	guest_destroy(g);
}

/* Turns the model into the other vendor's, as far as the topology goes. */
static void pose_as(struct guest *g, uint8_t vendor)
{
	uint32_t from = vendor == X86_VENDOR_AMD ? 4 : 0x8000001d;

	for (unsigned i = 0; i < X86_CPUID_LEAVES; i++)
		if (g->cpu.cpuid[i].leaf == from)
			g->cpu.cpuid[i].leaf = vendor == X86_VENDOR_AMD ? 0x8000001d : 4;
	g->cpu.vendor = vendor;
}

static void test_many_intel(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);

	(void)state;
	pose_as(g, X86_VENDOR_INTEL);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(get_eleventh(g, 4, i, EAX) >> 26, 3); /* ids of cores, less 1 */
		assert_int_equal(get_eleventh(g, 4, i, EAX) >> 14 & 0xfff, i < 3 ? 1 : 7);
	}
	assert_int_equal(get_eleventh(g, 4, 4, EAX), 0);
	assert_int_equal(get_eleventh(g, 0x80000008, 0, ECX), 0);
	guest_destroy(g);
}

static void test_many_amd(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);

	(void)state;
	pose_as(g, X86_VENDOR_AMD);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(get_eleventh(g, 0x8000001d, i, EAX) >> 26, 0);
		assert_int_equal(get_eleventh(g, 0x8000001d, i, EAX) >> 14, i < 3 ? 1 : 7);
	}
	assert_int_equal(get_eleventh(g, 0x8000001d, 4, EAX), 0);
	assert_int_equal(get_eleventh(g, 0x80000008, 0, ECX), 3 << 12 | 5);
	assert_int_equal(get_eleventh(g, 0x80000001, 0, ECX) >> 1 & 1, 1);
	guest_destroy(g);
}

/* 8000001E is in the model of AMD's hosts only. */
static void test_amd_ids(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);
	bool is_amd = g->cpu.vendor == X86_VENDOR_AMD;

	(void)state;
	if (is_amd) {
		assert_int_equal(get_eleventh(g, 0x8000001e, 0, EAX), 10);
		assert_int_equal(get_eleventh(g, 0x8000001e, 0, EBX), 1 << 8 | 5);
		assert_int_equal(get_eleventh(g, 0x8000001e, 0, ECX), 1);
		assert_int_equal(get(g, 0x8000001e, 0, EBX), 3);
	}
	guest_destroy(g);
}

/* The cache leaf of the vendor describes as many bytes as its levels say, and ends. */
static void test_caches(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);
	uint32_t leaf = g->cpu.vendor == X86_VENDOR_AMD ? 0x8000001d : 4;

	(void)state;
	for (unsigned i = 0; i < 4; i++) {
		uint32_t b = get(g, leaf, i, EBX), sets = get(g, leaf, i, ECX) + 1;
		uint64_t size =
			((b >> 22) + 1ull) * ((b >> 12 & 0x3ff) + 1) * ((b & 0xfff) + 1) * sets;

		assert_int_not_equal(get(g, leaf, i, EAX) & 31, 0);
		assert_int_equal(get(g, leaf, i, EAX) >> 14, 0); /* shared with nobody */
		assert_in_range(size, 32 << 10, 32 << 20);
	}
	assert_int_equal(get(g, leaf, 4, EAX), 0);
	guest_destroy(g);
}

static void test_dynamic(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);
	const struct x86_topology xapic = {.cores = 1, .threads = 1};
	uint32_t out[4];

	(void)state;
	g->cpu.cr4 &= ~(uint64_t)X86_CR4_OSXSAVE;
	assert_int_equal(get(g, 1, 0, ECX) >> 27 & 1, 0);
	g->cpu.cr4 |= X86_CR4_OSXSAVE;
	assert_int_equal(get(g, 1, 0, ECX) >> 27 & 1, 1);
	g->cpu.cr4 |= X86_CR4_PKE;
	assert_int_equal(get(g, 7, 0, ECX) >> 4 & 1, 1);
	x86_cpuid(&g->cpu, &xapic, 1, 0, out);
	assert_int_equal(out[ECX] >> 21 & 1, 0);
	if (x86_has_feature(&g->cpu, X86_F_AVX)) {
		g->cpu.xcr0 = 3;
		assert_int_equal(get(g, 0xd, 0, EBX), 576);
		g->cpu.xcr0 = 7;
		assert_int_equal(get(g, 0xd, 0, EBX), 832);
		g->cpu.xcr0 = 0x203;
		assert_int_equal(get(g, 0xd, 0, EBX), 840);
		assert_int_equal(get(g, 0xd, 1, EBX), 584);
		assert_int_equal(get(g, 0xd, 0, EAX), 0x207);
		assert_int_equal(get(g, 0xd, 0, ECX), 840);
		assert_int_equal(get(g, 0xd, 9, EAX), 8);
		assert_int_equal(get(g, 0xd, 9, EBX), 832);
		assert_int_equal(get(g, 0xd, 1, EAX), 7);
		assert_int_equal(get(g, 0xd, 2, EAX), 256);
		assert_int_equal(get(g, 0xd, 2, EBX), 576);
		assert_int_equal(get(g, 0xd, 3, EAX), 0);
		assert_int_equal(get(g, 0xd, 9, EAX), 8);
		assert_int_equal(get(g, 0xd, 9, EBX), 832);
		g->cpu.xcr0 = 0x207;
		assert_int_equal(get(g, 0xd, 0, EBX), 840);
	}
	guest_destroy(g);
}

static void test_instruction(void **state)
{
	struct guest *g = system_guest(GUEST_LONG64, 0);

	(void)state;
	g->cpu.gpr[X86_RAX] = 0xffffffff40000000;
	g->cpu.gpr[X86_RBX] = UINT64_MAX;
	assert_int_equal(GUEST_RUN(g, 0x0f, 0xa2), X86_DONE);
	assert_int_equal(g->cpu.gpr[X86_RAX], 0x40000000);
	assert_int_equal(g->cpu.gpr[X86_RBX], 0x76796862); /* "bhyv" */
	guest_destroy(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_apic_off),
		cmocka_unit_test(test_policy),
		cmocka_unit_test(test_native_features),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_topology),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_many_intel),
		cmocka_unit_test(test_many_amd),
		cmocka_unit_test(test_amd_ids),
		cmocka_unit_test(test_caches),
		cmocka_unit_test(test_dynamic),
		cmocka_unit_test(test_instruction),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
