/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* x87, SSE and AVX state: saved and restored in all forms, what enables it, exceptions. A 64-bit image. */
#include "kit.h"

#define AREA 0x30000 /* 4 KiB, aligned */

CODE(64, f_fnop, "fnop");
CODE(64, f_sse, "xorps %xmm0, %xmm0");
CODE(64, f_sse_store, "movaps %xmm0, (%rbx)");
CODE(64, f_mmx, "movq %mm0, %mm1");
CODE(64, f_emms, "emms");
CODE(64, f_avx, "vxorps %ymm1, %ymm1, %ymm1");
CODE(64, f_avx128, "vxorps %xmm1, %xmm1, %xmm1");
CODE(64, f_fxsave, "fxsave (%rbx)");
CODE(64, f_fxsave64, "fxsave64 (%rbx)");
CODE(64, f_fxrstor, "fxrstor (%rbx)");
CODE(64, f_xsave, "xsave (%rbx)");
CODE(64, f_xrstor, "xrstor (%rbx)");
CODE(64, f_xsaveopt, "xsaveopt (%rbx)");
CODE(64, f_xsavec, "xsavec (%rbx)");
CODE(64, f_xgetbv, "xgetbv");
CODE(64, f_xsetbv, "xsetbv");
CODE(64, f_fnsave, "fnsave (%rbx)");
CODE(64, f_frstor, "frstor (%rbx)");
CODE(64, f_fnstenv, "fnstenv (%rbx)");
CODE(64, f_fldenv, "fldenv (%rbx)");
CODE(64, f_ldmxcsr, "ldmxcsr (%rbx)");
CODE(64, f_stmxcsr, "stmxcsr (%rbx)");
CODE(64, f_set,
	"fninit\n fld1\n fldpi\n pcmpeqd %xmm3, %xmm3\n movq %rax, %xmm0\n movq %rcx, %xmm15\n");
CODE(64, f_get, "movq %xmm0, %rax\n movq %xmm15, %rcx\n movq %xmm3, %rdx");
CODE(64, f_clobber, "fninit\n xorps %xmm0, %xmm0\n xorps %xmm3, %xmm3\n xorps %xmm15, %xmm15");
CODE(64, f_add, "faddp\n fistpll (%rbx)");
CODE(64, f_depth, "fnstsw %ax");
CODE(64, v_set, "vpcmpeqd %ymm2, %ymm2, %ymm2\n vpsrlw $4, %ymm2, %ymm2\n vmovdqu %ymm2, (%rbx)");
CODE(64, v_get, "vmovdqu %ymm2, (%rbx)");
CODE(64, v_clobber, "vzeroall");
CODE(64, v_upper, "vzeroupper");
CODE(64, v_unaligned, "vmovdqu (%rbx), %ymm0");
CODE(64, v_aligned, "vmovdqa (%rbx), %ymm0");
CODE(64, v_gather, "vpcmpeqd %ymm1, %ymm1, %ymm1\n vpgatherdd %ymm1, (%rbx,%ymm3,4), %ymm0");
CODE(64, v_maskmov, "vmaskmovps (%rbx), %ymm3, %ymm0");
CODE(64, x_stack_over, "fninit\n fldz\n fldz\n fldz\n fldz\n fldz\n fldz\n fldz\n fldz\n fldz\n fnstsw %ax");
CODE(64, x_stack_under, "fninit\n fadd %st(1), %st\n fnstsw %ax");
CODE(64, x_fpu_ip, "fninit\n fldl (%rbx)\n fnstenv 64(%rbx)");
CODE_AT(64, x_fstsw_nowait, x_fstsw_at,
	"fninit\n fldcw (%rbx)\n fldz\n fld1\n fdivp\n fnstsw %ax\n fnclex\n1: fwait");
CODE(64, s_rounding, "ldmxcsr (%rbx)\n cvtsd2si 8(%rbx), %rax");

static void enable(void)
{
	write_cr0((read_cr0() & ~(word)(CR0_EM | CR0_TS)) | CR0_MP | CR0_NE);
	write_cr4(read_cr4() | CR4_OSFXSR | CR4_OSXMM);
	TRY(f_clobber);
}

static void test_fxsave(void)
{
	memset((void *)AREA, 0x5a, 1024);
	TRY(f_set, R.ax = 0x1122334455667788, R.cx = 0x99aabbccddeeff00);
	expect_end("fxsave.set");
	TRY(f_fxsave64, R.bx = AREA);
	expect_end("fxsave");
	check("fxsave.fcw", MEM16(AREA), 0x37f);
	check("fxsave.fsw", MEM16(AREA + 2) & 0x3800, 6 << 11);
	check("fxsave.ftw", MEM8(AREA + 4), 0xc0);
	check("fxsave.mxcsr", MEM32(AREA + 24), 0x1f80);
	check_true("fxsave.mxcsr_mask", MEM32(AREA + 28) >= 0xffbf);
	check("fxsave.st0", MEM64(AREA + 32), 0xc90fdaa22168c235); /* pi */
	check("fxsave.xmm0", MEM64(AREA + 160), 0x1122334455667788);
	check("fxsave.xmm15", MEM64(AREA + 160 + 15 * 16), 0x99aabbccddeeff00);
	check("fxsave.unused", MEM8(AREA + 511), 0x5a);
	TRY(f_clobber);
	TRY(f_fxrstor, R.bx = AREA);
	expect_end("fxrstor");
	TRY(f_get);
	check("fxrstor.xmm0", R.ax, 0x1122334455667788);
	check("fxrstor.xmm15", R.cx, 0x99aabbccddeeff00);
	check("fxrstor.xmm3", R.dx, -1ul);
	TRY(f_add, R.bx = AREA + 512);
	check("fxrstor.x87", MEM64(AREA + 512), 4); /* pi + 1, rounded */
	TRY(f_depth, R.ax = 0);
	check("fxrstor.emptied", R.ax & 0x3800, 0);
	TRY(f_fxsave, R.bx = AREA + 8);
	expect("fxsave.unaligned", GP, 0, f_fxsave);
	TRY(f_fxrstor, R.bx = AREA + 8);
	expect("fxrstor.unaligned", GP, 0, f_fxrstor);
	MEM32(AREA + 24) = 0x11f80;
	TRY(f_fxrstor, R.bx = AREA);
	expect("fxrstor.mxcsr_reserved", GP, 0, f_fxrstor);
	MEM32(AREA + 24) = 0x1f80;
	write_cr0(read_cr0() | CR0_TS);
	TRY(f_fxsave, R.bx = AREA);
	expect("fxsave.ts", NM, -1, f_fxsave);
	TRY(f_sse);
	expect("sse.ts", NM, -1, f_sse);
	TRY(f_stmxcsr, R.bx = AREA);
	expect("stmxcsr.ts", NM, -1, f_stmxcsr);
	TRY(f_emms);
	expect("emms.ts", NM, -1, f_emms);
	write_cr0(read_cr0() & ~(word)CR0_TS);
	/* FNSAVE initialises, FRSTOR brings back. */
	TRY(f_set);
	TRY(f_fnsave, R.bx = AREA + 512);
	expect_end("fnsave");
	check("fnsave.fsw", MEM16(AREA + 516) & 0x3800, 6 << 11);
	TRY(f_depth);
	check("fnsave.initialised", R.ax & 0xffff, 0);
	TRY(f_frstor, R.bx = AREA + 512);
	expect_end("frstor");
	TRY(f_depth);
	check("frstor.fsw", R.ax & 0x3800, 6 << 11);
	TRY(f_clobber);
}

static void test_x87(void)
{
	TRY(x_stack_over);
	check("x87.overflow", R.ax & 0x241, 0x241); /* SF, IE, C1 */
	TRY(x_stack_under);
	check("x87.underflow", R.ax & 0x241, 0x41);
	/* The instruction pointer that FNSTENV shows is the guest's own or nothing, never another's. */
	MEM64(AREA) = 0x3ff0000000000000;
	memset((void *)(AREA + 64), 0, 32);
	TRY(x_fpu_ip, R.bx = AREA);
	expect_end("x87.fnstenv");
	check_true("x87.fip", MEM32(AREA + 64 + 12) == 0 ||
			MEM32(AREA + 64 + 12) == (uint32_t)(word)(x_fpu_ip + 2));
	check_true("x87.fdp", MEM32(AREA + 64 + 20) == 0 || MEM32(AREA + 64 + 20) == AREA);
	/* An unmasked exception waits; FNSTSW and FNCLEX do not. */
	MEM16(AREA) = 0x37b;
	TRY(x_fstsw_nowait, R.bx = AREA);
	expect_end("x87.fnclex");
	check("x87.es", R.ax & 0x84, 0x84);
	TRY(f_clobber);
	/* Rounding modes of MXCSR. */
	MEM64(AREA + 8) = 0x4004000000000000; /* 2.5 */
	MEM32(AREA) = 0x1f80;
	TRY(s_rounding, R.bx = AREA);
	check("sse.round_nearest", R.ax, 2);
	MEM32(AREA) = 0x5f80;
	TRY(s_rounding, R.bx = AREA);
	check("sse.round_up", R.ax, 3);
	MEM32(AREA) = 0x1f80;
	TRY(f_ldmxcsr, R.bx = AREA);
}

static void test_xsave(void)
{
	struct regs4 f = cpuid(1, 0), d;
	bool avx = f.c >> 28 & 1;
	char *hdr = (char *)AREA + 512;

	if (!(f.c >> 26 & 1)) {
		skip("xsave");
		return;
	}
	TRY(f_xsave, R.bx = AREA, R.ax = 3, R.dx = 0);
	expect("xsave.osxsave_off", UD, -1, f_xsave);
	TRY(f_xsetbv, R.cx = 0, R.ax = 3, R.dx = 0);
	expect("xsetbv.osxsave_off", UD, -1, f_xsetbv);
	TRY(f_avx);
	expect("avx.osxsave_off", UD, -1, f_avx);
	write_cr4(read_cr4() | CR4_OSXSAVE);
	TRY(f_xgetbv, R.cx = 0);
	check("xgetbv.reset", R.ax, 1);
	TRY(f_xgetbv, R.cx = 5);
	expect("xgetbv.index", GP, 0, f_xgetbv);
	TRY(f_xsetbv, R.cx = 0, R.ax = 2, R.dx = 0);
	expect("xsetbv.without_x87", GP, 0, f_xsetbv);
	TRY(f_xsetbv, R.cx = 0, R.ax = 5, R.dx = 0);
	expect("xsetbv.avx_without_sse", GP, 0, f_xsetbv);
	TRY(f_xsetbv, R.cx = 0, R.ax = 3, R.dx = 0x40000000);
	expect("xsetbv.reserved", GP, 0, f_xsetbv);
	TRY(f_xsetbv, R.cx = 1, R.ax = 3, R.dx = 0);
	expect("xsetbv.index", GP, 0, f_xsetbv);
	TRY_USER(f_xsetbv, R.cx = 0, R.ax = 3, R.dx = 0);
	expect("xsetbv.user", GP, 0, f_xsetbv);
	TRY(f_xsetbv, R.cx = 0, R.ax = 3, R.dx = 0);
	expect_end("xsetbv.sse");
	TRY(f_avx);
	expect("avx.xcr0_off", UD, -1, f_avx);
	TRY(f_avx128);
	expect("avx128.xcr0_off", UD, -1, f_avx128);
	if (avx) {
		TRY(f_xsetbv, R.cx = 0, R.ax = 7, R.dx = 0);
		expect_end("xsetbv.avx");
		TRY(f_xgetbv, R.cx = 0);
		check("xgetbv.avx", R.ax, 7);
		d = cpuid(13, 0);
		check("cpuid.xsave_size", d.b, 832);
		d = cpuid(13, 2);
		check("cpuid.avx_offset", d.b, 576);
		check("cpuid.avx_size", d.a, 256);
	}
	/* Header and selection. */
	memset((void *)AREA, 0, 1024);
	TRY(f_set, R.ax = 0x1234, R.cx = 0x5678);
	TRY(f_xsave, R.bx = AREA, R.ax = 7, R.dx = 0);
	expect_end("xsave");
	check("xsave.xstate_bv", MEM64(hdr) & 3, 3);
	check("xsave.xmm0", MEM64(AREA + 160), 0x1234);
	TRY(f_clobber);
	TRY(f_xrstor, R.bx = AREA, R.ax = 1, R.dx = 0);
	expect_end("xrstor.x87_only");
	TRY(f_get);
	check("xrstor.x87_only.xmm0", R.ax, 0);
	TRY(f_xrstor, R.bx = AREA, R.ax = 2, R.dx = 0);
	TRY(f_get);
	check("xrstor.sse.xmm0", R.ax, 0x1234);
	/* A component whose bit is clear in XSTATE_BV is initialised. */
	MEM64(hdr) = 1;
	TRY(f_xrstor, R.bx = AREA, R.ax = 3, R.dx = 0);
	TRY(f_get);
	check("xrstor.init.xmm0", R.ax, 0);
	MEM64(hdr) = 8;
	TRY(f_xrstor, R.bx = AREA, R.ax = 3, R.dx = 0);
	expect("xrstor.unknown_component", GP, 0, f_xrstor);
	MEM64(hdr) = 3;
	MEM64(hdr + 8) = 1;
	TRY(f_xrstor, R.bx = AREA, R.ax = 3, R.dx = 0);
	expect("xrstor.xcomp_bv", GP, 0, f_xrstor);
	MEM64(hdr + 8) = 0;
	MEM64(hdr + 16) = 1;
	TRY(f_xrstor, R.bx = AREA, R.ax = 3, R.dx = 0);
	expect("xrstor.header_reserved", GP, 0, f_xrstor);
	MEM64(hdr + 16) = 0;
	MEM32(AREA + 24) = 0x80001f80;
	TRY(f_xrstor, R.bx = AREA, R.ax = 3, R.dx = 0);
	expect("xrstor.mxcsr_reserved", GP, 0, f_xrstor);
	MEM32(AREA + 24) = 0x1f80;
	TRY(f_xsave, R.bx = AREA + 32, R.ax = 3, R.dx = 0);
	expect("xsave.unaligned", GP, 0, f_xsave);
	TRY(f_xrstor, R.bx = AREA + 16, R.ax = 3, R.dx = 0);
	expect("xrstor.unaligned", GP, 0, f_xrstor);
	write_cr0(read_cr0() | CR0_TS);
	TRY(f_xsave, R.bx = AREA, R.ax = 3, R.dx = 0);
	expect("xsave.ts", NM, -1, f_xsave);
	write_cr0(read_cr0() & ~(word)CR0_TS);
	if (cpuid(13, 1).a & 1) {
		TRY(f_set, R.ax = 0x4321, R.cx = 0);
		TRY(f_xsaveopt, R.bx = AREA, R.ax = 7, R.dx = 0);
		expect_end("xsaveopt");
		check("xsaveopt.xmm0", MEM64(AREA + 160), 0x4321);
	} else {
		skip("xsaveopt");
	}
	if (cpuid(13, 1).a & 2) {
		memset((void *)AREA, 0, 1024);
		TRY(f_set, R.ax = 0x4321, R.cx = 0);
		TRY(f_xsavec, R.bx = AREA, R.ax = 3, R.dx = 0);
		expect_end("xsavec");
		check("xsavec.xcomp_bv", MEM64(hdr + 8), 1ull << 63 | 3);
		check("xsavec.xmm0", MEM64(AREA + 160), 0x4321);
		TRY(f_clobber);
		TRY(f_xrstor, R.bx = AREA, R.ax = 3, R.dx = 0);
		expect_end("xrstor.compacted");
		TRY(f_get);
		check("xrstor.compacted.xmm0", R.ax, 0x4321);
	} else {
		skip("xsavec");
	}
}

static void test_avx(void)
{
	if (!(cpuid(1, 0).c >> 28 & 1)) {
		skip("avx");
		return;
	}
	memset((void *)AREA, 0, 1024);
	TRY(f_avx);
	expect_end("avx.vxorps");
	write_cr0(read_cr0() | CR0_TS);
	TRY(f_avx);
	expect("avx.ts", NM, -1, f_avx);
	write_cr0((read_cr0() & ~(word)CR0_TS));
	TRY(v_unaligned, R.bx = AREA + 1);
	expect_end("avx.unaligned");
	TRY(v_aligned, R.bx = AREA + 16);
	expect("avx.vmovdqa_unaligned", GP, 0, v_aligned);
	if (!(cpuid(7, 0).b >> 5 & 1)) {
		skip("avx2");
		return;
	}
	TRY(v_set, R.bx = AREA + 896);
	expect_end("avx.set");
	TRY(f_xsave, R.bx = AREA, R.ax = 7, R.dx = 0);
	check("avx.xsave", MEM64(AREA + 576 + 2 * 16), 0x0fff0fff0fff0fff);
	TRY(v_clobber);
	TRY(v_get, R.bx = AREA + 896);
	check("avx.vzeroall", MEM64(AREA + 896 + 16), 0);
	TRY(f_xrstor, R.bx = AREA, R.ax = 7, R.dx = 0);
	TRY(v_get, R.bx = AREA + 896);
	check("avx.xrstor", MEM64(AREA + 896 + 24), 0x0fff0fff0fff0fff);
	TRY(v_upper);
	TRY(v_get, R.bx = AREA + 896);
	check("avx.vzeroupper", MEM64(AREA + 896 + 24), 0);
	check("avx.vzeroupper_low", MEM64(AREA + 896), 0x0fff0fff0fff0fff);
	TRY(v_clobber);
	MEM32(AREA) = 0x3f800000;
	TRY(v_gather, R.bx = AREA);
	expect_end("avx.gather");
	/* Masked-out elements do not fault. */
	TRY(v_maskmov, R.bx = 0xfffffffffffffff0);
	expect_end("avx.maskmov_masked_out");
	TRY(f_clobber);
}

static void test_em(void)
{
	write_cr0(read_cr0() | CR0_EM);
	TRY(f_fnop);
	expect("em.x87", NM, -1, f_fnop);
	TRY(f_mmx);
	expect("em.mmx", UD, -1, f_mmx);
	TRY(f_sse_store, R.bx = AREA);
	expect("em.sse", UD, -1, f_sse_store);
	TRY(f_fxsave, R.bx = AREA);
	expect("em.fxsave", NM, -1, f_fxsave);
	write_cr0(read_cr0() & ~(word)CR0_EM);
	write_cr4(read_cr4() & ~(word)CR4_OSFXSR);
	TRY(f_sse);
	expect("osfxsr.sse", UD, -1, f_sse);
	TRY(f_ldmxcsr, R.bx = AREA);
	expect("osfxsr.ldmxcsr", UD, -1, f_ldmxcsr);
	TRY(f_mmx);
	expect_end("osfxsr.mmx");
	write_cr4(read_cr4() | CR4_OSFXSR);
	TRY(f_clobber);
}

void image_main(void)
{
	MEM64(0x70000) |= 4;
	MEM64(0x71000) |= 4;
	MEM64(0x72000) |= 4;
	write_cr3(read_cr3());
	enable();
	test_fxsave();
	test_x87();
	test_em();
	test_xsave();
	test_avx();
}
