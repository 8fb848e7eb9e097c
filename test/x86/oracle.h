/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * An independent decoder (Zydis) to hold ours against: shared by the tests of the decoder and the
 * encoder and by the fuzzer.  Nothing here is linked into the library.
 */
#ifndef TEST_X86_ORACLE_H
#define TEST_X86_ORACLE_H

#include <Zydis/Zydis.h>

#include "x86/insn.h"

struct oracle {
	ZydisDecoder decoder[3]; /* 16, 32, 64 */
	ZydisDecodedInstruction insn;
	ZydisDecodedOperand op[ZYDIS_MAX_OPERAND_COUNT];
};

void oracle_init(struct oracle *oracle);

/* Decodes into oracle->insn and ->op; false if it is no instruction. */
bool oracle_decode(struct oracle *oracle, const uint8_t *bytes, size_t n, unsigned code_size);

/*
 * Everything that both say about one instruction: mnemonic, length, sizes, operands with registers
 * and access, the memory operand, implicit registers, flags.  NULL if they agree, or what differs.
 */
const char *oracle_compare(const struct oracle *oracle, const struct x86_insn *insn);

/* The other decoder's name of what it saw. */
const char *oracle_name(const struct oracle *oracle);

/*
 * An instruction-set extension that we do not offer, or an opcode that is one thing there and NOP
 * here.
 */
bool oracle_not_ours(const struct oracle *oracle);

/* The number and class of a register as struct x86_operand has them. */
bool oracle_register_is(ZydisRegister reg, const struct x86_operand *op);

#endif
