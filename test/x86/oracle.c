/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
#include <string.h>

#include "test/x86/oracle.h"
#include "x86/insn_table.h"

void oracle_init(struct oracle *oracle)
{
	static const ZydisMachineMode mode[] = {ZYDIS_MACHINE_MODE_LONG_COMPAT_16,
		ZYDIS_MACHINE_MODE_LONG_COMPAT_32, ZYDIS_MACHINE_MODE_LONG_64};
	static const ZydisStackWidth stack[] = {
		ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32, ZYDIS_STACK_WIDTH_64};
	/*
	 * What gives meaning to encodings that are NOPs, or other instructions, on the guest's CPU.
	 */
	static const ZydisDecoderMode off[] = {ZYDIS_DECODER_MODE_MPX, ZYDIS_DECODER_MODE_CET,
		ZYDIS_DECODER_MODE_WBNOINVD, ZYDIS_DECODER_MODE_CLDEMOTE};

	for (unsigned i = 0; i < 3; i++) {
		ZydisDecoderInit(&oracle->decoder[i], mode[i], stack[i]);
		for (unsigned k = 0; k < sizeof(off) / sizeof(off[0]); k++)
			ZydisDecoderEnableMode(&oracle->decoder[i], off[k], ZYAN_FALSE);
	}
}

bool oracle_decode(struct oracle *oracle, const uint8_t *bytes, size_t n, unsigned code_size)
{
	const ZydisDecoder *decoder = &oracle->decoder[code_size / 32];

	return ZYAN_SUCCESS(ZydisDecoderDecodeFull(decoder, bytes, n, &oracle->insn, oracle->op));
}

const char *oracle_name(const struct oracle *oracle)
{
	return ZydisMnemonicGetString(oracle->insn.mnemonic);
}

bool oracle_not_ours(const struct oracle *oracle)
{
	switch (oracle->insn.meta.isa_ext) {
	case ZYDIS_ISA_EXT_AMD3DNOW:
	case ZYDIS_ISA_EXT_AMD_INVLPGB:
	case ZYDIS_ISA_EXT_AMX_BF16:
	case ZYDIS_ISA_EXT_AMX_INT8:
	case ZYDIS_ISA_EXT_AMX_TILE:
	case ZYDIS_ISA_EXT_AVX512EVEX:
	case ZYDIS_ISA_EXT_AVX512VEX:
	case ZYDIS_ISA_EXT_AVX_VNNI:
	case ZYDIS_ISA_EXT_CET:
	case ZYDIS_ISA_EXT_CLZERO:
	case ZYDIS_ISA_EXT_ENQCMD:
	case ZYDIS_ISA_EXT_FMA4:
	case ZYDIS_ISA_EXT_HRESET:
	case ZYDIS_ISA_EXT_KEYLOCKER:
	case ZYDIS_ISA_EXT_KEYLOCKER_WIDE:
	case ZYDIS_ISA_EXT_KNC:
	case ZYDIS_ISA_EXT_KNCE:
	case ZYDIS_ISA_EXT_KNCV:
	case ZYDIS_ISA_EXT_MCOMMIT:
	case ZYDIS_ISA_EXT_MONITOR:
	case ZYDIS_ISA_EXT_MONITORX:
	case ZYDIS_ISA_EXT_MOVDIR:
	case ZYDIS_ISA_EXT_MPX:
	case ZYDIS_ISA_EXT_PADLOCK:
	case ZYDIS_ISA_EXT_PCONFIG:
	case ZYDIS_ISA_EXT_PKU:
	case ZYDIS_ISA_EXT_PT:
	case ZYDIS_ISA_EXT_RDPRU:
	case ZYDIS_ISA_EXT_RTM:
	case ZYDIS_ISA_EXT_SERIALIZE:
	case ZYDIS_ISA_EXT_SGX:
	case ZYDIS_ISA_EXT_SGX_ENCLV:
	case ZYDIS_ISA_EXT_SMX:
	case ZYDIS_ISA_EXT_SNP:
	case ZYDIS_ISA_EXT_SVM:
	case ZYDIS_ISA_EXT_TBM:
	case ZYDIS_ISA_EXT_TDX:
	case ZYDIS_ISA_EXT_TSX_LDTRK:
	case ZYDIS_ISA_EXT_UINTR:
	case ZYDIS_ISA_EXT_VMFUNC:
	case ZYDIS_ISA_EXT_VTX:
	case ZYDIS_ISA_EXT_WAITPKG:
	case ZYDIS_ISA_EXT_XOP:
		return true;
	default:
		/*
		 * RSM is #UD outside SMM; so is 0F 0D with a register on AMD's (APM vol. 3,
		 * PREFETCH).
		 */
		return oracle->insn.mnemonic == ZYDIS_MNEMONIC_RSM ||
		       (oracle->insn.mnemonic == ZYDIS_MNEMONIC_NOP && oracle->insn.opcode == 0x0d);
	}
}

/* ---- mnemonics ---- */

/* Where one name of ours stands for several, or the names differ. */
static const struct {
	const char *ours, *theirs;
} alias[] = {
	{"cbw", "cwde"},
	{"cbw", "cdqe"},
	{"cwd", "cdq"},
	{"cwd", "cqo"},
	{"movs", "movsb"},
	{"movs", "movsw"},
	{"movs", "movsd"},
	{"movs", "movsq"},
	{"stos", "stosb"},
	{"stos", "stosw"},
	{"stos", "stosd"},
	{"stos", "stosq"},
	{"lods", "lodsb"},
	{"lods", "lodsw"},
	{"lods", "lodsd"},
	{"lods", "lodsq"},
	{"cmps", "cmpsb"},
	{"cmps", "cmpsw"},
	{"cmps", "cmpsd"},
	{"cmps", "cmpsq"},
	{"scas", "scasb"},
	{"scas", "scasw"},
	{"scas", "scasd"},
	{"scas", "scasq"},
	{"ins", "insb"},
	{"ins", "insw"},
	{"ins", "insd"},
	{"outs", "outsb"},
	{"outs", "outsw"},
	{"outs", "outsd"},
	{"pusha", "pushad"},
	{"popa", "popad"},
	{"pushf", "pushfd"},
	{"pushf", "pushfq"},
	{"popf", "popfd"},
	{"popf", "popfq"},
	{"iret", "iretd"},
	{"iret", "iretq"},
	{"jcxz", "jecxz"},
	{"jcxz", "jrcxz"},
	{"call_far", "call"},
	{"jmp_far", "jmp"},
	{"ret_far", "ret"},
	{"xsave", "xsave64"},
	{"xrstor", "xrstor64"},
	{"xsaveopt", "xsaveopt64"},
	{"xsavec", "xsavec64"},
	{"xsaves", "xsaves64"},
	{"xrstors", "xrstors64"},
	{"fxsave", "fxsave64"},
	{"fxrstor", "fxrstor64"},
	{"fstp", "fstpnce"},
	{"feni", "feni8087_nop"},
	{"fdisi", "fdisi8087_nop"},
	{"fsetpm", "fsetpm287_nop"},
	{"prefetch", "nop"},
	{"prefetch", "prefetchw"},
	{"prefetch", "prefetchwt1"},
	{"nop", "prefetchnta"},
	{"nop", "prefetcht0"},
	{"nop", "prefetcht1"},
	{"nop", "prefetcht2"},
	{"sysret", "sysretq"},
};

static bool same_name(const char *ours, const char *theirs)
{
	if (!strcmp(ours, theirs))
		return true;
	for (unsigned i = 0; i < sizeof(alias) / sizeof(alias[0]); i++)
		if (!strcmp(ours, alias[i].ours) && !strcmp(theirs, alias[i].theirs))
			return true;
	return false;
}

/* ---- registers ---- */

static unsigned gpr_number(ZydisRegister reg)
{
	return (unsigned)(ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, reg) -
			  ZYDIS_REGISTER_RAX);
}

static bool is_gpr(ZydisRegister reg)
{
	ZydisRegisterClass class = ZydisRegisterGetClass(reg);

	return class == ZYDIS_REGCLASS_GPR8 || class == ZYDIS_REGCLASS_GPR16 ||
	       class == ZYDIS_REGCLASS_GPR32 || class == ZYDIS_REGCLASS_GPR64;
}

bool oracle_register_is(ZydisRegister reg, const struct x86_operand *op)
{
	static const struct {
		ZydisRegister first, last;
	} range[] = {
		[X86_OK_SEG] = {ZYDIS_REGISTER_ES, ZYDIS_REGISTER_GS},
		[X86_OK_CR] = {ZYDIS_REGISTER_CR0, ZYDIS_REGISTER_CR15},
		[X86_OK_DR] = {ZYDIS_REGISTER_DR0, ZYDIS_REGISTER_DR15},
		[X86_OK_ST] = {ZYDIS_REGISTER_ST0, ZYDIS_REGISTER_ST7},
		[X86_OK_MMX] = {ZYDIS_REGISTER_MM0, ZYDIS_REGISTER_MM7},
		[X86_OK_XMM] = {ZYDIS_REGISTER_XMM0, ZYDIS_REGISTER_XMM15},
		[X86_OK_YMM] = {ZYDIS_REGISTER_YMM0, ZYDIS_REGISTER_YMM15},
	};

	if (op->kind == X86_OK_GPR) {
		bool high = reg >= ZYDIS_REGISTER_AH && reg <= ZYDIS_REGISTER_BH;

		return is_gpr(reg) && gpr_number(reg) == op->reg && high == op->high &&
		       ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, reg) == op->size * 8;
	}
	if (op->kind < X86_OK_SEG || op->kind > X86_OK_YMM)
		return false;
	return reg >= range[op->kind].first && reg <= range[op->kind].last &&
	       (unsigned)(reg - range[op->kind].first) == op->reg;
}

/* A conditional write leaves the old value, so it reads it. */
static unsigned access_of(const ZydisDecodedOperand *op)
{
	unsigned access = 0;

	if (op->actions & ZYDIS_OPERAND_ACTION_MASK_READ)
		access |= X86_RD;
	if (op->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE)
		access |= X86_WR;
	if (op->actions & ZYDIS_OPERAND_ACTION_CONDWRITE && op->type == ZYDIS_OPERAND_TYPE_REGISTER)
		access |= X86_RD;
	return access;
}

/* ---- the checks: true if both say the same ---- */

struct pair {
	const struct oracle *oracle;
	const struct x86_insn *insn;
	const ZydisDecodedOperand *memory; /* the one that ModRM or the offset of A0..A3 encodes */
};

static bool check_mnemonic(const struct pair *p)
{
	return same_name(p->insn->row->name, oracle_name(p->oracle));
}

static bool check_length(const struct pair *p)
{
	return p->oracle->insn.length == p->insn->len;
}

static bool check_address_size(const struct pair *p)
{
	return p->oracle->insn.address_width == p->insn->addrsize * 8;
}

/* Rows whose operands do not depend on it may have any. */
static bool has_operand_size(const struct x86_insn *insn)
{
	const struct x86_form *form = &x86_forms[insn->row->id];

	if (insn->row->class == X86_BRANCH || insn->row->class == X86_STACK)
		return true;
	for (unsigned i = 0; i < X86_FORM_OPERANDS && form->spec[i]; i++) {
		unsigned width = x86_specs[form->spec[i]].width;

		if (width == X86_W_v || width == X86_W_z || width == X86_W_p || width == X86_W_a ||
			width == X86_W_s || width == X86_W_env || width == X86_W_save)
			return true;
	}
	return insn->nops == 0 && insn->row->map == X86_MAP_OP && !(insn->row->props & X86_P_X87);
}

static bool check_operand_size(const struct pair *p)
{
	unsigned width = p->oracle->insn.operand_width;

	return width == p->insn->opsize * 8 || width == 8 || !has_operand_size(p->insn);
}

static bool check_has_memory(const struct pair *p)
{
	return p->insn->has_mem == (p->memory != NULL);
}

static bool same_register(ZydisRegister reg, uint8_t ours, const struct x86_insn *insn)
{
	if (reg == ZYDIS_REGISTER_NONE)
		return ours == X86_NOREG;
	if (reg == ZYDIS_REGISTER_RIP || reg == ZYDIS_REGISTER_EIP)
		return ours == X86_RIP_BASE;
	if (ZydisRegisterGetClass(reg) == ZYDIS_REGCLASS_XMM)
		return reg - ZYDIS_REGISTER_XMM0 == ours;
	if (ZydisRegisterGetClass(reg) == ZYDIS_REGCLASS_YMM)
		return reg - ZYDIS_REGISTER_YMM0 == ours;
	return gpr_number(reg) == ours &&
	       ZydisRegisterGetWidth(ZYDIS_MACHINE_MODE_LONG_64, reg) == insn->addrsize * 8;
}

static bool check_memory_base(const struct pair *p)
{
	return !p->memory || same_register(p->memory->mem.base, p->insn->mem.base, p->insn);
}

static bool check_memory_index(const struct pair *p)
{
	const struct x86_mem *mem = &p->insn->mem;

	if (!p->memory)
		return true;
	return same_register(p->memory->mem.index, mem->index, p->insn) &&
	       (mem->index == X86_NOREG || p->memory->mem.scale == 1u << mem->scale);
}

static bool check_memory_displacement(const struct pair *p)
{
	return !p->memory || p->memory->mem.disp.value == p->insn->mem.disp;
}

static bool check_memory_segment(const struct pair *p)
{
	return !p->memory || p->insn->row->props & X86_P_NOMEM ||
	       p->memory->mem.segment - ZYDIS_REGISTER_ES == p->insn->mem.seg;
}

static bool check_memory_size(const struct pair *p)
{
	const struct x86_mem *mem = &p->insn->mem;

	if (!p->memory)
		return true;
	if (p->insn->row->props & X86_P_NOMEM)
		return mem->size == 0;
	return mem->size == p->memory->size / 8 ||
	       (mem->size == 0 && p->insn->row->feature >= X86_F_XSAVE); /* known at run time */
}

static bool check_memory_access(const struct pair *p)
{
	const struct x86_mem *mem = &p->insn->mem;

	if (!p->memory)
		return true;
	if (p->insn->row->props & X86_P_NOMEM)
		return mem->access == 0;
	return mem->access == access_of(p->memory);
}

static bool check_immediates(const struct pair *p)
{
	const struct x86_insn *insn = p->insn;
	bool second = false;

	for (unsigned i = 0; i < p->oracle->insn.operand_count; i++) {
		const ZydisDecodedOperand *op = &p->oracle->op[i];
		unsigned size = second ? 1 : insn->imm_size;
		uint64_t mask = size && size < 8 ? (1ull << size * 8) - 1 : ~0ull;

		if (op->type == ZYDIS_OPERAND_TYPE_POINTER &&
			(op->ptr.segment != insn->imm2 ||
				((op->ptr.offset ^ (uint64_t)insn->imm) & mask)))
			return false;
		if (op->type != ZYDIS_OPERAND_TYPE_IMMEDIATE)
			continue;
		if ((op->imm.value.u ^ (second ? insn->imm2 : (uint64_t)insn->imm)) & mask)
			return false;
		second = true;
	}
	return true;
}

/* Rows whose operands are listed in another way there: implicit ones, x87's ST(0), hints. */
static bool is_listed_alike(const struct x86_insn *insn)
{
	return insn->row->class != X86_STRING && insn->row->mnem != X86_I_ins &&
	       insn->row->mnem != X86_I_outs && insn->row->mnem != X86_I_xlat &&
	       !(insn->row->props & (X86_P_X87 | X86_P_NOMEM));
}

static bool same_operand(const ZydisDecodedOperand *theirs, const struct x86_operand *ours)
{
	switch (theirs->type) {
	case ZYDIS_OPERAND_TYPE_REGISTER:
		return oracle_register_is(theirs->reg.value, ours);
	case ZYDIS_OPERAND_TYPE_MEMORY:
		return ours->kind == X86_OK_MEM;
	case ZYDIS_OPERAND_TYPE_POINTER:
		return ours->kind == X86_OK_FAR;
	case ZYDIS_OPERAND_TYPE_IMMEDIATE:
		return ours->kind == X86_OK_IMM || ours->kind == X86_OK_REL;
	default:
		return false;
	}
}

/* A part of a vector register that keeps the rest: whether that is a read is taste. */
static bool same_access(const ZydisDecodedOperand *theirs, const struct x86_operand *ours)
{
	unsigned taste = ours->kind == X86_OK_XMM && theirs->id == 0 ? X86_RD : 0;

	return (access_of(theirs) | taste) == (ours->access | taste);
}

/* Our operands and their visible ones, in step. */
static bool all_operands(const struct pair *p,
	bool (*same)(const ZydisDecodedOperand *theirs, const struct x86_operand *ours))
{
	const struct x86_insn *insn = p->insn;
	unsigned k = 0;

	if (!is_listed_alike(insn))
		return true;
	for (unsigned i = 0; i < p->oracle->insn.operand_count; i++) {
		const ZydisDecodedOperand *op = &p->oracle->op[i];

		if (op->visibility == ZYDIS_OPERAND_VISIBILITY_HIDDEN)
			continue;
		while (k < insn->nops && insn->op[k].field == X86_OF_IMPLICIT &&
			(insn->op[k].kind == X86_OK_XMM || insn->op[k].kind == X86_OK_MEM))
			k++; /* hidden there: XMM0 of BLENDV, [rDI] of MASKMOV */
		if (k == insn->nops || !same(op, &insn->op[k++]))
			return false;
	}
	while (k < insn->nops && insn->op[k].field == X86_OF_IMPLICIT &&
		insn->op[k].kind == X86_OK_XMM)
		k++;
	return k == insn->nops;
}

static bool check_operands(const struct pair *p)
{
	return all_operands(p, same_operand);
}

static bool check_operand_access(const struct pair *p)
{
	return all_operands(p, same_access);
}

static void gprs_used(const struct oracle *oracle, unsigned *reads, unsigned *writes)
{
	*reads = 0;
	*writes = 0;
	for (unsigned i = 0; i < oracle->insn.operand_count; i++) {
		const ZydisDecodedOperand *op = &oracle->op[i];

		if (op->type == ZYDIS_OPERAND_TYPE_MEMORY) {
			if (op->mem.base != ZYDIS_REGISTER_NONE && is_gpr(op->mem.base))
				*reads |= 1u << gpr_number(op->mem.base);
			if (op->mem.index != ZYDIS_REGISTER_NONE && is_gpr(op->mem.index))
				*reads |= 1u << gpr_number(op->mem.index);
		} else if (op->type == ZYDIS_OPERAND_TYPE_REGISTER && is_gpr(op->reg.value)) {
			unsigned bit = 1u << gpr_number(op->reg.value);
			bool part = ZydisRegisterGetWidth(
					    ZYDIS_MACHINE_MODE_LONG_64, op->reg.value) < 32;

			if (access_of(op) & X86_RD || (access_of(op) & X86_WR && part))
				*reads |= bit;
			if (access_of(op) & X86_WR)
				*writes |= bit;
		}
	}
}

/* For an instruction that is copied both sets must be exact, for others none may be missing. */
static bool check_registers(const struct pair *p)
{
	const struct x86_insn *insn = p->insn;
	unsigned reads, writes;

	gprs_used(p->oracle, &reads, &writes);
	if (insn->row->props & X86_P_NOMEM)
		return true;
	if (insn->row->class == X86_NATIVE)
		return reads == insn->gpr_read && writes == insn->gpr_write;
	return !(reads & ~insn->gpr_read) && !(writes & ~insn->gpr_write);
}

#define ALL_FLAGS (X86_FL_STATUS | X86_FL_DF)

static bool check_flags_read(const struct pair *p)
{
	return (p->oracle->insn.cpu_flags->tested & ALL_FLAGS) == p->insn->row->fl_read;
}

static bool check_flags_written(const struct pair *p)
{
	const ZydisAccessedFlags *flags = p->oracle->insn.cpu_flags;
	uint32_t any = flags->modified | flags->set_0 | flags->set_1 | flags->undefined;

	return (any & ALL_FLAGS) == p->insn->row->fl_write;
}

static bool check_flags_overwritten(const struct pair *p)
{
	const ZydisAccessedFlags *flags = p->oracle->insn.cpu_flags;

	return !(p->insn->row->fl_kill & ~(flags->modified | flags->set_0 | flags->set_1));
}

/* ---- what is known to differ, and who is right ---- */

enum check {
	MNEMONIC,
	LENGTH,
	ADDRESS_SIZE,
	OPERAND_SIZE,
	HAS_MEMORY,
	MEMORY_BASE,
	MEMORY_INDEX,
	MEMORY_DISPLACEMENT,
	MEMORY_SEGMENT,
	MEMORY_SIZE,
	MEMORY_ACCESS,
	IMMEDIATES,
	OPERANDS,
	OPERAND_ACCESS,
	REGISTERS,
	FLAGS_READ,
	FLAGS_WRITTEN,
	FLAGS_OVERWRITTEN,
	CHECKS
};

static const struct {
	const char *name;
	bool (*agrees)(const struct pair *p);
} checks[CHECKS] = {
	[MNEMONIC] = {"mnemonic", check_mnemonic},
	[LENGTH] = {"length", check_length},
	[ADDRESS_SIZE] = {"address size", check_address_size},
	[OPERAND_SIZE] = {"operand size", check_operand_size},
	[HAS_MEMORY] = {"memory operand or none", check_has_memory},
	[MEMORY_BASE] = {"memory base", check_memory_base},
	[MEMORY_INDEX] = {"memory index", check_memory_index},
	[MEMORY_DISPLACEMENT] = {"memory displacement", check_memory_displacement},
	[MEMORY_SEGMENT] = {"memory segment", check_memory_segment},
	[MEMORY_SIZE] = {"memory size", check_memory_size},
	[MEMORY_ACCESS] = {"memory access", check_memory_access},
	[IMMEDIATES] = {"immediates", check_immediates},
	[OPERANDS] = {"operands", check_operands},
	[OPERAND_ACCESS] = {"operand access", check_operand_access},
	[REGISTERS] = {"registers", check_registers},
	[FLAGS_READ] = {"flags read", check_flags_read},
	[FLAGS_WRITTEN] = {"flags written", check_flags_written},
	[FLAGS_OVERWRITTEN] = {"flags overwritten", check_flags_overwritten},
};

#define BIT(check) (1u << (check))

static const struct {
	uint16_t mnem;
	uint32_t checks;
} exceptions[] = {
	/*
	 * The destination keeps its value when the source is zero (APM vol. 3; Intel's do it too).
	 */
	{X86_I_bsf, BIT(OPERAND_ACCESS) | BIT(REGISTERS)},
	{X86_I_bsr, BIT(OPERAND_ACCESS) | BIT(REGISTERS)},
	/* AF is undefined on paper, and cleared by every known processor. */
	{X86_I_and, BIT(FLAGS_OVERWRITTEN)},
	{X86_I_or, BIT(FLAGS_OVERWRITTEN)},
	{X86_I_xor, BIT(FLAGS_OVERWRITTEN)},
	{X86_I_test, BIT(FLAGS_OVERWRITTEN)},
	/* SBB sets all six (SDM vol. 2, SBB). */
	{X86_I_sbb, BIT(FLAGS_OVERWRITTEN)},
	/* OF is defined for shifts and rotates by one (SDM vol. 2, SAL, RCL). */
	{X86_I_rol, BIT(FLAGS_OVERWRITTEN)},
	{X86_I_ror, BIT(FLAGS_OVERWRITTEN)},
	{X86_I_rcl, BIT(FLAGS_OVERWRITTEN)},
	{X86_I_rcr, BIT(FLAGS_OVERWRITTEN)},
	{X86_I_shl, BIT(FLAGS_OVERWRITTEN)},
	{X86_I_shr, BIT(FLAGS_OVERWRITTEN)},
	{X86_I_sar, BIT(FLAGS_OVERWRITTEN)},
	/* CF and OF are cleared (SDM vol. 2, BEXTR). */
	{X86_I_bextr, BIT(FLAGS_OVERWRITTEN)},
	/* ZF and CF are set, the others cleared (SDM vol. 2, PTEST, VTESTPS). */
	{X86_I_vptest, BIT(FLAGS_WRITTEN) | BIT(FLAGS_OVERWRITTEN)},
	{X86_I_vtestps, BIT(FLAGS_WRITTEN) | BIT(FLAGS_OVERWRITTEN)},
	{X86_I_vtestpd, BIT(FLAGS_WRITTEN) | BIT(FLAGS_OVERWRITTEN)},
	/* RFLAGS goes to R11 (SDM vol. 2, SYSCALL), and onto the stack (INT). */
	{X86_I_syscall, BIT(FLAGS_READ)},
	{X86_I_int, BIT(FLAGS_READ)},
	{X86_I_int1, BIT(FLAGS_READ)},
	{X86_I_int3, BIT(FLAGS_READ)},
	{X86_I_into, BIT(FLAGS_READ)},
	/*
	 * ZF ends a repetition, but that of the comparison (SDM vol. 2, REP): it is not an input.
	 */
	{X86_I_cmps, BIT(FLAGS_READ)},
	{X86_I_scas, BIT(FLAGS_READ)},
	/* Never 64 bits wide (SDM vol. 2, INS): REX.W is ignored. */
	{X86_I_ins, BIT(OPERAND_SIZE)},
	{X86_I_outs, BIT(OPERAND_SIZE)},
	/* Does not touch its operand. */
	{X86_I_nop, BIT(OPERAND_SIZE)},
	/* With 66 the source has 16 bits (SDM vol. 2, MOVSXD), there 32. */
	{X86_I_movsxd, BIT(MEMORY_SIZE) | BIT(OPERANDS)},
	/* The source register is r32, of which 16 bits count (SDM vol. 2, LAR, LSL). */
	{X86_I_lar, BIT(OPERANDS) | BIT(OPERAND_ACCESS)},
	{X86_I_lsl, BIT(OPERANDS) | BIT(OPERAND_ACCESS)},
	/* One byte names the line (SDM vol. 2, CLFLUSH); there it is all of it. */
	{X86_I_clflush, BIT(MEMORY_SIZE)},
	{X86_I_clflushopt, BIT(MEMORY_SIZE)},
	{X86_I_clwb, BIT(MEMORY_SIZE)},
};

static bool is_exception(const struct x86_insn *insn, unsigned check)
{
	for (unsigned i = 0; i < sizeof(exceptions) / sizeof(exceptions[0]); i++)
		if (exceptions[i].mnem == insn->row->mnem && exceptions[i].checks & BIT(check))
			return true;
	return false;
}

/*
 * The other decoder forgets R13 in "no base if mod is 0 and base is 101" with 32-bit addresses; the
 * rule ignores REX.B (SDM vol. 2, table 2-5).
 */
static bool is_r13d_quirk(const struct pair *p)
{
	const struct x86_insn *insn = p->insn;

	return p->memory && insn->code_size == 64 && insn->addrsize == 4 &&
	       (insn->modrm & 0xc7) == 4 && p->memory->mem.base == ZYDIS_REGISTER_R13D &&
	       insn->mem.base == X86_NOREG;
}

static const ZydisDecodedOperand *memory_of(
	const struct oracle *oracle, const struct x86_insn *insn)
{
	if (insn->row->class == X86_STRING || !(insn->has_modrm || insn->row->props & X86_P_MOFFS))
		return NULL;
	for (unsigned i = 0; i < oracle->insn.operand_count; i++)
		if (oracle->op[i].type == ZYDIS_OPERAND_TYPE_MEMORY &&
			(oracle->op[i].visibility != ZYDIS_OPERAND_VISIBILITY_HIDDEN ||
				insn->has_mem))
			return &oracle->op[i];
	return NULL;
}

const char *oracle_compare(const struct oracle *oracle, const struct x86_insn *insn)
{
	struct pair pair = {oracle, insn, memory_of(oracle, insn)};
	uint32_t skip = 0;

	if (is_r13d_quirk(&pair))
		skip = BIT(MEMORY_BASE) | BIT(MEMORY_DISPLACEMENT) | BIT(REGISTERS);
	for (unsigned i = 0; i < CHECKS; i++)
		if (!(skip & BIT(i)) && !checks[i].agrees(&pair) && !is_exception(insn, i))
			return checks[i].name;
	return NULL;
}
