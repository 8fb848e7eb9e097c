/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The local APIC's registers, through its page or as MSRs (SDM 3A 10.4, 10.12; vmm-api.md 10.1). */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <vmm/pc.h>
#include "vmm/chip/vlapic_impl.h"

#define APIC_VERSION_VALUE 0x00060010 /* version 0x10, LVT entries 0..6 */
#define APIC_REGS	   0x40	      /* numbers above are reserved */

/*
 * A bit per register number: which ones x2APIC mode has, for reading and for writing (SDM table
 * 10-6).
 */
#define BIT(reg)       (1ull << (reg))
#define BITS(from, to) (BIT(to) - BIT(from) + BIT(to))
static const uint64_t x2apic_both = BIT(APIC_TPR) | BIT(APIC_SVR) | BIT(APIC_ESR) |
				    BITS(APIC_LVT_CMCI, APIC_ICR_LO) |
				    BITS(APIC_LVT_TIMER, APIC_TIMER_ICR) | BIT(APIC_TIMER_DCR);
static const uint64_t x2apic_readable = x2apic_both | BITS(APIC_ID, APIC_VERSION) | BIT(APIC_PPR) |
					BIT(APIC_LDR) | BITS(APIC_ISR, APIC_IRR + 7) |
					BIT(APIC_TIMER_CCR);
static const uint64_t x2apic_writable = x2apic_both | BIT(APIC_EOI) | BIT(APIC_SELF_IPI);

/*
 * Each LVT register: its entry, what can be written, and what reads as status and may be written
 * back.
 */
static const struct lvt_reg {
	enum apic_reg reg;
	enum vlapic_lvt entry;
	uint32_t writable, status;
} lvt_regs[] = {
	{APIC_LVT_CMCI, VLAPIC_LVT_CMCI, 0x107ff, 0x1000},
	{APIC_LVT_TIMER, VLAPIC_LVT_TIMER, 0x700ff, 0x1000},
	{APIC_LVT_THERMAL, VLAPIC_LVT_THERMAL, 0x107ff, 0x1000},
	{APIC_LVT_PERF, VLAPIC_LVT_PERF, 0x107ff, 0x1000},
	{APIC_LVT_LINT0, VLAPIC_LVT_LINT0, 0x1a7ff, 0x5000},
	{APIC_LVT_LINT1, VLAPIC_LVT_LINT1, 0x1a7ff, 0x5000},
	{APIC_LVT_ERROR, VLAPIC_LVT_ERROR, 0x100ff, 0x1000},
};

static const struct lvt_reg *find_lvt(unsigned reg)
{
	for (size_t i = 0; i < sizeof(lvt_regs) / sizeof(lvt_regs[0]); i++) {
		if (lvt_regs[i].reg == reg)
			return &lvt_regs[i];
	}
	return NULL;
}

static void mode_changed(struct vlapic *v)
{
	uint32_t id = (uint32_t)v->vcpuid;

	if (vlapic_is_x2apic(v)) {
		v->ldr = id >> 4 << 16 | 1u << (id & 15);
		v->dfr = 0;
	} else {
		v->ldr = 0;
		v->dfr = UINT32_MAX;
	}
}

void vlapic_init_registers(struct vlapic *v)
{
	vlapic_timer_reset(v);
	for (int i = 0; i < 8; i++)
		v->irr[i] = v->isr[i] = v->tmr[i] = 0;
	for (int i = 0; i < VLAPIC_LVT_COUNT; i++)
		v->lvt[i] = APIC_LVT_MASKED;
	v->svr = 0xff;
	v->tpr = 0;
	v->ppr = 0;
	v->esr = 0;
	v->esr_latch = 0;
	v->icr = 0;
	mode_changed(v);
}

void vlapic_reset(struct vlapic *v)
{
	v->apicbase = PC_LAPIC_BASE | APICBASE_ENABLE | (v->vcpuid == 0 ? APICBASE_BSP : 0) |
		      (v->x2apic_capable ? APICBASE_EXTD : 0);
	vlapic_init_registers(v);
	v->spinup_pending = 0;
	pthread_mutex_lock(&v->lock);
	v->boot = v->vcpuid == 0 ? BOOT_RUN : BOOT_RESET;
	v->events = 0;
	pthread_mutex_unlock(&v->lock);
}

struct vlapic *vlapic_create(struct vm *vm, int vcpuid)
{
	struct vlapic *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->vm = vm;
	v->vcpuid = vcpuid;
	pthread_mutex_init(&v->lock, NULL);
	vlapic_timer_init(v);
	vlapic_reset(v);
	return v;
}

void vlapic_destroy(struct vlapic *v)
{
	if (!v)
		return;
	vmm_timer_drain(&v->timer);
	pthread_mutex_destroy(&v->lock);
	free(v);
}

void vlapic_set_x2apic_state(struct vlapic *v, enum x2apic_state state)
{
	v->x2apic_capable = state == X2APIC_ENABLED;
	if (v->x2apic_capable)
		v->apicbase |= APICBASE_EXTD;
	else
		v->apicbase &= ~(uint64_t)APICBASE_EXTD;
	mode_changed(v);
}

uint64_t vlapic_get_cr8(struct vlapic *v)
{
	return v->tpr >> 4;
}

static void set_tpr(struct vlapic *v, uint32_t tpr)
{
	v->tpr = tpr & 0xff;
	vlapic_update_ppr(v);
}

int vlapic_set_cr8(struct vlapic *v, uint64_t value)
{
	if (value > 15)
		return EPERM;
	set_tpr(v, (uint32_t)value << 4);
	return 0;
}

static void set_svr(struct vlapic *v, uint32_t svr)
{
	uint32_t old = v->svr;

	v->svr = svr;
	if ((old & ~svr) & APIC_SVR_ENABLE) {
		vlapic_timer_disabled(v);
		for (int i = 0; i < VLAPIC_LVT_COUNT; i++) {
			if (i != VLAPIC_LVT_TIMER)
				v->lvt[i] |= APIC_LVT_MASKED;
		}
	} else if ((svr & ~old) & APIC_SVR_ENABLE) {
		vlapic_timer_enabled(v);
	}
	vlapic_sample_lint0(v);
}

static void set_lvt(struct vlapic *v, const struct lvt_reg *lvt, uint32_t value)
{
	value &= lvt->writable;
	if (!(v->svr & APIC_SVR_ENABLE))
		value |= APIC_LVT_MASKED;
	if (lvt->entry == VLAPIC_LVT_TIMER)
		vlapic_timer_set_lvt(v, value);
	else
		v->lvt[lvt->entry] = value;
	if (lvt->entry == VLAPIC_LVT_LINT0)
		vlapic_sample_lint0(v);
}

static uint64_t read_reg(struct vlapic *v, unsigned reg)
{
	const struct lvt_reg *lvt = find_lvt(reg);

	if (lvt)
		return v->lvt[lvt->entry];
	switch (reg) {
	case APIC_ID:
		return vlapic_is_x2apic(v) ? (uint32_t)v->vcpuid : (uint32_t)v->vcpuid << 24;
	case APIC_VERSION:
		return APIC_VERSION_VALUE;
	case APIC_TPR:
		return v->tpr;
	case APIC_PPR:
		return v->ppr;
	case APIC_LDR:
		return v->ldr;
	case APIC_DFR:
		return v->dfr;
	case APIC_SVR:
		return v->svr;
	case APIC_ISR ... APIC_ISR + 7:
		return v->isr[reg - APIC_ISR];
	case APIC_TMR ... APIC_TMR + 7:
		return v->tmr[reg - APIC_TMR];
	case APIC_IRR ... APIC_IRR + 7:
		return v->irr[reg - APIC_IRR];
	case APIC_ESR:
		return v->esr;
	case APIC_ICR_LO:
		return vlapic_is_x2apic(v) ? v->icr : (uint32_t)v->icr;
	case APIC_ICR_HI:
		return v->icr >> 32;
	case APIC_TIMER_ICR:
		return v->initial;
	case APIC_TIMER_CCR:
		return vlapic_timer_current(v);
	case APIC_TIMER_DCR:
		return v->divide;
	default:
		return 0;
	}
}

/* Messages are delivered within the write, so delivery status (bit 12) never reads 1. */
static void send_icr(struct vlapic *v, uint64_t icr, bool *retu)
{
	v->icr = icr & ~(1ull << 12);
	vlapic_send_ipi(v, retu);
}

/* What both modes write alike; `value` has 32 bits. */
static void write_reg(struct vlapic *v, unsigned reg, uint32_t value)
{
	const struct lvt_reg *lvt = find_lvt(reg);

	if (lvt) {
		set_lvt(v, lvt, value);
		return;
	}
	switch (reg) {
	case APIC_TPR:
		set_tpr(v, value);
		break;
	case APIC_EOI:
		vlapic_eoi(v);
		break;
	case APIC_SVR:
		set_svr(v, value);
		break;
	case APIC_ESR:
		v->esr = atomic_exchange(&v->esr_latch, 0);
		break;
	case APIC_TIMER_ICR:
		vlapic_timer_set_initial(v, value);
		break;
	case APIC_TIMER_DCR:
		vlapic_timer_set_divide(v, value);
		break;
	default: /* read-only or reserved */
		break;
	}
}

static void write_xapic(struct vlapic *v, unsigned reg, uint32_t value, bool *retu)
{
	switch (reg) {
	case APIC_LDR:
		v->ldr = value & 0xff000000;
		break;
	case APIC_DFR:
		v->dfr = value | 0x0fffffff;
		break;
	case APIC_ICR_LO:
		send_icr(v, (v->icr & ~(uint64_t)UINT32_MAX) | value, retu);
		break;
	case APIC_ICR_HI:
		v->icr = (uint32_t)v->icr | (uint64_t)(value & 0xff000000) << 32;
		break;
	default:
		write_reg(v, reg, value);
		break;
	}
}

static bool page_decoded(struct vlapic *v, uint64_t gpa)
{
	return (v->apicbase & (APICBASE_ENABLE | APICBASE_EXTD)) == APICBASE_ENABLE &&
	       (gpa ^ v->apicbase) / PC_LAPIC_SIZE == 0;
}

/* Registers are 32 bits wide at multiples of 16; parts of one can be read, too. */
int vlapic_mmio_read(struct vm *vm, int vcpuid, uint64_t gpa, uint64_t *value, int size, void *arg)
{
	struct vlapic *v = vm_lapic(vm, vcpuid);
	unsigned offset = gpa & (PC_LAPIC_SIZE - 1), byte = offset & 15;

	(void)arg;
	*value = UINT64_MAX;
	if (page_decoded(v, gpa) && byte < 4 && (size == 8 || byte + (unsigned)size <= 4))
		*value = read_reg(v, offset >> 4) >> 8 * byte;
	return 0;
}

int vlapic_mmio_write(struct vm *vm, int vcpuid, uint64_t gpa, uint64_t value, int size, void *arg)
{
	struct vlapic *v = vm_lapic(vm, vcpuid);
	unsigned offset = gpa & (PC_LAPIC_SIZE - 1);

	if (page_decoded(v, gpa) && size == 4 && offset % 16 == 0)
		write_xapic(v, offset >> 4, (uint32_t)value, arg);
	return 0;
}

/* Bits that a WRMSR may set without #GP (SDM 3A 10.12.1.2, 10.12.1.3). */
static uint64_t x2apic_write_mask(unsigned reg)
{
	const struct lvt_reg *lvt = find_lvt(reg);

	if (lvt)
		return lvt->writable | lvt->status;
	switch (reg) {
	case APIC_EOI:
	case APIC_ESR:
		return 0;
	case APIC_TPR:
	case APIC_SELF_IPI:
		return 0xff;
	case APIC_SVR:
		return 0x3ff; /* bit 9, focus checking, is what old guests write back */
	case APIC_ICR_LO:
		return 0xffffffff000cdfff; /* bit 12: delivery status of xAPIC times */
	case APIC_TIMER_DCR:
		return 0xb;
	default:
		return UINT32_MAX;
	}
}

static int write_x2apic(struct vlapic *v, unsigned reg, uint64_t value, bool *retu)
{
	if (reg >= APIC_REGS || !(x2apic_writable & BIT(reg)) || value & ~x2apic_write_mask(reg))
		return EPERM;
	if (reg == APIC_ICR_LO)
		send_icr(v, value, retu);
	else if (reg == APIC_SELF_IPI && value < APIC_VECTOR_MIN)
		vlapic_set_error(v, APIC_ESR_SEND_ILLEGAL);
	else if (reg == APIC_SELF_IPI)
		lapic_set_intr(v->vm, v->vcpuid, (int)value, false);
	else
		write_reg(v, reg, (uint32_t)value);
	return 0;
}

uint64_t vlapic_get_apicbase(struct vlapic *v)
{
	return v->apicbase;
}

/* Where the page may go: the hole below 4 GiB, in which there is no RAM. */
static bool page_may_be_at(uint64_t gpa)
{
	return gpa >= PC_PCI_HOLE_BASE && gpa < PC_HIGHMEM_BASE;
}

/*
 * The transitions of SDM 3A figure 10-27: x2APIC is entered from xAPIC mode and left only by way of
 * off.  A disabled APIC has lost its state.
 */
static int set_apicbase(struct vlapic *v, uint64_t value)
{
	const uint64_t mode_bits = APICBASE_ENABLE | APICBASE_EXTD;
	uint64_t old = v->apicbase, mode = value & mode_bits;
	uint64_t page = value & ~(uint64_t)(PC_LAPIC_SIZE - 1);

	if (value == old)
		return 0;
	if ((value ^ old) & (PC_LAPIC_SIZE - 1) & ~mode_bits || !page_may_be_at(page))
		return EPERM;
	if (mode == APICBASE_EXTD || (mode == mode_bits && !v->x2apic_capable))
		return EPERM;
	if (mode == mode_bits && !(old & APICBASE_ENABLE))
		return EPERM;
	if (mode == APICBASE_ENABLE && old & APICBASE_EXTD)
		return EPERM;
	v->apicbase = value;
	if (mode && mode != (old & mode_bits))
		mode_changed(v);
	else if (!mode)
		vlapic_init_registers(v);
	vlapic_sample_lint0(v);
	return 0;
}

bool vlapic_owns_msr(uint32_t msr)
{
	return msr == MSR_APICBASE || msr == MSR_TSC_DEADLINE ||
	       (msr >= MSR_X2APIC_FIRST && msr <= MSR_X2APIC_LAST);
}

int vlapic_rdmsr(struct vlapic *v, uint32_t msr, uint64_t *value)
{
	unsigned reg = msr - MSR_X2APIC_FIRST;

	if (!vlapic_owns_msr(msr) || (msr == MSR_TSC_DEADLINE && !v->tsc_hz))
		return ENOENT;
	if (msr == MSR_APICBASE) {
		*value = v->apicbase;
		return 0;
	}
	if (msr == MSR_TSC_DEADLINE) {
		*value = vlapic_timer_deadline(v);
		return 0;
	}
	if (!vlapic_is_x2apic(v) || reg >= APIC_REGS || !(x2apic_readable & BIT(reg)))
		return EPERM;
	*value = read_reg(v, reg);
	return 0;
}

int vlapic_wrmsr(struct vlapic *v, uint32_t msr, uint64_t value, bool *retu)
{
	if (!vlapic_owns_msr(msr) || (msr == MSR_TSC_DEADLINE && !v->tsc_hz))
		return ENOENT;
	if (msr == MSR_APICBASE)
		return set_apicbase(v, value);
	if (msr == MSR_TSC_DEADLINE) {
		vlapic_timer_set_deadline(v, value);
		return 0;
	}
	if (!vlapic_is_x2apic(v))
		return EPERM;
	return write_x2apic(v, msr - MSR_X2APIC_FIRST, value, retu);
}
