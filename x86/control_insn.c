/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Instructions on control, debug and base registers, XCR0, and the TLB. */
#include "x86/system.h"

#define DR6_BITS  0xe00full
#define DR6_FIXED 0xffff0ff0ull
#define DR7_BITS  0xffff23ffull
#define DR7_FIXED 0x400ull

/* ---- MOV to and from control and debug registers ---- */

static enum x86_result read_cr(struct x86_cpu *cpu, unsigned n, uint64_t *value)
{
	switch (n) {
	case 0:
		*value = cpu->cr0;
		return X86_DONE;
	case 2:
		*value = cpu->cr2;
		return X86_DONE;
	case 3:
		*value = cpu->cr3;
		return X86_DONE;
	case 4:
		*value = cpu->cr4;
		return X86_DONE;
	case 8:
		*value = cpu->ops->cr8_read(cpu);
		return X86_DONE;
	default:
		return x86_raise(cpu, X86_UD);
	}
}

static enum x86_result write_cr(struct x86_cpu *cpu, unsigned n, uint64_t value)
{
	switch (n) {
	case 0:
		return x86_set_cr0(cpu, value);
	case 2:
		cpu->cr2 = value;
		return X86_DONE;
	case 3:
		return x86_set_cr3(cpu, value);
	case 4:
		return x86_set_cr4(cpu, value);
	case 8:
		if (value > 15)
			return x86_raise_error(cpu, X86_GP, 0);
		cpu->ops->cr8_write(cpu, value);
		return X86_DONE;
	default:
		return x86_raise(cpu, X86_UD);
	}
}

/* DR4 and DR5 are aliases unless CR4.DE; DR7.GD guards all of them (SDM vol. 3, 17.2). */
static enum x86_result pick_dr(struct x86_cpu *cpu, unsigned *n)
{
	if (*n > 7 || ((*n == 4 || *n == 5) && cpu->cr4 & X86_CR4_DE))
		return x86_raise(cpu, X86_UD);
	if (*n == 4 || *n == 5)
		*n += 2;
	if (!(cpu->dr[7] & X86_DR7_GD))
		return X86_DONE;
	x86_raise(cpu, X86_DB);
	cpu->fault.dr6 = X86_DR6_BD;
	return X86_FAULT;
}

static enum x86_result read_dr(struct x86_cpu *cpu, unsigned n, uint64_t *value)
{
	enum x86_result res = pick_dr(cpu, &n);

	if (res == X86_DONE)
		*value = cpu->dr[n];
	return res;
}

static enum x86_result write_dr(struct x86_cpu *cpu, unsigned n, uint64_t value)
{
	enum x86_result res = pick_dr(cpu, &n);

	if (res != X86_DONE)
		return res;
	if (n >= 6 && value >> 32)
		return x86_raise_error(cpu, X86_GP, 0);
	if (n == 6)
		value = (value & DR6_BITS) | DR6_FIXED;
	else if (n == 7)
		value = (value & DR7_BITS) | DR7_FIXED;
	cpu->dr[n] = value;
	return X86_DONE;
}

static enum x86_result mov_from(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned n = insn->op[1].reg;
	uint64_t value = 0;
	enum x86_result res =
		insn->op[1].kind == X86_OK_CR ? read_cr(cpu, n, &value) : read_dr(cpu, n, &value);

	if (res != X86_DONE)
		return res;
	x86_gpr_set(cpu, &insn->op[0], value);
	return x86_done(cpu, insn);
}

static enum x86_result mov_to(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t value = x86_gpr_get(cpu, &insn->op[1]);
	unsigned n = insn->op[0].reg;
	enum x86_result res =
		insn->op[0].kind == X86_OK_CR ? write_cr(cpu, n, value) : write_dr(cpu, n, value);

	return res == X86_DONE ? x86_done(cpu, insn) : res;
}

enum x86_result x86_sys_mov(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	if (insn->op[0].kind == X86_OK_SEG || insn->op[1].kind == X86_OK_SEG)
		return x86_sys_mov_seg(cpu, insn);
	if (insn->op[1].kind == X86_OK_CR || insn->op[1].kind == X86_OK_DR)
		return mov_from(cpu, insn);
	return mov_to(cpu, insn);
}

enum x86_result x86_sys_clts(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	cpu->cr0 &= ~(uint64_t)X86_CR0_TS;
	return x86_done(cpu, insn);
}

/* Sets PE, MP, EM, TS, but cannot clear PE. */
enum x86_result x86_sys_lmsw(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t value;
	enum x86_result res = x86_operand_get(cpu, insn, 0, &value);

	if (res == X86_DONE)
		res = x86_set_cr0(cpu, (cpu->cr0 & ~14ull) | (value & 15));
	return res == X86_DONE ? x86_done(cpu, insn) : res;
}

enum x86_result x86_sys_smsw(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	enum x86_result res;

	if (cpu->cr4 & X86_CR4_UMIP && cpu->cpl != 0)
		return x86_raise_error(cpu, X86_GP, 0);
	res = x86_operand_put(cpu, insn, 0, cpu->cr0);
	return res == X86_DONE ? x86_done(cpu, insn) : res;
}

/* ---- extended control registers ---- */

static void set_edx_eax(struct x86_cpu *cpu, uint64_t value)
{
	cpu->gpr[X86_RAX] = (uint32_t)value;
	cpu->gpr[X86_RDX] = value >> 32;
}

/* Register 1 is XCR0 with only the components in use. */
enum x86_result x86_sys_xgetbv(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t in_use;

	switch ((uint32_t)cpu->gpr[X86_RCX]) {
	case 0:
		set_edx_eax(cpu, cpu->xcr0);
		break;
	case 1:
		x86_fpu_save(cpu);
		x86_bytes_copy(&in_use, cpu->fpu + 512, 8);
		in_use |= cpu->pkru ? X86_XCR0_PKRU : 0;
		set_edx_eax(cpu, cpu->xcr0 & in_use);
		break;
	default:
		return x86_raise_error(cpu, X86_GP, 0);
	}
	return x86_done(cpu, insn);
}

enum x86_result x86_sys_xsetbv(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t value = cpu->gpr[X86_RDX] << 32 | (uint32_t)cpu->gpr[X86_RAX];
	enum x86_result res;

	if ((uint32_t)cpu->gpr[X86_RCX] != 0)
		return x86_raise_error(cpu, X86_GP, 0);
	res = x86_set_xcr0(cpu, value);
	return res == X86_DONE ? x86_done(cpu, insn) : res;
}

/* ---- protection keys ---- */

void x86_set_pkru(struct x86_cpu *cpu, uint32_t value)
{
	if (value == cpu->pkru)
		return;
	cpu->pkru = value;
	if (cpu->cr4 & X86_CR4_PKE)
		cpu->ops->flush(cpu, X86_FLUSH_ALL, 0);
}

/* ECX, and EDX that is written, must be 0. */
static enum x86_result check_pkru(struct x86_cpu *cpu, uint32_t zeroes)
{
	if (!(cpu->cr4 & X86_CR4_PKE))
		return x86_raise(cpu, X86_UD);
	return zeroes ? x86_raise_error(cpu, X86_GP, 0) : X86_DONE;
}

enum x86_result x86_sys_rdpkru(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	enum x86_result res = check_pkru(cpu, (uint32_t)cpu->gpr[X86_RCX]);

	if (res != X86_DONE)
		return res;
	set_edx_eax(cpu, cpu->pkru);
	return x86_done(cpu, insn);
}

enum x86_result x86_sys_wrpkru(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	enum x86_result res = check_pkru(cpu, (uint32_t)(cpu->gpr[X86_RCX] | cpu->gpr[X86_RDX]));

	if (res != X86_DONE)
		return res;
	x86_set_pkru(cpu, (uint32_t)cpu->gpr[X86_RAX]);
	return x86_done(cpu, insn);
}

/* ---- TLB ---- */

/* Segment limits are not looked at, and a non-canonical address does nothing. */
enum x86_result x86_sys_invlpg(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t gla = x86_effective(cpu, insn);

	if (x86_is_64bit(cpu)) {
		if (insn->mem.seg == X86_FS || insn->mem.seg == X86_GS)
			gla += cpu->seg[insn->mem.seg].base;
	} else {
		gla = (uint32_t)(gla + cpu->seg[insn->mem.seg].base);
	}
	if (x86_canonical(gla))
		cpu->ops->flush(cpu, X86_FLUSH_PAGE, gla);
	return x86_done(cpu, insn);
}

enum { INVPCID_ADDRESS, INVPCID_CONTEXT, INVPCID_ALL, INVPCID_ALL_NONGLOBAL };

enum x86_result x86_sys_invpcid(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t type = x86_gpr_get(cpu, &insn->op[0]), desc[2], gla;
	enum x86_result res;

	if (x86_is_vm86(cpu) || type > INVPCID_ALL_NONGLOBAL)
		return x86_raise_error(cpu, X86_GP, 0);
	res = x86_operand_linear(cpu, insn, 16, X86_ACC_READ, &gla);
	if (res == X86_DONE)
		res = x86_read(cpu, gla, desc, 16, x86_acc(cpu, X86_ACC_READ));
	if (res != X86_DONE)
		return res;
	if (desc[0] >> 12 || (type == INVPCID_ADDRESS && !x86_canonical(desc[1])) ||
		(type <= INVPCID_CONTEXT && desc[0] != 0 && !(cpu->cr4 & X86_CR4_PCIDE)))
		return x86_raise_error(cpu, X86_GP, 0);
	if (type == INVPCID_ADDRESS)
		cpu->ops->flush(cpu, X86_FLUSH_PCID_PAGE, (desc[1] & ~0xfffull) | desc[0]);
	else if (type == INVPCID_CONTEXT)
		cpu->ops->flush(cpu, X86_FLUSH_PCID, desc[0]);
	else
		cpu->ops->flush(cpu, type == INVPCID_ALL ? X86_FLUSH_ALL : X86_FLUSH_NONGLOBAL, 0);
	return x86_done(cpu, insn);
}

/* ---- FS and GS bases ---- */

enum x86_result x86_sys_swapgs(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t base = cpu->seg[X86_GS].base;

	cpu->seg[X86_GS].base = cpu->kernel_gs_base;
	cpu->kernel_gs_base = base;
	return x86_done(cpu, insn);
}

static struct x86_seg *base_segment(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	bool is_gs = insn->row->mnem == X86_I_rdgsbase || insn->row->mnem == X86_I_wrgsbase;

	return &cpu->seg[is_gs ? X86_GS : X86_FS];
}

enum x86_result x86_sys_rdbase(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	x86_gpr_set(cpu, &insn->op[0], base_segment(cpu, insn)->base);
	return x86_done(cpu, insn);
}

enum x86_result x86_sys_wrbase(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	uint64_t base = x86_gpr_get(cpu, &insn->op[0]);

	if (!x86_canonical(base))
		return x86_raise_error(cpu, X86_GP, 0);
	base_segment(cpu, insn)->base = base;
	return x86_done(cpu, insn);
}
