/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* Memory operands: the address, and the inline look-up in the translated-address cache. */
#include "backend/soft/gen.h"

/* Status flags -> flags16. Clobbers r13 and nothing else, the host's flags included. */
void gen_park_flags(struct gen *g)
{
	struct emit *e = &g->e;

	emit_mov(e, 8, HOST_S1, X86_RAX);
	emit8(e, 0x9f); /* lahf */
	emit8(e, 0x0f);
	emit8(e, 0x90);
	emit8(e, 0xc0); /* seto al */
	emit_store(e, 4, HOST_STATE, STATE(flags16), X86_RAX);
	emit_mov(e, 8, X86_RAX, HOST_S1);
}

/* And back. Clobbers r13. */
void gen_unpark_flags(struct gen *g)
{
	struct emit *e = &g->e;

	emit_mov(e, 8, HOST_S1, X86_RAX);
	emit_load(e, 4, X86_RAX, HOST_STATE, STATE(flags16));
	emit8(e, 0x04);
	emit8(e, 0x7f); /* add al, 127 */
	emit8(e, 0x9e); /* sahf */
	emit_mov(e, 8, X86_RAX, HOST_S1);
}

bool gen_can_address(const struct gen *g, const struct x86_insn *in)
{
	if (in->row->props & X86_P_VSIB)
		return false;
	if (g->is64)
		return true;
	/* FS and GS have bases, and nothing is stored through CS. */
	return g->flat && in->addrsize == 4 && in->mem.seg != X86_FS && in->mem.seg != X86_GS &&
	       in->mem.seg != X86_CS;
}

/* A guest register for use in an address: its host register, or r12/r13 loaded from its slot. */
static unsigned address_reg(struct gen *g, unsigned gpr, unsigned scratch)
{
	unsigned host = gen_host(gpr);

	if (host != 255)
		return host;
	emit_load(&g->e, 8, scratch, HOST_STATE, GPR(gpr));
	return scratch;
}

static void constant_address(struct gen *g, const struct x86_insn *in, unsigned size)
{
	uint64_t a = (uint64_t)in->mem.disp;

	if (in->mem.base == X86_RIP_BASE)
		a += gen_next_rip(g);
	emit_mov_imm(&g->e, HOST_S0, size == 8 ? a : (uint32_t)a);
}

void gen_address(struct gen *g, const struct x86_insn *in)
{
	const struct x86_mem *m = &in->mem;
	unsigned size = in->addrsize == 8 ? 8 : 4;
	struct emit *e = &g->e;

	if (m->index == X86_NOREG && (m->base == X86_NOREG || m->base == X86_RIP_BASE)) {
		constant_address(g, in, size);
	} else if (m->index == X86_NOREG) {
		unsigned base = address_reg(g, m->base, HOST_S0);

		if (base != HOST_S0 || m->disp || size == 4)
			emit_lea(e, size, HOST_S0, base, (int32_t)m->disp);
	} else {
		unsigned base = m->base == X86_NOREG ? 255 : address_reg(g, m->base, HOST_S0);
		unsigned index = address_reg(g, m->index, HOST_S1);

		emit_rm_sib(e, size, 0x8d, HOST_S0, base, index, m->scale, (int32_t)m->disp);
	}
	if (g->is64 && (m->seg == X86_FS || m->seg == X86_GS)) {
		emit_load(e, 8, HOST_S1, HOST_STATE,
			STATE(cpu.seg) + (int32_t)(m->seg * sizeof(struct x86_seg)) +
				(int32_t)offsetof(struct x86_seg, base));
		emit_rm_sib(e, 8, 0x8d, HOST_S0, HOST_S0, HOST_S1, 0, 0);
	}
}

void gen_check(struct gen *g, unsigned size, bool write, bool parked)
{
	int32_t tlb = STATE(tlb) + (int32_t)(g->class * sizeof(struct soft_tlb));
	int32_t tag = tlb + (int32_t)(write ? offsetof(struct soft_tlb_entry, write)
					    : offsetof(struct soft_tlb_entry, read));
	bool keep = g->live[g->i] && !parked;
	struct emit *e = &g->e;
	struct gen_stub *s;

	if (keep)
		gen_park_flags(g);
	g->site[g->i].flags_parked = keep || parked;
	s = gen_stub(g, STUB_FILL);
	s->retry = emit_here(e);
	emit_mov(e, 8, HOST_S1, HOST_S0);
	emit_shift_imm(e, 8, 5, HOST_S1, 12 - 5);
	emit_alu_imm(e, 4, 4, HOST_S1, (SOFT_TLB_ENTRIES - 1) << 5);
	emit_rm_sib(e, 8, 0x2b, HOST_S0, HOST_STATE, HOST_S1, 0, tag);
	emit_alu_imm(e, 8, 7, HOST_S0, 4096 - size);
	s->jump = emit_jcc(e, 7, s->retry); /* ja */
	emit_rm_sib(e, 8, 0x03, HOST_S0, HOST_STATE, HOST_S1, 0,
		tlb + (int32_t)offsetof(struct soft_tlb_entry, hva));
	s->site = (uint16_t)g->i;
	s->size =
		(uint16_t)(size | (g->insn[g->i].row->props & X86_P_ALIGN ? SOFT_FILL_ALIGNED : 0));
	s->write = write;
	if (keep)
		gen_unpark_flags(g);
}
