/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* From x86_exit to the exits of vmm.h (vmm-api.md 6.2). */
#include <sys/mman.h>

#include "backend/record.h"
#include "backend/soft/soft.h"

static void exit_io(struct soft_vcpu *v, struct vm_exit *e)
{
	e->exitcode = VM_EXITCODE_INOUT;
	e->inst_length = v->insn_len;
	e->u.inout = vm_inout_of(&v->cpu);
}

static void exit_io_string(struct soft_vcpu *v, struct vm_exit *e)
{
	e->exitcode = VM_EXITCODE_INOUT_STR;
	e->inst_length = v->insn_len;
	e->u.inout_str = vm_inout_str_of(&v->cpu);
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
	e->u.inst_emul.paging = vm_paging_of(&v->cpu);
}

static void exit_task(struct soft_vcpu *v, struct vm_exit *e)
{
	const struct x86_exit *x = &v->cpu.exit;

	e->exitcode = VM_EXITCODE_TASK_SWITCH;
	e->inst_length = x->task.external ? 0 : v->insn_len;
	e->u.task_switch = vm_task_switch_of(&v->cpu);
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
