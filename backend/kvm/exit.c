/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Exits of KVM to exits of vmm.h (vmm-api.md 6.2).
 *
 * What a chip answers is answered at once, and KVM finishes the instruction when it is entered
 * next.  What the user shall answer must look as on every backend: the registers before the
 * instruction, its length, and nothing of it done; so KVM is made to finish it, what that did to
 * registers is undone, and the exit is made of what the instruction is.
 */
#include <sys/mman.h>

#include "backend/record.h"
#include "backend/kvm/kvm.h"

#define INTERNAL_ERROR_EMULATION 1 /* KVM_INTERNAL_ERROR_EMULATION */

static struct vm_exit *record(struct kvm_cpu *c)
{
	return vm_exitinfo(c->vm, c->vcpuid);
}

static enum kvm_end leave(struct kvm_cpu *c, enum vm_exitcode code, uint64_t rip, unsigned length)
{
	struct vm_exit *e = record(c);

	e->exitcode = code;
	e->rip = rip;
	e->inst_length = (int)length;
	c->trap_rip = rip + length;
	c->trap_due = c->regs->regs.rflags & X86_RF_TF;
	return KVM_LEAVE;
}

/* The last resort: what KVM said, raw. */
static enum kvm_end leave_raw(struct kvm_cpu *c, uint64_t qualification)
{
	struct vm_exit *e = record(c);

	e->u.vmx.status = 0;
	e->u.vmx.exit_reason = c->run->exit_reason;
	e->u.vmx.exit_qualification = qualification;
	return leave(c, VM_EXITCODE_VMX, c->regs->regs.rip, 0);
}

/* ---- Made of the registers and the instruction ---- */

static enum kvm_end leave_mmio(struct kvm_cpu *c)
{
	const struct x86_exit *x = &c->cpu.exit;
	struct vm_exit *e = record(c);

	if (x->mmio.size == 0) {
		e->u.paging.gpa = x->mmio.gpa;
		e->u.paging.fault_type = PROT_EXEC;
		return leave(c, VM_EXITCODE_PAGING, c->cpu.rip, 0);
	}
	memset(&e->u.inst_emul, 0, sizeof(e->u.inst_emul));
	e->u.inst_emul.gpa = x->mmio.gpa;
	e->u.inst_emul.gla = x->mmio.gla;
	e->u.inst_emul.cs_d = (c->cpu.seg[X86_CS].access & X86_SEG_DB) != 0;
	e->u.inst_emul.paging = vm_paging_of(&c->cpu);
	return leave(c, VM_EXITCODE_INST_EMUL, c->cpu.rip, 0);
}

static enum kvm_end leave_task(struct kvm_cpu *c, unsigned length)
{
	const struct x86_exit *x = &c->cpu.exit;
	struct vm_exit *e = record(c);

	e->u.task_switch = vm_task_switch_of(&c->cpu);
	return leave(c, VM_EXITCODE_TASK_SWITCH, c->cpu.rip, x->task.external ? 0 : length);
}

/* c->cpu.exit of an instruction of `length` bytes at c->cpu.rip. */
static enum kvm_end leave_as_cpu(struct kvm_cpu *c, unsigned length)
{
	const struct x86_exit *x = &c->cpu.exit;
	struct vm_exit *e = record(c);

	switch (x->reason) {
	case X86_EXIT_IO:
		e->u.inout = vm_inout_of(&c->cpu);
		return leave(c, VM_EXITCODE_INOUT, c->cpu.rip, length);
	case X86_EXIT_IO_STRING:
		e->u.inout_str = vm_inout_str_of(&c->cpu);
		return leave(c, VM_EXITCODE_INOUT_STR, c->cpu.rip, length);
	case X86_EXIT_HLT:
		e->u.hlt.rflags = c->cpu.rflags;
		return leave(c, VM_EXITCODE_HLT, c->cpu.rip, length);
	case X86_EXIT_RDMSR:
	case X86_EXIT_WRMSR:
		e->u.msr.code = x->msr.msr;
		e->u.msr.wval = x->msr.value;
		return leave(c, x->reason == X86_EXIT_RDMSR ? VM_EXITCODE_RDMSR : VM_EXITCODE_WRMSR,
			c->cpu.rip, length);
	case X86_EXIT_TASK_SWITCH:
		return leave_task(c, length);
	case X86_EXIT_MMIO:
		return leave_mmio(c);
	default:
		return leave_raw(c, x->reason);
	}
}

/* ---- Ports ---- */

static bool is_string(const struct x86_insn *insn)
{
	return insn->row->mnem == X86_I_ins || insn->row->mnem == X86_I_outs;
}

static bool is_port_in(const struct x86_insn *insn)
{
	return insn->row->mnem == X86_I_in || insn->row->mnem == X86_I_ins;
}

static enum kvm_end leave_port(struct kvm_cpu *c, const struct x86_insn *insn, unsigned length)
{
	kvm_state_view(c);
	c->cpu.exit = (struct x86_exit){
		.reason = is_string(insn) ? X86_EXIT_IO_STRING : X86_EXIT_IO,
		.io = {.port = c->run->io.port,
			.size = c->run->io.size,
			.in = c->run->io.direction == KVM_EXIT_IO_IN,
			.rep = is_string(insn) && insn->rep != 0,
			.addrsize = insn->addrsize,
			.seg = insn->row->mnem == X86_I_ins	 ? X86_ES
			       : insn->seg_override != X86_NOREG ? insn->seg_override
								 : X86_DS},
	};
	return leave_as_cpu(c, length);
}

/* INS will store what we give for whole pages: what is there already. */
static void feed_ins(struct kvm_cpu *c, uint8_t *data)
{
	const struct kvm_run *run = c->run;
	uint64_t bytes = (uint64_t)run->io.size * run->io.count, gla;
	unsigned n = 0;

	gla = c->cpu.seg[X86_ES].base + c->cpu.gpr[X86_RDI];
	if (c->cpu.rflags & X86_RF_DF)
		gla -= bytes - run->io.size;
	memset(data, 0, bytes);
	while (n < bytes) {
		unsigned piece = (unsigned)(4096 - (gla + n) % 4096);
		enum x86_result res;
		const void *from;

		if (piece > bytes - n)
			piece = (unsigned)(bytes - n);
		from = x86_map_walk(&c->cpu, gla + n, piece, X86_ACC_READ | X86_ACC_NOFAULT, &res);
		if (from)
			memcpy(data + n, from, piece);
		n += piece;
	}
}

/* What the processor has decoded KVM finishes only if it is entered at that very place. */
static _Atomic signed char *stands_on_out(struct kvm_cpu *c)
{
	return &c->guest->stands_on_out[c->regs->sregs.cr0 & X86_CR0_PE];
}

static enum kvm_end user_in(struct kvm_cpu *c, uint8_t *data, int *error)
{
	struct x86_insn insn;
	uint64_t next;

	kvm_state_view(c);
	if (x86_fetch(&c->cpu, &insn) != X86_DONE || !is_port_in(&insn))
		return leave_raw(c, c->run->io.port);
	if (!is_string(&insn) && atomic_load(stands_on_out(c)) > 0) {
		c->port_open = true;
		return leave_port(c, &insn, insn.len);
	}
	if (is_string(&insn))
		feed_ins(c, data);
	*error = kvm_settle(c, &next);
	return *error ? KVM_ERROR : leave_port(c, &insn, insn.len);
}

/* Is the instruction at rip the OUT that KVM tells of? */
static bool is_at_out(struct kvm_cpu *c, struct x86_insn *insn)
{
	const struct kvm_run *run = c->run;

	kvm_state_view(c);
	if (x86_fetch(&c->cpu, insn) != X86_DONE || insn->row->mnem != X86_I_out ||
		insn->op[1].size != run->io.size)
		return false;
	return (insn->op[0].kind == X86_OK_IMM ? (uint8_t)insn->imm
					       : (uint16_t)c->cpu.gpr[X86_RDX]) == run->io.port;
}

/*
 * KVM stands on an OUT if the processor has decoded it and behind it if KVM has.  What it does when
 * it is entered tells which, and which it is does not change.
 */
static enum kvm_end user_out(struct kvm_cpu *c, int *error)
{
	_Atomic signed char *on = stands_on_out(c);
	struct x86_insn insn;
	struct kvm_run *run = c->run;
	unsigned port = run->io.port, size = run->io.size;
	bool stands = is_at_out(c, &insn);
	uint64_t next;

	if (stands && atomic_load(on) > 0) {
		c->port_open = true;
		return leave_port(c, &insn, insn.len);
	}
	*error = kvm_settle(c, &next);
	if (*error)
		return KVM_ERROR;
	run->io.port = (uint16_t)port;
	run->io.size = (uint8_t)size;
	run->io.direction = KVM_EXIT_IO_OUT;
	if (next != c->regs->regs.rip) {
		if (!stands)
			return leave_raw(c, port);
		if (atomic_load(on) == 0)
			atomic_store(on, 1);
		return leave_port(c, &insn, insn.len);
	}
	if (!kvm_undo_out(c, port, size, &insn))
		return leave_raw(c, port);
	if (!is_string(&insn)) /* it also decodes what the processor might: never be sure again */
		atomic_store(on, -1);
	return leave_port(c, &insn, insn.len);
}

static uint32_t element(const uint8_t *data, unsigned size)
{
	uint32_t value = 0;

	memcpy(&value, data, size);
	return value;
}

/* A chip, or a device that the user has left with the core: 0, or ENOENT. */
static int ask_port(struct kvm_cpu *c, bool in, int number, unsigned size, uint32_t *value)
{
	if (vm_ioport(c->vm, c->vcpuid, in, number, (int)size, value) == 0)
		return 0;
	return vm_device_port(c->vm, c->vcpuid, in, number, (int)size, value);
}

static enum kvm_end port(struct kvm_cpu *c, int *error)
{
	struct kvm_run *run = c->run;
	bool in = run->io.direction == KVM_EXIT_IO_IN;
	unsigned size = run->io.size;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	for (unsigned i = 0; i < run->io.count; i++, data += size) {
		uint32_t value = in ? UINT32_MAX : element(data, size);

		if (ask_port(c, in, run->io.port, size, &value) == ENOENT && i == 0)
			return in ? user_in(c, data, error) : user_out(c, error);
		if (in)
			memcpy(data, &value, size);
	}
	c->completing = true;
	return KVM_AGAIN;
}

/* ---- Device memory ---- */

static bool uses_vectors(const struct x86_insn *insn)
{
	if (insn->row->class == X86_SYSTEM)
		return true;
	for (unsigned i = 0; i < insn->nops; i++)
		if (insn->op[i].kind >= X86_OK_ST)
			return true;
	return (insn->row->props & (X86_P_X87 | X86_P_MMX | X86_P_SSE | X86_P_AVX)) != 0;
}

/* The linear address that led to gpa, if the operand tells. */
static uint64_t linear_of(struct kvm_cpu *c, const struct x86_insn *insn, uint64_t gpa)
{
	struct x86_walk w;
	uint64_t gla;

	if (!insn->has_mem)
		return 1ull << 63;
	gla = x86_effective(&c->cpu, insn);
	if (x86_code_size(&c->cpu) != 64)
		gla = (uint32_t)(c->cpu.seg[insn->mem.seg].base + gla);
	else if (insn->mem.seg == X86_FS || insn->mem.seg == X86_GS)
		gla += c->cpu.seg[insn->mem.seg].base;
	if (x86_walk(&c->cpu, gla, X86_ACC_READ | X86_ACC_NOFAULT, &w) != X86_DONE || w.gpa != gpa)
		return 1ull << 63;
	return gla;
}

/* The user's device: c->regs are those before the instruction. */
static enum kvm_end leave_device(struct kvm_cpu *c, const struct x86_insn *insn, uint64_t gpa)
{
	kvm_state_view(c);
	c->cpu.exit = (struct x86_exit){
		.reason = X86_EXIT_MMIO,
		.mmio = {.gpa = gpa, .gla = linear_of(c, insn, gpa), .size = 1},
	};
	c->light = !uses_vectors(insn);
	return leave_mmio(c);
}

/* A load: KVM has done nothing yet, and may go on with zeros if it has only one element to do. */
static enum kvm_end user_load(struct kvm_cpu *c, int *error)
{
	uint64_t gpa = c->run->mmio.phys_addr, next;
	struct x86_insn insn;
	__u64 count;

	kvm_state_view(c);
	if (x86_fetch(&c->cpu, &insn) != X86_DONE)
		return leave_raw(c, gpa);
	if (uses_vectors(&insn)) { /* one of them may be the destination */
		*error = kvm_state_load(c, KVM_PART_FPU);
		if (*error)
			return KVM_ERROR;
		c->put |= KVM_PART_FPU;
	}
	memset(c->run->mmio.data, 0, sizeof(c->run->mmio.data));
	count = c->regs->regs.rcx;
	if (insn.rep) {
		c->regs->regs.rcx = 1;
		c->dirty |= KVM_SYNC_X86_REGS;
	}
	*error = kvm_settle(c, &next);
	if (*error)
		return KVM_ERROR;
	if (insn.rep) {
		c->regs->regs.rcx = count;
		c->dirty |= KVM_SYNC_X86_REGS;
	}
	return leave_device(c, &insn, gpa);
}

static enum kvm_end user_store(struct kvm_cpu *c, int *error)
{
	uint64_t gpa = c->run->mmio.phys_addr, next;
	unsigned size = c->run->mmio.len;
	struct x86_insn insn;
	uint8_t data[8];

	memcpy(data, c->run->mmio.data, sizeof(data));
	*error = kvm_settle(c, &next);
	if (*error)
		return KVM_ERROR;
	if (!kvm_undo_store(c, gpa, data, size, &insn))
		return leave_raw(c, gpa);
	return leave_device(c, &insn, gpa);
}

/* What goes to read-only memory is lost, and thereby done. */
static bool store_done(struct kvm_cpu *c)
{
	uint64_t gpa = c->run->mmio.phys_addr;
	const void *data = c->run->mmio.data;
	unsigned len = c->run->mmio.len;

	return vm_gpa_is_rom(c->vm, gpa) || vm_chip_store(c->vm, c->vcpuid, gpa, data, len) ||
	       vm_device_store(c->vm, c->vcpuid, gpa, data, len);
}

static bool load_done(struct kvm_cpu *c)
{
	uint64_t gpa = c->run->mmio.phys_addr;
	void *data = c->run->mmio.data;
	unsigned len = c->run->mmio.len;

	return vm_chip_load(c->vm, c->vcpuid, gpa, data, len) ||
	       vm_device_load(c->vm, c->vcpuid, gpa, data, len);
}

static enum kvm_end mmio(struct kvm_cpu *c, int *error)
{
	bool write = c->run->mmio.is_write;

	if (!(write ? store_done(c) : load_done(c)))
		return write ? user_store(c, error) : user_load(c, error);
	c->completing = true;
	return KVM_AGAIN;
}

/* ---- The others ---- */

static enum kvm_end msr(struct kvm_cpu *c, int *error)
{
	bool read = c->run->exit_reason == KVM_EXIT_X86_RDMSR;
	uint32_t number = c->run->msr.index;
	uint64_t value = c->run->msr.data, next;
	struct vm_exit *e = record(c);

	if (kvm_msr_exit(c)) {
		c->completing = true;
		return KVM_AGAIN;
	}
	c->run->msr.error = 0;
	*error = kvm_settle(c, &next);
	if (*error)
		return KVM_ERROR;
	e->u.msr.code = number;
	e->u.msr.wval = read ? 0 : value;
	return leave(c, read ? VM_EXITCODE_RDMSR : VM_EXITCODE_WRMSR, c->regs->regs.rip,
		(unsigned)(next - c->regs->regs.rip));
}

/* KVM stands behind it; the core wants to be told where it is, one byte before. */
static enum kvm_end hlt(struct kvm_cpu *c)
{
	record(c)->u.hlt.rflags = c->regs->regs.rflags;
	return leave(c, VM_EXITCODE_HLT, c->regs->regs.rip - 1, 1);
}

/*
 * What KVM's emulator does not know, the software CPU does: this one instruction. Or it finds that
 * it takes an exit.
 */
static enum kvm_end emulate(struct kvm_cpu *c, int *error)
{
	struct vm_exit *e = record(c);
	struct x86_insn insn;
	int code;

	e->rip = c->regs->regs.rip;
	e->inst_length = 0;
	c->light = false;
	c->stat_emulated++;
	code = vm_execute_instruction(c->vm, c->vcpuid, e);
	if (code == 0) {
		kvm_state_set_rip(c, e->rip + (uint64_t)e->inst_length);
		return KVM_AGAIN;
	}
	kvm_state_view(c);
	if (code == EFAULT && c->cpu.exit.reason == X86_EXIT_MMIO)
		return leave_as_cpu(c, 0);
	if (code == ENOTSUP)
		return leave_as_cpu(c, x86_fetch(&c->cpu, &insn) == X86_DONE ? insn.len : 0);
	*error = kvm_failed(c, code, "an instruction that KVM cannot emulate");
	return KVM_ERROR;
}

static enum kvm_end internal_error(struct kvm_cpu *c, int *error)
{
	if (c->run->internal.suberror == INTERNAL_ERROR_EMULATION)
		return emulate(c, error);
	return leave_raw(c, c->run->internal.suberror);
}

static enum kvm_end debug(struct kvm_cpu *c)
{
	if (!c->cap[VM_CAP_MTRAP_EXIT])
		return KVM_AGAIN;
	leave(c, VM_EXITCODE_MTRAP, c->regs->regs.rip, 0);
	c->trap_due = false;
	return KVM_LEAVE;
}

static bool loads_ss(const struct x86_insn *insn)
{
	return (insn->row->mnem == X86_I_mov || insn->row->mnem == X86_I_pop) && insn->nops > 0 &&
	       insn->op[0].kind == X86_OK_SEG && insn->op[0].reg == X86_SS;
}

bool kvm_step_over_ss(struct kvm_cpu *c, enum kvm_end *how, int *error)
{
	const struct kvm_vcpu_events *e = &c->regs->events;
	struct x86_insn insn;

	if (e->exception.injected || e->interrupt.injected || e->nmi.injected || e->nmi.pending)
		return false;
	kvm_state_view(c);
	if (x86_fetch(&c->cpu, &insn) != X86_DONE || !loads_ss(&insn))
		return false;
	*how = emulate(c, error);
	if (*how == KVM_AGAIN)
		*how = debug(c);
	return true;
}

enum kvm_end kvm_exit(struct kvm_cpu *c, int *error)
{
	switch (c->run->exit_reason) {
	case KVM_EXIT_IO:
		return port(c, error);
	case KVM_EXIT_MMIO:
		return mmio(c, error);
	case KVM_EXIT_HLT:
		return hlt(c);
	case KVM_EXIT_X86_RDMSR:
	case KVM_EXIT_X86_WRMSR:
		return msr(c, error);
	case KVM_EXIT_IRQ_WINDOW_OPEN:
	case KVM_EXIT_SET_TPR:
	case KVM_EXIT_INTR:
		return KVM_AGAIN;
	case KVM_EXIT_DEBUG:
		return debug(c);
	case KVM_EXIT_SHUTDOWN:
		(void)vm_suspend(c->vm, VM_SUSPEND_TRIPLEFAULT);
		return KVM_AGAIN;
	case KVM_EXIT_INTERNAL_ERROR:
		return internal_error(c, error);
	case KVM_EXIT_FAIL_ENTRY:
		return leave_raw(c, c->run->fail_entry.hardware_entry_failure_reason);
	default:
		return leave_raw(c, c->run->hw.hardware_exit_reason);
	}
}
