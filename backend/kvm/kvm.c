/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* vmm_ops_kvm: Linux's KVM as a backend.  README.md says how. */
#include <stdlib.h>
#include <time.h>

#include <vmm/vlapic.h>

#include "backend/kvm/kvm.h"

#define MEASURE_NS 2000000 /* 30 ns of clock resolution in 2 ms: 15 ppm */

static int kvm_init(int ipinum)
{
	char why[160];

	(void)ipinum;
	return kvm_probe(why, sizeof(why));
}

static int kvm_cleanup(void)
{
	return 0;
}

static void kvm_resume(void)
{
}

/* ---- Time ---- */

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static uint64_t measure_tsc(void)
{
	uint64_t t0 = now_ns(), c0 = __builtin_ia32_rdtsc(), t, c;

	do {
		t = now_ns();
		c = __builtin_ia32_rdtsc();
	} while (t - t0 < MEASURE_NS);
	return (uint64_t)((unsigned __int128)(c - c0) * 1000000000u / (t - t0));
}

static uint64_t guest_tsc(void *arg)
{
	const struct kvm_cpu *c = arg;

	return __builtin_ia32_rdtsc() + __atomic_load_n(&c->cpu.tsc_offset, __ATOMIC_RELAXED);
}

/* ---- Life ---- */

static void cpu_free(struct kvm_cpu *c)
{
	if (!c)
		return;
	kvm_cpu_unmake(c);
	x86_exec_destroy(c->cpu.exec);
	free(c);
}

static struct kvm_cpu *cpu_new(struct kvm_guest *g, int id)
{
	struct kvm_cpu *c = aligned_alloc(64, (sizeof(*c) + 63) & ~(size_t)63);

	if (!c)
		return NULL;
	memset(c, 0, sizeof(*c));
	c->guest = g;
	c->vm = g->vm;
	c->vcpuid = id;
	c->fd = -1;
	c->regs = &c->early;
	if (id == 0) {
		x86_features_init(&c->cpu);
		c->cpu.features[X86_F_PKU / 64] &= ~(1ull << X86_F_PKU % 64); /* see cpuid.c */
	} else /* asking the host takes long where CPUID traps */
		c->cpu = g->cpu[0]->cpu;
	c->cpu.ops = &kvm_x86_ops;
	c->cpu.owner = c;
	x86_reset(&c->cpu);
	c->cpu.tsc_offset = g->tsc_offset;
	c->early.sregs.apic_base = 0xfee00800u | (id == 0 ? 0x100u : 0);
	kvm_state_keep(c);
	c->dirty = 0;
	return c;
}

static void kvm_vmcleanup(void *vmi)
{
	struct kvm_guest *g = vmi;

	for (int i = 0; i < VM_MAXCPU; i++)
		cpu_free(g->cpu[i]);
	kvm_guest_close(g);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

static void *kvm_vminit(struct vm *vm, struct pmap *pmap)
{
	struct kvm_guest *g = calloc(1, sizeof(*g));

	(void)pmap;
	if (!g)
		return NULL;
	g->vm = vm;
	g->system = g->fd = -1;
	pthread_mutex_init(&g->lock, NULL);
	atomic_store(&g->stale, true);
	strcpy(g->device, KVM_DEVICE);
	g->tsc_hz = measure_tsc();
	g->tsc_offset = -__builtin_ia32_rdtsc();
	for (int i = 0; i < VM_MAXCPU; i++) {
		g->cpu[i] = cpu_new(g, i);
		if (!g->cpu[i]) {
			kvm_vmcleanup(g);
			return NULL;
		}
	}
	return g;
}

/* Quiesced. Who cannot show KVM the new map says so at the next entry. */
static void kvm_mem_changed(void *vmi)
{
	atomic_store(&((struct kvm_guest *)vmi)->stale, true);
}

static struct vlapic *kvm_vlapic_init(void *vmi, int vcpu)
{
	struct kvm_guest *g = vmi;
	struct vlapic *vlapic = vlapic_generic_init(g->vm, vcpu);

	if (vlapic)
		vlapic_set_tsc(vlapic, g->tsc_hz, guest_tsc, g->cpu[vcpu]);
	return vlapic;
}

static void kvm_vlapic_cleanup(void *vmi, struct vlapic *vlapic)
{
	(void)vmi;
	vlapic_generic_cleanup(vlapic);
}

/* ---- Capabilities (vmm-api.md 11.4) ---- */

static int kvm_getcap(void *vmi, int vcpu, int num, int *value)
{
	const struct kvm_cpu *c = kvm_cpu_of(vmi, vcpu);

	if (num == VM_CAP_PAUSE_EXIT) /* KVM has no such exit for us */
		return ENOENT;
	*value = num == VM_CAP_UNRESTRICTED_GUEST ? 1 : c->cap[num];
	return 0;
}

static int kvm_setcap(void *vmi, int vcpu, int num, int value)
{
	struct kvm_cpu *c = kvm_cpu_of(vmi, vcpu);
	bool was = c->cap[num];
	int error = 0;

	if (num == VM_CAP_PAUSE_EXIT)
		return ENOENT;
	if (num == VM_CAP_UNRESTRICTED_GUEST)
		return value ? 0 : EINVAL;
	c->cap[num] = value != 0;
	if (num == VM_CAP_ENABLE_INVPCID && c->fd >= 0)
		error = kvm_cpuid_set(c); /* KVM refuses it once the vcpu ran */
	if (error)
		c->cap[num] = was;
	return error;
}

struct vmm_ops vmm_ops_kvm = {
	.init = kvm_init,
	.cleanup = kvm_cleanup,
	.resume = kvm_resume,
	.vminit = kvm_vminit,
	.vmrun = kvm_vmrun,
	.vmcleanup = kvm_vmcleanup,
	.vmgetreg = kvm_getreg,
	.vmsetreg = kvm_setreg,
	.vmgetdesc = kvm_getdesc,
	.vmsetdesc = kvm_setdesc,
	.vmgetcap = kvm_getcap,
	.vmsetcap = kvm_setcap,
	.vmspace_alloc = vmspace_generic_alloc,
	.vmspace_free = vmspace_generic_free,
	.vlapic_init = kvm_vlapic_init,
	.vlapic_cleanup = kvm_vlapic_cleanup,
	.name = "kvm",
	.probe = kvm_probe,
	.cpu_get = kvm_cpu_get,
	.cpu_put = kvm_cpu_put,
	.kick = kvm_kick,
	.mem_changed = kvm_mem_changed,
	.dirty_log = kvm_dirty_log,
	.dirty_collect = kvm_dirty_collect,
	.stat = kvm_stat,
};
