/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* A KVM vcpu, made when it first runs, and the thread that runs it. */
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "backend/kvm/kvm.h"

#define KERNEL_SIGSET 8u /* bytes of the kernel's signal set */

/*
 * A real-time signal, so that no one else's is merged with it, and away from the end where
 * libraries look for theirs.  It is never delivered: it is blocked but inside KVM_RUN, which it
 * ends, and eaten behind that.
 */
int kvm_kick_signal(void)
{
	return SIGRTMIN + 7;
}

/* ---- The vcpu ---- */

static int apply(struct kvm_cpu *c, int error, const char *what)
{
	return error ? kvm_failed(c, error, what) : 0;
}

static int state_first(struct kvm_cpu *c)
{
	int error = apply(c, kvm_cpuid_set(c), "KVM_SET_CPUID2");

	c->run->s.regs = c->early;
	c->regs = &c->run->s.regs;
	c->run->kvm_valid_regs = KVM_SYNC_ALL;
	c->dirty = KVM_SYNC_ALL;
	c->put = KVM_PART_ALL;
	if (!error)
		error = apply(c, kvm_tsc_offset_set(c), "the time-stamp counter");
	return error;
}

static int vcpu_make(struct kvm_cpu *c)
{
	struct kvm_guest *g = c->guest;
	int error;

	if (!c->xsave)
		c->xsave = calloc(1, sizeof(*c->xsave));
	if (!c->xsave)
		return ENOMEM;
	c->fd = ioctl(g->fd, KVM_CREATE_VCPU, (unsigned long)c->vcpuid);
	if (c->fd < 0)
		return kvm_failed(c, errno, "KVM_CREATE_VCPU");
	c->run = mmap(NULL, g->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);
	if (c->run == MAP_FAILED) {
		error = errno;
		c->run = NULL;
		close(c->fd);
		c->fd = -1;
		return kvm_failed(c, error, "mapping the vcpu");
	}
	atomic_store(&c->shared, c->run);
	return state_first(c);
}

void kvm_cpu_unmake(struct kvm_cpu *c)
{
	if (c->run)
		munmap(c->run, c->guest->run_size);
	if (c->fd >= 0)
		close(c->fd);
	free(c->xsave);
	c->run = NULL;
	c->xsave = NULL;
	c->fd = -1;
}

/* Registers that KVM is going to be given, now. */
static int registers_first(struct kvm_cpu *c)
{
	if (c->dirty & KVM_SYNC_X86_SREGS && kvm_call(c->fd, KVM_SET_SREGS, &c->regs->sregs) < 0)
		return kvm_failed(c, errno, "KVM_SET_SREGS");
	if (c->dirty & KVM_SYNC_X86_REGS && kvm_call(c->fd, KVM_SET_REGS, &c->regs->regs) < 0)
		return kvm_failed(c, errno, "KVM_SET_REGS");
	c->dirty &= ~(unsigned)(KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS);
	return 0;
}

/*
 * KVM puts TF where the guest stands when it is told, and takes it away when it is given other
 * registers: so these go first, and it is told again.
 */
int kvm_cpu_step(struct kvm_cpu *c, bool on)
{
	struct kvm_guest_debug debug = {
		.control = on ? KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP : 0};
	bool moved = c->dirty & (KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS);
	int error;

	if (c->fd < 0 || (c->stepping == on && !(on && moved)))
		return 0;
	error = on ? registers_first(c) : 0;
	if (error)
		return error;
	if (kvm_call(c->fd, KVM_SET_GUEST_DEBUG, &debug) < 0)
		return kvm_failed(c, errno, "KVM_SET_GUEST_DEBUG");
	c->stepping = on;
	return 0;
}

/* ---- The thread ---- */

/* Of all signals but ours KVM_RUN lets through what the thread does. */
static int inside_mask(struct kvm_cpu *c, const sigset_t *outside)
{
	struct {
		struct kvm_signal_mask head;
		uint8_t set[KERNEL_SIGSET];
	} mask = {.head.len = KERNEL_SIGSET};
	sigset_t inside = *outside;

	sigdelset(&inside, kvm_kick_signal());
	memcpy(mask.head.sigset, &inside, KERNEL_SIGSET);
	if (c->mask_known && memcmp(&c->mask, &inside, KERNEL_SIGSET) == 0)
		return 0;
	if (kvm_call(c->fd, KVM_SET_SIGNAL_MASK, &mask) < 0)
		return kvm_failed(c, errno, "KVM_SET_SIGNAL_MASK");
	c->mask = inside;
	c->mask_known = true;
	return 0;
}

/* Each time: neither a thread's name nor its number tells that it is the one that was here before.
 */
static int thread_prepare(struct kvm_cpu *c)
{
	sigset_t kick, outside;
	int error;

	sigemptyset(&kick);
	sigaddset(&kick, kvm_kick_signal());
	error = pthread_sigmask(SIG_BLOCK, &kick, &outside);
	if (error)
		return kvm_failed(c, error, "blocking a signal");
	c->thread = pthread_self();
	return inside_mask(c, &outside);
}

int kvm_cpu_prepare(struct kvm_cpu *c)
{
	struct kvm_guest *g = c->guest;
	int error = kvm_guest_open(g, c->failure, sizeof(c->failure));

	if (!error)
		error = kvm_slots_sync(g, c->failure, sizeof(c->failure));
	if (!error && c->fd < 0) {
		pthread_mutex_lock(&g->lock);
		error = vcpu_make(c);
		pthread_mutex_unlock(&g->lock);
	}
	return error ? error : thread_prepare(c);
}
