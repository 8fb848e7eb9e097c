/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* From x86_exit to the exits of vmm.h (vmm-api.md 6.2). */
#include <sys/mman.h>

#include "backend/soft/soft.h"

static const uint8_t segment_name[] = {VM_REG_GUEST_ES, VM_REG_GUEST_CS, VM_REG_GUEST_SS,
	VM_REG_GUEST_DS, VM_REG_GUEST_FS, VM_REG_GUEST_GS};

void soft_paging(struct soft_vcpu *v, struct vm_guest_paging *paging)
{
	const struct x86_cpu *cpu = &v->cpu;

	paging->cr3 = cpu->cr3;
	paging->cpl = cpu->cpl;
	if (cpu->efer & X86_EFER_LMA)
		paging->cpu_mode = cpu->seg[X86_CS].access & X86_SEG_L ? CPU_MODE_64BIT
								       : CPU_MODE_COMPATIBILITY;
	else
		paging->cpu_mode = cpu->cr0 & X86_CR0_PE ? CPU_MODE_PROTECTED : CPU_MODE_REAL;
	if (!(cpu->cr0 & X86_CR0_PG))
		paging->paging_mode = PAGING_MODE_FLAT;
	else if (!(cpu->cr4 & X86_CR4_PAE))
		paging->paging_mode = PAGING_MODE_32;
	else
		paging->paging_mode = cpu->efer & X86_EFER_LME ? PAGING_MODE_64 : PAGING_MODE_PAE;
}

static uint64_t masked(uint64_t value, unsigned bytes)
{
	return bytes == 2 ? (uint16_t)value : bytes == 4 ? (uint32_t)value : value;
}

static void exit_io(struct soft_vcpu *v, struct vm_exit *e)
{
	e->exitcode = VM_EXITCODE_INOUT;
	e->inst_length = v->insn_len;
	e->u.inout = (struct vm_inout){
		.bytes = v->cpu.exit.io.size,
		.in = v->cpu.exit.io.in,
		.port = v->cpu.exit.io.port,
		.eax = (uint32_t)v->cpu.gpr[X86_RAX],
	};
}

static void exit_io_string(struct soft_vcpu *v, struct vm_exit *e)
{
	const struct x86_exit *x = &v->cpu.exit;
	const struct x86_seg *seg = &v->cpu.seg[x->io.seg];

	exit_io(v, e);
	e->exitcode = VM_EXITCODE_INOUT_STR;
	e->u.inout_str = (struct vm_inout_str){
		.inout = e->u.inout,
		.rflags = v->cpu.rflags,
		.cr0 = v->cpu.cr0,
		.index = masked(v->cpu.gpr[x->io.in ? X86_RDI : X86_RSI], x->io.addrsize),
		.count = x->io.rep ? masked(v->cpu.gpr[X86_RCX], x->io.addrsize) : 1,
		.addrsize = x->io.addrsize,
		.seg_name = segment_name[x->io.seg],
		.seg_desc = {.base = seg->base, .limit = seg->limit, .access = seg->access},
	};
	e->u.inout_str.inout.string = 1;
	e->u.inout_str.inout.rep = x->io.rep;
	soft_paging(v, &e->u.inout_str.paging);
}

/* A data access outside RAM, or (size 0) code there, which nothing can execute. */
static void exit_mmio(struct soft_vcpu *v, struct vm_exit *e)
{
	const struct x86_exit *x = &v->cpu.exit;

	if (x->mmio.size == 0) {
		e->exitcode = VM_EXITCODE_PAGING;
		e->u.paging.gpa = x->mmio.gpa;
		e->u.paging.fault_type = PROT_EXEC;
		return;
	}
	e->exitcode = VM_EXITCODE_INST_EMUL;
	e->u.inst_emul.gpa = x->mmio.gpa;
	e->u.inst_emul.gla = x->mmio.gla;
	e->u.inst_emul.cs_d = (v->cpu.seg[X86_CS].access & X86_SEG_DB) != 0;
	e->u.inst_emul.vie = (struct vie){0};
	soft_paging(v, &e->u.inst_emul.paging);
}

static void exit_task(struct soft_vcpu *v, struct vm_exit *e)
{
	const struct x86_exit *x = &v->cpu.exit;

	e->exitcode = VM_EXITCODE_TASK_SWITCH;
	e->inst_length = x->task.external ? 0 : v->insn_len;
	e->u.task_switch = (struct vm_task_switch){
		.tsssel = x->task.sel,
		.ext = x->task.external,
		.errcode = x->task.error,
		.errcode_valid = x->task.has_error,
		.reason = (enum task_switch_reason)x->task.reason,
	};
	soft_paging(v, &e->u.task_switch.paging);
}

static void exit_msr(struct soft_vcpu *v, struct vm_exit *e, enum vm_exitcode code)
{
	e->exitcode = code;
	e->inst_length = v->insn_len;
	e->u.msr.code = v->cpu.exit.msr.msr;
	e->u.msr.wval = v->cpu.exit.msr.value;
}

void soft_exit(struct soft_vcpu *v)
{
	struct vm_exit *e = vm_exitinfo(v->vm, v->vcpuid);

	e->rip = v->cpu.rip;
	e->inst_length = 0;
	switch (v->cpu.exit.reason) {
	case X86_EXIT_IO:
		exit_io(v, e);
		break;
	case X86_EXIT_IO_STRING:
		exit_io_string(v, e);
		break;
	case X86_EXIT_HLT:
		e->exitcode = VM_EXITCODE_HLT;
		e->inst_length = v->insn_len;
		e->u.hlt.rflags = v->cpu.rflags;
		break;
	case X86_EXIT_RDMSR:
		exit_msr(v, e, VM_EXITCODE_RDMSR);
		break;
	case X86_EXIT_WRMSR:
		exit_msr(v, e, VM_EXITCODE_WRMSR);
		break;
	case X86_EXIT_PAUSE:
		e->exitcode = VM_EXITCODE_PAUSE;
		e->inst_length = v->insn_len;
		break;
	case X86_EXIT_TASK_SWITCH:
		exit_task(v, e);
		break;
	case X86_EXIT_MMIO:
		exit_mmio(v, e);
		break;
	default:
		e->exitcode = VM_EXITCODE_VMX;
		e->u.vmx.status = 0;
		e->u.vmx.exit_reason = v->cpu.exit.reason;
		e->u.vmx.exit_qualification = 0;
		break;
	}
}

void soft_exit_mtrap(struct soft_vcpu *v)
{
	struct vm_exit *e = vm_exitinfo(v->vm, v->vcpuid);

	e->exitcode = VM_EXITCODE_MTRAP;
	e->rip = v->cpu.rip;
	e->inst_length = 0;
}
