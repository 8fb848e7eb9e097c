/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The counters of stat.def, for vm_stat(). */
#include "backend/soft/check.h"
#include "backend/soft/soft.h"

static uint64_t mean(uint64_t total, uint64_t count)
{
	return count ? (total + count / 2) / count : 0;
}

static uint64_t tsc_ns(const struct soft_vcpu *v, uint64_t clocks)
{
	return clocks * 1000 / (v->soft->tsc_hz / 1000000);
}

/* Of two counters that are read one after the other. */
static uint64_t excess(uint64_t more, uint64_t less)
{
	return more > less ? more - less : 0;
}

static uint64_t compared(const struct soft_vcpu *v)
{
	const struct soft_check_stats *stats = soft_check_stats(v);

	return stats ? __atomic_load_n(&stats->insns, __ATOMIC_RELAXED) : 0;
}

static const char *const names[] = {
#define SOFT_STAT(member, name)	 name,
#define SOFT_FIGURE(name, value) name,
#include "backend/soft/stat.def"
#undef SOFT_STAT
#undef SOFT_FIGURE
};

#define STAT(member) __atomic_load_n(&v->stat_##member, __ATOMIC_RELAXED)

bool soft_stat(void *vmi, int vcpu, unsigned i, const char **name, uint64_t *value)
{
	const struct soft_vcpu *v = ((struct soft_vm *)vmi)->vcpu[vcpu];
	const uint64_t values[] = {
#define SOFT_STAT(member, name)	 STAT(member),
#define SOFT_FIGURE(name, value) value,
#include "backend/soft/stat.def"
#undef SOFT_STAT
#undef SOFT_FIGURE
	};

	if (i >= sizeof(names) / sizeof(names[0]))
		return false;
	*name = names[i];
	*value = values[i];
	return true;
}

void soft_stat_mark(struct soft_vcpu *v, struct soft_stat_mark *m)
{
	m->code = soft_filling(&v->cache)->used;
	m->meta = soft_filling(&v->cache)->meta_used;
}

void soft_stat_translated(struct soft_vcpu *v, const struct soft_stat_mark *m)
{
	const struct soft_piece *p = soft_filling(&v->cache);

	v->stat_translate_tsc += __builtin_ia32_rdtsc() - m->tsc;
	v->stat_code_bytes += p->used - m->code;
	v->stat_meta_bytes += p->meta_used - m->meta + sizeof(struct soft_block);
}

void soft_stat_copied(struct soft_vcpu *v, const struct soft_stat_mark *m)
{
	v->stat_copy_tsc += __builtin_ia32_rdtsc() - m->tsc;
}

void soft_stat_in_c(struct soft_vcpu *v, const struct x86_insn *insn)
{
	static const uint32_t counter[] = {
		[X86_NATIVE] = offsetof(struct soft_vcpu, stat_c_native),
		[X86_BRANCH] = offsetof(struct soft_vcpu, stat_c_branch),
		[X86_STACK] = offsetof(struct soft_vcpu, stat_c_stack),
		[X86_STRING] = offsetof(struct soft_vcpu, stat_c_string),
		[X86_SYSTEM] = offsetof(struct soft_vcpu, stat_c_system),
	};

	++*(uint64_t *)((uint8_t *)v + counter[insn->row->class]);
}
