/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "test/vmm/fake_backend.h"
#include "vmm/vm.h"

struct fake_vcpu {
	struct x86_cpu cpu;
	int caps[VM_CAP_MAX];
	const struct fake_step *steps;
	unsigned nsteps, next;
	struct fake_log log;
	atomic_uint kicks;
};

struct fake {
	struct vm *vm;
	struct fake_vcpu *vcpu; /* VM_MAXCPU */
};

static struct fake_vcpu *vcpu_of(struct vm *vm, int vcpuid)
{
	return &((struct fake *)vm->vmi)->vcpu[vcpuid];
}

void fake_script(struct vm *vm, int vcpuid, const struct fake_step *steps, unsigned n)
{
	struct fake_vcpu *vcpu = vcpu_of(vm, vcpuid);

	vcpu->steps = steps;
	vcpu->nsteps = n;
	vcpu->next = 0;
}

struct fake_log *fake_log(struct vm *vm, int vcpuid)
{
	struct fake_vcpu *vcpu = vcpu_of(vm, vcpuid);

	vcpu->log.kicks = atomic_load(&vcpu->kicks);
	return &vcpu->log;
}

struct x86_cpu *fake_cpu(struct vm *vm, int vcpuid)
{
	return &vcpu_of(vm, vcpuid)->cpu;
}

/* ---- Module and VM ---- */

static int fake_init(int ipinum)
{
	(void)ipinum;
	return 0;
}

static int fake_cleanup(void)
{
	return 0;
}

static void fake_resume(void)
{
}

static void *fake_vminit(struct vm *vm, struct pmap *pmap)
{
	struct fake *fake = calloc(1, sizeof(*fake));
	size_t size = sizeof(*fake->vcpu) * VM_MAXCPU;

	(void)pmap;
	fake->vm = vm;
	fake->vcpu = aligned_alloc(64, (size + 63) & ~(size_t)63);
	memset(fake->vcpu, 0, size);
	for (int i = 0; i < VM_MAXCPU; i++) {
		struct x86_cpu *cpu = &fake->vcpu[i].cpu;

		x86_features_init(cpu);
		x86_reset(cpu);
	}
	return fake;
}

static void fake_vmcleanup(void *vmi)
{
	struct fake *fake = vmi;

	for (int i = 0; i < VM_MAXCPU; i++)
		if (fake->vcpu[i].cpu.exec != NULL)
			x86_exec_destroy(fake->vcpu[i].cpu.exec);
	free(fake->vcpu);
	free(fake);
}

/* ---- Running ---- */

/* True: vmrun is over, the exit has been filled. */
static bool asked_to_leave(struct vm *vm, int vcpuid, uint64_t rip, void *rendezvous, void *suspend)
{
	if (vcpu_suspended(suspend))
		vm_exit_suspended(vm, vcpuid, rip);
	else if (vcpu_rendezvous_pending(rendezvous))
		vm_exit_rendezvous(vm, vcpuid, rip);
	else if (vcpu_should_yield(vm, vcpuid))
		vm_exit_astpending(vm, vcpuid, rip);
	else
		return false;
	return true;
}

static void take_event(struct vm *vm, int vcpuid, struct fake_vcpu *vcpu)
{
	uint64_t info;

	if (vm_entry_intinfo(vm, vcpuid, &info)) {
		vcpu->log.last_event = info;
		vcpu->log.events++;
	}
}

static int play(struct vm *vm, int vcpuid, struct fake_vcpu *vcpu, uint64_t rip)
{
	const struct fake_step *step = &vcpu->steps[vcpu->next++];
	struct vm_exit *exit = vm_exitinfo(vm, vcpuid);

	vcpu->log.entries++;
	vcpu->log.last_rip = rip;
	if (step->guest != NULL)
		step->guest(vm, vcpuid, step->arg);
	*exit = step->exit;
	if (exit->rip == 0)
		exit->rip = rip;
	return step->error;
}

static int fake_vmrun(void *vmi, int vcpuid, register_t rip, struct pmap *pmap,
	void *rendezvous_cookie, void *suspend_cookie)
{
	struct fake *fake = vmi;
	struct fake_vcpu *vcpu = &fake->vcpu[vcpuid];

	(void)pmap;
	vcpu->cpu.rip = (uint64_t)rip;
	for (;;) {
		take_event(fake->vm, vcpuid, vcpu);
		if (asked_to_leave(
			    fake->vm, vcpuid, vcpu->cpu.rip, rendezvous_cookie, suspend_cookie))
			return 0;
		if (vcpu->next < vcpu->nsteps)
			return play(fake->vm, vcpuid, vcpu, vcpu->cpu.rip);
		sched_yield();
	}
}

static void fake_kick(void *vmi, int vcpuid)
{
	atomic_fetch_add(&((struct fake *)vmi)->vcpu[vcpuid].kicks, 1);
}

/* ---- Registers ---- */

static const int8_t gpr_of[] = {
	[VM_REG_GUEST_RAX] = X86_RAX,
	[VM_REG_GUEST_RBX] = X86_RBX,
	[VM_REG_GUEST_RCX] = X86_RCX,
	[VM_REG_GUEST_RDX] = X86_RDX,
	[VM_REG_GUEST_RSI] = X86_RSI,
	[VM_REG_GUEST_RDI] = X86_RDI,
	[VM_REG_GUEST_RBP] = X86_RBP,
	[VM_REG_GUEST_R8] = X86_R8,
	[VM_REG_GUEST_R9] = X86_R9,
	[VM_REG_GUEST_R10] = X86_R10,
	[VM_REG_GUEST_R11] = X86_R11,
	[VM_REG_GUEST_R12] = X86_R12,
	[VM_REG_GUEST_R13] = X86_R13,
	[VM_REG_GUEST_R14] = X86_R14,
	[VM_REG_GUEST_R15] = X86_R15,
};

static uint64_t *word_of(struct x86_cpu *cpu, int reg)
{
	if (reg >= 0 && reg <= VM_REG_GUEST_R15)
		return &cpu->gpr[gpr_of[reg]];
	if (reg >= VM_REG_GUEST_PDPTE0 && reg <= VM_REG_GUEST_PDPTE3)
		return &cpu->pdpte[reg - VM_REG_GUEST_PDPTE0];
	switch (reg) {
	case VM_REG_GUEST_CR0:
		return &cpu->cr0;
	case VM_REG_GUEST_CR2:
		return &cpu->cr2;
	case VM_REG_GUEST_CR3:
		return &cpu->cr3;
	case VM_REG_GUEST_CR4:
		return &cpu->cr4;
	case VM_REG_GUEST_DR7:
		return &cpu->dr[7];
	case VM_REG_GUEST_RSP:
		return &cpu->gpr[X86_RSP];
	case VM_REG_GUEST_RIP:
		return &cpu->rip;
	case VM_REG_GUEST_RFLAGS:
		return &cpu->rflags;
	case VM_REG_GUEST_EFER:
		return &cpu->efer;
	default:
		return NULL;
	}
}

static struct x86_seg *seg_of(struct x86_cpu *cpu, int reg)
{
	if (reg >= VM_REG_GUEST_ES && reg <= VM_REG_GUEST_GS)
		return &cpu->seg[reg - VM_REG_GUEST_ES];
	return reg == VM_REG_GUEST_LDTR ? &cpu->ldtr : reg == VM_REG_GUEST_TR ? &cpu->tr : NULL;
}

static int fake_getreg(void *vmi, int vcpuid, int reg, uint64_t *value)
{
	struct x86_cpu *cpu = &((struct fake *)vmi)->vcpu[vcpuid].cpu;
	const uint64_t *word = word_of(cpu, reg);
	const struct x86_seg *seg = seg_of(cpu, reg);

	if (word == NULL && seg == NULL)
		return EINVAL;
	*value = word != NULL ? *word : seg->sel;
	return 0;
}

static int fake_setreg(void *vmi, int vcpuid, int reg, uint64_t value)
{
	struct x86_cpu *cpu = &((struct fake *)vmi)->vcpu[vcpuid].cpu;
	uint64_t *word = word_of(cpu, reg);
	struct x86_seg *seg = seg_of(cpu, reg);

	if (word != NULL)
		*word = value;
	else if (seg != NULL)
		seg->sel = (uint16_t)value;
	else
		return EINVAL;
	return 0;
}

static int fake_getdesc(void *vmi, int vcpuid, int reg, struct seg_desc *desc)
{
	struct x86_cpu *cpu = &((struct fake *)vmi)->vcpu[vcpuid].cpu;
	const struct x86_seg *seg = seg_of(cpu, reg);

	if (seg != NULL) {
		*desc = (struct seg_desc){seg->base, seg->limit, seg->access};
		return 0;
	}
	desc->base = reg == VM_REG_GUEST_GDTR ? cpu->gdtr.base : cpu->idtr.base;
	desc->limit = reg == VM_REG_GUEST_GDTR ? cpu->gdtr.limit : cpu->idtr.limit;
	return 0;
}

static int fake_setdesc(void *vmi, int vcpuid, int reg, struct seg_desc *desc)
{
	struct x86_cpu *cpu = &((struct fake *)vmi)->vcpu[vcpuid].cpu;
	struct x86_seg *seg = seg_of(cpu, reg);

	if (seg != NULL) {
		seg->base = desc->base;
		seg->limit = desc->limit;
		seg->access = desc->access;
	} else if (reg == VM_REG_GUEST_GDTR) {
		cpu->gdtr.base = desc->base;
		cpu->gdtr.limit = desc->limit;
	} else {
		cpu->idtr.base = desc->base;
		cpu->idtr.limit = desc->limit;
	}
	return 0;
}

/* As the software CPU: no INVPCID, real mode always. */
static int fake_getcap(void *vmi, int vcpuid, int type, int *value)
{
	if (type == VM_CAP_ENABLE_INVPCID)
		return ENOENT;
	*value = type == VM_CAP_UNRESTRICTED_GUEST ? 1
						   : ((struct fake *)vmi)->vcpu[vcpuid].caps[type];
	return 0;
}

static int fake_setcap(void *vmi, int vcpuid, int type, int value)
{
	if (type == VM_CAP_ENABLE_INVPCID)
		return ENOENT;
	if (type == VM_CAP_UNRESTRICTED_GUEST)
		return value != 0 ? 0 : EINVAL;
	((struct fake *)vmi)->vcpu[vcpuid].caps[type] = value;
	return 0;
}

/* ---- The rest ---- */

static struct vlapic *fake_vlapic_init(void *vmi, int vcpuid)
{
	return vlapic_generic_init(((struct fake *)vmi)->vm, vcpuid);
}

static void fake_vlapic_cleanup(void *vmi, struct vlapic *vlapic)
{
	(void)vmi;
	vlapic_generic_cleanup(vlapic);
}

static int fake_probe(char *why, size_t size)
{
	(void)why;
	(void)size;
	return 0;
}

static struct x86_cpu *fake_cpu_get(void *vmi, int vcpuid)
{
	struct x86_cpu *cpu = &((struct fake *)vmi)->vcpu[vcpuid].cpu;

	if (cpu->exec == NULL)
		cpu->exec = x86_exec_create();
	cpu->cpl = X86_SEG_DPL(cpu->seg[X86_SS].access);
	return cpu->exec != NULL ? cpu : NULL;
}

static int fake_cpu_put(void *vmi, int vcpuid)
{
	(void)vmi;
	(void)vcpuid;
	return 0;
}

static void fake_mem_written(void *vmi, vm_paddr_t gpa, size_t len)
{
	struct fake_log *log = &((struct fake *)vmi)->vcpu[0].log;

	log->written++;
	log->written_gpa = gpa;
	log->written_len = len;
}

static void fake_mem_changed(void *vmi)
{
	((struct fake *)vmi)->vcpu[0].log.changed++;
}

static bool fake_stat(void *vmi, int vcpuid, unsigned i, const char **name, uint64_t *value)
{
	(void)vmi;
	if (i > 0)
		return false;
	*name = "fake counter";
	*value = 40 + (uint64_t)vcpuid;
	return true;
}

#define FAKE_OPS                                                                                   \
	.init = fake_init, .cleanup = fake_cleanup, .resume = fake_resume, .vminit = fake_vminit,  \
	.vmrun = fake_vmrun, .vmcleanup = fake_vmcleanup, .vmgetreg = fake_getreg,                 \
	.vmsetreg = fake_setreg, .vmgetdesc = fake_getdesc, .vmsetdesc = fake_setdesc,             \
	.vmgetcap = fake_getcap, .vmsetcap = fake_setcap, .vmspace_alloc = vmspace_generic_alloc,  \
	.vmspace_free = vmspace_generic_free, .vlapic_init = fake_vlapic_init,                     \
	.vlapic_cleanup = fake_vlapic_cleanup, .name = "fake", .probe = fake_probe,                \
	.kick = fake_kick, .mem_written = fake_mem_written, .mem_changed = fake_mem_changed,       \
	.stat = fake_stat

struct vmm_ops fake_ops = {FAKE_OPS};
struct vmm_ops fake_lending_ops = {FAKE_OPS, .cpu_get = fake_cpu_get, .cpu_put = fake_cpu_put};
