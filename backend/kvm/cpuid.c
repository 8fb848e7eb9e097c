/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * CPUID: the model of x86_cpuid(), as on every backend, less what this KVM cannot give a guest, and
 * with what the host's processor tells about its speculation, which the guest runs on unprotected
 * by a translator.
 */
#include <stdlib.h>

#include "backend/kvm/kvm.h"

#define XSAVE_LEGACY_SIZE 576u /* with the header */

enum { EAX, EBX, ECX, EDX };

/* Words of feature bits: the guest sees those that the model has and KVM too. */
static const struct {
	uint32_t leaf, subleaf;
	uint8_t reg;
	uint32_t ours;	/* bits that KVM has no say in: the chips' and the topology's */
	uint32_t hosts; /* bits that are KVM's word alone */
} words[] = {
	{0x1, 0, ECX, 1u << 24 | 1u << 31 | 1u << 21 | 1u << 27, 0},
	{0x1, 0, EDX, 1u << 9 | 1u << 7 | 1u << 12 | 1u << 14 | 1u << 28, 0},
	{0x7, 0, EBX, 1u << 1, 0},
	{0x7, 0, ECX, 0, 0},
	/* MD_CLEAR, SPEC_CTRL, STIBP, L1D flush, ARCH_CAPABILITIES, SSBD */
	{0x7, 0, EDX, 0, 1u << 10 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 29 | 1u << 31},
	{0xd, 1, EAX, 0, 0},
	{0x80000001, 0, ECX, 1u << 22 | 1u << 1, 0},
	{0x80000001, 0, EDX, 1u << 9, 0},
	{0x80000007, 0, EDX, 0, 0},
	/* IBPB, IBRS, STIBP and their preferences, SSBD three ways, predictive store forwarding */
	{0x80000008, 0, EBX, 0, 0x9f87d000},
	{0x80000021, 0, EAX, 0, 0x38000104},
	{0x80000021, 0, ECX, 0, 0x6},
};

static const struct kvm_cpuid_entry2 *supported(
	const struct kvm_guest *g, uint32_t leaf, uint32_t subleaf)
{
	for (uint32_t i = 0; i < g->supported->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &g->supported->entries[i];

		if (e->function == leaf &&
			(!(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) || e->index == subleaf))
			return e;
	}
	return NULL;
}

static uint32_t *entry_word(struct kvm_cpuid_entry2 *e, unsigned reg)
{
	uint32_t *const word[] = {&e->eax, &e->ebx, &e->ecx, &e->edx};

	return word[reg];
}

static uint32_t supported_word(const struct kvm_guest *g, size_t i)
{
	const struct kvm_cpuid_entry2 *e = supported(g, words[i].leaf, words[i].subleaf);
	struct kvm_cpuid_entry2 copy;

	if (!e)
		return 0;
	copy = *e;
	return *entry_word(&copy, words[i].reg);
}

/* State that KVM lets guests have and that we can move: never more than x87, SSE and AVX. */
static void mask_xsave(const struct kvm_cpu *c, struct kvm_cpuid_entry2 *e)
{
	const struct kvm_cpuid_entry2 *s = supported(c->guest, 0xd, 0);

	e->eax &= (s ? s->eax : 3) & X86_XCR0_SUPPORTED;
	e->ecx = e->eax & 4 ? X86_XSAVE_SIZE : XSAVE_LEGACY_SIZE;
}

static void mask(const struct kvm_cpu *c, struct kvm_cpuid_entry2 *e)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		uint32_t have, *word;

		if (e->function != words[i].leaf || e->index != words[i].subleaf)
			continue;
		have = supported_word(c->guest, i);
		word = entry_word(e, words[i].reg);
		*word &= ~words[i].hosts & (have | words[i].ours);
		*word |= have & words[i].hosts;
	}
	if (e->function == 7 && !c->cap[VM_CAP_ENABLE_INVPCID])
		e->ebx &= ~(1u << 10);
	if (e->function == 7) /* protection keys: the software CPU does not see KVM's PKRU */
		e->ecx &= ~(1u << 3 | 1u << 4);
	if (e->function == 0xd && e->index == 0)
		mask_xsave(c, e);
	/* Where a component lies is the processor's word. */
	if (e->function == 0xd && e->index >= 2) {
		const struct kvm_cpuid_entry2 *s = supported(c->guest, 0xd, e->index);

		e->eax = s ? s->eax : 0;
		e->ebx = s ? s->ebx : 0;
		e->ecx = s ? s->ecx : 0;
	}
}

static struct x86_topology topology(const struct kvm_cpu *c)
{
	enum x2apic_state state = X2APIC_DISABLED;
	struct x86_topology topo = {.apic_id = (uint32_t)c->vcpuid};
	uint16_t sockets, maxcpus;

	(void)vm_get_x2apic_state(c->vm, c->vcpuid, &state);
	vm_get_topology(c->vm, &sockets, &topo.cores, &topo.threads, &maxcpus);
	topo.x2apic = state == X2APIC_ENABLED;
	return topo;
}

/* Leaves whose subleaves differ (SDM vol. 2, CPUID). */
static bool has_subleaves(uint32_t leaf)
{
	return leaf == 4 || leaf == 7 || leaf == 0xb || leaf == 0xd || leaf == 0x8000001d;
}

static void fill(const struct kvm_cpu *c, struct kvm_cpuid2 *to)
{
	const struct x86_topology topo = topology(c);

	for (unsigned i = 0; i < X86_CPUID_LEAVES; i++) {
		const struct x86_cpuid_leaf *l = &c->cpu.cpuid[i];
		struct kvm_cpuid_entry2 *e = &to->entries[to->nent];
		uint32_t out[4], sub = has_subleaves(l->leaf) ? l->subleaf : 0;

		if (l->leaf >= UINT32_MAX - 1 || (l->leaf == 0xd && sub > 2))
			continue;
		x86_cpuid(&c->cpu, &topo, l->leaf, sub, out);
		*e = (struct kvm_cpuid_entry2){
			.function = l->leaf,
			.index = sub,
			.flags = has_subleaves(l->leaf) ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
			.eax = out[EAX],
			.ebx = out[EBX],
			.ecx = out[ECX],
			.edx = out[EDX],
		};
		mask(c, e);
		to->nent++;
	}
}

int kvm_cpuid_set(struct kvm_cpu *c)
{
	struct kvm_cpuid2 *cpuid =
		calloc(1, sizeof(*cpuid) + X86_CPUID_LEAVES * sizeof(cpuid->entries[0]));
	int error = 0;

	if (!cpuid)
		return ENOMEM;
	fill(c, cpuid);
	if (kvm_call(c->fd, KVM_SET_CPUID2, cpuid) < 0)
		error = errno;
	free(cpuid);
	return error;
}
