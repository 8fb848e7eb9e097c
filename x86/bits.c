/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* BT, BTS, BTR, BTC with a bit number in a register reaching beyond the operand in memory; XLAT. */
#include "x86/system.h"

static int64_t sign_extend(uint64_t value, unsigned size)
{
	return size == 2 ? (int16_t)value : size == 4 ? (int32_t)value : (int64_t)value;
}

static uint64_t changed(const struct x86_insn *insn, uint64_t old, uint64_t bit)
{
	switch (insn->row->mnem) {
	case X86_I_bts:
		return old | bit;
	case X86_I_btr:
		return old & ~bit;
	case X86_I_btc:
		return old ^ bit;
	default:
		return old;
	}
}

/* A locked update is one compare-and-swap of the host, whatever the width. */
static bool swap(void *host, unsigned size, uint64_t old, uint64_t new)
{
	uint16_t old_16 = (uint16_t)old;
	uint32_t old_32 = (uint32_t)old;

	switch (size) {
	case 2:
		return __atomic_compare_exchange_n((uint16_t *)host, &old_16, (uint16_t) new, false,
			__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	case 4:
		return __atomic_compare_exchange_n((uint32_t *)host, &old_32, (uint32_t) new, false,
			__ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	default:
		return __atomic_compare_exchange_n(
			(uint64_t *)host, &old, new, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
	}
}

/* In RAM: atomic, locked or not. */
static void update_ram(const struct x86_insn *insn, void *host, uint64_t bit, uint64_t *old)
{
	do {
		*old = 0;
		x86_bytes_copy(old, host, insn->opsize);
	} while (!swap(host, insn->opsize, *old, changed(insn, *old, bit)));
}

static enum x86_result update(
	struct x86_cpu *cpu, const struct x86_insn *insn, uint64_t gla, uint64_t bit, uint64_t *old)
{
	unsigned size = insn->opsize, acc = x86_acc(cpu, X86_ACC_READ | X86_ACC_WRITE);
	enum x86_result res;
	uint64_t value;

	void *host = gla % X86_PAGE_SIZE + size <= X86_PAGE_SIZE
			     ? cpu->ops->map(cpu, gla, size, acc, &res)
			     : x86_map_split(cpu, gla, size, acc, &res);

	if (host != NULL) {
		update_ram(insn, host, bit, old);
		return X86_DONE;
	}
	if (res == X86_FAULT)
		return res;
	*old = 0;
	res = x86_data_probe(cpu, gla, size, acc);
	if (res == X86_DONE)
		res = x86_read(cpu, gla, old, size, x86_acc(cpu, X86_ACC_READ));
	value = changed(insn, *old, bit);
	if (res == X86_DONE)
		res = x86_write(cpu, gla, &value, size, x86_acc(cpu, X86_ACC_WRITE));
	return res;
}

enum x86_result x86_sys_bit(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned size = insn->opsize, width = size * 8;
	int64_t number = sign_extend(x86_gpr_get(cpu, &insn->op[1]), size);
	uint64_t bit = 1ull << (number & (width - 1)), gla, old = 0;
	uint64_t offset =
		x86_effective(cpu, insn) + (uint64_t)(number >> (size == 8	    ? 6
									: size == 4 ? 5
										    : 4)) *
						   size;
	bool writes = insn->row->mnem != X86_I_bt;
	enum x86_result res;

	offset &= x86_mask(insn->addrsize);
	res = x86_data_linear(cpu, insn->mem.seg, offset, size,
		writes ? X86_ACC_READ | X86_ACC_WRITE : X86_ACC_READ, &gla);
	if (res != X86_DONE)
		return res;
	res = writes ? update(cpu, insn, gla, bit, &old)
		     : x86_read(cpu, gla, &old, size, x86_acc(cpu, X86_ACC_READ));
	if (res != X86_DONE)
		return res;
	cpu->rflags = (cpu->rflags & ~(uint64_t)X86_FL_CF) | (old & bit ? X86_FL_CF : 0);
	return x86_done(cpu, insn);
}

enum x86_result x86_sys_xlat(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned seg = insn->seg_override == X86_NOREG ? X86_DS : insn->seg_override;
	uint64_t offset = cpu->gpr[X86_RBX] + (uint8_t)cpu->gpr[X86_RAX], value;
	enum x86_result res = x86_data_read(cpu, seg, offset & x86_mask(insn->addrsize), 1, &value);

	if (res != X86_DONE)
		return res;
	cpu->gpr[X86_RAX] = x86_merge(cpu->gpr[X86_RAX], value, 1);
	return x86_done(cpu, insn);
}
