/* SPDX-License-Identifier: BSD-2-Clause */
/* Copyright (c) 2026, the hyve authors */
/*
 * Programs that write code: a compiler of small expressions whose output is called some hundred
 * times and then overwritten; long functions that run once; one instruction that is patched before
 * each call; and code that shares its page with its data.
 */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "bench/kernels/kernel.h"

#define PAGE	    4096
#define EXPRESSIONS 8
#define TERMS	    12
#define CALLS	    256
#define COLD_TERMS  2400 /* bench/report.awk divides by it */
#define COLD_SIZE   (6 * PAGE)
#define PATCHES	    32
#define STORES	    256

typedef uint64_t (*jit_fn)(uint64_t x);

static void *writable_code(size_t size)
{
	void *code = mmap(
		NULL, size, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return code == MAP_FAILED ? NULL : code;
}

static int page_open(void **state)
{
	*state = writable_code(PAGE);
	return *state ? 0 : errno;
}

static void page_close(void *state)
{
	munmap(state, PAGE);
}

/* Where the next instruction goes. */
struct code {
	uint8_t *at;
};

static void emit(struct code *code, const void *bytes, size_t count)
{
	memcpy(code->at, bytes, count);
	code->at += count;
}

/* An instruction's bytes, then a 32-bit immediate. */
static void emit_imm(struct code *code, const char *opcode, size_t count, uint32_t imm)
{
	emit(code, opcode, count);
	emit(code, &imm, sizeof(imm));
}

struct term {
	const char *opcode;
	size_t count;
	uint64_t (*value)(uint64_t rax, uint64_t rdi, uint32_t imm);
};

static uint64_t term_add(uint64_t rax, uint64_t rdi, uint32_t imm)
{
	(void)rdi;
	return rax + imm;
}
static uint64_t term_xor(uint64_t rax, uint64_t rdi, uint32_t imm)
{
	(void)rdi;
	return rax ^ imm;
}
static uint64_t term_mul(uint64_t rax, uint64_t rdi, uint32_t imm)
{
	(void)rdi;
	return rax * imm;
}
static uint64_t term_lea(uint64_t rax, uint64_t rdi, uint32_t imm)
{
	return rax + rdi + imm;
}

static const struct term terms[] = {
	{"\x48\x05", 2, term_add},	   /* add rax, imm */
	{"\x48\x35", 2, term_xor},	   /* xor rax, imm */
	{"\x48\x69\xc0", 3, term_mul},	   /* imul rax, rax, imm */
	{"\x48\x8d\x84\x38", 4, term_lea}, /* lea rax, [rax + rdi + imm] */
};
#define TERM_KINDS (sizeof(terms) / sizeof(terms[0]))

/* Compiles so many random terms, and computes what they make of x. */
static uint64_t compile(struct code code, int count, uint64_t *seed, uint64_t x)
{
	uint64_t rax = x;

	emit(&code, "\x48\x89\xf8", 3); /* mov rax, rdi */
	for (int i = 0; i < count; i++) {
		uint64_t random = random_next(seed);
		const struct term *t = &terms[random % TERM_KINDS];
		uint32_t imm = (uint32_t)(random >> 32) & 0x7fffffff;

		emit_imm(&code, t->opcode, t->count, imm);
		rax = t->value(rax, x, imm);
	}
	emit(&code, "\xc3", 1); /* ret */
	return rax;
}

static uint64_t jit_unit(void *state)
{
	uint64_t seed = 424242, sum = 0;
	jit_fn f = (jit_fn)state;

	for (int i = 0; i < EXPRESSIONS; i++) {
		uint64_t want = compile((struct code){.at = state}, TERMS, &seed, (uint64_t)i + 5);

		for (int n = 0; n < CALLS; n++)
			sum += f((uint64_t)i + 5) == want;
	}
	return sum;
}

/* Two long functions that take turns at one place, each called once: what new code costs. */
struct cold {
	uint8_t *code;
	unsigned turn;
	uint64_t want[2];
	uint8_t image[2][COLD_SIZE];
};

static int cold_open(void **state)
{
	struct cold *cold = pages_alloc(sizeof(*cold), PAGE);
	uint64_t seed = 990099;

	if (!cold)
		return ENOMEM;
	cold->code = writable_code(COLD_SIZE);
	if (!cold->code) {
		pages_free(cold);
		return ENOMEM;
	}
	for (unsigned i = 0; i < 2; i++)
		cold->want[i] =
			compile((struct code){.at = cold->image[i]}, COLD_TERMS, &seed, COLD_TERMS);
	*state = cold;
	return 0;
}

static uint64_t cold_unit(void *state)
{
	struct cold *cold = state;
	unsigned turn = cold->turn++ & 1;

	memcpy(cold->code, cold->image[turn], COLD_SIZE);
	return ((jit_fn)cold->code)(COLD_TERMS) == cold->want[turn];
}

static void cold_close(void *state)
{
	struct cold *cold = state;

	munmap(cold->code, COLD_SIZE);
	pages_free(cold);
}

static int patch_open(void **state)
{
	int error = page_open(state);

	/* mov eax, imm; lea rax, [rax + rdi]; ret */
	if (error == 0)
		memcpy(*state, "\xb8\0\0\0\0\x48\x8d\x04\x38\xc3", 10);
	return error;
}

static uint64_t patch_unit(void *state)
{
	jit_fn f = (jit_fn)state;
	uint64_t sum = 0;

	for (uint32_t i = 0; i < PATCHES; i++) {
		uint32_t imm = i * 1000;

		memcpy((uint8_t *)state + 1, &imm, sizeof(imm));
		sum += f(i) == imm + i;
	}
	return sum;
}

static int beside_open(void **state)
{
	int error = page_open(state);

	/* mov rax, [rip + 0x100 - 7]; add rax, rdi; mov [rip + 0x100 - 17], rax; ret */
	if (error == 0)
		memcpy(*state, "\x48\x8b\x05\xf9\0\0\0\x48\x01\xf8\x48\x89\x05\xef\0\0\0\xc3", 18);
	return error;
}

static uint64_t beside_unit(void *state)
{
	uint64_t *slot = (uint64_t *)((uint8_t *)state + 0x100), value;
	jit_fn f = (jit_fn)state;

	value = 0;
	memcpy(slot, &value, sizeof(value));
	for (uint64_t i = 0; i < STORES; i++)
		f(i);
	memcpy(&value, slot, sizeof(value));
	return value;
}

static const struct kernel kernels[] = {
	{
		.name = "jit",
		.checksum = EXPRESSIONS * CALLS,
		.open = page_open,
		.unit = jit_unit,
		.close = page_close,
	},
	{
		.name = "jit-cold",
		.checksum = 1,
		.open = cold_open,
		.unit = cold_unit,
		.close = cold_close,
	},
	{
		.name = "jit-patch",
		.checksum = PATCHES,
		.open = patch_open,
		.unit = patch_unit,
		.close = page_close,
	},
	{
		.name = "jit-beside",
		.checksum = STORES * (STORES - 1) / 2,
		.open = beside_open,
		.unit = beside_unit,
		.close = page_close,
	},
};

const struct kernel_class class_jit = {
	.name = "jit",
	.kernels = kernels,
	.count = sizeof(kernels) / sizeof(kernels[0]),
};
