/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Guest-linear memory (vmm-api.md 8.1, 8.2, 8.4).  The walk is the architecture's, with every
 * permission check; what it needs beyond the caller's snapshot (WP, SMEP, SMAP, NXE, AC) comes from
 * the vcpu.
 */
#include "vmm/vm.h"
#include "x86/x86.h"

#define PAE_TABLE_MASK 0xffffffe0ull

/* ---- A walker's processor: control registers and nothing else ---- */

static void *walker_ram(struct x86_cpu *cpu, uint64_t gpa, unsigned len, bool write)
{
	size_t contiguous;
	void *hva = vm_gpa_ram(cpu->owner, gpa, &contiguous);

	if (hva == NULL || contiguous < len)
		return NULL;
	if (write && vm_gpa_is_rom(cpu->owner, gpa))
		return NULL; /* an entry that cannot be marked */
	if (write)
		vm_mem_written(cpu->owner, gpa, len);
	return hva;
}

/* x86_walk asks for nothing else. */
static const struct x86_ops walker_ops = {.ram = walker_ram};

static uint64_t reg_or_zero(struct vm *vm, int vcpuid, enum vm_reg_name reg)
{
	uint64_t value = 0;

	(void)vm->ops->vmgetreg(vm->vmi, vcpuid, reg, &value);
	return value;
}

/* The snapshot decides about the mode, whatever the registers have become since. */
static void apply_snapshot(struct x86_cpu *cpu, const struct vm_guest_paging *paging)
{
	enum vm_paging_mode mode = paging->paging_mode;

	cpu->cr3 = paging->cr3;
	cpu->cpl = (uint8_t)paging->cpl;
	cpu->cr0 |= X86_CR0_PE;
	cpu->cr0 =
		mode != PAGING_MODE_FLAT ? cpu->cr0 | X86_CR0_PG : cpu->cr0 & ~(uint64_t)X86_CR0_PG;
	cpu->cr4 = mode >= PAGING_MODE_PAE ? cpu->cr4 | X86_CR4_PAE
					   : cpu->cr4 & ~(uint64_t)X86_CR4_PAE;
	cpu->efer &= ~(uint64_t)(X86_EFER_LME | X86_EFER_LMA);
	if (mode == PAGING_MODE_64)
		cpu->efer |= X86_EFER_LME | X86_EFER_LMA;
	if (paging->cpu_mode == CPU_MODE_64BIT)
		cpu->seg[X86_CS].access = X86_SEG_L;
}

static int load_pdptes(struct vm *vm, struct x86_cpu *cpu)
{
	uint64_t gpa = cpu->cr3 & PAE_TABLE_MASK;
	const void *table = walker_ram(cpu, gpa, sizeof(cpu->pdpte), false);

	(void)vm;
	if (table == NULL)
		return -1;
	memcpy(cpu->pdpte, table, sizeof(cpu->pdpte));
	return 0;
}

static int walker_init(
	struct x86_cpu *cpu, struct vm *vm, int vcpuid, const struct vm_guest_paging *paging)
{
	memset(cpu, 0, offsetof(struct x86_cpu, fpu));
	cpu->ops = &walker_ops;
	cpu->owner = vm;
	cpu->maxphyaddr = vm->maxphyaddr;
	cpu->cr0 = reg_or_zero(vm, vcpuid, VM_REG_GUEST_CR0);
	cpu->cr4 = reg_or_zero(vm, vcpuid, VM_REG_GUEST_CR4);
	cpu->efer = reg_or_zero(vm, vcpuid, VM_REG_GUEST_EFER);
	cpu->rflags = reg_or_zero(vm, vcpuid, VM_REG_GUEST_RFLAGS);
	apply_snapshot(cpu, paging);
	return paging->paging_mode == PAGING_MODE_PAE ? load_pdptes(vm, cpu) : 0;
}

static unsigned access_bits(const struct vm_guest_paging *paging, int prot)
{
	unsigned acc = (prot & PROT_WRITE) != 0	 ? X86_ACC_WRITE
		       : (prot & PROT_EXEC) != 0 ? X86_ACC_EXEC
						 : X86_ACC_READ;

	return paging->cpl == 3 ? acc | X86_ACC_USER : acc;
}

/* ---- Translation ---- */

/* A walk with its processor, for as many pages as a range has. */
struct walker {
	struct vm *vm;
	int vcpuid;
	const struct vm_guest_paging *paging;
	struct x86_cpu cpu;
};

/* 0, 1 (a fault was queued), -1 (tables outside RAM). */
static int translate(struct walker *w, uint64_t gla, int prot, uint64_t *gpa)
{
	struct x86_walk walk;

	if (vie_canonical_check(w->paging->cpu_mode, gla)) {
		vm_inject_gp(w->vm, w->vcpuid);
		return 1;
	}
	if (w->paging->paging_mode == PAGING_MODE_FLAT) {
		*gpa = gla;
		return 0;
	}
	switch (x86_walk(&w->cpu, gla, access_bits(w->paging, prot), &walk)) {
	case X86_DONE:
		*gpa = walk.gpa;
		return 0;
	case X86_FAULT:
		vm_inject_pf(w->vm, w->vcpuid, (int)w->cpu.fault.error, gla);
		return 1;
	default:
		return -1;
	}
}

int vm_gla2gpa(struct vm *vm, int vcpuid, struct vm_guest_paging *paging, uint64_t gla, int prot,
	uint64_t *gpa, int *fault)
{
	struct walker w = {.vm = vm, .vcpuid = vcpuid, .paging = paging};
	int result;

	if (!vcpu_valid(vcpuid))
		return EINVAL;
	if (walker_init(&w.cpu, vm, vcpuid, paging) != 0)
		return EFAULT;
	result = translate(&w, gla, prot, gpa);
	*fault = result == 1;
	return result < 0 ? EFAULT : 0;
}

/* ---- Copies ---- */

static int hold_all(struct vm *vm, struct vm_copyinfo *info, int used, int prot)
{
	for (int i = 0; i < used; i++) {
		info[i].hva = vm_gpa_hold(vm, info[i].gpa, info[i].len, prot, &info[i].cookie);
		if (info[i].hva == NULL)
			return -1;
	}
	return 0;
}

/* Both phases: a fault on the second page must find the first one untouched. */
int vm_copy_setup(struct vm *vm, int vcpuid, struct vm_guest_paging *paging, uint64_t gla,
	size_t len, int prot, struct vm_copyinfo *info, int num_copyinfo)
{
	struct walker w = {.vm = vm, .vcpuid = vcpuid, .paging = paging};
	int used = 0, result;

	memset(info, 0, sizeof(*info) * (size_t)num_copyinfo);
	if (walker_init(&w.cpu, vm, vcpuid, paging) != 0)
		return -1;
	for (; len > 0; used++) {
		uint64_t gpa, left;

		if (used == num_copyinfo)
			return -1;
		result = translate(&w, gla, prot, &gpa);
		if (result != 0)
			return result;
		left = PAGE_SIZE - (gpa & PAGE_MASK);
		info[used].gpa = gpa;
		info[used].len = len < left ? len : left;
		len -= info[used].len;
		gla += info[used].len;
	}
	result = hold_all(vm, info, used, prot);
	if (result != 0)
		vm_copy_teardown(vm, vcpuid, info, num_copyinfo);
	return result;
}

void vm_copy_teardown(struct vm *vm, int vcpuid, struct vm_copyinfo *info, int num_copyinfo)
{
	(void)vm;
	(void)vcpuid;
	for (int i = 0; i < num_copyinfo; i++)
		if (info[i].cookie != NULL)
			vm_gpa_release(info[i].cookie);
	memset(info, 0, sizeof(*info) * (size_t)num_copyinfo);
}

void vm_copyin(struct vm *vm, int vcpuid, struct vm_copyinfo *info, void *kaddr, size_t len)
{
	uint8_t *to = kaddr;

	(void)vm;
	(void)vcpuid;
	for (; len > 0; info++) {
		assert(info->len != 0 && info->len <= len);
		memcpy(to, info->hva, info->len);
		to += info->len;
		len -= info->len;
	}
}

void vm_copyout(struct vm *vm, int vcpuid, const void *kaddr, struct vm_copyinfo *info, size_t len)
{
	const uint8_t *from = kaddr;

	(void)vm;
	(void)vcpuid;
	for (; len > 0; info++) {
		assert(info->len != 0 && info->len <= len);
		memcpy(info->hva, from, info->len);
		from += info->len;
		len -= info->len;
	}
}
