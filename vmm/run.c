/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * vm_run (vmm-api.md 6): the backend runs the guest until an exit; a table says who finishes each
 * kind. A handler returns an errno, which ends vm_run, and sets *retu for an exit that is the
 * user's; otherwise the guest goes on at exit.rip + exit.inst_length.
 */
#include <sched.h>
#include <sys/mman.h>

#include <vmm/vioapic.h>
#include <vmm/vlapic.h>

#include "vmm/vm.h"
#include "x86/x86.h"

struct vm_exit *vm_exitinfo(struct vm *vm, int vcpuid)
{
	assert(vcpu_valid(vcpuid));
	return &vm->vcpu[vcpuid].exitinfo;
}

/* Counters that the vcpu's own thread alone adds to need no locked operation. */
static void count(struct vm *vm, int vcpuid, int which, uint64_t delta)
{
	_Atomic uint64_t *stat = &vm->vcpu[vcpuid].stats[which];

	atomic_store_explicit(stat, atomic_load_explicit(stat, memory_order_relaxed) + delta,
		memory_order_relaxed);
}

/* ---- Exits that vmrun makes out of a request instead of guest code ---- */

static struct vm_exit *request_exit(struct vm *vm, int vcpuid, enum vm_exitcode code, uint64_t rip)
{
	struct vm_exit *exit = vm_exitinfo(vm, vcpuid);

	exit->exitcode = code;
	exit->rip = rip;
	exit->inst_length = 0;
	return exit;
}

void vm_exit_suspended(struct vm *vm, int vcpuid, uint64_t rip)
{
	struct vm_exit *exit = request_exit(vm, vcpuid, VM_EXITCODE_SUSPENDED, rip);

	assert(vm_is_suspended(vm));
	exit->u.suspended.how =
		(enum vm_suspend_how)__atomic_load_n(&vm->suspend, __ATOMIC_SEQ_CST);
}

void vm_exit_rendezvous(struct vm *vm, int vcpuid, uint64_t rip)
{
	request_exit(vm, vcpuid, VM_EXITCODE_RENDEZVOUS, rip);
	count(vm, vcpuid, VMM_STAT_EXIT_RENDEZVOUS, 1);
}

void vm_exit_astpending(struct vm *vm, int vcpuid, uint64_t rip)
{
	request_exit(vm, vcpuid, VM_EXITCODE_BOGUS, rip);
	count(vm, vcpuid, VMM_STAT_EXIT_ASTPENDING, 1);
}

/* ---- Handlers ---- */

static int handle_user(struct vm *vm, int vcpuid, bool *retu)
{
	(void)vm;
	(void)vcpuid;
	*retu = true;
	return 0;
}

/*
 * The wait was left for the user's sake: the next vm_run resumes it, or the exit itself, at `rip`.
 */
static int leave_bogus(struct vm *vm, int vcpuid, uint64_t rip, bool *retu)
{
	vm_exit_astpending(vm, vcpuid, rip);
	*retu = true;
	return 0;
}

static int handle_hlt(struct vm *vm, int vcpuid, bool *retu)
{
	struct vcpu *vcpu = &vm->vcpu[vcpuid];
	uint64_t next = vcpu->exitinfo.rip + (uint64_t)vcpu->exitinfo.inst_length;
	bool intr_enabled = (vcpu->exitinfo.u.hlt.rflags & X86_RF_IF) != 0;

	if (vcpu_idle_hlt(vm, vcpuid, intr_enabled) == IDLE_EVENT)
		return 0;
	vcpu->halted = true;
	vcpu->halt_rip = next;
	return leave_bogus(vm, vcpuid, next, retu);
}

/* All RAM is mapped up front, so a fault on it has resolved itself; elsewhere there is nothing. */
static int handle_paging(struct vm *vm, int vcpuid, bool *retu)
{
	struct vm_exit *exit = vm_exitinfo(vm, vcpuid);

	(void)retu;
	if (!vm_mem_allocated(vm, exit->u.paging.gpa))
		return EFAULT;
	exit->inst_length = 0;
	return 0;
}

static int handle_inout(struct vm *vm, int vcpuid, bool *retu)
{
	struct vm_inout *io = &vm_exitinfo(vm, vcpuid)->u.inout;
	uint32_t mask = io->bytes == 4 ? UINT32_MAX : (1u << io->bytes * 8) - 1;
	uint32_t val = io->in ? mask : io->eax & mask;

	if (io->string ||
		(vm_ioport(vm, vcpuid, io->in, io->port, io->bytes, &val) == ENOENT &&
			vm_device_port(vm, vcpuid, io->in, io->port, io->bytes, &val) == ENOENT)) {
		*retu = true;
		return 0;
	}
	return io->in ? vm_inout_merge(vm, vcpuid, io, val) : 0;
}

static int handle_rendezvous(struct vm *vm, int vcpuid, bool *retu)
{
	if (vm_rendezvous_join(vm, vcpuid))
		return 0;
	return leave_bogus(vm, vcpuid, vm_exitinfo(vm, vcpuid)->rip, retu);
}

static int handle_ioapic_eoi(struct vm *vm, int vcpuid, bool *retu)
{
	(void)retu;
	vioapic_process_eoi(vm, vcpuid, vm_exitinfo(vm, vcpuid)->u.ioapic_eoi.vector);
	return 0;
}

static int handle_suspended(struct vm *vm, int vcpuid, bool *retu)
{
	if (vcpu_idle_suspend(vm, vcpuid) == IDLE_YIELD)
		return leave_bogus(vm, vcpuid, vm_exitinfo(vm, vcpuid)->rip, retu);
	*retu = true;
	return 0;
}

/*
 * Either really for the user, or the vcpu itself left guest code to look at something of the
 * core's.
 */
static int handle_bogus(struct vm *vm, int vcpuid, bool *retu)
{
	struct vcpu *vcpu = &vm->vcpu[vcpuid];

	if (vcpu->spinup.pending) {
		vcpu->spinup.pending = false;
		vcpu->exitinfo.exitcode = VM_EXITCODE_SPINUP_AP;
		vcpu->exitinfo.u.spinup_ap.vcpu = vcpu->spinup.vcpu;
		vcpu->exitinfo.u.spinup_ap.rip = vcpu->spinup.rip;
		*retu = true;
		return 0;
	}
	*retu = vcpu_user_yield(vcpu) || !vlapic_boot_event_pending(vcpu->vlapic);
	return 0;
}

struct exit_class {
	int (*handle)(struct vm *vm, int vcpuid, bool *retu); /* NULL: the user's */
	int stat; /* enum vmm_stat, -1: counted elsewhere or not at all */
};

static const struct exit_class exit_classes[VM_EXITCODE_MAX] = {
	[VM_EXITCODE_INOUT] = {handle_inout, VMM_STAT_EXIT_INOUT},
	[VM_EXITCODE_VMX] = {NULL, VMM_STAT_EXIT_UNKNOWN},
	[VM_EXITCODE_BOGUS] = {handle_bogus, -1},
	[VM_EXITCODE_RDMSR] = {NULL, VMM_STAT_EXIT_RDMSR},
	[VM_EXITCODE_WRMSR] = {NULL, VMM_STAT_EXIT_WRMSR},
	[VM_EXITCODE_HLT] = {handle_hlt, VMM_STAT_EXIT_HLT},
	[VM_EXITCODE_MTRAP] = {NULL, VMM_STAT_EXIT_MTRAP},
	[VM_EXITCODE_PAUSE] = {NULL, VMM_STAT_EXIT_PAUSE},
	[VM_EXITCODE_PAGING] = {handle_paging, VMM_STAT_EXIT_NESTED_FAULT},
	[VM_EXITCODE_INST_EMUL] = {vm_handle_inst_emul, VMM_STAT_EXIT_INST_EMUL},
	[VM_EXITCODE_SPINUP_AP] = {NULL, -1},
	[VM_EXITCODE_DEPRECATED1] = {NULL, -1},
	[VM_EXITCODE_RENDEZVOUS] = {handle_rendezvous, -1},
	[VM_EXITCODE_IOAPIC_EOI] = {handle_ioapic_eoi, -1},
	[VM_EXITCODE_SUSPENDED] = {handle_suspended, -1},
	[VM_EXITCODE_INOUT_STR] = {handle_inout, VMM_STAT_EXIT_INOUT},
	[VM_EXITCODE_TASK_SWITCH] = {NULL, -1},
};

static int dispatch(struct vm *vm, int vcpuid, bool *retu)
{
	unsigned code = vm_exitinfo(vm, vcpuid)->exitcode;
	const struct exit_class *class;

	if (code >= VM_EXITCODE_MAX)
		return handle_user(vm, vcpuid, retu);
	class = &exit_classes[code];
	if (class->stat >= 0)
		count(vm, vcpuid, class->stat, 1);
	return (class->handle != NULL ? class->handle : handle_user)(vm, vcpuid, retu);
}

/* ---- Before the guest is entered ---- */

/* A HLT that an earlier vm_run left. Moving rip or queueing an exception has ended it. */
static enum idle_end resume_hlt(struct vm *vm, int vcpuid, uint64_t rip)
{
	struct vcpu *vcpu = &vm->vcpu[vcpuid];
	uint64_t rflags = 0;

	vcpu->halted = false;
	if (rip != vcpu->halt_rip)
		return IDLE_EVENT;
	(void)vm->ops->vmgetreg(vm->vmi, vcpuid, VM_REG_GUEST_RFLAGS, &rflags);
	if (vcpu_idle_hlt(vm, vcpuid, (rflags & X86_RF_IF) != 0) == IDLE_EVENT)
		return IDLE_EVENT;
	vcpu->halted = true;
	return IDLE_YIELD;
}

/* INIT and STARTUP that other vcpus sent to this running one. */
static enum idle_end take_boot_events(struct vm *vm, int vcpuid, uint64_t *rip, int *error)
{
	struct vlapic *vlapic = vm->vcpu[vcpuid].vlapic;
	uint8_t vector;

	while (*error == 0) {
		switch (vlapic_take_boot_event(vlapic, &vector)) {
		case VLAPIC_BOOT_INIT:
			*error = vcpu_init_reset(vm, vcpuid);
			break;
		case VLAPIC_BOOT_STARTUP:
			*error = vcpu_startup(vm, vcpuid, vector);
			break;
		case VLAPIC_BOOT_NONE:
			if (!vlapic_waits_for_sipi(vlapic) || vm_is_suspended(vm))
				return IDLE_EVENT;
			if (vcpu_idle_sipi(vm, vcpuid) == IDLE_YIELD)
				return IDLE_YIELD;
			continue;
		}
		if (*error == 0)
			*error = vm->ops->vmgetreg(vm->vmi, vcpuid, VM_REG_GUEST_RIP, rip);
	}
	return IDLE_EVENT;
}

static enum idle_end before_entry(struct vm *vm, int vcpuid, uint64_t *rip, int *error)
{
	struct vcpu *vcpu = &vm->vcpu[vcpuid];

	if (vcpu->halted && resume_hlt(vm, vcpuid, *rip) == IDLE_YIELD)
		return IDLE_YIELD;
	if (!vlapic_boot_event_pending(vcpu->vlapic) && !vlapic_waits_for_sipi(vcpu->vlapic))
		return IDLE_EVENT;
	vcpu->halted = false;
	return take_boot_events(vm, vcpuid, rip, error);
}

/* ---- The loop ---- */

static void count_migration(struct vm *vm, int vcpuid)
{
	struct vcpu *vcpu = &vm->vcpu[vcpuid];
	int hostcpu;

	vcpu_get_state(vm, vcpuid, &hostcpu);
	if (hostcpu == vcpu->last_hostcpu)
		return;
	if (vcpu->last_hostcpu >= 0)
		count(vm, vcpuid, VMM_STAT_MIGRATIONS, 1);
	vcpu->last_hostcpu = hostcpu;
}

static int enter(struct vm *vm, int vcpuid, uint64_t rip)
{
	uint64_t start;
	int error = vcpu_set_state(vm, vcpuid, VCPU_RUNNING, false);

	if (error != 0)
		return error;
	count_migration(vm, vcpuid);
	start = __builtin_ia32_rdtsc();
	error = vm->ops->vmrun(vm->vmi, vcpuid, (register_t)rip, vmspace_pmap(vm->vmspace),
		&vm->rendezvous.func, &vm->suspend);
	count(vm, vcpuid, VMM_STAT_TOTAL_RUNTIME, __builtin_ia32_rdtsc() - start);
	count(vm, vcpuid, VMM_STAT_EXITS, 1);
	vcpu_left_guest(&vm->vcpu[vcpuid]);
	return error;
}

static int run_once(struct vm *vm, int vcpuid, uint64_t *rip, bool *retu)
{
	struct vm_exit *exit = vm_exitinfo(vm, vcpuid);
	int error = 0;

	if (before_entry(vm, vcpuid, rip, &error) == IDLE_YIELD)
		return leave_bogus(vm, vcpuid, *rip, retu);
	if (error == 0)
		error = enter(vm, vcpuid, *rip);
	if (error == 0)
		error = dispatch(vm, vcpuid, retu);
	*rip = exit->rip + (uint64_t)exit->inst_length;
	return error;
}

/* An IPI started several vcpus: the exits that remained from the one before. */
static bool next_spinup(struct vm *vm, int vcpuid, uint64_t rip)
{
	struct vm_exit *exit = vm_exitinfo(vm, vcpuid);

	if (!vlapic_next_spinup(vm->vcpu[vcpuid].vlapic))
		return false;
	exit->rip = rip;
	exit->inst_length = 0;
	return true;
}

int vm_run(struct vm *vm, struct vm_run *vmrun)
{
	int vcpuid = vmrun->cpuid;
	uint64_t rip = vmrun->rip;
	struct vcpu *vcpu;
	bool retu;
	int error = 0;

	if (!vcpu_valid(vcpuid) || (atomic_load(&vm->active) >> vcpuid & 1) == 0 ||
		(atomic_load(&vm->suspended) >> vcpuid & 1) != 0)
		return EINVAL;
	vcpu = &vm->vcpu[vcpuid];
	vcpu->has_run = true;
	retu = next_spinup(vm, vcpuid, rip);
	while (error == 0 && !retu)
		error = run_once(vm, vcpuid, &rip, &retu);
	if (retu)
		count(vm, vcpuid, VMM_STAT_EXIT_USERSPACE, 1);
	if (atomic_load(&vcpu->yield))
		atomic_store(&vcpu->yield, false);
	vmrun->vm_exit = vcpu->exitinfo;
	return error;
}
