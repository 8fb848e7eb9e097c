/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Instructions that reach device memory, and hardware task switches, finished by the software CPU
 * on behalf of any backend.
 *
 * The backend lends the vcpu's struct x86_cpu.  While we hold it, its `ops` are ours, which serve
 * RAM from the VM and everything else from chips or the user's callbacks.
 *
 * x86/ executes vector and x87 instructions in the host's registers, and callbacks are ordinary C
 * code that uses them too: so for such an instruction the guest's are loaded, and parked around
 * each callback.
 */
#include <vmm/vlapic.h>

#include "vmm/vie.h"
#include "vmm/vm.h"


#define REP_MAX 4096 /* iterations of a string instruction in one go */

struct emul {
	struct vm *vm;
	int vcpuid;
	struct x86_cpu *cpu;
	const struct x86_ops *lent_ops; /* NULL: none */
	void *lent_owner;
	mem_region_read_t read; /* NULL: other addresses than the core's are an exit */
	mem_region_write_t write;
	void *arg;
	uint32_t seq; /* of the vcpu's events when we began */
	unsigned polls;
	bool vectors; /* the instruction uses vector or x87 registers */
	uint16_t fcw; /* the host's modes, to restore */
	uint32_t mxcsr;
	bool retu;	     /* an exit to the user stands in vm_exitinfo */
	uint64_t stored_gpa; /* RAM that was handed out for writing */
	unsigned stored_len;
};

static const struct x86_ops emul_ops;

static void take(struct emul *e)
{
	e->cpu->ops = &emul_ops;
	e->cpu->owner = e;
}

/* ---- Vector registers ---- */

static void fpu_to_guest(struct emul *e)
{
	if (!e->vectors)
		return;
	__asm__ volatile("fnstcw %0\n\tstmxcsr %1" : "=m"(e->fcw), "=m"(e->mxcsr));
	x86_fpu_load(e->cpu);
}

static void fpu_to_host(struct emul *e)
{
	if (!e->vectors)
		return;
	x86_fpu_save(e->cpu);
	__asm__ volatile("fninit\n\tfldcw %0\n\tldmxcsr %1" : : "m"(e->fcw), "m"(e->mxcsr));
}

static bool uses_vectors(const struct x86_insn *insn)
{
	const uint32_t props = X86_P_X87 | X86_P_MMX | X86_P_SSE | X86_P_AVX | X86_P_WAIT;

	/* SYSTEM rows include the XSAVE family, which no operand gives away. */
	if ((insn->row->props & props) != 0 || insn->row->class == X86_SYSTEM)
		return true;
	for (unsigned i = 0; i < insn->nops; i++)
		if (insn->op[i].kind >= X86_OK_ST)
			return true;
	return false;
}

/* ---- What the processor needs besides devices ---- */

/* A store is announced when it has been done: at the next one, or at the end. */
static void announce_write(struct emul *e, uint64_t gpa, unsigned len)
{
	vm_mem_written(e->vm, e->stored_gpa, e->stored_len);
	e->stored_gpa = gpa;
	e->stored_len = len;
}

static void *emul_ram(struct x86_cpu *cpu, uint64_t gpa, unsigned len, bool write)
{
	struct emul *e = cpu->owner;
	size_t contiguous;
	void *hva;

	fpu_to_host(e);
	hva = vm_gpa_ram(e->vm, gpa, &contiguous);
	if (hva != NULL && contiguous < len)
		hva = NULL;
	if (hva != NULL && write && vm_gpa_is_rom(e->vm, gpa))
		hva = memcpy(e->vm->vcpu[e->vcpuid].lost + (gpa & PAGE_MASK), hva, len);
	else if (hva != NULL && write)
		announce_write(e, gpa, len);
	fpu_to_guest(e);
	return hva;
}

/* The backend's caches of translations are the one thing that only it can flush. */
static void emul_flush(struct x86_cpu *cpu, enum x86_flush kind, uint64_t gla)
{
	struct emul *e = cpu->owner;

	if (e->lent_ops == NULL)
		return;
	fpu_to_host(e);
	cpu->ops = e->lent_ops;
	cpu->owner = e->lent_owner;
	e->lent_ops->flush(cpu, kind, gla);
	take(e);
	fpu_to_guest(e);
}

/* MSRs, CR8 and CPUID: no instruction with a memory operand uses them, a task switch neither. */
static enum x86_result msr_result(struct x86_cpu *cpu, int error)
{
	return error == 0 ? X86_DONE : x86_raise_error(cpu, X86_GP, 0);
}

static enum x86_result emul_rdmsr(struct x86_cpu *cpu, uint32_t msr, uint64_t *value)
{
	struct emul *e = cpu->owner;

	return msr_result(cpu, vm_rdmsr(e->vm, e->vcpuid, msr, value));
}

static enum x86_result emul_wrmsr(struct x86_cpu *cpu, uint32_t msr, uint64_t value)
{
	struct emul *e = cpu->owner;

	return msr_result(cpu, vm_wrmsr(e->vm, e->vcpuid, msr, value));
}

static void emul_cpuid(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	struct emul *e = cpu->owner;
	const struct x86_topology topology = {
		.apic_id = (uint32_t)e->vcpuid,
		.cores = e->vm->topology.cores,
		.threads = e->vm->topology.threads,
	};

	x86_cpuid(cpu, &topology, leaf, subleaf, out);
}

static struct vlapic *vlapic_of(struct x86_cpu *cpu)
{
	struct emul *e = cpu->owner;

	return e->vm->vcpu[e->vcpuid].vlapic;
}

static uint64_t emul_cr8_read(struct x86_cpu *cpu)
{
	return vlapic_get_cr8(vlapic_of(cpu));
}

static void emul_cr8_write(struct x86_cpu *cpu, uint64_t value)
{
	(void)vlapic_set_cr8(vlapic_of(cpu), value);
}

/*
 * Every event bumps seq, so a long REP to a device ends when the first comes; and now and then without one, so
 * that whoever called is back in bounded time.
 */
static bool emul_poll(struct x86_cpu *cpu)
{
	struct emul *e = cpu->owner;

	return ++e->polls >= REP_MAX || atomic_load(&e->vm->vcpu[e->vcpuid].seq) != e->seq;
}

/* ---- Device memory ---- */

static void device_read(struct emul *e, uint64_t gpa, uint64_t *value, unsigned size)
{
	*value = UINT64_MAX;
	if (vm_gpa_is_chip(e->vm, gpa))
		vm_chip_read(e->vm, e->vcpuid, gpa, value, (int)size);
	else if (e->read(e->vm, e->vcpuid, gpa, value, (int)size, e->arg) != 0)
		*value = UINT64_MAX;
}

static void device_write(struct emul *e, uint64_t gpa, uint64_t value, unsigned size)
{
	if (vm_gpa_is_chip(e->vm, gpa))
		vm_chip_write(e->vm, e->vcpuid, gpa, value, (int)size, &e->retu);
	else
		(void)e->write(e->vm, e->vcpuid, gpa, value, (int)size, e->arg);
}

static bool is_ours(struct emul *e, uint64_t gpa)
{
	return e->read != NULL || vm_gpa_is_chip(e->vm, gpa);
}

static enum x86_result mmio_exit(
	struct x86_cpu *cpu, uint64_t gla, uint64_t gpa, unsigned len, bool write)
{
	cpu->exit.reason = X86_EXIT_MMIO;
	cpu->exit.mmio.gpa = gpa;
	cpu->exit.mmio.gla = gla;
	cpu->exit.mmio.size = (uint8_t)len;
	cpu->exit.mmio.write = write;
	return X86_EXIT;
}

static enum x86_result emul_mmio_read(
	struct x86_cpu *cpu, uint64_t gla, uint64_t gpa, void *buf, unsigned len)
{
	struct emul *e = cpu->owner;
	uint8_t *to = buf;

	if (!is_ours(e, gpa))
		return mmio_exit(cpu, gla, gpa, len, false);
	fpu_to_host(e);
	while (len > 0) {
		unsigned size = vm_bus_piece(gpa, len);
		uint64_t value;

		device_read(e, gpa, &value, size);
		memcpy(to, &value, size);
		to += size;
		gpa += size;
		len -= size;
	}
	fpu_to_guest(e);
	return X86_DONE;
}

static enum x86_result emul_mmio_write(
	struct x86_cpu *cpu, uint64_t gla, uint64_t gpa, const void *buf, unsigned len)
{
	struct emul *e = cpu->owner;
	const uint8_t *from = buf;

	if (!is_ours(e, gpa))
		return mmio_exit(cpu, gla, gpa, len, true);
	fpu_to_host(e);
	while (len > 0) {
		unsigned size = vm_bus_piece(gpa, len);
		uint64_t value = 0;

		memcpy(&value, from, size);
		device_write(e, gpa, value, size);
		from += size;
		gpa += size;
		len -= size;
	}
	fpu_to_guest(e);
	return X86_DONE;
}

static const struct x86_ops emul_ops = {
	.ram = emul_ram,
	.map = x86_map_walk,
	.mmio_read = emul_mmio_read,
	.mmio_write = emul_mmio_write,
	.flush = emul_flush,
	.rdmsr = emul_rdmsr,
	.wrmsr = emul_wrmsr,
	.cr8_read = emul_cr8_read,
	.cr8_write = emul_cr8_write,
	.cpuid = emul_cpuid,
	.poll = emul_poll,
};

/* ---- Borrowing the processor ---- */

/* Host traps cost a microsecond to set up and are kept by the thread that has done it. */
static bool traps_ready(struct vcpu *vcpu)
{
	pthread_t self = pthread_self();

	if (!vcpu->emul_ready || !pthread_equal(vcpu->emul_thread, self)) {
		vcpu->emul_ready = x86_trap_keep() == 0;
		vcpu->emul_thread = self;
	}
	return vcpu->emul_ready;
}

static bool emul_begin(struct emul *e, struct vm *vm, int vcpuid, uint64_t rip)
{
	*e = (struct emul){.vm = vm, .vcpuid = vcpuid};
	if (vm->ops->cpu_get == NULL || !traps_ready(&vm->vcpu[vcpuid]))
		return false;
	e->cpu = vm->ops->cpu_get(vm->vmi, vcpuid);
	if (e->cpu == NULL)
		return false;
	e->lent_ops = e->cpu->ops;
	e->lent_owner = e->cpu->owner;
	e->seq = atomic_load(&vm->vcpu[vcpuid].seq);
	take(e);
	e->cpu->rip = rip;
	return true;
}

static int emul_end(struct emul *e)
{
	announce_write(e, 0, 0);
	e->cpu->ops = e->lent_ops;
	e->cpu->owner = e->lent_owner;
	return e->vm->ops->cpu_put(e->vm->vmi, e->vcpuid);
}

/* ---- Results ---- */

static void queue(struct emul *e, unsigned vector, bool has_error, uint32_t error)
{
	struct vm_exception vme = {
		.vector = (int)vector, .error_code = error, .error_code_valid = has_error};

	/* EBUSY: an earlier one goes first, and the restarted instruction raises this one again. */
	(void)vm_inject_exception(e->vm, e->vcpuid, &vme);
}

static void queue_fault(struct emul *e)
{
	const struct x86_fault *fault = &e->cpu->fault;

	if (fault->vector == X86_PF)
		e->cpu->cr2 = fault->cr2;
	if (fault->vector == X86_DB)
		e->cpu->dr[6] = x86_dr6_raised(e->cpu->dr[6], fault->dr6);
	queue(e, fault->vector, fault->has_error, fault->error);
}

static void continue_at(struct vm_exit *exit, const struct x86_cpu *cpu, int len)
{
	if (cpu->rip == exit->rip + (uint64_t)len) {
		exit->inst_length = len;
		return;
	}
	exit->rip = cpu->rip;
	exit->inst_length = 0;
}

/*
 * Executes at exit->rip.  DONE: rip, length and faults have been dealt with; EXIT as x86_execute.
 * An interrupt shadow ends with the instruction, unless that one casts a new one.
 */
static enum x86_result execute(struct emul *e, const struct x86_insn *insn, struct vm_exit *exit)
{
	struct x86_cpu *cpu = e->cpu;
	bool trap = (cpu->rflags & X86_RF_TF) != 0;
	uint8_t shadow = cpu->shadow;
	enum x86_result res;

	cpu->shadow = 0;
	e->vectors = uses_vectors(insn);
	fpu_to_guest(e);
	res = x86_execute(cpu, insn);
	fpu_to_host(e);
	e->vectors = false;
	switch (res) {
	case X86_EXIT:
		cpu->shadow = shadow;
		return X86_EXIT;
	case X86_FAULT:
		continue_at(exit, cpu, 0);
		queue_fault(e);
		return X86_DONE;
	case X86_AGAIN:
		continue_at(exit, cpu, 0);
		return X86_DONE;
	default:
		continue_at(exit, cpu, insn->len);
		if (trap) {
			cpu->dr[6] = x86_dr6_raised(cpu->dr[6], X86_DR6_BS);
			queue(e, X86_DB, false, 0);
		}
		return X86_DONE;
	}
}

/* ---- Inside vm_run ---- */

/* A backend that lends no processor: decode what bytes it gave, and leave the rest to the user. */
static void decode_given(struct vm_exit *exit)
{
	struct x86_insn insn;
	bool long_code = exit->u.inst_emul.paging.cpu_mode == CPU_MODE_64BIT;
	unsigned code_size = long_code ? 64 : exit->u.inst_emul.cs_d ? 32 : 16;

	if (vie_decode(&exit->u.inst_emul.vie, code_size, &insn))
		exit->inst_length = insn.len;
}

static int emulate_chip(struct emul *e, const struct x86_insn *insn, bool *retu)
{
	struct vm_exit *exit = vm_exitinfo(e->vm, e->vcpuid);

	if (execute(e, insn, exit) == X86_EXIT) {
		/* The other operand is the user's device: he does it all. */
		if (e->cpu->exit.reason == X86_EXIT_MMIO) {
			exit->u.inst_emul.gpa = e->cpu->exit.mmio.gpa;
			exit->u.inst_emul.gla = e->cpu->exit.mmio.gla;
		}
		*retu = true;
		return 0;
	}
	*retu = e->retu;
	return 0;
}

static int inst_emul(struct emul *e, bool *retu)
{
	struct vm_exit *exit = vm_exitinfo(e->vm, e->vcpuid);
	struct x86_insn insn;

	switch (x86_fetch(e->cpu, &insn)) {
	case X86_DONE:
		break;
	case X86_FAULT:
		queue_fault(e);
		exit->inst_length = 0;
		return 0;
	default:
		return EFAULT;
	}
	exit->inst_length = insn.len;
	vie_fill(&exit->u.inst_emul.vie, &insn);
	if (!vm_gpa_is_chip(e->vm, exit->u.inst_emul.gpa)) {
		*retu = true;
		return 0;
	}
	return emulate_chip(e, &insn, retu);
}

int vm_handle_inst_emul(struct vm *vm, int vcpuid, bool *retu)
{
	struct vm_exit *exit = vm_exitinfo(vm, vcpuid);
	struct emul e;
	int error, put_error;

	if (!emul_begin(&e, vm, vcpuid, exit->rip)) {
		decode_given(exit);
		*retu = true;
		return 0;
	}
	error = inst_emul(&e, retu);
	put_error = emul_end(&e);
	return error != 0 ? error : put_error;
}

/* ---- For the user ---- */

static int emulate_fetched(struct emul *e, struct vm_exit *exit)
{
	struct x86_insn insn;

	switch (x86_fetch(e->cpu, &insn)) {
	case X86_DONE:
		return execute(e, &insn, exit) == X86_EXIT ? ENOTSUP : 0;
	case X86_FAULT:
		queue_fault(e);
		exit->inst_length = 0;
		return 0;
	default:
		return EFAULT;
	}
}

int vm_emulate_instruction(struct vm *vm, int vcpuid, struct vm_exit *exit, mem_region_read_t read,
	mem_region_write_t write, void *arg)
{
	struct emul e;
	int error, put_error;

	if (!vcpu_valid(vcpuid) || read == NULL || write == NULL)
		return EINVAL;
	if (!emul_begin(&e, vm, vcpuid, exit->rip))
		return ENOTSUP;
	e.read = read;
	e.write = write;
	e.arg = arg;
	error = emulate_fetched(&e, exit);
	put_error = emul_end(&e);
	return error != 0 ? error : put_error;
}

/* ---- For a backend inside vmrun ---- */

int vm_execute_instruction(struct vm *vm, int vcpuid, struct vm_exit *exit)
{
	struct emul e;
	int error, put_error;

	if (!emul_begin(&e, vm, vcpuid, exit->rip))
		return ENOMEM;
	error = emulate_fetched(&e, exit);
	if (e.retu)
		vcpu_spinup_later(vm, vcpuid);
	put_error = emul_end(&e);
	return error != 0 ? error : put_error;
}

static struct x86_event event_of(uint64_t info, uint64_t rip)
{
	return (struct x86_event){
		.vector = VM_INTINFO_VECTOR(info),
		.type = (uint8_t)((info & VM_INTINFO_TYPE) >> 8),
		.has_error = (info & VM_INTINFO_DEL_ERRCODE) != 0,
		.error = (uint32_t)(info >> 32),
		.next_rip = rip,
	};
}

int vm_execute_event(struct vm *vm, int vcpuid, uint64_t rip, uint64_t info)
{
	const struct x86_event event = event_of(info, rip);
	enum x86_result res;
	struct emul e;
	int error;

	if (!emul_begin(&e, vm, vcpuid, rip))
		return ENOMEM;
	e.cpu->shadow = 0;
	res = x86_deliver(e.cpu, &event);
	if (res == X86_FAULT)
		queue_fault(&e);
	error = emul_end(&e);
	if (error == 0 && res != X86_DONE)
		error = vm_exit_intinfo(vm, vcpuid, info);
	return error == 0 && res == X86_EXIT ? ENOTSUP : error;
}

int vm_emulate_task_switch(struct vm *vm, int vcpuid, struct vm_exit *exit)
{
	const struct vm_task_switch ts = exit->u.task_switch;
	uint64_t next = exit->rip + (uint64_t)exit->inst_length;
	enum x86_result res;
	struct emul e;
	int error;

	if (!vcpu_valid(vcpuid))
		return EINVAL;
	if (!emul_begin(&e, vm, vcpuid, exit->rip))
		return ENOTSUP;
	res = x86_task_switch(e.cpu, ts.tsssel, (enum x86_task_reason)ts.reason, ts.ext != 0,
		ts.errcode_valid != 0, ts.errcode, next);
	exit->rip = e.cpu->rip;
	exit->inst_length = 0;
	if (res == X86_FAULT)
		queue_fault(&e);
	error = emul_end(&e);
	if (error == 0 && res == X86_EXIT)
		return EFAULT;
	/* The event that led through the task gate has been delivered. */
	if (error == 0 && res == X86_DONE && ts.reason == TSR_IDT_GATE)
		error = vm_exit_intinfo(vm, vcpuid, 0);
	return error;
}
