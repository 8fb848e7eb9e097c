/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* What each exit of vm_run asks of the machine (vmm-api.md 6.2, 12.7). */
#include "machine/assembly.h"

#include <errno.h>
#include <string.h>

#include "host/host.h"

static struct vm *vm_of(struct machine_vcpu *v)
{
	return v->machine->vm;
}

/* ---- ports ---- */

/* One instruction's port accesses. */
struct port_access {
	struct machine_vcpu *v;
	bool unclaimed;
	uint16_t port;
};

static int serve_port(
	struct vm *vm, int vcpu, bool in, uint16_t port, int bytes, uint32_t *eax, void *arg)
{
	struct port_access *access = arg;
	struct bus *bus = access->v->machine->bus;
	uint64_t value;
	bool claimed;

	(void)vm;
	(void)vcpu;
	if (in) {
		claimed = bus_read(bus, GUEST_PORTS, port, (unsigned)bytes, &value);
		*eax = (uint32_t)value;
	} else {
		claimed = bus_write(bus, GUEST_PORTS, port, (unsigned)bytes, *eax);
	}
	if (!claimed) {
		access->unclaimed = true;
		access->port = port;
	}
	return 0;
}

static enum exit_next finish_port(
	struct machine_vcpu *v, struct vm_exit *exit, const struct port_access *access, int error)
{
	if (error) {
		machine_fail(v->machine, error, "vcpu %d: string I/O at rip %#llx: %s", v->id,
			(unsigned long long)exit->rip, strerror(error));
		return EXIT_ABORT;
	}
	if (access->unclaimed && v->machine->settings.strict_io) {
		machine_fail(v->machine, EIO,
			"vcpu %d: the guest used port %#x, which nothing answers, at rip %#llx "
			"(-e)",
			v->id, access->port, (unsigned long long)exit->rip);
		return EXIT_ABORT;
	}
	return EXIT_CONTINUE;
}

static enum exit_next handle_inout(struct machine_vcpu *v, struct vm_exit *exit)
{
	struct port_access access = {.v = v};
	int error = vmmdev_emulate_inout(vm_of(v), v->id, exit, serve_port, &access);

	return finish_port(v, exit, &access, error);
}

/* ---- memory ---- */

static int read_page(struct vm *vm, int vcpu, uint64_t gpa, uint64_t *value, int size, void *arg)
{
	struct machine_vcpu *v = arg;

	(void)vm;
	(void)vcpu;
	bus_read(v->machine->bus, GUEST_MEMORY, gpa, (unsigned)size, value);
	return 0;
}

static int write_page(struct vm *vm, int vcpu, uint64_t gpa, uint64_t value, int size, void *arg)
{
	struct machine_vcpu *v = arg;

	(void)vm;
	(void)vcpu;
	bus_write(v->machine->bus, GUEST_MEMORY, gpa, (unsigned)size, value);
	return 0;
}

/* INS and OUTS have a port and memory, which may be a device's, too. */
static enum exit_next handle_inout_str(struct machine_vcpu *v, struct vm_exit *exit)
{
	const struct vm_inout_mem mem = {.read = read_page, .write = write_page, .arg = v};
	struct port_access access = {.v = v};
	int error = vmmdev_emulate_inout_str_mem(vm_of(v), v->id, exit, serve_port, &access, &mem);

	return finish_port(v, exit, &access, error);
}

static enum exit_next handle_inst_emul(struct machine_vcpu *v, struct vm_exit *exit)
{
	uint64_t gpa = exit->u.inst_emul.gpa, rip = exit->rip; /* emulation may reuse the record */
	int error = vmmdev_emulate_instruction(vm_of(v), v->id, exit, read_page, write_page, v);

	if (!error)
		return EXIT_CONTINUE;
	machine_fail(v->machine, error,
		"vcpu %d: cannot emulate the instruction at rip %#llx on address %#llx: %s", v->id,
		(unsigned long long)rip, (unsigned long long)gpa, strerror(error));
	return EXIT_ABORT;
}

/* ---- accesses that need no exit ---- */

static int serve_port_inside(
	struct vm *vm, int vcpu, bool in, uint16_t port, int bytes, uint32_t *eax, void *arg)
{
	struct machine *m = arg;
	uint64_t value;

	(void)vm;
	(void)vcpu;
	if (!in)
		return bus_write(m->bus, GUEST_PORTS, port, (unsigned)bytes, *eax) ? 0 : ENOENT;
	if (!bus_read(m->bus, GUEST_PORTS, port, (unsigned)bytes, &value))
		return ENOENT;
	*eax = (uint32_t)value;
	return 0;
}

static int read_inside(struct vm *vm, int vcpu, uint64_t gpa, uint64_t *value, int size, void *arg)
{
	struct machine *m = arg;

	(void)vm;
	(void)vcpu;
	return bus_read(m->bus, GUEST_MEMORY, gpa, (unsigned)size, value) ? 0 : ENOENT;
}

static int write_inside(struct vm *vm, int vcpu, uint64_t gpa, uint64_t value, int size, void *arg)
{
	struct machine *m = arg;

	(void)vm;
	(void)vcpu;
	return bus_write(m->bus, GUEST_MEMORY, gpa, (unsigned)size, value) ? 0 : ENOENT;
}

int exit_serve_inside(struct machine *m)
{
	const struct vm_devices devices = {serve_port_inside, read_inside, write_inside, m};

	return vmmdev_set_devices(m->vm, &devices);
}

/* ---- MSRs that the core does not know ---- */

static enum exit_next refuse_msr(struct machine_vcpu *v, const char *how, uint32_t msr)
{
	struct vm_exception gp = {.cpuid = v->id, .vector = 13, .error_code_valid = 1};
	int error = vmmdev_inject_exception(vm_of(v), &gp);

	log_debug(v->machine->guest.log, "msr", "%s of unknown MSR %#x: #GP", how, msr);
	if (!error)
		return EXIT_RESTART;
	machine_fail(v->machine, error, "vcpu %d: cannot inject #GP: %s", v->id, strerror(error));
	return EXIT_ABORT;
}

static enum exit_next handle_rdmsr(struct machine_vcpu *v, struct vm_exit *exit)
{
	if (v->machine->settings.strict_msr)
		return refuse_msr(v, "read", exit->u.msr.code);
	int error = vmmdev_set_register(vm_of(v), v->id, VM_REG_GUEST_RAX, 0);

	if (!error)
		error = vmmdev_set_register(vm_of(v), v->id, VM_REG_GUEST_RDX, 0);
	if (!error)
		return EXIT_CONTINUE;
	machine_fail(v->machine, error, "vcpu %d: rdmsr: %s", v->id, strerror(error));
	return EXIT_ABORT;
}

static enum exit_next handle_wrmsr(struct machine_vcpu *v, struct vm_exit *exit)
{
	if (v->machine->settings.strict_msr)
		return refuse_msr(v, "write", exit->u.msr.code);
	return EXIT_CONTINUE;
}

/* ---- the rest ---- */

static enum exit_next handle_spinup_ap(struct machine_vcpu *v, struct vm_exit *exit)
{
	int id = exit->u.spinup_ap.vcpu;
	int error = id > 0 && (unsigned)id < v->machine->settings.ncpus
			    ? vcpu_start_ap(v->machine, id, exit->u.spinup_ap.rip)
			    : 0; /* an APIC id that no processor has: nobody hears the IPI */

	if (!error)
		return EXIT_CONTINUE;
	machine_fail(v->machine, error, "cannot start vcpu %d: %s", id, strerror(error));
	return EXIT_ABORT;
}

static enum exit_next handle_task_switch(struct machine_vcpu *v, struct vm_exit *exit)
{
	int error = vmmdev_emulate_task_switch(vm_of(v), v->id, exit);

	if (!error)
		return EXIT_CONTINUE;
	machine_fail(v->machine, error, "vcpu %d: task switch at rip %#llx: %s", v->id,
		(unsigned long long)exit->rip, strerror(error));
	return EXIT_ABORT;
}

static enum exit_next handle_suspended(struct machine_vcpu *v, struct vm_exit *exit)
{
	pthread_mutex_lock(&v->machine->lock);
	v->machine->how = exit->u.suspended.how;
	pthread_mutex_unlock(&v->machine->lock);
	return EXIT_SUSPENDED;
}

static enum exit_next handle_vmx(struct machine_vcpu *v, struct vm_exit *exit)
{
	machine_fail(v->machine, EIO,
		"vcpu %d: the backend gave up at rip %#llx (reason %#x, %#llx)", v->id,
		(unsigned long long)exit->rip, exit->u.vmx.exit_reason,
		(unsigned long long)exit->u.vmx.exit_qualification);
	return EXIT_ABORT;
}

static enum exit_next go_on(struct machine_vcpu *v, struct vm_exit *exit)
{
	(void)v;
	(void)exit;
	return EXIT_CONTINUE;
}

static enum exit_next run_again(struct machine_vcpu *v, struct vm_exit *exit)
{
	(void)v;
	(void)exit;
	return EXIT_RESTART;
}

/* By exit code. The core finishes HLT, PAGING, RENDEZVOUS and IOAPIC_EOI itself. */
static enum exit_next (*const handlers[VM_EXITCODE_MAX])(
	struct machine_vcpu *, struct vm_exit *) = {
	[VM_EXITCODE_INOUT] = handle_inout,
	[VM_EXITCODE_VMX] = handle_vmx,
	[VM_EXITCODE_BOGUS] = run_again,
	[VM_EXITCODE_RDMSR] = handle_rdmsr,
	[VM_EXITCODE_WRMSR] = handle_wrmsr,
	[VM_EXITCODE_HLT] = go_on,
	[VM_EXITCODE_MTRAP] = run_again,
	[VM_EXITCODE_PAUSE] = go_on,
	[VM_EXITCODE_PAGING] = run_again,
	[VM_EXITCODE_INST_EMUL] = handle_inst_emul,
	[VM_EXITCODE_SPINUP_AP] = handle_spinup_ap,
	[VM_EXITCODE_RENDEZVOUS] = run_again,
	[VM_EXITCODE_IOAPIC_EOI] = run_again,
	[VM_EXITCODE_SUSPENDED] = handle_suspended,
	[VM_EXITCODE_INOUT_STR] = handle_inout_str,
	[VM_EXITCODE_TASK_SWITCH] = handle_task_switch,
};

enum exit_next vcpu_handle_exit(struct machine_vcpu *v, struct vm_exit *exit)
{
	unsigned code = exit->exitcode;

	if (code < VM_EXITCODE_MAX && handlers[code])
		return handlers[code](v, exit);
	machine_fail(v->machine, EIO, "vcpu %d: exit code %u is none", v->id, code);
	return EXIT_ABORT;
}
