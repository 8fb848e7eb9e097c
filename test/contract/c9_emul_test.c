/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * vmm-api.md 9: instructions that reach a device of the user's, finished by
 * vm_emulate_instruction().  The device lies at 0x70000000 and answers a read with the low bytes of
 * 0x1020304050607080; what it sees is written down, "r4:8 w4:8=5" for a read and a write of 4 bytes
 * at its offset 8.
 */
#include <stdio.h>

#include "test/contract/contract.h"

#define DEVICE	     0x70000000u
#define ANSWER	     0x1020304050607080u
#define CODE_(bytes) bytes, sizeof(bytes) - 1

struct log {
	char text[256];
	size_t n;
};

static void note(struct log *log, const char *format, int size, uint64_t gpa, uint64_t value)
{
	if (log->n)
		log->text[log->n++] = ' ';
	log->n += (size_t)snprintf(log->text + log->n, sizeof(log->text) - log->n, format, size,
		(unsigned long long)(gpa - DEVICE), (unsigned long long)value);
	assert_true(log->n + 1 < sizeof(log->text));
}

static uint64_t cut(uint64_t value, int size)
{
	return size == 8 ? value : value & ((1ull << size * 8) - 1);
}

static int dev_read(struct vm *vm, int vcpu, uint64_t gpa, uint64_t *value, int size, void *arg)
{
	(void)vm;
	(void)vcpu;
	*value = cut(ANSWER, size);
	note(arg, "r%d:%llx", size, gpa, 0);
	return 0;
}

static int dev_write(struct vm *vm, int vcpu, uint64_t gpa, uint64_t value, int size, void *arg)
{
	(void)vm;
	(void)vcpu;
	note(arg, "w%d:%llx=%llx", size, gpa, cut(value, size));
	return 0;
}

/* Runs to the OUT behind the instruction, which may take several exits. */
static void finish(struct contract *c, struct log *log)
{
	struct vm_exit *exit = &c->run[0].vm_exit;
	bool emulated = false;

	for (;;) {
		step_over(c, 0);
		assert_int_equal(vm_run(c->vm, &c->run[0]), 0);
		if (exit->exitcode != VM_EXITCODE_INST_EMUL)
			break;
		emulated = true;
		assert_int_equal(
			vm_emulate_instruction(c->vm, 0, exit, dev_read, dev_write, log), 0);
	}
	assert_true(emulated);
	assert_int_equal(exit->exitcode, VM_EXITCODE_INOUT);
	assert_int_equal(exit->u.inout.port, DONE_PORT);
}

/* ---- One instruction ---- */

struct emul_row {
	const char *name;
	int bits;
	const char *code;
	size_t n;
	uint64_t rax, rcx, rflags; /* before */
	const char *log;
	uint64_t rax_after, flags, mask; /* RFLAGS & mask = flags */
};

static void set_base(struct contract *c, int reg, uint64_t base)
{
	struct seg_desc desc;

	assert_int_equal(vm_get_seg_desc(c->vm, 0, reg, &desc), 0);
	desc.base = base;
	assert_int_equal(vm_set_seg_desc(c->vm, 0, reg, &desc), 0);
}

static void load(struct contract *c, int bits, const char *code, size_t n)
{
	char all[64];

	memcpy(all, code, n);
	memcpy(all + n, "\xe6\xe9", 2);
	if (bits == 16)
		real_mode(c, 0, all, n + 2);
	else if (bits == 32)
		protected_mode(c, 0, all, n + 2);
	else
		long_mode(c, 0, all, n + 2);
	if (bits == 16)
		set_base(c, VM_REG_GUEST_DS, DEVICE);
	if (bits == 64) /* CR4.OSFXSR, OSXMMEXCPT */
		set_reg(c, 0, VM_REG_GUEST_CR4, CR4_PAE | 0x600);
	set_base(c, VM_REG_GUEST_FS, 0x1000);
	set_reg(c, 0, VM_REG_GUEST_RBX, bits == 16 ? 8 : DEVICE + 8);
	set_reg(c, 0, VM_REG_GUEST_RSI, 0x6020);
	set_reg(c, 0, VM_REG_GUEST_RDI, 0x7000);
	set_reg(c, 0, VM_REG_GUEST_R8, 0x8888888888888888);
	set_reg(c, 0, VM_REG_GUEST_R12, DEVICE);
	set_reg(c, 0, VM_REG_GUEST_R13, 0x800);
}

static void emulate(void **state)
{
	struct contract *c = *state;
	const struct emul_row *row = c->row;
	struct log log = {.n = 0};

	load(c, row->bits, row->code, row->n);
	set_reg(c, 0, VM_REG_GUEST_RAX, row->rax);
	set_reg(c, 0, VM_REG_GUEST_RCX, row->rcx);
	set_reg(c, 0, VM_REG_GUEST_RFLAGS, row->rflags | 2);
	finish(c, &log);
	assert_int_equal(c->run[0].vm_exit.rip, CODE + row->n);
	assert_string_equal(log.text, row->log);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RAX), row->rax_after);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RFLAGS) & row->mask, row->flags);
}

/* clang-format off */
static const struct emul_row instructions[] = {
	{"c9_add_r8_m8", 64, CODE_("\x02\x03"), 0x1122334455667788, 0x0, 0x0, "r1:8", 0x1122334455667708, 0x801, 0x8d5},
	{"c9_add_m8_r8", 64, CODE_("\x00\x03"), 0x1122334455667788, 0x0, 0x0, "r1:8 w1:8=8", 0x1122334455667788, 0x801, 0x8d5},
	{"c9_add_r16_m16", 64, CODE_("\x66\x03\x03"), 0x1122334455667788, 0x0, 0x0, "r2:8", 0x112233445566e808, 0x880, 0x8d5},
	{"c9_add_m16_r16", 64, CODE_("\x66\x01\x03"), 0x1122334455667788, 0x0, 0x0, "r2:8 w2:8=e808", 0x1122334455667788, 0x880, 0x8d5},
	{"c9_add_r32_m32", 64, CODE_("\x03\x03"), 0x1122334455667788, 0x0, 0x0, "r4:8", 0xa5c6e808, 0x880, 0x8d5},
	{"c9_add_m32_r32", 64, CODE_("\x01\x03"), 0x1122334455667788, 0x0, 0x0, "r4:8 w4:8=a5c6e808", 0x1122334455667788, 0x880, 0x8d5},
	{"c9_add_r64_m64", 64, CODE_("\x48\x03\x03"), 0x1122334455667788, 0x0, 0x0, "r8:8", 0x21426384a5c6e808, 0x0, 0x8d5},
	{"c9_add_m64_r64", 64, CODE_("\x48\x01\x03"), 0x1122334455667788, 0x0, 0x0, "r8:8 w8:8=21426384a5c6e808", 0x1122334455667788, 0x0, 0x8d5},
	{"c9_add_m32_imm8", 64, CODE_("\x83\x03\xf5"), 0x1122334455667788, 0x0, 0x0, "r4:8 w4:8=50607075", 0x1122334455667788, 0x1, 0x8d5},
	{"c9_add_m32_imm32", 64, CODE_("\x81\x03\x01\xef\xcd\x7b"), 0x1122334455667788, 0x0, 0x0, "r4:8 w4:8=cc2e5f81", 0x1122334455667788, 0x884, 0x8d5},
	{"c9_add_m8_imm8", 64, CODE_("\x80\x03\x9c"), 0x1122334455667788, 0x0, 0x0, "r1:8 w1:8=1c", 0x1122334455667788, 0x801, 0x8d5},
	{"c9_or_r32_m32", 64, CODE_("\x0b\x03"), 0x1122334455667788, 0x0, 0x0, "r4:8", 0x55667788, 0x4, 0x8c5},
	{"c9_or_m32_r32", 64, CODE_("\x09\x03"), 0x1122334455667788, 0x0, 0x0, "r4:8 w4:8=55667788", 0x1122334455667788, 0x4, 0x8c5},
	{"c9_or_m32_imm8", 64, CODE_("\x83\x0b\xf5"), 0x1122334455667788, 0x0, 0x0, "r4:8 w4:8=fffffff5", 0x1122334455667788, 0x84, 0x8c5},
	{"c9_or_m32_imm32", 64, CODE_("\x81\x0b\x01\xef\xcd\x7b"), 0x1122334455667788, 0x0, 0x0, "r4:8 w4:8=7bedff81", 0x1122334455667788, 0x4, 0x8c5},
	{"c9_or_m8_imm8", 64, CODE_("\x80\x0b\x9c"), 0x1122334455667788, 0x0, 0x0, "r1:8 w1:8=9c", 0x1122334455667788, 0x84, 0x8c5},
	{"c9_adc_r32_m32", 64, CODE_("\x13\x03"), 0x1122334455667788, 0x0, 0x1, "r4:8", 0xa5c6e809, 0x884, 0x8d5},
	{"c9_adc_m32_r32", 64, CODE_("\x11\x03"), 0x1122334455667788, 0x0, 0x1, "r4:8 w4:8=a5c6e809", 0x1122334455667788, 0x884, 0x8d5},
	{"c9_adc_m32_imm8", 64, CODE_("\x83\x13\xf5"), 0x1122334455667788, 0x0, 0x1, "r4:8 w4:8=50607076", 0x1122334455667788, 0x1, 0x8d5},
	{"c9_adc_m32_imm32", 64, CODE_("\x81\x13\x01\xef\xcd\x7b"), 0x1122334455667788, 0x0, 0x1, "r4:8 w4:8=cc2e5f82", 0x1122334455667788, 0x884, 0x8d5},
	{"c9_adc_m8_imm8", 64, CODE_("\x80\x13\x9c"), 0x1122334455667788, 0x0, 0x1, "r1:8 w1:8=1d", 0x1122334455667788, 0x805, 0x8d5},
	{"c9_sbb_r32_m32", 64, CODE_("\x1b\x03"), 0x1122334455667788, 0x0, 0x1, "r4:8", 0x5060707, 0x0, 0x8d5},
	{"c9_sbb_m32_r32", 64, CODE_("\x19\x03"), 0x1122334455667788, 0x0, 0x1, "r4:8 w4:8=faf9f8f7", 0x1122334455667788, 0x91, 0x8d5},
	{"c9_sbb_m32_imm8", 64, CODE_("\x83\x1b\xf5"), 0x1122334455667788, 0x0, 0x1, "r4:8 w4:8=5060708a", 0x1122334455667788, 0x11, 0x8d5},
	{"c9_sbb_m32_imm32", 64, CODE_("\x81\x1b\x01\xef\xcd\x7b"), 0x1122334455667788, 0x0, 0x1, "r4:8 w4:8=d492817e", 0x1122334455667788, 0x95, 0x8d5},
	{"c9_sbb_m8_imm8", 64, CODE_("\x80\x1b\x9c"), 0x1122334455667788, 0x0, 0x1, "r1:8 w1:8=e3", 0x1122334455667788, 0x91, 0x8d5},
	{"c9_and_r32_m32", 64, CODE_("\x23\x03"), 0x1122334455667788, 0x0, 0x0, "r4:8", 0x50607080, 0x0, 0x8c5},
	{"c9_and_m32_r32", 64, CODE_("\x21\x03"), 0x1122334455667788, 0x0, 0x0, "r4:8 w4:8=50607080", 0x1122334455667788, 0x0, 0x8c5},
	{"c9_and_m32_imm8", 64, CODE_("\x83\x23\xf5"), 0x1122334455667788, 0x0, 0x0, "r4:8 w4:8=50607080", 0x1122334455667788, 0x0, 0x8c5},
	{"c9_and_m32_imm32", 64, CODE_("\x81\x23\x01\xef\xcd\x7b"), 0x1122334455667788, 0x0, 0x0, "r4:8 w4:8=50406000", 0x1122334455667788, 0x4, 0x8c5},
	{"c9_and_m8_imm8", 64, CODE_("\x80\x23\x9c"), 0x1122334455667788, 0x0, 0x0, "r1:8 w1:8=80", 0x1122334455667788, 0x80, 0x8c5},
	{"c9_sub_r32_m32", 64, CODE_("\x2b\x03"), 0x1122334455667788, 0x0, 0x0, "r4:8", 0x5060708, 0x0, 0x8d5},
	{"c9_sub_m32_r32", 64, CODE_("\x29\x03"), 0x1122334455667788, 0x0, 0x0, "r4:8 w4:8=faf9f8f8", 0x1122334455667788, 0x91, 0x8d5},
	{"c9_sub_m32_imm8", 64, CODE_("\x83\x2b\xf5"), 0x1122334455667788, 0x0, 0x0, "r4:8 w4:8=5060708b", 0x1122334455667788, 0x15, 0x8d5},
	{"c9_sub_m32_imm32", 64, CODE_("\x81\x2b\x01\xef\xcd\x7b"), 0x1122334455667788, 0x0, 0x0, "r4:8 w4:8=d492817f", 0x1122334455667788, 0x91, 0x8d5},
	{"c9_sub_m8_imm8", 64, CODE_("\x80\x2b\x9c"), 0x1122334455667788, 0x0, 0x0, "r1:8 w1:8=e4", 0x1122334455667788, 0x95, 0x8d5},
	{"c9_xor_r32_m32", 64, CODE_("\x33\x03"), 0x1122334455667788, 0x0, 0x0, "r4:8", 0x5060708, 0x0, 0x8c5},
	{"c9_xor_m32_r32", 64, CODE_("\x31\x03"), 0x1122334455667788, 0x0, 0x0, "r4:8 w4:8=5060708", 0x1122334455667788, 0x0, 0x8c5},
	{"c9_xor_m32_imm8", 64, CODE_("\x83\x33\xf5"), 0x1122334455667788, 0x0, 0x0, "r4:8 w4:8=af9f8f75", 0x1122334455667788, 0x80, 0x8c5},
	{"c9_xor_m32_imm32", 64, CODE_("\x81\x33\x01\xef\xcd\x7b"), 0x1122334455667788, 0x0, 0x0, "r4:8 w4:8=2bad9f81", 0x1122334455667788, 0x4, 0x8c5},
	{"c9_xor_m8_imm8", 64, CODE_("\x80\x33\x9c"), 0x1122334455667788, 0x0, 0x0, "r1:8 w1:8=1c", 0x1122334455667788, 0x0, 0x8c5},
	{"c9_cmp_r8_m8", 64, CODE_("\x3a\x03"), 0x1122334455667788, 0x0, 0x0, "r1:8", 0x1122334455667788, 0x0, 0x8d5},
	{"c9_cmp_m8_r8", 64, CODE_("\x38\x03"), 0x1122334455667788, 0x0, 0x0, "r1:8", 0x1122334455667788, 0x91, 0x8d5},
	{"c9_cmp_r16_m16", 64, CODE_("\x66\x3b\x03"), 0x1122334455667788, 0x0, 0x0, "r2:8", 0x1122334455667788, 0x0, 0x8d5},
	{"c9_cmp_m16_r16", 64, CODE_("\x66\x39\x03"), 0x1122334455667788, 0x0, 0x0, "r2:8", 0x1122334455667788, 0x91, 0x8d5},
	{"c9_cmp_r32_m32", 64, CODE_("\x3b\x03"), 0x1122334455667788, 0x0, 0x0, "r4:8", 0x1122334455667788, 0x0, 0x8d5},
	{"c9_cmp_m32_r32", 64, CODE_("\x39\x03"), 0x1122334455667788, 0x0, 0x0, "r4:8", 0x1122334455667788, 0x91, 0x8d5},
	{"c9_cmp_r64_m64", 64, CODE_("\x48\x3b\x03"), 0x1122334455667788, 0x0, 0x0, "r8:8", 0x1122334455667788, 0x0, 0x8d5},
	{"c9_cmp_m64_r64", 64, CODE_("\x48\x39\x03"), 0x1122334455667788, 0x0, 0x0, "r8:8", 0x1122334455667788, 0x91, 0x8d5},
	{"c9_cmp_m32_imm8", 64, CODE_("\x83\x3b\xf5"), 0x1122334455667788, 0x0, 0x0, "r4:8", 0x1122334455667788, 0x15, 0x8d5},
	{"c9_cmp_m32_imm32", 64, CODE_("\x81\x3b\x01\xef\xcd\x7b"), 0x1122334455667788, 0x0, 0x0, "r4:8", 0x1122334455667788, 0x91, 0x8d5},
	{"c9_cmp_m8_imm8", 64, CODE_("\x80\x3b\x9c"), 0x1122334455667788, 0x0, 0x0, "r1:8", 0x1122334455667788, 0x95, 0x8d5},
	{"c9_mov_r8_m8", 64, CODE_("\x8a\x03"), 0x1122334455667788, 0x0, 0x0, "r1:8", 0x1122334455667780, 0x0, 0x0},
	{"c9_mov_m8_r8", 64, CODE_("\x88\x03"), 0x1122334455667788, 0x0, 0x0, "w1:8=88", 0x1122334455667788, 0x0, 0x0},
	{"c9_mov_r16_m16", 64, CODE_("\x66\x8b\x03"), 0x1122334455667788, 0x0, 0x0, "r2:8", 0x1122334455667080, 0x0, 0x0},
	{"c9_mov_m16_r16", 64, CODE_("\x66\x89\x03"), 0x1122334455667788, 0x0, 0x0, "w2:8=7788", 0x1122334455667788, 0x0, 0x0},
	{"c9_mov_r32_m32", 64, CODE_("\x8b\x03"), 0x1122334455667788, 0x0, 0x0, "r4:8", 0x50607080, 0x0, 0x0},
	{"c9_mov_m32_r32", 64, CODE_("\x89\x03"), 0x1122334455667788, 0x0, 0x0, "w4:8=55667788", 0x1122334455667788, 0x0, 0x0},
	{"c9_mov_r64_m64", 64, CODE_("\x48\x8b\x03"), 0x1122334455667788, 0x0, 0x0, "r8:8", 0x1020304050607080, 0x0, 0x0},
	{"c9_mov_m64_r64", 64, CODE_("\x48\x89\x03"), 0x1122334455667788, 0x0, 0x0, "w8:8=1122334455667788", 0x1122334455667788, 0x0, 0x0},
	{"c9_mov_m8_ah", 64, CODE_("\x88\x23"), 0x1122334455667788, 0x0, 0x0, "w1:8=77", 0x1122334455667788, 0x0, 0x0},
	{"c9_mov_ah_m8", 64, CODE_("\x8a\x23"), 0x1122334455667788, 0x0, 0x0, "r1:8", 0x1122334455668088, 0x0, 0x0},
	{"c9_mov_m8_sil", 64, CODE_("\x40\x88\x33"), 0x1122334455667788, 0x0, 0x0, "w1:8=20", 0x1122334455667788, 0x0, 0x0},
	{"c9_mov_m8_imm8", 64, CODE_("\xc6\x03\x5a"), 0x1122334455667788, 0x0, 0x0, "w1:8=5a", 0x1122334455667788, 0x0, 0x0},
	{"c9_mov_m16_imm16", 64, CODE_("\x66\xc7\x03\x34\x12"), 0x1122334455667788, 0x0, 0x0, "w2:8=1234", 0x1122334455667788, 0x0, 0x0},
	{"c9_mov_m32_imm32", 64, CODE_("\xc7\x03\x78\x56\x34\x92"), 0x1122334455667788, 0x0, 0x0, "w4:8=92345678", 0x1122334455667788, 0x0, 0x0},
	{"c9_mov_m64_imm32_is_sign_extended", 64, CODE_("\x48\xc7\x03\x78\x56\x34\x92"), 0x1122334455667788, 0x0, 0x0, "w8:8=ffffffff92345678", 0x1122334455667788, 0x0, 0x0},
	{"c9_mov_al_moffs", 64, CODE_("\xa0\x08\x00\x00\x70\x00\x00\x00\x00"), 0x1122334455667788, 0x0, 0x0, "r1:8", 0x1122334455667780, 0x0, 0x0},
	{"c9_mov_eax_moffs", 64, CODE_("\xa1\x08\x00\x00\x70\x00\x00\x00\x00"), 0x1122334455667788, 0x0, 0x0, "r4:8", 0x50607080, 0x0, 0x0},
	{"c9_mov_rax_moffs", 64, CODE_("\x48\xa1\x08\x00\x00\x70\x00\x00\x00\x00"), 0x1122334455667788, 0x0, 0x0, "r8:8", 0x1020304050607080, 0x0, 0x0},
	{"c9_mov_moffs_al", 64, CODE_("\xa2\x08\x00\x00\x70\x00\x00\x00\x00"), 0x1122334455667788, 0x0, 0x0, "w1:8=88", 0x1122334455667788, 0x0, 0x0},
	{"c9_mov_moffs_eax", 64, CODE_("\xa3\x08\x00\x00\x70\x00\x00\x00\x00"), 0x1122334455667788, 0x0, 0x0, "w4:8=55667788", 0x1122334455667788, 0x0, 0x0},
	{"c9_movzx_r32_m8", 64, CODE_("\x0f\xb6\x03"), 0x1122334455667788, 0x0, 0x0, "r1:8", 0x80, 0x0, 0x0},
	{"c9_movzx_r16_m8", 64, CODE_("\x66\x0f\xb6\x03"), 0x1122334455667788, 0x0, 0x0, "r1:8", 0x1122334455660080, 0x0, 0x0},
	{"c9_movzx_r32_m16", 64, CODE_("\x0f\xb7\x03"), 0x1122334455667788, 0x0, 0x0, "r2:8", 0x7080, 0x0, 0x0},
	{"c9_movsx_r32_m8", 64, CODE_("\x0f\xbe\x03"), 0x1122334455667788, 0x0, 0x0, "r1:8", 0xffffff80, 0x0, 0x0},
	{"c9_movsx_r64_m8", 64, CODE_("\x48\x0f\xbe\x03"), 0x1122334455667788, 0x0, 0x0, "r1:8", 0xffffffffffffff80, 0x0, 0x0},
	{"c9_movsx_r32_m16", 64, CODE_("\x0f\xbf\x03"), 0x1122334455667788, 0x0, 0x0, "r2:8", 0x7080, 0x0, 0x0},
	{"c9_movsxd_r64_m32", 64, CODE_("\x48\x63\x03"), 0x1122334455667788, 0x0, 0x0, "r4:8", 0x50607080, 0x0, 0x0},
	{"c9_movnti", 64, CODE_("\x0f\xc3\x03"), 0x1122334455667788, 0x0, 0x0, "w4:8=55667788", 0x1122334455667788, 0x0, 0x0},
	{"c9_test_m32_r32", 64, CODE_("\x85\x03"), 0x1122334455667788, 0x0, 0x0, "r4:8", 0x1122334455667788, 0x0, 0x8c5},
	{"c9_test_m8_r8", 64, CODE_("\x84\x03"), 0x1122334455667788, 0x0, 0x0, "r1:8", 0x1122334455667788, 0x80, 0x8c5},
	{"c9_test_m32_imm32", 64, CODE_("\xf7\x03\x00\x00\x00\xf0"), 0x1122334455667788, 0x0, 0x0, "r4:8", 0x1122334455667788, 0x4, 0x8c5},
	{"c9_test_m8_imm8", 64, CODE_("\xf6\x03\x7f"), 0x1122334455667788, 0x0, 0x0, "r1:8", 0x1122334455667788, 0x44, 0x8c5},
	{"c9_not_m32", 64, CODE_("\xf7\x13"), 0x1122334455667788, 0x0, 0x8d5, "r4:8 w4:8=af9f8f7f", 0x1122334455667788, 0x8d5, 0x8d5},
	{"c9_neg_m32", 64, CODE_("\xf7\x1b"), 0x1122334455667788, 0x0, 0x0, "r4:8 w4:8=af9f8f80", 0x1122334455667788, 0x81, 0x8d5},
	{"c9_inc_m32_keeps_carry", 64, CODE_("\xff\x03"), 0x1122334455667788, 0x0, 0x1, "r4:8 w4:8=50607081", 0x1122334455667788, 0x5, 0x8d5},
	{"c9_dec_m32", 64, CODE_("\xff\x0b"), 0x1122334455667788, 0x0, 0x0, "r4:8 w4:8=5060707f", 0x1122334455667788, 0x10, 0x8d5},
	{"c9_inc_m8", 64, CODE_("\xfe\x03"), 0x1122334455667788, 0x0, 0x0, "r1:8 w1:8=81", 0x1122334455667788, 0x84, 0x8d5},
	{"c9_xchg_m32_r32", 64, CODE_("\x87\x03"), 0x1122334455667788, 0x0, 0x0, "r4:8 w4:8=55667788", 0x50607080, 0x0, 0x0},
	{"c9_xchg_m8_r8", 64, CODE_("\x86\x03"), 0x1122334455667788, 0x0, 0x0, "r1:8 w1:8=88", 0x1122334455667780, 0x0, 0x0},
	{"c9_xadd_m32_r32", 64, CODE_("\x0f\xc1\x03"), 0x1122334455667788, 0x0, 0x0, "r4:8 w4:8=a5c6e808", 0x50607080, 0x880, 0x8d5},
	{"c9_lock_add_m32_r32", 64, CODE_("\xf0\x01\x03"), 0x1122334455667788, 0x0, 0x0, "r4:8 w4:8=a5c6e808", 0x1122334455667788, 0x880, 0x8d5},
	{"c9_cmpxchg_m32_equal", 64, CODE_("\x0f\xb1\x33"), 0x50607080, 0x0, 0x0, "r4:8 w4:8=6020", 0x50607080, 0x40, 0x40},
	{"c9_cmpxchg_m32_different", 64, CODE_("\x0f\xb1\x33"), 0x1122334455667788, 0x0, 0x0, "r4:8 w4:8=50607080", 0x50607080, 0x0, 0x40},
	{"c9_lock_cmpxchg_m32_equal", 64, CODE_("\xf0\x0f\xb1\x33"), 0x50607080, 0x0, 0x0, "r4:8 w4:8=6020", 0x50607080, 0x40, 0x40},
	{"c9_bt_m32_imm8_set", 64, CODE_("\x0f\xba\x23\x07"), 0x1122334455667788, 0x0, 0x0, "r4:8", 0x1122334455667788, 0x1, 0x1},
	{"c9_bt_m32_imm8_clear", 64, CODE_("\x0f\xba\x23\x00"), 0x1122334455667788, 0x0, 0x1, "r4:8", 0x1122334455667788, 0x0, 0x1},
	{"c9_bts_m32_imm8", 64, CODE_("\x0f\xba\x2b\x00"), 0x1122334455667788, 0x0, 0x1, "r4:8 w4:8=50607081", 0x1122334455667788, 0x0, 0x1},
	{"c9_btr_m32_imm8", 64, CODE_("\x0f\xba\x33\x07"), 0x1122334455667788, 0x0, 0x0, "r4:8 w4:8=50607000", 0x1122334455667788, 0x1, 0x1},
	{"c9_btc_m32_imm8", 64, CODE_("\x0f\xba\x3b\x07"), 0x1122334455667788, 0x0, 0x0, "r4:8 w4:8=50607000", 0x1122334455667788, 0x1, 0x1},
	{"c9_shl_m32_imm8", 64, CODE_("\xc1\x23\x04"), 0x1122334455667788, 0x0, 0x0, "r4:8 w4:8=6070800", 0x1122334455667788, 0x5, 0xc5},
	{"c9_shr_m32_imm8", 64, CODE_("\xc1\x2b\x04"), 0x1122334455667788, 0x0, 0x0, "r4:8 w4:8=5060708", 0x1122334455667788, 0x0, 0xc5},
	{"c9_rol_m32_1", 64, CODE_("\xd1\x03"), 0x1122334455667788, 0x0, 0x0, "r4:8 w4:8=a0c0e100", 0x1122334455667788, 0x0, 0x1},
	{"c9_imul_r32_m32", 64, CODE_("\x0f\xaf\x03"), 0x1122334455667788, 0x0, 0x0, "r4:8", 0xda874400, 0x1, 0x1},
	{"c9_disp8", 64, CODE_("\x8b\x43\x10"), 0x1122334455667788, 0x0, 0x0, "r4:18", 0x50607080, 0x0, 0x0},
	{"c9_disp32", 64, CODE_("\x8b\x83\x00\x01\x00\x00"), 0x1122334455667788, 0x0, 0x0, "r4:108", 0x50607080, 0x0, 0x0},
	{"c9_negative_disp8", 64, CODE_("\x8b\x43\xfc"), 0x1122334455667788, 0x0, 0x0, "r4:4", 0x50607080, 0x0, 0x0},
	{"c9_sib_index", 64, CODE_("\x8b\x04\x8b"), 0x1122334455667788, 0x10, 0x0, "r4:48", 0x50607080, 0x0, 0x0},
	{"c9_sib_without_base", 64, CODE_("\x8b\x04\x8d\x00\x00\x00\x70"), 0x1122334455667788, 0x10, 0x0, "r4:40", 0x50607080, 0x0, 0x0},
	{"c9_sib_r12_r13", 64, CODE_("\x43\x8b\x44\x6c\x04"), 0x1122334455667788, 0x0, 0x0, "r4:1004", 0x50607080, 0x0, 0x0},
	{"c9_rip_relative", 64, CODE_("\x8b\x05\x02\xf0\xff\x6f"), 0x1122334455667788, 0x0, 0x0, "r4:8", 0x50607080, 0x0, 0x0},
	{"c9_rip_relative_with_immediate", 64, CODE_("\xc7\x05\xfe\xef\xff\x6f\x01\x00\x00\x00"), 0x1122334455667788, 0x0, 0x0, "w4:8=1", 0x1122334455667788, 0x0, 0x0},
	{"c9_address_size_32", 64, CODE_("\x67\x8b\x03"), 0x1122334455667788, 0x0, 0x0, "r4:8", 0x50607080, 0x0, 0x0},
	{"c9_r8_to_r15", 64, CODE_("\x44\x89\x03"), 0x1122334455667788, 0x0, 0x0, "w4:8=88888888", 0x1122334455667788, 0x0, 0x0},
	{"c9_in_32_bits_mov_r32_m32", 32, CODE_("\x8b\x03"), 0x55667788, 0x0, 0x0, "r4:8", 0x50607080, 0x0, 0x0},
	{"c9_in_32_bits_mov_moffs", 32, CODE_("\xa1\x08\x00\x00\x70"), 0x55667788, 0x0, 0x0, "r4:8", 0x50607080, 0x0, 0x0},
	{"c9_in_32_bits_operand_size_16", 32, CODE_("\x66\x89\x03"), 0x55667788, 0x0, 0x0, "w2:8=7788", 0x55667788, 0x0, 0x0},
	{"c9_in_32_bits_segment_base", 32, CODE_("\x64\x8b\x43\x04"), 0x55667788, 0x0, 0x0, "r4:100c", 0x50607080, 0x0, 0x0},
	{"c9_in_32_bits_sib", 32, CODE_("\x8b\x44\x8b\x04"), 0x55667788, 0x10, 0x0, "r4:4c", 0x50607080, 0x0, 0x0},
	{"c9_in_16_bits_mov_ax_m16", 16, CODE_("\x8b\x07"), 0x55667788, 0x0, 0x0, "r2:8", 0x55667080, 0x0, 0x0},
	{"c9_in_16_bits_operand_size_32", 16, CODE_("\x66\x8b\x07"), 0x55667788, 0x0, 0x0, "r4:8", 0x50607080, 0x0, 0x0},
	{"c9_in_16_bits_bx_si_disp8", 16, CODE_("\x8a\x40\x10"), 0x55667788, 0x0, 0x0, "r1:6038", 0x55667780, 0x0, 0x0},
	{"c9_in_16_bits_direct", 16, CODE_("\xa3\x20\x00"), 0x55667788, 0x0, 0x0, "w2:20=7788", 0x55667788, 0x0, 0x0},
	{"c9_in_16_bits_address_size_32", 16, CODE_("\x67\x8b\x03"), 0x55667788, 0x0, 0x0, "r2:8", 0x55667080, 0x0, 0x0},
};
/* clang-format on */

/* ---- Stack, strings, vectors: RAM and other registers beside the device ---- */

struct copy_row {
	const char *name;
	const char *code;
	size_t n;
	uint64_t rax, rcx, rsi, rdi, rflags;
	const char *log;
	uint64_t rcx_after, rsi_after, rdi_after;
	uint32_t at;	   /* RAM that is looked at, */
	const char *bytes; /* ... and what is there then */
	size_t nbytes;
};

/* RAM from 0x6000 on holds 0, 1, 2...; from 0x7000 on zeroes. */
static void copy(void **state)
{
	struct contract *c = *state;
	const struct copy_row *row = c->row;
	struct log log = {.n = 0};

	load(c, 64, row->code, row->n);
	for (unsigned i = 0; i < 256; i++)
		c->ram[0x6000 + i] = (uint8_t)i;
	set_reg(c, 0, VM_REG_GUEST_RAX, row->rax);
	set_reg(c, 0, VM_REG_GUEST_RCX, row->rcx);
	set_reg(c, 0, VM_REG_GUEST_RSI, row->rsi);
	set_reg(c, 0, VM_REG_GUEST_RDI, row->rdi);
	set_reg(c, 0, VM_REG_GUEST_RFLAGS, row->rflags | 2);
	finish(c, &log);
	assert_string_equal(log.text, row->log);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RCX), row->rcx_after);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RSI), row->rsi_after);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RDI), row->rdi_after);
	if (row->bytes)
		assert_memory_equal(c->ram + row->at, row->bytes, row->nbytes);
}

#define DF		0x400u
#define RAM_(at, bytes) at, bytes, sizeof(bytes) - 1

static const struct copy_row copies[] = {
	{"c9_movs_from_the_device", CODE_("\xa5"), 0, 5, DEVICE, 0x7000, 0, "r4:0", 5, DEVICE + 4,
		0x7004, RAM_(0x7000, "\x80\x70\x60\x50\x00")},
	{"c9_movs_to_the_device", CODE_("\xa5"), 0, 5, 0x6010, DEVICE + 0x20, 0, "w4:20=13121110",
		5, 0x6014, DEVICE + 0x24, 0, NULL, 0},
	{"c9_movs_from_device_to_device", CODE_("\xa5"), 0, 5, DEVICE, DEVICE + 0x20, 0,
		"r4:0 w4:20=50607080", 5, DEVICE + 4, DEVICE + 0x24, 0, NULL, 0},
	{"c9_movs_backwards", CODE_("\xa4"), 0, 5, 0x6010, DEVICE + 0x20, DF, "w1:20=10", 5, 0x600f,
		DEVICE + 0x1f, 0, NULL, 0},
	{"c9_rep_movs_to_the_device", CODE_("\xf3\xa4"), 0, 3, 0x6010, DEVICE, 0,
		"w1:0=10 w1:1=11 w1:2=12", 0, 0x6013, DEVICE + 3, 0, NULL, 0},
	{"c9_rep_movs_from_the_device", CODE_("\xf3\x66\xa5"), 0, 2, DEVICE, 0x7000, 0, "r2:0 r2:2",
		0, DEVICE + 4, 0x7004, RAM_(0x7000, "\x80\x70\x80\x70\x00")},
	{"c9_repne_movs_is_rep", CODE_("\xf2\xa4"), 0, 2, 0x6010, DEVICE, 0, "w1:0=10 w1:1=11", 0,
		0x6012, DEVICE + 2, 0, NULL, 0},
	{"c9_stos", CODE_("\xab"), 0x1234567890abcdef, 5, 1, DEVICE, 0, "w4:0=90abcdef", 5, 1,
		DEVICE + 4, 0, NULL, 0},
	{"c9_stos_of_64_bits", CODE_("\x48\xab"), 0x1234567890abcdef, 5, 1, DEVICE, 0,
		"w8:0=1234567890abcdef", 5, 1, DEVICE + 8, 0, NULL, 0},
	{"c9_rep_stos", CODE_("\xf3\xaa"), 0x5a, 3, 1, DEVICE, 0, "w1:0=5a w1:1=5a w1:2=5a", 0, 1,
		DEVICE + 3, 0, NULL, 0},
	{"c9_rep_stos_backwards", CODE_("\xf3\xaa"), 0x5a, 2, 1, DEVICE + 4, DF, "w1:4=5a w1:3=5a",
		0, 1, DEVICE + 2, 0, NULL, 0},
	{"c9_lods", CODE_("\xac"), 0, 5, DEVICE, 2, 0, "r1:0", 5, DEVICE + 1, 2, 0, NULL, 0},
	{"c9_scas", CODE_("\xae"), 0x80, 5, 1, DEVICE, 0, "r1:0", 5, 1, DEVICE + 1, 0, NULL, 0},
	{"c9_cmps", CODE_("\xa6"), 0, 5, DEVICE, 0x7000, 0, "r1:0", 5, DEVICE + 1, 0x7001, 0, NULL,
		0},
	{"c9_push_from_the_device", CODE_("\xff\x33"), 0, 0, 1, 2, 0, "r8:8", 0, 1, 2,
		RAM_(STACK - 8, "\x80\x70\x60\x50\x40\x30\x20\x10")},
	{"c9_push_of_16_bits", CODE_("\x66\xff\x33"), 0, 0, 1, 2, 0, "r2:8", 0, 1, 2,
		RAM_(STACK - 4, "\x00\x00\x80\x70")},
	{"c9_pop_to_the_device", CODE_("\x6a\x55\x8f\x03"), 0, 0, 1, 2, 0, "w8:8=55", 0, 1, 2, 0,
		NULL, 0},
	{"c9_movq_store", CODE_("\x66\x0f\x6e\xc1\x66\x0f\xd6\x03"), 0, 0x1234, 1, 2, 0,
		"w8:8=1234", 0x1234, 1, 2, 0, NULL, 0},
	{"c9_movd_load", CODE_("\x66\x0f\x6e\x03\x66\x0f\x7e\xc1"), 0, 0, 1, 2, 0, "r4:8",
		0x50607080, 1, 2, 0, NULL, 0},
	{"c9_movups_load", CODE_("\x0f\x10\x03\x0f\x11\x07"), 0, 0, 1, 0x7000, 0, "r8:8 r8:10", 0,
		1, 0x7000,
		RAM_(0x7000, "\x80\x70\x60\x50\x40\x30\x20\x10\x80\x70\x60\x50\x40\x30\x20\x10")},
	{"c9_movups_store", CODE_("\x0f\x10\x06\x0f\x11\x03"), 0, 0, 0x6000, 2, 0,
		"w8:8=706050403020100 w8:10=f0e0d0c0b0a0908", 0, 0x6000, 2, 0, NULL, 0},
	{"c9_paddd_load", CODE_("\x66\x0f\xef\xc0\x66\x0f\xfe\x43\x08\x66\x0f\x7e\xc1"), 0, 0, 1, 2,
		0, "r8:10 r8:18", 0x50607080, 1, 2, 0, NULL, 0},
	{"c9_unaligned_is_cut_into_aligned_ones", CODE_("\x8b\x4b\x01"), 0, 0, 1, 2, 0,
		"r1:9 r2:a r1:c", 0x80708080, 1, 2, 0, NULL, 0},
	{"c9_call_target_on_the_stack", CODE_("\x89\x03\xe8\x00\x00\x00\x00"), 7, 0, 1, 2, 0,
		"w4:8=7", 0, 1, 2, RAM_(STACK - 8, "\x07\x10\x00\x00\x00\x00\x00\x00")},
};

/* ---- What the exit says ---- */

static void c9_1_gla_and_gpa_differ_under_paging(void **state)
{
	struct contract *c = *state;
	uint64_t *pd = (uint64_t *)(c->ram + 0x102000);
	struct vm_exit *exit;

	load(c, 64, "\x8b\x03", 2);
	pd[4] = DEVICE | 0x83; /* gla 8 MiB */
	set_reg(c, 0, VM_REG_GUEST_RBX, 0x800123);
	exit = run_to(c, 0, VM_EXITCODE_INST_EMUL);
	assert_int_equal(exit->u.inst_emul.gpa, DEVICE + 0x123);
	if (exit->u.inst_emul.gla != 1ull << 63)
		assert_int_equal(exit->u.inst_emul.gla, 0x800123);
	assert_int_equal(exit->u.inst_emul.paging.cr3, 0x100000);
	assert_int_equal(exit->u.inst_emul.paging.cpl, 0);
}

static void c9_1_cs_d_in_16_bits(void **state)
{
	struct contract *c = *state;
	struct vm_exit *exit;

	load(c, 16, "\x8b\x07", 2);
	exit = run_to(c, 0, VM_EXITCODE_INST_EMUL);
	assert_int_equal(exit->u.inst_emul.cs_d, 0);
	assert_int_equal(exit->u.inst_emul.paging.cpu_mode, CPU_MODE_REAL);
	assert_int_equal(exit->u.inst_emul.gpa, DEVICE + 8);
}

/* By 9.2 the library finds the length out. */
static void c9_2_length_with_prefixes(void **state)
{
	struct contract *c = *state;

	load(c, 64, "\x66\x2e\x43\xc7\x84\x6c\x04\x00\x00\x00\x34\x12", 12);
	assert_int_equal(run_to(c, 0, VM_EXITCODE_INST_EMUL)->inst_length, 12);
}

static void c9_2_instruction_over_a_page_boundary(void **state)
{
	struct contract *c = *state;
	struct log log = {.n = 0};

	load(c, 64, "\x90", 1);
	PLACE(c, 0x9ffd, "\xc7\x03\x78\x56\x34\x12\xe6\xe9");
	c->run[0].vm_exit.rip = 0x9ffd;
	finish(c, &log);
	assert_string_equal(log.text, "w4:8=12345678");
}

static int refuse(struct vm *vm, int vcpu, uint64_t gpa, uint64_t *value, int size, void *arg)
{
	(void)vm;
	(void)vcpu;
	(void)gpa;
	(void)size;
	(void)arg;
	*value = 5;
	return EIO;
}

/* 14: all ones, and the guest lives on. */
static void c9_8_a_device_that_fails_reads_all_ones(void **state)
{
	struct contract *c = *state;
	struct log log = {.n = 0};
	struct vm_exit *exit;

	load(c, 64, "\x8b\x03", 2);
	exit = run_to(c, 0, VM_EXITCODE_INST_EMUL);
	assert_int_equal(vm_emulate_instruction(c->vm, 0, exit, refuse, dev_write, &log), 0);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_RAX), UINT32_MAX);
	run_to_out(c, 0);
}

/* A gate of vector 14 to an OUT, which runs on a stack of its own. */
static void report_page_faults(struct contract *c)
{
	const uint64_t handler = 0x8000, tss = 0x9000, stack = 0xa000;
	const uint64_t gate[2] = {handler | 8u << 16 | 1ull << 32 | 0x8e00ull << 32, 0};
	struct seg_desc idtr = {0xb000, 0xfff, 0}, tr = {tss, 0x67, 0x8b};

	memcpy(c->ram + 0xb000 + 14 * 16, gate, sizeof(gate));
	memcpy(c->ram + tss + 36, &stack, sizeof(stack)); /* IST1 */
	memcpy(c->ram + handler, "\xe6\xe9", 2);
	assert_int_equal(vm_set_seg_desc(c->vm, 0, VM_REG_GUEST_IDTR, &idtr), 0);
	assert_int_equal(vm_set_seg_desc(c->vm, 0, VM_REG_GUEST_TR, &tr), 0);
	set_reg(c, 0, VM_REG_GUEST_TR, 0x40);
}

/* PUSH: the stack is looked at first, so that the device is not read twice. */
static void c9_7_push_faults_before_the_device_is_read(void **state)
{
	struct contract *c = *state;
	struct log log = {.n = 0};
	struct vm_exit *exit = &c->run[0].vm_exit;

	load(c, 64, "\xff\x33", 2);
	report_page_faults(c);
	((uint64_t *)(c->ram + 0x102000))[4] = 0;
	set_reg(c, 0, VM_REG_GUEST_RSP, 0x800800);
	do { /* a backend may find the fault out by itself */
		step_over(c, 0);
		assert_int_equal(vm_run(c->vm, &c->run[0]), 0);
		if (exit->exitcode == VM_EXITCODE_INST_EMUL)
			assert_int_equal(
				vm_emulate_instruction(c->vm, 0, exit, dev_read, dev_write, &log),
				0);
	} while (exit->exitcode == VM_EXITCODE_INST_EMUL || exit->exitcode == VM_EXITCODE_BOGUS);
	assert_int_equal(exit->exitcode, VM_EXITCODE_INOUT);
	assert_int_equal(exit->rip, 0x8000);
	assert_int_equal(get_reg(c, 0, VM_REG_GUEST_CR2), 0x8007f8);
	assert_string_equal(log.text, "");
}

static void c9_8_vcpu_out_of_range(void **state)
{
	struct contract *c = *state;
	struct vm_exit exit = {.exitcode = VM_EXITCODE_INST_EMUL};
	struct log log;

	assert_int_equal(
		vmmdev_emulate_instruction(c->vm, VM_MAXCPU, &exit, dev_read, dev_write, &log),
		EINVAL);
}

int main(void)
{
	static const struct behaviour tests[] = {
		CONTRACT_ROWS(emulate, instructions),
		CONTRACT_ROWS(copy, copies),
		CONTRACT(c9_1_gla_and_gpa_differ_under_paging),
		CONTRACT(c9_1_cs_d_in_16_bits),
		CONTRACT(c9_2_length_with_prefixes),
		CONTRACT(c9_2_instruction_over_a_page_boundary),
		CONTRACT(c9_7_push_faults_before_the_device_is_read),
		CONTRACT(c9_8_a_device_that_fails_reads_all_ones),
		CONTRACT(c9_8_vcpu_out_of_range),
	};

	return contract_run("c9 emulation", tests, sizeof(tests) / sizeof(tests[0]));
}
