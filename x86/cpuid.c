/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * The processor that the guest sees: the host's make and name, the instructions that the table
 * covers and the host can execute, and a system architecture of our own.
 *
 * The whole model is computed once, into cpu->cpuid, because CPUID traps on a virtual host.  A
 * feature is offered if rows of the instruction table carry it and, unless those rows are all
 * SYSTEM ones, which are ours, the host has it.  What a leaf says about the moment (APIC id,
 * CR4.OSXSAVE, XCR0) is put in when it is read.
 */
#include "x86/system.h"

#define ANY_SUBLEAF UINT32_MAX

#define LEAF_MAX_BASIC	  0xdu
#define LEAF_HYPERVISOR	  0x40000000u
#define LEAF_EXTENDED	  0x80000000u
#define LEAF_EXTENDED_END 0x80000008u
#define LEAF_AMD_END	  0x80000021u

#define XSAVE_LEGACY_SIZE 576u /* with the header; AVX's 256 bytes follow */
#define XSAVE_AVX_SIZE	  256u
#define XSAVE_PKRU_AT	  832u /* in the standard format, with AVX or without */
#define XSAVE_PKRU_SIZE	  8u

#define LINEAR_BITS 48u

enum reg { EAX, EBX, ECX, EDX };
enum origin { OURS, HOSTS, OURS_ON_INTEL, OURS_ON_AMD };

static const struct {
	uint32_t leaf, subleaf;
	uint8_t reg, bit;
} features[X86_F_COUNT] = {
#define X86_FEATURE(name, leaf_, subleaf_, reg_, bit_)                                             \
	[X86_F_##name] = {.leaf = leaf_, .subleaf = subleaf_, .reg = reg_, .bit = bit_},
#include "x86/feature.def"
#undef X86_FEATURE
};

/*
 * Bits that belong to no row: the system architecture.  Those that deny speculation bugs are true
 * of translated code only; a backend that runs the guest on the bare CPU must mask them with the
 * host's.
 */
static const struct {
	uint32_t leaf;
	uint8_t reg, bit, origin;
} system_bits[] = {
	{0x1, EDX, 2, OURS},		    /* DE */
	{0x1, EDX, 3, OURS},		    /* PSE */
	{0x1, EDX, 6, OURS},		    /* PAE */
	{0x1, EDX, 7, OURS},		    /* MCE */
	{0x1, EDX, 9, OURS},		    /* APIC */
	{0x1, EDX, 12, OURS},		    /* MTRR: Linux wants them for PAT */
	{0x1, EDX, 13, OURS},		    /* PGE */
	{0x1, EDX, 14, OURS},		    /* MCA */
	{0x1, EDX, 16, OURS},		    /* PAT */
	{0x1, EDX, 17, OURS},		    /* PSE-36 */
	{0x1, ECX, 17, OURS},		    /* PCID */
	{0x1, ECX, 24, OURS},		    /* TSC deadline */
	{0x1, ECX, 31, OURS},		    /* hypervisor */
	{0x6, EAX, 2, OURS},		    /* ARAT: the APIC timer never stops */
	{0x7, EBX, 1, OURS},		    /* TSC_ADJUST */
	{0x7, EBX, 7, OURS},		    /* SMEP */
	{0x7, EBX, 9, OURS},		    /* ERMS */
	{0x7, ECX, 2, OURS},		    /* UMIP */
	{0x7, ECX, 31, OURS},		    /* PKS */
	{0x7, EDX, 4, OURS},		    /* FSRM */
	{0x7, EDX, 26, OURS_ON_INTEL},	    /* SPEC_CTRL, PRED_CMD */
	{0x7, EDX, 29, OURS_ON_INTEL},	    /* ARCH_CAPABILITIES */
	{0x80000001, ECX, 8, HOSTS},	    /* PREFETCHW */
	{0x80000001, ECX, 22, OURS_ON_AMD}, /* topology extensions */
	{0x80000001, EDX, 20, OURS},	    /* NX */
	{0x80000001, EDX, 26, OURS},	    /* 1 GiB pages */
	{0x80000001, EDX, 29, OURS},	    /* long mode */
	{0x80000007, EDX, 8, HOSTS},	    /* invariant TSC */
	{0x80000008, EBX, 2, OURS_ON_AMD},  /* FXSAVE always stores the error pointers */
	{0x80000008, EBX, 26, OURS_ON_AMD}, /* no speculative store bypass: as ARCH_CAPABILITIES */
	{0x80000021, EAX, 2, OURS_ON_AMD},  /* LFENCE serializes */
	{0x80000021, EAX, 6, OURS_ON_AMD},  /* null selectors clear the base */
	{0x80000021, EAX, 8, OURS_ON_AMD},  /* automatic IBRS: spares the guest its retpolines */
	{0x80000021, EAX, 29, OURS_ON_AMD}, /* no speculative return stack overflow */
	{0x80000021, ECX, 1, OURS_ON_AMD},  /* no transient scheduler attack on the store queue */
	{0x80000021, ECX, 2, OURS_ON_AMD},  /* nor on L1 */
};

/* Copied from the host as they are: cache and TLB descriptors, brand string. */
static const uint32_t host_leaves[] = {
	0x2,
	0x80000002,
	0x80000003,
	0x80000004,
	0x80000005,
	0x80000006,
};

/*
 * Deterministic cache parameters, for leaves 4 and 8000001D.  The threads of a core share levels 1
 * and 2, a package shares level 3: fill_cache().
 */
static const struct {
	uint8_t type, level; /* type: 1 data, 2 instruction, 3 unified */
	uint16_t ways, sets;
} caches[] = {
	{1, 1, 8, 64},
	{2, 1, 8, 64},
	{3, 2, 16, 1024},
	{3, 3, 16, 16384},
};

static void host_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t reg[4])
{
	__asm__ volatile("cpuid"
			 : "=a"(reg[EAX]), "=b"(reg[EBX]), "=c"(reg[ECX]), "=d"(reg[EDX])
			 : "0"(leaf), "2"(subleaf));
}

/* What the host told, while the model is being built. */
struct host {
	uint32_t max_basic, max_extended;
	struct x86_cpuid_leaf leaf[8]; /* those that features come from */
	unsigned count;
	bool avx; /* enabled by the kernel, too */
};

static const uint32_t *host_leaf(struct host *host, uint32_t leaf, uint32_t subleaf)
{
	static const uint32_t none[4];
	struct x86_cpuid_leaf *l;

	if (leaf > (leaf >= LEAF_EXTENDED ? host->max_extended : host->max_basic))
		return none;
	for (unsigned i = 0; i < host->count; i++)
		if (host->leaf[i].leaf == leaf && host->leaf[i].subleaf == subleaf)
			return host->leaf[i].reg;
	if (host->count == sizeof(host->leaf) / sizeof(host->leaf[0]))
		return none;
	l = &host->leaf[host->count++];
	l->leaf = leaf;
	l->subleaf = subleaf;
	host_cpuid(leaf, subleaf, l->reg);
	return l->reg;
}

static uint32_t host_xcr0(void)
{
	uint32_t low, high;

	__asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
	return low;
}

static void read_host(struct host *host)
{
	uint32_t reg[4];
	bool osxsave;

	host_cpuid(0, 0, reg);
	host->max_basic = reg[EAX];
	host_cpuid(LEAF_EXTENDED, 0, reg);
	host->max_extended = reg[EAX];
	host->count = 0;
	osxsave = host_leaf(host, 1, 0)[ECX] & (1u << 27);
	host->avx = osxsave && (host_xcr0() & 6) == 6;
}

static uint32_t *model_leaf(struct x86_cpu *cpu, uint32_t leaf, uint32_t subleaf)
{
	for (unsigned i = 0; i < X86_CPUID_LEAVES; i++) {
		struct x86_cpuid_leaf *l = &cpu->cpuid[i];

		if (l->leaf == leaf && (l->subleaf == subleaf || l->subleaf == ANY_SUBLEAF))
			return l->reg;
	}
	return NULL;
}

static void add_leaf(struct x86_cpu *cpu, unsigned *count, uint32_t leaf, uint32_t subleaf,
	const uint32_t reg[4])
{
	struct x86_cpuid_leaf *l;

	if (*count == X86_CPUID_LEAVES)
		return;
	l = &cpu->cpuid[(*count)++];
	l->leaf = leaf;
	l->subleaf = subleaf;
	x86_bytes_copy(l->reg, reg, sizeof(l->reg));
}

static bool needs_avx(unsigned feature)
{
	return feature == X86_F_AVX || feature == X86_F_AVX2 || feature == X86_F_FMA ||
	       feature == X86_F_F16C || feature == X86_F_VAES || feature == X86_F_VPCLMUL;
}

static bool host_has(struct host *host, unsigned feature)
{
	const uint32_t *reg = host_leaf(host, features[feature].leaf, features[feature].subleaf);

	return reg[features[feature].reg] >> features[feature].bit & 1 &&
	       (host->avx || !needs_avx(feature));
}

static bool is_offered(struct host *host, unsigned feature, bool is_native)
{
	switch (feature) {
	case X86_F_XSAVES: /* there is no supervisor state */
		return false;
	case X86_F_XSAVE: /* our code, but vector state is moved by the host's */
	case X86_F_XSAVEOPT:
	case X86_F_XSAVEC:
		return host_has(host, X86_F_XSAVE) && host->avx;
	default:
		return !is_native || host_has(host, feature);
	}
}

static void pick_features(struct x86_cpu *cpu, struct host *host)
{
	bool covered[X86_F_COUNT] = {false}, native[X86_F_COUNT] = {false};

	for (unsigned i = 0; i < x86_row_count; i++) {
		covered[x86_rows[i].feature] = true;
		if (x86_rows[i].class != X86_SYSTEM)
			native[x86_rows[i].feature] = true;
	}
	x86_bytes_zero(cpu->features, sizeof(cpu->features));
	for (unsigned f = X86_F_NONE + 1; f < X86_F_COUNT; f++)
		if (covered[f] && is_offered(host, f, native[f]))
			cpu->features[f / 64] |= 1ull << f % 64;
}

bool x86_has_feature(const struct x86_cpu *cpu, unsigned feature)
{
	return cpu->features[feature / 64] >> feature % 64 & 1;
}

static void add_caches(struct x86_cpu *cpu, unsigned *count)
{
	uint32_t leaf = cpu->vendor == X86_VENDOR_AMD ? 0x8000001d : 4;

	for (unsigned i = 0; i < sizeof(caches) / sizeof(caches[0]); i++) {
		uint32_t reg[4] = {
			[EAX] = caches[i].type | caches[i].level << 5 | 1u << 8,
			[EBX] = 63 | (caches[i].ways - 1u) << 22,
			[ECX] = caches[i].sets - 1u,
		};

		add_leaf(cpu, count, leaf, i, reg);
	}
}

static uint32_t xsave_size(uint64_t xcr0)
{
	if (xcr0 & X86_XCR0_PKRU)
		return XSAVE_PKRU_AT + XSAVE_PKRU_SIZE;
	return xcr0 & 4 ? XSAVE_LEGACY_SIZE + XSAVE_AVX_SIZE : XSAVE_LEGACY_SIZE;
}

static void add_xsave(struct x86_cpu *cpu, unsigned *count)
{
	bool avx = x86_has_feature(cpu, X86_F_AVX), pku = x86_has_feature(cpu, X86_F_PKU);
	uint32_t main[4] = {[EAX] = avx ? 7 : 3};
	uint32_t forms[4] = {[EAX] = 1u << 2}; /* XGETBV with ECX = 1 */
	uint32_t ymm[4] = {[EAX] = XSAVE_AVX_SIZE, [EBX] = XSAVE_LEGACY_SIZE};
	uint32_t pkru[4] = {[EAX] = XSAVE_PKRU_SIZE, [EBX] = XSAVE_PKRU_AT};

	if (!x86_has_feature(cpu, X86_F_XSAVE))
		return;
	if (pku)
		main[EAX] |= X86_XCR0_PKRU;
	main[ECX] = xsave_size(main[EAX]);
	add_leaf(cpu, count, 0xd, 0, main);
	add_leaf(cpu, count, 0xd, 1, forms);
	if (avx)
		add_leaf(cpu, count, 0xd, 2, ymm);
	if (pku)
		add_leaf(cpu, count, 0xd, 9, pkru);
}

/* Two levels, filled when they are read (SDM vol. 2, CPUID leaf 0BH). */
static void add_topology(struct x86_cpu *cpu, unsigned *count)
{
	static const uint32_t thread[4] = {[ECX] = 1 << 8};
	static const uint32_t core[4] = {[ECX] = 2 << 8 | 1};

	add_leaf(cpu, count, 0xb, 0, thread);
	add_leaf(cpu, count, 0xb, 1, core);
}

static void add_leaves(struct x86_cpu *cpu, struct host *host)
{
	static const uint32_t zero[4];
	bool is_amd = cpu->vendor == X86_VENDOR_AMD;
	uint32_t reg[4];
	unsigned count = 0;

	host_cpuid(0, 0, reg);
	reg[EAX] = LEAF_MAX_BASIC;
	add_leaf(cpu, &count, 0, ANY_SUBLEAF, reg);
	reg[EAX] = is_amd ? LEAF_AMD_END : LEAF_EXTENDED_END;
	if (!is_amd)
		reg[EBX] = reg[ECX] = reg[EDX] = 0;
	add_leaf(cpu, &count, LEAF_EXTENDED, ANY_SUBLEAF, reg);
	for (unsigned i = 0; i < sizeof(host_leaves) / sizeof(host_leaves[0]); i++) {
		bool have =
			host_leaves[i] <= host->max_basic ||
			(host_leaves[i] >= LEAF_EXTENDED && host_leaves[i] <= host->max_extended);

		if (have)
			host_cpuid(host_leaves[i], 0, reg);
		add_leaf(cpu, &count, host_leaves[i], ANY_SUBLEAF, have ? reg : zero);
	}
	x86_bytes_zero(reg, sizeof(reg));
	reg[EAX] = cpu->signature;
	reg[EBX] = 8u << 8; /* CLFLUSH of 64 bytes */
	add_leaf(cpu, &count, 1, ANY_SUBLEAF, reg);
	reg[EBX] = 0;
	if (!is_amd)
		reg[EAX] = 0;
	add_leaf(cpu, &count, 0x80000001, ANY_SUBLEAF, reg);
	reg[EAX] = cpu->maxphyaddr | LINEAR_BITS << 8;
	add_leaf(cpu, &count, 0x80000008, ANY_SUBLEAF, reg);
	add_leaf(cpu, &count, 6, ANY_SUBLEAF, zero);
	add_leaf(cpu, &count, 7, 0, zero);
	add_leaf(cpu, &count, 0x80000007, ANY_SUBLEAF, zero);
	if (is_amd) {
		add_leaf(cpu, &count, 0x8000001e, ANY_SUBLEAF, zero);
		add_leaf(cpu, &count, LEAF_AMD_END, ANY_SUBLEAF, zero);
	}
	add_caches(cpu, &count);
	add_xsave(cpu, &count);
	add_topology(cpu, &count);
	reg[EAX] = LEAF_HYPERVISOR;
	x86_bytes_copy(&reg[EBX], "bhyve bhyve ", 12);
	add_leaf(cpu, &count, LEAF_HYPERVISOR, ANY_SUBLEAF, reg);
}

static bool has_system_bit(const struct x86_cpu *cpu, struct host *host, unsigned i)
{
	const uint32_t *reg;

	switch (system_bits[i].origin) {
	case HOSTS:
		reg = host_leaf(host, system_bits[i].leaf, 0);
		return reg[system_bits[i].reg] >> system_bits[i].bit & 1;
	case OURS_ON_INTEL:
		return cpu->vendor == X86_VENDOR_INTEL;
	case OURS_ON_AMD:
		return cpu->vendor == X86_VENDOR_AMD;
	default:
		return true;
	}
}

/* AMD repeats most of leaf 1 EDX in 80000001, and calls part of SSE "MMX extensions". */
static void add_amd_copies(struct x86_cpu *cpu)
{
	const uint32_t *basic = model_leaf(cpu, 1, 0);
	uint32_t *extended = model_leaf(cpu, 0x80000001, 0);

	extended[EDX] |= basic[EDX] & 0x0183f3ff;
	if (x86_has_feature(cpu, X86_F_SSE))
		extended[EDX] |= 1u << 22;
}

static void set_bits(struct x86_cpu *cpu, struct host *host)
{
	uint32_t *reg;

	for (unsigned f = X86_F_NONE + 1; f < X86_F_COUNT; f++) {
		reg = model_leaf(cpu, features[f].leaf, features[f].subleaf);
		if (reg != NULL && x86_has_feature(cpu, f))
			reg[features[f].reg] |= 1u << features[f].bit;
	}
	for (unsigned i = 0; i < sizeof(system_bits) / sizeof(system_bits[0]); i++) {
		reg = model_leaf(cpu, system_bits[i].leaf, 0);
		if (reg != NULL && has_system_bit(cpu, host, i))
			reg[system_bits[i].reg] |= 1u << system_bits[i].bit;
	}
	if (cpu->vendor == X86_VENDOR_AMD)
		add_amd_copies(cpu);
}

static uint8_t physical_bits(struct host *host)
{
	uint32_t bits = host_leaf(host, 0x80000008, 0)[EAX] & 0xff;

	return (uint8_t)(bits < 36 ? 36 : bits > 52 ? 52 : bits);
}

void x86_features_init(struct x86_cpu *cpu)
{
	struct host host;
	uint32_t reg[4];

	read_host(&host);
	host_cpuid(0, 0, reg);
	/* "AuthenticAMD", "HygonGenuine" */
	cpu->vendor = reg[ECX] == 0x444d4163 || reg[ECX] == 0x656e6975 ? X86_VENDOR_AMD
								       : X86_VENDOR_INTEL;
	cpu->signature = host_leaf(&host, 1, 0)[EAX];
	cpu->maxphyaddr = physical_bits(&host);
	cpu->host_in_use = host.avx && host_leaf(&host, 0xd, 1)[EAX] & 1u << 2;
	pick_features(cpu, &host);
	for (unsigned i = 0; i < X86_CPUID_LEAVES; i++)
		cpu->cpuid[i].leaf = cpu->cpuid[i].subleaf = UINT32_MAX - 1;
	add_leaves(cpu, &host);
	set_bits(cpu, &host);
}

/* Past the last leaf of a range: the last one (vmm-api.md 11.2; Intel does that too). */
static uint32_t clamp(const struct x86_cpu *cpu, uint32_t leaf)
{
	uint32_t end = cpu->vendor == X86_VENDOR_AMD ? LEAF_AMD_END : LEAF_EXTENDED_END;

	if (leaf >= LEAF_EXTENDED)
		return leaf > end ? end : leaf;
	if (leaf >= LEAF_HYPERVISOR)
		return LEAF_HYPERVISOR;
	return leaf > LEAF_MAX_BASIC ? LEAF_MAX_BASIC : leaf;
}

static uint32_t compacted_size(uint64_t xcr0)
{
	return XSAVE_LEGACY_SIZE + (xcr0 & 4 ? XSAVE_AVX_SIZE : 0) +
	       (xcr0 & X86_XCR0_PKRU ? XSAVE_PKRU_SIZE : 0);
}

/* ---- What depends on the processor's number or its present state ---- */

/* Bits of the APIC id that tell so many apart. */
static uint32_t id_bits(uint32_t n)
{
	uint32_t bits = 0;

	while (1u << bits < n)
		bits++;
	return bits;
}

static uint32_t logical_processors(const struct x86_topology *topo)
{
	return (uint32_t)topo->cores * topo->threads;
}

/* Leaf 1: of the package; HTT says that there may be more than one. */
static void fill_package(const struct x86_topology *topo, uint32_t out[4])
{
	out[EBX] |= topo->apic_id << 24 | logical_processors(topo) << 16;
	if (logical_processors(topo) > 1)
		out[EDX] |= 1u << 28;
}

/* Leaf 0BH: the threads of a core, then all of the package; past them nothing but the id. */
static void fill_level(const struct x86_topology *topo, uint32_t subleaf, uint32_t out[4])
{
	uint32_t n = subleaf == 0 ? topo->threads : logical_processors(topo);

	out[EDX] = topo->apic_id;
	if (subleaf > 1) {
		out[ECX] = subleaf & 0xff;
		return;
	}
	out[EAX] = id_bits(n);
	out[EBX] = n;
}

/* Leaves 4 and 8000001DH: how many ids share the cache; only the former has the cores, too. */
static void fill_cache(const struct x86_topology *topo, bool is_amd, uint32_t out[4])
{
	uint32_t level = out[EAX] >> 5 & 7;
	uint32_t sharing = level < 3 ? topo->threads : logical_processors(topo);

	if ((out[EAX] & 31) == 0)
		return;
	out[EAX] |= ((1u << id_bits(sharing)) - 1) << 14;
	if (!is_amd)
		out[EAX] |= ((1u << id_bits(topo->cores)) - 1) << 26;
}

/* AMD's leaf 80000008H: threads of the package, and the bits of the id that they have. */
static void fill_amd_count(const struct x86_topology *topo, uint32_t out[4])
{
	uint32_t n = logical_processors(topo);

	out[ECX] = id_bits(n) << 12 | (n - 1);
}

/* AMD's leaf 8000001EH: core and node, which is the package. */
static void fill_amd_ids(const struct x86_topology *topo, uint32_t out[4])
{
	out[EAX] = topo->apic_id;
	out[EBX] = (topo->threads - 1u) << 8 | topo->apic_id >> id_bits(topo->threads);
	out[ECX] = topo->apic_id >> id_bits(logical_processors(topo));
}

static void fill_dynamic(const struct x86_cpu *cpu, const struct x86_topology *topo, uint32_t leaf,
	uint32_t subleaf, uint32_t out[4])
{
	bool is_amd = cpu->vendor == X86_VENDOR_AMD;

	switch (leaf) {
	case 1:
		fill_package(topo, out);
		if (topo->x2apic)
			out[ECX] |= 1u << 21;
		if (topo->apic_off)
			out[EDX] &= ~(1u << 9);
		if (cpu->cr4 & X86_CR4_OSXSAVE)
			out[ECX] |= 1u << 27;
		break;
	case 4:
	case 0x8000001d:
		fill_cache(topo, is_amd, out);
		break;
	case 7:
		if (subleaf == 0 && cpu->cr4 & X86_CR4_PKE)
			out[ECX] |= 1u << 4; /* OSPKE */
		break;
	case 0xb:
		fill_level(topo, subleaf, out);
		break;
	case 0xd:
		if (subleaf == 0 && out[EAX] != 0)
			out[EBX] = xsave_size(cpu->xcr0);
		else if (subleaf == 1 && out[EAX] != 0)
			out[EBX] = compacted_size(cpu->xcr0);
		break;
	case 0x80000001: /* CmpLegacy: the logical processors of leaf 1 are cores, mostly */
		if (topo->apic_off) /* AMD's copy of leaf 1 */
			out[EDX] &= ~(1u << 9);
		if (is_amd && logical_processors(topo) > 1)
			out[ECX] |= 1u << 1;
		break;
	case 0x80000008:
		if (is_amd)
			fill_amd_count(topo, out);
		break;
	case 0x8000001e:
		if (is_amd)
			fill_amd_ids(topo, out);
		break;
	}
}

void x86_cpuid(const struct x86_cpu *cpu, const struct x86_topology *topo, uint32_t leaf,
	uint32_t subleaf, uint32_t out[4])
{
	out[EAX] = out[EBX] = out[ECX] = out[EDX] = 0;
	leaf = clamp(cpu, leaf);
	for (unsigned i = 0; i < X86_CPUID_LEAVES; i++) {
		const struct x86_cpuid_leaf *l = &cpu->cpuid[i];

		if (l->leaf == leaf && (l->subleaf == subleaf || l->subleaf == ANY_SUBLEAF)) {
			x86_bytes_copy(out, l->reg, sizeof(l->reg));
			break;
		}
	}
	fill_dynamic(cpu, topo, leaf, subleaf, out);
}
