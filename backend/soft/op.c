/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The C functions that translated code calls for whole instructions. */
#include <vmm/vlapic.h>

#include "backend/soft/soft.h"

/*
 * After an instruction was executed in C: where to go on.  `resume` is translated code for cpu.rip,
 * or NULL if it has to be looked for.
 */
const void *soft_finish(struct soft_vcpu *v, enum x86_result res, const void *resume)
{
	bool stale = (v->npending_writes || v->pending_overflow) && soft_writes_done(v);

	v->reason = SOFT_LOOKUP;
	switch (res) {
	case X86_DONE:
		return stale || !resume ? soft_go_on(v) : resume;
	case X86_AGAIN:
		v->reason = SOFT_POLL;
		return NULL;
	case X86_FAULT:
		if (!v->check && soft_fault_fast(v))
			return soft_go_on(v);
		/* fallthrough */
	default:
		v->result = (uint8_t)res;
		v->reason = SOFT_RESULT;
		return NULL;
	}
}

/* The APIC's TSC deadline moves with the guest's counter. */
static void tsc_written(struct soft_vcpu *v)
{
	bool lent = soft_lend(v);

	vlapic_tsc_changed(vm_lapic(v->vm, v->vcpuid));
	soft_return(v, lent);
}

/*
 * Behind instructions in C is a good place to leave when asked to: another vcpu's stores to code
 * have to be known behind CPUID at the latest (SDM vol. 3, 8.1.3).
 */
const void *soft_op_execute(struct soft_vcpu *v, struct soft_op *op)
{
	uint64_t tsc_offset = v->cpu.tsc_offset;
	enum x86_result res;

	v->cpu.rip = op->rip;
	v->insn_len = op->insn.len;
	soft_stat_in_c(v, &op->insn);
	res = x86_execute(&v->cpu, &op->insn);
	if (v->cpu.tsc_offset != tsc_offset)
		tsc_written(v);
	if (res == X86_EXIT && v->cpu.exit.reason == X86_EXIT_IO && soft_port(v))
		res = X86_DONE;
	if (v->cpu.shadow || !atomic_load(&v->run) ||
		(soft_tortured(v) && soft_torture_odds(v, 4)))
		return soft_finish(v, res, NULL); /* which looks at the first two */
	return soft_finish(v, res, op->resume);
}

/* MOV to CR3 in 64-bit code: on with the next block, if the page is known and where it was. */
const void *soft_op_cr3(struct soft_vcpu *v, struct soft_op *op)
{
	const struct soft_itlb_entry *page;
	enum x86_result res;

	v->cpu.rip = op->rip;
	v->insn_len = op->insn.len;
	v->stat_c_system++;
	res = x86_set_cr3(&v->cpu, v->cpu.gpr[op->insn.op[1].reg]);
	if (res != X86_DONE)
		return soft_finish(v, res, NULL);
	v->cpu.rip += op->insn.len;
	page = soft_itlb_find(v, op->page & 0xfff, v->cpu.rip);
	if (!page || (page->gpa ^ op->page) >> 12 || v->check || !atomic_load(&v->run) ||
		(soft_tortured(v) && soft_torture_odds(v, 4)))
		return soft_finish(v, res, NULL);
	return op->resume;
}

const void *soft_op_fetch(struct soft_vcpu *v, struct soft_op *op)
{
	struct x86_insn insn;
	enum x86_result res;

	v->cpu.rip = op->rip;
	v->stat_c_fetch++;
	res = x86_fetch(&v->cpu, &insn);
	if (res == X86_DONE) {
		v->insn_len = insn.len;
		res = x86_execute(&v->cpu, &insn);
	}
	return soft_finish(v, res, NULL);
}
