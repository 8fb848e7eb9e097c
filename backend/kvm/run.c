/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * vmrun: what is due goes into the shared page, KVM_RUN, and what came out of it is answered, until
 * the core is needed.  An access to a chip costs no other call.
 *
 * Kicks.  Who kicks sets immediate_exit, which ends the next KVM_RUN, and sends a signal if one is
 * going on. Between its look at what is due and KVM_RUN the thread needs no lock: what comes in
 * between sets the flag after it was cleared.  The signal is blocked but in KVM_RUN, so it is never
 * delivered, and is sent only while the thread is known to be there.
 */
#include <sched.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <vmm/vlapic.h>

#include "backend/kvm/kvm.h"

#define SETTLE_MAX 64 /* pieces of one instruction */

/* ---- Kicks ---- */

static void ask_out(struct kvm_run *run, bool out)
{
	__atomic_store_n(&run->immediate_exit, out, __ATOMIC_SEQ_CST);
}

void kvm_kick(void *vmi, int vcpu)
{
	struct kvm_cpu *c = kvm_cpu_of(vmi, vcpu);
	struct kvm_run *run = atomic_load(&c->shared);
	int inside = KVM_INSIDE, saved = errno;

	if (!run)
		return; /* being made; it looks afterwards */
	ask_out(run, true);
	if (!atomic_compare_exchange_strong(&c->place, &inside, KVM_SENDING))
		return; /* outside, or somebody else is at it */
	pthread_kill(c->thread, kvm_kick_signal());
	atomic_store(&c->place, KVM_SENT);
	errno = saved;
}

static void eat_signal(struct kvm_cpu *c)
{
	const struct timespec now = {0};
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, kvm_kick_signal());
	while (sigtimedwait(&set, NULL, &now) < 0 && errno == EINTR)
		;
	c->stat_kicks++;
}

static void come_out(struct kvm_cpu *c)
{
	int place = KVM_INSIDE;

	while (!atomic_compare_exchange_weak(&c->place, &place, KVM_OUTSIDE)) {
		if (place == KVM_SENT) {
			atomic_store(&c->place, KVM_OUTSIDE);
			eat_signal(c);
			return;
		}
		if (place == KVM_SENDING)
			sched_yield();
		place = KVM_INSIDE;
	}
}

/* ---- KVM_RUN ---- */

int kvm_enter(struct kvm_cpu *c)
{
	struct kvm_run *run = c->run;
	int rc, error;

	run->kvm_dirty_regs = c->dirty;
	c->dirty = 0;
	c->have = 0;
	c->stat_run++;
	atomic_store(&c->place, KVM_INSIDE);
	rc = ioctl(c->fd, KVM_RUN, 0);
	error = rc < 0 ? errno : 0;
	come_out(c);
	run->kvm_dirty_regs = 0;
	if (error == EAGAIN)
		error = EINTR;
	if (error && error != EINTR)
		return kvm_failed(c, error, "KVM_RUN");
	kvm_events_back(c);
	return error;
}

int kvm_settle(struct kvm_cpu *c, uint64_t *next)
{
	const struct kvm_sync_regs before = *c->regs;
	unsigned due = c->dirty;
	int error = 0;

	for (int i = 0; error == 0 && i < SETTLE_MAX; i++) {
		ask_out(c->run, true);
		c->dirty &= KVM_SYNC_X86_REGS;
		error = kvm_enter(c);
	}
	c->stat_settled++;
	if (error != EINTR)
		return error ? error : kvm_failed(c, EIO, "an instruction that has no end");
	*next = c->regs->regs.rip;
	/* An exception in it, too, was only its idea. */
	(void)vm_exit_intinfo(c->vm, c->vcpuid, 0);
	if (memcmp(&c->regs->regs, &before.regs, sizeof(before.regs)) != 0)
		due |= KVM_SYNC_X86_REGS;
	if (memcmp(&c->regs->sregs, &before.sregs, sizeof(before.sregs)) != 0)
		due |= KVM_SYNC_X86_SREGS;
	*c->regs = before;
	c->dirty = due;
	kvm_state_set_events(c);
	return 0;
}

/* ---- vmrun ---- */

/* Suspend, rendezvous, yield: in this order. */
static bool is_asked_out(struct kvm_cpu *c)
{
	return vcpu_suspended(c->suspend_cookie) || vcpu_rendezvous_pending(c->rendezvous_cookie) ||
	       vcpu_should_yield(c->vm, c->vcpuid);
}

static void leave_asked(struct kvm_cpu *c)
{
	uint64_t rip = c->regs->regs.rip;

	if (vcpu_suspended(c->suspend_cookie))
		vm_exit_suspended(c->vm, c->vcpuid, rip);
	else if (vcpu_rendezvous_pending(c->rendezvous_cookie))
		vm_exit_rendezvous(c->vm, c->vcpuid, rip);
	else
		vm_exit_astpending(c->vm, c->vcpuid, rip);
}

/* An APIC register in the shared page; KVM tells of each change (KVM_EXIT_SET_TPR) or of the last.
 */
static void take_cr8(struct kvm_cpu *c, uint64_t was)
{
	if (c->run->cr8 != was)
		(void)vlapic_set_cr8(vm_lapic(c->vm, c->vcpuid), c->run->cr8);
}

/* KVM forgets that it has halted when it is told to stop there, and remembers an instruction later.
 */
static bool is_at_hlt(struct kvm_cpu *c)
{
	struct x86_insn insn;

	kvm_state_view(c);
	return x86_fetch(&c->cpu, &insn) == X86_DONE && insn.row->mnem == X86_I_hlt;
}

static bool wants_steps(struct kvm_cpu *c)
{
	return (c->cap[VM_CAP_MTRAP_EXIT] || (c->guest->late && kvm_events_wait(c))) &&
	       !is_at_hlt(c);
}

/* One KVM_RUN. `only_finish`: the instruction that KVM is in the middle of, nothing behind it. */
static enum kvm_end turn(struct kvm_cpu *c, bool only_finish, int *error)
{
	enum kvm_end how;
	uint64_t cr8;

	*error = only_finish ? 0 : kvm_events_to_guest(c);
	if (!*error && c->cap[VM_CAP_MTRAP_EXIT] && !c->completing &&
		kvm_step_over_ss(c, &how, error))
		return how;
	if (!*error)
		*error = kvm_cpu_step(c, wants_steps(c));
	if (!*error)
		*error = kvm_state_push(c);
	if (*error)
		return KVM_ERROR;
	if (only_finish)
		ask_out(c->run, true);
	cr8 = c->run->cr8;
	c->entry_rip = c->regs->regs.rip;
	c->completing = false;
	*error = kvm_enter(c);
	take_cr8(c, cr8);
	if (*error == EINTR) {
		*error = 0;
		return KVM_AGAIN;
	}
	return *error ? KVM_ERROR : kvm_exit(c, error);
}

/* The user completed an instruction that was single-stepped: its trap is still due. */
static int step_trap(struct kvm_cpu *c)
{
	struct vm_exception db = {.cpuid = c->vcpuid, .vector = X86_DB};
	int error = kvm_state_load(c, KVM_PART_DEBUG);

	if (error)
		return error;
	if (vm_inject_exception(c->vm, c->vcpuid, &db) == 0) {
		c->cpu.dr[6] |= 1u << 14;
		c->put |= KVM_PART_DEBUG;
	}
	return 0;
}

static int begin(struct kvm_cpu *c, uint64_t rip)
{
	struct kvm_vcpu_events *e = &c->regs->events;
	uint64_t next;
	int error = 0;

	if (c->trap_due && rip == c->trap_rip && c->regs->regs.rflags & X86_RF_TF)
		error = step_trap(c);
	c->trap_due = c->light = false;
	if (!error && c->port_open && rip == c->last_rip)
		error = kvm_settle(c, &next); /* it shall happen again: KVM must forget it */
	c->port_open = false;
	if (rip != c->last_rip && e->interrupt.shadow) { /* it went with what was completed since */
		e->interrupt.shadow = 0;
		kvm_state_set_events(c);
	}
	kvm_state_set_rip(c, rip);
	return error;
}

/* KVM has an NMI that it could not deliver yet: the core keeps it meanwhile. */
static void end(struct kvm_cpu *c)
{
	struct kvm_vcpu_events *e = &c->regs->events;

	c->last_rip = c->regs->regs.rip;
	if (!e->nmi.pending)
		return;
	e->nmi.pending = 0;
	kvm_state_set_events(c);
	(void)vm_inject_nmi(c->vm, c->vcpuid);
}

int kvm_vmrun(void *vmi, int vcpu, register_t rip, struct pmap *pmap, void *rendezvous_cookie,
	void *suspend_cookie)
{
	struct kvm_cpu *c = kvm_cpu_of(vmi, vcpu);
	enum kvm_end how = KVM_AGAIN;
	int error;

	(void)pmap;
	c->failure[0] = '\0';
	c->rendezvous_cookie = rendezvous_cookie;
	c->suspend_cookie = suspend_cookie;
	error = kvm_cpu_prepare(c);
	if (!error)
		error = begin(c, (uint64_t)rip);
	while (!error && how == KVM_AGAIN) {
		bool out;

		ask_out(c->run, false);
		out = is_asked_out(c);
		if (out && !c->completing) {
			leave_asked(c);
			break;
		}
		how = turn(c, out, &error);
	}
	end(c);
	return error;
}
