/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Model-specific registers.  Those that the processor itself uses are KVM's, and mostly without an
 * exit; all others come to us, and are answered by the code that answers them on every backend, so
 * that a guest finds the same machine.
 */
#include <vmm/vlapic.h>

#include "backend/kvm/kvm.h"

#define MSR_TSC	       0x10u
#define MSR_TSC_ADJUST 0x3bu

/* What moves with struct x86_cpu. SYSCALL's, SYSENTER's, PAT, GS's other base, TSC_AUX. */
const uint32_t kvm_state_msrs[] = {0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0xc0000102,
	0xc0000103, 0x174, 0x175, 0x176, 0x277};
const unsigned kvm_state_msr_count = sizeof(kvm_state_msrs) / sizeof(kvm_state_msrs[0]);

uint64_t *kvm_msr_place(struct x86_cpu *cpu, unsigned i)
{
	switch (kvm_state_msrs[i]) {
	case 0xc0000081:
		return &cpu->star;
	case 0xc0000082:
		return &cpu->lstar;
	case 0xc0000083:
		return &cpu->cstar;
	case 0xc0000084:
		return &cpu->sfmask;
	case 0xc0000102:
		return &cpu->kernel_gs_base;
	case 0xc0000103:
		return &cpu->tsc_aux;
	case 0x174:
		return &cpu->sysenter_cs;
	case 0x175:
		return &cpu->sysenter_esp;
	case 0x176:
		return &cpu->sysenter_eip;
	default:
		return &cpu->pat;
	}
}

/* ---- Which are whose ---- */

#define READ  KVM_MSR_FILTER_READ
#define WRITE KVM_MSR_FILTER_WRITE

/*
 * What KVM answers; the bits count from `base`.  The time-stamp counter is read there and written
 * here: its offset is ours, for the APIC's deadline.  FLUSH_CMD, SPEC_CTRL, PRED_CMD and
 * ARCH_CAPABILITIES tell of the processor that really runs the guest.
 */
static const struct {
	uint32_t base, count, flags;
	uint8_t bits;
} owned[] = {
	{MSR_TSC, 1, READ, 1},
	{0x48, 2, READ | WRITE, 3},
	{0x10a, 2, READ | WRITE, 3},
	{0x174, 3, READ | WRITE, 7},
	{0x277, 1, READ | WRITE, 1},
	{0xc0000080, 5, READ | WRITE, 0x1f},
	{0xc0000100, 4, READ | WRITE, 0xf},
};

/* APIC registers of x2APIC mode cannot be filtered; without a chip in the kernel they are errors
 * there. */
int kvm_msr_filter_set(int vm_fd)
{
	struct kvm_msr_filter filter = {.flags = KVM_MSR_FILTER_DEFAULT_DENY};
	uint8_t bitmap[sizeof(owned) / sizeof(owned[0])][8] = {{0}};

	for (size_t i = 0; i < sizeof(owned) / sizeof(owned[0]); i++) {
		bitmap[i][0] = owned[i].bits;
		filter.ranges[i] = (struct kvm_msr_filter_range){
			.flags = owned[i].flags,
			.nmsrs = owned[i].count,
			.base = owned[i].base,
			.bitmap = bitmap[i],
		};
	}
	return kvm_call(vm_fd, KVM_X86_SET_MSR_FILTER, &filter) < 0 ? errno : 0;
}

/* ---- The others ---- */

/* False: nobody knows it. */
static bool answer(struct kvm_cpu *c, enum x86_result res)
{
	if (res == X86_EXIT)
		return false;
	c->run->msr.error = res == X86_FAULT;
	return true;
}

static bool read_msr(struct kvm_cpu *c)
{
	uint64_t value = 0;
	bool known = answer(c, x86_rdmsr(&c->cpu, c->run->msr.index, &value));

	c->run->msr.data = value;
	return known;
}

static bool write_msr(struct kvm_cpu *c)
{
	uint64_t offset = c->cpu.tsc_offset;
	bool known = answer(c, x86_wrmsr(&c->cpu, c->run->msr.index, c->run->msr.data));

	if (c->cpu.tsc_offset != offset) {
		(void)kvm_tsc_offset_set(c);
		vlapic_tsc_changed(vm_lapic(c->vm, c->vcpuid));
	}
	return known;
}

/* APIC registers apart, what KVM knows and refuses deserves the #GP that it would be without us. */
static bool is_refused(const struct kvm_run *run)
{
	return run->msr.reason == KVM_MSR_EXIT_REASON_INVAL && !vlapic_owns_msr(run->msr.index);
}

bool kvm_msr_exit(struct kvm_cpu *c)
{
	if (is_refused(c->run)) {
		c->run->msr.error = 1;
		return true;
	}
	kvm_state_view(c);
	return c->run->exit_reason == KVM_EXIT_X86_RDMSR ? read_msr(c) : write_msr(c);
}
