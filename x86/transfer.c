/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The last step of every far transfer. */
#include "x86/system.h"

void x86_set_cs(struct x86_cpu *cpu, const struct x86_seg *cs, unsigned cpl, uint64_t rip)
{
	cpu->seg[X86_CS] = *cs;
	cpu->seg[X86_CS].sel = (uint16_t)((cs->sel & ~3u) | cpl);
	cpu->cpl = (uint8_t)cpl;
	cpu->rip = rip;
}

enum x86_result x86_check_rip(
	struct x86_cpu *cpu, const struct x86_seg *cs, uint64_t rip, unsigned ext)
{
	bool is_64 = x86_is_long(cpu) && cs->access & X86_SEG_L;

	if (is_64 ? x86_canonical(rip) : rip <= cs->limit)
		return X86_DONE;
	return x86_raise_error(cpu, X86_GP, ext);
}

enum x86_result x86_exit_task(struct x86_cpu *cpu, uint16_t sel, enum x86_task_reason reason)
{
	cpu->exit = (struct x86_exit){
		.reason = X86_EXIT_TASK_SWITCH,
		.task = {.sel = sel, .reason = (uint8_t)reason},
	};
	return X86_EXIT;
}
