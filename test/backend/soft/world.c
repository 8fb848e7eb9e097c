/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include <string.h>

#include "backend/backend.h"
#include "test/backend/soft/hooks.h"
#include "test/backend/soft/world.h"

/* Physical pages. */
#define PML4	   0x1000u /* 32-bit paging: the directory */
#define PDPT	   0x2000u
#define PD	   0x3000u
#define PT	   0x4000u
#define IDT_PA	   0x5000u
#define GDT_PA	   0x6000u /* and both TSSs */
#define HANDLER_PA 0x7000u
#define STACK_PA   0x8000u
#define DATA_PAGES 14u /* behind the code's two */

/* Indices in the lowest table, the same everywhere. */
#define IDX_CODE  0x100u
#define IDX_FIXED 0x1f0u /* IDT, GDT, handlers, stack of the handlers */
#define LIN(idx)  ((uint64_t)(idx) << 12)
#define TSS64_OFF 0x400u
#define TSS32_OFF 0x800u

#define PTE_P	1u
#define PTE_RW	2u
#define PTE_US	4u
#define PTE_A	0x20u
#define PTE_D	0x40u
#define PTE_G	0x100u

enum { SEL_CODE0 = 0x08, SEL_DATA0 = 0x10, SEL_DATA3 = 0x1b, SEL_CODE3 = 0x23, SEL_CODE1 = 0x29,
	SEL_DATA1 = 0x31, SEL_TSS = 0x38 };

uint64_t rng_next64(struct rng *rng)
{
	uint64_t high = rng_next(rng);

	return high << 32 | rng_next(rng);
}

struct vm *world_vm(struct vmm_ops *ops, uint8_t **ram)
{
	struct vm *vm;
	void *cookie;

	if (vm_create_on(ops, "world", &vm) != 0)
		return NULL;
	if (ops == &vmm_ops_soft)
		soft_hooks(vm);
	if (vm_malloc(vm, 0, WORLD_RAM) != 0 || vm_activate_cpu(vm, 0) != 0 ||
		vcpu_set_state(vm, 0, VCPU_FROZEN, true) != 0) {
		vm_destroy(vm);
		return NULL;
	}
	*ram = vm_gpa_hold(vm, 0, 4096, 3, &cookie);
	vm_gpa_release(cookie);
	return vm;
}

static void put(struct world *w, uint32_t gpa, uint64_t value, unsigned size)
{
	memcpy(w->ram + gpa, &value, size);
}

/* One entry of the lowest table: some page of code or data with some rights. */
static uint64_t any_pte(struct rng *rng)
{
	uint64_t pte = PTE_P | PTE_RW | PTE_US | PTE_A | PTE_D;
	uint32_t page = rng_below(rng, 24) ? 2 + rng_below(rng, DATA_PAGES) : rng_below(rng, 2);

	switch (rng_below(rng, 24)) {
	case 0:
		pte &= ~(uint64_t)PTE_P;
		break;
	case 1:
		pte &= ~(uint64_t)PTE_RW;
		break;
	case 2:
		pte &= ~(uint64_t)PTE_US;
		break;
	case 3:
		pte &= ~(uint64_t)PTE_D;
		break;
	case 4:
		pte &= ~(uint64_t)(PTE_A | PTE_D);
		break;
	case 5:
		pte |= PTE_G;
		break;
	default:
		break;
	}
	return pte | (WORLD_CODE_PA + (page << 12));
}

static uint64_t fixed_pte(unsigned i)
{
	if ((i & 0x1ff) == IDX_CODE || (i & 0x1ff) == IDX_CODE + 1)
		return (WORLD_CODE_PA + ((i & 1) << 12)) | PTE_P | PTE_RW | PTE_US | PTE_A | PTE_D;
	if ((i & 0x1ff) == IDX_FIXED + 3)
		return STACK_PA | PTE_P | PTE_RW | PTE_A | PTE_D;
	return (IDT_PA + (((i & 0x1ff) - IDX_FIXED) << 12)) | PTE_P | PTE_A | PTE_D;
}

static void make_tables(struct world *w, struct rng *rng)
{
	bool is64 = world_is_64(w->mode);
	unsigned size = is64 ? 8 : 4, n = 4096 / size;
	uint64_t rights = PTE_P | PTE_RW | PTE_US | PTE_A;

	for (unsigned i = 0; i < n; i++) {
		unsigned low = i & 0x1ff;
		bool fixed = low == IDX_CODE || low == IDX_CODE + 1 ||
			     (low >= IDX_FIXED && low < IDX_FIXED + 4);

		put(w, PML4 + i * size, (is64 ? PDPT : PT) | rights, size);
		put(w, PDPT + i * size, PD | rights, size);
		put(w, PD + i * size, PT | rights, size);
		put(w, PT + i * size, fixed ? fixed_pte(i) : any_pte(rng), size);
	}
}

static void make_descriptors(struct world *w)
{
	bool is64 = world_is_64(w->mode);

	put(w, GDT_PA + 0x08, is64 ? 0x00af9b000000ffffull : 0x00cf9b000000ffffull, 8);
	put(w, GDT_PA + 0x10, 0x00cf93000000ffffull, 8);
	put(w, GDT_PA + 0x18, 0x00cff3000000ffffull, 8);
	put(w, GDT_PA + 0x20, is64 ? 0x00affb000000ffffull : 0x00cffb000000ffffull, 8);
	put(w, GDT_PA + 0x28, 0x00cfbb000000ffffull, 8);
	put(w, GDT_PA + 0x30, 0x00cfb3000000ffffull, 8);
	put(w, GDT_PA + TSS64_OFF + 4, LIN(IDX_FIXED + 4) - 64, 8);
	put(w, GDT_PA + TSS64_OFF + 36, LIN(IDX_FIXED + 4) - 64, 8);
	put(w, GDT_PA + TSS32_OFF + 4, LIN(IDX_FIXED + 4) - 64, 4);
	put(w, GDT_PA + TSS32_OFF + 8, SEL_DATA0, 4);
	put(w, GDT_PA + TSS64_OFF + 0x66, 0xffff, 2); /* no I/O bitmap */
	put(w, GDT_PA + TSS32_OFF + 0x66, 0xffff, 2);
	for (unsigned i = 0; i < 32; i++) {
		uint64_t to = WORLD_HANDLER + 16 * i;
		uint64_t gate = (to & 0xffff) | SEL_CODE0 << 16 | 0x8e00ull << 32 | to >> 16 << 48;

		put(w, HANDLER_PA + 16 * i, 0xe8e6, 2); /* out %al, $0xe8 */
		put(w, IDT_PA + (is64 ? 16 : 8) * i, is64 ? gate | 1ull << 32 : gate, 8);
	}
}

static struct x86_seg flat(uint16_t sel, uint32_t access)
{
	return (struct x86_seg){ .limit = 0xffffffff, .access = access, .sel = sel };
}

static void make_segments(struct world *w, struct rng *rng)
{
	static const struct {
		uint16_t cs, ds;
		uint8_t cpl;
	} sel[] = { { SEL_CODE0, SEL_DATA0, 0 }, { SEL_CODE3, SEL_DATA3, 3 }, { SEL_CODE1, SEL_DATA1, 1 },
		{ SEL_CODE3, SEL_DATA3, 3 } };
	bool is64 = world_is_64(w->mode);
	struct x86_cpu *cpu = &w->cpu;

	cpu->cpl = sel[w->mode].cpl;
	for (unsigned i = 0; i < 6; i++)
		cpu->seg[i] = flat(sel[w->mode].ds, 0xc093u | (uint32_t)cpu->cpl << 5);
	cpu->seg[X86_CS] = flat(sel[w->mode].cs, (is64 ? 0xa09bu : 0xc09bu) | (uint32_t)cpu->cpl << 5);
	if (is64) {
		cpu->seg[X86_FS].base = world_pointer(rng, w->mode);
		cpu->seg[X86_GS].base = world_pointer(rng, w->mode);
		cpu->kernel_gs_base = world_pointer(rng, w->mode);
	}
	cpu->ldtr = (struct x86_seg){ .access = X86_SEG_UNUSABLE };
	cpu->tr = (struct x86_seg){ .base = LIN(IDX_FIXED + 1) + (is64 ? TSS64_OFF : TSS32_OFF),
		.limit = 0x67, .access = 0x8b, .sel = SEL_TSS };
	cpu->gdtr.base = LIN(IDX_FIXED + 1);
	cpu->gdtr.limit = 0x37;
	cpu->idtr.base = LIN(IDX_FIXED);
	cpu->idtr.limit = is64 ? 0x1ff : 0xff;
}

static void make_control(struct x86_cpu *cpu, bool is64, struct rng *rng)
{
	cpu->cr0 = X86_CR0_PG | X86_CR0_WP | X86_CR0_NE | X86_CR0_ET | X86_CR0_MP | X86_CR0_PE;
	cpu->cr2 = 0;
	cpu->cr3 = PML4;
	cpu->cr4 = X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT | X86_CR4_OSXSAVE | X86_CR4_PGE;
	if (is64)
		cpu->cr4 |= X86_CR4_PAE;
	if (rng_below(rng, 2))
		cpu->cr4 |= X86_CR4_FSGSBASE;
	cpu->efer = is64 ? X86_EFER_LME | X86_EFER_LMA | X86_EFER_NXE : 0;
	cpu->xcr0 = 7;
	for (unsigned i = 0; i < 8; i++)
		cpu->dr[i] = i == 6 ? 0xffff0ff0 : i == 7 ? 0x400 : 0;
}

/* XSAVE image: random registers, mostly masked exceptions. */
static void make_fpu(struct x86_cpu *cpu, struct rng *rng)
{
	uint16_t fcw = rng_below(rng, 16) ? 0x37f : 0x340 | rng_below(rng, 64);
	uint32_t mxcsr = rng_below(rng, 16) ? 0x1f80 : 0x1f80 & ~(rng_below(rng, 64) << 7);

	memset(cpu->fpu, 0, sizeof(cpu->fpu));
	memcpy(cpu->fpu, &fcw, 2);
	cpu->fpu[4] = rng_below(rng, 2) ? 0 : (uint8_t)rng_next(rng); /* tags */
	memcpy(cpu->fpu + 24, &mxcsr, 4);
	for (unsigned i = 0; i < 8; i++)
		for (unsigned b = 0; b < 10; b++)
			cpu->fpu[32 + 16 * i + b] = (uint8_t)rng_next(rng);
	for (unsigned i = 160; i < 416; i++)
		cpu->fpu[i] = (uint8_t)rng_next(rng);
	for (unsigned i = 576; i < 832; i++)
		cpu->fpu[i] = (uint8_t)rng_next(rng);
	cpu->fpu[512] = 7; /* XSTATE_BV */
}

uint64_t world_pointer(struct rng *rng, enum world_mode mode)
{
	uint64_t page = rng_below(rng, 1u << 9), offset;

	if (rng_below(rng, 12) == 0)
		return WORLD_CODE + rng_below(rng, 256);
	if (rng_below(rng, 2))
		page |= rng_next64(rng) << 9;
	offset = rng_below(rng, 4096);
	if (rng_below(rng, 2))
		offset &= ~63ull;
	else if (rng_below(rng, 2))
		offset = 4096 - 1 - rng_below(rng, 40);
	if (!world_is_64(mode))
		return (uint32_t)(page << 12 | offset);
	return (uint64_t)((int64_t)(page << (12 + 16)) >> 16) | offset;
}

unsigned world_page(const uint8_t *ram, enum world_mode mode, uint64_t gla)
{
	unsigned size = world_is_64(mode) ? 8 : 4;
	uint32_t pte;

	memcpy(&pte, ram + PT + (gla >> 12) % (4096 / size) * size, 4);
	pte &= 0xfffff000;
	return pte >= WORLD_CODE_PA && pte < WORLD_USED ? (pte - WORLD_CODE_PA) >> 12 : 31;
}

void world_make(struct world *w, enum world_mode mode, const struct x86_cpu *cpu, struct rng *rng)
{
	bool is64 = world_is_64(mode);

	w->mode = mode;
	w->cpu = *cpu;
	memset(w->ram, 0, WORLD_CODE_PA);
	for (unsigned i = WORLD_CODE_PA; i < WORLD_USED; i += 4)
		put(w, i, rng_next(rng), 4);
	make_tables(w, rng);
	make_descriptors(w);
	make_segments(w, rng);
	make_control(&w->cpu, is64, rng);
	make_fpu(&w->cpu, rng);
	w->cpu.shadow = 0;
	w->cpu.nmi_blocked = false;
	w->cpu.rip = WORLD_CODE;
	w->cpu.rflags = 2 | (rng_next(rng) & X86_FL_STATUS) | (rng_below(rng, 4) ? 0 : X86_RF_DF);
	for (unsigned i = 0; i < 16; i++)
		w->cpu.gpr[i] = rng_below(rng, 3) ? world_pointer(rng, mode) : rng_below(rng, 256);
	w->cpu.gpr[X86_RSP] = world_pointer(rng, mode) & ~7ull;
	for (unsigned i = 0; i < 16 && !is64; i++)
		w->cpu.gpr[i] = i < 8 ? (uint32_t)w->cpu.gpr[i] : 0;
}
