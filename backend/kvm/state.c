/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Registers: where they are, and to and from struct x86_cpu, in which the software CPU finishes
 * what KVM leaves to us.  See kvm.h for the plan.
 */
#include <stdlib.h>

#include "backend/kvm/kvm.h"

#define TSC_TOLERANCE  16u  /* parts of a second between two readings */
#define XSAVE_STATE_BV 512u /* offset in an XSAVE image */

int kvm_failed(struct kvm_cpu *c, int error, const char *what)
{
	snprintf(c->failure, sizeof(c->failure), "KVM: %s: %s", what, strerror(error));
	return error;
}

/* ---- Segments ---- */

static struct x86_seg seg_of(const struct kvm_segment *s)
{
	return (struct x86_seg){
		.base = s->base,
		.limit = s->limit,
		.access = s->type | (uint32_t)s->s << 4 | (uint32_t)s->dpl << 5 |
			  (uint32_t)s->present << 7 | (uint32_t)s->avl << 12 |
			  (uint32_t)s->l << 13 | (uint32_t)s->db << 14 | (uint32_t)s->g << 15 |
			  (uint32_t)s->unusable << 16,
		.sel = s->selector,
	};
}

static void seg_put(struct kvm_segment *s, const struct x86_seg *from)
{
	uint32_t a = from->access;

	*s = (struct kvm_segment){
		.base = from->base,
		.limit = from->limit,
		.selector = from->sel,
		.type = a & 15,
		.s = a >> 4 & 1,
		.dpl = a >> 5 & 3,
		.present = a >> 7 & 1,
		.avl = a >> 12 & 1,
		.l = a >> 13 & 1,
		.db = a >> 14 & 1,
		.g = a >> 15 & 1,
		.unusable = a >> 16 & 1,
	};
}

static struct kvm_segment *segment(struct kvm_sregs *s, int num)
{
	switch (num) {
	case VM_REG_GUEST_ES:
		return &s->es;
	case VM_REG_GUEST_CS:
		return &s->cs;
	case VM_REG_GUEST_SS:
		return &s->ss;
	case VM_REG_GUEST_DS:
		return &s->ds;
	case VM_REG_GUEST_FS:
		return &s->fs;
	case VM_REG_GUEST_GS:
		return &s->gs;
	case VM_REG_GUEST_LDTR:
		return &s->ldt;
	case VM_REG_GUEST_TR:
		return &s->tr;
	default:
		return NULL;
	}
}

/* ---- KVM_CAP_SYNC_REGS to struct x86_cpu ---- */

/* Where KVM has what cpu.gpr[] has. */
#define GPRS(X)                                                                                    \
	X(RAX, rax)                                                                                \
	X(RCX, rcx)                                                                                \
	X(RDX, rdx) X(RBX, rbx) X(RSP, rsp) X(RBP, rbp) X(RSI, rsi) X(RDI, rdi) X(R8, r8)          \
		X(R9, r9) X(R10, r10) X(R11, r11) X(R12, r12) X(R13, r13) X(R14, r14) X(R15, r15)

static void regs_view(struct x86_cpu *cpu, const struct kvm_regs *r)
{
#define VIEW(name, member) cpu->gpr[X86_##name] = r->member;
	GPRS(VIEW)
#undef VIEW
	cpu->rip = r->rip;
	cpu->rflags = r->rflags | 2;
}

static void sregs_view(struct x86_cpu *cpu, struct kvm_sregs *s)
{
	for (int i = 0; i < 6; i++)
		cpu->seg[i] = seg_of(segment(s, VM_REG_GUEST_ES + i));
	cpu->ldtr = seg_of(&s->ldt);
	cpu->tr = seg_of(&s->tr);
	cpu->gdtr.base = s->gdt.base;
	cpu->gdtr.limit = s->gdt.limit;
	cpu->idtr.base = s->idt.base;
	cpu->idtr.limit = s->idt.limit;
	cpu->cr0 = s->cr0;
	cpu->cr2 = s->cr2;
	cpu->cr3 = s->cr3;
	cpu->cr4 = s->cr4;
	cpu->efer = s->efer;
	cpu->cpl = s->ss.dpl;
}

static bool is_pae(const struct kvm_sregs *s)
{
	return s->cr0 & X86_CR0_PG && s->cr4 & X86_CR4_PAE && !(s->efer & X86_EFER_LMA);
}

/* KVM has its own copy, from the same memory. */
static void pdptes_view(struct kvm_cpu *c)
{
	const struct kvm_sregs *s = &c->regs->sregs;
	const uint8_t *table;
	size_t len;

	if (!is_pae(s) || c->pdptes_set)
		return;
	table = vm_gpa_ram(c->vm, s->cr3 & 0xffffffe0, &len);
	if (table && len >= sizeof(c->cpu.pdpte))
		memcpy(c->cpu.pdpte, table, sizeof(c->cpu.pdpte));
}

static uint8_t shadow_of(const struct kvm_vcpu_events *e)
{
	return (uint8_t)((e->interrupt.shadow & KVM_X86_SHADOW_INT_STI ? X86_SHADOW_STI : 0) |
			 (e->interrupt.shadow & KVM_X86_SHADOW_INT_MOV_SS ? X86_SHADOW_MOVSS : 0));
}

void kvm_state_view(struct kvm_cpu *c)
{
	regs_view(&c->cpu, &c->regs->regs);
	sregs_view(&c->cpu, &c->regs->sregs);
	pdptes_view(c);
	c->cpu.shadow = shadow_of(&c->regs->events);
	c->cpu.nmi_blocked = c->regs->events.nmi.masked;
}

/* ---- And back ---- */

void kvm_state_set_events(struct kvm_cpu *c)
{
	c->regs->events.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
	c->dirty |= KVM_SYNC_X86_EVENTS;
}

void kvm_state_set_rip(struct kvm_cpu *c, uint64_t rip)
{
	if (c->regs->regs.rip == rip)
		return;
	c->regs->regs.rip = rip;
	c->dirty |= KVM_SYNC_X86_REGS;
}

static void regs_put(struct kvm_cpu *c)
{
	struct kvm_regs *r = &c->regs->regs, was = *r;
	const struct x86_cpu *cpu = &c->cpu;

#define PUT(name, member) r->member = cpu->gpr[X86_##name];
	GPRS(PUT)
#undef PUT
	r->rip = cpu->rip;
	r->rflags = cpu->rflags;
	if (memcmp(r, &was, sizeof(was)) != 0)
		c->dirty |= KVM_SYNC_X86_REGS;
}

static void sregs_put(struct kvm_cpu *c)
{
	struct kvm_sregs *s = &c->regs->sregs, was = *s;
	const struct x86_cpu *cpu = &c->cpu;

	for (int i = 0; i < 6; i++)
		seg_put(segment(s, VM_REG_GUEST_ES + i), &cpu->seg[i]);
	seg_put(&s->ldt, &cpu->ldtr);
	seg_put(&s->tr, &cpu->tr);
	s->gdt.base = cpu->gdtr.base;
	s->gdt.limit = (uint16_t)cpu->gdtr.limit;
	s->idt.base = cpu->idtr.base;
	s->idt.limit = (uint16_t)cpu->idtr.limit;
	s->cr0 = cpu->cr0;
	s->cr2 = cpu->cr2;
	s->cr3 = cpu->cr3;
	s->cr4 = cpu->cr4;
	s->efer = cpu->efer;
	if (memcmp(s, &was, sizeof(was)) != 0)
		c->dirty |= KVM_SYNC_X86_SREGS;
}

static void events_put(struct kvm_cpu *c)
{
	struct kvm_vcpu_events *e = &c->regs->events;
	const struct x86_cpu *cpu = &c->cpu;
	uint8_t shadow =
		(uint8_t)((cpu->shadow & X86_SHADOW_STI ? KVM_X86_SHADOW_INT_STI : 0) |
			  (cpu->shadow & X86_SHADOW_MOVSS ? KVM_X86_SHADOW_INT_MOV_SS : 0));

	if (e->interrupt.shadow == shadow && e->nmi.masked == cpu->nmi_blocked)
		return;
	e->interrupt.shadow = shadow;
	e->nmi.masked = cpu->nmi_blocked;
	kvm_state_set_events(c);
}

void kvm_state_keep(struct kvm_cpu *c)
{
	regs_put(c);
	sregs_put(c);
	events_put(c);
}

/* ---- Parts ---- */

static int load_fpu(struct kvm_cpu *c)
{
	if (kvm_call(c->fd, KVM_GET_XSAVE, c->xsave) < 0)
		return kvm_failed(c, errno, "KVM_GET_XSAVE");
	memcpy(c->cpu.fpu, c->xsave->region, X86_XSAVE_SIZE);
	return 0;
}

/* Components that the guest does not have keep what KVM gave. */
static int put_fpu(struct kvm_cpu *c)
{
	uint64_t present, ours;

	memcpy(&present, (uint8_t *)c->xsave->region + XSAVE_STATE_BV, 8);
	memcpy(&ours, c->cpu.fpu + XSAVE_STATE_BV, 8);
	memcpy(c->xsave->region, c->cpu.fpu, X86_XSAVE_SIZE);
	present = (present & ~(uint64_t)X86_XCR0_SUPPORTED) | (ours & X86_XCR0_SUPPORTED);
	memcpy((uint8_t *)c->xsave->region + XSAVE_STATE_BV, &present, 8);
	return kvm_call(c->fd, KVM_SET_XSAVE, c->xsave) < 0 ? kvm_failed(c, errno, "KVM_SET_XSAVE")
							    : 0;
}

static int load_xcr(struct kvm_cpu *c)
{
	struct kvm_xcrs x;

	if (kvm_call(c->fd, KVM_GET_XCRS, &x) < 0)
		return kvm_failed(c, errno, "KVM_GET_XCRS");
	for (unsigned i = 0; i < x.nr_xcrs && i < KVM_MAX_XCRS; i++)
		if (x.xcrs[i].xcr == 0)
			c->cpu.xcr0 = x.xcrs[i].value;
	return 0;
}

static int put_xcr(struct kvm_cpu *c)
{
	struct kvm_xcrs x = {.nr_xcrs = 1, .xcrs = {{.xcr = 0, .value = c->cpu.xcr0}}};

	return kvm_call(c->fd, KVM_SET_XCRS, &x) < 0 ? kvm_failed(c, errno, "KVM_SET_XCRS") : 0;
}

static int load_debug(struct kvm_cpu *c)
{
	struct kvm_debugregs d;

	if (kvm_call(c->fd, KVM_GET_DEBUGREGS, &d) < 0)
		return kvm_failed(c, errno, "KVM_GET_DEBUGREGS");
	memcpy(c->cpu.dr, d.db, sizeof(d.db));
	c->cpu.dr[6] = d.dr6;
	c->cpu.dr[7] = d.dr7;
	return 0;
}

static int put_debug(struct kvm_cpu *c)
{
	struct kvm_debugregs d = {.dr6 = c->cpu.dr[6], .dr7 = c->cpu.dr[7]};

	memcpy(d.db, c->cpu.dr, sizeof(d.db));
	return kvm_call(c->fd, KVM_SET_DEBUGREGS, &d) < 0
		       ? kvm_failed(c, errno, "KVM_SET_DEBUGREGS")
		       : 0;
}

struct msr_list {
	struct kvm_msrs head;
	struct kvm_msr_entry entry[16];
};

static unsigned list_msrs(struct kvm_cpu *c, struct msr_list *list, uint64_t *place[16])
{
	unsigned n = 0;

	memset(list, 0, sizeof(*list));
	for (unsigned i = 0; i < kvm_state_msr_count; i++) {
		if (!(c->guest->msrs >> i & 1))
			continue;
		place[n] = kvm_msr_place(&c->cpu, i);
		list->entry[n].index = kvm_state_msrs[i];
		list->entry[n].data = *place[n];
		n++;
	}
	list->head.nmsrs = n;
	return n;
}

static int load_msrs(struct kvm_cpu *c)
{
	struct msr_list list;
	uint64_t *place[16];
	unsigned n = list_msrs(c, &list, place);
	int done = kvm_call(c->fd, KVM_GET_MSRS, &list);

	if (done < 0)
		return kvm_failed(c, errno, "KVM_GET_MSRS");
	for (unsigned i = 0; i < n && i < (unsigned)done; i++)
		*place[i] = list.entry[i].data;
	return 0;
}

/* It stops at the first that the vcpu's CPUID does not have: TSC_AUX, perhaps. */
static int put_msrs(struct kvm_cpu *c)
{
	struct msr_list list, one;
	uint64_t *place[16];
	unsigned n = list_msrs(c, &list, place);

	for (unsigned i = 0; i < n; i++) {
		one = (struct msr_list){.head.nmsrs = 1, .entry = {list.entry[i]}};
		if (kvm_call(c->fd, KVM_SET_MSRS, &one) < 0)
			return kvm_failed(c, errno, "KVM_SET_MSRS");
	}
	return 0;
}

static const struct {
	unsigned part;
	int (*load)(struct kvm_cpu *c);
	int (*put)(struct kvm_cpu *c);
} parts_of_state[] = {
	{KVM_PART_XCR, load_xcr, put_xcr}, /* before the state that it enables */
	{KVM_PART_FPU, load_fpu, put_fpu},
	{KVM_PART_DEBUG, load_debug, put_debug},
	{KVM_PART_MSRS, load_msrs, put_msrs},
};

#define NPARTS (sizeof(parts_of_state) / sizeof(parts_of_state[0]))

int kvm_state_load(struct kvm_cpu *c, unsigned parts)
{
	int error = 0;

	if (c->fd < 0)
		return 0; /* all of it is here */
	parts &= ~(c->have | c->put);
	for (size_t i = 0; i < NPARTS && !error; i++) {
		if (!(parts & parts_of_state[i].part))
			continue;
		error = parts_of_state[i].load(c);
		if (!error)
			c->have |= parts_of_state[i].part;
	}
	return error;
}

/* The user's own: only this call loads them without a look at memory. */
static int put_pdptes(struct kvm_cpu *c)
{
	struct kvm_sregs2 s;

	c->pdptes_set = false;
	if (!c->guest->has_sregs2 || !is_pae(&c->regs->sregs))
		return 0;
	/* What it begins with is as in struct kvm_sregs; then come flags and the pointers. */
	memset(&s, 0, sizeof(s));
	memcpy(&s, &c->regs->sregs, offsetof(struct kvm_sregs, interrupt_bitmap));
	s.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
	memcpy(s.pdptrs, c->cpu.pdpte, sizeof(s.pdptrs));
	if (kvm_call(c->fd, KVM_SET_SREGS2, &s) < 0)
		return kvm_failed(c, errno, "KVM_SET_SREGS2");
	c->dirty &= ~(unsigned)KVM_SYNC_X86_SREGS;
	return 0;
}

/* KVM forgets translations when CR0.WP changes under it. */
static int put_flush(struct kvm_cpu *c)
{
	struct kvm_sregs s = c->regs->sregs;

	c->flush = false;
	s.cr0 ^= X86_CR0_WP;
	if (kvm_call(c->fd, KVM_SET_SREGS, &s) < 0)
		return kvm_failed(c, errno, "KVM_SET_SREGS");
	c->dirty |= KVM_SYNC_X86_SREGS;
	return 0;
}

int kvm_state_push(struct kvm_cpu *c)
{
	int error = 0;

	for (size_t i = 0; i < NPARTS && c->put && !error; i++) {
		if (!(c->put & parts_of_state[i].part))
			continue;
		error = parts_of_state[i].put(c);
		c->put &= ~parts_of_state[i].part;
	}
	if (!error && c->flush)
		error = put_flush(c);
	if (!error && c->pdptes_set)
		error = put_pdptes(c);
	return error;
}

static int tsc_offset_put(struct kvm_cpu *c)
{
	uint64_t offset = c->cpu.tsc_offset;
	struct kvm_device_attr attr = {.group = KVM_VCPU_TSC_CTRL,
		.attr = KVM_VCPU_TSC_OFFSET,
		.addr = (uintptr_t)&offset};
	struct msr_list msr = {.head.nmsrs = 1, .entry = {{.index = 0x10}}};

	if (kvm_call(c->fd, KVM_SET_DEVICE_ATTR, &attr) == 0)
		return 0;
	/* Before Linux 5.16: as near as two readings are to each other. */
	msr.entry[0].data = __builtin_ia32_rdtsc() + offset;
	return kvm_call(c->fd, KVM_SET_MSRS, &msr) < 0 ? errno : 0;
}

/* There are KVMs that agree and do nothing: the guest then has the host's, and so have we. */
int kvm_tsc_offset_set(struct kvm_cpu *c)
{
	struct msr_list msr = {.head.nmsrs = 1, .entry = {{.index = 0x10}}};
	int error = tsc_offset_put(c);
	uint64_t is, off;

	if (error || kvm_call(c->fd, KVM_GET_MSRS, &msr) != 1)
		return error;
	is = msr.entry[0].data - __builtin_ia32_rdtsc();
	off = is - c->cpu.tsc_offset;
	if (off + c->guest->tsc_hz / TSC_TOLERANCE > 2 * (c->guest->tsc_hz / TSC_TOLERANCE))
		__atomic_store_n(&c->cpu.tsc_offset, is, __ATOMIC_RELAXED);
	return 0;
}

/* ---- Registers of the API ---- */

static __u64 *general_register(struct kvm_regs *r, int num)
{
	switch (num) {
#define NAME(name, member)                                                                         \
	case VM_REG_GUEST_##name:                                                                  \
		return &r->member;
		GPRS(NAME)
#undef NAME
	case VM_REG_GUEST_RIP:
		return &r->rip;
	case VM_REG_GUEST_RFLAGS:
		return &r->rflags;
	default:
		return NULL;
	}
}

static __u64 *control_register(struct kvm_sregs *s, int num)
{
	switch (num) {
	case VM_REG_GUEST_CR0:
		return &s->cr0;
	case VM_REG_GUEST_CR2:
		return &s->cr2;
	case VM_REG_GUEST_CR3:
		return &s->cr3;
	case VM_REG_GUEST_CR4:
		return &s->cr4;
	case VM_REG_GUEST_EFER:
		return &s->efer;
	default:
		return NULL;
	}
}

static bool is_pdpte(int num)
{
	return num >= VM_REG_GUEST_PDPTE0 && num <= VM_REG_GUEST_PDPTE3;
}

int kvm_getreg(void *vmi, int vcpu, int num, uint64_t *value)
{
	struct kvm_cpu *c = kvm_cpu_of(vmi, vcpu);
	struct kvm_segment *seg = segment(&c->regs->sregs, num);
	__u64 *reg = general_register(&c->regs->regs, num);
	int error;

	if (!reg)
		reg = control_register(&c->regs->sregs, num);
	if (reg) {
		*value = *reg;
	} else if (seg) {
		*value = seg->selector;
	} else if (num == VM_REG_GUEST_DR7) {
		error = kvm_state_load(c, KVM_PART_DEBUG);
		if (error)
			return error;
		*value = c->cpu.dr[7];
	} else if (is_pdpte(num)) {
		pdptes_view(c);
		*value = c->cpu.pdpte[num - VM_REG_GUEST_PDPTE0];
	} else {
		return EINVAL;
	}
	return 0;
}

static void set_word(struct kvm_cpu *c, __u64 *reg, uint64_t value, unsigned dirty)
{
	if (*reg == value)
		return;
	*reg = value;
	c->dirty |= dirty;
}

static int set_debug(struct kvm_cpu *c, uint64_t value)
{
	int error = kvm_state_load(c, KVM_PART_DEBUG);

	if (error)
		return error;
	c->cpu.dr[7] = value;
	c->put |= KVM_PART_DEBUG;
	return 0;
}

int kvm_setreg(void *vmi, int vcpu, int num, uint64_t value)
{
	struct kvm_cpu *c = kvm_cpu_of(vmi, vcpu);
	struct kvm_segment *seg = segment(&c->regs->sregs, num);
	__u64 *reg = general_register(&c->regs->regs, num);

	if (num == VM_REG_GUEST_RFLAGS)
		value = (value & 0x3f7fd5) | 2;
	if (reg) {
		set_word(c, reg, value, KVM_SYNC_X86_REGS);
		return 0;
	}
	reg = control_register(&c->regs->sregs, num);
	if (reg) {
		set_word(c, reg, value, KVM_SYNC_X86_SREGS);
		c->flush |= num == VM_REG_GUEST_CR3 && c->fd >= 0;
		return 0;
	}
	if (seg) {
		if (seg->selector != (uint16_t)value)
			c->dirty |= KVM_SYNC_X86_SREGS;
		seg->selector = (uint16_t)value;
		return 0;
	}
	if (num == VM_REG_GUEST_DR7)
		return set_debug(c, value);
	if (!is_pdpte(num))
		return EINVAL;
	pdptes_view(c);
	c->cpu.pdpte[num - VM_REG_GUEST_PDPTE0] = value;
	c->pdptes_set = true;
	return 0;
}

static struct kvm_dtable *table_register(struct kvm_sregs *s, int num)
{
	return num == VM_REG_GUEST_GDTR ? &s->gdt : num == VM_REG_GUEST_IDTR ? &s->idt : NULL;
}

int kvm_getdesc(void *vmi, int vcpu, int num, struct seg_desc *desc)
{
	struct kvm_sregs *s = &kvm_cpu_of(vmi, vcpu)->regs->sregs;
	const struct kvm_segment *seg = segment(s, num);
	const struct kvm_dtable *table = table_register(s, num);
	struct x86_seg x;

	if (seg) {
		x = seg_of(seg);
		*desc = (struct seg_desc){.base = x.base, .limit = x.limit, .access = x.access};
	} else if (table) {
		desc->base = table->base;
		desc->limit = table->limit;
	} else {
		return EINVAL;
	}
	return 0;
}

int kvm_setdesc(void *vmi, int vcpu, int num, struct seg_desc *desc)
{
	struct kvm_cpu *c = kvm_cpu_of(vmi, vcpu);
	struct kvm_segment *seg = segment(&c->regs->sregs, num);
	struct kvm_dtable *table = table_register(&c->regs->sregs, num);

	if (seg) {
		seg_put(seg, &(struct x86_seg){.base = desc->base,
				     .limit = desc->limit,
				     .access = desc->access,
				     .sel = seg->selector});
	} else if (table) {
		table->base = desc->base;
		table->limit = (uint16_t)desc->limit;
	} else {
		return EINVAL;
	}
	c->dirty |= KVM_SYNC_X86_SREGS;
	return 0;
}

/* ---- The loan ---- */

static void *op_ram(struct x86_cpu *cpu, uint64_t gpa, unsigned len, bool write)
{
	struct kvm_cpu *c = cpu->owner;
	size_t contiguous;
	void *hva = vm_gpa_ram(c->vm, gpa, &contiguous);

	if (!hva || contiguous < len)
		return NULL;
	if (write)
		vm_dirty_note(c->vm, gpa, len);
	return hva;
}

static enum x86_result op_read(
	struct x86_cpu *cpu, uint64_t gla, uint64_t gpa, void *buf, unsigned len)
{
	(void)buf;
	cpu->exit = (struct x86_exit){
		.reason = X86_EXIT_MMIO, .mmio = {.gpa = gpa, .gla = gla, .size = (uint8_t)len}};
	return X86_EXIT;
}

static enum x86_result op_write(
	struct x86_cpu *cpu, uint64_t gla, uint64_t gpa, const void *buf, unsigned len)
{
	(void)buf;
	cpu->exit = (struct x86_exit){.reason = X86_EXIT_MMIO,
		.mmio = {.gpa = gpa, .gla = gla, .size = (uint8_t)len, .write = true}};
	return X86_EXIT;
}

static void op_flush(struct x86_cpu *cpu, enum x86_flush kind, uint64_t gla)
{
	(void)kind;
	(void)gla;
	((struct kvm_cpu *)cpu->owner)->flush = true;
}

static enum x86_result result(struct x86_cpu *cpu, int error)
{
	if (error == 0)
		return X86_DONE;
	return error == EPERM ? x86_raise_error(cpu, X86_GP, 0) : X86_EXIT;
}

static enum x86_result op_rdmsr(struct x86_cpu *cpu, uint32_t msr, uint64_t *value)
{
	struct kvm_cpu *c = cpu->owner;

	return result(cpu, vm_rdmsr(c->vm, c->vcpuid, msr, value));
}

static enum x86_result op_wrmsr(struct x86_cpu *cpu, uint32_t msr, uint64_t value)
{
	struct kvm_cpu *c = cpu->owner;

	return result(cpu, vm_wrmsr(c->vm, c->vcpuid, msr, value));
}

static uint64_t op_cr8_read(struct x86_cpu *cpu)
{
	return ((struct kvm_cpu *)cpu->owner)->run->cr8;
}

static void op_cr8_write(struct x86_cpu *cpu, uint64_t value)
{
	((struct kvm_cpu *)cpu->owner)->run->cr8 = value;
}

/* CPUID is KVM's; nobody executes it with these. */
static void op_cpuid(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf, uint32_t out[4])
{
	const struct x86_topology topo = {
		.apic_id = (uint32_t)((struct kvm_cpu *)cpu->owner)->vcpuid,
		.cores = 1,
		.threads = 1};

	x86_cpuid(cpu, &topo, leaf, subleaf, out);
}

static bool op_poll(struct x86_cpu *cpu)
{
	(void)cpu;
	return false;
}

/* For page walks and MSRs; who executes an instruction brings his own (vmm/emul.c). */
const struct x86_ops kvm_x86_ops = {
	.ram = op_ram,
	.map = x86_map_walk,
	.mmio_read = op_read,
	.mmio_write = op_write,
	.flush = op_flush,
	.rdmsr = op_rdmsr,
	.wrmsr = op_wrmsr,
	.cr8_read = op_cr8_read,
	.cr8_write = op_cr8_write,
	.cpuid = op_cpuid,
	.poll = op_poll,
};

struct x86_cpu *kvm_cpu_get(void *vmi, int vcpu)
{
	struct kvm_cpu *c = kvm_cpu_of(vmi, vcpu);

	if (!c->cpu.exec)
		c->cpu.exec = x86_exec_create();
	if (!c->cpu.exec || kvm_state_load(c, c->light ? 0 : KVM_PART_ALL) != 0)
		return NULL;
	kvm_state_view(c);
	c->lent = c->cpu;
	return &c->cpu;
}

/* Changed MSRs are found by their places: they are not together. */
static bool msrs_changed(struct kvm_cpu *c)
{
	for (unsigned i = 0; i < kvm_state_msr_count; i++)
		if (*kvm_msr_place(&c->cpu, i) != *kvm_msr_place(&c->lent, i))
			return true;
	return false;
}

static void parts_put(struct kvm_cpu *c)
{
	unsigned changed = 0;

	if (memcmp(c->cpu.fpu, c->lent.fpu, X86_XSAVE_SIZE) != 0)
		changed |= KVM_PART_FPU;
	if (c->cpu.xcr0 != c->lent.xcr0)
		changed |= KVM_PART_XCR;
	if (memcmp(c->cpu.dr, c->lent.dr, sizeof(c->cpu.dr)) != 0)
		changed |= KVM_PART_DEBUG;
	if (msrs_changed(c))
		changed |= KVM_PART_MSRS;
	if (c->fd >= 0)
		c->put |= changed & (c->have | c->put);
}

int kvm_cpu_put(void *vmi, int vcpu)
{
	struct kvm_cpu *c = kvm_cpu_of(vmi, vcpu);

	c->cpu.ops = &kvm_x86_ops;
	c->cpu.owner = c;
	kvm_state_keep(c);
	parts_put(c);
	if (c->cpu.tsc_offset != c->lent.tsc_offset && c->fd >= 0)
		return kvm_tsc_offset_set(c);
	return 0;
}
