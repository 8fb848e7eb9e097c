/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* What lock-step has found, as text, when the vcpu has come back. */
#include <stdio.h>

#include "backend/soft/check.h"
#include "backend/soft/option.h"
#include "backend/soft/soft.h"

void soft_mismatch_state(const struct soft_mismatch *m, char *text, size_t size)
{
	char index[16] = "";

	if (m->index != SOFT_NO_INDEX)
		snprintf(index, sizeof(index), " %u", m->index);
	snprintf(text, size, "%s%s is %#llx, translated %#llx", m->what, index,
		(unsigned long long)m->want, (unsigned long long)m->got);
}

void soft_mismatch_insn(const struct soft_mismatch *m, unsigned i, char *text, size_t size)
{
	char bytes[3 * X86_INSN_MAX + 1] = "";
	struct x86_insn insn;
	bool known = x86_decode(&insn, m->insn[i].bytes, m->insn[i].len,
			     16u << SOFT_MODE_SIZE(m->mode)) == X86_DECODE_OK;

	for (unsigned n = 0; n < m->insn[i].len; n++)
		snprintf(bytes + 3 * n, 4, " %02x", m->insn[i].bytes[n]);
	snprintf(text, size, "%#llx:%s  %s %s", (unsigned long long)m->insn[i].rip, bytes,
		known ? insn.row->name : "?", known ? insn.row->syntax : "");
}

bool soft_explain(void *vmi, int vcpu, char *why, size_t size)
{
	const struct soft_mismatch *m = soft_check_mismatch(((struct soft_vm *)vmi)->vcpu[vcpu]);
	char state[96], where[128];

	if (!m)
		return false;
	soft_mismatch_state(m, state, sizeof(state));
	if (m->first < m->insns)
		soft_mismatch_insn(m, m->first, where, sizeof(where));
	else
		snprintf(where, sizeof(where), "the %u instructions from %#llx on", m->insns,
			(unsigned long long)m->rip);
	snprintf(why, size, "lock-step: %s; after %s", state, where);
	return true;
}
