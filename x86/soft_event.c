/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Instructions that raise an interrupt or exception: INT n, INT3, INTO, INT1, BOUND, UDn. */
#include "x86/system.h"

static enum x86_result soft_event(
	struct x86_cpu *cpu, const struct x86_insn *insn, uint8_t vector, enum x86_event_type type)
{
	struct x86_event event = {
		.vector = vector,
		.type = (uint8_t)type,
		.next_rip = (cpu->rip + insn->len) & x86_mask(insn->code_size == 64 ? 8 : 4),
	};

	return x86_deliver(cpu, &event);
}

/* In virtual-8086 mode INT n belongs to the monitor unless IOPL is 3 (SDM vol. 3, 20.2.7). */
enum x86_result x86_sys_int(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	if (x86_is_vm86(cpu) && x86_iopl(cpu) != 3)
		return x86_raise_error(cpu, X86_GP, 0);
	return soft_event(cpu, insn, (uint8_t)insn->imm, X86_EV_SOFTINT);
}

enum x86_result x86_sys_int3(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	return soft_event(cpu, insn, X86_BP, X86_EV_SOFTEXC);
}

enum x86_result x86_sys_into(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	if (!(cpu->rflags & X86_FL_OF))
		return x86_done(cpu, insn);
	return soft_event(cpu, insn, X86_OF, X86_EV_SOFTEXC);
}

enum x86_result x86_sys_int1(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	return soft_event(cpu, insn, X86_DB, X86_EV_PRIV_SOFTEXC);
}

static int64_t sign_extend(uint64_t value, unsigned size)
{
	return size == 2 ? (int16_t)value : (int32_t)value;
}

enum x86_result x86_sys_bound(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->opsize;
	uint64_t offset = x86_effective(cpu, insn), lower, upper;
	int64_t index = sign_extend(x86_gpr_get(cpu, &insn->op[0]), size);
	enum x86_result res = x86_data_read(cpu, insn->mem.seg, offset, size, &lower);

	if (res == X86_DONE)
		res = x86_data_read(cpu, insn->mem.seg, (offset + size) & x86_mask(insn->addrsize),
			size, &upper);
	if (res != X86_DONE)
		return res;
	if (index < sign_extend(lower, size) || index > sign_extend(upper, size))
		return x86_raise(cpu, X86_BR);
	return x86_done(cpu, insn);
}

enum x86_result x86_sys_ud(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	(void)insn;
	return x86_raise(cpu, X86_UD);
}
