/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The checked layer over the raw API (vmm-api.md 12.2): calls on one vcpu claim it, calls on the
 * map of memory claim all, the rest claims nothing.  Every call counts as inside the VM, so that
 * destruction can wait for it.
 */
#include <vmm/vatpic.h>
#include <vmm/vhpet.h>
#include <vmm/vioapic.h>
#include <vmm/vlapic.h>

#include "vmm/vm.h"

/* ---- Inside, and lifetime ---- */

static bool is_dead(struct vm *vm)
{
	return (atomic_load(&vm->dev.inside) & VM_DEAD) != 0;
}

/* Whoever destroys the VM may free it once it sees nobody inside: so then it is said under the lock. */
static void go_out(struct vm *vm)
{
	uint32_t old = atomic_load_explicit(&vm->dev.inside, memory_order_relaxed);

	while ((old & VM_DEAD) == 0)
		if (atomic_compare_exchange_weak(&vm->dev.inside, &old, old - 1))
			return;
	pthread_mutex_lock(&vm->dev.lock);
	if (atomic_fetch_sub(&vm->dev.inside, 1) - 1 == VM_DEAD)
		pthread_cond_broadcast(&vm->dev.left_cond);
	pthread_mutex_unlock(&vm->dev.lock);
}

static int go_in(struct vm *vm)
{
	if ((atomic_fetch_add(&vm->dev.inside, 1) & VM_DEAD) == 0)
		return 0;
	go_out(vm);
	return ENXIO;
}

int vmmdev_create(const struct vmm_ops *ops, const char *name, struct vm **retvm)
{
	return ops != NULL ? vm_create_on(ops, name, retvm) : vm_create(name, retvm);
}

int vmmdev_hold(struct vm *vm)
{
	int error = 0;

	pthread_mutex_lock(&vm->dev.lock);
	if (is_dead(vm))
		error = ENXIO;
	else
		vm->dev.refs++;
	pthread_mutex_unlock(&vm->dev.lock);
	return error;
}

void vmmdev_drop(struct vm *vm)
{
	unsigned left;

	pthread_mutex_lock(&vm->dev.lock);
	left = --vm->dev.refs;
	pthread_mutex_unlock(&vm->dev.lock);
	if (left == 0)
		vm_free(vm);
}

/* A yield request stays until vm_run has returned once, so one for each vcpu is enough. */
void vmmdev_destroy(struct vm *vm)
{
	atomic_fetch_or(&vm->dev.inside, VM_DEAD);
	for (int i = 0; i < VM_MAXCPU; i++)
		vm_vcpu_yield(vm, i);
	pthread_mutex_lock(&vm->dev.lock);
	while (atomic_load(&vm->dev.inside) != VM_DEAD)
		pthread_cond_wait(&vm->dev.left_cond, &vm->dev.lock);
	pthread_mutex_unlock(&vm->dev.lock);
	vm_teardown(vm);
	vmmdev_drop(vm);
}

/* ---- Claims ---- */

static bool claimed_by_me(struct vm *vm, int vcpuid)
{
	return atomic_load_explicit(&vm->vcpu[vcpuid].claimer, memory_order_relaxed) ==
	       (uintptr_t)pthread_self();
}

static int vcpu_begin(struct vm *vm, int vcpuid, bool runner)
{
	int error = go_in(vm);

	if (error != 0)
		return error;
	if (!vcpu_valid(vcpuid))
		error = EINVAL;
	else if (claimed_by_me(vm, vcpuid))
		error = EDEADLK;
	else
		vcpu_claim(vm, vcpuid, runner);
	if (error != 0)
		go_out(vm);
	return error;
}

static void vcpu_end(struct vm *vm, int vcpuid)
{
	vcpu_release(vm, vcpuid);
	go_out(vm);
}

static int all_begin(struct vm *vm)
{
	int error = go_in(vm);

	if (error != 0)
		return error;
	for (int i = 0; i < VM_MAXCPU; i++) {
		if (claimed_by_me(vm, i)) {
			go_out(vm);
			return EDEADLK;
		}
	}
	vcpu_claim_all(vm);
	return 0;
}

static void all_end(struct vm *vm)
{
	vcpu_release_all(vm);
	go_out(vm);
}

/* The three kinds of call, around one of the raw API. */
#define ON_VCPU(vm, vcpu, runner, call)                                                            \
	do {                                                                                       \
		int error_ = vcpu_begin((vm), (vcpu), (runner));                                   \
		if (error_ != 0)                                                                   \
			return error_;                                                             \
		error_ = (call);                                                                   \
		vcpu_end((vm), (vcpu));                                                            \
		return error_;                                                                     \
	} while (0)

#define ON_ALL(vm, call)                                                                           \
	do {                                                                                       \
		int error_ = all_begin(vm);                                                        \
		if (error_ != 0)                                                                   \
			return error_;                                                             \
		error_ = (call);                                                                   \
		all_end(vm);                                                                       \
		return error_;                                                                     \
	} while (0)

/* vm_reinit replaces the chips, and freezing the vcpus keeps nobody else from them. */
#define ON_NONE(vm, call)                                                                          \
	do {                                                                                       \
		int error_ = go_in(vm);                                                            \
		if (error_ != 0)                                                                   \
			return error_;                                                             \
		pthread_rwlock_rdlock(&(vm)->dev.chips_lock);                                      \
		error_ = (call);                                                                   \
		pthread_rwlock_unlock(&(vm)->dev.chips_lock);                                      \
		go_out(vm);                                                                        \
		return error_;                                                                     \
	} while (0)

/* ---- On one vcpu ---- */

int vmmdev_run(struct vm *vm, struct vm_run *vmrun)
{
	ON_VCPU(vm, vmrun->cpuid, true, vm_run(vm, vmrun));
}

int vmmdev_get_register(struct vm *vm, int vcpu, int reg, uint64_t *value)
{
	ON_VCPU(vm, vcpu, false, vm_get_register(vm, vcpu, reg, value));
}

int vmmdev_set_register(struct vm *vm, int vcpu, int reg, uint64_t value)
{
	ON_VCPU(vm, vcpu, false, vm_set_register(vm, vcpu, reg, value));
}

int vmmdev_get_seg_desc(struct vm *vm, int vcpu, int reg, struct seg_desc *desc)
{
	ON_VCPU(vm, vcpu, false, vm_get_seg_desc(vm, vcpu, reg, desc));
}

int vmmdev_set_seg_desc(struct vm *vm, int vcpu, int reg, struct seg_desc *desc)
{
	ON_VCPU(vm, vcpu, false, vm_set_seg_desc(vm, vcpu, reg, desc));
}

int vmmdev_get_capability(struct vm *vm, int vcpu, int type, int *value)
{
	ON_VCPU(vm, vcpu, false, vm_get_capability(vm, vcpu, type, value));
}

int vmmdev_set_capability(struct vm *vm, int vcpu, int type, int value)
{
	ON_VCPU(vm, vcpu, false, vm_set_capability(vm, vcpu, type, value));
}

int vmmdev_inject_exception(struct vm *vm, struct vm_exception *vme)
{
	ON_VCPU(vm, vme->cpuid, false, vm_inject_exception(vm, vme->cpuid, vme));
}

int vmmdev_get_intinfo(struct vm *vm, int vcpu, uint64_t *info1, uint64_t *info2)
{
	ON_VCPU(vm, vcpu, false, vm_get_intinfo(vm, vcpu, info1, info2));
}

int vmmdev_set_intinfo(struct vm *vm, int vcpu, uint64_t info)
{
	ON_VCPU(vm, vcpu, false, vm_exit_intinfo(vm, vcpu, info));
}

int vmmdev_set_x2apic_state(struct vm *vm, int vcpu, enum x2apic_state state)
{
	ON_VCPU(vm, vcpu, false, vm_set_x2apic_state(vm, vcpu, state));
}

int vmmdev_activate_cpu(struct vm *vm, int vcpu)
{
	ON_VCPU(vm, vcpu, false, vm_activate_cpu(vm, vcpu));
}

int vmmdev_reset(struct vm *vm, int vcpu)
{
	ON_VCPU(vm, vcpu, false, vcpu_reset(vm, vcpu));
}

int vmmdev_gla2gpa(struct vm *vm, int vcpu, struct vm_guest_paging *paging, uint64_t gla, int prot,
	uint64_t *gpa, int *fault)
{
	ON_VCPU(vm, vcpu, false, vm_gla2gpa(vm, vcpu, paging, gla, prot, gpa, fault));
}

int vmmdev_get_paging(struct vm *vm, int vcpu, struct vm_guest_paging *paging)
{
	ON_VCPU(vm, vcpu, false, vm_get_paging(vm, vcpu, paging));
}

int vmmdev_emulate_instruction(struct vm *vm, int vcpu, struct vm_exit *exit,
	mem_region_read_t read, mem_region_write_t write, void *arg)
{
	ON_VCPU(vm, vcpu, false, vm_emulate_instruction(vm, vcpu, exit, read, write, arg));
}

int vmmdev_emulate_task_switch(struct vm *vm, int vcpu, struct vm_exit *exit)
{
	ON_VCPU(vm, vcpu, false, vm_emulate_task_switch(vm, vcpu, exit));
}

int vmmdev_emulate_inout(
	struct vm *vm, int vcpu, struct vm_exit *exit, vm_inout_func_t handler, void *arg)
{
	ON_VCPU(vm, vcpu, false, vm_emulate_inout(vm, vcpu, exit, handler, arg));
}

int vmmdev_emulate_inout_str(
	struct vm *vm, int vcpu, struct vm_exit *exit, vm_inout_func_t handler, void *arg)
{
	ON_VCPU(vm, vcpu, false, vm_emulate_inout_str(vm, vcpu, exit, handler, arg));
}

int vmmdev_emulate_inout_str_mem(struct vm *vm, int vcpu, struct vm_exit *exit,
	vm_inout_func_t handler, void *arg, const struct vm_inout_mem *mem)
{
	ON_VCPU(vm, vcpu, false, vm_emulate_inout_str_mem(vm, vcpu, exit, handler, arg, mem));
}

/* ---- On all vcpus ---- */

static int reinit_alone(struct vm *vm)
{
	int error;

	pthread_rwlock_wrlock(&vm->dev.chips_lock);
	error = vm_reinit(vm);
	pthread_rwlock_unlock(&vm->dev.chips_lock);
	return error;
}

int vmmdev_reinit(struct vm *vm)
{
	ON_ALL(vm, reinit_alone(vm));
}

int vmmdev_set_devices(struct vm *vm, const struct vm_devices *devices)
{
	ON_ALL(vm, vm_set_devices(vm, devices));
}

int vmmdev_set_topology(
	struct vm *vm, uint16_t sockets, uint16_t cores, uint16_t threads, uint16_t maxcpus)
{
	ON_ALL(vm, vm_set_topology(vm, sockets, cores, threads, maxcpus));
}

int vmmdev_map_memory(struct vm *vm, vm_paddr_t gpa, size_t len)
{
	ON_ALL(vm, vm_malloc(vm, gpa, len));
}

int vmmdev_map_rom(struct vm *vm, vm_paddr_t gpa, size_t len)
{
	ON_ALL(vm, vm_map_rom(vm, gpa, len));
}

int vmmdev_map_mmio(struct vm *vm, vm_paddr_t gpa, size_t len, vm_paddr_t hpa)
{
	ON_ALL(vm, vm_map_mmio(vm, gpa, len, hpa));
}

int vmmdev_unmap_mmio(struct vm *vm, vm_paddr_t gpa, size_t len)
{
	ON_ALL(vm, vm_unmap_mmio(vm, gpa, len));
}

int vmmdev_assign_pptdev(struct vm *vm, int bus, int slot, int func)
{
	ON_ALL(vm, vm_assign_pptdev(vm, bus, slot, func));
}

int vmmdev_unassign_pptdev(struct vm *vm, int bus, int slot, int func)
{
	ON_ALL(vm, vm_unassign_pptdev(vm, bus, slot, func));
}

/* ---- On none ---- */

int vmmdev_suspend(struct vm *vm, enum vm_suspend_how how)
{
	ON_NONE(vm, vm_suspend(vm, how));
}

static int memory_seg(struct vm *vm, vm_paddr_t gpa, struct vm_memory_segment *seg)
{
	*seg = (struct vm_memory_segment){.gpa = gpa};
	(void)vm_gpabase2memseg(vm, gpa, seg);
	return 0;
}

int vmmdev_get_memory_seg(struct vm *vm, vm_paddr_t gpa, struct vm_memory_segment *seg)
{
	ON_NONE(vm, memory_seg(vm, gpa, seg));
}

/* Bytes of [gpa, gpa+len) before RAM or the hole ends; a hole is looked at page by page. */
static size_t stretch(struct vm *vm, vm_paddr_t gpa, size_t len, uint8_t **hva)
{
	size_t n = PAGE_SIZE - (gpa & PAGE_MASK);

	*hva = vm_gpa_ram(vm, gpa, &n);
	return n < len ? n : len;
}

static int read_memory(struct vm *vm, vm_paddr_t gpa, void *buf, size_t len)
{
	uint8_t *to = buf, *hva;

	while (len > 0) {
		size_t n = stretch(vm, gpa, len, &hva);

		if (hva != NULL)
			memcpy(to, hva, n);
		else
			memset(to, 0, n);
		to += n;
		gpa += n;
		len -= n;
	}
	return 0;
}

static int write_memory(struct vm *vm, vm_paddr_t gpa, const void *buf, size_t len)
{
	const uint8_t *from = buf;
	uint8_t *hva;

	while (len > 0) {
		size_t n = stretch(vm, gpa, len, &hva);

		if (hva == NULL)
			return EFAULT;
		memcpy(hva, from, n);
		vm_mem_written(vm, gpa, n);
		from += n;
		gpa += n;
		len -= n;
	}
	return 0;
}

int vmmdev_read(struct vm *vm, vm_paddr_t gpa, void *buf, size_t len)
{
	ON_NONE(vm, read_memory(vm, gpa, buf, len));
}

int vmmdev_write(struct vm *vm, vm_paddr_t gpa, const void *buf, size_t len)
{
	ON_NONE(vm, write_memory(vm, gpa, buf, len));
}

void *vmmdev_map_gpa(struct vm *vm, vm_paddr_t gpa, size_t len)
{
	size_t contiguous;
	void *hva;

	if (go_in(vm) != 0)
		return NULL;
	hva = vm_gpa_ram(vm, gpa, &contiguous);
	go_out(vm);
	return hva != NULL && len <= contiguous ? hva : NULL;
}

int vmmdev_stat(
	struct vm *vm, int vcpu, unsigned index, char name[VMM_STAT_NAME_LEN], uint64_t *value)
{
	ON_NONE(vm, vm_stat(vm, vcpu, index, name, value));
}

int vmmdev_get_x2apic_state(struct vm *vm, int vcpu, enum x2apic_state *state)
{
	ON_NONE(vm, vm_get_x2apic_state(vm, vcpu, state));
}

int vmmdev_inject_nmi(struct vm *vm, int vcpu)
{
	ON_NONE(vm, vm_inject_nmi(vm, vcpu));
}

int vmmdev_lapic_irq(struct vm *vm, int vcpu, int vector)
{
	ON_NONE(vm, lapic_set_intr(vm, vcpu, vector, false));
}

int vmmdev_lapic_local_irq(struct vm *vm, int vcpu, int lvt)
{
	ON_NONE(vm, lapic_set_local_intr(vm, vcpu, lvt));
}

int vmmdev_lapic_msi(struct vm *vm, uint64_t addr, uint64_t msg)
{
	ON_NONE(vm, lapic_intr_msi(vm, addr, msg) != 0 ? EINVAL : 0);
}

int vmmdev_ioapic_assert_irq(struct vm *vm, int pin)
{
	ON_NONE(vm, vioapic_assert_irq(vm, pin));
}

int vmmdev_ioapic_deassert_irq(struct vm *vm, int pin)
{
	ON_NONE(vm, vioapic_deassert_irq(vm, pin));
}

int vmmdev_ioapic_pulse_irq(struct vm *vm, int pin)
{
	ON_NONE(vm, vioapic_pulse_irq(vm, pin));
}

static int pincount(struct vm *vm, int *count)
{
	*count = vioapic_pincount(vm);
	return 0;
}

int vmmdev_ioapic_pincount(struct vm *vm, int *count)
{
	ON_NONE(vm, pincount(vm, count));
}

/* An ISA line is wired to both controllers; the firmware and the guest choose which one counts. */
static int isa_irq(struct vm *vm, int atpic_irq, int ioapic_irq,
	int (*atpic)(struct vm *vm, int irq), int (*ioapic)(struct vm *vm, int irq))
{
	int error = atpic(vm, atpic_irq);

	if (error != 0 || ioapic_irq == -1)
		return error;
	return ioapic(vm, ioapic_irq);
}

int vmmdev_isa_assert_irq(struct vm *vm, int atpic_irq, int ioapic_irq)
{
	ON_NONE(vm, isa_irq(vm, atpic_irq, ioapic_irq, vatpic_assert_irq, vioapic_assert_irq));
}

int vmmdev_isa_deassert_irq(struct vm *vm, int atpic_irq, int ioapic_irq)
{
	ON_NONE(vm, isa_irq(vm, atpic_irq, ioapic_irq, vatpic_deassert_irq, vioapic_deassert_irq));
}

int vmmdev_isa_pulse_irq(struct vm *vm, int atpic_irq, int ioapic_irq)
{
	ON_NONE(vm, isa_irq(vm, atpic_irq, ioapic_irq, vatpic_pulse_irq, vioapic_pulse_irq));
}

int vmmdev_isa_set_irq_trigger(struct vm *vm, int atpic_irq, enum vm_intr_trigger trigger)
{
	ON_NONE(vm, vatpic_set_irq_trigger(vm, atpic_irq, trigger));
}

int vmmdev_hpet_capabilities(struct vm *vm, uint32_t *capabilities)
{
	ON_NONE(vm, vhpet_getcap(vm, capabilities));
}
