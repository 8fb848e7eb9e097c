/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The page walk that most fills come down to: four levels, every entry marked as accessed already,
 * and nothing to say against the access.  It reads and writes nothing else, so whatever it does not
 * like is left to x86_walk(), which knows all formats, sets the marks and finds the right fault.
 */
#include "backend/soft/soft.h"

struct path {
	uint64_t leaf;
	uint64_t all, any; /* AND and OR of all entries */
	unsigned shift;	   /* log2 of the page's size */
};

static const uint64_t *entry_at(struct soft_vcpu *v, uint64_t gpa)
{
	if (gpa - v->ram[0].gpa < v->ram[0].len) /* without a call where all RAM is one piece */
		return (const uint64_t *)(v->ram[0].hva + (gpa - v->ram[0].gpa));
	return soft_ram(v, gpa);
}

/* SDM vol. 3, table 4-15 to 4-20. */
static bool descend(struct soft_vcpu *v, uint64_t gla, uint64_t marks, struct path *p)
{
	uint64_t reserved = X86_PTE_ADDR & ~((1ull << v->cpu.maxphyaddr) - 1), table = v->cpu.cr3;

	if (!(v->cpu.efer & X86_EFER_NXE))
		reserved |= X86_PTE_NX;
	*p = (struct path){.all = UINT64_MAX};
	for (p->shift = 39;; p->shift -= 9) {
		const uint64_t *at =
			entry_at(v, (table & X86_PTE_ADDR) | (gla >> p->shift & 511) << 3);

		if (!at)
			return false;
		p->leaf = __atomic_load_n(at, __ATOMIC_ACQUIRE);
		if ((p->leaf & (X86_PTE_P | marks)) != (X86_PTE_P | marks) || p->leaf & reserved)
			return false;
		p->all &= p->leaf;
		p->any |= p->leaf;
		if (p->shift == 12)
			return true;
		if (p->leaf & X86_PTE_PS)
			return p->shift < 39 && !(p->leaf & ((1ull << p->shift) - 1) &
							X86_PTE_ADDR & ~X86_PTE_PAT_LARGE);
		table = p->leaf;
	}
}

/* SDM vol. 3, 4.6.1, but for supervisor writes to what may not be written, which CR0.WP decides. */
static bool is_permitted(const struct x86_cpu *cpu, const struct path *p, unsigned acc)
{
	if (acc & X86_ACC_EXEC && p->any & X86_PTE_NX)
		return false;
	if (acc & X86_ACC_WRITE && !(p->all & X86_PTE_W))
		return false;
	if (acc & X86_ACC_WRITE && !(acc & X86_ACC_NOFAULT) && !(p->leaf & X86_PTE_D))
		return false;
	if (acc & X86_ACC_USER)
		return p->all & X86_PTE_U;
	if (!(p->all & X86_PTE_U))
		return true;
	if (acc & X86_ACC_EXEC)
		return !(cpu->cr4 & X86_CR4_SMEP);
	return !(cpu->cr4 & X86_CR4_SMAP) || (!(acc & X86_ACC_IMPLICIT) && cpu->rflags & X86_RF_AC);
}

/* Is key 0, which nearly all pages have and which mostly forbids nothing, all there is to ask? */
static bool is_unlocked(const struct x86_cpu *cpu, const struct path *p)
{
	if (!(cpu->cr4 & (X86_CR4_PKE | X86_CR4_PKS)))
		return true;
	return !(p->leaf & X86_PTE_KEY) && !((cpu->pkru | cpu->pkrs) & 3);
}

bool soft_walk_marked(struct soft_vcpu *v, uint64_t gla, unsigned acc, struct x86_walk *out)
{
	const struct x86_cpu *cpu = &v->cpu;
	uint64_t in_page;
	struct path p;

	/* NOFAULT marks nothing. */
	if (!(cpu->efer & X86_EFER_LMA) ||
		!descend(v, gla, acc & X86_ACC_NOFAULT ? 0 : X86_PTE_A, &p) ||
		!is_permitted(cpu, &p, acc) || !is_unlocked(cpu, &p))
		return false;
	in_page = (1ull << p.shift) - 1;
	*out = (struct x86_walk){
		.gpa = (p.leaf & X86_PTE_ADDR & ~in_page) | (gla & in_page),
		.page_shift = (uint8_t)p.shift,
		.user = p.all & X86_PTE_U,
		.writable = p.all & X86_PTE_W,
		.executable = !(p.any & X86_PTE_NX),
		.global = p.leaf & X86_PTE_G && cpu->cr4 & X86_CR4_PGE,
		.dirty = p.leaf & X86_PTE_D,
		.accessed = p.all & X86_PTE_A,
	};
	return true;
}

enum x86_result soft_walk(struct soft_vcpu *v, uint64_t gla, unsigned acc, struct x86_walk *out)
{
	return soft_walk_marked(v, gla, acc, out) ? X86_DONE : x86_walk(&v->cpu, gla, acc, out);
}
