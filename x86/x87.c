/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * FNSTENV, FLDENV, FNSAVE, FRSTOR (SDM vol. 1, 8.1.10).  Seven words of 2 or 4 bytes: control,
 * status and tag words, then the instruction and operand pointers, which we do not keep and store
 * as zeros.
 */
#include "x86/xstate.h"

#define REGISTERS      80u /* eight of ten bytes */
#define FCW_ALL_MASKED 0x3fu
#define TOP(fsw)       ((unsigned)(fsw) >> 11 & 7)
#define FSW_ERRORS     0x3fu
#define FSW_SUMMARY    0x8080u /* ES and B */

enum tag { TAG_VALID, TAG_ZERO, TAG_SPECIAL, TAG_EMPTY };

static unsigned env_word(const struct x86_insn *insn)
{
	return insn->opsize == 2 ? 2 : 4;
}

static enum tag classify(const uint8_t *st)
{
	uint64_t mantissa = xs_get64(st, 0);
	unsigned exponent = xs_get16(st, 8) & 0x7fff;

	if (exponent == 0)
		return mantissa == 0 ? TAG_ZERO : TAG_SPECIAL;
	return exponent == 0x7fff || !(mantissa >> 63) ? TAG_SPECIAL : TAG_VALID;
}

/* Two bits per physical register; the image has ST(i) in stack order. */
static uint16_t full_tags(const uint8_t *image)
{
	unsigned top = TOP(xs_get16(image, XS_FSW)), tags = 0;

	for (unsigned phys = 0; phys < 8; phys++) {
		const uint8_t *st = image + XS_ST + 16 * ((phys - top) & 7);
		enum tag tag = image[XS_FTW] >> phys & 1 ? classify(st) : TAG_EMPTY;

		tags |= tag << 2 * phys;
	}
	return (uint16_t)tags;
}

static uint8_t short_tags(uint16_t full)
{
	unsigned tags = 0;

	for (unsigned phys = 0; phys < 8; phys++)
		if ((full >> 2 * phys & 3) != TAG_EMPTY)
			tags |= 1u << phys;
	return (uint8_t)tags;
}

/* Upper halves of 32-bit words are stored as ones, as processors do. */
static void build_env(const uint8_t *image, unsigned word, uint8_t *env)
{
	const uint16_t values[3] = {
		xs_get16(image, XS_FCW), xs_get16(image, XS_FSW), full_tags(image)};

	x86_bytes_zero(env, 7 * word);
	for (unsigned i = 0; i < 3; i++) {
		if (word == 4)
			xs_put32(env, i * 4, 0xffff0000u | values[i]);
		else
			xs_put16(env, i * 2, values[i]);
	}
	if (word == 4)
		xs_put32(env, 6 * 4, 0xffff0000u);
}

/* ES and B follow from the error bits and their masks. */
static void load_env(uint8_t *image, unsigned word, const uint8_t *env)
{
	unsigned fcw = xs_get16(env, 0), fsw = xs_get16(env, word);

	fsw &= ~FSW_SUMMARY;
	if (fsw & ~fcw & FSW_ERRORS)
		fsw |= FSW_SUMMARY;
	xs_put16(image, XS_FCW, (uint16_t)((fcw & 0x1f3f) | 0x40));
	xs_put16(image, XS_FSW, (uint16_t)fsw);
	image[XS_FTW] = short_tags(xs_get16(env, 2 * word));
}

enum x86_result x86_sys_fnstenv(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned word = env_word(insn);
	uint8_t env[28];
	uint64_t gla, in_use;
	enum x86_result res = x86_operand_linear(cpu, insn, 7 * word, X86_ACC_WRITE, &gla);

	if (res != X86_DONE)
		return res;
	in_use = x86_image_save(cpu);
	build_env(cpu->fpu, word, env);
	res = x86_write(cpu, gla, env, 7 * word, x86_acc(cpu, X86_ACC_WRITE));
	if (res != X86_DONE)
		return res;
	xs_put16(cpu->fpu, XS_FCW, xs_get16(cpu->fpu, XS_FCW) | FCW_ALL_MASKED);
	xs_put16(cpu->fpu, XS_FSW, xs_get16(cpu->fpu, XS_FSW) & (uint16_t)~FSW_SUMMARY);
	x86_image_load(cpu, in_use | XS_X87);
	return x86_done(cpu, insn);
}

enum x86_result x86_sys_fldenv(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned word = env_word(insn);
	uint8_t env[28];
	uint64_t gla, in_use;
	enum x86_result res = x86_operand_linear(cpu, insn, 7 * word, X86_ACC_READ, &gla);

	if (res == X86_DONE)
		res = x86_read(cpu, gla, env, 7 * word, x86_acc(cpu, X86_ACC_READ));
	if (res != X86_DONE)
		return res;
	in_use = x86_image_save(cpu);
	load_env(cpu->fpu, word, env);
	x86_image_load(cpu, in_use | XS_X87);
	return x86_done(cpu, insn);
}

/* Stores everything, then FNINIT; the registers' contents stay. */
enum x86_result x86_sys_fnsave(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned env = 7 * env_word(insn);
	uint8_t image[28 + REGISTERS];
	uint64_t gla, in_use;
	enum x86_result res = x86_operand_linear(cpu, insn, env + REGISTERS, X86_ACC_WRITE, &gla);

	if (res != X86_DONE)
		return res;
	in_use = x86_image_save(cpu);
	build_env(cpu->fpu, env_word(insn), image);
	for (unsigned i = 0; i < 8; i++)
		x86_bytes_copy(image + env + 10 * i, cpu->fpu + XS_ST + 16 * i, 10);
	res = x86_write(cpu, gla, image, env + REGISTERS, x86_acc(cpu, X86_ACC_WRITE));
	if (res != X86_DONE)
		return res;
	xs_put16(cpu->fpu, XS_FCW, XS_FCW_INIT);
	xs_put16(cpu->fpu, XS_FSW, 0);
	cpu->fpu[XS_FTW] = 0;
	x86_image_load(cpu, in_use | XS_X87);
	return x86_done(cpu, insn);
}

enum x86_result x86_sys_frstor(struct x86_cpu *cpu, const struct x86_insn *insn)
{
	unsigned env = 7 * env_word(insn);
	uint8_t image[28 + REGISTERS];
	uint64_t gla, in_use;
	enum x86_result res = x86_operand_linear(cpu, insn, env + REGISTERS, X86_ACC_READ, &gla);

	if (res == X86_DONE)
		res = x86_read(cpu, gla, image, env + REGISTERS, x86_acc(cpu, X86_ACC_READ));
	if (res != X86_DONE)
		return res;
	in_use = x86_image_save(cpu);
	load_env(cpu->fpu, env_word(insn), image);
	for (unsigned i = 0; i < 8; i++)
		x86_bytes_copy(cpu->fpu + XS_ST + 16 * i, image + env + 10 * i, 10);
	x86_image_load(cpu, in_use | XS_X87);
	return x86_done(cpu, insn);
}
