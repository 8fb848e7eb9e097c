/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The page-table walk in all its formats (SDM vol. 3, chapter 4).
 *
 *	format	 levels		entry	page sizes
 *	32-bit	 PD PT		4	4 KiB, 4 MiB with CR4.PSE (40-bit addresses: PSE-36)
 *	PAE	 PDPT PD PT	8	4 KiB, 2 MiB; the four PDPTEs sit in cpu->pdpte
 *	4-level	 PML4 PDPT PD PT 8	4 KiB, 2 MiB, 1 GiB
 *
 * A walk first reads all entries and judges them; only one that succeeds sets accessed and dirty
 *bits, each by compare-and-swap.  An entry that changed in between starts the walk again.
 */
#include "x86/system.h"
#include "x86/pte.h"

/* Error code of #PF (SDM vol. 3, figure 4-12). */
enum { PF_P = 1, PF_W = 2, PF_U = 4, PF_RSVD = 8, PF_I = 16, PF_PK = 32 };

/* PSE-36: bits 20:13 of a 4 MiB entry are address bits 39:32. */
#define PSE36_BITS     0x001fe000u
#define PSE36_RESERVED (1ull << 21)

#define PDPTE_RESERVED 0x1e6ull /* bits 8:5 and 2:1 (SDM vol. 3, table 4-8) */

#define RETRIES 64 /* a guest that rewrites its tables during the walk must not hold us forever */

struct format {
	uint8_t levels;
	uint8_t bits;	    /* of the linear address that each level consumes */
	uint8_t entry_size; /* 4 or 8 */
};

static const struct format format_32 = {.levels = 2, .bits = 10, .entry_size = 4};
static const struct format format_pae = {.levels = 2, .bits = 9, .entry_size = 8};
static const struct format format_long = {.levels = 4, .bits = 9, .entry_size = 8};

/* One entry on the way down. */
struct step {
	void *host;
	uint64_t gpa;
	uint64_t entry;
};

struct walk {
	struct x86_cpu *cpu;
	const struct format *format;
	uint64_t gla;
	unsigned acc;
	uint64_t reserved; /* in every entry of this format and mode */
	struct step step[4];
	unsigned steps;
	unsigned shift; /* of the leaf */
	uint64_t all;	/* AND of all entries: U, W */
	uint64_t any;	/* OR of all entries: NX */
};

static uint64_t above_maxphyaddr(const struct x86_cpu *cpu)
{
	return X86_PTE_ADDR & ~((1ull << cpu->maxphyaddr) - 1);
}

static enum x86_result page_fault(const struct walk *walk, uint32_t error)
{
	struct x86_cpu *cpu = walk->cpu;

	if (walk->acc & X86_ACC_NOFAULT)
		return X86_FAULT;
	if (walk->acc & X86_ACC_WRITE)
		error |= PF_W;
	if (walk->acc & X86_ACC_USER)
		error |= PF_U;
	if (walk->acc & X86_ACC_EXEC &&
		(cpu->cr4 & X86_CR4_SMEP || (cpu->cr4 & X86_CR4_PAE && cpu->efer & X86_EFER_NXE)))
		error |= PF_I;
	return x86_raise_pf(cpu, walk->gla, error);
}

static enum x86_result table_outside_ram(const struct walk *walk, uint64_t gpa)
{
	struct x86_cpu *cpu = walk->cpu;

	if (walk->acc & X86_ACC_NOFAULT)
		return X86_EXIT;
	cpu->exit = (struct x86_exit){
		.reason = X86_EXIT_MMIO,
		.mmio = {.gpa = gpa,
			.gla = walk->gla,
			.size = walk->format->entry_size,
			.table = true},
	};
	return X86_EXIT;
}

static enum x86_result read_entry(struct walk *walk, uint64_t gpa, struct step *step)
{
	struct x86_cpu *cpu = walk->cpu;

	step->gpa = gpa;
	step->host = cpu->ops->ram(cpu, gpa, walk->format->entry_size, false);
	if (step->host == NULL)
		return table_outside_ram(walk, gpa);
	if (walk->format->entry_size == 4)
		step->entry = __atomic_load_n((const uint32_t *)step->host, __ATOMIC_ACQUIRE);
	else
		step->entry = __atomic_load_n((const uint64_t *)step->host, __ATOMIC_ACQUIRE);
	return X86_DONE;
}

/* Address bits below the page size, PAT aside, must be zero; so must what the format lacks. */
static uint64_t large_reserved(const struct walk *walk, unsigned shift)
{
	const struct x86_cpu *cpu = walk->cpu;

	if (walk->format->entry_size == 8)
		return ((1ull << shift) - 1) & X86_PTE_ADDR & ~X86_PTE_PAT_LARGE;
	return PSE36_RESERVED |
	       (((X86_PTE_ADDR & ~((1ull << cpu->maxphyaddr) - 1)) >> 32 << 13) & PSE36_BITS);
}

/* Does an entry of level `level` (0: the page table) with PS set map a page? */
static bool maps_page(const struct walk *walk, unsigned level, uint64_t entry)
{
	if (level == 0)
		return true;
	if (!(entry & X86_PTE_PS) || level == 3)
		return false;
	return walk->format->entry_size == 8 || walk->cpu->cr4 & X86_CR4_PSE;
}

static bool is_reserved(const struct walk *walk, unsigned level, uint64_t entry, unsigned shift)
{
	uint64_t reserved = walk->reserved;

	if (level == 3)
		reserved |= X86_PTE_PS;
	else if (level > 0 && maps_page(walk, level, entry))
		reserved |= large_reserved(walk, shift);
	return entry & reserved;
}

/* Follows the tables down to the leaf. */
static enum x86_result descend(struct walk *walk, uint64_t table)
{
	const struct format *format = walk->format;
	unsigned level = format->levels;
	enum x86_result res;

	walk->steps = 0;
	walk->all = UINT64_MAX;
	walk->any = 0;
	for (;;) {
		struct step *step = &walk->step[walk->steps];
		unsigned shift = 12 + --level * format->bits;
		uint64_t index = (walk->gla >> shift) & ((1u << format->bits) - 1);

		res = read_entry(walk, table + index * format->entry_size, step);
		if (res != X86_DONE)
			return res;
		if (!(step->entry & X86_PTE_P))
			return page_fault(walk, 0);
		if (is_reserved(walk, level, step->entry, shift))
			return page_fault(walk, PF_P | PF_RSVD);
		walk->steps++;
		walk->all &= step->entry;
		walk->any |= step->entry;
		walk->shift = shift;
		if (maps_page(walk, level, step->entry))
			return X86_DONE;
		table = step->entry & X86_PTE_ADDR;
	}
}

/* SDM vol. 3, 4.6.2: a data access that the page's protection key denies. */
static bool is_locked(const struct walk *walk)
{
	const struct x86_cpu *cpu = walk->cpu;
	unsigned key = (unsigned)(walk->step[walk->steps - 1].entry >> X86_PTE_KEY_SHIFT) & 15;
	bool user_page = walk->all & X86_PTE_U;
	uint32_t rights = (user_page ? cpu->pkru : (uint32_t)cpu->pkrs) >> 2 * key & 3;

	if (walk->acc & X86_ACC_EXEC || walk->format != &format_long ||
		!(cpu->cr4 & (user_page ? X86_CR4_PKE : X86_CR4_PKS)))
		return false;
	if (rights & 1)
		return true;
	return rights & 2 && walk->acc & X86_ACC_WRITE &&
	       (walk->acc & X86_ACC_USER || cpu->cr0 & X86_CR0_WP);
}

/* SDM vol. 3, 4.6.1: may this access use that page? */
static bool is_permitted(const struct walk *walk)
{
	const struct x86_cpu *cpu = walk->cpu;
	bool user_page = walk->all & X86_PTE_U;
	unsigned acc = walk->acc;

	if (acc & X86_ACC_EXEC && walk->any & X86_PTE_NX)
		return false;
	if (acc & X86_ACC_USER)
		return user_page && (!(acc & X86_ACC_WRITE) || walk->all & X86_PTE_W);
	if (acc & X86_ACC_WRITE && !(walk->all & X86_PTE_W) && cpu->cr0 & X86_CR0_WP)
		return false;
	if (!user_page)
		return true;
	if (acc & X86_ACC_EXEC)
		return !(cpu->cr4 & X86_CR4_SMEP);
	if (!(cpu->cr4 & X86_CR4_SMAP))
		return true;
	return !(acc & X86_ACC_IMPLICIT) && cpu->rflags & X86_RF_AC;
}

/* False if the entry is no longer what the walk saw. */
static bool set_bits(struct walk *walk, struct step *step, uint64_t bits)
{
	struct x86_cpu *cpu = walk->cpu;
	void *host;

	if ((step->entry & bits) == bits)
		return true;
	host = cpu->ops->ram(cpu, step->gpa, walk->format->entry_size, true);
	if (host == NULL) /* read-only memory: tables in a ROM keep their bits */
		return true;
	if (walk->format->entry_size == 4) {
		uint32_t old = (uint32_t)step->entry;

		return __atomic_compare_exchange_n((uint32_t *)host, &old, old | (uint32_t)bits,
			false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
	}
	return __atomic_compare_exchange_n((uint64_t *)host, &step->entry, step->entry | bits,
		false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
}

static bool set_accessed_dirty(struct walk *walk)
{
	unsigned leaf = walk->steps - 1;

	if (walk->acc & X86_ACC_NOFAULT)
		return true;
	for (unsigned i = 0; i < leaf; i++)
		if (!set_bits(walk, &walk->step[i], X86_PTE_A))
			return false;
	return set_bits(walk, &walk->step[leaf],
		walk->acc & X86_ACC_WRITE ? X86_PTE_A | X86_PTE_D : X86_PTE_A);
}

static uint64_t leaf_base(const struct walk *walk)
{
	uint64_t entry = walk->step[walk->steps - 1].entry;
	uint64_t base = entry & X86_PTE_ADDR & ~((1ull << walk->shift) - 1);

	if (walk->shift == 22)
		base |= (entry & PSE36_BITS) << 19;
	return base;
}

static void fill(const struct walk *walk, struct x86_walk *out)
{
	uint64_t leaf = walk->step[walk->steps - 1].entry;
	bool wrote = walk->acc & X86_ACC_WRITE && !(walk->acc & X86_ACC_NOFAULT);

	*out = (struct x86_walk){
		.gpa = leaf_base(walk) | (walk->gla & ((1ull << walk->shift) - 1)),
		.page_shift = (uint8_t)walk->shift,
		.user = walk->all & X86_PTE_U,
		.writable = walk->all & X86_PTE_W,
		.executable = !(walk->any & X86_PTE_NX),
		.global = leaf & X86_PTE_G && walk->cpu->cr4 & X86_CR4_PGE,
		.dirty = wrote || leaf & X86_PTE_D,
		.accessed = !(walk->acc & X86_ACC_NOFAULT) || walk->all & X86_PTE_A,
	};
}

static enum x86_result no_paging(uint64_t gla, struct x86_walk *out)
{
	*out = (struct x86_walk){
		.gpa = (uint32_t)gla,
		.page_shift = 12,
		.user = true,
		.writable = true,
		.executable = true,
		.dirty = true,
		.accessed = true,
	};
	return X86_DONE;
}

/* Picks the format and the first table; PAE's first level is a register. */
static enum x86_result start(struct walk *walk, uint64_t *table)
{
	const struct x86_cpu *cpu = walk->cpu;
	uint64_t nx = cpu->efer & X86_EFER_NXE ? 0 : X86_PTE_NX;

	if (x86_is_long(cpu)) {
		walk->format = &format_long;
		walk->reserved = above_maxphyaddr(cpu) | nx;
		*table = cpu->cr3 & X86_PTE_ADDR;
		return X86_DONE;
	}
	walk->gla = (uint32_t)walk->gla;
	if (!(cpu->cr4 & X86_CR4_PAE)) {
		walk->format = &format_32;
		walk->reserved = 0;
		*table = cpu->cr3 & 0xfffff000u;
		return X86_DONE;
	}
	walk->format = &format_pae;
	walk->reserved = above_maxphyaddr(cpu) | nx | (0x7ffull << 52);
	*table = cpu->pdpte[walk->gla >> 30];
	if (!(*table & X86_PTE_P))
		return page_fault(walk, 0);
	*table &= X86_PTE_ADDR;
	return X86_DONE;
}

enum x86_result x86_walk(struct x86_cpu *cpu, uint64_t gla, unsigned acc, struct x86_walk *out)
{
	struct walk walk = {.cpu = cpu, .gla = gla, .acc = acc};
	uint64_t table;
	enum x86_result res;

	if (!(cpu->cr0 & X86_CR0_PG))
		return no_paging(gla, out);
	res = start(&walk, &table);
	for (unsigned i = 0; i < RETRIES && res == X86_DONE; i++) {
		res = descend(&walk, table);
		if (res != X86_DONE)
			break;
		if (is_locked(&walk))
			return page_fault(&walk, PF_P | PF_PK);
		if (!is_permitted(&walk))
			return page_fault(&walk, PF_P);
		if (set_accessed_dirty(&walk))
			break;
	}
	if (res == X86_DONE)
		fill(&walk, out);
	return res;
}

enum x86_result x86_load_pdptes(struct x86_cpu *cpu, uint64_t cr3)
{
	uint64_t gpa = cr3 & 0xffffffe0u,
		 reserved = PDPTE_RESERVED | above_maxphyaddr(cpu) | (0xfffull << 52);
	const uint64_t *host = cpu->ops->ram(cpu, gpa, 32, false);
	uint64_t pdpte[4];

	if (host == NULL)
		return x86_raise_error(cpu, X86_GP, 0);
	for (unsigned i = 0; i < 4; i++) {
		pdpte[i] = __atomic_load_n(&host[i], __ATOMIC_RELAXED);
		if (pdpte[i] & X86_PTE_P && pdpte[i] & reserved)
			return x86_raise_error(cpu, X86_GP, 0);
	}
	x86_bytes_copy(cpu->pdpte, pdpte, sizeof(pdpte));
	return X86_DONE;
}
