/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Control registers, MSRs and CPUID: what may be written, what reads back, what is #GP. A 64-bit image. */
#include "kit.h"

CODE(64, wr_cr0, "mov %rax, %cr0");
CODE(64, wr_cr3, "mov %rax, %cr3");
CODE(64, wr_cr4, "mov %rax, %cr4");
CODE(64, wr_cr8, "mov %rax, %cr8\n mov %cr8, %rbx");
CODE(64, wr_cr2, "mov %rax, %cr2\n mov %cr2, %rbx");
CODE(64, wr_dr6, "mov %rax, %dr6");
CODE(64, wr_dr7, "mov %rax, %dr7");
CODE(64, do_rdmsr, "rdmsr");
CODE(64, do_wrmsr, "wrmsr");
CODE(64, do_lmsw, "lmsw %ax\n smsw %rbx");
CODE(64, do_clts, "clts\n smsw %rbx");
CODE(64, do_smsw, "smsw %rax");
CODE(64, do_sgdt, "sgdt (%rbx)");
CODE(64, do_sidt, "sidt (%rbx)");
CODE(64, do_sldt, "sldt %eax");
CODE(64, do_str, "str %eax");
CODE(64, do_rdtscp, "rdtscp");
CODE(64, do_rdtsc, "rdtsc");
CODE(64, do_rdpmc, "rdpmc");
CODE(64, do_rdpid, "rdpid %rax");
CODE(64, do_cpuid, "cpuid");
CODE(64, do_xgetbv, "xgetbv");

static void gp(const char *name, char *code, word value)
{
	TRY(code, R.ax = value);
	expect(name, GP, 0, code);
}

/* What QEMU would do, and not survive. */
static void test_hostile(void)
{
	word cr0 = read_cr0(), cr3 = read_cr3(), cr4 = read_cr4();

	gp("cr0.pg_without_pe", wr_cr0, cr0 & ~(word)CR0_PE);
	gp("cr0.pg_off_in_64bit", wr_cr0, cr0 & 0x7fffffff);
	gp("cr4.pae_off_in_long", wr_cr4, cr4 & ~(word)CR4_PAE);
	gp("cr4.reserved_15", wr_cr4, cr4 | 1ul << 15);
	gp("cr4.reserved_31", wr_cr4, cr4 | 1ul << 31);
	gp("cr4.upper", wr_cr4, cr4 | 1ul << 40);
	gp("cr3.upper", wr_cr3, cr3 | 1ul << 62);
	check("cr3.kept", read_cr3(), cr3);
	gp("cr0.nw_without_cd", wr_cr0, (cr0 & ~0x40000000ul) | 0x20000000);
	gp("cr0.upper", wr_cr0, cr0 | 1ul << 32);
	TRY(wr_cr0, R.ax = cr0 & ~0x10ul);
	check("cr0.et_stays", read_cr0() & 0x10, 0x10);
	TRY(wr_cr0, R.ax = cr0 | 0x1ffaffc0);
	check("cr0.reserved_ignored", read_cr0() & 0x1ffaffc0, 0);
	TRY(wr_cr0, R.ax = cr0 ^ CR0_TS);
	check("cr0.ts", read_cr0() & CR0_TS, (cr0 ^ CR0_TS) & CR0_TS);
	write_cr0(cr0);
}

static void test_control(void)
{
	word cr0 = read_cr0(), cr3 = read_cr3();

	TRY(do_lmsw, R.ax = 0xa);
	check("lmsw.set", R.bx & 0xf, 0xb); /* PE cannot be cleared */
	TRY(do_clts);
	check("clts", R.bx & CR0_TS, 0);
	TRY(do_smsw);
	check("smsw.wide", R.ax, read_cr0());
	write_cr0(cr0);
	TRY(wr_cr3, R.ax = cr3 | 0xfff);
	check("cr3.low_bits", read_cr3() & ~0xffful, cr3);
	write_cr3(cr3);
	TRY(wr_cr2, R.ax = 0x123456789abcdef0);
	check("cr2.any_value", R.bx, 0x123456789abcdef0);
	TRY(wr_cr8, R.ax = 9);
	expect_end("cr8.write");
	check("cr8.read", R.bx, 9);
	check("cr8.tpr", MEM32(0xfee00080) & 0xff, 0x90);
	gp("cr8.reserved", wr_cr8, 0x10);
	TRY(wr_cr8, R.ax = 0);
	gp("dr6.upper", wr_dr6, 1ul << 32);
	gp("dr7.upper", wr_dr7, 1ul << 32);
	TRY_USER(wr_cr8, R.ax = 0);
	expect("cr8.user", GP, 0, wr_cr8);
}

static void msr_gp(const char *name, uint32_t msr, uint64_t value)
{
	TRY(do_wrmsr, R.cx = msr, R.ax = (uint32_t)value, R.dx = value >> 32);
	expect(name, GP, 0, do_wrmsr);
}

static void msr_keeps(const char *name, uint32_t msr, uint64_t value)
{
	uint64_t old = rdmsr(msr);

	wrmsr(msr, value);
	check(name, rdmsr(msr), value);
	wrmsr(msr, old);
}

static void test_msrs(void)
{
	uint64_t efer = rdmsr(MSR_EFER);

	TRY(do_rdmsr, R.cx = 0x12345678);
	expect("msr.unknown_read", GP, 0, do_rdmsr);
	msr_gp("msr.unknown_write", 0x12345678, 0);
	check("efer.lma", efer & (EFER_LMA | EFER_LME), EFER_LMA | EFER_LME);
	msr_gp("efer.lme_off_with_paging", MSR_EFER, efer & ~(uint64_t)EFER_LME);
	msr_gp("efer.reserved", MSR_EFER, efer | 1ull << 40);
	msr_gp("efer.reserved_low", MSR_EFER, efer | 2);
	wrmsr(MSR_EFER, efer | EFER_SCE | EFER_NXE);
	check("efer.sce_nxe", rdmsr(MSR_EFER), efer | EFER_SCE | EFER_NXE);
	wrmsr(MSR_EFER, efer);
	msr_keeps("msr.star", MSR_STAR, 0x1234567890abcdef);
	msr_keeps("msr.lstar", MSR_LSTAR, 0xffff800000001234);
	msr_keeps("msr.cstar", MSR_CSTAR, 0x00007fffffff1234);
	msr_keeps("msr.sfmask", MSR_SFMASK, 0x47700);
	msr_keeps("msr.fs_base", MSR_FS_BASE, 0xffff888877776666);
	msr_keeps("msr.gs_base", MSR_GS_BASE, 0x0000123412341234);
	msr_keeps("msr.kernel_gs_base", MSR_KERNEL_GS_BASE, 0xffffffffffffffff);
	msr_keeps("msr.sysenter_cs", MSR_SYSENTER_CS, 0x10);
	msr_keeps("msr.sysenter_esp", MSR_SYSENTER_ESP, 0xffff800000002000);
	msr_keeps("msr.sysenter_eip", MSR_SYSENTER_EIP, 0xffff800000003000);
	msr_gp("msr.lstar_noncanonical", MSR_LSTAR, 1ull << 47);
	msr_gp("msr.sysenter_eip_noncanonical", MSR_SYSENTER_EIP, 1ull << 63);
	msr_gp("msr.gs_base_noncanonical", MSR_GS_BASE, 0xffff7fffffffffff);
	if (cpuid(1, 0).d >> 16 & 1) {
		check("pat.reset", rdmsr(0x277), 0x0007040600070406);
		msr_keeps("pat.write", 0x277, 0x0007010600070106);
		msr_gp("pat.reserved_type", 0x277, 0x0007040600070402);
	}
	if (cpuid(0x80000001, 0).d >> 27 & 1) {
		wrmsr(MSR_TSC_AUX, 0x5a5a);
		TRY(do_rdtscp);
		expect_end("rdtscp");
		check("rdtscp.aux", R.cx, 0x5a5a);
		if (cpuid(7, 0).c >> 22 & 1) {
			TRY(do_rdpid);
			check("rdpid", R.ax, 0x5a5a);
		}
	}
	/* APIC base: enabled, BSP, at its place. */
	check("apic_base", rdmsr(MSR_APIC_BASE) & ~0x400ull, 0xfee00900);
	if (cpuid(1, 0).d >> 12 & 1) {
		uint64_t cap = rdmsr(0xfe);

		check_true("mtrr.cap", (cap & 0xff) <= 16);
		msr_keeps("mtrr.deftype", 0x2ff, 0xc06);
		msr_gp("mtrr.cap_readonly", 0xfe, cap);
	}
	/* The TSC moves, and can be written. */
	{
		uint64_t a, b;

		a = rdmsr(0x10);
		b = rdmsr(0x10);
		check_true("tsc.moves", b > a);
		wrmsr(0x10, 0x1000000000000ull);
		TRY(do_rdtsc);
		check("tsc.written", R.dx >> 12, 0x10);
	}
	write_cr4(read_cr4() | CR4_TSD);
	TRY_USER(do_rdtsc);
	expect("tsd.rdtsc", GP, 0, do_rdtsc);
	TRY_USER(do_rdtscp);
	expect("tsd.rdtscp", GP, 0, do_rdtscp);
	write_cr4(read_cr4() & ~(word)CR4_TSD);
	TRY_USER(do_rdpmc, R.cx = 0);
	expect("rdpmc.user", GP, 0, do_rdpmc);
}

static void test_umip(void)
{
	static const struct {
		const char *name;
		char *code;
	} insns[] = {
		{ "umip.sgdt", do_sgdt }, { "umip.sidt", do_sidt }, { "umip.sldt", do_sldt },
		{ "umip.str", do_str },	  { "umip.smsw", do_smsw },
	};

	for (unsigned i = 0; i < sizeof(insns) / sizeof(insns[0]); i++) {
		TRY_USER(insns[i].code, R.bx = 0x30000);
		expect_end(insns[i].name);
	}
	check("sidt.limit", MEM16(0x30000), 4095);
	check("sidt.base", MEM64(0x30002), (word)idt);
	if (!(cpuid(7, 0).c >> 2 & 1)) {
		TRY(wr_cr4, R.ax = read_cr4() | CR4_UMIP);
		expect("umip.unsupported", GP, 0, wr_cr4);
		skip("umip");
		return;
	}
	write_cr4(read_cr4() | CR4_UMIP);
	for (unsigned i = 0; i < sizeof(insns) / sizeof(insns[0]); i++) {
		TRY_USER(insns[i].code, R.bx = 0x30000);
		expect(insns[i].name, GP, 0, insns[i].code);
		TRY(insns[i].code, R.bx = 0x30000);
		expect_end(insns[i].name);
	}
	write_cr4(read_cr4() & ~(word)CR4_UMIP);
}

static void test_cpuid(void)
{
	struct regs4 f = cpuid(0, 0), g;

	check_true("cpuid.max_leaf", f.a >= 7);
	g = cpuid(1, 0);
	/* FPU, PSE, TSC, MSR, PAE, CX8, APIC, SEP, PGE, CMOV, FXSR, SSE, SSE2: what a 64-bit CPU has. */
	check("cpuid.1.edx", g.d & 0x07008b79, 0x07008b79 & (g.d | ~0x200u));
	check("cpuid.osxsave_off", g.c >> 27 & 1, 0);
	if (g.c >> 26 & 1) {
		write_cr4(read_cr4() | CR4_OSXSAVE);
		check("cpuid.osxsave_on", cpuid(1, 0).c >> 27 & 1, 1);
		write_cr4(read_cr4() & ~(word)CR4_OSXSAVE);
		TRY(do_xgetbv, R.cx = 0);
		expect("xgetbv.osxsave_off", UD, -1, do_xgetbv);
	}
	check_true("cpuid.ext_max", cpuid(0x80000000, 0).a >= 0x80000008);
	g = cpuid(0x80000001, 0);
	check("cpuid.long_mode", g.d >> 29 & 1, 1);
	g = cpuid(0x80000008, 0);
	check_true("cpuid.address_sizes", (g.a & 0xff) >= 36 && (g.a & 0xff) <= 52 &&
			(g.a >> 8 & 0xff) >= 48);
	/* The upper halves are cleared. */
	TRY(do_cpuid, R.ax = 0xffffffff00000000, R.cx = -1ul, R.bx = -1ul, R.dx = -1ul);
	check("cpuid.upper", (R.ax | R.bx | R.cx | R.dx) >> 32, 0);
	TRY_USER(do_cpuid, R.ax = 0);
	expect_end("cpuid.user");
}

/* Ring 3 may run where it is. */
static void open_to_user(void)
{
	MEM64(0x70000) |= 4;
	for (unsigned i = 0; i < 4; i++)
		MEM64(0x71000 + i * 8) |= 4;
	for (unsigned i = 0; i < 16; i++)
		MEM64(0x72000 + i * 8) |= 4;
	write_cr3(read_cr3());
}

void image_main(void)
{
	open_to_user();
	if (in_tcg())
		skip("hostile");
	else
		test_hostile();
	test_control();
	test_msrs();
	test_umip();
	test_cpuid();
}
