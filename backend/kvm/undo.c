/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Back to the beginning of an instruction.
 *
 * A store to a device, and an OUT that KVM has decoded itself, come to us when the instruction is
 * over: the instruction pointer is behind it, and pointers and counts have moved.  Instructions
 * cannot be read backwards; but each of the fifteen places where this one may begin can be tried,
 * and the right one decodes to an instruction that ends here and would have done what KVM asks us
 * to do: this address, this size, this value.  First comes the one that the straight way from where
 * the guest was entered leads to; then from the shortest on, because a byte of an older instruction
 * may look like a prefix.
 */
#include "backend/kvm/kvm.h"

#define STRAIGHT_MAX 256u /* bytes of code */

/* The bytes before rip, those that are mapped: bytes[KVM_INSN_LENGTH - n] on. */
static unsigned bytes_before(struct kvm_cpu *c, uint8_t bytes[KVM_INSN_LENGTH])
{
	bool is_64bit = x86_code_size(&c->cpu) == 64;
	uint64_t end = x86_linear_rip(&c->cpu);
	unsigned n;

	for (n = 0; n < KVM_INSN_LENGTH; n++) {
		uint64_t gla = end - n - 1;
		enum x86_result res;
		const uint8_t *at;

		at = x86_map_walk(&c->cpu, is_64bit ? gla : (uint32_t)gla, 1,
			X86_ACC_READ | X86_ACC_NOFAULT, &res);
		if (!at)
			break;
		bytes[KVM_INSN_LENGTH - 1 - n] = *at;
	}
	return n;
}

/* What has to be asked about a candidate. */
struct wanted {
	bool (*is)(struct kvm_cpu *c, const struct wanted *w, const struct x86_insn *insn);
	unsigned port, size;
	uint64_t gpa;
	const uint8_t *data;
};

/* Length of the instruction that ends at rip if none before it has jumped; 0: one has. */
static unsigned straight_on(struct kvm_cpu *c)
{
	uint64_t end = c->cpu.rip, at = c->entry_rip;
	struct x86_insn insn = {.len = 0};

	if (end - at > STRAIGHT_MAX)
		return 0;
	while (at < end) {
		c->cpu.rip = at;
		if (x86_fetch(&c->cpu, &insn) != X86_DONE)
			break;
		at += insn.len;
	}
	c->cpu.rip = end;
	return at == end ? insn.len : 0;
}

/* The `n` bytes before rip. */
static bool try(struct kvm_cpu *c, const struct wanted *w, const uint8_t *end, unsigned n,
	struct x86_insn *insn)
{
	if (x86_decode(insn, end - n, n, x86_code_size(&c->cpu)) != X86_DECODE_OK || insn->len != n)
		return false;
	c->cpu.rip -= n;
	if (w->is(c, w, insn))
		return true;
	c->cpu.rip += n;
	return false;
}

/* RCX of a repetition. */
static uint64_t count(const struct kvm_cpu *c, const struct x86_insn *insn)
{
	uint64_t rcx = c->cpu.gpr[X86_RCX];

	return insn->addrsize == 8 ? rcx : insn->addrsize == 4 ? (uint32_t)rcx : (uint16_t)rcx;
}

/* c->cpu is the state behind; what `is` accepts, it turns into the one before, but for rip. */
static bool search(struct kvm_cpu *c, const struct wanted *w, struct x86_insn *insn)
{
	uint8_t bytes[KVM_INSN_LENGTH], *end = bytes + KVM_INSN_LENGTH;
	unsigned have, straight;

	kvm_state_view(c);
	/* A repetition that goes on has not moved rip. */
	if (x86_fetch(&c->cpu, insn) == X86_DONE && insn->rep && count(c, insn) != 0 &&
		w->is(c, w, insn))
		return true;
	have = bytes_before(c, bytes);
	straight = straight_on(c);
	if (straight && straight <= have && try(c, w, end, straight, insn))
		return true;
	/* Nor has one after its last element: KVM looks at the count before each. */
	if (x86_fetch(&c->cpu, insn) == X86_DONE && insn->rep && count(c, insn) == 0 &&
		w->is(c, w, insn))
		return true;
	for (unsigned n = 1; n <= have; n++)
		if (try(c, w, end, n, insn))
			return true;
	return false;
}

static void add_to_register(struct kvm_cpu *c, unsigned gpr, unsigned addrsize, int64_t delta)
{
	uint64_t *reg = &c->cpu.gpr[gpr], value = *reg + (uint64_t)delta;

	*reg = addrsize == 8   ? value
	       : addrsize == 4 ? (uint32_t)value
			       : (*reg & ~0xffffull) | (uint16_t)value;
}

/* One element less. */
static void undo_string(struct kvm_cpu *c, const struct x86_insn *insn, unsigned size, bool source,
	bool destination)
{
	int64_t back = c->cpu.rflags & X86_RF_DF ? (int64_t)size : -(int64_t)size;

	if (source)
		add_to_register(c, X86_RSI, insn->addrsize, back);
	if (destination)
		add_to_register(c, X86_RDI, insn->addrsize, back);
	if (insn->rep)
		add_to_register(c, X86_RCX, insn->addrsize, 1);
}

/* c->cpu as an instruction found it, to where registers are. */
static void keep(struct kvm_cpu *c)
{
	struct kvm_regs *r = &c->regs->regs;

	r->rip = c->cpu.rip;
	r->rcx = c->cpu.gpr[X86_RCX];
	r->rsi = c->cpu.gpr[X86_RSI];
	r->rdi = c->cpu.gpr[X86_RDI];
	r->rsp = c->cpu.gpr[X86_RSP];
	c->dirty |= KVM_SYNC_X86_REGS;
}

/* ---- OUT, OUTS ---- */

static bool is_out(struct kvm_cpu *c, const struct wanted *w, const struct x86_insn *insn)
{
	bool string = insn->row->mnem == X86_I_outs;

	if ((insn->row->mnem != X86_I_out && !string) || insn->op[1].size != w->size)
		return false;
	if (insn->op[0].kind == X86_OK_IMM ? (uint8_t)insn->imm != w->port
					   : (uint16_t)c->cpu.gpr[X86_RDX] != w->port)
		return false;
	if (string)
		undo_string(c, insn, w->size, true, false);
	return true;
}

bool kvm_undo_out(struct kvm_cpu *c, unsigned port, unsigned size, struct x86_insn *insn)
{
	const struct wanted w = {.is = is_out, .port = port, .size = size};

	if (!search(c, &w, insn))
		return false;
	keep(c);
	return true;
}

/* ---- Stores ---- */

static bool leads_to(struct kvm_cpu *c, unsigned seg, uint64_t offset, uint64_t gpa)
{
	bool is_64bit = x86_code_size(&c->cpu) == 64;
	struct x86_walk w;
	uint64_t gla = offset;

	if (!is_64bit || seg == X86_FS || seg == X86_GS)
		gla += c->cpu.seg[seg].base;
	if (!is_64bit)
		gla = (uint32_t)gla;
	return x86_walk(&c->cpu, gla, X86_ACC_WRITE | X86_ACC_NOFAULT, &w) == X86_DONE &&
	       w.gpa == gpa;
}

/* As much of an operand as there is in a piece that KVM makes of it. */
static bool is_size(unsigned operand, const struct wanted *w)
{
	return operand == w->size ||
	       (operand > w->size && (w->size == 8 || (w->gpa + w->size) % 4096 == 0));
}

/* What the register or constant holds, if the instruction stores just that. */
static bool is_value(const struct kvm_cpu *c, const struct wanted *w, const struct x86_insn *insn)
{
	uint64_t value = 0;

	if (insn->row->mnem != X86_I_mov || insn->nops != 2 || w->size > 8)
		return true;
	switch (insn->op[1].kind) {
	case X86_OK_GPR:
		value = c->cpu.gpr[insn->op[1].reg] >> (insn->op[1].high ? 8 : 0);
		break;
	case X86_OK_IMM:
		value = (uint64_t)insn->imm;
		break;
	default:
		return true;
	}
	return memcmp(&value, w->data, w->size) == 0;
}

static bool is_string_store(struct kvm_cpu *c, const struct wanted *w, const struct x86_insn *insn)
{
	uint64_t gpr[16], offset;
	unsigned size = insn->op[0].size;

	if (!is_size(size, w))
		return false;
	memcpy(gpr, c->cpu.gpr, sizeof(gpr));
	undo_string(c, insn, size, insn->row->mnem == X86_I_movs, true);
	offset = c->cpu.gpr[X86_RDI];
	if (insn->addrsize < 8)
		offset &= insn->addrsize == 4 ? UINT32_MAX : UINT16_MAX;
	if (leads_to(c, X86_ES, offset, w->gpa))
		return true;
	memcpy(c->cpu.gpr, gpr, sizeof(gpr));
	return false;
}

/* The bytes that a PUSH took, if it is one; the frames of calls lead elsewhere and are not found.
 */
static bool is_push(struct kvm_cpu *c, const struct wanted *w, const struct x86_insn *insn)
{
	uint64_t rsp = c->cpu.gpr[X86_RSP];

	if (insn->row->mnem != X86_I_push || !is_size(insn->opsize, w) ||
		!leads_to(c, X86_SS, rsp, w->gpa))
		return false;
	c->cpu.gpr[X86_RSP] = rsp + insn->opsize;
	return true;
}

/* The address is computed with the stack pointer behind (SDM vol. 2, POP). */
static bool is_pop(struct kvm_cpu *c, const struct wanted *w, const struct x86_insn *insn)
{
	if (insn->row->mnem != X86_I_pop || !insn->has_mem || !is_size(insn->opsize, w) ||
		!leads_to(c, insn->mem.seg, x86_effective(&c->cpu, insn), w->gpa))
		return false;
	c->cpu.gpr[X86_RSP] -= insn->opsize;
	return true;
}

static bool is_store(struct kvm_cpu *c, const struct wanted *w, const struct x86_insn *insn)
{
	if (insn->row->mnem == X86_I_movs || insn->row->mnem == X86_I_stos)
		return is_string_store(c, w, insn);
	if (insn->row->class == X86_STACK)
		return is_push(c, w, insn) || is_pop(c, w, insn);
	/* Who reads it first is seen at the load. */
	if (!insn->has_mem || insn->mem.access & X86_RD || insn->row->props & X86_P_NOMEM)
		return false;
	if (insn->mem.size && !is_size(insn->mem.size, w))
		return false;
	return leads_to(c, insn->mem.seg, x86_effective(&c->cpu, insn), w->gpa) &&
	       is_value(c, w, insn);
}

bool kvm_undo_store(
	struct kvm_cpu *c, uint64_t gpa, const uint8_t *data, unsigned size, struct x86_insn *insn)
{
	const struct wanted w = {.is = is_store, .gpa = gpa, .data = data, .size = size};

	if (!search(c, &w, insn))
		return false;
	keep(c);
	return true;
}
