/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* vmm_ops_soft: the software CPU as a backend. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vmm/vlapic.h>

#include "backend/backend.h"
#include "backend/soft/check.h"
#include "backend/soft/soft.h"

#define CODE_CACHE_SIZE (64u << 20)
#define MAX_PAGES	(1ull << 24) /* guest pages that can hold translated code: 64 GiB */

static void *zeroed(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

bool soft_park(struct soft_vcpu *v)
{
	if (!v->fpu_live)
		return false;
	x86_fpu_park(&v->cpu);
	v->fpu_live = false;
	return true;
}

void soft_unpark(struct soft_vcpu *v, bool parked)
{
	if (!parked)
		return;
	x86_fpu_unpark(&v->cpu);
	v->fpu_live = true;
}

bool soft_lend(struct soft_vcpu *v)
{
	if (!v->fpu_live)
		return false;
	x86_vectors_lend(&v->cpu);
	v->fpu_live = false;
	return true;
}

void soft_return(struct soft_vcpu *v, bool lent)
{
	if (!lent)
		return;
	x86_vectors_return(&v->cpu);
	v->fpu_live = true;
}

uint64_t soft_cr8_read(struct x86_cpu *cpu)
{
	struct soft_vcpu *v = cpu->owner;
	bool lent = soft_lend(v);
	uint64_t value;

	value = vlapic_get_cr8(vm_lapic(v->vm, v->vcpuid));
	soft_return(v, lent);
	return value;
}

void soft_cr8_write(struct x86_cpu *cpu, uint64_t value)
{
	struct soft_vcpu *v = cpu->owner;
	bool lent = soft_lend(v);

	vlapic_set_cr8(vm_lapic(v->vm, v->vcpuid), value);
	soft_return(v, lent);
	atomic_store_explicit(&v->run, 0, memory_order_relaxed);
}

void soft_cpuid(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	struct soft_vcpu *v = cpu->owner;
	enum x2apic_state state = X2APIC_DISABLED;
	struct x86_topology topo = {.apic_id = (uint32_t)v->vcpuid};
	uint16_t sockets, maxcpus;
	bool lent = soft_lend(v);

	vm_get_x2apic_state(v->vm, v->vcpuid, &state);
	vm_get_topology(v->vm, &sockets, &topo.cores, &topo.threads, &maxcpus);
	topo.apic_off = !(vlapic_get_apicbase(vm_lapic(v->vm, v->vcpuid)) & VLAPIC_BASE_ENABLE);
	soft_return(v, lent);
	topo.x2apic = state == X2APIC_ENABLED;
	x86_cpuid(cpu, &topo, leaf, subleaf, out);
}

/* ---- life ---- */

static int soft_probe(char *why, size_t size)
{
	int fd = memfd_create("hyve-code", MFD_CLOEXEC);
	void *p;

	if (!__builtin_cpu_supports("avx")) { /* the vector state that we keep */
		snprintf(why, size, "the host CPU lacks AVX");
		return ENXIO;
	}
	if (fd < 0 || ftruncate(fd, 4096) != 0) {
		snprintf(why, size, "memfd_create is not permitted here");
		if (fd >= 0)
			close(fd);
		return ENXIO;
	}
	p = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_SHARED, fd, 0);
	close(fd);
	if (p == MAP_FAILED) {
		snprintf(why, size, "executable memory is not permitted here");
		return ENXIO;
	}
	munmap(p, 4096);
	return 0;
}

static int soft_init(int ipinum)
{
	char why[128];

	(void)ipinum;
	return soft_probe(why, sizeof(why));
}

static int soft_cleanup_module(void)
{
	return 0;
}

static void soft_resume(void)
{
}

static void vcpu_free(struct soft_vcpu *v)
{
	if (!v)
		return;
	soft_mirror_drop_all(v);
	soft_split_drop(v);
	soft_cache_destroy(&v->cache);
	x86_exec_destroy(v->cpu.exec);
	free(v->gen);
	soft_check_destroy(v->check);
	pthread_mutex_destroy(&v->lock);
	munmap(v, sizeof(*v));
}

/* The instruction and its CPUID bit; code translated before thinks otherwise. */
static void offer_invpcid(struct soft_vcpu *v, bool on)
{
	uint64_t bit = 1ull << X86_F_INVPCID % 64, *word = &v->cpu.features[X86_F_INVPCID / 64];

	*word = on ? *word | bit : *word & ~bit;
	atomic_fetch_or(&v->flush_request, SOFT_REQ_CODE_ALL);
}

static struct soft_vcpu *vcpu_new(struct soft_vm *s, int id)
{
	struct soft_vcpu *v = zeroed(sizeof(*v));

	if (!v)
		return NULL;
	v->soft = s;
	v->vm = s->vm;
	v->vcpuid = id;
	v->cpu.ops = &soft_x86_ops;
	v->cpu.owner = v;
	pthread_mutex_init(&v->lock, NULL);
	x86_features_init(&v->cpu);
	v->host_invpcid = x86_has_feature(&v->cpu, X86_F_INVPCID);
	offer_invpcid(v, false);
	x86_reset(&v->cpu);
	v->cpu.tsc_offset = s->tsc_offset; /* one counter for all vcpus */
	soft_tlb_init(v);
	soft_bank_init(v);
	v->branch_rip = SOFT_NO_BRANCH;
	for (unsigned c = 0; c < SOFT_CLASSES; c++)
		v->jc[c][0].rip = ~0ull; /* the rest is right as zeros */
	return v;
}

static void soft_vmcleanup(void *vmi)
{
	struct soft_vm *s = vmi;

	for (int i = 0; i < VM_MAXCPU; i++)
		vcpu_free(s->vcpu[i]);
	soft_trace_close(s);
	soft_perf_close(s);
	if (s->page_code)
		munmap(s->page_code, s->pages * sizeof(*s->page_code));
	soft_share_free(s->shared);
	if (s->page_writers)
		munmap(s->page_writers, s->pages * sizeof(*s->page_writers));
	free(s);
}

static void *soft_vminit(struct vm *vm, struct pmap *pmap)
{
	struct soft_vm *s = calloc(1, sizeof(*s));

	(void)pmap;
	if (!s)
		return NULL;
	s->vm = vm;
	s->tsc_hz = soft_tsc_measure();
	s->tsc_offset = -soft_host_tsc();
	s->pages = MAX_PAGES;
	s->cache_size = CODE_CACHE_SIZE;
	s->share = true;
	s->trace_last = UINT64_MAX;
	s->page_code = zeroed(s->pages * sizeof(*s->page_code));
	s->page_writers = zeroed(s->pages * sizeof(*s->page_writers));
	s->shared = soft_share_table();
	if (!s->page_code || !s->page_writers || !s->shared)
		goto fail;
	for (int i = 0; i < VM_MAXCPU; i++) {
		s->vcpu[i] = vcpu_new(s, i);
		if (!s->vcpu[i])
			goto fail;
	}
	return s;
fail:
	soft_vmcleanup(s);
	return NULL;
}

/* What only a vcpu that runs needs. */
static int vcpu_prepare(struct soft_vcpu *v)
{
	int error;

	if (v->cache.rw && v->gen && v->cpu.exec)
		return 0;
	if (!v->cpu.exec)
		v->cpu.exec = x86_exec_create();
	if (!v->gen)
		v->gen = soft_gen_create();
	if (v->soft->lockstep && !v->check)
		v->check = soft_check_create();
	if (!v->torture && v->soft->torture)
		v->torture = v->soft->torture * 2654435761u + (unsigned)v->vcpuid + 1;
	if (!v->cpu.exec || !v->gen || (v->soft->lockstep && !v->check))
		return ENOMEM;
	error = v->cache.rw ? 0 : soft_cache_create(v, v->soft->cache_size);
	if (!error && v->soft->perf)
		error = soft_perf_cache(v);
	if (!error)
		soft_share_begin(v);
	return error;
}

/* Once for each thread that runs this vcpu. */
static int trap_prepare(struct soft_vcpu *v)
{
	pthread_t self = pthread_self();
	int error;

	if (v->trap_ready && pthread_equal(v->trap_thread, self))
		return 0;
	error = x86_trap_keep();
	v->trap_ready = error == 0;
	v->trap_thread = self;
	return error;
}

/* The user completed an instruction that was single-stepped: its trap is still due. */
static void step_trap(struct soft_vcpu *v)
{
	struct vm_exception db = {.cpuid = v->vcpuid, .vector = X86_DB};

	if (vm_inject_exception(v->vm, v->vcpuid, &db) == 0)
		v->cpu.dr[6] = x86_dr6_raised(v->cpu.dr[6], X86_DR6_BS);
}

static int soft_vmrun(void *vmi, int vcpu, register_t rip, struct pmap *pmap,
	void *rendezvous_cookie, void *suspend_cookie)
{
	struct soft_vcpu *v = ((struct soft_vm *)vmi)->vcpu[vcpu];
	int error = vcpu_prepare(v);

	(void)pmap;
	if (error)
		return error;
	if (v->trap_due && (uint64_t)rip == v->trap_rip && v->cpu.rflags & X86_RF_TF)
		step_trap(v);
	v->trap_due = false;
	if ((uint64_t)rip != v->last_rip) /* something was completed since: the shadow is over */
		v->cpu.shadow = 0;
	v->cpu.rip = (uint64_t)rip;
	v->rendezvous_cookie = rendezvous_cookie;
	v->suspend_cookie = suspend_cookie;
	v->watch = (v->cpu.dr[7] & 0xff) != 0;
	v->trap = (struct x86_trap){
		.lo = (uintptr_t)v->cache.rx,
		.hi = (uintptr_t)v->cache.rx + v->cache.size,
		.fn = soft_trap,
		.arg = v,
	};
	error = trap_prepare(v);
	if (!error)
		error = x86_trap_push(&v->trap);
	if (error)
		return error;
	/* Look at everything first; then the guest's registers are loaded. */
	atomic_store_explicit(&v->run, 0, memory_order_relaxed);
	error = soft_loop(v);
	soft_park(v);
	x86_trap_pop(&v->trap);
	v->last_rip = v->cpu.rip;
	return error;
}

static void soft_kick(void *vmi, int vcpu)
{
	struct soft_vcpu *v = ((struct soft_vm *)vmi)->vcpu[vcpu];

	if (v)
		atomic_store(&v->run, 0);
}

static void request_all(struct soft_vm *s, uint32_t request)
{
	for (int i = 0; i < VM_MAXCPU; i++) {
		atomic_fetch_or(&s->vcpu[i]->flush_request, request);
		atomic_store(&s->vcpu[i]->run, 0);
	}
}

/*
 * A device writes where code was read before all the time: pages of files are reused.  Only what was
 * made of these bytes goes, and only where it was made.
 */
static void soft_mem_written(void *vmi, vm_paddr_t gpa, size_t len)
{
	struct soft_vm *s = vmi;

	/* Who marks a page as code reads it afterwards: one of us sees the other. */
	atomic_thread_fence(memory_order_seq_cst);
	while (len) {
		uint64_t page = gpa >> 12, n = 4096 - (gpa & 0xfff);
		unsigned vcpus;

		if (page >= s->pages)
			return;
		if (n > len)
			n = len;
		vcpus = atomic_load(&s->page_code[page]);
		for (int i = 0; vcpus >> i; i++)
			if (vcpus >> i & 1)
				soft_request_written(s->vcpu[i], gpa, n);
		gpa += n;
		len -= n;
	}
}

/* Whoever wants to write to a page marks it in page_writers[] first, and then keeps the right. */
static int soft_dirty_collect(void *vmi)
{
	struct soft_vm *s = vmi;

	for (uint64_t p = 0; p < s->pages; p++)
		if (atomic_exchange(&s->page_writers[p], 0))
			vm_dirty_note(s->vm, p << 12, 4096);
	for (int i = 0; i < VM_MAXCPU; i++)
		soft_tlb_drop_writes(s->vcpu[i], SOFT_ALL_PAGES);
	return 0;
}

/* What was written before is not in the log: the core empties it behind this. */
static int soft_dirty_log(void *vmi, bool on)
{
	struct soft_vm *s = vmi;

	if (!on)
		return 0;
	for (uint64_t p = 0; p < s->pages; p++)
		atomic_store(&s->page_writers[p], 0);
	for (int i = 0; i < VM_MAXCPU; i++)
		soft_tlb_drop_writes(s->vcpu[i], SOFT_ALL_PAGES);
	return 0;
}

/* No page of a ROM ever gets a write tag: stores to it all come to op_map(). */
static void note_roms(struct soft_vm *s)
{
	vm_paddr_t gpa;
	size_t len;

	for (s->nroms = 0; s->nroms < sizeof(s->rom) / sizeof(s->rom[0]); s->nroms++) {
		if (!vm_rom_at(s->vm, s->nroms, &gpa, &len))
			break;
		s->rom[s->nroms].gpa = gpa;
		s->rom[s->nroms].len = len;
		for (uint64_t p = gpa >> 12; p < (gpa + len) >> 12 && p < s->pages; p++)
			atomic_store(&s->page_code[p], UINT16_MAX);
	}
}

/* All vcpus are frozen; some may be asked for registers before they run again. */
static void soft_mem_changed(void *vmi)
{
	struct soft_vm *s = vmi;

	note_roms(s);
	for (int i = 0; i < VM_MAXCPU; i++)
		s->vcpu[i]->device_page = 0;
	request_all(s, SOFT_REQ_MAP);
}

/* ---- registers ---- */

static const uint8_t gpr_of[] = {[VM_REG_GUEST_RAX] = X86_RAX,
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
	[VM_REG_GUEST_R15] = X86_R15};

/* The member that a register name stands for; NULL: none, or not a plain 64-bit one. */
static uint64_t *plain_register(struct x86_cpu *cpu, int num)
{
	if (num >= VM_REG_GUEST_RAX && num <= VM_REG_GUEST_R15)
		return &cpu->gpr[gpr_of[num]];
	if (num >= VM_REG_GUEST_PDPTE0 && num <= VM_REG_GUEST_PDPTE3)
		return &cpu->pdpte[num - VM_REG_GUEST_PDPTE0];
	switch (num) {
	case VM_REG_GUEST_RSP:
		return &cpu->gpr[X86_RSP];
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

static struct x86_seg *segment_register(struct x86_cpu *cpu, int num)
{
	if (num >= VM_REG_GUEST_ES && num <= VM_REG_GUEST_GS)
		return &cpu->seg[num - VM_REG_GUEST_ES];
	if (num == VM_REG_GUEST_LDTR)
		return &cpu->ldtr;
	return num == VM_REG_GUEST_TR ? &cpu->tr : NULL;
}

static int soft_getreg(void *vmi, int vcpu, int num, uint64_t *value)
{
	struct x86_cpu *cpu = &((struct soft_vm *)vmi)->vcpu[vcpu]->cpu;
	uint64_t *reg = plain_register(cpu, num);
	struct x86_seg *seg = segment_register(cpu, num);

	if (!reg && !seg)
		return EINVAL;
	*value = reg ? *reg : seg->sel;
	return 0;
}

/* PAE keeps its four top entries in registers (SDM vol. 3, 4.4.1). */
static void reload_pdptes(struct soft_vcpu *v)
{
	const struct x86_cpu *cpu = &v->cpu;
	const uint8_t *table;

	if (!(cpu->cr0 & X86_CR0_PG) || !(cpu->cr4 & X86_CR4_PAE) || cpu->efer & X86_EFER_LMA)
		return;
	table = soft_ram(v, cpu->cr3 & 0xffffffe0);
	if (table)
		__builtin_memcpy(v->cpu.pdpte, table, sizeof(v->cpu.pdpte));
}

static int soft_setreg(void *vmi, int vcpu, int num, uint64_t value)
{
	struct soft_vcpu *v = ((struct soft_vm *)vmi)->vcpu[vcpu];
	uint64_t *reg = plain_register(&v->cpu, num);
	struct x86_seg *seg = segment_register(&v->cpu, num);

	if (!reg && !seg)
		return EINVAL;
	if (seg) {
		seg->sel = (uint16_t)value;
		return 0;
	}
	*reg = num == VM_REG_GUEST_RFLAGS ? (value & 0x3f7fd5) | 2 : value;
	switch (num) {
	case VM_REG_GUEST_CR0:
	case VM_REG_GUEST_CR3:
	case VM_REG_GUEST_CR4:
		reload_pdptes(v);
		soft_tlb_flush(v, X86_FLUSH_ALL, 0);
		break;
	case VM_REG_GUEST_EFER:
		soft_tlb_flush(v, X86_FLUSH_ALL, 0);
		break;
	default:
		break;
	}
	return 0;
}

static int soft_getdesc(void *vmi, int vcpu, int num, struct seg_desc *desc)
{
	struct x86_cpu *cpu = &((struct soft_vm *)vmi)->vcpu[vcpu]->cpu;
	struct x86_seg *seg = segment_register(cpu, num);

	if (seg) {
		*desc = (struct seg_desc){
			.base = seg->base, .limit = seg->limit, .access = seg->access};
	} else if (num == VM_REG_GUEST_GDTR) {
		desc->base = cpu->gdtr.base;
		desc->limit = cpu->gdtr.limit;
	} else if (num == VM_REG_GUEST_IDTR) {
		desc->base = cpu->idtr.base;
		desc->limit = cpu->idtr.limit;
	} else {
		return EINVAL;
	}
	return 0;
}

static int soft_setdesc(void *vmi, int vcpu, int num, struct seg_desc *desc)
{
	struct x86_cpu *cpu = &((struct soft_vm *)vmi)->vcpu[vcpu]->cpu;
	struct x86_seg *seg = segment_register(cpu, num);

	if (seg) {
		seg->base = desc->base;
		seg->limit = desc->limit;
		seg->access = desc->access & 0x1f0ff;
		if (num == VM_REG_GUEST_SS)
			cpu->cpl = (uint8_t)SEG_DESC_DPL(desc->access);
	} else if (num == VM_REG_GUEST_GDTR) {
		cpu->gdtr.base = desc->base;
		cpu->gdtr.limit = desc->limit;
	} else if (num == VM_REG_GUEST_IDTR) {
		cpu->idtr.base = desc->base;
		cpu->idtr.limit = desc->limit;
	} else {
		return EINVAL;
	}
	return 0;
}

/* ---- capabilities (vmm-api.md 11.4) ---- */

static int soft_getcap(void *vmi, int vcpu, int num, int *value)
{
	struct soft_vcpu *v = ((struct soft_vm *)vmi)->vcpu[vcpu];

	if (num == VM_CAP_ENABLE_INVPCID && !v->host_invpcid)
		return ENOENT;
	*value = num == VM_CAP_UNRESTRICTED_GUEST ? 1 : v->cap[num];
	return 0;
}

static int soft_setcap(void *vmi, int vcpu, int num, int value)
{
	struct soft_vcpu *v = ((struct soft_vm *)vmi)->vcpu[vcpu];

	if (num == VM_CAP_UNRESTRICTED_GUEST)
		return value ? 0 : EINVAL;
	if (num == VM_CAP_ENABLE_INVPCID && value && !v->host_invpcid)
		return ENOENT;
	v->cap[num] = value != 0;
	if (num == VM_CAP_ENABLE_INVPCID)
		offer_invpcid(v, value != 0);
	if (num == VM_CAP_MTRAP_EXIT)
		v->single_step = value != 0;
	return 0;
}

static struct x86_cpu *soft_cpu_get(void *vmi, int vcpu)
{
	struct soft_vcpu *v = ((struct soft_vm *)vmi)->vcpu[vcpu];

	v->lent.cr0 = v->cpu.cr0;
	v->lent.cr3 = v->cpu.cr3;
	v->lent.cr4 = v->cpu.cr4;
	v->lent.efer = v->cpu.efer;
	return &v->cpu;
}

/* Cached translations outlive the loan unless what they depend on was changed. */
static int soft_cpu_put(void *vmi, int vcpu)
{
	struct soft_vcpu *v = ((struct soft_vm *)vmi)->vcpu[vcpu];

	v->cpu.ops = &soft_x86_ops;
	v->cpu.owner = v;
	if (v->lent.cr0 != v->cpu.cr0 || v->lent.cr3 != v->cpu.cr3 || v->lent.cr4 != v->cpu.cr4 ||
		v->lent.efer != v->cpu.efer)
		soft_tlb_flush(v, X86_FLUSH_ALL, 0);
	return 0;
}

static struct vlapic *soft_vlapic_init(void *vmi, int vcpu)
{
	struct soft_vm *s = vmi;
	struct vlapic *vlapic = vlapic_generic_init(s->vm, vcpu);

	if (vlapic)
		vlapic_set_tsc(vlapic, s->tsc_hz, soft_guest_tsc, s->vcpu[vcpu]);
	return vlapic;
}

static void soft_vlapic_cleanup(void *vmi, struct vlapic *vlapic)
{
	(void)vmi;
	vlapic_generic_cleanup(vlapic);
}

struct vmm_ops vmm_ops_soft = {
	.init = soft_init,
	.cleanup = soft_cleanup_module,
	.resume = soft_resume,
	.vminit = soft_vminit,
	.vmrun = soft_vmrun,
	.vmcleanup = soft_vmcleanup,
	.vmgetreg = soft_getreg,
	.vmsetreg = soft_setreg,
	.vmgetdesc = soft_getdesc,
	.vmsetdesc = soft_setdesc,
	.vmgetcap = soft_getcap,
	.vmsetcap = soft_setcap,
	.vmspace_alloc = vmspace_generic_alloc,
	.vmspace_free = vmspace_generic_free,
	.vlapic_init = soft_vlapic_init,
	.vlapic_cleanup = soft_vlapic_cleanup,
	.name = "soft",
	.probe = soft_probe,
	.cpu_get = soft_cpu_get,
	.cpu_put = soft_cpu_put,
	.kick = soft_kick,
	.mem_written = soft_mem_written,
	.dirty_log = soft_dirty_log,
	.dirty_collect = soft_dirty_collect,
	.mem_changed = soft_mem_changed,
	.stat = soft_stat,
};
