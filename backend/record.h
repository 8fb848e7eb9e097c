/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Parts of vm_exitinfo() that are alike for backends with a struct x86_cpu. For backend/soft and backend/kvm. */
#ifndef BACKEND_RECORD_H
#define BACKEND_RECORD_H

#include <vmm/vmm.h>

#include "x86/x86.h"

/*
 * Made of the processor's state alone.  Inline: a backend may call them while the
 * guest's vector registers are in the host's.
 */
static inline enum vm_cpu_mode vm_cpu_mode_of(uint64_t cr0, uint64_t efer, uint32_t cs_access)
{
	if ((efer & X86_EFER_LMA) != 0)
		return (cs_access & X86_SEG_L) != 0 ? CPU_MODE_64BIT : CPU_MODE_COMPATIBILITY;
	return (cr0 & X86_CR0_PE) != 0 ? CPU_MODE_PROTECTED : CPU_MODE_REAL;
}

static inline enum vm_paging_mode vm_paging_mode_of(uint64_t cr0, uint64_t cr4, uint64_t efer)
{
	if ((cr0 & X86_CR0_PG) == 0)
		return PAGING_MODE_FLAT;
	if ((cr4 & X86_CR4_PAE) == 0)
		return PAGING_MODE_32;
	return (efer & X86_EFER_LME) != 0 ? PAGING_MODE_64 : PAGING_MODE_PAE;
}

static inline struct vm_guest_paging vm_paging_of(const struct x86_cpu *cpu)
{
	return (struct vm_guest_paging){
		.cr3 = cpu->cr3,
		.cpl = cpu->cpl,
		.cpu_mode = vm_cpu_mode_of(cpu->cr0, cpu->efer, cpu->seg[X86_CS].access),
		.paging_mode = vm_paging_mode_of(cpu->cr0, cpu->cr4, cpu->efer),
	};
}

/* An address or a count of so many bytes: 2, 4 or 8. */
static inline uint64_t vm_cut(uint64_t value, unsigned bytes)
{
	return bytes == 2 ? (uint16_t)value : bytes == 4 ? (uint32_t)value : value;
}

/* cpu->exit is X86_EXIT_IO or X86_EXIT_IO_STRING. */
static inline struct vm_inout vm_inout_of(const struct x86_cpu *cpu)
{
	return (struct vm_inout){
		.bytes = cpu->exit.io.size,
		.in = cpu->exit.io.in,
		.port = cpu->exit.io.port,
		.eax = (uint32_t)cpu->gpr[X86_RAX],
	};
}

static inline struct vm_inout_str vm_inout_str_of(const struct x86_cpu *cpu)
{
	static const uint8_t names[] = {VM_REG_GUEST_ES, VM_REG_GUEST_CS, VM_REG_GUEST_SS,
		VM_REG_GUEST_DS, VM_REG_GUEST_FS, VM_REG_GUEST_GS};
	const struct x86_exit *x = &cpu->exit;
	const struct x86_seg *seg = &cpu->seg[x->io.seg];
	struct vm_inout_str str = {
		.inout = vm_inout_of(cpu),
		.paging = vm_paging_of(cpu),
		.rflags = cpu->rflags,
		.cr0 = cpu->cr0,
		.index = vm_cut(cpu->gpr[x->io.in ? X86_RDI : X86_RSI], x->io.addrsize),
		.count = x->io.rep ? vm_cut(cpu->gpr[X86_RCX], x->io.addrsize) : 1,
		.addrsize = x->io.addrsize,
		.seg_name = names[x->io.seg],
		.seg_desc = {.base = seg->base, .limit = seg->limit, .access = seg->access},
	};

	str.inout.string = 1;
	str.inout.rep = x->io.rep;
	return str;
}

/* cpu->exit is X86_EXIT_TASK_SWITCH. */
static inline struct vm_task_switch vm_task_switch_of(const struct x86_cpu *cpu)
{
	const struct x86_exit *x = &cpu->exit;

	return (struct vm_task_switch){
		.tsssel = x->task.sel,
		.ext = x->task.external,
		.errcode = x->task.error,
		.errcode_valid = x->task.has_error,
		.reason = (enum task_switch_reason)x->task.reason,
		.paging = vm_paging_of(cpu),
	};
}

#endif
