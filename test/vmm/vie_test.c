/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/* struct vie as API users see it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "vmm/vie.h"

static struct vie decode(unsigned size, const char *bytes, unsigned n)
{
	struct vie vie = {.num_valid = (uint8_t)n};
	struct x86_insn insn;

	for (unsigned i = 0; i < n; i++)
		vie.inst[i] = (uint8_t)bytes[i];
	assert_true(vie_decode(&vie, size, &insn));
	assert_int_equal(vie.decoded, 1);
	return vie;
}
#define DECODE(size, bytes) decode(size, bytes, sizeof(bytes) - 1)

/* mov r9d, [r12 + rax*4 + 0x12345678] */
static void sib_and_rex(void **state)
{
	struct vie vie = DECODE(64, "\x45\x8b\x8c\x84\x78\x56\x34\x12");

	(void)state;
	assert_int_equal(vie.num_valid, 8);
	assert_int_equal(vie.num_processed, 8);
	assert_int_equal(vie.op.op_byte, 0x8b);
	assert_int_equal(vie.rex_present, 1);
	assert_int_equal(vie.rex_r, 1);
	assert_int_equal(vie.rex_b, 1);
	assert_int_equal(vie.rex_w, 0);
	assert_int_equal(vie.opsize, 4);
	assert_int_equal(vie.addrsize, 8);
	assert_int_equal(vie.mod, 2);
	assert_int_equal(vie.reg, 9);
	assert_int_equal(vie.rm, 4);
	assert_int_equal(vie.ss, 2);
	assert_int_equal(vie.scale, 4);
	assert_int_equal(vie.index, 0);
	assert_int_equal(vie.base, 12);
	assert_int_equal(vie.base_register, VM_REG_GUEST_R12);
	assert_int_equal(vie.index_register, VM_REG_GUEST_RAX);
	assert_int_equal(vie.disp_bytes, 4);
	assert_int_equal(vie.displacement, 0x12345678);
}

/* mov [rip - 16], ebx */
static void rip_relative(void **state)
{
	struct vie vie = DECODE(64, "\x89\x1d\xf0\xff\xff\xff");

	(void)state;
	assert_int_equal(vie.base_register, VM_REG_GUEST_RIP);
	assert_int_equal(vie.index_register, VM_REG_LAST);
	assert_int_equal(vie.disp_bytes, 4);
	assert_int_equal(vie.displacement, -16);
	assert_int_equal(vie.reg, 3);
}

/* mov word [0x400], 0x1234: 66, no base, 16-bit immediate */
static void operand_prefix_and_immediate(void **state)
{
	struct vie vie = DECODE(32, "\x66\xc7\x05\x00\x04\x00\x00\x34\x12");

	(void)state;
	assert_int_equal(vie.opsize_override, 1);
	assert_int_equal(vie.addrsize_override, 0);
	assert_int_equal(vie.opsize, 2);
	assert_int_equal(vie.addrsize, 4);
	assert_int_equal(vie.base_register, VM_REG_LAST);
	assert_int_equal(vie.displacement, 0x400);
	assert_int_equal(vie.imm_bytes, 2);
	assert_int_equal(vie.immediate, 0x1234);
}

/* or dword [eax], -2 */
static void sign_extended_immediate(void **state)
{
	struct vie vie = DECODE(32, "\x83\x08\xfe");

	(void)state;
	assert_int_equal(vie.imm_bytes, 1);
	assert_int_equal(vie.immediate, -2);
	assert_int_equal(vie.reg, 1);
	assert_int_equal(vie.disp_bytes, 0);
}

/* mov al, [bx + si + 0x7f] in 16-bit code */
static void sixteen_bit_addressing(void **state)
{
	struct vie vie = DECODE(16, "\x8a\x40\x7f");

	(void)state;
	assert_int_equal(vie.addrsize, 2);
	assert_int_equal(vie.base_register, VM_REG_GUEST_RBX);
	assert_int_equal(vie.index_register, VM_REG_GUEST_RSI);
	assert_int_equal(vie.disp_bytes, 1);
	assert_int_equal(vie.displacement, 0x7f);
}

/* mov eax, [0x1122334455667788] */
static void absolute_offset(void **state)
{
	struct vie vie = DECODE(64, "\xa1\x88\x77\x66\x55\x44\x33\x22\x11");

	(void)state;
	assert_int_equal(vie.op.op_byte, 0xa1);
	assert_int_equal(vie.displacement, 0x1122334455667788);
	assert_int_equal(vie.base_register, VM_REG_LAST);
}

static void what_is_no_instruction(void **state)
{
	struct vie cut = {.inst = {0x8b, 0x80}, .num_valid = 2}, none = {.num_valid = 0};
	struct vie undefined = {.inst = {0x0f, 0xff}, .num_valid = 2};
	struct vie overlong = {.inst = {0x90}, .num_valid = 200};
	struct x86_insn insn;

	(void)state;
	assert_false(vie_decode(&cut, 64, &insn));
	assert_false(vie_decode(&none, 64, &insn));
	assert_false(vie_decode(&undefined, 64, &insn));
	assert_int_equal(cut.decoded, 0);
	assert_true(vie_decode(&overlong, 64, &insn)); /* the count is not trusted */
	assert_int_equal(overlong.num_valid, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sib_and_rex),
		cmocka_unit_test(rip_relative),
		cmocka_unit_test(operand_prefix_and_immediate),
		cmocka_unit_test(sign_extended_immediate),
		cmocka_unit_test(sixteen_bit_addressing),
		cmocka_unit_test(absolute_offset),
		cmocka_unit_test(what_is_no_instruction),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
