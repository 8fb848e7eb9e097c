/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* The seed's decode record, filled from our decoder (vmm-api.md 9). */
#include <string.h>

#include "vmm/vie.h"

#define REX_W 8
#define REX_R 4
#define REX_X 2
#define REX_B 1

enum vm_reg_name vie_gpr_name(unsigned gpr)
{
	static const uint8_t names[] = {
		[X86_RAX] = VM_REG_GUEST_RAX,
		[X86_RCX] = VM_REG_GUEST_RCX,
		[X86_RDX] = VM_REG_GUEST_RDX,
		[X86_RBX] = VM_REG_GUEST_RBX,
		[X86_RSP] = VM_REG_GUEST_RSP,
		[X86_RBP] = VM_REG_GUEST_RBP,
		[X86_RSI] = VM_REG_GUEST_RSI,
		[X86_RDI] = VM_REG_GUEST_RDI,
		[X86_R8] = VM_REG_GUEST_R8,
		[X86_R9] = VM_REG_GUEST_R9,
		[X86_R10] = VM_REG_GUEST_R10,
		[X86_R11] = VM_REG_GUEST_R11,
		[X86_R12] = VM_REG_GUEST_R12,
		[X86_R13] = VM_REG_GUEST_R13,
		[X86_R14] = VM_REG_GUEST_R14,
		[X86_R15] = VM_REG_GUEST_R15,
		[X86_RIP_BASE] = VM_REG_GUEST_RIP,
	};

	return gpr < sizeof(names) ? (enum vm_reg_name)names[gpr] : VM_REG_LAST;
}

static bool is_prefix(uint8_t byte)
{
	static const uint8_t prefixes[] = {
		0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65, 0x66, 0x67, 0xf0, 0xf2, 0xf3};

	return memchr(prefixes, byte, sizeof(prefixes)) != NULL;
}

static void fill_prefixes(struct vie *vie, const struct x86_insn *insn)
{
	for (unsigned i = 0; i < insn->len && is_prefix(insn->bytes[i]); i++) {
		vie->opsize_override |= insn->bytes[i] == 0x66;
		vie->addrsize_override |= insn->bytes[i] == 0x67;
	}
	vie->rex_present = insn->rex != 0;
	vie->rex_w = (insn->rex & REX_W) != 0 || insn->vex_w;
	vie->rex_r = (insn->rex & REX_R) != 0;
	vie->rex_x = (insn->rex & REX_X) != 0;
	vie->rex_b = (insn->rex & REX_B) != 0;
}

static bool has_sib(const struct x86_insn *insn)
{
	return insn->has_mem && insn->has_modrm && insn->addrsize != 2 && (insn->modrm & 7) == 4;
}

/*
 * Bytes of displacement: ModRM's mod says it, but for two forms without a base (SDM vol. 2, 2.1.5).
 */
static uint8_t disp_bytes(const struct x86_insn *insn)
{
	unsigned mod = insn->modrm >> 6, rm = insn->modrm & 7;
	uint8_t wide = insn->addrsize == 2 ? 2 : 4;

	if ((insn->row->props & X86_P_MOFFS) != 0)
		return insn->addrsize;
	if (!insn->has_modrm || mod == 3)
		return 0;
	if (mod == 1)
		return 1;
	if (mod == 2)
		return wide;
	if (insn->addrsize == 2)
		return rm == 6 ? 2 : 0;
	return rm == 5 || (has_sib(insn) && insn->mem.base == X86_NOREG) ? 4 : 0;
}

static void fill_memory(struct vie *vie, const struct x86_insn *insn)
{
	const struct x86_mem *mem = &insn->mem;

	if (insn->has_modrm) {
		vie->mod = insn->modrm >> 6;
		vie->reg = (insn->modrm >> 3 & 7) | (vie->rex_r ? 8 : 0);
		vie->rm = (insn->modrm & 7) | (vie->rex_b && !has_sib(insn) ? 8 : 0);
	}
	if (!insn->has_mem)
		return;
	vie->base_register = vie_gpr_name(mem->base);
	vie->index_register = vie_gpr_name(mem->index);
	if (has_sib(insn)) {
		vie->ss = mem->scale;
		vie->index = mem->index == X86_NOREG ? 4 : mem->index;
		vie->base = mem->base == X86_NOREG ? 5 : mem->base;
	}
	if (mem->index != X86_NOREG)
		vie->scale = (uint8_t)(1u << mem->scale);
	vie->disp_bytes = disp_bytes(insn);
	vie->displacement = mem->disp;
}

void vie_fill(struct vie *vie, const struct x86_insn *insn)
{
	*vie = (struct vie){.num_valid = insn->len,
		.num_processed = insn->len,
		.addrsize = insn->addrsize,
		.opsize = insn->opsize,
		.base_register = VM_REG_LAST,
		.index_register = VM_REG_LAST,
		.imm_bytes = insn->imm_size,
		.immediate = insn->imm,
		.decoded = 1,
		.op = {.op_byte = insn->opcode, .op_type = (uint8_t)(insn->row->class + 1)}};
	memcpy(vie->inst, insn->bytes, insn->len);
	fill_prefixes(vie, insn);
	fill_memory(vie, insn);
}

bool vie_decode(struct vie *vie, unsigned code_size, struct x86_insn *insn)
{
	unsigned n = vie->num_valid <= VIE_INST_SIZE ? vie->num_valid : VIE_INST_SIZE;

	vie->decoded = 0;
	if (x86_decode(insn, vie->inst, n, code_size) != X86_DECODE_OK)
		return false;
	vie_fill(vie, insn);
	return true;
}
