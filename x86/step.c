/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Fetch and execution of one instruction of any class. */
#include "x86/bytes.h"
#include "x86/data.h"
#include "x86/step.h"

/* The bytes at rip that one mapping can show, as many as an instruction needs at most. */
struct window {
	uint8_t bytes[X86_INSN_MAX];
	unsigned have;
	unsigned limit; /* bytes that CS allows */
};

/* Bytes of code segment from rip on, X86_INSN_MAX at most. */
static unsigned code_limit(const struct x86_cpu *cpu, unsigned code_size)
{
	uint64_t last = cpu->seg[X86_CS].limit, rip = cpu->rip;

	if (code_size == 64)
		return X86_INSN_MAX;
	if (rip > last)
		return 0;
	return last - rip >= X86_INSN_MAX ? X86_INSN_MAX : (unsigned)(last - rip) + 1;
}

/* Adds what the page at the next byte holds. */
static enum x86_result window_extend(struct x86_cpu *cpu, struct window *w, unsigned code_size)
{
	uint64_t gla = x86_linear_rip(cpu) + w->have;
	enum x86_result res = X86_DONE;
	unsigned len = w->limit - w->have, in_page;
	const uint8_t *host;

	if (code_size != 64)
		gla &= UINT32_MAX;
	else if (!x86_canonical(gla))
		return x86_raise_error(cpu, X86_GP, 0);
	in_page = X86_PAGE_SIZE - (unsigned)(gla % X86_PAGE_SIZE);
	if (len > in_page)
		len = in_page;
	host = cpu->ops->map(cpu, gla, len, x86_acc(cpu, X86_ACC_EXEC), &res);
	if (host == NULL)
		return res;
	x86_bytes_copy(w->bytes + w->have, host, len);
	w->have += len;
	return X86_DONE;
}

/*
 * A second page is only touched if the bytes in the first one are not an instruction yet; running
 * into the segment's limit or over 15 bytes is #GP(0).
 */
enum x86_result x86_fetch(struct x86_cpu *cpu, struct x86_insn *insn)
{
	unsigned code_size = x86_code_size(cpu);
	struct window w = {.limit = code_limit(cpu, code_size)};

	while (w.have < w.limit) {
		enum x86_result res = window_extend(cpu, &w, code_size);

		if (res != X86_DONE)
			return res;
		switch (x86_decode(insn, w.bytes, w.have, code_size)) {
		case X86_DECODE_OK:
			return X86_DONE;
		case X86_DECODE_UD:
			return x86_raise(cpu, X86_UD);
		case X86_DECODE_LONG:
			return x86_raise_error(cpu, X86_GP, 0);
		case X86_DECODE_MORE:
			break;
		}
	}
	return x86_raise_error(cpu, X86_GP, 0);
}

bool x86_fetch_same(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned code_size = x86_code_size(cpu), i = 0;
	uint64_t gla = x86_linear_rip(cpu);
	enum x86_result res = X86_DONE;
	const uint8_t *host;

	if (code_size != insn->code_size || code_limit(cpu, code_size) < insn->len)
		return false;
	if (code_size != 64)
		gla &= UINT32_MAX;
	else if (!x86_canonical(gla))
		return false;
	if (gla % X86_PAGE_SIZE + insn->len > X86_PAGE_SIZE)
		return false;
	host = cpu->ops->map(cpu, gla, insn->len, x86_acc(cpu, X86_ACC_EXEC), &res);
	while (host != NULL && i < insn->len && host[i] == insn->bytes[i])
		i++;
	return i == insn->len;
}

enum x86_result x86_execute(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	enum x86_result res = x86_insn_allowed(cpu, insn);

	if (res != X86_DONE)
		return res;
	switch (insn->row->class) {
	case X86_NATIVE:
		return x86_native(cpu, insn);
	case X86_BRANCH:
		return x86_branch(cpu, insn);
	case X86_STACK:
		return x86_stack(cpu, insn);
	case X86_STRING:
		return x86_string(cpu, insn);
	default:
		if (x86_is_x87_pending(insn->row))
			return x86_raise(cpu, X86_MF);
		return x86_system(cpu, insn);
	}
}
