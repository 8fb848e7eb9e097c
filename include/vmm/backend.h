/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * What backends and chips see of the core beyond vmm.h and vmm_dev.h.  Only backend/, vmm/ and
 * tests include this; nothing here is exported from libvmm.so.
 */
#ifndef VMM_BACKEND_H
#define VMM_BACKEND_H

#include <vmm/vmm.h>
#include <vmm/vmm_dev.h>

#include "x86/x86.h"

struct vmm_clock;
struct vrtc;
struct vpmtmr;

/*
 * How a backend and the core share an exit:
 * - vmrun returns 0 with vm_exitinfo() filled.  Exits that the core finishes come back as another
 *   vmrun from inside the same vm_run, with the rip that the core decided on.
 * - INST_EMUL needs gpa, gla (or 1 << 63), cs_d and paging; the core decodes and fills vie and the
 *   length.
 * - vmrun may be left with a queued exception or a vector that vm_entry_intinfo handed out only if
 *   that one is put back by vm_exit_intinfo or kept for the next entry.
 * - HLT is rip on the HLT, inst_length 1: the core waits and enters again behind it.
 */

/* Lock-free: host address of RAM at gpa and how many bytes follow contiguously; NULL if no RAM. */
void *vm_gpa_ram(struct vm *vm, vm_paddr_t gpa, size_t *contiguous);
/* The i-th piece of RAM in the process's memory, whole pages; false past the end. Map stable. */
struct vm_ram {
	vm_paddr_t gpa;
	size_t len;
	void *hva;
};
bool vm_ram_at(struct vm *vm, unsigned i, struct vm_ram *ram);
/*
 * Read-only for the guest: its stores are lost, without a fault.  A list of page-aligned ranges,
 * all of them in RAM as vm_gpa_ram knows it; it changes only with ops->mem_changed.
 */
bool vm_gpa_is_rom(const struct vm *vm, vm_paddr_t gpa);
bool vm_rom_at(const struct vm *vm, unsigned index, vm_paddr_t *gpa, size_t *len);
/* For the dirty log: these bytes have been written. Nothing, if there is no log. Any. */
void vm_dirty_note(struct vm *vm, vm_paddr_t gpa, size_t len);
/* True for the LAPIC, I/O APIC and HPET pages, which the core serves itself. */
bool vm_gpa_is_chip(struct vm *vm, vm_paddr_t gpa);
/*
 * For vmrun, on its own vcpu, instead of an exit: the part of an instruction that reaches memory outside RAM.
 * False, with nothing done: it is for the user.  An exit that a write leads to follows when the guest is left next.
 */
bool vm_chip_load(struct vm *vm, int vcpu, vm_paddr_t gpa, void *buf, unsigned len);
bool vm_chip_store(struct vm *vm, int vcpu, vm_paddr_t gpa, const void *buf, unsigned len);
/* The same for a port of 1, 2 or 4 bytes: 0, or ENOENT if no chip has it. */
int vm_ioport(struct vm *vm, int vcpu, bool in, int port, int bytes, uint32_t *val);
/*
 * The same three for the user's devices (vm_set_devices). They run C code of any kind: no register
 * of the host's may hold anything of the guest's.
 */
bool vm_has_devices(struct vm *vm);
bool vm_device_load(struct vm *vm, int vcpu, vm_paddr_t gpa, void *buf, unsigned len);
bool vm_device_store(struct vm *vm, int vcpu, vm_paddr_t gpa, const void *buf, unsigned len);
int vm_device_port(struct vm *vm, int vcpu, bool in, int port, int bytes, uint32_t *val);
/*
 * For vmrun, on its own vcpu, through cpu_get and cpu_put: the software CPU executes the instruction at
 * exit->rip, where exit is the vcpu's record, and sets rip and inst_length to where to go on.  A fault of the
 * instruction has been queued then.  0; ENOTSUP: nothing done, the struct x86_cpu's `exit` says what it
 * takes; EFAULT: the instruction is not in RAM.
 */
int vm_execute_instruction(struct vm *vm, int vcpu, struct vm_exit *exit) VMM_MUST_CHECK;
/*
 * The same for the delivery of an event (VM_INTINFO_*) at `rip`.  A fault in it has been queued, and the event
 * put back by vm_exit_intinfo, to be combined.
 */
int vm_execute_event(struct vm *vm, int vcpu, uint64_t rip, uint64_t info) VMM_MUST_CHECK;
/* What the backend's vminit returned; another one after vm_reinit. */
void *vm_vmi(struct vm *vm);
struct vmm_clock *vm_clock(struct vm *vm);
/* The chips that vmm.h has no accessor for. Borrowed until vm_reinit. Any+locks. */
struct vrtc *vm_rtc(struct vm *vm);
struct vpmtmr *vm_pmtmr(struct vm *vm);
/* Active vcpus as a bit mask. Any+locks. */
uint32_t vm_active_mask(struct vm *vm);

/*
 * True when vm_run's thread should return to its caller (stop request, somebody wants the vcpu):
 * vmrun step 4.
 */
bool vcpu_should_yield(struct vm *vm, int vcpu);

/*
 * MSRs that the core owns (APIC base, x2APIC, the table of vmm-api.md 11.1 that is not CPU state).
 * 0; EPERM: raise #GP(0); ENOENT: unknown, leave it to the user with an RDMSR or WRMSR exit.
 */
int vm_rdmsr(struct vm *vm, int vcpu, uint32_t msr, uint64_t *value);
int vm_wrmsr(struct vm *vm, int vcpu, uint32_t msr, uint64_t value);

/* The default vmspace_alloc/vmspace_free and vlapic_init/vlapic_cleanup of a user-space backend. */
struct vmspace *vmspace_generic_alloc(vm_offset_t min, vm_offset_t max);
void vmspace_generic_free(struct vmspace *vmspace);
struct pmap *vmspace_pmap(struct vmspace *vmspace);
struct vlapic *vlapic_generic_init(struct vm *vm, int vcpu);
void vlapic_generic_cleanup(struct vlapic *vlapic);

/* Adds to a counter: `which` is an enum vmm_stat, plus the index into an array. Any+locks. */
void vmm_stat_incr(struct vm *vm, int vcpu, int which, uint64_t delta);

/*
 * What exits say of a processor's state, made of it alone.  Inline: a backend may call them while the
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
