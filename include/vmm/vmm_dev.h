/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * What surrounds vmm.h: the records its calls pass, completion of exits that the library knows how
 * to finish, statistics, and vmmdev_*, the checked layer that machine/ and embedders use (in bhyve:
 * the /dev/vmm device, vmm-api.md 12.2).  All but the first section is hyve's own.
 */
#ifndef VMM_VMM_DEV_H
#define VMM_VMM_DEV_H

#include <vmm/vmm.h>

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

/* ---- Records ---- */

struct vm_run {
	int cpuid;
	uint64_t rip; /* where to start; afterwards vm_exit.rip + vm_exit.inst_length is next */
	struct vm_exit vm_exit;
};

struct vm_exception {
	int cpuid; /* for vmmdev_inject_exception; vm_inject_exception has its own */
	int vector;
	uint32_t error_code;
	int error_code_valid;
};

struct vm_memory_segment {
	vm_paddr_t gpa;
	size_t len; /* bytes */
	int wired;
};

/* ---- Additions to the raw API ---- */

/* Guest memory as a mappable object: a memfd, of which the VM maps all. The fd is borrowed. */
int vm_object_fd(const struct vm_object *object);
/* Gives back the reference of vm_get_memobj. Any. */
void vm_object_release(struct vm_object *object);

/*
 * Makes the thread in vm_run for this vcpu return soon, with a BOGUS exit if nothing else;
 * remembered if it is not in vm_run.  For stop requests and host signals.  `vcpu` in range.
 * Any+locks, signal handlers.
 */
void vm_vcpu_yield(struct vm *vm, int vcpu);
/*
 * Should the VM suspend itself when all active vcpus halt with interrupts off? Default true. Any.
 */
void vm_set_halt_detection(struct vm *vm, bool on);
/*
 * How CPUID arranges the vcpus: so many `threads` to a core, `cores` to a socket; vcpu ids count
 * threads first, then cores.  A fresh VM has 1, 1, 1: each vcpu is a socket.  `maxcpus` is ignored.
 * Kept by vm_reinit.  EINVAL: one of them is 0, or their product beyond VM_MAXCPU; EBUSY: a vcpu
 * ran.  Quiesced.
 */
int vm_set_topology(struct vm *vm, uint16_t sockets, uint16_t cores, uint16_t threads,
	uint16_t maxcpus) VMM_MUST_CHECK;
/* The same back; *maxcpus is VM_MAXCPU. None may be NULL. Any, but while it is being set. */
void vm_get_topology(
	struct vm *vm, uint16_t *sockets, uint16_t *cores, uint16_t *threads, uint16_t *maxcpus);
/* Tells the backend that memory was written other than by the guest or through vm_gpa_hold. Any. */
void vm_mem_written(struct vm *vm, vm_paddr_t gpa, size_t len);
/* The backend that runs this VM. Any. */
const struct vmm_ops *vm_ops(struct vm *vm);

/* Counters of a vcpu, the core's first, then the backend's. */
enum vmm_stat {
#define VMM_STAT(id, n, name) VMM_STAT_##id, VMM_STAT_##id##_LAST = VMM_STAT_##id + (n)-1,
#include <vmm/stats.def>
#undef VMM_STAT
	VMM_STAT_COUNT /* elements in use */
};
#define VMM_STAT_ELEMS	  64
#define VMM_STAT_NAME_LEN 128

/* The index-th counter of a vcpu and its name. EINVAL: vcpu, or index past the end. Any. */
int vm_stat(struct vm *vm, int vcpu, unsigned index, char name[VMM_STAT_NAME_LEN], uint64_t *value);

/*
 * Translates gla with the snapshot and all checks for `prot`.  0: *gpa, or *fault = 1 and the fault
 * is queued for the guest; EFAULT: a page table outside RAM; EINVAL: vcpu.  Owner.
 */
int vm_gla2gpa(struct vm *vm, int vcpu, struct vm_guest_paging *paging, uint64_t gla, int prot,
	uint64_t *gpa, int *fault) VMM_MUST_CHECK;
/* The snapshot of now, by the rules of vmm-api.md 2.10. Owner. */
int vm_get_paging(struct vm *vm, int vcpu, struct vm_guest_paging *paging) VMM_MUST_CHECK;
/*
 * Registers at power-on (SDM vol. 3, table 9-1): 16-bit code at F000:FFF0.  Control registers, EFER
 * and every GPR included.  EINVAL: vcpu.  Owner.
 */
int vcpu_reset(struct vm *vm, int vcpu) VMM_MUST_CHECK;

/* ---- Segmentation helpers of instruction emulation (vmm-api.md 8.3). Pure functions. ---- */

/*
 * Linear address of [offset, offset+length) in a segment for `prot`; -1: #SS(0) if seg is SS, else
 * #GP(0) is due.  `addrsize` bytes.
 */
int vie_calculate_gla(enum vm_cpu_mode cpu_mode, enum vm_reg_name seg, struct seg_desc *desc,
	uint64_t offset, int length, int addrsize, int prot, uint64_t *gla);
/* 1: gla is no 48-bit canonical address and the mode is 64-bit. */
int vie_canonical_check(enum vm_cpu_mode cpu_mode, uint64_t gla);
/* 1: #AC(0) is due: CPL 3, CR0.AM, RFLAGS.AC and gla not a multiple of `size`. */
int vie_alignment_check(int cpl, int size, uint64_t cr0, uint64_t rflags, uint64_t gla);

/* ---- Completion of exits (owner; callbacks run on the calling thread) ---- */

/*
 * Device memory: `size` is 1, 2, 4 or 8 bytes and gpa a multiple of it: what a guest accesses
 * otherwise comes in parts, from the lowest address up.  0, or an errno: reads are all ones, writes
 * lost then.
 */
typedef int (*mem_region_read_t)(
	struct vm *vm, int vcpu, uint64_t gpa, uint64_t *value, int size, void *arg);
typedef int (*mem_region_write_t)(
	struct vm *vm, int vcpu, uint64_t gpa, uint64_t value, int size, void *arg);
/* A port: `bytes` is 1, 2 or 4; *eax is what OUT writes or IN gets. Errno: IN is all ones. */
typedef int (*vm_inout_func_t)(
	struct vm *vm, int vcpu, bool in, uint16_t port, int bytes, uint32_t *eax, void *arg);

/*
 * Devices that vm_run asks itself, on its own thread, before it makes an exit of an access to a
 * port or to memory outside RAM.  A function returns ENOENT, with nothing done, where there is
 * none: the exit follows then.  Anything else is as above; who has answered a read answers the
 * write, too.
 *
 * The functions may call what is marked Any or Any+locks, and of vmmdev_* what claims no vcpu; the
 * vcpu's registers are not to be had.  String I/O, and what a backend cannot serve in the middle of
 * guest code, may be exits all the same: so whoever has devices here also finishes exits with them.
 */
struct vm_devices {
	vm_inout_func_t port;	/* NULL: no ports */
	mem_region_read_t read; /* with `write`, or neither: no memory */
	mem_region_write_t write;
	void *arg;
};
/* Copied; NULL: none. Kept by vm_reinit. EINVAL: one of read and write is missing. Frozen. */
int vm_set_devices(struct vm *vm, const struct vm_devices *devices) VMM_MUST_CHECK;

/*
 * Finishes an INST_EMUL exit: executes the instruction at exit->rip, RAM and the core's chips
 * served inside, other addresses by the callbacks.  0: done, or a fault is queued; continue at
 * exit->rip + exit->inst_length in both cases, both are set.  EFAULT: the code lies outside RAM.
 * ENOTSUP: the backend lends no state, or the instruction is not one that a memory exit can be
 * finished with.
 */
int vm_emulate_instruction(struct vm *vm, int vcpu, struct vm_exit *exit, mem_region_read_t read,
	mem_region_write_t write, void *arg) VMM_MUST_CHECK;
/* Finishes a TASK_SWITCH exit. 0 as above; ENOTSUP. */
int vm_emulate_task_switch(struct vm *vm, int vcpu, struct vm_exit *exit) VMM_MUST_CHECK;
/* Finishes an INOUT exit: for IN merges the value into RAX as the width asks. 0. */
int vm_emulate_inout(struct vm *vm, int vcpu, struct vm_exit *exit, vm_inout_func_t handler,
	void *arg) VMM_MUST_CHECK;
/*
 * Goes on with an INOUT_STR exit, 16 iterations at most; exit->inst_length is 0 while some remain.
 * 0: done or a fault is queued.  EFAULT: memory operand outside RAM and the core's pages.
 */
int vm_emulate_inout_str(struct vm *vm, int vcpu, struct vm_exit *exit, vm_inout_func_t handler,
	void *arg) VMM_MUST_CHECK;
/* The same, and memory that is the user's device is reached by these, with an `arg` of their own.
 */
struct vm_inout_mem {
	mem_region_read_t read;
	mem_region_write_t write;
	void *arg;
};
int vm_emulate_inout_str_mem(struct vm *vm, int vcpu, struct vm_exit *exit, vm_inout_func_t handler,
	void *arg, const struct vm_inout_mem *mem) VMM_MUST_CHECK;

/*
 * ---- The checked layer ----
 *
 * Each call counts as being inside the VM: vmmdev_destroy waits for it, and answers ENXIO to those
 * that come later.  Vcpu calls claim the vcpu (IDLE to FROZEN, and back): one that is inside
 * vmmdev_run is made to leave the guest, does so with a BOGUS exit, and its next vmmdev_run waits
 * for us.  EINVAL: vcpu out of range.  EDEADLK: the calling thread has claimed it already, that is,
 * from a callback. Otherwise the errors are those of the raw function.  Any thread without locks.
 */

/* `ops` NULL: the default of vmm_init. One reference belongs to the caller. */
int vmmdev_create(const struct vmm_ops *ops, const char *name, struct vm **retvm) VMM_MUST_CHECK;
/*
 * Kicks everybody out, waits until they have left, destroys the VM and drops the creator's
 * reference. Not from inside a call on the VM.
 */
void vmmdev_destroy(struct vm *vm);
/* One more reference: the pointer stays good for vmmdev_* until vmmdev_drop. ENXIO: destroyed. */
int vmmdev_hold(struct vm *vm) VMM_MUST_CHECK;
void vmmdev_drop(struct vm *vm);

/* On one vcpu. */
int vmmdev_run(struct vm *vm, struct vm_run *vmrun) VMM_MUST_CHECK;
int vmmdev_get_register(struct vm *vm, int vcpu, int reg, uint64_t *value) VMM_MUST_CHECK;
int vmmdev_set_register(struct vm *vm, int vcpu, int reg, uint64_t value) VMM_MUST_CHECK;
int vmmdev_get_seg_desc(struct vm *vm, int vcpu, int reg, struct seg_desc *desc) VMM_MUST_CHECK;
int vmmdev_set_seg_desc(struct vm *vm, int vcpu, int reg, struct seg_desc *desc) VMM_MUST_CHECK;
int vmmdev_get_capability(struct vm *vm, int vcpu, int type, int *value) VMM_MUST_CHECK;
int vmmdev_set_capability(struct vm *vm, int vcpu, int type, int value) VMM_MUST_CHECK;
int vmmdev_inject_exception(struct vm *vm, struct vm_exception *vme) VMM_MUST_CHECK;
int vmmdev_get_intinfo(struct vm *vm, int vcpu, uint64_t *info1, uint64_t *info2) VMM_MUST_CHECK;
int vmmdev_set_intinfo(struct vm *vm, int vcpu, uint64_t info) VMM_MUST_CHECK;
int vmmdev_set_x2apic_state(struct vm *vm, int vcpu, enum x2apic_state state) VMM_MUST_CHECK;
int vmmdev_activate_cpu(struct vm *vm, int vcpu) VMM_MUST_CHECK;
int vmmdev_reset(struct vm *vm, int vcpu) VMM_MUST_CHECK;
int vmmdev_gla2gpa(struct vm *vm, int vcpu, struct vm_guest_paging *paging, uint64_t gla, int prot,
	uint64_t *gpa, int *fault) VMM_MUST_CHECK;
int vmmdev_get_paging(struct vm *vm, int vcpu, struct vm_guest_paging *paging) VMM_MUST_CHECK;
int vmmdev_emulate_instruction(struct vm *vm, int vcpu, struct vm_exit *exit,
	mem_region_read_t read, mem_region_write_t write, void *arg) VMM_MUST_CHECK;
int vmmdev_emulate_task_switch(struct vm *vm, int vcpu, struct vm_exit *exit) VMM_MUST_CHECK;
int vmmdev_emulate_inout(struct vm *vm, int vcpu, struct vm_exit *exit, vm_inout_func_t handler,
	void *arg) VMM_MUST_CHECK;
int vmmdev_emulate_inout_str(struct vm *vm, int vcpu, struct vm_exit *exit, vm_inout_func_t handler,
	void *arg) VMM_MUST_CHECK;
int vmmdev_emulate_inout_str_mem(struct vm *vm, int vcpu, struct vm_exit *exit,
	vm_inout_func_t handler, void *arg, const struct vm_inout_mem *mem) VMM_MUST_CHECK;

/* On all vcpus at once. */
int vmmdev_reinit(struct vm *vm) VMM_MUST_CHECK;
int vmmdev_set_devices(struct vm *vm, const struct vm_devices *devices) VMM_MUST_CHECK;
int vmmdev_set_topology(struct vm *vm, uint16_t sockets, uint16_t cores, uint16_t threads,
	uint16_t maxcpus) VMM_MUST_CHECK;
int vmmdev_map_memory(struct vm *vm, vm_paddr_t gpa, size_t len) VMM_MUST_CHECK;
/*
 * Memory [gpa, gpa+len) is read-only for the guest from now on: its stores are lost.  What is there
 * already keeps its content, which the host goes on changing (vmmdev_map_gpa, vmmdev_write); where
 * nothing is, zeroed memory comes into being.  EINVAL: not page-aligned, memory in part, or
 * read-only already; E2BIG: more than four; ENOMEM.
 */
int vmmdev_map_rom(struct vm *vm, vm_paddr_t gpa, size_t len) VMM_MUST_CHECK;
int vmmdev_map_mmio(struct vm *vm, vm_paddr_t gpa, size_t len, vm_paddr_t hpa) VMM_MUST_CHECK;
int vmmdev_unmap_mmio(struct vm *vm, vm_paddr_t gpa, size_t len) VMM_MUST_CHECK;
int vmmdev_assign_pptdev(struct vm *vm, int bus, int slot, int func) VMM_MUST_CHECK;
int vmmdev_unassign_pptdev(struct vm *vm, int bus, int slot, int func) VMM_MUST_CHECK;

/* On none. These do not disturb a running vcpu beyond what they raise. */
int vmmdev_suspend(struct vm *vm, enum vm_suspend_how how) VMM_MUST_CHECK;
int vmmdev_get_memory_seg(struct vm *vm, vm_paddr_t gpa,
	struct vm_memory_segment *seg) VMM_MUST_CHECK; /* 0; len is 0 if no segment starts there */
/*
 * Guest-physical memory: reads of holes give zeros; EFAULT: a write to one, what came before is
 * done.
 */
int vmmdev_read(struct vm *vm, vm_paddr_t gpa, void *buf, size_t len) VMM_MUST_CHECK;
int vmmdev_write(struct vm *vm, vm_paddr_t gpa, const void *buf, size_t len) VMM_MUST_CHECK;
/* The host address of RAM [gpa, gpa+len), good until vmmdev_destroy; NULL unless in one segment. */
void *vmmdev_map_gpa(struct vm *vm, vm_paddr_t gpa, size_t len);
int vmmdev_stat(struct vm *vm, int vcpu, unsigned index, char name[VMM_STAT_NAME_LEN],
	uint64_t *value) VMM_MUST_CHECK;
int vmmdev_get_x2apic_state(struct vm *vm, int vcpu, enum x2apic_state *state) VMM_MUST_CHECK;
int vmmdev_inject_nmi(struct vm *vm, int vcpu) VMM_MUST_CHECK;
/* An edge interrupt straight into a local APIC. EINVAL: vcpu, or vector not 16..255. */
int vmmdev_lapic_irq(struct vm *vm, int vcpu, int vector) VMM_MUST_CHECK;
/* An LVT entry by its index (vmm-api.md 10.1.9); vcpu -1: all active ones. EINVAL. */
int vmmdev_lapic_local_irq(struct vm *vm, int vcpu, int lvt) VMM_MUST_CHECK;
/* A message-signalled interrupt as the device would write it. EINVAL: no APIC address. */
int vmmdev_lapic_msi(struct vm *vm, uint64_t addr, uint64_t msg) VMM_MUST_CHECK;
/* EINVAL: no such pin. Asserts are counted: as many deasserts lower the line. */
int vmmdev_ioapic_assert_irq(struct vm *vm, int pin) VMM_MUST_CHECK;
int vmmdev_ioapic_deassert_irq(struct vm *vm, int pin) VMM_MUST_CHECK;
int vmmdev_ioapic_pulse_irq(struct vm *vm, int pin) VMM_MUST_CHECK;
int vmmdev_ioapic_pincount(struct vm *vm, int *count) VMM_MUST_CHECK;
/* The PIC's line, then the I/O APIC's pin unless that is -1. EINVAL: no such line or pin. */
int vmmdev_isa_assert_irq(struct vm *vm, int atpic_irq, int ioapic_irq) VMM_MUST_CHECK;
int vmmdev_isa_deassert_irq(struct vm *vm, int atpic_irq, int ioapic_irq) VMM_MUST_CHECK;
int vmmdev_isa_pulse_irq(struct vm *vm, int atpic_irq, int ioapic_irq) VMM_MUST_CHECK;
int vmmdev_isa_set_irq_trigger(
	struct vm *vm, int atpic_irq, enum vm_intr_trigger trigger) VMM_MUST_CHECK;
int vmmdev_hpet_capabilities(struct vm *vm, uint32_t *capabilities) VMM_MUST_CHECK;

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif

#endif
