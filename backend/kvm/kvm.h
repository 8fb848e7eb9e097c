/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The insides of the KVM backend.  README.md says how it works.
 *
 * Where the registers of a vcpu are: what KVM_CAP_SYNC_REGS carries (general, segment and control
 * registers, events) is in c->regs, always; `dirty` says which of them KVM has to load.  Everything
 * else comes in parts, fetched from KVM when somebody asks (`have`), and given back if it was
 * changed (`put`). Until the vcpu first runs there is no KVM vcpu, and all of it is here.
 */
#ifndef BACKEND_KVM_KVM_H
#define BACKEND_KVM_KVM_H

#include <errno.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include <vmm/backend.h>

#include "x86/x86.h"

#define KVM_DEVICE	"/dev/kvm"
#define KVM_SLOTS	12u /* two segments, cut by ROMs, and those of ROMs */
#define KVM_CPUID_MAX	128u
#define KVM_SYNC_ALL	(KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS | KVM_SYNC_X86_EVENTS)
#define KVM_INSN_LENGTH 15u

/* The parts of the state that cost a call each. */
enum {
	KVM_PART_FPU = 1,   /* cpu.fpu, and the rest of `xsave` */
	KVM_PART_XCR = 2,   /* cpu.xcr0 */
	KVM_PART_DEBUG = 4, /* cpu.dr */
	KVM_PART_MSRS = 8,  /* kvm_state_msrs[] */
	KVM_PART_ALL = 15
};

/* Where the vcpu's thread is, for kicks. */
enum {
	KVM_OUTSIDE,
	KVM_INSIDE,  /* in KVM_RUN: a signal brings it out */
	KVM_SENDING, /* somebody sends one: the thread must not go away */
	KVM_SENT     /* and it has to be eaten */
};

struct kvm_guest;

/* Fields belong to the owner of the vcpu but for `place` and run->immediate_exit. */
struct kvm_cpu {
	struct kvm_guest *guest;
	struct vm *vm;
	int vcpuid;

	int fd; /* -1: it has not run yet */
	struct kvm_run *run;
	struct kvm_sync_regs *regs; /* in `run`, or `early` before */
	struct kvm_sync_regs early;
	unsigned dirty; /* KVM_SYNC_X86_* */
	unsigned have, put;
	bool pdptes_set; /* by the user: in cpu.pdpte, for KVM to load */
	bool flush;	 /* translations that KVM may hold have to go */
	struct kvm_xsave *xsave;

	_Atomic(struct kvm_run *) shared; /* `run`, for those who kick */
	atomic_int place;
	pthread_t thread;
	sigset_t mask; /* in KVM_RUN */
	bool mask_known;

	void *rendezvous_cookie, *suspend_cookie;
	uint64_t entry_rip; /* where the guest was entered last */
	uint64_t last_rip;  /* where vmrun was left */
	bool port_open;	    /* KVM stands on a port access that the user has been given */
	bool completing;    /* KVM is in the middle of an instruction that has been answered */
	bool trap_due;	    /* TF: #DB behind the instruction that the user completes */
	uint64_t trap_rip;
	bool light;    /* the loan for the exit at hand needs no parts */
	bool stepping; /* KVM has been told to single-step */
	bool cap[VM_CAP_MAX];

	char failure[160]; /* why vmrun returned an error; "" if its number tells */
	uint64_t stat_run, stat_kicks, stat_emulated, stat_settled;

	/* What is lent, and what it was. */
	struct x86_cpu cpu, lent;
};

struct kvm_guest {
	struct vm *vm;
	char device[128];
	pthread_mutex_t lock; /* opening, slots, making vcpus */
	atomic_bool open;
	atomic_bool stale; /* the slots do not show the memory as it is */
	int system, fd;	   /* /dev/kvm, and the VM in it; -1 */
	size_t run_size;
	unsigned max_vcpus;
	unsigned nslots;
	bool logging; /* slots are to have a dirty log */
	struct kvm_userspace_memory_region slot[KVM_SLOTS];
	struct kvm_cpuid2 *supported;
	uint64_t msrs; /* bit n: this KVM has kvm_state_msrs[n] */
	bool has_sregs2;
	bool late; /* see late.c */
	/* By CR0.PE: does KVM stand on an OUT at its exit, rather than behind it? */
	_Atomic signed char stands_on_out[2]; /* 1: yes; -1: no; 0: not seen yet */
	uint64_t tsc_hz, tsc_offset;
	struct kvm_cpu *cpu[VM_MAXCPU];
};

/* device.c */
/* An errno, and a line in why[size]. */
int kvm_probe(char *why, size_t size);
int kvm_guest_open(struct kvm_guest *g, char *why, size_t size);
void kvm_guest_close(struct kvm_guest *g);
/* Shows KVM the guest's memory, if that changed. */
int kvm_slots_sync(struct kvm_guest *g, char *why, size_t size);
/* vmm_ops.dirty_log, vmm_ops.dirty_collect */
int kvm_dirty_log(void *vmi, bool on);
int kvm_dirty_collect(void *vmi);

/* late.c */
/* Does this KVM let interrupts in later than it should? */
bool kvm_is_late(int system, size_t run_size);

/* vcpu.c */
/* Makes the KVM vcpu if it does not exist, and prepares this thread to run it. */
int kvm_cpu_prepare(struct kvm_cpu *c);
void kvm_cpu_unmake(struct kvm_cpu *c);
/* The signal that brings a thread out of KVM_RUN; blocked in threads that have called vm_run. */
int kvm_kick_signal(void);
int kvm_cpu_step(struct kvm_cpu *c, bool on);

/* cpuid.c */
int kvm_cpuid_set(struct kvm_cpu *c);

/* msr.c */
extern const uint32_t kvm_state_msrs[];
extern const unsigned kvm_state_msr_count;
uint64_t *kvm_msr_place(struct x86_cpu *cpu, unsigned i);
int kvm_msr_filter_set(int vm_fd);
/* KVM_EXIT_X86_RDMSR, WRMSR. False: the user's, and nothing done. */
bool kvm_msr_exit(struct kvm_cpu *c);

/* state.c */
int kvm_failed(struct kvm_cpu *c, int error, const char *what);
/* What KVM_CAP_SYNC_REGS carries, into c->cpu, whose paging and segments then work. */
void kvm_state_view(struct kvm_cpu *c);
/* And back, with what is dirty by that. */
void kvm_state_keep(struct kvm_cpu *c);
int kvm_state_load(struct kvm_cpu *c, unsigned parts);
/* What is due to KVM apart from c->dirty. */
int kvm_state_push(struct kvm_cpu *c);
void kvm_state_set_rip(struct kvm_cpu *c, uint64_t rip);
void kvm_state_set_events(struct kvm_cpu *c);
int kvm_tsc_offset_set(struct kvm_cpu *c);
int kvm_getreg(void *vmi, int vcpu, int num, uint64_t *value);
int kvm_setreg(void *vmi, int vcpu, int num, uint64_t value);
int kvm_getdesc(void *vmi, int vcpu, int num, struct seg_desc *desc);
int kvm_setdesc(void *vmi, int vcpu, int num, struct seg_desc *desc);
struct x86_cpu *kvm_cpu_get(void *vmi, int vcpu);
int kvm_cpu_put(void *vmi, int vcpu);
extern const struct x86_ops kvm_x86_ops;

/* event.c */
/* What is due to the guest, into the registers for KVM. */
int kvm_events_to_guest(struct kvm_cpu *c);
/* What KVM has not delivered goes back to the core. */
void kvm_events_back(struct kvm_cpu *c);
/* Is something waiting for the guest to let it in? */
bool kvm_events_wait(const struct kvm_cpu *c);

/* run.c */
int kvm_vmrun(void *vmi, int vcpu, register_t rip, struct pmap *pmap, void *rendezvous_cookie,
	void *suspend_cookie);
void kvm_kick(void *vmi, int vcpu);
/* KVM_RUN once, and the registers as it left them: 0, EINTR, or an errno with c->failure. */
int kvm_enter(struct kvm_cpu *c);
/*
 * Brings KVM out of the middle of an instruction that shall not be executed, or shall be by us:
 * what it does to registers is undone.  Where it went on: *next.
 */
int kvm_settle(struct kvm_cpu *c, uint64_t *next);

/* exit.c */
enum kvm_end {
	KVM_AGAIN, /* enter the guest again */
	KVM_LEAVE, /* an exit stands in vm_exitinfo */
	KVM_ERROR  /* c->failure, *error */
};
enum kvm_end kvm_exit(struct kvm_cpu *c, int *error);
/*
 * The trap flag does not stop behind a load of SS (SDM vol. 3, 6.8.3), MTRAP does: we execute that.
 * False: none is next.
 */
bool kvm_step_over_ss(struct kvm_cpu *c, enum kvm_end *how, int *error);

/* undo.c: registers before an instruction that KVM has executed but for what it asks us to do */
/* Is the port access at hand an OUT or OUTS that ends here? Then c->regs are those before it. */
bool kvm_undo_out(struct kvm_cpu *c, unsigned port, unsigned size, struct x86_insn *insn);
/* The same for a store to a device of `size` bytes at `gpa`. */
bool kvm_undo_store(
	struct kvm_cpu *c, uint64_t gpa, const uint8_t *data, unsigned size, struct x86_insn *insn);

/* stat.c */
bool kvm_stat(void *vmi, int vcpu, unsigned i, const char **name, uint64_t *value);

static inline struct kvm_cpu *kvm_cpu_of(void *vmi, int vcpu)
{
	return ((struct kvm_guest *)vmi)->cpu[vcpu];
}

/* The value, or -1 with errno; EINTR does not come out. */
static inline int kvm_call(int fd, unsigned long request, void *arg)
{
	int rc;

	do
		rc = ioctl(fd, request, arg);
	while (rc < 0 && errno == EINTR);
	return rc;
}

#endif
