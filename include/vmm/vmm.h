/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The API of libvmm: bhyve's vmm.h for Linux, name by name, value by value, layout by layout, plus
 * a few additions marked "hyve:".  For embedders, machine/ and the backends.
 *
 * Like the original it trusts its caller: who may call what, and in which vcpu state, stands at
 * each prototype and is checked only where an error is listed.  <vmm/vmm_dev.h> is the checked
 * layer above.
 *
 * The words used here:
 *   owner     the thread that moved the vcpu from IDLE to FROZEN; vm_run's thread is one
 *   control   an owner that does not run the vcpu, only looks at it or changes it
 *   quiesced  all VM_MAXCPU vcpus are FROZEN by the caller, so the map of memory may change
 *   any       any thread, any vcpu state; "any+locks": also with a chip's lock held
 * vmm-api.md with a section stands in doc/ of the source, installed in share/doc/vmm.
 * Errors are positive errno values.  gpa, gla, hva: guest-physical, guest-linear, host address.
 */
#ifndef VMM_VMM_H
#define VMM_VMM_H

#include <sys/mman.h> /* PROT_READ, PROT_WRITE, PROT_EXEC */

#include <vmm/types.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* ---- Enumerations that ioctl-like layers carry ---- */

/* Why a VM stops. The first request is kept until vm_reinit. */
enum vm_suspend_how {
	VM_SUSPEND_NONE,	/* not suspended; no legal argument */
	VM_SUSPEND_RESET,	/* reset port, keyboard controller, forced reset */
	VM_SUSPEND_POWEROFF,	/* ACPI soft-off, forced power-off */
	VM_SUSPEND_HALT,	/* every active vcpu sits in HLT with interrupts off */
	VM_SUSPEND_TRIPLEFAULT, /* a fault while delivering a double fault */
	VM_SUSPEND_LAST		/* bound */
};

/*
 * Guest registers.  ES..TR name the selector only; the hidden part goes through vm_get_seg_desc,
 * and IDTR and GDTR exist there alone.  Neither GPRs nor anything else but ES..GS is in encoding
 * order.
 */
enum vm_reg_name {
	VM_REG_GUEST_RAX,
	VM_REG_GUEST_RBX,
	VM_REG_GUEST_RCX,
	VM_REG_GUEST_RDX,
	VM_REG_GUEST_RSI,
	VM_REG_GUEST_RDI,
	VM_REG_GUEST_RBP,
	VM_REG_GUEST_R8,
	VM_REG_GUEST_R9,
	VM_REG_GUEST_R10,
	VM_REG_GUEST_R11,
	VM_REG_GUEST_R12,
	VM_REG_GUEST_R13,
	VM_REG_GUEST_R14,
	VM_REG_GUEST_R15,
	VM_REG_GUEST_CR0,
	VM_REG_GUEST_CR3,
	VM_REG_GUEST_CR4,
	VM_REG_GUEST_DR7,
	VM_REG_GUEST_RSP,
	VM_REG_GUEST_RIP,
	VM_REG_GUEST_RFLAGS,
	VM_REG_GUEST_ES,
	VM_REG_GUEST_CS,
	VM_REG_GUEST_SS,
	VM_REG_GUEST_DS,
	VM_REG_GUEST_FS,
	VM_REG_GUEST_GS,
	VM_REG_GUEST_LDTR,
	VM_REG_GUEST_TR,
	VM_REG_GUEST_IDTR,
	VM_REG_GUEST_GDTR,
	VM_REG_GUEST_EFER,
	VM_REG_GUEST_CR2,
	VM_REG_GUEST_PDPTE0, /* the processor's copy of the PAE directory pointers */
	VM_REG_GUEST_PDPTE1,
	VM_REG_GUEST_PDPTE2,
	VM_REG_GUEST_PDPTE3,
	VM_REG_LAST /* bound; "no register" in struct vie */
};

enum x2apic_state {
	X2APIC_DISABLED, /* local APIC through its MMIO page */
	X2APIC_ENABLED,	 /* local APIC through MSRs 0x800..0xBFF */
	X2APIC_STATE_LAST
};

/*
 * An event on its way into the guest, as one 64-bit word: vector 7:0, type 10:8, error code valid
 * 11, valid 31, error code 63:32 (AMD APM vol. 2, EXITINTINFO).  VALID is unsigned: widen before
 * shifting.
 */
#define VM_INTINFO_VECTOR(info) ((info)&0xff)
#define VM_INTINFO_DEL_ERRCODE	0x800
#define VM_INTINFO_RSVD		0x7ffff000
#define VM_INTINFO_VALID	0x80000000
#define VM_INTINFO_TYPE		0x700
#define VM_INTINFO_HWINTR	(0 << 8)
#define VM_INTINFO_NMI		(2 << 8)
#define VM_INTINFO_HWEXCEPTION	(3 << 8)
#define VM_INTINFO_SWINTR	(4 << 8)

#define VM_MAX_NAMELEN 32 /* bytes, terminator included */

struct vm;
struct vm_exception;
struct vm_memory_segment;
struct seg_desc;
struct vm_exit;
struct vm_run;
struct vhpet;
struct vioapic;
struct vlapic;
struct vmspace;
struct vm_object;
struct vm_guest_paging;
struct pmap;
struct x86_cpu; /* hyve: the architectural state, private to x86/ and the backends */

/* ---- The contract of a backend (vmm-api.md 3) ---- */

typedef int (*vmm_init_func_t)(int ipinum);
typedef int (*vmm_cleanup_func_t)(void);
typedef void (*vmm_resume_func_t)(void);
typedef void *(*vmi_init_func_t)(struct vm *vm, struct pmap *pmap);
typedef int (*vmi_run_func_t)(void *vmi, int vcpu, register_t rip, struct pmap *pmap,
	void *rendezvous_cookie, void *suspend_cookie);
typedef void (*vmi_cleanup_func_t)(void *vmi);
typedef int (*vmi_get_register_t)(void *vmi, int vcpu, int num, uint64_t *retval);
typedef int (*vmi_set_register_t)(void *vmi, int vcpu, int num, uint64_t val);
typedef int (*vmi_get_desc_t)(void *vmi, int vcpu, int num, struct seg_desc *desc);
typedef int (*vmi_set_desc_t)(void *vmi, int vcpu, int num, struct seg_desc *desc);
typedef int (*vmi_get_cap_t)(void *vmi, int vcpu, int num, int *retval);
typedef int (*vmi_set_cap_t)(void *vmi, int vcpu, int num, int val);
typedef struct vmspace *(*vmi_vmspace_alloc)(vm_offset_t min, vm_offset_t max);
typedef void (*vmi_vmspace_free)(struct vmspace *vmspace);
typedef struct vlapic *(*vmi_vlapic_init)(void *vmi, int vcpu);
typedef void (*vmi_vlapic_cleanup)(void *vmi, struct vlapic *vlapic);

/*
 * A way to run guest code.  The seed's members come first, in its order; a backend sets all of
 * them. hyve's come behind: `name`, `probe` and `kick` are always set, the others may be NULL.
 */
struct vmm_ops {
	/*
	 * 0, or ENXIO (this host cannot) or EINVAL. Called before each first use; must be
	 * idempotent.
	 */
	vmm_init_func_t init;
	vmm_cleanup_func_t cleanup; /* vmm_cleanup */
	vmm_resume_func_t resume;   /* the host woke up; nobody calls it on Linux */

	/*
	 * The backend's own object for a VM, `vmi` below; NULL: no memory. Before any chip exists.
	 */
	vmi_init_func_t vminit;
	/*
	 * Runs guest code until an exit needs the core; vm_exitinfo() is filled and 0 returned.
	 * Else an errno, which becomes vm_run's.  Owner, RUNNING.  Steps and their order:
	 * vmm-api.md 3.1.
	 */
	vmi_run_func_t vmrun;
	vmi_cleanup_func_t vmcleanup;
	/* Registers, descriptors, capabilities: owner, or from inside vmrun. EINVAL: unknown. */
	vmi_get_register_t vmgetreg;
	vmi_set_register_t vmsetreg;
	vmi_get_desc_t vmgetdesc;
	vmi_set_desc_t vmsetdesc;
	vmi_get_cap_t vmgetcap; /* ENOENT: this backend has no such capability */
	vmi_set_cap_t vmsetcap;
	/* The address space that guest memory is mapped in; kept over vm_reinit. */
	vmi_vmspace_alloc vmspace_alloc;
	vmi_vmspace_free vmspace_free;
	vmi_vlapic_init vlapic_init;
	vmi_vlapic_cleanup vlapic_cleanup;

	/* hyve: "soft", "kvm", "intel", "amd" */
	const char *name;
	/*
	 * hyve: usable here? 0, or an errno and one line without newline in why[size]. Any thread.
	 */
	int (*probe)(char *why, size_t size);
	/*
	 * hyve: the whole architectural state of a vcpu that is not RUNNING, for instruction
	 * emulation and task switches; cpu_put takes changes back.  The pointer is the backend's.
	 */
	struct x86_cpu *(*cpu_get)(void *vmi, int vcpu);
	int (*cpu_put)(void *vmi, int vcpu);
	/* hyve: make a RUNNING vcpu look at its events soon. Any+locks, and signal handlers. */
	void (*kick)(void *vmi, int vcpu);
	/* hyve: somebody but the guest wrote [gpa, gpa+len): cached code of it is stale. Any. */
	void (*mem_written)(void *vmi, vm_paddr_t gpa, size_t len);
	/* hyve: the map of guest memory changed. Quiesced. */
	void (*mem_changed)(void *vmi);
	/*
	 * hyve: the dirty log, or NULL. From now on, or no longer, the backend keeps track of pages
	 * that the guest writes; collect names those since then, or since the last time, by
	 * vm_dirty_note(). Quiesced.
	 */
	int (*dirty_log)(void *vmi, bool on);
	int (*dirty_collect)(void *vmi);
	/* hyve: the i-th counter of the backend's own, false past the end. Any. */
	bool (*stat)(void *vmi, int vcpu, unsigned i, const char **name, uint64_t *value);
};

extern struct vmm_ops vmm_ops_intel;
extern struct vmm_ops vmm_ops_amd;
extern struct vmm_ops vmm_ops_soft; /* hyve: the software CPU */
extern struct vmm_ops vmm_ops_kvm;  /* hyve: Linux's KVM */

/* ---- The module (hyve; vmm-api.md 5.1) ---- */

/*
 * Initialises `ops` and makes it the one that vm_create uses.  EINVAL: NULL; EBUSY: another backend
 * is the default already (the same one again is 0); else what ops->init says.  Any.
 */
int vmm_init(const struct vmm_ops *ops) VMM_MUST_CHECK;
/*
 * Forgets the default and cleans it up. EBUSY: a VM still exists. ENXIO: there is no default. Any.
 */
int vmm_cleanup(void) VMM_MUST_CHECK;

/* ---- VM object (vmm-api.md 4.1, 5) ---- */

/*
 * A VM without memory or active vcpus, all chips built, all vcpus IDLE.  `name`: under
 * VM_MAX_NAMELEN bytes with its terminator, copied; may be empty; need not be unique.  *retvm is
 * written on success. ENXIO: no vmm_init yet.  EINVAL: NULL or too long a name.  ENOMEM.  Any.
 */
int vm_create(const char *name, struct vm **retvm) VMM_MUST_CHECK;
/* hyve: the same on a backend of one's choice; also what ops->init says; EINVAL: NULL ops. Any. */
int vm_create_on(const struct vmm_ops *ops, const char *name, struct vm **retvm) VMM_MUST_CHECK;
/* Frees everything. Nobody may be in a call on this VM or make one later. */
void vm_destroy(struct vm *vm);
/*
 * Back to the state after vm_create, but memory keeps its map and contents; what is reset stands in
 * vmm-api.md 5.5.  EBUSY unless the suspended vcpus are exactly the active ones; ENOMEM leaves a VM
 * that can only be destroyed.  Quiesced.
 */
int vm_reinit(struct vm *vm) VMM_MUST_CHECK;

/* Borrowed until vm_destroy. Any+locks. */
const char *vm_name(struct vm *vm);
struct vmspace *vm_get_vmspace(struct vm *vm);
/* Borrowed until vm_reinit or vm_destroy. `cpu` is not checked. Any+locks. */
struct vlapic *vm_lapic(struct vm *vm, int cpu);
struct vioapic *vm_ioapic(struct vm *vm);
struct vhpet *vm_hpet(struct vm *vm);
struct vatpic *vm_atpic(struct vm *vm);
struct vatpit *vm_atpit(struct vm *vm);
/* NULL: no passthrough device is assigned. Any+locks. */
void *vm_iommu_domain(struct vm *vm);

/* ---- Guest memory (vmm-api.md 4.2) ---- */

/*
 * hyve: the dirty log. From vm_dirty_start to vm_dirty_stop, or vm_reinit, pages of RAM that exist
 * by then are watched: stores of the guest, accessed and dirty bits of its page tables, and what
 * the core writes or is told of (vm_mem_written, vm_gpa_release).  Starting once more begins anew.
 * ENOTSUP: the backend has none; ENOMEM; an errno of the host.  Quiesced.
 */
int vm_dirty_start(struct vm *vm) VMM_MUST_CHECK;
void vm_dirty_stop(struct vm *vm);
/*
 * hyve: which pages of [gpa, gpa+len), multiples of 4 KiB, have been written since the start or
 * since they were got last: bit i of bitmap[], len / 4 KiB of them, for page i.  No written page is
 * left out, and some may be named that were only close to it.  ENXIO: not started; EINVAL:
 * unaligned, or beyond the end of RAM at the start; an errno of the host.  Quiesced.
 */
int vm_dirty_get(struct vm *vm, vm_paddr_t gpa, size_t len, uint64_t *bitmap) VMM_MUST_CHECK;

/*
 * Zero-filled RAM at [gpa, gpa+len), bytes, multiples of 4 KiB.  0 without effect if all of it is
 * allocated already.  EINVAL: unaligned, empty, wraps around, past the 52-bit physical space, or
 * partly allocated.  E2BIG: there are two segments already.  ENOMEM.  Quiesced.
 */
int vm_malloc(struct vm *vm, vm_paddr_t gpa, size_t len) VMM_MUST_CHECK;
/*
 * Host physical memory [hpa, hpa+len) at gpa, read-write and uncached, not in the segment table.
 * ENOMEM for every failure: overlap with RAM or another such range, misalignment, no /dev/mem.
 * Quiesced.
 */
int vm_map_mmio(struct vm *vm, vm_paddr_t gpa, size_t len, vm_paddr_t hpa) VMM_MUST_CHECK;
/* Removes what vm_map_mmio put inside [gpa, gpa+len). Always 0. Quiesced. */
int vm_unmap_mmio(struct vm *vm, vm_paddr_t gpa, size_t len);
/*
 * The host address of [gpa, gpa+len) inside one page, valid until vm_gpa_release of *cookie, which
 * is not NULL then; NULL in both if that is not RAM or host memory ran out.  `prot`: PROT_READ |
 * PROT_WRITE | PROT_EXEC, what the caller is going to do; written memory is announced to the
 * backend at release. The caller keeps the map stable: owner of some vcpu, or quiesced.
 */
void *vm_gpa_hold(struct vm *vm, vm_paddr_t gpa, size_t len, int prot, void **cookie);
void vm_gpa_release(void *cookie);
/* Fills gpa, len, wired of the segment that starts at gpabase; -1, no errno, if none does. Any. */
int vm_gpabase2memseg(struct vm *vm, vm_paddr_t gpabase, struct vm_memory_segment *seg);
/*
 * The memory object behind [gpa, gpa+len), for mmap, and the offset of gpa in it.  The caller gets
 * a reference: vm_object_release.  EINVAL: not inside one segment.  Any, map stable.
 */
int vm_get_memobj(struct vm *vm, vm_paddr_t gpa, size_t len, vm_offset_t *offset,
	struct vm_object **object) VMM_MUST_CHECK;
/*
 * Is gpa RAM, or a BAR of an assigned device? Otherwise an access there is emulated as MMIO. Any.
 */
boolean_t vm_mem_allocated(struct vm *vm, vm_paddr_t gpa);

/* ---- Registers (vmm-api.md 4.3; owner) ---- */

/*
 * `reg` is an enum vm_reg_name.  EINVAL: vcpu out of range, reg past the end or not a register
 * here. Setting RIP does not move the next vm_run, which is told its own; other changes count at
 * next entry.  Bits that a processor has wired, like CR0.ET, are kept as it has them.
 */
int vm_get_register(struct vm *vm, int vcpu, int reg, uint64_t *retval);
int vm_set_register(struct vm *vm, int vcpu, int reg, uint64_t val);
/*
 * ES..TR, IDTR, GDTR; access is ignored for the last two. EINVAL: vcpu, or another reg. Not
 * validated.
 */
int vm_get_seg_desc(struct vm *vm, int vcpu, int reg, struct seg_desc *ret_desc);
int vm_set_seg_desc(struct vm *vm, int vcpu, int reg, struct seg_desc *desc);

/* ---- Running (vmm-api.md 6) ---- */

/*
 * Runs vmrun->cpuid from vmrun->rip until an exit is the caller's to handle; vmrun->vm_exit says
 * which. Owner, FROZEN before and after.  The record is written after any pass through the backend,
 * also when an errno is returned.  EINVAL: cpuid out of range, not active, or suspended (record
 * untouched then). EFAULT: fetch from, or fault on, memory that is not there.  ENXIO: the backend
 * cannot run.
 */
int vm_run(struct vm *vm, struct vm_run *vmrun) VMM_MUST_CHECK;
/*
 * Asks every active vcpu to stop; returns at once.  When all of them are (or come) in vm_run, each
 * gets a SUSPENDED exit with the same `how`.  EINVAL: `how` is NONE or out of range.  EALREADY:
 * asked before, the first `how` stays.  Any+locks.
 */
int vm_suspend(struct vm *vm, enum vm_suspend_how how);

/* ---- Events (vmm-api.md 4.7, 7) ---- */

/* Raise an NMI (at most one waits) / the INTR pin from the PIC. EINVAL: vcpu. Any+locks. */
int vm_inject_nmi(struct vm *vm, int vcpu);
int vm_inject_extint(struct vm *vm, int vcpu);
/* 0 or 1. Any. */
int vm_nmi_pending(struct vm *vm, int vcpuid);
int vm_extint_pending(struct vm *vm, int vcpuid);
/* From vmrun at the moment of injection; it must be pending. Counted. */
void vm_nmi_clear(struct vm *vm, int vcpuid);
void vm_extint_clear(struct vm *vm, int vcpuid);

/* The guest's MSRs that the core keeps, by slot of its own table, not by MSR number. Any; vmrun. */
uint64_t *vm_guest_msrs(struct vm *vm, int cpu);

/*
 * enum vm_cap_type.  EINVAL: vcpu or type out of range; ENOENT: not on this backend.  What each
 * does: vmm-api.md 11.4.  Control, vcpu not RUNNING.
 */
int vm_get_capability(struct vm *vm, int vcpu, int type, int *val);
int vm_set_capability(struct vm *vm, int vcpu, int type, int val);
/* EINVAL: vcpu. Any. */
int vm_get_x2apic_state(struct vm *vm, int vcpu, enum x2apic_state *state);
/*
 * Before the vcpu first runs, the same for all of them. EINVAL: vcpu, state; EBUSY: it ran.
 * Control.
 */
int vm_set_x2apic_state(struct vm *vm, int vcpu, enum x2apic_state state);
/* The identity. Any. */
int vm_apicid2vcpuid(struct vm *vm, int apicid);
/*
 * The vcpu counts from now on for suspend, halt detection and interrupts to all.  To be called by
 * the thread that starts the vcpu, before it runs.  EINVAL: range.  EBUSY: active already.
 * Control.
 */
int vm_activate_cpu(struct vm *vm, int vcpu);
/* Copies. Any. */
cpuset_t vm_active_cpus(struct vm *vm);
cpuset_t vm_suspended_cpus(struct vm *vm);

/* The vcpu's exit record; handlers may edit it: inst_length 0 restarts the instruction. Owner. */
struct vm_exit *vm_exitinfo(struct vm *vm, int vcpuid);
/* vmrun leaves because the VM is suspended / a rendezvous waits / the thread shall yield. */
void vm_exit_suspended(struct vm *vm, int vcpuid, uint64_t rip);
void vm_exit_rendezvous(struct vm *vm, int vcpuid, uint64_t rip);
void vm_exit_astpending(struct vm *vm, int vcpuid, uint64_t rip);

/*
 * Calls func(vm, id, arg) once for each active vcpu in `dest`, on the thread that runs that vcpu,
 * outside guest code; returns when all are done.  A vcpu that wants to enter the guest meanwhile
 * waits.  One outside vm_run holds everybody up until it is back, but once all active vcpus are
 * suspended it ends without those that were not called yet.  `func` runs under the rendezvous
 * lock: it must neither sleep nor start another.  `vcpuid`: the caller's own vcpu (FROZEN), else
 * -1.  No locks held.
 */
typedef void (*vm_rendezvous_func_t)(struct vm *vm, int vcpuid, void *arg);
void vm_smp_rendezvous(
	struct vm *vm, int vcpuid, cpuset_t dest, vm_rendezvous_func_t func, void *arg);

/* vmrun's two cookies: is a rendezvous waiting, is the VM suspended? */
static __inline int vcpu_rendezvous_pending(void *rendezvous_cookie)
{
	return (__atomic_load_n((uintptr_t *)rendezvous_cookie, __ATOMIC_ACQUIRE) != 0);
}

static __inline int vcpu_suspended(void *suspend_cookie)
{
	return (__atomic_load_n((int *)suspend_cookie, __ATOMIC_ACQUIRE));
}

/* ---- PCI passthrough (vmm-api.md 4.9, 10.8): no host device is ever configured here ---- */

/* Is the host device reserved for guests? 1 or 0. Any. */
int vmm_is_pptdev(int bus, int slot, int func);
/* ENOENT: no such reserved device. Quiesced. */
int vm_assign_pptdev(struct vm *vm, int bus, int slot, int func);
int vm_unassign_pptdev(struct vm *vm, int bus, int slot, int func);

/* ---- vcpu states (vmm-api.md 1.3) ---- */

enum vcpu_state {
	VCPU_IDLE,     /* nobody's */
	VCPU_FROZEN,   /* owned, not in guest code */
	VCPU_RUNNING,  /* in vmrun */
	VCPU_SLEEPING, /* waits in HLT or for the others to suspend */
};

/*
 * IDLE, RUNNING and SLEEPING lead to FROZEN only, FROZEN to the three others; else EBUSY.  With
 * `from_idle` it waits for the vcpu to be IDLE first, and must be used for IDLE to FROZEN; any
 * thread without locks.  Without, the caller is the owner.
 */
int vcpu_set_state(struct vm *vm, int vcpu, enum vcpu_state state, bool from_idle);
/* State and, if wanted, the host CPU it RUNs on (else -1), from one instant. Any+locks. */
enum vcpu_state vcpu_get_state(struct vm *vm, int vcpu, int *hostcpu);

static __inline int vcpu_is_running(struct vm *vm, int vcpu, int *hostcpu)
{
	return (vcpu_get_state(vm, vcpu, hostcpu) == VCPU_RUNNING);
}

/* The vcpu's array of 64-bit counters, VMM_STAT_ELEMS long. Any. */
void *vcpu_stats(struct vm *vm, int vcpu);
/*
 * Something happened that the vcpu should look at: kicks a RUNNING one, wakes a SLEEPING one.
 * Publish the event first.  `lapic_intr`: it is an APIC vector, which a posted-interrupt backend
 * may treat apart.  Any+locks, signal handlers.
 */
void vcpu_notify_event(struct vm *vm, int vcpuid, bool lapic_intr);

/*
 * Queues an exception for the next entry; rip and CR2 are the caller's.  EINVAL: vcpu out of range,
 * vector past 31 or 8 (a double fault only comes from combining).  EBUSY: one is queued.  Owner.
 */
int vm_inject_exception(struct vm *vm, int vcpuid, struct vm_exception *vme);
/*
 * From vmrun after an exit in the middle of delivering an event: that event, to be delivered again.
 * 0 says that the delivery was completed by other means (a task switch).  EINVAL: vcpu; NMI with a
 * vector other than 2, exception past 31, reserved bits.  Owner.
 */
int vm_exit_intinfo(struct vm *vm, int vcpuid, uint64_t intinfo);
/*
 * Takes the event to inject at this entry, if any: the interrupted one and the queued exception,
 * combined by the double-fault rules; a triple fault suspends the VM.  1: *info is it.  vmrun, once
 * per entry.
 */
int vm_entry_intinfo(struct vm *vm, int vcpuid, uint64_t *info);
/*
 * Both sources, unconsumed: the interrupted event, the queued exception; 0 if none. EINVAL. Owner.
 */
int vm_get_intinfo(struct vm *vm, int vcpuid, uint64_t *info1, uint64_t *info2);

/* Faults of the instruction at the current exit, which will restart. One per exit. Owner. */
void vm_inject_gp(struct vm *vm, int vcpuid); /* error code 0 */
void vm_inject_ud(struct vm *vm, int vcpuid);
void vm_inject_ac(struct vm *vm, int vcpuid, int errcode);
void vm_inject_ss(struct vm *vm, int vcpuid, int errcode);
void vm_inject_pf(struct vm *vm, int vcpuid, int error_code, uint64_t cr2);

/* ES, CS, SS, DS, FS, GS for encodings 0..5. */
enum vm_reg_name vm_segment_name(int seg_encoding);

/* ---- Guest-linear memory (vmm-api.md 8; owner) ---- */

/* One page's worth of a range. */
struct vm_copyinfo {
	uint64_t gpa;
	size_t len;
	void *hva;
	void *cookie; /* vm_gpa_hold's */
};

/*
 * Translates [gla, gla+len) for `prot` (PROT_READ to copy in, PROT_WRITE to copy out, READ|EXEC for
 * code) with the paging snapshot and holds every page; a page needs an entry.  No segment or
 * alignment checks.  0; 1: a fault was queued for the guest; -1: tables or data outside RAM.  Only
 * 0 holds pages.
 */
int vm_copy_setup(struct vm *vm, int vcpuid, struct vm_guest_paging *paging, uint64_t gla,
	size_t len, int prot, struct vm_copyinfo *copyinfo, int num_copyinfo);
/* Lets go; also fine for zeroed entries. */
void vm_copy_teardown(struct vm *vm, int vcpuid, struct vm_copyinfo *copyinfo, int num_copyinfo);
/* Copy all of what was set up; `len` must be that length. */
void vm_copyin(struct vm *vm, int vcpuid, struct vm_copyinfo *copyinfo, void *kaddr, size_t len);
void vm_copyout(
	struct vm *vm, int vcpuid, const void *kaddr, struct vm_copyinfo *copyinfo, size_t len);

/* ---- The part of the seed that user space shared ---- */

#define VM_MAXCPU 16 /* vcpu ids are 0..15, 0 boots */

/* Optional abilities of a backend (vmm-api.md 11.4). All off after create. */
enum vm_cap_type {
	VM_CAP_HALT_EXIT,
	VM_CAP_MTRAP_EXIT, /* exit after every instruction */
	VM_CAP_PAUSE_EXIT,
	VM_CAP_UNRESTRICTED_GUEST, /* real mode and unpaged protected mode */
	VM_CAP_ENABLE_INVPCID,
	VM_CAP_MAX
};

enum vm_intr_trigger { EDGE_TRIGGER, LEVEL_TRIGGER };

/*
 * The hidden part of a segment register.  `limit` is in bytes, granularity applied.  `access`: type
 * 3:0, S 4, DPL 6:5, P 7, AVL 12, L 13, D/B 14, G 15, and 16 for "unusable" (SDM vol. 3, 24.4.1).
 */
struct seg_desc {
	uint64_t base;
	uint32_t limit;
	uint32_t access;
};
#define SEG_DESC_TYPE(access)	     ((access)&0x001f) /* with S: code and data are 16..31 */
#define SEG_DESC_DPL(access)	     (((access) >> 5) & 0x3)
#define SEG_DESC_PRESENT(access)     (((access)&0x0080) ? 1 : 0)
#define SEG_DESC_DEF32(access)	     (((access)&0x4000) ? 1 : 0)
#define SEG_DESC_GRANULARITY(access) (((access)&0x8000) ? 1 : 0)
#define SEG_DESC_UNUSABLE(access)    (((access)&0x10000) ? 1 : 0)

enum vm_cpu_mode {
	CPU_MODE_REAL,
	CPU_MODE_PROTECTED,	/* virtual-8086 mode too */
	CPU_MODE_COMPATIBILITY, /* long mode, CS.L = 0 */
	CPU_MODE_64BIT,		/* long mode, CS.L = 1 */
};

enum vm_paging_mode {
	PAGING_MODE_FLAT,
	PAGING_MODE_32,
	PAGING_MODE_PAE,
	PAGING_MODE_64,
};

/*
 * How linear addresses were translated at an exit: a snapshot, not to be mixed with later
 * registers.
 */
struct vm_guest_paging {
	uint64_t cr3;
	int cpl; /* SS.DPL */
	enum vm_cpu_mode cpu_mode;
	enum vm_paging_mode paging_mode;
};

/*
 * A decoded instruction, carried in exits for whoever wants to look; vm_emulate_instruction
 * (<vmm/vmm_dev.h>) does not need it.
 */
struct vie_op {
	uint8_t op_byte; /* last byte of the opcode */
	uint8_t op_type; /* how hyve executes it; 0: not decoded */
	uint16_t op_flags;
};

#define VIE_INST_SIZE 15
struct vie {
	uint8_t inst[VIE_INST_SIZE];
	uint8_t num_valid; /* bytes in inst[] */
	uint8_t num_processed;

	uint8_t addrsize : 4, opsize : 4; /* bytes */
	uint8_t rex_w : 1, rex_r : 1, rex_x : 1, rex_b : 1, rex_present : 1, opsize_override : 1,
		addrsize_override : 1;

	uint8_t mod : 2, reg : 4, rm : 4; /* ModRM, extended by REX */

	uint8_t ss : 2, index : 4, base : 4; /* SIB, extended by REX */

	uint8_t disp_bytes;
	uint8_t imm_bytes;

	uint8_t scale;	    /* 1, 2, 4, 8; 0 without an index */
	int base_register;  /* enum vm_reg_name, VM_REG_LAST: none */
	int index_register; /* the same */

	int64_t displacement; /* sign-extended */
	int64_t immediate;

	uint8_t decoded; /* 1: everything but inst[] and num_valid is filled */

	struct vie_op op;
};

/* Who handles each and what the caller does next: vmm-api.md 6.2. */
enum vm_exitcode {
	VM_EXITCODE_INOUT,
	VM_EXITCODE_VMX,   /* the backend's last resort */
	VM_EXITCODE_BOGUS, /* nothing to do: run again */
	VM_EXITCODE_RDMSR,
	VM_EXITCODE_WRMSR,
	VM_EXITCODE_HLT, /* core only */
	VM_EXITCODE_MTRAP,
	VM_EXITCODE_PAUSE,
	VM_EXITCODE_PAGING, /* core only */
	VM_EXITCODE_INST_EMUL,
	VM_EXITCODE_SPINUP_AP,
	VM_EXITCODE_DEPRECATED1, /* a hole */
	VM_EXITCODE_RENDEZVOUS,	 /* core only */
	VM_EXITCODE_IOAPIC_EOI,	 /* core only */
	VM_EXITCODE_SUSPENDED,
	VM_EXITCODE_INOUT_STR,
	VM_EXITCODE_TASK_SWITCH,
	VM_EXITCODE_MAX
};

struct vm_inout {
	uint16_t bytes : 3; /* 1, 2 or 4 */
	uint16_t in : 1;
	uint16_t string : 1;
	uint16_t rep : 1;
	uint16_t port;
	uint32_t eax; /* RAX 31:0 at the exit */
};

struct vm_inout_str {
	struct vm_inout inout; /* first: u.inout is read for both codes */
	struct vm_guest_paging paging;
	uint64_t rflags;
	uint64_t cr0;
	uint64_t index; /* RDI for INS, RSI for OUTS */
	uint64_t count; /* RCX with a REP prefix, else 1 */
	int addrsize;	/* bytes */
	enum vm_reg_name seg_name;
	struct seg_desc seg_desc;
};

enum task_switch_reason {
	TSR_CALL,
	TSR_IRET,
	TSR_JMP,
	TSR_IDT_GATE, /* through a task gate in the IDT */
};

struct vm_task_switch {
	uint16_t tsssel; /* of the new task */
	int ext;	 /* caused by an interrupt, NMI or hardware exception */
	uint32_t errcode;
	int errcode_valid; /* errcode goes onto the new stack */
	enum task_switch_reason reason;
	struct vm_guest_paging paging;
};

struct vm_exit {
	enum vm_exitcode exitcode;
	int inst_length; /* bytes; 0: restart at rip */
	uint64_t rip;
	union {
		struct vm_inout inout;
		struct vm_inout_str inout_str;
		struct {
			uint64_t gpa;
			int fault_type; /* one of PROT_READ, PROT_WRITE, PROT_EXEC */
		} paging;
		struct {
			uint64_t gpa;
			uint64_t gla; /* 1 << 63: unknown */
			int cs_d;
			struct vm_guest_paging paging;
			struct vie vie;
		} inst_emul;
		/* An exit without a code of its own, raw. */
		struct {
			int status; /* 0: reason and qualification hold, else type and error */
			uint32_t exit_reason;
			uint64_t exit_qualification;
			int inst_type;
			int inst_error;
		} vmx;
		struct {
			uint32_t code; /* number of the MSR */
			uint64_t wval;
		} msr;
		struct {
			int vcpu;
			uint64_t rip; /* startup vector << 12 */
		} spinup_ap;
		struct {
			uint64_t rflags;
		} hlt;
		struct {
			int vector;
		} ioapic_eoi;
		struct {
			enum vm_suspend_how how;
		} suspended;
		struct vm_task_switch task_switch;
	} u;
};

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
